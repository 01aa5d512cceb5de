//! Keys and where their values come from; what else there is, by subject.

mod live777;
mod print;
mod refusals;
mod secrets;

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
        "http.listen" | "http.admin_listen" | "media.udp" | "tls.redirect_listen" => {
            r#""[::1]:7000""#
        }
        "tls.certificate" | "tls.key" => r#""/etc/x.pem""#,
        "http.allowed_origins" => r#"["https://a.example", "http://b.example:8080"]"#,
        "http.hosts" => r#"["studio.example", "192.0.2.7"]"#,
        "http.trusted_proxies" => r#"["10.0.0.0/8", "2001:db8::1/128"]"#,
        "cascade.allow" => r#"["10.0.0.0/8", "2001:db8::1/128", "origin.example"]"#,
        "media.advertise" => r#"["192.0.2.7", "2001:db8::7"]"#,
        "media.backend" => r#""tokio-uring""#,
        "ice.servers" => r#"[{ urls = ["stun:stun.example:3478"] }]"#,
        "publish.takeover" => r#""always""#,
        "play.absent" => r#""refuse""#,
        "auth.metrics" => r#""manage""#,
        "auth.tokens" => r#"["t0ken-one", "t0ken-two"]"#,
        "publish.redirect" | "play.redirect" => r#""https://b.example/{stream}""#,
        "ice.turn_credential_ttl_s" => "3600",
        "auth.secret" | "ice.turn_secret" | "cluster.etcd_password" => r#""k3y""#,
        "auth.publish_tokens" | "auth.watch_tokens" => r#"["t0ken-three"]"#,
        "auth.tokens_file" | "auth.revocations_file" | "auth.jwks_ca_file" | "cascade.ca_file" => {
            r#""/etc/x""#
        }
        "auth.key_files" => r#"["/etc/a.pem", "/etc/b.json"]"#,
        "auth.jwks_url" => r#""https://id.example/keys""#,
        "auth.issuers" | "auth.audiences" => r#"["https://id.example"]"#,
        "sdp.video_codecs" => r#"["h264", "av1"]"#,
        "sdp.audio_codecs" => r#"["opus"]"#,
        "forward.audio_red" => r#""make""#,
        "log.level" => r#""trace""#,
        "node.alias" | "node.region" => r#""eu-1""#,
        "node.pub_max" | "node.sub_max" => "7",
        "node.url" => r#""http://10.0.0.1:7777""#,
        "cluster.etcd" => r#"["http://10.0.0.2:2379", "https://etcd.example"]"#,
        "cluster.ca_file" => r#""/etc/x""#,
        "cluster.etcd_username" => r#""whitewater""#,
        "manager.listen" => r#""[::1]:8000""#,
        "manager.nodes" => r#"[{ alias = "a", url = "http://10.0.0.1:7777", region = "eu" }]"#,
        "manager.node_token" | "manager.red5_token" => r#""t0ken-four""#,
        "manager.calls" => r#""redirect""#,
        "manager.accounts" => r#"[{ username = "a", password = "b" }]"#,
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
            Some("us") => "microseconds",
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

// Values.

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
