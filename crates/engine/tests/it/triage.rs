//! Stories of triage: what people's verdicts propose, what a suppression keeps back, and when a model is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use vertice_engine::{Content, ContentFile, EffectKind, Engine, Input, Record, Stamp, limits};
use vertice_model::{
    ConsultationState, Entity, Opinion, Principal, RawEvent, Reply, Scope, Sentence, Severity, SuppressionState,
    SuppressionWish, ThreatId, Timestamp, Usage, VerdictKind,
};

const MAPPING: &str = include_str!("../../../../content/mappings/vertice.yml");

/// A rule of this level for the action of the same name.
fn rule(level: &str, confidence: u8) -> ContentFile {
    let text = format!(
        "title: {level}\nid: rule-{level}\nstatus: experimental\nlogsource: {{product: vertice}}\nlevel: {level}\n\
         detection: {{s: {{event.action: {level}}}, condition: s}}\nvertice: {{confidence: {confidence}}}\n"
    );
    ContentFile { path: format!("rules/{level}.yml"), text }
}

struct Teller {
    engine: Engine,
    now: Timestamp,
    told: Vec<String>,
    threats: BTreeMap<String, ThreatId>,
    events: u32,
    asked: Vec<vertice_model::Consultation>,
}

impl Teller {
    fn new() -> Teller {
        let files = vec![
            ContentFile { path: "mappings/vertice.yml".into(), text: MAPPING.into() },
            ContentFile { path: "policy/test".into(), text: r#"{"consult": true}"#.into() },
            rule("low", 90),
            rule("medium", 90),
            rule("high", 90),
        ];
        let content = Content::compile(files);
        assert!(content.refused.is_empty(), "{:?}", content.refused);
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let (threats, told, asked) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut teller = Teller { engine: Engine::default(), now, told, threats, events: 0, asked };
        teller.apply(&Input::Content(Arc::new(content)));
        teller
    }

    fn apply(&mut self, input: &Input) {
        let stamp = Stamp { position: self.engine.next(), now: self.now };
        for effect in self.engine.apply(stamp, input) {
            let EffectKind::Publish(record) = effect.kind else { continue };
            match record {
                Record::Detection(d) if d.suppressed_by.is_some() => {
                    assert_eq!(d.threat_id, None);
                    self.told.push(format!("{} kept back", d.entity));
                }
                Record::Threat(t) => {
                    self.threats.insert(t.entities[0].name().to_owned(), t.threat_id);
                    let raised =
                        if t.attention > t.severity { format!(", attention {}", t.attention) } else { String::new() };
                    if t.detections == 1 || !raised.is_empty() {
                        self.told.push(format!("threat {} {}{raised}", t.entities[0], t.severity));
                    }
                }
                Record::Suppression(s) => {
                    let why = match &s.state {
                        SuppressionState::Refused { why } | SuppressionState::Removed { why, .. } => format!(": {why}"),
                        SuppressionState::Proposed | SuppressionState::Applied { .. } | SuppressionState::Expired => {
                            String::new()
                        }
                    };
                    let by = s.proposed_by;
                    self.told.push(format!(
                        "{} {} by {by}, {} kept back{why}",
                        s.scope,
                        s.state.as_str(),
                        s.suppressed
                    ));
                }
                Record::Consultation(c) => {
                    self.told.push(
                        format!("{} {} {}", c.reason.as_str(), c.state.as_str(), c.state.why()).trim().to_owned(),
                    );
                    if c.state == ConsultationState::Asked {
                        self.asked.push(c);
                    }
                }
                Record::Detection(_)
                | Record::Run(_)
                | Record::Question(_)
                | Record::Containment(_)
                | Record::Refused(_) => {}
            }
        }
    }

    /// `attack ADDRESS LEVEL`, `judge ADDRESS VERDICT`, `propose|remove RULE ADDRESS|anybody`, `apply RULE ADDRESS|anybody
    /// DAYS`, `wait SECONDS`, `say CITE ATTENTION` to the latest question.
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let by = Principal("ana".into());
        match words[..] {
            ["attack", address, level] => {
                self.events += 1;
                let line = format!(
                    r#"{{"event_id":"e{}","timestamp":"{}","source":"ids","event_type":"{level}","source_ip":"{address}"}}"#,
                    self.events, self.now
                );
                self.apply(&Input::Events(vec![RawEvent { origin: "t".into(), line }]));
            }
            ["judge", address, verdict] => {
                let verdict: VerdictKind = serde_json::from_str(&format!("{verdict:?}")).unwrap();
                let threat = self.threats[address];
                self.apply(&Input::Verdict { threat, verdict, note: String::new(), by });
            }
            ["wait", seconds] => {
                self.now = self.now.plus_seconds(seconds.parse().unwrap());
                self.apply(&Input::Tick);
            }
            ["say", cite, attention] => {
                let sentence = Sentence { text: "So it is.".into(), cites: vec![cite.to_owned()] };
                let attention: Severity = attention.parse().unwrap();
                let reply = Reply::Opinion(Opinion { attention, sentences: vec![sentence], ..Opinion::default() });
                let consultation = self.asked.last().unwrap().consultation_id;
                self.apply(&Input::Opinion { consultation, reply, model: "m".into(), usage: Usage::default() });
            }
            [verb, rule, on, ..] => {
                let scope = Scope { rule_id: rule.into(), on: Entity::ip(on) };
                let reason = "ours".to_owned();
                let wish = match verb {
                    "propose" => SuppressionWish::Propose { reason },
                    "remove" => SuppressionWish::Remove { reason },
                    _ => SuppressionWish::Apply { for_s: words[3].parse::<u64>().unwrap() * 86_400 },
                };
                self.apply(&Input::Suppress { scope, wish, by });
            }
            _ => panic!("{line}"),
        }
    }
}

