//! The writer: groups, the clock, limits, stopping.

use std::sync::atomic::Ordering;

use vertice_engine::{Content, ContentFile, Input, Record};
use vertice_model::{Place, Position, Routed, Severity, Timestamp};
use vertice_store::{Cursor, Idempotency, Options, RecordKind, Store, Submission, SubmitError, limits};

use crate::fixture::{clock_at, detection, effect, event, numbered, open, settable_clock};

#[test]
fn many_threads_share_commits_and_each_gets_its_own_positions() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let store = store.clone();
            scope.spawn(move || {
                for n in 0..40 {
                    let number = thread * 1_000 + n;
                    let accepted = store.submit_blocking(numbered(number..number + 1)).unwrap();
                    let (stamp, found) = store.event(0, accepted.first).unwrap().unwrap();
                    assert_eq!((stamp.position, stamp.now), (accepted.first, accepted.at));
                    assert_eq!(found, event("test", &format!("event number {number}")));
                }
            });
        }
    });
    assert_eq!(store.log_end(), Position(640));
    assert!(store.stats().commits.load(Ordering::Relaxed) < 640, "no two submissions ever shared a commit");
    assert_eq!(store.stats().events.load(Ordering::Relaxed), 640);
    assert_eq!(store.verify().unwrap().positions, 640);
}

#[tokio::test]
async fn async_callers_are_told_of_what_was_appended_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (mut appended, mut judged) = (store.appended(), store.judged());
    let (one, two) = tokio::join!(store.submit(numbered(0..3)), store.append(Input::Tick));
    assert_eq!(one.unwrap().count + two.unwrap().count, 4);
    assert_eq!(*appended.wait_for(|p| *p >= Position(4)).await.unwrap(), Position(4));
    let found = effect(2, 0, Record::Detection(detection("d", Severity::High, "192.0.2.7")));
    store.project(Position(4), &[found]).unwrap().done().await.unwrap();
    assert_eq!(*judged.wait_for(|p| *p >= Position(4)).await.unwrap(), Position(4));
    assert!(store.failed().borrow().is_none());
}

#[test]
fn the_logs_time_never_goes_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, hand) = settable_clock(5_000_000);
    let store = Store::open(dir.path(), clock, Options::default()).unwrap();
    let submit = |store: &Store, us: i64| {
        hand.store(us, Ordering::Relaxed);
        store.submit_blocking(numbered(0..1)).unwrap().at.as_micros()
    };
    const DAY: i64 = 86_400_000_000;
    assert_eq!(submit(&store, 5_000_000), 5_000_000);
    assert_eq!(submit(&store, 5_000_000 - DAY), 5_000_000);
    assert_eq!(submit(&store, 5_000_000 + DAY), 5_000_000 + DAY);
    drop(store);
    // Not even by a restart after the clock was set back.
    let store = Store::open(dir.path(), clock_at(7), Options::default()).unwrap();
    assert_eq!(store.submit_blocking(numbered(0..1)).unwrap().at.as_micros(), 5_000_000 + DAY);
}

#[test]
fn content_comes_back_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let files = vec![ContentFile { path: "rules/a.yml".to_owned(), text: "title: A".to_owned() }];
    let content = std::sync::Arc::new(Content::compile(files));
    store.append_blocking(Input::Content(content.clone())).unwrap();
    match &store.read(Position(1), 1).unwrap()[..] {
        [(_, Input::Content(found))] => assert_eq!(found.digest(), content.digest()),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.event(0, Position(1)).unwrap(), None);
    let whole = Input::Events(vec![event("a", "one"), event("b", "two")]);
    assert_eq!(store.append_blocking(whole).unwrap().count, 2);
    assert_eq!(store.event(0, Position(3)).unwrap().unwrap().1, event("b", "two"));
}

