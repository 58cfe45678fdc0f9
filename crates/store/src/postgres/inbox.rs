//! What others leave for a shard, what shards tell all others, and how an owner notices.
//!
//! What is left for one shard lies in its name until it is in its log. What is told lies there once, for all, and every
//! shard remembers how much of it it has heard: in the transaction that moves it to its log, so it hears each exactly
//! once, those that nobody has now as soon as somebody does, and those that are yet to come from the beginning on. It
//! is numbered under the lock under which records are, so nobody passes over what another was about to commit.

use std::path::Path;
use std::sync::Arc;

use postgres::Error;
use postgres::fallible_iterator::FallibleIterator as _;

use super::session::Session;
use super::settings::PostgresSettings;
use super::writing::Pause;
use crate::chunk::{Chunk, Row, VERSION};
use crate::database::{Failure, Letter};
use crate::error::Stopped;
use crate::queue::{Append, InputKind, Queue, Telling};
use crate::sums::{digest, signed};
use crate::{Accepted, Cursor, Idempotency, limits};

/// Who is told that something was left; the payload is the number of the shard, or …
const CHANNEL: &str = "vertice_inbox";

/// … this, where it is for all of them.
const ALL: &str = "all";

/// Something that was left, as it lies there.
pub(crate) struct Sealed {
    number: i64,
    kind: i64,
    blob: Vec<u8>,
    beside: Vec<u8>,
    checksum: i64,
}

/// What comes with an input.
type Beside = (Vec<(String, Vec<u8>)>, Option<([u8; 32], Vec<u8>)>);

fn checksum(kind: i64, blob: &[u8], beside: &[u8]) -> i64 {
    digest(&[b"inbox", &kind.to_le_bytes(), blob, beside])
}

/// Leaves inputs for a shard. Leaving the same again, by its id, changes nothing.
pub(crate) fn leave(session: &mut Session, shard: u32, id: &[u8; 16], append: &Append) -> Result<(), Error> {
    let mut blob = vec![VERSION];
    append.chunks.iter().for_each(|chunk| blob.extend_from_slice(&chunk.bytes));
    let cursors = append.cursors.iter().map(|c| (c.source.clone(), c.value.clone())).collect();
    let key = append.idempotency.as_ref().map(|i| (i.key, i.answer.clone()));
    let beside: Beside = (cursors, key);
    let beside = postcard::to_allocvec(&beside).expect("memory does not refuse to be written");
    let (kind, shard_number) = (append.kind.code(), i64::from(shard));
    let sum = checksum(kind, &blob, &beside);
    let sql = "INSERT INTO inbox (id, shard, kind, blob, beside, checksum) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO NOTHING";
    session.execute(sql, &[&&id[..], &shard_number, &kind, &blob, &beside, &sum])?;
    session.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &shard.to_string()]).map(|_| ())
}

/// What waits for a shard, in its order.
pub(crate) fn waiting(session: &mut Session, shard: u32) -> Result<Vec<Sealed>, Error> {
    let sql = "SELECT number, kind, blob, beside, checksum FROM inbox WHERE shard = $1 AND first IS NULL
        ORDER BY number LIMIT $2";
    let rows = session.rows(sql, &[&i64::from(shard), &limits::INBOX_ROWS])?;
    let sealed = |row: &postgres::Row| Sealed {
        number: row.get(0),
        kind: row.get(1),
        blob: row.get(2),
        beside: row.get(3),
        checksum: row.get(4),
    };
    Ok(rows.iter().map(sealed).collect())
}

