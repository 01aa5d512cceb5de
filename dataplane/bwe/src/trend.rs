//! Whether the queue of the path grows.

use crate::groups::Step;

/// What the path is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Usage {
    /// The queue stays as it is.
    #[default]
    Normal,
    /// It grows.
    Over,
    /// It drains.
    Under,
}

/// Fits a line through the delay of the latest groups and compares its slope with a threshold
/// that adapts, so that flows which fill the queue themselves do not starve this one.
///
/// Source: draft-ietf-rmcat-gcc-02 §5.3 to §5.5 (the filter there is a Kalman filter; a line fitted
/// to the last twenty groups took its place in practice).
#[derive(Debug)]
pub(crate) struct Trend {
    /// Arrival, smoothed delay and delay, in milliseconds; a ring.
    points: [Point; WINDOW],
    count: usize,
    first_ms: Option<f64>,
    delay_ms: f64,
    smooth_ms: f64,
    threshold: f64,
    updated_ms: Option<f64>,
    over_ms: Option<f64>,
    over_count: u32,
    previous: f64,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, Default)]
struct Point {
    arrived_ms: f64,
    smooth_ms: f64,
    delay_ms: f64,
}

impl Default for Trend {
    fn default() -> Self {
        Trend {
            points: [Point::default(); WINDOW],
            count: 0,
            first_ms: None,
            delay_ms: 0.0,
            smooth_ms: 0.0,
            threshold: 12.5,
            updated_ms: None,
            over_ms: None,
            over_count: 0,
            previous: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    /// Takes the change from one group to the next.
    pub(crate) fn push(&mut self, step: Step) -> Usage {
        let first_ms = *self.first_ms.get_or_insert(step.arrived_ms);
        self.delay_ms += step.arrival_ms - step.send_ms;
        self.smooth_ms += (self.delay_ms - self.smooth_ms) * (1.0 - SMOOTHING);
        if let Some(point) = self.points.get_mut(self.count % WINDOW) {
            *point = Point {
                arrived_ms: step.arrived_ms - first_ms,
                smooth_ms: self.smooth_ms,
                delay_ms: self.delay_ms,
            };
        }
        self.count += 1;
        let slope = match self.count >= WINDOW {
            true => self.slope().unwrap_or(self.previous),
            false => 0.0,
        };
        self.detect(slope, step);
        self.usage
    }

    /// What was found last.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Forgets the delays seen; the threshold stays.
    pub(crate) fn reset(&mut self) {
        *self = Trend {
            threshold: self.threshold,
            ..Trend::default()
        };
    }

    /// Least squares over the window, in milliseconds of delay for each of time.
    fn slope(&self) -> Option<f64> {
        let len = WINDOW as f64;
        let sum = |part: fn(&Point) -> f64| self.points.iter().map(part).sum::<f64>() / len;
        let (mean_x, mean_y) = (sum(|point| point.arrived_ms), sum(|point| point.smooth_ms));
        let mut over = 0.0;
        let mut under = 0.0;
        for point in &self.points {
            let off = point.arrived_ms - mean_x;
            over += off * (point.smooth_ms - mean_y);
            under += off * off;
        }
        (under > 0.0).then(|| over / under)
    }

    /// Whether the latest group was no later than the earliest lately: what came late before it was
    /// held up, not queued, as by a receiver that had no time to read.
    fn is_gone(&self) -> bool {
        let delays = self.points.iter().map(|point| point.delay_ms);
        self.delay_ms < delays.fold(f64::INFINITY, f64::min) + GONE_MS
    }

    fn detect(&mut self, slope: f64, step: Step) {
        let weight = self.count.min(COUNT_MAX) as f64;
        let value = weight * slope * GAIN;
        if value > self.threshold && self.is_gone() {
            self.over_ms = None;
            self.over_count = 0;
            self.usage = Usage::Normal;
        } else if value > self.threshold {
            let over_ms = self
                .over_ms
                .map_or(step.send_ms / 2.0, |ms| ms + step.send_ms);
            self.over_count += 1;
            if over_ms > OVER_MS_MIN && self.over_count > 1 && slope >= self.previous {
                self.over_ms = Some(0.0);
                self.over_count = 0;
                self.usage = Usage::Over;
            } else {
                self.over_ms = Some(over_ms);
            }
        } else {
            self.over_ms = None;
            self.over_count = 0;
            self.usage = match value < -self.threshold {
                true => Usage::Under,
                false => Usage::Normal,
            };
        }
        self.previous = slope;
        self.adapt(value.abs(), step.arrived_ms);
    }

    fn adapt(&mut self, value: f64, now_ms: f64) {
        let since = now_ms - self.updated_ms.replace(now_ms).unwrap_or(now_ms);
        if value > self.threshold + ADAPT_MAX {
            // A single great leap, as a route that changed makes it.
            return;
        }
        let gain = match value < self.threshold {
            true => ADAPT_DOWN,
            false => ADAPT_UP,
        };
        self.threshold += gain * (value - self.threshold) * since.clamp(0.0, 100.0);
        self.threshold = self.threshold.clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

const WINDOW: usize = 20;
/// Share of the old value that is kept with each group.
const SMOOTHING: f64 = 0.9;
const GAIN: f64 = 4.0;
/// Groups until the slope has its full weight.
const COUNT_MAX: usize = 60;
/// The queue has to grow for this long before it counts.
const OVER_MS_MIN: f64 = 10.0;
/// A queue shorter than this is none.
const GONE_MS: f64 = 5.0;
/// draft-ietf-rmcat-gcc-02 §5.4: the threshold follows upwards slowly and downwards faster.
const ADAPT_UP: f64 = 0.0087;
const ADAPT_DOWN: f64 = 0.039;
const ADAPT_MAX: f64 = 15.0;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(count: usize, grows: impl Fn(usize) -> f64) -> (Trend, Vec<Usage>) {
        let mut trend = Trend::default();
        let mut arrived_ms = 0.0;
        let mut usages = Vec::new();
        for n in 0..count {
            let arrival_ms = 20.0 + grows(n);
            arrived_ms += arrival_ms;
            usages.push(trend.push(Step {
                send_ms: 20.0,
                arrival_ms,
                arrived_ms,
            }));
        }
        (trend, usages)
    }

    #[test]
    fn a_queue_that_grows_is_seen_and_one_that_drains_too() {
        let (_, usages) = fed(60, |_| 2.0);
        assert!(usages.contains(&Usage::Over));
        assert!(!usages.contains(&Usage::Under));
        let (_, usages) = fed(60, |_| -2.0);
        assert!(usages.contains(&Usage::Under));
        assert!(!usages.contains(&Usage::Over));
    }

    #[test]
    fn jitter_without_a_trend_is_no_overuse() {
        let jitter = |n: usize| [3.0, -2.0, 1.0, -4.0, 2.0][n % 5];
        let (_, usages) = fed(2_000, jitter);
        assert!(usages.iter().all(|usage| *usage == Usage::Normal));
    }

    #[test]
    fn a_receivers_clock_that_runs_fast_by_a_thousandth_is_no_overuse() {
        let (_, usages) = fed(5_000, |_| 0.02);
        assert!(usages.iter().all(|usage| *usage == Usage::Normal));
    }

    #[test]
    fn groups_that_were_held_up_and_then_came_at_once_are_no_overuse() {
        for late in [50.0, 200.0, 800.0] {
            // Every half second a group comes late and the next one is in time again.
            let spike = |n: usize| match n % 25 {
                0 => late,
                1 => -late,
                _ => 0.0,
            };
            let (_, usages) = fed(1_000, spike);
            assert!(usages.iter().all(|usage| *usage != Usage::Over), "{late}");
        }
    }

    #[test]
    fn groups_that_arrive_at_once_have_no_slope_and_do_no_harm() {
        let mut trend = Trend::default();
        for _ in 0..100 {
            let usage = trend.push(Step {
                send_ms: 20.0,
                arrival_ms: 0.0,
                arrived_ms: 5.0,
            });
            assert_ne!(usage, Usage::Over);
        }
        assert!(trend.smooth_ms.is_finite() && trend.threshold.is_finite());
    }
}
