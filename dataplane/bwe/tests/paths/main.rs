//! The estimator and the pacer over a modelled path: sentences that hold for every seed.

mod hostile;
mod path;

use path::{Flow, Path, Source, World};

const SEEDS: [u64; 4] = [1, 203, 0xb0a7, 77_777];

/// One flow over one path; what came of it after the first seconds.
fn run(seed: u64, path: Path, source: Source, seconds: u64) -> World {
    let mut world = World::new(seed, path);
    world.add(Flow::new(source));
    world.run(seconds);
    world
}

#[test]
fn a_constant_path_is_used_and_its_queue_stays_short() {
    for seed in SEEDS {
        for bps in [300e3, 700e3, 1e6, 2e6, 3e6, 5e6] {
            let world = run(seed, Path::constant(bps), Source::adaptive(8e6), 60);
            let seen = world.seen(0, 10..60);
            let what = format!("seed {seed}, {bps}: {seen:?}");
            assert!(seen.utilisation >= 0.85, "{what}");
            assert!(seen.loss < 0.01, "{what}");
            assert!(seen.delay_ms_p95 < 100.0, "{what}");
        }
    }
}

#[test]
fn steps_of_the_path_are_followed_both_ways() {
    for seed in SEEDS {
        let path = Path::steps(&[(0, 2e6), (20, 600e3), (40, 3e6), (70, 1.2e6)]);
        let world = run(seed, path, Source::adaptive(8e6), 90);
        for (span, least) in [
            (10..20, 0.85),
            (25..40, 0.85),
            (50..70, 0.85),
            (75..90, 0.85),
        ] {
            let seen = world.seen(0, span.clone());
            let what = format!("seed {seed}, {span:?}: {seen:?}");
            assert!(seen.utilisation >= least, "{what}");
            assert!(seen.delay_ms_p95 < 130.0, "{what}");
        }
        let whole = world.seen(0, 5..90);
        assert!(whole.loss < 0.03, "seed {seed}: {whole:?}");
    }
}

#[test]
fn a_cellular_trace_is_followed() {
    for seed in SEEDS {
        let world = run(seed, Path::cellular(seed), Source::adaptive(8e6), 120);
        let seen = world.seen(0, 10..120);
        let what = format!("seed {seed}: {seen:?}");
        assert!(seen.utilisation >= 0.70, "{what}");
        assert!(seen.loss < 0.03, "{what}");
        assert!(seen.delay_ms_p95 < 250.0, "{what}");
    }
}

#[test]
fn random_loss_that_the_rate_does_not_cause_is_lived_with() {
    for seed in SEEDS {
        let mut path = Path::constant(2e6);
        path.loss = 0.03;
        let world = run(seed, path, Source::adaptive(8e6), 60);
        let seen = world.seen(0, 15..60);
        assert!(seen.utilisation >= 0.80, "seed {seed}: {seen:?}");
    }
}

#[test]
fn a_path_without_a_queue_is_found_by_its_losses() {
    for seed in SEEDS {
        let mut path = Path::constant(1.5e6);
        path.queue_ms = 12.0;
        let world = run(seed, path, Source::adaptive(8e6), 60);
        let seen = world.seen(0, 15..60);
        assert!(seen.utilisation >= 0.60, "seed {seed}: {seen:?}");
        assert!(seen.loss < 0.12, "seed {seed}: {seen:?}");
    }
}

#[test]
fn two_flows_share_a_path_fairly() {
    for seed in SEEDS {
        let mut world = World::new(seed, Path::constant(4e6));
        world.add(Flow::new(Source::adaptive(8e6)));
        world.add(Flow::new(Source::adaptive(8e6)).starting_at(10));
        world.run(120);
        let [one, other] = [0, 1].map(|flow| world.seen(flow, 60..120));
        let sum = one.utilisation + other.utilisation;
        let smaller = one.utilisation.min(other.utilisation);
        let what = format!("seed {seed}: {one:?} {other:?}");
        assert!(sum >= 0.85, "{what}");
        assert!(smaller / sum >= 0.30, "{what}");
        assert!(one.loss < 0.01 && other.loss < 0.01, "{what}");
    }
}

#[test]
fn a_source_that_sends_little_learns_by_probes_what_more_it_could_send() {
    for seed in SEEDS {
        for bps in [1e6, 2.5e6, 5e6] {
            // 300 kbit/s are sent whatever the estimate says.
            let world = run(seed, Path::constant(bps), Source::fixed(300e3), 40);
            let estimate = world.estimate(0) / bps;
            assert!(
                (0.75..1.1).contains(&estimate),
                "seed {seed}, {bps}: {estimate}"
            );
            let seen = world.seen(0, 5..40);
            assert!(seen.padding < 0.10, "seed {seed}: {seen:?}");
            assert!(seen.loss < 0.01, "seed {seed}: {seen:?}");
        }
    }
}

#[test]
fn without_probes_no_more_is_promised_than_half_as_much_again() {
    for seed in SEEDS {
        let mut flow = Flow::new(Source::fixed(400e3));
        flow.goal_bps = 0;
        let mut world = World::new(seed, Path::constant(5e6));
        world.add(flow);
        world.run(60);
        let estimate = world.estimate(0);
        assert!(
            (400e3..700e3).contains(&estimate),
            "seed {seed}: {estimate}"
        );
        assert_eq!(world.seen(0, 0..60).padding, 0.0);
    }
}

#[test]
fn a_path_with_room_for_all_is_never_said_to_be_full() {
    for seed in SEEDS {
        let world = run(seed, Path::constant(50e6), Source::adaptive(4e6), 40);
        let seen = world.seen(0, 10..40);
        assert!(
            world.estimate(0) >= 4e6,
            "seed {seed}: {}",
            world.estimate(0)
        );
        assert!(
            seen.loss == 0.0 && seen.delay_ms_p95 < 5.0,
            "seed {seed}: {seen:?}"
        );
    }
}

#[test]
fn a_receiver_that_falls_silent_is_sent_less_and_comes_back() {
    for seed in SEEDS {
        let path = Path::steps(&[(0, 2e6), (20, 0.0), (30, 2e6)]);
        let mut world = World::new(seed, path);
        world.add(Flow::new(Source::adaptive(8e6)));
        world.run(20);
        let before = world.estimate(0);
        world.run(10);
        assert!(
            world.estimate(0) < 0.3 * before,
            "seed {seed}: {}",
            world.estimate(0)
        );
        world.run(20);
        assert!(
            world.estimate(0) > 0.7 * before,
            "seed {seed}: {}",
            world.estimate(0)
        );
    }
}
