//! What forwarding costs inside the engine: CPU time per packet to a viewer, in memory, without
//! sockets. How to run and read it: docs/performance.md.

#[path = "../dataplane/engine/tests/fan/mod.rs"]
#[allow(
    dead_code,
    reason = "shared with the engine's tests, which use more of it"
)]
mod fan;

use std::time::Duration;

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use fan::Fan;

/// The binary's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    if let Some(frames) = std::env::var_os("BENCH_COUNT_FRAMES") {
        return once(&frames);
    }
    println!("| viewers | packets at once | ns per packet, median | lowest | packets per run |");
    println!("|---:|---:|---:|---:|---:|");
    for viewers in [10, 100, 1000] {
        let mut fan = Fan::new(1, viewers);
        for packets in [1, 3, 9] {
            let mut block = || block(&mut fan, packets, viewers);
            // Caches, buffers and what is kept find their sizes.
            block();
            let mut samples: Vec<(f64, f64)> = (0..BLOCKS).map(|_| block()).collect();
            samples.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (median, per_run) = samples[BLOCKS / 2];
            let lowest = samples[0].0;
            println!("| {viewers} | {packets} | {median:.0} | {lowest:.0} | {per_run:.1} |");
        }
    }
}

/// So many frames of nine packets to a hundred viewers, for who counts instructions
/// (benches/instructions); says how many packets were forwarded.
fn once(frames: &std::ffi::OsStr) {
    let frames = frames.to_str().and_then(|text| text.parse().ok());
    let frames: usize = frames.expect("BENCH_COUNT_FRAMES is a number");
    let mut fan = Fan::new(1, 100);
    let mut datagrams = 0;
    for _ in 0..frames {
        datagrams += fan.frame(9, PAYLOAD_SIZE, FRAME_TIME).datagrams;
    }
    println!("{datagrams}");
}

/// Nanoseconds per packet over one block, and how many of them shared a run.
fn block(fan: &mut Fan, packets: u16, viewers: usize) -> (f64, f64) {
    let frames = DATAGRAMS_PER_BLOCK.div_ceil(usize::from(packets) * viewers);
    let (mut datagrams, mut runs, mut spent) = (0, 0, 0);
    for _ in 0..frames {
        fan.arrive(packets, PAYLOAD_SIZE);
        let before = cpu_time();
        let sent = fan.forward();
        spent += cpu_time() - before;
        datagrams += sent.datagrams;
        runs += sent.runs;
        fan.pass(FRAME_TIME);
    }
    assert!(
        datagrams >= usize::from(packets) * viewers * frames,
        "nobody left"
    );
    (
        spent as f64 / datagrams as f64,
        datagrams as f64 / runs as f64,
    )
}

/// Nanoseconds this thread has run.
fn cpu_time() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock");
    now.num_nanoseconds()
}

const PAYLOAD_SIZE: usize = 1_157;
const BLOCKS: usize = 9;
const DATAGRAMS_PER_BLOCK: usize = 9_000;
/// Short, so that nobody is given up for silence while the bench runs.
const FRAME_TIME: Duration = Duration::from_micros(500);
