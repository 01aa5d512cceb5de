//! The packet path allocates nothing once it runs.

use std::net::UdpSocket;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use whitewater_net::{Backend, BackendKind, Choice, Config, Outgoing, open, probe_uring};

#[test]
fn receiving_and_sending_allocate_nothing_in_steady_state() {
    let mut kinds = vec![BackendKind::Mmsg];
    match probe_uring() {
        Ok(()) => kinds.push(BackendKind::Uring),
        Err(reason) => eprintln!("only mmsg is tested: {reason}"),
    }
    let info = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 9])));
    assert_eq!(info.count_total, 1, "the counter counts");
    for kind in kinds {
        for (gso, gro) in [(true, true), (false, false)] {
            let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
            let mut config = Config::new("127.0.0.1:0".parse().expect("an address"), bell);
            config.backend = Choice::Kind(kind);
            config.gso = gso;
            config.gro = gro;
            let mut backend = open(config).expect("a back end").backend;
            let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let mut outgoing = Outgoing::default();
            for destination in [backend.local_addrs()[0], peer.local_addr().expect("bound")] {
                for _ in 0..100 {
                    let local = Some(destination.ip());
                    assert!(outgoing.push(destination, local, vec![7; 1000]));
                }
            }
            turn(&mut *backend, &outgoing);
            let info = allocation_counter::measure(|| {
                for _ in 0..20 {
                    turn(&mut *backend, &outgoing);
                }
            });
            assert_eq!(info.count_total, 0, "{kind} gso {gso} gro {gro}: {info:?}");
        }
    }
}

/// Sends everything, half of it to itself, and receives that half.
fn turn(backend: &mut dyn Backend, outgoing: &Outgoing) {
    assert_eq!(backend.send(outgoing).sent, 200);
    let mut count = 0;
    for _ in 0..1000 {
        backend.wait(Some(Duration::from_millis(10))).expect("wait");
        let mut bytes = 0;
        count += backend.drain(64, &mut |d| bytes += d.bytes.len()).count;
        assert!(bytes.is_multiple_of(1000));
        if count == 100 {
            return;
        }
    }
    panic!("{count} of 100 came back");
}
