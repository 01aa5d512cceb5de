//! Keys fetched from a URL, and what their server may do to this one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use whitewater_control::Config;
use whitewater_link::CloseReason;

use crate::bearer::{ask, assert_challenge, post};
use crate::issuer::{Signer, pem, set};
use crate::scratch::Scratch;
use crate::token::claims;
use crate::world::{OFFER, World};

/// Serves one text under every path, as told.
struct KeyServer {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<String>>,
    _task: JoinSet<()>,
}

/// Takes the question and says nothing.
const HANG: &str = "";

impl KeyServer {
    async fn start(answer: String, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let at = listener.local_addr().expect("an address");
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new(answer));
        let mut task = JoinSet::new();
        task.spawn({
            let (asked, answer) = (asked.clone(), answer.clone());
            async move {
                let mut talks = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    asked.fetch_add(1, Ordering::Relaxed);
                    let (answer, tls) = (answer.clone(), tls.clone());
                    talks.spawn(async move {
                        match tls {
                            None => talk(stream, &answer).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    talk(stream, &answer).await;
                                }
                            }
                        }
                    });
                }
            }
        });
        KeyServer {
            at,
            asked,
            answer,
            _task: task,
        }
    }

    fn answers(&self, answer: String) {
        *self.answer.lock().expect("no panic") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.at)
    }
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Mutex<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).expect("text");
    assert!(!head.to_lowercase().contains("authorization"), "{head}");
    let answer = answer.lock().expect("no panic").clone();
    if answer == HANG {
        std::future::pending::<()>().await;
    }
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn found(body: &str) -> String {
    let size = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n{body}"
    )
}

