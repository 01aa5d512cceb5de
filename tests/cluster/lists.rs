//! What LiveMan's clients read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Client, Wish};
use crate::fleet::{Fleet, get};
use crate::http::{metric, request};
use crate::node::{Process, eventually};

#[test]
fn nodes_are_listed_with_what_they_take() {
    let fleet = Fleet::start(2, &["--region", "eu", "--pub-max", "5", "--sub-max", "7"]);
    let http = fleet.http();
    eventually("the nodes introduced themselves", || {
        get(http, "/api/nodes/")[1]["region"] == "eu"
    });
    for (path, at) in [("/api/nodes/", 0), ("/api/nodes", 1)] {
        let nodes = get(http, path);
        let (alias, node) = &fleet.nodes[at];
        let shown = &nodes[at];
        assert_eq!(shown["alias"], alias.as_str());
        assert_eq!(shown["url"], format!("http://{}", node.http()));
        assert_eq!(
            (&shown["pub_max"], &shown["sub_max"]),
            (&json!(5), &json!(7))
        );
        assert_eq!(shown["status"], "running");
        assert!(
            shown["duration"]
                .as_str()
                .is_some_and(|text| text.ends_with("ms"))
        );
        assert_eq!(shown["strategy"]["each_stream_max_sub"], 65_535);
    }
    assert_eq!(metric(http, "whitewater_manager_nodes", "running"), 2.0);
    assert_eq!(
        request(http, "GET", "/readyz", None)
            .expect("an answer")
            .status,
        200
    );
}

#[test]
fn streams_are_made_and_destroyed_through_the_manager() {
    let fleet = Fleet::start(2, &[]);
    let http = fleet.http();
    let send = |method: &str, path: &str| {
        let answer = request(http, method, path, None).expect("an answer");
        answer.status
    };
    assert_eq!(get(http, "/api/streams/"), json!([]));
    assert_eq!(get(http, "/api/streams/x"), json!({}));
    assert_eq!(send("POST", "/api/streams/x?nodes=b"), 204);
    eventually("it is seen", || fleet.homes("x") == ["b"]);
    assert_eq!(send("POST", "/api/streams/x"), 409);
    assert_eq!(send("POST", "/api/streams/y?nodes=zz"), 503);
    let list = get(http, "/api/streams/?nodes=a");
    assert_eq!(list, json!([]), "of this node");
    // A publisher makes it live, the end of the stream ends him.
    let publisher = Client::start(http, "x?nodes=b", Wish::publish());
    eventually("it is seen", || {
        let all = get(http, "/api/streams/");
        all[0]["publish"]["sessions"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    });
    assert_eq!(send("DELETE", "/api/streams/x"), 204);
    eventually("the publisher is told", || publisher.seen().closed);
    eventually("it is gone", || get(http, "/api/streams/") == json!([]));
    assert_eq!(send("DELETE", "/api/streams/x"), 204);
}

/// Live777's list, by a server that knows nothing else.
const LIVE777: &str = r#"[{"id":"far","createdAt":1719326206862,"publish":{"leaveAt":0,
"sessions":[{"id":"08c1f2a0a60b0deeb66ee572bd369f80","createdAt":1719326206947,
"state":"connected"}]},"subscribe":{"leaveAt":0,"sessions":[{"id":"dab1","createdAt":1,
"state":"closed"},{"id":"dab2","createdAt":1,"state":"connected","cascade":{
"targetUrl":"http://x/whip/far","sessionUrl":"http://x/session/far/1"}}]}}]"#;

#[test]
fn nodes_of_live777_are_listed_too_and_silent_ones_hold_nobody_up() {
    let strange = answering(|path| match path {
        "/api/streams/" => Some(LIVE777.replace('\n', "")),
        _ => None,
    });
    let broken = answering(|_| Some("<html>".to_owned()));
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent
        .local_addr()
        .map(|address| (address, silent))
        .expect("bound");
    let ours = Process::serving(&["--shards", "1"]);
    let nodes = [
        ("strange", strange),
        ("broken", broken),
        ("silent", silent.0),
        ("closed", closed()),
        ("ours", ours.http()),
    ];
    let nodes = nodes.map(|(alias, http)| format!("{alias}=http://{http}"));
    let mut arguments = vec!["manager", "--listen", "127.0.0.1:0"];
    for node in &nodes {
        arguments.extend(["--node", node]);
    }
    let manager = Process::start(&arguments);
    manager.wait_for("Page");
    let http = manager.http();
    let status = |alias: &str| {
        let all = get(http, "/api/nodes/");
        let all = all.as_array().expect("a list").clone();
        let found = all.into_iter().find(|node| node["alias"] == alias);
        found.expect("listed")["status"].clone()
    };
    eventually("those that answer run", || {
        status("strange") == "running" && status("ours") == "running"
    });
    for alias in ["broken", "silent", "closed"] {
        assert_eq!(status(alias), "stopped");
    }
    let begun = Instant::now();
    let list = get(http, "/api/streams/");
    assert_eq!(list[0]["id"], "far");
    let cascade = &list[0]["subscribe"]["sessions"][1]["cascade"];
    assert_eq!(cascade["dst"], "http://x/whip/far");
    assert_eq!(cascade["resource"], "http://x/session/far/1");
    assert_eq!(cascade["targetUrl"], "http://x/whip/far");
    let publisher = Client::start(
        http,
        "cam?nodes=ours&nodes=silent&nodes=closed",
        Wish::publish(),
    );
    assert_eq!(Fleet::home(&publisher), "ours");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn the_page_of_the_manager_is_its_own() {
    let fleet = Fleet::start(1, &[]);
    for (path, status, part) in [
        ("/", 200, "manager.js"),
        ("/manager.js", 200, "api/nodes/"),
        ("/manager.tree.js", 200, "treeOf"),
        ("/manager.css", 200, ".tree"),
        ("/style.css", 200, "--accent"),
        ("/index.html", 404, "nothing"),
        ("/leg.js", 404, "nothing"),
    ] {
        let answer = request(fleet.http(), "GET", path, None).expect("an answer");
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.contains(part), "{path}");
    }
}

#[test]
fn a_manager_needs_nodes() {
    let mut manager = Process::start(&["manager", "--listen", "127.0.0.1:0"]);
    assert_eq!(manager.end().code(), Some(2));
    assert!(
        manager.errors().contains("--embedded"),
        "{}",
        manager.errors()
    );
}

/// A server that answers each GET with a text or 404.
fn answering(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        // Ends with the test's process.
        while let Ok((mut stream, _)) = listener.accept() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => return,
                        Ok(size) => request.extend_from_slice(&buffer[..size]),
                    }
                    if !request.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let text = String::from_utf8_lossy(&request).into_owned();
                    request.clear();
                    let path = text.split(' ').nth(1).unwrap_or_default();
                    let (status, body) = match answer(path) {
                        Some(body) => ("200 OK", body),
                        None => ("404 Not Found", String::new()),
                    };
                    let size = body.len();
                    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {size}\r\n\r\n{body}");
                    if stream.write_all(text.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// An address where nobody listens.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}
