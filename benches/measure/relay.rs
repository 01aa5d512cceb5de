//! What a hop from node to node costs, and how much later packets arrive for it.
//!
//! Three servers in a chain: the first has the publishers, the second gets streams from the first,
//! the third from the second. At each of them streams of its own are watched, so that all three ways
//! are measured at the same time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use whitewater_load::{Fleet, FleetOptions, Inspection, Member, Pacing, Snapshot, VideoCodec};

use crate::common::{Bar, Failed, Server, median, number, plot, program};

pub(crate) fn run() -> Result<String, Failed> {
    let plan = Plan {
        streams: number("BENCH_STREAMS", 10)?.clamp(1, 100),
        rounds: number("BENCH_ROUNDS", 5)?.max(1),
        round: Duration::from_millis(number("BENCH_ROUND_MS", 1500)?.into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(&plan))
}

struct Plan {
    /// Watched at each of the servers.
    streams: u32,
    rounds: u32,
    round: Duration,
}

/// One server, and those who watch there.
struct Stop {
    server: Server,
    fleet: Fleet,
    _publishers: Vec<Member>,
    viewers: Vec<Member>,
}

/// One turn: CPU time of each server, and packets that its viewers got, both a second.
struct Sample([(f64, f64); STOPS]);

async fn measure(plan: &Plan) -> Result<String, Failed> {
    let mut servers = Vec::new();
    for _ in 0..STOPS {
        servers.push(Server::start(&["cascade.allow=127.0.0.1"])?);
    }
    let bases: Vec<String> = servers
        .iter()
        .map(|server| server.url.trim_end_matches('/').to_owned())
        .collect();
    let mut stops = Vec::new();
    for (depth, server) in servers.into_iter().enumerate() {
        stops.push(Stop::new(server, depth, &bases, plan).await?);
        eprintln!("relay: {} streams over {depth} links", plan.streams);
    }
    tokio::time::sleep(SETTLE).await;
    for stop in &stops {
        stop.fleet.reset_marks();
    }
    let few = turns(plan, &mut stops).await?;
    let mut late = Vec::new();
    for stop in &stops {
        late.push(stop.fleet.snapshot().await);
    }
    // The same packets come in, and many more go out.
    let last = &mut stops[STOPS - 1];
    for stream in 0..plan.streams {
        for _ in 0..MORE_VIEWERS {
            let name = name(STOPS - 1, stream);
            let watch = last.fleet.watch(&name, CODEC, false, Inspection::Count);
            last.viewers.push(watch.await?);
        }
    }
    tokio::time::sleep(SETTLE).await;
    let many = turns(plan, &mut stops).await?;
    let cost = Cost::of(&few, &many)?;
    render(plan, &cost, &late)
}

impl Stop {
    /// Brings its streams there over all servers before it.
    async fn new(
        server: Server,
        depth: usize,
        bases: &[String],
        plan: &Plan,
    ) -> Result<Stop, Failed> {
        let options = FleetOptions {
            whip: format!("{}/whip/{{stream}}", bases[0]),
            whep: format!("{}/whep/{{stream}}", bases[depth]),
            token: None,
            ca_file: None,
            viewer_threads: 1,
            gro: true,
            bind: None,
            join_max: Duration::from_secs(60),
        };
        let fleet = Fleet::start(options).await?;
        let (mut publishers, mut viewers) = (Vec::new(), Vec::new());
        for stream in 0..plan.streams {
            let name = name(depth, stream);
            let source = depth as u32 * plan.streams + stream;
            let publish = fleet.publish(&name, source, program(Pacing::Smooth));
            publishers.push(publish.await?);
            for hop in 1..=depth {
                pull(&bases[hop], &name, &bases[hop - 1]).await?;
            }
            let inspection = Inspection::Verify {
                source: Some(source),
                codec: VideoCodec::Vp8,
            };
            viewers.push(fleet.watch(&name, CODEC, false, inspection).await?);
        }
        Ok(Stop {
            server,
            fleet,
            _publishers: publishers,
            viewers,
        })
    }
}

async fn turns(plan: &Plan, stops: &mut [Stop]) -> Result<Vec<Sample>, Failed> {
    let mut samples = Vec::new();
    for round in 0..=plan.rounds {
        let before = look(stops).await?;
        let since = Instant::now();
        tokio::time::sleep(plan.round).await;
        let after = look(stops).await?;
        let elapsed = since.elapsed().as_secs_f64();
        let mut sample = [(0.0, 0.0); STOPS];
        for (index, rates) in sample.iter_mut().enumerate() {
            let (cpu, packets) = (
                after[index].0 - before[index].0,
                after[index].1 - before[index].1,
            );
            *rates = (cpu / elapsed, packets / elapsed);
        }
        eprintln!("relay {round} {sample:?}");
        // The first round fills caches and tables.
        if round > 0 {
            samples.push(Sample(sample));
        }
    }
    Ok(samples)
}

/// CPU time of each server so far, with the thread that has the links' sockets, and packets that
/// its viewers got.
async fn look(stops: &mut [Stop]) -> Result<Vec<(f64, f64)>, Failed> {
    let mut all = Vec::new();
    for stop in stops {
        let spent = stop.server.meter.read().ok_or("the server is gone")?;
        let totals = stop.fleet.snapshot().await.totals;
        all.push((spent.cpu.as_secs_f64(), totals.received_packets as f64));
    }
    Ok(all)
}

/// What a packet costs at the end of the chain, in seconds of CPU time.
struct Cost {
    /// To get it over a link.
    link: f64,
    /// To send it to one more viewer.
    copy: f64,
    /// Of each server, while every stream has one viewer.
    cores: [f64; STOPS],
    /// Packets of one server's own streams a second.
    packets_per_s: f64,
}

impl Cost {
    fn of(few: &[Sample], many: &[Sample]) -> Result<Cost, Failed> {
        let middle = |samples: &[Sample], of: &dyn Fn(&Sample) -> f64| {
            let found = median(samples.iter().map(of));
            found.map(|found| found.middle).ok_or("no round")
        };
        let last = STOPS - 1;
        let cpu = |samples: &[Sample], at: usize| middle(samples, &|sample| sample.0[at].0);
        let sent = |samples: &[Sample]| middle(samples, &|sample| sample.0[last].1);
        let (few_sent, many_sent) = (sent(few)?, sent(many)?);
        let (few_cpu, many_cpu) = (cpu(few, last)?, cpu(many, last)?);
        let copy = (many_cpu - few_cpu) / (many_sent - few_sent);
        let mut cores = [0.0; STOPS];
        for (at, core) in cores.iter_mut().enumerate() {
            *core = cpu(few, at)?;
        }
        Ok(Cost {
            // While each stream has one viewer as many come in as go out.
            link: few_cpu / few_sent - copy,
            copy,
            cores,
            packets_per_s: few_sent,
        })
    }
}

fn render(plan: &Plan, cost: &Cost, late: &[Snapshot]) -> Result<String, Failed> {
    let mut text = format!(
        "### From node to node\n\n\
         Three nodes in a chain, {} streams of 2.5 Mbit/s ({:.0} packets a second together) watched \
         at each, once each; all that go further pass through the nodes before. Then {MORE_VIEWERS} \
         more viewers of each stream at the last one. CPU time of the whole process, medians of {} \
         rounds.\n\n\
         | a packet at the last node | CPU |\n|---|---:|\n\
         | got over a link | {:.2} µs |\n| sent to a viewer or another node | {:.2} µs |\n\n\
         | nodes on the way | share of a core there | p50 | p90 | p99 | p99.9 | more at p99 | lost |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|\n",
        plan.streams,
        cost.packets_per_s,
        plan.rounds,
        cost.link * 1e6,
        cost.copy * 1e6,
    );
    let mut bars = Vec::new();
    let mut before = None;
    for (index, snapshot) in late.iter().enumerate() {
        let at = |quantile| snapshot.latency.quantile(quantile).as_secs_f64() * 1e3;
        let more = before.map_or_else(String::new, |before: f64| {
            format!("{:.2} ms", at(0.99) - before)
        });
        before = Some(at(0.99));
        text += &format!(
            "| {} | {:.1} % | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms | {more} | {} |\n",
            index + 1,
            cost.cores[index] * 100.0,
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            snapshot.totals.lost,
        );
        bars.push(Bar {
            label: format!("p99 over {} nodes", index + 1),
            value: at(0.99),
        });
    }
    let title = "Time under way, by nodes on the way";
    Ok(text + &plot("relay", title, "ms", &bars)? + "\n")
}

/// Has a server get a stream from another one, as soon as that has it.
async fn pull(to: &str, stream: &str, from: &str) -> Result<(), Failed> {
    let body = format!("{{\"sourceUrl\": \"{from}/whep/{stream}\"}}");
    let host = to.trim_start_matches("http://");
    let request = format!(
        "POST /api/cascade/{stream} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let until = Instant::now() + LINK_WITHIN;
    loop {
        let mut connection = TcpStream::connect(host)?;
        connection.write_all(request.as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("{stream}: no link: {answer}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn name(depth: usize, stream: u32) -> String {
    format!("relay-{depth}-{stream}")
}

/// Servers in the chain.
const STOPS: usize = 3;
/// That each stream gets at the last one.
const MORE_VIEWERS: usize = 9;
const CODEC: Option<VideoCodec> = Some(VideoCodec::Vp8);
const SETTLE: Duration = Duration::from_secs(2);
const LINK_WITHIN: Duration = Duration::from_secs(20);
