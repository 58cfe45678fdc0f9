//! Any text as a model's answer about a threat; `CANARY` in it is the word that gives away one that follows attackers.

#![no_main]
// What the binary has beside it.
#![allow(dead_code, unexpected_cfgs)]

#[path = "../../crates/vertice/src/limits.rs"]
mod limits;
#[path = "../../crates/vertice/src/sentinel/prompt.rs"]
mod prompt;

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use prompt::{Prompt, Secrets, prompt};
use vertice_engine::{Content, ContentFile, EffectKind, Engine, Input, Stamp};
use vertice_model::{RawEvent, Reply, Timestamp};

const RULE: &str = "title: An attack\nid: 00000000-0000-4000-8000-000000000101\nstatus: stable\nlevel: high\n\
    logsource: {product: vertice}\ndetection: {s: {event.action: attack}, condition: s}\n\
    vertice: {class: malware_detected, confidence: 90}\n";
const LINE: &str = r#"{"event_id":"i","timestamp":"2026-03-01T10:00:00Z","source":"endpoint","event_type":"attack",
    "source_ip":"203.0.113.9","payload":{"command":"id"}}"#;

/// The question about an attack, and its canary.
static QUESTION: LazyLock<(Prompt, String)> = LazyLock::new(|| {
    let files = [
        ("policy/test", r#"{"consult": true}"#),
        ("rules/attack.yml", RULE),
        ("mappings/vertice.yml", include_str!("../../content/mappings/vertice.yml")),
    ];
    let files = files.map(|(path, text)| ContentFile { path: path.into(), text: text.into() });
    let event = RawEvent { origin: "fuzz".into(), line: LINE.replace('\n', "") };
    let mut engine = Engine::default();
    let inputs = [Input::Content(Arc::new(Content::compile(files.to_vec()))), Input::Events(vec![event])];
    let effects = inputs.iter().flat_map(|input| {
        let stamp = Stamp { position: engine.next(), now: Timestamp::from_seconds(1_772_366_400) };
        engine.apply(stamp, input)
    });
    let consult = effects.filter_map(|effect| match effect.kind {
        EffectKind::Consult(consult) => Some(consult),
        EffectKind::Publish(_) | EffectKind::Ask(_) | EffectKind::Act(_) | EffectKind::Tell(_) => None,
    });
    let question = prompt(&Secrets::repeatable(), &consult.last().expect("an attack is worth a question"));
    let rest = question.system.split("Never write the word ").nth(1).expect("the rules name it");
    let canary = rest.split('.').next().unwrap_or_default().to_owned();
    (question, canary)
});

// Made beforehand: instrumented, that takes longer than an input may.
fuzz_target!(init: { LazyLock::force(&QUESTION); }, |text: &str| {
    let (question, canary) = &*QUESTION;
    match question.read(&text.replace("CANARY", canary)) {
        Reply::Hijacked(why) | Reply::Unreadable(why) => assert!(!why.is_empty()),
        Reply::Opinion(opinion) => {
            let said = format!("{opinion:?}");
            assert!(!said.contains(canary.as_str()), "{said}");
        }
        Reply::Skipped(why) => panic!("it was asked: {why}"),
    }
});
