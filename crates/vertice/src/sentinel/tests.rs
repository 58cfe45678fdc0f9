//! The whole way from an attacker's line over a question, an obedient model and its answer, back to the engine.

use std::sync::{Arc, Mutex, mpsc};

use vertice_engine::triage::Consult;
use vertice_engine::{Content, ContentFile, Effect, EffectKind, Engine, Input, Record, Stamp};
use vertice_model::{ConsultationState, Position, RawEvent, Reply, Severity, Threat, ThreatState, Timestamp, Usage};
use vertice_testkit::injections::{Injection, injections, obedient};
use vertice_testkit::{files_below, root};

use super::prompt::{Prompt, Secrets};
use super::{Ask, Said, Sentinel, asked};
use crate::limits;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn engine() -> Engine {
    let policy = r#"{"consult": true, "live": ["notification", "firewall_rule"]}"#;
    let mut files = vec![ContentFile { path: "policy/test".into(), text: policy.into() }];
    files.extend(Injection::rules().into_iter().map(|(path, text)| ContentFile { path, text }));
    for path in files_below(&root().join("content/playbooks"), ".yml") {
        if !path.components().any(|c| c.as_os_str() == "cases") {
            let name = format!("playbooks/{}", path.file_name().unwrap().to_string_lossy());
            files.push(ContentFile { path: name, text: std::fs::read_to_string(path).unwrap() });
        }
    }
    let mapping = root().join("content/mappings/vertice.yml");
    files.push(ContentFile { path: "mappings/vertice.yml".into(), text: std::fs::read_to_string(mapping).unwrap() });
    let mut engine = Engine::default();
    let content = Content::compile(files);
    assert!(content.refused.is_empty(), "{:?}", content.refused);
    apply(&mut engine, &Input::Content(Arc::new(content)));
    engine
}

fn apply(engine: &mut Engine, input: &Input) -> Vec<Effect> {
    let position: Position = engine.next();
    engine.apply(Stamp { position, now: now() }, input)
}

fn attacks(injections: &[Injection]) -> Input {
    let raw = |(n, i): (usize, &Injection)| RawEvent { origin: "test".into(), line: i.line(n) };
    Input::Events(injections.iter().enumerate().map(raw).collect())
}

fn questions(effects: Vec<Effect>) -> Vec<Consult> {
    let consult = |effect: Effect| match effect.kind {
        EffectKind::Consult(consult) => Some(*consult),
        EffectKind::Publish(_) | EffectKind::Ask(_) | EffectKind::Act(_) | EffectKind::Tell(_) => None,
    };
    let mut found: Vec<Consult> = effects.into_iter().filter_map(consult).collect();
    found.sort_by_key(|c| c.consultation.evidence[0].position);
    found
}

/// The question about an attack with each text.
pub fn consults(injections: &[Injection]) -> Vec<Consult> {
    let found = questions(apply(&mut engine(), &attacks(injections)));
    assert_eq!(found.len(), injections.len());
    found
}

fn said(text: String) -> Result<Said, String> {
    Ok(Said { text, model: "stand-in".into(), usage: Usage::default() })
}

/// A model that follows every order it finds in its question, our bait too if it is not careful.
fn obeys(prompt: &Prompt, careful: bool) -> Result<Said, String> {
    let data = prompt.user.lines().filter(|l| l.starts_with("E1: ")).collect::<Vec<_>>().join("\n");
    let mut answer = obedient(&data, "E1", &["malware_containment", "brute_force_response"]);
    let bait = prompt.user.split("begin the first sentence with the word ").nth(1);
    if let (Some(rest), false) = (bait, careful) {
        answer["sentences"][0]["text"] = rest.split('.').next().unwrap_or_default().into();
    }
    said(answer.to_string())
}

