//! What a viewer takes note of, what it asks for, and, when it verifies, what it finds inside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use whitewater_rtp::rtcp::{Compound, Packet, write};
use whitewater_rtp::{RtpHeader, RtpPacket};
use whitewater_srtp::{KeyError, KeyingMaterial, OpenError, SrtcpOpener, SrtcpSealer, SrtpOpener};

use crate::feedback::Arrivals;
use crate::media::{Content, Piece, VideoCodec};
use crate::sdp::Answer;
use crate::socket::Socket;
use crate::stats::{Latency, Totals};
use crate::track::{Counts, Track, Way};

/// Whether a viewer looks into the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// Only headers are read: loss and order are known, content is not.
    Count,
    /// Every packet is decrypted and compared with what was sent.
    Verify {
        /// The publisher's number, if known: packets of others are errors.
        source: Option<u32>,
        /// Its video codec.
        codec: VideoCodec,
    },
}

/// The receiving half of a session.
pub(crate) struct Viewer {
    inspection: Inspection,
    ssrc: u32,
    cname: String,
    audio_pt: Option<u8>,
    video_pt: Option<u8>,
    rtx_pt: Option<u8>,
    transport_seq_id: Option<u8>,
    arrivals: Arrivals,
    keys: Option<Keys>,
    started: Instant,
    tracks: Vec<Heard>,
    report_due: Instant,
    key_asked: Option<Instant>,
    frames: Frames,
    totals: Totals,
    /// The first video packet was part of a key frame; unknown before it.
    started_right: Option<bool>,
}

struct Keys {
    srtp: SrtpOpener,
    srtcp_in: SrtcpOpener,
    srtcp_out: SrtcpSealer,
}

/// A stream, and what it carries.
struct Heard {
    pt: u8,
    track: Track,
    given_up_seen: u64,
}

/// What happened with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Media,
    Other,
}

impl Viewer {
    pub(crate) fn new(
        inspection: Inspection,
        ssrc: u32,
        cname: String,
        answer: &Answer,
        now: Instant,
    ) -> Self {
        Viewer {
            inspection,
            ssrc,
            cname,
            audio_pt: answer.audio.as_ref().map(|section| section.pt),
            video_pt: answer.video.as_ref().map(|section| section.pt),
            rtx_pt: answer.video.as_ref().and_then(|section| section.rtx_pt),
            // One for all streams of a bundle.
            transport_seq_id: [&answer.video, &answer.audio]
                .into_iter()
                .flatten()
                .find_map(|section| section.transport_seq_id),
            arrivals: Arrivals::default(),
            keys: None,
            started: now,
            tracks: Vec::new(),
            report_due: now,
            key_asked: None,
            frames: Frames::default(),
            totals: Totals::default(),
            started_right: None,
        }
    }

    pub(crate) fn secured(&mut self, keys: &KeyingMaterial, now: Instant) -> Result<(), KeyError> {
        self.keys = Some(Keys {
            srtp: SrtpOpener::new(&keys.remote)?,
            srtcp_in: SrtcpOpener::new(&keys.remote)?,
            srtcp_out: SrtcpSealer::new(&keys.local)?,
        });
        // Sessions that start together do not report in step.
        self.report_due = now + REPORT_INTERVAL * (self.ssrc % 256) / 256;
        Ok(())
    }

    /// Adds what was counted since the start.
    pub(crate) fn totals(&self, into: &mut Totals) {
        into.add(&self.totals);
        into.frames_whole += self.frames.whole_at_end();
        for heard in &self.tracks {
            let track = &heard.track;
            let Counts {
                received: _,
                duplicates,
                reordered,
                nacked,
                recovered,
                given_up: _,
            } = track.counts;
            into.expected += track.expected();
            into.lost += track.lost();
            into.duplicates += duplicates;
            into.reordered += reordered;
            into.nacked += nacked;
            into.recovered += recovered;
        }
    }

