//! The publisher's side: which track a source belongs to, and when a packet was captured.

use std::time::{Duration, Instant, SystemTime};

use str0m::media::Rid;
use whitewater_link::{
    CodecDescription, MediaKind, Reception, TrackDescription, TrackReport, Traffic,
};
use whitewater_rtp::payload::{Codec as Readable, red};
use whitewater_sdp::{Codec, TrackPlan, wrapped};

use super::checks::SoundCheck;
use super::layers::{IngressLayer, ScaleMeter};
use super::loudness::LoudnessMeter;

/// One track of a publisher.
#[derive(Debug)]
pub struct IngressTrack {
    /// The m-section's mid.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// What was negotiated, for the viewers' payload type maps.
    pub description: TrackDescription,
    /// The codec of each payload type, for reading key frames.
    codecs: [Option<Codec>; 128],
    clocks: [u32; 128],
    /// The payload type of redundancy (RED), and of what it wraps.
    wraps: Option<(u8, u8)>,
    /// Which feedback the publisher understands.
    pub request: KeyframeRequestForm,
    /// Whether it wants REMB because it does not do transport-wide feedback.
    pub wants_remb: bool,
    /// Its layers, in the offer's order; one without simulcast, at most
    /// [`LAYERS_MAX`](whitewater_link::LAYERS_MAX).
    pub layers: Vec<IngressLayer>,
    /// What its only layer is made of, where that is scalable.
    pub scalable: Option<Box<ScaleMeter>>,
    /// Muted by the API: nothing of it is forwarded.
    pub muted: bool,
    /// Counts the mutes (see `PacketMeta::run`).
    pub run: u32,
    /// How its sound is made.
    pub sound: SoundCheck,
    /// How loud it is.
    pub loudness: LoudnessMeter,
    /// When its codec was changed in the middle of the stream.
    pub switched_at: Option<Instant>,
    /// What came in.
    pub report: TrackReport,
}

/// How this publisher is asked for a key frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyframeRequestForm {
    /// Picture loss indication (RFC 4585 §6.3.1).
    Pli,
    /// Full intra request (RFC 5104 §4.3.1).
    Fir,
    /// It understands neither.
    None,
}

impl IngressTrack {
    /// The track as planned.
    pub fn new(plan: &TrackPlan) -> Self {
        let kind = match plan.kind {
            whitewater_sdp::MediaKind::Audio => MediaKind::Audio,
            whitewater_sdp::MediaKind::Video => MediaKind::Video,
        };
        let mut codecs = [None; 128];
        let mut clocks = [0; 128];
        for codec in &plan.codecs {
            let pt = usize::from(codec.pt & 0x7f);
            codecs[pt] = Some(codec.codec);
            clocks[pt] = codec.clock_rate;
        }
        let any = |wanted: fn(&whitewater_sdp::Feedback) -> bool| {
            plan.codecs.iter().any(|codec| wanted(&codec.feedback))
        };
        let request = match kind {
            MediaKind::Video if any(|f| f.nack_pli) => KeyframeRequestForm::Pli,
            MediaKind::Video if any(|f| f.ccm_fir) => KeyframeRequestForm::Fir,
            _ => KeyframeRequestForm::None,
        };
        IngressTrack {
            mid: plan.mid.clone(),
            kind,
            description: describe(kind, plan),
            codecs,
            clocks,
            wraps: wraps(plan),
            request,
            wants_remb: any(|f| f.goog_remb && !f.transport_cc),
            layers: IngressLayer::planned(plan),
            scalable: None,
            muted: false,
            run: 0,
            sound: SoundCheck::default(),
            loudness: LoudnessMeter::default(),
            switched_at: None,
            report: TrackReport {
                kind,
                traffic: Traffic::default(),
                keyframe_requests: 0,
                keyframes: 0,
                repeated: Traffic::default(),
                layer: None,
                padding: Traffic::default(),
                reception: Reception::default(),
            },
        }
    }

    /// Whether it has several layers that are told apart.
    pub fn is_layered(&self) -> bool {
        self.layers.len() > 1
    }

    /// Which of its layers a source is, by what it is said to be.
    pub fn layer_of(&self, ssrc: u32, rid: Option<Rid>) -> Option<u8> {
        let is = |layer: &IngressLayer| layer.is(ssrc, rid);
        let index = self.layers.iter().position(is)?;
        u8::try_from(index).ok()
    }

