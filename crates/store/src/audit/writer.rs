//! The one that writes. What is appended is synced before it is sealed, and sealed before anybody counts on it.

use std::fs::File;
use std::io::{ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use vertice_model::Position;

use super::entry::{Entry, Kind};
use super::format::{Checkpoint, SEAL_BYTES, Seal, ascii_json, checkpoint_message, write_line};
use super::key::{self, Key};
use super::rows::{self, Rows};
use super::verify::{Trust, Verified, verify, verify_shard};
use super::{AuditError, FILE, file_of};
use crate::store::Form;
use crate::{Store, limits};

/// The audit of an open store. Only the process that has the store may write it.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    medium: Medium,
    key: Key,
    /// What the first line says.
    sealed: Seal,
    /// Up to where the log was judged; the seal may be behind it by inputs of which nothing is entered.
    judged: Position,
}

/// What it is written to.
#[derive(Debug)]
enum Medium {
    File(File),
    /// Rows of a shard.
    Rows(Box<Rows>),
}

impl Audit {
    /// Opens the audit of a store; makes it, and its key, when there is none. What is not sealed is cut off: it is made
    /// again from the log. Reads the whole file.
    ///
    /// # Errors
    /// When it is not as it was written, when its key is gone, or when it knows of more than the log has.
    pub fn open(store: &Store) -> Result<Audit, AuditError> {
        match &store.0.form {
            Form::File { dir } => Audit::open_file(store, dir),
            Form::Shard { shard, epoch, settings } => {
                let rows = Rows { settings: (**settings).clone(), shard: *shard, epoch: *epoch, session: None };
                Audit::open_rows(store, rows)
            }
            Form::Overview => {
                let what = "an overview has no audit; each shard has its own".to_owned();
                Err(AuditError::Other { path: "all shards".into(), what })
            }
        }
    }

    fn open_rows(store: &Store, mut rows: Rows) -> Result<Audit, AuditError> {
        let (path, dir) = (rows::path_of(&rows.settings, rows.shard), rows.settings.key_dir.clone());
        let key = match Key::read(&dir)? {
            Some(key) => key,
            None => {
                let mut made = std::fs::DirBuilder::new();
                made.recursive(true).mode(0o700).create(&dir).map_err(io("making", &dir))?;
                Key::make(&dir)?
            }
        };
        let public = key.public();
        rows.begin(&Seal::empty(public).signed(&key), &public)?;
        let trust = Trust { key: Some(public), anchor: None };
        let found = verify_shard(&rows.settings, rows.shard, &trust, |_| Ok(())).map_err(with_advice)?;
        not_beyond(&path, &found, store)?;
        if !found.tail.is_empty() {
            let what = "there are lines behind what is sealed, and lines and seal are written together".to_owned();
            return Err(with_advice(AuditError::Other { path, what }));
        }
        let Verified { entries, bytes, judged, head, key: public, .. } = found;
        let sealed = Seal { entries, bytes, judged, head, key: public };
        Ok(Audit { path, medium: Medium::Rows(Box::new(rows)), key, sealed, judged })
    }

    fn open_file(store: &Store, dir: &Path) -> Result<Audit, AuditError> {
        let path = file_of(dir);
        let there = std::fs::exists(&path).map_err(io("opening", &path))?;
        let key = match Key::read(dir)? {
            Some(key) => key,
            None if there => {
                let what = "its key, audit.key, is gone; put it back from a backup, or move the file away: \
                            the next start makes it again from the log, with a new key";
                return Err(AuditError::Other { path, what: what.to_owned() });
            }
            None => Key::make(dir)?,
        };
        if !there {
            if store.log_end() > Position(0) {
                tracing::warn!("{} is not there; it is made again from the log", path.display());
            }
            key::put(dir, FILE, &Seal::empty(key.public()).signed(&key))?;
        }
        let trust = Trust { key: Some(key.public()), anchor: None };
        let found = verify(&path, &trust, |_| Ok(())).map_err(with_advice)?;
        not_beyond(&path, &found, store)?;
        let Verified { entries, bytes, judged, head, key: public, tail, .. } = found;
        let sealed = Seal { entries, bytes, judged, head, key: public };
        let file = File::options().read(true).write(true).open(&path).map_err(io("opening", &path))?;
        let mut audit = Audit { path, medium: Medium::File(file), key, sealed, judged };
        if !tail.is_empty() {
            let Audit { path, .. } = &audit;
            tracing::warn!("{}: its end was not sealed and is made again from the log ({tail:?})", path.display());
            audit.cut()?;
        }
        Ok(audit)
    }

