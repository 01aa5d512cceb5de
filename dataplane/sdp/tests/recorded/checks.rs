//! The rules that an answer keeps, checked on both texts as lines.

use std::collections::{BTreeMap, BTreeSet};

use whitewater_sdp::DtlsRole::{self, Active, Passive};
use whitewater_sdp::Role::{self, Publish, Subscribe};
use whitewater_sdp::{Extension, Plan};

/// A text as lines, split at its m-lines.
pub(crate) struct Text<'a> {
    pub(crate) session: Vec<&'a str>,
    pub(crate) sections: Vec<Vec<&'a str>>,
}

impl<'a> Text<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
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

pub(crate) fn values<'a>(lines: &[&'a str], prefix: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(prefix))
        .map(str::trim)
        .collect()
}

pub(crate) fn value<'a>(lines: &[&'a str], prefix: &str) -> &'a str {
    let found = values(lines, prefix);
    assert_eq!(found.len(), 1, "{prefix} in {lines:#?}");
    found[0]
}

pub(crate) fn has(lines: &[&str], line: &str) -> bool {
    lines.contains(&line)
}

/// `96 VP8/90000` lists as maps; names are case-insensitive.
pub(crate) fn by_pt(lines: &[&str], prefix: &str) -> BTreeMap<u8, BTreeSet<String>> {
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

pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

pub(crate) fn check_session(offer: &Text<'_>, answer: &Text<'_>, text: &str, name: &str) {
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

pub(crate) fn check_transport(lines: &[&str], dtls_role: DtlsRole) {
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

pub(crate) fn check_media(
    offer: &[&str],
    answer: &[&str],
    role: Role,
    expected: &[&str],
    name: &str,
) {
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

pub(crate) fn check_extensions(offer: &[&str], answer: &[&str], role: Role, name: &str) {
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

pub(crate) fn check_senders(plan: &Plan, answer: &Text<'_>, name: &str) {
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
