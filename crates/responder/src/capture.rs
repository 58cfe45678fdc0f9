//! `traffic_capture`: the traffic of one address is recorded into a bounded ring of pcap files.
//!
//! tcpdump records, as a process of its own that outlives us, under coreutils' `timeout`, which ends it when the lease
//! does. Both name the ring's path in their arguments, and the path is made for this recording alone: so a recording is
//! found among the processes after our own restart, also where we were killed right after it began, and a process that
//! was given a used number is never taken for it. Where it goes is remembered before it begins.
//!
//! A lease is prolonged by a recording that begins before the other ends, into a ring of its own. The undo ends it and
//! keeps the files; a bound on all recordings together keeps the disk.
//!
//! Under systemd a restart of our unit ends what it started, unless the unit says `KillMode=process`; the recording is
//! then begun again when it is observed to be missing.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use vertice_model::{Task, Timestamp, TrafficCapture};

use crate::keep::name_of;
use crate::limits::{
    CAPTURE_BUFFER_KIB, CAPTURE_BYTES_MIN, CAPTURE_FILES_MAX, CAPTURE_STEP_MS, CAPTURE_STEPS_MAX, CAPTURES_MAX,
};
use crate::program::{command, ends_within, not_started, printable};
use crate::{Failure, Hand, Held, Seen};

/// A recording, as it is remembered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Recording {
    /// The path of its ring: tcpdump appends the number of the file.
    ring: PathBuf,
    /// When it ends by itself.
    until: Timestamp,
}

/// The recordings of one action: the last one runs; one before it may, while it is being followed by it.
type Recordings = Vec<Recording>;

pub(crate) fn apply(hand: &Hand<'_>, action: &TrafficCapture) -> Result<String, Failure> {
    let (until, lasts_s) = hand.lease()?;
    let (file_mb, files) = ring_of(hand, action)?;
    let name = name_of("capture", action);
    let mut all: Recordings = hand.keep.get(&name)?.unwrap_or_default();
    if let Some((last, former)) = all.split_last()
        && last.until >= until
        && !processes(&last.ring)?.is_empty()
    {
        former.iter().try_for_each(|former| end(&former.ring))?;
        return Ok(format!("it is being recorded into {}", last.ring.display()));
    }
    has_room(hand, file_mb * 1_000_000 * files)?;
    let recording = Recording { ring: new_ring(hand, action)?, until };
    all.push(recording.clone());
    hand.keep.put(&name, &all)?;
    if let Err(failure) = begin(hand, action.target_ip.to_canonical(), &recording.ring, (file_mb, files, lasts_s)) {
        end(&recording.ring)?;
        all.pop();
        hand.keep.put(&name, &all)?;
        return Err(failure);
    }
    for former in &all[..all.len() - 1] {
        end(&former.ring)?;
    }
    hand.keep.put(&name, &vec![recording.clone()])?;
    Ok(format!("{} is recorded into {} until {until}", action.target_ip, recording.ring.display()))
}

pub(crate) fn observe(hand: &Hand<'_>, action: &TrafficCapture) -> Result<Seen, Failure> {
    let all: Recordings = hand.keep.get(&name_of("capture", action))?.unwrap_or_default();
    let mut running = Vec::new();
    for recording in &all {
        running.extend((!processes(&recording.ring)?.is_empty()).then_some(recording));
    }
    let held = match hand.order.task {
        // One that it should have taken over from would be a second one.
        Task::Apply => matches!(running[..], [last] if last.until >= hand.order.until.unwrap_or(hand.now)),
        Task::Undo => !running.is_empty(),
    };
    let criteria = BTreeMap::from([("capture_running", !running.is_empty())]);
    let note = all.last().map_or("nothing is recorded".to_owned(), |last| last.ring.display().to_string());
    Ok(Seen { held: if held { Held::Yes } else { Held::No }, criteria, note })
}

pub(crate) fn undo(hand: &Hand<'_>, action: &TrafficCapture) -> Result<String, Failure> {
    let name = name_of("capture", action);
    let all: Recordings = hand.keep.get(&name)?.unwrap_or_default();
    for recording in &all {
        end(&recording.ring)?;
    }
    hand.keep.forget(&name)?;
    Ok(all.last().map_or("nothing was recorded".to_owned(), |r| format!("what was recorded is {}*", r.ring.display())))
}

/// The size of each file, in millions of bytes as tcpdump counts them, and their number.
fn ring_of(hand: &Hand<'_>, action: &TrafficCapture) -> Result<(u64, u64), Failure> {
    let most = hand.settings.traffic_capture.bytes_max;
    let bytes = action.bytes_max.map_or(most, |asked| asked.min(most));
    if bytes < CAPTURE_BYTES_MIN {
        return Err(Failure::Final(format!("a recording of {bytes} B: {CAPTURE_BYTES_MIN} is the least")));
    }
    let mb = bytes / 1_000_000;
    let files = mb.min(CAPTURE_FILES_MAX);
    Ok((mb / files, files))
}

/// Refuses what would not fit beside what is recorded already.
fn has_room(hand: &Hand<'_>, more_bytes: u64) -> Result<(), Failure> {
    let folder = hand.keep.folder("captures")?;
    let (mut bytes, mut running) = (0, 0);
    let looked = || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(&folder)?.map(|e| Ok(e?.path())).collect() };
    for recording in looked().map_err(|e| Failure::Retry(format!("reading {}: {e}", folder.display())))? {
        let files = fs::read_dir(&recording).into_iter().flatten().flatten();
        bytes += files.filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>();
        running += usize::from(!processes(&recording.join(RING))?.is_empty());
    }
    let most = hand.settings.traffic_capture.total_bytes_max;
    if bytes.saturating_add(more_bytes) > most {
        let folder = folder.display();
        return Err(Failure::Final(format!(
            "{folder} holds {bytes} B, and {more_bytes} more would pass {most}: remove some"
        )));
    }
    if running >= CAPTURES_MAX {
        return Err(Failure::Retry(format!("{running} recordings run, which is the most")));
    }
    Ok(())
}

