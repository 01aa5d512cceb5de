//! What the engine relies on in the WebRTC library it is built on, and what it promises around
//! it: one test a line of that contract, so that another version of the library is judged by
//! running this file.

use std::sync::Arc;

use std::time::Duration;

use whitewater_engine::drops::DropReason;
use whitewater_engine::session::keys::KeyCell;
use whitewater_link::{CloseReason, PatchOutcome, SessionState};
use whitewater_rtp::demux::{Kind, classify};
use whitewater_rtp::rtcp::{Compound, packet_type};
use whitewater_simnet::str0m::Rtc;
use whitewater_simnet::str0m::channel::ChannelConfig;
use whitewater_simnet::str0m::crypto::dtls::SrtpProfile;
use whitewater_simnet::str0m::rtp::{
    Extension, ExtensionMap, ExtensionSerializer, ExtensionValues, VideoOrientation,
};
use whitewater_simnet::{
    Content, Link, PeerConfig, PeerId, Piece, Script, Tapped, Way, World, stun,
};
use whitewater_srtp::{KeyingMaterial, MasterKey, Profile, Role, SrtcpOpener, SrtpOpener};

const SEED: u64 = 0x5eed;

#[test]
fn no_source_speaks_that_was_not_declared() {
    let mut world = World::new(SEED);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good());
    world.tap();
    world.run_for(secs(6));
    world.leave(viewer);
    world.leave(publisher);
    world.run_for(secs(1));

    for peer in [publisher, viewer] {
        let declared: Vec<u32> = world
            .answer(peer)
            .lines()
            .filter_map(|line| line.strip_prefix("a=ssrc:"))
            .filter_map(|line| line.split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(declared.is_empty(), peer == publisher);
        let mut opener = SrtcpOpener::new(&keys(world.keys(peer), Role::Client)).expect("keys");
        let mut reports = 0;
        for tapped in of_kind(&world, peer, Way::Down, Kind::Rtcp) {
            let mut plain = vec![0; tapped.bytes.len()];
            let size = opener.open(&tapped.bytes, &mut plain).expect("opens");
            for (kind, ssrc) in senders(&plain[..size]) {
                reports += 1;
                assert!(declared.contains(&ssrc), "type {kind} from {ssrc}");
            }
        }
        // Reports each second on each of two tracks, where there is something to report.
        assert_eq!(reports >= 8, peer == viewer, "{reports}");
    }
}

#[test]
fn a_viewers_connection_carries_the_handshake_alone() {
    // Packet indices under a viewer's keys are counted in its outlet, so nothing else may send RTP
    // or RTCP. The engine checks in debug builds that its connection hands out neither.
    let mut world = World::new(SEED);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good().loss(0.05));
    world.tap();
    world.run_for(secs(5));
    // Media and feedback of the viewer's own are not given to it either.
    let source = world.public_address(viewer);
    for tapped in of_kind(&world, publisher, Way::Up, Kind::Rtp) {
        world.inject(source, &tapped.bytes);
    }
    world.restart_ice(viewer).expect("allowed");
    world.run_for(secs(5));
    world.leave(viewer);
    world.run_for(secs(1));
    assert_eq!(world.drops(DropReason::SealRefused), 0);
    let mut opener = SrtcpOpener::new(&keys(world.keys(viewer), Role::Client)).expect("keys");
    for tapped in of_kind(&world, viewer, Way::Down, Kind::Rtcp) {
        let mut plain = vec![0; tapped.bytes.len()];
        let size = opener.open(&tapped.bytes, &mut plain).expect("opens");
        // Receiver reports are its alone: ours are sender reports and good-byes.
        for packet in Compound::new(&plain[..size]) {
            let packet = packet.expect("well-formed");
            assert!(!matches!(
                packet,
                whitewater_rtp::rtcp::Packet::ReceiverReport(_)
            ));
        }
    }
}

