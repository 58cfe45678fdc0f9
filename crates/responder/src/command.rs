//! `remote_command`: runs an allowed command on a named host, over SSH.
//!
//! It is the system's `ssh` that speaks, and not a library: it is the implementation that hosts are hardened for and
//! distributions patch within the day, it knows every key that an operator has, and it lives in a process of its
//! own, away from our memory. It is told everything on its command line and reads no configuration (`-F none`), no
//! agent, no other key than the named one, and no other known hosts than the one key that is pinned.
//!
//! Host and command are both names of the configuration; nothing of a threat reaches the command line, and no shell
//! runs on our side. On the other side the account's login shell reads the command, so each word is quoted for it.
//!
//! Whether a command ran can not be observed afterwards. `ssh` says in its own log, apart from what the command says,
//! why it failed before it was let in; then nothing ran. Of any other end without the command's own exit status it is
//! unknown, unless the command is declared idempotent.

use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use vertice_model::{RemoteCommand, Task};

use crate::settings::{Command, Remote, RemoteHost, is_host_name};
use crate::{Failure, Hand, Seen, limits, once, text};

#[cfg(test)]
mod tests;

pub(crate) fn apply(hand: &Hand<'_>, action: &RemoteCommand) -> Result<String, Failure> {
    run(hand, &action.target_host, &action.command)
}

pub(crate) fn observe(hand: &Hand<'_>, action: &RemoteCommand) -> Result<Seen, Failure> {
    let name = match hand.order.task {
        Task::Apply => Some(&action.command),
        Task::Undo => action.undo_command.as_ref(),
    };
    let command = name.and_then(|name| hand.settings.remote_command.commands.get(name));
    once::seen(hand, command.is_some_and(|c| c.idempotent), "command_succeeded")
}

pub(crate) fn undo(hand: &Hand<'_>, action: &RemoteCommand) -> Result<String, Failure> {
    match &action.undo_command {
        Some(command) => run(hand, &action.target_host, command),
        None => Err(Failure::Final("the playbook gives no undo_command for it".to_owned())),
    }
}

fn run(hand: &Hand<'_>, host_name: &str, command_name: &str) -> Result<String, Failure> {
    let settings = &hand.settings.remote_command;
    let (host, command) = allowed(settings, host_name, command_name)?;
    let line = quoted(command_name, command)?;
    once::send(hand, command.idempotent, || {
        let dir = once::folder(hand)?;
        let file = |kind: &str| dir.join(format!("{}.{kind}", hand.order.order_id));
        let (known, log) = (file("known"), file("log"));
        let time = Duration::from_secs(hand.order.timeout_s.max(1));
        let ended = place(&known, &log, host)
            .and_then(|()| ssh(settings, host, &known, &log, time).and_then(|ssh| end(ssh, &line, time)));
        let said = read(&log);
        for path in [&known, &log] {
            // What is left over is written anew should the order come again.
            let _ = fs::remove_file(path);
        }
        judged(ended?, not_let_in(&said, host), &said, command, &format!("{command_name} on {host_name}"))
    })
}

/// Whether every command can be run on each of its hosts, as far as that can be seen without running it.
pub(crate) fn check(settings: &Remote) -> Result<(), Failure> {
    for (name, command) in &settings.commands {
        quoted(name, command)?;
        for host in &command.hosts {
            allowed(settings, host, name)?;
        }
    }
    Ok(())
}

/// The host and the command, if both are on the list and the one is allowed on the other.
fn allowed<'a>(settings: &'a Remote, host: &str, command: &str) -> Result<(&'a RemoteHost, &'a Command), Failure> {
    let host = host.to_ascii_lowercase();
    let section = format!("response.remote_command.hosts.{host}");
    let known = settings.hosts.get(&host).ok_or_else(|| Failure::Final(format!("there is no [{section}]")))?;
    let listed = format!("response.remote_command.commands.{command}");
    let found = settings.commands.get(command);
    let found = found.ok_or_else(|| Failure::Final(format!("there is no [{listed}]")))?;
    if !found.hosts.contains(&host) {
        return Err(Failure::Final(format!("{listed}.hosts does not name {host}")));
    }
    if known.address.parse::<std::net::IpAddr>().is_err() && !is_host_name(&known.address) {
        let wrong = format!("{section}.address is {:?}, and is an address or a name", known.address);
        return Err(Failure::Final(wrong));
    }
    if !is_host_name(&known.user) {
        return Err(Failure::Final(format!("{section}.user is {:?}, and is the name of an account", known.user)));
    }
    Ok((known, found))
}

