//! How large a picture is, as the start of a key frame tells.

use super::Codec;
use super::h264;
use super::h265;
use super::syntax::Bits;
use super::vp8;
use super::vp9;
use crate::bits::{u8_at, u16_at};

/// Width and height of a picture in pixels; neither is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSize {
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

impl PictureSize {
    fn new(width: u32, height: u32) -> Option<Self> {
        let side = |pixels| u16::try_from(pixels).ok().filter(|&pixels| pixels > 0);
        Some(Self {
            width: side(width)?,
            height: side(height)?,
        })
    }
}

impl Codec {
    /// The size of the picture that a key frame's first packet starts; of scalable video that of
    /// its largest layer. `None` where the packet does not tell.
    ///
    /// Shape: `payload` is one packet's payload, padding removed. The work is bounded by its length.
    #[must_use]
    pub fn picture_size(self, payload: &[u8]) -> Option<PictureSize> {
        match self {
            Self::Vp8 => of_vp8(payload),
            Self::Vp9 => of_vp9(payload),
            Self::H264 => of_h264(payload),
            Self::H265 => of_h265(payload),
            Self::Av1 => of_av1(payload),
            Self::Opus => None,
        }
    }
}

/// RFC 6386 §9.1: start code, then two times 14 bits of size and two of scale, least byte first.
fn of_vp8(payload: &[u8]) -> Option<PictureSize> {
    if !vp8::is_key_frame_start(payload) {
        return None;
    }
    let frame = payload.get(vp8::Descriptor::parse(payload)?.len..)?;
    let &[0x9d, 0x01, 0x2a, width, wide, height, high] = frame.get(3..10)? else {
        return None;
    };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    PictureSize::new(side(width, wide), side(height, high))
}

/// RFC 9628 §4.2.1: the scalability structure lists the sizes of all spatial layers, smallest first.
fn of_vp9(payload: &[u8]) -> Option<PictureSize> {
    let at = vp9::Descriptor::parse(payload)?.sizes_at?;
    PictureSize::new(
        u16_at(payload, at)?.into(),
        u16_at(payload, at.checked_add(2)?)?.into(),
    )
}

/// The sequence parameter set, alone in its packet or among others.
fn of_h264(payload: &[u8]) -> Option<PictureSize> {
    match h264::Descriptor::parse(payload)? {
        h264::Descriptor::Single {
            nal_type: h264::SPS,
        } => of_sps(payload),
        h264::Descriptor::StapA(mut units) => {
            let sps = units.find(|unit| unit.first().is_some_and(|head| head & 0x1f == h264::SPS));
            of_sps(sps?)
        }
        _ => None,
    }
}

