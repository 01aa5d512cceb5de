//! Forwarding to viewers allocates nothing once it runs, however many there are.

mod fan;

use std::time::Duration;

use fan::Fan;
use whitewater_simnet::PeerConfig;
use whitewater_simnet::engine::{AudioRed, Config};

#[test]
fn a_packet_to_a_viewer_costs_no_allocation() {
    let mut fan = Fan::new(7, 12);
    // Rings, buffers and tables find their sizes: more than the age up to which packets are kept.
    for _ in 0..60 {
        fan.frame(9, 1_100, FRAME_TIME);
    }
    fan.frame(9, 1_100, Duration::ZERO);
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 9])));
    assert_eq!(counted.count_total, 1, "the counter counts");
    for _ in 0..30 {
        // No time passes, so that no timer is among it: those make room in the wheel.
        fan.arrive(9, 1_100);
        let mut sent = Default::default();
        let counted = allocation_counter::measure(|| sent = fan.forward());
        assert_eq!(sent.datagrams, 9 * 12, "{sent:?}");
        assert_eq!(counted.count_total, 0, "{counted:?}");
    }
}

#[test]
fn redundancy_that_is_made_of_sound_costs_no_allocation_either() {
    let config = Config {
        audio_red: AudioRed::Make,
        ..Config::default()
    };
    let viewer = PeerConfig {
        red_pt: Some(63),
        ..PeerConfig::default()
    };
    let mut fan = Fan::with(9, &config, (12, &viewer));
    for _ in 0..100 {
        fan.arrive_sound(80);
        fan.forward();
        fan.pass(Duration::from_millis(20));
    }
    fan.arrive_sound(80);
    fan.forward();
    for _ in 0..30 {
        fan.arrive_sound(80);
        let mut sent = Default::default();
        let counted = allocation_counter::measure(|| sent = fan.forward());
        assert_eq!(sent.datagrams, 12, "{sent:?}");
        assert!(
            sent.bytes > 12 * 2 * 80,
            "each with the one before: {sent:?}"
        );
        assert_eq!(counted.count_total, 0, "{counted:?}");
    }
}

#[test]
fn the_packets_of_a_frame_leave_as_one_run_to_each_viewer() {
    let mut fan = Fan::new(8, 5);
    for _ in 0..5 {
        fan.frame(9, 1_100, FRAME_TIME);
    }
    fan.frame(9, 1_100, Duration::ZERO);
    for _ in 0..10 {
        fan.arrive(9, 1_100);
        let sent = fan.forward();
        assert_eq!((sent.datagrams, sent.runs), (9 * 5, 5), "{sent:?}");
    }
}

const FRAME_TIME: Duration = Duration::from_millis(33);
