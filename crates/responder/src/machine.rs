//! This machine, as its kernel and its files describe it now: its name and addresses, its gateways and resolvers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::Failure;

/// This machine as it is now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Machine {
    /// Its host name, in lower case; empty where it has none.
    pub name: String,
    /// The addresses of all its interfaces.
    pub addresses: Vec<IpAddr>,
    /// The routers that it sends through.
    pub gateways: Vec<IpAddr>,
    /// The name servers that it asks.
    pub resolvers: Vec<IpAddr>,
}

impl Machine {
    /// Reads it below `root`, which is `/` outside tests. What can not be read is empty.
    #[must_use]
    pub fn read(root: &Path) -> Machine {
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let both = |v4: Vec<IpAddr>, v6: Vec<IpAddr>| unique(v4.into_iter().chain(v6));
        Machine {
            name: read("proc/sys/kernel/hostname").trim().to_lowercase(),
            addresses: both(local_v4(&read("proc/net/fib_trie")), local_v6(&read("proc/net/if_inet6"))),
            gateways: both(gateways_v4(&read("proc/net/route")), gateways_v6(&read("proc/net/ipv6_route"))),
            resolvers: resolvers(&read("etc/resolv.conf")),
        }
    }

    /// Whether a host that is named so, by name or address, is this machine. A name without a domain means the host
    /// of that name in every domain.
    #[must_use]
    pub fn is(&self, host: &str) -> bool {
        let host = host.trim().trim_end_matches('.').to_lowercase();
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback() || self.addresses.contains(&address);
        }
        let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let short = !host.contains('.') || !self.name.contains('.');
        let same = !self.name.is_empty() && (host == self.name || (short && first(&host) == first(&self.name)));
        same || host == "localhost"
    }
}

/// That a verb which acts within a host is meant for this one. `None` means this one.
pub(crate) fn is_here(host: Option<&str>) -> Result<(), Failure> {
    let Some(host) = host else { return Ok(()) };
    let machine = Machine::read(Path::new("/"));
    if machine.is(host) {
        return Ok(());
    }
    Err(Failure::Final(format!(
        "{host:?} is not this machine, which is {:?}: run Vertice there, or let the playbook use remote_command",
        machine.name
    )))
}

/// The addresses that the kernel's routing trie calls local to a host: the line before `/32 host LOCAL`.
fn local_v4(fib_trie: &str) -> Vec<IpAddr> {
    let lines: Vec<&str> = fib_trie.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[1].contains("/32 host LOCAL"));
    unique(pairs.filter_map(|pair| pair[0].trim_start_matches([' ', '|', '-', '+']).trim().parse().ok()))
}

/// The first word of each line, 32 hexadecimal digits.
fn local_v6(if_inet6: &str) -> Vec<IpAddr> {
    unique(if_inet6.lines().filter_map(|line| v6(line.split_whitespace().next()?)))
}

/// The third word of each line: 8 hexadecimal digits in the byte order of the machine, 0 where there is none.
fn gateways_v4(route: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| u32::from_str_radix(line.split_whitespace().nth(2)?, 16).ok().filter(|g| *g != 0);
    unique(route.lines().skip(1).filter_map(gateway).map(|g| Ipv4Addr::from(g.to_ne_bytes()).into()))
}

/// The fifth word of each line.
fn gateways_v6(route: &str) -> Vec<IpAddr> {
    let gateways = route.lines().filter_map(|line| v6(line.split_whitespace().nth(4)?));
    unique(gateways.filter(|g| !g.is_unspecified()))
}

fn resolvers(resolv_conf: &str) -> Vec<IpAddr> {
    let words = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    unique(words.filter_map(|rest| rest.trim().split('%').next()?.parse().ok()))
}

fn v6(digits: &str) -> Option<IpAddr> {
    (digits.len() == 32).then(|| u128::from_str_radix(digits, 16).ok())?.map(|n| Ipv6Addr::from(n).into())
}

fn unique(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let sorted: BTreeSet<IpAddr> = addresses.collect();
    sorted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(addresses: Vec<IpAddr>) -> String {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(shown(local_v4(trie)), "192.0.2.7");
        assert_eq!(shown(local_v6("20010db8000000000000000000000001 02 40 00 80 eth0\nshort 1\n")), "2001:db8::1");
        let route = "Iface Destination Gateway\neth0 00000000 010200C0 0003\neth0 000200C0 00000000 0001\n";
        assert_eq!(shown(gateways_v4(route)), "192.0.2.1");
        let none = "0".repeat(32);
        let line = format!(
            "{none} 00 {none} 00 20010db80000000000000000000000fe 0 0 0 0 eth0\n{none} 00 {none} 00 {none} 0\n"
        );
        assert_eq!(shown(gateways_v6(&line)), "2001:db8::fe");
        let conf = "# x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\noptions edns0\n";
        assert_eq!(shown(resolvers(conf)), "192.0.2.53 fe80::1");
    }

    #[test]
    fn a_host_is_this_machine_by_its_names_and_addresses() {
        let machine = Machine {
            name: "web1.example.org".to_owned(),
            addresses: vec!["192.0.2.7".parse().unwrap()],
            ..Machine::default()
        };
        for host in ["web1", "WEB1.example.org.", "192.0.2.7", "::ffff:192.0.2.7", "127.0.0.1", "::1", "localhost"] {
            assert!(machine.is(host), "{host}");
        }
        for host in ["web10", "web1.example.com", "192.0.2.8", "", "example.org"] {
            assert!(!machine.is(host), "{host}");
        }
        assert!(!Machine::default().is(""));
        let failure = is_here(Some("no-such-host.invalid")).unwrap_err();
        assert!(matches!(&failure, Failure::Final(why) if why.contains("remote_command")), "{failure:?}");
        assert!(Machine::read(Path::new("/")).addresses.contains(&"127.0.0.1".parse().unwrap()));
    }
}
