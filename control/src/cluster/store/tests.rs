//! What every store promises. etcd is held to it where it is installed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::super::config::EtcdAccess;
use super::super::courier::Courier;
use super::{Change, Etcd, Memory, Store, Swap};

/// An etcd of its own. Dropped, it is gone.
struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// `None` where it is not installed.
    fn start(name: &str) -> Option<(Server, String)> {
        Self::start_with(name, "http", &[])
    }

    fn start_with(name: &str, scheme: &str, more: &[&str]) -> Option<(Server, String)> {
        let free = |scheme| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            format!("{scheme}://{}", listener.local_addr().expect("bound"))
        };
        let (clients, peers) = (free(scheme), free("http"));
        let folder = folder(name);
        let child = Command::new("etcd")
            .args(more)
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .arg("--data-dir")
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some((Server { child, folder }, clients))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn folder(name: &str) -> PathBuf {
    let name = format!("whitewater-store-{}-{name}", std::process::id());
    std::env::temp_dir().join(name)
}

type Stores = Vec<(&'static str, Arc<dyn Store>)>;

/// All stores, the second one as long as the server lives.
async fn stores(test: &str) -> (Stores, Option<Server>) {
    let mut stores: Stores = vec![("memory", Arc::new(Memory::default()))];
    let Some((server, url)) = Server::start(test) else {
        eprintln!("etcd is not installed: it is not tested");
        return (stores, None);
    };
    let courier = Courier::new(None).expect("a client");
    let access = EtcdAccess {
        urls: vec![url],
        ..EtcdAccess::default()
    };
    let etcd = Etcd::new(courier, &access, "/test/");
    serves(&etcd).await;
    stores.push(("etcd", Arc::new(etcd)));
    (stores, Some(server))
}

async fn serves(etcd: &Etcd) {
    let asked = async {
        while etcd.get("x").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let served = timeout(Duration::from_secs(30), asked).await;
    served.expect("etcd serves");
}

fn value(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn a_swap_is_done_once_for_each_version() {
    let (stores, _server) = stores("swap").await;
    for (name, store) in stores {
        assert_eq!(store.get("swap/k").await, Ok(None), "{name}");
        let first = store.swap("swap/k", 0, value("one"), None).await;
        let Ok(Swap::Done(version)) = first else {
            panic!("{name}: {first:?}");
        };
        assert!(version > 0);
        let again = store.swap("swap/k", 0, value("two"), None).await;
        assert_eq!(again, Ok(Swap::Conflict), "{name}");
        let found = store.get("swap/k").await.expect("an answer").expect("it");
        assert_eq!((found.version, &found.value[..]), (version, &b"one"[..]));
        let second = store.swap("swap/k", version, value("two"), None).await;
        let Ok(Swap::Done(next)) = second else {
            panic!("{name}: {second:?}");
        };
        assert!(next > version, "{name}");
        let late = store.swap("swap/k", version, None, None).await;
        assert_eq!(late, Ok(Swap::Conflict), "{name}");
        let gone = store.swap("swap/k", next, None, None).await;
        assert_eq!(gone, Ok(Swap::Done(0)), "{name}");
        assert_eq!(store.get("swap/k").await, Ok(None), "{name}");
    }
}

#[tokio::test]
async fn of_many_who_claim_at_once_one_wins() {
    let (stores, _server) = stores("race").await;
    for (name, store) in stores {
        let claims = (0..16).map(|number: u32| {
            let store = store.clone();
            tokio::spawn(async move {
                let value = Some(Bytes::from(number.to_string()));
                store.swap("race/k", 0, value, None).await
            })
        });
        let mut won = 0;
        for claim in claims.collect::<Vec<_>>() {
            let outcome = claim.await.expect("no panic").expect("an answer");
            won += u32::from(matches!(outcome, Swap::Done(_)));
        }
        assert_eq!(won, 1, "{name}");
        let found = store.get("race/k").await.expect("an answer").expect("it");
        let gone = store.swap("race/k", found.version, None, None).await;
        assert_eq!(gone, Ok(Swap::Done(0)), "{name}");
    }
}

#[tokio::test]
async fn what_is_leased_goes_with_the_lease() {
    let (stores, _server) = stores("lease").await;
    for (name, store) in stores {
        let lease = store.grant(Duration::from_secs(1)).await.expect("a lease");
        let other = store.grant(Duration::from_secs(60)).await.expect("a lease");
        for (key, lease) in [("lease/a", lease), ("lease/b", other)] {
            let put = store.swap(key, 0, value("x"), Some(lease)).await;
            assert!(matches!(put, Ok(Swap::Done(_))), "{name}: {put:?}");
        }
        let (found, mut changes) = store.watch("lease/").await.expect("a watch");
        assert_eq!(found.len(), 2, "{name}");
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(store.keep(lease).await, Ok(true), "{name}");
        }
        // Not kept any more. etcd waits somewhat longer than the time it was given.
        let change = timeout(Duration::from_secs(10), changes.recv()).await;
        let change = change.expect("in time").expect("a change");
        assert!(
            matches!(&change, Change::Gone { key, .. } if key == "lease/a"),
            "{name}: {change:?}"
        );
        assert_eq!(store.keep(lease).await, Ok(false), "{name}");
        store.revoke(other).await.expect("revoked");
        let change = timeout(Duration::from_secs(5), changes.recv()).await;
        let change = change.expect("in time").expect("a change");
        assert!(
            matches!(&change, Change::Gone { key, .. } if key == "lease/b"),
            "{name}: {change:?}"
        );
        let late = store.swap("lease/a", 0, value("x"), Some(lease)).await;
        assert!(late.is_err(), "{name}: {late:?}");
    }
}

#[tokio::test]
async fn a_watch_has_what_was_there_and_every_change_after_it_in_order() {
    let (stores, _server) = stores("watch").await;
    for (name, store) in stores {
        let put = store.swap("watch/0", 0, value("old"), None).await;
        assert!(matches!(put, Ok(Swap::Done(_))));
        let (found, mut changes) = store.watch("watch/").await.expect("a watch");
        let keys: Vec<_> = found.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["watch/0"], "{name}");
        let mut version = 0;
        for text in ["a", "b", "c"] {
            let put = store.swap("watch/1", version, value(text), None).await;
            let Ok(Swap::Done(next)) = put else {
                panic!("{name}: {put:?}");
            };
            version = next;
        }
        // Another folder's changes are nobody's business here.
        let other = store.swap("watching/1", 0, value("x"), None).await;
        let Ok(Swap::Done(other)) = other else {
            panic!("{name}: {other:?}");
        };
        for (key, version) in [
            ("watching/1", other),
            ("watch/1", version),
            ("watch/0", found[0].version),
        ] {
            let gone = store.swap(key, version, None, None).await;
            assert_eq!(gone, Ok(Swap::Done(0)), "{name}");
        }
        let mut heard = Vec::new();
        for _ in 0..5 {
            let change = timeout(Duration::from_secs(1), changes.recv()).await;
            heard.push(match change.expect("within a second").expect("a change") {
                Change::Put(entry) => format!("{}={:?}", entry.key, entry.value),
                Change::Gone { key, .. } => key,
            });
        }
        let expected = [
            "watch/1=b\"a\"",
            "watch/1=b\"b\"",
            "watch/1=b\"c\"",
            "watch/1",
            "watch/0",
        ];
        assert_eq!(heard, expected, "{name}");
    }
}

/// Has an etcd whose certificate is in `ca_file` do something that is no store's business.
async fn administer(url: &str, ca_file: &Path, token: Option<&str>, path: &str, body: Value) {
    let courier = Courier::new(Some(ca_file)).expect("a client");
    let url = format!("{url}/v3/auth/{path}").parse().expect("a URL");
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token.parse().expect("a token"));
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    let body = body.to_string().into();
    let answer = courier.exchange(Method::POST, &url, headers, body, 4096, deadline);
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body());
}

