//! What holds whom.

use axum::extract::Path;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vertice_model::Containment;
use vertice_store::RecordKind;

use super::responses::{page, word};
use crate::extract::{NoParams, Query};
use crate::problem::Problem;
use crate::read::{Order, Page, Part, Shared, raw};

/// How a containment may stand.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HoldName {
    /// It holds, or heals.
    Active,
    /// It is being taken out of the world.
    Releasing,
    /// Its lease ran out.
    Expired,
    /// It was taken back.
    Released,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Params {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// `asc` is the order in which they last changed; `desc` is the latest first.
    order: Option<Order>,
    /// `true` is short for `state=active`.
    active: Option<bool>,
    /// In this state.
    state: Option<HoldName>,
    /// About this threat, by its id or the beginning of it.
    threat: Option<String>,
    /// Holding this address, host or account.
    entity: Option<String>,
}

/// Containments. In observe mode each is `simulated`.
#[utoipa::path(get, path = "/api/v1/defense/containments", operation_id = "list_containments", tag = "defense", params(Params), responses(
    (status = OK, body = Page<Containment>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(api: Shared, Query(p): Query<Params>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    let state = match (p.active, p.state) {
        (None, state) => state,
        (Some(true), None) => Some(HoldName::Active),
        (Some(false), _) => {
            return Err(Problem::bad_request("active: only true is offered; see state=expired and state=released"));
        }
        (Some(true), Some(_)) => return Err(Problem::bad_request("give active or state, not both")),
    };
    page(&api, RecordKind::Containment, state.map(|s| word(&s)), p.threat, p.entity, &part).await
}

/// One containment, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/defense/containments/{id}", operation_id = "get_containment", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Containment),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(raw(api.find(RecordKind::Containment, &id).await?.json))
}
