//! Publishers that come, go and are muted; numbers that wrap.

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::link_types::{CloseReason, MediaKind};
use whitewater_simnet::str0m::format::Codec;
use whitewater_simnet::{Link, PeerConfig, PeerId, Script, VideoFormat, World};

use super::{SEEDS, ms, secs};

/// Other numbers for everything: H264 first, other payload types, other starts.
fn other_config() -> PeerConfig {
    PeerConfig {
        video: vec![
            VideoFormat {
                pt: 120,
                rtx_pt: Some(121),
                codec: Codec::H264,
            },
            VideoFormat {
                pt: 45,
                rtx_pt: Some(46),
                codec: Codec::Vp8,
            },
        ],
        audio_pt: 63,
        script: Script {
            seq_start: 30_000,
            timestamp_start: 77,
            ..Script::default()
        },
        ..PeerConfig::default()
    }
}

/// Sequence numbers go on without a hole, timestamps go on by about the time that passed.
fn assert_goes_on(world: &World, viewer: PeerId, seed: u64) {
    let watched = world.watched(viewer);
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
    assert_eq!(watched.video.ssrcs.len(), 1, "seed {seed}");
    assert_eq!(watched.audio.ssrcs.len(), 1, "seed {seed}");
    let ticks = |from: u32, to: u32| f64::from(to.wrapping_sub(from) as i32);
    for pair in watched.shown.windows(2) {
        let seconds = ticks(pair[0].timestamp, pair[1].timestamp) / 90_000.0;
        let passed = (pair[1].at - pair[0].at).as_secs_f64();
        assert!(
            seconds > 0.0 && (seconds - passed).abs() < 0.1,
            "seed {seed}: {pair:?}"
        );
    }
    for pair in watched.heard.windows(2) {
        let seconds = ticks(pair[0].timestamp, pair[1].timestamp) / 48_000.0;
        let passed = (pair[1].at - pair[0].at).as_secs_f64();
        assert!(
            seconds > 0.0 && (seconds - passed).abs() < 0.1,
            "seed {seed}: {pair:?}"
        );
    }
}

#[test]
fn viewers_stay_when_a_publisher_leaves_and_another_comes() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let first = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(5));
        world.leave(first);
        world.run_for(secs(3));
        let second = world.publish("cam", &other_config(), Link::good());
        let came_at = world.now;
        world.run_for(secs(5));

        assert_eq!(world.closed(viewer), None, "seed {seed}");
        let watched = world.watched(viewer);
        let number = world.published(second).number();
        let of_second = watched.shown.iter().find(|s| s.content.publisher == number);
        let first_of_second = of_second.expect("the second is seen");
        assert!(
            first_of_second.content.key && first_of_second.pt == 96,
            "seed {seed}"
        );
        assert!(first_of_second.at - came_at < secs(1), "seed {seed}");
        assert_goes_on(&world, viewer, seed);
        world.close_down();
    }
}

#[test]
fn packets_of_a_publisher_that_was_taken_over_are_dropped() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let mut world = World::with_shards(seed, shards);
        let first = world.publisher("cam");
        let viewers: Vec<PeerId> = (0..3).map(|_| world.viewer("cam", Link::good())).collect();
        world.run_for(secs(4));
        let second = world.publish("cam", &other_config(), Link::good());
        world.run_for(secs(4));
        // The first one still sends, and control has not closed it.
        assert_eq!(world.closed(first), None);
        assert!(world.drops(DropReason::StaleEpoch) > 100, "seed {seed}");
        for &viewer in &viewers {
            let watched = world.watched(viewer);
            let numbers: Vec<u32> = watched.shown.iter().map(|s| s.content.publisher).collect();
            let mut switches = numbers.clone();
            switches.dedup();
            let (one, two) = (
                world.published(first).number(),
                world.published(second).number(),
            );
            assert_eq!(switches, [one, two], "seed {seed}");
            assert_goes_on(&world, viewer, seed);
        }
        // The old one's end does not end the stream.
        world.leave(first);
        let left_at = world.now;
        world.run_for(secs(3));
        for &viewer in &viewers {
            let freeze = world.watched(viewer).freeze_between(left_at, world.now);
            assert!(freeze < ms(100), "seed {seed}: {freeze:?}");
        }
        world.close_down();
    }
}

#[test]
fn a_muted_viewer_sees_no_loss_and_resumes_with_a_key_frame() {
    mute(|_, viewer| viewer);
}

#[test]
fn a_muted_publishers_viewers_see_no_loss_and_resume_with_a_key_frame() {
    mute(|publisher, _| publisher);
}

