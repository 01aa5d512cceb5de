//! Redundant audio (RED, RFC 2198): passed to who agreed to it, unwrapped for the others.

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::engine::{AudioRed, Config};
use whitewater_simnet::{Content, Link, PeerConfig, PeerId, Tracks, World};

use super::{SEEDS, ms, secs};

fn peer(audio_pt: u8, red_pt: Option<u8>) -> PeerConfig {
    PeerConfig {
        audio_pt,
        red_pt,
        ..PeerConfig::default()
    }
}

/// The numbers of the audio packets a viewer had, by themselves or brought along, in order.
fn had(world: &World, viewer: PeerId) -> Vec<u32> {
    let watched = world.watched(viewer);
    let heard = watched.heard.iter().map(|heard| &heard.content);
    let all = heard.chain(&watched.brought_along);
    let mut numbers: Vec<u32> = all.map(|content: &Content| content.frame).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn redundant_audio_reaches_every_viewer_in_the_form_it_knows() {
    for seed in SEEDS {
        for shards in [1, 2] {
            let mut world = World::with_shards(seed, shards);
            let publisher = world.publish("cam", &peer(111, Some(63)), Link::good());
            // The same numbers, others, and none for redundancy.
            let forms = [(111, Some(63)), (109, Some(35)), (111, None), (120, None)];
            let viewers: Vec<PeerId> = forms
                .iter()
                .map(|&(audio, red)| world.watch("cam", &peer(audio, red), Link::good()))
                .collect();
            world.run_for(secs(5));
            for (&viewer, (audio, red)) in viewers.iter().zip(forms) {
                let note = format!("seed {seed}, {shards} shards, {audio} {red:?}");
                let watched = world.watched(viewer);
                assert!(watched.heard.len() > 200, "{note}: {}", watched.heard.len());
                assert_eq!((watched.corrupt, watched.audio.missing()), (0, 0), "{note}");
                let brought = watched.brought_along.len();
                match red {
                    Some(_) => assert!(brought > 200, "{note}: {brought}"),
                    None => assert_eq!(brought, 0, "{note}"),
                }
            }
            let answer = world.answer(publisher);
            assert!(answer.contains("a=rtpmap:63 red/48000/2\r\n"), "{answer}");
            assert!(answer.contains("a=fmtp:63 111/111\r\n"), "{answer}");
            assert_eq!(world.drops(DropReason::Malformed), 0);
            world.close_down();
        }
    }
}

#[test]
fn what_a_viewer_loses_comes_with_the_next_packet() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publish("cam", &peer(111, Some(63)), Link::good());
        let lossy = Link::good().loss_down(0.1);
        let plain = world.watch("cam", &peer(111, None), lossy);
        let redundant = world.watch("cam", &peer(111, Some(63)), lossy);
        world.run_for(secs(20));
        let [plain, redundant] = [plain, redundant].map(|viewer| share_had(&world, viewer));
        assert!(plain < 0.94, "seed {seed}: {plain}");
        // Two in a row are lost once in a hundred times.
        assert!(redundant > 0.975, "seed {seed}: {redundant}");
        world.close_down();
    }
}

#[test]
fn a_viewer_of_plain_audio_may_offer_redundancy() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        world.publish("cam", &PeerConfig::default(), Link::good());
        let viewer = world.watch("cam", &peer(111, Some(63)), Link::good());
        world.run_for(secs(3));
        let watched = world.watched(viewer);
        assert!(watched.heard.len() > 100 && watched.corrupt == 0);
        assert!(watched.brought_along.is_empty());
        world.close_down();
    }
}

/// The share of the sound that a viewer had, of all between the first and the last packet.
fn share_had(world: &World, viewer: PeerId) -> f64 {
    let numbers = had(world, viewer);
    let sent = numbers.last().expect("some") - numbers[0] + 1;
    numbers.len() as f64 / f64::from(sent)
}

