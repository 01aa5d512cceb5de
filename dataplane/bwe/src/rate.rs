//! The rate that the delay allows: up while the queue of the path is short, down where it stands.

use crate::trend::Usage;

/// A rate that grows while the queue of the path does not.
///
/// Source: draft-ietf-rmcat-gcc-02 §5.5 (states and factors). Three things are done otherwise.
/// Down it goes to a share of what arrived while packets waited, which is what the path carries,
/// and the longer they waited the lower, so that the queue drains; once it has, what the path
/// carries is used again. Growth is the same for all rates and quickens with the time that nothing
/// was full: flows that share a path come to share it evenly, and a path that widened is found.
#[derive(Debug)]
pub(crate) struct RateControl {
    bps: f64,
    state: State,
    updated_us: Option<u64>,
    reduced_us: Option<u64>,
    /// What to go on with when the queue has drained, and what if it was none of ours.
    resume_bps: Option<f64>,
    forgone_bps: Option<f64>,
    /// Since when nothing was full; `None` while nothing ever was.
    calm_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

/// What a report says of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition {
    /// Whether its queue grows or stands, or drains.
    pub(crate) usage: Usage,
    /// What arrives, in bits per second.
    pub(crate) acknowledged: Option<f64>,
    /// What arrived while packets waited: what the path carries.
    pub(crate) carried: Option<f64>,
    /// How long the packet that was fastest waited.
    pub(crate) waits_us: u64,
    /// How long feedback takes.
    pub(crate) round_trip_us: u64,
}

impl RateControl {
    pub(crate) fn new(bps: f64) -> Self {
        RateControl {
            bps,
            state: State::Hold,
            updated_us: None,
            reduced_us: None,
            resume_bps: None,
            forgone_bps: None,
            calm_us: None,
        }
    }

    pub(crate) fn bps(&self) -> f64 {
        self.bps
    }

    /// How long packets may wait, in microseconds: less for a flow that has much, so that of those
    /// that share a path it is the first to give way.
    pub(crate) fn long_us(&self) -> u64 {
        let (least, falling) = LONG_US;
        let long_us = least + falling * (LONG_BPS / self.bps.max(1.0)).sqrt();
        long_us.clamp(LONG_US_MIN, LONG_US_MAX) as u64
    }

    /// Something else knows better: a probe, or silence.
    pub(crate) fn set(&mut self, bps: f64) {
        self.bps = bps;
    }

    /// A probe saw that there is room for this.
    pub(crate) fn found(&mut self, bps: f64) {
        self.bps = bps;
        (self.resume_bps, self.forgone_bps) = (None, None);
    }

    /// What was taken for a queue is a longer way: the reductions since it was seen had no reason.
    pub(crate) fn forgive(&mut self) {
        if let Some(bps) = self.forgone_bps.take() {
            self.bps = self.bps.max(bps);
            self.resume_bps = None;
        }
    }

    /// Feedback came. True when the rate was reduced.
    pub(crate) fn update(&mut self, now_us: u64, seen: Condition) -> bool {
        let since_us = self.updated_us.map_or(0, |at| now_us.saturating_sub(at));
        self.updated_us = Some(now_us);
        if seen.usage == Usage::Over {
            return self.reduce(now_us, seen);
        }
        if seen.waits_us < DRAINED_US {
            self.resume(now_us);
        }
        match seen.usage {
            Usage::Under => self.state = State::Hold,
            _ if self.state == State::Hold => self.state = State::Increase,
            _ => self.increase(now_us, since_us, seen),
        }
        false
    }

    /// The queue is gone.
    fn resume(&mut self, now_us: u64) {
        self.forgone_bps = None;
        let Some(bps) = self.resume_bps.take() else {
            return;
        };
        self.calm_us = Some(now_us);
        self.bps = self.bps.max(bps);
    }

