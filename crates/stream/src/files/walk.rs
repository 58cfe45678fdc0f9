//! Which files are meant by the paths that a person gives.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::limits::{WALK_DEPTH_MAX, WALK_FILES_MAX};

/// The files to read, in the order of the paths given and by name within each directory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Their bytes together.
    pub bytes: u64,
    /// What was passed over, and why.
    pub left_out: Vec<LeftOut>,
}

/// A file, or a member of an archive, that is not read, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftOut {
    /// The file, with the archive's member.
    pub file: Arc<str>,
    /// Why.
    pub reason: Cow<'static, str>,
}

/// Finds the files to read. A path that names a file is taken whatever it is called; a directory is walked, and
/// what lies beside logs by habit (sources, settings, prose) is passed over. Links are followed to files only.
#[must_use]
pub fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => found.walk(path, 0),
            Ok(about) => found.take(path, about.len()),
            Err(e) => found.leave_out(path, e.to_string()),
        }
    }
    found
}

impl Found {
    fn walk(&mut self, directory: &Path, depth: usize) {
        if depth == WALK_DEPTH_MAX {
            return self.leave_out(directory, format!("more than {WALK_DEPTH_MAX} directories within each other"));
        }
        let listed = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(e) => return self.leave_out(directory, e.to_string()),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let about = entry.file_type().and_then(|kind| Ok((kind, fs::metadata(&path)?)));
            match about {
                Ok((kind, _)) if kind.is_dir() => self.walk(&path, depth + 1),
                Ok((_, about)) if about.is_file() => match beside_logs(&path) {
                    Some(reason) => self.leave_out(&path, reason),
                    None => self.take(&path, about.len()),
                },
                Ok(_) => self.leave_out(&path, "neither a file nor a directory"),
                Err(e) => self.leave_out(&path, e.to_string()),
            }
        }
    }

    fn take(&mut self, path: &Path, bytes: u64) {
        if self.files.len() == WALK_FILES_MAX {
            return self.leave_out(path, format!("more than {WALK_FILES_MAX} files"));
        }
        self.files.push(path.to_owned());
        self.bytes += bytes;
    }

    fn leave_out(&mut self, path: &Path, reason: impl Into<Cow<'static, str>>) {
        if self.left_out.len() < WALK_FILES_MAX {
            let file = super::kind::printable(&path.display().to_string()).into();
            self.left_out.push(LeftOut { file, reason: reason.into() });
        }
    }
}

/// Why a file in a walked directory or an archive is not taken for a log by its name.
pub(super) fn beside_logs(path: &Path) -> Option<&'static str> {
    const SETTINGS_AND_SOURCES: [&str; 30] = [
        "yml", "yaml", "toml", "ini", "cfg", "conf", "md", "rst", "html", "htm", "css", "svg", "xml", "lock", "py",
        "pyc", "rs", "sh", "ps1", "bat", "c", "h", "cpp", "go", "js", "ts", "rb", "ipynb", "assert", "sum",
    ];
    let name = path.file_name()?.to_string_lossy();
    if name.starts_with('.') {
        return Some("hidden");
    }
    if let Some((_, extension)) = name.rsplit_once('.')
        && SETTINGS_AND_SOURCES.contains(&&*extension.to_ascii_lowercase())
    {
        return Some("no log by its name; name the file itself to read it");
    }
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    ["LICENSE", "LICENCE", "COPYING", "NOTICE", "README", "CHANGELOG", "MAKEFILE", "DOCKERFILE"]
        .iter()
        .any(|prose| stem.starts_with(prose))
        .then_some("no log by its name; name the file itself to read it")
}