#[test]
fn routed_records_take_a_place_each_and_are_found_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let routed = |offset: i64| Routed {
        event: event("security.events", &format!("line {offset}")),
        from: Place { topic: "security.events".into(), partition: 3, offset },
        at: Timestamp::from_micros(offset),
        key: "ip:192.0.2.1".to_owned(),
        index: 0,
    };
    store.append_blocking(Input::Tick).unwrap();
    let all: Vec<Routed> = (10..15).map(routed).collect();
    let accepted = store.append_blocking(Input::Routed(all.clone())).unwrap();
    assert_eq!((accepted.first, accepted.count), (Position(2), 5));
    assert_eq!(store.append_blocking(Input::Routed(Vec::new())).unwrap().count, 0);
    assert_eq!(store.append_blocking(Input::Tick).unwrap().first, Position(7));
    for from in 2..7_u64 {
        let read = store.read(Position(from), 1).unwrap();
        let [(stamp, Input::Routed(found))] = &read[..] else { panic!("{read:?}") };
        assert_eq!((stamp.position, &found[..]), (Position(from), &all[from as usize - 2..]));
        let (stamp, raw) = store.event(0, Position(from)).unwrap().unwrap();
        assert_eq!(
            (stamp.position, stamp.now, raw),
            (Position(from), all[from as usize - 2].at, found[0].event.clone())
        );
    }
    assert!(matches!(&store.read(Position(7), 1).unwrap()[..], [(_, Input::Tick)]));
    assert_eq!(store.verify().unwrap().positions, 7);
}

#[test]
fn what_is_too_long_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = "x".repeat(vertice_model::limits::RAW_EVENT_BYTES_MAX + 1);
    let error = store.submit_blocking(Submission { events: vec![event("o", &long)], ..Submission::default() });
    assert!(matches!(error, Err(SubmitError::TooLarge { what: "an event", .. })), "{error:?}");
    let mut submission = numbered(0..1);
    let answer = vec![0; limits::IDEMPOTENCY_ANSWER_BYTES_MAX + 1];
    submission.idempotency = Some(Idempotency { key: [0; 32], answer });
    let error = store.submit_blocking(submission);
    assert!(matches!(error, Err(SubmitError::TooLarge { what: "an answer", .. })), "{error:?}");
    assert_eq!(store.log_end(), Position(0));
}

#[test]
fn a_large_submission_is_kept_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut events: Vec<_> = (0..5_000).map(|n| event(&format!("origin {}", n % 3), &n.to_string())).collect();
    events.extend((0..30).map(|n| event("large", &format!("{n}").repeat(100_000))));
    let submission = Submission { events: events.clone(), ..Submission::default() };
    assert_eq!(store.submit_blocking(submission).unwrap().count, 5_030);
    let mut read = Vec::new();
    while let Some((_, input)) = store.read(Position(read.len() as u64 + 1), 1).unwrap().into_iter().next() {
        let Input::Events(part) = input else { panic!("only events were put in") };
        assert!(part.len() as u64 <= limits::GROUP_EVENTS_MAX);
        read.extend(part);
    }
    assert_eq!(read, events);
}

#[test]
fn keys_are_forgotten_after_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, hand) = settable_clock(0);
    let store = Store::open(dir.path(), clock, Options::default()).unwrap();
    let keyed =
        |n: u8| Submission { idempotency: Some(Idempotency { key: [n; 32], answer: vec![n] }), ..numbered(0..1) };
    assert_eq!(store.submit_blocking(keyed(1)).unwrap().repeated, None);
    hand.store(limits::IDEMPOTENCY_US, Ordering::Relaxed);
    assert_eq!(store.submit_blocking(keyed(1)).unwrap().repeated, Some(vec![1]));
    hand.store(limits::IDEMPOTENCY_US + 1, Ordering::Relaxed);
    assert_eq!(store.idempotent(&[1; 32]).unwrap(), None);
    let again = store.submit_blocking(keyed(1)).unwrap();
    assert_eq!((again.repeated, again.first), (None, Position(2)));
}

