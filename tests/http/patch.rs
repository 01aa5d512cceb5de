//! RFC 9725 §4.3: entity tags, trickle, restart.

use std::collections::HashSet;
use std::time::Duration;

use crate::client::send;
use crate::world::{TRICKLE, World, restart};

const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

#[tokio::test]
async fn w_tag_3_a_patch_without_if_match_is_428() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let reply = world
        .send("PATCH", &session.location, &[FRAGMENT], TRICKLE)
        .await;
    reply.problem(428);
    assert_eq!(world.plane.seen(|seen| seen.patched.len()), 0);
}

#[tokio::test]
async fn w_tag_4_a_patch_with_another_tag_is_412() {
    let world = World::new().await;
    let session = world.publish("a").await;
    for wrong in ["\"other\"", "garbage", ""] {
        world.patch(&session, wrong, TRICKLE).await.problem(412);
    }
    assert_eq!(world.plane.seen(|seen| seen.patched.len()), 0);
}

#[tokio::test]
async fn w_tag_5_lists_match_and_weak_tags_do_not() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let list = format!("\"old\", {}", session.etag);
    world.patch(&session, &list, TRICKLE).await.expect(204);
    let weak = format!("W/{}", session.etag);
    world.patch(&session, &weak, TRICKLE).await.problem(412);
    let lines = [
        FRAGMENT,
        ("if-match", "\"old\""),
        ("if-match", session.etag.as_str()),
    ];
    world
        .send("PATCH", &session.location, &lines, TRICKLE)
        .await
        .expect(204);
}

#[tokio::test]
async fn w_tag_6_other_media_types_are_415_and_broken_fragments_400() {
    let world = World::new().await;
    let session = world.publish("a").await;
    for wrong in ["application/sdp", "text/plain", ""] {
        let headers = [("content-type", wrong), ("if-match", session.etag.as_str())];
        let reply = world
            .send("PATCH", &session.location, &headers, TRICKLE)
            .await;
        reply.problem(415);
        assert_eq!(
            reply.header("accept-patch"),
            "application/trickle-ice-sdpfrag"
        );
    }
    world
        .patch(&session, &session.etag, "nonsense")
        .await
        .problem(400);
    let headers = [FRAGMENT, ("if-match", session.etag.as_str())];
    let reply = world
        .send("PATCH", &session.location, &headers, b"\xff\xfe")
        .await;
    reply.problem(400);
    let refused = "a=x-refuse:unsupported\r\n";
    world
        .patch(&session, &session.etag, refused)
        .await
        .problem(422);
    let reply = world
        .patch(&session, &session.etag, "a=x-refuse:too-many\r\n")
        .await;
    reply.problem(429);
    assert!(reply.has("retry-after"));
    world
        .patch(&session, &session.etag, "a=x-refuse:gone\r\n")
        .await
        .problem(404);
}

#[tokio::test]
async fn w_tag_8_the_checks_come_in_one_order() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let bad_body: &[u8] = b"\xff";
    let unknown = format!("/session/a/{:032x}", 1);
    let patch = async |path: &str, headers: &[(&str, &str)]| {
        send(world.at, "PATCH", path, headers, bad_body)
            .await
            .status
            .as_u16()
    };
    assert_eq!(patch(&unknown, &[]).await, 404);
    assert_eq!(
        patch(&session.location, &[("content-type", "text/plain")]).await,
        415
    );
    assert_eq!(patch(&session.location, &[FRAGMENT]).await, 428);
    assert_eq!(
        patch(&session.location, &[FRAGMENT, ("if-match", "\"x\"")]).await,
        412
    );
    assert_eq!(
        patch(&session.location, &[FRAGMENT, ("if-match", &session.etag)]).await,
        400
    );
}

#[tokio::test]
async fn w_trk_3_candidates_are_taken_without_body_and_tag() {
    let world = World::new().await;
    for session in [world.publish("a").await, world.watch("a").await] {
        let reply = world
            .patch(&session, &session.etag, TRICKLE)
            .await
            .expect(204);
        assert!(reply.body.is_empty() && !reply.has("etag"));
        world
            .patch(&session, &session.etag, TRICKLE)
            .await
            .expect(204);
    }
    let patched = world.plane.seen(|seen| seen.patched.clone());
    assert_eq!(patched.len(), 4);
    assert_eq!(patched[0].1, TRICKLE, "the fragment arrives as it was sent");
}

#[tokio::test]
async fn w_rst_1_and_2_a_restart_brings_new_credentials_and_a_new_tag() {
    let world = World::new().await;
    for session in [world.publish("a").await, world.watch("a").await] {
        let reply = world.patch(&session, "*", &restart(1)).await.expect(200);
        assert_eq!(
            reply.header("content-type"),
            "application/trickle-ice-sdpfrag"
        );
        assert!(reply.text().contains("a=ice-ufrag:srv1"));
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        let new = reply.header("etag").to_owned();
        assert_ne!(new, session.etag);
        world
            .patch(&session, &session.etag, &restart(1))
            .await
            .problem(412);
        world.patch(&session, &new, &restart(1)).await.expect(204);
    }
}

