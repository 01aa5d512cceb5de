//! Opening: protected packet in, plaintext in the caller's slice out.

use std::fmt;

use crate::key::{KeyError, MasterKey};
use crate::replay::{Sources, Verdict};
use crate::transform::{Protocol, RTCP_CLEAR_LEN, RtpParts, Transform};

/// Why a packet was not opened; it must be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// Too short for its header and tag, or not version 2.
    Malformed,
    /// The output slice is shorter than the plaintext packet.
    NoSpace,
    /// The tag is wrong: tampered with, another key, or not SRTP at all.
    Unauthentic,
    /// The index was received before.
    Replayed,
    /// The index lies behind the replay window.
    TooOld,
    /// An SRTCP packet without encryption, which WebRTC does not negotiate.
    Unencrypted,
    /// More SSRCs under this key than are remembered.
    TooManySources,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a protected packet",
            Self::NoSpace => "no space left for the plaintext",
            Self::Unauthentic => "authentication failed",
            Self::Replayed => "packet index received before",
            Self::TooOld => "packet index behind the replay window",
            Self::Unencrypted => "SRTCP packet is not encrypted",
            Self::TooManySources => "too many SSRCs under one key",
        })
    }
}

impl std::error::Error for OpenError {}

/// Opens SRTP packets of up to 64 SSRCs under one master key.
#[derive(Debug)]
pub struct SrtpOpener {
    transform: Transform,
    sources: Sources,
}

impl SrtpOpener {
    /// Derives the session keys.
    ///
    /// # Errors
    /// `Refused` when the cryptographic library does not take the key.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        let transform = Transform::new(master, Protocol::Srtp)?;
        Ok(Self {
            transform,
            sources: Sources::default(),
        })
    }

    /// Writes the plaintext packet (header and payload) to the front of `out`; returns its length.
    ///
    /// Shape: `packet` is one SRTP packet without MKI; `out` holds at least its length less
    /// [`Profile::rtp_overhead`](crate::Profile::rtp_overhead). Memory is used only at the first
    /// packet of an SSRC. State changes only after the tag was found right.
    ///
    /// # Errors
    /// See [`OpenError`]; `out` is unspecified after one.
    ///
    /// Source: RFC 3711 §3.3, §3.3.1 (index estimation), §3.3.2 (replay), RFC 7714 §8.
    pub fn open(&mut self, packet: &[u8], out: &mut [u8]) -> Result<usize, OpenError> {
        let clear_len = rtp_clear_len(packet).ok_or(OpenError::Malformed)?;
        let (header, rest) = packet
            .split_at_checked(clear_len)
            .ok_or(OpenError::Malformed)?;
        let body_len = rest.len().checked_sub(self.transform.tag_len());
        let (body, tag) = body_len
            .and_then(|len| rest.split_at_checked(len))
            .ok_or(OpenError::Malformed)?;
        let seq = be16(header, 2).ok_or(OpenError::Malformed)?;
        let ssrc = be32(header, 8).ok_or(OpenError::Malformed)?;
        let index = self.estimate_index(ssrc, seq)?;
        self.admit(ssrc, index)?;

        let opened_len = clear_len + body.len();
        let opened = out.get_mut(..opened_len).ok_or(OpenError::NoSpace)?;
        let (clear, payload) = opened.split_at_mut(clear_len);
        clear.copy_from_slice(header);
        let parts = RtpParts {
            header,
            ssrc,
            index,
        };
        let opened = self.transform.open_rtp(parts, body, tag, payload);
        opened.map_err(|_| OpenError::Unauthentic)?;
        self.sources.accept(ssrc, index);
        Ok(opened_len)
    }

    /// The extended sequence number of the newest packet received from `ssrc`.
    #[must_use]
    pub fn highest_index(&self, ssrc: u32) -> Option<u64> {
        self.sources
            .window(ssrc)
            .map(crate::replay::Window::highest)
    }

    /// RFC 3711 §3.3.1: the index nearest to the highest one received.
    fn estimate_index(&self, ssrc: u32, seq: u16) -> Result<u64, OpenError> {
        let Some(window) = self.sources.window(ssrc) else {
            return Ok(seq.into());
        };
        let highest = window.highest();
        let ahead = u64::from(seq.wrapping_sub(highest as u16));
        let index = if ahead < 0x8000 {
            highest + ahead
        } else {
            // Before the first wrap there is no earlier period: that is a packet from the past.
            (highest + ahead)
                .checked_sub(0x1_0000)
                .ok_or(OpenError::TooOld)?
        };
        if index < 1 << 48 {
            Ok(index)
        } else {
            Err(OpenError::TooOld)
        }
    }

    fn admit(&self, ssrc: u32, index: u64) -> Result<(), OpenError> {
        admit(&self.sources, ssrc, index)
    }
}

/// Opens SRTCP packets of up to 64 SSRCs under one master key.
#[derive(Debug)]
pub struct SrtcpOpener {
    transform: Transform,
    sources: Sources,
}

impl SrtcpOpener {
    /// Derives the session keys.
    ///
    /// # Errors
    /// `Refused` when the cryptographic library does not take the key.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        let transform = Transform::new(master, Protocol::Srtcp)?;
        Ok(Self {
            transform,
            sources: Sources::default(),
        })
    }

    /// Writes the plaintext compound to the front of `out`; returns its length.
    ///
    /// Shape: `packet` is one SRTCP packet without MKI; `out` holds at least its length less
    /// [`Profile::rtcp_overhead`](crate::Profile::rtcp_overhead). Memory is used only at the first
    /// packet of an SSRC. State changes only after the tag was found right.
    ///
    /// # Errors
    /// See [`OpenError`]; `out` is unspecified after one.
    ///
    /// Source: RFC 3711 §3.4, §3.3.2 (replay), RFC 7714 §9.
    pub fn open(&mut self, packet: &[u8], out: &mut [u8]) -> Result<usize, OpenError> {
        if packet.first().is_none_or(|first| first >> 6 != 2) {
            return Err(OpenError::Malformed);
        }
        let parts = self
            .transform
            .split_rtcp(packet)
            .ok_or(OpenError::Malformed)?;
        if !parts.is_encrypted {
            return Err(OpenError::Unencrypted);
        }
        let index = u64::from(parts.index);
        admit(&self.sources, parts.ssrc, index)?;

        let opened_len = RTCP_CLEAR_LEN + parts.body.len();
        let opened = out.get_mut(..opened_len).ok_or(OpenError::NoSpace)?;
        let (clear, plaintext) = opened.split_at_mut(RTCP_CLEAR_LEN);
        clear.copy_from_slice(parts.header);
        let opened = self.transform.open_rtcp(&parts, plaintext);
        opened.map_err(|_| OpenError::Unauthentic)?;
        self.sources.accept(parts.ssrc, index);
        Ok(opened_len)
    }
}

/// Refuses what would be thrown away after decryption anyway.
fn admit(sources: &Sources, ssrc: u32, index: u64) -> Result<(), OpenError> {
    match sources.window(ssrc).map(|window| window.check(index)) {
        Some(Verdict::Fresh) => Ok(()),
        Some(Verdict::Replayed) => Err(OpenError::Replayed),
        Some(Verdict::TooOld) => Err(OpenError::TooOld),
        None if sources.has_room() => Ok(()),
        None => Err(OpenError::TooManySources),
    }
}

/// Length of fixed header, CSRC list and extension block (RFC 3550 §5.1, §5.3.1).
fn rtp_clear_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let fixed = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 == 0 {
        return Some(fixed);
    }
    Some(fixed + 4 + 4 * usize::from(be16(packet, fixed + 2)?))
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
