//! Publishers, looked at: what they bring is measured, what is wrong with it is told while it is.

use whitewater_simnet::link_types::{Event, FindingCode, Intake, MediaKind};
use whitewater_simnet::str0m::format::Codec;
use whitewater_simnet::str0m::rtp::ExtensionValues;
use whitewater_simnet::{
    Content, Described, Link, PeerConfig, PeerId, Script, THREE_LAYERS, World,
};

use super::{SEEDS, ms, secs};

fn intake(world: &World, publisher: PeerId) -> Intake {
    let report = world.report(publisher).expect("it lives");
    *report.intake.expect("it was looked at")
}

fn codes(world: &World, publisher: PeerId) -> Vec<FindingCode> {
    let findings = intake(world, publisher).findings;
    findings.iter().map(|finding| finding.code).collect()
}

fn scripted(script: Script) -> PeerConfig {
    PeerConfig {
        script,
        ..PeerConfig::default()
    }
}

#[test]
fn every_layer_is_measured() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let script = Script {
            layers: THREE_LAYERS.to_vec(),
            delta_packets: 12,
            key_packets: 24,
            key_every: 60,
            ..Script::default()
        };
        let publisher = world.publish("cam", &scripted(script), Link::good());
        world.run_for(secs(8));
        let intake = intake(&world, publisher);
        let [audio, video] = &intake.tracks[..] else {
            panic!("two tracks: {intake:?}");
        };
        assert_eq!(
            (audio.kind, audio.codec.as_str()),
            (MediaKind::Audio, "opus")
        );
        assert_eq!(
            (video.kind, video.codec.as_str()),
            (MediaKind::Video, "VP8")
        );
        let [sound] = &audio.layers[..] else {
            panic!("one source: {audio:?}");
        };
        assert!((30_000..50_000).contains(&sound.bitrate_bps), "{sound:?}");
        assert_eq!((sound.width, sound.frames_per_second), (0, 0));
        assert_eq!(video.layers.len(), 3);
        for (place, (layer, name)) in video.layers.iter().zip(["h", "m", "l"]).enumerate() {
            assert_eq!(layer.rid.as_deref(), Some(name));
            let size = (u32::from(layer.width), u32::from(layer.height));
            assert_eq!(size, (640 >> place, 480 >> place), "seed {seed}");
            assert!((29..=31).contains(&layer.frames_per_second), "{layer:?}");
            let kbps = 12.0 * 200.0 * 8.0 * 30.0 / 1_000.0 / f64::from(1 << place);
            let told = layer.bitrate_bps as f64 / 1_000.0;
            assert!(told > kbps && told < kbps * 1.4, "{layer:?}");
            let interval = layer.keyframe_interval.expect("several came");
            assert!(interval > ms(1_900) && interval < ms(2_100), "{layer:?}");
            assert_eq!((layer.packets_lost, layer.loss_permille), (0, 0));
            assert!(layer.jitter < ms(2), "{layer:?}");
        }
        assert!(intake.findings.is_empty(), "{:?}", intake.findings);
        assert_eq!(intake.loudness, None, "nothing tells");
        world.close_down();
    }
}

#[test]
fn a_publishers_losses_are_told_until_they_are_over() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let mut lossy = Link::good();
        lossy.up.loss = 0.12;
        let publisher = world.publish("cam", &PeerConfig::default(), Link::good());
        world.run_for(secs(3));
        assert_eq!(codes(&world, publisher), []);
        world.relink(publisher, lossy);
        world.run_for(secs(9));
        let lossy = intake(&world, publisher);
        let of_video = |finding: &&_| {
            let finding: &whitewater_simnet::link_types::Finding = finding;
            finding.kind == MediaKind::Video
        };
        let finding = lossy.findings.iter().find(of_video).expect("it is told");
        assert_eq!(finding.code, FindingCode::Loss);
        assert!(
            (60..=200).contains(&finding.measure),
            "seed {seed}: {finding:?}"
        );
        let video = &lossy.tracks[1].layers[0];
        // What is sent again was missing all the same, but is not lost.
        assert!(video.packets_lost < 20, "seed {seed}: {video:?}");
        world.relink(publisher, Link::good());
        world.run_for(secs(10));
        assert_eq!(codes(&world, publisher), [], "seed {seed}");
        world.close_down();
    }
}

