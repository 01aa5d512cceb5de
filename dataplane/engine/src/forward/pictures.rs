//! One continuous count of pictures for a viewer, whatever its pictures come from.
//!
//! VP8 and VP9 number pictures in the payload. A decoder that sees the numbers leap back takes the
//! pictures for old ones, so after a change of source the numbers go on where they were.

use whitewater_link::{PictureCodec, PictureNumbers};
use whitewater_rtp::payload::{vp8, vp9};

/// The numbers of one track of a viewer.
#[derive(Clone, Copy, Debug, Default)]
pub struct PictureLine {
    /// The newest that were sent.
    newest: Option<(u16, u8)>,
    /// What is added to those of the current source: to the picture id from some picture on, the
    /// oldest first, and to the number of base-layer pictures.
    runs: [Run; RUNS],
    run_count: usize,
    tl0_offset: u8,
    /// What is added to the frame numbers of dependency descriptors, and the newest that was sent.
    frame_offset: u16,
    newest_frame: Option<u16>,
}

/// Picture ids at a constant distance from the source's.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    first: u16,
    offset: u16,
}

impl PictureLine {
    /// Goes on with another source whose next picture, a key frame, has these numbers.
    pub fn switch(&mut self, first: Option<PictureNumbers>) {
        let (offset, tl0_offset) = match (self.newest, first) {
            (Some((picture_id, tl0_pic_idx)), Some(first)) => (
                picture_id.wrapping_add(1).wrapping_sub(first.picture_id) & PICTURE_ID_MASK,
                tl0_pic_idx.wrapping_add(1).wrapping_sub(first.tl0_pic_idx),
            ),
            _ => (0, 0),
        };
        self.tl0_offset = tl0_offset;
        self.run_count = 0;
        self.begin_run(Run {
            first: first.map_or(0, |first| first.picture_id),
            offset,
        });
    }

    /// Goes on with another source whose next frame has this number in its dependency descriptor.
    pub fn switch_frames(&mut self, first: Option<u16>) {
        self.frame_offset = match (self.newest_frame, first) {
            (Some(newest), Some(first)) => newest.wrapping_add(1).wrapping_sub(first),
            _ => 0,
        };
    }

    /// What is added to the frame number of a dependency descriptor. Frames that are left out leave
    /// their numbers out: what others refer to is told as distances.
    #[inline]
    pub fn frame_offset(&mut self, number: Option<u16>) -> u16 {
        if let Some(number) = number {
            let mapped = number.wrapping_add(self.frame_offset);
            let is_newer = |newest: u16| mapped.wrapping_sub(newest) < 0x8000;
            if self.newest_frame.is_none_or(is_newer) {
                self.newest_frame = Some(mapped);
            }
        }
        self.frame_offset
    }

    /// The same for a packet that is sent again.
    pub fn frame_offset_again(&self) -> u16 {
        self.frame_offset
    }

    /// Leaves a picture out, newer than all before it, so that no number is missing.
    ///
    /// Of VP8 only: there a receiver takes a number that is missing for a picture that may be needed
    /// (RFC 7741 §4.2); VP9 tells layers by them (RFC 9628 §4.2).
    pub fn skip(&mut self, numbers: Option<PictureNumbers>) {
        let Some(numbers) = numbers.filter(|numbers| numbers.codec == PictureCodec::Vp8) else {
            return;
        };
        let Some(newest) = self
            .run_count
            .checked_sub(1)
            .and_then(|at| self.runs.get(at))
        else {
            return;
        };
        let next = numbers.picture_id.wrapping_add(1) & PICTURE_ID_MASK;
        let run = Run {
            first: next,
            offset: newest.offset.wrapping_sub(1) & PICTURE_ID_MASK,
        };
        // Not of what the newest run has passed already: its number stays missing.
        if is_from(numbers.picture_id, newest.first) {
            self.begin_run(run);
        }
    }

    /// What stands in the packet for the viewer; `None` if that is what stands there already.
    #[inline]
    pub fn map(&mut self, numbers: Option<PictureNumbers>) -> Option<PictureNumbers> {
        let numbers = numbers?;
        let mapped = self.place(numbers);
        let (picture_id, tl0_pic_idx) = (mapped.picture_id, mapped.tl0_pic_idx);
        let (newest_id, newest_tl0) = self.newest.unwrap_or((picture_id, tl0_pic_idx));
        let ahead = picture_id.wrapping_sub(newest_id) & PICTURE_ID_MASK <= PICTURE_ID_MASK / 2;
        let tl0_ahead = tl0_pic_idx.wrapping_sub(newest_tl0) < 0x80;
        self.newest = Some((
            if ahead { picture_id } else { newest_id },
            if tl0_ahead { tl0_pic_idx } else { newest_tl0 },
        ));
        (mapped != numbers).then_some(mapped)
    }

