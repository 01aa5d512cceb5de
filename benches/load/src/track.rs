//! What a receiver knows of one RTP stream from its headers alone: what is missing, late or twice,
//! and what to ask for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use whitewater_rtp::rtcp::ReportBlock;

/// One received stream.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) ssrc: u32,
    clock_rate: u32,
    first: u64,
    highest: u64,
    /// The last [`WINDOW`] numbers up to `highest`, one bit each.
    window: [u64; WINDOW / 64],
    pub(crate) counts: Counts,
    missing: VecDeque<Missing>,
    /// As of the last report, for its share of losses.
    reported: (u64, u64),
    jitter: Jitter,
    last_sr: Option<(u32, Instant)>,
    last_at: Instant,
    /// The longest time without a packet.
    pub(crate) gap_max: Duration,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Different packets.
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    /// Came after one with a higher number, retransmissions aside.
    pub(crate) reordered: u64,
    /// Numbers asked for again, each time.
    pub(crate) nacked: u64,
    /// Came as retransmission.
    pub(crate) recovered: u64,
    /// Packets that were given up on and may still be missing.
    pub(crate) given_up: u64,
}

#[derive(Debug)]
struct Missing {
    seq: u64,
    due: Instant,
    tries: u8,
}

#[derive(Debug, Default)]
struct Jitter {
    transit: Option<u32>,
    /// In sixteenths of a clock tick.
    scaled: u32,
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Original,
    Retransmitted,
}

impl Track {
    pub(crate) fn new(ssrc: u32, clock_rate: u32, seq: u16, now: Instant) -> Self {
        // One period up, so that an early packet from before does not go below zero.
        let first = u64::from(seq) + 0x1_0000;
        let mut track = Track {
            ssrc,
            clock_rate,
            first,
            highest: first,
            window: [0; WINDOW / 64],
            counts: Counts {
                received: 1,
                ..Counts::default()
            },
            missing: VecDeque::new(),
            reported: (0, 0),
            jitter: Jitter::default(),
            last_sr: None,
            last_at: now,
            gap_max: Duration::ZERO,
        };
        track.mark(first);
        track
    }

    /// Takes a packet's number; whether it is new.
    pub(crate) fn take(&mut self, seq: u16, way: Way, now: Instant) -> bool {
        let ahead = seq.wrapping_sub(self.highest as u16);
        if ahead == 0 {
            self.counts.duplicates += 1;
            return false;
        }
        if ahead < 0x8000 {
            self.advance(u64::from(ahead), now);
            self.arrived(now);
            self.counts.received += 1;
            return true;
        }
        let behind = u64::from(ahead.wrapping_neg());
        let number = self.highest.saturating_sub(behind);
        if behind >= WINDOW as u64 || number < self.first {
            // Too late to tell from a duplicate; it was counted as lost.
            self.counts.reordered += 1;
            return false;
        }
        if self.is_marked(number) {
            self.counts.duplicates += 1;
            return false;
        }
        self.mark(number);
        self.arrived(now);
        self.counts.received += 1;
        match way {
            Way::Original => self.counts.reordered += 1,
            Way::Retransmitted => self.counts.recovered += 1,
        }
        self.missing.retain(|missing| missing.seq != number);
        true
    }

    /// RFC 3550 appendix A.8.
    pub(crate) fn note_timestamp(&mut self, timestamp: u32, since_start: Duration) {
        let rate = u128::from(self.clock_rate);
        let arrival = (since_start.as_nanos() * rate / 1_000_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(last) = self.jitter.transit {
            let change = transit.wrapping_sub(last).cast_signed().unsigned_abs();
            let scaled = self.jitter.scaled;
            self.jitter.scaled = (scaled - (scaled + 8) / 16).saturating_add(change.min(1 << 24));
        }
        self.jitter.transit = Some(transit);
    }

    /// Notes a sender report's middle 32 bits of NTP time.
    pub(crate) fn note_report(&mut self, ntp_time: u64, now: Instant) {
        self.last_sr = Some(((ntp_time >> 16) as u32, now));
    }

    /// Packets that have not come, of those between the first and the highest.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.counts.received)
    }

