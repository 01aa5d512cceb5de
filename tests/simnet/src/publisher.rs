//! A scripted publisher: frames of numbered packets, audio every 20 ms.

use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::format::Codec;
use str0m::media::{Mid, Rid};
use str0m::rtp::{ExtensionValues, RtpWrite};

use crate::media::{Content, Piece, SIZE_MIN, Temporal};
use crate::peer::PeerConfig;

/// What is sent.
#[derive(Clone, Debug)]
pub struct Script {
    /// Time between video frames.
    pub frame_interval: Duration,
    /// Packets of a key frame.
    pub key_packets: u16,
    /// Packets of any other frame.
    pub delta_packets: u16,
    /// Payload size of a video packet.
    pub payload_size: usize,
    /// Every how many frames a key frame comes unasked; 0: never.
    pub key_every: u32,
    /// The first video sequence number.
    pub seq_start: u16,
    /// The first RTP timestamp of both kinds.
    pub timestamp_start: u32,
    /// How long a video frame takes from capture to sending; audio takes none.
    pub encoding_takes: Duration,
    /// The layers it sends, in the offer's order; none: one without a rid.
    pub layers: Vec<Encoding>,
    /// How the layers are told apart.
    pub told: Told,
    /// Temporal layers of each, 1..=3, told in VP8's payload descriptor; 0 where nothing tells of any.
    pub temporals: u8,
    /// Which of the codecs it offers it sends.
    pub video_codec: Codec,
    /// Payload of a video packet of so many bytes, in place of one that viewers can check.
    pub video_payload: Option<fn(&Content, usize) -> Vec<u8>>,
    /// The same of an audio packet.
    pub audio_payload: Option<fn(&Content) -> Vec<u8>>,
    /// Header extensions of video packets.
    pub video_extensions: fn(&Content) -> ExtensionValues,
    /// Header extensions of audio packets.
    pub audio_extensions: fn(&Content) -> ExtensionValues,
    /// Sends key frames when it likes, and not when it is asked.
    pub is_deaf: bool,
    /// How fast the timestamps of its video run, in percent.
    pub video_clock_percent: u64,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            frame_interval: Duration::from_micros(33_333),
            key_packets: 10,
            delta_packets: 3,
            payload_size: 200,
            key_every: 0,
            seq_start: 1_000,
            timestamp_start: 3_000_000_000,
            encoding_takes: Duration::from_millis(20),
            layers: Vec::new(),
            told: Told::ByRid,
            temporals: 0,
            video_codec: Codec::Vp8,
            video_payload: None,
            audio_payload: None,
            video_extensions: |_| ExtensionValues::default(),
            audio_extensions: |_| ExtensionValues::default(),
            is_deaf: false,
            video_clock_percent: 100,
        }
    }
}

/// How an offer says which layer is which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By rids that packets carry (RFC 8853).
    ByRid,
    /// By a group of announced sources (`a=ssrc-group:SIM`), as older clients do.
    BySource,
}

/// One simulcast layer: every picture, in another size.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// What its packets say in their extension.
    pub rid: &'static str,
    /// How often width, height and packets of a frame are halved.
    pub halvings: u8,
}

/// Three layers, largest first.
pub const THREE_LAYERS: [Encoding; 3] = [
    Encoding {
        rid: "h",
        halvings: 0,
    },
    Encoding {
        rid: "m",
        halvings: 1,
    },
    Encoding {
        rid: "l",
        halvings: 2,
    },
];

/// A publisher and what it did.
pub struct Published {
    /// When key frames were asked for, of whatever layer.
    pub requests: Vec<Instant>,
    /// The same, with the layer's place in the script.
    pub layer_requests: Vec<(Instant, usize)>,
    /// Video frames sent.
    pub frames: u32,
    /// Audio packets sent.
    pub audio_packets: u32,
    /// What the server's feedback lets it send, in bits per second, if it goes by that.
    pub estimate: Option<u64>,
    /// When a paused publisher sends nothing, although its connection lives.
    pub paused: bool,
    script: Script,
    number: u32,
    video_pt: Option<u8>,
    audio_pt: u8,
    red_pt: Option<u8>,
    /// The audio payload sent last, and its timestamp.
    audio_before: Option<(u32, Vec<u8>)>,
    began: Instant,
    video_at: Option<Instant>,
    audio_at: Option<Instant>,
    /// By layer.
    video_seqs: Vec<u64>,
    audio_seq: u64,
    /// By layer.
    keys_wanted: Vec<bool>,
    /// By layer.
    rhythms: Vec<Rhythm>,
    /// Layers that send nothing for now.
    pub(crate) silent: Vec<usize>,
}

