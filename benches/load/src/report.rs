//! What a run found, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::args::Plan;
use crate::fleet::{JoinError, JoinTimes};
use crate::process::Reading;
use crate::run::Kind;
use crate::stats::{Latency, Snapshot, Totals, quantile};

/// What a run found. Serialized, it is the JSON of `--json`; docs/load.md explains the fields.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The WHIP address.
    pub target: String,
    /// Publishers wanted and joined.
    pub publishers: Sessions,
    /// Viewers wanted and joined.
    pub viewers: Sessions,
    /// Why sessions failed, and how many for each reason.
    pub failures: BTreeMap<String, u64>,
    /// Sessions the server did not let go of when asked.
    pub deletes_failed: u64,
    /// Ended before all had been started.
    pub cut_short: bool,
    /// Length of the measured part, from when all had joined, in seconds.
    pub measured_s: f64,
    /// Join times of publishers (to the end of the handshake), milliseconds.
    pub publisher_join_ms: Option<Spread>,
    /// Until viewers had their answer, milliseconds.
    pub viewer_answer_ms: Option<Spread>,
    /// Until the handshake of viewers was done, milliseconds.
    pub viewer_connect_ms: Option<Spread>,
    /// Until viewers had their first packet, milliseconds.
    pub viewer_join_ms: Option<Spread>,
    /// What publishers sent in the measured part.
    pub sent: Sent,
    /// What viewers received in the measured part.
    pub received: Received,
    /// What verifying viewers found, since the start.
    pub verified: Verified,
    /// From the publisher's send call to the arrival at the viewer's socket, milliseconds.
    pub latency_ms: Option<Tail>,
    /// The longest silence of each viewer in the measured part, milliseconds.
    pub silence_ms: Option<Spread>,
    /// What the server cost, if its process is known.
    pub server: Option<Cost>,
    /// What this process cost.
    pub client: Option<Cost>,
}

/// How many sessions of a kind there were.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sessions {
    /// Asked for.
    pub wanted: u64,
    /// That joined.
    pub joined: u64,
    /// That did not, or broke later.
    pub failed: u64,
}

/// A set of values.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// Half are not above it.
    pub p50: f64,
    /// 90 % are not above it.
    pub p90: f64,
    /// 99 % are not above it.
    pub p99: f64,
    /// The highest.
    pub max: f64,
}

/// Latencies of many packets.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tail {
    /// Packets measured.
    pub packets: u64,
    /// Half were not above it.
    pub p50: f64,
    /// 90 % were not above it.
    pub p90: f64,
    /// 99 % were not above it.
    pub p99: f64,
    /// 99.9 % were not above it.
    pub p999: f64,
    /// The highest.
    pub max: f64,
}

/// What publishers sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sent {
    /// RTP packets.
    pub packets: u64,
    /// UDP payload bytes.
    pub bytes: u64,
    /// Key frames.
    pub key_frames: u64,
    /// Requests for key frames.
    pub key_frames_wanted: u64,
    /// Packets sent again.
    pub resent: u64,
    /// Packets the kernel did not take.
    pub refused: u64,
}

/// What viewers received.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Received {
    /// RTP packets.
    pub packets: u64,
    /// UDP payload bytes.
    pub bytes: u64,
    /// RTP packets a second.
    pub packets_per_s: f64,
    /// UDP payload bits a second.
    pub bits_per_s: f64,
    /// Packets there were to receive, by sequence numbers.
    pub expected: u64,
    /// Those of them that did not come.
    pub lost: u64,
    /// The same as a share of what was expected.
    pub loss: f64,
    /// Packets behind a later one.
    pub reordered: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Numbers asked for again.
    pub nacked: u64,
    /// Packets that came as retransmission.
    pub recovered: u64,
    /// Key frames asked for after a loss.
    pub keys_asked: u64,
    /// Packets that are no RTP of any negotiated stream.
    pub unreadable: u64,
}

/// What verifying viewers found.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Verified {
    /// How many viewers verified.
    pub viewers: u64,
    /// Packets all bytes of which were as sent.
    pub packets: u64,
    /// Packets that were not.
    pub corrupted: u64,
    /// Packets that did not authenticate.
    pub undecryptable: u64,
    /// Packets of another stream.
    pub foreign: u64,
    /// Frames that came whole.
    pub frames_whole: u64,
    /// Frames with a hole.
    pub frames_broken: u64,
    /// Viewers that did not start with a key frame.
    pub late_starts: u64,
}

