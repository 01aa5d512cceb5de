//! What forwarding costs: CPU time of a server's media thread by packet that reached a viewer,
//! the back ends against each other and against the floor in one run.
//!
//! Each server is the binary in a process of its own; its viewers are the load generator's. All
//! are up at the same time; a round gives each of them its turn, in an order that changes from
//! round to round, so that noise of the machine hits all alike.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use whitewater_load::{Fleet, Inspection, Member, Pacing, VideoCodec};
use whitewater_net::{BackendKind, probe_uring};

use crate::common::{Bar, Failed, Median, Server, median, number, plot, program};
use crate::floor::{Exit, Sender, Sinks, paced};

pub(crate) fn run() -> Result<String, Failed> {
    let plan = Plan {
        viewers: number("BENCH_VIEWERS", 50)?,
        rounds: number("BENCH_ROUNDS", 5)?.max(1),
        round: Duration::from_millis(number("BENCH_ROUND_MS", 1500)?.into()),
    };
    let backends: &[&str] = match probe_uring() {
        Ok(()) => &["uring", "mmsg", "tokio-uring"],
        Err(reason) => {
            eprintln!("only mmsg is measured: {reason}");
            &["mmsg"]
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut servers = Vec::new();
        for (name, settings) in WAYS {
            for backend in backends {
                servers.push(Measured::start(backend, name, settings, plan.viewers).await?);
            }
        }
        let mut text = String::new();
        for (name, pacing) in [("bursts", Pacing::Burst), ("smoothed", Pacing::Smooth)] {
            let floor = measure(&plan, pacing, &mut servers).await?;
            text += &table(name, &plan, &servers, floor)?;
            for server in &mut servers {
                server.samples.clear();
            }
        }
        Ok(text)
    })
}

/// How servers send: what the table calls it, and the settings.
const WAYS: &[(&str, &[&str])] = &[
    (", GSO", &["media.gso=true"]),
    (
        ", GSO, 5 ms of hold",
        &["media.gso=true", "forward.hold_us=5000"],
    ),
    (
        ", GSO, 5 ms of hold, padded",
        &[
            "media.gso=true",
            "forward.hold_us=5000",
            "forward.pad_runs=true",
        ],
    ),
    ("", &["media.gso=false"]),
];

struct Plan {
    viewers: u32,
    rounds: u32,
    round: Duration,
}

/// One server under measurement.
struct Measured {
    name: String,
    server: Server,
    fleet: Arc<Fleet>,
    _viewers: Vec<Member>,
    samples: Vec<Sample>,
}

/// One turn of one server.
#[derive(Clone, Copy, Debug)]
struct Sample {
    shard_ns: f64,
    all_ns: f64,
    packets_per_s: f64,
    /// Share of one core.
    core: f64,
}

impl Measured {
    async fn start(
        backend: &str,
        name: &str,
        settings: &[&str],
        viewers: u32,
    ) -> Result<Self, Failed> {
        let backend_set = format!("media.backend={backend}");
        let settings: Vec<&str> = std::iter::once(backend_set.as_str())
            .chain(settings.iter().copied())
            .collect();
        let server = Server::start(&settings)?;
        let fleet = server.fleet().await?;
        let publisher = fleet.publish(STREAM, 0, program(Pacing::Burst)).await?;
        // All at once: they are let in by the same key frame.
        let fleet = Arc::new(fleet);
        let mut joins = JoinSet::new();
        for _ in 0..viewers {
            let fleet = fleet.clone();
            let codec = Some(VideoCodec::Vp8);
            joins.spawn(async move { fleet.watch(STREAM, codec, false, Inspection::Count).await });
        }
        let mut members = Vec::new();
        while let Some(joined) = joins.join_next().await {
            members.push(joined??);
        }
        publisher.leave().await;
        Ok(Measured {
            name: format!("{backend}{name}"),
            server,
            fleet,
            _viewers: members,
            samples: Vec::new(),
        })
    }

