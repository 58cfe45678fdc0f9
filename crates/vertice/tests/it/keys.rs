//! Keys of people on the running process: four eyes, and the way back when the only key is lost.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use vertice_testkit::scene::{RULE, attempt};

use crate::process::{KEY, Server, vertice};

/// Longest that an answer is waited for: many times what it takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// An action of the highest risk that harms nobody: no such host is configured.
const PLAYBOOK: &str = "
name: Lock the door
version: \"1\"
trigger: {condition: mallory_seen, severity_threshold: medium, confidence_threshold: 0.5}
actions:
  - id: lock
    type: remote_command
    hotl_required: true
    hotl_prompt: Lock the door?
    parameters: {target_host: door-7, command: lock, undo_command: unlock, duration: 1h}
";

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).unwrap();
    path
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// A command of `vertice keys`, at a server or, with a URL where none is, at a data directory.
fn keys(url: &str, data: &Path, key: &str, arguments: &[&str]) -> Output {
    let mut command = vertice();
    command.args(["--url", url, "keys"]).args(arguments).env("VERTICE_API_KEY", key).env("VERTICE_DATA_DIR", data);
    command.output().unwrap()
}

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The key that was shown.
fn shown(output: &Output) -> String {
    let told = said(output);
    assert!(output.status.success(), "{told}");
    let key = told.lines().find_map(|line| line.trim().strip_prefix("export VERTICE_API_KEY="));
    key.unwrap_or_else(|| panic!("no key in {told}")).to_owned()
}

/// Asks with a key of its own, and returns status and answer.
fn with(server: &Server, key: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let config = ureq::Agent::config_builder().timeout_global(Some(LIMIT)).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let url = format!("{}{path}", server.url);
    let answer = match body {
        Some(body) => agent.post(url).header("X-Api-Key", key).send_json(body),
        None => agent.get(url).header("X-Api-Key", key).call(),
    };
    let mut answer = answer.unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
}

#[test]
fn an_action_of_the_highest_risk_needs_two_people_with_a_key_each() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "content/rules/mallory.yml", RULE);
    write(dir.path(), "content/playbooks/lock_the_door.yml", PLAYBOOK);
    let text = format!(
        "[content]\ndirs = [{:?}]\n[response]\nmode = \"live\"\napprovers = [\"environment\", \"bob\"]\n\
         [response.remote_command]\nenabled = true\n",
        dir.path().join("content")
    );
    let config = write(dir.path(), "vertice.toml", &text).display().to_string();
    let data = dir.path().join("data");
    let server = Server::start_with(&data, &["--config", &config]);
    let bob = shown(&keys(&server.url, &data, KEY, &["add", "bob"]));
    let cleo = shown(&keys(&server.url, &data, KEY, &["add", "cleo"]));

    let line = attempt("203.0.113.9");
    assert_eq!(server.post("/api/v1/events", line.as_bytes()).unwrap().0, 202);
    let question = server.until_listed("approvals", |q| q["action_type"] == "remote_command");
    assert_eq!((&question["risk"], &question["approvals_needed"]), (&json!("high"), &json!(2)), "{question:#}");
    assert_eq!(question["simulated"], false);
    let path = format!("/api/v1/defense/approvals/{}", question["question_id"].as_str().unwrap());
    let yes = json!({"approve": true, "plan_digest": question["plan_digest"]});

    let (status, first) = with(&server, KEY, &path, Some(&yes));
    assert_eq!((status, &first["state"]), (200, &json!("pending")), "one is not enough: {first:#}");
    let (status, twice) = with(&server, KEY, &path, Some(&yes));
    let why = twice["detail"].as_str().unwrap();
    assert_eq!(status, 409);
    assert_eq!(why, "environment may not answer this question: they said yes already, and 2 different people must");
    let (status, other) = with(&server, &cleo, &path, Some(&yes));
    let why = other["detail"].as_str().unwrap();
    assert!(status == 409 && why.ends_with("the configuration does not name them as an approver"), "{other}");
    let (status, second) = with(&server, &bob, &path, Some(&yes));
    assert_eq!((status, &second["state"]), (200, &json!("approved")), "{second:#}");
    let who: Vec<&Value> = second["approvals"].as_array().unwrap().iter().map(|yes| &yes[0]).collect();
    assert_eq!(who, ["environment", "bob"]);

    // It was really tried, and is not said to have worked.
    let run = server.until_listed("responses", |r| r["playbook_id"] == "lock_the_door" && r["state"] == "ended");
    assert_eq!((&run["simulated"], &run["success"]), (&json!(false), &json!(false)), "{run:#}");
    let step = &run["steps"][0]["state"];
    assert_eq!(step["is"], "failed", "{run:#}");
    assert!(step.to_string().contains("there is no [response.remote_command.hosts.door-7]"), "{step}");

    // Who could answer stands in the audit, beside what they answered.
    assert!(keys(&server.url, &data, &bob, &["remove", "cleo"]).status.success());
    server.settled();
    assert_eq!(server.stop(), Some(0));
    let told = audited(&data);
    assert_eq!(told, ["environment adds bob", "environment adds cleo", "bob removes cleo"]);
}

