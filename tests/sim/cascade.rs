//! A second node that is a client of the first: what it takes there by WHEP, it brings back by WHIP
//! under another name, where it is watched.

use whitewater_simnet::engine::limits::{CONSENT_EXPIRES_AFTER, DIAL_TIMEOUT};
use whitewater_simnet::link_types::{CloseReason, Event, SessionState, StreamId};
use whitewater_simnet::{Far, Link, PeerConfig, Script, THREE_LAYERS, World};

use super::{SEEDS, ms, secs};

const COPY: StreamId = StreamId(1);

#[test]
fn a_stream_that_passes_through_another_node_arrives_whole_and_in_sync() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let mut far = Far::new(&world, seed, Link::wifi());
        let publisher = world.publisher("cam");
        far.run_for(&mut world, secs(1));
        far.pull(&mut world, "cam", COPY);
        far.run_for(&mut world, secs(2));
        far.push(&mut world, "copy", COPY);
        far.run_for(&mut world, secs(1));
        let viewer = world.viewer("copy", Link::good());
        far.run_for(&mut world, secs(15));

        let watched = world.watched(viewer);
        let connected_at = world.connected_at(viewer).expect("it connects");
        let first = watched.shown.first().expect("it sees");
        assert!(first.content.key, "seed {seed}");
        assert!(first.at - connected_at <= secs(1), "seed {seed}");
        assert_eq!((watched.corrupt, watched.undecodable_shown), (0, 0));
        assert_eq!(
            watched.share_shown(world.published(publisher).number()),
            1.0,
            "seed {seed}"
        );
        assert!(world.longest_freeze(viewer) <= ms(200), "seed {seed}");
        // The reports of the first publisher come through two servers.
        let skew = watched.av_skew().expect("both report");
        assert!(skew <= ms(10), "seed {seed}: {skew:?}");
    }
}

#[test]
fn losses_between_the_nodes_are_repaired_by_retransmission() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let mut far = Far::new(&world, seed, Link::wifi().loss(0.05));
        let publisher = world.publisher("cam");
        far.run_for(&mut world, secs(1));
        far.pull(&mut world, "cam", COPY);
        far.run_for(&mut world, secs(2));
        far.push(&mut world, "copy", COPY);
        let viewer = world.viewer("copy", Link::good());
        far.run_for(&mut world, secs(20));

        let watched = world.watched(viewer);
        let share = watched.share_shown(world.published(publisher).number());
        // Of frames of three packets and more, a fifth would be broken on each of the two ways.
        assert!(share >= 0.97, "seed {seed}: {share}");
        assert_eq!(watched.corrupt, 0, "seed {seed}");
    }
}

#[test]
fn key_frame_wishes_of_many_viewers_cross_the_link_as_few() {
    let seed = SEEDS[0];
    let mut world = World::new(seed);
    let mut far = Far::new(&world, seed, Link::good());
    let publisher = world.publisher("cam");
    far.run_for(&mut world, secs(1));
    far.pull(&mut world, "cam", COPY);
    far.run_for(&mut world, secs(2));
    far.push(&mut world, "copy", COPY);
    far.run_for(&mut world, secs(2));
    let before = world.published(publisher).requests.len();
    let viewers: Vec<_> = (0..100)
        .map(|_| world.viewer("copy", Link::good()))
        .collect();
    far.run_for(&mut world, secs(3));

    let requests = world.published(publisher).requests.len() - before;
    assert!((1..=7).contains(&requests), "{requests} in three seconds");
    for viewer in viewers {
        assert!(!world.watched(viewer).shown.is_empty(), "everybody sees");
    }
}

#[test]
fn the_end_of_either_side_leaves_nothing_behind() {
    for far_ends in [true, false] {
        let seed = SEEDS[1];
        let mut world = World::new(seed);
        let mut far = Far::new(&world, seed, Link::good());
        let publisher = world.publisher("cam");
        far.run_for(&mut world, secs(1));
        let (pulled, pulled_there) = far.pull(&mut world, "cam", COPY);
        far.run_for(&mut world, secs(1));
        let (pushed, pushed_there) = far.push(&mut world, "copy", COPY);
        far.run_for(&mut world, secs(1));
        assert_eq!(world.session_count(), 3);
        if far_ends {
            far.close(&world, pulled);
            far.close(&world, pushed);
        } else {
            world.end(pulled_there);
            world.end(pushed_there);
        }
        far.run_for(&mut world, secs(1));
        let reason = |session| far.closed(session).map(|(_, reason)| reason);
        let wanted = if far_ends {
            CloseReason::Deleted
        } else {
            // RFC 9725 §4.2: told by close_notify.
            CloseReason::PeerClosed
        };
        assert_eq!(
            (reason(pulled), reason(pushed)),
            (Some(wanted), Some(wanted))
        );
        world.leave(publisher);
        far.run_for(&mut world, secs(1));
        world.assert_quiescent();
        far.assert_quiescent();
    }
}

