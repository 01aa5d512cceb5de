//! Live777's API: every route, good and bad, and what the original gets wrong.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use whitewater_link::{MediaKind, SessionState, Traffic};

use crate::world::World;

#[tokio::test]
async fn streams_are_made_shown_and_destroyed() {
    let world = World::new().await;
    assert_eq!(
        world.get("/api/streams/").await.expect(200).json(),
        json!([])
    );
    for path in ["/api/streams/b", "/api/streams/a/"] {
        let reply = world.send("POST", path, &[], "").await.expect(204);
        assert!(reply.body.is_empty() && !reply.has("content-type"));
        world.send("POST", path, &[], "").await.problem(409);
    }
    let stream = world.stream("a").await.expect("made");
    let created = stream["createdAt"].as_u64().expect("a time");
    let none = json!({"bytes": 0, "packets": 0, "bitrate": 0});
    assert_eq!(
        stream,
        json!({
            "id": "a", "createdAt": created,
            "publish": {"leaveAt": 0, "sessions": []},
            "subscribe": {"leaveAt": created, "sessions": []},
            "codecs": [], "provisioned": false, "onDemand": false,
            "stats": {"publish": none, "subscribe": none}, "statsScope": "node",
        })
    );
    for path in ["/api/streams", "/api/streams/"] {
        let list = world.get(path).await.expect(200);
        assert_eq!(list.header("content-type"), "application/json");
        assert_eq!(ids(&list.json()), ["a", "b"], "sorted");
    }
    world.delete("/api/streams/a").await.expect(204);
    world.delete("/api/streams/a").await.problem(404);
    world.get("/api/streams/a").await.problem(404);
    let reply = world.send("PUT", "/api/streams/b", &[], "").await;
    reply.problem(405);
    assert!(reply.header("allow").contains("DELETE"));
    let reply = world.send("POST", "/api/streams/", &[], "").await;
    reply.problem(405);
    assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("an array");
    let id = |stream: &Value| stream["id"].as_str().expect("an id").to_owned();
    list.iter().map(id).collect()
}

#[tokio::test]
async fn the_list_can_be_filtered() {
    let world = World::new().await;
    for name in ["a", "b", "c%2Fd"] {
        world
            .send("POST", &format!("/api/streams/{name}"), &[], "")
            .await
            .expect(204);
    }
    let list = async |query: &str| ids(&world.get(&format!("/api/streams/?{query}")).await.json());
    assert_eq!(
        list("streams=b&streams=c%2Fd&streams=x").await,
        ["b", "c/d"]
    );
    assert_eq!(list("streams=x").await, [""; 0]);
    assert_eq!(list("other=x").await, ["a", "b", "c/d"]);
    world.get("/api/streams/?streams=%ff").await.problem(400);
}

#[tokio::test]
async fn a_session_is_shown_with_exactly_these_members() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    let viewer = world.watch("a").await;
    world.plane.state(publisher.id, SessionState::Connected);
    world.plane.count(
        publisher.id,
        Traffic {
            packets: 10,
            bytes: 5000,
        },
    );
    world
        .until("the report arrived", async || {
            let stream = world.stream("a").await.expect("a stream");
            stream["stats"]["publish"]["bytes"] == 5000
        })
        .await;
    let mut stream = world.stream("a").await.expect("a stream");
    let mut session = stream["publish"]["sessions"][0].take();
    let created = session["createdAt"].take();
    assert!(created.as_u64().expect("a time") > 1_600_000_000_000);
    session["stats"]["bitrate"].take();
    assert_eq!(
        session,
        json!({
            "id": publisher.id.to_string(), "createdAt": null, "leaveAt": 0,
            "state": "connected", "hasDataChannel": false,
            "stats": {"bytes": 5000, "packets": 10, "bitrate": null},
        })
    );
    assert_eq!(stream["publish"]["leaveAt"], 0);
    assert_eq!(stream["subscribe"]["leaveAt"], 0);
    assert_eq!(
        stream["subscribe"]["sessions"][0]["id"],
        viewer.id.to_string()
    );
    assert_eq!(stream["subscribe"]["sessions"][0]["state"], "new");
    assert_eq!(
        stream["codecs"],
        json!([{"kind": "video", "codec": "VP8", "fmtp": ""}])
    );
}