    fn increase(&mut self, now_us: u64, since_us: u64, seen: Condition) {
        let seconds = (since_us as f64 / 1e6).min(1.0);
        let gained = match self.calm_us {
            None => self.bps * (GROWTH.powf(seconds) - 1.0),
            Some(calm_us) => {
                let calm = now_us.saturating_sub(calm_us) as f64 / 1e6;
                let quickened =
                    STEP_BPS * 2_f64.powf(((calm - STEADY) / DOUBLED_IN).clamp(0.0, 9.0));
                quickened.min((GROWTH_MAX * self.bps).max(GROWTH_BPS_MAX)) * seconds
            }
        };
        // The longer packets wait the less, and not at all where they wait long.
        let room = (self.long_us() as f64 - seen.waits_us as f64) / SOON_US;
        // What was not sent was not tested: no more than half as much again as what arrives.
        let limit = seen
            .acknowledged
            .map_or(f64::INFINITY, |bps| 1.5 * bps + 10e3);
        if self.bps < limit {
            self.bps = (self.bps + gained * room.clamp(0.0, 1.0)).min(limit);
        }
        // What arrives without waiting is carried; soon after a reduction it is what was sent before.
        let is_late = |at: u64| now_us.saturating_sub(at) >= PROVEN_AFTER_US;
        let is_settled = seen.waits_us < DRAINED_US && self.reduced_us.is_none_or(is_late);
        let proven = seen.acknowledged.filter(|_| is_settled);
        self.bps = self.bps.max(proven.unwrap_or(0.0));
    }

    fn reduce(&mut self, now_us: u64, seen: Condition) -> bool {
        let arriving = seen.carried.or(seen.acknowledged);
        // Once for each round trip: an earlier reduction has to show first.
        let pause = seen.round_trip_us.clamp(10_000, 200_000);
        let is_early = |at: u64| now_us.saturating_sub(at) < pause;
        let collapsed = arriving.is_some_and(|bps| bps < self.bps / 2.0);
        if self.reduced_us.is_some_and(is_early) && !collapsed {
            return false;
        }
        self.state = State::Hold;
        let Some(arriving) = arriving else {
            self.reduced_us = Some(now_us);
            self.calm_us = Some(now_us);
            self.bps *= DECREASE;
            return true;
        };
        let waits = (seen.waits_us as f64 - WAITS_US_SHORT).max(0.0);
        let share = (DECREASE - waits / DRAINS_IN_US).max(DECREASE_MAX);
        let reduced = share * arriving;
        if reduced >= self.bps {
            // A burst stood in the queue; the path carries what the estimate says.
            return false;
        }
        self.reduced_us = Some(now_us);
        self.calm_us = Some(now_us);
        self.forgone_bps.get_or_insert(self.bps);
        self.resume_bps = Some((RESUMED * arriving).min(self.bps));
        self.bps = reduced;
        true
    }
}

