//! Bit-wise reading of codecs' own headers.

use crate::bits::u8_at;

/// Reads bits, the most significant of a byte first.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Zero bytes in a row before this one, where 00 00 03 stands for 00 00.
    zeros: Option<u8>,
    byte: u8,
    left: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            zeros: None,
            byte: 0,
            left: 0,
        }
    }

    /// ITU-T H.264 §7.4.1.1: a 3 after two zero bytes is no part of what is escaped.
    pub(super) fn unescaped(bytes: &'a [u8]) -> Self {
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

    pub(super) fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.byte = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(self.byte >> self.left & 1 != 0)
    }

    /// A number of `count` bits, 0..=32.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.flag()?;
        }
        Some(())
    }

    /// ITU-T H.264 §9.1: as many zeros as bits follow the one.
    pub(super) fn exp_golomb(&mut self) -> Option<u32> {
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
    pub(super) fn scaling_list(&mut self, size: u32) -> Option<()> {
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
    pub(super) fn operating_points(&mut self) -> Option<()> {
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
