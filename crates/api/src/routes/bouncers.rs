//! Bouncers: who may read decisions, and nothing else.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use vertice_model::Timestamp;

use crate::extract::{Json, NoParams, Query};
use crate::guard::Caller;
use crate::keyring::{Held, KeyOf};
use crate::problem::Problem;
use crate::read::{Page, Shared, json};
use crate::routes::keys::{Added, Wanted, added, removed};

/// A bouncer.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Standing {
    /// Its name.
    name: String,
    /// When it was added.
    created: Timestamp,
    /// When it last asked for decisions; `null` if it did not since the start.
    last_pull: Option<Timestamp>,
    /// What it calls itself; `null` if it did not ask since the start.
    agent: Option<String>,
}

/// Bouncers, by name.
#[utoipa::path(get, path = "/api/v1/bouncers", operation_id = "list_bouncers", tag = "bouncers",
    security(("bearer" = []), ("key" = [])),
    responses(
        (status = OK, body = Page<Standing>),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(api: Shared, _: Caller, _: Query<NoParams>) -> Response {
    let standing = |bouncer: Held| {
        let seen = api.places.of(&bouncer.key);
        let (last_pull, agent) = (seen.as_ref().map(|s| s.at), seen.map(|s| s.agent));
        Standing { name: bouncer.name, created: bouncer.created, last_pull, agent }
    };
    let items: Vec<Standing> = api.api.access.keys.all(KeyOf::Bouncer).into_iter().map(standing).collect();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// Adds a bouncer, and shows its key once.
#[utoipa::path(post, path = "/api/v1/bouncers", operation_id = "add_bouncer", tag = "bouncers",
    security(("bearer" = []), ("key" = [])),
    request_body = Wanted,
    responses(
        (status = CREATED, body = Added),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "There is one of that name, or there are too many"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn add(
    api: Shared,
    Caller(by): Caller,
    _: Query<NoParams>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    added(&api, KeyOf::Bouncer, wanted, by).await
}

/// Removes a bouncer: its key is no longer one.
#[utoipa::path(delete, path = "/api/v1/bouncers/{name}", operation_id = "remove_bouncer", tag = "bouncers",
    security(("bearer" = []), ("key" = [])),
    params(("name" = String, Path, description = "The whole name")),
    responses(
        (status = NO_CONTENT, description = "It is removed"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn remove(
    api: Shared,
    Caller(by): Caller,
    Path(name): Path<String>,
    _: Query<NoParams>,
) -> Result<Response, Problem> {
    removed(&api, KeyOf::Bouncer, name, by).await
}
