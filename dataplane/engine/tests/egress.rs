//! What viewers are sent, looked at with their own keys where it leaves the server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use whitewater_engine::drops::DropReason;
use whitewater_engine::limits;
use whitewater_engine::session::keys::KeyCell;
use whitewater_link::MediaKind;
use whitewater_rtp::demux::{Kind, classify};
use whitewater_rtp::rtcp::{Compound, Packet, ReportBlock, SenderInfo, write};
use whitewater_rtp::{RtpHeader, RtpPacket};
use whitewater_simnet::str0m::crypto::dtls::SrtpProfile;
use whitewater_simnet::str0m::format::Codec;
use whitewater_simnet::str0m::rtp::{Extension, ExtensionMap};
use whitewater_simnet::{Link, PeerConfig, PeerId, Script, Tapped, VideoFormat, Way, World};
use whitewater_srtp::{
    KeyingMaterial, MasterKey, Profile, Role, SrtcpOpener, SrtcpSealer, SrtpOpener,
};

const SEEDS: [u64; 2] = [5, 0xe9e5];

#[test]
fn nothing_is_sealed_twice_under_one_index() {
    // RFC 3711 §9.1, RFC 7714 §8.1: whatever happens. The openers refuse what they saw before.
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.tap();
        let first = world.publisher("cam");
        let viewer = world.viewer("cam", Link::wifi().loss(0.1).duplicate(0.05).reorder(0.05));
        world.run_for(secs(5));
        for kind in [MediaKind::Video, MediaKind::Audio] {
            world.mute(viewer, kind, true);
            world.run_for(ms(300));
            world.mute(viewer, kind, false);
        }
        world.restart_ice(viewer).expect("allowed");
        world.run_for(secs(3));
        world.mute(first, MediaKind::Video, true);
        world.run_for(ms(300));
        world.mute(first, MediaKind::Video, false);
        // Another publisher with the same numbers takes over, then leaves.
        let second = world.publish("cam", &PeerConfig::default(), Link::good().loss(0.05));
        world.run_for(secs(3));
        world.leave(second);
        world.run_for(secs(1));
        world.leave(viewer);
        world.run_for(secs(1));

        let seen = Seen::of(&world, viewer);
        assert!(seen.rtp.len() > 1_000, "seed {seed}");
        let [main, repair] = seen.video_sources(&world, viewer);
        assert!(
            seen.packets_of(main) > 500 && seen.packets_of(repair) > 20,
            "seed {seed}"
        );
        // Probes are of the same source as retransmissions, and of no other.
        assert!(
            seen.padding.len() > 5,
            "seed {seed}: {}",
            seen.padding.len()
        );
        assert!(seen.padding.iter().all(|ssrc| *ssrc == repair));
        assert_eq!(seen.goodbyes.len(), 3, "seed {seed}: {:?}", seen.goodbyes);
        // One counter for all sources of the connection.
        let indices: BTreeSet<u32> = seen.rtcp_indices.iter().copied().collect();
        assert_eq!(indices.len(), seen.rtcp_indices.len(), "seed {seed}");
    }
}

#[test]
fn a_retransmission_is_the_packet_that_was_lost() {
    let mut world = World::new(SEEDS[0]);
    world.publisher("cam");
    world.tap();
    let config = PeerConfig {
        extensions: Some(without_transport_numbers()),
        ..PeerConfig::default()
    };
    let viewer = world.watch("cam", &config, Link::good().loss_down(0.1));
    world.run_for(secs(8));
    let seen = Seen::of(&world, viewer);
    let [main, repair] = seen.video_sources(&world, viewer);
    let packets = |ssrc| seen.rtp.iter().filter(move |packet| packet.ssrc == ssrc);
    let by_number: BTreeMap<u16, &Opened> = packets(main).map(|p| (p.seq, p)).collect();
    let mut expected = None;
    let mut count = 0;
    for again in packets(repair) {
        // RFC 4588 §4: the original number in front of the original payload; numbers of its own
        // without gaps, the original's timestamp, another payload type.
        let (number, payload) = again.payload.split_at(2);
        let original = by_number[&u16::from_be_bytes([number[0], number[1]])];
        assert_eq!(payload, original.payload);
        assert_eq!(
            (again.timestamp, again.marker),
            (original.timestamp, original.marker)
        );
        assert_eq!((original.pt, again.pt), (96, 97));
        assert!(again.at > original.at && again.at - original.at < secs(1));
        assert_eq!(again.seq, expected.unwrap_or(again.seq));
        expected = Some(again.seq.wrapping_add(1));
        count += 1;
    }
    assert!(count > 30, "{count}");
    assert_eq!(seen.padding, [], "its numbers would come between");
}

