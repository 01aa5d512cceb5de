//! Layers over paths that are full, change, or are shared: which one flows, how soon it changes, how
//! often, and what the viewer sees of it. The whole engine takes part.

use std::time::{Duration, Instant};

use whitewater_simnet::link_types::MediaKind;
use whitewater_simnet::{Link, PeerConfig, PeerId, Script, THREE_LAYERS, World};

use super::{SEEDS, ms, secs};

/// 12, 6 and 3 packets of 500 bytes a picture: 1.6, 0.8 and 0.4 Mbit/s.
pub(crate) fn layered() -> PeerConfig {
    PeerConfig {
        script: Script {
            layers: THREE_LAYERS.to_vec(),
            delta_packets: 12,
            key_packets: 36,
            payload_size: 500,
            ..Script::default()
        },
        ..PeerConfig::default()
    }
}

fn link(bps: u64) -> Link {
    Link::good().bottleneck_down(bps, ms(300))
}

/// A publisher of three layers and a viewer on a path of this rate, after what `seconds` brought.
fn scene(seed: u64, bps: u64, seconds: u64) -> (World, PeerId, PeerId) {
    let mut world = World::new(seed);
    let publisher = world.publish("cam", &layered(), Link::good());
    let viewer = world.watch("cam", &PeerConfig::default(), link(bps));
    world.run_for(secs(seconds));
    (world, publisher, viewer)
}

/// The layers shown since then, one entry for each change; 0 is the largest.
fn changes(world: &World, viewer: PeerId, since: Instant) -> Vec<(Instant, u8)> {
    let shown = world.watched(viewer).shown.iter();
    let mut layers: Vec<(Instant, u8)> = shown
        .filter(|shown| shown.at >= since)
        .map(|shown| (shown.at, shown.content.layer))
        .collect();
    layers.dedup_by_key(|(_, layer)| *layer);
    layers
}

/// How late audio is heard, the slowest of twenty left out.
fn audio_delay(world: &World, viewer: PeerId, since: Instant) -> Duration {
    let heard = world.watched(viewer).heard.iter();
    let mut delays: Vec<Duration> = heard
        .filter(|heard| heard.at >= since)
        .map(|heard| {
            let taken_at = world.began + heard.content.captured;
            heard.at.saturating_duration_since(taken_at)
        })
        .collect();
    delays.sort_unstable();
    delays[delays.len() * 95 / 100]
}

/// Whole pictures only, whatever happened.
fn assert_whole(world: &World, viewer: PeerId, note: &str) {
    let watched = world.watched(viewer);
    assert_eq!(
        (watched.corrupt, watched.undecodable_shown),
        (0, 0),
        "{note}"
    );
}

#[test]
fn the_layer_is_the_largest_that_fits_and_stays() {
    for seed in SEEDS {
        // With headers, sound and some room to spare.
        for (bps, layer) in [(600_000, 2), (1_200_000, 1), (2_600_000, 0)] {
            let note = format!("seed {seed}, {bps}");
            let (mut world, _, viewer) = scene(seed, bps, 15);
            let settled = world.now;
            world.run_for(secs(60));
            let shown = changes(&world, viewer, settled);
            assert_eq!(shown[0].1, layer, "{note}: {shown:?}");
            // A flap is two changes: at most one a minute.
            assert!(shown.len() <= 1 + 2, "{note}: {shown:?}");
            let freeze = world.watched(viewer).freeze_between(settled, world.now);
            assert!(freeze <= ms(400), "{note}: {freeze:?}");
            let delay = audio_delay(&world, viewer, settled);
            // 10 ms of the way, and the queue.
            assert!(delay < ms(110), "{note}: {delay:?}");
            let video = world.track_reports(viewer);
            let lost = video.iter().find(|t| t.kind == MediaKind::Video);
            let lost = lost.map_or(0, |track| track.reception.packets_lost);
            assert!(lost < 100, "{note}: {lost}");
            assert_whole(&world, viewer, &note);
            world.close_down();
        }
    }
}

/// What the largest layer needs with its margin is what the path carries, nearly: it fits and does not.
#[test]
fn a_path_at_the_edge_of_a_layer_makes_it_flap_once_a_minute_at_most() {
    for seed in SEEDS {
        for bps in [1_700_000, 1_900_000] {
            let note = format!("seed {seed}, {bps}");
            let (mut world, _, viewer) = scene(seed, bps, 15);
            let settled = world.now;
            world.run_for(secs(120));
            let shown = changes(&world, viewer, settled);
            assert!(shown.len() <= 1 + 2 * 2, "{note}: {shown:?}");
            assert_whole(&world, viewer, &note);
            world.close_down();
        }
    }
}

