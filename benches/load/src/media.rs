//! What publishers send and viewers check: payloads that look like video and audio to a server
//! and say themselves which stream, frame and packet they are and when they were sent.
//!
//! They are not decodable pictures: headers a server may look at are valid, the rest is filler.

use whitewater_rtp::payload::vp8;

/// The video codecs that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// VP8 (RFC 7741).
    Vp8,
    /// H.264, packetization mode 1 (RFC 6184).
    H264,
}

/// What one packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A frame that needs no other.
    KeyFrame,
    /// A frame that needs the one before.
    DeltaFrame,
    /// Audio; the frame number counts packets.
    Audio,
}

/// One packet's own account of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Which publisher made it.
    pub(crate) source: u32,
    /// Frame number, from 0.
    pub(crate) frame: u32,
    /// Which packet of the frame, from 0.
    pub(crate) index: u16,
    /// How many packets the frame has.
    pub(crate) count: u16,
    /// What it is part of.
    pub(crate) piece: Piece,
    /// When it was handed to the kernel, in nanoseconds since 1970.
    pub(crate) sent_ns: u64,
}

/// Why a payload is not as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged;

impl Content {
    /// Appends a payload of exactly `size` bytes (at least [`PAYLOAD_SIZE_MIN`], at most
    /// [`PAYLOAD_SIZE_MAX`]; other sizes are moved there).
    pub(crate) fn render(&self, codec: VideoCodec, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size.clamp(PAYLOAD_SIZE_MIN, PAYLOAD_SIZE_MAX);
        match (self.piece, codec) {
            (Piece::Audio, _) => out.push(OPUS_TOC),
            (_, VideoCodec::Vp8) => self.vp8_head(out),
            (_, VideoCodec::H264) => self.h264_head(end - out.len(), out),
        }
        let body = out.len();
        out.extend(MAGIC);
        out.extend(self.source.to_be_bytes());
        out.extend(self.frame.to_be_bytes());
        out.extend(self.index.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.push(match self.piece {
            Piece::KeyFrame => 1,
            Piece::DeltaFrame => 2,
            Piece::Audio => 3,
        });
        out.extend(self.sent_ns.to_be_bytes());
        let sum = checksum(&out[body..]);
        out.extend(sum.to_be_bytes());
        let filler = filler(self.frame, self.index, end.saturating_sub(out.len()));
        out.extend_from_slice(filler);
    }

    /// Reads a payload back; every byte of it is compared.
    ///
    /// # Errors
    /// When anything but the fields a server may rewrite (a VP8 descriptor) is not as it was sent.
    pub(crate) fn read_video(codec: VideoCodec, payload: &[u8]) -> Result<Content, Damaged> {
        let at = match codec {
            VideoCodec::Vp8 => vp8_head_len(payload),
            VideoCodec::H264 => h264_head_len(payload),
        };
        let body = at.and_then(|at| payload.get(at..)).ok_or(Damaged)?;
        let content = Self::read(body)?;
        (content.piece != Piece::Audio)
            .then_some(content)
            .ok_or(Damaged)
    }

    /// As [`read_video`](Self::read_video), for audio.
    ///
    /// # Errors
    /// When any byte is not as it was sent.
    pub(crate) fn read_audio(payload: &[u8]) -> Result<Content, Damaged> {
        let content = match payload.split_first() {
            Some((&OPUS_TOC, body)) => Self::read(body)?,
            _ => return Err(Damaged),
        };
        (content.piece == Piece::Audio)
            .then_some(content)
            .ok_or(Damaged)
    }

    fn read(body: &[u8]) -> Result<Content, Damaged> {
        let (head, rest) = body.split_at_checked(BODY_SIZE).ok_or(Damaged)?;
        let (summed, sum) = head.split_at(BODY_SIZE - 4);
        if !summed.starts_with(MAGIC) || sum != checksum(summed).to_be_bytes() {
            return Err(Damaged);
        }
        let number = |at: usize, len: usize| {
            let bytes = summed.get(at..at + len).unwrap_or_default();
            bytes
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let content = Content {
            source: number(4, 4) as u32,
            frame: number(8, 4) as u32,
            index: number(12, 2) as u16,
            count: number(14, 2) as u16,
            piece: match number(16, 1) {
                1 => Piece::KeyFrame,
                2 => Piece::DeltaFrame,
                3 => Piece::Audio,
                _ => return Err(Damaged),
            },
            sent_ns: number(17, 8),
        };
        let whole = rest == filler(content.frame, content.index, rest.len());
        (whole && content.index < content.count)
            .then_some(content)
            .ok_or(Damaged)
    }

    /// RFC 7741 §4.2, §4.3: descriptor with a 15-bit picture number; in a frame's first packet the
    /// frame tag, and in a key frame's the start code and the size of the picture.
    fn vp8_head(&self, out: &mut Vec<u8>) {
        let start = self.index == 0;
        out.extend([0x80 | if start { 0x10 } else { 0 }, 0x80]);
        out.extend((self.frame as u16 | 0x8000).to_be_bytes());
        if start {
            let inverse_key = u8::from(self.piece != Piece::KeyFrame);
            out.extend([0x10 | inverse_key, 0x02, 0x00]);
            if self.piece == Piece::KeyFrame {
                out.extend([0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
            }
        }
    }

    /// RFC 6184 §5.6 to §5.8: a key frame starts with its parameter sets and an SEI unit that
    /// carries the body; all else is cut into fragments.
    fn h264_head(&self, size: usize, out: &mut Vec<u8>) {
        let key = self.piece == Piece::KeyFrame;
        if key && self.index == 0 {
            let start = out.len();
            out.extend(PARAMETER_SETS);
            let unit_size = size - PARAMETER_SETS.len() - 2;
            out.extend((unit_size as u16).to_be_bytes());
            out.extend([SEI, SEI_USER_DATA]);
            debug_assert_eq!(out.len() - start, STAP_HEAD_SIZE);
            return;
        }
        let unit = if key { IDR } else { NON_IDR };
        // The parameter sets are a packet of their own.
        let first = u16::from(key);
        if self.count - first == 1 {
            out.push(unit);
            return;
        }
        let start = u8::from(self.index == first) << 7;
        let end = u8::from(self.index + 1 == self.count) << 6;
        out.extend([unit & 0x60 | FU_A, start | end | unit & 0x1f]);
    }
}

fn vp8_head_len(payload: &[u8]) -> Option<usize> {
    let descriptor = vp8::Descriptor::parse(payload)?;
    if !descriptor.partition_start || descriptor.partition_id != 0 {
        return Some(descriptor.len);
    }
    let is_key = payload.get(descriptor.len)? & 1 == 0;
    Some(descriptor.len + if is_key { 10 } else { 3 })
}

fn h264_head_len(payload: &[u8]) -> Option<usize> {
    if payload.starts_with(PARAMETER_SETS) {
        return Some(STAP_HEAD_SIZE);
    }
    match payload.first()? & 0x1f {
        FU_A => Some(2),
        1 | 5 => Some(1),
        _ => None,
    }
}

/// FNV-1a, over the few bytes before the filler.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// What follows the body: a piece of one table, so that comparing it costs next to nothing.
fn filler(frame: u32, index: u16, len: usize) -> &'static [u8] {
    let from = (frame as usize * 31 + usize::from(index) * 7) % 1024;
    FILLER.get(from..from + len).unwrap_or_default()
}

static FILLER: [u8; 1024 + PAYLOAD_SIZE_MAX] = {
    let mut table = [0; 1024 + PAYLOAD_SIZE_MAX];
    let mut state = 0x2545_f491_u32;
    let mut at = 0;
    while at < table.len() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        table[at] = (state >> 24) as u8;
        at += 1;
    }
    table
};

/// The smallest payload that has room for all that is checked.
pub(crate) const PAYLOAD_SIZE_MIN: usize = STAP_HEAD_SIZE + BODY_SIZE;
/// With header, extensions and tag this fits the 1,200 bytes that every path carries.
pub(crate) const PAYLOAD_SIZE_MAX: usize = 1150;

const MAGIC: &[u8; 4] = b"load";
const BODY_SIZE: usize = 29;
/// RFC 6716 §3.1: CELT, full band, 20 ms, stereo, one frame.
const OPUS_TOC: u8 = 0xfc;
const IDR: u8 = 0x65;
const NON_IDR: u8 = 0x41;
const FU_A: u8 = 28;
const SEI: u8 = 6;
/// user_data_unregistered; the unit is cut off where the packet ends.
const SEI_USER_DATA: u8 = 5;
/// A STAP-A with the parameter sets of a 640 × 480 picture in constrained baseline.
const PARAMETER_SETS: &[u8] = &[
    0x78, 0x00, 0x0b, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x3d, 0xb0, 0x11, 0x00, 0x00, 0x04,
    0x68, 0xce, 0x3c, 0x80,
];
const STAP_HEAD_SIZE: usize = PARAMETER_SETS.len() + 4;

#[cfg(test)]
mod tests {
    use super::*;
    use whitewater_rtp::payload::h264;

    fn frame(piece: Piece, count: u16) -> Vec<Content> {
        let content = |index| Content {
            source: 7,
            frame: 70_000,
            index,
            count,
            piece,
            sent_ns: 1_700_000_000_123_456_789,
        };
        (0..count).map(content).collect()
    }

    fn rendered(content: &Content, codec: VideoCodec, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        content.render(codec, size, &mut out);
        out
    }

    #[test]
    fn every_packet_is_read_back_and_has_the_size_asked_for() {
        for codec in [VideoCodec::Vp8, VideoCodec::H264] {
            for piece in [Piece::KeyFrame, Piece::DeltaFrame] {
                for content in [1, 2, 9].into_iter().flat_map(|count| frame(piece, count)) {
                    for size in [PAYLOAD_SIZE_MIN, 500, PAYLOAD_SIZE_MAX] {
                        let payload = rendered(&content, codec, size);
                        assert_eq!(payload.len(), size, "{content:?}");
                        assert_eq!(Content::read_video(codec, &payload), Ok(content));
                        assert_eq!(Content::read_audio(&payload), Err(Damaged));
                    }
                }
            }
        }
        let audio = frame(Piece::Audio, 1)[0];
        let payload = rendered(&audio, VideoCodec::Vp8, 80);
        assert_eq!(Content::read_audio(&payload), Ok(audio));
        assert_eq!(Content::read_video(VideoCodec::Vp8, &payload), Err(Damaged));
    }

    #[test]
    fn servers_see_a_key_frame_in_its_first_packet_and_in_no_delta_frame() {
        for count in [1, 2, 9] {
            for content in frame(Piece::KeyFrame, count) {
                let first = content.index == 0;
                let payload = rendered(&content, VideoCodec::Vp8, 600);
                assert_eq!(vp8::is_key_frame_start(&payload), first);
                let payload = rendered(&content, VideoCodec::H264, 600);
                assert!(!first || h264::is_key_frame_start(&payload));
            }
            for content in frame(Piece::DeltaFrame, count) {
                let payload = rendered(&content, VideoCodec::Vp8, 600);
                assert!(!vp8::is_key_frame_start(&payload));
                let payload = rendered(&content, VideoCodec::H264, 600);
                assert!(!h264::is_key_frame_start(&payload));
            }
        }
    }

    #[test]
    fn any_changed_byte_behind_the_descriptor_is_noticed() {
        for codec in [VideoCodec::Vp8, VideoCodec::H264] {
            let content = frame(Piece::DeltaFrame, 3)[1];
            let payload = rendered(&content, codec, 300);
            for at in 4..payload.len() {
                let mut changed = payload.clone();
                changed[at] ^= 0x10;
                assert_eq!(
                    Content::read_video(codec, &changed),
                    Err(Damaged),
                    "byte {at}"
                );
            }
            for len in 0..PAYLOAD_SIZE_MIN.min(30) {
                assert_eq!(Content::read_video(codec, &payload[..len]), Err(Damaged));
            }
        }
    }

    #[test]
    fn a_rewritten_picture_number_is_no_damage() {
        let content = frame(Piece::KeyFrame, 3)[0];
        let mut payload = rendered(&content, VideoCodec::Vp8, 300);
        vp8::rewrite(&mut payload, 99, 0).unwrap();
        assert_eq!(Content::read_video(VideoCodec::Vp8, &payload), Ok(content));
    }
}
