//! Looking for damage before anybody relies on what is damaged.

use rusqlite::Connection;

use super::{Place, keep, log, records};
use crate::error::{Damage, ReadError};
use crate::head::Head;
use crate::query;
use crate::{Filter, Page, limits};

/// Asks SQLite whether the structure of the file is whole; `thorough` compares every index too.
pub(crate) fn structure(db: &Connection, place: Place<'_>, thorough: bool) -> Result<(), ReadError> {
    let place = Place { table: "the structure of the file", ..place };
    let pragma = if thorough { "integrity_check" } else { "quick_check" };
    let answer = db
        .query_row(&format!("PRAGMA {pragma}(1)"), [], |row| row.get::<_, String>(0))
        .map_err(|e| place.error("checking the file", pragma, e))?;
    if answer == "ok" { Ok(()) } else { Err(place.damage(pragma, answer).into()) }
}

/// The log's rows must reach exactly as far as the head says.
pub(crate) fn ends(db: &Connection, file: &std::path::Path, head: &Head) -> Result<(), ReadError> {
    let place = Place { file, table: "log" };
    let last = log::last_position(db, place)?;
    if last == head.log_end {
        return Ok(());
    }
    let what = format!("the log ends at position {last}, and {} were accepted", head.log_end);
    Err(Damage { what, ..place.damage("its end", "") }.into())
}

/// Compares every checksum; how many inputs and records there are.
pub(crate) fn contents(db: &Connection, file: &std::path::Path, head: &Head) -> Result<(u64, u64), ReadError> {
    let place = Place { file, table: "log" };
    let mut next = vertice_model::Position(1);
    while next <= head.log_end {
        let inputs = log::read(db, place, next, head.log_end, limits::GROUP_EVENTS_MAX)?;
        next = inputs.iter().fold(next, |n, (_, input)| n.plus(input.positions()));
    }
    let place = Place { file, table: "record" };
    let (mut count, mut page) = (0, Page { limit: limits::PAGE_ROWS_MAX, ..Page::default() });
    loop {
        let rows = records::list(db, place, None, &Filter::default(), page)?;
        let Some(last) = rows.last() else { break };
        query::ranks_hold(&rows, place)?;
        count += rows.len() as u64;
        page.after = Some(last.effect);
    }
    keep::verify(db, file)?;
    Ok((head.log_end.0, count))
}
