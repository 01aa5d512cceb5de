//! The dependency descriptor: which layers a frame belongs to and what may be left out, told in a
//! header extension for whatever codec.
//!
//! A key frame brings a [`Structure`] with a template for each kind of frame; every frame names its
//! template. What a frame refers to is told as distances of frame numbers, so a forwarder may leave
//! frames out without renumbering the others. Source: AV1 RTP payload format 1.0, appendix A.

use crate::bits::{u8_at, u16_at};
use crate::payload::PictureSize;

/// The templates that the descriptors of a coded sequence refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    id_offset: u8,
    templates: Vec<Template>,
    /// Spatial and temporal layer of each decode target, lowest first.
    targets: Vec<(u8, u8)>,
    /// Of the spatial layers, smallest first; none where they are not told.
    sizes: Vec<PictureSize>,
}

/// One kind of frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: Indications,
}

/// What a frame is to each decode target, two bits each, the first target lowest.
type Indications = u64;

/// What one packet's descriptor says of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// First packet of the frame.
    pub is_start: bool,
    /// Last packet of the frame.
    pub is_end: bool,
    /// Its number, wrapping.
    pub number: u16,
    /// Spatial layer, 0..=63.
    pub spatial: u8,
    /// Temporal layer, 0..=63.
    pub temporal: u8,
    /// Who can decode this frame can decode all of its spatial layer that follow up to this temporal
    /// one; 0 where the frame promises nothing.
    pub opens: u8,
    /// No decode target needs it for anything that follows.
    pub is_discardable: bool,
}

impl Structure {
    /// The structure attached to a descriptor, if one is and it is well-formed.
    ///
    /// Shape: `value` is the whole extension, 3..=255 bytes. Work is bounded by its length.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (_, flags) = Head::parse(value)?;
        if !flags.structure {
            return None;
        }
        let mut bits = Bits::after(value, EXTENDED_AT);
        Structure::read(&mut bits)
    }

    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let id_offset = bits.take(6)? as u8;
        let target_count = bits.take(5)? as usize + 1;
        let mut templates = template_layers(bits)?;
        for template in &mut templates {
            for target in 0..target_count {
                template.indications |= u64::from(bits.take(2)?) << (2 * target);
            }
        }
        for _ in &templates {
            while bits.take(1)? == 1 {
                bits.take(4)?;
            }
        }
        let chain_count = bits.take_below(target_count as u32 + 1)?;
        if chain_count > 0 {
            for _ in 0..target_count {
                bits.take_below(chain_count)?;
            }
            for _ in 0..templates.len() * chain_count as usize {
                bits.take(4)?;
            }
        }
        let mut sizes = Vec::new();
        if bits.take(1)? == 1 {
            let spatial_max = templates.last().map_or(0, |template| template.spatial);
            for _ in 0..=spatial_max {
                // Told as one less.
                let mut side = || Some((bits.take(16)? as u16).saturating_add(1));
                let (width, height) = (side()?, side()?);
                sizes.push(PictureSize { width, height });
            }
        }
        // A decode target is of the highest layers that it needs.
        let layers_of = |target: usize| {
            let needed = templates.iter();
            let needed = needed.filter(|t| indication(t.indications, target) != NOT_PRESENT);
            needed.fold((0, 0), |(spatial, temporal), template| {
                (
                    spatial.max(template.spatial),
                    temporal.max(template.temporal),
                )
            })
        };
        let targets = (0..target_count).map(layers_of).collect();
        Some(Structure {
            id_offset,
            templates,
            targets,
            sizes,
        })
    }

    /// What a descriptor says of its frame; `None` where it is malformed or names a template that is
    /// not there.
    #[must_use]
    pub fn frame(&self, value: &[u8]) -> Option<Frame> {
        let (head, flags) = Head::parse(value)?;
        let index = head.template_id.wrapping_sub(self.id_offset) % TEMPLATE_IDS;
        let template = self.templates.get(usize::from(index))?;
        let mut indications = template.indications;
        if flags.custom_indications {
            let mut bits = Bits::after(value, EXTENDED_AT);
            if flags.structure {
                Structure::read(&mut bits)?;
            }
            if flags.active_targets {
                bits.take(self.targets.len() as u32)?;
            }
            indications = 0;
            for target in 0..self.targets.len() {
                indications |= u64::from(bits.take(2)?) << (2 * target);
            }
        }
        let opened = self.targets.iter().enumerate().filter(|&(target, layers)| {
            layers.0 == template.spatial && indication(indications, target) == SWITCH
        });
        Some(Frame {
            is_start: head.is_start,
            is_end: head.is_end,
            number: head.number,
            spatial: template.spatial,
            temporal: template.temporal,
            opens: opened.map(|(_, layers)| layers.1).max().unwrap_or(0),
            is_discardable: self.is_discardable(indications),
        })
    }

    /// Whether it is present in some decode targets and discardable in all of these.
    fn is_discardable(&self, indications: Indications) -> bool {
        let of_targets = (0..self.targets.len()).map(|target| indication(indications, target));
        let mut present = of_targets
            .filter(|indication| *indication != NOT_PRESENT)
            .peekable();
        present.peek().is_some() && present.all(|indication| indication == DISCARDABLE)
    }

    /// The sizes of the spatial layers, smallest first, where they are told.
    #[must_use]
    pub fn sizes(&self) -> &[PictureSize] {
        &self.sizes
    }

    /// Which decode targets a receiver gets that is sent these layers, one bit each, the first
    /// target lowest.
    #[must_use]
    pub fn targets_within(&self, spatial: u8, temporal: u8) -> u32 {
        let targets = self.targets.iter().enumerate();
        let within = targets.filter(|(_, layers)| layers.0 <= spatial && layers.1 <= temporal);
        within.fold(0, |all, (target, _)| all | 1 << target)
    }
}