#[tokio::test]
async fn traffic_of_sessions_that_left_stays_in_the_stream() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    world.plane.count(
        publisher.id,
        Traffic {
            packets: 10,
            bytes: 5000,
        },
    );
    world
        .until("the report arrived", async || {
            let stream = world.stream("a").await.expect("a stream");
            stream["stats"]["publish"]["packets"] == 10
        })
        .await;
    world.delete(&publisher.location).await.expect(204);
    let stream = world.stream("a").await.expect("a stream");
    let stats = &stream["stats"]["publish"];
    assert_eq!(*stats, json!({"bytes": 5000, "packets": 10, "bitrate": 0}));
    assert_eq!(stream["codecs"], json!([]));
}

#[tokio::test]
async fn destroying_a_stream_ends_all_its_sessions() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    let viewer = world.watch("a").await;
    let other = world.publish("b").await;
    world.delete("/api/streams/a").await.expect(204);
    for session in [publisher, viewer] {
        world.get(&session.location).await.problem(404);
    }
    world.get(&other.location).await.expect(204);
    world
        .until("the data plane has let go", async || {
            world
                .plane
                .seen(|seen| seen.destroyed.len() == 1 && seen.live == 1)
        })
        .await;
}

#[tokio::test]
async fn streams_brought_along_go_when_empty_and_made_ones_stay() {
    let world = World::with(|config| {
        config.policy.orphan_grace = Duration::from_millis(100);
    })
    .await;
    world
        .send("POST", "/api/streams/made", &[], "")
        .await
        .expect(204);
    for session in [world.publish("auto").await, world.publish("made").await] {
        world.delete(&session.location).await.expect(204);
    }
    world
        .until("it goes", async || world.stream("auto").await.is_none())
        .await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(world.stream("made").await.is_some());
}

#[tokio::test]
async fn strategy_and_information_are_told() {
    let world = World::with(|config| {
        config.policy.auto_delete_whip = Some(Duration::from_millis(1500));
        config.about.git_hash = "abc".into();
        config.about.udp_port = 7777;
    })
    .await;
    for path in ["/api/strategy", "/api/strategy/"] {
        assert_eq!(
            world.get(path).await.expect(200).json(),
            json!({
                "each_stream_max_sub": 65535, "cascade_push_close_sub": false,
                "auto_create_whip": true, "auto_create_whep": true,
                "auto_delete_whip": 1500, "auto_delete_whep": -1,
            })
        );
    }
    let info = world.get("/api/info").await.expect(200).json();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["gitHash"], "abc");
    assert_eq!(info["features"], json!([]));
    assert_eq!(info["udpPort"], 7777);
    assert!(info["buildTime"].is_string());
}

