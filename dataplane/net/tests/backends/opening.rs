//! What is refused at start, and what the operator is told.

use crate::*;
use whitewater_net::{BackendChoice, OpenError};

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), bell);
    change(&mut config);
    config
}

fn choice(change: impl FnOnce(&mut Config)) -> BackendChoice {
    open(config(change)).expect("a back end").choice
}

#[test]
fn auto_takes_io_uring_where_it_works_and_advises_where_not() {
    let choice = choice(|_| {});
    match probe_uring() {
        Ok(()) => assert_eq!((choice.kind, choice.advice), (BackendKind::Uring, None)),
        Err(reason) => {
            assert_eq!(choice.kind, BackendKind::Mmsg);
            assert!(choice.advice.expect("advice").contains(&reason));
        }
    }
}

#[test]
fn buffers_smaller_than_wished_are_reported_with_the_limit_to_raise() {
    let modest = choice(|config| {
        config.recv_buffer_bytes = 16_384;
        config.send_buffer_bytes = 16_384;
    });
    assert_eq!(modest.buffer_advice, None);
    assert!(modest.recv_buffer_bytes >= 16_384 && modest.send_buffer_bytes >= 16_384);

    // More than the kernel can count, so it is refused to everybody.
    let greedy = choice(|config| config.recv_buffer_bytes = 8 << 30);
    let advice = greedy.buffer_advice.expect("advice");
    assert!(advice.contains("receive buffer") && advice.contains("net.core.rmem_max"));
    let greedy = choice(|config| config.send_buffer_bytes = 8 << 30);
    let advice = greedy.buffer_advice.expect("advice");
    assert!(advice.contains("send buffer") && advice.contains("net.core.wmem_max"));
}

#[test]
fn values_out_of_range_are_refused_and_the_edges_accepted() {
    type Change = fn(&mut Config);
    let refused: [Change; 6] = [
        |config| config.recv_buffers = 0,
        |config| config.recv_buffers = 32_769,
        |config| config.recv_buffer_size = 0,
        |config| config.recv_buffer_size = 65_536,
        |config| config.send_batch = 0,
        |config| config.send_batch = 65,
    ];
    for change in refused {
        let error = open(config(change)).expect_err("out of range");
        assert!(matches!(error, OpenError::Config(_)), "{error}");
    }
    let accepted: [Change; 4] = [
        |config| config.recv_buffers = 1,
        |config| config.recv_buffer_size = 1,
        |config| config.recv_buffer_size = 65_535,
        |config| config.send_batch = 1,
    ];
    for change in accepted {
        choice(change);
    }
}

#[test]
fn an_address_that_is_not_ours_is_an_error() {
    let error = open(config(|config| {
        config.bind = SocketAddr::from(([192, 0, 2, 1], 0))
    }));
    let error = error.expect_err("not ours").to_string();
    assert!(
        error.contains("192.0.2.1") && error.contains("bind"),
        "{error}"
    );
}
