//! Rights that are taken back before their time, in a token file and by the API.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use whitewater_control::Config;
use whitewater_link::CloseReason;

use crate::bearer::{ask, ask_json, assert_challenge, patch, post};
use crate::client::{Reply, read_to_end};
use crate::issuer::{Signer, set};
use crate::scratch::Scratch;
use crate::token::{SECRET, claims, sign, unix_now};
use crate::world::{Made, OFFER, World, offer_with};

const ADMIN: &str = "the-operators-token";
const REVOCATIONS: &str = "/api/auth/revocations";

fn guarded(config: &mut Config) {
    config.auth.tokens = vec![ADMIN.into()];
    config.auth.secret = SECRET.into();
}

fn named(jti: &str, sub: &str, sid: &str) -> String {
    let more = format!(r#","jti":"{jti}","sub":"{sub}","sid":"{sid}""#);
    sign(&claims("a", 6, 600, &more))
}

async fn revoke(world: &World, what: &str) -> Reply {
    ask_json(world, REVOCATIONS, ADMIN, what).await
}

async fn until_revoked(world: &World, made: &[&Made]) {
    world
        .until("sessions are ended as revoked", async || {
            world.plane.seen(|seen| {
                let ended = |made: &&Made| seen.closed.contains(&(made.id, CloseReason::Revoked));
                made.iter().all(ended)
            })
        })
        .await;
}

fn is_closed(world: &World, made: &Made) -> bool {
    world
        .plane
        .seen(|seen| seen.closed.iter().any(|(id, _)| *id == made.id))
}

#[tokio::test]
async fn attack_21_a_revoked_token_ends_its_sessions_at_once_and_opens_nothing_more() {
    for (what, falls) in [
        (r#"{"jti":"one"}"#, [true, false, false]),
        (r#"{"sub":"alice"}"#, [true, true, false]),
        (r#"{"sid":"desk"}"#, [true, false, true]),
        (r#"{"jti":"alice"}"#, [false, false, false]),
        (r#"{"sub":"one"}"#, [false, false, false]),
    ] {
        let world = World::with(guarded).await;
        let tokens = [
            named("one", "alice", "desk"),
            named("two", "alice", "phone"),
            named("three", "bob", "desk"),
        ];
        let publisher = post(&world, "/whip/a", ADMIN).await;
        let mut made = Vec::new();
        for token in &tokens {
            made.push(post(&world, "/whep/a", token).await);
        }
        let began = Instant::now();
        let reply = revoke(&world, what).await.expect(201);
        let count = falls.iter().filter(|falls| **falls).count();
        assert_eq!(reply.json()["ended"], count, "{what}");
        let fallen: Vec<&Made> = made
            .iter()
            .zip(falls)
            .filter(|(_, falls)| *falls)
            .map(|(made, _)| made)
            .collect();
        until_revoked(&world, &fallen).await;
        assert!(began.elapsed() < Duration::from_secs(5));
        for ((token, made), falls) in tokens.iter().zip(&made).zip(falls) {
            let replies = [
                ask(&world, "GET", &made.location, token, "").await,
                patch(&world, made, token).await,
                ask(&world, "POST", "/whep/a", token, OFFER).await,
                ask(&world, "DELETE", &made.location, token, "").await,
            ];
            for reply in replies {
                if falls {
                    assert_challenge(&reply, 401, "invalid_token");
                } else {
                    assert!(reply.status.is_success(), "{what}: {reply:?}");
                }
            }
        }
        assert!(!is_closed(&world, &publisher), "{what}");
    }
}

#[tokio::test]
async fn a_revocation_that_comes_while_a_session_is_being_made_ends_it_as_well() {
    let world = World::with(guarded).await;
    let token = named("one", "alice", "desk");
    let late = offer_with("a=x-answer-after-ms:500");
    let asking = ask(&world, "POST", "/whip/a", &token, &late);
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        revoke(&world, r#"{"jti":"one"}"#).await.expect(201)
    };
    let (reply, _) = tokio::join!(asking, revoking);
    reply.problem(404);
    world
        .until("the data plane is told", async || {
            world
                .plane
                .seen(|seen| seen.live == 0 && seen.closed.len() == 1)
        })
        .await;
    post(&world, "/whip/a", ADMIN).await;
}

#[tokio::test]
async fn revocations_are_listed_changed_and_taken_back_by_the_operator() {
    let world = World::with(guarded).await;
    let token = named("one", "alice", "desk");
    let empty = ask(&world, "GET", REVOCATIONS, ADMIN, "").await.expect(200);
    assert_eq!(empty.text(), r#"{"revocations":[]}"#);
    let until = unix_now() + 600;
    let made = revoke(&world, &format!(r#"{{"sub":"alice","until":{until}}}"#)).await;
    let made = made.expect(201).json();
    assert_eq!(
        (&made["sub"], &made["until"]),
        (&"alice".into(), &until.into())
    );
    let id = made["id"].as_str().expect("an id").to_owned();
    // Again, with another end: it is the same one.
    let again = revoke(&world, r#"{"sub":"alice"}"#)
        .await
        .expect(201)
        .json();
    assert_eq!(again["id"], id.as_str());
    let list = ask(&world, "GET", REVOCATIONS, ADMIN, "")
        .await
        .expect(200)
        .json();
    assert_eq!(
        list["revocations"],
        serde_json::json!([{"id": id, "sub": "alice"}])
    );
    ask(&world, "POST", "/whip/a", &token, OFFER)
        .await
        .problem(401);
    let path = format!("{REVOCATIONS}/{id}");
    ask(&world, "DELETE", &path, ADMIN, "").await.expect(204);
    ask(&world, "DELETE", &path, ADMIN, "").await.problem(404);
    ask(&world, "DELETE", &format!("{REVOCATIONS}/x"), ADMIN, "")
        .await
        .problem(404);
    post(&world, "/whip/a", &token).await;

    for (wrong, status) in [
        ("{}", 422),
        (r#"{"jti":"a","sub":"b"}"#, 422),
        (r#"{"jti":""}"#, 422),
        (r#"{"jti":7}"#, 422),
        (r#"{"jti":"a","until":-1}"#, 422),
        (r#"{"jti":"a","until":"x"}"#, 422),
        (r#"{"jti":"a","since":1}"#, 422),
        (&format!(r#"{{"jti":"{}"}}"#, "x".repeat(1025)), 422),
        ("{", 400),
    ] {
        revoke(&world, wrong).await.problem(status);
    }
    ask(&world, "POST", REVOCATIONS, ADMIN, r#"{"jti":"a"}"#)
        .await
        .problem(415);
}

#[tokio::test]
async fn a_revocation_ends_when_it_says() {
    let world = World::with(guarded).await;
    let token = named("one", "alice", "desk");
    let until = unix_now() + 2;
    revoke(&world, &format!(r#"{{"jti":"one","until":{until}}}"#))
        .await
        .expect(201);
    ask(&world, "POST", "/whip/a", &token, OFFER)
        .await
        .problem(401);
    world
        .until("it is forgotten", async || {
            let list = ask(&world, "GET", REVOCATIONS, ADMIN, "").await.json();
            list["revocations"] == serde_json::json!([])
        })
        .await;
    post(&world, "/whip/a", &token).await;
}

#[tokio::test]
async fn publish_and_watch_tokens_never_open_the_management_api() {
    let world = World::with(|config| {
        config.auth.tokens = vec![ADMIN.into()];
        config.auth.publish_tokens = vec!["publisher".into(), "both".into()];
        config.auth.watch_tokens = vec!["viewer".into(), "both".into()];
        config.auth.secret = SECRET.into();
    })
    .await;
    let star = sign(&claims("*", 6, 600, ""));
    let narrow = sign(&claims("a", 7, 600, ""));
    for token in ["publisher", "viewer", "both", &star, &narrow] {
        for (method, path) in [
            ("GET", "/api/streams"),
            ("GET", "/api/sse/streams"),
            ("GET", "/api/strategy"),
            ("POST", "/api/streams/new"),
            ("DELETE", "/api/streams/b"),
            ("POST", "/api/cascade/b"),
            ("GET", REVOCATIONS),
            ("POST", REVOCATIONS),
            ("DELETE", "/api/auth/revocations/0"),
        ] {
            let reply = ask(&world, method, path, token, "").await;
            assert_challenge(&reply, 403, "insufficient_scope");
        }
    }
    for (token, publishes, watches) in [
        ("publisher", 201, 403),
        ("viewer", 403, 201),
        ("both", 201, 201),
    ] {
        let reply = ask(&world, "POST", &format!("/whip/of-{token}"), token, OFFER).await;
        assert_eq!(reply.status.as_u16(), publishes, "{token}");
        let reply = ask(&world, "POST", &format!("/whep/of-{token}"), token, OFFER).await;
        assert_eq!(reply.status.as_u16(), watches, "{token}");
    }
    world.get(REVOCATIONS).await.problem(401);
}

#[tokio::test]
async fn a_token_that_is_removed_from_its_file_ends_its_sessions() {
    let scratch = Scratch::new();
    let path = scratch.write(
        "tokens",
        "publish camera a\nwatch eye\nall root\nwatch b-only b\n",
    );
    let world = World::with(|config| config.auth.tokens_file = Some(path)).await;
    let camera = post(&world, "/whip/a", "camera").await;
    let eye = post(&world, "/whep/a", "eye").await;
    for (path, token) in [
        ("/whip/b", "camera"),
        ("/whep/a", "camera"),
        ("/whip/a", "eye"),
        ("/whep/a", "b-only"),
    ] {
        ask(&world, "POST", path, token, OFFER).await.problem(403);
    }
    ask(&world, "GET", "/api/streams", "root", "")
        .await
        .expect(200);
    // What is broken changes nothing.
    scratch.write("tokens", "publish\n");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!is_closed(&world, &camera) && !is_closed(&world, &eye));

    let began = Instant::now();
    scratch.write("tokens", "watch eye\npublish another a\n");
    until_revoked(&world, &[&camera]).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let reply = ask(&world, "DELETE", &camera.location, "camera", "").await;
    assert_challenge(&reply, 401, "invalid_token");
    assert!(!is_closed(&world, &eye));
    post(&world, "/whip/a", "another").await;
    // An empty file lets nobody in.
    scratch.write("tokens", "");
    until_revoked(&world, &[&eye]).await;
    world.get("/api/streams").await.problem(401);
}

#[tokio::test]
async fn a_key_that_is_removed_ends_the_sessions_of_its_tokens() {
    let scratch = Scratch::new();
    let (old, new) = (Signer::new("ES256"), Signer::new("RS256"));
    let path = scratch.write("keys", &set(&[old.jwk("1"), new.jwk("2")]));
    let world = World::with(|config| {
        guarded(config);
        config.auth.key_files = vec![path];
    })
    .await;
    let rights = claims("a", 4, 600, "");
    let by_old = post(&world, "/whep/a", &old.sign(Some("1"), &rights)).await;
    let by_new = post(&world, "/whep/a", &new.sign(Some("2"), &rights)).await;
    let by_secret = post(&world, "/whep/a", &sign(&rights)).await;
    // Another name and another way to write it do not make it another key.
    scratch.write("keys", &old.pem());
    until_revoked(&world, &[&by_new]).await;
    assert!(!is_closed(&world, &by_old));
    scratch.write("keys", &set(&[]));
    until_revoked(&world, &[&by_old]).await;
    assert!(!is_closed(&world, &by_secret));
}

#[tokio::test]
async fn the_event_stream_ends_with_the_right_to_it() {
    let world = World::with(guarded).await;
    let more = r#","sub":"alice""#;
    let token = sign(&claims("*", 1, 600, more));
    let mut stream = TcpStream::connect(world.at).await.expect("connect");
    let request = format!(
        "GET /api/sse/streams HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("write");
    let ending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        revoke(&world, r#"{"jti":"nobody"}"#).await.expect(201);
        tokio::time::sleep(Duration::from_millis(300)).await;
        revoke(&world, r#"{"sub":"alice"}"#).await.expect(201);
        Instant::now()
    };
    let (answer, revoked) = tokio::join!(
        async { (read_to_end(&mut stream).await, Instant::now()) },
        ending
    );
    assert!(answer.0.starts_with("HTTP/1.1 200"), "{}", answer.0);
    assert!(
        answer.1 + Duration::from_millis(50) >= revoked,
        "it lasted until then"
    );
    assert!(answer.1.saturating_duration_since(revoked) < Duration::from_secs(5));
}

#[tokio::test]
async fn revocations_outlive_the_server_where_they_have_a_file() {
    let scratch = Scratch::new();
    let path = scratch.path("revocations.json");
    let configure = |config: &mut Config| {
        guarded(config);
        config.auth.revocations_file = Some(path.clone());
    };
    let (one, two) = (named("one", "alice", "s1"), named("two", "bob", "s2"));
    let world = World::with(configure).await;
    post(&world, "/whep/a", &one).await;
    let id = revoke(&world, r#"{"jti":"one"}"#).await.expect(201).json()["id"].clone();
    revoke(&world, r#"{"sub":"carol"}"#).await.expect(201);
    world.shut_down().await;

    let world = World::with(configure).await;
    ask(&world, "POST", "/whep/a", &one, OFFER)
        .await
        .problem(401);
    let viewer = post(&world, "/whep/a", &two).await;
    // Written by hand.
    scratch.write("revocations.json", r#"{"revocations":[{"sub":"bob"}]}"#);
    until_revoked(&world, &[&viewer]).await;
    post(&world, "/whep/a", &one).await;
    scratch.write("revocations.json", "{");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    ask(&world, "POST", "/whep/a", &two, OFFER)
        .await
        .problem(401);
    // What cannot be kept is in force all the same, and said to be lost.
    let gone = format!("{REVOCATIONS}/{}", id.as_str().expect("an id"));
    ask(&world, "DELETE", &gone, ADMIN, "").await.problem(404);
    drop(scratch);
    revoke(&world, r#"{"jti":"one"}"#).await.problem(500);
    ask(&world, "POST", "/whep/a", &one, OFFER)
        .await
        .problem(401);
}

#[tokio::test]
async fn a_server_with_broken_or_missing_files_does_not_start() {
    let scratch = Scratch::new();
    type Configure = fn(&mut Config, std::path::PathBuf);
    let cases: [(Configure, &str, &str); 5] = [
        (
            |c, path| c.auth.tokens_file = Some(path),
            "auth.tokens_file",
            "watch",
        ),
        (
            |c, path| c.auth.key_files = vec![path],
            "auth.key_files",
            "nonsense",
        ),
        (
            |c, path| c.auth.key_files = vec![path],
            "auth.key_files",
            r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#,
        ),
        (
            |c, path| c.auth.revocations_file = Some(path),
            "auth.revocations_file",
            r#"{"revocations":[{}]}"#,
        ),
        (
            |c, path| c.auth.tokens_file = Some(path.join("x")),
            "auth.tokens_file",
            "",
        ),
    ];
    for (configure, key, text) in cases {
        let path = scratch.write("file", text);
        let (_plane, port) = crate::fake::Fake::start();
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        configure(&mut config, path);
        let refused = whitewater_control::Server::bind(config, port).err();
        let why = refused.expect(key).to_string();
        assert!(why.starts_with(key) && why.contains("file"), "{why}");
    }
}
