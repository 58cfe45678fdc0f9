//! `quarantine`: a file is moved to where nobody can run or read it, and comes back exactly as it was.
//!
//! The file is opened without following any link, neither as the file nor on the way to it, for an attacker who owns a
//! folder could lead us to another file. What must be known to restore it lies on the disk before it moves. Within a
//! file system it moves by one rename, which is atomic. Onto another one it is first renamed within its own folder, so
//! that from then on nothing can be put in its place unseen; then it is copied, made durable, and only then removed.
//! Every rename refuses to replace anything. A kill between any two steps leaves the file whole: under its own name,
//! under the name beside it, or in quarantine; whoever comes next finishes.
//!
//! What is refused: links, folders, devices and sockets; a file that has a second name, for that one would still run
//! (and a mode of 0 would hit another name's file); and what the system can not be without: the first process, what we
//! ourselves run and link, its account files, and the setuid programs of root in the system's folders, by which
//! operators become root. A setuid file elsewhere is just what quarantine is for.

mod place;
mod taken;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vertice_model::Quarantine;

use crate::keep::name_of;
use crate::machine::is_here;
use crate::steps::between;
use crate::{Failure, Hand, Held, Seen, limits};
use place::{Found, Moved, Place, hash};
use taken::Taken;

/// The folder of those that were taken.
const FOLDER: &str = "quarantine";

/// What of a system lies there is the system's own.
const SYSTEM: [&str; 7] = ["/bin/", "/lib/", "/lib32/", "/lib64/", "/sbin/", "/usr/", "/boot/"];

/// Without these nobody logs in and nothing starts.
const NEVER: [&str; 8] = [
    "/etc/fstab",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/sudoers",
];

/// The files that were taken from one path, the newest last. More than one where a new file appeared in the place of
/// one that was taken: the newest is restored, the older ones stay.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Record {
    files: Vec<Taken>,
    /// The actions that it is kept away for: one file may be asked for by several names of this host.
    holders: BTreeSet<String>,
}

/// The two folders that a file moves between.
struct Way {
    here: Place,
    store: Place,
}

impl Way {
    fn of(hand: &Hand<'_>, action: &Quarantine, taken: &Taken) -> Result<Way, Failure> {
        let folder = hand.keep.folder(FOLDER)?;
        let folder = folder.canonicalize().map_err(|e| Failure::Retry(format!("{}: {e}", folder.display())))?;
        Ok(Way { here: Place::of(&action.file_path)?, store: Place::within(&folder, &taken.stored)? })
    }
}

pub(crate) fn apply(hand: &Hand<'_>, action: &Quarantine) -> Result<String, Failure> {
    is_here(Some(&action.target_host))?;
    let name = name_of(FOLDER, &action.file_path);
    let mut record: Record = hand.keep.get(&name)?.unwrap_or_default();
    if let Some(taken) = record.files.last() {
        // What was cut short is finished first.
        if !finish(&Way::of(hand, action, taken)?, taken)? {
            record.files.pop();
        }
    }
    let here = Place::of(&action.file_path)?;
    let in_use = in_use();
    let Some(found) = here.look()? else {
        return match record.files.last() {
            Some(taken) => {
                let note = format!("{} lies in quarantine as {}", action.file_path, taken.stored);
                record.holders.insert(name_of("by", action));
                hand.keep.put(&name, &record).map(|()| note)
            }
            None => Err(Failure::Final(format!("there is no file {}", action.file_path))),
        };
    };
    refuse(hand, action, &found, &in_use)?;
    if record.files.len() >= limits::GENERATIONS {
        let n = record.files.len();
        return Err(Failure::Final(format!("{} came back {n} times: end what writes it", action.file_path)));
    }
    let stored = format!("{name}-{}", record.files.len());
    let taken = Taken::of(&found, stored)?;
    let note = format!("{} ({} bytes, BLAKE3 {}) moved to quarantine", action.file_path, taken.bytes, taken.hash);
    let way = Way::of(hand, action, &taken)?;
    record.files.push(taken.clone());
    record.holders.insert(name_of("by", action));
    hand.keep.put(&name, &record)?;
    between("remembering");
    take(&way, &taken)?;
    Ok(note)
}

