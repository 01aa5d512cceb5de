//! HTTPS: what is spoken, whose certificate, what happens when it changes.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use whitewater_control::{BindError, Server, Tls};

use crate::client::{raw, read_to_end};
use crate::fake::Fake;
use crate::secure::{Caller, Files, Pair, pem, send};
use crate::world::{OFFER, TRICKLE, World, made};

const SDP: &[(&str, &str)] = &[("content-type", "application/sdp")];

const ONLY_1_2: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const ONLY_1_3: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

async fn https(files: &Files) -> World {
    World::with(|config| config.tls = files.tls()).await
}

#[tokio::test]
async fn w_tls_1_sessions_are_made_changed_and_ended_over_https() {
    let pair = Pair::new();
    let files = Files::new("whole", &pair);
    let world = https(&files).await;
    for protocol in [&["http/1.1"][..], &["h2"], &["h2", "http/1.1"]] {
        let caller = Caller {
            protocols: protocol,
            ..Caller::default()
        };
        let connect = async || {
            let stream = caller.connect(world.at, &pair.certificate).await;
            let stream = stream.expect("a handshake");
            // HTTP/2 where both have it.
            let agreed = stream.get_ref().1.alpn_protocol().expect("agreed on one");
            assert_eq!(agreed, protocol[0].as_bytes());
            stream
        };
        let reply = send(connect().await, "POST", "/whip/a", SDP, OFFER).await;
        let made = made(&reply);
        assert!(made.location.starts_with('/'), "it keeps the scheme");
        let patch = [
            ("content-type", "application/trickle-ice-sdpfrag"),
            ("if-match", made.etag.as_str()),
        ];
        let reply = send(connect().await, "PATCH", &made.location, &patch, TRICKLE).await;
        reply.expect(204);
        let reply = send(connect().await, "DELETE", &made.location, &[], "").await;
        assert!(!reply.expect(204).has("strict-transport-security"));
    }
}

#[tokio::test]
async fn w_tls_1_versions_1_2_and_1_3_are_spoken() {
    let pair = Pair::new();
    let files = Files::new("versions", &pair);
    let world = https(&files).await;
    for versions in [ONLY_1_2, ONLY_1_3] {
        let caller = Caller {
            versions,
            name: "127.0.0.1",
            ..Caller::default()
        };
        let stream = caller.connect(world.at, &pair.certificate).await;
        let stream = stream.expect("a handshake");
        let spoken = stream.get_ref().1.protocol_version();
        assert_eq!(spoken, Some(versions[0].version));
        send(stream, "GET", "/healthz", &[], "").await.expect(200);
    }
}

