//! What publishers send and viewers check: payloads that look like VP8 and Opus to the engine and
//! say themselves which frame and packet they are.

use std::time::Duration;

/// One packet's own account of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// Which publisher made it.
    pub publisher: u32,
    /// Frame number, from 0; of audio the packet number.
    pub frame: u32,
    /// Which packet of the frame, from 0.
    pub index: u16,
    /// How many the frame has.
    pub count: u16,
    /// A key frame.
    pub key: bool,
    /// How often width and height of its layer were halved; 0 without simulcast.
    pub layer: u8,
    /// The number its picture has in the payload descriptor, 0..=32767; none in audio. Servers may
    /// change it.
    pub picture: u16,
    /// The frame it is predicted from; its own number where there is none.
    pub reference: u32,
    /// Its temporal layer, where the payload descriptor tells it.
    pub temporal: Option<Temporal>,
    /// When it was captured, since the world began.
    pub captured: Duration,
}

/// A frame's place among the temporal layers of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temporal {
    /// 0 is the slowest.
    pub id: u8,
    /// It needs nothing but frames of the slowest.
    pub is_sync: bool,
    /// How many of the slowest there were, wrapping. Servers may change it.
    pub base: u8,
}

/// The kind of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Part of a video frame.
    Video,
    /// One audio packet.
    Audio,
}

/// The payload is not one of ours, or was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOurs;

impl Content {
    /// A payload of `size` bytes, at least `SIZE_MIN` with the descriptor.
    pub fn render(&self, piece: Piece, size: usize) -> Vec<u8> {
        let mut payload = match piece {
            Piece::Video => self.vp8_head(),
            Piece::Audio => Vec::new(),
        };
        let start = payload.len();
        payload.extend_from_slice(&MAGIC);
        payload.extend_from_slice(&self.publisher.to_be_bytes());
        payload.extend_from_slice(&self.frame.to_be_bytes());
        payload.extend_from_slice(&self.index.to_be_bytes());
        payload.extend_from_slice(&self.count.to_be_bytes());
        payload.push(u8::from(self.key));
        payload.push(self.layer);
        payload.extend_from_slice(&(self.captured.as_micros() as u64).to_be_bytes());
        payload.extend_from_slice(&self.reference.to_be_bytes());
        payload.extend_from_slice(&[0; 4]);
        let mut filler = self.frame ^ u32::from(self.index) << 16;
        while payload.len() < size {
            filler = filler.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            payload.push((filler >> 24) as u8);
        }
        let sum = checksum(&payload[start..]);
        payload[start + SUM_AT..start + BODY_SIZE].copy_from_slice(&sum.to_be_bytes());
        payload
    }

    /// Reads a payload back.
    ///
    /// # Errors
    /// When a byte of it is not as it was sent.
    pub fn parse(piece: Piece, payload: &[u8]) -> Result<Self, NotOurs> {
        let temporal = match piece {
            Piece::Video => vp8_temporal(payload),
            Piece::Audio => None,
        };
        let body = match (piece, temporal) {
            (Piece::Video, None) => payload.get(VP8_HEAD_SIZE..),
            (Piece::Video, Some(_)) => payload.get(VP8_HEAD_SIZE + VP8_TEMPORAL_SIZE..),
            (Piece::Audio, _) => Some(payload),
        };
        let body = body.filter(|body| body.len() >= BODY_SIZE).ok_or(NotOurs)?;
        if body[..4] != MAGIC {
            return Err(NotOurs);
        }
        let number = |at: usize, len: usize| {
            body[at..at + len]
                .iter()
                .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte))
        };
        let picture = match (piece, payload.get(2..4)) {
            (Piece::Video, Some(bytes)) => u16::from(bytes[0] & 0x7f) << 8 | u16::from(bytes[1]),
            _ => 0,
        };
        let content = Content {
            publisher: number(4, 4) as u32,
            frame: number(8, 4) as u32,
            index: number(12, 2) as u16,
            count: number(14, 2) as u16,
            key: number(16, 1) == 1,
            layer: number(17, 1) as u8,
            picture,
            reference: number(26, 4) as u32,
            temporal,
            captured: Duration::from_micros(number(18, 8)),
        };
        let mut unsummed = body.to_vec();
        unsummed[SUM_AT..BODY_SIZE].fill(0);
        let intact = number(SUM_AT, 4) as u32 == checksum(&unsummed)
            && (piece == Piece::Audio || payload.starts_with(&content.vp8_head()));
        if intact { Ok(content) } else { Err(NotOurs) }
    }

    /// A VP8 payload descriptor with a 15 bit picture id (RFC 7741 §4.2) and, in the first packet,
    /// a frame tag (RFC 6386 §9.1): the inverse key frame bit, and the start code of key frames.
    fn vp8_head(&self) -> Vec<u8> {
        let first = self.index == 0;
        let picture = (self.picture | 0x8000).to_be_bytes();
        let start = if first { 0x10 } else { 0 };
        let mut head = vec![0x80 | start, 0x80, picture[0], picture[1]];
        if let Some(Temporal { id, is_sync, base }) = self.temporal {
            head[1] |= VP8_TEMPORAL_BITS;
            // The fastest of three layers is predicted from by nobody: N.
            head[0] |= if id == 2 { 0x20 } else { 0 };
            head.extend_from_slice(&[base, id << 6 | u8::from(is_sync) << 5]);
        }
        let tag = match (first, self.key) {
            (true, true) => {
                let [width, height] = [640_u16, 480].map(|side| (side >> self.layer).to_le_bytes());
                let ([w, x], [y, z]) = (width, height);
                [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, w, x, y, z]
            }
            (true, false) => [0x31, 0x01, 0x00, 0, 0, 0, 0, 0, 0, 0],
            (false, _) => [0x5a; 10],
        };
        head.extend_from_slice(&tag);
        head
    }
}

