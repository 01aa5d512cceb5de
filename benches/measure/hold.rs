//! What holding packets back for company saves, and what it costs in time (`forward.hold_us`).

use std::sync::Arc;
use std::time::Duration;

use whitewater_load::{Fleet, Member, Pacing};

use crate::common::{Failed, Server, VERIFYING, counting, crowd, median, number, program};

pub(crate) fn run() -> Result<String, Failed> {
    let viewers = number("BENCH_VIEWERS", 200)?;
    let rounds = number("BENCH_ROUNDS", 5)?.max(1);
    let round = Duration::from_millis(number("BENCH_ROUND_MS", 1500)?.into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut held = Vec::new();
        for hold_us in HOLDS_US {
            held.push(Held::start(*hold_us, viewers).await?);
        }
        for round_number in 0..=rounds as usize {
            for turn in 0..held.len() {
                let index = (turn + round_number) % held.len();
                held[index].sample(round, round_number > 0).await?;
            }
        }
        table(viewers, &held).await
    })
}

/// A server with its hold.
struct Held {
    hold_us: u32,
    server: Server,
    fleet: Arc<Fleet>,
    publisher: Member,
    _viewers: Vec<Member>,
    costs_ns: Vec<f64>,
}

impl Held {
    async fn start(hold_us: u32, viewers: u32) -> Result<Held, Failed> {
        let server = Server::start(&[&format!("forward.hold_us={hold_us}")])?;
        let fleet = Arc::new(server.fleet().await?);
        let publisher = fleet.publish(STREAM, 0, program(Pacing::Smooth)).await?;
        // A few of them say how long packets were under way.
        let inspections = counting(viewers).chain([VERIFYING; 4]);
        let members = crowd(&fleet, STREAM, false, inspections).await?;
        publisher.speak(false);
        fleet.reset_marks();
        Ok(Held {
            hold_us,
            server,
            fleet,
            publisher,
            _viewers: members,
            costs_ns: Vec::new(),
        })
    }

    async fn sample(&mut self, round: Duration, counts: bool) -> Result<(), Failed> {
        self.publisher.speak(true);
        tokio::time::sleep(SETTLE).await;
        let gone = "the server is gone";
        let before = self.fleet.snapshot().await.totals;
        let spent = self.server.meter.read().ok_or(gone)?;
        tokio::time::sleep(round).await;
        let now = self.server.meter.read().ok_or(gone)?;
        let totals = self.fleet.snapshot().await.totals.since(&before);
        self.publisher.speak(false);
        tokio::time::sleep(SETTLE).await;
        if counts {
            let spent = (now.shards - spent.shards).as_secs_f64();
            let cost = spent * 1e9 / totals.received_packets.max(1) as f64;
            eprintln!("hold {} {cost:.0}", self.hold_us);
            self.costs_ns.push(cost);
        } else {
            self.fleet.reset_marks();
        }
        Ok(())
    }
}

async fn latencies(held: &Held) -> [f64; 3] {
    let latency = held.fleet.snapshot().await.latency;
    [0.5, 0.9, 0.99].map(|quantile| latency.quantile(quantile).as_secs_f64() * 1e3)
}

async fn table(viewers: u32, held: &[Held]) -> Result<String, Failed> {
    let mut text = format!(
        "### Holding packets back for company: {viewers} viewers, smoothed\n\n\
         `forward.hold_us` against CPU time a packet and the time a packet is under way (loopback, twice).\n\n\
         | hold | CPU per packet, median | lowest to highest | against none | p50 | p90 | p99 |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n"
    );
    let mut none = None;
    for one in held {
        let cost = median(one.costs_ns.iter().copied()).ok_or("no round")?;
        let [p50, p90, p99] = latencies(one).await;
        text += &format!(
            "| {} µs | {:.2} µs | {:.2} to {:.2} µs | {:.2} | {p50:.2} ms | {p90:.2} ms | {p99:.2} ms |\n",
            one.hold_us,
            cost.middle / 1e3,
            cost.low / 1e3,
            cost.high / 1e3,
            cost.middle / *none.get_or_insert(cost.middle),
        );
    }
    Ok(text + "\n")
}

const STREAM: &str = "hold";
const HOLDS_US: &[u32] = &[0, 500, 1000, 2000, 5000];
const SETTLE: Duration = Duration::from_millis(400);
