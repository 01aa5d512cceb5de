//! A path with one bottleneck, flows that send over it, and receivers that report.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use whitewater_bwe::{Bounds, Estimator, Pacer};

/// A bottleneck: a rate that changes in time, and a queue.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// Seconds and the rate from then on.
    rates: Vec<(f64, f64)>,
    pub(crate) queue_ms: f64,
    pub(crate) loss: f64,
    /// Whether its receivers have no time to read now and then.
    pub(crate) starves: bool,
    delay_us: u64,
    pub(crate) jitter_us: u64,
}

impl Path {
    pub(crate) fn constant(bps: f64) -> Self {
        Path::steps(&[(0, bps)])
    }

    pub(crate) fn steps(rates: &[(u32, f64)]) -> Self {
        Path {
            rates: rates
                .iter()
                .map(|(at, bps)| (f64::from(*at), *bps))
                .collect(),
            queue_ms: 300.0,
            loss: 0.0,
            starves: false,
            delay_us: 25_000,
            jitter_us: 1_000,
        }
    }

    /// 0.6 to 4 Mbit/s, another rate every two seconds, as a moving telephone has it.
    pub(crate) fn cellular(seed: u64) -> Self {
        let mut random = Random(seed ^ 0xce11);
        let mut bps = 2e6_f64;
        let rate = |n: u32| {
            bps = (bps * (0.7 + 0.7 * random.unit())).clamp(600e3, 4e6);
            (2 * n, bps)
        };
        let rates: Vec<(u32, f64)> = (0..120).map(rate).collect();
        let mut path = Path::steps(&rates);
        path.jitter_us = 8_000;
        path.queue_ms = 600.0;
        path
    }

    fn bps(&self, at: f64) -> f64 {
        let passed = self.rates.iter().rev().find(|(from, _)| *from <= at);
        passed.map_or(0.0, |(_, bps)| *bps)
    }
}

/// What a flow has to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    adapts: bool,
    max_bps: f64,
}

impl Source {
    /// As much as the estimate allows.
    pub(crate) fn adaptive(max_bps: f64) -> Self {
        Source {
            adapts: true,
            max_bps,
        }
    }

    pub(crate) fn fixed(bps: f64) -> Self {
        Source {
            adapts: false,
            max_bps: bps,
        }
    }
}

pub(crate) struct Flow {
    source: Source,
    starts_ms: u64,
    pub(crate) goal_bps: u64,
    estimator: Option<Estimator>,
    pacer: Pacer,
    queue: VecDeque<usize>,
    queued: usize,
    /// The most that ever waited for the pace.
    queued_max: usize,
    next_frame_ms: u64,
    /// From when to when the receiver does not read.
    stall_us: (u64, u64),
    /// The estimate, every tenth of a second.
    estimates: Vec<f64>,
    /// Arrived and not reported: number and time.
    arrived: Vec<(u16, u64)>,
    reported: u16,
    next_report_ms: u64,
    reports: VecDeque<Report>,
    log: Vec<Entry>,
}

struct Report {
    at_ms: u64,
    reference: i32,
    entries: Vec<(u16, Option<i16>)>,
}

#[derive(Clone, Copy)]
struct Entry {
    sent_ms: u64,
    size: usize,
    padding: bool,
    /// In the bottleneck's queue, in milliseconds; `None` for a lost packet.
    queued_ms: Option<f64>,
}

/// What was seen of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) utilisation: f64,
    pub(crate) loss: f64,
    pub(crate) lost_bytes: usize,
    pub(crate) delay_ms_p95: f64,
    /// Share of what was sent.
    pub(crate) padding: f64,
}

impl Flow {
    pub(crate) fn new(source: Source) -> Self {
        Flow {
            source,
            starts_ms: 0,
            goal_bps: 8_000_000,
            estimator: None,
            pacer: Pacer::default(),
            queue: VecDeque::new(),
            queued: 0,
            queued_max: 0,
            next_frame_ms: 0,
            stall_us: (0, 0),
            estimates: Vec::new(),
            arrived: Vec::new(),
            reported: 1,
            next_report_ms: 0,
            reports: VecDeque::new(),
            log: Vec::new(),
        }
    }

    pub(crate) fn starting_at(mut self, seconds: u64) -> Self {
        self.starts_ms = 1_000 * seconds;
        self.next_frame_ms = self.starts_ms;
        self
    }
}

pub(crate) struct World {
    path: Path,
    flows: Vec<Flow>,
    random: Random,
    began: Instant,
    now_ms: u64,
    /// Until when the bottleneck is busy, in microseconds.
    free_us: f64,
}

impl World {
    pub(crate) fn new(seed: u64, path: Path) -> Self {
        World {
            path,
            flows: Vec::new(),
            random: Random(seed),
            began: Instant::now(),
            now_ms: 0,
            free_us: 0.0,
        }
    }

