//! RTCP packets read, written, and bent.

use proptest::prelude::*;

use super::write::NoSpace;
use super::*;

const INFO: SenderInfo = SenderInfo {
    ssrc: 0x0102_0304,
    ntp_time: 0x1122_3344_5566_7788,
    rtp_time: 0x99aa_bbcc,
    packet_count: 7,
    octet_count: 0x1_0000,
};

const BLOCK: ReportBlock = ReportBlock {
    ssrc: 5,
    fraction_lost: 64,
    cumulative_lost: -2,
    highest_seq: 0x0001_ffff,
    jitter: 9,
    last_sr: 0x3344_5566,
    delay_since_last_sr: 0x1_0000,
};

fn only(bytes: &[u8]) -> Packet<'_> {
    let mut packets = Compound::new(bytes);
    let packet = packets.next().expect("one packet").expect("well formed");
    assert!(packets.next().is_none());
    packet
}

fn written(write: impl Fn(&mut [u8]) -> Result<usize, NoSpace>) -> Vec<u8> {
    let mut out = [0xee; 4096];
    let len = write(&mut out).unwrap();
    assert_eq!(len % 4, 0);
    for short in 0..len {
        assert_eq!(write(&mut out[..short]), Err(NoSpace), "{short} of {len}");
    }
    assert_eq!(write(&mut out[..len]), Ok(len));
    out[..len].to_vec()
}

/// RFC 3550 §6.4.1.
#[test]
fn a_sender_report_is_laid_out_as_published() {
    let bytes = written(|out| write::sender_report(out, &INFO, &[BLOCK]));
    let expected = [
        0x81, 200, 0, 12, 1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa,
        0xbb, 0xcc, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0, 5, 64, 0xff, 0xff, 0xfe, 0, 1, 0xff, 0xff, 0,
        0, 0, 9, 0x33, 0x44, 0x55, 0x66, 0, 1, 0, 0,
    ];
    assert_eq!(bytes, expected);
    let Packet::SenderReport(report) = only(&bytes) else {
        panic!("{bytes:?}")
    };
    assert_eq!(report.info(), INFO);
    assert_eq!(report.blocks().collect::<Vec<_>>(), [BLOCK]);
}

#[test]
fn receiver_reports_carry_up_to_31_blocks() {
    let blocks = [BLOCK; 32];
    let bytes = written(|out| write::receiver_report(out, 8, &blocks[..31]));
    let Packet::ReceiverReport(report) = only(&bytes) else {
        panic!("{bytes:?}")
    };
    assert_eq!((report.sender_ssrc(), report.blocks().count()), (8, 31));
    assert_eq!(
        write::receiver_report(&mut [0; 4096], 8, &blocks),
        Err(NoSpace)
    );
    let mut cut = bytes.clone();
    cut[0] = 0x80 | 30;
    let Packet::ReceiverReport(report) = only(&cut) else {
        panic!("{cut:?}")
    };
    assert_eq!(
        report.blocks().count(),
        30,
        "what follows is a profile extension"
    );
}

#[test]
fn lost_counts_are_clamped_to_24_bits() {
    for (lost, expected) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000)] {
        let block = ReportBlock {
            cumulative_lost: lost,
            ..BLOCK
        };
        let bytes = written(|out| write::receiver_report(out, 8, &[block]));
        let Packet::ReceiverReport(report) = only(&bytes) else {
            panic!("{bytes:?}")
        };
        let read = report.blocks().next().unwrap();
        assert_eq!((read.cumulative_lost, read.fraction_lost), (expected, 64));
    }
}

/// RFC 3550 §6.5: at least one zero byte ends the items, then padding to a word.
#[test]
fn source_descriptions_end_with_a_zero_at_every_length() {
    for len in 0..=255 {
        let name = vec![b'n'; len];
        let bytes = written(|out| write::sdes_cname(out, 6, &name));
        assert_eq!(bytes.last(), Some(&0));
        let Packet::Sdes(sdes) = only(&bytes) else {
            panic!("{bytes:?}")
        };
        assert_eq!(sdes.cname(6), Some(&name[..]));
        assert_eq!(sdes.cname(7), None);
        assert_eq!(sdes.items().count(), 1);
    }
    assert_eq!(
        write::sdes_cname(&mut [0; 4096], 6, &[0; 256]),
        Err(NoSpace)
    );
}

