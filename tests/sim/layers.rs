//! Simulcast: layers told apart, chosen, and changed without a trace but in size.

use std::time::Instant;

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::engine::limits;
use whitewater_simnet::link_types::{MediaKind, Selection};
use whitewater_simnet::{
    Encoding, Link, PeerConfig, PeerId, Script, Shown, THREE_LAYERS, Told, World,
};

use super::{SEEDS, ms, secs};

/// 12, 6 and 3 packets a picture: some 580, 290 and 145 kbit/s.
fn layered() -> PeerConfig {
    in_layers(&THREE_LAYERS)
}

fn in_layers(layers: &[Encoding]) -> PeerConfig {
    PeerConfig {
        script: Script {
            layers: layers.to_vec(),
            delta_packets: 12,
            key_packets: 24,
            ..Script::default()
        },
        ..PeerConfig::default()
    }
}

/// The layers that were shown one after the other, from `from` on.
fn shown_layers(world: &World, viewer: PeerId, from: Instant) -> Vec<u8> {
    let shown = world.watched(viewer).shown.iter();
    let mut layers: Vec<u8> = shown
        .filter(|shown| shown.at >= from)
        .map(|shown| shown.content.layer)
        .collect();
    layers.dedup();
    layers
}

fn first_of(world: &World, viewer: PeerId, layer: u8, from: Instant) -> Shown {
    let mut shown = world.watched(viewer).shown.iter();
    let found = shown.find(|shown| shown.at >= from && shown.content.layer == layer);
    *found.expect("it is shown")
}

/// One source, no number missing, nothing that cannot be decoded; pictures are numbered one after
/// the other, and timestamps go on as captures do, at most `off` ticks beside.
pub(crate) fn assert_seamless(world: &World, viewer: PeerId, off: u32, note: &str) {
    let watched = world.watched(viewer);
    assert_eq!(watched.video.missing(), 0, "{note}");
    assert_eq!(
        (watched.corrupt, watched.undecodable_shown),
        (0, 0),
        "{note}"
    );
    assert_eq!(watched.video.ssrcs.len(), 1, "{note}");
    for pair in watched.shown.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        let step = next.timestamp.wrapping_sub(one.timestamp);
        assert!((1..1 << 31).contains(&step), "{note}: {pair:?}");
        if one.content.publisher == next.content.publisher {
            let captured = next.content.captured.saturating_sub(one.content.captured);
            let ticks = (captured.as_micros() * 90_000 / 1_000_000) as u32;
            assert!(
                step.abs_diff(ticks) <= off,
                "{note}: {step} {ticks} {pair:?}"
            );
        }
        let numbers = next.content.picture.wrapping_sub(one.content.picture) & 0x7fff;
        // A picture that was cut off took a number too. Where a descriptor counts nobody reads them.
        let is_read = next.number.is_none();
        assert!(!is_read || (1..=2).contains(&numbers), "{note}: {pair:?}");
    }
}

/// Half a frame at 30 a second.
pub(crate) const HALF_A_FRAME: u32 = 1_500;

#[test]
fn w_sim_1_layers_are_agreed_and_told_apart() {
    // RFC 8853 §5.3.2, §5.5
    for seed in SEEDS {
        let mut world = World::new(seed);
        let publisher = world.publish("cam", &layered(), Link::good());
        let names = |world: &World| -> Vec<String> {
            let layers = world.layers(publisher).iter();
            layers.filter_map(|layer| layer.rid.clone()).collect()
        };
        assert_eq!(names(&world), ["h", "m", "l"], "before anything came");
        let answer = world.answer(publisher).to_owned();
        assert!(answer.contains("a=simulcast:recv h;m;l\r\n"), "{answer}");
        assert!(answer.contains("a=rid:m recv\r\n"), "{answer}");
        world.run_for(secs(4));

        let layers = world.layers(publisher);
        for (place, layer) in layers.iter().enumerate() {
            let state = layer.state;
            let size = (u32::from(state.width), u32::from(state.height));
            assert_eq!(size, (640 >> place, 480 >> place), "seed {seed}");
            let kbps = 12.0 * 200.0 * 8.0 * 30.0 / 1_000.0 / f64::from(1 << place);
            let told = state.bitrate_bps as f64 / 1_000.0;
            assert!(
                state.is_active && told > kbps && told < kbps * 1.4,
                "{layer:?}"
            );
            assert!((28..=32).contains(&state.frames_per_second), "{layer:?}");
        }
        world.silence_layer(publisher, 1, true);
        world.run_for(secs(1));
        let active: Vec<bool> = world
            .layers(publisher)
            .iter()
            .map(|l| l.state.is_active)
            .collect();
        assert_eq!(active, [true, false, true], "seed {seed}");
        world.close_down();
    }
}

