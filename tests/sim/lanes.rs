//! Simulcast over links: each layer that somebody beyond wants crosses once, and no other does.
//!
//! The world's `cam` is taken by a second node, which brings it back as `copy`: so every layer passes
//! a link that was asked for and one that was offered.

use std::time::Instant;

use whitewater_simnet::engine::limits::LAYER_UNUSED_FOR;
use whitewater_simnet::link_types::{CloseReason, Event, MediaKind, SessionId, StreamId};
use whitewater_simnet::{Far, Link, PeerConfig, PeerId, Script, THREE_LAYERS, World};

use super::{SEEDS, ms, secs};

const COPY: StreamId = StreamId(1);
/// The layers by their places, largest first.
const NAMES: [&str; 3] = ["h", "m", "l"];

/// A publisher of three layers, and the two links.
struct Scene {
    world: World,
    far: Far,
    publisher: PeerId,
    /// The far node's sessions: what it takes and what it brings.
    pulled: SessionId,
    pushed: SessionId,
    /// The world's side of the first of these.
    pulled_there: SessionId,
}

impl Scene {
    fn new(seed: u64, link: Link) -> Self {
        Scene::with_shards(seed, 1, link)
    }

    fn with_shards(seed: u64, shards: u16, link: Link) -> Self {
        let mut world = World::with_shards(seed, shards);
        let mut far = Far::new(&world, seed, link);
        let publisher = world.publish("cam", &layered(), Link::good());
        far.run_for(&mut world, secs(1));
        let (pulled, pulled_there) = far.pull(&mut world, "cam", COPY);
        far.run_for(&mut world, secs(2));
        let (pushed, _) = far.push(&mut world, "copy", COPY);
        far.run_for(&mut world, secs(2));
        Scene {
            world,
            far,
            publisher,
            pulled,
            pushed,
            pulled_there,
        }
    }

    fn run_for(&mut self, span: std::time::Duration) {
        self.far.run_for(&mut self.world, span);
    }

    /// Packets of each layer that crossed the two links so far: those of the world's to the far node,
    /// and those of the far node's back.
    fn crossed(&self) -> [[u64; 3]; 2] {
        let there = self.world.report_of(self.pulled_there);
        let back = self.far.report(self.world.now, self.pushed);
        [there, back].map(|report| {
            let tracks = report.expect("the link is up").tracks;
            let video = tracks.iter().filter(|t| t.kind == MediaKind::Video);
            let packets: Vec<u64> = video.map(|track| track.traffic.packets).collect();
            packets.try_into().expect("three lanes")
        })
    }

    /// The same within a span.
    fn crosses_within(&mut self, span: std::time::Duration) -> [[u64; 3]; 2] {
        let before = self.crossed();
        self.run_for(span);
        let mut after = self.crossed();
        for (after, before) in after.iter_mut().flatten().zip(before.iter().flatten()) {
            *after -= before;
        }
        after
    }

    /// The layers that a viewer was shown one after the other, from `from` on.
    fn shown(&self, viewer: PeerId, from: Instant) -> Vec<u8> {
        let shown = self.world.watched(viewer).shown.iter();
        let mut layers: Vec<u8> = shown
            .filter(|shown| shown.at >= from)
            .map(|shown| shown.content.layer)
            .collect();
        layers.dedup();
        layers
    }

    fn assert_whole(&self, viewer: PeerId, note: &str) {
        let watched = self.world.watched(viewer);
        assert_eq!(
            (watched.corrupt, watched.undecodable_shown),
            (0, 0),
            "{note}"
        );
        assert_eq!(watched.video.missing(), 0, "{note}");
        assert_eq!(watched.video.ssrcs.len(), 1, "{note}");
    }
}

/// 12, 6 and 3 packets a picture: some 580, 290 and 145 kbit/s.
fn layered() -> PeerConfig {
    PeerConfig {
        script: Script {
            layers: THREE_LAYERS.to_vec(),
            delta_packets: 12,
            key_packets: 24,
            ..Script::default()
        },
        ..PeerConfig::default()
    }
}

