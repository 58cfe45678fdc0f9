//! Detections, in log order.

use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;
use vertice_model::{Detection, Severity, ThreatId, Timestamp};
use vertice_store::{Filter, RecordKind};

use crate::extract::{NoParams, Query};
use crate::problem::Problem;
use crate::read::{Order, Page, Part, Shared, raw};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// `asc` is the order of the log; `desc` is the latest first.
    order: Option<Order>,
    /// This bad or worse.
    severity: Option<Severity>,
    /// About this address, host or account, in any role.
    entity: Option<String>,
    /// Of this rule, by its id.
    rule: Option<String>,
    /// Of this threat, by its id or the beginning of it. Detections of threats that it absorbed are theirs.
    threat: Option<String>,
    /// Not before.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// All detections. Paging through them gives each exactly once, even while new ones come.
#[utoipa::path(get, path = "/api/v1/defense/detections", operation_id = "list_detections", tag = "defense", params(Params), responses(
    (status = OK, body = Page<Detection>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
    (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "No such threat"),
))]
pub(crate) async fn list(api: Shared, Query(params): Query<Params>) -> Result<Response, Problem> {
    let part = Part { limit: params.limit, cursor: params.cursor, order: params.order };
    part.checked()?;
    let threat_id: Option<ThreatId> = match params.threat {
        None => None,
        Some(id) => Some(parse_id(&api.find(RecordKind::Threat, &id).await?.key)?),
    };
    let filter = Filter {
        severity_min: params.severity,
        entity: params.entity,
        rule_id: params.rule,
        since: params.since,
        threat_id,
        ..Filter::default()
    };
    api.page(RecordKind::Detection, filter, &part).await
}

/// One detection, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/defense/detections/{id}", operation_id = "get_detection", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Detection),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Several begin so"),
    ))]
pub(crate) async fn get(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(raw(api.find(RecordKind::Detection, &id).await?.json))
}

/// An id from the store.
pub(crate) fn parse_id<T: std::str::FromStr>(key: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    key.parse().map_err(|e: T::Err| Problem::internal("reading an id", &e))
}