#[tokio::test]
async fn media_can_be_muted_by_kind() {
    let world = World::new().await;
    let session = world.watch("a").await;
    let mute = async |json: &str| world.post_json(&session.location, json).await;
    let reply = mute(r#"{"kind":"video","enabled":false}"#)
        .await
        .expect(200);
    assert_eq!(reply.text(), "{}");
    mute(r#"{"kind":"audio","enabled":true}"#).await.expect(200);
    mute(r#"{"kind":"foo","enabled":true}"#).await.problem(422);
    mute(r#"{"kind":"video"}"#).await.problem(422);
    mute("[]").await.problem(422);
    mute("{").await.problem(400);
    mute("").await.problem(400);
    mute(&format!("{{\"kind\":\"{}\"}}", "x".repeat(70_000)))
        .await
        .problem(413);
    world
        .send("POST", &session.location, &[], "{}")
        .await
        .problem(415);
    let unknown = format!("/session/a/{:032x}", 1);
    world.post_json(&unknown, "{}").await.problem(404);
    world
        .until("the data plane heard", async || {
            world.plane.seen(|seen| {
                seen.muted
                    == [
                        (session.id, MediaKind::Video, true),
                        (session.id, MediaKind::Audio, false),
                    ]
            })
        })
        .await;
}

#[tokio::test]
async fn layers_without_simulcast_are_off_and_on() {
    let world = World::new().await;
    let viewer = world.watch("a").await;
    let layer = format!("{}/layer", viewer.location);
    world.get(&layer).await.problem(409);
    let reply = world.delete(&layer).await.expect(200);
    assert!(reply.body.is_empty());
    world
        .post_json(&layer, r#"{"encodingId":null}"#)
        .await
        .expect(200);
    world
        .post_json(&format!("{layer}/"), r#"{"mediaId":"0"}"#)
        .await
        .expect(200);
    world
        .post_json(&layer, r#"{"encodingId":"h"}"#)
        .await
        .problem(422);
    world.post_json(&layer, r#"{"rid":"h"}"#).await.problem(422);
    world.post_json(&layer, "nonsense").await.problem(400);
    world.send("POST", &layer, &[], "{}").await.problem(415);
    world.get("/session/a/0/layer").await.problem(404);
    world
        .delete(&format!("/session/b/{}/layer", viewer.id))
        .await
        .problem(404);
    let publisher = world.publish("a").await;
    world
        .delete(&format!("{}/layer", publisher.location))
        .await
        .problem(409);
    world
        .until("the data plane heard", async || {
            world.plane.seen(|seen| {
                let video = |muted| (viewer.id, MediaKind::Video, muted);
                seen.muted == [video(true), video(false), video(false)]
            })
        })
        .await;
}

#[tokio::test]
async fn cascade_arguments_are_checked() {
    let world = World::new().await;
    world.publish("a").await;
    let cascade = async |stream: &str, json: &str| {
        world
            .post_json(&format!("/api/cascade/{stream}"), json)
            .await
    };
    let both = r#"{"sourceUrl":"http://x/whep/a","targetUrl":"http://x/whip/a"}"#;
    cascade("a", "{}").await.problem(400);
    cascade("a", r#"{"token":"t","sourceUrl":"","targetUrl":""}"#)
        .await
        .problem(400);
    cascade("a", both).await.problem(400);
    cascade("a", r#"{"src":"x","dst":"y"}"#).await.problem(400);
    cascade("a", r#"{"sourceUrl":"http://x"}"#)
        .await
        .problem(409);
    cascade("b", r#"{"targetUrl":"http://x"}"#)
        .await
        .problem(404);
    cascade("b", r#"{"sourceUrl":"ftp://x"}"#)
        .await
        .problem(400);
    cascade("b", r#"{"sourceUrl":"http://me:secret@x/whep/a"}"#)
        .await
        .problem(400);
    cascade(
        "b",
        r#"{"sourceUrl":"https://127.0.0.1/whep/a","token":"a\nb"}"#,
    )
    .await
    .problem(400);
    // This machine and its networks are not called on anybody's wish.
    cascade("b", r#"{"sourceUrl":"http://127.0.0.1:1/whep/a"}"#)
        .await
        .problem(422);
    cascade("a", r#"{"sourceUrl":7}"#).await.problem(422);
    cascade("a", "nonsense").await.problem(400);
    world
        .send("POST", "/api/cascade/a", &[], "{}")
        .await
        .problem(415);
    world.delete("/api/cascade/a").await.problem(405);
    let links = world.get("/api/cascade/a").await.expect(200).json();
    assert_eq!(
        links,
        serde_json::json!([]),
        "nothing of all that was taken up"
    );
    assert_eq!(world.stream("b").await, None, "no stream is left behind");
}

#[tokio::test]
async fn metrics_tell_ours_and_the_originals_names() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    world.watch("a").await;
    let gone = world.watch("a").await;
    world.delete(&gone.location).await.expect(204);
    world.plane.count(
        publisher.id,
        Traffic {
            packets: 10,
            bytes: 5000,
        },
    );
    let has = async |line: &str| {
        let reply = world.get("/metrics").await.expect(200);
        reply.text().lines().any(|one| one == line)
    };
    world
        .until("the report arrived", async || {
            has("live777_rtp_bytes_total{direction=\"in\"} 5000").await
        })
        .await;
    for line in [
        "live777_stream 1",
        "live777_publish 1",
        "live777_subscribe 1",
        "live777_reforward 0",
        "whitewater_rtp_packets_total{direction=\"in\"} 10",
        "whitewater_sessions_opened_total{side=\"subscribe\"} 2",
        "whitewater_sessions_ended_total{reason=\"deleted\"} 1",
        "whitewater_shard_turns_total{shard=\"1\"} 7",
        "whitewater_shard_drops_total{shard=\"0\",reason=\"unknown-peer\"} 3",
        "# TYPE whitewater_http_responses_total counter",
    ] {
        assert!(has(line).await, "{line}");
    }
    let reply = world.get("/metrics").await;
    assert!(
        reply
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(!reply.text().contains(&publisher.id.to_string()));
}

/// A client of the event stream.
struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    async fn open(world: &World, query: &str) -> Self {
        let mut stream = TcpStream::connect(world.at).await.expect("connect");
        let request = format!("GET /api/sse/streams{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        Events {
            lines: BufReader::new(stream),
        }
    }

    /// The next event's stream ids.
    async fn next(&mut self) -> Vec<String> {
        let mut line = String::new();
        loop {
            line.clear();
            let read =
                tokio::time::timeout(Duration::from_secs(10), self.lines.read_line(&mut line));
            let size = read.await.expect("an event").expect("read");
            assert!(size > 0, "the stream ended");
            if let Some(json) = line.strip_prefix("data: ") {
                return ids(&serde_json::from_str(json).expect("JSON"));
            }
        }
    }
}

#[tokio::test]
async fn events_tell_the_list_at_once_and_then_its_changes() {
    let world = World::new().await;
    let mut events = Events::open(&world, "").await;
    assert_eq!(events.next().await, [""; 0]);
    world
        .send("POST", "/api/streams/a", &[], "")
        .await
        .expect(204);
    assert_eq!(events.next().await, ["a"]);
    let told = tokio::time::Instant::now();
    for name in ["b", "c", "d"] {
        world
            .send("POST", &format!("/api/streams/{name}"), &[], "")
            .await
            .expect(204);
    }
    assert_eq!(
        events.next().await,
        ["a", "b", "c", "d"],
        "one event for all three"
    );
    assert!(
        told.elapsed() >= Duration::from_millis(900),
        "at most one a second"
    );
}

#[tokio::test]
async fn events_can_be_filtered() {
    let world = World::new().await;
    world
        .send("POST", "/api/streams/a", &[], "")
        .await
        .expect(204);
    let mut events = Events::open(&world, "?streams=b&streams=c").await;
    assert_eq!(events.next().await, [""; 0]);
    world
        .send("POST", "/api/streams/x", &[], "")
        .await
        .expect(204);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world
        .send("POST", "/api/streams/c", &[], "")
        .await
        .expect(204);
    assert_eq!(events.next().await, ["c"], "x was no news");
    let reply = world.get("/api/sse/streams?streams=%ff").await;
    reply.problem(400);
}

#[tokio::test]
async fn one_rendering_serves_all_event_clients() {
    let world = World::new().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Events::open(&world, "").await);
    }
    for client in &mut clients {
        client.next().await;
    }
    world
        .send("POST", "/api/streams/a", &[], "")
        .await
        .expect(204);
    for client in &mut clients {
        assert_eq!(client.next().await, ["a"]);
    }
    let metrics = world.get("/metrics").await;
    let count = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("whitewater_stream_list_renderings_total "));
    assert_eq!(
        count,
        Some("2"),
        "the empty list and the one with the stream"
    );
}
