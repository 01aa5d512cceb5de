//! Payload descriptors, bytes laid out by hand from the payload formats.

use proptest::prelude::*;

use super::*;

const CODECS: [Codec; 6] = [
    Codec::H264,
    Codec::H265,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
    Codec::Opus,
];

#[test]
fn nothing_starts_with_an_empty_payload() {
    for codec in CODECS {
        assert!(!codec.is_key_frame_start(&[]), "{codec:?}");
    }
    assert!(Codec::Opus.is_key_frame_start(&[0xfc]));
}

/// RFC 6184 §5.4, §5.6, §5.7.1, §5.8.
#[test]
fn h264_starts_at_parameter_sets_and_idr_slices() {
    let starts = |payload: &[u8]| Codec::H264.is_key_frame_start(payload);
    assert!(starts(&[0x67, 0x42]), "SPS");
    assert!(starts(&[0x65, 0x88]), "IDR");
    assert!(!starts(&[0x68, 0xce]), "PPS alone");
    assert!(!starts(&[0x41, 0x9a]), "other slice");
    assert!(!starts(&[0x06, 0x06]), "SEI recovery point");
    assert!(
        starts(&[0x18, 0, 2, 0x67, 1, 0, 1, 0x68]),
        "STAP-A, SPS first"
    );
    assert!(
        starts(&[0x18, 0, 2, 0x09, 0x10, 0, 1, 0x67]),
        "STAP-A, delimiter first"
    );
    assert!(
        !starts(&[0x18, 0, 2, 0x41, 1, 0, 1, 0x68]),
        "STAP-A without"
    );
    assert!(!starts(&[0x18, 0, 9, 0x67]), "STAP-A cut off");
    assert!(
        !starts(&[0x18, 0, 0, 0, 1, 0x67]),
        "STAP-A with an empty unit"
    );
    assert!(starts(&[0x7c, 0x85, 1]), "FU-A start of an IDR");
    assert!(!starts(&[0x7c, 0x05, 1]), "FU-A middle");
    assert!(!starts(&[0x7c, 0x45, 1]), "FU-A end");
    assert!(!starts(&[0x5c, 0x81, 1]), "FU-A start of another slice");
    assert!(!starts(&[0x7c]), "FU-A cut off");
    assert!(!starts(&[0x1d, 0x85]), "FU-B");
    let end = h264::Descriptor::parse(&[0x7c, 0x45]);
    let expected = h264::Descriptor::FuA {
        nal_type: 5,
        is_start: false,
        is_end: true,
    };
    assert_eq!(end, Some(expected));
}

/// RFC 7798 §4.4.1 to §4.4.3.
#[test]
fn h265_starts_at_parameter_sets_and_random_access_pictures() {
    let starts = |payload: &[u8]| Codec::H265.is_key_frame_start(payload);
    for (nal_type, expected) in [
        (32, true),
        (33, true),
        (34, false),
        (19, true),
        (20, true),
        (21, true),
        (1, false),
    ] {
        assert_eq!(
            starts(&[nal_type << 1, 1, 0]),
            expected,
            "single {nal_type}"
        );
        let aggregated = [48 << 1, 1, 0, 3, 35 << 1, 1, 0x50, 0, 2, nal_type << 1, 1];
        assert_eq!(starts(&aggregated), expected, "aggregated {nal_type}");
        assert_eq!(
            starts(&[49 << 1, 1, 0x80 | nal_type]),
            expected,
            "first piece {nal_type}"
        );
        assert!(!starts(&[49 << 1, 1, nal_type]), "middle piece {nal_type}");
        assert!(
            !starts(&[49 << 1, 1, 0x40 | nal_type]),
            "last piece {nal_type}"
        );
    }
    assert!(!starts(&[33 << 1, 0]), "temporal id zero is forbidden");
    assert!(!starts(&[33 << 1]), "cut off");
    assert!(!starts(&[49 << 1, 1]), "fragment cut off");
    assert!(!starts(&[50 << 1, 1, 33 << 1, 1]), "PACI");
    let layer = h265::Descriptor::parse(&[1 << 1, 3]);
    assert_eq!(
        layer,
        Some(h265::Descriptor::Single {
            nal_type: 1,
            temporal_id: 2
        })
    );
}

