//! How sessions and streams go.

use std::time::Duration;

use whitewater_link::{CloseReason, Command, Role, SessionId};

use super::Registry;
use super::events::add;
use crate::session::Session;
use crate::stream::Left;
use crate::{Authority, Now, Seat, StreamName};

impl Registry {
    /// Ends what the policy's clocks have run out for. To be called a few times a second.
    pub fn tick(&mut self, now: Now) {
        let due: Vec<StreamName> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.is_due(&self.policy, now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.remove_stream(&name, now);
        }
        while let Some((until, session)) = self.ends.first().copied()
            && until <= now.mono
        {
            self.ends.pop_first();
            self.hang_up(session, CloseReason::Expired, now);
        }
        self.expire_counter_offers(now);
        self.end_drained(now);
        // The data plane closes in milliseconds; what it never confirmed must not count for ever.
        self.closing
            .retain(|_, since| now.mono.saturating_duration_since(*since) < CLOSING_MAX);
    }

    /// Ends the sessions whose authority does not stand any more, and says how many live ones
    /// these were. Those that still wait for the data plane are given up.
    pub fn end_unless(&mut self, stands: impl Fn(&Authority) -> bool, now: Now) -> usize {
        let fallen = |authority: &Option<Authority>| authority.as_ref().is_some_and(|a| !stands(a));
        let live = self.sessions.iter();
        let mut live: Vec<SessionId> = live
            .filter(|(_, session)| fallen(&session.authority))
            .map(|(id, _)| *id)
            .collect();
        live.sort_unstable();
        let pending = self.pending.iter();
        let mut pending: Vec<SessionId> = pending
            .filter(|(_, session)| fallen(&session.authority))
            .map(|(id, _)| *id)
            .collect();
        pending.sort_unstable();
        for session in &live {
            self.hang_up(*session, CloseReason::Revoked, now);
        }
        for session in pending {
            self.refused(session, now);
        }
        live.len()
    }

    /// Ends a live session from our side.
    pub(super) fn hang_up(&mut self, session: SessionId, reason: CloseReason, now: Now) {
        if let Some(gone) = self.leave(session, reason, now) {
            self.tell_close(session, gone.shard, reason, now.mono);
        }
    }

    /// Takes a live session out of its stream and the lists.
    pub(super) fn leave(
        &mut self,
        session: SessionId,
        reason: CloseReason,
        now: Now,
    ) -> Option<Session> {
        let gone = self.sessions.remove(&session)?;
        if let Some(until) = gone.until() {
            self.ends.remove(&(until, session));
        }
        self.revision += 1;
        *self.totals.ended.entry(reason.as_str()).or_default() += 1;
        if matches!(gone.role, Role::Publish { .. }) {
            self.publisher_count -= 1;
        }
        self.free_seats -= usize::from(gone.relay.seat == Seat::Free);
        if !gone.ever_connected {
            self.unconnected_count -= 1;
            self.sources.forget(session);
        }
        let Some(stream) = self.streams.get_mut(&gone.name) else {
            return Some(gone);
        };
        match gone.role {
            Role::Publish { .. } => {
                add(&mut stream.published_before, gone.traffic);
                // One that was taken over is not the publisher any more.
                if stream.publisher == Some(session) {
                    stream.publisher = None;
                    stream.tracks.clear();
                    stream.publish_left = Some(Left::from(now));
                }
            }
            Role::Subscribe => {
                add(&mut stream.subscribed_before, gone.traffic);
                stream.viewers.remove(&gone.serial);
                stream.free_seats -= usize::from(gone.relay.seat == Seat::Free);
                if stream.viewers.is_empty() {
                    stream.subscribe_left = Left::from(now);
                }
            }
        }
        stream.note_occupancy(now);
        Some(gone)
    }

    /// Takes a stream out with everything it holds. One command ends its sessions on all shards.
    pub(super) fn remove_stream(&mut self, name: &StreamName, now: Now) {
        let Some(stream) = self.streams.remove(name) else {
            return;
        };
        self.names.remove(&stream.id);
        self.revision += 1;
        let sources = &mut self.sources;
        self.pending.retain(|session, pending| {
            let stays = pending.stream != stream.id;
            if !stays {
                sources.forget(*session);
            }
            stays
        });
        let sessions = stream.publisher.iter().chain(stream.viewers.values());
        for session in sessions {
            if self
                .leave(*session, CloseReason::StreamDestroyed, now)
                .is_some()
            {
                self.closing.insert(*session, now.mono);
            }
        }
        self.outbox.push_back(Command::DestroyStream {
            stream: stream.id,
            reason: CloseReason::StreamDestroyed,
        });
    }
}

const CLOSING_MAX: Duration = Duration::from_secs(60);
