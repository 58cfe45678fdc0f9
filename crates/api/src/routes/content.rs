//! The content in force: rules, mappings, playbooks.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use vertice_engine::decide::{Playbook, PlaybookSummary};
use vertice_engine::{Content, ContentError};
use vertice_model::{Confidence, LogSource, Severity, Tactic, Technique};

use crate::extract::{NoParams, Query};
use crate::guard::Caller;
use crate::problem::{Kind, Problem};
use crate::read::{Page, Shared, json, limit};
use crate::{LastReload, ReloadError, Reloaded, limits};

/// The content in force.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct InForce {
    /// BLAKE3 of its files.
    digest: String,
    /// How many rules.
    rules: usize,
    /// How many mappings.
    mappings: usize,
    /// How many playbooks.
    playbooks: usize,
    /// The files that were refused; the others stand.
    refused: Vec<RefusedFile>,
    /// The last time that it was read again; `null` since the start.
    last_reload: Option<LastReload>,
}

/// A content file that was refused.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct RefusedFile {
    /// The file.
    path: String,
    /// The line, from 1; 0 where the whole file is meant.
    line: u64,
    /// The column within it, from 1; 0 where only the line is known.
    column: u64,
    /// What is wrong.
    reason: String,
}

impl From<&ContentError> for RefusedFile {
    fn from(e: &ContentError) -> RefusedFile {
        RefusedFile { path: e.path.clone(), line: e.line, column: e.column, reason: e.reason.clone() }
    }
}

/// The content in force, and what was refused of it.
#[utoipa::path(get, path = "/api/v1/content", operation_id = "get_content", tag = "content", responses((status = OK, body = InForce)))]
pub(crate) async fn content(api: Shared, _: Query<NoParams>) -> Response {
    let content = api.api.content.borrow().clone();
    let in_force = InForce {
        digest: content.digest().to_owned(),
        rules: content.rules.set().len(),
        mappings: content.mappings.names().count(),
        playbooks: content.playbooks.iter().count(),
        refused: content.refused.iter().map(RefusedFile::from).collect(),
        last_reload: api.api.last_reload.borrow().clone(),
    };
    json(StatusCode::OK, &in_force)
}

/// Content that was read again.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ReloadedContent {
    /// Whether it says something else than before.
    changed: bool,
    /// BLAKE3 of its files.
    digest: String,
    /// How many rules.
    rules: usize,
    /// How many mappings.
    mappings: usize,
    /// How many playbooks.
    playbooks: usize,
    /// The files that were refused at the start and still are; the others stand.
    refused: Vec<RefusedFile>,
}

