//! What the engines and the links say of a peer.

use std::time::Duration;

use whitewater_link::{SessionId, SessionReport};

use super::{PeerId, World};

impl World {
    /// The counters of a peer's session; `None` once it is closed.
    pub fn report(&self, peer: PeerId) -> Option<SessionReport> {
        let (shard, id) = self.session(peer);
        let report = self.shards[usize::from(shard.0)].report(self.now);
        report.sessions.into_iter().find(|s| s.session == id)
    }

    /// The same of a session whose datagrams are the caller's affair.
    pub fn report_of(&self, session: SessionId) -> Option<SessionReport> {
        let reports = self.shards.iter().map(|shard| shard.report(self.now));
        let mut sessions = reports.flat_map(|report| report.sessions);
        sessions.find(|report| report.session == session)
    }

    /// What the server takes the path to a viewer to carry, in bits per second.
    pub fn estimate(&self, viewer: PeerId) -> Option<u64> {
        self.report(viewer)?.available_bps
    }

    /// How long the last datagram to a peer took to get through its bottleneck.
    pub fn queued_down(&self, peer: PeerId) -> Duration {
        self.peers[peer.0].down.queued
    }

    /// Has both peers' links towards them go through one bottleneck, the first one's.
    pub fn share_down(&mut self, one: PeerId, other: PeerId) {
        let (low, high) = self.peers.split_at_mut(one.0.max(other.0));
        let (known, sharing) = match one.0 < other.0 {
            true => (&low[one.0], &mut high[0]),
            false => (&high[0], &mut low[other.0]),
        };
        sharing.down.share(&known.down);
    }

    /// Datagrams to a peer that its link lost.
    pub fn lost_down(&self, peer: PeerId) -> u64 {
        self.peers[peer.0].down.lost
    }
}
