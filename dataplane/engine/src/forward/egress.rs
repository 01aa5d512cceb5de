//! A viewer's side: which payload type, sequence number and timestamp a packet gets, and how it
//! is written and sealed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whitewater_link::{
    Epoch, MediaKind, PacketMeta, PictureNumbers, Reception, TrackDescription, TrackReport, Traffic,
};
use whitewater_rtp::rtcp::{ReportBlock, SenderInfo};
use whitewater_rtp::seq::{SeqMunger, TimestampMunger};
use whitewater_rtp::{HeaderFields, dependency};
use whitewater_sdp::{CodecPlan, TrackPlan};
use whitewater_srtp::SrtpSource;

use super::batch::{Batch, Route};
use super::downlink::Downlink;
use super::header::{Described, Layout, MidUse, Stamp};
use super::pictures::{self, PictureLine};
use super::resend::{Budget, Resent};
use super::ring::Ring;
use super::scale::ScaleGate;
use super::sound::Older;
use crate::clock::{WallClock, middle};
use crate::drops::{DropReason, Drops};
use crate::limits;
use crate::session::outlet::Outlet;
use crate::session::webrtc::SenderSsrcs;

/// A decrypted packet of a stream, as one turn forwards it.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Header and extensions.
    pub meta: PacketMeta,
    /// Without padding; shared by all viewers of this shard.
    pub payload: Arc<[u8]>,
    /// The payload and one byte of padding, where that makes a longer run.
    pub padded: Option<Arc<[u8]>>,
    /// The sound before it, where redundancy is made.
    pub older: Option<Older>,
}

/// One track a viewer is sent.
#[derive(Debug)]
pub struct EgressTrack {
    /// Audio or video.
    pub kind: MediaKind,
    /// Paused by the API.
    pub muted: bool,
    /// What went out.
    pub report: TrackReport,
    codecs: Vec<CodecPlan>,
    source: Option<Source>,
    /// Egress payload type by the publisher's, for the current source's epoch.
    payload_types: [Option<u8>; 128],
    /// How redundant audio of the current source leaves, if it has any.
    redundancy: Option<Redundancy>,
    /// How redundancy is made where it has none.
    made: Option<Made>,
    gate: Gate,
    /// The highest number of the current source that was passed over while a key frame was waited for.
    passed_over: u64,
    seq: SeqMunger,
    timestamp: Option<TimestampMunger>,
    timestamp_start: u32,
    layout: Layout,
    /// Whether its packets carry transport-wide numbers.
    is_numbered: bool,
    mid: MidUse,
    main: SrtpSource,
    repair: Option<Repair>,
    /// Where the packets of the numbering's current generation came from.
    sent_from: Option<Origin>,
    /// The layer that flows, or is waited for where none does; 0 without simulcast.
    layer: u8,
    /// The layer to be sent from its next key frame on; any while none is chosen.
    target: Option<u8>,
    /// Of a track that carries one layer and no other: whether it is sent.
    lane: Option<Lane>,
    pictures: PictureLine,
    scale: ScaleGate,
    clock_rate: u32,
    /// RTP timestamp and capture time of the packet sent last.
    captured: Option<(u32, Instant)>,
    octets: u32,
    budget: Budget,
    resent: Resent,
    /// Whether it may begin with what is kept.
    may_replay: bool,
    /// While it catches up from there.
    replay: Option<Replay>,
    /// The last publisher of whom there was something no codec here is for.
    uncarried: Option<Epoch>,
}

/// The stream of retransmissions (RFC 4588): a source of its own, numbered without gaps.
#[derive(Debug)]
struct Repair {
    source: SrtpSource,
    next: u64,
}

/// One publisher's track, as far as a viewer was switched to it.
#[derive(Clone, Copy, Debug)]
struct Origin {
    track: u8,
    layer: u8,
    source: Source,
}