#[test]
fn viewers_beyond_two_links_have_each_layer_by_its_name() {
    for (seed, shards) in SEEDS.into_iter().zip([1, 3, 1]) {
        let note = format!("seed {seed}, {shards} shards");
        let mut scene = Scene::with_shards(seed, shards, Link::wifi());
        let viewers: Vec<PeerId> = NAMES
            .map(|rid| {
                let viewer = scene.world.viewer("copy", Link::good());
                scene.world.select_rid(viewer, rid);
                viewer
            })
            .into();
        scene.run_for(secs(4));
        let settled = scene.world.now;
        scene.run_for(secs(8));
        for (layer, viewer) in (0..).zip(&viewers) {
            assert_eq!(scene.shown(*viewer, settled), [layer], "{note}");
            scene.assert_whole(*viewer, &note);
            assert!(scene.world.longest_freeze(*viewer) <= ms(400), "{note}");
            let skew = scene.world.watched(*viewer).av_skew().expect("both report");
            assert!(skew <= ms(10), "{note}: {skew:?}");
        }
        let told = scene.far.layers(scene.pulled);
        let names: Vec<_> = told.iter().filter_map(|l| l.rid.as_deref()).collect();
        assert_eq!(names, NAMES, "{note}");
        assert!(told.iter().all(|layer| layer.state.is_active), "{note}");

        // One after the other, each by its next key frame.
        for layer in [2, 0, 1] {
            let asked_at = scene.world.now;
            let rid = NAMES[usize::from(layer)];
            scene.world.select_rid(viewers[0], rid);
            scene.run_for(secs(2));
            let shown = scene.world.watched(viewers[0]).shown.iter();
            let mut shown = shown.filter(|s| s.at >= asked_at && s.content.layer == layer);
            let first = shown.next().expect("it is shown");
            assert!(first.content.key, "{note}");
            assert!(
                first.at - asked_at <= ms(700),
                "{note}: {:?}",
                first.at - asked_at
            );
        }
        scene.assert_whole(viewers[0], &note);
    }
}

#[test]
fn one_copy_of_a_layer_crosses_however_many_watch_and_none_of_one_that_nobody_does() {
    for seed in SEEDS {
        let mut scene = Scene::new(seed, Link::good());
        let viewers: Vec<PeerId> = (0..20)
            .map(|_| scene.world.viewer("copy", Link::good()))
            .collect();
        for viewer in &viewers {
            scene.world.select_rid(*viewer, "l");
        }
        scene.run_for(LAYER_UNUSED_FOR * 2 + secs(2));
        let [there, back] = scene.crosses_within(secs(5));
        for [h, m, l] in [there, back] {
            assert_eq!((h, m), (0, 0), "seed {seed}");
            // Three packets a picture, thirty pictures a second.
            assert!((440..=470).contains(&l), "seed {seed}: {l}");
        }
        let told = scene.far.layers(scene.pulled);
        assert!(told.iter().all(|l| l.state.is_active), "they can be had");

        // Somebody wants another one: it is there soon.
        let asked_at = scene.world.now;
        scene.world.select_rid(viewers[0], "h");
        scene.run_for(secs(2));
        let shown = scene.world.watched(viewers[0]).shown.iter();
        let first = shown
            .filter(|s| s.at >= asked_at)
            .find(|s| s.content.layer == 0);
        let took = first.expect("it is shown").at - asked_at;
        assert!(took <= ms(500), "seed {seed}: {took:?}");
        let [there, back] = scene.crosses_within(secs(3));
        for [h, m, l] in [there, back] {
            assert!(h > 1_000 && m == 0 && l > 250, "seed {seed}: {h} {m} {l}");
        }
        for viewer in &viewers {
            scene.assert_whole(*viewer, "one or two layers");
        }

        // Nobody at all: the smallest goes on, so that who comes finds something.
        for viewer in viewers {
            scene.world.leave(viewer);
        }
        scene.run_for(LAYER_UNUSED_FOR * 2 + secs(2));
        let [there, back] = scene.crosses_within(secs(2));
        for [h, m, l] in [there, back] {
            assert!(h == 0 && m == 0 && l > 150, "seed {seed}: {h} {m} {l}");
        }
    }
}

#[test]
fn what_is_said_of_wishes_may_be_lost() {
    for seed in SEEDS {
        let mut scene = Scene::new(seed, Link::good());
        let viewer = scene.world.viewer("copy", Link::good());
        for (layer, rid) in [(2, "l"), (0, "h"), (1, "m"), (2, "l")] {
            // The first word on it and the first packets of the layer.
            scene.far.relink(Link::good().loss(1.0));
            scene.world.select_rid(viewer, rid);
            scene.run_for(ms(400));
            scene.far.relink(Link::good());
            scene.run_for(secs(3));
            let settled = scene.world.now;
            scene.run_for(LAYER_UNUSED_FOR * 2 + secs(2));
            let note = format!("seed {seed}, {rid}");
            assert_eq!(scene.shown(viewer, settled), [layer], "{note}");
            for crossed in scene.crosses_within(secs(2)) {
                for (index, packets) in (0..).zip(crossed) {
                    assert_eq!(packets > 0, index == layer, "{note}: {crossed:?}");
                }
            }
        }
        assert_eq!(scene.world.watched(viewer).corrupt, 0);
    }
}

