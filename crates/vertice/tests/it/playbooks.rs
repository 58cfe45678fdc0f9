//! What a playbook writer runs, beside a server and without one.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::process::{KEY, Server, vertice};

const BLOCK: &str = "\
name: Block
version: \"1.0\"
trigger: {condition: brute_force_detected}
context_requirements: [source_ip]
actions:
  - id: watch
    type: traffic_capture
    parameters: {target_ip: \"${source_ip}\", duration: 1h}
    on_failure: continue
  - id: tell
    type: notification
    parameters: {channel: slack, message: \"${source_ip} guesses\"}
  - id: block
    type: firewall_rule
    hotl_required: true
    hotl_prompt: Block ${source_ip}?
    depends_on: [watch]
    parameters: {rule_type: block, source_ip: \"${source_ip}\", duration: 24h}
    on_failure: rollback
";

const CASES: &str = "\
- title: A guesser
  threat: brute_force_detected high 0.9 ip=203.0.113.9
  expect:
    - watch is simulated on 203.0.113.9 for 3600 s
    - tell is simulated
    - block is asked on 203.0.113.9 for 86400 s
    - \"block asks: Block 203.0.113.9?\"
- title: Nobody
  threat: \"- low 0.9 ip=203.0.113.9\"
  expect: []
";

fn write(path: &Path, text: &[u8]) {
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text).unwrap();
}

/// A directory with the playbook and its cases.
fn written() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("cases")).unwrap();
    write(&dir.path().join("block.yml"), BLOCK.as_bytes());
    write(&dir.path().join("cases/block.yml"), CASES.as_bytes());
    let path = dir.path().join("block.yml").display().to_string();
    (dir, path)
}

