//! Connections that cost more than they say, and HTTP against itself.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::line::{Heard, Line, Tally, connect, flood, request, yield_to_others};
use super::scene::Scene;
use super::{address, scaled};

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_10_ten_thousand_slow_heads_from_one_address() {
    let scene = Scene::begin("half a head, held", None, &[]);
    let count = scaled(10_000);
    let (held, asked) = slow_loris(&scene, count, 1);
    // Others do not notice that this source has all of its places.
    assert!(asked < Duration::from_secs(2), "{asked:?}");
    assert!(
        scene.descriptors_max() < 1500,
        "{}",
        scene.descriptors_max()
    );
    assert!(held <= 1000, "{held} of one source");
    let answers = format!("{held} kept at a time, a stranger served within {asked:.1?}");
    scene.end("10,000 connections from one address", &answers);
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_10_ten_thousand_slow_heads_from_twenty_addresses() {
    let mut scene = Scene::begin("half a head, held", None, &[]);
    let count = scaled(10_000);
    // A connection has buffers: http.connections_max is a limit of memory too.
    scene.allow_memory(count * 40 / 1024);
    let (held, asked) = slow_loris(&scene, count, 20);
    // All places may be taken: they are free again after http.header_timeout_s.
    assert!(asked < Duration::from_secs(20), "{asked:?}");
    assert!(
        scene.descriptors_max() < 10_200,
        "{}",
        scene.descriptors_max()
    );
    let answers = format!("{held} kept at a time, a stranger served within {asked:.1?}");
    scene.end("10,000 connections from 20 addresses", &answers);
}

/// Opens so many connections with half a head each; how many the server kept a second later, and
/// how long somebody else who comes then waits for an answer.
fn slow_loris(scene: &Scene, count: u64, addresses: u64) -> (usize, Duration) {
    allow_descriptors(count + 1000);
    let http = scene.http();
    let attack = || {
        yield_to_others();
        let mut held = Vec::new();
        for index in 0..count {
            let Ok(mut stream) = connect(http, address(index % addresses)) else {
                continue;
            };
            // Beyond the cap it may be closed already.
            if stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
                .is_ok()
            {
                held.push(stream);
            }
        }
        held
    };
    let held = thread::scope(|scope| scope.spawn(attack).join().expect("no panic"));
    thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    let mut stranger = Line::new(http, Ipv4Addr::new(127, 8, 8, 8));
    let heard = stranger.ask(&request("GET", "/healthz", "", ""));
    assert_eq!(heard.expect("an answer").status, 200);
    let asked = began.elapsed();
    let kept = held.iter().filter(|stream| is_open(stream)).count();
    (kept, asked)
}

fn is_open(mut stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let read = stream.read(&mut [0; 256]);
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn allow_descriptors(count: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit");
    let allowed = limit.maximum.is_none_or(|most| most >= count);
    assert!(allowed, "ulimit -Hn is below {count}");
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_10_heads_and_bodies_above_their_limits() {
    let scene = Scene::begin("heads of 64 KiB", None, &[]);
    let http = scene.http();
    let head = format!("X: {}\r\n", "x".repeat(64 * 1024));
    let head = request("GET", "/healthz", &head, "");
    let lines = || {
        (0..4)
            .map(|index| Line::new(http, address(index)))
            .collect()
    };
    let answers = flood(lines(), scaled(2000), 200, |_| head.clone());
    // Who is still sending may lose the answer to a reset.
    assert!(
        answers.statuses.keys().all(|status| *status == 431),
        "{answers}"
    );
    scene.end("2,000 at 200/s", &answers.to_string());

    let scene = Scene::begin("bodies of 1 GiB, announced", None, &[]);
    let http = scene.http();
    let announced = "POST /whep/cam HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                     Expect: 100-continue\r\nContent-Length: 1073741824\r\n\r\n";
    let answers = flood(
        (0..4)
            .map(|index| Line::new(http, address(index)))
            .collect(),
        scaled(2000),
        200,
        |_| announced.as_bytes().to_vec(),
    );
    assert!(answers.of(413) > 0, "{answers}");
    let known = [413, 429];
    assert!(
        answers.statuses.keys().all(|status| known.contains(status)),
        "{answers}"
    );
    scene.end("2,000 at 200/s", &answers.to_string());

    let scene = Scene::begin("bodies of 1 GiB, in chunks", None, &[]);
    let (mut taken_max, mut tally) = (0, Tally::default());
    for index in 0..scaled(20) {
        let (taken, status) = endless_body(scene.http(), address(index));
        taken_max = taken_max.max(taken);
        tally.note(&status);
    }
    // With what the kernel holds on both sides.
    assert!(taken_max <= 32 * 1024 * 1024, "{taken_max} bytes of a body");
    let answers = format!(
        "{tally}; {} KiB of each were taken, by the server and the kernel",
        taken_max / 1024
    );
    scene.end("20, one after the other", &answers);
}

/// Sends a body in chunks until the server does not take any more; how much that was, and the
/// answer if it could still be read.
fn endless_body(http: SocketAddr, from: Ipv4Addr) -> (usize, io::Result<Heard>) {
    let mut stream = connect(http, from).expect("it listens");
    let head = "POST /whep/cam HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend([b'v'; 65_536]);
    chunk.extend(b"\r\n");
    stream.write_all(head.as_bytes()).expect("written");
    let mut taken = 0;
    while taken < 1 << 30 && stream.write_all(&chunk).is_ok() {
        taken += chunk.len();
    }
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let status = answer.get(9..12).and_then(|text| text.parse().ok());
    let heard = match status {
        Some(status) => Ok(Heard {
            status,
            took: Duration::ZERO,
            head: answer,
        }),
        None => Err(read.err().unwrap_or(io::ErrorKind::UnexpectedEof.into())),
    };
    (taken, heard)
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_10_requests_that_two_readers_could_read_differently() {
    let scene = Scene::begin("smuggled requests", None, &[]);
    let smuggled = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut count = 0;
    for round in 0..scaled(100) {
        for (what, head, body) in AMBIGUOUS {
            let text = format!(
                "POST /whip/smuggled HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
                 {head}\r\n\r\n{body}{smuggled}"
            );
            let mut stream = connect(scene.http(), address(round)).expect("it listens");
            stream.write_all(text.as_bytes()).expect("written");
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
            count += 1;
        }
    }
    let sent = format!("{} forms, {count} in all", AMBIGUOUS.len());
    scene.end(
        &sent,
        "each refused, its connection ended, nothing behind it read",
    );
}

/// What it is, the lines of the head, and the body (RFC 9112 §6.1, §6.3, §7.1, §11.2).
const AMBIGUOUS: &[(&str, &str, &str)] = &[
    (
        "two lengths",
        "content-length: 5\r\ncontent-length: 6",
        "0\r\n\r\n",
    ),
    ("a list of lengths", "content-length: 5, 6", "0\r\n\r\n"),
    ("a signed length", "content-length: +5", "0\r\n\r\n"),
    (
        "a length in hexadecimal",
        "content-length: 0x5",
        "0\r\n\r\n",
    ),
    (
        "an endless length",
        "content-length: 99999999999999999999999",
        "0\r\n\r\n",
    ),
    (
        "chunked is not last",
        "transfer-encoding: chunked, identity",
        "0\r\n\r\n",
    ),
    (
        "an unknown coding",
        "transfer-encoding: xchunked",
        "0\r\n\r\n",
    ),
    (
        "a blank before the colon",
        "transfer-encoding : chunked",
        "0\r\n\r\n",
    ),
    (
        "a folded line",
        "transfer-encoding:\r\n chunked",
        "0\r\n\r\n",
    ),
    (
        "a carriage return in a value",
        "x: a\rcontent-length: 5",
        "0\r\n\r\n",
    ),
    ("a null in a value", "x: a\0b", "0\r\n\r\n"),
    (
        "a size that overflows",
        "transfer-encoding: chunked",
        "ffffffffffffffffff\r\nx",
    ),
    (
        "a size of nothing",
        "transfer-encoding: chunked",
        "\r\n0\r\n\r\n",
    ),
    (
        "a size with a sign",
        "transfer-encoding: chunked",
        "-1\r\nx\r\n0\r\n\r\n",
    ),
    (
        "a chunk longer than said",
        "transfer-encoding: chunked",
        "1\r\nxyz\r\n0\r\n\r\n",
    ),
];

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_10_http_2_streams_that_are_reset_at_once() {
    let scene = Scene::begin("HTTP/2 streams, reset at once", None, &[]);
    let mut pairs = Vec::new();
    for stream in 0..1000_u32 {
        pairs.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream * 2 + 1,
            &GET_HEALTHZ,
        ));
        pairs.extend(frame(RST_STREAM, 0, stream * 2 + 1, &8_u32.to_be_bytes()));
    }
    let count = scaled(200);
    let mut ended = 0;
    for index in 0..count {
        ended += u64::from(flood_http_2(scene.http(), address(index % 8), &pairs));
    }
    assert_eq!(ended, count, "each connection ends");
    let sent = format!("{count} connections with 1,000 streams each");
    scene.end(&sent, &format!("{ended} connections ended"));
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_10_http_2_heads_without_an_end() {
    let scene = Scene::begin("HTTP/2 heads without an end", None, &[]);
    // RFC 7541 §6.2.2: a literal that is not indexed, with a new name.
    let mut field = vec![0, 1, b'x', 0x7f, 0x81, 0x7e];
    field.extend([b'y'; 16_384 - 6]);
    let more = frame(CONTINUATION, 0, 1, &field);
    let count = scaled(50);
    let mut ended = 0;
    for index in 0..count {
        ended += u64::from(continuations(scene.http(), address(index % 8), &more));
    }
    assert_eq!(ended, count, "each connection ends");
    let sent = format!("{count} connections, up to 64 MiB of CONTINUATION each");
    scene.end(&sent, &format!("{ended} connections ended"));
}

/// Whether the server ended an HTTP/2 connection over which this was sent.
fn flood_http_2(http: SocketAddr, from: Ipv4Addr, bytes: &[u8]) -> bool {
    let mut stream = connect(http, from).expect("it listens");
    let _ = stream.write_all(PREFACE);
    let _ = stream.write_all(&frame(SETTINGS, 0, 0, &[]));
    if stream.write_all(bytes).is_err() {
        return true;
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    // Closed, or reset because it did not read everything.
    let read = stream.read_to_end(&mut answer);
    read.is_err() || has_goaway(&answer)
}

fn continuations(http: SocketAddr, from: Ipv4Addr, more: &[u8]) -> bool {
    let mut bytes = frame(HEADERS, 0, 1, &GET_HEALTHZ);
    bytes.extend(more);
    let mut stream = connect(http, from).expect("it listens");
    let _ = stream.write_all(PREFACE);
    let _ = stream.write_all(&frame(SETTINGS, 0, 0, &[]));
    let _ = stream.write_all(&bytes);
    // 4,096 of 16 KiB are 64 MiB.
    (0..4096).any(|_| stream.write_all(more).is_err())
}

/// RFC 9113 §4.1: walks over the frames that were received.
fn has_goaway(mut bytes: &[u8]) -> bool {
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        if head[3] == GOAWAY {
            return true;
        }
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        bytes = rest.get(len..).unwrap_or_default();
    }
    false
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:method GET`, `:scheme http`, `:path /healthz`, `:authority x` (RFC 7541 §6).
const GET_HEALTHZ: [u8; 15] = [
    0x82, 0x86, 0x44, 0x08, b'/', b'h', b'e', b'a', b'l', b't', b'h', b'z', 0x41, 0x01, b'x',
];
