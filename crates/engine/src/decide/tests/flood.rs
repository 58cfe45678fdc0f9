//! Floods of alerts, many of them spoofed: nobody who is protected is touched, and the budget is never passed.

use std::collections::BTreeMap;

use vertice_model::{Entity, StepState, ThreatId, Timestamp};

use super::brief::{start, threat};
use super::story::{GUESS, playbooks};
use crate::decide::verb::Verb;
use crate::decide::{Change, Policy, Protected, Responses, Whom};

/// Addresses that an attacker would have us block, in every spelling that a sensor may pass on.
const PROTECTED: [&str; 12] = [
    "127.0.0.1",
    "127.8.9.10",
    "::1",
    "::ffff:127.0.0.1",
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "64:ff9b::c000:201",
    "10.9.200.7",
    "2002:a09:c807::1",
    "169.254.169.254",
    "224.0.0.1",
    "198.51.100.53",
];

fn policy() -> Policy {
    let net = |net: &str| Protected { whom: Whom::Net(net.parse().unwrap()), why: "ours".to_owned() };
    Policy {
        protected: vec![net("192.0.2.1/32"), net("10.9.0.0/16"), net("198.51.100.53/32")],
        live: Verb::ALL.into_iter().collect(),
        ..Policy::default()
    }
}

#[test]
fn spoofed_alerts_touch_nobody_who_is_protected_and_pass_no_budget() {
    let (playbooks, policy) = (playbooks(&[GUESS]), policy());
    let alerts: u64 = if std::env::var_os("VERTICE_LONG").is_some() { 1_000_000 } else { 20_000 };
    let mut responses = Responses::default();
    let mut touched: BTreeMap<Entity, Timestamp> = BTreeMap::new();
    let (mut acts, mut refused, mut asked) = (0_u64, 0_u64, 0_u64);
    let mut now = start();
    for n in 0..alerts {
        // Some three hours in all, in bursts.
        now = now.plus_seconds(u64::from(n % (alerts / 10_000).max(1) == 0));
        let spoofed = n % 3 == 0;
        let address = match spoofed {
            true => PROTECTED[(n / 3) as usize % PROTECTED.len()].to_owned(),
            false => format!("203.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255),
        };
        let mut alert = threat(&format!("guess critical 1 ip={address}"));
        alert.threat_id = ThreatId::derive(&n.to_string());
        let mut changes = responses.consider(now, &alert, &playbooks, &policy);
        if n % 64 == 0 {
            changes.extend(responses.expire(now, &policy));
        }
        for change in changes {
            match change {
                Change::Act(order) => {
                    acts += 1;
                    for entity in order.get().action.touches() {
                        assert_eq!(policy.forbids(&entity), None, "{entity:?} is protected");
                        assert!(!PROTECTED.contains(&entity.name()), "{entity:?} is protected");
                        touched.insert(entity, now);
                    }
                }
                Change::Question(_) => asked += 1,
                Change::Run(run) => {
                    refused += run.steps.iter().filter(|s| matches!(s.state, StepState::Refused { .. })).count() as u64;
                }
                Change::Containment(_) => {}
            }
        }
        touched.retain(|_, at| now.micros_since(*at) < 3_600_000_000);
        assert!(touched.len() <= policy.entities_per_hour_max as usize, "{} within the hour", touched.len());
    }
    assert!(
        acts >= u64::from(policy.entities_per_hour_max) && asked > 0 && refused >= alerts / 3,
        "{acts} {asked} {refused}"
    );
}
