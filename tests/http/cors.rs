//! The Fetch standard's CORS protocol, as WHIP and WHEP clients in pages of other origins need it.

use crate::client::Reply;
use crate::world::{OFFER, TRICKLE, World};

fn preflight<'a>(method: &'a str, headers: &'a str) -> [(&'a str, &'a str); 3] {
    [
        ("origin", "https://page.example"),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ]
}

#[track_caller]
fn assert_allows(reply: &Reply, method: &str, headers: &[&str]) {
    assert!(reply.status.is_success(), "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    let methods = reply.header("access-control-allow-methods");
    assert!(
        methods.split(", ").any(|allowed| allowed == method),
        "{methods}"
    );
    let allowed = reply.header("access-control-allow-headers");
    for header in headers {
        assert!(allowed.split(", ").any(|one| one == *header), "{allowed}");
    }
}

#[tokio::test]
async fn w_cors_1_post_may_be_sent_from_anywhere() {
    let world = World::new().await;
    for path in ["/whip/a", "/whep/a"] {
        for method in ["POST", "OPTIONS", "GET", "HEAD"] {
            let ask = preflight(method, "authorization, content-type");
            let reply = world.send("OPTIONS", path, &ask, "").await;
            assert_allows(&reply, method, &["authorization", "content-type"]);
        }
    }
}

#[tokio::test]
async fn w_cors_2_patch_and_delete_may_be_sent_from_anywhere() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let layer = format!("{}/layer", session.location);
    for path in [session.location.as_str(), "/session/a/nothing", &layer] {
        for method in ["PATCH", "DELETE", "POST"] {
            let ask = preflight(method, "authorization, content-type, if-match");
            let reply = world.send("OPTIONS", path, &ask, "").await;
            assert_allows(
                &reply,
                method,
                &["authorization", "content-type", "if-match"],
            );
        }
    }
}

#[tokio::test]
async fn w_cors_3_and_4_answers_and_errors_can_be_read() {
    let world = World::new().await;
    let session = world.publish("a").await;
    let unknown = "/session/a/00000000000000000000000000000000";
    let replies = [
        world.post_sdp("/whep/a", OFFER).await.expect(201),
        world.post_sdp("/whip/a", OFFER).await.expect(409),
        world.post_sdp("/whip/b", "nonsense").await.expect(400),
        world.send("PUT", "/whip/a", &[], "").await.expect(405),
        world.get("/whip/a/b/c").await.expect(404),
        world.get(unknown).await.expect(404),
        world.patch(&session, "*", TRICKLE).await.expect(204),
        world.patch(&session, "\"x\"", TRICKLE).await.expect(412),
        world.send("POST", "/whip/%ff", &[], "").await.expect(400),
        world
            .get(&format!("{}/layer", session.location))
            .await
            .expect(409),
    ];
    for reply in replies {
        assert_eq!(
            reply.header("access-control-allow-origin"),
            "*",
            "{reply:?}"
        );
        let exposed = reply.header("access-control-expose-headers");
        for header in ["Location", "ETag", "Link", "Accept-Patch", "Retry-After"] {
            assert!(exposed.split(", ").any(|one| one == header), "{exposed}");
        }
    }
}

#[tokio::test]
async fn w_cors_5_a_preflight_makes_nothing() {
    let world = World::new().await;
    for path in ["/whip/a", "/whep/a", "/api/streams/a"] {
        world
            .send("OPTIONS", path, &preflight("POST", "content-type"), "")
            .await
            .expect(200);
    }
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn the_management_api_is_closed_to_other_origins() {
    let world = World::new().await;
    let origin = [("origin", "https://page.example")];
    for path in [
        "/api/streams/",
        "/api/info",
        "/metrics",
        "/api/strategy",
        "/nowhere",
    ] {
        let reply = world.send("GET", path, &origin, "").await;
        assert!(!reply.has("access-control-allow-origin"), "{path}");
    }
    let reply = world
        .send("OPTIONS", "/api/streams/a", &preflight("POST", ""), "")
        .await;
    assert!(!reply.has("access-control-allow-origin"));
}

#[tokio::test]
async fn the_management_api_is_open_to_listed_origins() {
    let world =
        World::with(|config| config.allowed_origins = vec!["https://page.example".into()]).await;
    let listed = [("origin", "https://page.example")];
    let reply = world
        .send("GET", "/api/streams/", &listed, "")
        .await
        .expect(200);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://page.example"
    );
    assert_eq!(reply.header("vary"), "origin");
    let ask = preflight("DELETE", "authorization");
    let reply = world
        .send("OPTIONS", "/api/streams/a", &ask, "")
        .await
        .expect(200);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "https://page.example"
    );
    assert!(
        reply
            .header("access-control-allow-methods")
            .contains("DELETE")
    );
    let other = [("origin", "https://page.example.evil")];
    let reply = world
        .send("GET", "/api/streams/", &other, "")
        .await
        .expect(200);
    assert!(!reply.has("access-control-allow-origin"));
    assert_eq!(reply.header("vary"), "origin");
}