/// What a process cost in the measured part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// CPU time, seconds.
    pub cpu_s: f64,
    /// Share of one core.
    pub cores: f64,
    /// CPU time by packet that reached a viewer, nanoseconds.
    pub cpu_ns_per_packet: Option<f64>,
    /// The same of the threads that move media alone, where they can be told.
    pub shard_ns_per_packet: Option<f64>,
    /// Resident memory before anybody joined, bytes.
    pub resident_before: u64,
    /// Resident memory at the end, bytes.
    pub resident_after: u64,
    /// The most resident memory, bytes.
    pub resident_peak: u64,
    /// What memory grew by for each session that joined, bytes; if it grew.
    pub resident_per_session: Option<f64>,
    #[serde(skip)]
    shards_s: f64,
}

impl Cost {
    pub(crate) fn between(idle: Reading, from: Reading, to: Reading) -> Option<Cost> {
        Some(Cost {
            cpu_s: to.cpu.checked_sub(from.cpu)?.as_secs_f64(),
            shards_s: to.shards.checked_sub(from.shards)?.as_secs_f64(),
            cores: 0.0,
            cpu_ns_per_packet: None,
            shard_ns_per_packet: None,
            resident_before: idle.resident,
            resident_after: to.resident,
            resident_peak: to.resident_peak,
            resident_per_session: None,
        })
    }

    fn shared(mut self, window: Duration, packets: u64, sessions: u64) -> Cost {
        self.cores = self.cpu_s / window.as_secs_f64().max(1e-9);
        if packets > 0 {
            self.cpu_ns_per_packet = Some(self.cpu_s * 1e9 / packets as f64);
            let shard = self.shards_s * 1e9 / packets as f64;
            self.shard_ns_per_packet = (shard > 0.0).then_some(shard);
        }
        // Memory that an earlier run left behind is used again: then nothing can be said.
        let growth = self.resident_after.checked_sub(self.resident_before);
        if let Some(growth) = growth.filter(|_| sessions > 0) {
            self.resident_per_session = Some(growth as f64 / sessions as f64);
        }
        self
    }
}

/// What is known of the sessions while a run goes on.
pub(crate) struct Gathered {
    started: Instant,
    publishers: Sessions,
    viewers: Sessions,
    times: Vec<(Kind, JoinTimes)>,
    failures: BTreeMap<String, u64>,
}

/// The measured part: its length, the state at its start, the cost of server and client.
type Measured = (Duration, Snapshot, Option<Cost>, Option<Cost>);

impl Gathered {
    pub(crate) fn new(plan: &Plan, started: Instant) -> Self {
        let wanted = |wanted: u64| Sessions {
            wanted,
            ..Sessions::default()
        };
        let publishers = if plan.publishes {
            plan.streams.len() as u64
        } else {
            0
        };
        Gathered {
            started,
            publishers: wanted(publishers),
            viewers: wanted(plan.viewers.into()),
            times: Vec::new(),
            failures: BTreeMap::new(),
        }
    }

    pub(crate) fn joined(&mut self, kind: Kind, outcome: Result<JoinTimes, &JoinError>) {
        let sessions = self.of(kind);
        match outcome {
            Ok(times) => {
                sessions.joined += 1;
                self.times.push((kind, times));
            }
            Err(error) => {
                sessions.failed += 1;
                self.count(error.to_string());
            }
        }
    }

    pub(crate) fn broke(&mut self, kind: Kind, why: &str) {
        self.of(kind).failed += 1;
        self.count(why.to_owned());
    }

    pub(crate) fn publishers_settled(&self) -> bool {
        let Sessions {
            wanted,
            joined,
            failed,
        } = self.publishers;
        joined + failed >= wanted
    }

    pub(crate) fn joined_count(&self) -> u64 {
        self.publishers.joined + self.viewers.joined
    }

