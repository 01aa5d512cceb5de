//! One stream on many nodes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Wish};
use crate::fleet::{Fleet, get, watched};
use crate::node::{eventually, eventually_or};

const LOOPBACK: [&str; 2] = ["--set", "cascade.allow=127.0.0.1"];

/// Who gets a stream from whom.
fn links(fleet: &Fleet, stream: &str) -> Vec<(String, String)> {
    let trees = get(fleet.http(), "/api/cascades");
    let trees = trees.as_array().expect("a list").iter();
    let links = trees.filter(|tree| tree["id"] == stream);
    let links = links.flat_map(|tree| tree["links"].as_array().expect("a list").clone());
    let text = |value: &Value| value.as_str().expect("an alias").to_owned();
    links
        .map(|link| (text(&link["node"]), text(&link["from"])))
        .collect()
}

#[test]
fn when_a_node_is_full_others_get_the_stream_from_it() {
    let node = [&LOOPBACK[..], &["--sub-max", "2"]].concat();
    let manager = ["--set", "manager.tree_idle_s=1"];
    let fleet = Fleet::start_with(3, &node, &manager);
    let http = fleet.http();
    eventually("the nodes said what they take", || {
        let nodes = get(http, "/api/nodes/");
        let nodes = nodes.as_array().expect("a list").clone();
        nodes.iter().all(|node| node["sub_max"] == 2)
    });
    let publisher = Client::start(http, "cam", Wish::publish());
    let home = Fleet::home(&publisher);
    eventually("it is live", || publisher.seen().connected);
    let viewers: Vec<_> = (0..6)
        .map(|_| Client::start(http, "cam", Wish::watch()))
        .collect();
    for alias in ["a", "b", "c"] {
        let count = viewers
            .iter()
            .filter(|viewer| Fleet::home(viewer) == alias)
            .count();
        assert_eq!(count, 2, "on {alias}");
    }
    for viewer in &viewers {
        watched(viewer, 20);
    }
    let made = links(&fleet, "cam");
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.iter().all(|(node, _)| *node != home), "{made:?}");
    let far = made.iter().map(|(node, _)| node).next().expect("a link");
    eventually("the list says where it comes from", || {
        let stream = get(http, "/api/streams/cam");
        let cascade = &stream[far]["publish"]["sessions"][0]["cascade"];
        cascade["src"]
            .as_str()
            .is_some_and(|url| url.ends_with("/whep/cam"))
    });
    // There is no place left.
    let full = Client::try_start(http, "cam", Wish::watch());
    assert_eq!(full.err().expect("refused").status, 503);
    // Nobody watches on the others any more: they get it no longer, and leave nothing behind.
    for viewer in viewers.iter().filter(|viewer| Fleet::home(viewer) != home) {
        assert_eq!(viewer.leave(), 204);
    }
    eventually_or(
        "the links are taken down",
        || links(&fleet, "cam").is_empty() && fleet.homes("cam") == [home.as_str()],
        || format!("{:?} {:?}", links(&fleet, "cam"), fleet.homes("cam")),
    );
    let left = get(http, "/api/streams/cam");
    let left = left[&home]["subscribe"]["sessions"]
        .as_array()
        .map(Vec::len);
    assert_eq!(left, Some(2), "two viewers and no node");
}

#[test]
fn viewers_of_other_regions_get_it_from_a_node_of_theirs() {
    let fleet = Fleet::start(2, &LOOPBACK);
    let [a, b] = ["a", "b"].map(|alias| fleet.node(alias).http());
    let nodes = [
        format!("a=http://{a},region=eu"),
        format!("b=http://{b},region=us"),
    ];
    let manager = crate::node::Process::start(&[
        "manager",
        "--listen",
        "127.0.0.1:0",
        "--set",
        "manager.poll_ms=100",
        "--node",
        &nodes[0],
        "--node",
        &nodes[1],
    ]);
    manager.wait_for("Page");
    let fleet = Fleet { manager, ..fleet };
    let http = fleet.http();
    eventually("both run", || fleet.running().len() == 2);
    let publisher = Client::start(http, "cam?region=eu", Wish::publish());
    assert_eq!(Fleet::home(&publisher), "a");
    eventually("it is live", || publisher.seen().connected);
    for (region, home) in [("us", "b"), ("eu", "a"), ("us", "b"), ("mars", "a")] {
        let viewer = Client::start(http, &format!("cam?region={region}"), Wish::watch());
        if region != "mars" {
            assert_eq!(Fleet::home(&viewer), home, "{region}");
        }
        watched(&viewer, 5);
    }
    assert_eq!(links(&fleet, "cam"), [("b".to_owned(), "a".to_owned())]);
}

