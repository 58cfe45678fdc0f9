//! Whole commands against a server of a few answers, and their exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use clap::CommandFactory as _;
use serde_json::{Value, json};

use super::*;
use crate::cli::output::tests::printed;

/// Answers one connection after another with one of `answers` each, then tells what was asked.
fn server(answers: Vec<(u16, &'static str, Value)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let answer = |(status, headers, body): &(u16, &str, Value)| {
            let (mut stream, _) = listener.accept().unwrap();
            let asked = read_request(&mut stream);
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            asked
        };
        answers.iter().map(answer).collect()
    });
    (url, serving)
}

/// The request line, the key if there is one, and the body.
fn read_request(stream: &mut std::net::TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut told, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        if told.is_empty() {
            told = line.trim_end_matches(" HTTP/1.1").to_owned();
        } else if line.is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = n.parse().unwrap();
        }
        if line.to_ascii_lowercase().starts_with("authorization: ") {
            told.push_str(&format!(" [{}]", line.split_once(": ").unwrap().1));
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if body.is_empty() {
        return told;
    }
    // Members by name, so that their order does not matter.
    let body: std::collections::BTreeMap<String, Value> = serde_json::from_slice(&body).unwrap();
    format!("{told} {}", serde_json::to_string(&body).unwrap())
}

fn parsed(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

/// What a command prints, or its exit code and error, when the server answers like this; and what it asked.
fn asked(line: &str, answers: Vec<(u16, &'static str, Value)>) -> (Result<String, (u8, String)>, Vec<String>) {
    let (url, serving) = server(answers);
    let cli = parsed(&format!("vertice --url {url} --key vk_1 {line}")).unwrap();
    let Command::Ask(ask) = cli.command else { panic!("{line} asks no server") };
    let mut failed = None;
    let text = printed(cli.global.output.format().unwrap(), |out| {
        failed = cli.global.answer(ask, out).err();
        Ok(())
    });
    let outcome = match failed {
        None => Ok(text),
        Some(error) => Err((failure::exit_code(&error), format!("{error:#}").replace(&url, "URL"))),
    };
    (outcome, serving.join().unwrap())
}

fn ok(body: Value) -> Vec<(u16, &'static str, Value)> {
    vec![(200, "", body)]
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_contract_s_command_lines_are_understood() {
    let cli = parsed("vertice replay a.log b.evtx --rules r1 --rules r2 -o ndjson").unwrap();
    assert_eq!(cli.global.output.format(), Ok(Format::Ndjson));
    let Command::Replay(replay) = cli.command else { panic!("no replay") };
    assert_eq!((replay.files.len(), replay.content.rules.len(), replay.data), (2, 2, None));
    let cli = parsed("vertice up --data d --listen 127.0.0.1:0 --rules r --no-local-sources --follow f").unwrap();
    let Command::Up(up) = cli.command else { panic!("no up") };
    let config = up.over(crate::config::load(None, |_| None).unwrap());
    assert_eq!((config.data.dir.to_str(), config.server.listen.port()), (Some("d"), 0));
    assert_eq!((config.sources.local, config.sources.files.len(), config.content.rules.len()), (false, 1, 1));
    for wrong in [
        "vertice",
        "vertice replay",
        "vertice up --listen nowhere",
        "vertice demo --speed -1",
        "vertice demo --speed fast",
        "vertice detections list --limit 0",
        "vertice detections list --severity severe",
        "vertice detections list --all --limit 3",
    ] {
        assert_eq!(parsed(wrong).unwrap_err().exit_code(), 2, "{wrong}");
    }
    assert_eq!(parsed("vertice --help").unwrap_err().exit_code(), 0);
}

#[test]
fn the_help_never_shows_the_key() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("VERTICE_API_KEY") && !help.contains("VERTICE_API_KEY="), "{help}");
}

#[test]
fn a_start_is_handed_over_with_its_configuration_and_its_error_chooses_the_code() {
    let run = |line: &str, error: fn() -> Result<()>| {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        format!("{:?}", run_with(arguments, |_, _| error()))
    };
    let code = |n: u8| format!("{:?}", ExitCode::from(n));
    assert_eq!(run("vertice demo", || Ok(())), code(0));
    assert_eq!(run("vertice demo", || anyhow::bail!("no")), code(1));
    assert_eq!(run("vertice up", || Err(Failure::Content("bad rule".into()).into())), code(6));
    assert_eq!(run("vertice replay x", || Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())), code(0));
    assert_eq!(run("vertice --config no/such.toml up", || Ok(())), code(1));
    assert_eq!(run("vertice nonsense", || Ok(())), code(2));
}

