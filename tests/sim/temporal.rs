//! Simulcast layers that have temporal layers inside: which pictures of which layer a viewer is sent.

use std::time::Instant;

use whitewater_simnet::link_types::Selection;
use whitewater_simnet::str0m::format::Codec;
use whitewater_simnet::str0m::rtp::ExtensionValues;
use whitewater_simnet::{
    Content, Described, Link, PeerConfig, PeerId, Script, Shown, THREE_LAYERS, VideoFormat, World,
};

use super::layers::{HALF_A_FRAME, assert_seamless};
use super::{SEEDS, ms, secs};

/// Where packets tell of their temporal layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// In VP8's payload descriptor, with running numbers.
    Vp8,
    /// In AV1's dependency descriptor.
    Described,
}

impl Told {
    const ALL: [Told; 2] = [Told::Vp8, Told::Described];

    fn viewer(self) -> PeerConfig {
        match self {
            Told::Vp8 => PeerConfig::default(),
            Told::Described => PeerConfig {
                video: vec![VideoFormat {
                    pt: 45,
                    rtx_pt: Some(46),
                    codec: Codec::Av1,
                }],
                extensions: Some(Described::extensions()),
                ..PeerConfig::default()
            },
        }
    }

    /// 1.6, 0.8 and 0.4 Mbit/s, of which every fourth picture is of the slowest temporal layer, and every
    /// second of that or the next.
    fn publisher(self) -> PeerConfig {
        PeerConfig {
            script: Script {
                layers: THREE_LAYERS.to_vec(),
                temporals: 3,
                delta_packets: 12,
                key_packets: 36,
                payload_size: 500,
                video_codec: match self {
                    Told::Vp8 => Codec::Vp8,
                    Told::Described => Codec::Av1,
                },
                video_extensions: match self {
                    Told::Vp8 => |_| ExtensionValues::default(),
                    Told::Described => described,
                },
                ..Script::default()
            },
            ..self.viewer()
        }
    }
}

fn described(content: &Content) -> ExtensionValues {
    let is_first = content.index == 0;
    let place = (is_first, content.index + 1 == content.count);
    // Layers have nothing in common.
    let number = (content.frame as u16).wrapping_add(20_000 * u16::from(content.layer));
    let temporal = content.temporal.map_or(0, |temporal| temporal.id);
    let size = (640 >> content.layer, 480 >> content.layer);
    let key = (content.key && is_first).then_some(size);
    Described::temporal(place, number, temporal, key).alone()
}

fn rid(rid: &str, temporal: Option<u32>) -> Selection {
    Selection {
        rid: Some(rid.to_owned()),
        temporal_id: temporal,
        ..Selection::default()
    }
}

fn shown_since(world: &World, viewer: PeerId, since: Instant) -> Vec<Shown> {
    let shown = world.watched(viewer).shown.iter();
    shown.filter(|shown| shown.at >= since).copied().collect()
}

/// The layer, the fastest temporal layer and the pictures a second of what was shown since.
fn seen(world: &World, viewer: PeerId, since: Instant) -> (Vec<u8>, u8, f64) {
    let shown = shown_since(world, viewer, since);
    let mut layers: Vec<u8> = shown.iter().map(|shown| shown.content.layer).collect();
    layers.dedup();
    let temporals = shown.iter().filter_map(|shown| shown.content.temporal);
    let fastest = temporals.map(|temporal| temporal.id).max().unwrap_or(0);
    let span = world.now.saturating_duration_since(since);
    (layers, fastest, shown.len() as f64 / span.as_secs_f64())
}

