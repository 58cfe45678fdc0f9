//! The firewall against real connections, in network namespaces.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use vertice_model::{Action, Order, Outcome};
use vertice_testkit::net::{Namespace, echoes, v4, v6};

use super::*;
use crate::rig::{LONG, NOW, Rig, SHORT, apply, block, nft, refusal, rule, undo};
use crate::{Settings, held, release_address};

fn rig() -> Option<Rig> {
    Rig::new(Settings::default(), &["nft"])
}

fn echo(n: IpAddr) -> SocketAddr {
    SocketAddr::new(n, 7)
}

fn reaches(from: &Namespace, to: SocketAddr) -> bool {
    from.connect(to, LONG).is_ok()
}

fn is_stopped(from: &Namespace, to: SocketAddr) -> bool {
    from.connect(to, SHORT).is_err()
}

fn limit(source: IpAddr, count: u64, per_s: u64, lasts_s: u64) -> Order {
    apply(Action::FirewallRule(rule(FirewallVerdict::RateLimit { count, per_s }, source)), lasts_s)
}

#[test]
fn a_block_stops_what_is_established_and_its_undo_brings_it_back() {
    let Some(rig) = rig() else { return };
    for (attacker, client, server) in [(v4(1), v4(2), v4(3)), (v6(1), v6(2), v6(3))] {
        let mut connection = rig.attacker().connect(echo(server), LONG).unwrap();
        let mut beside = rig.client().connect(echo(server), LONG).unwrap();
        assert!(echoes(&mut connection, LONG) && echoes(&mut beside, LONG));
        let order = block(attacker);
        let receipt = rig.done(&order);
        assert_eq!(receipt.criteria, [("rule_applied".to_owned(), true), ("traffic_stopped".to_owned(), true)].into());
        assert!(!echoes(&mut connection, SHORT), "{attacker} goes on");
        assert!(is_stopped(rig.attacker(), echo(server)), "{attacker} begins anew");
        assert!(echoes(&mut beside, LONG) && reaches(rig.client(), echo(server)), "{client} is stopped too");
        let receipt = rig.done(&undo(&order));
        assert!(!receipt.criteria["rule_applied"]);
        assert!(echoes(&mut connection, LONG), "the same connection goes on, for TCP sends again what was dropped");
        assert!(rig.attacker().connect(echo(server), LONG).is_ok());
        assert_eq!(rig.carry(&undo(&order), true).outcome, Outcome::Done, "nothing is left, and that is well");
    }
}

#[test]
fn a_host_protects_itself_as_a_router_protects_others() {
    let Some(rig) = rig() else { return };
    let mut connection = rig.attacker().connect(echo(v4(3)), LONG).unwrap();
    assert!(echoes(&mut connection, LONG));
    assert_eq!(rig.carry_on(rig.server(), &block(v4(1))).outcome, Outcome::Done);
    assert!(!echoes(&mut connection, SHORT) && is_stopped(rig.attacker(), echo(v4(3))));
    // What the host itself begins is stopped by its destination.
    let mut to = rule(FirewallVerdict::Block, v4(3));
    (to.source_ip, to.destination_ip) = (None, Some(v4(3)));
    let order = apply(Action::FirewallRule(to), 600);
    assert_eq!(rig.carry_on(rig.client(), &order).outcome, Outcome::Done);
    assert!(is_stopped(rig.client(), echo(v4(3))));
}

#[test]
fn a_destination_is_meant_by_its_real_address_where_somebody_translates_it() {
    let Some(rig) = rig() else { return };
    let path = rig.dir.path().join("theirs.nft");
    let theirs =
        "table ip nat { chain pre { type nat hook prerouting priority -100; tcp dport 80 dnat to 10.77.3.2:7; }\n}\n";
    File::create(&path).unwrap().write_all(theirs.as_bytes()).unwrap();
    rig.ruleset(&["-f", path.to_str().unwrap()]);
    let public = SocketAddr::from(([10, 77, 1, 1], 80));
    let mut connection = rig.attacker().connect(public, LONG).unwrap();
    assert!(echoes(&mut connection, LONG));
    let to = FirewallRule { source_ip: None, destination_ip: Some(v4(3)), ..rule(FirewallVerdict::Block, v4(3)) };
    let order = apply(Action::FirewallRule(to), 600);
    rig.done(&order);
    assert!(!echoes(&mut connection, SHORT) && is_stopped(rig.attacker(), public));
    rig.done(&undo(&order));
    assert!(echoes(&mut connection, LONG));
}

