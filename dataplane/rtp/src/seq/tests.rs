//! Unwrapping and munging, wrap-around included.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

#[test]
fn newer_is_at_most_half_the_space_ahead() {
    assert!(is_newer_u16(0, 0xffff) && !is_newer_u16(0xffff, 0));
    assert!(is_newer_u16(0x7fff, 0) && !is_newer_u16(0x8000, 0) && !is_newer_u16(0, 0x8000));
    assert!(!is_newer_u16(5, 5));
    assert!(is_newer_u32(0, u32::MAX) && !is_newer_u32(u32::MAX, 0));
    assert!(is_newer_u32(0x7fff_ffff, 0) && !is_newer_u32(0x8000_0000, 0));
}

#[test]
fn extended_numbers_pass_the_wrap_in_both_directions() {
    let mut seq = SeqExtender::default();
    assert_eq!(seq.extend(0xfffe), 0x1_fffe);
    assert_eq!(seq.extend(1), 0x2_0001);
    assert_eq!(seq.extend(0xffff), 0x1_ffff, "late, from before the wrap");
    assert_eq!(seq.highest(), Some(0x2_0001));
    let mut time = TimestampExtender::default();
    assert_eq!(time.extend(5), 0x1_0000_0005);
    assert_eq!(
        time.extend(u32::MAX),
        0xffff_ffff,
        "reordered before the first"
    );
    assert_eq!(time.extend(6), 0x1_0000_0006);
}

proptest! {
    /// Whatever the start, steps of less than half the space are followed exactly.
    #[test]
    fn extension_follows_any_walk(start: u16, steps in prop::collection::vec(-0x7000i64..0x7000, 0..200)) {
        let mut extender = SeqExtender::default();
        let mut highest = extender.extend(start);
        for step in steps {
            let truth = highest.saturating_add_signed(step);
            prop_assert_eq!(extender.extend(truth as u16), truth);
            highest = highest.max(truth);
        }
    }

    #[test]
    fn timestamp_extension_follows_any_walk(
        start: u32, steps in prop::collection::vec(-0x7000_0000i64..0x7000_0000, 0..200),
    ) {
        let mut extender = TimestampExtender::default();
        let mut highest = extender.extend(start);
        for step in steps {
            let truth = highest.saturating_add_signed(step);
            prop_assert_eq!(extender.extend(truth as u32), truth);
            highest = highest.max(truth);
        }
    }
}

#[test]
fn an_unbroken_source_is_renumbered_without_a_break() {
    let mut munger = SeqMunger::new(0xfff0);
    assert_eq!(munger.map(10), None, "no source yet");
    assert_eq!(munger.switch(10), 1);
    let egress: Vec<_> = (10..50)
        .map(|ingress| munger.map(ingress).unwrap())
        .collect();
    assert_eq!(
        egress,
        (0xfff0..0xfff0 + 40).collect::<Vec<_>>(),
        "over the 16-bit wrap"
    );
}

#[test]
fn loss_and_reordering_keep_their_places() {
    let mut munger = SeqMunger::new(100);
    munger.switch(10);
    assert_eq!(munger.map(10), Some(100));
    assert_eq!(munger.map(13), Some(103));
    assert_eq!(munger.map(12), Some(102));
    assert_eq!(
        munger.map(12),
        None,
        "a duplicate would repeat a packet index"
    );
    assert_eq!(munger.map(14), Some(104));
    assert_eq!(munger.map(11), Some(101));
}

