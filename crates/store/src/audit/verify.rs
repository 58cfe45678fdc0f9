//! Whether a file is as it was written. Needs nothing but the file, and takes as much memory as its longest line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use rustix::fs::FlockOperation;
use serde::de::IgnoredAny;
use vertice_model::{Position, Timestamp};

use super::AuditError;
use super::format::{
    CHECKPOINT, Checkpoint, Digest, HASH_BYTES, Hex, Line, PublicKey, SEAL_BYTES, Seal, checkpoint_message, hash_of,
    hash_part,
};
use super::key::is_signed;
use super::rows::{self, Lines};
use crate::limits;
use crate::postgres::PostgresSettings;

/// What is known from elsewhere, and so can not be forged with the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust {
    /// The only key that counts; without it, the one that the file itself names.
    pub key: Option<PublicKey>,
    /// What the file once was: it must go on from there.
    pub anchor: Option<Anchor>,
}

/// An entry that is known to be there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Anchor {
    /// Its number: there must be at least as many.
    pub entries: u64,
    /// Its hash, if that is known.
    pub head: Option<Digest>,
}

/// A file that is whole up to its seal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// How many entries are sealed, checkpoints among them.
    pub entries: u64,
    /// How many of them are checkpoints.
    pub checkpoints: u64,
    /// How many bytes of the file are sealed.
    pub bytes: u64,
    /// Up to where the log was judged for it.
    pub judged: Position,
    /// The hash of the last entry.
    pub head: Digest,
    /// Whose signatures they are.
    pub key: PublicKey,
    /// When the first and the last entry were accepted.
    pub times: Option<(Timestamp, Timestamp)>,
    /// What comes after, and proves nothing.
    pub tail: Tail,
}

/// What a file has behind what is sealed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tail {
    /// Entries that are chained to the sealed ones.
    pub entries: u64,
    /// Further bytes, which are none.
    pub bytes: u64,
}

impl Tail {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Tail::default()
    }
}

/// Verifies a file, and shows each entry that is sealed, as it is written, without the line break.
///
/// An entry is shown once it is known to be chained, and before the last of them is known to be sealed: whoever must
/// not take in a single wrong one verifies first, and looks then.
///
/// The file may be written to meanwhile: what it was at the beginning is what is verified.
///
/// # Errors
/// When it can not be read, is not as it was written, is not signed by the trusted key, or does not have the anchor;
/// and with whatever `show` returns.
pub fn verify<E: From<AuditError>>(
    path: &Path,
    trust: &Trust,
    show: impl FnMut(&str) -> Result<(), E>,
) -> Result<Verified, E> {
    let (walk, seal) = begin(path, trust)?;
    walked(walk, &seal, trust, show)
}

/// [`verify`] for the audit of a shard in PostgreSQL. Its lines are what the file would have.
///
/// # Errors
/// As [`verify`].
pub fn verify_shard<E: From<AuditError>>(
    settings: &PostgresSettings,
    shard: u32,
    trust: &Trust,
    show: impl FnMut(&str) -> Result<(), E>,
) -> Result<Verified, E> {
    let path = rows::path_of(settings, shard);
    let (line, lines) = Lines::open(settings, shard)?;
    // Whatever there is; a line behind what is sealed is a tail here too.
    let (walk, seal) = begun(&path, (line, u64::MAX), Box::new(lines), trust)?;
    walked(walk, &seal, trust, show)
}

/// The first line of a file that was verified.
pub(crate) fn seal_of(path: &Path) -> Result<Vec<u8>, AuditError> {
    let io = |source| AuditError::Io { doing: "reading", path: path.to_owned(), source };
    let mut line = Vec::new();
    File::open(path).map_err(io)?.take(SEAL_BYTES as u64).read_to_end(&mut line).map_err(io)?;
    Ok(line)
}

