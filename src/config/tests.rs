use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::keys::{KEYS, SECTIONS};
use super::node::Shape;
use super::secret::MASK;
use super::*;

/// A file that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("whitewater-config-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn load_all(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Effective, ConfigError> {
    let file = Scratch::new(file);
    load(&Sources {
        file: Some(file.0.clone()),
        default_file: None,
        environment: environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        flags: flags
            .iter()
            .map(|(path, value)| Flag {
                path: (*path).to_owned(),
                value: Some((*value).to_owned()),
                written: "--set".to_owned(),
            })
            .collect(),
    })
}

fn from_file(text: &str) -> Effective {
    load_all(text, &[], &[]).unwrap()
}

/// The refusal of a file, with the file's path cut off.
fn refusal(text: &str) -> String {
    refusal_of(load_all(text, &[], &[]))
}

fn refusal_of(result: Result<Effective, ConfigError>) -> String {
    let error = result.expect_err("accepted").to_string();
    let mut lines = Vec::new();
    for line in error.lines() {
        let cut = line
            .find(".toml:")
            .map_or(line, |at| &line[at + ".toml:".len()..]);
        lines.push(cut.to_owned());
    }
    lines.join("\n")
}

fn default_of(key: &Key) -> String {
    (key.render)(&Config::default())
}

/// A value in TOML that is allowed for the key and is not its default.
fn other_value(key: &Key) -> String {
    let value = match key.path().as_str() {
        "http.listen" | "media.udp" | "tls.redirect_listen" => r#""[::1]:7000""#,
        "tls.certificate" | "tls.key" => r#""/etc/x.pem""#,
        "http.allowed_origins" => r#"["https://a.example", "http://b.example:8080"]"#,
        "http.hosts" => r#"["studio.example", "192.0.2.7"]"#,
        "http.trusted_proxies" => r#"["10.0.0.0/8", "2001:db8::1/128"]"#,
        "media.advertise" => r#"["192.0.2.7", "2001:db8::7"]"#,
        "media.backend" => r#""tokio-uring""#,
        "ice.servers" => r#"[{ urls = ["stun:stun.example:3478"] }]"#,
        "publish.takeover" => r#""always""#,
        "play.absent" => r#""refuse""#,
        "auth.tokens" => r#"["t0ken-one", "t0ken-two"]"#,
        "publish.redirect" | "play.redirect" => r#""https://b.example/{stream}""#,
        "ice.turn_credential_ttl_s" => "3600",
        "auth.secret" | "ice.turn_secret" => r#""k3y""#,
        "auth.publish_tokens" | "auth.watch_tokens" => r#"["t0ken-three"]"#,
        "auth.tokens_file" | "auth.revocations_file" | "auth.jwks_ca_file" => r#""/etc/x""#,
        "auth.key_files" => r#"["/etc/a.pem", "/etc/b.json"]"#,
        "auth.jwks_url" => r#""https://id.example/keys""#,
        "auth.issuers" | "auth.audiences" => r#"["https://id.example"]"#,
        "sdp.video_codecs" => r#"["h264", "av1"]"#,
        "sdp.audio_codecs" => r#"["opus"]"#,
        "log.level" => r#""trace""#,
        _ => match key.shape {
            Shape::Switch if default_of(key) == "true" => "false",
            Shape::Switch => "true",
            Shape::Number => return (default_of(key).parse::<i64>().unwrap() + 1).to_string(),
            other => panic!("{}: no other value for {other:?}", key.path()),
        },
    };
    value.to_owned()
}

/// The same value as it is written in a variable or flag.
fn loose_value(key: &Key) -> String {
    let value = other_value(key);
    match key.shape {
        Shape::Tables | Shape::Number | Shape::Switch => value,
        Shape::Text => value.replace('"', ""),
        Shape::List => value.replace(['"', '[', ']'], ""),
    }
}

fn file_with(key: &Key, value: &str) -> String {
    format!("[{}]\n{} = {value}\n", key.section, key.name)
}

// The table.