impl Sealed {
    /// What it is. What can not be read was not written by us, and nobody but a person may pass it over.
    pub(crate) fn open(self, place: &Path) -> Result<Letter, Failure> {
        let bad = |what: &str| {
            let place = place.display();
            Failure::Stop(Stopped::fatal(format!("{place}: inbox, number {}: {what}", self.number)))
        };
        if checksum(self.kind, &self.blob, &self.beside) != self.checksum {
            return Err(bad("its checksum is wrong"));
        }
        let (cursors, key): Beside = postcard::from_bytes(&self.beside).map_err(|e| bad(&e.to_string()))?;
        let chunks = chunks_of(&self.blob).map_err(|e| bad(&e))?;
        let cursors = cursors.into_iter().map(|(source, value)| Cursor { source, value }).collect();
        let idempotency = key.map(|(key, answer)| Idempotency { key, answer });
        let kind = InputKind::from_code(self.kind);
        let append = Append { kind, chunks, cursors, idempotency, about: crate::concern::Concern::Nothing };
        Ok(Letter { id: self.number, append })
    }
}

fn chunks_of(blob: &[u8]) -> Result<Vec<Chunk>, String> {
    let mut row = Row::open(blob)?;
    let mut chunks = Vec::new();
    while let Some(chunk) = row.next_chunk()? {
        chunks.push(chunk.to_chunk()?);
    }
    Ok(chunks)
}

fn told_checksum((shard, position, index): (i64, i64, i64), blob: &[u8]) -> i64 {
    digest(&[b"told", &shard.to_le_bytes(), &position.to_le_bytes(), &index.to_le_bytes(), blob])
}

/// Tells all other shards. Telling the same again changes nothing.
pub(crate) fn tell(session: &mut Session, shard: u32, telling: &[Telling]) -> Result<(), Error> {
    let shard = i64::from(shard);
    let mut is_new = false;
    for Telling { position, index, chunk } in telling {
        let blob = [&[VERSION], &chunk.bytes[..]].concat();
        let (position, index) = (signed(position.0), i64::from(*index));
        let sum = told_checksum((shard, position, index), &blob);
        let sql = "WITH next AS (UPDATE sequence SET seq = seq + 1 WHERE id = 1 RETURNING seq)
            INSERT INTO told (number, shard, position, idx, blob, checksum) SELECT seq, $1, $2, $3, $4, $5 FROM next
            ON CONFLICT (shard, position, idx) DO NOTHING";
        is_new |= session.execute(sql, &[&shard, &position, &index, &blob, &sum])? > 0;
    }
    if is_new {
        session.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &ALL])?;
    }
    Ok(())
}

/// Something that was told.
pub(crate) struct Said {
    pub(crate) number: i64,
    from: (i64, i64, i64),
    blob: Vec<u8>,
    checksum: i64,
}

/// What was told, by anybody, after a number, in its order.
pub(crate) fn said(session: &mut Session, after: i64) -> Result<Vec<Said>, Error> {
    let sql =
        "SELECT number, shard, position, idx, blob, checksum FROM told WHERE number > $1 ORDER BY number LIMIT $2";
    let rows = session.rows(sql, &[&after, &limits::INBOX_ROWS])?;
    let one = |row: &postgres::Row| Said {
        number: row.get(0),
        from: (row.get(1), row.get(2), row.get(3)),
        blob: row.get(4),
        checksum: row.get(5),
    };
    Ok(rows.iter().map(one).collect())
}

impl Said {
    /// Whether it is what was written.
    pub(crate) fn is_whole(&self) -> bool {
        told_checksum(self.from, &self.blob) == self.checksum
    }

    /// What it is for a shard: nothing, if it told it itself.
    pub(crate) fn open(self, shard: u32, place: &Path) -> Result<Letter, Failure> {
        let bad = |what: &str| {
            Failure::Stop(Stopped::fatal(format!("{}: told, number {}: {what}", place.display(), self.number)))
        };
        if !self.is_whole() {
            return Err(bad("its checksum is wrong"));
        }
        let ours = self.from.0 == i64::from(shard);
        let chunks = if ours { Vec::new() } else { chunks_of(&self.blob).map_err(|e| bad(&e))? };
        let about = crate::concern::Concern::Nothing;
        let append = Append { kind: InputKind::Other, chunks, cursors: Vec::new(), idempotency: None, about };
        Ok(Letter { id: self.number, append })
    }
}