/// What is counted goes on: of VP8 the pictures and those of the slowest layer; frame numbers of
/// descriptors keep their distances, because frames are referred to by them.
fn assert_counted(world: &World, viewer: PeerId, note: &str) {
    for pair in world.watched(viewer).shown.windows(2) {
        let note = format!("{note}: {pair:?}");
        let (one, next) = (&pair[0], &pair[1]);
        let is_same_layer = one.content.layer == next.content.layer;
        if let (Some(before), Some(number)) = (one.number, next.number) {
            let step = number.wrapping_sub(before);
            assert!((1..0x8000).contains(&step), "{note}");
            let frames = next.content.frame - one.content.frame;
            assert!(!is_same_layer || u32::from(step) == frames, "{note}");
        } else if let (Some(before), Some(temporal)) = (one.content.temporal, next.content.temporal)
        {
            let step = temporal.base.wrapping_sub(before.base);
            // A picture that was cut off by a change took a number too.
            let is_cut = !is_same_layer && step == 2;
            assert!(is_cut || step == u8::from(temporal.id == 0), "{note}");
        }
    }
}

#[test]
fn a_layer_and_its_temporal_layer_are_chosen_by_hand() {
    for (told, seed) in Told::ALL
        .into_iter()
        .flat_map(|told| SEEDS.map(|seed| (told, seed)))
    {
        for shards in [1, 3] {
            let note = format!("{told:?}, seed {seed}, {shards} shards");
            let mut world = World::with_shards(seed, shards);
            let publisher = world.publish("cam", &told.publisher(), Link::good());
            let viewer = world.watch("cam", &told.viewer(), Link::good());
            world.run_for(secs(8));
            assert_eq!(seen(&world, viewer, world.now - secs(2)).0, [0], "{note}");

            let told_layers: Vec<_> = world
                .layers(publisher)
                .iter()
                .map(|layer| (layer.rid.clone().unwrap_or_default(), layer.temporal_id))
                .collect();
            let expected = ["h", "m", "l"].map(|rid| [0, 1, 2].map(|id| (rid.to_owned(), id)));
            assert_eq!(told_layers, expected.concat(), "{note}");
            for of_one in world.layers(publisher).chunks(3) {
                let rates: Vec<u64> = of_one.iter().map(|l| l.state.bitrate_bps).collect();
                let share = |part: u64| 100 * part / rates[2].max(1);
                assert!((20..30).contains(&share(rates[0])), "{note}: {rates:?}");
                assert!((45..55).contains(&share(rates[1])), "{note}: {rates:?}");
            }

            for (name, temporal, layer, pictures) in [
                ("h", Some(0), 0, 7.5),
                ("h", Some(1), 0, 15.0),
                ("h", Some(2), 0, 30.0),
                ("m", Some(0), 1, 7.5),
                ("l", Some(1), 2, 15.0),
                ("l", None, 2, 30.0),
                ("h", Some(1), 0, 15.0),
                ("h", None, 0, 30.0),
            ] {
                let asked = world.published(publisher).requests.len();
                let before = seen(&world, viewer, world.now - ms(500)).0;
                world.select(viewer, rid(name, temporal));
                world.run_for(secs(1));
                let since = world.now;
                world.run_for(secs(2));
                let note = format!("{note}, {name} {temporal:?}");
                let (layers, fastest, per_second) = seen(&world, viewer, since);
                assert_eq!(layers, [layer], "{note}");
                assert_eq!(u32::from(fastest), temporal.unwrap_or(2), "{note}");
                assert!((per_second - pictures).abs() <= 1.0, "{note}: {per_second}");
                // More or fewer pictures of the layer that flows need no key frame.
                let asked = world.published(publisher).requests.len() - asked;
                assert_eq!(asked, usize::from(before != [layer]), "{note}");
            }
            assert_seamless(&world, viewer, HALF_A_FRAME, &note);
            assert_counted(&world, viewer, &note);
            assert_eq!(world.watched(viewer).requests, 0, "{note}");
            world.close_down();
        }
    }
}

