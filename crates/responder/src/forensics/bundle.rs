//! A bundle while it is written, and a whole one read again.

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use vertice_model::Timestamp;

use crate::deadline::Deadline;
use crate::{Failure, Hand, limits};

const MANIFEST: &str = "manifest.json";

/// What a bundle says of itself.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    host: String,
    machine: String,
    order_id: String,
    threat_id: String,
    collected_at: Timestamp,
    members: Vec<Member>,
    /// What was not taken, and why.
    left_out: Vec<String>,
}

/// A file of a bundle.
#[derive(Debug, Deserialize, Serialize)]
struct Member {
    name: String,
    bytes: u64,
    blake3: String,
    sha256: String,
}

/// A bundle that is being written.
#[derive(Debug)]
pub(super) struct Bundle {
    folder: PathBuf,
    members: Vec<Member>,
    left_out: Vec<String>,
    bytes_left: u64,
    deadline: Deadline,
}

impl Bundle {
    /// An empty one, which may take so many bytes and seconds.
    pub(super) fn start(folder: PathBuf, bytes_max: u64, timeout_s: u64) -> Result<Bundle, Failure> {
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|e| Failure::Retry(format!("making {}: {e}", folder.display())))?;
        // What is collected is written, made durable and read again, so a part of the time is kept for that.
        let deadline = Deadline::after((timeout_s * 3 / 4).max(1))?;
        Ok(Bundle { folder, members: Vec::new(), left_out: Vec::new(), bytes_left: bytes_max, deadline })
    }

    /// For programs that are run for it.
    pub(super) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Whether there is no time left. Then nothing more is looked for.
    pub(super) fn over(&self) -> bool {
        self.deadline.over()
    }

    /// Notes that something was not taken.
    pub(super) fn leave_out(&mut self, what: String) {
        self.left_out.push(what);
    }

    /// Adds a file of JSON lines.
    pub(super) fn lines(&mut self, name: &str, lines: &[serde_json::Value]) -> Result<(), Failure> {
        let mut text = String::new();
        for (n, line) in lines.iter().enumerate() {
            let line = line.to_string();
            if (text.len() + line.len()) as u64 >= self.bytes_left {
                self.leave_out(format!("{name}: {} of {} lines, for lack of room", lines.len() - n, lines.len()));
                break;
            }
            text.push_str(&line);
            text.push('\n');
        }
        self.add(name, text.as_bytes())
    }

    /// Adds a file.
    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() as u64 > self.bytes_left {
            self.leave_out(format!("{name}: {} bytes, for lack of room", bytes.len()));
            return Ok(());
        }
        self.bytes_left -= bytes.len() as u64;
        self.write(name, bytes)?;
        let (blake3, sha256, n) = hashes(bytes).map_err(|e| Failure::Retry(format!("hashing {name}: {e}")))?;
        self.members.push(Member { name: name.to_owned(), bytes: n, blake3, sha256 });
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let write = || -> std::io::Result<()> {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o400).open(self.folder.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|e| Failure::Retry(format!("writing {name}: {e}")))
    }

    /// Writes the manifest, and gives the bundle its name.
    pub(super) fn finish(mut self, hand: &Hand<'_>, host: &str, whole: &Path) -> Result<(), Failure> {
        if self.over() {
            self.leave_out("whatever is missing, for lack of time".to_owned());
        }
        let manifest = Manifest {
            host: host.to_owned(),
            machine: crate::machine::Machine::read(Path::new("/")).name,
            order_id: hand.order.order_id.to_string(),
            threat_id: hand.order.threat_id.to_string(),
            collected_at: hand.now,
            members: std::mem::take(&mut self.members),
            left_out: std::mem::take(&mut self.left_out),
        };
        let text = serde_json::to_vec_pretty(&manifest).expect("a manifest has text keys");
        self.write(MANIFEST, &text)?;
        let named = || -> std::io::Result<()> {
            File::open(&self.folder)?.sync_all()?;
            fs::rename(&self.folder, whole)?;
            whole.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
        };
        named().map_err(|e| Failure::Retry(format!("naming {}: {e}", whole.display())))
    }
}

/// That a bundle is whole: every member is there with its hashes, and nothing else. Says what it is, or what is wrong.
pub(super) fn verify(folder: &Path) -> Result<String, String> {
    let at = folder.display();
    let manifest = fs::read(folder.join(MANIFEST)).map_err(|e| format!("{at}: the manifest: {e}"))?;
    let read: Manifest = serde_json::from_slice(&manifest).map_err(|e| format!("{at}: the manifest: {e}"))?;
    for member in &read.members {
        let file = File::open(folder.join(&member.name)).map_err(|e| format!("{at}: {}: {e}", member.name))?;
        let found = hashes(file).map_err(|e| format!("{at}: {}: {e}", member.name))?;
        if found != (member.blake3.clone(), member.sha256.clone(), member.bytes) {
            return Err(format!("{at}: {} is not what was collected", member.name));
        }
    }
    let files = fs::read_dir(folder).map_err(|e| format!("{at}: {e}"))?.count();
    if files != read.members.len() + 1 {
        return Err(format!("{at}: {files} files, and the manifest names {}", read.members.len() + 1));
    }
    let bytes: u64 = read.members.iter().map(|m| m.bytes).sum();
    let digest = blake3::hash(&manifest).to_hex();
    Ok(format!("{at}: {} files, {bytes} bytes, BLAKE3 of the manifest {digest}", read.members.len()))
}

/// BLAKE3, SHA-256 and the number of bytes.
pub(super) fn hashes(mut from: impl Read) -> std::io::Result<(String, String, u64)> {
    let (mut blake3, mut sha256, mut n) = (blake3::Hasher::new(), Context::new(&SHA256), 0);
    let mut buffer = vec![0; limits::BUFFER_BYTES];
    loop {
        let some = from.read(&mut buffer)?;
        if some == 0 {
            break;
        }
        blake3.update(&buffer[..some]);
        sha256.update(&buffer[..some]);
        n += some as u64;
    }
    let sha256 = sha256.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Ok((blake3.finalize().to_hex().to_string(), sha256, n))
}
