//! Headers read, written, and bent.

use proptest::prelude::*;

use super::*;

const FIELDS: HeaderFields = HeaderFields {
    marker: true,
    payload_type: 111,
    sequence_number: 0xfffe,
    timestamp: 0x8000_0001,
    ssrc: 0xdead_beef,
};

fn write(form: ExtensionForm, extensions: &[(u8, &[u8])]) -> Result<Vec<u8>, WriteError> {
    let mut out = [0xee; 600];
    let mut writer = HeaderWriter::new(&mut out, FIELDS, form)?;
    for (id, value) in extensions {
        writer.extension(*id, value)?;
    }
    let len = writer.finish()?;
    Ok(out[..len].to_vec())
}

#[test]
fn the_fixed_header_is_laid_out_as_published() {
    let bytes = write(ExtensionForm::OneByte, &[]).unwrap();
    assert_eq!(
        bytes,
        [
            0x80, 0xef, 0xff, 0xfe, 0x80, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef
        ]
    );
    let header = RtpHeader::parse(&bytes).unwrap();
    assert!(header.marker() && !header.has_padding());
    assert_eq!(
        (header.payload_type(), header.sequence_number()),
        (111, 0xfffe)
    );
    assert_eq!(
        (header.timestamp(), header.ssrc()),
        (0x8000_0001, 0xdead_beef)
    );
    assert_eq!(
        (header.header_len(), header.extension_profile()),
        (12, None)
    );
    assert_eq!(header.extensions().count(), 0);
}

/// RFC 8285 §4.2: one-byte elements and padding of the block.
#[test]
fn one_byte_elements_are_laid_out_as_published() {
    let bytes = write(ExtensionForm::OneByte, &[(1, &[0xaa]), (14, &[1, 2, 3])]).unwrap();
    assert_eq!(bytes[0], 0x90);
    assert_eq!(
        bytes[12..],
        [0xbe, 0xde, 0, 2, 0x10, 0xaa, 0xe2, 1, 2, 3, 0, 0]
    );
    let header = RtpHeader::parse(&bytes).unwrap();
    assert_eq!(header.extension(14), Some(&[1, 2, 3][..]));
    assert_eq!(header.extension(2), None);
}

/// RFC 8285 §4.3: two-byte elements, an empty value among them.
#[test]
fn two_byte_elements_are_laid_out_as_published() {
    let bytes = write(ExtensionForm::TwoByte, &[(1, &[]), (200, &[7])]).unwrap();
    assert_eq!(bytes[12..], [0x10, 0, 0, 2, 1, 0, 200, 1, 7, 0, 0, 0]);
    let found: Vec<_> = RtpHeader::parse(&bytes).unwrap().extensions().collect();
    assert_eq!(found, [(1, &[][..]), (200, &[7][..])]);
}

#[test]
fn ids_and_lengths_outside_the_form_are_refused() {
    let long = [0; 256];
    for (id, len) in [(0, 1), (15, 1), (16, 1), (1, 0), (1, 17)] {
        let refused = write(ExtensionForm::OneByte, &[(id, &long[..len])]);
        assert_eq!(refused, Err(WriteError::Extension { id, len }));
    }
    for (id, len) in [(0, 1), (1, 256)] {
        let refused = write(ExtensionForm::TwoByte, &[(id, &long[..len])]);
        assert_eq!(refused, Err(WriteError::Extension { id, len }));
    }
    assert!(write(ExtensionForm::OneByte, &[(14, &long[..16])]).is_ok());
    assert!(write(ExtensionForm::TwoByte, &[(255, &long[..255])]).is_ok());
}

#[test]
fn a_full_slice_is_an_error_at_every_length() {
    for len in 0..20 {
        let mut out = vec![0; len];
        let written = HeaderWriter::new(&mut out, FIELDS, ExtensionForm::OneByte)
            .and_then(|mut writer| writer.extension(1, &[1]).map(|()| writer))
            .and_then(HeaderWriter::finish);
        assert_eq!(written, Err(WriteError::NoSpace), "{len}");
    }
    let mut out = [0; 20];
    let mut writer = HeaderWriter::new(&mut out, FIELDS, ExtensionForm::OneByte).unwrap();
    writer.extension(1, &[1]).unwrap();
    assert_eq!(writer.with_padding().finish(), Ok(20));
    assert_eq!(out[0], 0xb0);
}

/// RFC 8285 §4.2: padding between elements, id 0 with a length, id 15 ends the walk.
#[test]
fn odd_but_legal_one_byte_blocks_are_walked() {
    let block = [
        0xbe, 0xde, 0, 3, 0, 0x10, 0xaa, 0x01, 9, 9, 0x20, 0xbb, 0xf0, 0x30, 0xcc, 0,
    ];
    let mut bytes = write(ExtensionForm::OneByte, &[]).unwrap();
    bytes[0] |= 0x10;
    bytes.extend(block);
    let found: Vec<_> = RtpHeader::parse(&bytes).unwrap().extensions().collect();
    assert_eq!(found, [(1, &[0xaa][..]), (2, &[0xbb][..])]);
}