#[test]
fn records_of_data_channels_are_taken_out_before_the_library_sees_them() {
    // The library knows nothing of channels that were not opened, and drops what is said on them.
    let agreed = ChannelConfig {
        label: "agreed".to_owned(),
        negotiated: Some(5),
        ..ChannelConfig::default()
    };
    let config = PeerConfig {
        channels: vec![agreed],
        ..PeerConfig::default()
    };
    let mut world = World::new(SEED);
    let publisher = world.publish("cam", &config, Link::good());
    let viewer = world.watch("cam", &config, Link::good());
    world.run_for(secs(3));
    for n in 0..50 {
        assert!(world.say(publisher, "agreed", &n.to_string()));
        world.run_for(Duration::from_millis(20));
    }
    world.run_for(secs(1));
    assert_eq!(world.talk(viewer).texts("agreed").len(), 50);
    // Its DTLS goes on as before, with media and with the good-bye.
    assert!(world.watched(viewer).shown.len() > 60);
    world.hang_up(publisher);
    world.run_for(secs(1));
    let closed = world.closed(publisher).map(|(_, reason)| reason);
    assert_eq!(closed, Some(CloseReason::PeerClosed));
}

#[test]
fn credentials_are_of_our_seed_differ_between_sessions_and_change_with_a_restart() {
    let two = || {
        let mut world = World::new(SEED);
        let peers = [world.publisher("cam"), world.viewer("cam", Link::good())];
        let answers = peers.map(|peer| credentials(world.answer(peer)));
        (world, peers, answers)
    };
    let (mut world, [_, viewer], answers) = two();
    assert_eq!(answers, two().2, "the same seed");
    assert_ne!(answers[0].0, answers[1].0);
    assert_ne!(answers[0].1, answers[1].1);
    // RFC 8839 §5.4.
    assert!(
        answers
            .iter()
            .all(|(ufrag, pwd)| ufrag.len() >= 4 && pwd.len() >= 22)
    );

    world.run_for(secs(1));
    world.restart_ice(viewer).expect("allowed");
    let (ufrag, pwd) = credentials(world.answer(viewer));
    assert!(ufrag != answers[1].0 && pwd != answers[1].1);
}

#[test]
fn the_same_credentials_in_a_fragment_are_no_restart() {
    let mut world = World::new(SEED);
    let viewer = world.viewer("cam", Link::good());
    world.run_for(secs(1));
    let (ufrag, pwd) = credentials(world.offer(viewer));
    let text = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
    assert_eq!(world.patch(viewer, &text), Ok(PatchOutcome::Trickled));
}

#[test]
fn a_session_without_checks_lives_on_while_media_flows() {
    let mut world = World::new(SEED);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good());
    world.run_for(secs(5));
    let is_stun = |bytes: &[u8]| classify(bytes) == Kind::Stun;
    world.lose_up(publisher, is_stun);
    let quiet_at = world.now;
    world.run_for(secs(20));

    assert_eq!(world.closed(publisher), None);
    assert_eq!(
        world.states(publisher).last().map(|s| s.1),
        Some(SessionState::Connected)
    );
    let watched = world.watched(viewer);
    let freeze = watched.freeze_between(quiet_at, quiet_at + secs(17));
    assert!(freeze < ms(100), "{freeze:?}");
}

#[test]
fn a_check_is_answered_from_the_address_it_was_sent_to() {
    let mut world = World::new(SEED);
    let viewer = world.viewer("cam", Link::good());
    world.run_for(secs(1));
    world.tap();
    let (ufrag, pwd) = credentials(world.answer(viewer));
    let (theirs, _) = credentials(world.offer(viewer));
    let source = world.public_address(viewer);
    for local in ["192.0.2.77:3478", "203.0.113.5:3478"] {
        let local: std::net::SocketAddr = local.parse().expect("an address");
        world.inject_to(source, local, &stun::check(&ufrag, &theirs, &pwd, false));
        world.run_for(ms(10));
        let answers = of_kind(&world, viewer, Way::Down, Kind::Stun);
        let last = answers.last().expect("an answer");
        assert_eq!(last.server, local.ip());
        assert_eq!(stun::mapped_address(&last.bytes), Some(source));
    }
}

