//! Who may do what at a manager, and what nodes are shown.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{Wish, offer_text};
use crate::node::{Process, eventually};

/// A request with a token; status and body.
fn send(
    http: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    body: Option<(&str, &str)>,
) -> (u16, String, Option<String>) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(http).expect("it listens");
    let (kind, body) = body.unwrap_or(("text/plain", ""));
    let authorization = if token.is_empty() {
        String::new()
    } else {
        format!("Authorization: Bearer {token}\r\n")
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n{authorization}\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let location = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location")
            .then(|| value.to_owned())
    });
    (status.expect("a status"), body.to_owned(), location)
}

fn token_of(body: &str) -> String {
    let value: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(value["token_type"], "Bearer");
    value["access_token"].as_str().expect("a token").to_owned()
}

#[test]
fn who_logs_in_may_make_tokens_and_nodes_are_shown_their_own() {
    let guarded = [("WHITEWATER_AUTH_TOKENS", "node-token")];
    let node = Process::serving_with(&guarded, &["--shards", "1"]);
    let nodes = format!(
        "[{{ alias = \"a\", url = \"http://{}\", token = \"node-token\" }}]",
        node.http()
    );
    let accounts = "[{ username = \"root\", password = \"hush-word\" }]";
    let variables = [
        ("WHITEWATER_MANAGER_NODES", nodes.as_str()),
        ("WHITEWATER_MANAGER_ACCOUNTS", accounts),
    ];
    let manager = Process::start_with(&variables, &["manager", "--listen", "127.0.0.1:0"]);
    manager.wait_for("Page");
    let http = manager.http();
    let json = |value: Value| value.to_string();
    let login = |value: Value| {
        let body = json(value);
        send(
            http,
            "POST",
            "/api/login",
            "",
            Some(("application/json", &body)),
        )
    };
    assert_eq!(send(http, "GET", "/api/nodes/", "", None).0, 401);
    let (status, body, _) = login(json!({}));
    assert_eq!(
        (status, body.as_str()),
        (400, r#"{"error":"Missing credentials"}"#)
    );
    let (status, body, _) = login(json!({"username": "root", "password": "wrong"}));
    assert_eq!(
        (status, body.as_str()),
        (401, r#"{"error":"Wrong credentials"}"#)
    );
    let (status, body, _) = login(json!({"username": "root", "password": "hush-word"}));
    assert_eq!(status, 200, "{body}");
    let root = token_of(&body);
    eventually("the node runs", || {
        let (_, body, _) = send(http, "GET", "/api/nodes/", &root, None);
        body.contains("running")
    });
    let wanted = json(json!({"id": "cam", "duration": 60, "publish": true}));
    let wanted = Some(("application/json", wanted.as_str()));
    assert_eq!(send(http, "POST", "/api/token", "", wanted).0, 401);
    let (status, body, _) = send(http, "POST", "/api/token", &root, wanted);
    assert_eq!(status, 200, "{body}");
    let scoped = token_of(&body);
    // Enough for this stream and side, and for its session.
    let offer = offer_text(&Wish::publish());
    let sdp = Some(("application/sdp", offer.as_str()));
    assert_eq!(send(http, "POST", "/whip/other", &scoped, sdp).0, 403);
    assert_eq!(send(http, "POST", "/whep/cam", &scoped, sdp).0, 403);
    assert_eq!(send(http, "GET", "/api/nodes/", &scoped, None).0, 403);
    assert_eq!(
        send(http, "POST", "/api/nodes/a/drain", &scoped, None).0,
        403
    );
    assert_eq!(send(http, "POST", "/api/token", &scoped, wanted).0, 403);
    let (status, body, location) = send(http, "POST", "/whip/cam", &scoped, sdp);
    assert_eq!(status, 201, "{body}");
    let session = location.expect("a location");
    assert_eq!(send(http, "DELETE", &session, "", None).0, 401);
    let elsewhere = session.replace("/cam/", "/other/");
    assert_eq!(send(http, "DELETE", &elsewhere, &scoped, None).0, 403);
    // Another token's session is as good as none, whatever the token may do with the stream.
    let no_time = json(json!({"id": "cam", "duration": null}));
    let no_time = Some(("application/json", no_time.as_str()));
    assert_eq!(send(http, "POST", "/api/token", &root, no_time).0, 422);
    // As whole a number as 60.
    let other = json(json!({"id": "cam", "duration": 60.0, "publish": true, "subscribe": true}));
    let other = Some(("application/json", other.as_str()));
    let other = token_of(&send(http, "POST", "/api/token", &root, other).1);
    assert_eq!(send(http, "DELETE", &session, &other, None).0, 404);
    let (bare, _) = session.rsplit_once('~').expect("a mark");
    assert_eq!(send(http, "DELETE", bare, &scoped, None).0, 404);
    assert_eq!(send(http, "DELETE", &session, &scoped, None).0, 204);
    // Those who look after all may end every one.
    let (status, body, location) = send(http, "POST", "/whip/cam", &scoped, sdp);
    assert_eq!(status, 201, "{body}");
    let session = location.expect("a location");
    assert_eq!(send(http, "DELETE", &session, &root, None).0, 204);
    for text in [manager.output(), manager.errors()] {
        assert!(
            !text.contains("hush-word") && !text.contains("node-token"),
            "{text}"
        );
    }
}

#[test]
fn a_node_that_refuses_the_managers_token_is_the_managers_fault() {
    let guarded = [("WHITEWATER_AUTH_TOKENS", "node-token")];
    let node = Process::serving_with(&guarded, &["--shards", "1"]);
    let entry = format!("a=http://{}", node.http());
    let manager = Process::start(&["manager", "--listen", "127.0.0.1:0", "--node", &entry]);
    manager.wait_for("Page");
    let offer = offer_text(&Wish::publish());
    let sdp = Some(("application/sdp", offer.as_str()));
    // It cannot be asked what it has, so it gets nobody.
    let (status, body, _) = send(manager.http(), "POST", "/whip/cam", "", sdp);
    assert_eq!(status, 503, "{body}");
    let (status, body, _) = send(manager.http(), "DELETE", "/session/cam/a~1", "", None);
    assert_eq!(status, 502, "{body}");
}
