//! Session URLs cannot be searched for.

use whitewater_control::Network;

use crate::world::{TRICKLE, World};

const UNKNOWN: &str = "/session/a/00000000000000000000000000000000";

#[tokio::test]
async fn w_sec_3_twenty_guesses_a_minute_hear_404_and_the_others_429() {
    let world = World::new().await;
    let made = world.watch("a").await;
    let mut statuses = Vec::new();
    for index in 0..40_u128 {
        let path = format!("/session/a/{index:032x}");
        let reply = match index % 4 {
            0 => world.delete(&path).await,
            1 => world.get(&path).await,
            2 => {
                let fragment = [
                    ("content-type", "application/trickle-ice-sdpfrag"),
                    ("if-match", "*"),
                ];
                world.send("PATCH", &path, &fragment, TRICKLE).await
            }
            _ => world.delete("/session/nobody/short").await,
        };
        if reply.status == 429 {
            let wait: u64 = reply.header("retry-after").parse().expect("seconds");
            assert!((1..=3).contains(&wait), "{wait}");
        }
        statuses.push(reply.status.as_u16());
    }
    assert_eq!(statuses[..20], [404; 20]);
    let refused = statuses.iter().filter(|status| **status == 429).count();
    // One more every three seconds.
    assert!(refused >= 15, "{statuses:?}");
    // Who knows the URL is not kept from it.
    world.get(&made.location).await.expect(204);
    world.delete(&made.location).await.expect(204);
    world
        .until("the data plane heard of it", async || {
            world.plane.seen(|seen| seen.closed.len() == 1)
        })
        .await;
}

#[tokio::test]
async fn w_sec_3_the_guesses_of_one_source_are_not_anothers() {
    let world = World::with(|config| {
        config.trusted_proxies = vec![Network {
            address: [127, 0, 0, 1].into(),
            prefix_len: 32,
        }];
    })
    .await;
    let mut refused = 0;
    for _ in 0..30 {
        let from = [("x-forwarded-for", "203.0.113.1")];
        let reply = world.send("DELETE", UNKNOWN, &from, "").await;
        refused += usize::from(reply.status == 429);
    }
    assert!(refused > 0);
    let from = [("x-forwarded-for", "203.0.113.2")];
    world.send("DELETE", UNKNOWN, &from, "").await.problem(404);
}

#[tokio::test]
async fn attack_12_guesses_by_the_hundred_find_nothing_and_all_look_the_same() {
    let world = World::with(|config| {
        config.auth.tokens = vec!["guesser".into(), "owner".into()];
        config.limits.source_misses_per_minute = 0;
    })
    .await;
    let made = crate::bearer::post(&world, "/whep/a", "owner").await;
    let owned = made.location.rsplit('/').next().expect("an id");
    let mut answers = std::collections::HashSet::new();
    for index in 0..500_u128 {
        // From nothing in common with an id that is in use to all of it but one digit.
        let common = usize::try_from(index).expect("small") % 32;
        let (head, tail) = owned.split_at(common);
        let next = if tail.starts_with('0') { '1' } else { '0' };
        let path = format!("/session/a/{head}{next}{}", &tail[1..]);
        let reply = crate::bearer::ask(&world, "DELETE", &path, "guesser", "").await;
        answers.insert((reply.status.as_u16(), reply.text().to_owned()));
    }
    // Who finds one by chance cannot tell.
    let reply = crate::bearer::ask(&world, "DELETE", &made.location, "guesser", "").await;
    answers.insert((reply.status.as_u16(), reply.text().to_owned()));
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| *status == 404));
    crate::bearer::ask(&world, "GET", &made.location, "owner", "")
        .await
        .expect(204);
}
