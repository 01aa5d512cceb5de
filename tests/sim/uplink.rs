//! A publisher hears what its path carries, and follows it.

use whitewater_simnet::{Link, PeerConfig, PeerId, Script, World};

use super::{SEEDS, ms, secs};

/// What arrives of a publisher's video, in bits per second.
fn arrives(world: &World, publisher: PeerId) -> u64 {
    let intake = world.report(publisher).and_then(|report| report.intake);
    let intake = intake.expect("it was looked at");
    intake.tracks[1].layers[0].bitrate_bps
}

#[test]
fn a_publisher_sends_less_over_a_narrow_path_and_more_when_it_widens() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let config = PeerConfig {
            adapts: true,
            script: Script {
                payload_size: 1_000,
                ..Script::default()
            },
            ..PeerConfig::default()
        };
        let publisher = world.publish("cam", &config, Link::good());
        world.run_for(secs(15));
        let wide = arrives(&world, publisher);
        assert!(wide > 1_200_000, "seed {seed}: {wide}");

        let mut narrow = Link::good();
        narrow.up.bandwidth_bps = Some(600_000);
        narrow.up.queue = ms(200);
        world.relink(publisher, narrow);
        world.run_for(secs(12));
        let (sent, fits) = (
            world.published(publisher).estimate,
            arrives(&world, publisher),
        );
        assert!(
            sent.is_some_and(|bps| bps < 650_000),
            "seed {seed}: {sent:?}"
        );
        assert!((200_000..=620_000).contains(&fits), "seed {seed}: {fits}");

        world.relink(publisher, Link::good());
        world.run_for(secs(30));
        let again = arrives(&world, publisher);
        assert!(again > 1_200_000, "seed {seed}: {again}");
        world.close_down();
    }
}