#[test]
fn without_rtx_nothing_is_sent_again() {
    let mut world = World::new(SEEDS[0]);
    world.publisher("cam");
    world.tap();
    let config = PeerConfig {
        video: vec![VideoFormat {
            pt: 96,
            rtx_pt: None,
            codec: Codec::Vp8,
        }],
        ..PeerConfig::default()
    };
    let viewer = world.watch("cam", &config, Link::good());
    world.run_for(secs(3));
    let sent = Seen::of(&world, viewer).rtp;
    let last = sent.iter().rev().find(|p| p.pt == 96).expect("video");
    let mut nack = [0; 100];
    let missing = (0..20).map(|back| last.seq - back);
    let size = write::nack(&mut nack, FEEDBACK_SSRC, last.ssrc, missing).expect("room");
    Feedback::new(&world, viewer).inject(&mut world, &nack[..size]);
    world.run_for(secs(1));
    let seen = Seen::of(&world, viewer);
    let sources: BTreeSet<u32> = seen.rtp.iter().map(|packet| packet.ssrc).collect();
    assert_eq!(sources.len(), 2, "audio and video");
    assert_eq!(world.drops(DropReason::RetransmissionGone), 20);
    assert_eq!(world.watched(viewer).repeated, 0);
}

#[test]
fn repeats_stay_within_two_fifths_however_much_is_asked_for() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let config = PeerConfig {
            script: Script {
                delta_packets: 8,
                payload_size: 1_000,
                ..Script::default()
            },
            ..PeerConfig::default()
        };
        world.publish("cam", &config, Link::good());
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(2));
        world.tap();
        world.relink(viewer, Link::good().loss_down(0.6));
        world.run_for(secs(20));
        let seen = Seen::of(&world, viewer);
        let [main, repair] = seen.video_sources(&world, viewer);
        let bytes = |ssrc| {
            let of_source = seen.rtp.iter().filter(|packet| packet.ssrc == ssrc);
            of_source
                .map(|packet| packet.payload.len() as f64)
                .sum::<f64>()
        };
        // What may be saved up is spent once.
        let share = (bytes(repair) - 256.0 * 1_024.0) / bytes(main);
        assert!(share < 0.42 && share > 0.2, "seed {seed}: {share}");
        assert!(
            world.drops(DropReason::RetransmissionRefused) > 100,
            "seed {seed}"
        );
    }
}

#[test]
fn sender_reports_come_early_and_map_both_clocks() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publisher("cam");
        world.run_for(secs(5));
        world.tap();
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(12));
        let seen = Seen::of(&world, viewer);
        let cname = world
            .answer(viewer)
            .lines()
            .find_map(|l| l.split("cname:").nth(1));
        assert!(
            seen.cnames.iter().all(|name| Some(name.as_str()) == cname),
            "{:?}",
            seen.cnames
        );
        assert_eq!(seen.goodbyes.len(), 0);
        let [video, _] = seen.video_sources(&world, viewer);
        let sources: BTreeSet<u32> = seen.reports.iter().map(|(_, info)| info.ssrc).collect();
        assert_eq!(sources.len(), 2, "seed {seed}");
        for ssrc in sources {
            let media: Vec<&Opened> = seen.rtp.iter().filter(|p| p.ssrc == ssrc).collect();
            let reports = seen.reports.iter().filter(|(_, info)| info.ssrc == ssrc);
            let reports: Vec<_> = reports.collect();
            let first = reports[0].0 - media[0].at;
            assert!(first <= ms(500), "seed {seed}: {first:?}");
            assert!(
                (4..=12).contains(&reports.len()),
                "seed {seed}: {}",
                reports.len()
            );
            for (at, info) in &reports {
                let before = media.iter().filter(|packet| packet.at <= *at);
                let (mut packets, mut octets) = (0, 0);
                let mut newest = 0;
                for packet in before {
                    packets += 1;
                    octets += packet.payload.len() as u32;
                    newest = packet.timestamp;
                }
                assert_eq!((info.packet_count, info.octet_count), (packets, octets));
                // The report's moment is a little after the newest packet's capture.
                let rate = if ssrc == video { 90_000.0 } else { 48_000.0 };
                let ahead = f64::from(info.rtp_time.wrapping_sub(newest) as i32) / rate;
                assert!((0.0..0.15).contains(&ahead), "seed {seed}: {ahead}");
            }
            for pair in reports.windows(2) {
                let passed = (pair[1].0 - pair[0].0).as_secs_f64();
                assert!(passed < 3.2, "seed {seed}: {passed}");
                let ntp = (pair[1].1.ntp_time - pair[0].1.ntp_time) as f64 / 4_294_967_296.0;
                assert!((ntp - passed).abs() < 0.001, "seed {seed}: {ntp} {passed}");
            }
        }
    }
}

