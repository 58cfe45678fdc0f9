//! All shards at once: what is appended is left for the owner of the shard that it concerns, and whoever waits is told
//! how far the shards are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use ring::rand::SecureRandom as _;
use tokio::sync::oneshot;
use vertice_model::{Position, Timestamp};

use super::session::{Means, Session, means, words};
use super::settings::PostgresSettings;
use super::writing::Pause;
use super::{inbox, keep, reading};
use crate::concern::{Concern, HOME};
use crate::error::{ReadError, Stopped, SubmitError};
use crate::news::News;
use crate::place::Place;
use crate::queue::{Append, Command, Keep, Queue};
use crate::stats::StoreStats;
use crate::types::ShardState;
use crate::writer::{monotonic, refuse};
use crate::{Accepted, Clock, limits};

type Id = [u8; 16];

/// The thread that leaves things for shards and looks how far they are.
pub(crate) struct Leaver {
    pub(crate) settings: PostgresSettings,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stats: Arc<StoreStats>,
    pub(crate) news: Arc<News>,
    pub(crate) session: Option<Session>,
    /// What was left or is to be left, and not yet taken.
    pub(crate) left: HashMap<Id, Left>,
    pub(crate) pause: Pause,
    /// When it was last looked how far the shards are.
    pub(crate) looked: Option<Instant>,
}

/// Something on its way to a shard.
pub(crate) struct Left {
    append: Append,
    ack: oneshot::Sender<Result<Accepted, SubmitError>>,
    since: Instant,
    /// Whether it was ever tried to leave it: from then on only the database knows.
    tried: bool,
    /// Whether it lies there.
    lies: bool,
}

const BUSY: SubmitError = SubmitError::Busy { retry_after: limits::BUSY_RETRY };

