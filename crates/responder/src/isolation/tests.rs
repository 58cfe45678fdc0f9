//! Isolation against real connections: host 2 is the management plane, host 3 is cut off.

use std::net::SocketAddr;

use vertice_engine::decide::{Protected, Whom};
use vertice_model::{Action, Order, Outcome};
use vertice_testkit::net::{echoes, v4, v6};

use super::*;
use crate::rig::{LONG, Rig, SHORT, apply, refusal, undo};

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.zone_isolation.hosts = [("Server".to_owned(), vec![v4(3), v6(3)])].into();
    // One within another, which nft would not take as they are.
    let nets = ["10.77.2.0/24", "10.77.2.2/32", "10.77.0.99/32", "fd77:2::/64"];
    settings.zone_isolation.management = nets.map(|net| net.parse().unwrap()).to_vec();
    settings
}

fn isolate(target_host: Option<&str>, target_ip: Option<IpAddr>) -> Order {
    let target_host = target_host.map(str::to_owned);
    apply(Action::ZoneIsolation(ZoneIsolation { target_host, target_ip, zone: None }), 600)
}

fn echo(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 7)
}

#[test]
fn a_host_that_is_cut_off_reaches_management_and_nothing_else() {
    let Some(rig) = Rig::new(settings(), &["nft"]) else { return };
    rig.attacker().serve(7, "");
    rig.client().serve(7, "");
    let order = isolate(Some("server"), None);
    let families = [(v4(1), v4(2), v4(3)), (v6(1), v6(2), v6(3))];
    let mut before: Vec<_> =
        families.iter().map(|(.., server)| rig.attacker().connect(echo(*server), LONG).unwrap()).collect();
    assert!(before.iter_mut().all(|connection| echoes(connection, LONG)));
    let receipt = rig.done(&order);
    let met = [("host_isolated".to_owned(), true), ("management_reachable".to_owned(), true)];
    assert_eq!(receipt.criteria, met.into());
    // Neighbours must be found anew, which is no traffic of the host's own.
    for family in ["-4", "-6"] {
        rig.star.router.ip(&[family, "neighbour", "flush", "dev", "h3"]);
        rig.server().ip(&[family, "neighbour", "flush", "dev", "eth0"]);
    }
    for ((attacker, client, server), established) in families.into_iter().zip(&mut before) {
        assert!(!echoes(established, SHORT));
        assert!(rig.attacker().connect(echo(server), SHORT).is_err());
        assert!(rig.server().connect(echo(attacker), SHORT).is_err());
        assert!(echoes(&mut rig.client().connect(echo(server), LONG).unwrap(), LONG), "management reaches it");
        assert!(echoes(&mut rig.server().connect(echo(client), LONG).unwrap(), LONG), "it reaches management");
        assert!(rig.attacker().connect(echo(client), LONG).is_ok(), "others are not concerned");
    }
    rig.done(&undo(&order));
    for ((.., server), established) in families.into_iter().zip(&mut before) {
        assert!(echoes(established, LONG));
        assert!(rig.attacker().connect(echo(server), LONG).is_ok());
    }
}

#[test]
fn a_host_behind_an_address_translation_is_cut_off_by_its_real_address() {
    let Some(rig) = Rig::new(settings(), &["nft"]) else { return };
    rig.ruleset(&["add table ip nat; add chain ip nat pre { type nat hook prerouting priority -100; }"]);
    rig.ruleset(&["add rule ip nat pre tcp dport 80 dnat to 10.77.3.2:7"]);
    let public = |n| SocketAddr::from(([10, 77, n, 1], 80));
    let mut connection = rig.attacker().connect(public(1), LONG).unwrap();
    assert!(echoes(&mut connection, LONG));
    let order = isolate(None, Some(v4(3)));
    rig.done(&order);
    assert!(!echoes(&mut connection, SHORT) && rig.attacker().connect(public(1), SHORT).is_err());
    assert!(rig.client().connect(public(2), LONG).is_ok(), "management reaches it by the same way");
    rig.done(&undo(&order));
    assert!(echoes(&mut connection, LONG));
}

