//! What only PostgreSQL can do: several owners, one after another, and all shards at once; and what it must survive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vertice_engine::{Input, Record};
use vertice_model::{OrderId, Position, Principal, Severity, ThreatId, ThreatState, Timestamp, VerdictKind};
use vertice_store::{Filter, Page, PostgresSettings, RankedPage, RecordKind, Store, SubmitError};
use vertice_testkit::postgres::{PASSWORD, Postgres};

use crate::fixture::{clock_at, detection, effect, numbered, settings, threat, urgent};

/// A server with a database, where there is one.
pub fn server(dir: &Path, left_out: &str) -> Option<(Postgres, PostgresSettings)> {
    let server = Postgres::start(dir, left_out)?;
    server.database("defense");
    let settings = settings(&server, "defense", dir);
    Some((server, settings))
}

pub fn take(settings: &PostgresSettings, shard: u32) -> Store {
    Store::take_shard(settings, shard, clock_at(1_000_000)).expect("it can be taken")
}

fn overview(settings: &PostgresSettings) -> Store {
    Store::overview(settings, clock_at(1_000_000)).expect("there is a server")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads")
}

fn open_threat(name: &str) -> Record {
    Record::Threat(threat(name, name, ThreatState::Open))
}

#[test]
fn whoever_was_superseded_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, settings)) = server(dir.path(), "the fence of shards") else { return };
    let (first, other) = (take(&settings, 7), take(&settings, 8));
    let order = OrderId::derive("o");
    first.submit_blocking(numbered(0..3)).unwrap();
    assert!(!first.is_claimed(order).unwrap());
    assert_eq!(first.claim(order).unwrap(), Some(1));
    let second = take(&settings, 7);
    assert!(second.is_claimed(order).unwrap() && !second.is_claimed(OrderId::derive("p")).unwrap());
    assert_eq!((second.epoch(), second.log_end()), (2, Position(3)));
    // An owner that writes nothing is told too.
    let mut failed = first.failed();
    runtime().block_on(failed.wait_for(Option::is_some)).unwrap();
    for refused in [
        first.submit_blocking(numbered(3..4)).map(|_| ()),
        first.set_meta("mode", "live"),
        first.claim(order).map(|_| ()),
    ] {
        match refused {
            Err(SubmitError::Stopped(s)) => assert!(s.taken_over && s.reason.contains("another instance"), "{s}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(first.project(Position(3), &[effect(1, 0, open_threat("t"))]).is_err());
    first.close().unwrap();
    assert_eq!(
        (second.meta("mode").unwrap(), second.count(RecordKind::Threat, &Filter::default()).unwrap()),
        (None, 0)
    );
    // The claim rises with the epoch, and another shard's order is not to be had.
    assert_eq!(second.claim(order).unwrap(), Some(2));
    assert_eq!(other.claim(order).unwrap(), None);
    assert_eq!(second.submit_blocking(numbered(3..4)).unwrap().first, Position(4));
    assert_eq!(second.verify().unwrap().positions, 4);
}

#[test]
fn an_overview_shows_all_shards_and_answers_reach_the_one_that_they_concern() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, settings)) = server(dir.path(), "all shards at once") else { return };
    let all = overview(&settings);
    let shards = [take(&settings, 0), take(&settings, 5)];
    // Turn by turn, so that their order over all is not the order of either's positions.
    for n in 0..40_u64 {
        let shard = &shards[n as usize % 2];
        shard.submit_blocking(numbered(n..n + 1)).unwrap();
        let found = effect(shard.log_end().0, 0, open_threat(&n.to_string()));
        shard.project(shard.log_end(), &[found]).unwrap().wait().unwrap();
    }
    let expected: Vec<String> = (0..40).map(|n: u64| ThreatId::derive(&n.to_string()).to_string()).collect();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let changes = all.changes(after, 7).unwrap();
        let Some(last) = changes.last() else { break };
        after = Some(last.effect);
        seen.extend(changes.into_iter().map(|c| (c.shard, c.key)));
    }
    assert_eq!(seen.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>(), expected);
    assert!(seen.iter().enumerate().all(|(n, (shard, _))| *shard == [0, 5][n % 2]));
    assert_eq!(all.latest_change().unwrap(), after);
    let page = Page { limit: 3, descending: true, after: None };
    let latest = all.list(RecordKind::Threat, &Filter::default(), page).unwrap();
    assert_eq!(latest.iter().map(|r| &r.key).collect::<Vec<_>>(), expected.iter().rev().take(3).collect::<Vec<_>>());
    assert_eq!(all.count(RecordKind::Threat, &Filter::default()).unwrap(), 40);
    for shard in &shards {
        let twin = effect(shard.log_end().0, 1, Record::Threat(urgent("in both", 50, 9)));
        shard.project(shard.log_end(), &[twin]).unwrap().wait().unwrap();
    }
    let mut page = RankedPage { after: None, limit: 1, descending: true };
    let mut by_priority = Vec::new();
    while let Some(first) = all.ranked(&Filter::default(), &page).unwrap().pop() {
        page.after = first.rank;
        by_priority.push((first.key, first.shard));
    }
    let twin = ThreatId::derive("in both").to_string();
    assert_eq!(by_priority[..2], [(twin.clone(), 5), (twin, 0)]);
    let mut others: Vec<String> = expected.clone();
    others.sort_by(|a, b| b.cmp(a));
    assert_eq!(by_priority[2..].iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), others);
    assert_eq!(all.about(RecordKind::Threat, "192.0.2.7", "open").unwrap().len(), 42);
    assert_eq!(all.event(5, Position(2)).unwrap().unwrap().1.line, "event number 3");

    let verdict = |name: &str| Input::Verdict {
        threat: ThreatId::derive(name),
        verdict: VerdictKind::FalsePositive,
        note: "a test".to_owned(),
        by: Principal("ana".into()),
    };
    let runtime = runtime();
    runtime.block_on(async {
        for (name, shard) in [("3", 5), ("4", 0), ("nobody knows it", 0)] {
            let accepted = all.append(verdict(name)).await.unwrap();
            let owner = &shards[usize::from(shard == 5)];
            // Whoever asked may hear of the commit before the shard's owner does.
            owner.appended().wait_for(|at| *at >= accepted.first).await.unwrap();
            assert_eq!((accepted.shard, accepted.first), (shard, owner.log_end()));
            // It is judged, of which nothing comes, and whoever asked hears of it nevertheless.
            owner.project(owner.log_end(), &[]).unwrap().done().await.unwrap();
            let judged = tokio::time::timeout(Duration::from_secs(20), all.judged_past(&accepted));
            judged.await.expect("in time").unwrap();
        }
    });
    let key = |name: &str| all.add_api_key(name, [1; 32]).unwrap();
    assert_eq!((key("ana"), key("ana"), shards[1].api_keys().unwrap().len()), (true, false, 1));
    assert_eq!(all.verify().unwrap().records, 42);
    // The last clones may go where nobody may block.
    runtime.block_on(async move { drop((all, shards)) });
}

