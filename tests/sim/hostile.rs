//! Strangers and broken peers: nobody else notices them, and they are not answered.

use std::net::SocketAddr;

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::link_types::CloseReason;
use whitewater_simnet::rand::rngs::StdRng;
use whitewater_simnet::rand::{RngExt, SeedableRng};
use whitewater_simnet::str0m::config::DtlsCert;
use whitewater_simnet::{Link, PeerConfig, Way, World, stun};

use super::{SEEDS, credentials, ms, secs};

const STRANGER: &str = "198.51.100.66:6666";

fn stranger() -> SocketAddr {
    STRANGER.parse().expect("an address")
}

#[test]
fn garbage_is_counted_and_not_answered_and_nobody_notices() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(3));
        let mut rng = StdRng::seed_from_u64(seed);
        let calm_at = world.now;
        for _ in 0..2_000 {
            let size = rng.random_range(0..200);
            let mut bytes: Vec<u8> = (0..size).map(|_| rng.random()).collect();
            // Every protocol gets its share by the first byte (RFC 7983).
            let firsts = [0, 1, 20, 22, 63, 64, 128, 144, 200, 255];
            if let Some(first) = bytes.first_mut() {
                *first = firsts[rng.random_range(0..firsts.len())];
            }
            world.inject(stranger(), &bytes);
            world.run_for(ms(1));
        }
        world.run_for(secs(2));
        let watched = world.watched(viewer);
        assert_eq!(
            watched.video.missing() + watched.audio.missing(),
            0,
            "seed {seed}"
        );
        assert!(
            watched.freeze_between(calm_at, world.now) < ms(100),
            "seed {seed}"
        );
        assert_eq!(world.exchanged(stranger()).bytes_out, 0, "seed {seed}");
        let counted: u64 = [
            DropReason::UnknownProtocol,
            DropReason::StunMalformed,
            DropReason::UnverifiedSource,
        ]
        .map(|reason| world.drops(reason))
        .iter()
        .sum();
        assert_eq!(counted, 2_000, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn unauthenticated_checks_get_no_answer() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publisher("cam");
        world.run_for(secs(2));
        let [ours, pwd] = credentials(world.answer(publisher));
        let [theirs, _] = credentials(world.offer(publisher));
        let wrong = "x".repeat(24);
        let good = stun::check(&ours, &theirs, &pwd, true);
        let mut bad = vec![
            stun::check(&ours, &theirs, &wrong, true),
            stun::check("0000000000", &theirs, &pwd, true),
            stun::check("", "", &pwd, true),
            good[..good.len() - 1].to_vec(),
            good[..20].to_vec(),
        ];
        // One bit anywhere makes it worthless. Of FINGERPRINT only the value counts: with another
        // type it is an attribute nobody knows, behind the integrity (RFC 8489 §14.7).
        let value = good.len() - 4..good.len();
        bad.extend(
            (0..good.len() - 8)
                .chain(value)
                .map(|at| flipped(&good, at)),
        );
        // The same where no FINGERPRINT speaks up before the integrity does.
        let plain = stun::without_fingerprint(&good);
        bad.extend((0..plain.len()).map(|at| flipped(&plain, at)));
        let before = world.session_count();
        let count = bad.len();
        for bytes in bad {
            world.inject(stranger(), &bytes);
        }
        world.run_for(secs(1));
        let exchanged = world.exchanged(stranger());
        assert_eq!(exchanged.datagrams_in, count as u64, "seed {seed}");
        assert_eq!(exchanged.bytes_out, 0, "seed {seed}: the port reflects");
        assert!(world.drops(DropReason::StunIntegrity) > 10, "seed {seed}");
        assert!(
            world.drops(DropReason::StunUnknownUfrag) >= 1,
            "seed {seed}"
        );
        assert_eq!(world.session_count(), before);
        world.close_down();
    }
}

#[test]
fn what_is_answered_before_verification_is_not_larger_than_what_asked() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let viewer = world.viewer("cam", Link::good());
        world.vanish(viewer);
        world.run_for(ms(10));
        let [ours, pwd] = credentials(world.answer(viewer));
        let [theirs, _] = credentials(world.offer(viewer));
        let check = stun::check(&ours, &theirs, &pwd, true);
        for _ in 0..5 {
            world.inject(stranger(), &check);
            world.run_for(ms(500));
        }
        let exchanged = world.exchanged(stranger());
        assert_eq!(exchanged.datagrams_out, 5, "seed {seed}");
        assert!(
            exchanged.bytes_out <= exchanged.bytes_in,
            "seed {seed}: {exchanged:?}"
        );
        world.close_down();
    }
}