/// The command for the login shell of the other side: each word in single quotes.
fn quoted(name: &str, command: &Command) -> Result<String, Failure> {
    let wrong = |what: &str| Failure::Final(format!("response.remote_command.commands.{name}.run {what}"));
    if !command.run.first().is_some_and(|program| program.starts_with('/')) {
        return Err(wrong("does not begin with the whole path of a program"));
    }
    if command.run.iter().any(|word| word.chars().any(char::is_control)) {
        return Err(wrong("has a control character"));
    }
    let words: Vec<_> = command.run.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    Ok(words.join(" "))
}

/// The name under which the pinned key is known; the real name and port of a host do not matter then.
const PINNED: &str = "pinned";

fn place(known: &Path, log: &Path, host: &RemoteHost) -> Result<(), Failure> {
    let written = |path: &Path, text: String| -> std::io::Result<()> {
        use std::io::Write as _;
        fs::File::create(path)?.write_all(text.as_bytes())
    };
    written(known, format!("{PINNED} {}\n", host.host_key.as_str()))
        .and_then(|()| written(log, String::new()))
        .map_err(|e| Failure::Retry(format!("writing {}: {e}", known.display())))
}

fn ssh(
    settings: &Remote,
    host: &RemoteHost,
    known: &Path,
    log: &Path,
    time: Duration,
) -> Result<std::process::Command, Failure> {
    let known = option_path(known)?;
    let key = option_path(&host.key_file)?;
    let mut ssh = std::process::Command::new(&settings.ssh);
    ssh.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    ssh.args(["-F", "none", "-n", "-T", "-a", "-x", "-E"]).arg(log);
    let options = [
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("UserKnownHostsFile={known}"),
        "GlobalKnownHostsFile=none".to_owned(),
        format!("HostKeyAlias={PINNED}"),
        "CheckHostIP=no".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "VerifyHostKeyDNS=no".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        format!("IdentityFile={key}"),
        "PreferredAuthentications=publickey".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "ControlPath=none".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "ProxyCommand=none".to_owned(),
        "EscapeChar=none".to_owned(),
        "ConnectionAttempts=1".to_owned(),
        format!("ConnectTimeout={}", time.min(limits::CONNECT_TIME).as_secs().max(1)),
        "LogLevel=ERROR".to_owned(),
    ];
    for option in options {
        ssh.args(["-o", &option]);
    }
    ssh.args(["-p", &host.port.to_string(), "-l", &host.user, "--", &host.address]);
    ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that whatever it starts ends with it.
    ssh.process_group(0);
    Ok(ssh)
}

/// A path as an option of `ssh` takes it: in quotes, with `%` for itself.
fn option_path(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) if !text.contains(['"', '\\']) && !text.chars().any(char::is_control) => {
            Ok(format!("\"{}\"", text.replace('%', "%%")))
        }
        _ => Err(Failure::Final(format!("ssh can not be told the path {}", path.display()))),
    }
}

/// How `ssh` ended; `None` if it had to be ended when the time was over.
struct End {
    status: Option<ExitStatus>,
    output: String,
}

fn end(mut ssh: std::process::Command, line: &str, time: Duration) -> Result<End, Failure> {
    let program = ssh.get_program().to_string_lossy().into_owned();
    let not_started = |e: std::io::Error| Failure::Final(format!("starting {program}: {e}"));
    let mut child = ssh.arg(line).spawn().map_err(not_started)?;
    let outputs = [child.stdout.take().map(gather), child.stderr.take().map(gather)];
    let status = wait(&mut child, time);
    let mut output = String::new();
    for gathered in outputs.into_iter().flatten().flatten() {
        let bytes = gathered.join().unwrap_or_default();
        output.push_str(&String::from_utf8_lossy(&bytes));
        output.push('\n');
    }
    // It was started, and who knows how far it came.
    let status = status.map_err(|e| Failure::Unknown(format!("waiting for {program}: {e}")))?;
    Ok(End { status, output })
}

