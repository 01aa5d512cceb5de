//! The estimate of one path, from all that is known of it.

use std::time::{Duration, Instant};

use crate::acknowledged::Acknowledged;
use crate::groups::Groups;
use crate::history::History;
use crate::loss::LossModel;
use crate::pacer::{Burst, Pacer};
use crate::probe::{Found, Probes};
use crate::queue::{Queue, Waits};
use crate::rate::{Condition, RateControl};
use crate::trend::{Trend, Usage};

/// What an estimate may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least this, in bits per second.
    pub min_bps: u64,
    /// At most this.
    pub max_bps: u64,
}

impl Default for Bounds {
    /// 50 kbit/s, which audio needs, to 100 Mbit/s.
    fn default() -> Self {
        Bounds {
            min_bps: 50_000,
            max_bps: 100_000_000,
        }
    }
}

/// Numbers packets, hears what became of them, and says how much the path carries.
///
/// Call [`turn`](Self::turn) with the time, then [`next_seq`](Self::next_seq) and
/// [`sent`](Self::sent) for each packet; [`feedback`](Self::feedback) or [`remb`](Self::remb) with
/// what the receiver says; [`poll`](Self::poll) when [`due`](Self::due) has come. Nothing
/// allocates but the first packet.
///
/// Units: bits per second of whole datagrams without UDP and IP headers.
///
/// Source: draft-ietf-rmcat-gcc-02 (delay, rate), RFC 8836 (requirements);
/// draft-holmer-rmcat-transport-wide-cc-extensions-01 (feedback).
#[derive(Debug)]
pub struct Estimator {
    origin: Instant,
    bounds: Bounds,
    now_us: u64,
    history: History,
    groups: Groups,
    trend: Trend,
    queue: Queue,
    rate: Option<RateControl>,
    acknowledged: Acknowledged,
    loss: LossModel,
    probes: Probes,
    /// What the receiver estimates itself, and when it said so.
    remb: Option<(u64, u64)>,
    round_trip_us: Option<u64>,
    /// The receiver's clock: the last reference time, and what it is when it does not wrap.
    reference: Option<(i32, i64)>,
    /// The first packet after the last report.
    unheard_us: Option<u64>,
    /// When it is asked next whether reports are missing; `None` before the first.
    judged_us: Option<u64>,
    /// When the path was last seen to be full.
    full_us: Option<u64>,
    /// When losses were last what bounds the estimate.
    lossy_us: Option<u64>,
    /// When packets were last seen to wait for a queue that stands, or to be lost to one.
    crowded_us: Option<u64>,
    /// How long the fastest packet of the last report waited, and whether a queue stood then.
    waits_us: u64,
    stood: bool,
    /// What the path carried before nothing was heard of it any more.
    silenced_bps: Option<f64>,
    /// When the first report came.
    first_us: Option<u64>,
    /// Whether the path was tried: before that what arrives only says what was sent.
    is_tried: bool,
    bps: Option<u64>,
}

impl Estimator {
    /// Of a path nothing is known of.
    #[must_use]
    pub fn new(now: Instant, bounds: Bounds) -> Self {
        Estimator {
            origin: now,
            bounds,
            now_us: 0,
            history: History::new(),
            groups: Groups::default(),
            trend: Trend::default(),
            queue: Queue::default(),
            rate: None,
            acknowledged: Acknowledged::default(),
            loss: LossModel::default(),
            probes: Probes::default(),
            remb: None,
            round_trip_us: None,
            reference: None,
            unheard_us: None,
            judged_us: None,
            full_us: None,
            lossy_us: None,
            crowded_us: None,
            waits_us: 0,
            stood: false,
            silenced_bps: None,
            first_us: None,
            is_tried: false,
            bps: None,
        }
    }

