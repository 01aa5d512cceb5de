//! Rubbish on the media port while media flows.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use str0m::ice::{StunMessage, TransId};

use crate::client::{Client, Wish};
use crate::forwarding::watched;
use crate::http::metric;
use crate::node::{Process, eventually_or};

#[test]
fn a_flood_of_rubbish_costs_no_viewer_a_frame_and_gets_no_answer() {
    let process = Process::serving(&["--shards", "2"]);
    let (http, udp) = (process.http(), process.udp());
    let publisher = Client::start(http, "cam", Wish::publish());
    let viewers = [0, 1].map(|_| Client::start(http, "cam", Wish::watch()));
    for viewer in &viewers {
        watched(viewer, 10);
    }
    let memory_before = process.memory_kib();
    let frames_before = publisher.seen().next_frame;

    let flooders: Vec<UdpSocket> = (0..8).map(|_| flooder(udp)).collect();
    let ufrags = [publisher.ufrag(), viewers[0].ufrag(), viewers[1].ufrag()];
    let mut random = Random(7);
    let mut sent = 0;
    // Paced, so that it is the node that is tried and not the size of the kernel's buffer.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        for flooder in &flooders {
            let datagram = rubbish(&mut random, &ufrags);
            // A refused send would be an ICMP error: the node is gone.
            flooder.send(&datagram).expect("sent");
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(4));
    }

    // What was published meanwhile arrives whole.
    let published = publisher.seen().next_frame;
    assert!(published > frames_before);
    for viewer in &viewers {
        let first = viewer.seen().video.first.expect("a packet").frame;
        watched(viewer, published - first + 10);
        assert!(!viewer.seen().closed);
    }
    assert!(!publisher.seen().closed);

    let mut buffer = [0; 2048];
    for flooder in &flooders {
        let answer = flooder.recv(&mut buffer);
        assert!(answer.is_err(), "an answer of {answer:?} bytes");
    }
    // Every datagram is accounted for by a reason, and nothing of it is kept.
    let refused = || {
        let of = |reason| metric(http, "whitewater_shard_drops_total", reason);
        [
            "\"unknown_protocol\"",
            "\"stun_malformed\"",
            "\"stun_unknown_ufrag\"",
            "\"stun_integrity\"",
            "\"unverified_source\"",
        ]
        .map(of)
    };
    eventually_or(
        "nearly all of it is counted",
        || refused().iter().sum::<f64>() >= f64::from(sent) * 0.9,
        || format!("{:?} of {sent}", refused()),
    );
    assert!(
        refused().iter().all(|count| *count > 0.0),
        "{:?}",
        refused()
    );
    assert_eq!(metric(http, "whitewater_sessions", ""), 3.0);
    let grown = process.memory_kib().saturating_sub(memory_before);
    assert!(grown < 64 * 1024, "{grown} KiB more memory");
}

fn flooder(node: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(node).expect("a destination");
    socket.set_nonblocking(true).expect("a non-blocking socket");
    socket
}

fn rubbish(random: &mut Random, ufrags: &[&str]) -> Vec<u8> {
    match random.below(8) {
        // Anything, also an empty datagram.
        0 => random.bytes(1200),
        1 => {
            let mut bytes = random.bytes(300);
            // First bytes that RFC 7983 gives to nobody.
            bytes.insert(0, 200 + random.below(56) as u8);
            bytes
        }
        2 => {
            let mut check = stun(random, "someone:else");
            check.truncate(random.below(check.len()));
            check
        }
        3 => stun(random, "zzzzzzzzzzzz:peer"),
        // A name that is known, under a password that is not.
        4 | 5 => {
            let ufrag = ufrags[random.below(ufrags.len())];
            stun(random, &format!("{ufrag}:peer"))
        }
        6 => dtls_hello(random),
        _ => {
            let mut rtp = vec![0x80, [96, 111, 200, 203, 206][random.below(5)]];
            rtp.extend(random.bytes(1000));
            rtp.resize(rtp.len().max(16), 0);
            rtp
        }
    }
}

/// A binding request (RFC 8445 §7.2.2), complete in form, by somebody who does not know the password.
fn stun(random: &mut Random, username: &str) -> Vec<u8> {
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let request = StunMessage::binding_request(username, TransId::new(), true, 1, 1, true);
    let password = random.next().to_be_bytes();
    let mut buffer = [0; 512];
    let size = request
        .to_bytes(Some(&password), &mut buffer, |key, parts| {
            hmac.sha1_hmac(key, parts)
        })
        .expect("room");
    buffer[..size].to_vec()
}

/// The record of a DTLS 1.2 ClientHello (RFC 6347 §4.3.2) with a random body.
fn dtls_hello(random: &mut Random) -> Vec<u8> {
    let body = random.bytes(200);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend(((body.len() + 12) as u16).to_be_bytes());
    record.extend([
        1,
        0,
        0,
        body.len() as u8,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        body.len() as u8,
    ]);
    record.extend(body);
    record
}

/// SplitMix64: but for STUN's transaction ids the flood is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, size_max: usize) -> Vec<u8> {
        (0..self.below(size_max))
            .map(|_| self.next() as u8)
            .collect()
    }
}
