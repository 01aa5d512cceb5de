//! Who is let in and what they may do. `e_aut_*` is WHEP's side of `w_aut_*`.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use whitewater_link::CloseReason;

use crate::bearer::{ask, ask_json, assert_challenge, patch, post};
use crate::client::read_to_end;
use crate::issuer::{Signer, set};
use crate::scratch::Scratch;
use crate::token::{SECRET, claims, encode, sign, sign_as, token, unix_now};
use crate::world::{Made, OFFER, TRICKLE, World, made, offer_with};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const ONE: &str = "first-static-token";
const TWO: &str = "second-static-token";

async fn guarded() -> World {
    World::with(|config| {
        config.auth.tokens = vec![ONE.into(), TWO.into()];
        config.auth.secret = SECRET.into();
    })
    .await
}

#[tokio::test]
async fn w_aut_1_and_e_aut_1_a_bearer_token_opens_everything() {
    let world = guarded().await;
    for token in [ONE, TWO, &token("*", 7, 60)] {
        let publisher = post(&world, "/whip/a", token).await;
        let viewer = post(&world, "/whep/a", token).await;
        patch(&world, &publisher, token).await.expect(204);
        patch(&world, &viewer, token).await.expect(204);
        for path in ["/api/streams/", "/api/streams/a", "/api/strategy/"] {
            ask(&world, "GET", path, token, "").await.expect(200);
        }
        for made in [&publisher, &viewer] {
            ask(&world, "GET", &made.location, token, "")
                .await
                .expect(204);
            ask(&world, "DELETE", &made.location, token, "")
                .await
                .expect(204);
        }
        ask(&world, "DELETE", "/api/streams/a", token, "")
            .await
            .expect(204);
    }
}

const GUARDED: &[(&str, &str)] = &[
    ("POST", "/whip/a"),
    ("POST", "/whep/a"),
    ("GET", "/whip/a"),
    ("HEAD", "/whep/a"),
    ("PUT", "/whip/a"),
    ("GET", "/session/a/00000000000000000000000000000000"),
    ("PATCH", "/session/a/00000000000000000000000000000000"),
    ("DELETE", "/session/a/00000000000000000000000000000000"),
    ("POST", "/session/a/00000000000000000000000000000000"),
    ("GET", "/session/a/x/layer"),
    ("GET", "/api/streams"),
    ("GET", "/api/streams/a"),
    ("POST", "/api/streams/a"),
    ("DELETE", "/api/streams/a"),
    ("GET", "/api/sse/streams"),
    ("GET", "/api/strategy"),
    ("GET", "/api/cascade/a"),
    ("POST", "/api/cascade/a"),
    ("GET", "/api/drain"),
    ("POST", "/api/drain"),
    ("DELETE", "/api/drain"),
];

#[tokio::test]
async fn w_aut_2_without_a_token_there_is_a_challenge_and_nothing_else() {
    let world = guarded().await;
    for (method, path) in GUARDED {
        let reply = world.send(method, path, &[], "").await.expect(401);
        let challenge = reply.header("www-authenticate");
        assert_eq!(challenge, "Bearer realm=\"whitewater\"", "{method} {path}");
        assert!(!reply.has("retry-after"));
        let basic = [("authorization", "Basic dXNlcjpwYXNz")];
        let reply = world.send(method, path, &basic, "").await.expect(401);
        assert!(!reply.header("www-authenticate").contains("error"));
    }
    let reply = world.post_sdp("/whip/a", OFFER).await;
    assert_challenge(&reply, 401, "");
    let exposed = reply.header("access-control-expose-headers");
    assert!(exposed.contains("WWW-Authenticate"), "{exposed}");
    assert_eq!(world.plane.seen(|seen| seen.negotiated.len()), 0);
}

