//! Offers that are made to be expensive.

use std::time::Duration;

use super::line::{Line, request};
use super::scene::Scene;
use super::{address, scaled};
use crate::client::{Wish, offer_text};

#[test]
#[ignore = "minutes long: tests/run attacks"]
fn attack_13_offers_that_are_made_to_be_expensive() {
    let scene = Scene::begin("expensive offers", None, &[]);
    let mut line = Line::new(scene.http(), address(1));
    let mut parts = Vec::new();
    for (what, offer) in bombs() {
        let post = request(
            "POST",
            "/whip/bomb",
            "Content-Type: application/sdp\r\n",
            &offer,
        );
        // Below the burst that one source may have.
        let times = scaled(50).max(2);
        let before = scene.process.cpu();
        let mut status = 0;
        for _ in 0..times {
            let heard = line.ask(&post).expect("an answer");
            status = heard.status;
            // What means nothing may be passed over.
            assert!(
                status == 201 || (400..500).contains(&status),
                "{what}: {status}"
            );
            if let Some(session) = heard.header("location") {
                let gone = line.ask(&request("DELETE", session, "", ""));
                assert_eq!(gone.expect("an answer").status, 204, "{what}");
            }
        }
        // With the media that flows meanwhile.
        let each = (scene.process.cpu() - before) / u32::try_from(times).expect("few");
        assert!(each < Duration::from_secs(1), "{what}: {each:?}");
        parts.push(format!(
            "{what}: {status}, {:.1} ms",
            each.as_secs_f64() * 1000.0
        ));
    }
    scene.end("one after the other", &parts.join("; "));
}

/// Most break a rule, in a way that takes long to find out. All but the last are as long as an offer
/// may be.
fn bombs() -> Vec<(&'static str, String)> {
    let offer = offer_text(&Wish::publish());
    let (session, media) = offer.split_at(offer.find("m=").expect("a section"));
    let groups = |index: usize| {
        let mids = (0..index % 50).map(|mid| format!(" {mid}"));
        format!("a=group:BUNDLE{}\r\n", mids.collect::<String>())
    };
    let section = |index| format!("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:{index}\r\n");
    let candidate =
        |index| format!("a=candidate:{index} 1 udp 2130706431 192.0.2.1 {index} typ host\r\n");
    let types = filled("", |_| " 96".to_owned());
    vec![
        ("m-lines", filled(session, section)),
        ("candidates", filled(&offer, candidate)),
        (
            "one attribute",
            format!("{offer}a=x:{}\r\n", "x".repeat(SIZE - 4096)),
        ),
        (
            "format parameters",
            filled(&offer, |_| "a=fmtp:96 a=1;b=2\r\n".to_owned()),
        ),
        ("sections of one mid", filled(session, |_| media.to_owned())),
        ("groups", filled(session, groups) + media),
        ("payload types beyond 127", offer.replace(" 96", " 128")),
        (
            "payload types",
            offer.replacen("SAVPF 96", &format!("SAVPF{types}"), 1),
        ),
        (
            "header extensions",
            filled(&offer, |index| {
                format!("a=extmap:{index} urn:x:{index}\r\n")
            }),
        ),
        (
            "sources",
            filled(&offer, |index| format!("a=ssrc:{index} cname:x\r\n")),
        ),
        ("line ends", filled(&offer, |_| "\r\n".to_owned())),
        ("one line", filled("", |_| "v=0".to_owned())),
        ("a text of 4 MB", "a=x:y\r\n".repeat(600_000)),
    ]
}

/// `head`, and as many lines as fit behind it.
fn filled(head: &str, line: impl Fn(usize) -> String) -> String {
    let mut text = head.to_owned();
    let mut index = 0;
    while text.len() < SIZE - 4096 {
        text += &line(index);
        index += 1;
    }
    text
}

/// The default of http.sdp_body_bytes_max.
const SIZE: usize = 256 * 1024;
