//! Reading the store for an answer: pages, single records, waiting.

use std::sync::{Arc, PoisonError};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vertice_engine::Input;
use vertice_model::{EffectId, Timestamp};
use vertice_store::{Accepted, Filter, Rank, RankedPage, RecordKind, Store, StoredRecord, SubmitError};

use crate::problem::{Kind, Problem};
use crate::{Inner, limits};

/// A page of a list.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Give this as `cursor` for the next page; `null` when the list is at its end for now.
    pub next_cursor: Option<String>,
}

/// In which direction a list is read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// In log order, oldest first.
    #[default]
    Asc,
    /// Latest first.
    Desc,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) limit: Option<usize>,
    pub(crate) cursor: Option<String>,
    pub(crate) order: Option<Order>,
}

impl Part {
    pub(crate) fn checked(&self) -> Result<vertice_store::Page, Problem> {
        let limit = limit(self.limit)?;
        let after = match &self.cursor {
            None => None,
            Some(text) => Some(cursor(text).ok_or_else(no_cursor)?),
        };
        Ok(vertice_store::Page { after, limit, descending: self.order == Some(Order::Desc) })
    }
}

fn no_cursor() -> Problem {
    Problem::bad_request("cursor: this is not the `next_cursor` of an earlier page")
}

/// A cursor is the text of an effect's id, and nothing else that reads as one.
pub(crate) fn cursor(text: &str) -> Option<EffectId> {
    text.parse::<EffectId>().ok().filter(|id| id.to_string() == text)
}

/// How many items are wanted.
pub(crate) fn limit(wanted: Option<usize>) -> Result<usize, Problem> {
    match wanted {
        None => Ok(limits::PAGE_DEFAULT),
        Some(n) if (1..=limits::PAGE_MAX).contains(&n) => Ok(n),
        Some(n) => Err(Problem::bad_request(format!("limit: {n} is not within 1 and {}", limits::PAGE_MAX))),
    }
}

impl Inner {
    /// Reads the store where it may block.
    pub(crate) async fn read<T, E>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let turn = tokio::time::timeout(limits::READ_WAIT, Arc::clone(&self.reads).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let problem = Problem::new(Kind::Unavailable, "too much is being read; try again in 1 s");
            return Err(problem.retry_after(std::time::Duration::from_secs(1)));
        };
        let store = self.api.store.clone();
        // The turn goes along, for the read goes on when its client is gone.
        let read = move || {
            let _turn = turn;
            read(&store)
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.map_err(|e| Problem::internal("reading the store", &e))?.map_err(Into::into)
    }

    /// A page of the records of a kind, as an answer.
    pub(crate) async fn page(&self, kind: RecordKind, filter: Filter, part: &Part) -> Result<Response, Problem> {
        let page = part.checked()?;
        let records = self.read(move |store| store.list(kind, &filter, page)).await?;
        Ok(page_of(records, page.limit, |record| record.effect.to_string()))
    }

    /// A page of the threats by their priority, as an answer: the most urgent first, unless it is asked for otherwise.
    pub(crate) async fn ranked(&self, filter: Filter, part: &Part) -> Result<Response, Problem> {
        let after = part.cursor.as_deref().map(str::parse::<Rank>).transpose().map_err(|_| no_cursor())?;
        let page = RankedPage { after, limit: limit(part.limit)?, descending: part.order != Some(Order::Asc) };
        let wanted = page.limit;
        let records = self.read(move |store| store.ranked(&filter, &page)).await?;
        Ok(page_of(records, wanted, |record| record.rank.map(|rank| rank.to_string()).unwrap_or_default()))
    }

    /// One record, by its id or the beginning of it.
    pub(crate) async fn find(&self, kind: RecordKind, id: &str) -> Result<StoredRecord, Problem> {
        let id = id.to_owned();
        self.read(move |store| store.find(kind, &id)).await
    }

    /// One record, read.
    pub(crate) async fn get<T: DeserializeOwned>(&self, kind: RecordKind, id: &str) -> Result<T, Problem> {
        parse(&self.find(kind, id).await?)
    }

