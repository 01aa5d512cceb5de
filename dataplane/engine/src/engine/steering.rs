//! Peers whose datagrams reach another shard's socket than their session's.
//!
//! The kernel does not know which shard has a session. A check names it (see
//! [`admission::credentials`](crate::admission::credentials)); an address that a check has
//! verified is told to all shards, which hand on what comes from there. That is correct but costs
//! a copy and a queue for every datagram, so a peer that keeps arriving at the wrong shard is
//! *pinned*: the caller may tell the kernel where its datagrams belong.

use std::net::SocketAddr;

use whitewater_link::{PeerAddr, Relay, ShardIndex, Transport};

use super::{Core, Datagram};
use crate::config::Ports;
use crate::drops::DropReason;
use crate::limits;

/// A wish to the kernel; handing on goes on until it is granted, and whether it is or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The peer whose datagrams are meant.
    pub peer: SocketAddr,
    /// The shard they belong to; `None` takes the wish back.
    pub shard: Option<ShardIndex>,
}

/// A verified address of another shard's session.
pub(super) struct Route {
    shard: ShardIndex,
    /// Datagrams handed on so far.
    handed_on: u32,
    pinned: bool,
}

/// Whether a datagram may be handed to another shard; one that was handed over is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steering {
    Allowed,
    Done,
}

impl Core {
    /// What a shard with this configuration does with what is not its own,
    /// and came over `transport`.
    pub(super) fn steering(&self, transport: Transport) -> Steering {
        match (self.config.ports, transport) {
            (Ports::Shared, Transport::Udp) => Steering::Allowed,
            // An answer from this port would not be one to the port that was asked; a connection
            // is with the shard that its first check named, a dialled socket with its session's.
            _ => Steering::Done,
        }
    }

    /// The address was verified by a check of this shard's session.
    pub(super) fn learn_address(&mut self, address: PeerAddr, key: u32) {
        self.by_address.insert(address, key);
        if address.transport == Transport::Udp {
            self.drop_route(address.addr);
            self.tell_route(address.addr, true);
        }
    }

    /// The address no longer leads to this session.
    pub(super) fn forget_address(&mut self, address: PeerAddr, key: u32) {
        if self.by_address.get(&address) == Some(&key) {
            self.by_address.remove(&address);
            match address.transport {
                Transport::Udp => self.tell_route(address.addr, false),
                Transport::Tcp => self.out.hang_ups.push(address.addr),
                // Its socket closes with the session.
                Transport::Dialled(_) => {}
            }
        }
    }

    fn tell_route(&mut self, peer: SocketAddr, present: bool) {
        let shard = self.config.shard;
        if self.config.ports == Ports::Shared {
            self.broadcast(|| Relay::Route {
                peer,
                shard,
                present,
            });
        }
    }

    /// What another shard tells.
    pub(super) fn route(&mut self, peer: SocketAddr, shard: ShardIndex, present: bool) {
        if !present {
            if self.routes.get(&peer).is_some_and(|r| r.shard == shard) {
                self.drop_route(peer);
            }
            return;
        }
        // The address proved itself to another shard's session after ours.
        self.by_address.remove(&PeerAddr::udp(peer));
        if self.routes.get(&peer).is_none_or(|r| r.shard != shard) {
            self.drop_route(peer);
            let route = Route {
                shard,
                handed_on: 0,
                pinned: false,
            };
            self.routes.insert(peer, route);
        }
    }

    fn drop_route(&mut self, peer: SocketAddr) {
        if self.routes.remove(&peer).is_some_and(|route| route.pinned) {
            self.out.pins.push(Pin { peer, shard: None });
        }
    }

    /// DTLS, SRTP or SRTCP from an address of none of our sessions.
    pub(super) fn steer_by_route(&mut self, datagram: Datagram<'_>, steering: Steering) {
        let peer = datagram.source.addr;
        let route = self.routes.get_mut(&peer);
        let (Steering::Allowed, Some(route)) = (steering, route) else {
            return self.drops.count(DropReason::UnverifiedSource);
        };
        let shard = route.shard;
        route.handed_on = route.handed_on.saturating_add(1);
        if route.handed_on >= limits::HANDED_ON_BEFORE_PIN && !route.pinned {
            route.pinned = true;
            let shard = Some(shard);
            self.out.pins.push(Pin { peer, shard });
        }
        self.steer(shard, datagram);
    }

    /// A check whose user name fragment is of none of our sessions.
    pub(super) fn steer_by_ufrag(
        &mut self,
        shard: Option<ShardIndex>,
        datagram: Datagram<'_>,
        steering: Steering,
    ) {
        let other =
            |shard: &ShardIndex| shard.0 < self.config.shard_count && *shard != self.config.shard;
        match (steering, shard.filter(other)) {
            (Steering::Allowed, Some(shard)) => self.steer(shard, datagram),
            _ => self.drops.count(DropReason::StunUnknownUfrag),
        }
    }

    fn steer(&mut self, shard: ShardIndex, datagram: Datagram<'_>) {
        self.steered += 1;
        let message = Relay::Datagram {
            source: datagram.source.addr,
            local: datagram.local,
            bytes: datagram.bytes.into(),
        };
        self.out.relays.push((shard, message));
    }
}
