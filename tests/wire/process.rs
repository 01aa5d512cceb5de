//! The binary: how it starts, refuses to start, and ends.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::client::{Client, Wish};
use crate::forwarding::watched;
use crate::http::{metric, request};
use crate::node::{Process, eventually};

#[test]
fn without_io_uring_it_says_so_and_serves_all_the_same() {
    let process = under_a_filter(|| Process::serving(&["--shards", "2"]));
    process.wait_for("back end mmsg");
    let advice = "io_uring not permitted (seccomp or kernel.io_uring_disabled) - using sendmmsg; \
                  see docs/io.md";
    process.wait_for(advice);
    assert_eq!(
        process.output().matches(advice).count(),
        1,
        "{}",
        process.output()
    );

    let publisher = Client::start(process.http(), "cam", Wish::publish());
    let viewer = Client::start(process.http(), "cam", Wish::watch());
    watched(&viewer, 20);
    assert_eq!(publisher.seen().corrupt, 0);
}

#[test]
fn io_uring_that_was_asked_for_by_name_is_not_replaced() {
    let start = || {
        Process::start(&[
            "--listen",
            "127.0.0.1:0",
            "--udp",
            "127.0.0.1:0",
            "--backend",
            "uring",
        ])
    };
    let mut process = under_a_filter(start);
    assert_eq!(process.end().code(), Some(1));
    let errors = process.errors();
    assert!(errors.contains("io_uring not permitted"), "{errors}");
}

#[test]
fn a_second_server_on_the_same_udp_port_is_refused() {
    for shards in ["1", "2"] {
        let first = Process::serving(&["--shards", shards]);
        let udp = first.udp().to_string();
        for second_shards in ["1", "2"] {
            let arguments = [
                "--listen",
                "127.0.0.1:0",
                "--udp",
                &udp,
                "--shards",
                second_shards,
            ];
            let mut second = Process::start(&arguments);
            assert_eq!(second.end().code(), Some(1));
            let errors = second.errors();
            assert!(
                errors.contains(&format!("the media address {udp} cannot be used")),
                "{errors}"
            );
            assert!(errors.contains("--udp"), "{errors}");
            assert_eq!(second.output(), "");
        }
        let health = request(first.http(), "GET", "/healthz", None).expect("the first one serves");
        assert_eq!(health.status, 200);
    }
}

#[test]
fn sigterm_tells_every_peer_and_ends_with_success() {
    let mut process = Process::serving(&["--shards", "2"]);
    let http = process.http();
    let mut clients = vec![Client::start(http, "cam", Wish::publish())];
    for _ in 0..4 {
        clients.push(Client::start(http, "cam", Wish::watch()));
    }
    for viewer in &clients[1..] {
        watched(viewer, 5);
    }
    assert!(clients.iter().all(|client| !client.seen().closed));
    process.terminate();
    for client in &clients {
        eventually("the peer is told by close_notify", || client.seen().closed);
    }
    assert_eq!(process.end().code(), Some(0), "{}", process.errors());
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let path = std::env::temp_dir().join(format!("whitewater-wire-{}.toml", std::process::id()));
    std::fs::write(&path, "[media]\nshard = 2\n").expect("a file");
    let name = path.to_str().expect("UTF-8");
    let mut process = Process::start(&["--config", name]);
    let code = process.end().code();
    std::fs::remove_file(&path).expect("it was there");
    assert_eq!(code, Some(2));
    let errors = process.errors();
    for part in ["media.shard", "media.shards", "2"] {
        assert!(errors.contains(part), "{part:?} in {errors}");
    }
    assert_eq!(process.output(), "");
}

#[test]
fn the_ready_check_follows_the_shards() {
    let process = Process::serving(&["--shards", "2"]);
    let http = process.http();
    eventually("it is ready", || {
        request(http, "GET", "/readyz", None)
            .expect("an answer")
            .status
            == 200
    });
    assert_eq!(metric(http, "whitewater_shard_info", ""), 2.0);
}

/// Runs `start` where io_uring_setup is refused as Docker's profile refuses it. The filter is for
/// one thread and what it starts.
fn under_a_filter<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    let started = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let arch = TargetArch::try_from(std::env::consts::ARCH).expect("a known one");
                let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
                let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
                let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch);
                let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
                apply_filter(&program).expect("the filter is accepted");
                start()
            })
            .join()
    });
    started.expect("no panic")
}
