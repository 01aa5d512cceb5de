//! What a player hears of its stream (WHEP extensions) over a whole node.

use std::time::Duration;

use str0m::format::Codec;

use crate::client::{Client, Wish};
use crate::forwarding::watched;
use crate::http::{metric, request};
use crate::node::{Running, eventually};

#[test]
fn a_viewer_hears_of_publishers_and_is_asked_to_come_again_for_another_codec() {
    let node = Running::start(&[("media.shards", "2")]);
    let http = node.http;
    let first = Client::start(http, "cam", Wish::publish());
    let viewer = Client::start(http, "cam", Wish::watch());
    watched(&viewer, 10);
    let wanted = r#"["active","inactive","layers","reconnect"]"#;
    let url = format!("{}/events", viewer.session);
    let made = request(http, "POST", &url, Some(("application/json", wanted)));
    let made = made.expect("the node answers");
    assert_eq!(made.status, 201, "{}", made.body);
    let events = made.header("location").expect("a location").to_owned();
    let poll = std::thread::spawn(move || request(http, "GET", &events, None));

    assert_eq!(first.leave(), 204);
    drop(first);
    // The viewer's answer has VP8 only.
    let wish = Wish::publish().with_video(&[(Codec::Vp9, 98)]);
    let second = Client::start(http, "cam", wish);
    eventually("video is dropped for want of a codec", || {
        let reason = "reason=\"no_payload_type\"";
        metric(http, "whitewater_shard_drops_total", reason) > 0.0
    });
    // The answer to the poll ends with the session.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(viewer.leave(), 204);
    let text = poll.join().expect("no panic").expect("an answer").body;
    // The wish to reconnect may be faster than the word that the second one is connected.
    for order in [
        ["active", "inactive", "active"],
        ["active", "inactive", "reconnect"],
    ] {
        let mut rest = text.as_str();
        for event in order {
            let line = format!("event: {event}\n");
            let Some((_, after)) = rest.split_once(&line) else {
                panic!("no {event} left in {text}");
            };
            rest = after;
        }
    }
    assert_eq!(text.matches("event: reconnect\n").count(), 1, "{text}");
    assert!(text.contains(r#""spatialLayerId":0"#), "{text}");
    assert!(!second.seen().closed);
}