#[test]
fn receiver_reports_tell_the_loss_and_the_round_trip() {
    let mut world = World::new(SEEDS[0]);
    world.publisher("cam");
    let viewer = world.viewer("cam", Link::good().loss_down(0.2));
    world.run_for(secs(10));
    let (shard, id) = world.session(viewer);
    let now = world.now;
    let report = world.engine(shard).report(now);
    let session = report
        .sessions
        .iter()
        .find(|s| s.session == id)
        .expect("alive");
    for track in &session.tracks {
        let reception = track.reception;
        let trip = reception.round_trip.expect("measured");
        assert!((ms(18)..ms(40)).contains(&trip), "{trip:?}");
        assert!(reception.jitter < secs(1), "{reception:?}");
        // What was sent again counts as received.
        let audio = track.kind == MediaKind::Audio;
        assert!(!audio || reception.packets_lost > 50, "{reception:?}");
    }
    let video = session.tracks.iter().find(|t| t.kind == MediaKind::Video);
    assert!(video.expect("video").repeated.packets > 50);
}

#[test]
fn feedback_that_is_forged_or_played_again_is_refused() {
    let mut world = World::new(SEEDS[0]);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good().loss_down(0.05));
    world.tap();
    world.run_for(secs(4));
    let source = world.public_address(viewer);
    let feedback = of_kind(&world, viewer, Way::Up, Kind::Rtcp);
    assert!(feedback.len() > 10);
    let asked = world.published(publisher).requests.len();
    let before = world.drops(DropReason::Unauthentic);
    let sent = Seen::of(&world, viewer).rtp.len();
    world.pause_media(publisher, true);
    world.run_for(ms(500));
    let settled = Seen::of(&world, viewer).rtp.len();
    for tapped in &feedback {
        world.inject(source, &tapped.bytes);
        let mut forged = tapped.bytes.clone();
        let last = forged.len() - 5;
        forged[last] ^= 1;
        world.inject(source, &forged);
    }
    world.run_for(ms(200));
    assert_eq!(
        world.drops(DropReason::Unauthentic),
        before + 2 * feedback.len() as u64
    );
    assert_eq!(
        Seen::of(&world, viewer).rtp.len(),
        settled,
        "nothing is sent for it"
    );
    assert!(settled >= sent);
    assert_eq!(world.published(publisher).requests.len(), asked);
}

