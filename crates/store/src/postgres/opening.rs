//! Taking a shard, and opening all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use vertice_model::Position;

use super::inbox;
use super::overview::Leaver;
use super::reading::{Reading, ends, head};
use super::schema;
use super::session::{Session, open_error};
use super::settings::PostgresSettings;
use super::writing::{Pause, Shard};
use crate::Clock;
use crate::error::{DatabaseError, OpenError, ReadError};
use crate::head::Head;
use crate::news::News;
use crate::place::Place;
use crate::query::Scope;
use crate::queue::Queue;
use crate::stats::StoreStats;
use crate::store::{Form, Shared};
use crate::writer::Writer;

/// Connects, and makes the tables if there are none.
pub(crate) fn session(settings: &PostgresSettings, name: &str) -> Result<Session, OpenError> {
    let mut session = Session::open(settings, name)?;
    schema::prepare(&mut session, settings)?;
    Ok(session)
}

/// Looks whether a server can be used, and changes nothing: where it is, and of which version. Blocks.
///
/// # Errors
/// When it can not be used.
pub fn look(settings: &PostgresSettings) -> Result<String, OpenError> {
    let mut session = Session::open(settings, "doctor")?;
    let row = session.row("SHOW server_version", &[]).map_err(|e| open_error(settings, &e))?;
    let version: String = row.map(|row| row.get(0)).unwrap_or_default();
    Ok(format!("{} is of version {version}", settings.whereabouts()))
}

/// What an error of reading means while opening.
pub(crate) fn unread(settings: &PostgresSettings) -> impl Fn(ReadError) -> OpenError {
    move |error| match error {
        ReadError::Damaged(damage) => OpenError::Damaged(damage),
        ReadError::Database { source: DatabaseError::Postgres(e), .. } => open_error(settings, &e),
        ReadError::Database { doing, source } => {
            OpenError::Database { doing, path: settings.whereabouts().into(), source }
        }
    }
}

fn thread(
    settings: &PostgresSettings,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let path = settings.whereabouts().into();
    let io = |source| OpenError::Io { doing: "starting a thread for", path, source };
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(io)
}

/// Takes a shard from whoever has it.
pub(crate) fn take_shard(settings: &PostgresSettings, shard: u32, clock: Clock) -> Result<Shared, OpenError> {
    let mut session = session(settings, &format!("shard {shard}"))?;
    let failed = |e| open_error(settings, &e);
    let make = "INSERT INTO shard (shard, epoch, commits, log_end, at_us, judged, checksum)
        VALUES ($1, 0, 0, 0, 0, 0, $2) ON CONFLICT (shard) DO NOTHING";
    session.execute(make, &[&i64::from(shard), &Head::default().checksum()]).map_err(failed)?;
    let take = "UPDATE shard SET epoch = epoch + 1, taken_at = now() WHERE shard = $1 AND moving IS NULL";
    if session.execute(take, &[&i64::from(shard)]).map_err(failed)? == 0 {
        return Err(OpenError::Server {
            server: settings.whereabouts(),
            what: format!("a data directory is being moved to shard {shard}"),
            advice: "end that first: `vertice migrate --to postgres` goes on where it was",
        });
    }
    let place = format!("{}, shard {shard}", settings.whereabouts());
    let place = |table| Place { file: place.as_ref(), table };
    let read = head(&mut session, place("shard"), shard).map_err(unread(settings))?;
    let (head, epoch) = read.unwrap_or_default();
    ends(&mut session, place("log"), shard, &head).map_err(unread(settings))?;
    let waits = inbox::look(&mut session, shard).map_err(failed)?.is_some_and(|(_, waits)| waits);
    let stats = Arc::new(StoreStats::default());
    let queue = Arc::new(Queue::new(stats.clone()));
    let news = Arc::new(News::new(head.log_end, head.judged));
    let db = Shard {
        settings: settings.clone(),
        shard,
        epoch,
        session: Some(session),
        queue: queue.clone(),
        pause: Pause::new(),
    };
    let writer = Writer {
        db: Box::new(db),
        shard,
        head,
        clock: clock.clone(),
        queue: queue.clone(),
        stats: stats.clone(),
        news: news.clone(),
        owed: Vec::new(),
        untold: false,
    };
    // Before anything else comes: what was decided while nobody had it.
    if waits {
        queue.look_into_inbox();
    }
    let writer = thread(settings, "store-writer", move || writer.run())?;
    let (watched, watching) = (settings.clone(), queue.clone());
    let watch = thread(settings, "store-inbox", move || inbox::watch(&watched, (shard, epoch), &watching))?;
    Ok(Shared {
        form: Form::Shard { shard, epoch, settings: Box::new(settings.clone()) },
        clock,
        queue,
        reads: Box::new(Reading::new(settings, Scope::Shard(shard))),
        stats,
        news,
        bulk: Arc::default(),
        threads: Mutex::new(vec![writer, watch]),
    })
}

/// Opens all shards.
pub(crate) fn overview(settings: &PostgresSettings, clock: Clock) -> Result<Shared, OpenError> {
    let session = session(settings, "overview")?;
    let stats = Arc::new(StoreStats::default());
    let queue = Arc::new(Queue::new(stats.clone()));
    let news = Arc::new(News::new(Position(0), Position(0)));
    let mut leaver = Leaver {
        settings: settings.clone(),
        clock: clock.clone(),
        queue: queue.clone(),
        stats: stats.clone(),
        news: news.clone(),
        session: Some(session),
        left: HashMap::new(),
        pause: Pause::new(),
        looked: None,
    };
    leaver.look_first().map_err(unread(settings))?;
    let leaver = thread(settings, "store-overview", move || leaver.run())?;
    Ok(Shared {
        form: Form::Overview,
        clock,
        queue,
        reads: Box::new(Reading::new(settings, Scope::All)),
        stats,
        news,
        bulk: Arc::default(),
        threads: Mutex::new(vec![leaver]),
    })
}
