//! Rules of the code base that the compiler does not know: which crate may use which, where
//! `unsafe` and clocks may be, how long a file may get.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

#[test]
fn crates_use_only_what_their_arrows_point_to() {
    let metadata = metadata();
    let mut seen = Vec::new();
    for package in members(&metadata) {
        let Some((_, allowed)) = ARROWS
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
        else {
            panic!("{} has no line in ARROWS", package.name);
        };
        seen.push(package.name.as_str());
        for used in normal(package).filter(|name| name.starts_with("whitewater")) {
            assert!(
                allowed.contains(&used),
                "{} → {used} is a new arrow",
                package.name
            );
        }
    }
    for (name, _) in ARROWS {
        assert!(
            seen.contains(name),
            "ARROWS speaks of {name}, which does not exist"
        );
    }
}

#[test]
fn outside_crates_stay_where_they_belong() {
    let metadata = metadata();
    for (foreign, homes) in HOMES {
        let mut found = false;
        for package in members(&metadata) {
            let mut dependencies = normal(package).filter(|name| matches(foreign, name));
            if let Some(name) = dependencies.next() {
                assert!(
                    homes.contains(&package.name.as_str()),
                    "{} uses {name}",
                    package.name
                );
                found = true;
            }
        }
        assert!(found, "nobody uses {foreign} any more: its line can go");
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere_but_in_two_files() {
    let metadata = metadata();
    for package in members(&metadata) {
        for target in &package.targets {
            if !(target.is_lib() || target.is_bin()) {
                continue;
            }
            let text = std::fs::read_to_string(&target.src_path).expect("a source file");
            let forbids = code(&text).any(|(_, line)| line == "#![forbid(unsafe_code)]");
            let exempt = package.name.as_str() == "whitewater-net";
            assert!(
                forbids != exempt,
                "{}: #![forbid(unsafe_code)]",
                target.src_path
            );
        }
    }
    for (path, text) in sources() {
        if UNSAFE_FILES.contains(&path.as_str()) {
            continue;
        }
        if let Some((number, line)) = code(&text).find(|(_, line)| is_unsafe(line)) {
            panic!("{path}:{number}: {line}");
        }
    }
}

#[test]
fn nothing_is_left_undone() {
    for (path, text) in sources() {
        for (number, line) in code(&text) {
            for macro_name in ["todo!", "unimplemented!", "dbg!"] {
                // Its own list of names is no use of them.
                let used = line.contains(&format!("{macro_name}("));
                assert!(!used, "{path}:{number}: {line}");
            }
        }
    }
}

#[test]
fn sans_io_crates_read_no_clock_and_never_sleep() {
    let mut count = 0;
    for (path, text) in sources() {
        if !SANS_IO.iter().any(|folder| path.starts_with(folder)) || is_test_file(&path) {
            continue;
        }
        count += 1;
        for (number, line) in code(before_tests(&text)) {
            for banned in ["Instant::now", "SystemTime::now", "thread::sleep"] {
                assert!(!line.contains(banned), "{path}:{number}: {line}");
            }
        }
    }
    assert!(count > 50, "only {count} files were looked at");
}

#[test]
fn files_stay_short_enough_to_be_read() {
    for (path, text) in sources() {
        let count = before_tests(&text).lines().count();
        let long = count > LINES_MAX && !is_test_file(&path);
        assert!(
            !long,
            "{path} has {count} lines before its tests, split it by noun"
        );
    }
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert!(is_unsafe("let x = unsafe { y() };"));
    assert!(is_unsafe("pub unsafe fn y() {"));
    assert!(is_unsafe("unsafe impl Send for X {}"));
    assert!(!is_unsafe("#![forbid(unsafe_code)]"));
    let text = "//! unsafe {\n  /// text\nlet a = 1; // unsafe {\n#[cfg(test)]\nmod tests {}\n";
    let lines: Vec<_> = code(text).collect();
    assert_eq!(
        lines,
        [(3, "let a = 1;"), (4, "#[cfg(test)]"), (5, "mod tests {}")]
    );
    assert_eq!(before_tests(text).lines().count(), 3);
    assert_eq!(before_tests("a\n"), "a\n");
    assert!(matches("serde*", "serde_json") && matches("serde*", "serde"));
    assert!(!matches("http", "httpdate"));
    assert!(is_test_file("src/config/tests.rs") && is_test_file("tests/wire/main.rs"));
    assert!(is_test_file("control/model/src/cluster/tests/placement.rs"));
    assert!(!is_test_file("tests/simnet/src/world.rs") && !is_test_file("src/main.rs"));
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata")
}

/// The workspace's own packages; patched copies of others' are not ours to judge.
fn members(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    let ours = |package: &&Package| package.name.starts_with("whitewater");
    metadata.workspace_packages().into_iter().filter(ours)
}

fn normal(package: &Package) -> impl Iterator<Item = &str> {
    let shipped = package
        .dependencies
        .iter()
        .filter(|d| d.kind == DependencyKind::Normal);
    shipped.map(|dependency| dependency.name.as_str())
}

/// `pattern` may end in `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// Every source file of ours: its path below the root, with slashes, and its text.
fn sources() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                if !SKIPPED.contains(&name) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root()).expect("below the root");
                let below = below.to_str().expect("UTF-8").replace('\\', "/");
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                files.insert(below, text);
            }
        }
    }
    assert!(
        files.contains_key("src/main.rs") && files.len() > 100,
        "{} files",
        files.len()
    );
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Lines with code on them, counted from one, without comments and indentation.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().zip(1..).map(|(line, number)| {
        let line = line.split("//").next().unwrap_or_default().trim();
        (number, line)
    });
    lines.filter(|(_, line)| !line.is_empty())
}

