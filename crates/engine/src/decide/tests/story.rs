//! Stories about responses: what happens, line by line, and what becomes of it.
//!
//! A line is a time in seconds and one of: `threat BRIEF`, `approve|deny NAME by WHO [to OTHER-PLAN]`,
//! `verdict THREAT WORD by WHO`, `release NAME by WHO`, `merge THREAT into THREAT`, `close THREAT`, `protect NET`,
//! `tick`, `live VERB…`, `operators ADDRESS…`, `start PLAYBOOK THREAT by WHO`. What came of an order is
//! `done NAME [but CRITERION]`, `undone NAME`, `fail NAME for good|now`, `lost NAME` (nobody can tell),
//! `resolve NAME yes|no by WHO`; it is the oldest order for that action. A NAME is `THREAT/ACTION`, or `THREAT/PLAYBOOK.ACTION` where several playbooks have the action.

use std::collections::{BTreeMap, BTreeSet};

use vertice_model::{
    Action, Containment, ContainmentId, ContainmentState, FirewallRule, FirewallVerdict, Hold, Order, OrderId, Outcome,
    Principal, Question, QuestionId, QuestionState, Receipt, Run, RunId, RunState, StepState, Task, ThreatId,
    ThreatState, Timestamp, VerdictKind,
};

use super::brief::{start, threat};
use crate::content::ContentFile;
use crate::decide::verb::Verb;
use crate::decide::{Answer, Approved, Change, Playbooks, Policy, Protected, Responses, Start, Whom, cases};

/// Slow down by itself; ask about a block; after that, ask about a decoy.
pub(super) const GUESS: &str = r#"
name: Guess
version: "1"
trigger: {condition: guess, severity_threshold: medium, confidence_threshold: 0.5}
context_requirements: [source_ip]
actions:
  - id: slow
    type: firewall_rule
    parameters: {rule_type: rate_limit, source_ip: "${source_ip}", limit: 5/minute, duration: 10m}
  - id: block
    type: firewall_rule
    hotl_required: true
    hotl_prompt: "Block ${source_ip}?"
    depends_on: [slow]
    parameters: {rule_type: block, source_ip: "${source_ip}", duration: 1h}
  - id: decoy
    type: honeypot_deployment
    hotl_required: true
    hotl_prompt: "Decoy for ${source_ip}?"
    depends_on: [block]
    parameters: {honeypot_type: ssh, target_ip: "${source_ip}", duration: 2h}
"#;

/// One question, and what happens when nobody answers it.
pub(super) fn ask(on_timeout: &str, more: &str) -> String {
    format!(
        r#"
name: Ask
version: "1"
trigger: {{condition: guess, severity_threshold: medium, confidence_threshold: 0.5}}
context_requirements: [source_ip]
actions:
  - id: block
    type: firewall_rule
    hotl_required: true
    hotl_prompt: "Block ${{source_ip}}?"
    on_timeout: {on_timeout}
    approval_timeout: 60s
    parameters: {{rule_type: block, source_ip: "${{source_ip}}", duration: 1h}}
{more}"#
    )
}

/// Compiles playbooks that must be good, named `a`, `b`, …
pub(super) fn playbooks(texts: &[&str]) -> Playbooks {
    let named = texts
        .iter()
        .zip('a'..)
        .map(|(text, name)| ContentFile { path: format!("playbooks/{name}.yml"), text: (*text).to_owned() });
    let files: Vec<_> = named.collect();
    let mut refused = Vec::new();
    let playbooks = Playbooks::compile(&files.iter().collect::<Vec<_>>(), &mut refused);
    assert_eq!(refused, []);
    playbooks
}

/// Plays a story and compares what became of it.
#[track_caller]
pub(super) fn check(playbooks: &Playbooks, story: &str, expected: &str) {
    let clean = |text: &str| text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
    let got = Teller::new(playbooks, Policy::default()).tell(story);
    assert_eq!(clean(&got), clean(expected), "\n{got}\n");
}

/// Plays stories.
pub(super) struct Teller<'p> {
    playbooks: &'p Playbooks,
    pub(super) policy: Policy,
    pub(super) responses: Responses,
    threats: BTreeMap<ThreatId, String>,
    questions: BTreeMap<String, (QuestionId, String)>,
    containments: BTreeMap<String, ContainmentId>,
    pub(super) orders: Vec<(String, Order)>,
    lost: BTreeMap<String, OrderId>,
    runs: BTreeSet<RunId>,
    ids: Vec<(String, String)>,
}