/// Where in a payload the frame tag is, behind the descriptor.
pub(crate) fn vp8_tag_at(payload: &[u8]) -> usize {
    4 + vp8_temporal(payload).map_or(0, |_| VP8_TEMPORAL_SIZE)
}

fn vp8_temporal(payload: &[u8]) -> Option<Temporal> {
    let is_told = payload.get(1)? & VP8_TEMPORAL_BITS == VP8_TEMPORAL_BITS;
    let told = *payload.get(5).filter(|_| is_told)?;
    Some(Temporal {
        id: told >> 6,
        is_sync: told & 0x20 != 0,
        base: *payload.get(4)?,
    })
}

fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, &byte: &u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

const MAGIC: [u8; 4] = *b"wwsn";
const VP8_HEAD_SIZE: usize = 14;
/// TL0PICIDX, and a byte of which TID and Y are used; both are announced by a bit.
const VP8_TEMPORAL_SIZE: usize = 2;
const VP8_TEMPORAL_BITS: u8 = 0x60;
const SUM_AT: usize = 30;
const BODY_SIZE: usize = 34;
/// The smallest payload that carries everything.
pub(crate) const SIZE_MIN: usize = VP8_HEAD_SIZE + VP8_TEMPORAL_SIZE + BODY_SIZE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporal_layers_read_back() {
        for id in 0..4 {
            let content = Content {
                publisher: 1,
                frame: 9,
                index: 0,
                count: 1,
                key: false,
                layer: 0,
                picture: 12,
                reference: 7,
                temporal: Some(Temporal {
                    id,
                    is_sync: id % 2 == 1,
                    base: 255,
                }),
                captured: Duration::ZERO,
            };
            let payload = content.render(Piece::Video, SIZE_MIN);
            assert_eq!(payload.len(), SIZE_MIN);
            assert_eq!(Content::parse(Piece::Video, &payload), Ok(content));
            assert_eq!(payload[vp8_tag_at(&payload)] & 1, 1, "no key frame");
        }
    }

    #[test]
    fn what_was_rendered_reads_back_and_one_wrong_bit_is_noticed() {
        let content = Content {
            publisher: 7,
            frame: 40_000,
            index: 2,
            count: 3,
            key: true,
            layer: 1,
            picture: 0,
            reference: 39_999,
            temporal: None,
            captured: Duration::from_micros(1_234_567),
        };
        for piece in [Piece::Video, Piece::Audio] {
            let payload = content.render(piece, 200);
            assert_eq!(payload.len(), 200);
            assert_eq!(Content::parse(piece, &payload), Ok(content));
            for bit in 0..payload.len() * 8 {
                let mut wrong = payload.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                // A picture's number is the server's to change, and is read as it stands.
                let renumbered = piece == Piece::Video && (16..32).contains(&bit) && bit != 23;
                let read = Content::parse(piece, &wrong);
                let same = Content {
                    picture: 0,
                    ..read.unwrap_or(content)
                };
                assert_eq!(read.is_ok(), renumbered, "bit {bit}");
                assert!(same == content && read != Ok(content), "bit {bit}");
            }
        }
    }
}
