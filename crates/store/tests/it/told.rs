//! What shards tell each other: each hears each of it exactly once, in order, whoever has it and since when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vertice_engine::{Counted, Effect, EffectKind, Input, Judged, Role, Told};
use vertice_model::{
    Entity, Position, Principal, Scope, SuppressionId, SuppressionWish, ThreatId, Timestamp, VerdictKind,
};
use vertice_store::{Filter, Page, RecordKind, Store};

use crate::fixture::{clock_at, effect, numbered, open, suppression};
use crate::postgres::{server, take};

fn judged(name: &str) -> Told {
    Told::Judged(Judged {
        threat: ThreatId::derive(name),
        rules: vec![("rule".to_owned(), Some((1, 3))), ("too low to count".to_owned(), None)],
        entities: Vec::new(),
        before: Some(Counted {
            rules: ["rule".to_owned()].into(),
            entities: Entity::ip("192.0.2.7").into_iter().collect(),
        }),
        verdict: VerdictKind::Benign,
        at: Timestamp::from_seconds(100),
    })
}

/// Tells others of judgements of these names, as what came of one position.
fn tell(store: &Store, position: u64, names: &[&str]) {
    let tell = |(index, name): (u32, &&str)| Effect {
        id: vertice_model::EffectId { position: Position(position), index },
        kind: EffectKind::Tell(judged(name)),
    };
    let effects: Vec<Effect> = (3..).zip(names).map(tell).collect();
    store.project(Position(position), &effects).unwrap().wait().unwrap();
}

/// What a shard has heard, in its order.
fn heard(store: &Store) -> Vec<Told> {
    let inputs = store.read(Position(1), 10_000).unwrap();
    let told =
        inputs.into_iter().filter_map(|(_, input)| if let Input::Told(told) = input { Some(told) } else { None });
    told.collect()
}

fn all(names: &[&str]) -> Vec<Told> {
    names.iter().map(|name| judged(name)).collect()
}

/// Waits until a shard's log reaches so far.
fn until(store: &Store, end: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { store.appended().wait_for(|at| at.0 >= end).await.map(|_| ()) }).unwrap();
}

#[test]
fn every_other_shard_hears_it_once_also_one_that_nobody_has_and_one_that_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, settings)) = server(dir.path(), "what shards tell each other") else { return };
    let all_shards = Store::overview(&settings, clock_at(1_000_000)).unwrap();
    assert_eq!((take(&settings, 2).close(), all_shards.role()), (Ok(()), Role::Alone));
    let (home, one) = (take(&settings, 0), take(&settings, 1));
    assert_eq!((home.role(), one.role()), (Role::Home, Role::Away));
    one.submit_blocking(numbered(0..2)).unwrap();
    tell(&one, 1, &["a", "b"]);
    until(&home, 2);
    // Judged again, as after a crash, with something else before it: it is known by its place among what was told.
    let again = [
        effect(1, 0, crate::fixture::refused(1)),
        Effect { id: vertice_model::EffectId { position: Position(1), index: 7 }, kind: EffectKind::Tell(judged("a")) },
        Effect { id: vertice_model::EffectId { position: Position(1), index: 9 }, kind: EffectKind::Tell(judged("b")) },
    ];
    one.project(Position(1), &again).unwrap().wait().unwrap();
    tell(&home, 2, &["c"]);
    until(&one, 3);
    assert_eq!((heard(&home), heard(&one)), (all(&["a", "b"]), all(&["c"])));
    // Whoever takes a shard goes on hearing where its last owner stopped, its first owner at the beginning.
    let again = take(&settings, 1);
    tell(&home, 3, &["d"]);
    until(&again, 4);
    assert_eq!(heard(&again), all(&["c", "d"]));
    for shard in [2, 9] {
        let late = take(&settings, shard);
        // Before anything that comes once it is ours.
        let after = late.submit_blocking(numbered(0..1)).unwrap();
        assert_eq!((after.first, heard(&late)), (Position(5), all(&["a", "b", "c", "d"])), "shard {shard}");
        late.close().unwrap();
    }
    assert_eq!(server.sql("defense", "SELECT count(*) FROM vertice.told"), "4");
    all_shards.verify().unwrap();
    let _changed = server.sql("defense", "UPDATE vertice.told SET blob = blob || 'x' WHERE shard = 1");
    let damage = all_shards.verify().unwrap_err().to_string();
    assert!(damage.contains("told, number ") && damage.contains("its checksum is wrong"), "{damage}");
}

#[test]
fn more_than_is_heard_at_once_is_heard_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, settings)) = server(dir.path(), "much that shards tell each other") else { return };
    let (home, one) = (take(&settings, 0), take(&settings, 1));
    let names: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (n, some) in (1..).zip(names.chunks(7)) {
        tell(if n % 2 == 0 { &home } else { &one }, n, some);
    }
    let of = |odd: u64| -> Vec<Told> {
        let of = (1..).zip(names.chunks(7)).filter(|(n, _)| n % 2 == odd);
        of.flat_map(|(_, some)| all(some)).collect()
    };
    let late = take(&settings, 5);
    // All of it before anything else comes.
    assert_eq!(late.submit_blocking(numbered(0..1)).unwrap().first, Position(601));
    until(&home, of(1).len() as u64);
    until(&one, of(0).len() as u64);
    assert_eq!((heard(&late) == all(&names), heard(&home) == of(1), heard(&one) == of(0)), (true, true, true));
}

