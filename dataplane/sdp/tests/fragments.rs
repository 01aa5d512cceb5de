//! Trickle and restart fragments (RFC 8840, RFC 9725 §4.3).

use whitewater_sdp::{
    Fragment, HostCandidate, HostTransport, Limits, Local, LocalIce, render_fragment,
};

const UFRAG: &str = "a=ice-ufrag:EsAw\n";
const PWD: &str = "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n";
const CANDIDATE: &str = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host \
                         generation 0 ufrag EsAw network-id 1\n";

fn parse(text: &str) -> Fragment {
    Fragment::parse(text, &Limits::default()).unwrap()
}

fn section(mid: &str, lines: &str) -> String {
    format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:{mid}\n{lines}")
}

#[test]
fn the_form_browsers_clients_send_is_read() {
    // RFC 9725 §4.3.2
    let lines = format!("{UFRAG}{PWD}{CANDIDATE}a=end-of-candidates\n");
    let text = format!(
        "a=ice-options:trickle ice2\na=ice-pacing:50\na=group:BUNDLE 0 1\n{}",
        section("0", &lines)
    );
    for text in [text.clone(), text.replace('\n', "\r\n")] {
        let fragment = parse(&text);
        assert_eq!(
            fragment.credentials("0"),
            Some(("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"))
        );
        let candidates: Vec<_> = fragment.candidates("0").collect();
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates[0].addr.to_string(), "192.0.2.1:61764");
        assert_eq!(candidates[0].ufrag.as_deref(), Some("EsAw"));
        assert!(fragment.end_of_candidates("0") && fragment.applies_to("0"));
        assert_eq!(fragment.bundle, ["0", "1"]);
        assert_eq!(fragment.pacing_ms, Some(50));
        assert!(fragment.options.unwrap().trickle && fragment.options.unwrap().ice2);
        assert!(!fragment.lite);
        assert!(
            !format!("{fragment:?}").contains("P2uY"),
            "no passwords in Debug"
        );
    }
}

#[test]
fn credentials_may_stand_at_either_level() {
    let session = format!("{UFRAG}{PWD}{}", section("0", CANDIDATE));
    assert!(parse(&session).credentials("0").is_some());
    assert!(parse(&session).credentials("1").is_some());
    // The section's own ones count more.
    let both = format!(
        "{UFRAG}{PWD}{}",
        section("0", "a=ice-ufrag:other\na=ice-pwd:0123456789012345678901\n")
    );
    assert_eq!(
        parse(&both).credentials("0"),
        Some(("other", "0123456789012345678901"))
    );
    assert_eq!(parse(&both).credentials("1").unwrap().0, "EsAw");
    // One word at each level is a pair, too.
    let split = format!("{UFRAG}{}", section("0", PWD));
    assert_eq!(parse(&split).credentials("0").unwrap().0, "EsAw");
}

#[test]
fn other_sections_are_never_applied_to_the_bundle() {
    // RFC 8840 §4.4
    let lines = format!("{UFRAG}{PWD}{CANDIDATE}a=end-of-candidates\n");
    let fragment = parse(&section("1", &lines));
    assert_eq!(fragment.credentials("0"), None);
    assert_eq!(fragment.candidates("0").count(), 0);
    assert!(!fragment.end_of_candidates("0") && !fragment.applies_to("0"));
    assert!(fragment.applies_to("1"));

    let other = CANDIDATE.replace("192.0.2.1", "192.0.2.2");
    let two = section("0", CANDIDATE) + &section("1", &other);
    let addrs: Vec<_> = parse(&two)
        .candidates("0")
        .map(|c| c.addr.ip().to_string())
        .collect();
    assert_eq!(addrs, ["192.0.2.1"]);
}

#[test]
fn candidates_that_cannot_be_used_are_skipped_silently() {
    // RFC 9725 §4.3.2, RFC 8839 §5.1
    for line in [
        "a=candidate:1 1 sctp 2122260223 192.0.2.1 61764 typ host",
        "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ future",
        "a=candidate:1 1 udp 2122260223 6f2a.local 61764 typ host",
        "a=candidate:1 1 udp 2122260223 host.example 61764 typ host",
        "a=candidate:1 1 tcp 2122260223 192.0.2.1 9 typ host",
        "a=candidate:1 2 udp 2122260223 192.0.2.1 61764 typ host",
        "a=candidate:1 1 udp 99999999999 192.0.2.1 61764 typ host",
        "a=candidate:1 1 udp 2122260223 192.0.2.1 70000 typ host",
        "a=candidate:1 1 udp",
        "a=candidate:",
    ] {
        let fragment = parse(&section("0", &format!("{line}\n{CANDIDATE}")));
        assert_eq!(fragment.candidates("0").count(), 1, "{line}");
        assert_eq!(parse(&format!("{line}\n")).candidates("0").count(), 0);
    }
    let kept = "a=candidate:1 1 TCP 2105524479 192.0.2.1 9 typ host tcptype active\n\
                a=candidate:2 1 UDP 2122260223 2001:db8::1 61764 TYP srflx raddr 10.0.0.1 rport 9\n";
    assert_eq!(parse(&section("0", kept)).candidates("0").count(), 2);
}

