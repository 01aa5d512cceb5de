//! Redundant audio (RED, RFC 2198): passed to who agreed to it, unwrapped for the others.

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::{Content, Link, PeerConfig, PeerId, World};

use super::{SEEDS, secs};

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
        let share = |viewer| {
            let numbers = had(&world, viewer);
            let sent = numbers.last().expect("some") - numbers[0] + 1;
            numbers.len() as f64 / f64::from(sent)
        };
        let (plain, redundant) = (share(plain), share(redundant));
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
