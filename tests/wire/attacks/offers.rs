//! Offers that are made to be expensive.

use std::time::Duration;

use super::line::{Line, request};
use super::scene::Scene;
use super::{address, scaled};
use crate::client::{Wish, offer_text};

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_13_offers_that_are_made_to_be_expensive() {
    let scene = Scene::begin(
        "expensive offers",
        None,
        // Beyond the default, so that the parser is tried and not the limit alone.
        &["http.sdp_body_bytes_max=4194304"],
    );
    let mut line = Line::new(scene.http(), address(1));
    let mut parts = Vec::new();
    for (what, offer) in bombs() {
        let post = request(
            "POST",
            "/whip/bomb",
            "Content-Type: application/sdp\r\n",
            &offer,
        );
        let times = scaled(20).max(2);
        let before = scene.process.cpu();
        let mut status = 0;
        for _ in 0..times {
            status = line.ask(&post).expect("an answer").status;
            assert!((400..500).contains(&status), "{what}: {status}");
        }
        // With the media that flows meanwhile.
        let each = (scene.process.cpu() - before) / u32::try_from(times).expect("few");
        assert!(each < Duration::from_secs(1), "{what}: {each:?}");
        let size = offer.len() / 1024;
        parts.push(format!(
            "{what} ({size} KiB): {status}, {:.0} ms",
            each.as_secs_f64() * 1000.0
        ));
    }
    scene.end("one after the other", &parts.join("; "));
}

/// Each breaks a rule, in a way that takes long to find out.
fn bombs() -> Vec<(&'static str, String)> {
    let offer = offer_text(&Wish::publish());
    let (session, media) = offer.split_at(offer.find("m=").expect("a section"));
    let repeated = |line: &str, count: usize| -> String {
        (0..count)
            .map(|index| line.replace('#', &index.to_string()))
            .collect()
    };
    let candidate = "a=candidate:# 1 udp 2130706431 192.0.2.1 # typ host\r\n";
    let groups: String = (0..5000)
        .map(|index| {
            format!(
                "a=group:BUNDLE {}\r\n",
                (0..index % 50)
                    .map(|mid| format!("{mid} "))
                    .collect::<String>()
            )
        })
        .collect();
    vec![
        (
            "10,000 m-lines",
            format!(
                "{session}{}",
                repeated("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:#\r\n", 10_000)
            ),
        ),
        (
            "65,000 candidates",
            format!("{offer}{}", repeated(candidate, 65_000)),
        ),
        (
            "an attribute of 1 MB",
            format!("{offer}a=x:{}\r\n", "x".repeat(1_000_000)),
        ),
        (
            "a parameter list of 1 MB",
            format!("{offer}a=fmtp:96 {}\r\n", "a=1;".repeat(250_000)),
        ),
        (
            "10,000 sections of one mid",
            format!("{session}{}", media.repeat(2000)),
        ),
        ("5,000 groups", format!("{session}{groups}{media}")),
        ("payload types beyond 127", offer.replace(" 96", " 128")),
        (
            "100,000 payload types",
            offer.replacen("SAVPF 96", &format!("SAVPF{}", " 96".repeat(100_000)), 1),
        ),
        (
            "60,000 header extensions",
            format!("{offer}{}", repeated("a=extmap:# urn:x:#\r\n", 60_000)),
        ),
        (
            "a million line ends",
            format!("{offer}{}", "\r\n".repeat(1_000_000)),
        ),
        ("one line of 4 MB", "v=0".repeat(1_300_000)),
    ]
}
