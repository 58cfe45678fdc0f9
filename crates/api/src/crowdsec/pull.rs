//! What a bouncer is told when it asks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use vertice_model::{Containment, EffectId, Timestamp};
use vertice_store::{Filter, Page, RecordKind, Store, StoredRecord};

use super::places::Place;
use super::standing::{self, Changed};
use super::{Decision, Standing};
use crate::limits;
use crate::problem::Problem;
use crate::read::parse;

/// The state of containments that hold.
const ACTIVE: &str = "active";

/// What changed since a bouncer last asked.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct News {
    /// What holds no more.
    pub(crate) deleted: Vec<Decision>,
    /// What holds.
    pub(crate) new: Vec<Decision>,
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pull {
    /// Its place before, if it has one.
    pub(crate) place: Option<Place>,
    /// Whether it begins, and must be told everything that holds.
    pub(crate) startup: bool,
    /// Whether it takes a decision only about an address that it has none about, and must drop the old one first.
    pub(crate) replaces: bool,
    /// When.
    pub(crate) now: Timestamp,
}

impl Pull {
    /// What to tell, and the place that is reached by it.
    ///
    /// # Errors
    /// When the store can not be read.
    pub(crate) fn answer(self, store: &Store) -> Result<(News, Place), Problem> {
        let end = store.latest_change()?.unwrap_or_default();
        // A place beyond the end is of another history: the data directory was put back to an earlier one.
        let place = self.place.filter(|place| place.effect <= end);
        let (changes, reached) = match place {
            Some(place) => changes_after(store, place.effect)?,
            None => (BTreeMap::new(), end),
        };
        let all = self.startup || place.is_none_or(|place| !place.heard);
        let standing = if all || changes.len() > limits::DECISION_LOOKUPS_MAX {
            all_standing(store, self.now)?
        } else {
            standing_of(store, changes.keys().copied(), self.now)?
        };
        let mut news = self.news(&changes, &standing, place.map(|place| place.at));
        if all {
            news.new = decisions(&standing, self.now);
        }
        Ok((news, Place { effect: reached, at: self.now, heard: true }))
    }

    /// What changed addresses come to, for a bouncer that was last told something at a time.
    fn news(self, changes: &BTreeMap<IpAddr, Changed>, standing: &Standing, told_at: Option<Timestamp>) -> News {
        let mut news = News::default();
        for (address, changed) in changes {
            let gone = |remedy| Decision::gone(*address, remedy, &changed.last, self.now);
            let Some(held) = standing.get(address) else {
                news.deleted.extend(changed.told.iter().map(|remedy| gone(*remedy)));
                continue;
            };
            // Not what is weaker: most bouncers delete by the address alone, and would drop what holds with it.
            news.deleted.extend(changed.told.iter().filter(|r| **r > held.remedy).map(|remedy| gone(*remedy)));
            let known = told_at.is_some_and(|at| held.since.min(changed.last.since) <= at);
            if self.replaces && known {
                news.deleted.push(gone(held.remedy));
            }
            news.new.push(Decision::held(*address, held, self.now));
        }
        news
    }
}

/// Every decision that holds.
pub(crate) fn decisions(standing: &Standing, now: Timestamp) -> Vec<Decision> {
    standing.iter().map(|(address, held)| Decision::held(*address, held, now)).collect()
}

/// Everything that holds.
///
/// # Errors
/// When the store can not be read.
pub(crate) fn all_standing(store: &Store, now: Timestamp) -> Result<Standing, Problem> {
    let mut standing = Standing::new();
    let filter = Filter { state: Some(ACTIVE.to_owned()), ..Filter::default() };
    let read = each(store, &filter, None, |containment| standing::add(&mut standing, &containment, now))?;
    if read.is_full() {
        tracing::warn!("more containments hold than bouncers are told of ({})", limits::DECISION_RECORDS_MAX);
    }
    Ok(standing)
}

/// What holds these addresses. What holds an address is recorded as being about it.
///
/// # Errors
/// When the store can not be read.
pub(crate) fn standing_of(
    store: &Store,
    addresses: impl Iterator<Item = IpAddr>,
    now: Timestamp,
) -> Result<Standing, Problem> {
    let mut standing = Standing::new();
    for address in addresses {
        for record in store.about(RecordKind::Containment, &address.to_string(), ACTIVE)? {
            standing::add(&mut standing, &parse(&record)?, now);
        }
    }
    Ok(standing)
}

/// What changed after a place, by address, and how far that reaches.
fn changes_after(store: &Store, place: EffectId) -> Result<(BTreeMap<IpAddr, Changed>, EffectId), Problem> {
    let mut changes = BTreeMap::new();
    let read = each(store, &Filter::default(), Some(place), |c| standing::note(&mut changes, &c))?;
    Ok((changes, read.last.unwrap_or(place)))
}

/// How much was read.
#[derive(Default)]
struct Read {
    records: usize,
    last: Option<EffectId>,
}

impl Read {
    fn is_full(&self) -> bool {
        self.records >= limits::DECISION_RECORDS_MAX
    }
}

/// Reads containments in the order of their last change.
fn each(
    store: &Store,
    filter: &Filter,
    after: Option<EffectId>,
    mut take: impl FnMut(Containment),
) -> Result<Read, Problem> {
    let mut read = Read { records: 0, last: after };
    loop {
        let page = Page { after: read.last, limit: vertice_store::limits::PAGE_ROWS_MAX, descending: false };
        let records: Vec<StoredRecord> = store.list(RecordKind::Containment, filter, page)?;
        for record in &records {
            take(parse(record)?);
            read.last = Some(record.effect);
        }
        read.records += records.len();
        if records.len() < page.limit || read.is_full() {
            return Ok(read);
        }
    }
}
