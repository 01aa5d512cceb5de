//! Streams that come from other servers and go there, as far as HTTP is concerned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use whitewater_control::{Config, Network};
use whitewater_link::{CloseReason, Event, SessionId, SessionState};

use crate::client::Reply;
use crate::far::{ANSWER, Far, Headers, taken};
use crate::issuer::pem;
use crate::scratch::Scratch;
use crate::token::{SECRET, claims, sign};
use crate::world::{OFFER, World};

/// A server that may call 127.0.0.1 and nothing else of this machine.
async fn world() -> World {
    World::with(near).await
}

fn near(config: &mut Config) {
    config.cascade.networks = vec![Network {
        address: [127, 0, 0, 1].into(),
        prefix_len: 32,
    }];
}

async fn cascade(world: &World, stream: &str, body: Value) -> Reply {
    let path = format!("/api/cascade/{stream}");
    world.post_json(&path, &body.to_string()).await
}

/// The one session on a side of a stream, if there is one.
async fn session(world: &World, stream: &str, side: &str) -> Option<Value> {
    let stream = world.stream(stream).await?;
    let sessions = stream[side]["sessions"].as_array().expect("a list");
    assert!(sessions.len() <= 1, "{sessions:?}");
    sessions.first().cloned()
}

fn id(session: &Value) -> SessionId {
    let id = session["id"].as_str().expect("a text");
    id.parse().expect("an id")
}

async fn connected(world: &World, session: &Value) {
    world.plane.state(id(session), SessionState::Connected);
}

#[tokio::test]
async fn a_stream_is_pulled_by_whep_and_its_session_is_shown() {
    let (world, far) = (world().await, Far::good().await);
    let url = far.url("/whep/cam");
    let reply = cascade(&world, "copy", json!({"sourceUrl": url, "token": "abc"})).await;
    assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
    assert!(reply.body.is_empty());

    let [asked] = &far.asked()[..] else {
        panic!("{:?}", far.asked());
    };
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/whep/cam")
    );
    assert_eq!(asked.body, OFFER);
    assert_eq!(asked.header("content-type"), Some("application/sdp"));
    assert_eq!(asked.header("authorization"), Some("Bearer abc"));
    assert_eq!(asked.header("host"), Some(far.at.to_string().as_str()));
    let made = session(&world, "copy", "publish").await.expect("a session");
    assert_eq!(
        made["cascade"],
        json!({"sourceUrl": url, "sessionUrl": far.url("/session/1")})
    );
    let text = world.get("/metrics").await.text().to_owned();
    for line in [
        "whitewater_cascade_links{direction=\"pull\"} 1",
        "whitewater_cascade_links{direction=\"push\"} 0",
        "whitewater_cascade_attempts_total{outcome=\"succeeded\"} 1",
    ] {
        assert!(text.contains(line), "{line}");
    }

    // Its client ends it like any session of its own, and the other server is told.
    let path = format!("/session/copy/{}", id(&made));
    assert_eq!(world.delete(&path).await.status.as_u16(), 204);
    world
        .until("the far session ends", async || far.count("DELETE") == 1)
        .await;
    let deleted = far.asked().pop().expect("a request");
    assert_eq!(deleted.path, "/session/1");
    assert_eq!(deleted.header("authorization"), Some("Bearer abc"));
    world
        .until("the link ends", async || {
            let page = world.get("/metrics").await;
            page.text().contains("links{direction=\"pull\"} 0")
        })
        .await;
    assert_eq!(far.count("POST"), 1, "it is not made again");
}

