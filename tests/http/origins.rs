//! Who may call the management API from where: names of the server, pages of others, proxies.

use whitewater_control::Network;
use whitewater_link::Locality;

use crate::client::raw;
use crate::world::{OFFER, World};

const MANAGEMENT: &[(&str, &str)] = &[
    ("GET", "/api/streams/"),
    ("GET", "/api/streams/a"),
    ("POST", "/api/streams/new"),
    ("DELETE", "/api/streams/a"),
    ("GET", "/api/sse/streams"),
    ("GET", "/api/strategy"),
    ("GET", "/api/info"),
    ("GET", "/metrics"),
    ("OPTIONS", "/api/streams/a"),
];

/// A request with this Host and these further header lines; the status.
async fn status(world: &World, method: &str, path: &str, host: &str, more: &str) -> u16 {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\
         content-length: 0\r\n\r\n"
    );
    let answer = raw(world.at, request.as_bytes()).await;
    let status = answer.split(' ').nth(1).expect("a status");
    status.parse().expect("a number")
}

#[tokio::test]
async fn a_name_that_is_not_ours_does_not_reach_the_management_api() {
    let world = World::with(|config| config.hosts = vec!["studio.example".into()]).await;
    world.publish("a").await;
    for host in [
        "evil.example",
        "evil.example:7777",
        "127.0.0.1.evil.example",
        "192.0.2.1",
    ] {
        for (method, path) in MANAGEMENT {
            assert_eq!(
                status(&world, method, path, host, "").await,
                403,
                "{method} {path}"
            );
        }
        for path in ["/healthz", "/"] {
            assert_eq!(status(&world, "GET", path, host, "").await, 200, "{path}");
        }
        // Open to every page anyway.
        assert_eq!(status(&world, "GET", "/whip/a", host, "").await, 204);
    }
    assert!(world.stream("a").await.is_some());
    assert!(world.stream("new").await.is_none());
    let at = world.at.to_string();
    let own = [
        "localhost",
        "LocalHost:1",
        "127.0.0.1:80",
        "127.8.7.6",
        "[::1]:9",
        &at,
    ];
    for host in own
        .into_iter()
        .chain(["studio.example", "Studio.Example:443"])
    {
        assert_eq!(
            status(&world, "GET", "/api/streams/", host, "").await,
            200,
            "{host}"
        );
    }
    // The target's authority goes before the header (RFC 9112 §3.2.2).
    let whole = "http://evil.example/api/streams/";
    assert_eq!(status(&world, "GET", whole, "localhost", "").await, 403);
    let twice = "host: evil.example\r\n";
    let refused = status(&world, "GET", "/api/streams/", "localhost", twice).await;
    assert_eq!(refused, 400);
}

#[tokio::test]
async fn pages_of_others_change_nothing() {
    let world = World::new().await;
    world.publish("a").await;
    let host = "localhost:7777";
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost:7778",
        "file://",
        "x",
    ] {
        let more = format!("origin: {origin}\r\n");
        for (method, path) in MANAGEMENT {
            // Which does not end.
            if *path == "/api/sse/streams" {
                continue;
            }
            let status = status(&world, method, path, host, &more).await;
            let wanted = if ["POST", "DELETE"].contains(method) {
                403
            } else {
                200
            };
            assert_eq!(status, wanted, "{method} {path} from {origin}");
        }
        let json = "origin: https://evil.example\r\ncontent-type: text/plain\r\n";
        assert_eq!(
            status(&world, "POST", "/api/cascade/a", host, json).await,
            403
        );
    }
    assert!(world.stream("a").await.is_some());
    assert!(world.stream("new").await.is_none());
    let own = "origin: http://localhost:7777\r\n";
    assert_eq!(
        status(&world, "POST", "/api/streams/new", host, own).await,
        204
    );
    // WHIP and WHEP are for pages of every origin.
    let page = [
        ("origin", "https://evil.example"),
        ("content-type", "application/sdp"),
    ];
    world
        .send("POST", "/whep/a", &page, OFFER)
        .await
        .expect(201);
}

