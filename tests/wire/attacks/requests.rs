//! Requests by the thousand: offers, restarts, guesses.

use std::time::{Duration, Instant};

use super::line::{Line, flood, request};
use super::scene::{FLOOD_TOKEN, HOUSE_TOKEN, Scene};
use super::{address, scaled};
use crate::client::{Wish, offer_text};
use crate::http::metric;
use crate::node::eventually_or;

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_9_offers_without_a_token() {
    let scene = Scene::begin("offers without a token", Some(HOUSE_TOKEN), &[]);
    let offer = post("/whep/cam", "nobody's");
    let answers = flood(lines(&scene, 16, 2), scaled(50_000), 5000, |_| {
        offer.clone()
    });
    assert_eq!(answers.statuses.keys().collect::<Vec<_>>(), [&401]);
    assert_eq!(answers.broken, 0);
    scene.end("50,000 at 5,000/s", &answers.to_string());
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_9_offers_with_one_token() {
    let scene = Scene::begin("offers with one token", Some(HOUSE_TOKEN), &[]);
    let offer = post("/whep/cam", FLOOD_TOKEN);
    let answers = flood(lines(&scene, 16, 1), scaled(50_000), 5000, |_| {
        offer.clone()
    });
    let known = [201, 429];
    assert!(answers.statuses.keys().all(|status| known.contains(status)));
    assert!(answers.of(429) > answers.of(201), "{answers}");
    assert!(
        answers.of(201) <= 500,
        "as many as one source may have: {answers}"
    );
    scene.end("50,000 at 5,000/s, from one address", &answers.to_string());
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_8_sessions_that_never_connect() {
    let scene = Scene::begin(
        "sessions that never connect",
        Some(HOUSE_TOKEN),
        // The token's own rate would hide the caps that are tried here.
        &["limits.token_requests_per_second=0"],
    );
    let offer = post("/whep/cam", FLOOD_TOKEN);
    let answers = flood(lines(&scene, 250, 250), scaled(50_000), 5000, |_| {
        offer.clone()
    });
    let known = [201, 429, 503];
    assert!(answers.statuses.keys().all(|status| known.contains(status)));
    assert_eq!(answers.broken, 0);
    let http = scene.http();
    let waiting = || metric(http, "whitewater_sessions_unconnected", "");
    assert!(waiting() <= 2000.0, "{}", waiting());
    let began = Instant::now();
    eventually_or(
        "they are freed",
        || waiting() <= 1.0 || began.elapsed() > Duration::from_secs(35),
        || format!("{}", waiting()),
    );
    let freed = began.elapsed().as_secs();
    assert!(waiting() <= 1.0, "{} after {freed} s", waiting());
    let answers = format!("{answers}; all freed after {freed} s");
    scene.end("50,000 at 5,000/s, from 250 addresses", &answers);
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_11_ten_thousand_restarts_a_minute() {
    let scene = Scene::begin("ICE restarts of one session", Some(HOUSE_TOKEN), &[]);
    let session = format!("{}?token={HOUSE_TOKEN}", scene.viewers[0].session);
    let restart = |index: u64, tag: &str| {
        let fragment = format!(
            "a=ice-ufrag:r{index:07}\r\na=ice-pwd:{index:024}\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        );
        let headers =
            format!("Content-Type: application/trickle-ice-sdpfrag\r\nIf-Match: {tag}\r\n");
        request("PATCH", &session, &headers, &fragment)
    };
    let before = scene.process.descriptors();
    let count = scaled(10_000);
    let answers = flood(lines(&scene, 8, 1), count, 167, |index| restart(index, "*"));
    let known = [200, 429];
    assert!(answers.statuses.keys().all(|status| known.contains(status)));
    assert!(
        answers.of(200) > 0 && answers.of(429) > answers.of(200),
        "{answers}"
    );
    // The storm leaves one ICE session behind: its tag is taken, an earlier one is not.
    let mut line = Line::new(scene.http(), address(7));
    let mut tags = Vec::new();
    while tags.len() < 2 {
        let heard = line
            .ask(&restart(count + tags.len() as u64, "*"))
            .expect("an answer");
        match heard.header("etag") {
            Some(tag) => tags.push(tag.to_owned()),
            None => std::thread::sleep(Duration::from_secs(1)),
        }
    }
    let ask = |line: &mut Line, tag: &str| {
        let heard = line.ask(&restart(count + 1, tag)).expect("an answer");
        heard.status
    };
    assert_eq!(ask(&mut line, &tags[0]), 412);
    assert_eq!(
        ask(&mut line, &tags[1]),
        204,
        "its credentials, so nothing restarts"
    );
    let more = scene.process.descriptors().saturating_sub(before);
    assert!(more < 20, "{more} descriptors more");
    scene.end("10,000 in a minute", &answers.to_string());
}

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_12_a_million_guesses() {
    let scene = Scene::begin("guessed session URLs", Some(HOUSE_TOKEN), &[]);
    let began = Instant::now();
    let count = scaled(1_000_000);
    let answers = flood(lines(&scene, 16, 4), count, 1_000_000, |index| {
        // As random as ids are: a step of the golden ratio never repeats.
        let id = u128::from(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let headers = format!("Authorization: Bearer {FLOOD_TOKEN}\r\n");
        request("DELETE", &format!("/session/cam/{id:032x}"), &headers, "")
    });
    let known = [404, 429];
    assert!(
        answers.statuses.keys().all(|status| known.contains(status)),
        "{answers}"
    );
    // Of four addresses; whose places come back one every three seconds.
    let minutes = began.elapsed().as_secs() / 60 + 1;
    assert!(answers.of(404) <= 4 * 20 * (minutes + 1), "{answers}");
    assert_eq!(answers.broken, 0);
    scene.end(
        "1,000,000 DELETE, from 4 addresses, none of them a hit",
        &answers.to_string(),
    );
}

/// So many connections from so many addresses.
fn lines(scene: &Scene, count: u64, addresses: u64) -> Vec<Line> {
    (0..count)
        .map(|index| Line::new(scene.http(), address(index % addresses)))
        .collect()
}

fn post(path: &str, token: &str) -> Vec<u8> {
    let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/sdp\r\n");
    request("POST", path, &headers, &offer_text(&Wish::watch()))
}