fn mute(whom: fn(PeerId, PeerId) -> PeerId) {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        let muted = whom(publisher, viewer);
        world.run_for(secs(4));
        world.mute(muted, MediaKind::Video, true);
        world.run_for(ms(200));
        let shown = world.watched(viewer).shown.len();
        let heard = world.watched(viewer).heard.len();
        world.run_for(secs(3));
        assert_eq!(world.watched(viewer).shown.len(), shown, "seed {seed}");
        assert!(
            world.watched(viewer).heard.len() >= heard + 140,
            "seed {seed}"
        );
        assert!(world.drops(DropReason::Muted) > 100, "seed {seed}");

        let unmuted_at = world.now;
        world.mute(muted, MediaKind::Video, false);
        world.run_for(secs(3));
        let watched = world.watched(viewer);
        let resumed = watched.shown[shown];
        assert!(
            resumed.content.key && resumed.at - unmuted_at < ms(500),
            "seed {seed}"
        );
        assert_goes_on(&world, viewer, seed);

        world.mute(muted, MediaKind::Audio, true);
        world.run_for(secs(2));
        world.mute(muted, MediaKind::Audio, false);
        world.run_for(secs(2));
        assert_goes_on(&world, viewer, seed);
        assert_eq!(world.watched(viewer).requests, 0, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn sequence_numbers_and_timestamps_may_wrap() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let config = PeerConfig {
            script: Script {
                // 93 packets a second: wraps in the fourth second; 90,000 ticks in the sixth.
                seq_start: u16::MAX - 300,
                timestamp_start: u32::MAX - 500_000,
                ..Script::default()
            },
            ..PeerConfig::default()
        };
        let publisher = world.publish("cam", &config, Link::good().loss(0.01));
        let viewer = world.viewer("cam", Link::wifi().loss_down(0.01));
        world.run_for(secs(12));
        let late = world.viewer("cam", Link::good());
        world.run_for(secs(3));

        for viewer in [viewer, late] {
            let watched = world.watched(viewer);
            assert_eq!(
                (watched.corrupt, watched.undecodable_shown),
                (0, 0),
                "seed {seed}"
            );
            assert!(watched.video.is_continuous(|_, _| false), "seed {seed}");
            let number = world.published(publisher).number();
            assert!(watched.share_shown(number) > 0.99, "seed {seed}");
            // Who joins catches up first, in less than half a second.
            let caught_up = watched.shown[0].at + ms(500);
            let ordered = |pair: &[whitewater_simnet::Shown]| {
                let frames = pair[1].content.frame - pair[0].content.frame;
                let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
                let is_behind = pair[0].at < caught_up;
                // A frame takes 3,000 ticks, and captures are on a grid of 250 us.
                ticks.abs_diff(frames * 3_000) <= 50
                    || is_behind && (1..frames * 3_000).contains(&ticks)
            };
            assert!(watched.shown.windows(2).all(ordered), "seed {seed}");
        }
        world.close_down();
    }
}

#[test]
fn what_viewers_are_sent_may_wrap_too() {
    // Egress numbers begin below 2^15; at 1,500 packets a second they wrap within 45 s.
    let mut world = World::new(SEEDS[0]);
    let config = PeerConfig {
        script: Script {
            delta_packets: 50,
            key_packets: 60,
            payload_size: 50,
            ..Script::default()
        },
        ..PeerConfig::default()
    };
    let publisher = world.publish("cam", &config, Link::good());
    let viewer = world.viewer("cam", Link::good().loss_down(0.005));
    world.run_for(secs(50));

    let watched = world.watched(viewer);
    let last = *watched.video.packets.keys().next_back().expect("packets");
    assert!(last > u64::from(u16::MAX), "{last}");
    assert_eq!((watched.corrupt, watched.undecodable_shown), (0, 0));
    // The peer's library takes in what is no more than a hundred packets late, two frames here: there
    // is time for two questions.
    let share = watched.share_shown(world.published(publisher).number());
    assert!(share > 0.98, "{share}");
    let freeze = world.longest_freeze(viewer);
    assert!(freeze < ms(500), "{freeze:?}");
    world.close_down();
}

#[test]
fn a_destroyed_stream_ends_for_everybody_and_all_are_told() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let mut world = World::with_shards(seed, shards);
        let mut peers = vec![world.publisher("cam")];
        peers.extend((0..4).map(|_| world.viewer("cam", Link::good())));
        let other = world.publisher("other");
        world.run_for(secs(3));
        world.destroy("cam");
        world.run_for(secs(1));
        for &peer in &peers {
            let reason = world.closed(peer).map(|(_, reason)| reason);
            assert_eq!(reason, Some(CloseReason::StreamDestroyed), "seed {seed}");
            assert!(
                world.closed_at(peer).is_some(),
                "seed {seed}: close_notify reaches it"
            );
        }
        assert_eq!(world.closed(other), None, "seed {seed}");
        world.close_down();
    }
}
