//! How long packets are under way when the media thread has 30, 50 and 70 % of a core to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use whitewater_load::{Fleet, Inspection, Member, Pacing, Share, VideoCodec};

use crate::common::{Bar, Failed, Server, crowd, number, plot, program};

pub(crate) fn run() -> Result<String, Failed> {
    let window = Duration::from_millis(number("BENCH_ROUND_MS", 1500)?.into()) * 4;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut text = "### Time under way\n\n\
         From the publisher's send call to the arrival in the viewer's socket, both on this \
         machine: two ways through loopback and once through the server, milliseconds. The \
         packets of a frame are spread over its time; one in twenty viewers measures. The server \
         has a processor for itself, publishers and viewers have the others. Of one stream with all viewers \
         the last one's packet waits until those of all others are sent.\n\n\
         | streams | viewers | share of a core | packets/s | lost | p50 | p90 | p99 | p99.9 |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let mut plots = String::new();
    for (file, title, viewers) in [
        ("latency", "streams of ten viewers", Some(VIEWERS_A_STREAM)),
        ("latency-one", "one stream", None),
    ] {
        let (rows, bars) = apart(|server| runtime.block_on(measure(server, window, viewers)))?;
        let title = format!("Time under way, by load of the media thread, {title}");
        text = text + &rows;
        plots += &plot(file, &title, "ms", &bars)?;
    }
    Ok(text + &plots + "\n")
}

/// One server under growing load: the rows of the table, and the bars of the plot.
async fn measure(
    mut server: Server,
    window: Duration,
    viewers_a_stream: Option<usize>,
) -> Result<(String, Vec<Bar>), Failed> {
    let mut town = Town {
        fleet: Arc::new(server.fleet().await?),
        publishers: Vec::new(),
        viewers: Vec::new(),
        viewers_a_stream: viewers_a_stream.unwrap_or(usize::MAX),
    };
    let mut text = String::new();
    let mut bars = Vec::new();
    // The first step only tells how much a viewer costs.
    let mut target_count = 20;
    for target in [None, Some(0.3), Some(0.5), Some(0.7)] {
        if let (Some(target), Some(load)) = (target, load(&mut server, window / 4).await?) {
            let cost = load / town.viewers.len().max(1) as f64;
            target_count = ((target / cost) as usize).clamp(town.viewers.len(), VIEWERS_MAX);
        }
        town.grow(target_count).await?;
        tokio::time::sleep(SETTLE).await;
        if target.is_none() {
            continue;
        }
        town.fleet.reset_marks();
        let before = town.fleet.snapshot().await;
        let since = Instant::now();
        let share = load(&mut server, window).await?.unwrap_or(0.0);
        let after = town.fleet.snapshot().await;
        let totals = after.totals.since(&before.totals);
        let at = |quantile| after.latency.quantile(quantile).as_secs_f64() * 1e3;
        text += &format!(
            "| {} | {} | {:.0} % | {:.0} | {} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            town.publishers.len(),
            town.viewers.len(),
            share * 100.0,
            totals.received_packets as f64 / since.elapsed().as_secs_f64(),
            totals.lost,
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
        );
        eprintln!("latency {} viewers {share:.2}", town.viewers.len());
        bars.push(Bar {
            label: format!("p50 at {:.0} %", share * 100.0),
            value: at(0.5),
        });
        bars.push(Bar {
            label: format!("p99 at {:.0} %", share * 100.0),
            value: at(0.99),
        });
    }
    Ok((text, bars))
}

/// Streams, and who watches them.
struct Town {
    fleet: Arc<Fleet>,
    publishers: Vec<Member>,
    viewers: Vec<Member>,
    viewers_a_stream: usize,
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

impl Town {
    /// Adds viewers until there are `count`, and a stream whenever the last one has its share.
    async fn grow(&mut self, count: usize) -> Result<(), Failed> {
        let verify = Share::parse("5%")?;
        while self.viewers.len() < count {
            let stream = self.viewers.len() / self.viewers_a_stream;
            let name = format!("latency-{stream}");
            // The number of its source is also what spreads publishers over the frame's time.
            let source = stream as u32;
            if stream == self.publishers.len() {
                let publish = self.fleet.publish(&name, source, program(Pacing::Smooth));
                self.publishers.push(publish.await?);
            }
            let full = (stream + 1).saturating_mul(self.viewers_a_stream);
            let inspections = (self.viewers.len()..count.min(full)).map(|number| {
                match verify.has(number as u32) {
                    true => Inspection::Verify {
                        source: Some(source),
                        codec: VideoCodec::Vp8,
                    },
                    false => Inspection::Count,
                }
            });
            let more = crowd(&self.fleet, &name, false, inspections).await?;
            self.viewers.extend(more);
        }
        Ok(())
    }
}

/// Calls `measure` with a server that has the first processor for itself.
///
/// What publishes and watches on the same processor would be counted as time under way: the scheduler lets it run for
/// milliseconds.
fn apart<T>(measure: impl FnOnce(Server) -> Result<T, Failed>) -> Result<T, Failed> {
    let all = sched_getaffinity(None)?;
    let (mut first, mut others) = (CpuSet::new(), all);
    let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu));
    let cpu = cpu.ok_or("no processor")?;
    first.set(cpu);
    others.unset(cpu);
    if others.count() == 0 {
        return measure(Server::start(&[])?);
    }
    // Processes and threads begin where the one that starts them may run.
    sched_setaffinity(None, &first)?;
    let server = Server::start(&[]);
    sched_setaffinity(None, &others)?;
    let measured = measure(server?);
    sched_setaffinity(None, &all)?;
    measured
}

const VIEWERS_A_STREAM: usize = 10;
/// Until what is known of new viewers' paths carries the stream, and nothing of their beginning waits.
const SETTLE: Duration = Duration::from_secs(5);
/// What the sockets of one process allow everywhere.
const VIEWERS_MAX: usize = 900;
