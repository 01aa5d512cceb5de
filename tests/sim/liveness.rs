//! Peers that fall silent, move, or never come.

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::link_types::{CloseReason, Event, SessionState};
use whitewater_simnet::{Link, PeerId, World, stun};

use super::{SEEDS, credentials, ms, secs};

#[test]
fn half_open_sessions_are_freed_after_thirty_seconds() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let posted = world.viewer("cam", Link::good());
        world.vanish(posted);
        // One that checks its path, but never begins DTLS.
        let checking = world.publisher("cam");
        world.vanish(checking);
        let answer = world.answer(checking).to_owned();
        let offer = world.offer(checking).to_owned();
        let address = world.public_address(checking);
        let began = world.now;
        for _ in 0..35 {
            let [ours, pwd] = credentials(&answer);
            let [theirs, _] = credentials(&offer);
            world.inject(address, &stun::check(&ours, &theirs, &pwd, true));
            world.run_for(secs(1));
        }
        for peer in [posted, checking] {
            let (at, reason) = world.closed(peer).expect("freed");
            assert_eq!(reason, CloseReason::NeverConnected, "seed {seed}");
            let after = at - began;
            assert!(
                after >= secs(30) && after <= ms(30_100),
                "seed {seed}: {after:?}"
            );
        }
        world.assert_quiescent();
    }
}

#[test]
fn dead_peers_are_closed_after_thirty_five_seconds() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(5));
        let gone_at = world.now;
        world.vanish(publisher);
        world.vanish(viewer);
        world.run_for(secs(40));
        for peer in [publisher, viewer] {
            let (at, reason) = world.closed(peer).expect("closed");
            assert_eq!(reason, CloseReason::PeerLost, "seed {seed}");
            // A viewer is heard by its checks and reports, so up to 5 s before it died.
            let after = at - gone_at;
            assert!(
                after >= secs(29) && after <= ms(35_200),
                "seed {seed}: {after:?}"
            );
            let states: Vec<_> = world
                .states(peer)
                .into_iter()
                .map(|(_, state)| state)
                .collect();
            assert!(
                states.contains(&SessionState::Disconnected),
                "seed {seed}: {states:?}"
            );
        }
        world.assert_quiescent();
    }
}

#[test]
fn a_viewer_without_media_stays_connected() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let viewer = world.viewer("nobody", Link::wifi());
        world.run_for(secs(120));
        assert_eq!(world.closed(viewer), None, "seed {seed}");
        assert_eq!(
            world.states(viewer).last().map(|s| s.1),
            Some(SessionState::Connected)
        );
        let publisher = world.publisher("nobody");
        world.run_for(secs(3));
        assert!(world.watched(viewer).shown.len() > 40, "seed {seed}");
        assert!(world.connected_at(publisher).is_some());
        world.close_down();
    }
}

#[test]
fn a_silent_publisher_is_reported_after_three_seconds_and_when_it_is_back() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(5));
        let dark_at = world.now;
        world.black_out(publisher, secs(6));
        world.run_for(secs(12));

        let told: Vec<_> = world
            .events
            .iter()
            .filter_map(|(at, event)| match event {
                Event::PublisherSilent { silent, .. } => Some((*at - dark_at, *silent)),
                _ => None,
            })
            .collect();
        let [(fell, true), (back, false)] = told[..] else {
            panic!("seed {seed}: {told:?}");
        };
        assert!(
            fell >= ms(2_900) && fell <= ms(3_100),
            "seed {seed}: {fell:?}"
        );
        assert!(
            back >= secs(6) && back <= ms(6_500),
            "seed {seed}: {back:?}"
        );

        let since = dark_at + secs(7);
        let watched = world.watched(viewer);
        assert!(
            watched.freeze_between(since, world.now) < ms(120),
            "seed {seed}"
        );
        assert_eq!(watched.undecodable_shown, 0, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn a_peer_that_hangs_up_is_gone_at_once() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(3));
        for peer in [viewer, publisher] {
            let hung_up_at = world.now;
            world.hang_up(peer);
            world.run_for(secs(1));
            let (at, reason) = world.closed(peer).expect("closed");
            assert_eq!(reason, CloseReason::PeerClosed, "seed {seed}");
            assert!(at - hung_up_at < ms(100), "seed {seed}");
        }
        world.assert_quiescent();
    }
}