#[tokio::test]
async fn every_common_kind_of_key_is_served() {
    for (name, kind) in [
        ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("ed25519", &rcgen::PKCS_ED25519),
        ("rsa", &rcgen::PKCS_RSA_SHA256),
    ] {
        let pair = Pair::of(kind);
        let files = Files::new(name, &pair);
        let world = https(&files).await;
        let stream = Caller::default().connect(world.at, &pair.certificate).await;
        let stream = stream.unwrap_or_else(|error| panic!("{name}: {error}"));
        send(stream, "GET", "/healthz", &[], "").await.expect(200);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let (first, second) = (Pair::new(), Pair::new());
    let files = Files::new("renewed", &first);
    let world = https(&files).await;
    let caller = Caller::default();
    let shown = async || caller.look(world.at).await.expect("a handshake");
    let lasting = caller.connect(world.at, &first.certificate).await;
    assert_eq!(shown().await, first.certificate);

    // Half of it, as between the two writes of a renewal.
    files.write(&second.certificate_pem, &first.key_pem);
    let metrics = async || {
        let stream = caller.connect_to_any(world.at).await;
        send(stream.expect("a handshake"), "GET", "/metrics", &[], "").await
    };
    let refused = "whitewater_tls_certificate_changes_total{result=\"refused\"} 1";
    until("it is refused", async || {
        metrics().await.text().contains(refused)
    })
    .await;
    assert_eq!(shown().await, first.certificate);

    files.write(&second.certificate_pem, &second.key_pem);
    until("it is taken", async || shown().await == second.certificate).await;
    let taken = "whitewater_tls_certificate_changes_total{result=\"taken\"} 1";
    assert!(metrics().await.text().contains(taken));
    // Who was connected stays so.
    let lasting = lasting.expect("a handshake");
    send(lasting, "GET", "/healthz", &[], "").await.expect(200);

    std::fs::remove_file(files.key()).expect("it was there");
    let refused = "whitewater_tls_certificate_changes_total{result=\"refused\"} 2";
    until("its loss is noticed", async || {
        metrics().await.text().contains(refused)
    })
    .await;
    assert_eq!(shown().await, second.certificate);
}

#[tokio::test]
async fn a_bad_pair_is_refused_at_start_with_file_and_reason() {
    let (pair, other) = (Pair::new(), Pair::new());
    let encrypted = pem("ENCRYPTED PRIVATE KEY", b"not to be read");
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                         DEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let no_key = pem("PRIVATE KEY", b"nothing of the kind");
    let no_certificate = pem("CERTIFICATE", b"nothing of the kind");
    let large = "x".repeat(2 * 1024 * 1024);
    let (good, good_key) = (pair.certificate_pem.as_str(), pair.key_pem.as_str());
    for (certificate, key, file, reason) in [
        (good, other.key_pem.as_str(), "key.pem", "is not the key of"),
        (good, encrypted.as_str(), "key.pem", "encrypted"),
        (good, old_encrypted, "key.pem", "encrypted"),
        (good, "", "key.pem", "BEGIN PRIVATE KEY"),
        (good, good, "key.pem", "BEGIN PRIVATE KEY"),
        (good, no_key.as_str(), "key.pem", "no supported kind"),
        (good, "-----BEGIN PRIVATE KEY-----\n?", "key.pem", "not PEM"),
        ("", good_key, "chain.pem", "BEGIN CERTIFICATE"),
        (good_key, good_key, "chain.pem", "BEGIN CERTIFICATE"),
        (
            no_certificate.as_str(),
            good_key,
            "chain.pem",
            "cannot be read",
        ),
        (large.as_str(), good_key, "chain.pem", "larger"),
    ] {
        let files = Files::new("bad", &pair);
        files.write(certificate, key);
        let text = refusal(files.tls());
        assert!(
            text.contains(file) && text.contains(reason),
            "{reason}: {text}"
        );
        assert!(!text.contains("PRIVATE KEY-----\nMI"), "no key: {text}");
    }
    let files = Files::new("absent", &pair);
    let text = refusal(Tls::Files {
        certificate: files.certificate(),
        key: files.folder().join("absent.pem"),
    });
    assert!(text.contains("absent.pem cannot be read"), "{text}");
}

fn refusal(tls: Tls) -> String {
    assert!(whitewater_control::check_tls(&tls).is_err());
    let (_plane, port) = Fake::start();
    let config = whitewater_control::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        tls,
        ..whitewater_control::Config::default()
    };
    match Server::bind(config, port) {
        Err(error @ BindError::Tls(_)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_for_its_names_and_shown_by_its_fingerprint() {
    let (_plane, port) = Fake::start();
    let config = whitewater_control::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: Tls::SelfSigned {
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        },
        ..whitewater_control::Config::default()
    };
    let server = Server::bind(config, port).expect("bind");
    let at = server.local_addr();
    let printed = server.certificate_fingerprint().expect("one").to_owned();
    let server = tokio::spawn(server.run(std::future::pending()));
    let shown = Caller::default().look(at).await.expect("a handshake");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &shown);
    let hash: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    assert_eq!(printed, hash.join(":"));
    for (name, is_ours) in [
        ("localhost", true),
        ("127.0.0.1", true),
        ("other.example", false),
    ] {
        let caller = Caller {
            name,
            ..Caller::default()
        };
        let stream = caller.connect(at, &shown).await;
        assert_eq!(stream.is_ok(), is_ours, "{name}: {:?}", stream.err());
        if let Ok(stream) = stream {
            send(stream, "GET", "/healthz", &[], "").await.expect(200);
        }
    }
    server.abort();
}

#[tokio::test]
async fn a_handshake_that_does_not_come_about_is_cut_off_and_harms_nobody() {
    let pair = Pair::new();
    let files = Files::new("stalled", &pair);
    let world = World::with(|config| {
        config.tls = files.tls();
        config.limits.header_timeout = Duration::from_millis(500);
    })
    .await;
    let began = Instant::now();
    let mut stalled = Vec::new();
    for begin in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(world.at).await.expect("connect");
            stream.write_all(begin).await.expect("write");
            stalled.push(stream);
        }
    }
    let caller = Caller::default();
    let stream = caller.connect(world.at, &pair.certificate).await;
    send(stream.expect("a handshake"), "GET", "/healthz", &[], "")
        .await
        .expect(200);
    for mut stream in stalled {
        assert!(!read_to_end(&mut stream).await.contains("HTTP"));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    // Plain HTTP, and rubbish.
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
        &[0x16; 64],
    ] {
        let answer = raw(world.at, bytes).await;
        assert!(!answer.contains("HTTP/1.1"), "{answer}");
    }
    // A handshake that is done is not a request: the same time holds for the first of those.
    let stream = caller.connect(world.at, &pair.certificate).await;
    let (mut idle, _) = stream.expect("a handshake").into_inner();
    read_to_end(&mut idle).await;
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn hsts_is_said_where_it_was_asked_for() {
    let pair = Pair::new();
    let files = Files::new("hsts", &pair);
    let world = World::with(|config| {
        config.tls = files.tls();
        config.hsts_max_age = Duration::from_secs(300);
    })
    .await;
    for (path, status) in [("/", 200), ("/healthz", 200), ("/whip/", 404)] {
        let stream = Caller::default().connect(world.at, &pair.certificate).await;
        let reply = send(stream.expect("a handshake"), "GET", path, &[], "").await;
        let reply = reply.expect(status);
        assert_eq!(reply.header("strict-transport-security"), "max-age=300");
    }
}

