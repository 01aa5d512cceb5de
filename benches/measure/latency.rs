//! How long packets are under way when the media thread has 30, 50 and 70 % of a core to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whitewater_load::{Fleet, Inspection, Member, Pacing, Share};

use crate::common::{Bar, Failed, Server, VERIFYING, crowd, number, plot, program};

pub(crate) fn run() -> Result<String, Failed> {
    let window = Duration::from_millis(number("BENCH_ROUND_MS", 1500)?.into()) * 4;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(window))
}

async fn measure(window: Duration) -> Result<String, Failed> {
    let mut server = Server::start(&[])?;
    let fleet = Arc::new(server.fleet().await?);
    let _publisher = fleet.publish(STREAM, 0, program(Pacing::Smooth)).await?;
    let mut text = "### Time under way\n\n\
         From the publisher's send call to the arrival in the viewer's socket, both on this \
         machine: two ways through loopback and once through the server, milliseconds. The \
         packets of a frame are spread over its time; one in twenty viewers measures.\n\n\
         | viewers | share of a core | packets/s | lost | p50 | p90 | p99 | p99.9 |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let mut viewers = Vec::new();
    let mut bars = Vec::new();
    // The first step only tells how much a viewer costs.
    let mut target_count = 20;
    for target in [None, Some(0.3), Some(0.5), Some(0.7)] {
        if let (Some(target), Some(load)) = (target, load(&mut server, window / 4).await?) {
            let cost = load / viewers.len().max(1) as f64;
            target_count = ((target / cost) as usize).clamp(viewers.len(), VIEWERS_MAX);
        }
        grow(&fleet, &mut viewers, target_count).await?;
        tokio::time::sleep(SETTLE).await;
        if target.is_none() {
            continue;
        }
        fleet.reset_marks();
        let before = fleet.snapshot().await;
        let since = Instant::now();
        let share = load(&mut server, window).await?.unwrap_or(0.0);
        let after = fleet.snapshot().await;
        let totals = after.totals.since(&before.totals);
        let at = |quantile| after.latency.quantile(quantile).as_secs_f64() * 1e3;
        text += &format!(
            "| {} | {:.0} % | {:.0} | {} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            viewers.len(),
            share * 100.0,
            totals.received_packets as f64 / since.elapsed().as_secs_f64(),
            totals.lost,
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
        );
        eprintln!("latency {} viewers {share:.2}", viewers.len());
        bars.push(Bar {
            label: format!("p50 at {:.0} %", share * 100.0),
            value: at(0.5),
        });
        bars.push(Bar {
            label: format!("p99 at {:.0} %", share * 100.0),
            value: at(0.99),
        });
    }
    let title = "Time under way, by load of the media thread";
    Ok(text + &plot("latency", title, "ms", &bars)? + "\n")
}

/// Share of a core the media thread used during `window`.
async fn load(server: &mut Server, window: Duration) -> Result<Option<f64>, Failed> {
    let gone = "the server is gone";
    let before = server.meter.read().ok_or(gone)?;
    let since = Instant::now();
    tokio::time::sleep(window).await;
    let after = server.meter.read().ok_or(gone)?;
    let spent = (after.shards - before.shards).as_secs_f64();
    let share = spent / since.elapsed().as_secs_f64();
    Ok((share > 0.0).then_some(share))
}

async fn grow(fleet: &Arc<Fleet>, viewers: &mut Vec<Member>, count: usize) -> Result<(), Failed> {
    let verify = Share::parse("5%")?;
    let inspections = (viewers.len()..count).map(|number| match verify.has(number as u32) {
        true => VERIFYING,
        false => Inspection::Count,
    });
    viewers.extend(crowd(fleet, STREAM, false, inspections).await?);
    Ok(())
}

const STREAM: &str = "latency";
const SETTLE: Duration = Duration::from_secs(1);
/// What the sockets of one process allow everywhere.
const VIEWERS_MAX: usize = 900;
