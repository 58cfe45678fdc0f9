//! Who is logged in: the connections that sshd holds, and the table of logins (utmp(5)).

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::limits;
use crate::processes::{Process, Socket, lossy};

/// A connection that an sshd of ours holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    /// Whose session it is, once somebody has logged in. One who only knocks has none.
    pub(crate) user: Option<String>,
    /// The processes of sshd that hold it.
    pub(crate) servers: Vec<u32>,
}

/// The connections with these peers; with all if there are none given.
///
/// sshd writes into its title who has logged in (`sshd: ana@pts/0`). Anybody may call a program so, hence only an sshd
/// that runs as root counts, or the child of one.
pub(crate) fn connections(peers: Option<&[IpAddr]>) -> Vec<Connection> {
    let mut sockets = Socket::all(Path::new("/"), false);
    let listening: BTreeSet<u64> = sockets.iter().filter(|s| s.listening()).map(|s| s.inode).collect();
    sockets.retain(|s| s.established() && peers.is_none_or(|peers| peers.contains(&s.remote.ip())));
    if sockets.is_empty() {
        return Vec::new();
    }
    let named: Vec<Process> = Process::all().into_iter().filter(|p| p.name.starts_with("sshd")).collect();
    let roots: BTreeSet<u32> = named.iter().filter(|p| is_root_sshd(p)).map(|p| p.pid).collect();
    let servers = named.iter().filter(|p| roots.contains(&p.pid) || roots.contains(&p.parent));
    let servers: Vec<_> = servers.map(|p| (p, p.sockets())).filter(|(_, held)| held.is_disjoint(&listening)).collect();
    let connection = |socket: &Socket| {
        let holders: Vec<_> =
            servers.iter().filter(|(_, held)| held.contains(&socket.inode)).map(|(p, _)| *p).collect();
        let user = holders.iter().find_map(|p| logged_in(&p.title()).map(str::to_owned));
        let servers: Vec<u32> = holders.iter().map(|p| p.pid).collect();
        (!servers.is_empty()).then_some(Connection { peer: socket.remote.ip(), user, servers })
    };
    sockets.iter().filter_map(connection).collect()
}

/// Whether we may not see what other accounts' processes hold, and so can not tell whose a connection is.
pub(crate) fn blind() -> bool {
    fs::read_dir("/proc/1/fd").is_err()
}

fn is_root_sshd(process: &Process) -> bool {
    let sshd = |path: std::path::PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("sshd"));
    process.user() == Some(0) && process.executable().is_some_and(sshd)
}

/// Who has logged in, by the title of an sshd. While somebody is only trying, it ends in `[priv]`, `[net]` or the like.
pub(crate) fn logged_in(title: &str) -> Option<&str> {
    let rest = title.strip_prefix("sshd: ").or_else(|| title.strip_prefix("sshd-session: "))?;
    let (user, terminal) = rest.rsplit_once('@')?;
    (terminal == "notty" || terminal.starts_with("pts/") || terminal.starts_with("tty")).then_some(user)
}

/// A record of the table of logins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) user: String,
    pub(crate) terminal: String,
    pub(crate) host: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) pid: u32,
    pub(crate) at_s: i64,
    /// It is of a user's session, and not of its end or of the machine.
    pub(crate) session: bool,
}

/// Who is logged in by the table. Sessions whose process is gone are left out: not every program tidies up.
pub(crate) fn present(root: &Path) -> Vec<Record> {
    let records = table(&root.join("run/utmp"));
    records.into_iter().filter(|r| r.session && Process::read(r.pid).is_some_and(|p| !p.dead)).collect()
}

