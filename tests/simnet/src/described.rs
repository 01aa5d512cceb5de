//! The dependency descriptor as a header extension of scripted publishers.

use std::sync::Arc;

use str0m::rtp::{Extension, ExtensionMap, ExtensionSerializer, ExtensionValues};

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
