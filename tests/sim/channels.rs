//! Data channels: from the publisher to everybody, from everybody to the publisher.

use whitewater_simnet::engine::drops::DropReason;
use whitewater_simnet::link_types::StreamId;
use whitewater_simnet::str0m::channel::{ChannelConfig, Reliability};
use whitewater_simnet::{Far, Link, PeerConfig, PeerId, World};

use super::{SEEDS, ms, secs};

fn labelled(label: &str) -> ChannelConfig {
    ChannelConfig {
        label: label.to_owned(),
        ..ChannelConfig::default()
    }
}

fn with(channels: &[ChannelConfig]) -> PeerConfig {
    PeerConfig {
        channels: channels.to_vec(),
        ..PeerConfig::default()
    }
}

fn publisher(world: &mut World, channels: &[ChannelConfig]) -> PeerId {
    world.publish("cam", &with(channels), Link::good())
}

fn viewer(world: &mut World, channels: &[ChannelConfig]) -> PeerId {
    world.watch("cam", &with(channels), Link::good())
}

/// What is open, in no order.
fn labels(world: &World, peer: PeerId) -> Vec<&str> {
    let mut labels = world.talk(peer).labels();
    labels.sort_unstable();
    labels
}

/// One shard and three: users cannot tell.
fn worlds() -> impl Iterator<Item = (u64, World)> {
    let all = SEEDS.into_iter().flat_map(|seed| [(seed, 1), (seed, 3)]);
    all.map(|(seed, shards)| (seed, World::with_shards(seed, shards)))
}