    /// Up to where the log was judged for it: every entry of it is there.
    #[must_use]
    pub fn judged(&self) -> Position {
        self.judged
    }

    /// Enters what a stretch of the log came to, which ends at `judged`. It is durable when this returns. What comes from
    /// before [`Audit::judged`] is there already and passed over.
    ///
    /// # Errors
    /// [`AuditError::NoSpace`] and [`AuditError::Away`] when nothing was kept and trying again helps. After any other the process must end.
    pub fn append(&mut self, entries: &[Entry], judged: Position) -> Result<(), AuditError> {
        let judged = judged.max(self.judged);
        let mut new = entries.iter().filter(|entry| entry.of.position > self.judged).peekable();
        if new.peek().is_some() {
            let new: Vec<&Entry> = new.collect();
            self.locked(|audit| audit.extend(&new, judged))?;
        }
        self.judged = judged;
        Ok(())
    }

    /// Says in the file up to where the log was judged, so that a snapshot may be saved there.
    ///
    /// # Errors
    /// As [`Audit::append`].
    pub fn cover(&mut self) -> Result<(), AuditError> {
        if self.sealed.judged == self.judged {
            return Ok(());
        }
        let seal = Seal { judged: self.judged, ..self.sealed };
        self.locked(|audit| audit.seal(seal))
    }

    /// Keeps those who verify from looking between appending and sealing. They hold the lock for the time of one read.
    fn locked(&mut self, write: impl FnOnce(&mut Audit) -> Result<(), AuditError>) -> Result<(), AuditError> {
        let Medium::File(file) = &self.medium else { return write(self) };
        let locked = rustix::fs::flock(file, FlockOperation::LockExclusive);
        locked.map_err(|e| io("locking", &self.path)(e.into()))?;
        let written = write(self);
        let Medium::File(file) = &self.medium else { return written };
        let unlocked = rustix::fs::flock(file, FlockOperation::Unlock);
        written?;
        unlocked.map_err(|e| io("unlocking", &self.path)(e.into()))
    }

    fn extend(&mut self, entries: &[&Entry], judged: Position) -> Result<(), AuditError> {
        let mut seal = Seal { judged, ..self.sealed };
        if let Medium::File(file) = &mut self.medium {
            file.seek(SeekFrom::Start(seal.bytes)).map_err(io("writing", &self.path))?;
        }
        let mut lines = Vec::new();
        for entry in entries {
            if (seal.entries + 1).is_multiple_of(limits::AUDIT_CHECKPOINT_EVERY) {
                let checkpoint = self.checkpoint(&seal, entry);
                seal.head = write_line(seal.entries + 1, &checkpoint, &seal.head, &mut lines);
                seal.entries += 1;
            }
            seal.head = write_line(seal.entries + 1, entry, &seal.head, &mut lines);
            seal.entries += 1;
            // Rows are written together with their seal.
            if lines.len() >= limits::AUDIT_WRITE_BYTES && matches!(self.medium, Medium::File(_)) {
                seal.bytes += self.write(&lines)?;
                lines.clear();
            }
        }
        if let Medium::Rows(_) = &self.medium {
            seal.bytes += lines.len() as u64;
            return self.put(seal, &lines);
        }
        seal.bytes += self.write(&lines)?;
        self.seal(seal)
    }

