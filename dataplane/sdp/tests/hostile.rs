//! Texts nobody honest sends: no panic, no unbounded work, nothing of theirs starts a line of ours.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use whitewater_sdp::{
    Capabilities, Codec, Direction, Extension, Fragment, Limits, Local, LocalIce, LocalSender,
    Offer, Role, judge, judge_answer, map_payload_types, render_answer, render_offer,
};

fn corpus() -> Vec<String> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/sdp");
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "sdp"))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// All that can be agreed, the rarer codecs included.
fn everything() -> Capabilities {
    let mut capabilities = Capabilities {
        ice_lite: false,
        ..Capabilities::default()
    };
    capabilities.codecs.extend([Codec::Red, Codec::Multiopus]);
    capabilities
        .extensions
        .push(Extension::Other("urn:example:other".to_owned()));
    capabilities
}

fn local() -> Local {
    Local {
        session_id: 1,
        ice: LocalIce {
            ufrag: "srvu".to_owned(),
            pwd: "serverpasswordserverpass".to_owned(),
            lite: false,
            options: vec!["trickle".to_owned()],
        },
        fingerprint: [1; 32],
        candidates: Vec::new(),
        stream_id: "live".to_owned(),
        senders: vec![LocalSender {
            mid: "0".to_owned(),
            track_id: "t".to_owned(),
            ssrc: 1,
            rtx: Some(2),
            cname: "c".to_owned(),
        }],
        max_message_size: 65_536,
    }
}

/// Everything that is done with a text of a peer, and what must hold whatever it says.
fn digest(text: &str) {
    let limits = Limits::default();
    if let Ok(fragment) = Fragment::parse(text, &limits) {
        let _ = (fragment.credentials("0"), fragment.candidates("0").count());
    }
    let offer = match Offer::parse(text, &limits) {
        Ok(offer) => offer,
        Err(refusal) => {
            assert!(refusal.to_string().len() < 300);
            return;
        }
    };
    for role in [Role::Publish, Role::Subscribe] {
        let plan = match judge(&offer, role, &everything()) {
            Ok(plan) => plan,
            Err(refusal) => {
                assert!(refusal.to_string().len() < 300);
                continue;
            }
        };
        check_answer(&offer, &render_answer(&plan, &local()));
        let tracks: Vec<_> = plan.tracks().cloned().collect();
        let counter = render_offer(&tracks, Direction::SendOnly, None, &local());
        Offer::parse(&counter, &limits).unwrap();
        let answer = counter
            .replace("a=sendonly", "a=recvonly")
            .replace("a=setup:actpass", "a=setup:active");
        let _ = judge_answer(
            &tracks,
            Direction::SendOnly,
            None,
            &answer,
            &limits,
            &everything(),
        );
        for ours in &tracks {
            for theirs in &tracks {
                let _ = map_payload_types(&ours.codecs, &theirs.codecs);
            }
        }
    }
}

fn check_answer(offer: &Offer, answer: &str) {
    // Our own parser takes it, with the sections, mids and payload types of the offer.
    let ours = Offer::parse(answer, &Limits::default()).unwrap();
    assert_eq!(
        offer.mids().collect::<Vec<_>>(),
        ours.mids().collect::<Vec<_>>()
    );
    for index in 0..offer.mids().count() {
        let offered: Vec<u8> = offer.payload_types(index).collect();
        assert!(ours.payload_types(index).all(|pt| offered.contains(&pt)));
    }
    // Every line is one of ours.
    for line in answer.split("\r\n").filter(|line| !line.is_empty()) {
        assert!(!line.contains(['\r', '\n', '\0']));
        assert!(matches!(
            line.as_bytes(),
            [b'v' | b'o' | b's' | b't' | b'm' | b'c' | b'a', b'=', ..]
        ));
    }
    assert_eq!(
        answer.matches("a=ice-ufrag:").count(),
        answer.matches("a=ice-ufrag:srvu\r\n").count()
    );
}

/// Where and how to damage a text.
#[derive(Clone, Debug)]
enum Damage {
    DropLine(usize),
    DoubleLine(usize),
    SwapLines(usize, usize),
    Splice(usize, String),
    Cut(usize),
    Digit(usize, char),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<usize>().prop_map(Damage::DropLine),
        any::<usize>().prop_map(Damage::DoubleLine),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Damage::SwapLines(a, b)),
        (any::<usize>(), spice()).prop_map(|(at, text)| Damage::Splice(at, text)),
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), prop::char::range('0', '9'))
            .prop_map(|(at, digit)| Damage::Digit(at, digit)),
    ]
}

