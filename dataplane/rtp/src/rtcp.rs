//! RTCP: compound packets read without allocation, and written into a caller's slice.
//!
//! [`Compound`] walks the packets of one plaintext RTCP datagram. Each kind has a view that borrows
//! the datagram and iterates over its parts; [`mod@write`] has the other direction. SRTCP is removed
//! before and added after, by `whitewater-srtp`.

mod feedback;
mod remb;
mod report;
mod sdes;
mod twcc;
pub mod write;
mod xr;

use std::fmt;

use crate::bits::{u8_at, u16_at};

pub use feedback::{Fir, FirEntry, Nack, Pli};
pub use remb::Remb;
pub use report::{ReceiverReport, ReportBlock, SenderInfo, SenderReport};
pub use sdes::{Bye, Sdes, SdesItem};
pub use twcc::{Twcc, TwccEntries, TwccEntry};
pub use xr::{DlrrEntries, DlrrEntry, Xr, XrBlock};

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
pub mod packet_type {
    /// Sender report.
    pub const SENDER_REPORT: u8 = 200;
    /// Receiver report.
    pub const RECEIVER_REPORT: u8 = 201;
    /// Source description.
    pub const SDES: u8 = 202;
    /// Goodbye.
    pub const BYE: u8 = 203;
    /// Transport-layer feedback.
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    /// Payload-specific feedback.
    pub const PAYLOAD_FEEDBACK: u8 = 206;
    /// Extended report.
    pub const EXTENDED_REPORT: u8 = 207;
}

/// Feedback message types used with [`packet_type::TRANSPORT_FEEDBACK`] and
/// [`packet_type::PAYLOAD_FEEDBACK`].
pub(crate) mod format {
    pub(crate) const NACK: u8 = 1;
    pub(crate) const TWCC: u8 = 15;
    pub(crate) const PLI: u8 = 1;
    pub(crate) const FIR: u8 = 4;
    pub(crate) const APPLICATION: u8 = 15;
}

/// Why a datagram is not (or not further) readable as RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtcpError {
    /// A packet ends before its length field or its fixed fields say so.
    TooShort,
    /// The version field is not 2; carries what it was.
    Version(u8),
    /// The padding count does not fit, or padding is set on a packet before the last.
    Padding,
    /// A part inside a packet is malformed; carries the packet type.
    Malformed(u8),
}

impl fmt::Display for RtcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "RTCP packet ends early"),
            Self::Version(version) => write!(f, "RTCP version {version} instead of 2"),
            Self::Padding => write!(f, "RTCP padding does not fit"),
            Self::Malformed(kind) => write!(f, "RTCP packet of type {kind} is malformed"),
        }
    }
}

impl std::error::Error for RtcpError {}

/// One RTCP packet out of a compound.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// Sender report.
    SenderReport(SenderReport<'a>),
    /// Receiver report.
    ReceiverReport(ReceiverReport<'a>),
    /// Source description.
    Sdes(Sdes<'a>),
    /// Goodbye.
    Bye(Bye<'a>),
    /// Picture loss indication.
    Pli(Pli),
    /// Full intra request.
    Fir(Fir<'a>),
    /// Generic negative acknowledgement.
    Nack(Nack<'a>),
    /// Receiver estimated maximum bitrate.
    Remb(Remb<'a>),
    /// Transport-wide congestion control feedback.
    Twcc(Twcc<'a>),
    /// Extended report.
    Xr(Xr<'a>),
    /// Anything else, well framed.
    Unknown {
        /// The packet type.
        packet_type: u8,
        /// Count, subtype or feedback format: the low five bits of the first byte.
        format: u8,
        /// What follows the four-byte header, without padding.
        body: &'a [u8],
    },
}

/// Iterator over the packets of one RTCP datagram.
///
/// Shape: plaintext, compound or reduced-size. Each item consumes at least four bytes; after an
/// error of framing (`TooShort`, `Version`, `Padding`) the iterator ends, after `Malformed` it goes
/// on with the next packet.
///
/// Source: RFC 3550 §6.1 and appendix A.2, RFC 5506 (reduced size: the first packet may be any).
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    /// A walk over `datagram`.
    #[must_use]
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// Cuts the first packet off: first byte, type and unpadded body.
    fn cut(&mut self) -> Result<(u8, u8, &'a [u8]), RtcpError> {
        let first = u8_at(self.rest, 0).ok_or(RtcpError::TooShort)?;
        if first >> 6 != 2 {
            return Err(RtcpError::Version(first >> 6));
        }
        let packet_type = u8_at(self.rest, 1).ok_or(RtcpError::TooShort)?;
        let words = u16_at(self.rest, 2).ok_or(RtcpError::TooShort)?;
        let end = 4 + 4 * usize::from(words);
        let mut body = self.rest.get(4..end).ok_or(RtcpError::TooShort)?;
        self.rest = self.rest.get(end..).unwrap_or_default();
        if first & 0x20 != 0 {
            // RFC 3550 §6.4.1: only the last packet of a compound may be padded.
            let count = usize::from(body.last().copied().unwrap_or(0));
            let len = body
                .len()
                .checked_sub(count)
                .filter(|_| count > 0 && self.rest.is_empty());
            body = len
                .and_then(|len| body.get(..len))
                .ok_or(RtcpError::Padding)?;
        }
        Ok((first & 0x1f, packet_type, body))
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (format, packet_type, body) = match self.cut() {
            Ok(parts) => parts,
            Err(error) => {
                self.rest = &[];
                return Some(Err(error));
            }
        };
        let packet = read(format, packet_type, body);
        Some(packet.ok_or(RtcpError::Malformed(packet_type)))
    }
}

fn read(format: u8, packet_type: u8, body: &[u8]) -> Option<Packet<'_>> {
    let packet = match (packet_type, format) {
        (packet_type::SENDER_REPORT, count) => {
            Packet::SenderReport(SenderReport::parse(count, body)?)
        }
        (packet_type::RECEIVER_REPORT, count) => {
            Packet::ReceiverReport(ReceiverReport::parse(count, body)?)
        }
        (packet_type::SDES, _) => Packet::Sdes(Sdes::new(body)),
        (packet_type::BYE, count) => Packet::Bye(Bye::parse(count, body)?),
        (packet_type::TRANSPORT_FEEDBACK, format::NACK) => Packet::Nack(Nack::parse(body)?),
        (packet_type::TRANSPORT_FEEDBACK, format::TWCC) => Packet::Twcc(Twcc::parse(body)?),
        (packet_type::PAYLOAD_FEEDBACK, format::PLI) => Packet::Pli(Pli::parse(body)?),
        (packet_type::PAYLOAD_FEEDBACK, format::FIR) => Packet::Fir(Fir::parse(body)?),
        (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION) if Remb::is_remb(body) => {
            Packet::Remb(Remb::parse(body)?)
        }
        (packet_type::EXTENDED_REPORT, _) => Packet::Xr(Xr::parse(body)?),
        (packet_type, format) => Packet::Unknown {
            packet_type,
            format,
            body,
        },
    };
    Some(packet)
}

#[cfg(test)]
mod tests;
