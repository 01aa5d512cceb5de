//! Big-endian and bit-wise reads with bounds checks, shared by the parsers of this crate.

/// The byte at `at`.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The 16-bit big-endian number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

/// The 24-bit big-endian number at `at`.
pub(crate) fn u24_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field: [u8; 3] = bytes.get(at..at.checked_add(3)?)?.try_into().ok()?;
    Some(u32::from_be_bytes([0, field[0], field[1], field[2]]))
}

/// The 32-bit big-endian number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// The 64-bit big-endian number at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_be_bytes(field.try_into().ok()?))
}

/// Fills a caller's slice front to back and refuses to run over its end.
pub(crate) struct Filler<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Filler<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends `bytes`; `None` when they do not fit, with nothing written.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// Overwrites bytes written earlier.
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let end = at.checked_add(bytes.len())?;
        let written = self.out.get_mut(..self.len)?;
        written.get_mut(at..end)?.copy_from_slice(bytes);
        Some(())
    }

    /// A byte written earlier.
    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.out.get(..self.len)?.get(at).copied()
    }

    /// Appends zero bytes up to the next multiple of four.
    pub(crate) fn pad_to_word(&mut self) -> Option<()> {
        while !self.len.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Some(())
    }
}
