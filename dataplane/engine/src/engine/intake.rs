//! A publisher is looked at once a second: what each layer brings, how loud it is, what is wrong.

use std::time::{Duration, Instant};

use str0m::rtp::RtpPacket;
use whitewater_link::{Event, FindingCode, Intake, LayerIntake, MediaKind, TrackIntake};
use whitewater_rtp::payload::red;
use whitewater_sdp::Codec;

use super::Core;
use crate::forward::arrivals::Arrival;
use crate::forward::checks::Fit;
use crate::forward::diagnosis::Diagnosis;
use crate::forward::ingress::{IngressTrack, KeyframeRequestForm};
use crate::forward::layers::IngressLayer;
use crate::limits;
use crate::session::{Publisher, Session, Side};

impl Session {
    /// Looks at what a publisher brings, if it is time to.
    pub(super) fn take_stock(&mut self, now: Instant, core: &mut Core) {
        let Side::Publisher(publisher) = &mut self.side else {
            return;
        };
        if publisher.stock.at.is_none_or(|at| at > now) {
            return;
        }
        publisher.stock.at = Some(now + limits::STOCK_INTERVAL);
        let quiet = publisher
            .tracks
            .iter_mut()
            .find_map(|t| t.loudness.look(now));
        if let Some(loudness) = quiet {
            core.out.events.push(Event::Speaking {
                session: self.id,
                loudness,
            });
        }
        publisher.take_stock(now);
    }
}

impl Publisher {
    fn take_stock(&mut self, now: Instant) {
        for layer in self.tracks.iter_mut().flat_map(|t| &mut t.layers) {
            layer.arrivals.look(now);
        }
        self.diagnose(now);
        self.stock.intake = Some(Box::new(Intake {
            tracks: self.tracks.iter().map(track_intake).collect(),
            loudness: self.tracks.iter().find_map(|t| t.loudness.loudness()),
            findings: self.stock.diagnosis.findings(),
        }));
    }

    fn diagnose(&mut self, now: Instant) {
        let began = *self.stock.began.get_or_insert(now);
        let flowing = |track: &IngressTrack| track.layers.iter().any(|l| l.arrivals.flows(now));
        let flows: Vec<bool> = self.tracks.iter().map(flowing).collect();
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let others = flows
                .iter()
                .enumerate()
                .any(|(other, flows)| *flows && other != index);
            let silent = silence(track, now, began).filter(|_| others);
            let (code, kind) = (FindingCode::TrackSilent, track.kind);
            let seconds = silent.filter(|span| *span >= TRACK_SILENT_MIN);
            self.stock
                .diagnosis
                .judge(code, kind, seconds.map(whole_seconds));
            judge_arrival(&mut self.stock.diagnosis, now, track);
            match kind {
                MediaKind::Video => judge_pictures(&mut self.stock.diagnosis, now, track),
                MediaKind::Audio => {
                    let long = track.sound.take_longest_ms();
                    self.stock
                        .diagnosis
                        .judge(FindingCode::OpusPacketsLong, kind, long);
                }
            }
        }
        self.judge_drift(now);
    }

    /// Whether audio and video go apart, against where they were when both had begun.
    fn judge_drift(&mut self, now: Instant) {
        let skew = |kind: MediaKind| {
            let mut tracks = self.tracks.iter().filter(|track| track.kind == kind);
            let mut layers = tracks.next()?.layers.iter();
            let layer = layers.find(|l| l.arrivals.flows(now))?;
            let began = layer.arrivals.began()?;
            let has_settled = now.saturating_duration_since(began) >= DRIFT_FROM;
            let (skew, leaps) = layer.arrivals.skew_ms().filter(|_| has_settled)?;
            Some((skew, (layer.ssrc, leaps)))
        };
        let both = skew(MediaKind::Audio).zip(skew(MediaKind::Video));
        let wrong = both.and_then(|((audio, audio_of), (video, video_of))| {
            let (apart, of) = (audio - video, (audio_of, video_of));
            let (start, _) = *match &mut self.stock.drift_from {
                Some(from) if from.1 == of => from,
                other => other.insert((apart, of)),
            };
            let drift = apart.abs_diff(start);
            (drift >= DRIFT_MIN_MS).then(|| u32::try_from(drift).unwrap_or(u32::MAX))
        });
        self.stock
            .diagnosis
            .judge(FindingCode::AvDrift, MediaKind::Video, wrong);
    }
}

