//! Viewers begin with the latest key frame that was sent anyway, and catch up with the others.

use std::time::{Duration, Instant};

use whitewater_simnet::link_types::MediaKind;
use whitewater_simnet::{Link, PeerConfig, PeerId, Script, THREE_LAYERS, Way, World};

use super::{SEEDS, ms, secs};

/// A publisher that sends a key frame every four seconds.
fn every_four_seconds() -> PeerConfig {
    PeerConfig {
        script: Script {
            key_every: 120,
            ..Script::default()
        },
        ..PeerConfig::default()
    }
}

fn twenty_ms() -> Link {
    Link::good().both(|path| path.delay = ms(20))
}

/// How long after it was connected a viewer saw something.
fn waited(world: &World, viewer: PeerId) -> Duration {
    let connected_at = world.connected_at(viewer).expect("it connects");
    let first = world.watched(viewer).shown.first().expect("it sees");
    assert!(first.content.key);
    first.at.saturating_duration_since(connected_at)
}

/// Nothing is missing from the first picture on, time goes on, and at the end what is seen is live.
fn assert_caught_up(world: &World, viewer: PeerId, publisher: PeerId, note: &str) {
    let watched = world.watched(viewer);
    assert_eq!(
        (watched.corrupt, watched.undecodable_shown, watched.repeated),
        (0, 0, 0),
        "{note}"
    );
    assert_eq!(watched.video.missing(), 0, "{note}");
    let number = world.published(publisher).number();
    assert_eq!(watched.share_shown(number), 1.0, "{note}");
    for pair in watched.shown.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((1..1 << 31).contains(&step), "{note}: {pair:?}");
    }
    let last = watched.shown.last().expect("it sees");
    let behind = last.at - (world.began + last.content.captured);
    assert!(behind < ms(100), "{note}: {behind:?}");
}

/// Key frames the publisher was asked for since.
fn requests_since(world: &World, publisher: PeerId, since: Instant) -> usize {
    let requests = world.published(publisher).requests.iter();
    requests.filter(|at| **at >= since).count()
}

#[test]
fn a_viewer_sees_within_200_ms_wherever_in_four_seconds_between_key_frames_it_joins() {
    for (seed, phase) in (0..16).map(|step| (SEEDS[step % SEEDS.len()], ms(250 * step as u64))) {
        let note = format!("seed {seed}, {phase:?} after a key frame");
        let mut world = World::with_shards(seed, 1 + (seed % 2) as u16 * 2);
        let publisher = world.publish("cam", &every_four_seconds(), Link::good());
        world.viewer("cam", Link::good());
        // The fourth key frame of its own is sent after 12 s.
        world.run_for(secs(12) + phase);
        let came_at = world.now;
        let viewer = world.viewer("cam", twenty_ms());
        world.run_for(secs(3));

        let waited = waited(&world, viewer);
        assert!(waited <= ms(200), "{note}: {waited:?}");
        assert_caught_up(&world, viewer, publisher, &note);
        assert!(world.longest_freeze(viewer) <= ms(120), "{note}");
        let skew = world.watched(viewer).av_skew().expect("both report");
        assert!(skew <= ms(5), "{note}: {skew:?}");
        // What is young is there; what is old is not worth it.
        let asked = requests_since(&world, publisher, came_at);
        let expected = match phase.as_millis() {
            0..1_700 | 3_900.. => 0..=0,
            1_700..2_100 => 0..=1,
            _ => 1..=1,
        };
        assert!(expected.contains(&asked), "{note}: {asked}");
        world.close_down();
    }
}

#[test]
fn three_hundred_viewers_in_a_second_cost_the_publisher_two_key_frames_at_most() {
    for (seed, shards) in [(SEEDS[0], 1), (SEEDS[1], 3)] {
        let note = format!("seed {seed}, {shards} shards");
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publisher("cam");
        world.viewer("cam", Link::good());
        world.run_for(secs(4));
        let began = world.now;
        let viewers: Vec<_> = (0..300)
            .map(|index| {
                if index % 30 == 29 {
                    world.run_for(ms(100));
                }
                world.viewer("cam", twenty_ms())
            })
            .collect();
        world.run_for(secs(1));

        let asked = requests_since(&world, publisher, began);
        assert!((1..=2).contains(&asked), "{note}: {asked}");
        let mut times: Vec<Duration> = viewers.iter().map(|&v| waited(&world, v)).collect();
        times.sort_unstable();
        assert!(times[285] <= ms(200), "{note}: {:?}", &times[285..]);
        for viewer in viewers {
            assert_caught_up(&world, viewer, publisher, &note);
        }
        world.close_down();
    }
}

