//! What is sent is what arrives: contents, order, sizes, destinations.

use crate::*;
use whitewater_net::Outgoing;

#[test]
fn trains_of_every_length_arrive_whole_at_plain_sockets() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let peers = [peer("127.0.0.1:0"), peer("127.0.0.1:0")];
        for count in [1, 2, 3, 8, 17, 63, 64] {
            for (size, last) in [(1, 1), (200, 200), (900, 7), (1000, 1000)] {
                let mut outgoing = Outgoing::default();
                for peer in &peers {
                    for index in 0..count {
                        let size = if index + 1 == count { last } else { size };
                        assert!(outgoing.push(addr(peer), None, payload(index, size)));
                    }
                }
                assert_eq!(outgoing.trains.len(), 2);
                let outcome = backend.send(&outgoing);
                assert_eq!(outcome.sent, 2 * count as u64, "{setup:?} {outcome:?}");
                assert_eq!(outcome.dropped(), 0);
                let messages = if setup.gso { 2 } else { 2 * count as u64 };
                assert_eq!(outcome.messages, messages, "{setup:?}");
                let datagrams: Vec<&[u8]> = outgoing.datagrams().collect();
                for (peer, sent) in peers.iter().zip(datagrams.chunks(count)) {
                    for &datagram in sent {
                        let (bytes, source) = receive_from(peer);
                        assert_eq!(bytes, datagram, "{setup:?} {count} x {size}");
                        assert_eq!(source, backend.local_addrs()[0]);
                    }
                }
            }
        }
    });
}

#[test]
fn trains_arrive_whole_between_back_ends_over_ipv4_and_ipv6() {
    each_setup(|setup| {
        for ip in ["127.0.0.1", "[::1]"] {
            let bind = format!("{ip}:0");
            let mut sender = setup.open(&bind);
            let mut receivers = [setup.open(&bind), setup.open(&bind)];
            let mut outgoing = Outgoing::default();
            for receiver in &receivers {
                let destination = receiver.local_addrs()[0];
                for index in 0..64 {
                    let size = if index == 63 { 3 } else { 1000 };
                    assert!(outgoing.push(destination, None, payload(index, size)));
                }
            }
            let outcome = sender.send(&outgoing);
            assert_eq!(outcome.sent, 128, "{setup:?} {outcome:?}");
            let datagrams: Vec<&[u8]> = outgoing.datagrams().collect();
            for (receiver, sent) in receivers.iter_mut().zip(datagrams.chunks(64)) {
                let seen = receive(&mut **receiver, 64);
                let bytes: Vec<_> = seen.iter().map(|seen| &seen.bytes[..]).collect();
                assert!(bytes == sent, "{setup:?} {ip}");
                for seen in &seen {
                    assert_eq!(seen.source, sender.local_addrs()[0]);
                    assert_eq!(seen.local, receiver.local_addrs()[0]);
                }
                if setup.gso && receiver.gro() {
                    assert_eq!(
                        receiver.counters().messages_received,
                        1,
                        "{setup:?}: no GRO"
                    );
                } else {
                    assert_eq!(receiver.counters().messages_received, 64);
                }
            }
        }
    });
}

#[test]
fn trains_longer_than_a_batch_of_sends_keep_their_order() {
    each_setup(|setup| {
        let (mut backend, _bell) = setup.open_with("127.0.0.1:0", |config| config.send_batch = 3);
        let peer = peer("127.0.0.1:0");
        let mut outgoing = Outgoing::default();
        for index in 0..100 {
            // Growing sizes: every datagram is a train of its own.
            assert!(outgoing.push(addr(&peer), None, payload(index, index + 1)));
        }
        assert_eq!(backend.send(&outgoing).sent, 100, "{setup:?}");
        for datagram in outgoing.datagrams() {
            assert_eq!(receive_from(&peer).0, datagram, "{setup:?}");
        }
    });
}

#[test]
fn empty_and_huge_datagrams_pass_both_ways() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        let sizes = [0, 1, 65_507, 0, 0, 30_000, 2];
        for (index, size) in sizes.into_iter().enumerate() {
            let sent = payload(index, size);
            let written = peer.send_to(&sent, backend.local_addrs()[0]).expect("sent");
            assert_eq!(written, size);
            let seen = receive(&mut *backend, 1);
            assert_eq!(seen.len(), 1, "{setup:?} {size}");
            assert_eq!(seen[0].bytes, sent);
        }
        let mut outgoing = Outgoing::default();
        for (index, size) in sizes.into_iter().enumerate() {
            assert!(outgoing.push(addr(&peer), None, payload(index, size)));
        }
        assert_eq!(
            backend.send(&outgoing).sent,
            sizes.len() as u64,
            "{setup:?}"
        );
        for datagram in outgoing.datagrams() {
            assert_eq!(receive_from(&peer).0, datagram, "{setup:?}");
        }
    });
}

#[test]
fn a_datagram_too_large_for_ip_is_dropped_and_counted() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        let mut outgoing = Outgoing::default();
        assert!(outgoing.push(addr(&peer), None, payload(0, 65_508)));
        assert!(outgoing.push(addr(&peer), None, payload(1, 10)));
        let outcome = backend.send(&outgoing);
        assert_eq!(
            (outcome.sent, outcome.dropped_too_large),
            (1, 1),
            "{setup:?}"
        );
        assert_eq!(receive_from(&peer).0, payload(1, 10));
    });
}

#[test]
fn a_datagram_larger_than_its_buffer_is_dropped_and_counted() {
    each_kind(|setup| {
        let setup = Setup {
            gro: false,
            ..setup
        };
        let (mut backend, _bell) =
            setup.open_with("127.0.0.1:0", |config| config.recv_buffer_size = 1500);
        let peer = peer("127.0.0.1:0");
        let to = backend.local_addrs()[0];
        // Buffers are rounded up a little.
        for size in [2000, 1600, 60_000, 1500] {
            peer.send_to(&payload(1, size), to).expect("sent");
        }
        let seen = receive(&mut *backend, 1);
        assert_eq!(seen.len(), 1, "{setup:?}");
        assert_eq!(seen[0].bytes, payload(1, 1500));
        let counters = backend.counters();
        assert_eq!(counters.messages_malformed, 3, "{setup:?}");
    });
}

#[test]
fn a_turn_of_the_loop_echoes_what_came() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        for round in 0..50 {
            for index in 0..5 {
                let sent = payload(round * 5 + index, 100);
                peer.send_to(&sent, backend.local_addrs()[0]).expect("sent");
            }
            let mut outgoing = Outgoing::default();
            for seen in receive(&mut *backend, 5) {
                assert!(outgoing.push(seen.source, Some(seen.local.ip()), seen.bytes));
            }
            assert_eq!(backend.send(&outgoing).sent, 5, "{setup:?}");
            for index in 0..5 {
                assert_eq!(receive_from(&peer).0, payload(round * 5 + index, 100));
            }
        }
    });
}
