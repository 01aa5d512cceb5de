//! The ways to a node: over UDP and TCP, by IPv4 and IPv6.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use str0m::ice::{StunMessage, TransId};

use crate::client::{Client, Wish};
use crate::forwarding::watched;
use crate::http::metric;
use crate::media::Pattern;
use crate::node::{Running, eventually, eventually_or};

/// RFC 6544: a peer whose network lets no UDP out publishes and watches over TCP.
#[test]
fn media_passes_over_tcp_where_there_is_no_udp() {
    for own_ports in ["false", "true"] {
        let node = Running::start(&[("media.shards", "2"), ("media.ports_per_core", own_ports)]);
        let publisher = Client::start(node.http, "cam", Wish::publish().over_tcp());
        let viewers: Vec<Client> = (0..4)
            .map(|_| Client::start(node.http, "cam", Wish::watch().over_tcp()))
            .collect();
        for viewer in &viewers {
            watched(viewer, FRAMES);
        }
        let shards = [0, 1].map(|shard| viewers.iter().any(|viewer| viewer.shard() == shard));
        assert_eq!(shards, [true, true], "viewers on both shards");
        assert_eq!(publisher.seen().corrupt, 0);
        for name in ["received", "sent"] {
            let name = format!("whitewater_udp_{name}_packets_total");
            assert_eq!(metric(node.http, &name, ""), 0.0);
        }
        let connections = || metric(node.http, "whitewater_tcp_connections", "");
        eventually_or(
            "every connection is counted",
            || connections() == 5.0,
            || connections().to_string(),
        );
        // A session's end is its connection's.
        assert_eq!(publisher.leave(), 204);
        eventually("the peer is told", || publisher.seen().closed);
        drop(viewers);
        eventually_or(
            "no connection is left",
            || connections() == 0.0,
            || connections().to_string(),
        );
    }
}

#[test]
fn a_publisher_over_udp_is_watched_over_tcp_and_the_other_way_round() {
    let node = Running::start(&[("media.shards", "2")]);
    let _publishers = [("a", Wish::publish()), ("b", Wish::publish().over_tcp())]
        .map(|(stream, wish)| Client::start(node.http, stream, wish));
    let watch = |stream, wish| Client::start(node.http, stream, wish);
    let viewers = [
        watch("a", Wish::watch().over_tcp()),
        watch("b", Wish::watch()),
    ];
    for viewer in &viewers {
        watched(viewer, FRAMES);
    }
}

/// Peers that read nothing more: what waits for them is bounded, and nobody else is held up.
#[test]
fn slow_readers_over_tcp_cost_nobody_a_frame() {
    let node = Running::start(&[("media.shards", "1")]);
    let heavy = Pattern {
        packets_per_frame: 30,
        payload_size: 1000,
        ..Pattern::default()
    };
    let publisher = Client::start(node.http, "cam", Wish::publish_as(heavy));
    let slow: Vec<Client> = (0..8)
        .map(|_| Wish::watch().over_tcp().without_feedback())
        .map(|wish| Client::start(node.http, "cam", wish))
        .collect();
    // What their machine has no time to read would be taken for a path that is full.
    let viewers = [Wish::watch(), Wish::watch().over_tcp()]
        .map(|wish| Client::start(node.http, "cam", wish.without_feedback()));
    for viewer in slow.iter().chain(&viewers) {
        watched(viewer, 10);
    }
    for client in &slow {
        client.stall();
    }
    let dropped = || metric(node.http, "whitewater_tcp_dropped_total", "");
    eventually("what they do not read is dropped", || dropped() > 1000.0);
    let published = publisher.seen().next_frame;
    for viewer in &viewers {
        let first = viewer.seen().video.first.expect("a packet").frame;
        watched(viewer, published - first + 10);
    }
}

