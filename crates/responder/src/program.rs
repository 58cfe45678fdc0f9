//! Running a program of the system: with nothing of our environment, bounded in time and in what it says.

use std::io::{ErrorKind, Read as _, pipe};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::deadline::Deadline;
use crate::{Failure, limits};

/// What a program said, and how it ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its output and its errors, as they came.
    pub(crate) text: String,
}

/// Runs a program to its end.
///
/// # Errors
/// When it is not there ([`Failure::Final`]), and when it takes too long or says too much, and is ended for that.
pub(crate) fn run(program: &Path, arguments: &[&str], deadline: &Deadline) -> Result<Said, Failure> {
    let name = program.display();
    let failed = |e: std::io::Error| Failure::Retry(format!("running {name}: {e}"));
    let (mut output, input) = pipe().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(input.try_clone().map_err(failed)?).stderr(input);
    let mut child = command.spawn().map_err(|e| match e.kind() {
        ErrorKind::NotFound => Failure::Final(format!("the program {name} is not there")),
        ErrorKind::PermissionDenied => Failure::Final(format!("the program {name} may not be run")),
        _ => failed(e),
    })?;
    // Ours ends of the pipe are closed, or there would be no end of the output.
    drop(command);
    let mut text = Vec::new();
    let mut ended = || -> std::io::Result<bool> {
        let mut buffer = [0; 8192];
        loop {
            if text.len() > limits::OUTPUT_BYTES || !deadline.wait(output.as_fd()) {
                return Ok(false);
            }
            match output.read(&mut buffer)? {
                0 => break,
                n => text.extend_from_slice(&buffer[..n]),
            }
        }
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        Ok(deadline.wait(pidfd.as_fd()))
    };
    let ended = ended();
    if !matches!(ended, Ok(true)) {
        child.kill().map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    match ended {
        Ok(true) => Ok(Said { code: status.code(), text: String::from_utf8_lossy(&text).trim().to_owned() }),
        Ok(false) => Err(Failure::Retry(format!("{name} took too long or said too much, and was ended"))),
        Err(e) => Err(failed(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_to_its_end_or_ended() {
        let deadline = Deadline::after(60).unwrap();
        let sh = |script: &str, deadline: &Deadline| run(Path::new("/bin/sh"), &["-c", script], deadline);
        let said = sh("echo a; echo b >&2; exit 3", &deadline).unwrap();
        assert_eq!((said.code, said.text.as_str()), (Some(3), "a\nb"));
        assert_eq!(sh("kill -9 $$", &deadline).unwrap().code, None);
        assert_eq!(sh("env | grep -c .", &deadline).unwrap().text, "3");
        let much = sh("while :; do echo much; done", &deadline).unwrap_err();
        assert!(matches!(&much, Failure::Retry(why) if why.contains("too much")), "{much}");
        let late = sh("while :; do :; done", &Deadline::after(1).unwrap()).unwrap_err();
        assert!(matches!(&late, Failure::Retry(why) if why.contains("too long")), "{late}");
        let missing = run(Path::new("/no/such/program"), &[], &deadline).unwrap_err();
        assert_eq!(missing, Failure::Final("the program /no/such/program is not there".to_owned()));
    }
}