pub(crate) fn observe(hand: &Hand<'_>, action: &Quarantine) -> Result<Seen, Failure> {
    is_here(Some(&action.target_host))?;
    let record: Record = hand.keep.get(&name_of(FOLDER, &action.file_path))?.unwrap_or_default();
    let (held, note) = match record.files.last().filter(|_| record.holders.contains(&name_of("by", action))) {
        None => (false, "it was not taken".to_owned()),
        Some(taken) => {
            let way = Way::of(hand, action, taken)?;
            if way.here.look()?.is_some() {
                (false, format!("there is a file {}", action.file_path))
            } else if way.here.named(&taken.beside).look()?.is_some() {
                (false, "it is half-way".to_owned())
            } else {
                taken.lies_in(&way.store)?
            }
        }
    };
    let criteria = BTreeMap::from([("file_quarantined", held)]);
    Ok(Seen { held: if held { Held::Yes } else { Held::No }, criteria, note })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &Quarantine) -> Result<String, Failure> {
    is_here(Some(&action.target_host))?;
    let name = name_of(FOLDER, &action.file_path);
    let mut record: Record = hand.keep.get(&name)?.unwrap_or_default();
    record.holders.remove(&name_of("by", action));
    if !record.holders.is_empty() {
        return hand.keep.put(&name, &record).map(|()| "it is still kept away for another containment".to_owned());
    }
    let Some(mut taken) = record.files.pop() else { return Ok("nothing of it is in quarantine".to_owned()) };
    let way = Way::of(hand, action, &taken)?;
    let (beside, here) = (way.here.named(&taken.beside), way.here.look()?);
    let restored = here.as_ref().is_some_and(|f| taken.restored == Some(f.id()));
    match (way.store.look()?, beside.look()?) {
        (Some(_), _) if restored => {}
        (Some(stored), _) => {
            if let Some(other) = here {
                return Err(taken_place(action, &other));
            }
            taken.check(&stored)?;
            let back = restore(&way, &stored, &mut taken, |taken| {
                record.files.push(taken.clone());
                hand.keep.put(&name, &record)
            });
            if let Err(failure) = back {
                place::strip(&stored.file)?;
                return Err(failure);
            }
            between("restoring");
        }
        // It was cut short before it reached the quarantine.
        (None, Some(half)) => {
            taken.dress(&half.file)?;
            beside.rename(&way.here)?;
        }
        (None, None) => {}
    }
    way.store.remove()?;
    between("removing the copy");
    hand.keep.forget(&name)?;
    Ok(format!("{} is back, with BLAKE3 {}", action.file_path, taken.hash))
}

/// Finishes what was cut short. False where the file was never moved.
fn finish(way: &Way, taken: &Taken) -> Result<bool, Failure> {
    if way.store.look()?.is_some() {
        settle(way, taken)?;
        way.here.named(&taken.beside).remove()?;
        return Ok(true);
    }
    way.store.part().remove()?;
    if way.here.named(&taken.beside).look()?.is_some() {
        carry_over(way, taken)?;
        return Ok(true);
    }
    Ok(false)
}

fn take(way: &Way, taken: &Taken) -> Result<(), Failure> {
    match way.here.rename(&way.store)? {
        Moved::Yes => {
            between("moving");
            settle(way, taken)
        }
        Moved::AcrossFileSystems => {
            way.here.rename(&way.here.named(&taken.beside))?;
            between("moving aside");
            carry_over(way, taken)
        }
    }
}

/// Makes sure that what was moved is what was looked at, and takes every right to it away.
fn settle(way: &Way, taken: &Taken) -> Result<(), Failure> {
    let stored = known(&way.store, taken).map_err(|changed| put_back(&way.store, &way.here, changed))?;
    place::strip(&stored.file)?;
    between("taking the rights away");
    Ok(())
}

/// From beside its name to the quarantine on another file system.
fn carry_over(way: &Way, taken: &Taken) -> Result<(), Failure> {
    let beside = way.here.named(&taken.beside);
    let found = known(&beside, taken).map_err(|changed| put_back(&beside, &way.here, changed))?;
    place::strip(&found.file)?;
    between("taking the rights away");
    let copied = way.store.part().fill(&found.file).and_then(|(_, hash)| match hash == taken.hash {
        true => way.store.part().rename(&way.store),
        false => Err(Failure::Retry("the file was written to while it was copied".to_owned())),
    });
    if let Err(failure) = copied {
        way.store.part().remove()?;
        taken.dress(&found.file)?;
        return Err(put_back(&beside, &way.here, failure));
    }
    between("copying");
    beside.remove()?;
    between("removing the original");
    Ok(())
}

/// What lies there, if it is what was looked at before it moved.
fn known(place: &Place, taken: &Taken) -> Result<Found, Failure> {
    let found = place.look()?.ok_or_else(|| Failure::Retry(format!("{place} is gone")))?;
    taken.check(&found).map(|()| found)
}

