//! Nodes that make themselves known in the store, and managers that learn of them there.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whitewater_model::cluster::NodeName;

use super::config::{EtcdAccess, NodeEntry};
use super::courier::Courier;
use super::peers::Peer;
use super::store::{Change, Entry, Etcd, Lease, Store, StoreError, Swap};
use super::{Manager, STORE_PREFIX};

/// What a node says of itself in the store.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name. Who comes later with the same one waits until the first has gone.
    pub alias: NodeName,
    /// Where managers reach its API.
    pub url: String,
    /// Where it stands.
    pub region: String,
    /// Publishers it takes.
    pub pub_max: u32,
    /// Viewers it takes.
    pub sub_max: u32,
    /// The store.
    pub etcd: EtcdAccess,
    /// Certificates, in PEM, that it is trusted by instead of those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Keeps a node registered.
pub struct Registrar {
    store: Arc<dyn Store>,
    key: String,
    value: Bytes,
}

/// As it is written.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    url: String,
    region: String,
    pub_max: u32,
    sub_max: u32,
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Registrar {
    /// One that has not registered yet.
    ///
    /// # Errors
    /// `InvalidInput` for a file of certificates that cannot be used.
    pub fn new(registration: &Registration) -> io::Result<Self> {
        let courier = Courier::new(registration.ca_file.as_deref())?;
        let record = Record {
            url: registration.url.clone(),
            region: registration.region.clone(),
            pub_max: registration.pub_max,
            sub_max: registration.sub_max,
        };
        Ok(Registrar {
            store: Arc::new(Etcd::new(courier, &registration.etcd, STORE_PREFIX)),
            key: format!("{PREFIX}{}", registration.alias),
            // Texts and numbers always serialise.
            value: serde_json::to_vec(&record).unwrap_or_default().into(),
        })
    }

    /// Registers and stays registered until `stop` is ready; then it is taken back. The store may
    /// go away and come back meanwhile.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut lease = None;
        tokio::select! {
            () = self.keep(&mut lease) => {}
            () = stop => {}
        }
        if let Some(lease) = lease {
            let revoked = tokio::time::timeout(GOODBYE_WITHIN, self.store.revoke(lease));
            // Else it ends by itself.
            let _ = revoked.await;
        }
    }

    async fn keep(&self, lease: &mut Option<Lease>) {
        let mut was_away = false;
        loop {
            let registered = self.register_once(lease).await;
            let pause = match registered {
                Ok(_) => LEASE_LASTS / 3,
                // The lease may be over: until this node is registered again nobody is sent here.
                Err(_) => RETRY,
            };
            match registered {
                Ok(true) if was_away => {
                    was_away = false;
                    tracing::info!("registered again");
                }
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(
                        key = self.key,
                        "another node is registered under this alias"
                    );
                }
                Err(error) if !was_away => {
                    was_away = true;
                    tracing::warn!(%error, "the store does not answer; sessions go on");
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Keeps the lease, or begins anew. False when somebody else has the name.
    async fn register_once(&self, lease: &mut Option<Lease>) -> Result<bool, StoreError> {
        if let Some(kept) = *lease
            && self.store.keep(kept).await?
        {
            return Ok(true);
        }
        *lease = None;
        // What stands there with this node's own address is of an earlier life, or of a swap whose
        // answer was lost.
        let found = self.store.get(&self.key).await?;
        let is_other = found
            .as_ref()
            .is_some_and(|found| found.value != self.value);
        if is_other {
            return Ok(false);
        }
        let version = found.map_or(0, |found| found.version);
        let granted = self.store.grant(LEASE_LASTS).await?;
        let value = Some(self.value.clone());
        let swapped = self.store.swap(&self.key, version, value, Some(granted));
        if let Swap::Done(_) = swapped.await? {
            *lease = Some(granted);
            return Ok(true);
        }
        self.store.revoke(granted).await?;
        Ok(false)
    }
}

/// Keeps the manager's nodes as the store has them, for as long as it is polled. Those of the
/// configuration stay whatever the store says; while it is away, so do the others.
pub(super) async fn run(manager: Arc<Manager>) {
    let fixed: Vec<_> = manager
        .config
        .nodes
        .iter()
        .map(|node| &node.alias)
        .collect();
    let mut registered: HashMap<String, NodeName> = HashMap::new();
    loop {
        if let Ok((entries, mut changes)) = manager.store.watch(PREFIX).await {
            let gone = registered.iter().filter(|(key, _)| {
                let mut entries = entries.iter();
                !entries.any(|entry| entry.key == **key)
            });
            let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
            for key in gone {
                forget(&manager, &mut registered, &key);
            }
            for entry in &entries {
                learn(&manager, &mut registered, &fixed, entry);
            }
            while let Some(change) = changes.recv().await {
                match &change {
                    Change::Put(entry) => learn(&manager, &mut registered, &fixed, entry),
                    Change::Gone { key, .. } => forget(&manager, &mut registered, key),
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn learn(
    manager: &Manager,
    registered: &mut HashMap<String, NodeName>,
    fixed: &[&NodeName],
    entry: &Entry,
) {
    let Some(peer) = read(manager, entry) else {
        tracing::warn!(
            key = entry.key,
            "a node registered in a way that cannot be used"
        );
        return;
    };
    if fixed.contains(&&peer.alias) {
        return;
    }
    registered.insert(entry.key.clone(), peer.alias.clone());
    let (alias, url) = (peer.alias.clone(), peer.url.clone());
    let is_new = {
        let mut inner = manager.peers.lock();
        let is_new = inner.add(Arc::new(peer));
        inner.cluster.registered(&alias);
        is_new
    };
    if is_new {
        tracing::info!(node = %alias, url, "a node registered");
    }
}

fn forget(manager: &Manager, registered: &mut HashMap<String, NodeName>, key: &str) {
    if let Some(alias) = registered.remove(key) {
        tracing::info!(node = %alias, "a node is registered no longer");
        manager.peers.lock().remove(&alias);
    }
}

fn read(manager: &Manager, entry: &Entry) -> Option<Peer> {
    let record: Record = serde_json::from_slice(&entry.value).ok()?;
    let alias = NodeName::parse(entry.key.strip_prefix(PREFIX)?).ok()?;
    Peer::new(&NodeEntry {
        alias,
        url: record.url,
        token: manager.config.node_token.clone(),
        region: Some(record.region),
        pub_max: Some(record.pub_max),
        sub_max: Some(record.sub_max),
    })
}

const PREFIX: &str = "nodes/";
/// A node that died is forgotten after this.
const LEASE_LASTS: Duration = Duration::from_secs(6);
const RETRY: Duration = Duration::from_millis(500);
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
