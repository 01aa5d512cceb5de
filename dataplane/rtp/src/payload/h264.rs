//! H.264 payloads.

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

const IDR: u8 = 5;
pub(super) const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
