//! What is remembered of a file that was taken, to know it again and to restore it.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{
    Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, futimens,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::place::{Found, Place, hash};
use crate::{Failure, limits};

/// A file that was taken.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Taken {
    /// Its name in quarantine.
    pub(super) stored: String,
    /// Its name in its own folder while it is on its way to another file system, or back.
    pub(super) beside: String,
    /// BLAKE3 of its content.
    pub(super) hash: String,
    pub(super) bytes: u64,
    /// Device and inode.
    id: (u64, u64),
    user: u32,
    group: u32,
    mode: u32,
    /// Seconds and nanoseconds of the last access, and of the last change.
    accessed: (i64, i64),
    modified: (i64, i64),
    attributes: Vec<(String, Vec<u8>)>,
    /// Device and inode of the copy that takes its old place.
    pub(super) restored: Option<(u64, u64)>,
}

impl Taken {
    pub(super) fn of(found: &Found, stored: String) -> Result<Taken, Failure> {
        let failed = |e: std::io::Error| Failure::Final(format!("reading the file: {e}"));
        let (hash, bytes) = hash(&found.file).map_err(failed)?;
        let m = &found.metadata;
        Ok(Taken {
            beside: format!(".{stored}"),
            stored,
            hash,
            bytes,
            id: found.id(),
            user: m.uid(),
            group: m.gid(),
            mode: m.mode() & 0o7777,
            accessed: (m.atime(), m.atime_nsec()),
            modified: (m.mtime(), m.mtime_nsec()),
            attributes: attributes(&found.file).map_err(|e| failed(e.into()))?,
            restored: None,
        })
    }

    /// That a file is the one that was looked at. A copy on another file system is known by its content.
    pub(super) fn check(&self, found: &Found) -> Result<(), Failure> {
        let (id, now) = (found.id(), hash(&found.file).map_err(|e| Failure::Retry(format!("reading a file: {e}")))?);
        if id.0 == self.id.0 && id.1 != self.id.1 {
            return Err(Failure::Retry("the file was replaced by another one while it was moved".to_owned()));
        }
        if now != (self.hash.clone(), self.bytes) {
            return Err(Failure::Retry(format!(
                "the file has changed: its BLAKE3 is {}, and was {}",
                now.0, self.hash
            )));
        }
        Ok(())
    }

    /// Whether the file lies there as it should.
    pub(super) fn lies_in(&self, store: &Place) -> Result<(bool, String), Failure> {
        let Some(found) = store.look()? else { return Ok((false, format!("{store} is missing"))) };
        if found.metadata.mode() & 0o7777 != 0 {
            return Ok((false, format!("{store} still has rights")));
        }
        Ok(match self.check(&found) {
            Ok(()) => (true, format!("{store}, BLAKE3 {}", self.hash)),
            Err(why) => (false, format!("{store}: {why}")),
        })
    }

    /// Gives a file the owner, rights, attributes and times that it had. In this order: a change of the owner takes
    /// setuid away, a change of the rights changes an access list, and all of them change no time of the content.
    pub(super) fn dress(&self, file: &File) -> Result<(), Failure> {
        let dress = || -> Result<(), Errno> {
            let now = rustix::fs::fstat(file)?;
            if (now.st_uid, now.st_gid) != (self.user, self.group) {
                fchown(file, Some(Uid::from_raw(self.user)), Some(Gid::from_raw(self.group)))?;
            }
            fchmod(file, Mode::from_raw_mode(self.mode))?;
            let has = attributes(file)?;
            for (name, value) in self.attributes.iter().filter(|wanted| !has.contains(wanted)) {
                fsetxattr(file, name.as_str(), value, XattrFlags::empty())?;
            }
            let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
            futimens(file, &Timestamps { last_access: time(self.accessed), last_modification: time(self.modified) })?;
            rustix::fs::fsync(file)
        };
        dress().map_err(|e| Failure::Retry(format!("restoring owner, rights and times of a file: {e}")))
    }
}

/// The extended attributes of a file, access lists and capabilities among them.
fn attributes(file: &File) -> Result<Vec<(String, Vec<u8>)>, Errno> {
    let mut names = vec![0; limits::ATTRIBUTE_BYTES];
    let n = match flistxattr(file, names.as_mut_slice()) {
        Ok(n) => n,
        Err(Errno::NOTSUP) => 0,
        Err(e) => return Err(e),
    };
    let names = names[..n].split(|b| *b == 0).filter(|name| !name.is_empty());
    let mut all = Vec::new();
    for name in names {
        let mut value = vec![0; limits::ATTRIBUTE_BYTES];
        let n = fgetxattr(file, name, value.as_mut_slice())?;
        value.truncate(n);
        all.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    Ok(all)
}