#[test]
fn everybody_hears_of_a_shutdown() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let mut world = World::with_shards(seed, shards);
        let mut peers = vec![world.publisher("cam")];
        peers.extend((0..5).map(|_| world.viewer("cam", Link::wifi())));
        world.run_for(secs(3));
        world.shut_down();
        world.run_for(secs(1));
        for &peer in &peers {
            assert!(world.closed_at(peer).is_some(), "seed {seed}");
        }
        world.assert_quiescent();
    }
}

#[test]
fn an_ice_restart_keeps_the_media_and_ends_the_old_credentials() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(8));
        for peer in [viewer, publisher] {
            let restarted_at = world.now;
            let old_answer = world.answer(peer).to_owned();
            let offer = world.offer(peer).to_owned();
            world.restart_ice(peer).expect("allowed");
            world.run_for(secs(4));

            let [ours, pwd] = credentials(&old_answer);
            let [new_ours, new_pwd] = credentials(world.answer(peer));
            assert!(ours != new_ours && pwd != new_pwd, "seed {seed}");
            let freeze = world
                .watched(viewer)
                .freeze_between(restarted_at, world.now);
            assert!(freeze < ms(120), "seed {seed}: {freeze:?}");

            let stranger = "198.51.100.9:9".parse().expect("an address");
            let before = world.drops(DropReason::StunUnknownUfrag);
            let [theirs, _] = credentials(&offer);
            world.inject(stranger, &stun::check(&ours, &theirs, &pwd, true));
            world.run_for(secs(1));
            assert_eq!(
                world.drops(DropReason::StunUnknownUfrag),
                before + 1,
                "seed {seed}"
            );
            assert_eq!(world.exchanged(stranger).bytes_out, 0, "seed {seed}");
        }
        assert_eq!(world.watched(viewer).video.missing(), 0, "seed {seed}");
        world.run_for(secs(40));
        assert_eq!(
            (world.closed(viewer), world.closed(publisher)),
            (None, None)
        );
        world.close_down();
    }
}

/// The peers of three shards arrive by chance at the right one: nearly nothing is handed on once
/// the kernel knows better, also after a peer has moved, and nothing is left when all are gone.
#[test]
fn peers_at_the_wrong_shard_are_pinned_to_theirs_also_after_a_rebind() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 3);
        world.grant_pins();
        let publishers = ["a", "b", "c", "d", "e", "f"].map(|stream| world.publisher(stream));
        let viewer = world.viewer("a", Link::good());
        for _ in 0..2 {
            world.run_for(secs(10));
            let steered = world.steered();
            assert!(steered >= 32 && world.pin_count() > 0, "seed {seed}");
            world.run_for(secs(5));
            // Checks are still handed on here; the kernel's program reads them.
            let later = world.steered() - steered;
            assert!(later < 50, "seed {seed}: {later} datagrams");
            for publisher in publishers {
                world.rebind(publisher);
            }
        }
        world.run_for(secs(10));
        let shown = world.watched(viewer).shown.len();
        world.run_for(secs(2));
        let frames = world.watched(viewer).shown.len() - shown;
        assert!(frames > 30, "seed {seed}: {frames} frames");
        world.close_down();
        assert_eq!(world.pin_count(), 0, "seed {seed}");
    }
}

#[test]
fn the_media_path_follows_a_peer_whose_nat_rebinds() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(10));
        for peer in [viewer, publisher] {
            let old = world.public_address(peer);
            let new = world.rebind(peer);
            // Media goes on within a second of the first check from there.
            let checked = world.run_until(secs(20), |world| world.exchanged(new).bytes_out > 0);
            assert!(checked, "seed {seed}");
            let checked_at = world.now;
            world.run_for(secs(1));
            let settled_at = world.now;
            let old_out = world.exchanged(old).datagrams_out;
            world.run_for(secs(3));
            assert_eq!(world.exchanged(old).datagrams_out, old_out, "seed {seed}");
            let watched = world.watched(viewer);
            let shown = watched
                .shown
                .iter()
                .any(|s| s.at > checked_at && s.at <= settled_at);
            assert!(shown, "seed {seed}");
            assert!(
                watched.freeze_between(settled_at, world.now) < ms(120),
                "seed {seed}"
            );
            assert_eq!(watched.undecodable_shown, 0, "seed {seed}");
        }
        let stayed = |peer: PeerId| world.closed(peer).is_none();
        assert!(stayed(publisher) && stayed(viewer), "seed {seed}");
        world.close_down();
    }
}
