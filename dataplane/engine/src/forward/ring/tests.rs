//! What is kept, for how long, and what a viewer can begin with.

use std::sync::Arc;
use std::time::Duration;

use whitewater_link::{MediaKind, PacketMeta, PassedExtensions};

use super::*;

const SOURCE: (u32, u32) = (9, 0);

fn packet(at: Instant, ssrc: u32, seq: u64) -> Packet {
    Packet {
        meta: PacketMeta {
            track: 0,
            kind: MediaKind::Video,
            layer: 0,
            pt: 96,
            marker: false,
            keyframe_start: false,
            ssrc,
            run: 0,
            seq,
            timestamp: 0,
            captured_at: at,
            arrived_at: at,
            pictures: None,
            scale: None,
            extensions: PassedExtensions::default(),
        },
        payload: Arc::from(&seq.to_be_bytes()[..]),
        padded: None,
        older: None,
    }
}

fn kept(ring: &Ring, now: Instant, seq: u64) -> bool {
    let found = ring.get(now, SOURCE, seq);
    if let Some(packet) = found {
        assert_eq!(packet.payload[..], seq.to_be_bytes());
    }
    found.is_some()
}

#[test]
fn the_latest_packets_are_found_by_number_and_the_rest_is_gone() {
    let now = Instant::now();
    let mut ring = Ring::default();
    let max = limits::RTX_VIDEO_PACKETS_MAX as u64;
    for seq in 65_000..65_000 + 3 * max {
        ring.push(now, packet(now, 9, seq));
    }
    let end = 65_000 + 3 * max;
    assert!((end - max..end).all(|seq| kept(&ring, now, seq)));
    assert!((65_000..end - max).all(|seq| !kept(&ring, now, seq)));
    assert!(!kept(&ring, now, end));
}

#[test]
fn what_is_too_old_is_neither_sent_nor_held() {
    let start = Instant::now();
    let mut ring = Ring::default();
    let old = packet(start, 9, 1);
    let watch = Arc::downgrade(&old.payload);
    ring.push(start, old);
    let later = start + limits::RTX_AGE_MAX + Duration::from_millis(1);
    assert!(kept(&ring, start, 1));
    assert!(!kept(&ring, later, 1));
    ring.push(later, packet(later, 9, 2));
    assert!(watch.upgrade().is_none(), "its memory is free");
    assert!(kept(&ring, later, 2));
}

#[test]
fn late_packets_fill_their_gap() {
    let now = Instant::now();
    let mut ring = Ring::default();
    for seq in [10, 11, 14, 13, 12] {
        ring.push(now, packet(now, 9, seq));
    }
    assert!((10..=14).all(|seq| kept(&ring, now, seq)));
    ring.push(now, packet(now, 9, 9));
    assert!(!kept(&ring, now, 9), "from before the beginning");
}

#[test]
fn another_source_or_a_leap_starts_again() {
    let now = Instant::now();
    let mut ring = Ring::default();
    ring.push(now, packet(now, 9, 10));
    ring.push(now, packet(now, 8, 10));
    assert!(!kept(&ring, now, 10));
    assert!(ring.get(now, (8, 0), 10).is_some());
    for leap in [u64::MAX - 1, 5, 1 << 40] {
        ring.push(now, packet(now, 9, leap));
        assert!(kept(&ring, now, leap), "{leap}");
    }
}

/// A packet of the picture taken at `timestamp`.
fn of_picture(at: Instant, seq: u64, timestamp: u32, starts_key: bool) -> Packet {
    let mut packet = packet(at, 9, seq);
    packet.meta.timestamp = timestamp;
    packet.meta.keyframe_start = starts_key;
    packet.payload = Arc::from(vec![0; 1_000 - limits::RTX_HEADER_SIZE_TYPICAL]);
    packet
}

