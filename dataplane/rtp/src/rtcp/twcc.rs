//! Transport-wide congestion control feedback.

use crate::bits::{u8_at, u16_at, u24_at, u32_at};

/// A transport-wide feedback message.
///
/// Source: draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
#[derive(Debug, Clone, Copy)]
pub struct Twcc<'a> {
    sender_ssrc: u32,
    media_ssrc: u32,
    base_seq: u16,
    status_count: u16,
    reference_time: i32,
    feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// What the receiver says about one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwccEntry {
    /// The packet's transport-wide sequence number.
    pub seq: u16,
    /// Arrival relative to the previous packet received, in units of 250 µs, and for the first
    /// one relative to [`Twcc::reference_time`]; `None` when the packet had not arrived.
    pub delta_250us: Option<i16>,
}

impl<'a> Twcc<'a> {
    /// Checks that chunks and deltas cover what the message announces.
    ///
    /// The walk over the chunks is bounded by the message: one chunk covers at most 8191 packets,
    /// and no more than the 65535 announced ones are ever produced.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let status_count = u16_at(body, 10)?;
        let lists = body.get(16..)?;
        let (chunks_len, deltas_len) = measure(lists, status_count)?;
        Some(Self {
            sender_ssrc: u32_at(body, 0)?,
            media_ssrc: u32_at(body, 4)?,
            base_seq: u16_at(body, 8)?,
            status_count,
            reference_time: ((u24_at(body, 12)? << 8) as i32) >> 8,
            feedback_count: u8_at(body, 15)?,
            chunks: lists.get(..chunks_len)?,
            deltas: lists.get(chunks_len..chunks_len + deltas_len)?,
        })
    }

    /// Who reports.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The media stream named; the report covers the whole connection all the same.
    #[must_use]
    pub fn media_ssrc(&self) -> u32 {
        self.media_ssrc
    }

    /// The first sequence number reported on.
    #[must_use]
    pub fn base_seq(&self) -> u16 {
        self.base_seq
    }

    /// How many packets are reported on, received or not.
    #[must_use]
    pub fn status_count(&self) -> u16 {
        self.status_count
    }

    /// The receiver's clock at the start, in units of 64 ms since an unknown epoch; 24 bits,
    /// signed, wrapping.
    #[must_use]
    pub fn reference_time(&self) -> i32 {
        self.reference_time
    }

    /// Counts the messages, to notice lost ones.
    #[must_use]
    pub fn feedback_count(&self) -> u8 {
        self.feedback_count
    }

    /// What is said about each packet, in sequence order; [`Self::status_count`] items.
    #[must_use]
    pub fn entries(&self) -> TwccEntries<'a> {
        TwccEntries {
            symbols: Symbols {
                chunks: self.chunks,
                chunk: 0,
                chunk_left: 0,
            },
            deltas: self.deltas,
            seq: self.base_seq,
            left: self.status_count,
        }
    }
}

/// Iterator over what a feedback message says; see [`Twcc::entries`].
#[derive(Debug, Clone)]
pub struct TwccEntries<'a> {
    symbols: Symbols<'a>,
    deltas: &'a [u8],
    seq: u16,
    left: u16,
}

impl Iterator for TwccEntries<'_> {
    type Item = TwccEntry;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let symbol = self.symbols.next()?;
        let delta_250us = match symbol {
            Symbol::NotReceived => None,
            Symbol::SmallDelta => Some(i16::from(u8_at(self.deltas, 0)?)),
            Symbol::LargeDelta => Some(u16_at(self.deltas, 0)? as i16),
        };
        self.deltas = self.deltas.get(symbol.delta_len()..)?;
        let entry = TwccEntry {
            seq: self.seq,
            delta_250us,
        };
        self.seq = self.seq.wrapping_add(1);
        Some(entry)
    }
}

/// The two-bit status of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    NotReceived,
    SmallDelta,
    LargeDelta,
}

impl Symbol {
    /// `None` for the reserved value.
    fn from_bits(bits: u16) -> Option<Self> {
        match bits & 0b11 {
            0 => Some(Self::NotReceived),
            1 => Some(Self::SmallDelta),
            2 => Some(Self::LargeDelta),
            _ => None,
        }
    }

    /// Bytes its delta takes in the list.
    pub(super) fn delta_len(self) -> usize {
        match self {
            Self::NotReceived => 0,
            Self::SmallDelta => 1,
            Self::LargeDelta => 2,
        }
    }
}

/// One packet status chunk.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    /// The same symbol up to 8191 times.
    Run { symbol: u16, count: u16 },
    /// Fourteen one-bit symbols.
    OneBit,
    /// Seven two-bit symbols.
    TwoBit,
}

impl Chunk {
    fn new(chunk: u16) -> Self {
        match chunk >> 14 {
            0b10 => Self::OneBit,
            0b11 => Self::TwoBit,
            _ => Self::Run {
                symbol: chunk >> 13,
                count: chunk & 0x1fff,
            },
        }
    }

    fn count(self) -> u16 {
        match self {
            Self::Run { count, .. } => count,
            Self::OneBit => 14,
            Self::TwoBit => 7,
        }
    }

    /// The symbol with `left` more to come, itself included.
    fn symbol(self, chunk: u16, left: u16) -> Option<Symbol> {
        match self {
            Self::Run { symbol, .. } => Symbol::from_bits(symbol),
            Self::OneBit => Symbol::from_bits((chunk >> (left - 1)) & 1),
            Self::TwoBit => Symbol::from_bits(chunk >> (2 * (left - 1))),
        }
    }
}

/// The symbols of a chunk list one by one.
#[derive(Debug, Clone)]
struct Symbols<'a> {
    chunks: &'a [u8],
    chunk: u16,
    chunk_left: u16,
}

impl Symbols<'_> {
    fn next(&mut self) -> Option<Symbol> {
        // An empty run is legal and covers nothing: the list's length bounds this loop.
        while self.chunk_left == 0 {
            self.chunk = u16_at(self.chunks, 0)?;
            self.chunks = self.chunks.get(2..)?;
            self.chunk_left = Chunk::new(self.chunk).count();
        }
        let symbol = Chunk::new(self.chunk).symbol(self.chunk, self.chunk_left);
        self.chunk_left -= 1;
        symbol
    }
}

/// Lengths in bytes of the chunk list and of the delta list behind it.
///
/// `None` when `lists` ends before `status_count` packets are covered or a reserved symbol turns
/// up. Works chunk by chunk, so its cost follows the datagram's size and not the count announced.
fn measure(lists: &[u8], status_count: u16) -> Option<(usize, usize)> {
    let mut left = status_count;
    let mut chunks_len = 0;
    let mut deltas_len = 0;
    while left > 0 {
        let bits = u16_at(lists, chunks_len)?;
        chunks_len += 2;
        let chunk = Chunk::new(bits);
        let covered = chunk.count().min(left);
        deltas_len += match chunk {
            Chunk::Run { symbol, .. } => {
                Symbol::from_bits(symbol)?.delta_len() * usize::from(covered)
            }
            Chunk::OneBit | Chunk::TwoBit => {
                let lefts = (0..covered).map(|passed| chunk.count() - passed);
                lefts
                    .map(|left| Some(chunk.symbol(bits, left)?.delta_len()))
                    .sum::<Option<usize>>()?
            }
        };
        left -= covered;
    }
    Some((chunks_len, deltas_len))
}
