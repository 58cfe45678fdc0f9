//! Why a threat is one: event, matched condition, detection, threat, with log positions.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use vertice_engine::Content;
use vertice_intel::{Intent, narrative};
use vertice_model::{Consultation, Containment, Detection, Position, Question, Run, Sentence, Threat, ThreatId, Value};
use vertice_store::{Filter, FindError, Page, RecordKind, Store, StoredRecord};

use super::events::LoggedEvent;
use super::intent::{self, IntentView};
use crate::extract::{NoParams, Query};
use crate::limits;
use crate::problem::Problem;
use crate::read::{Shared, json, parse};

/// A threat, and all that led to it and came of it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Explanation {
    /// The threat as it stands.
    threat: Threat,
    /// What happened, sentence by sentence, each with the threat or the detections that show it. A template writes it;
    /// no language model has a part in it.
    narrative: Vec<Sentence>,
    /// What may come next, and whom this resembles.
    intent: IntentView,
    /// Its detections and those of the threats it absorbed, in log order; the latest 100.
    detections: Vec<Explained>,
    /// How many detections there are in all.
    detections_total: u64,
    /// Whether some events were left out because there are too many.
    events_left_out: u64,
    /// The runs of playbooks for it.
    runs: Vec<Run>,
    /// The questions that were asked about it.
    questions: Vec<Question>,
    /// What holds whom because of it.
    containments: Vec<Containment>,
    /// What language models were asked about it, and what they said. It changed nothing but the threat's attention.
    consultations: Vec<Consultation>,
}

/// A detection, and the events it was made of.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Explained {
    /// The detection, with the conditions that held.
    detection: Detection,
    /// Its events, in log order; the last one completed it.
    events: Vec<Evidence>,
}

/// An event, and what of it the rule looked at.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Evidence {
    /// The event.
    #[serde(flatten)]
    event: LoggedEvent,
    /// The fields that the conditions named, as this event has them.
    matched_fields: BTreeMap<String, Value>,
}

/// Explains a threat: its detections with their events and matched conditions, and what was done about it.
#[utoipa::path(get, path = "/api/v1/defense/threats/{id}/explain", operation_id = "explain_threat", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = Explanation),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Several begin so"),
    ))]
pub(crate) async fn explain(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    let content = api.api.content.borrow().clone();
    let known = api.api.intent.clone();
    let explanation = api.read(move |store| gather(store, &content, &known, &id)).await?;
    Ok(json(StatusCode::OK, &explanation))
}

fn gather(store: &Store, content: &Content, known: &Intent, id: &str) -> Result<Explanation, Problem> {
    let threat: Threat = parse(&store.find(RecordKind::Threat, id)?)?;
    let family = family(store, &threat)?;
    let Told { records, total } = Told::read(store, &family)?;
    let told = records.iter().map(parse).collect::<Result<Vec<Detection>, Problem>>()?;
    let mut evidence = Reader { store, content, left: limits::EXPLAIN_EVENTS_MAX, bytes: 0, left_out: 0 };
    let detections = records
        .iter()
        .zip(&told)
        .map(|(record, detection)| evidence.explain(record.shard, detection.clone()))
        .collect::<Result<_, Problem>>()?;
    Ok(Explanation {
        narrative: narrative(&threat, &told),
        intent: intent::view(known, &threat, &told),
        detections,
        detections_total: total,
        events_left_out: evidence.left_out,
        runs: related(store, RecordKind::Run, &family)?,
        questions: related(store, RecordKind::Question, &family)?,
        containments: related(store, RecordKind::Containment, &family)?,
        consultations: related(store, RecordKind::Consultation, &family)?,
        threat,
    })
}

/// What happened, by the template, with what shows it.
fn narrative(threat: &Threat, detections: &[Detection]) -> Vec<Sentence> {
    let written = narrative::narrate(threat, detections);
    written.into_iter().map(|s| Sentence { text: s.text, cites: s.cites }).collect()
}

/// The latest detections of threats, in log order.
pub(crate) struct Told {
    /// At most 100.
    pub(crate) records: Vec<StoredRecord>,
    /// How many there are in all.
    total: u64,
}

impl Told {
    pub(crate) fn read(store: &Store, family: &[ThreatId]) -> Result<Told, Problem> {
        let (mut total, mut records) = (0, Vec::new());
        for member in family {
            let filter = Filter { threat_id: Some(*member), ..Filter::default() };
            total += store.count(RecordKind::Detection, &filter)?;
            let page = Page { limit: limits::EXPLAIN_DETECTIONS_MAX, descending: true, after: None };
            records.extend(store.list(RecordKind::Detection, &filter, page)?);
        }
        records.sort_by_key(|record| record.effect);
        records.drain(..records.len().saturating_sub(limits::EXPLAIN_DETECTIONS_MAX));
        Ok(Told { records, total })
    }
}

/// A threat and those it absorbed, and those that they had absorbed before.
pub(crate) fn family(store: &Store, threat: &Threat) -> Result<Vec<ThreatId>, Problem> {
    let mut family = vec![threat.threat_id];
    let mut waiting = threat.absorbed.clone();
    while let Some(id) = waiting.pop() {
        if family.contains(&id) || family.len() > limits::EXPLAIN_ABSORBED_MAX {
            continue;
        }
        family.push(id);
        match store.find(RecordKind::Threat, &id.to_string()) {
            Ok(record) => waiting.extend(parse::<Threat>(&record)?.absorbed),
            Err(FindError::NotFound { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(family)
}

fn related<T: serde::de::DeserializeOwned>(
    store: &Store,
    kind: RecordKind,
    family: &[ThreatId],
) -> Result<Vec<T>, Problem> {
    let mut found = Vec::new();
    for member in family {
        let filter = Filter { threat_id: Some(*member), ..Filter::default() };
        let limit = limits::EXPLAIN_RECORDS_MAX - found.len();
        if limit > 0 {
            found.extend(store.list(kind, &filter, Page { limit, descending: false, after: None })?);
        }
    }
    found.sort_by_key(|record| record.effect);
    found.iter().map(parse).collect()
}

/// Reads events back, and no more of them than is good.
struct Reader<'a> {
    store: &'a Store,
    content: &'a Content,
    left: usize,
    bytes: usize,
    left_out: u64,
}

impl Reader<'_> {
    fn explain(&mut self, shard: u32, detection: Detection) -> Result<Explained, Problem> {
        let mut events = Vec::new();
        // The event that completed it matters most, so it is read first.
        let earlier = detection.earlier.iter().rev().filter(|p| **p != detection.position);
        for position in std::iter::once(&detection.position).chain(earlier) {
            if self.left == 0 || self.bytes >= limits::EVENT_PAGE_BYTES {
                self.left_out += 1;
                continue;
            }
            self.left -= 1;
            events.extend(self.evidence(shard, *position, &detection)?);
        }
        events.reverse();
        Ok(Explained { detection, events })
    }

    fn evidence(&mut self, shard: u32, position: Position, detection: &Detection) -> Result<Option<Evidence>, Problem> {
        let Some((stamp, raw)) = self.store.event(shard, position)? else { return Ok(None) };
        self.bytes += raw.line.len();
        let event = LoggedEvent::read(self.content, stamp, raw);
        let names = detection.matched.iter().filter_map(|m| m.field.split('|').next()).filter(|n| !n.is_empty());
        let matched_fields = match event.event() {
            Some(read) => names.filter_map(|n| Some((n.to_owned(), read.fields.get(n)?.clone()))).collect(),
            None => BTreeMap::new(),
        };
        Ok(Some(Evidence { event, matched_fields }))
    }
}
