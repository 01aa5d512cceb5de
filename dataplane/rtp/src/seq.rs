//! Sequence numbers and timestamps: unwrapping what arrives, renumbering what leaves.
//!
//! A viewer sees one continuous stream per track although its source may change (another layer,
//! another publisher) and packets may be left out (a temporal layer, padding). [`SeqMunger`] and
//! [`TimestampMunger`] do the renumbering; [`SeqExtender`] and [`TimestampExtender`] turn wire
//! values into numbers that do not wrap.

mod munger;
mod timestamp;

pub use munger::{Origin, SeqMunger};
pub use timestamp::TimestampMunger;

/// Whether `a` comes after `b`, at most half the number space ahead.
///
/// Exactly half the space apart counts as not newer, in both directions.
///
/// Source: RFC 1982 §3.2.
#[must_use]
pub fn is_newer_u16(a: u16, b: u16) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000
}

/// As [`is_newer_u16`] for 32-bit timestamps.
#[must_use]
pub fn is_newer_u32(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000_0000
}

/// Extends 16-bit sequence numbers to 64 bits.
///
/// The first value seen maps to `65536 + value`, so that packets reordered before it stay
/// positive. Later values map to the number nearest to the highest one so far.
///
/// Source: RFC 3711 §3.3.1, appendix A (index estimation).
#[derive(Debug, Clone, Default)]
pub struct SeqExtender {
    highest: Option<u64>,
}

impl SeqExtender {
    /// The extended number of `value`; moves forward when it is the newest.
    pub fn extend(&mut self, value: u16) -> u64 {
        let extended = self.peek(value);
        self.highest = self.highest.max(Some(extended));
        extended
    }

    /// The extended number of `value` without remembering it.
    #[must_use]
    pub fn peek(&self, value: u16) -> u64 {
        nearest(self.highest, u64::from(value), 1 << 16)
    }

    /// The highest extended number so far.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Extends 32-bit timestamps to 64 bits, in the same way as [`SeqExtender`].
#[derive(Debug, Clone, Default)]
pub struct TimestampExtender {
    highest: Option<u64>,
}

impl TimestampExtender {
    /// The extended number of `value`; moves forward when it is the newest.
    pub fn extend(&mut self, value: u32) -> u64 {
        let extended = nearest(self.highest, u64::from(value), 1 << 32);
        self.highest = self.highest.max(Some(extended));
        extended
    }

    /// The highest extended number so far.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// The number congruent to `value` modulo `modulus` that lies nearest to `reference`; `modulus` is
/// a power of two. Half a period ahead counts as behind, as in RFC 1982.
fn nearest(reference: Option<u64>, value: u64, modulus: u64) -> u64 {
    let Some(reference) = reference else {
        return modulus + value;
    };
    let ahead = value.wrapping_sub(reference) & (modulus - 1);
    if ahead < modulus / 2 {
        reference.saturating_add(ahead)
    } else {
        // Below the first period there is nothing earlier: take the number one period later.
        reference.checked_sub(modulus - ahead).unwrap_or(value)
    }
}

#[cfg(test)]
mod tests;