#[test]
fn authentic_feedback_costs_bounded_work_whatever_it_says() {
    let mut world = World::new(SEEDS[0]);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good());
    world.tap();
    world.run_for(secs(3));
    let seen = Seen::of(&world, viewer);
    let [main, repair] = seen.video_sources(&world, viewer);
    let mut feedback = Feedback::new(&world, viewer);
    let mut compound = vec![0; 60_000];

    // All numbers there are, twice: what is kept goes out again once, as far as one datagram may
    // ask, and the rest of it is not even looked for.
    let all = (0..=u16::MAX).rev().chain((0..=u16::MAX).rev());
    let newest = seen
        .rtp
        .iter()
        .rev()
        .find(|p| p.ssrc == main)
        .expect("video")
        .seq;
    let missing = all.map(|back| newest.wrapping_sub(back)).take(80_000);
    let size = write::nack(&mut compound, FEEDBACK_SSRC, main, missing).expect("room");
    feedback.inject(&mut world, &compound[..size]);
    world.run_for(ms(1));
    let gone = world.drops(DropReason::RetransmissionGone);
    let refused = world.drops(DropReason::RetransmissionRefused);
    let again = Seen::of(&world, viewer).packets_of(repair) as u64;
    assert_eq!(gone + refused + again, 256);

    // A thousand requests for a key frame in a datagram are one.
    let asked = world.published(publisher).requests.len();
    let mut size = 0;
    for _ in 0..1_000 {
        size += write::pli(&mut compound[size..], FEEDBACK_SSRC, main).expect("room");
    }
    feedback.inject(&mut world, &compound[..size]);
    world.run_for(secs(2));
    assert!(world.published(publisher).requests.len() <= asked + 2);

    // An estimate is noted.
    let size = write::remb(&mut compound, FEEDBACK_SSRC, 2_000_000, &[main]).expect("room");
    feedback.inject(&mut world, &compound[..size]);
    world.run_for(ms(10));
    let ((shard, id), now) = (world.session(viewer), world.now);
    let sessions = world.engine(shard).report(now).sessions;
    let session = sessions
        .iter()
        .find(|session| session.session == id)
        .expect("alive");
    let noted = |track: &whitewater_link::TrackReport| track.reception.bitrate_bps_max;
    assert!(
        session
            .tracks
            .iter()
            .all(|track| noted(track) == Some(2_000_000))
    );

    // Requests for what is not theirs, reports on others, and nonsense behind a good header.
    let mut size = write::pli(&mut compound, FEEDBACK_SSRC, 77).expect("room");
    let block = ReportBlock {
        ssrc: 77,
        fraction_lost: 255,
        ..ReportBlock::default()
    };
    size += write::receiver_report(&mut compound[size..], FEEDBACK_SSRC, &[block]).expect("room");
    size += write::nack(&mut compound[size..], FEEDBACK_SSRC, 77, 0..9).expect("room");
    compound[size..size + 12].copy_from_slice(&[0x9f, 201, 0, 2, 0, 0, 0, 1, 9, 9, 9, 9]);
    compound[size + 12..size + 20].copy_from_slice(&[0x5f, 255, 255, 255, 0, 0, 0, 1]);
    let asked = world.published(publisher).requests.len();
    let malformed = world.drops(DropReason::Malformed);
    feedback.inject(&mut world, &compound[..size + 20]);
    world.run_for(secs(2));
    assert_eq!(world.drops(DropReason::Malformed), malformed + 2);
    assert_eq!(world.published(publisher).requests.len(), asked);
    assert_eq!(world.closed(viewer), None);
    assert_eq!(world.watched(viewer).undecodable_shown, 0);
}

#[test]
fn every_packet_of_a_connection_has_the_next_transport_wide_number() {
    // draft-holmer-rmcat-transport-wide-cc-extensions-01 §2: one counter for media,
    // retransmissions and padding of all sources.
    let mut world = World::new(SEEDS[1]);
    world.publisher("cam");
    world.tap();
    let viewer = world.viewer("cam", Link::wifi().loss_down(0.05));
    world.run_for(secs(6));
    let id = transport_id(&world, viewer);
    let key = keys(world.keys(viewer));
    let mut opener = SrtpOpener::new(&key).expect("keys");
    let mut expected = None;
    let mut sources = BTreeSet::new();
    for tapped in of_kind(&world, viewer, Way::Down, Kind::Rtp) {
        let mut plain = vec![0; tapped.bytes.len()];
        let size = opener.open(&tapped.bytes, &mut plain).expect("opens, once");
        let packet = RtpPacket::parse(&plain[..size]).expect("RTP");
        let value = packet.header().extension(id).expect("numbered");
        let number = u16::from_be_bytes(value.try_into().expect("two bytes"));
        assert_eq!(number, expected.unwrap_or(number));
        expected = Some(number.wrapping_add(1));
        sources.insert(packet.header().ssrc());
    }
    assert_eq!(sources.len(), 3, "audio, video, retransmissions");
}

#[test]
fn lies_about_arrivals_move_the_liars_estimate_within_its_bounds_and_nobody_elses() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publisher("cam");
        // What it says itself is lost, so that only the lies are heard.
        let liar = world.viewer("cam", Link::good());
        let honest = world.viewer("cam", Link::good());
        world.lose_up(liar, is_rtcp);
        world.run_for(secs(3));
        let mut feedback = Feedback::new(&world, liar);
        let mut message = vec![0; 1_400];
        for round in 0..200_u32 {
            let size = match round % 5 {
                // All received at once; all lost; time running backwards; numbers never given.
                0 => twcc(&mut message, 0, 60_000, Some(0), round),
                1 => twcc(&mut message, 0, 60_000, None, round),
                2 => twcc(&mut message, 1, 500, Some(i16::MIN), round),
                3 => twcc(&mut message, 40_000, 500, Some(1), !round),
                _ => write::remb(&mut message, FEEDBACK_SSRC, 1 << 63, &[]).expect("room"),
            };
            feedback.inject(&mut world, &message[..size]);
            world.run_for(ms(50));
            let estimate = world.estimate(liar);
            let bounds = limits::ESTIMATE_BPS_MIN..=limits::ESTIMATE_BPS_MAX;
            assert!(
                estimate.is_none_or(|bps| bounds.contains(&bps)),
                "{estimate:?}"
            );
        }
        assert_eq!(world.watched(honest).video.missing(), 0, "seed {seed}");
        assert!(world.longest_freeze(honest) <= ms(60), "seed {seed}");
        assert!(world.estimate(honest) > Some(1_000_000), "seed {seed}");
        assert_eq!(world.closed(liar), None);
    }
}

