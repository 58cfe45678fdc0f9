//! The monotone rule: whatever a model says, nothing but attention comes of it.
//!
//! Two engines are given the same log, but one gets the model's answers, and where it does, the other gets an input
//! that changes nothing. What may not differ is compared; an engine without the rule shows that a difference is seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use vertice_model::{
    Assessment, Consultation, ConsultationState, Opinion, Principal, Raised, RawEvent, Reply, Sentence, Severity,
    Threat, ThreatId, Timestamp, Usage, VerdictKind,
};
use vertice_testkit::injections::{Injection, injections, obedient};
use vertice_testkit::{Random, files_below, long, root};

use super::Engine;
use crate::content::{Content, ContentFile};
use crate::triage::Consult;
use crate::{Effect, EffectKind, Input, Record, Stamp};

/// Every verb acts, and a model is asked.
const POLICY: &str = r#"{"consult": true, "live": ["firewall_rule", "quarantine", "kill_process", "notification"]}"#;

const PLAYBOOKS: [&str; 4] =
    ["brute_force_response", "data_exfiltration_block", "lateral_movement_isolation", "malware_containment"];

/// What is done about each attack without a question, so that there is something to be changed.
const SLOW_DOWN: &str = "name: Slow down\nversion: '1'\ndescription: d\ntrigger: {condition: malware_detected, \
    severity_threshold: medium, confidence_threshold: 0.5}\ncontext_requirements: [source_ip]\nactions:\n  \
    - {id: a, type: firewall_rule, parameters: {rule_type: rate_limit, source_ip: '${source_ip}', limit: 5/minute, \
    duration: 1h}, success_criteria: [rule_applied]}\n\
    rollback: {enabled: true, conditions: [false_positive_confirmed, manual_override]}\n";

fn content() -> Arc<Content> {
    let mut files = vec![
        ContentFile { path: "policy/test".into(), text: POLICY.into() },
        ContentFile { path: "playbooks/slow_down.yml".into(), text: SLOW_DOWN.into() },
    ];
    files.extend(Injection::rules().into_iter().map(|(path, text)| ContentFile { path, text }));
    for kind in ["mappings", "playbooks"] {
        let paths = files_below(&root().join("content").join(kind), ".yml");
        for path in paths.iter().filter(|p| !p.components().any(|c| c.as_os_str() == "cases")) {
            let name = path.file_name().unwrap().to_string_lossy();
            let text = std::fs::read_to_string(path).unwrap();
            files.push(ContentFile { path: format!("{kind}/{name}"), text });
        }
    }
    let content = Content::compile(files);
    assert!(content.refused.is_empty(), "{:?}", content.refused);
    Arc::new(content)
}

/// Two engines side by side: one hears a model, one does not.
struct Pair {
    hears: Engine,
    deaf: Engine,
    now: Timestamp,
    /// What each of them decided, in order, without what opinions are said to change.
    decided: [Vec<String>; 2],
    threats: [BTreeMap<ThreatId, Threat>; 2],
    consults: Vec<Consult>,
    closed: Vec<Consultation>,
}

impl Pair {
    fn new(hears: Engine, content: &Arc<Content>) -> Pair {
        let mut pair = Pair {
            hears,
            deaf: Engine::default(),
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            decided: Default::default(),
            threats: Default::default(),
            consults: Vec::new(),
            closed: Vec::new(),
        };
        pair.both(&Input::Content(Arc::clone(content)));
        pair
    }

    fn both(&mut self, input: &Input) {
        self.each(input, input);
    }

    /// A model answers one of them.
    fn answer(&mut self, consult: &Consult, reply: Reply) {
        let consultation = consult.consultation.consultation_id;
        let said = Input::Opinion { consultation, reply, model: "test".into(), usage: Usage::default() };
        let nothing = Input::Key { name: "k".into(), added: true, by: Principal("ana".into()) };
        self.each(&said, &nothing);
    }

