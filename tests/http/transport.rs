//! The same answers over every kind of HTTP.

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{collect, raw};
use crate::world::{OFFER, World, made};

#[tokio::test]
async fn w_post_13_a_chunked_offer_is_taken() {
    let world = World::new().await;
    let (one, two) = OFFER.split_at(40);
    let request = format!(
        "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n\
         {:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    );
    let answer = raw(world.at, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn w_post_13_a_client_that_waits_for_100_continue_hears_it() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.at).await.expect("connect");
    let head = format!(
        "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n\
         expect: 100-continue\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        OFFER.len()
    );
    stream.write_all(head.as_bytes()).await.expect("write");
    let mut interim = [0; 25];
    stream
        .read_exact(&mut interim)
        .await
        .expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(OFFER.as_bytes()).await.expect("write");
    let answer = crate::client::read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_hears_a_refusal_instead() {
    let world = World::new().await;
    let head = "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
                expect: 100-continue\r\nconnection: close\r\ncontent-length: 100\r\n\r\n";
    let answer = raw(world.at, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
}

#[tokio::test]
async fn w_post_13_http_1_0_is_answered() {
    let world = World::new().await;
    let request = format!(
        "POST /whip/a HTTP/1.0\r\ncontent-type: application/sdp\r\ncontent-length: {}\r\n\r\n{OFFER}",
        OFFER.len()
    );
    let answer = raw(world.at, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.0 201"), "{answer}");
    assert!(answer.contains("content-length: "), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
}

#[tokio::test]
async fn w_post_13_http_2_with_prior_knowledge_is_answered() {
    let world = World::new().await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Full<Bytes>>();
    let send = async |method: &str, path: &str, headers: &[(&str, &str)], body: &'static str| {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", world.at));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).expect("a request");
        let response = client.request(request).await.expect("an answer");
        assert_eq!(response.version(), hyper::Version::HTTP_2);
        collect(response).await
    };
    let sdp = [("content-type", "application/sdp")];
    let session = made(&send("POST", "/whip/a", &sdp, OFFER).await);
    let head = send("HEAD", "/whep/a", &[], "").await.expect(200);
    assert_eq!(head.header("content-type"), "application/sdp");
    send("POST", "/whip/a", &[], OFFER).await.problem(415);
    let patch = [
        ("content-type", "application/trickle-ice-sdpfrag"),
        ("if-match", session.etag.as_str()),
    ];
    send("PATCH", &session.location, &patch, crate::world::TRICKLE)
        .await
        .expect(204);
    send("DELETE", &session.location, &[], "").await.expect(204);
}

#[tokio::test]
async fn many_requests_on_one_connection_are_answered_in_order() {
    let world = World::new().await;
    let mut requests = String::new();
    for _ in 0..3 {
        requests += "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    }
    requests += "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = raw(world.at, requests.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 404").count(), 1, "{answer}");
}

#[tokio::test]
async fn requests_of_two_lengths_are_refused() {
    let world = World::new().await;
    let ambiguous = [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: +5\r\n",
        "transfer-encoding: chunked, identity\r\n",
    ];
    for headers in ambiguous {
        let request = format!(
            "POST /whip/a HTTP/1.1\r\nhost: x\r\ncontent-type: application/sdp\r\n{headers}\r\n\
             0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        );
        let answer = raw(world.at, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers}: {answer}");
        assert!(!answer.contains("200 OK"), "nothing was smuggled: {answer}");
    }
}