impl Published {
    pub(crate) fn new(number: u32, began: Instant, config: &PeerConfig) -> Self {
        let layers = config.script.layers.len().max(1);
        let codec = config.script.video_codec;
        let sent = |format: &&crate::VideoFormat| format.codec == codec;
        Published {
            requests: Vec::new(),
            layer_requests: Vec::new(),
            frames: 0,
            audio_packets: 0,
            estimate: None,
            paused: false,
            number,
            video_pt: config.video.iter().find(sent).map(|format| format.pt),
            audio_pt: config.audio_pt,
            red_pt: config.red_pt,
            audio_before: None,
            began,
            video_at: None,
            audio_at: None,
            // Layers have nothing in common.
            video_seqs: (0..layers as u64)
                .map(|layer| u64::from(config.script.seq_start) + 7_777 * layer)
                .collect(),
            audio_seq: u64::from(config.script.seq_start),
            keys_wanted: vec![true; layers],
            rhythms: vec![Rhythm::default(); layers],
            silent: Vec::new(),
            script: config.script.clone(),
        }
    }

    /// Its number in the content.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn requested(&mut self, now: Instant, rid: Option<Rid>) {
        self.requests.push(now);
        let is = |layer: &Encoding| Some(Rid::from(layer.rid)) == rid;
        let layer = self.script.layers.iter().position(is).unwrap_or(0);
        self.layer_requests.push((now, layer));
        self.keys_wanted[layer] |= !self.script.is_deaf;
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.video_at.into_iter().chain(self.audio_at).min()
    }

    pub(crate) fn play(
        &mut self,
        now: Instant,
        rtc: &mut Rtc,
        video: Option<Mid>,
        audio: Option<Mid>,
    ) {
        if let Some(mid) = video {
            let at = *self.video_at.get_or_insert(now);
            if at <= now {
                self.video_at = Some(at + self.script.frame_interval);
                for layer in 0..self.keys_wanted.len() {
                    self.send_frame(now, rtc, mid, layer);
                }
                self.frames += u32::from(!self.paused && self.video_pt.is_some());
            }
        }
        if let Some(mid) = audio {
            let at = *self.audio_at.get_or_insert(now);
            if at <= now {
                self.audio_at = Some(at + AUDIO_INTERVAL);
                self.send_audio(now, rtc, mid);
            }
        }
    }

    fn send_frame(&mut self, now: Instant, rtc: &mut Rtc, mid: Mid, layer: usize) {
        let Some(pt) = self.video_pt.filter(|_| !self.paused) else {
            return;
        };
        if self.silent.contains(&layer) {
            // It comes back with a key frame.
            self.keys_wanted[layer] = true;
            return;
        }
        let encoding = self.script.layers.get(layer);
        let (rid, halvings) = encoding.map_or((None, 0), |e| (Some(Rid::from(e.rid)), e.halvings));
        let captured_at = now.checked_sub(self.script.encoding_takes).unwrap_or(now);
        let captured = captured_at.saturating_duration_since(self.began);
        let every = self.script.key_every;
        let asked = std::mem::take(&mut self.keys_wanted[layer]);
        let key = asked || every > 0 && self.frames.is_multiple_of(every);
        let count = if key {
            self.script.key_packets
        } else {
            self.script.delta_packets
        };
        let count = self.estimate.map_or(count, |bps| {
            let bits = u128::from(bps) * self.script.frame_interval.as_micros() / 1_000_000;
            (bits / 8 / self.script.payload_size.max(1) as u128) as u16
        });
        let count = (count >> halvings).max(1);
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, rid) else {
            return;
        };
        let rhythm = &mut self.rhythms[layer];
        let (temporal, reference) = rhythm.next(self.script.temporals, self.frames, key);
        for index in 0..count {
            let content = Content {
                publisher: self.number,
                frame: self.frames,
                index,
                count,
                key,
                layer: halvings,
                picture: (self.frames + 12_345 * layer as u32) as u16 & 0x7fff,
                reference,
                temporal,
                captured,
            };
            let size = self.script.payload_size.max(SIZE_MIN);
            let payload = match self.script.video_payload {
                Some(render) => render(&content, size),
                None => content.render(Piece::Video, size),
            };
            let rate = 90_000 * self.script.video_clock_percent / 100;
            let timestamp = self.timestamp(captured, rate);
            let timestamp = timestamp.wrapping_add(1_234_567_890_u32.wrapping_mul(layer as u32));
            let packet = RtpWrite::new(
                pt.into(),
                self.video_seqs[layer].into(),
                timestamp,
                captured_at,
                payload,
            )
            .marker(index + 1 == count)
            .ext_vals((self.script.video_extensions)(&content))
            .nackable(true);
            stream.write_rtp(packet);
            self.video_seqs[layer] += 1;
        }
    }

    fn send_audio(&mut self, now: Instant, rtc: &mut Rtc, mid: Mid) {
        if self.paused {
            return;
        }
        let captured = now.saturating_duration_since(self.began);
        let content = Content {
            publisher: self.number,
            frame: self.audio_packets,
            index: 0,
            count: 1,
            key: false,
            layer: 0,
            picture: 0,
            reference: self.audio_packets,
            temporal: None,
            captured,
        };
        let payload = match self.script.audio_payload {
            Some(render) => render(&content),
            None => content.render(Piece::Audio, AUDIO_SIZE),
        };
        let timestamp = self.timestamp(captured, 48_000);
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else {
            return;
        };
        let (pt, payload) = match self.red_pt {
            Some(red) => {
                let before = self.audio_before.replace((timestamp, payload.clone()));
                (red, redundant(self.audio_pt, timestamp, before, &payload))
            }
            None => (self.audio_pt, payload),
        };
        let (pt, seq) = (pt.into(), self.audio_seq.into());
        let packet = RtpWrite::new(pt, seq, timestamp, now, payload).ext_vals((self
            .script
            .audio_extensions)(
            &content
        ));
        stream.write_rtp(packet);
        self.audio_seq += 1;
        self.audio_packets += 1;
    }

    /// Whole ticks since the world began, from the script's start.
    fn timestamp(&self, captured: Duration, rate: u64) -> u32 {
        let ticks = captured.as_micros() as u64 * rate / 1_000_000;
        self.script.timestamp_start.wrapping_add(ticks as u32)
    }
}

