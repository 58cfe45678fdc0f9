//! Networks of their own for tests: hosts that are network namespaces, joined by a router.
//!
//! Whatever is run in a [`Namespace`] runs on a thread that entered it: its sockets, and the programs that it starts,
//! belong to that host. A socket stays where it was opened, so it may be used by any thread afterwards. The namespaces
//! are removed when they are dropped, also on a panic.
//!
//! And ports of this network, for servers that are told theirs.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What is missing for tests with networks of their own: root, or one of the programs beside `ip`. `None`: nothing.
///
/// A test that gets an answer prints it as what it left out.
#[must_use]
pub fn missing(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("left out: it needs root, for network namespaces of its own".to_owned());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let there = |name: &str| path.split(':').any(|folder| std::path::Path::new(folder).join(name).is_file());
    let gone: Vec<&str> = ["ip"].iter().chain(programs).copied().filter(|name| !there(name)).collect();
    (!gone.is_empty()).then(|| format!("left out: {} missing; `cargo xtask test` installs it", gone.join(", ")))
}

/// A host: a network namespace with its loopback up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one. Its name says which process made it, and what for.
    ///
    /// # Panics
    /// When it can not be made.
    #[must_use]
    pub fn new(label: &str) -> Namespace {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace { name: format!("vertice-{}-{count}-{label}", std::process::id()) };
        run("ip", &["netns", "add", &namespace.name]);
        namespace.ip(&["link", "set", "lo", "up"]);
        // Addresses are ours alone; asking around first would make each new link unusable for a second or two.
        namespace.set("ipv6/conf/default/accept_dad", "0");
        namespace
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on it.
    ///
    /// # Panics
    /// When `ip` fails.
    pub fn ip(&self, arguments: &[&str]) {
        run("ip", &[&["-n", self.name.as_str()], arguments].concat());
    }

    /// Runs something on a thread that is in it, and waits for it.
    ///
    /// # Panics
    /// When it can not be entered, or with what `what` panics with.
    pub fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("it can be entered");
            what()
        };
        let ended = std::thread::scope(|scope| scope.spawn(entered).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Sets a kernel parameter of it, such as `ipv4/ip_forward`.
    ///
    /// # Panics
    /// When there is no such parameter, or it can not have this value.
    pub fn set(&self, parameter: &str, value: &str) {
        let path = format!("/proc/sys/net/{parameter}");
        self.run(|| File::options().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes())))
            .unwrap_or_else(|e| panic!("setting {path} to {value}: {e}"));
    }

    /// Connects to an address from it, within `limit`.
    ///
    /// # Errors
    /// When nobody answers in time, or the other side refuses.
    pub fn connect(&self, to: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
        self.run(|| TcpStream::connect_timeout(&to, limit))
    }

    /// Starts a service that greets every connection with `greeting` and then sends back whatever it gets. It listens on
    /// all addresses of both families, and ends with the test process.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn serve(&self, port: u16, greeting: &'static str) {
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listener = self.run(|| TcpListener::bind(all)).expect("the port is free");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 65_536];
                    stream.write_all(greeting.as_bytes())?;
                    loop {
                        match stream.read(&mut buffer)? {
                            0 => return std::io::Result::Ok(()),
                            length => stream.write_all(&buffer[..length])?,
                        }
                    }
                });
            }
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Hosts around a router that forwards between them. Host `n`, from 1, has 10.77.n.2 and fd77:n::2, and the router has
/// 10.77.n.1 and fd77:n::1 towards it.
#[derive(Debug)]
pub struct Star {
    /// In the middle.
    pub router: Namespace,
    hosts: Vec<Namespace>,
}

impl Star {
    /// A router with a host for each label.
    ///
    /// # Panics
    /// When it can not be made.
    #[must_use]
    pub fn new(labels: &[&str]) -> Star {
        let router = Namespace::new("router");
        router.set("ipv4/ip_forward", "1");
        router.set("ipv6/conf/all/forwarding", "1");
        let mut hosts = Vec::new();
        for (label, n) in labels.iter().zip(1_u8..) {
            let host = Namespace::new(label);
            let near = format!("h{n}");
            router.ip(&["link", "add", &near, "type", "veth", "peer", "name", "eth0", "netns", host.name()]);
            for (namespace, link, last) in [(&router, near.as_str(), 1), (&host, "eth0", 2)] {
                namespace.ip(&["address", "add", &format!("10.77.{n}.{last}/24"), "dev", link]);
                namespace.ip(&["address", "add", &format!("fd77:{n}::{last}/64"), "dev", link]);
                namespace.ip(&["link", "set", link, "up"]);
            }
            host.ip(&["route", "add", "default", "via", &format!("10.77.{n}.1")]);
            host.ip(&["-6", "route", "add", "default", "via", &format!("fd77:{n}::1")]);
            hosts.push(host);
        }
        Star { router, hosts }
    }

    /// Host `n`, from 1.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn host(&self, n: usize) -> &Namespace {
        &self.hosts[n - 1]
    }
}

/// The IPv4 address of host `n` of a [`Star`].
#[must_use]
pub const fn v4(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, n, 2))
}

/// The IPv6 address of host `n` of a [`Star`].
#[must_use]
pub const fn v6(n: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd77, n as u16, 0, 0, 0, 0, 0, 2))
}

/// Whether what is sent comes back within `limit`.
#[must_use]
pub fn echoes(stream: &mut TcpStream, limit: Duration) -> bool {
    let mut back = [0; 4];
    let sent = stream.set_read_timeout(Some(limit)).and_then(|()| stream.write_all(b"ping"));
    sent.is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"ping"
}

/// The first bytes that come within `limit`, as many as asked for; what came until then where they do not.
#[must_use]
pub fn greeting(stream: &mut TcpStream, length: usize, limit: Duration) -> String {
    let _ = stream.set_read_timeout(Some(limit));
    let mut said = Vec::new();
    let _ = stream.take(length as u64).read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// A port that is free, and that the system does not give to outgoing connections, so that a server that is killed
/// gets it again.
///
/// # Panics
/// When no port is free.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 400) as u16 * 25;
    for _ in 0..10_000 {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("starting {program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}
