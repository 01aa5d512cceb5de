//! Where sessions that have not connected come from.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use whitewater_link::{CloseReason, SessionId};

use super::Registry;
use crate::Now;

/// Sessions that have not connected, by where they come from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    of: HashMap<SessionId, u128>,
    counts: HashMap<u128, u32>,
    /// When one had to make room for another source's last.
    yielded_at: Option<Instant>,
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

    /// Where all places of sessions that have not connected are taken, ends one for the sake of this
    /// source: the oldest of the source that has most of them, if those are at least two more than
    /// its own. So many addresses at once cannot keep the others out for as long as they like.
    pub fn yield_place(&mut self, source: u128, now: Now) {
        // The data plane has work with each: a flood from ever new sources must not set the pace.
        let is_early = self
            .sources
            .yielded_at
            .is_some_and(|at| now.mono.saturating_duration_since(at) < YIELD_GAP);
        if is_early || self.is_draining() || !self.is_full_of_half_open() {
            return;
        }
        let counts = &self.sources.counts;
        let own = counts.get(&source).copied().unwrap_or_default();
        let most = counts.iter().map(|(source, count)| (*count, *source)).max();
        let Some((_, most)) = most.filter(|(count, _)| *count >= own + 2) else {
            return;
        };
        let theirs = self.sources.of.iter().filter(|(_, from)| **from == most);
        let live = theirs.filter_map(|(id, _)| Some((self.sessions.get(id)?.serial, *id)));
        if let Some((_, oldest)) = live.min() {
            self.sources.yielded_at = Some(now.mono);
            self.hang_up(oldest, CloseReason::NeverConnected, now);
        }
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

/// A hundred a second are more than people make who join through an attack.
const YIELD_GAP: Duration = Duration::from_millis(10);
