//! First bytes and STUN messages.

use proptest::prelude::*;

use super::*;

/// RFC 7983 §7: every first byte has exactly one meaning.
#[test]
fn first_bytes_are_classified_as_published() {
    for first in 0..=255 {
        let mut datagram = [0; 100];
        datagram[0] = first;
        datagram[1] = 96;
        let expected = match first {
            0..=3 => Kind::Stun,
            20..=63 => Kind::Dtls,
            128..=191 => Kind::Rtp,
            _ => Kind::Unknown,
        };
        assert_eq!(classify(&datagram), expected, "{first}");
    }
}

/// RFC 5761 §4: with or without marker bit, 64..=95 as payload type means RTCP.
#[test]
fn second_bytes_tell_rtcp_from_rtp() {
    for second in 0..=255 {
        let mut datagram = [0x80; 100];
        datagram[1] = second;
        let expected = if (192..=223).contains(&second) {
            Kind::Rtcp
        } else {
            Kind::Rtp
        };
        assert_eq!(classify(&datagram), expected, "{second}");
    }
}

#[test]
fn datagrams_shorter_than_their_headers_are_unknown() {
    let shortest = |first, second, len: usize| {
        let mut datagram = vec![0; len];
        datagram[0] = first;
        datagram[1] = second;
        (classify(&datagram), classify(&datagram[..len - 1]))
    };
    assert_eq!(shortest(0, 1, 20), (Kind::Stun, Kind::Unknown));
    assert_eq!(shortest(22, 0xfe, 13), (Kind::Dtls, Kind::Unknown));
    assert_eq!(shortest(0x80, 96, 12), (Kind::Rtp, Kind::Unknown));
    assert_eq!(shortest(0x80, 200, 8), (Kind::Rtcp, Kind::Unknown));
    assert_eq!(classify(&[]), Kind::Unknown);
}

fn message(message_type: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![];
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = message_type.to_be_bytes().to_vec();
    message.extend((body.len() as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE.to_be_bytes());
    message.extend(*b"transaction!");
    message.extend(body);
    message
}

#[test]
fn a_connectivity_check_tells_who_is_meant() {
    let bytes = message(
        BINDING_REQUEST,
        &[
            (USERNAME, b"local:rem+/"),
            (0x8029, &[0; 8]),
            (USE_CANDIDATE, &[]),
            (MESSAGE_INTEGRITY, &[0; 20]),
            (FINGERPRINT, &[0; 4]),
        ],
    );
    let view = StunView::parse(&bytes).unwrap();
    assert!(view.is_binding_request() && view.has_use_candidate());
    assert!(view.has_message_integrity() && view.has_fingerprint());
    assert_eq!(view.username(), Some(("local", "rem+/")));
    assert_eq!(view.transaction_id(), *b"transaction!");
}

/// RFC 5769 §2.1, a sample request with a FINGERPRINT at its end.
const SAMPLE_REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\
    \xfa\x87\xdf\xae\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
    \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09\
    \x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\x00\x08\x00\x14\
    \x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

#[test]
fn a_wrong_fingerprint_is_seen_and_a_missing_one_is_not() {
    let holds = |bytes: &[u8]| StunView::parse(bytes).unwrap().fingerprint_holds(bytes);
    assert!(holds(SAMPLE_REQUEST));
    for at in [21, 40, 70, SAMPLE_REQUEST.len() - 1] {
        let mut broken = SAMPLE_REQUEST.to_vec();
        broken[at] ^= 1;
        if let Some(view) = StunView::parse(&broken) {
            assert!(!view.fingerprint_holds(&broken), "{at}");
        }
    }
    assert!(holds(&message(1, &[(USERNAME, b"a:b")])));
    // RFC 8489 §14.7: it is the last attribute.
    let early = [(FINGERPRINT, &[0; 4][..]), (USERNAME, b"a:b")];
    assert!(!holds(&message(1, &early)));
}

#[test]
fn responses_and_indications_are_not_requests() {
    for message_type in [0x0101, 0x0111, 0x0011, 0x0003] {
        let bytes = message(message_type, &[]);
        assert!(!StunView::parse(&bytes).unwrap().is_binding_request());
    }
}

/// RFC 8489 §14.5.
#[test]
fn attributes_behind_the_integrity_are_ignored() {
    let integrity = (MESSAGE_INTEGRITY, &[0; 20][..]);
    let bytes = message(1, &[integrity, (USERNAME, b"a:b"), (USE_CANDIDATE, &[])]);
    let view = StunView::parse(&bytes).unwrap();
    assert_eq!(view.username(), None);
    assert!(!view.has_use_candidate());
}

#[test]
fn the_first_of_two_usernames_counts() {
    let bytes = message(1, &[(USERNAME, b"a:b"), (USERNAME, b"c:d")]);
    assert_eq!(
        StunView::parse(&bytes).unwrap().username(),
        Some(("a", "b"))
    );
}

#[test]
fn odd_usernames_are_refused() {
    let long = [&[b'x'; 257][..], b":b"].concat();
    for bad in [
        &b"ab"[..],
        b":b",
        b"a:",
        b"a:b:c",
        b"a b:c",
        b"\xff:b",
        &long,
    ] {
        let bytes = message(1, &[(USERNAME, bad)]);
        assert_eq!(StunView::parse(&bytes).unwrap().username(), None, "{bad:?}");
    }
    let longest = [&[b'x'; 256][..], b":b"].concat();
    let bytes = message(1, &[(USERNAME, &longest)]);
    assert!(StunView::parse(&bytes).unwrap().username().is_some());
}

#[test]
fn malformed_messages_are_refused() {
    let good = message(1, &[(USERNAME, b"a:b")]);
    assert!(StunView::parse(&good).is_some());
    for at in [0, 2, 3, 4, 7, 23] {
        let mut bad = good.clone();
        bad[at] ^= 0x81;
        assert!(StunView::parse(&bad).is_none(), "{at}");
    }
    assert!(
        StunView::parse(&message(0x0401, &[])).is_none(),
        "first byte 4 is not STUN here"
    );
    assert!(StunView::parse(&good[..good.len() - 1]).is_none());
    assert!(StunView::parse(&[&good[..], &[0]].concat()).is_none());
}

#[test]
fn the_walk_over_attributes_is_bounded() {
    let attribute = (0x8022, &b"x"[..]);
    assert!(StunView::parse(&message(1, &[attribute; ATTRIBUTE_COUNT_MAX])).is_some());
    assert!(StunView::parse(&message(1, &[attribute; ATTRIBUTE_COUNT_MAX + 1])).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        body in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let _ = (classify(&bytes), StunView::parse(&bytes));
        let mut framed = message(1, &[]);
        framed.extend(&body);
        framed[2..4].copy_from_slice(&(body.len() as u16).to_be_bytes());
        if let Some(view) = StunView::parse(&framed) {
            let _ = view.username();
        }
    }
}
