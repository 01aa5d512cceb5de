//! Longer runs: packets of a frame brought to one size, and to one turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whitewater_link::MediaKind;

use super::egress::Packet;

/// Moves video that may wait for the rest of its frame to `later`; returns when it leaves at the
/// latest.
///
/// A publisher that spreads a frame's packets over time sends each in a turn of its own, and a run
/// of one packet costs what a run of eight does. Nothing waits longer than `hold` after it arrived,
/// nor beyond the end of its frame (the marker bit, RFC 3551 §4.1). Audio does not wait.
pub fn part(
    now: Instant,
    hold: Duration,
    packets: &mut Vec<Packet>,
    later: &mut Vec<Packet>,
) -> Option<Instant> {
    let is_video = |packet: &&Packet| packet.meta.kind == MediaKind::Video;
    let mut video = packets.iter().filter(is_video);
    let arrived_at = video.next()?.meta.arrived_at;
    let is_whole = packets.iter().rev().find(is_video)?.meta.marker;
    let due = arrived_at + hold;
    if is_whole || due <= now {
        return None;
    }
    let waits = |packet: &mut Packet| packet.meta.kind == MediaKind::Video;
    later.extend(packets.extract_if(.., waits));
    Some(due)
}

/// Gives one byte of padding to packets that are a byte shorter than others of their frame, where
/// that joins them to one run.
///
/// Packetisers that divide a frame evenly make its last packets a byte longer than the first. Each
/// is copied once for all viewers; retransmissions and other shards go without the padding.
///
/// Source: RFC 3550 §5.1 (padding).
pub fn even_out(packets: &mut [Packet]) {
    let same_frame = |one: &Packet, next: &Packet| {
        let frame = |packet: &Packet| {
            let meta = &packet.meta;
            (meta.kind == MediaKind::Video, meta.ssrc, meta.timestamp)
        };
        frame(one) == frame(next)
    };
    for frame in packets.chunk_by_mut(same_frame) {
        let is_video = frame
            .first()
            .is_some_and(|p| p.meta.kind == MediaKind::Video);
        let longest = frame.iter().map(|packet| packet.payload.len()).max();
        let (true, Some(longest), Some((_, before_last))) =
            (is_video, longest, frame.split_last_mut())
        else {
            continue;
        };
        // The last packet of a run may be shorter as it is.
        for packet in before_last {
            if packet.payload.len() + 1 == longest {
                packet.padded = Some(padded(&packet.payload));
            }
        }
    }
}

fn padded(payload: &[u8]) -> Arc<[u8]> {
    payload.iter().copied().chain([1]).collect()
}

#[cfg(test)]
mod tests {
    use whitewater_link::{PacketMeta, PassedExtensions};

    use super::*;
    use crate::forward::batch::{Batch, Route};

    fn packet(kind: MediaKind, at: Instant, frame: u32, size: usize, marker: bool) -> Packet {
        Packet {
            meta: PacketMeta {
                track: 0,
                kind,
                layer: 0,
                pt: 96,
                marker,
                keyframe_start: false,
                ssrc: 9,
                run: 0,
                seq: 0,
                timestamp: frame,
                captured_at: at,
                arrived_at: at,
                pictures: None,
                scale: None,
                extensions: PassedExtensions::default(),
            },
            payload: Arc::from(vec![7; size]),
            padded: None,
            older: None,
        }
    }

    /// How many packets share a run, as a batch groups them.
    fn runs(sizes: &[usize], even: bool) -> Vec<usize> {
        let at = Instant::now();
        let mut packets: Vec<Packet> = sizes
            .iter()
            .map(|&size| packet(MediaKind::Video, at, 1, size, false))
            .collect();
        if even {
            even_out(&mut packets);
        }
        let mut batch = Batch::default();
        let route = Route {
            destination: whitewater_link::PeerAddr::udp(([192, 0, 2, 1], 9).into()),
            local: None,
        };
        for packet in &packets {
            if let Some(padded) = &packet.padded {
                assert_eq!(padded.len(), packet.payload.len() + 1);
                assert_eq!(padded.last(), Some(&1));
            }
            batch.push(route, packet.padded.as_ref().unwrap_or(&packet.payload));
        }
        batch.runs().iter().map(|run| run.count).collect()
    }

    #[test]
    fn a_frame_of_two_sizes_is_one_run() {
        assert_eq!(runs(&[900, 900, 901, 901], false), [2, 2]);
        assert_eq!(runs(&[900, 900, 901, 901], true), [4]);
        assert_eq!(runs(&[901, 901, 900, 900], false), [3, 1]);
        assert_eq!(runs(&[901, 901, 900, 900], true), [4]);
    }

    #[test]
    fn nothing_is_padded_that_gains_nothing() {
        for sizes in [
            &[900, 900, 900][..],
            &[900, 900, 500],
            &[900],
            &[500, 900, 900],
            &[901, 900],
        ] {
            let at = Instant::now();
            let made = sizes
                .iter()
                .map(|&size| packet(MediaKind::Video, at, 1, size, false));
            let mut packets: Vec<Packet> = made.collect();
            even_out(&mut packets);
            assert!(
                packets.iter().all(|packet| packet.padded.is_none()),
                "{sizes:?}"
            );
        }
    }

    #[test]
    fn frames_and_kinds_are_apart() {
        let at = Instant::now();
        let mut packets = vec![
            packet(MediaKind::Audio, at, 1, 80, true),
            packet(MediaKind::Audio, at, 1, 81, true),
            packet(MediaKind::Video, at, 1, 900, true),
            packet(MediaKind::Video, at, 2, 901, true),
        ];
        even_out(&mut packets);
        assert!(packets.iter().all(|packet| packet.padded.is_none()));
    }

    #[test]
    fn video_waits_for_its_frame_and_audio_for_nothing() {
        let at = Instant::now();
        let hold = Duration::from_millis(3);
        let mut packets = vec![
            packet(MediaKind::Video, at, 1, 900, false),
            packet(MediaKind::Audio, at, 1, 80, false),
            packet(MediaKind::Video, at, 1, 900, false),
        ];
        let mut later = Vec::new();
        assert_eq!(part(at, hold, &mut packets, &mut later), Some(at + hold));
        assert_eq!((packets.len(), later.len()), (1, 2));
        assert_eq!(packets[0].meta.kind, MediaKind::Audio);
        // The frame's end.
        later.push(packet(MediaKind::Video, at, 1, 900, true));
        let mut rest = Vec::new();
        assert_eq!(part(at, hold, &mut later, &mut rest), None);
        assert_eq!((later.len(), rest.len()), (3, 0));
        // Its time is over.
        later.pop();
        assert_eq!(part(at + hold, hold, &mut later, &mut rest), None);
        assert_eq!((later.len(), rest.len()), (2, 0));
        assert_eq!(part(at, hold, &mut Vec::new(), &mut rest), None);
    }
}