#[test]
fn connections_are_capped_and_rubbish_ends_them() {
    let node = Running::start(&[("limits.tcp_connections_max", "3")]);
    let _publisher = Client::start(node.http, "cam", Wish::publish().over_tcp());
    let viewer = Client::start(node.http, "cam", Wish::watch().over_tcp());
    watched(&viewer, 5);
    let port = viewer.ports_offered()[0];
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the node listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        stream
    };
    let ended = |mut stream: TcpStream| {
        let read = stream.read(&mut [0; 16]);
        assert!(!matches!(read, Ok(1..)), "an answer: {read:?}");
        let timeout = |e: &std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!read.as_ref().is_err_and(timeout), "still open");
    };
    // The third may stay, a fourth may not.
    let mut third = connect();
    ended(connect());
    third.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("open");
    ended(third);
    // Its place is free again. DTLS before a check, and a check for a shard that is not there.
    let mut dtls = vec![0, 20, 22, 0xfe, 0xfd];
    dtls.resize(22, 0);
    for frame in [dtls, check("ffabcdefghij:peer")] {
        let mut stream = connect();
        stream.write_all(&frame).expect("open");
        ended(stream);
    }
    // A check for nobody gets no answer; the connection is closed when it has had its time.
    let mut stranger = connect();
    stranger
        .write_all(&check("00abcdefghij:peer"))
        .expect("open");
    ended(stranger);
    watched(&viewer, 30);
}

#[test]
fn one_source_cannot_have_all_connections() {
    let node = Running::start(&[("limits.source_tcp_connections_max", "2")]);
    let viewer = Client::start(node.http, "cam", Wish::watch().over_tcp());
    eventually("it is connected", || viewer.seen().connected);
    let node_address = SocketAddr::from(([127, 0, 0, 1], viewer.ports_offered()[0]));
    let connect = || TcpStream::connect(node_address).expect("the node listens");
    let _second = connect();
    let mut third = connect();
    assert!(!matches!(third.read(&mut [0; 1]), Ok(1..)));
}

/// Both families on one socket, over UDP and TCP, answered from the address that was asked.
#[test]
fn both_families_reach_a_node_that_listens_on_all_addresses() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return eprintln!("skipped: this machine has no ::1");
    }
    let families = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    for backend in ["auto", "mmsg"] {
        let node = Running::start(&[
            ("media.udp", "[::]:0"),
            ("media.shards", "2"),
            ("media.backend", backend),
        ]);
        let publish = |ip: IpAddr| {
            let stream = if ip.is_ipv4() { "v4" } else { "v6" };
            Client::start(node.http, stream, Wish::publish().at_ip(ip))
        };
        let _publishers = families.map(publish);
        let mut viewers = Vec::new();
        for stream in ["v4", "v6"] {
            for ip in families {
                for wish in [Wish::watch(), Wish::watch().over_tcp()] {
                    viewers.push(Client::start(node.http, stream, wish.at_ip(ip)));
                }
            }
        }
        for viewer in &viewers {
            watched(viewer, FRAMES);
        }
        for address in ["127.0.0.1", "::1"] {
            let offered = format!(" {address} {} typ host", viewers[0].ports_offered()[0]);
            let count = viewers[0].answer.matches(&offered).count();
            assert!(
                count >= 4,
                "UDP and TCP in both sections: {}",
                viewers[0].answer
            );
        }
    }
}

/// A binding request with a frame's size in front, by somebody who does not know the password.
fn check(user_name: &str) -> Vec<u8> {
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let request = StunMessage::binding_request(user_name, TransId::new(), true, 1, 1, true);
    let mut buffer = [0; 512];
    let size = request
        .to_bytes(Some(b"a password"), &mut buffer, |key, parts| {
            hmac.sha1_hmac(key, parts)
        })
        .expect("room");
    let mut frame = (size as u16).to_be_bytes().to_vec();
    frame.extend(&buffer[..size]);
    frame
}

/// About a second.
const FRAMES: u32 = 30;
