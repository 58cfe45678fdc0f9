//! What a playbook would do for a threat, before anything is done: for whoever writes one, or is about to start one.

use serde::Serialize;
use vertice_model::{Entity, OnTimeout, RunId, Step, Threat};

use super::cases;
use super::playbook::{Action, OnFailure, Playbook};
use super::policy::Policy;
use super::verb::Risk;
use super::{Playbooks, plan};

/// What a playbook would do for a threat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    /// Which playbook.
    pub playbook_id: String,
    /// Why it would not begin by itself; empty if it would.
    pub not_due: Vec<String>,
    /// What it must know and the threat does not tell; if there is any of it, there are no steps.
    pub missing: Vec<String>,
    /// What it would do, each step after those that it waits for.
    pub steps: Vec<PreviewStep>,
}

/// One step of a preview.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PreviewStep {
    /// The step, filled.
    #[serde(flatten)]
    pub step: Step,
    /// In which round it comes, from 1: steps of a round are done side by side.
    pub round: usize,
    /// How much harm it can do.
    pub risk: Risk,
    /// What a person is asked before it, if one is.
    pub asks: Option<PreviewQuestion>,
    /// Why it would not be done, if it would not.
    pub refused: Option<String>,
    /// What becomes of the steps that wait for it if it does not come about: `stop`, `continue`, `rollback`.
    pub on_failure: &'static str,
    /// By what it is seen to have come about.
    pub success_criteria: Vec<String>,
    /// Within how many seconds.
    pub timeout_s: u64,
    /// How often it is tried again.
    pub retries: u64,
}

/// A question of a preview.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PreviewQuestion {
    /// What is asked.
    pub prompt: String,
    /// How long the question waits, in seconds.
    pub timeout_s: u64,
    /// What follows if nobody answers.
    pub on_timeout: OnTimeout,
}

/// Reads a threat in the short form of the cases beside playbooks, such as
/// `brute_force_detected high 0.9 ip=203.0.113.9 detections=40`.
///
/// # Errors
/// Which word is no part of one.
pub fn threat(text: &str) -> Result<Threat, String> {
    cases::threat(text)
}

/// What a playbook would do for a threat under this policy; `None` if there is no such playbook.
#[must_use]
pub fn preview(playbooks: &Playbooks, playbook_id: &str, threat: &Threat, policy: &Policy) -> Option<Preview> {
    let playbook = playbooks.get(playbook_id)?;
    let missing: Vec<String> = playbook.missing(threat).into_iter().map(|v| v.name().to_owned()).collect();
    let mut preview =
        Preview { playbook_id: playbook_id.to_owned(), not_due: not_due(playbook, threat), missing, steps: Vec::new() };
    if preview.missing.is_empty() {
        preview.steps = steps(playbook, threat, policy);
    }
    Some(preview)
}

fn not_due(playbook: &Playbook, threat: &Threat) -> Vec<String> {
    let mut reasons = Vec::new();
    if !playbook.condition.holds(threat) {
        reasons.push(format!("the condition `{}` does not hold", playbook.condition_text));
    }
    if threat.severity < playbook.severity {
        reasons.push(format!("its severity is {}, and {} is needed", threat.severity, playbook.severity));
    }
    if threat.confidence < playbook.confidence {
        let (is, needed) = (threat.confidence.percent(), playbook.confidence.percent());
        reasons.push(format!("its confidence is {is} %, and {needed} % are needed"));
    }
    reasons
}

fn steps(playbook: &Playbook, threat: &Threat, policy: &Policy) -> Vec<PreviewStep> {
    let run_id = RunId::derive("preview");
    let plan = plan::plan(threat.updated_at, playbook, threat, run_id, policy);
    let mut steps: Vec<PreviewStep> = Vec::new();
    for ((step, note), action) in plan.run.steps.into_iter().zip(plan.notes).zip(&playbook.actions) {
        let before = |id: &String| steps.iter().find(|other| other.step.action_id == *id);
        let round = step.depends_on.iter().filter_map(before).map(|other| other.round).max().unwrap_or(0) + 1;
        let lost = |other: &&PreviewStep| other.refused.is_some() && other.on_failure != "continue";
        let without = step.depends_on.iter().filter_map(before).find(lost);
        let without = without.map(|other| format!("`{}`, which it waits for, would not be done", other.step.action_id));
        let refused = plan::forbidden(policy, &[], &step, &note).or(without);
        let asks = note.ask.map(|ask| PreviewQuestion {
            prompt: ask.prompt,
            timeout_s: ask.timeout_s,
            on_timeout: ask.on_timeout,
        });
        steps.push(PreviewStep {
            step,
            round,
            risk: action.verb.declares().risk,
            asks,
            refused,
            on_failure: word(action.on_failure),
            success_criteria: action.success_criteria.clone(),
            timeout_s: action.timeout_s,
            retries: action.retries,
        });
    }
    steps
}

const fn word(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Stop => "stop",
        OnFailure::Continue => "continue",
        OnFailure::Rollback => "rollback",
    }
}