/// Puts a file back under its name, for a reason that is returned.
fn put_back(from: &Place, here: &Place, why: Failure) -> Failure {
    match from.rename(here) {
        Ok(_) => why,
        Err(e) => Failure::Unknown(format!("{why}; and it could not be put back, but lies at {from}: {e}")),
    }
}

/// Gives a file its rights and its name back. On another file system a copy takes the name, at once and whole.
/// `remember` is told of the copy before that, so that it is known for ours afterwards and not for a stranger's.
fn restore(
    way: &Way,
    stored: &Found,
    taken: &mut Taken,
    remember: impl FnOnce(&Taken) -> Result<(), Failure>,
) -> Result<(), Failure> {
    taken.dress(&stored.file)?;
    between("dressing");
    if way.store.rename(&way.here)? == Moved::Yes {
        return Ok(());
    }
    let copy = way.here.named(&taken.beside);
    copy.remove()?;
    let (file, hash) = copy.fill(&stored.file)?;
    if hash != taken.hash {
        copy.remove()?;
        return Err(Failure::Retry(format!("the copy of {} is not the same", taken.stored)));
    }
    taken.dress(&file)?;
    let id = Found::of(file)?.id();
    taken.restored = Some(id);
    remember(taken)?;
    between("copying back");
    copy.rename(&way.here)?;
    match way.here.look()? {
        Some(now) if now.id() == id => Ok(()),
        Some(_) | None => Err(Failure::Retry(format!("{} was replaced while it was restored", way.here))),
    }
}

fn taken_place(action: &Quarantine, other: &Found) -> Failure {
    let hash = hash(&other.file).map_or_else(|e| e.to_string(), |(hash, _)| hash);
    Failure::Final(format!(
        "another file ({} bytes, BLAKE3 {hash}) has taken the place of {}: move it away first, nothing was overwritten",
        other.metadata.size(),
        action.file_path
    ))
}

/// Why a file is not taken.
fn refuse(hand: &Hand<'_>, action: &Quarantine, found: &Found, in_use: &[(u64, u64)]) -> Result<(), Failure> {
    let path = action.file_path.as_str();
    let refused = |why: &str| Err(Failure::Final(format!("{path} is not taken: {why}")));
    let metadata = &found.metadata;
    if metadata.nlink() > 1 {
        return refused(&format!("it has {} names, and would still be there by the others", metadata.nlink()));
    }
    if metadata.size() > limits::FILE_BYTES {
        return refused(&format!("it has {} bytes, more than {}", metadata.size(), limits::FILE_BYTES));
    }
    let kept = hand.keep.folder(FOLDER)?.canonicalize().unwrap_or_default();
    if kept.parent().is_some_and(|ours| Path::new(path).starts_with(ours)) {
        return refused("it is ours");
    }
    let setuid = metadata.mode() & 0o6000 != 0 && metadata.uid() == 0;
    if NEVER.contains(&path) || (setuid && SYSTEM.iter().any(|folder| path.starts_with(folder))) {
        return refused("the system can not be without it");
    }
    if in_use.contains(&found.id()) {
        return refused("the first process of this machine, or Vertice, runs by it");
    }
    Ok(())
}

/// The files that the first process and we run and link, and those that we write to, by device and inode.
fn in_use() -> Vec<(u64, u64)> {
    let maps = crate::processes::lossy(Path::new("/proc/self/maps")).unwrap_or_default();
    let paths = maps.lines().filter_map(|line| Some(&line[line.find('/')?..]));
    let run = paths.chain(["/proc/1/exe"]).filter_map(|path| fs::metadata(path).ok());
    let open = fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let written = open.filter(|fd| {
        let info = crate::processes::lossy(&Path::new("/proc/self/fdinfo").join(fd)).unwrap_or_default();
        is_written(&info)
    });
    let written = written.filter_map(|fd| fs::metadata(Path::new("/proc/self/fd").join(fd)).ok());
    run.chain(written).map(|metadata| (metadata.dev(), metadata.ino())).collect()
}

/// Whether a descriptor is open for writing, by `/proc/PID/fdinfo`: the last octal digit of its flags.
fn is_written(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
    matches!(flags.trim().chars().last(), Some('1' | '2' | '5' | '6'))
}

/// Makes a folder's entries durable.
fn sync(folder: &File) -> Result<(), Failure> {
    folder.sync_all().map_err(|e| Failure::Retry(format!("making a folder durable: {e}")))
}

#[cfg(test)]
mod tests;
