//! Flipped bytes: what is read is what was written, or an error that names the damage.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use vertice_engine::{Input, Record};
use vertice_model::{Position, Severity, ThreatState, Timestamp};
use vertice_store::{
    Check, Cursor, Filter, FindError, Idempotency, OpenError, Options, Page, RankedPage, ReadError, RecordKind, Store,
    Submission,
};

use crate::fixture::{clock_at, detection, effect, event, numbered, open, open_with, refused, threat, urgent};

/// Everything that a store holds, as text.
pub type Everything = Vec<String>;

pub fn fill(store: &Store) {
    for n in 0..12 {
        // Text that does not compress, so that most bytes of the file matter.
        let word = |w: u64| format!("{:016x}", w.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let noise = |at: u64| (at * 20 + 1..at * 20 + 21).map(word);
        let events = (n * 40..n * 40 + 40).map(|at| event("noise", &noise(at).collect::<String>())).collect();
        let mut submission = Submission { events, ..Submission::default() };
        submission.cursors.push(Cursor { source: format!("file {n}"), value: vec![n as u8; 20] });
        submission.idempotency = Some(Idempotency { key: [n as u8; 32], answer: vec![n as u8; 50] });
        store.submit_blocking(submission).expect("there is space");
        let position = n * 40 + 1;
        let found = |i: u32| Record::Detection(detection(&format!("{n} {i}"), Severity::High, "192.0.2.7"));
        let mut effects: Vec<_> = (2..12).map(|i| effect(position, i, found(i))).collect();
        effects.extend([
            effect(position, 1, Record::Threat(threat(&(n % 3).to_string(), &n.to_string(), ThreatState::Open))),
            effect(position + 1, 0, refused(position + 1)),
        ]);
        store.project(Position(position + 1), &effects).expect("it runs").wait().expect("there is space");
        store.append_blocking(Input::Tick).expect("there is space");
    }
    store.save_snapshot(Position(20), 1, &[5; 3_000]).expect("there is space");
    store.add_api_key("ana", [9; 32]).expect("there is space");
    store.set_meta("mode", "observe").expect("there is space");
}

/// The log alone.
fn read_log(store: &Store) -> Result<Everything, ReadError> {
    let (mut all, mut next) = (Vec::new(), Position(1));
    loop {
        let inputs = store.read(next, 100)?;
        if inputs.is_empty() {
            return Ok(all);
        }
        for (stamp, input) in inputs {
            next = next.plus(input.positions());
            all.push(format!("{stamp:?} {input:?}"));
        }
    }
}

pub fn read_everything(store: &Store) -> Result<Everything, ReadError> {
    let mut all = read_log(store)?;
    let page = Page { limit: 1_000, ..Page::default() };
    for kind in RecordKind::ALL {
        all.extend(store.list(kind, &Filter::default(), page)?.iter().map(|r| format!("{r:?}")));
    }
    let filter = Filter { entity: Some("192.0.2.7".to_owned()), ..Filter::default() };
    all.extend(store.list(RecordKind::Threat, &filter, page)?.iter().map(|r| format!("{r:?}")));
    all.extend(store.changes(None, 1_000)?.iter().map(|r| format!("{r:?}")));
    for n in 0..12 {
        all.push(format!("{:?} {:?}", store.cursor(&format!("file {n}"))?, store.idempotent(&[n; 32])?));
    }
    all.push(format!("{:?} {:?} {}", store.api_keys()?, store.meta("mode")?, store.judged_to()));
    Ok(all)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for name in ["vertice.db", "vertice.db-wal", "acknowledged"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("a copy");
        }
    }
}