/// The frame number of a descriptor.
#[must_use]
pub fn frame_number(value: &[u8]) -> Option<u16> {
    u16_at(value, 1)
}

/// Writes another frame number into a descriptor; nothing where it is too short for one.
pub fn set_frame_number(value: &mut [u8], number: u16) {
    if let Some(field) = value.get_mut(1..3) {
        field.copy_from_slice(&number.to_be_bytes());
    }
}

/// Copies a descriptor that brings a structure, with the decode targets named that a receiver gets
/// who is sent these layers; the length of the copy.
///
/// `None`, with `out` in any state, where it brings none, or names all of its targets already and
/// all are within these layers, or the copy does not fit.
pub fn restrict(value: &[u8], spatial: u8, temporal: u8, out: &mut [u8]) -> Option<usize> {
    let (_, flags) = Head::parse(value)?;
    if !flags.structure {
        return None;
    }
    let mut bits = Bits::after(value, EXTENDED_AT);
    let structure = Structure::read(&mut bits)?;
    let count = structure.targets.len() as u32;
    let all = u32::MAX >> (u32::BITS - count);
    let mut active = all;
    let structure_end = bits.at;
    if flags.active_targets {
        active = bits.take(count)?;
    }
    let restricted = active & structure.targets_within(spatial, temporal);
    if restricted == active || restricted == 0 {
        return None;
    }
    let mut writer = BitWriter { out, at: 0 };
    writer.copy(value, 0, EXTENDED_AT)?;
    writer.copy(value, EXTENDED_AT, structure_end)?;
    writer.put(restricted, count)?;
    writer.copy(value, bits.at, value.len() * 8)?;
    let len = writer.at.div_ceil(8);
    *writer.out.get_mut(FLAGS_BYTE)? |= ACTIVE_TARGETS_BIT;
    Some(len)
}

/// The fields every descriptor has.
struct Head {
    is_start: bool,
    is_end: bool,
    template_id: u8,
    number: u16,
}

/// What else one brings.
#[derive(Default)]
struct Flags {
    structure: bool,
    active_targets: bool,
    custom_indications: bool,
}

impl Head {
    fn parse(value: &[u8]) -> Option<(Self, Flags)> {
        let first = u8_at(value, 0)?;
        let head = Head {
            is_start: first & 0x80 != 0,
            is_end: first & 0x40 != 0,
            template_id: first & 0x3f,
            number: u16_at(value, 1)?,
        };
        let flags = u8_at(value, FLAGS_BYTE).map_or(Flags::default(), |byte| Flags {
            structure: byte & 0x80 != 0,
            active_targets: byte & ACTIVE_TARGETS_BIT != 0,
            custom_indications: byte & 0x20 != 0,
        });
        Some((head, flags))
    }
}

/// Layers of each template, in the order of their numbers.
fn template_layers(bits: &mut Bits<'_>) -> Option<Vec<Template>> {
    let (mut spatial, mut temporal) = (0, 0);
    let mut templates = Vec::new();
    while templates.len() < usize::from(TEMPLATE_IDS) {
        templates.push(Template {
            spatial,
            temporal,
            indications: 0,
        });
        match bits.take(2)? {
            0 => {}
            1 => temporal += 1,
            2 => (spatial, temporal) = (spatial + 1, 0),
            _ => return Some(templates),
        }
    }
    None
}

fn indication(indications: Indications, target: usize) -> u64 {
    indications >> (2 * target) & 3
}

/// Reads bits front to back, highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn after(bytes: &'a [u8], at: usize) -> Self {
        Bits { bytes, at }
    }

    /// The next `count` bits, at most 32.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = u8_at(self.bytes, self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// A number below `end`, in the shortest code there is for that (AV1 specification, ns(n)).
    fn take_below(&mut self, end: u32) -> Option<u32> {
        let width = u32::BITS - end.leading_zeros();
        let short = (1 << width) - end;
        let value = self.take(width.checked_sub(1)?)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.take(1)?)
    }
}

/// Writes bits front to back, highest first.
struct BitWriter<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl BitWriter<'_> {
    fn put(&mut self, value: u32, count: u32) -> Option<()> {
        for bit in (0..count).rev() {
            let byte = self.out.get_mut(self.at / 8)?;
            if self.at.is_multiple_of(8) {
                *byte = 0;
            }
            *byte |= ((value >> bit & 1) as u8) << (7 - self.at % 8);
            self.at += 1;
        }
        Some(())
    }

    /// Copies the bits `from..to` of `bytes`.
    fn copy(&mut self, bytes: &[u8], from: usize, to: usize) -> Option<()> {
        let mut bits = Bits::after(bytes, from);
        while bits.at < to {
            let bit = bits.take(1)?;
            self.put(bit, 1)?;
        }
        Some(())
    }
}

/// Numbers of templates go round.
const TEMPLATE_IDS: u8 = 64;
/// The byte behind the mandatory fields, whose first five bits are flags.
const FLAGS_BYTE: usize = 3;
const ACTIVE_TARGETS_BIT: u8 = 0x40;
/// Where what the flags promise begins, in bits.
const EXTENDED_AT: usize = 29;
/// Decode target indications (AV1 RTP payload format 1.0 §A.8.3): not present, discardable, switch,
/// required.
const NOT_PRESENT: u64 = 0;
const DISCARDABLE: u64 = 1;
const SWITCH: u64 = 2;

#[cfg(test)]
mod tests;