/// First and newest number of what a viewer can begin with, and the size of it.
fn group(ring: &Ring, now: Instant) -> Option<(u64, u64, usize)> {
    let group = ring.group(now, limits::REPLAY_AGE_MAX)?;
    Some((group.first.meta.seq, group.newest.meta.seq, group.bytes))
}

#[test]
fn a_viewer_begins_with_the_latest_key_frame_and_all_since() {
    let now = Instant::now();
    let mut ring = Ring::default();
    ring.push(now, of_picture(now, 10, 1, false));
    assert_eq!(group(&ring, now), None);
    // Parameter sets and slices of one picture: it starts with the first, whatever comes first.
    for (seq, starts) in [(13, true), (12, true), (14, false), (15, true)] {
        ring.push(now, of_picture(now, seq, 2, starts));
    }
    assert_eq!(group(&ring, now), Some((12, 15, 4_000)));
    ring.push(now, of_picture(now, 16, 3, false));
    ring.push(now, of_picture(now, 16, 3, false));
    assert_eq!(group(&ring, now), Some((12, 16, 5_000)));
    ring.push(now, of_picture(now, 17, 4, true));
    assert_eq!(group(&ring, now), Some((17, 17, 1_000)));
    assert_eq!(ring.key_frame(), Some(17));
    // A late packet of before changes nothing.
    ring.push(now, of_picture(now, 11, 1, true));
    assert_eq!(group(&ring, now), Some((17, 17, 1_000)));
    ring.forget_group();
    assert_eq!(group(&ring, now), None);
    assert!(ring.get(now, SOURCE, 17).is_some());
}

#[test]
fn a_hole_is_waited_for_and_what_comes_late_fills_it() {
    let start = Instant::now();
    let mut ring = Ring::default();
    for seq in [10, 11, 13, 14] {
        ring.push(start, of_picture(start, seq, seq as u32, seq == 10));
    }
    assert_eq!(group(&ring, start), Some((10, 11, 4_000)), "up to the hole");
    let later = start + limits::REPLAY_HOLE_AGE_MAX + Duration::from_millis(1);
    assert_eq!(group(&ring, later), None, "it stays");
    ring.push(later, of_picture(later, 12, 12, false));
    assert_eq!(group(&ring, later), Some((10, 14, 5_000)));
}

#[test]
fn what_is_too_old_or_too_much_is_not_begun_with() {
    let start = Instant::now();
    let mut ring = Ring::default();
    ring.push(start, of_picture(start, 0, 0, true));
    let frame = Duration::from_millis(33);
    let mut now = start;
    for seq in 1..60 {
        now += frame;
        ring.push(now, of_picture(now, seq, seq as u32, false));
        assert!(group(&ring, now).is_some(), "{seq}");
    }
    let late = start + limits::REPLAY_AGE_MAX + Duration::from_millis(1);
    assert_eq!(group(&ring, late), None);
    // Whoever has begun finds the rest for a while.
    assert!((0..60).all(|seq| ring.get(late, SOURCE, seq).is_some()));
    let end = start + limits::REPLAY_KEPT_FOR + Duration::from_millis(1);
    ring.push(end, of_picture(end, 60, 60, false));
    assert!(ring.get(end, SOURCE, 0).is_none() && ring.key_frame().is_none());

    // Bounded in bytes and in packets.
    for (size, count) in [
        (2_000, limits::REPLAY_BYTES_MAX / 2_000),
        (50, limits::REPLAY_PACKETS_MAX),
    ] {
        let mut ring = Ring::default();
        for seq in 0..=count as u64 {
            assert_eq!(group(&ring, start).is_some(), seq > 0, "{size}: {seq}");
            let mut packet = of_picture(start, seq, seq as u32, seq == 0);
            packet.payload = Arc::from(vec![0; size - limits::RTX_HEADER_SIZE_TYPICAL]);
            ring.push(start, packet);
        }
        assert_eq!(group(&ring, start), None, "{size}");
    }
}
