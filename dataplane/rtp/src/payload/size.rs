//! How large a picture is, as the start of a key frame tells.

use super::Codec;
use super::h264;
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
    /// its largest layer. `None` where the packet does not tell, as in H.265.
    ///
    /// Shape: `payload` is one packet's payload, padding removed. The work is bounded by its length.
    #[must_use]
    pub fn picture_size(self, payload: &[u8]) -> Option<PictureSize> {
        match self {
            Self::Vp8 => of_vp8(payload),
            Self::Vp9 => of_vp9(payload),
            Self::H264 => of_h264(payload),
            Self::Av1 => of_av1(payload),
            Self::H265 | Self::Opus => None,
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
    let cropped = |full: u32, one: u32, other: u32, unit: u32| {
        full.checked_sub(one.checked_add(other)?.checked_mul(unit)?)
    };
    PictureSize::new(
        cropped(across, left, right, unit_across)?,
        cropped(down, top, bottom, unit_down * rows)?,
    )
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

/// Reads bits, the most significant of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Zero bytes in a row before this one, where 00 00 03 stands for 00 00.
    zeros: Option<u8>,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            zeros: None,
            byte: 0,
            left: 0,
        }
    }

    /// ITU-T H.264 §7.4.1.1: a 3 after two zero bytes is no part of what is escaped.
    fn unescaped(bytes: &'a [u8]) -> Self {
        Self {
            zeros: Some(0),
            ..Self::plain(bytes)
        }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = u8_at(self.bytes, self.at)?;
        self.at += 1;
        if let Some(zeros) = &mut self.zeros {
            if *zeros == 2 && byte == 3 {
                *zeros = 0;
                byte = u8_at(self.bytes, self.at)?;
                self.at += 1;
            }
            *zeros = if byte == 0 { (*zeros + 1).min(2) } else { 0 };
        }
        Some(byte)
    }

    fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.byte = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(self.byte >> self.left & 1 != 0)
    }

    /// A number of `count` bits, 0..=32.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.flag()?;
        }
        Some(())
    }

    /// ITU-T H.264 §9.1: as many zeros as bits follow the one.
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.take(zeros)?;
        Some((1 << zeros) - 1 + rest)
    }

    /// ITU-T H.264 §7.3.2.1.1.1.
    fn scaling_list(&mut self, size: u32) -> Option<()> {
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..size {
            if next != 0 {
                let coded = i64::from(self.exp_golomb()?);
                let delta = if coded % 2 == 0 {
                    -coded / 2
                } else {
                    coded / 2 + 1
                };
                next = (last + delta).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }

    /// AV1 specification §5.5.1, from `timing_info_present_flag` to the operating points' end.
    fn operating_points(&mut self) -> Option<()> {
        let mut delay_bits = None;
        if self.flag()? {
            self.skip(32 + 32)?;
            if self.flag()? {
                self.exp_golomb()?;
            }
            if self.flag()? {
                delay_bits = Some(self.take(5)? + 1);
                self.skip(32 + 5 + 5)?;
            }
        }
        let has_display_delays = self.flag()?;
        for _ in 0..=self.take(5)? {
            self.skip(12)?;
            if self.take(5)? > 7 {
                self.skip(1)?;
            }
            if let Some(delay_bits) = delay_bits
                && self.flag()?
            {
                self.skip(2 * delay_bits + 1)?;
            }
            if has_display_delays && self.flag()? {
                self.skip(4)?;
            }
        }
        Some(())
    }
}

/// Profiles whose parameter sets tell the chroma format (ITU-T H.264 §7.3.2.1.1).
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
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
