//! Processes and sockets as `/proc` tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use vertice_model::Timestamp;

/// Ticks of a second in `/proc`: `USER_HZ`, 100 on every Linux that Rust runs on.
const TICKS_PER_S: u64 = 100;

/// Flag of a thread of the kernel (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The state of an established connection, and that of a listening socket.
const ESTABLISHED: u8 = 1;
const LISTENING: u8 = 10;

/// A process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its name, up to 15 bytes of it.
    pub(crate) name: String,
    pub(crate) parent: u32,
    /// The number of its session.
    pub(crate) session: u32,
    /// When it began, in ticks since the machine started.
    pub(crate) started: u64,
    /// It runs no more, and waits for its parent to be told.
    pub(crate) dead: bool,
    /// It is a thread of the kernel.
    pub(crate) kernel: bool,
}

impl Process {
    /// The one that has this number now.
    pub(crate) fn read(pid: u32) -> Option<Process> {
        parse_stat(&lossy(&directory(pid).join("stat"))?)
    }

    /// All that there are now.
    pub(crate) fn all() -> Vec<Process> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut all: Vec<Process> = pids.filter_map(Process::read).collect();
        all.sort_by_key(|p| p.pid);
        all
    }

    /// The file that it runs, with its whole path; kernel threads have none.
    pub(crate) fn executable(&self) -> Option<PathBuf> {
        let path = fs::read_link(directory(self.pid).join("exe")).ok()?;
        let text = path.to_string_lossy();
        Some(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
    }

    /// What it was started with, or calls itself, separated by blanks.
    pub(crate) fn title(&self) -> String {
        let text = lossy(&directory(self.pid).join("cmdline")).unwrap_or_default();
        text.trim_end_matches('\0').replace('\0', " ").trim_end().to_owned()
    }

    /// The number of the account that it really runs for.
    pub(crate) fn user(&self) -> Option<u32> {
        real_user(&lossy(&directory(self.pid).join("status"))?)
    }

    /// The sockets that it holds, by inode.
    pub(crate) fn sockets(&self) -> BTreeSet<u64> {
        let entries = fs::read_dir(directory(self.pid).join("fd")).into_iter().flatten().flatten();
        let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.filter_map(|t| t.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
    }

    /// When it began, by the clock on the wall, down to a tick.
    pub(crate) fn started_at(&self) -> Timestamp {
        let us = i64::try_from(self.started.saturating_mul(1_000_000 / TICKS_PER_S)).unwrap_or(i64::MAX);
        Timestamp::from_micros(booted_at().as_micros().saturating_add(us))
    }
}

/// Where `/proc` tells of a process.
pub(crate) fn directory(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// A process and its parents, up to the first one.
pub(crate) fn line_of(pid: u32) -> Vec<u32> {
    let mut line = vec![pid];
    let mut at = pid;
    while let Some(process) = Process::read(at) {
        at = process.parent;
        if at == 0 || line.contains(&at) {
            break;
        }
        line.push(at);
    }
    line
}

/// Whom no verb ends: the first process, threads of the kernel, ourselves, and those that we come from.
pub(crate) fn never_ended(process: &Process) -> Option<&'static str> {
    if process.pid == 1 {
        Some("it is the first process of this machine")
    } else if process.kernel {
        Some("it is a thread of the kernel")
    } else if process.pid == std::process::id() {
        Some("it is Vertice itself")
    } else if line_of(std::process::id()).contains(&process.pid) {
        Some("Vertice was started by it")
    } else {
        None
    }
}

/// Which start of the machine this is: a number and a start time mean another process after the next one.
pub(crate) fn boot() -> String {
    lossy(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default().trim().to_owned()
}

/// When the machine started, by the clock on the wall as it is now. The kernel counts when a process began from
/// there, while logs tell times of the wall, so the two clocks are read one after the other. `/proc/stat` has the same
/// in whole seconds, too coarse to tell a process from the next one of its number.
fn booted_at() -> Timestamp {
    let us = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
    };
    Timestamp::from_micros(us(ClockId::Realtime) - us(ClockId::Boottime))
}

/// A socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Socket {
    pub(crate) protocol: &'static str,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: u8,
    pub(crate) inode: u64,
}

impl Socket {
    /// All of TCP, and of UDP if asked for.
    pub(crate) fn all(root: &Path, udp: bool) -> Vec<Socket> {
        let tables =
            [("tcp", "proc/net/tcp"), ("tcp", "proc/net/tcp6"), ("udp", "proc/net/udp"), ("udp", "proc/net/udp6")];
        let wanted = tables.into_iter().filter(|(protocol, _)| udp || *protocol == "tcp");
        wanted
            .flat_map(|(protocol, path)| parse_sockets(protocol, &lossy(&root.join(path)).unwrap_or_default()))
            .collect()
    }

