//! Key frame requests, coalesced: however many viewers ask, the publisher hears two a second.

use std::time::{Duration, Instant};

use crate::limits;

/// One publisher track's requests.
#[derive(Debug, Default)]
pub struct KeyframeThrottle {
    sent_at: Option<Instant>,
    owed: bool,
    /// Since when no key frame came although one was asked for.
    unanswered_since: Option<Instant>,
}

impl KeyframeThrottle {
    /// A viewer asks. True when a request is to be sent now; else one is owed and
    /// [`due`](Self::due) says when.
    pub fn request(&mut self, now: Instant) -> bool {
        self.owed = true;
        self.poll(now)
    }

    /// True when the owed request is to be sent now.
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.owed && self.due().is_none_or(|due| due <= now);
        if due {
            self.owed = false;
            self.sent_at = Some(now);
            self.unanswered_since.get_or_insert(now);
        }
        due
    }

    /// A key frame began: whoever asked before gets it.
    pub fn served(&mut self) {
        self.owed = false;
        self.unanswered_since = None;
    }

    /// For how long the publisher has been asked in vain.
    pub fn unanswered_for(&self, now: Instant) -> Option<Duration> {
        let since = self.unanswered_since?;
        Some(now.saturating_duration_since(since))
    }

    /// When the owed request may be sent; `None` when none is owed.
    pub fn due(&self) -> Option<Instant> {
        let sent_at = self.sent_at.filter(|_| self.owed)?;
        Some(sent_at + limits::KEYFRAME_REQUEST_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_requests_costs_the_publisher_two_a_second() {
        let start = Instant::now();
        let mut throttle = KeyframeThrottle::default();
        let mut sent = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            sent += u32::from(throttle.request(now));
        }
        assert_eq!(sent, 20);
    }

    #[test]
    fn the_last_request_is_not_lost() {
        let start = Instant::now();
        let mut throttle = KeyframeThrottle::default();
        assert!(throttle.request(start));
        assert!(!throttle.request(start + Duration::from_millis(100)));
        let due = throttle.due().expect("one is owed");
        assert_eq!(due, start + limits::KEYFRAME_REQUEST_INTERVAL);
        assert!(throttle.poll(due));
        assert_eq!(throttle.due(), None);
    }

    #[test]
    fn a_key_frame_settles_what_is_owed() {
        let start = Instant::now();
        let mut throttle = KeyframeThrottle::default();
        assert!(throttle.request(start));
        assert!(!throttle.request(start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(7);
        assert_eq!(throttle.unanswered_for(later), Some(Duration::from_secs(7)));
        throttle.served();
        assert_eq!(throttle.due(), None);
        assert_eq!(throttle.unanswered_for(later), None);
    }
}
