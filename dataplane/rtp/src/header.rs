//! The RTP fixed header, its CSRC list and its header extensions.
//!
//! [`RtpHeader`] reads only what stays in the clear under SRTP, so it also serves packets that are
//! still encrypted; [`RtpPacket`] adds payload and padding of a plaintext packet.
//! [`HeaderWriter`] writes a header with extensions into a caller's slice.

use std::fmt;

use crate::bits::{Filler, u8_at, u16_at, u32_at};

/// Length of the fixed header in bytes.
///
/// Source: RFC 3550 §5.1.
pub const FIXED_HEADER_LEN: usize = 12;

/// Profile value announcing one-byte extension elements (RFC 8285 §4.2).
const PROFILE_ONE_BYTE: u16 = 0xbede;

/// Profile values announcing two-byte extension elements; the low four bits are "appbits"
/// (RFC 8285 §4.3).
const PROFILE_TWO_BYTE: u16 = 0x1000;

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer bytes than the header announces.
    TooShort,
    /// The version field is not 2; carries what it was.
    Version(u8),
    /// The padding count is zero or larger than what follows the header.
    Padding(u8),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "packet ends inside its RTP header"),
            Self::Version(version) => write!(f, "RTP version {version} instead of 2"),
            Self::Padding(count) => write!(f, "padding count {count} does not fit the packet"),
        }
    }
}

impl std::error::Error for HeaderError {}

/// A view of an RTP header inside a received packet.
#[derive(Clone, Copy)]
pub struct RtpHeader<'a> {
    /// The header alone: fixed part, CSRC list and extension block.
    bytes: &'a [u8],
    /// Where the CSRC list ends and the extension block, if any, starts.
    extension_at: usize,
}

impl<'a> RtpHeader<'a> {
    /// Reads the header at the start of `packet`.
    ///
    /// Shape: `packet` is a whole RTP or SRTP packet; only the part SRTP leaves in the clear is
    /// looked at, so padding is neither checked nor removed. The view borrows `packet`.
    ///
    /// # Errors
    /// `TooShort` when the header, the CSRC list or the extension block runs over the end,
    /// `Version` when the packet is not RTP version 2.
    ///
    /// Source: RFC 3550 §5.1, §5.3.1.
    pub fn parse(packet: &'a [u8]) -> Result<Self, HeaderError> {
        let first = u8_at(packet, 0).ok_or(HeaderError::TooShort)?;
        if first >> 6 != 2 {
            return Err(HeaderError::Version(first >> 6));
        }
        let extension_at = FIXED_HEADER_LEN + 4 * usize::from(first & 0x0f);
        let mut header_len = extension_at;
        if first & 0x10 != 0 {
            let words = u16_at(packet, extension_at + 2).ok_or(HeaderError::TooShort)?;
            header_len += 4 + 4 * usize::from(words);
        }
        let bytes = packet.get(..header_len).ok_or(HeaderError::TooShort)?;
        Ok(Self {
            bytes,
            extension_at,
        })
    }

    /// The marker bit.
    #[must_use]
    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// The payload type, 0..=127.
    #[must_use]
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// The 16-bit sequence number as sent.
    #[must_use]
    pub fn sequence_number(&self) -> u16 {
        u16_at(self.bytes, 2).unwrap_or_default()
    }

    /// The media timestamp in units of the payload's clock rate.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        u32_at(self.bytes, 4).unwrap_or_default()
    }

    /// The synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        u32_at(self.bytes, 8).unwrap_or_default()
    }

    /// Whether the padding bit is set.
    #[must_use]
    pub fn has_padding(&self) -> bool {
        self.bytes[0] & 0x20 != 0
    }

    /// The contributing sources, at most 15.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let list = self
            .bytes
            .get(FIXED_HEADER_LEN..self.extension_at)
            .unwrap_or_default();
        list.chunks_exact(4).filter_map(|word| u32_at(word, 0))
    }

    /// Length in bytes of fixed header, CSRC list and extension block together.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.bytes.len()
    }

    /// The header's bytes: what SRTP authenticates but does not encrypt.
    #[must_use]
    pub fn header_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The profile field of the extension block, if there is one.
    #[must_use]
    pub fn extension_profile(&self) -> Option<u16> {
        u16_at(self.bytes, self.extension_at)
    }

    /// The extension elements as `(id, value)`, in wire order.
    ///
    /// Values are 1..=16 bytes in the one-byte form and 0..=255 in the two-byte form. Padding is
    /// passed over; a malformed element ends the walk. Blocks of other profiles yield nothing.
    ///
    /// Source: RFC 8285 §4.2, §4.3.
    #[must_use]
    pub fn extensions(&self) -> Extensions<'a> {
        let form = match self.extension_profile() {
            Some(PROFILE_ONE_BYTE) => Some(ExtensionForm::OneByte),
            Some(profile) if profile & 0xfff0 == PROFILE_TWO_BYTE => Some(ExtensionForm::TwoByte),
            _ => None,
        };
        let rest = match form {
            Some(_) => self.bytes.get(self.extension_at + 4..).unwrap_or_default(),
            None => &[],
        };
        Extensions {
            rest,
            form: form.unwrap_or(ExtensionForm::OneByte),
        }
    }

    /// The value of the first extension element with this id.
    #[must_use]
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions()
            .find(|(found, _)| *found == id)
            .map(|(_, value)| value)
    }
}

