//! The queues between shards: one pair of rings for every ordered pair of shards.

use std::collections::VecDeque;
use std::sync::Arc;

use whitewater_link::queue::{Doorbell, Receiver, Sender, channel};
use whitewater_link::{Relay, ShardIndex};

/// One shard's ends.
pub(crate) struct Mesh {
    to: Vec<Option<Peer>>,
    from: Vec<Receiver<Relay>>,
    /// Packets and datagrams that found a full ring.
    pub(crate) dropped: u64,
}

/// The way to one other shard. Packets may be lost, the rest may not: what does not fit waits.
struct Peer {
    packets: Sender<Relay>,
    messages: Sender<Relay>,
    waiting: VecDeque<Relay>,
}

impl Mesh {
    /// The meshes of all shards, given each one's doorbell.
    pub(crate) fn all(bells: &[Arc<Doorbell>]) -> Vec<Mesh> {
        let mut meshes: Vec<Mesh> = bells
            .iter()
            .map(|_| Mesh {
                to: Vec::new(),
                from: Vec::new(),
                dropped: 0,
            })
            .collect();
        for from in 0..bells.len() {
            for (to, bell) in bells.iter().enumerate() {
                if from == to {
                    meshes[from].to.push(None);
                    continue;
                }
                let (packets, packets_in) = channel(PACKETS_MAX, bell.clone());
                let (messages, messages_in) = channel(MESSAGES_MAX, bell.clone());
                meshes[from].to.push(Some(Peer {
                    packets,
                    messages,
                    waiting: VecDeque::new(),
                }));
                // Messages first: a description precedes the packets it describes.
                meshes[to].from.push(messages_in);
                meshes[to].from.push(packets_in);
            }
        }
        meshes
    }

    /// Puts one message on its way, without waking the other shard yet.
    pub(crate) fn push(&mut self, to: ShardIndex, relay: Relay) {
        let Some(Some(peer)) = self.to.get_mut(usize::from(to.0)) else {
            return;
        };
        let may_be_lost = matches!(
            relay,
            Relay::Packet(_) | Relay::Kept(_) | Relay::Datagram { .. }
        );
        if may_be_lost {
            if peer.packets.push(relay).is_err() {
                self.dropped += 1;
            }
            return;
        }
        // In order: nothing overtakes what waits already.
        peer.waiting.push_back(relay);
    }

    /// Hands over what waits and wakes every shard that was given something.
    pub(crate) fn ring(&mut self) {
        for peer in self.to.iter_mut().flatten() {
            while let Some(relay) = peer.waiting.pop_front() {
                if let Err(back) = peer.messages.push(relay) {
                    peer.waiting.push_front(back);
                    break;
                }
            }
            peer.messages.ring();
            peer.packets.ring();
        }
    }

    /// Whether messages still wait for room at another shard.
    pub(crate) fn is_waiting(&self) -> bool {
        self.to
            .iter()
            .flatten()
            .any(|peer| !peer.waiting.is_empty())
    }

    /// Whether anything arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.from.iter().all(Receiver::is_empty)
    }

    /// Hands over what arrived, `budget` from each ring at most.
    pub(crate) fn drain(&mut self, budget: usize, mut sink: impl FnMut(Relay)) {
        for ring in &mut self.from {
            for _ in 0..budget {
                match ring.pop() {
                    Some(relay) => sink(relay),
                    None => break,
                }
            }
        }
    }
}

/// A second of 4,096 packets a second and shard pair, or a burst of that many at once.
const PACKETS_MAX: usize = 4096;
/// Interest, descriptions and routes: a few per session.
const MESSAGES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use whitewater_link::StreamId;

    use super::*;

    fn interest(n: u64) -> Relay {
        Relay::Interest {
            stream: StreamId(n),
            shard: ShardIndex(0),
            wanted: true,
        }
    }

    #[test]
    fn messages_survive_a_full_ring_and_keep_their_order() {
        let bells: Vec<_> = (0..2)
            .map(|_| Arc::new(Doorbell::new().expect("eventfd")))
            .collect();
        let mut meshes = Mesh::all(&bells);
        let count = MESSAGES_MAX as u64 * 3;
        for n in 0..count {
            meshes[0].push(ShardIndex(1), interest(n));
        }
        let mut received = Vec::new();
        while meshes[0].is_waiting() || !meshes[1].is_empty() {
            meshes[0].ring();
            meshes[1].drain(100, |relay| match relay {
                Relay::Interest { stream, .. } => received.push(stream.0),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(received, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn packets_beyond_the_ring_are_dropped_and_counted() {
        let bells: Vec<_> = (0..2)
            .map(|_| Arc::new(Doorbell::new().expect("eventfd")))
            .collect();
        let mut meshes = Mesh::all(&bells);
        for _ in 0..PACKETS_MAX + 7 {
            meshes[0].push(
                ShardIndex(1),
                Relay::Datagram {
                    source: ([192, 0, 2, 1], 1).into(),
                    local: ([192, 0, 2, 2], 2).into(),
                    bytes: Box::new([]),
                },
            );
        }
        assert_eq!(meshes[0].dropped, 7);
    }
}
