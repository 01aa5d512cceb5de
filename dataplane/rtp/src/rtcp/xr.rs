//! Extended reports: the two blocks that let a receiver measure the round trip.

use crate::bits::{u8_at, u16_at, u32_at, u64_at};

const BLOCK_RRTR: u8 = 4;
const BLOCK_DLRR: u8 = 5;

/// Length of one DLRR sub-block in bytes (RFC 3611 §4.5).
const DLRR_ENTRY_LEN: usize = 12;

/// An extended report.
///
/// Source: RFC 3611 §2.
#[derive(Debug, Clone, Copy)]
pub struct Xr<'a> {
    sender_ssrc: u32,
    blocks: &'a [u8],
}

/// One block of an extended report.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum XrBlock<'a> {
    /// Receiver reference time: the receiver's wall clock, 32.32 fixed point.
    ReceiverReferenceTime {
        /// NTP time.
        ntp_time: u64,
    },
    /// Delay since the last receiver reference time, per receiver.
    Dlrr(DlrrEntries<'a>),
    /// Any other block.
    Unknown {
        /// The block type.
        block_type: u8,
    },
}

/// One receiver's part of a DLRR block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DlrrEntry {
    /// The receiver.
    pub ssrc: u32,
    /// The middle 32 bits of its last reference time; 0 when there was none.
    pub last_rr: u32,
    /// Time since that report in 1/65536 s.
    pub delay_since_last_rr: u32,
}

/// The sub-blocks of a DLRR block.
#[derive(Debug, Clone, Copy)]
pub struct DlrrEntries<'a>(&'a [u8]);

impl<'a> DlrrEntries<'a> {
    /// The entries in order; bounded by the datagram's size.
    pub fn iter(&self) -> impl Iterator<Item = DlrrEntry> + use<'a> {
        self.0.chunks_exact(DLRR_ENTRY_LEN).filter_map(|entry| {
            Some(DlrrEntry {
                ssrc: u32_at(entry, 0)?,
                last_rr: u32_at(entry, 4)?,
                delay_since_last_rr: u32_at(entry, 8)?,
            })
        })
    }
}

impl<'a> Xr<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        Some(Self {
            sender_ssrc: u32_at(body, 0)?,
            blocks: body.get(4..)?,
        })
    }

    /// Who reports.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The blocks in order; a malformed one ends the walk.
    pub fn blocks(&self) -> impl Iterator<Item = XrBlock<'a>> + use<'a> {
        let mut rest = self.blocks;
        std::iter::from_fn(move || {
            let block_type = u8_at(rest, 0)?;
            let end = 4 + 4 * usize::from(u16_at(rest, 2)?);
            let content = rest.get(4..end)?;
            rest = rest.get(end..)?;
            Some(match block_type {
                BLOCK_RRTR => XrBlock::ReceiverReferenceTime {
                    ntp_time: u64_at(content, 0)?,
                },
                BLOCK_DLRR => XrBlock::Dlrr(DlrrEntries(content)),
                _ => XrBlock::Unknown { block_type },
            })
        })
    }
}
