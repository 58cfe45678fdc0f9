//! Writing a shard: every transaction begins with its fence, and none is repeated unless it is known not to be there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vertice_model::Timestamp;

use super::session::{Means, Session, means, words};
use super::settings::PostgresSettings;
use super::{inbox, keep};
use crate::chunk::VERSION;
use crate::database::{Database, Failure, Inbox, Letter, Tx, Work};
use crate::error::{DatabaseError, ReadError, Stopped, SubmitError};
use crate::head::Head;
use crate::place::Place;
use crate::queue::{Keep, Queue, Telling};
use crate::record::RecordRow;
use crate::row::NewRow;
use crate::sums::{self, signed};
use crate::writer::{monotonic, refuse};
use crate::{Accepted, Cursor, Idempotency, Remembered, limits};

/// A shard, as its owner has it.
pub(crate) struct Shard {
    pub(crate) settings: PostgresSettings,
    pub(crate) shard: u32,
    /// With which it was taken.
    pub(crate) epoch: u64,
    pub(crate) session: Option<Session>,
    pub(crate) queue: Arc<Queue>,
    /// When to connect again at the earliest, and how long to wait after the next failure.
    pub(crate) pause: Pause,
}

/// How long to wait before connecting again: twice as long each time, to a limit.
#[derive(Debug)]
pub(crate) struct Pause {
    not_before: Option<std::time::Instant>,
    length: Duration,
}

impl Pause {
    pub(crate) fn new() -> Pause {
        Pause { not_before: None, length: limits::POSTGRES_PAUSE_MIN }
    }

    /// Whether it is too early.
    pub(crate) fn too_early(&self) -> bool {
        self.not_before.is_some_and(|at| monotonic() < at)
    }

    /// Waits the longer the oftener; how long.
    pub(crate) fn failed(&mut self) -> Duration {
        let length = self.length;
        self.not_before = Some(monotonic() + length);
        self.length = (length * 2).min(limits::POSTGRES_PAUSE_MAX);
        length
    }
}

/// Why a transaction did not come about, or whether it did is not known.
enum Broken {
    /// Nothing of it was kept.
    Kept(Failure),
    /// Nothing of it was kept, and trying again at once may help.
    Again(String),
    /// The connection broke during the commit, of this head.
    Unknown(Head, String),
}

impl Database for Shard {
    fn write(&mut self, head: &Head, work: &mut Work<'_>) -> Result<Head, Failure> {
        for tried in 0.. {
            let session = match self.session.take() {
                Some(session) => session,
                None => self.connect()?,
            };
            match self.attempt(session, head, work) {
                Ok(new) => {
                    self.pause = Pause::new();
                    return Ok(new);
                }
                Err(Broken::Kept(failure)) => return Err(failure),
                // A connection may have died while it was idle.
                Err(Broken::Again(_)) if tried < limits::POSTGRES_TRIES => {}
                Err(Broken::Again(what)) => return Err(Failure::Away(what)),
                Err(Broken::Unknown(new, what)) => {
                    if self.came_about(head, &new, what)? {
                        return Ok(new);
                    }
                }
            }
        }
        unreachable!("every way but trying again returns")
    }

    fn committed(&mut self, _: &Head) {}

    fn upkeep(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    /// There is nothing to be moved, and the shard is free for whoever takes it.
    fn close(&mut self, head: &Head) -> Result<(), Stopped> {
        let mut nothing = |_: &mut dyn Tx| Ok(Head { commits: head.commits + 1, ..*head });
        match self.write(head, &mut nothing) {
            Ok(_) | Err(Failure::Away(_) | Failure::NoSpace(_)) => Ok(()),
            Err(Failure::Stop(stopped)) if stopped.taken_over => Ok(()),
            Err(Failure::Stop(stopped)) => Err(stopped),
        }
    }

    fn judged_within(&self) -> Option<Duration> {
        Some(limits::POSTGRES_JUDGED_WITHIN)
    }
}

impl Shard {
    fn connect(&mut self) -> Result<Session, Failure> {
        if self.pause.too_early() {
            return Err(Failure::Away(format!("{} could not be reached a moment ago", self.settings.whereabouts())));
        }
        Session::open(&self.settings, &format!("shard {}", self.shard)).map_err(|e| {
            self.pause.failed();
            Failure::Away(e.to_string())
        })
    }

    fn place(&self) -> PathBuf {
        format!("{}, shard {}", self.settings.whereabouts(), self.shard).into()
    }

