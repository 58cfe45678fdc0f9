//! Runs of playbooks, and the questions they ask.

use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;
use vertice_model::{Question, QuestionState, Run, RunState};
use vertice_store::{Filter, RecordKind};

use super::detections::parse_id;
use crate::extract::{NoParams, Query};
use crate::problem::Problem;
use crate::read::{Order, Page, Part, Shared, raw};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunParams {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// `asc` is the order in which they last changed; `desc` is the latest first.
    order: Option<Order>,
    /// In this state.
    state: Option<RunState>,
    /// For this threat, by its id or the beginning of it.
    threat: Option<String>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct QuestionParams {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// `asc` is the order in which they last changed; `desc` is the latest first.
    order: Option<Order>,
    /// In this state.
    state: Option<QuestionState>,
    /// About this threat, by its id or the beginning of it.
    threat: Option<String>,
}

/// Runs of playbooks.
#[utoipa::path(get, path = "/api/v1/defense/responses", operation_id = "list_responses", tag = "defense", params(RunParams), responses(
    (status = OK, body = Page<Run>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(api: Shared, Query(p): Query<RunParams>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    let state = p.state.map(|s| word(&s));
    page(&api, RecordKind::Run, state, p.threat, None, &part).await
}

/// One run, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/defense/responses/{id}", operation_id = "get_response", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Run),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(raw(api.find(RecordKind::Run, &id).await?.json))
}

/// Questions to people.
#[utoipa::path(get, path = "/api/v1/defense/approvals", operation_id = "list_approvals", tag = "defense", params(QuestionParams), responses(
    (status = OK, body = Page<Question>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn questions(api: Shared, Query(p): Query<QuestionParams>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    let state = p.state.map(|s| word(&s));
    page(&api, RecordKind::Question, state, p.threat, None, &part).await
}

/// One question, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/defense/approvals/{id}", operation_id = "get_approval", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Question),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn question(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(raw(api.find(RecordKind::Question, &id).await?.json))
}

/// The records of a kind in a state and of a threat.
pub(crate) async fn page(
    api: &Shared,
    kind: RecordKind,
    state: Option<String>,
    threat: Option<String>,
    entity: Option<String>,
    part: &Part,
) -> Result<Response, Problem> {
    part.checked()?;
    let threat_id = match threat {
        None => None,
        Some(id) => Some(parse_id(&api.find(RecordKind::Threat, &id).await?.key)?),
    };
    api.page(kind, Filter { state, threat_id, entity, ..Filter::default() }, part).await
}

/// The word for a state, as it is written in JSON and kept in the store.
pub(crate) fn word(state: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(state).expect("a state is a word");
    json.as_str().map(str::to_owned).unwrap_or_default()
}
