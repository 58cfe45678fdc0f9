//! What is entered: a pure function of an input of the log and what came of it.
//!
//! Every input that is a person's or the world's is entered, and every record of a run, a question and a containment as
//! it was published. Events, detections and threats are not: they are evidence, and the log and `vertice explain` have
//! them. The records go in as they are, so that a change of theirs needs no change here.

use std::fmt;

use serde::Serialize;
use serde_json::json;
use vertice_engine::{Content, Effect, EffectKind, Input, Record, Stamp};
use vertice_model::{
    ConsultationState, EffectId, Entity, Order, Position, Principal, Reply, Run, Suppression, SuppressionState, Task,
    ThreatId, Timestamp,
};

use super::format::ascii_json;

/// Who entered what no person did.
const ENGINE: &str = "engine";
const RESPONDER: &str = "responder";
const MODEL: &str = "model";

/// Something that is entered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where it comes from.
    pub of: Origin,
    /// When that was accepted into the log.
    pub at: Timestamp,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Who did it: a person by the name of their API key, `engine`, or `responder`.
    pub actor: String,
    /// The threat that it is about, where it says so itself.
    pub threat: Option<ThreatId>,
    /// Whom it touches, by name, where it says so itself.
    pub entities: Vec<String>,
    /// All of it, in JSON.
    pub record: String,
}

/// Where an entry comes from: an input, by its position, or one of its effects, by its id.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    pub(crate) position: Position,
    index: Option<u32>,
}

impl Origin {
    /// An input.
    #[must_use]
    pub fn input(position: Position) -> Origin {
        Origin { position, index: None }
    }

    /// An effect.
    #[must_use]
    pub fn effect(id: EffectId) -> Origin {
        Origin { position: id.position, index: Some(id.index) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}.{index}", self.position),
            None => write!(f, "{}", self.position),
        }
    }
}

/// What kind of thing an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A run as it was planned, or refused.
    Plan,
    /// What became of a run since.
    Response,
    /// A question as it stands: asked, answered, too late.
    Question,
    /// A person's answer to a question, as they gave it.
    Answer,
    /// An action was ordered.
    Act,
    /// Taking an action back was ordered.
    Undo,
    /// An order is about to be carried out.
    Intent,
    /// What became of an order, with what was observed of it.
    Outcome,
    /// A containment as it stands.
    Containment,
    /// A person takes a containment back.
    Release,
    /// A person's judgement of a threat.
    Verdict,
    /// A person starts a playbook.
    Start,
    /// What a person saw of an order that nobody could tell of, or from where operators are logged in.
    Observation,
    /// A person adds or removes an API key.
    Key,
    /// What came of asking a language model, and what of it was taken.
    Consultation,
    /// A suppression was proposed, refused, applied, removed, or ran out.
    Suppression,
    /// The content and the policy in force from here on: rules, playbooks, mode, protected set, budgets.
    Content,
    /// A signature of every entry before it.
    Checkpoint,
}

impl Kind {
    /// Its word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Plan => "plan",
            Kind::Response => "response",
            Kind::Question => "question",
            Kind::Answer => "answer",
            Kind::Act => "act",
            Kind::Undo => "undo",
            Kind::Intent => "intent",
            Kind::Outcome => "outcome",
            Kind::Containment => "containment",
            Kind::Release => "release",
            Kind::Verdict => "verdict",
            Kind::Start => "start",
            Kind::Observation => "observation",
            Kind::Key => "key",
            Kind::Consultation => "consultation",
            Kind::Suppression => "suppression",
            Kind::Content => "content",
            Kind::Checkpoint => super::format::CHECKPOINT,
        }
    }
}

/// What is entered of an input and of its effects, the input's own first.
#[must_use]
pub fn entries(stamp: Stamp, input: &Input, effects: &[Effect]) -> Vec<Entry> {
    let of_effects = effects.iter().filter_map(|effect| of_effect(stamp.now, effect));
    of_input(stamp, input).into_iter().chain(of_effects).collect()
}