#[test]
fn each_key_is_named_once_documented_and_bounded() {
    let mut names = HashSet::new();
    for key in Key::all() {
        assert!(names.insert(key.path()), "{} twice", key.path());
        assert!(
            names.insert(key.environment()),
            "{} twice",
            key.environment()
        );
        assert!(
            key.flag.is_empty() || names.insert(key.flag.to_owned()),
            "{} twice",
            key.flag
        );
        assert!(
            key.doc.concat().trim_end().ends_with('.'),
            "{}: no sentence",
            key.path()
        );
        let bounded = *key.range.start() > i64::MIN && *key.range.end() < i64::MAX;
        assert_eq!(
            bounded,
            key.shape == Shape::Number,
            "{}: bounds",
            key.path()
        );
    }
    assert_eq!(KEYS[0].environment(), "WHITEWATER_HTTP_LISTEN");
    let sections: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
    let mut used: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    used.dedup();
    assert_eq!(used, sections);
}

#[test]
fn units_stand_at_the_end_of_the_names() {
    for key in Key::all().iter().filter(|key| key.section != "strategy") {
        let expected = match key.name.rsplit('_').find(|word| *word != "max") {
            Some("ms") => "milliseconds",
            Some("s") => "seconds",
            Some("bytes") => "bytes",
            _ => "",
        };
        assert_eq!(key.unit, expected, "{}", key.path());
    }
}

#[test]
fn whole_numbers_are_allowed_up_to_both_bounds_and_not_beyond() {
    for key in Key::all().iter().filter(|key| key.shape == Shape::Number) {
        let (least, most) = (*key.range.start(), *key.range.end());
        for value in [least, most] {
            let effective = from_file(&file_with(key, &value.to_string()));
            assert_eq!(
                (key.render)(&effective.config),
                value.to_string(),
                "{}",
                key.path()
            );
        }
        for value in [least - 1, most + 1] {
            let text = refusal(&file_with(key, &value.to_string()));
            assert!(
                text.contains(&format!("{} cannot be {value}", key.path())),
                "{text}"
            );
            assert!(text.contains(&format!("from {least} to {most}")), "{text}");
        }
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = Config::default();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:7777");
    assert_eq!(config.media.udp.to_string(), "0.0.0.0:7777");
    assert_eq!(config.media.backend, Backend::Auto);
    assert_eq!(config.strategy.each_stream_max_sub, 65_535);
    assert_eq!(config.strategy.auto_delete_whip, -1);
    assert!(config.strategy.auto_create_whip && config.ice.lite && config.media.gso);
    assert_eq!(config.publish.takeover, Takeover::Silent);
    assert_eq!(config.publish.silent_after_ms, 3000);
    assert_eq!(config.limits.half_open_timeout_s, 30);
    assert_eq!(config.limits.dead_peer_timeout_s, 35);
}

// Sources.

#[test]
fn each_key_is_read_from_file_environment_and_flag_alike() {
    for key in Key::all() {
        let file = from_file(&file_with(key, &other_value(key)));
        assert_ne!(file.config, Config::default(), "{}", key.path());

        let variable = (key.environment(), loose_value(key));
        let environment = load_all("", &[(&variable.0, &variable.1)], &[]).unwrap();
        assert_eq!(environment.config, file.config, "{}", key.path());

        let flag = load_all("", &[], &[(&key.path(), &loose_value(key))]);
        match flag {
            Ok(flag) => assert_eq!(flag.config, file.config, "{}", key.path()),
            Err(error) => {
                assert!(key.secret, "{error}");
                assert!(error.to_string().contains(&key.environment()), "{error}");
            }
        }
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\n";
    let environment = [("WHITEWATER_HTTP_LISTEN", "127.0.0.1:2")];
    let flags = [("http.listen", "127.0.0.1:3")];
    let port = |result: Result<Effective, ConfigError>| {
        let effective = result.unwrap();
        (
            effective.config.http.listen.port(),
            effective.sources[0].to_string(),
        )
    };
    assert_eq!(port(load_all("", &[], &[])), (7777, "default".into()));
    let (from_file, source) = port(load_all(file, &[], &[]));
    assert_eq!(from_file, 1);
    assert!(source.ends_with(".toml:2:1"), "{source}");
    let from_environment = port(load_all(file, &environment, &[]));
    assert_eq!(
        from_environment,
        (2, "environment WHITEWATER_HTTP_LISTEN".into())
    );
    assert_eq!(
        port(load_all(file, &environment, &flags)),
        (3, "flag --set".into())
    );
    assert_eq!(port(load_all("", &[], &flags)).0, 3);
}

#[test]
fn overridden_settings_are_judged_all_the_same() {
    let text = refusal_of(load_all("log.level = 1\n", &[], &[("log.level", "warn")]));
    assert!(text.starts_with("1:13: log.level cannot be 1"), "{text}");
}

#[test]
fn asked_for_file_must_exist_and_default_file_need_not() {
    let missing = std::env::temp_dir().join("whitewater-config-that-is-not-there.toml");
    let mut sources = Sources {
        default_file: Some(missing.clone()),
        ..Sources::default()
    };
    assert_eq!(load(&sources).unwrap().config, Config::default());

    sources.file = Some(missing.clone());
    let error = load(&sources).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable(..)), "{error}");
    assert!(
        error
            .to_string()
            .contains("whitewater-config-that-is-not-there.toml"),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());

    sources.file = None;
    sources.environment = vec![("WHITEWATER_CONFIG".into(), missing.into())];
    assert!(matches!(load(&sources), Err(ConfigError::Unreadable(..))));

    let directory = Sources {
        default_file: Some(std::env::temp_dir()),
        ..Sources::default()
    };
    assert!(matches!(load(&directory), Err(ConfigError::Unreadable(..))));
}

