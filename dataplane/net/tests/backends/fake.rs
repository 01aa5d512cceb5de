//! The fake keeps the contract of the real ones.

use crate::*;
use std::net::IpAddr;
use whitewater_net::{Outgoing, fake};

fn outgoing() -> Outgoing {
    let mut outgoing = Outgoing::default();
    let destination = SocketAddr::from(([192, 0, 2, 7], 5000));
    for index in 0..3 {
        assert!(outgoing.push(destination, Some(LOCAL.ip()), payload(index, 10)));
    }
    outgoing
}

#[test]
fn injected_datagrams_come_out_and_sent_ones_are_collected() {
    let (mut backend, handle) = fake::open(LOCAL, None).expect("an eventfd");
    let source = SocketAddr::from(([192, 0, 2, 7], 5000));
    for index in 0..3 {
        handle.inject(source, LOCAL, &payload(index, 10));
    }
    assert!(backend.wait(None).expect("wait").datagrams_ready);
    let drained = backend.drain(2, &mut |_| {});
    assert!(drained.count == 2 && drained.more);
    assert!(backend.wait(None).expect("wait").datagrams_ready);
    let seen = receive(&mut backend, 1);
    assert_eq!(seen[0].bytes, payload(2, 10));

    assert_eq!(backend.send(&outgoing()).sent, 3);
    let sent = handle.take_sent();
    assert_eq!(sent.len(), 1, "one train, one message");
    assert!(outgoing().datagrams().eq(sent[0].datagrams.iter()));
    assert_eq!(sent[0].local, Some(LOCAL.ip()));
    assert!(handle.take_sent().is_empty());
}

#[test]
fn injected_failures_are_counted_under_their_cause() {
    use fake::Failure;
    for (failure, expect) in [
        (Failure::Full, [3, 0, 0, 0]),
        (Failure::Unreachable, [0, 3, 0, 0]),
        (Failure::TooLarge, [0, 0, 3, 0]),
        (Failure::Other(5), [0, 0, 0, 3]),
    ] {
        let (mut backend, handle) = fake::open(LOCAL, None).expect("an eventfd");
        handle.fail_next(failure, 1);
        let outcome = backend.send(&outgoing());
        let dropped = [
            outcome.dropped_full,
            outcome.dropped_unreachable,
            outcome.dropped_too_large,
            outcome.dropped_other,
        ];
        assert_eq!((dropped, outcome.sent), (expect, 0));
        assert_eq!(backend.send(&outgoing()).sent, 3, "once only");
    }
}

#[test]
fn a_refused_train_leaves_singly() {
    let (mut backend, handle) = fake::open(LOCAL, None).expect("an eventfd");
    handle.fail_next(fake::Failure::RefusedGso, 1);
    let outcome = backend.send(&outgoing());
    assert!(outcome.gso_switched_off && !backend.gso());
    assert_eq!((outcome.sent, handle.take_sent().len()), (3, 3));
}

#[test]
fn another_thread_and_the_doorbell_wake_it() {
    let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let ringer = bell.try_clone().expect("a duplicate");
    let (mut backend, handle) = fake::open(LOCAL, Some(bell)).expect("an eventfd");
    let thread = std::thread::spawn(move || {
        assert_eq!(rustix::io::write(&ringer, &1_u64.to_ne_bytes()), Ok(8));
        handle.inject(LOCAL, LOCAL, b"x");
    });
    let (mut rang, mut ready) = (false, false);
    let end = Instant::now() + PATIENCE;
    while !(rang && ready) && Instant::now() < end {
        let woken = backend.wait(None).expect("wait");
        rang |= woken.doorbell;
        ready |= woken.datagrams_ready;
    }
    assert!(rang && ready);
    thread.join().expect("no panic");
    assert_eq!(receive(&mut backend, 1).len(), 1);
    let woken = backend.wait(Some(Duration::from_millis(5))).expect("wait");
    assert_eq!(woken, whitewater_net::Woken::default());
}

#[test]
fn it_is_not_opened_by_configuration() {
    let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let mut config = Config::new(LOCAL, bell);
    config.backend = Choice::Kind(BackendKind::Fake);
    assert!(open(config).is_err());
}

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 3478);