#[tokio::test]
async fn w_aut_2_malformed_wrong_and_expired_tokens_are_invalid() {
    let world = guarded().await;
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer first-static-token second-static-token",
        "Bearer first-static-token,",
        "Bearer first-static-toke",
        "Bearer first-static-tokenx",
        "Bearer FIRST-STATIC-TOKEN",
        "Bearer ..",
        "Bearer .",
        "Bearer a.b.c",
        &format!("Bearer {}", "x".repeat(20_000)),
        &format!("Bearer {}", token("*", 7, -61)),
        &format!("Bearer {}", token("*", 7, -1_000_000_000)),
    ] {
        for (method, path) in [("POST", "/whip/a"), ("GET", "/api/streams/")] {
            let reply = world
                .send(method, path, &[("authorization", value)], "")
                .await;
            assert_challenge(&reply, 401, "invalid_token");
        }
    }
    let expired = ask(&world, "GET", "/api/streams", &token("*", 7, -70), "").await;
    assert!(expired.problem(401).contains("expired"));
    // The clocks of issuers differ a little from ours.
    ask(&world, "GET", "/api/streams", &token("*", 7, -50), "")
        .await
        .expect(200);
}

/// A valid token with one thing about it changed.
fn forgeries() -> Vec<String> {
    let good = claims("*", 7, 600, "");
    let typical = r#"{"alg":"HS256","typ":"JWT"}"#;
    let sha256 = hmac::HMAC_SHA256;
    let signed = sign(&good);
    let mut parts = signed.split('.');
    let (header, payload, signature) = (
        parts.next().expect("a header"),
        parts.next().expect("a payload"),
        parts.next().expect("a signature"),
    );
    let none = encode(br#"{"alg":"none"}"#);
    let other = encode(claims("*", 7, 601, "").as_bytes());
    let mut tokens = vec![
        format!("{none}.{payload}."),
        format!("{none}.{payload}"),
        format!("{none}.{payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{other}.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}."),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 2]),
        format!(".{payload}.{signature}"),
        sign_as(typical, &good, sha256, "another secret"),
        sign_as(typical, &good, sha256, ""),
        // The hash that is named and the one that was used must be the same.
        sign_as(typical, &good, hmac::HMAC_SHA512, SECRET),
        sign_as(r#"{"alg":"HS512"}"#, &good, sha256, SECRET),
        sign_as(typical, "not json", sha256, SECRET),
        sign_as(typical, "[]", sha256, SECRET),
        sign_as("{}", &good, sha256, SECRET),
    ];
    for algorithm in [
        "none", "None", "hs256", "RS256", "ES256", "PS256", "EdDSA", "", "HS1",
    ] {
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        tokens.push(sign_as(&header, &good, sha256, SECRET));
    }
    let critical = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
    tokens.push(sign_as(critical, &good, sha256, SECRET));
    let twice = r#"{"alg":"none","alg":"HS256"}"#;
    tokens.push(sign_as(twice, &good, sha256, SECRET));
    let later = unix_now() + 600;
    for payload in [
        format!(r#"{{"exp":{later},"mode":7}}"#),
        r#"{"id":"*","mode":7}"#.to_owned(),
        format!(r#"{{"id":"*","exp":{later}}}"#),
        format!(r#"{{"id":7,"exp":{later},"mode":7}}"#),
        format!(r#"{{"id":"*","exp":"{later}","mode":7}}"#),
        format!(r#"{{"id":"*","exp":{later},"mode":"7"}}"#),
        format!(r#"{{"id":"*","exp":{later},"mode":-1}}"#),
        r#"{"id":"*","exp":null,"mode":7}"#.to_owned(),
        r#"{"id":"*","exp":-1,"mode":7}"#.to_owned(),
        r#"{"id":"*","exp":1e999,"mode":7}"#.to_owned(),
        claims("*", 7, -600, &format!(r#","exp":{later}"#)),
        claims("*", 7, 600, &format!(r#","nbf":{}"#, later - 500)),
    ] {
        tokens.push(sign(&payload));
    }
    tokens
}

#[tokio::test]
async fn w_aut_2_no_forged_token_is_taken() {
    let world = guarded().await;
    ask(&world, "GET", "/api/streams", &token("*", 7, 600), "")
        .await
        .expect(200);
    for forged in forgeries() {
        let reply = ask(&world, "GET", "/api/streams", &forged, "").await;
        assert_eq!(reply.status.as_u16(), 401, "{forged}");
        assert_challenge(&reply, 401, "invalid_token");
    }
    let good = claims("*", 7, 600, r#","nbf":0,"iat":99999999999,"more":{"a":[]}"#);
    for (name, algorithm) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ] {
        let header = format!(r#"{{"alg":"{name}","kid":"x"}}"#);
        let token = sign_as(&header, &good, algorithm, SECRET);
        ask(&world, "GET", "/api/streams", &token, "")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn w_aut_2_tokens_alone_take_no_jwt_and_a_secret_alone_is_no_open_door() {
    let world = World::with(|config| config.auth.tokens = vec![ONE.into()]).await;
    let empty_key = sign_as(
        r#"{"alg":"HS256"}"#,
        &claims("*", 7, 600, ""),
        hmac::HMAC_SHA256,
        "",
    );
    for token in [token("*", 7, 600), empty_key] {
        ask(&world, "GET", "/api/streams", &token, "")
            .await
            .problem(401);
    }
    let world = World::with(|config| config.auth.secret = SECRET.into()).await;
    world.get("/api/streams").await.problem(401);
    ask(&world, "GET", "/api/streams", ONE, "")
        .await
        .problem(401);
    ask(&world, "GET", "/api/streams", &token("*", 1, 600), "")
        .await
        .expect(200);
}

#[tokio::test]
async fn w_aut_2_a_token_opens_what_it_says_and_no_more() {
    let world = guarded().await;
    // Who, and for each of these what is answered.
    let requests = [
        ("POST", "/whip/own"),
        ("POST", "/whep/own"),
        ("GET", "/api/streams/own"),
        ("POST", "/whip/other"),
        ("POST", "/whep/other"),
        ("GET", "/api/streams/other"),
        ("GET", "/api/streams"),
        ("GET", "/api/strategy"),
        ("POST", "/api/streams/new"),
        ("DELETE", "/api/streams/other"),
        ("DELETE", "/api/streams/own"),
    ];
    for (id, mode, wanted) in [
        (
            "own",
            0,
            [403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
        (
            "own",
            2,
            [201, 403, 200, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
        (
            "own",
            4,
            [403, 201, 200, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
        (
            "own",
            1,
            [403, 403, 200, 403, 403, 403, 403, 403, 403, 403, 204],
        ),
        (
            "own",
            7,
            [201, 201, 200, 403, 403, 403, 403, 403, 403, 403, 204],
        ),
        // A star is for all streams, and its bits count as any other's.
        (
            "*",
            0,
            [403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
        (
            "*",
            4,
            [403, 201, 200, 403, 201, 200, 403, 403, 403, 403, 403],
        ),
        (
            "*",
            2,
            [201, 403, 200, 201, 403, 200, 403, 403, 403, 403, 403],
        ),
        (
            "*",
            1,
            [403, 403, 200, 403, 403, 200, 200, 200, 204, 204, 204],
        ),
        (
            "",
            7,
            [403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
        (
            "OWN",
            7,
            [403, 403, 403, 403, 403, 403, 403, 403, 403, 403, 403],
        ),
    ] {
        for name in ["own", "other"] {
            let path = format!("/api/streams/{name}");
            ask(&world, "POST", &path, ONE, "").await.expect(204);
        }
        let token = token(id, mode, 600);
        for ((method, path), wanted) in requests.iter().zip(wanted) {
            let body = if path.starts_with("/wh") { OFFER } else { "" };
            let reply = ask(&world, method, path, &token, body).await;
            let what = format!("{method} {path} with {id} {mode}: {reply:?}");
            assert_eq!(reply.status.as_u16(), wanted, "{what}");
            if wanted == 403 {
                assert_challenge(&reply, 403, "insufficient_scope");
            }
        }
        for name in ["own", "other", "new"] {
            let path = format!("/api/streams/{name}");
            ask(&world, "DELETE", &path, ONE, "").await;
        }
    }
    let cascade = r#"{"sourceUrl":"http://127.0.0.1/whep/x"}"#;
    for (id, mode, wanted) in [("own", 6, 403), ("other", 7, 403), ("own", 1, 422)] {
        let reply = ask_json(&world, "/api/cascade/own", &token(id, mode, 600), cascade).await;
        assert_eq!(reply.status.as_u16(), wanted, "{id} {mode}");
    }
}

#[tokio::test]
async fn w_aut_2_names_are_compared_as_they_are_meant_and_not_as_they_are_written() {
    let world = guarded().await;
    let scoped = token("a b/ü", 6, 600);
    for path in ["/whip/a%20b%2F%C3%BC", "/whep/%61%20b%2f%c3%bc"] {
        let made = post(&world, path, &scoped).await;
        ask(&world, "DELETE", &made.location, &scoped, "")
            .await
            .expect(204);
    }
    let plain = token("own", 6, 600);
    post(&world, "/whep/o%77n", &plain).await;
    for path in ["/whip/own%2Fother", "/whip/own%20", "/whip/%6Fther"] {
        ask(&world, "POST", path, &plain, OFFER).await.problem(403);
    }
}

#[tokio::test]
async fn w_aut_4_a_session_is_only_there_for_who_made_it() {
    let world = guarded().await;
    let makers = [
        ONE.to_owned(),
        TWO.to_owned(),
        token("a", 6, 600),
        token("a", 6, 601),
        sign(&claims("a", 6, 600, r#","sub":"alice""#)),
        sign(&claims("a", 6, 600, r#","sub":"bob""#)),
        token("*", 7, 602),
    ];
    for maker in &makers {
        let viewer = post(&world, "/whep/a", maker).await;
        let layer = format!("{}/layer", viewer.location);
        for stranger in makers.iter().filter(|other| *other != maker) {
            let unknown = "/session/a/00000000000000000000000000000000";
            let none = ask(&world, "GET", unknown, stranger, "").await;
            for (method, path) in [
                ("GET", &viewer.location),
                ("DELETE", &viewer.location),
                ("POST", &viewer.location),
                ("DELETE", &layer),
            ] {
                let reply = ask(&world, method, path, stranger, "{}").await;
                // As if it did not exist, until there were too many of these.
                assert!([404, 429].contains(&reply.status.as_u16()), "{reply:?}");
                if reply.status == none.status {
                    assert_eq!(reply.body, none.body);
                }
            }
            let reply = patch(&world, &viewer, stranger).await;
            assert!([404, 429].contains(&reply.status.as_u16()), "{reply:?}");
        }
        let (closed, muted) = world
            .plane
            .seen(|seen| (seen.closed.len(), seen.muted.len()));
        patch(&world, &viewer, maker).await.expect(204);
        let mute = r#"{"kind":"video","enabled":false}"#;
        ask_json(&world, &viewer.location, maker, mute)
            .await
            .expect(200);
        ask(&world, "DELETE", &layer, maker, "").await.expect(200);
        ask(&world, "GET", &viewer.location, maker, "")
            .await
            .expect(204);
        ask(&world, "DELETE", &viewer.location, maker, "")
            .await
            .expect(204);
        world
            .until("only its maker closed and muted it", async || {
                let now = world
                    .plane
                    .seen(|seen| (seen.closed.len(), seen.muted.len()));
                now == (closed + 1, muted + 2)
            })
            .await;
    }
}

#[tokio::test]
async fn w_aut_4_who_renews_a_token_keeps_the_session_as_far_as_the_new_one_goes() {
    let world = guarded().await;
    let alice = |id, mode, seconds| sign(&claims(id, mode, seconds, r#","sub":"alice""#));
    let viewer = post(&world, "/whep/a", &alice("a", 4, 600)).await;
    patch(&world, &viewer, &alice("a", 4, 700))
        .await
        .expect(204);
    for narrower in [alice("b", 4, 600), alice("a", 2, 600)] {
        let reply = ask(&world, "DELETE", &viewer.location, &narrower, "").await;
        assert_challenge(&reply, 403, "insufficient_scope");
        assert_challenge(
            &patch(&world, &viewer, &narrower).await,
            403,
            "insufficient_scope",
        );
    }
    ask(&world, "DELETE", &viewer.location, &alice("*", 4, 600), "")
        .await
        .expect(204);
}

#[tokio::test]
async fn w_aut_5_the_schemes_case_is_free_and_two_headers_are_400() {
    let world = guarded().await;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} {ONE}");
        let headers = [("authorization", value.as_str())];
        world
            .send("GET", "/api/streams", &headers, "")
            .await
            .expect(200);
    }
    let good = format!("Bearer {ONE}");
    for other in [good.as_str(), "Bearer x", "Basic eDp5", ""] {
        for pair in [[good.as_str(), other], [other, good.as_str()]] {
            let headers = pair.map(|value| ("authorization", value));
            let reply = world.send("GET", "/api/streams", &headers, "").await;
            assert_challenge(&reply, 400, "invalid_request");
        }
    }
}

#[tokio::test]
async fn w_aut_7_a_token_in_the_url_is_taken_where_that_is_switched_on() {
    let world = World::with(|config| {
        config.auth.tokens = vec![ONE.into()];
        config.auth.secret = SECRET.into();
        config.auth.token_in_url = true;
    })
    .await;
    let reply = world
        .post_sdp(&format!("/whip/a?x=1&token={ONE}"), OFFER)
        .await;
    assert!(!format!("{reply:?}").contains(ONE));
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    let made = made(&reply);
    let url = format!("{}?token={ONE}", made.location);
    world.delete(&url).await.expect(204);
    let scoped = token("a", 4, 600);
    world
        .post_sdp(&format!("/whep/a?token={scoped}"), OFFER)
        .await
        .expect(201);
    world
        .get(&format!("/api/streams?token={scoped}"))
        .await
        .problem(403);
    world.get("/api/streams?token=").await.problem(401);
    world
        .get(&format!("/api/streams?Token={ONE}"))
        .await
        .problem(401);
    let twice = world
        .get(&format!("/api/streams?token={ONE}&token={ONE}"))
        .await;
    assert_challenge(&twice, 400, "invalid_request");
    let both = ask(&world, "GET", &format!("/api/streams?token={ONE}"), ONE, "").await;
    assert_challenge(&both, 400, "invalid_request");

    let world = guarded().await;
    world
        .get(&format!("/api/streams?token={ONE}"))
        .await
        .problem(401);
}

#[tokio::test]
async fn w_cors_5_preflights_and_what_watches_over_the_process_need_no_token() {
    let world = guarded().await;
    let session = post(&world, "/whip/a", ONE).await;
    for (path, method) in [
        ("/whip/a", "POST"),
        ("/whep/a", "POST"),
        (session.location.as_str(), "PATCH"),
        ("/api/streams/a", "DELETE"),
    ] {
        let preflight = [
            ("origin", "https://page.example"),
            ("access-control-request-method", method),
            ("access-control-request-headers", "authorization"),
        ];
        world
            .send("OPTIONS", path, &preflight, "")
            .await
            .expect(200);
    }
    for path in ["/healthz", "/metrics", "/api/info", "/api/info/", "/"] {
        world.get(path).await.expect(200);
        // Not looked at, so not refused either.
        ask(&world, "GET", path, "wrong", "").await.expect(200);
    }
    world
        .until("ready", async || world.get("/readyz").await.status == 200)
        .await;
    world.get("/nowhere").await.problem(404);
}

#[tokio::test]
async fn w_tag_8_the_checks_come_in_one_order() {
    let world = guarded().await;
    let alice = |mode| sign(&claims("a", mode, 600, r#","sub":"alice""#));
    let made = post(&world, "/whep/a", &alice(4)).await;
    let gone = "/session/a/00000000000000000000000000000000".to_owned();
    let fragment = "application/trickle-ice-sdpfrag";
    let (good, forbidden, stranger) = (alice(4), alice(2), token("a", 4, 600));
    // Everything is wrong at first; then one mistake after the other is mended.
    for (wanted, token, location, media_type, tag, body) in [
        (401, "wrong", &gone, "text/plain", None, "nonsense"),
        (404, &forbidden, &gone, "text/plain", None, "nonsense"),
        (
            404,
            &stranger,
            &made.location,
            "text/plain",
            None,
            "nonsense",
        ),
        (
            403,
            &forbidden,
            &made.location,
            "text/plain",
            None,
            "nonsense",
        ),
        (415, &good, &made.location, "text/plain", None, "nonsense"),
        (428, &good, &made.location, fragment, None, "nonsense"),
        (
            412,
            &good,
            &made.location,
            fragment,
            Some("\"x\""),
            "nonsense",
        ),
        (400, &good, &made.location, fragment, Some("*"), "nonsense"),
        (204, &good, &made.location, fragment, Some("*"), TRICKLE),
    ] {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("content-type", media_type),
        ];
        headers.extend(tag.map(|tag| ("if-match", tag)));
        let reply = world.send("PATCH", location, &headers, body).await;
        assert_eq!(reply.status.as_u16(), wanted, "{reply:?}");
    }
}

#[tokio::test]
async fn a_session_ends_with_the_token_it_was_made_with() {
    let world = guarded().await;
    let short = token("a", 6, 3);
    let began = Instant::now();
    let publisher = post(&world, "/whip/a", &short).await;
    let late = offer_with("a=x-answer-after-ms:500");
    let viewer = made(&ask(&world, "POST", "/whep/a", &short, &late).await);
    let lasting = post(&world, "/whep/a", ONE).await;
    let longer = post(&world, "/whep/a", &token("a", 4, 600)).await;
    world
        .until("both are closed", async || {
            world.plane.seen(|seen| {
                let expired = (CloseReason::Expired, CloseReason::Expired);
                let of = |id| seen.closed.iter().find(|(closed, _)| *closed == id);
                let reason = |made: &Made| of(made.id).map(|(_, reason)| *reason);
                (reason(&publisher), reason(&viewer)) == (Some(expired.0), Some(expired.1))
            })
        })
        .await;
    // `exp` is in whole seconds: up to one is cut off.
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    ask(&world, "GET", &publisher.location, &short, "")
        .await
        .problem(404);
    ask(&world, "GET", &lasting.location, ONE, "")
        .await
        .expect(204);
    let closed = world
        .plane
        .seen(|seen| seen.closed.iter().any(|(id, _)| *id == longer.id));
    assert!(!closed);
}

#[tokio::test]
async fn a_session_made_within_the_leeway_is_not_closed_at_once() {
    let world = guarded().await;
    let stale = token("a", 4, -30);
    let viewer = post(&world, "/whep/a", &stale).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    ask(&world, "GET", &viewer.location, &stale, "")
        .await
        .expect(204);
}

#[tokio::test]
async fn a_far_away_expiry_is_none() {
    let world = guarded().await;
    for exp in ["1e300", "18446744073709551615", "99999999999.5"] {
        let token = sign(&format!(r#"{{"id":"a","exp":{exp},"mode":4}}"#));
        let viewer = post(&world, "/whep/a", &token).await;
        ask(&world, "DELETE", &viewer.location, &token, "")
            .await
            .expect(204);
    }
}

#[tokio::test]
async fn the_event_stream_ends_with_its_token() {
    let world = guarded().await;
    let mut stream = TcpStream::connect(world.at).await.expect("connect");
    let request = format!(
        "GET /api/sse/streams HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {}\r\n\r\n",
        token("*", 1, 2)
    );
    stream.write_all(request.as_bytes()).await.expect("write");
    let began = Instant::now();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn without_credentials_configured_nobody_is_asked_for_any() {
    let world = World::new().await;
    for value in ["Bearer whatever", "Basic eDp5", "nonsense"] {
        let headers = [("authorization", value)];
        world
            .send("GET", "/api/streams", &headers, "")
            .await
            .expect(200);
    }
    world.publish("a").await;
}

#[tokio::test]
async fn a_stream_belongs_to_its_publisher_until_it_is_gone() {
    let world = World::with(|config| {
        config.auth.tokens = vec![ONE.into(), TWO.into()];
        config.policy.takeover = whitewater_control::Takeover::Always;
    })
    .await;
    post(&world, "/whip/a", ONE).await;
    ask(&world, "POST", "/whip/a", TWO, OFFER)
        .await
        .problem(409);
    post(&world, "/whip/a", ONE).await;
}

/// Collects what a subscriber writes.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn w_aut_6_no_token_appears_in_logs_answers_or_metrics() {
    let lines = Lines::default();
    let writer = lines.clone();
    // For the whole process: which events a thread's own listener hears depends on what other
    // threads did before.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    const ONE: &str = "static-token-of-the-log-test";
    const FILED: &str = "filed-token-of-the-log-test";
    let scratch = Scratch::new();
    let signer = Signer::new("ES256");
    let tokens = scratch.write("tokens", &format!("all {FILED}\n"));
    let keys = scratch.write("keys", &set(&[signer.jwk("1")]));
    let world = World::with(|config| {
        config.auth.tokens = vec![ONE.into()];
        config.auth.tokens_file = Some(tokens);
        config.auth.key_files = vec![keys];
        config.auth.secret = SECRET.into();
        config.auth.token_in_url = true;
    })
    .await;
    let wrong = "wrong-but-perhaps-another-servers-token";
    let scoped = token("a", 4, 600);
    let expired = token("a", 7, -600);
    let mut forged = token("*", 7, 600);
    forged.push('A');
    let paired = signer.sign(Some("1"), &claims("a", 7, 600, ""));
    let unknown = signer.sign(Some("2"), &claims("a", 7, 600, ""));
    let tokens = [
        ONE, FILED, wrong, &scoped, &expired, &forged, &paired, &unknown,
    ];
    let secrets = tokens.into_iter().chain([SECRET]);
    let mut replies = Vec::new();
    for token in tokens {
        for (method, path) in GUARDED {
            if *path == "/api/sse/streams" {
                continue;
            }
            let body = if path.starts_with("/wh") {
                OFFER
            } else {
                "{\"token\":7}"
            };
            replies.push(ask(&world, method, path, token, body).await);
            replies.push(ask_json(&world, path, token, "{").await);
            let url = format!("{path}?token={token}");
            replies.push(world.send(method, &url, &[], body).await);
            // As what it is not.
            let odd = format!("Basic {token}");
            replies.push(
                world
                    .send(method, path, &[("authorization", &odd)], "")
                    .await,
            );
        }
    }
    post(&world, "/whip/overheard", ONE).await;
    // A file that is broken is complained about, and not repeated.
    scratch.write("tokens", &format!("all {FILED}\n{ONE}\n"));
    scratch.write("keys", SECRET);
    tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    replies.push(world.get("/metrics").await.expect(200));
    replies.push(world.get("/api/info").await.expect(200));
    let text = format!("{replies:?}");
    world.shut_down().await;
    let log = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
    let heard = log
        .lines()
        .any(|line| line.contains("session made") && line.contains("overheard"));
    assert!(heard, "{log}");
    assert!(
        log.contains("line 2") && log.contains("auth.key_files"),
        "{log}"
    );
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in the log");
        assert!(!text.contains(secret), "{secret} in an answer");
        // Nor its parts: the claims are somebody's business too.
        for part in secret.split('.').filter(|part| part.len() > 40) {
            assert!(!log.contains(part) && !text.contains(part), "{part}");
        }
    }
}
