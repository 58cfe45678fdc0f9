//! Threats, as they stand.

use axum::extract::Path;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vertice_model::{Severity, Threat, Timestamp};
use vertice_store::{Filter, RecordKind};

use crate::Inner;
use crate::extract::{NoParams, Query};
use crate::problem::Problem;
use crate::read::{Order, Page, Part, Shared, raw};

/// How a threat may stand.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateName {
    /// Detections may still join it.
    Open,
    /// Closed for quiet.
    Quiet,
    /// Closed by a person's verdict.
    Judged,
    /// One with an older threat.
    Merged,
}

impl StateName {
    fn word(self) -> &'static str {
        match self {
            StateName::Open => "open",
            StateName::Quiet => "quiet",
            StateName::Judged => "judged",
            StateName::Merged => "merged",
        }
    }
}

/// By what threats are sorted.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    /// By when they last changed.
    Changed,
    /// By how urgent they are, then by when they were opened.
    Priority,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActiveParams {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// By what the list is sorted; `changed` unless given. Pages of one sort take cursors of that sort.
    sort: Option<Sort>,
    /// `asc` is the order in which they last changed, and `desc` the latest first; by priority, `desc` is the most urgent
    /// first and is what is given unless `asc` is asked for.
    order: Option<Order>,
    /// This bad or worse, or raised to it by an opinion.
    severity: Option<Severity>,
    /// About this address, host or account.
    entity: Option<String>,
    /// Last seen not before.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// By what the list is sorted; `changed` unless given. Pages of one sort take cursors of that sort.
    sort: Option<Sort>,
    /// `asc` is the order in which they last changed, and `desc` the latest first; by priority, `desc` is the most urgent
    /// first and is what is given unless `asc` is asked for.
    order: Option<Order>,
    /// In this state.
    state: Option<StateName>,
    /// This bad or worse, or raised to it by an opinion.
    severity: Option<Severity>,
    /// About this address, host or account.
    entity: Option<String>,
    /// Last seen not before.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// Threats that are open. One that changes while the list is paged moves to its end.
///
/// By priority, one moves only when its priority changes; each of the others comes once.
#[utoipa::path(get, path = "/api/v1/defense/threats/active", operation_id = "list_active_threats", tag = "defense", params(ActiveParams), responses(
    (status = OK, body = Page<Threat>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn active(api: Shared, Query(p): Query<ActiveParams>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    let state = Some(StateName::Open.word().to_owned());
    let filter = Filter { state, severity_min: p.severity, entity: p.entity, since: p.since, ..Filter::default() };
    sorted(&api, p.sort, filter, &part).await
}

/// All threats. One that changes while the list is paged moves to its end.
///
/// By priority, one moves only when its priority changes; each of the others comes once.
#[utoipa::path(get, path = "/api/v1/defense/threats", operation_id = "list_threats", tag = "defense", params(Params), responses(
    (status = OK, body = Page<Threat>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(api: Shared, Query(p): Query<Params>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    let state = p.state.map(|s| s.word().to_owned());
    let filter = Filter { state, severity_min: p.severity, entity: p.entity, since: p.since, ..Filter::default() };
    sorted(&api, p.sort, filter, &part).await
}

async fn sorted(api: &Inner, sort: Option<Sort>, filter: Filter, part: &Part) -> Result<Response, Problem> {
    match sort.unwrap_or(Sort::Changed) {
        Sort::Changed => api.page(RecordKind::Threat, filter, part).await,
        Sort::Priority => api.ranked(filter, part).await,
    }
}

/// One threat, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/defense/threats/{id}", operation_id = "get_threat", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Threat),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Several begin so"),
    ))]
pub(crate) async fn get(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(raw(api.find(RecordKind::Threat, &id).await?.json))
}