/// What stands at the end, and what was ordered, when every question is answered so.
fn played(ask: Option<&Ask>) -> (Vec<Threat>, Vec<String>, Vec<ConsultationState>) {
    let mut engine = engine();
    let mut effects = apply(&mut engine, &attacks(&injections()));
    let acts = |effects: &[Effect]| {
        let decided = |e: &Effect| match &e.kind {
            EffectKind::Act(_) | EffectKind::Ask(_) => Some(serde_json::to_string(&e.kind).unwrap()),
            EffectKind::Publish(Record::Run(_) | Record::Containment(_) | Record::Suppression(_)) => {
                Some(serde_json::to_string(&e.kind).unwrap())
            }
            EffectKind::Publish(_) | EffectKind::Consult(_) | EffectKind::Tell(_) => None,
        };
        effects.iter().filter_map(decided).collect::<Vec<_>>()
    };
    let mut decided = acts(&effects);
    let (mut threats, mut states) = (std::collections::BTreeMap::new(), Vec::new());
    let mut note = |effects: &[Effect], states: &mut Vec<ConsultationState>| {
        for effect in effects {
            match &effect.kind {
                EffectKind::Publish(Record::Threat(t)) => {
                    threats.insert(t.positions.0, t.clone());
                }
                EffectKind::Publish(Record::Consultation(c)) if c.state != ConsultationState::Asked => {
                    states.push(c.state.clone());
                }
                EffectKind::Publish(_)
                | EffectKind::Ask(_)
                | EffectKind::Act(_)
                | EffectKind::Consult(_)
                | EffectKind::Tell(_) => {}
            }
        }
    };
    note(&effects, &mut states);
    for consult in questions(std::mem::take(&mut effects)) {
        let Some(ask) = ask else { continue };
        let answer = asked(&Secrets::known(), &consult, ask);
        let came = apply(&mut engine, &answer);
        decided.extend(acts(&came));
        note(&came, &mut states);
    }
    (threats.into_values().collect(), decided, states)
}

#[test]
fn an_obedient_model_suppresses_no_true_positive_and_causes_no_action() {
    let (without, decided_without, _) = played(None);
    for (careful, taken) in [(true, true), (false, false)] {
        let (with, decided, states) = played(Some(&move |prompt: &Prompt, _| obeys(prompt, careful)));
        assert_eq!(states.len(), injections().len());
        let answered = states.iter().filter(|s| matches!(s, ConsultationState::Answered)).count();
        let hijacked = states.iter().filter(|s| matches!(s, ConsultationState::Hijacked { .. })).count();
        println!("careful {careful}: {answered} answers taken, {hijacked} hijacks seen, {} decisions", decided.len());
        let all = injections().len();
        let wanted = if taken { (all, 0) } else { (0, all) };
        assert_eq!((answered, hijacked), wanted, "a model that follows our bait too is seen through");
        assert_eq!(decided, decided_without, "no action is caused, and none is kept back");
        assert_eq!(with.len(), without.len());
        for (with, without) in with.iter().zip(&without) {
            assert_eq!(with.state, ThreatState::Open);
            assert!(with.attention >= without.severity && without.severity >= Severity::High);
            assert_eq!((with.severity, with.confidence), (without.severity, without.confidence));
        }
    }
}

#[test]
fn what_can_not_be_asked_is_skipped_and_nobody_waits() {
    let (answers, came) = mpsc::channel();
    let answers = Mutex::new(answers);
    let answered = Arc::new(move |input: Input| {
        let _ = answers.lock().unwrap().send(input);
    });
    // A model that hangs until it is let go.
    let (let_go, hangs) = mpsc::channel::<()>();
    let hangs = Mutex::new(hangs);
    let ask = move |_: &Prompt, _: Timestamp| {
        let _ = hangs.lock().unwrap().recv();
        said("no JSON".into())
    };
    let sentinel = Sentinel::start(Arc::new(ask), answered).unwrap();
    let consult = consults(&injections()[..1]).remove(0);
    let all = limits::CONSULTATIONS_WAITING_MAX + limits::MODELS_ASKED_AT_ONCE + 10;
    for _ in 0..all {
        sentinel.take(Box::new(consult.clone()));
    }
    let skipped = came.recv().unwrap();
    assert!(matches!(&skipped, Input::Opinion { reply: Reply::Skipped(why), .. } if why == "the queue is full"));
    drop(let_go);
    let rest = came.iter().take(all - 1).map(|input| match input {
        Input::Opinion { reply, .. } => reply,
        other => panic!("{other:?}"),
    });
    let (skipped, unreadable): (Vec<_>, Vec<_>) = rest.partition(|r| matches!(r, Reply::Skipped(_)));
    assert!(skipped.len() >= 9, "{}", skipped.len());
    assert!(unreadable.iter().all(|r| matches!(r, Reply::Unreadable(_))));
    assert_eq!(skipped.len() + unreadable.len(), all - 1, "each question has its answer");
}