/// One turn's packets of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The time of the turn.
    pub now: Instant,
    /// Of this publisher.
    pub epoch: Epoch,
    /// What it sends.
    pub tracks: &'a [TrackDescription],
    /// What arrived of it, in order.
    pub packets: &'a [Packet],
    /// The value of abs-send-time.
    pub send_time: [u8; 3],
    /// Bytes of the video among them, headers and all.
    pub video_bytes: usize,
}

/// The way out to one viewer.
pub struct Way<'a> {
    /// Where it is.
    pub route: Route,
    /// Its keys.
    pub outlet: &'a Outlet,
    /// What is sent next.
    pub batch: &'a mut Batch,
    /// Room to write a header in, [`limits::HEADER_SIZE_MAX`].
    pub header: &'a mut [u8],
    /// What is not sent.
    pub drops: &'a mut Drops,
    /// Numbers and pace, where the path is known.
    pub downlink: Option<&'a mut Downlink>,
    /// How this turn's video leaves.
    pub pace: Pace,
    /// Which of the viewer's tracks is sending.
    pub track: u8,
}

impl Way<'_> {
    /// What is written of the leaving of the next packet.
    #[inline]
    fn stamp(&self, send_time: [u8; 3]) -> Stamp {
        let next = self.downlink.as_ref().map(|downlink| downlink.next_seq());
        Stamp {
            send_time,
            transport_seq: next.unwrap_or(0),
            described: Described::default(),
        }
    }

    /// Notes what left. `is_numbered`: with a number of the path's.
    #[inline]
    fn left(&mut self, size: usize, is_numbered: bool) {
        if let Some(downlink) = &mut self.downlink {
            downlink.left(size, is_numbered);
        }
    }
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
    /// The marker bit.
    pub marker: bool,
    /// The numbers of its picture, where they are others than the publisher's.
    pub pictures: Option<PictureNumbers>,
    /// Added to the frame number in its dependency descriptor.
    pub frame_offset: u16,
}

impl EgressTrack {
    /// A track that has sent nothing. Its first numbers are below 2^15, so that a receiver that
    /// misses the first packets guesses the rollover counter right (RFC 3711 §3.3.1).
    pub fn new(plan: &TrackPlan, ssrcs: SenderSsrcs, start: Start) -> Self {
        let layout = Layout::new(plan);
        let kind = match plan.kind {
            whitewater_sdp::MediaKind::Audio => MediaKind::Audio,
            whitewater_sdp::MediaKind::Video => MediaKind::Video,
        };
        EgressTrack {
            kind,
            muted: false,
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
            codecs: plan.codecs.clone(),
            source: None,
            payload_types: [None; 128],
            redundancy: None,
            made: None,
            gate: Gate::Waiting(None),
            passed_over: 0,
            seq: SeqMunger::new(u64::from(start.seq & 0x7fff)),
            timestamp: None,
            timestamp_start: start.timestamp,
            is_numbered: layout.is_numbered(),
            layout,
            mid: MidUse::Said,
            main: SrtpSource::new(ssrcs.main),
            repair: ssrcs.rtx.map(|ssrc| Repair {
                source: SrtpSource::new(ssrc),
                next: u64::from(start.repair_seq & 0x7fff),
            }),
            sent_from: None,
            layer: 0,
            target: None,
            lane: None,
            pictures: PictureLine::default(),
            scale: ScaleGate::default(),
            clock_rate: 90_000,
            captured: None,
            octets: 0,
            budget: Budget::default(),
            resent: Resent::default(),
            may_replay: false,
            replay: None,
            uncarried: None,
        }
    }

    /// Whether its packets carry transport-wide numbers.
    pub fn is_numbered(&self) -> bool {
        self.is_numbered
    }

    /// Whether something of this publisher could not be sent for want of a codec.
    pub fn lacks_codec_of(&self, epoch: Epoch) -> bool {
        self.uncarried == Some(epoch)
    }