/// ITU-T H.264 §7.3.2.1.1: macroblocks across and down, less the cropping.
fn of_sps(unit: &[u8]) -> Option<PictureSize> {
    let mut bits = Bits::unescaped(unit.get(1..)?);
    let profile = bits.take(8)?;
    bits.skip(16)?;
    bits.exp_golomb()?;
    let mut chroma_format = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma_format = bits.exp_golomb()?;
        if chroma_format == 3 && bits.flag()? {
            // Separate colour planes are cropped as monochrome ones.
            chroma_format = 0;
        }
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.skip(1)?;
        if bits.flag()? {
            let lists = if chroma_format == 3 { 12 } else { 8 };
            for index in 0..lists {
                if bits.flag()? {
                    bits.scaling_list(if index < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.exp_golomb()?;
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.skip(1)?;
            bits.exp_golomb()?;
            bits.exp_golomb()?;
            for _ in 0..bits.exp_golomb()?.min(255) {
                bits.exp_golomb()?;
            }
        }
        _ => {}
    }
    bits.exp_golomb()?;
    bits.skip(1)?;
    let across = bits.exp_golomb()?.checked_add(1)?.checked_mul(16)?;
    let map_units = bits.exp_golomb()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.skip(1)?;
    }
    let rows = if frames_only { 1 } else { 2 };
    let down = map_units.checked_mul(16 * rows)?;
    bits.skip(1)?;
    let (mut left, mut right, mut top, mut bottom) = (0, 0, 0, 0);
    if bits.flag()? {
        left = bits.exp_golomb()?;
        right = bits.exp_golomb()?;
        top = bits.exp_golomb()?;
        bottom = bits.exp_golomb()?;
    }
    // Table 6-1: how many luma samples a unit of cropping has.
    let (unit_across, unit_down) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    PictureSize::new(
        less(across, left, right, unit_across)?,
        less(down, top, bottom, unit_down * rows)?,
    )
}

/// The sequence parameter set, alone in its packet or among others.
fn of_h265(payload: &[u8]) -> Option<PictureSize> {
    match h265::Descriptor::parse(payload)? {
        h265::Descriptor::Single {
            nal_type: h265::SPS,
            ..
        } => of_h265_sps(payload),
        h265::Descriptor::Aggregation(mut units) => {
            of_h265_sps(units.find(|unit| h265::is_sps(unit))?)
        }
        _ => None,
    }
}

/// ITU-T H.265 §7.3.2.2.1, with the profile of §7.3.3 passed over: luma samples across and down,
/// less the conformance window.
fn of_h265_sps(unit: &[u8]) -> Option<PictureSize> {
    let mut bits = Bits::unescaped(unit.get(2..)?);
    bits.skip(4)?;
    let sub_layers = bits.take(3)?;
    bits.skip(1)?;
    bits.skip(H265_PROFILE_BITS + H265_LEVEL_BITS)?;
    let mut present = 0;
    for _ in 0..sub_layers {
        let (profile, level) = (bits.flag()?, bits.flag()?);
        present += if profile { H265_PROFILE_BITS } else { 0 };
        present += if level { H265_LEVEL_BITS } else { 0 };
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers))?;
    }
    bits.skip(present)?;
    bits.exp_golomb()?;
    let chroma_format = bits.exp_golomb()?;
    if chroma_format == 3 {
        bits.skip(1)?;
    }
    let (across, down) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let mut window = [0; 4];
    if bits.flag()? {
        for side in &mut window {
            *side = bits.exp_golomb()?;
        }
    }
    let [left, right, top, bottom] = window;
    // Table 6-1, as in H.264.
    let (unit_across, unit_down) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    PictureSize::new(
        less(across, left, right, unit_across)?,
        less(down, top, bottom, unit_down)?,
    )
}

/// What a side has after units of it were cut off at both ends.
fn less(full: u32, one: u32, other: u32, unit: u32) -> Option<u32> {
    full.checked_sub(one.checked_add(other)?.checked_mul(unit)?)
}

/// AV1 RTP payload format 1.0 §4.4: elements with or without a length in front.
fn of_av1(payload: &[u8]) -> Option<PictureSize> {
    let head = super::av1::Descriptor::parse(payload)?;
    if head.starts_with_continuation {
        return None;
    }
    let (count, mut rest) = (head.element_count, payload.get(1..)?);
    for index in 1..=OBUS_MAX {
        let last = count != 0 && index == count;
        let (size, taken) = if last { (rest.len(), 0) } else { leb128(rest)? };
        let unit = rest.get(taken..taken.checked_add(size)?)?;
        if let Some(size) = of_obu(unit) {
            return Some(size);
        }
        rest = rest.get(taken + size..).filter(|rest| !rest.is_empty())?;
        if last {
            return None;
        }
    }
    None
}

/// AV1 specification §5.3.2 (header), §5.5.1 (sequence header).
fn of_obu(unit: &[u8]) -> Option<PictureSize> {
    let head = u8_at(unit, 0)?;
    if (head >> 3) & 0x0f != OBU_SEQUENCE_HEADER {
        return None;
    }
    let mut at = if head & 0x04 != 0 { 2 } else { 1 };
    if head & 0x02 != 0 {
        at += leb128(unit.get(at..)?)?.1;
    }
    let mut bits = Bits::plain(unit.get(at..)?);
    bits.skip(3 + 1)?;
    if bits.flag()? {
        bits.skip(5)?;
    } else {
        bits.operating_points()?;
    }
    let across_bits = bits.take(4)? + 1;
    let down_bits = bits.take(4)? + 1;
    let across = bits.take(across_bits)?;
    let down = bits.take(down_bits)?;
    PictureSize::new(across + 1, down + 1)
}

