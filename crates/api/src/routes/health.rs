//! How the process is: for supervisors, for Prometheus, for whoever looks at `/`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::extract::{NoParams, Query};
use crate::problem::{Kind, Problem};
use crate::read::{Shared, json, raw};
use crate::{limits, openapi};

/// That the process lives.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: &'static str,
    /// The version of the program.
    version: &'static str,
}

/// Whether work is done.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Ready {
    /// Always true; when it is not, the answer is a problem with `reasons`.
    ready: bool,
    /// How many positions of the log the engine has yet to judge.
    lag: u64,
}

/// Where to go from here.
#[utoipa::path(get, path = "/", operation_id = "get_links", tag = "process", responses((status = OK, description = "Links")))]
pub(crate) async fn root(api: Shared, _: Query<NoParams>) -> Response {
    let links = serde_json::json!({
        "name": "vertice",
        "version": api.api.version,
        "openapi": "/api/v1/openapi.json",
        "status": "/api/v1/status",
        "detections": "/api/v1/defense/detections",
        "threats": "/api/v1/defense/threats/active",
        "health": "/health",
        "metrics": "/metrics",
    });
    raw(links.to_string())
}

/// Whether the process lives. Needs no key.
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "process", responses((status = OK, body = Health)))]
pub(crate) async fn health(api: Shared, _: Query<NoParams>) -> Response {
    json(StatusCode::OK, &Health { status: "ok", version: api.api.version })
}

/// Whether events are accepted and judged.
#[utoipa::path(get, path = "/ready", operation_id = "get_readiness", tag = "process", responses(
    (status = OK, body = Ready),
    (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
        description = "With `reasons`"),
))]
pub(crate) async fn ready(api: Shared, _: Query<NoParams>) -> Response {
    let store = &api.api.store;
    let lag = store.log_end().0.saturating_sub(store.judged_to().0);
    let mut reasons = Vec::new();
    if let Some(stopped) = &*store.failed().borrow() {
        reasons.push(stopped.to_string());
    }
    if api.disk_was_full() {
        reasons.push("the disk is full; events are refused until there is space".to_owned());
    }
    reasons.extend(store.waits());
    if lag > limits::READY_LAG_MAX {
        reasons.push(format!("the engine is {lag} events behind"));
    }
    if api.api.stop.is_cancelled() {
        reasons.push("the process is stopping".to_owned());
    }
    if reasons.is_empty() {
        return json(StatusCode::OK, &Ready { ready: true, lag });
    }
    Problem::new(Kind::Unavailable, reasons.join("; ")).with("reasons", reasons).into_response()
}

/// Metrics, in the OpenMetrics text form.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "process", responses(
    (status = OK, body = String, content_type = "application/openmetrics-text")
))]
pub(crate) async fn metrics(api: Shared, _: Query<NoParams>) -> Response {
    let mut response = api.api.metrics.text().into_response();
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "get_openapi", tag = "process", responses((status = OK, description = "OpenAPI 3.1")))]
pub(crate) async fn document(_: Query<NoParams>) -> Response {
    raw(openapi())
}
