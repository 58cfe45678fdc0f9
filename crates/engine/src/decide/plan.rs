//! A playbook and a threat make a plan: every parameter filled, every check made, and a digest of all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vertice_model::{
    Action, Entity, OnTimeout, Principal, Run, RunId, RunState, Severity, Step, StepState, Threat, Timestamp,
};

use super::context::{in_url, plain};
use super::parameters;
use super::playbook::{self, OnFailure, Playbook, RollbackOn, Setting};
use super::policy::Policy;
use super::typed;
use super::verb::{Kind, Verb};
use crate::limits;

/// A planned run: its record, and what the record does not say but its course depends on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Plan {
    pub(super) run: Run,
    /// One for each step of the run, in the same order.
    pub(super) notes: Vec<Note>,
    /// What takes it back.
    pub(super) rollback: BTreeSet<RollbackOn>,
    /// How bad the threat is, as far as is known.
    pub(super) severity: Severity,
    /// Who started the run, if a person did.
    pub(super) requested_by: Option<Principal>,
    /// How many orders were given: the number in the id of the latest.
    pub(super) given: u64,
    /// How many detections the threat had when it was last looked at, and when that number last rose.
    pub(super) detections: u64,
    pub(super) active_at: Timestamp,
    /// The steps that were done or recorded, in that order.
    pub(super) done: Vec<usize>,
    /// Whether a step was refused only because too much was going on.
    pub(super) hindered: bool,
    /// When it was over: nothing waits, and nobody is held.
    pub(super) over_at: Option<Timestamp>,
}

impl Plan {
    /// The plan as it will be carried out, with its digest. Separate, for most plans are dropped as no news.
    pub(super) fn sealed(mut self) -> Plan {
        self.run.plan_digest = digest(&self);
        self
    }

    /// The place of an action among the steps.
    pub(super) fn place(&self, action_id: &str) -> Option<usize> {
        self.run.steps.iter().position(|step| step.action_id == action_id)
    }

    /// Whom it would touch.
    pub(super) fn aim(&self) -> BTreeSet<Entity> {
        self.run.steps.iter().flat_map(|step| step.touches.iter().cloned()).collect()
    }
}

/// What a step's record does not say.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Note {
    /// What is asked before it; `None` if nobody is.
    pub(super) ask: Option<Ask>,
    pub(super) on_failure: OnFailure,
    pub(super) reversible: bool,
    pub(super) verb: Verb,
    /// Whether it was to be really carried out when it was planned. What was planned, and approved, as an observation
    /// never becomes an act.
    pub(super) live: bool,
    /// What is done; or the parameter that turned out to be none when it was filled.
    pub(super) action: Result<Action, String>,
    pub(super) success_criteria: Vec<String>,
    pub(super) timeout_s: u64,
    pub(super) retries: u64,
}

/// A question, filled.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Ask {
    pub(super) prompt: String,
    pub(super) timeout_s: u64,
    pub(super) on_timeout: OnTimeout,
}

/// Plans a playbook for a threat that tells all that it needs; to be sealed.
pub(super) fn plan(now: Timestamp, playbook: &Playbook, threat: &Threat, run_id: RunId, policy: &Policy) -> Plan {
    let (steps, notes): (Vec<_>, Vec<Note>) =
        playbook.actions.iter().map(|action| step(action, threat, policy)).unzip();
    let mut run = empty(now, playbook, threat, run_id);
    run.steps = steps;
    run.simulated = !notes.iter().any(|note| note.live);
    whole(run, notes, playbook, threat)
}

/// The record of a playbook that is due and can not be planned; to be sealed.
pub(super) fn refused(now: Timestamp, playbook: &Playbook, threat: &Threat, run_id: RunId, reason: String) -> Plan {
    let mut run = empty(now, playbook, threat, run_id);
    run.state = RunState::Refused;
    run.reason = Some(reason);
    whole(run, Vec::new(), playbook, threat)
}

fn whole(run: Run, notes: Vec<Note>, playbook: &Playbook, threat: &Threat) -> Plan {
    let rollback = playbook.rollback.clone();
    Plan {
        active_at: run.planned_at,
        run,
        notes,
        rollback,
        severity: threat.severity,
        requested_by: None,
        given: 0,
        detections: threat.detections,
        done: Vec::new(),
        hindered: false,
        over_at: None,
    }
}

fn empty(now: Timestamp, playbook: &Playbook, threat: &Threat, run_id: RunId) -> Run {
    Run {
        run_id,
        playbook_id: playbook.id.clone(),
        playbook_version: playbook.version.clone(),
        threat_id: threat.threat_id,
        plan_digest: String::new(),
        state: RunState::Waiting,
        reason: None,
        success: false,
        simulated: true,
        actions_executed: 0,
        steps: Vec::new(),
        planned_at: now,
        timestamp: now,
    }
}

