//! The WHEP draft, §4: where it differs from WHIP or leaves a choice.

use whitewater_control::AbsentStream;
use whitewater_link::{Event, SessionState};

use crate::fake::{epoch_of, track};
use crate::world::{OFFER, World, made};

#[tokio::test]
async fn e_get_1_the_endpoint_answers_get_with_nothing() {
    let world = World::new().await;
    let reply = world.get("/whep/a").await.expect(200);
    assert!(reply.body.is_empty());
    assert_eq!(reply.header("content-length"), "0");
    let session = world.watch("a").await;
    world.get(&session.location).await.expect(204);
}

#[tokio::test]
async fn e_head_2_a_probe_knows_the_endpoint_by_its_content_type() {
    let world = World::new().await;
    let reply = world.send("HEAD", "/whep/a", &[], "").await.expect(200);
    assert_eq!(reply.header("content-type"), "application/sdp");
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn e_post_2_an_offer_is_answered_with_a_session() {
    let world = World::new().await;
    world.publish("a").await;
    let reply = world.post_sdp("/whep/a", OFFER).await;
    let session = made(&reply);
    assert_eq!(reply.header("content-type"), "application/sdp");
    assert_eq!(session.location, format!("/session/a/{}", session.id));
    assert!(reply.text().contains("a=sendonly"));
}

#[tokio::test]
async fn e_post_3_other_content_types_and_malformed_offers_are_refused() {
    let world = World::new().await;
    world.send("POST", "/whep/a", &[], OFFER).await.problem(415);
    world.post_json("/whep/a", "{}").await.problem(415);
    world.post_sdp("/whep/a", "zzz").await.problem(400);
    world.post_sdp("/whep/a", "").await.problem(400);
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn e_live_4_a_viewer_may_come_before_the_publisher() {
    let world = World::new().await;
    let viewer = world.watch("a").await;
    let stream = world.stream("a").await.expect("made for the viewer");
    assert_eq!(
        stream["subscribe"]["sessions"][0]["id"],
        viewer.id.to_string()
    );
    assert_eq!(stream["publish"]["leaveAt"], 0);
    world.publish("a").await;
    world.get(&viewer.location).await.expect(204);
}

#[tokio::test]
async fn e_live_2_where_a_publisher_is_required_its_absence_is_409() {
    let world = World::with(|config| config.policy.absent = AbsentStream::Refuse).await;
    for _ in 0..2 {
        let reply = world.post_sdp("/whep/a", OFFER).await;
        reply.problem(409);
        assert_eq!(reply.header("retry-after"), "2");
        assert_eq!(world.stream("a").await, None, "no state");
    }
    world
        .send("POST", "/api/streams/a", &[], "")
        .await
        .expect(204);
    world.post_sdp("/whep/a", OFFER).await.problem(409);
    world.publish("a").await;
    world.watch("a").await;
}

#[tokio::test]
async fn a_stream_that_nobody_may_create_is_404() {
    let world = World::with(|config| config.policy.auto_create_whep = false).await;
    world.post_sdp("/whep/a", OFFER).await.problem(404);
    world.publish("a").await;
    world.watch("a").await;
}

#[tokio::test]
async fn the_limit_of_viewers_is_kept() {
    let world = World::with(|config| config.policy.each_stream_max_sub = 2).await;
    world.watch("a").await;
    let second = world.watch("a").await;
    let reply = world.post_sdp("/whep/a", OFFER).await;
    assert!(reply.problem(503).contains("each_stream_max_sub"));
    assert_eq!(reply.header("retry-after"), "5");
    world.watch("b").await;
    world.delete(&second.location).await.expect(204);
    world.watch("a").await;
}

#[tokio::test]
async fn e_del_1_a_viewer_leaves_and_the_others_stay() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    let (one, other) = (world.watch("a").await, world.watch("a").await);
    world.delete(&one.location).await.expect(204);
    world.get(&one.location).await.problem(404);
    world.get(&other.location).await.expect(204);
    world.get(&publisher.location).await.expect(204);
    let stream = world.stream("a").await.expect("a stream");
    assert_eq!(
        stream["subscribe"]["sessions"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(stream["subscribe"]["leaveAt"], 0);
}

#[tokio::test]
async fn viewers_survive_their_publisher_and_meet_the_next() {
    let world = World::new().await;
    let first = world.publish("a").await;
    let viewer = world.watch("a").await;
    world.delete(&first.location).await.expect(204);
    world.get(&viewer.location).await.expect(204);
    let second = world.publish("a").await;
    let (stream, old, new) = world.plane.seen(|seen| {
        let (_, stream, first, ..) = &seen.negotiated[0];
        let (_, again, second, ..) = &seen.negotiated[2];
        assert_eq!(stream, again, "the same stream for the data plane");
        (*stream, epoch_of(*first), epoch_of(*second))
    });
    assert!(new > old);
    // Late word of the first one's media does not describe the second's.
    world.plane.tell(Event::StreamUp {
        stream,
        epoch: new,
        tracks: vec![track("AV1")],
    });
    world.plane.tell(Event::StreamUp {
        stream,
        epoch: old,
        tracks: vec![track("H264")],
    });
    world.plane.state(second.id, SessionState::Connected);
    world
        .until("both were heard", async || {
            let stream = world.stream("a").await.expect("a stream");
            stream["publish"]["sessions"][0]["state"] == "connected"
        })
        .await;
    let stream = world.stream("a").await.expect("a stream");
    assert_eq!(stream["codecs"][0]["codec"], "AV1");
}
