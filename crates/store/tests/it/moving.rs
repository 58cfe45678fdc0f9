//! A data directory that is moved to PostgreSQL, and the audit of a shard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use vertice_model::Position;
use vertice_store::audit::{Audit, AuditError, Line, Trust, Verified, file_of, public_key, verify, verify_shard};
use vertice_store::postgres::{MoveError, migrate};
use vertice_store::{PostgresSettings, Store};
use vertice_testkit::postgres::Postgres;

use crate::audit::{answers, stretch};
use crate::damage::{fill, read_everything};
use crate::fixture::{clock_at, effect, numbered, open, settings, suppression};
use crate::postgres::take;

fn move_to(dir: &Path, settings: &PostgresSettings, shard: u32) -> Result<vertice_store::postgres::Moved, MoveError> {
    migrate(dir, (settings, shard), clock_at(0), &mut |_, _| {})
}

/// A data directory with everything in it.
fn directory(dir: &Path) -> Vec<String> {
    let store = open(dir);
    fill(&store);
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&stretch(1..=400), Position(400)).unwrap();
    audit.append(&answers(401..=420), Position(420)).unwrap();
    let all = read_everything(&store).unwrap();
    store.close().unwrap();
    all
}

#[test]
fn a_directory_is_moved_once_however_often_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Postgres::start(dir.path(), "moving a data directory to PostgreSQL") else { return };
    server.database("defense");
    let data = dir.path().join("data");
    let before = directory(&data);
    let settings = settings(&server, "defense", &data);
    // Killed after each of its steps in turn, and gone on with.
    let mut kills = 0;
    let moved = loop {
        let mut killed_at = |step: &str, _: u64| panic!("killed after a step of {step}");
        let run = catch_unwind(AssertUnwindSafe(|| migrate(&data, (&settings, 0), clock_at(0), &mut killed_at)));
        match run {
            Ok(moved) => break moved.unwrap(),
            Err(_) => kills += 1,
        }
        assert!(kills < 100, "it comes to an end");
        let busy = Store::take_shard(&settings, 0, clock_at(0)).map(|_| ()).unwrap_err().to_string();
        assert!(busy.contains("is being moved to shard 0"), "{busy}");
        let other = dir.path().join("other");
        let refused = move_to(&other, &settings, 0).unwrap_err().to_string();
        assert!(refused.contains("another directory"), "{refused}");
    };
    assert!(kills >= 8, "{kills} kills");
    let store = take(&settings, 0);
    assert_eq!(read_everything(&store).unwrap(), before);
    assert_eq!(store.load_snapshot(1).unwrap().unwrap().bytes, [5; 3_000]);
    assert_eq!((moved.positions, store.verify().unwrap().positions), (492, 492));
    let trust = Trust { key: public_key(&data).unwrap(), anchor: None };
    let shown = |lines: &mut Vec<String>, line: &str| -> Result<(), AuditError> {
        lines.push(line.to_owned());
        Ok(())
    };
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let of_file = verify::<AuditError>(&file_of(&data), &trust, |l| shown(&mut here, l)).unwrap();
    let of_shard = verify_shard::<AuditError>(&settings, 0, &trust, |l| shown(&mut there, l)).unwrap();
    assert_eq!((of_shard, &there), (of_file, &here));
    // The engine goes on, and the audit with it.
    let mut audit = Audit::open(&store).unwrap();
    assert_eq!(audit.judged(), Position(420));
    audit.append(&answers(421..=430), Position(430)).unwrap();
    assert_eq!(store.submit_blocking(numbered(0..1)).unwrap().first, Position(493));
    // Once is enough.
    let again = move_to(&data, &settings, 0).unwrap_err().to_string();
    assert!(again.contains("shard 0 is not empty: it has rows in log"), "{again}");
}

#[test]
fn what_became_different_on_the_way_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Postgres::start(dir.path(), "comparing what was moved to PostgreSQL") else { return };
    let data = dir.path().join("data");
    directory(&data);
    for (n, (change, table)) in [
        ("UPDATE vertice.log SET blob = blob || 'x' WHERE seq_first = 1", "log"),
        ("DELETE FROM vertice.record WHERE kind = 1", "record"),
        ("INSERT INTO vertice.about VALUES ('x', 0, 0, 'y')", "about"),
        ("UPDATE vertice.api_key SET hash = '\\x00'", "api_key"),
        ("UPDATE vertice.audit SET line = line || 'x' WHERE n = 7", "audit"),
    ]
    .into_iter()
    .enumerate()
    {
        let database = format!("d{n}");
        server.database(&database);
        let settings = settings(&server, &database, &data);
        let mut changed = false;
        let moved = migrate(&data, (&settings, 0), clock_at(0), &mut |step, _| {
            // The last step of all.
            if step == "audit" && !changed {
                changed = server.sql(&database, "SELECT count(*) FROM vertice.audit_seal") == "1";
                if changed {
                    assert_eq!(server.sql(&database, change), "");
                }
            }
        });
        assert!(changed, "{change}");
        match moved {
            Err(MoveError::Different { table: found, .. }) => assert_eq!(found, table),
            Err(MoveError::Audit(error)) => assert!(table == "audit" && error.to_string().contains("changed")),
            other => panic!("{change}: {other:?}"),
        }
        assert!(Store::take_shard(&settings, 0, clock_at(0)).is_err(), "nobody can take it");
    }
}

