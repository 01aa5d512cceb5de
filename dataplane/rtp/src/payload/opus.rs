//! Opus packets.

use crate::bits::u8_at;

/// How long the sound of a packet is, in samples of 48 kHz; `None` where the packet says nothing or
/// nonsense.
///
/// Shape: what is said, which may be more than the 120 ms (5,760 samples) that are allowed.
///
/// Source: RFC 6716 §3.1 (frame sizes), §3.2 (frame counts).
#[must_use]
pub fn duration(payload: &[u8]) -> Option<u32> {
    let toc = u8_at(payload, 0)?;
    let (mode, size) = (toc >> 3, usize::from(toc >> 3 & 3));
    let sizes: [u32; 4] = match mode {
        0..=11 => [480, 960, 1920, 2880],
        12..=15 => [480, 960, 480, 960],
        _ => [120, 240, 480, 960],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(u8_at(payload, 1)? & 0x3f),
    };
    let samples = sizes.get(size)? * frames;
    (samples > 0).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_mode_are_counted() {
        // RFC 6716 table 2: SILK 60 ms; hybrid 10 and 20 ms; CELT 2.5 and 20 ms.
        for (toc, samples) in [
            (3 << 3, 2880),
            (11 << 3, 2880),
            (12 << 3, 480),
            (15 << 3, 960),
            (16 << 3, 120),
            (31 << 3, 960),
            (31 << 3 | 1, 1920),
            (31 << 3 | 2, 1920),
        ] {
            assert_eq!(duration(&[toc]), Some(samples), "{toc:#x}");
        }
        assert_eq!(duration(&[31 << 3 | 3, 6]), Some(5760));
        assert_eq!(duration(&[31 << 3 | 3, 0xc7]), Some(6720), "too long");
        assert_eq!(duration(&[31 << 3 | 3, 0x80]), None, "no frame at all");
        assert_eq!(duration(&[31 << 3 | 3]), None);
        assert_eq!(duration(&[]), None);
    }
}
