//! A viewer's side: which payload type, sequence number and timestamp a packet gets.

use std::sync::Arc;
use std::time::Instant;

use whitewater_link::{Epoch, MediaKind, PacketMeta, TrackDescription, TrackReport, Traffic};
use whitewater_rtp::seq::{SeqMunger, TimestampMunger};
use whitewater_sdp::{Codec, CodecPlan, Feedback, TrackPlan, map_payload_types};

use crate::drops::DropReason;
use crate::limits;
use crate::session::webrtc::SenderSsrcs;

/// A decrypted packet of a stream, as one turn forwards it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Header and extensions.
    pub meta: PacketMeta,
    /// Without padding; shared by all viewers of this shard.
    pub payload: Arc<[u8]>,
}

/// One track a viewer is sent.
#[derive(Debug)]
pub struct EgressTrack {
    /// The m-section's mid.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// What we send under.
    pub ssrcs: SenderSsrcs,
    /// Paused by the API.
    pub muted: bool,
    /// What went out.
    pub report: TrackReport,
    codecs: Vec<CodecPlan>,
    source: Option<Source>,
    /// Egress payload type by the publisher's, for the current source's epoch.
    payload_types: [Option<u8>; 128],
    gate: Gate,
    seq: SeqMunger,
    timestamp: Option<TimestampMunger>,
    timestamp_start: u32,
}

/// What the sequence numbers and timestamps are currently derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    epoch: Epoch,
    ssrc: u32,
    run: u32,
}

/// Whether media flows yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Until a key frame starts; since when.
    Waiting(Option<Instant>),
    Open,
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The viewer's payload type.
    pub pt: u8,
    /// Extended sequence number; its upper bits are the SRTP rollover counter.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
}

impl EgressTrack {
    /// A track that has sent nothing. `seq_start` is below 2^15, so that a receiver that misses
    /// the first packets guesses the rollover counter right (RFC 3711 §3.3.1).
    pub fn new(plan: &TrackPlan, ssrcs: SenderSsrcs, seq_start: u16, timestamp_start: u32) -> Self {
        let kind = match plan.kind {
            whitewater_sdp::MediaKind::Audio => MediaKind::Audio,
            whitewater_sdp::MediaKind::Video => MediaKind::Video,
        };
        EgressTrack {
            mid: plan.mid.clone(),
            kind,
            ssrcs,
            muted: false,
            report: TrackReport {
                kind,
                traffic: Traffic::default(),
                keyframe_requests: 0,
                keyframes: 0,
            },
            codecs: plan.codecs.clone(),
            source: None,
            payload_types: [None; 128],
            gate: Gate::Waiting(None),
            seq: SeqMunger::new(u64::from(seq_start & 0x7fff)),
            timestamp: None,
            timestamp_start,
        }
    }

    /// Whether a key frame is being waited for.
    pub fn is_waiting(&self) -> bool {
        self.kind == MediaKind::Video && !self.muted && self.gate != Gate::Open
    }

    /// Pauses or resumes; video resumes with a key frame.
    pub fn mute(&mut self, muted: bool) {
        if self.muted && !muted {
            self.gate = Gate::Waiting(None);
        }
        self.muted = muted;
    }

    /// Decides over one packet of the publisher `epoch` that `tracks` describe.
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn rewrite(
        &mut self,
        now: Instant,
        epoch: Epoch,
        tracks: &[TrackDescription],
        meta: &PacketMeta,
    ) -> Result<Rewritten, DropReason> {
        let source = Source {
            epoch,
            ssrc: meta.ssrc,
            run: meta.run,
        };
        if self.source.is_none_or(|current| current.epoch != epoch) {
            self.map(tracks, meta.track);
        }
        let pt =
            self.payload_types[usize::from(meta.pt & 0x7f)].ok_or(DropReason::NoPayloadType)?;
        if self.muted {
            // Left out of the numbering, so that the viewer sees no loss.
            if self.source == Some(source) {
                self.seq.skip(meta.seq);
            }
            return Err(DropReason::Muted);
        }
        if self.source != Some(source) {
            self.gate = Gate::Waiting(None);
        }
        if let Gate::Waiting(since) = self.gate {
            let since = since.unwrap_or(now);
            let waited = now.saturating_duration_since(since) >= limits::KEYFRAME_WAIT_MAX;
            if self.kind == MediaKind::Video && !meta.keyframe_start && !waited {
                self.gate = Gate::Waiting(Some(since));
                self.source = Some(source);
                return Err(DropReason::AwaitingKeyframe);
            }
            self.switch(now, tracks, meta);
        }
        self.source = Some(source);
        let seq = self.seq.map(meta.seq).ok_or(DropReason::TooLate)?;
        let timestamp = match &mut self.timestamp {
            Some(munger) => munger.map(meta.timestamp, now),
            None => meta.timestamp,
        };
        self.report.keyframes += u64::from(meta.keyframe_start);
        Ok(Rewritten { pt, seq, timestamp })
    }

