//! Taking a server out of service.

use std::time::Duration;

use serde_json::json;
use whitewater_control::Redirects;
use whitewater_link::CloseReason;

use crate::events::{Poll, subscribe, watched};
use crate::world::{OFFER, World, made};

const DRAIN: &str = "/api/drain";

/// The state as GET tells it, without the times.
async fn state(world: &World) -> (String, [u64; 2]) {
    let told = world.get(DRAIN).await.expect(200).json();
    let left = |side: &str| told["sessions"][side].as_u64().expect("a count");
    let state = told["state"].as_str().expect("a word").to_owned();
    (state, [left("publish"), left("subscribe")])
}

#[tokio::test]
async fn a_drain_takes_nothing_new_lets_sessions_be_and_can_be_taken_back() {
    let world = World::new().await;
    assert_eq!(state(&world).await, ("serving".into(), [0, 0]));
    world.delete(DRAIN).await.problem(404);
    let publisher = world.publish("a").await;
    let viewer = world.watch("a").await;
    let begun = world.send("POST", DRAIN, &[], "").await.expect(202).json();
    assert_eq!(begun["state"], "draining");
    let time = |name: &str| begun[name].as_u64().expect("a time");
    assert_eq!(time("deadlineAt") - time("startedAt"), 30_000);
    assert_eq!(state(&world).await, ("draining".into(), [1, 1]));

    for path in ["/whip/b", "/whep/a"] {
        let refused = world.post_sdp(path, OFFER).await;
        assert!(refused.problem(503).contains("draining"));
        assert!(refused.has("retry-after"));
        // Who looks whether the server is well learns the same.
        world.get(path).await.problem(503);
    }
    let stream = world.send("POST", "/api/streams/x", &[], "").await;
    stream.problem(503);
    let ready = world.get("/readyz").await;
    assert!(ready.problem(503).contains("draining"));
    world.get("/healthz").await.expect(200);
    let metrics = world.get("/metrics").await.expect(200);
    assert!(metrics.text().contains("\nwhitewater_draining 1\n"));
    world.get(&viewer.location).await.expect(204);
    world
        .patch(&publisher, &publisher.etag, crate::world::TRICKLE)
        .await
        .expect(204);

    world.delete(DRAIN).await.expect(204);
    assert_eq!(state(&world).await, ("serving".into(), [1, 1]));
    world.get("/readyz").await.expect(200);
    world.watch("a").await;
    assert_eq!(world.plane.seen(|seen| seen.shutdowns), 0);
}

#[tokio::test]
async fn at_the_deadline_the_sessions_that_are_left_are_ended() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    let leaving = world.watch("a").await;
    let staying = world.watch("a").await;
    let reply = world.post_json(DRAIN, r#"{"deadlineSeconds":1}"#).await;
    reply.expect(202);
    world.delete(&leaving.location).await.expect(204);
    assert_eq!(state(&world).await, ("draining".into(), [1, 1]));
    world
        .until("nobody is left", async || {
            state(&world).await == ("drained".into(), [0, 0])
        })
        .await;
    let closed = world.plane.seen(|seen| seen.closed.clone());
    let ended = |id| closed.contains(&(id, CloseReason::Shutdown));
    assert!(ended(publisher.id) && ended(staying.id), "{closed:?}");
    assert!(!ended(leaving.id));
    assert_eq!(world.plane.seen(|seen| seen.shutdowns), 0, "it lives on");
    world.get("/readyz").await.problem(503);
    // Back in service.
    world.delete(DRAIN).await.expect(204);
    world.publish("a").await;
}

