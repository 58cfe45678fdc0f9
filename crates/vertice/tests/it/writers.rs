//! What a rule writer runs, beside a server and without one.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::process::{Server, vertice};

const RULE: &str = "title: Root guessed\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a11\nstatus: test\nlevel: low\n\
    description: d\ntags: [attack.t1110]\nlogsource: {category: authentication}\n\
    detection: {failed: {event.action: failed_login, user.name: root}, condition: failed}\n";

fn line(user: &str) -> String {
    format!("2026-03-01T10:00:00Z web1 sshd[1]: Failed password for {user} from 203.0.113.9 port 1 ssh2\n")
}

fn write(path: &Path, text: &str) {
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = vertice().arg("rules").args(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_log_is_asked_through_the_server_and_beside_none() {
    let (data, rules) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rule = rules.path().join("root.yml");
    write(&rule, RULE);
    let (rule, dir) = (rule.to_str().unwrap(), data.path().to_str().unwrap());
    let server = Server::start(data.path());
    let body = [line("ana"), line("root"), line("root")].concat();
    let (status, answer) = server.post("/api/v1/events", body.as_bytes()).expect("it answers");
    assert_eq!(status, 202, "{answer}");
    let first = server.get("/api/v1/events")["items"][0]["position"].as_u64().expect("a position");
    let (of_ana, of_root) = (first.to_string(), (first + 1).to_string());

    let asked = ["--url", &server.url, "-o", "json"];
    let (code, summary, told) = run(&[["backtest", rule, "--since", "all"].as_slice(), &asked].concat());
    assert_eq!(code, Some(0), "{told}");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!((&summary["events"], &summary["hits"]), (&Value::from(3), &Value::from(2)));
    assert_eq!(summary["rules"][0]["examples"][0]["position"], first + 1);
    let explained = |position: &str, more: &[&str]| {
        let (code, json, told) = run(&[["explain", rule, position, "-o", "json"].as_slice(), more].concat());
        assert_eq!(code, Some(0), "{told}");
        serde_json::from_str::<Value>(&json).expect("JSON")
    };
    let of = ["--url", &server.url];
    assert_eq!(explained(&of_root, &of)["matches"], true);
    let not = explained(&of_ana, &of);
    assert_eq!((&not["matches"], &not["log_source"]["holds"]), (&Value::from(false), &Value::from(true)));
    assert_eq!(not["condition"]["below"][1]["found"][0], "ana", "{not}");
    let (code, _, told) = run(&["explain", rule, "999", "--url", &server.url]);
    assert!(code == Some(3) && told.contains("no event at log position 999"), "{code:?} {told}");
    let none = vertice().args(["approvals", "list", "--url", &server.url]).output().unwrap();
    let none = String::from_utf8(none.stdout).unwrap();
    assert!(none.lines().count() == 2 && none.ends_with("--state all`.\n") && !none.contains('\u{240a}'), "{none}");
    let (code, _, told) = run(&["backtest", rule, "--data", dir]);
    assert!(code == Some(2) && told.contains("in use") && told.contains("without --data"), "{code:?} {told}");
    assert_eq!(server.stop(), Some(0));

    let (code, of_data, told) = run(&["backtest", rule, "--since", "all", "--data", dir, "-o", "json"]);
    assert_eq!(code, Some(0), "{told}");
    let of_data: Value = serde_json::from_str(&of_data).expect("JSON");
    assert_eq!(of_data["rules"], summary["rules"], "the log says the same without the server");
    assert_eq!(explained(&of_root, &["--data", dir])["matches"], true);
    let (code, ..) = run(&["explain", rule, &of_root, "--data", "no/such"]);
    assert_eq!(code, Some(3));
}

#[test]
fn files_are_checked_tested_and_counted_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let (rule, cases) = (dir.path().join("root.yml"), dir.path().join("cases"));
    write(&rule, RULE);
    let path = dir.path().to_str().unwrap();
    let (code, told, _) = run(&["check", path, "--strict"]);
    assert_eq!((code, told.as_str()), (Some(0), "rules: 1 of 1 file can be used.\n"));
    let (code, _, told) = run(&["test", path]);
    assert!(code == Some(3) && told.contains("DIR/cases/NAME.yml"), "{code:?} {told}");
    std::fs::create_dir(&cases).unwrap();
    let story = |wanted: &str, user: &str| {
        let line = line(user);
        format!("positive:\n  - story: s\n    entity: {wanted}\n    lines: ['{}']\n", line.trim_end())
    };
    write(&cases.join("root.yml"), &story("203.0.113.9", "root"));
    assert_eq!(run(&["test", path]).0, Some(0));
    write(&cases.join("root.yml"), &story("203.0.113.9", "ana"));
    let (code, told, _) = run(&["test", path]);
    assert!(code == Some(1) && told.contains("user.name: root   the event has: ana"), "{code:?} {told}");
    let (code, layer, _) = run(&["coverage", path, "-o", "json"]);
    let layer: Value = serde_json::from_str(&layer).expect("JSON");
    assert_eq!((code, &layer["techniques"][0]["techniqueID"]), (Some(0), &Value::from("T1110")));
    write(&rule, &RULE.replace("condition: failed", "condition: faild"));
    let (code, told, _) = run(&["check", path]);
    assert!(code == Some(6) && told.contains("root.yml:8:79: refused: "), "{code:?} {told}");
    let (code, _, told) = run(&["test", path]);
    assert!(code == Some(6) && told.contains("selection `faild`"), "{code:?} {told}");
}
