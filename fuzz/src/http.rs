//! The HTTP side as a whole: bytes of a connection in, answers out, with offers and fragments
//! judged as the data plane judges them.
//!
//! An input is either what a client sends, byte by byte, or, after a first byte of zero, a list of
//! requests made of parts: method, path, headers and a body, which may be one of the corpus with
//! something spliced into it. Those know the session that was made last.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use whitewater_control::{Config, Unplugged};

use crate::plane::Plane;

/// No input makes the server panic, fail or answer what its description does not have; and it
/// goes on serving.
pub fn http(data: &[u8]) {
    runtime().block_on(async {
        let (control, plane) = whitewater_link::line(1, 1024).expect("descriptors");
        let server = Unplugged::start(Config::default(), control).expect("descriptors");
        let plane = tokio::spawn(Plane::new(plane).run());
        match data.split_first() {
            Some((0, operations)) => operate(&server, Reader(operations)).await,
            _ => {
                let heard = server.exchange(data, SILENCE).await;
                for answer in answers(&heard) {
                    answer.check();
                }
            }
        }
        let list = "GET /api/streams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let heard = server.exchange(list.as_bytes(), WITHIN).await;
        let [answer] = &answers(&heard)[..] else {
            panic!("no longer served: {}", String::from_utf8_lossy(&heard));
        };
        assert_eq!(answer.status, 200);
        let streams: Value = serde_json::from_slice(answer.body).expect("JSON");
        assert!(streams.is_array());
        plane.abort();
    });
}

/// Requests made of parts, each on a connection of its own.
async fn operate(server: &Unplugged, mut reader: Reader<'_>) {
    let mut location = format!("/session/a/{:032x}", 1);
    let mut tag = "*".to_owned();
    for _ in 0..OPERATIONS_MAX {
        if reader.0.is_empty() {
            return;
        }
        let (method, path) = (reader.pick(METHODS), reader.byte());
        let paths = description()["paths"].as_object().expect("paths");
        let (template, item) = paths
            .iter()
            .nth(usize::from(path) % paths.len())
            .expect("one");
        let stream = reader.pick(STREAMS);
        let session = location.rsplit('/').next().unwrap_or_default();
        let path = match template.strip_prefix("/session/{stream}/{session}") {
            Some(rest) if stream == &STREAMS[0] => format!("{location}{rest}"),
            _ => template
                .replace("{stream}", stream)
                .replace("{session}", session),
        };
        // An event stream has no end.
        let endless = template.contains("/sse/") && *method == "GET";
        let headers = reader.byte();
        let body = reader.body();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (bit, header) in HEADERS.iter().enumerate() {
            if headers & (1 << bit) != 0 {
                request += &header.replace("{tag}", &tag);
                request += "\r\n";
            }
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut request = request.into_bytes();
        request.extend_from_slice(&body);
        if endless {
            server.exchange(&request, SILENCE).await;
            continue;
        }
        let heard = server.exchange(&request, WITHIN).await;
        let all = answers(&heard);
        let answer = all.iter().find(|answer| answer.status >= 200);
        let answer = answer.unwrap_or_else(|| panic!("no answer to {method} {path}"));
        answer.check();
        let described = &item[method.to_lowercase()]["responses"];
        let status = answer.status.to_string();
        // What the description says once of all operations, and of methods it does not have.
        let known = match described {
            Value::Null => ["400", "401", "403", "405", "429"].contains(&status.as_str()),
            described => described.get(&status).is_some(),
        };
        assert!(known, "{status} to {method} {path} is not described");
        // Of a session: what is made below one is at other paths.
        let made = answer.header("location");
        if let Some(new) = made.filter(|new| !new.contains("/events/")) {
            location = new.to_owned();
        }
        if let Some(new) = answer.header("etag") {
            tag = new.to_owned();
        }
    }
}

/// What is left of an input.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[usize::from(self.byte()) % of.len()]
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    /// Bytes, or a text of the corpus in which some bytes were replaced.
    fn body(&mut self) -> Vec<u8> {
        let kind = usize::from(self.byte());
        let len = usize::from(self.byte());
        if kind == 0 {
            return self.take(len);
        }
        let mut text = TEXTS[(kind - 1) % TEXTS.len()].as_bytes().to_vec();
        let at = (usize::from(self.byte()) << 8 | usize::from(self.byte())) % (text.len() + 1);
        let until = (at + usize::from(self.byte())).min(text.len());
        if len > 0 {
            text.splice(at..until, self.take(len));
        }
        text
    }
}

