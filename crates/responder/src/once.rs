//! What is sent to another system is sent once.
//!
//! Neither a message nor a request nor a command can be observed afterwards, so what is known of each order lies in
//! a small file of its own: `sending`, on the disk before the first byte goes out, and then what the other side
//! answered. A kill in between leaves `sending`, and then nobody can tell: the order is not carried out again,
//! unless the other side takes a repeat for the same thing. Where another instance may have been at it, whose files
//! are on its own machine, having no file says as little.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vertice_model::Task;

use crate::{Failure, Hand, Held, Keep, Seen, limits};

/// What is known of an order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Came {
    /// It was about to be sent, or is being sent.
    Sending,
    /// It was taken.
    Accepted { note: String },
    /// It was surely not taken.
    Refused { reason: String, retry: bool },
}

/// Sends once. `repeatable` says that the other side takes a repeat of this very order for the same thing.
pub(crate) fn send(
    hand: &Hand<'_>,
    repeatable: bool,
    send: impl FnOnce() -> Result<String, Failure>,
) -> Result<String, Failure> {
    let (keep, name) = place(hand)?;
    sweep(&folder(hand)?, limits::SENT_FILES_MAX);
    match known(&keep, &name)? {
        Some(Came::Accepted { note }) => return Ok(note),
        Some(Came::Refused { reason, retry: true }) => return Err(Failure::Retry(reason)),
        Some(Came::Refused { reason, retry: false }) => return Err(Failure::Final(reason)),
        Some(Came::Sending) if !repeatable => return Err(Failure::Unknown(UNKNOWABLE.to_owned())),
        Some(Came::Sending) | None => keep.put(&name, &Came::Sending)?,
    }
    let sent = send();
    let came = match &sent {
        Ok(note) => Came::Accepted { note: note.clone() },
        Err(Failure::Retry(reason)) => Came::Refused { reason: reason.clone(), retry: true },
        Err(Failure::Final(reason)) => Came::Refused { reason: reason.clone(), retry: false },
        Err(Failure::Unknown(_)) => return sent,
    };
    // What came of it is known even if it can not be written down; only a crash before the receipt makes it unknown.
    if let Err(e) = keep.put(&name, &came) {
        tracing::warn!("order {}: {e}", hand.order.order_id);
    }
    sent
}

const UNKNOWABLE: &str = "it was being sent when it was interrupted, and whether it arrived can not be told";

const ELSEWHERE: &str = "another instance was at it when it lost the shard, and whether it was sent can not be told";

/// How the world stands with an order, from what is known of it. Of one to undo, what is looked for is what it is to
/// take back.
pub(crate) fn seen(hand: &Hand<'_>, repeatable: bool, criterion: &'static str) -> Result<Seen, Failure> {
    let (keep, name) = place(hand)?;
    let is_undo = hand.order.task == Task::Undo;
    let (done, note) = match known(&keep, &name) {
        Ok(None) if hand.elsewhere && !repeatable => (None, ELSEWHERE.to_owned()),
        Ok(None) => (Some(false), "nothing was sent".to_owned()),
        Ok(Some(Came::Sending)) if repeatable => (Some(false), UNKNOWABLE.to_owned()),
        Ok(Some(Came::Sending)) => (None, UNKNOWABLE.to_owned()),
        Ok(Some(Came::Accepted { note })) => (Some(true), note),
        Ok(Some(Came::Refused { reason, .. })) => (Some(false), reason),
        Err(Failure::Unknown(reason)) => (None, reason),
        Err(e) => return Err(e),
    };
    let held = match done {
        None => Held::Unknowable,
        Some(done) if done != is_undo => Held::Yes,
        Some(_) => Held::No,
    };
    let criteria = match done {
        Some(done) if !is_undo => BTreeMap::from([(criterion, done)]),
        Some(_) | None => BTreeMap::new(),
    };
    Ok(Seen { held, criteria, note })
}

/// For further small files beside those of orders.
pub(crate) fn beside(hand: &Hand<'_>) -> Result<Keep, Failure> {
    let dir = folder(hand)?;
    Keep::open(&dir).map_err(|e| Failure::Retry(format!("making {}: {e}", dir.display())))
}

/// Where these files lie.
pub(crate) fn folder(hand: &Hand<'_>) -> Result<PathBuf, Failure> {
    hand.keep.folder("sent")
}

fn place(hand: &Hand<'_>) -> Result<(Keep, String), Failure> {
    let keep = beside(hand)?;
    Ok((keep, hand.order.order_id.to_string()))
}

/// A file that can not be read says that something was about to be sent, and not what came of it.
fn known(keep: &Keep, name: &str) -> Result<Option<Came>, Failure> {
    keep.get(name).map_err(|e| match e {
        Failure::Final(reason) => Failure::Unknown(reason),
        Failure::Retry(_) | Failure::Unknown(_) => e,
    })
}

/// Removes the older half once there are too many. The receipts of those orders are long in the log.
fn sweep(dir: &Path, files_max: usize) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut files: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    if files.len() <= files_max {
        return;
    }
    files.sort_by_cached_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok());
    for path in &files[..files.len() / 2] {
        if let Err(e) = fs::remove_file(path) {
            tracing::warn!("removing {}: {e}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_older_half_goes_once_there_are_too_many() {
        let dir = tempfile::tempdir().unwrap();
        for age in 1..=5 {
            let file = fs::File::create(dir.path().join(age.to_string())).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age)).unwrap();
        }
        sweep(dir.path(), 5);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
        sweep(dir.path(), 4);
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["1", "2", "3"]);
    }
}
