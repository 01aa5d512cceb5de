//! How much arrives.

/// The bitrate at which packets arrive, on the receiver's clock.
///
/// Samples of at least 150 ms are weighed by how far they are from what is known: far ones less,
/// so that a pause or a burst does not change it at once.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    bytes: u64,
    began_us: Option<i64>,
    /// When it ends: what arrives together with that belongs to it.
    ends_us: Option<i64>,
    estimate: Option<f64>,
    variance: f64,
    /// The latest short spans, the one under way apart.
    spans: [f64; SPANS],
    span_count: usize,
    span_bytes: u64,
    span_us: Option<i64>,
}

impl Acknowledged {
    /// A packet arrived.
    pub(crate) fn push(&mut self, arrived_us: i64, size: u64) {
        self.push_span(arrived_us, size);
        let Some(began) = self.began_us else {
            return self.begin(arrived_us);
        };
        let window = match self.estimate {
            None => FIRST_WINDOW_US,
            Some(_) => WINDOW_US,
        };
        // What arrives at once after a pause arrived in that pause: a window ends after it.
        if let Some(ends) = self
            .ends_us
            .filter(|at| arrived_us.saturating_sub(*at) > TOGETHER_US)
        {
            let passed = ends.saturating_sub(began);
            self.sample(self.bytes as f64 * 8e6 / passed as f64);
            self.begin(ends);
        }
        let passed = arrived_us.saturating_sub(self.began_us.unwrap_or(arrived_us));
        if !(-LEAP_US..=LEAP_US).contains(&passed) {
            // Silence, or a clock that jumped: not a rate.
            return self.begin(arrived_us);
        }
        self.bytes += size;
        if passed >= window {
            self.ends_us.get_or_insert(arrived_us);
        }
    }

    /// In bits per second; `None` before half a second was seen.
    pub(crate) fn bps(&self) -> Option<f64> {
        self.estimate
    }

    /// The same, or what arrived in the fastest tenth of a second of the last three where that is
    /// more: a queue that grows while a key frame is sent shows what the path carries, not what was
    /// sent before.
    pub(crate) fn peak_bps(&self) -> Option<f64> {
        let peak = self.spans.iter().copied().fold(0.0, f64::max);
        self.estimate.map(|bps| bps.max(peak))
    }

    /// The path is another one, or what was sent changed much: the next sample counts in full.
    pub(crate) fn expect_change(&mut self) {
        self.variance += 200.0;
    }

    fn push_span(&mut self, arrived_us: i64, size: u64) {
        let began = *self.span_us.get_or_insert(arrived_us);
        let passed = arrived_us.saturating_sub(began);
        if (0..SPAN_US).contains(&passed) {
            self.span_bytes += size;
            return;
        }
        // The packet that begins a span came at the end of its first gap: it counts for the next.
        let bps = match passed {
            SPAN_US..=LEAP_US => self.span_bytes as f64 * 8e6 / passed as f64,
            _ => 0.0,
        };
        if let Some(place) = self.spans.get_mut(self.span_count % SPANS) {
            *place = bps;
        }
        self.span_count += 1;
        (self.span_us, self.span_bytes) = (Some(arrived_us), size);
    }

    /// What arrives after this counts.
    fn begin(&mut self, at_us: i64) {
        self.bytes = 0;
        (self.began_us, self.ends_us) = (Some(at_us), None);
    }

    fn sample(&mut self, bps: f64) {
        let Some(known) = self.estimate else {
            self.estimate = Some(bps);
            self.variance = 50.0;
            return;
        };
        // In kbit/s, where the constants are at home. A Bayesian update with a process noise of 5.
        let (known_k, sample_k) = (known / 1e3, bps / 1e3);
        let far = (known_k - sample_k).abs() / known_k.max(1.0);
        let noise = 10.0 * far * known_k.max(25.0).min(sample_k.max(25.0)) / sample_k.max(25.0);
        let noise = (noise * noise).max(1.0);
        let predicted = self.variance + 5.0;
        let merged = (noise * known_k + predicted * sample_k) / (noise + predicted);
        self.estimate = Some(merged.max(0.0) * 1e3);
        self.variance = noise * predicted / (noise + predicted);
    }
}

/// The first sample, while nothing is known.
const FIRST_WINDOW_US: i64 = 500_000;
const WINDOW_US: i64 = 150_000;
const LEAP_US: i64 = 2_000_000;
const TOGETHER_US: i64 = 1_000;
const SPAN_US: i64 = 100_000;
const SPANS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(acknowledged: &mut Acknowledged, from_us: i64, ms: i64, bytes_per_ms: u64) -> i64 {
        for n in 0..ms {
            acknowledged.push(from_us + 1_000 * n, bytes_per_ms);
        }
        from_us + 1_000 * ms
    }

    fn mbps(acknowledged: &Acknowledged) -> f64 {
        acknowledged.bps().expect("known") / 1e6
    }

    #[test]
    fn a_steady_rate_is_known_after_half_a_second() {
        let mut acknowledged = Acknowledged::default();
        let at = run(&mut acknowledged, -7_000, 490, 125);
        assert_eq!(acknowledged.bps(), None);
        run(&mut acknowledged, at, 500, 125);
        assert!((mbps(&acknowledged) - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_change_is_followed_within_a_second_or_so() {
        let mut acknowledged = Acknowledged::default();
        let at = run(&mut acknowledged, 0, 3_000, 250);
        let at = run(&mut acknowledged, at, 1_500, 50);
        assert!(mbps(&acknowledged) < 0.7, "{}", mbps(&acknowledged));
        run(&mut acknowledged, at, 2_000, 500);
        assert!(mbps(&acknowledged) > 2.8, "{}", mbps(&acknowledged));
    }

    #[test]
    fn what_is_read_late_and_all_at_once_arrived_all_the_same() {
        let mut acknowledged = Acknowledged::default();
        let mut at = run(&mut acknowledged, 0, 2_000, 125);
        for pause_ms in [300, 50, 700, 120, 450] {
            for _ in 0..pause_ms {
                acknowledged.push(at + 1_000 * pause_ms, 125);
            }
            at = run(&mut acknowledged, at + 1_000 * pause_ms, 200, 125);
            let seen = mbps(&acknowledged);
            assert!((0.9..1.1).contains(&seen), "{pause_ms}: {seen}");
        }
    }

    #[test]
    fn the_peak_is_what_a_burst_arrives_at_and_is_forgotten() {
        let mut acknowledged = Acknowledged::default();
        let at = run(&mut acknowledged, 0, 2_000, 50);
        let at = run(&mut acknowledged, at, 120, 250);
        let peak = acknowledged.peak_bps().expect("known") / 1e6;
        assert!((1.6..2.1).contains(&peak), "{peak}");
        assert!(mbps(&acknowledged) < 1.0, "{}", mbps(&acknowledged));
        run(&mut acknowledged, at, 500, 50);
        assert_eq!(
            acknowledged.peak_bps(),
            acknowledged.bps().map(|bps| bps.max(400e3))
        );
    }

    #[test]
    fn clocks_that_leap_leave_a_number() {
        let mut acknowledged = Acknowledged::default();
        for arrived_us in [0, i64::MAX, i64::MIN, -5, 5, i64::MAX, 0] {
            run(&mut acknowledged, arrived_us / 2, 10, 1_000);
            acknowledged.push(arrived_us, 65_535);
        }
        assert!(
            acknowledged
                .bps()
                .is_none_or(|bps| bps.is_finite() && bps >= 0.0)
        );
    }
}