    /// Sends a turn's packets of this track's kind.
    pub fn forward(&mut self, turn: &Turn<'_>, way: &mut Way<'_>) {
        if self.source.is_some_and(|source| source.epoch != turn.epoch) {
            // Nothing of another publisher flows that could go on meanwhile.
            self.layer = self.target.unwrap_or(0);
        }
        for packet in turn.packets {
            if packet.meta.kind != self.kind
                || !self.takes(&packet.meta)
                || self.comes_later(&packet.meta)
            {
                continue;
            }
            match self.rewrite(turn.now, turn.epoch, turn.tracks, &packet.meta) {
                Ok(rewritten) if way.pace == Pace::Free || self.kind == MediaKind::Audio => {
                    self.send(turn.send_time, packet, rewritten, way);
                }
                Ok(rewritten) => {
                    self.send_or_hold(turn.epoch, turn.send_time, packet, rewritten, way);
                }
                Err(reason) => way.drops.count(reason),
            }
        }
    }

    /// Whether a packet is of the layer that flows, or begins the one to be changed to: a change
    /// comes with a key frame, and what flowed before flows until then.
    #[inline]
    fn takes(&mut self, meta: &PacketMeta) -> bool {
        if meta.layer == self.layer {
            return !self.rests();
        }
        let is_next = match self.target {
            Some(target) => target == meta.layer,
            None => self.gate != Gate::Open,
        };
        if is_next && meta.keyframe_start {
            self.layer = meta.layer;
        }
        is_next && meta.keyframe_start
    }

    /// Sends a packet under these numbers.
    #[inline]
    pub fn send(
        &mut self,
        send_time: [u8; 3],
        packet: &Packet,
        rewritten: Rewritten,
        way: &mut Way<'_>,
    ) {
        let meta = &packet.meta;
        let mut stamp = way.stamp(send_time);
        stamp.described = Described {
            frame_offset: rewritten.frame_offset,
            limit: self.scale.cut(),
        };
        let made = self.made.and_then(|made| made.of(packet, way));
        let fields = HeaderFields {
            marker: rewritten.marker,
            payload_type: made.map_or(rewritten.pt, |made| made.pt),
            sequence_number: rewritten.seq as u16,
            timestamp: rewritten.timestamp,
            ssrc: self.main.ssrc(),
        };
        let (layout, main, outlet) = (&self.layout, &mut self.main, way.outlet);
        let written = layout
            .write(way.header, fields, &meta.extensions, stamp, self.mid)
            .and_then(|len| way.header.split_at_mut_checked(len));
        let Some((header, rest)) = written else {
            return way.drops.count(DropReason::SealRefused);
        };
        let mut payload = &packet.payload[..];
        if let (Some(padded), Some(first)) = (&packet.padded, header.first_mut()) {
            payload = padded;
            *first |= PADDING_BIT;
        }
        if let Some(made) = made {
            match made.write(rest, packet) {
                Some(body) => payload = body,
                None => return way.drops.count(DropReason::SealRefused),
            }
        } else if let Some(redundancy) = self.redundancy {
            let map = &self.payload_types;
            let body = redundancy.body(meta.pt, payload, rewritten.pt, map);
            match body.and_then(|body| body.write(rest, map)) {
                Some(body) => payload = body,
                None => return way.drops.count(DropReason::Malformed),
            }
        } else if let Some(numbers) = rewritten.pictures {
            // Only after a change of source: a copy of the payload, with other numbers.
            match renumbered(rest, payload, numbers) {
                Some(copy) => payload = copy,
                None => return way.drops.count(DropReason::SealRefused),
            }
        }
        let header = &*header;
        let room = header.len() + payload.len() + outlet.rtp_overhead;
        let written = way.batch.write(way.route, room, |out| {
            let sealed = outlet
                .rtp
                .seal_once(main, header, payload, rewritten.seq, out);
            sealed.ok()
        });
        let Some(size) = written else {
            return way.drops.count(DropReason::SealRefused);
        };
        way.left(size, self.is_numbered);
        self.captured = Some((rewritten.timestamp, meta.captured_at));
        self.octets = self.octets.wrapping_add(packet.payload.len() as u32);
        self.report.traffic.count(size - outlet.rtp_overhead);
        self.budget.earn(size);
    }