    fn switch(&mut self, now: Instant, tracks: &[TrackDescription], meta: &PacketMeta) {
        self.gate = Gate::Open;
        self.seq.switch(meta.seq);
        let rate = tracks
            .get(usize::from(meta.track))
            .and_then(|track| track.codecs.iter().find(|codec| codec.pt == meta.pt))
            .map_or(90_000, |codec| codec.clock_rate);
        let start = self.timestamp_start;
        let munger = self
            .timestamp
            .get_or_insert_with(|| TimestampMunger::new(rate, start));
        munger.switch(meta.timestamp, now);
    }

    fn map(&mut self, tracks: &[TrackDescription], track: u8) {
        let published: Vec<CodecPlan> = tracks
            .get(usize::from(track))
            .map(|track| {
                track
                    .codecs
                    .iter()
                    .filter_map(|c| codec_plan(track.kind, c))
                    .collect()
            })
            .unwrap_or_default();
        self.payload_types = map_payload_types(&published, &self.codecs);
    }

    /// Whether any of the publisher's codecs can be shown to this viewer.
    pub fn carries(&self, track: &TrackDescription) -> bool {
        let published: Vec<CodecPlan> = track
            .codecs
            .iter()
            .filter_map(|codec| codec_plan(track.kind, codec))
            .collect();
        map_payload_types(&published, &self.codecs)
            .iter()
            .any(Option::is_some)
    }
}

