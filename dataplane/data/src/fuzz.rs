//! What the fuzz target checks: whatever a peer's packets say, what is kept of them is bounded.
//!
//! The association is set up by a peer of ours; after that the input is in command of it, with
//! packets that have the right tag and checksum.

use std::time::{Duration, Instant};

use bytes::Bytes;
use whitewater_link::{ChannelTerms, DataKind, DataMessage, Order, Reliability};

use crate::{Begins, Config, Event, Ids, Peer, limits};

/// A list of things to do from `now` on to a peer that watches: packets of its other side, time, and what our
/// side does.
pub fn packets(now: Instant, data: &[u8]) {
    let mut scene = Scene::new(now);
    let mut input = data;
    for _ in 0..OPERATIONS_MAX {
        let Some((&operation, rest)) = input.split_first() else {
            break;
        };
        input = rest;
        let size = usize::from(operation >> 4) * 5;
        let (bytes, rest) = input.split_at(size.min(input.len()));
        input = rest;
        match operation & 15 {
            // A chunk of any kind, header and all.
            0 | 1 => scene.packet(bytes),
            // A message, or a part of one.
            2..=6 => scene.data(operation & 15, bytes),
            7 => scene.dcep(bytes),
            // Reset of the peer's streams (RFC 6525 §4.1).
            8 => scene.reset(bytes),
            // Not even SCTP.
            9 => scene.peer.receive(scene.now, Bytes::copy_from_slice(bytes)),
            10 => scene.send(bytes),
            11 => scene.open(bytes),
            12 => scene.close(bytes),
            _ => {
                scene.now += Duration::from_millis(u64::from(operation >> 4) * 97);
                scene.peer.time(scene.now);
            }
        }
        scene.look();
    }
}

/// Opened, and read back.
pub fn dcep(data: &[u8]) {
    use crate::dcep::Dcep;
    if let Ok(message) = Dcep::parse(data) {
        assert_eq!(Dcep::parse(&message.render()), Ok(message));
    }
}

struct Scene {
    now: Instant,
    peer: Peer,
    /// As the other side of the association has them.
    tag: [u8; 4],
    tsn: u32,
    request: u32,
    open: Vec<u16>,
    over: bool,
}

impl Scene {
    fn new(now: Instant) -> Self {
        let mut peer = Peer::new(Config::new(Begins::There, Ids::Odd));
        let mut other = Peer::new(Config::new(Begins::Here, Ids::Even));
        let (mut tag, mut tsn) = ([0; 4], 0);
        for _ in 0..3 {
            while let Some(packet) = other.poll_packet(now) {
                // INIT: its initial TSN stands at the end of its fixed part.
                if let Some(&[a, b, c, d]) = packet.get(28..32).filter(|_| packet[12] == 1) {
                    tsn = u32::from_be_bytes([a, b, c, d]);
                }
                tag.copy_from_slice(&packet[4..8]);
                peer.receive(now, packet);
            }
            while let Some(packet) = peer.poll_packet(now) {
                other.receive(now, packet);
            }
        }
        assert_eq!(peer.poll_event(now), Some(Event::Up));
        Scene {
            now,
            peer,
            tag,
            tsn,
            request: tsn,
            open: Vec::new(),
            over: false,
        }
    }

