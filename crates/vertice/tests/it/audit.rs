//! The audit of real processes: what it says, and that it holds through restarts and kills.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use vertice_testkit::{Random, long};

use crate::process::{Server, until, vertice};
use crate::world::World;

/// Addresses that guess hard enough for a playbook to be planned and a question to be asked.
fn guessing(life: usize) -> String {
    let line = |n: usize| {
        format!(
            r#"{{"event_id":"{life}-{n}","timestamp":"2026-03-01T10:{:02}:{n:02}Z","source":"endpoint","event_type":"failed_login","source_ip":"198.51.100.{}","payload":{{"user":"root"}}}}"#,
            life % 60,
            life % 200 + 1,
        )
    };
    (0..40).map(line).collect::<Vec<_>>().join("\n")
}

fn guess(server: &Server, life: usize) {
    let answer = server.post("/api/v1/events", guessing(life).as_bytes());
    assert!(matches!(answer, Some((202, _))), "{answer:?}");
    server.settled();
}

/// Says yes to whatever waits.
fn approve_all(server: &Server) -> usize {
    let waiting = server.all("/api/v1/defense/approvals");
    let mut approved = 0;
    for question in waiting.iter().filter(|q| q["answered"].is_null()) {
        let path = format!("/api/v1/defense/approvals/{}", question["question_id"].as_str().expect("it has an id"));
        let body = json!({"approve": true, "plan_digest": question["plan_digest"]});
        let answer = server.post_json(&path, &body);
        assert!(matches!(answer, Some((200 | 202, _))), "{answer:?}");
        approved += 1;
    }
    server.settled();
    approved
}

fn audit(data: &Path) -> PathBuf {
    data.join("audit.ndjson")
}

fn asked(data: &Path, arguments: &[&str]) -> Output {
    let mut command = vertice();
    command.arg("audit").args(arguments).env("VERTICE_DATA_DIR", data).output().expect("the binary starts")
}