    /// Writes rows and the seal over them.
    fn put(&mut self, seal: Seal, lines: &[u8]) -> Result<(), AuditError> {
        if let Medium::Rows(rows) = &mut self.medium {
            let (before, after) = (self.sealed.signed(&self.key), seal.signed(&self.key));
            rows.put(&before, &after, self.sealed.entries + 1, lines)?;
            self.sealed = seal;
        }
        Ok(())
    }

    /// The entry that signs those before it.
    fn checkpoint(&self, seal: &Seal, next: &Entry) -> Entry {
        let signature = self.key.sign(checkpoint_message(seal.entries, &seal.head).as_bytes());
        let record = Checkpoint { entries: seal.entries, head: seal.head, key: seal.key, signature };
        Entry {
            of: next.of,
            at: next.at,
            kind: Kind::Checkpoint,
            actor: "audit".to_owned(),
            threat: None,
            entities: Vec::new(),
            record: ascii_json(&record),
        }
    }

    fn write(&mut self, lines: &[u8]) -> Result<u64, AuditError> {
        let written = match &mut self.medium {
            Medium::File(file) => file.write_all(lines),
            Medium::Rows(_) => Ok(()),
        };
        match written {
            Ok(()) => Ok(lines.len() as u64),
            Err(e) => Err(self.not_written(e)),
        }
    }

    fn seal(&mut self, seal: Seal) -> Result<(), AuditError> {
        let Medium::File(file) = &self.medium else { return self.put(seal, &[]) };
        // Or a loss of power could leave the seal of lines that were not written.
        file.sync_data().map_err(io("syncing", &self.path))?;
        let line = seal.signed(&self.key);
        debug_assert_eq!(line.len(), SEAL_BYTES);
        let written = file.write_all_at(&line, 0);
        let synced = if written.is_ok() { file.sync_data() } else { Ok(()) };
        if let Err(e) = written {
            return Err(self.not_written(e));
        }
        synced.map_err(io("syncing", &self.path))?;
        self.sealed = seal;
        Ok(())
    }

    /// What a failed write means. Where there is no space, what was half written is taken back.
    ///
    /// Only writing may fail for want of space: the kernel reports a failed sync once and forgets what it could not
    /// write, so a sync that fails is fatal, whatever for.
    fn not_written(&mut self, error: std::io::Error) -> AuditError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                self.cut().err().unwrap_or_else(|| AuditError::NoSpace { path: self.path.clone() })
            }
            _ => io("writing", &self.path)(error),
        }
    }

    /// Cuts off what is not sealed.
    fn cut(&mut self) -> Result<(), AuditError> {
        let Medium::File(file) = &self.medium else { return Ok(()) };
        let cut = file.set_len(self.sealed.bytes).and_then(|()| file.sync_data());
        cut.map_err(io("cutting", &self.path))
    }
}

/// An audit must not know of more than the log has.
fn not_beyond(path: &Path, found: &Verified, store: &Store) -> Result<(), AuditError> {
    if found.judged <= store.log_end() {
        return Ok(());
    }
    let what = format!(
        "it knows of the log up to position {}, and the log ends at {}: the database is an older one than the \
         audit; restore both from one backup, or move the audit away and keep it as evidence",
        found.judged,
        store.log_end()
    );
    Err(AuditError::Other { path: path.to_owned(), what })
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |source| AuditError::Io { doing, path, source }
}

/// What to do about a file that is not as we wrote it. Nothing but a person may decide that it does not matter.
fn with_advice(error: AuditError) -> AuditError {
    let advice = "; it was changed or damaged: move it away and keep it as evidence, and the next start makes it \
                  again from the log";
    match error {
        AuditError::Broken { path, line, what, signed } => {
            AuditError::Broken { path, line, what: format!("{what}{advice}"), signed }
        }
        AuditError::Other { path, what } => AuditError::Other { path, what: format!("{what}{advice}") },
        other @ (AuditError::Io { .. } | AuditError::NoSpace { .. } | AuditError::Away { .. }) => other,
    }
}
