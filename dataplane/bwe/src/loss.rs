//! What losses say of the rate: nothing, as long as they do not depend on it.

use crate::history::Sent;

/// Explains the losses of the last seconds by two numbers: a share that is lost whatever is sent,
/// and a rate above which everything is lost. The most likely pair bounds the estimate.
///
/// A radio link that loses three in a hundred so costs nothing, and a policer, whose losses follow
/// the rate but not the delay, is found.
///
/// Source: RFC 8836 §2 (what a controller has to cope with); the model is the one libwebrtc's newer
/// loss based estimator uses, with fewer candidates.
#[derive(Debug)]
pub(crate) struct LossModel {
    bound: Option<f64>,
    inherent: f64,
    seen: [Observation; OBSERVATIONS],
    count: usize,
    open: Observation,
    /// Packets in a row that were lost last, and when the first of them left.
    run: Option<Run>,
    open_since_us: Option<u64>,
    open_until_us: u64,
    open_bytes: u64,
}

/// A quarter of a second.
#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    packets: f64,
    lost: f64,
    bps: f64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    since_us: u64,
    packets: f64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    bps: f64,
    inherent: f64,
}

impl Default for LossModel {
    fn default() -> Self {
        LossModel {
            bound: None,
            inherent: INHERENT_START,
            seen: [Observation::default(); OBSERVATIONS],
            count: 0,
            open: Observation::default(),
            run: None,
            open_since_us: None,
            open_until_us: 0,
            open_bytes: 0,
        }
    }
}

impl LossModel {
    /// A report about a packet, for the first time or again.
    ///
    /// Where nothing at all arrives for a while the path was gone, and not full: that does not count.
    pub(crate) fn push(&mut self, sent: &Sent, arrived: bool) {
        if sent.was_missing {
            // Late, not lost.
            match &mut self.run {
                Some(run) if run.packets >= 1.0 => run.packets -= 1.0,
                _ => self.open.lost = (self.open.lost - 1.0).max(0.0),
            }
            return;
        }
        if !arrived {
            let run = self.run.get_or_insert(Run {
                since_us: sent.sent_us,
                packets: 0.0,
                bytes: 0,
            });
            run.packets += 1.0;
            run.bytes += u64::from(sent.size);
            return;
        }
        if let Some(run) = self.run.take()
            && sent.sent_us.saturating_sub(run.since_us) < OUTAGE_US
        {
            self.open_since_us.get_or_insert(run.since_us);
            self.open.packets += run.packets;
            self.open.lost += run.packets;
            self.open_bytes += run.bytes;
        }
        self.open_since_us.get_or_insert(sent.sent_us);
        self.open_until_us = self.open_until_us.max(sent.sent_us);
        self.open.packets += 1.0;
        self.open_bytes += u64::from(sent.size);
    }

    /// What losses allow, at most `delay_bps`, which is what the delay allows.
    pub(crate) fn update(&mut self, delay_bps: f64, acknowledged: Option<f64>) -> f64 {
        if self.close() {
            self.choose(delay_bps, acknowledged);
        }
        self.bounded(delay_bps)
    }

    /// The smaller of what the delay allows and what losses allow.
    pub(crate) fn bounded(&self, delay_bps: f64) -> f64 {
        self.bound.map_or(delay_bps, |bound| bound.min(delay_bps))
    }

    /// Whether losses are what bounds the rate.
    pub(crate) fn is_limiting(&self) -> bool {
        self.bound.is_some()
    }

    /// Ends the observation under way, if it is long enough.
    fn close(&mut self) -> bool {
        let Some(since_us) = self.open_since_us else {
            return false;
        };
        let span_us = self.open_until_us.saturating_sub(since_us);
        if span_us < OBSERVATION_US {
            return false;
        }
        let mut closed = std::mem::take(&mut self.open);
        closed.bps = self.open_bytes as f64 * 8e6 / span_us as f64;
        if let Some(place) = self.seen.get_mut(self.count % OBSERVATIONS) {
            *place = closed;
        }
        self.count += 1;
        (self.open_since_us, self.open_until_us, self.open_bytes) = (None, 0, 0);
        true
    }

