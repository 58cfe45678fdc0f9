//! The audit as it is written: over and over again, torn, without space, without its key.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use vertice_engine::{Content, ContentFile, Effect, EffectKind, Input, Record, Stamp};
use vertice_model::{
    ConsultationId, ContainmentId, EffectId, OrderId, Outcome, Position, Principal, QuestionId, Receipt, Reply, RunId,
    Scope, SuppressionId, SuppressionWish, ThreatId, Timestamp, VerdictKind,
};
use vertice_store::audit::{
    Anchor, Audit, AuditError, Entry, Line, Tail, Trust, Verified, entries, file_of, public_key, verify,
};
use vertice_store::{Store, limits};

use crate::disk_full::SmallDisk;
use crate::fixture::{numbered, open};

const ADDRESS: &str = "203.0.113.9";

fn at(position: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + position as i64)
}

fn stamp(position: u64) -> Stamp {
    Stamp { position: Position(position), now: at(position) }
}

fn publish(position: u64, index: u32, record: Record) -> Effect {
    Effect { id: EffectId { position: Position(position), index }, kind: EffectKind::Publish(record) }
}

/// A record as it is kept: what it need not say is left out, so that a new field of it changes nothing here.
fn record<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).expect("a record of an older version")
}

fn run(planned: u64, changed: u64) -> Record {
    let step = json!({
        "action_id": "block", "action_type": "firewall_rule", "parameters": {"source_ip": ADDRESS},
        "inverse": "unblock \u{202e}it\u{1b}[2J", "lease_s": 3_600, "touches": [{"entity_kind": "ip", "entity": ADDRESS}],
        "depends_on": [], "state": {"is": "asked"}, "question_id": null,
    });
    Record::Run(record(json!({
        "run_id": RunId::derive(&planned.to_string()), "playbook_id": "brute_force_response", "playbook_version": "1.0",
        "threat_id": ThreatId::derive("t"), "plan_digest": "d".repeat(64), "state": "waiting", "reason": null,
        "success": false, "simulated": true, "actions_executed": 0, "steps": [step], "planned_at": at(planned),
        "timestamp": at(changed),
    })))
}

fn question(asked: u64) -> Record {
    Record::Question(record(json!({
        "question_id": QuestionId::derive(&asked.to_string()), "run_id": RunId::derive(&asked.to_string()),
        "threat_id": ThreatId::derive("t"), "playbook_id": "brute_force_response", "action_id": "block",
        "action_type": "firewall_rule", "prompt": "Block it?", "severity": "high", "plan_digest": "d".repeat(64),
        "simulated": true, "urgent": false, "on_timeout": "deny", "asked_at": at(asked), "expires_at": at(asked + 300),
        "state": "approved", "answered": null,
    })))
}

fn containment(of: u64) -> Record {
    Record::Containment(record(json!({
        "containment_id": ContainmentId::derive(&of.to_string()), "run_id": RunId::derive(&of.to_string()),
        "threat_id": ThreatId::derive("t"), "playbook_id": "brute_force_response", "action_id": "block",
        "action_type": "firewall_rule", "entity_kind": "ip", "entity": ADDRESS, "simulated": true, "stage": "reflex",
        "state": {"is": "active"}, "since": at(of), "lease_until": at(of + 3_600),
    })))
}

fn by() -> Principal {
    Principal("ana".into())
}

fn answer(position: u64) -> Input {
    Input::Answer {
        question: QuestionId::derive(&position.to_string()),
        approve: true,
        plan_digest: "d".repeat(64),
        by: by(),
    }
}

/// What a stretch of the log came to, one position after another: a plan with its question, the answer, what came of it.
pub fn stretch(positions: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    let of = |position: u64| {
        let publish = |index: u32, record: Record| publish(position, index, record);
        let (input, effects) = match position % 4 {
            1 => {
                let asked = vec![publish(0, run(position, position)), publish(1, question(position))];
                (Input::Events(Vec::new()), asked)
            }
            2 => (answer(position - 1), vec![publish(0, question(position - 1))]),
            3 => {
                let ended = vec![publish(0, containment(position - 2)), publish(1, run(position - 2, position))];
                (Input::Tick, ended)
            }
            _ => (Input::Tick, Vec::new()),
        };
        entries(stamp(position), &input, &effects)
    };
    positions.flat_map(of).collect()
}

/// Answers, which are short, one at each position.
pub fn answers(positions: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    positions.flat_map(|position| entries(stamp(position), &answer(position), &[])).collect()
}

