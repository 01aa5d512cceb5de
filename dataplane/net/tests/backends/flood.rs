//! More than there are buffers for.

use crate::*;
use whitewater_net::Outgoing;

#[test]
fn receiving_recovers_when_the_buffers_run_out() {
    each_setup(|setup| {
        let (mut backend, _bell) = setup.open_with("127.0.0.1:0", |config| {
            config.recv_buffers = 8;
            config.recv_buffer_size = 2048;
        });
        let peer = peer("127.0.0.1:0");
        let to = backend.local_addrs()[0];
        for round in 0..5 {
            // Within the socket's own buffer, so that all of it must come out in the end.
            for index in 0..100 {
                peer.send_to(&payload(round + index, 100), to)
                    .expect("sent");
            }
            // Nobody drains while these come in.
            for _ in 0..3 {
                backend.wait(Some(Duration::from_millis(2))).expect("wait");
            }
            let seen = receive(&mut *backend, 100);
            assert_eq!(seen.len(), 100, "{setup:?} round {round}");
            for (index, seen) in seen.iter().enumerate() {
                assert_eq!(seen.bytes, payload(round + index, 100), "{setup:?}");
            }
        }
        if setup.kind == BackendKind::Uring {
            let counters = backend.counters();
            assert!(counters.receive_exhausted > 0, "{setup:?}: {counters:?}");
            assert!(counters.receive_rearmed > 0, "{setup:?}: {counters:?}");
        }
    });
}

#[test]
fn a_flood_beyond_the_socket_loses_datagrams_but_not_the_back_end() {
    each_setup(|setup| {
        let (mut backend, _bell) = setup.open_with("127.0.0.1:0", |config| {
            config.recv_buffers = 8;
            config.recv_buffer_bytes = 16_384;
        });
        let to = backend.local_addrs()[0];
        let mut flooder = setup.open("127.0.0.1:0");
        for _ in 0..20 {
            let mut outgoing = Outgoing::default();
            for index in 0..256 {
                assert!(outgoing.push(to, None, payload(index, 1000)));
            }
            let outcome = flooder.send(&outgoing);
            assert_eq!(outcome.sent + outcome.dropped(), 256);
            backend.wait(Some(Duration::ZERO)).expect("wait");
        }
        let mut seen = receive(&mut *backend, 1);
        drain(&mut *backend, &mut seen);
        while backend
            .wait(Some(Duration::from_millis(20)))
            .expect("wait")
            .datagrams_ready
        {
            drain(&mut *backend, &mut seen);
        }
        assert!(
            !seen.is_empty() && seen.len() < 20 * 256,
            "{setup:?}: {}",
            seen.len()
        );
        let peer = peer("127.0.0.1:0");
        peer.send_to(b"after the flood", to).expect("sent");
        let seen = receive(&mut *backend, 1);
        assert_eq!(seen.len(), 1, "{setup:?}");
        assert_eq!(seen[0].bytes, b"after the flood");
    });
}

#[test]
fn datagrams_that_arrive_while_sending_are_kept() {
    each_setup(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let own = backend.local_addrs()[0];
        let mut outgoing = Outgoing::default();
        for index in 0..40 {
            assert!(outgoing.push(own, None, payload(index, 500)));
        }
        for _ in 0..10 {
            assert_eq!(backend.send(&outgoing).sent, 40, "{setup:?}");
            let seen = receive(&mut *backend, 40);
            let bytes: Vec<_> = seen.into_iter().map(|seen| seen.bytes).collect();
            assert!(outgoing.datagrams().eq(bytes), "{setup:?}");
        }
    });
}

#[test]
fn closing_in_the_middle_of_a_flood_is_clean() {
    use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
    each_setup(|setup| {
        let (stop, port) = (AtomicBool::new(false), AtomicU16::new(9));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let flooder = peer("127.0.0.1:0");
                while !stop.load(Ordering::Relaxed) {
                    let to = ("127.0.0.1", port.load(Ordering::Relaxed));
                    // Between two back ends nobody listens.
                    let _ = flooder.send_to(&[7; 1000], to);
                }
            });
            for round in 0..10 {
                let mut backend = setup.open("127.0.0.1:0");
                port.store(backend.local_addrs()[0].port(), Ordering::Relaxed);
                let seen = receive(&mut *backend, 1 + round);
                assert!(seen.len() > round, "{setup:?}");
                assert!(seen.iter().all(|seen| seen.bytes == [7; 1000]));
                drop(backend);
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}