fn flip(file: &Path, at: u64, mask: u8) {
    let file = File::options().read(true).write(true).open(file).expect("the copy opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&[byte[0] ^ mask], at).expect("it can be written");
}

/// What became of one flipped byte.
#[derive(Default)]
struct Tally {
    same: u32,
    named: u32,
}

/// Opens a damaged copy and reads it; the error must name the file and say what is wrong.
fn examine(dir: &Path, check: Check, read: fn(&Store) -> Result<Everything, ReadError>, expected: &Everything) -> bool {
    let opened = Store::open(dir, clock_at(1_000_000), Options { check, ..Options::default() });
    let named =
        match opened.map_err(|e| (format!("{e}"), matches!(e, OpenError::Damaged(_) | OpenError::Schema { .. }))) {
            Err(named) => named,
            Ok(store) => match read(&store) {
                Ok(found) => {
                    assert!(found == *expected, "silently different");
                    return true;
                }
                Err(e) => (format!("{e}"), matches!(e, ReadError::Damaged(_))),
            },
        };
    assert!(named.1, "not named as damage: {}", named.0);
    assert!(named.0.contains("vertice.db"), "the file is not named: {}", named.0);
    false
}

/// Flips a byte at `cases` places of a file, evenly spread and each with another bit.
fn flip_all(source: &Path, name: &str, cases: u64, check: Check, log_only: bool) -> Tally {
    let read = if log_only { read_log } else { read_everything };
    // In memory where there is such a place: hundreds of copies are opened, and none has to outlive anything.
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let whole = scratch.path().join("whole");
    copy(source, &whole);
    let expected = read(&open_with(&whole, Options { check, ..Options::default() })).expect("the copy is whole");
    let length = source.join(name).metadata().expect("it is there").len();
    let mut tally = Tally::default();
    for case in 0..cases {
        let dir = scratch.path().join(case.to_string());
        copy(source, &dir);
        // Spread over the file, and not always at the same place of a page.
        let at = (case * length / cases + case * 37) % length;
        flip(&dir.join(name), at, 1 << (case % 8));
        let same = std::panic::catch_unwind(|| examine(&dir, check, read, &expected));
        match same {
            Ok(true) => tally.same += 1,
            Ok(false) => tally.named += 1,
            Err(panic) => {
                eprintln!("byte {at} of {name}, bit {}", case % 8);
                std::panic::resume_unwind(panic);
            }
        }
        std::fs::remove_dir_all(&dir).expect("the copy goes");
    }
    eprintln!("{name}, {check:?}: {} places made no difference, {} were named", tally.same, tally.named);
    tally
}

#[test]
fn a_flipped_byte_of_the_file_is_harmless_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    store.close().unwrap();
    drop(store);
    let tally = flip_all(dir.path(), "vertice.db", 100, Check::Everything, false);
    assert!(tally.named > 50, "too few places matter");
    // The log needs no check beforehand.
    let tally = flip_all(dir.path(), "vertice.db", 60, Check::Ends, true);
    assert!(tally.named > 15, "too few places matter");
}

#[test]
fn a_flipped_byte_of_the_write_ahead_log_is_harmless_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Options { wal_bytes: u64::MAX, ..Options::default() });
    fill(&store);
    // As if the process were killed here: the copy has everything in its write-ahead log.
    let left = dir.path().join("left");
    copy(dir.path(), &left);
    let tally = flip_all(&left, "vertice.db-wal", 60, Check::AfterCrash, false);
    assert!(tally.named > 20);
}

#[test]
fn a_write_ahead_log_that_is_cut_or_gone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), Options { wal_bytes: u64::MAX, ..Options::default() });
    fill(&store);
    let expected = read_everything(&store).unwrap();
    let left = dir.path().join("left");
    copy(dir.path(), &left);
    let wal = left.join("vertice.db-wal");
    let whole = wal.metadata().unwrap().len();
    for cut in [whole - 1, whole / 2, 40, 0] {
        let case = dir.path().join(cut.to_string());
        copy(&left, &case);
        File::options().write(true).open(case.join("vertice.db-wal")).unwrap().set_len(cut).unwrap();
        assert!(!examine(&case, Check::AfterCrash, read_everything, &expected), "cut to {cut}");
    }
    // Bytes that were being written when the process died are no damage.
    let case = dir.path().join("torn");
    copy(&left, &case);
    let file = File::options().write(true).open(case.join("vertice.db-wal")).unwrap();
    file.write_all_at(&[0xa5; 5_000], whole).unwrap();
    assert!(examine(&case, Check::AfterCrash, read_everything, &expected));
}

#[test]
fn a_damaged_witness_is_no_damage_of_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let expected = read_everything(&store).unwrap();
    drop(store);
    for at in 0..16 {
        flip(&dir.path().join("acknowledged"), at, 0x10);
        assert!(examine(dir.path(), Check::AfterCrash, read_everything, &expected));
    }
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.submit_blocking(numbered(0..30)).unwrap();
    store.save_snapshot(Position(10), 1, b"an older state").unwrap();
    store.save_snapshot(Position(20), 1, b"a newer state").unwrap();
    store.close().unwrap();
    drop(store);
    let file = dir.path().join("vertice.db");
    let place_of = |text: &[u8]| {
        let bytes = std::fs::read(&file).unwrap();
        bytes.windows(text.len()).position(|w| w == text).expect("short texts are not compressed") as u64
    };
    flip(&file, place_of(b"a newer"), 1);
    let store = open(dir.path());
    assert_eq!(store.load_snapshot(1).unwrap().unwrap().position, Position(10));
    assert_eq!(store.stats().snapshots_damaged.load(std::sync::atomic::Ordering::Relaxed), 1);
    drop(store);
    flip(&file, place_of(b"an older"), 1);
    let store = open(dir.path());
    assert_eq!(store.load_snapshot(1).unwrap(), None);
    // It is passed over, and not hidden: whoever asks for everything is told.
    assert!(store.verify().unwrap_err().to_string().contains("snapshot, the snapshot at position"), "not named");
}

