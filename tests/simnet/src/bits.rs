//! Bits put into a line, as header extensions and parameter sets have them.

/// Bits in the order they are sent in, highest first.
#[derive(Clone, Debug, Default)]
pub struct Line(Vec<bool>);

impl Line {
    /// The lowest `count` bits of a value, at most 32.
    pub fn put(&mut self, value: u32, count: u32) -> &mut Self {
        let bits = (0..count).rev().map(|bit| value >> bit & 1 == 1);
        self.0.extend(bits);
        self
    }

    /// A value below 2^32 - 1 in ue(v), as ITU-T H.264 §9.1 and H.265 §9.2 have it.
    pub fn put_golomb(&mut self, value: u32) -> &mut Self {
        let width = u32::BITS - (value + 1).leading_zeros();
        self.put(0, width - 1).put(value + 1, width)
    }

    /// All of it, with zeros to the end of the last byte.
    pub fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            let bits = bits.iter().zip((0..8).rev());
            bits.fold(0, |byte, (&bit, place)| byte | u8::from(bit) << place)
        };
        self.0.chunks(8).map(byte).collect()
    }
}
