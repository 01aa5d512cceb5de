//! Sessions between nodes: those in which this node is the client, and those of nodes that are
//! clients here.
//!
//! A stream that comes from another node knows the *way* it came. Nodes that take it from here are
//! told, and refuse what would lead it back to themselves. Such a node is only let in while somebody
//! publishes, so that the way is known from its beginning on; when it becomes another one the nodes
//! that were told have to come again.

use std::time::Duration;

use whitewater_link::{CloseReason, Role, SessionId};

use super::{Admission, Registry};
use crate::{Error, Far, NodeId, Now, Principal, Relay, Seat, Side, StreamName};

impl Registry {
    /// Admits a session that brings the stream here from `url`. It never takes another publisher's
    /// place.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn pull(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        url: &str,
        now: Now,
    ) -> Result<Admission, Error> {
        self.admit_any()?;
        match self.streams.get(name) {
            Some(stream) if stream.publisher.is_some() || stream.claim.is_some() => {
                return Err(Error::AlreadyPublished {
                    retry_after: self.policy.silent_after,
                });
            }
            None if !self.policy.auto_create_whip => return Err(Error::NoSuchStream),
            _ => {}
        }
        let relay = Relay {
            far: Some(far(url)),
            ..Relay::default()
        };
        self.insert_publisher(name, session, owner, relay, now)
    }

    /// Admits a session that takes the stream to `url`. It takes no viewer's place.
    ///
    /// # Errors
    /// `NoSuchStream`, `NotLive`, `LimitReached`, `Draining`; nothing has changed then.
    pub fn push(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        url: &str,
        now: Now,
    ) -> Result<Admission, Error> {
        let relay = Relay {
            far: Some(far(url)),
            knows_way: true,
            seat: Seat::Free,
            ..Relay::default()
        };
        self.admit_relay(name, session, owner, relay, now)
    }

    /// Admits a viewer that is another node.
    ///
    /// # Errors
    /// `NoSuchStream`, `NotLive`, `LimitReached`, `Draining`; nothing has changed then.
    pub fn subscribe_node(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        seat: Seat,
        now: Now,
    ) -> Result<Admission, Error> {
        let max = self.policy.each_stream_max_sub as usize;
        let seated = self.streams.get(name).map_or(0, |s| s.seated_count());
        if seat == Seat::Counted && seated >= max {
            return Err(super::limit("strategy.each_stream_max_sub", max));
        }
        if seat == Seat::Counted {
            self.admit_to_node(name, Side::Subscribe)?;
        }
        let relay = Relay {
            knows_way: true,
            seat,
            ..Relay::default()
        };
        self.admit_relay(name, session, owner, relay, now)
    }

    fn admit_relay(
        &mut self,
        name: &StreamName,
        session: SessionId,
        owner: Principal,
        relay: Relay,
        now: Now,
    ) -> Result<Admission, Error> {
        self.admit_any()?;
        let stream = self.streams.get(name).ok_or(Error::NoSuchStream)?;
        let publisher = stream.publisher.and_then(|id| self.sessions.get(&id));
        if !publisher.is_some_and(|publisher| publisher.ever_connected) {
            return Err(Error::NotLive {
                retry_after: NOT_LIVE_RETRY_AFTER,
            });
        }
        self.insert_pending(name, session, owner, Role::Subscribe, relay, now)
    }

    /// Notes the far session of one that was admitted or is live, and the way its media came.
    pub fn far_session(&mut self, session: SessionId, url: &str) {
        let pending = self.pending.get_mut(&session).map(|found| &mut found.relay);
        let live = self
            .sessions
            .get_mut(&session)
            .map(|found| &mut found.relay);
        if let Some(far) = pending.or(live).and_then(|relay| relay.far.as_mut()) {
            far.session_url = Some(url.to_owned());
            self.revision += 1;
        }
    }

    /// Notes which nodes the media of an admitted publisher comes through, the nearest first.
    pub fn came_through(&mut self, session: SessionId, way: Vec<NodeId>) {
        if let Some(pending) = self.pending.get_mut(&session) {
            pending.relay.way = way;
        }
    }

    /// The nodes a stream's media came through before this one, the nearest first.
    pub fn way(&self, name: &StreamName) -> &[NodeId] {
        let stream = self.streams.get(name);
        let publisher = stream.and_then(|s| self.sessions.get(&s.publisher?));
        publisher.map_or(&[], |publisher| &publisher.relay.way)
    }

    /// Whether anybody watches the stream or is about to.
    pub fn is_watched(&self, name: &StreamName) -> bool {
        let stream = self.streams.get(name);
        stream.is_some_and(|stream| stream.viewer_count() > 0)
    }

    /// Whether there is such a stream.
    pub fn has_stream(&self, name: &StreamName) -> bool {
        self.streams.contains_key(name)
    }

    /// Ends a live session for a reason of ours, or gives up one that waits for the data plane.
    pub fn end(&mut self, session: SessionId, reason: CloseReason, now: Now) {
        if self.sessions.contains_key(&session) {
            self.hang_up(session, reason, now);
        } else {
            self.refused(session, now);
        }
    }

    /// Ends the viewers of a stream that do not pass it on.
    pub fn send_viewers_away(&mut self, name: &StreamName, now: Now) {
        self.hang_up_viewers(name, CloseReason::Rerouted, now, |relay| {
            relay.seat == Seat::Counted && !relay.knows_way
        });
    }

    /// The stream of this publisher comes another way than before.
    pub(super) fn reroute(&mut self, publisher: SessionId, now: Now) {
        if let Some(name) = self.sessions.get(&publisher).map(|s| s.name.clone()) {
            self.hang_up_viewers(&name, CloseReason::Rerouted, now, |relay| relay.knows_way);
        }
    }

    fn hang_up_viewers(
        &mut self,
        name: &StreamName,
        reason: CloseReason,
        now: Now,
        which: impl Fn(&Relay) -> bool,
    ) {
        let Some(stream) = self.streams.get(name) else {
            return;
        };
        let meant = |id: &&SessionId| self.sessions.get(id).is_some_and(|s| which(&s.relay));
        let viewers: Vec<SessionId> = stream.viewers.values().filter(meant).copied().collect();
        for viewer in viewers {
            self.hang_up(viewer, reason, now);
        }
    }
}

fn far(url: &str) -> Far {
    Far {
        url: url.to_owned(),
        session_url: None,
    }
}

/// Nodes ask again after this.
const NOT_LIVE_RETRY_AFTER: Duration = Duration::from_secs(1);
