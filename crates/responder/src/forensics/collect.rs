//! What goes into a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde_json::{Value, json};
use vertice_model::Timestamp;

use super::bundle::{Bundle, hashes};
use crate::logins::{Record, connections, present, table};
use crate::processes::{Process, Socket, directory, holders, lossy};
use crate::{Failure, limits, program};

/// Where programs lie, and what starts by itself, and where intruders like to be.
const FOLDERS: [&str; 19] = [
    "tmp",
    "var/tmp",
    "dev/shm",
    "usr/local",
    "opt",
    "usr/bin",
    "usr/sbin",
    "usr/lib/systemd/system",
    "etc/systemd",
    "etc/init.d",
    "etc/cron.d",
    "etc/cron.daily",
    "etc/cron.hourly",
    "etc/profile.d",
    "etc/pam.d",
    "etc/ld.so.preload",
    "etc/ssh",
    "etc/sudoers.d",
    "var/spool/cron",
];

/// What starts by itself, or opens the door, in a home folder.
const AT_HOME: [&str; 9] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".zshrc",
    ".config/autostart",
    ".config/systemd/user",
    ".ssh",
    ".local/bin",
];

const LOGS: [&str; 10] = [
    "auth.log",
    "secure",
    "syslog",
    "messages",
    "kern.log",
    "daemon.log",
    "cron.log",
    "audit/audit.log",
    "nginx/access.log",
    "apache2/access.log",
];

/// The hashes of files by device and inode; `None` of those that are not to be hashed.
type Known = BTreeMap<(u64, u64), Option<String>>;

/// Puts one kind of evidence into a bundle. Files and logs are those below `root`.
pub(super) fn into(bundle: &mut Bundle, artifact: &str, root: &Path, now: Timestamp) -> Result<(), Failure> {
    if bundle.over() {
        bundle.leave_out(format!("{artifact}, for lack of time"));
        return Ok(());
    }
    match artifact {
        "processes" => processes(bundle),
        "network" => network(bundle),
        "logins" => logins(bundle, root),
        "memory" => maps(bundle),
        "files" => files(bundle, root, now),
        "logs" => logs(bundle, root),
        other => Err(Failure::Final(format!("{other:?} can not be collected"))),
    }
}

fn processes(bundle: &mut Bundle) -> Result<(), Failure> {
    let mut known = BTreeMap::new();
    let mut lines = Vec::new();
    for process in Process::all() {
        let at = directory(process.pid);
        let mut title = process.title();
        title.truncate(title.floor_char_boundary(limits::TITLE_BYTES));
        // By way of /proc, which leads to the file even where it was removed or another one has its name.
        let hash =
            if process.kernel || bundle.over() { None } else { hash_of(&at.join("exe"), OFlags::empty(), &mut known) };
        lines.push(json!({
            "pid": process.pid, "parent": process.parent, "session": process.session, "name": process.name,
            "user": process.user(), "started_at": process.started_at(), "kernel": process.kernel, "dead": process.dead,
            "executable": link(&at.join("exe")), "folder": link(&at.join("cwd")),
            "command_line": title, "executable_sha256": hash,
        }));
    }
    bundle.lines("processes.jsonl", &lines)
}

fn network(bundle: &mut Bundle) -> Result<(), Failure> {
    let holders = holders(&Process::all());
    let line = |s: Socket| {
        json!({ "protocol": s.protocol, "local": s.local, "remote": s.remote, "state": state(s.state),
                "processes": holders.get(&s.inode) })
    };
    let lines: Vec<Value> = Socket::all(Path::new("/"), true).into_iter().map(line).collect();
    bundle.lines("sockets.jsonl", &lines)?;
    for (name, path) in [("neighbours.txt", "/proc/net/arp"), ("routes.txt", "/proc/net/route")] {
        bundle.add(name, lossy(Path::new(path)).unwrap_or_default().as_bytes())?;
    }
    Ok(())
}

/// The states of a TCP socket, from 1 (`include/net/tcp_states.h`).
fn state(number: u8) -> &'static str {
    const STATES: [&str; 12] = [
        "established",
        "syn_sent",
        "syn_recv",
        "fin_wait1",
        "fin_wait2",
        "time_wait",
        "close",
        "close_wait",
        "last_ack",
        "listen",
        "closing",
        "new_syn_recv",
    ];
    STATES.get(usize::from(number).wrapping_sub(1)).copied().unwrap_or("unknown")
}

fn logins(bundle: &mut Bundle, root: &Path) -> Result<(), Failure> {
    let record = |of: &'static str| {
        move |r: Record| {
            json!({ "of": of, "user": r.user, "terminal": r.terminal, "host": r.host, "address": r.address, "pid": r.pid,
                    "at": Timestamp::from_seconds(r.at_s), "session": r.session })
        }
    };
    let mut lines: Vec<Value> = connections(None)
        .into_iter()
        .map(|c| json!({ "of": "ssh now", "user": c.user, "address": c.peer, "servers": c.servers }))
        .collect();
    lines.extend(present(root).into_iter().map(record("now")));
    lines.extend(table(&root.join("var/log/wtmp")).into_iter().map(record("before")));
    bundle.lines("logins.jsonl", &lines)
}

fn maps(bundle: &mut Bundle) -> Result<(), Failure> {
    bundle.leave_out("memory: its content; only the maps are taken".to_owned());
    let line = |p: &Process| {
        let maps = lossy(&directory(p.pid).join("maps"))?;
        Some(json!({ "pid": p.pid, "name": p.name, "maps": maps.lines().collect::<Vec<_>>() }))
    };
    let lines: Vec<Value> = Process::all().iter().filter(|p| !p.kernel).filter_map(line).collect();
    bundle.lines("maps.jsonl", &lines)
}

