//! What managers share: small values under keys, changed by compare-and-swap, some of them only
//! for as long as somebody renews a lease, and all changes told to whoever watches.
//!
//! [`Memory`] is for one manager alone, [`Etcd`] for several. Both keep the same promises;
//! `tests.rs` holds them to it.

mod etcd;
mod memory;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

pub(crate) use etcd::Etcd;
pub(crate) use memory::Memory;

/// Names one writing of a key: larger than that of every writing before, of any key. 0 stands for
/// a key that is not there.
pub(crate) type Version = u64;

/// A key with what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Bytes,
    pub(crate) version: Version,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Entry),
    Gone { key: String, version: Version },
}

/// What came of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    /// It was done; the key's version now, 0 if it was removed.
    Done(Version),
    /// Somebody else was faster.
    Conflict,
}

/// A promise to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease(pub(crate) u64);

/// Why the store did not do something. Nothing is known of whether it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreError(pub(crate) String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The store.
pub(crate) trait Store: Send + Sync + 'static {
    /// What is there now.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>>;

    /// Writes `value`, or removes the key, if its version is `expected`. A value with a lease goes
    /// when that ends.
    fn swap<'a>(
        &'a self,
        key: &'a str,
        expected: Version,
        value: Option<Bytes>,
        lease: Option<Lease>,
    ) -> Answer<'a, Swap>;

    /// Makes a lease that ends after `ttl`, of whole seconds, unless it is kept.
    fn grant(&self, ttl: Duration) -> Answer<'_, Lease>;

    /// Starts its time anew. False when it had ended.
    fn keep(&self, lease: Lease) -> Answer<'_, bool>;

    /// Ends it now.
    fn revoke(&self, lease: Lease) -> Answer<'_, ()>;

    /// All entries whose keys start so, and every change after them. The channel ends when changes
    /// cannot be told without a gap: then this is to be asked again.
    fn watch<'a>(&'a self, prefix: &'a str) -> Answer<'a, (Vec<Entry>, mpsc::Receiver<Change>)>;
}

/// Changes a watcher may be behind.
const CHANGES_MAX: usize = 4096;
