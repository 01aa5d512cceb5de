//! What the fuzz target checks; `/fuzz` calls it with libFuzzer's bytes, and a test here with some.

use std::time::{Duration, Instant};

use crate::{Bounds, Estimator, Pacer};

/// Packets sent, reports about any numbers and times, receivers' own estimates and clocks that go on,
/// in any order: the estimate stays within its bounds, a probe's padding is bounded, the pace lets a packet
/// go in time, and there is always a next moment to look.
///
/// One byte says what happens, the next two how much of it, and a report has a byte for each packet.
pub fn estimator(start: Instant, data: &[u8]) {
    let mut estimator = Estimator::new(start, BOUNDS);
    let mut pacer = Pacer::default();
    let (mut now, mut asked) = (start, false);
    let mut bytes = data.iter().copied();
    while let (Some(what), Some(high), Some(low)) = (bytes.next(), bytes.next(), bytes.next()) {
        let amount = u16::from_be_bytes([high, low]);
        estimator.turn(now);
        match what % 8 {
            0 | 1 => {
                let count = 1 + usize::from(high % 64);
                let size = 1 + 6 * usize::from(low);
                for _ in 0..count {
                    let seq = estimator.next_seq();
                    estimator.sent(size);
                    assert_eq!(estimator.next_seq(), seq.wrapping_add(1));
                }
                pacer.spend(1_000 * estimator.now_us(), count * size);
            }
            2 | 3 => {
                // Near the newest number or anywhere.
                let newest = estimator.next_seq();
                let first = match what & 8 {
                    0 => newest.wrapping_sub(u16::from(high)),
                    _ => amount,
                };
                let reference = i32::from(low) - (i32::from(what >> 4) << 20);
                let deltas = bytes.by_ref().take(usize::from(low)).collect::<Vec<u8>>();
                let entry = |(n, delta): (u16, &u8)| {
                    let delta = match *delta {
                        0xff => None,
                        0xf0.. => Some(i16::MIN + i16::from(*delta)),
                        0xe0.. => Some(i16::MAX - i16::from(*delta)),
                        delta => Some(i16::from(delta)),
                    };
                    (first.wrapping_add(n), delta)
                };
                estimator.feedback(now, reference, (0..).zip(&deltas).map(entry));
            }
            4 => {
                let said = 1_u64
                    .checked_shl(u32::from(high))
                    .map(|bps| bps + u64::from(low));
                estimator.remb(now, said);
            }
            5 => {
                let bps = 20_000 * u64::from(high);
                estimator.set_goal(bps, 20_000 * u64::from(low));
                asked |= bps > 0;
            }
            6 => {
                let padding = estimator.poll(now);
                assert!(padding < PADDING_MAX, "{padding}");
                assert!(padding == 0 || asked, "nobody asked for a probe");
                for _ in 0..padding.div_ceil(PADDING_SIZE) {
                    estimator.sent(PADDING_SIZE);
                }
            }
            _ => now += Duration::from_micros(u64::from(amount) * u64::from(what >> 3)),
        }
        check(&estimator, &mut pacer, amount);
    }
    // However long nothing is said after that.
    for second in 1..120 {
        estimator.turn(now + Duration::from_secs(second));
        estimator.sent(100);
        estimator.poll(now + Duration::from_secs(second));
        check(&estimator, &mut pacer, 0);
    }
}

fn check(estimator: &Estimator, pacer: &mut Pacer, flows: u16) {
    if let Some(bps) = estimator.available_bps() {
        assert!((BOUNDS.min_bps..=BOUNDS.max_bps).contains(&bps), "{bps}");
    }
    estimator.pace(pacer, u64::from(flows) * 1_000);
    // 1,250 bytes at the least there is.
    let slowest = Duration::from_micros(10_000_000_000 / BOUNDS.min_bps);
    assert!(pacer.time_of(1_250) <= slowest, "{pacer:?}");
}

const BOUNDS: Bounds = Bounds {
    min_bps: 100_000,
    max_bps: 20_000_000,
};
const PADDING_SIZE: usize = 290;
/// Of a probe at 1.2 times the highest goal, all at once.
const PADDING_MAX: usize = 24_000;

#[cfg(test)]
mod tests {
    /// splitmix64, biased towards sending and reporting in turn so that something is learnt.
    #[test]
    fn any_history_holds() {
        let start = std::time::Instant::now();
        for seed in 0..300_u64 {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (mixed ^ (mixed >> 31)) as u8
            };
            let data: Vec<u8> = (0..4_000).map(|_| next()).collect();
            super::estimator(start, &data);
            // The same in a likelier order: something is sent, time passes, it is reported.
            let mut data = vec![5, 200, 200];
            for _ in 0..100 {
                data.extend([0, 8, next(), 6, 0, 0, 0xff, 0x20, next(), 2, 9, 9]);
                data.extend((0..9).map(|_| next() % 40));
            }
            super::estimator(start, &data);
        }
    }

    #[test]
    fn committed_seeds_hold() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/estimator");
        let seeds: Vec<_> = std::fs::read_dir(folder).expect("seeds").collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            let bytes = std::fs::read(seed.expect("a file").path()).expect("bytes");
            super::estimator(std::time::Instant::now(), &bytes);
        }
    }
}