#[test]
fn an_element_that_runs_over_its_block_ends_the_walk() {
    for block in [
        [0xbe, 0xde, 0, 1, 0x10, 0xaa, 0x2f, 1],
        [0x10, 0x05, 0, 1, 1, 1, 0xaa, 2],
    ] {
        let mut bytes = write(ExtensionForm::OneByte, &[]).unwrap();
        bytes[0] |= 0x10;
        bytes.extend(block);
        bytes.extend([0xff; 40]);
        let found: Vec<_> = RtpHeader::parse(&bytes).unwrap().extensions().collect();
        assert_eq!(found, [(1, &[0xaa][..])]);
    }
}

#[test]
fn blocks_of_other_profiles_are_passed_over() {
    let mut bytes = write(ExtensionForm::OneByte, &[]).unwrap();
    bytes[0] |= 0x10;
    bytes.extend([0xab, 0xcd, 0, 1, 0x10, 0xaa, 0, 0, 0x77]);
    let packet = RtpPacket::parse(&bytes).unwrap();
    assert_eq!(packet.header().extension_profile(), Some(0xabcd));
    assert_eq!(packet.header().extensions().count(), 0);
    assert_eq!(packet.payload(), [0x77]);
}

#[test]
fn contributing_sources_are_listed() {
    let mut bytes = write(ExtensionForm::OneByte, &[]).unwrap();
    bytes[0] |= 2;
    bytes.extend([0, 0, 0, 1, 0xff, 0, 0, 2]);
    let header = RtpHeader::parse(&bytes).unwrap();
    assert_eq!(header.csrcs().collect::<Vec<_>>(), [1, 0xff00_0002]);
    assert_eq!(header.header_len(), 20);
    assert_eq!(
        RtpHeader::parse(&bytes[..19]).unwrap_err(),
        HeaderError::TooShort
    );
}

#[test]
fn padding_is_cut_off_or_refused() {
    let with = |tail: &[u8]| {
        let mut bytes = write(ExtensionForm::OneByte, &[]).unwrap();
        bytes[0] |= 0x20;
        bytes.extend(tail);
        RtpPacket::parse(&bytes).map(|packet| (packet.payload().to_vec(), packet.padding_len()))
    };
    assert_eq!(with(&[5, 6, 0, 2]), Ok((vec![5, 6], 2)));
    assert_eq!(with(&[0, 0, 3]), Ok((vec![], 3)), "padding only");
    assert_eq!(with(&[5, 6, 0]), Err(HeaderError::Padding(0)));
    assert_eq!(with(&[5, 6, 4]), Err(HeaderError::Padding(4)));
    assert_eq!(with(&[]), Err(HeaderError::Padding(0)));
}

#[test]
fn other_versions_are_refused() {
    for version in [0, 1, 3] {
        let bytes = [version << 6; 12];
        assert_eq!(
            RtpHeader::parse(&bytes).unwrap_err(),
            HeaderError::Version(version)
        );
    }
    assert_eq!(RtpHeader::parse(&[]).unwrap_err(), HeaderError::TooShort);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for force_version in [false, true] {
            if let (true, Some(first)) = (force_version, bytes.first_mut()) {
                *first = (*first & 0x3f) | 0x80;
            }
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                let header = packet.header();
                let parts = header.header_len() + packet.payload().len();
                prop_assert_eq!(parts + usize::from(packet.padding_len()), bytes.len());
                for (id, value) in header.extensions() {
                    prop_assert!(id != 0 && value.len() <= 255);
                }
                prop_assert!(header.csrcs().count() <= 15);
            }
        }
    }

    #[test]
    fn extensions_survive_the_way(
        two_byte: bool,
        elements in prop::collection::vec(
            (1u8..=14, prop::collection::vec(any::<u8>(), 1..=16)), 0..12),
    ) {
        let form = if two_byte { ExtensionForm::TwoByte } else { ExtensionForm::OneByte };
        let borrowed: Vec<_> = elements.iter().map(|(id, value)| (*id, &value[..])).collect();
        let bytes = write(form, &borrowed).unwrap();
        let header = RtpHeader::parse(&bytes).unwrap();
        prop_assert_eq!(header.extensions().collect::<Vec<_>>(), borrowed);
        prop_assert_eq!(header.header_bytes(), &bytes[..]);
        prop_assert_eq!(bytes.len() % 4, 0);
    }
}
