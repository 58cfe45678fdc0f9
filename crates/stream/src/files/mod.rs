//! Files to their end: logs, JSON, EVTX, and gzip, zip and tar of these, recognised by their content.

mod archive;
mod evtx;
mod kind;
mod tar;
mod walk;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vertice_model::RawEvent;

use self::archive::Unpacked;
use self::kind::Kind;
pub use self::walk::{Found, LeftOut, find};
use crate::limits;
use crate::records::Records;

/// What a file holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    /// An event, and the line, array element or EVTX record that it was. Its origin is the file, with the
    /// archive's member behind an exclamation mark.
    Event(RawEvent, u64),
    /// A record that can not be an event.
    Refused {
        /// The file, with the archive's member.
        file: Arc<str>,
        /// The line, array element or EVTX record.
        number: u64,
        /// What is wrong.
        reason: Cow<'static, str>,
    },
    /// A file, or a member of an archive, that is no log.
    LeftOut(LeftOut),
}

/// How far reading has come; shared with whoever draws it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of all files, as they are on the disk.
    pub total: AtomicU64,
    /// Bytes of them that were read.
    pub consumed: AtomicU64,
}

impl Progress {
    /// For files of so many bytes.
    #[must_use]
    pub fn new(total: u64) -> Progress {
        Progress { total: AtomicU64::new(total), consumed: AtomicU64::new(0) }
    }

    fn add(&self, bytes: u64) {
        self.consumed.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Hands everything that a file holds to `each`, in order, until it breaks. Blocks.
///
/// A file that can not be read is [`Item::LeftOut`]; nothing about one file keeps others from being read.
pub fn read(path: &Path, progress: &Progress, each: &mut dyn FnMut(Item) -> ControlFlow<()>) -> ControlFlow<()> {
    let name = kind::printable(&path.display().to_string());
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (bytes, file) = match opened {
        Ok((about, _)) if about.is_dir() => {
            return each(Item::LeftOut(LeftOut { file: name.into(), reason: "a directory".into() }));
        }
        Ok((about, file)) => (about.len(), file),
        Err(e) => return each(Item::LeftOut(LeftOut { file: name.into(), reason: e.to_string().into() })),
    };
    let counted = Counted { input: file, progress, read: 0, bytes };
    let mut reading = Reading { each };
    let flow = reading.file(&name.into(), counted);
    flow?;
    ControlFlow::Continue(())
}

/// As [`read`], for standard input and other streams: all but the seeking is the same, so an EVTX or zip
/// within is held in memory, up to [`limits::HELD_BYTES_MAX`].
pub fn read_stream(name: &str, input: &mut dyn Read, each: &mut dyn FnMut(Item) -> ControlFlow<()>) -> ControlFlow<()> {
    Reading { each }.stream(&kind::printable(name).into(), input, 0)
}

/// One file being read.
struct Reading<'a> {
    each: &'a mut dyn FnMut(Item) -> ControlFlow<()>,
}

impl Reading<'_> {
    fn file(&mut self, name: &Arc<str>, mut file: Counted<'_>) -> ControlFlow<()> {
        let mut head = Vec::new();
        if let Err(e) = (&mut file).take(limits::SNIFF_BYTES as u64).read_to_end(&mut head) {
            return self.left_out(name, e.to_string());
        }
        match kind::of(&head) {
            kind @ (Kind::Evtx | Kind::Zip) if file.seek(SeekFrom::Start(0)).is_ok() => match kind {
                Kind::Evtx => self.evtx(name, file),
                Kind::Zip | Kind::Gzip | Kind::Tar | Kind::Records | Kind::Not(_) => self.zip(name, file, 0),
            },
            kind => self.kind(name, kind, &mut Cursor::new(head).chain(file), 0),
        }
    }

    /// Whatever `input` is, within so many containers.
    fn stream(&mut self, name: &Arc<str>, input: &mut dyn Read, within: u32) -> ControlFlow<()> {
        let mut head = Vec::new();
        // What can not be read is found again, and reported, behind what could be.
        let end = input.take(limits::SNIFF_BYTES as u64).read_to_end(&mut head).err();
        let kind = kind::of(&head);
        let mut rest = Cursor::new(head).chain(Broken(end)).chain(input);
        self.kind(name, kind, &mut rest, within)
    }

    fn kind(&mut self, name: &Arc<str>, kind: Kind, input: &mut dyn Read, within: u32) -> ControlFlow<()> {
        match kind {
            Kind::Records => self.records(name, input),
            Kind::Not(what) => self.left_out(name, format!("not understood: {what}")),
            Kind::Evtx => match hold(input) {
                Ok(held) => self.evtx(name, held),
                Err(e) => self.left_out(name, e.to_string()),
            },
            Kind::Gzip | Kind::Zip | Kind::Tar if within >= limits::CONTAINERS_MAX => {
                self.left_out(name, format!("more than {} archives within each other", limits::CONTAINERS_MAX))
            }
            Kind::Gzip => {
                let mut unpacked = Unpacked::gzip(input);
                self.stream(name, &mut unpacked, within + 1)
            }
            Kind::Zip => match hold(input) {
                Ok(held) => self.zip(name, held, within),
                Err(e) => self.left_out(name, e.to_string()),
            },
            Kind::Tar => self.tar(name, input, within),
        }
    }

    fn records(&mut self, name: &Arc<str>, input: &mut dyn Read) -> ControlFlow<()> {
        for record in Records::new(input) {
            match record {
                Ok(line) => self.event(name, line.number, line.text)?,
                Err(refused) => self.refused(name, refused.number, refused.reason)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn event(&mut self, name: &Arc<str>, number: u64, line: String) -> ControlFlow<()> {
        (self.each)(Item::Event(RawEvent { origin: Arc::clone(name), line }, number))
    }

    fn refused(&mut self, name: &Arc<str>, number: u64, reason: Cow<'static, str>) -> ControlFlow<()> {
        (self.each)(Item::Refused { file: Arc::clone(name), number, reason })
    }

    /// A member of an archive: passed over by its name, or read.
    fn member(&mut self, archive: &str, name: &[u8], input: &mut dyn Read, within: u32) -> ControlFlow<()> {
        let member: Arc<str> = kind::member(archive, name).into();
        match walk::beside_logs(Path::new(&*String::from_utf8_lossy(name))) {
            Some(reason) => self.left_out(&member, reason),
            None => self.stream(&member, input, within),
        }
    }

    fn left_out(&mut self, name: &Arc<str>, reason: impl Into<Cow<'static, str>>) -> ControlFlow<()> {
        (self.each)(Item::LeftOut(LeftOut { file: Arc::clone(name), reason: reason.into() }))
    }
}

/// Holds an input in memory that can only be read with a seek.
fn hold(input: &mut dyn Read) -> io::Result<Cursor<Vec<u8>>> {
    let mut held = Vec::new();
    input.take(limits::HELD_BYTES_MAX + 1).read_to_end(&mut held)?;
    if held.len() as u64 > limits::HELD_BYTES_MAX {
        let most = limits::HELD_BYTES_MAX;
        return Err(io::Error::other(format!("larger than {most} bytes within an archive; unpack it first")));
    }
    Ok(Cursor::new(held))
}

/// Reads nothing, or the error that came before.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// A file whose bytes are counted. However often it is read, it counts as often as it is long.
struct Counted<'a> {
    input: File,
    progress: &'a Progress,
    read: u64,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(into)?;
        let new = (n as u64).min(self.bytes.saturating_sub(self.read));
        self.read += new;
        self.progress.add(new);
        Ok(n)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.progress.add(self.bytes.saturating_sub(self.read));
    }
}
