//! Structures are read as they were written, and descriptors by them.

use proptest::prelude::*;

use super::*;

/// Bits in the order they are sent in.
#[derive(Clone, Default)]
struct Line(Vec<bool>);

impl Line {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        self.0
            .extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn put_below(&mut self, value: u32, end: u32) -> &mut Self {
        let width = u32::BITS - end.leading_zeros();
        let short = (1 << width) - end;
        match value < short {
            true => self.put(value, width - 1),
            false => self.put(value + short, width),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            let bits = bits.iter().zip((0..8).rev());
            bits.fold(0, |byte, (&bit, place)| byte | u8::from(bit) << place)
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// Spatial and temporal layers, each with a template of its own and a decode target.
#[derive(Clone, Copy, Debug)]
struct Layers {
    spatials: u32,
    temporals: u32,
    chains: bool,
    sizes: bool,
    id_offset: u32,
}

impl Layers {
    fn targets(self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.spatials).flat_map(move |s| (0..self.temporals).map(move |t| (s, t)))
    }

    /// What a frame of these layers is to a decode target: the frames of the slowest temporal layer
    /// are switching points of their spatial layer, the fastest are referred to by nobody but the
    /// spatial layers above.
    fn indication(self, (s, t): (u32, u32), target: (u32, u32)) -> u32 {
        match target {
            (spatial, temporal) if spatial < s || temporal < t => 0,
            (spatial, _) if spatial > s => 3,
            (_, temporal) if t > 0 && temporal == t => 1,
            _ => 2,
        }
    }

    /// A descriptor of a frame, with the structure where it is `key`.
    fn descriptor(self, frame: (u32, u32), number: u32, key: bool) -> Line {
        let mut line = Line::default();
        let place = frame.0 * self.temporals + frame.1;
        let template = (self.id_offset + place) % 64;
        line.put(0b11, 2).put(template, 6).put(number, 16);
        if !key {
            return line;
        }
        line.put(0b10000, 5);
        line.put(self.id_offset, 6);
        let count = self.spatials * self.temporals;
        line.put(count - 1, 5);
        for (place, (_, t)) in (1..).zip(self.targets()) {
            let next = match (place == count, t + 1 == self.temporals) {
                (true, _) => 3,
                (false, true) => 2,
                (false, false) => 1,
            };
            line.put(next, 2);
        }
        for template in self.targets() {
            for target in self.targets() {
                line.put(self.indication(template, target), 2);
            }
        }
        for (s, t) in self.targets() {
            // To a frame before, and to the spatial layer below.
            line.put(1, 1).put(s + t, 4);
            if s > 0 {
                line.put(1, 1).put(0, 4);
            }
            line.put(0, 1);
        }
        match self.chains {
            true => {
                line.put_below(self.spatials, count + 1);
                for (s, _) in self.targets() {
                    line.put_below(s, self.spatials);
                }
                for _ in 0..count * self.spatials {
                    line.put(1, 4);
                }
            }
            false => {
                line.put_below(0, count + 1);
            }
        }
        line.put(u32::from(self.sizes), 1);
        for s in (0..self.spatials).filter(|_| self.sizes) {
            line.put((320 << s) - 1, 16).put((180 << s) - 1, 16);
        }
        line
    }
}

fn all_layers() -> impl Iterator<Item = Layers> {
    let counts = (1..=3).flat_map(|spatials| (1..=3).map(move |temporals| (spatials, temporals)));
    counts.flat_map(|(spatials, temporals)| {
        [(false, false, 0), (true, true, 60), (true, false, 7)].map(|(chains, sizes, id_offset)| {
            Layers {
                spatials,
                temporals,
                chains,
                sizes,
                id_offset,
            }
        })
    })
}

#[test]
fn frames_are_told_by_their_templates() {
    // AV1 RTP payload format 1.0 §A.8.
    for layers in all_layers() {
        let key = layers.descriptor((0, 0), 65_535, true).bytes();
        let structure = Structure::parse(&key).unwrap_or_else(|| panic!("{layers:?}"));
        assert_eq!(structure.templates.len(), structure.targets.len());
        let sizes: Vec<u16> = structure.sizes().iter().map(|size| size.width).collect();
        let expected = [320, 640, 1280];
        let count = if layers.sizes { layers.spatials } else { 0 };
        assert_eq!(sizes, expected[..count as usize], "{layers:?}");
        for (number, (s, t)) in (7..).zip(layers.targets()) {
            let value = layers.descriptor((s, t), number, false).bytes();
            let frame = structure.frame(&value).expect("its template is known");
            let top = layers.temporals as u8 - 1;
            let expected = Frame {
                is_start: true,
                is_end: true,
                number: number as u16,
                spatial: s as u8,
                temporal: t as u8,
                opens: if u32::from(top) > t || t == 0 { top } else { 0 },
                // Of a spatial layer that others are predicted from nothing is.
                is_discardable: t > 0 && (s, t) == (layers.spatials - 1, top.into()),
            };
            assert_eq!(frame, expected, "{layers:?}");
            assert_eq!(frame_number(&value), Some(number as u16));
            assert_eq!(Structure::parse(&value), None, "it brings none");
        }
        assert_eq!(
            structure.frame(&key).map(|frame| frame.number),
            Some(65_535)
        );
        let other = layers.id_offset + layers.spatials * layers.temporals;
        let mut strange = key.clone();
        strange[0] = 0xc0 | (other % 64) as u8;
        assert_eq!(structure.frame(&strange), None, "no such template");
    }
}

#[test]
fn what_a_frame_is_to_decode_targets_may_be_told_beside_the_template() {
    let layers = Layers {
        spatials: 1,
        temporals: 3,
        chains: true,
        sizes: false,
        id_offset: 0,
    };
    let structure =
        Structure::parse(&layers.descriptor((0, 0), 1, true).bytes()).expect("it has one");
    // custom_dtis_flag: required by all, a switch for the second; then with a mask before it.
    for (flags, mask) in [(0b00100, 0), (0b01100, 3)] {
        let mut line = layers.descriptor((0, 0), 2, false);
        line.put(flags, 5).put(0b111, mask);
        line.put(3, 2).put(2, 2).put(3, 2);
        let frame = structure.frame(&line.bytes()).expect("well-formed");
        assert_eq!((frame.temporal, frame.opens), (0, 1));
    }
    let mut cut = layers.descriptor((0, 0), 2, false);
    cut.put(0b00100, 5);
    assert_eq!(structure.frame(&cut.bytes()), None);
}

#[test]
fn the_targets_that_are_still_sent_are_named_where_the_structure_is() {
    for layers in all_layers() {
        let key = layers.descriptor((0, 0), 9, true).bytes();
        let structure = Structure::parse(&key).expect("it has one");
        for (spatial, temporal) in layers.targets() {
            let mut out = [0xff; 260];
            let copied = restrict(&key, spatial as u8, temporal as u8, &mut out);
            let top = (layers.spatials - 1, layers.temporals - 1);
            let Some(len) = copied else {
                assert_eq!((spatial, temporal), top, "{layers:?}: all of them");
                continue;
            };
            assert_ne!((spatial, temporal), top);
            let copy = &out[..len];
            assert_eq!(copy[3] & 0x40, 0x40, "active_decode_targets_present_flag");
            assert_eq!(Structure::parse(copy).as_ref(), Some(&structure));
            assert_eq!(structure.frame(copy), structure.frame(&key));
            // Named once more with the same bounds there is nothing to change.
            assert_eq!(
                restrict(copy, spatial as u8, temporal as u8, &mut [0; 260]),
                None
            );
            let mut bits = Bits::after(copy, EXTENDED_AT);
            Structure::read(&mut bits).expect("a structure");
            let mask = bits.take(structure.targets.len() as u32).expect("a mask");
            let expected: u32 = (0..)
                .zip(layers.targets())
                .filter(|(_, (s, t))| *s <= spatial && *t <= temporal)
                .map(|(target, _)| 1 << target)
                .sum();
            assert_eq!(mask, expected, "{layers:?}");
        }
        assert_eq!(restrict(&key[..3], 0, 0, &mut [0; 260]), None);
        if layers.spatials * layers.temporals > 1 {
            assert_eq!(restrict(&key, 0, 0, &mut [0; 4]), None, "no room");
        }
    }
}

#[test]
fn another_frame_number_is_all_that_changes() {
    let mut value = [0xc5, 0xff, 0xff, 0x12];
    set_frame_number(&mut value, 0x0102);
    assert_eq!(value, [0xc5, 1, 2, 0x12]);
    set_frame_number(&mut value[..2], 7);
    assert_eq!(value, [0xc5, 1, 2, 0x12]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        value in prop::collection::vec(any::<u8>(), 0..255),
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        limit: (u8, u8),
    ) {
        let mut value = value;
        if let Some(flags) = value.get_mut(FLAGS_BYTE) {
            *flags |= 0x80;
        }
        if let Some(structure) = Structure::parse(&value) {
            prop_assert!(structure.templates.len() <= 64 && structure.targets.len() <= 32);
            for frame in &frames {
                let _ = structure.frame(frame);
            }
        }
        let mut out = [0; 260];
        if let Some(len) = restrict(&value, limit.0, limit.1, &mut out) {
            prop_assert!(len <= value.len() + 4);
            prop_assert_eq!(Structure::parse(&out[..len]), Structure::parse(&value));
        }
    }
}