/// draft-ietf-wish-whep §4.3.2, as the client.
#[tokio::test]
async fn a_counter_offer_is_answered_by_patch_and_makes_the_session() {
    let world = world().await;
    let far = Far::new(|_, asked| {
        let (status, headers, body) = taken(asked);
        Some(match asked.method.as_str() {
            "POST" => (406, headers, body),
            "PATCH" => (204, Vec::new(), String::new()),
            _ => (status, headers, body),
        })
    })
    .await;
    let url = far.url("/whep/cam");
    let reply = cascade(&world, "copy", json!({"sourceUrl": url, "token": "abc"})).await;
    assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
    let asked = far.asked();
    let [_, patched] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(
        (patched.method.as_str(), patched.path.as_str()),
        ("PATCH", "/session/1")
    );
    assert_eq!(patched.header("content-type"), Some("application/sdp"));
    assert_eq!(patched.header("authorization"), Some("Bearer abc"));
    // There is no ICE session yet whose tag could be named.
    assert_eq!(patched.header("if-match"), None);
    assert!(patched.body.starts_with("v=0\r\n"), "{}", patched.body);
    let made = session(&world, "copy", "publish").await.expect("a session");
    assert_eq!(made["cascade"]["sessionUrl"], far.url("/session/1"));
}

#[tokio::test]
async fn a_counter_offer_that_is_not_to_be_had_leaves_nothing_behind() {
    for (post, patch) in [((406, true), 400), ((406, true), 404), ((406, false), 204)] {
        let world = world().await;
        let far = Far::new(move |_, asked| {
            let (status, mut headers, body) = taken(asked);
            Some(match asked.method.as_str() {
                "POST" => {
                    headers.retain(|(name, _)| post.1 || *name != "location");
                    (post.0, headers, body)
                }
                "PATCH" => (patch, Vec::new(), "a secret of the inside".to_owned()),
                _ => (status, headers, body),
            })
        })
        .await;
        let reply = cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")})).await;
        let detail = reply.problem(502);
        assert!(!detail.contains("secret"), "{detail}");
        let deleted = || async { far.count("DELETE") == usize::from(post.1) };
        world.until("the far session ends", deleted).await;
        world
            .until("nothing is kept", async || {
                session(&world, "copy", "publish").await.is_none()
            })
            .await;
    }
}

#[tokio::test]
async fn a_stream_is_pushed_by_whip_and_takes_no_viewers_place() {
    let world = World::with(|config| {
        near(config);
        config.policy.each_stream_max_sub = 1;
    })
    .await;
    let far = Far::good().await;
    let url = far.url("/whip/copy");
    let push = || {
        cascade(
            &world,
            "cam",
            json!({"targetUrl": url, "token": "Basic eA=="}),
        )
    };
    push().await.problem(404);
    world.post_json("/api/streams/cam", "").await.expect(204);
    push().await.problem(409);
    let publisher = world.publish("cam").await;
    push().await.problem(409);
    assert!(far.asked().is_empty(), "nobody is called for nothing");
    world.plane.state(publisher.id, SessionState::Connected);
    world
        .until("it is taken", async || push().await.status.as_u16() == 200)
        .await;
    assert_eq!(far.asked()[0].header("authorization"), Some("Basic eA=="));
    let made = session(&world, "cam", "subscribe")
        .await
        .expect("a session");
    assert_eq!(
        made["cascade"],
        json!({"targetUrl": url, "sessionUrl": far.url("/session/1")})
    );
    push().await.problem(409);
    world.watch("cam").await;
    world.post_sdp("/whep/cam", OFFER).await.problem(503);

    assert_eq!(world.delete("/api/streams/cam").await.status.as_u16(), 204);
    world
        .until("the far session ends", async || far.count("DELETE") == 1)
        .await;
}

#[tokio::test]
async fn what_the_other_server_says_is_told_as_a_status_and_no_more() {
    let world = world().await;
    for (status, wanted) in [
        (401, 502),
        (403, 502),
        (404, 502),
        (406, 502),
        (500, 502),
        (200, 502),
        (302, 502),
        (508, 508),
    ] {
        let far =
            Far::new(move |_, _| Some((status, Vec::new(), "a secret of the inside".to_owned())))
                .await;
        let reply = cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")})).await;
        let detail = reply.problem(wanted);
        assert!(!detail.contains("secret"), "{detail}");
        if wanted == 502 {
            assert!(detail.contains(&status.to_string()), "{status}: {detail}");
        }
        assert_eq!(world.stream("copy").await, None, "nothing is left behind");
    }
    assert_eq!(world.plane.seen(|seen| seen.withdrawn.len()), 8);
}