impl fmt::Debug for RtpHeader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpHeader")
            .field("marker", &self.marker())
            .field("payload_type", &self.payload_type())
            .field("sequence_number", &self.sequence_number())
            .field("timestamp", &self.timestamp())
            .field("ssrc", &self.ssrc())
            .field("header_len", &self.header_len())
            .finish()
    }
}

/// A plaintext RTP packet: header, payload, padding.
#[derive(Debug, Clone, Copy)]
pub struct RtpPacket<'a> {
    header: RtpHeader<'a>,
    payload: &'a [u8],
    padding_len: u8,
}

impl<'a> RtpPacket<'a> {
    /// Splits a plaintext packet.
    ///
    /// Shape: `packet` is one whole RTP packet without SRTP tag. The payload excludes padding and
    /// may be empty (a padding-only probe).
    ///
    /// # Errors
    /// As [`RtpHeader::parse`]; `Padding` when the P bit is set and the count in the last byte is
    /// zero or larger than what follows the header.
    ///
    /// Source: RFC 3550 §5.1.
    pub fn parse(packet: &'a [u8]) -> Result<Self, HeaderError> {
        let header = RtpHeader::parse(packet)?;
        let body = packet.get(header.header_len()..).unwrap_or_default();
        if !header.has_padding() {
            return Ok(Self {
                header,
                payload: body,
                padding_len: 0,
            });
        }
        let count = body.last().copied().unwrap_or(0);
        let payload_len = body.len().checked_sub(usize::from(count));
        match payload_len.and_then(|len| body.get(..len)) {
            Some(payload) if count > 0 => Ok(Self {
                header,
                payload,
                padding_len: count,
            }),
            _ => Err(HeaderError::Padding(count)),
        }
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &RtpHeader<'a> {
        &self.header
    }

    /// The payload without padding.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Number of padding bytes, the count byte included; 0 without padding.
    #[must_use]
    pub fn padding_len(&self) -> u8 {
        self.padding_len
    }
}

/// Iterator over extension elements; see [`RtpHeader::extensions`].
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    rest: &'a [u8],
    form: ExtensionForm,
}

impl<'a> Extensions<'a> {
    /// Cuts `len` bytes of value after a prefix of `prefix` bytes; ends the walk if they are short.
    fn cut(&mut self, prefix: usize, len: usize) -> Option<&'a [u8]> {
        let value = self.rest.get(prefix..prefix + len);
        self.rest = self.rest.get(prefix + len..).unwrap_or_default();
        value
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Every turn consumes at least one byte, so this ends with the block.
        loop {
            let first = *self.rest.first()?;
            if first == 0 {
                self.rest = self.rest.get(1..)?;
                continue;
            }
            let (id, prefix, len) = match self.form {
                ExtensionForm::OneByte => (first >> 4, 1, usize::from(first & 0x0f) + 1),
                ExtensionForm::TwoByte => (first, 2, usize::from(*self.rest.get(1)?)),
            };
            if self.form == ExtensionForm::OneByte {
                // RFC 8285 §4.2: id 15 ends the processing; an element with id 0 and a length is
                // passed over.
                if id == 15 {
                    self.rest = &[];
                    return None;
                }
                if id == 0 {
                    self.cut(prefix, len)?;
                    continue;
                }
            }
            return self.cut(prefix, len).map(|value| (id, value));
        }
    }
}

/// How extension elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtensionForm {
    /// Ids 1..=14, values of 1..=16 bytes (RFC 8285 §4.2).
    OneByte,
    /// Ids 1..=255, values of 0..=255 bytes (RFC 8285 §4.3).
    TwoByte,
}

/// The fixed header's fields as a sender sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFields {
    /// The marker bit.
    pub marker: bool,
    /// The payload type; only the low seven bits are written.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence_number: u16,
    /// The media timestamp in clock-rate units.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
}