impl<'p> Teller<'p> {
    pub(super) fn new(playbooks: &'p Playbooks, policy: Policy) -> Teller<'p> {
        Teller {
            playbooks,
            policy,
            responses: Responses::default(),
            threats: BTreeMap::new(),
            questions: BTreeMap::new(),
            containments: BTreeMap::new(),
            orders: Vec::new(),
            lost: BTreeMap::new(),
            runs: BTreeSet::new(),
            ids: Vec::new(),
        }
    }

    /// Plays a story; gives what became of it.
    pub(super) fn tell(&mut self, story: &str) -> String {
        let mut out = String::new();
        for line in story.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (at, rest) = line.split_once(' ').expect("a time and what happens");
            let now = start().plus_seconds(at.parse().expect("a time"));
            for said in self.happen(now, rest) {
                out.push_str(&format!("{at} {said}\n"));
            }
        }
        out
    }

    fn happen(&mut self, now: Timestamp, what: &str) -> Vec<String> {
        let words: Vec<&str> = what.split_whitespace().collect();
        let by = |who: &str| Principal(who.to_owned());
        let changes = match words.as_slice() {
            ["threat" | "quiet", brief @ ..] => {
                let mut threat = threat(&brief.join(" "));
                let id = brief.iter().find_map(|w| w.strip_prefix("id=")).unwrap_or("1");
                self.threats.insert(threat.threat_id, id.to_owned());
                if words[0] == "quiet" {
                    threat.state = ThreatState::Quiet { at: now };
                }
                Ok(self.responses.consider(now, &threat, self.playbooks, &self.policy))
            }
            [word @ ("approve" | "deny"), name, "by", who, "(link)"] => {
                let (question, plan_digest) = self.questions[*name].clone();
                let by = by(&format!("{who} (link)"));
                let answer = Answer { question, approve: *word == "approve", plan_digest: &plan_digest, by: &by };
                self.responses.answer(now, answer, &self.policy).map_err(|e| e.to_string())
            }
            [word @ ("approve" | "deny"), name, "by", who, other @ ..] => {
                let unknown = || (QuestionId::derive("unknown"), String::new());
                let (question, digest) = self.questions.get(*name).cloned().unwrap_or_else(unknown);
                let plan_digest = other.last().copied().unwrap_or(&digest);
                let answer = Answer { question, approve: *word == "approve", plan_digest, by: &by(who) };
                self.responses.answer(now, answer, &self.policy).map_err(|e| e.to_string())
            }
            ["verdict", name, word, "by", who] => {
                let verdict = match *word {
                    "confirmed" => VerdictKind::Confirmed,
                    "benign" => VerdictKind::Benign,
                    _ => VerdictKind::FalsePositive,
                };
                Ok(self.responses.verdict(now, ThreatId::derive(name), verdict, &by(who), &self.policy))
            }
            ["release", name, "by", who] => {
                let unknown = || ContainmentId::derive("unknown");
                let containment = self.containments.get(*name).copied().unwrap_or_else(unknown);
                let released = self.responses.release(now, containment, &by(who), "by hand", &self.policy);
                released.map_err(|e| e.to_string())
            }
            ["merge", from, "into", into] => {
                let into = (ThreatId::derive(into), (*into).to_owned());
                self.threats.insert(into.0, into.1);
                Ok(self.responses.threat_merged(now, ThreatId::derive(from), into.0, &self.policy))
            }
            ["protect", net] => {
                let whom = Whom::Net(net.parse().expect("a range"));
                self.policy.protected.push(Protected { whom, why: "ours".to_owned() });
                Ok(Vec::new())
            }
            ["tick"] => Ok(self.responses.expire(now, &self.policy)),
            ["live", verbs @ ..] => {
                self.policy.live = verbs.iter().map(|word| Verb::from_word(word).expect("a verb")).collect();
                Ok(Vec::new())
            }
            ["operators", from @ ..] => {
                self.responses.operators(&from.iter().map(|a| a.parse().expect("an address")).collect::<Vec<_>>());
                Ok(Vec::new())
            }
            ["start", playbook, brief, "by", who] => {
                let threat = threat(&format!("guess medium 0.9 ip=203.0.113.9 id={brief}"));
                self.threats.insert(threat.threat_id, (*brief).to_owned());
                let start = Start { playbook, by: &by(who) };
                let started = self.responses.start(now, &threat, start, self.playbooks, &self.policy);
                started.map_err(|e| e.to_string())
            }
            words => Ok(self.became(now, words)),
        };
        // Whatever happened, what is kept can be written down and read again.
        let kept = serde_json::to_string(&self.responses).unwrap();
        assert_eq!(serde_json::from_str::<Responses>(&kept).unwrap(), self.responses);
        match changes {
            Ok(changes) => changes.iter().map(|change| self.say(change)).collect(),
            Err(why) => vec![format!("no: {}", self.named(why))],
        }
    }

