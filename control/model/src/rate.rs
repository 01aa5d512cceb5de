use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A bit rate over the last two seconds of reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateMeter {
    samples: VecDeque<(Instant, u64)>,
}

impl RateMeter {
    /// Takes a cumulative count of `bytes`.
    pub(crate) fn sample(&mut self, at: Instant, bytes: u64) {
        self.samples.push_back((at, bytes));
        // The front is the youngest sample that is still at least the window old.
        while let Some((second, _)) = self.samples.get(1)
            && (at.saturating_duration_since(*second) >= WINDOW || self.samples.len() > LEN_MAX)
        {
            self.samples.pop_front();
        }
    }

    /// Bits per second; 0 when the reports stopped.
    pub(crate) fn bps(&self, now: Instant) -> u64 {
        let (Some((from, old)), Some((to, new))) = (self.samples.front(), self.samples.back())
        else {
            return 0;
        };
        let span_ms = to.saturating_duration_since(*from).as_millis();
        if span_ms == 0 || now.saturating_duration_since(*to) > STALE_AFTER {
            return 0;
        }
        let bits = u128::from(new.saturating_sub(*old)) * 8;
        u64::try_from(bits * 1000 / span_ms).unwrap_or(u64::MAX)
    }
}

const WINDOW: Duration = Duration::from_secs(2);
const STALE_AFTER: Duration = Duration::from_secs(3);
/// Reports come once a second: three span the window. More only come from a hurrying shard.
const LEN_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_two_seconds() {
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        let mut meter = RateMeter::default();
        assert_eq!(meter.bps(start), 0);
        meter.sample(second(0), 0);
        assert_eq!(meter.bps(second(0)), 0);
        meter.sample(second(1), 1000);
        assert_eq!(meter.bps(second(1)), 8000);
        for n in 2..20 {
            meter.sample(second(n), 1000 + (n - 1) * 250);
        }
        assert_eq!(meter.bps(second(19)), 2000);
        assert_eq!(meter.bps(second(23)), 0, "reports stopped");
    }

    #[test]
    fn the_window_stays_bounded_when_reports_hurry() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        for n in 0..10_000 {
            meter.sample(start + Duration::from_micros(n), n);
        }
        assert!(meter.samples.len() <= LEN_MAX);
    }
}
