//! What this server is able and willing to do, as far as SDP is concerned.

use crate::codec::Codec;
use crate::extension::Extension;

/// What the peer wants to do with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer sends media to us (WHIP).
    Publish,
    /// The peer receives media from us (WHEP).
    Subscribe,
}

/// What an offer is judged against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Codecs that may be answered. Their order means nothing: the offer's order counts.
    pub codecs: Vec<Codec>,
    /// Header extensions that may be answered.
    pub extensions: Vec<Extension>,
    /// Whether `a=simulcast` is answered. Without it a publisher sends its first layer only.
    pub simulcast: bool,
    /// Simulcast layers that are agreed; those an offer names after them are left out.
    pub layers_max: usize,
    /// Whether an `m=application` section becomes a data channel transport.
    pub data_channels: bool,
    /// Whether we are an ICE-lite agent (RFC 8445 §2.5).
    pub ice_lite: bool,
    /// Characters of a mid we can keep; a section with a longer one is not supported.
    pub mid_size_max: usize,
    /// Characters of a rid we can keep; with a longer one simulcast is not agreed.
    pub rid_size_max: usize,
}

impl Default for Capabilities {
    /// Everything that can be forwarded unchanged: all codecs except RED and multichannel Opus,
    /// all named extensions, simulcast, data channels, ICE-lite.
    fn default() -> Self {
        Self {
            codecs: vec![
                Codec::Opus,
                Codec::Pcmu,
                Codec::Pcma,
                Codec::G722,
                Codec::H264,
                Codec::H265,
                Codec::Vp8,
                Codec::Vp9,
                Codec::Av1,
            ],
            extensions: Extension::KNOWN.to_vec(),
            simulcast: true,
            layers_max: 4,
            data_channels: true,
            ice_lite: true,
            // RFC 8285 §4.2: as much as a one-byte header extension element can carry.
            mid_size_max: 16,
            rid_size_max: 8,
        }
    }
}
