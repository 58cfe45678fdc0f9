//! What people decide: answers, verdicts, releases.
//!
//! A decision becomes an input of the log like an event does, and the engine alone judges it. The
//! handler waits for that and tells how things stand then. What can not take any more is refused
//! beforehand, so that the log is not filled with it; between that look and the engine somebody else
//! may have been faster, and then the answer says who.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use vertice_engine::Input;
use vertice_engine::decide::{Policy, not_theirs};
use vertice_model::{
    Containment, ContainmentState, Principal, Question, QuestionState, Run, StepState, Threat, ThreatState, Timestamp,
    VerdictKind,
};
use vertice_store::RecordKind;

use crate::extract::{Json, NoParams, Query};
use crate::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::read::{Shared, json};
use crate::{Inner, limits};

/// A person's answer to a question.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// Yes or no.
    pub(crate) approve: bool,
    /// The `plan_digest` of the question that the person saw; an answer to another plan is void.
    pub(crate) plan_digest: String,
}

/// A person's judgement of a threat.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judgement {
    /// What it is.
    verdict: VerdictKind,
    /// Why; at most 4,096 characters.
    #[serde(default)]
    #[schema(max_length = 4_096)]
    note: String,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReleaseParams {
    /// Why; at most 4,096 characters.
    reason: Option<String>,
}

pub(super) fn conflict(detail: String) -> Problem {
    Problem::new(Kind::Conflict, detail)
}

/// 200 once it is judged; 202 when the engine is so far behind that it has yet to be.
pub(super) fn status(judged: bool) -> StatusCode {
    if judged { StatusCode::OK } else { StatusCode::ACCEPTED }
}

pub(super) fn fits(what: &str, text: &str) -> Result<(), Problem> {
    let max = limits::NOTE_CHARS_MAX;
    if text.chars().count() <= max {
        return Ok(());
    }
    Err(Problem::new(Kind::Unprocessable, format!("{what} has more than {max} characters")))
}

/// Answers a question.
#[utoipa::path(post, path = "/api/v1/defense/approvals/{id}", operation_id = "answer_approval", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    request_body = Answer,
    responses(
        (status = OK, body = Question, description = "As it stands now"),
        (status = ACCEPTED, body = Question, description = "Durable, and yet to be judged"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it did not take"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn answer(
    api: Shared,
    Caller(by): Caller,
    Path(id): Path<String>,
    _: Query<NoParams>,
    Json(answer): Json<Answer>,
) -> Result<Response, Problem> {
    let question: Question = api.get(RecordKind::Question, &id).await?;
    let (judged, question) = give(&api, &question, &answer, by).await?;
    Ok(json(status(judged), &question))
}

/// Gives an answer to a question, and waits for what becomes of it. Returns whether it is judged, and the question.
pub(crate) async fn give(
    api: &Inner,
    question: &Question,
    answer: &Answer,
    by: Principal,
) -> Result<(bool, Question), Problem> {
    if let Some(why) = void(question, answer, (api.api.clock)()) {
        return Err(conflict(why));
    }
    let id = question.question_id;
    let Answer { approve, plan_digest } = answer;
    let input = Input::Answer { question: id, approve: *approve, plan_digest: plan_digest.clone(), by: by.clone() };
    let (at, judged) = api.decide(input).await?;
    let question: Question = api.get(RecordKind::Question, &id.to_string()).await?;
    if judged && !took(&question, *approve, &by, at) {
        let policy = &api.api.content.borrow().policy;
        let why = void(&question, answer, at).or_else(|| not_yours(&question, &by, *approve, policy));
        return Err(conflict(why.unwrap_or_else(|| "the engine did not accept it".to_owned())));
    }
    if judged {
        api.api.metrics.approval(*approve);
    }
    Ok((judged, question))
}

/// Why an answer to a question has no effect, if it has none.
pub(crate) fn void(question: &Question, answer: &Answer, now: Timestamp) -> Option<String> {
    let state = match question.state {
        QuestionState::Pending if question.plan_digest != answer.plan_digest => {
            return Some(format!(
                "the answer is to another plan ({:?}) than the one that is asked about ({:?}); look at it again",
                answer.plan_digest.chars().take(64).collect::<String>(),
                question.plan_digest
            ));
        }
        QuestionState::Pending if question.expires_at <= now => {
            return Some(format!("the question expired at {}", question.expires_at));
        }
        QuestionState::Pending => return None,
        QuestionState::Approved => "approved",
        QuestionState::Denied => "denied",
        QuestionState::Expired => return Some(format!("nobody answered until {}", question.expires_at)),
        QuestionState::Superseded => return Some("another question took its place".to_owned()),
        QuestionState::Cancelled => {
            return Some("the question was cancelled: its threat was judged, or its run was taken back".to_owned());
        }
    };
    let by = question.answered.as_ref().map(|(by, at)| format!(" by {by} at {at}")).unwrap_or_default();
    Some(format!("the question was already {state}{by}"))
}

/// Why an answer of this person has no effect on a question that waits for others.
fn not_yours(question: &Question, by: &Principal, approve: bool, policy: &Policy) -> Option<String> {
    not_theirs(question, by, approve, policy).map(|why| format!("{by} may not answer this question: {why}"))
}

fn took(question: &Question, approve: bool, by: &Principal, at: Timestamp) -> bool {
    // The first of several yeses closes nothing, and is taken all the same.
    if approve && question.approvals.iter().any(|(who, when)| who == by && *when == at) {
        return true;
    }
    let wanted = if approve { QuestionState::Approved } else { QuestionState::Denied };
    let ours = question.answered.as_ref().is_some_and(|(who, when)| who == by && *when == at);
    question.state == wanted && ours
}

/// Judges a threat. All but `confirmed` closes it and takes back what was done about it.
#[utoipa::path(post, path = "/api/v1/defense/threats/{id}/verdict", operation_id = "judge_threat", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    request_body = Judgement,
    responses(
        (status = OK, body = Threat, description = "As it stands now"),
        (status = ACCEPTED, body = Threat, description = "Durable, and yet to be judged"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it did not take"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn verdict(
    api: Shared,
    Caller(by): Caller,
    Path(id): Path<String>,
    _: Query<NoParams>,
    Json(judgement): Json<Judgement>,
) -> Result<Response, Problem> {
    fits("the note", &judgement.note)?;
    let threat: Threat = api.get(RecordKind::Threat, &id).await?;
    if let ThreatState::Merged { into, at } = threat.state {
        return Err(conflict(format!("the threat was merged into {into} at {at}; judge that one"))
            .with("merged_into", into.to_string()));
    }
    let (id, Judgement { verdict, note }) = (threat.threat_id, judgement);
    let (at, judged) = api.decide(Input::Verdict { threat: id, verdict, note, by: by.clone() }).await?;
    let threat: Threat = api.get(RecordKind::Threat, &id.to_string()).await?;
    let took = threat.verdict.as_ref().is_some_and(|v| v.verdict == verdict && v.by == by && v.at == at);
    if judged && !took {
        return Err(conflict(no_verdict(&threat)));
    }
    Ok(json(status(judged), &threat))
}

fn no_verdict(threat: &Threat) -> String {
    match (&threat.state, &threat.verdict) {
        (ThreatState::Merged { into, at }, _) => format!("the threat was merged into {into} at {at}; judge that one"),
        (ThreatState::Judged { .. }, Some(v)) => format!("the threat was already judged by {} at {}", v.by, v.at),
        (ThreatState::Quiet { at }, _) => format!("the threat was closed at {at} and is no longer held"),
        (ThreatState::Judged { at }, None) => format!("the threat was closed at {at}"),
        (ThreatState::Open, _) => "the engine did not accept it".to_owned(),
    }
}

/// Takes a containment back.
#[utoipa::path(delete, path = "/api/v1/defense/containments/{id}", operation_id = "release_containment", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    params(
        ("id" = String, Path, description = "The id, or at least four characters of its beginning"),
        ReleaseParams,
    ),
    responses(
        (status = OK, body = Containment, description = "As it stands now"),
        (status = ACCEPTED, body = Containment, description = "Durable, and yet to be judged"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it did not take"),
    ))]