    fn attempt(&mut self, mut session: Session, head: &Head, work: &mut Work<'_>) -> Result<Head, Broken> {
        let place = self.place();
        let mut tx = Writing {
            session: &mut session,
            place: &place,
            shard: self.shard,
            epoch: self.epoch,
            records: BTreeMap::new(),
            telling: Vec::new(),
            again: None,
        };
        let written = tx.begin(head).and_then(|()| work(&mut tx)).and_then(|new| tx.finish(&new).map(|()| new));
        let again = tx.again.take();
        let new = match written {
            Ok(new) => new,
            Err(failure) => {
                if !session.client.is_closed() && session.batch("ROLLBACK").is_ok() {
                    self.session = Some(session);
                }
                return Err(again.map_or(Broken::Kept(failure), Broken::Again));
            }
        };
        match session.batch("COMMIT") {
            Ok(()) => {
                self.session = Some(session);
                Ok(new)
            }
            Err(e) if means(&e) == Means::Away => Err(Broken::Unknown(new, words(&e))),
            Err(e) => Err(Broken::Kept(failure_of(&place, &e))),
        }
    }

    /// Looks whether a transaction came about whose commit was not answered. Whoever submits is told to come again
    /// meanwhile; what it is about waits.
    fn came_about(&mut self, before: &Head, new: &Head, mut what: String) -> Result<bool, Failure> {
        tracing::warn!(what, shard = self.shard, "the connection broke during a commit; looking whether it came about");
        let busy = SubmitError::Busy { retry_after: limits::BUSY_RETRY };
        self.queue.set_away(true).into_iter().for_each(|command| refuse(command, &busy));
        let found = loop {
            match self.look() {
                Ok(found) => break found,
                Err(e) => what = e,
            }
            if self.queue.wait_stopped(self.pause.failed()) {
                let reason =
                    format!("it was closed while {} was away, during a commit ({what})", self.place().display());
                return Err(Failure::Stop(Stopped::fatal(reason)));
            }
        };
        self.queue.set_away(false);
        self.pause = Pause::new();
        let (epoch, commits) = found;
        if epoch != self.epoch {
            return Err(Failure::Stop(superseded(self.shard, self.epoch, epoch)));
        }
        match commits {
            n if n == new.commits => Ok(true),
            n if n == before.commits => Ok(false),
            n => Err(Failure::Stop(foreign(&self.place(), before.commits, n))),
        }
    }

    /// The shard's epoch and how many transactions it has, once nobody is in the middle of one.
    fn look(&mut self) -> Result<(u64, u64), String> {
        let mut session = Session::open(&self.settings, &format!("shard {}", self.shard)).map_err(|e| e.to_string())?;
        let found = session.transaction(|s| lock(s, self.shard)).map_err(|e| words(&e))?;
        self.session = Some(session);
        Ok(found)
    }
}

/// Locks a shard's row; its epoch and how many transactions it has.
fn lock(session: &mut Session, shard: u32) -> Result<(u64, u64), postgres::Error> {
    let sql = "SELECT epoch, commits FROM shard WHERE shard = $1 FOR UPDATE";
    let row = session.row(sql, &[&i64::from(shard)])?;
    Ok(row.map_or((0, 0), |row| (row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64)))
}

fn superseded(shard: u32, own: u64, found: u64) -> Stopped {
    Stopped::taken_over(format!("another instance took shard {shard} over (epoch {found}; this one had {own})"))
}

fn foreign(place: &std::path::Path, expected: u64, found: u64) -> Stopped {
    let place = place.display();
    Stopped::fatal(format!("{place}: it has {found} transactions in place of {expected}: it was changed by others"))
}

fn failure_of(place: &std::path::Path, error: &postgres::Error) -> Failure {
    match means(error) {
        Means::NoSpace => Failure::NoSpace(words(error)),
        Means::Away | Means::Again => Failure::Away(words(error)),
        Means::Fatal => {
            let reason = format!("writing {} failed: {}", place.display(), words(error));
            tracing::error!(reason, "the store stops: what was not acknowledged may or may not be kept");
            Failure::Stop(Stopped::fatal(reason))
        }
    }
}

/// A transaction of a shard.
struct Writing<'a> {
    session: &'a mut Session,
    place: &'a std::path::Path,
    shard: u32,
    epoch: u64,
    /// What is projected, written last, for all shards wait for each other from then on.
    records: BTreeMap<(i64, String), RecordRow>,
    /// What the others are told, after that.
    telling: Vec<Telling>,
    /// Set when trying again may help.
    again: Option<String>,
}