/// Its exit status; `None` if it was ended because the time was over.
fn wait(child: &mut Child, time: Duration) -> std::io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidData)?;
    let ended = pidfd_open(pid, PidfdFlags::empty()).and_then(|fd| {
        let time = Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&time)))
    });
    if matches!(ended, Ok(1..)) {
        return child.wait().map(Some);
    }
    // It has not been waited for, so the number is still its own.
    let killed = kill_process_group(pid, Signal::KILL);
    child.wait()?;
    killed.and(ended)?;
    Ok(None)
}

/// Reads what a pipe gives, and keeps the beginning.
fn gather(pipe: impl Read + Send + 'static) -> std::io::Result<JoinHandle<Vec<u8>>> {
    std::thread::Builder::new().name("ssh output".to_owned()).spawn(move || {
        let (mut kept, mut pipe) = (Vec::new(), pipe);
        // An end of either kind is the end of what is known of it.
        let _ = pipe.by_ref().take(limits::OUTPUT_BYTES_MAX).read_to_end(&mut kept);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        kept
    })
}

fn read(log: &Path) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(log).and_then(|f| f.take(limits::OUTPUT_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How a line of `ssh`'s log begins when it was not let in, and whether trying again may help. Each is an end before
/// any command.
const NOT_LET_IN: [(&str, bool); 6] = [
    ("Host key verification failed", false),
    ("Unable to negotiate with", false),
    ("ssh: Could not resolve hostname", true),
    ("ssh: connect to host", true),
    ("Connection timed out during banner exchange", true),
    ("kex_exchange_identification:", true),
];

/// What `ssh` says of it, and whether trying again may help, if it was surely not let in.
fn not_let_in<'a>(log: &'a str, host: &RemoteHost) -> Option<(&'a str, bool)> {
    // What follows are the other side's words.
    if log.lines().any(|line| line.starts_with("Received disconnect")) {
        return None;
    }
    let denied = format!("{}@{}: Permission denied", host.user, host.address);
    let known = NOT_LET_IN.into_iter().chain([(denied.as_str(), false)]);
    known.filter_map(|(start, retry)| log.lines().find(|line| line.starts_with(start)).map(|line| (line, retry))).next()
}

fn judged(
    end: End,
    not_let_in: Option<(&str, bool)>,
    log: &str,
    command: &Command,
    what: &str,
) -> Result<String, Failure> {
    let said = |words: &str| text::line(words, limits::WORDS_CHARS_MAX);
    let code = end.status.and_then(|status| status.code());
    let unclear = |reason: String| {
        if command.idempotent { Failure::Retry(reason) } else { Failure::Unknown(reason) }
    };
    match code {
        Some(0) => Ok(said(&format!("{what}: {}", end.output))),
        // What ssh itself ends with when it fails; a command may end so too.
        Some(255) => match not_let_in {
            Some((line, true)) => Err(Failure::Retry(format!("{what}: {}", said(line)))),
            Some((line, false)) => Err(Failure::Final(format!("{what}: {}", said(line)))),
            None => Err(unclear(format!("{what}: the connection broke, or the command ended with 255: {}", said(log)))),
        },
        Some(code) if command.idempotent => {
            Err(Failure::Retry(format!("{what} ended with {code}: {}", said(&end.output))))
        }
        Some(code) => Err(Failure::Final(format!("{what} ended with {code}: {}", said(&end.output)))),
        None => match end.status.and_then(|status| status.signal()) {
            Some(signal) => Err(unclear(format!("{what}: ssh was ended by signal {signal}"))),
            None => Err(unclear(format!("{what} did not end in time"))),
        },
    }
}
