//! Behind real proxies, with the configurations that docs/deployment.md shows.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whitewater_control::{Network, Rate};

use crate::client::{Reply, raw};
use crate::secure::{Caller, Files, Pair, send};
use crate::world::{OFFER, TRICKLE, World, made, restart};

const SDP: &[(&str, &str)] = &[("content-type", "application/sdp")];

#[tokio::test]
async fn w_tls_1_nginx_in_front_hands_everything_on() {
    let Some(program) = tool("nginx", &["/usr/sbin/nginx", "/usr/bin/nginx"]) else {
        return;
    };
    let world = behind_a_proxy().await;
    let (pair, files) = certificate("nginx");
    let (https, http) = (free_port(), free_port());
    let folder = files.folder().display();
    let servers = block("<!-- tested: nginx -->")
        .replace("listen 443", &format!("listen 127.0.0.1:{https}"))
        .replace("listen 80", &format!("listen 127.0.0.1:{http}"))
        .replace("/etc/ssl/media.example.pem", path(&files.certificate()))
        .replace("/etc/ssl/media.example.key", path(&files.key()))
        .replace("127.0.0.1:7777", &world.at.to_string());
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
        .join(" ");
    let config = format!(
        "daemon off; pid {folder}/pid; error_log stderr; events {{}}\n\
         http {{ access_log off; {temporary}\n{servers}\n}}\n"
    );
    let at = files.folder().join("nginx.conf");
    fs::write(&at, config).expect("written");
    let arguments = ["-e", "stderr", "-p", path(files.folder()), "-c", path(&at)];
    let mut proxy = Proxy::start(&program, &arguments, &files, ([127, 0, 0, 1], https).into());
    proxy.until_it_listens();
    hands_everything_on(&world, proxy.at, &pair).await;

    let to_http: SocketAddr = ([127, 0, 0, 1], http).into();
    let request = "POST /whip/a?b=c HTTP/1.1\r\nhost: media.example\r\nconnection: close\r\n\
                   content-length: 0\r\n\r\n";
    let answer = raw(to_http, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(
        answer.contains("https://media.example/whip/a?b=c"),
        "{answer}"
    );
}

#[tokio::test]
async fn w_tls_1_caddy_in_front_hands_everything_on() {
    let Some(program) = tool("caddy", &["/usr/bin/caddy", "/usr/local/bin/caddy"]) else {
        return;
    };
    let world = behind_a_proxy().await;
    let (pair, files) = certificate("caddy");
    let port = free_port();
    let (certificate, key) = (files.certificate(), files.key());
    let tls = format!("tls {} {}", path(&certificate), path(&key));
    // Its own certificate would need the internet.
    let site = format!("https://media.example:{port} {{\n    bind 127.0.0.1\n    {tls}");
    let config = block("<!-- tested: caddy -->")
        .replace("media.example {", &site)
        .replace("127.0.0.1:7777", &world.at.to_string());
    let global = "{\n    admin off\n    auto_https off\n}\n";
    let at = files.folder().join("Caddyfile");
    fs::write(&at, format!("{global}{config}")).expect("written");
    let arguments = ["run", "--config", path(&at), "--adapter", "caddyfile"];
    let mut proxy = Proxy::start(&program, &arguments, &files, ([127, 0, 0, 1], port).into());
    proxy.until_it_listens();
    hands_everything_on(&world, proxy.at, &pair).await;
}

/// As docs/deployment.md configures a server behind a proxy, with few requests for each client.
async fn behind_a_proxy() -> World {
    World::with(|config| {
        config.hosts = vec!["media.example".to_owned()];
        config.trusted_proxies = vec![Network {
            address: [127, 0, 0, 1].into(),
            prefix_len: 32,
        }];
        config.limits.source_requests = Rate {
            count: 1,
            per: Duration::from_secs(60),
            burst: BURST,
        };
    })
    .await
}

/// Everything a client does, by HTTP/1.1 and HTTP/2.
async fn hands_everything_on(world: &World, at: SocketAddr, pair: &Pair) {
    for (number, protocol) in [&["http/1.1"][..], &["h2"]].into_iter().enumerate() {
        let caller = Caller {
            protocols: protocol,
            name: "media.example",
            from: CLIENT,
            ..Caller::default()
        };
        let ask = async |method: &str, path: &str, headers: &[(&str, &str)], body: &str| -> Reply {
            let stream = caller.connect(at, &pair.certificate).await;
            let mut all = vec![(":host", "media.example")];
            all.extend(headers);
            send(stream.expect("a handshake"), method, path, &all, body).await
        };
        let reply = ask("POST", "/whip/a", SDP, OFFER).await;
        let made = made(&reply);
        assert!(made.location.starts_with("/session/"), "{}", made.location);
        let tagged = [FRAGMENT, ("if-match", made.etag.as_str())];
        let trickled = ask("PATCH", &made.location, &tagged, TRICKLE).await;
        trickled.expect(204);
        let any = [FRAGMENT, ("if-match", "*")];
        let restarted = ask("PATCH", &made.location, &any, &restart(number)).await;
        assert_ne!(restarted.expect(200).header("etag"), made.etag);
        let stale = ask("PATCH", &made.location, &tagged, TRICKLE).await;
        stale.problem(412);
        ask("GET", &made.location, &[], "").await.expect(204);
        assert!(
            ask("HEAD", "/whep/a", &[], "")
                .await
                .expect(200)
                .body
                .is_empty()
        );
        // Management is called by the name the proxy is called by.
        ask("GET", "/api/streams/", &[], "").await.expect(200);
        let options = ask("OPTIONS", "/whip/a", &[], "").await.expect(200);
        assert_eq!(options.header("accept-post"), "application/sdp");
        ask("DELETE", &made.location, &[], "").await.expect(204);
        // More than the proxy or the server takes; whoever says so.
        let large = "x".repeat(300 * 1024);
        ask("POST", "/whip/a", SDP, &large).await.expect(413);
    }
    // The client behind the proxy is the source, whatever it says of itself.
    let caller = Caller {
        name: "media.example",
        from: CLIENT,
        ..Caller::default()
    };
    let mut refused = 0;
    for index in 0..BURST {
        let stream = caller.connect(at, &pair.certificate).await;
        let forged = format!("198.51.100.{index}");
        let headers = [
            SDP[0],
            (":host", "media.example"),
            ("x-forwarded-for", forged.as_str()),
        ];
        let stream = stream.expect("a handshake");
        let reply = send(stream, "POST", "/whep/a", &headers, OFFER).await;
        refused += u32::from(reply.status == 429);
    }
    // At least the two publishers were counted before.
    assert!(refused >= 2, "{refused}");
    let other = [SDP[0], ("x-forwarded-for", "192.0.2.8")];
    let other = world.send("POST", "/whep/a", &other, OFFER).await;
    other.expect(201);
    events_are_not_held_back(world, at, pair).await;
}

async fn events_are_not_held_back(world: &World, at: SocketAddr, pair: &Pair) {
    let caller = Caller {
        name: "media.example",
        from: CLIENT,
        ..Caller::default()
    };
    let stream = caller.connect(at, &pair.certificate).await;
    let mut stream = stream.expect("a handshake");
    let request = "GET /api/sse/streams HTTP/1.1\r\nhost: media.example\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut seen = String::new();
    let mut is_created = false;
    let reading = async {
        let mut part = [0; 4096];
        while !seen.contains("through-the-proxy") {
            let size = stream.read(&mut part).await.expect("more");
            assert!(size > 0, "it ended: {seen}");
            seen += &String::from_utf8_lossy(&part[..size]);
            if !is_created && seen.contains("data: ") {
                is_created = true;
                // Not through the proxy, whose client has asked too often.
                let path = "/api/streams/through-the-proxy";
                world
                    .send("POST", path, &[("x-forwarded-for", "192.0.2.9")], "")
                    .await;
            }
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(within.is_ok(), "the event did not come through");
}

const BURST: u32 = 8;
/// Not the address of the proxy, which is believed.
const CLIENT: [u8; 4] = [127, 0, 0, 2];

const FRAGMENT: (&str, &str) = ("content-type", "application/trickle-ice-sdpfrag");

/// The code block after this line of docs/deployment.md.
fn block(mark: &str) -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/deployment.md");
    let text = fs::read_to_string(document).expect("the document");
    let (_, after) = text.split_once(mark).expect("the mark");
    let (_, after) = after.split_once("```").expect("a block");
    let (_, body) = after.split_once('\n').expect("its first line");
    let (body, _) = body.split_once("```").expect("its end");
    body.to_owned()
}

fn certificate(name: &str) -> (Pair, Files) {
    let pair = Pair::named(&rcgen::PKCS_ECDSA_P256_SHA256, &["media.example"]);
    let files = Files::new(name, &pair);
    (pair, files)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Without the tool there is nothing to test: a failure in CI, a skip elsewhere.
fn tool(name: &str, places: &[&str]) -> Option<PathBuf> {
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed");
        eprintln!("skip: {name} is not installed (as root: tests/run setup)");
    }
    found
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// A proxy that runs. Dropped, it is ended.
struct Proxy {
    child: Child,
    log: PathBuf,
    at: SocketAddr,
}

impl Proxy {
    fn start(program: &Path, arguments: &[&str], files: &Files, at: SocketAddr) -> Self {
        let log = files.folder().join("log");
        let output = File::create(&log).expect("a file");
        let child = Command::new(program)
            .args(arguments)
            .env("HOME", files.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("it starts");
        Proxy { child, log, at }
    }

    fn until_it_listens(&mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(self.at).is_err() {
            let ended = self.child.try_wait().expect("a child of ours");
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < end, "{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // SIGTERM, so that nginx ends its workers.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let id = self.child.id().to_string();
            let _ = Command::new("kill").arg(&id).status();
        }
        let end = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