/// Reads rules, mappings and playbooks again. All of it goes into force, or none: when a file is newly refused, what
/// was in force stays. Events are taken in and judged meanwhile.
#[utoipa::path(post, path = "/api/v1/content/reload", operation_id = "reload_content", tag = "content",
    security(("bearer" = []), ("key" = [])),
    responses(
        (status = OK, body = ReloadedContent, description = "In force now"),
        (status = UNAUTHORIZED, body = Problem, content_type = "application/problem+json"),
        (status = UNPROCESSABLE_ENTITY, body = Problem, content_type = "application/problem+json",
            description = "What is refused, also as `refused`, each with path, line, column and reason"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn reload(api: Shared, Caller(by): Caller, _: Query<NoParams>) -> Result<Response, Problem> {
    match (api.api.reload)(format!("asked for by {by}")).await {
        Ok(Reloaded { changed, content }) => Ok(json(
            StatusCode::OK,
            &ReloadedContent {
                changed,
                digest: content.digest().to_owned(),
                rules: content.rules.set().len(),
                mappings: content.mappings.names().count(),
                playbooks: content.playbooks.iter().count(),
                refused: content.refused.iter().map(RefusedFile::from).collect(),
            },
        )),
        Err(error) => Err(not_reloaded(error)),
    }
}

fn not_reloaded(error: ReloadError) -> Problem {
    let detail = error.to_string();
    let refused = match error {
        ReloadError::Log(error) => return error.into(),
        ReloadError::Failed(_) => Vec::new(),
        ReloadError::Refused(errors) => errors,
    };
    let refused: Vec<RefusedFile> = refused.iter().take(limits::REFUSED_SHOWN_MAX).map(RefusedFile::from).collect();
    let mut problem = Problem::new(Kind::Unprocessable, detail);
    "urn:vertice:problem:content-refused".clone_into(&mut problem.kind);
    "Content refused, what was in force stays".clone_into(&mut problem.title);
    problem.with("refused", serde_json::to_value(refused).unwrap_or_default())
}

/// A rule.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
pub(crate) struct RuleView {
    /// Its `id`; its title where it has none.
    rule_id: String,
    /// Its title.
    title: String,
    /// What it looks for.
    description: String,
    /// How bad what it finds is.
    severity: Severity,
    /// How sure it is.
    confidence: Confidence,
    /// The class that playbooks wait for.
    class: Option<String>,
    /// Its status, such as `stable`.
    status: Option<String>,
    /// The log sources it looks at.
    log_source: LogSource,
    /// Its ATT&CK techniques.
    mitre_techniques: Vec<Technique>,
    /// Its ATT&CK tactics.
    mitre_tactics: Vec<Tactic>,
    /// Whether it counts what other rules find.
    correlation: bool,
    /// Whether only correlations use it, and it gives no detections by itself.
    silent: bool,
    /// What it gets wrong.
    falsepositives: Vec<String>,
    /// Where more is to be read.
    references: Vec<String>,
    /// Who wrote it.
    author: String,
    /// Its file.
    path: String,
    /// The line in its file.
    line: u64,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RuleParams {
    /// Items of a page, from 1 to 1,000; 100 unless given.
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// This bad or worse.
    severity: Option<Severity>,
    /// Of this class, such as `brute_force_detected`.
    class: Option<String>,
    /// With this ATT&CK technique, or a sub-technique of it.
    technique: Option<String>,
    /// With this in its title, in upper or lower case.
    title: Option<String>,
}

/// Rules in force, in the order in which they were read.
#[utoipa::path(get, path = "/api/v1/rules", operation_id = "list_rules", tag = "content", params(RuleParams), responses(
    (status = OK, body = Page<RuleView>),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn rules(api: Shared, Query(params): Query<RuleParams>) -> Result<Response, Problem> {
    let wanted = limit(params.limit)?;
    let from: usize = match &params.cursor {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Problem::bad_request("cursor: this is not the `next_cursor` of an earlier page"))?,
    };
    let content = api.api.content.borrow().clone();
    let mut found = views(&content).enumerate().skip(from).filter(|(_, rule)| params.fit(rule));
    let items: Vec<(usize, RuleView)> = found.by_ref().take(wanted).collect();
    let next_cursor = found.next().map(|(at, _)| at.to_string());
    let items = items.into_iter().map(|(_, rule)| rule).collect();
    Ok(json(StatusCode::OK, &Page { items, next_cursor }))
}

impl RuleParams {
    fn fit(&self, rule: &RuleView) -> bool {
        let of_technique = |wanted: &str| {
            let wanted = wanted.to_ascii_uppercase();
            rule.mitre_techniques.iter().any(|t| t.as_str() == wanted || t.as_str().split('.').next() == Some(&wanted))
        };
        self.severity.is_none_or(|s| rule.severity >= s)
            && self.class.as_deref().is_none_or(|c| rule.class.as_deref() == Some(c))
            && self.technique.as_deref().is_none_or(of_technique)
            && self.title.as_deref().is_none_or(|t| rule.title.to_lowercase().contains(&t.to_lowercase()))
    }
}

/// Least characters of the beginning of a rule's id: with fewer a rule that is added means another tomorrow.
const RULE_ID_CHARS_MIN: usize = 4;

/// Rules named when several begin so.
const CANDIDATES_MAX: usize = 5;

/// One rule, by its id.
#[utoipa::path(get, path = "/api/v1/rules/{id}", operation_id = "get_rule", tag = "content",
    params(("id" = String, Path,
        description = "The rule's id, its title where it has none, or at least four characters of its beginning")),
    responses(
        (status = OK, body = RuleView),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Several begin so"),
    ))]