// NAL units whose first bytes mean what they say; then whatever.
const SPS: [u8; 8] = [0x67, 0x42, 0xe0, 0x1f, 0xda, 0x02, 0x80, 0xbf];
const HIGH_SPS: [u8; 8] = [0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
const IDR: [u8; 3] = [0x65, 0x88, 0x84];
const P: [u8; 3] = [0x41, 0x9a, 0x02];
const B: [u8; 3] = [0x01, 0x9e, 0x02];

fn aggregate(units: &[&[u8]]) -> Vec<u8> {
    let mut packet = vec![0x18];
    for unit in units {
        packet.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        packet.extend_from_slice(unit);
    }
    packet
}

/// A key frame with its parameter sets, and slices.
fn picture(content: &Content, parameter_sets: &[&[u8]], slice: &[u8]) -> Vec<u8> {
    if !content.key {
        return slice.to_vec();
    }
    match content.index {
        0 if !parameter_sets.is_empty() => aggregate(parameter_sets),
        _ => IDR.to_vec(),
    }
}

fn usual(content: &Content, _: usize) -> Vec<u8> {
    picture(content, &[&SPS, &PPS], &P)
}

fn b_frames(content: &Content, _: usize) -> Vec<u8> {
    let slice = if content.frame.is_multiple_of(3) {
        &P
    } else {
        &B
    };
    picture(content, &[&SPS, &PPS], slice)
}

fn bare(content: &Content, _: usize) -> Vec<u8> {
    picture(content, &[], &P)
}

fn high(content: &Content, _: usize) -> Vec<u8> {
    picture(content, &[&HIGH_SPS, &PPS], &P)
}

#[test]
fn what_is_wrong_with_h264_is_told() {
    type Render = fn(&Content, usize) -> Vec<u8>;
    let cases: [(Render, &[FindingCode]); 4] = [
        (usual, &[]),
        (b_frames, &[FindingCode::BFrames]),
        (bare, &[FindingCode::ParameterSetsMissing]),
        (high, &[FindingCode::ProfileMismatch]),
    ];
    for seed in SEEDS {
        for (payload, expected) in cases {
            let mut world = World::new(seed);
            let script = Script {
                video_codec: Codec::H264,
                video_payload: Some(payload),
                key_every: 60,
                ..Script::default()
            };
            let publisher = world.publish("cam", &scripted(script), Link::good());
            world.run_for(secs(7));
            assert_eq!(codes(&world, publisher), expected, "seed {seed}");
            world.close_down();
        }
    }
}

#[test]
fn a_key_frame_that_is_asked_for_in_vain_is_told_until_it_comes() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let script = Script {
            is_deaf: true,
            // One at the beginning, the next after 30 s.
            key_every: 900,
            ..Script::default()
        };
        let publisher = world.publish("cam", &scripted(script), Link::good());
        world.run_for(secs(15));
        assert_eq!(codes(&world, publisher), [], "nobody waits for one");
        world.viewer("cam", Link::good());
        world.run_for(secs(4));
        assert_eq!(
            codes(&world, publisher),
            [],
            "seed {seed}: it may still come"
        );
        world.run_for(secs(3));
        assert_eq!(codes(&world, publisher), [FindingCode::KeyframesRare]);
        let measure = intake(&world, publisher).findings[0].measure;
        assert!((20..=22).contains(&measure), "seed {seed}: {measure}");
        world.run_for(secs(10));
        assert_eq!(codes(&world, publisher), [], "seed {seed}: it came");
        world.close_down();
    }
}

#[test]
fn a_clock_that_runs_at_another_speed_is_told() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let script = Script {
            video_clock_percent: 80,
            ..Script::default()
        };
        let publisher = world.publish("cam", &scripted(script), Link::good());
        world.run_for(secs(40));
        let findings = intake(&world, publisher).findings;
        let clock = findings.iter().find(|f| f.code == FindingCode::ClockRate);
        let clock = clock.expect("it is told");
        assert_eq!(clock.kind, MediaKind::Video);
        assert!((71_000..=73_000).contains(&clock.measure), "{clock:?}");
        assert!(codes(&world, publisher).contains(&FindingCode::AvDrift));
        world.close_down();
    }
}

