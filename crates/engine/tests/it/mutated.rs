//! Damaged content: whatever a file says, it is read or refused by its line, and what was read can be worked with.

use std::sync::Arc;

use vertice_engine::{Content, ContentFile, Effect, EffectKind, Engine, Input, Record, Stamp, limits};
use vertice_model::{Position, Principal, RawEvent, Timestamp, VerdictKind};
use vertice_testkit::{Random, files_below, long, root};

/// The classes that the four playbooks wait for.
const CLASSES: [&str; 4] =
    ["brute_force_detected", "malware_detected", "data_exfiltration_detected", "lateral_movement_detected"];

fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn rounds() -> usize {
    if long() { 100_000 } else { 1_000 }
}

/// The files of a folder of the shipped content, without the cases beside them.
fn shipped(kind: &str) -> Vec<ContentFile> {
    files_below(&root().join("content").join(kind), ".yml")
        .into_iter()
        .filter(|path| !path.components().any(|c| c.as_os_str() == "cases"))
        .map(|path| ContentFile {
            path: format!("{kind}/{}", path.file_name().unwrap().to_string_lossy()),
            text: std::fs::read_to_string(path).unwrap(),
        })
        .collect()
}

/// Bytes or whole lines are changed; a line may come from another file.
fn mutated(random: &mut Random, seeds: &[ContentFile]) -> ContentFile {
    let seed = &seeds[random.below(seeds.len())];
    let other: Vec<&str> = seeds[random.below(seeds.len())].text.lines().collect();
    let mut lines: Vec<&str> = seed.text.lines().collect();
    for _ in 0..random.below(3) {
        let at = random.below(lines.len());
        match random.below(4) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, other[random.below(other.len())]),
            2 => lines[at] = other[random.below(other.len())],
            _ => {
                let to = random.below(lines.len());
                lines.swap(at, to);
            }
        }
        if lines.is_empty() {
            lines.push("");
        }
    }
    let text = lines.join("\n");
    let text = if random.below(3) == 0 { text.into_bytes() } else { random.mutated(text.as_bytes()) };
    ContentFile { path: seed.path.clone(), text: String::from_utf8_lossy(&text).into_owned() }
}

/// What was refused is told by its line and in few words.
fn check_refused(content: &Content, text: &str) {
    assert!(content.refused.len() <= limits::PLAYBOOK_ERRORS_MAX + 1, "{} errors\n{text}", content.refused.len());
    let lines = text.lines().count() as u64 + 1;
    for error in &content.refused {
        assert!(error.line <= lines && !error.reason.is_empty(), "{error}\n{text}");
        assert!(error.reason.chars().count() < 2_000, "{error}\n{text}");
        assert!(!error.reason.contains(|c: char| c.is_control() && c != '\n'), "{:?}\n{text}", error.reason);
    }
}

/// A mapping, and a rule for each class that is detected with the first event which names it.
fn beside(playbook: ContentFile) -> Content {
    let mut files: Vec<_> = shipped("mappings").into_iter().filter(|f| f.path.ends_with("/vertice.yml")).collect();
    for (n, class) in CLASSES.iter().enumerate() {
        let text = format!(
            "title: {class}\nid: 00000000-0000-4000-8000-00000000000{n}\nlogsource: {{product: vertice}}\nlevel: critical\n\
             detection: {{s: {{event.action: {class}}}, condition: s}}\nvertice: {{class: {class}, confidence: 99}}\n"
        );
        files.push(ContentFile { path: format!("rules/{class}.yml"), text });
    }
    files.push(playbook);
    Content::compile(files)
}

fn story() -> Vec<RawEvent> {
    let line = |(n, class): (usize, &&str)| {
        format!(
            r#"{{"event_id":"e{n}","timestamp":"2026-03-01T12:00:00Z","source":"endpoint","event_type":"{class}","source_ip":"203.0.113.9","destination_ip":"198.51.100.2","payload":{{"user":"root","host":"web-1","process":"/tmp/x","sha256":"00"}}}}"#
        )
    };
    CLASSES.iter().enumerate().map(|n| RawEvent { origin: "test".into(), line: line(n) }).collect()
}