fn files(bundle: &mut Bundle, root: &Path, now: Timestamp) -> Result<(), Failure> {
    let mut homes = vec![root.join("root")];
    homes.extend(fs::read_dir(root.join("home")).into_iter().flatten().flatten().map(|e| e.path()));
    let at_home = homes.iter().flat_map(|home| AT_HOME.iter().map(|name| home.join(name)));
    let starts: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).chain(at_home).collect();
    let since_s = now.as_micros() / 1_000_000 - limits::RECENT_S as i64;
    let (mut lines, mut known, mut looked_at) = (Vec::new(), secrets(root), 0);
    let mut todo: Vec<(PathBuf, usize)> = starts.into_iter().rev().map(|path| (path, 0)).collect();
    let mut cut = None;
    while let Some((path, depth)) = todo.pop() {
        looked_at += 1;
        if bundle.over() || looked_at > limits::LOOKED_AT || lines.len() >= limits::LISTED {
            cut = Some(path);
            break;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            if depth < limits::DEPTH {
                let inner = fs::read_dir(&path).into_iter().flatten().flatten();
                todo.extend(inner.map(|entry| (entry.path(), depth + 1)));
            }
        } else if metadata.mtime().max(metadata.ctime()) >= since_s {
            lines.push(described(&path, &metadata, &mut known));
        }
    }
    if let Some(path) = cut {
        bundle.leave_out(format!("files: {} and {} more places, for lack of time or room", path.display(), todo.len()));
    }
    bundle.lines("files.jsonl", &lines)
}

fn described(path: &Path, metadata: &Metadata, known: &mut Known) -> Value {
    let hash = if metadata.is_file() && !is_secret(path) { hash_of(path, OFlags::NOFOLLOW, known) } else { None };
    let time = |s: i64| Timestamp::from_seconds(s);
    json!({
        "path": path.to_string_lossy(), "bytes": metadata.size(), "mode": format!("{:o}", metadata.mode()), "user": metadata.uid(),
        "group": metadata.gid(), "changed_at": time(metadata.mtime()), "inode_changed_at": time(metadata.ctime()),
        "link_to": link(path), "sha256": hash,
    })
}

/// Where a link leads. A name need not be UTF-8.
fn link(path: &Path) -> Option<String> {
    fs::read_link(path).ok().map(|to| to.to_string_lossy().into_owned())
}

/// The files of passwords, so that they are known for what they are by any other name too.
fn secrets(root: &Path) -> Known {
    let names = ["shadow", "shadow-", "gshadow", "gshadow-"].map(|name| root.join("etc").join(name));
    let found = names.iter().filter_map(|path| fs::metadata(path).ok());
    found.map(|metadata| ((metadata.dev(), metadata.ino()), None)).collect()
}

/// Of files that hold secrets not even the hash is taken: a short secret could be guessed from it.
fn is_secret(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let key = name.starts_with("id_") || (name.starts_with("ssh_host_") && name.contains("key"));
    let secret = ["shadow", "pass", "secret", "token", "credential"].iter().any(|word| name.contains(word));
    let kind = [".pem", ".key", ".p12", ".pfx", ".kdbx", ".env"].iter().any(|end| name.ends_with(end));
    (key && !name.ends_with(".pub")) || secret || kind
}

/// SHA-256 of a file that is not too large, looked up by device and inode where it is known.
fn hash_of(path: &Path, flags: OFlags, known: &mut Known) -> Option<String> {
    // A pipe in the place of a file would keep us waiting.
    let flags = (flags | OFlags::NONBLOCK).bits() as i32;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let new = || {
        let small = metadata.is_file() && metadata.size() <= limits::HASHED_BYTES;
        small.then(|| hashes(file.take(limits::HASHED_BYTES)).ok())?.map(|(_, sha256, _)| sha256)
    };
    known.entry((metadata.dev(), metadata.ino())).or_insert_with(new).clone()
}

fn logs(bundle: &mut Bundle, root: &Path) -> Result<(), Failure> {
    let mut taken = BTreeSet::new();
    for name in LOGS {
        let Some(tail) = tail(&root.join("var/log").join(name)) else { continue };
        let name = format!("log-{}", name.replace('/', "-"));
        bundle.add(&name, &tail)?;
        taken.insert(name);
    }
    let journals = ["var/log/journal", "run/log/journal"].map(|folder| root.join(folder));
    if let Some(journal) = journals.iter().find(|folder| folder.is_dir()) {
        let folder = journal.to_string_lossy();
        let arguments =
            ["--directory", &folder, "--lines=20000", "--output=short-iso", "--utc", "--no-pager", "--quiet"];
        match program::said(Path::new("journalctl"), &arguments, bundle.deadline()) {
            Ok(said) if said.code == Some(0) && !said.text.is_empty() => {
                bundle.add("log-journal.txt", said.text.as_bytes())?;
            }
            Ok(said) => bundle.leave_out(format!("the journal: it is empty, or: {}", said.text)),
            Err(failure) => bundle.leave_out(format!("the journal: {failure}")),
        }
    }
    if taken.is_empty() {
        bundle.leave_out("logs: there are none of the usual names".to_owned());
    }
    Ok(())
}

/// The end of a regular file.
fn tail(path: &Path) -> Option<Vec<u8>> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let skip = file.metadata().ok()?.len().saturating_sub(limits::TAIL_BYTES);
    file.seek(SeekFrom::Start(skip)).ok()?;
    let mut bytes = Vec::new();
    file.take(limits::TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
