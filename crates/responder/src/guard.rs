//! Do no harm, at the last moment: the protected set, checked against this machine as it is now.
//!
//! The policy was written when Vertice started or its configuration was read. Since then an interface may have come
//! up, a router may have changed, an operator may have logged in. So this machine's addresses, gateways and resolvers
//! are read anew, and so is from where operators are logged in.
//!
//! An operator is who may become root here (root, the groups `sudo`, `wheel` and `admin`, whom sudo's rules name) or whom
//! the policy protects by name, and has logged in by SSH or at a terminal. One who only holds a connection has not: a
//! guesser would protect himself by guessing. And an account that may do nothing here does not operate it: whoever
//! stole its password would be out of reach. Where Vertice may not see whose a connection is, everybody who is
//! connected to port 22 counts.
//!
//! A verb that acts within a host, such as `kill_process`, names it as the place and not as the target. That this
//! machine is protected does not forbid it; that a person protected this host by name does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use vertice_engine::decide::{Policy, Protected, Whom};
use vertice_model::{Action, Entity, EntityKind};

use crate::logins::{Administrators, blind, connections, present};
use crate::machine::Machine;
use crate::processes::Socket;

/// Why this machine's name is in a policy.
pub const THIS_MACHINE: &str = "this machine";
/// Why an address of this machine is in a policy.
pub const OWN_ADDRESS: &str = "an address of this machine";
/// Why a gateway is in a policy.
pub const GATEWAY: &str = "a gateway of this machine";
/// Why a resolver is in a policy.
pub const RESOLVER: &str = "a resolver of this machine";
/// Why an operator's address is protected.
const OPERATOR: &str = "where an operator is logged in from";

/// Where sshd listens unless it is told otherwise.
const SSH_PORT: u16 = 22;

/// What this machine is protected by, as entries of a policy.
#[must_use]
pub fn protected(machine: &Machine) -> Vec<Protected> {
    let net = |why: &'static str| {
        move |address: &IpAddr| Protected { whom: Whom::Net((*address).into()), why: why.to_owned() }
    };
    let mut all: Vec<Protected> = machine.addresses.iter().map(net(OWN_ADDRESS)).collect();
    all.extend(machine.gateways.iter().map(net(GATEWAY)));
    all.extend(machine.resolvers.iter().map(net(RESOLVER)));
    if !machine.name.is_empty() {
        all.push(Protected { whom: Whom::Here(machine.name.clone()), why: THIS_MACHINE.to_owned() });
    }
    all
}

/// Why an action may not be carried out now; `None` if nothing speaks against it.
#[must_use]
pub fn forbids(policy: &Policy, action: &Action) -> Option<String> {
    forbids_on(&Machine::read(Path::new("/")), policy, action, |addresses| {
        operators_among(Some(addresses), Some(policy))
    })
}

/// From where operators are logged in on this machine now.
#[must_use]
pub fn operators() -> Vec<IpAddr> {
    operators_among(None, None)
}

fn forbids_on(
    machine: &Machine,
    policy: &Policy,
    action: &Action,
    operators: impl FnOnce(&[IpAddr]) -> Vec<IpAddr>,
) -> Option<String> {
    let place = action.place().filter(|host| machine.is(host));
    if let Some(why) = place.and_then(|host| forbids_place(machine, policy, host)) {
        return Some(why);
    }
    let place = place.and_then(Entity::host);
    let touched: Vec<Entity> = action.touches().into_iter().filter(|e| Some(e) != place.as_ref()).collect();
    if let Some(why) = touched.iter().find_map(|entity| policy.forbids(entity)) {
        return Some(why);
    }
    // Hosts are named by their addresses too.
    let addresses: Vec<IpAddr> = touched.iter().filter_map(|e| e.name().parse().ok()).collect();
    let logged_in = if addresses.is_empty() { Vec::new() } else { operators(&addresses) };
    let mut now = Policy { protected: protected(machine), ..Policy::default() };
    now.protected
        .extend(logged_in.into_iter().map(|a| Protected { whom: Whom::Net(a.into()), why: OPERATOR.to_owned() }));
    let isolates_us = |e: &&Entity| e.kind() == EntityKind::Host && machine.is(e.name());
    if let Some(us) = touched.iter().find(isolates_us) {
        return Some(format!("host {us} is protected, for it is {THIS_MACHINE}"));
    }
    touched.iter().find_map(|entity| now.forbids(entity))
}

/// Why nothing may be done within this machine: a person protected it, by its name or one of its addresses.
fn forbids_place(machine: &Machine, policy: &Policy, host: &str) -> Option<String> {
    let ours = protected(machine);
    let by_people = policy.protected.iter().filter(|p| !ours.contains(p) && p.why != THIS_MACHINE);
    let people = Policy { protected: by_people.cloned().collect(), ..policy.clone() };
    let name = Entity::host(&machine.name).and_then(|entity| people.forbids(&entity));
    let named = host.parse::<IpAddr>().ok().filter(|a| !a.is_loopback());
    name.or_else(|| people.forbids(&Entity::ip(&named?.to_string())?))
}