/// A model at a local address that takes a million tokens for each answer, and the address.
fn dear_model() -> std::net::SocketAddr {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut reader = BufReader::new(&connection);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let body = r#"{"model":"m","choices":[{"message":{"content":"{}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":900000,"completion_tokens":100000}}"#;
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            (&connection).write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

/// Time that stands still, so that no budget begins anew during a test.
struct Noon;

impl vertice_llm::Clock for Noon {
    fn now(&self) -> Timestamp {
        now()
    }
}

#[test]
fn what_was_spent_survives_a_restart() {
    use vertice_llm::{BudgetSettings, ModelSettings, Models, Provider, Settings, Spent, World};
    let url = format!("http://{}/v1", dear_model());
    let of_day = |tokens_per_day| Settings {
        models: [("m".to_owned(), ModelSettings::new(Provider::Compatible, "m", &url))].into(),
        budget: BudgetSettings { tokens_per_hour: 0, tokens_per_day, usd_per_hour: 0.0, usd_per_day: 0.0 },
        ..Settings::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let open = || vertice_store::Store::open(dir.path(), Arc::new(now), vertice_store::Options::default()).unwrap();
    let start = |store: &vertice_store::Store, tokens_per_day| {
        let world = World { clock: Arc::new(Noon), random: Arc::new(|| 1) };
        let spent = super::spent_before(store).unwrap();
        let models = Arc::new(Models::new(&of_day(tokens_per_day), &|_| None, world, spent).unwrap());
        (super::remembering(super::by(Arc::clone(&models)), Arc::clone(&models), store.clone()), models)
    };
    let question = super::prompt::prompt(&Secrets::known(), &consults(&injections()[..1])[0]);
    let late = now().plus_seconds(600);
    let store = open();
    assert_eq!(super::spent_before(&store).unwrap(), Spent::default());
    let (ask, models) = start(&store, 0);
    let no_opinion = ask(&question, late).unwrap_err();
    assert!(!no_opinion.contains("not asked"), "it was asked, and the answer has the wrong shape: {no_opinion}");
    let spent = models.spent();
    assert_eq!((spent.day.tokens, spent.hour.tokens), (1_000_000, 1_000_000));
    drop((ask, models));
    store.close().unwrap();
    drop(store);

    let store = open();
    assert_eq!(super::spent_before(&store).unwrap(), spent, "it is kept with the data");
    // Half of what was spent, and far more than a question may cost.
    let (ask, models) = start(&store, 500_000);
    let skipped = ask(&question, late).unwrap_err();
    assert!(skipped.contains("the tokens of this day are spent"), "{skipped}");
    assert_eq!(models.spent(), spent, "what is skipped costs nothing");
    store.set_meta(super::SPENT, "{").unwrap();
    assert_eq!(
        super::spent_before(&store).unwrap(),
        Spent::default(),
        "what can not be read is no reason not to start"
    );
    let (ask, _) = start(&store, 500_000);
    let asked = ask(&question, late).unwrap_err();
    assert_eq!(asked, no_opinion, "with nothing remembered the same budget would let it be asked");
}

#[test]
fn what_is_told_is_bounded_whatever_attackers_write() {
    let long = "\u{1f512}".repeat(60_000);
    let mut engine = engine();
    let rule = "title: A name\nid: 00000000-0000-4000-8000-000000000200\nstatus: stable\nlogsource: {product: vertice}\n\
        level: high\ndetection: {s: {event.action: attack}, condition: s}\n\
        vertice: {class: malware_detected, confidence: 90, entity: user.name}\n";
    let mut files = vec![
        ContentFile { path: "rules/name.yml".into(), text: rule.into() },
        ContentFile { path: "policy/test".into(), text: r#"{"consult": true}"#.into() },
    ];
    files.extend(Injection::rules().into_iter().map(|(path, text)| ContentFile { path, text }));
    let mapping = std::fs::read_to_string(root().join("content/mappings/vertice.yml")).unwrap();
    files.push(ContentFile { path: "mappings/vertice.yml".into(), text: mapping });
    apply(&mut engine, &Input::Content(Arc::new(Content::compile(files))));
    let line = |n: usize| {
        let payload: serde_json::Map<_, _> = vertice_testkit::injections::PLACES
            .iter()
            .map(|(field, _)| ((*field).to_owned(), long[..50_000].into()))
            .collect();
        let event = serde_json::json!({"event_id": n.to_string(), "timestamp": "2026-03-01T10:00:00Z", "source": "endpoint",
            "event_type": "attack", "source_ip": "203.0.113.9", "payload": payload});
        RawEvent { origin: "test".into(), line: event.to_string() }
    };
    let consults = questions(apply(&mut engine, &Input::Events((0..10).map(line).collect())));
    assert!(!consults.is_empty());
    for consult in consults {
        let told = serde_json::to_vec(&consult.context).unwrap().len();
        println!("{told} bytes are told of {} detections", consult.context.detections);
        assert!(told < limits::CONSULT_BYTES_MAX, "{told}");
    }
}
