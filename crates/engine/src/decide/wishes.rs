//! What people want of responses, why it may not come about, and what changed when it did.

use serde::Serialize;
use vertice_model::{
    Containment, ContainmentId, Order, Principal, Question, QuestionId, QuestionState, Run, RunId, Timestamp,
};

use super::approved::Approved;
use super::policy::Policy;
use crate::limits;

/// A record that changed, as it now stands.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A run.
    Run(Run),
    /// A question. One that is `waiting` was just asked.
    Question(Question),
    /// A containment.
    Containment(Containment),
    /// Something is to be done in the world.
    Act(Approved<Order>),
}

/// A person's answer to a question.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Which.
    pub question: QuestionId,
    /// Yes or no.
    pub approve: bool,
    /// The digest of the plan that they saw.
    pub plan_digest: &'a str,
    /// Who.
    pub by: &'a Principal,
}

/// An answer that changed nothing, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum AnswerError {
    /// There is no such question, or it ended so long ago that it is only in the records.
    #[error("no question {question} waits for an answer")]
    Unknown {
        /// Which was answered.
        question: QuestionId,
    },
    /// Somebody was faster, or it no longer matters.
    #[error("question {question} is no longer open: {how}")]
    Closed {
        /// Which was answered.
        question: QuestionId,
        /// How it ended.
        how: String,
    },
    /// It came too late, even if nothing has happened since.
    #[error("question {question} could be answered until {until}")]
    Late {
        /// Which was answered.
        question: QuestionId,
        /// When it ended.
        until: Timestamp,
    },
    /// They may not answer it.
    #[error("{by} may not answer question {question}: {why}")]
    NotYours {
        /// Which was answered.
        question: QuestionId,
        /// Who answered.
        by: Principal,
        /// Why.
        why: String,
    },
    /// The answer is to another plan than the one that would be carried out.
    #[error("question {question} is about the plan {plan_digest}, not the one that was answered")]
    OtherPlan {
        /// Which was answered.
        question: QuestionId,
        /// The plan it is about.
        plan_digest: String,
    },
}

/// A containment that could not be released, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ReleaseError {
    /// There is none, or it ended so long ago that it is only in the records.
    #[error("there is no containment {containment}")]
    Unknown {
        /// Which was meant.
        containment: ContainmentId,
    },
    /// It ended before.
    #[error("containment {containment} holds nobody any more: {how}")]
    Ended {
        /// Which was meant.
        containment: ContainmentId,
        /// How it ended.
        how: String,
    },
}

/// A playbook that a person starts.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Which.
    pub playbook: &'a str,
    /// Who.
    pub by: &'a Principal,
}

/// A run that a person wanted and that did not begin, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum StartError {
    /// There is no such playbook.
    #[error("there is no playbook `{playbook}`")]
    Unknown {
        /// Which was meant.
        playbook: String,
    },
    /// It runs for that threat already.
    #[error("`{playbook}` runs for this threat already, as run {run}")]
    Runs {
        /// Which was meant.
        playbook: String,
        /// Its run.
        run: RunId,
    },
    /// Too many runs are alive.
    #[error("{} runs are alive already", limits::RUNS_ALIVE_MAX)]
    TooMany,
}

/// Why this person's answer to a question does not count; `None` if it does.
#[must_use]
pub fn not_theirs(question: &Question, by: &Principal, approve: bool, policy: &Policy) -> Option<String> {
    let name = |who: &Principal| who.0.strip_suffix(" (link)").unwrap_or(&who.0).to_owned();
    if !policy.may_answer(&by.0, question.urgent) {
        return Some("the configuration does not name them as an approver".to_owned());
    }
    if approve && question.requested_by.as_ref().is_some_and(|asked| name(asked) == name(by)) {
        return Some("whoever starts a run does not approve it".to_owned());
    }
    if approve && question.approvals.iter().any(|(who, _)| name(who) == name(by)) {
        return Some(format!("they said yes already, and {} different people must", question.approvals_needed));
    }
    None
}

pub(super) fn how_it_ended(question: &Question) -> String {
    let by = question.answered.as_ref().map_or(String::new(), |(by, at)| format!(" by {by} at {at}"));
    match question.state {
        QuestionState::Pending => "it waits".to_owned(),
        QuestionState::Approved => format!("approved{by}"),
        QuestionState::Denied => format!("denied{by}"),
        QuestionState::Expired => format!("nobody answered until {}", question.expires_at),
        QuestionState::Superseded => "another question took its place".to_owned(),
        QuestionState::Cancelled => "it was cancelled".to_owned(),
    }
}