    fn choose(&mut self, delay_bps: f64, acknowledged: Option<f64>) {
        let current = self.bound.unwrap_or(delay_bps).min(delay_bps);
        let (average, sent_bps) = self.average();
        let much = 1.2 * inherent_max(sent_bps.min(current));
        // At once where the losses are over, else step by step.
        let freed = (self.bound.is_none() || average < LOSS_OVER).then_some(delay_bps);
        let arriving = acknowledged.filter(|bps| *bps < current);
        let steps = [1.0, STEP_UP, STEP_DOWN].map(|factor| Some(current * factor));
        let mut best: Option<(f64, Candidate)> = None;
        for bps in steps.into_iter().chain([freed, arriving]).flatten() {
            let bps = bps.clamp(1.0, delay_bps.max(1.0));
            let mut candidate = Candidate {
                bps,
                inherent: self.inherent,
            };
            let most = inherent_max(sent_bps.min(bps));
            for _ in 0..NEWTON_STEPS {
                candidate.inherent = self.improved(candidate).clamp(INHERENT_MIN, most);
            }
            let score = self.score(candidate, much - average);
            if best.is_none_or(|(known, _)| score > known) {
                best = Some((score, candidate));
            }
        }
        let Some((_, best)) = best else {
            return;
        };
        self.inherent = best.inherent;
        self.bound = (best.bps < delay_bps).then_some(best.bps);
    }

    /// The latest first, with what they weigh.
    fn weighed(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let kept = self.count.min(OBSERVATIONS);
        (0..kept).filter_map(move |back| {
            let at = (self.count - 1 - back) % OBSERVATIONS;
            Some((WEIGHT.powi(back as i32), self.seen.get(at)?))
        })
    }

    /// One step of Newton's method towards the likeliest inherent loss.
    fn improved(&self, candidate: Candidate) -> f64 {
        let (mut first, mut second) = (0.0, 0.0);
        for (weight, seen) in self.weighed() {
            let lost = candidate.lost_share(seen.bps);
            let arrived = seen.packets - seen.lost;
            first += weight * (seen.lost / lost - arrived / (1.0 - lost));
            second -=
                weight * (seen.lost / (lost * lost) + arrived / ((1.0 - lost) * (1.0 - lost)));
        }
        let step = if second < 0.0 { first / second } else { 0.0 };
        candidate.inherent - NEWTON_SHARE * step
    }

    /// The share that was lost, and the rate that was sent, on the average.
    fn average(&self) -> (f64, f64) {
        let (mut packets, mut lost, mut bps, mut weights) = (0.0, 0.0, 0.0, 0.0);
        for (weight, seen) in self.weighed() {
            packets += weight * seen.packets;
            lost += weight * seen.lost;
            bps += weight * seen.bps;
            weights += weight;
        }
        if packets > 0.0 {
            (lost / packets, bps / weights)
        } else {
            (0.0, 0.0)
        }
    }

    /// How likely what was seen is; of two that explain it as well the faster one counts more, and
    /// the slower one where there is no room left for losses that are natural.
    fn score(&self, candidate: Candidate, room: f64) -> f64 {
        let kbps = candidate.bps / 1e3;
        let leaning = room / (0.002 + room.abs());
        let bias = leaning * (BIAS * kbps + BIAS_LOG * kbps.ln_1p());
        self.weighed()
            .map(|(weight, seen)| {
                let lost = candidate.lost_share(seen.bps);
                let arrived = seen.packets - seen.lost;
                let likely = seen.lost * lost.ln() + arrived * (1.0 - lost).ln();
                weight * (likely + bias * seen.packets)
            })
            .sum()
    }
}

