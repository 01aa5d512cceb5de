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
    /// What is added to those of the current source.
    offset: (u16, u8),
}

impl PictureLine {
    /// Goes on with another source whose next picture, a key frame, has these numbers.
    pub fn switch(&mut self, first: Option<PictureNumbers>) {
        self.offset = match (self.newest, first) {
            (Some((picture_id, tl0_pic_idx)), Some(first)) => (
                picture_id.wrapping_add(1).wrapping_sub(first.picture_id) & PICTURE_ID_MASK,
                tl0_pic_idx.wrapping_add(1).wrapping_sub(first.tl0_pic_idx),
            ),
            _ => (0, 0),
        };
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
        let (picture_id, tl0_pic_idx) = self.offset;
        PictureNumbers {
            codec: numbers.codec,
            picture_id: numbers.picture_id.wrapping_add(picture_id) & PICTURE_ID_MASK,
            tl0_pic_idx: numbers.tl0_pic_idx.wrapping_add(tl0_pic_idx),
        }
    }
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

    fn wanted_for_nothing() -> PictureNumbers {
        numbers(1, 1).expect("given")
    }
}