/// A store whose log has so many positions.
pub fn store_of(dir: &Path, positions: u64) -> Store {
    let store = open(dir);
    store.submit_blocking(numbered(0..positions)).expect("there is space");
    store
}

fn bytes_of(dir: &Path) -> Vec<u8> {
    std::fs::read(file_of(dir)).expect("it is there")
}

fn put(path: &Path, bytes: &[u8]) {
    let file = File::create(path).expect("a file");
    file.write_all_at(bytes, 0).expect("there is space");
}

fn whole(dir: &Path) -> Verified {
    let found: Result<_, AuditError> = verify(&file_of(dir), &Trust::default(), |_| Ok(()));
    found.expect("it is whole")
}

fn kinds(dir: &Path) -> Vec<String> {
    let mut kinds = Vec::new();
    let found: Result<_, AuditError> = verify(&file_of(dir), &Trust::default(), |line| {
        let line: Line<'_, serde_json::Value> = serde_json::from_str(line).expect("JSON");
        kinds.push(format!("{} {} by {}", line.of, line.kind, line.actor));
        Ok(())
    });
    assert_eq!(found.expect("it is whole").entries, kinds.len() as u64);
    kinds
}

#[test]
fn a_plan_its_question_the_answer_and_what_came_of_it_are_there_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 4);
    let mut audit = Audit::open(&store).unwrap();
    assert_eq!(audit.judged(), Position(0));
    audit.append(&stretch(1..=2), Position(2)).unwrap();
    audit.append(&stretch(3..=4), Position(4)).unwrap();
    let wanted = [
        "1.0 plan by engine",
        "1.1 question by engine",
        "2 answer by ana",
        "2.0 question by engine",
        "3.0 containment by engine",
        "3.1 response by engine",
    ];
    assert_eq!(kinds(dir.path()), wanted);
    let found = whole(dir.path());
    assert_eq!((found.entries, found.tail, found.times), (6, Tail::default(), Some((at(1), at(3)))));
    assert_eq!(found.bytes, bytes_of(dir.path()).len() as u64);
    assert_eq!(Some(found.key), public_key(dir.path()).unwrap());
    assert!(bytes_of(dir.path()).iter().all(|b| *b == b'\n' || (0x20..0x7f).contains(b)), "it is no plain ASCII");
}

/// What an input is entered as: its kind, who, and the record.
fn entered(input: &Input) -> (String, String, String) {
    let made = entries(stamp(7), input, &[]);
    let [entry] = &made[..] else { panic!("{input:?} came to {made:?}") };
    assert_eq!((entry.of.to_string().as_str(), entry.at), ("7", at(7)));
    assert!(entry.record.is_ascii(), "{}", entry.record);
    // In the order of their names: how a map is ordered depends on what else is built.
    let members: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(&entry.record).unwrap();
    (entry.kind.as_str().to_owned(), entry.actor.clone(), serde_json::to_string(&members).unwrap())
}

fn said(kind: &str, actor: &str, record: &str) -> (String, String, String) {
    (kind.to_owned(), actor.to_owned(), record.to_owned())
}

#[test]
fn what_a_person_does_is_entered_by_their_name() {
    let (threat, order, asked) = (ThreatId::derive("t"), OrderId::derive("o"), QuestionId::derive("1"));
    let containment = ContainmentId::derive("c");
    let plan = "d".repeat(64);
    let record = format!("{{\"approve\":true,\"plan_digest\":\"{plan}\",\"question_id\":\"{asked}\"}}");
    assert_eq!(entered(&answer(1)), said("answer", "ana", &record));
    let verdict = Input::Verdict { threat, verdict: VerdictKind::Benign, note: "ü".into(), by: by() };
    let record = format!("{{\"note\":\"ü\",\"threat_id\":\"{threat}\",\"verdict\":\"benign\"}}");
    assert_eq!(entered(&verdict), said("verdict", "ana", &record));
    let record = format!("{{\"containment_id\":\"{containment}\",\"reason\":\"r\"}}");
    let release = Input::Release { containment, reason: "r".into(), by: by() };
    assert_eq!(entered(&release), said("release", "ana", &record));
    let record = format!("{{\"playbook_id\":\"p\",\"threat_id\":\"{threat}\"}}");
    assert_eq!(entered(&Input::Start { playbook: "p".into(), threat, by: by() }), said("start", "ana", &record));
    let record = format!("{{\"happened\":false,\"order_id\":\"{order}\"}}");
    let resolve = Input::Resolve { order, happened: false, by: by() };
    assert_eq!(entered(&resolve), said("observation", "ana", &record));
    let key = Input::Key { name: "bouncer/edge".into(), added: true, by: by() };
    assert_eq!(entered(&key), said("key", "ana", "{\"added\":true,\"name\":\"bouncer/edge\"}"));
}