    pub(crate) fn failed_count(&self) -> u64 {
        self.publishers.failed + self.viewers.failed
    }

    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    pub(crate) fn report(
        self,
        plan: &Plan,
        end: Snapshot,
        measured: Option<Measured>,
        deletes_failed: u64,
        cut_short: bool,
    ) -> Report {
        let sessions = self.joined_count();
        // A run that was ended before it got steady reports what there was.
        let (window, start, server, client) = measured.unwrap_or_default();
        let totals = end.totals.since(&start.totals);
        let received = received(&totals, window);
        let cost = |cost: Option<Cost>| {
            cost.map(|cost| cost.shared(window, totals.received_packets, sessions))
        };
        let verifying = (0..plan.viewers).filter(|index| plan.verify.has(*index));
        let all = &end.totals;
        Report {
            target: plan.fleet.whip.clone(),
            publishers: self.publishers,
            viewers: self.viewers,
            deletes_failed,
            cut_short,
            measured_s: window.as_secs_f64(),
            publisher_join_ms: self.spread(|kind, times| match kind {
                Kind::Publisher(_) => Some(times.connected),
                Kind::Viewer(_) => None,
            }),
            viewer_answer_ms: self.spread(|kind, times| of_viewer(kind, Some(times.answered))),
            viewer_connect_ms: self.spread(|kind, times| of_viewer(kind, Some(times.connected))),
            viewer_join_ms: self.spread(|kind, times| of_viewer(kind, times.media)),
            failures: self.failures,
            sent: Sent {
                packets: totals.sent_packets,
                bytes: totals.sent_bytes,
                key_frames: totals.key_frames,
                key_frames_wanted: totals.key_frames_wanted,
                resent: totals.resent,
                refused: totals.refused,
            },
            received,
            verified: Verified {
                viewers: verifying.count() as u64,
                packets: all.verified,
                corrupted: all.corrupted,
                undecryptable: all.undecryptable,
                foreign: all.foreign,
                frames_whole: all.frames_whole,
                frames_broken: all.frames_broken,
                late_starts: all.late_starts,
            },
            latency_ms: Tail::of(&end.latency),
            silence_ms: Spread::of(end.gaps.iter().map(Duration::as_secs_f64).collect()),
            server: cost(server),
            client: cost(client),
        }
    }

    fn of(&mut self, kind: Kind) -> &mut Sessions {
        match kind {
            Kind::Publisher(_) => &mut self.publishers,
            Kind::Viewer(_) => &mut self.viewers,
        }
    }

    fn count(&mut self, why: String) {
        let why = if self.failures.len() < REASONS_MAX || self.failures.contains_key(&why) {
            why
        } else {
            "other reasons".to_owned()
        };
        *self.failures.entry(why).or_default() += 1;
    }

    fn spread(&self, of: impl Fn(Kind, &JoinTimes) -> Option<Duration>) -> Option<Spread> {
        let times = self
            .times
            .iter()
            .filter_map(|(kind, times)| of(*kind, times));
        Spread::of(times.map(|time| time.as_secs_f64()).collect())
    }
}

fn of_viewer(kind: Kind, time: Option<Duration>) -> Option<Duration> {
    time.filter(|_| matches!(kind, Kind::Viewer(_)))
}

fn received(totals: &Totals, window: Duration) -> Received {
    let seconds = window.as_secs_f64().max(1e-9);
    Received {
        packets: totals.received_packets,
        bytes: totals.received_bytes,
        packets_per_s: totals.received_packets as f64 / seconds,
        bits_per_s: totals.received_bytes as f64 * 8.0 / seconds,
        expected: totals.expected,
        lost: totals.lost,
        loss: totals.lost as f64 / (totals.expected as f64).max(1.0),
        reordered: totals.reordered,
        duplicates: totals.duplicates,
        nacked: totals.nacked,
        recovered: totals.recovered,
        keys_asked: totals.keys_asked,
        unreadable: totals.unreadable,
    }
}

impl Spread {
    /// Of values in seconds, in milliseconds.
    fn of(mut seconds: Vec<f64>) -> Option<Spread> {
        seconds.sort_unstable_by(f64::total_cmp);
        let at = |share| quantile(&seconds, share).map(|value| round(value * 1e3));
        Some(Spread {
            p50: at(0.5)?,
            p90: at(0.9)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }
}

impl Tail {
    fn of(latency: &Latency) -> Option<Tail> {
        let at = |share| round(latency.quantile(share).as_secs_f64() * 1e3);
        (latency.count() > 0).then(|| Tail {
            packets: latency.count(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: round(latency.max().as_secs_f64() * 1e3),
        })
    }
}

/// Microseconds are enough for milliseconds.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl Report {
    /// Whether all that was asked for came to be and nothing wrong was received.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        let Verified {
            corrupted,
            undecryptable,
            foreign,
            ..
        } = self.verified;
        let all = |sessions: Sessions| sessions.failed == 0;
        let some = self.publishers.joined + self.viewers.joined > 0;
        let right = corrupted + undecryptable + foreign == 0;
        some && right && all(self.publishers) && all(self.viewers)
    }