fn step(action: &playbook::Action, threat: &Threat, policy: &Policy) -> (Step, Note) {
    let mut parameters = BTreeMap::new();
    let mut touches: Vec<Entity> = Vec::new();
    let mut unfit = None;
    for setting in &action.settings {
        let text = filled(setting, threat);
        if setting.kind.touches() {
            match entity(setting.kind, &text) {
                Ok(entity) if touches.contains(&entity) => {}
                Ok(entity) => touches.push(entity),
                Err(why) => unfit = Some(format!("`{}` is `{text}`, which is no target{why}", setting.name)),
            }
        }
        parameters.insert(setting.name.to_owned(), text);
    }
    let typed = typed::action(action.verb, &parameters, threat.last_seen);
    let inverse = match (&action.inverse, touches.is_empty()) {
        (Some(words), true) => words.clone(),
        (Some(words), false) => format!("{words}: {}", names(&touches)),
        (None, _) => "nothing undoes it".to_owned(),
    };
    let step = Step {
        action_id: action.id.clone(),
        action_type: action.verb.as_str().to_owned(),
        parameters,
        inverse,
        lease_s: action.lease_s,
        touches,
        depends_on: action.depends_on.clone(),
        state: StepState::Pending,
        question_id: None,
        approved_by: None,
        attempts: 0,
        criteria: BTreeMap::new(),
        note: String::new(),
    };
    let ask = action.checkpoint.as_ref().map(|checkpoint| Ask {
        prompt: cut(&checkpoint.prompt.fill(threat, plain)),
        timeout_s: checkpoint.timeout_s,
        on_timeout: checkpoint.on_timeout,
    });
    let note = Note {
        ask,
        on_failure: action.on_failure,
        reversible: action.inverse.is_some(),
        verb: action.verb,
        live: policy.live.contains(&action.verb),
        action: unfit.map_or(typed, Err),
        success_criteria: action.success_criteria.clone(),
        timeout_s: action.timeout_s,
        retries: action.retries,
    };
    (step, note)
}

fn filled(setting: &Setting, threat: &Threat) -> String {
    cut(&match setting.kind {
        Kind::Url => setting.value.fill(threat, in_url),
        Kind::Address
        | Kind::Host
        | Kind::User
        | Kind::Duration
        | Kind::Rate
        | Kind::Bandwidth
        | Kind::Size
        | Kind::Port
        | Kind::Number
        | Kind::Word(_)
        | Kind::Words(_)
        | Kind::Name
        | Kind::Path
        | Kind::Text => setting.value.fill(threat, plain),
    })
}

fn cut(text: &str) -> String {
    text.chars().take(limits::FILLED_CHARS_MAX).collect()
}

fn names(entities: &[Entity]) -> String {
    entities.iter().map(Entity::name).collect::<Vec<_>>().join(", ")
}

/// The entity that an action is told of, if it is one that it may be told of. Whether it may be touched is
/// the policy's to say.
fn entity(kind: Kind, text: &str) -> Result<Entity, String> {
    let none = || String::new();
    match kind {
        Kind::Address if text.contains('/') => Err(": no action touches a whole range".to_owned()),
        Kind::Address => Entity::ip(text).ok_or_else(none),
        Kind::Host => {
            parameters::literal(kind, text)?;
            Entity::host(text).ok_or_else(none)
        }
        _ => {
            parameters::literal(Kind::User, text)?;
            Entity::user(text).ok_or_else(none)
        }
    }
}

/// Why a step may not be carried out, whoever wants it; `None` if nothing speaks against it.
pub(super) fn forbidden(policy: &Policy, operators: &[IpAddr], step: &Step, note: &Note) -> Option<String> {
    let action = match &note.action {
        Ok(action) => action,
        Err(unfit) => return Some(unfit.clone()),
    };
    let place = action.place().and_then(Entity::host);
    let forbids = |entity: &Entity| match Some(entity) == place.as_ref() {
        true => policy.forbids_within(entity),
        false => policy.forbids(entity),
    };
    if let Some(why) = step.touches.iter().find_map(forbids) {
        return Some(why);
    }
    let operator = |entity: &&Entity| entity.name().parse().is_ok_and(|address: IpAddr| operators.contains(&address));
    if let Some(entity) = step.touches.iter().find(operator) {
        return Some(format!("address {} is protected, for an operator is logged in from it", entity.name()));
    }
    match step.lease_s {
        Some(lease_s) if lease_s > policy.lease_s_max => {
            Some(format!("its lease of {lease_s} s is longer than the {} s that are allowed", policy.lease_s_max))
        }
        Some(_) | None => None,
    }
}

/// BLAKE3 over exactly what would be done. JSON of ordered maps is canonical: one plan, one text.
fn digest(plan: &Plan) -> String {
    let run = &plan.run;
    let what = (run.run_id, &run.playbook_id, &run.playbook_version, &run.steps, &plan.notes, &plan.rollback);
    let canonical = serde_json::to_vec(&what).expect("strings, numbers and ordered maps always serialize");
    blake3::hash(&canonical).to_hex().to_string()
}
