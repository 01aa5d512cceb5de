//! What waits for a viewer's path, and what is dropped.

use std::sync::Arc;

use whitewater_link::{MediaKind, PacketMeta, PassedExtensions};

use super::*;

/// A path that carries this much, by its own word.
fn downlink(bps: u64) -> (Downlink, Instant) {
    let start = Instant::now();
    let mut downlink = Downlink::new(start);
    downlink.remb(start, Some(bps));
    downlink.turn(start + Duration::from_secs(1));
    (downlink, start + Duration::from_secs(1))
}

/// Packet `seq` of frame `frame`.
fn held(frame: u32, seq: u64, keyframe_start: bool) -> Held {
    let at = Instant::now();
    Held {
        track: 1,
        rewritten: Rewritten {
            pt: 96,
            seq,
            timestamp: frame * 3_000,
            marker: false,
            pictures: None,
            frame_offset: 0,
        },
        packet: Packet {
            meta: PacketMeta {
                track: 0,
                kind: MediaKind::Video,
                layer: 0,
                pt: 96,
                marker: false,
                keyframe_start,
                ssrc: 9,
                run: 0,
                seq,
                timestamp: 0,
                captured_at: at,
                arrived_at: at,
                pictures: None,
                scale: None,
                extensions: PassedExtensions::default(),
            },
            payload: Arc::from(vec![7; 1_160]),
            padded: None,
            older: None,
        },
    }
}

fn kept(dropped: usize) -> Holding {
    Holding::Kept { dropped }
}

fn numbers(downlink: &Downlink) -> Vec<u64> {
    let numbers = downlink.held.iter().map(|held| held.rewritten.seq);
    numbers.collect()
}

#[test]
fn what_waits_leaves_in_order_and_no_faster_than_the_pace() {
    let (mut downlink, mut now) = downlink(1_000_000);
    let packets = 60;
    for seq in 0..packets {
        assert_eq!(downlink.hold(Epoch(1), held(1, seq, seq == 0)), kept(0));
    }
    assert!(!downlink.is_open() && !downlink.admits(0));
    let (mut left, began) = (Vec::new(), now);
    while downlink.held_len() > 0 {
        downlink.turn(now);
        let mut burst = 0;
        while let Some(next) = downlink.take_held() {
            downlink.left(1_200, true);
            left.push(next.rewritten.seq);
            burst += 1;
        }
        assert!(burst <= 10, "{burst}");
        downlink.settle(now);
        now = downlink
            .due()
            .unwrap_or(now)
            .max(now + Duration::from_millis(1));
    }
    assert!(left.is_sorted() && left.len() == 60);
    // 72 KB at two and a half times a megabit a second.
    let took = (now - began).as_secs_f64();
    assert!((0.17..0.25).contains(&took), "{took}");
    assert!(downlink.admits(1_200) || downlink.due().is_none());
}

#[test]
fn retransmissions_leave_first_and_are_bounded() {
    let (mut downlink, _) = downlink(1_000_000);
    downlink.hold(Epoch(1), held(1, 7, false));
    for seq in 0..limits::HELD_REPEATS_MAX as u16 {
        assert!(downlink.hold_again(Again { track: 1, seq }));
    }
    assert!(!downlink.hold_again(Again { track: 1, seq: 999 }));
    assert!(downlink.take_held().is_none());
    assert_eq!(downlink.take_again(), Some(Again { track: 1, seq: 0 }));
}

