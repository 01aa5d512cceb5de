//! Receivers that lie: the estimate stays within its bounds and nothing overflows.

use std::time::{Duration, Instant};

use whitewater_bwe::{Bounds, Estimator, Pacer};

use crate::path::Random;

const BOUNDS: Bounds = Bounds {
    min_bps: 100_000,
    max_bps: 20_000_000,
};

/// A minute of sending a megabit a second, reported on by `lie` every 100 ms.
fn told(mut lie: impl FnMut(&mut Estimator, Instant, u64, u16)) -> Estimator {
    let start = Instant::now();
    let mut estimator = Estimator::new(start, BOUNDS);
    estimator.set_goal(BOUNDS.max_bps, BOUNDS.max_bps / 2);
    for tenth in 0..600 {
        let first = estimator.next_seq();
        for n in 0..10 {
            let now = start + Duration::from_millis(100 * tenth + 10 * n);
            estimator.turn(now);
            estimator.sent(1_250);
            let mut padding = estimator.poll(now);
            assert!(padding < 200_000, "{padding}");
            while padding > 0 {
                estimator.sent(290);
                padding = padding.saturating_sub(290);
            }
        }
        let now = start + Duration::from_millis(100 * tenth + 99);
        lie(&mut estimator, now, tenth, first);
        check(&estimator);
    }
    estimator
}

fn check(estimator: &Estimator) {
    if let Some(bps) = estimator.available_bps() {
        assert!((BOUNDS.min_bps..=BOUNDS.max_bps).contains(&bps), "{bps}");
    }
    let mut pacer = Pacer::default();
    estimator.pace(&mut pacer, 0);
    // A packet takes no longer than at the least rate.
    assert!(pacer.time_of(1_250) <= Duration::from_millis(100));
}

fn span(estimator: &Estimator, first: u16) -> impl Iterator<Item = u16> + use<> {
    let count = estimator.next_seq().wrapping_sub(first);
    (0..count).map(move |n| first.wrapping_add(n))
}

#[test]
fn all_received_at_once_promises_no_more_than_the_bounds() {
    told(|estimator, now, tenth, first| {
        let entries = span(estimator, first).map(|seq| (seq, Some(0)));
        estimator.feedback(now, tenth as i32, entries);
    });
}

#[test]
fn all_lost_ends_at_the_least() {
    let estimator = told(|estimator, now, tenth, first| {
        let arrived = |seq: u16| (tenth < 20 || seq.is_multiple_of(100)).then_some(40);
        let entries = span(estimator, first).map(|seq| (seq, arrived(seq)));
        estimator.feedback(now, 2 * tenth as i32, entries);
    });
    let bps = estimator.available_bps().expect("it was heard");
    assert!(bps < 400_000, "{bps}");
}

#[test]
fn times_that_run_backwards_change_nothing_for_the_worse() {
    for delta in [-1, i16::MIN, -400] {
        told(|estimator, now, tenth, first| {
            let entries = span(estimator, first).map(|seq| (seq, Some(delta)));
            estimator.feedback(now, -(tenth as i32), entries);
        });
    }
}

#[test]
fn numbers_never_sent_are_not_news() {
    let estimator = told(|estimator, now, tenth, first| {
        let unknown = (0..4_000).map(|n| (first.wrapping_add(10_000 + n), Some(4)));
        estimator.feedback(now, tenth as i32, unknown);
    });
    assert_eq!(estimator.available_bps(), None);
    assert_eq!(estimator.round_trip(), None);
}

#[test]
fn any_bytes_leave_an_estimate_within_the_bounds() {
    for seed in 0..20 {
        let mut random = Random(seed);
        told(|estimator, now, _, first| {
            for _ in 0..1 + random.next() % 3 {
                let count = random.next() % 300;
                let start = first.wrapping_sub((random.next() % 100) as u16);
                let reference = (random.next() as i32) >> 8;
                let mut deltas = Random(random.next());
                let entry = |n: u64| {
                    let delta = (!deltas.next().is_multiple_of(4)).then(|| deltas.next() as i16);
                    (start.wrapping_add(n as u16), delta)
                };
                estimator.feedback(now, reference, (0..count).map(entry));
            }
            if random.next().is_multiple_of(10) {
                estimator.remb(now, Some(random.next()));
            }
        });
    }
}

#[test]
fn a_receivers_own_estimate_is_kept_within_the_bounds_and_forgotten() {
    let start = Instant::now();
    for (bps, expected) in [
        (u64::MAX, BOUNDS.max_bps),
        (0, BOUNDS.min_bps),
        (1 << 63, BOUNDS.max_bps),
        (1_000_000, 1_000_000),
    ] {
        let mut estimator = Estimator::new(start, BOUNDS);
        estimator.remb(start, Some(bps));
        assert_eq!(estimator.available_bps(), Some(expected));
        check(&estimator);
    }
    // With arrivals to go by it is an upper bound, for as long as it is repeated.
    let estimator = told(|estimator, now, tenth, first| {
        if tenth < 300 {
            estimator.remb(now, Some(600_000));
        }
        let entries = span(estimator, first).map(|seq| (seq, Some(40)));
        estimator.feedback(now, (tenth * 100 / 64) as i32, entries);
        if (100..300).contains(&tenth) {
            assert_eq!(estimator.available_bps(), Some(600_000));
        }
    });
    assert!(estimator.available_bps() > Some(600_000));
}
