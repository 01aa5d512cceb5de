//! The queues between shards: one pair of rings for every ordered pair of shards.

use std::collections::VecDeque;
use std::sync::Arc;

use whitewater_link::queue::{Doorbell, Receiver, Sender, channel};
use whitewater_link::{DataRelay, Epoch, Relay, Reliability, ShardIndex, StreamId};

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
    /// Bytes of data channel messages among what waits.
    waiting_size: usize,
    /// Data channels the other shard fell behind with; it was told that they are over.
    ended: Vec<(StreamId, Epoch, u32)>,
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
                    waiting_size: 0,
                    ended: Vec::new(),
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
        if may_be_lost(&relay) {
            if peer.packets.push(relay).is_err() {
                self.dropped += 1;
            }
            return;
        }
        let Some(relay) = peer.bounded(relay) else {
            self.dropped += 1;
            return;
        };
        // In order: nothing overtakes what waits already.
        peer.waiting_size += said(&relay);
        peer.waiting.push_back(relay);
    }

    /// Hands over what waits and wakes every shard that was given something.
    pub(crate) fn ring(&mut self) {
        for peer in self.to.iter_mut().flatten() {
            while let Some(relay) = peer.waiting.pop_front() {
                let size = said(&relay);
                if let Err(back) = peer.messages.push(relay) {
                    peer.waiting.push_front(back);
                    break;
                }
                peer.waiting_size -= size;
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

impl Peer {
    /// What goes in place of a message, when too much waits: a channel of a publisher is over for
    /// the other shard, since it is not what it was any more; `None` for what a viewer said, and
    /// for what follows the end.
    fn bounded(&mut self, relay: Relay) -> Option<Relay> {
        if let Relay::Ended { stream, epoch } = relay {
            self.ended
                .retain(|ended| (ended.0, ended.1) != (stream, epoch));
        }
        let Relay::Data { stream, what } = &relay else {
            return Some(relay);
        };
        let (stream, full) = (*stream, self.waiting_size + said(&relay) > DATA_WAITING_MAX);
        match *what {
            DataRelay::Down { epoch, number, .. } => {
                let channel = (stream, epoch, number);
                if self.ended.contains(&channel) {
                    return None;
                }
                if !full {
                    return Some(relay);
                }
                self.ended.push(channel);
                let what = DataRelay::Closed { epoch, number };
                Some(Relay::Data { stream, what })
            }
            DataRelay::Closed { epoch, number } => {
                let channel = (stream, epoch, number);
                self.ended.retain(|ended| *ended != channel);
                Some(relay)
            }
            DataRelay::Opened { epoch, .. } => {
                // Of the publishers before there is nothing left.
                self.ended
                    .retain(|ended| ended.0 != stream || ended.1 == epoch);
                Some(relay)
            }
            DataRelay::Up { .. } => (!full).then_some(relay),
        }
    }
}

/// Whether it may be dropped where there is no room: packets, and messages of channels that may lose
/// some.
fn may_be_lost(relay: &Relay) -> bool {
    match relay {
        Relay::Packet(_) | Relay::Kept(_) | Relay::Datagram { .. } => true,
        Relay::Data { what, .. } => {
            matches!(what, DataRelay::Down { reliability, .. } if *reliability != Reliability::Full)
        }
        _ => false,
    }
}

/// Bytes of a data channel message, and something for what is around them.
fn said(relay: &Relay) -> usize {
    match relay {
        Relay::Data {
            what: DataRelay::Down { message, .. } | DataRelay::Up { message, .. },
            ..
        } => message.payload.len() + 64,
        _ => 0,
    }
}

/// A second of 4,096 packets a second and shard pair, or a burst of that many at once.
const PACKETS_MAX: usize = 4096;
/// Interest, descriptions and routes: a few per session.
const MESSAGES_MAX: usize = 1024;
/// Bytes of data channel messages that wait for room there.
const DATA_WAITING_MAX: usize = 4 * 1024 * 1024;

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
    fn a_shard_that_falls_behind_is_told_that_a_channel_is_over_and_hears_no_more_of_it() {
        let bells: Vec<_> = (0..2)
            .map(|_| Arc::new(Doorbell::new().expect("eventfd")))
            .collect();
        let mut meshes = Mesh::all(&bells);
        let (stream, epoch) = (StreamId(1), Epoch(1));
        let message = |kind| whitewater_link::DataMessage {
            kind,
            payload: vec![0; 64 * 1024].into(),
        };
        let down = |number| Relay::Data {
            stream,
            what: DataRelay::Down {
                epoch,
                number,
                reliability: Reliability::Full,
                message: message(whitewater_link::DataKind::Binary),
            },
        };
        let count = DATA_WAITING_MAX / 65_600 + 20;
        for _ in 0..count {
            meshes[0].push(ShardIndex(1), down(7));
        }
        // What a viewer said is not worth ending a channel for.
        let up = DataRelay::Up {
            epoch,
            name: whitewater_link::ChannelName::Number(7),
            message: message(whitewater_link::DataKind::Text),
        };
        meshes[0].push(ShardIndex(1), Relay::Data { stream, what: up });
        let mut received = Vec::new();
        while meshes[0].is_waiting() || !meshes[1].is_empty() {
            meshes[0].ring();
            meshes[1].drain(10, |relay| match relay {
                Relay::Data { what, .. } => received.push(what),
                other => panic!("{other:?}"),
            });
        }
        let is_down = |what: &&DataRelay| matches!(what, DataRelay::Down { .. });
        let passed = received.iter().filter(is_down).count();
        assert!(passed > 50 && passed < count, "{passed}");
        let last = received.last();
        assert!(matches!(last, Some(DataRelay::Closed { number: 7, .. })));
        assert_eq!(received.len(), passed + 1);
        assert_eq!(meshes[0].dropped as usize, count - passed);
        // Room again: another channel is heard, this one is over until it is opened anew.
        meshes[0].push(ShardIndex(1), down(7));
        meshes[0].push(ShardIndex(1), down(8));
        meshes[0].ring();
        let mut numbers = Vec::new();
        meshes[1].drain(10, |relay| match relay {
            Relay::Data {
                what: DataRelay::Down { number, .. },
                ..
            } => numbers.push(number),
            other => panic!("{other:?}"),
        });
        assert_eq!(numbers, [8]);
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
