//! The data directory: made once, used by one process at a time, and a witness of what was acknowledged.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::OpenError;
use crate::sums::digest;

const LOCK: &str = "lock";
const WITNESS: &str = "acknowledged";
const WITNESS_BYTES: usize = 16;

/// A data directory that this process alone has open.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Held as long as the directory is open; closing the file lets go of it.
    _lock: File,
    witness: File,
}

/// What the witness says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Testimony {
    /// At least this many transactions were committed.
    Commits(u64),
    /// Nothing yet: the directory is new.
    Nothing,
    /// It can not be read.
    Damaged,
}

fn io_error<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> OpenError + use<'a> {
    move |source| OpenError::Io { doing, path: path.to_owned(), source }
}

impl Directory {
    /// Makes the directory if there is none, readable by its owner only, and takes it.
    pub(crate) fn open(dir: &Path) -> Result<Directory, OpenError> {
        if !dir.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io_error("making", dir))?;
            let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            sync(parent)?;
        }
        let lock = take(dir)?;
        let path = dir.join(WITNESS);
        let witness = options().open(&path).map_err(io_error("opening", &path))?;
        Ok(Directory { _lock: lock, witness })
    }

    /// Notes how many transactions were committed.
    ///
    /// It is written after each commit and never synced, so it costs some microseconds. It outlives the
    /// process, though not a loss of power, and is never ahead of the truth. What it is for: SQLite takes
    /// a damaged frame of the write-ahead log for its end, and would silently forget what follows.
    pub(crate) fn note(&self, commits: u64) -> std::io::Result<()> {
        let mut bytes = [0; WITNESS_BYTES];
        bytes[..8].copy_from_slice(&commits.to_le_bytes());
        bytes[8..].copy_from_slice(&witness_sum(commits).to_le_bytes());
        self.witness.write_all_at(&bytes, 0)
    }

    /// What was noted last.
    pub(crate) fn testimony(&self) -> Testimony {
        let mut bytes = [0; WITNESS_BYTES];
        if self.witness.metadata().is_ok_and(|m| m.len() == 0) {
            return Testimony::Nothing;
        }
        if self.witness.read_exact_at(&mut bytes, 0).is_err() {
            return Testimony::Damaged;
        }
        let (commits, sum) = bytes.split_at(8);
        let number = |part: &[u8]| part.iter().rev().fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
        let commits = number(commits);
        if number(sum) == witness_sum(commits) as u64 { Testimony::Commits(commits) } else { Testimony::Damaged }
    }
}

fn witness_sum(commits: u64) -> i64 {
    digest(&[b"acknowledged", &commits.to_le_bytes()])
}

fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// Takes the lock, and writes who has it for whoever comes next.
fn take(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let mut lock = options().open(&path).map_err(io_error("opening", &path))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(in_use(dir, lock)),
        Err(e) => return Err(io_error("locking", &path)(e.into())),
    }
    let mut write = || -> std::io::Result<()> {
        lock.set_len(0)?;
        lock.seek(SeekFrom::Start(0))?;
        writeln!(lock, "{}", std::process::id())
    };
    write().map_err(io_error("writing", &path))?;
    Ok(lock)
}

fn in_use(dir: &Path, lock: File) -> OpenError {
    let mut text = String::new();
    // Whoever holds it may be about to write it; then it stays unnamed.
    let pid = lock.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    OpenError::InUse { dir: dir.to_owned(), pid }
}

/// Makes the names in a directory durable.
pub(crate) fn sync(dir: &Path) -> Result<(), OpenError> {
    let path: PathBuf = dir.to_owned();
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("syncing", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_witness_remembers_and_knows_when_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/data");
        let open = Directory::open(&path).unwrap();
        assert_eq!(open.testimony(), Testimony::Nothing);
        open.note(7).unwrap();
        open.note(8).unwrap();
        assert_eq!(open.testimony(), Testimony::Commits(8));
        open.witness.write_all_at(b"x", 3).unwrap();
        assert_eq!(open.testimony(), Testimony::Damaged);
        open.witness.set_len(3).unwrap();
        assert_eq!(open.testimony(), Testimony::Damaged);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let error = Directory::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        assert!(Directory::open(dir.path()).is_ok());
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        File::create(&file).unwrap();
        let error = Directory::open(&file.join("below")).unwrap_err().to_string();
        assert!(error.starts_with("making ") && error.contains("below"), "{error}");
        let error = Directory::open(&file).unwrap_err().to_string();
        assert!(error.starts_with("opening ") && error.contains("lock"), "{error}");
    }
}
