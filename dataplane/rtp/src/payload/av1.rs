//! AV1 payloads.

use crate::bits::u8_at;

/// The aggregation header: the first byte of every AV1 payload.
///
/// Source: AV1 RTP payload format 1.0 §4.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The first element continues an OBU of the previous packet (Z).
    pub starts_with_continuation: bool,
    /// The last element goes on in the next packet (Y).
    pub ends_with_fragment: bool,
    /// Number of elements, 1..=3; 0 when every element has its length in front (W).
    pub element_count: u8,
    /// First packet of a coded video sequence (N).
    pub new_coded_video_sequence: bool,
}

impl Descriptor {
    /// Reads the header; `None` on an empty payload or when it claims to start a sequence inside
    /// an OBU, which the format forbids.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let byte = u8_at(payload, 0)?;
        let descriptor = Self {
            starts_with_continuation: byte & 0x80 != 0,
            ends_with_fragment: byte & 0x40 != 0,
            element_count: (byte >> 4) & 0x03,
            new_coded_video_sequence: byte & 0x08 != 0,
        };
        let contradicts =
            descriptor.starts_with_continuation && descriptor.new_coded_video_sequence;
        (!contradicts).then_some(descriptor)
    }
}

/// Whether the packet starts a decodable point: a new coded video sequence with something in it.
#[must_use]
pub fn is_key_frame_start(payload: &[u8]) -> bool {
    let descriptor = Descriptor::parse(payload);
    payload.len() > 1 && descriptor.is_some_and(|head| head.new_coded_video_sequence)
}
