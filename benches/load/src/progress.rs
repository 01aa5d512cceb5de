//! The line that is shown while a run goes on.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::args::Plan;
use crate::report::Gathered;
use crate::stats::{Snapshot, Totals};

/// Shows how far a run is: every second where somebody watches, every five seconds in a log.
pub(crate) struct Progress {
    is_terminal: bool,
    wanted: u64,
    last_at: Instant,
    last: Totals,
}

impl Progress {
    pub(crate) fn new(plan: &Plan) -> Self {
        let publishers = if plan.publishes {
            plan.streams.len() as u64
        } else {
            0
        };
        Progress {
            is_terminal: std::io::stderr().is_terminal(),
            wanted: publishers + u64::from(plan.viewers),
            last_at: Instant::now(),
            last: Totals::default(),
        }
    }

    pub(crate) fn show(&mut self, gathered: &Gathered, snapshot: &Snapshot, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last_at);
        if !self.is_terminal && elapsed < LOG_INTERVAL {
            return;
        }
        let line = line(gathered, snapshot, &self.last, elapsed, self.wanted, now);
        (self.last_at, self.last) = (now, snapshot.totals);
        let mut out = std::io::stderr().lock();
        // Nobody reads it: that is no reason to stop.
        let _ = if self.is_terminal {
            write!(out, "\r\x1b[K{line}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
    }

    /// Leaves the line behind.
    pub(crate) fn finish(&self) {
        if self.is_terminal {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn line(
    gathered: &Gathered,
    snapshot: &Snapshot,
    last: &Totals,
    elapsed: Duration,
    wanted: u64,
    now: Instant,
) -> String {
    let totals = &snapshot.totals;
    let since = totals.since(last);
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let mut line = format!(
        "{:5.0} s  {} of {wanted} joined",
        gathered.elapsed(now).as_secs_f64(),
        gathered.joined_count(),
    );
    if gathered.failed_count() > 0 {
        line += &format!(", {} failed", gathered.failed_count());
    }
    line += &format!(
        "  {:.0} packets/s  {:.1} Mbit/s  {} lost",
        since.received_packets as f64 / seconds,
        since.received_bytes as f64 * 8.0 / seconds / 1e6,
        totals.lost,
    );
    if snapshot.latency.count() > 0 {
        let p99 = snapshot.latency.quantile(0.99).as_secs_f64() * 1e3;
        line += &format!("  latency p99 {p99:.2} ms");
    }
    let wrong = totals.corrupted + totals.undecryptable + totals.foreign;
    if wrong > 0 {
        line += &format!("  {wrong} WRONG");
    }
    line
}

const LOG_INTERVAL: Duration = Duration::from_secs(5);
