//! `collect_forensics`: a bundle of evidence, a folder with one file for each kind and a manifest with the hashes.
//!
//! What is taken: processes with what they run and its hash, sockets with who holds them, who is and was logged in,
//! recently changed files where programs and what starts by itself lie, the ends of logs, and of memory only the maps.
//! What is not: the content of any file but logs, environments of processes (they hold keys), the table of failed
//! logins (it holds passwords typed as names), memory itself. Of files that hold secrets (`shadow`, private keys) not
//! even a hash is taken. Command lines are, and may have a secret in them: a bundle is readable to root only.
//!
//! A bundle is made beside its name and takes it when it is whole and durable, so that a killed process leaves none
//! that is half; what it left is thrown away by the next one. It is bounded in bytes and in time, and says in its
//! manifest what was left out for that.

mod bundle;
mod collect;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vertice_model::{CollectForensics, Task};

use crate::keep::name_of;
use crate::machine::is_here;
use crate::steps::between;
use crate::{Failure, Hand, Held, Seen, limits};
use bundle::{Bundle, verify};

/// The folder of bundles.
const FOLDER: &str = "evidence";

/// What can be collected, in the order in which it vanishes.
const ARTIFACTS: [&str; 6] = ["processes", "network", "logins", "memory", "files", "logs"];

/// The bundles that an action has made, by the orders that made them.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Made {
    bundles: Vec<String>,
}

pub(crate) fn apply(hand: &Hand<'_>, action: &CollectForensics) -> Result<String, Failure> {
    is_here(Some(&action.target_host))?;
    let wanted = wanted(action)?;
    let (folder, name) = (hand.keep.folder(FOLDER)?, name_of(FOLDER, action));
    let id = hand.order.order_id.to_string();
    let mut made: Made = hand.keep.get(&name)?.unwrap_or_default();
    let whole = folder.join(&id);
    if whole.is_dir() {
        return verify(&whole).map_err(Failure::Final);
    }
    if !made.bundles.contains(&id) {
        if made.bundles.len() >= limits::BUNDLES {
            let n = made.bundles.len();
            return Err(Failure::Final(format!("there are {n} such bundles in {}: release some", folder.display())));
        }
        made.bundles.push(id.clone());
        hand.keep.put(&name, &made)?;
        between("remembering");
    }
    let part = folder.join(format!("{id}.part"));
    remove(&part)?;
    let mut bundle = Bundle::start(part, hand.settings.collect_forensics.bytes_max, hand.order.timeout_s)?;
    between("starting");
    for artifact in wanted {
        collect::into(&mut bundle, artifact, Path::new("/"), hand.now)?;
        between("collecting");
    }
    bundle.finish(hand, &action.target_host, &whole)?;
    between("naming");
    verify(&whole).map_err(Failure::Retry)
}

pub(crate) fn observe(hand: &Hand<'_>, action: &CollectForensics) -> Result<Seen, Failure> {
    is_here(Some(&action.target_host))?;
    let folder = hand.keep.folder(FOLDER)?;
    let made: Made = hand.keep.get(&name_of(FOLDER, action))?.unwrap_or_default();
    // The order that undoes has another number than the one that collected.
    let own = hand.order.order_id.to_string();
    let id = match hand.order.task {
        Task::Apply => made.bundles.iter().find(|id| **id == own),
        Task::Undo => made.bundles.last(),
    };
    let (held, note) = match id.map(|id| verify(&folder.join(id))) {
        Some(Ok(note)) => (true, note),
        Some(Err(why)) => (false, why),
        None => (false, "there is no bundle".to_owned()),
    };
    let criteria = BTreeMap::from([("evidence_collected", held)]);
    Ok(Seen { held: if held { Held::Yes } else { Held::No }, criteria, note })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &CollectForensics) -> Result<String, Failure> {
    is_here(Some(&action.target_host))?;
    let (folder, name) = (hand.keep.folder(FOLDER)?, name_of(FOLDER, action));
    let made: Made = hand.keep.get(&name)?.unwrap_or_default();
    for id in &made.bundles {
        remove(&folder.join(id))?;
        remove(&folder.join(format!("{id}.part")))?;
        between("removing");
    }
    hand.keep.forget(&name)?;
    Ok(format!("{} bundles were deleted", made.bundles.len()))
}

fn wanted(action: &CollectForensics) -> Result<Vec<&'static str>, Failure> {
    if let Some(other) = action.artifacts.iter().find(|a| !ARTIFACTS.contains(&a.as_str())) {
        let known = ARTIFACTS.join(", ");
        return Err(Failure::Final(format!("{other:?} can not be collected, but any of {known}")));
    }
    let named = |artifact: &&str| match action.artifacts.as_slice() {
        [] => *artifact != "memory",
        some => some.iter().any(|a| a == artifact),
    };
    Ok(ARTIFACTS.into_iter().filter(named).collect())
}

fn remove(folder: &PathBuf) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Failure::Retry(format!("removing {}: {e}", folder.display()))),
    }
}

#[cfg(test)]
mod tests;