/// From where operators are logged in, among these addresses if there are any given.
pub(crate) fn operators_among(addresses: Option<&[IpAddr]>, policy: Option<&Policy>) -> Vec<IpAddr> {
    let root = Path::new("/");
    let wanted = |address: &IpAddr| addresses.is_none_or(|some| some.contains(address));
    let connected = connections(addresses).into_iter().filter_map(|c| Some((c.user?, c.peer)));
    let listed = present(root).into_iter().filter_map(|r| Some((r.user, r.address.filter(wanted)?)));
    let logged_in: Vec<(String, IpAddr)> = connected.chain(listed).collect();
    let mut found = BTreeSet::new();
    if !logged_in.is_empty() {
        let administrators = Administrators::read(root);
        let operates = |user: &str| {
            let protected = || Some(policy?.forbids(&Entity::user(user)?).is_some());
            administrators.have(user) || protected() == Some(true)
        };
        found.extend(logged_in.iter().filter(|(user, _)| operates(user)).map(|(_, address)| *address));
    }
    if blind() {
        let sockets = Socket::all(root, false).into_iter().filter(|s| s.established() && s.local.port() == SSH_PORT);
        found.extend(sockets.map(|s| s.remote.ip()).filter(wanted));
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use vertice_model::{FirewallRule, FirewallVerdict, KillProcess, Timestamp, ZoneIsolation};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn machine() -> Machine {
        Machine {
            name: "web1".to_owned(),
            addresses: vec![ip("192.0.2.7"), ip("2001:db8::7")],
            gateways: vec![ip("192.0.2.1")],
            resolvers: vec![ip("192.0.2.53")],
        }
    }

    fn block(address: &str) -> Action {
        Action::FirewallRule(FirewallRule {
            rule: FirewallVerdict::Block,
            source_ip: Some(ip(address)),
            destination_ip: None,
            port: None,
            protocol: None,
        })
    }

    fn kill_on(host: &str) -> Action {
        let seen_at = Timestamp::from_seconds(1);
        Action::KillProcess(KillProcess { target_host: host.into(), process: None, pid: Some(7), seen_at })
    }

    fn check(policy: &Policy, action: &Action, expected: Option<&str>) {
        let found = forbids_on(&machine(), policy, action, |asked| {
            asked.iter().filter(|a| **a == ip("198.51.100.4")).copied().collect()
        });
        match expected {
            Some(part) => assert!(found.as_ref().is_some_and(|f| f.contains(part)), "{action:?}: {found:?}"),
            None => assert_eq!(found, None, "{action:?}"),
        }
    }

    #[test]
    fn this_machine_and_its_operators_are_protected_whatever_the_policy_knows() {
        let old = Policy::default();
        check(&old, &block("192.0.2.7"), Some(OWN_ADDRESS));
        check(&old, &block("::ffff:192.0.2.7"), Some(OWN_ADDRESS));
        check(&old, &block("64:ff9b::192.0.2.7"), Some(OWN_ADDRESS));
        check(&old, &block("192.0.2.1"), Some(GATEWAY));
        check(&old, &block("192.0.2.53"), Some(RESOLVER));
        check(&old, &block("127.0.0.1"), Some("this host itself"));
        check(&old, &block("198.51.100.4"), Some(OPERATOR));
        check(&old, &block("203.0.113.9"), None);
        let isolate = |host: &str| {
            Action::ZoneIsolation(ZoneIsolation { target_host: Some(host.into()), target_ip: None, zone: None })
        };
        check(&old, &isolate("WEB1.example.org"), Some(THIS_MACHINE));
        check(&old, &isolate("192.0.2.7"), Some(THIS_MACHINE));
        check(&old, &isolate("db1"), None);
    }

    #[test]
    fn within_this_machine_one_may_act_unless_a_person_protected_it() {
        let mut policy = Policy { protected: protected(&machine()), ..Policy::default() };
        for host in ["web1", "WEB1", "192.0.2.7", "localhost", "127.0.0.1"] {
            check(&policy, &kill_on(host), None);
        }
        check(&policy, &block("192.0.2.7"), Some(OWN_ADDRESS));
        policy.protected.push(Protected { whom: Whom::Host("web1".into()), why: "the configuration says so".into() });
        for host in ["web1", "192.0.2.7", "127.0.0.1"] {
            check(&policy, &kill_on(host), Some("the configuration says so"));
        }
        policy.protected.pop();
        let net = Whom::Net("192.0.2.0/24".parse().unwrap());
        policy.protected.push(Protected { whom: net, why: "management".into() });
        check(&policy, &kill_on("192.0.2.7"), Some("management"));
    }

    #[test]
    fn the_real_machine_protects_itself() {
        let machine = Machine::read(Path::new("/"));
        for address in machine.addresses.iter().chain(&machine.gateways).chain(&machine.resolvers) {
            assert!(forbids(&Policy::default(), &block(&address.to_string())).is_some(), "{address}");
        }
        assert_eq!(forbids(&Policy::default(), &block("203.0.113.9")), None);
    }
}