#[tokio::test]
async fn a_session_that_cannot_be_used_is_ended_there() {
    let world = world().await;
    type Spoil = fn(&mut Headers, &mut String);
    let bad: [(&str, Spoil); 3] = [
        ("the type", |headers, _| {
            headers[0].1 = "text/html".to_owned()
        }),
        ("the answer", |_, body| *body = "no SDP".to_owned()),
        ("the way", |headers, _| {
            headers.push(("whitewater-way", "x".to_owned()));
        }),
    ];
    for (what, spoil) in bad {
        let far = Far::new(move |_, asked| {
            let (status, mut headers, mut body) = taken(asked);
            if asked.method == "POST" {
                spoil(&mut headers, &mut body);
            }
            Some((status, headers, body))
        })
        .await;
        let reply = cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")})).await;
        reply.problem(502);
        assert_eq!(far.count("DELETE"), 1, "{what}");
        assert_eq!(world.stream("copy").await, None, "{what}");
    }
    let far = Far::new(|_, _| {
        let headers = vec![("content-type", "application/sdp".to_owned())];
        Some((201, headers, ANSWER.to_owned()))
    })
    .await;
    let reply = cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")})).await;
    assert!(reply.problem(502).contains("Location"));
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let world = World::with(|config| {
        near(config);
        config.cascade.connect_max = Duration::from_millis(300);
    })
    .await;
    let far = Far::new(|_, _| None).await;
    let began = Instant::now();
    let reply = cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")})).await;
    reply.problem(504);
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(world.stream("copy").await, None);
    // Nobody listens there.
    let url = far.url("/whep/cam");
    drop(far);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let reply = cascade(&world, "copy", json!({"sourceUrl": url})).await;
    assert!([502, 504].contains(&reply.status.as_u16()), "{reply:?}");
}

#[tokio::test]
async fn who_asks_to_come_again_is_asked_again() {
    let world = world().await;
    for status in [409, 429, 503] {
        let far = Far::new(move |number, asked| {
            if number == 0 {
                let headers = vec![("retry-after", "1".to_owned())];
                return Some((status, headers, String::new()));
            }
            Some(taken(asked))
        })
        .await;
        let began = Instant::now();
        let stream = format!("copy{status}");
        let reply = cascade(&world, &stream, json!({"sourceUrl": far.url("/whep/cam")})).await;
        assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
        assert!(began.elapsed() >= Duration::from_secs(1));
        assert_eq!(far.count("POST"), 2);
    }
    let far = Far::new(|_, _| {
        let headers = vec![("retry-after", "3600".to_owned())];
        Some((503, headers, String::new()))
    })
    .await;
    let reply = cascade(&world, "late", json!({"sourceUrl": far.url("/whep/cam")})).await;
    reply.problem(502);
    assert_eq!(reply.header("retry-after"), "600");
    assert_eq!(far.count("POST"), 1);
}