#[test]
fn ends_ports_and_protocols_narrow_a_block_down_and_each_is_an_element_of_its_own() {
    let Some(rig) = rig() else { return };
    rig.server().serve(8, "");
    let server = |port| SocketAddr::new(v4(3), port);
    let narrow = |port, protocol, destination_ip| {
        let all = FirewallRule { port, protocol, destination_ip, ..rule(FirewallVerdict::Block, v4(1)) };
        apply(Action::FirewallRule(all), 600)
    };
    let orders = [
        narrow(Some(7), None, None),
        narrow(Some(7), Some(Protocol::Tcp), None),
        narrow(Some(7), Some(Protocol::Tcp), Some(v4(3))),
        narrow(Some(7), None, Some(v4(3))),
    ];
    for order in &orders {
        rig.done(order);
    }
    for order in &orders {
        assert!(is_stopped(rig.attacker(), server(7)) && reaches(rig.attacker(), server(8)));
        rig.done(&undo(order));
    }
    assert!(reaches(rig.attacker(), server(7)));
    for order in [narrow(None, Some(Protocol::Tcp), None), narrow(None, None, Some(v4(3)))] {
        rig.done(&order);
        assert!(is_stopped(rig.attacker(), server(7)) && is_stopped(rig.attacker(), server(8)));
        rig.done(&undo(&order));
    }
    for order in [narrow(None, Some(Protocol::Udp), None), narrow(None, Some(Protocol::Icmp), Some(v4(2)))] {
        rig.done(&order);
        assert!(reaches(rig.attacker(), server(7)));
    }
    let held = rig.star.router.run(|| held(&Settings::default())).unwrap();
    let held: Vec<String> = held.iter().map(|e| format!("{} {}, {}", e.address, e.what, e.traffic)).collect();
    assert_eq!(held, ["10.77.1.2 blocked, from it to 10.77.2.2, icmp", "10.77.1.2 blocked, from it, udp"]);
}

#[test]
fn a_rate_lets_so_many_connections_begin_for_each_address_and_those_go_on() {
    let Some(rig) = rig() else { return };
    for (attacker, client, server) in [(v4(1), v4(2), v4(3)), (v6(1), v6(2), v6(3))] {
        rig.done(&limit(attacker, 3, 3_600, 600));
        rig.done(&limit(client, 5, 3_600, 600));
        for (from, count) in [(rig.attacker(), 3), (rig.client(), 5)] {
            let mut through: Vec<_> = (0..count).map(|_| from.connect(echo(server), LONG).unwrap()).collect();
            assert!(is_stopped(from, echo(server)), "{count} for {attacker} and {client}");
            assert!(through.iter_mut().all(|connection| (0..20).all(|_| echoes(connection, LONG))));
        }
        // A block may stand beside it, and each goes alone.
        rig.done(&block(attacker));
        assert!(rig.observe(&limit(attacker, 3, 3_600, 600)).criteria["rule_applied"]);
        rig.done(&undo(&limit(attacker, 3, 3_600, 600)));
        assert!(is_stopped(rig.attacker(), echo(server)));
        rig.done(&undo(&block(attacker)));
        assert!(reaches(rig.attacker(), echo(server)));
    }
}

#[test]
fn what_is_used_up_of_a_rate_stays_so_when_its_lease_is_prolonged() {
    let Some(rig) = rig() else { return };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(6), Some(12)) {
        println!("left out: kernel {release} begins a bucket anew");
        return;
    }
    let order = limit(v4(1), 2, 3_600, 600);
    rig.done(&order);
    assert!((0..2).all(|_| rig.attacker().connect(echo(v4(3)), LONG).is_ok()));
    rig.done(&Order { until: Some(NOW.plus_seconds(1_200)), ..order });
    assert!(is_stopped(rig.attacker(), echo(v4(3))));
}

#[test]
fn a_rate_counts_packets_where_there_are_no_connections() {
    let Some(rig) = rig() else { return };
    let udp = FirewallRule {
        protocol: Some(Protocol::Udp),
        ..rule(FirewallVerdict::RateLimit { count: 3, per_s: 3_600 }, v4(1))
    };
    rig.done(&apply(Action::FirewallRule(udp), 600));
    assert!((0..10).all(|_| rig.attacker().connect(echo(v4(3)), LONG).is_ok()), "TCP is not meant");
    let receiver = rig.server().run(|| UdpSocket::bind("10.77.3.2:0")).unwrap();
    let sender = rig.attacker().run(|| UdpSocket::bind("10.77.1.2:0")).unwrap();
    for _ in 0..10 {
        sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
    }
    receiver.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!((0..10).take_while(|_| receiver.recv(&mut [0; 8]).is_ok()).count(), 3);
}