/// Why a header could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The slice is full.
    NoSpace,
    /// The id or the value's length cannot be expressed in the chosen form.
    Extension {
        /// The element's id.
        id: u8,
        /// The value's length in bytes.
        len: usize,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => write!(f, "no space left for the header"),
            Self::Extension { id, len } => {
                write!(
                    f,
                    "extension id {id} with {len} bytes does not fit the chosen form"
                )
            }
        }
    }
}

impl std::error::Error for WriteError {}

/// Writes a header with extensions into a caller's slice.
pub struct HeaderWriter<'a> {
    out: Filler<'a>,
    form: ExtensionForm,
}

impl<'a> HeaderWriter<'a> {
    /// Writes the fixed header: version 2, no padding, no CSRC.
    ///
    /// Shape: `out` must hold 12 bytes plus, with extensions, 4 + the elements rounded up to a
    /// multiple of four. It is filled from the front.
    ///
    /// # Errors
    /// `NoSpace` when `out` is shorter than the fixed header.
    ///
    /// Source: RFC 3550 §5.1.
    pub fn new(
        out: &'a mut [u8],
        fields: HeaderFields,
        form: ExtensionForm,
    ) -> Result<Self, WriteError> {
        let mut fixed = [0; FIXED_HEADER_LEN];
        fixed[0] = 0x80;
        fixed[1] = (u8::from(fields.marker) << 7) | (fields.payload_type & 0x7f);
        fixed[2..4].copy_from_slice(&fields.sequence_number.to_be_bytes());
        fixed[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
        let mut out = Filler::new(out);
        out.put(&fixed).ok_or(WriteError::NoSpace)?;
        Ok(Self { out, form })
    }

    /// Sets the padding bit; the caller appends the padding itself.
    #[must_use]
    pub fn with_padding(mut self) -> Self {
        if let Some(first) = self.out.byte(0) {
            // The fixed header was written by `new`, so the patch always fits.
            let _ = self.out.patch(0, &[first | 0x20]);
        }
        self
    }

    /// Appends one extension element; the first one opens the block.
    ///
    /// # Errors
    /// `Extension` when id or length do not fit the form, `NoSpace` when the slice is full. After
    /// `NoSpace` the header is unfinished and must be thrown away.
    ///
    /// Source: RFC 8285 §4.2, §4.3.
    pub fn extension(&mut self, id: u8, value: &[u8]) -> Result<(), WriteError> {
        let (prefix, prefix_len) = self.prefix(id, value.len())?;
        self.open_block().ok_or(WriteError::NoSpace)?;
        let written = self
            .out
            .put(&prefix[..prefix_len])
            .and_then(|()| self.out.put(value));
        written.ok_or(WriteError::NoSpace)
    }

    /// Pads the extension block, writes its length and returns the header's length in bytes.
    ///
    /// # Errors
    /// `NoSpace` when the padding does not fit.
    pub fn finish(mut self) -> Result<usize, WriteError> {
        if self.out.len() > FIXED_HEADER_LEN {
            self.out.pad_to_word().ok_or(WriteError::NoSpace)?;
            let words = (self.out.len() - FIXED_HEADER_LEN - 4) / 4;
            let words = u16::try_from(words).map_err(|_| WriteError::NoSpace)?;
            let patched = self.out.patch(FIXED_HEADER_LEN + 2, &words.to_be_bytes());
            patched.ok_or(WriteError::NoSpace)?;
        }
        Ok(self.out.len())
    }

    fn prefix(&self, id: u8, len: usize) -> Result<([u8; 2], usize), WriteError> {
        let refused = WriteError::Extension { id, len };
        match (self.form, u8::try_from(len)) {
            (ExtensionForm::OneByte, Ok(len @ 1..=16)) if (1..=14).contains(&id) => {
                Ok(([(id << 4) | (len - 1), 0], 1))
            }
            (ExtensionForm::TwoByte, Ok(len)) if id != 0 => Ok(([id, len], 2)),
            _ => Err(refused),
        }
    }

    fn open_block(&mut self) -> Option<()> {
        if self.out.len() > FIXED_HEADER_LEN {
            return Some(());
        }
        let profile = match self.form {
            ExtensionForm::OneByte => PROFILE_ONE_BYTE,
            ExtensionForm::TwoByte => PROFILE_TWO_BYTE,
        };
        let [high, low] = profile.to_be_bytes();
        self.out.put(&[high, low, 0, 0])?;
        let first = self.out.byte(0)?;
        self.out.patch(0, &[first | 0x10])
    }
}

#[cfg(test)]
mod tests;