#[test]
fn all_of_it_goes_by_encrypted_connections() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Postgres::start_guarded(dir.path(), "encrypted connections") else { return };
    server.database("sealed");
    let url = format!("postgres://vertice:{PASSWORD}@127.0.0.1:{}/sealed?sslmode=verify-full", server.port());
    let mut settings = PostgresSettings::from_url(&url, dir.path()).unwrap();
    settings.ca_file = Some(server.authority());
    let (all, shard) = (overview(&settings), take(&settings, 3));
    shard.submit_blocking(numbered(0..200)).unwrap();
    shard.project(Position(200), &[effect(1, 0, open_threat("t"))]).unwrap().wait().unwrap();
    assert_eq!(shard.claim(OrderId::derive("o")).unwrap(), Some(1));
    let (threat, by) = (ThreatId::derive("t"), Principal("ana".into()));
    let verdict = Input::Verdict { threat, verdict: VerdictKind::FalsePositive, note: "a test".to_owned(), by };
    // It is left there, and its owner hears of it.
    let accepted = runtime().block_on(all.append(verdict)).unwrap();
    assert_eq!((accepted.shard, accepted.first), (3, Position(201)));
    assert_eq!(shard.verify().unwrap().positions, 201);
    let ours = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name ~ '^vertice'";
    let told = server.sql("sealed", &format!("SELECT count(*) > 2, bool_and(ssl) {ours}"));
    assert_eq!(told, "t|t");
    runtime().block_on(async move { drop((all, shard)) });
}

