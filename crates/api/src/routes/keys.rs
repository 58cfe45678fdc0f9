//! API keys: who may decide. How they are added and removed goes for those of bouncers too.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use vertice_model::{Principal, Timestamp};

use crate::Inner;
use crate::extract::{Json, NoParams, Query};
use crate::guard::Caller;
use crate::keyring::{Held, KeyOf};
use crate::problem::Problem;
use crate::read::{Page, Shared, json};

/// An API key, by its name.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Key {
    /// Its name, by which decisions are recorded.
    name: String,
    /// When it was added.
    created: Timestamp,
    /// Whether `VERTICE_API_KEY` set it at a start.
    from_environment: bool,
    /// Whether it is the one that asks.
    yours: bool,
}

/// Whose key is to be added.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Its name: letters, digits, `.`, `_` and `-`, 64 at most.
    #[schema(max_length = 64)]
    name: String,
}

/// A key that was added.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Added {
    /// Its name.
    name: String,
    /// The API key. It is not shown again.
    key: String,
}

/// The keys of people, by name.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "list_keys", tag = "keys",
    security(("bearer" = []), ("key" = [])),
    responses(
        (status = OK, body = Page<Key>),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(api: Shared, Caller(by): Caller, _: Query<NoParams>) -> Response {
    let key = |held: Held| {
        let (from_environment, yours) = (held.from_environment(), held.name == by.0);
        Key { name: held.name, created: held.created, from_environment, yours }
    };
    let items: Vec<Key> = api.api.access.keys.all(KeyOf::Person).into_iter().map(key).collect();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// Adds a key of somebody who may decide, and shows it once.
#[utoipa::path(post, path = "/api/v1/keys", operation_id = "add_key", tag = "keys",
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
    added(&api, KeyOf::Person, wanted, by).await
}

/// Removes a key: it is no longer one. Your own, too, if another is left.
#[utoipa::path(delete, path = "/api/v1/keys/{name}", operation_id = "remove_key", tag = "keys",
    security(("bearer" = []), ("key" = [])),
    params(("name" = String, Path, description = "The whole name")),
    responses(
        (status = NO_CONTENT, description = "It is removed"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "It is the last key that may decide"),
    ))]
pub(crate) async fn remove(
    api: Shared,
    Caller(by): Caller,
    Path(name): Path<String>,
    _: Query<NoParams>,
) -> Result<Response, Problem> {
    removed(&api, KeyOf::Person, name, by).await
}

/// Adds a key, and shows it.
pub(crate) async fn added(api: &Inner, of: KeyOf, wanted: Wanted, by: Principal) -> Result<Response, Problem> {
    let (keys, name) = (Arc::clone(&api.api.access.keys), wanted.name.clone());
    let new = api.read(move |store| keys.add(store, of, &name, &by)).await?;
    Ok(json(StatusCode::CREATED, &Added { name: wanted.name, key: new.secret }))
}

/// Removes a key, and what is known of it.
pub(crate) async fn removed(api: &Inner, of: KeyOf, name: String, by: Principal) -> Result<Response, Problem> {
    let keys = Arc::clone(&api.api.access.keys);
    let held = api.read(move |store| keys.remove(store, of, &name, &by)).await?;
    // Any key may have read decisions.
    api.places.forget(&held.key);
    Ok(StatusCode::NO_CONTENT.into_response())
}
