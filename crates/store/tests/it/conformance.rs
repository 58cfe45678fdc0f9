//! What any store must do, whatever keeps its data. Each case is given a way to open one.

use vertice_engine::{Input, Record};
use vertice_model::{EffectId, Position, Severity, ThreatId, ThreatState, Timestamp};
use vertice_store::{Cursor, Filter, FindError, Idempotency, Page, RankedPage, RecordKind, Store, Submission};

use vertice_testkit::postgres::Postgres;

use crate::fixture::{clock_at, detection, effect, event, numbered, open, refused, settings, threat, urgent};

/// Opens the store of a case; opening it again finds what was kept.
type Opener<'a> = &'a dyn Fn() -> Store;

/// What must come of it.
type Case = fn(Opener<'_>);

/// What each of them must do.
const CASES: [(&str, Case); 9] = [
    ("the_log_keeps_inputs_in_order", the_log_keeps_inputs_in_order),
    ("one_event_is_found_by_its_position", one_event_is_found_by_its_position),
    ("cursors_and_keys_are_kept_with_their_events", cursors_and_keys_are_kept_with_their_events),
    ("the_first_detection_and_the_latest_of_all_else_stand", the_first_detection_and_the_latest_of_all_else_stand),
    ("lists_are_filtered_and_paged", lists_are_filtered_and_paged),
    ("threats_are_paged_by_their_priority", threats_are_paged_by_their_priority),
    ("the_beginning_of_an_id_is_enough_if_it_is_clear", the_beginning_of_an_id_is_enough_if_it_is_clear),
    ("the_latest_whole_snapshot_is_found", the_latest_whole_snapshot_is_found),
    ("keys_and_settings_are_kept", keys_and_settings_are_kept),
];

#[test]
fn a_file_does_it() {
    for (name, case) in CASES {
        let dir = tempfile::tempdir().expect("a directory");
        println!("{name}");
        case(&|| open(&dir.path().join("data")));
    }
}

#[test]
fn a_shard_in_postgres_does_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(server) = Postgres::start(dir.path(), "whether PostgreSQL does what any store must do") else { return };
    for (name, case) in CASES {
        println!("{name}");
        server.database(name);
        let settings = settings(&server, name, dir.path());
        case(&|| Store::take_shard(&settings, 3, clock_at(1_000_000)).expect("it can be taken"));
    }
}

fn lines(store: &Store, from: u64) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let mut next = Position(from);
    loop {
        let inputs = store.read(next, 10).expect("the log is whole");
        if inputs.is_empty() {
            return all;
        }
        for (stamp, input) in inputs {
            assert_eq!(stamp.position, next);
            next = next.plus(input.positions());
            match input {
                Input::Events(events) => {
                    all.extend(events.into_iter().zip(stamp.position.0..).map(|(e, at)| (at, e.line)));
                }
                other => all.push((stamp.position.0, format!("{other:?}"))),
            }
        }
    }
}

fn the_log_keeps_inputs_in_order(open: Opener<'_>) {
    let store = open();
    assert_eq!((store.log_end(), store.read(Position(1), 10).unwrap().len()), (Position(0), 0));
    let first = store.submit_blocking(numbered(0..3)).unwrap();
    assert_eq!((first.first, first.count, first.at), (Position(1), 3, Timestamp::from_micros(1_000_000)));
    assert_eq!(store.append_blocking(Input::Tick).unwrap().first, Position(4));
    assert_eq!(store.submit_blocking(numbered(3..4)).unwrap().first, Position(5));
    assert_eq!(store.submit_blocking(Submission::default()).unwrap().count, 0);
    let expected = |from: usize| {
        let all = ["event number 0", "event number 1", "event number 2", "Tick", "event number 3"];
        (from as u64 + 1..).zip(all[from..].iter().map(|l| (*l).to_owned())).collect::<Vec<_>>()
    };
    for from in 0..5 {
        assert_eq!(lines(&store, from as u64 + 1), expected(from));
    }
    store.close().unwrap();
    drop(store);
    assert_eq!(lines(&open(), 1), expected(0));
}