#[tokio::test]
async fn redirects_are_followed_to_where_may_be_called_and_keep_their_secrets() {
    let world = World::with(|config| {
        near(config);
        config.cascade.networks[0].prefix_len = 31;
    })
    .await;
    let to = async |status: u16, location: String| {
        Far::new(move |_, _| Some((status, vec![("location", location.clone())], String::new())))
            .await
    };
    let good = Far::good().await;
    for (number, status) in [307, 308].into_iter().enumerate() {
        let first = to(status, good.url("/whep/there?x=1")).await;
        let wish = json!({"sourceUrl": first.url("/whep/cam"), "token": "abc"});
        let reply = cascade(&world, &format!("copy{status}"), wish).await;
        assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
        let asked = &good.asked()[number];
        assert_eq!(
            (asked.path.as_str(), asked.body.as_str()),
            ("/whep/there?x=1", OFFER)
        );
        // Both are servers that the operator has named.
        assert_eq!(asked.header("authorization"), Some("Bearer abc"));
    }
    // Never to where it may not go, whoever says so.
    let inside = Far::at("127.0.0.2:0", |_, asked| Some(taken(asked))).await;
    let first = to(307, inside.url("/whep/cam")).await;
    let reply = cascade(&world, "bad", json!({"sourceUrl": first.url("/whep/cam")})).await;
    reply.problem(422);
    for location in [
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:1/",
        "http://2130706434/",
    ] {
        let first = to(307, location.to_owned()).await;
        let reply = cascade(&world, "bad", json!({"sourceUrl": first.url("/whep/cam")})).await;
        reply.problem(422);
    }
    for location in ["file:///etc/passwd", "ftp://127.0.0.1/", ""] {
        let first = to(307, location.to_owned()).await;
        let reply = cascade(&world, "bad", json!({"sourceUrl": first.url("/whep/cam")})).await;
        reply.problem(502);
    }
    assert!(inside.asked().is_empty());
    // Nor in circles.
    let circle =
        Far::new(|_, asked| Some((307, vec![("location", asked.path.clone())], String::new())))
            .await;
    let reply = cascade(&world, "bad", json!({"sourceUrl": circle.url("/whep/cam")})).await;
    assert!(reply.problem(502).contains("too often"));
    assert_eq!(circle.count("POST"), 6);
    assert_eq!(world.stream("bad").await, None);
}

#[tokio::test]
async fn a_session_url_elsewhere_is_not_called_either() {
    let world = world().await;
    let inside = Far::at("127.0.0.2:0", |_, asked| Some(taken(asked))).await;
    let location = inside.url("/session/1");
    let far = Far::new(move |_, asked| {
        let (status, mut headers, body) = taken(asked);
        headers[1].1 = location.clone();
        Some((status, headers, body))
    })
    .await;
    let reply = cascade(&world, "bad", json!({"sourceUrl": far.url("/whep/cam")})).await;
    reply.problem(422);
    assert!(inside.asked().is_empty());
}

#[tokio::test]
async fn a_session_that_breaks_is_made_again_and_one_that_was_ended_is_not() {
    let (world, far) = (world().await, Far::good().await);
    cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")}))
        .await
        .expect(200);
    let first = session(&world, "copy", "publish").await.expect("a session");
    connected(&world, &first).await;
    world.plane.tell(Event::Closed {
        session: id(&first),
        reason: CloseReason::PeerClosed,
    });
    world
        .until("it is made again", async || far.count("POST") == 2)
        .await;
    assert_eq!(
        far.count("DELETE"),
        1,
        "the old one is ended, if it still is"
    );
    world
        .until("it is shown", async || {
            session(&world, "copy", "publish").await.is_some()
        })
        .await;
    let second = session(&world, "copy", "publish").await.expect("a session");
    assert_ne!(first["id"], second["id"]);
    // Nothing heard for a while is as good as an end.
    connected(&world, &second).await;
    world.plane.state(id(&second), SessionState::Disconnected);
    world
        .until("it is made again", async || far.count("POST") == 3)
        .await;
    let closed = world.plane.seen(|seen| seen.closed.clone());
    assert!(closed.contains(&(id(&second), CloseReason::PeerLost)));
    // Between two sessions there is none to be deleted, but the stream can be.
    world
        .until("it is shown", async || {
            session(&world, "copy", "publish").await.is_some()
        })
        .await;
    assert_eq!(world.delete("/api/streams/copy").await.status.as_u16(), 204);
    world
        .until("all far sessions are ended", async || {
            far.count("DELETE") == 3
        })
        .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(far.count("POST"), 3);
}

