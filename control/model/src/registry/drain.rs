//! Going out of service: nothing new, time for players to move, then the end of what is left.

use std::time::Duration;

use whitewater_link::{CloseReason, Command, SessionId};

use super::Registry;
use crate::Now;

/// A drain under way, or done.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// When it began.
    pub since: Now,
    /// When the sessions that are left are ended.
    pub deadline: Now,
    /// What for.
    pub purpose: Purpose,
}

/// What a drain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody asked for it, and may take that back.
    Maintenance,
    /// The process ends.
    Shutdown,
}

impl Registry {
    /// Takes nothing new from now on; sessions that are there stay until `patience` has passed.
    /// Asked again, it only moves the deadline; from a shutdown there is no way back.
    pub fn begin_drain(&mut self, purpose: Purpose, patience: Duration, now: Now) {
        let before = self.drain;
        let is_shutdown = before.is_some_and(|drain| drain.purpose == Purpose::Shutdown);
        let wait_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.drain = Some(Drain {
            since: before.map_or(now, |drain| drain.since),
            deadline: Now {
                // A clock that cannot hold it has no such time: then it is now.
                mono: now.mono.checked_add(patience).unwrap_or(now.mono),
                unix_ms: now.unix_ms.saturating_add(wait_ms),
            },
            purpose: if is_shutdown {
                Purpose::Shutdown
            } else {
                purpose
            },
        });
        self.drop_counter_offers(now);
    }

    /// Takes sessions again. False when no drain can be taken back.
    pub fn cancel_drain(&mut self) -> bool {
        let is_wish = |drain: &mut Drain| drain.purpose == Purpose::Maintenance;
        self.drain.take_if(is_wish).is_some()
    }

    /// The drain, if there is one.
    pub fn drain(&self) -> Option<Drain> {
        self.drain
    }

    /// The process ends now: the data plane is told to end every session, and itself.
    pub fn shut_down(&mut self, now: Now) {
        self.begin_drain(Purpose::Shutdown, Duration::ZERO, now);
        if !self.shut_down {
            self.shut_down = true;
            self.outbox.push_back(Command::Shutdown);
        }
    }

    /// Once the deadline has passed nobody stays, nor who was being let in when it began.
    pub(super) fn end_drained(&mut self, now: Now) {
        let is_over = self
            .drain
            .is_some_and(|drain| drain.deadline.mono <= now.mono);
        if !is_over || self.shut_down {
            return;
        }
        let mut left: Vec<SessionId> = self.sessions.keys().copied().collect();
        left.sort_unstable();
        for session in left {
            self.hang_up(session, CloseReason::Shutdown, now);
        }
    }
}
