//! What a container's seccomp profile does to io_uring, and what we make of it.
//!
//! A filter stays for the life of its process, so the checks run in a child: this same binary,
//! asked for one test, with the error number to impose in the environment.

use std::collections::BTreeMap;
use std::env;
use std::process::Command;

use rustix::event::{EventfdFlags, eventfd};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
use whitewater_net::{BackendKind, Choice, Config, OpenError, open, probe_uring};

#[test]
fn auto_falls_back_to_mmsg_and_says_why() {
    for (errno, words) in [
        (
            libc::EPERM,
            "not permitted (seccomp or kernel.io_uring_disabled)",
        ),
        (
            libc::EACCES,
            "not permitted (seccomp or kernel.io_uring_disabled)",
        ),
        (libc::ENOSYS, "not available"),
        (libc::ENOMEM, "memlock"),
        (libc::EINVAL, "too old"),
    ] {
        let output = Command::new(env::current_exe().expect("this binary"))
            .args([
                "--exact",
                "child_under_a_filter",
                "--nocapture",
                "--ignored",
            ])
            .env(ERRNO, errno.to_string())
            .env(WORDS, words)
            .output()
            .expect("a child");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "errno {errno}:\n{text}\n{errors}");
        assert!(text.contains("1 passed"), "the child ran nothing:\n{text}");
    }
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn child_under_a_filter() {
    let errno: i32 = env::var(ERRNO).expect("set").parse().expect("a number");
    let words = env::var(WORDS).expect("set");
    refuse_io_uring(errno);

    let refused = probe_uring().expect_err("the filter is in force");
    assert!(refused.contains(&words), "{refused}");

    let mut opened = open(config(Choice::Auto)).expect("a back end all the same");
    assert_eq!(opened.choice.kind, BackendKind::Mmsg);
    assert_eq!(opened.backend.kind(), BackendKind::Mmsg);
    let advice = opened.choice.advice.expect("advice");
    assert_eq!(
        advice,
        format!("{refused} - using sendmmsg; see docs/io.md")
    );
    assert_eq!(advice.lines().count(), 1);

    // It works, on the socket that was bound before the refusal.
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = opened.backend.local_addrs()[0];
    peer.send_to(b"hello", to).expect("sent");
    let mut seen = Vec::new();
    while seen.is_empty() {
        opened.backend.wait(None).expect("wait");
        opened
            .backend
            .drain(8, &mut |d| seen.push(d.bytes.to_vec()));
    }
    assert_eq!(seen, [b"hello"]);

    for kind in [BackendKind::Uring, BackendKind::TokioUring] {
        match open(config(Choice::Kind(kind))) {
            Err(error @ OpenError::Backend { .. }) => {
                assert!(error.to_string().contains(kind.name()), "{error}");
            }
            other => panic!("{kind} was asked for and must not be replaced: {other:?}"),
        }
    }
}

fn config(choice: Choice) -> Config {
    let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let mut config = Config::new("127.0.0.1:0".parse().expect("an address"), bell);
    config.backend = choice;
    config
}

/// Makes io_uring_setup fail with `errno` in this thread and those it starts.
fn refuse_io_uring(errno: i32) {
    let arch = TargetArch::try_from(env::consts::ARCH).expect("a known architecture");
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        arch,
    )
    .expect("a filter");
    let program: seccompiler::BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("the filter is accepted");
}

const ERRNO: &str = "WHITEWATER_TEST_ERRNO";
const WORDS: &str = "WHITEWATER_TEST_WORDS";