/// One answer of the server.
struct Answer<'a> {
    status: u16,
    head: &'a str,
    body: &'a [u8],
}

impl Answer<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn check(&self) {
        // 501 is promised, 503 tells of a limit; anything else is a fault of ours.
        let fault = self.status >= 500 && ![501, 503].contains(&self.status);
        assert!(!fault, "{}", self.head);
        if self.header("content-type") == Some("application/problem+json") {
            // After an answer to HEAD the next one's head is taken for its body.
            let problem: Result<Value, _> = serde_json::from_slice(self.body);
            assert!(
                problem.is_ok() || !self.body.starts_with(b"{"),
                "{}",
                self.head
            );
            let status = problem.map_or(self.status.into(), |problem| problem["status"].clone());
            assert_eq!(status, self.status);
        }
        if self.status == 201 && self.header("content-type") == Some("application/sdp") {
            let answer = std::str::from_utf8(self.body).expect("text");
            crate::assert_lines(answer);
            assert!(self.header("location").is_some() && self.header("etag").is_some());
        }
    }
}

/// Reads answers for as long as they follow each other; those to HEAD and endless ones end it.
fn answers(mut bytes: &[u8]) -> Vec<Answer<'_>> {
    let mut all = Vec::new();
    while bytes.starts_with(b"HTTP/1.") {
        let Some(size) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            break;
        };
        let head = std::str::from_utf8(&bytes[..size]).expect("heads are text");
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        bytes = &bytes[size + 4..];
        let mut answer = Answer {
            status: status.expect("a status"),
            head,
            body: &[],
        };
        let length = answer.header("content-length").map(str::parse);
        let length = length.unwrap_or(Ok(0)).expect("a length");
        (answer.body, bytes) = bytes.split_at(bytes.len().min(length));
        all.push(answer);
    }
    all
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_current_thread();
        builder.enable_all();
        builder.build().expect("a runtime")
    })
}

fn description() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    let text = include_str!("../../control/src/http/openapi.json");
    DESCRIPTION.get_or_init(|| serde_json::from_str(text).expect("JSON"))
}

/// For requests that are answered.
const WITHIN: Duration = Duration::from_secs(10);
/// For bytes that may wait for more of them.
const SILENCE: Duration = Duration::from_millis(20);
const OPERATIONS_MAX: usize = 8;
const METHODS: &[&str] = &[
    "POST", "PATCH", "GET", "DELETE", "HEAD", "OPTIONS", "PUT", "QUERY",
];
const STREAMS: &[&str] = &["a", "b", "%C3%BC%2F", "%", "a%00", "..", "%2e%2e"];
const HEADERS: &[&str] = &[
    "Content-Type: application/sdp",
    "Content-Type: application/trickle-ice-sdpfrag",
    "Content-Type: application/json",
    "If-Match: {tag}",
    "If-Match: \"x\", *",
    "Origin: http://localhost",
    "Authorization: Bearer x",
    "Expect: 100-continue",
];

macro_rules! corpus {
    ($($name:literal),*) => {
        &[$(include_str!(concat!("../../tests/corpus/sdp/", $name, ".sdp"))),*, FRAGMENT, JSON]
    };
}

/// What bodies are made of.
const TEXTS: &[&str] = corpus!(
    "chrome-publish",
    "chrome-publish-simulcast",
    "chrome-watch",
    "chrome-watch-data",
    "firefox-publish",
    "firefox-watch",
    "safari-publish",
    "aiortc-publish",
    "aiortc-watch-data",
    "gstreamer-publish",
    "gstreamer-watch",
    "ffmpeg-publish",
    "obs-publish",
    "pion-watch",
    "larix-publish"
);
const FRAGMENT: &str = "a=group:BUNDLE 0\r\na=ice-ufrag:newu\r\na=ice-pwd:0123456789012345678901\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
    a=candidate:1 1 UDP 2130706431 192.0.2.10 40000 typ host\r\na=end-of-candidates\r\n";
const JSON: &str = r#"{"kind":"video","enabled":false,"rid":null,"sourceUrl":"http://a/whep/b"}"#;