#[test]
fn every_check_has_one_answer_and_nothing_of_the_inner_path_gets_out() {
    let mut world = World::new(SEED);
    let peers = [world.publisher("cam"), world.viewer("cam", Link::good())];
    world.tap();
    world.run_for(secs(10));
    for peer in peers {
        let asked = of_kind(&world, peer, Way::Up, Kind::Stun).len();
        let answers = of_kind(&world, peer, Way::Down, Kind::Stun);
        assert!(asked >= 2);
        assert_eq!(asked, answers.len());
        let address = world.public_address(peer);
        let right = |tapped: &Tapped| stun::mapped_address(&tapped.bytes) == Some(address);
        assert!(answers.iter().all(right));
    }
}

#[test]
fn closing_sends_close_notify_and_the_peer_sees_it() {
    for link in [Link::good(), Link::wifi()] {
        let mut world = World::new(SEED);
        let peers = [world.publisher("cam"), world.viewer("cam", link)];
        world.run_for(secs(2));
        world.tap();
        for peer in peers {
            let at = world.now;
            world.leave(peer);
            assert_eq!(world.closed(peer).map(|c| c.1), Some(CloseReason::Deleted));
            assert_eq!(of_kind(&world, peer, Way::Down, Kind::Dtls).len(), 1);
            world.run_for(secs(1));
            let seen = world.closed_at(peer).expect("the peer sees it") - at;
            assert!(seen <= ms(50), "{seen:?}");
        }
        world.assert_quiescent();
    }
}

#[test]
fn the_keys_read_off_the_handshake_are_those_in_use() {
    let mut world = World::new(SEED);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good());
    assert!(
        world.keys(publisher).keys().is_none(),
        "before the handshake"
    );
    world.tap();
    world.run_for(secs(3));

    let remote = keys(world.keys(publisher), Role::Server);
    let mut rtp = SrtpOpener::new(&remote).expect("keys");
    let mut rtcp = SrtcpOpener::new(&remote).expect("keys");
    let mut read = 0;
    for tapped in of_kind(&world, publisher, Way::Up, Kind::Rtp) {
        let mut plain = vec![0; tapped.bytes.len()];
        let size = rtp.open(&tapped.bytes, &mut plain).expect("opens");
        read += usize::from(size > 12);
    }
    assert!(read > 200, "{read}");
    let reports = of_kind(&world, publisher, Way::Up, Kind::Rtcp);
    for tapped in &reports {
        let mut plain = vec![0; tapped.bytes.len()];
        rtcp.open(&tapped.bytes, &mut plain).expect("opens");
    }
    assert!(reports.len() >= 2);

    // And no other session's.
    let other = keys(world.keys(viewer), Role::Server);
    let mut wrong = SrtcpOpener::new(&other).expect("keys");
    let mut plain = vec![0; 2_000];
    assert!(wrong.open(&reports[0].bytes, &mut plain).is_err());
}

#[test]
fn connections_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Rtc>();
    let negotiated = std::thread::spawn(|| {
        let mut world = World::new(SEED);
        world.publisher("cam");
        world
    });
    let mut world = negotiated.join().expect("no panic");
    world.run_for(secs(1));
    let handed_on = std::thread::spawn(move || {
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(2));
        (world, viewer)
    });
    let (mut world, viewer) = handed_on.join().expect("no panic");
    world.run_for(secs(2));
    assert!(world.watched(viewer).shown.len() > 60);
    assert_eq!(world.watched(viewer).video.missing(), 0);
    world.close_down();
}

