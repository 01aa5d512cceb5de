//! What a payload says about itself: key frames, layers, picture ids.
//!
//! Only the payload descriptor and as much of the codec's own headers as a forwarder needs are
//! read; nothing is decoded.

pub mod av1;
pub mod h264;
pub mod h265;
pub mod opus;
pub mod red;
mod size;
mod syntax;
pub mod vp8;
pub mod vp9;

pub use size::PictureSize;

/// The codecs whose payloads are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// AV1 RTP payload format 1.0.
    Av1,
    /// RFC 7587.
    Opus,
}

impl Codec {
    /// Whether a decoder may start at this packet.
    ///
    /// Shape: `payload` is one packet's payload, padding removed. For Opus every packet with a
    /// payload is such a point.
    #[must_use]
    pub fn is_key_frame_start(self, payload: &[u8]) -> bool {
        match self {
            Self::H264 => h264::is_key_frame_start(payload),
            Self::H265 => h265::is_key_frame_start(payload),
            Self::Vp8 => vp8::is_key_frame_start(payload),
            Self::Vp9 => vp9::is_key_frame_start(payload),
            Self::Av1 => av1::is_key_frame_start(payload),
            Self::Opus => !payload.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests;
