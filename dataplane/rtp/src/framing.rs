//! Datagrams on a byte stream: each is preceded by its size (RFC 4571 §2, used by RFC 6544 §3 for
//! STUN, DTLS and media alike).

use std::fmt;

/// The largest frame that is taken in. WebRTC peers keep their datagrams below 1,500 bytes on
/// every transport; the format itself could say 65,535, which a peer could make us keep.
pub const FRAME_SIZE_MAX: usize = 4096;

/// A peer announced a frame larger than [`FRAME_SIZE_MAX`]: the stream is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooLong(pub u16);

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes", self.0)
    }
}

impl std::error::Error for FrameTooLong {}

/// Finds the frames in a byte stream, however it is cut up.
#[derive(Debug, Default)]
pub struct Deframer {
    /// The start of a frame with its size in front, at most `FRAME_SIZE_MAX` + 2 bytes.
    partial: Vec<u8>,
}

impl Deframer {
    /// Takes the next bytes of the stream and calls `sink` with every frame that they complete.
    /// Empty frames say nothing and are left out (RFC 4571 §2 allows them).
    ///
    /// # Errors
    /// [`FrameTooLong`]; what comes after it cannot be read.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), FrameTooLong> {
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                // Whole frames are not copied.
                while let Some((frame, rest)) = split(bytes)? {
                    if !frame.is_empty() {
                        sink(frame);
                    }
                    bytes = rest;
                }
            }
            let wanted = size(&self.partial)?.map_or(SIZE_SIZE, |size| SIZE_SIZE + size);
            let missing = wanted.saturating_sub(self.partial.len()).min(bytes.len());
            let (taken, rest) = bytes.split_at(missing);
            self.partial.extend_from_slice(taken);
            bytes = rest;
            if let Some((frame, _)) = split(&self.partial)? {
                if !frame.is_empty() {
                    sink(frame);
                }
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// Bytes kept for a frame that is not whole yet.
    #[must_use]
    pub fn kept_len(&self) -> usize {
        self.partial.len()
    }
}

/// A datagram with its size in front; `None` for one of more than 65,535 bytes.
#[must_use]
pub fn frame(datagram: &[u8]) -> Option<Vec<u8>> {
    let size = u16::try_from(datagram.len()).ok()?;
    let mut frame = Vec::with_capacity(SIZE_SIZE + datagram.len());
    frame.extend_from_slice(&size.to_be_bytes());
    frame.extend_from_slice(datagram);
    Some(frame)
}

/// The size a frame announces; `None` while that is not there.
fn size(bytes: &[u8]) -> Result<Option<usize>, FrameTooLong> {
    let Some(size) = bytes.first_chunk().map(|size| u16::from_be_bytes(*size)) else {
        return Ok(None);
    };
    if usize::from(size) > FRAME_SIZE_MAX {
        return Err(FrameTooLong(size));
    }
    Ok(Some(size.into()))
}

/// A whole frame and what follows it.
type Split<'a> = Option<(&'a [u8], &'a [u8])>;

/// The first frame, if it is whole, and what follows it.
fn split(bytes: &[u8]) -> Result<Split<'_>, FrameTooLong> {
    let size = size(bytes)?;
    let after_size = bytes.get(SIZE_SIZE..).unwrap_or_default();
    Ok(size.and_then(|size| after_size.split_at_checked(size)))
}

/// RFC 4571 §2: 16 bits, the size itself not counted.
const SIZE_SIZE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[&[u8]]) -> Vec<u8> {
        frames
            .iter()
            .flat_map(|f| frame(f).expect("short"))
            .collect()
    }

    fn read(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, FrameTooLong> {
        let mut deframer = Deframer::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            deframer.feed(chunk, |frame| frames.push(frame.to_vec()))?;
            assert!(deframer.kept_len() <= FRAME_SIZE_MAX + SIZE_SIZE);
        }
        Ok(frames)
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let largest = vec![7; FRAME_SIZE_MAX];
        let frames: [&[u8]; 4] = [b"a", b"bcd", &largest, b"e"];
        let bytes = stream(&frames);
        for size in [1, 2, 3, 5, 1000, bytes.len()] {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(read(&chunks).expect("in bounds"), frames, "cut at {size}");
        }
        for cut in 0..bytes.len().min(20) {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(read(&[first, second]).expect("in bounds"), frames, "{cut}");
        }
    }

    #[test]
    fn empty_frames_say_nothing() {
        let bytes = stream(&[b"", b"a", b"", b"", b"b", b""]);
        for size in [1, 2, bytes.len()] {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(read(&chunks).expect("in bounds"), [b"a", b"b"]);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_stream_before_it_is_kept() {
        let size = (FRAME_SIZE_MAX + 1) as u16;
        let mut bytes = stream(&[b"a"]);
        bytes.extend(size.to_be_bytes());
        assert_eq!(read(&[&bytes]), Err(FrameTooLong(size)));
        let singly: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&singly), Err(FrameTooLong(size)));
        assert_eq!(read(&[&[0xff, 0xff]]), Err(FrameTooLong(0xffff)));
    }

    #[test]
    fn a_datagram_is_framed_up_to_what_the_size_can_say() {
        assert_eq!(frame(b"ab"), Some(vec![0, 2, b'a', b'b']));
        assert!(frame(&[0; 65_535]).is_some());
        assert_eq!(frame(&[0; 65_536]), None);
    }
}
