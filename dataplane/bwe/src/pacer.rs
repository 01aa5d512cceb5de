//! When what is to be sent may leave.

use std::time::Duration;

/// Spreads packets over time by the rate of the path, in bursts that are worth a run.
///
/// It keeps one time: when what was let go will have left at the rate. That is compared once for
/// a turn's packets; a viewer whose path has room pays for the comparison and one multiplication.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    /// Since the same moment as the times it is asked at, in nanoseconds.
    free_at_ns: u64,
    /// 0 when nothing is paced.
    ns_per_byte: u64,
    burst_ns: u64,
}

/// What may leave in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burst {
    /// A frame of a stream that fits: what leaves in 20 ms.
    Frame,
    /// What leaves in 5 ms, and at least eight packets as long as these take no more than 30 ms: on
    /// slower paths waiting costs less than the queue would.
    Run,
    /// What leaves in 5 ms: the path has hardly a queue.
    Packets,
}

impl Default for Pacer {
    /// Lets everything go.
    fn default() -> Self {
        Pacer {
            free_at_ns: 0,
            ns_per_byte: 0,
            burst_ns: 0,
        }
    }
}

impl Pacer {
    /// Sets the rate in bits per second; `None` lets everything go.
    pub fn set_rate(&mut self, rate_bps: Option<u64>, burst: Burst) {
        let ns_per_byte = rate_bps.map_or(0, |bps| 8_000_000_000 / bps.max(1));
        let run_ns = ns_per_byte.saturating_mul(RUN_BYTES).min(RUN_NS_MAX);
        self.ns_per_byte = ns_per_byte;
        self.burst_ns = match burst {
            Burst::Frame => run_ns.max(FRAME_NS),
            Burst::Run => run_ns.max(PACKETS_NS),
            Burst::Packets => PACKETS_NS,
        };
    }

    /// Whether `bytes` may leave in one go at `now_ns`, with nothing before them in the queue.
    #[inline]
    #[must_use]
    pub fn admits(&self, now_ns: u64, bytes: usize) -> bool {
        self.start(now_ns) + self.ns_per_byte * bytes as u64 <= now_ns + self.burst_ns
    }

    /// Whether one more packet of any size may leave: a burst is not over.
    #[must_use]
    pub fn is_open(&self, now_ns: u64) -> bool {
        self.ns_per_byte == 0 || self.free_at_ns < now_ns + self.burst_ns
    }

    /// Counts what left. What the path was idle before is not saved up, but for the little by which
    /// a timer is late.
    #[inline]
    pub fn spend(&mut self, now_ns: u64, bytes: usize) {
        self.free_at_ns = self.start(now_ns) + self.ns_per_byte * bytes as u64;
    }

    /// When the next burst may leave.
    #[must_use]
    pub fn next_ns(&self, now_ns: u64) -> u64 {
        self.free_at_ns.max(now_ns)
    }

    #[inline]
    fn start(&self, now_ns: u64) -> u64 {
        self.free_at_ns.max(now_ns.saturating_sub(LATE_NS))
    }

    /// The rate in bits per second; `None` where nothing is paced.
    #[must_use]
    pub fn rate_bps(&self) -> Option<u64> {
        8_000_000_000_u64.checked_div(self.ns_per_byte)
    }

    /// How long `bytes` take at the rate.
    #[must_use]
    pub fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_nanos(self.ns_per_byte.saturating_mul(bytes as u64))
    }
}

/// At two and a half times the rate this is one and a half times a frame of 33 ms.
const FRAME_NS: u64 = 20_000_000;
const PACKETS_NS: u64 = 5_000_000;
/// Eight packets, the run at which segmented sends have most of their gain.
const RUN_BYTES: u64 = 8 * 1_250;
const RUN_NS_MAX: u64 = 30_000_000;
/// The wheel's grain, and as much again.
const LATE_NS: u64 = 2_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const BURST: Burst = Burst::Run;

    #[test]
    fn without_a_rate_everything_leaves() {
        let mut pacer = Pacer::default();
        for n in 0..1_000 {
            assert!(pacer.admits(n, 300_000) && pacer.is_open(n));
            pacer.spend(n, 300_000);
        }
    }

    #[test]
    fn over_time_the_rate_is_kept_and_a_burst_is_bounded() {
        for rate_bps in [50_000_u64, 300_000, 2_000_000, 20_000_000] {
            let mut pacer = Pacer::default();
            pacer.set_rate(Some(rate_bps), BURST);
            let (mut sent, mut largest) = (0_u64, 0_u64);
            // Woken every millisecond, there is always more to send.
            let start = 1_000 * MS;
            for now in (start..start + 20_000 * MS).step_by(MS as usize) {
                let mut burst = 0;
                while pacer.is_open(now) {
                    pacer.spend(now, 1_200);
                    burst += 1_200;
                }
                largest = largest.max(burst);
                sent += burst;
            }
            let bps = sent as f64 * 8.0 / 20.0;
            let ratio = bps / rate_bps as f64;
            assert!(
                (0.98..1.03).contains(&ratio) || rate_bps < 100_000,
                "{ratio}"
            );
            let ms = largest as f64 * 8e3 / rate_bps as f64;
            assert!(largest <= 2_400 || ms < 42.0, "{rate_bps}: {largest} {ms}");
        }
    }

    #[test]
    fn eight_packets_leave_together_where_the_path_is_not_slow() {
        for (rate_bps, expected) in [(300_000, 1), (2_700_000, 8), (20_000_000, 13)] {
            let mut pacer = Pacer::default();
            pacer.set_rate(Some(rate_bps), BURST);
            let mut count = 0;
            while pacer.is_open(1_000 * MS) {
                pacer.spend(1_000 * MS, 1_250);
                count += 1;
            }
            assert!(
                (expected..=expected + 2).contains(&count),
                "{rate_bps}: {count}"
            );
        }
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut pacer = Pacer::default();
        pacer.set_rate(Some(8_000_000), BURST);
        pacer.spend(0, 1_000);
        // Ten seconds later a burst is what it always is: 10 ms with what a late timer may add.
        let now = 10_000 * MS;
        assert!(pacer.admits(now, 10_000));
        pacer.spend(now, 10_000);
        assert!(!pacer.admits(now, 3_000));
        assert!(pacer.next_ns(now) > now);
    }
}
