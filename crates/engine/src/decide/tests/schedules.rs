//! Random orders of threats, answers, time, verdicts and releases: what must hold in every one of them. And random
//! damage to playbook files: nothing of it panics.

use std::collections::{BTreeMap, BTreeSet};

use vertice_model::{
    ContainmentId, ContainmentState, OnTimeout, Principal, Question, QuestionId, QuestionState, RunId, RunState,
    Severity, StepState, Threat, ThreatId, Timestamp, VerdictKind,
};

use super::brief::{start, threat};
use super::shipped;
use super::story::playbooks;
use crate::content::ContentFile;
use crate::decide::{Answer, Change, Playbooks, Policy, Responses};

/// One question of each kind, in a chain and beside it, and steps that nobody is asked about.
const ALL_KINDS: &str = r#"
name: All kinds
version: "1"
trigger: {condition: guess, severity_threshold: low, confidence_threshold: 0.1}
context_requirements: [source_ip]
actions:
  - {id: slow, type: firewall_rule, parameters: {rule_type: rate_limit, source_ip: "${source_ip}", limit: 5/minute, duration: 10m}}
  - {id: tell, type: notification, on_failure: continue, parameters: {channel: slack, message: "about ${source_ip}"}}
  - {id: deny, type: firewall_rule, hotl_required: true, hotl_prompt: "Block ${source_ip}?", on_timeout: deny, depends_on: [slow],
     parameters: {rule_type: block, source_ip: "${source_ip}", duration: 1h}}
  - {id: escalate, type: honeypot_deployment, hotl_required: true, hotl_prompt: "Decoy?", on_timeout: escalate, approval_timeout: 60s,
     depends_on: [deny, tell], parameters: {honeypot_type: ssh, target_ip: "${source_ip}", duration: 2h}}
  - {id: execute, type: traffic_shaping, hotl_required: true, hotl_prompt: "Slower?", on_timeout: execute, on_failure: continue,
     parameters: {target_ip: "${source_ip}", limit: 1mbit, duration: 30m}}
  - {id: last, type: session_termination, irreversible: true, hotl_required: true, hotl_prompt: "End sessions?",
     depends_on: [execute], parameters: {source_ip: "${source_ip}"}}
"#;

/// One of everything that a playbook can say, in few words.
const SMALL: &str = r#"name: Small
version: "1"
trigger: {condition: guess or (not severity < high), severity_threshold: low}
context_requirements: [source_ip]
actions:
  - id: slow
    type: firewall_rule
    hotl_required: true
    hotl_prompt: "Slow ${source_ip}?"
    on_timeout: deny
    parameters: {rule_type: rate_limit, source_ip: "${source_ip}", limit: 5/minute, duration: 10m}
    retries: 2
rollback: {conditions: [manual_override]}
"#;

/// Numbers that are the same for a seed every time (xorshift64*; Marsaglia 2003, Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n as u64) as usize
    }
}

/// How often a long test goes round: `usual` times, ten times as often with `VERTICE_LONG=1`.
fn rounds(usual: u64) -> u64 {
    if std::env::var_os("VERTICE_LONG").is_some() { usual * 10 } else { usual }
}

/// What was told so far, and what must be true of it.
#[derive(Default)]
struct Witness {
    questions: BTreeMap<QuestionId, Question>,
    containments: BTreeMap<ContainmentId, ContainmentState>,
    steps: BTreeMap<(RunId, String), StepState>,
    /// The questions that a person said yes to, and those they said no to.
    yes: BTreeSet<QuestionId>,
    severity: BTreeMap<ThreatId, Severity>,
    threats: BTreeSet<ThreatId>,
}

impl Witness {
    fn see(&mut self, now: Timestamp, changes: &[Change], playbooks: &Playbooks) {
        for change in changes {
            match change {
                Change::Question(question) => self.question(question),
                Change::Containment(held) => {
                    let before = self.containments.insert(held.containment_id, held.state.clone());
                    match (before, &held.state) {
                        (None, ContainmentState::Active) => assert_eq!(held.since, now),
                        (None, other) => panic!("a containment begins as {other:?}"),
                        (Some(ContainmentState::Active), _) => {}
                        (Some(ended), _) => panic!("a containment that ended ({ended:?}) changes again"),
                    }
                    assert!(held.simulated && held.lease_until > held.since);
                }
                Change::Run(_) => {}
            }
        }
        // Questions first, for a run stands before those that it asked.
        for change in changes {
            let Change::Run(run) = change else { continue };
            assert!(!run.success && run.simulated && run.actions_executed == 0);
            for step in &run.steps {
                let key = (run.run_id, step.action_id.clone());
                let before = self.steps.insert(key, step.state.clone()).unwrap_or(StepState::Pending);
                self.step(&run.playbook_id, step, &before, playbooks);
            }
            let open = run.steps.iter().any(|s| matches!(s.state, StepState::Pending | StepState::Asked));
            assert_eq!(open, run.state == RunState::Waiting, "{run:#?}");
        }
    }

