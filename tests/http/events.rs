//! The WHEP extensions: server-sent events and layer selection.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use whitewater_control::Redirects;
use whitewater_link::{Event, SessionState, Traffic};

use crate::fake::epoch_of;
use crate::world::{Made, OFFER, World, made};

const EVENTS_REL: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
const LAYER_REL: &str = "urn:ietf:params:whep:ext:core:layer";

/// An open poll.
pub(crate) struct Poll {
    stream: TcpStream,
    text: String,
    read: usize,
}

impl Poll {
    pub(crate) async fn open(world: &World, url: &str, last: Option<u64>) -> Self {
        let mut stream = TcpStream::connect(world.at).await.expect("connect");
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let head = format!("GET {url} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).await.expect("write");
        let mut poll = Poll {
            stream,
            text: String::new(),
            read: 0,
        };
        while !poll.text.contains("\r\n\r\n") {
            assert!(poll.more().await, "{}", poll.text);
        }
        let head = poll.text.to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        poll
    }

    /// False at the end.
    async fn more(&mut self) -> bool {
        let mut part = [0; 4096];
        let reading = self.stream.read(&mut part);
        let within = tokio::time::timeout(Duration::from_secs(10), reading).await;
        let size = within.expect("in time").unwrap_or(0);
        self.text += &String::from_utf8_lossy(&part[..size]);
        size > 0
    }

    /// The next event: type, data, id.
    pub(crate) async fn next(&mut self) -> (String, Value, u64) {
        loop {
            let rest = &self.text[self.read..];
            if let Some(at) = rest.find("event: ")
                && let Some(end) = rest[at..].find("\n\n")
            {
                let block = rest[at..at + end].to_owned();
                self.read += at + end + 2;
                return parse(&block);
            }
            assert!(self.more().await, "over after {}", self.text);
        }
    }

    /// The next event of one of these types.
    async fn next_of(&mut self, kinds: &[&str]) -> (String, Value, u64) {
        loop {
            let event = self.next().await;
            if kinds.contains(&event.0.as_str()) {
                return event;
            }
        }
    }

    /// RFC 9112 §7.1: the last chunk, since the connection stays.
    pub(crate) async fn ends(mut self) {
        while !self.text.ends_with("\r\n0\r\n\r\n") && self.more().await {}
    }
}

fn parse(block: &str) -> (String, Value, u64) {
    let field = |name: &str| {
        let mut lines = block.lines().filter_map(|line| line.strip_prefix(name));
        let value = lines.next().expect("there").to_owned();
        assert_eq!(lines.next(), None, "one line of {name} in {block}");
        value
    };
    let data = serde_json::from_str(&field("data: ")).expect("JSON");
    (field("event: "), data, field("id: ").parse().expect("id"))
}

/// A publisher that is connected, and a viewer.
pub(crate) async fn watched(world: &World) -> (Made, Made) {
    let publisher = world.publish("a").await;
    world.plane.state(publisher.id, SessionState::Connected);
    world
        .until("it is connected", async || {
            let stream = world.stream("a").await.expect("published");
            stream["publish"]["sessions"][0]["state"] == "connected"
        })
        .await;
    (publisher, world.watch("a").await)
}

pub(crate) async fn subscribe(world: &World, session: &Made, names: &str) -> String {
    let url = format!("{}/events", session.location);
    let reply = world.post_json(&url, names).await.expect(201);
    let location = reply.header("location").to_owned();
    assert!(location.starts_with(&format!("{url}/")), "{location}");
    location
}

#[tokio::test]
async fn x_sse_1_and_x_lay_1_the_extensions_are_told_by_link_to_viewers() {
    let world = World::new().await;
    let publisher = world.post_sdp("/whip/a", OFFER).await.expect(201);
    assert!(!publisher.has("link"), "nothing for publishers");
    let reply = world.post_sdp("/whep/a", OFFER).await;
    let session = made(&reply);
    let links: Vec<_> = reply.headers.get_all("link").iter().collect();
    let events = format!(
        "<{}/events>; rel=\"{EVENTS_REL}\"; \
         events=\"active,inactive,layers,level,reconnect,speaking,viewercount\"",
        session.location
    );
    assert_eq!(links[0], events.as_str());
    let layer = format!("<{}/layer>; rel=\"{LAYER_REL}\"", session.location);
    assert_eq!(links[1], layer.as_str());
    assert_eq!(links.len(), 2);
}

#[tokio::test]
async fn x_sse_3_and_6_an_event_stream_is_made_and_read() {
    let world = World::new().await;
    let (_, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["active","viewercount"]"#).await;
    let mut poll = Poll::open(&world, &url, None).await;
    let (kind, data, id) = poll.next().await;
    assert_eq!(
        (kind.as_str(), data, id),
        ("active", serde_json::json!({}), 1)
    );
    let (kind, data, _) = poll.next().await;
    assert_eq!(kind, "viewercount");
    assert_eq!(data, serde_json::json!({ "viewercount": 1 }));
}

#[tokio::test]
async fn x_sse_2_without_a_body_all_events_are_meant() {
    let world = World::new().await;
    let (_, viewer) = watched(&world).await;
    let url = format!("{}/events", viewer.location);
    let reply = world.send("POST", &url, &[], "").await.expect(201);
    let mut poll = Poll::open(&world, reply.header("location"), None).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(poll.next().await.0);
    }
    kinds.sort();
    assert_eq!(kinds, ["active", "layers", "viewercount"]);
}

#[tokio::test]
async fn x_sse_4_events_that_are_not_offered_are_400_and_make_nothing() {
    let world = World::new().await;
    let (_, viewer) = watched(&world).await;
    let url = format!("{}/events", viewer.location);
    for body in [
        r#"["active","scte35"]"#,
        r#"["Active"]"#,
        r#"[""]"#,
        r#"{"active":true}"#,
        r#"[1]"#,
        "[",
    ] {
        world.post_json(&url, body).await.problem(400);
    }
    let headers = [("content-type", "text/plain")];
    let reply = world.send("POST", &url, &headers, "[]").await;
    reply.problem(415);
    // None of them took a place.
    for _ in 0..4 {
        subscribe(&world, &viewer, r#"["active"]"#).await;
    }
    let reply = world.post_json(&url, "[]").await;
    reply.problem(429);
    assert!(reply.has("retry-after"));
}

#[tokio::test]
async fn x_sse_5_only_what_was_asked_for_is_queued_and_it_waits_for_the_poll() {
    let world = World::new().await;
    let (publisher, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["inactive"]"#).await;
    world.delete(&publisher.location).await.expect(204);
    world.watch("a").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (second, _) = watched(&world).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.delete(&second.location).await.expect(204);
    let mut poll = Poll::open(&world, &url, None).await;
    assert_eq!(poll.next().await.0, "inactive");
    let (kind, _, id) = poll.next().await;
    assert_eq!((kind.as_str(), id), ("inactive", 2));
    // A player that was cut off names the last one it had.
    let mut again = Poll::open(&world, &url, Some(1)).await;
    assert_eq!(again.next().await.2, 2);
    poll.ends().await;
}

#[tokio::test]
async fn x_sse_8_after_delete_there_is_nothing_to_poll() {
    let world = World::new().await;
    let (_, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["active"]"#).await;
    let poll = Poll::open(&world, &url, None).await;
    world.delete(&url).await.expect(204);
    poll.ends().await;
    world.get(&url).await.problem(404);
    world.delete(&url).await.problem(404);
    world.get(&viewer.location).await.expect(204);
}

#[tokio::test]
async fn x_sse_9_event_streams_die_with_their_session() {
    let world = World::new().await;
    let (_, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["active"]"#).await;
    let poll = Poll::open(&world, &url, None).await;
    world.delete(&viewer.location).await.expect(204);
    poll.ends().await;
    world.get(&url).await.problem(404);
}

#[tokio::test]
async fn x_sse_10_active_and_inactive_follow_the_publisher_and_never_start_inactive() {
    let world = World::new().await;
    let viewer = world.watch("a").await;
    let url = subscribe(&world, &viewer, r#"["active","inactive","viewercount"]"#).await;
    let mut poll = Poll::open(&world, &url, None).await;
    assert_eq!(
        poll.next().await.0,
        "viewercount",
        "nothing about a publisher"
    );
    let (publisher, _) = watched(&world).await;
    let both = ["active", "inactive"];
    assert_eq!(poll.next_of(&both).await.0, "active");
    world.delete(&publisher.location).await.expect(204);
    assert_eq!(poll.next_of(&both).await.0, "inactive");
    watched(&world).await;
    assert_eq!(poll.next_of(&both).await.0, "active");
}

#[tokio::test]
async fn x_sse_11_layers_are_told_by_m_line_with_their_bit_rate() {
    let world = World::new().await;
    let (publisher, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["layers"]"#).await;
    let mut poll = Poll::open(&world, &url, None).await;
    let (_, data, _) = poll.next().await;
    let layer = serde_json::json!({ "spatialLayerId": 0, "temporalLayerId": 0, "bitrate": 0 });
    assert_eq!(data, serde_json::json!({ "0": [layer] }), "not active yet");
    let mut bytes = 0;
    let (kind, data, _) = loop {
        bytes += 50_000;
        let traffic = Traffic { packets: 50, bytes };
        world.plane.count(publisher.id, traffic);
        let wait = tokio::time::timeout(Duration::from_millis(100), poll.next());
        if let Ok(event) = wait.await {
            break event;
        }
    };
    assert_eq!(kind, "layers");
    assert!(data["0"][0]["bitrate"].as_u64() > Some(0), "{data}");
    world.delete(&publisher.location).await.expect(204);
    let (_, data, _) = poll.next().await;
    assert_eq!(data, serde_json::json!({ "0": [] }));
}

#[tokio::test]
async fn x_sse_13_players_are_asked_to_reconnect_when_the_server_goes() {
    let mut world = World::with(|config| {
        config.redirects = Redirects::default();
    })
    .await;
    let (_, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["reconnect"]"#).await;
    let mut poll = Poll::open(&world, &url, None).await;
    world.begin_shutdown();
    let (kind, data, _) = poll.next().await;
    assert_eq!((kind.as_str(), data), ("reconnect", serde_json::json!({})));
}

#[tokio::test]
async fn x_sse_13_a_viewer_without_the_new_publishers_codec_is_asked_to_reconnect_once() {
    let world = World::new().await;
    let viewer = world.watch("a").await;
    let (_, late) = watched(&world).await;
    let epoch = world.plane.seen(|seen| epoch_of(seen.negotiated[1].2));
    let names = r#"["reconnect","viewercount"]"#;
    let early_url = subscribe(&world, &viewer, names).await;
    let late_url = subscribe(&world, &late, r#"["reconnect"]"#).await;
    for session in [late.id, viewer.id] {
        world.plane.tell(Event::Uncarried { session, epoch });
    }
    let mut poll = Poll::open(&world, &early_url, None).await;
    assert_eq!(poll.next_of(&["reconnect"]).await.0, "reconnect");
    // Who came under this publisher would come back to the same.
    let mut poll = Poll::open(&world, &late_url, None).await;
    let none = tokio::time::timeout(Duration::from_millis(500), poll.next()).await;
    assert!(none.is_err(), "{none:?}");
}

#[tokio::test]
async fn events_are_for_the_viewer_who_asks() {
    let world = World::new().await;
    let (publisher, viewer) = watched(&world).await;
    let url = format!("{}/events", publisher.location);
    world.post_json(&url, "[]").await.problem(409);
    let own = subscribe(&world, &viewer, "[]").await;
    let other = world.watch("a").await;
    let id = own.rsplit('/').next().expect("an id");
    let foreign = format!("{}/events/{id}", other.location);
    world.get(&foreign).await.problem(404);
    world.get(&format!("{own}0")).await.problem(404);
    world.send("PUT", &own, &[], "").await.problem(405);
}

#[tokio::test]
async fn x_lay_2_and_3_a_layer_that_is_there_can_be_chosen_and_left_to_the_server_again() {
    let world = World::new().await;
    let (_, viewer) = watched(&world).await;
    let url = format!("{}/layer", viewer.location);
    for wish in [
        r#"{"mediaId":"0","spatialLayerId":0,"temporalLayerId":0}"#,
        r#"{"maxSpatialLayerId":0,"maxTemporalLayerId":3,"maxWidth":640,"maxHeight":360}"#,
        r#"{"spatialLayerId":0.0,"maxWidth":640.0,"maxHeight":3.6e2,"rid":null}"#,
        r#"{"mediaId":"0"}"#,
        r#"{}"#,
        r#"{"unknown":[1,2]}"#,
    ] {
        world.post_json(&url, wish).await.expect(200);
    }
}

#[tokio::test]
async fn x_lay_5_what_cannot_be_chosen_is_refused() {
    let world = World::new().await;
    let (publisher, viewer) = watched(&world).await;
    let url = format!("{}/layer", viewer.location);
    for wish in [
        r#"{"rid":"h"}"#,
        r#"{"encodingId":"h"}"#,
        r#"{"spatialLayerId":1}"#,
        r#"{"temporalLayerId":2}"#,
        r#"{"mediaId":"1"}"#,
        r#"{"mediaId":"x"}"#,
        r#"{"spatialLayerId":"0"}"#,
        r#"{"maxWidth":-1}"#,
        r#"{"maxWidth":640.5}"#,
        r#"{"maxWidth":4294967296.0}"#,
    ] {
        world.post_json(&url, wish).await.problem(422);
    }
    world.post_json(&url, "{").await.problem(400);
    world.send("POST", &url, &[], "{}").await.problem(415);
    let gone = url.replace(&viewer.id.to_string(), &"0".repeat(32));
    world.post_json(&gone, "{}").await.problem(404);
    let url = format!("{}/layer", publisher.location);
    world.post_json(&url, "{}").await.problem(409);
}

#[tokio::test]
async fn x_lay_2_without_a_publisher_there_is_no_layer_to_choose() {
    let world = World::new().await;
    let viewer = world.watch("a").await;
    let url = format!("{}/layer", viewer.location);
    let wish = r#"{"spatialLayerId":0}"#;
    world.post_json(&url, wish).await.problem(422);
    world.post_json(&url, "{}").await.expect(200);
}
