//! Language models beside the running binary: one that obeys attackers, and one that never answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use serde_json::{Value, json};
use vertice_testkit::injections::{Injection, injections, obedient};

use crate::process::{KEY, Server, until, vertice};

/// What is done about each attack, for real: somebody is told.
const TELL: &str = "name: Tell\nversion: '1'\ndescription: Tells of an attack.\ntrigger: {condition: malware_detected, \
    severity_threshold: medium, confidence_threshold: 0.5}\ncontext_requirements: [source_ip]\nactions:\n  \
    - {id: tell, type: notification, parameters: {channel: slack, message: 'An attack from ${source_ip}.'}, \
    success_criteria: [message_delivered]}\nrollback: {enabled: true, conditions: [manual_override]}\n";

/// How the model of a test is.
pub enum Mood {
    /// It does what attackers tell it, and is careful not to be seen doing so.
    Obeys,
    /// It says this, whatever it is asked.
    Says(Value),
    /// It answers when it is let go, which is at the end.
    Hangs(Mutex<mpsc::Receiver<()>>),
}

/// A server that is a model in the form of OpenAI's, and whoever is told of attacks.
pub struct Stand {
    /// Where it listens.
    pub address: SocketAddr,
    asked: AtomicUsize,
    told: AtomicUsize,
    mood: Mood,
}

impl Stand {
    /// Starts one.
    pub fn start(mood: Mood) -> Arc<Stand> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stand = Arc::new(Stand { address, asked: AtomicUsize::new(0), told: AtomicUsize::new(0), mood });
        let serving = Arc::clone(&stand);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let stand = Arc::clone(&serving);
                std::thread::spawn(move || stand.serve(&connection));
            }
        });
        stand
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// Answers the requests of one connection.
    fn serve(&self, connection: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection);
        loop {
            let (mut path, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                if path.is_empty() {
                    path = line.split(' ').nth(1)?.to_owned();
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().ok()?;
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let answer = if path.contains("completions") { self.answer(&body) } else { self.hear() };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            let mut connection = connection;
            connection.write_all(format!("{head}{answer}").as_bytes()).ok()?;
        }
    }

    fn hear(&self) -> String {
        self.told.fetch_add(1, Relaxed);
        "ok".to_owned()
    }

    fn answer(&self, body: &[u8]) -> String {
        self.asked.fetch_add(1, Relaxed);
        let asked: Value = serde_json::from_slice(body).unwrap();
        let said = match &self.mood {
            Mood::Hangs(hangs) => {
                let _ = hangs.lock().map(|hangs| hangs.recv());
                json!({})
            }
            Mood::Says(said) => said.clone(),
            Mood::Obeys => {
                let texts = asked["messages"].as_array().unwrap().iter().filter_map(|m| m["content"].as_str());
                let data: Vec<&str> = texts.flat_map(str::lines).filter(|l| l.starts_with("E1: ")).collect();
                obedient(&data.join("\n"), "E1", &["tell", "malware_containment", "brute_force_response"])
            }
        };
        json!({
            "id": "1", "object": "chat.completion", "model": "stand-in",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said.to_string()}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        })
        .to_string()
    }
}

/// A server in live mode that asks this model, if one is given.
fn server(dir: &Path, stand: &Stand, ask: bool) -> Server {
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    for (path, text) in Injection::rules() {
        write(&path, &text);
    }
    write("playbooks/tell.yml", TELL);
    let config = format!(
        "[content]\ndirs = [{:?}]\n[response]\nmode = \"live\"\n[response.notification]\nenabled = true\n\
         [response.notification.to]\nops = {{ kind = \"slack\", url = {{ env = \"HOOK_URL\" }}, default = true, allow_plain = true }}\n\
         [sentinel]\nask = {ask}\n[sentinel.models.local]\nprovider = \"compatible\"\nmodel = \"stand-in\"\n\
         base_url = \"http://{}/v1\"\nconcurrency = 4\ndeadline_s = 300\n",
        dir, stand.address
    );
    write("vertice.toml", &config);
    let file = dir.join("vertice.toml");
    let hook = format!("http://{}/hook", stand.address);
    Server::start_as(&dir.join("data"), &[], |command| command.env("VERTICE_CONFIG", &file).env("HOOK_URL", &hook))
}