    /// As [`map`](Self::map), for a packet that is sent again.
    pub fn again(&self, numbers: Option<PictureNumbers>) -> Option<PictureNumbers> {
        let numbers = numbers?;
        let mapped = self.place(numbers);
        (mapped != numbers).then_some(mapped)
    }

    fn place(&self, numbers: PictureNumbers) -> PictureNumbers {
        let runs = self.runs.get(..self.run_count).unwrap_or_default();
        let mut newest_first = runs.iter().rev();
        let found = newest_first.find(|run| is_from(numbers.picture_id, run.first));
        // Before all that is known, or counted in fewer bits.
        let offset = found.or(runs.last()).map_or(0, |run| run.offset);
        PictureNumbers {
            codec: numbers.codec,
            picture_id: numbers.picture_id.wrapping_add(offset) & PICTURE_ID_MASK,
            tl0_pic_idx: numbers.tl0_pic_idx.wrapping_add(self.tl0_offset),
        }
    }

    fn begin_run(&mut self, run: Run) {
        if self.run_count == RUNS {
            self.runs.rotate_left(1);
            self.run_count -= 1;
        }
        if let Some(place) = self.runs.get_mut(self.run_count) {
            *place = run;
            self.run_count += 1;
        }
    }
}

/// Whether a picture is `first` or later.
fn is_from(picture_id: u16, first: u16) -> bool {
    picture_id.wrapping_sub(first) & PICTURE_ID_MASK <= PICTURE_ID_MASK / 2
}

/// The numbers in a payload of this codec, if it has any.
pub fn read(codec: whitewater_rtp::Codec, payload: &[u8]) -> Option<PictureNumbers> {
    let (codec, picture_id, tl0_pic_idx) = match codec {
        whitewater_rtp::Codec::Vp8 => {
            let descriptor = vp8::Descriptor::parse(payload)?;
            let (id, idx) = (descriptor.picture_id, descriptor.tl0_pic_idx);
            (PictureCodec::Vp8, id, idx)
        }
        whitewater_rtp::Codec::Vp9 => {
            let descriptor = vp9::Descriptor::parse(payload)?;
            let (id, idx) = (descriptor.picture_id, descriptor.tl0_pic_idx);
            (PictureCodec::Vp9, id, idx)
        }
        _ => return None,
    };
    Some(PictureNumbers {
        codec,
        picture_id: picture_id?.value(),
        tl0_pic_idx: tl0_pic_idx.unwrap_or(0),
    })
}

/// Puts numbers into a payload that [`read`] found some in; their width stays.
pub fn write(payload: &mut [u8], numbers: PictureNumbers) {
    // It was read before, so it can be written.
    let _ = match numbers.codec {
        PictureCodec::Vp8 => vp8::rewrite(payload, numbers.picture_id, numbers.tl0_pic_idx),
        PictureCodec::Vp9 => vp9::rewrite(payload, numbers.picture_id, numbers.tl0_pic_idx),
    };
}

/// RFC 7741 §4.2, RFC 9628 §4.2: 15 bits.
const PICTURE_ID_MASK: u16 = 0x7fff;

/// Runs remembered: with every other picture left out 64 pictures, two seconds.
const RUNS: usize = 32;

#[cfg(test)]
mod tests {
    use whitewater_rtp::Codec;

    use super::*;

    fn numbers(picture_id: u16, tl0_pic_idx: u8) -> Option<PictureNumbers> {
        Some(PictureNumbers {
            codec: PictureCodec::Vp8,
            picture_id,
            tl0_pic_idx,
        })
    }

    #[test]
    fn the_first_source_is_left_as_it_is() {
        let mut line = PictureLine::default();
        line.switch(numbers(32_000, 7));
        for id in 32_000..32_767 {
            assert_eq!(line.map(numbers(id, 7)), None);
        }
        assert_eq!(line.map(None), None);
    }

    #[test]
    fn another_source_goes_on_where_the_numbers_were() {
        // Over the ends of both number spaces.
        let mut line = PictureLine::default();
        line.switch(numbers(32_766, 254));
        line.map(numbers(32_766, 254));
        line.map(numbers(32_767, 255));
        line.map(numbers(32_765, 253));
        line.switch(numbers(500, 9));
        assert_eq!(line.map(numbers(500, 9)), numbers(0, 0));
        assert_eq!(line.map(numbers(501, 9)), numbers(1, 0));
        assert_eq!(line.map(numbers(502, 10)), numbers(2, 1));
        assert_eq!(line.again(numbers(501, 9)), numbers(1, 0));
        // A late one has its place too, and does not take the line back.
        assert_eq!(line.map(numbers(500, 9)), numbers(0, 0));
        line.switch(numbers(0, 0));
        assert_eq!(line.map(numbers(0, 0)), numbers(3, 2));
    }

