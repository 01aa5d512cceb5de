//! What a peer may cost: sizes, times, connections.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use whitewater_link::SessionState;

use crate::client::{raw, read_to_end};
use crate::world::{OFFER, World, offer_with};

#[tokio::test]
async fn w_post_12_a_body_above_the_limit_is_413() {
    let world = World::new().await;
    let limit = 256 * 1024;
    let fits = format!("{OFFER}{}", "x".repeat(limit - OFFER.len()));
    world.post_sdp("/whip/fits", &fits).await.expect(201);
    let reply = world.post_sdp("/whip/a", &format!("{fits}x")).await;
    assert!(reply.problem(413).contains("262144"));
    let reply = world
        .post_sdp("/whip/a", &"x".repeat(3 * 1024 * 1024))
        .await;
    reply.problem(413);
    assert_eq!(world.stream("a").await, None);
}

#[tokio::test]
async fn w_post_12_a_chunked_body_above_the_limit_is_413() {
    let world = World::new().await;
    let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "x".repeat(64 * 1024));
    let request = format!(
        "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(5)
    );
    let answer = raw(world.at, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_client_that_is_still_sending_gets_to_read_its_refusal() {
    let world = World::new().await;
    let size = 4 * 1024 * 1024;
    for (path, wanted) in [
        ("/whip/a", "415"),
        ("/nowhere", "404"),
        ("/session/a/b", "404"),
    ] {
        let mut stream = TcpStream::connect(world.at).await.expect("connect");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
             connection: close\r\ncontent-length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("write");
        stream
            .write_all(&vec![b'x'; size])
            .await
            .expect("all of it is taken");
        let answer = read_to_end(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {wanted}")),
            "{path}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_gigabyte_is_refused_before_it_is_sent() {
    let world = World::new().await;
    let head = "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
                content-length: 1073741824\r\n\r\nv=0";
    let began = Instant::now();
    let answer = raw(world.at, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let world = World::with(|config| {
        config.limits.header_timeout = Duration::from_millis(300);
    })
    .await;
    for begin in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut stream = TcpStream::connect(world.at).await.expect("connect");
        stream.write_all(begin.as_bytes()).await.expect("write");
        let began = Instant::now();
        let answer = read_to_end(&mut stream).await;
        assert!(!answer.contains("200"), "{begin}: {answer}");
        assert!(began.elapsed() < Duration::from_secs(2), "{begin}");
    }
    // One byte now and then does not help.
    let mut stream = TcpStream::connect(world.at).await.expect("connect");
    let began = Instant::now();
    for byte in b"GET /healthz HTTP/1.1\r\nhost: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "cut off while it dripped"
    );
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let world = World::with(|config| {
        config.limits.body_timeout = Duration::from_millis(300);
    })
    .await;
    let mut stream = TcpStream::connect(world.at).await.expect("connect");
    let head = "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
                content-length: 1000\r\n\r\nv=0";
    stream.write_all(head.as_bytes()).await.expect("write");
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_head_above_the_limit_is_431() {
    let world = World::new().await;
    let big = format!(
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(64 * 1024)
    );
    let answer = raw(world.at, big.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
    let answer = raw(world.at, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    world.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let world = World::with(|config| config.limits.connections_max = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(world.at).await.expect("connect");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .expect("write");
        stream.read_exact(&mut [0; 12]).await.expect("an answer");
        held.push(stream);
    }
    let waiting = tokio::time::timeout(Duration::from_millis(300), world.get("/healthz"));
    assert!(waiting.await.is_err(), "no place is free");
    held.pop();
    world.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn w_sec_1_sessions_that_have_not_connected_are_capped() {
    let world = World::with(|config| config.policy.half_open_max = 3).await;
    let slow = offer_with("a=x-answer-after-ms:300");
    let at = world.at;
    let posts: Vec<_> = (0..8)
        .map(|index| {
            let slow = slow.clone();
            tokio::spawn(async move {
                let sdp = [("content-type", "application/sdp")];
                let path = format!("/whip/s{index}");
                crate::client::send(at, "POST", &path, &sdp, slow.as_bytes()).await
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for post in posts {
        statuses.push(post.await.expect("no panic").status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 503, 503, 503, 503, 503]);
    let reply = world.post_sdp("/whip/later", OFFER).await;
    assert!(
        reply.problem(503).contains("sessions_half_open_max"),
        "none has connected"
    );
    let first = world.plane.seen(|seen| seen.negotiated[0].0);
    world.plane.state(first, SessionState::Connected);
    world
        .until("a place is free", async || {
            world.post_sdp("/whip/later", OFFER).await.status == 201
        })
        .await;
}

#[tokio::test]
async fn sessions_and_streams_are_capped() {
    let world = World::with(|config| {
        config.policy.sessions_max = 3;
        config.policy.streams_max = 2;
    })
    .await;
    world.publish("a").await;
    world.publish("b").await;
    let reply = world.post_sdp("/whip/c", OFFER).await;
    assert!(reply.problem(503).contains("streams_max"));
    world
        .send("POST", "/api/streams/c", &[], "")
        .await
        .problem(503);
    world.watch("a").await;
    let reply = world.post_sdp("/whep/a", OFFER).await;
    assert!(reply.problem(503).contains("sessions_max"));
    assert_eq!(reply.header("retry-after"), "5");
}

#[tokio::test]
async fn event_clients_are_capped_and_their_places_come_back() {
    let world = World::with(|config| config.limits.sse_clients_max = 1).await;
    let mut first = TcpStream::connect(world.at).await.expect("connect");
    first
        .write_all(b"GET /api/sse/streams HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("write");
    first.read_exact(&mut [0; 12]).await.expect("an answer");
    let reply = world.get("/api/sse/streams").await;
    reply.problem(503);
    assert!(reply.has("retry-after"));
    drop(first);
    world
        .until("the place is free", async || {
            let mut again = TcpStream::connect(world.at).await.expect("connect");
            again
                .write_all(b"GET /api/sse/streams HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .await
                .expect("write");
            let mut status = [0; 12];
            again.read_exact(&mut status).await.expect("an answer");
            &status == b"HTTP/1.1 200"
        })
        .await;
}

#[tokio::test]
async fn http_2_reset_floods_end_the_connection_and_nothing_else() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.at).await.expect("connect");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    // HEADERS with ":method GET, :scheme http, :path /, :authority x", then RST_STREAM.
    let block = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
    for index in 0..2000_u32 {
        let id = (index * 2 + 1).to_be_bytes();
        bytes.extend_from_slice(&[0, 0, block.len() as u8, 1, 5]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(&[0, 0, 4, 3, 0]);
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&8_u32.to_be_bytes());
    }
    let _ = stream.write_all(&bytes).await;
    // Ends by GOAWAY instead of serving all of them.
    read_to_end(&mut stream).await;
    world.get("/healthz").await.expect(200);
}