#[test]
fn what_no_owner_takes_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, settings)) = server(dir.path(), "inputs that nobody takes") else { return };
    let all = overview(&settings);
    let answer = Input::Release {
        containment: vertice_model::ContainmentId::derive("c"),
        reason: String::new(),
        by: Principal("ana".into()),
    };
    let busy = all.append_blocking(answer.clone()).unwrap_err();
    assert!(matches!(busy, SubmitError::Busy { .. }), "{busy}");
    assert_eq!(server.sql("defense", "SELECT count(*) FROM vertice.inbox"), "0");
    // One that comes in time takes it.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| all.append_blocking(answer));
        let _owner = take(&settings, 0);
        let accepted = waiting.join().unwrap().unwrap();
        assert_eq!((accepted.shard, accepted.first), (0, Position(1)));
    });
}

#[test]
fn a_server_that_is_stopped_hard_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut server, settings)) = server(dir.path(), "PostgreSQL stopped hard under load") else { return };
    let store = take(&settings, 1);
    let stop = AtomicBool::new(false);
    let acknowledged = Mutex::new(Vec::new());
    let busy = std::sync::atomic::AtomicU64::new(0);
    let times = if vertice_testkit::long() { 100 } else { 10 };
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (store, stop, acknowledged, busy) = (&store, &stop, &acknowledged, &busy);
            scope.spawn(move || {
                let mut number = thread * 1_000_000;
                while !stop.load(Ordering::Relaxed) {
                    // One that is not acknowledged may not be there, and is not sent again.
                    number += 1;
                    match store.submit_blocking(numbered(number..number + 1)) {
                        Ok(accepted) => {
                            acknowledged.lock().unwrap().push(number);
                            let found = detection(&number.to_string(), Severity::High, "192.0.2.7");
                            let found = effect(accepted.first.0, 0, Record::Detection(found));
                            store.project(accepted.first, &[found]).expect("it goes on").wait().expect("it is kept");
                        }
                        Err(SubmitError::Busy { .. }) => _ = busy.fetch_add(1, Ordering::Relaxed),
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
        for time in 0..times {
            let before = acknowledged.lock().unwrap().len();
            while acknowledged.lock().unwrap().len() < before + 20 + time % 7 {
                std::thread::yield_now();
            }
            server.stop_hard();
            server.begin();
        }
        stop.store(true, Ordering::Relaxed);
    });
    store.close().unwrap();
    let store = take(&settings, 1);
    let (numbers, acknowledged) = (numbers_of(&store), acknowledged.into_inner().unwrap());
    let there: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(there.len(), numbers.len(), "an event is there twice");
    assert!(acknowledged.iter().all(|n| there.contains(n)), "one was acknowledged and is gone");
    assert!(busy.into_inner() > 0, "whoever submitted while it was away was told to come again");
    let records = store.count(RecordKind::Detection, &Filter::default()).unwrap();
    assert_eq!(records, acknowledged.len() as u64, "each acknowledged event's record was kept");
    assert_eq!(store.verify().unwrap().positions, numbers.len() as u64);
}

fn numbers_of(store: &Store) -> Vec<u64> {
    let (mut numbers, mut next) = (Vec::new(), Position(1));
    loop {
        let inputs = store.read(next, 10_000).expect("the log is whole");
        if inputs.is_empty() {
            return numbers;
        }
        for (_, input) in inputs {
            next = next.plus(input.positions());
            if let Input::Events(events) = input {
                numbers.extend(events.iter().filter_map(|e| e.line.rsplit(' ').next()?.parse::<u64>().ok()));
            }
        }
    }
}

/// What a proxy does to the next commit.
const NOTHING: u8 = 0;
const LOSE_ANSWER: u8 = 1;
const LOSE_COMMIT: u8 = 2;

/// Stands between a store and its server, and breaks connections while a commit is under way.
fn proxy(server: &Postgres) -> (u16, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let socket = server.socket().join(format!(".s.PGSQL.{}", server.port()));
    let mode = Arc::new(AtomicU8::new(NOTHING));
    let told = mode.clone();
    // Ends with the process of the tests.
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&socket) else { continue };
            let mode = told.clone();
            std::thread::spawn(move || between(client, server, &mode));
        }
    });
    (port, mode)
}