impl Candidate {
    /// The share that would be lost of what is sent at this rate; never 0 or 1.
    fn lost_share(&self, sent_bps: f64) -> f64 {
        let over = match sent_bps > self.bps {
            true => (sent_bps - self.bps) / sent_bps,
            false => 0.0,
        };
        (self.inherent + (1.0 - self.inherent) * over).clamp(1e-4, 1.0 - 1e-4)
    }
}

/// The more is sent, the less of it is lost by nature: else a policer would pass for a bad radio.
/// What counts is what was sent, not what might have been.
fn inherent_max(bps: f64) -> f64 {
    (0.03 + 100e3 / bps.max(1.0)).min(0.5)
}

const OBSERVATIONS: usize = 20;
const OBSERVATION_US: u64 = 250_000;
/// Nothing arrived for so long.
const OUTAGE_US: u64 = 400_000;
const WEIGHT: f64 = 0.9;
const INHERENT_START: f64 = 0.01;
const INHERENT_MIN: f64 = 1e-3;
const NEWTON_STEPS: usize = 2;
const NEWTON_SHARE: f64 = 0.75;
const STEP_UP: f64 = 1.03;
const STEP_DOWN: f64 = 0.95;
/// On the average of the last seconds.
const LOSS_OVER: f64 = 0.01;
const BIAS: f64 = 0.0002;
const BIAS_LOG: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty seconds of this rate, of which what `lost` says is lost; the bound at the end.
    fn after(rate_bps: f64, mut lost: impl FnMut(u64, f64) -> bool) -> f64 {
        let mut model = LossModel::default();
        let mut bound = rate_bps;
        let mut at = 0.0;
        let mut next_report = 0.0;
        let mut number = 0;
        while at < 20e6 {
            let sent = Sent {
                sent_us: at as u64,
                size: 1_200,
                cluster: 0,
                was_missing: false,
            };
            model.push(&sent, !lost(number, bound));
            number += 1;
            at += 1_200.0 * 8e6 / bound;
            if at > next_report {
                next_report = at + 100e3;
                bound = model.update(rate_bps, None);
            }
        }
        bound
    }

    #[test]
    fn losses_that_do_not_follow_the_rate_cost_nothing() {
        for every in [100, 40, 20] {
            let bound = after(2e6, |n, _| n % every == 0);
            assert!(bound > 1.9e6, "one of {every}: {bound}");
        }
    }

    #[test]
    fn losses_that_follow_the_rate_bound_it() {
        // A policer at 1 Mbit/s: of what is sent the rest is lost, evenly.
        let mut debt = 0.0;
        let bound = after(3e6, |_, rate| {
            debt += (1.0 - 1e6 / rate).max(0.0);
            let lost = debt >= 1.0;
            debt -= f64::from(u8::from(lost));
            lost
        });
        assert!((0.85e6..1.2e6).contains(&bound), "{bound}");
    }

    #[test]
    fn when_losses_end_the_bound_goes() {
        let bound = after(2e6, |n, _| n < 600 && n % 3 == 0);
        assert!(bound > 1.9e6, "{bound}");
    }

    #[test]
    fn a_late_packet_was_not_lost() {
        let mut model = LossModel::default();
        let sent = Sent {
            sent_us: 5,
            size: 1_000,
            cluster: 0,
            was_missing: false,
        };
        let late = Sent {
            was_missing: true,
            ..sent
        };
        // Before the next arrives, and after it.
        model.push(&sent, false);
        model.push(&late, true);
        model.push(&sent, true);
        assert_eq!((model.open.packets, model.open.lost), (1.0, 0.0));
        model.push(&sent, false);
        model.push(&sent, true);
        assert_eq!((model.open.packets, model.open.lost), (3.0, 1.0));
        model.push(&late, true);
        assert_eq!((model.open.packets, model.open.lost), (3.0, 0.0));
    }

    #[test]
    fn a_path_that_was_gone_was_not_full() {
        // Two seconds in eight nothing arrives.
        let bound = after(2e6, |n, _| n % 1_600 < 400);
        assert!(bound > 1.9e6, "{bound}");
    }
}
