//! What the house's rules ask for, as far as a machine can see it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Table;
use vertice_testkit::{files_below, root};

const PURE: [&str; 4] = ["model", "sigma", "intel", "engine"];
const STAGES: [&str; 5] = ["normalize", "detect", "gather", "triage", "decide"];

/// Who may depend on whom, within the workspace.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("sigma", &[]),
    ("intel", &["model"]),
    ("engine", &["model", "sigma", "intel"]),
    ("store", &["model", "engine"]),
    ("stream", &["model", "sigma"]),
    ("api", &["model", "engine", "store", "intel"]),
    ("responder", &["model", "engine"]),
    ("llm", &["model"]),
    ("vertice", &["model", "sigma", "intel", "engine", "store", "stream", "api", "responder", "llm"]),
    ("testkit", &[]),
    ("xtask", &[]),
];

/// What a pure crate must not reach, however far down: runtimes, sockets, files, databases, randomness.
const IMPURE: [&str; 12] = [
    "tokio",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "rusqlite",
    "libsqlite3-sys",
    "axum",
    "hyper",
    "ureq",
    "notify",
    "rand",
];

/// What the source of a pure crate must not name.
const IMPURE_NAMES: [&str; 12] = [
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "std::io::stdin",
    "TcpStream",
    "UdpSocket",
    "TcpListener",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "thread_rng",
];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn manifest(name: &str) -> Table {
    read(&root().join("crates").join(name).join("Cargo.toml")).parse().unwrap()
}

fn dependencies(manifest: &Table, kind: &str) -> Vec<String> {
    manifest.get(kind).and_then(|d| d.as_table()).map(|d| d.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn crates_depend_only_on_those_they_may() {
    for (name, may) in MAY_DEPEND {
        for dependency in dependencies(&manifest(name), "dependencies") {
            if let Some(inner) = dependency.strip_prefix("vertice-") {
                assert!(may.contains(&inner), "crate {name} must not depend on {inner}");
            }
        }
    }
    let crates = std::fs::read_dir(root().join("crates")).unwrap().count();
    assert_eq!(crates, MAY_DEPEND.len(), "a new crate needs a line in MAY_DEPEND");
}

#[test]
fn pure_crates_reach_nothing_impure() {
    let lock: Table = read(&root().join("Cargo.lock")).parse().unwrap();
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let needs = package.get("dependencies").and_then(|d| d.as_array()).into_iter().flatten();
        let needs = needs.filter_map(|d| d.as_str()?.split(' ').next());
        below.entry(package["name"].as_str().unwrap()).or_default().extend(needs);
    }
    for name in PURE {
        // The lock file mixes in what only tests need, so the walk starts at the manifest's own list.
        let mut todo = dependencies(&manifest(name), "dependencies");
        let mut seen = BTreeSet::new();
        while let Some(dependency) = todo.pop() {
            assert!(!IMPURE.contains(&dependency.as_str()), "pure crate {name} reaches {dependency}");
            if seen.insert(dependency.clone()) && !dependency.starts_with("vertice-") {
                todo.extend(below.get(dependency.as_str()).into_iter().flatten().map(|d| (*d).to_owned()));
            }
        }
    }
}

#[test]
fn pure_crates_name_nothing_impure() {
    for name in PURE {
        for file in files_below(&root().join("crates").join(name).join("src"), ".rs") {
            let text = read(&file);
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            if file.ends_with("tests.rs") || file.components().any(|c| c.as_os_str() == "tests") {
                continue;
            }
            for banned in IMPURE_NAMES {
                let named = code.lines().any(|l| !l.trim_start().starts_with("//") && l.contains(banned));
                assert!(!named, "{} names {banned}", file.display());
            }
        }
    }
}

#[test]
fn stages_do_not_import_each_other() {
    for stage in STAGES {
        for file in files_below(&root().join("crates/engine/src").join(stage), ".rs") {
            let text = read(&file);
            for other in STAGES.iter().filter(|s| **s != stage) {
                assert!(!text.contains(&format!("crate::{other}")), "{} imports stage {other}", file.display());
            }
        }
    }
}

#[test]
fn files_are_no_longer_than_600_lines() {
    for file in files_below(&root().join("crates"), ".rs") {
        let lines = read(&file).lines().count();
        assert!(lines <= 600, "{} has {lines} lines", file.display());
    }
}

#[test]
fn there_are_no_macros_no_build_scripts_and_no_unsafe_of_our_own() {
    let (macros, unsafety) = (["macro_rules", "!"].concat(), ["unsafe", " {"].concat());
    for file in files_below(&root().join("crates"), ".rs") {
        let text = read(&file);
        assert!(!text.contains(&macros), "{} has a macro", file.display());
        assert!(!text.contains(&unsafety), "{} has an unsafe block", file.display());
        assert!(!file.ends_with("build.rs") || file.components().any(|c| c.as_os_str() == "src"), "{}", file.display());
    }
}

#[test]
fn tests_do_not_sleep_and_are_not_ignored() {
    let banned = [["thread::", "sleep("].concat(), ["#[", "ignore"].concat()];
    for file in files_below(&root().join("crates"), ".rs") {
        let text = read(&file);
        for banned in &banned {
            assert!(!text.contains(banned.as_str()), "{} has {banned}", file.display());
        }
    }
}

#[test]
fn each_crate_has_one_integration_binary_at_most() {
    for (name, _) in MAY_DEPEND {
        let tests = root().join("crates").join(name).join("tests");
        let Ok(entries) = std::fs::read_dir(&tests) else { continue };
        let names: Vec<_> = entries.flatten().map(|e| e.file_name()).collect();
        assert!(names.iter().all(|n| n == "it"), "{}: {names:?}", tests.display());
    }
}

#[test]
fn every_crate_has_its_bounds_in_one_file() {
    for name in ["model", "sigma", "intel", "engine", "store", "stream", "api", "responder", "llm", "vertice"] {
        let limits = root().join("crates").join(name).join("src/limits.rs");
        assert!(limits.is_file(), "{} is missing", limits.display());
    }
}