#[test]
fn viewers_that_come_and_change_cost_two_key_frames_a_second_and_layer() {
    let mut scene = Scene::new(SEEDS[0], Link::good());
    let from = scene.world.now;
    let viewers: Vec<PeerId> = (0..40)
        .map(|n| {
            let viewer = scene.world.viewer("copy", Link::good());
            scene.world.select_rid(viewer, NAMES[n % 3]);
            viewer
        })
        .collect();
    for round in 0..5 {
        for (n, viewer) in viewers.iter().enumerate() {
            scene.world.select_rid(*viewer, NAMES[(n + round) % 3]);
            scene.run_for(ms(25));
        }
    }
    let span = scene.world.now - from;
    let requests = &scene.world.published(scene.publisher).layer_requests;
    for layer in 0..3 {
        let asked = requests.iter().filter(|(at, l)| *at >= from && *l == layer);
        let (count, most) = (asked.count(), 2.0 * span.as_secs_f64() + 1.0);
        assert!(
            count > 0 && count as f64 <= most,
            "layer {layer}: {count} in {span:?}"
        );
    }
}

#[test]
fn a_link_without_room_for_all_layers_carries_the_smaller_ones() {
    let seed = SEEDS[0];
    let mut scene = Scene::new(seed, Link::good());
    let viewers: Vec<PeerId> = NAMES
        .map(|rid| {
            let viewer = scene.world.viewer("copy", Link::good());
            scene.world.select_rid(viewer, rid);
            viewer
        })
        .into();
    scene.run_for(secs(5));
    // 435 kbit/s fit, 1,015 do not.
    scene.far.relink(Link::good().bandwidth_bps(700_000));
    scene.run_for(secs(20));
    let settled = scene.world.now;
    scene.run_for(secs(10));
    let shown: Vec<Vec<u8>> = viewers.iter().map(|v| scene.shown(*v, settled)).collect();
    assert!(!shown[0].contains(&0), "{shown:?}");
    assert_eq!(shown[2], [2], "the smallest has come through");
    scene.far.relink(Link::good());
    scene.run_for(secs(30));
    let settled = scene.world.now;
    scene.run_for(secs(3));
    for (layer, viewer) in (0..).zip(&viewers) {
        assert_eq!(
            scene.shown(*viewer, settled),
            [layer],
            "there is room again"
        );
    }
}

#[test]
fn a_publisher_of_other_layers_has_the_link_made_anew() {
    let seed = SEEDS[0];
    let mut scene = Scene::new(seed, Link::good());
    scene.world.leave(scene.publisher);
    scene.run_for(secs(1));
    let single = scene.world.publisher("cam");
    scene.run_for(secs(2));
    let closed = scene
        .world
        .events
        .iter()
        .find_map(|(_, event)| match event {
            Event::Closed { session, reason } if *session == scene.pulled_there => Some(*reason),
            _ => None,
        });
    assert_eq!(closed, Some(CloseReason::Rerouted));
    let ended = scene.far.closed(scene.pulled).map(|(_, reason)| reason);
    assert_eq!(ended, Some(CloseReason::PeerClosed));

    // What comes then is one plain layer, and the other link does as the first did.
    let (_, there) = scene.far.pull(&mut scene.world, "cam", COPY);
    scene.run_for(secs(2));
    let reason = scene.far.closed(scene.pushed).map(|(_, reason)| reason);
    assert_eq!(reason, Some(CloseReason::Rerouted));
    let (_, back) = scene.far.push(&mut scene.world, "copy", COPY);
    scene.run_for(secs(1));
    let viewer = scene.world.viewer("copy", Link::good());
    scene.run_for(secs(3));
    assert!(scene.world.watched(viewer).shown.len() > 60);
    scene.assert_whole(viewer, "plain");

    for session in [there, back] {
        scene.world.end(session);
    }
    scene.world.leave(single);
    scene.world.leave(viewer);
    scene.run_for(secs(1));
    scene.world.assert_quiescent();
    scene.far.assert_quiescent();
}