    async fn sample(&mut self, publisher: &Member, round: Duration) -> Result<Sample, Failed> {
        publisher.speak(true);
        tokio::time::sleep(SETTLE).await;
        let gone = "the server is gone";
        let before = self.fleet.snapshot().await.totals;
        let spent = self.server.meter.read().ok_or(gone)?;
        let since = std::time::Instant::now();
        tokio::time::sleep(round).await;
        let now = self.server.meter.read().ok_or(gone)?;
        let elapsed = since.elapsed().as_secs_f64();
        let packets = self
            .fleet
            .snapshot()
            .await
            .totals
            .since(&before)
            .received_packets as f64;
        publisher.speak(false);
        tokio::time::sleep(SETTLE).await;
        let shards = (now.shards - spent.shards).as_secs_f64();
        Ok(Sample {
            shard_ns: shards * 1e9 / packets.max(1.0),
            all_ns: (now.cpu - spent.cpu).as_secs_f64() * 1e9 / packets.max(1.0),
            packets_per_s: packets / elapsed,
            core: shards / elapsed,
        })
    }
}

/// All turns of one way of sending; the floor's figure.
async fn measure(plan: &Plan, pacing: Pacing, servers: &mut [Measured]) -> Result<Median, Failed> {
    let mut publishers = Vec::new();
    for server in servers.iter() {
        let publisher = server.fleet.publish(STREAM, 0, program(pacing)).await?;
        publisher.speak(false);
        publishers.push(publisher);
    }
    let sinks = Sinks::start(plan.viewers as usize)?;
    // The frames of `program`, on the wire.
    let mut sender = Sender::new(&sinks, 1069)?;
    let kind = probe_uring().map_or(BackendKind::Mmsg, |()| BackendKind::Uring);
    let mut exit = Exit::backend(kind, true)?;
    let (count, interval) = match pacing {
        Pacing::Burst => (10, Duration::from_micros(33_333)),
        Pacing::Smooth => (1, Duration::from_micros(3_333)),
    };
    let mut floor = Vec::new();
    for round in 0..=plan.rounds as usize {
        for turn in 0..servers.len() {
            let index = (turn + round) % servers.len();
            let sample = servers[index]
                .sample(&publishers[index], plan.round)
                .await?;
            eprintln!("{pacing:?} {round} {} {sample:?}", servers[index].name);
            // The first round fills caches and tables.
            if round > 0 {
                servers[index].samples.push(sample);
            }
        }
        let ns = paced(&mut sender, &mut exit, count, interval, plan.round);
        eprintln!("{pacing:?} {round} floor {ns:.0}");
        if round > 0 {
            floor.push(ns);
        }
    }
    for publisher in publishers {
        publisher.leave().await;
    }
    Ok(median(floor).ok_or("no round")?)
}

fn table(name: &str, plan: &Plan, servers: &[Measured], floor: Median) -> Result<String, Failed> {
    let of = |server: &Measured, of: fn(&Sample) -> f64| {
        median(server.samples.iter().map(of)).ok_or("no round")
    };
    let mut text = format!(
        "### 1 publisher, {} viewers, 2.5 Mbit/s at 30 frames/s, {name}\n\n\
         | | CPU per packet, median | lowest to highest | against the floor | whole process | packets/s | share of a core |\n\
         |---|---:|---:|---:|---:|---:|---:|\n\
         | floor: seal and send | {:.2} µs | {:.2} to {:.2} µs | 1.00 | | | |\n",
        plan.viewers,
        floor.middle / 1e3,
        floor.low / 1e3,
        floor.high / 1e3,
    );
    let mut bars = vec![Bar {
        label: "floor: seal and send".to_owned(),
        value: floor.middle / 1e3,
    }];
    for server in servers {
        let shard = of(server, |sample| sample.shard_ns)?;
        text += &format!(
            "| {} | {:.2} µs | {:.2} to {:.2} µs | {:.2} | {:.2} µs | {:.0} | {:.1} % |\n",
            server.name,
            shard.middle / 1e3,
            shard.low / 1e3,
            shard.high / 1e3,
            shard.middle / floor.middle,
            of(server, |sample| sample.all_ns)?.middle / 1e3,
            of(server, |sample| sample.packets_per_s)?.middle,
            of(server, |sample| sample.core)?.middle * 100.0,
        );
        bars.push(Bar {
            label: server.name.clone(),
            value: shard.middle / 1e3,
        });
    }
    let title = format!(
        "CPU time a forwarded packet, {} viewers, {name}",
        plan.viewers
    );
    Ok(text + &plot(&format!("fanout-{name}"), &title, "µs", &bars)? + "\n")
}

const STREAM: &str = "fanout";
/// From the first packet until the rate is steady.
const SETTLE: Duration = Duration::from_millis(400);