fn detection(n: u32) -> Value {
    json!({"detection_id": format!("{n:08}-aaaa"), "timestamp": "2026-01-02T03:04:05.25Z", "severity": "high", "confidence": 0.85,
        "entity_kind": "ip", "entity": "203.0.113.9", "mitre_techniques": ["T1110", "T1078"], "rule_title": "Guessing \u{1b}[31m",
        "rule_id": "r-1", "position": 7, "event_id": "e-1",
        "matched": [{"selection": "sel", "field": "CommandLine|contains", "wanted": "*x*", "value": "axb"}]})
}

#[test]
fn a_list_is_a_table_for_people() {
    let page = json!({"items": [detection(1)], "next_cursor": null});
    let (text, asked) =
        asked("detections list --severity high --entity 203.0.113.9 --since 2026-01-01T00:00:00Z", ok(page));
    assert_eq!(
        text.unwrap(),
        "ID        TIME (UTC)           SEVERITY  SURE  ENTITY       TECHNIQUES    RULE\n\
         00000001  2026-01-02 03:04:05  high      85 %  203.0.113.9  T1110, T1078  Guessing ␛[31m\n"
    );
    let expected = "GET /api/v1/defense/detections?severity=high&entity=203.0.113.9&since=2026-01-01T00%3A00%3A00Z\
        &order=desc&limit=50 [Bearer vk_1]";
    assert_eq!(asked, [expected]);
}

#[test]
fn a_list_is_read_page_by_page() {
    let page = |n: u32, next: Value| (200, "", json!({"items": [detection(n)], "next_cursor": next}));
    let (text, asked) =
        asked("detections list --all --oldest-first -o ndjson", vec![page(1, json!("9.3")), page(2, Value::Null)]);
    let ids: Vec<Value> =
        text.unwrap().lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["detection_id"].clone()).collect();
    assert_eq!(ids, ["00000001-aaaa", "00000002-aaaa"]);
    assert_eq!(asked[0], "GET /api/v1/defense/detections?order=asc&limit=1000 [Bearer vk_1]");
    assert_eq!(asked[1], "GET /api/v1/defense/detections?order=asc&limit=1000&cursor=9.3 [Bearer vk_1]");
}

#[test]
fn a_list_that_goes_on_says_so_and_an_empty_one_says_what_to_do() {
    let page = json!({"items": [detection(1)], "next_cursor": "9.3"});
    assert!(asked("detections list --limit 1", ok(page)).0.unwrap().contains("--all"));
    let none = || ok(json!({"items": [], "next_cursor": null}));
    for (line, advice) in [
        ("detections list", "vertice demo"),
        ("threats list", "--state all"),
        ("threats list --state quiet", "vertice demo"),
        ("approvals list", "vertice playbooks list"),
        ("responses list", "vertice playbooks list"),
        ("containments list", "--ended"),
        ("bouncers list", "bouncers add"),
        ("events list", "vertice doctor"),
        ("rules list", "vertice doctor"),
        ("playbooks list", "vertice doctor"),
        ("mappings list", "vertice doctor"),
        ("deadletter list", "could be read"),
    ] {
        let text = asked(line, none()).0.unwrap();
        assert!(text.contains(advice), "{line} says {text:?}");
    }
    assert_eq!(asked("detections list -o json", none()).0.unwrap(), "[]\n");
    assert_eq!(asked("detections list -o ndjson", none()).0.unwrap(), "");
}