#[test]
fn a_switch_goes_on_without_a_gap_and_shuts_the_old_source_out() {
    let mut munger = SeqMunger::new(0);
    munger.switch(500);
    assert_eq!(munger.map(500), Some(0));
    assert_eq!(munger.map(502), Some(2));
    assert_eq!(munger.switch(70_000), 2);
    assert_eq!(munger.map(69_999), None, "older than the switch point");
    assert_eq!(munger.map(70_001), Some(4));
    assert_eq!(munger.map(70_000), Some(3));
    assert_eq!(munger.map(501), None, "the old source's late packet");
    assert_eq!(
        munger.origin(2),
        Some(Origin {
            generation: 1,
            ingress: 502
        })
    );
    assert_eq!(munger.origin(1), None, "never sent");
    assert_eq!(
        munger.origin(4),
        Some(Origin {
            generation: 2,
            ingress: 70_001
        })
    );
}

#[test]
fn switching_back_to_smaller_numbers_works() {
    let mut munger = SeqMunger::new(0);
    munger.switch(1000);
    assert_eq!(munger.map(1000), Some(0));
    munger.switch(5);
    assert_eq!(munger.map(5), Some(1));
    assert_eq!(
        munger.map(1001),
        Some(997),
        "a jump inside the source, as far as one can tell"
    );
}

#[test]
fn skipped_packets_leave_no_gap_and_stay_out() {
    let mut munger = SeqMunger::new(0);
    munger.switch(10);
    assert_eq!(munger.map(10), Some(0));
    for skipped in [11, 12] {
        munger.skip(skipped);
        assert_eq!(munger.map(skipped), None);
    }
    assert_eq!(munger.map(13), Some(1));
    munger.skip(15);
    assert_eq!(munger.map(16), Some(3));
    assert_eq!(
        munger.map(14),
        Some(2),
        "was in flight when its successor was skipped"
    );
    assert_eq!(munger.map(11), None);
    assert_eq!(munger.map(15), None);
    assert_eq!(
        munger.origin(3),
        Some(Origin {
            generation: 1,
            ingress: 16
        })
    );
}

#[test]
fn skipping_a_late_packet_leaves_the_gap_it_had() {
    let mut munger = SeqMunger::new(0);
    munger.switch(10);
    munger.map(10);
    assert_eq!(munger.map(12), Some(2));
    munger.skip(11);
    assert_eq!(munger.map(11), None);
    assert_eq!(munger.map(13), Some(3));
    munger.skip(12);
    assert_eq!(
        munger.origin(2),
        Some(Origin {
            generation: 1,
            ingress: 12
        }),
        "was sent"
    );
}

#[test]
fn own_packets_take_a_number_of_their_own() {
    let mut munger = SeqMunger::new(7);
    assert_eq!(munger.insert(), Some(7));
    munger.switch(10);
    assert_eq!(munger.map(10), Some(8));
    assert_eq!(munger.insert(), Some(9));
    assert_eq!(munger.insert(), Some(10));
    assert_eq!(munger.map(11), Some(11));
    assert_eq!(munger.origin(9), None);
    assert_eq!(
        munger.origin(11),
        Some(Origin {
            generation: 1,
            ingress: 11
        })
    );
    assert_eq!(munger.next_egress(), 12);
}

