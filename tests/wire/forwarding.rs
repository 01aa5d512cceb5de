//! What a publisher sends reaches every viewer, on every back end.

use std::collections::BTreeSet;

use whitewater_net::probe_uring;

use crate::client::{Client, Wish};
use crate::http::metric;
use crate::node::{Running, eventually, eventually_or};

#[test]
fn media_arrives_whole_over_io_uring() {
    if let Err(reason) = probe_uring() {
        return eprintln!("skipped: {reason}");
    }
    every_setting("uring");
}

#[test]
fn media_arrives_whole_over_mmsg() {
    every_setting("mmsg");
}

#[test]
fn media_arrives_whole_over_tokio_uring() {
    if let Err(reason) = probe_uring() {
        return eprintln!("skipped: {reason}");
    }
    every_setting("tokio-uring");
}

#[test]
fn viewers_on_every_shard_watch_a_publisher_on_one() {
    let node = Running::start(&[("media.shards", "2")]);
    let publisher = Client::start(node.http, "cam", Wish::publish());
    let viewers: Vec<Client> = (0..16)
        .map(|_| Client::start(node.http, "cam", Wish::watch()))
        .collect();
    for shard in [0, 1] {
        let count = viewers
            .iter()
            .filter(|viewer| viewer.shard() == shard)
            .count();
        assert!(count >= 4, "{count} of 16 viewers are on shard {shard}");
        assert!(publisher.shard() <= 1);
    }
    for viewer in &viewers {
        watched(viewer, FRAMES);
    }
    let sessions = |shard: &str| metric(node.http, "whitewater_shard_sessions", shard);
    let reported = || [sessions("shard=\"0\""), sessions("shard=\"1\"")];
    eventually_or(
        "both shards report their sessions",
        || reported().iter().sum::<f64>() == 17.0 && reported().iter().all(|count| *count >= 4.0),
        || format!("{:?}", reported()),
    );
    assert_eq!(metric(node.http, "whitewater_shard_panics_total", ""), 0.0);
}

/// The kernel spreads peers over the shards' sockets without knowing where their sessions are:
/// with two shards, half of the peers reach the wrong one.
#[test]
fn packets_that_arrive_at_the_wrong_shard_still_reach_their_session() {
    let node = Running::start(&[("media.shards", "2")]);
    let streams = ["a", "b", "c", "d", "e", "f"];
    let start = |stream: &&str, wish: fn() -> Wish| Client::start(node.http, stream, wish());
    let publishers: Vec<Client> = streams.iter().map(|s| start(s, Wish::publish)).collect();
    let viewers: Vec<Client> = streams.iter().map(|s| start(s, Wish::watch)).collect();
    for viewer in &viewers {
        watched(viewer, FRAMES);
    }
    // That none of 12 peers was at the wrong socket has a chance of 1 to 4096.
    let steered = || metric(node.http, "whitewater_shard_steered_total", "");
    eventually_or(
        "datagrams were handed over",
        || steered() > f64::from(FRAMES),
        || format!("{} datagrams", steered()),
    );
    assert_eq!(
        metric(node.http, "whitewater_shard_relay_dropped_total", ""),
        0.0
    );
    drop(publishers);
}

/// A publisher that arrives at the wrong shard does so for a moment only.
#[test]
fn the_kernel_learns_where_a_publishers_datagrams_belong() {
    let node = Running::start(&[("media.shards", "2")]);
    let streams = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let publish = |stream: &&str| Client::start(node.http, stream, Wish::publish());
    let publishers: Vec<Client> = streams.iter().map(publish).collect();
    let steered = || metric(node.http, "whitewater_shard_steered_total", "");
    let received = || metric(node.http, "whitewater_udp_received_packets_total", "");
    // Reports are made once a second. That all eight were right by chance is one in 256, and
    // then nothing is steered from the start.
    let (mut steered_before, mut received_before) = (steered(), received());
    let mut share = 1.0;
    let settled = || {
        let (steered, received) = (steered(), received());
        if received - received_before > 1500.0 {
            share = (steered - steered_before) / (received - received_before);
            (steered_before, received_before) = (steered, received);
        }
        share < 0.01
    };
    eventually("hardly any datagram is handed over any more", settled);
    let viewer = Client::start(node.http, "a", Wish::watch());
    watched(&viewer, FRAMES);
    drop(publishers);
}

