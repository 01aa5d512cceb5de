//! What the fuzz targets check, one function each; `/fuzz` calls them with libFuzzer's bytes.
//!
//! They panic when a property does not hold. The unit test at the end runs them over the committed
//! seeds, so that an input that once failed keeps being tried everywhere.

use std::collections::BTreeSet;

use crate::ext::{
    AbsSendTime, AudioLevel, DependencyDescriptor, PlayoutDelay, TransportSeq, VideoOrientation,
    parse_mid, parse_rid,
};
use crate::framing::{Deframer, FRAME_SIZE_MAX, frame};
use crate::payload::{h264, opus, red, vp8, vp9};
use crate::rtcp::{Compound, Packet, XrBlock, write};
use crate::{
    Codec, ExtensionForm, HeaderFields, HeaderWriter, Kind, Origin, RtpPacket, SeqMunger, StunView,
    classify,
};

/// A packet's parts add up, and its header written again reads the same.
pub fn rtp_header(data: &[u8]) {
    let Ok(packet) = RtpPacket::parse(data) else {
        return;
    };
    let header = *packet.header();
    let parts = header.header_len() + packet.payload().len() + usize::from(packet.padding_len());
    assert_eq!(parts, data.len());
    assert!(header.csrcs().count() <= 15);

    let fields = HeaderFields {
        marker: header.marker(),
        payload_type: header.payload_type(),
        sequence_number: header.sequence_number(),
        timestamp: header.timestamp(),
        ssrc: header.ssrc(),
    };
    // The two-byte form can say whatever either form said; a block cannot grow beyond twice.
    let mut out = vec![0; 2 * data.len() + 16];
    let mut writer = HeaderWriter::new(&mut out, fields, ExtensionForm::TwoByte).unwrap();
    for (id, value) in header.extensions() {
        writer.extension(id, value).unwrap();
    }
    let Ok(len) = writer.finish() else { return };
    let again = RtpPacket::parse(&out[..len]).unwrap();
    assert!(again.header().extensions().eq(header.extensions()));
    assert_eq!(again.header().ssrc(), header.ssrc());
    assert_eq!(again.header().sequence_number(), header.sequence_number());
}

