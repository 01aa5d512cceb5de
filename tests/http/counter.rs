//! Counter-offers (WHEP §4.3.2).

use std::time::Duration;

use crate::client::Reply;
use crate::world::{Made, OFFER, TRICKLE, World, offer_with, restart};

/// A session that waits for its answer.
async fn offered(world: &World) -> (Reply, Made) {
    let reply = world
        .post_sdp("/whep/a", &offer_with("a=x-refuse:counter"))
        .await;
    assert_eq!(reply.status.as_u16(), 406, "{reply:?}");
    let location = reply.header("location").to_owned();
    let id = location.rsplit('/').next().expect("a segment");
    let made = Made {
        id: id.parse().expect("a session id"),
        etag: String::new(),
        location,
    };
    (reply, made)
}

async fn patch_sdp(world: &World, made: &Made, answer: &str) -> Reply {
    let headers = [("content-type", "application/sdp")];
    world.send("PATCH", &made.location, &headers, answer).await
}

#[tokio::test]
async fn e_ctr_1_an_offer_that_cannot_carry_the_stream_is_met_by_another_offer() {
    let world = World::new().await;
    world.publish("a").await;
    let (reply, made) = offered(&world).await;
    assert!(reply.header("content-type").starts_with("application/sdp"));
    assert!(reply.text().starts_with("v=0"));
    assert_eq!(made.location, format!("/session/a/{}", made.id));
    assert!(!reply.has("etag"), "no ICE session yet, so no tag");
    let exposed = reply.header("access-control-expose-headers");
    assert!(exposed.contains("Location"), "{exposed}");
    world.get(&made.location).await.expect(204);
    let stream = world.stream("a").await.expect("published");
    let viewers = stream["subscribe"]["sessions"].as_array().map(Vec::len);
    assert_eq!(viewers, Some(0), "not a viewer yet");
}

#[tokio::test]
async fn e_ctr_2_it_says_until_when_it_holds() {
    let world = World::with(|config| config.counter_offer = Duration::from_secs(20)).await;
    world.publish("a").await;
    let before = std::time::SystemTime::now();
    let (reply, _) = offered(&world).await;
    let content_type = reply.header("content-type");
    let (_, until) = content_type
        .split_once("; valid-until=")
        .expect("a parameter");
    let until = httpdate::parse_http_date(until.trim_matches('"')).expect("an HTTP date");
    let holds = until.duration_since(before).expect("in the future");
    assert!(
        (Duration::from_secs(18)..=Duration::from_secs(25)).contains(&holds),
        "{holds:?}"
    );
}

#[tokio::test]
async fn e_ctr_4_a_good_answer_is_204_and_makes_the_session() {
    let world = World::new().await;
    world.publish("a").await;
    let (_, made) = offered(&world).await;
    let reply = patch_sdp(&world, &made, OFFER).await.expect(204);
    assert!(reply.body.is_empty());
    let stream = world.stream("a").await.expect("published");
    assert_eq!(
        stream["subscribe"]["sessions"][0]["id"],
        made.id.to_string()
    );
    // From here on it is a session like any other.
    let live = Made {
        etag: reply.header("etag").to_owned(),
        ..made
    };
    world.patch(&live, "\"x\"", TRICKLE).await.problem(412);
    world.patch(&live, &live.etag, TRICKLE).await.expect(204);
    let restarted = world.patch(&live, "*", &restart(1)).await.expect(200);
    assert_ne!(restarted.header("etag"), live.etag);
    world.delete(&live.location).await.expect(204);
    world.get(&live.location).await.problem(404);
}

#[tokio::test]
async fn e_ctr_4_after_a_bad_answer_a_good_one_is_taken() {
    let world = World::new().await;
    world.publish("a").await;
    let (_, made) = offered(&world).await;
    patch_sdp(&world, &made, "zzz").await.problem(400);
    patch_sdp(&world, &made, "").await.problem(400);
    let unsupported = offer_with("a=x-refuse:unsupported");
    patch_sdp(&world, &made, &unsupported).await.problem(422);
    patch_sdp(&world, &made, OFFER).await.expect(204);
}