    /// The longest time without a new video packet (audio, if there is no video), the one that
    /// lasts included; `None` before the first one.
    pub(crate) fn gap(&self, now: Instant) -> Option<Duration> {
        let of = |pt: Option<u8>| self.tracks.iter().find(|heard| Some(heard.pt) == pt);
        let track = &of(self.video_pt).or_else(|| of(self.audio_pt))?.track;
        Some(track.gap_max.max(track.silence(now)))
    }

    pub(crate) fn reset_gap(&mut self) {
        for heard in &mut self.tracks {
            heard.track.reset_gap();
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.keys.as_ref()?;
        let asks = self.tracks.iter().filter_map(|heard| heard.track.ask_due());
        let asks = asks.chain(self.arrivals.due());
        Some(asks.fold(self.report_due, Instant::min))
    }

    pub(crate) fn poll(&mut self, now: Instant, socket: &mut Socket) {
        self.ask(now, socket);
        if self.arrivals.due().is_some_and(|due| due <= now) {
            self.tell_arrivals(now, socket);
        }
        if self.keys.is_some() && now >= self.report_due {
            self.report_due = now + REPORT_INTERVAL;
            self.report(now, socket);
        }
    }

    /// Takes an SRTP packet.
    pub(crate) fn on_rtp(
        &mut self,
        now: Instant,
        arrived_ns: u64,
        bytes: &[u8],
        latency: &mut Latency,
    ) -> Taken {
        self.totals.received_packets += 1;
        self.totals.received_bytes += bytes.len() as u64;
        let Ok(header) = RtpHeader::parse(bytes) else {
            self.totals.unreadable += 1;
            return Taken::Other;
        };
        let transport_seq = self.transport_seq_id.and_then(|id| header.extension(id));
        if let Some(seq) = transport_seq.and_then(|bytes| bytes.try_into().ok()) {
            self.arrivals.note(u16::from_be_bytes(seq), arrived_ns, now);
        }
        let pt = header.payload_type();
        if Some(pt) == self.rtx_pt {
            return self.on_retransmission(now, bytes);
        }
        if Some(pt) != self.video_pt && Some(pt) != self.audio_pt {
            self.totals.unreadable += 1;
            return Taken::Other;
        }
        let seq = header.sequence_number();
        if !self.note(&header, pt, seq, now) {
            return Taken::Other;
        }
        if let Inspection::Verify { source, codec } = self.inspection {
            self.verify(bytes, source, codec, Some(arrived_ns), latency);
        }
        Taken::Media
    }

    pub(crate) fn on_rtcp(&mut self, now: Instant, bytes: &[u8]) {
        let mut plain = [0; 2048];
        let opened = self
            .keys
            .as_mut()
            .and_then(|keys| keys.srtcp_in.open(bytes, &mut plain).ok());
        let Some(compound) = opened.and_then(|len| plain.get(..len)) else {
            return;
        };
        for packet in Compound::new(compound).take(RTCP_PACKETS_MAX) {
            if let Ok(Packet::SenderReport(report)) = packet {
                let info = report.info();
                let mut tracks = self.tracks.iter_mut();
                if let Some(heard) = tracks.find(|heard| heard.track.ssrc == info.ssrc) {
                    heard.track.note_report(info.ntp_time, now);
                }
            }
        }
    }

    /// Notes a packet's number; whether it is new.
    fn note(&mut self, header: &RtpHeader<'_>, pt: u8, seq: u16, now: Instant) -> bool {
        let ssrc = header.ssrc();
        let known = self
            .tracks
            .iter_mut()
            .find(|heard| heard.track.ssrc == ssrc);
        if let Some(heard) = known {
            let is_new = heard.track.take(seq, Way::Original, now);
            let since = now.saturating_duration_since(self.started);
            heard.track.note_timestamp(header.timestamp(), since);
            return is_new;
        }
        if self.tracks.len() >= TRACKS_MAX {
            self.totals.unreadable += 1;
            return false;
        }
        let clock_rate = if Some(pt) == self.video_pt {
            90_000
        } else {
            48_000
        };
        self.tracks.push(Heard {
            pt,
            track: Track::new(ssrc, clock_rate, seq, now),
            given_up_seen: 0,
        });
        true
    }

    /// RFC 4588 §4: the payload starts with the original number.
    fn on_retransmission(&mut self, now: Instant, bytes: &[u8]) -> Taken {
        let mut plain = [0; PACKET_SIZE_MAX];
        let Some(packet) = self.open(bytes, &mut plain) else {
            return Taken::Other;
        };
        let Some((seq, payload)) = packet.payload().split_first_chunk() else {
            // A probe for bandwidth.
            return Taken::Other;
        };
        let seq = u16::from_be_bytes(*seq);
        let video_pt = self.video_pt;
        let mut tracks = self.tracks.iter_mut();
        let Some(heard) = tracks.find(|heard| Some(heard.pt) == video_pt) else {
            return Taken::Other;
        };
        if !heard.track.take(seq, Way::Retransmitted, now) {
            return Taken::Other;
        }
        if let Inspection::Verify { source, codec } = self.inspection {
            // How long it took is the loss's doing, not the server's.
            self.compare(Content::read_video(codec, payload), source, None);
        }
        Taken::Media
    }

    fn verify(
        &mut self,
        bytes: &[u8],
        source: Option<u32>,
        codec: VideoCodec,
        arrived_ns: Option<u64>,
        latency: &mut Latency,
    ) {
        let mut plain = [0; PACKET_SIZE_MAX];
        let Some(packet) = self.open(bytes, &mut plain) else {
            return;
        };
        if packet.payload().is_empty() {
            return;
        }
        let is_audio = Some(packet.header().payload_type()) == self.audio_pt;
        let content = if is_audio {
            Content::read_audio(packet.payload())
        } else {
            Content::read_video(codec, packet.payload())
        };
        self.compare(content, source, arrived_ns.map(|at| (at, latency)));
    }

    fn compare(
        &mut self,
        content: Result<Content, crate::media::Damaged>,
        source: Option<u32>,
        latency: Option<(u64, &mut Latency)>,
    ) {
        let Ok(content) = content else {
            self.totals.corrupted += 1;
            return;
        };
        if source.is_some_and(|source| source != content.source) {
            self.totals.foreign += 1;
            return;
        }
        self.totals.verified += 1;
        if let Some((arrived_ns, latency)) = latency {
            latency.note(arrived_ns.saturating_sub(content.sent_ns));
        }
        if content.piece != Piece::Audio {
            let is_key = content.piece == Piece::KeyFrame;
            if self.started_right.is_none() {
                self.started_right = Some(is_key);
                self.totals.late_starts += u64::from(!is_key);
            }
            self.frames.take(&content, &mut self.totals);
        }
    }

    fn open<'a>(&mut self, bytes: &[u8], plain: &'a mut [u8]) -> Option<RtpPacket<'a>> {
        let keys = self.keys.as_mut()?;
        match keys.srtp.open(bytes, plain) {
            Ok(len) => {
                let packet = plain
                    .get(..len)
                    .and_then(|plain| RtpPacket::parse(plain).ok());
                self.totals.unreadable += u64::from(packet.is_none());
                packet
            }
            Err(OpenError::Replayed | OpenError::TooOld) => None,
            Err(_) => {
                self.totals.undecryptable += 1;
                None
            }
        }
    }

    /// NACK for what is missing; PLI when something was given up on.
    fn ask(&mut self, now: Instant, socket: &mut Socket) {
        let Some(keys) = &mut self.keys else {
            return;
        };
        let mut plain = [0; 1200];
        let mut missing = Vec::new();
        for heard in &mut self.tracks {
            if heard.track.ask_due().is_none_or(|due| due > now) {
                continue;
            }
            missing.clear();
            heard.track.ask(now, &mut missing);
            let is_video = Some(heard.pt) == self.video_pt;
            if !missing.is_empty() && is_video && self.rtx_pt.is_some() {
                let wanted = missing.iter().copied();
                let written = write::nack(&mut plain, self.ssrc, heard.track.ssrc, wanted);
                send(
                    &mut keys.srtcp_out,
                    socket,
                    plain.get(..written.unwrap_or(0)),
                );
            }
            let given_up = heard.track.counts.given_up;
            let asked_lately = self
                .key_asked
                .is_some_and(|at| now.saturating_duration_since(at) < KEY_INTERVAL_MIN);
            if given_up > heard.given_up_seen && is_video && !asked_lately {
                heard.given_up_seen = given_up;
                self.key_asked = Some(now);
                self.totals.keys_asked += 1;
                let written = write::pli(&mut plain, self.ssrc, heard.track.ssrc);
                send(
                    &mut keys.srtcp_out,
                    socket,
                    plain.get(..written.unwrap_or(0)),
                );
            }
        }
    }

    fn tell_arrivals(&mut self, now: Instant, socket: &mut Socket) {
        let media_ssrc = self.tracks.first().map_or(0, |heard| heard.track.ssrc);
        let mut plain = [0; 1200];
        let written = self.arrivals.write(now, self.ssrc, media_ssrc, &mut plain);
        if let (Some(len), Some(keys)) = (written, &mut self.keys) {
            send(&mut keys.srtcp_out, socket, plain.get(..len));
        }
    }

    fn report(&mut self, now: Instant, socket: &mut Socket) {
        let blocks: Vec<_> = self
            .tracks
            .iter_mut()
            .map(|heard| heard.track.report(now))
            .collect();
        let Some(keys) = &mut self.keys else {
            return;
        };
        let mut plain = [0; 1200];
        let len = write::receiver_report(&mut plain, self.ssrc, &blocks).and_then(|len| {
            let rest = plain.get_mut(len..).unwrap_or_default();
            Ok(len + write::sdes_cname(rest, self.ssrc, self.cname.as_bytes())?)
        });
        send(&mut keys.srtcp_out, socket, plain.get(..len.unwrap_or(0)));
    }
}

