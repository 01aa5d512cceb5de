//! The configuration as text: what is in force, and the reference of all keys.

use super::compat::OLD_KEYS;
use super::keys::{Config, KEYS, Key, SECTIONS};
use super::load::Effective;

/// The configuration in force as TOML, every key with its documentation and where it was set.
///
/// Secrets are masked; a mask that is loaded again is refused.
pub fn effective(effective: &Effective) -> String {
    let defaults = Config::default();
    let mut text = format!(
        "# Configuration of whitewater {}.\n",
        env!("CARGO_PKG_VERSION")
    );
    for section in SECTIONS {
        text += "\n";
        for line in section.doc {
            text += &format!("#{line}\n");
        }
        text += &format!("[{}]\n", section.name);
        let keys = KEYS.iter().zip(&effective.sources);
        for (key, source) in keys.filter(|(key, _)| key.section == section.name) {
            text += "\n";
            for line in key.doc {
                text += &format!("#{line}\n");
            }
            for (name, value) in facts(key, &defaults) {
                text += &format!("# {name}: {value}\n");
            }
            text += &format!("# Set by: {source}\n");
            text += &format!("{} = {}\n", key.name, (key.render)(&effective.config));
        }
    }
    text
}

/// The reference of all keys in Markdown, as it stands in `docs/configuration.md`.
pub fn reference() -> String {
    let defaults = Config::default();
    let mut text = INTRODUCTION.to_owned();
    for section in SECTIONS {
        text += &format!("\n## [{}]\n\n{}\n", section.name, joined(section.doc));
        for key in KEYS.iter().filter(|key| key.section == section.name) {
            text += &format!("\n### {}\n\n{}\n\n", key.path(), joined(key.doc));
            for (name, value) in facts(key, &defaults) {
                let code = !matches!(name, "Unit" | "Allowed");
                let quote = if code { "`" } else { "" };
                text += &format!("- {name}: {quote}{value}{quote}\n");
            }
            if key.secret {
                text += "- Secret: masked when shown, refused as a flag\n";
            }
        }
    }
    text += OLD_NAMES;
    for old in OLD_KEYS {
        text += &format!("| `{}` | `{}` | {} |\n", old.path, old.new_path, old.about);
    }
    text
}

/// What is known of a key beyond its documentation, by name.
fn facts(key: &Key, defaults: &Config) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if !key.unit.is_empty() {
        facts.push(("Unit", key.unit.to_owned()));
    }
    facts.push(("Allowed", key.allowed()));
    facts.push(("Default", (key.render)(defaults)));
    facts.push(("Environment", key.environment()));
    if !key.flag.is_empty() {
        facts.push(("Flag", format!("--{}", key.flag)));
    }
    facts
}

fn joined(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines.join("\n")
}

const INTRODUCTION: &str = r#"# Configuration

<!-- Printed by `whitewater config reference`; a test compares the two. Edit src/config/keys.rs. -->

Every key below can be set in three places. The first one that sets a key wins:

1. a flag: the key's own one, or `--set section.key=value` for any key that is not a secret;
2. an environment variable, `WHITEWATER_<SECTION>_<KEY>`;
3. the file: the one `--config` (or `WHITEWATER_CONFIG`) names, which must exist, or else
   `whitewater.toml` in the current directory, if there is one.

Without any of them the defaults hold: the node works on a laptop, and its HTTP side is reachable
from that machine only.

```toml
[http]
listen = "0.0.0.0:7777"

[media]
advertise = ["203.0.113.7"]

[auth]
tokens = ["choose-a-long-random-text"]
```

Lists in flags and variables are separated by commas, or written as a TOML array; lists of tables
are always written as a TOML array.

An unknown key, a value that is not allowed and a key that is set twice are refused at start, with
the place and what would be allowed; so are unknown variables that start with `WHITEWATER_`, except
those Kubernetes sets for services. `whitewater config check` tells whether the configuration can be
used, `whitewater config print` shows the one in force and which place set each key.
"#;

const OLD_NAMES: &str = "
## Keys of Live777

A configuration file of Live777 can be used once the keys without a counterpart are removed. Most
keys have the same name and meaning; one default differs: without `http.listen` only this machine
can connect. The keys below have another name here; the old one is accepted with a hint, but not
together with the new one. The variables `PORT` and `LOG_LEVEL` are not read.

| Old name | Name here | Value |
|---|---|---|
";
