//! Every offer in `tests/corpus/sdp`, judged and answered, and the answer checked rule by rule.
//!
//! The checks read both texts as plain lines and share no code with the crate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use whitewater_sdp::{
    CandidateTransport, Capabilities, Direction, DtlsRole, Extension, HostCandidate, HostTransport,
    Limits, Local, LocalIce, LocalSender, Match, Offer, Plan, Role, codec_match, judge,
    judge_answer, map_payload_types, render_answer, render_offer,
};

/// What one file must lead to.
struct Case {
    name: &'static str,
    role: Role,
    dtls_role: DtlsRole,
    /// Per m-line: codecs as `name/pt` in the answer's order, or `data`.
    sections: &'static [&'static [&'static str]],
}

const CHROME_AUDIO: &[&str] = &["opus/111", "G722/9", "PCMU/0", "PCMA/8"];
const CHROME_SENDS: &[&str] = &[
    "VP8/96", "H264/102", "H264/104", "H264/108", "H264/114", "H264/116", "H264/39", "AV1/45",
    "VP9/98", "VP9/100",
];
const CHROME_RECEIVES: &[&str] = &[
    "VP8/96", "VP9/98", "VP9/100", "VP9/35", "VP9/37", "H264/102", "H264/104", "H264/108",
    "H264/114", "H264/116", "H264/39", "H264/41", "H264/43", "AV1/45", "AV1/47",
];
const FIREFOX_AUDIO: &[&str] = &["opus/109", "G722/9", "PCMU/0", "PCMA/8"];
const FIREFOX_VIDEO: &[&str] = &["VP8/120", "VP9/121", "AV1/99"];
const SAFARI_VIDEO: &[&str] = &[
    "H264/96", "H264/98", "H264/100", "H264/127", "H265/104", "H265/106", "VP8/108", "VP9/123",
    "VP9/35",
];
const AIORTC_AUDIO: &[&str] = &["opus/96", "G722/9", "PCMU/0", "PCMA/8"];
const AIORTC_VIDEO: &[&str] = &["VP8/97", "H264/99", "H264/101"];
const PION_VIDEO: &[&str] = &["VP8/96", "H264/102", "H264/106", "AV1/45", "VP9/98"];

use DtlsRole::{Active, Passive};
use Role::{Publish, Subscribe};

const CASES: &[Case] = &[
    case(
        "chrome-publish",
        Publish,
        Passive,
        &[CHROME_AUDIO, CHROME_SENDS],
    ),
    case(
        "chrome-publish-simulcast",
        Publish,
        Passive,
        &[CHROME_AUDIO, CHROME_SENDS],
    ),
    case(
        "chrome-watch",
        Subscribe,
        Passive,
        &[CHROME_AUDIO, CHROME_RECEIVES],
    ),
    case(
        "chrome-watch-data",
        Subscribe,
        Passive,
        &[CHROME_RECEIVES, CHROME_AUDIO, &["data"]],
    ),
    case(
        "firefox-publish",
        Publish,
        Passive,
        &[FIREFOX_AUDIO, FIREFOX_VIDEO],
    ),
    case(
        "firefox-publish-simulcast",
        Publish,
        Passive,
        &[FIREFOX_AUDIO, FIREFOX_VIDEO],
    ),
    case(
        "firefox-watch",
        Subscribe,
        Passive,
        &[FIREFOX_AUDIO, FIREFOX_VIDEO],
    ),
    case(
        "firefox-watch-data",
        Subscribe,
        Passive,
        &[FIREFOX_VIDEO, FIREFOX_AUDIO, &["data"]],
    ),
    case(
        "safari-publish",
        Publish,
        Passive,
        &[CHROME_AUDIO, SAFARI_VIDEO],
    ),
    case(
        "safari-watch",
        Subscribe,
        Passive,
        &[CHROME_AUDIO, SAFARI_VIDEO],
    ),
    case(
        "aiortc-publish",
        Publish,
        Passive,
        &[AIORTC_AUDIO, AIORTC_VIDEO],
    ),
    case(
        "aiortc-watch-data",
        Subscribe,
        Passive,
        &[AIORTC_AUDIO, AIORTC_VIDEO, &["data"]],
    ),
    case(
        "gstreamer-publish",
        Publish,
        Passive,
        &[&["VP8/96"], &["opus/97"]],
    ),
    case(
        "gstreamer-watch",
        Subscribe,
        Passive,
        &[&["VP8/96"], &["opus/97"]],
    ),
    case(
        "ffmpeg-publish",
        Publish,
        Active,
        &[&["opus/111"], &["H264/106"]],
    ),
    case(
        "ffmpeg-publish-active",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/106"]],
    ),
    case(
        "obs-publish",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/96"]],
    ),
    case(
        "obs-publish-simulcast",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/96"]],
    ),
    case(
        "whipclientsink-publish",
        Publish,
        Passive,
        &[&["VP8/96", "H264/97", "VP9/98", "AV1/99"], &["opus/107"]],
    ),
    case(
        "webrtc-rs-publish",
        Publish,
        Passive,
        &[&["H264/102"], &["opus/111"]],
    ),
    case(
        "pion-publish",
        Publish,
        Passive,
        &[CHROME_AUDIO, PION_VIDEO],
    ),
    case(
        "pion-watch",
        Subscribe,
        Passive,
        &[CHROME_AUDIO, PION_VIDEO],
    ),
    case(
        "larix-publish",
        Publish,
        Passive,
        &[&["opus/111"], &["H264/98", "H265/100", "VP8/96"]],
    ),
];

const fn case(
    name: &'static str,
    role: Role,
    dtls_role: DtlsRole,
    sections: &'static [&'static [&'static str]],
) -> Case {
    Case {
        name,
        role,
        dtls_role,
        sections,
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/sdp")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(directory().join(format!("{name}.sdp"))).unwrap()
}

fn plan_of(case: &Case) -> Plan {
    let offer = Offer::parse(&read(case.name), &Limits::default())
        .unwrap_or_else(|refusal| panic!("{}: {refusal}", case.name));
    judge(&offer, case.role, &Capabilities::default())
        .unwrap_or_else(|refusal| panic!("{}: {refusal}", case.name))
}

fn local(plan: &Plan) -> Local {
    let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
    Local {
        session_id: u64::MAX,
        ice: LocalIce {
            ufrag: "srvu".to_owned(),
            pwd: "serverpasswordserverpass".to_owned(),
            lite: true,
            options: vec!["trickle".to_owned(), "ice2".to_owned()],
        },
        fingerprint: std::array::from_fn(|index| index as u8),
        candidates: vec![
            HostCandidate {
                transport: HostTransport::Udp,
                addr: addr("203.0.113.5:3478"),
            },
            HostCandidate {
                transport: HostTransport::Udp,
                addr: addr("[2001:db8::5]:3478"),
            },
            HostCandidate {
                transport: HostTransport::TcpPassive,
                addr: addr("203.0.113.5:3478"),
            },
        ],
        stream_id: "live".to_owned(),
        senders: plan
            .tracks()
            .zip(1u32..)
            .map(|(track, number)| LocalSender {
                mid: track.mid.clone(),
                track_id: format!("track-{number}"),
                ssrc: number * 1000,
                rtx: Some(number * 1000 + 1),
                cname: "cname".to_owned(),
            })
            .collect(),
        max_message_size: 262_144,
    }
}

/// A text as lines, split at its m-lines.
struct Text<'a> {
    session: Vec<&'a str>,
    sections: Vec<Vec<&'a str>>,
}

impl<'a> Text<'a> {
    fn read(text: &'a str) -> Self {
        let mut session = Vec::new();
        let mut sections: Vec<Vec<&str>> = Vec::new();
        for line in text.lines() {
            if line.starts_with("m=") {
                sections.push(Vec::new());
            }
            sections.last_mut().unwrap_or(&mut session).push(line);
        }
        Self { session, sections }
    }
}

fn values<'a>(lines: &[&'a str], prefix: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(prefix))
        .map(str::trim)
        .collect()
}