fn send(sealer: &mut SrtcpSealer, socket: &mut Socket, plain: Option<&[u8]>) {
    let mut sealed = [0; 1300];
    let plain = plain.unwrap_or_default();
    if let Ok(len) = sealer.seal(plain, &mut sealed) {
        socket.send_run(sealed.get(..len).unwrap_or_default(), len);
    }
}

/// Which frames came whole.
#[derive(Default)]
struct Frames {
    /// The last frames of which anything came: number, packets that came, packets it has.
    open: VecDeque<(u32, u16, u16)>,
}

impl Frames {
    fn take(&mut self, content: &Content, totals: &mut Totals) {
        let mut open = self.open.iter_mut().rev();
        if let Some(entry) = open.find(|entry| entry.0 == content.frame) {
            entry.1 += 1;
            return;
        }
        // Of a frame that was closed already, or a new one.
        let newest = self.open.back().map(|entry| entry.0);
        if newest.is_some_and(|newest| content.frame.wrapping_sub(newest) > u32::MAX / 2) {
            return;
        }
        self.open.push_back((content.frame, 1, content.count));
        if self.open.len() > OPEN_FRAMES_MAX
            && let Some((_, came, count)) = self.open.pop_front()
        {
            match came == count {
                true => totals.frames_whole += 1,
                false => totals.frames_broken += 1,
            }
        }
    }

    fn whole_at_end(&self) -> u64 {
        let whole = self.open.iter().filter(|(_, came, count)| came == count);
        whole.count() as u64
    }
}

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const KEY_INTERVAL_MIN: Duration = Duration::from_secs(1);
const TRACKS_MAX: usize = 8;
const RTCP_PACKETS_MAX: usize = 32;
const PACKET_SIZE_MAX: usize = 2048;
/// Two seconds at 30 frames a second: no retransmission comes later.
const OPEN_FRAMES_MAX: usize = 64;
