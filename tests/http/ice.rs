//! STUN and TURN servers told to clients (RFC 9725 §4.6).

use std::time::{Duration, SystemTime};

use whitewater_control::{Config, IceServer, TurnSecret};

use crate::client::Reply;
use crate::world::{OFFER, World};

fn with_turn(config: &mut Config) {
    config.ice_servers = vec![IceServer {
        urls: vec![
            "stun:s.example".into(),
            "turn:t.example?transport=tcp".into(),
        ],
        ..IceServer::default()
    }];
    config.turn = TurnSecret {
        secret: "hush-turn".into(),
        ttl: Duration::from_secs(3600),
    };
}

fn links(reply: &Reply) -> Vec<&str> {
    let links = reply.headers.get_all("link").iter();
    links
        .map(|link| link.to_str().expect("text"))
        .filter(|link| link.contains("ice-server"))
        .collect()
}

/// The user name of a TURN link: when it ends, and the session's name.
fn username(link: &str) -> (u64, String) {
    let (_, rest) = link.split_once("username=\"").expect("a user name");
    let (username, _) = rest.split_once('"').expect("its end");
    let (ends, name) = username.split_once(':').expect("two parts");
    (ends.parse().expect("seconds"), name.to_owned())
}

#[tokio::test]
async fn w_ice_6_turn_credentials_are_short_lived_and_each_sessions_own() {
    let world = World::with(with_turn).await;
    world.publish("a").await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let mut names = Vec::new();
    for path in ["/whep/a", "/whep/a", "/whip/b"] {
        let reply = world.post_sdp(path, OFFER).await.expect(201);
        let links = links(&reply);
        assert_eq!(links[0], "<stun:s.example>; rel=\"ice-server\"");
        assert!(links[1].starts_with("<turn:t.example?transport=tcp>; "));
        assert!(links[1].ends_with("; credential-type=\"password\""));
        let (ends, name) = username(links[1]);
        assert!((now + 3600..now + 3660).contains(&ends), "{ends}");
        // Whoever sees the user name on its way to the relay must not have the session's key.
        let session = reply.header("location").rsplit('/').next().expect("an id");
        assert!(!links[1].contains(session));
        assert!(!links[1].contains("hush"), "{}", links[1]);
        names.push(name);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[tokio::test]
async fn w_ice_4_options_tell_the_servers_where_that_is_switched_on() {
    let world = World::with(with_turn).await;
    let reply = world.send("OPTIONS", "/whip/a", &[], "").await.expect(200);
    assert!(links(&reply).is_empty(), "off by default");
    let world = World::with(|config| {
        with_turn(config);
        config.links_on_options = true;
    })
    .await;
    for path in ["/whip/a", "/whep/a"] {
        let reply = world.send("OPTIONS", path, &[], "").await.expect(200);
        assert_eq!(links(&reply).len(), 2, "{path}");
    }
    let reply = world.send("OPTIONS", "/api/streams", &[], "").await;
    assert!(links(&reply).is_empty());
}

#[tokio::test]
async fn w_ice_5_preflights_and_strangers_are_told_no_servers() {
    let world = World::with(|config| {
        with_turn(config);
        config.links_on_options = true;
        config.auth.tokens = vec!["a-long-token-for-this-test".into()];
    })
    .await;
    let token = ("authorization", "Bearer a-long-token-for-this-test");
    let preflight = ("access-control-request-method", "POST");
    let asked = async |headers: &[(&str, &str)]| {
        let reply = world.send("OPTIONS", "/whip/a", headers, "").await;
        links(&reply.expect(200)).len()
    };
    assert_eq!(asked(&[token]).await, 2);
    assert_eq!(asked(&[]).await, 0);
    assert_eq!(asked(&[token, preflight]).await, 0);
    assert_eq!(asked(&[preflight]).await, 0);
}