/// Lines and pieces that have to do with the grammar.
fn spice() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        "[\\x00-\\x1f\\x7f]{1,3}",
        Just("a=mid:0\r\n".to_owned()),
        Just("a=group:BUNDLE 1 0\r\n".to_owned()),
        Just("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n".to_owned()),
        Just("m=video 9 RTP/AVP 255\r\n".to_owned()),
        Just("a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/63\r\n".to_owned()),
        Just("a=rtpmap:96 rtx/90000\r\na=fmtp:96 apt=96\r\n".to_owned()),
        Just("a=ssrc-group:FID 1 1\r\na=ssrc-group:SIM 1 2 3\r\n".to_owned()),
        Just("a=extmap:255/sendonly urn:example:other\r\n".to_owned()),
        Just("a=simulcast:send ~h,m;;l\r\n".to_owned()),
        Just("a=rid:h send pt=\r\n".to_owned()),
        Just("a=inactive\r\n".to_owned()),
        Just("a=bundle-only\r\n".to_owned()),
        Just(" ".to_owned()),
        Just(":".to_owned()),
        Just("=".to_owned()),
    ]
}

fn apply(text: String, damage: &Damage) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let count = lines.len().max(1);
    match damage {
        Damage::DropLine(at) if !lines.is_empty() => {
            lines.remove(at % count);
        }
        Damage::DoubleLine(at) if !lines.is_empty() => {
            let line = lines[at % count];
            lines.insert(at % count, line);
        }
        Damage::SwapLines(a, b) if !lines.is_empty() => lines.swap(a % count, b % count),
        Damage::Splice(at, piece) => {
            let at = floor(&text, *at);
            return format!("{}{piece}{}", &text[..at], &text[at..]);
        }
        Damage::Cut(at) => return text[..floor(&text, *at)].to_owned(),
        Damage::Digit(at, digit) => {
            let digits: Vec<usize> = text
                .char_indices()
                .filter(|(_, c)| c.is_ascii_digit())
                .map(|(index, _)| index)
                .collect();
            if let Some(index) = digits.get(at % digits.len().max(1)) {
                return format!("{}{digit}{}", &text[..*index], &text[index + 1..]);
            }
        }
        _ => {}
    }
    lines.concat()
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at % (text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,400}") {
        digest(&text);
        digest(&format!("v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\n{text}"));
    }

    #[test]
    fn any_lines_are_digested(lines in prop::collection::vec("[a-z]=[ -~]{0,60}", 0..60)) {
        digest(&lines.join("\r\n"));
    }

    #[test]
    fn damaged_offers_are_refused_or_answered_soundly(
        index in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let corpus = corpus();
        let text = damages.iter().fold(index.get(&corpus).clone(), apply);
        digest(&text);
    }
}

#[test]
fn prefixes_of_every_offer_are_digested() {
    for text in corpus() {
        for end in (0..text.len()).step_by(97) {
            digest(&text[..floor(&text, end)]);
        }
    }
}

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    a=ice-ufrag:uuuu\r\na=ice-pwd:pppppppppppppppppppppp\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
    10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n";
const SECTION: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
    a=rtpmap:96 VP8/90000\r\n";

