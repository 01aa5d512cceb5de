//! Tells the kernel which shard's socket a peer's datagrams belong to.
//!
//! Shards hand on what reaches the wrong one, so nothing here is needed for a datagram to arrive;
//! it spares the copy and the second core. A thread of its own, because a new program for the
//! kernel takes up to a millisecond.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use whitewater_engine::Pin;
use whitewater_link::ShardIndex;
use whitewater_link::queue::{Doorbell, Receiver};
use whitewater_net::Selector;

/// Collects the shards' wishes and passes them on.
pub(crate) struct Steerer {
    selector: Selector,
    wishes: Vec<Receiver<Pin>>,
    bell: Arc<Doorbell>,
    pinned: Pinned,
}

impl Steerer {
    /// The steerer of the group that `socket` belongs to, one socket for each queue of wishes.
    ///
    /// # Errors
    /// The kernel's, when it takes no program.
    pub(crate) fn new(
        socket: BorrowedFd<'_>,
        wishes: Vec<Receiver<Pin>>,
        bell: Arc<Doorbell>,
    ) -> io::Result<Self> {
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let count = wishes.len() as u16;
        Ok(Steerer {
            selector: Selector::attach(socket, count, u32::from_ne_bytes(seed))?,
            wishes,
            bell,
            pinned: Pinned::default(),
        })
    }
}

impl Steerer {
    /// Works until all shards are gone.
    pub(crate) fn run(mut self) {
        while !self.wishes.iter().all(Receiver::is_abandoned) {
            self.bell.arm();
            if self.wishes.iter().all(Receiver::is_empty) {
                // Bounded, so that the shards' end without a word is noticed.
                self.bell.wait_for(Duration::from_secs(1));
            }
            self.bell.answer();
            let mut changed = false;
            for wishes in &mut self.wishes {
                while let Some(wish) = wishes.pop() {
                    changed |= self.pinned.take(wish);
                }
            }
            if changed {
                match self.selector.pin(&self.pinned.oldest()) {
                    Ok(count) => tracing::debug!(count, "peers are steered by the kernel"),
                    Err(error) => tracing::debug!(%error, "the kernel refused the steering"),
                }
                // Others that come soon share the next program.
                std::thread::sleep(PROGRAM_INTERVAL);
            }
        }
    }
}

/// The peers to be steered, first come, first served.
#[derive(Default)]
struct Pinned {
    peers: HashMap<SocketAddr, (u64, ShardIndex)>,
    count: u64,
}

impl Pinned {
    /// Notes a wish. True if it changes anything.
    fn take(&mut self, wish: Pin) -> bool {
        let Some(shard) = wish.shard else {
            return self.peers.remove(&wish.peer).is_some();
        };
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&wish.peer) {
            return false;
        }
        self.count += 1;
        let entry = self.peers.entry(wish.peer).or_insert((self.count, shard));
        entry.1 = shard;
        true
    }

    /// All of them, the oldest first.
    fn oldest(&self) -> Vec<(SocketAddr, u16)> {
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_unstable_by_key(|(_, (number, _))| *number);
        let pin = |(peer, (_, shard)): (&SocketAddr, &(u64, ShardIndex))| (*peer, shard.0);
        peers.into_iter().map(pin).collect()
    }
}

/// Wishes of one shard that may wait here; further ones wait there.
pub(crate) const WISHES_MAX: usize = 1024;
/// Several times what a program has room for, so that others move up when some leave.
const PEERS_MAX: usize = 8192;
const PROGRAM_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn pin(port: u16, shard: Option<u16>) -> Pin {
        Pin {
            peer: peer(port),
            shard: shard.map(ShardIndex),
        }
    }

    #[test]
    fn peers_are_steered_in_the_order_they_came_until_they_leave() {
        let mut pinned = Pinned::default();
        for (port, shard) in [(3, 0), (1, 1), (2, 0)] {
            assert!(pinned.take(pin(port, Some(shard))));
        }
        assert_eq!(pinned.oldest(), [(peer(3), 0), (peer(1), 1), (peer(2), 0)]);
        assert!(pinned.take(pin(3, Some(1))), "it moved");
        assert!(pinned.take(pin(1, None)));
        assert!(!pinned.take(pin(1, None)));
        assert_eq!(pinned.oldest(), [(peer(3), 1), (peer(2), 0)]);
    }

    #[test]
    fn the_list_is_bounded() {
        let mut pinned = Pinned::default();
        let taken = (0..u16::MAX).filter(|port| pinned.take(pin(*port, Some(0))));
        assert_eq!(taken.count(), PEERS_MAX);
        assert!(pinned.take(pin(0, Some(1))), "a known one is still changed");
    }
}
