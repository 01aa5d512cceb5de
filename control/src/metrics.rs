//! Counters as Prometheus text.

mod quality;

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use whitewater_link::{LoopReport, Traffic};
use whitewater_model::{Counts, Totals};

use crate::context::Context;
use crate::http::response::{Response, full};

/// What HTTP counts itself.
#[derive(Default)]
pub(crate) struct HttpCounters {
    /// By the first digit of the status.
    answers: [AtomicU64; 6],
    /// As in [`REFUSALS`].
    refusals: [AtomicU64; 3],
    renderings: AtomicU64,
    connections: AtomicU64,
    connections_refused: AtomicU64,
    /// Done, failed.
    handshakes: [AtomicU64; 2],
    /// Taken, refused.
    certificates: [AtomicU64; 2],
}

impl HttpCounters {
    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.answers.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let refusals = REFUSALS.iter().zip(&self.refusals);
        for (_, counter) in refusals.filter(|((refused, _), _)| *refused == status) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_rendering(&self) {
        self.renderings.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused_connection(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_handshake(&self, done: bool) {
        let [yes, no] = &self.handshakes;
        if done { yes } else { no }.fetch_add(1, Ordering::Relaxed);
    }

    /// A changed certificate was taken into use, or could not be.
    pub(crate) fn count_certificate(&self, taken: bool) {
        let [yes, no] = &self.certificates;
        if taken { yes } else { no }.fetch_add(1, Ordering::Relaxed);
    }
}

const REFUSALS: [(StatusCode, &str); 3] = [
    (StatusCode::UNAUTHORIZED, "unauthenticated"),
    (StatusCode::FORBIDDEN, "forbidden"),
    (StatusCode::TOO_MANY_REQUESTS, "too-many"),
];

/// `GET /metrics`.
pub(crate) fn serve(context: &Context) -> Response {
    let (counts, totals, summary, is_draining) = {
        let registry = context.registry();
        let totals = registry.totals().clone();
        (
            registry.counts(),
            totals,
            registry.summary(),
            registry.is_draining(),
        )
    };
    let mut page = Page::default();
    page.sessions(&counts, &totals, is_draining);
    page.quality(&totals, &summary);
    page.http(&context.counters, context);
    page.auth(context);
    page.cascade(context);
    page.shards(context);
    page.live777(&counts, &totals, context.cascades.len());
    full(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        page.text,
    )
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {value}")
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.value(name, "", value);
    }

    fn auth(&mut self, context: &Context) {
        let (keys, revocations) = context.guard.counts();
        let name = "whitewater_auth_keys";
        self.one(name, "gauge", "Keys of JSON Web Tokens.", keys);
        let name = "whitewater_auth_jwks_fetches_total";
        self.head(name, "counter", "Fetches of auth.jwks_url.");
        let [succeeded, failed] = context.guard.fetch_counts();
        self.value(name, "outcome=\"succeeded\"", succeeded);
        self.value(name, "outcome=\"failed\"", failed);
        let name = "whitewater_auth_revocations";
        self.one(name, "gauge", "Revocations in force.", revocations);
    }

    fn cascade(&mut self, context: &Context) {
        let name = "whitewater_cascade_links";
        self.head(
            name,
            "gauge",
            "Streams that come from other servers (pull) or go there (push).",
        );
        for (direction, count) in context.cascades.counts() {
            self.value(
                name,
                &format!("direction=\"{}\"", direction.as_str()),
                count,
            );
        }
        let name = "whitewater_cascade_attempts_total";
        self.head(
            name,
            "counter",
            "Attempts to bring a session with another server about.",
        );
        for (outcome, count) in context.cascades.attempts() {
            self.value(name, &format!("outcome=\"{outcome}\""), count);
        }
    }

    fn sessions(&mut self, counts: &Counts, totals: &Totals, is_draining: bool) {
        self.one(
            "whitewater_streams",
            "gauge",
            "Streams now.",
            counts.streams,
        );
        let name = "whitewater_sessions";
        self.head(name, "gauge", "Sessions now.");
        self.value(name, "side=\"publish\"", counts.publishers);
        self.value(name, "side=\"subscribe\"", counts.viewers);
        let name = "whitewater_draining";
        let help = "Whether new sessions are refused because the server drains.";
        self.one(name, "gauge", help, u8::from(is_draining));
        let name = "whitewater_sessions_pending";
        self.one(name, "gauge", "Sessions being negotiated.", counts.pending);
        let name = "whitewater_sessions_unconnected";
        self.one(
            name,
            "gauge",
            "Sessions that never were connected.",
            counts.unconnected,
        );
        let name = "whitewater_sessions_closing";
        self.one(name, "gauge", "Sessions being closed.", counts.closing);
        let name = "whitewater_sessions_opened_total";
        self.head(name, "counter", "Sessions answered.");
        let [publishers, viewers] = totals.opened;
        self.value(name, "side=\"publish\"", publishers);
        self.value(name, "side=\"subscribe\"", viewers);
        let name = "whitewater_sessions_ended_total";
        self.head(name, "counter", "Sessions ended.");
        for (reason, count) in &totals.ended {
            self.value(name, &format!("reason=\"{reason}\""), count);
        }
        let name = "whitewater_publish_takeovers_total";
        self.one(
            name,
            "counter",
            "Publishers that replaced another.",
            totals.takeovers,
        );
        self.directions("whitewater_rtp_bytes_total", "RTP bytes.", totals, |t| {
            t.bytes
        });
        self.directions(
            "whitewater_rtp_packets_total",
            "RTP packets.",
            totals,
            |t| t.packets,
        );
    }

    fn directions(
        &mut self,
        name: &str,
        help: &str,
        totals: &Totals,
        count: impl Fn(&Traffic) -> u64,
    ) {
        self.head(name, "counter", help);
        self.value(name, "direction=\"in\"", count(&totals.rtp_in));
        self.value(name, "direction=\"out\"", count(&totals.rtp_out));
    }

    fn http(&mut self, counters: &HttpCounters, context: &Context) {
        let name = "whitewater_http_responses_total";
        self.head(name, "counter", "Answers by class of status.");
        for (class, counter) in counters.answers.iter().enumerate().skip(2) {
            let labels = format!("status=\"{class}xx\"");
            self.value(name, &labels, counter.load(Ordering::Relaxed));
        }
        let name = "whitewater_http_refusals_total";
        self.head(name, "counter", "Requests that were not let in.");
        for ((_, reason), counter) in REFUSALS.iter().zip(&counters.refusals) {
            let labels = format!("reason=\"{reason}\"");
            self.value(name, &labels, counter.load(Ordering::Relaxed));
        }
        let connections = counters.connections.load(Ordering::Relaxed);
        let name = "whitewater_http_connections_total";
        self.one(name, "counter", "Connections accepted.", connections);
        let refused = counters.connections_refused.load(Ordering::Relaxed);
        let name = "whitewater_http_connections_refused_total";
        let help = "Connections closed because their source has too many.";
        self.one(name, "counter", help, refused);
        for (name, help, results, counts) in [
            (
                "whitewater_tls_handshakes_total",
                "TLS handshakes.",
                ["done", "failed"],
                &counters.handshakes,
            ),
            (
                "whitewater_tls_certificate_changes_total",
                "Changed certificate files.",
                ["taken", "refused"],
                &counters.certificates,
            ),
        ] {
            self.head(name, "counter", help);
            for (result, count) in results.iter().zip(counts) {
                let labels = format!("result=\"{result}\"");
                self.value(name, &labels, count.load(Ordering::Relaxed));
            }
        }
        let listening = context
            .config
            .limits
            .sse_clients_max
            .saturating_sub(context.sse_clients.available_permits());
        let name = "whitewater_sse_clients";
        self.one(
            name,
            "gauge",
            "Clients of the stream list's events.",
            listening,
        );
        let renderings = counters.renderings.load(Ordering::Relaxed);
        let name = "whitewater_stream_list_renderings_total";
        self.one(
            name,
            "counter",
            "Times the stream list was rendered.",
            renderings,
        );
    }

    fn shards(&mut self, context: &Context) {
        let shards = context.line.shards();
        for (name, kind, help, read) in SHARD_METRICS {
            self.head(name, kind, help);
            for (index, shard) in shards.iter().enumerate() {
                if let Some(shard) = shard {
                    self.value(name, &format!("shard=\"{index}\""), read(&shard.run));
                }
            }
        }
        let name = "whitewater_shard_drops_total";
        self.head(name, "counter", "Packets dropped, by reason.");
        for (index, shard) in shards.iter().enumerate() {
            for (reason, count) in shard.iter().flat_map(|shard| &shard.drops) {
                let labels = format!("shard=\"{index}\",reason=\"{reason}\"");
                self.value(name, &labels, count);
            }
        }
        let name = "whitewater_shard_info";
        self.head(name, "gauge", "The shard's back end.");
        for (index, shard) in shards.iter().enumerate() {
            if let Some(shard) = shard {
                let (backend, gso) = (shard.run.backend, shard.run.gso);
                let labels = format!("shard=\"{index}\",backend=\"{backend}\",gso=\"{gso}\"");
                self.value(name, &labels, 1);
            }
        }
    }

    /// Under the names Live777's dashboards know.
    fn live777(&mut self, counts: &Counts, totals: &Totals, links: usize) {
        self.one("live777_stream", "gauge", "Streams now.", counts.streams);
        self.one(
            "live777_publish",
            "gauge",
            "Publishers now.",
            counts.publishers,
        );
        self.one("live777_subscribe", "gauge", "Viewers now.", counts.viewers);
        self.one(
            "live777_reforward",
            "gauge",
            "Sessions between nodes now.",
            links,
        );
        self.directions("live777_rtp_bytes_total", "RTP bytes.", totals, |t| t.bytes);
    }
}

type ShardMetric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&LoopReport) -> u64,
);

