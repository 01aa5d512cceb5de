//! A scripted publisher: frames of numbered packets, audio every 20 ms.

use std::time::{Duration, Instant};

use str0m::Rtc;
use str0m::media::Mid;
use str0m::rtp::{ExtensionValues, RtpWrite};

use crate::media::{Content, Piece, SIZE_MIN};
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
    /// Header extensions of video packets.
    pub video_extensions: fn() -> ExtensionValues,
    /// Header extensions of audio packets.
    pub audio_extensions: fn() -> ExtensionValues,
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
            video_extensions: ExtensionValues::default,
            audio_extensions: ExtensionValues::default,
        }
    }
}

/// A publisher and what it did.
pub struct Published {
    /// When key frames were asked for.
    pub requests: Vec<Instant>,
    /// Video frames sent.
    pub frames: u32,
    /// Audio packets sent.
    pub audio_packets: u32,
    /// When a paused publisher sends nothing, although its connection lives.
    pub paused: bool,
    script: Script,
    number: u32,
    video_pt: Option<u8>,
    audio_pt: u8,
    began: Instant,
    video_at: Option<Instant>,
    audio_at: Option<Instant>,
    video_seq: u64,
    audio_seq: u64,
    key_wanted: bool,
}

impl Published {
    pub(crate) fn new(number: u32, began: Instant, config: &PeerConfig) -> Self {
        let vp8 = |format: &&crate::VideoFormat| format.codec == str0m::format::Codec::Vp8;
        Published {
            requests: Vec::new(),
            frames: 0,
            audio_packets: 0,
            paused: false,
            number,
            video_pt: config.video.iter().find(vp8).map(|format| format.pt),
            audio_pt: config.audio_pt,
            began,
            video_at: None,
            audio_at: None,
            video_seq: u64::from(config.script.seq_start),
            audio_seq: u64::from(config.script.seq_start),
            key_wanted: true,
            script: config.script.clone(),
        }
    }

    /// Its number in the content.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn requested(&mut self, now: Instant) {
        self.requests.push(now);
        self.key_wanted = true;
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
                self.send_frame(now, rtc, mid);
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

    fn send_frame(&mut self, now: Instant, rtc: &mut Rtc, mid: Mid) {
        let Some(pt) = self.video_pt.filter(|_| !self.paused) else {
            return;
        };
        let captured_at = now.checked_sub(self.script.encoding_takes).unwrap_or(now);
        let captured = captured_at.saturating_duration_since(self.began);
        let every = self.script.key_every;
        let key =
            std::mem::take(&mut self.key_wanted) || every > 0 && self.frames.is_multiple_of(every);
        let count = if key {
            self.script.key_packets
        } else {
            self.script.delta_packets
        };
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else {
            return;
        };
        for index in 0..count {
            let content = Content {
                publisher: self.number,
                frame: self.frames,
                index,
                count,
                key,
                captured,
            };
            let payload = content.render(Piece::Video, self.script.payload_size.max(SIZE_MIN));
            let timestamp = self.timestamp(captured, 90_000);
            let packet = RtpWrite::new(
                pt.into(),
                self.video_seq.into(),
                timestamp,
                captured_at,
                payload,
            )
            .marker(index + 1 == count)
            .ext_vals((self.script.video_extensions)())
            .nackable(true);
            stream.write_rtp(packet);
            self.video_seq += 1;
        }
        self.frames += 1;
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
            captured,
        };
        let payload = content.render(Piece::Audio, AUDIO_SIZE);
        let timestamp = self.timestamp(captured, 48_000);
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else {
            return;
        };
        let (pt, seq) = (self.audio_pt.into(), self.audio_seq.into());
        let packet = RtpWrite::new(pt, seq, timestamp, now, payload)
            .ext_vals((self.script.audio_extensions)());
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

const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// 32 kbit/s Opus.
const AUDIO_SIZE: usize = 80;