/// An action of a playbook as a node of its graph.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Node {
    /// Which action.
    pub action_id: String,
    /// What it does.
    pub action_type: &'static str,
    /// How much harm it can do.
    pub risk: Risk,
    /// Whether a person is asked first.
    pub asks: bool,
    /// Whether anything undoes it.
    pub reversible: bool,
    /// What it waits for.
    pub depends_on: Vec<String>,
    /// What becomes of what waits for it if it does not come about: `stop`, `continue`, `rollback`.
    pub on_failure: &'static str,
}

/// The actions of a playbook and what they wait for, each after those.
#[must_use]
pub fn graph(playbook: &Playbook) -> Vec<Node> {
    let node = |action: &Action| Node {
        action_id: action.id.clone(),
        action_type: action.verb.as_str(),
        risk: action.verb.declares().risk,
        asks: action.checkpoint.is_some(),
        reversible: action.inverse.is_some(),
        depends_on: action.depends_on.clone(),
        on_failure: word(action.on_failure),
    };
    playbook.actions.iter().map(node).collect()
}

/// Whom the steps of a preview would touch, each once.
#[must_use]
pub fn touched(preview: &Preview) -> Vec<&Entity> {
    let mut found: Vec<&Entity> = Vec::new();
    for entity in preview.steps.iter().flat_map(|step| &step.step.touches) {
        if !found.contains(&entity) {
            found.push(entity);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContentFile;

    fn shown(threat_text: &str, text: Option<&str>) -> Preview {
        let brute_force = include_str!("../../../../content/playbooks/brute_force_response.yml");
        let (path, text_of) = text.map_or(("brute_force_response.yml", brute_force), |text| ("p.yml", text));
        let mut refused = Vec::new();
        let file = ContentFile { path: path.into(), text: text_of.into() };
        let playbooks = Playbooks::compile(&[&file], &mut refused);
        assert_eq!(refused, []);
        let id = if text.is_some() { "p" } else { "brute_force_response" };
        assert_eq!(preview(&playbooks, "none", &threat(threat_text).unwrap(), &Policy::default()), None);
        preview(&playbooks, id, &threat(threat_text).unwrap(), &Policy::default()).unwrap()
    }

    #[test]
    fn what_would_be_done_is_told_in_rounds_and_with_its_questions() {
        let p = shown("brute_force_detected high 0.9 ip=203.0.113.9 detections=40", None);
        assert_eq!((p.not_due.len(), p.missing.len()), (0, 0));
        let told: Vec<_> = p.steps.iter().map(|s| (s.step.action_id.as_str(), s.round, s.asks.is_some())).collect();
        assert_eq!(
            told,
            [("rate_limit", 1, false), ("tell", 1, false), ("deploy_honeypot", 2, true), ("block", 2, true)]
        );
        let block = &p.steps[3];
        assert_eq!((block.step.lease_s, block.risk, block.refused.clone()), (Some(86_400), Risk::Medium, None));
        assert!(block.asks.as_ref().unwrap().prompt.starts_with("Block 203.0.113.9 for a day?"));
        assert_eq!(touched(&p).len(), 1);
    }

    #[test]
    fn what_stands_against_it_is_told_and_what_waits_for_that_too() {
        let p = shown("port_scan_detected low 0.5 ip=127.0.0.1", None);
        assert_eq!(p.not_due.len(), 3, "{:?}", p.not_due);
        let refused: Vec<_> = p.steps.iter().map(|s| s.refused.as_deref().unwrap_or_default()).collect();
        assert!(refused[0].contains("never touched") && refused[1].is_empty() && refused[3].contains("never touched"));
        assert_eq!(shown("brute_force_detected high 0.9 user=ana", None).missing, ["source_ip"]);
        let text = "name: n\nversion: '1'\ntrigger: {condition: x}\ncontext_requirements: [source_ip]\nactions:\n\
            \x20 - {id: a, type: traffic_capture, parameters: {target_ip: '${source_ip}', duration: 1m}, on_failure: ROUTE}\n\
            \x20 - {id: b, type: notification, depends_on: [a], parameters: {channel: slack, message: m}}\n";
        for (route, lost) in [("stop", true), ("continue", false)] {
            let p = shown("x high 0.9 ip=127.0.0.1", Some(&text.replace("ROUTE", route)));
            assert_eq!((p.steps[1].refused.is_some(), p.steps[1].round), (lost, 2), "{route}");
        }
        let mut refused = Vec::new();
        let file = ContentFile { path: "p.yml".into(), text: text.replace("ROUTE", "rollback") };
        let playbooks = Playbooks::compile(&[&file], &mut refused);
        let nodes = graph(playbooks.get("p").unwrap());
        let told: Vec<_> =
            nodes.iter().map(|n| (n.action_id.as_str(), n.depends_on.len(), n.on_failure, n.asks)).collect();
        assert_eq!(told, [("a", 0, "rollback", false), ("b", 1, "stop", false)]);
        assert!(threat("x high").unwrap_err().contains("lacks its confidence"));
    }
}