/// RFC 7468 §2.
fn pem(kind: &str, der: &[u8]) -> String {
    let text = super::etcd::encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    format!(
        "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
        lines.join("\n")
    )
}

#[tokio::test]
async fn etcd_is_asked_over_tls_and_by_those_it_knows() {
    let files = folder("login-files");
    std::fs::create_dir_all(&files).expect("a folder");
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (files.join("certificate.pem"), files.join("key.pem"));
    let chain = pem("CERTIFICATE", own.cert.der());
    std::fs::write(&certificate, chain).expect("a file");
    let secret = pem("PRIVATE KEY", &own.signing_key.serialize_der());
    std::fs::write(&key, secret).expect("a file");
    let (cert_file, key_file) = (certificate.display().to_string(), key.display().to_string());
    let secured = ["--cert-file", &cert_file, "--key-file", &key_file];
    let Some((_server, url)) = Server::start_with("login", "https", &secured) else {
        eprintln!("etcd is not installed: it is not tested");
        return;
    };
    let store = |username: &str, password: &str| {
        let access = EtcdAccess {
            urls: vec![url.clone()],
            username: username.to_owned(),
            password: password.to_owned(),
        };
        assert!(!format!("{access:?}").contains("hush"));
        let courier = Courier::new(Some(&certificate)).expect("a client");
        Etcd::new(courier, &access, "/test/")
    };
    let nobody = store("", "");
    serves(&nobody).await;
    // Who does not trust the certificate does not come in, and says nothing.
    let access = EtcdAccess {
        urls: vec![url.clone()],
        ..EtcdAccess::default()
    };
    let system = Etcd::new(Courier::new(None).expect("a client"), &access, "/test/");
    assert!(system.get("k").await.is_err());

    let ask = |token, path, body| administer(&url, &certificate, token, path, body);
    ask(
        None,
        "user/add",
        json!({ "name": "root", "password": "hush" }),
    )
    .await;
    ask(
        None,
        "user/grant",
        json!({ "user": "root", "role": "root" }),
    )
    .await;
    ask(None, "enable", json!({})).await;
    assert!(nobody.get("k").await.is_err());
    let wrong = store("root", "rush").get("k").await.expect_err("refused");
    assert!(wrong.0.contains("cluster.etcd_password"), "{wrong}");
    let known = store("root", "hush");
    let put = known.swap("k", 0, value("v"), None).await;
    assert!(matches!(put, Ok(Swap::Done(_))), "{put:?}");
    let (found, mut changes) = known.watch("k").await.expect("a watch");
    assert_eq!(found.len(), 1);

    // A token that was good is not any more once the password was set anew.
    let token = known.token().expect("it has one");
    let token = token.to_str().expect("a text");
    let same = json!({ "name": "root", "password": "hush" });
    ask(Some(token), "user/changepw", same).await;
    let gone = known.swap("k", found[0].version, None, None).await;
    assert_eq!(gone, Ok(Swap::Done(0)));
    assert_ne!(
        known
            .token()
            .expect("another one")
            .to_str()
            .expect("a text"),
        token
    );
    let change = timeout(Duration::from_secs(5), changes.recv()).await;
    assert!(
        matches!(change, Ok(Some(Change::Gone { .. }))),
        "{change:?}"
    );
    std::fs::remove_dir_all(&files).expect("it was there");
}