/// A description that crossed from another shard, in the form the codec rules work on.
fn codec_plan(kind: MediaKind, codec: &whitewater_link::CodecDescription) -> Option<CodecPlan> {
    let kind = match kind {
        MediaKind::Audio => whitewater_sdp::MediaKind::Audio,
        MediaKind::Video => whitewater_sdp::MediaKind::Video,
    };
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whitewater_link::{CodecDescription, PassedExtensions};
    use whitewater_sdp::{Capabilities, Limits, Offer, Role, judge};

    use super::*;

    const OFFER: &str = include_str!("../../../../tests/corpus/sdp/chrome-watch.sdp");

    fn track(kind: MediaKind) -> EgressTrack {
        let offer = Offer::parse(OFFER, &Limits::default()).expect("a recorded offer");
        let plan = judge(&offer, Role::Subscribe, &Capabilities::default()).expect("supported");
        let wanted = |track: &&TrackPlan| track.kind.name() == kind.as_str();
        let plan = plan.tracks().find(wanted).expect("both kinds").clone();
        let ssrcs = SenderSsrcs {
            main: 1,
            rtx: Some(2),
        };
        EgressTrack::new(&plan, ssrcs, 0xffff, 7_000)
    }

    fn published(name: &str, pt: u8) -> Vec<TrackDescription> {
        vec![TrackDescription {
            kind: MediaKind::Video,
            codecs: vec![CodecDescription {
                pt,
                name: name.to_owned(),
                clock_rate: 90_000,
                channels: None,
                fmtp: String::new(),
            }],
        }]
    }

    fn meta(now: Instant, pt: u8, ssrc: u32, seq: u64, keyframe_start: bool) -> PacketMeta {
        PacketMeta {
            track: 0,
            kind: MediaKind::Video,
            layer: 0,
            pt,
            marker: true,
            keyframe_start,
            ssrc,
            run: 0,
            seq,
            timestamp: (seq as u32).wrapping_mul(3_000),
            captured_at: now,
            arrived_at: now,
            extensions: PassedExtensions::default(),
        }
    }

    #[test]
    fn nothing_is_sent_before_a_key_frame_and_everything_after_it() {
        let mut track = track(MediaKind::Video);
        let tracks = published("VP8", 100);
        let now = Instant::now();
        let first = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 10, false));
        assert_eq!(first, Err(DropReason::AwaitingKeyframe));
        assert!(track.is_waiting());
        let key = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 11, true));
        let key = key.expect("forwarded");
        assert!(key.seq < 0x8000, "the rollover counter can be guessed");
        let next = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 12, false));
        let next = next.expect("forwarded");
        assert_eq!(next.seq, key.seq + 1);
        assert_eq!(next.timestamp.wrapping_sub(key.timestamp), 3_000);
        assert!(!track.is_waiting());
    }

    #[test]
    fn media_we_cannot_read_is_sent_after_a_while() {
        let mut track = track(MediaKind::Video);
        let tracks = published("VP8", 100);
        let now = Instant::now();
        let held = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, false));
        assert_eq!(held, Err(DropReason::AwaitingKeyframe));
        let later = now + limits::KEYFRAME_WAIT_MAX;
        let sent = track.rewrite(later, Epoch(1), &tracks, &meta(later, 100, 9, 2, false));
        assert!(sent.is_ok());
    }

    #[test]
    fn another_publisher_continues_the_numbering_with_another_payload_type() {
        let mut track = track(MediaKind::Video);
        let now = Instant::now();
        let vp8 = published("VP8", 100);
        let before = track.rewrite(now, Epoch(1), &vp8, &meta(now, 100, 9, 60_000, true));
        let before = before.expect("forwarded");
        let vp9 = published("VP9", 35);
        let later = now + Duration::from_secs(1);
        let stranger = meta(later, 35, 77, 5, false);
        let held = track.rewrite(later, Epoch(2), &vp9, &stranger);
        assert_eq!(held, Err(DropReason::AwaitingKeyframe));
        let after = track.rewrite(later, Epoch(2), &vp9, &meta(later, 35, 77, 6, true));
        let after = after.expect("forwarded");
        assert_eq!(after.seq, before.seq + 1);
        assert_ne!(after.pt, before.pt);
        let step = after.timestamp.wrapping_sub(before.timestamp);
        assert_eq!(step, 90_000, "a second passed");
    }

    #[test]
    fn what_the_viewer_cannot_decode_is_not_sent() {
        let mut track = track(MediaKind::Video);
        let tracks = published("H266", 100);
        let now = Instant::now();
        let refused = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, true));
        assert_eq!(refused, Err(DropReason::NoPayloadType));
        assert!(!track.carries(&tracks[0]));
        assert!(track.carries(&published("VP8", 1)[0]));
    }

    #[test]
    fn a_muted_track_shows_no_loss_and_comes_back_with_a_key_frame() {
        let mut track = track(MediaKind::Video);
        let tracks = published("VP8", 100);
        let now = Instant::now();
        let rewrite = |track: &mut EgressTrack, seq, key| {
            track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, seq, key))
        };
        let before = rewrite(&mut track, 1, true).expect("forwarded");
        track.mute(true);
        for seq in 2..500 {
            assert_eq!(rewrite(&mut track, seq, false), Err(DropReason::Muted));
        }
        track.mute(false);
        assert!(track.is_waiting());
        let held = rewrite(&mut track, 500, false);
        assert_eq!(held, Err(DropReason::AwaitingKeyframe));
        let after = rewrite(&mut track, 501, true).expect("forwarded");
        assert_eq!(after.seq, before.seq + 1);
    }

    #[test]
    fn a_second_copy_is_never_sent_under_a_number_that_was_used() {
        let mut track = track(MediaKind::Video);
        let tracks = published("VP8", 100);
        let now = Instant::now();
        let first = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, true));
        assert!(first.is_ok());
        let again = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, true));
        assert_eq!(again, Err(DropReason::TooLate));
    }
}
