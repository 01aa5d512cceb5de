//! What viewers weigh: resident memory of a server with many of them, and after they left.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use whitewater_load::{Member, Pacing, Program};

use crate::common::{Failed, Server, counting, crowd as come, number, program};

pub(crate) fn run() -> Result<String, Failed> {
    let crowd = number("BENCH_MANY", 2000)?.max(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rounds = runtime.block_on(tide(crowd))?;
    let mut text = format!(
        "### {crowd} viewers of audio and video come and go\n\n\
         Resident memory of the server's process. Before they came it was the size in the \
         first column; the publisher was there already, and twenty viewers had been.\n\n\
         | | before | with {crowd} viewers | a viewer | 5 s after they left |\n|---|---:|---:|---:|---:|\n",
    );
    for (round, one) in rounds.iter().enumerate() {
        text += &format!(
            "| {} time | {:.1} MiB | {:.1} MiB | **{:.1} KiB** | {:.1} MiB |\n",
            ["first", "second", "third"]
                .get(round)
                .unwrap_or(&"another"),
            mib(one.before),
            mib(one.full),
            (one.full as f64 - one.before as f64) / 1024.0 / f64::from(crowd),
            mib(one.after),
        );
    }
    Ok(text + "\n")
}

/// Resident bytes at three moments.
#[derive(Debug)]
struct Round {
    before: u64,
    full: u64,
    after: u64,
}

async fn tide(crowd: u32) -> Result<Vec<Round>, Failed> {
    let mut server = Server::start(&[])?;
    let fleet = Arc::new(server.fleet().await?);
    let _publisher = fleet.publish(STREAM, 0, quiet()).await?;
    // Code that was never run is not resident: a few viewers have been there before the count.
    let warm = come(&fleet, STREAM, true, counting(20)).await?;
    for member in warm {
        member.leave().await;
    }
    tokio::time::sleep(SETTLE).await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let gone = "the server is gone";
        let before = server.meter.read().ok_or(gone)?.resident;
        let mut members: Vec<Member> = Vec::new();
        while members.len() < crowd as usize {
            let count = (crowd - members.len() as u32).min(AT_ONCE);
            members.extend(come(&fleet, STREAM, true, counting(count)).await?);
        }
        tokio::time::sleep(SETTLE).await;
        let full = server.meter.read().ok_or(gone)?.resident;
        let mut leaving = JoinSet::new();
        for member in members {
            leaving.spawn(member.leave());
        }
        while leaving.join_next().await.is_some() {}
        tokio::time::sleep(5 * SETTLE).await;
        let after = server.meter.read().ok_or(gone)?.resident;
        let round = Round {
            before,
            full,
            after,
        };
        eprintln!("{round:?}");
        rounds.push(round);
    }
    Ok(rounds)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Little enough for thousands on one core. Without audio, whose place is there all the same.
fn quiet() -> Program {
    Program {
        bitrate_bps: 100_000,
        fps: 5,
        ..program(Pacing::Burst)
    }
}

const STREAM: &str = "tide";
const ROUNDS: usize = 2;
const AT_ONCE: u32 = 100;
const SETTLE: Duration = Duration::from_secs(1);
