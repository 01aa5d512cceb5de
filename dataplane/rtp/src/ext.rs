//! Values of the header extensions this server reads or writes.
//!
//! Each type parses the value bytes of one element (see [`crate::RtpHeader::extension`]) and turns
//! itself back into bytes for [`crate::HeaderWriter::extension`]. Which id carries which extension
//! is negotiated in SDP and not known here.

use std::time::Duration;

use crate::bits::{u8_at, u16_at, u24_at};

/// The URIs by which SDP names the extensions.
pub mod uri {
    /// Absolute send time, 24 bits.
    pub const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
    /// Transport-wide sequence number.
    pub const TRANSPORT_CC: &str =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    /// Media section id (RFC 9143).
    pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    /// RTP stream id (RFC 8852).
    pub const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    /// RTP stream id of the stream a repair stream belongs to (RFC 8852).
    pub const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
    /// Client-to-mixer audio level (RFC 6464).
    pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    /// Coordination of video orientation (3GPP TS 26.114).
    pub const VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
    /// Limits of the receiver's playout delay.
    pub const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
    /// Dependency descriptor (AV1 RTP payload format, appendix A).
    pub const DEPENDENCY_DESCRIPTOR: &str =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
}

/// When a packet left its sender: seconds modulo 64 as 6.18 fixed point.
///
/// Source: abs-send-time, the 24 middle bits of an NTP timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsSendTime(u32);

impl AbsSendTime {
    /// From a time since any fixed epoch; resolution is about 3.8 µs, wrapping every 64 s.
    #[must_use]
    pub fn from_duration(since_epoch: Duration) -> Self {
        let seconds = (since_epoch.as_secs() & 0x3f) as u32;
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 18) / 1_000_000_000;
        Self((seconds << 18) | fraction as u32)
    }

    /// The 24-bit value as sent.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0
    }

    /// Reads exactly three bytes.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        (value.len() == 3).then(|| u24_at(value, 0).map(Self))?
    }

    /// The value bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

/// The transport-wide sequence number: one counter per connection, over all its packets.
///
/// Source: draft-holmer-rmcat-transport-wide-cc-extensions-01 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportSeq(pub u16);

impl TransportSeq {
    /// Reads two bytes, or the four bytes of version 2, whose feedback request is ignored.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        matches!(value.len(), 2 | 4).then(|| u16_at(value, 0).map(Self))?
    }

    /// The value bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// How loud an audio packet is.
///
/// Source: RFC 6464 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The sender's voice activity flag.
    pub voice: bool,
    /// Attenuation in dB below overload, 0 (loudest) to 127 (silence).
    pub attenuation_db: u8,
}

impl AudioLevel {
    /// Reads the first byte; the two-byte form may pad the value.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let byte = u8_at(value, 0)?;
        Some(Self {
            voice: byte & 0x80 != 0,
            attenuation_db: byte & 0x7f,
        })
    }

    /// The value byte; an attenuation above 127 dB is written as 127.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        [(u8::from(self.voice) << 7) | self.attenuation_db.min(127)]
    }
}

/// How a receiver must turn the picture.
///
/// Source: 3GPP TS 26.114 §7.4.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOrientation {
    /// The camera on the back of the device is in use.
    pub back_camera: bool,
    /// The picture is flipped horizontally.
    pub flipped: bool,
    /// Clockwise rotation to apply, in quarter turns, 0..=3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// Reads exactly one byte.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [byte] = *value else { return None };
        Some(Self {
            back_camera: byte & 0x08 != 0,
            flipped: byte & 0x04 != 0,
            quarter_turns: byte & 0x03,
        })
    }

    /// The value byte.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        let turns = self.quarter_turns & 0x03;
        [(u8::from(self.back_camera) << 3) | (u8::from(self.flipped) << 2) | turns]
    }
}

/// Bounds of the receiver's playout delay in units of 10 ms, each 0..=4095.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// Lower bound, in 10 ms.
    pub min_10ms: u16,
    /// Upper bound, in 10 ms.
    pub max_10ms: u16,
}

impl PlayoutDelay {
    /// Reads exactly three bytes; `None` when the lower bound exceeds the upper.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        if value.len() != 3 {
            return None;
        }
        let both = u24_at(value, 0)?;
        let delay = Self {
            min_10ms: (both >> 12) as u16,
            max_10ms: (both & 0xfff) as u16,
        };
        (delay.min_10ms <= delay.max_10ms).then_some(delay)
    }

    /// The value bytes; bounds above 4095 are written as 4095.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 3] {
        let both =
            (u32::from(self.min_10ms.min(0xfff)) << 12) | u32::from(self.max_10ms.min(0xfff));
        let [_, a, b, c] = both.to_be_bytes();
        [a, b, c]
    }
}

/// The mandatory fields of a dependency descriptor, and whether a structure is attached.
///
/// The template structure itself is not parsed.
///
/// Source: AV1 RTP payload format 1.0 appendix A.8.2 (mandatory and extended descriptor fields).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// First packet of a frame (of one layer).
    pub start_of_frame: bool,
    /// Last packet of a frame.
    pub end_of_frame: bool,
    /// Which template of the current structure describes the frame, 0..=63.
    pub template_id: u8,
    /// Frame counter, wrapping.
    pub frame_number: u16,
    /// A template structure is attached: a receiver may start here.
    pub has_structure: bool,
    /// The set of active decode targets is attached.
    pub has_active_decode_targets: bool,
}

impl DependencyDescriptor {
    /// Reads the first three bytes and, when there are more, the flags of the fourth.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let first = u8_at(value, 0)?;
        let flags = u8_at(value, 3).unwrap_or(0);
        Some(Self {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template_id: first & 0x3f,
            frame_number: u16_at(value, 1)?,
            has_structure: flags & 0x80 != 0,
            has_active_decode_targets: flags & 0x40 != 0,
        })
    }

    /// The three mandatory bytes; flags are not written.
    #[must_use]
    pub fn to_mandatory_bytes(self) -> [u8; 3] {
        let [high, low] = self.frame_number.to_be_bytes();
        let edges = (u8::from(self.start_of_frame) << 7) | (u8::from(self.end_of_frame) << 6);
        [edges | (self.template_id & 0x3f), high, low]
    }
}

/// Reads a MID: 1..=255 visible ASCII characters of an SDP token.
///
/// Source: RFC 9143 §15 (value), RFC 8866 §9 (token).
#[must_use]
pub fn parse_mid(value: &[u8]) -> Option<&str> {
    let is_token_char =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(byte);
    parse_id(value, is_token_char)
}

/// Reads a RID or repaired RID: 1..=255 of letters, digits, `-` and `_`.
///
/// Source: RFC 8852 §3, RFC 8851 §10 (rid-id).
#[must_use]
pub fn parse_rid(value: &[u8]) -> Option<&str> {
    parse_id(value, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
    })
}

fn parse_id(value: &[u8], allowed: impl Fn(&u8) -> bool) -> Option<&str> {
    let sane = (1..=255).contains(&value.len()) && value.iter().all(allowed);
    if sane {
        std::str::from_utf8(value).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
