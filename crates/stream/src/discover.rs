//! Which sources this host has.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What was looked for, and what came of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Discovered {
    /// What can be read.
    pub sources: Vec<Local>,
    /// What can not, and why.
    pub missing: Vec<Missing>,
}

/// A source that can be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Local {
    /// A log file to follow.
    File {
        /// What writes it, such as `sshd`.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
    },
    /// The systemd journal.
    Journal {
        /// Where `journalctl` is.
        program: PathBuf,
    },
}

/// A source that can not be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missing {
    /// What would write it.
    pub what: &'static str,
    /// Where it was looked for.
    pub path: PathBuf,
    /// Why it can not be read.
    pub reason: Cow<'static, str>,
}

/// Log files that sensors write by default.
const FILES: [(&str, &str); 8] = [
    ("authentication", "var/log/auth.log"),
    ("authentication", "var/log/secure"),
    ("auditd", "var/log/audit/audit.log"),
    ("Suricata", "var/log/suricata/eve.json"),
    ("nginx", "var/log/nginx/access.log"),
    ("Apache", "var/log/apache2/access.log"),
    ("Apache", "var/log/httpd/access_log"),
    ("Suricata", "usr/local/var/log/suricata/eve.json"),
];

/// Directories in which Zeek keeps its current logs.
const ZEEK: [&str; 3] = ["opt/zeek/logs/current", "usr/local/zeek/logs/current", "var/log/zeek/current"];

/// Zeek's logs about itself; they say nothing about anybody.
const ZEEK_OWN: [&str; 8] =
    ["capture_loss", "cluster", "broker", "loaded_scripts", "packet_filter", "reporter", "stats", "stderr"];

const PROGRAMS: [&str; 3] = ["usr/bin/journalctl", "bin/journalctl", "usr/local/bin/journalctl"];

/// Where the journal lies: kept, or only since the last start.
const JOURNALS: [&str; 2] = ["var/log/journal", "run/log/journal"];

/// Looks for what can be read below `root`, which is `/` but in tests.
#[must_use]
pub fn discover(root: &Path) -> Discovered {
    let mut found = Discovered::default();
    for (what, path) in FILES {
        found.file(what, root.join(path));
    }
    for directory in ZEEK {
        found.zeek(&root.join(directory));
    }
    found.journal(root);
    found
}

impl Discovered {
    fn file(&mut self, what: &'static str, path: PathBuf) {
        match File::open(&path).and_then(|file| file.metadata()) {
            Ok(about) if about.is_file() => self.sources.push(Local::File { what, path }),
            Ok(_) => self.missing(what, path, "no file"),
            Err(e) => self.missing(what, path, why(&e)),
        }
    }

    fn zeek(&mut self, directory: &Path) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) => return self.missing("Zeek", directory.to_owned(), why(&e)),
        };
        let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        logs.sort();
        for path in logs {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if path.extension().is_some_and(|e| e == "log") && !ZEEK_OWN.contains(&&*name) {
                self.file("Zeek", path);
            }
        }
    }

    fn journal(&mut self, root: &Path) {
        let Some(program) = PROGRAMS.iter().map(|p| root.join(p)).find(|p| p.is_file()) else {
            return self.missing("journal", root.join(PROGRAMS[0]), "not there");
        };
        let mut reason = (root.join(JOURNALS[0]), Cow::Borrowed("not there"));
        for directory in JOURNALS.map(|path| root.join(path)) {
            match has_journal(&directory) {
                Ok(true) => return self.sources.push(Local::Journal { program }),
                Ok(false) => reason = (directory, "no journal in it".into()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => reason = (directory, why(&e)),
            }
        }
        self.missing("journal", reason.0, reason.1);
    }

    fn missing(&mut self, what: &'static str, path: PathBuf, reason: impl Into<Cow<'static, str>>) {
        self.missing.push(Missing { what, path, reason: reason.into() });
    }
}

/// Whether one of the machines in a journal directory has a file that we may open.
fn has_journal(directory: &Path) -> io::Result<bool> {
    let mut denied = None;
    for machine in fs::read_dir(directory)?.flatten() {
        for file in fs::read_dir(machine.path()).into_iter().flatten().flatten() {
            if file.path().extension().is_some_and(|e| e == "journal") {
                match File::open(file.path()) {
                    Ok(_) => return Ok(true),
                    Err(e) => denied = Some(e),
                }
            }
        }
    }
    denied.map_or(Ok(false), Err)
}

fn why(e: &io::Error) -> Cow<'static, str> {
    match e.kind() {
        io::ErrorKind::NotFound => "not there".into(),
        io::ErrorKind::PermissionDenied => "we may not read it".into(),
        _ => e.to_string().into(),
    }
}