/// Whoever wants something of shard 0 after another shard told something finds that it has heard that before.
#[test]
fn what_was_told_before_something_was_left_is_heard_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, settings)) = server(dir.path(), "the order of what comes from elsewhere") else { return };
    let all_shards = Store::overview(&settings, clock_at(1_000_000)).unwrap();
    let (home, one) = (take(&settings, 0), take(&settings, 1));
    for n in 1..=50_u64 {
        tell(&one, n, &[&n.to_string()]);
        let scope = Scope { rule_id: n.to_string(), on: None };
        let wish = SuppressionWish::Propose { reason: String::new() };
        let left = Input::Suppress { scope, wish, by: Principal("ana".into()) };
        let accepted = all_shards.append_blocking(left).unwrap();
        // Whoever left it may hear of the commit before the shard's owner does.
        until(&home, accepted.first.0);
        assert_eq!((accepted.shard, heard(&home).len() as u64), (0, n), "before {}", accepted.first);
        let inputs = home.read(Position(1), 10_000).unwrap();
        let before = inputs.iter().take_while(|(stamp, _)| stamp.position < accepted.first);
        assert_eq!(before.filter(|(_, input)| matches!(input, Input::Told(_))).count() as u64, n);
    }
}

#[test]
fn what_one_tells_while_the_server_is_stopped_hard_is_heard_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut server, settings)) = server(dir.path(), "telling while a server is stopped hard") else { return };
    let (home, one) = (take(&settings, 0), take(&settings, 1));
    let stop = AtomicBool::new(false);
    let told = std::thread::scope(|scope| {
        let telling = scope.spawn(|| {
            let mut n = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                // Kept at last, however often it is tried.
                tell(&one, n, &[&n.to_string()]);
            }
            n
        });
        for _ in 0..if vertice_testkit::long() { 50 } else { 5 } {
            let before = home.log_end().0;
            until(&home, before + 20);
            server.stop_hard();
            server.begin();
        }
        stop.store(true, Ordering::Relaxed);
        telling.join().unwrap()
    });
    until(&home, told);
    let names: Vec<String> = (1..=told).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(heard(&home).len(), names.len());
    assert!(heard(&home) == all(&names), "in order");
}

#[test]
fn of_a_suppression_that_every_shard_has_one_is_shown_with_all_that_it_kept_back() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, settings)) = server(dir.path(), "suppressions of all shards") else { return };
    let all_shards = Store::overview(&settings, clock_at(1_000_000)).unwrap();
    let id = SuppressionId::derive("s");
    for (shard, suppressed) in [(0, 3), (1, 4), (2, 5)] {
        let copy = suppression(&format!("of shard {shard}"), suppressed);
        let store = take(&settings, shard);
        store.submit_blocking(numbered(0..1)).unwrap();
        let copy = effect(1, 0, vertice_engine::Record::Suppression(copy));
        store.project(Position(1), &[copy]).unwrap().wait().unwrap();
    }
    let listed = all_shards.list(RecordKind::Suppression, &Filter::default(), Page::default()).unwrap();
    let changes = all_shards.changes(None, 100).unwrap();
    let found = all_shards.find(RecordKind::Suppression, &id.to_string()[..8]).unwrap();
    assert_eq!((listed.len(), changes.len()), (1, 1));
    for record in listed.into_iter().chain(changes).chain([found]) {
        let shown: vertice_model::Suppression = serde_json::from_str(&record.json).unwrap();
        assert_eq!((shown.suppression_id, shown.suppressed, shown.reason.as_str()), (id, 12, "of shard 0"));
    }
    assert_eq!(all_shards.count(RecordKind::Suppression, &Filter::default()).unwrap(), 1);
}

#[test]
fn an_overview_has_the_api_keys_that_another_adds_or_removes_and_says_when_the_server_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut server, settings)) = server(dir.path(), "API keys of many instances") else { return };
    let overview = || Store::overview(&settings, clock_at(1_000_000)).unwrap();
    let (here, there) = (overview(), overview());
    for add in [true, false] {
        let done = if add { here.add_api_key("ana", [1; 32]) } else { here.remove_api_key("ana") };
        assert!(done.unwrap());
        assert_eq!(there.api_keys().unwrap().len(), usize::from(add));
    }
    assert!(there.waits().is_empty());
    server.stop_hard();
    while there.waits().is_empty() {
        std::thread::yield_now();
    }
    assert!(there.waits()[0].starts_with("the database is away: "), "{:?}", there.waits());
    server.begin();
    while !there.waits().is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_tells_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.submit_blocking(numbered(0..1)).unwrap();
    tell(&store, 1, &["a"]);
    assert_eq!((store.role(), heard(&store), Arc::new(store).log_end()), (Role::Alone, Vec::new(), Position(1)));
}