#[test]
fn the_end_of_the_number_space_is_refused_not_passed() {
    let mut munger = SeqMunger::new(u64::MAX - 1);
    munger.switch(0);
    assert_eq!(munger.map(0), Some(u64::MAX - 1));
    assert_eq!(munger.map(1), None);
    assert_eq!(munger.map(u64::MAX), None);
    munger.skip(u64::MAX);
    assert_eq!(munger.insert(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Map(i64),
    Skip(i64),
    Insert,
    Switch(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop_oneof![4 => Just(1i64), 1 => -40i64..40, 1 => -1500i64..1500].prop_map(Step::Map),
        4 => prop_oneof![4 => Just(1i64), 1 => -40i64..40].prop_map(Step::Skip),
        1 => Just(Step::Insert),
        1 => (0u64..1 << 20).prop_map(Step::Switch),
    ]
}

proptest! {
    /// The guarantee SRTP rests on, and the order of packets inside a source.
    #[test]
    fn no_egress_number_is_given_out_twice(
        start in prop_oneof![0u64..100, 0xff00u64..0x1_0000, 0xffff_ff00u64..0x1_0000_0100],
        first in 0u64..1 << 32,
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let mut munger = SeqMunger::new(start);
        let mut newest = first;
        let mut generation = munger.switch(first);
        let mut given = BTreeSet::new();
        let mut of_source = BTreeMap::new();
        for step in steps {
            match step {
                Step::Map(distance) => {
                    let ingress = newest.saturating_add_signed(distance);
                    let Some(egress) = munger.map(ingress) else { continue };
                    prop_assert!(given.insert(egress), "{} given out twice", egress);
                    prop_assert!(of_source.insert(ingress, egress).is_none());
                    let origin = munger.origin(egress);
                    prop_assert_eq!(origin, Some(Origin { generation, ingress }));
                    newest = newest.max(ingress);
                }
                Step::Skip(distance) => {
                    let ingress = newest.saturating_add_signed(distance);
                    munger.skip(ingress);
                    if !of_source.contains_key(&ingress) {
                        prop_assert_eq!(munger.map(ingress), None);
                    }
                    newest = newest.max(ingress);
                }
                Step::Insert => {
                    let egress = munger.insert().unwrap();
                    prop_assert!(given.insert(egress), "{} given out twice", egress);
                    prop_assert_eq!(munger.origin(egress), None);
                }
                Step::Switch(to) => {
                    generation = munger.switch(to);
                    newest = to;
                    of_source.clear();
                    prop_assert!(given.last().is_none_or(|last| *last < munger.next_egress()));
                }
            }
            prop_assert!(of_source.values().is_sorted(), "ingress order is egress order");
        }
        prop_assert!(given.first().is_none_or(|lowest| *lowest >= start));
    }

    /// In order and without loss, whatever is skipped or inserted: not one gap.
    #[test]
    fn an_orderly_stream_has_no_gaps(
        choices in prop::collection::vec(0u8..8, 0..600), start in 0u64..1 << 17,
    ) {
        let mut munger = SeqMunger::new(start);
        munger.switch(1 << 16);
        let mut ingress = (1 << 16) - 1;
        let mut expected = start;
        for choice in choices {
            match choice {
                0 => {
                    prop_assert_eq!(munger.insert(), Some(expected));
                    expected += 1;
                }
                1 => {
                    ingress = u64::from(choice) * 12_345;
                    munger.switch(ingress + 1);
                }
                2..4 => {
                    ingress += 1;
                    munger.skip(ingress);
                }
                _ => {
                    ingress += 1;
                    prop_assert_eq!(munger.map(ingress), Some(expected));
                    expected += 1;
                }
            }
        }
    }
}

#[test]
fn timestamps_keep_their_distances_inside_a_source() {
    let now = Instant::now();
    let mut munger = TimestampMunger::new(90_000, 1000);
    assert_eq!(munger.map(u32::MAX - 999, now), 0, "over the 32-bit wrap");
    assert_eq!(munger.map(2000, now), 3000);
    assert_eq!(munger.offset(), 1000);
}

#[test]
fn a_switch_goes_on_by_the_time_that_passed() {
    let start = Instant::now();
    let after = |ms| start + Duration::from_millis(ms);
    let mut munger = TimestampMunger::new(90_000, 0);
    munger.switch(77, start);
    assert_eq!(munger.map(77, start), 77, "nothing to go on from");
    assert_eq!(munger.map(3077, after(33)), 3077);
    assert_eq!(
        munger.map(3077, after(35)),
        3077,
        "second packet of the frame"
    );
    munger.switch(0xffff_fff0, after(63));
    let first = munger.map(0xffff_fff0, after(63));
    assert_eq!(first, 3077 + 2700, "30 ms at 90 kHz");
    assert_eq!(munger.map(0x10, after(63)), first + 0x20);
    assert_eq!(munger.newest(), Some((first + 0x20, after(63))));
}

#[test]
fn frames_from_before_the_present_pass_in_the_time_they_are_given() {
    let start = Instant::now();
    let frame = |n: u32| start + Duration::from_nanos(33_333_333) * n;
    for timestamp in [0_u32, u32::MAX - 50_000] {
        let mut munger = TimestampMunger::new(90_000, 7_000);
        // Sixty frames are there already; they are to have passed after 300 ms.
        let of = |n: u32| timestamp.wrapping_add(3_000 * n);
        munger.catch_up(of(0), of(60), frame(60), 27_000);
        let mapped: Vec<u32> = (0..200).map(|n| munger.map(of(n), frame(n))).collect();
        let plain = |n: u32| of(n).wrapping_add(7_000);
        assert_eq!(mapped[0], plain(60), "the first is of the present");
        for (pair, n) in mapped.windows(2).zip(0..) {
            let step = pair[1].wrapping_sub(pair[0]);
            let expected = match n {
                0..69 => 390..=392,
                69 => 390..=3_000,
                _ => 3_000..=3_000,
            };
            assert!(expected.contains(&step), "{n}: {step}");
        }
        assert_eq!(mapped[70], plain(70), "after 300 ms");
        assert!((0..200).all(|n| munger.again(of(n)) == mapped[n as usize]));
        assert_eq!(munger.offset(), 7_000);
        // It is forgotten long before the numbers come round again.
        munger.map(of(2_000), frame(2_000));
        assert_eq!(munger.again(of(1)), plain(1));
    }
}

#[test]
fn catching_up_goes_on_from_what_was_shown_before() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut munger = TimestampMunger::new(90_000, 0);
    let newest = munger.map(5_000, at(1_000));
    // Another source, whose newest frame was taken together with that one.
    munger.catch_up(900_000, 936_000, at(1_000), 9_000);
    let first = munger.map(900_000, at(600));
    assert_eq!(first, newest + 1);
    let last = munger.map(936_000, at(1_000));
    assert!((first..first + 9_000).contains(&last), "{first} {last}");
    // A third begins in the middle of it: later than all that was shown.
    munger.switch(77, at(1_010));
    let third = munger.map(77, at(1_010));
    assert!((last + 1..first + 9_000).contains(&third), "{last} {third}");
    // Where there is nothing to catch up with it is a switch like any other.
    munger.catch_up(500, 500, at(1_110), 9_000);
    assert_eq!(munger.map(500, at(1_110)), third + 9_000);
    munger.catch_up(500, 400, at(1_210), 9_000);
    assert_eq!(munger.map(400, at(1_210)), third + 18_000);
}

#[test]
fn two_frames_never_share_a_timestamp_and_time_never_steps_back() {
    let now = Instant::now();
    let mut munger = TimestampMunger::new(90_000, 0);
    munger.map(5000, now);
    munger.switch(1, now);
    assert_eq!(munger.map(1, now), 5001);
    munger.switch(9, now + Duration::from_secs(100 * 3600));
    let egress = munger.map(9, now + Duration::from_secs(100 * 3600));
    assert!(
        is_newer_u32(egress, 5001),
        "a pause longer than half the number space"
    );
}

proptest! {
    #[test]
    fn egress_time_moves_forward_at_every_switch(
        offset: u32,
        switches in prop::collection::vec((any::<u32>(), 0u64..20_000, 1u32..20), 1..30),
    ) {
        let mut now = Instant::now();
        let mut munger = TimestampMunger::new(48_000, offset);
        let mut newest: Option<u32> = None;
        for (ingress, pause_ms, frames) in switches {
            now += Duration::from_millis(pause_ms);
            munger.switch(ingress, now);
            for frame in 0..frames {
                now += Duration::from_millis(20);
                let egress = munger.map(ingress.wrapping_add(frame * 960), now);
                prop_assert!(newest.is_none_or(|newest| is_newer_u32(egress, newest)));
                newest = Some(egress);
            }
        }
    }
}
