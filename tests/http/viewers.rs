//! WHEP §4.5 says of viewers' sessions what RFC 9725 §4.3 says of publishers'.

use std::collections::HashSet;

use crate::client::send;
use crate::world::{TRICKLE, World, restart};

const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

#[tokio::test]
async fn e_tag_3_to_8_viewers_hear_the_same_in_the_same_order() {
    let world = World::new().await;
    let session = world.watch("a").await;
    let weak = format!("W/{}", session.etag);
    let list = format!("\"old\", {}", session.etag);
    let text = ("content-type", "text/plain");
    let unknown = format!("/session/a/{:032x}", 1);
    let (here, tag) = (session.location.as_str(), session.etag.as_str());
    // Each line has one mistake less than the one before.
    for (path, headers, body, status) in [
        (unknown.as_str(), vec![text], "nonsense", 404),
        (here, vec![text], "nonsense", 415),
        (here, vec![FRAGMENT], "nonsense", 428),
        (here, vec![FRAGMENT, ("if-match", "\"x\"")], "nonsense", 412),
        (
            here,
            vec![FRAGMENT, ("if-match", weak.as_str())],
            "nonsense",
            412,
        ),
        (here, vec![FRAGMENT, ("if-match", tag)], "nonsense", 400),
    ] {
        let reply = world.send("PATCH", path, &headers, body).await;
        reply.problem(status);
    }
    let refused = world.plane.seen(|seen| seen.patched.len());
    assert_eq!(refused, 1, "only the last one was worth asking about");
    world.patch(&session, &list, TRICKLE).await.expect(204);
}

#[tokio::test]
async fn e_rst_9_a_storm_of_viewers_patches_ends_with_the_last_restart() {
    let world = World::new().await;
    let session = world.watch("a").await;
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
}

#[tokio::test]
async fn e_rst_10_to_12_viewers_restart_by_credentials_and_any_tag() {
    let world = World::new().await;
    let session = world.watch("a").await;
    // The current tag with the current credentials is trickle, under whichever name.
    for any in ["*", "\"*\"", session.etag.as_str()] {
        let reply = world.patch(&session, any, TRICKLE).await.expect(204);
        assert!(!reply.has("etag"));
    }
    let first = world
        .patch(&session, &session.etag, &restart(1))
        .await
        .expect(200);
    let second = world
        .patch(&session, "\"*\"", &restart(2))
        .await
        .expect(200);
    let third = world.patch(&session, "*", &restart(3)).await.expect(200);
    let tags = [&first, &second, &third].map(|reply| reply.header("etag"));
    assert_eq!(HashSet::from(tags).len(), 3);
    assert!(!tags.contains(&session.etag.as_str()));
}