/// The answers name the port of the shard that has the session, so nothing arrives elsewhere.
#[test]
fn with_a_port_for_each_shard_nothing_is_handed_over() {
    let node = Running::start(&[("media.shards", "2"), ("media.ports_per_core", "true")]);
    let streams = ["a", "b", "c", "d"];
    let start = |stream: &&str, wish: fn() -> Wish| Client::start(node.http, stream, wish());
    let publishers: Vec<Client> = streams.iter().map(|s| start(s, Wish::publish)).collect();
    let viewers: Vec<Client> = streams.iter().map(|s| start(s, Wish::watch)).collect();
    for viewer in &viewers {
        watched(viewer, FRAMES);
    }
    let ports = |shard: u16| -> BTreeSet<u16> {
        let clients = publishers.iter().chain(&viewers);
        let there = clients.filter(|client| client.shard() == shard);
        there.flat_map(Client::ports_offered).collect()
    };
    let (first, second) = (ports(0), ports(1));
    assert_eq!((first.len(), second.len()), (1, 1), "{first:?} {second:?}");
    assert!(first.is_disjoint(&second));
    let handed_over = metric(node.http, "whitewater_shard_steered_total", "");
    assert_eq!(handed_over, 0.0);
}

#[test]
fn sessions_that_left_leave_nothing_behind() {
    let node = Running::start(&[("media.shards", "2")]);
    let publisher = Client::start(node.http, "cam", Wish::publish());
    let viewers: Vec<Client> = (0..4)
        .map(|_| Client::start(node.http, "cam", Wish::watch()))
        .collect();
    for viewer in &viewers {
        watched(viewer, 5);
    }
    for client in viewers.iter().chain([&publisher]) {
        assert_eq!(client.leave(), 204);
        eventually_or(
            "the peer is told",
            || client.seen().closed,
            || client.session.clone(),
        );
        assert_eq!(client.leave(), 404);
    }
    for name in [
        "whitewater_shard_sessions",
        "whitewater_sessions",
        "whitewater_streams",
    ] {
        eventually_or(
            "all is gone",
            || metric(node.http, name, "") == 0.0,
            || format!("{name} {}", metric(node.http, name, "")),
        );
    }
}

fn every_setting(backend: &str) {
    for shards in ["1", "2"] {
        for gso in ["true", "false"] {
            let node = Running::start(&[
                ("media.backend", backend),
                ("media.gso", gso),
                ("media.shards", shards),
            ]);
            let publisher = Client::start(node.http, "cam", Wish::publish());
            let viewers: Vec<Client> = (0..4)
                .map(|_| Client::start(node.http, "cam", Wish::watch()))
                .collect();
            for viewer in &viewers {
                watched(viewer, FRAMES);
            }
            let labels = format!("backend=\"{backend}\",gso=\"{gso}\"");
            eventually_or(
                "every shard runs as it was told",
                || metric(node.http, "whitewater_shard_info", &labels).to_string() == shards,
                || labels.clone(),
            );
            assert_eq!(publisher.seen().corrupt, 0);
        }
    }
}

/// Waits until a viewer has so many whole frames in a row, from a key frame on, and audio.
pub(crate) fn watched(viewer: &Client, frames: u32) {
    eventually_or(
        "the viewer has whole frames in a row",
        || viewer.seen().video.run() >= frames && viewer.seen().audio.len() >= frames as usize / 2,
        || format!("{} {:?}", viewer.session, viewer.seen()),
    );
    let seen = viewer.seen();
    let first = seen.video.first.expect("a packet");
    assert!(first.key && first.index == 0, "starts with {first:?}");
    assert_eq!(seen.corrupt, 0);
    assert_eq!(seen.video.duplicates, 0);
}

/// About a second.
const FRAMES: u32 = 30;