#[test]
fn lists_that_come_as_a_whole_are_asked_for_as_a_whole() {
    let page = json!({"items": [{"name": "sshd"}], "next_cursor": null});
    assert_eq!(asked("mappings list", ok(page)).1, ["GET /api/v1/mappings [Bearer vk_1]"]);
    let page = json!({"items": [], "next_from": null});
    assert_eq!(
        asked("events list --from 7 --limit 2", ok(page)).1,
        ["GET /api/v1/events?limit=2&from=7 [Bearer vk_1]"]
    );
}

#[test]
fn an_event_is_injected_in_the_contract_s_form() {
    let line = "events inject --event-type failed_login --source-ip 203.0.113.9 --event-id e1 --port 22 \
        --timestamp 2026-03-01T10:00:00Z --payload {\"user\":\"root\"}";
    let (outcome, sent) = asked(line, vec![(202, "", json!({"accepted": 1, "refused": [], "refused_total": 0}))]);
    assert_eq!(outcome.unwrap(), "1 accepted\n");
    let event = r#"{"context":{},"event_id":"e1","event_type":"failed_login","payload":{"user":"root"},"port":22,"#;
    let event = format!(r#"{event}"source":"endpoint","source_ip":"203.0.113.9","timestamp":"2026-03-01T10:00:00Z"}}"#);
    assert_eq!(sent, [format!("POST /api/v1/events [Bearer vk_1] {event}")]);
    let refused = json!({"accepted": 0, "refused": [{"number": 1, "reason": "no mapping"}], "refused_total": 1});
    let (code, text) = asked(line, vec![(202, "", refused)]).0.unwrap_err();
    assert!(code == 1 && text.contains("1 event refused"), "{text}");
    for wrong in ["--source-ip 203.0.113", "--port 99999", "--payload [1]", "--timestamp yesterday", "--demo"] {
        assert!(parsed(&format!("vertice {line} {wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn refusals_have_their_exit_codes() {
    let problem = |status: u16, title: &str| {
        vec![(status, "", json!({"title": title, "detail": "no \u{1b} way", "status": status}))]
    };
    for (status, code) in [(404, 3), (401, 5), (403, 5), (400, 1), (409, 1), (500, 1)] {
        let (outcome, _) = asked("detections show 1f3a", problem(status, "Title"));
        let (got, text) = outcome.unwrap_err();
        assert_eq!(got, code, "{status}");
        assert!(text.starts_with("Title: no"), "{text}");
    }
    let busy = vec![(503, "Retry-After: 2\r\n", json!({"title": "Busy"}))];
    assert_eq!(asked("status", busy).0.unwrap_err(), (1, "Busy (try again in 2 s)".to_owned()));
    let other = vec![(404, "", json!("<html>"))];
    assert_eq!(
        asked("status", other).0.unwrap_err(),
        (3, "Not Found (404 for /api/v1/status); is it Vertice?".to_owned())
    );
    let text = asked("status", ok(json!("hello"))).0.unwrap_err().1;
    assert_eq!(text, "URL/api/v1/status answered with something else than JSON: is it Vertice?");
    // A redirect is not followed: the key would go with it.
    let (outcome, asked) = asked("status", vec![(302, "Location: http://127.0.0.1:1/\r\n", json!(""))]);
    assert_eq!((outcome.unwrap_err().0, asked.len()), (1, 1));
}

#[test]
fn a_server_that_is_not_there_has_its_own_code_and_no_error_shows_the_key() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{gone}/"), Some("vk_secret".into())).unwrap();
    let failure = client.get("/health", &[]).unwrap_err();
    assert_eq!(failure.exit_code(), 4);
    assert!(failure.to_string().contains("nothing listens there") && !failure.to_string().contains("vk_"), "{failure}");
    for (url, key) in
        [("http://ana:pw@host", ""), ("ftp://host", ""), ("http://", ""), ("", ""), ("http://host", "a\nb")]
    {
        let refused = Client::new(url, Some(key.to_owned())).err().map(|e| (e.exit_code(), e.to_string()));
        let (code, text) = refused.unwrap_or_else(|| panic!("{url} is taken"));
        assert!(code == 2 && !text.contains("pw") && !text.contains("a\nb"), "{text}");
    }
    assert_eq!(client::segment("a/b c.ü"), "a%2Fb%20c.%C3%BC");
    assert_eq!(client::segment(".."), "%2E%2E");
}

#[test]
fn one_record_is_shown_with_what_matched() {
    let text = asked("detections show 0000", ok(detection(1))).0.unwrap();
    assert!(text.starts_with("high  Guessing ␛[31m\n"), "{text}");
    assert!(text.contains("  sel: CommandLine|contains = axb   (wanted: *x*)"), "{text}");
    assert!(!text.contains("class"), "{text}");
    let event = json!({"position": 7, "received": "2026-01-02T03:04:06Z", "raw": {"origin": "http", "line": "as it \u{9b}came"},
        "event": {"position": 7, "timestamp": "2026-01-02T03:04:05Z", "mapping": "sshd", "fields": {"event.action": "failed_login"},
                  "log_sources": [{"product": "linux", "service": "sshd"}, {"category": "authentication"}]}, "refused": null});
    let text = asked("events show 7", ok(event)).0.unwrap();
    for wanted in ["linux/sshd, authentication", "event.action", "as it \u{fffd}came"] {
        assert!(text.contains(wanted), "{text}");
    }
    let refused = json!({"items": [{"position": 8, "raw": {"origin": "http", "line": "x"}, "event": null, "refused": "no mapping"}]});
    let text = asked("events list", ok(refused)).0.unwrap();
    assert!(text.contains("8 ") && text.contains("not read: no mapping"), "{text}");
}

fn question(state: &str) -> Value {
    json!({"question_id": "5b2c11d0-1", "run_id": "r1", "threat_id": "t1", "playbook_id": "p", "action_id": "block",
        "action_type": "firewall_rule", "prompt": "Block it?", "severity": "high", "plan_digest": "d1", "simulated": true,
        "urgent": true, "on_timeout": "deny", "asked_at": "2026-01-02T03:04:05Z", "expires_at": "2026-01-02T03:09:05Z",
        "state": state, "answered": null})
}

fn run_record(digest: &str) -> Value {
    json!({"run_id": "r1", "playbook_id": "p", "plan_digest": digest, "state": "waiting", "simulated": true, "steps": [
        {"action_id": "block", "action_type": "firewall_rule", "parameters": {"source_ip": "203.0.113.9"}, "inverse": "unblock",
         "lease_s": 3600, "touches": [{"entity_kind": "ip", "entity": "203.0.113.9"}], "depends_on": [], "state": {"is": "asked"}}]})
}

#[test]
fn an_answer_is_bound_to_the_plan_that_was_shown() {
    let answers = vec![(200, "", question("pending")), (200, "", run_record("d1")), (200, "", question("approved"))];
    let (text, asked_for) = asked("approvals approve 5b2c --yes", answers);
    let text = text.unwrap();
    for wanted in [
        "high  urgent  Block it?",
        "source_ip=203.0.113.9",
        "ip 203.0.113.9",
        "60 min",
        "unblock",
        "recorded as simulated",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    assert_eq!(
        asked_for[2],
        r#"POST /api/v1/defense/approvals/5b2c11d0-1 [Bearer vk_1] {"approve":true,"plan_digest":"d1"}"#
    );
    let answers = vec![(200, "", question("pending")), (200, "", run_record("another"))];
    let (code, text) = asked("approvals approve 5b2c --yes", answers).0.unwrap_err();
    assert!(code == 1 && text.contains("differ"), "{text}");
    let other = json!({"title": "Conflict", "detail": "the answer is to another plan (\"d1\") than the one that is asked about (\"d2\")"});
    let answers = vec![(200, "", question("pending")), (200, "", run_record("d1")), (409, "", other)];
    let (code, text) = asked("approvals approve 5b2c --yes", answers).0.unwrap_err();
    assert!(code == 1 && text.contains("to another plan"), "{text}");
    let answers = vec![(200, "", question("expired")), (200, "", run_record("d1"))];
    assert!(asked("approvals deny 5b2c --yes", answers).0.unwrap_err().1.contains("expired"));
    // Without --yes a person at a terminal must be asked, and here is none.
    let answers = vec![(200, "", question("pending")), (200, "", run_record("d1"))];
    assert_eq!(asked("approvals deny 5b2c -o json", answers).0.unwrap_err().0, 2);
}

#[test]
fn a_playbook_is_started_by_its_id_and_its_run_is_shown() {
    let started = json!({"playbook_id": "p", "threat_id": "t1", "run": run_record("d1")});
    for noun in ["playbook", "playbooks"] {
        let (text, asked_for) = asked(&format!("{noun} run p/1 1f3a"), ok(started.clone()));
        assert!(text.unwrap().contains("1. block  firewall_rule  asked"));
        assert_eq!(asked_for, [r#"POST /api/v1/defense/playbooks/p%2F1/run [Bearer vk_1] {"threat_id":"1f3a"}"#]);
    }
    let later = vec![(202, "", json!({"playbook_id": "p", "threat_id": "t1", "run": null}))];
    assert!(asked("playbook run p 1f3a", later).0.unwrap().contains("has yet to come to it"));
    let refused = vec![(409, "", json!({"title": "Conflict", "detail": "the playbook already runs"}))];
    assert_eq!(
        asked("playbook run p 1f3a", refused).0.unwrap_err(),
        (1, "Conflict: the playbook already runs".to_owned())
    );
}

#[test]
fn records_of_responses_are_never_said_to_be_done_when_simulated() {
    let page = json!({"items": [run_record("d1")], "next_cursor": null});
    assert!(asked("responses list", ok(page)).0.unwrap().contains("simulated"));
    assert!(asked("responses show r1", ok(run_record("d1"))).0.unwrap().contains("done      simulated"));
    let containment = json!({"containment_id": "c1", "entity_kind": "ip", "entity": "203.0.113.9", "simulated": true,
        "state": {"is": "released", "by": "ana", "reason": "ours"}, "stage": "reflex", "since": "2026-01-02T03:04:05Z",
        "lease_until": "2026-01-02T04:04:05Z", "action_type": "firewall_rule"});
    let page = json!({"items": [containment.clone()], "next_cursor": null});
    let (text, asked_for) = asked("containments list", ok(page));
    assert!(text.unwrap().contains("released  simulated"));
    assert_eq!(asked_for, ["GET /api/v1/defense/containments?active=true&order=desc&limit=50 [Bearer vk_1]"]);
    let text = asked("containments show c1", ok(containment.clone())).0.unwrap();
    assert!(text.contains("released by  ana") && text.contains("because      ours"), "{text}");
    let (text, asked_for) =
        asked("containments release c1 --reason mistake", vec![(200, "", containment.clone()), (200, "", containment)]);
    assert_eq!(text.unwrap(), "ip 203.0.113.9 is released.\n");
    assert_eq!(asked_for[1], "DELETE /api/v1/defense/containments/c1?reason=mistake [Bearer vk_1]");
}

#[test]
fn threats_are_listed_shown_and_judged() {
    let threat = json!({"threat_id": "1f3a9c0e-1", "state": {"is": "quiet", "at": "2026-01-03T00:00:00Z"}, "title": "Guessing by x",
        "severity": "high", "attention": "critical", "triage": {"priority": 83}, "confidence": 0.9, "stage": "credential-access",
        "detections": 3, "last_seen": "2026-01-02T03:04:05Z",
        "positions": [1, 9], "rules": [{"rule_title": "Guessing", "severity": "high", "confidence": 0.8, "detections": 3, "entity": "x"}],
        "verdict": {"verdict": "benign", "by": "ana", "at": "2026-01-02T03:04:05Z", "note": "a test"}, "narrative": "It guessed."});
    let page = json!({"items": [threat.clone()], "next_cursor": null});
    let (text, asked_for) = asked("threats list", ok(page));
    assert!(text.unwrap().contains("1f3a9c0e  high      critical   83        90 %  quiet"));
    assert_eq!(asked_for, ["GET /api/v1/defense/threats?state=open&order=desc&limit=50 [Bearer vk_1]"]);
    let (_, asked_for) = asked("threats list --sort priority", ok(json!({"items": [], "next_cursor": null})));
    let sorted = "GET /api/v1/defense/threats?state=open&sort=priority&order=desc&limit=50 [Bearer vk_1]";
    assert_eq!(asked_for, [sorted]);
    let (text, asked_for) = asked("threats list --sort priority --oldest-first", Vec::new());
    let (code, why) = text.unwrap_err();
    assert!(code == 2 && why.contains("--oldest-first is about when") && asked_for.is_empty(), "{code}: {why}");
    let intent = json!({"seen_by": "rules", "forecast": {"predictions": [{"technique": "T1078"}], "standing_text": "31 of 100"}});
    let (text, asked_for) = asked("threats show 1f3a", vec![(200, "", threat.clone()), (200, "", intent)]);
    assert_eq!(asked_for[1], "GET /api/v1/defense/threats/1f3a9c0e-1/intent [Bearer vk_1]");
    let text = text.unwrap();
    for wanted in [
        "T1078",
        "how sure: 31 of 100",
        "log positions 1 to 9",
        "benign by ana, 2026-01-02 03:04:05: a test",
        "It guessed.",
        "vertice explain 1f3a9c0e",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    let (text, asked_for) =
        asked("threats judge 1f3a false_positive --note ours", vec![(200, "", threat.clone()), (200, "", threat)]);
    assert_eq!(text.unwrap(), "Guessing by x is judged: false positive.\n");
    let expected =
        r#"POST /api/v1/defense/threats/1f3a9c0e-1/verdict [Bearer vk_1] {"note":"ours","verdict":"false_positive"}"#;
    assert_eq!(asked_for[1], expected);
}

#[test]
fn a_bouncer_is_added_listed_and_removed() {
    let added = vec![(201, "", json!({"name": "edge", "key": "vk_2"}))];
    let (text, asked_for) = asked("bouncers add edge", added.clone());
    let text = text.unwrap();
    assert!(text.starts_with("The key of the bouncer edge, shown only now:\n"), "{text}");
    assert!(text.contains("  api_url: http://127.0.0.1:") && text.ends_with("/\n  api_key: vk_2\n"), "{text}");
    assert_eq!(asked_for, [r#"POST /api/v1/bouncers [Bearer vk_1] {"name":"edge"}"#]);
    let one: Value = serde_json::from_str(&asked("bouncers add edge -o json", added).0.unwrap()).unwrap();
    assert_eq!(one["key"], json!("vk_2"));
    let list = json!({"next_cursor": null, "items": [
        {"name": "edge", "created": "2026-01-02T03:04:05Z", "last_pull": "2026-01-02T03:05:05.5Z", "agent": "x\u{1b}/1"},
        {"name": "web", "created": "2026-01-02T03:04:06Z", "last_pull": null, "agent": null}]});
    let text = asked("bouncers list", ok(list)).0.unwrap();
    assert_eq!(
        text,
        "NAME  ADDED (UTC)          LAST ASKED (UTC)     CALLS ITSELF\n\
         edge  2026-01-02 03:04:05  2026-01-02 03:05:05  x␛/1\n\
         web   2026-01-02 03:04:06  not since the start\n"
    );
    let (text, asked_for) = asked("bouncers remove edge", vec![(204, "", json!(""))]);
    assert!(text.unwrap().starts_with("The bouncer edge is removed."));
    assert_eq!(asked_for, ["DELETE /api/v1/bouncers/edge [Bearer vk_1]"]);
}

#[test]
fn a_key_is_added_listed_and_removed() {
    let added = vec![(201, "", json!({"name": "bob", "key": "vk_2"}))];
    let (text, asked_for) = asked("keys add bob", added.clone());
    assert_eq!(text.unwrap(), "The API key of bob, shown only now:\n\n  export VERTICE_API_KEY=vk_2\n");
    assert_eq!(asked_for, [r#"POST /api/v1/keys [Bearer vk_1] {"name":"bob"}"#]);
    let one: Value = serde_json::from_str(&asked("keys add bob -o json", added).0.unwrap()).unwrap();
    assert_eq!(one["key"], json!("vk_2"));
    let list = json!({"next_cursor": null, "items": [
        {"name": "bob", "created": "2026-01-02T03:04:05Z", "from_environment": false, "yours": true},
        {"name": "environment", "created": "2026-01-02T03:04:06Z", "from_environment": true, "yours": false}]});
    assert_eq!(
        asked("keys list", ok(list)).0.unwrap(),
        "NAME         ADDED (UTC)\n\
         bob          2026-01-02 03:04:05  yours\n\
         environment  2026-01-02 03:04:06  set by VERTICE_API_KEY at a start\n"
    );
    let (text, asked_for) = asked("keys remove bob", vec![(204, "", json!(""))]);
    assert_eq!(text.unwrap(), "The key bob is removed. What was decided with it stands.\n");
    assert_eq!(asked_for, ["DELETE /api/v1/keys/bob [Bearer vk_1]"]);
    let last = vec![(409, "", json!({"title": "Conflict", "detail": "this is the last key"}))];
    assert_eq!(asked("keys remove bob", last).0.unwrap_err(), (1, "Conflict: this is the last key".to_owned()));
}

#[test]
fn the_state_of_the_server_is_shown_in_parts() {
    let status = json!({"version": "0.1.0", "lag": 0, "counts": {"threats_open": 2, "at_least": {"high": 1}},
        "sources": [{"name": "/var/log/auth.log", "kind": "file", "state": "\u{1b}[2J"}], "empty": []});
    let text = asked("status", ok(status.clone())).0.unwrap();
    for wanted in [
        "version  0.1.0",
        "counts\n",
        "threats open  2",
        "NAME               KIND  STATE",
        "/var/log/auth.log  file  ␛[2J",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    assert_eq!(serde_json::from_str::<Value>(&asked("status -o json", ok(status.clone())).0.unwrap()).unwrap(), status);
}

#[test]
fn a_health_check_says_yes_or_no_and_nothing_else() {
    assert!(asked("health", ok(json!({"status": "ok"}))).0.unwrap().starts_with("ok  http://127.0.0.1:"));
    let (ready, asked_for) = asked("health --ready -o json", ok(json!({"ready": true, "lag": 3})));
    assert_eq!(serde_json::from_str::<Value>(&ready.unwrap()).unwrap()["lag"], 3);
    assert_eq!(asked_for, ["GET /ready [Bearer vk_1]"]);
    // Other commands have other codes for these; a health check knows one.
    for status in [401, 404, 503] {
        let answer = vec![(status, "", json!({"title": "No", "detail": "the disk is full"}))];
        let (code, why) = asked("health --ready", answer).0.unwrap_err();
        assert!(code == 1 && why.contains("the disk is full"), "{code} {why}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for (url, within) in [(url.as_str(), "1"), ("http://127.0.0.1:1", "60")] {
        let cli = parsed(&format!("vertice --url {url} health --timeout {within}")).unwrap();
        let Command::Ask(ask) = cli.command else { panic!("it asks") };
        let mut failed = None;
        printed(Format::Table, |out| {
            failed = cli.global.answer(ask, out).err();
            Ok(())
        });
        assert_eq!(failed.map(|e| failure::exit_code(&e)), Some(1), "{url}");
    }
    assert!(parsed("vertice health --timeout 0").is_err());
}

#[test]
fn a_stream_that_ends_is_told() {
    let stream = "event: detection\ndata: {\"entity\":\"x\"}\n\n";
    let (outcome, asked_for) = asked("watch -o ndjson", ok(json!(stream)));
    assert_eq!(outcome.unwrap_err(), (4, "URL ended the stream".to_owned()));
    assert_eq!(asked_for, ["GET /api/v1/stream [Bearer vk_1]"]);
}

#[test]
fn a_cause_that_an_error_says_itself_is_not_said_again() {
    let error = anyhow::anyhow!("no such file").context("opening a/lock: no such file").context("starting");
    assert_eq!(told(&error), "starting: opening a/lock: no such file");
}