#[test]
fn rtp_from_a_viewer_is_dropped() {
    let mut world = World::new(SEEDS[0]);
    world.publisher("cam");
    let viewer = world.viewer("cam", Link::good());
    world.tap();
    world.run_for(secs(3));
    let source = world.public_address(viewer);
    let own = of_kind(&world, viewer, Way::Down, Kind::Rtp);
    for tapped in &own[..50] {
        world.inject(source, &tapped.bytes);
    }
    world.run_for(secs(1));
    assert_eq!(world.drops(DropReason::UnexpectedMedia), 50);
    assert_eq!(world.closed(viewer), None);
    assert_eq!(world.watched(viewer).video.missing(), 0);
}

/// One packet as the viewer can read it.
struct Opened {
    at: Instant,
    ssrc: u32,
    seq: u16,
    timestamp: u32,
    marker: bool,
    pt: u8,
    payload: Vec<u8>,
}

/// All that a viewer was sent since the tap was opened.
#[derive(Default)]
struct Seen {
    rtp: Vec<Opened>,
    /// Packets of nothing but padding, by their source.
    padding: Vec<u32>,
    reports: Vec<(Instant, SenderInfo)>,
    cnames: Vec<String>,
    goodbyes: Vec<u32>,
    rtcp_indices: Vec<u32>,
}

impl Seen {
    /// Opens everything; a packet that does not open, or was sealed under an index used before,
    /// fails the test.
    fn of(world: &World, viewer: PeerId) -> Self {
        let key = keys(world.keys(viewer));
        let mut rtp = SrtpOpener::new(&key).expect("keys");
        let mut rtcp = SrtcpOpener::new(&key).expect("keys");
        let mut seen = Seen::default();
        for tapped in &world.tapped {
            if tapped.peer != viewer || tapped.way != Way::Down {
                continue;
            }
            let mut plain = vec![0; tapped.bytes.len()];
            match classify(&tapped.bytes) {
                Kind::Rtp => {
                    let size = rtp.open(&tapped.bytes, &mut plain).expect("opens, once");
                    let packet = RtpPacket::parse(&plain[..size]).expect("RTP");
                    let header: &RtpHeader<'_> = packet.header();
                    if packet.payload().is_empty() {
                        seen.padding.push(header.ssrc());
                        continue;
                    }
                    seen.rtp.push(Opened {
                        at: tapped.at,
                        ssrc: header.ssrc(),
                        seq: header.sequence_number(),
                        timestamp: header.timestamp(),
                        marker: header.marker(),
                        pt: header.payload_type(),
                        payload: packet.payload().to_vec(),
                    });
                }
                Kind::Rtcp => {
                    let size = rtcp.open(&tapped.bytes, &mut plain).expect("opens, once");
                    seen.note(tapped.at, &plain[..size]);
                    let word = tapped.bytes.last_chunk().expect("GCM: the index is last");
                    seen.rtcp_indices.push(u32::from_be_bytes(*word));
                }
                _ => {}
            }
        }
        seen
    }

    fn note(&mut self, at: Instant, compound: &[u8]) {
        for packet in Compound::new(compound) {
            match packet.expect("well-formed") {
                Packet::SenderReport(report) => self.reports.push((at, report.info())),
                Packet::Sdes(sdes) => self.cnames.extend(
                    sdes.items()
                        .map(|item| String::from_utf8_lossy(item.value).into_owned()),
                ),
                Packet::Bye(bye) => self.goodbyes.extend(bye.ssrcs()),
                other => panic!("nothing else is sent: {other:?}"),
            }
        }
    }

    fn packets_of(&self, ssrc: u32) -> usize {
        self.rtp.iter().filter(|packet| packet.ssrc == ssrc).count()
    }

