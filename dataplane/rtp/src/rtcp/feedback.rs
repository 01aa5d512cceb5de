//! PLI, FIR and generic NACK.

use crate::bits::{u8_at, u16_at, u32_at};

/// A picture loss indication: the receiver asks for a key frame.
///
/// Source: RFC 4585 §6.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The stream asked for.
    pub media_ssrc: u32,
}

impl Pli {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        Some(Self {
            sender_ssrc: u32_at(body, 0)?,
            media_ssrc: u32_at(body, 4)?,
        })
    }
}

/// A full intra request.
///
/// Source: RFC 5104 §4.3.1.
#[derive(Debug, Clone, Copy)]
pub struct Fir<'a> {
    sender_ssrc: u32,
    entries: &'a [u8],
}

/// One stream asked for by a FIR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntry {
    /// The stream.
    pub ssrc: u32,
    /// The request's number; a repetition has the same one.
    pub command_seq: u8,
}

impl<'a> Fir<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        Some(Self {
            sender_ssrc: u32_at(body, 0)?,
            entries: body.get(8..)?,
        })
    }

    /// Who asks.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The streams asked for; bounded by the datagram's size.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + use<'a> {
        self.entries.chunks_exact(8).filter_map(|entry| {
            Some(FirEntry {
                ssrc: u32_at(entry, 0)?,
                command_seq: u8_at(entry, 4)?,
            })
        })
    }
}

/// A generic negative acknowledgement.
///
/// Source: RFC 4585 §6.2.1.
#[derive(Debug, Clone, Copy)]
pub struct Nack<'a> {
    sender_ssrc: u32,
    media_ssrc: u32,
    pairs: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let pairs = body.get(8..)?;
        Some(Self {
            sender_ssrc: u32_at(body, 0)?,
            media_ssrc: u32_at(body, 4)?,
            pairs,
        })
    }

    /// Who asks.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The stream with missing packets.
    #[must_use]
    pub fn media_ssrc(&self) -> u32 {
        self.media_ssrc
    }

    /// The pairs as sent: first missing packet, bit mask of the sixteen after it.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        let pairs = self.pairs.chunks_exact(4);
        pairs.filter_map(|pair| Some((u16_at(pair, 0)?, u16_at(pair, 2)?)))
    }

    /// The missing sequence numbers, in the order named.
    ///
    /// Up to 17 per pair, so some 6000 for a full datagram: the caller bounds how many it answers.
    /// A hostile list may repeat numbers.
    pub fn sequence_numbers(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs().flat_map(|(first, mask)| {
            let followers = (0..16).filter(move |bit| mask & (1 << bit) != 0);
            let followers = followers.map(move |bit| first.wrapping_add(bit + 1));
            std::iter::once(first).chain(followers)
        })
    }
}