    /// What became of an order.
    fn became(&mut self, now: Timestamp, words: &[&str]) -> Vec<Change> {
        match words {
            ["begun", name] => {
                let order = self.orders.iter().find(|(of, _)| of == name).expect("an order").1.order_id;
                assert_eq!(self.responses.awaited(order), Some(false));
                self.responses.begun(order);
                assert_eq!(self.responses.awaited(order), Some(true));
                Vec::new()
            }
            ["done", name, but @ ..] => self.receipt(now, name, Task::Apply, Outcome::Done, but.last().copied()),
            ["undone", name] => self.receipt(now, name, Task::Undo, Outcome::Done, None),
            ["fail", name, "for", how] => {
                let task = self.orders.iter().find(|(of, _)| of == name).expect("an order").1.task;
                let outcome = Outcome::Failed { reason: "nft is busy".to_owned(), retry: *how == "now" };
                self.receipt(now, name, task, outcome, None)
            }
            ["lost", name] => {
                let outcome = Outcome::Unknown { reason: "we were killed".to_owned() };
                self.receipt(now, name, Task::Apply, outcome, None)
            }
            ["resolve", name, word, "by", who] => {
                let order = self.lost.get(*name).copied().unwrap_or_else(|| OrderId::derive("unknown"));
                self.responses.resolve(now, order, *word == "yes", &Principal((*who).to_owned()), &self.policy)
            }
            _ => panic!("{words:?} is no line of a story"),
        }
    }

    /// What came of the oldest order for this.
    fn receipt(&mut self, now: Timestamp, name: &str, task: Task, outcome: Outcome, but: Option<&str>) -> Vec<Change> {
        let found = self.orders.iter().position(|(of, order)| of == name && order.task == task);
        let (_, order) = self.orders.remove(found.unwrap_or_else(|| panic!("no {task:?} of {name} was ordered")));
        if matches!(outcome, Outcome::Unknown { .. }) {
            self.lost.insert(name.to_owned(), order.order_id);
        }
        let criteria = order.success_criteria.iter().map(|c| (c.clone(), Some(c.as_str()) != but)).collect();
        let receipt = Receipt { order_id: order.order_id, outcome, criteria, note: "seen".to_owned() };
        let changes = self.responses.receive(now, &receipt, &self.policy);
        assert_eq!(self.responses.awaited(order.order_id), None);
        assert_eq!(self.responses.receive(now, &receipt, &self.policy), [], "a second receipt changes nothing");
        changes
    }

    fn say(&mut self, change: &Change) -> String {
        match change {
            Change::Run(run) => self.say_run(run),
            Change::Question(question) => self.say_question(question),
            Change::Containment(held) => self.say_containment(held),
            Change::Act(order) => self.say_order(order),
        }
    }

    fn say_run(&mut self, run: &Run) -> String {
        self.runs.insert(run.run_id);
        let done = run.steps.iter().filter(|s| s.state == StepState::Done).count();
        assert!(run.actions_executed as usize >= done);
        assert!(!run.simulated || (!run.success && run.actions_executed == 0), "simulated is never done");
        let state = match run.state {
            RunState::Refused => "refused",
            RunState::Waiting => "waits",
            RunState::Ended => "ended",
            RunState::RolledBack => "rolled back",
        };
        let reason = run.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"));
        let steps: Vec<_> = run.steps.iter().map(|s| format!("{} {}", s.action_id, cases::state(&s.state))).collect();
        let threat = self.threats[&run.threat_id].clone();
        self.named(format!("run {threat}/{} {state}{reason}: {}", run.playbook_id, steps.join("; ")))
    }

