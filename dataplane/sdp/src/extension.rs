//! RTP header extensions and the URIs that name them.

/// A header extension, by what its URI means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `sdes:mid` (RFC 9143 §16.2).
    Mid,
    /// `sdes:rtp-stream-id` (RFC 8852).
    Rid,
    /// `sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRid,
    /// Absolute send time.
    AbsSendTime,
    /// Transport-wide sequence number, version 1.
    TransportSequence,
    /// Client-to-mixer audio level (RFC 6464).
    AudioLevel,
    /// Transmission time offset (RFC 5450).
    TransmissionOffset,
    /// Coordination of video orientation (3GPP TS 26.114).
    VideoOrientation,
    /// Playout delay limits.
    PlayoutDelay,
    /// Video content type.
    VideoContentType,
    /// Video timing.
    VideoTiming,
    /// Colour space.
    ColorSpace,
    /// AV1's dependency descriptor, used with every codec.
    DependencyDescriptor,
    /// Video layers allocation.
    VideoLayersAllocation,
    /// Absolute capture time.
    AbsCaptureTime,
    /// Any other URI, as offered.
    Other(String),
}

impl Extension {
    /// Every extension that has a name here.
    pub const KNOWN: [Self; 15] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsSendTime,
        Self::TransportSequence,
        Self::AudioLevel,
        Self::TransmissionOffset,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::VideoContentType,
        Self::VideoTiming,
        Self::ColorSpace,
        Self::DependencyDescriptor,
        Self::VideoLayersAllocation,
        Self::AbsCaptureTime,
    ];

    /// The URI as it stands in an `a=extmap` line.
    #[must_use]
    pub fn uri(&self) -> &str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::TransmissionOffset => "urn:ietf:params:rtp-hdrext:toffset",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::VideoContentType => {
                "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
            }
            Self::VideoTiming => "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
            Self::ColorSpace => "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::VideoLayersAllocation => {
                "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"
            }
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::Other(uri) => uri,
        }
    }

    /// The extension a URI names; [`Extension::Other`] for any that has no name here.
    #[must_use]
    pub fn from_uri(uri: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|known| known.uri() == uri)
            .unwrap_or_else(|| Self::Other(uri.to_owned()))
    }
}