impl IngressTrack {
    /// Looks at a packet, whoever it is for. `Some` when somebody began or ceased to speak.
    #[inline]
    pub(super) fn inspect(
        &mut self,
        now: Instant,
        layer: u8,
        packet: &RtpPacket,
        size: usize,
    ) -> Option<whitewater_link::Loudness> {
        let header = &packet.header;
        let pt = *header.payload_type;
        let (codec, rate) = self.format(pt);
        let layer = self.layers.get_mut(usize::from(layer))?;
        let (seq, timestamp) = (*packet.seq_no, header.timestamp);
        let arrival = Arrival {
            seq,
            timestamp,
            rate,
            size,
            marker: header.marker,
        };
        layer.arrivals.note(now, arrival);
        layer.arrivals.has_report |= packet.last_sender_info.is_some();
        match codec {
            Some(Codec::H264) => layer.pictures.note(timestamp, &packet.payload),
            Some(Codec::Opus) => self.sound.note(seq, timestamp, &packet.payload),
            Some(Codec::Red) => {
                let newest = red::primary(&packet.payload).map_or(&[][..], |block| block.payload);
                self.sound.note(seq, timestamp, newest);
            }
            _ => {}
        }
        let level = header
            .ext_vals
            .audio_level
            .filter(|_| self.kind == MediaKind::Audio)?;
        self.loudness.note(now, level)
    }
}

/// How long nothing came of a track.
fn silence(track: &IngressTrack, now: Instant, began: Instant) -> Option<Duration> {
    let heard = track
        .layers
        .iter()
        .filter_map(|l| l.arrivals.heard_at)
        .max();
    Some(now.saturating_duration_since(heard.unwrap_or(began)))
}

fn judge_arrival(diagnosis: &mut Diagnosis, now: Instant, track: &IngressTrack) {
    let kind = track.kind;
    let flowing = || {
        track
            .layers
            .iter()
            .filter(|layer| layer.arrivals.flows(now))
    };
    let loss = flowing().map(|layer| layer.arrivals.loss_permille()).max();
    let loss = loss
        .filter(|loss| *loss >= LOSS_PERMILLE_MIN)
        .map(u32::from);
    diagnosis.judge(FindingCode::Loss, kind, loss);

    let is_off = |&(hz, rate): &(u32, u32)| u64::from(hz.abs_diff(rate)) * 20 > u64::from(rate);
    let clock = flowing()
        .filter_map(|layer| layer.arrivals.clock())
        .find(is_off);
    diagnosis.judge(FindingCode::ClockRate, kind, clock.map(|(hz, _)| hz));

    let unreported = |layer: &IngressLayer| {
        let began = layer.arrivals.began();
        let waited = began.is_some_and(|at| now.saturating_duration_since(at) >= REPORT_WAIT);
        waited && !layer.arrivals.has_report
    };
    let unreported = flowing().any(unreported);
    diagnosis.judge(
        FindingCode::SenderReportsMissing,
        kind,
        unreported.then_some(0),
    );

    let recent = |at| now.saturating_duration_since(at) < SWITCH_TOLD_FOR;
    let switched = track.switched_at.is_some_and(recent);
    diagnosis.judge(FindingCode::CodecSwitched, kind, switched.then_some(0));

    if kind == MediaKind::Audio {
        let pauses = track
            .layers
            .iter()
            .map(|layer| layer.arrivals.pause_count(now))
            .max();
        let pauses = pauses.filter(|count| *count >= PAUSES_MIN);
        diagnosis.judge(FindingCode::AudioGaps, kind, pauses);
    }
}

