//! What a verb must remember to observe or undo what it did: one small file for each, written before it acts.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;

/// The directory of what is remembered; `quarantine/`, `evidence/` and `captures/` lie within it too.
#[derive(Clone, Debug)]
pub struct Keep(PathBuf);

impl Keep {
    /// The directory, made with mode 0700 if it is missing.
    ///
    /// # Errors
    /// When it can not be made.
    pub fn open(dir: &Path) -> std::io::Result<Keep> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Keep(dir.to_owned()))
    }

    /// A directory within it, made if it is missing.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.0.join(name);
        let made = Keep::open(&dir).map_err(|e| Failure::Retry(format!("making {}: {e}", dir.display())))?;
        Ok(made.0)
    }

    /// Remembers something under a name of letters, digits and `-`; it is on the disk when this returns.
    pub(crate) fn put<T: Serialize>(&self, name: &str, what: &T) -> Result<(), Failure> {
        let path = self.path(name);
        let written = || -> std::io::Result<()> {
            let bytes = serde_json::to_vec_pretty(what)?;
            let beside = path.with_extension("new");
            let mut file = File::create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.0)?.sync_all()
        };
        written().map_err(|e| Failure::Retry(format!("writing {}: {e}", path.display())))
    }

    /// What was remembered under a name; `None` if nothing was.
    pub(crate) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::Retry(format!("reading {}: {e}", path.display()))),
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|e| Failure::Final(format!("{} is damaged: {e}", path.display())))
    }

    /// Forgets what was remembered under a name.
    pub(crate) fn forget(&self, name: &str) -> Result<(), Failure> {
        match fs::remove_file(self.path(name)) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Failure::Retry(format!("removing {}: {e}", self.path(name).display()))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        debug_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{name:?}");
        self.0.join(format!("{name}.json"))
    }
}

/// A short name for something that is remembered of an action: equal actions have one name.
pub(crate) fn name_of(kind: &str, what: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(what).unwrap_or_default();
    format!("{kind}-{}", &blake3::hash(&bytes).to_hex()[..32])
}
