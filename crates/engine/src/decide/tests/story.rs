//! Stories about responses: what happens, line by line, and what becomes of it.
//!
//! A line is a time in seconds and one of: `threat BRIEF`, `approve|deny NAME by WHO [to OTHER-PLAN]`,
//! `verdict THREAT WORD by WHO`, `release NAME by WHO`, `merge THREAT into THREAT`, `close THREAT`, `protect NET`,
//! `tick`. A NAME is `THREAT/ACTION`, or `THREAT/PLAYBOOK.ACTION` where several playbooks have the action.

use std::collections::BTreeMap;

use vertice_model::{
    ContainmentId, ContainmentState, Principal, QuestionId, QuestionState, RunState, ThreatId, ThreatState, Timestamp,
    VerdictKind,
};

use super::brief::{start, threat};
use crate::content::ContentFile;
use crate::decide::{Answer, Change, Playbooks, Policy, Protected, Responses, Whom, cases};

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
                Ok(self.responses.verdict(now, ThreatId::derive(name), verdict, &by(who)))
            }
            ["release", name, "by", who] => {
                let unknown = || ContainmentId::derive("unknown");
                let containment = self.containments.get(*name).copied().unwrap_or_else(unknown);
                self.responses.release(now, containment, &by(who), "by hand").map_err(|e| e.to_string())
            }
            ["merge", from, "into", into] => {
                let into = (ThreatId::derive(into), (*into).to_owned());
                self.threats.insert(into.0, into.1);
                Ok(self.responses.threat_merged(now, ThreatId::derive(from), into.0))
            }
            ["protect", net] => {
                let whom = Whom::Net(net.parse().expect("a range"));
                self.policy.protected.push(Protected { whom, why: "ours".to_owned() });
                Ok(Vec::new())
            }
            ["tick"] => Ok(self.responses.expire(now, &self.policy)),
            _ => panic!("{what} is no line of a story"),
        };
        // Whatever happened, what is kept can be written down and read again.
        let kept = serde_json::to_string(&self.responses).unwrap();
        assert_eq!(serde_json::from_str::<Responses>(&kept).unwrap(), self.responses);
        match changes {
            Ok(changes) => changes.iter().map(|change| self.say(change)).collect(),
            Err(why) => vec![format!("no: {}", self.named(why))],
        }
    }

    fn say(&mut self, change: &Change) -> String {
        let since = |at: Timestamp| at.micros_since(start()) / 1_000_000;
        match change {
            Change::Run(run) => {
                assert!(!run.success && run.simulated && run.actions_executed == 0, "nothing is ever reported as done");
                let state = match run.state {
                    RunState::Refused => "refused",
                    RunState::Waiting => "waits",
                    RunState::Ended => "ended",
                    RunState::RolledBack => "rolled back",
                };
                let reason = run.reason.as_ref().map_or(String::new(), |r| format!(" ({r})"));
                let steps: Vec<_> =
                    run.steps.iter().map(|s| format!("{} {}", s.action_id, cases::state(&s.state))).collect();
                let threat = self.threats[&run.threat_id].clone();
                self.named(format!("run {threat}/{} {state}{reason}: {}", run.playbook_id, steps.join("; ")))
            }
            Change::Question(question) => {
                let name = self.name(question.threat_id, &question.playbook_id, &question.action_id);
                self.ids.push((question.question_id.to_string(), name.clone()));
                self.ids.push((question.plan_digest.clone(), "PLAN".to_owned()));
                self.questions.insert(name.clone(), (question.question_id, question.plan_digest.clone()));
                let by = question.answered.as_ref().map_or(String::new(), |(by, _)| format!(" by {by}"));
                match question.state {
                    QuestionState::Waiting => {
                        let urgent = if question.urgent { " urgently" } else { "" };
                        format!("ask {name}{urgent} until {}: {}", since(question.expires_at), question.prompt)
                    }
                    QuestionState::Approved => format!("question {name} approved{by}"),
                    QuestionState::Denied => format!("question {name} denied{by}"),
                    QuestionState::TimedOut => format!("question {name} timed out"),
                    QuestionState::Withdrawn => format!("question {name} withdrawn"),
                }
            }
            Change::Containment(held) => {
                assert!(held.simulated);
                let name = self.name(held.threat_id, &held.playbook_id, &held.action_id);
                self.ids.push((held.containment_id.to_string(), name.clone()));
                self.containments.insert(name.clone(), held.containment_id);
                match &held.state {
                    ContainmentState::Active => {
                        let stage = serde_json::to_string(&held.stage).unwrap();
                        let until = since(held.lease_until);
                        format!("hold {name} {} until {until} {}", held.entity, stage.trim_matches('"'))
                    }
                    ContainmentState::Expired => format!("let go {name} {}: lease ended", held.entity),
                    ContainmentState::Released { by, reason } => {
                        format!("let go {name} {} by {by}: {reason}", held.entity)
                    }
                }
            }
        }
    }

    /// How a story calls an action: short where one playbook runs, with its playbook where several do.
    fn name(&self, threat: ThreatId, playbook: &str, action: &str) -> String {
        let several = if self.playbooks.iter().count() > 1 { format!("{playbook}.") } else { String::new() };
        format!("{}/{several}{action}", self.threats[&threat])
    }

    /// Ids as the story calls them.
    fn named(&self, mut text: String) -> String {
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
