//! What forwarding costs: CPU time of the shard's thread per packet sent to a viewer, over real
//! loopback sockets, the back ends against each other in one run.
//!
//! All nodes are up at the same time, each with one shard and its own viewers. A round gives each
//! of them the publisher for a while, in an order that changes from round to round, so that noise
//! of the machine hits all alike. Viewers connect for real; then their sockets are only emptied.
//! How to run and read it: docs/performance.md.

#[path = "../tests/wire/client.rs"]
#[allow(dead_code, reason = "shared with the wire tests, which use more of it")]
mod client;
#[path = "../tests/wire/http.rs"]
#[allow(dead_code, reason = "shared with the wire tests, which use more of it")]
mod http;
#[path = "../tests/wire/media.rs"]
#[allow(dead_code, reason = "shared with the wire tests, which use more of it")]
mod media;
#[path = "../tests/wire/node.rs"]
#[allow(dead_code, reason = "shared with the wire tests, which use more of it")]
mod node;

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut, Read};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use whitewater_net::probe_uring;

use client::{Client, Wish};
use media::Pattern;
use node::{Running, eventually};

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let plan = match Plan::from_environment() {
        Ok(plan) => plan,
        Err(wrong) => {
            eprintln!("fanout: {wrong}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("{plan:?}");
    let backends: &[&str] = match probe_uring() {
        Ok(()) => &["uring", "mmsg", "tokio-uring"],
        Err(reason) => {
            eprintln!("only mmsg is measured: {reason}");
            &["mmsg"]
        }
    };
    let drain = Drain::start();
    let mut nodes: Vec<Measured> = Vec::new();
    for gso in [true, false] {
        for backend in backends {
            nodes.push(Measured::start(backend, gso, plan.viewers, &drain));
        }
    }
    for (name, smooth) in [("bursts", false), ("smoothed", true)] {
        let pattern = plan.pattern(smooth);
        let publishers: Vec<Client> = nodes.iter().map(|node| node.publisher(pattern)).collect();
        for round in 0..=plan.rounds {
            for turn in 0..nodes.len() {
                let index = (turn + round) % nodes.len();
                let sample = nodes[index].sample(&publishers[index], plan.round);
                // The first round fills caches and tables.
                if round > 0 {
                    nodes[index].samples.push(sample);
                }
                eprintln!("{name} {round} {} {sample:?}", nodes[index].name());
            }
        }
        for publisher in &publishers {
            publisher.leave();
        }
        print!("{}", table(name, &plan, &nodes));
        for node in &mut nodes {
            node.samples.clear();
        }
    }
    ExitCode::SUCCESS
}

/// What is measured, from the environment.
#[derive(Debug)]
struct Plan {
    viewers: usize,
    rounds: usize,
    round: Duration,
}

impl Plan {
    fn from_environment() -> Result<Self, String> {
        Ok(Plan {
            viewers: number("FANOUT_VIEWERS", 50)?,
            rounds: number("FANOUT_ROUNDS", 5)?.max(1),
            round: Duration::from_millis(number("FANOUT_ROUND_MS", 2000)? as u64),
        })
    }

    /// 2.5 Mbit/s: nine packets of 1,157 bytes, 30 times a second.
    fn pattern(&self, smooth: bool) -> Pattern {
        Pattern {
            frame_interval: Duration::from_micros(33_333),
            packets_per_frame: 9,
            payload_size: 1157,
            smooth,
        }
    }
}

fn number(name: &str, otherwise: usize) -> Result<usize, String> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{name}={text:?} is not a number")),
        Err(_) => Ok(otherwise),
    }
}

/// One node under measurement.
struct Measured {
    backend: &'static str,
    gso: bool,
    node: Running,
    /// Threads whose CPU time counts: the shard's, and what the kernel starts for its ring.
    threads: BTreeSet<u32>,
    delivered: Arc<AtomicU64>,
    samples: Vec<Sample>,
}

/// One turn of one node.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// CPU time of the shard, by packet that reached a viewer's socket.
    ns_per_packet: f64,
    packets: u64,
    /// Share of one core.
    core: f64,
}

impl Measured {
    fn start(backend: &&'static str, gso: bool, viewers: usize, drain: &Drain) -> Self {
        let before = threads("shard-");
        let node = Running::start(&[
            ("media.backend", backend),
            ("media.gso", if gso { "true" } else { "false" }),
            ("media.shards", "1"),
            // Viewers that are only emptied do not say that they are alive.
            ("limits.dead_peer_timeout_s", "86400"),
        ]);
        let threads = threads("shard-").difference(&before).copied().collect();
        let delivered = Arc::new(AtomicU64::new(0));
        let watch = |_| Client::start(node.http, STREAM, Wish::watch());
        let clients: Vec<Client> = (0..viewers).map(watch).collect();
        for client in &clients {
            eventually("a viewer connects", || client.seen().connected);
        }
        for client in clients {
            drain.take(client.into_socket(), delivered.clone());
        }
        Measured {
            backend,
            gso,
            node,
            threads,
            delivered,
            samples: Vec::new(),
        }
    }

    fn name(&self) -> String {
        format!("{} gso={}", self.backend, self.gso)
    }

    /// A publisher that is connected and has nothing to say yet.
    fn publisher(&self, pattern: Pattern) -> Client {
        let client = Client::start(self.node.http, STREAM, Wish::publish_as(pattern));
        eventually("the publisher connects", || client.seen().connected);
        client.hush();
        client
    }

