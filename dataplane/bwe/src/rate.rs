//! Additive increase, multiplicative decrease: the rate that the delay allows.

use crate::trend::Usage;

/// A rate that grows while the queue of the path does not.
///
/// Source: draft-ietf-rmcat-gcc-02 §5.5 (states and factors).
#[derive(Debug)]
pub(crate) struct RateControl {
    bps: f64,
    state: State,
    updated_us: Option<u64>,
    reduced_us: Option<u64>,
    capacity: Capacity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Hold,
    Increase,
}

/// What the path carried when its queue grew: near it the rate grows with care.
#[derive(Debug, Default)]
struct Capacity {
    /// In kbit/s.
    mean: Option<f64>,
    /// Relative to the mean.
    deviation: f64,
}

impl RateControl {
    pub(crate) fn new(bps: f64) -> Self {
        RateControl {
            bps,
            state: State::Hold,
            updated_us: None,
            reduced_us: None,
            capacity: Capacity::default(),
        }
    }

    pub(crate) fn bps(&self) -> f64 {
        self.bps
    }

    /// Something else knows better: a probe, or silence.
    pub(crate) fn set(&mut self, bps: f64) {
        self.bps = bps;
    }

    /// Forgets what the path carried.
    pub(crate) fn forget_capacity(&mut self) {
        self.capacity = Capacity::default();
    }

    /// Feedback came. `acknowledged` is what arrives, `round_trip_us` how long feedback takes.
    /// True when the rate was reduced.
    pub(crate) fn update(
        &mut self,
        now_us: u64,
        usage: Usage,
        acknowledged: Option<f64>,
        round_trip_us: u64,
    ) -> bool {
        let since_us = self.updated_us.map_or(0, |at| now_us.saturating_sub(at));
        self.updated_us = Some(now_us);
        match usage {
            Usage::Over => return self.reduce(now_us, acknowledged, round_trip_us),
            Usage::Under => self.state = State::Hold,
            Usage::Normal if self.state == State::Hold => self.state = State::Increase,
            Usage::Normal => self.increase(since_us, acknowledged, round_trip_us),
        }
        false
    }

    fn increase(&mut self, since_us: u64, acknowledged: Option<f64>, round_trip_us: u64) {
        if let Some(acknowledged) = acknowledged
            && acknowledged > self.capacity.upper()
        {
            // The path carries more than it did.
            self.capacity = Capacity::default();
        }
        let seconds = (since_us as f64 / 1e6).min(1.0);
        let gained = match self.capacity.mean {
            Some(_) => self.additive(round_trip_us) * seconds,
            None => self.bps * (GROWTH.powf(seconds) - 1.0),
        };
        // What was not sent was not tested: no more than half as much again as what arrives.
        let limit = acknowledged.map_or(f64::INFINITY, |bps| 1.5 * bps + 10e3);
        if self.bps < limit {
            self.bps = (self.bps + gained).min(limit);
        }
    }

    /// About one packet for each response time, in bits per second and second.
    fn additive(&self, round_trip_us: u64) -> f64 {
        let response = round_trip_us as f64 / 1e6 + 0.1;
        let frame = self.bps / 30.0;
        let packets = (frame / PACKET_BITS).ceil().max(1.0);
        (frame / packets / response).max(4e3)
    }

    fn reduce(&mut self, now_us: u64, acknowledged: Option<f64>, round_trip_us: u64) -> bool {
        // Once for each round trip: an earlier reduction has to show first.
        let pause = round_trip_us.clamp(10_000, 200_000);
        let is_early = |at: u64| now_us.saturating_sub(at) < pause;
        let collapsed = acknowledged.is_some_and(|bps| bps < self.bps / 2.0);
        if self.reduced_us.is_some_and(is_early) && !collapsed {
            return false;
        }
        self.reduced_us = Some(now_us);
        self.state = State::Hold;
        let Some(acknowledged) = acknowledged else {
            self.bps *= DECREASE;
            return true;
        };
        let mut reduced = DECREASE * acknowledged;
        if reduced > self.bps
            && let Some(mean) = self.capacity.mean
        {
            reduced = DECREASE * mean * 1e3;
        }
        if acknowledged < self.capacity.lower() {
            self.capacity = Capacity::default();
        }
        self.capacity.sample(acknowledged);
        let reduces = reduced < self.bps;
        if reduces {
            self.bps = reduced;
        }
        reduces
    }
}

