//! The load generator against the real server, both as processes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::metric;
use crate::node::{Process, eventually};

#[test]
fn all_that_is_published_reaches_all_viewers_unchanged() {
    let server = Process::serving(&["--shards", "2"]);
    for variant in [
        &["--codec", "vp8", "--burst", "--audio"][..],
        &["--codec", "h264", "--smooth", "--no-gro"],
    ] {
        let pid = server.id().to_string();
        let common = [
            "--publishers",
            "2",
            "--viewers",
            "6",
            "--verify",
            "100%",
            "--duration",
            "2s",
            "--bitrate",
            "800k",
            "--ramp",
            "100/s",
            "--pid",
            &pid,
        ];
        let (code, report, errors) = load(server.http(), &[&common[..], variant].concat());
        assert_eq!(code, Some(0), "{variant:?} {report:#} {errors}");
        let number = |path: &str| number(&report, path);
        assert_eq!(number("/publishers/joined"), 2.0);
        assert_eq!(number("/viewers/joined"), 6.0);
        assert_eq!(number("/verified/viewers"), 6.0);
        for wrong in ["corrupted", "undecryptable", "foreign", "late_starts"] {
            assert_eq!(number(&format!("/verified/{wrong}")), 0.0, "{report:#}");
        }
        // Two seconds of 30 frames of three packets at each of six viewers, but for what is under
        // way when the run begins and ends.
        assert!(number("/verified/frames_whole") >= 340.0, "{report:#}");
        assert!(number("/verified/packets") >= 1040.0, "{report:#}");
        assert_eq!(number("/received/lost"), 0.0, "{report:#}");
        assert_eq!(number("/deletes_failed"), 0.0, "{report:#}");
        assert!(number("/latency_ms/packets") >= 1040.0, "{report:#}");
        assert!(number("/latency_ms/p50") > 0.0, "{report:#}");
        for side in ["server", "client"] {
            let spent = number(&format!("/{side}/cpu_ns_per_packet"));
            assert!(spent > 100.0, "{side}: {report:#}");
        }
        let join =
            ["answer", "connect", "join"].map(|step| number(&format!("/viewer_{step}_ms/p50")));
        assert!(join.is_sorted() && join[0] > 0.0, "{join:?}");
        eventually("nothing is left", || sessions(server.http()) == 0.0);
    }
}

