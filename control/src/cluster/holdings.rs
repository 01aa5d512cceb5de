//! What managers agree on for each stream, with a copy for when the store cannot be asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whitewater_model::StreamName;
use whitewater_model::cluster::{Holding, NodeName};

use super::Manager;
use super::store::{Change, Entry, Store, StoreError, Swap, Version};
use crate::http::path;

/// The streams' records.
pub(crate) struct Holdings {
    store: Arc<dyn Store>,
    copy: Mutex<BTreeMap<StreamName, Held>>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) holding: Holding,
    pub(crate) version: Version,
}

/// As it is written.
#[derive(Deserialize, Serialize)]
struct Record {
    owner: String,
    claims: u64,
    links: BTreeMap<String, String>,
}

impl Holdings {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Holdings {
            store,
            copy: Mutex::default(),
        }
    }

    /// As it was when the store was heard of last.
    pub(crate) fn known(&self, stream: &StreamName) -> Option<Holding> {
        self.copy().get(stream).map(|held| held.holding.clone())
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<StreamName, Held> {
        self.copy().clone()
    }

    /// As it is now.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn fetch(&self, stream: &StreamName) -> Result<Option<Held>, StoreError> {
        let found = self.store.get(&key(stream)).await?;
        let held = found.as_ref().and_then(read).map(|(_, held)| held);
        if let Some(held) = &held {
            self.learn(stream, held.clone());
        }
        Ok(held)
    }

    /// Writes `to` if nobody was faster. False if somebody was.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn swap(
        &self,
        stream: &StreamName,
        expected: Version,
        to: Option<Holding>,
    ) -> Result<bool, StoreError> {
        let value = to.as_ref().map(write);
        match self.store.swap(&key(stream), expected, value, None).await? {
            Swap::Conflict => Ok(false),
            Swap::Done(version) => {
                match to {
                    Some(holding) => self.learn(stream, Held { holding, version }),
                    None => {
                        self.copy().remove(stream);
                    }
                }
                Ok(true)
            }
        }
    }

    fn learn(&self, stream: &StreamName, held: Held) {
        let mut copy = self.copy();
        if copy
            .get(stream)
            .is_none_or(|known| known.version < held.version)
        {
            copy.insert(stream.clone(), held);
        }
    }

    fn apply(&self, change: Change) {
        match change {
            Change::Put(entry) => match read(&entry) {
                Some((stream, held)) => self.learn(&stream, held),
                None => tracing::warn!(key = entry.key, "a record in the store is broken"),
            },
            Change::Gone { key, version } => {
                let mut copy = self.copy();
                if let Some(stream) = stream_of(&key)
                    && copy.get(&stream).is_some_and(|held| held.version < version)
                {
                    copy.remove(&stream);
                }
            }
        }
    }

    fn copy(&self) -> MutexGuard<'_, BTreeMap<StreamName, Held>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the copy as the store is, for as long as it is polled. While the store is away the copy
/// stays as it was.
pub(super) async fn run(manager: Arc<Manager>) {
    let holdings = &manager.holdings;
    let mut was_away = false;
    loop {
        match holdings.store.watch(PREFIX).await {
            Ok((entries, mut changes)) => {
                if was_away {
                    tracing::info!("the store answers again");
                    was_away = false;
                }
                *holdings.copy() = entries.iter().filter_map(read).collect();
                while let Some(change) = changes.recv().await {
                    holdings.apply(change);
                }
            }
            Err(error) if !was_away => {
                tracing::warn!(%error, "the store does not answer; what is known stays in force");
                was_away = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn key(stream: &StreamName) -> String {
    format!("{PREFIX}{}", path::encode(stream))
}

fn stream_of(key: &str) -> Option<StreamName> {
    path::stream_name(key.strip_prefix(PREFIX)?).ok()
}

fn read(entry: &Entry) -> Option<(StreamName, Held)> {
    let record: Record = serde_json::from_slice(&entry.value).ok()?;
    let node = |text: &str| NodeName::parse(text).ok();
    let links = record.links.iter();
    let links = links.map(|(child, parent)| Some((node(child)?, node(parent)?)));
    let links: Option<Vec<_>> = links.collect();
    let holding = Holding::from_parts(node(&record.owner)?, record.claims, links?)?;
    let held = Held {
        holding,
        version: entry.version,
    };
    Some((stream_of(&entry.key)?, held))
}

fn write(holding: &Holding) -> Bytes {
    let links = holding.links();
    let record = Record {
        owner: holding.owner().to_string(),
        claims: holding.claims(),
        links: links
            .map(|(child, parent)| (child.to_string(), parent.to_string()))
            .collect(),
    };
    // Texts and a number always serialise.
    serde_json::to_vec(&record).unwrap_or_default().into()
}

const PREFIX: &str = "streams/";
const RETRY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_nothing_else_is() {
        let node = |text: &str| NodeName::parse(text).expect("an alias");
        let stream = StreamName::parse("my cam/1").expect("a name");
        let mut holding = Holding::new(node("a"));
        holding.renew();
        holding
            .attach(node("b"), node("a"), Default::default())
            .expect("room");
        let entry = |value: Bytes| Entry {
            key: key(&stream),
            value,
            version: 7,
        };
        let held = Held {
            holding: holding.clone(),
            version: 7,
        };
        assert_eq!(read(&entry(write(&holding))), Some((stream.clone(), held)));
        for broken in [
            "",
            "{}",
            r#"{"owner":"","claims":1,"links":{}}"#,
            r#"{"owner":"a","claims":1,"links":{"b":"c"}}"#,
            r#"{"owner":"a","claims":1,"links":{"b":"c","c":"b"}}"#,
        ] {
            assert_eq!(read(&entry(broken.into())), None, "{broken}");
        }
    }
}