/// Both extension forms over arbitrary blocks, and every typed value.
pub fn rtp_extensions(data: &[u8]) {
    for profile in [[0xbe, 0xde], [0x10, 0x00]] {
        let words = (data.len() / 4).min(0xffff);
        let mut packet = vec![0x90, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend(profile);
        packet.extend((words as u16).to_be_bytes());
        packet.extend(&data[..words * 4]);
        let packet = RtpPacket::parse(&packet).unwrap();
        for (id, value) in packet.header().extensions() {
            assert!(id != 0 && value.len() <= 255);
            extension_value(value);
        }
    }
    extension_value(data);
}

fn extension_value(value: &[u8]) {
    if let Some(time) = AbsSendTime::parse(value) {
        assert_eq!(time.to_bytes(), value);
    }
    if let Some(seq) = TransportSeq::parse(value) {
        assert_eq!(seq.to_bytes(), value[..2]);
    }
    if let Some(level) = AudioLevel::parse(value) {
        assert_eq!(level.to_bytes(), value[..1]);
    }
    if let Some(delay) = PlayoutDelay::parse(value) {
        assert_eq!(delay.to_bytes(), value);
    }
    if let Some(orientation) = VideoOrientation::parse(value) {
        assert_eq!(orientation.to_bytes(), [value[0] & 0x0f]);
    }
    if let Some(descriptor) = DependencyDescriptor::parse(value) {
        assert_eq!(descriptor.to_mandatory_bytes(), value[..3]);
    }
    for text in [parse_mid(value), parse_rid(value)].into_iter().flatten() {
        assert_eq!(text.as_bytes(), value);
    }
}

/// Every part of every packet of a compound; what was read is written and read again.
pub fn rtcp(data: &[u8]) {
    let mut out = vec![0; 3 * data.len() + 64];
    for packet in Compound::new(data).flatten() {
        match packet {
            Packet::SenderReport(report) => {
                let blocks: Vec<_> = report.blocks().collect();
                let len = write::sender_report(&mut out, &report.info(), &blocks).unwrap();
                let Packet::SenderReport(again) = first(&out[..len]) else {
                    panic!()
                };
                assert_eq!(again.info(), report.info());
                assert!(again.blocks().eq(blocks));
            }
            Packet::ReceiverReport(report) => {
                let blocks: Vec<_> = report.blocks().collect();
                let len = write::receiver_report(&mut out, 1, &blocks).unwrap();
                let Packet::ReceiverReport(again) = first(&out[..len]) else {
                    panic!()
                };
                assert!(again.blocks().eq(blocks));
            }
            Packet::Sdes(sdes) => assert!(sdes.items().count() <= data.len()),
            Packet::Bye(bye) => assert!(bye.ssrcs().count() <= 31 && bye.reason().len() <= 255),
            Packet::Pli(pli) => {
                let len = write::pli(&mut out, pli.sender_ssrc, pli.media_ssrc).unwrap();
                let Packet::Pli(again) = first(&out[..len]) else {
                    panic!()
                };
                assert_eq!(again, pli);
            }
            Packet::Fir(fir) => {
                let entries: Vec<_> = fir.entries().collect();
                let len = write::fir(&mut out, fir.sender_ssrc(), &entries).unwrap();
                let Packet::Fir(again) = first(&out[..len]) else {
                    panic!()
                };
                assert!(again.entries().eq(entries));
            }
            Packet::Nack(nack) => {
                assert!(nack.sequence_numbers().count() <= 17 * data.len() / 4);
                // A hostile list may be longer when written again: then there is no space.
                let missing = nack.sequence_numbers();
                if let Ok(len) = write::nack(&mut out, 1, 2, missing) {
                    let Packet::Nack(again) = first(&out[..len]) else {
                        panic!()
                    };
                    let read: BTreeSet<_> = again.sequence_numbers().collect();
                    assert_eq!(read, nack.sequence_numbers().collect());
                }
            }
            Packet::Remb(remb) => {
                let ssrcs: Vec<_> = remb.ssrcs().collect();
                let len = write::remb(&mut out, 1, remb.bitrate_bps(), &ssrcs).unwrap();
                let Packet::Remb(again) = first(&out[..len]) else {
                    panic!()
                };
                assert!(again.bitrate_bps() <= remb.bitrate_bps() && again.ssrcs().eq(ssrcs));
            }
            Packet::Twcc(feedback) => {
                let count = feedback.entries().count();
                assert_eq!(count, usize::from(feedback.status_count()));
            }
            Packet::Xr(report) => {
                for block in report.blocks() {
                    if let XrBlock::Dlrr(entries) = block {
                        assert!(entries.iter().count() <= data.len() / 12);
                    }
                }
            }
            Packet::Unknown { body, .. } => assert!(body.len() + 4 <= data.len()),
        }
    }
}

fn first(bytes: &[u8]) -> Packet<'_> {
    Compound::new(bytes)
        .next()
        .expect("one packet")
        .expect("just written")
}

/// Classification and the STUN view.
pub fn stun_demux(data: &[u8]) {
    let kind = classify(data);
    if let Some(view) = StunView::parse(data) {
        assert_eq!(kind, Kind::Stun);
        assert_eq!(view.transaction_id(), data[8..20]);
        if let Some((local, remote)) = view.username() {
            assert!(!local.is_empty() && !remote.is_empty() && local.len() <= 256);
        }
        let _ = (
            view.is_binding_request(),
            view.has_use_candidate(),
            view.has_fingerprint(),
        );
    }
}

/// Every codec's reading of the same bytes, and rewriting in place.
pub fn payload_descriptors(data: &[u8]) {
    for codec in [
        Codec::H264,
        Codec::H265,
        Codec::Vp8,
        Codec::Vp9,
        Codec::Av1,
        Codec::Opus,
    ] {
        let _ = codec.is_key_frame_start(data);
        let size = codec.picture_size(data);
        assert!(size.is_none_or(|size| size.width > 0 && size.height > 0));
    }
    for unit in h264::units(data) {
        assert!(unit.body.len() < data.len());
        assert!(unit.slice().is_none() || unit.is_slice());
    }
    assert!(opus::duration(data).is_none_or(|samples| samples <= 63 * 2_880));
    redundancy(data);
    let mut rewritten = data.to_vec();
    if let Some(before) = vp8::Descriptor::parse(data) {
        vp8::rewrite(&mut rewritten, 0x1234, 0x56).unwrap();
        let after = vp8::Descriptor::parse(&rewritten).unwrap();
        assert_eq!(after.len, before.len);
        assert_eq!(rewritten[after.len..], data[before.len..]);
        assert_eq!(
            Codec::Vp8.is_key_frame_start(&rewritten),
            Codec::Vp8.is_key_frame_start(data)
        );
    }
    rewritten.copy_from_slice(data);
    if let Some(before) = vp9::Descriptor::parse(data) {
        vp9::rewrite(&mut rewritten, 0x1234, 0x56).unwrap();
        let after = vp9::Descriptor::parse(&rewritten).unwrap();
        assert_eq!((after.len, after.layer), (before.len, before.layer));
        assert_eq!(rewritten[after.len..], data[before.len..]);
        assert!(vp9::sizes(data).count() <= 8);
    }
}

