//! Telling the protocols on one port apart, and the little of STUN needed to route a packet.
//!
//! [`classify`] looks at two bytes. [`StunView`] reads what a session look-up needs (request or
//! not, USERNAME, transaction id) without checking integrity: that is ICE's business, and it has
//! the password.

use crate::bits::{u16_at, u32_at};

/// What a datagram on a media port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// STUN: connectivity checks.
    Stun,
    /// DTLS records.
    Dtls,
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
    /// None of these, or too short to be one.
    Unknown,
}

/// Classifies a datagram by its first bytes.
///
/// Shape: any bytes. RTP and RTCP need at least their fixed headers (12 and 8 bytes), STUN its
/// header (20 bytes), DTLS a record header (13 bytes); shorter datagrams are `Unknown`.
///
/// Source: RFC 7983 §7 (first byte), RFC 5761 §4 (RTCP packet types 192..=223 against RTP).
#[must_use]
pub fn classify(datagram: &[u8]) -> Kind {
    match (datagram.first(), datagram.len()) {
        (Some(0..=3), STUN_HEADER_LEN..) => Kind::Stun,
        (Some(20..=63), DTLS_RECORD_HEADER_LEN..) => Kind::Dtls,
        (Some(128..=191), 8..) => match datagram.get(1) {
            Some(192..=223) => Kind::Rtcp,
            _ if datagram.len() >= crate::header::FIXED_HEADER_LEN => Kind::Rtp,
            _ => Kind::Unknown,
        },
        _ => Kind::Unknown,
    }
}

/// What routing needs from a STUN message.
#[derive(Debug, Clone, Copy)]
pub struct StunView<'a> {
    message_type: u16,
    transaction_id: [u8; 12],
    username: Option<&'a [u8]>,
    has_message_integrity: bool,
    has_fingerprint: bool,
    has_use_candidate: bool,
}

impl<'a> StunView<'a> {
    /// Walks the attributes of a STUN message.
    ///
    /// Shape: `datagram` is exactly one message: the length field must cover it, and every
    /// attribute must end inside it. At most 32 attributes are looked at; a message with more is
    /// refused. `None` for anything else. Nothing is authenticated.
    ///
    /// Source: RFC 8489 §5 (header), §14 (attributes), §14.5 and §14.7 (integrity ends what may be
    /// trusted, fingerprint comes last), RFC 8445 §7.1 (USE-CANDIDATE).
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let message_type = u16_at(datagram, 0)?;
        let len = usize::from(u16_at(datagram, 2)?);
        // RFC 7983 §7: beside other protocols only first bytes 0..=3 are STUN; methods that would
        // need more bits are not assigned.
        let sane = message_type & 0xfc00 == 0
            && u32_at(datagram, 4)? == MAGIC_COOKIE
            && len.is_multiple_of(4)
            && datagram.len() == STUN_HEADER_LEN + len;
        if !sane {
            return None;
        }
        let mut view = Self {
            message_type,
            transaction_id: datagram.get(8..STUN_HEADER_LEN)?.try_into().ok()?,
            username: None,
            has_message_integrity: false,
            has_fingerprint: false,
            has_use_candidate: false,
        };
        view.walk(datagram.get(STUN_HEADER_LEN..)?)?;
        Some(view)
    }

    /// Whether this is a Binding request, the only kind a lite agent answers.
    #[must_use]
    pub fn is_binding_request(&self) -> bool {
        self.message_type == BINDING_REQUEST
    }

    /// The 96-bit transaction id.
    #[must_use]
    pub fn transaction_id(&self) -> [u8; 12] {
        self.transaction_id
    }

    /// USERNAME split into the receiver's and the sender's ufrag.
    ///
    /// In a request to us the local ufrag comes first. `None` without USERNAME, without a colon,
    /// when a part is empty, longer than 256 or not made of ICE characters.
    ///
    /// Source: RFC 8445 §7.2.2, RFC 8839 §5.4 (ice-char).
    #[must_use]
    pub fn username(&self) -> Option<(&'a str, &'a str)> {
        let text = std::str::from_utf8(self.username?).ok()?;
        let (local, remote) = text.split_once(':')?;
        (is_ufrag(local) && is_ufrag(remote)).then_some((local, remote))
    }

    /// Whether MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 is present; not whether it is right.
    #[must_use]
    pub fn has_message_integrity(&self) -> bool {
        self.has_message_integrity
    }

    /// Whether FINGERPRINT is present; not whether it is right.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.has_fingerprint
    }

    /// Whether `datagram`, from which this was parsed, has no FINGERPRINT or a right one at its end.
    ///
    /// Source: RFC 8489 §14.7: the CRC-32 of all before the attribute, in disguise.
    #[must_use]
    pub fn fingerprint_holds(&self, datagram: &[u8]) -> bool {
        if !self.has_fingerprint {
            return true;
        }
        let Some((rest, attribute)) = datagram.split_last_chunk::<8>() else {
            return false;
        };
        let is_last = u16_at(attribute, 0) == Some(FINGERPRINT) && u16_at(attribute, 2) == Some(4);
        let sum = CRC_32.checksum(rest) ^ FINGERPRINT_DISGUISE;
        is_last && u32_at(attribute, 4) == Some(sum)
    }

    /// Whether USE-CANDIDATE is present: the controlling side nominates this pair.
    #[must_use]
    pub fn has_use_candidate(&self) -> bool {
        self.has_use_candidate
    }

    fn walk(&mut self, mut rest: &'a [u8]) -> Option<()> {
        for _ in 0..ATTRIBUTE_COUNT_MAX {
            if rest.is_empty() {
                return Some(());
            }
            let kind = u16_at(rest, 0)?;
            let len = usize::from(u16_at(rest, 2)?);
            let value = rest.get(4..4 + len)?;
            self.note(kind, value);
            // The message length is a multiple of four, so the padding is always there.
            rest = rest.get(4 + len.next_multiple_of(4)..)?;
        }
        rest.is_empty().then_some(())
    }

    fn note(&mut self, kind: u16, value: &'a [u8]) {
        match kind {
            FINGERPRINT => self.has_fingerprint = true,
            MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => self.has_message_integrity = true,
            // RFC 8489 §14.5: what follows the integrity attribute is ignored.
            _ if self.has_message_integrity => {}
            // RFC 8489 §14: only the first of several counts.
            USERNAME if self.username.is_none() => self.username = Some(value),
            USE_CANDIDATE => self.has_use_candidate = true,
            _ => {}
        }
    }
}

fn is_ufrag(text: &str) -> bool {
    let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    (1..=256).contains(&text.len()) && text.bytes().all(is_ice_char)
}

const STUN_HEADER_LEN: usize = 20;
const DTLS_RECORD_HEADER_LEN: usize = 13;
const MAGIC_COOKIE: u32 = 0x2112_a442;
const BINDING_REQUEST: u16 = 0x0001;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
/// RFC 8489 §14.7: tells it from the CRC of a protocol underneath.
const FINGERPRINT_DISGUISE: u32 = 0x5354_554e;
const CRC_32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// More attributes than any ICE agent sends; bounds the walk over a hostile message.
const ATTRIBUTE_COUNT_MAX: usize = 32;

#[cfg(test)]
mod tests;