#[test]
fn several_chunks_and_items_are_walked() {
    let bytes = [
        0x82, 202, 0, 6, 0, 0, 0, 1, 1, 1, b'a', 2, 2, b'b', b'c', 0, 0, 0, 0, 2, 1, 1, b'd', 0, 0,
        0, 0, 0,
    ];
    let Packet::Sdes(sdes) = only(&bytes) else {
        panic!()
    };
    let items: Vec<_> = sdes
        .items()
        .map(|item| (item.ssrc, item.kind, item.value))
        .collect();
    assert_eq!(
        items,
        [(1, 1, &b"a"[..]), (1, 2, &b"bc"[..]), (2, 1, &b"d"[..])]
    );
}

#[test]
fn goodbyes_name_streams_and_a_reason() {
    let bytes = written(|out| write::bye(out, &[1, 2]));
    assert_eq!(bytes, [0x82, 203, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    let Packet::Bye(bye) = only(&bytes) else {
        panic!()
    };
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(bye.reason(), b"");
    let with_reason = [0x81, 203, 0, 2, 0, 0, 0, 1, 2, b'o', b'k', 0];
    let Packet::Bye(bye) = only(&with_reason) else {
        panic!()
    };
    assert_eq!(bye.reason(), b"ok");
    let overlong = [0x81, 203, 0, 2, 0, 0, 0, 1, 9, b'o', b'k', 0];
    let read = Compound::new(&overlong).next().unwrap();
    assert_eq!(read.unwrap_err(), RtcpError::Malformed(203));
}

#[test]
fn key_frame_requests_are_laid_out_as_published() {
    let bytes = written(|out| write::pli(out, 1, 2));
    assert_eq!(bytes, [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    let Packet::Pli(pli) = only(&bytes) else {
        panic!()
    };
    assert_eq!(
        pli,
        Pli {
            sender_ssrc: 1,
            media_ssrc: 2
        }
    );

    let entries = [
        FirEntry {
            ssrc: 3,
            command_seq: 9,
        },
        FirEntry {
            ssrc: 4,
            command_seq: 255,
        },
    ];
    let bytes = written(|out| write::fir(out, 1, &entries));
    assert_eq!(bytes[..12], [0x84, 206, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(bytes[12..20], [0, 0, 0, 3, 9, 0, 0, 0]);
    let Packet::Fir(fir) = only(&bytes) else {
        panic!()
    };
    assert_eq!(fir.sender_ssrc(), 1);
    assert_eq!(fir.entries().collect::<Vec<_>>(), entries);
}

/// RFC 4585 §6.2.1: the mask names the sixteen packets after the first, lowest bit first.
#[test]
fn missing_packets_are_packed_and_listed() {
    let missing = [0xfffe, 0xffff, 0, 14, 15, 100];
    let bytes = written(|out| write::nack(out, 1, 2, missing));
    assert_eq!(bytes[..12], [0x81, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert_eq!(
        bytes[12..],
        [0xff, 0xfe, 0x80, 0x03, 0, 15, 0, 0, 0, 100, 0, 0]
    );
    let Packet::Nack(nack) = only(&bytes) else {
        panic!()
    };
    assert_eq!((nack.sender_ssrc(), nack.media_ssrc()), (1, 2));
    assert_eq!(nack.sequence_numbers().collect::<Vec<_>>(), missing);
    assert_eq!(nack.pairs().count(), 3);
    let empty = written(|out| write::nack(out, 1, 2, []));
    let Packet::Nack(nack) = only(&empty) else {
        panic!()
    };
    assert_eq!(nack.sequence_numbers().count(), 0);
}

#[test]
fn estimates_keep_18_significant_bits() {
    let rates = [0, 1, 0x3_ffff, 0x4_0000, 2_500_001, u64::MAX];
    for rate in rates {
        let bytes = written(|out| write::remb(out, 1, rate, &[7, 8]));
        let Packet::Remb(remb) = only(&bytes) else {
            panic!("{bytes:?}")
        };
        let read = remb.bitrate_bps();
        assert!(
            read <= rate && rate - read <= rate >> 17,
            "{read} for {rate}"
        );
        assert_eq!(
            (remb.sender_ssrc(), remb.ssrcs().collect::<Vec<_>>()),
            (1, vec![7, 8])
        );
    }
    let million = written(|out| write::remb(out, 1, 1_000_000, &[7]));
    assert_eq!(
        million[8..20],
        [0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x0b, 0xd0, 0x90]
    );
    let mut huge = million;
    huge[17..20].copy_from_slice(&[0xff; 3]);
    let Packet::Remb(remb) = only(&huge) else {
        panic!()
    };
    assert_eq!(remb.bitrate_bps(), u64::MAX, "an overflow means no limit");
}

#[test]
fn other_application_feedback_is_not_an_estimate() {
    let bytes = [
        0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, b'X', b'Y', b'Z', b'W',
    ];
    let Packet::Unknown {
        packet_type: 206,
        format: 15,
        body,
    } = only(&bytes)
    else {
        panic!()
    };
    assert_eq!(body.len(), 12);
}

fn twcc(status_count: u16, lists: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xfe];
    body.extend(status_count.to_be_bytes());
    body.extend([0xff, 0xff, 0xff, 42]);
    body.extend(lists);
    body.resize(body.len().next_multiple_of(4), 0);
    let mut packet = vec![0x8f, 205];
    packet.extend((body.len() as u16 / 4).to_be_bytes());
    packet.extend(body);
    packet
}

/// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.3, §3.1.4: the chunk examples.
#[test]
fn transport_feedback_is_read_chunk_by_chunk() {
    // One-bit vector: - + + + + + - - - + + + - -, then a run of 2 large deltas.
    let lists = [
        0x9f, 0x1c, 0x40, 0x02, 1, 2, 3, 4, 5, 6, 7, 255, 0xff, 0xfe, 0x01, 0x00,
    ];
    let bytes = twcc(16, &lists);
    let Packet::Twcc(feedback) = only(&bytes) else {
        panic!()
    };
    assert_eq!((feedback.sender_ssrc(), feedback.media_ssrc()), (1, 2));
    assert_eq!((feedback.base_seq(), feedback.status_count()), (0xfffe, 16));
    assert_eq!(
        (feedback.reference_time(), feedback.feedback_count()),
        (-1, 42)
    );
    let entries: Vec<_> = feedback.entries().collect();
    let seqs: Vec<_> = (0..16).map(|n| 0xfffe_u16.wrapping_add(n)).collect();
    assert_eq!(
        entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
        seqs
    );
    let deltas: Vec<_> = entries.iter().map(|entry| entry.delta_250us).collect();
    let (no, got) = (None, Some);
    let expected = [
        no,
        got(1),
        got(2),
        got(3),
        got(4),
        got(5),
        no,
        no,
        no,
        got(6),
        got(7),
        got(255),
        no,
        no,
        got(-2),
        got(256),
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn two_bit_vectors_are_read() {
    // 01 10 00 01 00 00 00; only the first four packets count.
    let bytes = twcc(4, &[0b1101_1000, 0b0100_0000, 9, 0x80, 0x00, 8]);
    let Packet::Twcc(feedback) = only(&bytes) else {
        panic!()
    };
    let deltas: Vec<_> = feedback.entries().map(|entry| entry.delta_250us).collect();
    assert_eq!(deltas, [Some(9), Some(-32768), None, Some(8)]);
}

#[test]
fn transport_feedback_that_promises_too_much_is_refused() {
    let refused = |status_count, lists: &[u8]| {
        let bytes = twcc(status_count, lists);
        let read = Compound::new(&bytes).next().unwrap();
        assert_eq!(read.unwrap_err(), RtcpError::Malformed(205), "{lists:?}");
    };
    refused(65535, &[0x1f, 0xff]); // a chunk list that ends early (the padding is an empty run)
    refused(100, &[0x20, 100, 1, 2]); // fewer deltas than received packets
    refused(1, &[0x60, 1, 0, 0]); // the reserved symbol in a run
    refused(1, &[0b1111_0000, 0, 0, 0]); // the reserved symbol in a vector
    refused(1, &[]);
    // The announced maximum, all in runs without deltas, is legal and bounded.
    let runs: Vec<u8> = [0x1f, 0xff].repeat(8).into_iter().chain([0, 7]).collect();
    let bytes = twcc(65535, &runs);
    let Packet::Twcc(feedback) = only(&bytes) else {
        panic!()
    };
    assert_eq!(feedback.entries().count(), 65535);
}

/// RFC 3611 §4.4, §4.5.
#[test]
fn extended_reports_give_both_halves_of_the_round_trip() {
    let bytes = [
        0x80, 207, 0, 10, 0, 0, 0, 1, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 5, 0, 0, 3, 0, 0, 0, 9,
        0, 0, 1, 0, 0, 0, 2, 0, 99, 0, 0, 1, 0, 0, 0, 0,
    ];
    let Packet::Xr(report) = only(&bytes) else {
        panic!()
    };
    assert_eq!(report.sender_ssrc(), 1);
    let blocks: Vec<_> = report.blocks().collect();
    assert_eq!(blocks.len(), 3);
    let XrBlock::ReceiverReferenceTime { ntp_time } = blocks[0] else {
        panic!("{blocks:?}")
    };
    assert_eq!(ntp_time, 0x0102_0304_0506_0708);
    let XrBlock::Dlrr(entries) = blocks[1] else {
        panic!("{blocks:?}")
    };
    let entry = DlrrEntry {
        ssrc: 9,
        last_rr: 256,
        delay_since_last_rr: 512,
    };
    assert_eq!(entries.iter().collect::<Vec<_>>(), [entry]);
    assert!(matches!(blocks[2], XrBlock::Unknown { block_type: 99 }));
}

#[test]
fn compounds_are_walked_past_malformed_packets_but_not_past_bad_framing() {
    let mut bytes = vec![0x80, 200, 0, 0]; // a sender report without its fields
    bytes.extend(written(|out| write::pli(out, 1, 2)));
    bytes.extend([0x40, 200, 0, 0]); // version 1
    bytes.extend(written(|out| write::pli(out, 3, 4)));
    let read: Vec<_> = Compound::new(&bytes).collect();
    assert_eq!(read.len(), 3);
    assert_eq!(*read[0].as_ref().unwrap_err(), RtcpError::Malformed(200));
    assert!(matches!(read[1], Ok(Packet::Pli(_))));
    assert_eq!(*read[2].as_ref().unwrap_err(), RtcpError::Version(1));
}

#[test]
fn padding_is_cut_from_the_last_packet_and_refused_elsewhere() {
    let mut padded = written(|out| write::bye(out, &[1]));
    padded[0] |= 0x20;
    padded[3] += 1;
    padded.extend([0, 0, 0, 4]);
    let Packet::Bye(bye) = only(&padded) else {
        panic!()
    };
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [1]);
    let followed = [&padded[..], &written(|out| write::pli(out, 1, 2))].concat();
    let read: Vec<_> = Compound::new(&followed)
        .map(|packet| packet.err())
        .collect();
    assert_eq!(read, [Some(RtcpError::Padding)]);
    for count in [0, 9, 255] {
        let mut bad = padded.clone();
        *bad.last_mut().unwrap() = count;
        let read: Vec<_> = Compound::new(&bad).map(|packet| packet.err()).collect();
        assert_eq!(read, [Some(RtcpError::Padding)], "{count}");
    }
}

/// Touches everything a view offers; returns how many items that were.
fn exhaust(bytes: &[u8]) -> usize {
    Compound::new(bytes)
        .map(|packet| match packet {
            Ok(Packet::SenderReport(report)) => report.blocks().count(),
            Ok(Packet::ReceiverReport(report)) => report.blocks().count(),
            Ok(Packet::Sdes(sdes)) => sdes.items().count(),
            Ok(Packet::Bye(bye)) => bye.ssrcs().count() + bye.reason().len(),
            Ok(Packet::Fir(fir)) => fir.entries().count(),
            Ok(Packet::Nack(nack)) => nack.sequence_numbers().count(),
            Ok(Packet::Remb(remb)) => remb.ssrcs().count(),
            Ok(Packet::Twcc(feedback)) => {
                assert_eq!(
                    feedback.entries().count(),
                    usize::from(feedback.status_count())
                );
                feedback.entries().count()
            }
            Ok(Packet::Xr(report)) => report
                .blocks()
                .map(|block| match block {
                    XrBlock::Dlrr(entries) => entries.iter().count(),
                    _ => 1,
                })
                .sum(),
            Ok(Packet::Pli(_) | Packet::Unknown { .. }) | Err(_) => 1,
        })
        .sum()
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        kind in 200u8..=207,
        format in 0u8..32,
    ) {
        exhaust(&bytes);
        let mut framed = vec![0x80 | format, kind, 0, 0];
        framed.extend(&bytes[..bytes.len() / 4 * 4]);
        let words = (framed.len() / 4 - 1) as u16;
        framed[2..4].copy_from_slice(&words.to_be_bytes());
        exhaust(&framed);
    }

    #[test]
    fn transport_feedback_survives_the_way(
        statuses in prop::collection::vec(prop::option::of(any::<i16>()), 1..200),
        style in 0u8..3,
    ) {
        let small = |delta: i16| (0..=255).contains(&delta);
        let one_bit = style == 0 && statuses.iter().flatten().all(|delta| small(*delta));
        let symbol = |status: &Option<i16>| match status {
            None => 0u16,
            Some(delta) if small(*delta) => 1,
            Some(_) => 2,
        };
        let mut lists = vec![];
        let per_chunk = if style == 2 { 1 } else if one_bit { 14 } else { 7 };
        for chunk in statuses.chunks(per_chunk) {
            let bits = match (style, one_bit) {
                (2, _) => (symbol(&chunk[0]) << 13) | 1,
                (_, true) => chunk.iter().enumerate()
                    .fold(0x8000, |bits, (n, status)| bits | (symbol(status) << (13 - n))),
                _ => chunk.iter().enumerate()
                    .fold(0xc000, |bits, (n, status)| bits | (symbol(status) << (12 - 2 * n))),
            };
            lists.extend(bits.to_be_bytes());
        }
        for delta in statuses.iter().flatten() {
            if small(*delta) { lists.push(*delta as u8) } else { lists.extend(delta.to_be_bytes()) }
        }
        let bytes = twcc(statuses.len() as u16, &lists);
        let Packet::Twcc(feedback) = only(&bytes) else { panic!("not read") };
        let read: Vec<_> = feedback.entries().map(|entry| entry.delta_250us).collect();
        prop_assert_eq!(read, statuses);
    }

    #[test]
    fn arrivals_survive_the_way(
        base_seq: u16, reference_time in -0x80_0000..0x80_0000, feedback_count: u8,
        arrivals in prop::collection::vec(prop_oneof![Just(None), (0i16..300).prop_map(Some), any::<Option<i16>>()], 1..200),
    ) {
        let start = write::TwccStart { base_seq, reference_time, feedback_count };
        let mut out = [0; 1000];
        let len = write::twcc(&mut out, 1, 2, start, arrivals.iter().copied()).unwrap();
        let Packet::Twcc(feedback) = only(&out[..len]) else { panic!("not read") };
        prop_assert_eq!(feedback.base_seq(), base_seq);
        prop_assert_eq!(feedback.reference_time(), reference_time);
        prop_assert_eq!(feedback.feedback_count(), feedback_count);
        let read: Vec<_> = feedback.entries().map(|entry| entry.delta_250us).collect();
        let mut short = vec![0; len - 4];
        let written = write::twcc(&mut short, 1, 2, start, arrivals.iter().copied());
        prop_assert_eq!(written, Err(write::NoSpace));
        prop_assert_eq!(read, arrivals);
    }

    #[test]
    fn missing_packets_survive_the_way(
        start: u16, gaps in prop::collection::vec(1u16..40, 0..100),
    ) {
        let missing: Vec<_> = gaps.iter().scan(start, |seq, gap| {
            *seq = seq.wrapping_add(*gap);
            Some(*seq)
        }).collect();
        let mut out = [0; 1000];
        let len = write::nack(&mut out, 1, 2, missing.iter().copied()).unwrap();
        let Packet::Nack(nack) = only(&out[..len]) else { panic!("not read") };
        prop_assert_eq!(nack.sequence_numbers().collect::<Vec<_>>(), missing);
    }
}