fn between(mut client: TcpStream, mut server: UnixStream, mode: &AtomicU8) {
    let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let silent = Arc::new(AtomicBool::new(false));
    let muted = silent.clone();
    let back = std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(n @ 1..) = back_from.read(&mut bytes) {
            if muted.load(Ordering::SeqCst) || back_to.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        let _closed = back_to.shutdown(Shutdown::Both);
    });
    let mut bytes = [0; 16 * 1024];
    while let Ok(n @ 1..) = client.read(&mut bytes) {
        let commits = bytes[..n].windows(6).any(|w| w == b"COMMIT");
        let wanted = if commits { mode.swap(NOTHING, Ordering::SeqCst) } else { NOTHING };
        silent.fetch_or(wanted == LOSE_ANSWER, Ordering::SeqCst);
        if wanted == LOSE_COMMIT || server.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    if !silent.load(Ordering::SeqCst) {
        let _closed = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    }
    let _ended = back.join();
}

#[test]
fn a_commit_whose_answer_is_lost_is_neither_lost_nor_done_twice() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, _)) = server(dir.path(), "commits whose answers are lost") else { return };
    let (port, mode) = proxy(&server);
    let settings = PostgresSettings::from_parts(("127.0.0.1", port), "defense", ("vertice", None), dir.path());
    let store = take(&settings, 2);
    for number in 0..30_u64 {
        let wanted = [LOSE_ANSWER, LOSE_COMMIT, NOTHING][number as usize % 3];
        mode.store(wanted, Ordering::SeqCst);
        let accepted = store.submit_blocking(numbered(number..number + 1)).unwrap();
        assert_eq!(accepted.first, Position(number + 1), "with {wanted}");
        assert_eq!(mode.load(Ordering::SeqCst), NOTHING, "a commit was broken");
    }
    assert_eq!(numbers_of(&store), (0..30).collect::<Vec<_>>());
    assert_eq!(store.verify().unwrap().positions, 30);
}

#[test]
fn what_is_wrong_with_a_server_is_said_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, settings)) = server(dir.path(), "what is said of a server that can not be used") else { return };
    let socket = server.socket().to_str().unwrap().to_owned();
    let hba = "local all ana scram-sha-256\nlocal all all trust\n";
    let written = File::create(server.socket().join("data/pg_hba.conf")).and_then(|mut f| f.write_all(hba.as_bytes()));
    written.unwrap();
    let made = server.sql("defense", "CREATE ROLE ana LOGIN PASSWORD 'right'; SELECT pg_reload_conf()");
    assert_eq!(made, "t");
    let open = |port: u16, database: &str, user: (&str, Option<&str>)| {
        let settings = PostgresSettings::from_parts((&socket, port), database, user, dir.path());
        Store::take_shard(&settings, 0, clock_at(0)).map(|_| ()).unwrap_err().to_string()
    };
    for (error, what, advice) in [
        (
            open(5432, "defense", ("ana", Some("wrong"))),
            "password authentication failed",
            "check the user and the password",
        ),
        (open(5432, "defense", ("ana", Some("right"))), "permission denied", "let the user make a schema"),
        (open(5432, "none", ("vertice", None)), "\"none\" does not exist", "make it with `createdb`"),
        (open(5433, "defense", ("vertice", None)), "No such file", "check the host, the port"),
    ] {
        assert!(error.starts_with("PostgreSQL ") && error.contains(what) && error.contains(advice), "{error}");
        assert!(!error.contains("wrong\""), "{error}");
    }
    drop(take(&settings, 0));
    let _none = server.sql("defense", "UPDATE vertice.form SET version = 99");
    let error = Store::overview(&settings, clock_at(0)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("schema version 99"), "{error}");
    let mut encrypted = settings.clone();
    encrypted.tls = true;
    let error = Store::overview(&encrypted, clock_at(0)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("TLS"), "{error}");
}