#[test]
fn what_would_wait_too_long_is_dropped_up_to_the_last_key_frame() {
    // 2.5 Mbit/s of pace: 1.5 s are 390 packets.
    let (mut downlink, _) = downlink(1_000_000);
    let mut seq = 0;
    let mut hold = |frame, key| {
        seq += 1;
        downlink.hold(Epoch(1), held(frame, seq, key))
    };
    for frame in 0..200 {
        assert_eq!(hold(frame, false), kept(0));
    }
    for part in 0..60 {
        assert_eq!(hold(200, part == 0), kept(0));
    }
    let mut frame = 201;
    let dropped = loop {
        match hold(frame, false) {
            Holding::Kept { dropped: 0 } => frame += 1,
            other => break other,
        }
    };
    assert_eq!(dropped, kept(200));
    assert!((320..350).contains(&frame), "{frame}");
    let left = numbers(&downlink);
    assert_eq!(left[0], 201, "the key frame's first packet");
    assert!(left.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn without_a_key_frame_in_it_all_of_it_is_dropped() {
    let (mut downlink, _) = downlink(1_000_000);
    let mut count = 0;
    let refused = loop {
        match downlink.hold(Epoch(1), held(count, u64::from(count), false)) {
            Holding::Kept { .. } => count += 1,
            refused => break refused,
        }
    };
    let dropped = count as usize + 1;
    assert_eq!(refused, Holding::Refused { dropped });
    assert_eq!((downlink.held_len(), downlink.held_bytes), (0, 0));
}

#[test]
fn a_key_frame_waits_however_long_it_takes_and_what_follows_it_does_not() {
    // 125 kbit/s of pace: 20 packets are 1.5 s.
    let (mut downlink, _) = downlink(50_000);
    for seq in 0..200 {
        assert_eq!(downlink.hold(Epoch(1), held(1, seq, seq == 0)), kept(0));
    }
    let refused = Holding::Refused { dropped: 1 };
    assert_eq!(downlink.hold(Epoch(1), held(2, 200, false)), refused);
    assert_eq!(downlink.held_len(), 200);
    // The next one takes its place.
    assert_eq!(downlink.hold(Epoch(1), held(3, 201, true)), kept(0));
    assert_eq!(downlink.hold(Epoch(1), held(4, 202, false)), kept(200));
    assert_eq!(numbers(&downlink), [201, 202]);
}

#[test]
fn the_rest_of_a_key_frame_that_has_begun_to_leave_is_kept() {
    // 125 kbit/s of pace: 20 packets are 1.5 s.
    let (mut downlink, _) = downlink(50_000);
    downlink.note_key_frame(3_000);
    for seq in 1..100 {
        assert_eq!(downlink.hold(Epoch(1), held(1, seq, false)), kept(0));
    }
    let refused = Holding::Refused { dropped: 1 };
    assert_eq!(downlink.hold(Epoch(1), held(2, 100, false)), refused);
    assert_eq!(downlink.held_len(), 99);
    assert_eq!(numbers(&downlink).last(), Some(&99));
}

#[test]
fn the_number_of_packets_is_bounded_even_for_a_key_frame() {
    let (mut downlink, _) = downlink(50_000);
    for seq in 0..2_000 {
        downlink.hold(Epoch(1), held(1, seq, seq == 0));
    }
    assert_eq!(downlink.held_len(), limits::HELD_PACKETS_MAX);
}

#[test]
fn another_publishers_packets_take_the_place_of_what_waits() {
    let (mut downlink, _) = downlink(1_000_000);
    for seq in 0..9 {
        downlink.hold(Epoch(1), held(1, seq, false));
    }
    assert_eq!(downlink.held_epoch(), Some(Epoch(1)));
    assert_eq!(downlink.hold(Epoch(2), held(1, 9, true)), kept(9));
    assert_eq!(downlink.held_epoch(), Some(Epoch(2)));
    assert_eq!(numbers(&downlink), [9]);
}

#[test]
fn a_path_nothing_is_known_of_lets_everything_go() {
    let start = Instant::now();
    let mut downlink = Downlink::new(start);
    for n in 0..100 {
        downlink.turn(start + Duration::from_micros(n));
        assert!(downlink.admits(300_000) && downlink.is_open());
        downlink.left(300_000, false);
    }
    assert_eq!((downlink.due(), downlink.available_bps()), (None, None));
}

#[test]
fn what_is_dropped_is_made_good_by_a_key_frame_but_not_by_one_after_the_other() {
    // 125 kbit/s of pace: 20 packets are 1.5 s.
    let (mut downlink, start) = downlink(50_000);
    let (mut asked, mut refused) = (Vec::new(), 0);
    for tenth in 0..100 {
        downlink.turn(start + Duration::from_millis(100 * tenth));
        for _ in 0..10 {
            let next = held(tenth as u32, 10 * tenth, false);
            let holding = downlink.hold(Epoch(1), next);
            refused += u32::from(matches!(holding, Holding::Refused { .. }));
        }
        if downlink.asks_for_key_frame() {
            asked.push(tenth);
        }
        assert!(!downlink.asks_for_key_frame(), "once");
    }
    assert!(refused > 10, "{refused}");
    let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(asked[0] < 5 && asked.len() == 3, "{asked:?}");
    assert!(gaps.iter().all(|gap| (40..45).contains(gap)), "{gaps:?}");
}

#[test]
fn what_flows_is_what_comes_whether_it_leaves_or_waits() {
    let (mut downlink, start) = downlink(200_000);
    let mut seq = 0;
    for ms in (0..4_000).step_by(20) {
        let now = start + Duration::from_millis(ms);
        downlink.turn(now);
        while downlink.take_held().is_some() {
            downlink.left(1_200, true);
        }
        // 480 kbit/s, of which hardly any may leave at once.
        if downlink.is_open() {
            downlink.left(1_200, true);
        } else {
            seq += 1;
            downlink.hold(Epoch(1), held(1, seq, seq == 1));
        }
        downlink.poll(now);
    }
    let bps = downlink.flow.bps();
    assert!((460_000..510_000).contains(&bps), "{bps}");
}
