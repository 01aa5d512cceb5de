//! What viewers' paths carry, as the server learns it, and what it sends by that.

use std::time::Duration;

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::link_types::MediaKind;
use whitewater_simnet::{Link, PeerConfig, PeerId, Script, World};

use super::{SEEDS, ms, secs};

const STARVED_SEEDS: [u64; 5] = [1, 203, 0xb0a7, 7, 0xcafe];

/// Frames of so many packets of a thousand bytes, 30 a second.
fn stream(delta_packets: u16, key_packets: u16, key_every: u32) -> PeerConfig {
    PeerConfig {
        script: Script {
            delta_packets,
            key_packets,
            key_every,
            payload_size: 1_000,
            ..Script::default()
        },
        ..PeerConfig::default()
    }
}

/// How late audio is heard, the slowest of twenty left out.
fn audio_delay(world: &World, viewer: PeerId, since: Duration) -> Duration {
    let heard = world.watched(viewer).heard.iter();
    let late = heard.filter(|heard| heard.at >= world.began + since);
    let mut delays: Vec<Duration> = late
        .map(|heard| {
            heard
                .at
                .saturating_duration_since(world.began + heard.content.captured)
        })
        .collect();
    delays.sort_unstable();
    delays[delays.len() * 95 / 100]
}

#[test]
fn the_estimate_is_what_the_path_carries() {
    for seed in SEEDS {
        for (link_bps, packets) in [(600_000, 1), (1_000_000, 2), (1_600_000, 4), (3_000_000, 8)] {
            let mut world = World::new(seed);
            world.publish("cam", &stream(packets, packets, 0), Link::good());
            let link = Link::good().bottleneck_down(link_bps, ms(200));
            let viewer = world.watch("cam", &PeerConfig::default(), link);
            world.run_for(secs(20));
            let estimate = world.estimate(viewer).expect("it reports");
            let share = estimate as f64 / link_bps as f64;
            assert!(
                (0.70..1.15).contains(&share),
                "seed {seed}, {link_bps}: {share}"
            );
            let watched = world.watched(viewer);
            assert_eq!(
                (watched.corrupt, watched.undecodable_shown),
                (0, 0),
                "seed {seed}"
            );
            world.close_down();
        }
    }
}