#[test]
fn a_path_that_narrows_is_seen_in_three_tenths_of_a_second_and_one_that_widens_in_five() {
    for seed in SEEDS {
        for (narrow_bps, layer) in [(1_200_000, 1), (550_000, 2)] {
            let note = format!("seed {seed}, {narrow_bps}");
            let (mut world, publisher, viewer) = scene(seed, 3_000_000, 20);
            assert_eq!(
                changes(&world, viewer, world.now - secs(1))[0].1,
                0,
                "{note}"
            );
            let narrowed = world.now;
            world.relink(viewer, link(narrow_bps));
            world.run_for(secs(20));
            // The wish for a smaller layer's key frame takes 10 ms to the publisher.
            let requests = &world.published(publisher).layer_requests;
            let smaller = requests
                .iter()
                .find(|(at, of)| *at >= narrowed && *of > 0)
                .expect("a smaller one is asked for");
            let took = smaller.0 - narrowed;
            assert!(took <= ms(310), "{note}: {took:?}");
            let shown = changes(&world, viewer, world.now - secs(5));
            assert_eq!((shown.len(), shown[0].1), (1, layer), "{note}: {shown:?}");
            // What was under way stands in the queue before the first picture that is smaller.
            let freeze = world.watched(viewer).freeze_between(narrowed, world.now);
            assert!(freeze <= ms(700), "{note}: {freeze:?}");
            let delay = audio_delay(&world, viewer, narrowed + secs(3));
            assert!(delay < ms(110), "{note}: {delay:?}");

            let widened = world.now;
            world.relink(viewer, link(3_000_000));
            world.run_for(secs(20));
            let shown = changes(&world, viewer, widened);
            let up = shown.iter().find(|(_, layer)| *layer == 0);
            let took = up.map(|(at, _)| *at - widened);
            // From the smallest it is two moves.
            let most = if layer == 1 { secs(5) } else { secs(7) };
            assert!(took.is_some_and(|took| took <= most), "{note}: {took:?}");
            assert_eq!(shown.last().map(|(_, layer)| *layer), Some(0), "{note}");
            assert_whole(&world, viewer, &note);
            world.close_down();
        }
    }
}

/// Another rate every two seconds, 0.6 to 3 Mbit/s: as a telephone has it that moves.
#[test]
fn a_viewer_on_the_move_sees_whole_pictures_and_hears_in_time() {
    for seed in SEEDS {
        let (mut world, _, viewer) = scene(seed, 2_000_000, 10);
        let began = world.now;
        for n in 0..30 {
            world.relink(viewer, link(cellular_bps(seed, n)));
            world.run_for(secs(2));
        }
        let note = format!("seed {seed}");
        let freeze = world.watched(viewer).freeze_between(began, world.now);
        assert!(freeze <= secs(1), "{note}: {freeze:?}");
        let delay = audio_delay(&world, viewer, began);
        assert!(delay < ms(150), "{note}: {delay:?}");
        assert_whole(&world, viewer, &note);
        world.close_down();
    }
}

#[test]
fn two_viewers_behind_one_bottleneck_get_as_much() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publish("cam", &layered(), Link::good());
        let viewers = [0, 1].map(|_| world.watch("cam", &PeerConfig::default(), link(2_200_000)));
        world.share_down(viewers[0], viewers[1]);
        world.run_for(secs(20));
        let settled = world.now;
        let before = viewers.map(|viewer| sent_bytes(&world, viewer));
        world.run_for(secs(60));
        let after = viewers.map(|viewer| sent_bytes(&world, viewer));
        let sent = [0, 1].map(|n| (after[n] - before[n]) as f64);
        let smaller = sent[0].min(sent[1]) / (sent[0] + sent[1]);
        let note = format!("seed {seed}: {smaller} {sent:?}");
        // One may have the large and the other the middle one: a third.
        assert!(smaller >= 0.33, "{note}");
        for viewer in viewers {
            let freeze = world.watched(viewer).freeze_between(settled, world.now);
            assert!(freeze <= ms(800), "{note}: {freeze:?}");
            let delay = audio_delay(&world, viewer, settled);
            assert!(delay < ms(150), "{note}: {delay:?}");
            assert_whole(&world, viewer, &note);
        }
        world.close_down();
    }
}

fn sent_bytes(world: &World, viewer: PeerId) -> u64 {
    let tracks = world.track_reports(viewer);
    tracks.iter().map(|track| track.traffic.bytes).sum()
}

pub(crate) fn cellular_bps(seed: u64, n: u64) -> u64 {
    let mut mixed = (seed ^ (n << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    600_000 + (mixed >> 32) % 2_400_000
}
