//! How often and how much a viewer may be sent again.

use std::time::{Duration, Instant};

use crate::limits;

/// The allowance of one track of a viewer: a share of what it is sent, more of it while the viewer
/// reports more loss.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes that may be sent again now.
    credit: u32,
    /// In 1/256 of what is sent.
    share: u32,
    /// Reported loss in 1/256, falling slowly.
    loss: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            credit: limits::RTX_BURST_BYTES_MAX / 4,
            share: limits::RTX_SHARE_256_MIN,
            loss: 0,
        }
    }
}

impl Budget {
    /// `size` bytes of media were sent.
    #[inline]
    pub fn earn(&mut self, size: usize) {
        let gained = u32::try_from(size).unwrap_or(u32::MAX) / 4 * self.share / 64;
        let credit = self.credit.saturating_add(gained);
        self.credit = credit.min(limits::RTX_BURST_BYTES_MAX);
    }

    /// Takes `size` bytes out of the allowance; false when it does not reach.
    pub fn spend(&mut self, size: usize) -> bool {
        let left = u32::try_from(size)
            .ok()
            .and_then(|size| self.credit.checked_sub(size));
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }

    /// A receiver report named this share of packets lost, in 1/256.
    pub fn reported(&mut self, fraction_lost: u8) {
        let reported = u32::from(fraction_lost);
        self.loss = reported.max((3 * self.loss + reported) / 4);
        let wanted = self.loss * 3 / 2;
        self.share = wanted.clamp(limits::RTX_SHARE_256_MIN, limits::RTX_SHARE_256_MAX);
    }
}

/// What was sent again lately, so that one loss asked for twice within a round trip is answered
/// once.
///
/// Bounded: a slot for every eighth of the numbers a viewer may ask for, the newest in it wins.
#[derive(Debug, Default)]
pub struct Resent {
    /// Made at the first loss: most viewers on good networks never have one.
    slots: Vec<Option<(u64, Instant)>>,
}

impl Resent {
    /// Whether `seq` may be sent again now; remembers it if so.
    pub fn admit(&mut self, now: Instant, seq: u64, interval: Duration) -> bool {
        if self.slots.is_empty() {
            self.slots.resize(SLOT_COUNT, None);
        }
        let Some(slot) = self.slots.get_mut((seq % SLOT_COUNT as u64) as usize) else {
            return false;
        };
        if let Some((known, at)) = *slot
            && known == seq
            && now.saturating_duration_since(at) < interval
        {
            return false;
        }
        *slot = Some((seq, now));
        true
    }
}

const SLOT_COUNT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// Share of 10 MB of media that may be sent again after the burst is used up.
    fn share(budget: &mut Budget) -> f64 {
        while budget.spend(1_000) {}
        let mut again = 0;
        for _ in 0..10_000 {
            budget.earn(1_000);
            while budget.spend(100) {
                again += 100;
            }
        }
        f64::from(again) / 10e6
    }

    #[test]
    fn a_fifth_without_loss_and_one_and_a_half_times_the_loss_up_to_two_fifths() {
        for (lost, expected) in [(0, 0.2), (26, 0.2), (51, 0.3), (64, 0.375), (255, 0.4)] {
            let mut budget = Budget::default();
            budget.reported(lost);
            let share = share(&mut budget);
            assert!((share - expected).abs() < 0.01, "{lost}: {share}");
        }
    }

    #[test]
    fn the_allowance_falls_slowly_when_the_loss_ends() {
        let mut budget = Budget::default();
        budget.reported(64);
        budget.reported(0);
        assert!(share(&mut budget) > 0.25);
        for _ in 0..10 {
            budget.reported(0);
        }
        assert!(share(&mut budget) < 0.21);
    }

    #[test]
    fn what_was_saved_up_has_an_end() {
        let mut budget = Budget::default();
        for _ in 0..100_000 {
            budget.earn(60_000);
        }
        let mut again = 0;
        while budget.spend(1_000) {
            again += 1_000;
        }
        assert!(again <= limits::RTX_BURST_BYTES_MAX);
    }

    #[test]
    fn one_loss_asked_for_twice_within_the_interval_is_answered_once() {
        let mut resent = Resent::default();
        let start = Instant::now();
        let interval = Duration::from_millis(40);
        assert!(resent.admit(start, 70_000, interval));
        assert!(!resent.admit(start + interval / 2, 70_000, interval));
        assert!(resent.admit(start + interval / 2, 70_001, interval));
        assert!(resent.admit(start + interval, 70_000, interval));
    }
}
