//! A server with a publisher and two viewers who check every packet, while something happens to it.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::line::{Line, Tally, request};
use crate::client::{Client, Wish, offer_text};
use crate::forwarding::watched;
use crate::node::Process;

/// A running server that is being watched.
pub(super) struct Scene {
    pub(super) process: Process,
    pub(super) publisher: Client,
    pub(super) viewers: [Client; 2],
    name: &'static str,
    memory_growth_mib_max: u64,
    memory_before_kib: u64,
    frames_before: u32,
    is_over: Arc<AtomicBool>,
    descriptors_max: Arc<AtomicUsize>,
    descriptors: JoinHandle<()>,
    joins: JoinHandle<Tally>,
}

impl Scene {
    /// Starts the server with these settings; `token`, if it asks for one, is for media and for
    /// those who join meanwhile.
    pub(super) fn begin(name: &'static str, token: Option<&str>, settings: &[&str]) -> Scene {
        let tokens =
            token.map(|token| ("WHITEWATER_AUTH_TOKENS", format!("{token},{FLOOD_TOKEN}")));
        let variables: Vec<(&str, &str)> = tokens
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut arguments = vec!["--shards", "2", "--set", "auth.token_in_url=true"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let process = Process::serving_with(&variables, &arguments);
        let http = process.http();
        let stream = match token {
            Some(token) => format!("cam?token={token}"),
            None => "cam".to_owned(),
        };
        let publisher = Client::start(http, &stream, Wish::publish());
        let viewers = [0, 1].map(|_| Client::start(http, &stream, Wish::watch()));
        for viewer in &viewers {
            watched(viewer, 10);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let descriptors_max = Arc::new(AtomicUsize::new(process.descriptors()));
        process.forget_memory_peak();
        let frames_before = publisher.seen().next_frame;
        Scene {
            name,
            memory_growth_mib_max: MEMORY_GROWTH_MIB_MAX,
            memory_before_kib: process.memory_kib(),
            frames_before,
            descriptors: count_descriptors(&process, &descriptors_max, &is_over),
            joins: join_meanwhile(http, &stream, &is_over),
            is_over,
            descriptors_max,
            publisher,
            viewers,
            process,
        }
    }

    /// The attack takes more memory than others may, by a limit that says so.
    pub(super) fn allow_memory(&mut self, more_mib: u64) {
        self.memory_growth_mib_max += more_mib;
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.process.http()
    }

    /// How many descriptors the server had at most so far.
    pub(super) fn descriptors_max(&self) -> usize {
        self.descriptors_max.load(Ordering::Relaxed)
    }

    /// Checks that nobody was harmed, and writes a line of the table.
    pub(super) fn end(self, what: &str, answers: &str) {
        self.is_over.store(true, Ordering::Relaxed);
        let joins = self.joins.join().expect("no panic");
        self.descriptors.join().expect("no panic");
        let published = self.publisher.seen().next_frame;
        assert!(published > self.frames_before, "{}", self.name);
        for viewer in &self.viewers {
            let first = viewer.seen().video.first.expect("a packet").frame;
            watched(viewer, published.saturating_sub(first) + 10);
            assert!(!viewer.seen().closed, "{}", self.name);
        }
        assert!(!self.publisher.seen().closed, "{}", self.name);
        let peak = self.process.memory_peak_kib();
        let grown = peak.saturating_sub(self.memory_before_kib) / 1024;
        let frames = published - self.frames_before;
        let row = format!(
            "| {} | {what} | {answers} | {joins} | {grown} MiB | {} | {frames} frames, all whole |",
            self.name,
            self.descriptors_max.load(Ordering::Relaxed),
        );
        println!("{row}");
        write(&row);
        assert!(joins.of(201) > 0, "somebody could join: {joins}");
        let most = self.memory_growth_mib_max;
        assert!(grown <= most, "{grown} MiB more memory");
    }
}

/// The highest number of descriptors the server has had.
fn count_descriptors(
    process: &Process,
    most: &Arc<AtomicUsize>,
    is_over: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (id, most, is_over) = (process.id(), most.clone(), is_over.clone());
    thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            most.fetch_max(crate::node::descriptors_of(id), Ordering::Relaxed);
            thread::sleep(Duration::from_millis(100));
        }
    })
}

/// Somebody from an address of its own comes and goes twice a second.
fn join_meanwhile(http: SocketAddr, stream: &str, is_over: &Arc<AtomicBool>) -> JoinHandle<Tally> {
    let headers = "Content-Type: application/sdp\r\n";
    let path = format!("/whep/{stream}");
    let (_, query) = path.split_once('?').unwrap_or_default();
    let query = query.to_owned();
    let post = request("POST", &path, headers, &offer_text(&Wish::watch()));
    let is_over = is_over.clone();
    thread::spawn(move || {
        let mut tally = Tally::default();
        let mut line = Line::new(http, Ipv4Addr::new(127, 9, 9, 9));
        while !is_over.load(Ordering::Relaxed) {
            let heard = line.ask(&post);
            tally.note(&heard);
            let session = heard.ok().and_then(|heard| {
                let location = heard.header("location")?;
                Some(format!("{location}?{query}"))
            });
            if let Some(session) = session {
                let gone = line.ask(&request("DELETE", &session, "", ""));
                assert!(gone.is_ok_and(|heard| heard.status == 204));
            }
            thread::sleep(Duration::from_millis(500));
        }
        tally
    })
}

/// Rows of all tests of a run, one after the other.
fn write(row: &str) {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/attacks.md");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("a file for the table");
    writeln!(file, "{row}").expect("written");
}

/// The token of who floods.
pub(super) const FLOOD_TOKEN: &str = "of-the-flood";
/// The token of everybody else.
pub(super) const HOUSE_TOKEN: &str = "of-the-house";
/// What an attack may cost while it lasts.
const MEMORY_GROWTH_MIB_MAX: u64 = 64;
