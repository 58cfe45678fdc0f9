//! Suppressions: what people decided to open no threat for a while.
//!
//! As with every decision, it becomes an input of the log, and the engine alone says what comes of it: it refuses one
//! that would ever have hidden a threat that a person confirmed, when it is proposed and again when it is applied. Of
//! many shards one decides, which knows of the verdicts in all of them, and the others do as it says.

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vertice_engine::Input;
use vertice_model::{
    Detection, Entity, Principal, Scope, Suppression, SuppressionState, SuppressionWish, Threat, ThreatId, VerdictKind,
};
use vertice_store::{Filter, FindError, ReadError, RecordKind, Store};

use super::decisions::{conflict, fits, status};
use super::responses::{page, word};
use crate::extract::{Json, NoParams, Query};
use crate::guard::Caller;
use crate::limits;
use crate::problem::{Kind, Problem};
use crate::read::{Order, Page, Part, Shared, json, parse, raw};

/// How a suppression may stand.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SuppressionName {
    /// It waits for a person.
    Proposed,
    /// It would have hidden a threat that a person confirmed.
    Refused,
    /// It is in force.
    Applied,
    /// It was taken out of force.
    Removed,
    /// Its time ran out.
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
    state: Option<SuppressionName>,
    /// On this address, host or account.
    entity: Option<String>,
}

/// What is to be suppressed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proposal {
    /// The rule's id.
    rule_id: String,
    /// On whom: an address, `host:NAME` or `user:NAME`; on anybody where it is not given.
    #[serde(default)]
    entity: Option<String>,
    /// Why; at most 4,096 characters.
    #[schema(max_length = 4_096)]
    reason: String,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TestParams {
    /// The rule's id.
    rule_id: String,
    /// On whom: an address, `host:NAME` or `user:NAME`; on anybody where it is not given.
    entity: Option<String>,
}

/// For how long a suppression is put in force.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Apply {
    /// For how many days, from 1 to 90; 30 unless given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 90)]
    days: Option<u64>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RemoveParams {
    /// Why; at most 4,096 characters.
    reason: Option<String>,
}

/// What a suppression would have covered of what was detected.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(crate) struct BackTest {
    /// Detections that it covers, of the latest 1,000 of the rule.
    detections: usize,
    /// How many detections of the rule there are in all.
    detections_of_rule: u64,
    /// The threats that they belong to; at most 200 are looked at.
    threats: usize,
    /// Of these, those that a person confirmed. The engine refuses a suppression that covers any, ever.
    confirmed: Vec<ThreatId>,
    /// Of these, those that a person called a false positive or benign.
    false_positives: usize,
    /// Of these, those that nobody judged.
    unjudged: usize,
}

/// Suppressions, with how many detections each kept from opening a threat.
#[utoipa::path(get, path = "/api/v1/defense/suppressions", operation_id = "list_suppressions", tag = "defense", params(Params), responses(
    (status = OK, body = Page<Suppression>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn list(api: Shared, Query(p): Query<Params>) -> Result<Response, Problem> {
    let part = Part { limit: p.limit, cursor: p.cursor, order: p.order };
    page(&api, RecordKind::Suppression, p.state.map(|s| word(&s)), None, p.entity, &part).await
}

/// One suppression, by its id or the beginning of it.
#[utoipa::path(get, path = "/api/v1/defense/suppressions/{id}", operation_id = "get_suppression", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Suppression),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn get(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    Ok(raw(api.find(RecordKind::Suppression, &id).await?.json))
}