#[test]
fn what_the_world_did_is_entered_and_what_is_evidence_is_not() {
    let order = OrderId::derive("o");
    let policy = ContentFile { path: "policy/configuration".into(), text: "{\"mode\":\"live\"}".into() };
    let content = Content::compile(vec![policy]);
    let digest = content.digest();
    let record = format!("{{\"digest\":\"{digest}\",\"files\":1,\"policy\":{{\"mode\":\"live\"}}}}");
    assert_eq!(entered(&Input::Content(content.into())), said("content", "engine", &record));
    let record = format!("{{\"order_id\":\"{order}\"}}");
    assert_eq!(entered(&Input::Begun { order }), said("intent", "responder", &record));
    let receipt = Receipt {
        order_id: order,
        outcome: Outcome::Done,
        criteria: [("rule_applied".to_owned(), true)].into(),
        note: "n".into(),
    };
    let record = format!(
        "{{\"criteria\":{{\"rule_applied\":true}},\"note\":\"n\",\"order_id\":\"{order}\",\"outcome\":\"done\"}}"
    );
    assert_eq!(entered(&Input::Receipt(receipt)), said("outcome", "responder", &record));
    let operators = Input::Operators(vec!["192.0.2.1".parse().unwrap()]);
    assert_eq!(entered(&operators), said("observation", "responder", "{\"operators\":[\"192.0.2.1\"]}"));
    assert_eq!(entries(stamp(7), &Input::Tick, &[]), []);
    assert_eq!(entries(stamp(7), &Input::Events(Vec::new()), &[]), []);
}

/// A consultation as it is published in this state.
fn consultation(state: serde_json::Value) -> Record {
    Record::Consultation(record(json!({
        "consultation_id": ConsultationId::derive("c"), "threat_id": ThreatId::derive("t"), "reason": "severe",
        "revision": 1, "severity": "high", "evidence": [], "asked_at": at(1), "expires_at": at(601), "state": state,
        "opinion": null, "model": "m", "closed_at": null,
        "usage": {"input_tokens": 0, "output_tokens": 0, "cost_micro_usd": 0, "took_ms": 0, "cached": false},
    })))
}

/// A suppression as it is published in this state.
fn suppression(state: serde_json::Value) -> Record {
    let rate =
        json!({"mean": 0.5, "lower": 0.1, "upper": 0.9, "false_positives": 0, "confirmed": 0, "of_entity": true});
    Record::Suppression(record(json!({
        "suppression_id": SuppressionId::derive("s"), "state": state, "reason": "r", "proposed_by": "ana",
        "scope": {"rule_id": "rule-low", "on": {"entity_kind": "ip", "entity": ADDRESS}}, "proposed_at": at(1),
        "false_positive": rate, "would_hide_confirmed": 0, "suppressed": 0, "updated_at": at(1),
    })))
}

#[test]
fn what_models_said_and_what_is_suppressed_is_entered() {
    let consultation_id = ConsultationId::derive("c");
    let reply = Reply::Hijacked("it followed an order".into());
    let opinion = Input::Opinion { consultation: consultation_id, reply, model: "m".into(), usage: Default::default() };
    let (kind, actor, record) = entered(&opinion);
    assert_eq!((kind.as_str(), actor.as_str()), ("consultation", "model"));
    assert!(record.contains("\"came\":\"hijacked\"") && record.contains(&consultation_id.to_string()), "{record}");
    let wish = SuppressionWish::Remove { reason: "r".into() };
    let scope = Scope { rule_id: "rule-low".into(), on: None };
    let (kind, actor, record) = entered(&Input::Suppress { scope, wish, by: by() });
    assert_eq!((kind.as_str(), actor.as_str()), ("suppression", "ana"));
    assert!(record.contains("{\"Remove\":{\"reason\":\"r\"}}"), "{record}");

    let told = |record: Record| {
        let made = entries(stamp(7), &Input::Tick, &[publish(7, 0, record)]);
        made.into_iter().map(|e| (e.kind.as_str(), e.entities)).next()
    };
    let whom = || vec![ADDRESS.to_owned()];
    assert_eq!(told(consultation(json!({"is": "asked"}))), None, "it is entered once it is closed");
    for closed in [json!({"is": "answered"}), json!({"is": "refused", "why": "w"}), json!({"is": "expired"})] {
        assert_eq!(told(consultation(closed)), Some(("consultation", Vec::new())));
    }
    assert_eq!(told(suppression(json!({"is": "proposed"}))), Some(("suppression", whom())));
    let applied = |when| suppression(json!({"is": "applied", "by": "ana", "at": at(when), "until": at(999)}));
    assert_eq!(told(applied(7)), Some(("suppression", whom())));
    assert_eq!(told(applied(6)), None, "each time that it counts is no decision");
}

