//! VP8 payloads.

use crate::bits::{u8_at, u16_at};

/// The VP8 payload descriptor.
///
/// Source: RFC 7741 §4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// No other frame depends on this one.
    pub non_reference: bool,
    /// The packet starts a partition.
    pub partition_start: bool,
    /// Which partition, 0..=7.
    pub partition_id: u8,
    /// The running picture number, if sent.
    pub picture_id: Option<PictureId>,
    /// The running number of base-layer frames, if sent.
    pub tl0_pic_idx: Option<u8>,
    /// Temporal layer, 0..=3, if sent.
    pub temporal_id: Option<u8>,
    /// The frame depends only on the base layer; meaningful with a temporal layer.
    pub layer_sync: bool,
    /// The key-frame counter, 0..=31, if sent.
    pub key_idx: Option<u8>,
    /// Length of the descriptor in bytes.
    pub len: usize,
    picture_id_at: usize,
    tl0_pic_idx_at: usize,
}

/// A picture number and the width it was sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureId {
    /// 0..=127.
    Bits7(u8),
    /// 0..=32767.
    Bits15(u16),
}

impl PictureId {
    /// The number.
    #[must_use]
    pub fn value(self) -> u16 {
        match self {
            Self::Bits7(id) => id.into(),
            Self::Bits15(id) => id,
        }
    }

    /// Reads a picture number whose first bit tells its width, as VP8 and VP9 both send it; with
    /// the number of bytes it takes.
    pub(super) fn parse(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let first = u8_at(bytes, at)?;
        if first & 0x80 == 0 {
            return Some((Self::Bits7(first), 1));
        }
        Some((Self::Bits15(u16_at(bytes, at)? & 0x7fff), 2))
    }

    /// Overwrites a picture number in its own width, dropping upper bits that do not fit.
    pub(super) fn overwrite(self, bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
        match self {
            Self::Bits7(_) => *bytes.get_mut(at)? = value as u8 & 0x7f,
            Self::Bits15(_) => {
                let field = bytes.get_mut(at..at.checked_add(2)?)?;
                field.copy_from_slice(&(value | 0x8000).to_be_bytes());
            }
        }
        Some(())
    }
}

impl Descriptor {
    /// Reads the descriptor; `None` when it runs over the payload's end.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = u8_at(payload, 0)?;
        let mut descriptor = Self {
            non_reference: first & 0x20 != 0,
            partition_start: first & 0x10 != 0,
            partition_id: first & 0x07,
            picture_id: None,
            tl0_pic_idx: None,
            temporal_id: None,
            layer_sync: false,
            key_idx: None,
            len: 1,
            picture_id_at: 0,
            tl0_pic_idx_at: 0,
        };
        if first & 0x80 != 0 {
            let present = u8_at(payload, 1)?;
            descriptor.len = 2;
            descriptor.extended(payload, present)?;
        }
        Some(descriptor)
    }

    fn extended(&mut self, payload: &[u8], present: u8) -> Option<()> {
        if present & 0x80 != 0 {
            let (picture_id, size) = PictureId::parse(payload, self.len)?;
            self.picture_id = Some(picture_id);
            self.picture_id_at = self.len;
            self.len += size;
        }
        if present & 0x40 != 0 {
            self.tl0_pic_idx = Some(u8_at(payload, self.len)?);
            self.tl0_pic_idx_at = self.len;
            self.len += 1;
        }
        if present & 0x30 != 0 {
            let byte = u8_at(payload, self.len)?;
            if present & 0x20 != 0 {
                self.temporal_id = Some(byte >> 6);
                self.layer_sync = byte & 0x20 != 0;
            }
            if present & 0x10 != 0 {
                self.key_idx = Some(byte & 0x1f);
            }
            self.len += 1;
        }
        Some(())
    }
}

/// Whether the packet starts a key frame: first partition's start, and the frame header says key.
///
/// Source: RFC 7741 §4.2 (S, PID), §4.3 (the inverse key frame flag P).
#[must_use]
pub fn is_key_frame_start(payload: &[u8]) -> bool {
    let Some(descriptor) = Descriptor::parse(payload) else {
        return false;
    };
    let frame_header = u8_at(payload, descriptor.len);
    let is_frame_start = descriptor.partition_start && descriptor.partition_id == 0;
    is_frame_start && frame_header.is_some_and(|byte| byte & 0x01 == 0)
}

/// Overwrites picture number and base-layer number in place, each in the width it has.
///
/// Fields the descriptor does not carry stay absent. Upper bits of `picture_id` that do not fit
/// are dropped. `None`, with nothing changed, when the descriptor cannot be read.
pub fn rewrite(payload: &mut [u8], picture_id: u16, tl0_pic_idx: u8) -> Option<()> {
    let descriptor = Descriptor::parse(payload)?;
    if let Some(field) = descriptor.picture_id {
        field.overwrite(payload, descriptor.picture_id_at, picture_id)?;
    }
    if descriptor.tl0_pic_idx.is_some() {
        *payload.get_mut(descriptor.tl0_pic_idx_at)? = tl0_pic_idx;
    }
    Some(())
}
