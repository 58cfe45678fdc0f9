//! The routes. Each file has one part of the API; this one lists them.

mod approve;
mod bouncers;
mod consultations;
mod containments;
mod content;
mod crowdsec;
mod decisions;
mod detections;
mod events;
mod explain;
mod health;
mod intent;
mod keys;
mod playbooks;
mod responses;
mod status;
mod stream;
mod suppressions;
mod threats;

use std::sync::Arc;

use utoipa::OpenApi as _;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vertice_model::{QuestionState, RunState, Severity};

pub(crate) use self::crowdsec::agent;

use self::consultations::AskedName;
use self::containments::HoldName;
use self::suppressions::SuppressionName;
use self::threats::{Sort, StateName};
use crate::read::Order;
use crate::{Inner, Problem};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Vertice",
        description = "Events in, detections and threats out, and the decisions of people. Every error is a \
            problem document (RFC 9457, `application/problem+json`). Times are RFC 3339 in UTC. Lists are paged by \
            `cursor`: give the `next_cursor` of a page to get the next one.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Keys),
    // Those that only parameters name.
    components(schemas(Problem, Order, Severity, Sort, StateName, HoldName, RunState, QuestionState, AskedName, SuppressionName)),
    tags(
        (name = "process", description = "How the process is."),
        (name = "events", description = "What sensors saw."),
        (name = "defense", description = "What was made of it, and what people decide."),
        (name = "bouncers", description = "Who enforces containments elsewhere: decisions in the form of CrowdSec's \
            local API (errors are `{\"message\": …}` there), and the keys to read them."),
        (name = "keys", description = "Who may decide."),
        (name = "content", description = "Rules, mappings and playbooks."),
    )
)]
struct Document;

/// The two ways to present an API key.
struct Keys;

impl utoipa::Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        components.add_security_scheme("bearer", bearer);
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key")));
        components.add_security_scheme("key", header);
    }
}

/// Every route, with its place in the OpenAPI document.
pub(crate) fn all() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(of_process())
        .merge(of_events())
        .merge(of_defense())
        .merge(of_decisions())
        .merge(of_bouncers())
        .merge(of_keys())
        .merge(of_content())
}

fn of_process() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::new()
        .routes(routes!(health::root))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(health::document))
        .routes(routes!(status::status))
}

fn of_events() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::new()
        .routes(routes!(events::list, events::accept))
        .routes(routes!(events::get))
        .routes(routes!(events::deadletter))
        .routes(routes!(stream::stream))
}

fn of_defense() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::new()
        .routes(routes!(detections::list))
        .routes(routes!(detections::get))
        .routes(routes!(threats::list))
        .routes(routes!(threats::active))
        .routes(routes!(threats::get))
        .routes(routes!(explain::explain))
        .routes(routes!(intent::intent))
        .routes(routes!(consultations::list))
        .routes(routes!(consultations::get))
}

fn of_decisions() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::new()
        .routes(routes!(decisions::verdict))
        .routes(routes!(decisions::resolve))
        .routes(routes!(playbooks::run))
        .routes(routes!(responses::list))
        .routes(routes!(responses::get))
        .routes(routes!(responses::questions))
        .routes(routes!(responses::question, decisions::answer))
        .routes(routes!(containments::list))
        .routes(routes!(containments::get, decisions::release))
        .routes(routes!(approve::show, approve::answer))
        .routes(routes!(suppressions::list, suppressions::propose))
        .routes(routes!(suppressions::test))
        .routes(routes!(suppressions::get, suppressions::remove))
        .routes(routes!(suppressions::apply))
}

fn of_bouncers() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::new()
        .routes(routes!(crowdsec::news, crowdsec::news_head))
        .routes(routes!(crowdsec::held, crowdsec::held_head))
        .routes(routes!(bouncers::list, bouncers::add))
        .routes(routes!(bouncers::remove))
}

fn of_keys() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::new().routes(routes!(keys::list, keys::add)).routes(routes!(keys::remove))
}

fn of_content() -> OpenApiRouter<Arc<Inner>> {
    OpenApiRouter::new()
        .routes(routes!(content::content))
        .routes(routes!(content::reload))
        .routes(routes!(content::rules))
        .routes(routes!(content::rule))
        .routes(routes!(content::mappings))
        .routes(routes!(content::playbooks))
        .routes(routes!(content::playbook))
}
