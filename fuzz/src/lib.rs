//! What the SDP and HTTP targets check. The other targets' bodies live in the crates they test.

#![forbid(unsafe_code)]

mod http;
mod plane;

pub use http::http;

use whitewater_sdp::{
    Capabilities, Direction, Fragment, HostCandidate, HostTransport, Limits, Local, LocalIce, LocalSender,
    Offer, Plan, Role, judge, judge_answer, render_answer, render_fragment, render_offer,
};

/// An offer that is accepted is answered section by section, in lines nobody can break out of.
pub fn sdp_offer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (limits, capabilities) = (Limits::default(), Capabilities::default());
    let Ok(offer) = Offer::parse(text, &limits) else {
        return;
    };
    for role in [Role::Publish, Role::Subscribe] {
        let Ok(plan) = judge(&offer, role, &capabilities) else {
            continue;
        };
        let local = local(&plan);
        let answer = render_answer(&plan, &local);
        assert_lines(&answer);
        assert_eq!(media_count(&answer), plan.sections.len());
        assert_eq!(media_count(&answer), offer.mids().count());

        let tracks: Vec<_> = plan.tracks().cloned().collect();
        let counter_offer = render_offer(&tracks, Direction::SendOnly, None, &local);
        assert_lines(&counter_offer);
        for direction in [Direction::SendOnly, Direction::RecvOnly] {
            let _ = judge_answer(&tracks, direction, None, text, &limits, &capabilities);
            let _ = judge_answer(&tracks, direction, None, &answer, &limits, &capabilities);
        }
    }
}

/// A fragment's parts can be asked for; what we render as fragment can be read.
pub fn sdp_fragment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(fragment) = Fragment::parse(text, &Limits::default()) else {
        return;
    };
    for tagged_mid in ["0", "audio", ""] {
        assert!(fragment.candidates(tagged_mid).count() <= text.len());
        let _ = (
            fragment.credentials(tagged_mid),
            fragment.applies_to(tagged_mid),
        );
        let _ = fragment.end_of_candidates(tagged_mid);
    }
    let rendered = render_fragment("0", &local_without_senders());
    assert_lines(&rendered);
    assert!(Fragment::parse(&rendered, &Limits::default()).is_ok());
}

fn local(plan: &Plan) -> Local {
    let sender = |(n, track): (usize, &whitewater_sdp::TrackPlan)| LocalSender {
        mid: track.mid.clone(),
        track_id: format!("track{n}"),
        ssrc: n as u32 + 1,
        rtx: Some(n as u32 + 1001),
        cname: "cname".to_owned(),
    };
    let senders = plan.tracks().enumerate().map(sender).collect();
    Local {
        senders,
        ..local_without_senders()
    }
}

fn local_without_senders() -> Local {
    Local {
        session_id: 1,
        ice: LocalIce {
            ufrag: "ufragufrag".to_owned(),
            pwd: "passwordpasswordpassword".to_owned(),
            lite: true,
            options: vec!["ice2".to_owned()],
        },
        fingerprint: [7; 32],
        candidates: vec![HostCandidate {
            transport: HostTransport::Udp,
            addr: ([192, 0, 2, 1], 7777).into(),
        }],
        stream_id: "stream".to_owned(),
        senders: vec![],
        max_message_size: 65536,
    }
}

/// RFC 8866 §5: every line is one letter, an equals sign and text, ended by CRLF.
fn assert_lines(text: &str) {
    assert!(text.ends_with("\r\n"));
    for line in text.split_terminator("\r\n") {
        let bytes = line.as_bytes();
        assert!(
            bytes.len() >= 2 && bytes[0].is_ascii_lowercase() && bytes[1] == b'=',
            "{line:?}"
        );
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
    }
}

fn media_count(text: &str) -> usize {
    text.split("\r\n")
        .filter(|line| line.starts_with("m="))
        .count()
}
