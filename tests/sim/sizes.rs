//! Layers chosen by the size of their pictures, whatever codec tells it and in whichever packet.

use whitewater_simnet::link_types::{MediaKind, Selection};
use whitewater_simnet::str0m::format::Codec;
use whitewater_simnet::str0m::rtp::ExtensionValues;
use whitewater_simnet::{
    Content, Described, Line, Link, PeerConfig, PeerId, Script, THREE_LAYERS, VideoFormat, World,
};

use super::{SEEDS, secs};

/// ITU-T H.265 §7.3.2.2.1, up to the size; the profile is made up.
fn sequence_parameters(width: u32, height: u32) -> Vec<u8> {
    let mut line = Line::default();
    line.put(33 << 9 | 1, 16).put(0, 4).put(0, 3).put(1, 1);
    for _ in 0..12 {
        line.put(0x55, 8);
    }
    line.put_golomb(0).put_golomb(1);
    line.put_golomb(width).put_golomb(height);
    line.put(0, 1).put(1, 1);
    line.bytes()
}

/// A key frame has its video, sequence and picture parameter sets in a packet each (RFC 7798 §4.4.1).
fn h265(content: &Content, size: usize) -> Vec<u8> {
    let (width, height) = (640 >> content.layer, 480 >> content.layer);
    let head = |nal_type: u8| vec![nal_type << 1, 1];
    let mut payload = match (content.key, content.index) {
        (true, 0) => head(32),
        (true, 1) => return sequence_parameters(width, height),
        (true, 2) => head(34),
        (true, _) => head(19),
        (false, _) => head(1),
    };
    payload.resize(size, 0x5a);
    payload
}

fn described(content: &Content) -> ExtensionValues {
    let is_first = content.index == 0;
    let place = (is_first, content.index + 1 == content.count);
    Described::packet(
        place.0,
        place.1,
        content.frame as u16,
        is_first && content.key,
    )
    .alone()
}

fn layer_of(world: &World, viewer: PeerId) -> Option<u8> {
    let tracks = world.track_reports(viewer);
    tracks
        .iter()
        .find(|track| track.kind == MediaKind::Video)?
        .layer
}

#[test]
fn a_bound_on_the_size_holds_for_h265_whose_size_is_in_another_packet_than_the_start() {
    for (seed, is_described) in SEEDS.into_iter().flat_map(|s| [(s, false), (s, true)]) {
        let note = format!("seed {seed}, described: {is_described}");
        let viewer = PeerConfig {
            video: vec![VideoFormat {
                pt: 49,
                rtx_pt: Some(50),
                codec: Codec::H265,
            }],
            extensions: is_described.then(Described::extensions),
            ..PeerConfig::default()
        };
        let publisher = PeerConfig {
            script: Script {
                layers: THREE_LAYERS.to_vec(),
                delta_packets: 12,
                key_packets: 24,
                video_codec: Codec::H265,
                video_payload: Some(h265),
                video_extensions: match is_described {
                    true => described,
                    false => |_| ExtensionValues::default(),
                },
                ..Script::default()
            },
            ..viewer.clone()
        };
        let mut world = World::new(seed);
        let publisher = world.publish("cam", &publisher, Link::good());
        let viewer = world.watch("cam", &viewer, Link::good());
        world.run_for(secs(4));
        let told = world.layers(publisher).iter();
        let told: Vec<_> = told.map(|l| (l.state.width, l.state.height)).collect();
        assert_eq!(told, [(640, 480), (320, 240), (160, 120)], "{note}");
        for (width_max, layer) in [(400, 1), (160, 2), (640, 0), (100, 2)] {
            let selection = Selection {
                width_max: Some(width_max),
                ..Selection::default()
            };
            world.select(viewer, selection);
            world.run_for(secs(2));
            assert_eq!(layer_of(&world, viewer), Some(layer), "{note}: {width_max}");
        }
        world.close_down();
    }
}
