//! Writers: one RTCP packet each, appended by the caller to make a compound.
//!
//! All of them fill `out` from the front and return the length written, a multiple of four. A
//! compound is built by calling them one after the other on what is left of a buffer; RFC 3550
//! §6.1 wants a report first and an SDES with CNAME in it.

use std::fmt;

use super::report::{ReportBlock, SenderInfo};
use super::{FirEntry, format, packet_type, remb, sdes};
use crate::bits::Filler;

/// The packet does not fit the slice, or has more parts than its count field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSpace;

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no space left for the RTCP packet")
    }
}

impl std::error::Error for NoSpace {}

/// Writes a sender report with at most 31 report blocks: 28 + 24 per block bytes.
///
/// # Errors
/// [`NoSpace`] when `out` is too short or there are too many blocks.
///
/// Source: RFC 3550 §6.4.1.
pub fn sender_report(
    out: &mut [u8],
    info: &SenderInfo,
    blocks: &[ReportBlock],
) -> Result<usize, NoSpace> {
    packet(
        out,
        count(blocks.len())?,
        packet_type::SENDER_REPORT,
        |out| {
            out.put(&info.ssrc.to_be_bytes())?;
            out.put(&info.ntp_time.to_be_bytes())?;
            out.put(&info.rtp_time.to_be_bytes())?;
            out.put(&info.packet_count.to_be_bytes())?;
            out.put(&info.octet_count.to_be_bytes())?;
            blocks
                .iter()
                .try_for_each(|block| out.put(&block.to_bytes()))
        },
    )
}

/// Writes a receiver report with at most 31 report blocks: 8 + 24 per block bytes.
///
/// # Errors
/// [`NoSpace`] when `out` is too short or there are too many blocks.
///
/// Source: RFC 3550 §6.4.2.
pub fn receiver_report(
    out: &mut [u8],
    sender_ssrc: u32,
    blocks: &[ReportBlock],
) -> Result<usize, NoSpace> {
    packet(
        out,
        count(blocks.len())?,
        packet_type::RECEIVER_REPORT,
        |out| {
            out.put(&sender_ssrc.to_be_bytes())?;
            blocks
                .iter()
                .try_for_each(|block| out.put(&block.to_bytes()))
        },
    )
}

/// Writes a source description with one chunk that holds the canonical name, 1..=255 bytes.
///
/// # Errors
/// [`NoSpace`] when `out` is too short or the name too long.
///
/// Source: RFC 3550 §6.5.1.
pub fn sdes_cname(out: &mut [u8], ssrc: u32, cname: &[u8]) -> Result<usize, NoSpace> {
    let len = u8::try_from(cname.len()).map_err(|_| NoSpace)?;
    packet(out, 1, packet_type::SDES, |out| {
        out.put(&ssrc.to_be_bytes())?;
        out.put(&[sdes::CNAME, len])?;
        out.put(cname)?;
        // The item list ends with a zero byte; the padding to a word adds up to three more.
        out.put(&[0])
    })
}

/// Writes a goodbye for at most 31 streams: 4 + 4 per stream bytes.
///
/// # Errors
/// [`NoSpace`] when `out` is too short or there are too many streams.
///
/// Source: RFC 3550 §6.6.
pub fn bye(out: &mut [u8], ssrcs: &[u32]) -> Result<usize, NoSpace> {
    packet(out, count(ssrcs.len())?, packet_type::BYE, |out| {
        ssrcs
            .iter()
            .try_for_each(|ssrc| out.put(&ssrc.to_be_bytes()))
    })
}

/// Writes a picture loss indication: 12 bytes.
///
/// # Errors
/// [`NoSpace`] when `out` is too short.
///
/// Source: RFC 4585 §6.3.1.
pub fn pli(out: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> Result<usize, NoSpace> {
    packet(out, format::PLI, packet_type::PAYLOAD_FEEDBACK, |out| {
        out.put(&sender_ssrc.to_be_bytes())?;
        out.put(&media_ssrc.to_be_bytes())
    })
}

/// Writes a full intra request: 12 + 8 per entry bytes.
///
/// # Errors
/// [`NoSpace`] when `out` is too short.
///
/// Source: RFC 5104 §4.3.1 (the media source field is zero).
pub fn fir(out: &mut [u8], sender_ssrc: u32, entries: &[FirEntry]) -> Result<usize, NoSpace> {
    packet(out, format::FIR, packet_type::PAYLOAD_FEEDBACK, |out| {
        out.put(&sender_ssrc.to_be_bytes())?;
        out.put(&[0; 4])?;
        entries.iter().try_for_each(|entry| {
            out.put(&entry.ssrc.to_be_bytes())?;
            out.put(&[entry.command_seq, 0, 0, 0])
        })
    })
}

/// Writes a generic NACK: 12 bytes + 4 per pair.
///
/// `missing` is packed greedily: ascending (wrap-safe) input gives the fewest pairs, any order is
/// correct.
///
/// # Errors
/// [`NoSpace`] when `out` is too short.
///
/// Source: RFC 4585 §6.2.1.
pub fn nack(
    out: &mut [u8],
    sender_ssrc: u32,
    media_ssrc: u32,
    missing: impl IntoIterator<Item = u16>,
) -> Result<usize, NoSpace> {
    packet(out, format::NACK, packet_type::TRANSPORT_FEEDBACK, |out| {
        out.put(&sender_ssrc.to_be_bytes())?;
        out.put(&media_ssrc.to_be_bytes())?;
        let mut open: Option<(u16, u16)> = None;
        for seq in missing {
            if let Some((first, mask)) = &mut open {
                match seq.wrapping_sub(*first) {
                    0 => continue,
                    distance @ 1..=16 => {
                        *mask |= 1 << (distance - 1);
                        continue;
                    }
                    _ => put_pair(out, *first, *mask)?,
                }
            }
            open = Some((seq, 0));
        }
        open.map_or(Some(()), |(first, mask)| put_pair(out, first, mask))
    })
}

/// Writes a receiver estimate over at most 255 streams: 20 + 4 per stream bytes.
///
/// `bitrate_bps` is rounded down to 18 significant bits.
///
/// # Errors
/// [`NoSpace`] when `out` is too short or there are too many streams.
///
/// Source: draft-alvestrand-rmcat-remb-03 §2.2.
pub fn remb(
    out: &mut [u8],
    sender_ssrc: u32,
    bitrate_bps: u64,
    ssrcs: &[u32],
) -> Result<usize, NoSpace> {
    let count = u8::try_from(ssrcs.len()).map_err(|_| NoSpace)?;
    let [_, a, b, c] = remb::encode(bitrate_bps).to_be_bytes();
    packet(
        out,
        format::APPLICATION,
        packet_type::PAYLOAD_FEEDBACK,
        |out| {
            out.put(&sender_ssrc.to_be_bytes())?;
            out.put(&[0; 4])?;
            out.put(&remb::IDENTIFIER)?;
            out.put(&[count, a, b, c])?;
            ssrcs
                .iter()
                .try_for_each(|ssrc| out.put(&ssrc.to_be_bytes()))
        },
    )
}

/// Where transport-wide feedback starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwccStart {
    /// The transport-wide sequence number of the first packet reported on.
    pub base_seq: u16,
    /// The receiver's clock, in units of 64 ms; its lower 24 bits are sent.
    pub reference_time: i32,
    /// One more than in the message before, wrapping.
    pub feedback_count: u8,
}

