//! What a publisher sends, and how it answers what is asked of it.

use std::time::{Duration, Instant, SystemTime};

use whitewater_rtp::rtcp::{Compound, Packet, SenderInfo, write};
use whitewater_rtp::{ExtensionForm, HeaderFields, HeaderWriter};
use whitewater_srtp::{KeyError, KeyingMaterial, SrtcpOpener, SrtcpSealer, SrtpSealer};

use crate::media::{Content, PAYLOAD_SIZE_MAX, PAYLOAD_SIZE_MIN, Piece, VideoCodec};
use crate::sdp::{Answer, Section, Ssrcs};
use crate::socket::Socket;
use crate::stats::Totals;

/// What a publisher sends.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The video codec; `None` for audio alone.
    pub video: Option<VideoCodec>,
    /// Send audio too: 50 packets a second.
    pub audio: bool,
    /// Video payload, bits per second.
    pub bitrate_bps: u64,
    /// Video frames per second.
    pub fps: u32,
    /// How the packets of a frame leave.
    pub pacing: Pacing,
    /// The largest video payload, bytes.
    pub payload_size: usize,
}

/// How the packets of a frame leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pacing {
    /// All at once, as an encoder without a pacer sends them.
    Burst,
    /// Spread over the frame's time, those of 5 ms together, as browsers do.
    Smooth,
}

impl Program {
    fn frame_interval(&self) -> Duration {
        Duration::from_secs(1) / self.fps.max(1)
    }

    /// Packets of a frame, and the size of each payload. A key frame has three times as many.
    pub(crate) fn frame(&self) -> (u16, usize) {
        let size_max = self.payload_size.clamp(PAYLOAD_SIZE_MIN, PAYLOAD_SIZE_MAX);
        let frame_size = self.bitrate_bps / 8 / u64::from(self.fps.max(1));
        let frame_size = usize::try_from(frame_size).unwrap_or(usize::MAX);
        let count = frame_size.div_ceil(size_max).clamp(1, FRAME_PACKETS_MAX);
        let size = (frame_size / count).clamp(PAYLOAD_SIZE_MIN, size_max);
        (count as u16, size)
    }
}

/// The sending half of a session.
pub(crate) struct Publisher {
    program: Program,
    source: u32,
    cname: String,
    audio: Option<Outlet>,
    video: Option<Outlet>,
    rtx: Option<Outlet>,
    keys: Option<Keys>,
    transport_seq: u16,
    speaking: bool,
    audio_due: Instant,
    video_due: Instant,
    report_due: Instant,
    frame: Frame,
    audio_number: u32,
    key_wanted: bool,
    sent: Vec<Sent>,
    run: Run,
    payload: Vec<u8>,
    totals: Totals,
}

struct Keys {
    srtp: SrtpSealer,
    srtcp: SrtcpSealer,
    opener: SrtcpOpener,
    overhead: usize,
}

/// One RTP stream on its way out.
struct Outlet {
    section: Section,
    mid: &'static [u8],
    pt: u8,
    ssrc: u32,
    clock_rate: u32,
    index: u64,
    /// The timestamp at `since`.
    timestamp_first: u32,
    since: Instant,
    timestamp: u32,
    packet_count: u32,
    octet_count: u32,
}

impl Outlet {
    /// The media clock's time, which follows the real one whatever was skipped.
    fn ticks(&self, at: Instant) -> u32 {
        let micros = at.saturating_duration_since(self.since).as_micros() as u64;
        let ticks = micros * u64::from(self.clock_rate) / 1_000_000;
        self.timestamp_first.wrapping_add(ticks as u32)
    }
}

/// Sealed packets on their way out, all of one size.
#[derive(Default)]
struct Run {
    bytes: Vec<u8>,
    segment: usize,
}

/// The video frame being sent.
#[derive(Default)]
struct Frame {
    number: u32,
    /// Packets that have left.
    index: u16,
    /// Groups that have left.
    group: u32,
    count: u16,
    key: bool,
}