#[test]
fn repeated_candidates_are_kept_once() {
    let fragment = parse(&section("0", &CANDIDATE.repeat(5)));
    assert_eq!(fragment.candidates("0").count(), 1);
}

#[test]
fn one_thing_a_fragment_is_for_is_enough() {
    for text in [
        CANDIDATE.to_owned(),
        format!("{UFRAG}{PWD}"),
        "a=end-of-candidates\n".to_owned(),
        "m=audio 9 RTP/AVP 0\na=mid:0\n".to_owned(),
    ] {
        assert!(parse(&text).applies_to("0"), "{text}");
    }
}

#[test]
fn garbage_and_halves_are_malformed() {
    let limits = Limits::default();
    for text in [
        "",
        "\r\n",
        "garbage",
        "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\ngarbage",
        "a=unknown:1\n",
        "a=ice-options:trickle\n",
        "m=audio 9 RTP/AVP 0\n",
        UFRAG,
        PWD,
        "a=ice-ufrag:abc\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n",
        "a=ice-ufrag:EsAw\na=ice-pwd:short\n",
        "m=audio 9 RTP/AVP 0\na=mid:0\nm=audio 9 RTP/AVP 0\na=mid:0\n",
        "m=audio 9 RTP/AVP 0\na=mid:a b\n",
        "{\"candidate\":\"\"}",
    ] {
        assert!(Fragment::parse(text, &limits).is_err(), "{text}");
    }
}

#[test]
fn limits_hold_at_their_edges() {
    let limits = Limits::default();
    let candidates = |count: usize| -> String {
        (0..count)
            .map(|port| format!("a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\n"))
            .collect()
    };
    let sections = |count: usize| -> String {
        (0..count)
            .map(|mid| section(&mid.to_string(), ""))
            .collect()
    };
    let max = limits.candidate_count_max;
    assert!(Fragment::parse(&candidates(max), &limits).is_ok());
    assert!(Fragment::parse(&candidates(max + 1), &limits).is_err());
    let max = limits.section_count_max;
    assert!(Fragment::parse(&sections(max), &limits).is_ok());
    assert!(Fragment::parse(&sections(max + 1), &limits).is_err());
    let size = limits.fragment_size_max;
    let padded = |size: usize| CANDIDATE.to_owned() + &"\n".repeat(size - CANDIDATE.len());
    assert!(Fragment::parse(&padded(size), &limits).is_ok());
    assert!(Fragment::parse(&padded(size + 1), &limits).is_err());
}

#[test]
fn what_we_render_is_what_we_read() {
    let local = Local {
        session_id: 1,
        ice: LocalIce {
            ufrag: "newu".to_owned(),
            pwd: "newpasswordnewpassword".to_owned(),
            lite: true,
            options: vec!["trickle".to_owned(), "ice2".to_owned()],
        },
        fingerprint: [0; 32],
        candidates: vec![HostCandidate {
            transport: HostTransport::Udp,
            addr: "203.0.113.5:443".parse().unwrap(),
        }],
        stream_id: "live".to_owned(),
        senders: Vec::new(),
        max_message_size: 0,
    };
    let text = render_fragment("audio1", &local);
    // RFC 9725 §4.3.3: lite and options as in the answer, before the section.
    assert!(text.starts_with("a=ice-lite\r\na=ice-options:trickle ice2\r\nm=audio 9 "));
    assert!(text.ends_with("a=end-of-candidates\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    let fragment = parse(&text);
    assert_eq!(
        fragment.credentials("audio1"),
        Some(("newu", "newpasswordnewpassword"))
    );
    assert!(fragment.lite && fragment.end_of_candidates("audio1"));
    let candidate = local.candidates[0].candidate(0);
    assert_eq!(
        fragment.candidates("audio1").collect::<Vec<_>>(),
        [&candidate]
    );
    assert!(!fragment.applies_to("0"));
}
