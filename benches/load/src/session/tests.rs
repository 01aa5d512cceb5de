//! A publisher and a viewer with nothing but a lossy wire between them.

use std::time::{Duration, Instant};

use whitewater_rtp::{Kind, classify};
use whitewater_srtp::{KeyingMaterial, Profile, Role};

use super::*;
use crate::media::VideoCodec;
use crate::sdp::{Answer, Section, Ssrcs};
use crate::socket::{Control, SocketOptions};
use crate::stats::Totals;

struct Wire {
    publisher: Publisher,
    viewer: Viewer,
    publisher_socket: Socket,
    viewer_socket: Socket,
    /// Where each of them sends to.
    from_publisher: Socket,
    from_viewer: Socket,
    latency: Latency,
    now: Instant,
    video_packets: u64,
    nacks_reach: bool,
}

impl Wire {
    fn new(codec: VideoCodec, rtx: bool) -> Self {
        let section = |pt, rtx_pt| Section {
            pt,
            rtx_pt,
            mid_id: Some(4),
            transport_seq_id: Some(3),
        };
        let answer = Answer {
            ufrag: String::new(),
            password: String::new(),
            lite: true,
            fingerprint: Vec::new(),
            server_is_active: false,
            candidates: Vec::new(),
            audio: Some(section(111, None)),
            video: Some(section(96, rtx.then_some(97))),
        };
        let program = Program {
            video: Some(codec),
            audio: true,
            bitrate_bps: 1_000_000,
            fps: 30,
            pacing: Pacing::Burst,
            payload_size: 1000,
        };
        let ssrcs = Ssrcs {
            audio: 1001,
            video: 1002,
            rtx: 1003,
        };
        let now = Instant::now();
        let exported = [7; 56];
        let keys = |role| KeyingMaterial::split(Profile::AeadAes128Gcm, &exported, role).unwrap();
        let mut publisher = Publisher::new(program, 5, "p".into(), ssrcs, &answer, now);
        publisher.secured(&keys(Role::Client), now).unwrap();
        let inspection = Inspection::Verify {
            source: Some(5),
            codec,
        };
        let mut viewer = Viewer::new(inspection, 77, "v".into(), &answer, now);
        viewer.secured(&keys(Role::Server), now).unwrap();
        let options = SocketOptions {
            gro: true,
            timestamps: false,
            receive_buffer: 1 << 20,
        };
        let socket = || Socket::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let (mut publisher_socket, mut viewer_socket) = (socket(), socket());
        let (from_publisher, from_viewer) = (socket(), socket());
        publisher_socket.connect(from_publisher.address()).unwrap();
        viewer_socket.connect(from_viewer.address()).unwrap();
        Wire {
            publisher,
            viewer,
            publisher_socket,
            viewer_socket,
            from_publisher,
            from_viewer,
            latency: Latency::default(),
            now,
            video_packets: 0,
            nacks_reach: true,
        }
    }

    /// Runs both for a while; every `lose_each`th original video packet is lost.
    fn run(&mut self, time: Duration, lose_each: u64) {
        let end = self.now + time;
        let (mut buffer, mut control) = (vec![0; 65_536], Control::default());
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.publisher.poll(self.now, &mut self.publisher_socket);
            self.viewer.poll(self.now, &mut self.viewer_socket);
            while let Some(received) = self.from_publisher.receive(&mut buffer, &mut control) {
                for packet in buffer[..received.size].chunks(received.segment) {
                    let is_rtp = classify(packet) == Kind::Rtp;
                    if !is_rtp {
                        self.viewer.on_rtcp(self.now, packet);
                        continue;
                    }
                    if packet[1] & 0x7f == 96 {
                        self.video_packets += 1;
                        if self.video_packets.is_multiple_of(lose_each) {
                            continue;
                        }
                    }
                    let now_ns = u64::MAX / 2;
                    self.viewer
                        .on_rtp(self.now, now_ns, packet, &mut self.latency);
                }
            }
            while let Some(received) = self.from_viewer.receive(&mut buffer, &mut control) {
                for packet in buffer[..received.size].chunks(received.segment) {
                    if self.nacks_reach {
                        self.publisher.on_rtcp(packet, &mut self.publisher_socket);
                    }
                }
            }
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.publisher.totals(&mut totals);
        self.viewer.totals(&mut totals);
        totals
    }
}

#[test]
fn what_is_lost_is_asked_for_and_sent_again() {
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let mut wire = Wire::new(codec, true);
        wire.run(Duration::from_secs(5), 7);
        wire.run(Duration::from_millis(500), 0);
        let totals = wire.totals();
        assert!(totals.recovered > 50, "{totals:?}");
        assert_eq!((totals.lost, totals.frames_broken), (0, 0), "{totals:?}");
        assert_eq!(
            totals.corrupted + totals.undecryptable + totals.foreign,
            0,
            "{totals:?}"
        );
        assert!(totals.frames_whole >= 160, "{totals:?}");
        assert_eq!(totals.late_starts, 0);
    }
}

#[test]
fn what_stays_lost_is_counted_and_makes_a_key_frame() {
    let mut wire = Wire::new(VideoCodec::Vp8, false);
    wire.run(Duration::from_secs(3), 0);
    assert_eq!(wire.totals().key_frames, 1);
    wire.run(Duration::from_millis(500), 10);
    let lost = wire.totals().lost;
    assert!(lost > 3, "{lost}");
    wire.run(Duration::from_secs(3), 0);
    let totals = wire.totals();
    assert_eq!(totals.lost, lost);
    assert!(totals.frames_broken > 0, "{totals:?}");
    assert!(
        totals.keys_asked >= 1 && totals.key_frames_wanted == totals.keys_asked,
        "{totals:?}"
    );
    assert_eq!(
        totals.key_frames,
        1 + totals.key_frames_wanted,
        "{totals:?}"
    );
}

#[test]
fn a_silent_publisher_sends_no_media_and_makes_up_for_nothing() {
    let mut wire = Wire::new(VideoCodec::Vp8, true);
    wire.run(Duration::from_secs(1), 0);
    wire.publisher.speak(false, wire.now);
    wire.run(Duration::from_millis(50), 0);
    let before = wire.totals();
    wire.run(Duration::from_secs(2), 0);
    assert_eq!(wire.totals().sent_packets, before.sent_packets);
    wire.publisher.speak(true, wire.now);
    wire.run(Duration::from_secs(1), 0);
    let totals = wire.totals();
    let sent = totals.sent_packets - before.sent_packets;
    // 30 frames of five packets and 50 of audio.
    assert!((190..=210).contains(&sent), "{sent}");
    assert_eq!(totals.lost, 0);
    assert!(wire.viewer.gap(wire.now).unwrap() >= Duration::from_secs(2));
}