fn repeated(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn too_much_of_anything_is_refused() {
    let limits = Limits::default();
    let base = format!("{HEAD}{SECTION}");
    assert!(Offer::parse(&base, &limits).is_ok());
    for (what, max, line) in [
        (
            "candidates",
            limits.candidate_count_max,
            (|n| format!("a=candidate:{n} 1 udp 1 192.0.2.1 9 typ host\r\n"))
                as fn(usize) -> String,
        ),
        ("a=extmap", limits.extension_count_max, |n| {
            format!("a=extmap:{n} urn:x\r\n")
        }),
        ("a=rtcp-fb", limits.feedback_count_max, |_| {
            "a=rtcp-fb:96 nack\r\n".to_owned()
        }),
        ("SSRCs", limits.ssrc_count_max, |n| {
            format!("a=ssrc:{n} cname:c\r\n")
        }),
        ("SSRC groups", limits.ssrc_count_max, |n| {
            format!("a=ssrc-group:FID {n} {n}\r\n")
        }),
        ("a=rid", limits.rid_count_max, |n| {
            format!("a=rid:{n} send\r\n")
        }),
        (
            "lines",
            limits.line_count_max - base.lines().count(),
            |_| "a=x\r\n".to_owned(),
        ),
    ] {
        let fits = base.clone() + &repeated(max, line);
        assert!(Offer::parse(&fits, &limits).is_ok(), "{what}");
        let refusal =
            Offer::parse(&(base.clone() + &repeated(max + 1, line)), &limits).unwrap_err();
        assert!(refusal.to_string().contains(what), "{refusal}");
    }
    let pts = |count: usize| {
        let list = repeated(count, |n| format!(" {}", n % 128));
        base.replace("SAVPF 96", &format!("SAVPF{list}"))
    };
    assert!(Offer::parse(&pts(limits.payload_type_count_max), &limits).is_ok());
    assert!(Offer::parse(&pts(limits.payload_type_count_max + 1), &limits).is_err());
    let fmtp = |size: usize| format!("{base}a=fmtp:96 {}\r\n", "x".repeat(size));
    assert!(Offer::parse(&fmtp(limits.line_size_max - 10), &limits).is_ok());
    assert!(Offer::parse(&fmtp(limits.line_size_max - 9), &limits).is_err());
    assert!(Offer::parse(&(fmtp(4000) + "a=fmtp:96 " + &"x".repeat(200)), &limits).is_err());
}

/// Far above the few milliseconds the work takes, so that no busy machine reaches it, and far
/// below what a loop inside a loop over such texts takes.
const TIME_MAX: Duration = Duration::from_secs(20);

/// The texts that would hurt a parser with a loop inside a loop.
#[test]
fn large_texts_cost_no_more_than_their_size() {
    let limits = Limits::default();
    let refused = [
        HEAD.to_owned() + &repeated(10_000, |n| SECTION.replace("mid:0", &format!("mid:{n}"))),
        HEAD.to_owned() + &repeated(10_000, |_| "m=audio 0 x 0\r\n".to_owned()),
        format!("{HEAD}{SECTION}")
            + &repeated(100_000, |n| {
                format!("a=candidate:1 1 udp {n} 192.0.2.1 1 typ host\r\n")
            }),
        format!("{HEAD}{SECTION}a=x:{}", "y".repeat(1 << 20)),
        format!("{HEAD}a=group:BUNDLE{}\r\n{SECTION}", " 0".repeat(500)),
        "a".repeat(1 << 20),
        "\n".repeat(1 << 20),
    ];
    let started = Instant::now();
    for text in &refused {
        assert!(Offer::parse(text, &limits).is_err());
        assert!(Fragment::parse(text, &limits).is_err());
    }
    assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
}

/// As much of everything as the limits let through at once: it is answered, and matching two such
/// peers is quick as well.
#[test]
fn the_largest_offer_within_the_limits_is_answered_quickly() {
    let limits = Limits::default();
    let long = "x".repeat(1500);
    let section = |mid: usize| {
        let pts: String = (0..128).map(|pt| format!(" {pt}")).collect();
        let codecs: String = (0..128)
            .map(|pt| {
                format!(
                    "a=rtpmap:{pt} H264/90000\r\n\
                     a=fmtp:{pt} x={long};packetization-mode=1;profile-level-id=42e01f\r\n"
                )
            })
            .collect();
        format!("m=video 9 UDP/TLS/RTP/SAVPF{pts}\r\na=mid:{mid}\r\na=sendrecv\r\na=rtcp-mux\r\n")
            + &codecs
    };
    let empty = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtcp-mux\r\na=sendrecv\r\n";
    let sections = repeated(31, |n| format!("{empty}a=mid:{}\r\n", n + 1));
    let mids = repeated(32, |n| format!(" {n}"));
    let text = format!("{HEAD}a=group:BUNDLE{mids}\r\n{}{sections}", section(0));
    assert!(text.len() > limits.text_size_max / 2 && text.len() <= limits.text_size_max);

    let started = Instant::now();
    let offer = Offer::parse(&text, &limits).unwrap();
    let plan = judge(&offer, Role::Subscribe, &Capabilities::default()).unwrap();
    check_answer(&offer, &render_answer(&plan, &local()));
    let track = plan.tracks().next().unwrap();
    assert_eq!(track.codecs.len(), 128);
    let map = map_payload_types(&track.codecs, &track.codecs);
    assert!(map.iter().all(|entry| *entry == Some(0)));
    assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
}
