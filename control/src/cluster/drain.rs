//! Nodes that are to be emptied: nothing new goes there, who listens for events is asked to come
//! again and so comes elsewhere, and what is left at the deadline is ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use whitewater_model::StreamName;
use whitewater_model::cluster::NodeName;

use super::store::{Change, Entry, Store, StoreError, Swap, Version};
use super::{Manager, lists};
use crate::context::now;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::Response;

/// The nodes that are being emptied, as all managers know them.
#[derive(Clone)]
pub(crate) struct Drains {
    store: Arc<dyn Store>,
    copy: Arc<Mutex<BTreeMap<NodeName, Drain>>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Drain {
    deadline_unix_ms: u64,
}

/// How far it is.
#[derive(Serialize)]
struct State {
    alias: String,
    draining: bool,
    publishers: u32,
    viewers: u32,
    empty: bool,
}

impl Drains {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Drains {
            store,
            copy: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Whether the node is to be left.
    pub(crate) fn has(&self, node: &NodeName) -> bool {
        self.copy().contains_key(node)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn set(&self, node: &NodeName, drain: Option<Drain>) -> Result<(), StoreError> {
        let key = format!("{PREFIX}{node}");
        let value = drain.and_then(|drain| serde_json::to_vec(&drain).ok());
        let value = value.map(Bytes::from);
        for _ in 0..SWAPS_MAX {
            let version: Version = self.store.get(&key).await?.map_or(0, |found| found.version);
            if version == 0 && value.is_none() {
                return Ok(());
            }
            let swapped = self.store.swap(&key, version, value.clone(), None).await?;
            if swapped != Swap::Conflict {
                return Ok(());
            }
        }
        Err(StoreError("others change it at the same time".to_owned()))
    }

    fn apply(&self, change: &Change) {
        match change {
            Change::Put(entry) => {
                if let Some((node, drain)) = read(entry) {
                    self.copy().insert(node, drain);
                }
            }
            Change::Gone { key, .. } => {
                if let Some(node) = node_of(key) {
                    self.copy().remove(&node);
                }
            }
        }
    }

    fn copy(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeName, Drain>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/api/nodes/{alias}/drain`: POST begins, DELETE takes it back, GET tells how far it is.
pub(super) async fn serve(
    manager: &Manager,
    alias: &NodeName,
    request: &Request,
) -> Result<Response, Problem> {
    if manager.peers.get(alias).is_none() {
        return Err(Problem::not_found("no node is called so"));
    }
    let away = |_| Problem::overloaded("the store of the cluster does not answer");
    match request.method {
        Method::POST => {
            let lasts = u64::try_from(manager.config.drain_max.as_millis()).unwrap_or(u64::MAX);
            let drain = Drain {
                deadline_unix_ms: now().unix_ms.saturating_add(lasts),
            };
            manager.drains.set(alias, Some(drain)).await.map_err(away)?;
            manager.drains.copy().insert(alias.clone(), drain);
            tracing::info!(node = %alias, "the node is being emptied");
            manager.note_drains();
            manager.tell(alias, Method::POST).await;
        }
        Method::DELETE => {
            manager.drains.set(alias, None).await.map_err(away)?;
            manager.drains.copy().remove(alias);
            tracing::info!(node = %alias, "the node takes sessions again");
            manager.note_drains();
            manager.tell(alias, Method::DELETE).await;
        }
        _ => {}
    }
    let inner = manager.peers.lock();
    let (publishers, viewers) = (
        inner.cluster.publishers(alias),
        inner.cluster.viewers(alias),
    );
    let state = State {
        alias: alias.to_string(),
        draining: manager.drains.has(alias),
        publishers,
        viewers,
        empty: publishers == 0 && viewers == 0,
    };
    drop(inner);
    Ok(lists::render(&state))
}

/// Follows the store, and ends what is left when a deadline is over, for as long as it is polled.
pub(super) async fn run(manager: Arc<Manager>) {
    loop {
        let watched = manager.drains.store.watch(PREFIX).await;
        let Ok((entries, mut changes)) = watched else {
            tokio::time::sleep(RETRY).await;
            manager.finish_drains().await;
            continue;
        };
        *manager.drains.copy() = entries.iter().filter_map(read).collect();
        manager.note_drains();
        loop {
            match tokio::time::timeout(LOOK_EVERY, changes.recv()).await {
                Ok(Some(change)) => {
                    manager.drains.apply(&change);
                    manager.note_drains();
                }
                Ok(None) => break,
                Err(_) => manager.finish_drains().await,
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Manager {
    /// Tells placement and the event streams.
    fn note_drains(&self) {
        let drains = self.drains.copy().clone();
        let mut inner = self.peers.lock();
        let names: Vec<_> = inner
            .cluster
            .nodes()
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            inner
                .cluster
                .set_draining(&name, drains.contains_key(&name));
        }
        drop(inner);
        self.drains
            .changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Lets the node ask its players to come again, those too that did not come through a manager.
    /// Nodes that know nothing of it are emptied all the same.
    async fn tell(&self, node: &NodeName, method: Method) {
        let Some(peer) = self.peers.get(node) else {
            return;
        };
        let lasts = self.config.drain_max.as_secs();
        let body = if method == Method::POST {
            Some(serde_json::json!({ "deadlineSeconds": lasts }))
        } else {
            None
        };
        let told = self.send(&peer, method, "/api/drain", body).await;
        tracing::debug!(%node, ?told, "the node was told of its drain");
    }

    async fn finish_drains(&self) {
        // Nodes that became known since.
        let drains = self.drains.copy().clone();
        let at = now().unix_ms;
        for (node, drain) in drains {
            let Some(peer) = self.peers.get(&node) else {
                continue;
            };
            self.peers.lock().cluster.set_draining(&node, true);
            if drain.deadline_unix_ms > at {
                continue;
            }
            let left = self.sessions_on(&node);
            let ends = left
                .iter()
                .map(|(stream, session)| self.end_session(&peer, stream, session));
            for ended in join_all(ends).await {
                if let Err(problem) = ended {
                    tracing::debug!(node = %node, ?problem, "a session could not be ended");
                }
            }
        }
    }

    /// Some of the sessions that are left on a node.
    fn sessions_on(&self, node: &NodeName) -> Vec<(StreamName, String)> {
        let streams = {
            let inner = self.peers.lock();
            inner.seen(node).map(|seen| seen.streams.clone())
        };
        let mut left = Vec::new();
        for stream in streams.iter().flat_map(|streams| streams.iter()) {
            let Ok(name) = StreamName::parse(&stream.id) else {
                continue;
            };
            let both = stream
                .publish
                .sessions
                .iter()
                .chain(&stream.subscribe.sessions);
            left.extend(both.map(|session| (name.clone(), session.id.clone())));
        }
        left.truncate(ENDED_AT_ONCE_MAX);
        left
    }
}

fn read(entry: &Entry) -> Option<(NodeName, Drain)> {
    let drain = serde_json::from_slice(&entry.value).ok()?;
    Some((node_of(&entry.key)?, drain))
}

fn node_of(key: &str) -> Option<NodeName> {
    NodeName::parse(key.strip_prefix(PREFIX)?).ok()
}

const PREFIX: &str = "drains/";
const RETRY: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SWAPS_MAX: u32 = 8;
const ENDED_AT_ONCE_MAX: usize = 64;
