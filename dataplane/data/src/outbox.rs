//! What waits to be handed to SCTP: bounded, and without a copy of its own.

use std::collections::VecDeque;
use std::time::Instant;

use whitewater_link::{DataMessage, Reliability};

use crate::limits;

/// What becomes of a message of a reliable channel that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its channel is closed: reliable is what it was and cannot be any more.
    CloseChannel,
    /// It is dropped: whoever sends too much must not end what others use.
    DropMessage,
}

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) id: u16,
    pub(crate) message: DataMessage,
    pub(crate) reliability: Reliability,
    pub(crate) since: Instant,
}

impl Waiting {
    fn cost(&self) -> usize {
        self.message.payload.len() + limits::MESSAGE_COST
    }

    /// Whether nobody wants it any more.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.since).as_millis();
        matches!(self.reliability, Reliability::Lifetime(ms) if waited > u128::from(ms))
    }
}

/// Messages in the order in which they are sent, at most [`limits::WAITING_SIZE_MAX`] bytes and
/// [`limits::WAITING_COUNT_MAX`] of them.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    size: usize,
}

impl Outbox {
    /// Adds a message. The oldest ones that may be lost make room for it; how many did is returned.
    ///
    /// # Errors
    /// When that is not room enough; it is not added then.
    pub(crate) fn push(&mut self, new: Waiting) -> Result<usize, ()> {
        let needed = new.cost();
        let mut dropped = 0;
        while self.size + needed > limits::WAITING_SIZE_MAX
            || self.waiting.len() >= limits::WAITING_COUNT_MAX
        {
            let partial = |waiting: &Waiting| waiting.reliability.is_partial();
            let Some(oldest) = self.waiting.iter().position(partial) else {
                return Err(());
            };
            self.remove(oldest);
            dropped += 1;
        }
        self.size += needed;
        self.waiting.push_back(new);
        Ok(dropped)
    }

    /// The next one.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.remove(0)
    }

    /// Whether any waits for a channel.
    pub(crate) fn has(&self, id: u16) -> bool {
        self.waiting.iter().any(|waiting| waiting.id == id)
    }

    /// Drops what waits for a channel.
    pub(crate) fn forget(&mut self, id: u16) {
        self.waiting.retain(|waiting| waiting.id != id);
        self.size = self.waiting.iter().map(Waiting::cost).sum();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn remove(&mut self, at: usize) -> Option<Waiting> {
        let gone = self.waiting.remove(at)?;
        self.size -= gone.cost();
        Some(gone)
    }
}