fn making(shard_count: u16) -> Config {
    Config {
        shard_count,
        audio_red: AudioRed::Make,
        ..Config::default()
    }
}

#[test]
fn redundancy_is_made_for_viewers_that_agreed_to_it_where_that_is_wanted() {
    for (seed, shards) in SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 2)]) {
        let mut lost = Vec::new();
        for config in [
            making(shards),
            Config {
                shard_count: shards,
                ..Config::default()
            },
        ] {
            let note = format!("seed {seed}, {shards} shards, {:?}", config.audio_red);
            let is_made = config.audio_red == AudioRed::Make;
            let mut world = World::with_config(seed, &config);
            world.publish("cam", &PeerConfig::default(), Link::good());
            let lossy = Link::good().loss_down(0.1);
            // The same numbers, others, and none for redundancy.
            let forms = [(111, Some(63)), (109, Some(35)), (111, None)];
            let viewers = forms.map(|(audio, red)| world.watch("cam", &peer(audio, red), lossy));
            world.run_for(secs(20));
            for (&viewer, (_, red)) in viewers.iter().zip(forms) {
                let note = format!("{note}, {red:?}");
                let watched = world.watched(viewer);
                assert_eq!(watched.corrupt, 0, "{note}");
                let brought = watched.brought_along.len();
                assert_eq!(brought > 700, is_made && red.is_some(), "{note}: {brought}");
                assert!(
                    is_made && red.is_some() || brought == 0,
                    "{note}: {brought}"
                );
                lost.push((is_made && red.is_some(), 1.0 - share_had(&world, viewer)));
            }
            world.close_down();
        }
        let of = |made: bool| {
            let of = lost.iter().filter(|(was_made, _)| *was_made == made);
            of.map(|(_, lost)| *lost).collect::<Vec<f64>>()
        };
        // A tenth is lost; of two in a row, one in a hundred, one is.
        assert!(
            of(false).iter().all(|lost| *lost > 0.06),
            "seed {seed}: {lost:?}"
        );
        assert!(
            of(true).iter().all(|lost| *lost < 0.025),
            "seed {seed}: {lost:?}"
        );
    }
}

#[test]
fn redundancy_that_a_publisher_sends_is_not_made_again() {
    for seed in SEEDS {
        let mut world = World::with_config(seed, &making(1));
        world.publish("cam", &peer(111, Some(63)), Link::good());
        let viewers = [Some(63), None].map(|red| world.watch("cam", &peer(111, red), Link::good()));
        world.run_for(secs(5));
        for (viewer, least) in viewers.into_iter().zip([200, 0]) {
            let watched = world.watched(viewer);
            assert_eq!((watched.corrupt, watched.audio.missing()), (0, 0));
            let brought = watched.brought_along.len();
            assert!(
                (least..=watched.heard.len()).contains(&brought),
                "{brought}"
            );
            assert_eq!(brought > 0, least > 0, "seed {seed}");
        }
        world.close_down();
    }
}

/// 32 kbit/s more are an eighth of 256.
#[test]
fn redundancy_is_not_made_where_the_path_carries_little() {
    for seed in SEEDS {
        let mut world = World::with_config(seed, &making(1));
        let sound = PeerConfig {
            tracks: Tracks::Audio,
            ..peer(111, Some(63))
        };
        world.publish("cam", &PeerConfig::default(), Link::good());
        let narrow = Link::good().bottleneck_down(120_000, ms(300));
        let viewer = world.watch("cam", &peer(111, Some(63)), narrow);
        let wide = world.watch("cam", &sound, Link::good());
        world.run_for(secs(10));
        let before = world.watched(viewer).brought_along.len();
        world.run_for(secs(10));
        let brought = world.watched(viewer).brought_along.len() - before;
        assert_eq!(brought, 0, "seed {seed}");
        assert!(world.watched(wide).brought_along.len() > 900, "seed {seed}");
        world.close_down();
    }
}
