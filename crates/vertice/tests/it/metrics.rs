//! A real Prometheus reads a running Vertice, and everything that dashboard and alerts ask finds something.

#![expect(clippy::disallowed_methods, reason = "what never comes about must fail a test, and not hang it")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use vertice_testkit::scene::{RULE, TELL, TELL_AGAIN, attempt};

use crate::dashboard::{Asked, NEED_KAFKA, asked_by_alerts, asked_by_panels, names};
use crate::live::LIMIT;
use crate::process::{KEY, Server, vertice};
use crate::prometheus::{Prometheus, there, written};

/// Asks a third time.
const TELL_AT_LAST: &str = r#"  - id: tell_at_last
    type: notification
    hotl_required: true
    hotl_prompt: And at last?
    depends_on: [tell_again]
    parameters: {channel: webhook, message: "${source_ip} was there"}
"#;

/// Somebody who takes messages: the harmless end of a live response. Ends with the test process.
fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || listener.incoming().flatten().for_each(take));
    url
}

fn take(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("it can be cloned"));
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        let lower = line.to_ascii_lowercase();
        length = lower.strip_prefix("content-length:").and_then(|n| n.trim().parse().ok()).unwrap_or(length);
        line.clear();
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    // The sender sees to it if this does not arrive.
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

fn configured(dir: &Path, receiver: &str) -> String {
    let playbook = format!("{TELL}    success_criteria: [message_delivered]\n{TELL_AGAIN}{TELL_AT_LAST}");
    for (name, text) in [("rules/mallory.yml", RULE), ("playbooks/tell.yml", &playbook)] {
        written(dir.join("content").join(name), text);
    }
    let secret = written(dir.join("secret"), "0123456789abcdef0123456789abcdef");
    let text = format!(
        "[content]\ndirs = [{:?}]\n[response]\nmode = \"live\"\n[response.notification]\nenabled = true\n\
         [response.notification.to]\nops = {{ kind = \"webhook\", url = {receiver:?}, \
         secret = {{ file = {secret:?} }}, default = true }}\n",
        dir.join("content")
    );
    written(dir.join("vertice.toml"), &text).display().to_string()
}

/// The attack of the demonstration, as it would have been written in the last minutes.
fn attack() -> String {
    let story = std::fs::read_to_string(vertice_testkit::root().join("content/demo/attack.yml")).expect("it is there");
    let story: Value = serde_saphyr::from_str(&story).expect("it is YAML");
    let lines = story["lines"].as_array().expect("it has lines");
    let length = lines.last().and_then(|l| l["after_s"].as_i64()).expect("it has a length");
    let begin = Timestamp::now() - length.seconds();
    let filled = |line: &Value| {
        let at = begin + line["after_s"].as_i64().expect("a time").seconds();
        [
            ("{{syslog}}", "%b %e %H:%M:%S"),
            ("{{rfc3339}}", "%Y-%m-%dT%H:%M:%S.000Z"),
            ("{{epoch}}", "%s.000"),
            ("{{eve}}", "%Y-%m-%dT%H:%M:%S.000000+0000"),
            ("{{clf}}", "%d/%b/%Y:%H:%M:%S +0000"),
        ]
        .iter()
        .fold(line["line"].as_str().expect("a line").to_owned(), |text, (place, form)| {
            text.replace(place, &at.strftime(form).to_string())
        })
    };
    lines.iter().map(filled).collect::<Vec<_>>().join("\n")
}

/// Lets it see what there is to be seen: an attack, of which most is only recorded; a response that is really carried
/// out; a question that is answered, and one that waits.
fn lived_through(server: &Server) {
    let (status, answer) = server.post("/api/v1/events", attack().as_bytes()).expect("it is there");
    assert_eq!(status, 202, "{answer}");
    let (status, answer) = server.post("/api/v1/events", attempt("203.0.113.66").as_bytes()).expect("it is there");
    assert_eq!(status, 202, "{answer}");
    let asks = |id: &str| {
        let id = id.to_owned();
        move |q: &Value| q["action_id"] == *id && q["state"] == "pending"
    };
    let question = server.until_listed("approvals", asks("tell_again"));
    let path = format!("/api/v1/defense/approvals/{}", question["question_id"].as_str().expect("an id"));
    let yes = json!({ "approve": true, "plan_digest": question["plan_digest"] });
    let (status, answer) = server.post_json(&path, &yes).expect("it is there");
    assert_eq!(status, 200, "{answer}");
    server.until_listed("approvals", asks("tell_at_last"));
    server.until_listed("containments", |c| c["simulated"] == true);
}

/// The names of series that a text of metrics declares.
pub fn declared(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["up".to_owned()]);
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a kind");
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        names.extend(endings.iter().map(|ending| format!("{name}{ending}")));
    }
    names
}

