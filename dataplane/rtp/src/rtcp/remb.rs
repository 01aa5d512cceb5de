//! Receiver estimated maximum bitrate.

use crate::bits::{u8_at, u24_at, u32_at};

/// What marks an application feedback message as REMB.
pub(super) const IDENTIFIER: [u8; 4] = *b"REMB";

/// A receiver's bandwidth estimate.
///
/// Source: draft-alvestrand-rmcat-remb-03 §2.2.
#[derive(Debug, Clone, Copy)]
pub struct Remb<'a> {
    sender_ssrc: u32,
    bitrate_bps: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    pub(super) fn is_remb(body: &[u8]) -> bool {
        body.get(8..12) == Some(&IDENTIFIER)
    }

    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let count = usize::from(u8_at(body, 12)?);
        let exponent_and_mantissa = u24_at(body, 13)?;
        let mantissa = u64::from(exponent_and_mantissa & 0x3_ffff);
        let exponent = exponent_and_mantissa >> 18;
        // 18 bits shifted by up to 63 places overflow: such an estimate means "no limit".
        let fits = mantissa.leading_zeros() >= exponent;
        let bitrate_bps = if fits { mantissa << exponent } else { u64::MAX };
        let ssrcs = body.get(16..16 + 4 * count)?;
        Some(Self {
            sender_ssrc: u32_at(body, 0)?,
            bitrate_bps,
            ssrcs,
        })
    }

    /// Who estimates.
    #[must_use]
    pub fn sender_ssrc(&self) -> u32 {
        self.sender_ssrc
    }

    /// The estimate in bits per second, over all named streams together.
    #[must_use]
    pub fn bitrate_bps(&self) -> u64 {
        self.bitrate_bps
    }

    /// The streams it covers, at most 255.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs
            .chunks_exact(4)
            .filter_map(|word| u32_at(word, 0))
    }
}

/// Exponent and mantissa of the largest expressible rate not above `bitrate_bps`.
pub(super) fn encode(bitrate_bps: u64) -> u32 {
    let bits = u64::BITS - bitrate_bps.leading_zeros();
    let exponent = bits.saturating_sub(18);
    let mantissa = (bitrate_bps >> exponent) as u32;
    (exponent << 18) | mantissa
}