#[test]
fn replayed_packets_from_another_address_are_dropped() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.tap();
        world.run_for(secs(3));
        world.tapped.retain(|tapped| tapped.way == Way::Up);
        let captured: Vec<Vec<u8>> = world
            .tapped
            .iter()
            .filter(|tapped| tapped.bytes.first().is_some_and(|first| *first >= 20))
            .map(|tapped| tapped.bytes.clone())
            .collect();
        assert!(captured.len() > 300, "seed {seed}");
        let calm_at = world.now;
        for bytes in &captured {
            world.inject(stranger(), bytes);
        }
        world.run_for(secs(2));
        assert_eq!(
            world.drops(DropReason::UnverifiedSource),
            captured.len() as u64
        );
        assert_eq!(world.exchanged(stranger()).bytes_out, 0, "seed {seed}");

        // The same from the right address: old DTLS and SRTP change nothing.
        let address = world.public_address(publisher);
        for bytes in captured.iter().take(200) {
            world.inject(address, bytes);
        }
        world.run_for(secs(2));
        let watched = world.watched(viewer);
        assert!(
            watched.freeze_between(calm_at, world.now) < ms(100),
            "seed {seed}"
        );
        assert_eq!(
            watched.video.missing() + watched.audio.missing(),
            0,
            "seed {seed}"
        );
        assert_eq!(
            (watched.corrupt, watched.undecodable_shown),
            (0, 0),
            "seed {seed}"
        );
        assert_eq!(world.closed(publisher), None, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn damaged_packets_from_the_right_address_never_disturb_the_session() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.tap();
        world.run_for(secs(3));
        let mut rng = StdRng::seed_from_u64(seed);
        let tapped: Vec<_> = world
            .tapped
            .iter()
            .filter(|t| t.way == Way::Up)
            .cloned()
            .collect();
        let calm_at = world.now;
        for tapped in tapped.iter().filter(|t| t.bytes.len() > 12) {
            let mut bytes = tapped.bytes.clone();
            match rng.random_range(0..3) {
                0 => bytes.truncate(rng.random_range(1..bytes.len())),
                1 => {
                    let at = rng.random_range(1..bytes.len());
                    bytes[at] ^= 1 << rng.random_range(0..8);
                }
                _ => bytes[1..].iter_mut().for_each(|byte| *byte = rng.random()),
            }
            // Spoofed: whoever knows the address of a peer can send in its name.
            let address = world.public_address(tapped.peer);
            world.inject(address, &bytes);
            world.run_for(ms(2));
        }
        world.run_for(secs(2));
        assert_eq!(world.closed(publisher), None, "seed {seed}");
        assert_eq!(world.closed(viewer), None, "seed {seed}");
        let watched = world.watched(viewer);
        assert!(
            watched.freeze_between(calm_at, world.now) < ms(100),
            "seed {seed}"
        );
        assert_eq!(
            (watched.corrupt, watched.undecodable_shown),
            (0, 0),
            "seed {seed}"
        );
        assert_eq!(watched.audio.missing(), 0, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn a_handshake_is_not_disturbed_by_spoofed_dtls() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let viewer = world.viewer("cam", Link::good());
        world.publisher("cam");
        let address = world.public_address(viewer);
        for _ in 0..100 {
            // An alert, a handshake record and application data, in the clear.
            let kind = [21, 22, 23][rng.random_range(0..3)];
            let mut bytes = vec![kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 0];
            bytes[14] = rng.random();
            world.inject(address, &bytes);
            world.run_for(ms(2));
        }
        world.run_for(secs(4));
        assert_eq!(world.closed(viewer), None, "seed {seed}");
        assert!(world.watched(viewer).shown.len() > 30, "seed {seed}");
        world.close_down();
    }
}

/// `bytes` with one bit changed.
fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut other = bytes.to_vec();
    other[at] ^= 1;
    other
}

#[test]
fn a_certificate_of_any_size_ends_no_session_but_its_own() {
    // RFC 5246 §7.4.2 allows 16 MB. Browsers' have 300 bytes, RSA ones 1,200.
    for (names, connects) in [(20, true), (200, false)] {
        let mut world = World::new(SEEDS[0]);
        world.publisher("cam");
        let honest = world.viewer("cam", Link::good());
        world.run_for(secs(2));
        let large = PeerConfig {
            certificate: Some(certificate(names)),
            ..PeerConfig::default()
        };
        let peers = [
            world.watch("cam", &large, Link::good()),
            world.publish("other", &large, Link::good()),
        ];
        world.run_for(secs(5));
        for peer in peers {
            let ended = world.closed(peer).map(|(_, reason)| reason);
            let expected = (!connects).then_some(CloseReason::HandshakeFailed);
            assert_eq!(ended, expected, "{names}");
        }
        assert_eq!(world.watched(peers[0]).video.packets.is_empty(), !connects);
        assert_eq!(world.watched(honest).video.missing(), 0);
        assert!(world.longest_freeze(honest) < ms(100));
    }
}

/// A certificate with this many names of 40 bytes.
fn certificate(names: usize) -> DtlsCert {
    let names = (0..names).map(|n| format!("one-more-name-{n:03}-of-a-peer.example.org"));
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(names.collect::<Vec<_>>()).expect("names");
    let made = params.self_signed(&key).expect("signed");
    DtlsCert {
        certificate: made.der().to_vec(),
        private_key: key.serialize_der(),
    }
}
