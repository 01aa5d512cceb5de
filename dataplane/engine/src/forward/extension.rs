//! Header extensions as a publisher sends them.
//!
//! str0m reads the hop-by-hop ones itself (mid, rid, abs-send-time, transport-wide sequence
//! numbers). The publisher's word to the viewer passes as raw bytes, whatever is in it, and is
//! written by [`Layout`](super::header::Layout).

use std::marker::PhantomData;
use std::sync::Arc;

use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};
use whitewater_link::PassedExtensions;
use whitewater_sdp::Extension as Planned;

/// The str0m extension that carries a planned one; `None` for what we do not carry.
pub fn for_str0m(planned: &Planned) -> Option<Extension> {
    let raw = |uri: &str| match planned {
        Planned::PlayoutDelay => Extension::with_serializer(uri, Raw::<PlayoutDelay>::NEW),
        Planned::VideoContentType => Extension::with_serializer(uri, Raw::<ContentType>::NEW),
        Planned::VideoTiming => Extension::with_serializer(uri, Raw::<VideoTiming>::NEW),
        Planned::ColorSpace => Extension::with_serializer(uri, Raw::<ColorSpace>::NEW),
        Planned::AbsCaptureTime => Extension::with_serializer(uri, Raw::<CaptureTime>::NEW),
        _ => Extension::with_serializer(uri, Raw::<Dependency>::NEW),
    };
    Some(match planned {
        Planned::Mid => Extension::RtpMid,
        Planned::Rid => Extension::RtpStreamId,
        Planned::RepairedRid => Extension::RepairedRtpStreamId,
        Planned::AbsSendTime => Extension::AbsoluteSendTime,
        Planned::TransportSequence => Extension::TransportSequenceNumber,
        Planned::AudioLevel => Extension::AudioLevel,
        Planned::TransmissionOffset => Extension::TransmissionTimeOffset,
        Planned::VideoOrientation => Extension::VideoOrientation,
        Planned::PlayoutDelay
        | Planned::VideoContentType
        | Planned::VideoTiming
        | Planned::ColorSpace
        | Planned::AbsCaptureTime
        | Planned::DependencyDescriptor => raw(planned.uri()),
        // Describes the layers the publisher sends, which is not what the viewer gets.
        Planned::VideoLayersAllocation | Planned::Other(_) => return None,
    })
}

/// What of a received packet's extensions is meant for the viewer.
pub fn passed(values: &ExtensionValues) -> PassedExtensions {
    let user = &values.user_values;
    PassedExtensions {
        audio_level: values
            .audio_level
            .map(|level| (level, values.voice_activity.unwrap_or(false))),
        video_orientation: values.video_orientation.map(|o| o as u8),
        playout_delay: get::<PlayoutDelay>(values).and_then(|raw| raw[..].try_into().ok()),
        video_content_type: get::<ContentType>(values).and_then(|raw| raw.first().copied()),
        absolute_capture_time: user.get::<Value<CaptureTime>>().map(|v| v.0.clone()),
        dependency_descriptor: user.get::<Value<Dependency>>().map(|v| v.0.clone()),
        color_space: user.get::<Value<ColorSpace>>().map(|v| v.0.clone()),
        video_timing: user.get::<Value<VideoTiming>>().map(|v| v.0.clone()),
    }
}

/// A received packet's dependency descriptor.
pub fn dependency(values: &ExtensionValues) -> Option<&[u8]> {
    get::<Dependency>(values)
}

fn get<T: Tag>(values: &ExtensionValues) -> Option<&[u8]> {
    let value: &Value<T> = values.user_values.get()?;
    Some(&value.0)
}

fn set<T: Tag>(values: &mut ExtensionValues, raw: Arc<[u8]>) {
    values.user_values.set(Value::<T>(raw, PhantomData));
}

/// Raw bytes of one kind of extension; the type is the key under which str0m keeps them.
struct Value<T>(Arc<[u8]>, PhantomData<T>);

/// Reads and writes one kind of extension as raw bytes.
#[derive(Debug)]
struct Raw<T>(PhantomData<T>);

impl<T> Raw<T> {
    const NEW: Self = Raw(PhantomData);
}

/// Which m-sections an extension belongs to.
trait Tag: std::fmt::Debug + Send + Sync + 'static {
    const AUDIO: bool;
    const VIDEO: bool;
}

impl<T: Tag> ExtensionSerializer for Raw<T> {
    fn write_to(&self, buf: &mut [u8], values: &ExtensionValues) -> usize {
        let Some(raw) = get::<T>(values) else {
            return 0;
        };
        let Some(room) = buf.get_mut(..raw.len()) else {
            return 0;
        };
        room.copy_from_slice(raw);
        raw.len()
    }

    fn parse_value(&self, buf: &[u8], values: &mut ExtensionValues) -> bool {
        set::<T>(values, Arc::from(buf));
        true
    }

    fn is_video(&self) -> bool {
        T::VIDEO
    }

    fn is_audio(&self) -> bool {
        T::AUDIO
    }

    /// RFC 8285 §4.2: one byte of header has room for lengths 1 to 16.
    fn requires_two_byte_form(&self, values: &ExtensionValues) -> bool {
        get::<T>(values).is_some_and(|raw| raw.len() > 16)
    }
}

macro_rules! tags {
    ($($name:ident: audio $audio:literal, video $video:literal;)+) => {
        $(
            #[derive(Debug)]
            struct $name;

            impl Tag for $name {
                const AUDIO: bool = $audio;
                const VIDEO: bool = $video;
            }
        )+
    };
}

tags! {
    PlayoutDelay: audio false, video true;
    ContentType: audio false, video true;
    VideoTiming: audio false, video true;
    ColorSpace: audio false, video true;
    CaptureTime: audio true, video true;
    Dependency: audio false, video true;
}
