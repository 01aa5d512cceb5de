//! What is refused, and what the message says.

use super::*;

#[test]
fn unknown_key_names_place_suggestion_and_all_that_is_known() {
    let text = refusal("# first\n[http]\n  lisen = \"127.0.0.1:1\"\n");
    let expected = "3:3: \"http.lisen\" is not a key\n  did you mean http.listen?\n  \
                    known keys of [http]: listen, admin_listen, allowed_origins, hosts,";
    assert!(text.starts_with(expected), "{text}");
    // What stands behind an unknown key may be a mistyped secret.
    assert!(!text.contains("127.0.0.1:1"), "{text}");
}

#[test]
fn suggestions_look_into_other_sections() {
    for (file, expected) in [
        ("[http]\nlevel = 1\n", "did you mean log.level?"),
        ("listen = 1\n", "did you mean http.listen?"),
        (
            "[loq]\nlevle = 1\n",
            "1:2: \"loq\" is not a section\n  did you mean [log]?",
        ),
        ("[htpp]\nx_y_z = 1\n", "did you mean [http]?"),
        (
            "[zzzzzz]\ncert = 1\n",
            "known sections: [http], [tls], [media], [ice]",
        ),
        ("[http]\nzzz = 1\n", "known keys of [http]"),
    ] {
        let text = refusal(file);
        assert!(text.contains(expected), "{file}: {text}");
    }
    assert!(!refusal("[http]\nzzz = 1\n").contains("did you mean"));
    let text = refusal_of(load_all("", &[], &[("loq.levle", "1")]));
    assert!(text.contains("did you mean log.level?"), "{text}");
}

#[test]
fn bad_value_names_place_text_and_what_is_allowed() {
    let text = refusal("[http]\nlisten = \":7777\"\n");
    let expected = "2:10: http.listen cannot be \":7777\"\n  \
                    allowed: an IP address and a port, as \"127.0.0.1:7777\" or \"[::]:7777\"\n  \
                    hint: the address is missing: write \"0.0.0.0:7777\"";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn bad_values_of_each_type_are_refused_with_a_way_out() {
    for (file, expected) in [
        ("http.listen = 7777", "[::]:7777"),
        (
            "http.listen = \"127.0.0.1\"",
            "the port is missing: write \"127.0.0.1:7777\"",
        ),
        ("http.listen = \"::1\"", "write \"[::1]:7777\""),
        ("http.listen = \"localhost:1\"", "names are not looked up"),
        (
            "http.listen = \"127.0.0.1:65536\"",
            "allowed: an IP address and a port",
        ),
        (
            "http.listen = { secret = \"hush\" }",
            "http.listen cannot be a table",
        ),
        (
            "http.allowed_origins = [\"https://a.example/\"]",
            "http.allowed_origins[0] cannot",
        ),
        (
            "http.allowed_origins = [\"a.example\"]",
            "starts with http://",
        ),
        (
            "http.allowed_origins = \"*\"",
            "allowed: a list, each an origin",
        ),
        ("http.hosts = [\"https://a.example\"]", "without http://"),
        ("http.hosts = [\"a.example:80\"]", "without a port"),
        ("http.hosts = [\"[::1]:80\"]", "without a port"),
        ("http.hosts = [\"::1\"]", "IPv6 addresses in brackets"),
        ("http.hosts = [\"a.example/\"]", "http.hosts[0] cannot"),
        ("http.hosts = [\"\"]", "http.hosts[0] cannot"),
        ("cascade.allow = [\"10.0.0.1/8\"]", "write \"10.0.0.0/8\""),
        ("cascade.allow = [\"http://a.example\"]", "without http://"),
        ("cascade.allow = [\"[::1]\"]", "without brackets"),
        (
            "cascade.allow = [\"2130706433\"]",
            "cascade.allow[0] cannot",
        ),
        ("cascade.allow = [\"127.1\"]", "cascade.allow[0] cannot"),
        (
            "http.trusted_proxies = [\"10.0.0.1/8\"]",
            "write \"10.0.0.0/8\"",
        ),
        (
            "http.trusted_proxies = [\"10.0.0.0/33\"]",
            "http.trusted_proxies[0] cannot be",
        ),
        (
            "media.advertise = [\"192.0.2.1\", \"0.0.0.0\"]",
            "media.advertise[1] cannot be",
        ),
        ("media.advertise = [\"192.0.2.1:1\"]", "without a port"),
        ("media.gso = \"yes\"", "allowed: true or false"),
        ("media.shards = 1.5", "cannot be a number with a fraction"),
        (
            "media.shards = 99999999999999999999",
            "cannot be a number beyond 64 bits",
        ),
        ("media.shards = \"2\"", "cannot be \"2\""),
        ("media.shards = 1979-05-27", "cannot be a date or time"),
        (
            "media.backend = \"io_uring\"",
            "one of \"auto\", \"uring\", \"mmsg\", \"tokio-uring\"",
        ),
        ("media.backend = \"urng\"", "did you mean \"uring\"?"),
        (
            "sdp.video_codecs = [\"vp8\", \"hevc\"]",
            "sdp.video_codecs[1] cannot be \"hevc\"",
        ),
        ("http = 5", "write [http] on a line of its own"),
        ("webrtc = 5", "webrtc is a section"),
        ("auth.tokens = \"hush\"", "allowed: a list, each a token"),
    ] {
        let text = refusal(file);
        assert!(text.contains(expected), "{file}: {text}");
        assert!(!text.contains("hush"), "{file}: {text}");
    }
}

#[test]
fn every_refused_setting_is_reported_in_the_order_it_is_written() {
    let text = refusal("[media]\nshards = -1\ngso = 1\n[http]\nx = 1\nlisten = 1\n");
    let places: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| &line[..3])
        .collect();
    assert_eq!(places, ["2:1", "3:7", "5:1", "6:1"], "{text}");
}

