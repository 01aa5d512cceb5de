use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::ready;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Answer, CHANGES_MAX, Change, Entry, Lease, Store, StoreError, Swap, Version};

/// A store inside this process.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    revision: Version,
    entries: BTreeMap<String, Slot>,
    leases: HashMap<Lease, Term>,
    lease_serial: u64,
    watchers: Vec<(String, mpsc::Sender<Change>)>,
}

struct Slot {
    value: Bytes,
    version: Version,
    lease: Option<Lease>,
}

struct Term {
    ttl: Duration,
    ends_at: Instant,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the lease when its time is over.
    async fn expire(state: std::sync::Weak<Mutex<State>>, lease: Lease) {
        loop {
            let ends_at = {
                let Some(state) = state.upgrade() else {
                    return;
                };
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                match state.leases.get(&lease) {
                    None => return,
                    Some(term) if term.ends_at <= Instant::now() => return state.end(lease),
                    Some(term) => term.ends_at,
                }
            };
            tokio::time::sleep_until(ends_at).await;
        }
    }
}

impl State {
    fn swap(
        &mut self,
        key: &str,
        expected: Version,
        value: Option<Bytes>,
        lease: Option<Lease>,
    ) -> Result<Swap, StoreError> {
        let version = self.entries.get(key).map_or(0, |slot| slot.version);
        if version != expected {
            return Ok(Swap::Conflict);
        }
        let Some(value) = value else {
            self.remove(key);
            return Ok(Swap::Done(0));
        };
        if lease.is_some_and(|lease| !self.leases.contains_key(&lease)) {
            return Err(StoreError("the lease has ended".to_owned()));
        }
        self.revision += 1;
        let slot = Slot {
            value: value.clone(),
            version: self.revision,
            lease,
        };
        self.entries.insert(key.to_owned(), slot);
        self.tell(&Change::Put(Entry {
            key: key.to_owned(),
            value,
            version: self.revision,
        }));
        Ok(Swap::Done(self.revision))
    }

    fn remove(&mut self, key: &str) {
        if self.entries.remove(key).is_some() {
            self.revision += 1;
            self.tell(&Change::Gone {
                key: key.to_owned(),
                version: self.revision,
            });
        }
    }

    fn end(&mut self, lease: Lease) {
        self.leases.remove(&lease);
        let bound = |slot: &Slot| slot.lease == Some(lease);
        let keys = self.entries.iter().filter(|(_, slot)| bound(slot));
        let keys: Vec<_> = keys.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(&key);
        }
    }

    /// A watcher that is too far behind has to start anew.
    fn tell(&mut self, change: &Change) {
        let key = match change {
            Change::Put(entry) => &entry.key,
            Change::Gone { key, .. } => key,
        };
        self.watchers.retain(|(prefix, watcher)| {
            !watcher.is_closed()
                && (!key.starts_with(prefix) || watcher.try_send(change.clone()).is_ok())
        });
    }
}

impl Store for Memory {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        let state = self.state();
        let found = state.entries.get(key).map(|slot| Entry {
            key: key.to_owned(),
            value: slot.value.clone(),
            version: slot.version,
        });
        ready(Ok(found)).boxed()
    }

    fn swap<'a>(
        &'a self,
        key: &'a str,
        expected: Version,
        value: Option<Bytes>,
        lease: Option<Lease>,
    ) -> Answer<'a, Swap> {
        let swapped = self.state().swap(key, expected, value, lease);
        ready(swapped).boxed()
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, Lease> {
        let mut state = self.state();
        state.lease_serial += 1;
        let lease = Lease(state.lease_serial);
        let ends_at = Instant::now() + ttl;
        state.leases.insert(lease, Term { ttl, ends_at });
        drop(state);
        tokio::spawn(Memory::expire(Arc::downgrade(&self.state), lease));
        ready(Ok(lease)).boxed()
    }

    fn keep(&self, lease: Lease) -> Answer<'_, bool> {
        let mut state = self.state();
        let kept = state.leases.get_mut(&lease).map(|term| {
            term.ends_at = Instant::now() + term.ttl;
        });
        ready(Ok(kept.is_some())).boxed()
    }

    fn revoke(&self, lease: Lease) -> Answer<'_, ()> {
        self.state().end(lease);
        ready(Ok(())).boxed()
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> Answer<'a, (Vec<Entry>, mpsc::Receiver<Change>)> {
        let mut state = self.state();
        let entries = state.entries.iter();
        let entries = entries.filter(|(key, _)| key.starts_with(prefix));
        let entries = entries.map(|(key, slot)| Entry {
            key: key.clone(),
            value: slot.value.clone(),
            version: slot.version,
        });
        let entries = entries.collect();
        let (sender, receiver) = mpsc::channel(CHANGES_MAX);
        state.watchers.push((prefix.to_owned(), sender));
        ready(Ok((entries, receiver))).boxed()
    }
}