#[test]
fn viewers_one_after_the_other_wait_for_nobody() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let note = format!("seed {seed}, {shards} shards");
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publisher("cam");
        world.run_for(secs(3));
        let began = world.now;
        for _ in 0..10 {
            let viewer = world.viewer("cam", twenty_ms());
            world.run_for(ms(410));
            let waited = waited(&world, viewer);
            assert!(waited <= ms(200), "{note}: {waited:?}");
        }
        world.run_for(secs(1));
        let asked = requests_since(&world, publisher, began);
        assert!((1..=3).contains(&asked), "{note}: {asked} in four seconds");
        world.close_down();
    }
}

#[test]
fn what_the_publishers_network_lost_is_not_begun_with() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 2);
        let publisher = world.publish("cam", &every_four_seconds(), Link::good());
        world.viewer("cam", Link::good());
        world.run_for(secs(4));
        world.relink(publisher, Link::wifi().loss(0.08));
        let mut times = Vec::new();
        for _ in 0..20 {
            let viewer = world.viewer("cam", twenty_ms());
            world.run_for(ms(770));
            let watched = world.watched(viewer);
            times.push(waited(&world, viewer));
            assert_eq!(
                (watched.corrupt, watched.undecodable_shown),
                (0, 0),
                "seed {seed}"
            );
        }
        times.sort_unstable();
        assert!(times[10] <= ms(200), "seed {seed}: {times:?}");
        world.close_down();
    }
}

#[test]
fn nothing_from_before_a_mute_is_shown_to_who_comes_after_it() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let note = format!("seed {seed}, {shards} shards");
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publisher("cam");
        let viewers = [0; 3].map(|_| world.viewer("cam", Link::good()));
        world.run_for(secs(1));
        world.mute(publisher, MediaKind::Video, true);
        world.run_for(ms(50));
        let late = [0; 3].map(|_| world.viewer("cam", Link::good()));
        world.run_for(secs(1));
        for viewer in late {
            let watched = world.watched(viewer);
            assert!(world.connected_at(viewer).is_some(), "{note}");
            assert_eq!(watched.video.packets.len(), 0, "{note}");
        }
        world.mute(publisher, MediaKind::Video, false);
        world.run_for(secs(1));
        for viewer in viewers.into_iter().chain(late) {
            let watched = world.watched(viewer);
            assert_eq!(watched.undecodable_shown, 0, "{note}");
            assert!(watched.shown.len() > 20, "{note}");
        }
        world.close_down();
    }
}

/// RFC 7741 §4.2: N. Every other picture of three temporal layers is one that no other builds on.
#[test]
fn pictures_that_nothing_builds_on_are_left_out_of_what_is_caught_up_with() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let note = format!("seed {seed}, {shards} shards");
        let mut world = World::with_shards(seed, shards);
        let mut config = every_four_seconds();
        config.script.temporals = 3;
        let publisher = world.publish("cam", &config, Link::good());
        world.viewer("cam", Link::good());
        // The fourth key frame of its own is sent after 12 s.
        world.run_for(ms(13_500));
        let came_at = world.now;
        let viewer = world.viewer("cam", twenty_ms());
        world.run_for(secs(3));

        assert!(waited(&world, viewer) <= ms(200), "{note}");
        let watched = world.watched(viewer);
        assert_eq!(
            (
                watched.corrupt,
                watched.undecodable_shown,
                watched.video.missing()
            ),
            (0, 0, 0),
            "{note}"
        );
        let came = came_at - world.began;
        let of = |past: bool| {
            let shown = watched.shown.iter().map(|shown| shown.content);
            let shown = shown.filter(move |content| (content.captured < came) == past);
            shown.filter_map(|content| content.temporal.map(|temporal| temporal.id))
        };
        assert!(
            (20..=23).contains(&of(true).count()),
            "{note}: {}",
            of(true).count()
        );
        assert!(of(true).all(|id| id < 2), "{note}");
        let [all, fastest] = [of(false).count(), of(false).filter(|id| *id == 2).count()];
        assert!(
            all > 60 && (all / 2).abs_diff(fastest) <= 8,
            "{note}: {fastest} of {all}"
        );
        for pair in watched.shown.windows(2) {
            let pictures = pair[1]
                .content
                .picture
                .wrapping_sub(pair[0].content.picture);
            assert_eq!(pictures & 0x7fff, 1, "{note}: {pair:?}");
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!((1..1 << 31).contains(&step), "{note}: {pair:?}");
        }
        let asked = requests_since(&world, publisher, came_at);
        assert_eq!(asked, 0, "{note}");
        world.close_down();
    }
}

