//! Sound that goes along with the packet after it: what redundancy is made of (RED, RFC 2198) for
//! viewers that understand it, where the publisher sends none.

use std::sync::Arc;

use whitewater_link::{MediaKind, TrackDescription};
use whitewater_rtp::payload::red;

use super::egress::Packet;
use crate::limits;

/// The sound before a packet.
#[derive(Clone, Debug)]
pub struct Older {
    /// One packet's payload, shared with that packet.
    pub payload: Arc<[u8]>,
    /// How far before it begins, in ticks of the codec's clock, 1..=[`red::OFFSET_MAX`].
    pub ticks: u32,
}

impl Older {
    /// What it takes, in bits per second, where every packet brings one like it along.
    #[must_use]
    pub fn bps(&self) -> u64 {
        self.payload.len() as u64 * 8 * OPUS_HZ / u64::from(self.ticks.max(1))
    }
}

/// The latest packet of each audio track of a stream.
#[derive(Debug, Default)]
pub struct Sound {
    /// As many as the publisher has tracks, at most.
    newest: Vec<Newest>,
}

#[derive(Debug)]
struct Newest {
    track: u8,
    /// Of whom: source, run and payload type.
    source: (u32, u32, u8),
    timestamp: u32,
    payload: Arc<[u8]>,
}

impl Sound {
    /// Gives each packet of Opus the one before it, once for all viewers. Nothing is copied.
    ///
    /// What cannot be expressed (RFC 2198 §3) or does not fit a datagram stays as it is, and so does
    /// silence (RFC 7587 §3.1.3): what says that nothing is heard need not be said twice.
    pub fn tie(&mut self, tracks: &[TrackDescription], packets: &mut [Packet]) {
        for packet in packets {
            let meta = &packet.meta;
            let track = tracks.get(usize::from(meta.track));
            if meta.kind != MediaKind::Audio || !track.is_some_and(|t| is_opus(t, meta.pt)) {
                continue;
            }
            let source = (meta.ssrc, meta.run, meta.pt);
            let newest = Newest {
                track: meta.track,
                source,
                timestamp: meta.timestamp,
                payload: packet.payload.clone(),
            };
            let mut known = self.newest.iter_mut();
            let Some(before) = known.find(|before| before.track == meta.track) else {
                self.newest.push(newest);
                continue;
            };
            let ticks = meta.timestamp.wrapping_sub(before.timestamp);
            if before.source != source {
                *before = newest;
            } else if (1..=TICKS_MAX).contains(&ticks) {
                packet.older = before.older_of(packet, ticks);
                *before = newest;
            } else if ticks <= u32::MAX / 2 {
                *before = newest;
            }
        }
    }

    /// Another publisher begins.
    pub fn clear(&mut self) {
        self.newest.clear();
    }
}

impl Newest {
    fn older_of(&self, packet: &Packet, ticks: u32) -> Option<Older> {
        let size = self.payload.len();
        let is_sound = size > SILENCE_SIZE_MAX;
        let whole = red::header_size(1) + size + packet.payload.len();
        let fits = size <= red::BLOCK_SIZE_MAX && whole <= limits::RED_SIZE_MAX;
        (is_sound && fits).then(|| Older {
            payload: self.payload.clone(),
            ticks,
        })
    }
}

fn is_opus(track: &TrackDescription, pt: u8) -> bool {
    let mut codecs = track.codecs.iter().filter(|codec| codec.pt == pt);
    codecs.any(|codec| codec.name.eq_ignore_ascii_case("opus"))
}

/// RFC 7587 §4.1.
const OPUS_HZ: u64 = 48_000;
const TICKS_MAX: u32 = red::OFFSET_MAX;
/// A packet of Opus that carries no more than its first byte and one more is one of silence.
const SILENCE_SIZE_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use whitewater_link::{CodecDescription, PacketMeta, PassedExtensions};

    use super::*;

    fn tracks(name: &str) -> Vec<TrackDescription> {
        vec![TrackDescription {
            kind: MediaKind::Audio,
            codecs: vec![CodecDescription {
                pt: 111,
                name: name.to_owned(),
                clock_rate: 48_000,
                channels: Some(2),
                fmtp: String::new(),
            }],
            rids: Vec::new(),
        }]
    }

    fn packet(ssrc: u32, timestamp: u32, size: usize) -> Packet {
        let now = Instant::now();
        Packet {
            meta: PacketMeta {
                track: 0,
                kind: MediaKind::Audio,
                layer: 0,
                pt: 111,
                marker: false,
                keyframe_start: false,
                ssrc,
                run: 0,
                seq: u64::from(timestamp / 960),
                timestamp,
                captured_at: now,
                arrived_at: now,
                pictures: None,
                scale: None,
                extensions: PassedExtensions::default(),
            },
            payload: Arc::from(vec![timestamp as u8; size]),
            padded: None,
            older: None,
        }
    }

    /// How far before each packet that is which it brings along.
    fn tied(sound: &mut Sound, name: &str, mut packets: Vec<Packet>) -> Vec<Option<u32>> {
        sound.tie(&tracks(name), &mut packets);
        let older = packets.iter().map(|packet| packet.older.as_ref());
        older.map(|older| older.map(|older| older.ticks)).collect()
    }

    #[test]
    fn each_packet_brings_the_one_before_over_turns_and_the_end_of_timestamps() {
        let mut sound = Sound::default();
        let start = u32::MAX - 1_000;
        let at = |n: u32| packet(7, start.wrapping_add(960 * n), 80);
        let first = tied(&mut sound, "opus", vec![at(0), at(1)]);
        assert_eq!(first, [None, Some(960)]);
        assert_eq!(tied(&mut sound, "opus", vec![at(2)]), [Some(960)]);
        // One was lost on the way here: what came before is still worth it.
        assert_eq!(tied(&mut sound, "opus", vec![at(4)]), [Some(1_920)]);
        // What comes late, or again, brings nothing and takes nothing's place.
        let late = tied(&mut sound, "opus", vec![at(3), at(4), at(5)]);
        assert_eq!(late, [None, None, Some(960)]);
        // After a pause that cannot be told.
        let after = tied(&mut sound, "opus", vec![at(40), at(41)]);
        assert_eq!(after, [None, Some(960)]);
        // Another source has no past.
        let other = tied(&mut sound, "opus", vec![packet(8, start, 80)]);
        assert_eq!(other, [None]);
        sound.clear();
        assert_eq!(tied(&mut sound, "opus", vec![at(42)]), [None]);
    }

    #[test]
    fn silence_what_is_too_long_and_other_codecs_go_alone() {
        let mut sound = Sound::default();
        let sizes = [80, 1, 80, 900, 80, 95, 900];
        let packets = (0..).zip(sizes).map(|(n, size)| packet(7, 960 * n, size));
        let seen = tied(&mut sound, "opus", packets.collect());
        let expected = [
            None,
            Some(960),
            None,
            Some(960),
            Some(960),
            Some(960),
            Some(960),
        ];
        assert_eq!(seen, expected);
        let long = vec![packet(7, 9_600, 500), packet(7, 10_560, 500)];
        assert_eq!(tied(&mut sound, "opus", long), [None, None]);
        let mut sound = Sound::default();
        let plain = vec![packet(7, 960, 80), packet(7, 1_920, 80)];
        assert_eq!(tied(&mut sound, "PCMU", plain), [None, None]);
    }

    #[test]
    fn what_it_takes_is_known() {
        let older = Older {
            payload: Arc::from(vec![0; 80]),
            ticks: 960,
        };
        assert_eq!(older.bps(), 32_000);
    }
}