#[track_caller]
fn check(story: &str, expected: &str) {
    let mut teller = Teller::new();
    let trimmed =
        |text: &str| text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    for line in trimmed(story) {
        teller.line(&line);
        // Nothing is lost over a restart.
        let content = Arc::clone(teller.engine.content());
        let restored = Engine::restore(&teller.engine.snapshot(), |_| Ok::<_, ()>(content)).unwrap().unwrap();
        assert_eq!(restored.snapshot(), teller.engine.snapshot());
        teller.engine = restored;
    }
    assert_eq!(teller.told, trimmed(expected));
}

#[test]
fn a_suppression_is_applied_by_a_person_keeps_back_and_ends() {
    check(
        "
        attack 192.0.2.1 low
        apply rule-low 192.0.2.1 30
        judge 192.0.2.1 false_positive
        propose rule-low 192.0.2.1
        attack 192.0.2.1 low
        judge 192.0.2.1 benign
        apply rule-low 192.0.2.1 1
        attack 192.0.2.1 low
        attack 192.0.2.1 low
        attack 192.0.2.2 low
        wait 86400
        attack 192.0.2.1 low
        ",
        "
        threat 192.0.2.1 low
        threat 192.0.2.1 low
        rule rule-low on ip 192.0.2.1 proposed by ana, 0 kept back
        threat 192.0.2.1 low
        threat 192.0.2.1 low
        rule rule-low on ip 192.0.2.1 applied by ana, 0 kept back
        192.0.2.1 kept back
        rule rule-low on ip 192.0.2.1 applied by ana, 1 kept back
        192.0.2.1 kept back
        rule rule-low on ip 192.0.2.1 applied by ana, 2 kept back
        threat 192.0.2.2 low
        rule rule-low on ip 192.0.2.1 expired by ana, 2 kept back
        threat 192.0.2.2 low
        threat 192.0.2.1 low
        ",
    );
}

