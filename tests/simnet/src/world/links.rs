//! What happens to peers' links.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{PeerId, World};
use crate::link::Link;

impl World {
    /// The NAT before the peer forgets its mapping: it appears under another address.
    pub fn rebind(&mut self, peer: PeerId) -> SocketAddr {
        let port = self.peers[peer.0].public.port() + 1;
        let ip = Ipv4Addr::new(203, 0, 113, peer.0 as u8);
        let public = SocketAddr::from((ip, port));
        let old = std::mem::replace(&mut self.peers[peer.0].public, public);
        self.by_public.remove(&old);
        self.by_public.insert(public, peer.0);
        public
    }

    /// Loses the next `count` datagrams to the peer.
    pub fn lose_next_down(&mut self, peer: PeerId, count: u32) {
        self.peers[peer.0].down.lose_next(count);
    }

    /// Loses the next `count` datagrams from the peer.
    pub fn lose_next_up(&mut self, peer: PeerId, count: u32) {
        self.peers[peer.0].up.lose_next(count);
    }

    /// Loses everything in both directions for a while.
    pub fn black_out(&mut self, peer: PeerId, span: Duration) {
        let until = self.now + span;
        self.peers[peer.0].up.black_out(until);
        self.peers[peer.0].down.black_out(until);
    }

    /// Loses what `which` picks of what the peer sends from now on.
    pub fn lose_up(&mut self, peer: PeerId, which: fn(&[u8]) -> bool) {
        self.peers[peer.0].up_filter = Some(which);
    }

    /// Changes the link; what is under way stays.
    pub fn relink(&mut self, peer: PeerId, link: Link) {
        self.peers[peer.0].up.path = link.up;
        self.peers[peer.0].down.path = link.down;
    }
}
