//! What tests need beside the toolchain: programs, and the packages of Debian that have them.

use std::path::Path;

use crate::run::{command, run};

/// A program, the package that has it, and what needs it. A test of a further program adds its line here.
const NEEDED: [(&str, &str, &str); 8] = [
    ("ip", "iproute2", "network namespaces"),
    ("nft", "nftables", "the firewall"),
    ("tcpdump", "tcpdump", "recordings"),
    ("ssh", "openssh-client", "remote commands"),
    ("sshd", "openssh-server", "sessions, remote commands and guessing"),
    ("openssl", "openssl", "connections by TLS"),
    ("crowdsec-firewall-bouncer", "crowdsec-firewall-bouncer", "decisions"),
    ("redis-server", "redis-server", "shared answers of language models"),
];

/// Installs what is missing, where that is possible, and says what it does. Tests that miss something say so themselves.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what is done to the machine")]
pub fn install_missing() {
    let missing: Vec<_> = NEEDED.iter().filter(|(program, ..)| !is_there(program)).collect();
    if missing.is_empty() {
        return;
    }
    let list = |pick: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
        missing.iter().map(|needed| pick(needed)).collect::<Vec<_>>()
    };
    let (packages, purposes) = (list(|n| n.1), list(|n| n.2).join(", "));
    if !is_there("apt-get") || !is_root() {
        let names = packages.join(" ");
        eprintln!("not installed, and to be installed by root: {names}. Tests of {purposes} are left out.");
        return;
    }
    eprintln!("installing for tests of {purposes}: {}", packages.join(" "));
    let install = [&["install", "-qq", "-y", "--no-install-recommends"], &packages[..]].concat();
    let installed =
        run(&mut command("apt-get", &["update", "-qq"])).and_then(|()| run(&mut command("apt-get", &install)));
    if let Err(error) = installed {
        eprintln!("{error:#}. Tests of {purposes} are left out.");
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|folder| Path::new(folder).join(program).is_file())
}

fn is_root() -> bool {
    command("id", &["-u"]).output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
