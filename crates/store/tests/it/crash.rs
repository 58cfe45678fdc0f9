//! What a process leaves behind when it is killed, copied while it is at work.

use std::path::Path;
use std::sync::mpsc;

use vertice_engine::{Input, Record};
use vertice_model::{Position, Severity};
use vertice_store::{Filter, Options, Page, RecordKind, Store};

use crate::fixture::{detection, effect, numbered, open, open_with};

/// How often the files are copied while the store is written to.
const COPIES: usize = 25;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    // The witness first: it may be behind what the write-ahead log has, and never ahead of it.
    for name in ["acknowledged", "vertice.db", "vertice.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).expect("a copy");
    }
}

fn numbers_in(store: &Store) -> Vec<u64> {
    let (mut numbers, mut next) = (Vec::new(), Position(1));
    loop {
        let inputs = store.read(next, 10_000).expect("the log is whole");
        if inputs.is_empty() {
            return numbers;
        }
        for (_, input) in inputs {
            next = next.plus(input.positions());
            if let Input::Events(events) = input {
                let number = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok());
                numbers.extend(events.iter().map(|e| number(&e.line).expect("it ends with its number")));
            }
        }
    }
}

#[test]
fn whatever_was_acknowledged_is_there_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    // The file is not written to, only the write-ahead log grows: so a copy is what a kill would leave.
    let store = open_with(&live, Options { wal_bytes: u64::MAX, ..Options::default() });
    // Bounded, so that the store is at work while it is copied and not for as long as a copy is read.
    let (tell, told) = mpsc::sync_channel(8);
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (store, tell) = (&store, tell.clone());
            scope.spawn(move || {
                let mut number = thread * 1_000_000;
                loop {
                    let count = 1 + number % 7;
                    let accepted = store.submit_blocking(numbered(number..number + count)).expect("there is space");
                    if tell.send(number..number + count).is_err() {
                        return;
                    }
                    let found = detection(&number.to_string(), Severity::High, "192.0.2.7");
                    let found = effect(accepted.first.0, 0, Record::Detection(found));
                    store.project(accepted.first, &[found]).expect("it runs").wait().expect("there is space");
                    number += count;
                }
            });
        }
        // Taken in, so that it goes when a check fails and the writers see it.
        let told = told;
        let mut acknowledged = Vec::new();
        for n in 0..COPIES {
            // Some more each time, so that each copy is of another moment.
            told.iter().take(5 + n % 7).for_each(|numbers| acknowledged.extend(numbers));
            let left = dir.path().join(n.to_string());
            copy(&live, &left);
            check(&left, &acknowledged);
        }
    });
}

fn check(left: &Path, acknowledged: &[u64]) {
    let store = open(left);
    let mut numbers = numbers_in(&store);
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "an event is there twice");
    for number in acknowledged {
        assert!(numbers.binary_search(number).is_ok(), "event number {number} was acknowledged and is gone");
    }
    assert!(store.judged_to() <= store.log_end());
    let page = Page { limit: 1, descending: true, after: None };
    let latest = store.list(RecordKind::Detection, &Filter::default(), page).expect("the records are whole");
    assert!(
        latest.iter().all(|r| r.effect.position <= store.judged_to()),
        "a record without the position it came with"
    );
    // And it goes on from there.
    let next = store.log_end().plus(1);
    assert_eq!(store.submit_blocking(numbered(0..1)).expect("there is space").first, next);
    store.verify().expect("all of it is whole");
}