#[tokio::test]
async fn pages_of_listed_origins_may_change_things_and_a_star_lists_all() {
    for listed in ["https://page.example", "*"] {
        let world = World::with(|config| config.allowed_origins = vec![listed.into()]).await;
        let page = [("origin", "https://page.example")];
        let reply = world
            .send("POST", "/api/streams/a", &page, "")
            .await
            .expect(204);
        let origin = "https://page.example";
        assert_eq!(reply.header("access-control-allow-origin"), origin);
        let other = [("origin", "https://other.example")];
        let reply = world.send("DELETE", "/api/streams/a", &other, "").await;
        let all = listed == "*";
        assert_eq!(reply.status.as_u16(), if all { 204 } else { 403 });
        assert_eq!(reply.has("access-control-allow-origin"), all);
    }
}

#[tokio::test]
async fn a_request_that_was_relayed_is_never_from_this_machine() {
    let proxy = Network {
        address: [127, 0, 0, 0].into(),
        prefix_len: 8,
    };
    for trusted in [vec![], vec![proxy]] {
        let world = World::with(|config| config.trusted_proxies = trusted).await;
        for header in [
            "",
            "forwarded: for=127.0.0.1",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-for: nonsense",
            "x-real-ip: 127.0.0.1",
            "via: 1.1 proxy",
            "x-forwarded-proto: http",
        ] {
            let mut headers = vec![("content-type", "application/sdp")];
            headers.extend(header.split_once(": "));
            world
                .send("POST", "/whep/a", &headers, OFFER)
                .await
                .expect(201);
            let locality = world
                .plane
                .seen(|seen| seen.negotiated.last().map(|last| last.3));
            let wanted = if header.is_empty() {
                Locality::Loopback
            } else {
                Locality::Remote
            };
            assert_eq!(locality, Some(wanted), "{header}");
        }
    }
}

#[tokio::test]
async fn attack_22_a_page_of_others_cannot_use_the_operators_token_or_cookies() {
    const TOKEN: &str = "the-operators-token";
    let world = World::with(|config| {
        config.auth.tokens = vec![TOKEN.into()];
        config.allowed_origins = vec!["https://admin.example".into()];
    })
    .await;
    let bearer = format!("Bearer {TOKEN}");
    let changes = [
        ("POST", "/api/streams/new"),
        ("DELETE", "/api/streams/a"),
        ("POST", "/api/cascade/a"),
        ("POST", "/api/auth/revocations"),
        ("DELETE", "/api/auth/revocations/0"),
    ];
    let looks = [
        ("GET", "/api/streams"),
        ("GET", "/api/strategy"),
        ("GET", "/api/auth/revocations"),
        ("GET", "/api/info"),
        ("GET", "/metrics"),
    ];
    for origin in ["https://evil.example", "http://admin.example", "null"] {
        for (method, path) in changes.iter().chain(&looks) {
            let preflight = [
                ("origin", origin),
                ("access-control-request-method", *method),
                ("access-control-request-headers", "authorization"),
            ];
            let reply = world.send("OPTIONS", path, &preflight, "").await;
            assert!(!reply.has("access-control-allow-origin"), "{path}");
            assert!(!reply.has("access-control-allow-headers"), "{path}");
            let headers = [
                ("origin", origin),
                ("authorization", bearer.as_str()),
                ("cookie", "session=1"),
            ];
            let reply = world.send(method, path, &headers, "").await;
            assert!(!reply.has("access-control-allow-origin"), "{path}");
            assert!(!reply.has("access-control-allow-credentials"), "{path}");
        }
        for (method, path) in changes {
            let headers = [("origin", origin), ("authorization", bearer.as_str())];
            let reply = world.send(method, path, &headers, "").await;
            reply.problem(403);
        }
    }
    // Cookies are nothing to this server.
    let cookie = format!("token={TOKEN}; Authorization=Bearer {TOKEN}");
    world
        .send("GET", "/api/streams", &[("cookie", &cookie)], "")
        .await
        .problem(401);
    let listed = [
        ("origin", "https://admin.example"),
        ("authorization", bearer.as_str()),
    ];
    let reply = world
        .send("GET", "/api/streams", &listed, "")
        .await
        .expect(200);
    let allowed = reply.header("access-control-allow-origin");
    assert_eq!(allowed, "https://admin.example");
}
