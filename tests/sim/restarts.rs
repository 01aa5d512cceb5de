//! ICE restarts that do not go well (RFC 9725 §4.3.3), and certificates that are not the peer's.

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::link_types::{CloseReason, PatchOutcome, PatchRefusal};
use whitewater_simnet::{Link, PeerConfig, World, stun};

use super::{SEEDS, credentials, ms, secs};

/// A fragment with credentials of its own.
fn fragment(number: u32) -> String {
    format!("a=ice-ufrag:new{number}\r\na=ice-pwd:{number:024}\r\n")
}

#[test]
fn a_restart_keeps_lite_and_the_ice_options_of_the_answer() {
    let mut world = World::new(SEEDS[0]);
    let publisher = world.publisher("cam");
    let viewer = world.viewer("cam", Link::good());
    world.run_for(secs(3));
    for peer in [publisher, viewer] {
        let abilities = |text: &str| -> Vec<String> {
            ["a=ice-lite", "a=ice-options", "a=ice-pacing"]
                .iter()
                .filter_map(|name| text.lines().find(|line| line.starts_with(name)))
                .map(str::to_owned)
                .collect()
        };
        let before = abilities(world.answer(peer));
        assert_eq!(before.len(), 2, "{before:?}");
        let outcome = world.patch(peer, &fragment(1));
        let Ok(PatchOutcome::Restarted { fragment }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(abilities(&fragment), before);
    }
}

#[test]
fn a_restart_that_is_refused_leaves_everything_as_it_was() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(5));
        for peer in [publisher, viewer] {
            let refused_at = world.now;
            let short = world.patch(peer, "a=ice-ufrag:x\r\na=ice-pwd:y\r\n");
            assert!(
                matches!(short, Err(PatchRefusal::Malformed(_))),
                "{short:?}"
            );
            // Nobody uses the credentials of these; the last ones come too often.
            let mut outcomes = (0..20).map(|number| world.patch(peer, &fragment(number)));
            let refused = outcomes.find(Result::is_err);
            assert_eq!(refused, Some(Err(PatchRefusal::TooMany)), "seed {seed}");
            drop(outcomes);
            world.run_for(secs(10));
            let freeze = world.watched(viewer).freeze_between(refused_at, world.now);
            assert!(freeze < ms(120), "seed {seed}: {freeze:?}");
            assert_eq!(world.closed(peer), None, "seed {seed}");
        }
        assert_eq!(world.watched(viewer).video.missing(), 0, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn a_restart_that_comes_to_nothing_ends_with_the_loss_of_the_peer() {
    // RFC 7675 §5.1: until then the old path is used.
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(5));
        let before = world.answer(viewer).to_owned();
        // The PATCH arrives; what the peer does with its answer never does.
        world.restart_ice(viewer).expect("served");
        world.vanish(viewer);
        let gone_at = world.now;
        world.run_for(secs(25));
        assert_eq!(world.closed(viewer), None, "seed {seed}: too early");
        world.run_for(secs(15));
        let (at, reason) = world.closed(viewer).expect("closed");
        assert_eq!(reason, CloseReason::PeerLost, "seed {seed}");
        let after = at - gone_at;
        assert!(after <= ms(35_200), "seed {seed}: {after:?}");
        assert_eq!(world.closed(publisher), None);
        // Neither the old nor the new credentials lead anywhere now.
        let [ours, pwd] = credentials(&before);
        let address = world.public_address(viewer);
        let dropped = world.drops(DropReason::StunUnknownUfrag);
        world.inject(address, &stun::check(&ours, "peer", &pwd, true));
        world.run_for(secs(1));
        assert!(world.drops(DropReason::StunUnknownUfrag) > dropped);
    }
}

#[test]
fn a_peer_with_another_certificate_than_it_offered_gets_nothing_in_or_out() {
    // RFC 8827 §6.5, RFC 8122 §5.
    for seed in SEEDS {
        let mut world = World::new(seed);
        let forged = PeerConfig {
            forged_fingerprint: true,
            ..PeerConfig::default()
        };
        let publisher = world.publish("cam", &forged, Link::good());
        let honest = world.viewer("cam", Link::good());
        world.run_for(secs(5));
        let (_, reason) = world.closed(publisher).expect("dropped");
        assert_eq!(reason, CloseReason::HandshakeFailed, "seed {seed}");
        assert_eq!(world.watched(honest).video.packets.len(), 0, "seed {seed}");

        let publisher = world.publisher("other");
        let viewer = world.watch("other", &forged, Link::good());
        world.run_for(secs(5));
        let (_, reason) = world.closed(viewer).expect("dropped");
        assert_eq!(reason, CloseReason::HandshakeFailed, "seed {seed}");
        assert_eq!(world.watched(viewer).video.packets.len(), 0, "seed {seed}");
        assert_eq!(world.closed(publisher), None);
    }
}
