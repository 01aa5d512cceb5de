use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use whitewater_link::{SessionId, StreamId, TrackInfo, Traffic};

use crate::{NodeId, Now, Policy};

/// One stream while it exists.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) origin: Origin,
    pub(crate) created_unix_ms: u64,
    /// The one that is heard.
    pub(crate) publisher: Option<SessionId>,
    /// The one being negotiated; it becomes the publisher when the data plane has answered it.
    pub(crate) claim: Option<SessionId>,
    pub(crate) publish_left: Option<Left>,
    /// By order of arrival.
    pub(crate) viewers: BTreeMap<u64, SessionId>,
    pub(crate) viewers_pending: u32,
    /// Of all viewers, those that take nobody's place.
    pub(crate) free_seats: usize,
    pub(crate) subscribe_left: Left,
    pub(crate) ever_watched: bool,
    pub(crate) ever_occupied: bool,
    /// Since when it has had neither publisher nor viewers, pending ones included.
    pub(crate) empty_since: Option<Instant>,
    pub(crate) tracks: Vec<TrackInfo>,
    /// Whether these are what the publisher sends, not what it may send.
    pub(crate) heard: bool,
    /// The nodes the last publisher's media came through.
    pub(crate) way: Vec<NodeId>,
    /// Of the sessions that left.
    pub(crate) published_before: Traffic,
    pub(crate) subscribed_before: Traffic,
}

/// How a stream came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By the API: stays until it is destroyed.
    Created,
    /// By somebody's POST: goes when it is empty.
    Auto,
}

/// When the last one left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) at: Instant,
    pub(crate) unix_ms: u64,
}

impl From<Now> for Left {
    fn from(now: Now) -> Self {
        Left {
            at: now.mono,
            unix_ms: now.unix_ms,
        }
    }
}

impl Stream {
    pub(crate) fn new(id: StreamId, origin: Origin, now: Now) -> Self {
        Stream {
            id,
            origin,
            created_unix_ms: now.unix_ms,
            publisher: None,
            claim: None,
            publish_left: None,
            viewers: BTreeMap::new(),
            viewers_pending: 0,
            free_seats: 0,
            way: Vec::new(),
            subscribe_left: now.into(),
            ever_watched: false,
            ever_occupied: false,
            empty_since: Some(now.mono),
            tracks: Vec::new(),
            heard: false,
            published_before: Traffic::default(),
            subscribed_before: Traffic::default(),
        }
    }

    pub(crate) fn viewer_count(&self) -> usize {
        self.viewers.len() + self.viewers_pending as usize
    }

    /// Viewers that take a place.
    pub(crate) fn seated_count(&self) -> usize {
        self.viewer_count().saturating_sub(self.free_seats)
    }

    fn is_empty(&self) -> bool {
        self.publisher.is_none() && self.claim.is_none() && self.viewer_count() == 0
    }

    /// To be called after every change of publisher, claim or viewers.
    pub(crate) fn note_occupancy(&mut self, now: Now) {
        if !self.is_empty() {
            self.empty_since = None;
        } else if self.empty_since.is_none() {
            self.empty_since = Some(now.mono);
        }
    }

    /// Nobody was ever let in: it was made for a POST that came to nothing.
    pub(crate) fn came_to_nothing(&self) -> bool {
        self.origin == Origin::Auto && !self.ever_occupied && self.is_empty()
    }

    /// Whether one of the policy's clocks has run out.
    pub(crate) fn is_due(&self, policy: &Policy, now: Now) -> bool {
        let past = |at: Instant, limit: Duration| now.mono.saturating_duration_since(at) >= limit;
        let orphaned = self.origin == Origin::Auto
            && self
                .empty_since
                .is_some_and(|at| past(at, policy.orphan_grace));
        let unpublished = match (policy.auto_delete_whip, self.publish_left) {
            (Some(limit), Some(left)) if self.publisher.is_none() && self.claim.is_none() => {
                past(left.at, limit)
            }
            _ => false,
        };
        let unwatched = match policy.auto_delete_whep {
            Some(limit) if self.ever_watched && self.viewer_count() == 0 => {
                past(self.subscribe_left.at, limit)
            }
            _ => false,
        };
        orphaned || unpublished || unwatched
    }
}
