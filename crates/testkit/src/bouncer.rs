//! The firewall bouncer of Debian, on a host of a test.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::net::Namespace;

/// The program, from the package of the same name.
pub const PROGRAM: &str = "crowdsec-firewall-bouncer";

/// A running bouncer that drops what is sent to its host by the addresses that it is told of, by nftables. It is
/// killed when dropped; its tables go with the namespace.
#[derive(Debug)]
pub struct Bouncer {
    child: Child,
    log: PathBuf,
}

impl Bouncer {
    /// Starts one on a host that asks `url` with `key` ten times a second. `dir` is a directory for its files.
    ///
    /// # Panics
    /// When it can not be started.
    #[must_use]
    pub fn start(host: &Namespace, dir: &Path, url: &str, key: &str) -> Bouncer {
        let (config, log) = (dir.join("bouncer.yaml"), dir.join("bouncer.log"));
        let text = format!(
            "mode: nftables\nupdate_frequency: 100ms\ndaemonize: true\nlog_mode: stdout\nlog_level: info\n\
             pid_dir: {}\napi_url: {url}/\napi_key: {key}\ninsecure_skip_verify: false\ndisable_ipv6: false\n\
             deny_action: DROP\ndeny_log: false\nsupported_decisions_types: [ban]\n\
             blacklists_ipv4: crowdsec-blacklists\nblacklists_ipv6: crowdsec6-blacklists\nnftables:\n  \
             ipv4: {{ enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain }}\n  \
             ipv6: {{ enabled: true, set-only: false, table: crowdsec6, chain: crowdsec6-chain }}\n\
             prometheus: {{ enabled: false, listen_addr: 127.0.0.1, listen_port: 60601 }}\n",
            dir.display()
        );
        let written = File::create(&config).and_then(|mut file| file.write_all(text.as_bytes()));
        written.unwrap_or_else(|e| panic!("writing {}: {e}", config.display()));
        let said = File::create(&log).unwrap_or_else(|e| panic!("making {}: {e}", log.display()));
        let also = said.try_clone().expect("a file can be cloned");
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(said).stderr(also);
        let child = host.run(|| command.spawn()).unwrap_or_else(|e| panic!("starting {PROGRAM}: {e}"));
        Bouncer { child, log }
    }

    /// What it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has ended by itself, and returns what it said. Its exit code says nothing: it is 0 in any case.
    ///
    /// # Panics
    /// When it can not be waited for.
    #[must_use]
    pub fn ended(mut self) -> String {
        self.child.wait().expect("it can be waited for");
        self.log()
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        // Ended already, or nobody else will end it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