/// What the audit says of keys. It is whole.
fn audited(data: &Path) -> Vec<String> {
    let audit = |verb: &str| {
        let mut command = vertice();
        let output = command.args(["audit", verb, "-o", "ndjson"]).env("VERTICE_DATA_DIR", data).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    audit("verify");
    let export = audit("export");
    let entries = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = entries.filter(|entry| entry["kind"] == "key").map(|entry| {
        let does = if entry["record"]["added"] == true { "adds" } else { "removes" };
        format!("{} {does} {}", entry["actor"].as_str().unwrap(), entry["record"]["name"].as_str().unwrap())
    });
    told.collect()
}

#[test]
fn whoever_lost_the_first_key_makes_another_where_the_data_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let nothing = keys(NOWHERE, &data, "", &["add", "ana"]);
    assert!(nothing.status.code() == Some(3) && said(&nothing).contains("there is no data of Vertice in"));
    assert!(!data.exists(), "nothing is made where nothing was");

    // Its first start makes a key, and shows it to nobody who keeps it.
    let without_key = || {
        let lost = File::options().create(true).append(true).open(dir.path().join("lost")).unwrap();
        Server::start_as(&data, &[], |command| command.env_remove("VERTICE_API_KEY").stderr(lost))
    };
    let server = without_key();
    assert_eq!(with(&server, KEY, "/api/v1/keys", None).0, 401);
    let busy = keys(NOWHERE, &data, "", &["add", "ana"]);
    assert!(busy.status.code() == Some(1) && said(&busy).contains("in use"), "{}", said(&busy));
    assert_eq!(server.stop(), Some(0));

    let ana = shown(&keys(NOWHERE, &data, "", &["add", "ana"]));
    let again = keys(NOWHERE, &data, "", &["add", "ana"]);
    assert!(again.status.code() == Some(1) && said(&again).contains("there is a key ana"), "{}", said(&again));
    let list = keys(NOWHERE, &data, "", &["list", "-o", "json"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!((&list[0]["name"], &list[1]["name"]), (&json!("admin"), &json!("ana")), "{list}");
    assert!(keys(NOWHERE, &data, "", &["remove", "admin"]).status.success());
    let last = keys(NOWHERE, &data, "", &["remove", "ana"]);
    assert!(last.status.code() == Some(1) && said(&last).contains("the last key"), "{}", said(&last));

    let server = without_key();
    let (status, list) = with(&server, &ana, "/api/v1/keys", None);
    assert_eq!((status, &list["items"][0]["name"]), (200, &json!("ana")), "{list}");
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "no first key is made again: {list}");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(audited(&data), ["local adds ana", "local removes admin"]);

    // A key of the environment is listed as such, beside the others.
    let server = Server::start(&data);
    let told = said(&keys(&server.url, &data, KEY, &["list"]));
    let line = told.lines().find(|line| line.starts_with("environment ")).unwrap_or_else(|| panic!("{told}"));
    assert!(line.ends_with("yours, set by VERTICE_API_KEY at a start"), "{told}");
    assert_eq!(server.stop(), Some(0));
}