#[test]
fn cut_off_by_name_and_by_address_it_is_let_in_when_both_are_taken_back() {
    let Some(mut rig) = Rig::new(settings(), &["nft"]) else { return };
    let (by_name, by_address) = (isolate(Some("SERVER"), None), isolate(None, Some(v4(3))));
    assert_eq!(rig.carry(&by_name, true).outcome, Outcome::Done);
    assert_eq!(rig.carry(&by_name, true).outcome, Outcome::Already);
    rig.done(&by_address);
    // The inventory forgets the host; what was done is taken back all the same.
    let mut other = settings();
    other.zone_isolation.hosts.clear();
    rig.restart(other);
    rig.done(&undo(&by_name));
    assert!(rig.attacker().connect(echo(v4(3)), SHORT).is_err());
    assert!(rig.attacker().connect(echo(v6(3)), LONG).is_ok());
    rig.done(&undo(&by_address));
    assert!(rig.attacker().connect(echo(v4(3)), LONG).is_ok());
    assert_eq!(rig.carry(&undo(&by_address), true).outcome, Outcome::Done);
    let left = std::fs::read_dir(rig.dir.path()).unwrap().flatten().filter(|e| e.path().is_file()).count();
    assert_eq!(left, 0);
}

#[test]
fn a_host_is_cut_off_under_all_its_addresses_or_none() {
    let Some(mut rig) = Rig::new(settings(), &["nft"]) else { return };
    let mut failing = settings();
    failing.firewall_rule.nft = "false".into();
    rig.restart(failing);
    let receipt = rig.carry(&isolate(Some("server"), None), false);
    assert!(refusal(&receipt).1, "it may be tried again");
    let files = std::fs::read_dir(rig.dir.path()).unwrap().flatten().filter(|e| e.path().is_file());
    assert_eq!(files.count(), 0, "nothing is remembered of what did not come about");
    for server in [v4(3), v6(3)] {
        assert!(rig.attacker().connect(echo(server), LONG).is_ok());
    }
    // What nft is given at once: all of it, or the one half would be in force without the other.
    let log = rig.dir.path().join("given");
    let fake = rig.dir.path().join("nft");
    let script = format!("#!/bin/sh\necho run >> {0}\nexec nft \"$@\"\n", log.display());
    let mut file = std::fs::File::create(&fake).unwrap();
    std::io::Write::write_all(&mut file, script.as_bytes()).unwrap();
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    drop(file);
    let mut counting = settings();
    counting.firewall_rule.nft = fake;
    rig.restart(counting);
    rig.done(&isolate(Some("server"), None));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "run\n");
    let table = rig.ruleset(&["list", "table", "inet", "vertice"]);
    assert_eq!(table.matches("timeout 10m").count(), 2, "{table}");
}

#[test]
fn another_management_network_is_in_force_with_the_next_order() {
    let Some(mut rig) = Rig::new(settings(), &["nft"]) else { return };
    let order = isolate(Some("server"), None);
    rig.done(&order);
    let mut other = settings();
    other.zone_isolation.management = vec!["10.77.1.0/24".parse().unwrap(), "fd77:1::/64".parse().unwrap()];
    rig.restart(other);
    assert!(!rig.observe(&order).criteria["management_reachable"], "the rules are those of another network");
    assert_eq!(rig.carry(&order, true).outcome, Outcome::Done);
    assert!(rig.attacker().connect(echo(v4(3)), LONG).is_ok());
    assert!(rig.client().connect(echo(v4(3)), SHORT).is_err());
}

#[test]
fn a_host_that_is_unknown_protected_or_management_is_not_cut_off() {
    let Some(mut rig) = Rig::new(settings(), &["nft"]) else { return };
    let why = |rig: &Rig, order: &Order| {
        let receipt = rig.carry(order, false);
        let (reason, retry) = refusal(&receipt);
        assert!(!retry);
        reason.to_owned()
    };
    assert!(why(&rig, &isolate(Some("nobody"), None)).contains("no address of nobody is known"));
    assert!(why(&rig, &isolate(None, Some(v4(2)))).contains("part of the management network 10.77.2.0/24"));
    let protected = Protected { whom: Whom::Net("fd77:3::2/128".parse().unwrap()), why: "the resolver".to_owned() };
    rig.protect(Policy { protected: vec![protected], ..Policy::default() });
    assert!(why(&rig, &isolate(Some("server"), None)).contains("the resolver"));
    let mut none = settings();
    none.zone_isolation.management.retain(|net| net.addr().is_ipv4());
    rig.restart(none);
    assert!(why(&rig, &isolate(None, Some(v6(1)))).contains("nobody could let it in again"));
    assert_eq!(rig.ruleset(&["list", "tables"]), "");
}