/// AppArmor's profile of tcpdump lets it write to files of this name and no others.
const RING: &str = "traffic.pcap";
const SAID: &str = "tcpdump.log";

/// A folder that no recording had before, named by the address, when it began, and a count.
fn new_ring(hand: &Hand<'_>, action: &TrafficCapture) -> Result<PathBuf, Failure> {
    let folder = hand.keep.folder("captures")?;
    let address = action.target_ip.to_canonical().to_string().replace(':', "-");
    let began_s = hand.now.as_micros() / 1_000_000;
    for n in 0..1_000 {
        let own = folder.join(format!("{address}_{began_s}_{n}"));
        match DirBuilder::new().mode(0o700).create(&own) {
            Ok(()) => return Ok(own.join(RING)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Failure::Retry(format!("making {}: {e}", own.display()))),
        }
    }
    Err(Failure::Final(format!("{} is full of recordings of {address}", folder.display())))
}

/// Starts tcpdump and waits until it records. `(file_mb, files, lasts_s)` are the ring's measures and its time.
fn begin(hand: &Hand<'_>, address: IpAddr, ring: &Path, measures: (u64, u64, u64)) -> Result<(), Failure> {
    let (file_mb, files, lasts_s) = measures;
    let settings = &hand.settings.traffic_capture;
    let said = ring.with_file_name(SAID);
    let log = File::create(&said).map_err(|e| Failure::Retry(format!("making {}: {e}", said.display())))?;
    let mut tcpdump = command(Path::new("timeout"));
    tcpdump.args(["--kill-after=5", &lasts_s.to_string()]).arg(&settings.tcpdump);
    // Written packet by packet, so that a kill loses no more than what the kernel still gathers, a second's worth; its
    // mode without gathering has room for eight packets only. No names are looked up.
    tcpdump.args(["-U", "-n", "-B", &CAPTURE_BUFFER_KIB.to_string(), "-i", &settings.interface]);
    tcpdump.args(["-C", &file_mb.to_string(), "-W", &files.to_string()]);
    // It stays who it is, for the folder is ours alone.
    tcpdump.args(["-Z", "root", "-w"]).arg(ring).args(["host", &address.to_string()]);
    tcpdump.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = tcpdump.spawn().map_err(|e| not_started("timeout", &e))?;
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
    // Whoever started a process must wait for it, or it stays as a shadow; `timeout` bounds how long this takes.
    std::thread::spawn(move || child.wait());
    let process = process.map_err(|e| Failure::Retry(format!("watching tcpdump: {e}")))?;
    for _ in 0..CAPTURE_STEPS_MAX {
        let over = ends_within(&process, Duration::from_millis(CAPTURE_STEP_MS));
        if over.map_err(|e| Failure::Retry(format!("watching tcpdump: {e}")))? {
            let said = printable(&fs::read_to_string(&said).unwrap_or_default());
            let missing = said.contains("No such file or directory") && said.contains("timeout:");
            let why = format!("{} does not record: {said}", settings.tcpdump.display());
            return Err(if missing { Failure::Final(why) } else { Failure::Retry(why) });
        }
        if records(ring) {
            return Ok(());
        }
    }
    Err(Failure::Retry(format!("{} does not begin to record", settings.tcpdump.display())))
}

/// Whether the first file of the ring has its header: it is written once the filter is in the kernel.
fn records(ring: &Path) -> bool {
    const HEADER_BYTES: u64 = 24;
    let files = fs::read_dir(ring.parent().unwrap_or(ring)).into_iter().flatten().flatten();
    let mut pcaps = files.filter(|file| file.file_name().as_bytes().starts_with(RING.as_bytes()));
    pcaps.any(|file| file.metadata().is_ok_and(|m| m.len() >= HEADER_BYTES))
}

/// Ends what records into a ring, and waits until it has ended.
pub(crate) fn end(ring: &Path) -> Result<(), Failure> {
    let limit = Duration::from_millis(CAPTURE_STEP_MS * u64::from(CAPTURE_STEPS_MAX));
    for signal in [Signal::TERM, Signal::KILL] {
        let all = processes(ring)?;
        for process in &all {
            // It may have ended by itself.
            let _ = pidfd_send_signal(process, signal);
        }
        for process in &all {
            ends_within(process, limit).map_err(|e| Failure::Retry(format!("waiting for a recording to end: {e}")))?;
        }
    }
    if processes(ring)?.is_empty() {
        return Ok(());
    }
    Err(Failure::Retry(format!("what records into {} does not end", ring.display())))
}

/// The processes that record into a ring: those with its path among their arguments.
///
/// Each is held by a descriptor that was opened before its arguments were read, so that it is that process that a
/// signal reaches, whatever number is given to whom in between.
pub(crate) fn processes(ring: &Path) -> Result<Vec<OwnedFd>, Failure> {
    let listed = fs::read_dir("/proc").map_err(|e| Failure::Retry(format!("reading /proc: {e}")))?;
    let numbers = listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |number: i32| {
        let names_it = || {
            let arguments = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|argument| argument == ring.as_os_str().as_bytes())
        };
        // Looked at first without a descriptor, for most processes are none of ours.
        let pid = Pid::from_raw(number).filter(|_| names_it())?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        names_it().then_some(process)
    };
    Ok(numbers.filter_map(ours).collect())
}

#[cfg(test)]
mod tests;
