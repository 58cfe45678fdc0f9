//! The merge: what many source partitions sent to one shard, let out in one order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vertice_model::{Routed, Timestamp};

use crate::limits;

/// How far a source partition was screened: up to and including `offset`, and whatever comes after that has a logical
/// time of `at` or later.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The partition.
    pub partition: i32,
    /// Its last record that was screened; -1 where there was none yet.
    pub offset: i64,
    /// The logical time that it has reached.
    pub at: Timestamp,
}

/// Holds routed records back until every source partition's mark has passed them.
///
/// Lets them out in the order (logical time, source partition, offset, index), each once, whatever the order in which
/// those of different partitions came. What must be true of the input, and is, where records and marks are written by
/// one idempotent producer per source partition that commits what it has read only after it is delivered:
/// - of one source partition a record comes first before those of higher offsets, and before a mark that covers it;
///   what comes again may come at any time, and is dropped;
/// - marks of every source partition, idle ones too, keep coming: a restart forgets those it has seen.
///
/// # Late records
/// A mark that promises too much (of an idle partition: that nothing older than now comes) makes what comes against it
/// late: it is let out with the next, and counted in [`Merge::late`]. So does a source partition that appears while
/// its topic grows, until [`Merge::grow`] was called. The order of the others does not suffer.
///
/// # When there is too much of it
/// Marks come by the same partition as the records, so a reader that paused while one partition's mark stalls would
/// never see it move. The reader therefore reads on, and the merge keeps of what is held the lowest and puts the rest
/// off: it is no longer held, the cursor stays at the lowest of it, and nothing is let out that would come after it. Once
/// the marks have passed what was put off, [`Merge::reread`] names the offset to go back to. Memory is bounded, nothing
/// is lost, and the order is the same; what it costs is reading again.
#[derive(Debug)]
pub struct Merge {
    sources: BTreeMap<i32, Source>,
    /// The lowest that each source has.
    heads: BTreeSet<Key>,
    /// The offsets, within the partition of hits, of what is held.
    held_at: BTreeSet<i64>,
    held_bytes: usize,
    /// The lowest offset of what was put off.
    put_off_at: Option<i64>,
    /// The offset after the last that was read.
    next: i64,
    /// The highest that was let out.
    last: Option<Key>,
    bounds: HeldBounds,
    counts: MergeCounts,
}

/// How much a [`Merge`] holds at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeldBounds {
    /// Records; [`limits::HELD_RECORDS_MAX`].
    pub records: usize,
    /// Bytes of their lines; [`limits::HELD_BYTES_MAX`]. One record is held however long it is.
    pub bytes: usize,
}

impl Default for HeldBounds {
    fn default() -> HeldBounds {
        HeldBounds { records: limits::HELD_RECORDS_MAX, bytes: limits::HELD_BYTES_MAX }
    }
}

/// What became of records, since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MergeCounts {
    /// Let out.
    pub let_out: u64,
    /// Of these, after what should have come after them.
    pub late: u64,
    /// Dropped, for they were let out or are held already.
    pub repeated: u64,
    /// Put off, and to be read again.
    pub put_off: u64,
}

/// Where to go on from: kept in the transaction that appends what was let out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cursors {
    /// Of each source partition the offset up to which, it included, all was let out.
    pub sources: BTreeMap<i32, i64>,
    /// The offset of the partition of hits to read from.
    pub hits: i64,
}

/// Logical time, source partition, offset. All records of one source record are let out together.
type Key = (Timestamp, i32, i64);

#[derive(Debug)]
struct Source {
    mark: Option<(Timestamp, i64)>,
    /// Up to where all was let out.
    done: i64,
    held: BTreeMap<i64, Vec<Held>>,
    /// The lowest that was put off; everything from that offset on is.
    put_off: Option<(Timestamp, i64)>,
}

#[derive(Debug)]
struct Held {
    hits_offset: i64,
    routed: Routed,
}

impl Source {
    fn after(done: i64) -> Source {
        Source { mark: None, done, held: BTreeMap::new(), put_off: None }
    }

    fn head(&self, partition: i32) -> Option<Key> {
        key_of(partition, self.held.first_key_value())
    }

    fn tail(&self, partition: i32) -> Option<Key> {
        key_of(partition, self.held.last_key_value())
    }
}

fn key_of(partition: i32, record: Option<(&i64, &Vec<Held>)>) -> Option<Key> {
    record.and_then(|(offset, parts)| Some((parts.first()?.routed.at, partition, *offset)))
}

