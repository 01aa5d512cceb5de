//! Requests with a token.

use crate::client::Reply;
use crate::world::{Made, OFFER, TRICKLE, World, made};

pub(crate) async fn ask(world: &World, method: &str, path: &str, token: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/sdp"),
    ];
    world.send(method, path, &headers, body).await
}

pub(crate) async fn ask_json(world: &World, path: &str, token: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    world.send("POST", path, &headers, body).await
}

pub(crate) async fn patch(world: &World, made: &Made, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/trickle-ice-sdpfrag"),
        ("if-match", made.etag.as_str()),
    ];
    world.send("PATCH", &made.location, &headers, TRICKLE).await
}

pub(crate) async fn post(world: &World, path: &str, token: &str) -> Made {
    made(&ask(world, "POST", path, token, OFFER).await)
}

#[track_caller]
pub(crate) fn assert_challenge(reply: &Reply, status: u16, error: &str) {
    reply.problem(status);
    let challenge = reply.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\""), "{challenge}");
    if error.is_empty() {
        assert!(!challenge.contains("error"), "{challenge}");
    } else {
        let error = format!("error=\"{error}\"");
        assert!(challenge.contains(&error), "{challenge}");
    }
}