pub(crate) async fn rule(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    let content = api.api.content.borrow().clone();
    if let Some(rule) = views(&content).find(|rule| rule.rule_id == id) {
        return Ok(json(StatusCode::OK, &rule));
    }
    let begins = |rule: &RuleView| id.len() >= RULE_ID_CHARS_MIN && rule.rule_id.starts_with(&id);
    let mut found: Vec<RuleView> = views(&content).filter(begins).take(CANDIDATES_MAX).collect();
    match found.len() {
        0 => Err(Problem::not_found("there is no rule of this id in force; see /api/v1/content for refused files")),
        1 => Ok(json(StatusCode::OK, &found.remove(0))),
        _ => {
            let candidates: Vec<String> = found.into_iter().map(|rule| rule.rule_id).collect();
            let detail = format!("several rules begin with {id}: {}", candidates.join(", "));
            Err(Problem::new(Kind::Conflict, detail).with("candidates", candidates))
        }
    }
}

fn views(content: &Content) -> impl Iterator<Item = RuleView> {
    content.rules.set().iter().map(|(index, rule)| {
        let says = content.rules.attributes(index);
        let source = &rule.log_source;
        RuleView {
            rule_id: rule.key().to_owned(),
            title: rule.title.clone(),
            description: rule.description.clone(),
            severity: says.severity,
            confidence: says.confidence,
            class: says.class.clone(),
            status: rule.status.map(|s| s.word().to_owned()),
            log_source: LogSource {
                category: source.category.clone(),
                product: source.product.clone(),
                service: source.service.clone(),
            },
            mitre_techniques: says.techniques.clone(),
            mitre_tactics: says.tactics.clone(),
            correlation: rule.is_correlation(),
            silent: rule.silent,
            falsepositives: rule.falsepositives.clone(),
            references: rule.references.clone(),
            author: rule.author.clone(),
            path: rule.path.strip_prefix("rules:").unwrap_or(&rule.path).to_owned(),
            line: u64::from(rule.line),
        }
    })
}

/// A mapping.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MappingView {
    /// Its name.
    name: String,
}

/// Mappings in force, in the order in which they are tried.
#[utoipa::path(get, path = "/api/v1/mappings", operation_id = "list_mappings", tag = "content", responses((status = OK, body = Page<MappingView>)))]
pub(crate) async fn mappings(api: Shared, _: Query<NoParams>) -> Response {
    let content = api.api.content.borrow().clone();
    let items = content.mappings.names().map(|name| MappingView { name: name.to_owned() }).collect();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// Playbooks in force.
#[utoipa::path(get, path = "/api/v1/playbooks", operation_id = "list_playbooks", tag = "content", responses((status = OK, body = Page<PlaybookSummary>)))]
pub(crate) async fn playbooks(api: Shared, _: Query<NoParams>) -> Response {
    let content = api.api.content.borrow().clone();
    let items = content.playbooks.iter().map(Playbook::summary).collect();
    json(StatusCode::OK, &Page { items, next_cursor: None })
}

/// One playbook, by its id.
#[utoipa::path(get, path = "/api/v1/playbooks/{id}", operation_id = "get_playbook", tag = "content",
    params(("id" = String, Path, description = "Its file name without the ending")),
    responses(
        (status = OK, body = PlaybookSummary),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn playbook(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    let content = api.api.content.borrow().clone();
    match content.playbooks.get(&id) {
        Some(playbook) => Ok(json(StatusCode::OK, &playbook.summary())),
        None => Err(no_playbook(&content)),
    }
}

/// That there is no such playbook, and which there are.
pub(super) fn no_playbook(content: &Content) -> Problem {
    let names = content.playbooks.iter().map(|p| p.id().to_owned()).collect::<Vec<_>>().join(", ");
    Problem::not_found(format!("there is no playbook of this id in force; there are: {names}"))
}
