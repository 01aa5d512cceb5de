//! Which of a viewer's payload types a publisher's packets leave under.

use whitewater_link::{MediaKind, TrackDescription};
use whitewater_sdp::{Codec, CodecPlan, Feedback, map_payload_types};

use super::EgressTrack;
use super::redundancy::{Made, Redundancy};

impl EgressTrack {
    /// Goes by what another publisher sends.
    pub(super) fn map(&mut self, tracks: &[TrackDescription], track: u8) {
        let track = tracks.get(usize::from(track));
        let published = track.map(codec_plans).unwrap_or_default();
        self.payload_types = map_payload_types(&published, &self.codecs);
        let is_red = |pt| {
            let mut codecs = self.codecs.iter().filter(|codec| codec.pt == pt);
            codecs.any(|codec| codec.codec == Codec::Red)
        };
        self.redundancy =
            track.and_then(|track| Redundancy::new(track, &self.payload_types, is_red));
        self.made = Made::new(&published, &self.codecs, &self.payload_types);
    }

    /// Whether any of the publisher's codecs can be shown to this viewer.
    pub fn carries(&self, track: &TrackDescription) -> bool {
        map_payload_types(&codec_plans(track), &self.codecs)
            .iter()
            .any(Option::is_some)
    }
}

/// A description that crossed from another shard, in the form the codec rules work on.
fn codec_plans(track: &TrackDescription) -> Vec<CodecPlan> {
    let kind = match track.kind {
        MediaKind::Audio => whitewater_sdp::MediaKind::Audio,
        MediaKind::Video => whitewater_sdp::MediaKind::Video,
    };
    let plan = |codec: &whitewater_link::CodecDescription| {
        Some(CodecPlan {
            pt: codec.pt,
            rtx_pt: None,
            codec: Codec::from_name(kind, &codec.name)?,
            clock_rate: codec.clock_rate,
            channels: codec.channels,
            fmtp: codec.fmtp.clone(),
            answer_fmtp: String::new(),
            feedback: Feedback::default(),
        })
    };
    track.codecs.iter().filter_map(plan).collect()
}
