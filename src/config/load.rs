//! Reads settings from file, environment and flags, judges all of them, and lets the most specific
//! one win: flag, environment, file, default.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::compat::{OLD_ENVIRONMENT, OLD_KEYS, OldKey, WITHOUT_COUNTERPART};
use super::keys::{Config, ENVIRONMENT_PREFIX, KEYS, Key, SECTIONS};
use super::node::{Entry, Kind, Node, shorten};
use super::problem::{ConfigError, Place, Problem, nearest};

/// Where settings come from. Not `Debug`: the environment may hold secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file that was asked for; it must exist. `None`: `default_file`, if it exists.
    pub file: Option<PathBuf>,
    /// The file that is read when none was asked for.
    pub default_file: Option<PathBuf>,
    /// The whole environment; variables of others are left alone.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags in the order they are given.
    pub flags: Vec<Flag>,
}

/// One setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The full name of the key, as `http.listen`; not yet known to exist.
    pub path: String,
    /// Its value, lists separated by commas; `None` if it was forgotten.
    pub value: Option<String>,
    /// How it was written, for messages: `--listen`.
    pub written: String,
}

/// The configuration that is in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// What the operator should hear, one line each: old names, variables that are not read.
    pub notes: Vec<String>,
    /// Where each key of `KEYS` got its value.
    pub(crate) sources: Vec<Source>,
}

/// Where a key got its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// Somebody set it there.
    Set(Place),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Set(place) => place.fmt(f),
        }
    }
}

/// Reads and judges all settings.
///
/// # Errors
/// `Unreadable` when a file that was asked for cannot be read, `Refused` with every setting that is
/// unknown, malformed, out of bounds or given twice – also when a more specific one overrides it.
pub fn load(sources: &Sources) -> Result<Effective, ConfigError> {
    let mut loader = Loader {
        effective: Effective {
            config: Config::default(),
            notes: Vec::new(),
            sources: vec![Source::Default; KEYS.len()],
        },
        problems: Vec::new(),
    };
    if let Some((path, text)) = read_file(sources)? {
        loader.file(&path, &text);
    }
    loader.environment(&sources.environment);
    loader.flags(&sources.flags);
    if loader.problems.is_empty() {
        Ok(loader.effective)
    } else {
        Err(ConfigError::Refused(loader.problems))
    }
}

fn read_file(sources: &Sources) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let named = sources.file.clone().or_else(|| {
        let mut variables = sources.environment.iter();
        let (_, path) = variables.find(|(name, _)| name == FILE_VARIABLE)?;
        Some(PathBuf::from(path))
    });
    let (path, must_exist) = match (named, &sources.default_file) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path.clone(), false),
        (None, None) => return Ok(None),
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(cause) => Err(ConfigError::Unreadable(path, cause)),
    }
}

struct Loader {
    effective: Effective,
    problems: Vec<Problem>,
}

/// A setting whose key is known.
struct Setting<'a> {
    key: &'static Key,
    /// The name it was written under.
    written: &'a str,
    node: &'a Node,
    place: Place,
}

