//! Where sessions that have not connected come from.

use std::collections::HashMap;

use whitewater_link::SessionId;

use super::Registry;

/// Sessions that have not connected, by where they come from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    of: HashMap<SessionId, u128>,
    counts: HashMap<u128, u32>,
}

impl Sources {
    /// The session connected, or is gone. Told twice, it is no more than once.
    pub(super) fn forget(&mut self, session: SessionId) {
        let Some(source) = self.of.remove(&session) else {
            return;
        };
        let Some(count) = self.counts.get_mut(&source) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&source);
        }
    }
}

impl Registry {
    /// Whether this source may have one more session that has not connected. What makes a source
    /// is the caller's affair.
    pub fn has_room_for(&self, source: u128) -> bool {
        let max = self.policy.source_half_open_max;
        let count = self.sources.counts.get(&source).copied();
        max == 0 || count.unwrap_or_default() < max
    }

    /// Notes where an admitted session, which the data plane has not answered yet, comes from.
    /// The source is charged with it until it connects or is gone.
    pub fn came_from(&mut self, session: SessionId, source: u128) {
        if !self.pending.contains_key(&session) || self.sources.of.contains_key(&session) {
            return;
        }
        self.sources.of.insert(session, source);
        *self.sources.counts.entry(source).or_default() += 1;
    }

    /// How many sessions of all sources have not connected, as far as it was told where they come
    /// from.
    #[cfg(test)]
    pub(super) fn charged(&self) -> (usize, u32) {
        (self.sources.of.len(), self.sources.counts.values().sum())
    }
}