/// RFC 9725 §4.3.3, as the client.
#[tokio::test]
async fn a_session_that_is_not_heard_of_looks_for_another_path_before_it_is_made_anew() {
    const FRAGMENT: &str = "a=ice-ufrag:theirs\r\na=ice-pwd:theirs-and-theirs-and-theirs\r\n";
    let world = world().await;
    let far = Far::new(|_, asked| {
        Some(match asked.method.as_str() {
            "PATCH" => (200, vec![("etag", "\"2\"".to_owned())], FRAGMENT.to_owned()),
            _ => taken(asked),
        })
    })
    .await;
    let wish = json!({"sourceUrl": far.url("/whep/cam"), "token": "abc"});
    cascade(&world, "copy", wish).await.expect(200);
    let made = session(&world, "copy", "publish").await.expect("a session");
    connected(&world, &made).await;
    world.plane.state(id(&made), SessionState::Disconnected);
    world
        .until("its answer is taken", async || {
            world.plane.seen(|seen| seen.restarted == [FRAGMENT])
        })
        .await;
    let asked = far.asked().pop().expect("a request");
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("PATCH", "/session/1")
    );
    // Whatever the tag is by now: it is the session that counts.
    assert_eq!(asked.header("if-match"), Some("*"));
    assert_eq!(
        asked.header("content-type"),
        Some("application/trickle-ice-sdpfrag")
    );
    assert_eq!(asked.header("authorization"), Some("Bearer abc"));
    assert!(
        asked.body.contains("a=ice-ufrag:again\r\n"),
        "{}",
        asked.body
    );
    connected(&world, &made).await;
    // Lost again at once: that path is none.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(far.count("POST"), 1, "it is the same session");
    world.plane.state(id(&made), SessionState::Disconnected);
    world
        .until("it is made anew", async || far.count("POST") == 2)
        .await;
    assert_eq!(far.count("PATCH"), 1);
    let closed = world.plane.seen(|seen| seen.closed.clone());
    assert!(closed.contains(&(id(&made), CloseReason::PeerLost)));
}

#[tokio::test]
async fn a_newer_wish_takes_the_place_of_a_link_that_waits_to_try_again() {
    let world = world().await;
    let far = Far::new(|number, asked| {
        let later = || vec![("retry-after", "600".to_owned())];
        Some(match (number, asked.method.as_str()) {
            (0, _) => taken(asked),
            (_, "DELETE") => (200, Vec::new(), String::new()),
            _ => (503, later(), String::new()),
        })
    })
    .await;
    cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")}))
        .await
        .expect(200);
    let first = session(&world, "copy", "publish").await.expect("a session");
    connected(&world, &first).await;
    // While it stands there is no other.
    let other = Far::good().await;
    let wish = json!({"sourceUrl": other.url("/whep/cam")});
    cascade(&world, "copy", wish.clone()).await.problem(409);
    world.plane.tell(Event::Closed {
        session: id(&first),
        reason: CloseReason::PeerLost,
    });
    world
        .until(
            "it is asked again, and wants to be asked later",
            async || far.count("POST") == 2,
        )
        .await;
    world
        .until("that is shown", async || {
            let links = world.get("/api/cascade/copy").await.expect(200).json();
            links[0]["state"] == "resting"
        })
        .await;
    let links = world.get("/api/cascade/copy").await.json();
    let expected = json!([{
        "direction": "pull",
        "url": far.url("/whep/cam"),
        "state": "resting",
        "failure": "refused-there",
        "failures": 1,
    }]);
    assert_eq!(links, expected);
    world
        .until("the other server is asked at once", async || {
            cascade(&world, "copy", wish.clone()).await.status == 200
        })
        .await;
    let second = session(&world, "copy", "publish").await.expect("a session");
    assert_eq!(second["cascade"]["sourceUrl"], wish["sourceUrl"]);
    connected(&world, &second).await;
    world
        .until("the link stands", async || {
            let links = world.get("/api/cascade/copy").await.expect(200).json();
            links.as_array().map(Vec::len) == Some(1)
                && links[0]["state"] == "connected"
                && links[0].get("failure").is_none()
        })
        .await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!((far.count("POST"), other.count("POST")), (2, 1));
    let metrics = world.get("/metrics").await.expect(200);
    let links = "whitewater_cascade_links{direction=\"pull\"} 1";
    assert!(metrics.text().contains(links), "{}", metrics.text());
}

