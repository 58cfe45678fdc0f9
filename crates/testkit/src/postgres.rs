//! A real PostgreSQL of a test: its own data, its own socket, and gone with it.

use std::fs::{File, Permissions};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The password of the user `vertice`, by TCP.
pub const PASSWORD: &str = "right-horse";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    /// What it is told beside the usual.
    further: Vec<String>,
    child: Option<Child>,
}

/// A session that holds what it was given until it is dropped, which takes back what it did.
#[derive(Debug)]
pub struct Holding(Child);

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
        let mut server = Postgres::prepare(dir, left_out)?;
        server.begin();
        Some(server)
    }

    /// As [`Postgres::start`]; on 127.0.0.1 it is also there for whoever has [`PASSWORD`], in the clear and by TLS, with
    /// a certificate of an [`Postgres::authority`] of its own; for the database `sealed` only by TLS.
    ///
    /// # Panics
    /// When it is there and can not be started.
    #[must_use]
    pub fn start_guarded(dir: &Path, left_out: &str) -> Option<Postgres> {
        let mut server = Postgres::prepare(dir, left_out)?;
        server.port = crate::net::free_port();
        let (certificate, key) = server.certify();
        let guard = "local all all trust\nhostnossl sealed all all reject\nhost all all 127.0.0.1/32 scram-sha-256\n";
        put(&server.dir.join("data/pg_hba.conf"), guard);
        server.further = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ];
        server.begin();
        let _nothing = server.sql("postgres", &format!("ALTER ROLE vertice PASSWORD '{PASSWORD}'"));
        Some(server)
    }

    fn prepare(dir: &Path, left_out: &str) -> Option<Postgres> {
        let programs = programs(left_out)?;
        let dir = dir.join("postgres");
        std::fs::create_dir_all(&dir).expect("a directory");
        open_up(&dir);
        if is_root() {
            own(&dir);
        }
        // A socket's name has no number that could be taken; it only tells servers of one directory apart.
        let server = Postgres { programs, dir, port: 5432, further: vec!["listen_addresses=".to_owned()], child: None };
        let data = server.data();
        server.run("initdb", &["-D", &data, "-U", "vertice", "-A", "trust", "-k", "-E", "UTF8", "--no-locale", "-N"]);
        Some(server)
    }

    /// The certificate, in PEM, of whoever vouches for a guarded server.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }

    /// Makes an authority, and by it a certificate for 127.0.0.1; the certificate and its key.
    fn certify(&self) -> (PathBuf, PathBuf) {
        let file = |name: &str| self.dir.join(name);
        let text = |name: &str| file(name).display().to_string();
        let fresh = ["-newkey", "rsa:2048", "-nodes"];
        let (authority, its_key) = (text("authority.pem"), text("authority.key"));
        let own = ["req", "-x509", "-days", "3650", "-subj", "/CN=authority", "-keyout", &its_key, "-out", &authority];
        openssl(&[&own[..], &fresh].concat());
        let (wish, key, names) = (text("wish.pem"), text("server.key"), text("names"));
        openssl(&[&["req", "-new", "-subj", "/CN=127.0.0.1", "-keyout", &key, "-out", &wish][..], &fresh].concat());
        put(&file("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
        let certificate = text("server.pem");
        let by = ["-CA", &authority, "-CAkey", &its_key, "-CAcreateserial", "-extfile", &names, "-out", &certificate];
        openssl(&[&["x509", "-req", "-days", "3650", "-in", &wish][..], &by].concat());
        if is_root() {
            give(&file("server.key"));
        }
        let mode = Permissions::from_mode(0o600);
        std::fs::set_permissions(file("server.key"), mode).expect("it is ours");
        (file("server.pem"), file("server.key"))
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
        let mut command = self.command("postgres", &["-D", &data, "-c", &socket]);
        self.further.iter().for_each(|told| _ = command.args(["-c", told]));
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

    /// Runs SQL in a transaction that stays open: its locks are held until what this gives is dropped.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn hold(&self, database: &str, sql: &str) -> Holding {
        let (socket, port) = (self.dir.display().to_string(), self.port.to_string());
        let args = ["-h", &socket, "-p", &port, "-U", "vertice", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAt"];
        let mut command = self.command("psql", &args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("psql starts");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut input = child.stdin.as_ref().expect("it is piped");
        input.write_all(format!("BEGIN;\n{sql};\n\\echo held\n").as_bytes()).expect("it listens");
        let mut line = String::new();
        while line.trim() != "held" {
            line.clear();
            let length = said.read_line(&mut line).expect("it says something");
            assert!(length > 0, "{sql} is refused: {}", self.log());
        }
        Holding(child)
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

impl Drop for Holding {
    fn drop(&mut self) {
        // With its end of input it ends, and the server takes its transaction back.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
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
    give(dir);
    std::fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("it is ours");
}

fn give(path: &Path) {
    let done = Command::new("chown").arg("postgres:postgres").arg(path).status();
    assert!(done.is_ok_and(|status| status.success()), "{} can not be given to postgres", path.display());
}

fn openssl(args: &[&str]) {
    let done = Command::new("openssl").args(args).output().unwrap_or_else(|e| panic!("starting openssl: {e}"));
    assert!(done.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn put(path: &Path, text: &str) {
    let written = File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