/// Least significant group first, at most eight of them; the number and the bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Profiles whose parameter sets tell the chroma format (ITU-T H.264 §7.3.2.1.1).
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Of `profile_tier_level()` in H.265, but for the level.
const H265_PROFILE_BITS: u32 = 88;
const H265_LEVEL_BITS: u32 = 8;
const OBU_SEQUENCE_HEADER: u8 = 1;
/// A sequence header comes first; before it stands at most a temporal delimiter.
const OBUS_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn size(codec: Codec, payload: &[u8]) -> Option<(u16, u16)> {
        let size = codec.picture_size(payload)?;
        Some((size.width, size.height))
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    /// Every front of a good packet, and every packet with one byte changed, is read without harm.
    fn survives(codec: Codec, payload: &[u8]) {
        for len in 0..payload.len() {
            let _ = codec.picture_size(&payload[..len]);
        }
        for at in 0..payload.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut wrong = payload.to_vec();
                wrong[at] = value;
                let _ = codec.picture_size(&wrong);
            }
        }
    }

    #[test]
    fn vp8_tells_it_after_the_start_code() {
        // RFC 6386 §9.1; the upper two bits are the scale.
        let key = bytes("90 80 85 01  10 02 00 9d 01 2a 80 02 68 41");
        assert_eq!(size(Codec::Vp8, &key), Some((640, 360)));
        let inter = bytes("90 80 85 01  11 02 00 9d 01 2a 80 02 68 41");
        assert_eq!(size(Codec::Vp8, &inter), None);
        survives(Codec::Vp8, &key);
    }

    #[test]
    fn vp9_tells_it_in_its_scalability_structure() {
        // RFC 9628 §4.2: I, B, V; three spatial layers with sizes, no picture group.
        let key = bytes("8a 85 01  50 0140 00b4 0280 0168 0500 02d0  49");
        assert_eq!(size(Codec::Vp9, &key), Some((1280, 720)));
        let all: Vec<_> = vp9::sizes(&key)
            .map(|size| (size.width, size.height))
            .collect();
        assert_eq!(all, [(320, 180), (640, 360), (1280, 720)]);
        assert_eq!(vp9::sizes(&key[..10]).count(), 0);
        assert_eq!(size(Codec::Vp9, &bytes("8a 85 01 40 49")), None);
        survives(Codec::Vp9, &key);
    }

    #[test]
    fn h264_tells_it_in_its_sequence_parameter_set() {
        // Baseline, 40 by 22.5 macroblocks, and high, 120 by 68 of which 8 rows are cropped.
        let baseline =
            bytes("67 42 c0 1e da 02 80 bf e5 c0 44 00 00 03 00 04 00 00 03 00 f2 3c 58 ba 80");
        assert_eq!(size(Codec::H264, &baseline), Some((640, 360)));
        let high = bytes(
            "67 64 00 28 ac d9 40 78 02 27 e5 c0 44 00 00 03 00 04 00 00 03 00 f0 3c 60 c6 58",
        );
        assert_eq!(size(Codec::H264, &high), Some((1920, 1080)));
        let mut together = vec![0x18, 0, baseline.len() as u8];
        together.extend_from_slice(&baseline);
        together.extend_from_slice(&[0, 4, 0x68, 0xce, 0x0f, 0xc8]);
        assert_eq!(size(Codec::H264, &together), Some((640, 360)));
        assert_eq!(size(Codec::H264, &[0x65, 1, 2, 3]), None);
        survives(Codec::H264, &high);
        survives(Codec::H264, &together);
    }

    #[test]
    fn h265_tells_it_in_its_sequence_parameter_set() {
        // Main, level 3.1, one sub-layer: 1280 by 720; and 1920 by 1088 with a window of 8 rows less.
        let plain = h265_sps(1280, 720, None);
        assert_eq!(size(Codec::H265, &plain), Some((1280, 720)));
        let windowed = h265_sps(1920, 1088, Some([0, 0, 0, 4]));
        assert_eq!(size(Codec::H265, &windowed), Some((1920, 1080)));
        // As x265 writes it, 640 by 360 in a coded size of 640 by 360, with emulation prevention.
        let real = bytes(
            "42 01 01 01 60 00 00 03 00 90 00 00 03 00 00 03 00 3f a0 05 02 01 69 65 95 9a 49 32 bc \
             05 a0 20 00 00 03 00 20 00 00 03 03 21",
        );
        assert_eq!(size(Codec::H265, &real), Some((640, 360)));
        let mut together = vec![
            0x60,
            0x01,
            0,
            4,
            0x40,
            0x01,
            0x0c,
            0x01,
            0,
            plain.len() as u8,
        ];
        together.extend_from_slice(&plain);
        assert_eq!(size(Codec::H265, &together), Some((1280, 720)));
        assert_eq!(size(Codec::H265, &[0x26, 1, 2, 3]), None);
        survives(Codec::H265, &windowed);
        survives(Codec::H265, &together);
    }

    fn h265_sps(width: u32, height: u32, window: Option<[u32; 4]>) -> Vec<u8> {
        // Header; id 0, one sub-layer, nesting; a profile without four zero bits in a row twice,
        // so that nothing needs to be escaped.
        let mut bits = String::from("0100001000000001") + "0000" + "000" + "1";
        bits.push_str(&"01".repeat(44));
        bits.push_str(&format!("{:08b}", 93));
        let mut coded = |value: u32| {
            let value = value + 1;
            let digits = 32 - value.leading_zeros() as usize;
            bits.push_str(&"0".repeat(digits - 1));
            bits.push_str(&format!("{value:b}"));
        };
        for value in [0, 1, width, height] {
            coded(value);
        }
        bits.push(if window.is_some() { '1' } else { '0' });
        for value in window.into_iter().flatten() {
            let value = value + 1;
            let digits = 32 - value.leading_zeros() as usize;
            bits.push_str(&"0".repeat(digits - 1));
            bits.push_str(&format!("{value:b}"));
        }
        let byte = |bits: &[u8]| {
            u8::from_str_radix(&format!("{:0<8}", std::str::from_utf8(bits).unwrap()), 2).unwrap()
        };
        bits.as_bytes().chunks(8).map(byte).collect()
    }

    #[test]
    fn av1_tells_it_in_its_sequence_header() {
        // Profile 0, one operating point of level 8 with its tier; 10 and 9 bits: 640 by 360.
        let mut bits = String::new();
        for (value, count) in [
            (0_u32, 3),
            (0, 1),
            (0, 1),
            (0, 1),
            (0, 1),
            (0, 5),
            (0, 12),
            (8, 5),
            (0, 1),
            (9, 4),
            (8, 4),
            (639, 10),
            (359, 9),
            (0, 9),
        ] {
            bits.push_str(&format!("{value:0count$b}"));
        }
        let header: Vec<u8> = bits
            .as_bytes()
            .chunks(8)
            .map(|byte| {
                u8::from_str_radix(&format!("{:0<8}", std::str::from_utf8(byte).unwrap()), 2)
            })
            .collect::<Result<_, _>>()
            .unwrap();
        // Two elements: the header with its length, and a frame without.
        let mut first = vec![0x28, header.len() as u8 + 1, 0x08];
        first.extend_from_slice(&header);
        first.extend_from_slice(&[0x30, 1, 2, 3]);
        assert_eq!(size(Codec::Av1, &first), Some((640, 360)));
        // The only element, with a length of its own inside.
        let mut alone = vec![0x18, 0x0a, header.len() as u8];
        alone.extend_from_slice(&header);
        assert_eq!(size(Codec::Av1, &alone), Some((640, 360)));
        assert_eq!(size(Codec::Av1, &[0x18, 0x30, 1, 2]), None);
        survives(Codec::Av1, &first);
        survives(Codec::Av1, &alone);
    }
}
