//! Do no harm, at the last moment: the protected set, checked against this machine as it is now.
//!
//! The policy was written when Vertice started or its configuration was read. Since then an interface may have come
//! up, a router may have changed, an operator may have logged in. So this machine's addresses, gateways and resolvers
//! are read anew, and so is from where operators are logged in, a few times a second at most.
//!
//! An operator is who may become root here (root, the groups `sudo`, `wheel` and `admin`, whom sudo's rules name) or whom
//! the policy protects by name, and has logged in by SSH or at a terminal. One who only holds a connection has not: a
//! guesser would protect himself by guessing. And an account that may do nothing here does not operate it: whoever
//! stole its password would be out of reach. Where Vertice may not see whose a connection is, everybody who is
//! connected to port 22 counts.
//!
//! A verb that acts within a host, such as `kill_process`, names it as the place and not as the target. That this
//! machine is protected does not forbid it; that a person protected this host by name does.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use vertice_engine::decide::{Policy, Protected, Whom};
use vertice_model::{Action, Entity, EntityKind};

use crate::deadline::Deadline;
use crate::limits;
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

/// Somebody who is logged in.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Login {
    /// `None` where it could not be seen who; then it is taken for an operator.
    user: Option<String>,
    address: IpAddr,
    administers: bool,
}

/// The last check. It remembers for [`limits::LOGINS_FRESH_MS`] who is logged in, and nothing else.
#[derive(Debug, Default)]
pub struct Guard(Mutex<Option<(Deadline, Vec<Login>)>>);

impl Guard {
    /// Why an action may not be carried out now; `None` if nothing speaks against it.
    #[must_use]
    pub fn forbids(&self, policy: &Policy, action: &Action) -> Option<String> {
        forbids_on(&Machine::read(Path::new("/")), policy, action, || self.logins())
    }

    fn logins(&self) -> Vec<Login> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((deadline, logins)) = remembered.as_ref()
            && !deadline.over()
        {
            return logins.clone();
        }
        let logins = logins();
        let deadline = Deadline::after_ms(limits::LOGINS_FRESH_MS);
        *remembered = deadline.ok().map(|deadline| (deadline, logins.clone()));
        logins
    }
}

/// Why an action may not be carried out now, with nothing remembered; `None` if nothing speaks against it.
#[must_use]
pub fn forbids(policy: &Policy, action: &Action) -> Option<String> {
    Guard::default().forbids(policy, action)
}

/// From where operators are logged in on this machine now, whoever the policy protects beside them.
#[must_use]
pub fn operators() -> Vec<IpAddr> {
    operators_of(&Policy::default())
}

/// From where they are, with the accounts that a policy protects.
pub(crate) fn operators_of(policy: &Policy) -> Vec<IpAddr> {
    operators_among(&logins(), policy)
}

fn forbids_on(
    machine: &Machine,
    policy: &Policy,
    action: &Action,
    logins: impl FnOnce() -> Vec<Login>,
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
    let by_address = touched.iter().any(|e| e.name().parse::<IpAddr>().is_ok());
    let of_account = sessions_of(action);
    let logins = if by_address || of_account.is_some() { logins() } else { Vec::new() };
    if let Some(why) = of_account.and_then(|user| protected_session(policy, &logins, user)) {
        return Some(why);
    }
    let logged_in = operators_among(&logins, policy);
    let mut now = Policy { protected: protected(machine), ..Policy::default() };
    now.protected
        .extend(logged_in.into_iter().map(|a| Protected { whom: Whom::Net(a.into()), why: OPERATOR.to_owned() }));
    let isolates_us = |e: &&Entity| e.kind() == EntityKind::Host && machine.is(e.name());
    if let Some(us) = touched.iter().find(isolates_us) {
        return Some(format!("host {us} is protected, for it is {THIS_MACHINE}"));
    }
    touched.iter().find_map(|entity| now.forbids(entity))
}

/// The account all of whose sessions an action ends.
fn sessions_of(action: &Action) -> Option<&str> {
    let Action::SessionTermination(a) = action else { return None };
    a.user.as_deref().filter(|_| a.source_ip.is_none())
}