impl Merge {
    /// One for so many source partitions, which are numbered from 0, that goes on from where another stood.
    #[must_use]
    pub fn restore(partitions: i32, cursors: &Cursors) -> Merge {
        Merge::bounded(partitions, cursors, HeldBounds::default())
    }

    /// As [`Merge::restore`], for another bound.
    #[must_use]
    pub fn bounded(partitions: i32, cursors: &Cursors, bounds: HeldBounds) -> Merge {
        let mut merge = Merge {
            sources: cursors.sources.iter().map(|(partition, done)| (*partition, Source::after(*done))).collect(),
            heads: BTreeSet::new(),
            held_at: BTreeSet::new(),
            held_bytes: 0,
            put_off_at: None,
            next: cursors.hits,
            last: None,
            bounds,
            counts: MergeCounts::default(),
        };
        merge.grow(partitions);
        merge
    }

    /// There are so many source partitions now. Nothing is let out before each of them has a mark. A topic does not
    /// shrink, and neither does this.
    pub fn grow(&mut self, partitions: i32) {
        for partition in 0..partitions {
            self.source(partition);
        }
    }

    /// How far a source partition is, as the record at this offset of the partition of hits says.
    pub fn mark(&mut self, hits_offset: i64, mark: Mark) {
        self.next = hits_offset + 1;
        let source = self.source(mark.partition);
        // One that was overtaken says less than is known.
        let (at, offset) = source.mark.unwrap_or((mark.at, mark.offset));
        source.mark = Some((at.max(mark.at), offset.max(mark.offset)));
    }

    /// Takes the record at this offset of the partition of hits.
    pub fn push(&mut self, hits_offset: i64, routed: Routed) {
        self.next = hits_offset + 1;
        let (partition, offset) = (routed.from.partition, routed.from.offset);
        let source = self.source(partition);
        let there = source.held.get(&offset);
        if offset <= source.done || there.is_some_and(|parts| parts.iter().any(|part| part.routed.key == routed.key)) {
            self.counts.repeated += 1;
            return;
        }
        // What arrives of one source record is one: it is let out together, at the time that its first part says.
        let at = there.and_then(|parts| parts.first()).map_or(routed.at, |part| part.routed.at);
        if !self.make_room((at, partition, offset), routed.event.line.len()) {
            self.put_off((at, partition, offset), hits_offset);
            return;
        }
        self.held_at.insert(hits_offset);
        self.held_bytes += routed.event.line.len();
        let source = self.source(partition);
        let before = source.head(partition);
        source.held.entry(offset).or_default().push(Held { hits_offset, routed });
        let after = source.head(partition);
        self.head_moved(before, after);
    }

    /// Lets out what every source partition has passed: whole source records until there are `records_max` or
    /// `bytes_max` of their lines; empty if there is nothing.
    pub fn let_out(&mut self, records_max: usize, bytes_max: usize) -> Vec<Routed> {
        let Some(frontier) = self.frontier(true) else { return Vec::new() };
        let (mut out, mut bytes) = (Vec::new(), 0);
        while out.len() < records_max && bytes < bytes_max {
            let Some(head) = self.heads.first().copied().filter(|head| *head < frontier) else { break };
            let mut parts = self.remove(head);
            parts.sort_by(|a, b| (a.index, &a.key).cmp(&(b.index, &b.key)));
            self.source(head.1).done = head.2;
            self.counts.let_out += parts.len() as u64;
            if self.last.is_some_and(|last| head < last) {
                self.counts.late += parts.len() as u64;
            }
            self.last = self.last.max(Some(head));
            bytes += parts.iter().map(|part| part.event.line.len()).sum::<usize>();
            out.append(&mut parts);
        }
        out
    }

    /// Where a restart goes on from, if all that was let out is durable.
    #[must_use]
    pub fn cursors(&self) -> Cursors {
        let done = self.sources.iter().filter(|(_, source)| source.done >= 0);
        let sources = done.map(|(partition, source)| (*partition, source.done)).collect();
        let waiting = self.held_at.first().copied().into_iter().chain(self.put_off_at);
        Cursors { sources, hits: waiting.min().unwrap_or(self.next).min(self.next) }
    }