#[test]
fn a_bound_on_the_temporal_layer_leaves_the_choice_of_the_picture() {
    for told in Told::ALL {
        let note = format!("{told:?}");
        let mut world = World::new(SEEDS[0]);
        world.publish("cam", &told.publisher(), Link::good());
        let viewer = world.watch("cam", &told.viewer(), Link::good());
        world.run_for(secs(4));
        let bound = Selection {
            temporal_id_max: Some(1),
            width_max: Some(400),
            ..Selection::default()
        };
        world.select(viewer, bound);
        world.run_for(secs(1));
        let since = world.now;
        world.run_for(secs(2));
        let (layers, fastest, per_second) = seen(&world, viewer, since);
        assert_eq!((&layers[..], fastest), (&[1][..], 1), "{note}");
        assert!((per_second - 15.0).abs() <= 1.0, "{note}: {per_second}");
        world.select(viewer, Selection::default());
        world.run_for(secs(1));
        let since = world.now;
        world.run_for(secs(2));
        let (layers, fastest, _) = seen(&world, viewer, since);
        assert_eq!((&layers[..], fastest), (&[0][..], 2), "{note}");
        assert_seamless(&world, viewer, HALF_A_FRAME, &note);
        assert_counted(&world, viewer, &note);
        world.close_down();
    }
}

/// The smallest layer takes 0.4 Mbit/s, and half of that with every second picture left out.
#[test]
fn where_the_smallest_layer_does_not_fit_every_other_picture_is_left_out() {
    for (told, seed) in Told::ALL
        .into_iter()
        .flat_map(|told| SEEDS.map(|seed| (told, seed)))
    {
        let note = format!("{told:?}, seed {seed}");
        let mut world = World::new(seed);
        world.publish("cam", &told.publisher(), Link::good());
        let link = |bps| Link::good().bottleneck_down(bps, ms(300));
        let viewer = world.watch("cam", &told.viewer(), link(3_000_000));
        world.run_for(secs(15));
        let (layers, fastest, _) = seen(&world, viewer, world.now - secs(2));
        assert_eq!((&layers[..], fastest), (&[0][..], 2), "{note}");

        world.relink(viewer, link(300_000));
        world.run_for(secs(10));
        let since = world.now;
        world.run_for(secs(20));
        let (layers, _, per_second) = seen(&world, viewer, since);
        assert_eq!(layers, [2], "{note}");
        // All of it is tried at times, and does not fit.
        assert!((7.0..=18.0).contains(&per_second), "{note}: {per_second}");
        let freeze = world.watched(viewer).freeze_between(since, world.now);
        assert!(freeze <= ms(400), "{note}: {freeze:?}");

        world.relink(viewer, link(3_000_000));
        // Two layers up take two moves.
        world.run_for(secs(12));
        let since = world.now;
        world.run_for(secs(3));
        let (layers, fastest, per_second) = seen(&world, viewer, since);
        assert_eq!((&layers[..], fastest), (&[0][..], 2), "{note}");
        assert!((per_second - 30.0).abs() <= 1.0, "{note}: {per_second}");
        let watched = world.watched(viewer);
        assert_eq!(
            (watched.corrupt, watched.undecodable_shown),
            (0, 0),
            "{note}"
        );
        world.close_down();
    }
}

#[test]
fn changes_of_both_under_loss_show_nothing_that_cannot_be_decoded() {
    for (told, seed) in Told::ALL
        .into_iter()
        .flat_map(|told| SEEDS.map(|seed| (told, seed)))
    {
        let note = format!("{told:?}, seed {seed}");
        let mut world = World::with_shards(seed, 2);
        world.publish("cam", &told.publisher(), Link::good().loss(0.01));
        let viewer = world.watch("cam", &told.viewer(), Link::wifi().loss_down(0.03));
        world.run_for(secs(3));
        let since = world.now;
        for round in 0..16 {
            let temporal = [Some(0), Some(1), None, Some(2)][round % 4];
            world.select(viewer, rid(["m", "l", "h"][round / 2 % 3], temporal));
            world.run_for(ms(1_100));
        }
        let watched = world.watched(viewer);
        assert_eq!(
            (watched.corrupt, watched.undecodable_shown),
            (0, 0),
            "{note}"
        );
        assert_eq!(watched.video.ssrcs.len(), 1, "{note}");
        let (mut layers, fastest, _) = seen(&world, viewer, since);
        layers.sort_unstable();
        layers.dedup();
        assert_eq!((&layers[..], fastest), (&[0, 1, 2][..], 2), "{note}");
        for pair in watched.shown.windows(2) {
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert!((1..1 << 31).contains(&step), "{note}: {pair:?}");
        }
        world.close_down();
    }
}