#[test]
fn a_batch_of_datagrams_before_one_poll_loses_nothing() {
    // The library keeps one received packet: a second one before it is taken out replaces it.
    let mut world = World::new(SEED);
    let config = PeerConfig {
        script: Script {
            key_packets: 150,
            delta_packets: 40,
            key_every: 15,
            payload_size: 100,
            ..Script::default()
        },
        ..PeerConfig::default()
    };
    let publisher = world.publish("cam", &config, Link::good());
    let viewer = world.viewer("cam", Link::good());
    world.tap();
    world.run_for(secs(4));
    let watched = world.watched(viewer);
    assert_eq!(watched.video.missing(), 0);
    assert_eq!(watched.requests, 0);
    assert_eq!(
        watched.share_shown(world.published(publisher).number()),
        1.0
    );
    let arrivals = of_kind(&world, publisher, Way::Up, Kind::Rtp);
    let together = arrivals
        .chunk_by(|one, next| one.at == next.at)
        .map(<[_]>::len);
    assert!(together.max() >= Some(150), "they did come together");
}

#[test]
fn header_extensions_pass_between_different_numberings() {
    let map = |[orientation, mid, level, dependency]: [u8; 4]| {
        let mut map = ExtensionMap::empty();
        map.set(orientation, Extension::VideoOrientation);
        map.set(mid, Extension::RtpMid);
        map.set(level, Extension::AudioLevel);
        map.set(
            dependency,
            Extension::with_serializer(DEPENDENCY_URI, DependencySerializer),
        );
        map
    };
    // The ends of the one-byte form's range (RFC 8285 §4.2), and another order.
    for (from, to) in [([1, 14, 7, 3], [14, 1, 3, 7]), ([5, 6, 7, 8], [8, 5, 6, 9])] {
        let mut world = World::new(SEED);
        let publishing = PeerConfig {
            extensions: Some(map(from)),
            script: Script {
                video_extensions: |_| {
                    let mut values = ExtensionValues {
                        video_orientation: Some(VideoOrientation::Deg90),
                        ..ExtensionValues::default()
                    };
                    values.user_values.set(Dependency(Arc::from(DEPENDENCY)));
                    values
                },
                audio_extensions: |_| ExtensionValues {
                    audio_level: Some(-42),
                    voice_activity: Some(true),
                    ..ExtensionValues::default()
                },
                ..Script::default()
            },
            ..PeerConfig::default()
        };
        let watching = PeerConfig {
            extensions: Some(map(to)),
            ..PeerConfig::default()
        };
        world.publish("cam", &publishing, Link::good());
        let viewer = world.watch("cam", &watching, Link::good());
        world.run_for(secs(3));

        let [video, audio] = &world.watched(viewer).extensions;
        let (video, audio) = (
            video.as_ref().expect("video"),
            audio.as_ref().expect("audio"),
        );
        assert_eq!(video.video_orientation, Some(VideoOrientation::Deg90));
        let dependency = video.user_values.get::<Dependency>().expect("passes");
        assert_eq!(&dependency.0[..], DEPENDENCY);
        assert_eq!(
            (audio.audio_level, audio.voice_activity),
            (Some(-42), Some(true))
        );
        assert!(audio.user_values.get::<Dependency>().is_none());
        world.close_down();
    }
}

#[test]
fn a_forged_source_moves_no_track() {
    // The library moves a track to a source it does not know by the mid of a packet alone, before
    // it has found the packet to be a forgery. If the next one of the true source is forged too,
    // the genuine one after it is lost.
    let mut world = World::new(SEED);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good());
    world.tap();
    world.run_for(secs(3));
    let address = world.public_address(publisher);
    let genuine = of_kind(&world, publisher, Way::Up, Kind::Rtp);
    for (number, tapped) in (1_u8..=200).zip(&genuine) {
        let mut forged = tapped.bytes.clone();
        forged[8] ^= number;
        world.inject(address, &forged);
        world.run_for(ms(3));
        world.inject(address, &tapped.bytes[..50]);
        world.run_for(ms(4));
    }
    world.run_for(ms(200));
    let watched = world.watched(viewer);
    assert_eq!(watched.audio.missing() + watched.video.missing(), 0);
    assert!(world.longest_freeze(viewer) < ms(100));
    assert_eq!(world.drops(DropReason::Unauthentic), 200);
}