impl Loader {
    fn file(&mut self, path: &Path, text: &str) {
        let file = File { path, text };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => return self.problems.push(file.syntax_problem(&error)),
        };
        let mut seen = Vec::new();
        for entry in Node::entries(table.get_ref()) {
            let name = entry.name.as_str();
            let is_section = SECTIONS.iter().any(|section| section.name == name)
                || OLD_KEYS
                    .iter()
                    .any(|old| old.path.starts_with(&format!("{name}.")));
            match &entry.node.kind {
                Kind::Table(keys) if is_section => {
                    for key in keys {
                        self.file_key(&file, &format!("{name}.{}", key.name), key, &mut seen);
                    }
                }
                _ if is_section => self.problems.push(Problem {
                    place: file.place(&entry.name_span),
                    what: format!("{name} is a section, not a key"),
                    help: vec![format!(
                        "write [{name}] on a line of its own, its keys below"
                    )],
                }),
                Kind::Table(_) => {
                    let place = file.place(&entry.name_span);
                    let mut problem = unknown_key(name, place);
                    problem.what = format!("{} is not a section", shorten(name));
                    self.problems.push(problem);
                }
                _ => self.file_key(&file, name, &entry, &mut seen),
            }
        }
    }

    fn file_key(&mut self, file: &File<'_>, path: &str, entry: &Entry, seen: &mut Vec<Seen>) {
        let old = OLD_KEYS.iter().find(|old| old.path == path);
        let new_path = old.map_or(path, |old| old.new_path);
        let place = file.place(&entry.name_span);
        let Some(key) = Key::find(new_path) else {
            return self.problems.push(unknown_key(path, place));
        };
        if let Some(first) = seen.iter().find(|first| first.key == new_path) {
            return self.problems.push(Problem {
                place,
                what: format!("{path} sets {new_path} a second time"),
                help: vec![format!(
                    "{} sets it as {}: keep one",
                    first.place, first.written
                )],
            });
        }
        seen.push(Seen {
            key: new_path.to_owned(),
            written: path.to_owned(),
            place: place.clone(),
        });
        let converted = match old {
            None => entry.node.clone(),
            Some(old) => match (old.convert)(entry.node.clone()) {
                Ok(node) => node,
                Err(allowed) => {
                    return self.problems.push(old_value(
                        old,
                        file.place(&entry.node.span),
                        allowed,
                    ));
                }
            },
        };
        if let Some(old) = old {
            let hint = format!("{place}: {path} is now {new_path} ({})", old.about);
            self.effective.notes.push(hint);
        }
        let setting = Setting {
            key,
            written: path,
            node: &converted,
            place,
        };
        self.apply(setting, |span| file.place(span));
    }

    fn environment(&mut self, environment: &[(OsString, OsString)]) {
        let mut variables: Vec<_> = environment.iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            if let Some((_, new)) = OLD_ENVIRONMENT.iter().find(|(old, _)| *old == name) {
                self.effective
                    .notes
                    .push(format!("environment {name} is not read: set {new}"));
            }
            if !name.starts_with(ENVIRONMENT_PREFIX) || name == FILE_VARIABLE {
                continue;
            }
            let place = Place::Environment(name.to_owned());
            let Some(key) = KEYS.iter().find(|key| key.environment() == name) else {
                if !is_service_link(name) {
                    self.problems.push(unknown_variable(name, place));
                }
                continue;
            };
            let Some(value) = value.to_str() else {
                self.problems.push(Problem {
                    place,
                    what: format!("{} is not UTF-8", key.path()),
                    help: vec![format!("allowed: {}", key.allowed())],
                });
                continue;
            };
            self.loose(key, value, place);
        }
    }

    fn flags(&mut self, flags: &[Flag]) {
        for (index, flag) in flags.iter().enumerate() {
            let place = Place::Flag(flag.written.clone());
            let Some(key) = Key::find(&flag.path) else {
                self.problems.push(unknown_key(&flag.path, place));
                continue;
            };
            let earlier = flags
                .iter()
                .take(index)
                .find(|earlier| earlier.path == flag.path);
            if let Some(earlier) = earlier {
                self.problems.push(Problem {
                    place,
                    what: format!("{} is set a second time", flag.path),
                    help: vec![format!("flag {} sets it too: keep one", earlier.written)],
                });
            } else if key.secret {
                self.problems.push(Problem {
                    place,
                    what: format!(
                        "{} is a secret: every user of the machine can read flags",
                        flag.path
                    ),
                    help: vec![format!("set it in the file or by {}", key.environment())],
                });
            } else if let Some(value) = &flag.value {
                self.loose(key, value, place);
            } else {
                self.problems.push(Problem {
                    place,
                    what: "has no value".to_owned(),
                    help: vec![format!("write --set {}=<value>", flag.path)],
                });
            }
        }
    }

    /// Applies a setting that is not in a file.
    fn loose(&mut self, key: &'static Key, value: &str, place: Place) {
        let node = Node::from_text(value, key.shape);
        let path = key.path();
        let setting = Setting {
            key,
            written: &path,
            node: &node,
            place: place.clone(),
        };
        self.apply(setting, |_| place.clone());
    }

    fn apply(&mut self, setting: Setting<'_>, place_of: impl Fn(&std::ops::Range<usize>) -> Place) {
        let Setting {
            key,
            written,
            node,
            place,
        } = setting;
        match (key.read)(&mut self.effective.config, node, &key.range) {
            Ok(()) => {
                let index = KEYS.iter().position(|other| std::ptr::eq(other, key));
                if let Some(source) = index.and_then(|at| self.effective.sources.get_mut(at)) {
                    *source = Source::Set(place);
                }
            }
            Err(refused) => {
                let mut help = vec![format!("allowed: {}", refused.allowed)];
                help.extend(refused.hint.map(|hint| format!("hint: {hint}")));
                self.problems.push(Problem {
                    place: place_of(&refused.span),
                    what: format!("{written}{} {}", refused.path, refused.complaint),
                    help,
                });
            }
        }
    }
}