#[test]
fn x_lay_4_a_change_comes_with_the_next_key_frame_and_leaves_no_other_trace() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let note = format!("seed {seed}, {shards} shards");
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publish("cam", &layered(), Link::good());
        let viewer = world.viewer("cam", Link::good());
        let other = world.viewer("cam", Link::good());
        world.run_for(secs(4));
        let settled = world.now;
        for (rid, layer) in [("l", 2), ("h", 0), ("m", 1), ("l", 2), ("m", 1), ("h", 0)] {
            let asked_at = world.now;
            world.select_rid(viewer, rid);
            world.run_for(secs(2));
            let first = first_of(&world, viewer, layer, asked_at);
            assert!(first.content.key, "{note}");
            let took = first.at - asked_at;
            assert!(took <= ms(500), "{note}: {took:?}");
            let requests = &world.published(publisher).layer_requests;
            let asked = requests.iter().filter(|(at, _)| *at >= asked_at);
            assert!(
                asked.clone().all(|(_, of)| *of == usize::from(layer)),
                "{note}"
            );
            assert_eq!(asked.count(), 1, "{note}");
            let report = world.track_reports(viewer);
            let video = report.iter().find(|track| track.kind == MediaKind::Video);
            assert_eq!(video.and_then(|track| track.layer), Some(layer), "{note}");
        }
        assert_eq!(
            shown_layers(&world, viewer, settled),
            [0, 2, 0, 1, 2, 1, 0],
            "{note}"
        );
        assert_seamless(&world, viewer, HALF_A_FRAME, &note);
        let freeze = world.watched(viewer).freeze_between(settled, world.now);
        assert!(freeze < ms(120), "{note}: {freeze:?}");
        // Nobody else notices, and nobody had to ask.
        assert_eq!(shown_layers(&world, other, settled), [0], "{note}");
        assert_seamless(&world, other, HALF_A_FRAME, &note);
        assert_eq!(world.watched(viewer).requests, 0, "{note}");
        world.close_down();
    }
}

#[test]
fn a_viewer_that_joins_begins_with_the_largest_layer() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 3);
        // In the reverse order of an offer.
        let layers: Vec<Encoding> = THREE_LAYERS.into_iter().rev().collect();
        let publisher = world.publish("cam", &in_layers(&layers), Link::good());
        world.run_for(secs(3));
        let came_at = world.now;
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(2));
        assert_eq!(shown_layers(&world, viewer, came_at), [0], "seed {seed}");
        let first = first_of(&world, viewer, 0, came_at);
        assert!(
            first.at - came_at < ms(700),
            "seed {seed}: {:?}",
            first.at - came_at
        );
        let requests = &world.published(publisher).layer_requests;
        let asked: Vec<usize> = requests
            .iter()
            .filter(|(at, _)| *at >= came_at)
            .map(|(_, layer)| *layer)
            .collect();
        assert_eq!(asked, [2], "seed {seed}: of the largest alone");
        world.close_down();
    }
}

