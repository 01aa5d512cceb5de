//! Documents name what exists: links, routes, keys, tests, steps.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files under `folder` whose name ends with `ending`, but others' and those that git ignores.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    const IGNORED: &[&str] = &[
        "target",
        "vendor",
        "node_modules",
        ".git",
        ".venv",
        "corpus",
        "artifacts",
    ];
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() && !IGNORED.contains(&name.as_str()) {
            files(&entry.path(), ending, found);
        } else if kind.is_file() && name.ends_with(ending) {
            found.push(entry.path());
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(root(), ".md", &mut found);
    assert!(found.len() > 10, "{found:?}");
    found
}

/// The lines outside code blocks, each with its number.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The targets of all inline links and pictures of a line.
fn links(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, open)| line[at + open.len()..].split(')').next())
        .collect()
}

/// GitHub's anchor of a heading: lower case, blanks as hyphens, nothing but letters, digits,
/// hyphens and underscores.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => c.to_lowercase().next(),
            _ => None,
        })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|rest| anchor(rest.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    let mut broken = Vec::new();
    for document in documents() {
        let text = read(&document);
        for (number, line) in prose(&text) {
            for link in links(line) {
                if link.starts_with("http://") || link.starts_with("https://") {
                    continue;
                }
                checked += 1;
                let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
                let target = match path {
                    "" => document.clone(),
                    path => document.parent().expect("a folder").join(path),
                };
                let found = target.exists()
                    && (fragment.is_empty() || anchors(&read(&target)).contains(fragment));
                if !found {
                    broken.push(format!("{}:{number}: {link}", document.display()));
                }
            }
        }
    }
    assert!(checked > 20, "only {checked} links were found");
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn every_route_is_described() {
    let source = read("control/src/http/router.rs");
    let table = source
        .split("const ROUTES")
        .nth(1)
        .expect("the table of routes");
    let table = table.split("];").next().expect("its end");
    let routes: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(routes.len() > 10, "{routes:?}");
    for document in ["docs/api.md", "README.md"] {
        let text = read(document);
        for route in &routes {
            assert!(text.contains(route), "{document} does not have {route}");
        }
    }
}

#[test]
fn every_metric_is_described() {
    let text = read("docs/deployment.md");
    let mut names: BTreeSet<String> = BTreeSet::new();
    let source = ["control/src/metrics.rs", "control/src/metrics/quality.rs"].map(read);
    for part in source.iter().flat_map(|text| text.split('"')) {
        let ours = part.starts_with("whitewater_") || part.starts_with("live777_");
        let name = part
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if ours && name {
            names.insert(part.to_owned());
        }
    }
    assert!(names.len() > 20, "{names:?}");
    // Two that belong together are written as one name and the other's ending.
    let endings = [
        "_bytes_total",
        "_findings_total",
        "_unconnected",
        "_closing",
    ];
    let own = ["whitewater_stream_list_renderings_total"];
    for name in &names {
        let short = endings
            .iter()
            .any(|ending| name.ends_with(ending) && text.contains(ending));
        let described = text.contains(name.as_str()) || short || own.contains(&name.as_str());
        assert!(described, "docs/deployment.md does not have {name}");
    }
}

#[test]
fn tests_that_prove_conformance_exist() {
    let mut rust = Vec::new();
    for folder in ["control", "dataplane", "tests", "src"] {
        files(&root().join(folder), ".rs", &mut rust);
    }
    let mut script = Vec::new();
    for folder in ["control/web/tests", "tests/browser"] {
        files(&root().join(folder), ".test.mjs", &mut script);
    }
    let rust: String = rust.iter().map(read).collect();
    let script: String = script.iter().map(read).collect();
    let exists = |name: &str| {
        let title = ['\'', '"', '`'].map(|quote| format!("{quote}{name}{quote}"));
        rust.contains(&format!("fn {name}(")) || title.iter().any(|title| script.contains(title))
    };
    let text = read("docs/conformance.md");
    let mut rows = BTreeSet::new();
    let mut named = BTreeSet::new();
    for (number, line) in prose(&text) {
        let at = format!("docs/conformance.md:{number}");
        let Some(cells) = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix(" |"))
        else {
            continue;
        };
        let cells: Vec<&str> = cells.split(" | ").collect();
        if !["W-", "E-", "X-"]
            .iter()
            .any(|kind| cells[0].starts_with(kind))
        {
            continue;
        }
        let [row, level, status, rule, tests] = cells[..] else {
            panic!("{at}: {} columns", cells.len());
        };
        assert!(rows.insert(row.to_owned()), "{at}: {row} stands twice");
        assert!(["M", "S", "D", "O"].contains(&level), "{at}: {level}");
        assert!(!rule.is_empty(), "{at}: no rule");
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        match status {
            "holds" => assert!(!tests.is_empty(), "{at}: {row} has no test"),
            "not applicable" => assert!(tests.is_empty(), "{at}: {row} has a test"),
            "open" => {}
            _ => panic!("{at}: {status} is no status"),
        }
        for name in tests {
            assert!(exists(name), "{at}: no test {name}");
            named.insert(name.to_owned());
        }
    }
    // The lists of RFC 9725 and of the WHEP drafts do not become shorter.
    assert!(rows.len() >= 237, "{} rows", rows.len());
    assert!(named.len() > 100, "{named:?}");
}

