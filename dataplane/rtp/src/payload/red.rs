//! Redundant audio: a packet that brings older ones along.
//!
//! A header of four bytes for each older block, one byte for the newest, then the blocks in the same
//! order, the newest last (RFC 2198 §3).

use crate::bits::{Filler, u8_at, u32_at};

/// Blocks of one packet; more are not read. Senders put in one to three.
pub const BLOCKS_MAX: usize = 8;
/// Bytes that one older block may have, by the width of its length field.
pub const BLOCK_SIZE_MAX: usize = 0x3ff;
/// How far before the newest an older block may lie, in ticks of the clock.
pub const OFFSET_MAX: u32 = 0x3fff;

/// The newest block of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Primary<'a> {
    /// Its payload type.
    pub pt: u8,
    /// Its payload; may be empty.
    pub payload: &'a [u8],
}

/// Reads the newest block of a packet; `None` where the packet contradicts itself: a header or block
/// that runs over its end, or more than [`BLOCKS_MAX`] blocks.
#[must_use]
pub fn primary(payload: &[u8]) -> Option<Primary<'_>> {
    let (mut at, mut older) = (0, 0);
    for _ in 0..BLOCKS_MAX {
        let first = u8_at(payload, at)?;
        if first & FOLLOWED == 0 {
            let payload = payload.get(at + 1..)?.get(older..)?;
            let pt = first & 0x7f;
            return Some(Primary { pt, payload });
        }
        older += (u32_at(payload, at)? & 0x3ff) as usize;
        at += OLDER_HEADER_SIZE;
    }
    None
}

/// Writes other payload types into a packet's header, by `map`.
///
/// `None`, with the packet in an unknown state, where it contradicts itself or a type has no other.
pub fn renumber(payload: &mut [u8], map: impl Fn(u8) -> Option<u8>) -> Option<()> {
    primary(payload)?;
    let mut at = 0;
    loop {
        let first = payload.get_mut(at)?;
        let followed = *first & FOLLOWED;
        *first = followed | map(*first & 0x7f)? & 0x7f;
        if followed == 0 {
            return Some(());
        }
        at += OLDER_HEADER_SIZE;
    }
}

/// Writes a packet that brings `older` ones along, each with its distance in ticks before the newest,
/// oldest first; its length. `None` where one cannot be expressed, or `out` is too short.
pub fn write(out: &mut [u8], pt: u8, older: &[(u32, &[u8])], newest: &[u8]) -> Option<usize> {
    if older.len() >= BLOCKS_MAX {
        return None;
    }
    let mut out = Filler::new(out);
    for (offset, block) in older {
        if *offset > OFFSET_MAX || block.len() > BLOCK_SIZE_MAX {
            return None;
        }
        let head = u32::from(FOLLOWED | pt & 0x7f) << 24 | offset << 10;
        out.put(&(head | block.len() as u32).to_be_bytes())?;
    }
    out.put(&[pt & 0x7f])?;
    for (_, block) in older {
        out.put(block)?;
    }
    out.put(newest)?;
    Some(out.len())
}

/// Bytes that the header of a packet with this many older blocks has.
#[must_use]
pub const fn header_size(older: usize) -> usize {
    OLDER_HEADER_SIZE * older + 1
}

/// The bit that says that another header follows.
const FOLLOWED: u8 = 0x80;
const OLDER_HEADER_SIZE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet() -> Vec<u8> {
        let mut out = [0; 64];
        let older: [(u32, &[u8]); 2] = [(1920, &[1, 1, 1]), (960, &[2, 2])];
        let len = write(&mut out, 111, &older, &[3; 5]).expect("it fits");
        out[..len].to_vec()
    }

    #[test]
    fn a_packet_is_laid_out_as_the_rfc_draws_it() {
        // RFC 2198 §3: F, block PT, 14 bits of offset, 10 bits of length; 0 and PT; the blocks.
        let expected = [
            0x80 | 111,
            0x1e,
            0x00,
            3,
            0x80 | 111,
            0x0f,
            0x00,
            2,
            111,
            1,
            1,
            1,
            2,
            2,
            3,
            3,
            3,
            3,
            3,
        ];
        assert_eq!(packet(), expected);
        assert_eq!(header_size(2), 9);
    }

    #[test]
    fn the_newest_block_is_the_last() {
        let read = primary(&packet()).map(|p| (p.pt, p.payload.to_vec()));
        assert_eq!(read, Some((111, vec![3; 5])));
        let alone = [111, 7, 8];
        let read = primary(&alone).map(|p| (p.pt, p.payload));
        assert_eq!(read, Some((111, &[7, 8][..])));
    }

    #[test]
    fn every_block_gets_its_new_number_and_nothing_else_changes() {
        let mut renumbered = packet();
        renumber(&mut renumbered, |pt| (pt == 111).then_some(96)).expect("well-formed");
        let mut expected = packet();
        for at in [0, 4] {
            expected[at] = 0x80 | 96;
        }
        expected[8] = 96;
        assert_eq!(renumbered, expected);
        assert_eq!(renumber(&mut packet(), |_| None), None);
    }

    #[test]
    fn what_runs_over_its_end_is_nothing() {
        let whole = packet();
        // Nothing of the older blocks or the header may be missing; the newest may be empty.
        for len in 0..whole.len() - 5 {
            assert_eq!(primary(&whole[..len]), None, "{len}");
            assert_eq!(renumber(&mut whole[..len].to_vec(), Some), None, "{len}");
        }
        assert!(primary(&whole[..whole.len() - 5]).is_some_and(|p| p.payload.is_empty()));
        // Headers without end.
        assert_eq!(primary(&[0x80; 400]), None);
    }

    #[test]
    fn what_cannot_be_expressed_is_not_written() {
        let mut out = [0; 4096];
        let long = [0; BLOCK_SIZE_MAX + 1];
        assert_eq!(write(&mut out, 111, &[(960, &long)], &[]), None);
        assert!(write(&mut out, 111, &[(960, &long[1..])], &[]).is_some());
        assert_eq!(write(&mut out, 111, &[(OFFSET_MAX + 1, &[])], &[]), None);
        let many: [(u32, &[u8]); BLOCKS_MAX] = [(1, &[]); BLOCKS_MAX];
        assert_eq!(write(&mut out, 111, &many, &[]), None);
        assert_eq!(write(&mut out[..8], 111, &[(960, &[1])], &[1, 2, 3]), None);
    }
}