/// A sent packet, for retransmission; the slot is found by its sequence number.
#[derive(Clone, Default)]
struct Sent {
    seq: Option<u16>,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new(
        program: Program,
        source: u32,
        cname: String,
        ssrcs: Ssrcs,
        answer: &Answer,
        now: Instant,
    ) -> Self {
        let outlet = |section: &Option<Section>, mid, ssrc, clock_rate| {
            let section = section.clone()?;
            Some(Outlet {
                pt: section.pt,
                section,
                mid,
                ssrc,
                clock_rate,
                index: u64::from(ssrc as u16 >> 1),
                timestamp_first: ssrc.rotate_left(7),
                since: now,
                timestamp: ssrc.rotate_left(7),
                packet_count: 0,
                octet_count: 0,
            })
        };
        let video = outlet(&answer.video, b"v", ssrcs.video, 90_000);
        let mut rtx = outlet(&answer.video, b"v", ssrcs.rtx, 90_000);
        if let Some(rtx_outlet) = &mut rtx {
            match rtx_outlet.section.rtx_pt {
                Some(pt) => rtx_outlet.pt = pt,
                None => rtx = None,
            }
        }
        Publisher {
            audio: outlet(&answer.audio, b"a", ssrcs.audio, 48_000),
            sent: vec![Sent::default(); if rtx.is_some() { SENT_MAX } else { 0 }],
            video,
            rtx,
            program,
            source,
            cname,
            keys: None,
            transport_seq: 0,
            speaking: true,
            audio_due: now,
            video_due: now,
            report_due: now,
            frame: Frame::default(),
            audio_number: 0,
            key_wanted: true,
            run: Run::default(),
            payload: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Starts to send.
    pub(crate) fn secured(&mut self, keys: &KeyingMaterial, now: Instant) -> Result<(), KeyError> {
        self.keys = Some(Keys {
            srtp: SrtpSealer::new(&keys.local)?,
            srtcp: SrtcpSealer::new(&keys.local)?,
            opener: SrtcpOpener::new(&keys.remote)?,
            overhead: keys.local.profile().rtp_overhead(),
        });
        // Publishers that start together do not send their frames in step.
        let phase = u32::from(self.source as u8).wrapping_mul(97) % 256;
        self.video_due = now + self.program.frame_interval() * phase / 256;
        self.audio_due = now + AUDIO_INTERVAL * phase / 256;
        self.report_due = now + REPORT_INTERVAL / 4;
        Ok(())
    }

    pub(crate) fn speak(&mut self, speaking: bool, now: Instant) {
        if speaking && !self.speaking {
            self.video_due = self.video_due.max(now);
            self.audio_due = self.audio_due.max(now);
        }
        self.speaking = speaking;
    }

    pub(crate) fn totals(&self, into: &mut Totals) {
        into.add(&self.totals);
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.keys.as_ref()?;
        let mut due = self.report_due;
        if self.speaking {
            if self.audio.is_some() {
                due = due.min(self.audio_due);
            }
            if self.video.is_some() {
                due = due.min(self.video_due);
            }
        }
        Some(due)
    }

    pub(crate) fn poll(&mut self, now: Instant, socket: &mut Socket) {
        if self.keys.is_none() {
            return;
        }
        if self.speaking {
            self.send_audio(now, socket);
            self.send_video(now, socket);
        }
        if now >= self.report_due {
            self.report_due = now + REPORT_INTERVAL;
            self.report(now, socket);
        }
    }

    pub(crate) fn on_rtcp(&mut self, bytes: &[u8], socket: &mut Socket) {
        let mut plain = [0; 2048];
        let opened = self
            .keys
            .as_mut()
            .and_then(|keys| keys.opener.open(bytes, &mut plain).ok());
        let Some(compound) = opened.and_then(|len| plain.get(..len)) else {
            return;
        };
        let video_ssrc = self.video.as_ref().map(|video| video.ssrc);
        for packet in Compound::new(compound).take(RTCP_PACKETS_MAX) {
            match packet {
                Ok(Packet::Nack(nack)) if Some(nack.media_ssrc()) == video_ssrc => {
                    for seq in nack.sequence_numbers().take(RESENDS_MAX) {
                        self.resend(seq, socket);
                    }
                }
                Ok(Packet::Pli(_) | Packet::Fir(_)) => {
                    self.totals.key_frames_wanted += 1;
                    self.key_wanted = true;
                }
                _ => {}
            }
        }
    }

    fn send_audio(&mut self, now: Instant, socket: &mut Socket) {
        self.audio_due = caught_up(self.audio_due, now);
        while self.audio.is_some() && self.audio_due <= now {
            let due = self.audio_due;
            self.audio_due += AUDIO_INTERVAL;
            let content = Content {
                source: self.source,
                frame: self.audio_number,
                index: 0,
                count: 1,
                piece: Piece::Audio,
                sent_ns: unix_ns(),
            };
            self.audio_number = self.audio_number.wrapping_add(1);
            self.payload.clear();
            content.render(VideoCodec::Vp8, AUDIO_SIZE, &mut self.payload);
            if let Some(audio) = &mut self.audio {
                audio.timestamp = audio.ticks(due);
                let (keys, transport_seq) = (self.keys.as_ref(), &mut self.transport_seq);
                self.run
                    .seal(audio, keys, transport_seq, false, &self.payload);
            }
            self.flush(socket);
        }
    }

    fn send_video(&mut self, now: Instant, socket: &mut Socket) {
        let Some(codec) = self.program.video.filter(|_| self.video.is_some()) else {
            return;
        };
        self.video_due = caught_up(self.video_due, now);
        while self.video_due <= now {
            let (count, size) = self.program.frame();
            if self.frame.group == 0 {
                self.start_frame(count);
            }
            let interval = self.program.frame_interval();
            let groups = match self.program.pacing {
                Pacing::Burst => 1,
                Pacing::Smooth => interval.div_duration_f64(GROUP_INTERVAL).ceil() as u32,
            };
            self.frame.group += 1;
            let until = u32::from(self.frame.count) * self.frame.group / groups.max(1);
            let sent_ns = unix_ns();
            while u32::from(self.frame.index) < until {
                self.send_packet(codec, size, sent_ns);
            }
            self.flush(socket);
            self.video_due += interval / groups.max(1);
            if self.frame.group >= groups {
                self.frame.number = self.frame.number.wrapping_add(1);
                self.frame.index = 0;
                self.frame.group = 0;
            }
        }
    }

    fn start_frame(&mut self, count: u16) {
        self.frame.key = std::mem::take(&mut self.key_wanted);
        self.frame.count = if self.frame.key { count * 3 } else { count };
        if self.frame.key {
            self.totals.key_frames += 1;
        }
        if let Some(video) = &mut self.video {
            video.timestamp = video.ticks(self.video_due);
        }
    }

    fn send_packet(&mut self, codec: VideoCodec, size: usize, sent_ns: u64) {
        let content = Content {
            source: self.source,
            frame: self.frame.number,
            index: self.frame.index,
            count: self.frame.count,
            piece: if self.frame.key {
                Piece::KeyFrame
            } else {
                Piece::DeltaFrame
            },
            sent_ns,
        };
        self.frame.index += 1;
        let marker = self.frame.index == self.frame.count;
        self.payload.clear();
        content.render(codec, size, &mut self.payload);
        let Some(video) = &mut self.video else {
            return;
        };
        let (seq, timestamp) = (video.index as u16, video.timestamp);
        let (keys, transport_seq) = (self.keys.as_ref(), &mut self.transport_seq);
        self.run
            .seal(video, keys, transport_seq, marker, &self.payload);
        if let Some(sent) = self.sent.get_mut(usize::from(seq) % SENT_MAX) {
            sent.seq = Some(seq);
            sent.timestamp = timestamp;
            sent.marker = marker;
            std::mem::swap(&mut sent.payload, &mut self.payload);
        }
    }

    /// RFC 4588 §4.
    fn resend(&mut self, seq: u16, socket: &mut Socket) {
        let sent = self.sent.get(usize::from(seq) % SENT_MAX);
        let (Some(sent), Some(rtx)) = (sent.filter(|one| one.seq == Some(seq)), &mut self.rtx)
        else {
            return;
        };
        self.payload.clear();
        self.payload.extend(seq.to_be_bytes());
        self.payload.extend_from_slice(&sent.payload);
        rtx.timestamp = sent.timestamp;
        let (keys, transport_seq) = (self.keys.as_ref(), &mut self.transport_seq);
        let marker = sent.marker;
        self.run
            .seal(rtx, keys, transport_seq, marker, &self.payload);
        self.totals.resent += 1;
        self.flush(socket);
    }

    fn flush(&mut self, socket: &mut Socket) {
        let Run { bytes, segment } = &mut self.run;
        if bytes.is_empty() {
            return;
        }
        let packets = bytes.len().div_ceil(*segment) as u64;
        let taken = socket.send_run(bytes, *segment) as u64;
        self.totals.sent_packets += taken;
        self.totals.sent_bytes += bytes.len() as u64;
        self.totals.refused += packets.saturating_sub(taken);
        bytes.clear();
    }

    fn report(&mut self, now: Instant, socket: &mut Socket) {
        let Some(keys) = &mut self.keys else {
            return;
        };
        let unix = unix_ns();
        let fraction = (u128::from(unix % 1_000_000_000) << 32) / 1_000_000_000;
        let ntp_time = (unix / 1_000_000_000 + NTP_OFFSET) << 32 | fraction as u64;
        for outlet in [&self.audio, &self.video].into_iter().flatten() {
            if outlet.packet_count == 0 {
                continue;
            }
            let info = SenderInfo {
                ssrc: outlet.ssrc,
                ntp_time,
                rtp_time: outlet.ticks(now),
                packet_count: outlet.packet_count,
                octet_count: outlet.octet_count,
            };
            let (mut plain, mut sealed) = ([0; 512], [0; 600]);
            let len = write::sender_report(&mut plain, &info, &[]).and_then(|len| {
                let rest = plain.get_mut(len..).unwrap_or_default();
                Ok(len + write::sdes_cname(rest, outlet.ssrc, self.cname.as_bytes())?)
            });
            let Some(plain) = len.ok().and_then(|len| plain.get(..len)) else {
                continue;
            };
            if let Ok(len) = keys.srtcp.seal(plain, &mut sealed) {
                socket.send_run(sealed.get(..len).unwrap_or_default(), len);
            }
        }
    }
}

impl Run {
    /// Appends one sealed packet and counts its outlet on.
    fn seal(
        &mut self,
        outlet: &mut Outlet,
        keys: Option<&Keys>,
        transport_seq: &mut u16,
        marker: bool,
        payload: &[u8],
    ) {
        let Some(keys) = keys else {
            return;
        };
        let fields = HeaderFields {
            marker,
            payload_type: outlet.pt,
            sequence_number: outlet.index as u16,
            timestamp: outlet.timestamp,
            ssrc: outlet.ssrc,
        };
        let mut header = [0; 64];
        let Some(header_len) = header_with_extensions(&mut header, fields, outlet, *transport_seq)
        else {
            return;
        };
        let header = header.get(..header_len).unwrap_or_default();
        let start = self.bytes.len();
        let size = header.len() + payload.len() + keys.overhead;
        self.bytes.resize(start + size, 0);
        let out = self.bytes.get_mut(start..).unwrap_or_default();
        // An index is used once, whatever comes of it.
        let index = outlet.index;
        outlet.index += 1;
        *transport_seq = transport_seq.wrapping_add(1);
        if keys
            .srtp
            .seal(header, payload, outlet.ssrc, index, out)
            .is_err()
        {
            self.bytes.truncate(start);
            return;
        }
        if start == 0 {
            self.segment = size;
        }
        outlet.packet_count = outlet.packet_count.wrapping_add(1);
        outlet.octet_count = outlet.octet_count.wrapping_add(payload.len() as u32);
    }
}

fn header_with_extensions(
    out: &mut [u8],
    fields: HeaderFields,
    outlet: &Outlet,
    transport_seq: u16,
) -> Option<usize> {
    let mut writer = HeaderWriter::new(out, fields, ExtensionForm::OneByte).ok()?;
    if let Some(id) = outlet.section.mid_id {
        writer.extension(id, outlet.mid).ok()?;
    }
    if let Some(id) = outlet.section.transport_seq_id {
        writer.extension(id, &transport_seq.to_be_bytes()).ok()?;
    }
    writer.finish().ok()
}

/// A schedule this far behind goes on from now: what was missed is not sent in one heap.
fn caught_up(due: Instant, now: Instant) -> Instant {
    if now.saturating_duration_since(due) > BEHIND_MAX {
        now
    } else {
        due
    }
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// How often the pacer of browsers sends.
const GROUP_INTERVAL: Duration = Duration::from_millis(5);
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// 32 kbit/s.
const AUDIO_SIZE: usize = 80;
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const BEHIND_MAX: Duration = Duration::from_millis(500);
/// At 30 frames/s that is 280 Mbit/s.
const FRAME_PACKETS_MAX: usize = 1024;
/// Packets kept for retransmission: two seconds at 2.5 Mbit/s, less at more.
const SENT_MAX: usize = 1024;
/// Retransmissions for one request.
const RESENDS_MAX: usize = 256;
const RTCP_PACKETS_MAX: usize = 32;
/// Seconds from 1900 to 1970 (RFC 5905 §6).
const NTP_OFFSET: u64 = 2_208_988_800;
