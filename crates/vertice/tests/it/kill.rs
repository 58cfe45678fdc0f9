//! Nothing that was acknowledged is lost, and nothing is done twice, whenever the process is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use vertice_testkit::{Random, long};

use crate::process::Server;

/// How many events a batch has.
const BATCH: usize = 64;

/// What the generator was told is kept, by event id.
#[derive(Default)]
struct Acknowledged(Mutex<BTreeSet<String>>);

/// A batch of failed logins with ids that say who made them: each fifth address guesses hard enough to be detected.
fn batch(life: usize, sender: usize, n: usize) -> (Vec<String>, String) {
    let (mut ids, mut body) = (Vec::new(), String::new());
    for i in 0..BATCH {
        let id = format!("{life}-{sender}-{n}-{i}");
        let (a, b) = (n % 200, i / 8);
        let second = i % 60;
        writeln!(
            body,
            r#"{{"event_id":"{id}","timestamp":"2026-03-01T10:{:02}:{second:02}Z","source":"endpoint","event_type":"failed_login","source_ip":"198.51.{a}.{b}","payload":{{"user":"root"}}}}"#,
            life % 60,
        )
        .expect("writing to a string does not fail");
        ids.push(id);
    }
    (ids, body)
}

/// Sends until told to stop or until the server is gone.
fn send(server: &Server, life: usize, sender: usize, stop: &AtomicBool, kept: &Acknowledged) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (ids, body) = batch(life, sender, n);
        match server.post("/api/v1/events", body.as_bytes()) {
            Some((202, _)) => kept.0.lock().unwrap().extend(ids),
            Some((503, _)) => {}
            Some((status, answer)) => panic!("{status}: {answer}"),
            None => return,
        }
    }
}

/// Starts it, sends to it from two senders, kills it after a while.
fn live_and_die(data: &std::path::Path, life: usize, after: Duration, kept: &Acknowledged) {
    let server = Server::start(data);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in 0..2 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || send(server, life, sender, stop, kept));
        }
        // A channel that nobody sends on is a wait with a limit.
        let (_keep, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(after);
        let pid = rustix::process::Pid::from_raw(server.pid() as i32).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is there");
        stop.store(true, Ordering::Relaxed);
    });
    server.kill();
}

fn times<'a>(items: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut times = BTreeMap::new();
    for item in items {
        *times.entry(item).or_default() += 1;
    }
    times
}

/// The sender's ids of all events in the log.
fn ids_in_log(server: &Server) -> BTreeSet<String> {
    let (mut ids, mut from) = (BTreeSet::new(), 1);
    loop {
        let page = server.get(&format!("/api/v1/events?limit=1000&from={from}"));
        let items = page["items"].as_array().expect("a list has items");
        ids.extend(items.iter().filter_map(|e| e["event"]["event_id"].as_str()).map(str::to_owned));
        match page["next_from"].as_u64() {
            Some(next) => from = next,
            None => return ids,
        }
    }
}

#[test]
fn whatever_was_acknowledged_survives_being_killed() {
    let (kills, wanted) = if long() { (200, 200_000) } else { (6, 2_000) };
    let data = tempfile::tempdir().unwrap();
    let kept = Acknowledged::default();
    let mut random = Random(7);
    let mut life = 0;
    while life < kills || kept.0.lock().unwrap().len() < wanted {
        live_and_die(data.path(), life, Duration::from_millis(5 + random.below(496) as u64), &kept);
        life += 1;
        assert!(life < kills * 20, "{} events acknowledged in {life} lives", kept.0.lock().unwrap().len());
    }
    let server = Server::start(data.path());
    server.settled();

    let in_log = ids_in_log(&server);
    let kept = kept.0.into_inner().unwrap();
    let lost: Vec<_> = kept.difference(&in_log).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and lost, among others: {lost:?}");

    let detections = server.all("/api/v1/defense/detections");
    let names: Vec<String> = detections.iter().map(|d| format!("{} {}", d["event_id"], d["rule_id"])).collect();
    assert!(!names.is_empty(), "guessing is detected");
    assert!(times(names.iter().map(String::as_str)).values().all(|n| *n == 1), "a detection stands twice");
    let responses = server.all("/api/v1/defense/responses");
    let runs: Vec<String> = responses.iter().map(|r| format!("{} {}", r["threat_id"], r["playbook_id"])).collect();
    assert!(!runs.is_empty(), "a playbook was planned");
    assert!(times(runs.iter().map(String::as_str)).values().all(|n| *n == 1), "a response stands twice");
    println!("{life} kills, {} acknowledged, {} detections, {} responses", kept.len(), names.len(), runs.len());
    assert_eq!(server.stop(), Some(0));
}
