//! VP9 payloads.

use super::PictureSize;
use super::vp8::PictureId;
use crate::bits::{u8_at, u16_at};

/// The VP9 payload descriptor.
///
/// Source: RFC 9628 §4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The frame depends on earlier pictures (P).
    pub inter_picture_predicted: bool,
    /// References are listed in the descriptor (F) instead of following a fixed pattern.
    pub flexible: bool,
    /// First packet of a frame of one spatial layer (B).
    pub start_of_frame: bool,
    /// Last packet of a frame of one spatial layer (E).
    pub end_of_frame: bool,
    /// Not a reference for higher spatial layers (Z).
    pub not_spatial_reference: bool,
    /// The running picture number, if sent.
    pub picture_id: Option<PictureId>,
    /// Layer indices, if sent.
    pub layer: Option<Layer>,
    /// The running number of base-layer pictures, if sent (only in non-flexible mode).
    pub tl0_pic_idx: Option<u8>,
    /// The scalability structure, if attached.
    pub structure: Option<Structure>,
    /// Length of the descriptor in bytes.
    pub len: usize,
    /// Where the size of the largest spatial layer stands, if the structure tells sizes.
    pub(super) sizes_at: Option<usize>,
    picture_id_at: usize,
    tl0_pic_idx_at: usize,
}

/// Which layer a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Temporal layer, 0..=7.
    pub temporal_id: u8,
    /// Switching up to this temporal layer is possible from here (U).
    pub switching_up_point: bool,
    /// Spatial layer, 0..=7.
    pub spatial_id: u8,
    /// The frame is predicted from the next lower spatial layer (D).
    pub inter_layer_predicted: bool,
}

/// What is kept of a scalability structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structure {
    /// Number of spatial layers, 1..=8.
    pub spatial_layer_count: u8,
    /// Number of pictures in the described group; 0 when none is described.
    pub picture_count: u8,
}

impl Descriptor {
    /// Reads the descriptor; `None` when it runs over the payload's end or lists more than the
    /// three references allowed.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = u8_at(payload, 0)?;
        let mut descriptor = Self {
            inter_picture_predicted: first & 0x40 != 0,
            flexible: first & 0x10 != 0,
            start_of_frame: first & 0x08 != 0,
            end_of_frame: first & 0x04 != 0,
            not_spatial_reference: first & 0x01 != 0,
            picture_id: None,
            layer: None,
            tl0_pic_idx: None,
            structure: None,
            len: 1,
            sizes_at: None,
            picture_id_at: 0,
            tl0_pic_idx_at: 0,
        };
        if first & 0x80 != 0 {
            descriptor.picture_id(payload)?;
        }
        if first & 0x20 != 0 {
            descriptor.layer(payload)?;
        }
        if descriptor.flexible && descriptor.inter_picture_predicted {
            descriptor.references(payload)?;
        }
        if first & 0x02 != 0 {
            descriptor.structure(payload)?;
        }
        Some(descriptor)
    }

    /// The frame's spatial layer, 0 without layer indices.
    #[must_use]
    pub fn spatial_id(&self) -> u8 {
        self.layer.map_or(0, |layer| layer.spatial_id)
    }

    fn byte(&mut self, payload: &[u8]) -> Option<u8> {
        let byte = u8_at(payload, self.len)?;
        self.len += 1;
        Some(byte)
    }

    fn picture_id(&mut self, payload: &[u8]) -> Option<()> {
        let (picture_id, size) = PictureId::parse(payload, self.len)?;
        self.picture_id = Some(picture_id);
        self.picture_id_at = self.len;
        self.len += size;
        Some(())
    }

    fn layer(&mut self, payload: &[u8]) -> Option<()> {
        let byte = self.byte(payload)?;
        self.layer = Some(Layer {
            temporal_id: byte >> 5,
            switching_up_point: byte & 0x10 != 0,
            spatial_id: (byte >> 1) & 0x07,
            inter_layer_predicted: byte & 0x01 != 0,
        });
        if !self.flexible {
            self.tl0_pic_idx_at = self.len;
            self.tl0_pic_idx = Some(self.byte(payload)?);
        }
        Some(())
    }

    fn references(&mut self, payload: &[u8]) -> Option<()> {
        // RFC 9628 §4.2: up to three P_DIFF bytes, the lowest bit says whether another follows.
        for _ in 0..3 {
            if self.byte(payload)? & 0x01 == 0 {
                return Some(());
            }
        }
        None
    }

    fn structure(&mut self, payload: &[u8]) -> Option<()> {
        let head = self.byte(payload)?;
        let spatial_layer_count = (head >> 5) + 1;
        if head & 0x10 != 0 {
            // Width and height of every spatial layer, two bytes each.
            self.len += 4 * usize::from(spatial_layer_count);
            self.sizes_at = Some(self.len - 4);
        }
        let mut picture_count = 0;
        if head & 0x08 != 0 {
            picture_count = self.byte(payload)?;
            for _ in 0..picture_count {
                let reference_count = (self.byte(payload)? >> 2) & 0x03;
                self.len += usize::from(reference_count);
            }
        }
        self.structure = Some(Structure {
            spatial_layer_count,
            picture_count,
        });
        // The skipped bytes must exist.
        (self.len <= payload.len()).then_some(())
    }
}

/// Whether the packet starts a decodable point: the base spatial layer's first packet of a picture
/// that depends on no earlier one.
///
/// Browsers attach the scalability structure there; it is not required.
///
/// Source: RFC 9628 §4.2 (P, B, SID).
#[must_use]
pub fn is_key_frame_start(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|descriptor| {
        let base_layer = descriptor.spatial_id() == 0;
        !descriptor.inter_picture_predicted && descriptor.start_of_frame && base_layer
    })
}

/// The sizes of the spatial layers, smallest first, where the structure is attached and tells them.
pub fn sizes(payload: &[u8]) -> impl Iterator<Item = PictureSize> + '_ {
    let told = Descriptor::parse(payload).and_then(|descriptor| {
        let count = usize::from(descriptor.structure?.spatial_layer_count);
        let last = descriptor.sizes_at?;
        payload.get((last + 4).checked_sub(4 * count)?..last + 4)
    });
    let sizes = told.unwrap_or_default().chunks_exact(4);
    sizes.filter_map(|size| {
        let side = |at| u16_at(size, at).filter(|&pixels| pixels > 0);
        Some(PictureSize {
            width: side(0)?,
            height: side(2)?,
        })
    })
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
