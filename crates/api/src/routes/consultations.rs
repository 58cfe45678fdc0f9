//! What language models were asked, and what became of it.

use axum::extract::Path;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vertice_model::Consultation;
use vertice_store::RecordKind;

use super::responses::{page, word};
use crate::extract::{NoParams, Query};
use crate::problem::Problem;
use crate::read::{Order, Page, Part, Shared, raw};

/// What may become of a consultation.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AskedName {
    /// It waits for an answer.
    Asked,
    /// Its answer was taken.
    Answered,
    /// Its answer was not taken.
    Refused,
    /// Its answer shows that it was the logs that gave it.
    Hijacked,
    /// No model was asked.
    Skipped,
    /// No answer came in time.
    Expired,
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
    /// In this state.
    state: Option<AskedName>,
    /// About this threat, by its id or the beginning of it.
    threat: Option<String>,
}

/// Consultations of language models. What a model says is shown and changes nothing but a threat's attention.
#[utoipa::path(get, path = "/api/v1/defense/consultations", operation_id = "list_consultations", tag = "defense", params(Params), responses(
    (status = OK, body = Page<Consultation>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(api: Shared, Query(p): Query<Params>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    page(&api, RecordKind::Consultation, p.state.map(|s| word(&s)), p.threat, None, &part).await
}

/// One consultation, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/defense/consultations/{id}", operation_id = "get_consultation", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Consultation),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(raw(api.find(RecordKind::Consultation, &id).await?.json))
}