fn moved(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

async fn world_of(server: &KeyServer, interval: Duration) -> World {
    let url = server.url();
    World::with(|config| fetching(config, &url, interval)).await
}

fn fetching(config: &mut Config, url: &str, interval: Duration) {
    config.auth.tokens = vec![STATIC.into()];
    config.auth.jwks_url = Some(url.to_owned());
    config.auth.jwks_interval = interval;
}

async fn opens(world: &World, token: &str) -> bool {
    ask(world, "GET", "/api/streams", token, "").await.status == 200
}

fn everything(signer: &Signer, kid: &str) -> String {
    signer.sign(Some(kid), &claims("*", 7, 600, ""))
}

const STATIC: &str = "a-static-token";
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn keys_are_fetched_and_the_node_is_not_ready_before() {
    let signer = Signer::new("RS256");
    let server = KeyServer::start(HANG.to_owned(), None).await;
    let world = world_of(&server, SECOND).await;
    let token = everything(&signer, "1");
    world
        .until("it has asked", async || server.asked() > 0)
        .await;
    let why = world.get("/readyz").await.problem(503);
    assert!(why.contains("keys"), "{why}");
    // Others do not wait.
    assert!(opens(&world, STATIC).await);
    assert!(!opens(&world, &token).await);

    let server = KeyServer::start(found(&set(&[signer.jwk("1")])), None).await;
    let world = world_of(&server, MINUTE).await;
    world
        .until("ready", async || world.get("/readyz").await.status == 200)
        .await;
    assert!(opens(&world, &token).await);
    let metrics = world.get("/metrics").await;
    for line in [
        "whitewater_auth_keys 1",
        "whitewater_auth_jwks_fetches_total{outcome=\"succeeded\"} 1",
        "whitewater_auth_jwks_fetches_total{outcome=\"failed\"} 0",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
}

#[tokio::test]
async fn a_rotation_is_followed_and_the_old_keys_sessions_end() {
    let (old, new) = (Signer::new("ES256"), Signer::new("EdDSA"));
    let server = KeyServer::start(found(&set(&[old.jwk("1")])), None).await;
    let world = world_of(&server, SECOND).await;
    let (by_old, by_new) = (everything(&old, "1"), everything(&new, "2"));
    world
        .until("the first", async || opens(&world, &by_old).await)
        .await;
    let viewer = post(&world, "/whep/a", &by_old).await;
    server.answers(found(&set(&[old.jwk("1"), new.jwk("2")])));
    world
        .until("the second", async || opens(&world, &by_new).await)
        .await;
    assert!(opens(&world, &by_old).await);
    server.answers(found(&set(&[new.jwk("2")])));
    world
        .until("the session's end", async || {
            let closed = (viewer.id, CloseReason::Revoked);
            world.plane.seen(|seen| seen.closed.contains(&closed))
        })
        .await;
    assert!(!opens(&world, &by_old).await && opens(&world, &by_new).await);
}

#[tokio::test]
async fn whatever_the_key_server_says_the_last_good_keys_stay() {
    let signer = Signer::new("ES256");
    let good = found(&set(&[signer.jwk("1")]));
    let server = KeyServer::start(good.clone(), None).await;
    let world = world_of(&server, Duration::from_millis(50)).await;
    let token = everything(&signer, "1");
    world
        .until("the keys", async || opens(&world, &token).await)
        .await;
    let viewer = post(&world, "/whep/a", &token).await;
    let itself = server.url();
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 * 1024));
    for bad in [
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 404 Not Found\r\ncontent-length: 11\r\n\r\n{\"keys\":[]}".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"keys\":[".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        "\r\n".to_owned(),
        found(""),
        found("<html>"),
        found("{}"),
        found("{\"keys\":7}"),
        found("{\"keys\":[{\"kty\":\"RSA\"}]}"),
        found(&huge),
        moved(&itself),
        moved("http://id.example/keys"),
        moved("/keys"),
    ] {
        server.answers(bad.clone());
        let (before, began) = (server.asked(), Instant::now());
        while server.asked() < before + 2 {
            assert!(began.elapsed() < Duration::from_secs(20), "{bad}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(opens(&world, &token).await, "{bad}");
    }
    let metrics = world.get("/metrics").await;
    assert!(metrics.text().contains("whitewater_auth_keys 1"));
    let closed = world.plane.seen(|seen| seen.closed.len());
    assert_eq!(closed, 0, "{}", viewer.location);
    // And it recovers.
    let next = Signer::new("ES256");
    server.answers(found(&set(&[next.jwk("2")])));
    let token = everything(&next, "2");
    world
        .until("new keys", async || opens(&world, &token).await)
        .await;
}

#[tokio::test]
async fn redirects_are_followed_a_few_times() {
    let signer = Signer::new("ES256");
    let server = KeyServer::start(found(&set(&[signer.jwk("1")])), None).await;
    let way = KeyServer::start(moved(&server.url()), None).await;
    let start = KeyServer::start(moved(&way.url()), None).await;
    let world = world_of(&start, MINUTE).await;
    let token = everything(&signer, "1");
    world
        .until("the keys", async || opens(&world, &token).await)
        .await;
}

#[tokio::test]
async fn a_key_that_is_not_known_is_asked_for_and_never_more_than_once_in_a_while() {
    let (old, new) = (Signer::new("ES256"), Signer::new("ES256"));
    let server = KeyServer::start(found(&set(&[old.jwk("1")])), None).await;
    let world = world_of(&server, MINUTE).await;
    let token = everything(&old, "1");
    world
        .until("the keys", async || opens(&world, &token).await)
        .await;
    assert_eq!(server.asked(), 1);
    server.answers(found(&set(&[old.jwk("1"), new.jwk("2")])));
    let began = Instant::now();
    let unknown = everything(&new, "2");
    let mut tries = 0;
    while !opens(&world, &unknown).await {
        tries += 1;
        // Others ask for keys that nobody has.
        let forged = everything(&new, &format!("none-{tries}"));
        ask(&world, "POST", "/whip/a", &forged, OFFER)
            .await
            .problem(401);
        assert!(began.elapsed() < Duration::from_secs(15));
    }
    assert!(tries > 10, "{tries}");
    // One for what was asked, one perhaps for those that came meanwhile.
    assert!(server.asked() <= 3, "{}", server.asked());
}

#[tokio::test]
async fn attack_21_a_hanging_key_server_harms_nobody_and_anonymous_requests_do_not_reach_it() {
    let signer = Signer::new("ES256");
    let server = KeyServer::start(found(&set(&[signer.jwk("1")])), None).await;
    let world = world_of(&server, MINUTE).await;
    let token = everything(&signer, "1");
    world
        .until("the keys", async || opens(&world, &token).await)
        .await;
    server.answers(HANG.to_owned());
    // From here on it hangs: a key nobody knows is asked for.
    assert!(!opens(&world, &everything(&signer, "x")).await);
    let began = Instant::now();
    while server.asked() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = server.asked();
    let began = Instant::now();
    let mut anonymous = JoinSet::new();
    for part in 0..8 {
        let at = world.at;
        anonymous.spawn(async move {
            for n in 0..125 {
                let (method, path) = match (part + n) % 4 {
                    0 => ("POST", "/whip/a"),
                    1 => ("GET", "/api/streams"),
                    2 => ("DELETE", "/session/a/00000000000000000000000000000000"),
                    _ => ("GET", "/api/auth/revocations"),
                };
                let reply = crate::client::send(at, method, path, &[], b"").await;
                assert!([401, 429].contains(&reply.status.as_u16()), "{reply:?}");
            }
        });
    }
    let mut valid = 0;
    while let Some(done) = tokio::select! {
        done = anonymous.join_next() => done,
        good = opens(&world, &token) => {
            assert!(good, "a valid user is let in all the time");
            valid += 1;
            Some(Ok(()))
        }
    } {
        done.expect("no panic");
    }
    assert!(valid > 0);
    // A fetch that hangs takes ten seconds, and five later there is another one.
    let due = began.elapsed().as_secs() / 10;
    assert!(
        server.asked() - asked <= due as usize,
        "requests without a token fetch nothing"
    );
    let viewer = post(&world, "/whep/a", &token).await;
    ask(&world, "DELETE", &viewer.location, &token, "")
        .await
        .expect(204);
}

#[tokio::test]
async fn https_servers_are_trusted_by_their_certificate() {
    let scratch = Scratch::new();
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority
        .self_signed(&authority_key)
        .expect("a certificate");
    let authority = Issuer::new(authority, authority_key);
    let signer = Signer::new("ES256");
    let token = everything(&signer, "1");
    for (name, trusted) in [("127.0.0.1", true), ("192.0.2.1", false)] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
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
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let server = KeyServer::start(found(&set(&[signer.jwk("1")])), Some(acceptor)).await;
        let url = format!("https://{}/keys", server.at);
        let roots = scratch.write("roots.pem", &pem("CERTIFICATE", root.der()));
        let world = World::with(|config| {
            fetching(config, &url, MINUTE);
            config.auth.jwks_ca_file = Some(roots);
        })
        .await;
        world
            .until("it has asked", async || {
                let metrics = world.get("/metrics").await;
                let text = metrics.text();
                !text.contains("fetches_total{outcome=\"succeeded\"} 0")
                    || !text.contains("fetches_total{outcome=\"failed\"} 0")
            })
            .await;
        assert_eq!(opens(&world, &token).await, trusted, "{name}");
        if !trusted {
            let reply = ask(&world, "GET", "/api/streams", &token, "").await;
            assert_challenge(&reply, 401, "invalid_token");
        }
    }
}
