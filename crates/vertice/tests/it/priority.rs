//! What was sent is accepted first and judged after: the kernel is told so.

use std::collections::BTreeMap;

use crate::process::Server;

/// What proc(5) says of a thread.
struct Thread {
    name: String,
    nice: i64,
    ran_ns: u64,
}

/// The threads of a process by their numbers.
fn threads(pid: u32) -> BTreeMap<u32, Thread> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let of = |path: std::path::PathBuf| {
        // One that has ended meanwhile is none of them.
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let ran = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let thread = Thread {
            name: name.to_owned(),
            // The nineteenth field; the name is the second.
            nice: rest.split(' ').nth(16)?.parse().ok()?,
            ran_ns: ran.split(' ').next()?.parse().ok()?,
        };
        Some((path.file_name()?.to_str()?.parse().ok()?, thread))
    };
    tasks.filter_map(of).collect()
}

#[test]
fn judging_stands_back_behind_accepting() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    server.settled();
    let before = threads(server.pid());
    let own = before.get(&server.pid()).expect("a process has a thread of its own number").nice;
    let back: Vec<u32> = before.iter().filter(|(_, t)| t.nice > own).map(|(id, _)| *id).collect();
    assert_eq!(back.len(), 1, "one thread judges while nothing is there to be screened by several");

    let line = |n: u64| {
        format!(
            r#"{{"event_id":"p{n}","timestamp":"2026-03-01T10:00:00Z","source":"endpoint","event_type":"failed_login","source_ip":"203.0.113.9"}}"#
        )
    };
    let body = (0..2_000).map(line).collect::<Vec<_>>().join("\n");
    assert!(matches!(server.post("/api/v1/events", body.as_bytes()), Some((202, _))));
    server.settled();
    let after = threads(server.pid());
    let ran = |id: &u32| after[id].ran_ns - before[id].ran_ns;
    assert!(ran(&back[0]) > 1_000_000, "it is the one that judged: it ran {} ns", ran(&back[0]));
    let others = after.iter().filter(|(id, _)| **id != back[0]);
    let not_accepting: Vec<&str> = others.filter(|(_, t)| t.nice != own).map(|(_, t)| t.name.as_str()).collect();
    assert!(not_accepting.is_empty(), "these stand back too: {not_accepting:?}");
    assert!(after.values().any(|t| t.name == "store-writer" && t.nice == own), "the writer is not among them");
}