/// The records among the effects.
fn published(effects: &[Effect]) -> Vec<Record> {
    let record = |effect: &Effect| match &effect.kind {
        EffectKind::Publish(record) => Some(record.clone()),
        EffectKind::Ask(_) | EffectKind::Act(_) | EffectKind::Consult(_) | EffectKind::Tell(_) => None,
    };
    effects.iter().filter_map(record).collect()
}

/// Plays an attack, answers every question, says that it was all a mistake, and lets the rest fall due.
fn play(content: Content) -> usize {
    let mut engine = Engine::default();
    let mut effects = Vec::new();
    let mut now = start();
    let apply = |engine: &mut Engine, now, input: &Input| engine.apply(Stamp { position: engine.next(), now }, input);
    effects.extend(apply(&mut engine, now, &Input::Content(Arc::new(content))));
    effects.extend(apply(&mut engine, now, &Input::Events(story())));
    let by = Principal("ana".to_owned());
    for record in published(&effects) {
        if let Record::Question(question) = record {
            let approve = effects.len() % 2 == 0;
            let plan_digest = question.plan_digest.clone();
            let answer = Input::Answer { question: question.question_id, approve, plan_digest, by: by.clone() };
            effects.extend(apply(&mut engine, now, &answer));
        }
    }
    for _ in 0..4 {
        let Some(due) = engine.next_due() else { break };
        now = now.max(due);
        effects.extend(apply(&mut engine, now, &Input::Tick));
    }
    for record in published(&effects) {
        if let Record::Threat(threat) = record {
            let verdict = VerdictKind::FalsePositive;
            let said = Input::Verdict { threat: threat.threat_id, verdict, note: String::new(), by: by.clone() };
            effects.extend(apply(&mut engine, now, &said));
        }
    }
    let snapshot = engine.snapshot();
    let content = Arc::clone(engine.content());
    let again = Engine::restore(&snapshot, |_| Ok::<_, std::convert::Infallible>(content)).unwrap();
    assert_eq!(again.expect("a snapshot can be read").snapshot(), snapshot);
    published(&effects).iter().filter(|record| matches!(record, Record::Run(_))).count()
}

#[test]
fn damaged_playbooks_are_refused_by_line_or_run() {
    let seeds = shipped("playbooks");
    assert_eq!(seeds.len(), 4);
    let mut random = Random(11);
    let (mut good, mut refused, mut runs) = (0, 0, 0);
    for _ in 0..rounds() {
        let file = mutated(&mut random, &seeds);
        let text = file.text.clone();
        let content = Content::compile(vec![file.clone()]);
        check_refused(&content, &text);
        if content.refused.is_empty() {
            good += 1;
            runs += usize::from(play(beside(file)) > 0);
        } else {
            refused += 1;
        }
    }
    println!("{} damaged playbooks: {good} good, of which {runs} ran, {refused} refused", rounds());
    assert!(good > rounds() / 20 && refused > rounds() / 4 && runs > good / 2);
}

#[test]
fn damaged_mappings_are_refused_or_read_lines() {
    let seeds = shipped("mappings");
    let cases = root().join("content/mappings/cases");
    let lines: Vec<String> = files_below(&cases, ".yml")
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines()
                .filter_map(|l| l.trim().strip_prefix("line: ").map(|l| l.trim_matches('\'').to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(lines.len() > 100);
    let mut random = Random(12);
    let (mut good, mut refused) = (0, 0);
    for _ in 0..rounds() {
        let file = mutated(&mut random, &seeds);
        let text = file.text.clone();
        let content = Content::compile(vec![file]);
        check_refused(&content, &text);
        if content.refused.is_empty() {
            good += 1;
        } else {
            refused += 1;
        }
        for _ in 0..4 {
            let line = lines[random.below(lines.len())].clone();
            let stamp = Stamp { position: Position(1), now: start() };
            let raw = RawEvent { origin: "test".into(), line };
            if let Err(refusal) = content.mappings.normalize(stamp, &raw) {
                assert!(!refusal.reason.is_empty());
            }
        }
    }
    println!("{} damaged mappings: {good} good, {refused} refused", rounds());
    assert!(good > rounds() / 20 && refused > rounds() / 4);
}
