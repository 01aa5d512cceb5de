//! The dependency descriptor as a header extension of scripted publishers.

use std::sync::Arc;

use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

use crate::bits::Line;

/// The value of a packet's dependency descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described(pub Arc<[u8]>);

impl Described {
    /// The mandatory fields of a packet's descriptor, and a structure where `has_structure` (its
    /// bytes are made up: nobody on the way reads them).
    pub fn packet(is_start: bool, is_end: bool, frame: u16, has_structure: bool) -> Self {
        let [high, low] = frame.to_be_bytes();
        let mut value = vec![u8::from(is_start) << 7 | u8::from(is_end) << 6, high, low];
        if has_structure {
            value.extend_from_slice(&[0x80, 0x01, 0x1e]);
        }
        Described(value.into())
    }

    /// The descriptor of a packet of one of three temporal layers, and with `key` a structure that says
    /// how they build on each other (AV1 RTP payload format 1.0 §A.8.2): on the slowest, and the fastest
    /// on the middle one too. The picture is so large.
    pub fn temporal(
        (is_start, is_end): (bool, bool),
        frame: u16,
        temporal: u8,
        key: Option<(u16, u16)>,
    ) -> Self {
        let mut line = Line::default();
        line.put(u32::from(is_start), 1).put(u32::from(is_end), 1);
        line.put(temporal.into(), 6).put(frame.into(), 16);
        let Some((width, height)) = key else {
            return Described(line.bytes().into());
        };
        // A structure alone; numbers of templates from 0 on, three decode targets.
        line.put(0b10000, 5).put(0, 6).put(2, 5);
        // A template for each temporal layer, and no more.
        line.put(1, 2).put(1, 2).put(3, 2);
        // What each is to the three targets: absent, discardable, or a way up.
        for indications in [[2, 2, 2], [0, 1, 2], [0, 0, 1]] {
            for indication in indications {
                line.put(indication, 2);
            }
        }
        // Distances to what they are predicted from, of which each frame may say others.
        for distance in [4, 2, 1] {
            line.put(1, 1).put(distance - 1, 4).put(0, 1);
        }
        // No chains; sizes, told as one less.
        line.put(0, 2).put(1, 1);
        line.put(u32::from(width) - 1, 16)
            .put(u32::from(height) - 1, 16);
        Described(line.bytes().into())
    }

    /// The number of the frame.
    pub fn number(&self) -> Option<u16> {
        let bytes = self.0.get(1..3)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// As the only extension value of a packet.
    pub fn alone(self) -> ExtensionValues {
        let mut values = ExtensionValues::default();
        values.user_values.set(self);
        values
    }

    /// The usual extensions, and this one as number 12.
    pub fn extensions() -> ExtensionMap {
        let mut map = ExtensionMap::standard();
        map.set(12, Extension::with_serializer(URI, Serializer));
        map
    }
}

#[derive(Debug)]
struct Serializer;

impl ExtensionSerializer for Serializer {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(Described(value)) = values.user_values.get() else {
            return 0;
        };
        buf[..value.len()].copy_from_slice(value);
        value.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        values.user_values.set(Described(buf.into()));
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

const URI: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