#[test]
fn orders_at_once_for_many_addresses_and_for_one_all_come_about() {
    let Some(rig) = rig() else { return };
    let address = |n: u64| IpAddr::from([203, 0, 113, n as u8]);
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let rig = &rig;
            // The first of them make the table, all at once.
            scope.spawn(move || rig.done(&block(address(n))));
            scope.spawn(move || rig.done(&limit(address(100), n, 60, 600)));
        }
    });
    let all = rig.star.router.run(|| held(&Settings::default())).unwrap();
    assert_eq!(all.len(), 9, "{all:?}");
    let rates = rig.ruleset(&["list", "set", "inet", "vertice", "rate4"]);
    assert!(rates.contains("203.0.113.100 limit rate over 1/minute burst 1 packets"), "{rates}");
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let rig = &rig;
            scope.spawn(move || rig.done(&undo(&block(address(n)))));
            scope.spawn(move || rig.done(&undo(&limit(address(100), n, 60, 600))));
        }
    });
    assert_eq!(rig.star.router.run(|| held(&Settings::default())).unwrap(), []);
}

#[test]
fn of_two_rates_for_one_address_the_stricter_holds_until_it_is_taken_back() {
    let Some(rig) = rig() else { return };
    let (strict, loose) = (limit(v4(1), 2, 3_600, 300), limit(v4(1), 50, 60, 600));
    let there = || {
        let text = rig.ruleset(&["list", "set", "inet", "vertice", "rate4"]);
        text.lines().find(|line| line.contains("10.77.1.2")).map(str::to_owned).unwrap_or_default()
    };
    rig.done(&strict);
    rig.done(&loose);
    assert!(there().contains("2/hour burst 2 packets"), "{}", there());
    assert_eq!(rig.carry(&loose, true).outcome, Outcome::Already);
    rig.done(&undo(&strict));
    assert!(there().contains("50/minute burst 50 packets"), "{}", there());
    assert!(!rig.observe(&strict).criteria["rule_applied"] && rig.observe(&loose).criteria["rule_applied"]);
    rig.done(&undo(&loose));
    assert_eq!(there(), "");
    // What a claim is remembered by is gone with it.
    let left = std::fs::read_dir(rig.dir.path()).unwrap().flatten().filter(|e| e.path().is_file()).count();
    assert_eq!(left, 0);
}

#[test]
fn the_kernel_lets_go_by_itself_and_a_lease_is_prolonged_without_a_second_element() {
    let Some(rig) = rig() else { return };
    let short = apply(Action::FirewallRule(rule(FirewallVerdict::Block, v4(1))), 5);
    rig.done(&short);
    assert!(is_stopped(rig.attacker(), echo(v4(3))));
    // The first SYN is dropped; one that is sent again, after seven seconds at the latest, gets through with nobody's help.
    assert!(reaches(rig.attacker(), echo(v4(3))));
    assert!(!rig.observe(&undo(&short)).criteria["rule_applied"]);
    for (order, longer) in [(block(v4(1)), "20m"), (limit(v4(2), 5, 60, 600), "20m")] {
        rig.done(&order);
        let until = Some(NOW.plus_seconds(1_200));
        assert_eq!(rig.carry(&Order { until, ..order.clone() }, true).outcome, Outcome::Done, "it must be prolonged");
        assert_eq!(rig.carry(&Order { until, ..order.clone() }, true).outcome, Outcome::Already);
        let text = rig.ruleset(&["list", "table", "inet", "vertice"]);
        assert_eq!(text.matches(&format!("timeout {longer}")).count(), 1, "{text}");
        assert_eq!(text.matches("timeout 10m").count(), 0, "{text}");
        rig.done(&undo(&order));
    }
}