#[test]
fn what_a_publisher_says_reaches_every_viewer_as_it_was_said() {
    // RFC 8832 §5.1, RFC 8831 §8
    for (seed, mut world) in worlds() {
        let game = ChannelConfig {
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 2 },
            protocol: "json".to_owned(),
            ..labelled("game")
        };
        let publisher = publisher(&mut world, &[labelled("chat"), game.clone()]);
        let viewers = [(); 4].map(|()| viewer(&mut world, &[labelled("mine")]));
        let plain = world.viewer("cam", Link::good());
        world.run_for(secs(3));
        for viewer in viewers {
            let talk = world.talk(viewer);
            assert_eq!(
                labels(&world, viewer),
                ["chat", "game", "mine"],
                "seed {seed}"
            );
            let opened = talk.open.iter().any(|(_, config)| *config == game);
            assert!(opened, "seed {seed}: {:?}", talk.open);
        }
        let large = vec![9; 100_000];
        assert!(world.say(publisher, "chat", "h\u{e4}llo"));
        assert!(world.say_bytes(publisher, "chat", true, &large));
        assert!(world.say(publisher, "game", "go"));
        world.run_for(secs(3));
        for viewer in viewers {
            let talk = world.talk(viewer);
            assert_eq!(talk.texts("chat"), ["h\u{e4}llo"], "seed {seed}");
            assert_eq!(talk.texts("game"), ["go"], "seed {seed}");
            let binary: Vec<&[u8]> = talk
                .heard
                .iter()
                .filter(|said| said.is_binary)
                .map(|said| &said.data[..])
                .collect();
            assert_eq!(binary, [&large[..]], "seed {seed}");
            assert!(
                world.watched(viewer).shown.len() > 30,
                "seed {seed}: media too"
            );
        }
        assert!(world.watched(plain).shown.len() > 30, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn what_viewers_say_reaches_the_publisher_by_label() {
    for (seed, mut world) in worlds() {
        let publisher = publisher(&mut world, &[labelled("chat"), labelled("control")]);
        // One has the label itself, one is opened the publisher's.
        let own = viewer(&mut world, &[labelled("control"), labelled("unknown")]);
        let other = viewer(&mut world, &[labelled("mine")]);
        world.run_for(secs(3));
        assert_eq!(
            labels(&world, own),
            ["chat", "control", "unknown"],
            "seed {seed}: one channel of a label is enough"
        );
        assert!(world.say(own, "control", "left"));
        assert!(world.say(own, "chat", "hi"));
        assert!(world.say(other, "control", "right"));
        world.run_for(secs(1));
        let before = world.drops(DropReason::DataUnwanted);
        assert!(world.say(own, "unknown", "nobody"));
        world.run_for(secs(1));
        assert_eq!(world.drops(DropReason::DataUnwanted), before + 1);
        let mut heard = world.talk(publisher).texts("control");
        heard.sort_unstable();
        assert_eq!(heard, ["left", "right"], "seed {seed}");
        assert_eq!(world.talk(publisher).texts("chat"), ["hi"], "seed {seed}");
        // And back, on the viewer's own one.
        assert!(world.say(publisher, "control", "stop"));
        world.run_for(secs(1));
        for viewer in [own, other] {
            assert_eq!(world.talk(viewer).texts("control"), ["stop"], "seed {seed}");
        }
        world.close_down();
    }
}

#[test]
fn channels_are_those_of_the_publisher_of_the_moment() {
    for (seed, mut world) in worlds() {
        let early = viewer(&mut world, &[labelled("chat")]);
        world.run_for(secs(1));
        let first = publisher(&mut world, &[labelled("chat"), labelled("first")]);
        world.run_for(secs(2));
        assert_eq!(labels(&world, early), ["chat", "first"], "seed {seed}");
        assert!(world.say(first, "chat", "one"));
        world.open_channel(first, labelled("later"));
        world.run_for(secs(1));
        assert_eq!(labels(&world, early), ["chat", "first", "later"]);
        let late = viewer(&mut world, &[labelled("mine")]);
        world.run_for(secs(2));
        let all = ["chat", "first", "later", "mine"];
        assert_eq!(labels(&world, late), all, "seed {seed}");
        world.hush(first, "first");
        world.run_for(secs(2));
        assert_eq!(world.talk(early).closed, ["first"], "seed {seed}");

        world.leave(first);
        world.run_for(secs(2));
        // The viewer's own stays, what was opened for the publisher's goes with it.
        assert_eq!(labels(&world, early), ["chat"], "seed {seed}");
        assert_eq!(labels(&world, late), ["mine"], "seed {seed}");
        let second = publisher(&mut world, &[labelled("chat")]);
        world.run_for(secs(2));
        assert_eq!(labels(&world, late), ["chat", "mine"], "seed {seed}");
        assert!(world.say(second, "chat", "two"));
        assert!(world.say(early, "chat", "back"));
        world.run_for(secs(1));
        assert_eq!(
            world.talk(early).texts("chat"),
            ["one", "two"],
            "seed {seed}"
        );
        assert_eq!(world.talk(late).texts("chat"), ["two"], "seed {seed}");
        assert_eq!(world.talk(second).texts("chat"), ["back"], "seed {seed}");
        world.close_down();
    }
}

#[test]
fn agreed_channels_need_no_opening() {
    // RFC 8831 §6.4
    for (seed, mut world) in worlds() {
        let agreed = ChannelConfig {
            negotiated: Some(4),
            ..labelled("agreed")
        };
        let publisher = publisher(&mut world, std::slice::from_ref(&agreed));
        let viewer = viewer(&mut world, &[agreed]);
        world.run_for(secs(2));
        // Nobody has said anything, so that the server knows of none.
        assert!(world.say(viewer, "agreed", "first"));
        world.run_for(secs(1));
        assert!(world.say(publisher, "agreed", "second"));
        world.run_for(secs(1));
        assert_eq!(
            world.talk(publisher).texts("agreed"),
            ["first"],
            "seed {seed}"
        );
        assert_eq!(
            world.talk(viewer).texts("agreed"),
            ["second"],
            "seed {seed}"
        );
        world.close_down();
    }
}

#[test]
fn loss_delays_reliable_messages_and_media_goes_on() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 2);
        let publisher = publisher(&mut world, &[labelled("chat")]);
        let config = with(&[labelled("mine")]);
        let viewer = world.watch("cam", &config, Link::good().loss(0.1));
        let joined = world.run_until(secs(30), |world| labels(world, viewer).contains(&"chat"));
        assert!(joined, "seed {seed}");
        let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        for text in &texts {
            assert!(world.say(publisher, "chat", text));
            world.run_for(ms(50));
        }
        world.run_for(secs(10));
        assert_eq!(world.talk(viewer).texts("chat"), texts, "seed {seed}");
        world.close_down();
    }
}

#[test]
fn a_viewer_that_takes_nothing_harms_nobody() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let positions = ChannelConfig {
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            ..labelled("positions")
        };
        let publisher = publisher(&mut world, &[labelled("chat"), positions]);
        let good = viewer(&mut world, &[labelled("mine")]);
        let slow = viewer(&mut world, &[labelled("mine")]);
        world.run_for(secs(2));
        world.black_out(slow, secs(20));
        let calm_at = world.now;
        for n in 0..90 {
            let text = format!("{n:0>20000}");
            assert!(world.say(publisher, "chat", &text), "seed {seed}: {n}");
            assert!(world.say(publisher, "positions", &text));
            world.run_for(ms(200));
        }
        world.run_for(secs(10));
        assert_eq!(world.talk(good).texts("chat").len(), 90, "seed {seed}");
        assert!(world.talk(good).closed.is_empty());
        assert!(world.watched(good).freeze_between(calm_at, world.now) < ms(200));
        // The reliable one is over, and says so; the other lost the oldest and goes on.
        assert_eq!(world.talk(slow).closed, ["chat"], "seed {seed}");
        assert_eq!(world.drops(DropReason::DataChannelBehind), 1);
        assert!(world.drops(DropReason::DataLate) > 10, "seed {seed}");
        assert!(world.say(publisher, "positions", "now"));
        world.run_for(secs(2));
        assert_eq!(world.talk(slow).texts("positions").last(), Some(&"now"));
        world.close_down();
    }
}

