//! Clients that are sent to another node (RFC 9725 §4.5, WHEP §4.7).

use whitewater_control::Redirects;

use crate::world::{OFFER, World};

async fn sent_away() -> World {
    World::with(|config| {
        config.redirects = Redirects {
            publish: Some("https://b.example/whip/{stream}".into()),
            play: Some("http://c.example:8080/x?name={stream}".into()),
        };
    })
    .await
}

#[tokio::test]
async fn w_rdr_1_and_2_a_publisher_is_sent_away_by_307_to_an_absolute_url() {
    let world = sent_away().await;
    let reply = world.post_sdp("/whip/a%2Fb%20c", OFFER).await.expect(307);
    let location = reply.header("location");
    assert_eq!(location, "https://b.example/whip/a%2Fb%20c");
    assert!(reply.body.is_empty());
    assert_eq!(world.stream("a%2Fb%20c").await, None, "no state");
    // Not even an offer is asked for: that is the other node's business.
    world.send("POST", "/whip/a", &[], "").await.expect(307);
    let exposed = reply.header("access-control-expose-headers");
    assert!(exposed.contains("Location"));
}

#[tokio::test]
async fn e_rdr_1_and_2_a_viewer_is_sent_away_by_307_to_an_absolute_url() {
    let world = sent_away().await;
    let reply = world.post_sdp("/whep/cam", OFFER).await.expect(307);
    assert_eq!(reply.header("location"), "http://c.example:8080/x?name=cam");
}

#[tokio::test]
async fn w_rdr_1_nobody_is_sent_away_where_nothing_says_so() {
    let world = World::new().await;
    world.post_sdp("/whip/a", OFFER).await.expect(201);
    world.post_sdp("/whep/a", OFFER).await.expect(201);
}

#[tokio::test]
async fn w_rdr_4_sessions_are_never_redirected() {
    let world = World::with(|config| {
        config.redirects.play = Some("https://b.example/{stream}".into());
    })
    .await;
    let session = world.publish("a").await;
    world.get(&session.location).await.expect(204);
    world.get("/whep/a").await.expect(200);
    world.delete(&session.location).await.expect(204);
}

#[tokio::test]
async fn a_redirect_is_for_those_who_may_come_in() {
    let world = World::with(|config| {
        config.redirects.publish = Some("https://b.example/{stream}".into());
        config.auth.tokens = vec!["a-long-token-for-this-test".into()];
    })
    .await;
    world.post_sdp("/whip/a", OFFER).await.problem(401);
}
