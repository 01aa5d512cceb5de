//! A crowd comes in: joins a core can do, and what they do to those already watching.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whitewater_load::Pacing;

use crate::common::{Failed, Server, counting, crowd, median, number, program};

pub(crate) fn run() -> Result<String, Failed> {
    let count = number("BENCH_CROWD", 200)?;
    let rounds = number("BENCH_ROUNDS", 5)?.clamp(1, 5);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let storms = (0..rounds)
        .map(|_| runtime.block_on(storm(count)))
        .collect::<Result<Vec<_>, _>>()?;
    let of = |of: fn(&Storm) -> f64| median(storms.iter().map(of)).ok_or("no round");
    let gap = |of: fn(&Storm) -> f64, share: &str| -> Result<String, Failed> {
        let gap = median(storms.iter().map(of)).ok_or("no round")?;
        Ok(format!(
            "| longest silence of a watching viewer, {share} | {:.0} ms | {:.0} to {:.0} ms |\n",
            gap.middle, gap.low, gap.high
        ))
    };
    let (rate, core) = (
        of(|storm| storm.joins_per_s)?,
        of(|storm| storm.joins_per_core_s)?,
    );
    Ok(format!(
        "### A crowd of {count} viewers comes in\n\n\
         All offers are made at once, while {WATCHING} others watch the same stream. Frames come \
         every 33 ms: that much silence is none. Median and range of {rounds} runs.\n\n\
         | | median | lowest to highest |\n|---|---:|---:|\n\
         | joins a second, from first offer to last first packet | {:.0} | {:.0} to {:.0} |\n\
         | joins a second of the server's CPU time, all threads | {:.0} | {:.0} to {:.0} |\n\
         {}{}\n",
        rate.middle,
        rate.low,
        rate.high,
        core.middle,
        core.low,
        core.high,
        gap(|storm| storm.gap_before_ms, "before")?,
        gap(|storm| storm.gap_ms, "during the storm")?,
    ))
}

/// One storm on a fresh server.
#[derive(Debug)]
struct Storm {
    joins_per_s: f64,
    joins_per_core_s: f64,
    gap_before_ms: f64,
    gap_ms: f64,
}

async fn storm(count: u32) -> Result<Storm, Failed> {
    let mut server = Server::start(&[])?;
    // Those who watch have a receiving thread of their own: only the server delays them.
    let watching = Arc::new(server.fleet().await?);
    let _publisher = watching.publish(STREAM, 0, program(Pacing::Burst)).await?;
    let _members = crowd(&watching, STREAM, false, counting(WATCHING)).await?;
    tokio::time::sleep(SETTLE).await;
    watching.reset_marks();
    tokio::time::sleep(SETTLE).await;
    let longest = |gaps: Vec<Duration>| gaps.into_iter().max().unwrap_or_default();
    let gap_before = longest(watching.snapshot().await.gaps);
    watching.reset_marks();
    let gone = "the server is gone";
    let coming = Arc::new(server.fleet().await?);
    let before = server.meter.read().ok_or(gone)?;
    let since = Instant::now();
    let _crowd = crowd(&coming, STREAM, false, counting(count)).await?;
    let elapsed = since.elapsed().as_secs_f64();
    let after = server.meter.read().ok_or(gone)?;
    let gap = longest(watching.snapshot().await.gaps);
    let storm = Storm {
        joins_per_s: f64::from(count) / elapsed,
        joins_per_core_s: f64::from(count) / (after.cpu - before.cpu).as_secs_f64(),
        gap_before_ms: gap_before.as_secs_f64() * 1e3,
        gap_ms: gap.as_secs_f64() * 1e3,
    };
    eprintln!("{storm:?}");
    Ok(storm)
}

const STREAM: &str = "crowd";
const WATCHING: u32 = 20;
const SETTLE: Duration = Duration::from_secs(1);
