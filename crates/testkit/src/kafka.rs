//! A real Apache Kafka for tests: one node, or three, in KRaft mode, on free ports, with fresh data.
//!
//! Its jars come from Maven Central, once, into cargo's target folder. Each node is a Java process that ends with the
//! process of the test, however that ends.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::net::free_port;
use crate::root;

/// The version that tests run against.
const VERSION: &str = "4.4.0";

/// The user that the listener with passwords knows, for PLAIN and SCRAM-SHA-256.
pub const USER: &str = "vertice";
/// Its password.
pub const PASSWORD: &str = "right-horse";

/// What is missing for tests with Kafka: Java, openssl, `setpriv`, or its jars and the Maven that fetches them. `None`: nothing,
/// and the jars are there.
///
/// A test that gets an answer prints it as what it left out.
///
/// # Panics
/// With `CI=true`, where nothing may be left out.
#[must_use]
pub fn missing() -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let there = |name: &str| path.split(':').any(|folder| Path::new(folder).join(name).is_file());
    let mut needed = vec!["java", "openssl", "setpriv"];
    if !is_complete() {
        needed.push("mvn");
    }
    let gone: Vec<&str> = needed.iter().copied().filter(|name| !there(name)).collect();
    let text = match gone.is_empty() {
        false => Some(format!("left out: {} missing; `cargo xtask test` installs it", gone.join(", "))),
        true => jars().as_ref().err().map(|error| format!("left out: {error}")),
    };
    let strict = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(text.is_none() || !strict, "with CI=true no test is left out: {text:?}");
    text
}

/// Where Kafka's jars are, after fetching them if this is the first time; or why they can not be had.
fn jars() -> &'static Result<PathBuf, String> {
    static JARS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    JARS.get_or_init(|| fetch().map_err(|error| format!("Kafka could not be fetched: {error}")))
}

fn fetch() -> io::Result<PathBuf> {
    let folder = folder();
    let libs = folder.join("libs");
    if is_complete() {
        return Ok(libs);
    }
    fs::create_dir_all(&folder)?;
    // Another test binary may be at it as well.
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    if !is_complete() {
        create(&folder.join("pom.xml"), POM);
        let into = format!("-DoutputDirectory={}", libs.display());
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", &into]).current_dir(&folder);
        let status = maven.status()?;
        if !status.success() {
            return Err(io::Error::other(format!("Maven failed: {status}")));
        }
        create(&folder.join("complete"), "");
    }
    Ok(libs)
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>vertice.test</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.4.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.5</version>
    </dependency>
  </dependencies>
</project>
"#;

fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn folder() -> PathBuf {
    target().join(format!("kafka-{VERSION}"))
}

fn is_complete() -> bool {
    folder().join("complete").is_file()
}

/// One cluster of all the tests of this binary: a single node, started when it is first asked for. Tests take topics
/// and groups of names of their own, and leave the node running.
#[must_use]
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(1))
}

/// Nodes that form one Kafka.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    folder: PathBuf,
}

/// One of its nodes: broker and controller.
#[derive(Debug)]
pub struct Node {
    id: usize,
    ports: Ports,
    folder: PathBuf,
    memory: &'static str,
    running: Mutex<Option<Child>>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    sasl: u16,
    tls: u16,
    guarded: u16,
    controller: u16,
}

impl Cluster {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start within a minute, with the end of its log.
    #[must_use]
    pub fn start(nodes: usize) -> Cluster {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let all = target().join("kafka-data");
        remove_left_behind(&all);
        let folder = all.join(format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let ports: Vec<Ports> = (0..nodes)
            .map(|_| Ports {
                plain: free_port(),
                sasl: free_port(),
                tls: free_port(),
                guarded: free_port(),
                controller: free_port(),
            })
            .collect();
        let memory = if nodes == 1 { "-Xmx512m" } else { "-Xmx384m" };
        let nodes: Vec<Node> = (1..=nodes)
            .map(|id| Node {
                id,
                ports: ports[id - 1],
                folder: folder.join(id.to_string()),
                memory,
                running: Mutex::new(None),
            })
            .collect();
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        make_certificate(&folder);
        for node in &nodes {
            node.prepare(&ports);
        }
        nodes.iter().for_each(Node::start);
        let cluster = Cluster { nodes, folder };
        cluster.nodes.iter().for_each(Node::wait_until_it_answers);
        cluster
    }

    /// Where its brokers listen, in the clear and without passwords.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.listed(|ports| ports.plain)
    }

    /// Where its brokers listen for those with a password, in the clear.
    #[must_use]
    pub fn brokers_with_passwords(&self) -> String {
        self.listed(|ports| ports.sasl)
    }

    /// Where its brokers listen by TLS, without passwords.
    #[must_use]
    pub fn brokers_with_tls(&self) -> String {
        self.listed(|ports| ports.tls)
    }

    /// Where its brokers listen by TLS, for those with a password.
    #[must_use]
    pub fn brokers_guarded(&self) -> String {
        self.listed(|ports| ports.guarded)
    }

