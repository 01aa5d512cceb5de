//! CPU time per packet of every back end over loopback, side by side in one run.
//!
//! `cargo run --release -p whitewater-net --example blast [-- rounds]`
//!
//! Send: 100 destinations, 1,200-byte datagrams, trains of 1, 8 and 16, into sockets nobody reads
//! (full after the first moments: the receive half drops). Sinks with UDP_GRO stand in for a
//! network card with segmentation offload, sinks without for one that has none. Receive: another
//! thread floods one socket. The figure is the CPU time of the measured thread divided by packets;
//! on loopback the sender also pays for most of the receive half.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{ClockId, clock_gettime};
use whitewater_net::{Backend, BackendKind, Choice, Config, Outgoing, open};

fn main() {
    let rounds = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(5);
    println!("send, ns CPU per packet: median (min) of {rounds}");
    for gro in [false, true] {
        for train in [1, 8, 16] {
            let sinks = sinks(gro);
            let cells = KINDS.map(|kind| cell(rounds, || send(kind, train, &sinks)));
            row(&format!("train {train:>2}, GRO sinks {gro}"), cells);
        }
    }
    println!("receive, ns CPU per packet: median (min) of {rounds}");
    for train in [1, 8] {
        let cells = KINDS.map(|kind| cell(rounds, || receive(kind, train)));
        row(&format!("train {train:>2}"), cells);
    }
}

/// A back end each for the sinks' addresses, never drained.
struct Sinks {
    addrs: Vec<SocketAddr>,
    _open: Vec<Box<dyn Backend>>,
}

fn sinks(gro: bool) -> Sinks {
    let open: Vec<_> = (0..DESTINATIONS)
        .map(|_| {
            backend(BackendKind::Mmsg, |config| {
                config.gro = gro;
                config.recv_buffers = 8;
                config.recv_buffer_bytes = 1 << 16;
            })
        })
        .collect();
    Sinks {
        addrs: open.iter().map(|sink| sink.local_addrs()[0]).collect(),
        _open: open,
    }
}

fn send(kind: BackendKind, train: usize, sinks: &Sinks) -> f64 {
    let mut net = backend(kind, |_| {});
    let mut outgoing = Outgoing::default();
    for addr in &sinks.addrs {
        for _ in 0..train {
            assert!(outgoing.push(*addr, None, vec![7; SIZE]));
        }
    }
    net.send(&outgoing);
    let (start, cpu) = (Instant::now(), cpu_ns());
    let mut packets = 0;
    while start.elapsed() < ROUND {
        packets += net.send(&outgoing).sent;
    }
    (cpu_ns() - cpu) / packets as f64
}

fn receive(kind: BackendKind, train: usize) -> f64 {
    let mut net = backend(kind, |_| {});
    let to = net.local_addrs()[0];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut flooder = backend(BackendKind::Mmsg, |_| {});
            let mut outgoing = Outgoing::default();
            for _ in 0..4 {
                for index in 0..train {
                    // The last one is shorter, so that trains stay apart.
                    let size = SIZE - usize::from(index + 1 == train);
                    assert!(outgoing.push(to, None, vec![7; size]));
                }
            }
            while !stop.load(Ordering::Relaxed) {
                flooder.send(&outgoing);
            }
        });
        let mut bytes = 0;
        let mut turn = |net: &mut dyn Backend| {
            net.wait(Some(Duration::from_millis(10))).expect("wait");
            net.drain(1024, &mut |d| bytes += d.bytes.len()).count
        };
        turn(&mut *net);
        let (start, cpu) = (Instant::now(), cpu_ns());
        let mut packets = 0;
        while start.elapsed() < ROUND {
            packets += turn(&mut *net);
        }
        let spent = cpu_ns() - cpu;
        stop.store(true, Ordering::Relaxed);
        std::hint::black_box(bytes);
        spent / packets as f64
    })
}

fn backend(kind: BackendKind, change: impl FnOnce(&mut Config)) -> Box<dyn Backend> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let mut config = Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), bell);
    config.backend = Choice::Kind(kind);
    change(&mut config);
    open(config).expect("a back end").backend
}

fn cell(rounds: usize, mut measure: impl FnMut() -> f64) -> (f64, f64) {
    let mut figures: Vec<f64> = (0..rounds.max(1)).map(|_| measure()).collect();
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0])
}

fn row(title: &str, cells: [(f64, f64); 3]) {
    print!("{title:<28}");
    for (kind, (median, min)) in KINDS.iter().zip(cells) {
        print!("  {kind} {median:.0} ({min:.0})");
    }
    println!();
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

const KINDS: [BackendKind; 3] = [
    BackendKind::Uring,
    BackendKind::Mmsg,
    BackendKind::TokioUring,
];
const DESTINATIONS: usize = 100;
const SIZE: usize = 1200;
const ROUND: Duration = Duration::from_millis(200);