#[test]
fn a_kill_between_any_two_instructions_leads_to_the_same() {
    let Some(rig) = rig() else { return };
    let elements = || rig.star.router.run(|| held(&Settings::default())).unwrap().len();
    for (order, kept) in [(block(v4(1)), 0), (limit(v4(1), 5, 60, 600), 1)] {
        // Killed before anything was done.
        assert_eq!(rig.carry(&order, true).outcome, Outcome::Done);
        // Killed after it was done, before the receipt.
        assert_eq!(rig.carry(&order, true).outcome, Outcome::Already);
        assert_eq!(rig.carry(&order, false).outcome, Outcome::Done);
        assert_eq!(elements(), 1);
        // Killed after the claim was kept, before the kernel was told.
        rig.star.router.run(|| release_address(&Settings::default(), v4(1))).unwrap();
        assert_eq!(elements(), 0);
        let files = std::fs::read_dir(rig.dir.path()).unwrap().flatten().filter(|e| e.path().is_file());
        assert_eq!(files.count(), kept);
        assert_eq!(rig.carry(&order, true).outcome, Outcome::Done);
        assert_eq!(elements(), 1);
        // The undo, killed before and after the kernel was told.
        assert_eq!(rig.carry(&undo(&order), true).outcome, Outcome::Done);
        assert_eq!(rig.carry(&undo(&order), true).outcome, Outcome::Done);
        assert_eq!(elements(), 0);
    }
}

#[test]
fn nobody_elses_rules_are_touched_and_ours_come_back_after_a_flush() {
    let Some(rig) = rig() else { return };
    let theirs = "table inet filter {
        set block4 { type ipv4_addr; elements = { 192.0.2.1 } }
        chain input { type filter hook input priority 0; policy accept; ip saddr @block4 counter drop; }
    }
    table ip nat { chain post { type nat hook postrouting priority 100; oifname \"h9\" masquerade; }
    }
    ";
    let path = rig.dir.path().join("theirs.nft");
    File::create(&path).unwrap().write_all(theirs.as_bytes()).unwrap();
    rig.ruleset(&["-f", path.to_str().unwrap()]);
    let listed = || {
        [["table", "inet", "filter"], ["table", "ip", "nat"]]
            .map(|table| rig.ruleset(&[&["-a", "list"], &table[..]].concat()))
    };
    let before = listed();
    let order = block(v4(1));
    rig.done(&order);
    for damage in [
        &["delete", "table", "inet", "vertice"][..],
        &["flush", "table", "inet", "vertice"],
        &["flush", "chain", "inet", "vertice", "prerouting"],
        &["insert", "rule", "inet", "vertice", "prerouting", "accept"],
        &["flush", "set", "inet", "vertice", "block4"],
    ] {
        rig.ruleset(damage);
        let seen = rig.observe(&order);
        assert_eq!((seen.held, seen.criteria["traffic_stopped"]), (Held::No, false), "after {damage:?}");
        assert_eq!(rig.carry(&order, true).outcome, Outcome::Done, "after {damage:?}");
        assert!(is_stopped(rig.attacker(), echo(v4(3))), "after {damage:?}");
    }
    rig.done(&undo(&order));
    rig.star.router.run(|| release_address(&Settings::default(), v4(2))).unwrap();
    assert_eq!(listed(), before);
}

#[test]
fn an_address_is_released_from_everything_with_the_daemon_stopped() {
    let Some(rig) = rig() else { return };
    let settings = Settings::default();
    rig.done(&block(v4(1)));
    rig.done(&block(v4(2)));
    rig.done(&limit(v4(1), 5, 60, 60));
    let pair = FirewallRule { destination_ip: Some(v4(1)), ..rule(FirewallVerdict::Block, v4(3)) };
    rig.done(&apply(Action::FirewallRule(pair), 600));
    rig.star.router.run(|| {
        let all = held(&settings).unwrap();
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|e| e.remaining_s.is_some_and(|s| (50..=600).contains(&s))), "{all:?}");
        assert!(all[1].to_string().starts_with("10.77.1.2 is limited in what it begins, from it, for "), "{}", all[1]);
        let mapped = "::ffff:10.77.1.2".parse().unwrap();
        assert_eq!(release_address(&settings, mapped).unwrap(), 3);
        assert_eq!(release_address(&settings, v4(1)).unwrap(), 0);
        assert_eq!(held(&settings).unwrap().len(), 1);
    });
    assert!(reaches(rig.attacker(), echo(v4(3))) && is_stopped(rig.client(), echo(v4(3))));
}