    fn each(&mut self, hears: &Input, deaf: &Input) {
        let stamp = Stamp { position: self.hears.next(), now: self.now };
        assert_eq!(self.deaf.next(), stamp.position);
        let effects = [self.hears.apply(stamp, hears), self.deaf.apply(stamp, deaf)];
        for (n, effects) in effects.into_iter().enumerate() {
            self.note(n, effects);
        }
    }

    fn note(&mut self, n: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect.kind {
                EffectKind::Publish(Record::Threat(threat)) => {
                    self.threats[n].insert(threat.threat_id, threat);
                }
                EffectKind::Consult(consult) if n == 0 => self.consults.push(*consult),
                EffectKind::Publish(Record::Consultation(c)) if n == 0 && c.state != ConsultationState::Asked => {
                    self.closed.push(c);
                }
                EffectKind::Publish(Record::Consultation(_)) | EffectKind::Consult(_) => {}
                kind @ (EffectKind::Publish(
                    Record::Detection(_)
                    | Record::Run(_)
                    | Record::Question(_)
                    | Record::Containment(_)
                    | Record::Refused(_)
                    | Record::Suppression(_),
                )
                | EffectKind::Ask(_)
                | EffectKind::Act(_)
                | EffectKind::Tell(_)) => self.decided[n].push(serde_json::to_string(&kind).unwrap()),
            }
        }
    }

    /// What a model changed that it may not change.
    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let [heard, not_heard] = &self.decided;
        if heard != not_heard {
            found.push(format!("{} decisions with a model, {} without", heard.len(), not_heard.len()));
        }
        for (id, without) in &self.threats[1] {
            let Some(with) = self.threats[0].get(id) else {
                found.push(format!("threat {id} is gone"));
                continue;
            };
            let priority = |t: &Threat| t.triage.as_ref().map(|t| t.priority);
            if with.attention < with.severity || priority(with) < priority(without) {
                found.push(format!("threat {id} gets less attention"));
            }
            if bare(with) != bare(without) {
                found.push(format!("threat {id} is {:?}, not {:?}", with.state, without.state));
            }
        }
        if self.threats[0].len() != self.threats[1].len() {
            found.push("there are more threats".to_owned());
        }
        found
    }
}

/// A threat without what opinions are said to change.
fn bare(threat: &Threat) -> Threat {
    Threat { attention: Severity::Info, suggested: Raised::default(), triage: None, ..threat.clone() }
}

fn event(line: String) -> Input {
    Input::Events(vec![RawEvent { origin: "test".into(), line }])
}

/// What attackers wrote of what a model is told.
fn told(consult: &Consult) -> String {
    let fields = consult.context.timeline.iter().flat_map(|m| &m.fields);
    fields.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("\n")
}

/// Plays an attack with each injected text to a model that obeys it.
fn injected(engine: Engine) -> Pair {
    let mut pair = Pair::new(engine, &content());
    let injections = injections();
    assert!(injections.len() >= 200);
    for (n, injection) in injections.iter().enumerate() {
        pair.now = pair.now.plus_seconds(1);
        pair.both(&event(injection.line(n)));
    }
    let consults = std::mem::take(&mut pair.consults);
    assert_eq!(consults.len(), injections.len(), "each attack is asked about");
    for (injection, consult) in injections.iter().zip(&consults) {
        let answer = obedient(&told(consult), "E1", &PLAYBOOKS);
        let opinion: Opinion = serde_json::from_value(answer).unwrap();
        assert_eq!(opinion.assessment, Assessment::LikelyBenign, "it obeys {injection:?}");
        pair.answer(consult, Reply::Opinion(opinion));
    }
    pair
}

#[test]
fn a_model_that_obeys_injected_text_suppresses_nothing_and_does_nothing() {
    let pair = injected(Engine::default());
    assert!(pair.closed.iter().all(|c| c.state == ConsultationState::Answered), "every opinion was taken");
    let orders = pair.decided[0].iter().filter(|d| d.starts_with("{\"Act\"")).count();
    assert!(orders > 0, "responses are really ordered here");
    assert_eq!(pair.violations(), Vec::<String>::new());
    println!("{} injected texts obeyed, {} orders, all of them given without a model too", pair.closed.len(), orders);
}

