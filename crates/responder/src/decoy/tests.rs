//! Decoys against real flows: the decoy is host 2, or the router itself.

use vertice_model::{Action, Order, Outcome};
use vertice_testkit::net::{echoes, greeting, v4, v6};

use super::*;
use crate::Settings;
use crate::rig::{LONG, Rig, SHORT, apply, refusal, undo};

fn settings(ssh: &[SocketAddr], http: &[SocketAddr]) -> Settings {
    let mut settings = Settings::default();
    settings.honeypot_deployment.ssh = ssh.to_vec();
    settings.honeypot_deployment.http = http.to_vec();
    settings
}

fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn lead(target_ip: IpAddr, honeypot_type: &str) -> Order {
    let honeypot_type = honeypot_type.to_owned();
    apply(Action::HoneypotDeployment(HoneypotDeployment { honeypot_type, target_ip }), 600)
}

/// What the attacker is greeted with at an address.
fn greets(rig: &Rig, to: SocketAddr) -> String {
    rig.attacker().connect(to, LONG).map_or_else(|e| e.to_string(), |mut c| greeting(&mut c, 4, LONG))
}

#[test]
fn an_attackers_flows_end_in_the_decoy_and_nobody_elses() {
    let there = settings(&[at(v4(2), 2222), at(v6(2), 2222)], &[]);
    let Some(rig) = Rig::new(there, &["nft"]) else { return };
    rig.server().serve(22, "real");
    rig.client().serve(2222, "fake");
    for (attacker, server) in [(v4(1), v4(3)), (v6(1), v6(3))] {
        let mut established = rig.attacker().connect(at(server, 22), LONG).unwrap();
        let mut beside = rig.client().connect(at(server, 22), LONG).unwrap();
        for connection in [&mut established, &mut beside] {
            assert_eq!(greeting(connection, 4, LONG), "real");
            assert!(echoes(connection, LONG));
        }
        let order = lead(attacker, "ssh");
        let receipt = rig.done(&order);
        assert!(receipt.criteria["traffic_redirected"], "{receipt:?}");
        assert!(!echoes(&mut established, LONG), "a flow of before is reset");
        assert_eq!(greets(&rig, at(server, 22)), "fake");
        assert_eq!(greets(&rig, at(server, 7)), "fake", "whatever the port");
        assert!(echoes(&mut beside, LONG));
        let mut led = rig.attacker().connect(at(server, 22), LONG).unwrap();
        assert!(greeting(&mut led, 4, LONG) == "fake" && echoes(&mut led, LONG));
        // Begun again, and killed before its receipt.
        assert_eq!(rig.carry(&order, true).outcome, Outcome::Already);
        assert!(echoes(&mut led, LONG));
        rig.done(&undo(&order));
        assert_eq!(greets(&rig, at(server, 22)), "real");
        assert!(echoes(&mut led, LONG), "who is in the decoy stays there");
        assert_eq!(rig.carry(&undo(&order), true).outcome, Outcome::Done);
    }
}

#[test]
fn a_decoy_on_this_host_and_two_decoys_at_once() {
    let any = |port| [at(any_of(false), port), at(any_of(true), port)];
    let Some(rig) = Rig::new(settings(&any(2222), &any(8888)), &["nft"]) else { return };
    rig.star.router.serve(2222, "ssh!");
    rig.star.router.serve(8888, "http");
    rig.server().serve(80, "real");
    for (attacker, server) in [(v4(1), v4(3)), (v6(1), v6(3))] {
        let (ssh, http) = (lead(attacker, "ssh"), lead(attacker, "http"));
        let receipt = rig.done(&http);
        assert_eq!((receipt.criteria["honeypot_running"], receipt.criteria["traffic_redirected"]), (true, true));
        assert_eq!((greets(&rig, at(server, 80)), greets(&rig, at(server, 22))), ("http".into(), "http".into()));
        rig.done(&ssh);
        assert_eq!((greets(&rig, at(server, 80)), greets(&rig, at(server, 22))), ("http".into(), "ssh!".into()));
        rig.done(&undo(&http));
        assert_eq!(greets(&rig, at(server, 80)), "ssh!");
        rig.done(&undo(&ssh));
        assert_eq!(greets(&rig, at(server, 80)), "real");
    }
}

#[test]
fn a_flow_that_the_server_speaks_first_in_is_cut_too() {
    let Some(rig) = Rig::new(settings(&[at(v4(2), 2222)], &[]), &["nft"]) else { return };
    rig.client().serve(2222, "fake");
    rig.attacker().serve(7, "");
    // Begun from our side before anything was tracked, as a shell that calls home.
    let mut home = rig.server().connect(at(v4(1), 7), LONG).unwrap();
    assert!(echoes(&mut home, LONG));
    rig.done(&lead(v4(1), "ssh"));
    assert!(!echoes(&mut home, SHORT));
    assert!(rig.server().connect(at(v4(1), 7), SHORT).is_err());
}

#[test]
fn a_decoy_that_is_not_set_not_running_or_not_reachable_is_told() {
    let loopback = settings(&["127.0.0.1:2222".parse().unwrap()], &[at(v4(2), 9)]);
    let Some(mut rig) = Rig::new(loopback, &["nft"]) else { return };
    let why = |rig: &Rig, order: &Order| {
        let receipt = rig.carry(order, false);
        let (reason, retry) = refusal(&receipt);
        assert!(!retry);
        reason.to_owned()
    };
    assert!(why(&rig, &lead(v4(1), "ssh")).contains("let it listen on 0.0.0.0:2222"));
    assert!(why(&rig, &lead(v6(1), "http")).contains("no IPv6 address of an http decoy is set"));
    assert!(why(&rig, &lead(v4(1), "ftp")).contains("there is no ftp decoy"));
    let order = lead(v4(1), "http");
    let receipt = rig.done(&order);
    assert_eq!((receipt.criteria["honeypot_running"], receipt.criteria["traffic_redirected"]), (false, true));
    // Without a decoy in the settings there is nowhere to lead to.
    rig.restart(Settings::default());
    assert!(!rig.observe(&order).criteria["traffic_redirected"]);
    assert!(why(&rig, &order).contains("no IPv4 address of an http decoy is set"));
    rig.done(&undo(&order));
}

#[test]
fn connections_are_not_tracked_for_our_sake_where_no_decoy_is_set() {
    let Some(rig) = Rig::new(Settings::default(), &["nft"]) else { return };
    rig.done(&crate::rig::block(v4(1)));
    let table = rig.ruleset(&["list", "table", "inet", "vertice"]);
    assert!(!table.contains("ct ") && !table.contains("nat hook"), "{table}");
}