    /// The offset of the partition of hits to go back to, once what was put off can be let out; to be asked when
    /// [`Merge::let_out`] has no more. The reader goes on from there, and the merge as after a restart.
    pub fn reread(&mut self) -> Option<i64> {
        let lowest = self.sources.iter().filter_map(|(p, source)| source.put_off.map(|(at, offset)| (at, *p, offset)));
        let lowest = lowest.min()?;
        let waits = |frontier: Key| self.heads.first().is_none_or(|head| *head >= frontier);
        if !self.frontier(true).is_none_or(waits) || self.frontier(false).is_none_or(|frontier| frontier <= lowest) {
            return None;
        }
        let from = self.cursors().hits;
        for source in self.sources.values_mut() {
            *source = Source::after(source.done);
        }
        self.heads.clear();
        self.held_at.clear();
        self.held_bytes = 0;
        self.put_off_at = None;
        self.next = from;
        Some(from)
    }

    /// How many records are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held_at.len()
    }

    /// What became of records.
    #[must_use]
    pub fn counts(&self) -> MergeCounts {
        self.counts
    }

    /// The source partition that is furthest behind, and the logical time of its mark; `None` of a partition that has
    /// none yet. What a person is told when nothing is let out.
    #[must_use]
    pub fn furthest_behind(&self) -> Option<(i32, Option<Timestamp>)> {
        let marks = self.sources.iter().map(|(partition, source)| (source.mark, *partition));
        marks.min().map(|(mark, partition)| (partition, mark.map(|(at, _)| at)))
    }

    /// What lies before this can be let out; `None` if that is nothing.
    fn frontier(&self, up_to_what_was_put_off: bool) -> Option<Key> {
        let mut frontier: Option<Key> = None;
        for (partition, source) in &self.sources {
            let (at, offset) = source.mark?;
            let after = (at, *partition, offset.saturating_add(1));
            let lowest = source
                .put_off
                .filter(|_| up_to_what_was_put_off)
                .map_or(after, |(at, offset)| after.min((at, *partition, offset)));
            frontier = Some(frontier.map_or(lowest, |frontier| frontier.min(lowest)));
        }
        frontier
    }

    fn source(&mut self, partition: i32) -> &mut Source {
        self.sources.entry(partition).or_insert_with(|| Source::after(-1))
    }

    /// Whether there is room for a record, if need be where a higher one was.
    fn make_room(&mut self, new: Key, bytes: usize) -> bool {
        loop {
            if self.sources.get(&new.1).and_then(|source| source.put_off).is_some_and(|(_, from)| new.2 >= from) {
                return false;
            }
            let full = self.held_at.len() >= self.bounds.records || self.held_bytes + bytes > self.bounds.bytes;
            if !full {
                return true;
            }
            match self.sources.iter().filter_map(|(partition, source)| source.tail(*partition)).max() {
                None => return true,
                Some(highest) if highest <= new => return false,
                Some(highest) => {
                    let lowest_hit = self.lowest_hit(highest);
                    self.counts.put_off += self.remove(highest).len() as u64 - 1;
                    self.put_off(highest, lowest_hit);
                }
            }
        }
    }

    /// This record, and what follows it of its partition, is to be read again.
    fn put_off(&mut self, (at, partition, offset): Key, hits_offset: i64) {
        self.counts.put_off += 1;
        self.put_off_at = Some(self.put_off_at.map_or(hits_offset, |lowest| lowest.min(hits_offset)));
        let put_off = &mut self.source(partition).put_off;
        if put_off.is_none_or(|(_, lowest)| offset < lowest) {
            *put_off = Some((at, offset));
        }
    }

    /// The lowest offset, within the partition of hits, of what is held of a source record.
    fn lowest_hit(&self, (_, partition, offset): Key) -> i64 {
        let parts = self.sources.get(&partition).and_then(|source| source.held.get(&offset));
        parts.into_iter().flatten().map(|part| part.hits_offset).min().unwrap_or(self.next)
    }

    /// Takes out what is held of a source record.
    fn remove(&mut self, (_, partition, offset): Key) -> Vec<Routed> {
        let source = self.source(partition);
        let before = source.head(partition);
        let parts = source.held.remove(&offset).unwrap_or_default();
        let after = source.head(partition);
        self.head_moved(before, after);
        for part in &parts {
            self.held_at.remove(&part.hits_offset);
            self.held_bytes -= part.routed.event.line.len();
        }
        parts.into_iter().map(|part| part.routed).collect()
    }

    fn head_moved(&mut self, before: Option<Key>, after: Option<Key>) {
        if let Some(before) = before {
            self.heads.remove(&before);
        }
        self.heads.extend(after);
    }
}