fn walked<E: From<AuditError>>(
    mut walk: Walk<'_>,
    seal: &Seal,
    trust: &Trust,
    mut show: impl FnMut(&str) -> Result<(), E>,
) -> Result<Verified, E> {
    while walk.at < seal.bytes {
        walk.entry(seal, trust)?;
        show(walk.text()?.trim_end())?;
    }
    if (walk.entries, walk.before) != (seal.entries, seal.head) {
        let what = format!("{} entries were sealed, and these are {} others", seal.entries, walk.entries);
        return Err(walk.broken(what).into());
    }
    if let Some(anchor) = trust.anchor.filter(|a| a.entries > seal.entries) {
        let what =
            format!("it has {} entries and once had {} or more: it is an older copy", seal.entries, anchor.entries);
        return Err(AuditError::Other { path: walk.path.to_owned(), what }.into());
    }
    let (entries, checkpoints, times) = (walk.entries, walk.checkpoints, walk.times);
    Ok(Verified {
        entries,
        checkpoints,
        bytes: seal.bytes,
        judged: seal.judged,
        head: seal.head,
        key: seal.key,
        times,
        tail: walk.tail(seal, trust)?,
    })
}

/// Opens a file and reads its seal and its length at one moment, for which the writer is made to wait.
fn begin<'a>(path: &'a Path, trust: &Trust) -> Result<(Walk<'a>, Seal), AuditError> {
    let io = |doing| move |source| AuditError::Io { doing, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io("opening"))?;
    // A file system that has no locks has no writer of ours either.
    let locked = rustix::fs::flock(&file, FlockOperation::LockShared).is_ok();
    let length = file.metadata().map_err(io("reading"))?.len();
    let mut line = Vec::new();
    let read = (&mut file).take(SEAL_BYTES as u64).read_to_end(&mut line);
    if locked {
        rustix::fs::flock(&file, FlockOperation::Unlock).map_err(|e| io("unlocking")(e.into()))?;
    }
    read.map_err(io("reading"))?;
    begun(path, (line, length), Box::new(file), trust)
}

/// The walk over what comes behind a seal, of something that has so many bytes.
fn begun<'a>(
    path: &'a Path,
    (line, length): (Vec<u8>, u64),
    file: Box<dyn Read>,
    trust: &Trust,
) -> Result<(Walk<'a>, Seal), AuditError> {
    let mut walk = Walk {
        path,
        file: BufReader::with_capacity(limits::AUDIT_READ_BYTES, file).take(length.saturating_sub(SEAL_BYTES as u64)),
        length,
        at: SEAL_BYTES as u64,
        line,
        entries: 0,
        checkpoints: 0,
        signed: 0,
        before: Hex([0; 32]),
        times: None,
    };
    let seal = Seal::read(&walk.line).map_err(|what| walk.broken_at(1, what.to_owned()))?;
    walk.line.clear();
    match trust.key {
        Some(key) if key != seal.key => {
            let what = format!("it is signed by the key {}, and the trusted one is {key}", seal.key);
            Err(AuditError::Other { path: path.to_owned(), what })
        }
        Some(_) | None => Ok((walk, seal)),
    }
}

/// How far a file was read.
struct Walk<'a> {
    path: &'a Path,
    file: std::io::Take<BufReader<Box<dyn Read>>>,
    length: u64,
    at: u64,
    line: Vec<u8>,
    entries: u64,
    checkpoints: u64,
    /// How many entries the last checkpoint signed.
    signed: u64,
    before: Digest,
    times: Option<(Timestamp, Timestamp)>,
}

