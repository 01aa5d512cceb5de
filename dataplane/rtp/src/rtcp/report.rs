//! Sender and receiver reports.

use crate::bits::{u8_at, u24_at, u32_at, u64_at};

/// Length of one report block in bytes (RFC 3550 §6.4.1).
const REPORT_BLOCK_LEN: usize = 24;

/// What a sender says about its own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender's stream.
    pub ssrc: u32,
    /// Wall clock as 32.32 fixed-point seconds since 1900.
    pub ntp_time: u64,
    /// The same instant on the stream's media clock.
    pub rtp_time: u32,
    /// Packets sent so far, modulo 2³².
    pub packet_count: u32,
    /// Payload bytes sent so far, modulo 2³².
    pub octet_count: u32,
}

/// Reception statistics of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The stream reported on.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost so far, −8 388 608..=8 388 607; negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the number of wraps in the upper half.
    pub highest_seq: u32,
    /// Interarrival jitter in clock-rate units.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time; 0 when there was none.
    pub last_sr: u32,
    /// Time since that report in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn parse(block: &[u8]) -> Option<Self> {
        Some(Self {
            ssrc: u32_at(block, 0)?,
            fraction_lost: u8_at(block, 4)?,
            // Sign-extends the 24-bit field.
            cumulative_lost: ((u24_at(block, 5)? << 8) as i32) >> 8,
            highest_seq: u32_at(block, 8)?,
            jitter: u32_at(block, 12)?,
            last_sr: u32_at(block, 16)?,
            delay_since_last_sr: u32_at(block, 20)?,
        })
    }

    pub(super) fn to_bytes(self) -> [u8; REPORT_BLOCK_LEN] {
        let mut block = [0; REPORT_BLOCK_LEN];
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        block[0..4].copy_from_slice(&self.ssrc.to_be_bytes());
        block[4..8].copy_from_slice(&lost.to_be_bytes());
        block[4] = self.fraction_lost;
        block[8..12].copy_from_slice(&self.highest_seq.to_be_bytes());
        block[12..16].copy_from_slice(&self.jitter.to_be_bytes());
        block[16..20].copy_from_slice(&self.last_sr.to_be_bytes());
        block[20..24].copy_from_slice(&self.delay_since_last_sr.to_be_bytes());
        block
    }
}

/// A sender report.
///
/// Source: RFC 3550 §6.4.1.
#[derive(Debug, Clone, Copy)]
pub struct SenderReport<'a> {
    info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let info = SenderInfo {
            ssrc: u32_at(body, 0)?,
            ntp_time: u64_at(body, 4)?,
            rtp_time: u32_at(body, 12)?,
            packet_count: u32_at(body, 16)?,
            octet_count: u32_at(body, 20)?,
        };
        let blocks = body.get(24..24 + usize::from(count) * REPORT_BLOCK_LEN)?;
        Some(Self { info, blocks })
    }

    /// What the sender says about its own stream.
    #[must_use]
    pub fn info(&self) -> SenderInfo {
        self.info
    }

    /// Its reports on streams it receives, at most 31.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.blocks
            .chunks_exact(REPORT_BLOCK_LEN)
            .filter_map(ReportBlock::parse)
    }
}

/// A receiver report.
///
/// Source: RFC 3550 §6.4.2.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverReport<'a> {
    sender_ssrc: u32,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let blocks = body.get(4..4 + usize::from(count) * REPORT_BLOCK_LEN)?;
        Some(Self {
            sender_ssrc: u32_at(body, 0)?,
            blocks,
        })
    }

    /// Who reports.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The reports, at most 31.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.blocks
            .chunks_exact(REPORT_BLOCK_LEN)
            .filter_map(ReportBlock::parse)
    }
}
