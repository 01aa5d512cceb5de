//! When each packet left, by its transport-wide sequence number.

/// A packet a receiver spoke of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// When it left, in microseconds since the history began.
    pub(crate) sent_us: u64,
    /// Bytes of the datagram.
    pub(crate) size: u16,
    /// The probe it was part of; 0 for none.
    pub(crate) cluster: u8,
    /// Whether it was reported missing before.
    pub(crate) was_missing: bool,
}

/// The packets sent last, in a ring made once.
///
/// Keeping one costs a store of eight bytes: eight packets of a run share a cache line.
#[derive(Debug)]
pub(crate) struct History {
    slots: Box<[Slot]>,
    /// The extended number of the next packet.
    next: u64,
    /// The highest one a report spoke of.
    reported: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The lower half of the time: a report comes within the hour.
    sent_us: u32,
    size: u16,
    cluster: u8,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing was said of it yet.
    Open,
    Missing,
    Arrived,
}

impl History {
    pub(crate) fn new() -> Self {
        let empty = Slot {
            sent_us: 0,
            size: 0,
            cluster: 0,
            fate: Fate::Arrived,
        };
        History {
            slots: vec![empty; HISTORY_LEN].into_boxed_slice(),
            next: 1,
            reported: 0,
        }
    }

    /// The number the next packet gets.
    #[inline]
    pub(crate) fn next_seq(&self) -> u16 {
        self.next as u16
    }

    /// Keeps the packet that was given [`next_seq`](Self::next_seq).
    #[inline]
    pub(crate) fn push(&mut self, sent_us: u64, size: usize, cluster: u8) {
        let at = self.next as usize & (HISTORY_LEN - 1);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot {
                sent_us: sent_us as u32,
                size: size as u16,
                cluster,
                fate: Fate::Open,
            };
        }
        self.next += 1;
    }

    /// Bytes of the packets before `seq` that no report spoke of, because it was lost. Asked for the
    /// first packet of each report; the rest of them are in it.
    pub(crate) fn passed_over(&mut self, seq: u16) -> u64 {
        let newest = self.next - 1;
        let behind = u64::from((newest as u16).wrapping_sub(seq));
        let number = newest.saturating_sub(behind);
        if behind >= HISTORY_LEN as u64 || number <= self.reported {
            return 0;
        }
        // No more than are kept.
        let first = (self.reported + 1).max(newest.saturating_sub(HISTORY_LEN as u64 - 1));
        let sizes = (first..number).filter_map(|number| {
            let slot = self.slots.get(number as usize & (HISTORY_LEN - 1))?;
            (slot.fate == Fate::Open).then_some(u64::from(slot.size))
        });
        sizes.sum()
    }

    /// The packet `seq` was given to, if it is kept and this is news about it.
    pub(crate) fn settle(&mut self, now_us: u64, seq: u16, arrived: bool) -> Option<Sent> {
        let newest = self.next - 1;
        let behind = u64::from((newest as u16).wrapping_sub(seq));
        let number = newest.checked_sub(behind).filter(|&number| number > 0)?;
        if behind >= HISTORY_LEN as u64 {
            return None;
        }
        self.reported = self.reported.max(number);
        let slot = self.slots.get_mut(number as usize & (HISTORY_LEN - 1))?;
        let fate = if arrived {
            Fate::Arrived
        } else {
            Fate::Missing
        };
        if slot.fate == Fate::Arrived || slot.fate == fate {
            return None;
        }
        let was_missing = std::mem::replace(&mut slot.fate, fate) == Fate::Missing;
        let age = (now_us as u32).wrapping_sub(slot.sent_us);
        Some(Sent {
            sent_us: now_us.saturating_sub(u64::from(age)),
            size: slot.size,
            cluster: slot.cluster,
            was_missing,
        })
    }
}

/// Packets remembered: reports come every 50 to 250 ms and take a round trip, so that this is
/// enough for 1,000 packets a second (10 Mbit/s) over the worst of paths. 16 KiB for each viewer.
pub const HISTORY_LEN: usize = 2048;
const _: () = assert!(
    HISTORY_LEN.is_power_of_two() && HISTORY_LEN <= 1 << 15,
    "a number means one slot, and half the numbers are the past"
);
const _: () = assert!(size_of::<Slot>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_settled_once_and_a_missing_one_may_still_arrive() {
        let mut history = History::new();
        for n in 0..3_u64 {
            history.push(1_000 * n, 100 + n as usize, n as u8);
        }
        let sent = history.settle(50_000, 2, false).expect("news");
        assert_eq!((sent.sent_us, sent.size, sent.cluster), (1_000, 101, 1));
        assert_eq!(history.settle(50_000, 2, false), None);
        let late = history.settle(60_000, 2, true).expect("news");
        assert!(late.was_missing && !sent.was_missing);
        assert_eq!(late.sent_us, 1_000);
        for arrived in [true, false] {
            assert_eq!(history.settle(60_000, 2, arrived), None);
        }
    }

    #[test]
    fn what_a_lost_report_spoke_of_is_known_by_the_next() {
        let mut history = History::new();
        for _ in 0..10 {
            history.push(0, 100, 0);
        }
        assert_eq!(history.passed_over(1), 0);
        for seq in 1..4 {
            history.settle(0, seq, true);
        }
        assert_eq!(history.passed_over(4), 0);
        assert_eq!(history.passed_over(8), 400);
        history.settle(0, 8, true);
        assert_eq!((history.passed_over(9), history.passed_over(2)), (0, 0));
        assert_eq!(history.passed_over(11), 0, "not sent");
        for _ in 0..5_000 {
            history.push(0, 1, 0);
        }
        let last = history.next_seq().wrapping_sub(1);
        assert_eq!(history.passed_over(last), HISTORY_LEN as u64 - 1);
    }

    #[test]
    fn numbers_that_were_not_given_or_are_forgotten_mean_nothing() {
        let mut history = History::new();
        assert_eq!(history.settle(0, 0, true), None);
        assert_eq!(history.settle(0, 1, true), None, "not sent yet");
        // Over the end of the numbers, and of the clock's lower half.
        let start = u64::from(u32::MAX) - 500;
        for n in 0..70_000_u64 {
            history.push(start + n, 9, 0);
        }
        let newest = history.next_seq().wrapping_sub(1);
        let now = start + 70_000;
        let oldest = newest.wrapping_sub(HISTORY_LEN as u16 - 1);
        assert_eq!(history.settle(now, oldest.wrapping_sub(1), true), None);
        assert_eq!(history.settle(now, newest.wrapping_add(1), true), None);
        let kept = history.settle(now, oldest, true).expect("kept");
        assert_eq!(kept.sent_us, start + 70_000 - HISTORY_LEN as u64);
    }
}
