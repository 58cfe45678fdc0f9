//! A name in a folder that is held open, so that nothing on the way to it can be exchanged.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, fchmod, openat, openat2, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::sync;
use crate::{Failure, limits};

/// A name in a folder.
#[derive(Clone, Debug)]
pub(super) struct Place {
    folder: Arc<File>,
    path: PathBuf,
    name: OsString,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// Whether a file was moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moved {
    /// It was, at once and whole.
    Yes,
    /// It was not, for the other folder is on another file system.
    AcrossFileSystems,
}

impl Place {
    /// Where a whole path leads without following links.
    pub(super) fn of(path: &str) -> Result<Place, Failure> {
        let whole = Path::new(path);
        let plain = whole.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(Failure::Final(format!("{path:?} names no file")));
        };
        if !whole.is_absolute() || !plain || path.ends_with('/') || path.contains('\0') {
            return Err(Failure::Final(format!("{path:?} is no whole path of a file, such as /tmp/x")));
        }
        Place::within(folder, name)
    }

    pub(super) fn within(folder: &Path, name: impl AsRef<OsStr>) -> Result<Place, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(CWD, folder, flags, Mode::empty(), resolve).map_err(|e| {
            let folder = folder.display();
            Failure::Final(match e {
                Errno::LOOP => format!("{folder} leads through a link: name the file by its real path"),
                e => format!("opening the folder {folder}: {e}"),
            })
        })?;
        let name = name.as_ref().to_owned();
        Ok(Place { folder: Arc::new(File::from(opened)), path: folder.to_owned(), name })
    }

    /// Another name in the same folder.
    pub(super) fn named(&self, name: &str) -> Place {
        Place { folder: Arc::clone(&self.folder), path: self.path.clone(), name: name.into() }
    }

    /// The name under which a copy is made before it takes its own.
    pub(super) fn part(&self) -> Place {
        let mut part = self.clone();
        part.name.push(".part");
        part
    }

    /// The regular file of this name; `None` if there is nothing.
    ///
    /// It is first held without being opened, for opening a device or a pipe may do something.
    pub(super) fn look(&self) -> Result<Option<Found>, Failure> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = match openat(&self.folder, &self.name, flags, Mode::empty()) {
            Ok(held) => File::from(held),
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(self.failed("looking at", e.into())),
        };
        let metadata = held.metadata().map_err(|e| self.failed("looking at", e))?;
        if !metadata.is_file() {
            let what = if metadata.is_symlink() {
                "a link"
            } else if metadata.is_dir() {
                "a folder"
            } else {
                "no file"
            };
            return Err(Failure::Final(format!("{self} is {what}, and only regular files are taken")));
        }
        let opened =
            File::open(format!("/proc/self/fd/{}", held.as_raw_fd())).map_err(|e| self.failed("opening", e))?;
        Ok(Some(Found { file: opened, metadata }))
    }

    /// Gives a file another name, in one step that replaces nothing, and makes that durable.
    pub(super) fn rename(&self, to: &Place) -> Result<Moved, Failure> {
        match renameat_with(&self.folder, &self.name, &to.folder, &to.name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::XDEV) => return Ok(Moved::AcrossFileSystems),
            Err(Errno::EXIST) => {
                return Err(Failure::Final(format!("{to} has been taken by another file, and is not overwritten")));
            }
            Err(e) => return Err(Failure::Final(format!("moving {self} to {to}: {e}"))),
        }
        sync(&to.folder)?;
        sync(&self.folder)?;
        Ok(Moved::Yes)
    }

    /// Removes it; where there is nothing, that is well.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match unlinkat(&self.folder, &self.name, AtFlags::empty()) {
            Ok(()) => sync(&self.folder),
            Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.failed("removing", e.into())),
        }
    }

    /// Makes a new file of this name with what another has, that nobody may read or run, and makes it durable. Returns
    /// it and the BLAKE3 of what was written.
    pub(super) fn fill(&self, from: &File) -> Result<(File, String), Failure> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made =
            openat(&self.folder, &self.name, flags, Mode::empty()).map_err(|e| self.failed("making", e.into()))?;
        let mut made = File::from(made);
        let mut copy = || -> std::io::Result<String> {
            let mut hasher = blake3::Hasher::new();
            read(from, |bytes| {
                hasher.update(bytes);
                made.write_all(bytes)
            })?;
            made.sync_all()?;
            Ok(hasher.finalize().to_hex().to_string())
        };
        let hash = copy().map_err(|e| self.failed("copying to", e))?;
        Ok((made, hash))
    }

    fn failed(&self, doing: &str, error: std::io::Error) -> Failure {
        let text = format!("{doing} {self}: {error}");
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Failure::Final(text),
            _ => Failure::Retry(text),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.join(&self.name).display().fmt(f)
    }
}

impl Found {
    pub(super) fn of(file: File) -> Result<Found, Failure> {
        let metadata = file.metadata().map_err(|e| Failure::Retry(format!("looking at a file: {e}")))?;
        Ok(Found { file, metadata })
    }

    /// Which file it is, as long as it exists.
    pub(super) fn id(&self) -> (u64, u64) {
        (self.metadata.dev(), self.metadata.ino())
    }
}

/// Takes every right to a file away.
pub(super) fn strip(file: &File) -> Result<(), Failure> {
    fchmod(file, Mode::empty()).map_err(|e| Failure::Retry(format!("taking the rights to a file away: {e}")))?;
    file.sync_all().map_err(|e| Failure::Retry(format!("making a file durable: {e}")))
}

/// The BLAKE3 of all that a file has, and how many bytes that is.
pub(super) fn hash(file: &File) -> std::io::Result<(String, u64)> {
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    read(file, |some| {
        hasher.update(some);
        bytes += some.len() as u64;
        Ok(())
    })?;
    Ok((hasher.finalize().to_hex().to_string(), bytes))
}

fn read(mut file: &File, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    file.rewind()?;
    let mut buffer = vec![0; limits::BUFFER_BYTES];
    let mut left = limits::FILE_BYTES;
    while left > 0 {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        take(&buffer[..n])?;
        left = left.saturating_sub(n as u64);
    }
    Err(std::io::Error::other(format!("it has more than {} bytes", limits::FILE_BYTES)))
}
