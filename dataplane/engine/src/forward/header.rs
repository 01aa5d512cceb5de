//! The header a viewer's packet gets.

use whitewater_link::PassedExtensions;
use whitewater_rtp::dependency;
use whitewater_rtp::{ExtensionForm, HeaderFields, HeaderWriter};
use whitewater_sdp::{Extension, TrackPlan};

/// Which header extensions one track of a viewer carries, under which numbers.
#[derive(Clone, Debug)]
pub struct Layout {
    entries: Box<[(u8, Carried)]>,
    mid: Box<str>,
    /// A number or a mid that only the two-byte form can express.
    is_wide: bool,
    /// Whether single packets may use the two-byte form (RFC 8285 §4.1.2).
    may_widen: bool,
}

/// What is written where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    Mid,
    AbsSendTime,
    TransportSequence,
    AudioLevel,
    VideoOrientation,
    PlayoutDelay,
    VideoContentType,
    VideoTiming,
    ColorSpace,
    AbsCaptureTime,
    DependencyDescriptor,
}

/// What is written of a packet's leaving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The value of abs-send-time.
    pub send_time: [u8; 3],
    /// Its transport-wide sequence number.
    pub transport_seq: u16,
    /// What its dependency descriptor is told in.
    pub described: Described,
}

/// What is changed in a dependency descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Added to the frame number.
    pub frame_offset: u16,
    /// Spatial and temporal layer up to which frames are sent, where that is not all of them.
    pub limit: Option<(u8, u8)>,
}

impl Described {
    /// The descriptor as it is sent, in `room`.
    #[cold]
    fn apply<'a>(self, value: &'a [u8], room: &'a mut [u8]) -> &'a [u8] {
        self.changed(value, room).unwrap_or(value)
    }

    fn changed<'a>(self, value: &[u8], room: &'a mut [u8]) -> Option<&'a [u8]> {
        let (spatial, temporal) = self.limit.unwrap_or((u8::MAX, u8::MAX));
        let restricted = dependency::restrict(value, spatial, temporal, room);
        if restricted.is_none() {
            room.get_mut(..value.len())?.copy_from_slice(value);
        }
        let copy = room.get_mut(..restricted.unwrap_or(value.len()))?;
        let number = dependency::frame_number(copy)?.wrapping_add(self.frame_offset);
        dependency::set_frame_number(copy, number);
        Some(copy)
    }
}

/// Whether a packet says which m-section it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MidUse {
    /// Until the viewer has shown that it knows (RFC 9143 §9.2 with RFC 7941 §4.1).
    Said,
    /// Afterwards.
    Left,
}

impl Layout {
    /// As planned. What is not listed in `Carried` is not written, whether or not it was agreed.
    pub fn new(plan: &TrackPlan) -> Self {
        let carried = |extension: &Extension| {
            Some(match extension {
                Extension::Mid => Carried::Mid,
                Extension::AbsSendTime => Carried::AbsSendTime,
                Extension::TransportSequence => Carried::TransportSequence,
                Extension::AudioLevel => Carried::AudioLevel,
                Extension::VideoOrientation => Carried::VideoOrientation,
                Extension::PlayoutDelay => Carried::PlayoutDelay,
                Extension::VideoContentType => Carried::VideoContentType,
                Extension::VideoTiming => Carried::VideoTiming,
                Extension::ColorSpace => Carried::ColorSpace,
                Extension::AbsCaptureTime => Carried::AbsCaptureTime,
                Extension::DependencyDescriptor => Carried::DependencyDescriptor,
                _ => return None,
            })
        };
        let entries = plan
            .extensions
            .iter()
            .filter_map(|planned| Some((planned.id, carried(&planned.extension)?)));
        let entries: Box<[(u8, Carried)]> = entries.collect();
        let long_mid = plan.mid.len() > ONE_BYTE_LEN_MAX;
        let is_wide = entries
            .iter()
            .any(|&(id, carried)| id > ONE_BYTE_ID_MAX || (carried == Carried::Mid && long_mid));
        Layout {
            entries,
            mid: plan.mid.as_str().into(),
            is_wide,
            may_widen: plan.extmap_allow_mixed || is_wide,
        }
    }

    /// Whether packets carry a transport-wide sequence number.
    pub fn is_numbered(&self) -> bool {
        let is_number = |(_, carried): &(u8, Carried)| *carried == Carried::TransportSequence;
        self.entries.iter().any(is_number)
    }

