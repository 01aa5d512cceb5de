//! What a publisher brings, over HTTP: shown with its session, told in events, counted in metrics.

use std::time::Duration;

use serde_json::json;
use whitewater_link::{
    Event, Finding, FindingCode, Intake, LayerIntake, Loudness, MediaKind, SessionState,
    TrackIntake,
};

use crate::events::{Poll, subscribe, watched};
use crate::world::World;

fn layer(rid: Option<&str>, place: u16) -> LayerIntake {
    LayerIntake {
        rid: rid.map(str::to_owned),
        width: 1280 >> place,
        height: 720 >> place,
        frames_per_second: 30,
        bitrate_bps: 2_000_000 >> place,
        keyframe_interval: Some(Duration::from_millis(2_033)),
        packets: 1_000,
        packets_lost: 3,
        loss_permille: 73,
        jitter: Duration::from_micros(1_500),
    }
}

fn intake(findings: &[FindingCode]) -> Intake {
    let finding = |&code: &FindingCode| Finding {
        code,
        kind: MediaKind::Video,
        measure: 73,
    };
    Intake {
        tracks: vec![
            TrackIntake {
                mid: "0".into(),
                kind: MediaKind::Audio,
                codec: String::new(),
                layers: vec![LayerIntake::default()],
            },
            TrackIntake {
                mid: "1".into(),
                kind: MediaKind::Video,
                codec: "VP8".into(),
                layers: vec![layer(Some("h"), 0), layer(Some("l"), 1)],
            },
        ],
        loudness: Some(Loudness {
            level_dbov: -31,
            is_speaking: true,
        }),
        findings: findings.iter().map(finding).collect(),
    }
}

#[tokio::test]
async fn a_publishers_session_shows_what_every_layer_brings() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    world.watch("a").await;
    let stream = world.stream("a").await.expect("published");
    assert!(
        stream["publish"]["sessions"][0].get("tracks").is_none(),
        "not looked at yet"
    );
    world.plane.brings(publisher.id, intake(&[]));
    let shown = async || world.stream("a").await.expect("published");
    let known = async || {
        shown().await["publish"]["sessions"][0]
            .get("tracks")
            .is_some()
    };
    world.until("it is shown", known).await;
    let stream = shown().await;
    let session = &stream["publish"]["sessions"][0];
    let layer = |rid, place: u64| {
        json!({
            "rid": rid, "width": 1280 >> place, "height": 720 >> place, "framesPerSecond": 30,
            "keyFrameIntervalMs": 2033, "bitrate": 2_000_000 >> place, "packets": 1000,
            "packetsLost": 3, "lossPercent": 7.3, "jitterMs": 1.5,
        })
    };
    let silent = json!({
        "bitrate": 0, "packets": 0, "packetsLost": 0, "lossPercent": 0.0, "jitterMs": 0.0,
    });
    assert_eq!(
        session["tracks"],
        json!([
            { "mid": "0", "kind": "audio", "codec": "", "layers": [silent] },
            { "mid": "1", "kind": "video", "codec": "VP8", "layers": [layer("h", 0), layer("l", 1)] },
        ])
    );
    assert_eq!(session["audio"], json!({ "level": -31, "speaking": true }));
    assert!(stream.get("diagnosis").is_none(), "nothing is wrong");
    assert!(
        stream["subscribe"]["sessions"][0].get("tracks").is_none(),
        "of publishers only"
    );
}

#[tokio::test]
async fn what_is_wrong_is_shown_with_the_stream_since_when_and_until_it_is_over() {
    let world = World::new().await;
    let publisher = world.publish("a").await;
    world
        .plane
        .brings(publisher.id, intake(&[FindingCode::BFrames]));
    let shown = async || world.stream("a").await.expect("published")["diagnosis"].clone();
    let known = async || !shown().await.is_null();
    world.until("it is shown", known).await;
    let first = shown().await;
    let since = first[0]["since"].as_u64().expect("a time");
    assert!(since > 1_600_000_000_000);
    assert_eq!(first[0]["code"], "b-frames");
    assert_eq!(first[0]["kind"], "video");
    assert_eq!(first[0]["severity"], "error");
    assert!(
        first[0]["advice"]
            .as_str()
            .expect("words")
            .contains("bframes=0")
    );
    let both = [FindingCode::BFrames, FindingCode::Loss];
    world.plane.brings(publisher.id, intake(&both));
    let two = async || shown().await.as_array().is_some_and(|list| list.len() == 2);
    world.until("the second is shown", two).await;
    let both = shown().await;
    assert_eq!(both[0]["since"], since, "it has lasted");
    assert!(both[1]["since"].as_u64().expect("a time") >= since);
    let words = both[1]["message"].as_str().expect("words");
    assert!(words.starts_with("7.3 % of the video"), "{words}");
    let metrics = async || world.get("/metrics").await.expect(200).text().to_owned();
    let text = metrics().await;
    for line in [
        "whitewater_publish_findings{code=\"b-frames\"} 1",
        "whitewater_publish_findings{code=\"av-drift\"} 0",
        "whitewater_publish_findings_total{code=\"loss\"} 1",
        "whitewater_publish_tracks{kind=\"video\",codec=\"VP8\"} 1",
        "whitewater_publish_layers{height=\"360\"} 1",
        "whitewater_publish_layers{height=\"720\"} 1",
        "whitewater_publish_layers{height=\"1080\"} 0",
        "whitewater_publish_lost_packets_total 6",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    world.plane.brings(publisher.id, intake(&[]));
    world
        .until("it is over", async || shown().await.is_null())
        .await;
    let text = metrics().await;
    for line in [
        "whitewater_publish_findings{code=\"b-frames\"} 0",
        "whitewater_publish_findings_total{code=\"b-frames\"} 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    world.delete(&publisher.location).await.expect(204);
    assert!(shown().await.is_null());
}

#[tokio::test]
async fn players_hear_who_speaks_and_levels_if_they_ask_for_them() {
    let world = World::new().await;
    let (publisher, viewer) = watched(&world).await;
    world.plane.state(publisher.id, SessionState::Connected);
    let url = subscribe(&world, &viewer, r#"["speaking","level"]"#).await;
    let mut poll = Poll::open(&world, &url, None).await;
    let say = |level_dbov, is_speaking| {
        world.plane.tell(Event::Speaking {
            session: publisher.id,
            loudness: Loudness {
                level_dbov,
                is_speaking,
            },
        });
    };
    say(-24, true);
    let (kind, data, _) = poll.next().await;
    assert_eq!(
        (kind.as_str(), data),
        ("speaking", json!({ "speaking": true, "level": -24 }))
    );
    let (kind, data, _) = poll.next().await;
    assert_eq!((kind.as_str(), data), ("level", json!({ "level": -24 })));
    say(-70, false);
    let (kind, data, _) = poll.next().await;
    assert_eq!(
        (kind.as_str(), data),
        ("speaking", json!({ "speaking": false, "level": -70 }))
    );
    let shown = world.stream("a").await.expect("published");
    let audio = &shown["publish"]["sessions"][0]["audio"];
    assert_eq!(audio, &json!({ "level": -70, "speaking": false }));
}
