//! Every offer in `tests/corpus/sdp`, judged and answered, and the answer checked rule by rule.
//!
//! The checks read both texts as plain lines and share no code with the crate.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use whitewater_sdp::DtlsRole::Passive;
use whitewater_sdp::Role::{Publish, Subscribe};
use whitewater_sdp::{
    CandidateTransport, Capabilities, Direction, Extension, HostCandidate, HostTransport, Limits,
    Local, LocalIce, LocalSender, Match, Offer, Plan, codec_match, judge, judge_answer,
    map_payload_types, render_answer, render_offer,
};

mod cases;
mod checks;

use cases::{CASES, Case};
use checks::{Text, check_media, check_senders, check_session, check_transport, has, value};

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