#[tokio::test]
async fn what_nobody_watches_is_given_up() {
    let world = World::with(|config| {
        near(config);
        config.cascade.idle_timeout = Duration::from_secs(1);
    })
    .await;
    let far = Far::good().await;
    cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")}))
        .await
        .expect(200);
    let viewer = world.watch("copy").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(
        session(&world, "copy", "publish").await.is_some(),
        "somebody watches"
    );
    world.delete(&viewer.location).await.expect(204);
    world
        .until("the far session ends", async || far.count("DELETE") == 1)
        .await;
    let closed = world.plane.seen(|seen| seen.closed.clone());
    assert!(
        closed
            .iter()
            .any(|(_, reason)| *reason == CloseReason::Idle),
        "{closed:?}"
    );
    assert_eq!(far.count("POST"), 1);
}

#[tokio::test]
async fn a_node_that_goes_away_ends_its_far_sessions() {
    let (world, far) = (world().await, Far::good().await);
    cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")}))
        .await
        .expect(200);
    world.shut_down().await;
    assert_eq!(far.count("DELETE"), 1);
}

#[tokio::test]
async fn streams_do_not_come_back_to_where_they_have_been() {
    let world = world().await;
    // To itself.
    let own = format!("http://{}/whep/copy", world.at);
    let began = Instant::now();
    cascade(&world, "copy", json!({"sourceUrl": own}))
        .await
        .problem(508);
    assert!(began.elapsed() < Duration::from_secs(1));
    let own = format!("http://{}/whip/copy", world.at);
    let publisher = world.publish("cam").await;
    world.plane.state(publisher.id, SessionState::Connected);
    world
        .until("it is refused", async || {
            let reply = cascade(&world, "cam", json!({"targetUrl": own})).await;
            reply.status.as_u16() == 508
        })
        .await;

    // By way of another server, which says so.
    let node = "00000000000000000000000000000007";
    let far = Far::new(move |_, asked| {
        let (status, mut headers, body) = taken(asked);
        let here = asked.header("whitewater-way").unwrap_or_default();
        headers.push(("whitewater-way", format!("{node}, {here}")));
        Some((status, headers, body))
    })
    .await;
    cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")}))
        .await
        .problem(508);
    assert_eq!(far.count("DELETE"), 1);
    assert_eq!(world.stream("copy").await, None);

    // One that this node's stream came through is not given it.
    let far = Far::new(move |_, asked| {
        let (status, mut headers, body) = taken(asked);
        headers.push(("whitewater-way", node.to_owned()));
        Some((status, headers, body))
    })
    .await;
    cascade(&world, "copy", json!({"sourceUrl": far.url("/whep/cam")}))
        .await
        .expect(200);
    let made = session(&world, "copy", "publish").await.expect("a session");
    let ask = async |way: &str| {
        let headers = [("content-type", "application/sdp"), ("whitewater-way", way)];
        world.send("POST", "/whep/copy", &headers, OFFER).await
    };
    let other = "00000000000000000000000000000008";
    // While nobody publishes, its way is not known from the beginning.
    ask(other).await.problem(409);
    connected(&world, &made).await;
    world
        .until("it is let in", async || {
            ask(other).await.status.as_u16() == 201
        })
        .await;
    ask(node).await.problem(508);
    ask("nonsense").await.problem(400);
    ask(&[other; 9].join(", ")).await.problem(508);
    let told = ask(other).await;
    let way: Vec<&str> = told.header("whitewater-way").split(", ").collect();
    assert_eq!(
        (way.len(), way[1]),
        (2, node),
        "this node and what was before it"
    );
    // Nobody else is told.
    let viewer = world.post_sdp("/whep/copy", OFFER).await;
    assert!(!viewer.has("whitewater-way"));
}

