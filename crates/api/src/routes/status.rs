//! How things stand, for a person.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use vertice_model::{Position, Severity};
use vertice_store::{Filter, ReadError, RecordKind, Store};

use crate::extract::{NoParams, Query};
use crate::problem::Problem;
use crate::read::{Shared, json};
use crate::{LastReload, Source};

/// How things stand.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Status {
    /// The version of the program.
    version: &'static str,
    /// How far responses go: `observe` checks and records them, and changes nothing; `live` carries out those whose verbs are
    /// switched on.
    mode: &'static str,
    /// The last position of the log.
    log_end: Position,
    /// Up to where the log is judged.
    judged_to: Position,
    /// How many positions are yet to be judged.
    lag: u64,
    /// Digest of the content in force.
    content: String,
    /// The last time that the content was read again; `null` since the start.
    last_reload: Option<LastReload>,
    /// How many records there are.
    counts: Counts,
    /// What the store did since it was opened.
    store: StoreStatus,
    /// Where events come from.
    sources: Vec<Source>,
}

/// How many records there are.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Counts {
    /// Detections.
    detections: u64,
    /// Detections, by severity or worse.
    detections_at_least: BTreeMap<String, u64>,
    /// Threats.
    threats: u64,
    /// Threats that are open.
    threats_open: u64,
    /// Runs of playbooks.
    responses: u64,
    /// Questions that wait for an answer.
    approvals_waiting: u64,
    /// Containments that hold.
    containments_active: u64,
    /// Dead letters.
    deadletter: u64,
}

/// What the store did since it was opened.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct StoreStatus {
    /// Group commits.
    commits: u64,
    /// Log positions made durable: events and other inputs.
    positions: u64,
    /// Bytes written to the log, compressed.
    log_bytes: u64,
    /// Records projected.
    records: u64,
    /// Submissions refused because the queue was full.
    busy: u64,
    /// Group commits that failed because the disk was full.
    disk_full: u64,
    /// Why the writer stopped, if it did.
    failed: Option<String>,
}

/// How things stand.
#[utoipa::path(get, path = "/api/v1/status", operation_id = "get_status", tag = "process", responses((status = OK, body = Status)))]
pub(crate) async fn status(api: Shared, _: Query<NoParams>) -> Result<Response, Problem> {
    let counts = api.read(count).await?;
    let store = &api.api.store;
    let (log_end, judged_to) = (store.log_end(), store.judged_to());
    let stats = store.stats();
    let content = api.api.content.borrow().clone();
    let status = Status {
        version: api.api.version,
        mode: if content.policy.live.is_empty() { "observe" } else { "live" },
        log_end,
        judged_to,
        lag: log_end.0.saturating_sub(judged_to.0),
        content: content.digest().to_owned(),
        last_reload: api.api.last_reload.borrow().clone(),
        counts,
        store: StoreStatus {
            commits: stats.commits.load(Relaxed),
            positions: stats.events.load(Relaxed),
            log_bytes: stats.log_bytes.load(Relaxed),
            records: stats.records.load(Relaxed),
            busy: stats.busy.load(Relaxed),
            disk_full: stats.disk_full.load(Relaxed),
            failed: store.failed().borrow().as_ref().map(ToString::to_string),
        },
        sources: (api.api.sources)(),
    };
    Ok(json(StatusCode::OK, &status))
}

fn count(store: &Store) -> Result<Counts, ReadError> {
    let all = Filter::default();
    let in_state =
        |kind, state: &str| store.count(kind, &Filter { state: Some(state.to_owned()), ..Filter::default() });
    let mut detections_at_least = BTreeMap::new();
    for severity in Severity::ALL {
        let filter = Filter { severity_min: Some(severity), ..Filter::default() };
        detections_at_least.insert(severity.to_string(), store.count(RecordKind::Detection, &filter)?);
    }
    Ok(Counts {
        detections: store.count(RecordKind::Detection, &all)?,
        detections_at_least,
        threats: store.count(RecordKind::Threat, &all)?,
        threats_open: in_state(RecordKind::Threat, "open")?,
        responses: store.count(RecordKind::Run, &all)?,
        approvals_waiting: in_state(RecordKind::Question, "pending")?,
        containments_active: in_state(RecordKind::Containment, "active")?,
        deadletter: store.count(RecordKind::Refused, &all)?,
    })
}