/// The newest block lies within the packet, and other numbers change nothing of it.
fn redundancy(data: &[u8]) {
    let mut renumbered = data.to_vec();
    let done = red::renumber(&mut renumbered, |pt| Some(pt ^ 0x55));
    let newest = red::primary(data);
    assert_eq!(done.is_some(), newest.is_some());
    let Some(newest) = newest else { return };
    assert!(newest.payload.len() < data.len());
    let again = red::primary(&renumbered).unwrap();
    assert_eq!(
        (again.pt, again.payload),
        (newest.pt ^ 0x55, newest.payload)
    );
    let len = data.len() - newest.payload.len();
    assert_eq!(renumbered[len..], *newest.payload);
}

/// A list of operations on a munger: no egress number twice, every one traced back.
pub fn seq_munging(data: &[u8]) {
    let mut munger = SeqMunger::new(0xfff0);
    let mut newest = 0x1_0000_u64;
    let mut generation = munger.switch(newest);
    let mut given = BTreeSet::new();
    for operation in data.chunks_exact(3) {
        let distance = i64::from(i16::from_be_bytes([operation[1], operation[2]]));
        let ingress = newest.saturating_add_signed(distance);
        match operation[0] % 8 {
            0 => munger.skip(ingress),
            1 => munger.skip(newest + 1),
            2 => {
                let egress = munger.insert().unwrap();
                assert!(given.insert(egress));
                continue;
            }
            3 => {
                newest = ingress;
                generation = munger.switch(ingress);
                continue;
            }
            kind => {
                let ingress = if kind == 4 { ingress } else { newest + 1 };
                newest = newest.max(ingress);
                if let Some(egress) = munger.map(ingress) {
                    assert!(given.insert(egress));
                    assert_eq!(
                        munger.origin(egress),
                        Some(Origin {
                            generation,
                            ingress
                        })
                    );
                }
                continue;
            }
        }
        newest = newest.max(if operation[0] % 8 == 0 {
            ingress
        } else {
            newest + 1
        });
    }
}

/// The frames of a stream do not depend on how it is cut, and little is kept of it.
pub fn framing(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    let read = |size: usize| {
        let mut deframer = Deframer::default();
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let mut chunks = stream.chunks(size.max(1));
        let end = chunks.try_for_each(|chunk| {
            let fed = deframer.feed(chunk, |frame| frames.push(frame.to_vec()));
            assert!(deframer.kept_len() <= FRAME_SIZE_MAX + 2);
            fed
        });
        (frames, end)
    };
    let (frames, end) = read(cut.into());
    assert_eq!((frames.clone(), end), read(stream.len()));
    let again: Vec<u8> = frames.iter().flat_map(|f| frame(f).unwrap()).collect();
    let mut deframer = Deframer::default();
    let mut expected = frames.iter();
    let fed = deframer.feed(&again, |frame| {
        assert_eq!(Some(frame), expected.next().map(|f| &f[..]))
    });
    assert!(fed.is_ok() && expected.next().is_none() && deframer.kept_len() == 0);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    type Target = fn(&[u8]);

    #[test]
    fn committed_seeds_hold() {
        let targets: [(&str, Target); 7] = [
            ("rtp_header", super::rtp_header),
            ("rtp_extensions", super::rtp_extensions),
            ("rtcp", super::rtcp),
            ("stun_demux", super::stun_demux),
            ("framing", super::framing),
            ("payload_descriptors", super::payload_descriptors),
            ("seq_munging", super::seq_munging),
        ];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fuzz/seeds")
                .join(name);
            let seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
            assert!(!seeds.is_empty(), "{name}");
            for seed in seeds {
                let bytes = std::fs::read(seed.unwrap().path()).unwrap();
                target(&bytes);
                // Cut and bent seeds are seeds too.
                for len in 0..bytes.len() {
                    target(&bytes[..len]);
                    let mut bent = bytes.clone();
                    bent[len] ^= 0xff;
                    target(&bent);
                }
            }
        }
    }
}
