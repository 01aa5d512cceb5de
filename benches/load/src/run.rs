//! A whole run: start, wait, end, report.

use std::future::Future;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::args::Plan;
use crate::fleet::{Fleet, FleetError, JoinError, Member};
use crate::process::Meter;
use crate::progress::Progress;
use crate::report::{Cost, Gathered, Report};
use crate::session::{Inspection, Program};

/// Runs the plan and reports: progress on standard error, the table on standard output, JSON
/// where the plan says. `stop` ends the run early, in order.
///
/// Must be called inside a tokio runtime with time and I/O.
pub async fn run(plan: Plan, stop: impl Future<Output = ()>) -> ExitCode {
    raise_open_files();
    let report = match report(&plan, stop).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("whitewater load: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = report.publish(plan.json.as_deref()) {
        eprintln!("whitewater load: the report cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    if report.succeeded() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the plan.
///
/// # Errors
/// When no session can be started at all; sessions that fail are in the report.
pub(crate) async fn report(
    plan: &Plan,
    stop: impl Future<Output = ()>,
) -> Result<Report, FleetError> {
    let mut stop = pin!(stop);
    let fleet = Arc::new(Fleet::start(plan.fleet.clone()).await?);
    let mut costs = [
        plan.pid.and_then(Meter::new),
        Meter::new(std::process::id()),
    ];
    if plan.pid.is_some() && costs[0].is_none() {
        eprintln!("whitewater load: there is no process {:?}", plan.pid);
    }
    let mut read = move || costs.each_mut().map(|meter| meter.as_mut()?.read());
    let idle = read();
    let started = Instant::now();
    let (end, ended) = watch::channel(false);
    let mut gathered = Gathered::new(plan, started);
    let mut progress = Progress::new(plan);

    // Members hold their sessions until they are told to leave.
    let mut joins: JoinSet<(Kind, Result<Member, JoinError>)> = JoinSet::new();
    let mut starts = starts(plan);
    let mut members: Vec<(Kind, Member)> = Vec::new();
    let pace = Duration::from_secs_f64(1.0 / plan.ramp_per_s);
    let mut next_start = Instant::now();
    let mut tick = Instant::now() + TICK;
    let mut steady: Option<Steady> = None;
    loop {
        let over = steady.as_ref().map(|steady| steady.at + plan.duration);
        let start_due = starts.peek().map(|_| next_start).filter(|_| {
            // Viewers wait until all publishers are there, or failed.
            !starts.peek_is_viewer() || gathered.publishers_settled()
        });
        let until = [Some(tick), over, start_due].into_iter().flatten().min();
        tokio::select! {
            () = &mut stop => break,
            Some(joined) = joins.join_next(), if !joins.is_empty() => {
                if let Ok((kind, outcome)) = joined {
                    gathered.joined(kind, outcome.as_ref().map(|member| member.times));
                    if let Ok(member) = outcome {
                        members.push((kind, member));
                    }
                }
            }
            () = tokio::time::sleep_until(until.unwrap_or(tick).into()) => {}
        }
        let now = Instant::now();
        if start_due.is_some_and(|due| now >= due) {
            // A ramp faster than the timer starts several at once.
            while next_start <= now {
                next_start += pace;
                let Some(kind) = starts.next_allowed(&gathered) else {
                    break;
                };
                let (fleet, plan) = (fleet.clone(), plan.clone());
                let ended = ended.clone();
                joins.spawn(async move { (kind, join(&fleet, &plan, kind, ended).await) });
            }
            next_start = next_start.max(now);
        }
        if now >= tick {
            tick = now + TICK;
            for (kind, member) in &mut members {
                if let Some(why) = member.broken_by_now() {
                    gathered.broke(*kind, &why);
                }
            }
            let snapshot = fleet.snapshot().await;
            progress.show(&gathered, &snapshot, now);
        }
        if steady.is_none() && starts.peek().is_none() && joins.is_empty() {
            // Everybody is there, or will not be: the measured part starts.
            fleet.reset_marks();
            steady = Some(Steady {
                at: now,
                snapshot: fleet.snapshot().await,
                cost: read(),
            });
            if gathered.joined_count() == 0 {
                break;
            }
        }
        if over.is_some_and(|over| now >= over) {
            break;
        }
    }
    let snapshot = fleet.snapshot().await;
    let finished = Instant::now();
    let after = read();
    for (kind, member) in &mut members {
        if let Some(why) = member.broken_by_now() {
            gathered.broke(*kind, &why);
        }
    }
    let cut_short = starts.peek().is_some() || !joins.is_empty();
    progress.finish();
    let _ = end.send(true);
    // Who was still joining ends at once and takes its session along.
    while let Some(joined) = joins.join_next().await {
        if let Ok((kind, Ok(member))) = joined {
            members.push((kind, member));
        }
    }
    let left_badly = leave(members).await;
    let measured = steady.map(|steady| {
        let window = finished - steady.at;
        let cost = |which: usize| Cost::between(idle[which]?, steady.cost[which]?, after[which]?);
        (window, steady.snapshot, cost(0), cost(1))
    });
    Ok(gathered.report(plan, snapshot, measured, left_badly, cut_short))
}

/// The state when all had joined.
struct Steady {
    at: Instant,
    snapshot: crate::stats::Snapshot,
    cost: [Option<crate::process::Reading>; 2],
}

/// Which session it is, by its index among its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Publisher(u32),
    Viewer(u32),
}

/// The sessions still to be started, publishers first.
struct Starts {
    publishers: std::ops::Range<u32>,
    viewers: std::ops::Range<u32>,
}

fn starts(plan: &Plan) -> Starts {
    let publishers = if plan.publishes {
        u32::try_from(plan.streams.len()).unwrap_or(u32::MAX)
    } else {
        0
    };
    Starts {
        publishers: 0..publishers,
        viewers: 0..plan.viewers,
    }
}

impl Starts {
    fn peek(&self) -> Option<()> {
        (!self.publishers.is_empty() || !self.viewers.is_empty()).then_some(())
    }

    fn peek_is_viewer(&self) -> bool {
        self.publishers.is_empty()
    }

    fn next_allowed(&mut self, gathered: &Gathered) -> Option<Kind> {
        if let Some(index) = self.publishers.next() {
            return Some(Kind::Publisher(index));
        }
        if !gathered.publishers_settled() {
            return None;
        }
        self.viewers.next().map(Kind::Viewer)
    }
}

async fn join(
    fleet: &Fleet,
    plan: &Plan,
    kind: Kind,
    mut ended: watch::Receiver<bool>,
) -> Result<Member, JoinError> {
    let joining = async {
        let stream = |index: u32| {
            let index = index as usize % plan.streams.len().max(1);
            plan.streams.get(index).map_or("", String::as_str)
        };
        match kind {
            Kind::Publisher(index) => fleet.publish(stream(index), index, plan.program).await,
            Kind::Viewer(index) => {
                let count = u32::try_from(plan.streams.len()).unwrap_or(1).max(1);
                let inspection = match (plan.verify.has(index), plan.program.video) {
                    (true, codec) => Inspection::Verify {
                        source: plan.publishes.then_some(index % count),
                        codec: codec.unwrap_or(crate::VideoCodec::Vp8),
                    },
                    (false, _) => Inspection::Count,
                };
                let Program { video, audio, .. } = plan.program;
                fleet.watch(stream(index), video, audio, inspection).await
            }
        }
    };
    tokio::select! {
        outcome = joining => outcome,
        _ = ended.wait_for(|ended| *ended) => Err(JoinError::stopped()),
    }
}

/// Ends all sessions; how many the server did not agree to.
async fn leave(members: Vec<(Kind, Member)>) -> u64 {
    let allowed = Arc::new(Semaphore::new(LEAVES_AT_ONCE));
    let mut leaves = JoinSet::new();
    for (_, member) in members {
        let allowed = allowed.clone();
        leaves.spawn(async move {
            let _permit = allowed.acquire().await;
            member.leave().await
        });
    }
    let mut refused = 0;
    while let Some(left) = leaves.join_next().await {
        refused += u64::from(!left.unwrap_or(false));
    }
    refused
}

/// Every session needs a socket.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Not raised, the sessions that find no socket say so.
    let _ = setrlimit(Resource::Nofile, raised);
}

const TICK: Duration = Duration::from_secs(1);
const LEAVES_AT_ONCE: usize = 64;
