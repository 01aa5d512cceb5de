//! Local addresses, seen and chosen, and what cannot be reached.

use crate::*;
use std::net::IpAddr;
use whitewater_net::Outgoing;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// tokio-uring has no control data on receive, so it cannot tell.
fn sees_local(setup: Setup) -> bool {
    setup.kind != BackendKind::TokioUring
}

#[test]
fn the_address_that_was_addressed_is_seen_on_a_wildcard_socket() {
    each_setup(|setup| {
        for bind in ["0.0.0.0:0", "[::]:0"] {
            let mut backend = setup.open(bind);
            let peer = peer("127.0.0.1:0");
            for local in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
                let to = at(&*backend, local);
                peer.send_to(b"whither", to).expect("sent");
                let seen = receive(&mut *backend, 1);
                assert_eq!(seen.len(), 1, "{setup:?} {bind}");
                assert_eq!(seen[0].source, addr(&peer), "IPv4 is not shown as mapped");
                if sees_local(setup) {
                    assert_eq!(seen[0].local, to, "{setup:?} {bind}");
                } else {
                    assert_eq!(seen[0].local, backend.local_addrs()[0]);
                }
            }
        }
    });
}

#[test]
fn a_dual_stack_socket_serves_both_families() {
    each_setup(|setup| {
        let mut backend = setup.open("[::]:0");
        for loopback in ["127.0.0.1", "::1"] {
            let peer = UdpSocket::bind((ip(loopback), 0)).expect("a socket");
            peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let to = at(&*backend, loopback);
            peer.send_to(b"hello", to).expect("sent");
            let seen = receive(&mut *backend, 1);
            assert_eq!(seen[0].source, addr(&peer), "{setup:?}");
            if sees_local(setup) {
                assert_eq!(seen[0].local, to);
            }
            let mut outgoing = Outgoing::default();
            for index in 0..4 {
                let bytes = payload(index, 100);
                assert!(outgoing.push(seen[0].source, Some(to.ip()), bytes));
            }
            let outcome = backend.send(&outgoing);
            assert_eq!(outcome.sent, 4, "{setup:?} {loopback} {outcome:?}");
            for index in 0..4 {
                assert_eq!(receive_from(&peer), (payload(index, 100), to));
            }
        }
    });
}

#[test]
fn the_wished_source_address_is_used() {
    each_setup(|setup| {
        for bind in ["0.0.0.0:0", "[::]:0"] {
            let mut backend = setup.open(bind);
            let peer = peer("127.0.0.1:0");
            for local in ["127.0.0.2", "127.0.0.1", "127.0.0.77"] {
                let mut outgoing = Outgoing::default();
                for index in 0..3 {
                    let bytes = payload(index, 50);
                    assert!(outgoing.push(addr(&peer), Some(ip(local)), bytes));
                }
                assert_eq!(backend.send(&outgoing).sent, 3, "{setup:?} {bind}");
                for _ in 0..3 {
                    assert_eq!(
                        receive_from(&peer).1,
                        at(&*backend, local),
                        "{setup:?} {bind}"
                    );
                }
            }
        }
    });
}

#[test]
fn what_cannot_be_reached_is_dropped_and_counted_and_the_rest_is_sent() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        let six: SocketAddr = "[::1]:9".parse().expect("an address");
        let mut outgoing = Outgoing::default();
        // The wrong family, a source address of the wrong family, one that is not ours.
        assert!(outgoing.push(six, None, payload(0, 10)));
        assert!(outgoing.push(addr(&peer), Some(six.ip()), payload(1, 10)));
        for index in 0..3 {
            let foreign = Some(ip("192.0.2.1"));
            assert!(outgoing.push(addr(&peer), foreign, payload(index, 10)));
        }
        assert!(outgoing.push(addr(&peer), None, payload(5, 10)));
        let outcome = backend.send(&outgoing);
        assert_eq!(
            (outcome.sent, outcome.dropped_unreachable),
            (1, 5),
            "{setup:?} {outcome:?}"
        );
        assert!(
            !outcome.gso_switched_off,
            "an address is not segmentation's fault"
        );
        assert_eq!(backend.gso(), setup.gso);
        assert_eq!(receive_from(&peer).0, payload(5, 10));
    });
}

#[test]
fn shards_share_a_port() {
    each_kind(|setup| {
        let (first, _bell) = setup.open_with("127.0.0.1:0", |config| config.reuse_port = true);
        let bind = first.local_addrs()[0].to_string();
        let (second, _bell) = setup.open_with(&bind, |config| config.reuse_port = true);
        let mut shards = [first, second];
        let mut counts = [0; 2];
        for _ in 0..64 {
            let peer = peer("127.0.0.1:0");
            peer.send_to(b"x", shards[0].local_addrs()[0])
                .expect("sent");
        }
        let end = Instant::now() + PATIENCE;
        while counts.iter().sum::<usize>() < 64 && Instant::now() < end {
            for (shard, count) in shards.iter_mut().zip(&mut counts) {
                *count += receive_now(&mut **shard);
            }
        }
        assert_eq!(counts.iter().sum::<usize>(), 64, "{setup:?}");
        assert!(
            counts.iter().all(|count| *count > 0),
            "{setup:?}: {counts:?}"
        );
    });
}

fn receive_now(backend: &mut dyn Backend) -> usize {
    let mut seen = Vec::new();
    backend.wait(Some(Duration::from_millis(10))).expect("wait");
    drain(backend, &mut seen);
    seen.len()
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_address() {
    each_kind(|setup| {
        let backend = setup.open("127.0.0.1:0");
        let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        let mut config = Config::new(backend.local_addrs()[0], bell);
        config.backend = Choice::Kind(setup.kind);
        let error = open(config).expect_err("taken").to_string();
        assert!(
            error.contains(&backend.local_addrs()[0].to_string()),
            "{error}"
        );
    });
}
