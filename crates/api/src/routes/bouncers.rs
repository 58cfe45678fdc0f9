//! Bouncers: who may read decisions, and nothing else.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use vertice_model::Timestamp;

use crate::extract::{Json, NoParams, Query};
use crate::guard::Caller;
use crate::keys::Bouncer;
use crate::problem::{Kind, Problem};
use crate::read::{Page, Shared, json};
use crate::{NewKey, limits};

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

/// A bouncer that is to be added.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBouncer {
    /// Its name: letters, digits, `.`, `_` and `-`, 64 at most.
    #[schema(max_length = 64)]
    name: String,
}

/// A bouncer that was added.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Added {
    /// Its name.
    name: String,
    /// Its API key. It is not shown again.
    key: String,
}

/// Bouncers, by name.
#[utoipa::path(get, path = "/api/v1/bouncers", operation_id = "list_bouncers", tag = "bouncers",
    security(("bearer" = []), ("key" = [])),
    responses(
        (status = OK, body = Page<Standing>),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn list(api: Shared, _: Caller, _: Query<NoParams>) -> Response {
    let standing = |bouncer: Bouncer| {
        let seen = api.places.of(&bouncer.key);
        let (last_pull, agent) = (seen.as_ref().map(|s| s.at), seen.map(|s| s.agent));
        Standing { name: bouncer.name, created: bouncer.created, last_pull, agent }
    };
    let items: Vec<Standing> = api.api.access.bouncers().into_iter().map(standing).collect();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// Adds a bouncer, and shows its key once.
#[utoipa::path(post, path = "/api/v1/bouncers", operation_id = "add_bouncer", tag = "bouncers",
    security(("bearer" = []), ("key" = [])),
    request_body = NewBouncer,
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
    Json(new): Json<NewBouncer>,
) -> Result<Response, Problem> {
    let name = new.name;
    if !is_name(&name) {
        let max = limits::BOUNCER_NAME_CHARS_MAX;
        let detail = format!("name: a bouncer's name is letters, digits, `.`, `_` and `-`, from 1 to {max} of them");
        return Err(Problem::new(Kind::Unprocessable, detail));
    }
    let conflict = |detail: String| Err(Problem::new(Kind::Conflict, detail));
    if api.api.access.bouncers().len() >= limits::BOUNCERS_MAX {
        return conflict(format!("there are {} bouncers; remove one first", limits::BOUNCERS_MAX));
    }
    let key = NewKey::draw().map_err(|e| Problem::internal("drawing an API key", &e))?;
    let (kept_as, hash) = (Bouncer::kept_as(&name), key.hash);
    if !api.read(move |store| store.add_api_key(&kept_as, hash)).await? {
        return conflict(format!("there is a bouncer {name}; remove it first, or choose another name"));
    }
    let created = (api.api.clock)();
    api.api.access.let_in(Bouncer { name: name.clone(), key: blake3::Hash::from_bytes(hash), created });
    tracing::info!("{by} added the bouncer {name}");
    Ok(json(StatusCode::CREATED, &Added { name, key: key.secret }))
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
    let Some(bouncer) = api.api.access.bouncers().into_iter().find(|b| b.name == name) else {
        let shown: String = name.chars().take(limits::BOUNCER_NAME_CHARS_MAX).collect();
        return Err(Problem::not_found(format!("there is no bouncer {shown:?}")));
    };
    let kept_as = Bouncer::kept_as(&bouncer.name);
    api.read(move |store| store.remove_api_key(&kept_as)).await?;
    api.api.access.keep_out(&bouncer.name);
    api.places.forget(&bouncer.key);
    tracing::info!("{by} removed the bouncer {}", bouncer.name);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn is_name(name: &str) -> bool {
    let fits = (1..=limits::BOUNCER_NAME_CHARS_MAX).contains(&name.len());
    fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
