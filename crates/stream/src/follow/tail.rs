//! One look after the other at a growing file. Blocks only for reading; has no clock.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use memchr::memchr;
use vertice_model::RawEvent;
use vertice_model::limits::RAW_EVENT_BYTES_MAX;

use super::place::{Fingerprint, Place, generations};
use super::{Begin, Follow};
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, ROTATED_LOOKS};
use crate::records::{Refused, TOO_LONG, read_line};
use crate::source::{Batch, Cursor};

/// How much is read at first; a line that is longer is read at full length.
const WINDOW_BYTES: usize = BATCH_BYTES_MAX / 4;

/// A file that is being followed. [`run`](super::run) calls it; so does who wants no runtime.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    origin: Arc<str>,
    source: Arc<str>,
    begin: Begin,
    /// Where it left off before the restart, until it was looked for.
    resume: Option<Place>,
    open: Option<Open>,
    /// How many looks in a row found that the file was rotated away and nothing more came.
    quiet_looks: u32,
    window: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: File,
    place: Place,
    /// How long it was when it was last read to its end, so that a look at an unchanged file costs one call.
    seen: u64,
}

impl Open {
    fn new(file: File, inode: u64) -> Open {
        let place = Place { inode, offset: 0, within_refused: false, fingerprint: Fingerprint::default() };
        Open { file, place, seen: 0 }
    }

    fn restart(&mut self) {
        self.place = Place { offset: 0, within_refused: false, fingerprint: Fingerprint::default(), ..self.place };
        self.seen = 0;
    }
}

impl Tail {
    /// Follows a file. It is opened at the first look.
    #[must_use]
    pub fn new(config: Follow) -> Tail {
        let source = config.source();
        let resume = config.cursor.as_deref().and_then(Place::from_cursor);
        if config.cursor.is_some() && resume.is_none() {
            tracing::warn!(%source, cursor = config.cursor, "the cursor can not be read; beginning anew");
        }
        Tail {
            origin: config.path.display().to_string().into(),
            path: config.path,
            source,
            begin: config.begin,
            resume,
            open: None,
            quiet_looks: 0,
            window: Vec::new(),
        }
    }

    /// Looks once: the next lines, or `None` if there is nothing new.
    ///
    /// # Errors
    /// If the file is there and can not be read.
    pub fn look(&mut self) -> io::Result<Option<Batch>> {
        let Some(mut open) = self.open.take() else { return self.open_first() };
        let batch = self.read_on(&mut open);
        self.open = Some(open);
        match batch? {
            Some(batch) => {
                self.quiet_looks = 0;
                Ok(Some(batch))
            }
            None => self.follow_rotation(),
        }
    }