#[tokio::test]
async fn e_ctr_5_after_its_time_it_is_gone_and_so_is_its_state() {
    let world = World::with(|config| {
        config.counter_offer = Duration::from_millis(100);
        config.policy.half_open_max = 2;
    })
    .await;
    world.publish("a").await;
    let (_, made) = offered(&world).await;
    world
        .until("the data plane was told", async || {
            world.plane.seen(|seen| seen.withdrawn.contains(&made.id))
        })
        .await;
    patch_sdp(&world, &made, OFFER).await.problem(404);
    world.get(&made.location).await.problem(404);
    // Its place is free again.
    offered(&world).await;
}

#[tokio::test]
async fn e_ctr_5_waiting_ones_count_as_sessions_that_have_not_connected() {
    let world = World::with(|config| config.policy.half_open_max = 2).await;
    world.publish("a").await;
    let (_, made) = offered(&world).await;
    let refused = offer_with("a=x-refuse:counter");
    let reply = world.post_sdp("/whep/a", &refused).await;
    assert!(reply.problem(503).contains("half_open"), "{reply:?}");
    // DELETE gives the place back.
    world.delete(&made.location).await.expect(204);
    world.get(&made.location).await.problem(404);
    offered(&world).await;
    assert!(world.plane.seen(|seen| seen.withdrawn.contains(&made.id)));
}

#[tokio::test]
async fn e_ctr_8_the_answer_needs_no_tag_and_a_second_one_is_refused() {
    let world = World::new().await;
    world.publish("a").await;
    let (_, made) = offered(&world).await;
    // A fragment has nothing to be applied to yet.
    let reply = world.patch(&made, "*", TRICKLE).await;
    reply.problem(415);
    assert_eq!(reply.header("accept-patch"), "application/sdp");
    patch_sdp(&world, &made, OFFER).await.expect(204);
    let reply = patch_sdp(&world, &made, OFFER).await;
    reply.problem(415);
    assert_eq!(
        reply.header("accept-patch"),
        "application/trickle-ice-sdpfrag"
    );
}

#[tokio::test]
async fn e_ctr_8_of_two_answers_at_the_same_time_one_is_taken() {
    let world = World::new().await;
    world.publish("a").await;
    let (_, made) = offered(&world).await;
    let slow = offer_with("a=x-answer-after-ms:100");
    let (one, other) = tokio::join!(
        patch_sdp(&world, &made, &slow),
        patch_sdp(&world, &made, &slow)
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
}

#[tokio::test]
async fn e_ctr_10_every_406_has_an_offer() {
    let world = World::new().await;
    world.publish("a").await;
    // RFC 9110 §12.5.1: who accepts no SDP is sent it all the same.
    let headers = [("content-type", "application/sdp"), ("accept", "text/html")];
    let reply = world.send("POST", "/whep/a", &headers, OFFER).await;
    assert_eq!(reply.status.as_u16(), 201);
    let (reply, _) = offered(&world).await;
    assert!(reply.text().contains("a=sendonly"));
}

#[tokio::test]
async fn a_counter_offer_goes_with_its_stream() {
    let world = World::new().await;
    world.publish("a").await;
    let (_, made) = offered(&world).await;
    world.delete("/api/streams/a").await.expect(204);
    patch_sdp(&world, &made, OFFER).await.problem(404);
}

#[tokio::test]
async fn an_end_of_the_server_does_not_wait_for_answers() {
    let world = World::with(|config| config.drain_max = Duration::from_secs(60)).await;
    world.publish("a").await;
    offered(&world).await;
    let plane = world.shut_down().await;
    assert_eq!(plane.seen(|seen| seen.withdrawn.len()), 1);
}
