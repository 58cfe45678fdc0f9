//! Rows of the log: how inputs are put into them, checked, and taken out again.

use vertice_engine::{Input, Stamp};
use vertice_model::{Position, RawEvent, Timestamp};

use crate::chunk::{Chunk, Packed, Row, vouched};
use crate::error::ReadError;
use crate::limits;
use crate::place::Place;
use crate::queue::InputKind;
use crate::sums;

/// A row to be written, of chunks that are ready.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) first: Position,
    pub(crate) n: u64,
    pub(crate) kind: InputKind,
    pub(crate) at: Timestamp,
    pub(crate) chunks: Vec<&'a Chunk>,
    /// How long all of it is.
    pub(crate) bytes: usize,
}

impl NewRow<'_> {
    pub(crate) fn checksum(&self) -> i64 {
        let headers: Vec<&[u8]> = self.chunks.iter().map(|chunk| chunk.header()).collect();
        sums::log_row(numbers(self.first, self.n, self.kind, self.at), &headers)
    }
}

/// A row of the log, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct LogRow<B> {
    pub(crate) first: Position,
    pub(crate) n: u64,
    pub(crate) kind: InputKind,
    pub(crate) at: Timestamp,
    pub(crate) checksum: i64,
    pub(crate) blob: B,
}

fn numbers(first: Position, n: u64, kind: InputKind, at: Timestamp) -> [u64; 4] {
    [first.0, n, kind.code() as u64, at.as_micros() as u64]
}

impl<B: AsRef<[u8]>> LogRow<B> {
    fn last(&self) -> u64 {
        self.first.0 + self.n.saturating_sub(1)
    }

    /// Checks a row that must hold `next`, or begin with it.
    pub(crate) fn check(&self, place: Place<'_>, next: Position) -> Result<(), ReadError> {
        let numbers = numbers(self.first, self.n, self.kind, self.at);
        if sums::log_row(numbers, &vouched(self.blob.as_ref())) != self.checksum {
            return Err(place.damage(format!("position {next}"), "its row has a wrong checksum").into());
        }
        if self.first > next || self.last() < next.0 {
            return Err(place.damage(format!("position {next}"), "its row is missing").into());
        }
        Ok(())
    }

    /// The input of it from position `from` on.
    fn decode(&self, place: Place<'_>, from: Position) -> Result<(Stamp, Input), ReadError> {
        let bad = |what: String| place.damage(format!("position {}", self.first), what);
        let stamp = Stamp { position: from, now: self.at };
        let mut chunks = Row::open(self.blob.as_ref()).map_err(bad)?;
        if self.kind == InputKind::Other {
            let chunk = chunks.next_chunk().map_err(bad)?.ok_or_else(|| bad("it is empty".to_owned()))?;
            let input = chunk.input().map_err(bad)?;
            if input.positions() != self.n {
                return Err(bad(format!("it holds {} records in place of {}", input.positions(), self.n)).into());
            }
            return Ok((stamp, rest_of(input, (from.0 - self.first.0) as usize)));
        }
        let mut events = Vec::with_capacity(usize::try_from(self.last() + 1 - from.0).unwrap_or_default());
        let mut at = self.first.0;
        while let Some(chunk) = chunks.next_chunk().map_err(bad)? {
            let skip = from.0.saturating_sub(at);
            at += chunk.positions;
            if skip < chunk.positions {
                events.extend(tail(&chunk, skip as usize).map_err(bad)?);
            }
        }
        if at != self.first.0 + self.n {
            return Err(bad(format!("it holds {} events in place of {}", at - self.first.0, self.n)).into());
        }
        Ok((stamp, Input::Events(events)))
    }
}

fn tail(chunk: &Packed<'_>, skip: usize) -> Result<impl Iterator<Item = RawEvent>, String> {
    Ok(chunk.events()?.into_iter().skip(skip))
}

/// What an input that is kept whole has from one of its positions on.
fn rest_of(input: Input, skip: usize) -> Input {
    match input {
        Input::Events(mut events) => Input::Events(events.split_off(skip.min(events.len()))),
        Input::Routed(mut routed) => Input::Routed(routed.split_off(skip.min(routed.len()))),
        // One position each.
        Input::Content(_)
        | Input::Answer { .. }
        | Input::Verdict { .. }
        | Input::Release { .. }
        | Input::Tick
        | Input::Begun { .. }
        | Input::Receipt(_)
        | Input::Resolve { .. }
        | Input::Operators(_)
        | Input::Start { .. }
        | Input::Key { .. }
        | Input::Opinion { .. }
        | Input::Suppress { .. }
        | Input::Told(_) => input,
    }
}

/// A stretch of the log while it is read: whole rows until there are enough positions or bytes, and one at least.
pub(crate) struct Stretch<'a> {
    place: Place<'a>,
    from: Position,
    next: Position,
    end: Position,
    positions_max: u64,
    bytes: usize,
    inputs: Vec<(Stamp, Input)>,
}

impl<'a> Stretch<'a> {
    /// From `from`, which may lie within a row, to `end` at most.
    pub(crate) fn new(place: Place<'a>, from: Position, end: Position, positions_max: u64) -> Stretch<'a> {
        Stretch { place, from, next: from, end, positions_max, bytes: 0, inputs: Vec::new() }
    }

    /// Whether another row is wanted.
    pub(crate) fn wants_more(&self) -> bool {
        self.next <= self.end && self.next.0 - self.from.0 < self.positions_max && self.bytes < limits::READ_BYTES_MAX
    }

    /// Which position comes next.
    pub(crate) fn next(&self) -> Position {
        self.next
    }

    /// Which position comes next, in words.
    pub(crate) fn at(&self) -> String {
        format!("position {}", self.next)
    }

    /// Takes the row that comes next, which must be there.
    pub(crate) fn take<B: AsRef<[u8]>>(&mut self, row: Option<LogRow<B>>) -> Result<(), ReadError> {
        let row = row.ok_or_else(|| self.place.damage(self.at(), "its row is missing"))?;
        row.check(self.place, self.next)?;
        self.bytes += row.blob.as_ref().len();
        self.inputs.push(row.decode(self.place, self.next)?);
        self.next = Position(row.last() + 1);
        Ok(())
    }

    /// What was read.
    pub(crate) fn inputs(self) -> Vec<(Stamp, Input)> {
        self.inputs
    }
}

/// The event that an input read at its position begins with, if it is one of events.
pub(crate) fn event_of(found: Vec<(Stamp, Input)>) -> Option<(Stamp, RawEvent)> {
    let (stamp, input) = found.into_iter().next()?;
    match input {
        Input::Events(events) => events.into_iter().next().map(|event| (stamp, event)),
        // It was read as of its logical time.
        Input::Routed(routed) => {
            routed.into_iter().next().map(|routed| (Stamp { now: routed.at, ..stamp }, routed.event))
        }
        Input::Content(_)
        | Input::Answer { .. }
        | Input::Verdict { .. }
        | Input::Release { .. }
        | Input::Tick
        | Input::Begun { .. }
        | Input::Receipt(_)
        | Input::Resolve { .. }
        | Input::Operators(_)
        | Input::Start { .. }
        | Input::Key { .. }
        | Input::Opinion { .. }
        | Input::Suppress { .. }
        | Input::Told(_) => None,
    }
}
