//! Extension values, each against bytes laid out by hand.

use proptest::prelude::*;

use super::*;

#[test]
fn send_time_is_six_bits_of_seconds_and_eighteen_of_fraction() {
    let half = AbsSendTime::from_duration(Duration::from_millis(1500));
    assert_eq!(half.to_bytes(), [0x06, 0, 0], "1 << 18 | 1 << 17");
    let wrapped = AbsSendTime::from_duration(Duration::from_millis(64_000 + 1500));
    assert_eq!(wrapped, half);
    let last = AbsSendTime::from_duration(Duration::new(63, 999_999_999));
    assert_eq!(last.value(), 0xff_ffff);
    assert_eq!(AbsSendTime::parse(&[0xff, 0xff, 0xff]), Some(last));
    assert_eq!(AbsSendTime::parse(&[0; 2]), None);
    assert_eq!(AbsSendTime::parse(&[0; 4]), None);
}

#[test]
fn transport_sequence_numbers_come_in_two_versions() {
    assert_eq!(
        TransportSeq::parse(&[0x12, 0x34]),
        Some(TransportSeq(0x1234))
    );
    assert_eq!(
        TransportSeq::parse(&[0x12, 0x34, 0xc0, 1]),
        Some(TransportSeq(0x1234))
    );
    assert_eq!(TransportSeq::parse(&[0x12, 0x34, 0]), None);
    assert_eq!(TransportSeq(0xfffe).to_bytes(), [0xff, 0xfe]);
}

/// RFC 6464 §3.
#[test]
fn audio_level_is_a_flag_and_seven_bits() {
    let level = AudioLevel {
        voice: true,
        attenuation_db: 30,
    };
    assert_eq!(level.to_bytes(), [0x9e]);
    assert_eq!(AudioLevel::parse(&[0x9e, 0]), Some(level));
    assert_eq!(
        AudioLevel {
            voice: false,
            attenuation_db: 200
        }
        .to_bytes(),
        [127]
    );
    assert_eq!(AudioLevel::parse(&[]), None);
}

#[test]
fn orientation_is_four_bits() {
    let turned = VideoOrientation {
        back_camera: true,
        flipped: false,
        quarter_turns: 3,
    };
    assert_eq!(turned.to_bytes(), [0x0b]);
    assert_eq!(VideoOrientation::parse(&[0xfb]), Some(turned));
    assert_eq!(VideoOrientation::parse(&[0, 0]), None);
}

#[test]
fn playout_delay_is_two_times_twelve_bits() {
    let delay = PlayoutDelay {
        min_10ms: 0x123,
        max_10ms: 0x456,
    };
    assert_eq!(delay.to_bytes(), [0x12, 0x34, 0x56]);
    assert_eq!(PlayoutDelay::parse(&[0x12, 0x34, 0x56]), Some(delay));
    assert_eq!(
        PlayoutDelay::parse(&[0x45, 0x61, 0x23]),
        None,
        "lower bound above the upper"
    );
    let capped = PlayoutDelay {
        min_10ms: 0,
        max_10ms: 5000,
    };
    assert_eq!(capped.to_bytes(), [0, 0x0f, 0xff]);
}

#[test]
fn dependency_descriptor_flags_need_the_fourth_byte() {
    let plain = DependencyDescriptor::parse(&[0xc5, 0x01, 0x02]).unwrap();
    assert!(plain.start_of_frame && plain.end_of_frame);
    assert_eq!((plain.template_id, plain.frame_number), (5, 0x0102));
    assert!(!plain.has_structure && !plain.has_active_decode_targets);
    assert_eq!(plain.to_mandatory_bytes(), [0xc5, 0x01, 0x02]);
    let key = DependencyDescriptor::parse(&[0x80, 0, 1, 0x80]).unwrap();
    assert!(key.has_structure && !key.has_active_decode_targets);
    assert!(DependencyDescriptor::parse(&[0; 4]).unwrap().template_id == 0);
    assert!(
        DependencyDescriptor::parse(&[0, 0, 0, 0x40])
            .unwrap()
            .has_active_decode_targets
    );
    assert_eq!(DependencyDescriptor::parse(&[0; 2]), None);
}

#[test]
fn ids_are_text_of_the_allowed_characters() {
    assert_eq!(parse_mid(b"0"), Some("0"));
    assert_eq!(parse_mid(b"audio.1~"), Some("audio.1~"));
    for bad in [&b""[..], b"a b", b"a:b", b"\xc3\xa9", b"a\0", &[b'x'; 256]] {
        assert_eq!(parse_mid(bad), None, "{bad:?}");
    }
    assert_eq!(parse_rid(b"hi_1-x"), Some("hi_1-x"));
    assert_eq!(parse_rid(b"h.1"), None);
    assert_eq!(parse_rid(&[b'x'; 255]).map(str::len), Some(255));
}

proptest! {
    #[test]
    fn any_value_is_read_without_a_panic_and_written_back(
        value in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        if let Some(time) = AbsSendTime::parse(&value) {
            prop_assert_eq!(&time.to_bytes()[..], &value[..]);
        }
        if let Some(seq) = TransportSeq::parse(&value) {
            prop_assert_eq!(&seq.to_bytes()[..], &value[..2]);
        }
        if let Some(level) = AudioLevel::parse(&value) {
            prop_assert_eq!(level.to_bytes()[0], value[0]);
        }
        if let Some(delay) = PlayoutDelay::parse(&value) {
            prop_assert_eq!(&delay.to_bytes()[..], &value[..]);
        }
        if let Some(orientation) = VideoOrientation::parse(&value) {
            prop_assert_eq!(orientation.to_bytes()[0], value[0] & 0x0f);
        }
        if let Some(descriptor) = DependencyDescriptor::parse(&value) {
            prop_assert_eq!(&descriptor.to_mandatory_bytes()[..], &value[..3]);
        }
        let _ = (parse_mid(&value), parse_rid(&value));
    }
}