fn run(noun: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = vertice().arg(noun).args(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_writer_checks_plans_tests_and_draws() {
    let (dir, path) = written();
    let of_dir = dir.path().to_str().unwrap();
    for noun in ["playbook", "playbooks"] {
        assert_eq!(
            run(noun, &["check", of_dir]),
            (Some(0), "playbooks: 1 of 1 file can be used.\n".to_owned(), String::new())
        );
    }
    let (code, text, _) = run("playbook", &["test", of_dir]);
    assert_eq!((code, text.as_str()), (Some(0), "cases: 2 hold.\n"));
    let (code, text, told) = run("playbook", &["plan", &path, "brute_force_detected low 0.9 ip=203.0.113.9"]);
    assert_eq!(code, Some(0), "{told}");
    let wanted = "\
block  for a threat about 203.0.113.9
would not begin by itself: its severity is low, and medium is needed

round 1, side by side
1. watch  traffic_capture, risk low  at once
   with                 duration=1h target_ip=203.0.113.9
   touches              ip 203.0.113.9
   lasts                60 min
   undone by            stop the recording; what it recorded is kept: 203.0.113.9
   if it fails          continue

2. tell  notification, risk none  at once
   with                 channel=slack message=203.0.113.9 guesses
   undone by            tell the same people that it was taken back
   if it fails          stop

round 2
3. block  firewall_rule, risk medium  asks first
   with                 duration=24h rule_type=block source_ip=203.0.113.9
   touches              ip 203.0.113.9
   lasts                24 h
   undone by            take the address out of our own firewall set: 203.0.113.9
   after                watch
   asks                 Block 203.0.113.9?
   waits for an answer  5 min
   if nobody answers    deny
   if it fails          rollback
";
    assert_eq!(text, wanted);
    let (code, json, _) = run("playbook", &["plan", &path, "brute_force_detected high 0.9 ip=127.0.0.1", "-o", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(code, Some(0));
    assert!(json["steps"][0]["refused"].as_str().unwrap().contains("never touched"), "{json}");
    assert_eq!((&json["steps"][2]["round"], &json["steps"][2]["asks"]["on_timeout"]), (&2.into(), &"deny".into()));
    let (code, _, told) = run("playbook", &["plan", &path, "brute_force_detected high 0.9 user=ana"]);
    assert_eq!((code, told.as_str()), (Some(1), "vertice: nothing can be done: the threat does not tell source_ip\n"));
    let threat = dir.path().join("threat.txt");
    write(&threat, b"brute_force_detected high 0.9 ip=203.0.113.9\n");
    let (code, text, _) = run("playbook", &["plan", "brute_force_response", threat.to_str().unwrap()]);
    assert!(code == Some(0) && text.contains("3. deploy_honeypot") && text.contains("round 2, side by side"), "{text}");
    for (threat, wanted) in
        [("x high", "the threat: a threat in short form lacks its confidence"), ("x high 0.9 ip=no", "`ip=no` is none")]
    {
        let (code, _, told) = run("playbook", &["plan", &path, threat]);
        assert!(code == Some(2) && told.contains(wanted), "{told}");
    }
    write(&threat, b"{\n \"threat_id\": 7}");
    let (code, _, told) = run("playbook", &["plan", &path, threat.to_str().unwrap()]);
    assert!(code == Some(2) && told.contains("threat.txt:2:") && told.contains("it is no threat"), "{told}");
}

#[test]
fn a_graph_shows_questions_and_what_becomes_of_failures() {
    let (_dir, path) = written();
    let (code, table, _) = run("playbook", &["graph", &path]);
    assert_eq!(code, Some(0));
    let wanted = "\
ACTION  DOES             RISK    ASKS      AFTER  IF IT FAILS
watch   traffic_capture  low                      what waits for it goes on
tell    notification     none                     what waits for it is left out
block   firewall_rule    medium  a person  watch  the whole run is taken back
";
    assert_eq!(table, wanted);
    let (_, mermaid, _) = run("playbook", &["graph", &path, "--as", "mermaid"]);
    for line in [
        "flowchart TD",
        "  q2 -- yes --> a2",
        "  a0 -. in any case .-> q2",
        "  a2 -- fails --> back([\"the whole run is taken back\"])",
    ] {
        assert!(mermaid.lines().any(|l| l == line), "{line}: {mermaid}");
    }
    let (_, dot, _) = run("playbook", &["graph", &path, "--as", "dot"]);
    assert!(dot.starts_with("digraph playbook {\n") && dot.ends_with("}\n"), "{dot}");
    for line in
        ["  q2 -> a2 [label=yes];", "  a0 -> q2 [style=dashed, label=\"in any case\"];", "  a2 -> back [label=fails];"]
    {
        assert!(dot.lines().any(|l| l == line), "{line}: {dot}");
    }
    let (_, json, _) = run("playbook", &["graph", "malware_containment", "-o", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["playbook_id"], &json["actions"][2]["depends_on"][0]),
        (&"malware_containment".into(), &"collect_evidence".into())
    );
    let (code, _, told) = run("playbook", &["graph", "no_such"]);
    assert!(code == Some(3) && told.contains("there are brute_force_response, "), "{told}");
}

#[test]
fn bad_playbooks_are_refused_by_file_line_field_and_what_was_meant() {
    let (dir, path) = written();
    let with = |from: &str, to: &str| {
        assert!(BLOCK.contains(from), "{from}");
        BLOCK.replacen(from, to, 1).into_bytes()
    };
    let circle = with("    on_failure: continue\n", "    depends_on: [block]\n");
    let alias =
        with("{channel: slack, message: \"${source_ip} guesses\"}", "&a {channel: slack, message: m}\n    x: *a");
    let long = [BLOCK.as_bytes(), &b"# and so on and on\n".repeat(3_500)].concat();
    let deep = with("{condition: brute_force_detected}", &format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)));
    for (text, wanted) in [
        (circle, "block.yml:6: refused: `depends_on` goes in a circle: `watch` waits for `block` waits for `watch`"),
        (
            with("type: firewall_rule", "type: firewal_rule"),
            "block.yml:14: refused: `actions.block.type` can not be `firewal_rule`; did you mean `firewall_rule`?",
        ),
        (
            with("target_ip: \"${source_ip}\"", "target_ip: 203.0.113"),
            "block.yml:8: refused: `actions.watch.parameters.target_ip` is `203.0.113`, and should be one address such as 203.0.113.9",
        ),
        (
            with("target_ip: \"${source_ip}\"", "target_ip: 10.0.0.0/8"),
            "block.yml:8: refused: `actions.watch.parameters.target_ip` is `10.0.0.0/8`, and should be one address: no action touches a whole range",
        ),
        (
            with("target_ip: \"${source_ip}\"", "target_ip: 127.0.0.1"),
            "and should be one address: it is never touched, for it is this host itself",
        ),
        (
            with("depends_on: [watch]", "depends_on: [wach]"),
            "block.yml:17: refused: `actions.block.depends_on`: there is no action `wach`; did you mean `watch`?",
        ),
        (
            with("${source_ip}?", "${user}?"),
            "block.yml:16: refused: `actions.block.hotl_prompt` uses `${user}`, which `context_requirements` does not name",
        ),
        (
            with("duration: 24h", "duration: 9d"),
            "block.yml:18: refused: `actions.block.parameters.duration` is 777600 s, and should lie between 10 s and 604800 s",
        ),
        (with("version: \"1.0\"\n", ""), "block.yml:1: refused: `version` is missing"),
        (
            with("on_failure: rollback", "on_failure: undo"),
            "`actions.block.on_failure` can not be `undo`; it is one of stop, continue, rollback",
        ),
        (alias, "write the value out, in place of an alias"),
        (deep, "is no YAML that is read here"),
        (long, "block.yml:0: refused: has 67"),
        (b"name: [".to_vec(), "is no YAML that is read here"),
        (b"name: a\n---\nname: b\n".to_vec(), "one file is one playbook"),
        (b"".to_vec(), "block.yml:1: refused: the file is empty"),
    ] {
        write(Path::new(&path), &text);
        let (code, told, _) = run("playbook", &["check", dir.path().to_str().unwrap()]);
        assert_eq!(code, Some(6), "{told}");
        assert!(told.contains(wanted), "{wanted:?} is not said:\n{told}");
        assert!(told.ends_with("playbooks: 0 of 1 file can be used.\n") && told.len() < 10_000, "{told}");
        let (code, _, _) = run("playbook", &["plan", &path, "x high 0.9"]);
        assert_eq!(code, Some(6));
        assert_eq!(run("playbook", &["graph", &path]).0, Some(6));
        assert_eq!(run("playbook", &["export", &path]).0, Some(6));
        assert_eq!(run("playbook", &["test", &path]).0, Some(6));
    }
    write(Path::new(&path), b"\xff\xfe");
    let (code, _, told) = run("playbook", &["check", &path]);
    assert!(code == Some(1) && told.contains("block.yml"), "{told}");
    assert_eq!(run("playbook", &["check", "no/such"]).0, Some(3));
}

#[test]
fn cases_that_do_not_hold_are_told_with_what_came_instead() {
    let (dir, _path) = written();
    write(&dir.path().join("cases/block.yml"), CASES.replace("3600 s", "60 s").as_bytes());
    let of_dir = dir.path().to_str().unwrap();
    let (code, text, told) = run("playbook", &["test", of_dir]);
    assert_eq!((code, told.as_str()), (Some(1), "vertice: cases: 1 does not hold\n"));
    assert!(text.contains("cases/block.yml:1: does not hold: `A guesser`: got [\n      \"watch is simulated on 203.0.113.9 for 3600 s\","), "{text}");
    let (code, json, _) = run("playbook", &["test", of_dir, "-o", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json[0]["holds"], &json[0]["refused"][0]["line"]), (Some(1), &false.into(), &1.into()));
    std::fs::remove_file(dir.path().join("cases/block.yml")).unwrap();
    let (code, text, _) = run("playbook", &["test", of_dir]);
    assert!(code == Some(3) && text.starts_with("without cases: "), "{text}");
}

#[test]
fn what_is_exchanged_comes_back_and_what_is_broken_is_refused_by_its_path() {
    let (dir, path) = written();
    let (code, document, told) = run("playbook", &["export", &path]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    let cacao = dir.path().join("block.json");
    write(&cacao, document.as_bytes());
    let cacao = cacao.to_str().unwrap();
    let other = tempfile::tempdir().unwrap();
    let to = other.path().to_str().unwrap();
    let (code, text, told) = run("playbook", &["import", cacao, "--to", to]);
    let there = format!("{to}/block.yml");
    assert_eq!((code, text.as_str(), told.as_str()), (Some(0), format!("{there}\n").as_str(), ""));
    let (code, _, told) = run("playbook", &["import", cacao, "--to", to]);
    assert!(code == Some(1) && told.contains("it is there already, and is left alone"), "{told}");
    assert_eq!(run("playbook", &["export", &there]).1, document);
    let plan =
        |path: &str| run("playbook", &["plan", path, "brute_force_detected high 0.9 ip=203.0.113.9", "-o", "json"]);
    assert_eq!(plan(&there), plan(&path));
    assert_eq!(run("playbook", &["check", &there]).0, Some(0));

    let foreign = r#"{"type": "playbook", "spec_version": "cacao-2.0", "id": "playbook--00000000-0000-4000-8000-000000000001",
        "name": "Theirs", "created_by": "identity--00000000-0000-4000-8000-000000000001", "created": "2026-01-01T00:00:00Z",
        "modified": "2026-01-01T00:00:00Z", "workflow_start": "start--00000000-0000-4000-8000-000000000001", "workflow": {
        "start--00000000-0000-4000-8000-000000000001": {"type": "start", "on_completion": "action--00000000-0000-4000-8000-000000000001"},
        "action--00000000-0000-4000-8000-000000000001": {"type": "action", "name": "Wipe", "commands": [{"type": "bash", "command": "touch /tmp/wiped"}],
        "agent": "ssh--00000000-0000-4000-8000-000000000001", "on_completion": "end--00000000-0000-4000-8000-000000000001"},
        "end--00000000-0000-4000-8000-000000000001": {"type": "end"}},
        "agent_definitions": {"ssh--00000000-0000-4000-8000-000000000001": {"type": "ssh", "name": "h"}}}"#;
    write(Path::new(cacao), foreign.as_bytes());
    let (code, yaml, told) = run("playbook", &["import", cacao]);
    assert_eq!(code, Some(0));
    assert!(told.contains("refused until a verb is chosen for 1 action (wipe)"), "{told}");
    let theirs = dir.path().join("theirs.yml");
    write(&theirs, yaml.as_bytes());
    let (code, told, _) = run("playbook", &["check", theirs.to_str().unwrap()]);
    assert!(
        code == Some(6) && told.contains("`actions.wipe.type` can not be `cacao_bash`; it is one of firewall_rule"),
        "{told}"
    );
    let given: Value = serde_json::from_str(foreign).unwrap();
    let back: Value = serde_json::from_str(&run("playbook", &["export", theirs.to_str().unwrap()]).1).unwrap();
    assert_eq!(back, given);

    for (from, to, wanted) in [
        (
            "\"bash\"",
            "7",
            "block.json:0: `workflow.action--00000000-0000-4000-8000-000000000001.commands[0].type` is the number 7, and should be a text",
        ),
        (
            "\"type\": \"ssh\"",
            "\"type\": \"shh\"",
            "agent_definitions.ssh--00000000-0000-4000-8000-000000000001.type` is `shh`, and should be `ssh`",
        ),
        ("\"type\": \"end\"", "\"type\": \"edn\"", "can not be `edn`; did you mean `end`?"),
        ("\"name\": \"Theirs\",", "\"name\": \"Theirs\",,", "block.json:2:"),
    ] {
        write(Path::new(cacao), foreign.replacen(from, to, 1).as_bytes());
        let (code, _, told) = run("playbook", &["import", cacao]);
        assert!(code == Some(6) && told.contains(wanted), "{wanted}: {told}");
    }
    write(Path::new(cacao), &b"[".repeat(200_000));
    let (code, _, told) = run("playbook", &["import", cacao]);
    assert!(code == Some(6) && told.contains("has 200000 bytes; at most 65536 are read"), "{told}");
    assert_eq!(run("playbook", &["import", "no/such.json"]).0, Some(3));
}

#[test]
fn the_schema_that_is_printed_is_the_one_that_is_checked_in() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/playbook.schema.json");
    assert_eq!(run("playbook", &["schema"]), (Some(0), std::fs::read_to_string(kept).unwrap(), String::new()));
}

#[test]
fn a_threat_of_the_server_is_planned_for_and_what_waits_is_not_started_again() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path());
    let line = "2026-03-01T10:00:00Z web1 sshd[1]: Failed password for root from 203.0.113.9 port 1 ssh2\n";
    let (status, answer) = server.post("/api/v1/events", line.repeat(60).as_bytes()).expect("it answers");
    assert_eq!(status, 202, "{answer}");
    let run = |arguments: &[&str], key: &str| {
        let mut command = vertice();
        command.arg("playbook").args(arguments).args(["--url", &server.url]).env("VERTICE_API_KEY", key);
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    let threat = server.until_listed("threats/active", |_| true)["threat_id"].as_str().unwrap().to_owned();
    let (code, text, told) = run(&["plan", "brute_force_response", &threat[..8]], KEY);
    assert!(code == Some(0) && text.contains("source_ip=203.0.113.9"), "{text}{told}");
    let (code, _, told) = run(&["run", "brute_force_response", &threat[..8]], KEY);
    assert!(code == Some(1) && told.contains("the playbook already runs for this threat and waits: run "), "{told}");
    assert_eq!(run(&["run", "brute_force_response", &threat], "").0, Some(5));
    assert_eq!(run(&["run", "brute_force", &threat], KEY).0, Some(3));
    assert_eq!(run(&["run", "brute_force_response", "00000000"], KEY).0, Some(3));
    assert_eq!(run(&["plan", "brute_force_response", "00000000"], KEY).0, Some(3));
}