/// Why not all sessions of an account may end: one of them comes from where the policy protects, as an operator's does
/// whose password somebody else has too.
fn protected_session(policy: &Policy, logins: &[Login], user: &str) -> Option<String> {
    let mut theirs = logins.iter().filter(|l| l.user.as_deref() == Some(user) && !l.address.is_loopback());
    theirs.find_map(|login| {
        let why = policy.forbids(&Entity::ip(&login.address.to_string())?)?;
        Some(format!("a session of {user} is not ended, for {why}: tell the address whose sessions are to end"))
    })
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

fn operators_among(logins: &[Login], policy: &Policy) -> Vec<IpAddr> {
    let operates = |login: &&Login| match &login.user {
        Some(user) => login.administers || Entity::user(user).is_some_and(|user| policy.forbids(&user).is_some()),
        None => true,
    };
    logins.iter().filter(operates).map(|login| login.address).collect()
}

/// Who is logged in from another machine.
fn logins() -> Vec<Login> {
    let root = Path::new("/");
    let connected = connections(None).into_iter().filter_map(|c| Some((c.user?, c.peer)));
    let listed = present(root).into_iter().filter_map(|r| Some((r.user, r.address?)));
    let mut logins: Vec<Login> = connected
        .chain(listed)
        .map(|(user, address)| Login { user: Some(user), address, administers: false })
        .collect();
    if !logins.is_empty() {
        let administrators = Administrators::read(root);
        for login in &mut logins {
            login.administers = login.user.as_deref().is_some_and(|user| administrators.have(user));
        }
    }
    if blind() {
        let sockets = Socket::all(root, false).into_iter().filter(|s| s.established() && s.local.port() == SSH_PORT);
        logins.extend(sockets.map(|s| Login { user: None, address: s.remote.ip(), administers: false }));
    }
    logins
}

#[cfg(test)]
mod tests {
    use vertice_model::{FirewallRule, FirewallVerdict, KillProcess, SessionTermination, Timestamp, ZoneIsolation};

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
        let ana = Login { user: Some("ana".into()), address: ip("198.51.100.4"), administers: true };
        let found = forbids_on(&machine(), policy, action, || vec![ana]);
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
    fn a_session_from_a_protected_network_is_not_ended_with_the_others() {
        let net = Whom::Net("198.51.100.0/24".parse().unwrap());
        let policy = Policy { protected: vec![Protected { whom: net, why: "management".into() }], ..Policy::default() };
        let end = |user: &str, source_ip: Option<&str>| {
            let (user, source_ip) = (Some(user.to_owned()), source_ip.map(ip));
            Action::SessionTermination(SessionTermination { user, source_ip, target_host: None })
        };
        check(&Policy::default(), &end("ana", None), None);
        check(&policy, &end("ana", None), Some("management: tell the address"));
        check(&policy, &end("ana", Some("203.0.113.9")), None);
        check(&policy, &end("ana", Some("198.51.100.4")), Some("management"));
        check(&policy, &end("bob", None), None);
    }

    #[test]
    fn who_operates_is_protected_and_who_is_only_there_is_not() {
        let login = |user: Option<&str>, address: &str, administers| Login {
            user: user.map(str::to_owned),
            address: ip(address),
            administers,
        };
        let logins = [
            login(Some("ana"), "198.51.100.1", true),
            login(Some("bob"), "198.51.100.2", false),
            login(None, "198.51.100.3", false),
        ];
        assert_eq!(operators_among(&logins, &Policy::default()), [ip("198.51.100.1"), ip("198.51.100.3")]);
        let bob = Protected { whom: Whom::User("bob".into()), why: "an operator".into() };
        let policy = Policy { protected: vec![bob], ..Policy::default() };
        assert_eq!(operators_among(&logins, &policy).len(), 3);
        // What is remembered counts for a while, and what there is after that.
        let guard = Guard(Mutex::new(Some((Deadline::after(60).unwrap(), logins.to_vec()))));
        assert!(guard.forbids(&Policy::default(), &block("198.51.100.1")).unwrap().contains(OPERATOR));
        assert_eq!(guard.forbids(&Policy::default(), &block("198.51.100.2")), None);
        let over = Deadline::after_ms(1).unwrap();
        while !over.over() {
            std::thread::yield_now();
        }
        let guard = Guard(Mutex::new(Some((over, logins.to_vec()))));
        assert_eq!(guard.forbids(&Policy::default(), &block("198.51.100.1")), None);
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