    /// Writes the header to the front of `out`; returns its length.
    ///
    /// The same set of extensions is written for every packet that brings the same ones, so that
    /// packets of one size stay so. `None` when `out` is too short.
    #[inline]
    pub fn write(
        &self,
        out: &mut [u8],
        fields: HeaderFields,
        passed: &PassedExtensions,
        stamp: Stamp,
        mid: MidUse,
    ) -> Option<usize> {
        let long = |value: &Option<std::sync::Arc<[u8]>>| {
            value.as_ref().is_some_and(|v| v.len() > ONE_BYTE_LEN_MAX)
        };
        let wants_width = self.is_wide
            || long(&passed.dependency_descriptor)
            || long(&passed.color_space)
            || long(&passed.absolute_capture_time)
            || long(&passed.video_timing);
        let form = match wants_width && self.may_widen {
            true => ExtensionForm::TwoByte,
            false => ExtensionForm::OneByte,
        };
        let mut writer = HeaderWriter::new(out, fields, form).ok()?;
        for &(id, carried) in &self.entries {
            let (level, orientation, content, number);
            let mut room: [u8; DESCRIPTOR_ROOM];
            let value: Option<&[u8]> = match carried {
                Carried::Mid if mid == MidUse::Left => None,
                Carried::Mid => Some(self.mid.as_bytes()),
                Carried::AbsSendTime => Some(&stamp.send_time),
                Carried::TransportSequence => {
                    number = stamp.transport_seq.to_be_bytes();
                    Some(&number)
                }
                Carried::AudioLevel => {
                    level = passed.audio_level.map(audio_level);
                    level.as_ref().map(|byte| &byte[..])
                }
                Carried::VideoOrientation => {
                    orientation = passed.video_orientation.map(|byte| [byte]);
                    orientation.as_ref().map(|byte| &byte[..])
                }
                Carried::PlayoutDelay => passed.playout_delay.as_ref().map(|value| &value[..]),
                Carried::VideoContentType => {
                    content = passed.video_content_type.map(|byte| [byte]);
                    content.as_ref().map(|byte| &byte[..])
                }
                Carried::VideoTiming => passed.video_timing.as_deref(),
                Carried::ColorSpace => passed.color_space.as_deref(),
                Carried::AbsCaptureTime => passed.absolute_capture_time.as_deref(),
                Carried::DependencyDescriptor if stamp.described == Described::default() => {
                    passed.dependency_descriptor.as_deref()
                }
                Carried::DependencyDescriptor => {
                    room = [0; DESCRIPTOR_ROOM];
                    let value = passed.dependency_descriptor.as_deref();
                    value.map(|value| stamp.described.apply(value, &mut room))
                }
            };
            if let Some(value) = value {
                use whitewater_rtp::WriteError;
                match writer.extension(id, value) {
                    // What the form cannot express is left out; the packet is worth more.
                    Ok(()) | Err(WriteError::Extension { .. }) => {}
                    Err(_) => return None,
                }
            }
        }
        writer.finish().ok()
    }
}

/// RFC 6464 §3: the voice flag, and the level as its distance below the overload point.
fn audio_level((level, voice): (i8, bool)) -> [u8; 1] {
    let below = level.unsigned_abs().min(127);
    [u8::from(voice) << 7 | below]
}

/// An extension has up to 255 bytes; a mask of decode targets adds four.
const DESCRIPTOR_ROOM: usize = 259;

