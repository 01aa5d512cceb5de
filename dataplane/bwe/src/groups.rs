//! Packets that left together, and how the time between such groups changed on the way.

/// What two groups in a row say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// Time between their sending, in milliseconds.
    pub(crate) send_ms: f64,
    /// Time between their arrival.
    pub(crate) arrival_ms: f64,
    /// When the later one arrived, on the receiver's clock.
    pub(crate) arrived_ms: f64,
}

/// Sorts packets into groups by when they left.
///
/// The time of a group is that of the packet of it that was on its way for the shortest time. What is
/// sent here are runs: the later packets of one say how long the run is, its first one how long the
/// queue was. Of packets that were held up and then arrived at once it is the last one, which had the
/// least to wait for: a receiver that had no time to read for half a second had no queue before it.
///
/// Source: draft-ietf-rmcat-gcc-02 §5.2 (groups of 5 ms, packets that arrive in a burst).
#[derive(Debug, Default)]
pub(crate) struct Groups {
    previous: Option<Group>,
    current: Option<Group>,
    reordered: u32,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent_us: u64,
    last_sent_us: u64,
    first_arrived_us: i64,
    last_arrived_us: i64,
    /// Sending and arrival of the packet that was fastest.
    least: (u64, i64),
}

impl Groups {
    /// Takes a packet that arrived. `Some` when it begins a group and so ends the one before.
    pub(crate) fn push(&mut self, sent_us: u64, arrived_us: i64) -> Option<Step> {
        let Some(current) = &mut self.current else {
            self.current = Some(Group::new(sent_us, arrived_us));
            return None;
        };
        if sent_us < current.first_sent_us {
            return None;
        }
        if current.takes(sent_us, arrived_us) {
            current.last_sent_us = current.last_sent_us.max(sent_us);
            current.last_arrived_us = current.last_arrived_us.max(arrived_us);
            current.least = faster(current.least, (sent_us, arrived_us));
            return None;
        }
        let ended = *current;
        self.current = Some(Group::new(sent_us, arrived_us));
        let previous = self.previous.replace(ended)?;
        let ((sent_us, arrived_us), before) = (ended.least, previous.least);
        let send_us = sent_us.saturating_sub(before.0);
        let arrival_us = arrived_us.saturating_sub(before.1);
        if arrival_us.unsigned_abs().abs_diff(send_us) > LEAP_US {
            // A clock that jumped, or a lie.
            self.reset();
            return None;
        }
        if arrival_us < 0 {
            self.reordered += 1;
            if self.reordered >= REORDERED_MAX {
                self.reset();
            }
            return None;
        }
        self.reordered = 0;
        Some(Step {
            send_ms: send_us as f64 / 1e3,
            arrival_ms: arrival_us as f64 / 1e3,
            arrived_ms: arrived_us as f64 / 1e3,
        })
    }

    /// Forgets the groups: what comes next has nothing to do with them.
    pub(crate) fn reset(&mut self) {
        *self = Groups::default();
    }
}

impl Group {
    fn new(sent_us: u64, arrived_us: i64) -> Self {
        Group {
            first_sent_us: sent_us,
            last_sent_us: sent_us,
            first_arrived_us: arrived_us,
            last_arrived_us: arrived_us,
            least: (sent_us, arrived_us),
        }
    }

    fn takes(&self, sent_us: u64, arrived_us: i64) -> bool {
        if sent_us.saturating_sub(self.first_sent_us) <= SPAN_US {
            return true;
        }
        // Held up on the way and then delivered at once, as radio links do.
        let arrival = arrived_us.saturating_sub(self.last_arrived_us);
        let gap = sent_us.saturating_sub(self.last_sent_us) as i64;
        // Bounded by our clock as well: what the receiver says of its own may be anything.
        sent_us.saturating_sub(self.first_sent_us) < BURST_SENT_US
            && arrival < gap.max(AT_ONCE_US)
            && arrival <= SPAN_US as i64
            && arrived_us.saturating_sub(self.first_arrived_us) < BURST_ARRIVAL_US
    }
}

/// The one that was on its way for less time; the earlier of equals.
fn faster(known: (u64, i64), other: (u64, i64)) -> (u64, i64) {
    let took = |(sent_us, arrived_us): (u64, i64)| arrived_us.saturating_sub_unsigned(sent_us);
    match took(other) < took(known) {
        true => other,
        false => known,
    }
}

/// Packets sent within this are one group.
const SPAN_US: u64 = 5_000;
/// What left at once and arrives at once, give or take the grain of the report.
const AT_ONCE_US: i64 = 500;
/// A burst on arrival is not longer than this, nor was what comes in it held up for longer.
const BURST_ARRIVAL_US: i64 = 100_000;
const BURST_SENT_US: u64 = 2_000_000;
/// No queue grows by this from one group to the next.
const LEAP_US: u64 = 3_000_000;
/// So many groups in the wrong order, and the receiver's clock went back.
const REORDERED_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_ends_when_the_next_begins_and_counts_by_its_first_packet() {
        let mut groups = Groups::default();
        for sent in [0, 1_000, 5_000] {
            assert_eq!(groups.push(sent, sent as i64 + 700), None);
        }
        assert_eq!(groups.push(20_000, 30_000), None, "two groups are needed");
        assert_eq!(groups.push(20_000, 36_000), None);
        let step = groups.push(40_000, 60_000).expect("two groups");
        assert_eq!((step.send_ms, step.arrival_ms), (20.0, 29.3));
        assert_eq!(step.arrived_ms, 30.0);
    }

    #[test]
    fn what_was_held_up_and_came_at_once_is_one_group() {
        let mut groups = Groups::default();
        groups.push(0, 0);
        groups.push(10_000, 50_000);
        for n in 2..6 {
            assert_eq!(groups.push(10_000 * n, 50_000 + n as i64), None);
        }
        let step = groups.push(100_000, 100_000).expect("two groups");
        // The last of them left at 50 ms and had nothing to wait for.
        assert_eq!((step.send_ms, step.arrival_ms), (50.0, 50.005));
    }

    #[test]
    fn a_receiver_that_says_everything_comes_at_once_does_not_make_one_group_of_it() {
        let mut groups = Groups::default();
        let steps = (0..1_000).filter_map(|n| groups.push(10_000 * n, 0));
        assert!(steps.count() >= 3);
    }

    #[test]
    fn leaps_and_clocks_that_run_backwards_start_it_anew() {
        let mut groups = Groups::default();
        for (sent, arrived) in [(0, 0), (10_000, 10_000)] {
            groups.push(sent, arrived);
        }
        assert_eq!(groups.push(20_000, 9_000_000), whole_step(10.0));
        assert_eq!(groups.push(30_000, 9_010_000), None, "a leap");
        assert_eq!(groups.push(40_000, i64::MIN), None);
        assert_eq!(groups.push(50_000, i64::MAX), None);
        assert_eq!(groups.push(60_000, 0), None);
        for n in 7..20 {
            let step = groups.push(10_000 * n, -(20_000 * n as i64));
            assert!(step.is_none(), "{n}: {step:?}");
        }
    }

    fn whole_step(ms: f64) -> Option<Step> {
        Some(Step {
            send_ms: ms,
            arrival_ms: ms,
            arrived_ms: 10.0,
        })
    }
}