/// RFC 7741 §4.2: everything present, both picture id widths.
#[test]
fn vp8_descriptors_are_read_in_full() {
    let full = [0xb0, 0xf0, 0x92, 0x34, 7, 0b1010_0101, 0x10];
    let descriptor = vp8::Descriptor::parse(&full).unwrap();
    assert!(descriptor.non_reference && descriptor.partition_start);
    assert_eq!(descriptor.picture_id, Some(vp8::PictureId::Bits15(0x1234)));
    assert_eq!(
        (descriptor.tl0_pic_idx, descriptor.temporal_id),
        (Some(7), Some(2))
    );
    assert_eq!((descriptor.layer_sync, descriptor.key_idx), (true, Some(5)));
    assert_eq!(descriptor.len, 6);
    for len in 0..6 {
        assert_eq!(vp8::Descriptor::parse(&full[..len]), None, "{len}");
    }
    let short = vp8::Descriptor::parse(&[0x83, 0x80, 0x7f]).unwrap();
    assert_eq!(short.picture_id.map(vp8::PictureId::value), Some(127));
    assert_eq!(
        (short.partition_id, short.partition_start, short.len),
        (3, false, 3)
    );
    let key_idx_only = vp8::Descriptor::parse(&[0x90, 0x10, 0xff]).unwrap();
    assert_eq!(
        (key_idx_only.key_idx, key_idx_only.temporal_id),
        (Some(31), None)
    );
}

#[test]
fn vp8_starts_with_the_first_partition_of_a_key_frame() {
    let starts = |payload: &[u8]| Codec::Vp8.is_key_frame_start(payload);
    assert!(starts(&[0x10, 0x50]));
    assert!(starts(&[0x90, 0x80, 0x05, 0x50]));
    assert!(!starts(&[0x10, 0x51]), "inter frame");
    assert!(!starts(&[0x00, 0x50]), "not a partition's start");
    assert!(!starts(&[0x11, 0x50]), "second partition");
    assert!(!starts(&[0x10]), "no frame header");
}

/// RFC 9628 §4.2: non-flexible with layers and a structure.
#[test]
fn vp9_descriptors_are_read_in_full() {
    let mut full = vec![0b1010_1110, 0x81, 0x02, 0b0101_0010, 9];
    // Two spatial layers with sizes; a group of two pictures with one and no references.
    full.extend([
        0b0011_1000,
        1,
        0,
        2,
        0,
        3,
        0,
        4,
        0,
        2,
        0b0000_0100,
        1,
        0b0010_0000,
        0xaa,
    ]);
    let descriptor = vp9::Descriptor::parse(&full).unwrap();
    assert!(!descriptor.inter_picture_predicted && !descriptor.flexible);
    assert!(descriptor.start_of_frame && descriptor.end_of_frame);
    assert_eq!(descriptor.picture_id, Some(vp8::PictureId::Bits15(0x0102)));
    let layer = descriptor.layer.unwrap();
    assert_eq!((layer.temporal_id, layer.spatial_id), (2, 1));
    assert!(layer.switching_up_point && !layer.inter_layer_predicted);
    assert_eq!(descriptor.tl0_pic_idx, Some(9));
    let structure = vp9::Structure {
        spatial_layer_count: 2,
        picture_count: 2,
    };
    assert_eq!(descriptor.structure, Some(structure));
    assert_eq!(descriptor.len, full.len() - 1);
    for len in 0..descriptor.len {
        assert_eq!(vp9::Descriptor::parse(&full[..len]), None, "{len}");
    }
}

#[test]
fn vp9_flexible_mode_lists_at_most_three_references() {
    let descriptor = vp9::Descriptor::parse(&[0b1111_1000, 5, 0, 3, 2]).unwrap();
    assert!(descriptor.flexible && descriptor.inter_picture_predicted);
    assert_eq!((descriptor.tl0_pic_idx, descriptor.len), (None, 5));
    assert!(vp9::Descriptor::parse(&[0b1101_0000, 5, 3, 5, 8]).is_some());
    assert_eq!(vp9::Descriptor::parse(&[0b1101_0000, 5, 3, 5, 9, 0]), None);
}