/// How the frames of one encoding build on each other.
#[derive(Clone, Debug, Default)]
struct Rhythm {
    /// Frames since the last key frame.
    phase: usize,
    base: u8,
    /// The latest frame of each temporal layer.
    latest: [u32; 3],
}

impl Rhythm {
    /// The next frame's place among so many temporal layers, and the frame it is predicted from: those
    /// of the middle layer build on the slowest, those of the fastest on what came last below.
    fn next(&mut self, temporals: u8, frame: u32, key: bool) -> (Option<Temporal>, u32) {
        let order = ORDERS[usize::from(temporals.clamp(1, 3)) - 1];
        if key {
            self.phase = 0;
        }
        let place = self.phase % order.len();
        self.phase += 1;
        let id = order[place];
        let is_after_middle = id == 2 && place > 2;
        self.base = self.base.wrapping_add(u8::from(id == 0));
        let reference = match (key, is_after_middle) {
            (true, _) => frame,
            (false, true) => self.latest[1],
            (false, false) => self.latest[0],
        };
        self.latest[usize::from(id)] = frame;
        let temporal = Temporal {
            id,
            is_sync: id > 0 && !is_after_middle,
            base: self.base,
        };
        ((temporals > 0).then_some(temporal), reference)
    }
}

/// The temporal layers of frames, one after the other.
const ORDERS: [&[u8]; 3] = [&[0], &[0, 1], &[0, 2, 1, 2]];

/// RFC 2198 §3: the packet before, if there was one, and this one.
fn redundant(pt: u8, timestamp: u32, before: Option<(u32, Vec<u8>)>, newest: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let before = before.map(|(then, payload)| (timestamp.wrapping_sub(then), payload));
    if let Some((offset, payload)) = &before {
        let head = u32::from(0x80 | pt) << 24 | offset << 10 | payload.len() as u32;
        packet.extend_from_slice(&head.to_be_bytes());
    }
    packet.push(pt);
    packet.extend(before.map(|(_, payload)| payload).unwrap_or_default());
    packet.extend_from_slice(newest);
    packet
}

const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// 32 kbit/s Opus.
const AUDIO_SIZE: usize = 80;