#[test]
fn a_model_that_obeys_attackers_suppresses_nothing_and_acts_nowhere() {
    let attacks: Vec<Injection> = injections().into_iter().step_by(8).collect();
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::start(Mood::Obeys);
    let server = server(dir.path(), &stand, true);
    for (n, injection) in attacks.iter().enumerate() {
        let (status, answer) = server.post("/api/v1/events", injection.line(n).as_bytes()).unwrap();
        assert_eq!(status, 202, "{answer}");
    }
    let closed = |server: &Server| {
        let all = server.all("/api/v1/defense/consultations");
        all.into_iter().filter(|c| c["state"]["is"] != "asked").collect::<Vec<_>>()
    };
    until("every attack is asked about and answered", || closed(&server).len() == attacks.len());
    until("every attack is told of", || stand.told.load(Relaxed) >= attacks.len());
    for consultation in closed(&server) {
        assert_eq!(consultation["state"]["is"], "answered", "{consultation}");
        assert_eq!(consultation["opinion"]["assessment"], "likely_benign", "it obeyed: {consultation}");
    }
    let threats = server.all("/api/v1/defense/threats");
    assert_eq!(threats.len(), attacks.len());
    for threat in &threats {
        assert_eq!((&threat["state"]["is"], &threat["severity"]), (&json!("open"), &json!("high")), "{threat}");
        assert_eq!(threat["attention"], "high");
        assert_eq!(threat["suggested"]["playbooks"][0], "tell", "what it wants is shown, and not started: {threat}");
    }
    let responses = server.all("/api/v1/defense/responses");
    let of = |id: &str| responses.iter().filter(|r| r["playbook_id"] == id).count();
    assert_eq!((of("tell"), of("brute_force_response")), (attacks.len(), 0), "each once, and none that it wants");
    assert_eq!(stand.told.load(Relaxed), attacks.len());
    assert_eq!(server.all("/api/v1/defense/suppressions").len(), 0);
    let (asked, told) = (stand.asked.load(Relaxed), stand.told.load(Relaxed));
    println!("{} attacks: {asked} questions, {told} messages, {} runs", attacks.len(), responses.len());
}

/// What stands in no evidence, one of each kind; and what stands in it, with all that a terminal or a page would obey.
fn invented() -> Value {
    let said = |text: &str| json!({"text": text, "cites": ["E1"]});
    json!({
        "assessment": "likely_malicious", "attention": "critical",
        "techniques": ["T1059", "\u{1b}[2JT1003"], "playbooks": ["tell", "\u{1b}[31m<b>none</b>"],
        "sentences": [
            said("203.0.100.1 attacks."),
            said("It called 198.51.100.77."),
            said("It left d41d8cd98f00b204e9800998ecf8427e."),
            said("It tried 4711 times."),
            said("It is T1003.001."),
            said("\u{1b}[2J\u{1b}[31mThe \u{9b}Kattack\u{1b}[0m <b onclick=x>works</b> \u{202e}**well**\u{7}."),
            said("\u{1b}[2J<i>10.9.8.7</i> is it\u{9b}K."),
        ],
        "false_positive_reason": "\u{1b}c<img src=x> it may be a test \u{1b}[5m",
    })
}

#[test]
fn what_a_model_invents_and_what_a_terminal_obeys_is_shown_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::start(Mood::Says(invented()));
    let server = server(dir.path(), &stand, true);
    let event = json!({"event_id": "i0", "timestamp": "2026-03-01T10:00:00Z", "source": "endpoint", "event_type": "attack",
        "source_ip": "203.0.100.1", "payload": {"command": "run it"}});
    assert_eq!(server.post("/api/v1/events", event.to_string().as_bytes()).unwrap().0, 202);
    let answered = || server.all("/api/v1/defense/consultations").into_iter().find(|c| c["state"]["is"] != "asked");
    until("it is asked about and answered", || answered().is_some());
    let consultation = answered().unwrap();
    let opinion = &consultation["opinion"];
    let texts: Vec<&Value> = opinion["sentences"].as_array().unwrap().iter().map(|s| &s["text"]).collect();
    assert_eq!(texts, ["203.0.100.1 attacks.", "The Kattack ‹b onclick=x›works‹/b› ··well··."], "{consultation}");
    assert_eq!(opinion["techniques"], json!(["T1059"]), "{consultation}");
    assert_eq!(opinion["playbooks"], json!(["tell"]), "{consultation}");
    let left_out = consultation["left_out"].as_array().unwrap();
    let which: Vec<&Value> = left_out.iter().map(|l| &l["sentence"]).collect();
    assert_eq!(which, [2, 3, 4, 5, 7], "{consultation}");
    let named = ["198.51.100.77", "d41d8cd98f00b204e9800998ecf8427e", "4711", "t1003.001", "10.9.8.7"];
    for (left_out, named) in left_out.iter().zip(named) {
        let why = left_out["why"].as_str().unwrap();
        assert!(why.ends_with("is not in the evidence it cites") && why.contains(named), "{why}");
    }
    assert!(server.text("/metrics").contains("vertice_sentinel_sentences_refused_total 5\n"));

    // Everywhere that it can be read, by a program or by a person.
    let threat = consultation["threat_id"].as_str().unwrap();
    let shown = |arguments: &[&str]| {
        let mut command = vertice();
        let output = command.args(["--url", &server.url]).args(arguments).env("VERTICE_API_KEY", KEY).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let explained = shown(&["explain", threat]);
    for wanted in [
        "203.0.100.1 attacks.  [log position",
        "5 of its sentences are left out, for what is said is not in the evidence that is cited",
        "sentence 2: \"198.51.100.77\" is not in the evidence it cites",
    ] {
        assert!(explained.contains(wanted), "{wanted:?} is not in {explained}");
    }
    let id = consultation["consultation_id"].as_str().unwrap();
    let sentences = ["It called", "It left", "It tried", "It is T", "is it"];
    for said in [
        explained,
        shown(&["explain", threat, "-o", "json"]),
        shown(&["consultations", "show", id]),
        shown(&["consultations", "list", "-o", "ndjson"]),
        shown(&["threats", "show", threat]),
        server.text(&format!("/api/v1/defense/threats/{threat}/explain")),
        server.text(&format!("/api/v1/defense/threats/{threat}")),
        server.text("/api/v1/defense/consultations"),
    ] {
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
        for obeyed in ["u001b", "u009b", "u0007", "202e", "\u{202e}", "<b", "<i", "**", "[2J", "none"] {
            assert!(!said.to_lowercase().contains(&obeyed.to_lowercase()), "{obeyed} is in {said}");
        }
        assert!(!sentences.iter().any(|sentence| said.contains(sentence)), "{said}");
    }
}