/// RFC 8285 §4.2.
const ONE_BYTE_ID_MAX: u8 = 14;
const ONE_BYTE_LEN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whitewater_rtp::RtpHeader;
    use whitewater_sdp::{Capabilities, Limits, Offer, Role, judge};

    use super::*;

    const OFFER: &str = include_str!("../../../../tests/corpus/sdp/chrome-watch.sdp");
    const FIELDS: HeaderFields = HeaderFields {
        marker: true,
        payload_type: 96,
        sequence_number: 7,
        timestamp: 9,
        ssrc: 11,
    };

    const STAMP: Stamp = Stamp {
        send_time: [1, 2, 3],
        transport_seq: 0xfffe,
        described: Described {
            frame_offset: 0,
            limit: None,
        },
    };

    fn plan() -> TrackPlan {
        let offer = Offer::parse(OFFER, &Limits::default()).expect("a recorded offer");
        let capabilities = Capabilities {
            extensions: vec![
                Extension::Mid,
                Extension::AbsSendTime,
                Extension::TransportSequence,
                Extension::VideoOrientation,
                Extension::ColorSpace,
            ],
            ..Capabilities::default()
        };
        let plan = judge(&offer, Role::Subscribe, &capabilities).expect("supported");
        let video = |t: &&TrackPlan| t.kind == whitewater_sdp::MediaKind::Video;
        plan.tracks().find(video).expect("video").clone()
    }

    fn write(layout: &Layout, passed: &PassedExtensions, mid: MidUse) -> Vec<u8> {
        let mut out = [0; 400];
        let len = layout.write(&mut out, FIELDS, passed, STAMP, mid);
        out[..len.expect("it fits")].to_vec()
    }

    #[test]
    fn each_value_stands_under_the_viewers_number() {
        let plan = plan();
        let layout = Layout::new(&plan);
        let passed = PassedExtensions {
            video_orientation: Some(3),
            playout_delay: Some([9; 3]),
            ..PassedExtensions::default()
        };
        let bytes = write(&layout, &passed, MidUse::Said);
        let header = RtpHeader::parse(&bytes).expect("a header");
        let value = |extension| header.extension(plan.extension_id(&extension).expect("agreed"));
        assert_eq!(value(Extension::Mid), Some(plan.mid.as_bytes()));
        assert_eq!(value(Extension::AbsSendTime), Some(&[1, 2, 3][..]));
        assert_eq!(value(Extension::TransportSequence), Some(&[0xff, 0xfe][..]));
        assert_eq!(value(Extension::VideoOrientation), Some(&[3][..]));
        assert!(layout.is_numbered());
        assert_eq!(
            header.extensions().count(),
            4,
            "what was not agreed is not sent"
        );
        assert_eq!((header.sequence_number(), header.ssrc()), (7, 11));

        let bytes = write(&layout, &passed, MidUse::Left);
        let header = RtpHeader::parse(&bytes).expect("a header");
        assert_eq!(header.extensions().count(), 3);
    }

    #[test]
    fn every_packet_of_one_kind_has_a_header_of_one_length() {
        // Else they would not share a run: numbers and times change, lengths do not.
        let layout = Layout::new(&plan());
        let mut out = [0; 400];
        let mut lengths: Vec<Option<usize>> = Vec::new();
        for transport_seq in [0, 1, 0xff, 0x100, u16::MAX] {
            let stamp = Stamp {
                transport_seq,
                ..STAMP
            };
            let passed = PassedExtensions::default();
            lengths.push(layout.write(&mut out, FIELDS, &passed, stamp, MidUse::Left));
        }
        lengths.dedup();
        assert_eq!(lengths.len(), 1, "{lengths:?}");
    }

    #[test]
    fn a_long_value_takes_the_two_byte_form_only_where_that_was_agreed() {
        let mut plan = plan();
        let passed = PassedExtensions {
            color_space: Some(Arc::from(&[5; 28][..])),
            ..PassedExtensions::default()
        };
        for (mixed, profile, count) in [(true, 0x1000, 4), (false, 0xbede, 3)] {
            plan.extmap_allow_mixed = mixed;
            let bytes = write(&Layout::new(&plan), &passed, MidUse::Said);
            let header = RtpHeader::parse(&bytes).expect("a header");
            assert_eq!(header.extension_profile(), Some(profile));
            assert_eq!(header.extensions().count(), count);
        }
    }

    #[test]
    fn a_dependency_descriptor_goes_on_in_its_numbers_and_says_no_more_than_is_sent() {
        let mut plan = plan();
        let is_free = |id: &u8| plan.extensions.iter().all(|planned| planned.id != *id);
        let id = (1..15).find(is_free).expect("a number");
        plan.extensions.push(whitewater_sdp::ExtensionPlan {
            id,
            extension: Extension::DependencyDescriptor,
            directed: false,
        });
        // One spatial and two temporal layers (AV1 RTP payload format 1.0 §A.8.2): template and number,
        // flags, offset and count of targets, layers, indications, no references, chains or sizes.
        let bits = "11000000_1111111111111111_10000_000000_00001_01_11_10_10_00_01_0_0_00_0";
        let bits: Vec<char> = bits.chars().filter(|&bit| bit != '_').collect();
        let byte = |bits: &[char]| {
            let text: String = bits.iter().collect();
            u8::from_str_radix(&format!("{text:0<8}"), 2).expect("bits")
        };
        let value: Vec<u8> = bits.chunks(8).map(byte).collect();
        let passed = PassedExtensions {
            dependency_descriptor: Some(Arc::from(&value[..])),
            ..PassedExtensions::default()
        };
        let layout = Layout::new(&plan);
        let written = |frame_offset, limit| {
            let stamp = Stamp {
                described: Described {
                    frame_offset,
                    limit,
                },
                ..STAMP
            };
            let mut out = [0; 400];
            let len = layout.write(&mut out, FIELDS, &passed, stamp, MidUse::Left);
            let header = RtpHeader::parse(&out[..len.expect("it fits")]).expect("a header");
            header.extension(id).expect("it is carried").to_vec()
        };
        assert_eq!(written(0, None), value);
        assert_eq!(written(0, Some((u8::MAX, 1))), value, "all of it");
        let moved = written(3, None);
        assert_eq!(dependency::frame_number(&moved), Some(2));
        assert_eq!((&moved[..1], &moved[3..]), (&value[..1], &value[3..]));
        let cut = written(0, Some((u8::MAX, 0)));
        let structure = dependency::Structure::parse(&value).expect("it brings one");
        assert_eq!(
            dependency::Structure::parse(&cut).as_ref(),
            Some(&structure)
        );
        assert_eq!(cut[3] & 0x40, 0x40);
    }

    #[test]
    fn the_level_is_written_as_it_was_read() {
        for (level, voice, byte) in [(0, false, 0), (-42, true, 0xaa), (-127, false, 0x7f)] {
            assert_eq!(audio_level((level, voice)), [byte]);
        }
    }

    #[test]
    fn a_header_without_room_is_none() {
        let layout = Layout::new(&plan());
        for room in 0..20 {
            let mut out = vec![0; room];
            let passed = PassedExtensions::default();
            let len = layout.write(&mut out, FIELDS, &passed, STAMP, MidUse::Said);
            assert_eq!(len, None, "{room}");
        }
    }
}
