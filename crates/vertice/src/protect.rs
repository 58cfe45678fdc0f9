//! Whom no automated action may ever touch: ourselves, our gateways and resolvers, and whom the user names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Result, bail};
use vertice_engine::ContentFile;
use vertice_engine::decide::{Policy, Protected, Whom};

use crate::config::Response;

/// The policy as content, so that a change of it stands in the log like any other.
///
/// # Errors
/// When an entry of `response.protected` is neither an address, a range, nor a name.
pub fn policy(config: &Response, root: &Path) -> Result<ContentFile> {
    let mut policy = Policy { entities_per_hour_max: config.blast_radius_per_hour, ..Policy::default() };
    for entry in &config.protected {
        policy.protected.push(Protected { whom: whom(entry)?, why: "the configuration says so".into() });
    }
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let mut add = |addresses: Vec<IpAddr>, why: &str| {
        policy
            .protected
            .extend(addresses.into_iter().map(|a| Protected { whom: Whom::Net(a.into()), why: why.into() }));
    };
    add(local_v4(&read("proc/net/fib_trie")), "an address of this machine");
    add(local_v6(&read("proc/net/if_inet6")), "an address of this machine");
    add(gateways_v4(&read("proc/net/route")), "a gateway of this machine");
    add(gateways_v6(&read("proc/net/ipv6_route")), "a gateway of this machine");
    add(resolvers(&read("etc/resolv.conf")), "a resolver of this machine");
    let name = read("proc/sys/kernel/hostname");
    if !name.trim().is_empty() {
        policy.protected.push(Protected { whom: Whom::Host(name.trim().to_lowercase()), why: "this machine".into() });
    }
    let text = serde_json::to_string(&policy).expect("a policy has text keys");
    Ok(ContentFile { path: "policy/configuration".into(), text })
}

fn whom(entry: &str) -> Result<Whom> {
    if let Ok(net) = entry.parse().or_else(|_| entry.parse::<IpAddr>().map(Into::into)) {
        return Ok(Whom::Net(net));
    }
    match entry.split_once(':') {
        Some(("host", name)) if !name.is_empty() => Ok(Whom::Host(name.to_lowercase())),
        Some(("user", name)) if !name.is_empty() => Ok(Whom::User(name.to_lowercase())),
        None if !entry.is_empty() && !entry.contains('/') => Ok(Whom::Host(entry.to_lowercase())),
        Some(_) | None => bail!(
            "response.protected: {entry:?} is neither an address such as 192.0.2.1, a range such as 192.0.2.0/24, host:NAME nor user:NAME"
        ),
    }
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
    let sorted: std::collections::BTreeSet<IpAddr> = addresses.collect();
    sorted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use vertice_model::Entity;

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
    fn what_the_user_names_is_protected_and_a_mistake_is_named() {
        let mut config = crate::config::load(None, |_| None).unwrap().response;
        config.protected = vec!["198.51.100.0/24".into(), "192.0.2.9".into(), "user:Ana".into(), "DC-01".into()];
        let empty = tempfile::tempdir().unwrap();
        let policy: Policy = serde_json::from_str(&policy(&config, empty.path()).unwrap().text).unwrap();
        for entity in [Entity::ip("198.51.100.7"), Entity::ip("192.0.2.9"), Entity::user("ana"), Entity::host("dc-01")]
        {
            assert!(policy.forbids(&entity.unwrap()).is_some());
        }
        assert_eq!(policy.forbids(&Entity::ip("203.0.113.1").unwrap()), None);
        for wrong in ["", "10.0.0.0/99", "group:x", "user:"] {
            assert!(whom(wrong).unwrap_err().to_string().contains("response.protected"), "{wrong}");
        }
    }
}
