//! Carries out what the model's steward says.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use whitewater_model::StreamName;
use whitewater_model::cluster::{Holding, Step, Steward};

use super::{CallCounters, Manager};

/// For as long as it is polled. The steps of one stream are taken one after the other, streams do
/// not wait for each other: a node may take its time to answer.
pub(super) async fn run(manager: Arc<Manager>) {
    let mut steward = Steward::new(manager.config.patience);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut busy = HashSet::new();
    let mut works = JoinSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                for (stream, steps) in manager.look(&mut steward) {
                    // The rest is still due next time.
                    if busy.len() >= STREAMS_MAX || !busy.insert(stream.clone()) {
                        continue;
                    }
                    let manager = manager.clone();
                    works.spawn(async move {
                        for step in steps {
                            manager.take(step).await;
                        }
                        stream
                    });
                }
            }
            Some(done) = works.join_next() => match done {
                Ok(stream) => {
                    busy.remove(&stream);
                }
                Err(error) => {
                    tracing::error!(%error, "the cluster could not be put right");
                    busy.clear();
                }
            }
        }
    }
}

impl Manager {
    /// What is to be done now, by stream.
    fn look(&self, steward: &mut Steward) -> BTreeMap<StreamName, Vec<Step>> {
        let held = self.holdings.all();
        let holdings = held
            .iter()
            .map(|(stream, held)| (stream.clone(), held.holding.clone()))
            .collect();
        let steps = {
            let inner = self.peers.lock();
            steward.steps(&inner.cluster, &holdings, Instant::now())
        };
        let mut by_stream: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for step in steps {
            by_stream
                .entry(step.stream().clone())
                .or_default()
                .push(step);
        }
        by_stream
    }

    async fn take(&self, step: Step) {
        tracing::debug!(?step, "the cluster is put right");
        match step {
            Step::Write { stream, from, to } => {
                self.write(&stream, from.as_ref(), to).await;
            }
            Step::Link {
                stream,
                from,
                to,
                child,
                parent,
            } => {
                let Some(peer) = self.peers.get(&child) else {
                    return;
                };
                if !self.write(&stream, Some(&from), Some(to)).await {
                    return;
                }
                match self.cascade(&stream, &peer, &parent).await {
                    Ok(()) => {
                        CallCounters::count(&self.calls.linked);
                        tracing::info!(?stream, node = %child, from = %parent, "linked");
                    }
                    Err(problem) => {
                        tracing::debug!(?stream, node = %child, ?problem, "no link");
                        self.unlink(&stream, &child).await;
                    }
                }
            }
            Step::End {
                node,
                stream,
                session,
            } => {
                let Some(peer) = self.peers.get(&node) else {
                    return;
                };
                match self.end_session(&peer, &stream, &session).await {
                    Ok(status) => {
                        tracing::info!(?stream, node = %node, %status, "a session too many ended");
                    }
                    Err(problem) => {
                        tracing::debug!(?stream, node = %node, ?problem, "it could not be ended");
                    }
                }
            }
        }
    }

    /// Writes if nothing has changed. False if something has.
    async fn write(
        &self,
        stream: &StreamName,
        from: Option<&Holding>,
        to: Option<Holding>,
    ) -> bool {
        let Ok(held) = self.holdings.fetch(stream).await else {
            return false;
        };
        if held.as_ref().map(|held| &held.holding) != from {
            return false;
        }
        let version = held.map_or(0, |held| held.version);
        let swapped = self.holdings.swap(stream, version, to).await;
        swapped.unwrap_or(false)
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Streams that are put right at the same time.
const STREAMS_MAX: usize = 32;