/// For each second, while the path was never full.
const GROWTH: f64 = 1.08;
/// Growth in bits per second and second, for so many seconds after the queue was gone; seconds in
/// which it doubles from then on, and where it ends: at a share of the rate, or at this.
const STEP_BPS: f64 = 80e3;
const STEADY: f64 = 1.0;
const DOUBLED_IN: f64 = 0.5;
const GROWTH_MAX: f64 = 0.3;
const GROWTH_BPS_MAX: f64 = 150e3;
/// Of what arrives, when the queue grows.
const DECREASE: f64 = 0.85;
/// The same, for a queue that is long, and how much longer than short it is then.
const DECREASE_MAX: f64 = 0.5;
const WAITS_US_SHORT: f64 = 40e3;
const DRAINS_IN_US: f64 = 600e3;
/// Of what the path carries, once the queue is gone.
const RESUMED: f64 = 0.85;
const DRAINED_US: u64 = 25_000;
const PROVEN_AFTER_US: u64 = 700_000;
/// How long packets may wait at 500 kbit/s; it falls with the root of the rate.
const LONG_US: (f64, f64) = (8e3, 28e3);
const LONG_BPS: f64 = 500e3;
const LONG_US_MIN: f64 = 15e3;
const LONG_US_MAX: f64 = 60e3;
/// Nothing is added where packets wait for so long, and less where they wait for nearly so long.
const SOON_US: f64 = 15e3;

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(usage: Usage, arrives: f64, waits_us: u64) -> Condition {
        Condition {
            usage,
            acknowledged: Some(arrives),
            carried: None,
            waits_us,
            round_trip_us: 50_000,
        }
    }

    /// Feedback every 100 ms, with this usage and all of the rate arriving.
    fn run(control: &mut RateControl, from_us: u64, count: u64, usage: Usage) -> u64 {
        for n in 0..count {
            let arrives = control.bps();
            control.update(from_us + 100_000 * n, seen(usage, arrives, 0));
        }
        from_us + 100_000 * count
    }

    #[test]
    fn it_grows_by_eight_percent_a_second_while_the_path_was_never_full() {
        let mut control = RateControl::new(1e6);
        run(&mut control, 0, 102, Usage::Normal);
        assert!((control.bps() / 1e6 - 1.08_f64.powi(10)).abs() < 0.02);
    }

    #[test]
    fn after_a_full_queue_it_falls_below_what_arrives_and_grows_slowly_and_then_faster() {
        let mut control = RateControl::new(1e6);
        assert!(control.update(0, seen(Usage::Over, 900e3, 0)));
        assert_eq!(control.bps(), 0.85 * 900e3);
        assert!(
            !control.update(9_000, seen(Usage::Over, 900e3, 0)),
            "too early"
        );
        let at = run(&mut control, 1_000_000, 12, Usage::Normal);
        let grown = control.bps() / (RESUMED * 900e3);
        assert!((1.1..1.2).contains(&grown), "{grown}");
        let before = control.bps();
        run(&mut control, at, 30, Usage::Normal);
        let grown = control.bps() / before;
        assert!((1.3..2.5).contains(&grown), "{grown}");
    }

    #[test]
    fn flows_of_any_rate_grow_alike_at_first() {
        let grown = [1e6, 4e6].map(|bps| {
            let mut control = RateControl::new(bps);
            control.update(0, seen(Usage::Over, bps, 0));
            run(&mut control, 100_000, 2, Usage::Normal);
            let before = control.bps();
            run(&mut control, 300_000, 8, Usage::Normal);
            control.bps() - before
        });
        assert!((grown[0] - grown[1]).abs() < 1.0, "{grown:?}");
    }

    #[test]
    fn a_long_queue_is_drained_and_then_the_path_is_used_again() {
        let mut control = RateControl::new(2e6);
        let over = Condition {
            carried: Some(600e3),
            ..seen(Usage::Over, 1.7e6, 200_000)
        };
        assert!(control.update(0, over));
        assert!(control.bps() < 0.62 * 600e3, "{}", control.bps());
        control.update(300_000, seen(Usage::Under, 600e3, 90_000));
        assert!(control.bps() < 0.62 * 600e3, "{}", control.bps());
        control.update(500_000, seen(Usage::Under, 400e3, 9_000));
        assert!((control.bps() - 510e3).abs() < 1.0, "{}", control.bps());
    }

    #[test]
    fn what_was_taken_for_a_queue_is_forgiven() {
        let mut control = RateControl::new(1e6);
        for n in 0..4 {
            let arrives = control.bps();
            assert!(control.update(200_000 * n, seen(Usage::Over, arrives, 60_000)));
        }
        assert!(control.bps() < 500e3);
        control.forgive();
        assert_eq!(control.bps(), 1e6);
    }

    #[test]
    fn what_the_path_carried_of_a_burst_is_no_reason_for_less() {
        let mut control = RateControl::new(1e6);
        let burst = Condition {
            carried: Some(2e6),
            ..seen(Usage::Over, 300e3, 60_000)
        };
        assert!(!control.update(0, burst));
        assert_eq!(control.bps(), 1e6);
    }

    #[test]
    fn where_packets_wait_nothing_is_added() {
        let mut control = RateControl::new(1e6);
        for n in 0..20 {
            control.update(100_000 * n, seen(Usage::Normal, 1e6, 60_000));
        }
        assert_eq!(control.bps(), 1e6);
    }

    #[test]
    fn what_is_not_sent_is_not_promised() {
        let mut control = RateControl::new(300e3);
        for n in 0..1_000 {
            control.update(100_000 * n, seen(Usage::Normal, 400e3, 0));
        }
        assert!((control.bps() - 610e3).abs() < 1.0, "{}", control.bps());
    }

    #[test]
    fn a_queue_that_drains_holds_the_rate() {
        let mut control = RateControl::new(1e6);
        run(&mut control, 0, 50, Usage::Under);
        assert_eq!(control.bps(), 1e6);
    }
}