#[tokio::test]
async fn w_rst_9_a_storm_of_overlapping_patches_ends_with_the_last_restart() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let mut patches = Vec::new();
    for number in 0..50 {
        let (at, session) = (world.at, session.clone());
        patches.push(tokio::spawn(async move {
            let (tag, body) = if number % 2 == 0 {
                ("*", restart(number))
            } else {
                (session.etag.as_str(), TRICKLE.to_owned())
            };
            let headers = [FRAGMENT, ("if-match", tag)];
            send(at, "PATCH", &session.location, &headers, body.as_bytes()).await
        }));
    }
    let mut tags = HashSet::new();
    for patch in patches {
        let reply = patch.await.expect("no panic");
        match reply.status.as_u16() {
            200 => assert!(
                tags.insert(reply.header("etag").to_owned()),
                "a tag came twice"
            ),
            204 | 412 => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(tags.len(), 25, "every restart was carried out");
    world
        .patch(&session, &session.etag, TRICKLE)
        .await
        .problem(412);
    // No stale trickle reached the data plane after a restart, where it would undo it.
    let patched = world.plane.seen(|seen| seen.patched.clone());
    let first_restart = patched.iter().position(|(_, text)| text.contains("new"));
    let stale = patched[first_restart.expect("restarts")..]
        .iter()
        .filter(|(_, text)| text.contains("cli0"));
    assert_eq!(stale.count(), 0);
    let reply = world.patch(&session, "*", &restart(99)).await.expect(200);
    assert!(!tags.contains(reply.header("etag")));
}

#[tokio::test]
async fn w_rst_10_other_credentials_with_the_current_tag_are_a_restart() {
    let world = World::new().await;
    let session = world.publish("a").await;
    world
        .patch(&session, &session.etag, &restart(1))
        .await
        .expect(200);
}

#[tokio::test]
async fn w_rst_11_the_quoted_asterisk_is_any_tag_too() {
    let world = World::new().await;
    let session = world.publish("a").await;
    world
        .patch(&session, "\"*\"", &restart(1))
        .await
        .expect(200);
}

#[tokio::test]
async fn w_rst_12_an_asterisk_with_the_old_credentials_is_trickle() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let reply = world.patch(&session, "*", TRICKLE).await.expect(204);
    assert!(!reply.has("etag"));
    world
        .patch(&session, &session.etag, TRICKLE)
        .await
        .expect(204);
}

#[tokio::test]
async fn a_restart_whose_client_hung_up_still_changes_the_tag() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let slow = format!("{}a=x-answer-after-ms:200\r\n", restart(1));
    let hung_up =
        tokio::time::timeout(Duration::from_millis(50), world.patch(&session, "*", &slow));
    assert!(hung_up.await.is_err());
    // This one waits behind the first and meets the tag it left.
    world
        .patch(&session, &session.etag, TRICKLE)
        .await
        .problem(412);
    assert_eq!(world.plane.seen(|seen| seen.patched.len()), 1);
}

#[tokio::test]
async fn a_patch_without_answer_is_504_and_lets_the_next_one_in() {
    let world = World::with(|config| config.answer_timeout = Duration::from_millis(200)).await;
    let session = world.publish("a").await;
    let lost = format!("{TRICKLE}a=x-answer-after-ms:never\r\n");
    world
        .patch(&session, &session.etag, &lost)
        .await
        .problem(504);
    world
        .patch(&session, &session.etag, TRICKLE)
        .await
        .expect(204);
}

#[tokio::test]
async fn a_session_is_found_in_its_own_stream_only() {
    let world = World::new().await;
    let session = world.publish("a").await;
    world.publish("b").await;
    let elsewhere = format!("/session/b/{}", session.id);
    for method in ["GET", "PATCH", "DELETE", "POST"] {
        world.send(method, &elsewhere, &[], "").await.problem(404);
        world
            .send(method, "/session/a/nonsense", &[], "")
            .await
            .problem(404);
        let unknown = format!("/session/a/{:032x}", 7);
        world.send(method, &unknown, &[], "").await.problem(404);
    }
    let upper = format!("/session/a/{}", session.id.to_string().to_uppercase());
    if upper != session.location {
        world.get(&upper).await.problem(404);
    }
    world.get(&session.location).await.expect(204);
}

#[tokio::test]
async fn a_fragment_above_the_limit_is_413() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let headers = [FRAGMENT, ("if-match", session.etag.as_str())];
    let whole = format!("{TRICKLE}{}", "a=x\r\n".repeat(20_000));
    let reply = world
        .send("PATCH", &session.location, &headers, &whole)
        .await;
    reply.problem(413);
    let fits = format!("{TRICKLE}a={}", "x".repeat(64 * 1024 - TRICKLE.len() - 2));
    assert_eq!(fits.len(), 64 * 1024);
    world
        .send("PATCH", &session.location, &headers, &fits)
        .await
        .expect(204);
}
