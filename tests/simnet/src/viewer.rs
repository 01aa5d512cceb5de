//! A scripted viewer: puts frames together as a browser does, by sequence numbers, marker bits and
//! key frames only, and then checks by their content that this was right.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use str0m::rtp::RtpPacket;

use crate::described::Described;
use crate::media::{Content, Piece, vp8_tag_at};
use crate::repair::Repair;

/// A viewer and what it saw.
pub struct Watched {
    /// Frames given to the decoder, in order.
    pub shown: Vec<Shown>,
    /// Audio packets in order of arrival.
    pub heard: Vec<Heard>,
    /// Payloads that were not as sent.
    pub corrupt: u64,
    /// Frames a decoder was given that it cannot decode: its reference is another than the
    /// sequence numbers promise, or packets of it are not there.
    pub undecodable_shown: u64,
    /// Key frames this viewer asked for.
    pub requests: u64,
    /// Sequence numbers of video.
    pub video: Track,
    /// Sequence numbers of audio.
    pub audio: Track,
    /// Packets that came again.
    pub repeated: u64,
    /// Packets that were asked for, each time.
    pub asked_again: u64,
    /// Header extensions of the last video and audio packet.
    pub extensions: [Option<str0m::rtp::ExtensionValues>; 2],
    /// Audio that redundant packets (RFC 2198) had besides their own.
    pub brought_along: Vec<Content>,
    began: Instant,
    buffer: BTreeMap<u64, Buffered>,
    /// The first sequence number of the next frame; none while a key frame is needed.
    next: Option<u64>,
    stuck_since: Option<Instant>,
    asked_at: Option<Instant>,
    must_ask: bool,
    repair: Repair,
    offsets: [Option<i128>; 2],
    /// The frames decoded since the last key frame, and whose they are.
    decoded: ((u32, u8), HashSet<u32>),
}

/// One frame given to the decoder.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// When.
    pub at: Instant,
    /// Content of its first packet.
    pub content: Content,
    /// Extended sequence number of its first packet.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Payload type.
    pub pt: u8,
    /// Its number in the dependency descriptor, where it came with one.
    pub number: Option<u16>,
}

/// One audio packet.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// Its content.
    pub content: Content,
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
}

/// Sequence numbers of one track.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// All that arrived, with what they carried.
    pub packets: BTreeMap<u64, Content>,
    /// The synchronisation sources they came under.
    pub ssrcs: Vec<u32>,
}

impl Track {
    /// Numbers between the first and the last that never arrived.
    pub fn missing(&self) -> u64 {
        match (self.packets.keys().next(), self.packets.keys().next_back()) {
            (Some(first), Some(last)) => last - first + 1 - self.packets.len() as u64,
            _ => 0,
        }
    }

    /// Whether neighbours by number are neighbours by content, as far as one publisher goes;
    /// `allow` says which jumps are right.
    pub fn is_continuous(&self, allow: impl Fn(&Content, &Content) -> bool) -> bool {
        let mut all = self.packets.iter().zip(self.packets.iter().skip(1));
        all.all(|((seq, one), (next_seq, next))| {
            next_seq - seq != 1 || follows(one, next) || allow(one, next)
        })
    }
}

/// Whether `next` was sent right after `one` by the same publisher.
fn follows(one: &Content, next: &Content) -> bool {
    let same_frame = next.frame == one.frame && next.index == one.index + 1;
    let next_frame = next.frame == one.frame + 1 && next.index == 0 && one.index + 1 == one.count;
    let same = one.publisher == next.publisher && one.layer == next.layer;
    same && (same_frame || next_frame)
}

struct Buffered {
    content: Content,
    timestamp: u32,
    marker: bool,
    start: bool,
    key_start: bool,
    pt: u8,
    number: Option<u16>,
}

impl Watched {
    pub(crate) fn new(began: Instant) -> Self {
        Watched {
            shown: Vec::new(),
            heard: Vec::new(),
            corrupt: 0,
            undecodable_shown: 0,
            requests: 0,
            video: Track::default(),
            audio: Track::default(),
            repeated: 0,
            asked_again: 0,
            extensions: [None, None],
            brought_along: Vec::new(),
            began,
            buffer: BTreeMap::new(),
            next: None,
            stuck_since: None,
            asked_at: None,
            must_ask: false,
            repair: Repair::default(),
            offsets: [None, None],
            decoded: Default::default(),
        }
    }

    /// The longest time between two frames that overlaps with `from..to`; the whole span when
    /// there was none.
    pub fn freeze_between(&self, from: Instant, to: Instant) -> Duration {
        let before = self.shown.iter().rev().map(|s| s.at).find(|at| *at <= from);
        let within = self
            .shown
            .iter()
            .map(|s| s.at)
            .filter(|at| *at > from && *at < to);
        let after = self.shown.iter().map(|s| s.at).find(|at| *at >= to);
        let times = std::iter::once(before.unwrap_or(from)).chain(within);
        let times: Vec<Instant> = times.chain([after.unwrap_or(to)]).collect();
        let gaps = times
            .windows(2)
            .map(|pair| pair[1].saturating_duration_since(pair[0]));
        gaps.max().unwrap_or_default()
    }

