//! Viewers come and see.

use whitewater_simnet::{Link, PeerConfig, Script, World};

use super::{SEEDS, ms, secs};

#[test]
fn a_viewer_gets_its_first_decodable_frame_within_a_second_of_connecting() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let config = PeerConfig {
            script: Script {
                // Video leaves this much later than the audio it belongs to.
                encoding_takes: ms(120),
                ..Script::default()
            },
            ..PeerConfig::default()
        };
        let publisher = world.publish("cam", &config, Link::good());
        world.run_for(secs(5));
        let viewer = world.viewer("cam", Link::wifi());
        world.run_for(secs(10));

        let connected_at = world.connected_at(viewer).expect("it connects");
        let watched = world.watched(viewer);
        let first = watched.shown.first().expect("it sees");
        assert!(first.content.key, "seed {seed}");
        assert!(
            first.at - connected_at <= secs(1),
            "seed {seed}: {:?}",
            first.at - connected_at
        );
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
        assert_eq!(
            watched.share_shown(world.published(publisher).number()),
            1.0,
            "seed {seed}"
        );
        assert!(world.longest_freeze(viewer) <= ms(150), "seed {seed}");
        let skew = watched.av_skew().expect("both report");
        assert!(skew <= ms(5), "seed {seed}: {skew:?}");
        world.close_down();
    }
}

#[test]
fn a_storm_of_viewers_costs_the_publisher_two_key_frames_a_second() {
    for (seed, shards) in [(SEEDS[0], 1), (SEEDS[1], 3)] {
        let mut world = World::with_shards(seed, shards);
        let publisher = world.publisher("cam");
        world.run_for(secs(3));
        let before = world.published(publisher).requests.len();
        let began = world.now;
        let viewers: Vec<_> = (0..200)
            .map(|index| {
                if index % 10 == 9 {
                    world.run_for(ms(100));
                }
                world.viewer("cam", Link::wifi())
            })
            .collect();
        world.run_for(secs(2));

        let requests = &world.published(publisher).requests[before..];
        assert!(!requests.is_empty(), "seed {seed}");
        let in_any_second = requests.iter().map(|&from| {
            let within = |at: &&std::time::Instant| **at >= from && **at - from < ms(990);
            requests.iter().filter(within).count()
        });
        assert!(in_any_second.max() <= Some(2), "seed {seed}: {requests:?}");
        let span = (world.now - began).as_secs() as usize;
        assert!(requests.len() <= 2 * span + 1, "seed {seed}");
        for viewer in viewers {
            let watched = world.watched(viewer);
            let first = watched.shown.first().expect("everybody sees");
            let connected_at = world.connected_at(viewer).expect("connected");
            assert!(first.at - connected_at <= secs(1), "seed {seed}");
            assert_eq!(watched.undecodable_shown, 0, "seed {seed}");
        }
        world.close_down();
    }
}

#[test]
fn viewers_of_three_shards_see_what_viewers_of_one_see() {
    for seed in SEEDS {
        let verdicts = [1, 3].map(|shards| {
            let mut world = World::with_shards(seed, shards);
            let early = world.viewer("cam", Link::good());
            let publisher = world.publisher("cam");
            let viewers: Vec<_> = (0..7).map(|_| world.viewer("cam", Link::wifi())).collect();
            world.run_for(secs(6));
            let others: Vec<_> = (0..4).map(|_| world.viewer("cam", Link::good())).collect();
            world.run_for(secs(4));
            let number = world.published(publisher).number();
            let seen = [early]
                .into_iter()
                .chain(viewers)
                .chain(others)
                .map(|viewer| {
                    let watched = world.watched(viewer);
                    let connected_at = world.connected_at(viewer).expect("connected");
                    let first = watched.shown.first().expect("seen");
                    let in_time = first.at.saturating_duration_since(connected_at) <= secs(1);
                    (
                        in_time,
                        watched.share_shown(number),
                        watched.undecodable_shown + watched.corrupt,
                        watched.video.missing() + watched.audio.missing(),
                        world.longest_freeze(viewer) <= ms(150),
                    )
                });
            let seen: Vec<_> = seen.collect();
            if shards > 1 {
                assert!(
                    world.steered() > 100,
                    "seed {seed}: datagrams reach wrong shards"
                );
            }
            world.close_down();
            seen
        });
        assert_eq!(verdicts[0], verdicts[1], "seed {seed}");
        assert!(
            verdicts[0].iter().all(|v| *v == (true, 1.0, 0, 0, true)),
            "seed {seed}"
        );
    }
}
