//! WHIP, WHEP and sessions through a manager.

use std::collections::BTreeSet;

use crate::client::{Client, Wish, offer_text};
use crate::fleet::{Fleet, get, manage, sessions, watched};
use crate::http::request;
use crate::node::{Process, eventually};

#[test]
fn a_stream_is_published_and_watched_through_the_manager() {
    let fleet = Fleet::start(2, &[]);
    let http = fleet.http();
    let publisher = Client::start(http, "my%20cam", Wish::publish());
    let home = Fleet::home(&publisher);
    let viewers: Vec<_> = (0..3)
        .map(|_| Client::start(http, "my%20cam", Wish::watch()))
        .collect();
    for viewer in &viewers {
        assert_eq!(Fleet::home(viewer), home, "where the stream is");
        watched(viewer, 20);
    }
    eventually("the list has them all", || {
        let list = get(http, "/api/streams/");
        list[0]["subscribe"]["sessions"]
            .as_array()
            .is_some_and(|all| all.len() == 3)
    });
    assert_eq!(fleet.homes("my%20cam"), [home.as_str()]);
    // Trickle, restart and the like reach the node, with the answers of the node.
    let session = &viewers[0].session;
    let unknown = request(http, "PATCH", session, Some(("text/plain", ""))).expect("an answer");
    assert_eq!(unknown.status, 415, "{}", unknown.body);
    let fragment = "application/trickle-ice-sdpfrag";
    let tagless = request(http, "PATCH", session, Some((fragment, ""))).expect("an answer");
    assert_eq!(tagless.status, 428, "{}", tagless.body);
    let probe = request(http, "GET", session, None).expect("an answer");
    assert!(probe.status < 300, "{}", probe.body);
    for client in viewers.iter().chain([&publisher]) {
        assert_eq!(client.leave(), 204);
        assert_eq!(client.leave(), 404);
    }
    sessions(fleet.node(&home), 0.0);
}

#[test]
fn session_urls_hold_for_every_manager_and_after_its_end() {
    let mut fleet = Fleet::start(2, &[]);
    let publisher = Client::start(fleet.http(), "cam", Wish::publish());
    let viewer = Client::start(fleet.http(), "cam", Wish::watch());
    watched(&viewer, 5);
    let second = manage(&fleet.nodes, &[]);
    fleet.manager = second;
    let http = fleet.http();
    eventually("it finds the stream by itself", || {
        get(http, "/api/streams/")[0]["id"] == "cam"
    });
    let frames = viewer.seen().video.newest();
    eventually("media goes on", || viewer.seen().video.newest() > frames);
    // Another viewer comes by the new one.
    let late = Client::start(http, "cam", Wish::watch());
    watched(&late, 5);
    for client in [&viewer, &publisher] {
        let ended = request(http, "DELETE", &client.session, None).expect("an answer");
        assert_eq!(ended.status, 204, "{}", ended.body);
    }
}

#[test]
fn of_many_publishers_of_one_stream_one_is_taken() {
    let fleet = Fleet::start(3, &[]);
    let http = fleet.http();
    let offers = std::thread::scope(|scope| {
        let publish = || scope.spawn(move || Client::try_start(http, "cam", Wish::publish()));
        let all: Vec<_> = (0..8).map(|_| publish()).collect();
        let ended = all.into_iter().map(|one| one.join().expect("no panic"));
        ended.collect::<Vec<_>>()
    });
    let (made, refused): (Vec<_>, Vec<_>) = offers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1, "one and no other");
    for answer in refused {
        let Err(answer) = answer else {
            continue;
        };
        assert_eq!(answer.status, 409, "{}", answer.body);
    }
    eventually("one node has it", || fleet.homes("cam").len() == 1);
}

