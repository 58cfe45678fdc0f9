//! Opening a data directory: nothing is relied on before it was looked at.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::writing::File;
use super::{Place, head, open_error, verify};
use crate::beside::Beside;
use crate::directory::{self, Directory, Testimony};
use crate::error::{OpenError, ReadError};
use crate::head::Head;
use crate::news::News;
use crate::queue::Queue;
use crate::readers::Readers;
use crate::sqlite;
use crate::stats::StoreStats;
use crate::store::{Form, Shared};
use crate::types::{Check, Clock, Options, Verified};
use crate::writer::Writer;

/// Opens a data directory; makes it when there is none.
pub(crate) fn open(dir: &Path, clock: Clock, options: Options) -> Result<Shared, OpenError> {
    let directory = Directory::open(dir)?;
    let file = sqlite::file_of(dir);
    let db = sqlite::open_writer(dir)?;
    directory::sync(dir)?;
    let head = inspect(&db, &file, &directory, options.check).map_err(|e| match e {
        ReadError::Damaged(damage) => OpenError::Damaged(damage),
        ReadError::Database { doing, source } => OpenError::Database { doing, path: file.clone(), source },
    })?;
    let head = Head { commits: head.commits + 1, clean: false, ..head };
    head::write(&db, &head).map_err(|e| open_error(&file, "writing", e))?;
    directory.note(head.commits).map_err(|source| OpenError::Io {
        doing: "writing in",
        path: dir.to_owned(),
        source,
    })?;
    let stats = Arc::new(StoreStats::default());
    let queue = Arc::new(Queue::new(stats.clone()));
    let news = Arc::new(News::new(head.log_end, head.judged));
    let file_db = File {
        db,
        file,
        wal: sqlite::wal_of(dir),
        directory,
        stats: stats.clone(),
        wal_bytes: options.wal_bytes,
        // What a process that was killed left there counts too.
        wal_used: std::fs::metadata(sqlite::wal_of(dir)).map_or(0, |m| m.len()),
        beside: Beside::default(),
    };
    let writer = Writer {
        db: Box::new(file_db),
        shard: 0,
        head,
        clock: clock.clone(),
        queue: queue.clone(),
        stats: stats.clone(),
        news: news.clone(),
        owed: Vec::new(),
        untold: false,
    };
    let thread = std::thread::Builder::new().name("store-writer".to_owned());
    let io = |source| OpenError::Io { doing: "starting the writer of", path: dir.to_owned(), source };
    let thread = thread.spawn(move || writer.run()).map_err(io)?;
    Ok(Shared {
        form: Form::File { dir: dir.to_owned() },
        clock,
        queue,
        reads: Box::new(Readers::new(dir)),
        stats,
        news,
        bulk: Arc::default(),
        threads: Mutex::new(vec![thread]),
    })
}

/// Looks at what is there before anything is relied on.
fn inspect(db: &rusqlite::Connection, file: &Path, directory: &Directory, check: Check) -> Result<Head, ReadError> {
    let place = Place { file, table: "head" };
    let head = head::read(db, place)?;
    match directory.testimony() {
        Testimony::Commits(known) if known > head.commits => {
            let what = format!("{known} transactions were committed, and only {} are there", head.commits);
            return Err(Place { table: "the write-ahead log", ..place }.damage("its end", what).into());
        }
        Testimony::Commits(_) | Testimony::Nothing => {}
        Testimony::Damaged => tracing::warn!("the note of how many transactions were committed is damaged"),
    }
    verify::ends(db, file, &head)?;
    match check {
        Check::Everything => examine(db, file, &head).map(|_| ())?,
        Check::AfterCrash if !head.clean => verify::structure(db, place, false)?,
        Check::AfterCrash | Check::Ends => {}
    }
    Ok(head)
}

/// Looks at everything.
pub(crate) fn examine(db: &rusqlite::Connection, file: &Path, head: &Head) -> Result<Verified, ReadError> {
    verify::structure(db, Place { file, table: "head" }, true)?;
    verify::ends(db, file, head)?;
    let (positions, records) = verify::contents(db, file, head)?;
    Ok(Verified { positions, records })
}