    /// Frames shown of those sent between the first and the last shown of `publisher`.
    pub fn share_shown(&self, publisher: u32) -> f64 {
        let own = || {
            self.shown
                .iter()
                .filter(|s| s.content.publisher == publisher)
        };
        let (Some(first), Some(last)) = (own().next(), own().next_back()) else {
            return 0.0;
        };
        let sent = last.content.frame - first.content.frame + 1;
        own().count() as f64 / f64::from(sent)
    }

    /// By how much sender reports put video later than audio, against when they were captured.
    pub fn av_skew(&self) -> Option<Duration> {
        let [Some(video), Some(audio)] = self.offsets else {
            return None;
        };
        Some(Duration::from_nanos((video - audio).unsigned_abs() as u64))
    }

    pub(crate) fn packet(&mut self, now: Instant, video: bool, is_red: bool, packet: &RtpPacket) {
        let piece = if video { Piece::Video } else { Piece::Audio };
        let newest = if is_red {
            self.unwrap(&packet.payload)
        } else {
            &packet.payload
        };
        let Ok(content) = Content::parse(piece, newest) else {
            self.corrupt += u64::from(!packet.payload.is_empty());
            return;
        };
        let seq = *packet.seq_no;
        let track = if video {
            &mut self.video
        } else {
            &mut self.audio
        };
        let ssrc = *packet.header.ssrc;
        if !track.ssrcs.contains(&ssrc) {
            track.ssrcs.push(ssrc);
        }
        if track.packets.insert(seq, content).is_some() {
            self.repeated += 1;
            return;
        }
        self.extensions[usize::from(!video)] = Some(packet.header.ext_vals.clone());
        self.note_offset(video, packet, &content);
        let timestamp = packet.header.timestamp;
        if !video {
            self.heard.push(Heard {
                at: now,
                content,
                seq,
                timestamp,
            });
            return;
        }
        self.repair.note(now, seq);
        if self.next.is_some_and(|next| seq < next) {
            // Its frame was given up.
            return;
        }
        let payload = &packet.payload;
        let start = payload.first().is_some_and(|byte| byte & 0x10 != 0);
        let tag = payload.get(vp8_tag_at(payload));
        let inter = tag.is_none_or(|byte| byte & 1 != 0);
        let described = packet.header.ext_vals.user_values.get::<Described>();
        let buffered = Buffered {
            content,
            timestamp,
            marker: packet.header.marker,
            start,
            key_start: start && !inter,
            pt: *packet.header.payload_type,
            number: described.and_then(Described::number),
        };
        self.buffer.insert(seq, buffered);
        self.advance(now);
    }

