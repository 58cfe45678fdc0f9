//! The systemd journal, through `journalctl`: who logs in, becomes another user, or makes one.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vertice_model::RawEvent;

use crate::limits;
use crate::records::Refused;
use crate::source::{Batch, Cursor, SourceError};
use crate::syslog::{Frame, Frames};

/// Whose lines are read. OpenSSH 9.8 split its daemon in several.
const IDENTIFIERS: [&str; 13] = [
    "sshd",
    "sshd-session",
    "sshd-auth",
    "sudo",
    "su",
    "login",
    "systemd-logind",
    "useradd",
    "usermod",
    "userdel",
    "groupadd",
    "passwd",
    "polkitd",
];

/// How the journal is read.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The program, `journalctl` unless a test says otherwise.
    pub program: PathBuf,
    /// The value of the last cursor that was kept. Without one, reading begins now.
    pub cursor: Option<String>,
}

/// The name of this source in cursors.
pub const SOURCE: &str = "journal";

impl Journal {
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--output=json", "--follow", "--no-pager", "--quiet", "--all"].map(str::to_owned).into();
        arguments.extend(IDENTIFIERS.iter().map(|name| format!("--identifier={name}")));
        arguments.push(match &self.cursor {
            // In one word, so that no cursor can be taken for an option.
            Some(cursor) => format!("--after-cursor={cursor}"),
            None => "--lines=0".to_owned(),
        });
        arguments
    }
}

/// Reads the journal until told to stop, or until nobody takes the batches any more.
///
/// # Errors
/// If the program can not be started or read, or ends by itself.
pub async fn run(config: Journal, queue: mpsc::Sender<Batch>, stop: CancellationToken) -> Result<(), SourceError> {
    let program = config.program.display().to_string();
    let mut child = Command::new(&config.program)
        .args(config.arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(SourceError::io(format!("starting {program}")))?;
    let ended = read(&mut child, &queue, &stop).await.map_err(SourceError::io(format!("reading from {program}")))?;
    if !ended {
        // Gone already is as good as killed.
        let _ = child.start_kill();
    }
    let status = child.wait().await.map_err(SourceError::io(format!("waiting for {program}")))?;
    if ended { Err(SourceError::Ended { program, status: status.to_string() }) } else { Ok(()) }
}

/// Whether the program ended, rather than that we did.
async fn read(child: &mut Child, queue: &mpsc::Sender<Batch>, stop: &CancellationToken) -> std::io::Result<bool> {
    let Some(mut output) = child.stdout.take() else { return Ok(true) };
    let origin: Arc<str> = SOURCE.into();
    let mut frames = Frames::lines();
    let mut piece = vec![0; limits::READ_BYTES];
    loop {
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            read = output.read(&mut piece) => read?,
        };
        let mut batch = Batch::default();
        let mut take = |frame| match frame {
            Frame::Line(line) => {
                if let Some(value) = cursor_of(&line) {
                    batch.cursor = Some(Cursor { source: Arc::clone(&origin), value });
                }
                batch.events.push(RawEvent { origin: Arc::clone(&origin), line });
            }
            Frame::Refused(reason) => batch.refused.push(Refused { number: 0, reason }),
        };
        // A piece holds far fewer entries than a batch may: each is several hundred bytes.
        if read > 0 {
            frames.push(&piece[..read], &mut take)
        } else {
            frames.finish(&mut take)
        }
        if batch != Batch::default() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                sent = queue.send(batch) => if sent.is_err() { return Ok(false) },
            }
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

fn cursor_of(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "__CURSOR")]
        cursor: String,
    }
    serde_json::from_str::<Entry>(line).ok().map(|entry| entry.cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_one_word_of_the_arguments() {
        let mut journal = Journal { program: "journalctl".into(), cursor: None };
        assert_eq!(journal.arguments().last().map(String::as_str), Some("--lines=0"));
        journal.cursor = Some("s=1;i=2 --root=/".into());
        assert_eq!(journal.arguments().last().map(String::as_str), Some("--after-cursor=s=1;i=2 --root=/"));
        assert_eq!(cursor_of(r#"{"__CURSOR":"s=1","MESSAGE":"x"}"#).as_deref(), Some("s=1"));
        assert_eq!(cursor_of("{}"), None);
    }
}