#[test]
fn tables_of_the_version_before_are_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, settings)) = server(dir.path(), "older tables in PostgreSQL") else { return };
    let store = take(&settings, 4);
    let mut hostile = urgent("late", 70, 12);
    hostile.opened_at = Timestamp::from_micros(12_999_999);
    hostile.title = "\0\"triage\":{\"priority\":99".to_owned();
    let records = [Record::Threat(hostile), Record::Threat(urgent("early", 70, 11)), open_threat("before")];
    let effects: Vec<_> = (0..).zip(records).map(|(n, record)| effect(1, n, record)).collect();
    store.submit_blocking(numbered(0..5)).unwrap();
    store.project(Position(5), &effects).unwrap().wait().unwrap();
    let ranked = |store: &Store| {
        let page = RankedPage { after: None, limit: 100, descending: true };
        format!("{:?}", store.ranked(&Filter::default(), &page).unwrap())
    };
    let by_priority = ranked(&store);
    assert!(by_priority.contains("rank: 7000000000012") && by_priority.contains("rank: 100,"), "{by_priority}");
    drop(store);
    let before = "ALTER TABLE vertice.record DROP COLUMN rank; UPDATE vertice.form SET version = 2";
    let _changed = server.sql("defense", before);
    let store = take(&settings, 4);
    assert_eq!(ranked(&store), by_priority);
    store.verify().unwrap();
}

#[test]
fn damage_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, settings)) = server(dir.path(), "damage in PostgreSQL") else { return };
    let store = take(&settings, 4);
    store.submit_blocking(numbered(0..5)).unwrap();
    store.project(Position(5), &[effect(1, 0, open_threat("t"))]).unwrap().wait().unwrap();
    store.set_meta("mode", "live").unwrap();
    store.save_snapshot(Position(5), 1, b"state").unwrap();
    store.verify().unwrap();
    for (change, table) in [
        ("UPDATE vertice.log SET at_us = at_us + 1", "log"),
        ("UPDATE vertice.record SET json = replace(json, 'open', 'judged')", "record"),
        ("UPDATE vertice.record SET rank = rank + 1", "record"),
        ("UPDATE vertice.meta SET value = 'observe'", "meta"),
        ("UPDATE vertice.snapshot SET blob = blob || 'x'", "snapshot"),
        ("UPDATE vertice.shard SET judged = judged - 1", "shard"),
        ("DELETE FROM vertice.log", "log"),
    ] {
        let _changed = server.sql("defense", change);
        let damage = store.verify().unwrap_err().to_string();
        assert!(damage.contains(&format!("shard 4: {table}, ")), "{change}: {damage}");
        let undo = match table {
            "log" => "UPDATE vertice.log SET at_us = at_us - 1",
            "record" if change.contains("rank") => "UPDATE vertice.record SET rank = rank - 1",
            "record" => "UPDATE vertice.record SET json = replace(json, 'judged', 'open')",
            "meta" => "UPDATE vertice.meta SET value = 'live'",
            "snapshot" => "DELETE FROM vertice.snapshot",
            _ => "UPDATE vertice.shard SET judged = judged + 1",
        };
        let _undone = server.sql("defense", undo);
    }
}