    /// RFC 2198 §3: notes the older packets a redundant one brings along; the newest one's payload.
    fn unwrap<'p>(&mut self, payload: &'p [u8]) -> &'p [u8] {
        let (mut at, mut heads) = (0, Vec::new());
        while payload.get(at).is_some_and(|first| first & 0x80 != 0) {
            let head = payload.get(at + 1..at + 4).unwrap_or(&[0; 3]);
            let head = head
                .iter()
                .fold(0, |head, &byte| head << 8 | usize::from(byte));
            heads.push((head >> 10, head & 0x3ff));
            at += 4;
        }
        let mut rest = payload.get(at + 1..).unwrap_or_default();
        let mut older = Vec::new();
        for (ticks, size) in heads {
            let (block, after) = rest.split_at(size.min(rest.len()));
            older.push((ticks, Content::parse(Piece::Audio, block)));
            rest = after;
        }
        let newest = Content::parse(Piece::Audio, rest).map(|newest| newest.captured);
        for (ticks, content) in older {
            let (Ok(content), Ok(newest)) = (content, newest) else {
                self.corrupt += 1;
                continue;
            };
            let before = newest.saturating_sub(content.captured);
            let is_there = (before.as_micros() * 48 / 1_000).abs_diff(ticks as u128) <= 1;
            self.corrupt += u64::from(!is_there);
            self.brought_along.push(content);
        }
        rest
    }

    /// Whether to ask for a key frame now.
    pub(crate) fn wants_keyframe(&mut self, now: Instant) -> bool {
        self.advance(now);
        let again = self.asked_at.is_none_or(|at| now >= at + ASK_INTERVAL);
        if !self.must_ask || !again {
            return false;
        }
        self.asked_at = Some(now);
        self.requests += 1;
        true
    }

    /// The packets of video to ask for again now, and their source.
    pub(crate) fn asks_again(&mut self, now: Instant) -> Option<(u32, Vec<u16>)> {
        let ssrc = *self.video.ssrcs.last()?;
        let asks = self.repair.ask(now);
        self.asked_again += asks.len() as u64;
        (!asks.is_empty()).then_some((ssrc, asks))
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        let due = match (self.must_ask, self.stuck_since) {
            (true, _) => self.asked_at.map(|at| at + ASK_INTERVAL),
            (false, since) => since.map(|since| since + STUCK_MAX),
        };
        due.into_iter().chain(self.repair.due()).min()
    }

    fn advance(&mut self, now: Instant) {
        loop {
            if let Some(end) = self.next.and_then(|start| self.frame_end(start)) {
                self.show(now, end);
                continue;
            }
            if self.buffer.is_empty() {
                self.stuck_since = None;
                self.must_ask = false;
                return;
            }
            // Without a start, or stuck at a loss, only a later key frame helps.
            let since = *self.stuck_since.get_or_insert(now);
            let from = self.next.unwrap_or(0);
            let waited = now.saturating_duration_since(since) >= STUCK_MAX
                || self.next.is_some() && self.repair.is_in_vain(from);
            let key = self.buffer.range(from..).find_map(|(seq, packet)| {
                (packet.key_start && self.frame_end(*seq).is_some()).then_some(*seq)
            });
            // Nothing that comes between can complete what the key frame cut off.
            let is_cut = key.is_some_and(|key| {
                self.buffer.range(from..key).count() as u64 == key.saturating_sub(from)
            });
            let gave_up = self.next.is_none() || waited || is_cut;
            match key.filter(|_| gave_up) {
                Some(seq) => {
                    self.next = Some(seq);
                    self.repair.forget_before(seq);
                    self.buffer = self.buffer.split_off(&seq);
                }
                None => {
                    self.must_ask = waited && (self.next.is_none() || self.has_gap());
                    return;
                }
            }
        }
    }

    /// Whether something is missing, not merely on its way.
    fn has_gap(&self) -> bool {
        let Some((&last, _)) = self.buffer.last_key_value() else {
            return false;
        };
        let expected = self.next.unwrap_or(last);
        self.buffer.range(expected..).count() as u64 != last - expected + 1
    }

    /// The last sequence number of the frame that begins at `start`, if all of it is there.
    fn frame_end(&self, start: u64) -> Option<u64> {
        let first = self.buffer.get(&start).filter(|packet| packet.start)?;
        let mut seq = start;
        loop {
            let packet = self.buffer.get(&seq)?;
            if packet.timestamp != first.timestamp {
                return None;
            }
            if packet.marker {
                return Some(seq);
            }
            seq += 1;
        }
    }

    fn show(&mut self, now: Instant, end: u64) {
        let later = self.buffer.split_off(&(end + 1));
        let frame = std::mem::replace(&mut self.buffer, later);
        self.next = Some(end + 1);
        self.stuck_since = None;
        self.must_ask = false;
        let Some((&seq, first)) = frame.first_key_value() else {
            return;
        };
        let content = first.content;
        let whole = frame.len() == usize::from(content.count)
            && frame.values().zip(0..).all(|(packet, index)| {
                packet.content.index == index
                    && packet.content.frame == content.frame
                    && packet.content.publisher == content.publisher
            });
        let source = (content.publisher, content.layer);
        if content.key {
            self.decoded = (source, HashSet::new());
        }
        let referenced =
            content.key || self.decoded.0 == source && self.decoded.1.contains(&content.reference);
        self.decoded.1.insert(content.frame);
        self.undecodable_shown += u64::from(!whole || !referenced);
        self.shown.push(Shown {
            at: now,
            content,
            seq,
            timestamp: first.timestamp,
            pt: first.pt,
            number: first.number,
        });
    }

    /// The wall clock of this packet by the last sender report, against when it was captured.
    fn note_offset(&mut self, video: bool, packet: &RtpPacket, content: &Content) {
        let Some(info) = &packet.last_sender_info else {
            return;
        };
        let rate = if video { 90_000 } else { 48_000 };
        let ticks = packet
            .header
            .timestamp
            .wrapping_sub(info.rtp_time.numer() as u32) as i32;
        let since = info.ntp_time.duration_since(SystemTime::UNIX_EPOCH);
        let ntp = since.unwrap_or_default().as_nanos() as i128;
        let at = ntp + i128::from(ticks) * 1_000_000_000 / rate;
        let offset = at - content.captured.as_nanos() as i128;
        self.offsets[usize::from(!video)] = Some(offset);
    }

    /// When the first frame was shown, since the world began.
    pub fn first_shown(&self) -> Option<Duration> {
        let first = self.shown.first()?;
        Some(first.at.saturating_duration_since(self.began))
    }
}

/// A jitter buffer gives retransmissions this long at most. Browsers wait for longer.
const STUCK_MAX: Duration = Duration::from_millis(550);
/// A decoder asks again after this long.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
