//! What forwarding costs: CPU time of a server's media thread by packet that reached a viewer,
//! the back ends against each other and against the floor in one run.
//!
//! Each server is the binary in a process of its own; its viewers are the load generator's. All
//! are up at the same time; a round gives each of them its turn, in an order that changes from
//! round to round, so that noise of the machine hits all alike.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use whitewater_load::{Fleet, Member, Pacing};
use whitewater_net::{BackendKind, probe_uring};

use crate::common::{Bar, Failed, Median, Server, counting, crowd, median, number, plot, program};
use crate::floor::{Exit, Sender, Sinks, paced};

/// Back ends, with receivers that take whole runs.
pub(crate) fn run() -> Result<String, Failed> {
    let backends: &[&str] = match probe_uring() {
        Ok(()) => &["uring", "mmsg", "tokio-uring"],
        Err(reason) => {
            eprintln!("only mmsg is measured: {reason}");
            &["mmsg"]
        }
    };
    let mut ways = Vec::new();
    for gso in [true, false] {
        ways.extend(backends.iter().map(|backend| Way::backend(backend, gso)));
        ways.extend(Way::reference(gso));
    }
    compare("fanout", "", &ways, true)
}

/// The default, with receivers that take packet by packet.
pub(crate) fn run_plain() -> Result<String, Failed> {
    let backend = default_backend();
    let mut ways = vec![Way::backend(backend, true), Way::backend(backend, false)];
    ways.extend(Way::reference(true));
    compare("plain", ", receivers without UDP_GRO", &ways, false)
}

/// The media thread alone, and two of them with half of the viewers each.
pub(crate) fn run_shards() -> Result<String, Failed> {
    let backend = default_backend();
    let way = |count: u32| Way {
        name: format!("{count} media threads"),
        settings: vec![
            format!("media.backend={backend}"),
            format!("media.shards={count}"),
        ],
        gso: true,
        program: None,
    };
    compare(
        "shards",
        ", spread over media threads",
        &[way(1), way(2)],
        true,
    )
}

fn default_backend() -> &'static str {
    probe_uring().map_or("mmsg", |()| "uring")
}

fn compare(part: &str, what: &str, ways: &[Way], gro: bool) -> Result<String, Failed> {
    let plan = Plan {
        viewers: number("BENCH_VIEWERS", 200)?,
        rounds: number("BENCH_ROUNDS", 5)?.max(1),
        round: Duration::from_millis(number("BENCH_ROUND_MS", 1500)?.into()),
        gro,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut servers = Vec::new();
        for way in ways {
            servers.push(Measured::start(way, &plan).await?);
        }
        let mut text = String::new();
        for (name, pacing) in [("bursts", Pacing::Burst), ("smoothed", Pacing::Smooth)] {
            let floor = measure(&plan, pacing, &mut servers).await?;
            let title = format!("{name}{what}");
            text += &table(&title, &format!("{part}-{name}"), &plan, &servers, &floor)?;
            for server in &mut servers {
                server.samples.clear();
            }
        }
        Ok(text)
    })
}

struct Plan {
    viewers: u32,
    rounds: u32,
    round: Duration,
    /// Receivers take whole runs.
    gro: bool,
}

/// How a server sends, and what the table calls it.
struct Way {
    name: String,
    settings: Vec<String>,
    gso: bool,
    /// Another build of the server.
    program: Option<OsString>,
}

impl Way {
    fn backend(backend: &str, gso: bool) -> Way {
        Way {
            name: format!("{backend}{}", if gso { ", GSO" } else { "" }),
            settings: vec![
                format!("media.backend={backend}"),
                format!("media.gso={gso}"),
            ],
            gso,
            program: None,
        }
    }

    /// The build that `BENCH_REFERENCE` names, as it is by default.
    fn reference(gso: bool) -> Option<Way> {
        Some(Way {
            name: format!("reference{}", if gso { ", GSO" } else { "" }),
            settings: vec![format!("media.gso={gso}")],
            gso,
            program: Some(std::env::var_os("BENCH_REFERENCE")?),
        })
    }
}