fn value<'a>(lines: &[&'a str], prefix: &str) -> &'a str {
    let found = values(lines, prefix);
    assert_eq!(found.len(), 1, "{prefix} in {lines:#?}");
    found[0]
}

fn has(lines: &[&str], line: &str) -> bool {
    lines.contains(&line)
}

/// `96 VP8/90000` lists as maps; names are case-insensitive.
fn by_pt(lines: &[&str], prefix: &str) -> BTreeMap<u8, BTreeSet<String>> {
    let mut map: BTreeMap<u8, BTreeSet<String>> = BTreeMap::new();
    for value in values(lines, prefix) {
        if let Some((pt, rest)) = value.split_once(' ')
            && let Ok(pt) = pt.parse()
        {
            map.entry(pt)
                .or_default()
                .insert(rest.trim().to_ascii_lowercase());
        }
    }
    map
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn check_session(offer: &Text<'_>, answer: &Text<'_>, text: &str, name: &str) {
    // RFC 8866 §5, §9: CR LF, and the order of the first lines.
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(text.ends_with("\r\n") && !text.contains("\r\n\r\n"));
    assert_eq!(answer.session[0], "v=0");
    let origin = words(answer.session[1]);
    assert_eq!(origin.len(), 6);
    // RFC 9429 §5.2.1: the session id fits 63 bits.
    assert!(origin[1].parse::<i64>().is_ok());
    assert_eq!(&answer.session[2..4], ["s=-", "t=0 0"]);

    // RFC 8445 §6.1.1 and RFC 8839 §5.3: lite is said once, for the session.
    assert!(has(&answer.session, "a=ice-lite"), "{name}");
    assert_eq!(text.matches("a=ice-lite").count(), 1);
    assert_eq!(value(&answer.session, "a=ice-options:"), "trickle ice2");

    // RFC 9143 §7.3: one group, of all that is accepted.
    let accepted: BTreeSet<&str> = answer
        .sections
        .iter()
        .filter(|lines| words(lines[0])[1] != "0")
        .map(|lines| value(lines, "a=mid:"))
        .collect();
    let group = value(&answer.session, "a=group:BUNDLE");
    assert_eq!(words(group).into_iter().collect::<BTreeSet<_>>(), accepted);

    // RFC 3264 §6: as many m-lines, the same media, profile and mid, in the same order.
    assert_eq!(answer.sections.len(), offer.sections.len(), "{name}");
    for (ours, theirs) in answer.sections.iter().zip(&offer.sections) {
        let (ours_m, theirs_m) = (words(ours[0]), words(theirs[0]));
        assert_eq!(ours_m[0], theirs_m[0]);
        assert_eq!(ours_m[2], theirs_m[2]);
        assert_eq!(value(ours, "a=mid:"), value(theirs, "a=mid:"));
    }

    // RFC 8285 §6: answered where it was offered.
    assert_eq!(
        has(&answer.session, "a=extmap-allow-mixed"),
        has(&offer.session, "a=extmap-allow-mixed"),
        "{name}"
    );
}

fn check_transport(lines: &[&str], dtls_role: DtlsRole) {
    let m = words(lines[0]);
    assert_eq!(m[1], "9");
    assert!(has(lines, "c=IN IP4 0.0.0.0"));
    assert_eq!(value(lines, "a=ice-ufrag:"), "srvu");
    assert_eq!(value(lines, "a=ice-pwd:"), "serverpasswordserverpass");
    // RFC 8842 §5.3: never actpass in an answer.
    let setup = match dtls_role {
        Active => "active",
        Passive => "passive",
    };
    assert_eq!(value(lines, "a=setup:"), setup);
    let fingerprint = value(lines, "a=fingerprint:sha-256 ");
    assert_eq!(fingerprint.len(), 32 * 3 - 1);
    assert!(fingerprint.starts_with("00:01:02:"));

    // RFC 9725 §4.3.2: all candidates at once, in every section; RFC 8445 §5.1.2: distinct.
    let candidates = values(lines, "a=candidate:");
    assert_eq!(candidates.len(), 3);
    let column = |index: usize| -> BTreeSet<&str> {
        candidates.iter().map(|line| words(line)[index]).collect()
    };
    assert_eq!(column(0).len(), 3, "foundations");
    assert_eq!(column(3).len(), 3, "priorities");
    assert!(candidates[2].ends_with("typ host tcptype passive"));
    assert_eq!(lines.last(), Some(&"a=end-of-candidates"));
}

fn check_media(offer: &[&str], answer: &[&str], role: Role, expected: &[&str], name: &str) {
    // RFC 9725 §4.4.1 and §4.2.
    assert!(has(answer, "a=rtcp-mux") && has(answer, "a=rtcp-mux-only"));
    assert_eq!(has(answer, "a=rtcp-rsize"), has(offer, "a=rtcp-rsize"));
    let directions: Vec<_> = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"]
        .into_iter()
        .filter(|direction| has(answer, direction))
        .collect();
    let direction = match role {
        Publish => "a=recvonly",
        Subscribe => "a=sendonly",
    };
    assert_eq!(directions, [direction]);

    // RFC 3264 §6.1: payload types, their order and what they mean are the offer's.
    let offered_pts = &words(offer[0])[3..];
    let answered_pts = &words(answer[0])[3..];
    let (offered_maps, maps) = (by_pt(offer, "a=rtpmap:"), by_pt(answer, "a=rtpmap:"));
    let mut codecs = Vec::new();
    let mut position = 0;
    for pt in answered_pts {
        let number: u8 = pt.parse().unwrap();
        assert_eq!(maps[&number], offered_maps[&number], "{name}: {pt}");
        let map = maps[&number].first().unwrap();
        if !map.starts_with("rtx/") {
            let found = offered_pts.iter().position(|known| known == pt).unwrap();
            assert!(codecs.is_empty() || found > position, "{name}: order");
            position = found;
            codecs.push(format!("{}/{pt}", map.split_once('/').unwrap().0));
        }
    }
    let expected: Vec<String> = expected.iter().map(|c| c.to_ascii_lowercase()).collect();
    assert_eq!(codecs, expected, "{name}");
    assert_eq!(maps.len(), answered_pts.len());

    // RFC 4588 §8.1: every repair offered for an accepted codec is accepted.
    let rtx_of = |lines: &[&str]| -> BTreeSet<(u8, String)> {
        by_pt(lines, "a=fmtp:")
            .into_iter()
            .flat_map(|(pt, all)| all.into_iter().map(move |value| (pt, value)))
            .filter(|(_, value)| {
                value
                    .strip_prefix("apt=")
                    .is_some_and(|apt| codecs.iter().any(|c| c.ends_with(&format!("/{apt}"))))
            })
            .collect()
    };
    assert_eq!(rtx_of(answer), rtx_of(offer), "{name}");

    // RFC 3264 §6.1: parameters are the offered ones.
    let offered_fmtps = by_pt(offer, "a=fmtp:");
    for (pt, answered) in by_pt(answer, "a=fmtp:") {
        let offered: BTreeSet<String> = offered_fmtps[&pt]
            .iter()
            .flat_map(|value| value.split(';').map(|part| part.trim().to_owned()))
            .collect();
        for part in answered.iter().flat_map(|value| value.split(';')) {
            // RFC 7587 §7.1: what the answerer would like to receive is its own wish.
            let wish = part == "stereo=1" && offered.contains("sprop-stereo=1");
            assert!(wish || offered.contains(part), "{name}: {part}");
            assert!(!part.starts_with("sprop-") && !part.starts_with("max-"));
        }
    }
    // RFC 6184 §8.2.2: H.264's configuration is answered in full.
    for (pt, map) in &maps {
        if map.contains("h264/90000") {
            let answered = &by_pt(answer, "a=fmtp:")[pt];
            assert!(answered.iter().all(|v| v.contains("profile-level-id=")));
        }
    }

    // RFC 4585 §4.2: feedback is a subset, and all of ours that was offered.
    let offered_feedback = by_pt(offer, "a=rtcp-fb:");
    for (pt, feedback) in by_pt(answer, "a=rtcp-fb:") {
        assert!(feedback.is_subset(&offered_feedback[&pt]), "{name}: {pt}");
    }
    for (pt, feedback) in &offered_feedback {
        let answered = by_pt(answer, "a=rtcp-fb:").remove(pt).unwrap_or_default();
        for kind in ["nack", "nack pli", "ccm fir", "goog-remb"] {
            if codecs.iter().any(|c| c.ends_with(&format!("/{pt}"))) {
                assert_eq!(answered.contains(kind), feedback.contains(kind), "{name}");
            }
        }
    }

    check_extensions(offer, answer, role, name);
}

fn check_extensions(offer: &[&str], answer: &[&str], role: Role, name: &str) {
    let split = |line: &str| -> (String, Option<String>, String) {
        let parts = words(line);
        match parts[0].split_once('/') {
            Some((id, way)) => (id.to_owned(), Some(way.to_owned()), parts[1].to_owned()),
            None => (parts[0].to_owned(), None, parts[1].to_owned()),
        }
    };
    let offered: Vec<_> = values(offer, "a=extmap:").into_iter().map(split).collect();
    let answered: Vec<_> = values(answer, "a=extmap:").into_iter().map(split).collect();
    // Ours is also the direction that is of no use to us when the peer keeps it for itself.
    let ours = match role {
        Publish => "recvonly",
        Subscribe => "sendonly",
    };
    // RFC 8285 §5: ids of the offer, each with its URI; a direction is answered by ours.
    for (id, way, uri) in &answered {
        let (_, offered_way, _) = offered
            .iter()
            .find(|(known, _, known_uri)| known == id && known_uri == uri)
            .unwrap_or_else(|| panic!("{name}: {id} {uri} was not offered"));
        assert_eq!(way.as_deref(), offered_way.as_ref().map(|_| ours));
        assert_ne!(offered_way.as_deref(), Some(ours));
    }
    // RFC 9143 §14: the mid extension is answered wherever it was offered.
    let mid = Extension::Mid;
    let names_mid =
        |list: &[(String, Option<String>, String)]| list.iter().any(|(_, _, uri)| uri == mid.uri());
    assert_eq!(names_mid(&answered), names_mid(&offered), "{name}");
    let ids: BTreeSet<_> = answered.iter().map(|(id, _, _)| id).collect();
    assert_eq!(ids.len(), answered.len());
    // Arrival times are told only about packets that are numbered.
    let numbered = answered
        .iter()
        .any(|(_, _, uri)| uri == Extension::TransportSequence.uri());
    let told = values(answer, "a=rtcp-fb:")
        .iter()
        .any(|line| line.ends_with(" transport-cc"));
    assert!(numbered || !told, "{name}");
}

fn check_senders(plan: &Plan, answer: &Text<'_>, name: &str) {
    // draft-ietf-wish-whep §4.6.2: one stream id. RFC 5576 §4.2: each repair has its group.
    for (lines, number) in answer
        .sections
        .iter()
        .filter(|lines| !lines[0].starts_with("m=application"))
        .zip(1u32..)
    {
        assert_eq!(value(lines, "a=msid:"), format!("live track-{number}"));
        let (ssrc, rtx) = (number * 1000, number * 1000 + 1);
        assert!(has(lines, &format!("a=ssrc:{ssrc} cname:cname")), "{name}");
        let has_rtx = lines.iter().any(|line| line.contains(" rtx/"));
        let group = format!("a=ssrc-group:FID {ssrc} {rtx}");
        assert_eq!(has(lines, &group), has_rtx, "{name}");
        assert_eq!(has(lines, &format!("a=ssrc:{rtx} cname:cname")), has_rtx);
    }
    assert!(plan.tracks().all(|track| track.simulcast.is_empty()));
}

#[test]
fn every_file_is_listed() {
    let listed: BTreeSet<String> = CASES.iter().map(|c| format!("{}.sdp", c.name)).collect();
    let there: BTreeSet<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sdp"))
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn every_offer_gets_an_answer_that_keeps_all_rules() {
    for case in CASES {
        let text = read(case.name);
        let plan = plan_of(case);
        let answer_text = render_answer(&plan, &local(&plan));
        let (offer, answer) = (Text::read(&text), Text::read(&answer_text));
        assert_eq!(plan.dtls_role, case.dtls_role, "{}", case.name);
        check_session(&offer, &answer, &answer_text, case.name);
        for (index, expected) in case.sections.iter().enumerate() {
            let (theirs, ours) = (&offer.sections[index], &answer.sections[index]);
            check_transport(ours, case.dtls_role);
            if *expected == ["data"] {
                // RFC 8841 §5
                assert_eq!(value(ours, "a=sctp-port:"), "5000");
                assert_eq!(value(ours, "a=max-message-size:"), "262144");
                assert!(ours[0].ends_with(" webrtc-datachannel"));
            } else {
                check_media(theirs, ours, case.role, expected, case.name);
            }
        }
        if case.role == Subscribe {
            check_senders(&plan, &answer, case.name);
        } else {
            assert!(!answer_text.contains("a=ssrc"), "{}", case.name);
        }
        // Our own parser takes what we render.
        Offer::parse(&answer_text, &Limits::default()).unwrap();
    }
}

#[test]
fn offers_with_line_feeds_only_mean_the_same() {
    for case in CASES {
        let text = read(case.name).replace("\r\n", "\n");
        let offer = Offer::parse(&text, &Limits::default()).unwrap();
        let plan = judge(&offer, case.role, &Capabilities::default()).unwrap();
        assert_eq!(plan, plan_of(case), "{}", case.name);
    }
}

#[test]
fn the_wrong_role_is_refused_for_every_one_way_offer() {
    for case in CASES.iter().filter(|case| case.name != "larix-publish") {
        let offer = Offer::parse(&read(case.name), &Limits::default()).unwrap();
        let other = match case.role {
            Publish => Subscribe,
            Subscribe => Publish,
        };
        // RFC 9725 §4.2, draft-ietf-wish-whep §4.3.5
        let refusal = judge(&offer, other, &Capabilities::default()).unwrap_err();
        assert!(!refusal.nothing_in_common, "{}", case.name);
        assert!(refusal.to_string().starts_with("m-section 1 ("));
    }
}

fn named(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

#[test]
fn simulcast_is_answered_by_rid_where_it_is_wanted() {
    for (name, rids) in [
        ("chrome-publish-simulcast", ["h", "m", "l"]),
        ("firefox-publish-simulcast", ["h", "m", "l"]),
        ("obs-publish-simulcast", ["0", "1", "2"]),
    ] {
        let plan = plan_of(named(name));
        let text = render_answer(&plan, &local(&plan));
        // RFC 8853 §5.3.2
        for rid in rids {
            assert!(text.contains(&format!("a=rid:{rid} recv\r\n")), "{name}");
        }
        let all = rids.join(";");
        assert!(text.contains(&format!("a=simulcast:recv {all}\r\n")));
        let video = plan.tracks().nth(1).unwrap();
        assert!(video.extension_id(&Extension::Rid).is_some());
        assert_eq!(video.rids.len(), 3);

        let offer = Offer::parse(&read(name), &Limits::default()).unwrap();
        let capabilities = Capabilities {
            simulcast: false,
            ..Capabilities::default()
        };
        let plan = judge(&offer, Publish, &capabilities).unwrap();
        let text = render_answer(&plan, &local(&plan));
        assert!(!text.contains("a=rid:") && !text.contains("a=simulcast"));
    }
}

#[test]
fn ssrcs_and_their_repairs_are_known() {
    let video = |name| plan_of(named(name)).tracks().nth(1).unwrap().clone();
    let chrome = video("chrome-publish");
    assert_eq!(chrome.ssrcs.len(), 1);
    assert_eq!(chrome.ssrcs[0].ssrc, 3_919_821_038);
    assert_eq!(chrome.ssrcs[0].rtx, Some(2_864_855_449));
    assert_eq!(chrome.ssrcs[0].cname.as_deref(), Some("gHpNJ0ifPdt8J4P2"));
    let firefox = video("firefox-publish-simulcast");
    assert_eq!(firefox.ssrcs.len(), 3);
    assert!(firefox.ssrcs.iter().all(|ssrc| ssrc.rtx.is_some()));
    // FFmpeg names the repairing SSRC in its group only.
    let ffmpeg = video("ffmpeg-publish");
    assert_eq!(ffmpeg.ssrcs.len(), 1);
    assert_eq!(ffmpeg.ssrcs[0].rtx, Some(665_979_636));
    let (stream, track) = ffmpeg.msid.unwrap();
    assert_eq!((stream.as_str(), track.as_str()), ("FFmpeg", "video"));
}

#[test]
fn candidates_are_those_of_the_bundle_and_names_are_left_out() {
    // mDNS names cannot be resolved here: the peer's checks reveal its addresses.
    assert!(plan_of(named("chrome-watch-data")).candidates.is_empty());
    let firefox = plan_of(named("firefox-watch-data"));
    assert!(firefox.candidates.is_empty() && firefox.end_of_candidates);

    let aiortc = plan_of(named("aiortc-publish"));
    let addrs: Vec<_> = aiortc
        .candidates
        .iter()
        .map(|c| c.addr.to_string())
        .collect();
    assert_eq!(addrs, ["192.0.2.10:49807", "[2001:db8::10]:36402"]);
    assert!(aiortc.end_of_candidates);
    let hashes: Vec<_> = aiortc.fingerprints.iter().map(|f| f.hash.name()).collect();
    assert_eq!(hashes, ["sha-256", "sha-384", "sha-512"]);

    let larix = plan_of(named("larix-publish"));
    assert_eq!(larix.candidates.len(), 3);
    assert_eq!(
        larix.candidates[1].related.unwrap().to_string(),
        "10.64.12.7:41233"
    );
    assert_eq!(larix.candidates[2].transport, CandidateTransport::TcpActive);

    // libdatachannel separates its options with a comma.
    let obs = plan_of(named("obs-publish"));
    assert!(obs.remote_ice.options.trickle && obs.remote_ice.options.ice2);
}

#[test]
fn every_publisher_reaches_every_viewer_that_shares_a_codec() {
    let publishers = CASES.iter().filter(|case| case.role == Publish);
    for publisher in publishers {
        let published = plan_of(publisher);
        for viewer in CASES.iter().filter(|case| case.role == Subscribe) {
            let watched = plan_of(viewer);
            for track in published.tracks() {
                let theirs = watched.tracks().find(|t| t.kind == track.kind).unwrap();
                let map = map_payload_types(&track.codecs, &theirs.codecs);
                for codec in &track.codecs {
                    let best = theirs.codecs.iter().map(|t| codec_match(codec, t)).max();
                    let mapped = map[usize::from(codec.pt)].map(|pt| theirs.codec(pt).unwrap());
                    assert_eq!(mapped.is_some(), best != Some(Match::None));
                    if let Some(mapped) = mapped {
                        assert_eq!(Some(codec_match(codec, mapped)), best);
                    }
                }
            }
        }
    }
    // Opus and VP8 go from everyone who has them to everyone.
    let map = |publisher, viewer, index: usize| {
        let (ours, theirs) = (plan_of(named(publisher)), plan_of(named(viewer)));
        let kind = ours.tracks().nth(index).unwrap().kind;
        map_payload_types(
            &ours.tracks().nth(index).unwrap().codecs,
            &theirs.tracks().find(|t| t.kind == kind).unwrap().codecs,
        )
    };
    assert_eq!(map("chrome-publish", "firefox-watch", 0)[111], Some(109));
    assert_eq!(map("chrome-publish", "firefox-watch", 1)[96], Some(120));
    assert_eq!(map("chrome-publish", "firefox-watch", 1)[97], Some(124));
    // OBS's Constrained Baseline is Chromium's 108, FFmpeg's Baseline its 102.
    assert_eq!(map("obs-publish", "chrome-watch", 1)[96], Some(108));
    assert_eq!(map("ffmpeg-publish", "chrome-watch", 1)[106], Some(102));
    assert_eq!(map("ffmpeg-publish", "chrome-watch", 1)[105], Some(103));
    // Firefox here has no H.264 at all.
    assert_eq!(map("obs-publish", "firefox-watch", 1)[96], None);
}

#[test]
fn a_counter_offer_of_any_publisher_is_sound_and_its_answer_is_judged() {
    for case in CASES.iter().filter(|case| case.role == Publish) {
        let published = plan_of(case);
        let tracks: Vec<_> = published.tracks().cloned().collect();
        let text = render_offer(&tracks, Direction::SendOnly, None, &local(&published));
        let offer = Text::read(&text);
        for lines in &offer.sections {
            assert!(has(lines, "a=sendonly"), "{}", case.name);
            assert_eq!(value(lines, "a=setup:"), "actpass");
            assert!(value(lines, "a=msid:").starts_with("live "));
            assert!(!lines.iter().any(|line| line.contains("simulcast")));
        }
        // A viewer that answers it by mirroring keeps every codec.
        let answer = text
            .replace("a=sendonly", "a=recvonly")
            .replace("a=setup:actpass", "a=setup:active")
            .replace("a=ice-lite\r\n", "");
        let capabilities = Capabilities::default();
        let plan = judge_answer(
            &tracks,
            Direction::SendOnly,
            None,
            &answer,
            &Limits::default(),
            &capabilities,
        )
        .unwrap();
        assert_eq!(plan.dtls_role, Passive);
        for (ours, theirs) in plan.tracks().zip(&tracks) {
            let pts = |codecs: &[whitewater_sdp::CodecPlan]| -> Vec<_> {
                codecs
                    .iter()
                    .map(|codec| (codec.pt, codec.rtx_pt))
                    .collect()
            };
            assert_eq!(pts(&ours.codecs), pts(&theirs.codecs), "{}", case.name);
        }
        // RFC 3264 §6: neither a missing section nor another direction.
        let limits = Limits::default();
        let cut = &answer[..answer.rfind("m=").unwrap()];
        assert!(
            judge_answer(
                &tracks,
                Direction::SendOnly,
                None,
                cut,
                &limits,
                &capabilities
            )
            .is_err()
        );
        let sends = answer.replace("a=recvonly", "a=sendonly");
        assert!(
            judge_answer(
                &tracks,
                Direction::SendOnly,
                None,
                &sends,
                &limits,
                &capabilities
            )
            .is_err()
        );
    }
}

#[test]
fn recorded_answers_to_a_counter_offer_are_judged() {
    // draft-ietf-wish-whep §4.3.2: the counter-offers were rendered from these publishers' plans.
    for (browser, publisher, extension_count) in [
        ("chrome", "chrome-publish", [4, 9]),
        ("firefox", "firefox-publish", [3, 4]),
    ] {
        let tracks: Vec<_> = plan_of(named(publisher)).tracks().cloned().collect();
        let text = read(&format!("answers/{browser}"));
        let limits = Limits::default();
        let plan = judge_answer(
            &tracks,
            Direction::SendOnly,
            None,
            &text,
            &limits,
            &Capabilities::default(),
        )
        .unwrap();
        assert_eq!(plan.dtls_role, Passive, "{browser}");
        assert_eq!(plan.bundle, ["0", "1"]);
        for ((ours, theirs), count) in plan.tracks().zip(&tracks).zip(extension_count) {
            assert_eq!(ours.codecs.len(), theirs.codecs.len());
            assert_eq!(ours.extensions.len(), count, "{browser}");
            let map = map_payload_types(&theirs.codecs, &ours.codecs);
            assert!(
                theirs
                    .codecs
                    .iter()
                    .all(|c| map[usize::from(c.pt)] == Some(c.pt))
            );
        }
        // A payload type may not change its meaning on the way back.
        let renamed = text.replace("VP9/90000", "AV1/90000");
        assert!(
            judge_answer(
                &tracks,
                Direction::SendOnly,
                None,
                &renamed,
                &limits,
                &Capabilities::default()
            )
            .is_err()
        );
        // One section made inactive is rejected, the other one stays.
        let (head, video) = text.split_at(text.find("m=video").unwrap());
        let silent = head.to_owned() + &video.replace("a=recvonly", "a=inactive");
        let plan = judge_answer(
            &tracks,
            Direction::SendOnly,
            None,
            &silent,
            &limits,
            &Capabilities::default(),
        )
        .unwrap();
        assert_eq!((plan.tracks().count(), plan.sections.len()), (1, 2));
        assert_eq!(plan.bundle, ["0"]);
    }
}
