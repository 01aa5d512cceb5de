//! The management API on a listener of its own, and who may see the metrics.

use std::net::SocketAddr;

use whitewater_control::{MetricsAccess, Tls};

use crate::client::send;
use crate::world::World;

const MANAGEMENT: &[&str] = &[
    "/api/streams",
    "/api/streams/a",
    "/api/sse/streams",
    "/api/strategy",
    "/api/info",
    "/api/openapi.json",
    "/api/docs",
    "/api/cascade/a",
    "/api/drain",
    "/api/auth/revocations",
    "/metrics",
];

async fn apart() -> (World, SocketAddr) {
    let world = World::with(|config| {
        config.admin_listen = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let admin = world.admin.expect("a listener");
    assert_ne!(admin, world.at);
    (world, admin)
}

/// Without a look at the description, which knows nothing of a route that is not there.
async fn status(to: SocketAddr, method: &str, path: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: 0\r\n\r\n"
    );
    let answer = crate::client::raw(to, request.as_bytes()).await;
    answer.get(9..12).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn where_the_management_api_has_a_listener_the_public_one_does_not_have_it() {
    let (world, admin) = apart().await;
    for path in MANAGEMENT {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            for path in [(*path).to_owned(), format!("{path}/")] {
                assert_eq!(
                    status(world.at, method, &path).await,
                    "404",
                    "{method} {path}"
                );
            }
        }
    }
    for path in ["/", "/docs.js", "/healthz", "/readyz", "/whep/a"] {
        assert_eq!(status(world.at, "GET", path).await, "200", "{path}");
        assert_eq!(status(admin, "GET", path).await, "200", "{path}");
    }
    for path in [
        "/api/streams",
        "/api/info",
        "/metrics",
        "/api/drain",
        "/api/docs",
    ] {
        send(admin, "GET", path, &[], b"").await.expect(200);
    }
    // It is one server: what is published here is listed there.
    let made = world.publish("a").await;
    let streams = send(admin, "GET", "/api/streams", &[], b"").await;
    assert_eq!(streams.expect(200).json()[0]["id"], "a");
    let deleted = send(admin, "DELETE", "/api/streams/a", &[], b"").await;
    deleted.expect(204);
    world.get(&made.location).await.problem(404);
    world.shut_down().await;
    let gone = tokio::net::TcpStream::connect(admin).await;
    assert!(gone.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_crowd_at_the_public_listener_does_not_keep_the_management_away() {
    let world = World::with(|config| {
        config.admin_listen = Some(([127, 0, 0, 1], 0).into());
        config.limits.connections_max = 2;
    })
    .await;
    let admin = world.admin.expect("a listener");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(
            tokio::net::TcpStream::connect(world.at)
                .await
                .expect("connect"),
        );
    }
    send(admin, "GET", "/api/streams", &[], b"")
        .await
        .expect(200);
}

#[tokio::test]
async fn beside_https_the_management_api_is_plain_on_loopback_only() {
    let secured = async |admin: [u8; 4]| {
        World::with(|config| {
            config.tls = Tls::SelfSigned {
                names: vec!["localhost".into()],
            };
            config.admin_listen = Some((admin, 0).into());
        })
        .await
    };
    let world = secured([127, 0, 0, 1]).await;
    let admin = world.admin.expect("a listener");
    assert_eq!(status(admin, "GET", "/metrics").await, "200");
    assert_eq!(status(world.at, "GET", "/healthz").await, "", "no HTTP");
    let world = secured([0, 0, 0, 0]).await;
    let port = world.admin.expect("a listener").port();
    let admin = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(status(admin, "GET", "/metrics").await, "", "no HTTP");
}

#[tokio::test]
async fn one_listener_has_everything_where_nothing_else_is_said() {
    let world = World::new().await;
    assert_eq!(world.admin, None);
    world.get("/metrics").await.expect(200);
}

#[tokio::test]
async fn metrics_are_for_this_machine_unless_a_token_says_more() {
    let guarded = async |access: MetricsAccess| {
        World::with(|config| {
            config.auth.tokens = vec!["all".into()];
            config.auth.watch_tokens = vec!["watch".into()];
            config.auth.metrics = access;
        })
        .await
    };
    let relayed = ("x-forwarded-for", "203.0.113.9");
    let bearer = |token: &'static str| ("authorization", token);
    for path in ["/metrics", "/api/info"] {
        let world = guarded(MetricsAccess::default()).await;
        world.get(path).await.expect(200);
        let ask = async |world: &World, headers: &[(&str, &str)]| {
            let reply = world.send("GET", path, headers, "").await;
            reply.status.as_u16()
        };
        assert_eq!(ask(&world, &[relayed]).await, 401, "{path}");
        let watcher = bearer("Bearer watch");
        assert_eq!(ask(&world, &[relayed, watcher]).await, 403, "{path}");
        assert_eq!(ask(&world, &[relayed, bearer("Bearer all")]).await, 200);

        let world = guarded(MetricsAccess::Manage).await;
        assert_eq!(ask(&world, &[]).await, 401, "{path}");
        assert_eq!(ask(&world, &[watcher]).await, 403, "{path}");
        assert_eq!(ask(&world, &[bearer("Bearer all")]).await, 200, "{path}");

        let world = guarded(MetricsAccess::Open).await;
        assert_eq!(ask(&world, &[relayed]).await, 200, "{path}");
    }
    // Where nobody is asked for anything, nobody is asked for this.
    let world = World::with(|config| config.auth.metrics = MetricsAccess::Manage).await;
    world.get("/metrics").await.expect(200);
}