impl Writing<'_> {
    fn done<T>(&mut self, result: Result<T, postgres::Error>) -> Result<T, Failure> {
        result.map_err(|e| {
            if let Means::Away | Means::Again = means(&e) {
                self.again = Some(words(&e));
            }
            failure_of(self.place, &e)
        })
    }

    /// Begins it, if the shard is still ours and as we left it.
    fn begin(&mut self, head: &Head) -> Result<(), Failure> {
        let begun = self.session.batch("BEGIN").and_then(|()| lock(self.session, self.shard));
        let (epoch, commits) = self.done(begun)?;
        if epoch != self.epoch {
            return Err(Failure::Stop(superseded(self.shard, self.epoch, epoch)));
        }
        if commits != head.commits {
            return Err(Failure::Stop(foreign(self.place, head.commits, commits)));
        }
        Ok(())
    }

    /// Writes what is left before the commit.
    fn finish(&mut self, head: &Head) -> Result<(), Failure> {
        let written = write_head(self.session, self.shard, head);
        self.done(written)?;
        let records = std::mem::take(&mut self.records);
        if !records.is_empty() {
            let projected = project(self.session, self.shard, records);
            self.done(projected)?;
        }
        let told = inbox::tell(self.session, self.shard, &std::mem::take(&mut self.telling));
        self.done(told)
    }
}

/// Writes how far a shard has come.
pub(crate) fn write_head(session: &mut Session, shard: u32, head: &Head) -> Result<(), postgres::Error> {
    let sql = "UPDATE shard SET commits = $2, log_end = $3, at_us = $4, judged = $5, checksum = $6 WHERE shard = $1";
    let numbers = (signed(head.commits), signed(head.log_end.0), head.at.as_micros(), signed(head.judged.0));
    let (commits, log_end, at, judged) = numbers;
    session.execute(sql, &[&i64::from(shard), &commits, &log_end, &at, &judged, &head.checksum()]).map(|_| ())
}

/// Writes records and numbers them.
pub(crate) fn project(
    session: &mut Session,
    shard: u32,
    records: BTreeMap<(i64, String), RecordRow>,
) -> Result<(), postgres::Error> {
    let mut rows: Vec<RecordRow> = records.into_values().collect();
    rows.sort_by_key(|row| row.effect);
    let seq = "UPDATE sequence SET seq = seq + $1 WHERE id = 1 RETURNING seq";
    let last: i64 = session.row(seq, &[&(rows.len() as i64)])?.map_or(0, |row| row.get(0));
    let first = last - rows.len() as i64 + 1;
    let numbers = |of: &dyn Fn(&RecordRow) -> i64| rows.iter().map(of).collect::<Vec<i64>>();
    let texts = |of: &dyn Fn(&RecordRow) -> String| rows.iter().map(of).collect::<Vec<String>>();
    let (kinds, keys) = (numbers(&|r| r.kind.code()), texts(&|r| r.key.clone()));
    let positions = numbers(&|r| signed(r.effect.position.0));
    let indices = numbers(&|r| i64::from(r.effect.index));
    let seqs: Vec<i64> = (first..=last).collect();
    let severities = numbers(&|r| r.severity as i64);
    let states = texts(&|r| r.state.to_owned());
    let rules: Vec<Option<&str>> = rows.iter().map(|r| r.rule_id.as_deref()).collect();
    let threats: Vec<Option<&str>> = rows.iter().map(|r| r.threat_id.as_deref()).collect();
    let times = numbers(&|r| r.at.as_micros());
    let checksums = numbers(&|r| sums::record(r, r.state));
    let jsons: Vec<&str> = rows.iter().map(|r| r.json.as_str()).collect();
    let ranks = numbers(&|r| r.rank);
    // Of a detection and a refused event the first record stands.
    let sql = "INSERT INTO record (shard, kind, key, position, idx, seq, severity, state, rule_id, threat_id, at_us, checksum, json, rank)
        SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::text[], $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::text[], $14::bigint[])
        ON CONFLICT (shard, kind, key) DO UPDATE SET position = excluded.position, idx = excluded.idx,
            seq = excluded.seq, severity = excluded.severity, state = excluded.state, rule_id = excluded.rule_id,
            threat_id = excluded.threat_id, at_us = excluded.at_us, checksum = excluded.checksum, json = excluded.json,
            rank = excluded.rank
        WHERE record.kind NOT IN (0, 5) AND (excluded.position, excluded.idx) > (record.position, record.idx)
        RETURNING kind, key";
    let shard = i64::from(shard);
    let changed = session.rows(
        sql,
        &[
            &shard,
            &kinds,
            &keys,
            &positions,
            &indices,
            &seqs,
            &severities,
            &states,
            &rules,
            &threats,
            &times,
            &checksums,
            &jsons,
            &ranks,
        ],
    )?;
    let changed: std::collections::BTreeSet<(i64, String)> =
        changed.iter().map(|row| (row.get(0), row.get(1))).collect();
    let (mut entities, mut kinds, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows.iter().filter(|r| changed.contains(&(r.kind.code(), r.key.clone()))) {
        for entity in &row.entities {
            entities.push(entity.as_str());
            kinds.push(row.kind.code());
            keys.push(row.key.as_str());
        }
    }
    let sql = "INSERT INTO about (entity, kind, shard, key)
        SELECT e, k, $1, y FROM unnest($2::text[], $3::bigint[], $4::text[]) AS a (e, k, y) ON CONFLICT DO NOTHING";
    session.execute(sql, &[&shard, &entities, &kinds, &keys]).map(|_| ())
}