#[test]
fn a_file_of_another_version_or_kind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let db = rusqlite::Connection::open(dir.path().join("vertice.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = Store::open(dir.path(), clock_at(0), Options::default()).unwrap_err();
    assert!(error.to_string().contains("schema version 99, and this program knows 2"), "{error}");
    let other = tempfile::tempdir().unwrap();
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    std::fs::copy(text, other.path().join("vertice.db")).unwrap();
    let error = Store::open(other.path(), clock_at(0), Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
}

#[test]
fn a_file_of_the_version_before_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    // Half a second more must not become a whole one, and what was opened before priorities has none.
    let mut late = urgent("late", 70, 12);
    late.opened_at = Timestamp::from_micros(12_999_999);
    late.title = r#""triage":{"priority":99"#.to_owned();
    let effects = [effect(490, 0, Record::Threat(late)), effect(490, 1, Record::Threat(urgent("early", 70, 11)))];
    store.project(Position(490), &effects).unwrap().wait().unwrap();
    let ranked = |store: &Store| {
        let page = RankedPage { after: None, limit: 100, descending: true };
        format!("{:?}", store.ranked(&Filter::default(), &page).unwrap())
    };
    let (everything, by_priority) = (read_everything(&store).unwrap(), ranked(&store));
    assert!(by_priority.contains("rank: 7000000000012") && by_priority.contains("rank: 100,"), "{by_priority}");
    store.close().unwrap();
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("vertice.db")).unwrap();
    db.execute_batch("DROP INDEX record_rank; ALTER TABLE record DROP COLUMN rank; PRAGMA user_version = 1").unwrap();
    drop(db);
    let store = open_with(dir.path(), Options { check: Check::Everything, ..Options::default() });
    assert_eq!((read_everything(&store).unwrap(), ranked(&store)), (everything, by_priority));
    store.verify().unwrap();
    store.close().unwrap();
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("vertice.db")).unwrap();
    db.execute("UPDATE record SET rank = rank + 1 WHERE rank > 100", []).unwrap();
    let damaged = open(dir.path()).verify().unwrap_err().to_string();
    assert!(damaged.contains("its rank is wrong"), "{damaged}");
}

#[test]
fn a_damaged_record_is_named_by_every_way_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    store.close().unwrap();
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("vertice.db")).unwrap();
    db.execute("UPDATE record SET state = 'quiet' WHERE kind = 1", []).unwrap();
    db.execute("DELETE FROM log WHERE seq_first = 42", []).unwrap();
    drop(db);
    let store = open(dir.path());
    let named = |e: ReadError| match e {
        ReadError::Damaged(damage) => (damage.table, damage.place),
        other @ ReadError::Database { .. } => panic!("{other}"),
    };
    let id = vertice_model::ThreatId::derive("0").to_string();
    match store.find(RecordKind::Threat, &id) {
        Err(FindError::Read(e)) => assert_eq!(named(e), ("record", format!("threat {id}"))),
        other => panic!("{other:?}"),
    }
    assert_eq!(named(read_log(&store).unwrap_err()), ("log", "position 42".to_owned()));
    assert_eq!(named(store.verify().unwrap_err()).0, "log");
    drop(store);
    let change = |sql: &str| {
        let db = rusqlite::Connection::open(dir.path().join("vertice.db")).unwrap();
        assert!(db.execute(sql, []).unwrap() > 0, "{sql}");
    };
    // Each by the way it is usually read.
    change("UPDATE cursor SET value = x'00'");
    change("UPDATE meta SET value = 'live'");
    change("UPDATE api_key SET hash = zeroblob(32)");
    change("UPDATE idempotency SET answer = x'00'");
    let store = open(dir.path());
    assert_eq!(named(store.cursor("file 1").unwrap_err()), ("cursor", "file 1".to_owned()));
    assert_eq!(named(store.meta("mode").unwrap_err()), ("meta", "mode".to_owned()));
    assert_eq!(named(store.api_keys().unwrap_err()), ("api_key", "ana".to_owned()));
    assert_eq!(named(store.idempotent(&[1; 32]).unwrap_err()).0, "idempotency");
    drop(store);
    for (sql, what) in [
        ("UPDATE log SET n = n + 1 WHERE seq_first = (SELECT max(seq_first) FROM log)", "the log ends at position"),
        ("UPDATE head SET judged = 1", "its checksum is wrong"),
        ("DELETE FROM head", "it is missing"),
    ] {
        change(sql);
        let error = Store::open(dir.path(), clock_at(0), Options::default()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)) && error.to_string().contains(what), "{error}");
        if what.starts_with("the log") {
            change("UPDATE log SET n = n - 1 WHERE seq_first = (SELECT max(seq_first) FROM log)");
        }
    }
}