/// The records of a table, the last ones if it is long.
pub(crate) fn table(path: &Path) -> Vec<Record> {
    let read = || -> std::io::Result<Vec<u8>> {
        use std::io::Seek as _;
        let mut file = fs::File::open(path)?;
        let skip = file.metadata()?.len().saturating_sub(limits::LOGINS_BYTES);
        file.seek(std::io::SeekFrom::Start(skip.next_multiple_of(RECORD as u64)))?;
        let mut bytes = Vec::new();
        file.take(limits::LOGINS_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    parse_table(&read().unwrap_or_default())
}

/// The size of a record on 64-bit Linux.
pub(crate) const RECORD: usize = 384;

/// Records as glibc lays them out: type 0, process 4, terminal 8 (32 bytes), user 44 (32), host 76 (256), seconds 340,
/// address 348 (16, of which the last 12 are zero for IPv4).
pub(crate) fn parse_table(bytes: &[u8]) -> Vec<Record> {
    const USER_PROCESS: u32 = 7;
    let records = bytes.chunks_exact(RECORD).map(|record| {
        let word = |at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let text = |at: usize, n: usize| {
            let bytes = record[at..at + n].split(|b| *b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let mut address = [0; 16];
        address.copy_from_slice(&record[348..364]);
        let address = match address {
            [0, 0, 0, 0, ..] if address[4..] == [0; 12] => None,
            [a, b, c, d, ..] if address[4..] == [0; 12] => Some(IpAddr::from(Ipv4Addr::new(a, b, c, d))),
            address => Some(IpAddr::from(Ipv6Addr::from(address)).to_canonical()),
        };
        Record {
            user: text(44, 32),
            terminal: text(8, 32),
            host: text(76, 256),
            address,
            pid: word(4),
            at_s: i64::from(word(340)),
            session: word(0) & 0xffff == USER_PROCESS,
        }
    });
    records.collect()
}

/// Who may become root on this machine, and so runs it: root, the members of the groups for that, and whom sudo's
/// rules name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Administrators {
    everybody: bool,
    names: BTreeSet<String>,
}

impl Administrators {
    pub(crate) fn read(root: &Path) -> Administrators {
        let etc = root.join("etc");
        let mut rules = lossy(&etc.join("sudoers")).unwrap_or_default();
        for entry in fs::read_dir(etc.join("sudoers.d")).into_iter().flatten().flatten() {
            rules.push('\n');
            rules.push_str(&lossy(&entry.path()).unwrap_or_default());
        }
        let text = |name: &str| lossy(&etc.join(name)).unwrap_or_default();
        administrators(&text("passwd"), &text("group"), &rules)
    }

    pub(crate) fn have(&self, user: &str) -> bool {
        self.everybody || self.names.contains(user)
    }
}

fn administrators(passwd: &str, group: &str, sudoers: &str) -> Administrators {
    let mut found = Administrators { everybody: false, names: BTreeSet::from(["root".to_owned()]) };
    let mut groups: BTreeSet<String> = ["sudo", "wheel", "admin"].map(str::to_owned).into();
    for word in named_by(sudoers) {
        match word.strip_prefix('%') {
            Some(name) => _ = groups.insert(name.to_owned()),
            None if word == "ALL" => found.everybody = true,
            None => _ = found.names.insert(word),
        }
    }
    let mut numbers = BTreeSet::from(["0".to_owned()]);
    for line in group.lines() {
        let words: Vec<&str> = line.split(':').collect();
        let [name, _, number, members] = words.as_slice() else { continue };
        if groups.contains(*name) {
            numbers.insert((*number).to_owned());
            found.names.extend(members.split(',').filter(|m| !m.is_empty()).map(str::to_owned));
        }
    }
    for line in passwd.lines() {
        let words: Vec<&str> = line.split(':').collect();
        let [name, _, user, group, ..] = words.as_slice() else { continue };
        if *user == "0" || numbers.contains(*group) {
            found.names.insert((*name).to_owned());
        }
    }
    found
}

/// The accounts and groups (`%name`) that sudo's rules speak of, whatever they allow. What an alias of users stands for
/// counts wherever it is used.
fn named_by(sudoers: &str) -> Vec<String> {
    let whole = sudoers.replace("\\\n", " ");
    let mut named = Vec::new();
    for line in whole.lines().map(str::trim) {
        let first = line.split_whitespace().next().unwrap_or_default();
        let users = match first {
            "" | "@include" | "@includedir" | "Host_Alias" | "Cmnd_Alias" | "Cmd_Alias" | "Runas_Alias" => continue,
            "User_Alias" => line.split(':').filter_map(|a| Some(a.split_once('=')?.1)).collect::<Vec<_>>().join(","),
            word if word.starts_with('#') || word.starts_with("Defaults") => continue,
            // The list of users goes on as long as a word ends with a comma; hosts and commands come after it.
            _ => {
                let tight = line.replace(" ,", ",");
                let list: Vec<&str> = tight.split_whitespace().take_while(|word| word.ends_with(',')).collect();
                let last = tight.split_whitespace().nth(list.len()).unwrap_or_default();
                list.concat() + last
            }
        };
        let words = users.split(',').map(str::trim).filter(|w| !w.is_empty() && !w.contains(char::is_whitespace));
        named.extend(words.map(str::to_owned));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_logged_in_is_in_a_title() {
        assert_eq!(logged_in("sshd: ana@pts/0"), Some("ana"));
        assert_eq!(logged_in("sshd-session: ana@corp.example@notty"), Some("ana@corp.example"));
        for other in ["sshd: ana [priv]", "sshd: ana@x [net]", "sshd: unknown [preauth]", "sshd: /usr/sbin/sshd -D", ""]
        {
            assert_eq!(logged_in(other), None, "{other}");
        }
    }

    #[test]
    fn a_table_of_logins_is_read() {
        let mut bytes = vec![0; RECORD * 2 + 7];
        bytes[0] = 7;
        bytes[4..8].copy_from_slice(&42u32.to_ne_bytes());
        bytes[8..13].copy_from_slice(b"pts/0");
        bytes[44..47].copy_from_slice(b"ana");
        bytes[76..80].copy_from_slice(b"host");
        bytes[340..344].copy_from_slice(&1_000u32.to_ne_bytes());
        bytes[348..352].copy_from_slice(&[203, 0, 113, 9]);
        let records = parse_table(&bytes);
        assert_eq!(records.len(), 2);
        let shown = format!("{:?}", records[0]);
        for part in ["ana", "pts/0", "host", "203.0.113.9", "42", "1000", "session: true"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!((records[1].session, records[1].address), (false, None));
        bytes[352..364].copy_from_slice(&[1; 12]);
        assert!(parse_table(&bytes)[0].address.unwrap().is_ipv6());
    }

    #[test]
    fn who_may_become_root_is_found() {
        let passwd = "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\nana:x:1000:1000::/:\nbob:x:1001:27::/:\ncid:x:1002:1002::/:\nbroken\n";
        let group = "root:x:0:\nsudo:x:27:dan,eve\nops:x:30:fay\nother:x:31:gus\n";
        let sudoers = "# ana ALL=(ALL) ALL\nDefaults env_reset\nana ALL=(ALL:ALL) NOPASSWD: ALL\n%ops, hal ALL, !web = \\\n ALL\n\
            User_Alias OPS = ida, %x : MORE = jon\nOPS ALL=ALL\n@includedir /etc/sudoers.d\nCmnd_Alias C = /bin/kim\n";
        let found = administrators(passwd, group, sudoers);
        for user in ["root", "toor", "ana", "bob", "dan", "eve", "fay", "hal", "ida", "jon"] {
            assert!(found.have(user), "{user}: {found:?}");
        }
        for user in ["cid", "gus", "kim", "/bin/kim", "env_reset", ""] {
            assert!(!found.have(user), "{user}: {found:?}");
        }
        assert!(administrators(passwd, group, "ALL ALL=(ALL) ALL").have("cid"));
    }
}
