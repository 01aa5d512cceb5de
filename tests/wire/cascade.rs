//! Nodes that take streams from each other and bring them to each other.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::format::Codec;

use crate::client::{Client, Wish};
use crate::forwarding::watched;
use crate::http::{Answer, metric, request};
use crate::node::{Process, Running, eventually, eventually_or};

#[test]
fn a_stream_is_pulled_watched_and_let_go() {
    let (origin, edge) = (node(&[]), node(&[("cascade.idle_timeout_s", "3")]));
    let publisher = Client::start(origin.http, "cam", Wish::publish());
    pull(edge.http, "copy", origin.http, "cam");
    let viewers: Vec<Client> = (0..3)
        .map(|_| Client::start(edge.http, "copy", Wish::watch()))
        .collect();
    for viewer in &viewers {
        watched(viewer, 60);
    }
    let pulled = &sessions(edge.http, "copy", "publish")[0];
    assert_eq!(pulled["state"], "connected");
    let there = sessions(origin.http, "cam", "subscribe");
    assert_eq!(there.len(), 1, "one copy for all viewers");
    let far_url = format!(
        "http://{}/session/cam/{}",
        origin.http,
        there[0]["id"].as_str().expect("an id")
    );
    assert_eq!(
        pulled["cascade"],
        json!({"sourceUrl": whep(origin.http, "cam"), "sessionUrl": far_url})
    );
    assert_eq!(publisher.seen().corrupt, 0);

    for viewer in &viewers {
        assert_eq!(viewer.leave(), 204);
    }
    eventually("the origin sends nothing there any more", || {
        sessions(origin.http, "cam", "subscribe").is_empty()
    });
    eventually("the edge keeps nothing of it", || {
        metric(edge.http, "whitewater_cascade_links", "") == 0.0
            && metric(edge.http, "whitewater_shard_sessions", "") == 0.0
    });
}

#[test]
fn a_stream_is_pushed_until_it_is_taken_back() {
    let (origin, edge) = (node(&[]), node(&[]));
    let publisher = Client::start(origin.http, "cam", Wish::publish());
    eventually("it publishes", || publisher.seen().connected);
    push(origin.http, "cam", edge.http, "copy");
    let viewer = Client::start(edge.http, "copy", Wish::watch());
    watched(&viewer, 60);
    let pushed = &sessions(origin.http, "cam", "subscribe")[0];
    assert_eq!(pushed["cascade"]["targetUrl"], whip(edge.http, "copy"));
    assert_eq!(
        cascade(
            origin.http,
            "cam",
            &json!({"targetUrl": whip(edge.http, "copy")})
        )
        .status,
        409
    );

    // By its URL, like any session.
    let id = pushed["id"].as_str().expect("an id");
    let deleted = request(origin.http, "DELETE", &format!("/session/cam/{id}"), None);
    assert_eq!(deleted.expect("an answer").status, 204);
    eventually("the edge has no publisher any more", || {
        sessions(edge.http, "copy", "publish").is_empty()
    });
    assert!(!publisher.seen().closed);
}

/// All sessions of two nodes with each other would have the same two addresses, were it not for
/// sockets of their own.
#[test]
fn many_streams_between_the_same_two_nodes_are_kept_apart() {
    let origin = node(&[("media.shards", "2")]);
    let edge = node(&[("media.shards", "2")]);
    let names = ["a", "b", "c", "d"];
    let publishers: Vec<Client> = names
        .iter()
        .map(|name| Client::start(origin.http, name, Wish::publish()))
        .collect();
    for name in names {
        pull(edge.http, name, origin.http, name);
    }
    for publisher in &publishers {
        eventually("it publishes", || publisher.seen().connected);
    }
    push(origin.http, "a", edge.http, "pushed");
    let watch = |name: &&str| Client::start(edge.http, name, Wish::watch());
    let viewers: Vec<Client> = names.iter().chain([&"pushed"]).map(watch).collect();
    for viewer in &viewers {
        watched(viewer, 30);
    }
    assert_eq!(metric(edge.http, "whitewater_shard_panics_total", ""), 0.0);
}

