//! Other programs, run within bounds: never by a shell, with an empty environment, killed with all that they started
//! when their time is over.

use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::Failure;
use crate::deadline::Deadline;
use crate::limits::{PROGRAM_ERROR_CHARS_MAX, PROGRAM_OUTPUT_BYTES_MAX};

/// Where programs are looked for when the environment says nothing, and behind what it says: `nft` and `tcpdump` lie
/// in `sbin`, which the environment of a service often leaves out.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command with nothing in its environment but where programs are, in the one language that messages are read in.
/// It leads a process group of its own, so that it can be ended with all that it started, and so that an interrupt at
/// our terminal does not end it.
pub(crate) fn command(program: &Path) -> Command {
    let inherited = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.env_clear().env("PATH", format!("{inherited}:{PATH}")).env("LC_ALL", "C").process_group(0);
    command
}

/// What a program said, and how it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its output, and behind it its errors.
    pub(crate) text: String,
}

/// Runs a command to its end, given `input`, for `limit` at most. Gives what it wrote to its standard output.
///
/// # Errors
/// [`Failure::Final`] where there is no such program, [`Failure::Retry`] where it failed or had to be ended, with what
/// it wrote to its standard error.
pub(crate) fn run(command: Command, input: &str, limit: Duration) -> Result<String, Failure> {
    let name = name(&command);
    let ended = ended(command, input, |process| ends_within(process, limit))?;
    let Some(status) = ended.status else {
        let seconds = limit.as_secs_f32();
        return Err(Failure::Retry(format!("{name} had not ended after {seconds} s and was killed")));
    };
    if status.success() {
        return Ok(ended.out);
    }
    let err = &ended.err;
    let said = if err.trim().is_empty() { format!("it ended with {status}") } else { printable(err) };
    Err(Failure::Retry(format!("{name} failed: {said}")))
}

/// Runs a program to its end, however that is, until `deadline` at most.
///
/// # Errors
/// [`Failure::Final`] where there is no such program, [`Failure::Retry`] where it had to be ended.
pub(crate) fn said(program: &Path, arguments: &[&str], deadline: &Deadline) -> Result<Said, Failure> {
    let mut command = command(program);
    command.args(arguments);
    let ended = ended(command, "", |process| Ok(deadline.wait(process)))?;
    let Some(status) = ended.status else {
        return Err(Failure::Retry(format!("{} took too long and was killed", program.display())));
    };
    Ok(Said { code: status.code(), text: format!("{}{}", ended.out, ended.err).trim().to_owned() })
}

/// How a program ended, and what it wrote.
struct Ended {
    /// `None` if its time was over.
    status: Option<ExitStatus>,
    out: String,
    err: String,
}

fn ended(
    mut command: Command,
    input: &str,
    in_time: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<bool>,
) -> Result<Ended, Failure> {
    let name = name(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| not_started(&name, &e))?;
    let (to, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        // It may end without reading what it is given, which is then told by its exit code.
        scope.spawn(move || to.map(|mut to| to.write_all(input.as_bytes())));
        let out = scope.spawn(move || out.map(read).unwrap_or_default());
        let err = scope.spawn(move || err.map(read).unwrap_or_default());
        let status = wait(&mut child, in_time).map_err(|e| Failure::Retry(format!("waiting for {name}: {e}")))?;
        Ok(Ended { status, out: out.join().unwrap_or_default(), err: err.join().unwrap_or_default() })
    })
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Why a program could not be started.
pub(crate) fn not_started(name: &str, error: &std::io::Error) -> Failure {
    let why = format!("starting {name}: {error}");
    match error.kind() {
        ErrorKind::NotFound => Failure::Final(format!("{why}; is it installed?")),
        ErrorKind::PermissionDenied => Failure::Final(why),
        _ => Failure::Retry(why),
    }
}

/// How it ended; `None` if its time was over. Afterwards nothing of its process group runs.
fn wait(
    child: &mut Child,
    in_time: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<bool>,
) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let over = !in_time(pidfd_open(pid, PidfdFlags::empty())?.as_fd())?;
    // It may have left something behind that holds its output open. The group's number is not given to another before
    // the child is waited for.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok((!over).then_some(status))
}

/// Whether a process ends within a time.
pub(crate) fn ends_within(process: impl AsFd, limit: Duration) -> std::io::Result<bool> {
    let timeout =
        Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
    loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// What a pipe gives, up to the bound; the rest is read and dropped, so that the writer is not held up.
fn read(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = (&mut pipe).take(PROGRAM_OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Its first characters on one line, without control characters.
pub(crate) fn printable(text: &str) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    line.collect::<Vec<_>>().join(" ").chars().take(PROGRAM_ERROR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &str, limit: Duration) -> Result<String, Failure> {
        let mut shell = command(Path::new("sh"));
        shell.args(["-c", script]);
        run(shell, input, limit)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_goes_in_comes_out_however_much_it_is() {
        let input = "x".repeat(1_000_000);
        assert_eq!(sh("cat", &input, LONG).unwrap(), input);
        assert_eq!(sh("exit 0", &input, LONG).unwrap(), "", "it need not read what it is given");
        assert_eq!(sh("echo $HOME", "", LONG).unwrap(), "\n", "nothing of our environment is handed on");
    }

    #[test]
    fn a_missing_a_failing_and_a_hanging_program_are_told_apart() {
        let missing = run(command(Path::new("/no/such/program")), "", LONG).unwrap_err();
        assert!(matches!(&missing, Failure::Final(why) if why.contains("is it installed?")), "{missing}");
        let failing = sh("echo 'no\u{1b}[31m way' >&2; exit 3", "", LONG).unwrap_err();
        assert_eq!(failing, Failure::Retry("sh failed: no [31m way".to_owned()));
        let silent = sh("exit 3", "", LONG).unwrap_err();
        assert!(silent.to_string().contains("exit status: 3"), "{silent}");
        // The `sleep` is a process of its own and holds the output open; it ends with the shell.
        let hanging = sh("sleep 600; echo late", "", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(&hanging, Failure::Retry(why) if why.contains("was killed")), "{hanging}");
        assert_eq!(sh("sleep 600 & echo done", "", LONG).unwrap(), "done\n", "what it leaves behind is ended");
    }

    #[test]
    fn what_was_said_is_told_however_it_ended() {
        let sh = |script: &str, s: u64| said(Path::new("/bin/sh"), &["-c", script], &Deadline::after(s).unwrap());
        assert_eq!(sh("echo a; echo b >&2; exit 3", 60).unwrap(), Said { code: Some(3), text: "a\nb".to_owned() });
        assert_eq!(sh("kill -9 $$", 60).unwrap().code, None);
        let late = sh("while :; do :; done", 1).unwrap_err();
        assert!(matches!(&late, Failure::Retry(why) if why.contains("too long")), "{late}");
    }
}