    /// The sources of video and its retransmissions, as the answer names them.
    fn video_sources(&self, world: &World, viewer: PeerId) -> [u32; 2] {
        let group = world.answer(viewer).lines().find_map(|line| {
            let group = line.strip_prefix("a=ssrc-group:FID ")?;
            let mut numbers = group.split(' ').map(|n| n.parse().expect("a number"));
            Some([numbers.next()?, numbers.next()?])
        });
        group.expect("RTX is agreed")
    }
}

/// Feedback as the viewer could seal it, from a source of its own.
struct Feedback {
    sealer: SrtcpSealer,
    source: SocketAddr,
}

impl Feedback {
    fn new(world: &World, viewer: PeerId) -> Self {
        Feedback {
            sealer: SrtcpSealer::new(&material(world.keys(viewer)).local).expect("keys"),
            source: world.public_address(viewer),
        }
    }

    fn inject(&mut self, world: &mut World, compound: &[u8]) {
        let mut sealed = vec![0; compound.len() + 64];
        let size = self.sealer.seal(compound, &mut sealed).expect("seals");
        world.inject(self.source, &sealed[..size]);
    }
}

const FEEDBACK_SSRC: u32 = 0xfeed;

/// What a peer that knows no transport-wide numbers offers.
fn without_transport_numbers() -> ExtensionMap {
    let standard = ExtensionMap::standard();
    let mut map = ExtensionMap::empty();
    for id in 1..=14 {
        match standard.lookup(id) {
            None | Some(Extension::TransportSequenceNumber) => {}
            Some(extension) => map.set(id, extension.clone()),
        }
    }
    map
}

/// The number under which a viewer's packets carry theirs.
fn transport_id(world: &World, viewer: PeerId) -> u8 {
    let line = world
        .answer(viewer)
        .lines()
        .find(|line| line.contains("transport-wide-cc-extensions-01"));
    let id = line.and_then(|line| line.strip_prefix("a=extmap:")?.split(' ').next());
    id.and_then(|id| id.parse().ok()).expect("it is agreed on")
}

fn is_rtcp(datagram: &[u8]) -> bool {
    classify(datagram) == Kind::Rtcp
}

/// A transport-wide report on `count` packets from `base` on, all of which arrived this long after
/// the one before, or none.
fn twcc(out: &mut [u8], base: u16, count: u16, delta: Option<i16>, reference: u32) -> usize {
    let symbol: u16 = match delta {
        None => 0,
        Some(0..=255) => 1,
        Some(_) => 2,
    };
    // As many as the message has room for deltas.
    let count = match symbol {
        0 => count,
        _ => count.min(600),
    };
    let mut body = Vec::new();
    for word in [FEEDBACK_SSRC, 1] {
        body.extend_from_slice(&word.to_be_bytes());
    }
    body.extend_from_slice(&base.to_be_bytes());
    body.extend_from_slice(&count.to_be_bytes());
    body.extend_from_slice(&reference.to_be_bytes()[1..]);
    body.push(reference as u8);
    let mut left = count;
    while left > 0 {
        let run = left.min(0x1fff);
        body.extend_from_slice(&(symbol << 13 | run).to_be_bytes());
        left -= run;
    }
    for _ in 0..count {
        match delta {
            Some(delta @ 0..=255) => body.push(delta as u8),
            Some(delta) => body.extend_from_slice(&delta.to_be_bytes()),
            None => {}
        }
    }
    while !body.len().is_multiple_of(4) {
        body.push(0);
    }
    let words = (body.len() / 4) as u16;
    out[..4].copy_from_slice(&[0x8f, 205, (words >> 8) as u8, words as u8]);
    out[4..4 + body.len()].copy_from_slice(&body);
    4 + body.len()
}

fn of_kind(world: &World, peer: PeerId, way: Way, kind: Kind) -> Vec<Tapped> {
    let all = world.tapped.iter();
    let fits = |t: &&Tapped| t.peer == peer && t.way == way && classify(&t.bytes) == kind;
    all.filter(fits).cloned().collect()
}

/// What the server seals with.
fn keys(cell: &KeyCell) -> MasterKey {
    material(cell).remote
}

/// The keys as the viewer sees them, which asked for the handshake.
fn material(cell: &KeyCell) -> KeyingMaterial {
    let keys = cell.keys().expect("the handshake is done");
    let profile = match keys.profile {
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        _ => Profile::Aes128CmSha1_80,
    };
    KeyingMaterial::split(profile, &keys.material, Role::Client).expect("its length fits")
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
