//! How long packets wait on the way, and how fast those arrive that did.

/// The time packets take, against the least they took lately. The clocks need not agree: only
/// differences count.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The least of the window under way and of the one before.
    least_us: Option<i64>,
    before_us: Option<i64>,
    window_us: u64,
    /// What is waited on top of that although hardly anything is sent: others' queue, or a radio's.
    others_us: i64,
    /// For how long packets are held up and then let go all at once.
    hold_up_us: u64,
    together: Option<Together>,
    /// The least of the report that is being read.
    report_us: Option<i64>,
    /// Packets in a row that waited long, and what that is.
    long: u32,
    long_us: u64,
    stand: Option<Stand>,
    busy: Option<Busy>,
}

/// Packets that arrived at once: the time the first of them took, and when the last came.
#[derive(Clone, Copy, Debug)]
struct Together {
    took_us: i64,
    until_us: i64,
}

/// A queue that does not go away.
#[derive(Clone, Copy, Debug)]
struct Stand {
    since_us: u64,
    waits_us: u64,
}

/// Packets in a row that waited: as many arrive as the path carries. The first only says since when.
#[derive(Clone, Copy, Debug)]
struct Busy {
    since_us: i64,
    until_us: i64,
    bytes: u64,
    packets: u32,
    /// Bytes and time of the span before this one.
    before: (u64, i64),
}

/// What a report says of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// How long the packet of it that was fastest waited.
    pub(crate) us: u64,
    /// Packets wait, and did so for more than a moment.
    pub(crate) stands: bool,
    /// They waited alike for so long, although less was sent, that the way is a longer one.
    pub(crate) is_longer: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            least_us: None,
            before_us: None,
            window_us: 0,
            others_us: 0,
            hold_up_us: 0,
            together: None,
            report_us: None,
            long: 0,
            long_us: STANDS_US,
            stand: None,
            busy: None,
        }
    }
}

impl Queue {
    /// Says how long a wait is too long.
    pub(crate) fn set_long(&mut self, long_us: u64) {
        self.long_us = long_us;
    }

    /// A packet arrived.
    pub(crate) fn push(&mut self, sent_us: u64, arrived_us: i64, size: u64) {
        let took_us = arrived_us.saturating_sub_unsigned(sent_us);
        self.report_us = Some(self.report_us.map_or(took_us, |known| known.min(took_us)));
        self.note_hold_up(took_us, arrived_us);
        let waits_us = self.waited_us(took_us);
        self.long = match waits_us < self.long_us {
            true => 0,
            false => self.long.saturating_add(1),
        };
        if waits_us < BUSY_US {
            self.busy = None;
            return;
        }
        let began = Busy {
            since_us: arrived_us,
            until_us: arrived_us,
            bytes: 0,
            packets: 0,
            before: (0, 0),
        };
        match &mut self.busy {
            None => self.busy = Some(began),
            Some(busy) => {
                busy.until_us = busy.until_us.max(arrived_us);
                busy.bytes += size;
                busy.packets += 1;
                if busy.span_us() >= BUSY_SPAN_US && busy.packets >= BUSY_PACKETS_MIN {
                    let before = (busy.bytes, busy.span_us());
                    self.busy = Some(Busy { before, ..began });
                }
            }
        }
    }

    /// Ends a report that came at `now_us`, with losses in it or without.
    pub(crate) fn close(&mut self, now_us: u64, loses: bool) -> Waits {
        let Some(report_us) = self.report_us.take() else {
            return Waits::default();
        };
        if now_us.saturating_sub(self.window_us) > WINDOW_US {
            self.window_us = now_us;
            self.before_us = self.least_us.take();
            self.others_us = 0;
        }
        let least = self
            .least_us
            .map_or(report_us, |known| known.min(report_us));
        self.least_us = Some(least);
        let us = self.waited_us(report_us);
        self.hold_up_us -= self.hold_up_us / HOLD_UP_FADES;
        let few = if us >= 2 * self.long_us { 2 } else { 1 };
        let stands = us >= self.long_us && few * self.long >= STANDS_PACKETS;
        let is_longer = stands && !loses && self.stands_still(now_us, us);
        if !stands || loses {
            self.stand = None;
        }
        if is_longer {
            self.others_us = self.others_us.saturating_add_unsigned(us);
            self.window_us = now_us;
            self.stand = None;
        }
        Waits {
            us,
            stands,
            is_longer,
        }
    }