#[test]
fn publishers_are_spread_and_go_where_they_are_sent() {
    let fleet = Fleet::start(3, &[]);
    let http = fleet.http();
    let publish = |stream: &str| Client::start(http, stream, Wish::publish().without_audio());
    let all: Vec<_> = (0..6).map(|n| publish(&format!("s{n}"))).collect();
    let homes: Vec<_> = all.iter().map(Fleet::home).collect();
    for home in ["a", "b", "c"] {
        let count = all
            .iter()
            .filter(|client| Fleet::home(client) == home)
            .count();
        assert_eq!(count, 2, "on {home}: {homes:?} {}", fleet.manager.errors());
    }
    // By the path and by the query.
    let offer = offer_text(&Wish::publish());
    let sdp = Some(("application/sdp", offer.as_str()));
    for (path, home) in [
        ("/api/whip/b/x1", "b"),
        ("/whip/x2?nodes=c", "c"),
        ("/whip/x3?nodes=a&nodes=zz", "a"),
    ] {
        let answer = request(http, "POST", path, sdp).expect("an answer");
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        let location = answer.header("location").expect("a location");
        assert!(
            location.contains(&format!("/{home}~")),
            "{path}: {location}"
        );
        let ended = request(http, "DELETE", location, None).expect("an answer");
        assert_eq!(ended.status, 204);
    }
    for path in ["/api/whip/zz/x", "/whip/x?nodes=zz", "/whip/x?nodes=%C3%A4"] {
        let answer = request(http, "POST", path, sdp).expect("an answer");
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
    }
    let nobody = request(http, "POST", "/whep/none", sdp).expect("an answer");
    assert_eq!(nobody.status, 404, "{}", nobody.body);
}

#[test]
fn a_manager_may_say_where_to_go_instead() {
    let fleet = Fleet::start_with(2, &[], &["--set", "manager.calls=redirect"]);
    let offer = offer_text(&Wish::publish());
    let sdp = Some(("application/sdp", offer.as_str()));
    let answer = request(fleet.http(), "POST", "/whip/cam%2F1", sdp).expect("an answer");
    assert_eq!(answer.status, 307, "{}", answer.body);
    let there = answer.header("location").expect("a location").to_owned();
    let nodes = fleet.nodes.iter();
    let mut urls = nodes.map(|(_, node)| format!("http://{}/whip/cam%2F1", node.http()));
    assert!(urls.any(|url| url == there), "{there}");
}

#[test]
fn regions_are_where_publishers_and_viewers_want_to_be() {
    let near = Process::serving(&["--shards", "1"]);
    let far = Process::serving(&["--shards", "1"]);
    let nodes = [
        format!("near=http://{},region=eu", near.http()),
        format!("far=http://{},region=us", far.http()),
    ];
    let manager = Process::start(&[
        "manager",
        "--listen",
        "127.0.0.1:0",
        "--node",
        &nodes[0],
        "--node",
        &nodes[1],
    ]);
    manager.wait_for("Page");
    let http = manager.http();
    eventually("both run", || {
        let all = get(http, "/api/nodes/");
        let all = all.as_array().expect("a list").clone();
        all.iter()
            .filter(|node| node["status"] == "running")
            .count()
            == 2
    });
    let homes: BTreeSet<_> = ["eu", "us", "eu", "us"]
        .iter()
        .enumerate()
        .map(|(number, region)| {
            let stream = format!("s{number}?region={region}");
            let client = Client::start(http, &stream, Wish::publish().without_audio());
            (*region, Fleet::home(&client))
        })
        .collect();
    let wanted = [("eu", "near".to_owned()), ("us", "far".to_owned())];
    assert_eq!(homes, wanted.into());
}

#[test]
fn embedded_nodes_come_and_go_with_the_manager() {
    let mut manager = Process::start(&[
        "manager",
        "--listen",
        "127.0.0.1:0",
        "--embedded",
        "2",
        "--set",
        "media.udp=127.0.0.1:0",
    ]);
    manager.wait_for("Page");
    let http = manager.http();
    eventually("both run", || {
        let all = get(http, "/api/nodes/");
        let all = all.as_array().expect("a list").clone();
        all.iter()
            .filter(|node| node["status"] == "running")
            .count()
            == 2
    });
    let nodes = get(http, "/api/nodes/");
    let publisher = Client::start(http, "cam", Wish::publish());
    let viewer = Client::start(http, "cam", Wish::watch());
    watched(&viewer, 10);
    assert_eq!(publisher.seen().corrupt, 0);
    manager.terminate();
    eventually("the peers are told", || {
        viewer.seen().closed && publisher.seen().closed
    });
    assert_eq!(manager.end().code(), Some(0), "{}", manager.errors());
    for node in nodes.as_array().expect("a list") {
        let url = node["url"].as_str().expect("a URL");
        let address = url
            .strip_prefix("http://")
            .expect("http")
            .parse()
            .expect("an address");
        assert!(
            request(address, "GET", "/healthz", None).is_err(),
            "{url} still answers"
        );
    }
}