/// One server under measurement.
struct Measured {
    name: String,
    gso: bool,
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
    async fn start(way: &Way, plan: &Plan) -> Result<Self, Failed> {
        let settings: Vec<&str> = way.settings.iter().map(String::as_str).collect();
        let server = match &way.program {
            Some(program) => Server::start_reference(program, &settings)?,
            None => Server::start(&settings)?,
        };
        let fleet = Arc::new(server.fleet_with(plan.gro).await?);
        let publisher = fleet.publish(STREAM, 0, program(Pacing::Burst)).await?;
        let viewers = crowd(&fleet, STREAM, false, counting(plan.viewers)).await?;
        publisher.leave().await;
        Ok(Measured {
            name: way.name.clone(),
            gso: way.gso,
            server,
            fleet,
            _viewers: viewers,
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

/// The floor with and without segmentation offload, nanoseconds a packet.
struct Floor {
    gso: Median,
    single: Median,
}

/// All turns of one way of sending; the floor's figures.
async fn measure(plan: &Plan, pacing: Pacing, servers: &mut [Measured]) -> Result<Floor, Failed> {
    let mut publishers = Vec::new();
    for server in servers.iter() {
        let publisher = server.fleet.publish(STREAM, 0, program(pacing)).await?;
        publisher.speak(false);
        publishers.push(publisher);
    }
    let sinks = Sinks::start(plan.viewers as usize, plan.gro)?;
    // The frames of `program`, on the wire.
    let mut sender = Sender::new(&sinks, 1073)?;
    let kind = probe_uring().map_or(BackendKind::Mmsg, |()| BackendKind::Uring);
    let mut exits = [Exit::backend(kind, true)?, Exit::backend(kind, false)?];
    let (counts, interval): (&[u64], _) = match pacing {
        Pacing::Burst => (&[10], Duration::from_micros(33_333)),
        Pacing::Smooth => (&[1, 1, 2, 1, 2, 1, 2], Duration::from_micros(4_762)),
    };
    let mut floors = [Vec::new(), Vec::new()];
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
        for (exit, floor) in exits.iter_mut().zip(&mut floors) {
            let ns = paced(&mut sender, exit, counts, interval, plan.round);
            eprintln!("{pacing:?} {round} floor {ns:.0}");
            if round > 0 {
                floor.push(ns);
            }
        }
    }
    for publisher in publishers {
        publisher.leave().await;
    }
    let [gso, single] = floors.map(median);
    Ok(Floor {
        gso: gso.ok_or("no round")?,
        single: single.ok_or("no round")?,
    })
}

fn table(
    title: &str,
    file: &str,
    plan: &Plan,
    servers: &[Measured],
    floor: &Floor,
) -> Result<String, Failed> {
    let of = |server: &Measured, of: fn(&Sample) -> f64| {
        median(server.samples.iter().map(of)).ok_or("no round")
    };
    let mut text = format!(
        "### 1 publisher, {} viewers, 2.5 Mbit/s at 30 frames/s, {title}\n\n\
         | | CPU per packet, median | lowest to highest | against the floor | against the first | whole process | packets/s | share of a core |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
        plan.viewers,
    );
    let mut bars = Vec::new();
    for (name, floor) in [("floor, GSO", floor.gso), ("floor", floor.single)] {
        text += &format!(
            "| {name} | {:.2} µs | {:.2} to {:.2} µs | 1.00 | | | | |\n",
            floor.middle / 1e3,
            floor.low / 1e3,
            floor.high / 1e3,
        );
        bars.push(Bar {
            label: name.to_owned(),
            value: floor.middle / 1e3,
        });
    }
    let shard_ns = |server| of(server, |sample| sample.shard_ns);
    let first = shard_ns(servers.first().ok_or("no server")?)?.middle;
    for server in servers {
        let shard = shard_ns(server)?;
        let floor = if server.gso { floor.gso } else { floor.single };
        text += &format!(
            "| {} | {:.2} µs | {:.2} to {:.2} µs | {:.2} | {:.2} | {:.2} µs | {:.0} | {:.1} % |\n",
            server.name,
            shard.middle / 1e3,
            shard.low / 1e3,
            shard.high / 1e3,
            shard.middle / floor.middle,
            shard.middle / first,
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
        "CPU time a forwarded packet, {} viewers, {title}",
        plan.viewers
    );
    Ok(text + &plot(file, &title, "µs", &bars)? + "\n")
}

const STREAM: &str = "fanout";
/// From the first packet until the rate is steady.
const SETTLE: Duration = Duration::from_millis(400);