    /// Answers a NACK for one of this track's numbers by a retransmission (RFC 4588 §4), if it is
    /// kept and allowed. `ring` gives the packets kept of a publisher's track and layer.
    ///
    /// Without a negotiated RTX stream nothing is sent again: the number and with it the nonce are
    /// used up, and repeating the very same bytes would mean to keep them for each viewer.
    pub fn resend<'r>(
        &mut self,
        now: Instant,
        send_time: [u8; 3],
        seq: u16,
        ring: impl Fn(u8, u8) -> Option<&'r Ring>,
        way: &mut Way<'_>,
    ) {
        let Some((packet, egress)) = self.kept(now, seq, ring) else {
            return way.drops.count(DropReason::RetransmissionGone);
        };
        let meta = &packet.meta;
        let pt = self.payload_types[usize::from(meta.pt & 0x7f)];
        let repair_pt = |pt| self.codecs.iter().find(|c| c.pt == pt)?.rtx_pt;
        let (Some(repair), Some(pt)) = (&mut self.repair, pt.and_then(repair_pt)) else {
            return way.drops.count(DropReason::RetransmissionGone);
        };
        let round_trip = self.report.reception.round_trip;
        let interval = round_trip.unwrap_or(limits::RTX_INTERVAL_DEFAULT);
        let interval = interval.min(limits::RTX_INTERVAL_MAX);
        let size = packet.payload.len() + limits::RTX_HEADER_SIZE_TYPICAL;
        if !self.resent.admit(now, egress, interval) || !self.budget.spend(size) {
            return way.drops.count(DropReason::RetransmissionRefused);
        }
        let again = redundancy::body(
            self.redundancy,
            meta.pt,
            &packet.payload,
            &self.payload_types,
        );
        let Some(again) = again else {
            return way.drops.count(DropReason::Malformed);
        };
        let timestamp = self.timestamp.as_ref();
        let fields = HeaderFields {
            marker: self
                .scale
                .marker_again(meta.timestamp, meta.marker, meta.scale),
            payload_type: pt,
            sequence_number: repair.next as u16,
            timestamp: timestamp.map_or(meta.timestamp, |munger| munger.again(meta.timestamp)),
            ssrc: repair.source.ssrc(),
        };
        let passed = &meta.extensions;
        let mut stamp = way.stamp(send_time);
        stamp.described.frame_offset = self.pictures.frame_offset_again();
        let written = self
            .layout
            .write(way.header, fields, passed, stamp, MidUse::Said);
        let sealed = written.and_then(|header_len| {
            // The original sequence number goes before the payload: the packet is put together
            // in what is left of the header's room and sealed from there.
            let (header, rest) = way.header.split_at_mut_checked(header_len)?;
            let body = rest.get_mut(..OSN_SIZE + again.len())?;
            let (osn, payload) = body.split_at_mut_checked(OSN_SIZE)?;
            osn.copy_from_slice(&seq.to_be_bytes());
            again.copy(payload, &self.payload_types)?;
            if let Some(numbers) = self.pictures.again(meta.pictures) {
                pictures::write(payload, numbers);
            }
            let room = header.len() + body.len() + way.outlet.rtp_overhead;
            let index = repair.next;
            way.batch.write(way.route, room, |out| {
                let sealer = &way.outlet.rtp;
                let sealed = sealer.seal_once(&mut repair.source, header, body, index, out);
                sealed.ok()
            })
        });
        repair.next += 1;
        match sealed {
            Some(size) => {
                way.left(size, self.is_numbered);
                self.report.repeated.count(size - way.outlet.rtp_overhead);
            }
            None => way.drops.count(DropReason::SealRefused),
        }
    }

    /// The publisher's packet that was sent under `seq`, and its extended number.
    fn kept<'r>(
        &self,
        now: Instant,
        seq: u16,
        ring: impl Fn(u8, u8) -> Option<&'r Ring>,
    ) -> Option<(&'r Packet, u64)> {
        let newest = self.main.highest()?;
        let behind = (newest as u16).wrapping_sub(seq);
        let egress = newest.checked_sub(u64::from(behind))?;
        let origin = self.seq.origin(egress)?;
        let from = self.sent_from?;
        if origin.generation != self.seq.generation() || self.source != Some(from.source) {
            // From before a switch: what follows does not build on it.
            return None;
        }
        let source = (from.source.ssrc, from.source.run);
        let packet = ring(from.track, from.layer)?.get(now, source, origin.ingress)?;
        Some((packet, egress))
    }

    /// What a sender report says of this track at `now`; `None` before its first packet.
    pub fn sender_info(&self, now: Instant, clock: &WallClock) -> Option<SenderInfo> {
        let (timestamp, captured_at) = self.captured?;
        let since = now.saturating_duration_since(captured_at);
        let ticks = since.as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
        Some(SenderInfo {
            ssrc: self.main.ssrc(),
            ntp_time: clock.ntp(now),
            rtp_time: timestamp.wrapping_add(ticks as u32),
            packet_count: self.report.traffic.packets as u32,
            octet_count: self.octets,
        })
    }

    /// Takes a block of a receiver report, if it is about this track.
    pub fn received(&mut self, now: Instant, clock: &WallClock, block: &ReportBlock) {
        if block.ssrc != self.main.ssrc() || self.captured.is_none() {
            return;
        }
        self.mid = MidUse::Left;
        self.budget.reported(block.fraction_lost);
        let reception = &mut self.report.reception;
        reception.fraction_lost = block.fraction_lost;
        reception.packets_lost = i64::from(block.cumulative_lost);
        let jitter = u64::from(block.jitter) * 1_000_000 / u64::from(self.clock_rate.max(1));
        reception.jitter = Duration::from_micros(jitter);
        if block.last_sr != 0 {
            // RFC 3550 §6.4.1: A - LSR - DLSR, in 1/65536 s.
            let arrived = middle(clock.ntp(now));
            let since = arrived.wrapping_sub(block.last_sr);
            let trip = since.wrapping_sub(block.delay_since_last_sr);
            if trip < ROUND_TRIP_MAX {
                let trip = Duration::from_nanos(u64::from(trip) * 1_000_000_000 / 65_536);
                let smooth = |known: Duration| (known * 7 + trip) / 8;
                reception.round_trip = Some(reception.round_trip.map_or(trip, smooth));
            }
        }
    }

    /// Whether a packet of it ever left.
    pub fn has_sent(&self) -> bool {
        self.captured.is_some()
    }

    /// The source of its media.
    pub fn ssrc(&self) -> u32 {
        self.main.ssrc()
    }

    /// All sources it sends under.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + '_ {
        let repair = self.repair.iter().map(|repair| repair.source.ssrc());
        std::iter::once(self.main.ssrc()).chain(repair)
    }

    /// Whether a key frame is being waited for.
    pub fn is_waiting(&self) -> bool {
        self.kind == MediaKind::Video && !self.is_off() && self.gate != Gate::Open
    }

    /// Pauses or resumes; video resumes with a key frame.
    pub fn mute(&mut self, muted: bool) {
        if self.muted && !muted {
            self.gate = Gate::Waiting(None);
        }
        self.muted = muted;
        self.replay = None;
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
        let Some(pt) = self.payload_types[usize::from(meta.pt & 0x7f)] else {
            self.uncarried = Some(epoch);
            return Err(DropReason::NoPayloadType);
        };
        if self.muted {
            // What comes after it is numbered on, as after a change of source.
            return Err(DropReason::Muted);
        }
        if self.source != Some(source) {
            self.gate = Gate::Waiting(None);
            self.passed_over = 0;
        }
        if let Gate::Waiting(since) = self.gate {
            let since = since.unwrap_or(now);
            let waited = now.saturating_duration_since(since) >= limits::KEYFRAME_WAIT_MAX;
            if self.kind == MediaKind::Video && !meta.keyframe_start && !waited {
                self.gate = Gate::Waiting(Some(since));
                self.source = Some(source);
                self.passed_over = self.passed_over.max(meta.seq);
                return Err(DropReason::AwaitingKeyframe);
            }
            if self.is_begun_by_what_is_kept(meta) {
                return Err(DropReason::AwaitingKeyframe);
            }
            self.switch(tracks, meta);
            self.sent_from = Some(Origin {
                track: meta.track,
                layer: meta.layer,
                source,
            });
        }
        self.source = Some(source);
        let marker = match meta.scale {
            None => meta.marker,
            Some(scale) => {
                let key = meta.keyframe_start;
                let admitted = self.scale.admit(meta.timestamp, meta.marker, key, scale);
                let Some(marker) = admitted else {
                    // Left out of the numbering, so that the viewer sees no loss.
                    self.seq.skip(meta.seq);
                    self.pictures.skip(meta.pictures);
                    return Err(DropReason::AboveLayer);
                };
                marker
            }
        };
        let seq = self.seq.map(meta.seq).ok_or(DropReason::TooLate)?;
        let timestamp = match &mut self.timestamp {
            Some(munger) => munger.map(meta.timestamp, meta.captured_at),
            None => meta.timestamp,
        };
        self.report.keyframes += u64::from(meta.keyframe_start);
        Ok(Rewritten {
            pt,
            seq,
            timestamp,
            marker,
            pictures: self.pictures.map(meta.pictures),
            frame_offset: self.pictures.frame_offset(frame_number(meta)),
        })
    }

    fn switch(&mut self, tracks: &[TrackDescription], meta: &PacketMeta) {
        self.gate = Gate::Open;
        self.seq.switch(meta.seq);
        self.pictures.switch(meta.pictures);
        self.pictures.switch_frames(frame_number(meta));
        self.scale.restart();
        let track = tracks.get(usize::from(meta.track));
        let is_layered = track.is_some_and(|track| !track.rids.is_empty());
        self.report.layer = is_layered.then_some(meta.layer);
        let rate = track
            .and_then(|track| track.codecs.iter().find(|codec| codec.pt == meta.pt))
            .map_or(90_000, |codec| codec.clock_rate);
        self.clock_rate = rate;
        let known = self.timestamp.take();
        let mut munger = known.unwrap_or_else(|| TimestampMunger::new(rate, self.timestamp_start));
        self.switch_timeline(&mut munger, meta);
        self.timestamp = Some(munger);
        self.may_replay = false;
    }
}

