//! Live777's files and variables.

use super::*;

#[test]
fn file_of_live777_is_accepted_with_hints() {
    let effective = from_file(
        r#"
[http]
listen = "0.0.0.0:7777"
cors = true
[[ice_servers]]
urls = ["stun:stun.example:19302"]
username = ""
credential = ""
[webrtc]
ice_udp_addrs = ["auto", "192.0.2.7:0"]
ice_lite = false
[auth]
secret = "x"
tokens = ["live777"]
[log]
level = "warn"
[sdp]
video_codecs = ["H264"]
audio_codecs = ["Opus"]
[strategy]
each_stream_max_sub = 10
cascade_push_close_sub = true
auto_create_whip = false
auto_create_whep = false
auto_delete_whip = 60000
auto_delete_whep = 0
"#,
    );
    let Effective { config, notes, .. } = effective;
    assert_eq!(config.http.allowed_origins[0].as_str(), "*");
    assert_eq!(config.ice.servers[0].urls, ["stun:stun.example:19302"]);
    assert_eq!(config.media.advertise[0].to_string(), "192.0.2.7");
    assert!(!config.ice.lite && !config.strategy.auto_create_whep);
    assert_eq!(config.sdp.video_codecs, [VideoCodec::H264]);
    assert_eq!(config.strategy.auto_delete_whip, 60_000);
    assert_eq!(notes.len(), 4, "{notes:?}");
    for (old, new) in [
        ("http.cors", "http.allowed_origins"),
        ("ice_servers", "ice.servers"),
        ("webrtc.ice_udp_addrs", "media.advertise"),
        ("webrtc.ice_lite", "ice.lite"),
    ] {
        let hint = format!("{old} is now {new}");
        assert!(
            notes.iter().any(|note| note.contains(&hint)),
            "{hint}: {notes:?}"
        );
    }
}

#[test]
fn a_key_cannot_be_set_by_its_old_and_its_new_name() {
    for file in [
        "[http]\ncors = true\nallowed_origins = []\n",
        "[http]\nallowed_origins = []\ncors = true\n",
        "[ice]\nlite = true\n[webrtc]\nice_lite = true\n",
        "ice_servers = []\n[ice]\nservers = []\n",
    ] {
        let text = refusal(file);
        assert!(text.contains("a second time"), "{file}: {text}");
        assert!(text.contains("keep one"), "{file}: {text}");
    }
}

#[test]
fn old_values_that_cannot_be_kept_are_refused_with_the_new_name() {
    for (file, expected) in [
        ("http.cors = \"yes\"", "the key is now http.allowed_origins"),
        (
            "webrtc.ice_udp_addrs = [\"192.0.2.7:5000\"]",
            "set it with media.udp",
        ),
        (
            "webrtc.ice_udp_addrs = [\"0.0.0.0:0\"]",
            "nobody can send to this address",
        ),
        (
            "webrtc.ice_udp_addrs = \"auto\"",
            "the key is now media.advertise",
        ),
        ("webrtc.ice_lite = 1", "webrtc.ice_lite cannot be 1"),
        ("webrtc.tcp = 1", "\"webrtc.tcp\" is not a key"),
        (
            "hooks.timeout_ms = 1",
            "hooks of Live777 has no counterpart here",
        ),
        (
            "http.public = \"x\"",
            "http.public of Live777 has no counterpart here",
        ),
        (
            "[database]\nurl = \"a\"",
            "database of Live777 has no counterpart",
        ),
    ] {
        let text = refusal(file);
        assert!(text.contains(expected), "{file}: {text}");
    }
}

#[test]
fn variables_of_live777_are_pointed_out_and_not_read() {
    let effective = load_all("", &[("PORT", "1"), ("LOG_LEVEL", "trace")], &[]).unwrap();
    assert_eq!(effective.config, Config::default());
    assert_eq!(effective.notes.len(), 2);
    assert!(
        effective.notes[1].contains("WHITEWATER_HTTP_LISTEN"),
        "{:?}",
        effective.notes
    );
}
