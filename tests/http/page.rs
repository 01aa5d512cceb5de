//! The embedded page, information and probes.

use std::path::Path;

use crate::world::World;

#[tokio::test]
async fn the_page_and_all_its_files_are_served() {
    let world = World::new().await;
    let index = world.get("/").await.expect(200);
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    let policy = index.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let mut count = 0;
    for entry in std::fs::read_dir(web).expect("the page's folder") {
        let path = entry.expect("an entry").path();
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => continue,
        };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let reply = world.get(&format!("/{name}")).await;
        if name.starts_with("manager.") {
            // A node is no manager.
            reply.expect(404);
            continue;
        }
        let reply = reply.expect(200);
        assert_eq!(reply.header("content-type"), kind, "{name}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(!reply.body.is_empty());
        count += 1;
    }
    assert!(count >= 4, "index, style, a module and an icon");
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let world = World::new().await;
    let reply = world.get("/").await.expect(200);
    let tag = reply.header("etag").to_owned();
    assert_eq!(reply.header("cache-control"), "no-cache");
    for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".into()] {
        let reply = world
            .send("GET", "/", &[("if-none-match", &known)], "")
            .await;
        let reply = reply.expect(304);
        assert!(reply.body.is_empty());
        assert_eq!(reply.header("etag"), tag);
    }
    world
        .send("GET", "/", &[("if-none-match", "\"x\"")], "")
        .await
        .expect(200);
}

#[tokio::test]
async fn other_paths_and_methods_are_problems() {
    let world = World::new().await;
    for path in [
        "/x",
        "/index.html/",
        "/..%2fCargo.toml",
        "/tests",
        "//",
        "/whip",
        "/whip/",
    ] {
        world.get(path).await.problem(404);
    }
    let reply = world.send("POST", "/", &[], "").await;
    reply.problem(405);
    assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS");
    world.send("OPTIONS", "/", &[], "").await.expect(200);
}

#[tokio::test]
async fn readiness_follows_the_shards() {
    let world = World::new().await;
    world.get("/healthz").await.expect(200);
    world
        .until("ready", async || world.get("/readyz").await.status == 200)
        .await;
    world.plane.set_reporting(false);
    world
        .until("no reports, not ready", async || {
            world.get("/readyz").await.status == 503
        })
        .await;
    world.get("/healthz").await.expect(200);
    world.plane.set_reporting(true);
    world
        .until("ready again", async || {
            world.get("/readyz").await.status == 200
        })
        .await;
}
