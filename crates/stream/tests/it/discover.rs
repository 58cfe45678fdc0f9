//! Which sources a host has.

use std::fs;
use std::path::Path;

use vertice_stream::{Local, discover};

use crate::support::write;

#[test]
fn an_empty_host_has_none_and_says_where_it_looked() {
    let root = tempfile::tempdir().unwrap();
    let found = discover(root.path());
    assert!(found.sources.is_empty());
    assert!(found.missing.len() >= 12 && found.missing.iter().all(|m| m.reason == "not there"), "{found:?}");
}

#[test]
fn what_is_there_is_found_and_what_can_not_be_read_named() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, b"");
    };
    for path in [
        "var/log/auth.log",
        "var/log/suricata/eve.json",
        "opt/zeek/logs/current/conn.log",
        "opt/zeek/logs/current/stats.log",
        "opt/zeek/logs/current/notes.txt",
        "usr/bin/journalctl",
        "var/log/journal/machine/system.journal",
    ] {
        put(path);
    }
    fs::create_dir_all(root.path().join("var/log/nginx/access.log")).unwrap();
    let found = discover(root.path());
    let short = |path: &Path| path.strip_prefix(root.path()).unwrap().display().to_string();
    let sources: Vec<String> = found
        .sources
        .iter()
        .map(|source| match source {
            Local::File { what, path } => format!("{what} {}", short(path)),
            Local::Journal { program } => format!("journal {}", short(program)),
        })
        .collect();
    assert_eq!(
        sources,
        [
            "authentication var/log/auth.log",
            "Suricata var/log/suricata/eve.json",
            "Zeek opt/zeek/logs/current/conn.log",
            "journal usr/bin/journalctl",
        ]
    );
    let nginx = found.missing.iter().find(|m| m.what == "nginx").unwrap();
    assert_eq!(nginx.reason, "no file");
    fs::remove_file(root.path().join("var/log/journal/machine/system.journal")).unwrap();
    let missing = discover(root.path()).missing;
    assert!(missing.iter().any(|m| m.what == "journal" && m.reason == "no journal in it"), "{missing:?}");
}