    pub(crate) fn add(&mut self, flow: Flow) {
        self.flows.push(flow);
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        let end = self.now_ms + 1_000 * seconds;
        while self.now_ms < end {
            let mut flows = std::mem::take(&mut self.flows);
            let now_ms = self.now_ms;
            for flow in flows.iter_mut().filter(|f| f.starts_ms <= now_ms) {
                self.step(flow);
            }
            self.flows = flows;
            self.now_ms += 1;
        }
    }

    pub(crate) fn estimate(&self, flow: usize) -> f64 {
        let estimator = self.flows[flow].estimator.as_ref();
        estimator.and_then(Estimator::available_bps).unwrap_or(0) as f64
    }

    /// The longest time, in seconds, in which a flow's estimate was below this.
    pub(crate) fn longest_below(&self, flow: usize, bps: f64, from_s: usize) -> f64 {
        let tenths = self.flows[flow].estimates.iter().skip(10 * from_s);
        let run = |(run, longest): (u32, u32), estimate: &f64| {
            let run = if *estimate < bps { run + 1 } else { 0 };
            (run, longest.max(run))
        };
        f64::from(tenths.fold((0, 0), run).1) / 10.0
    }

    /// The most a flow kept back at any time, in seconds of what it sends.
    pub(crate) fn held_s_max(&self, flow: usize) -> f64 {
        let flow = &self.flows[flow];
        flow.queued_max as f64 * 8.0 / flow.source.max_bps
    }

    pub(crate) fn seen(&self, flow: usize, seconds: Range<u64>) -> Seen {
        let span = 1_000 * seconds.start..1_000 * seconds.end;
        let of_span = |entry: &&Entry| span.contains(&entry.sent_ms);
        let entries: Vec<&Entry> = self.flows[flow].log.iter().filter(of_span).collect();
        let bytes = |which: &dyn Fn(&Entry) -> bool| {
            let picked = entries.iter().filter(|entry| which(entry));
            picked.map(|entry| entry.size as f64).sum::<f64>()
        };
        let room: f64 = span
            .clone()
            .map(|ms| self.path.bps(ms as f64 / 1e3) / 8e3)
            .sum();
        let mut delays: Vec<f64> = entries.iter().filter_map(|e| e.queued_ms).collect();
        delays.sort_by(f64::total_cmp);
        let lost = entries.iter().filter(|e| e.queued_ms.is_none()).count();
        let lost_bytes = bytes(&|entry| entry.queued_ms.is_none());
        let all = bytes(&|_| true).max(1.0);
        Seen {
            utilisation: bytes(&|e| e.queued_ms.is_some() && !e.padding) / room,
            loss: lost as f64 / entries.len().max(1) as f64,
            lost_bytes: lost_bytes as usize,
            delay_ms_p95: delays.get(delays.len() * 95 / 100).copied().unwrap_or(0.0),
            padding: bytes(&|e| e.padding) / all,
        }
    }

    /// One millisecond of one flow: what it hears, what it makes, what it sends, what it reports.
    fn step(&mut self, flow: &mut Flow) {
        let now = self.began + Duration::from_millis(self.now_ms);
        let mut estimator = flow.estimator.take().unwrap_or_else(|| {
            let mut made = Estimator::new(now, Bounds::default());
            made.set_goal(flow.goal_bps, flow.source.max_bps as u64);
            made
        });
        while flow.reports.front().is_some_and(|r| r.at_ms <= self.now_ms) {
            let Some(report) = flow.reports.pop_front() else {
                break;
            };
            estimator.feedback(now, report.reference, report.entries.into_iter());
        }
        if flow.next_frame_ms <= self.now_ms {
            // No two cameras are in step.
            let early = (3.0 * self.random.unit()) as u64;
            flow.next_frame_ms = self.now_ms + FRAME_MS + 1 - early;
            self.make_frame(flow, &estimator);
        }
        if self.now_ms.is_multiple_of(100) {
            let known = estimator.available_bps();
            let estimate = known.map_or(f64::INFINITY, |bps| bps as f64);
            flow.estimates.push(estimate);
        }
        // An encoder sends what it is allowed to, whatever that is.
        let flows_bps = match flow.source.adapts {
            true => 0,
            false => flow.source.max_bps as u64,
        };
        estimator.pace(&mut flow.pacer, flows_bps);
        let now_ns = self.now_ms * 1_000_000;
        estimator.turn(now);
        while let Some(&size) = flow.queue.front().filter(|_| flow.pacer.is_open(now_ns)) {
            flow.queue.pop_front();
            flow.queued -= size;
            flow.pacer.spend(now_ns, size);
            self.send(flow, &mut estimator, size, false);
        }
        let mut padding = estimator.poll(now);
        while padding > 0 {
            let size = 290;
            flow.pacer.spend(now_ns, size);
            self.send(flow, &mut estimator, size, true);
            padding = padding.saturating_sub(size);
        }
        self.report(flow);
        flow.estimator = Some(estimator);
    }