fn one_event_is_found_by_its_position(open: Opener<'_>) {
    let store = open();
    store.submit_blocking(numbered(0..2_000)).unwrap();
    store.append_blocking(Input::Tick).unwrap();
    for at in [1, 2, 1_024, 1_025, 2_000] {
        let (stamp, found) = store.event(store.shard(), Position(at)).unwrap().unwrap();
        assert_eq!((stamp.position, found), (Position(at), event("test", &format!("event number {}", at - 1))));
    }
    for none in [0, 2_001, 2_002, u64::MAX] {
        assert_eq!(store.event(store.shard(), Position(none)).unwrap(), None);
    }
}

fn cursors_and_keys_are_kept_with_their_events(open: Opener<'_>) {
    let store = open();
    let cursor = |value: &[u8]| Cursor { source: "/var/log/auth.log".to_owned(), value: value.to_vec() };
    let key = [7; 32];
    let mut submission = numbered(0..2);
    submission.cursors = vec![cursor(b"old"), cursor(b"new")];
    submission.idempotency = Some(Idempotency { key, answer: b"the answer".to_vec() });
    let accepted = store.submit_blocking(submission.clone()).unwrap();
    assert_eq!(store.cursor("/var/log/auth.log").unwrap().unwrap(), b"new");
    assert_eq!(store.cursor("another").unwrap(), None);
    let with = store.append_with_blocking(Input::Tick, vec![Cursor { source: "other".to_owned(), value: vec![1] }]);
    assert_eq!((with.unwrap().first, store.cursor("other").unwrap()), (Position(3), Some(vec![1])));
    let again = store.submit_blocking(submission).unwrap();
    assert_eq!((again.first, again.count), (accepted.first, 2));
    assert_eq!(again.repeated.as_deref(), Some(b"the answer".as_slice()));
    assert_eq!(store.log_end(), Position(3));
    let known = store.idempotent(&key).unwrap().unwrap();
    assert_eq!((known.accepted, known.answer), (accepted, b"the answer".to_vec()));
    assert_eq!(store.idempotent(&[8; 32]).unwrap(), None);
}

fn the_first_detection_and_the_latest_of_all_else_stand(open: Opener<'_>) {
    let store = open();
    store.submit_blocking(numbered(0..9)).unwrap();
    let low = detection("d", Severity::Low, "192.0.2.7");
    let high = detection("d", Severity::High, "192.0.2.7");
    let effects = [
        effect(3, 0, Record::Detection(low.clone())),
        effect(3, 1, Record::Threat(threat("t", "before", ThreatState::Open))),
        effect(5, 0, Record::Detection(high)),
        effect(5, 1, Record::Threat(threat("t", "after", ThreatState::Quiet { at: Timestamp::from_seconds(9) }))),
        effect(6, 0, refused(6)),
    ];
    for up_to in [&effects[..], &effects[..2], &effects[..]] {
        let last = up_to.last().unwrap().id.position;
        store.project(last, up_to).unwrap().wait().unwrap();
        assert!(store.judged_to() >= last);
    }
    assert_eq!(store.judged_to(), Position(6));
    let found = store.list(RecordKind::Detection, &Filter::default(), Page::default()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].json, serde_json::to_string(&low).unwrap());
    let changes = store.changes(None, 10).unwrap();
    let places: Vec<_> = changes.iter().map(|c| (c.effect.to_string(), c.kind)).collect();
    let at = |text: &str, kind| (text.to_owned(), kind);
    assert_eq!(
        places,
        [at("3.0", RecordKind::Detection), at("5.1", RecordKind::Threat), at("6.0", RecordKind::Refused)]
    );
    assert!(changes[1].json.contains("after"));
    assert_eq!(store.changes(Some(changes[1].effect), 10).unwrap(), changes[2..]);
    assert_eq!(store.latest_change().unwrap(), Some(changes[2].effect));
    assert_eq!(store.find(RecordKind::Refused, "6").unwrap(), changes[2]);
}

