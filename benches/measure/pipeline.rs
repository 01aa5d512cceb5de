//! Seal and send without a server: every way out × packet size × peers × segmentation.

use std::time::Duration;

use whitewater_net::{BackendKind, probe_uring};

use crate::common::{Bar, Failed, Median, median, number, plot};
use crate::floor::{Exit, Sender, Sinks, paced};

pub(crate) fn run() -> Result<String, Failed> {
    let rounds = number("BENCH_PAIRS", 21)?.max(1);
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
    let mut against = String::new();
    let mut bars = Vec::new();
    for size in [160, 1200] {
        for peers in [10, 100, 1000] {
            let samples = row(&ways, size, peers, rounds, round)?;
            let cells: Vec<Median> = samples
                .iter()
                .filter_map(|of| median(of.iter().copied()))
                .collect();
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
            for gso in [true, false] {
                if let Some(pair) = pair(&ways, &samples, gso) {
                    against += &format!(
                        "| {size} B | {peers} | {} | {} | {:.2} | {:.2} to {:.2} |\n",
                        if gso { "on" } else { "off" },
                        pair.best_other,
                        pair.ratio.middle,
                        pair.quarters.0,
                        pair.quarters.1,
                    );
                }
            }
            eprintln!("pipeline {size} {peers} {cells:?}");
        }
    }
    if !against.is_empty() {
        text += &format!(
            "\nThe default against the best other way, round by round: CPU time of `uring` divided by the \
             other's in the same round, median of {rounds} and the middle half of them.\n\n\
             | packet | peers | GSO | best other | ratio | middle half |\n\
             |---|---:|---|---|---:|---:|\n{against}"
        );
    }
    let title = "Seal and send 1,200 bytes to 100 peers: CPU time a packet";
    Ok(text + &plot("pipeline", title, "µs", &bars)?)
}

/// The default way out against the best of the others, both in the same rounds.
struct Pair {
    best_other: String,
    ratio: Median,
    quarters: (f64, f64),
}

/// `None` where there is no io_uring.
fn pair(ways: &[Way], samples: &[Vec<f64>], gso: bool) -> Option<Pair> {
    let of = |wanted: fn(&Way, bool) -> bool| {
        let found = ways.iter().zip(samples);
        found.filter(move |(way, _)| wanted(way, gso))
    };
    let is_default =
        |way: &Way, gso: bool| matches!(way, Way::Backend(BackendKind::Uring, on) if *on == gso);
    let is_other = |way: &Way, gso: bool| match way {
        Way::Backend(kind, on) => *kind != BackendKind::Uring && *on == gso,
        Way::Naive => !gso,
    };
    let (_, own) = of(is_default).next()?;
    let middle = |of: &Vec<f64>| median(of.iter().copied()).map_or(f64::MAX, |of| of.middle);
    let (other, others) = of(is_other).min_by(|a, b| middle(a.1).total_cmp(&middle(b.1)))?;
    let mut ratios: Vec<f64> = own.iter().zip(others).map(|(a, b)| a / b).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let quarters = (
        ratios[ratios.len() / 4],
        ratios[ratios.len() - 1 - ratios.len() / 4],
    );
    Some(Pair {
        best_other: other.name(),
        ratio: median(ratios)?,
        quarters,
    })
}

/// One row of the table, nanoseconds of each way in each round; the ways take turns, so that noise
/// hits all alike.
fn row(
    ways: &[Way],
    size: usize,
    peers: usize,
    rounds: u32,
    round: Duration,
) -> Result<Vec<Vec<f64>>, Failed> {
    let sinks = Sinks::start(peers, true)?;
    let mut sender = Sender::new(&sinks, size)?;
    let mut exits = ways.iter().map(Way::open).collect::<Result<Vec<_>, _>>()?;
    let mut samples = vec![Vec::new(); ways.len()];
    for turn in 0..=rounds as usize {
        for step in 0..ways.len() {
            let index = (step + turn) % ways.len();
            let ns = paced(&mut sender, &mut exits[index], &[RUN], INTERVAL, round);
            // The first turn fills caches and tables.
            if turn > 0 {
                samples[index].push(ns);
            }
        }
    }
    Ok(samples)
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
