//! Layers of a publisher, and viewers' wishes for them.

use whitewater_engine::Command;
use whitewater_link::{Event, LayerInfo, MediaKind, Relay, Selection, TrackReport};

use super::{PeerId, World};

impl World {
    /// A viewer chooses among the layers.
    pub fn select(&mut self, peer: PeerId, selection: Selection) {
        let (shard, session) = self.session(peer);
        let command = Command::Select { session, selection };
        self.command(shard, command);
    }

    /// A viewer chooses a layer by name.
    pub fn select_rid(&mut self, peer: PeerId, rid: &str) {
        let selection = Selection {
            rid: Some(rid.to_owned()),
            ..Selection::default()
        };
        self.select(peer, selection);
    }

    pub(super) fn count_relayed(&mut self, relay: &Relay) {
        if let Relay::Packet(packet) = relay
            && packet.meta.kind == MediaKind::Video
        {
            self.relayed[usize::from(packet.meta.layer)] += 1;
        }
    }

    /// A layer of a publisher, by its place in the script, sends nothing from now on, or goes on.
    pub fn silence_layer(&mut self, peer: PeerId, layer: usize, silent: bool) {
        let layers = &mut self.published_mut(peer).silent;
        layers.retain(|&known| known != layer);
        if silent {
            layers.push(layer);
        }
    }

    /// A viewer says how much it can receive.
    pub fn say_bitrate(&mut self, peer: PeerId, bps: u64) {
        self.peers[peer.0].say_bitrate(bps);
        self.wake(peer.0, self.now);
    }

    /// What control was told last of a publisher's layers.
    pub fn layers(&self, peer: PeerId) -> &[LayerInfo] {
        let (_, wanted) = self.session(peer);
        let told = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Layers { session, layers } if *session == wanted => Some(layers),
            _ => None,
        });
        told.map_or(&[], Vec::as_slice)
    }

    /// What a session's shard reports of its tracks now.
    pub fn track_reports(&self, peer: PeerId) -> Vec<TrackReport> {
        let (shard, session) = self.session(peer);
        let report = self.shards[usize::from(shard.0)].report(self.now);
        let mut sessions = report.sessions.into_iter();
        let found = sessions.find(|report| report.session == session);
        found.map_or_else(Vec::new, |report| report.tracks)
    }
}