    /// The time of what follows.
    #[inline]
    pub fn turn(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.origin);
        self.now_us = since.as_secs() * 1_000_000 + u64::from(since.subsec_micros());
    }

    /// The time of this turn since the estimator was made, in microseconds.
    #[inline]
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The transport-wide sequence number of the next packet.
    #[inline]
    #[must_use]
    pub fn next_seq(&self) -> u16 {
        self.history.next_seq()
    }

    /// The packet with that number leaves in this turn; `size` is that of its datagram.
    #[inline]
    pub fn sent(&mut self, size: usize) {
        let cluster = self.probes.mark(self.now_us, size);
        self.history.push(self.now_us, size, cluster);
        if self.unheard_us.is_none() {
            self.unheard_us = Some(self.now_us);
        }
    }

    /// Takes a feedback message: its reference time in units of 64 ms (24 bits, signed), and the
    /// packets it speaks of in order, each with its arrival after the one before in units of
    /// 250 µs, or `None` when it was missing.
    ///
    /// The caller bounds how many there are.
    pub fn feedback(
        &mut self,
        now: Instant,
        reference_time: i32,
        entries: impl Iterator<Item = (u16, Option<i16>)>,
    ) {
        self.turn(now);
        let mut arrived_us = self.receiver_us(reference_time);
        let mut over = false;
        let mut trip_us = None;
        let (mut settled, mut missing) = (0_u32, 0_u32);
        let mut passed_over = None;
        for (seq, delta) in entries {
            passed_over.get_or_insert_with(|| self.history.passed_over(seq));
            if let Some(delta) = delta {
                arrived_us = arrived_us.saturating_add(i64::from(delta) * 250);
            }
            let Some(sent) = self.history.settle(self.now_us, seq, delta.is_some()) else {
                continue;
            };
            settled += 1;
            self.loss.push(&sent, delta.is_some());
            if sent.cluster != 0 {
                let arrived_us = delta.map(|_| arrived_us);
                self.probes.settle(&sent, arrived_us);
            }
            if delta.is_none() {
                missing += 1;
                continue;
            }
            trip_us = Some(self.now_us.saturating_sub(sent.sent_us));
            // Of what a lost report spoke of as much arrived as of the rest, or nearly.
            let unknown = passed_over.replace(0).unwrap_or(0);
            let size = u64::from(sent.size) + unknown;
            self.acknowledged.push(arrived_us, size);
            self.queue.push(sent.sent_us, arrived_us, size);
            if !self.probes.is_near(sent.sent_us)
                && let Some(step) = self.groups.push(sent.sent_us, arrived_us)
            {
                over |= self.trend.push(step) == Usage::Over;
            }
        }
        if settled == 0 {
            return;
        }
        // A queue that stands at its end no longer grows, but it loses what does not fit.
        let loses = f64::from(missing) > LOSSES_FULL * f64::from(settled);
        let waits = self.queue.close(self.now_us, loses);
        let is_full = loses && waits.us > WAITS_US_FULL;
        let stands = waits.stands && self.trend.usage() != Usage::Under;
        if is_full || waits.stands && self.stood {
            self.crowded_us = Some(self.now_us);
        }
        self.stood = waits.stands;
        over |= is_full || stands;
        if let Some(trip_us) = trip_us {
            let smooth = |known: u64| (7 * known + trip_us) / 8;
            self.round_trip_us = Some(self.round_trip_us.map_or(trip_us, smooth));
        }
        self.waits_us = waits.us;
        if let Some(bps) = self.silenced_bps.take() {
            self.probes.returned(self.now_us, bps);
        }
        self.unheard_us = None;
        self.judged_us = Some(self.now_us + SILENCE_US);
        self.control(over, waits);
    }

    /// The receiver's own estimate (REMB): all there is without transport-wide feedback, else an
    /// upper bound. `None` takes it back.
    pub fn remb(&mut self, now: Instant, bps: Option<u64>) {
        self.turn(now);
        self.remb = bps.map(|bps| (bps, self.now_us));
        self.settle();
    }

    /// Probes are sent up to `goal_bps`; 0 for none. More is of no use to the caller, who would send
    /// `need_bps` if that is carried: until it is known to be, probes are more frequent.
    pub fn set_goal(&mut self, goal_bps: u64, need_bps: u64) {
        let goal_bps = goal_bps.min(self.bounds.max_bps) as f64;
        self.probes.set_goal(self.now_us, goal_bps, need_bps as f64);
    }

    /// Does what is due by the clock alone; returns bytes of padding that are to be sent now.
    pub fn poll(&mut self, now: Instant) -> usize {
        self.turn(now);
        self.judge_silence();
        let known = self.bps.map(|bps| bps as f64);
        self.probes
            .poll(self.now_us, known, self.waits_us < WAITS_US_CALM);
        self.probes.padding(self.now_us)
    }

    /// When [`poll`](Self::poll) has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let probe_us = self.probes.due_us(self.now_us);
        let at_us = probe_us.into_iter().chain(self.judged_us).min()?;
        Some(self.origin + Duration::from_micros(at_us))
    }

    /// What can be sent; `None` while nothing is known, until the first probes or a queue said more
    /// than that what was sent arrived. Within the bounds.
    #[must_use]
    pub fn available_bps(&self) -> Option<u64> {
        self.bps
    }

    /// Sets the pace at which packets should leave: as they come while nothing is known.
    ///
    /// As fast as a path that was never seen full may carry more than the estimate, and there a
    /// frame of a stream that fits leaves whole. Hardly faster than the estimate where that is what
    /// the path carries: a key frame then stands in our queue, which loses nothing.
    ///
    /// `flows_bps` is what there is to send and has gone on being sent. Holding it up is worth it only
    /// where the path does so otherwise: a little more than this leaves at any rate, as long as no
    /// packets were seen to wait, or to be lost, for a queue that stands.
    pub fn pace(&self, pacer: &mut Pacer, flows_bps: u64) {
        let is_recent = |at: u64| self.now_us.saturating_sub(at) < FULL_US;
        let (percent, burst) = if self.lossy_us.is_some_and(is_recent) {
            (PACE_PERCENT_FULL, Burst::Packets)
        } else if self.full_us.is_some_and(is_recent) {
            (PACE_PERCENT_FULL, Burst::Run)
        } else {
            (PACE_PERCENT, Burst::Frame)
        };
        let is_crowded = [self.crowded_us, self.lossy_us]
            .into_iter()
            .flatten()
            .any(is_recent);
        let least = match is_crowded || self.remb.is_some() {
            true => 0,
            false => flows_bps / 100 * PACE_PERCENT_FLOWS,
        };
        pacer.set_rate(self.bps.map(|bps| (bps / 100 * percent).max(least)), burst);
    }

    /// Whether the path was lately seen to be full, or to lose for being so.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let seen = [self.full_us, self.crowded_us, self.lossy_us];
        let is_recent = |at: u64| self.now_us.saturating_sub(at) < FULL_US;
        seen.into_iter().flatten().any(is_recent)
    }

    /// The round trip by feedback, the receiver's pause before it included.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip_us.map(Duration::from_micros)
    }

    /// What arrives, in bits per second.
    #[must_use]
    pub fn acknowledged_bps(&self) -> Option<u64> {
        self.acknowledged.bps().map(|bps| bps as u64)
    }

    fn receiver_us(&mut self, reference_time: i32) -> i64 {
        let unwrapped = match self.reference {
            None => i64::from(reference_time),
            Some((last, unwrapped)) => {
                let step = (reference_time.wrapping_sub(last) << 8) >> 8;
                unwrapped.saturating_add(i64::from(step))
            }
        };
        self.reference = Some((reference_time, unwrapped));
        unwrapped.saturating_mul(64_000)
    }

    fn control(&mut self, over: bool, waits: Waits) {
        let usage = match over {
            true => Usage::Over,
            false => self.trend.usage(),
        };
        let acknowledged = self.acknowledged.bps();
        let round_trip_us = self.round_trip_us.unwrap_or(ROUND_TRIP_US);
        if let Some(found) = self.probes.result(self.now_us) {
            self.take_probe(found, usage);
        }
        if self.rate.is_none() {
            self.rate = acknowledged.map(|bps| RateControl::new(self.bounded(bps)));
        }
        let bounds = self.bounds;
        let Some(rate) = &mut self.rate else {
            return;
        };
        if waits.is_longer {
            rate.forgive();
        }
        let condition = Condition {
            usage,
            acknowledged: match usage {
                Usage::Over => self.acknowledged.peak_bps(),
                _ => acknowledged,
            },
            carried: self.queue.carried_bps(),
            waits_us: waits.us,
            round_trip_us,
        };
        if rate.update(self.now_us, condition) {
            self.full_us = Some(self.now_us);
            self.is_tried = true;
            self.probes.reduced(self.now_us, waits.us);
            self.acknowledged.expect_change();
        }
        rate.set(
            rate.bps()
                .clamp(bounds.min_bps as f64, bounds.max_bps as f64),
        );
        self.queue.set_long(rate.long_us());
        let delay_bps = rate.bps();
        let first_us = *self.first_us.get_or_insert(self.now_us);
        self.is_tried |= self.now_us - first_us >= TRIED_US || self.probes.is_done(delay_bps);
        self.loss.update(delay_bps, acknowledged);
        if self.loss.is_limiting() {
            self.is_tried = true;
            self.lossy_us = Some(self.now_us);
        }
        self.settle();
    }

    fn take_probe(&mut self, found: Found, usage: Usage) {
        let arrives = self.acknowledged.bps().unwrap_or(0.0);
        // Of a path that others use as well a probe takes more than its share, and it may meet them in a
        // pause. Who sends all that is allowed learns by that how much it is.
        let filled = self.rate.as_ref().map(RateControl::bps);
        let filled = filled.filter(|bps| self.full_us.is_some() && arrives > FILLS * bps);
        let found = match (found, filled) {
            (Found::Room(bps), Some(known)) => Found::Room(bps.min(FOUND_MAX * known)),
            (Found::Full(_), Some(known)) => Found::Full(known),
            (found, None) => found,
        };
        self.probes.found(self.now_us, found);
        // A path carries what it was seen to carry.
        let (Found::Room(bps) | Found::Full(bps)) = found;
        let bps = self.bounded(bps.max(arrives));
        match &mut self.rate {
            None => self.rate = Some(RateControl::new(bps)),
            Some(rate) if usage != Usage::Over && bps > rate.bps() => {
                rate.found(bps);
                self.acknowledged.expect_change();
            }
            Some(_) => {}
        }
        match found {
            Found::Full(_) => self.full_us = Some(self.now_us),
            Found::Room(_) if filled.is_none() && usage != Usage::Over => self.full_us = None,
            Found::Room(_) => {}
        }
    }

    /// Nothing is heard although something is sent: the path may be gone.
    fn judge_silence(&mut self) {
        if self.judged_us.is_none_or(|at| at > self.now_us) {
            return;
        }
        let is_old = |since: u64| self.now_us.saturating_sub(since) >= SILENCE_US;
        if !self.unheard_us.is_some_and(is_old) {
            // Nothing was sent that could have been reported on.
            self.judged_us = Some(self.now_us + SILENCE_US);
            return;
        }
        self.judged_us = Some(self.now_us + SILENCE_STEP_US);
        if let Some(rate) = &mut self.rate {
            self.silenced_bps.get_or_insert(rate.bps());
            let bps = rate.bps() * SILENCE_SHARE;
            rate.set(bps.max(self.bounds.min_bps as f64));
        }
        self.groups.reset();
        self.trend.reset();
        self.settle();
    }

    /// The estimate, from its parts.
    fn settle(&mut self) {
        let remb = self.remb.filter(|(_, at)| {
            let age = self.now_us.saturating_sub(*at);
            self.rate.is_none() || age < REMB_US
        });
        let rate = self.rate.as_ref().filter(|_| self.is_tried);
        let measured = rate.map(|rate| self.loss.bounded(rate.bps()));
        let bps = match (measured, remb) {
            (Some(bps), Some((remb, _))) => Some((bps as u64).min(remb)),
            (Some(bps), None) => Some(bps as u64),
            (None, remb) => remb.map(|(bps, _)| bps),
        };
        self.bps = bps.map(|bps| bps.clamp(self.bounds.min_bps, self.bounds.max_bps));
    }

    fn bounded(&self, bps: f64) -> f64 {
        bps.clamp(self.bounds.min_bps as f64, self.bounds.max_bps as f64)
    }
}

/// Until feedback told it.
const ROUND_TRIP_US: u64 = 200_000;
/// Feedback comes at least every 250 ms while packets arrive; so much later it is missed.
const SILENCE_US: u64 = 2_000_000;
const SILENCE_STEP_US: u64 = 1_000_000;
const SILENCE_SHARE: f64 = 0.7;
/// A receiver repeats its estimate every second or so.
const REMB_US: u64 = 10_000_000;
/// The first probes have their results by then.
const TRIED_US: u64 = 2_000_000;
/// For so long a path that was full is taken to carry no more than the estimate.
const FULL_US: u64 = 30_000_000;
const PACE_PERCENT: u64 = 250;
const PACE_PERCENT_FULL: u64 = 110;
const PACE_PERCENT_FLOWS: u64 = 125;
/// A flow of which so much of its rate arrives fills it, and is given no more than this by a probe.
const FILLS: f64 = 0.8;
const FOUND_MAX: f64 = 1.25;
/// Where packets wait for longer a probe would measure that.
const WAITS_US_CALM: u64 = 20_000;
/// So much of a report lost, while what arrived had waited for so long, means a full queue.
const LOSSES_FULL: f64 = 0.02;
const WAITS_US_FULL: u64 = 50_000;