#[test]
fn suppressions_go_to_the_shard_that_decides_about_them() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Postgres::start(dir.path(), "moving suppressions to PostgreSQL") else { return };
    server.database("defense");
    let (data, settings) = (dir.path().join("data"), settings(&server, "defense", dir.path()));
    let store = open(&data);
    store.submit_blocking(numbered(0..1)).unwrap();
    let proposed = effect(1, 0, vertice_engine::Record::Suppression(suppression("a test", 0)));
    store.project(Position(1), &[proposed]).unwrap().wait().unwrap();
    store.close().unwrap();
    match move_to(&data, &settings, 1) {
        Err(error @ MoveError::Suppressions { count: 1 }) => assert!(error.to_string().contains("shard 0")),
        other => panic!("{other:?}"),
    }
    move_to(&data, &settings, 0).unwrap();
}

fn whole(settings: &PostgresSettings, shard: u32) -> Result<Verified, AuditError> {
    verify_shard(settings, shard, &Trust::default(), |_| Ok(()))
}

#[test]
fn a_shard_s_audit_is_the_same_lines_with_the_same_proof() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Postgres::start(dir.path(), "the audit of shards") else { return };
    server.database("defense");
    let (file_dir, keys) = (dir.path().join("data"), dir.path().join("keys"));
    let file_store = open(&file_dir);
    file_store.submit_blocking(numbered(0..800)).unwrap();
    let mut in_file = Audit::open(&file_store).unwrap();
    // One key for all, as all instances of a deployment have.
    std::fs::create_dir(&keys).unwrap();
    std::fs::copy(file_dir.join("audit.key"), keys.join("audit.key")).unwrap();
    let settings = settings(&server, "defense", &keys);
    let store = take(&settings, 3);
    store.submit_blocking(numbered(0..800)).unwrap();
    let mut in_rows = Audit::open(&store).unwrap();
    for range in [1..=2, 3..=300, 301..=700] {
        let judged = Position(*range.end());
        in_file.append(&stretch(range.clone()), judged).unwrap();
        in_rows.append(&stretch(range.clone()), judged).unwrap();
        // What comes again is passed over.
        in_rows.append(&stretch(range), judged).unwrap();
    }
    in_file.append(&[], Position(710)).unwrap();
    in_rows.append(&[], Position(710)).unwrap();
    in_file.cover().unwrap();
    in_rows.cover().unwrap();
    let of_file = verify::<AuditError>(&file_of(&file_dir), &Trust::default(), |_| Ok(())).unwrap();
    assert_eq!(whole(&settings, 3).unwrap(), of_file);
    assert!(of_file.checkpoints >= 2 && of_file.judged == Position(710));

    // Whoever was superseded enters nothing more, and the next one goes on.
    let next = take(&settings, 3);
    let stale = in_rows.append(&answers(711..=712), Position(712)).unwrap_err();
    assert!(stale.to_string().contains("another instance took the shard over"), "{stale}");
    let mut goes_on = Audit::open(&next).unwrap();
    goes_on.append(&answers(711..=712), Position(712)).unwrap();
    assert_eq!(whole(&settings, 3).unwrap().entries, of_file.entries + 2);

    // An instance with another key is told so, of whichever shard.
    let mut other = settings.clone();
    other.key_dir = dir.path().join("others");
    let told = Audit::open(&take(&other, 4)).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("give all instances the same audit.key"), "{told}");

    for change in [
        "UPDATE vertice.audit SET line = overlay(line placing 'x' from 200 for 1) WHERE n = 300",
        "DELETE FROM vertice.audit WHERE n = (SELECT max(n) FROM vertice.audit)",
        "DELETE FROM vertice.audit WHERE n = 17",
        "INSERT INTO vertice.audit SELECT shard, n + 1, line FROM vertice.audit ORDER BY n DESC LIMIT 1",
        "UPDATE vertice.audit_seal SET line = overlay(line placing '\\x31' from 40 for 1)",
    ] {
        let change = format!(
            "CREATE TABLE kept AS SELECT * FROM vertice.audit; CREATE TABLE seal AS SELECT * FROM vertice.audit_seal; {change}"
        );
        let _changed = server.sql("defense", &change);
        match whole(&settings, 3) {
            Err(AuditError::Broken { .. }) => {}
            Ok(found) => assert!(!found.tail.is_empty() && change.contains("INSERT"), "{change}: {found:?}"),
            Err(other) => panic!("{change}: {other}"),
        }
        assert!(Audit::open(&next).is_err(), "{change}");
        let back =
            "DELETE FROM vertice.audit; INSERT INTO vertice.audit SELECT * FROM kept; DELETE FROM vertice.audit_seal;
            INSERT INTO vertice.audit_seal SELECT * FROM seal; DROP TABLE kept, seal";
        let _undone = server.sql("defense", back);
        whole(&settings, 3).unwrap();
    }
    let mut kinds = 0;
    verify_shard::<AuditError>(&settings, 3, &Trust::default(), |line| {
        let line: Line<'_, serde_json::Value> = serde_json::from_str(line).expect("JSON");
        kinds += usize::from(line.kind == "checkpoint");
        Ok(())
    })
    .unwrap();
    assert_eq!(kinds as u64, of_file.checkpoints);
}
