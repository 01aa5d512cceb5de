//! The rules of WHIP and WHEP, one by one, on small offers made for them.

use whitewater_sdp::{
    Capabilities, Codec, Direction, DtlsRole, Extension, Limits, Local, LocalIce, LocalSender,
    Malformed, Offer, Plan, Role, SectionPlan, Unsupported, judge, render_answer,
};

const HEAD: &str = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n";
const ICE: &str = "a=ice-ufrag:uuuu\na=ice-pwd:pppppppppppppppppppppp\n";
const PRINT: &str = "a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
                     10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\n";

fn audio(mid: &str, direction: &str) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:{mid}\na={direction}\na=rtcp-mux\n\
         a=rtpmap:111 opus/48000/2\n"
    )
}

fn video(mid: &str, direction: &str) -> String {
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:{mid}\na={direction}\na=rtcp-mux\n\
         a=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\n"
    )
}

fn data(mid: &str) -> String {
    format!("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:{mid}\na=sctp-port:5000\n")
}

/// An offer whose transport stands at session level.
fn offer(session: &str, sections: &[String]) -> String {
    format!("{HEAD}{ICE}{PRINT}{session}{}", sections.concat())
}

fn parse(text: &str) -> Result<Offer, Malformed> {
    Offer::parse(text, &Limits::default())
}

fn plan(text: &str, role: Role) -> Result<Plan, Unsupported> {
    judge(&parse(text).unwrap(), role, &Capabilities::default())
}