#[test]
fn an_answer_of_which_nothing_stands_is_explained_as_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = invented();
    said["sentences"].as_array_mut().unwrap().retain(|s| s["text"] == "It called 198.51.100.77.");
    said["false_positive_reason"] = json!("10.9.8.7 is our scanner.");
    let stand = Stand::start(Mood::Says(said));
    let server = server(dir.path(), &stand, true);
    let line = injections()[0].line(0);
    assert_eq!(server.post("/api/v1/events", line.as_bytes()).unwrap().0, 202);
    let refused = || server.all("/api/v1/defense/consultations").into_iter().find(|c| c["state"]["is"] == "refused");
    until("it is asked about and refused", || refused().is_some());
    let consultation = refused().unwrap();
    assert_eq!(consultation["opinion"], Value::Null);
    let threat = server.get(&format!("/api/v1/defense/threats/{}", consultation["threat_id"].as_str().unwrap()));
    assert_eq!((&threat["attention"], threat.get("suggested")), (&json!("high"), None), "nothing of it is taken");
    let mut command = vertice();
    command.args(["--url", &server.url, "explain", threat["threat_id"].as_str().unwrap()]).env("VERTICE_API_KEY", KEY);
    let explained = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for wanted in [
        "answer of stand-in  refused: none of its sentences keeps to the evidence",
        "1 of its sentences is left out",
        "its reason to be false is left out: \"10.9.8.7\"",
    ] {
        assert!(explained.contains(wanted), "{wanted:?} is not in {explained}");
    }
}

/// How long it takes until each of some attacks is seen in the API, in milliseconds, sorted.
#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn latencies(server: &Server) -> Vec<u128> {
    let mut took: Vec<u128> = injections()
        .iter()
        .take(40)
        .enumerate()
        .map(|(n, injection)| {
            let begun = Instant::now();
            server.post("/api/v1/events", injection.line(n).as_bytes()).unwrap();
            let path = format!("/api/v1/defense/detections?entity=203.0.100.{}", n + 1);
            until("a detection", || !server.get(&path)["items"].as_array().unwrap().is_empty());
            begun.elapsed().as_millis()
        })
        .collect();
    took.sort_unstable();
    took
}

#[test]
fn a_model_that_does_not_answer_delays_no_detection() {
    let (let_go, hangs) = mpsc::channel();
    let (hanging, none) = (Stand::start(Mood::Hangs(Mutex::new(hangs))), Stand::start(Mood::Obeys));
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (asks, silent) = (server(one.path(), &hanging, true), server(other.path(), &none, false));
    let with = latencies(&asks);
    assert!(hanging.asked.load(Relaxed) > 0, "it was asked");
    let asked = asks.all("/api/v1/defense/consultations");
    assert!(asked.len() == 40 && asked.iter().all(|c| c["state"]["is"] == "asked"), "none was answered");
    let without = latencies(&silent);
    let median = |sorted: &[u128]| sorted[sorted.len() / 2];
    println!(
        "detections seen after {} ms (worst {}) with a model that hangs, {} ms (worst {}) with none",
        median(&with),
        with[with.len() - 1],
        median(&without),
        without[without.len() - 1]
    );
    assert_eq!(none.asked.load(Relaxed), 0);
    drop(let_go);
}
