//! How much is read from a peer: a token bucket that holds back what is too much.
//!
//! Nothing is lost by it: what is not read fills the window that SCTP announces, and the peer waits.

use std::time::{Duration, Instant};

/// What may be read in a second; as much may be saved up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages, those that open channels included.
    pub messages: u32,
    /// Their bytes.
    pub bytes: u32,
}

impl Rate {
    /// For a peer whose messages go to many.
    pub const PUBLISHER: Rate = Rate {
        messages: 1_000,
        bytes: 4 * 1024 * 1024,
    };
    /// For a peer that is one of many.
    pub const VIEWER: Rate = Rate {
        messages: 100,
        bytes: 512 * 1024,
    };
}

/// What is left of a [`Rate`].
#[derive(Debug)]
pub(crate) struct Budget {
    rate: Rate,
    /// Thousandths of a message.
    messages: i64,
    /// Thousandths of a byte; below zero after a large message.
    bytes: i64,
    filled_at: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(rate: Rate) -> Self {
        Budget {
            rate,
            messages: i64::from(rate.messages) * 1000,
            bytes: i64::from(rate.bytes) * 1000,
            filled_at: None,
        }
    }

    /// Whether another message may be read.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.messages >= 1000 && self.bytes > 0
    }

    /// One was.
    pub(crate) fn take(&mut self, size: usize) {
        self.messages -= 1000;
        self.bytes -= i64::try_from(size).unwrap_or(i64::MAX / 2000) * 1000;
    }

    /// When the next one may be read.
    pub(crate) fn ready_at(&self, now: Instant) -> Instant {
        let wait = |missing: i64, rate: u32| missing.max(0) / i64::from(rate.max(1)) + 1;
        let messages = wait(1000 - self.messages, self.rate.messages);
        let bytes = wait(1 - self.bytes, self.rate.bytes);
        let wait = u64::try_from(messages.max(bytes)).unwrap_or(1);
        self.filled_at.unwrap_or(now) + Duration::from_millis(wait)
    }

    fn fill(&mut self, now: Instant) {
        let since = self.filled_at.get_or_insert(now);
        let passed = now.saturating_duration_since(*since).as_millis();
        if passed == 0 {
            return;
        }
        // Whole milliseconds; the rest counts the next time.
        *since += Duration::from_millis(u64::try_from(passed).unwrap_or(u64::MAX));
        let passed = i64::try_from(passed).unwrap_or(i64::MAX).min(HOLDS_MS);
        let fill = |left: i64, rate: u32| {
            let most = i64::from(rate) * 1000;
            (left + passed * i64::from(rate)).min(most)
        };
        self.messages = fill(self.messages, self.rate.messages);
        self.bytes = fill(self.bytes, self.rate.bytes);
    }
}

/// A minute fills any debt: a message is not larger than that.
const HOLDS_MS: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        messages: 10,
        bytes: 1000,
    };

    #[test]
    fn a_second_is_saved_up_and_no_more() {
        let now = Instant::now();
        let mut budget = Budget::new(RATE);
        for round in 0..3 {
            let now = now + Duration::from_secs(round * 60);
            let mut read = 0;
            while budget.allows(now) {
                budget.take(1);
                read += 1;
            }
            assert_eq!(read, 10);
            let at = budget.ready_at(now);
            assert!(at > now && at <= now + Duration::from_millis(101), "{at:?}");
            assert!(budget.allows(at));
        }
    }

    #[test]
    fn a_large_message_is_paid_for_afterwards() {
        let now = Instant::now();
        let mut budget = Budget::new(RATE);
        assert!(budget.allows(now));
        budget.take(3000);
        assert!(!budget.allows(now + Duration::from_millis(1900)));
        let at = budget.ready_at(now);
        assert!(at > now + Duration::from_secs(1) && at < now + Duration::from_millis(2100));
        assert!(budget.allows(now + Duration::from_millis(2100)));
    }
}