#[test]
fn what_is_there_already_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 12);
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&stretch(1..=6), Position(6)).unwrap();
    let before = bytes_of(dir.path());
    audit.append(&stretch(1..=6), Position(6)).unwrap();
    assert_eq!(bytes_of(dir.path()), before);
    drop(audit);
    // Judged again after a restart, in other stretches.
    let mut audit = Audit::open(&store).unwrap();
    assert_eq!(audit.judged(), Position(6));
    audit.append(&stretch(3..=9), Position(9)).unwrap();
    audit.append(&stretch(10..=12), Position(12)).unwrap();
    audit.cover().unwrap();
    let (again, pieces) = (bytes_of(dir.path()), kinds(dir.path()));

    let other = tempfile::tempdir().unwrap();
    let store = store_of(other.path(), 12);
    std::fs::copy(dir.path().join("audit.key"), other.path().join("audit.key")).unwrap();
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&stretch(1..=12), Position(12)).unwrap();
    assert_eq!(kinds(other.path()), pieces);
    assert_eq!(bytes_of(other.path()), again, "the audit is a function of the log");
}

#[test]
fn a_seal_says_how_far_the_log_was_judged_also_when_nothing_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 4);
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&[], Position(3)).unwrap();
    assert_eq!((audit.judged(), whole(dir.path()).judged), (Position(3), Position(0)));
    audit.cover().unwrap();
    assert_eq!(whole(dir.path()).judged, Position(3));
    audit.append(&[], Position(2)).unwrap();
    assert_eq!(audit.judged(), Position(3), "it never goes back");
}

/// Whatever a kill or a loss of power leaves between two seals, the next start makes the same file of it.
#[test]
fn a_torn_end_is_cut_off_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = file_of(dir.path());
    let store = store_of(dir.path(), 12);
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&stretch(1..=6), Position(6)).unwrap();
    let before = bytes_of(dir.path());
    audit.append(&stretch(7..=12), Position(12)).unwrap();
    let after = bytes_of(dir.path());
    drop(audit);
    let appended = &after[before.len()..];
    let ends: Vec<usize> = (0..appended.len()).filter(|n| n % 97 == 0 || appended[*n] == b'\n').collect();
    let mut torn = 0;
    for end in ends.into_iter().flat_map(|end| [end, end + 1]) {
        let mut left = before.clone();
        left.extend_from_slice(&appended[..end]);
        put(&path, &left);
        let told = whole(dir.path()).tail;
        let lines = appended[..end].iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(told.entries, lines, "after {end} bytes");
        torn += u64::from(told.bytes > 0);
        let mut audit = Audit::open(&store).unwrap();
        assert_eq!((audit.judged(), bytes_of(dir.path()) == before), (Position(6), true), "after {end} bytes");
        audit.append(&stretch(5..=12), Position(12)).unwrap();
        assert_eq!(bytes_of(dir.path()), after, "after {end} bytes");
    }
    assert!(torn > 10, "{torn} ends were torn");
    // Blocks that were given to the file and never written.
    let mut left = before.clone();
    left.extend_from_slice(&[0; 4096]);
    put(&path, &left);
    assert_eq!(whole(dir.path()).tail, Tail { entries: 0, bytes: 4096 });
    assert_eq!((Audit::open(&store).unwrap().judged(), bytes_of(dir.path())), (Position(6), before));
}

#[test]
fn a_file_that_is_lost_is_made_again_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 900);
    let make = || {
        let mut audit = Audit::open(&store).unwrap();
        assert_eq!(audit.judged(), Position(0));
        audit.append(&stretch(1..=900), Position(900)).unwrap();
        bytes_of(dir.path())
    };
    let first = make();
    assert!(whole(dir.path()).checkpoints > 1);
    std::fs::remove_file(file_of(dir.path())).unwrap();
    assert!(make() == first, "an anchor that was kept of the first must hold for the second");
}

#[test]
fn a_changed_file_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 12);
    Audit::open(&store).unwrap().append(&stretch(1..=12), Position(12)).unwrap();
    let mut bytes = bytes_of(dir.path());
    bytes[700] ^= 1;
    put(&file_of(dir.path()), &bytes);
    let error = Audit::open(&store).unwrap_err().to_string();
    assert!(error.contains("audit.ndjson:2: ") && error.contains("move it away and keep it as evidence"), "{error}");
    assert!(bytes_of(dir.path()) == bytes, "nothing of it was touched");
}