    /// The certificate of its brokers, which is its own authority, PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    fn listed(&self, port: fn(&Ports) -> u16) -> String {
        let all: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", port(&node.ports))).collect();
        all.join(",")
    }

    /// Its nodes; their ids count from 1, as Kafka has them.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Runs one of Kafka's own tools, such as `org.apache.kafka.tools.TopicCommand`, and returns what it prints.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let output = java("-Xmx256m", class, arguments).output().expect("Java is there");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{class} {arguments:?}: {text}\n{error}");
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter().for_each(Node::kill);
        // What is left behind is removed by the next cluster.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Node {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// Ends it at once, as a power failure does (SIGKILL). Its data stays.
    pub fn kill(&self) {
        let Some(mut child) = self.running().take() else { return };
        // An error means that it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Holds it still (SIGSTOP): its connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it again after it was killed, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn restart(&self) {
        self.start();
        self.wait_until_it_answers();
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        let running = self.running();
        let child = running.as_ref().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process's id")).expect("it is not 0");
        rustix::process::kill_process(pid, signal).expect("it is ours");
    }

    /// Writes its configuration, and formats its storage.
    fn prepare(&self, all: &[Ports]) {
        fs::create_dir_all(&self.folder).expect("the target folder can be written to");
        create(&self.folder.join("server.properties"), &self.properties(all));
        create(&self.folder.join("log4j2.properties"), LOG4J);
        let config = self.config();
        let scram = format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]");
        let arguments = ["format", "-t", "dmVydGljZS10ZXN0cy0wMQ", "-c", &config, "--add-scram", &scram];
        let output = java("-Xmx256m", "kafka.tools.StorageTool", &arguments).output().expect("Java is there");
        assert!(output.status.success(), "formatting: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn config(&self) -> String {
        self.folder.join("server.properties").display().to_string()
    }

    fn properties(&self, all: &[Ports]) -> String {
        let Ports { plain, sasl, tls, guarded, controller } = self.ports;
        let voters: Vec<String> =
            (1..).zip(all).map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller)).collect();
        let replicas = all.len();
        let in_sync = if replicas > 1 { 2 } else { 1 };
        let mut text = format!(
            "process.roles=broker,controller\nnode.id={}\ncontroller.quorum.voters={}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},\
             GUARDED://127.0.0.1:{guarded},CONTROLLER://127.0.0.1:{controller}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,\
             GUARDED:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             ssl.keystore.type=PEM\nssl.keystore.location={}\nlog.dirs={}\n",
            self.id,
            voters.join(","),
            self.folder.with_file_name("keys.pem").display(),
            self.folder.join("data").display(),
        );
        let jaas = "org.apache.kafka.common.security";
        text += "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\n";
        for listener in ["sasl", "guarded"] {
            let _ = write!(
                text,
                "listener.name.{listener}.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required \
                 user_{USER}=\"{PASSWORD}\";\n\
                 listener.name.{listener}.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;\n"
            );
        }
        // Tests write records of days long past, which are not to be deleted for their age while they are read.
        text += "log.retention.ms=-1\n";
        // Three nodes fail over within a second or two, so that a test need not wait for the defaults.
        let _ = write!(
            text,
            "offsets.topic.replication.factor={replicas}\noffsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor={replicas}\ntransaction.state.log.min.isr={in_sync}\n\
             share.coordinator.state.topic.replication.factor={replicas}\nmin.insync.replicas={in_sync}\n\
             group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\n\
             auto.create.topics.enable=false\nbroker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n\
             controller.quorum.election.timeout.ms=500\ncontroller.quorum.fetch.timeout.ms=1000\n"
        );
        text
    }

    fn start(&self) {
        let mut command = java(self.memory, "kafka.Kafka", &[&self.config()]);
        let log = File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        command.stdout(log.try_clone().expect("a second handle")).stderr(log).stdin(Stdio::null());
        command.env("JAVA_TOOL_OPTIONS", self.log4j());
        *self.running() = Some(on_the_keeper(command));
    }

    fn log4j(&self) -> String {
        format!("-Dlog4j2.configurationFile={}", self.folder.join("log4j2.properties").display())
    }

    fn wait_until_it_answers(&self) {
        for _ in 0..600 {
            if asks_for_versions(self.ports.plain).is_ok() {
                return;
            }
            let ended = self.running().as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended, "Kafka ended by itself:\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(100));
        }
        panic!("Kafka does not answer after a minute:\n{}", self.log());
    }

    /// The end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

const LOG4J: &str = "rootLogger.level=warn\nrootLogger.appenderRef.out.ref=out\nappender.out.type=Console\n\
                     appender.out.name=out\nappender.out.layout.type=PatternLayout\n\
                     appender.out.layout.pattern=%d %p %c{1} %m%n\n";

/// Makes the brokers' certificate and key: one file for the brokers, and the certificate for those who trust it.
fn make_certificate(folder: &Path) {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=127.0.0.1"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    let output = openssl.output().expect("openssl is there");
    assert!(output.status.success(), "a certificate: {}", String::from_utf8_lossy(&output.stderr));
    let read = |path: &Path| fs::read_to_string(path).expect("it was just made");
    create(&folder.join("keys.pem"), &(read(&key) + &read(&certificate)));
}

/// Java with Kafka's classes. It ends with the thread that starts it.
fn java(memory: &str, class: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "java", memory, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    let jars = jars().as_ref().expect("`missing` was asked before");
    command.arg(jars.join("*")).arg(class).args(arguments);
    command
}

/// Starts a program on a thread that lives as long as this process, so that it ends with the process and not with the
/// test that needed it first.
fn on_the_keeper(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static KEEPER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, wanted) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in wanted {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, started) = mpsc::channel();
    let orders = keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    orders.send((command, answer)).expect("the keeper lives");
    started.recv().expect("the keeper answers").expect("setpriv and Java are there")
}

/// Asks a broker which versions of its protocol it speaks (ApiVersions, version 0), which it answers once it serves.
fn asks_for_versions(port: u16) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    // Length, API key 18, version 0, correlation 1, no client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    if answer[8..] == [0, 0] { Ok(()) } else { Err(io::Error::other("it refuses")) }
}

/// Removes what clusters of processes left that are no more.
fn remove_left_behind(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.split('-').next().unwrap_or_default().to_owned();
        if !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn create(path: &Path, text: &str) {
    let mut file = File::create(path).expect("the target folder can be written to");
    file.write_all(text.as_bytes()).expect("the target folder can be written to");
}
