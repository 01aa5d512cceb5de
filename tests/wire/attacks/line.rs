//! Connections that ask again and again, and note how long each answer takes.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// A connection that stays, or is made again where the server ends it.
pub(super) struct Line {
    http: SocketAddr,
    from: Ipv4Addr,
    stream: Option<BufReader<TcpStream>>,
}

/// An answer, as far as it matters here.
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) took: Duration,
    pub(super) head: String,
}

impl Heard {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Line {
    pub(super) fn new(http: SocketAddr, from: Ipv4Addr) -> Self {
        let stream = None;
        Line { http, from, stream }
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) fn ask(&mut self, request: &[u8]) -> io::Result<Heard> {
        if let Some(stream) = self.stream.take() {
            // The server may have ended a connection that was asked once.
            let heard = self.ask_over(stream, request);
            if heard.is_ok() {
                return heard;
            }
        }
        let stream = connect(self.http, self.from)?;
        self.ask_over(BufReader::new(stream), request)
    }

    fn ask_over(&mut self, mut stream: BufReader<TcpStream>, request: &[u8]) -> io::Result<Heard> {
        let began = Instant::now();
        stream.get_mut().write_all(request)?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.get(9..12).and_then(|text| text.parse().ok());
        let heard = Heard {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            took: began.elapsed(),
            head,
        };
        let size = heard.header("content-length");
        let size: u64 = size.and_then(|text| text.parse().ok()).unwrap_or(0);
        io::copy(&mut (&mut stream).take(size), &mut io::sink())?;
        if heard.header("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(heard)
    }
}

/// From an address of this machine, with patience.
pub(super) fn connect(http: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&http.into())?;
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A request as text, with what every one has.
pub(super) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {size}\r\n\r\n\
         {body}"
    )
    .into_bytes()
}

/// What was answered, and how fast.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Connections that ended without an answer.
    pub(super) broken: u64,
    took: Vec<Duration>,
    lasted: Duration,
}

impl Tally {
    pub(super) fn note(&mut self, heard: &io::Result<Heard>) {
        match heard {
            Ok(heard) => {
                *self.statuses.entry(heard.status).or_default() += 1;
                self.took.push(heard.took);
            }
            Err(_) => self.broken += 1,
        }
    }

    pub(super) fn of(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    pub(super) fn sum(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// The time that so many of a thousand answers took at most.
    pub(super) fn within(&self, permille: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let index = (took.len() * permille / 1000).min(took.len().saturating_sub(1));
        took.get(index).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Tally) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.broken += other.broken;
        self.took.extend(other.took);
    }
}

/// `401 × 50000; p50 0.4 ms, p99 2.1 ms; 4980/s`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses = self.statuses.iter();
        let mut parts: Vec<String> = statuses
            .map(|(status, count)| format!("{status} × {count}"))
            .collect();
        if self.broken > 0 {
            parts.push(format!("no answer × {}", self.broken));
        }
        let ms = |permille| self.within(permille).as_secs_f64() * 1000.0;
        write!(f, "{}; p50 {:.1} ms", parts.join(", "), ms(500))?;
        write!(f, ", p99 {:.1} ms", ms(990))?;
        let seconds = self.lasted.as_secs_f64();
        if seconds > 0.0 {
            write!(f, "; {:.0}/s", self.sum() as f64 / seconds)?;
        }
        Ok(())
    }
}

/// Asks `count` times over all lines, `per_second` times a second or as often as answers allow.
/// `request` is told which one it is.
pub(super) fn flood(
    lines: Vec<Line>,
    count: u64,
    per_second: u64,
    request: impl Fn(u64) -> Vec<u8> + Sync,
) -> Tally {
    let began = Instant::now();
    let step = lines.len() as u64;
    let request = &request;
    let mut whole = Tally::default();
    thread::scope(|scope| {
        let floods: Vec<_> = (0..)
            .zip(lines)
            .map(|(first, mut line)| {
                scope.spawn(move || {
                    yield_to_others();
                    let mut tally = Tally::default();
                    let mut index = first;
                    while index < count {
                        let due = began + Duration::from_micros(index * 1_000_000 / per_second);
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        tally.note(&line.ask(&request(index)));
                        index += step;
                    }
                    tally
                })
            })
            .collect();
        for flood in floods {
            whole.add(flood.join().expect("no panic"));
        }
    });
    whole.lasted = began.elapsed();
    whole
}

/// An attacker has a machine of its own: here it must not take the processor from the server and
/// from those who watch.
pub(super) fn yield_to_others() {
    // Where this is not allowed the figures are worse, and that is all.
    let _ = rustix::process::nice(10);
}

const PATIENCE: Duration = Duration::from_secs(30);