    /// What arrives of packets that wait, in bits per second; `None` where they do not, or have only
    /// just begun to.
    pub(crate) fn carried_bps(&self) -> Option<f64> {
        self.busy.and_then(Busy::bps)
    }

    /// A queue lets packets go one after the other, as fast as the path is. What left at different times
    /// and arrives at once was held up by a radio, or by a receiver that had something else to do.
    fn note_hold_up(&mut self, took_us: i64, arrived_us: i64) {
        let is_next = |known: &&mut Together| {
            (0..=TOGETHER_US).contains(&arrived_us.saturating_sub(known.until_us))
        };
        let Some(known) = self.together.as_mut().filter(is_next) else {
            self.together = Some(Together {
                took_us,
                until_us: arrived_us,
            });
            return;
        };
        known.until_us = arrived_us;
        let held_us = u64::try_from(known.took_us.saturating_sub(took_us)).unwrap_or(0);
        let held_us = held_us.saturating_sub(HOLD_UP_US_USUAL);
        self.hold_up_us = self.hold_up_us.max(held_us.min(HOLD_UP_US_MAX));
    }

    /// A queue of ours changes when less is sent.
    fn stands_still(&mut self, now_us: u64, waits_us: u64) -> bool {
        let begins = Stand {
            since_us: now_us,
            waits_us,
        };
        let stand = *self.stand.get_or_insert(begins);
        if waits_us.abs_diff(stand.waits_us) > STILL_US {
            self.stand = Some(begins);
            return false;
        }
        now_us.saturating_sub(stand.since_us) >= STILL_FOR_US
    }

    fn waited_us(&self, took_us: i64) -> u64 {
        let known = self.least_us.into_iter().chain(self.before_us).min();
        let known = known.map(|least| least.saturating_add(self.others_us));
        let waited = known.map_or(0, |known| took_us.saturating_sub(known));
        let waited = u64::try_from(waited).unwrap_or(0);
        waited.saturating_sub(self.hold_up_us)
    }
}

impl Busy {
    fn span_us(self) -> i64 {
        self.until_us.saturating_sub(self.since_us)
    }

    fn bps(self) -> Option<f64> {
        let (bytes, before_us) = self.before;
        let span_us = self.span_us().saturating_add(before_us);
        let is_known =
            before_us > 0 || span_us >= BUSY_SPAN_US_MIN && self.packets >= BUSY_PACKETS_MIN;
        is_known.then(|| (self.bytes + bytes) as f64 * 8e6 / span_us as f64)
    }
}