#[test]
fn default_file_is_read_and_the_named_one_replaces_it() {
    let default = Scratch::new("log.level = \"warn\"\n");
    let named = Scratch::new("[media]\nshards = 2\n");
    let mut sources = Sources {
        default_file: Some(default.0.clone()),
        ..Sources::default()
    };
    assert_eq!(load(&sources).unwrap().config.log.level, LogLevel::Warn);
    sources.file = Some(named.0.clone());
    let config = load(&sources).unwrap().config;
    assert_eq!((config.log.level, config.media.shards), (LogLevel::Info, 2));
}

#[test]
fn lists_in_variables_are_separated_by_commas_or_written_as_toml() {
    for value in [
        "192.0.2.1,192.0.2.2",
        " 192.0.2.1 , 192.0.2.2, ",
        "['192.0.2.1', '192.0.2.2']",
    ] {
        let effective = load_all("", &[("WHITEWATER_MEDIA_ADVERTISE", value)], &[]).unwrap();
        assert_eq!(effective.config.media.advertise.len(), 2, "{value}");
    }
    let empty = load_all("", &[("WHITEWATER_MEDIA_ADVERTISE", "")], &[]).unwrap();
    assert!(empty.config.media.advertise.is_empty());
    for value in ["['192.0.2.1'", "[]\nx = 1", "[1]", "192.0.2.1:7777"] {
        let text = refusal_of(load_all("", &[("WHITEWATER_MEDIA_ADVERTISE", value)], &[]));
        assert!(
            text.starts_with("environment WHITEWATER_MEDIA_ADVERTISE: media.adv"),
            "{text}"
        );
    }
}

#[test]
fn mistyped_variables_are_refused_and_those_of_others_left_alone() {
    let text = refusal_of(load_all("", &[("WHITEWATER_HTTP_LISTN", "x")], &[]));
    assert!(
        text.contains("did you mean WHITEWATER_HTTP_LISTEN?"),
        "{text}"
    );
    let text = refusal_of(load_all("", &[("WHITEWATER_AUTH_TOKEN", "hush")], &[]));
    assert!(
        text.contains("WHITEWATER_AUTH_TOKENS") && !text.contains("hush"),
        "{text}"
    );

    let others = [
        ("HOME", "/root"),
        ("WHITEWATERS", "x"),
        ("WHITEWATER_SERVICE_HOST", "10.0.0.1"),
        ("WHITEWATER_SERVICE_PORT", "7777"),
        ("WHITEWATER_SERVICE_PORT_HTTP", "7777"),
        ("WHITEWATER_PORT", "tcp://10.0.0.1:7777"),
        ("WHITEWATER_PORT_7777_TCP", "tcp://10.0.0.1:7777"),
        ("WHITEWATER_PORT_7777_TCP_ADDR", "10.0.0.1"),
        ("WHITEWATER_MEDIA_PORT_7777_UDP_PROTO", "udp"),
    ];
    let effective = load_all("", &others, &[]).unwrap();
    assert_eq!(effective.config, Config::default());
    assert!(effective.notes.is_empty(), "{:?}", effective.notes);
}