    /// Appends a decision and waits until the engine has judged it, but not for ever. Returns when it was
    /// accepted, and whether it is judged.
    pub(crate) async fn decide(&self, input: Input) -> Result<(Timestamp, bool), Problem> {
        let accepted = self.kept(self.api.store.append(input).await)?;
        let wait = self.api.store.judged_past(&accepted);
        let in_time = matches!(tokio::time::timeout(limits::DECISION_TIME, wait).await, Ok(Ok(())));
        Ok((accepted.at, in_time))
    }
}

impl Inner {
    /// Notes whether the disk had space.
    pub(crate) fn kept(&self, result: Result<Accepted, SubmitError>) -> Result<Accepted, Problem> {
        let full = matches!(result, Err(SubmitError::DiskFull { .. }));
        if full || result.is_ok() {
            let now = full.then(|| (self.api.clock)());
            *self.disk_full.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        result.map_err(Problem::from)
    }

    /// Whether the disk was full a moment ago.
    pub(crate) fn disk_was_full(&self) -> bool {
        let at = *self.disk_full.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| (self.api.clock)() < at.plus_seconds(limits::DISK_FULL_S))
    }
}

pub(crate) fn parse<T: DeserializeOwned>(record: &StoredRecord) -> Result<T, Problem> {
    serde_json::from_str(&record.json).map_err(|e| Problem::internal("reading a record", &e))
}

/// A page is written from the records' own JSON, without reading it.
fn page_of(records: Vec<StoredRecord>, limit: usize, cursor: impl Fn(&StoredRecord) -> String) -> Response {
    let mut more = records.len() == limit;
    let mut last = None;
    let mut out = String::from("{\"items\":[");
    for record in &records {
        if out.len() + record.json.len() > limits::PAGE_BYTES && last.is_some() {
            more = true;
            break;
        }
        if last.is_some() {
            out.push(',');
        }
        out.push_str(&record.json);
        last = Some(record);
    }
    match last.filter(|_| more) {
        Some(record) => out.push_str(&format!("],\"next_cursor\":\"{}\"}}", cursor(record))),
        None => out.push_str("],\"next_cursor\":null}"),
    }
    raw(out)
}

/// JSON without the control characters that JSON lets stand: DEL, and the C1 set, of which U+009B begins an
/// escape sequence on some terminals. They can stand in strings only, where an escape means the same.
pub(crate) fn quiet(json: String) -> String {
    let loud = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    if !json.contains(loud) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if loud(c) { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out
}

/// An answer from what is JSON already.
pub(crate) fn raw(json: String) -> Response {
    let mut response = Response::new(Body::from(quiet(json)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, raw(text)).into_response(),
        Err(e) => Problem::internal("writing an answer", &e).into_response(),
    }
}

/// What handlers are given.
pub(crate) type Shared = axum::extract::State<Arc<Inner>>;

#[cfg(test)]
mod tests {
    use vertice_model::Position;

    use super::*;

    #[test]
    fn a_cursor_is_one_text() {
        assert!(cursor("9.3").is_some());
        for other in ["9", "+9.3", "09.3", "9.3 ", "9.3.1", "", "x", "9.-1"] {
            assert!(cursor(other).is_none(), "{other}");
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        let text = "a\u{7f}\u{9b}31m\u{a0}é";
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(quiet(json.clone()), "\"a\\u007f\\u009b31m\u{a0}é\"");
        assert_eq!(serde_json::from_str::<String>(&quiet(json)).unwrap(), text);
    }

    #[test]
    fn a_page_ends_early_when_it_is_large() {
        let record = |index| StoredRecord {
            shard: 0,
            effect: EffectId { position: Position(1), index },
            kind: RecordKind::Detection,
            key: String::new(),
            json: format!("\"{}\"", "x".repeat(limits::PAGE_BYTES / 2)),
            rank: None,
        };
        let response = page_of((0..3).map(record).collect(), 10, |record| record.effect.to_string());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let page: Page<String> = serde_json::from_slice(&runtime.block_on(body).unwrap()).unwrap();
        assert_eq!((page.items.len(), page.next_cursor.as_deref()), (1, Some("1.0")));
    }
}
