//! HTTP under siege while media flows.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::client::{Client, Wish, offer_text};
use crate::forwarding::watched;
use crate::http::metric;
use crate::node::{Process, eventually_or};

#[test]
fn floods_of_requests_cost_no_viewer_a_frame_and_keep_nobody_else_out() {
    let process = Process::serving_with(
        &[("WHITEWATER_AUTH_TOKENS", "of-the-house,of-the-flood")],
        &[
            "--shards",
            "2",
            "--set",
            "auth.token_in_url=true",
            "--set",
            "limits.half_open_timeout_s=5",
            "--set",
            "limits.source_half_open_max=20",
            "--set",
            "limits.source_requests_per_second=50",
            "--set",
            "limits.source_requests_burst=100",
            "--set",
            "http.source_connections_max=200",
            "--set",
            "http.header_timeout_s=2",
        ],
    );
    let http = process.http();
    let stream = "cam?token=of-the-house";
    let publisher = Client::start(http, stream, Wish::publish());
    let viewers = [0, 1].map(|_| Client::start(http, stream, Wish::watch()));
    for viewer in &viewers {
        watched(viewer, 10);
    }
    let memory_before = process.memory_kib();
    let frames_before = publisher.seen().next_frame;

    let offer = offer_text(&Wish::watch());
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let (strangers, guests, slow, joined) = std::thread::scope(|scope| {
        let is_over = &is_over;
        let offer = offer.as_str();
        // Each from an address of its own.
        let strangers = scope.spawn(move || flood(http, 2, "nobody's", offer, is_over));
        let guests = scope.spawn(move || flood(http, 3, "of-the-flood", offer, is_over));
        let slow = scope.spawn(move || slow_loris(http, 4, is_over));
        std::thread::sleep(Duration::from_secs(1));
        let mut joined = Vec::new();
        for _ in 0..4 {
            joined.push(Client::start(http, stream, Wish::watch()));
            std::thread::sleep(Duration::from_millis(500));
        }
        for viewer in &joined {
            watched(viewer, 10);
        }
        is_over.store(true, Ordering::Relaxed);
        let done = "no panic";
        (
            strangers.join().expect(done),
            guests.join().expect(done),
            slow.join().expect(done),
            joined,
        )
    });

    // Those without a token hear 401 and nothing else.
    assert_eq!(strangers.keys().collect::<Vec<_>>(), [&401]);
    assert!(strangers[&401] > 100, "{strangers:?}");
    // Who has one is let in as often as a source may have sessions that never connect.
    assert!(
        guests.keys().all(|status| [201, 429].contains(status)),
        "{guests:?}"
    );
    let made = guests.get(&201).copied().unwrap_or_default();
    let turns = began.elapsed().as_secs() as u32 / 5 + 2;
    assert!((1..=20 * turns).contains(&made), "{guests:?}");
    assert!(
        guests.get(&429).is_some_and(|count| *count > made),
        "{guests:?}"
    );
    assert!(slow > 200, "{slow} connections");

    // What was published meanwhile arrives whole.
    let published = publisher.seen().next_frame;
    assert!(published > frames_before);
    for viewer in viewers.iter().chain(&joined) {
        let first = viewer.seen().video.first.expect("a packet").frame;
        watched(viewer, published.saturating_sub(first) + 10);
        assert!(!viewer.seen().closed);
    }
    assert!(!publisher.seen().closed);
    // What the flood made is freed, and hardly anything of it is kept.
    eventually_or(
        "sessions that never connected are freed",
        || metric(http, "whitewater_sessions_unconnected", "") == 0.0,
        || format!("{}", metric(http, "whitewater_sessions_unconnected", "")),
    );
    assert_eq!(metric(http, "whitewater_sessions", ""), 7.0);
    let grown = process.memory_kib().saturating_sub(memory_before);
    assert!(grown < 64 * 1024, "{grown} KiB more memory");
}

/// POSTs until it is over; how often which status was the answer.
fn flood(
    http: SocketAddr,
    from: u8,
    token: &str,
    offer: &str,
    is_over: &AtomicBool,
) -> BTreeMap<u16, u32> {
    let mut statuses = BTreeMap::new();
    let request = format!(
        "POST /whep/cam HTTP/1.1\r\nHost: {http}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/sdp\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{offer}",
        offer.len()
    );
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = connect(http, from);
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.get(9..12).and_then(|text| text.parse().ok());
        *statuses.entry(status.unwrap_or(0)).or_default() += 1;
        // Paced, so that it is the node that is tried and not the machine.
        std::thread::sleep(Duration::from_millis(2));
    }
    statuses
}

/// Holds as many connections as it is let have, each with half a head; how many there were in all.
fn slow_loris(http: SocketAddr, from: u8, is_over: &AtomicBool) -> usize {
    let mut held: Vec<(Instant, TcpStream)> = Vec::new();
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        held.retain(|(since, _)| since.elapsed() < Duration::from_secs(2));
        if held.len() < 400 {
            let mut stream = connect(http, from);
            // Beyond the cap it may be closed already.
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n");
            held.push((Instant::now(), stream));
            count += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    count
}

/// From 127.0.0.`from`.
fn connect(http: SocketAddr, from: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, from));
    let address = SocketAddr::new(address, 0);
    socket.bind(&address.into()).expect("loopback");
    socket.connect(&http.into()).expect("it listens");
    let stream: TcpStream = socket.into();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a timeout");
    stream
}