#[test]
fn a_viewer_that_floods_is_slowed_down_and_loses_nothing() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 2);
        let publisher = publisher(&mut world, &[labelled("chat")]);
        let loud = viewer(&mut world, &[labelled("chat")]);
        let quiet = viewer(&mut world, &[labelled("chat")]);
        world.run_for(secs(2));
        let calm_at = world.now;
        for n in 0..600 {
            assert!(world.say(loud, "chat", &n.to_string()));
        }
        assert!(world.say(quiet, "chat", "me"));
        world.run_for(secs(1));
        let heard = world.talk(publisher).texts("chat");
        assert!(heard.contains(&"me"), "seed {seed}");
        assert!(heard.len() < 250, "seed {seed}: {}", heard.len());
        world.run_for(secs(10));
        assert_eq!(
            world.talk(publisher).texts("chat").len(),
            601,
            "seed {seed}"
        );
        assert!(world.watched(quiet).freeze_between(calm_at, world.now) < ms(150));
        world.close_down();
    }
}

#[test]
fn whoever_vanishes_leaves_nothing_behind() {
    for (seed, mut world) in worlds() {
        let publisher = publisher(&mut world, &[labelled("chat")]);
        let viewer = viewer(&mut world, &[labelled("chat")]);
        world.run_for(secs(2));
        world.vanish(viewer);
        for _ in 0..40 {
            world.say(publisher, "chat", "anybody?");
            world.run_for(secs(1));
        }
        assert!(world.closed(viewer).is_some(), "seed {seed}");
        world.vanish(publisher);
        world.run_for(secs(45));
        world.assert_quiescent();
    }
}

#[test]
fn channels_without_end_are_refused_and_media_goes_on() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 2);
        let publisher = publisher(&mut world, &[labelled("chat")]);
        let viewer = viewer(&mut world, &[labelled("mine")]);
        world.run_for(secs(3));
        let calm_at = world.now;
        for n in 0..300 {
            world.open_channel(publisher, labelled(&n.to_string()));
            world.open_channel(viewer, labelled(&n.to_string()));
            if n % 10 == 0 {
                world.run_for(ms(50));
            }
        }
        world.run_for(secs(10));
        assert!(world.drops(DropReason::DataRefused) > 200, "seed {seed}");
        assert!(world.talk(publisher).open.len() <= 16, "seed {seed}");
        assert!(world.talk(viewer).open.len() <= 16, "seed {seed}");
        assert!(world.watched(viewer).freeze_between(calm_at, world.now) < ms(200));
        world.close_down();
    }
}

#[test]
fn channels_pass_through_another_node_both_ways() {
    for seed in SEEDS {
        let mut world = World::with_shards(seed, 2);
        let mut far = Far::new(&world, seed, Link::good());
        let publisher = publisher(&mut world, &[labelled("chat")]);
        let config = with(&[labelled("mine")]);
        let near = world.watch("cam", &config, Link::good());
        far.run_for(&mut world, secs(1));
        far.pull(&mut world, "cam", StreamId(1));
        far.run_for(&mut world, secs(2));
        far.push(&mut world, "copy", StreamId(1));
        far.run_for(&mut world, secs(2));
        let viewer = world.watch("copy", &config, Link::good());
        far.run_for(&mut world, secs(3));
        assert_eq!(labels(&world, viewer), ["chat", "mine"], "seed {seed}");
        assert!(world.say(publisher, "chat", "down"));
        assert!(world.say(viewer, "chat", "up"));
        far.run_for(&mut world, secs(1));
        for viewer in [near, viewer] {
            assert_eq!(world.talk(viewer).texts("chat"), ["down"], "seed {seed}");
        }
        assert_eq!(world.talk(publisher).texts("chat"), ["up"], "seed {seed}");
        world.hush(publisher, "chat");
        far.run_for(&mut world, secs(3));
        assert_eq!(labels(&world, viewer), ["mine"], "seed {seed}");
    }
}