/// What `vertice audit verify` says of a file alone, with its exit code.
fn verified(file: &Path) -> (Option<i32>, Value) {
    let output = vertice().args(["audit", "verify", "-o", "json"]).arg(file).output().expect("the binary starts");
    let told = serde_json::from_slice(&output.stdout);
    (output.status.code(), told.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// The entries of a file.
fn exported(file: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = vertice().args(["audit", "export", "-o", "ndjson"]).args(arguments).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kind<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a Value> {
    entries.iter().filter(|e| e["kind"] == kind).collect()
}

#[test]
fn a_response_is_there_from_its_plan_to_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    guess(&server, 1);
    assert!(approve_all(&server) > 0, "nothing was asked");
    // While it runs, and on a copy afterwards, elsewhere, without anything else of the data directory.
    let (code, told) = verified(&audit(&data));
    assert_eq!((code, &told["whole"]), (Some(0), &json!(true)), "{told}");
    assert_eq!(server.stop(), Some(0));
    let copy = dir.path().join("copy.ndjson");
    std::fs::copy(audit(&data), &copy).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let (code, told) = verified(&copy);
    assert_eq!((code, &told["key_is"]), (Some(0), &json!("of the file itself")), "{told}");

    let entries = exported(&copy, &[]);
    assert_eq!(told["entries"], entries.len());
    let number = |found: &Value| found["n"].as_u64().expect("it has a number");
    let answer = kind(&entries, "answer")[0];
    assert_eq!(answer["actor"], "environment", "by the name of the API key");
    let asked = answer["record"]["question_id"].as_str().expect("it has an id");
    let questions: Vec<&Value> =
        kind(&entries, "question").into_iter().filter(|q| q["record"]["question_id"] == asked).collect();
    let run = &questions[0]["record"]["run_id"];
    let plan = kind(&entries, "plan").into_iter().find(|p| p["record"]["run_id"] == *run).expect("it was planned");
    let outcome = kind(&entries, "response").into_iter().rfind(|r| r["record"]["run_id"] == *run);
    let outcome = outcome.expect("something came of it");
    let order = [number(plan), number(questions[0]), number(answer), number(questions[1]), number(outcome)];
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!((&outcome["record"]["simulated"], &outcome["record"]["success"]), (&json!(true), &json!(false)));
    assert_eq!(entries[0]["kind"], "content");
    assert!(entries[0]["record"]["policy"].is_object(), "{}", entries[0]);

    // By the threat: the answer too, which names its question alone.
    let threat = plan["threat"].as_str().expect("it has a threat");
    let of_threat = exported(&copy, &["--threat", &threat[..8]]);
    assert!(kind(&of_threat, "answer").iter().any(|a| a["n"] == answer["n"]), "{of_threat:?}");
    assert!(kind(&of_threat, "content").is_empty());
    let of_entity = exported(&copy, &["--entity", "198.51.100.2"]);
    assert!(kind(&of_entity, "answer").iter().any(|a| a["n"] == answer["n"]), "{of_entity:?}");
    assert!(exported(&copy, &["--entity", "192.0.2.77"]).is_empty());
    assert!(exported(&copy, &["--until", "2020-01-01T00:00:00Z"]).is_empty());
    assert_eq!(exported(&copy, &["--since", "2020-01-01T00:00:00Z"]).len(), entries.len());
}

#[test]
fn what_is_found_has_an_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert_eq!(asked(&data, &["verify"]).status.code(), Some(3), "there is none");
    assert_eq!(asked(&data, &["key"]).status.code(), Some(3), "there is none");
    let server = Server::start(&data);
    guess(&server, 1);
    assert_eq!(server.stop(), Some(0));
    let output = asked(&data, &["key"]);
    let key = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
    let told = String::from_utf8(asked(&data, &["verify"]).stdout).unwrap();
    assert!(told.contains(&format!("{key} (of the data directory)")), "{told}");

    // The line that is to be held on to is a command.
    let anchor = told.lines().last().unwrap().trim().strip_prefix("vertice audit ").expect("a command").to_owned();
    let anchor: Vec<&str> = anchor.split(' ').collect();
    assert_eq!(asked(&data, &anchor).status.code(), Some(0));
    let mut another = anchor.clone();
    let wrong = "0".repeat(64);
    another[2] = &wrong;
    let output = asked(&data, &another);
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    let output = asked(&data, &["verify", "--at-least", "1000000"]);
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(asked(&data, &["verify", "--signed-by", "xyz"]).status.code(), Some(2));
    assert_eq!(asked(&data, &["verify", "--head", &wrong]).status.code(), Some(2));
    assert_eq!(asked(&data, &["verify", "-o", "csv"]).status.code(), Some(2));

    let csv = String::from_utf8(asked(&data, &["export", "-o", "csv"]).stdout).unwrap();
    assert!(csv.starts_with("n,time,of,kind,actor,threat,entities,record,hash\n\"1\",\""), "{csv}");
    let listed: Value = serde_json::from_slice(&asked(&data, &["export", "-o", "json"]).stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), csv.lines().count() - 1);
    let table = String::from_utf8(asked(&data, &["export"]).stdout).unwrap();
    assert!(table.lines().any(|l| l.contains("plan") && l.contains("198.51.100.2")), "{table}");

    let whole = std::fs::read(audit(&data)).unwrap();
    let put = |bytes: &[u8]| {
        let file = File::create(audit(&data)).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    };
    put(&[&whole[..], b"{\"n\":"].concat());
    let output = asked(&data, &["verify"]);
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stderr));
    let output = asked(&data, &["export", "-o", "ndjson"]);
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(8), false));
    let mut changed = whole.clone();
    changed[600] ^= 1;
    put(&changed);
    for command in ["verify", "export"] {
        let output = asked(&data, &[command]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(7), true), "{said}");
        assert!(said.contains("audit.ndjson:2: "), "{said}");
    }
    // And nothing goes on from it.
    let output = vertice()
        .args(["up", "--no-local-sources", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("move it away and keep it as evidence"), "{said}");
    std::fs::rename(audit(&data), dir.path().join("evidence")).unwrap();
    let server = Server::start(&data);
    server.settled();
    assert_eq!(server.stop(), Some(0));
    // A start that has to read the whole log says once more what content is in force.
    let again = std::fs::read(audit(&data)).unwrap();
    assert!(again[512..].starts_with(&whole[512..]), "made again from the log, line by line the same");
}

