//! HTTP as plain as it gets: one request a connection, read to its end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends one request and reads the whole answer.
pub(crate) fn request(
    http: SocketAddr,
    method: &str,
    path: &str,
    body: Option<(&str, &str)>,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(http)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (kind, body) = body.unwrap_or(("", ""));
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n");
    if !kind.is_empty() {
        text += &format!("Content-Type: {kind}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other(format!("not an answer: {answer:?}")))
}

/// The sum of all samples of a metric whose labels contain `label`.
pub(crate) fn metric(http: SocketAddr, name: &str, label: &str) -> f64 {
    let page = request(http, "GET", "/metrics", None).expect("the metrics");
    assert_eq!(page.status, 200);
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, labels) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.contains(label)).then(|| value.parse::<f64>().expect("a number"))
    };
    page.body.lines().filter_map(sample).sum()
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

const PATIENCE: Duration = Duration::from_secs(20);