    fn open_first(&mut self) -> io::Result<Option<Batch>> {
        if let Some(place) = self.resume.take() {
            for path in generations(&self.path).into_iter().rev() {
                let Ok(file) = File::open(&path) else { continue };
                if place.fits(&file, &file.metadata()?) {
                    self.open = Some(Open { file, place, seen: 0 });
                    return self.look();
                }
            }
            tracing::warn!(source = %self.source, "what was followed is gone; lines may be missing");
            self.begin = Begin::Start;
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Whatever appears here was written while we were looking.
                self.begin = Begin::Start;
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let about = file.metadata()?;
        let mut open = Open::new(file, about.ino());
        if self.begin == Begin::Start {
            self.open = Some(open);
            return self.look();
        }
        open.place.offset = about.len();
        open.place.fingerprint = Fingerprint::of(&open.file, about.len())?;
        if about.len() > 0 {
            let mut last = [0];
            open.file.read_exact_at(&mut last, about.len() - 1)?;
            open.place.within_refused = last != *b"\n";
        }
        // An empty batch, for its cursor: a restart before the first line must not begin at a later end.
        let batch = self.batch(Vec::new(), Vec::new(), &open.place);
        self.open = Some(open);
        Ok(Some(batch))
    }

    /// The next lines of the open file.
    fn read_on(&mut self, open: &mut Open) -> io::Result<Option<Batch>> {
        let length = open.file.metadata()?.len();
        if length == open.seen {
            return Ok(None);
        }
        if length < open.place.offset || !open.place.fingerprint.fits(&open.file) {
            tracing::info!(source = %self.source, "cut to nothing; reading from its start");
            open.restart();
        }
        self.read_window(open, WINDOW_BYTES)?;
        if memchr(b'\n', &self.window).is_none() && self.window.len() == WINDOW_BYTES {
            self.read_window(open, RAW_EVENT_BYTES_MAX + 2)?;
        }
        let from = open.place.offset;
        let (events, refused) = self.take_lines(&mut open.place);
        if open.place.offset == from {
            open.seen = length;
            return Ok(None);
        }
        if !open.place.fingerprint.is_whole() {
            open.place.fingerprint = Fingerprint::of(&open.file, open.place.offset)?;
        }
        Ok(Some(self.batch(events, refused, &open.place)))
    }

    fn read_window(&mut self, open: &Open, bytes: usize) -> io::Result<()> {
        self.window.resize(bytes, 0);
        let mut filled = 0;
        while filled < bytes {
            match open.file.read_at(&mut self.window[filled..], open.place.offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.window.truncate(filled);
        Ok(())
    }

    /// Takes the whole lines of the window, and moves `place` behind them.
    fn take_lines(&self, place: &mut Place) -> (Vec<RawEvent>, Vec<Refused>) {
        let (mut events, mut refused) = (Vec::new(), Vec::new());
        let mut rest = &self.window[..];
        while events.len() + refused.len() < BATCH_EVENTS_MAX {
            let Some(end) = memchr(b'\n', rest) else { break };
            let begin = place.offset;
            place.offset += end as u64 + 1;
            if !std::mem::take(&mut place.within_refused) {
                self.take_line(&rest[..end], begin, &mut events, &mut refused);
            }
            rest = &rest[end + 1..];
        }
        let endless = rest.len() == self.window.len() && rest.len() > RAW_EVENT_BYTES_MAX + 1;
        if endless || (place.within_refused && !rest.is_empty()) {
            if !place.within_refused {
                refused.push(Refused { number: place.offset, reason: TOO_LONG.into() });
            }
            place.within_refused = true;
            place.offset += rest.len() as u64;
        }
        (events, refused)
    }

    fn take_line(&self, line: &[u8], begin: u64, events: &mut Vec<RawEvent>, refused: &mut Vec<Refused>) {
        match read_line(line) {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => events.push(RawEvent { origin: Arc::clone(&self.origin), line }),
            Err(reason) => refused.push(Refused { number: begin, reason }),
        }
    }

    /// Leaves a file that was rotated away for its successor, once nothing more comes.
    fn follow_rotation(&mut self) -> io::Result<Option<Batch>> {
        let Some(open) = &self.open else { return Ok(None) };
        let current = match std::fs::metadata(&self.path) {
            Ok(about) => about,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        // An empty successor can wait, and until it is written to its predecessor still may be.
        if current.ino() == open.place.inode || current.len() == 0 {
            self.quiet_looks = 0;
            return Ok(None);
        }
        self.quiet_looks += 1;
        if self.quiet_looks < ROTATED_LOOKS {
            return Ok(None);
        }
        self.quiet_looks = 0;
        self.succeed()
    }

    /// Opens the successor, and delivers the last line of the predecessor if it never got its end.
    fn succeed(&mut self) -> io::Result<Option<Batch>> {
        let Some(mut old) = self.open.take() else { return Ok(None) };
        let (mut events, mut refused) = (Vec::new(), Vec::new());
        self.read_window(&old, RAW_EVENT_BYTES_MAX + 2)?;
        if memchr(b'\n', &self.window).is_some() {
            // Written just now, and not to be left behind.
            old.seen = 0;
            self.open = Some(old);
            return Ok(None);
        }
        if !old.place.within_refused {
            self.take_line(&self.window, old.place.offset, &mut events, &mut refused);
        }
        let inode_of = |path: &PathBuf| std::fs::metadata(path).ok().map(|about| about.ino());
        let line = generations(&self.path);
        let next = line.iter().position(|p| inode_of(p) == Some(old.place.inode)).map_or(line.len(), |at| at + 1);
        let next = line.get(next).unwrap_or(&self.path);
        let file = match File::open(next) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Rotated again just now; the next look sees it.
                old.seen = 0;
                self.open = Some(old);
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let inode = file.metadata()?.ino();
        let open = Open::new(file, inode);
        let batch = self.batch(events, refused, &open.place);
        self.open = Some(open);
        Ok(Some(batch))
    }

    fn batch(&self, events: Vec<RawEvent>, refused: Vec<Refused>, place: &Place) -> Batch {
        let cursor = Cursor { source: Arc::clone(&self.source), value: place.to_cursor() };
        Batch { events, refused, cursor: Some(cursor) }
    }
}