pub(crate) async fn release(
    api: Shared,
    Caller(by): Caller,
    Path(id): Path<String>,
    Query(params): Query<ReleaseParams>,
) -> Result<Response, Problem> {
    let reason = params.reason.unwrap_or_default();
    fits("the reason", &reason)?;
    let containment: Containment = api.get(RecordKind::Containment, &id).await?;
    if let Some(why) = gone(&containment) {
        return Err(conflict(why));
    }
    let id = containment.containment_id;
    let input = Input::Release { containment: id, reason, by: by.clone() };
    let (_, judged) = api.decide(input).await?;
    let containment: Containment = api.get(RecordKind::Containment, &id.to_string()).await?;
    let took = match &containment.state {
        ContainmentState::Releasing { by: who, .. } | ContainmentState::Released { by: who, .. } => *who == by,
        ContainmentState::Active | ContainmentState::Expired => false,
    };
    if judged && !took {
        return Err(conflict(gone(&containment).unwrap_or_else(|| "the engine did not accept it".to_owned())));
    }
    Ok(json(status(judged), &containment))
}

/// What a person saw of a step whose outcome nobody could tell.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sight {
    /// The action whose outcome is `unknown`.
    action_id: String,
    /// Whether it happened.
    happened: bool,
}

/// Says whether an action of unknown outcome happened. It is never repeated by itself.
#[utoipa::path(post, path = "/api/v1/defense/responses/{id}/resolve", operation_id = "resolve_response", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    params(("id" = String, Path, description = "The run's id, or at least four characters of its beginning")),
    request_body = Sight,
    responses(
        (status = OK, body = Run, description = "As it stands now"),
        (status = ACCEPTED, body = Run, description = "Durable, and yet to be judged"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it did not take"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn resolve(
    api: Shared,
    Caller(by): Caller,
    Path(id): Path<String>,
    _: Query<NoParams>,
    Json(Sight { action_id, happened }): Json<Sight>,
) -> Result<Response, Problem> {
    let run: Run = api.get(RecordKind::Run, &id).await?;
    let Some(step) = run.steps.iter().find(|step| step.action_id == action_id) else {
        let actions: Vec<&str> = run.steps.iter().map(|step| step.action_id.as_str()).collect();
        let actions = actions.join(", ");
        return Err(Problem::new(
            Kind::Unprocessable,
            format!("the run has no action {action_id:?}; it has {actions}"),
        ));
    };
    let StepState::Unknown { order_id, .. } = step.state else {
        return Err(conflict(format!("what became of {action_id} is known")));
    };
    let (_, judged) = api.decide(Input::Resolve { order: order_id, happened, by }).await?;
    let run: Run = api.get(RecordKind::Run, &run.run_id.to_string()).await?;
    Ok(json(status(judged), &run))
}

/// Why a containment can not be taken back, if it can not.
fn gone(containment: &Containment) -> Option<String> {
    match &containment.state {
        ContainmentState::Active => None,
        ContainmentState::Releasing { by, reason, .. } => {
            Some(format!("it is being released already, by {by}: {reason:?}"))
        }
        ContainmentState::Expired => Some(format!("its lease ran out at {}", containment.lease_until)),
        ContainmentState::Released { by, reason } => Some(format!("it was already released by {by}: {reason:?}")),
    }
}