impl Capacity {
    fn sample(&mut self, bps: f64) {
        let sample = bps / 1e3;
        let mean = match self.mean {
            None => sample,
            Some(mean) => mean + 0.05 * (sample - mean),
        };
        let norm = mean.max(1.0);
        let error = (mean - sample) * (mean - sample) / norm;
        self.deviation = (0.95 * self.deviation + 0.05 * error).clamp(0.4, 2.5);
        self.mean = Some(mean);
    }

    /// Three deviations above the mean, in bits per second.
    fn upper(&self) -> f64 {
        let spread = |mean: f64| 3.0 * (self.deviation * mean).sqrt();
        self.mean
            .map_or(f64::INFINITY, |mean| (mean + spread(mean)) * 1e3)
    }

    fn lower(&self) -> f64 {
        let spread = |mean: f64| 3.0 * (self.deviation * mean).sqrt();
        self.mean
            .map_or(0.0, |mean| (mean - spread(mean)).max(0.0) * 1e3)
    }
}

/// For each second, while it is not known what the path carries.
const GROWTH: f64 = 1.08;
/// Of what arrives, when the queue grows.
const DECREASE: f64 = 0.85;
const PACKET_BITS: f64 = 1_200.0 * 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP_US: u64 = 50_000;

    /// Feedback every 100 ms, with this usage and this share of the rate arriving.
    fn run(control: &mut RateControl, from_us: u64, count: u64, usage: Usage, share: f64) -> u64 {
        for n in 0..count {
            let acknowledged = Some(control.bps() * share);
            control.update(from_us + 100_000 * n, usage, acknowledged, TRIP_US);
        }
        from_us + 100_000 * count
    }

    #[test]
    fn it_grows_by_eight_percent_a_second_until_it_knows_the_path() {
        let mut control = RateControl::new(1e6);
        run(&mut control, 0, 102, Usage::Normal, 1.0);
        assert!((control.bps() / 1e6 - 1.08_f64.powi(10)).abs() < 0.02);
    }

    #[test]
    fn after_a_full_queue_it_falls_below_what_arrives_and_grows_slowly() {
        let mut control = RateControl::new(1e6);
        assert!(control.update(0, Usage::Over, Some(900e3), TRIP_US));
        assert_eq!(control.bps(), 0.85 * 900e3);
        assert!(
            !control.update(9_000, Usage::Over, Some(900e3), TRIP_US),
            "too early"
        );
        run(&mut control, 1_000_000, 12, Usage::Normal, 1.0);
        let grown = control.bps() / (0.85 * 900e3);
        assert!((1.05..1.12).contains(&grown), "{grown}");
    }

    #[test]
    fn what_is_not_sent_is_not_promised() {
        let mut control = RateControl::new(300e3);
        for n in 0..1_000 {
            control.update(100_000 * n, Usage::Normal, Some(400e3), TRIP_US);
        }
        assert!((control.bps() - 610e3).abs() < 1.0, "{}", control.bps());
    }

    #[test]
    fn a_queue_that_drains_holds_the_rate() {
        let mut control = RateControl::new(1e6);
        run(&mut control, 0, 50, Usage::Under, 1.0);
        assert_eq!(control.bps(), 1e6);
    }

    #[test]
    fn a_path_that_carries_more_than_before_is_learnt_anew() {
        let mut control = RateControl::new(1e6);
        control.update(0, Usage::Over, Some(1e6), TRIP_US);
        assert!(control.capacity.mean.is_some());
        for n in 1..4 {
            control.update(100_000 * n, Usage::Normal, Some(2e6), TRIP_US);
        }
        assert!(control.capacity.mean.is_none());
    }
}