#[tokio::test]
async fn w_rdr_1_plain_http_is_shown_the_way_with_method_and_body_kept() {
    let (_plane, port) = Fake::start();
    let config = whitewater_control::Config {
        listen: ([127, 0, 0, 1], 0).into(),
        redirect_listen: Some(([127, 0, 0, 1], 0).into()),
        tls: Tls::SelfSigned {
            names: vec!["localhost".to_owned()],
        },
        hosts: vec!["media.example".to_owned()],
        ..whitewater_control::Config::default()
    };
    let server = Server::bind(config, port).expect("bind");
    let (at, redirect) = (server.local_addr(), server.redirect_addr().expect("one"));
    let server = tokio::spawn(server.run(std::future::pending()));
    let ask = async |method: &str, path: &str, host: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        raw(redirect, request.as_bytes()).await
    };
    for (method, path) in [
        ("GET", "/"),
        ("HEAD", "/whep/a"),
        ("POST", "/whip/a?b=c"),
        ("POST", "/whep/a"),
        ("PATCH", "/session/a/b"),
        ("OPTIONS", "/whip/a"),
    ] {
        let answer = ask(method, path, "media.example:80").await;
        // RFC 9725 §4.5: never 301 or 302.
        assert!(answer.starts_with("HTTP/1.1 308"), "{method}: {answer}");
        let port = at.port();
        let location = format!("location: https://media.example:{port}{path}\r\n");
        assert!(answer.contains(&location), "{method}: {answer}");
    }
    for host in ["evil.example", "a@media.example", "media.example/x", ""] {
        let answer = ask("GET", "/", host).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{host}: {answer}");
        assert!(!answer.contains("location:"), "{host}: {answer}");
    }
    server.abort();
}

/// Looks until `check` holds: files are looked at every two seconds.
async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let end = Instant::now() + Duration::from_secs(30);
    while !check().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