/// The first numbers of a track, from a random source (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Sequence number; its upper bit is not used.
    pub seq: u16,
    /// The same of retransmissions.
    pub repair_seq: u16,
    /// Added to the publisher's timestamps.
    pub timestamp: u32,
}

/// The number of its frame, where a dependency descriptor tells.
fn frame_number(meta: &PacketMeta) -> Option<u16> {
    dependency::frame_number(meta.extensions.dependency_descriptor.as_deref()?)
}

/// A layer's bit.
pub fn bit(layer: u8) -> u8 {
    1_u8.checked_shl(layer.into()).unwrap_or(0)
}

/// The payload with other picture numbers, in the first bytes of `room`.
fn renumbered<'a>(room: &'a mut [u8], payload: &[u8], numbers: PictureNumbers) -> Option<&'a [u8]> {
    let copy = room.get_mut(..payload.len())?;
    copy.copy_from_slice(payload);
    pictures::write(copy, numbers);
    Some(copy)
}

/// RFC 3550 §5.1: the packet ends with padding.
const PADDING_BIT: u8 = 0x20;

/// The original sequence number in a retransmission (RFC 4588 §4).
const OSN_SIZE: usize = 2;

/// Ten seconds, in 1/65536 s: a round trip longer than this was not measured but made up.
const ROUND_TRIP_MAX: u32 = 10 << 16;

mod aim;
mod codecs;
mod pacing;
mod redundancy;
mod replay;

pub use aim::Lane;
pub use pacing::Pace;
pub use replay::Progress;

use redundancy::{Made, Redundancy};
use replay::Replay;

#[cfg(any(test, feature = "__fuzz"))]
pub(crate) mod switching;
#[cfg(test)]
mod tests;