    fn question(&mut self, question: &Question) {
        match self.questions.insert(question.question_id, question.clone()) {
            None => assert_eq!(question.state, QuestionState::Waiting),
            Some(before) => {
                assert_eq!(before.state, QuestionState::Waiting, "exactly one final state: {question:#?}");
                assert_eq!(before.plan_digest, question.plan_digest);
            }
        }
        let person = matches!(question.state, QuestionState::Approved | QuestionState::Denied);
        assert_eq!(person, question.answered.is_some());
    }

    fn step(&self, playbook: &str, step: &vertice_model::Step, before: &StepState, playbooks: &Playbooks) {
        if step.state == *before {
            return;
        }
        let moves = match (before, &step.state) {
            (StepState::Pending, StepState::Pending | StepState::Released) => false,
            (StepState::Pending | StepState::Asked, _) => true,
            (StepState::Simulated, StepState::Released) => true,
            // What ended stays ended: nothing is recorded twice, and nothing runs after a no.
            _ => false,
        };
        assert!(moves, "{} went from {before:?} to {:?}", step.action_id, step.state);
        if step.state != StepState::Simulated {
            return;
        }
        if playbooks.get(playbook).unwrap().asks(&step.action_id) {
            let question = &self.questions[&step.question_id.unwrap()];
            let silent = question.state == QuestionState::TimedOut
                && question.on_timeout == OnTimeout::Execute
                && self.severity[&question.threat_id] == Severity::Critical;
            assert!(silent || self.yes.contains(&question.question_id), "{} without a yes", step.action_id);
        } else {
            assert_eq!(*before, StepState::Pending);
        }
    }
}

/// The threats of a schedule: three actors, two of whom may be one.
fn actors() -> Vec<Threat> {
    ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(i, id)| threat(&format!("guess medium 0.9 ip=203.0.113.{} id={id}", i + 1)))
        .collect()
}

/// What may happen to the threats of a schedule.
struct Schedule<'p> {
    numbers: Numbers,
    playbooks: &'p Playbooks,
    policy: Policy,
    responses: Responses,
    witness: Witness,
    threats: Vec<Threat>,
}

impl Schedule<'_> {
    fn step(&mut self, now: Timestamp) {
        let by = Principal(["ana", "bob"][self.numbers.below(2)].to_owned());
        let i = self.numbers.below(self.threats.len());
        let changes = match self.numbers.below(12) {
            0..3 => {
                let threat = &mut self.threats[i];
                threat.detections += 1;
                if self.numbers.below(4) == 0 {
                    threat.severity = threat.severity.raised();
                }
                self.witness.severity.insert(threat.threat_id, threat.severity);
                self.witness.threats.insert(threat.threat_id);
                self.responses.consider(now, threat, self.playbooks, &self.policy)
            }
            3..8 => self.answer(now, &by),
            8 => {
                let verdict = [VerdictKind::Confirmed, VerdictKind::Benign, VerdictKind::FalsePositive];
                let verdict = verdict[self.numbers.below(3)];
                let changes = self.responses.verdict(now, self.threats[i].threat_id, verdict, &by);
                assert!(verdict != VerdictKind::Confirmed || changes.is_empty());
                self.backwards(&changes);
                changes
            }
            9 => {
                let known: Vec<ContainmentId> = self.witness.containments.keys().copied().collect();
                if known.is_empty() {
                    return;
                }
                let id = known[self.numbers.below(known.len())];
                let active = self.witness.containments[&id] == ContainmentState::Active;
                let released = self.responses.release(now, id, &by, "by hand");
                assert_eq!(released.is_ok(), active);
                released.unwrap_or_default()
            }
            10 => self.responses.expire(now, &self.policy),
            _ => Vec::new(),
        };
        self.witness.see(now, &changes, self.playbooks);
    }

    /// An answer to any question that ever was: in time or late, the first or the second, to this plan or another.
    fn answer(&mut self, now: Timestamp, by: &Principal) -> Vec<Change> {
        let known = self.witness.questions.len();
        if known == 0 {
            return Vec::new();
        }
        let mut any = || self.witness.questions.values().nth(self.numbers.below(known)).expect("one of them").clone();
        let (question, other) = (any(), any());
        let plan = if self.numbers.below(4) == 0 { &other } else { &question };
        let approve = self.numbers.below(3) > 0;
        let answer = Answer { question: question.question_id, approve, plan_digest: &plan.plan_digest, by };
        let fits = question.state == QuestionState::Waiting
            && now < question.expires_at
            && plan.plan_digest == question.plan_digest;
        // A copy of everything for one answer in eight, or the test would mostly copy.
        let before = (self.numbers.below(8) == 0).then(|| self.responses.clone());
        match self.responses.answer(now, answer, &self.policy) {
            Ok(changes) => {
                assert!(fits);
                if approve {
                    self.witness.yes.insert(question.question_id);
                }
                changes
            }
            Err(_) => {
                assert!(!fits);
                assert!(before.is_none_or(|b| b == self.responses), "an answer that is not taken changes nothing");
                Vec::new()
            }
        }
    }

    /// Within a run, what was recorded last is released first.
    fn backwards(&self, changes: &[Change]) {
        let mut since: BTreeMap<RunId, Timestamp> = BTreeMap::new();
        for change in changes {
            if let Change::Containment(held) = change {
                let later = since.insert(held.run_id, held.since);
                assert!(later.is_none_or(|later| later >= held.since));
            }
        }
    }
}