/// Writes transport-wide feedback on at most 65535 packets: 20 bytes, 1 for each 3.5 to 7 packets, and
/// 1 or 2 for each that arrived.
///
/// `arrivals` has an item for each packet from [`TwccStart::base_seq`] on: `None` for one that is
/// missing, else the units of 250 µs since the last one that arrived, for the first of them since
/// [`TwccStart::reference_time`].
///
/// # Errors
/// [`NoSpace`] when `out` is too short or there are too many packets.
///
/// Source: draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
pub fn twcc(
    out: &mut [u8],
    sender_ssrc: u32,
    media_ssrc: u32,
    start: TwccStart,
    arrivals: impl Iterator<Item = Option<i16>> + Clone,
) -> Result<usize, NoSpace> {
    let count = u16::try_from(arrivals.clone().count()).map_err(|_| NoSpace)?;
    let [_, time @ ..] = start.reference_time.to_be_bytes();
    packet(out, format::TWCC, packet_type::TRANSPORT_FEEDBACK, |out| {
        out.put(&sender_ssrc.to_be_bytes())?;
        out.put(&media_ssrc.to_be_bytes())?;
        out.put(&start.base_seq.to_be_bytes())?;
        out.put(&count.to_be_bytes())?;
        out.put(&time)?;
        out.put(&[start.feedback_count])?;
        put_symbols(out, arrivals.clone().map(symbol))?;
        arrivals
            .flatten()
            .try_for_each(|delta| match u8::try_from(delta) {
                Ok(small) => out.put(&[small]),
                Err(_) => out.put(&delta.to_be_bytes()),
            })
    })
}

/// What a status chunk says of a packet (§3.1.1): missing, a delta of one byte, one of two.
fn symbol(arrival: Option<i16>) -> u16 {
    arrival.map_or(0, |delta| if u8::try_from(delta).is_ok() { 1 } else { 2 })
}

/// Status vector chunks (§3.1.4), of one bit a packet while no delta takes two bytes.
fn put_symbols(out: &mut Filler<'_>, symbols: impl Iterator<Item = u16> + Clone) -> Option<()> {
    let (head, per_chunk, bits) = if symbols.clone().all(|symbol| symbol < 2) {
        (0x8000, 14, 1)
    } else {
        (0xc000, 7, 2)
    };
    let mut symbols = symbols.peekable();
    while symbols.peek().is_some() {
        let chunk =
            (0..per_chunk).fold(0, |chunk, _| (chunk << bits) | symbols.next().unwrap_or(0));
        out.put(&(head | chunk).to_be_bytes())?;
    }
    Some(())
}

fn put_pair(out: &mut Filler<'_>, first: u16, mask: u16) -> Option<()> {
    out.put(&first.to_be_bytes())?;
    out.put(&mask.to_be_bytes())
}

/// The five-bit count field.
fn count(len: usize) -> Result<u8, NoSpace> {
    u8::try_from(len)
        .ok()
        .filter(|count| *count <= 31)
        .ok_or(NoSpace)
}

/// Frames a packet: header, body, zero padding to a word, length in words less one.
fn packet(
    out: &mut [u8],
    format: u8,
    packet_type: u8,
    body: impl FnOnce(&mut Filler<'_>) -> Option<()>,
) -> Result<usize, NoSpace> {
    let mut out = Filler::new(out);
    let fill = || {
        out.put(&[0x80 | format, packet_type, 0, 0])?;
        body(&mut out)?;
        out.pad_to_word()?;
        let words = u16::try_from(out.len() / 4 - 1).ok()?;
        out.patch(2, &words.to_be_bytes())?;
        Some(out.len())
    };
    fill().ok_or(NoSpace)
}
