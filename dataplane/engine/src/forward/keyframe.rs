//! Key frame requests, coalesced: however many viewers ask, the publisher hears two a second.

use std::time::{Duration, Instant};

use crate::limits;

/// One publisher track's requests.
///
/// A request may be lost on its way, and whoever waits for a key frame sees nothing: where answers are
/// known to come, one that takes much longer than usual is asked for once more.
#[derive(Debug, Default)]
pub struct KeyframeThrottle {
    /// When the last two were sent.
    sent_at: Option<Instant>,
    sent_before: Option<Instant>,
    owed: bool,
    /// Whether the last one may be repeated.
    may_repeat: bool,
    /// Since when no key frame came although one was asked for.
    unanswered_since: Option<Instant>,
    /// How long an answer takes; `None` until a key frame came, and for good where none are told of.
    answers_in: Option<Duration>,
}

impl KeyframeThrottle {
    /// A viewer asks. True when a request is to be sent now; else one is owed and
    /// [`due`](Self::due) says when.
    pub fn request(&mut self, now: Instant) -> bool {
        self.owed = true;
        self.poll(now)
    }

    /// True when the owed request, or one that was not answered, is to be sent now.
    pub fn poll(&mut self, now: Instant) -> bool {
        let is_wanted = self.owed || self.repeats_at().is_some();
        let is_due = is_wanted && self.due().is_none_or(|due| due <= now);
        if is_due {
            self.may_repeat = self.owed && self.answers_in.is_some();
            self.owed = false;
            self.sent_before = self.sent_at.replace(now);
            self.unanswered_since.get_or_insert(now);
        }
        is_due
    }

    /// A key frame began: whoever asked before gets it.
    pub fn served(&mut self, now: Instant) {
        let known = self.answers_in.unwrap_or(limits::KEYFRAME_ANSWER_TYPICAL);
        let took = self
            .unanswered_since
            .map(|since| now.saturating_duration_since(since));
        let took = took.map_or(known, |took| took.min(limits::KEYFRAME_REQUEST_INTERVAL));
        self.answers_in = Some((known * 3 + took) / 4);
        self.owed = false;
        self.may_repeat = false;
        self.unanswered_since = None;
    }

    /// For how long the publisher has been asked in vain.
    pub fn unanswered_for(&self, now: Instant) -> Option<Duration> {
        let since = self.unanswered_since?;
        Some(now.saturating_duration_since(since))
    }

    /// When the owed request, or a repetition, may be sent; `None` when there is none, or it may be at
    /// once.
    pub fn due(&self) -> Option<Instant> {
        let owed = self.sent_at.filter(|_| self.owed);
        let owed = owed.map(|at| at + limits::KEYFRAME_REQUEST_INTERVAL);
        let due = owed.into_iter().chain(self.repeats_at()).min()?;
        // Two a second, whatever they are for.
        let second = self
            .sent_before
            .map(|at| at + 2 * limits::KEYFRAME_REQUEST_INTERVAL);
        Some(second.map_or(due, |second| due.max(second)))
    }

    fn repeats_at(&self) -> Option<Instant> {
        let sent_at = self.sent_at.filter(|_| self.may_repeat)?;
        let longest = limits::KEYFRAME_REQUEST_INTERVAL;
        let patience = self.answers_in.map_or(longest, |usual| 2 * usual);
        Some(sent_at + patience.clamp(limits::KEYFRAME_REPEAT_AFTER_MIN, longest))
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
        throttle.served(later);
        assert_eq!(throttle.due(), None);
        assert_eq!(throttle.unanswered_for(later), None);
    }

    /// Asked every 100 ms: when requests are sent, with the answers to some of them.
    fn sent(throttle: &mut KeyframeThrottle, start: Instant, answered: &[(u64, u64)]) -> Vec<u64> {
        let mut sent = Vec::new();
        for ms in 0..3_000 {
            let now = start + Duration::from_millis(ms);
            let is_asked = answered.iter().any(|(asked, _)| *asked == ms);
            let is_sent = match is_asked {
                true => throttle.request(now),
                false => throttle.poll(now),
            };
            if is_sent {
                sent.push(ms);
            }
            if answered.iter().any(|(_, at)| *at == ms) {
                throttle.served(now);
            }
        }
        sent
    }

    #[test]
    fn a_request_that_is_not_answered_as_usual_is_repeated_once() {
        let start = Instant::now();
        let never = u64::MAX;
        let mut silent = KeyframeThrottle::default();
        let once = sent(&mut silent, start, &[(0, never), (1_000, never)]);
        assert_eq!(once, [0, 1_000], "nothing is known of its answers");
        let mut quick = KeyframeThrottle::default();
        quick.served(start);
        assert_eq!(sent(&mut quick, start, &[(10, 90), (800, 880)]), [10, 800]);
        let later = start + Duration::from_secs(10);
        assert_eq!(sent(&mut quick, later, &[(10, never)]), [10, 210]);
        // Slow ones are waited for.
        let mut slow = KeyframeThrottle::default();
        for second in 0..20 {
            let asked_at = start + Duration::from_secs(second);
            assert!(slow.request(asked_at));
            slow.served(asked_at + Duration::from_millis(400));
        }
        let later = start + Duration::from_secs(30);
        assert_eq!(sent(&mut slow, later, &[(0, 400)]), [0]);
        assert_eq!(
            sent(&mut slow, later + Duration::from_secs(10), &[(0, never)]),
            [0, 500]
        );
    }

    #[test]
    fn repetitions_too_are_two_a_second_at_most() {
        let start = Instant::now();
        let mut throttle = KeyframeThrottle::default();
        throttle.served(start);
        let mut sent = Vec::new();
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            if throttle.request(now) {
                sent.push(ms);
            }
        }
        assert!(
            sent.windows(3).all(|three| three[2] - three[0] >= 1_000),
            "{sent:?}"
        );
        assert!((19..=20).contains(&sent.len()), "{sent:?}");
    }
}