#[test]
fn a_track_of_which_nothing_comes_is_told() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        // It offers H.264 and never sends it.
        let script = Script {
            video_codec: Codec::Vp9,
            ..Script::default()
        };
        let publisher = world.publish("cam", &scripted(script), Link::good());
        world.run_for(secs(4));
        assert_eq!(codes(&world, publisher), [], "seed {seed}");
        world.run_for(secs(4));
        let [finding] = intake(&world, publisher).findings[..] else {
            panic!("one finding");
        };
        let expected = (FindingCode::TrackSilent, MediaKind::Video);
        assert_eq!((finding.code, finding.kind), expected);
        world.close_down();
    }
}

/// Two seconds of speech after two of silence.
fn level(content: &Content) -> ExtensionValues {
    let speaks = content.captured.as_secs() / 2 % 2 == 1;
    ExtensionValues {
        audio_level: Some(if speaks { -24 } else { -80 }),
        voice_activity: Some(speaks),
        ..ExtensionValues::default()
    }
}

#[test]
fn who_speaks_is_told_when_it_begins_and_ends() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let script = Script {
            audio_extensions: level,
            ..Script::default()
        };
        let publisher = world.publish("cam", &scripted(script), Link::wifi());
        world.run_for(ms(9_900));
        let told: Vec<_> = world
            .events
            .iter()
            .filter_map(|(at, event)| match event {
                Event::Speaking { loudness, .. } => {
                    let at = at.saturating_duration_since(world.began);
                    Some((at.as_secs_f64(), loudness.is_speaking))
                }
                _ => None,
            })
            .collect();
        let states: Vec<bool> = told.iter().map(|(_, speaking)| *speaking).collect();
        assert_eq!(states, [true, false, true, false], "seed {seed}: {told:?}");
        for ((at, _), (from, to)) in
            told.iter()
                .zip([(2.0, 2.4), (4.5, 5.2), (6.0, 6.4), (8.5, 9.2)])
        {
            assert!((from..to).contains(at), "seed {seed}: {told:?}");
        }
        let loudness = intake(&world, publisher).loudness.expect("it tells");
        assert!(
            !loudness.is_speaking && loudness.level_dbov < -70,
            "{loudness:?}"
        );
        world.close_down();
    }
}

/// Bytes that mean nothing to anybody on the way, another pattern in every packet.
fn encrypted(content: &Content, size: usize) -> Vec<u8> {
    let mut state = content.frame << 12 | u32::from(content.index) << 1 | 1;
    let mut payload = content.render(whitewater_simnet::Piece::Audio, size);
    for byte in &mut payload {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte ^= (state >> 24) as u8;
    }
    payload
}

fn described(content: &Content) -> ExtensionValues {
    let (first, last) = (content.index == 0, content.index + 1 == content.count);
    let frame = content.frame as u16;
    Described::packet(first, last, frame, first && content.key).alone()
}

#[test]
fn media_that_is_encrypted_from_end_to_end_passes_by_what_its_packets_say() {
    for seed in SEEDS {
        for codec in [Codec::H264, Codec::Vp8] {
            let mut world = World::new(seed);
            let config = PeerConfig {
                extensions: Some(Described::extensions()),
                ..scripted(Script {
                    video_codec: codec,
                    video_payload: Some(encrypted),
                    video_extensions: described,
                    ..Script::default()
                })
            };
            let publisher = world.publish("cam", &config, Link::good());
            world.run_for(secs(2));
            let asked = world.published(publisher).requests.len();
            let watching = PeerConfig {
                extensions: Some(Described::extensions()),
                ..PeerConfig::default()
            };
            let viewer = world.watch("cam", &watching, Link::good());
            world.run_for(secs(12));
            // It is asked for the viewer at most once; key frames are seen although nothing of them
            // can be read, and no other packet is taken for one.
            assert!(world.published(publisher).requests.len() <= asked + 1);
            let [_, video] = &world.track_reports(publisher)[..] else {
                panic!("two tracks");
            };
            assert!((1..=2).contains(&video.keyframes), "{codec:?}: {video:?}");
            let passed = world.track_reports(viewer)[1].traffic.packets;
            assert!(passed > 3 * 30 * 11, "{codec:?}: {passed}");
            assert_eq!(codes(&world, publisher), [], "{codec:?}, seed {seed}");
            world.close_down();
        }
    }
}
