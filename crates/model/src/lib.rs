//! The vocabulary of Vertice: one word per thing, with its invariants.
//!
//! | word | what it is |
//! |---|---|
//! | raw event | bytes a sensor wrote, as they were accepted, with where they came from |
//! | event | a raw event read by its mapping: a time, an entity, log sources, named fields |
//! | hit | a rule, indicator or model matched an event |
//! | detection | a judged hit, with severity, confidence and ATT&CK techniques |
//! | threat | the detections of one actor or entity over time: the case |
//! | playbook | what to do about a class of threat, written down beforehand |
//! | run | one playbook planned for one threat: its steps and what became of each |
//! | action | one step's change to the world; it has an inverse and a lease |
//! | question | what a person is asked before an action; the answer is an approval or a denial |
//! | containment | an action's lasting effect on an entity, with a lease and a stage |
//! | order | one thing to be done in the world for an action: apply it, or undo it |
//! | receipt | what the world answered to an order |
//! | verdict | a person's judgement of a threat |
//! | indicator | something known to be bad: an address, a domain, a hash |
//! | decoy, session | a deceptive host, and one visit to it |
//! | consultation, opinion | a question to a language model, and its answer |
//! | suppression | a person's decision that detections of a rule open no threat for a while |
//!
//! Nothing here does I/O or reads a clock.

mod action;
mod attack;
mod detection;
mod entity;
mod event;
mod grade;
mod ids;
pub mod limits;
mod opinion;
mod response;
mod routed;
mod threat;
mod time;

pub use action::{
    Action, CollectForensics, Direction, FirewallRule, FirewallVerdict, HoneypotDeployment, HttpRequest, KillProcess,
    Notification, Order, Outcome, Protocol, Quarantine, Receipt, RemoteCommand, RevokeCredentials, SessionTermination,
    Task, TrafficCapture, TrafficShaping, ZoneIsolation,
};
pub use attack::{Tactic, Technique, TechniqueError};
pub use detection::{Detection, Matched};
pub use entity::{Entity, EntityKind};
pub use event::{Event, Fields, LogSource, RawEvent, Refusal, Value};
pub use grade::{Confidence, Severity, UnknownSeverity};
pub use ids::{
    ConsultationId, ContainmentId, DetectionId, EffectId, EventId, Id, OrderId, Position, QuestionId, RunId,
    SuppressionId, ThreatId,
};
pub use opinion::{
    AskReason, Assessment, Consultation, ConsultationState, Context, Evidence, LeftOut, Moment, Opinion, Posterior,
    Raised, Reply, Scope, Sentence, Similar, Suppression, SuppressionState, SuppressionWish, Triage, Usage,
};
pub use response::{
    Containment, ContainmentState, Hold, OnTimeout, Question, QuestionState, Run, RunState, Stage, Step, StepState,
};
pub use routed::{Place, Routed};
pub use threat::{Principal, RuleSeen, TechniqueSeen, Threat, ThreatState, Verdict, VerdictKind};
pub use time::{Timestamp, TimestampError};