const SHARD_METRICS: &[ShardMetric] = &[
    (
        "whitewater_shard_turns_total",
        "counter",
        "Loop turns.",
        |run| run.turns,
    ),
    (
        "whitewater_udp_received_packets_total",
        "counter",
        "Datagrams received.",
        |run| run.received.packets,
    ),
    (
        "whitewater_udp_received_bytes_total",
        "counter",
        "Their bytes.",
        |run| run.received.bytes,
    ),
    (
        "whitewater_udp_sent_packets_total",
        "counter",
        "Datagrams sent.",
        |run| run.sent.packets,
    ),
    (
        "whitewater_udp_sent_bytes_total",
        "counter",
        "Their bytes.",
        |run| run.sent.bytes,
    ),
    (
        "whitewater_udp_trains_total",
        "counter",
        "Send calls.",
        |run| run.trains,
    ),
    (
        "whitewater_udp_send_dropped_total",
        "counter",
        "Datagrams the kernel refused.",
        |run| run.send_dropped,
    ),
    (
        "whitewater_shard_steered_total",
        "counter",
        "Datagrams handed to another shard.",
        |run| run.steered,
    ),
    (
        "whitewater_data_received_total",
        "counter",
        "Messages from peers on data channels.",
        |run| run.data_received.packets,
    ),
    (
        "whitewater_data_received_bytes_total",
        "counter",
        "Their bytes.",
        |run| run.data_received.bytes,
    ),
    (
        "whitewater_data_sent_total",
        "counter",
        "Messages taken for peers on data channels, once for each of them.",
        |run| run.data_sent.packets,
    ),
    (
        "whitewater_data_sent_bytes_total",
        "counter",
        "Their bytes.",
        |run| run.data_sent.bytes,
    ),
    (
        "whitewater_tcp_connections",
        "gauge",
        "ICE TCP connections now.",
        |run| run.tcp_connections,
    ),
    (
        "whitewater_tcp_dropped_total",
        "counter",
        "Datagrams over TCP lost because the peer reads too slowly.",
        |run| run.tcp_dropped,
    ),
    (
        "whitewater_shard_relay_dropped_total",
        "counter",
        "Relay messages lost.",
        |run| run.relay_dropped,
    ),
    (
        "whitewater_shard_sessions",
        "gauge",
        "Sessions alive.",
        |run| run.sessions,
    ),
    (
        "whitewater_shard_panics_total",
        "counter",
        "Panics caught.",
        |run| run.panics,
    ),
];