/// Killed at any moment, torn where the kill did not tear it: it goes on, whole, and nothing is there twice or missing.
#[test]
fn kills_and_torn_ends_leave_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut random = Random(11);
    let lives = if long() { 60 } else { 6 };
    for life in 1..=lives {
        let server = Server::start(&data);
        guess(&server, life);
        approve_all(&server);
        // What this sends is accepted and may be judged, entered or sealed when the kill comes.
        let answer = server.post("/api/v1/events", guessing(100 + life).as_bytes());
        assert!(matches!(answer, Some((202, _))), "{answer:?}");
        for _ in 0..random.below(20_000) {
            std::thread::yield_now();
        }
        server.kill();
        let (code, told) = verified(&audit(&data));
        assert!(matches!(code, Some(0 | 8)), "{told}");
        let mut bytes = std::fs::read(audit(&data)).unwrap();
        // What a kill between two writes leaves: some of the lines that follow, here of an earlier life.
        let again = bytes[512..].to_vec();
        bytes.extend_from_slice(&again[..1 + random.below(again.len())]);
        File::create(audit(&data)).unwrap().write_all_at(&bytes, 0).unwrap();
        assert_eq!(verified(&audit(&data)).0, Some(8));
    }
    let server = Server::start(&data);
    server.settled();
    let runs = server.all("/api/v1/defense/responses");
    assert_eq!(server.stop(), Some(0));
    let (code, told) = verified(&audit(&data));
    assert_eq!(code, Some(0), "{told}");

    let entries = exported(&audit(&data), &[]);
    let mut places: Vec<&str> =
        entries.iter().filter(|e| e["kind"] != "checkpoint").map(|e| e["of"].as_str().unwrap()).collect();
    let all = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), all, "an entry is there twice");
    assert!(runs.len() >= lives, "{} plans in {lives} lives", runs.len());
    for run in &runs {
        let last = entries.iter().rfind(|e| e["record"]["steps"].is_array() && e["record"]["run_id"] == run["run_id"]);
        assert_eq!(last.map(|e| &e["record"]["state"]), Some(&run["state"]), "of {}", run["run_id"]);
    }

    // The same from the log alone, which no kill has touched.
    let before = std::fs::read(audit(&data)).unwrap();
    std::fs::remove_file(audit(&data)).unwrap();
    let server = Server::start(&data);
    server.settled();
    assert_eq!(server.stop(), Some(0));
    let again = std::fs::read(audit(&data)).unwrap();
    assert!(again[512..].starts_with(&before[512..]), "the audit is a function of the log");
}

/// A small disk of its own for the audit alone, so that it is full while the store's is not.
struct AuditDisk(PathBuf);

impl AuditDisk {
    /// Moves the audit of a data directory there; `None` where nothing may be mounted.
    fn take(dir: &Path, data: &Path) -> Option<AuditDisk> {
        let disk = dir.join("small");
        std::fs::create_dir_all(&disk).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(&disk).output();
        mounted.ok().filter(|o| o.status.success())?;
        let disk = AuditDisk(disk);
        std::fs::copy(audit(data), disk.0.join("audit.ndjson")).unwrap();
        std::fs::remove_file(audit(data)).unwrap();
        std::os::unix::fs::symlink(disk.0.join("audit.ndjson"), audit(data)).unwrap();
        Some(disk)
    }