fn lists_are_filtered_and_paged(open: Opener<'_>) {
    let store = open();
    let effects: Vec<_> = (0..50_u32)
        .map(|n| {
            let severity = Severity::ALL[n as usize % 5];
            let entity = if n % 10 == 0 { "192.0.2.1" } else { "192.0.2.2" };
            effect(u64::from(n / 7) + 1, n % 7, Record::Detection(detection(&n.to_string(), severity, entity)))
        })
        .collect();
    store.project(Position(9), &effects).unwrap().wait().unwrap();
    let list = |filter: &Filter, page| store.list(RecordKind::Detection, filter, page).unwrap();
    let ids = |records: Vec<vertice_store::StoredRecord>| records.into_iter().map(|r| r.effect).collect::<Vec<_>>();
    let all: Vec<EffectId> = effects.iter().map(|e| e.id).collect();
    for descending in [false, true] {
        let (mut paged, mut page) = (Vec::new(), Page { limit: 7, descending, after: None });
        loop {
            let rows = list(&Filter::default(), page);
            let Some(last) = rows.last() else { break };
            page.after = Some(last.effect);
            paged.extend(ids(rows));
        }
        if descending {
            paged.reverse();
        }
        assert_eq!(paged, all);
    }
    let count = |filter: Filter| {
        let page = Page { limit: 1_000, ..Page::default() };
        assert_eq!(list(&filter, page).len() as u64, store.count(RecordKind::Detection, &filter).unwrap());
        list(&filter, page).len()
    };
    let filter = Filter::default;
    assert_eq!(count(Filter { severity_min: Some(Severity::High), ..filter() }), 20);
    assert_eq!(count(Filter { entity: Some("192.0.2.1".to_owned()), ..filter() }), 5);
    assert_eq!(count(Filter { entity: Some("WEB-1".to_owned()), ..filter() }), 50);
    let about = |entity: &str, state: &str| store.about(RecordKind::Detection, entity, state).unwrap().len();
    assert_eq!((about("192.0.2.1", ""), about("WEB-1", ""), about("192.0.2.1", "open")), (5, 50, 0));
    assert_eq!(count(Filter { rule_id: Some("rule-low".to_owned()), ..filter() }), 10);
    assert_eq!(count(Filter { threat_id: Some(ThreatId::derive("192.0.2.1")), ..filter() }), 5);
    assert_eq!(count(Filter { since: Some(Timestamp::from_seconds(101)), ..filter() }), 0);
    assert_eq!(count(Filter { state: Some("open".to_owned()), ..filter() }), 0);
}

fn threats_are_paged_by_their_priority(open: Opener<'_>) {
    let store = open();
    let at = |n: u64, priority, opened| effect(n, 1, Record::Threat(urgent(&n.to_string(), priority, opened)));
    // Three priorities, some opened at one time, and one from before priorities were kept.
    let mut effects: Vec<_> = (1..50).map(|n| at(n, [90, 7, 40][n as usize % 3], 100 + n as i64 / 7)).collect();
    effects.push(effect(50, 1, Record::Threat(threat("50", "of before", ThreatState::Open))));
    effects.push(effect(51, 0, Record::Detection(detection("d", Severity::Critical, "192.0.2.7"))));
    store.project(Position(51), &effects).unwrap().wait().unwrap();
    let name = |n: u64| ThreatId::derive(&n.to_string()).to_string();
    let priority = |n: u64| if n == 50 { (0, 100) } else { ([90, 7, 40][n as usize % 3], 100 + n as i64 / 7) };
    let mut expected: Vec<_> = (1..=50).map(|n| (priority(n), name(n))).collect();
    expected.sort();
    let mut expected: Vec<String> = expected.into_iter().map(|(_, name)| name).collect();
    let paged = |filter: &Filter, descending: bool, between: &dyn Fn(usize)| {
        let (mut keys, mut page) = (Vec::new(), RankedPage { after: None, limit: 7, descending });
        loop {
            let rows = store.ranked(filter, &page).unwrap();
            let Some(last) = rows.last() else { return keys };
            let rank = last.rank.unwrap();
            assert_eq!(rank.to_string().parse(), Ok(rank), "a cursor that outlives the call");
            page.after = Some(rank);
            keys.extend(rows.into_iter().map(|row| row.key));
            between(keys.len());
        }
    };
    let all = Filter::default();
    assert_eq!(paged(&all, false, &|_| ()), expected);
    expected.reverse();
    assert_eq!(paged(&all, true, &|_| ()), expected);
    let none = Filter { severity_min: Some(Severity::Critical), ..Filter::default() };
    assert_eq!(paged(&none, true, &|_| ()), [""; 0]);
    let some = Filter { entity: Some("192.0.2.7".to_owned()), state: Some("open".to_owned()), ..Filter::default() };
    assert_eq!(paged(&some, true, &|_| ()), expected);
    // What changes while it is paged stays where it is, for its priority does not; which would be missed by its change.
    let again = |seen: usize| {
        let n = 100 + seen as u64;
        let changed = (1..50)
            .map(|of| effect(n, of as u32, Record::Threat(urgent(&of.to_string(), priority(of).0, priority(of).1))));
        store.project(Position(n), &changed.collect::<Vec<_>>()).unwrap().wait().unwrap();
    };
    assert_eq!(paged(&all, true, &again), expected);
    // And one whose priority changes moves.
    store.project(Position(200), &[effect(200, 0, Record::Threat(urgent("50", 100, 1)))]).unwrap().wait().unwrap();
    let first = store.ranked(&all, &RankedPage { after: None, limit: 1, descending: true }).unwrap();
    assert_eq!((first.len(), &first[0].key), (1, &name(50)));
    assert!(store.list(RecordKind::Detection, &all, Page::default()).unwrap()[0].rank.is_none());
}