#[test]
fn where_a_flowtable_carries_flows_past_the_rules_traffic_is_not_said_to_be_stopped() {
    let Some(rig) = rig() else { return };
    rig.ruleset(&["add", "table", "inet", "fast"]);
    let order = block(v4(1));
    assert!(rig.done(&order).criteria["traffic_stopped"]);
    let table = "add flowtable inet fast f { hook ingress priority 0; devices = { h1, h3 }; }";
    let made = rig.star.router.run(|| std::process::Command::new("nft").arg(table).output()).unwrap();
    if !made.status.success() {
        println!("left out: this kernel has no flowtables");
        return;
    }
    let seen = rig.observe(&order);
    assert_eq!((seen.held, seen.criteria["rule_applied"], seen.criteria["traffic_stopped"]), (Held::Yes, true, false));
    assert!(seen.note.ends_with("a flowtable may carry established flows past it"), "{}", seen.note);
}

#[test]
fn an_nft_that_is_missing_fails_or_hangs_changes_nothing() {
    let Some(mut rig) = rig() else { return };
    let fake = |name: &str, script: &str| -> PathBuf {
        let path = rig.dir.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    // The half is more than nft would ever do of a transaction: a table, and no more.
    let fakes = [
        (PathBuf::from("/no/such/nft"), "is it installed?", false),
        (fake("fails", "cat > /dev/null; echo 'Error: Could not process rule' >&2; exit 1"), "Could not process", true),
        (fake("half", "nft -f - <<E\nadd table inet vertice\nE\nexit 1"), "ended with exit status: 1", true),
        (fake("lies", "cat > /dev/null"), "it was done and is not to be seen", true),
        (fake("hangs", "sleep 600"), "had not ended after 1 s and was killed", true),
    ];
    for (nft, why, retry) in fakes {
        let mut settings = Settings::default();
        settings.firewall_rule.nft = nft;
        rig.restart(settings);
        let receipt = rig.carry(&Order { timeout_s: 1, ..block(v4(1)) }, false);
        let (reason, again) = refusal(&receipt);
        assert!(reason.contains(why) && again == retry, "{reason}");
        assert!(reaches(rig.attacker(), echo(v4(3))));
    }
    // One that is killed after the kernel had taken the transaction has done it, and it is not said to have failed.
    let mut settings = Settings::default();
    settings.firewall_rule.nft = {
        let path = rig.dir.path().join("late");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"#!/bin/sh\nnft \"$@\"; sleep 600\n").unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    rig.restart(settings);
    assert_eq!(rig.carry(&Order { timeout_s: 1, ..block(v4(1)) }, false).outcome, Outcome::Done);
    assert_eq!(rig.carry(&Order { timeout_s: 1, ..undo(&block(v4(1))) }, false).outcome, Outcome::Done);
    assert!(reaches(rig.attacker(), echo(v4(3))));
}

#[test]
fn what_makes_no_sense_is_refused_by_its_reason() {
    let Some(rig) = rig() else { return };
    let ask = |rule: FirewallRule| {
        let receipt = rig.carry(&apply(Action::FirewallRule(rule), 600), false);
        let (reason, retry) = refusal(&receipt);
        assert!(!retry);
        reason.to_owned()
    };
    let plain = rule(FirewallVerdict::Block, v4(1));
    assert!(ask(FirewallRule { source_ip: None, ..plain.clone() }).contains("neither a source"));
    assert!(ask(FirewallRule { destination_ip: Some(v6(2)), ..plain.clone() }).contains("different families"));
    let icmp = FirewallRule { protocol: Some(Protocol::Icmp), port: Some(7), ..plain.clone() };
    assert_eq!(ask(icmp), "icmp has no ports");
    for (count, per_s) in [(0, 1), (1, 0), (2_000_000, 1), (1, 700_000), (1, 11)] {
        let reason = ask(FirewallRule { rule: FirewallVerdict::RateLimit { count, per_s }, ..plain.clone() });
        assert!(reason.starts_with(&format!("a limit of {count} in {per_s} s")), "{reason}");
    }
    let endless = Order { until: None, ..block(v4(1)) };
    assert!(refusal(&rig.carry(&endless, false)).0.contains("has no end"));
    let over = Order { until: Some(NOW), ..block(v4(1)) };
    assert!(refusal(&rig.carry(&over, false)).0.contains("was over"));
    assert!(refusal(&rig.carry(&block("127.0.0.1".parse().unwrap()), false)).0.contains("this host itself"));
    let tables = rig.star.router.run(|| nft(&["list", "tables"]));
    assert_eq!(tables, "", "nothing was made");
}