#[test]
fn a_node_that_vanishes_is_noticed_by_the_other() {
    let seed = SEEDS[2];
    let mut world = World::new(seed);
    let mut far = Far::new(&world, seed, Link::good());
    world.publisher("cam");
    far.run_for(&mut world, secs(1));
    let (pulled, _) = far.pull(&mut world, "cam", COPY);
    far.run_for(&mut world, secs(2));
    let states = |far: &Far| -> Vec<_> {
        let states = far.events.iter().filter_map(|(at, event)| match event {
            Event::StateChanged { session, state } if *session == pulled => Some((*at, *state)),
            _ => None,
        });
        states.collect()
    };
    assert_eq!(
        states(&far).last().map(|s| s.1),
        Some(SessionState::Connected)
    );
    // The world's node is gone; the far one hears nothing more.
    let gone_at = world.now;
    let dark = Link::good().loss(1.0);
    far.relink(dark);
    far.run_for(&mut world, secs(9));
    let (at, state) = *states(&far).last().expect("states");
    assert_eq!(state, SessionState::Disconnected);
    assert!(at - gone_at <= secs(8), "{:?}", at - gone_at);
    far.run_for(&mut world, secs(40));
    let (at, reason) = far.closed(pulled).expect("it ends");
    assert_eq!(reason, CloseReason::PeerLost);
    // RFC 7675 §5.1: counted from the last answer, which came at most an interval before.
    assert!(at - gone_at <= CONSENT_EXPIRES_AFTER + secs(1));
    assert!(at - gone_at >= CONSENT_EXPIRES_AFTER - secs(7));
    far.assert_quiescent();
}

/// RFC 9725 §4.3.3, as the client.
#[test]
fn a_restart_finds_a_new_path_to_a_server_that_still_has_the_session() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let mut far = Far::new(&world, seed, Link::good());
        let publisher = world.publisher("cam");
        far.run_for(&mut world, secs(1));
        let (pulled, pulled_there) = far.pull(&mut world, "cam", COPY);
        far.run_for(&mut world, secs(3));
        let state = |far: &Far| {
            let mut told = far.events.iter().rev();
            told.find_map(|(_, event)| match event {
                Event::StateChanged { session, state } if *session == pulled => Some(*state),
                _ => None,
            })
        };
        far.relink(Link::good().loss(1.0));
        far.run_for(&mut world, secs(9));
        // The network is there again, and has another address for the far node.
        far.relink(Link::good());
        far.move_away();
        assert_eq!(state(&far), Some(SessionState::Disconnected), "seed {seed}");
        let before = far.report(world.now, pulled).expect("it is there").traffic;

        far.restart(&mut world, pulled, pulled_there);
        far.run_for(&mut world, secs(2));
        assert_eq!(state(&far), Some(SessionState::Connected), "seed {seed}");
        let after = far.report(world.now, pulled).expect("it is there").traffic;
        assert!(after.packets > before.packets + 100, "seed {seed}");
        far.run_for(&mut world, secs(60));
        assert_eq!(far.closed(pulled), None, "consent goes on");
        far.close(&world, pulled);
        world.leave(publisher);
        far.run_for(&mut world, secs(1));
        world.assert_quiescent();
        far.assert_quiescent();
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let seed = SEEDS[0];
    let mut world = World::new(seed);
    let mut far = Far::new(&world, seed, Link::good().loss(1.0));
    world.publisher("cam");
    far.run_for(&mut world, secs(1));
    let began = world.now;
    let (pulled, _) = far.pull(&mut world, "cam", COPY);
    far.run_for(&mut world, secs(12));
    let (at, reason) = far.closed(pulled).expect("it ends");
    assert_eq!(reason, CloseReason::NeverConnected);
    assert!(at - began <= DIAL_TIMEOUT + ms(100), "{:?}", at - began);
    far.assert_quiescent();
}

#[test]
fn a_server_that_knows_nothing_of_lanes_is_sent_one_layer_whole() {
    let seed = SEEDS[0];
    let mut world = World::new(seed);
    let mut far = Far::new(&world, seed, Link::good());
    far.speak_plainly();
    let config = PeerConfig {
        script: Script {
            layers: THREE_LAYERS.to_vec(),
            delta_packets: 12,
            key_packets: 24,
            ..Script::default()
        },
        ..PeerConfig::default()
    };
    world.publish("cam", &config, Link::good());
    far.run_for(&mut world, secs(1));
    far.pull(&mut world, "cam", COPY);
    far.run_for(&mut world, secs(2));
    far.push(&mut world, "copy", COPY);
    far.run_for(&mut world, secs(2));
    let viewer = world.viewer("copy", Link::good());
    let joined_at = world.now;
    far.run_for(&mut world, secs(10));

    let watched = world.watched(viewer);
    assert_eq!((watched.corrupt, watched.undecodable_shown), (0, 0));
    assert_eq!(watched.video.missing(), 0);
    let settled = watched.shown.iter().filter(|s| s.at >= joined_at + secs(3));
    let layers: std::collections::BTreeSet<u8> = settled.map(|s| s.content.layer).collect();
    assert_eq!(layers.len(), 1, "{layers:?}");
    assert!(world.longest_freeze(viewer) <= ms(200));
}