    /// Prints the table, and writes the JSON if a file is named.
    ///
    /// # Errors
    /// The file's; a closed standard output is none.
    pub fn publish(&self, json: Option<&Path>) -> io::Result<()> {
        let mut rendered = serde_json::to_string_pretty(self)?;
        rendered.push('\n');
        let printed = match json {
            Some(path) if path.as_os_str() == "-" => rendered,
            Some(path) => {
                std::fs::write(path, rendered)?;
                self.table()
            }
            None => self.table(),
        };
        match io::stdout().lock().write_all(printed.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// The report as lines for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<18}{value}");
        };
        for (name, of) in [("publishers", self.publishers), ("viewers", self.viewers)] {
            if of.wanted > 0 {
                let Sessions {
                    wanted,
                    joined,
                    failed,
                } = of;
                let failed = match failed {
                    0 => String::new(),
                    count => format!(", {count} failed"),
                };
                row(name, format!("{joined} of {wanted} joined{failed}"));
            }
        }
        for (why, count) in &self.failures {
            row("", format!("{count} × {why}"));
        }
        let joins = [
            ("publisher joins", &self.publisher_join_ms),
            ("viewers: answer", &self.viewer_answer_ms),
            ("  handshake", &self.viewer_connect_ms),
            ("  first packet", &self.viewer_join_ms),
        ];
        for (name, spread) in joins {
            if let Some(spread) = spread {
                row(name, spread.to_text());
            }
        }
        row("measured", format!("{:.1} s", self.measured_s));
        let (sent, received) = (&self.sent, &self.received);
        if sent.packets > 0 {
            row(
                "sent",
                format!(
                    "{} packets, {} key frames ({} asked for), {} again, {} refused by the kernel",
                    sent.packets,
                    sent.key_frames,
                    sent.key_frames_wanted,
                    sent.resent,
                    sent.refused
                ),
            );
        }
        if self.viewers.wanted > 0 {
            row(
                "received",
                format!(
                    "{} packets, {:.0}/s, {:.1} Mbit/s",
                    received.packets,
                    received.packets_per_s,
                    received.bits_per_s / 1e6
                ),
            );
            row(
                "lost",
                format!(
                    "{} of {} ({:.4} %), {} asked for again, {} recovered, {} reordered, {} twice",
                    received.lost,
                    received.expected,
                    received.loss * 100.0,
                    received.nacked,
                    received.recovered,
                    received.reordered,
                    received.duplicates
                ),
            );
        }
        let verified = &self.verified;
        if verified.viewers > 0 {
            row(
                "verified",
                format!(
                    "{} packets at {} viewers: {} corrupted, {} undecryptable, {} of other \
                     streams; frames: {} whole, {} with holes",
                    verified.packets,
                    verified.viewers,
                    verified.corrupted,
                    verified.undecryptable,
                    verified.foreign,
                    verified.frames_whole,
                    verified.frames_broken
                ),
            );
        }
        if let Some(tail) = &self.latency_ms {
            row(
                "latency",
                format!(
                    "p50 {} ms, p90 {} ms, p99 {} ms, p99.9 {} ms, highest {} ms",
                    tail.p50, tail.p90, tail.p99, tail.p999, tail.max
                ),
            );
        }
        if let Some(spread) = &self.silence_ms {
            row("longest silence", spread.to_text());
        }
        for (name, cost) in [("server", &self.server), ("this process", &self.client)] {
            if let Some(cost) = cost {
                row(name, cost.to_text());
            }
        }
        text
    }
}

impl Spread {
    fn to_text(self) -> String {
        let Spread { p50, p90, p99, max } = self;
        format!("p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, highest {max:.1} ms")
    }
}

impl Cost {
    fn to_text(self) -> String {
        let mut text = format!("{:.1} % of a core", self.cores * 100.0);
        if let Some(ns) = self.cpu_ns_per_packet {
            text += &format!(", {ns:.0} ns a packet");
        }
        if let Some(ns) = self.shard_ns_per_packet {
            text += &format!(" (media threads {ns:.0} ns)");
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        text += &format!(
            "; memory {:.1} MiB, was {:.1} MiB",
            mib(self.resident_after),
            mib(self.resident_before)
        );
        if let Some(bytes) = self.resident_per_session {
            text += &format!(", {:.1} KiB a session", bytes / 1024.0);
        }
        text
    }
}

/// Different reasons kept apart.
const REASONS_MAX: usize = 20;