    /// The codec of a payload type, if it can be read here.
    pub fn readable(&self, pt: u8) -> Option<Readable> {
        Some(match self.codecs[usize::from(pt & 0x7f)]? {
            Codec::H264 => Readable::H264,
            Codec::H265 => Readable::H265,
            Codec::Vp8 => Readable::Vp8,
            Codec::Vp9 => Readable::Vp9,
            Codec::Av1 => Readable::Av1,
            _ => return None,
        })
    }

    /// Whether a packet is redundant audio (RED) that contradicts itself: nobody could unwrap it.
    pub fn is_broken(&self, pt: u8, payload: &[u8]) -> bool {
        let is_red = self.wraps.is_some_and(|(red, _)| red == pt);
        is_red && red::primary(payload).is_none_or(|newest| newest.payload.is_empty())
    }

    /// What a payload type stands for, and the ticks a second of its clock.
    pub fn format(&self, pt: u8) -> (Option<Codec>, u32) {
        let pt = usize::from(pt & 0x7f);
        (self.codecs[pt], self.clocks[pt])
    }

    /// The codec a payload type stands for; of redundancy what it wraps.
    pub fn codec(&self, pt: u8) -> Option<&CodecDescription> {
        let pt = self
            .wraps
            .filter(|(red, _)| *red == pt)
            .map_or(pt, |(_, inner)| inner);
        self.description.codecs.iter().find(|codec| codec.pt == pt)
    }

    /// When a packet of a layer with this timestamp was captured, on our clock, never later than
    /// `now`.
    pub fn captured_at(
        &mut self,
        now: Instant,
        layer: u8,
        pt: u8,
        timestamp: u32,
        report: Option<(SystemTime, u32)>,
        anchor: &mut NtpAnchor,
    ) -> Instant {
        let rate = self.clocks[usize::from(pt & 0x7f)];
        let Some(layer) = self.layers.get_mut(usize::from(layer)) else {
            return now;
        };
        if let Some((ntp, rtp)) = report {
            layer.clock.last = Some((ntp, rtp));
        }
        let captured = layer.clock.captured(timestamp, rate);
        captured.map_or(now, |ntp| anchor.local(now, ntp))
    }
}

/// The latest sender report of a source: wall clock and RTP timestamp of one moment
/// (RFC 3550 §6.4.1).
#[derive(Debug, Default)]
pub struct SourceClock {
    last: Option<(SystemTime, u32)>,
}

impl SourceClock {
    fn captured(&self, timestamp: u32, rate: u32) -> Option<SystemTime> {
        let (ntp, rtp) = self.last?;
        let ticks = i64::from(timestamp.wrapping_sub(rtp) as i32);
        let nanos = ticks.checked_mul(1_000_000_000)? / i64::from(rate).max(1);
        let offset = Duration::from_nanos(nanos.unsigned_abs());
        if nanos >= 0 {
            ntp.checked_add(offset)
        } else {
            ntp.checked_sub(offset)
        }
    }
}

/// Maps the publisher's wall clock to ours; one for all its tracks, so that they stay in sync.
///
/// The publisher's clock may be anywhere; only differences count. The mapping starts with the
/// first report and moves only so far that no packet seems to come from the future.
#[derive(Debug, Default)]
pub struct NtpAnchor(Option<(SystemTime, Instant)>);

impl NtpAnchor {
    fn local(&mut self, now: Instant, ntp: SystemTime) -> Instant {
        let (ntp_base, local_base) = *self.0.get_or_insert((ntp, now));
        let local = match ntp.duration_since(ntp_base) {
            Ok(later) => local_base.checked_add(later),
            Err(earlier) => local_base.checked_sub(earlier.duration()),
        };
        match local {
            Some(local) if local <= now && now - local < CAPTURE_AGE_MAX => local,
            // From the future, or from a clock that jumped: start again from here.
            _ => {
                self.0 = Some((ntp, now));
                now
            }
        }
    }
}

/// A difference between capture and arrival that no encoder or network explains.
const CAPTURE_AGE_MAX: Duration = Duration::from_secs(10);

/// The first redundancy payload type, and what it wraps.
fn wraps(plan: &TrackPlan) -> Option<(u8, u8)> {
    let red = plan.codecs.iter().find(|codec| codec.codec == Codec::Red)?;
    Some((red.pt, wrapped(red, &plan.codecs)?.pt))
}

fn describe(kind: MediaKind, plan: &TrackPlan) -> TrackDescription {
    let codecs = plan.codecs.iter().map(|codec| CodecDescription {
        pt: codec.pt,
        name: codec.codec.name().to_owned(),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        fmtp: codec.fmtp.clone(),
    });
    TrackDescription {
        kind,
        codecs: codecs.collect(),
        rids: IngressLayer::names(plan),
    }
}