    pub(crate) fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }

    /// Time since the last new packet.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_at)
    }

    /// Forgets gaps so far.
    pub(crate) fn reset_gap(&mut self) {
        self.gap_max = Duration::ZERO;
    }

    /// When [`ask`](Self::ask) has something to say.
    pub(crate) fn ask_due(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.due).min()
    }

    /// The numbers to ask for now; what was asked for often enough is given up on.
    pub(crate) fn ask(&mut self, now: Instant, out: &mut Vec<u16>) {
        let mut given_up = 0;
        self.missing.retain_mut(|missing| {
            if missing.due > now {
                return true;
            }
            if missing.tries >= ASKS_MAX {
                given_up += 1;
                return false;
            }
            missing.tries += 1;
            missing.due = now + ASK_AGAIN;
            out.push(missing.seq as u16);
            true
        });
        self.counts.nacked += out.len() as u64;
        self.counts.given_up += given_up;
    }

    /// A report block, its share of losses since the last one (RFC 3550 §6.4.1).
    pub(crate) fn report(&mut self, now: Instant) -> ReportBlock {
        let (expected, received) = (self.expected(), self.counts.received);
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, received);
        let expected_since = expected - expected_before;
        let lost_since = expected_since.saturating_sub(received - received_before);
        let fraction = (lost_since << 8).checked_div(expected_since).unwrap_or(0);
        let (last_sr, delay) = match self.last_sr {
            Some((middle, at)) => {
                let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
                (middle, u32::try_from(delay).unwrap_or(u32::MAX))
            }
            None => (0, 0),
        };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(self.lost()).unwrap_or(i32::MAX),
            // The first period is ours: see `new`.
            highest_seq: (self.highest - 0x1_0000) as u32,
            jitter: self.jitter.scaled >> 4,
            last_sr,
            delay_since_last_sr: delay,
        }
    }

    fn arrived(&mut self, now: Instant) {
        self.gap_max = self.gap_max.max(self.silence(now));
        self.last_at = now;
    }

    fn advance(&mut self, ahead: u64, now: Instant) {
        if ahead >= WINDOW as u64 {
            self.window = [0; WINDOW / 64];
            self.missing.clear();
        }
        let from = self.highest + 1;
        self.highest += ahead;
        let oldest = self.highest.saturating_sub(WINDOW as u64 - 1);
        for number in from.max(oldest)..self.highest {
            self.clear(number);
            if self.missing.len() == MISSING_MAX {
                self.missing.pop_front();
                self.counts.given_up += 1;
            }
            self.missing.push_back(Missing {
                seq: number,
                due: now + ASK_FIRST,
                tries: 0,
            });
        }
        self.mark(self.highest);
    }

    fn slot(number: u64) -> (usize, u64) {
        let bit = (number % WINDOW as u64) as usize;
        (bit / 64, 1 << (bit % 64))
    }

    fn mark(&mut self, number: u64) {
        let (word, bit) = Self::slot(number);
        self.window[word] |= bit;
    }

    fn clear(&mut self, number: u64) {
        let (word, bit) = Self::slot(number);
        self.window[word] &= !bit;
    }

    fn is_marked(&self, number: u64) -> bool {
        let (word, bit) = Self::slot(number);
        self.window[word] & bit != 0
    }
}

/// Numbers behind the highest that are told apart.
const WINDOW: usize = 1024;
/// A packet that is only out of order comes by itself.
const ASK_FIRST: Duration = Duration::from_millis(10);
const ASK_AGAIN: Duration = Duration::from_millis(60);
const ASKS_MAX: u8 = 6;
const MISSING_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn losses_are_asked_for_until_they_come() {
        let now = Instant::now();
        let mut track = Track::new(7, 90_000, 65_534, now);
        // Over the end of the 16 bits: 65535 and 1 are missing.
        assert!(track.take(0, Way::Original, now));
        assert!(track.take(2, Way::Original, now));
        let mut asked = Vec::new();
        track.ask(now, &mut asked);
        assert!(asked.is_empty());
        assert_eq!(track.ask_due(), Some(after(now, 10)));
        track.ask(after(now, 10), &mut asked);
        assert_eq!(asked, [65_535, 1]);
        assert_eq!(track.lost(), 2);

        assert!(track.take(65_535, Way::Retransmitted, after(now, 30)));
        assert!(!track.take(65_535, Way::Retransmitted, after(now, 31)));
        assert_eq!(track.lost(), 1);
        let mut tries = 1;
        for ms in (70..1000).step_by(60) {
            asked.clear();
            track.ask(after(now, ms), &mut asked);
            tries += asked.len();
            assert!(asked.iter().all(|seq| *seq == 1));
        }
        assert_eq!(tries, usize::from(ASKS_MAX));
        assert_eq!(track.ask_due(), None);
        let expected = Counts {
            received: 4,
            duplicates: 1,
            reordered: 0,
            nacked: 7,
            recovered: 1,
            given_up: 1,
        };
        assert_eq!(track.counts, expected);
    }

    #[test]
    fn order_and_duplicates_are_told_apart() {
        let now = Instant::now();
        let mut track = Track::new(7, 48_000, 10, now);
        for seq in [12, 11, 11, 12, 13, 9] {
            track.take(seq, Way::Original, now);
        }
        assert_eq!(track.lost(), 0);
        // 9 is from before the first one.
        assert_eq!(
            (
                track.counts.received,
                track.counts.duplicates,
                track.counts.reordered
            ),
            (4, 2, 2)
        );
    }

    #[test]
    fn a_jump_longer_than_the_window_leaves_nothing_behind() {
        let now = Instant::now();
        let mut track = Track::new(7, 48_000, 0, now);
        assert!(track.take(5000, Way::Original, now));
        assert_eq!(track.lost(), 4999);
        assert!(track.missing.len() <= MISSING_MAX);
        for seq in 4990..5000 {
            assert!(track.take(seq, Way::Original, now), "{seq}");
        }
        assert_eq!(track.lost(), 4989);
    }

    #[test]
    fn reports_say_what_was_lost_since_the_last_one() {
        let now = Instant::now();
        let mut track = Track::new(7, 90_000, 100, now);
        for seq in [101, 102, 104] {
            track.take(seq, Way::Original, now);
        }
        track.note_report(0x1234_5678_9abc_def0, now);
        let block = track.report(after(now, 500));
        assert_eq!((block.ssrc, block.highest_seq), (7, 104));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (51, 1));
        assert_eq!(
            (block.last_sr, block.delay_since_last_sr),
            (0x5678_9abc, 32_768)
        );
        let block = track.report(after(now, 600));
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1));
    }

    #[test]
    fn gaps_are_between_new_packets() {
        let now = Instant::now();
        let mut track = Track::new(7, 90_000, 1, now);
        track.take(2, Way::Original, after(now, 40));
        track.take(2, Way::Original, after(now, 90));
        track.take(3, Way::Original, after(now, 100));
        assert_eq!(track.gap_max, Duration::from_millis(60));
        assert_eq!(track.silence(after(now, 130)), Duration::from_millis(30));
    }
}