#[test]
fn nothing_is_recorded_twice_or_without_a_yes_in_ten_thousand_schedules() {
    let playbooks = playbooks(&[ALL_KINDS]);
    let mut simulated = 0;
    for seed in 0..rounds(10_000) {
        let mut schedule = Schedule {
            numbers: Numbers::new(seed),
            playbooks: &playbooks,
            policy: Policy { entities_per_hour_max: 2, ..Policy::default() },
            responses: Responses::default(),
            witness: Witness::default(),
            threats: actors(),
        };
        let mut now = start();
        for _ in 0..12 {
            let gap = [0, 1, 30, 61, 300, 1_800][schedule.numbers.below(6)];
            now = now.plus_seconds(gap);
            schedule.step(now);
        }
        // In the end time alone ends everything: no question waits for ever, no lease is outlived.
        while let Some(due) = schedule.responses.next_due() {
            let changes = schedule.responses.expire(due, &schedule.policy);
            assert!(!changes.is_empty());
            schedule.witness.see(due, &changes, &playbooks);
        }
        assert_eq!(schedule.responses.questions_waiting(), 0);
        assert_eq!(schedule.responses.containments().count(), 0);
        assert_eq!(schedule.responses.turned_away(), 0);
        simulated += schedule.witness.steps.values().filter(|s| **s == StepState::Simulated).count();
    }
    assert!(simulated > 10_000, "the schedules are not all empty: {simulated}");
}

#[test]
fn the_same_schedule_gives_the_same_state() {
    let playbooks = playbooks(&[ALL_KINDS]);
    let play = || {
        let mut responses = Responses::default();
        let mut told = Vec::new();
        for (i, threat) in actors().iter().enumerate() {
            told.extend(responses.consider(start().plus_seconds(i as u64), threat, &playbooks, &Policy::default()));
        }
        told.extend(responses.expire(start().plus_seconds(400), &Policy::default()));
        (serde_json::to_string(&responses).unwrap(), serde_json::to_string(&told).unwrap())
    };
    assert_eq!(play(), play());
}

#[test]
fn damaged_playbooks_are_refused_or_read_and_never_panic() {
    let large: Vec<String> = shipped::texts().into_iter().map(|f| f.text).collect();
    let words = [
        "and",
        "not (",
        "==",
        ">= high",
        "${",
        "}",
        "${source_ip}",
        "- ",
        ": ",
        "{",
        "[",
        "]",
        "|\n",
        "\u{0}",
        "\u{202e}",
        "&a ",
        "*a",
        "<<: ",
        "!!set",
        "99999999999999999999",
        "-1",
        "~",
        "true",
        "0.0.0.0/0",
        "ä",
        "'",
        "\"",
        "\n",
        "\t",
        "#",
    ];
    let (mut read, mut refused) = (0, 0);
    for seed in 0..rounds(10_000) {
        let mut numbers = Numbers::new(seed);
        // Mostly a small one, for the time that it takes to read them.
        let small = numbers.below(8) > 0;
        let whole = if small { SMALL } else { &large[numbers.below(large.len())] };
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(text.len());
            let to = (at + numbers.below(20)).min(text.len());
            let put: Vec<char> = match numbers.below(3) {
                0 => Vec::new(),
                1 => words[numbers.below(words.len())].chars().collect(),
                _ => {
                    let from = numbers.below(text.len());
                    text[from..(from + 40).min(text.len())].to_vec()
                }
            };
            text.splice(at..to, put);
        }
        let file = ContentFile { path: "playbooks/damaged.yml".into(), text: text.into_iter().collect() };
        let mut errors = Vec::new();
        let playbooks = Playbooks::compile(&[&file], &mut errors);
        if playbooks.get("damaged").is_some() {
            read += 1;
            assert_eq!(errors, []);
            for brief in ["guess critical 1 ip=203.0.113.9", "malware_detected critical 1 host=a;b ip=0.0.0.0"] {
                let _ = Responses::default().consider(start(), &threat(brief), &playbooks, &Policy::default());
            }
        } else {
            refused += 1;
            assert!(!errors.is_empty());
            let lines = file.text.lines().count() as u64 + 1;
            assert!(errors.iter().all(|e| e.line <= lines && !e.reason.is_empty()), "{errors:?}");
        }
    }
    assert!(read > 100 && refused > 1_000, "both happen: {read} read, {refused} refused");
}
