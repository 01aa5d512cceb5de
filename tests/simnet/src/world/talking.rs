//! What peers say on data channels.

use super::{PeerId, World};
use crate::channels::Talk;

impl World {
    /// Says something on the first open channel of a label. False if there is none, or the peer's
    /// own buffer is full.
    pub fn say_bytes(&mut self, peer: PeerId, label: &str, is_binary: bool, data: &[u8]) -> bool {
        let index = peer.0;
        let peer = &mut self.peers[index];
        let open = peer.talk.open.iter();
        let Some((id, _)) = open.clone().find(|(_, config)| config.label == label) else {
            return false;
        };
        let Some(mut channel) = peer.rtc.channel(*id) else {
            return false;
        };
        let said = channel.write(is_binary, data).unwrap_or(false);
        self.wake(index, self.now);
        self.peers[index].due = self.now;
        said
    }

    /// Says a text.
    pub fn say(&mut self, peer: PeerId, label: &str, text: &str) -> bool {
        self.say_bytes(peer, label, false, text.as_bytes())
    }

    /// Closes the first open channel of a label.
    ///
    /// # Panics
    /// When there is none.
    pub fn hush(&mut self, peer: PeerId, label: &str) {
        let index = peer.0;
        let peer = &mut self.peers[index];
        let mut open = peer.talk.open.iter();
        let found = open.find(|(_, config)| config.label == label);
        let id = found.expect("a channel of that label").0;
        peer.rtc.direct_api().close_data_channel(id);
        peer.due = self.now;
        self.wake(index, self.now);
    }

    /// Opens another channel.
    pub fn open_channel(&mut self, peer: PeerId, config: str0m::channel::ChannelConfig) {
        let index = peer.0;
        let peer = &mut self.peers[index];
        peer.rtc.direct_api().create_data_channel(config);
        peer.due = self.now;
        self.wake(index, self.now);
    }

    /// What a peer's data channels are and brought.
    pub fn talk(&self, peer: PeerId) -> &Talk {
        &self.peers[peer.0].talk
    }
}