#[tokio::test]
async fn a_push_that_starts_sends_the_other_viewers_away_where_that_is_wanted() {
    let world = World::with(|config| {
        near(config);
        config.policy.cascade_push_close_sub = true;
    })
    .await;
    let far = Far::good().await;
    let publisher = world.publish("cam").await;
    world.plane.state(publisher.id, SessionState::Connected);
    let viewer = world.watch("cam").await;
    world
        .until("it is pushed", async || {
            let wish = json!({"targetUrl": far.url("/whip/copy")});
            cascade(&world, "cam", wish).await.status.as_u16() == 200
        })
        .await;
    let stream = world.stream("cam").await.expect("a stream");
    let sessions = stream["subscribe"]["sessions"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(sessions.len(), 2, "not before it is connected");
    let push = sessions
        .iter()
        .find(|s| s["cascade"].is_object())
        .expect("the push");
    connected(&world, push).await;
    world
        .until("the viewer is gone", async || {
            world.plane.seen(|seen| seen.closed.clone()) == [(viewer.id, CloseReason::Rerouted)]
        })
        .await;
}

#[tokio::test]
async fn https_is_trusted_by_certificate_and_never_left_for_http() {
    let (acceptor, roots) = certified();
    let (scratch, good) = (Scratch::new(), Far::good().await);
    let plain = good.url("/whep/cam");
    let far = Far::secure(acceptor, move |_, asked| {
        if asked.path == "/whep/away" {
            return Some((307, vec![("location", plain.clone())], String::new()));
        }
        Some(taken(asked))
    })
    .await;
    let url = |path: &str| format!("https://{}{path}", far.at);
    let file = scratch.write("roots.pem", &roots);
    let trusting = World::with(|config| {
        near(config);
        config.cascade.ca_file = Some(file);
    })
    .await;
    let pull = json!({"sourceUrl": url("/whep/cam")});
    cascade(&trusting, "copy", pull.clone()).await.expect(200);
    let away = json!({"sourceUrl": url("/whep/away")});
    assert!(
        cascade(&trusting, "away", away)
            .await
            .problem(502)
            .contains("https to http")
    );
    assert!(good.asked().is_empty());
    // From http to https is no loss.
    let there = url("/whep/cam");
    let up =
        Far::new(move |_, _| Some((307, vec![("location", there.clone())], String::new()))).await;
    let wish = json!({"sourceUrl": up.url("/whep/cam")});
    cascade(&trusting, "up", wish).await.expect(200);
    // Nobody that this machine trusts has signed it.
    let asked = far.asked().len();
    cascade(&world().await, "copy", pull).await.problem(502);
    assert_eq!(far.asked().len(), asked);
}

/// What a server at 127.0.0.1 shows, and the certificate it is trusted by, in PEM.
fn certified() -> (TlsAcceptor, String) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority
        .self_signed(&authority_key)
        .expect("a certificate");
    let authority = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("a pair");
    (
        TlsAcceptor::from(Arc::new(tls)),
        pem("CERTIFICATE", root.der()),
    )
}

#[tokio::test]
async fn a_link_ends_with_the_rights_of_who_made_it() {
    let world = World::with(|config| {
        near(config);
        config.auth.tokens = vec!["operator".to_owned()];
        config.auth.secret = SECRET.to_owned();
    })
    .await;
    let far = Far::good().await;
    let token = sign(&claims("copy", 1, 600, r#","sub":"bob""#));
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let wish = json!({"sourceUrl": far.url("/whep/cam"), "token": "abc"}).to_string();
    let reply = world
        .send("POST", "/api/cascade/copy", &headers, &wish)
        .await;
    assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
    let operator = [
        ("content-type", "application/json"),
        ("authorization", "Bearer operator"),
    ];
    let revoked = json!({"sub": "bob"}).to_string();
    world
        .send("POST", "/api/auth/revocations", &operator, &revoked)
        .await
        .expect(201);
    world
        .until("the far session ends", async || far.count("DELETE") == 1)
        .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(far.count("POST"), 1, "it is not made again");
}
