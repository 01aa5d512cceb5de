//! One peer's connection: frames in, frames out, and how much of each may wait.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use whitewater_engine::framing::Deframer;
use whitewater_link::ShardIndex;

/// A connection and what waits on it. `S` is a non-blocking stream.
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) peer: SocketAddr,
    /// Our address it came to.
    pub(super) local: SocketAddr,
    /// The only shard that a check may name, where each has its own port.
    pub(super) expected: Option<ShardIndex>,
    /// Where its frames go, once a check has named it.
    pub(super) shard: Option<ShardIndex>,
    /// A session has answered: somebody who knows its password is at the other end.
    pub(super) proven: bool,
    /// When it is closed if nothing is sent to it until then.
    pub(super) ends_at: Instant,
    pub(super) input: Deframer,
    pub(super) output: Output,
}

/// What became of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// Nothing more for now.
    Empty,
    /// Perhaps more; others come first.
    More,
    /// The peer closed it, broke the rules of framing, or is gone.
    Over,
}

impl<S: Read + Write> Connection<S> {
    /// Reads what is there, within a turn's share, and calls `sink` with every frame.
    pub(super) fn read(&mut self, buffer: &mut [u8], mut sink: impl FnMut(&[u8])) -> ReadOutcome {
        for _ in 0..READS_PER_TURN_MAX {
            match self.stream.read(buffer) {
                Ok(0) => return ReadOutcome::Over,
                Ok(size) => {
                    let bytes = buffer.get(..size).unwrap_or_default();
                    if self.input.feed(bytes, &mut sink).is_err() {
                        return ReadOutcome::Over;
                    }
                    if size < buffer.len() {
                        return ReadOutcome::Empty;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return ReadOutcome::Empty;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return ReadOutcome::Over,
            }
        }
        ReadOutcome::More
    }

    /// Writes what the kernel takes.
    ///
    /// # Errors
    /// The connection is of no further use.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.output.write(&mut self.stream)
    }
}

/// Frames on their way out. Old media is worth less than new: when more than
/// [`OUTPUT_SIZE_MAX`] wait, the oldest whole frames go.
#[derive(Debug, Default)]
pub(super) struct Output {
    frames: VecDeque<Vec<u8>>,
    size: usize,
    /// How much of the first frame the kernel has; that one must be finished.
    written: usize,
}

impl Output {
    /// Takes a frame, its size in front. Returns how many were dropped for it.
    pub(super) fn push(&mut self, frame: Vec<u8>) -> u64 {
        self.size += frame.len();
        self.frames.push_back(frame);
        let begun = usize::from(self.written > 0);
        let mut dropped = 0;
        while self.size > OUTPUT_SIZE_MAX && self.frames.len() > begun {
            let oldest = self.frames.remove(begun);
            self.size -= oldest.map_or(0, |frame| frame.len());
            dropped += 1;
        }
        dropped
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn write(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while !self.frames.is_empty() {
            let slices: Vec<IoSlice<'_>> = self
                .frames
                .iter()
                .take(SLICES_MAX)
                .enumerate()
                .map(|(index, frame)| match index {
                    0 => IoSlice::new(frame.get(self.written..).unwrap_or_default()),
                    _ => IoSlice::new(frame),
                })
                .collect();
            match stream.write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(size) => self.advance(size),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn advance(&mut self, size: usize) {
        self.written += size;
        while let Some(first) = self.frames.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.size -= first.len();
            self.frames.pop_front();
        }
    }
}

/// What may wait for one peer: more than half a second of a 2.5 Mbit/s video, after which a slow
/// peer gets new frames and not late ones.
pub(super) const OUTPUT_SIZE_MAX: usize = 256 * 1024;
/// Frames in one write.
const SLICES_MAX: usize = 32;
/// Reads of one connection before others have their turn.
const READS_PER_TURN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whitewater_engine::framing::frame;

    use super::*;

    /// Takes `room` bytes, then would block; has `incoming` to be read.
    #[derive(Default)]
    struct Pipe {
        room: usize,
        taken: Vec<u8>,
        incoming: VecDeque<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let size = bytes.len().min(self.room);
            if size == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= size;
            self.taken.extend(&bytes[..size]);
            Ok(size)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(bytes) = self.incoming.pop_front() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    fn connection() -> Connection<Pipe> {
        let address = SocketAddr::from(([192, 0, 2, 1], 1));
        Connection {
            stream: Pipe::default(),
            peer: address,
            local: address,
            expected: None,
            shard: None,
            proven: false,
            ends_at: Instant::now() + Duration::from_secs(1),
            input: Deframer::default(),
            output: Output::default(),
        }
    }

    /// A frame of a kilobyte that says its number.
    fn numbered(number: u16) -> Vec<u8> {
        let mut datagram = vec![0; 1022];
        datagram[..2].copy_from_slice(&number.to_be_bytes());
        frame(&datagram).expect("short")
    }

    fn numbers(stream: &[u8]) -> Vec<u16> {
        let mut numbers = Vec::new();
        let mut deframer = Deframer::default();
        let number = |frame: &[u8]| numbers.push(u16::from_be_bytes([frame[0], frame[1]]));
        deframer.feed(stream, number).expect("a good stream");
        assert_eq!(deframer.kept_len(), 0);
        numbers
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_whole_frames() {
        let mut connection = connection();
        connection.stream.room = 1500;
        let mut dropped = 0;
        for number in 0..1000 {
            dropped += connection.output.push(numbered(number));
            connection.write().expect("open");
            assert!(connection.output.size <= OUTPUT_SIZE_MAX);
        }
        assert_eq!(dropped, 1000 - 1 - 256);
        connection.stream.room = usize::MAX;
        connection.write().expect("open");
        assert!(connection.output.is_empty());
        // The first two had been begun; then come the newest, each of them whole.
        let expected: Vec<u16> = [0, 1].into_iter().chain(745..1000).collect();
        assert_eq!(numbers(&connection.stream.taken), expected);
    }

    #[test]
    fn a_reader_in_fits_and_starts_gets_everything_in_order() {
        let mut connection = connection();
        for number in 0..200 {
            assert_eq!(connection.output.push(numbered(number)), 0);
        }
        while !connection.output.is_empty() {
            connection.stream.room = 777;
            connection.write().expect("open");
        }
        assert_eq!(
            numbers(&connection.stream.taken),
            (0..200).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_busy_sender_leaves_others_their_turn() {
        let mut connection = connection();
        let mut buffer = vec![0; numbered(0).len()];
        let incoming = (0..10).map(numbered);
        connection.stream.incoming = incoming.collect();
        let mut frames = 0;
        let outcome = connection.read(&mut buffer, |_| frames += 1);
        assert_eq!((outcome, frames), (ReadOutcome::More, READS_PER_TURN_MAX));
    }

    #[test]
    fn rubbish_and_the_end_end_the_connection() {
        let mut rubbish = connection();
        rubbish.stream.incoming = [b"GET / HTTP/1.1\r\n".to_vec()].into();
        let outcome = rubbish.read(&mut [0; 64], |_| panic!("no frame"));
        assert_eq!(outcome, ReadOutcome::Over);
        let mut closed = connection();
        closed.stream.incoming = [vec![]].into();
        assert_eq!(closed.read(&mut [0; 64], |_| {}), ReadOutcome::Over);
    }
}
