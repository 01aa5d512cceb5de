//! Publishers that come, vanish and return, and viewers that want something else.

use std::time::Duration;

use str0m::format::Codec;

use crate::client::{Client, Wish};
use crate::forwarding::watched;
use crate::http::metric;
use crate::node::{Running, eventually, eventually_or};

#[test]
fn viewers_are_served_by_codec_and_in_their_own_payload_types() {
    let node = Running::start(&[("media.shards", "2")]);
    let publisher = Client::start(node.http, "cam", Wish::publish());
    let watch =
        |video: &[(Codec, u8)]| Client::start(node.http, "cam", Wish::watch().with_video(video));
    let same = watch(&[(Codec::Vp8, 96)]);
    let renumbered = watch(&[(Codec::H264, 96), (Codec::Vp8, 120)]);
    let other = watch(&[(Codec::H264, 104)]);

    for viewer in [&same, &renumbered] {
        watched(viewer, 30);
    }
    let pts = |viewer: &Client| viewer.seen().video_pts.iter().copied().collect::<Vec<_>>();
    assert_eq!(pts(&same), [96]);
    assert_eq!(pts(&renumbered), [120]);
    // The one without VP8 hears, and sees nothing it could not decode.
    eventually("audio at the other", || other.seen().audio.len() >= 30);
    let seen = other.seen();
    assert_eq!((seen.video.packets, seen.corrupt), (0, 0));
    drop(seen);
    eventually("the reason is counted", || {
        metric(
            node.http,
            "whitewater_shard_drops_total",
            "reason=\"no_payload_type\"",
        ) > 0.0
    });
    assert_eq!(publisher.seen().corrupt, 0);
}

#[test]
fn a_publisher_that_vanished_is_replaced_once_it_is_silent() {
    let node = Running::start(&[("media.shards", "2")]);
    let first = Client::start(node.http, "cam", Wish::publish());
    let viewer = Client::start(node.http, "cam", Wish::watch());
    watched(&viewer, 10);

    // While it is heard nobody takes its place.
    let refused = Client::try_start(node.http, "cam", Wish::publish());
    assert_eq!(refused.err().map(|answer| answer.status), Some(409));
    let before = viewer.seen().video.newest();
    drop(first);

    // The same encoder comes back from another port, and asks until it is let in.
    let mut refusals = 0;
    let mut second = None;
    eventually("the newcomer is let in", || {
        match Client::try_start(node.http, "cam", Wish::publish()) {
            Ok(client) => second = Some(client),
            Err(answer) => {
                assert_eq!(answer.status, 409, "{}", answer.body);
                refusals += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        second.is_some()
    });
    assert!(refusals > 0, "the old one was heard a moment ago");
    let second = second.expect("let in");

    // The viewer stays and gets the newcomer's frames, which count from zero again: they run on
    // past the last one of the old publisher.
    let target = before.expect("frames came") + 100;
    eventually_or(
        "the viewer goes on with the newcomer",
        || {
            viewer
                .seen()
                .video
                .newest()
                .is_some_and(|newest| newest >= target)
        },
        || format!("{:?}", viewer.seen().video.newest()),
    );
    let seen = viewer.seen();
    assert_eq!(seen.corrupt, 0);
    assert!(!seen.closed);
    drop(seen);
    assert_eq!(second.leave(), 204);
    assert_eq!(
        metric(node.http, "whitewater_publish_takeovers_total", ""),
        1.0
    );
}

#[test]
fn a_late_viewer_starts_with_a_key_frame_that_is_kept_or_asked_for() {
    let node = Running::start(&[("media.shards", "1")]);
    let publisher = Client::start(node.http, "cam", Wish::publish());
    let early = Client::start(node.http, "cam", Wish::watch());
    watched(&early, 40);
    let wanted = publisher.seen().key_frames_wanted;
    let late = Client::start(node.http, "cam", Wish::watch());
    watched(&late, 10);
    let first = late.seen().video.first.expect("a packet");
    assert!(first.key && first.index == 0, "{first:?}");
    let asked = publisher.seen().key_frames_wanted - wanted;
    // The only key frames are those that were asked for: it begins with that of the early one, or
    // with one of its own.
    assert!(asked <= 1, "asked for {asked} key frames");
    assert!(first.frame > 0 || asked == 0, "{first:?}");
}

#[test]
fn a_publisher_that_pauses_is_not_lost() {
    let node = Running::start(&[("media.shards", "1")]);
    let publisher = Client::start(node.http, "cam", Wish::publish());
    let viewer = Client::start(node.http, "cam", Wish::watch());
    watched(&viewer, 10);
    publisher.hush();
    let quiet = || {
        let before = viewer.seen().video.packets;
        std::thread::sleep(Duration::from_millis(300));
        viewer.seen().video.packets == before
    };
    eventually("nothing more comes", quiet);
    let before = viewer.seen().video.run();
    publisher.speak();
    watched(&viewer, before + 10);
}