/// A key that stands in the file already.
struct Seen {
    key: String,
    written: String,
    place: Place,
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, span: &std::ops::Range<usize>) -> Place {
        Place::in_file(self.path.to_owned(), self.text, span)
    }

    /// Says what TOML's rules forbid. The line is not repeated: it may be part of a secret.
    fn syntax_problem(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or(0..0);
        let key = self.key_before(span.start);
        Problem {
            place: self.place(&span),
            what: match key {
                Some(key) => format!("not TOML, near {key}: {}", error.message()),
                None => format!("not TOML: {}", error.message()),
            },
            help: Vec::new(),
        }
    }

    /// The known key the line at this offset sets.
    fn key_before(&self, offset: usize) -> Option<&'static str> {
        let before = self.text.get(..offset)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(line_start..)?.lines().next()?;
        let name = line.split('=').next()?.trim();
        KEYS.iter().map(|key| key.name).find(|known| *known == name)
    }
}

fn unknown_key(path: &str, place: Place) -> Problem {
    let mut help = Vec::new();
    let gone = |known: &&&str| path == **known || path.starts_with(&format!("{known}."));
    let (section, name) = path.split_once('.').unwrap_or(("", path));
    let known: Vec<&str> = KEYS
        .iter()
        .filter(|key| key.section == section)
        .map(|key| key.name)
        .collect();
    if let Some(known) = WITHOUT_COUNTERPART.iter().find(gone) {
        help.push(format!(
            "{known} of Live777 has no counterpart here: remove it"
        ));
    } else if let Some(near) = nearest_key(section, name) {
        help.push(format!("did you mean {near}?"));
    }
    if known.is_empty() {
        let sections: Vec<String> = SECTIONS
            .iter()
            .map(|section| format!("[{}]", section.name))
            .collect();
        help.push(format!("known sections: {}", sections.join(", ")));
    } else {
        help.push(format!("known keys of [{section}]: {}", known.join(", ")));
    }
    Problem {
        place,
        what: format!("{} is not a key", shorten(path)),
        help,
    }
}

/// The full name of the key that was probably meant: near in the same section, of the same name in
/// another one, or in a section of nearly the same name.
fn nearest_key(section: &str, name: &str) -> Option<String> {
    let in_section = |section: &str| {
        let keys = KEYS.iter().filter(move |key| key.section == section);
        nearest(name, keys.map(|key| key.name))
    };
    if let Some(near) = in_section(section) {
        return Some(format!("{section}.{near}"));
    }
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return Some(key.path());
    }
    let wanted = if section.is_empty() { name } else { section };
    let others = SECTIONS.iter().map(|other| other.name);
    let near = nearest(wanted, others.filter(|other| *other != section))?;
    Some(match in_section(near) {
        Some(key) => format!("{near}.{key}"),
        None => format!("[{near}]"),
    })
}

fn unknown_variable(name: &str, place: Place) -> Problem {
    let names: Vec<String> = KEYS.iter().map(Key::environment).collect();
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let near = nearest(name, lower.iter().map(String::as_str)).map(str::to_uppercase);
    Problem {
        place,
        what: "sets no key".to_owned(),
        help: vec![match near {
            Some(near) => format!("did you mean {near}?"),
            None => "names are WHITEWATER_<SECTION>_<KEY>, as WHITEWATER_HTTP_LISTEN".to_owned(),
        }],
    }
}

fn old_value(old: &OldKey, place: Place, allowed: &str) -> Problem {
    Problem {
        place,
        what: format!("{} cannot be used", old.path),
        help: vec![
            format!("allowed: {allowed}"),
            format!("hint: the key is now {} ({})", old.new_path, old.about),
        ],
    }
}

/// Whether a variable looks like those Kubernetes sets in every pod for a service called
/// `whitewater` or `whitewater-…`: `…_SERVICE_HOST`, `…_PORT_7777_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let name = name
        .strip_suffix("_TCP")
        .or_else(|| name.strip_suffix("_UDP"))
        .unwrap_or(name);
    let ends = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];
    let protocol = ["_TCP_", "_UDP_"]
        .iter()
        .any(|protocol| name.contains(protocol));
    let numbered = name
        .rsplit_once("_PORT_")
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    ends.iter().any(|end| name.ends_with(end))
        || name.contains("_SERVICE_PORT_")
        || numbered
        || (protocol && name.contains("_PORT_"))
}

/// The variable that names the file, as `--config` does.
const FILE_VARIABLE: &str = "WHITEWATER_CONFIG";
