//! Carries out what the model's steward says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use whitewater_model::StreamName;
use whitewater_model::cluster::{Holding, Step, Steward};

use super::{CallCounters, Manager};

/// For as long as it is polled.
pub(super) async fn run(manager: Arc<Manager>) {
    let mut steward = Steward::new(manager.config.patience);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let held = manager.holdings.all();
        let holdings = held
            .iter()
            .map(|(stream, held)| (stream.clone(), held.holding.clone()))
            .collect();
        let steps = {
            let inner = manager.peers.lock();
            steward.steps(&inner.cluster, &holdings, Instant::now())
        };
        // The rest is still due next time.
        for step in steps.into_iter().take(STEPS_MAX) {
            manager.take(step).await;
        }
    }
}

impl Manager {
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
const STEPS_MAX: usize = 32;
