//! Sealing: plaintext in, protected packet in the caller's slice out.

use std::fmt;

use crate::key::{KeyError, MasterKey};
use crate::replay::{Verdict, Window};
use crate::transform::{Protocol, RTCP_CLEAR_LEN, RtpParts, Transform};

/// Why a packet was not sealed; nothing may be sent then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The output slice is shorter than the sealed packet.
    NoSpace,
    /// The header is shorter than 12 bytes, or names another SSRC or sequence number than the
    /// arguments; or the RTCP compound is shorter than 8 bytes.
    Malformed,
    /// The index has reached its end under this key: 2⁴⁸ for SRTP, 2³¹ for SRTCP.
    IndexExhausted,
    /// A packet of this source was sealed under this index before, or may have been.
    IndexUsed,
    /// The cryptographic library refused.
    Refused,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "no space left for the sealed packet",
            Self::Malformed => "header and arguments do not belong together",
            Self::IndexExhausted => "no packet index left under this key",
            Self::IndexUsed => "a packet was sealed under this index before",
            Self::Refused => "sealing was refused by the cryptographic library",
        })
    }
}

impl std::error::Error for SealError {}

/// Seals RTP packets of any number of SSRCs under one master key.
#[derive(Debug)]
pub struct SrtpSealer {
    transform: Transform,
}

impl SrtpSealer {
    /// Derives the session keys.
    ///
    /// # Errors
    /// `Refused` when the cryptographic library does not take the key.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self {
            transform: Transform::new(master, Protocol::Srtp)?,
        })
    }

    /// Writes the sealed packet (header, ciphertext, tag) to the front of `out`; returns its length.
    ///
    /// Shape: `header` is the RTP header with CSRCs and extensions, `payload` everything after it,
    /// padding included. `out` holds at least both and
    /// [`Profile::rtp_overhead`](crate::Profile::rtp_overhead) bytes. Neither allocates nor copies
    /// the payload other than by encrypting it (GCM).
    ///
    /// Units: `index` is the extended sequence number, below 2⁴⁸; its low 16 bits are the header's
    /// sequence number.
    ///
    /// **An (SSRC, index) pair must never be sealed twice under one key** with different bytes: a
    /// repeated GCM nonce gives the key stream away. This type keeps no state to notice:
    /// [`seal_once`](Self::seal_once) does.
    ///
    /// # Errors
    /// See [`SealError`]; `out` is unspecified after one.
    ///
    /// Source: RFC 3711 §3.3, RFC 7714 §8. A one-pass call costs no more than sealing in place
    /// (see `benches/seal.rs`).
    #[inline]
    pub fn seal(
        &self,
        header: &[u8],
        payload: &[u8],
        ssrc: u32,
        index: u64,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        if index >= RTP_INDEX_END {
            return Err(SealError::IndexExhausted);
        }
        let names = |at: usize, field: &[u8]| header.get(at..at + field.len()) == Some(field);
        if !names(2, &(index as u16).to_be_bytes()) || !names(8, &ssrc.to_be_bytes()) {
            return Err(SealError::Malformed);
        }
        let tag_len = self.transform.tag_len();
        let sealed_len = header.len() + payload.len() + tag_len;
        let sealed = out.get_mut(..sealed_len).ok_or(SealError::NoSpace)?;
        let (clear, rest) = sealed.split_at_mut(header.len());
        let (body, tag) = rest.split_at_mut(payload.len());
        clear.copy_from_slice(header);
        let parts = RtpParts {
            header,
            ssrc,
            index,
        };
        let sealed = self.transform.seal_rtp(parts, payload, body, tag);
        sealed.map_err(|_| SealError::Refused)?;
        Ok(sealed_len)
    }

    /// [`seal`](Self::seal) under an index of `source` that was never used before.
    ///
    /// The index counts as used from here on even if sealing fails, so nothing can be sealed twice
    /// under it, whatever the caller does. It may lie up to 1023 below the highest one used, for
    /// packets that come late.
    ///
    /// # Errors
    /// As [`seal`](Self::seal), and [`SealError::IndexUsed`].
    ///
    /// Source: RFC 3711 §9.1, RFC 7714 §8.1 (what a repeated nonce costs).
    #[inline]
    pub fn seal_once(
        &self,
        source: &mut SrtpSource,
        header: &[u8],
        payload: &[u8],
        index: u64,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        source.use_up(index)?;
        self.seal(header, payload, source.ssrc, index, out)
    }
}

/// One SSRC that packets are sealed under with one key: which of its indices are used up.
///
/// There is one such value per SSRC and key; who owns it is who may send under that SSRC.
#[derive(Debug)]
pub struct SrtpSource {
    ssrc: u32,
    used: Option<Window>,
}

impl SrtpSource {
    /// A source under which nothing was sealed.
    #[must_use]
    pub fn new(ssrc: u32) -> Self {
        Self { ssrc, used: None }
    }

    /// The synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The highest index used; `None` while nothing was sealed.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.used.as_ref().map(Window::highest)
    }

    #[inline]
    fn use_up(&mut self, index: u64) -> Result<(), SealError> {
        match &mut self.used {
            Some(window) if window.check(index) == Verdict::Fresh => window.accept(index),
            Some(_) => return Err(SealError::IndexUsed),
            None => self.used = Some(Window::new(index)),
        }
        Ok(())
    }
}

/// Seals RTCP compounds of any number of SSRCs under one master key.
#[derive(Debug)]
pub struct SrtcpSealer {
    transform: Transform,
    /// One counter for all SSRCs: unique per key is more than the per-SSRC uniqueness required.
    next_index: u32,
}

impl SrtcpSealer {
    /// Derives the session keys; the index starts at zero.
    ///
    /// # Errors
    /// `Refused` when the cryptographic library does not take the key.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self {
            transform: Transform::new(master, Protocol::Srtcp)?,
            next_index: 0,
        })
    }

    /// Writes the sealed compound to the front of `out`; returns its length.
    ///
    /// Shape: `compound` is one or more plaintext RTCP packets, at least 8 bytes; the SSRC in its
    /// first packet identifies it. `out` holds
    /// [`Profile::rtcp_overhead`](crate::Profile::rtcp_overhead) bytes more. Each call uses up one
    /// index. Nobody else may seal RTCP for the same SSRC under the same key.
    ///
    /// # Errors
    /// See [`SealError`]; `IndexExhausted` for ever after 2³¹ calls.
    ///
    /// Source: RFC 3711 §3.4 and §9.2 (key lifetime), RFC 7714 §9.
    pub fn seal(&mut self, compound: &[u8], out: &mut [u8]) -> Result<usize, SealError> {
        let index = self.next_index;
        if index >= RTCP_INDEX_END {
            return Err(SealError::IndexExhausted);
        }
        let ssrc = compound
            .get(4..RTCP_CLEAR_LEN)
            .and_then(|field| field.try_into().ok());
        let ssrc = u32::from_be_bytes(ssrc.ok_or(SealError::Malformed)?);
        if out.len() < compound.len() + self.transform.tag_len() + 4 {
            return Err(SealError::NoSpace);
        }
        // Counted before use: an index is never tried twice, whatever happens.
        self.next_index += 1;
        self.transform
            .seal_rtcp(compound, ssrc, index, out)
            .map_err(|_| SealError::Refused)
    }

    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, index: u32) {
        self.next_index = index;
    }
}

/// RFC 3711 §3.3.1: rollover counter and sequence number make 48 bits.
const RTP_INDEX_END: u64 = 1 << 48;

/// RFC 3711 §3.4: the SRTCP index has 31 bits.
const RTCP_INDEX_END: u32 = 1 << 31;