    fn say_question(&mut self, question: &Question) -> String {
        let since = |at: Timestamp| at.micros_since(start()) / 1_000_000;
        let name = self.name(question.threat_id, &question.playbook_id, &question.action_id);
        self.ids.push((question.question_id.to_string(), name.clone()));
        self.ids.push((question.plan_digest.clone(), "PLAN".to_owned()));
        self.questions.insert(name.clone(), (question.question_id, question.plan_digest.clone()));
        let by = question.answered.as_ref().map_or(String::new(), |(by, _)| format!(" by {by}"));
        match question.state {
            QuestionState::Pending if !question.approvals.is_empty() => {
                let yes: Vec<_> = question.approvals.iter().map(|(who, _)| who.to_string()).collect();
                format!("question {name} has {} of {}", yes.join(", "), question.approvals_needed)
            }
            QuestionState::Pending => {
                let urgent = if question.urgent { " urgently" } else { "" };
                format!("ask {name}{urgent} until {}: {}", since(question.expires_at), question.prompt)
            }
            QuestionState::Approved => format!("question {name} approved{by}"),
            QuestionState::Denied => format!("question {name} denied{by}"),
            QuestionState::Expired => format!("question {name} expired"),
            QuestionState::Superseded => format!("question {name} superseded"),
            QuestionState::Cancelled => format!("question {name} cancelled"),
        }
    }

    fn say_containment(&mut self, held: &Containment) -> String {
        let since = |at: Timestamp| at.micros_since(start()) / 1_000_000;
        let name = self.name(held.threat_id, &held.playbook_id, &held.action_id);
        self.ids.push((held.containment_id.to_string(), name.clone()));
        self.containments.insert(name.clone(), held.containment_id);
        match &held.state {
            ContainmentState::Active => {
                let word = |what: serde_json::Value| what.as_str().unwrap_or_default().to_owned();
                let stage = word(serde_json::to_value(held.stage).unwrap());
                let hold = match held.hold {
                    Hold::Full => String::new(),
                    less => format!(" {}", word(serde_json::to_value(less).unwrap())),
                };
                let until = since(held.lease_until);
                format!("hold {name} {} until {until} {stage}{hold}", held.entity)
            }
            ContainmentState::Releasing { by, reason, .. } => {
                format!("letting go {name} {} by {by}: {reason}", held.entity)
            }
            ContainmentState::Expired => format!("healed {name} {}: {}", held.entity, held.note),
            ContainmentState::Released { by, reason } => {
                format!("let go {name} {} by {by}: {reason}", held.entity)
            }
        }
    }

    fn say_order(&mut self, order: &Approved<Order>) -> String {
        let since = |at: Timestamp| at.micros_since(start()) / 1_000_000;
        let by = order.by().to_string();
        let order = order.get().clone();
        let playbook = self.playbooks.iter().next().map_or("", |p| p.id()).to_owned();
        let name = self.name(order.threat_id, &playbook, &order.action_id);
        let task = match order.task {
            Task::Apply => "do",
            Task::Undo => "undo",
        };
        let what = match &order.action {
            Action::FirewallRule(FirewallRule { rule: FirewallVerdict::Block, .. }) => "block".to_owned(),
            Action::FirewallRule(FirewallRule { rule: FirewallVerdict::RateLimit { count, per_s }, .. }) => {
                format!("let through {count} in {per_s} s")
            }
            other => other.verb().to_owned(),
        };
        let until = order.until.map_or(String::new(), |at| format!(" until {}", since(at)));
        let again = if order.attempt > 1 { format!(", try {}", order.attempt) } else { String::new() };
        self.orders.push((name.clone(), order));
        format!("{task} {name}: {what}{until} (yes by {by}{again})")
    }

    /// How a story calls an action: short where one playbook runs, with its playbook where several do.
    fn name(&self, threat: ThreatId, playbook: &str, action: &str) -> String {
        let several = if self.playbooks.iter().count() > 1 { format!("{playbook}.") } else { String::new() };
        format!("{}/{several}{action}", self.threats[&threat])
    }

    /// Ids as the story calls them.
    fn named(&self, mut text: String) -> String {
        for run in self.runs.iter() {
            text = text.replace(&run.to_string(), "RUN");
        }
        for (id, name) in &self.ids {
            text = text.replace(id, name);
        }
        for (id, name) in &self.threats {
            text = text.replace(&id.to_string(), name);
        }
        for (id, name) in [(QuestionId::derive("unknown").to_string()), (ContainmentId::derive("unknown").to_string())]
            .into_iter()
            .map(|id| (id, "?"))
        {
            text = text.replace(&id, name);
        }
        text
    }
}