#[test]
fn a_server_over_https_is_loaded_by_who_trusts_its_authority() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let file = |kind: &str, text: &str| {
        let name = format!("whitewater-load-{}-{kind}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let certificate = file("certificate", &own.cert.pem());
    let key = file("key", &own.signing_key.serialize_pem());
    let tls = [
        format!("tls.certificate={certificate}"),
        format!("tls.key={key}"),
    ];
    let server = Process::serving(&["--set", &tls[0], "--set", &tls[1]]);
    let url = format!("https://{}", server.http());
    let arguments = ["--viewers", "2", "--duration", "500ms", "--verify", "100%"];
    let run = |more: &[&str]| {
        let own = ["load", &url, "--json", "-"];
        let mut process = Process::start(&[&own, &arguments[..], more].concat());
        (process.end().code(), process.output(), process.errors())
    };
    let (code, report, errors) = run(&["--ca", &certificate]);
    assert_eq!(code, Some(0), "{report} {errors}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(number(&report, "/viewers/joined"), 2.0);
    assert!(number(&report, "/verified/packets") > 0.0, "{report:#}");
    let (code, report, _) = run(&[]);
    assert_eq!(code, Some(1));
    assert!(report.contains("certificate"), "{report}");
    for file in [certificate, key] {
        let _ = std::fs::remove_file(file);
    }
}

#[test]
fn told_to_stop_it_ends_its_sessions() {
    let server = Process::serving(&["--shards", "1"]);
    let url = format!("http://{}", server.http());
    let mut load = Process::start(&["load", &url, "--viewers", "3", "--duration", "1h"]);
    eventually("all have joined", || {
        load.errors().contains("4 of 4 joined")
    });
    assert_eq!(sessions(server.http()), 4.0);
    let asked = Instant::now();
    load.terminate();
    assert_eq!(load.end().code(), Some(0), "{}", load.errors());
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(
        load.output().contains("viewers           3 of 3 joined"),
        "{}",
        load.output()
    );
    eventually("nothing is left", || sessions(server.http()) == 0.0);
}

#[test]
fn a_redirected_offer_goes_where_it_is_sent() {
    let server = Process::serving(&["--shards", "1"]);
    let to = format!("http://{}/whip/elsewhere", server.http());
    let redirect = answering(format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
    ));
    let whep = format!("http://{}/whep/elsewhere", server.http());
    let arguments = ["--duration", "500ms", "--viewers", "1", "--whep-url", &whep];
    let (code, report, errors) = load(redirect, &arguments);
    assert_eq!(code, Some(0), "{report:#} {errors}");
    assert_eq!(number(&report, "/viewers/joined"), 1.0);
}

#[test]
fn what_a_server_refuses_is_said_and_fails_the_run() {
    let file = format!("whitewater-load-{}.toml", std::process::id());
    let file = std::env::temp_dir().join(file);
    std::fs::write(&file, "[auth]\ntokens = [\"only-this-one\"]\n").expect("a file");
    let guarded = Process::serving(&["--config", file.to_str().expect("UTF-8")]);
    std::fs::remove_file(&file).expect("it was there");
    let answer = |text: &str| answering(text.replace('\n', "\r\n"));
    for (address, wanted) in [
        (guarded.http(), "401"),
        (
            answer("HTTP/1.1 404 Not Found\nContent-Length: 8\n\nno such\n"),
            "404 Not Found: no such",
        ),
        (
            answer("HTTP/1.1 201 Created\nLocation: /s\nContent-Length: 0\n\n"),
            "the answer cannot be used: it accepts no media",
        ),
        (
            answer("HTTP/1.1 201 Created\nContent-Length: 0\n\n"),
            "201 without a usable Location",
        ),
        (
            answer("HTTP/1.1 308 Permanent Redirect\nLocation: /again\nContent-Length: 0\n\n"),
            "more than 5 redirects",
        ),
        (
            answer("HTTP/1.1 503 Busy\nRetry-After: 1\nContent-Length: 0\n\n"),
            "503 Service Unavailable",
        ),
        (closed(), "refused"),
    ] {
        let arguments = [
            "--viewers",
            "1",
            "--publishers",
            "0",
            "--join-timeout",
            "1800ms",
        ];
        let (code, report, errors) = load(address, &arguments);
        assert_eq!(code, Some(1), "{wanted}: {report:#} {errors}");
        let failures = report["failures"].to_string();
        assert!(failures.contains(wanted), "{wanted}: {failures}");
        assert!(failures.contains("/whep/load"), "{failures}");
        assert_eq!(number(&report, "/viewers/failed"), 1.0);
    }
    let token = [
        "--viewers",
        "1",
        "--duration",
        "300ms",
        "--token",
        "only-this-one",
    ];
    let (code, report, errors) = load(guarded.http(), &token);
    assert_eq!(code, Some(0), "{report:#} {errors}");
    assert!(!format!("{report}{errors}").contains("only-this-one"));
}

#[test]
fn arguments_that_make_no_run_are_refused() {
    for arguments in [
        &["load"][..],
        &["load", "http://h", "--bitrate", "0"],
        &["load", "http://h", "--verify", "5"],
    ] {
        let mut process = Process::start(arguments);
        assert_eq!(process.end().code(), Some(2), "{arguments:?}");
        assert_eq!(process.output(), "");
    }
    let mut process = Process::start(&["load", "host:1"]);
    assert_eq!(process.end().code(), Some(1));
    assert!(
        process.errors().contains("is no http"),
        "{}",
        process.errors()
    );
}

/// Runs the generator; its exit code, its report, and what it said.
fn load(server: SocketAddr, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let url = format!("http://{server}");
    let own = ["load", &url, "--json", "-"];
    let mut process = Process::start(&[&own, arguments].concat());
    let code = process.end().code();
    let output = process.output();
    let report = serde_json::from_str(&output);
    let report = report.unwrap_or_else(|error| panic!("{error}: {output} {}", process.errors()));
    (code, report, process.errors())
}

fn number(report: &Value, path: &str) -> f64 {
    let value = report.pointer(path).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no number at {path}: {report:#}"))
}

fn sessions(http: SocketAddr) -> f64 {
    metric(http, "whitewater_sessions", "")
}

/// A server that says the same to everybody.
fn answering(text: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        // Ends with the test's process.
        while let Ok((mut stream, _)) = listener.accept() {
            let text = text.clone();
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => return,
                        Ok(size) => request.extend_from_slice(&buffer[..size]),
                    }
                    if is_whole(&request) {
                        request.clear();
                        if stream.write_all(text.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// Whether head and body of a request are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let len = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().parse::<usize>().ok()?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    body.len() >= len.unwrap_or(0)
}

/// An address where nobody listens.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}