fn of_input(stamp: Stamp, input: &Input) -> Option<Entry> {
    let enter = |kind, actor: &str, threat: Option<ThreatId>, record: serde_json::Value| {
        let record = ascii_json(&record);
        let of = Origin::input(stamp.position);
        Some(Entry { of, at: stamp.now, kind, actor: actor.to_owned(), threat, entities: Vec::new(), record })
    };
    match input {
        // Evidence, and the passing of time, which the log has.
        Input::Events(_) | Input::Routed(_) | Input::Tick => None,
        // A person said it to another shard, whose audit has it.
        Input::Told(_) => None,
        Input::Content(content) => enter(Kind::Content, ENGINE, None, content_record(content)),
        Input::Answer { question, approve, plan_digest, by } => {
            let record = json!({"question_id": question, "approve": approve, "plan_digest": plan_digest});
            enter(Kind::Answer, &by.0, None, record)
        }
        Input::Verdict { threat, verdict, note, by } => {
            let record = json!({"threat_id": threat, "verdict": verdict, "note": note});
            enter(Kind::Verdict, &by.0, Some(*threat), record)
        }
        Input::Release { containment, reason, by } => {
            enter(Kind::Release, &by.0, None, json!({"containment_id": containment, "reason": reason}))
        }
        Input::Start { playbook, threat, by } => {
            enter(Kind::Start, &by.0, Some(*threat), json!({"threat_id": threat, "playbook_id": playbook}))
        }
        Input::Key { name, added, by } => enter(Kind::Key, &by.0, None, json!({"name": name, "added": added})),
        Input::Begun { order } => enter(Kind::Intent, RESPONDER, None, json!({"order_id": order})),
        Input::Receipt(receipt) => enter(Kind::Outcome, RESPONDER, None, json!(receipt)),
        Input::Resolve { order, happened, by } => {
            enter(Kind::Observation, &by.0, None, json!({"order_id": order, "happened": happened}))
        }
        Input::Operators(from) => enter(Kind::Observation, RESPONDER, None, json!({"operators": from})),
        Input::Opinion { consultation, reply, model, usage } => {
            let record = json!({"consultation_id": consultation, "came": came(reply), "model": model, "usage": usage});
            enter(Kind::Consultation, MODEL, None, record)
        }
        Input::Suppress { scope, wish, by } => {
            enter(Kind::Suppression, &by.0, None, json!({"scope": scope, "wish": wish}))
        }
    }
}

/// What came of asking a model, in a word. What it said is in the record of what was taken of it.
const fn came(reply: &Reply) -> &'static str {
    match reply {
        Reply::Opinion(_) => "opinion",
        Reply::Unreadable(_) => "unreadable",
        Reply::Hijacked(_) => "hijacked",
        Reply::Skipped(_) => "skipped",
    }
}

/// The digest of all files, and the policy as it is written: whom no action may touch, and how far responses may go.
fn content_record(content: &Content) -> serde_json::Value {
    let files = content.files();
    let mut policies = files.iter().filter(|f| f.path.split(['/', ':']).next() == Some("policy"));
    let policy = policies.next_back().and_then(|f| serde_json::from_str::<serde_json::Value>(&f.text).ok());
    json!({"digest": content.digest(), "files": files.len(), "policy": policy})
}

fn of_effect(at: Timestamp, effect: &Effect) -> Option<Entry> {
    let of = Origin::effect(effect.id);
    match &effect.kind {
        EffectKind::Publish(Record::Run(run)) => {
            // A run is published again with every change.
            let kind = if run.timestamp == run.planned_at { Kind::Plan } else { Kind::Response };
            Some(by_engine(of, at, kind, run.threat_id, touched(run), run))
        }
        EffectKind::Publish(Record::Question(question)) => {
            Some(by_engine(of, at, Kind::Question, question.threat_id, Vec::new(), question))
        }
        EffectKind::Publish(Record::Containment(containment)) => {
            let entities = vec![containment.entity.name().to_owned()];
            Some(by_engine(of, at, Kind::Containment, containment.threat_id, entities, containment))
        }
        EffectKind::Publish(Record::Consultation(consultation)) => match consultation.state {
            // It is entered once it is closed.
            ConsultationState::Asked => None,
            ConsultationState::Answered
            | ConsultationState::Refused { .. }
            | ConsultationState::Hijacked { .. }
            | ConsultationState::Skipped { .. }
            | ConsultationState::Expired => {
                Some(by_engine(of, at, Kind::Consultation, consultation.threat_id, Vec::new(), consultation))
            }
        },
        EffectKind::Publish(Record::Suppression(suppression)) => suppressed(of, at, suppression),
        EffectKind::Publish(Record::Detection(_) | Record::Threat(_) | Record::Refused(_)) => None,
        // Its own record is published beside.
        EffectKind::Ask(_) | EffectKind::Consult(_) | EffectKind::Tell(_) => None,
        EffectKind::Act(yes) => Some(ordered(of, at, yes.get(), yes.by(), yes.plan_digest())),
    }
}