fn judge_pictures(diagnosis: &mut Diagnosis, now: Instant, track: &mut IngressTrack) {
    let kind = MediaKind::Video;
    let cannot_be_asked = track.request == KeyframeRequestForm::None;
    let rare = |layer: &IngressLayer| {
        let age = layer.keys.age(now).filter(|age| *age >= KEYFRAME_AGE_MAX)?;
        let asked = layer.throttle.unanswered_for(now);
        let is_waited_for = asked.is_some_and(|span| span >= KEYFRAME_ANSWER_MAX);
        (layer.arrivals.flows(now) && (cannot_be_asked || is_waited_for)).then_some(age)
    };
    let rare = track.layers.iter().filter_map(rare).max();
    diagnosis.judge(FindingCode::KeyframesRare, kind, rare.map(whole_seconds));

    let b: u32 = track
        .layers
        .iter_mut()
        .map(|layer| layer.pictures.take_b_pictures())
        .sum();
    diagnosis.judge(FindingCode::BFrames, kind, (b > 0).then_some(b));
    let bare = track.layers.iter().any(|layer| layer.pictures.is_bare());
    diagnosis.judge(FindingCode::ParameterSetsMissing, kind, bare.then_some(0));

    let description = &track.description;
    let fits = track.layers.iter_mut().filter_map(|layer| {
        let pt = layer.pt?;
        let agreed = description.codecs.iter().find(|codec| codec.pt == pt)?;
        layer.pictures.fit(pt, &agreed.fmtp)
    });
    let (mut other, mut higher) = (None, None);
    for ([idc, constraints, level], fit) in fits {
        let profile = u32::from_be_bytes([0, idc, constraints, level]);
        match fit {
            Fit::OtherProfile => other = Some(profile),
            Fit::HigherLevel => higher = Some(profile),
            Fit::Fits => {}
        }
    }
    diagnosis.judge(FindingCode::ProfileMismatch, kind, other);
    diagnosis.judge(FindingCode::LevelAbove, kind, higher);
}

fn track_intake(track: &IngressTrack) -> TrackIntake {
    let pt = track.layers.iter().find_map(|layer| layer.pt);
    let codec = pt
        .and_then(|pt| track.codec(pt))
        .map(|codec| codec.name.clone());
    let is_video = track.kind == MediaKind::Video;
    let names = track
        .description
        .rids
        .iter()
        .map(Some)
        .chain(std::iter::repeat(None));
    let layer = |(layer, rid): (&IngressLayer, Option<&String>)| {
        let size = layer.size();
        let mut intake = LayerIntake {
            rid: rid.cloned(),
            width: size.map_or(0, |size| size.width),
            height: size.map_or(0, |size| size.height),
            keyframe_interval: layer.keys.interval.filter(|_| is_video),
            ..LayerIntake::default()
        };
        layer.arrivals.fill(&mut intake);
        if !is_video {
            // Its marker bits begin talk spurts (RFC 3551 §4.1).
            intake.frames_per_second = 0;
        }
        intake
    };
    TrackIntake {
        mid: track.mid.clone(),
        kind: track.kind,
        codec: codec.unwrap_or_default(),
        layers: track.layers.iter().zip(names).map(layer).collect(),
    }
}

fn whole_seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

/// A track nothing comes of for this long is told of.
const TRACK_SILENT_MIN: Duration = Duration::from_secs(5);
/// A twentieth.
const LOSS_PERMILLE_MIN: u16 = 50;
/// Sender reports come every five seconds at most, of video more often (RFC 3550 §6.2).
const REPORT_WAIT: Duration = Duration::from_secs(10);
/// How long a change of codec is told of.
const SWITCH_TOLD_FOR: Duration = Duration::from_secs(60);
/// A single pause is somebody who switched a microphone off and on.
const PAUSES_MIN: u32 = 2;
/// Viewers that cannot ask wait this long for their first picture.
const KEYFRAME_AGE_MAX: Duration = Duration::from_secs(10);
/// An encoder that is asked answers within a few frames.
const KEYFRAME_ANSWER_MAX: Duration = Duration::from_secs(5);
/// The first seconds of a stream arrive as they can.
const DRIFT_FROM: Duration = Duration::from_secs(5);
/// Lips are noticed at a tenth of it; this much is no jitter.
const DRIFT_MIN_MS: u64 = 500;