    fn sample(&self, publisher: &Client, round: Duration) -> Sample {
        publisher.speak();
        std::thread::sleep(SETTLE);
        let delivered = self.delivered.load(Ordering::Relaxed);
        let spent = self.cpu_time();
        let since = Instant::now();
        std::thread::sleep(round);
        let elapsed = since.elapsed();
        let spent = self.cpu_time() - spent;
        let packets = self.delivered.load(Ordering::Relaxed) - delivered;
        publisher.hush();
        std::thread::sleep(SETTLE);
        Sample {
            ns_per_packet: spent.as_nanos() as f64 / packets.max(1) as f64,
            packets,
            core: spent.as_secs_f64() / elapsed.as_secs_f64(),
        }
    }

    fn cpu_time(&self) -> Duration {
        let ring_workers = threads("iou-");
        let tasks = self.threads.iter().chain(&ring_workers);
        tasks.map(|task| on_cpu(*task).unwrap_or_default()).sum()
    }
}

/// Threads of this process whose name starts with `prefix`.
fn threads(prefix: &str) -> BTreeSet<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let named = |task: io::Result<std::fs::DirEntry>| {
        let task = task.ok()?;
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let number = task.file_name().to_str()?.parse().ok()?;
        name.starts_with(prefix).then_some(number)
    };
    tasks.filter_map(named).collect()
}

/// Time a thread has spent on a CPU, in the kernel and out of it.
fn on_cpu(task: u32) -> Option<Duration> {
    let mut text = String::new();
    let path = format!("/proc/self/task/{task}/schedstat");
    std::fs::File::open(path)
        .ok()?
        .read_to_string(&mut text)
        .ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Empties the viewers' sockets now and then, so that no viewer's thread is woken by a packet.
struct Drain {
    sockets: Arc<Mutex<Vec<Drained>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A viewer's socket, and where its datagrams are counted.
type Drained = (UdpSocket, Arc<AtomicU64>);

impl Drain {
    fn start() -> Self {
        let sockets = Arc::new(Mutex::new(Vec::<Drained>::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (sockets.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                let sockets = shared.lock().unwrap_or_else(PoisonError::into_inner);
                for (socket, delivered) in sockets.iter() {
                    while let Some(count) = receive(socket, &mut buffer) {
                        delivered.fetch_add(count, Ordering::Relaxed);
                    }
                }
                drop(sockets);
                std::thread::sleep(SWEEP_INTERVAL);
            }
        });
        Drain {
            sockets,
            stop,
            thread: Some(thread),
        }
    }

    fn take(&self, socket: UdpSocket, delivered: Arc<AtomicU64>) {
        // Without it the kernel cuts every train apart again and the sender pays for it.
        if let Err(error) = setsockopt(&socket, sockopt::UdpGroSegment, &true) {
            eprintln!("without UDP_GRO: {error}");
        }
        // A frame and some, as a viewer's browser sets it.
        if let Err(error) = setsockopt(&socket, sockopt::RcvBuf, &(1 << 20)) {
            eprintln!("with a small receive buffer: {error}");
        }
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.push((socket, delivered));
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes one message from a socket; how many datagrams it was before they were merged.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<u64> {
    let mut control = cmsg_space!(i32);
    let mut slices = [IoSliceMut::new(buffer)];
    let fd = socket.as_raw_fd();
    let message = recvmsg::<()>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT);
    let message = message.ok()?;
    let segment = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
        _ => None,
    });
    let count = segment.map_or(1, |size| message.bytes.div_ceil(size.max(1)));
    Some(count.max(1) as u64)
}

fn table(name: &str, plan: &Plan, nodes: &[Measured]) -> String {
    let viewers = plan.viewers;
    let median = |node: &Measured, of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = node.samples.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let range = (values[0], values[values.len() - 1]);
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        (median, range)
    };
    let ns = |node: &Measured| median(node, |sample| sample.ns_per_packet);
    let base = nodes.iter().find(|node| node.backend == "mmsg" && node.gso);
    let base = base.map_or(1.0, |node| ns(node).0);
    let mut text = format!(
        "\n### 1 publisher, {viewers} viewers, 2.5 Mbit/s at 30 frames/s, {name}\n\n\
         | back end | GSO | CPU per packet, median | lowest to highest | against mmsg with GSO | packets/s | share of a core |\n\
         |---|---|---:|---:|---:|---:|---:|\n"
    );
    for node in nodes {
        let (middle, (low, high)) = ns(node);
        let (packets, _) = median(node, |sample| sample.packets as f64);
        let (core, _) = median(node, |sample| sample.core);
        text += &format!(
            "| {} | {} | {:.2} µs | {:.2} to {:.2} µs | {:.2} | {:.0} | {:.1} % |\n",
            node.backend,
            if node.gso { "on" } else { "off" },
            middle / 1e3,
            low / 1e3,
            high / 1e3,
            middle / base,
            packets / plan.round.as_secs_f64(),
            core * 100.0,
        );
    }
    text
}

const STREAM: &str = "fanout";
/// From the first packet until the rate is steady.
const SETTLE: Duration = Duration::from_millis(500);
const SWEEP_INTERVAL: Duration = Duration::from_millis(5);