#[test]
fn vp9_starts_with_the_base_layer_of_an_independent_picture() {
    let starts = |payload: &[u8]| Codec::Vp9.is_key_frame_start(payload);
    assert!(starts(&[0b1000_1000, 5, 0]), "no layers");
    assert!(starts(&[0b1010_1000, 5, 0, 0, 0]), "spatial layer 0");
    assert!(
        !starts(&[0b1010_1000, 5, 0b0000_0010, 0, 0]),
        "spatial layer 1"
    );
    assert!(!starts(&[0b1100_1000, 5, 0]), "inter-picture predicted");
    assert!(!starts(&[0b1000_0000, 5, 0]), "not the frame's start");
    assert!(!starts(&[0b1010_1000, 5]), "cut off");
}

/// AV1 RTP payload format 1.0 §4.4.
#[test]
fn av1_starts_where_the_header_says_so() {
    let starts = |payload: &[u8]| Codec::Av1.is_key_frame_start(payload);
    assert!(starts(&[0b0001_1000, 0x0a]));
    assert!(!starts(&[0b0001_0000, 0x0a]));
    assert!(
        !starts(&[0b1001_1000, 0x0a]),
        "N and Z contradict each other"
    );
    assert!(!starts(&[0b0001_1000]), "nothing follows");
    let head = av1::Descriptor::parse(&[0b1110_0000]).unwrap();
    assert!(head.starts_with_continuation && head.ends_with_fragment);
    assert_eq!(head.element_count, 2);
}

#[test]
fn picture_numbers_are_rewritten_in_their_own_width() {
    let mut vp8 = [0x90, 0xe0, 0x92, 0x34, 7, 0x40, 0x50];
    vp8::rewrite(&mut vp8, 0x7fff, 255).unwrap();
    assert_eq!(vp8, [0x90, 0xe0, 0xff, 0xff, 255, 0x40, 0x50]);
    let mut short = [0x90, 0x80, 0x05, 0x50];
    vp8::rewrite(&mut short, 0x1ff, 3).unwrap();
    assert_eq!(short, [0x90, 0x80, 0x7f, 0x50]);
    let mut none = [0x10, 0x50];
    vp8::rewrite(&mut none, 1, 1).unwrap();
    assert_eq!(none, [0x10, 0x50]);
    let mut cut = [0x90, 0x80];
    assert_eq!(vp8::rewrite(&mut cut, 1, 1), None);

    let mut vp9 = [0b1010_1000, 0x81, 0x02, 0x00, 9, 0xaa];
    vp9::rewrite(&mut vp9, 5, 6).unwrap();
    assert_eq!(vp9, [0b1010_1000, 0x80, 0x05, 0x00, 6, 0xaa]);
}

proptest! {
    #[test]
    fn any_payload_is_read_without_a_panic(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        for codec in CODECS {
            let _ = codec.is_key_frame_start(&payload);
        }
        if let Some(descriptor) = vp8::Descriptor::parse(&payload) {
            prop_assert!(descriptor.len <= payload.len());
        }
        if let Some(descriptor) = vp9::Descriptor::parse(&payload) {
            prop_assert!(descriptor.len <= payload.len());
        }
    }

    /// Rewriting changes the two fields and nothing else.
    #[test]
    fn rewriting_leaves_the_rest_alone(
        payload in prop::collection::vec(any::<u8>(), 1..32), picture_id in 0u16..0x8000, tl0: u8,
    ) {
        let mut rewritten = payload.clone();
        if vp8::rewrite(&mut rewritten, picture_id, tl0).is_some() {
            let (before, after) = (vp8::Descriptor::parse(&payload).unwrap(),
                vp8::Descriptor::parse(&rewritten).unwrap());
            prop_assert_eq!(after.len, before.len);
            prop_assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| tl0));
            prop_assert_eq!((after.temporal_id, after.key_idx), (before.temporal_id, before.key_idx));
            prop_assert_eq!(&rewritten[after.len..], &payload[before.len..]);
        } else {
            prop_assert_eq!(&rewritten, &payload);
        }
        let mut rewritten = payload.clone();
        if vp9::rewrite(&mut rewritten, picture_id, tl0).is_some() {
            let (before, after) = (vp9::Descriptor::parse(&payload).unwrap(),
                vp9::Descriptor::parse(&rewritten).unwrap());
            prop_assert_eq!((after.len, after.layer), (before.len, before.layer));
            prop_assert_eq!(after.structure, before.structure);
            prop_assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| tl0));
            prop_assert_eq!(&rewritten[after.len..], &payload[before.len..]);
        } else {
            prop_assert_eq!(&rewritten, &payload);
        }
    }
}
