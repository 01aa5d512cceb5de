//! Seal and send without a server: every way out × packet size × peers × segmentation.

use std::time::Duration;

use whitewater_net::{BackendKind, probe_uring};

use crate::common::{Bar, Failed, Median, median, number, plot};
use crate::floor::{Exit, Sender, Sinks, paced};

pub(crate) fn run() -> Result<String, Failed> {
    let rounds = number("BENCH_ROUNDS", 5)?.max(1);
    let round = Duration::from_millis(number("BENCH_ROUND_MS", 1500)?.into()) / 8;
    let mut ways: Vec<Way> = Vec::new();
    for gso in [true, false] {
        if probe_uring().is_ok() {
            ways.push(Way::Backend(BackendKind::Uring, gso));
        }
        ways.push(Way::Backend(BackendKind::Mmsg, gso));
    }
    ways.push(Way::Naive);
    let mut text = format!(
        "### Seal and send, no server\n\n\
         CPU nanoseconds a packet, median of {rounds} rounds; in brackets the lowest. Each peer has \
         its own key and gets runs of {RUN} packets.\n\n\
         | packet | peers |{}\n|---|---:|{}\n",
        ways.iter()
            .map(|way| format!(" {} |", way.name()))
            .collect::<String>(),
        "---:|".repeat(ways.len()),
    );
    let mut bars = Vec::new();
    for size in [160, 1200] {
        for peers in [10, 100, 1000] {
            let cells = row(&ways, size, peers, rounds, round)?;
            text += &format!("| {size} B | {peers} |");
            for (way, cell) in ways.iter().zip(&cells) {
                text += &format!(" {:.0} ({:.0}) |", cell.middle, cell.low);
                if (size, peers) == (1200, 100) {
                    bars.push(Bar {
                        label: way.name(),
                        value: cell.middle / 1e3,
                    });
                }
            }
            text += "\n";
            eprintln!("pipeline {size} {peers} {cells:?}");
        }
    }
    let title = "Seal and send 1,200 bytes to 100 peers: CPU time a packet";
    Ok(text + &plot("pipeline", title, "µs", &bars)?)
}

/// One row of the table; the ways take turns, so that noise hits all alike.
fn row(
    ways: &[Way],
    size: usize,
    peers: usize,
    rounds: u32,
    round: Duration,
) -> Result<Vec<Median>, Failed> {
    let sinks = Sinks::start(peers)?;
    let mut sender = Sender::new(&sinks, size)?;
    let mut exits = ways.iter().map(Way::open).collect::<Result<Vec<_>, _>>()?;
    let mut samples = vec![Vec::new(); ways.len()];
    for turn in 0..=rounds as usize {
        for step in 0..ways.len() {
            let index = (step + turn) % ways.len();
            let ns = paced(&mut sender, &mut exits[index], RUN, INTERVAL, round);
            // The first turn fills caches and tables.
            if turn > 0 {
                samples[index].push(ns);
            }
        }
    }
    let medians = samples.into_iter().filter_map(median);
    Ok(medians.collect())
}

enum Way {
    Backend(BackendKind, bool),
    Naive,
}

impl Way {
    fn name(&self) -> String {
        match self {
            Way::Backend(kind, true) => format!("{kind}, GSO"),
            Way::Backend(kind, false) => kind.to_string(),
            Way::Naive => "sendto".to_owned(),
        }
    }

    fn open(&self) -> Result<Exit, Failed> {
        match self {
            Way::Backend(kind, gso) => Exit::backend(*kind, *gso),
            Way::Naive => Exit::naive(),
        }
    }
}

const RUN: u64 = 8;
/// Long enough for the sinks to be emptied meanwhile.
const INTERVAL: Duration = Duration::from_millis(15);