/// The way is taken to be a longer one when it was for this long, or twice that: clocks drift, and
/// routes change.
const WINDOW_US: u64 = 15_000_000;
/// So many packets in a row that waited for so long: a radio that was busy for a moment holds up
/// fewer, and a receiver that was busy takes the rest in at once, the last of which waited for nothing.
const STANDS_US: u64 = 50_000;
const STANDS_PACKETS: u32 = 4;
/// A queue that is the same for so long, within so much: of ours some 150 ms would be gone, or come.
const STILL_FOR_US: u64 = 1_000_000;
const STILL_US: u64 = 35_000;
/// Packets that arrive within this arrive at once, unless the path is a fast one, where that matters
/// little. What held them up is thought of for some seconds, one part in so many less with each report.
const TOGETHER_US: i64 = 1_000;
const HOLD_UP_FADES: u64 = 50;
const HOLD_UP_US_USUAL: u64 = 8_000;
const HOLD_UP_US_MAX: u64 = 100_000;
/// Packets that waited for so long did not only wait for the rest of their own frame.
const BUSY_US: u64 = 20_000;
/// Over how long, and how many packets, what arrives is measured.
const BUSY_SPAN_US: i64 = 150_000;
const BUSY_SPAN_US_MIN: i64 = 50_000;
const BUSY_PACKETS_MIN: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 1,250 bytes every 10 ms, from `from_ms` on; those of each 100 ms are a report.
    fn run(
        queue: &mut Queue,
        from_ms: u64,
        count: u64,
        took_ms: impl Fn(u64) -> i64,
    ) -> Vec<Waits> {
        let mut reports = Vec::new();
        for n in 0..count {
            let sent_us = 1_000 * (from_ms + 10 * n);
            queue.push(
                sent_us,
                sent_us as i64 + 1_000 * took_ms(n) - 7_000_000,
                1_250,
            );
            if n % 10 == 9 {
                reports.push(queue.close(sent_us, false));
            }
        }
        reports
    }

    #[test]
    fn waiting_counts_from_the_fastest_lately_and_a_longer_way_is_learnt() {
        let mut queue = Queue::default();
        let mut report = |at_us: u64, took_us: i64| {
            queue.push(at_us, at_us as i64 + took_us - 5_000_000, 100);
            queue.push(at_us, at_us as i64 + took_us - 4_000_000, 100);
            queue.close(at_us, true).us
        };
        assert_eq!(report(0, 40_000), 0);
        assert_eq!(report(100_000, 90_000), 50_000);
        assert_eq!(report(200_000, 30_000), 0);
        let waits: Vec<u64> = (1..50)
            .map(|second| report(second * 1_000_000, 80_000))
            .collect();
        assert_eq!((waits[0], waits[48]), (50_000, 0));
        assert_eq!(
            queue.close(60_000_000, false),
            Waits::default(),
            "an empty report"
        );
    }

    #[test]
    fn a_queue_stands_when_several_packets_wait_and_not_for_one_that_is_late() {
        let mut queue = Queue::default();
        run(&mut queue, 0, 10, |_| 30);
        let late = run(&mut queue, 100, 10, |n| if n % 4 == 3 { 30 } else { 200 });
        assert!(!late[0].stands, "{late:?}");
        let full = run(&mut queue, 200, 10, |n| 30 + 60 + 2 * n as i64);
        assert!(full[0].stands && full[0].us == 60_000, "{full:?}");
    }

    #[test]
    fn a_reader_that_was_busy_is_no_queue() {
        let mut queue = Queue::default();
        run(&mut queue, 0, 10, |_| 30);
        // 400 ms in which nothing is read; then all of it at once.
        let seen = run(&mut queue, 100, 40, |n| 30 + 400 - 10 * (n as i64 + 1));
        assert_eq!(seen[3], Waits::default(), "{seen:?}");
        assert_eq!(queue.carried_bps(), None);
    }

    #[test]
    fn what_arrives_while_packets_wait_is_what_the_path_carries() {
        let mut queue = Queue::default();
        run(&mut queue, 0, 10, |_| 30);
        assert_eq!(queue.carried_bps(), None);
        // A packet every 10 ms arrives every 16: 625 kbit/s.
        run(&mut queue, 100, 40, |n| 30 + 6 * n as i64);
        let bps = queue.carried_bps().expect("they wait");
        assert!((bps - 625e3).abs() < 5e3, "{bps}");
        run(&mut queue, 900, 10, |_| 30);
        assert_eq!(queue.carried_bps(), None);
    }

    #[test]
    fn a_queue_that_stands_still_is_a_longer_way() {
        let mut queue = Queue::default();
        run(&mut queue, 0, 10, |_| 30);
        let seen = run(&mut queue, 100, 200, |_| 100);
        let learnt = seen.iter().position(|waits| waits.is_longer);
        assert_eq!(learnt, Some(10), "{seen:?}");
        assert_eq!(seen.last(), Some(&Waits::default()));
        // One that grows is not, nor one that loses what does not fit.
        let grows = run(&mut queue, 3_000, 200, |n| 100 + n as i64);
        assert!(!grows.iter().any(|waits| waits.is_longer));
        for n in 0..100 {
            queue.push(100_000 * n, 100_000 * n as i64 + 900_000, 100);
            assert!(!queue.close(100_000 * n, true).is_longer);
        }
    }

    #[test]
    fn clocks_at_their_ends_leave_a_number() {
        let mut queue = Queue::default();
        for arrived_us in [i64::MIN, i64::MAX, 0, i64::MIN, i64::MAX, i64::MAX] {
            for _ in 0..9 {
                queue.push(u64::MAX, arrived_us, u64::from(u16::MAX));
            }
            queue.close(0, false);
            assert!(queue.carried_bps().is_none_or(f64::is_finite));
        }
    }
}
