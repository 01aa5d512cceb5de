//! How long packets wait on the way.

/// The time packets take, against the least they took lately. The clocks need not agree: only
/// differences count.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The least of the window under way and of the one before.
    least_us: Option<i64>,
    before_us: Option<i64>,
    window_us: u64,
    /// The least of the report that is being read.
    report_us: Option<i64>,
}

impl Queue {
    /// A packet arrived.
    pub(crate) fn push(&mut self, sent_us: u64, arrived_us: i64) {
        let took_us = arrived_us.saturating_sub_unsigned(sent_us);
        self.report_us = Some(self.report_us.map_or(took_us, |known| known.min(took_us)));
    }

    /// Ends a report: how long the packet of it that was fastest waited, in microseconds.
    pub(crate) fn close(&mut self, now_us: u64) -> u64 {
        let Some(report_us) = self.report_us.take() else {
            return 0;
        };
        if now_us.saturating_sub(self.window_us) > WINDOW_US {
            self.window_us = now_us;
            self.before_us = self.least_us.take();
        }
        let least = self
            .least_us
            .map_or(report_us, |known| known.min(report_us));
        self.least_us = Some(least);
        let base = self.before_us.map_or(least, |before| before.min(least));
        u64::try_from(report_us.saturating_sub(base)).unwrap_or(0)
    }
}

/// The way is taken to be a longer one when it was for this long, or twice that: clocks drift, and
/// routes change.
const WINDOW_US: u64 = 15_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_counts_from_the_fastest_lately_and_a_longer_way_is_learnt() {
        let mut queue = Queue::default();
        let mut report = |at_us: u64, took_us: i64| {
            queue.push(at_us, at_us as i64 + took_us - 5_000_000);
            queue.push(at_us, at_us as i64 + took_us - 4_000_000);
            queue.close(at_us)
        };
        assert_eq!(report(0, 40_000), 0);
        assert_eq!(report(100_000, 90_000), 50_000);
        assert_eq!(report(200_000, 30_000), 0);
        let waits: Vec<u64> = (1..50)
            .map(|second| report(second * 1_000_000, 80_000))
            .collect();
        assert_eq!((waits[0], waits[48]), (50_000, 0));
        assert_eq!(queue.close(60_000_000), 0, "an empty report");
    }

    #[test]
    fn clocks_at_their_ends_leave_a_number() {
        let mut queue = Queue::default();
        for arrived_us in [i64::MIN, i64::MAX, 0, i64::MIN] {
            queue.push(u64::MAX, arrived_us);
            queue.close(0);
        }
    }
}