#[test]
fn long_and_odd_texts_are_cut_and_escaped() {
    let text = refusal(&format!(
        "[log]\nlevel = \"\\u001b[2J{}\"\n",
        "x".repeat(10_000)
    ));
    assert!(text.len() < 400 && !text.contains('\u{1b}'), "{text}");
    let text = refusal(&format!("\"{}\\u001b\" = 1\n", "é".repeat(10_000)));
    assert!(text.len() < 600 && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn syntax_errors_name_the_place_and_never_repeat_the_line() {
    let text = refusal("[http]\nlisten = \"127.0.0.1:1\n");
    assert!(text.starts_with("2:22: not TOML, near listen: "), "{text}");
    for file in [
        "[auth]\nsecret = \"hush\n",
        "[auth]\nsecret = hush\n",
        "[auth]\ntokens = [\n  \"hush\" \"hush\",\n]\n",
        "[auth]\nsecret = \"hush\"\nsecret = \"hush\"\n",
        "[auth]\nsecret = \"\"\"\nhush = hush\n",
        "[auth]\nsecret = \"\\hush\"\n",
        "[auth]\nsecret = 'a'hush\n",
        "[auth]\nsecret \"hush\"\n",
        "hush",
    ] {
        let text = refusal(file);
        assert!(text.contains("not TOML"), "{file}: {text}");
        assert!(!text.contains("hush"), "{file}: {text}");
    }
}

#[test]
fn a_key_is_set_once_in_the_file_and_once_by_flags() {
    let text = refusal("[http]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert!(
        text.starts_with("3:1: not TOML, near listen: duplicate key"),
        "{text}"
    );
    let flags = [("log.level", "warn"), ("log.level", "info")];
    let text = refusal_of(load_all("", &[], &flags));
    assert!(text.contains("log.level is set a second time"), "{text}");
    let forgotten = Sources {
        flags: vec![Flag {
            path: "log.level".into(),
            value: None,
            written: "--set".into(),
        }],
        ..Sources::default()
    };
    let text = refusal_of(load(&forgotten));
    assert!(text.contains("write --set log.level=<value>"), "{text}");
}