#[test]
fn changes_under_loss_show_nothing_that_cannot_be_decoded() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 2);
        world.publish("cam", &layered(), Link::good().loss(0.01));
        let viewer = world.viewer("cam", Link::wifi().loss_down(0.03));
        world.run_for(secs(3));
        let settled = world.now;
        for round in 0..12 {
            world.select_rid(viewer, ["m", "l", "h"][round % 3]);
            world.run_for(ms(1_500));
        }
        let watched = world.watched(viewer);
        assert_eq!(
            (watched.corrupt, watched.undecodable_shown),
            (0, 0),
            "seed {seed}"
        );
        assert_eq!(watched.video.ssrcs.len(), 1, "seed {seed}");
        let mut seen = shown_layers(&world, viewer, settled);
        assert!(seen.len() >= 12, "seed {seed}: {seen:?}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2], "seed {seed}");
        let freeze = watched.freeze_between(settled, world.now);
        assert!(freeze < ms(1_200), "seed {seed}: {freeze:?}");
        for pair in watched.shown.windows(2) {
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!((1..1 << 31).contains(&step), "seed {seed}: {pair:?}");
        }
        world.close_down();
    }
}

#[test]
fn a_layer_that_falls_silent_is_left_for_the_next_lower() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publish("cam", &layered(), Link::good());
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(4));
        let from = world.now;
        world.silence_layer(publisher, 0, true);
        world.run_for(secs(3));
        world.silence_layer(publisher, 0, false);
        world.run_for(secs(3));
        assert_eq!(shown_layers(&world, viewer, from), [0, 1, 0], "seed {seed}");
        let freeze = world.watched(viewer).freeze_between(from, world.now);
        assert!(freeze < secs(1), "seed {seed}: {freeze:?}");
        assert_seamless(&world, viewer, HALF_A_FRAME, &format!("seed {seed}"));
        world.close_down();
    }
}

#[test]
fn a_viewer_that_says_it_can_receive_less_is_sent_less_and_later_more() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publish("cam", &layered(), Link::good());
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(4));
        world.say_bitrate(viewer, 900_000);
        world.run_for(secs(1));
        let from = world.now;
        world.say_bitrate(viewer, 400_000);
        world.run_for(secs(2));
        assert_eq!(shown_layers(&world, viewer, from), [0, 1], "seed {seed}");
        let down = first_of(&world, viewer, 1, from);
        assert!(
            down.at - from < ms(300),
            "seed {seed}: {:?}",
            down.at - from
        );
        let from = world.now;
        world.say_bitrate(viewer, 5_000_000);
        world.run_for(secs(5));
        assert_eq!(shown_layers(&world, viewer, from), [1, 0], "seed {seed}");
        // A larger layer has to have fitted for a while, which is looked at whenever the layers' rates
        // are told; its key frame takes a round trip to the publisher and one to the viewer.
        let up = first_of(&world, viewer, 0, from).at - from;
        let latest = limits::LAYER_UP_AFTER + limits::LAYER_RATES_INTERVAL + ms(200);
        assert!(up >= limits::LAYER_UP_AFTER, "seed {seed}: {up:?}");
        assert!(up <= latest, "seed {seed}: {up:?}");
        assert_seamless(&world, viewer, HALF_A_FRAME, &format!("seed {seed}"));
        world.close_down();
    }
}

#[test]
fn x_lay_6_a_choice_outlives_its_publisher() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let note = format!("seed {seed}, {shards} shards");
        let mut world = World::with_shards(seed, shards);
        let first = world.publish("cam", &layered(), Link::good());
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(3));
        world.select_rid(viewer, "m");
        world.run_for(secs(2));
        world.leave(first);
        world.run_for(secs(1));
        // Without layers, then with the same ones at other places.
        for (config, layer) in [
            (PeerConfig::default(), 0),
            (
                in_layers(&[THREE_LAYERS[2].clone(), THREE_LAYERS[1].clone()]),
                1,
            ),
        ] {
            let publisher = world.publish("cam", &config, Link::good());
            world.run_for(secs(2));
            let from = world.now;
            world.run_for(secs(2));
            assert_eq!(shown_layers(&world, viewer, from), [layer], "{note}");
            world.leave(publisher);
            world.run_for(secs(1));
        }
        let watched = world.watched(viewer);
        assert_eq!(
            (watched.corrupt, watched.undecodable_shown),
            (0, 0),
            "{note}"
        );
        assert_eq!(watched.video.missing(), 0, "{note}");
        world.close_down();
    }
}