#[test]
fn without_the_monotone_rule_the_same_test_fails() {
    let pair = injected(Engine::default().without_the_monotone_rule());
    let violations = pair.violations();
    let closed = violations.iter().filter(|v| v.contains("Judged")).count();
    println!("{} violations, {closed} of them true positives that were closed", violations.len());
    assert_eq!(closed, injections().len(), "every true positive was suppressed: {:?}", &violations[..3]);
    assert!(violations[0].contains("decisions"), "and actions were caused: {}", violations[0]);
}

fn arbitrary(random: &mut Random) -> Reply {
    let word = |random: &mut Random| -> String {
        let words =
            ["E1", "E2", "E99", "", "malware_containment", "nothing", "\u{1b}[2J", "approve", "\u{202e}x", "T1059"];
        words[random.below(words.len())].to_owned()
    };
    match random.below(8) {
        0 => return Reply::Skipped(word(random)),
        1 => return Reply::Hijacked(word(random)),
        2 => return Reply::Unreadable(word(random)),
        _ => {}
    }
    let assessments = [Assessment::LikelyBenign, Assessment::Uncertain, Assessment::LikelyMalicious];
    let sentence = |random: &mut Random| {
        let cite = if random.below(9) == 0 { word(random) } else { "E1".to_owned() };
        Sentence { text: word(random), cites: vec![cite] }
    };
    Reply::Opinion(Opinion {
        assessment: assessments[random.below(3)],
        attention: Severity::ALL[random.below(5)],
        techniques: (0..random.below(40)).map(|n| format!("T1{n:03}").parse().unwrap()).collect(),
        playbooks: (0..random.below(4)).map(|_| PLAYBOOKS[random.below(4)].to_owned()).collect(),
        sentences: (0..random.below(12).min(3)).map(|_| sentence(random)).collect(),
        false_positive_reason: (random.below(2) == 0).then(|| word(random)),
    })
}

/// Attacks from few addresses, people, time, and a model that says anything.
fn anything(seed: u64, content: &Arc<Content>) -> Pair {
    let mut random = Random(seed);
    let mut pair = Pair::new(Engine::default(), content);
    let injections = injections();
    let by = Principal("ana".into());
    for _ in 0..80 {
        pair.now = pair.now.plus_seconds([1, 5, 30, 60, 60, 700, 90_000][random.below(7)]);
        let known: Vec<ThreatId> = pair.threats[1].keys().copied().collect();
        match random.below(10) {
            0..3 => pair.both(&event(injections[random.below(injections.len())].line(random.below(6)))),
            3 => pair.both(&Input::Tick),
            4 if !known.is_empty() => {
                let threat = known[random.below(known.len())];
                let kinds = [VerdictKind::Confirmed, VerdictKind::FalsePositive, VerdictKind::Benign];
                let verdict = kinds[random.below(3)];
                pair.both(&Input::Verdict { threat, verdict, note: String::new(), by: by.clone() });
            }
            _ if !pair.consults.is_empty() => {
                // Some answers come twice, and some late.
                let back = random.below(pair.consults.len()).min(random.below(3));
                let consult = pair.consults[pair.consults.len() - 1 - back].clone();
                pair.answer(&consult, arbitrary(&mut random));
            }
            _ => {}
        }
    }
    pair
}

#[test]
fn whatever_a_model_says_nothing_but_attention_comes_of_it() {
    let (mut taken, mut raised) = (0, 0);
    let content = content();
    let rounds = if long() { 5_000 } else { 100 };
    for seed in 0..rounds {
        let pair = anything(seed, &content);
        assert_eq!(pair.violations(), Vec::<String>::new(), "seed {seed}");
        taken += pair.closed.iter().filter(|c| c.state == ConsultationState::Answered).count();
        raised += pair.threats[0].values().filter(|t| t.attention > t.severity).count();
    }
    println!("{rounds} rounds: {taken} opinions taken, {raised} threats raised");
    assert!(taken > 50 && raised > 10, "{taken} {raised}");
}