#[test]
fn dtls_from_an_address_without_a_check_is_not_answered() {
    let mut world = World::new(SEED);
    let viewer = world.viewer("cam", Link::good());
    world.tap();
    world.run_for(secs(1));
    let hello = of_kind(&world, viewer, Way::Up, Kind::Dtls).remove(0).bytes;

    let stranger = "198.51.100.7:7".parse().expect("an address");
    let silent = world.viewer("cam", Link::good());
    world.vanish(silent);
    let unchecked = world.public_address(silent);
    for source in [stranger, unchecked] {
        let before = world.drops(DropReason::UnverifiedSource);
        world.inject(source, &hello);
        world.run_for(secs(1));
        assert_eq!(world.exchanged(source).datagrams_out, 0, "{source}");
        assert_eq!(world.drops(DropReason::UnverifiedSource), before + 1);
    }
}

#[test]
fn content_of_the_simulation_is_what_arrives() {
    // Guards the oracle of every other simulation test: a damaged payload is seen as one.
    let content = Content {
        publisher: 1,
        frame: 2,
        index: 0,
        count: 1,
        key: true,
        layer: 0,
        picture: 2,
        reference: 2,
        temporal: None,
        captured: ms(3),
    };
    let payload = content.render(Piece::Video, 100);
    use whitewater_rtp::payload::Codec;
    assert!(Codec::Vp8.is_key_frame_start(&payload));
    let delta = Content {
        key: false,
        ..content
    };
    assert!(!Codec::Vp8.is_key_frame_start(&delta.render(Piece::Video, 100)));
}

/// The datagrams of a peer that are of one protocol.
fn of_kind(world: &World, peer: PeerId, way: Way, kind: Kind) -> Vec<Tapped> {
    let all = world.tapped.iter();
    let fits = |t: &&Tapped| t.peer == peer && t.way == way && classify(&t.bytes) == kind;
    all.filter(fits).cloned().collect()
}

/// The key that the other side of `role` sends under.
fn keys(cell: &KeyCell, role: Role) -> MasterKey {
    let keys = cell.keys().expect("the handshake is done");
    let profile = match keys.profile {
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        _ => Profile::Aes128CmSha1_80,
    };
    let material = KeyingMaterial::split(profile, &keys.material, role);
    material.expect("its length fits the profile").remote
}

/// Who sent the sender reports and good-byes of a compound packet.
fn senders(compound: &[u8]) -> Vec<(u8, u32)> {
    use whitewater_rtp::rtcp::Packet;
    let mut found = Vec::new();
    for packet in Compound::new(compound) {
        match packet.expect("well-formed") {
            Packet::SenderReport(report) => {
                found.push((packet_type::SENDER_REPORT, report.info().ssrc));
            }
            Packet::Bye(bye) => {
                found.extend(bye.ssrcs().map(|ssrc| (packet_type::BYE, ssrc)));
            }
            _ => {}
        }
    }
    found
}

/// User name fragment and password of an SDP.
fn credentials(sdp: &str) -> (String, String) {
    let value = |name: &str| {
        let line = sdp.lines().find_map(|line| line.strip_prefix(name));
        line.expect("every SDP of ours has them").to_owned()
    };
    (value("a=ice-ufrag:"), value("a=ice-pwd:"))
}

/// A dependency descriptor as a publisher wrote it.
#[derive(Debug)]
struct Dependency(Arc<[u8]>);

#[derive(Debug)]
struct DependencySerializer;

impl ExtensionSerializer for DependencySerializer {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(Dependency(raw)) = values.user_values.get() else {
            return 0;
        };
        buf[..raw.len()].copy_from_slice(raw);
        raw.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(Dependency(Arc::from(buf)));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    /// RFC 8285 §4.2: the one-byte form has room for 16 bytes.
    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        let value: Option<&Dependency> = values.user_values.get();
        value.is_some_and(|Dependency(raw)| raw.len() > 16)
    }
}

const DEPENDENCY_URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
/// Longer than the one-byte form takes.
const DEPENDENCY: &[u8] = b"\xc3\x00\x07a template structure";

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