/// Asks until there is an answer, of metrics that are known, with the labels that people are shown.
pub fn answered(prometheus: &Prometheus, known: &BTreeSet<String>, asked: &Asked) {
    let Asked { by, expression, shows } = asked;
    let used = names(expression);
    let unknown: Vec<_> = used.difference(known).collect();
    assert!(unknown.is_empty(), "{by} asks for {unknown:?}, which is no metric");
    for sample in prometheus.until_found(expression) {
        let labelled = shows.iter().all(|label| sample["metric"][label].is_string());
        assert!(labelled, "{by} shows {shows:?}, and {expression} finds {sample}");
    }
}

#[test]
fn whatever_dashboard_and_alerts_ask_a_running_vertice_answers() {
    if !there(&["prometheus"], "what Prometheus reads of a running Vertice") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = configured(dir.path(), &receiver());
    let server = Server::start_with(&dir.path().join("data"), &["--config", &config]);
    let prometheus = Prometheus::start(dir.path(), &server.url);
    // From before anything happened, or nothing would have risen.
    prometheus.until_found("up{job=\"vertice\"} > 0");
    prometheus.until_found("vertice_log_end_position");
    lived_through(&server);

    let known = declared(&server.text("/metrics"));
    let (mut tried, mut without) = (0, BTreeSet::new());
    for asked in asked_by_panels().into_iter().chain(asked_by_alerts()) {
        let Asked { by, expression, .. } = &asked;
        let used = names(expression);
        assert!(!used.is_empty(), "{by} asks for nothing of ours: {expression}");
        if used.iter().any(|name| name.starts_with("vertice_kafka_")) {
            // There is no Kafka here; `kafka/watched.rs` has one, and the answers.
            assert_eq!(prometheus.query(expression).map(|found| found.len()), Ok(0), "{by}: {expression}");
            without.insert(by.clone());
            continue;
        }
        answered(&prometheus, &known, &asked);
        tried += 1;
    }
    assert!(tried > 40, "{tried}");
    assert_eq!(without, NEED_KAFKA.map(str::to_owned).into());
    what_it_saw_is_what_is_counted(&server, &prometheus);
    // What it goes on from after a restart counts too.
    assert_eq!(server.stop(), Some(0));
    what_stands_is_what_is_counted(&Server::start_with(&dir.path().join("data"), &["--config", &config]));
}

fn what_it_saw_is_what_is_counted(server: &Server, prometheus: &Prometheus) {
    let detections = server.all("/api/v1/defense/detections").len();
    // Of each message that was tried, and of none that was only recorded.
    let attempts = "sum(vertice_response_execution_duration_seconds_count{action_type=\"notification\"})";
    let failed = "sum(vertice_response_failed_actions_total{action_type=\"notification\"})";
    for expected in [
        format!("sum(defense_detections_total) == {detections}"),
        "defense_response_actions_total{action_type=\"notification\"} == 2".to_owned(),
        format!("{attempts} - {failed} == 2"),
        "defense_hotl_approvals_total{approved=\"true\"} == 1".to_owned(),
        "vertice_response_questions_waiting{simulated=\"false\"} == 1".to_owned(),
    ] {
        prometheus.until_found(&expected);
    }
    what_stands_is_what_is_counted(server);
    // Of what is let go, and of what is no longer asked, less is counted.
    let entity = server.all("/api/v1/defense/containments")[0]["entity"].as_str().expect("whom it holds").to_owned();
    let let_go = ["release", &entity, "--reason", "test", "--url", &server.url, "--key", KEY];
    let released = vertice().args(let_go).output().expect("it runs");
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    what_stands_is_what_is_counted(server);
}

fn what_stands_is_what_is_counted(server: &Server) {
    server.settled();
    let (held, asked) = (server.all("/api/v1/defense/containments"), server.all("/api/v1/defense/approvals"));
    let mut lines = Vec::new();
    for simulated in [true, false] {
        for stage in ["reflex", "durable", "probation", "healed"] {
            let stands = |c: &&Value| {
                c["simulated"] == simulated
                    && c["stage"] == *stage
                    && matches!(c["state"]["is"].as_str(), Some("active" | "releasing"))
            };
            let count = held.iter().filter(stands).count();
            let labels = format!("{{stage=\"{stage}\",simulated=\"{simulated}\"}}");
            lines.push(format!("vertice_response_containments{labels} {count}"));
        }
        let waiting = asked.iter().filter(|q| q["state"] == "pending" && q["simulated"] == simulated).count();
        lines.push(format!("vertice_response_questions_waiting{{simulated=\"{simulated}\"}} {waiting}"));
    }
    // It is counted a moment after it is there to be read.
    let until = Instant::now() + LIMIT;
    loop {
        let text = server.text("/metrics");
        let missing: Vec<_> = lines.iter().filter(|line| !text.lines().any(|l| l == **line)).collect();
        if missing.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "{missing:#?} is missing in\n{text}");
    }
}