/// Takes a record among those that are to be written together: of each id the one that stands.
pub(crate) fn gather(records: &mut BTreeMap<(i64, String), RecordRow>, row: &RecordRow) {
    let mut row = row.clone();
    // PostgreSQL has no text with NUL. Whatever is attacked with one is still found by the rest of its name.
    let plain = |text: &str| text.replace('\0', "\u{fffd}");
    row.entities = row.entities.iter().map(|e| plain(e)).collect();
    row.rule_id = row.rule_id.as_deref().map(plain);
    match records.get_mut(&(row.kind.code(), row.key.clone())) {
        None => _ = records.insert((row.kind.code(), row.key.clone()), row),
        Some(_) if row.kind.first_stands() => {}
        Some(known) => {
            // What a record is about only grows.
            let entities = std::mem::take(&mut known.entities);
            if row.effect > known.effect {
                *known = row;
                known.entities.extend(entities);
            } else {
                known.entities = entities;
            }
        }
    }
}

impl Tx for Writing<'_> {
    fn append(&mut self, row: &NewRow<'_>) -> Result<(), Failure> {
        let mut blob = Vec::with_capacity(row.bytes);
        blob.push(VERSION);
        row.chunks.iter().for_each(|chunk| blob.extend_from_slice(&chunk.bytes));
        let sql =
            "INSERT INTO log (shard, seq_first, n, kind, at_us, checksum, blob) VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let (first, n, at) = (signed(row.first.0), signed(row.n), row.at.as_micros());
        let shard = i64::from(self.shard);
        let done = self.session.execute(sql, &[&shard, &first, &n, &row.kind.code(), &at, &row.checksum(), &blob]);
        self.done(done).map(|_| ())
    }

    fn project(&mut self, rows: &[RecordRow]) -> Result<(), Failure> {
        rows.iter().for_each(|row| gather(&mut self.records, row));
        Ok(())
    }

    /// Last, as records are: it is numbered with them.
    fn tell(&mut self, telling: &[Telling]) -> Result<(), Failure> {
        self.telling.extend_from_slice(telling);
        Ok(())
    }

    fn remembered(&mut self, key: &[u8; 32], now: Timestamp) -> Result<Option<Remembered>, Failure> {
        let place = Place { file: self.place, table: "idempotency" };
        match keep::remembered(self.session, place, (self.shard, key), now) {
            Ok(found) => Ok(found),
            Err(ReadError::Database { source: DatabaseError::Postgres(e), .. }) => self.done(Err(e)),
            Err(other) => Err(Failure::Stop(Stopped::fatal(other.to_string()))),
        }
    }

    fn remember(&mut self, idempotency: &Idempotency, accepted: &Accepted) -> Result<(), Failure> {
        let done = keep::remember(self.session, self.shard, idempotency, accepted);
        self.done(done)
    }

    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), Failure> {
        let done = keep::set_cursor(self.session, self.shard, cursor);
        self.done(done)
    }

    fn keep(&mut self, keep: &Keep, now: Timestamp) -> Result<bool, Failure> {
        let done = keep::keep(self.session, (self.shard, self.epoch), keep, now);
        self.done(done)
    }

    fn inbox(&mut self) -> Result<Inbox, Failure> {
        // What was left is read first: whoever left it may have known of what was told before, and that is read now.
        let left = inbox::waiting(self.session, self.shard);
        let left = self.done(left)?;
        let heard = inbox::heard(self.session, self.shard);
        let heard = self.done(heard)?;
        let told = inbox::said(self.session, heard);
        let told = self.done(told)?;
        let more = told.len() as i64 >= limits::INBOX_ROWS;
        Ok(Inbox {
            told: told.into_iter().map(|said| said.open(self.shard, self.place)).collect::<Result<_, _>>()?,
            left: left.into_iter().filter(|_| !more).map(|l| l.open(self.place)).collect::<Result<_, _>>()?,
            more,
        })
    }

    fn heard(&mut self, letter: &Letter) -> Result<(), Failure> {
        let done = inbox::set_heard(self.session, self.shard, letter);
        self.done(done)
    }

    fn taken(&mut self, letter: &Letter, accepted: &Accepted) -> Result<(), Failure> {
        let done = inbox::taken(self.session, letter, accepted);
        self.done(done)
    }
}
