//! The wall clock is set a day forth and a day back, while the process runs and while it does not.

use std::collections::BTreeSet;

use serde_json::Value;
use vertice_model::Timestamp;

use crate::process::{Server, until};
use crate::world::World;

const DAY_S: i64 = 86_400;

/// Guessing by one address, hard enough that a question is asked about it.
fn guess(server: &Server, n: usize) {
    let line = |i: usize| {
        format!(
            r#"{{"event_id":"g{n}-{i}","timestamp":"2026-03-01T10:00:{i:02}Z","source":"endpoint","event_type":"failed_login","source_ip":"203.0.113.{n}","payload":{{"user":"root"}}}}"#
        )
    };
    let body = (0..20).map(line).collect::<Vec<_>>().join("\n");
    let answer = server.post("/api/v1/events", body.as_bytes());
    assert!(matches!(answer, Some((202, _))), "{answer:?}");
    server.settled();
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

/// The items of a list in this state, and all of them.
fn in_state(server: &Server, list: &str, state: &str) -> (usize, usize) {
    let items = server.all(&format!("/api/v1/defense/{list}"));
    let found = items.iter().filter(|item| item["state"] == state || item["state"]["is"] == state).count();
    (found, items.len())
}

/// When each event was accepted, in the order of the log; no id is there twice.
fn received(server: &Server) -> Vec<Timestamp> {
    let page = server.get("/api/v1/events?limit=1000");
    let items = page["items"].as_array().unwrap();
    let ids: BTreeSet<&str> = items.iter().map(|e| e["event"]["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), items.len(), "an event is there twice");
    items.iter().map(|e| time(&e["received"])).collect()
}

/// Every question waits and every containment holds, as it would have if nobody had touched the clock.
fn nothing_fell_due(server: &Server, attacks: usize) {
    let (waiting, questions) = in_state(server, "approvals", "pending");
    let (active, containments) = in_state(server, "containments", "active");
    assert_eq!((waiting, active), (questions, containments), "after {attacks} attacks");
    assert!(questions >= attacks && containments >= attacks, "{questions} questions, {containments} containments");
}

#[test]
fn steps_of_a_day_both_ways_lose_nothing_and_let_nothing_fall_due() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let world = World::new(dir.path());
    let start = || Server::start_as(&data, &[], |command| world.surround(command));

    let server = start();
    guess(&server, 1);
    for (n, off) in [(2, DAY_S), (3, -DAY_S), (4, 0), (5, -DAY_S)] {
        world.set_clock(off);
        guess(&server, n);
        nothing_fell_due(&server, n);
    }
    server.kill();
    // It stands a day before the log's last time, and goes on from there.
    let server = start();
    guess(&server, 6);
    nothing_fell_due(&server, 6);
    assert_eq!(server.stop(), Some(0));
    world.set_clock(0);
    let server = start();
    guess(&server, 7);
    nothing_fell_due(&server, 7);
    let times = received(&server);
    assert!(times.is_sorted(), "{times:?}");
    let minutes = times.last().unwrap().micros_since(times[0]) / 60_000_000;
    assert!(minutes < 10, "a day passed in the log: {minutes} minutes");
    assert_eq!(server.stop(), Some(0));

    // A day forth while nothing runs can not be told from a day that passed: what was due is done, once.
    world.set_clock(DAY_S);
    let server = start();
    guess(&server, 8);
    until_due(&server);
    let (waiting, questions) = in_state(&server, "approvals", "pending");
    let containments = server.all("/api/v1/defense/containments");
    let healing = containments.iter().filter(|c| c["stage"] != "reflex" && c["stage"] != "durable").count();
    let (over, all) = (questions - waiting, containments.len());
    assert!(over >= 7 && healing >= 7, "{over} of {questions} questions, {healing} of {all} containments");
    assert_eq!(server.stop(), Some(0));
    // And back again: the log is a day ahead, and time goes on there.
    for (n, off) in [(9, 0), (10, -DAY_S)] {
        world.set_clock(off);
        let server = start();
        guess(&server, n);
        let (still, _) = in_state(&server, "approvals", "pending");
        assert!(still > 0, "the new question waits");
        let times = received(&server);
        assert!(times.is_sorted() && times.len() == n * 20, "{} events", times.len());
        let responses = server.all("/api/v1/defense/responses");
        let runs: BTreeSet<String> =
            responses.iter().map(|r| format!("{}{}", r["threat_id"], r["playbook_id"])).collect();
        assert_eq!(runs.len(), responses.len(), "a response stands twice");
        assert_eq!(server.stop(), Some(0));
    }
}

/// Waits until nothing of the day before waits any more.
fn until_due(server: &Server) {
    until("nothing old waits", || {
        let items = server.all("/api/v1/defense/approvals");
        let last = items.iter().map(|q| time(&q["asked_at"])).max().expect("there are questions");
        let old = |q: &Value| q["state"] == "pending" && last.micros_since(time(&q["asked_at"])) > 3_600_000_000;
        !items.iter().any(old)
    });
}