    /// A packet of one chunk.
    fn packet(&mut self, chunk: &[u8]) {
        let mut packet = vec![0x13, 0x88, 0x13, 0x88];
        packet.extend(self.tag);
        packet.extend([0; 4]);
        packet.extend(chunk);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let sum = crc32c(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
        self.peer.receive(self.now, packet.into());
    }

    /// RFC 9260 §3.3.1: a DATA chunk with the next number.
    fn data(&mut self, flags: u8, bytes: &[u8]) {
        let Some((&[stream, ppid, sequence], payload)) = bytes.split_first_chunk::<3>() else {
            return;
        };
        let ppid = [50, 51, 53, 56, 57, 54][usize::from(ppid) % 6];
        self.chunk(flags & 7, stream, sequence, ppid, payload);
    }

    fn dcep(&mut self, bytes: &[u8]) {
        let Some((&[stream, kind], label)) = bytes.split_first_chunk::<2>() else {
            return;
        };
        let terms = ChannelTerms {
            label: String::from_utf8_lossy(label).into_owned(),
            order: if kind & 1 == 0 {
                Order::Kept
            } else {
                Order::Free
            },
            reliability: match kind & 6 {
                0 => Reliability::Full,
                2 => Reliability::Lifetime(u32::from(kind)),
                _ => Reliability::Retransmissions(u32::from(kind >> 3)),
            },
            ..ChannelTerms::default()
        };
        let open = crate::dcep::Dcep::Open(terms).render();
        self.chunk(3, stream, 0, 50, &open);
    }

    fn chunk(&mut self, flags: u8, stream: u8, sequence: u8, ppid: u8, payload: &[u8]) {
        let size = u16::try_from(16 + payload.len()).unwrap();
        let mut chunk = vec![0, flags];
        chunk.extend(size.to_be_bytes());
        chunk.extend(self.tsn.to_be_bytes());
        chunk.extend([0, stream, 0, sequence, 0, 0, 0, ppid]);
        chunk.extend(payload);
        self.tsn = self.tsn.wrapping_add(1);
        self.packet(&chunk);
    }

    fn reset(&mut self, streams: &[u8]) {
        let size = u16::try_from(16 + 2 * streams.len()).unwrap();
        let mut chunk = vec![130, 0];
        chunk.extend((size + 4).to_be_bytes());
        chunk.extend([0, 13]);
        chunk.extend(size.to_be_bytes());
        chunk.extend(self.request.to_be_bytes());
        chunk.extend(0_u32.to_be_bytes());
        chunk.extend(self.tsn.wrapping_sub(1).to_be_bytes());
        chunk.extend(streams.iter().flat_map(|&stream| [0, stream]));
        self.request = self.request.wrapping_add(1);
        self.packet(&chunk);
    }

    fn send(&mut self, bytes: &[u8]) {
        let id = bytes.first().map_or(0, |&id| u16::from(id));
        let message = DataMessage {
            kind: DataKind::Binary,
            payload: vec![0; bytes.len() * 500].into(),
        };
        self.peer.send(self.now, id, message);
    }

    fn open(&mut self, bytes: &[u8]) {
        let terms = ChannelTerms {
            label: "ours".to_owned(),
            agreed: bytes.first().map(|&id| u16::from(id)),
            ..ChannelTerms::default()
        };
        if let Some(id) = self.peer.open(terms) {
            assert!(!self.open.contains(&id), "a stream is two channels");
            self.open.push(id);
        }
    }

    fn close(&mut self, bytes: &[u8]) {
        let id = bytes.first().map_or(0, |&id| u16::from(id));
        self.peer.close(id);
        self.open.retain(|open| *open != id);
    }

    /// Everything there is to see, and what must hold.
    fn look(&mut self) {
        let mut events = 0;
        while let Some(event) = self.peer.poll_event(self.now) {
            assert!(!self.over, "nothing follows the end");
            events += 1;
            match event {
                Event::Up => panic!("it was up"),
                Event::Opened(id) => {
                    assert!(!self.open.contains(&id), "opened twice");
                    self.open.push(id);
                }
                Event::Closed(id) => {
                    assert!(self.open.contains(&id), "closed and never opened");
                    self.open.retain(|open| *open != id);
                }
                Event::Message(id, message) => {
                    assert!(self.open.contains(&id), "a message of no channel");
                    assert!(message.payload.len() <= limits::MESSAGE_SIZE_MAX);
                    if message.kind == DataKind::Text {
                        assert!(std::str::from_utf8(&message.payload).is_ok());
                    }
                }
                Event::Over => self.over = true,
            }
        }
        assert!(events < 4096);
        let mut packets = 0;
        while let Some(packet) = self.peer.poll_packet(self.now) {
            packets += 1;
            assert!(packet.len() <= limits::PACKET_SIZE_MAX + 100);
        }
        assert!(packets < 4096, "{packets} packets");
        assert!(self.open.len() <= limits::CHANNELS_MAX);
        let _ = self.peer.due(self.now);
    }
}

/// RFC 9260 appendix A, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, &byte: &u8| {
        let mut sum = sum ^ u32::from(byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
        sum
    };
    !bytes.iter().fold(!0, step)
}

/// A run stays short.
const OPERATIONS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        // RFC 3720 appendix B.4
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn any_packets_leave_bounded_state() {
        let mut state = 0x2545_f491_u32;
        for _ in 0..200 {
            let random = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_be_bytes()[0]
            });
            let bytes: Vec<u8> = random.take(2_000).collect();
            packets(Instant::now(), &bytes);
            dcep(&bytes);
        }
    }

    #[test]
    fn the_seeds_hold() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fuzz/seeds/data_channels"
        );
        let seeds = std::fs::read_dir(folder).expect("the seeds are there");
        let mut count = 0;
        for seed in seeds {
            packets(
                Instant::now(),
                &std::fs::read(seed.unwrap().path()).unwrap(),
            );
            count += 1;
        }
        assert!(count >= 3);
    }
}
