//! A real PostgreSQL of a test: its own data, its own socket, and gone with it.

use std::fs::{File, Permissions};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    child: Option<Child>,
}

/// Where Debian has the programs of the latest version; `None` where there are none, which is said. With `CI=true` that is
/// a failure: a test that is left out there is left out for good.
///
/// # Panics
/// With `CI=true` where there are none.
#[must_use]
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what they leave out")]
pub fn programs(left_out: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|v| v.path().join("bin")).filter(|bin| bin.join("initdb").is_file());
    let number = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let latest = found.max_by_key(number);
    if latest.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "the package postgresql is missing");
        eprintln!("left out, for the package postgresql is missing: {left_out}");
    }
    latest
}

impl Postgres {
    /// Makes a cluster with checksums in a new directory below `dir` and starts it; `None` where there is no PostgreSQL,
    /// which is said with what is left out.
    ///
    /// # Panics
    /// When it is there and can not be started.
    #[must_use]
    pub fn start(dir: &Path, left_out: &str) -> Option<Postgres> {
        let programs = programs(left_out)?;
        let dir = dir.join("postgres");
        std::fs::create_dir_all(&dir).expect("a directory");
        open_up(&dir);
        if is_root() {
            own(&dir);
        }
        // A socket's name has no number that could be taken; it only tells servers of one directory apart.
        let mut server = Postgres { programs, dir, port: 5432, child: None };
        let data = server.data();
        server.run("initdb", &["-D", &data, "-U", "vertice", "-A", "trust", "-k", "-E", "UTF8", "--no-locale", "-N"]);
        server.begin();
        Some(server)
    }

    fn data(&self) -> String {
        self.dir.join("data").display().to_string()
    }

    /// The directory of its socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.dir
    }

    /// Its port, which is a part of the socket's name.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again after it was stopped, and waits until it takes connections.
    ///
    /// # Panics
    /// When it does not.
    pub fn begin(&mut self) {
        let data = self.data();
        let log = File::options().append(true).create(true).open(self.dir.join("log")).expect("a file");
        let socket = format!("unix_socket_directories={}", self.dir.display());
        let mut command = self.command("postgres", &["-D", &data, "-c", &socket, "-c", "listen_addresses="]);
        // What is promised is kept.
        command.args(["-c", "fsync=on", "-c", "max_connections=200", "-p", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("postgres starts");
        let said = child.stderr.take().expect("it is piped");
        self.child = Some(child);
        let (tell, told) = mpsc::channel();
        // Ends with the server.
        std::thread::spawn(move || keep_log(said, log, &tell));
        let ready = told.recv_timeout(Duration::from_secs(60));
        assert!(ready.is_ok(), "it does not start: {}", self.log());
    }

    /// What it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Stops it as a loss of power would, but for what the system still holds.
    ///
    /// # Panics
    /// When it can not be stopped.
    pub fn stop_hard(&mut self) {
        let data = self.data();
        self.run("pg_ctl", &["stop", "-D", &data, "-m", "immediate", "-s", "-w"]);
        if let Some(mut child) = self.child.take() {
            child.wait().expect("it ends");
        }
    }

    /// Makes a database.
    ///
    /// # Panics
    /// When it can not be made.
    pub fn database(&self, name: &str) {
        let (socket, port) = (self.dir.display().to_string(), self.port.to_string());
        self.run("createdb", &["-h", &socket, "-p", &port, "-U", "vertice", name]);
    }

    /// Runs SQL in a database, and returns what it says.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let (socket, port) = (self.dir.display().to_string(), self.port.to_string());
        let args = ["-h", &socket, "-p", &port, "-U", "vertice", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", sql];
        self.run("psql", &args)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let path = self.programs.join(program);
        let mut command;
        if is_root() {
            // It refuses to run as root.
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(path);
        } else {
            command = Command::new(path);
        }
        command.args(args).current_dir(&self.dir);
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> String {
        let done = self.command(program, args).output().unwrap_or_else(|e| panic!("starting {program}: {e}"));
        assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_none() {
            return;
        }
        let data = self.data();
        // What is left of it goes with its directory.
        let _ = self.command("pg_ctl", &["stop", "-D", &data, "-m", "immediate", "-s", "-w"]).output();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// Keeps what a server says, and tells when it takes connections.
fn keep_log(said: impl Read, mut log: File, ready: &mpsc::Sender<()>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if line.contains("database system is ready to accept connections") {
            // Whoever waited may have given up.
            let _gone = ready.send(());
        }
        // It only helps to understand a failure.
        let _not_kept = writeln!(log, "{line}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets others come through the directories that lead there, which are a test's own.
fn open_up(dir: &Path) {
    let temporary = std::env::temp_dir();
    for above in dir.ancestors().skip(1).take_while(|d| d.starts_with(&temporary) && **d != *temporary) {
        std::fs::set_permissions(above, Permissions::from_mode(0o711)).expect("it is ours");
    }
}

fn own(dir: &Path) {
    let done = Command::new("chown").arg("postgres:postgres").arg(dir).status();
    assert!(done.is_ok_and(|status| status.success()), "{} can not be given to postgres", dir.display());
    std::fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("it is ours");
}
