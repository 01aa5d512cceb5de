//! Waiting: datagrams, the doorbell, the time limit.

use crate::*;
use std::thread;
use whitewater_net::WAIT_MAX;

fn ring(bell: &OwnedFd) {
    let one = 1_u64.to_ne_bytes();
    assert_eq!(rustix::io::write(bell, &one), Ok(8));
}

/// Waits until something is reported; empty returns are allowed at any time.
fn wait_for_news(backend: &mut dyn Backend) -> whitewater_net::Woken {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let woken = backend.wait(None).expect("wait");
        if woken != whitewater_net::Woken::default() {
            return woken;
        }
    }
    panic!("nothing came");
}

#[test]
fn the_doorbell_wakes_a_waiting_back_end_from_another_thread() {
    each_setup(|setup| {
        let (mut backend, bell) = setup.open_with("127.0.0.1:0", |_| {});
        for _ in 0..3 {
            thread::scope(|scope| {
                let start = Instant::now();
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(30));
                    ring(&bell);
                });
                let woken = wait_for_news(&mut *backend);
                assert!(woken.doorbell && !woken.datagrams_ready, "{setup:?}");
                let waited = start.elapsed();
                assert!(waited >= Duration::from_millis(25), "{setup:?}: {waited:?}");
                assert!(waited < WAIT_MAX, "{setup:?}: woken by the time limit only");
            });
            let woken = backend.wait(Some(Duration::from_millis(5))).expect("wait");
            assert!(!woken.doorbell, "{setup:?}: it is silent again");
        }
    });
}

#[test]
fn many_rings_are_one_and_a_ring_between_waits_is_not_lost() {
    each_setup(|setup| {
        let (mut backend, bell) = setup.open_with("127.0.0.1:0", |_| {});
        for _ in 0..5 {
            for _ in 0..10 {
                ring(&bell);
            }
            assert!(wait_for_news(&mut *backend).doorbell, "{setup:?}");
            // A poll request may report the tail of the same ringing once more.
            backend.wait(Some(Duration::from_millis(5))).expect("wait");
            let woken = backend.wait(Some(Duration::from_millis(5))).expect("wait");
            assert!(!woken.doorbell, "{setup:?}");
        }
    });
}

#[test]
fn a_bell_and_a_datagram_are_both_reported() {
    each_setup(|setup| {
        let (mut backend, bell) = setup.open_with("127.0.0.1:0", |_| {});
        let peer = peer("127.0.0.1:0");
        peer.send_to(b"x", backend.local_addrs()[0]).expect("sent");
        ring(&bell);
        let (mut rang, mut ready) = (false, false);
        while !(rang && ready) {
            let woken = wait_for_news(&mut *backend);
            rang |= woken.doorbell;
            ready |= woken.datagrams_ready;
        }
        assert_eq!(receive(&mut *backend, 1).len(), 1, "{setup:?}");
    });
}

#[test]
fn a_datagram_wakes_a_waiting_back_end() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let to = backend.local_addrs()[0];
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(30));
                peer("127.0.0.1:0").send_to(b"x", to).expect("sent");
            });
            let start = Instant::now();
            assert!(wait_for_news(&mut *backend).datagrams_ready, "{setup:?}");
            assert!(start.elapsed() < WAIT_MAX, "{setup:?}");
        });
    });
}

#[test]
fn waiting_ends_when_the_time_is_up_and_at_the_latest_after_the_cap() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        for wish in [0, 1, 20, 100] {
            let wish = Duration::from_millis(wish);
            let start = Instant::now();
            let woken = backend.wait(Some(wish)).expect("wait");
            let waited = start.elapsed();
            assert_eq!(woken, whitewater_net::Woken::default(), "{setup:?}");
            assert!(
                waited + Duration::from_millis(1) >= wish,
                "{setup:?}: {waited:?}"
            );
            assert!(
                waited < wish + Duration::from_millis(400),
                "{setup:?}: {waited:?}"
            );
        }
    });
    each_kind(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let start = Instant::now();
        backend.wait(None).expect("wait");
        assert!(
            start.elapsed() < WAIT_MAX + Duration::from_millis(700),
            "{setup:?}"
        );
    });
}

#[test]
fn a_wait_with_datagrams_in_hand_does_not_block() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        for _ in 0..3 {
            peer.send_to(b"x", backend.local_addrs()[0]).expect("sent");
        }
        assert!(wait_for_news(&mut *backend).datagrams_ready);
        let drained = backend.drain(1, &mut |_| {});
        assert_eq!(drained.count, 1);
        assert!(drained.more, "{setup:?}");
        assert_eq!(backend.drain(0, &mut |_| panic!("no budget")).count, 0);
        let start = Instant::now();
        assert!(wait_for_news(&mut *backend).datagrams_ready, "{setup:?}");
        assert!(start.elapsed() < WAIT_MAX, "{setup:?}");
        assert_eq!(receive(&mut *backend, 2).len(), 2, "{setup:?}");
    });
}

#[test]
fn closing_leaves_the_port_free() {
    each_kind(|setup| {
        for round in 0..20 {
            let backend = setup.open("127.0.0.1:0");
            let to = backend.local_addrs()[0];
            let peer = peer("127.0.0.1:0");
            for _ in 0..round {
                peer.send_to(b"x", to).expect("sent");
            }
            drop(backend);
            let end = Instant::now() + PATIENCE;
            // A ring is torn down in the background, and only then is the socket closed.
            while UdpSocket::bind(to).is_err() {
                assert!(Instant::now() < end, "{setup:?}: the port is still taken");
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
}
