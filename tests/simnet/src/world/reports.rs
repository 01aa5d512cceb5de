//! What the engines and the links say of a peer.

use whitewater_link::SessionReport;

use super::{PeerId, World};

impl World {
    /// The counters of a peer's session; `None` once it is closed.
    pub fn report(&self, peer: PeerId) -> Option<SessionReport> {
        let (shard, id) = self.session(peer);
        let report = self.shards[usize::from(shard.0)].report(self.now);
        report.sessions.into_iter().find(|s| s.session == id)
    }

    /// What the server takes the path to a viewer to carry, in bits per second.
    pub fn estimate(&self, viewer: PeerId) -> Option<u64> {
        self.report(viewer)?.available_bps
    }

    /// Datagrams to a peer that its link lost.
    pub fn lost_down(&self, peer: PeerId) -> u64 {
        self.peers[peer.0].down.lost
    }
}
