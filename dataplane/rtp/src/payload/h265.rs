//! H.265 payloads.

use crate::bits::{u8_at, u16_at};

/// How one packet carries NAL units.
///
/// Without DONL fields: WebRTC endpoints do not negotiate `sprop-max-don-diff`.
///
/// Source: RFC 7798 §1.1.4 (header), §4.4.2 (AP), §4.4.3 (FU).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor<'a> {
    /// One whole NAL unit.
    Single {
        /// The unit's type, 0..=47.
        nal_type: u8,
        /// Temporal layer, 0..=6.
        temporal_id: u8,
    },
    /// Several whole units.
    Aggregation(NalUnits<'a>),
    /// A piece of a unit.
    Fragment {
        /// The unit's type.
        nal_type: u8,
        /// Temporal layer, 0..=6.
        temporal_id: u8,
        /// This is its first piece.
        is_start: bool,
        /// This is its last piece.
        is_end: bool,
    },
    /// PACI or a reserved packet type.
    Other {
        /// The packet's type.
        nal_type: u8,
    },
}

impl<'a> Descriptor<'a> {
    /// Reads the packet's type; `None` when the payload is too short or the temporal id is the
    /// forbidden zero.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let header = u16_at(payload, 0)?;
        let temporal_id = (header & 0x07).checked_sub(1)? as u8;
        match nal_type_of(header) {
            nal_type @ 0..=47 => Some(Self::Single {
                nal_type,
                temporal_id,
            }),
            AGGREGATION => Some(Self::Aggregation(NalUnits {
                rest: payload.get(2..)?,
            })),
            FRAGMENT => {
                let fu_header = u8_at(payload, 2)?;
                Some(Self::Fragment {
                    nal_type: fu_header & 0x3f,
                    temporal_id,
                    is_start: fu_header & 0x80 != 0,
                    is_end: fu_header & 0x40 != 0,
                })
            }
            nal_type => Some(Self::Other { nal_type }),
        }
    }
}

/// Iterator over the units of an aggregation packet, each with its two-byte header; a malformed
/// one ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NalUnits<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16_at(self.rest, 0)?);
        let unit = self.rest.get(2..2 + len).filter(|unit| unit.len() >= 2);
        self.rest = self.rest.get(2 + len..).unwrap_or_default();
        unit
    }
}

/// Whether the packet starts a decodable point: it holds, or begins, a VPS, an SPS, an IDR or a
/// CRA picture.
#[must_use]
pub fn is_key_frame_start(payload: &[u8]) -> bool {
    let starts = |nal_type: u8| matches!(nal_type, IDR_W_RADL | IDR_N_LP | CRA | VPS | SPS);
    match Descriptor::parse(payload) {
        Some(Descriptor::Single { nal_type, .. }) => starts(nal_type),
        Some(Descriptor::Aggregation(mut units)) => {
            units.any(|unit| u16_at(unit, 0).is_some_and(|header| starts(nal_type_of(header))))
        }
        Some(Descriptor::Fragment {
            nal_type, is_start, ..
        }) => is_start && starts(nal_type),
        Some(Descriptor::Other { .. }) | None => false,
    }
}

/// Whether a unit is a sequence parameter set.
pub(super) fn is_sps(unit: &[u8]) -> bool {
    u16_at(unit, 0).is_some_and(|header| nal_type_of(header) == SPS)
}

fn nal_type_of(header: u16) -> u8 {
    (header >> 9) as u8 & 0x3f
}

const IDR_W_RADL: u8 = 19;
const IDR_N_LP: u8 = 20;
const CRA: u8 = 21;
const VPS: u8 = 32;
pub(super) const SPS: u8 = 33;
const AGGREGATION: u8 = 48;
const FRAGMENT: u8 = 49;