#[tokio::test]
async fn x_sse_13_players_hear_where_to_go_when_the_server_drains() {
    let world = World::new().await;
    let (_, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["reconnect"]"#).await;
    let mut poll = Poll::open(&world, &url, None).await;
    let wish = r#"{"deadlineSeconds":60.0,"reconnectUrl":"https://b.example/whep/{stream}?a=1"}"#;
    let told = world.post_json(DRAIN, wish).await.expect(202).json();
    assert_eq!(told["reconnectUrl"], "https://b.example/whep/{stream}?a=1");
    let (kind, data, _) = poll.next().await;
    assert_eq!(kind, "reconnect");
    assert_eq!(data, json!({ "url": "https://b.example/whep/a?a=1" }));
    // One that begins to listen only now hears it too.
    let late = subscribe(&world, &viewer, r#"["reconnect"]"#).await;
    let mut late = Poll::open(&world, &late, None).await;
    assert_eq!(late.next().await.1["url"], "https://b.example/whep/a?a=1");
    // Asked again, they are sent elsewhere.
    let wish = r#"{"reconnectUrl":null}"#;
    world.post_json(DRAIN, wish).await.expect(202);
    assert_eq!(poll.next().await.1, json!({}));
    // Once it is taken back nobody is sent away any more.
    world.delete(DRAIN).await.expect(204);
    let url = subscribe(&world, &viewer, r#"["reconnect"]"#).await;
    let mut calm = Poll::open(&world, &url, None).await;
    let none = tokio::time::timeout(Duration::from_millis(300), calm.next()).await;
    assert!(none.is_err(), "{none:?}");
}

#[tokio::test]
async fn without_a_url_of_its_own_a_drain_sends_players_where_they_are_sent_anyway() {
    let world = World::with(|config| {
        config.redirects = Redirects {
            play: Some("https://c.example/{stream}".into()),
            publish: None,
        };
    })
    .await;
    for wish in ["{}", r#"{"reconnectUrl":""}"#] {
        let told = world.post_json(DRAIN, wish).await.expect(202).json();
        assert_eq!(told["reconnectUrl"], "https://c.example/{stream}");
    }
}

#[tokio::test]
async fn what_is_no_wish_is_refused_and_drains_nothing() {
    let world = World::new().await;
    for wish in [
        r#"{"deadlineSeconds":-1}"#,
        r#"{"deadlineSeconds":1.5}"#,
        r#"{"deadlineSeconds":86401}"#,
        r#"{"deadlineSeconds":"1"}"#,
        r#"{"reconnectUrl":"/whep/a"}"#,
        r#"{"reconnectUrl":"javascript:alert(1)"}"#,
        r#"{"reconnectUrl":"https://"}"#,
        r#"{"reconnectUrl":"https://user:hush@b.example/"}"#,
        r#"{"reconnectUrl":"https://b.example/\u000aX: y"}"#,
        r#"{"reconnectUrl":1}"#,
        "[]",
    ] {
        let detail = world.post_json(DRAIN, wish).await.problem(422);
        assert!(!detail.contains("hush"), "{detail}");
    }
    let long = format!(
        r#"{{"reconnectUrl":"https://b.example/{}"}}"#,
        "x".repeat(2048)
    );
    world.post_json(DRAIN, &long).await.problem(422);
    world.post_json(DRAIN, "{").await.problem(400);
    let headers = [("content-type", "text/plain")];
    world.send("POST", DRAIN, &headers, "{}").await.problem(415);
    world.send("POST", DRAIN, &[], "{}").await.problem(415);
    assert_eq!(state(&world).await.0, "serving");
}

#[tokio::test]
async fn a_drain_is_for_who_manages_all_streams() {
    let world = World::with(|config| {
        config.auth.tokens = vec!["all".into()];
        config.auth.publish_tokens = vec!["publish".into()];
    })
    .await;
    for method in ["GET", "POST", "DELETE"] {
        let headers = [("authorization", "Bearer publish")];
        let reply = world.send(method, DRAIN, &headers, "").await;
        reply.problem(403);
        world.send(method, DRAIN, &[], "").await.problem(401);
    }
    let headers = [("authorization", "Bearer all")];
    let reply = world.send("POST", DRAIN, &headers, "").await;
    reply.expect(202);
}

#[tokio::test]
async fn w_load_1_a_server_that_ends_waits_for_the_players_it_asked_to_leave() {
    let mut world = World::with(|config| config.drain_max = Duration::from_secs(20)).await;
    let (publisher, viewer) = watched(&world).await;
    // One that does not listen is not waited for.
    world.watch("a").await;
    let url = subscribe(&world, &viewer, r#"["reconnect"]"#).await;
    let mut poll = Poll::open(&world, &url, None).await;
    world.begin_shutdown();
    assert_eq!(poll.next().await.0, "reconnect");
    let refused = world.post_sdp("/whep/a", OFFER).await;
    assert!(refused.problem(503).contains("draining"));
    world.delete(DRAIN).await.problem(409);
    world.post_json(DRAIN, "{}").await.problem(409);
    // Its session is as it was, so that it can make a new one first.
    world.get(&viewer.location).await.expect(204);
    world.get(&publisher.location).await.expect(204);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.plane.seen(|seen| seen.shutdowns), 0);
    world.delete(&viewer.location).await.expect(204);
    let plane = tokio::time::timeout(Duration::from_secs(5), world.shut_down()).await;
    let plane = plane.expect("nobody else is waited for");
    assert_eq!(plane.seen(|seen| (seen.shutdowns, seen.live)), (1, 0));
}

#[tokio::test]
async fn a_player_that_does_not_leave_is_not_waited_for_beyond_the_limit() {
    let world = World::with(|config| config.drain_max = Duration::from_millis(600)).await;
    let (_, viewer) = watched(&world).await;
    let url = subscribe(&world, &viewer, r#"["reconnect"]"#).await;
    let poll = Poll::open(&world, &url, None).await;
    let began = std::time::Instant::now();
    world.shut_down().await;
    assert!(began.elapsed() >= Duration::from_millis(600));
    assert!(began.elapsed() < Duration::from_secs(5));
    poll.ends().await;
}

#[tokio::test]
async fn answers_to_offers_that_were_under_way_are_given() {
    let world = World::new().await;
    let slow = crate::world::offer_with("a=x-answer-after-ms:300");
    let (reply, ()) = tokio::join!(world.post_sdp("/whip/a", &slow), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.post_json(DRAIN, "{}").await.expect(202);
    });
    let publisher = made(&reply);
    world.get(&publisher.location).await.expect(204);
}