/// What a suppression would have covered so far. Decides nothing.
#[utoipa::path(get, path = "/api/v1/defense/suppressions/test", operation_id = "test_suppression", tag = "defense",
    params(TestParams), responses(
        (status = OK, body = BackTest),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn test(api: Shared, Query(p): Query<TestParams>) -> Result<Response, Problem> {
    let scope = Scope { rule_id: p.rule_id, on: p.entity.as_deref().map(entity).transpose()? };
    let tested = api.read(move |store| back_test(store, &scope)).await?;
    Ok(json(StatusCode::OK, &tested))
}

/// Proposes a suppression. It is in force only once a person applies it.
#[utoipa::path(post, path = "/api/v1/defense/suppressions", operation_id = "propose_suppression", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    request_body = Proposal,
    responses(
        (status = OK, body = Suppression, description = "As it stands now; `refused` if it would have hidden a confirmed threat"),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it did not take"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn propose(
    api: Shared,
    Caller(by): Caller,
    _: Query<NoParams>,
    Json(proposal): Json<Proposal>,
) -> Result<Response, Problem> {
    fits("the reason", &proposal.reason)?;
    let scope = Scope { rule_id: proposal.rule_id, on: proposal.entity.as_deref().map(entity).transpose()? };
    let never = || conflict(format!("{scope}: the rule never matched, so there is nothing to suppress"));
    let rule = scope.rule_id.clone();
    if !api.read(move |store| has_matched(store, rule)).await? {
        return Err(never());
    }
    let wish = SuppressionWish::Propose { reason: proposal.reason };
    let (at, judged) = api.decide(Input::Suppress { scope: scope.clone(), wish, by }).await?;
    let wanted = scope.clone();
    let found = api.read(move |store| latest(store, &wanted)).await?;
    match found {
        Some(suppression) if suppression.proposed_at == at => Ok(json(status(judged), &suppression)),
        _ if !judged => {
            Err(Problem::new(Kind::Unavailable, "it is durable, and yet to be judged; look again in a moment"))
        }
        Some(other) => Err(conflict(format!(
            "there is one for {scope} already: {} is {}",
            other.suppression_id,
            other.state.as_str()
        ))),
        None => Err(never()),
    }
}

/// Puts a suppression in force, for a time.
#[utoipa::path(post, path = "/api/v1/defense/suppressions/{id}/apply", operation_id = "apply_suppression", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    request_body = Apply,
    responses(
        (status = OK, body = Suppression, description = "As it stands now"),
        (status = ACCEPTED, body = Suppression, description = "Durable, and yet to be judged"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it did not take"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn apply(
    api: Shared,
    Caller(by): Caller,
    Path(id): Path<String>,
    _: Query<NoParams>,
    Json(apply): Json<Apply>,
) -> Result<Response, Problem> {
    let days = apply.days.unwrap_or(limits::SUPPRESSION_DAYS);
    if !limits::SUPPRESSION_DAYS_RANGE.contains(&days) {
        let range = limits::SUPPRESSION_DAYS_RANGE;
        let detail = format!("days: {days} is not within {} and {}", range.start(), range.end());
        return Err(Problem::new(Kind::Unprocessable, detail));
    }
    let wish = SuppressionWish::Apply { for_s: days * 86_400 };
    wished(&api, &id, wish, by, |s| matches!(s, SuppressionState::Applied { .. })).await
}

/// Takes a suppression out of force, or a proposal back.
#[utoipa::path(delete, path = "/api/v1/defense/suppressions/{id}", operation_id = "remove_suppression", tag = "defense",
    security(("bearer" = []), ("key" = [])),
    params(
        ("id" = String, Path, description = "The id, or at least four characters of its beginning"),
        RemoveParams,
    ),
    responses(
        (status = OK, body = Suppression, description = "As it stands now"),
        (status = ACCEPTED, body = Suppression, description = "Durable, and yet to be judged"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Why it did not take"),
    ))]
pub(crate) async fn remove(
    api: Shared,
    Caller(by): Caller,
    Path(id): Path<String>,
    Query(params): Query<RemoveParams>,
) -> Result<Response, Problem> {
    let reason = params.reason.unwrap_or_default();
    fits("the reason", &reason)?;
    wished(&api, &id, SuppressionWish::Remove { reason }, by, |s| matches!(s, SuppressionState::Removed { .. })).await
}

async fn wished(
    api: &Shared,
    id: &str,
    wish: SuppressionWish,
    by: Principal,
    took: impl Fn(&SuppressionState) -> bool,
) -> Result<Response, Problem> {
    let found: Suppression = api.get(RecordKind::Suppression, id).await?;
    if let Some(why) = over(&found) {
        return Err(conflict(why));
    }
    let (at, judged) = api.decide(Input::Suppress { scope: found.scope.clone(), wish, by }).await?;
    let stands: Suppression = api.get(RecordKind::Suppression, &found.suppression_id.to_string()).await?;
    if judged && !(took(&stands.state) && stands.updated_at >= at) {
        return Err(conflict(over(&stands).unwrap_or_else(|| "the engine did not accept it".to_owned())));
    }
    Ok(json(status(judged), &stands))
}

/// Why nothing can be made of a suppression any more, if nothing can.
fn over(suppression: &Suppression) -> Option<String> {
    match &suppression.state {
        SuppressionState::Proposed | SuppressionState::Applied { .. } => None,
        SuppressionState::Refused { why } => Some(format!("it was refused: {why}")),
        SuppressionState::Removed { by, why } => Some(format!("it was removed by {by}: {why:?}")),
        SuppressionState::Expired => Some("its time ran out; propose it again".to_owned()),
    }
}

/// An entity as it is written: an address, `host:NAME` or `user:NAME`.
fn entity(written: &str) -> Result<Entity, Problem> {
    let read = match written.split_once(':') {
        Some(("host", name)) => Entity::host(name),
        Some(("user", name)) => Entity::user(name),
        Some(_) | None => Entity::ip(written),
    };
    read.ok_or_else(|| Problem::bad_request("entity: an address, host:NAME or user:NAME is meant"))
}

/// Whether a rule ever matched, in any shard.
fn has_matched(store: &Store, rule_id: String) -> Result<bool, ReadError> {
    let filter = Filter { rule_id: Some(rule_id), ..Filter::default() };
    let page = vertice_store::Page { limit: 1, ..vertice_store::Page::default() };
    Ok(!store.list(RecordKind::Detection, &filter, page)?.is_empty())
}

/// The suppression of this scope that changed last.
fn latest(store: &Store, scope: &Scope) -> Result<Option<Suppression>, Problem> {
    let filter = Filter { rule_id: Some(scope.rule_id.clone()), ..Filter::default() };
    let page = vertice_store::Page { after: None, limit: limits::PAGE_MAX, descending: true };
    for record in store.list(RecordKind::Suppression, &filter, page)? {
        let found: Suppression = parse(&record)?;
        if found.scope == *scope {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn back_test(store: &Store, scope: &Scope) -> Result<BackTest, Problem> {
    let filter = Filter { rule_id: Some(scope.rule_id.clone()), ..Filter::default() };
    let page = vertice_store::Page { after: None, limit: limits::PAGE_MAX, descending: true };
    let mut tested =
        BackTest { detections_of_rule: store.count(RecordKind::Detection, &filter)?, ..BackTest::default() };
    let mut threats = BTreeSet::new();
    for record in store.list(RecordKind::Detection, &filter, page)? {
        let detection: Detection = parse(&record)?;
        if scope.on.as_ref().is_none_or(|entity| *entity == detection.entity) {
            tested.detections += 1;
            threats.extend(detection.threat_id);
        }
    }
    tested.threats = threats.len();
    for id in threats.into_iter().take(limits::BACK_TEST_THREATS_MAX) {
        let threat: Threat = match store.find(RecordKind::Threat, &id.to_string()) {
            Ok(record) => parse(&record)?,
            Err(FindError::NotFound { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        match threat.verdict.map(|v| v.verdict) {
            Some(VerdictKind::Confirmed) => tested.confirmed.push(id),
            Some(VerdictKind::FalsePositive | VerdictKind::Benign) => tested.false_positives += 1,
            None => tested.unjudged += 1,
        }
    }
    Ok(tested)
}