#[test]
fn tests_that_guard_what_is_gone_around_exist() {
    let source = read("dataplane/engine/tests/contract.rs");
    let text = read("docs/architecture.md");
    let table = text.split("Guarded by |").nth(1).expect("the table");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let mut checked = 0;
    for row in rows {
        let guards = row.rsplit(" | ").next().unwrap_or_default();
        for name in guards.split('`').skip(1).step_by(2) {
            if name.contains('/') {
                continue;
            }
            assert!(source.contains(&format!("fn {name}(")), "no test {name}");
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} names were found");
}

#[test]
fn keys_that_documents_name_are_keys() {
    let reference = read("docs/configuration.md");
    let keys: BTreeSet<&str> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let sections: BTreeSet<&str> = keys
        .iter()
        .filter_map(|key| key.split('.').next())
        .collect();
    assert!(keys.len() > 30, "{keys:?}");
    for document in documents() {
        let document = document
            .strip_prefix(root())
            .expect("inside the root")
            .to_owned();
        // These two speak of Live777's names as well, or of what once was.
        if ["docs/configuration.md", "CHANGELOG.md"]
            .iter()
            .any(|own| document == Path::new(own))
        {
            continue;
        }
        for (number, line) in prose(&read(&document)) {
            for word in line.split('`').skip(1).step_by(2) {
                let word = word.split([' ', '=']).next().unwrap_or_default();
                let Some((section, key)) = word.split_once('.') else {
                    continue;
                };
                let plain = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                let file = ["rs", "toml", "md", "js", "mjs", "py", "sh", "bundle"].contains(&key);
                // http.cors and publish.leaveAt are Live777's.
                let other =
                    ["http.cors"].contains(&word) || document == Path::new("docs/architecture.md");
                if sections.contains(section) && plain && !key.is_empty() && !file && !other {
                    assert!(
                        keys.contains(word),
                        "{}:{number}: no key {word}",
                        document.display()
                    );
                }
            }
        }
    }
}

#[test]
fn the_readme_has_one_command_to_serve_and_one_to_test() {
    let text = read("README.md");
    for (mark, command) in [("serves", "cargo run --release"), ("tests", "tests/run")] {
        let block = format!("<!-- ci: {mark} -->\n```sh\n{command}\n```\n");
        assert_eq!(text.matches(&block).count(), 1, "{block}");
    }
    assert!(root().join("tests/run").exists());
    assert!(read(".ci/run").contains("README.md"));
}

#[test]
fn steps_that_documents_name_are_steps() {
    let script = read("tests/run");
    let list = |name: &str| {
        let rest = script.split(name).nth(1).expect("a list of steps");
        rest.split(')').next().unwrap_or_default()
    };
    let lists = [list("\nSTEPS=("), list("\nOTHERS=(")];
    let steps: Vec<&str> = lists
        .iter()
        .flat_map(|list| list.split_whitespace())
        .collect();
    assert!(steps.contains(&"test"), "{steps:?}");
    for document in documents() {
        for line in read(&document).lines() {
            let Some(rest) = line.strip_prefix("tests/run ") else {
                continue;
            };
            let words = rest
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            for word in words {
                assert!(steps.contains(&word), "{}: {line}", document.display());
            }
        }
    }
}
