//! Rebuilding from the log: the same inputs give the same state and the same effects, byte for byte.

use std::sync::Arc;

use vertice_engine::{Content, ContentFile, Effect, EffectKind, Engine, Input, Record, Stamp, screen};
use vertice_model::{Opinion, Position, Principal, RawEvent, Reply, Sentence, Severity, Timestamp, Usage, VerdictKind};
use vertice_testkit::{files_below, known_answers, root};

/// The content that is built in, and the public rules where they are there.
fn content() -> Content {
    let mut files = vec![ContentFile { path: "policy/test".into(), text: r#"{"consult": true}"#.into() }];
    for kind in ["rules", "mappings", "playbooks"] {
        let shipped = files_below(&root().join("content").join(kind), ".yml");
        let public = (kind == "rules").then(|| known_answers("sigma/rules/windows")).flatten();
        let public = public.map(|folder| files_below(&folder, ".yml")).unwrap_or_default();
        for path in shipped.into_iter().chain(public).filter(|p| !p.components().any(|c| c.as_os_str() == "cases")) {
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(ContentFile { path: format!("{kind}:{}", path.display()), text });
        }
    }
    Content::compile(files)
}

fn raw(origin: &str, line: &str) -> RawEvent {
    RawEvent { origin: Arc::from(origin), line: line.to_owned() }
}

/// Real events where they are there, and guessing of our own writing, so that a plan is made in any case.
fn events() -> Vec<RawEvent> {
    let mut events = Vec::new();
    for n in 0..40 {
        let line = format!(
            r#"{{"event_id":"g{n}","timestamp":"2026-03-01T10:00:{:02}Z","source":"endpoint","event_type":"failed_login","source_ip":"203.0.113.{}","payload":{{"user":"root"}}}}"#,
            n % 60,
            n % 3
        );
        events.push(raw("http", &line));
        // A sender that got no answer sends again.
        if n % 7 == 0 {
            events.push(raw("http", &line));
        }
    }
    let mut left_out = 0;
    match known_answers("sigma-regression") {
        Some(folder) => {
            for path in files_below(&folder, ".json") {
                events.push(raw("regression", &std::fs::read_to_string(path).unwrap()));
            }
        }
        None => left_out += 94,
    }
    match known_answers("crowdsec-hub-tests") {
        Some(folder) => {
            for path in files_below(&folder, ".log") {
                let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
                events.extend(text.lines().map(|line| raw("hub", line)));
            }
        }
        None => left_out += 1_000,
    }
    println!("{} events; {left_out} of the public ones left out, for they are not there", events.len());
    events
}

/// A log as it might have come about: content, batches of many sizes, answers, verdicts, time.
fn log(events: &[RawEvent]) -> Vec<(Stamp, Input)> {
    let mut log = Vec::new();
    let (mut position, mut now) = (Position(1), "2026-11-22T10:00:00Z".parse::<Timestamp>().unwrap());
    let mut push = |input: Input, seconds: u64| {
        now = now.plus_seconds(seconds);
        let stamp = Stamp { position, now };
        position = position.plus(input.positions());
        log.push((stamp, input));
    };
    push(Input::Content(Arc::new(content())), 0);
    let mut rest = events;
    for size in [1, 7, 64, 3, 256].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (batch, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        push(Input::Events(batch.to_vec()), 2);
        push(Input::Tick, 100);
    }
    log
}

/// Answers and judges what an engine asked, as further inputs.
fn people(log: &mut Vec<(Stamp, Input)>, effects: &[Effect]) {
    let (last, input) = log.last().expect("there is a log");
    let mut stamp = Stamp { position: last.position.plus(input.positions()), now: last.now };
    let by = || Principal("ana".into());
    for (n, effect) in effects.iter().enumerate() {
        let input = match &effect.kind {
            EffectKind::Ask(q) => Input::Answer {
                question: q.question_id,
                approve: n % 2 == 0,
                plan_digest: q.plan_digest.clone(),
                by: by(),
            },
            EffectKind::Publish(Record::Containment(c)) => {
                Input::Release { containment: c.containment_id, reason: "test".into(), by: by() }
            }
            EffectKind::Publish(Record::Threat(t)) if n % 5 == 0 => Input::Verdict {
                threat: t.threat_id,
                verdict: if n % 2 == 0 { VerdictKind::FalsePositive } else { VerdictKind::Confirmed },
                note: String::new(),
                by: by(),
            },
            EffectKind::Publish(_) | EffectKind::Act(_) | EffectKind::Consult(_) | EffectKind::Tell(_) => continue,
        };
        log.push((stamp, input));
        stamp = Stamp { position: stamp.position.plus(1), now: stamp.now.plus_seconds(30) };
    }
}

/// What a model says: in the log it is an input like any other, so a replay needs none.
fn opinion(n: usize) -> Reply {
    let cites = vec![if n % 3 == 1 { "E9999" } else { "E1" }.to_owned()];
    Reply::Opinion(Opinion {
        attention: Severity::Critical,
        sentences: vec![Sentence { text: "It happened.".into(), cites }],
        playbooks: vec!["brute_force_response".into()],
        ..Opinion::default()
    })
}

/// The log as it comes about when a model answers each question at once.
fn heard(log: &[(Stamp, Input)]) -> Vec<(Stamp, Input)> {
    let (mut engine, mut whole, mut asked) = (Engine::default(), Vec::new(), 0);
    for (Stamp { now, .. }, input) in log {
        let stamp = Stamp { position: engine.next(), now: *now };
        let effects = engine.apply(stamp, input);
        whole.push((stamp, input.clone()));
        for effect in effects {
            let EffectKind::Consult(consult) = effect.kind else { continue };
            let consultation = consult.consultation.consultation_id;
            let reply = opinion(asked);
            asked += 1;
            let said = Input::Opinion { consultation, reply, model: "some model".into(), usage: Usage::default() };
            let stamp = Stamp { position: engine.next(), now: *now };
            engine.apply(stamp, &said);
            whole.push((stamp, said));
        }
    }
    whole
}

fn run(engine: &mut Engine, log: &[(Stamp, Input)]) -> Vec<Effect> {
    log.iter().flat_map(|(stamp, input)| engine.apply(*stamp, input)).collect()
}

fn bytes(effects: &[Effect]) -> Vec<u8> {
    serde_json::to_vec(effects).unwrap()
}

#[test]
fn the_same_log_gives_the_same_state_and_effects_byte_for_byte() {
    let mut log = heard(&log(&events()));
    let first = run(&mut Engine::default(), &log);
    people(&mut log, &first);

    let mut whole = Engine::default();
    let effects = run(&mut whole, &log);
    let of = |wanted: fn(&Record) -> bool| {
        effects.iter().filter(|e| matches!(&e.kind, EffectKind::Publish(r) if wanted(r))).count()
    };
    let detections = of(|r| matches!(r, Record::Detection(_)));
    let (threats, runs) = (of(|r| matches!(r, Record::Threat(_))), of(|r| matches!(r, Record::Run(_))));
    println!("{} inputs, {detections} detections, {threats} threat records, {runs} run records", log.len());
    let raised = of(|r| matches!(r, Record::Threat(t) if t.attention > t.severity));
    assert!(detections > 0 && threats > 0 && runs > 0 && raised > 0);
    assert_eq!(whole.counts().repeated, 6, "repetitions are passed over");

    // Once more; from the log as it is kept; and from a snapshot at each of several places.
    let mut again = Engine::default();
    assert_eq!(bytes(&run(&mut again, &log)), bytes(&effects));
    assert_eq!(again.snapshot(), whole.snapshot());

    let kept = serde_json::to_vec(&log).unwrap();
    let read: Vec<(Stamp, Input)> = serde_json::from_slice(&kept).unwrap();
    let mut from_log = Engine::default();
    assert_eq!(bytes(&run(&mut from_log, &read)), bytes(&effects));
    assert_eq!(from_log.snapshot(), whole.snapshot());

    for part in 1..4 {
        let (before, after) = log.split_at(log.len() * part / 4);
        let mut engine = Engine::default();
        let mut both = run(&mut engine, before);
        let content = Arc::clone(engine.content());
        let restored = Engine::restore(&engine.snapshot(), |_| Ok::<_, ()>(content)).unwrap();
        let mut restored = restored.expect("a snapshot of this version");
        assert_eq!(restored.next(), engine.next());
        both.extend(run(&mut restored, after));
        assert_eq!(bytes(&both), bytes(&effects), "from a snapshot at {part}/4");
        assert_eq!(restored.snapshot(), whole.snapshot());
    }
}

#[test]
fn screening_in_parts_is_screening_at_once() {
    let content = content();
    let events = events();
    let stamp = Stamp { position: Position(1), now: "2026-11-22T10:00:00Z".parse().unwrap() };
    let mut engine = Engine::default();
    let put = Input::Content(Arc::new(content.clone()));
    engine.apply(stamp, &put);
    let mut in_parts = engine.clone();
    let stamp = Stamp { position: engine.next(), now: stamp.now };
    let whole = engine.judge(stamp, screen(&content, stamp, &events));
    let parts = events
        .chunks(37)
        .zip((0_u64..).step_by(37))
        .map(|(part, start)| screen(&content, Stamp { position: stamp.position.plus(start), now: stamp.now }, part));
    let joined = parts.reduce(vertice_engine::Screened::join).unwrap();
    assert_eq!(bytes(&in_parts.judge(stamp, joined)), bytes(&whole));
    assert_eq!(in_parts.snapshot(), engine.snapshot());
}

#[test]
fn effects_are_numbered_in_the_order_of_the_log() {
    let log = log(&events());
    let effects = run(&mut Engine::default(), &log);
    assert!(effects.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[test]
fn correlations_that_are_no_more_are_forgotten_and_the_others_are_kept() {
    let mut engine = Engine::default();
    run(&mut engine, &log(&events()));
    let windows = |engine: &Engine| {
        let state: serde_json::Value = serde_json::from_slice(&engine.snapshot()).unwrap();
        state["findings"]["correlator"]["rules"].as_object().expect("windows by rule").len()
    };
    let held = windows(&engine);
    assert!(held > 0);
    let put = |engine: &mut Engine, content: Content| {
        let stamp = Stamp { position: engine.next(), now: "2026-12-01T00:00:00Z".parse().unwrap() };
        engine.apply(stamp, &Input::Content(Arc::new(content)));
    };
    let same = engine.content().as_ref().clone();
    put(&mut engine, same);
    assert_eq!(windows(&engine), held);
    put(&mut engine, Content::compile(Vec::new()));
    assert_eq!(windows(&engine), 0);
}

#[test]
fn bytes_that_are_no_snapshot_are_no_engine() {
    for bytes in [&b""[..], b"{}", b"[1]", b"{\"next\":1}"] {
        assert!(Engine::restore(bytes, |_| Err(())).unwrap().is_none());
    }
}
