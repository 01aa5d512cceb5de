//! Asks all nodes again and again what they have, each at its own pace.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use whitewater_model::cluster::NodeName;

use super::Manager;
use super::courier::CallError;
use super::json::{Info, Strategy};
use super::peers::Peer;

/// For as long as it is polled. A node that does not answer holds up nobody else.
pub(super) async fn run(manager: Arc<Manager>) {
    let mut ticks = interval(manager.config.poll_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = HashSet::new();
    let mut answers = JoinSet::new();
    let mut turn = 0_u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let peers: Vec<_> = manager.peers.lock().peers().cloned().collect();
                for peer in peers {
                    if asking.insert(peer.alias.clone()) {
                        let manager = manager.clone();
                        answers.spawn(async move { manager.ask(&peer, turn).await });
                    }
                }
                turn = turn.wrapping_add(1);
            }
            Some(asked) = answers.join_next() => match asked {
                Ok(alias) => {
                    asking.remove(&alias);
                }
                Err(error) => {
                    tracing::error!(%error, "a node could not be asked");
                    asking.clear();
                }
            }
        }
    }
}

impl Manager {
    /// Asks one node; returns its name.
    async fn ask(&self, peer: &Arc<Peer>, turn: u64) -> NodeName {
        let asked_at = std::time::Instant::now();
        let outcome = match self.read(peer, "/api/streams/", STREAMS_SIZE_MAX).await {
            Ok(body) => {
                let took = asked_at.elapsed();
                let is_list = self.peers.lock().observe(peer, body, asked_at, took);
                if is_list {
                    Ok(())
                } else {
                    Err(CallError::Broken)
                }
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                let lacks = |manager: &Manager| {
                    let inner = manager.peers.lock();
                    inner
                        .seen(&peer.alias)
                        .is_some_and(|seen| seen.strategy.is_none())
                };
                if turn.is_multiple_of(INTRODUCTION_EVERY) || lacks(self) {
                    self.get_to_know(peer).await;
                }
            }
            Err(error) => {
                tracing::debug!(node = %peer.alias, %error, "the node was asked in vain");
                let is_closed = error == CallError::Refused;
                self.peers.lock().missed(peer, is_closed);
            }
        }
        peer.alias.clone()
    }

    /// What it says of itself. It need not say anything.
    async fn get_to_know(&self, peer: &Arc<Peer>) {
        let strategy: Option<Value> = self.read_json(peer, "/api/strategy/").await;
        let info: Option<Info> = self.read_json(peer, "/api/info").await;
        let strategy = strategy.and_then(|value| {
            let known: Strategy = serde_json::from_value(value.clone()).ok()?;
            Some((value, known.each_stream_max_sub))
        });
        self.peers.lock().introduce(peer, strategy, info);
    }

    async fn read_json<T: DeserializeOwned>(&self, peer: &Peer, path: &str) -> Option<T> {
        let body = self.read(peer, path, SMALL_SIZE_MAX).await.ok()?;
        serde_json::from_slice(&body).ok()
    }

    async fn read(&self, peer: &Peer, path: &str, size_max: usize) -> Result<Bytes, CallError> {
        let url = peer.at(path).ok_or(CallError::Broken)?;
        let deadline = Instant::now() + self.config.poll_timeout;
        let headers = peer.headers();
        let response = self
            .courier
            .exchange(Method::GET, &url, headers, Bytes::new(), size_max, deadline)
            .await?;
        if response.status() == StatusCode::OK {
            Ok(response.into_body())
        } else {
            Err(CallError::Broken)
        }
    }
}

/// 100 000 sessions.
const STREAMS_SIZE_MAX: usize = 32 * 1024 * 1024;
const SMALL_SIZE_MAX: usize = 64 * 1024;
/// What a node says of itself changes when it is started anew.
const INTRODUCTION_EVERY: u64 = 10;
