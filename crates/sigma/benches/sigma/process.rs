//! Runs a program and says what it took.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Anything;

/// What a program took.
pub(crate) struct Run {
    /// Processor time, user and system, in seconds.
    pub(crate) cpu_s: f64,
    /// From start to end, in seconds.
    pub(crate) seconds: f64,
    /// The most memory it had, in KiB.
    pub(crate) memory_kb: u64,
}

impl Run {
    /// Runs a program to its end; what it prints is thrown away. It reads `input`, if there is one.
    pub(crate) fn of(program: &Path, arguments: &[&Path], input: Option<&Path>) -> Anything<Run> {
        let input = input.map(File::open).transpose()?.map_or_else(Stdio::null, Stdio::from);
        let before = children_cpu_s()?;
        let start = Instant::now();
        let mut child =
            Command::new(program).args(arguments).stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let (ended, waiting) = mpsc::channel::<()>();
        let id = child.id();
        // The most memory it had is known only while it runs, so it is asked until then.
        let watch = std::thread::spawn(move || {
            let mut most = 0;
            while waiting.recv_timeout(Duration::from_millis(10)) == Err(mpsc::RecvTimeoutError::Timeout) {
                most = most.max(peak_kb(id).unwrap_or(0));
            }
            most
        });
        let status = child.wait()?;
        drop(ended);
        let memory_kb = watch.join().map_err(|_| "watching its memory failed")?;
        if !status.success() {
            return Err(format!("{} ended with {status}", program.display()).into());
        }
        Ok(Run { cpu_s: children_cpu_s()? - before, seconds: start.elapsed().as_secs_f64(), memory_kb })
    }
}

/// Processor time of all children that have ended, in seconds.
fn children_cpu_s() -> Anything<f64> {
    // proc(5): fields 16 and 17, counted from 1, in ticks of a hundredth of a second; the second may hold blanks.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(13).take(2).map(|n| n.parse().unwrap_or(0.0)).sum();
    Ok(ticks / 100.0)
}

fn peak_kb(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}