    pub(crate) fn established(&self) -> bool {
        self.protocol == "tcp" && self.state == ESTABLISHED
    }

    pub(crate) fn listening(&self) -> bool {
        self.protocol == "tcp" && self.state == LISTENING
    }
}

/// Who holds each socket: inode to processes.
pub(crate) fn holders(processes: &[Process]) -> BTreeMap<u64, Vec<u32>> {
    let mut holders = BTreeMap::<u64, Vec<u32>>::new();
    for process in processes {
        for inode in process.sockets() {
            holders.entry(inode).or_default().push(process.pid);
        }
    }
    holders
}

/// What a file says, with what is no UTF-8 replaced: a process may call itself anything.
pub(crate) fn lossy(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of `/proc/PID/stat`. The name may hold blanks and brackets, so it ends at the last one (proc(5)).
pub(crate) fn parse_stat(line: &str) -> Option<Process> {
    let (head, tail) = line.trim_end().rsplit_once(')')?;
    let (pid, name) = head.split_once(" (")?;
    let words: Vec<&str> = tail.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        parent: u32::try_from(number(1)?).ok()?,
        session: u32::try_from(number(3)?).unwrap_or(0),
        started: number(19)?,
        dead: matches!(words.first(), Some(&("Z" | "X" | "x"))),
        kernel: number(6)? & KERNEL_THREAD != 0,
    })
}

/// The first number of the line `Uid:` of `/proc/PID/status`.
fn real_user(status: &str) -> Option<u32> {
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

/// The lines of `/proc/net/tcp` and its like.
pub(crate) fn parse_sockets(protocol: &'static str, table: &str) -> Vec<Socket> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(Socket {
            protocol,
            local: endpoint(words.get(1)?)?,
            remote: endpoint(words.get(2)?)?,
            state: u8::from_str_radix(words.get(3)?, 16).ok()?,
            inode: words.get(9)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(read).collect()
}

/// `0100007F:0016`: words of 4 bytes in the byte order of the machine, and a port.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        let line = "42 (a) R (b) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let process = parse_stat(line).unwrap();
        assert_eq!((process.pid, process.name.as_str(), process.parent), (42, "a) R (b", 7));
        assert_eq!((process.session, process.started, process.dead, process.kernel), (41, 98765, false, false));
        assert!(parse_stat(&line.replace(") S ", ") Z ")).unwrap().dead);
        assert!(parse_stat(&line.replace("4194560", "2129984")).unwrap().kernel);
        for cut in 0..line.len() - 4 {
            let _ = parse_stat(&line[..cut]);
        }
        assert_eq!(real_user("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(1000));
        assert_eq!(real_user("Name:\tx\n"), None);
    }

    #[test]
    fn the_kernels_table_of_sockets_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:0016 097100CB:D431 01 00000000:00000000 00:00000000 00000000     0        0 777 1\n   \
            1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 778 1\n  nonsense\n";
        let sockets = parse_sockets("tcp", table);
        assert_eq!(sockets.len(), 2);
        assert_eq!(sockets[0].remote.to_string(), "203.0.113.9:54321");
        assert!(sockets[0].established() && sockets[1].listening() && sockets[0].inode == 777);
        assert_eq!(endpoint("0000000000000000FFFF0000097100CB:0016").unwrap().to_string(), "203.0.113.9:22");
        assert_eq!(endpoint("B80D0120000000000000000001000000:0050").unwrap().to_string(), "[2001:db8::1]:80");
        for wrong in ["", ":", "00:00", "zz00007F:0016", "0100007F:99999", "\u{e4}00007F:0016"] {
            assert_eq!(endpoint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn we_know_ourselves_and_when_we_began() {
        let me = Process::read(std::process::id()).unwrap();
        assert_eq!(me.executable(), std::env::current_exe().ok());
        assert_eq!(never_ended(&me), Some("it is Vertice itself"));
        assert!(never_ended(&Process::read(me.parent).unwrap()).is_some());
        assert!(never_ended(&Process::read(1).unwrap()).is_some());
        // A machine that started in the year 2000 or earlier has a broken clock.
        assert!(me.started_at() > Timestamp::from_seconds(946_684_800), "{}", me.started_at());
        assert!(me.user().is_some() && !boot().is_empty());
    }
}
