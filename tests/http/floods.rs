//! Peers that cost much and say little: many connections, slow ones, ambiguous ones, HTTP/2 used
//! against itself. What is asked every time is whether others are still served.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{raw, read_to_end};
use crate::world::{OFFER, World};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.at).await.expect("connect")
}

async fn begun(world: &World, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(world).await;
    stream.write_all(bytes).await.expect("write");
    stream
}

async fn is_open(stream: &mut TcpStream) -> bool {
    let mut part = [0; 64];
    let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut part));
    !matches!(read.await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_crowd_of_slow_connections_is_let_go_and_others_are_served_meanwhile() {
    let world = World::with(|config| {
        config.limits.header_timeout = Duration::from_millis(1500);
        config.limits.body_timeout = Duration::from_millis(1500);
    })
    .await;
    let body = "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
                content-length: 1000\r\n\r\nv";
    let mut slow = Vec::new();
    for begin in [
        "",
        "GET /healthz HT",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n",
        body,
    ] {
        for _ in 0..125 {
            slow.push(begun(&world, begin.as_bytes()).await);
        }
    }
    let made = world.publish("others").await;
    world.delete(&made.location).await.expect(204);
    let began = Instant::now();
    let mut timed_out = 0;
    for mut stream in slow {
        let answer = read_to_end(&mut stream).await;
        assert!(!answer.contains("HTTP/1.1 2"), "{answer}");
        timed_out += usize::from(answer.starts_with("HTTP/1.1 408"));
    }
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "all within the limits"
    );
    assert_eq!(timed_out, 125, "those that sent a head hear why");
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn connections_of_one_source_are_capped_and_proxies_are_not() {
    let world = World::with(|config| config.limits.source_connections_max = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = begun(&world, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        stream.read_exact(&mut [0; 12]).await.expect("an answer");
        held.push(stream);
    }
    assert_eq!(read_to_end(&mut connect(&world).await).await, "");
    // From another source there is room.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 9], 0).into()).expect("loopback");
    let mut other = socket.connect(world.at).await.expect("connect");
    other
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .expect("write");
    let metrics = read_to_end(&mut other).await;
    assert!(
        metrics.contains("whitewater_http_connections_refused_total 1\n"),
        "{metrics}"
    );
    held.pop();
    world
        .until("the place is free", async || {
            is_open(&mut connect(&world).await).await
        })
        .await;

    let world = World::with(|config| {
        config.limits.source_connections_max = 3;
        config.trusted_proxies = vec![whitewater_control::Network {
            address: [127, 0, 0, 1].into(),
            prefix_len: 32,
        }];
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(connect(&world).await);
    }
    world.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn event_clients_of_one_source_are_capped() {
    let world = World::with(|config| {
        config.limits.source_sse_clients_max = 2;
        config.trusted_proxies = vec![whitewater_control::Network {
            address: [127, 0, 0, 1].into(),
            prefix_len: 32,
        }];
    })
    .await;
    let listen = async |from: &str| {
        let request = format!(
            "GET /api/sse/streams HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {from}\r\n\r\n"
        );
        let mut stream = begun(&world, request.as_bytes()).await;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        (String::from_utf8_lossy(&status).into_owned(), stream)
    };
    let first = listen("203.0.113.1").await;
    let second = listen("203.0.113.1").await;
    assert_eq!([first.0.as_str(), second.0.as_str()], ["HTTP/1.1 200"; 2]);
    assert_eq!(listen("203.0.113.1").await.0, "HTTP/1.1 503");
    let other = listen("203.0.113.2").await;
    assert_eq!(other.0, "HTTP/1.1 200");
    drop(second);
    world
        .until("the place is free", async || {
            listen("203.0.113.1").await.0.ends_with("200")
        })
        .await;
}

#[tokio::test]
async fn event_streams_of_viewers_count_for_their_source_too() {
    let world = World::with(|config| config.limits.source_event_streams_max = 2).await;
    let viewer = world.watch("a").await;
    let mut urls = Vec::new();
    for _ in 0..3 {
        urls.push(crate::events::subscribe(&world, &viewer, "[]").await);
    }
    let listen = async |url: &str| {
        let request = format!("GET {url} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut stream = begun(&world, request.as_bytes()).await;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        (String::from_utf8_lossy(&status).into_owned(), stream)
    };
    let first = listen(&urls[0]).await;
    let second = listen(&urls[1]).await;
    assert_eq!([first.0.as_str(), second.0.as_str()], ["HTTP/1.1 200"; 2]);
    let refused = world.get(&urls[2]).await;
    assert!(refused.problem(503).contains("event streams"));
    assert!(refused.has("retry-after"));
    // The list's are of the same number.
    assert_eq!(listen("/api/sse/streams").await.0, "HTTP/1.1 503");
    drop(second);
    world
        .until("the place is free", async || {
            listen(&urls[2]).await.0.ends_with("200")
        })
        .await;
    drop(first);
}

#[tokio::test]
async fn who_never_reads_an_answer_is_let_go() {
    let world = World::with(|config| {
        config.limits.write_timeout = Duration::from_millis(300);
        config.limits.source_connections_max = 1;
    })
    .await;
    // More answers than the buffers between us hold.
    let requests = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    let mut greedy = connect(&world).await;
    let mut asked = 0;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let writing = greedy.write_all(&requests);
        match tokio::time::timeout(Duration::from_secs(1), writing).await {
            // It is full both ways.
            Err(_) => {}
            Ok(Ok(())) => asked += 100,
            Ok(Err(_)) => break,
        }
        assert!(
            Instant::now() < end,
            "after {asked} requests it is still there"
        );
    }
    // The only place is free again.
    world.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn http_2_without_requests_is_let_go_in_order() {
    let world = World::with(|config| {
        config.limits.header_timeout = Duration::from_millis(500);
        config.limits.idle_timeout = Duration::from_millis(500);
    })
    .await;
    // SETTINGS, its acknowledgement and a PING are no request.
    let mut hello = PREFACE.to_vec();
    hello.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    hello.extend([0, 0, 8, 6, 0, 0, 0, 0, 0]);
    hello.extend([7; 8]);
    let mut idle = begun(&world, &hello).await;
    read_to_end(&mut idle).await;
    // One request, then nothing.
    hello.extend(headers_frame(1, 5, &GET_HEALTHZ));
    let mut idle = begun(&world, &hello).await;
    let began = Instant::now();
    let frames = read_frames(&mut idle).await;
    assert!(frames.contains(&HEADERS), "the answer: {frames:?}");
    assert!(frames.contains(&GOAWAY), "told before: {frames:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_continuation_flood_ends_the_connection_and_nothing_else() {
    let world = World::new().await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // A header block that never ends: a literal without indexing, x: yyyy….
    let mut field = vec![0x00, 0x01, b'x', 0x7f, 0xa1, 0x1e];
    field.extend(vec![b'y'; 4000]);
    bytes.extend(headers_frame(1, 1, &field));
    let mut stream = begun(&world, &bytes).await;
    let continuation = frame(9, 0, 1, &field);
    let mut sent = 0_usize;
    // 400 MB, were they taken.
    while sent < 100_000 && stream.write_all(&continuation).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 50_000, "{sent} frames were taken");
    read_frames(&mut stream).await;
    world.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn http_2_heads_above_the_limit_are_refused() {
    let world = World::new().await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let mut field = vec![0x00, 0x01, b'x', 0x7f, 0xa1, 0x1e];
    field.extend(vec![b'y'; 4000]);
    let mut first = GET_HEALTHZ.to_vec();
    first.extend(&field);
    bytes.extend(headers_frame(1, 1, &first));
    for _ in 0..10 {
        bytes.extend(frame(9, 0, 1, &field));
    }
    bytes.extend(frame(9, 4, 1, &field));
    let mut stream = begun(&world, &bytes).await;
    let mut answer = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        // ":status 431" is no entry of the static table: it is spelled out, or the stream is reset.
        while let Ok(size) = stream.read(&mut part).await
            && size > 0
        {
            answer.extend_from_slice(&part[..size]);
            let kinds = kinds(&answer);
            if [HEADERS, RST_STREAM, GOAWAY]
                .iter()
                .any(|kind| kinds.contains(kind))
            {
                break;
            }
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert!(within.is_ok(), "no word of it");
    // 0x88 is ":status 200".
    let ok = answer.windows(10).any(|w| w[3] == HEADERS && w[9] == 0x88);
    assert!(!ok, "it was served");
    world.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn floods_of_settings_and_pings_keep_nobody_from_being_served() {
    // The flood and its server share a thread, which a busy machine may stop for a while.
    let world = World::with(|config| {
        config.limits.header_timeout = Duration::from_secs(60);
    })
    .await;
    let settings = frame(4, 0, 0, &[]);
    let ping = frame(6, 0, 0, &[7; 8]);
    for flood in [settings, ping] {
        let mut bytes = PREFACE.to_vec();
        bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let mut stream = begun(&world, &bytes).await;
        let flood = flood.repeat(1000);
        // The answers are never read; 50 000 of them do not fit anywhere.
        for _ in 0..50 {
            let writing = stream.write_all(&flood);
            match tokio::time::timeout(Duration::from_millis(200), writing).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break,
            }
        }
        world.get("/healthz").await.expect(200);
    }
}

#[tokio::test]
async fn what_two_readers_could_read_differently_is_refused_and_ends_the_connection() {
    let world = World::new().await;
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\nx: smuggled\r\n\r\n";
    // RFC 9112 §2.2, §5.1, §5.2, §6.1, §6.3, §7.1, §11.2.
    for (what, head) in [
        ("two lengths", "content-length: 5\r\ncontent-length: 6"),
        ("a list of lengths", "content-length: 5, 6"),
        ("a signed length", "content-length: +5"),
        ("a negative length", "content-length: -1"),
        ("a length in hexadecimal", "content-length: 0x5"),
        (
            "an endless length",
            "content-length: 99999999999999999999999",
        ),
        (
            "chunked is not last",
            "transfer-encoding: chunked, identity",
        ),
        ("an unknown coding", "transfer-encoding: xchunked"),
        ("a quoted coding", "transfer-encoding: \"chunked\""),
        ("a blank before the colon", "transfer-encoding : chunked"),
        ("a folded line", "transfer-encoding:\r\n chunked"),
        ("a folded length", "content-length:\r\n\t5"),
        ("a name with a blank", "content length: 5"),
        ("a carriage return in a value", "x: a\rcontent-length: 5"),
        ("a null in a value", "x: a\0b"),
    ] {
        let request = format!(
            "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n{head}\r\n\r\n\
             0\r\n\r\n{smuggled}"
        );
        let answer = raw(world.at, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
    for (what, body) in [
        ("a size that overflows", "ffffffffffffffffff\r\nx"),
        ("a size of nothing", "\r\n0\r\n\r\n"),
        ("a size with a sign", "-1\r\nx\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x1\r\nx\r\n0\r\n\r\n"),
        ("a chunk that is longer than said", "1\r\nxyz\r\n0\r\n\r\n"),
    ] {
        let request = format!(
            "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
             transfer-encoding: chunked\r\n\r\n{body}{smuggled}"
        );
        let answer = raw(world.at, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
        assert!(!answer.contains("200 OK"), "{what}: {answer}");
    }
    // RFC 9112 §7.1.1: extensions are skipped, but not for ever.
    let long = "x".repeat(64 * 1024);
    let request = format!(
        "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
         transfer-encoding: chunked\r\n\r\n1;{long}\r\nv\r\n0\r\n\r\n{smuggled}"
    );
    let answer = raw(world.at, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn with_length_and_chunked_at_once_only_the_chunks_count() {
    let world = World::new().await;
    // RFC 9112 §6.3: Transfer-Encoding overrides. Who goes by the length takes the end of the
    // chunks and the second request for the body.
    let request = format!(
        "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
         content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{OFFER}\r\n0\r\n\r\n\
         GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        OFFER.len()
    );
    let answer = raw(world.at, request.as_bytes()).await;
    let statuses: Vec<&str> = answer
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, _)| answer.get(at + 9..at + 12))
        .collect();
    // Refused, or read by its chunks and by nothing else.
    assert!(
        [&["400"][..], &["201"], &["201", "404"]].contains(&statuses.as_slice()),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn w_sec_1_one_source_cannot_take_all_places_of_sessions_that_have_not_connected() {
    let world = World::with(|config| {
        config.policy.source_half_open_max = 3;
        config.trusted_proxies = vec![whitewater_control::Network {
            address: [127, 0, 0, 1].into(),
            prefix_len: 32,
        }];
    })
    .await;
    let join = async |from: &str| {
        let headers = [
            ("x-forwarded-for", from),
            ("content-type", "application/sdp"),
        ];
        world.send("POST", "/whep/a", &headers, OFFER).await
    };
    for _ in 0..3 {
        join("203.0.113.1").await.expect(201);
    }
    let before = world.plane.seen(|seen| seen.negotiated.len());
    for _ in 0..5 {
        let reply = join("203.0.113.1").await;
        reply.problem(429);
        assert_eq!(reply.header("retry-after"), "5");
    }
    let after = world.plane.seen(|seen| seen.negotiated.len());
    assert_eq!(before, after, "before the media side heard of it");
    join("203.0.113.2").await.expect(201);
    let first = world.plane.seen(|seen| seen.negotiated[0].0);
    world
        .plane
        .state(first, whitewater_link::SessionState::Connected);
    world
        .until("a place is free", async || {
            join("203.0.113.1").await.status == 201
        })
        .await;
}

#[tokio::test]
async fn w_sec_1_many_sessions_of_one_source_make_room_for_the_first_of_another() {
    let world = World::with(|config| {
        config.policy.half_open_max = 4;
        config.trusted_proxies = vec![whitewater_control::Network {
            address: [127, 0, 0, 1].into(),
            prefix_len: 32,
        }];
    })
    .await;
    let join = async |from: &str| {
        let headers = [
            ("x-forwarded-for", from),
            ("content-type", "application/sdp"),
        ];
        world.send("POST", "/whep/a", &headers, OFFER).await
    };
    for _ in 0..4 {
        join("203.0.113.1").await.expect(201);
    }
    join("203.0.113.1").await.problem(503);
    join("203.0.113.2").await.expect(201);
    world
        .until("the oldest was ended", async || {
            let oldest = world.plane.seen(|seen| seen.negotiated[0].0);
            let closed = world.plane.seen(|seen| seen.closed.clone());
            closed == [(oldest, whitewater_link::CloseReason::NeverConnected)]
        })
        .await;
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// `:method GET`, `:scheme http`, `:path /healthz`, `:authority x` (RFC 7541 §6).
const GET_HEALTHZ: [u8; 15] = [
    0x82, 0x86, 0x44, 0x08, b'/', b'h', b'e', b'a', b'l', b't', b'h', b'z', 0x41, 0x01, b'x',
];

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn headers_frame(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

/// The kinds of the whole frames.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let size = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(after) = rest.get(size..) else {
            break;
        };
        kinds.push(*kind);
        bytes = after;
    }
    kinds
}

async fn read_frames(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        while let Ok(size) = stream.read(&mut part).await
            && size > 0
        {
            bytes.extend_from_slice(&part[..size]);
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(within.is_ok(), "the server did not hang up");
    kinds(&bytes)
}
