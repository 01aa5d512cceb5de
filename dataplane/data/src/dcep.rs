//! The messages that open a data channel (RFC 8832 §5).

use bytes::{BufMut, Bytes, BytesMut};
use whitewater_link::{ChannelTerms, Order, Reliability};

use crate::limits;

/// A message of the Data Channel Establishment Protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dcep {
    /// DATA_CHANNEL_OPEN.
    Open(ChannelTerms),
    /// DATA_CHANNEL_ACK.
    Ack,
}

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It ends too early.
    Short,
    /// A message type or channel type that RFC 8832 does not have.
    UnknownType,
    /// A label or protocol of more than [`limits::NAME_SIZE_MAX`] bytes.
    TooLong,
    /// A label or protocol that is not UTF-8.
    NoText,
}

impl Dcep {
    /// Reads a message.
    ///
    /// Shape: 1 byte, or 12 bytes and two texts; what follows is ignored.
    ///
    /// # Errors
    /// [`Unreadable`] says what is wrong.
    ///
    /// Source: RFC 8832 §5.1, §5.2.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        match bytes.first() {
            None => Err(Unreadable::Short),
            Some(&ACK) => Ok(Dcep::Ack),
            Some(&OPEN) => parse_open(bytes).map(Dcep::Open),
            Some(_) => Err(Unreadable::UnknownType),
        }
    }

    /// The message as it is sent. Texts are cut off at 65,535 bytes, which ours do not have.
    pub fn render(&self) -> Bytes {
        let terms = match self {
            Dcep::Ack => return Bytes::from_static(&[ACK]),
            Dcep::Open(terms) => terms,
        };
        let mut bytes = BytesMut::with_capacity(12 + terms.label.len() + terms.protocol.len());
        let (kind, parameter) = match terms.reliability {
            Reliability::Full => (RELIABLE, 0),
            Reliability::Retransmissions(count) => (RETRANSMISSIONS, count),
            Reliability::Lifetime(ms) => (LIFETIME, ms),
        };
        let unordered = match terms.order {
            Order::Kept => 0,
            Order::Free => UNORDERED,
        };
        let cut = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
        let (label, protocol) = (cut(&terms.label), cut(&terms.protocol));
        bytes.put_u8(OPEN);
        bytes.put_u8(kind | unordered);
        bytes.put_u16(terms.priority);
        bytes.put_u32(parameter);
        bytes.put_u16(label);
        bytes.put_u16(protocol);
        bytes.extend(terms.label.bytes().take(usize::from(label)));
        bytes.extend(terms.protocol.bytes().take(usize::from(protocol)));
        bytes.freeze()
    }
}

fn parse_open(bytes: &[u8]) -> Result<ChannelTerms, Unreadable> {
    let Some((head, texts)) = bytes.split_first_chunk::<12>() else {
        return Err(Unreadable::Short);
    };
    let [_, kind, p1, p0, r3, r2, r1, r0, l1, l0, n1, n0] = *head;
    let parameter = u32::from_be_bytes([r3, r2, r1, r0]);
    let reliability = match kind & !UNORDERED {
        // RFC 8832 §5.1: the parameter is ignored.
        RELIABLE => Reliability::Full,
        RETRANSMISSIONS => Reliability::Retransmissions(parameter),
        LIFETIME => Reliability::Lifetime(parameter),
        _ => return Err(Unreadable::UnknownType),
    };
    let label_size = usize::from(u16::from_be_bytes([l1, l0]));
    let protocol_size = usize::from(u16::from_be_bytes([n1, n0]));
    if label_size > limits::NAME_SIZE_MAX || protocol_size > limits::NAME_SIZE_MAX {
        return Err(Unreadable::TooLong);
    }
    let text = |range: std::ops::Range<usize>| {
        let bytes = texts.get(range).ok_or(Unreadable::Short)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::NoText)?;
        Ok(text.to_owned())
    };
    Ok(ChannelTerms {
        label: text(0..label_size)?,
        protocol: text(label_size..label_size + protocol_size)?,
        order: if kind & UNORDERED == 0 {
            Order::Kept
        } else {
            Order::Free
        },
        reliability,
        priority: u16::from_be_bytes([p1, p0]),
        agreed: None,
    })
}

/// RFC 8832 §8.2.1: message types.
const ACK: u8 = 0x02;
const OPEN: u8 = 0x03;
/// RFC 8832 §8.2.2: channel types.
const RELIABLE: u8 = 0x00;
const RETRANSMISSIONS: u8 = 0x01;
const LIFETIME: u8 = 0x02;
const UNORDERED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(order: Order, reliability: Reliability) -> ChannelTerms {
        ChannelTerms {
            label: "chät".to_owned(),
            protocol: "json".to_owned(),
            order,
            reliability,
            priority: 512,
            agreed: None,
        }
    }

    #[test]
    fn every_kind_of_channel_survives_the_way() {
        // RFC 8832 §5.1: six channel types.
        for order in [Order::Kept, Order::Free] {
            for reliability in [
                Reliability::Full,
                Reliability::Retransmissions(3),
                Reliability::Lifetime(70_000),
            ] {
                let open = Dcep::Open(terms(order, reliability));
                assert_eq!(Dcep::parse(&open.render()), Ok(open));
            }
        }
        let bare = Dcep::Open(ChannelTerms::default());
        assert_eq!(Dcep::parse(&bare.render()), Ok(bare));
        assert_eq!(Dcep::parse(&Dcep::Ack.render()), Ok(Dcep::Ack));
    }

    #[test]
    fn the_bytes_are_those_of_the_rfc() {
        // RFC 8832 §5.1
        let open = Dcep::Open(terms(Order::Free, Reliability::Lifetime(1000))).render();
        let head = [3, 0x82, 2, 0, 0, 0, 3, 0xe8, 0, 5, 0, 4];
        assert_eq!(&open[..12], head);
        assert_eq!(&open[12..], "chätjson".as_bytes());
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_refused() {
        let whole = Dcep::Open(terms(Order::Kept, Reliability::Full)).render();
        for size in 0..whole.len() {
            assert_eq!(
                Dcep::parse(&whole[..size]),
                Err(Unreadable::Short),
                "{size}"
            );
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.to_vec();
            bytes[at] = byte;
            Dcep::parse(&bytes)
        };
        assert_eq!(with(0, 1), Err(Unreadable::UnknownType));
        assert_eq!(with(1, 3), Err(Unreadable::UnknownType));
        assert_eq!(with(8, 0x10), Err(Unreadable::TooLong));
        assert_eq!(with(10, 0x10), Err(Unreadable::TooLong));
        assert_eq!(with(12, 0xff), Err(Unreadable::NoText));
    }
}