#[test]
fn a_path_with_room_is_known_to_have_it_for_few_bytes() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publisher("cam");
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(30));
        let report = world.report(viewer).expect("it watches");
        assert!(
            report.available_bps > Some(1_500_000),
            "seed {seed}: {report:?}"
        );
        let padding: u64 = report.tracks.iter().map(|t| t.padding.bytes).sum();
        assert!((1_000..60_000).contains(&padding), "seed {seed}: {padding}");
        assert_eq!(world.watched(viewer).video.missing(), 0, "seed {seed}");
        assert!(world.longest_freeze(viewer) <= ms(60), "seed {seed}");
        assert_eq!(world.drops(DropReason::PathFull), 0, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn a_key_frame_larger_than_the_queue_arrives_whole() {
    // 60 packets are a quarter of a second of this path, and six times its queue.
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publish("cam", &stream(2, 60, 120), Link::good());
        let link = Link::good().bottleneck_down(2_000_000, ms(50));
        let viewer = world.watch("cam", &PeerConfig::default(), link);
        // The first one comes before anything is known of the path.
        world.run_for(secs(8));
        let lost = world.lost_down(viewer);
        let began = world.now;
        world.run_for(secs(30));
        let watched = world.watched(viewer);
        assert!(
            world.lost_down(viewer) <= lost + 8,
            "seed {seed}: {}",
            world.lost_down(viewer) - lost
        );
        let keys = watched
            .shown
            .iter()
            .filter(|s| s.content.key && s.at > began);
        assert!(keys.count() >= 7, "seed {seed}");
        assert!(
            watched.freeze_between(began, world.now) < ms(450),
            "seed {seed}"
        );
        let delay = audio_delay(&world, viewer, secs(8));
        assert!(delay < ms(100), "seed {seed}: {delay:?}");
        assert_eq!(world.drops(DropReason::PathFull), 0, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn a_stream_larger_than_the_path_keeps_its_sound_and_whole_pictures() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publish("cam", &stream(6, 20, 0), Link::good());
        let link = Link::good().bottleneck_down(700_000, ms(200));
        let narrow = world.watch("cam", &PeerConfig::default(), link);
        let wide = world.viewer("cam", Link::good());
        world.run_for(secs(40));
        assert!(world.drops(DropReason::PathFull) > 100, "seed {seed}");
        let watched = world.watched(narrow);
        assert_eq!(watched.undecodable_shown, 0, "seed {seed}");
        let late = watched
            .shown
            .iter()
            .filter(|s| s.at > world.began + secs(10));
        assert!(late.count() > 100, "seed {seed}");
        let heard = watched
            .heard
            .iter()
            .filter(|h| h.at > world.began + secs(10))
            .count();
        assert!(heard > 1_400, "seed {seed}: {heard} of 1,500");
        let delay = audio_delay(&world, narrow, secs(10));
        assert!(delay < ms(150), "seed {seed}: {delay:?}");
        assert!(world.longest_freeze(wide) <= ms(100), "seed {seed}");
        assert_eq!(world.watched(wide).video.missing(), 0, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn what_waits_of_a_replaced_publisher_or_a_muted_viewer_is_not_sent() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let first = world.publish("cam", &stream(6, 60, 0), Link::good());
        let link = Link::good().bottleneck_down(700_000, ms(200));
        let viewer = world.watch("cam", &PeerConfig::default(), link);
        world.run_for(secs(10));
        let old = world.published(first).number();
        let second = world.publish("cam", &stream(1, 10, 0), Link::good());
        world.run_for(secs(1));
        let after = world.now;
        world.run_for(secs(5));
        let watched = world.watched(viewer);
        let stale = watched
            .shown
            .iter()
            .filter(|s| s.at > after && s.content.publisher == old);
        assert_eq!(stale.count(), 0, "seed {seed}");
        assert_eq!(watched.undecodable_shown, 0, "seed {seed}");
        assert!(
            watched.share_shown(world.published(second).number()) > 0.9,
            "seed {seed}"
        );
        world.mute(viewer, MediaKind::Video, true);
        world.run_for(ms(400));
        let shown = world.watched(viewer).shown.len();
        world.run_for(secs(2));
        assert_eq!(world.watched(viewer).shown.len(), shown, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn a_path_that_changes_is_followed() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publish("cam", &stream(2, 4, 0), Link::good());
        let link = |bps| Link::good().bottleneck_down(bps, ms(300));
        let viewer = world.watch("cam", &PeerConfig::default(), link(2_000_000));
        world.run_for(secs(15));
        let wide = world.estimate(viewer).expect("it reports");
        world.relink(viewer, link(450_000));
        world.run_for(secs(15));
        let narrow = world.estimate(viewer).expect("it reports");
        assert!(
            wide > 1_300_000 && narrow < 560_000,
            "seed {seed}: {wide} {narrow}"
        );
        // A second or two of a fuller queue, then sound as before.
        let delay = audio_delay(&world, viewer, secs(22));
        assert!(delay < ms(200), "seed {seed}: {delay:?}");
        world.relink(viewer, link(2_000_000));
        world.run_for(secs(40));
        let again = world.estimate(viewer).expect("it reports");
        assert!(again > 1_000_000, "seed {seed}: {again}");
        world.close_down();
    }
}

/// The machine of the viewer has no time to read, for 50 to 800 ms, and then reads everything: that is
/// not the path's doing, and nothing is gained by sending less.
#[test]
fn a_viewer_that_reads_late_is_sent_everything_all_the_same() {
    for seed in STARVED_SEEDS {
        for packets in [3, 8] {
            let mut world = World::new(seed);
            world.publish("cam", &stream(packets, 4 * packets, 0), Link::good());
            let viewer = world.watch("cam", &PeerConfig::default(), Link::good().starved());
            // Headers and audio are some 6 % on top of that.
            let stream_bps = u64::from(packets) * 1_000 * 8 * 30;
            let (mut below, mut longest) = (ms(0), ms(0));
            world.run_for(secs(3));
            for _ in 0..270 {
                world.run_for(ms(100));
                let is_below = world.estimate(viewer).is_some_and(|bps| bps < stream_bps);
                below = if is_below { below + ms(100) } else { ms(0) };
                longest = longest.max(below);
            }
            let note = format!("seed {seed}, {packets} packets");
            assert!(longest <= secs(1), "{note}: {longest:?} below");
            assert_eq!(world.drops(DropReason::PathFull), 0, "{note}");
            let watched = world.watched(viewer);
            assert_eq!(watched.video.missing(), 0, "{note}");
            assert_eq!(watched.undecodable_shown, 0, "{note}");
            // A stall, the frame that was due in it, and what waits for the pace after it.
            let freeze = world.longest_freeze(viewer);
            assert!(freeze <= ms(900), "{note}: {freeze:?}");
            world.close_down();
        }
    }
}
