//! What must hold of whatever this machine tells of processes, sockets and logins, for the fuzz targets and for tests with
//! mutated inputs: who is logged in here may call a process anything, and who knocks has part in the table of logins.

use crate::logins::{RECORD, logged_in, parse_table};
use crate::processes::{parse_sockets, parse_stat};

/// Any text as what `/proc` says, and as the name and the title of a process.
///
/// # Panics
/// When what must hold does not.
pub fn processes(text: &str) {
    if let Some(process) = parse_stat(text) {
        process.started_at();
        assert!(text.contains(&process.name));
    }
    // Whatever it calls itself, its numbers are those that the kernel gave it.
    let line = format!("42 ({text}) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2\n");
    let process = parse_stat(&line).expect("a line of the kernel");
    assert_eq!((process.name.as_str(), process.pid, process.parent, process.session), (text, 42, 7, 41));
    assert_eq!((process.started, process.dead, process.kernel), (98_765, false, false));
    if let Some(user) = logged_in(text) {
        assert!(text.contains(&format!(" {user}@")));
    }
    assert!(parse_sockets("tcp", text).len() <= text.lines().count());
}

/// Any bytes as the table of logins.
///
/// # Panics
/// When what must hold does not.
pub fn logins(bytes: &[u8]) {
    let records = parse_table(bytes);
    assert_eq!(records.len(), bytes.len() / RECORD);
    for record in records {
        assert!(!record.user.contains('\0') && !record.terminal.contains('\0') && !record.host.contains('\0'));
        // A byte that is no UTF-8 becomes a character of three.
        assert!(record.user.len() <= 96 && record.terminal.len() <= 96 && record.host.len() <= 768);
        assert!(record.address.is_none_or(|address| address.to_canonical() == address));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vertice_testkit::{Random, long};

    use super::*;
    use crate::processes::lossy;

    #[test]
    fn whatever_the_machine_says_is_read_without_a_panic() {
        let real = |path: &str| lossy(Path::new(path)).expect("this machine has it");
        let texts = [real("/proc/self/stat"), real("/proc/self/net/tcp"), "sshd: ana@corp.example@pts/0".to_owned()];
        assert!(parse_stat(&texts[0]).is_some() && logged_in(&texts[2]).is_some());
        let mut table = vec![0; RECORD * 2];
        for (at, text) in [(0, &b"\x07"[..]), (8, b"pts/0"), (44, b"ana"), (76, b"host"), (348, &[203, 0, 113, 9])] {
            table[at..at + text.len()].copy_from_slice(text);
        }
        let mut random = Random(9);
        for round in 0..if long() { 100_000 } else { 2_000 } {
            let text = random.mutated(texts[round % texts.len()].as_bytes());
            processes(&String::from_utf8_lossy(&text));
            logins(&random.mutated(&table));
        }
    }
}