fn malformed(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn unsupported(text: &str, role: Role) -> String {
    plan(text, role).unwrap_err().to_string()
}

fn rejected(plan: &Plan) -> Vec<bool> {
    plan.sections
        .iter()
        .map(|section| matches!(section, SectionPlan::Rejected(_)))
        .collect()
}

fn local() -> Local {
    Local {
        session_id: 7,
        ice: LocalIce {
            ufrag: "srvu".to_owned(),
            pwd: "serverpasswordserverpass".to_owned(),
            lite: false,
            options: Vec::new(),
        },
        fingerprint: [0xAB; 32],
        candidates: Vec::new(),
        stream_id: "live".to_owned(),
        senders: Vec::new(),
        max_message_size: 65_536,
    }
}

#[test]
fn what_is_not_sdp_is_malformed() {
    // RFC 8866 §5
    let good = offer("", &[audio("0", "sendonly")]);
    assert!(parse(&good).is_ok());
    for text in [
        "",
        "\r\n\r\n",
        "hello",
        "{\"sdp\":\"v=0\"}",
        "v=0",
        HEAD,
        &good.replace("v=0", "v=1"),
        &good.replace("v=0\n", ""),
        &good.replace("s=-\n", ""),
        &good.replace("t=0 0\n", ""),
        &good.replace("o=- 1 1 IN IP4 0.0.0.0\n", ""),
        &good.replace("o=- 1 1 IN IP4 0.0.0.0", "o=- 1 1"),
        &good.replace(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=audio 9 UDP/TLS/RTP/SAVPF",
        ),
        &good.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9"),
        &good.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio"),
        &good.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m="),
        &good.replace("m=audio 9", "m=audio 65536"),
        &good.replace("m=audio 9", "m=audio -1"),
        &good.replace("SAVPF 111", "SAVPF 128"),
        &good.replace("SAVPF 111", "SAVPF opus"),
        &good.replace("a=sendonly", "sendonly"),
        &good.replace("a=mid:0", "a=mid:"),
        &good.replace("a=mid:0", "a=mid:a b"),
        &good.replace("a=mid:0", "a=mid:0\0"),
        &good.replace("opus/48000/2", "opus"),
        &good.replace("a=mid:0", "a=setup:maybe"),
        &good.replace("a=mid:0", "a=extmap:x urn:x"),
        &good.replace("a=mid:0", "a=extmap:1"),
        &good.replace("a=mid:0", "a=ssrc:x cname:y"),
        &good.replace("a=mid:0", "a=rid:! send"),
        &good.replace("a=mid:0", "a=rid:a both"),
        &good.replace("a=mid:0", "a=simulcast:send"),
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn credentials_and_fingerprint_must_be_there() {
    // RFC 8839 §5.4, RFC 8842 §5.1
    let good = offer("", &[audio("0", "sendonly")]);
    for (text, word) in [
        (good.replace("a=ice-ufrag:uuuu\n", ""), "ice-ufrag"),
        (
            good.replace("a=ice-pwd:pppppppppppppppppppppp\n", ""),
            "ice-pwd",
        ),
        (good.replace(PRINT, ""), "fingerprint"),
        (good.replace("ufrag:uuuu", "ufrag:uuu"), "ice-ufrag"),
        (good.replace("pwd:p", "pwd:"), "ice-pwd"),
        (good.replace(":1E:1F", ":1E"), "fingerprint"),
        (good.replace(":1E:1F", ":1E:1G"), "fingerprint"),
        (good.replace(":1E:1F", ":1E:+1"), "fingerprint"),
    ] {
        let message = malformed(&text);
        assert!(message.contains(word), "{message}");
        // Errors never echo credentials.
        assert!(
            !message.contains("uuu") && !message.contains("ppp"),
            "{message}"
        );
    }
    // At media level they serve as well, and in the first of the bundle alone.
    let moved = format!(
        "{HEAD}a=group:BUNDLE 0 1\n{}{ICE}{PRINT}{}",
        audio("0", "sendonly"),
        video("1", "sendonly")
    );
    let plan = plan(&moved, Role::Publish).unwrap();
    assert_eq!(plan.remote_ice.ufrag, "uuuu");
    assert_eq!(plan.fingerprints.len(), 1);
    let shown = format!("{plan:?} {:?}", parse(&moved).unwrap());
    assert!(!shown.contains("pppp"), "passwords stay out of Debug");
}

#[test]
fn a_fingerprint_nobody_can_check_is_unsupported() {
    // RFC 8122 §5, RFC 8827 §6.5
    let good = offer("", &[audio("0", "sendonly")]);
    let md5 = good.replace(PRINT, "a=fingerprint:md5 00:01:02\n");
    assert!(unsupported(&md5, Role::Publish).contains("sha-256"));
    let sha1 = "a=fingerprint:sha-1 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13\n";
    assert!(unsupported(&good.replace(PRINT, sha1), Role::Publish).contains("sha-256"));
    let both = good.replace(PRINT, &format!("{sha1}{PRINT}"));
    assert_eq!(plan(&both, Role::Publish).unwrap().fingerprints.len(), 2);
    // Hash functions are case-insensitive.
    let upper = good.replace("sha-256", "SHA-256");
    assert_eq!(plan(&upper, Role::Publish).unwrap().fingerprints.len(), 1);
}

#[test]
fn publishers_send_and_viewers_receive() {
    // RFC 9725 §4.2, draft-ietf-wish-whep §4.3.5
    for (direction, publish, subscribe) in [
        ("sendonly", true, false),
        ("sendrecv", true, true),
        ("recvonly", false, true),
        ("inactive", false, false),
    ] {
        let text = offer("", &[audio("0", direction)]);
        assert_eq!(plan(&text, Role::Publish).is_ok(), publish, "{direction}");
        assert_eq!(
            plan(&text, Role::Subscribe).is_ok(),
            subscribe,
            "{direction}"
        );
        // The same word at session level counts where the section has none.
        let text = offer(&format!("a={direction}\n"), &[audio("0", "x-none")]);
        assert_eq!(plan(&text, Role::Publish).is_ok(), publish, "{direction}");
    }
    let text = offer(
        "a=group:BUNDLE 0 v1\n",
        &[audio("0", "sendonly"), video("v1", "recvonly")],
    );
    let message = unsupported(&text, Role::Publish);
    assert!(
        message.starts_with("m-section 2 (video, mid v1): "),
        "{message}"
    );
    // RFC 9725 §4.2: recvonly is answered, also to sendrecv.
    let both = plan(&offer("", &[audio("0", "sendrecv")]), Role::Publish).unwrap();
    assert_eq!(both.tracks().next().unwrap().direction, Direction::RecvOnly);
}

#[test]
fn several_sections_need_a_bundle_and_one_does_not() {
    // RFC 9725 §4.4.1, RFC 9143 §7.3
    let sections = [audio("0", "sendonly"), video("1", "sendonly")];
    assert!(unsupported(&offer("", &sections), Role::Publish).contains("BUNDLE"));
    assert!(unsupported(&offer("a=group:BUNDLE\n", &sections), Role::Publish).contains("BUNDLE"));
    let bundled = plan(&offer("a=group:BUNDLE 0 1\n", &sections), Role::Publish).unwrap();
    assert_eq!(bundled.bundle, ["0", "1"]);

    let outside = offer("a=group:BUNDLE 0\n", &sections);
    assert!(unsupported(&outside, Role::Publish).contains("m-section 2 (video, mid 1)"));

    let alone = plan(&offer("", &[audio("0", "sendonly")]), Role::Publish).unwrap();
    assert!(alone.bundle.is_empty());
    assert!(!render_answer(&alone, &local()).contains("a=group"));
    assert_eq!(alone.tagged_mid(), Some("0"));

    // Without a mid in the offer there is none in the answer.
    let bare = audio("0", "sendonly").replace("a=mid:0\n", "");
    let bare = plan(&offer("", &[bare]), Role::Publish).unwrap();
    assert!(!render_answer(&bare, &local()).contains("a=mid"));

    assert!(malformed(&offer("a=group:BUNDLE 0 7\n", &sections)).contains("mid 7"));
    assert!(malformed(&offer("a=group:BUNDLE 0 0\n", &sections)).contains("twice"));
    let twins = [audio("0", "sendonly"), video("0", "sendonly")];
    assert!(malformed(&offer("a=group:BUNDLE 0\n", &twins)).contains("same a=mid"));
}

#[test]
fn the_tagged_section_is_the_first_of_the_group() {
    // RFC 9143 §7.3.1: the group's order, not that of the m-lines.
    let sections = [audio("a", "recvonly"), video("v", "recvonly")];
    let text = offer("a=group:BUNDLE v a\n", &sections);
    let swapped = plan(&text, Role::Subscribe).unwrap();
    assert_eq!(swapped.tagged_mid(), Some("v"));
    assert!(render_answer(&swapped, &local()).contains("a=group:BUNDLE v a\r\n"));
    // Where it is rejected, the next one stands for the bundle.
    let unknown = text.replace("VP8", "VPX");
    let plan = plan(&unknown, Role::Subscribe).unwrap();
    assert_eq!(plan.tagged_mid(), Some("a"));
    assert_eq!(rejected(&plan), [false, true]);
    let answer = render_answer(&plan, &local());
    assert!(answer.contains("a=group:BUNDLE a\r\n"));
    assert!(answer.contains("m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\n"));
}

#[test]
fn port_zero_is_fine_inside_the_bundle_only() {
    // RFC 9143 §6: bundle-only. RFC 3264 §5.1: else it turns the stream down.
    let zero = |mid: &str| video(mid, "sendonly").replace("m=video 9", "m=video 0");
    let inside = offer("a=group:BUNDLE 0 1\n", &[audio("0", "sendonly"), zero("1")]);
    assert_eq!(plan(&inside, Role::Publish).unwrap().tracks().count(), 2);
    // Attributes of the transport may be left out there (RFC 9143 §7.1.2).
    let bare = zero("1").replace("a=rtcp-mux\n", "a=bundle-only\n");
    let inside = offer("a=group:BUNDLE 0 1\n", &[audio("0", "sendonly"), bare]);
    assert_eq!(plan(&inside, Role::Publish).unwrap().tracks().count(), 2);

    let outside = offer("a=group:BUNDLE 0\n", &[audio("0", "sendonly"), zero("1")]);
    let plan_outside = plan(&outside, Role::Publish).unwrap();
    assert_eq!(rejected(&plan_outside), [false, true]);
    assert!(unsupported(&offer("", &[zero("1")]), Role::Publish).contains("port 0"));
}

#[test]
fn a_publisher_gets_everything_or_nothing() {
    // RFC 9725 §4.4.2, §4.4.3
    let group = "a=group:BUNDLE 0 1\n";
    for (sections, word) in [
        ([audio("0", "sendonly"), audio("1", "sendonly")], "second"),
        ([video("0", "sendonly"), video("1", "sendonly")], "second"),
        (
            [
                audio("0", "sendonly"),
                video("1", "sendonly").replace("VP8", "VPX"),
            ],
            "video codecs",
        ),
        (
            [
                audio("0", "sendonly"),
                video("1", "sendonly").replace("m=video", "m=text"),
            ],
            "only audio, video",
        ),
    ] {
        let message = unsupported(&offer(group, &sections), Role::Publish);
        assert!(message.starts_with("m-section 2 ("), "{message}");
        assert!(message.contains(word), "{message}");
    }
    assert!(unsupported(&offer("", &[data("0")]), Role::Publish).contains("no audio or video"));
}

#[test]
fn every_refusal_names_its_section_and_says_what_would_do() {
    // RFC 9725 §4.4.3: told by who refuses, in words for who publishes.
    let second = |video: String| {
        let sections = [audio("0", "sendonly"), video];
        unsupported(&offer("a=group:BUNDLE 0 v1\n", &sections), Role::Publish)
    };
    let good = || video("v1", "sendonly");
    for (section, words) in [
        (
            good().replace("VP8", "VPX"),
            "none of its video codecs is supported; these are: H264, H265, VP8, VP9, AV1",
        ),
        (
            good().replace("m=video", "m=text"),
            "only audio, video and data channels are understood here",
        ),
        (
            good().replace("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/OTHER"),
            "the profile of its m-line is not that of WebRTC: UDP/TLS/RTP/SAVPF, or UDP/DTLS/SCTP for \
             data channels",
        ),
        (
            good().replace("a=rtcp-mux\n", ""),
            "a=rtcp-mux is needed: RTP and RTCP share one port",
        ),
        (
            video("v1", "recvonly"),
            "publishing needs sendonly (or sendrecv) in every m-section",
        ),
        (
            good().replace("96 97", "111 97").replace(":96 ", ":111 "),
            "payload type 111 stands for two different codecs in the bundle",
        ),
    ] {
        let kind = if section.starts_with("m=text") {
            "other"
        } else {
            "video"
        };
        let wanted = format!("m-section 2 ({kind}, mid v1): {words}");
        assert_eq!(second(section), wanted);
    }
    let twice = [video("0", "sendonly"), video("v1", "sendonly")];
    assert_eq!(
        unsupported(&offer("a=group:BUNDLE 0 v1\n", &twice), Role::Publish),
        "m-section 2 (video, mid v1): a stream has one video track, this is a second one"
    );
    let outside = [audio("0", "sendonly"), good()];
    assert_eq!(
        unsupported(&offer("a=group:BUNDLE 0\n", &outside), Role::Publish),
        "m-section 2 (video, mid v1): it is not in the BUNDLE group (a=group:BUNDLE), but all media \
         shares one transport"
    );
    let long = audio("a-mid-that-is-too-long", "sendonly");
    assert_eq!(
        unsupported(&offer("", &[long]), Role::Publish),
        "m-section 1 (audio, mid a-mid-that-is-too-long): its a=mid is too long to be carried in \
         packets: at most 16 characters"
    );
    let speex = audio("0", "recvonly").replace("opus", "speex");
    assert_eq!(
        unsupported(&offer("", &[speex]), Role::Subscribe),
        "m-section 1 (audio, mid 0): none of its audio codecs is supported; these are: opus, PCMU, \
         PCMA, G722"
    );
    // What is wrong with the offer as a whole stands under its own name.
    let sections = [audio("0", "sendonly"), good()];
    for (text, words) in [
        (
            offer("", &sections),
            "several m-sections need a=group:BUNDLE: all media shares one transport",
        ),
        (
            offer("", &[data("0")]),
            "there is no audio or video m-section to publish with",
        ),
        (
            offer("a=ice-lite\n", &[audio("0", "sendonly")]),
            "both sides are ICE-lite, so that nobody would start: use full ICE",
        ),
    ] {
        assert_eq!(
            unsupported(&text, Role::Publish),
            format!("session: {words}")
        );
    }
}

#[test]
fn a_viewer_gets_what_can_be_had() {
    // draft-ietf-wish-whep §4.6.2: never two tracks of a kind; RFC 3264 §6: port 0 for the rest.
    let group = "a=group:BUNDLE 0 1 2\n";
    let sections = [
        video("0", "recvonly"),
        video("1", "recvonly"),
        audio("2", "recvonly"),
    ];
    let two = plan(&offer(group, &sections), Role::Subscribe).unwrap();
    assert_eq!(rejected(&two), [false, true, false]);
    assert_eq!(two.bundle, ["0", "2"]);

    // The first of a kind that can be had is the one that counts.
    let first_unknown = [
        video("0", "recvonly").replace("VP8", "VPX"),
        video("1", "recvonly"),
        audio("2", "recvonly"),
    ];
    let second = plan(&offer(group, &first_unknown), Role::Subscribe).unwrap();
    assert_eq!(rejected(&second), [true, false, false]);

    let nothing = offer("", &[audio("0", "recvonly").replace("opus", "speex")]);
    let refusal = plan(&nothing, Role::Subscribe).unwrap_err();
    assert!(refusal.nothing_in_common, "a counter-offer may help");
    assert!(refusal.to_string().contains("audio codecs"));
    assert!(
        plan(&offer("", &[data("0")]), Role::Subscribe)
            .unwrap_err()
            .nothing_in_common
    );
    let no_mux = offer("", &[audio("0", "recvonly").replace("a=rtcp-mux\n", "")]);
    assert!(
        !plan(&no_mux, Role::Subscribe)
            .unwrap_err()
            .nothing_in_common
    );
}

#[test]
fn rtcp_must_be_multiplexed() {
    // RFC 9725 §4.4.1, RFC 8858
    let without = offer("", &[audio("0", "sendonly").replace("a=rtcp-mux\n", "")]);
    assert!(unsupported(&without, Role::Publish).contains("rtcp-mux"));
    let only = offer(
        "",
        &[audio("0", "sendonly").replace("rtcp-mux", "rtcp-mux-only")],
    );
    assert!(plan(&only, Role::Publish).is_ok());
}

#[test]
fn the_dtls_role_follows_from_setup() {
    // RFC 8842 §5.3
    let with = |line: &str| plan(&offer(line, &[audio("0", "sendonly")]), Role::Publish);
    assert_eq!(
        with("a=setup:actpass\n").unwrap().dtls_role,
        DtlsRole::Passive
    );
    assert_eq!(
        with("a=setup:active\n").unwrap().dtls_role,
        DtlsRole::Passive
    );
    assert_eq!(
        with("a=setup:passive\n").unwrap().dtls_role,
        DtlsRole::Active
    );
    assert_eq!(with("").unwrap().dtls_role, DtlsRole::Passive);
    assert!(with("a=setup:holdconn\n").is_err());
    let active = with("a=setup:passive\n").unwrap();
    assert!(render_answer(&active, &local()).contains("a=setup:active\r\n"));
}

#[test]
fn two_lite_agents_cannot_meet() {
    // RFC 8445 §6.1.1
    let text = offer("a=ice-lite\n", &[audio("0", "sendonly")]);
    assert!(unsupported(&text, Role::Publish).contains("ICE-lite"));
    let full = Capabilities {
        ice_lite: false,
        ..Capabilities::default()
    };
    let plan = judge(&parse(&text).unwrap(), Role::Publish, &full).unwrap();
    assert!(plan.remote_ice.lite);
    assert!(!render_answer(&plan, &local()).contains("a=ice-lite"));
}

#[test]
fn a_payload_type_means_one_codec_in_the_bundle() {
    // RFC 9143 §9.1
    let clash = video("1", "sendonly").replace("96", "111");
    let text = offer("a=group:BUNDLE 0 1\n", &[audio("0", "sendonly"), clash]);
    assert!(unsupported(&text, Role::Publish).contains("payload type 111"));
    // Codecs that were not agreed do not count.
    let harmless = video("1", "sendonly").replace("SAVPF 96 97", "SAVPF 96 97 111")
        + "a=rtpmap:111 flexfec-03/90000\n";
    let text = offer("a=group:BUNDLE 0 1\n", &[audio("0", "sendonly"), harmless]);
    assert!(plan(&text, Role::Publish).is_ok());
}

#[test]
fn extension_ids_out_of_range_or_taken_are_not_answered() {
    // RFC 8285 §4.2, §5; RFC 9143 §9.2
    let ids = "a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid\n\
               a=extmap:15 urn:ietf:params:rtp-hdrext:toffset\n\
               a=extmap:256 urn:3gpp:video-orientation\n\
               a=extmap:4096 urn:3gpp:video-orientation\n\
               a=extmap:255 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n\
               a=extmap:14 urn:example:unknown\n\
               a=extmap:3/recvonly urn:ietf:params:rtp-hdrext:toffset\n\
               a=extmap:5/inactive urn:ietf:params:rtp-hdrext:toffset\n";
    let text = offer("", &[audio("0", "sendonly") + ids]);
    let track = plan(&text, Role::Publish)
        .unwrap()
        .tracks()
        .next()
        .unwrap()
        .clone();
    assert_eq!(track.extensions.len(), 1);
    assert_eq!(track.extension_id(&Extension::AudioLevel), Some(255));

    let first = audio("0", "sendonly") + "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n";
    let second = video("1", "sendonly") + "a=extmap:4 urn:ietf:params:rtp-hdrext:toffset\n";
    let text = offer("a=group:BUNDLE 0 1\n", &[first, second]);
    let plan = plan(&text, Role::Publish).unwrap();
    let counts: Vec<_> = plan.tracks().map(|track| track.extensions.len()).collect();
    assert_eq!(counts, [1, 0]);
}

#[test]
fn static_payload_types_need_no_rtpmap_and_the_offers_order_stays() {
    // RFC 3551 §6, RFC 9429 §5.3.1
    let section = "m=audio 9 UDP/TLS/RTP/SAVPF 8 111 0 13\na=mid:0\na=sendonly\na=rtcp-mux\n\
                   a=rtpmap:111 OPUS/48000/2\n";
    let plan = plan(&offer("", &[section.to_owned()]), Role::Publish).unwrap();
    let track = plan.tracks().next().unwrap();
    let codecs: Vec<_> = track.codecs.iter().map(|c| (c.pt, c.codec)).collect();
    assert_eq!(
        codecs,
        [(8, Codec::Pcma), (111, Codec::Opus), (0, Codec::Pcmu)]
    );
    let answer = render_answer(&plan, &local());
    assert!(answer.contains("m=audio 9 UDP/TLS/RTP/SAVPF 8 111 0\r\n"));
    assert!(answer.contains("a=rtpmap:8 PCMA/8000\r\n"));
}

#[test]
fn feedback_for_all_payload_types_counts_for_each() {
    // RFC 4585 §4.2
    let section = video("0", "sendonly") + "a=rtcp-fb:* nack pli\na=rtcp-fb:96 nack\n";
    let plan = plan(&offer("", &[section]), Role::Publish).unwrap();
    let feedback = plan.tracks().next().unwrap().codecs[0].feedback;
    assert!(feedback.nack && feedback.nack_pli && !feedback.ccm_fir && !feedback.goog_remb);
}

#[test]
fn paused_and_alternative_streams_are_answered_without_marks() {
    // RFC 8853 §5.1, §5.3.2
    let rids = "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\n\
                a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n\
                a=rid:a send pt=96\na=rid:b send pt=97\na=rid:c send max-width=640\n\
                a=rid:d send\na=rid:e recv\na=simulcast:recv e send a,~b;~c;d;ghost\n";
    let text = offer("", &[video("0", "sendonly") + rids]);
    let paused = plan(&text, Role::Publish).unwrap();
    let track = paused.tracks().next().unwrap();
    // b is restricted to RTX, which is no codec of ours; ghost has no a=rid.
    let layers: Vec<Vec<(String, bool)>> = track
        .simulcast
        .iter()
        .map(|layer| layer.alternatives.clone())
        .collect();
    let named = |id: &str, paused: bool| vec![(id.to_owned(), paused)];
    assert_eq!(
        layers,
        [named("a", false), named("c", true), named("d", false)]
    );
    let answer = render_answer(&paused, &local());
    for line in [
        "a=rid:a recv pt=96",
        "a=rid:c recv max-width=640",
        "a=rid:d recv",
        "a=simulcast:recv a;c;d",
    ] {
        assert!(answer.contains(&format!("{line}\r\n")), "{answer}");
    }
    // Ids longer than an engine can keep: the first stream alone.
    let long = text
        .replace("rid:d ", "rid:dddddddddd ")
        .replace(";d;", ";dddddddddd;");
    // RFC 8853 §5.5: nor where packets could not say their rid.
    let mute = text.replace("sdes:rtp-stream-id", "sdes:other");
    for text in [long, mute] {
        let first = plan(&text, Role::Publish).unwrap();
        assert!(first.tracks().next().unwrap().simulcast.is_empty());
        assert!(!render_answer(&first, &local()).contains("a=rid"));
    }
}

#[test]
fn layers_beyond_the_limit_are_left_out_of_the_answer() {
    // RFC 8853 §5.3.2: an answerer takes fewer streams by naming fewer.
    let rids: String = (0..6).map(|id| format!("a=rid:{id} send\n")).collect();
    let extensions = "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\n\
                      a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n";
    let section = video("0", "sendonly") + extensions + &rids + "a=simulcast:send 0;1;2;3;4;5\n";
    let plan = plan(&offer("", &[section]), Role::Publish).unwrap();
    let answer = render_answer(&plan, &local());
    assert!(answer.contains("a=simulcast:recv 0;1;2;3\r\n"), "{answer}");
    assert_eq!(answer.matches("a=rid:").count(), 4);
}

#[test]
fn simulcast_by_a_group_of_sources_counts_where_no_rids_do() {
    let ssrcs: String = (1..=6).map(|n| format!("a=ssrc:{n} cname:c\n")).collect();
    let section = video("0", "sendonly") + &ssrcs + "a=ssrc-group:SIM 1 2 2 9 3 4 5 6\n";
    let sims = |role, capabilities: &Capabilities| {
        let direction = if role == Role::Publish {
            "sendonly"
        } else {
            "recvonly"
        };
        let text = offer("", &[section.replace("sendonly", direction)]);
        let plan = judge(&parse(&text).unwrap(), role, capabilities).unwrap();
        plan.tracks().next().unwrap().sim_ssrcs.clone()
    };
    // Announced ones, each once, up to the limit.
    let all = Capabilities::default();
    assert_eq!(sims(Role::Publish, &all), [1, 2, 3, 4]);
    assert!(sims(Role::Subscribe, &all).is_empty());
    let none = Capabilities {
        simulcast: false,
        ..all
    };
    assert!(sims(Role::Publish, &none).is_empty());
}

#[test]
fn data_channels_need_their_capability() {
    // RFC 8841
    let sections = [audio("0", "recvonly"), data("1")];
    let text = offer("a=group:BUNDLE 0 1\n", &sections);
    let with = plan(&text, Role::Subscribe).unwrap();
    assert_eq!(with.application().unwrap().sctp_port, 5000);
    assert_eq!(with.application().unwrap().max_message_size, 65_536);
    let none = Capabilities {
        data_channels: false,
        ..Capabilities::default()
    };
    let without = judge(&parse(&text).unwrap(), Role::Subscribe, &none).unwrap();
    assert_eq!(rejected(&without), [false, true]);
    assert_eq!(without.bundle, ["0"]);
    let publish = text.replace("recvonly", "sendonly");
    assert!(judge(&parse(&publish).unwrap(), Role::Publish, &none).is_err());

    let old = "m=application 9 DTLS/SCTP 5000\na=mid:1\na=sctpmap:5000 webrtc-datachannel 256\n";
    let text = offer(
        "a=group:BUNDLE 0 1\n",
        &[audio("0", "recvonly"), old.to_owned()],
    );
    let plan = plan(&text, Role::Subscribe).unwrap();
    let answer = render_answer(&plan, &local());
    assert!(answer.contains("m=application 9 DTLS/SCTP 5000\r\n"));
    assert!(answer.contains("a=sctpmap:5000 webrtc-datachannel "));
}

#[test]
fn a_sender_without_rtx_in_the_answer_names_no_repair() {
    // RFC 4588 §8.1
    let mut local = local();
    local.senders.push(LocalSender {
        mid: "0".to_owned(),
        track_id: "sound".to_owned(),
        ssrc: 1000,
        rtx: Some(1001),
        cname: "c".to_owned(),
    });
    let text = offer("", &[audio("0", "recvonly")]);
    let answer = render_answer(&plan(&text, Role::Subscribe).unwrap(), &local);
    assert!(answer.contains("a=ssrc:1000 cname:c\r\n") && !answer.contains("1001"));
    let text = offer("", &[video("0", "recvonly")]);
    let answer = render_answer(&plan(&text, Role::Subscribe).unwrap(), &local);
    assert!(answer.contains("a=ssrc-group:FID 1000 1001\r\n"));
}