#[test]
fn what_a_person_ever_confirmed_is_never_suppressed() {
    check(
        "
        attack 192.0.2.1 low
        judge 192.0.2.1 confirmed
        propose rule-low 192.0.2.1
        propose rule-low anybody
        propose rule-low 192.0.2.9
        judge 192.0.2.1 false_positive
        propose rule-low 192.0.2.1
        apply rule-low 192.0.2.9 30
        attack 192.0.2.9 low
        propose rule-medium anybody
        remove rule-low 192.0.2.9
        attack 192.0.2.9 low
        propose rule-low 192.0.2.9
        judge 192.0.2.9 confirmed
        apply rule-low 192.0.2.9 30
        ",
        "
        threat 192.0.2.1 low
        threat 192.0.2.1 low
        rule rule-low on ip 192.0.2.1 refused by ana, 0 kept back: it would have hidden a threat that a person confirmed
        rule rule-low on anybody refused by ana, 0 kept back: it would have hidden a threat that a person confirmed
        rule rule-low on ip 192.0.2.9 proposed by ana, 0 kept back
        threat 192.0.2.1 low
        rule rule-low on ip 192.0.2.1 refused by ana, 0 kept back: it would have hidden a threat that a person confirmed
        rule rule-low on ip 192.0.2.9 applied by ana, 0 kept back
        192.0.2.9 kept back
        rule rule-low on ip 192.0.2.9 applied by ana, 1 kept back
        rule rule-low on ip 192.0.2.9 removed by ana, 1 kept back: ours
        threat 192.0.2.9 low
        rule rule-low on ip 192.0.2.9 proposed by ana, 0 kept back
        rule rule-low on ip 192.0.2.9 removed by ana, 0 kept back: a person confirmed a threat that it is about
        threat 192.0.2.9 low
        ",
    );
}

#[test]
fn verdicts_alone_propose_one_and_put_nothing_in_force() {
    let mut teller = Teller::new();
    let mut needed = 0;
    while !teller.told.iter().any(|t| t.contains("proposed by engine")) {
        needed += 1;
        teller.line("attack 192.0.2.1 low");
        teller.line("judge 192.0.2.1 false_positive");
        assert!(needed <= 28, "{:?}", teller.told);
    }
    assert_eq!(needed, 28, "0.05^(1/29) is the first that is above 0.9");
    teller.told.clear();
    teller.line("attack 192.0.2.1 low");
    assert_eq!(teller.told, ["threat 192.0.2.1 low"], "it is only proposed");
}

#[test]
fn a_model_is_asked_what_is_worth_it_and_its_answer_must_cite_what_is_there() {
    check(
        "
        attack 192.0.2.1 low
        attack 192.0.2.2 medium
        say E1 critical
        attack 192.0.2.2 medium
        attack 192.0.2.3 medium
        attack 192.0.2.2 high
        say E9 critical
        say E1 critical
        attack 192.0.2.4 high
        wait 600
        say E1 critical
        ",
        "
        threat 192.0.2.1 low
        threat 192.0.2.2 medium
        new asked
        threat 192.0.2.2 medium, attention critical
        new answered
        threat 192.0.2.2 medium, attention critical
        threat 192.0.2.3 medium
        threat 192.0.2.2 high, attention critical
        severe asked
        severe refused its sentence 1 cites \"E9\", which is not among the evidence
        threat 192.0.2.4 high
        severe asked
        severe expired
        ",
    );
}

#[test]
fn questions_that_wait_are_bounded_and_severe_ones_stay() {
    let mut teller = Teller::new();
    teller.line("attack 192.0.2.1 medium");
    for n in 0..limits::CONSULTATIONS_WAITING_MAX {
        teller.line(&format!("attack 198.51.{}.{} high", n / 250, n % 250 + 1));
    }
    let skipped: Vec<&String> = teller.told.iter().filter(|t| t.contains("skipped")).collect();
    assert_eq!(skipped, ["new skipped too many questions waited"]);
}