#[test]
fn a_stream_travels_over_three_nodes_and_never_back() {
    let (first, second, third) = (node(&[]), node(&[]), node(&[]));
    let publisher = Client::start(first.http, "cam", Wish::publish());
    pull(second.http, "cam", first.http, "cam");
    pull(third.http, "cam", second.http, "cam");
    let viewer = Client::start(third.http, "cam", Wish::watch());
    watched(&viewer, 60);

    // The publisher goes; now its node could take the stream from where it has brought it.
    assert_eq!(publisher.leave(), 204);
    for from in [&second, &third] {
        let began = Instant::now();
        let answer = cascade(
            first.http,
            "cam",
            &json!({"sourceUrl": whep(from.http, "cam")}),
        );
        assert_eq!(answer.status, 508, "{}", answer.body);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    let itself = cascade(
        first.http,
        "cam",
        &json!({"sourceUrl": whep(first.http, "cam")}),
    );
    assert_eq!(itself.status, 508, "{}", itself.body);
}

#[test]
fn a_node_that_was_killed_and_started_again_is_found_again() {
    let first = Process::serving(&[]);
    let http = first.http();
    let edge = node(&[]);
    let publisher = Client::start(http, "cam", Wish::publish());
    pull(edge.http, "copy", http, "cam");
    let viewer = Client::start(edge.http, "copy", Wish::watch());
    watched(&viewer, 30);
    let session = |http| {
        let sessions = sessions(http, "copy", "publish");
        sessions.first().map(|session| session["id"].clone())
    };
    let before = session(edge.http).expect("it is pulled");
    // Not a word is said.
    drop(first);
    drop(publisher);
    let second = Process::start(&["--listen", &http.to_string(), "--udp", "127.0.0.1:0"]);
    second.wait_for("back end ");
    let publisher = Client::start(http, "cam", Wish::publish());
    let seen = viewer.seen().video.packets;
    eventually_or(
        "the stream is taken anew",
        || session(edge.http).is_some_and(|now| now != before),
        || format!("{:?}", session(edge.http)),
    );
    eventually("the viewer, who has stayed, sees on", || {
        viewer.seen().video.packets > seen + 60
    });
    assert!(!viewer.seen().closed);
    assert_eq!((viewer.seen().corrupt, publisher.seen().corrupt), (0, 0));
}

/// draft-ietf-wish-whep §4.3.2, as the client: the codec is one that no offer of ours names.
#[test]
fn a_stream_that_no_offer_of_ours_can_carry_is_taken_by_a_counter_offer() {
    let (origin, edge) = (node(&[]), node(&[]));
    // High 4:4:4 Predictive.
    let odd = |wish: Wish| {
        let wish = wish.without_audio().with_video(&[(Codec::H264, 102)]);
        wish.with_h264_profile(0x00f4_001f)
    };
    let publisher = Client::start(origin.http, "cam", odd(Wish::publish()));
    eventually("it publishes", || publisher.seen().next_frame > 10);
    pull(edge.http, "copy", origin.http, "cam");
    let viewer = Client::start(edge.http, "copy", odd(Wish::watch()));
    eventually("it sees", || viewer.seen().video.packets > 60);
    assert_eq!((viewer.seen().corrupt, publisher.seen().corrupt), (0, 0));
    let pulled = &sessions(edge.http, "copy", "publish")[0];
    assert_eq!(pulled["state"], "connected");
    assert_eq!(sessions(origin.http, "cam", "subscribe").len(), 1);
}

#[test]
fn nothing_inside_is_called_unless_it_is_named() {
    let node = Running::start(&[]);
    for url in [
        whep(node.http, "cam"),
        "http://localhost:1/whep/cam".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[::1]:1/whep/cam".to_owned(),
    ] {
        let answer = cascade(node.http, "copy", &json!({"sourceUrl": url}));
        assert_eq!(answer.status, 422, "{url}: {}", answer.body);
    }
    let named = Running::start(&[("cascade.allow", "localhost")]);
    let url = format!("http://localhost:{}/whep/cam", node.http.port());
    let publisher = Client::start(node.http, "cam", Wish::publish());
    eventually("it publishes", || publisher.seen().connected);
    let answer = cascade(named.http, "copy", &json!({"sourceUrl": url}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    watched(&Client::start(named.http, "copy", Wish::watch()), 30);
}

/// IPv6 and IPv4 in one socket, as `media.udp = "[::]:…"` has it.
#[test]
fn a_node_with_both_families_is_a_client_of_either() {
    let both = |port: &str| {
        let settings = [
            ("http.listen", port),
            ("media.udp", "[::]:0"),
            ("cascade.allow", "127.0.0.1,::1"),
        ];
        Running::start(&settings)
    };
    let origin = node(&[]);
    let (edge, further) = (both("127.0.0.1:0"), both("[::1]:0"));
    let publisher = Client::start(origin.http, "cam", Wish::publish());
    eventually("it publishes", || publisher.seen().connected);
    // By IPv4, then on by IPv6.
    pull(edge.http, "cam", origin.http, "cam");
    push_when_live(edge.http, "cam", further.http, "cam");
    let six = Wish::watch().at_ip(Ipv6Addr::LOCALHOST.into());
    watched(&Client::start(further.http, "cam", six), 30);
}

#[test]
fn what_a_link_had_open_is_closed_when_it_is_over() {
    let origin = node(&[]);
    let publisher = Client::start(origin.http, "cam", Wish::publish());
    eventually("it publishes", || publisher.seen().connected);
    let edge = Process::serving(&["--set", "cascade.allow=127.0.0.1"]);
    let open = || {
        let folder = format!("/proc/{}/fd", edge.id());
        std::fs::read_dir(folder).expect("it runs").count()
    };
    let once = || {
        pull(edge.http(), "cam", origin.http, "cam");
        let deleted = request(edge.http(), "DELETE", "/api/streams/cam", None);
        assert_eq!(deleted.expect("an answer").status, 204);
        // Refused there, so that only the offer was made.
        let wish = json!({"sourceUrl": format!("http://{}/nothing", origin.http)});
        assert_eq!(cascade(edge.http(), "none", &wish).status, 502);
        eventually("the link is over", || {
            metric(edge.http(), "whitewater_cascade_links", "") == 0.0
        });
    };
    once();
    let before = open();
    (0..20).for_each(|_| once());
    eventually_or(
        "no more is open than before",
        || open() <= before + 2,
        || format!("{} after {before}", open()),
    );
    eventually("nor is there a session", || {
        metric(edge.http(), "whitewater_shard_sessions", "") == 0.0
            && sessions(origin.http, "cam", "subscribe").is_empty()
    });
}

/// As [`push`], once the stream is there.
fn push_when_live(http: SocketAddr, stream: &str, to: SocketAddr, name: &str) {
    let wish = json!({"targetUrl": whip(to, name)});
    eventually("it is pushed", || {
        cascade(http, stream, &wish).status == 200
    });
}

/// A node that may call its neighbours on this machine.
pub(crate) fn node(settings: &[(&str, &str)]) -> Running {
    Running::start(&[&[("cascade.allow", "127.0.0.1")], settings].concat())
}

fn whep(http: SocketAddr, stream: &str) -> String {
    format!("http://{http}/whep/{stream}")
}

fn whip(http: SocketAddr, stream: &str) -> String {
    format!("http://{http}/whip/{stream}")
}

/// Has `stream` come from another node.
pub(crate) fn pull(http: SocketAddr, stream: &str, from: SocketAddr, name: &str) {
    let answer = cascade(http, stream, &json!({"sourceUrl": whep(from, name)}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Has `stream` go to another node.
fn push(http: SocketAddr, stream: &str, to: SocketAddr, name: &str) {
    let answer = cascade(http, stream, &json!({"targetUrl": whip(to, name)}));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn cascade(http: SocketAddr, stream: &str, wish: &Value) -> Answer {
    let body = wish.to_string();
    let path = format!("/api/cascade/{stream}");
    request(http, "POST", &path, Some(("application/json", &body))).expect("an answer")
}

/// The sessions of one side of a stream.
pub(crate) fn sessions(http: SocketAddr, stream: &str, side: &str) -> Vec<Value> {
    let answer = request(http, "GET", &format!("/api/streams/{stream}"), None);
    let answer = answer.expect("an answer");
    if answer.status == 404 {
        return Vec::new();
    }
    let stream: Value = serde_json::from_str(&answer.body).expect("JSON");
    stream[side]["sessions"].as_array().expect("a list").clone()
}
