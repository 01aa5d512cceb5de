//! Answers that come late or never, clients that hang up, shutdown.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use whitewater_link::CloseReason;

use crate::client::read_to_end;
use crate::world::{OFFER, World, offer_with};

#[tokio::test]
async fn a_post_without_answer_is_504_and_its_late_session_is_closed() {
    let world = World::with(|config| config.answer_timeout = Duration::from_millis(150)).await;
    let reply = world
        .post_sdp("/whip/a", &offer_with("a=x-answer-after-ms:400"))
        .await;
    reply.problem(504);
    assert_eq!(world.stream("a").await, None, "the name is free at once");
    world
        .until("the late session is closed", async || {
            world
                .plane
                .seen(|seen| seen.closed.len() == 1 && seen.live == 0)
        })
        .await;
    world.publish("a").await;
}

#[tokio::test]
async fn an_answer_is_heard_when_it_comes_and_not_at_the_next_look() {
    let world = World::new().await;
    let began = std::time::Instant::now();
    for _ in 0..40 {
        world.watch("a").await;
    }
    // Without the bell each would wait a quarter of a second.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_session() {
    let world = World::new().await;
    let slow = offer_with("a=x-answer-after-ms:200");
    let patience = Duration::from_millis(60);
    let hung_up = tokio::time::timeout(patience, world.post_sdp("/whip/a", &slow));
    assert!(hung_up.await.is_err());
    world
        .until("the session is closed again", async || {
            world
                .plane
                .seen(|seen| seen.closed.len() == 1 && seen.live == 0)
        })
        .await;
    world.publish("a").await;
}

#[tokio::test]
async fn a_stream_destroyed_during_a_post_takes_the_session_with_it() {
    let world = World::new().await;
    let slow = offer_with("a=x-answer-after-ms:200");
    let post = world.post_sdp("/whip/a", &slow);
    let destroy = async {
        world
            .until("the stream is there", async || {
                world.stream("a").await.is_some()
            })
            .await;
        world.delete("/api/streams/a").await.expect(204);
    };
    let (reply, ()) = tokio::join!(post, destroy);
    reply.problem(404);
    world
        .until("nothing lives", async || {
            world.plane.seen(|seen| seen.live == 0)
        })
        .await;
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn a_full_queue_is_503_and_no_delete_is_lost() {
    let world = World::with(|config| config.limits.source_requests.count = 0).await;
    let session = world.publish("a").await;
    world.plane.set_held(true);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Mutes go through the same queue and have no answer to wait for.
    let mute = r#"{"kind":"video","enabled":false}"#;
    let (at, path) = (world.at, session.location.clone());
    let mut filler = Filler::connect(at, &path, mute).await;
    for _ in 0..4200 {
        filler.send().await;
    }
    let reply = world.post_sdp("/whip/b", OFFER).await;
    reply.problem(503);
    assert!(reply.has("retry-after"));
    assert_eq!(world.stream("b").await, None);
    world.delete(&session.location).await.expect(204);
    world.plane.set_held(false);
    world
        .until("the delete arrived", async || {
            world
                .plane
                .seen(|seen| seen.closed == [(session.id, CloseReason::Deleted)])
        })
        .await;
    assert_eq!(world.plane.seen(|seen| seen.muted.len()), 4200);
    world.publish("b").await;
}

/// One connection that sends the same request again and again.
struct Filler {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Filler {
    async fn connect(at: std::net::SocketAddr, path: &str, json: &str) -> Self {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{json}",
            json.len()
        );
        Filler {
            stream: TcpStream::connect(at).await.expect("connect"),
            request: request.into_bytes(),
        }
    }

    async fn send(&mut self) {
        self.stream.write_all(&self.request).await.expect("write");
        let mut answer = Vec::new();
        let mut part = [0; 1024];
        while !answer.ends_with(b"\r\n\r\n{}") {
            let size = self.stream.read(&mut part).await.expect("read");
            assert!(size > 0, "hung up");
            answer.extend_from_slice(&part[..size]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn shutdown_ends_sessions_and_event_streams_and_returns() {
    let world = World::new().await;
    world.publish("a").await;
    world.watch("a").await;
    let mut events = TcpStream::connect(world.at).await.expect("connect");
    events
        .write_all(b"GET /api/sse/streams HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("write");
    let mut first = [0; 12];
    events.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    let at = world.at;
    let began = std::time::Instant::now();
    let plane = world.shut_down().await;
    assert!(
        began.elapsed() < Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(plane.seen(|seen| (seen.shutdowns, seen.live)), (1, 0));
    let rest = read_to_end(&mut events).await;
    assert!(
        rest.ends_with("0\r\n\r\n"),
        "the event stream ended in order: {rest}"
    );
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_data_plane_that_hangs() {
    let mut world = World::with(|config| config.drain_max = Duration::from_secs(2)).await;
    let session = world.publish("a").await;
    world.plane.set_held(true);
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.begin_shutdown();
    world
        .until("draining", async || {
            let reply = world.get("/readyz").await;
            reply.status == 503 && reply.text().contains("going away")
        })
        .await;
    let reply = world.post_sdp("/whep/a", OFFER).await;
    assert!(reply.problem(503).contains("going away"));
    assert!(reply.has("retry-after"));
    world
        .send("POST", "/api/streams/x", &[], "")
        .await
        .problem(503);
    world.get(&session.location).await.expect(204);
    let began = std::time::Instant::now();
    world.shut_down().await;
    assert!(began.elapsed() < Duration::from_secs(6));
}