    /// A frame of the size that the rate has room for, give or take a fifth; an encoder that
    /// follows the estimate, and makes less while its frames wait.
    fn make_frame(&mut self, flow: &mut Flow, estimator: &Estimator) {
        let estimate = estimator.available_bps().map_or(300e3, |bps| bps as f64);
        let bps = match flow.source.adapts {
            true => estimate.min(flow.source.max_bps),
            false => flow.source.max_bps,
        };
        let wanted = bps * FRAME_MS as f64 / 8e3 * (0.8 + 0.4 * self.random.unit());
        let mut left = (wanted as usize).max(60);
        if flow.source.adapts && flow.queued as f64 > bps / 8.0 * 0.2 {
            return;
        }
        while left > 0 {
            let size = left.min(1_200);
            flow.queue.push_back(size.max(60));
            flow.queued += size.max(60);
            left -= size;
        }
        flow.queued_max = flow.queued_max.max(flow.queued);
    }

    fn send(&mut self, flow: &mut Flow, estimator: &mut Estimator, size: usize, padding: bool) {
        let seq = estimator.next_seq();
        estimator.sent(size);
        let now_us = self.now_ms as f64 * 1e3;
        let bps = self.path.bps(self.now_ms as f64 / 1e3);
        let start = self.free_us.max(now_us);
        let waits_ms = (start - now_us) / 1e3;
        let lost =
            self.random.unit() < self.path.loss || waits_ms > self.path.queue_ms || bps <= 0.0;
        flow.log.push(Entry {
            sent_ms: self.now_ms,
            size,
            padding,
            queued_ms: (!lost).then_some(waits_ms),
        });
        if lost {
            return;
        }
        self.free_us = start + size as f64 * 8e6 / bps;
        let jitter = (self.random.unit() * self.path.jitter_us as f64) as u64;
        let arrives = self.free_us as u64 + self.path.delay_us + jitter;
        let arrives = match self.path.starves {
            true => self.read_at(flow, arrives),
            false => arrives,
        };
        // In order, as one queue has it.
        let last = flow.arrived.last().map_or(0, |(_, at)| *at);
        flow.arrived.push((seq, arrives.max(last)));
    }

    /// When a receiver that has no time for 50 to 800 ms now and then reads what arrives.
    fn read_at(&mut self, flow: &mut Flow, arrives_us: u64) -> u64 {
        while arrives_us >= flow.stall_us.1 {
            let [pause, stall] = [1_000.0, 800.0].map(|most: f64| {
                let ms = 50.0 + (most - 50.0) * self.random.unit();
                (1e3 * ms) as u64
            });
            let from = flow.stall_us.1 + pause;
            flow.stall_us = (from, from + stall);
        }
        match arrives_us >= flow.stall_us.0 {
            true => flow.stall_us.1,
            false => arrives_us,
        }
    }

    /// Every 50 to 150 ms what arrived since, as libwebrtc does.
    fn report(&mut self, flow: &mut Flow) {
        let now_us = self.now_ms * 1_000;
        if flow.next_report_ms > self.now_ms {
            return;
        }
        flow.next_report_ms = self.now_ms + 50 + (100.0 * self.random.unit()) as u64;
        let count = flow.arrived.iter().filter(|(_, at)| *at <= now_us).count();
        let ready: Vec<(u16, u64)> = flow.arrived.drain(..count).collect();
        let (Some(first), Some(last)) = (ready.first(), ready.last()) else {
            return;
        };
        let clock_us = |at: u64| at + RECEIVER_US;
        let reference = clock_us(first.1) / 64_000;
        let mut before = reference * 256;
        let mut entries = Vec::new();
        let mut seq = flow.reported;
        let mut ready_at = ready.iter().peekable();
        while seq != last.0.wrapping_add(1) {
            let arrived = ready_at.next_if(|(number, _)| *number == seq);
            let delta = arrived.map(|(_, at)| {
                let ticks = clock_us(*at) / 250;
                let delta = ticks as i64 - before as i64;
                before = ticks;
                delta as i16
            });
            entries.push((seq, delta));
            seq = seq.wrapping_add(1);
        }
        flow.reported = seq;
        flow.reports.push_back(Report {
            at_ms: self.now_ms + self.path.delay_us / 1_000,
            reference: ((reference as i32) << 8) >> 8,
            entries,
        });
    }
}

const FRAME_MS: u64 = 33;
/// The receiver's clock is elsewhere, near the end of the reference time.
const RECEIVER_US: u64 = ((1 << 23) - 200) * 64_000;

/// xorshift64*.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