impl Leaver {
    /// Works until the queue is stopped and empty, and nothing is on its way.
    pub(crate) fn run(mut self) {
        loop {
            let wait = if self.left.is_empty() { limits::OVERVIEW_LOOK } else { limits::OVERVIEW_ASK };
            let group = self.queue.take(Some(wait), 1);
            let ending = group.is_none();
            let group = group.unwrap_or_default();
            let mut kept = Vec::new();
            for command in group {
                self.take(command, &mut kept);
            }
            match self.turn(kept, ending) {
                // Too early to connect again, it says nothing.
                Ok(()) if self.session.is_some() => _ = self.news.keeping_waits.send_replace(None),
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(error, "the database is away");
                    self.news.keeping_waits.send_replace(Some(format!("the database is away: {error}")));
                    self.session = None;
                    let _pause = self.pause.failed();
                }
            }
            self.give_up(ending);
            if ending && self.session.is_none() {
                self.leave_unknown();
            }
            if ending && self.left.is_empty() {
                return;
            }
            if ending {
                // The queue does not wait any more.
                self.queue.rest(limits::OVERVIEW_LOOK);
            }
        }
    }

    fn take(&mut self, command: Command, kept: &mut Vec<(Keep, oneshot::Sender<Result<bool, SubmitError>>)>) {
        match command {
            Command::Append(append, ack) => {
                let mut id = [0; 16];
                let full = self.left.len() >= limits::QUEUE_SUBMISSIONS_MAX;
                if full || ring::rand::SystemRandom::new().fill(&mut id).is_err() {
                    return refuse(Command::Append(append, ack), &BUSY);
                }
                let left = Left { append, ack, since: monotonic(), tried: false, lies: false };
                self.left.insert(id, left);
            }
            Command::Keep(keep @ (Keep::AddApiKey { .. } | Keep::RemoveApiKey { .. } | Keep::Meta { .. }), ack) => {
                kept.push((keep, ack));
            }
            other @ (Command::Keep(..) | Command::Project(..) | Command::Inbox) => {
                let reason = "an overview has no engine, and keeps nothing of one".into();
                refuse(other, &Stopped { reason, fatal: false, taken_over: false }.into());
            }
        }
    }

    /// Leaves what is to be left, asks what was taken, and looks how far the shards are.
    fn turn(
        &mut self,
        kept: Vec<(Keep, oneshot::Sender<Result<bool, SubmitError>>)>,
        ending: bool,
    ) -> Result<(), String> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None if self.pause.too_early() => {
                kept.into_iter().for_each(|(keep, ack)| refuse(Command::Keep(keep, ack), &BUSY));
                return Ok(());
            }
            None => match Session::open(&self.settings, "overview") {
                Ok(session) => session,
                Err(e) => {
                    kept.into_iter().for_each(|(keep, ack)| refuse(Command::Keep(keep, ack), &BUSY));
                    return Err(e.to_string());
                }
            },
        };
        let now = (self.clock)();
        for (keep, ack) in kept {
            // One statement each, which is there or is not; who is told to come again may find it done.
            let done = keep::keep(&mut session, (0, 0), &keep, now).map_err(|e| match means(&e) {
                Means::NoSpace => SubmitError::DiskFull { retry_after: limits::DISK_FULL_RETRY },
                Means::Away | Means::Again => BUSY,
                Means::Fatal => Stopped::fatal(words(&e)).into(),
            });
            let _gone = ack.send(done).is_err();
        }
        self.leave(&mut session).map_err(|e| words(&e))?;
        self.ask(&mut session).map_err(|e| words(&e))?;
        if !ending && self.looked.is_none_or(|at| at.elapsed() >= limits::OVERVIEW_LOOK) {
            self.look(&mut session).map_err(|e| e.to_string())?;
            self.looked = Some(monotonic());
        }
        self.pause = Pause::new();
        self.session = Some(session);
        Ok(())
    }

    fn leave(&mut self, session: &mut Session) -> Result<(), postgres::Error> {
        let new: Vec<Id> = self.left.iter().filter(|(_, l)| !l.lies).map(|(id, _)| *id).collect();
        for id in new {
            let Some(left) = self.left.get_mut(&id) else { continue };
            if left.append.chunks.is_empty() && left.append.idempotency.is_none() {
                // No input, so there is nothing that a shard's owner would have to know.
                let done = session.transaction(|s| cursors(s, &left.append));
                let Some(left) = self.left.remove(&id) else { continue };
                let now = (self.clock)();
                let accepted = |_| Accepted { shard: 0, first: Position(1), count: 0, at: now, repeated: None };
                let _gone = left.ack.send(done.map(accepted).map_err(|_| BUSY)).is_err();
                continue;
            }
            let shard = shard_of(session, &left.append.about)?;
            left.tried = true;
            session.transaction(|s| inbox::leave(s, shard, &id, &left.append))?;
            left.lies = true;
        }
        Ok(())
    }

    /// Answers those whose input was taken.
    fn ask(&mut self, session: &mut Session) -> Result<(), postgres::Error> {
        let tried: Vec<&[u8]> = self.left.iter().filter(|(_, l)| l.tried).map(|(id, _)| &id[..]).collect();
        if tried.is_empty() {
            return Ok(());
        }
        let sql =
            "SELECT id, shard, first, count, at_us, repeated FROM inbox WHERE id = ANY ($1) AND first IS NOT NULL";
        for row in session.rows(sql, &[&tried])? {
            let id: Option<Id> = row.get::<_, Vec<u8>>(0).try_into().ok();
            let Some(left) = id.and_then(|id| self.left.remove(&id)) else { continue };
            let accepted = Accepted {
                shard: row.get::<_, i64>(1) as u32,
                first: Position(row.get::<_, i64>(2) as u64),
                count: row.get::<_, i64>(3) as u64,
                at: Timestamp::from_micros(row.get(4)),
                repeated: row.get(5),
            };
            if accepted.repeated.is_none() {
                self.stats.events.fetch_add(accepted.count, std::sync::atomic::Ordering::Relaxed);
            }
            let _gone = left.ack.send(Ok(accepted)).is_err();
        }
        Ok(())
    }

    /// Takes back what nobody takes, unless it was taken after all, and says so.
    fn give_up(&mut self, ending: bool) {
        let late = |left: &Left| ending || left.since.elapsed() >= limits::INBOX_ANSWER_WAIT;
        let ids: Vec<Id> = self.left.iter().filter(|(_, l)| late(l)).map(|(id, _)| *id).collect();
        for id in ids {
            let tried = self.left.get(&id).is_some_and(|l| l.tried);
            let back = match &mut self.session {
                _ if !tried => Ok(1),
                // Only the database knows whether it lies there.
                None => continue,
                Some(session) => session.execute("DELETE FROM inbox WHERE id = $1 AND first IS NULL", &[&&id[..]]),
            };
            match back {
                Ok(0) if self.left.get(&id).is_some_and(|l| l.lies) => {}
                Ok(_) => {
                    if let Some(left) = self.left.remove(&id) {
                        let _gone = left.ack.send(Err(BUSY)).is_err();
                    }
                }
                Err(_) => self.session = None,
            }
        }
    }

    /// Says of what is on its way that nobody knows what becomes of it: it is closed while the database is away.
    fn leave_unknown(&mut self) {
        for (_, left) in self.left.drain() {
            let reason = "it was closed while the database was away; what was left may still be taken";
            let _gone = left.ack.send(Err(Stopped::fatal(reason).into())).is_err();
        }
    }

    /// Looks how far the shards are before anybody asks.
    pub(crate) fn look_first(&mut self) -> Result<(), ReadError> {
        let Some(mut session) = self.session.take() else { return Ok(()) };
        self.look(&mut session)?;
        self.session = Some(session);
        Ok(())
    }

    fn look(&mut self, session: &mut Session) -> Result<(), ReadError> {
        let place = self.settings.whereabouts();
        let place = Place { file: place.as_ref(), table: "shard" };
        let shards: Vec<ShardState> = reading::heads(session, place)?
            .into_iter()
            .map(|(shard, head, epoch)| ShardState { shard, epoch, log_end: head.log_end, judged: head.judged })
            .collect();
        let sum = |of: fn(&ShardState) -> u64| Position(shards.iter().map(of).sum());
        let (log_end, judged) = (sum(|s| s.log_end.0), sum(|s| s.judged.0));
        // First, so that who sees the sum move finds the shard that moved.
        self.news.shards.send_if_modified(|known| std::mem::replace(known, shards.clone()) != shards);
        self.news.tell(log_end, judged);
        Ok(())
    }
}

fn cursors(session: &mut Session, append: &Append) -> Result<(), postgres::Error> {
    append.cursors.iter().try_for_each(|cursor| keep::set_cursor(session, 0, cursor))
}

/// The shard that knows what an input is about; [`HOME`] where none does.
fn shard_of(session: &mut Session, about: &Concern) -> Result<u32, postgres::Error> {
    let found = match about {
        Concern::Nothing => return Ok(HOME),
        Concern::Record(kind, key) => {
            let sql = "SELECT min(shard) FROM record WHERE kind = $1 AND key = $2";
            session.row(sql, &[&kind.code(), key])?
        }
        Concern::Order(order) => {
            // What was ever carried out was claimed; what was not is named by its run.
            let sql = "SELECT coalesce((SELECT shard FROM claim WHERE order_id = $1),
                (SELECT min(shard) FROM record WHERE kind = $2 AND position($1 in json) > 0))";
            session.row(sql, &[order, &crate::RecordKind::Run.code()])?
        }
    };
    Ok(found.and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or_default() as u32)
}