/// What is entered of a suppression: every change of how it stands, and not each time that it counts.
fn suppressed(of: Origin, at: Timestamp, suppression: &Suppression) -> Option<Entry> {
    if matches!(suppression.state, SuppressionState::Applied { at: applied, .. } if applied != at) {
        return None;
    }
    let entities = names(suppression.scope.on.iter());
    let record = ascii_json(suppression);
    Some(Entry { of, at, kind: Kind::Suppression, actor: ENGINE.to_owned(), threat: None, entities, record })
}

/// What is entered of an order that the engine gives: the order, who said yes to it, and to which plan.
fn ordered(of: Origin, at: Timestamp, order: &Order, by: &Principal, plan_digest: &str) -> Entry {
    #[derive(Serialize)]
    struct Given<'a> {
        #[serde(flatten)]
        order: &'a Order,
        approved_by: &'a Principal,
        plan_digest: &'a str,
    }
    let kind = match order.task {
        Task::Apply => Kind::Act,
        Task::Undo => Kind::Undo,
    };
    let entities = names(order.action.touches().iter());
    by_engine(of, at, kind, order.threat_id, entities, &Given { order, approved_by: by, plan_digest })
}

fn by_engine(
    of: Origin,
    at: Timestamp,
    kind: Kind,
    threat: ThreatId,
    entities: Vec<String>,
    record: &impl Serialize,
) -> Entry {
    Entry { of, at, kind, actor: ENGINE.to_owned(), threat: Some(threat), entities, record: ascii_json(record) }
}

fn touched(run: &Run) -> Vec<String> {
    names(run.steps.iter().flat_map(|step| &step.touches))
}

fn names<'a>(entities: impl Iterator<Item = &'a Entity>) -> Vec<String> {
    let names: std::collections::BTreeSet<&str> = entities.map(Entity::name).collect();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use vertice_model::{Action, FirewallRule, FirewallVerdict, OrderId, RunId};

    use super::*;

    #[test]
    fn an_order_is_an_act_or_its_undoing_and_says_who_approved_it() {
        let address = "203.0.113.9";
        let mut order = Order {
            order_id: OrderId::derive("o"),
            run_id: RunId::derive("r"),
            threat_id: ThreatId::derive("t"),
            action_id: "block".into(),
            containment_id: None,
            task: Task::Apply,
            action: Action::FirewallRule(FirewallRule {
                rule: FirewallVerdict::Block,
                source_ip: address.parse().ok(),
                destination_ip: None,
                port: None,
                protocol: None,
            }),
            until: None,
            success_criteria: Vec::new(),
            timeout_s: 30,
            attempt: 1,
            ordered_at: Timestamp::default(),
        };
        let of = Origin::effect(EffectId { position: Position(3), index: 2 });
        let entered = |order: &Order| ordered(of, Timestamp::default(), order, &Principal("ana".into()), "d1");
        let act = entered(&order);
        assert_eq!(
            (act.kind, act.of.to_string().as_str(), &act.entities[..]),
            (Kind::Act, "3.2", &[address.into()][..])
        );
        let record: serde_json::Value = serde_json::from_str(&act.record).unwrap();
        assert_eq!((&record["approved_by"], &record["plan_digest"]), (&json!("ana"), &json!("d1")));
        assert_eq!((&record["order_id"], &record["action"]["verb"]), (&json!(order.order_id), &json!("firewall_rule")));
        order.task = Task::Undo;
        assert_eq!(entered(&order).kind, Kind::Undo);
    }
}
