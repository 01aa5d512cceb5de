//! Simulcast over a link between two nodes, and what its viewers ask for.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cascade::{node, pull, sessions};
use crate::client::{Client, Wish};
use crate::http::request;
use crate::node::{Running, eventually, eventually_or};

const NAMES: [&str; 3] = ["h", "m", "l"];

/// Two nodes with a simulcast that the second one takes from the first.
fn scene() -> (Running, Running, Client) {
    let (origin, edge) = (node(&[]), node(&[("media.shards", "2")]));
    let publisher = Client::start(origin.http, "cam", Wish::publish().in_layers(&NAMES));
    eventually("it publishes", || publisher.seen().next_frame > 10);
    pull(edge.http, "cam", origin.http, "cam");
    (origin, edge, publisher)
}

fn watch(http: SocketAddr, rid: &str) -> Client {
    let viewer = Client::start(http, "cam", Wish::watch().without_feedback());
    choose(http, &viewer, rid);
    viewer
}

fn choose(http: SocketAddr, viewer: &Client, rid: &str) {
    let path = format!("{}/layer", viewer.session);
    let body = json!({"encodingId": rid}).to_string();
    eventually("the layer is known", || {
        let answer = request(http, "POST", &path, Some(("application/json", &body)));
        answer.expect("an answer").status == 200
    });
}

/// Packets of each layer that a viewer is sent within a second.
fn within_a_second(viewer: &Client) -> [u64; 4] {
    let before = viewer.seen().video.by_layer;
    std::thread::sleep(Duration::from_secs(1));
    let after = viewer.seen().video.by_layer;
    std::array::from_fn(|layer| after[layer] - before[layer])
}

/// Bytes of video that the first node sends the second one within two seconds.
fn link_bytes(origin: &Running) -> u64 {
    let sent = || {
        let sessions = sessions(origin.http, "cam", "subscribe");
        assert_eq!(sessions.len(), 1, "one session for all viewers");
        sessions[0]["stats"]["bytes"].as_u64().expect("a number")
    };
    let before = sent();
    std::thread::sleep(Duration::from_secs(2));
    sent() - before
}

#[test]
fn viewers_beyond_a_link_have_each_layer_and_the_link_only_those_they_have() {
    let (origin, edge, publisher) = scene();
    let viewers = NAMES.map(|rid| watch(edge.http, rid));
    for (layer, viewer) in viewers.iter().enumerate() {
        eventually_or(
            "the layer that was chosen comes, and no other",
            || {
                let counts = within_a_second(viewer);
                let others: u64 = counts.iter().sum::<u64>() - counts[layer];
                counts[layer] > 20 && others == 0
            },
            || format!("{:?}", viewer.seen().video.by_layer),
        );
        assert_eq!(viewer.seen().corrupt, 0);
    }
    let all = link_bytes(&origin);
    // The two larger layers are of no use any more: three of five packets a picture are left out.
    choose(edge.http, &viewers[0], "l");
    choose(edge.http, &viewers[1], "l");
    let least = Cell::new(u64::MAX);
    eventually_or(
        "they are not sent any more",
        || {
            least.set(link_bytes(&origin));
            least.get() * 2 < all
        },
        || format!("{} of {all} bytes", least.get()),
    );
    let asked_at = Instant::now();
    let before = viewers[1].seen().video.by_layer[0];
    choose(edge.http, &viewers[1], "h");
    eventually("it comes back", || {
        viewers[1].seen().video.by_layer[0] > before
    });
    assert!(
        asked_at.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked_at.elapsed()
    );
    assert_eq!(publisher.seen().corrupt, 0);
}

#[test]
fn key_frame_wishes_of_many_viewers_beyond_a_link_reach_the_publisher_as_two_a_second() {
    let (_origin, edge, publisher) = scene();
    let before = publisher.seen().key_frames_wanted;
    let began = Instant::now();
    let viewers: Vec<Client> = (0..24).map(|n| watch(edge.http, NAMES[n % 3])).collect();
    for round in 1..4 {
        for (n, viewer) in viewers.iter().enumerate() {
            choose(edge.http, viewer, NAMES[(n + round) % 3]);
        }
    }
    eventually("everybody sees", || {
        viewers
            .iter()
            .all(|viewer| viewer.seen().video.packets > 60)
    });
    let wanted = publisher.seen().key_frames_wanted - before;
    let span = began.elapsed().as_secs_f64();
    let most = (2.0 * span + 1.0) * NAMES.len() as f64;
    assert!(wanted > 0 && wanted as f64 <= most, "{wanted} in {span} s");
    for viewer in &viewers {
        assert_eq!(viewer.seen().corrupt, 0);
    }
}