impl Walk<'_> {
    /// Reads an entry and checks that it belongs there.
    fn entry(&mut self, seal: &Seal, trust: &Trust) -> Result<(), AuditError> {
        self.next_line()?;
        if self.line.is_empty() {
            let what = format!("the file ends here, with {} of {} entries: it was cut", self.entries, seal.entries);
            return Err(self.broken(what));
        }
        let line = std::mem::take(&mut self.line);
        let checked = self.check(&line, seal, trust);
        self.line = line;
        checked
    }

    /// Reads a line, its break included, unless it is too long or the last one and torn; empty at the end.
    fn next_line(&mut self) -> Result<(), AuditError> {
        self.line.clear();
        let io = |source| AuditError::Io { doing: "reading", path: self.path.to_owned(), source };
        let max = limits::AUDIT_LINE_BYTES_MAX as u64;
        (&mut self.file).take(max).read_until(b'\n', &mut self.line).map_err(io)?;
        self.at += self.line.len() as u64;
        Ok(())
    }

    fn check(&mut self, line: &[u8], seal: &Seal, trust: &Trust) -> Result<(), AuditError> {
        let body = line.len().checked_sub(HASH_BYTES).map(|end| &line[..end]);
        let hash = body.map(hash_of);
        if hash.is_none_or(|hash| !line.ends_with(hash_part(&hash).as_bytes())) {
            return Err(self.broken("the line and its hash do not fit each other: one of them was changed".into()));
        }
        let read: Line<'_, IgnoredAny> =
            serde_json::from_slice(line).map_err(|e| self.broken(format!("this is no entry: {e}")))?;
        if read.n != self.entries + 1 {
            let what = format!("this is entry {}, and entry {} should be here", read.n, self.entries + 1);
            return Err(self.broken(what));
        }
        if read.before != self.before {
            return Err(self.broken("it does not follow on the line before it: one of them is another one".into()));
        }
        if (read.kind == CHECKPOINT) != read.n.is_multiple_of(limits::AUDIT_CHECKPOINT_EVERY) {
            return Err(self.broken("a checkpoint is where none should be, or none is where one should be".into()));
        }
        if read.kind == CHECKPOINT {
            self.checkpoint(line, seal)?;
        }
        if trust.anchor.is_some_and(|a| a.entries == read.n && a.head.is_some_and(|head| head != read.hash)) {
            return Err(self.broken(format!("entry {} is another one than it once was", read.n)));
        }
        self.entries += 1;
        self.before = read.hash;
        self.times = Some((self.times.map_or(read.at, |(first, _)| first), read.at));
        Ok(())
    }

    fn checkpoint(&mut self, line: &[u8], seal: &Seal) -> Result<(), AuditError> {
        let read: Line<'_, Checkpoint> =
            serde_json::from_slice(line).map_err(|e| self.broken(format!("this is no checkpoint: {e}")))?;
        let Checkpoint { entries, head, key, signature } = read.record;
        let message = checkpoint_message(self.entries, &self.before);
        let fits = (entries, head, key) == (self.entries, self.before, seal.key);
        if !fits || !is_signed(&seal.key, message.as_bytes(), &signature) {
            return Err(self.broken("the signature of the checkpoint is not valid".into()));
        }
        self.signed = self.entries;
        self.checkpoints += 1;
        Ok(())
    }

    /// What comes after what is sealed. Errors of reading apart, nothing there is an error: it proves nothing.
    fn tail(mut self, seal: &Seal, trust: &Trust) -> Result<Tail, AuditError> {
        if self.at > seal.bytes {
            return Err(self.broken("what is sealed ends within this line".into()));
        }
        let mut tail = Tail::default();
        while self.at < self.length {
            let start = self.at;
            if self
                .file
                .fill_buf()
                .map_err(|source| AuditError::Io { doing: "reading", path: self.path.to_owned(), source })?
                .is_empty()
            {
                break;
            }
            match self.entry(seal, trust) {
                Ok(()) => tail.entries += 1,
                Err(error @ (AuditError::Io { .. } | AuditError::NoSpace { .. } | AuditError::Away { .. })) => {
                    return Err(error);
                }
                Err(AuditError::Broken { .. } | AuditError::Other { .. }) => {
                    tail.bytes = self.length.saturating_sub(start);
                    break;
                }
            }
        }
        Ok(tail)
    }

    /// The line that was checked, which is JSON.
    fn text(&self) -> Result<&str, AuditError> {
        std::str::from_utf8(&self.line).map_err(|e| self.broken(e.to_string()))
    }

    /// What is wrong with the line that comes next.
    fn broken(&self, what: String) -> AuditError {
        self.broken_at(self.entries + 2, what)
    }

    fn broken_at(&self, line: u64, what: String) -> AuditError {
        AuditError::Broken { path: self.path.to_owned(), line, what, signed: self.signed }
    }
}