#[test]
fn a_bound_on_the_size_is_kept_until_the_choice_is_given_back() {
    let mut world = World::new(SEEDS[0]);
    world.publish("cam", &layered(), Link::good());
    let viewer = world.viewer("cam", Link::good());
    world.run_for(secs(4));
    let from = world.now;
    world.select(
        viewer,
        Selection {
            width_max: Some(400),
            ..Selection::default()
        },
    );
    world.run_for(secs(2));
    world.select(viewer, Selection::default());
    world.run_for(secs(2));
    assert_eq!(shown_layers(&world, viewer, from), [0, 1, 0]);
    world.close_down();
}

#[test]
fn other_shards_get_only_the_layers_that_somebody_there_wants() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 2);
        world.publish("cam", &layered(), Link::good());
        let viewer = world.viewer("cam", Link::good());
        assert_ne!(world.session(viewer).0.0, 0, "it is on another shard");
        world.run_for(secs(4));
        world.relayed = Default::default();
        world.run_for(secs(2));
        assert!(world.relayed[0] > 500, "seed {seed}: {:?}", world.relayed);
        assert_eq!(world.relayed[1..], [0; 7], "seed {seed}");
        world.select_rid(viewer, "l");
        world.run_for(secs(3));
        world.relayed = Default::default();
        world.run_for(secs(1));
        assert_eq!(world.relayed[..2], [0; 2], "seed {seed}");
        assert!(world.relayed[2] > 60, "seed {seed}: {:?}", world.relayed);
        world.mute(viewer, MediaKind::Video, true);
        world.run_for(secs(3));
        world.relayed = Default::default();
        world.run_for(secs(1));
        assert_eq!(world.relayed, [0; 8], "seed {seed}");
        let from = world.now;
        world.mute(viewer, MediaKind::Video, false);
        world.run_for(secs(1));
        assert_eq!(shown_layers(&world, viewer, from), [2], "seed {seed}");
        world.close_down();
    }
}

#[test]
fn w_sim_3_a_layer_that_was_not_agreed_is_dropped_and_counted() {
    // RFC 8853 §5.5; the fifth is beyond the limit.
    for seed in SEEDS {
        let mut world = World::new(seed);
        let names = ["a", "b", "c", "d", "e"];
        let layers = (0..)
            .zip(names)
            .map(|(halvings, rid)| Encoding { rid, halvings });
        let layers: Vec<Encoding> = layers.collect();
        let publisher = world.publish("cam", &in_layers(&layers), Link::good());
        assert!(
            world
                .answer(publisher)
                .contains("a=simulcast:recv a;b;c;d\r\n")
        );
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(4));
        assert!(world.drops(DropReason::UnknownLayer) > 50, "seed {seed}");
        assert_eq!(world.layers(publisher).len(), 4, "seed {seed}");
        assert_seamless(&world, viewer, HALF_A_FRAME, &format!("seed {seed}"));
        world.close_down();
    }
}

#[test]
fn layers_told_by_a_group_of_sources_are_chosen_like_others() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let mut config = layered();
        config.script.told = Told::BySource;
        let publisher = world.publish("cam", &config, Link::good());
        assert!(
            !world.answer(publisher).contains("a=rid:"),
            "there are none"
        );
        let viewer = world.viewer("cam", Link::good());
        world.run_for(secs(4));
        let layers = world.layers(publisher);
        let told: Vec<_> = layers
            .iter()
            .map(|layer| (layer.rid.as_deref(), layer.spatial_id, layer.state.width))
            .collect();
        let expected = [
            (Some("0"), 2, 640),
            (Some("1"), 1, 320),
            (Some("2"), 0, 160),
        ];
        assert_eq!(told, expected, "seed {seed}");
        let from = world.now;
        for rid in ["2", "0", "1"] {
            world.select_rid(viewer, rid);
            world.run_for(secs(2));
        }
        assert_eq!(
            shown_layers(&world, viewer, from),
            [0, 2, 0, 1],
            "seed {seed}"
        );
        assert_seamless(&world, viewer, HALF_A_FRAME, &format!("seed {seed}"));
        world.close_down();
    }
}