#[test]
fn a_key_that_is_gone_or_another_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 1);
    drop(Audit::open(&store).unwrap());
    let key = dir.path().join("audit.key");
    std::fs::rename(&key, dir.path().join("kept")).unwrap();
    let error = Audit::open(&store).unwrap_err().to_string();
    assert!(error.contains("its key, audit.key, is gone"), "{error}");
    put(&key, format!("{}\n", "5".repeat(64)).as_bytes());
    let error = Audit::open(&store).unwrap_err().to_string();
    assert!(error.contains("it is signed by the key"), "{error}");
}

#[test]
fn a_log_that_is_older_than_the_audit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 12);
    Audit::open(&store).unwrap().append(&stretch(1..=12), Position(12)).unwrap();
    let older = tempfile::tempdir().unwrap();
    let store = store_of(older.path(), 5);
    for name in ["audit.ndjson", "audit.key"] {
        std::fs::copy(dir.path().join(name), older.path().join(name)).unwrap();
    }
    let error = Audit::open(&store).unwrap_err().to_string();
    assert!(error.contains("up to position 12, and the log ends at 5"), "{error}");
}

#[test]
fn an_older_copy_is_found_by_whoever_kept_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 12);
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&stretch(1..=6), Position(6)).unwrap();
    let (older, then) = (bytes_of(dir.path()), whole(dir.path()));
    audit.append(&stretch(7..=12), Position(12)).unwrap();
    let now = whole(dir.path());
    let anchored = |found: &Verified| {
        let anchor = Some(Anchor { entries: found.entries, head: Some(found.head) });
        verify::<AuditError>(&file_of(dir.path()), &Trust { key: Some(found.key), anchor }, |_| Ok(()))
    };
    anchored(&then).expect("it goes on from what it was");
    anchored(&now).expect("it is what it was");
    put(&file_of(dir.path()), &older);
    let error = anchored(&now).unwrap_err().to_string();
    assert!(error.contains("it is an older copy"), "{error}");
    let error = anchored(&Verified { head: now.head, ..then }).unwrap_err().to_string();
    assert!(error.contains("is another one than it once was"), "{error}");
}

#[test]
fn a_record_that_is_too_long_is_entered_by_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 1);
    let mut audit = Audit::open(&store).unwrap();
    let note = "x".repeat(limits::AUDIT_RECORD_BYTES_MAX);
    let by = Principal("y".repeat(limits::AUDIT_LINE_BYTES_MAX));
    let input = Input::Verdict { threat: ThreatId::derive("t"), verdict: VerdictKind::Benign, note, by };
    audit.append(&entries(stamp(1), &input, &[]), Position(1)).unwrap();
    assert_eq!(whole(dir.path()).entries, 1);
    let text = String::from_utf8(bytes_of(dir.path())).unwrap();
    assert!(text.len() < 2_000 && text.contains("\"left_out\":\"too long\""), "{text}");
}

#[test]
fn those_who_verify_while_it_is_written_see_it_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 400);
    let mut audit = Audit::open(&store).unwrap();
    let written = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let (mut looks, mut last) = (0, 0);
            while !written.load(std::sync::atomic::Ordering::Relaxed) {
                let found = whole(dir.path());
                assert!(found.tail.is_empty() && found.entries >= last, "{found:?} after {last}");
                (looks, last) = (looks + 1, found.entries);
            }
            looks
        });
        for end in (4..=400).step_by(4) {
            audit.append(&stretch(end - 3..=end), Position(end)).unwrap();
        }
        written.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(looking.join().unwrap() > 1);
    });
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("small")) else {
        println!("left out: the audit on a full disk, for mounting one is not permitted here");
        return;
    };
    let data: PathBuf = disk.path().join("data");
    let store = store_of(&data, 2_000);
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&stretch(1..=8), Position(8)).unwrap();
    let before = bytes_of(&data);
    for _ in 0..3 {
        disk.fill();
        // More than the rest of a page, so that it needs another.
        let error = audit.append(&stretch(9..=2_000), Position(2_000)).unwrap_err();
        assert!(matches!(error, AuditError::NoSpace { .. }), "{error}");
        assert_eq!((bytes_of(&data), audit.judged()), (before.clone(), Position(8)));
        disk.free();
    }
    audit.append(&stretch(9..=2_000), Position(2_000)).unwrap();
    assert_eq!(kinds(&data).len() as u64, whole(&data).entries);
    assert_eq!(whole(&data).judged, Position(2_000));
}