// Refusals.

#[test]
fn unknown_key_names_place_suggestion_and_all_that_is_known() {
    let text = refusal("# first\n[http]\n  lisen = \"127.0.0.1:1\"\n");
    let expected = "3:3: \"http.lisen\" is not a key\n  did you mean http.listen?\n  \
                    known keys of [http]: listen, allowed_origins, hosts, trusted_proxies,";
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

// Secrets.

const SECRETS: &str = r#"
[auth]
tokens = ["hush-token"]
secret = "hush-key"
[ice]
turn_secret = "hush-turn"
[[ice.servers]]
urls = ["turn:turn.example:3478"]
username = "user"
credential = "hush-credential"
"#;

#[test]
fn secrets_are_masked_wherever_they_are_shown() {
    let loaded = from_file(SECRETS);
    assert_eq!(loaded.config.auth.tokens[0].expose(), "hush-token");
    assert_eq!(loaded.config.auth.secret.expose(), "hush-key");
    assert_eq!(
        loaded.config.ice.servers[0].credential.expose(),
        "hush-credential"
    );
    let printed = effective(&loaded);
    for text in [
        &printed,
        &format!("{loaded:?}"),
        &loaded.config.auth.secret.to_string(),
    ] {
        assert!(text.contains(MASK) && !text.contains("hush"), "{text}");
    }
    assert!(printed.contains("tokens = [\"<masked>\"]"), "{printed}");
}

#[test]
fn secrets_are_masked_in_refusals() {
    for file in [
        "auth.secret = [\"hush\"]",
        "auth.tokens = [\"hush hush\"]",
        "auth.tokens = [\"\", \"hush\"]",
        "auth.token = \"hush\"",
        "auth = \"hush\"",
        "ice.servers = \"turn:user:hush@turn.example\"",
        "ice.servers = [{ urls = \"turn:user:hush@turn.example\" }]",
        "ice.servers = [{ urls = \"http://x\", credential = \"hush\" }]",
        "ice.servers = [{ urls = \"turn:x\", credential = \"hush\" }]",
        "ice.servers = [{ urls = \"turn:x\", username = \"u\", credential = [\"hush\"] }]",
        "ice.servers = [{ urls = \"turn:x\", credentials = \"hush\" }]",
        "ice_servers = [\"hush\"]",
        "http.allowed_origins = [\"https://user:hush@a.example\"]",
    ] {
        let text = refusal(file);
        assert!(!text.contains("hush"), "{file}: {text}");
    }
    let variables = [
        ("WHITEWATER_AUTH_TOKENS", "hush hush"),
        ("WHITEWATER_AUTH_TOKENS", "[\"hush"),
        ("WHITEWATER_ICE_SERVERS", "hush"),
    ];
    for variable in variables {
        let text = refusal_of(load_all("", &[variable], &[]));
        assert!(!text.contains("hush"), "{variable:?}: {text}");
    }
    let text = refusal_of(load_all("", &[], &[("auth.secret", "hush")]));
    assert!(
        text.contains("set it in the file or by WHITEWATER_AUTH_SECRET"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn printed_masks_are_refused_as_secrets() {
    let printed = effective(&from_file(SECRETS));
    let text = refusal(&printed);
    for key in [
        "auth.secret",
        "auth.tokens[0]",
        "ice.servers[0].credential",
        "ice.turn_secret",
    ] {
        assert!(text.contains(key), "{key}: {text}");
    }
    assert_eq!(text.matches("this is the mask").count(), 4, "{text}");
}

#[test]
fn ice_servers_are_judged_part_by_part() {
    let good = from_file(
        r#"ice.servers = [{ urls = "stun:a.example" }, { urls = ["turn:[2001:db8::1]:3478?transport=tcp", "turns:b.example:5349"], username = "u", credential = "c" }]"#,
    );
    assert_eq!(good.config.ice.servers[0].urls, ["stun:a.example"]);
    assert_eq!(good.config.ice.servers[1].urls.len(), 2);
    for (servers, expected) in [
        ("[{}]", "ice.servers[0] has no urls"),
        ("[{ urls = [] }]", "ice.servers[0] has no urls"),
        (
            "[{ urls = [\"stun:\"] }]",
            "ice.servers[0].urls[0] cannot be \"stun:\"",
        ),
        (
            "[{ urls = \"stun:a b\" }]",
            "ice.servers[0].urls cannot be \"stun:a b\"",
        ),
        (
            "[{ urls = \"stun:a\\r\\nx\" }]",
            "ice.servers[0].urls cannot be",
        ),
        (
            "[{ urls = \"turn:a\", username = \"u\" }]",
            "has one of username and credential without the other",
        ),
        ("[{ url = \"stun:a\" }]", "did you mean urls?"),
        (
            "[{ urls = \"stun:a\", username = 1 }]",
            "ice.servers[0].username cannot be 1",
        ),
        ("{ urls = \"stun:a\" }", "allowed: a list, each {"),
    ] {
        let text = refusal(&format!("ice.servers = {servers}\n"));
        assert!(text.contains(expected), "{servers}: {text}");
    }
}

// Printing.

#[test]
fn printed_configuration_is_loaded_back_unchanged() {
    let mut file = String::new();
    for section in SECTIONS {
        file += &format!("[{}]\n", section.name);
        // Masked values cannot come back; `ice.servers` has none here.
        let keys = KEYS.iter().filter(|key| key.section == section.name);
        for key in keys.filter(|key| !key.secret || key.name == "servers") {
            file += &format!("{} = {}\n", key.name, other_value(key));
        }
    }
    for file in ["", &file] {
        let first = from_file(file);
        let second = from_file(&effective(&first));
        assert_eq!(first.config, second.config);
    }
}

#[test]
fn printed_configuration_documents_each_key() {
    let printed = effective(&load_all("", &[], &[("media.shards", "3")]).unwrap());
    for key in Key::all() {
        let names = [
            format!("# Environment: {}\n", key.environment()),
            format!("# Default: {}\n", default_of(key)),
            format!("\n{} = ", key.name),
            format!("#{}\n", key.doc[0]),
        ];
        for name in names {
            assert!(printed.contains(&name), "{}: {name}", key.path());
        }
    }
    assert!(
        printed.contains("# Set by: flag --set\nshards = 3\n"),
        "{printed}"
    );
    assert!(printed.contains("# Flag: --udp\n# Set by: default\nudp = \"0.0.0.0:7777\"\n"));
}

#[test]
fn reference_in_the_docs_is_the_printed_one() {
    let docs = include_str!("../../docs/configuration.md");
    let hint =
        "docs/configuration.md is behind: whitewater config reference > docs/configuration.md";
    assert!(docs == reference(), "{hint}");
}

#[test]
fn example_of_the_reference_can_be_loaded() {
    let text = reference();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    assert_ne!(from_file(example).config, Config::default());
}

// Live777.

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
            "[[auth.accounts]]\nusername = \"a\"",
            "auth.accounts of Live777 has no counterpart",
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

// Values.

#[test]
fn host_names_are_in_lower_case_and_ipv6_addresses_in_brackets() {
    let hosts = from_file("http.hosts = [\"Studio.Example\", \"[2001:DB8::7]\"]")
        .config
        .http
        .hosts;
    let names: Vec<&str> = hosts.iter().map(|host| host.as_str()).collect();
    assert_eq!(names, ["studio.example", "[2001:db8::7]"]);
}

#[test]
fn an_address_alone_is_a_network_of_one() {
    let network = |text: &str| {
        let file = format!("http.trusted_proxies = [\"{text}\"]");
        from_file(&file).config.http.trusted_proxies[0]
    };
    assert_eq!(network("192.0.2.7").to_string(), "192.0.2.7/32");
}

#[test]
fn words_are_read_in_any_case_and_shown_in_lower_case() {
    let config = from_file("log.level = \"WARN\"\nsdp.video_codecs = [\"Vp9\"]\n").config;
    assert_eq!(config.log.level.as_str(), "warn");
    assert_eq!(config.sdp.video_codecs[0].as_str(), "vp9");
}
