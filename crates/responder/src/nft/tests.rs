//! The table's shape.

use std::collections::BTreeSet;

use vertice_model::Protocol;

use super::*;

#[test]
fn rates_are_whole_numbers_in_one_of_nfts_units_or_refused() {
    let text = |count, per_s| Limit::packets(count, per_s).map(Limit::text).map_err(|e| e.to_string());
    assert_eq!(text(5, 60).unwrap(), "limit rate over 5/minute burst 5 packets");
    assert_eq!(text(10, 300).unwrap(), "limit rate over 2/minute burst 10 packets");
    assert_eq!(text(7, 300).unwrap(), "limit rate over 84/hour burst 7 packets");
    assert_eq!(text(1, 86_400).unwrap(), "limit rate over 1/day burst 1 packets");
    assert_eq!(text(1_000_000, 1).unwrap(), "limit rate over 1000000/second burst 1000000 packets");
    assert!(text(1, 11).unwrap_err().contains("no whole number"));
    assert_eq!(Limit::bits(1_000_000).unwrap().text(), "limit rate over 125000 bytes/second burst 65536 bytes");
    // What the kernel says of it is the same limit again.
    let found = FoundLimit { rate: 84, unit_s: 3_600, burst: 7, bytes: false };
    assert_eq!(limit_found(found), Some(Limit::packets(7, 300).unwrap()));
    assert_eq!(limit_found(FoundLimit::default()), None, "nothing divides by a rate of 0");
}

#[test]
fn of_two_limits_one_is_within_the_other() {
    let packets = |count, per_s| Limit::packets(count, per_s).unwrap();
    assert!(packets(5, 60).is_within(packets(5, 60)) && packets(5, 60).is_within(packets(1, 1)));
    assert!(!packets(1, 1).is_within(packets(5, 60)));
    assert!(Limit::bits(8_000).unwrap().is_within(Limit::bits(16_000).unwrap()));
    assert!(!Limit::bits(8_000).unwrap().is_within(packets(1, 1)));
}

#[test]
fn every_set_has_a_name_and_reads_its_own_keys_back() {
    let all = Place::all();
    let names: BTreeSet<String> = all.iter().map(|place| place.name()).collect();
    assert_eq!((names.len(), all.len()), (60, 60));
    // The longest name of a set that kernels take is 31 bytes.
    assert!(names.iter().all(|name| name.len() < 32));
    for place in all {
        let [a, b] = if place.v6 { ["2001:db8::1", "2001:db8::2"] } else { ["192.0.2.1", "192.0.2.2"] };
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
            let key = Key {
                address: a.parse().unwrap(),
                to: (place.ends == Ends::Both).then(|| b.parse().unwrap()),
                protocol: place.protocol.then_some(protocol),
                port: place.port.then_some(443),
            };
            assert_eq!(place.read(&key.bytes()), Some(key), "{}", place.name());
            assert_eq!(place.read(&key.bytes()[1..]), None);
        }
    }
}

#[test]
fn a_script_is_within_the_bound_of_a_pipe_with_all_networks_that_there_may_be() {
    let mut settings = Settings::default();
    let nets = (0..128_u32).flat_map(|n| [format!("10.{n}.0.0/17"), format!("2001:db8:{n:x}:8000::/50")]);
    settings.zone_isolation.management = nets.map(|net| net.parse().unwrap()).collect();
    settings.honeypot_deployment.ssh = vec!["0.0.0.0:2222".parse().unwrap(), "[2001:db8::1]:2222".parse().unwrap()];
    let script = shape::script(&settings).unwrap();
    assert!(script.len() < 65_536, "{} B", script.len());
    assert!(script.lines().all(|line| line.contains(" inet vertice")), "nothing but our table is named");
    settings.zone_isolation.management.push("192.0.2.0/24".parse().unwrap());
    assert!(shape::script(&settings).unwrap_err().to_string().contains("257 management networks"));
}