    #[test]
    fn a_source_without_numbers_does_not_stop_the_line() {
        let mut line = PictureLine::default();
        line.switch(numbers(10, 1));
        line.map(numbers(10, 1));
        line.switch(None);
        assert_eq!(line.map(None), None);
        line.switch(numbers(900, 30));
        assert_eq!(line.map(numbers(900, 30)), numbers(11, 2));
    }

    #[test]
    fn payloads_are_written_in_the_width_they_have() {
        let vp8_wide = [0x90, 0xe0, 0x81, 0x02, 0x07, 0x40, 0x10];
        let vp8_narrow = [0x90, 0x80, 0x05, 0x10];
        let vp9 = [0xa8, 0x81, 0x02, 0x00, 0x07, 0x49];
        for (codec, payload) in [
            (Codec::Vp8, &vp8_wide[..]),
            (Codec::Vp8, &vp8_narrow),
            (Codec::Vp9, &vp9),
        ] {
            let before = read(codec, payload).expect("it counts");
            let mut changed = payload.to_vec();
            let wanted = PictureNumbers {
                picture_id: 0x33,
                tl0_pic_idx: before.tl0_pic_idx.wrapping_mul(9),
                ..before
            };
            write(&mut changed, wanted);
            assert_eq!(changed.len(), payload.len());
            assert_eq!(read(codec, &changed), Some(wanted));
            write(&mut changed, before);
            assert_eq!(changed, payload, "nothing else was touched");
        }
        assert_eq!(read(Codec::Vp8, &[0x10, 0x10]), None);
        assert_eq!(read(Codec::H264, &vp8_wide), None);
        write(&mut [], wanted_for_nothing());
    }

    #[test]
    fn pictures_that_are_left_out_leave_no_number_behind() {
        let mut line = PictureLine::default();
        line.switch(numbers(32_760, 7));
        let mut expected = 32_760_u16;
        let mut sent = Vec::new();
        for id in (32_760..32_768).chain(0..200) {
            // Every other one, each of two packets.
            if id % 2 == 1 {
                line.skip(numbers(id, 7));
                line.skip(numbers(id, 7));
                continue;
            }
            let mapped = line.map(numbers(id, 7)).or(numbers(id, 7));
            assert_eq!(mapped, numbers(expected & 0x7fff, 7), "{id}");
            sent.push((id, expected & 0x7fff));
            expected += 1;
        }
        // Those of the last two seconds are sent again under the same numbers.
        for &(id, mapped) in sent.iter().rev().take(30) {
            let again = line.again(numbers(id, 7)).or(numbers(id, 7));
            assert_eq!(again, numbers(mapped, 7), "{id}");
        }
        // One that was passed already: its number stays missing.
        line.map(numbers(201, 7));
        line.skip(numbers(150, 7));
        let before = line.again(numbers(201, 7));
        assert_eq!(
            line.map(numbers(202, 7)).map(|n| n.picture_id),
            before.map(|n| n.picture_id + 1)
        );
        // Another source goes on behind all that.
        line.switch(numbers(77, 200));
        assert_eq!(
            line.map(numbers(77, 200)),
            numbers(before.expect("mapped").picture_id + 2, 8)
        );
    }

    #[test]
    fn pictures_of_vp9_keep_their_distances() {
        let vp9 = |picture_id| {
            Some(PictureNumbers {
                codec: PictureCodec::Vp9,
                picture_id,
                tl0_pic_idx: 0,
            })
        };
        let mut line = PictureLine::default();
        line.switch(vp9(5));
        line.map(vp9(5));
        line.skip(vp9(6));
        assert_eq!(line.map(vp9(7)), None);
    }

    #[test]
    fn frame_numbers_go_on_behind_those_of_another_source() {
        let mut line = PictureLine::default();
        line.switch_frames(Some(65_534));
        for number in [65_534, 65_535, 1, 0] {
            assert_eq!(line.frame_offset(Some(number)), 0);
        }
        line.switch_frames(Some(500));
        let offset = line.frame_offset(Some(500));
        assert_eq!(500_u16.wrapping_add(offset), 2);
        assert_eq!(
            (line.frame_offset(None), line.frame_offset_again()),
            (offset, offset)
        );
        line.switch_frames(None);
        assert_eq!(line.frame_offset(None), 0);
    }

    fn wanted_for_nothing() -> PictureNumbers {
        numbers(1, 1).expect("given")
    }
}
