//! Playbooks that people start.
//!
//! As with every decision, it becomes an input of the log, and the engine alone says what comes of it. Who starts a
//! playbook can not approve what it asks. A second request while the first run waits is refused and names that run,
//! so that a request that is sent again starts nothing twice.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vertice_engine::Input;
use vertice_model::{Run, RunState, Threat, ThreatId, ThreatState};
use vertice_store::{Filter, RecordKind};

use super::responses::word;
use crate::extract::{Json, NoParams, Query};
use crate::guard::Caller;
use crate::limits;
use crate::problem::{Kind, Problem};
use crate::read::{Shared, json, parse};

/// For which threat a playbook is started.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// The threat's id, or at least four characters of its beginning.
    threat_id: String,
}

/// What came of starting a playbook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Started {
    /// Which.
    playbook_id: String,
    /// For which threat.
    threat_id: ThreatId,
    /// Its run as it stands now; `null` as long as the start has yet to be judged.
    run: Option<Run>,
}

/// Starts a playbook for a threat, whether it is due or not.
#[utoipa::path(post, path = "/api/v1/defense/playbooks/{id}/run", operation_id = "run_playbook", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    params(("id" = String, Path, description = "The playbook's id: its file name without the ending")),
    request_body = Start,
    responses(
        (status = OK, body = Started, description = "Judged; its run may be waiting for answers, or be refused"),
        (status = ACCEPTED, body = Started, description = "Durable, and yet to be judged"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "No such playbook, or no such threat"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it was not started"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn run(
    api: Shared,
    Caller(by): Caller,
    Path(id): Path<String>,
    _: Query<NoParams>,
    Json(start): Json<Start>,
) -> Result<Response, Problem> {
    let content = api.api.content.borrow().clone();
    if content.playbooks.get(&id).is_none() {
        return Err(super::content::no_playbook(&content));
    }
    let threat: Threat = api.get(RecordKind::Threat, &start.threat_id).await?;
    if let Some(problem) = closed(&threat) {
        return Err(problem);
    }
    let threat_id = threat.threat_id;
    let waits = |run: &Run| run.state == RunState::Waiting;
    if let Some(run) = latest(&api, &id, threat_id, Some(word(&RunState::Waiting))).await?.filter(waits) {
        let detail = format!("the playbook already runs for this threat and waits: run {}", run.run_id);
        return Err(Problem::new(Kind::Conflict, detail).with("run_id", run.run_id.to_string()));
    }
    let (at, judged) = api.decide(Input::Start { playbook: id.clone(), threat: threat_id, by }).await?;
    if !judged {
        return Ok(json(StatusCode::ACCEPTED, &Started { playbook_id: id, threat_id, run: None }));
    }
    match latest(&api, &id, threat_id, None).await? {
        Some(run) if run.planned_at >= at => {
            Ok(json(StatusCode::OK, &Started { playbook_id: id, threat_id, run: Some(run) }))
        }
        Some(_) | None => {
            let detail =
                "the engine did not start it: the threat is no longer held, or what the playbook holds still stands";
            Err(Problem::new(Kind::Conflict, detail))
        }
    }
}

/// Why nothing is done about a threat any more, if nothing is.
fn closed(threat: &Threat) -> Option<Problem> {
    let conflict = |detail: String| Problem::new(Kind::Conflict, detail);
    match &threat.state {
        ThreatState::Open | ThreatState::Quiet { .. } => None,
        ThreatState::Merged { into, at } => Some(
            conflict(format!("the threat was merged into {into} at {at}; start it for that one"))
                .with("merged_into", into.to_string()),
        ),
        ThreatState::Judged { at } => Some(conflict(format!("the threat was closed by a person at {at}"))),
    }
}

/// The run of this playbook for this threat that was planned last.
async fn latest(api: &Shared, id: &str, threat: ThreatId, state: Option<String>) -> Result<Option<Run>, Problem> {
    let filter = Filter { state, threat_id: Some(threat), ..Filter::default() };
    let page = vertice_store::Page { after: None, limit: limits::PAGE_MAX, descending: true };
    let records = api.read(move |store| store.list(RecordKind::Run, &filter, page)).await?;
    let runs = records.iter().map(parse::<Run>).collect::<Result<Vec<_>, _>>()?;
    Ok(runs.into_iter().filter(|run| run.playbook_id == id).max_by_key(|run| run.planned_at))
}
