//! Faults of a viewer's network that end, and ways to a peer that change: the picture is back within
//! a second. All of it with a stream of a megabit a second, over each way to a viewer and a publisher.

use std::time::Duration;

use whitewater_simnet::{Link, PeerConfig, PeerId, Script, World};

use super::{SEEDS, ms, secs};

/// A megabit a second, with key frames only when they are asked for.
fn stream() -> PeerConfig {
    PeerConfig {
        script: Script {
            delta_packets: 4,
            key_packets: 16,
            payload_size: 1_000,
            ..Script::default()
        },
        ..PeerConfig::default()
    }
}

/// Does `fault` to the viewer's way, then to the publisher's; it returns when the fault has ended. The
/// viewer has its picture back `within` that, and keeps it.
fn recovers(within: Duration, fault: impl Fn(&mut World, PeerId)) {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publish("cam", &stream(), Link::good());
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(6));
        for (peer, who) in [(viewer, "viewer"), (publisher, "publisher")] {
            let note = format!("seed {seed}, {who}");
            fault(&mut world, peer);
            let ended_at = world.now;
            let shown_at = |world: &World| {
                let shown = world.watched(viewer).shown.iter();
                shown.map(|s| s.at).find(|at| *at > ended_at)
            };
            world.run_until(secs(40), |world| shown_at(world).is_some());
            let back_at = shown_at(&world);
            let took = back_at.map(|at| at - ended_at);
            assert!(took.is_some_and(|took| took <= within), "{note}: {took:?}");
            // And it stays: nothing that waited is dropped, nothing is asked for too late.
            world.run_for(secs(5));
            let since = ended_at + within;
            let freeze = world.watched(viewer).freeze_between(since, world.now);
            assert!(freeze <= ms(200), "{note}: {freeze:?}");
            let watched = world.watched(viewer);
            assert_eq!(
                (watched.corrupt, watched.undecodable_shown),
                (0, 0),
                "{note}"
            );
            assert_eq!(world.closed(peer), None, "{note}");
        }
        world.close_down();
    }
}

/// For ten seconds this is the link, then the good one again.
fn for_ten_seconds(link: Link) -> impl Fn(&mut World, PeerId) {
    move |world, peer| {
        world.relink(peer, link);
        world.run_for(secs(10));
        world.relink(peer, Link::good());
    }
}

#[test]
fn the_picture_is_back_a_second_after_two_tenths_of_a_second_without_a_packet() {
    recovers(secs(1), |world, peer| {
        world.black_out(peer, ms(200));
        world.run_for(ms(200));
    });
}

#[test]
fn the_picture_is_back_a_second_after_a_hundred_milliseconds_of_jitter() {
    let shaky = Link::good().both(|path| path.jitter = ms(100));
    recovers(secs(1), for_ten_seconds(shaky));
}

#[test]
fn the_picture_is_back_a_second_after_packets_were_mixed_and_doubled() {
    let mixed = Link::wifi().reorder(0.2).duplicate(0.2);
    recovers(secs(1), for_ten_seconds(mixed));
}

#[test]
fn the_picture_is_back_a_second_after_a_tenth_of_it_was_lost() {
    recovers(secs(1), for_ten_seconds(Link::good().loss(0.1)));
}

/// The sessions outlive it: nobody has to ask for another.
#[test]
fn the_picture_is_back_three_seconds_after_half_a_minute_without_a_packet() {
    recovers(secs(3), |world, peer| {
        world.black_out(peer, secs(30));
        world.run_for(secs(30));
    });
}

/// The fault ends with the first check from the new address (RFC 8445 §11): until then nobody can
/// know that the peer has moved.
#[test]
fn the_picture_is_back_a_second_after_a_peer_is_heard_from_another_address() {
    recovers(secs(1), |world, peer| {
        let new = world.rebind(peer);
        let is_answered = |world: &World| world.exchanged(new).bytes_out > 0;
        assert!(world.run_until(secs(20), is_answered));
    });
}

/// A telephone that changes networks and says so (RFC 9725 §4.3.3).
#[test]
fn the_picture_is_back_a_second_after_an_ice_restart_from_another_address() {
    recovers(secs(1), |world, peer| {
        world.rebind(peer);
        world.restart_ice(peer).expect("allowed");
    });
}
