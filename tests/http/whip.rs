//! RFC 9725 §4.1, §4.2, §4.5: the endpoint, and how sessions end.

use std::collections::HashSet;

use whitewater_control::{IceServer, Takeover};
use whitewater_link::{CloseReason, Event, Locality, SessionState};

use crate::world::{OFFER, World, made, offer_with};

#[tokio::test]
async fn w_get_1_the_endpoint_answers_get_with_nothing() {
    let world = World::new().await;
    let reply = world.get("/whip/a").await.expect(204);
    assert!(reply.body.is_empty());
    assert_eq!(world.stream("a").await, None, "looking makes no stream");
}

#[tokio::test]
async fn w_get_2_a_live_session_answers_get_with_nothing() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let reply = world.get(&session.location).await.expect(204);
    assert!(reply.body.is_empty());
}

#[tokio::test]
async fn w_head_1_head_is_get_without_its_body() {
    let world = World::new().await;
    let session = world.publish("a").await;
    for path in [
        "/whip/a",
        "/whep/a",
        "/api/streams/",
        "/",
        &session.location,
    ] {
        let get = world.get(path).await;
        let head = world.send("HEAD", path, &[], "").await;
        assert_eq!(get.status, head.status, "{path}");
        let names = |headers: &hyper::HeaderMap| {
            let mut headers = headers.clone();
            headers.remove("date");
            headers
        };
        assert_eq!(names(&get.headers), names(&head.headers), "{path}");
        assert!(head.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn w_mth_1_other_methods_on_the_endpoint_are_refused_with_allow() {
    let world = World::new().await;
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
        let reply = world.send(method, "/whip/a", &[], "").await;
        reply.problem(405);
        for allowed in ["GET", "POST", "OPTIONS"] {
            assert!(reply.header("allow").contains(allowed), "{method}");
        }
    }
}

#[tokio::test]
async fn w_mth_2_put_on_a_session_is_refused_with_allow() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let reply = world.send("PUT", &session.location, &[], "").await;
    reply.problem(405);
    for allowed in ["GET", "PATCH", "DELETE", "OPTIONS"] {
        assert!(reply.header("allow").contains(allowed));
    }
    let sdp = [("content-type", "application/sdp")];
    world
        .send("POST", &session.location, &sdp, OFFER)
        .await
        .problem(415);
}

#[tokio::test]
async fn w_err_1_errors_are_problems_that_tell_nothing_of_the_inside() {
    let world = World::new().await;
    let replies = [
        world.get("/nowhere").await,
        world.send("PUT", "/whip/a", &[], "").await,
        world.post_sdp("/whip/a", "nonsense").await,
        world.delete("/session/a/0123").await,
        world.post_json("/api/cascade/a", "{}").await,
        world
            .post_sdp("/whip/a", &offer_with("a=x-refuse:internal"))
            .await,
    ];
    for reply in replies {
        let detail = reply.problem(reply.status.as_u16());
        assert!(!detail.is_empty() && !detail.contains(".rs"), "{detail}");
        assert!(!detail.contains("127.0.0.1"), "{detail}");
    }
}

#[tokio::test]
async fn w_post_1_to_3_an_offer_is_answered_with_a_session() {
    let world = World::new().await;
    let reply = world.post_sdp("/whip/a", OFFER).await;
    let session = made(&reply);
    assert_eq!(reply.header("content-type"), "application/sdp");
    assert!(reply.text().starts_with("v=0\r\n"));
    assert_eq!(session.location, format!("/session/a/{}", session.id));
    assert_eq!(
        reply.header("accept-patch"),
        "application/trickle-ice-sdpfrag"
    );
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    assert!(!reply.has("transfer-encoding"));
    world.get(&session.location).await.expect(204);
}

#[tokio::test]
async fn w_post_3_the_location_of_any_name_can_be_followed() {
    let world = World::new().await;
    for name in ["%E4%B8%AD%20a%2Fb", "a%25b", "x%3Fy%23z", "..."] {
        let session = world.publish(name).await;
        world.get(&session.location).await.expect(204);
        world.delete(&session.location).await.expect(204);
    }
}

#[tokio::test]
async fn w_post_4_other_content_types_are_refused() {
    let world = World::new().await;
    for wrong in [
        "text/plain",
        "application/json",
        "",
        "application/sdpx",
        "*/*",
    ] {
        let reply = world
            .send("POST", "/whip/a", &[("content-type", wrong)], OFFER)
            .await;
        reply.problem(415);
        assert_eq!(reply.header("accept-post"), "application/sdp");
    }
    world.send("POST", "/whip/a", &[], OFFER).await.problem(415);
    let twice = [
        ("content-type", "application/sdp"),
        ("content-type", "application/sdp"),
    ];
    world
        .send("POST", "/whip/a", &twice, OFFER)
        .await
        .problem(400);
    let packed = [
        ("content-type", "application/sdp"),
        ("content-encoding", "gzip"),
    ];
    world
        .send("POST", "/whip/a", &packed, OFFER)
        .await
        .problem(415);
    assert_eq!(world.stream("a").await, None);
    assert_eq!(world.plane.seen(|seen| seen.negotiated.len()), 0);
}

#[tokio::test]
async fn w_post_5_case_and_parameters_of_the_content_type_do_not_matter() {
    let world = World::new().await;
    for (index, good) in ["application/sdp; charset=utf-8", "Application/SDP"]
        .iter()
        .enumerate()
    {
        let path = format!("/whip/s{index}");
        world
            .send("POST", &path, &[("content-type", good)], OFFER)
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn w_post_6_malformed_offers_are_refused_and_leave_nothing() {
    let world = World::new().await;
    let sdp = [("content-type", "application/sdp")];
    let bodies: [&[u8]; 5] = [b"", b" \r\n", b"v=1\r\n", b"\xff\xfe", b"\0\0"];
    for body in bodies {
        world.send("POST", "/whip/a", &sdp, body).await.problem(400);
        assert_eq!(world.stream("a").await, None, "{body:?}");
    }
}

#[tokio::test]
async fn refusals_of_the_media_side_are_told_precisely() {
    let world = World::new().await;
    let ask = async |refuse: &str| {
        world
            .post_sdp("/whip/a", &offer_with(&format!("a=x-refuse:{refuse}")))
            .await
    };
    assert!(
        ask("unsupported")
            .await
            .problem(422)
            .contains("m-section 0")
    );
    ask("internal").await.problem(500);
    let full = ask("full").await;
    assert!(full.problem(503).contains("media.max_sessions"));
    assert_eq!(full.header("retry-after"), "5");
    assert!(ask("draining").await.has("retry-after"));
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn w_del_1_delete_ends_the_session_at_once() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let reply = world.delete(&session.location).await.expect(204);
    assert!(reply.body.is_empty());
    let stream = world.stream("a").await.expect("it stays for a while");
    assert_eq!(stream["publish"]["sessions"], serde_json::json!([]));
    assert!(stream["publish"]["leaveAt"].as_u64().expect("a time") > 0);
    world
        .until("the data plane closed it", async || {
            world
                .plane
                .seen(|seen| seen.closed == [(session.id, CloseReason::Deleted)])
        })
        .await;
}

#[tokio::test]
async fn w_del_2_nothing_is_found_after_delete() {
    let world = World::new().await;
    let session = world.publish("a").await;
    world.delete(&session.location).await.expect(204);
    world.delete(&session.location).await.problem(404);
    world.get(&session.location).await.problem(404);
    world.patch(&session, &session.etag, "").await.problem(404);
}

#[tokio::test]
async fn w_del_3_delete_does_not_look_at_tags() {
    let world = World::new().await;
    for tag in ["\"stale\"", "garbage", "W/\"x\""] {
        let session = world.publish("a").await;
        let reply = world
            .send("DELETE", &session.location, &[("if-match", tag)], "")
            .await;
        reply.expect(204);
    }
}

#[tokio::test]
async fn w_end_3_a_session_the_peer_ended_is_gone() {
    let world = World::new().await;
    let session = world.publish("a").await;
    world.plane.tell(Event::Closed {
        session: session.id,
        reason: CloseReason::PeerClosed,
    });
    world
        .until("it is gone", async || {
            world.get(&session.location).await.status == 404
        })
        .await;
}

#[tokio::test]
async fn w_opt_1_and_2_options_says_what_post_takes() {
    let world = World::new().await;
    for path in ["/whip/a", "/whep/a"] {
        let reply = world.send("OPTIONS", path, &[], "").await.expect(200);
        assert_eq!(reply.header("accept-post"), "application/sdp");
        assert!(reply.header("allow").contains("POST"));
        assert!(reply.body.is_empty());
    }
}

#[tokio::test]
async fn w_load_1_a_queue_that_is_full_or_a_dead_media_side_is_503() {
    let mut world = World::new().await;
    world.plane.die();
    let reply = world.post_sdp("/whip/a", OFFER).await;
    reply.problem(503);
    assert!(reply.has("retry-after"));
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn w_tag_1_and_2_tags_are_strong_and_never_repeat() {
    let world = World::with(|config| config.policy.orphan_grace = std::time::Duration::ZERO).await;
    let mut tags = HashSet::new();
    let mut ids = HashSet::new();
    for _ in 0..300 {
        let session = world.watch("a").await;
        assert!(session.etag.starts_with('"') && session.etag.ends_with('"'));
        assert!(session.etag.len() > 8);
        assert!(tags.insert(session.etag));
        assert!(ids.insert(session.id));
    }
}

#[tokio::test]
async fn w_ice_1_to_3_servers_are_told_one_link_each() {
    let world = World::with(|config| {
        config.ice_servers = vec![
            IceServer {
                urls: vec!["stun:s.example:3478".into()],
                ..IceServer::default()
            },
            IceServer {
                urls: vec!["turn:t.example:3478?transport=tcp".into()],
                username: Some("u\"x".into()),
                credential: Some("p;y".into()),
            },
        ];
    })
    .await;
    for path in ["/whip/a", "/whep/a"] {
        let reply = world.post_sdp(path, OFFER).await.expect(201);
        let links = reply.headers.get_all("link").iter();
        let links: Vec<_> = links
            .filter(|link| link.to_str().is_ok_and(|link| link.contains("ice-server")))
            .collect();
        assert_eq!(links[0], "<stun:s.example:3478>; rel=\"ice-server\"");
        assert_eq!(
            links[1],
            "<turn:t.example:3478?transport=tcp>; rel=\"ice-server\"; username=\"u\\\"x\"; \
             credential=\"p;y\"; credential-type=\"password\""
        );
        assert_eq!(links.len(), 2);
    }
    let preflight = [
        ("origin", "http://x"),
        ("access-control-request-method", "POST"),
    ];
    let reply = world.send("OPTIONS", "/whip/a", &preflight, "").await;
    assert!(!reply.has("link"), "w_ice_5: no secrets on a preflight");
}

#[tokio::test]
async fn a_second_publisher_is_refused_while_the_first_is_heard() {
    let world = World::new().await;
    let first = world.publish("a").await;
    world.plane.state(first.id, SessionState::Connected);
    let reply = world.post_sdp("/whip/a", OFFER).await;
    reply.problem(409);
    assert_eq!(reply.header("retry-after"), "3");
    world.get(&first.location).await.expect(204);
}

#[tokio::test]
async fn a_silent_publisher_is_replaced() {
    let world = World::new().await;
    let first = world.publish("a").await;
    world.plane.state(first.id, SessionState::Connected);
    world.plane.tell(Event::PublisherSilent {
        session: first.id,
        silent: true,
    });
    world
        .until("the newcomer is let in", async || {
            world.post_sdp("/whip/a", OFFER).await.status == 201
        })
        .await;
    world.get(&first.location).await.problem(404);
    let stream = world.stream("a").await.expect("the stream lives");
    assert_eq!(
        stream["publish"]["sessions"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(stream["publish"]["leaveAt"], 0);
    world
        .until("the old one was told why", async || {
            world
                .plane
                .seen(|seen| seen.closed == [(first.id, CloseReason::TakenOver)])
        })
        .await;
}

#[tokio::test]
async fn a_bad_offer_does_not_cost_a_silent_publisher_its_place() {
    let world = World::with(|config| config.policy.takeover = Takeover::Always).await;
    let first = world.publish("a").await;
    world.post_sdp("/whip/a", "nonsense").await.problem(400);
    world.get(&first.location).await.expect(204);
    world.publish("a").await;
    world.get(&first.location).await.problem(404);
}

#[tokio::test]
async fn with_takeover_never_even_a_silent_publisher_stays() {
    let world = World::with(|config| config.policy.takeover = Takeover::Never).await;
    let first = world.publish("a").await;
    world.plane.state(first.id, SessionState::Disconnected);
    world
        .until("the state is known", async || {
            let stream = world.stream("a").await.expect("a stream");
            stream["publish"]["sessions"][0]["state"] == "disconnected"
        })
        .await;
    world.post_sdp("/whip/a", OFFER).await.problem(409);
}

#[tokio::test]
async fn of_twelve_simultaneous_publishers_exactly_one_is_let_in() {
    let world = World::new().await;
    let at = world.at;
    let offer = offer_with("a=x-answer-after-ms:50");
    let posts: Vec<_> = (0..12)
        .map(|_| {
            let offer = offer.clone();
            tokio::spawn(async move {
                let sdp = [("content-type", "application/sdp")];
                crate::client::send(at, "POST", "/whip/a", &sdp, offer.as_bytes()).await
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.expect("no panic").status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(
        statuses[1..].iter().all(|status| *status == 409),
        "{statuses:?}"
    );
}

#[tokio::test]
async fn a_publisher_that_vanished_frees_its_name() {
    let world = World::new().await;
    let zombie = world.publish("a").await;
    let viewer = world.watch("a").await;
    world.plane.tell(Event::Closed {
        session: zombie.id,
        reason: CloseReason::NeverConnected,
    });
    world
        .until("the name is free", async || {
            world.post_sdp("/whip/a", OFFER).await.status == 201
        })
        .await;
    world.get(&viewer.location).await.expect(204);
}

#[tokio::test]
async fn a_publisher_that_never_connects_can_be_replaced_after_a_while() {
    let world = World::with(|config| {
        config.policy.silent_after = std::time::Duration::from_millis(300);
    })
    .await;
    let zombie = world.publish("a").await;
    world.post_sdp("/whip/a", OFFER).await.problem(409);
    world
        .until("the name is free", async || {
            world.post_sdp("/whip/a", OFFER).await.status == 201
        })
        .await;
    world.get(&zombie.location).await.problem(404);
}

#[tokio::test]
async fn a_stream_that_nobody_may_create_is_404() {
    let world = World::with(|config| config.policy.auto_create_whip = false).await;
    world.post_sdp("/whip/a", OFFER).await.problem(404);
    world
        .send("POST", "/api/streams/a", &[], "")
        .await
        .expect(204);
    world.publish("a").await;
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let world = World::new().await;
    let long = "x".repeat(257);
    for bad in ["%00", "%ff", "%zz", "a%0Ab", long.as_str(), "%2e%2e"] {
        world
            .post_sdp(&format!("/whip/{bad}"), OFFER)
            .await
            .problem(400);
    }
    world.publish(&"x".repeat(256)).await;
}

#[tokio::test]
async fn only_a_peer_on_this_host_gets_loopback_candidates() {
    let world = World::new().await;
    world.publish("a").await;
    let relayed = [
        ("content-type", "application/sdp"),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    world
        .send("POST", "/whip/b", &relayed, OFFER)
        .await
        .expect(201);
    world.plane.seen(|seen| {
        assert_eq!(seen.negotiated[0].3, Locality::Loopback);
        assert_eq!(seen.negotiated[1].3, Locality::Remote);
    });
}

#[tokio::test]
async fn the_msid_is_made_of_token_characters_and_shared_by_the_stream() {
    let world = World::new().await;
    world.publish("cam-1").await;
    world.watch("cam-1").await;
    world.publish("a%2Fb%20c").await;
    world.plane.seen(|seen| {
        assert_eq!(seen.negotiated[0].4, "cam-1");
        assert_eq!(seen.negotiated[1].4, "cam-1");
        let odd = &seen.negotiated[2].4;
        assert!(
            odd.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "{odd}"
        );
    });
}