#[test]
fn viewers_stay_when_the_publishers_node_dies_and_see_its_return() {
    let node = [&LOOPBACK[..], &["--sub-max", "1"]].concat();
    let mut fleet = Fleet::start(3, &node);
    let http = fleet.http();
    eventually("the nodes said what they take", || {
        let nodes = get(http, "/api/nodes/");
        let nodes = nodes.as_array().expect("a list").clone();
        nodes.iter().all(|node| node["sub_max"] == json!(1))
    });
    let publisher = Client::start(http, "cam", Wish::publish());
    let home = Fleet::home(&publisher);
    eventually("it is live", || publisher.seen().connected);
    let viewers: Vec<_> = (0..3)
        .map(|_| Client::start(http, "cam", Wish::watch()))
        .collect();
    for viewer in &viewers {
        watched(viewer, 10);
    }
    fleet.kill(&home);
    drop(publisher);
    let killed = Instant::now();
    let _publisher = loop {
        match Client::try_start(http, "cam", Wish::publish()) {
            Ok(publisher) => break publisher,
            // The node has not let the dead link go.
            Err(answer) => assert!([409, 503].contains(&answer.status), "{}", answer.body),
        }
        assert!(
            killed.elapsed() < Duration::from_secs(10),
            "nobody takes it"
        );
        std::thread::sleep(Duration::from_millis(200));
    };
    // Viewers on the nodes that are left need not do anything.
    for viewer in viewers.iter().filter(|viewer| Fleet::home(viewer) != home) {
        let seen = viewer.seen().video.packets;
        eventually_or(
            "the picture is back",
            || viewer.seen().video.packets > seen + 50,
            || format!("{:?}\n{}", links(&fleet, "cam"), fleet.manager.errors()),
        );
        assert_eq!(viewer.seen().corrupt, 0);
    }
}

#[test]
fn embedded_nodes_are_told_what_the_manager_is_told() {
    let mut manager = crate::node::Process::start(&[
        "manager",
        "--listen",
        "127.0.0.1:0",
        "--embedded",
        "2",
        "--set",
        "media.udp=127.0.0.1:0",
        "--set",
        "node.sub_max=1",
    ]);
    manager.wait_for("Page");
    let http = manager.http();
    eventually("the nodes said what they take", || {
        let nodes = get(http, "/api/nodes/");
        let nodes = nodes.as_array().expect("a list").clone();
        nodes
            .iter()
            .all(|node| node["status"] == "running" && node["sub_max"] == json!(1))
    });
    let publisher = Client::start(http, "cam", Wish::publish());
    eventually("it is live", || publisher.seen().connected);
    let viewers = [(); 2].map(|()| Client::start(http, "cam", Wish::watch()));
    assert_ne!(Fleet::home(&viewers[0]), Fleet::home(&viewers[1]));
    for viewer in &viewers {
        watched(viewer, 10);
    }
    manager.terminate();
    assert_eq!(manager.end().code(), Some(0));
}

#[test]
fn a_link_that_somebody_made_by_hand_stays() {
    let manager = ["--set", "manager.tree_idle_s=600"];
    let fleet = Fleet::start_with(2, &LOOPBACK, &manager);
    let http = fleet.http();
    let publisher = Client::start(http, "cam?nodes=a", Wish::publish());
    eventually("it is live", || publisher.seen().connected);
    let wish = json!({ "targetUrl": format!("http://{http}/api/whip/b/cam") }).to_string();
    let wish = Some(("application/json", wish.as_str()));
    let pushed = crate::http::request(fleet.node("a").http(), "POST", "/api/cascade/cam", wish);
    let pushed = pushed.expect("an answer");
    assert_eq!(pushed.status, 200, "{}", pushed.body);
    eventually("it is known as a link", || {
        links(&fleet, "cam") == [("b".to_owned(), "a".to_owned())]
    });
    let viewer = Client::start(http, "cam?nodes=b", Wish::watch());
    assert_eq!(Fleet::home(&viewer), "b");
    watched(&viewer, 60);
    assert_eq!(fleet.homes("cam"), ["a", "b"]);
}

#[test]
fn a_link_brings_video_without_audio_too() {
    let node = [&LOOPBACK[..], &["--sub-max", "1"]].concat();
    let fleet = Fleet::start(2, &node);
    let http = fleet.http();
    eventually("the nodes said what they take", || {
        let nodes = get(http, "/api/nodes/");
        let nodes = nodes.as_array().expect("a list").clone();
        nodes.iter().all(|node| node["sub_max"] == json!(1))
    });
    let publisher = Client::start(http, "cam", Wish::publish().without_audio());
    eventually("it is live", || publisher.seen().connected);
    let wish = Wish::watch().without_audio();
    let viewers = [(); 2].map(|()| Client::start(http, "cam", wish.clone()));
    assert_ne!(Fleet::home(&viewers[0]), Fleet::home(&viewers[1]));
    for viewer in &viewers {
        watched(viewer, 10);
    }
}