    fn fill(&self) {
        let mut ballast = File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[0x5a; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for AuditDisk {
    fn drop(&mut self) {
        let _done = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// What is said on standard error while the disk is full.
const WAITS: &str = "the disk is full: judging waits until";

/// Waits until a process has said so often that it waits.
fn until_said(said: &Path, times: usize) {
    until("it says that it waits", || std::fs::read_to_string(said).unwrap().matches(WAITS).count() >= times);
}

#[test]
fn nothing_goes_on_while_it_can_not_be_entered_and_then_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    assert_eq!(Server::start(&data).stop(), Some(0));
    let Some(disk) = AuditDisk::take(dir.path(), &data) else {
        println!("left out: judging with a full disk for the audit, for mounting one is not permitted here");
        return;
    };
    disk.fill();
    let said = dir.path().join("said");
    let start = || Server::start_as(&data, &[], |command| command.stderr(File::create(&said).unwrap()));
    let server = start();
    // Accepted, judged, and not to be seen by anybody before it is entered.
    assert!(matches!(server.post("/api/v1/events", guessing(1).as_bytes()), Some((202, _))));
    until_said(&said, 1);
    let (status, waits) = server.answer("/ready");
    assert!(status == 503 && waits["reasons"][0].as_str().unwrap().starts_with(WAITS), "{waits}");
    assert!(server.all("/api/v1/defense/responses").is_empty());
    assert!(matches!(server.post("/api/v1/events", guessing(2).as_bytes()), Some((202, _))), "the store has space");
    disk.free();
    server.settled();
    assert_eq!(server.answer("/ready").0, 200);
    assert!(!server.all("/api/v1/defense/responses").is_empty());
    assert!(!kind(&exported(&audit(&data), &[]), "plan").is_empty());

    // Told to stop meanwhile: the next start judges it again.
    disk.fill();
    let before = std::fs::read_to_string(&said).unwrap().matches(WAITS).count();
    assert!(matches!(server.post("/api/v1/events", guessing(3).as_bytes()), Some((202, _))));
    until_said(&said, before + 1);
    assert_eq!(server.stop(), Some(0));
    disk.free();
    let server = start();
    server.settled();
    let runs = server.all("/api/v1/defense/responses");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(verified(&audit(&data)).0, Some(0));
    let plans = exported(&audit(&data), &[]);
    let planned = kind(&plans, "plan");
    for run in &runs {
        let times = planned.iter().filter(|p| p["record"]["run_id"] == run["run_id"]).count();
        assert_eq!(times, 1, "{}", run["run_id"]);
    }
    assert!(runs.iter().any(|r| r.to_string().contains("198.51.100.4")), "what was sent while it was full");
}

#[test]
fn a_failed_sync_of_the_audit_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let (data, said) = (dir.path().join("data"), dir.path().join("said"));
    let world = World::new(dir.path());
    let server = Server::start_as(&data, &[], |command| {
        world.surround(command).env("WORLD_SYNCS_OF", "audit.ndjson").stderr(File::create(&said).unwrap())
    });
    server.settled();
    world.fail_syncs(1);
    // It may be gone before it can answer.
    let _ = server.post("/api/v1/events", guessing(1).as_bytes());
    assert_eq!(server.ended(), Some(1), "it ends by itself");
    let said = std::fs::read_to_string(&said).unwrap();
    assert!(said.lines().last().is_some_and(|l| l.contains("syncing ") && l.contains("audit.ndjson")), "{said}");
    let server = Server::start(&data);
    server.settled();
    assert!(!server.all("/api/v1/defense/responses").is_empty());
    assert_eq!(server.stop(), Some(0));
    assert_eq!(verified(&audit(&data)).0, Some(0));
    assert!(!kind(&exported(&audit(&data), &[]), "plan").is_empty());
}