fn the_beginning_of_an_id_is_enough_if_it_is_clear(open: Opener<'_>) {
    let store = open();
    let many: Vec<_> = (0..3_000)
        .map(|n| effect(1, n, Record::Threat(threat(&n.to_string(), "one of many", ThreatState::Open))))
        .collect();
    store.project(Position(1), &many).unwrap().wait().unwrap();
    let whole = ThreatId::derive("17").to_string();
    let found = |prefix: &str| store.find(RecordKind::Threat, prefix);
    assert_eq!(found(&whole).unwrap().key, whole);
    assert_eq!(found(&whole[..30].to_uppercase()).unwrap().key, whole);
    assert!(matches!(found("abc"), Err(FindError::TooShort { .. })));
    assert!(matches!(found("zzzz"), Err(FindError::NotFound { .. })));
    assert!(matches!(store.find(RecordKind::Run, &whole), Err(FindError::NotFound { .. })));
    let mut keys: Vec<String> = (0..3_000).map(|n| ThreatId::derive(&n.to_string()).to_string()).collect();
    keys.sort();
    let twins = keys.windows(2).find(|w| w[0][..4] == w[1][..4]).expect("3,000 ids share some first four digits");
    match found(&twins[0][..4]) {
        Err(FindError::Ambiguous { candidates, .. }) => assert!(candidates.contains(&twins[1])),
        other => panic!("{other:?}"),
    }
}

fn the_latest_whole_snapshot_is_found(open: Opener<'_>) {
    let store = open();
    store.submit_blocking(numbered(0..30)).unwrap();
    assert_eq!(store.load_snapshot(1).unwrap(), None);
    for position in [10, 20, 30] {
        store.save_snapshot(Position(position), 1, format!("state at {position}").as_bytes()).unwrap();
    }
    // One from beyond the log can not be of this log.
    store.save_snapshot(Position(99), 1, b"state at 99").unwrap();
    let found = store.load_snapshot(1).unwrap().unwrap();
    assert_eq!((found.position, found.bytes), (Position(30), b"state at 30".to_vec()));
    assert_eq!(store.load_snapshot(2).unwrap(), None);
}

fn keys_and_settings_are_kept(open: Opener<'_>) {
    let store = open();
    assert!(store.add_api_key("ana", [1; 32]).unwrap());
    assert!(!store.add_api_key("ana", [2; 32]).unwrap());
    assert!(store.add_api_key("ben", [3; 32]).unwrap());
    assert!(store.remove_api_key("ben").unwrap());
    assert!(!store.remove_api_key("ben").unwrap());
    store.set_meta("mode", "observe").unwrap();
    store.set_meta("mode", "live").unwrap();
    assert!(!store.make_meta("mode", "observe").unwrap());
    assert!(store.make_meta("secret", "a").unwrap());
    assert!(!store.make_meta("secret", "b").unwrap());
    store.close().unwrap();
    drop(store);
    let store = open();
    let keys = store.api_keys().unwrap();
    assert_eq!(keys.iter().map(|k| (k.name.as_str(), k.hash)).collect::<Vec<_>>(), [("ana", [1; 32])]);
    assert_eq!(keys[0].created, Timestamp::from_micros(1_000_000));
    assert_eq!(store.meta("mode").unwrap().as_deref(), Some("live"));
    assert_eq!(store.meta("none").unwrap(), None);
}