#[test]
fn a_closed_store_refuses_and_what_was_taken_in_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.submit_blocking(numbered(0..5)).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    for error in [store.submit_blocking(numbered(0..1)).map(|_| ()), store.set_meta("a", "b")] {
        assert!(matches!(&error, Err(SubmitError::Stopped(s)) if !s.fatal), "{error:?}");
    }
    assert!(store.project(Position(1), &[]).is_err());
    assert!(
        !dir.path().join("vertice.db-wal").metadata().is_ok_and(|m| m.len() > 0),
        "the log was moved into the file"
    );
    drop(store);
    assert_eq!(open(dir.path()).log_end(), Position(5));
}

#[test]
fn the_write_ahead_log_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { wal_bytes: 256 * 1024, ..Options::default() };
    let store = Store::open(dir.path(), clock_at(0), options).unwrap();
    for n in 0..300 {
        let found = effect(n + 1, 0, Record::Detection(detection(&n.to_string(), Severity::High, "192.0.2.7")));
        store.submit_blocking(numbered(n..n + 1)).unwrap();
        store.project(Position(n + 1), &[found]).unwrap().wait().unwrap();
    }
    assert!(store.stats().checkpoints.load(Ordering::Relaxed) > 5);
    let bytes = dir.path().join("vertice.db-wal").metadata().unwrap().len();
    // However late the checkpoints beside the writer come, from eight times the size on it waits for one.
    assert!(bytes < 9 * 256 * 1024, "the write-ahead log has {bytes} bytes");
    assert_eq!(store.count(RecordKind::Detection, &Default::default()).unwrap(), 300);
}

#[test]
fn cursors_alone_can_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let cursors = vec![Cursor { source: "s".to_owned(), value: vec![1, 2] }];
    let accepted = store.submit_blocking(Submission { cursors, ..Submission::default() }).unwrap();
    assert_eq!((accepted.first, accepted.count, accepted.at), (Position(1), 0, Timestamp::from_micros(1_000_000)));
    assert_eq!(store.cursor("s").unwrap(), Some(vec![1, 2]));
}

#[test]
fn a_full_queue_is_busy_and_all_that_was_taken_in_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    // The writer asks for the time within each transaction, so whoever holds the clock holds the writer.
    let held = std::sync::Arc::new(std::sync::Mutex::new(()));
    let clock = held.clone();
    let clock = std::sync::Arc::new(move || {
        let _free = clock.lock().expect("nobody panics while holding it");
        Timestamp::from_micros(0)
    });
    let store = Store::open(dir.path(), clock, Options::default()).unwrap();
    let hold = held.lock().unwrap();
    let mut taken_in = Vec::new();
    let busy = loop {
        // Polled once: the submission is in the queue, and its answer is still to come.
        let mut submission = Box::pin(store.submit(numbered(0..1)));
        let waker = std::task::Waker::noop();
        match submission.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Pending => taken_in.push(submission),
            std::task::Poll::Ready(answer) => break answer,
        }
    };
    assert!(matches!(busy, Err(SubmitError::Busy { .. })), "{busy:?}");
    assert!(taken_in.len() >= limits::QUEUE_SUBMISSIONS_MAX);
    assert_eq!(store.stats().busy.load(Ordering::Relaxed), 1);
    assert!(store.stats().queue_commands.load(Ordering::Relaxed) >= limits::QUEUE_SUBMISSIONS_MAX as u64);
    drop(hold);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let count = taken_in.len() as u64;
    for submission in taken_in {
        runtime.block_on(submission).unwrap();
    }
    assert_eq!(store.log_end(), Position(count));
    // Many of them in one transaction: some four groups of single events.
    assert!(store.stats().commits.load(Ordering::Relaxed) < 20);
}

#[test]
fn a_writer_that_panics_stops_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(|| panic!("the clock is broken"));
    let store = Store::open(dir.path(), clock, Options::default()).unwrap();
    let error = store.submit_blocking(numbered(0..1)).unwrap_err();
    // The writer may still be falling when the answer is lost; what stopped it is known right after.
    assert!(matches!(error, SubmitError::Stopped(_)), "{error}");
    let stopped = store.close().unwrap_err();
    assert!(stopped.fatal && stopped.to_string().contains("panicked"), "{stopped}");
    assert_eq!(store.failed().borrow().clone(), Some(stopped));
    assert!(store.project(Position(1), &[]).is_err());
}