/// What stands before a file's own tests, which are at its end.
fn before_tests(text: &str) -> &str {
    match text.find("\n#[cfg(test)]\n") {
        Some(end) => &text[..=end],
        None => text,
    }
}

fn is_test_file(path: &str) -> bool {
    let tested = path.starts_with("tests/") && !path.starts_with("tests/simnet/");
    tested || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn is_unsafe(line: &str) -> bool {
    const FORMS: &[&str] = &["{", "fn ", "impl ", "impl<", "extern ", "trait "];
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("unsafe ") {
        if FORMS.iter().any(|form| after.starts_with(form)) {
            return true;
        }
        rest = after;
    }
    line.contains("#[unsafe(")
}

/// What each crate may use of ours.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "whitewater",
        &[
            "whitewater-dataplane",
            "whitewater-control",
            "whitewater-link",
            "whitewater-load",
        ],
    ),
    ("whitewater-load", &["whitewater-srtp", "whitewater-rtp"]),
    (
        "whitewater-dataplane",
        &[
            "whitewater-engine",
            "whitewater-net",
            "whitewater-link",
            "whitewater-sdp",
        ],
    ),
    (
        "whitewater-engine",
        &[
            "whitewater-sdp",
            "whitewater-srtp",
            "whitewater-rtp",
            "whitewater-bwe",
            "whitewater-data",
            "whitewater-link",
        ],
    ),
    (
        "whitewater-control",
        &["whitewater-model", "whitewater-link"],
    ),
    ("whitewater-model", &["whitewater-link"]),
    ("whitewater-link", &[]),
    ("whitewater-net", &[]),
    ("whitewater-sdp", &[]),
    ("whitewater-srtp", &[]),
    ("whitewater-rtp", &[]),
    ("whitewater-bwe", &[]),
    ("whitewater-data", &["whitewater-link"]),
    (
        "whitewater-simnet",
        &[
            "whitewater-engine",
            "whitewater-link",
            "whitewater-model",
            "whitewater-rtp",
            "whitewater-srtp",
        ],
    ),
];

/// Who may use what is not ours, tests aside.
const HOMES: &[(&str, &[&str])] = &[
    (
        "str0m",
        &["whitewater-engine", "whitewater-load", "whitewater-simnet"],
    ),
    ("sctp-proto", &["whitewater-data"]),
    ("hyper*", &["whitewater-control", "whitewater-load"]),
    ("serde*", &["whitewater-control", "whitewater-load"]),
    ("http-body*", &["whitewater-control", "whitewater-load"]),
    ("nix", &["whitewater-load"]),
    ("tokio-uring", &["whitewater-net"]),
    ("io-uring", &["whitewater-net"]),
    ("libc", &["whitewater-net"]),
    ("aws-lc-rs", &["whitewater-control", "whitewater-srtp"]),
    ("rustls*", &["whitewater-control", "whitewater-load"]),
    ("tokio-rustls", &["whitewater-control"]),
    ("rcgen", &["whitewater-control"]),
    ("clap", &["whitewater", "whitewater-load"]),
    ("toml", &["whitewater"]),
];

const UNSAFE_FILES: &[&str] = &[
    "dataplane/net/src/sys.rs",
    "dataplane/net/src/slab.rs",
    // Its own examples of what to look for.
    "tests/tidy.rs",
];

/// Time is an argument in these.
const SANS_IO: &[&str] = &[
    "dataplane/engine/src/",
    "dataplane/sdp/src/",
    "dataplane/rtp/src/",
    "dataplane/bwe/src/",
    "dataplane/data/src/",
    "dataplane/srtp/src/",
    "dataplane/link/src/",
    "control/model/src/",
];

/// Not ours, or not source.
const SKIPPED: &[&str] = &["target", "vendor", "node_modules"];

const LINES_MAX: usize = 800;