#[test]
fn a_layer_chosen_right_after_joining_is_there() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let note = format!("seed {seed}, {shards} shards");
        let mut world = World::with_shards(seed, shards);
        let config = PeerConfig {
            script: Script {
                layers: THREE_LAYERS.to_vec(),
                // All layers at once, as libwebrtc has it.
                key_every: 60,
                ..Script::default()
            },
            ..PeerConfig::default()
        };
        let publisher = world.publish("cam", &config, Link::good());
        world.viewer("cam", Link::good());
        world.run_for(secs(6));
        let viewer = world.viewer("cam", twenty_ms());
        world.run_for(ms(350));
        for (rid, layer) in [("l", 2), ("h", 0)] {
            let chosen_at = world.now;
            world.select_rid(viewer, rid);
            world.run_for(ms(120));
            let mut shown = world.watched(viewer).shown.iter();
            let first = shown.find(|shown| shown.at >= chosen_at && shown.content.layer == layer);
            assert!(first.is_some(), "{note}: {rid}");
            // A shard that had no use for the layer asks for more than it will need.
            let asked = requests_since(&world, publisher, chosen_at);
            assert!(asked == 0 || shards > 1, "{note}: {rid}");
        }
        world.run_for(secs(3));
        let watched = world.watched(viewer);
        assert_eq!(
            (
                watched.corrupt,
                watched.undecodable_shown,
                watched.video.missing()
            ),
            (0, 0, 0),
            "{note}"
        );
        for pair in watched.shown.windows(2) {
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!((1..1 << 31).contains(&step), "{note}: {pair:?}");
        }
        world.close_down();
    }
}

#[test]
fn what_is_kept_is_sent_faster_than_it_came_but_not_in_one_go() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let config = PeerConfig {
            script: Script {
                key_every: 120,
                key_packets: 40,
                delta_packets: 8,
                payload_size: 1_100,
                ..Script::default()
            },
            ..PeerConfig::default()
        };
        let publisher = world.publish("cam", &config, Link::good());
        world.viewer("cam", Link::good());
        world.run_for(ms(13_400));
        world.tap();
        // Three times the stream: what is sent at six times of it has to wait, but not long.
        let slow = twenty_ms().bottleneck_down(7_000_000, ms(400));
        let viewer = world.viewer("cam", slow);
        world.run_for(secs(3));

        let note = format!("seed {seed}");
        assert!(waited(&world, viewer) <= ms(200), "{note}");
        assert_caught_up(&world, viewer, publisher, &note);
        assert_eq!(world.lost_down(viewer), 0, "{note}");
        let sent = world.tapped.iter();
        let sent = sent.filter(|tapped| tapped.peer == viewer && tapped.way == Way::Down);
        let sent: Vec<(Instant, usize)> = sent.map(|t| (t.at, t.bytes.len())).collect();
        let most = sent.iter().map(|&(from, _)| {
            let within = sent
                .iter()
                .filter(|(at, _)| *at >= from && *at < from + ms(10));
            within.map(|(_, size)| size).sum::<usize>()
        });
        let most = most.max().unwrap_or(0);
        assert!((20_000..48_000).contains(&most), "{note}: {most} in 10 ms");
        world.close_down();
    }
}
