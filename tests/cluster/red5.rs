//! Red5's Stream Manager at the manager, and its paths at the nodes.

use serde_json::Value;

use crate::client::{Client, Wish, offer_text};
use crate::fleet::{Fleet, watched};
use crate::http::request;
use crate::node::{Process, eventually};

const EVENT: &str = "/streammanager/api/2.0/event";

/// Status and JSON of a GET.
fn ask(fleet: &Fleet, path: &str) -> (u16, Value) {
    let answer = request(fleet.http(), "GET", path, None).expect("an answer");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{path}"
    );
    (
        answer.status,
        serde_json::from_str(&answer.body).expect("JSON"),
    )
}

#[test]
fn lookups_lead_to_nodes_and_lists_tell_what_is_live() {
    let fleet = Fleet::start(2, &["--region", "eu-1"]);
    let at = |rest: &str| format!("{EVENT}/{rest}");
    assert_eq!(ask(&fleet, &at("list")), (200, Value::Array(Vec::new())));
    for (rest, status) in [
        ("live/demo?action=subscribe", 404),
        ("live/demo/stats", 404),
        ("live/demo?action=watch", 400),
        ("live/demo", 400),
        ("live/d%C3%A9mo?action=broadcast", 400),
        ("live", 404),
        ("live/demo?action=broadcast&region=us&strict=true", 404),
    ] {
        let (found, body) = ask(&fleet, &at(rest));
        assert_eq!(found, status, "{rest}: {body}");
        assert!(
            body["errorMessage"].is_string() && body["timestamp"].is_u64(),
            "{body}"
        );
    }
    let (status, _) = ask(&fleet, "/streammanager/api/9.9/event/list");
    assert_eq!(status, 404);
    eventually("the nodes said where they are", || {
        ask(&fleet, &at("live/demo?action=broadcast")).1["region"] == "eu-1"
    });
    let (status, place) = ask(&fleet, &at("live/demo?action=broadcast&region=eu-1"));
    assert_eq!(status, 200, "{place}");
    assert_eq!(
        (&place["name"], &place["scope"]),
        (&"demo".into(), &"/live".into())
    );
    assert_eq!(place["serverAddress"], "127.0.0.1");
    // Whoever asks again is told the same.
    let (_, again) = ask(&fleet, &at("live/demo?action=broadcast"));
    assert_eq!(again["whipUrl"], place["whipUrl"]);
    let url = place["whipUrl"].as_str().expect("a URL");
    let node = url
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/whip/demo"));
    let node = node.expect("a node's URL").parse().expect("an address");
    let _publisher = Client::start(node, "demo", Wish::publish());
    eventually("it is live", || {
        ask(&fleet, &at("live/demo/stats")).0 == 200
    });
    let (_, stats) = ask(&fleet, &at("live/demo/stats"));
    assert_eq!(stats["currentSubscribers"], 0);
    assert!(
        stats["startTime"]
            .as_u64()
            .is_some_and(|time| time > 1_700_000_000_000)
    );
    let (_, list) = ask(&fleet, &at("list"));
    assert_eq!(list[0]["name"], "demo");
    assert_eq!(list[0].get("startTime"), None);
    let (_, list) = ask(&fleet, &at("list/stats"));
    assert_eq!(list[0]["startTime"], stats["startTime"]);
    let (status, place) = ask(&fleet, &at("live/demo?action=subscribe"));
    assert_eq!(status, 200, "{place}");
    assert_eq!(place["whepUrl"], format!("http://{node}/whep/demo"));
}

#[test]
fn nodes_take_red5s_paths() {
    let node = Process::serving(&["--shards", "1"]);
    let http = node.http();
    let offer = offer_text(&Wish::publish());
    for (path, stream) in [
        ("/live/whip/endpoint/demo", "/session/demo/"),
        ("/conf/whip/endpoint/demo", "/session/conf%2Fdemo/"),
    ] {
        let answer = request(http, "POST", path, Some(("application/sdp", &offer)));
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        let location = answer.header("location").expect("a location");
        assert!(location.starts_with(stream), "{location}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let _publisher = Client::start(http, "live2", Wish::publish());
    let watch = offer_text(&Wish::watch());
    let answer = request(
        http,
        "POST",
        "/live/whep/endpoint/live2?resourceId=1",
        Some(("application/sdp", &watch)),
    );
    assert_eq!(answer.expect("an answer").status, 201);
    watched(&Client::start(http, "live2", Wish::watch()), 3);
}

#[test]
fn the_admin_route_needs_its_token() {
    let node = Process::serving(&["--shards", "1"]);
    let entry = format!("[\"a=http://{}\"]", node.http());
    let variables = [
        ("WHITEWATER_MANAGER_NODES", entry.as_str()),
        ("WHITEWATER_MANAGER_RED5_TOKEN", "hush-red"),
    ];
    let manager = Process::start_with(&variables, &["manager", "--listen", "127.0.0.1:0"]);
    manager.wait_for("Page");
    let http = manager.http();
    let send = |query: &str| {
        let path = format!("/streammanager/api/2.0/admin/event{query}");
        request(http, "DELETE", &path, None).expect("an answer")
    };
    for query in ["", "?accessToken=", "?accessToken=wrong"] {
        let answer = send(query);
        assert_eq!(answer.status, 401, "{}", answer.body);
        assert!(answer.body.contains("errorMessage"));
    }
    let answer = send("?accessToken=hush-red");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("\"count\":0"), "{}", answer.body);
    assert!(!manager.errors().contains("hush-red"));
}
