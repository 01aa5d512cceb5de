//! H.264 payloads.

use super::syntax::Bits;
use crate::bits::{u8_at, u16_at};

/// How one packet carries NAL units.
///
/// Source: RFC 6184 §5.2 (table 1), §5.7.1 (STAP-A), §5.8 (FU-A).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor<'a> {
    /// One whole NAL unit; carries its type, 1..=23.
    Single {
        /// The unit's type.
        nal_type: u8,
    },
    /// Several whole units.
    StapA(NalUnits<'a>),
    /// A piece of a unit.
    FuA {
        /// The unit's type.
        nal_type: u8,
        /// This is its first piece.
        is_start: bool,
        /// This is its last piece.
        is_end: bool,
    },
    /// A packet type of interleaved mode, or a reserved one.
    Other {
        /// The packet's type.
        nal_type: u8,
    },
}

impl<'a> Descriptor<'a> {
    /// Reads the packet's type; `None` when the payload is too short for it.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        match u8_at(payload, 0)? & 0x1f {
            nal_type @ 1..=23 => Some(Self::Single { nal_type }),
            STAP_A => Some(Self::StapA(NalUnits {
                rest: payload.get(1..)?,
            })),
            FU_A => {
                let fu_header = u8_at(payload, 1)?;
                Some(Self::FuA {
                    nal_type: fu_header & 0x1f,
                    is_start: fu_header & 0x80 != 0,
                    is_end: fu_header & 0x40 != 0,
                })
            }
            nal_type => Some(Self::Other { nal_type }),
        }
    }
}

/// Iterator over the units of a STAP-A, each with its header byte; a malformed one ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NalUnits<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.rest, 0)?);
        let unit = self.rest.get(2..2 + len).filter(|unit| !unit.is_empty());
        self.rest = self.rest.get(2 + len..).unwrap_or_default();
        unit
    }
}

/// Whether the packet starts a decodable point: it holds, or begins, an SPS or an IDR slice.
///
/// An SPS counts because encoders send parameter sets directly before an IDR picture, often in a
/// packet of their own. Recovery point SEI (gradual refresh) does not count.
#[must_use]
pub fn is_key_frame_start(payload: &[u8]) -> bool {
    let starts = |nal_type: u8| matches!(nal_type, IDR | SPS);
    match Descriptor::parse(payload) {
        Some(Descriptor::Single { nal_type }) => starts(nal_type),
        Some(Descriptor::StapA(mut units)) => {
            units.any(|unit| unit.first().is_some_and(|header| starts(header & 0x1f)))
        }
        Some(Descriptor::FuA {
            nal_type, is_start, ..
        }) => is_start && starts(nal_type),
        Some(Descriptor::Other { .. }) | None => false,
    }
}

/// A NAL unit that begins in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit<'a> {
    /// Its type; 24..=31 and 0 are no units but packets of modes we do not know.
    pub nal_type: u8,
    /// The forbidden bit of its header, which is set in no H.264 stream.
    pub is_forbidden: bool,
    /// What follows its header byte, as far as this packet has it.
    pub body: &'a [u8],
}

impl Unit<'_> {
    /// Whether it is a slice of an IDR picture.
    #[must_use]
    pub fn is_idr(&self) -> bool {
        self.nal_type == IDR
    }

    /// Whether it is a picture parameter set.
    #[must_use]
    pub fn is_pps(&self) -> bool {
        self.nal_type == PPS
    }

    /// Whether it is a slice of any picture.
    #[must_use]
    pub fn is_slice(&self) -> bool {
        matches!(self.nal_type, SLICE | IDR)
    }

    /// Of a sequence parameter set: profile_idc, constraint flags and level_idc.
    #[must_use]
    pub fn profile(&self) -> Option<[u8; 3]> {
        let profile = self.body.get(..3).filter(|_| self.nal_type == SPS)?;
        profile.try_into().ok()
    }

    /// Of a slice, its kind (ITU-T H.264 §7.3.3); `None` when it is none, or cut too short.
    #[must_use]
    pub fn slice(&self) -> Option<Slice> {
        if !self.is_slice() {
            return None;
        }
        let mut bits = Bits::unescaped(self.body);
        bits.exp_golomb()?;
        Some(match bits.exp_golomb()? {
            0 | 3 | 5 | 8 => Slice::P,
            1 | 6 => Slice::B,
            2 | 4 | 7 | 9 => Slice::I,
            _ => return None,
        })
    }
}

/// What a slice is predicted from (ITU-T H.264 table 7-6; SP and SI count as P and I).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice {
    /// Itself.
    I,
    /// One picture for each block.
    P,
    /// Two.
    B,
}

/// The units that begin in a packet, in order. A malformed packet has fewer.
pub fn units(payload: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    let (aggregated, alone) = match Descriptor::parse(payload) {
        Some(Descriptor::StapA(units)) => (Some(units), None),
        Some(Descriptor::Single { .. } | Descriptor::Other { .. }) => (None, unit(payload)),
        Some(Descriptor::FuA {
            nal_type,
            is_start: true,
            ..
        }) => {
            let alone = payload.get(2..).map(|body| Unit {
                nal_type,
                is_forbidden: payload.first().is_some_and(|byte| byte & 0x80 != 0),
                body,
            });
            (None, alone)
        }
        Some(Descriptor::FuA { .. }) | None => (None, None),
    };
    let aggregated = aggregated.into_iter().flatten().filter_map(unit);
    aggregated.chain(alone)
}

fn unit(bytes: &[u8]) -> Option<Unit<'_>> {
    let (header, body) = bytes.split_first()?;
    Some(Unit {
        nal_type: header & 0x1f,
        is_forbidden: header & 0x80 != 0,
        body,
    })
}

const SLICE: u8 = 1;
const IDR: u8 = 5;
pub(super) const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
