//! The end of sessions: the peer is told, and nothing of it stays behind.

use std::time::Instant;

use whitewater_link::{CloseReason, Event, Relay, Role};

use super::{Core, Engine};
use crate::session::Session;

impl Engine {
    /// Takes one session out at the end of the turn.
    pub(super) fn close(&mut self, now: Instant, key: u32, reason: CloseReason) {
        self.with_session(now, key, |session, _| {
            session.closing.get_or_insert(reason);
        });
    }

    /// Takes all sessions out that `which` picks.
    pub(super) fn close_all(
        &mut self,
        now: Instant,
        reason: CloseReason,
        which: impl Fn(&Session) -> bool,
    ) {
        let picked = self.sessions.iter().filter(|(_, session)| which(session));
        let keys: Vec<u32> = picked.map(|(key, _)| key as u32).collect();
        for key in keys {
            self.close(now, key, reason);
        }
    }

    pub(super) fn take_out_leaving(&mut self, now: Instant) {
        let mut leaving = std::mem::take(&mut self.core.leaving);
        leaving.sort_unstable();
        leaving.dedup();
        for key in leaving.drain(..) {
            if self.sessions.contains(key as usize) {
                let session = self.sessions.remove(key as usize);
                self.take_out(now, key, session);
            }
        }
        // Sessions that asked to leave while others were taken out wait for the next turn.
        self.core.leaving.append(&mut leaving);
    }

    /// Lets go of room that many sessions needed which have gone since. What the present ones need
    /// stays, so that nothing is asked for again at once.
    pub fn shrink(&mut self) {
        self.sessions.shrink_to_fit();
        let core = &mut self.core;
        core.by_id.shrink_to_fit();
        core.by_ufrag.shrink_to_fit();
        core.by_address.shrink_to_fit();
        core.by_port.shrink_to_fit();
        core.routes.shrink_to_fit();
        core.wheel.shrink();
    }

    fn take_out(&mut self, now: Instant, key: u32, mut session: Session) {
        let core = &mut self.core;
        let reason = session.closing.unwrap_or(CloseReason::Internal);
        if reason != CloseReason::Internal {
            // RFC 9725 §4.2: the peer is told by BYE and DTLS close_notify.
            session.say_goodbye(now, core);
            session.connection.close(now);
            session.pump(now, key, core);
        }
        core.by_id.remove(&session.id);
        for ufrag in session.ice.ufrags() {
            core.by_ufrag.remove(ufrag);
        }
        for address in session.ice.addresses() {
            core.forget_address(address, key);
        }
        if let Some(port) = session.ice.port() {
            core.by_port.remove(&port);
            core.out.closed_ports.push(port);
        }
        core.leave_stream(key, &session);
        core.out.events.push(Event::Closed {
            session: session.id,
            reason,
        });
    }
}

impl Core {
    fn leave_stream(&mut self, key: u32, session: &Session) {
        let id = session.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.holders -= 1;
        stream.viewers.retain(|viewer| *viewer != key);
        let mut last_viewer = false;
        let mut ended = false;
        match session.role {
            Role::Publish { epoch } => {
                stream.unpublish(epoch);
                ended = stream.source.is_none();
                for (to, _) in stream.wanting_shards() {
                    let message = Relay::Ended { stream: id, epoch };
                    self.out.relays.push((to, message));
                }
            }
            Role::Subscribe => {
                stream.viewers_admitted -= 1;
                last_viewer = stream.viewers_admitted == 0;
            }
        }
        if stream.is_unused() {
            self.streams.remove(&id);
        }
        if ended {
            self.end_channels(id);
        }
        if session.channels.is_some() {
            self.stop_listening(id, key);
        }
        if last_viewer {
            self.tell_interest(id, false);
        }
    }
}
