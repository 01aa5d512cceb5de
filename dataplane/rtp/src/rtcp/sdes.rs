//! Source descriptions and goodbyes.

use crate::bits::{u8_at, u32_at};

/// The item type of a canonical name (RFC 3550 §6.5.1).
pub(super) const CNAME: u8 = 1;

/// A source description.
///
/// Source: RFC 3550 §6.5.
#[derive(Debug, Clone, Copy)]
pub struct Sdes<'a> {
    chunks: &'a [u8],
}

/// One item of a source description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdesItem<'a> {
    /// Whom the item describes.
    pub ssrc: u32,
    /// The item type; 1 is CNAME.
    pub kind: u8,
    /// The value, 0..=255 bytes, not checked to be text.
    pub value: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { chunks: body }
    }

    /// All items of all chunks in order; a malformed chunk ends the walk.
    pub fn items(&self) -> impl Iterator<Item = SdesItem<'a>> + use<'a> {
        SdesItems {
            bytes: self.chunks,
            at: 0,
            ssrc: None,
        }
    }

    /// The canonical name given for `ssrc`.
    #[must_use]
    pub fn cname(&self, ssrc: u32) -> Option<&'a [u8]> {
        self.items()
            .find(|item| item.ssrc == ssrc && item.kind == CNAME)
            .map(|item| item.value)
    }
}

struct SdesItems<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The chunk being walked; none between chunks.
    ssrc: Option<u32>,
}

impl<'a> Iterator for SdesItems<'a> {
    type Item = SdesItem<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // Every turn moves `at` forward, so this ends with the packet.
        loop {
            let Some(ssrc) = self.ssrc else {
                self.ssrc = Some(u32_at(self.bytes, self.at)?);
                self.at += 4;
                continue;
            };
            let kind = u8_at(self.bytes, self.at)?;
            if kind == 0 {
                // The list ends with at least one zero byte and is padded to a word.
                self.at = (self.at + 1).next_multiple_of(4);
                self.ssrc = None;
                continue;
            }
            let len = usize::from(u8_at(self.bytes, self.at + 1)?);
            let value = self.bytes.get(self.at + 2..self.at + 2 + len)?;
            self.at += 2 + len;
            return Some(SdesItem { ssrc, kind, value });
        }
    }
}

/// A goodbye.
///
/// Source: RFC 3550 §6.6.
#[derive(Debug, Clone, Copy)]
pub struct Bye<'a> {
    sources: &'a [u8],
    reason: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let sources_len = 4 * usize::from(count);
        let sources = body.get(..sources_len)?;
        let reason = match u8_at(body, sources_len) {
            Some(len) => body.get(sources_len + 1..sources_len + 1 + usize::from(len))?,
            None => &[],
        };
        Some(Self { sources, reason })
    }

    /// The streams that end, at most 31.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.sources
            .chunks_exact(4)
            .filter_map(|word| u32_at(word, 0))
    }

    /// The reason given, 0..=255 bytes, not checked to be text.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        self.reason
    }
}
