//! How often somebody may ask.

use whitewater_control::{Network, Rate};

use crate::client::Reply;
use crate::token::{SECRET, claims, sign, token};
use crate::world::{Made, OFFER, TRICKLE, World};

/// Everybody comes by a proxy that is believed, so that a test can be many clients.
async fn proxied(configure: impl FnOnce(&mut whitewater_control::Config)) -> World {
    World::with(|config| {
        config.trusted_proxies = vec![Network {
            address: [127, 0, 0, 1].into(),
            prefix_len: 32,
        }];
        configure(config);
    })
    .await
}

async fn join(world: &World, from: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("x-forwarded-for", from),
        ("authorization", bearer.as_str()),
        ("content-type", "application/sdp"),
    ];
    world.send("POST", "/whep/a", &headers, OFFER).await
}

#[track_caller]
fn assert_too_many(reply: &Reply) {
    reply.problem(429);
    let wait: u64 = reply.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn w_sec_1_a_source_that_floods_is_429_and_the_others_are_not() {
    let world = proxied(|config| config.limits.source_requests = Rate::per_second(1, 5)).await;
    for _ in 0..5 {
        join(&world, "203.0.113.1", "").await.expect(201);
    }
    let (mut refused, before) = (0, world.plane.seen(|seen| seen.negotiated.len()));
    for _ in 0..50 {
        let reply = join(&world, "203.0.113.1", "").await;
        if reply.status == 429 {
            assert_too_many(&reply);
            assert_eq!(reply.header("access-control-allow-origin"), "*");
            refused += 1;
        }
    }
    // A second or two may have passed.
    assert!(refused >= 40, "{refused}");
    let after = world.plane.seen(|seen| seen.negotiated.len());
    assert_eq!(
        after - before,
        50 - refused,
        "refused before the data plane heard of it"
    );
    join(&world, "203.0.113.2", "").await.expect(201);
    // Nor does the offer come to be looked at.
    let odd = [
        ("x-forwarded-for", "203.0.113.1"),
        ("content-type", "text/plain"),
    ];
    for _ in 0..5 {
        world.send("POST", "/whip/b", &odd, "nonsense").await;
    }
    let reply = world.send("POST", "/whip/b", &odd, "nonsense").await;
    assert_too_many(&reply);
}

#[tokio::test]
async fn w_sec_1_an_ipv6_source_is_its_network_of_64_bits() {
    let world = proxied(|config| config.limits.source_requests = Rate::per_second(1, 4)).await;
    for host in 1..=4 {
        let from = format!("2001:db8:0:1:{host}::{host}");
        join(&world, &from, "").await.expect(201);
    }
    assert_too_many(&join(&world, "2001:db8:0:1:ffff::", "").await);
    join(&world, "2001:db8:0:2::1", "").await.expect(201);
}

#[tokio::test]
async fn w_sec_1_a_flood_with_one_token_leaves_the_other_tokens_alone() {
    let world = proxied(|config| {
        config.auth.secret = SECRET.into();
        config.limits.token_requests = Rate::per_second(1, 5);
    })
    .await;
    let (busy, calm) = (token("a", 4, 600), token("a", 4, 601));
    for host in 1..=5 {
        let from = format!("203.0.113.{host}");
        join(&world, &from, &busy).await.expect(201);
    }
    // From wherever it comes.
    let mut refused = 0;
    for host in 6..=25 {
        let reply = join(&world, &format!("203.0.113.{host}"), &busy).await;
        refused += usize::from(reply.status == 429);
    }
    assert!(refused >= 15, "{refused}");
    join(&world, "203.0.113.6", &calm).await.expect(201);
    // Who has no token at all is told so, however often.
    for _ in 0..20 {
        join(&world, "203.0.113.6", "wrong").await.problem(401);
    }
}

#[tokio::test]
async fn w_sec_1_who_joined_too_fast_can_still_trickle_and_leave() {
    let world = proxied(|config| config.limits.source_requests = Rate::per_second(1, 3)).await;
    let mut sessions: Vec<Made> = Vec::new();
    for _ in 0..3 {
        sessions.push(crate::world::made(&join(&world, "203.0.113.1", "").await));
    }
    assert_too_many(&join(&world, "203.0.113.1", "").await);
    for made in &sessions {
        let headers = [
            ("x-forwarded-for", "203.0.113.1"),
            ("content-type", "application/trickle-ice-sdpfrag"),
            ("if-match", made.etag.as_str()),
        ];
        world
            .send("PATCH", &made.location, &headers, TRICKLE)
            .await
            .expect(204);
        world
            .send("DELETE", &made.location, &headers[..1], "")
            .await
            .expect(204);
    }
    // Looking is free.
    for _ in 0..50 {
        let from = [("x-forwarded-for", "203.0.113.1")];
        world
            .send("GET", "/api/streams", &from, "")
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn w_sec_4_a_flood_of_patches_is_429() {
    let world = World::with(|config| config.limits.source_requests = Rate::per_second(1, 5)).await;
    let made = world.watch("a").await;
    for _ in 0..5 {
        world.patch(&made, &made.etag, TRICKLE).await.expect(204);
    }
    let mut refused = 0;
    for _ in 0..20 {
        let reply = world.patch(&made, &made.etag, TRICKLE).await;
        refused += usize::from(reply.status == 429);
    }
    assert!(refused >= 15, "{refused}");
    let patched = world.plane.seen(|seen| seen.patched.len());
    assert_eq!(patched, 25 - refused);
}

#[tokio::test]
async fn e_sec_1_flash_crowds_pass_the_defaults() {
    let world = proxied(|config| {
        config.auth.secret = SECRET.into();
        config.policy.half_open_max = 100_000;
        config.policy.sessions_max = 100_000;
    })
    .await;
    let shared = sign(&claims("a", 4, 600, ""));
    // 300 at once from one address, and again as many from others, all with one token.
    for index in 0..600 {
        let from = if index % 2 == 0 {
            "203.0.113.1".to_owned()
        } else {
            format!("198.51.{}.{}", index / 200, index % 200)
        };
        join(&world, &from, &shared).await.expect(201);
    }
}

#[tokio::test]
async fn a_rate_of_nothing_is_no_limit() {
    let world = World::with(|config| {
        config.limits.source_requests = Rate::per_second(0, 1);
        config.limits.source_misses_per_minute = 0;
    })
    .await;
    for _ in 0..60 {
        world.watch("a").await;
        world
            .delete("/session/a/00000000000000000000000000000000")
            .await
            .problem(404);
    }
}