/// How much of what was told a shard has heard.
pub(crate) fn heard(session: &mut Session, shard: u32) -> Result<i64, Error> {
    let row = session.row("SELECT heard FROM shard WHERE shard = $1", &[&i64::from(shard)])?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Notes that a shard has heard everything up to this.
pub(crate) fn set_heard(session: &mut Session, shard: u32, letter: &Letter) -> Result<(), Error> {
    session.execute("UPDATE shard SET heard = $2 WHERE shard = $1", &[&i64::from(shard), &letter.id]).map(|_| ())
}

/// Notes where something that was left stands now. Its content goes.
pub(crate) fn taken(session: &mut Session, letter: &Letter, accepted: &Accepted) -> Result<(), Error> {
    let sql = "UPDATE inbox SET first = $2, count = $3, at_us = $4, repeated = $5, taken_at = now(),
            blob = '', beside = '' WHERE number = $1";
    let Accepted { first, count, at, repeated, shard } = accepted;
    session.execute(sql, &[&letter.id, &signed(first.0), &signed(*count), &at.as_micros(), repeated])?;
    let sql =
        "DELETE FROM inbox WHERE shard = $1 AND first IS NOT NULL AND taken_at < now() - make_interval(mins => $2)";
    session.execute(sql, &[&i64::from(*shard), &limits::INBOX_KEPT_MINUTES]).map(|_| ())
}

/// A shard's epoch, and whether anything waits to be moved to its log; `None` if there is no such shard.
pub(crate) fn look(session: &mut Session, shard: u32) -> Result<Option<(u64, bool)>, Error> {
    let sql = "SELECT epoch, EXISTS (SELECT 1 FROM inbox WHERE shard = $1 AND first IS NULL)
        OR EXISTS (SELECT 1 FROM told WHERE number > s.heard) FROM shard s WHERE s.shard = $1";
    let row = session.row(sql, &[&i64::from(shard)])?;
    Ok(row.map(|row| (row.get::<_, i64>(0) as u64, row.get(1))))
}

/// Tells a shard's writer when something was left for it, or when another instance took it over, until its queue stops.
pub(crate) fn watch(settings: &PostgresSettings, (shard, epoch): (u32, u64), queue: &Arc<Queue>) {
    let mut pause = Pause::new();
    loop {
        let watched = listen(settings, (shard, epoch), queue, &mut pause);
        if queue.stopped().is_some() {
            return;
        }
        if let Err(error) = watched {
            tracing::warn!(error, shard, "nobody looks into the inbox; trying again");
        }
        if queue.wait_stopped(pause.failed()) {
            return;
        }
    }
}

fn listen(
    settings: &PostgresSettings,
    (shard, epoch): (u32, u64),
    queue: &Arc<Queue>,
    pause: &mut Pause,
) -> Result<(), String> {
    let mut session = Session::open(settings, &format!("inbox of shard {shard}")).map_err(|e| e.to_string())?;
    let said = |e: Error| super::session::words(&e);
    session.batch(&format!("LISTEN {CHANNEL}")).map_err(said)?;
    *pause = Pause::new();
    // Listening first, so that nothing is left unnoticed between looking and listening.
    let mut looks = 0_u32;
    while queue.stopped().is_none() {
        let due = looks.is_multiple_of(limits::INBOX_LOOK_EVERY);
        if due && let Some((found, waits)) = look(&mut session, shard).map_err(said)? {
            if found != epoch || waits {
                queue.look_into_inbox();
            }
            // There may be more than is taken at once.
            looks = if waits { 0 } else { 1 };
        } else {
            looks = looks.wrapping_add(1);
        }
        let shard = shard.to_string();
        let mut notes = session.client.notifications();
        let ours = |note: &postgres::Notification| note.payload() == shard || note.payload() == ALL;
        let mut ours = notes.timeout_iter(limits::INBOX_WAIT).filter(|note| Ok(ours(note)));
        if ours.next().map_err(said)?.is_some() {
            looks = 0;
        }
    }
    Ok(())
}
