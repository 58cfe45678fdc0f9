//! What holds which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use vertice_model::{
    Action, Containment, ContainmentId, ContainmentState, FirewallRule, FirewallVerdict, Hold, Stage, Timestamp,
};

use crate::limits;

/// What becomes of an address, from weak to strong.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Remedy {
    /// It is let through at a limited rate.
    Throttle,
    /// It is not let through.
    Ban,
}

/// What containments come to for one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Held {
    /// The strongest that any of them asks for.
    pub(crate) remedy: Remedy,
    /// The longest lease of those that ask for it.
    pub(crate) until: Timestamp,
    /// The containment with that lease.
    pub(crate) containment: ContainmentId,
    /// Its playbook.
    pub(crate) playbook: String,
    /// When the first of all of them began.
    pub(crate) since: Timestamp,
}

/// What holds which address.
pub(crate) type Standing = BTreeMap<IpAddr, Held>;

/// What changed about an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Changed {
    /// What may have been told before.
    pub(crate) told: BTreeSet<Remedy>,
    /// The last change, as if it held.
    pub(crate) last: Held,
}

/// The address that a containment is about, and what becomes of it while all of it holds; `None` where nothing is in
/// force, or nothing that a bouncer could keep to: it knows neither ports nor pairs of addresses.
pub(crate) fn meant(containment: &Containment) -> Option<(IpAddr, Remedy)> {
    let Some(Action::FirewallRule(rule)) = containment.action.as_ref().filter(|_| !containment.simulated) else {
        return None;
    };
    let address = match rule {
        FirewallRule { source_ip: Some(ip), destination_ip: None, port: None, protocol: None, .. }
        | FirewallRule { source_ip: None, destination_ip: Some(ip), port: None, protocol: None, .. } => ip,
        FirewallRule { .. } => return None,
    };
    let remedy = match rule.rule {
        FirewallVerdict::Block => Remedy::Ban,
        FirewallVerdict::RateLimit { .. } => Remedy::Throttle,
    };
    Some((address.to_canonical(), remedy))
}

/// What a containment holds its address by now, if it does.
fn holds(containment: &Containment, full: Remedy, now: Timestamp) -> Option<Remedy> {
    let lasts = containment.lease_until.micros_since(now) >= limits::DECISION_LEFT_US_MIN;
    if !lasts || containment.state != ContainmentState::Active {
        return None;
    }
    match containment.hold {
        Hold::Full => Some(full),
        Hold::Reduced => Some(Remedy::Throttle),
        Hold::Watch | Hold::None => None,
    }
}

/// Adds what a containment holds to what others do.
pub(crate) fn add(standing: &mut Standing, containment: &Containment, now: Timestamp) {
    let Some((address, full)) = meant(containment) else { return };
    let Some(remedy) = holds(containment, full, now) else { return };
    let new = Held::by(containment, remedy);
    match standing.get_mut(&address) {
        None => {
            standing.insert(address, new);
        }
        Some(held) => {
            let since = held.since.min(new.since);
            if (new.remedy, new.until) > (held.remedy, held.until) {
                *held = new;
            }
            held.since = since;
        }
    }
}

/// Notes that a containment changed.
pub(crate) fn note(changes: &mut BTreeMap<IpAddr, Changed>, containment: &Containment) {
    let Some((address, full)) = meant(containment) else { return };
    let healing = matches!(containment.hold, Hold::Reduced | Hold::Watch) || containment.stage == Stage::Probation;
    let mut told = BTreeSet::from([full]);
    told.extend(healing.then_some(Remedy::Throttle));
    let last = Held::by(containment, full);
    match changes.get_mut(&address) {
        None => {
            changes.insert(address, Changed { told, last });
        }
        Some(changed) => {
            changed.told.append(&mut told);
            let since = changed.last.since.min(last.since);
            changed.last = Held { since, ..last };
        }
    }
}

impl Held {
    fn by(containment: &Containment, remedy: Remedy) -> Held {
        Held {
            remedy,
            until: containment.lease_until,
            containment: containment.containment_id,
            playbook: containment.playbook_id.clone(),
            since: containment.since,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A containment that blocks an address from 12:00 to 13:00, with other members put over it.
    pub(crate) fn containment(address: &str, over: Value) -> Containment {
        let mut all = json!({
            "containment_id": ContainmentId::derive(address).to_string(), "run_id": "00000000-0000-0000-0000-00000000000b",
            "threat_id": "00000000-0000-0000-0000-00000000000c", "playbook_id": "p", "action_id": "block",
            "action_type": "firewall_rule", "entity_kind": "ip", "entity": address, "simulated": false,
            "action": { "verb": "firewall_rule", "rule": "block", "source_ip": address, "destination_ip": null,
                        "port": null, "protocol": null },
            "stage": "reflex", "hold": "full", "recurrences": 0, "renewals": 0, "state": { "is": "active" },
            "since": "2026-03-01T12:00:00Z", "lease_until": "2026-03-01T13:00:00Z",
        });
        for (name, value) in over.as_object().unwrap() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    fn stands(containments: &[Containment], now: &str) -> Option<(Remedy, Timestamp)> {
        let mut standing = Standing::new();
        containments.iter().for_each(|c| add(&mut standing, c, at(now)));
        standing.values().next().map(|held| (held.remedy, held.until))
    }

    #[test]
    fn only_what_is_in_force_and_can_be_kept_to_is_told() {
        let rule = |over: Value| {
            let mut action = json!({ "verb": "firewall_rule", "rule": "block", "source_ip": "203.0.113.9",
                "destination_ip": null, "port": null, "protocol": null });
            for (name, value) in over.as_object().unwrap() {
                action[name] = value.clone();
            }
            json!({ "action": action })
        };
        let limit = json!({ "rate_limit": { "count": 5, "per_s": 60 } });
        for (over, remedy) in [
            (json!({}), Some(Remedy::Ban)),
            (rule(json!({ "rule": limit })), Some(Remedy::Throttle)),
            (rule(json!({ "source_ip": null, "destination_ip": "203.0.113.9" })), Some(Remedy::Ban)),
            (rule(json!({ "source_ip": "::ffff:203.0.113.9" })), Some(Remedy::Ban)),
            (rule(json!({ "destination_ip": "192.0.2.1" })), None),
            (rule(json!({ "port": 22 })), None),
            (rule(json!({ "protocol": "udp" })), None),
            (json!({ "action": null }), None),
            (json!({ "action": { "verb": "traffic_capture", "target_ip": "203.0.113.9", "bytes_max": null } }), None),
            (json!({ "simulated": true }), None),
            (json!({ "hold": "reduced" }), Some(Remedy::Throttle)),
            (json!({ "hold": "watch" }), None),
            (json!({ "hold": "none" }), None),
            (json!({ "state": { "is": "expired" } }), None),
            (json!({ "state": { "is": "released", "by": "ana", "reason": "" } }), None),
            (json!({ "lease_until": "2026-03-01T12:30:00.9Z" }), None),
        ] {
            let found = stands(&[containment("203.0.113.9", over.clone())], "12:30:00");
            assert_eq!(found.map(|(remedy, _)| remedy), remedy, "{over}");
        }
    }

    #[test]
    fn the_strongest_and_then_the_longest_counts() {
        let long_limit = json!({ "hold": "reduced", "lease_until": "2026-03-01T18:00:00Z" });
        let longer = json!({ "lease_until": "2026-03-01T14:00:00Z" });
        let all: Vec<_> =
            [json!({}), long_limit, longer].into_iter().map(|over| containment("203.0.113.9", over)).collect();
        assert_eq!(stands(&all, "12:30:00"), Some((Remedy::Ban, at("14:00:00"))));
        assert_eq!(stands(&all, "14:00:00"), Some((Remedy::Throttle, at("18:00:00"))));
        assert_eq!(stands(&all[..2], "12:30:00"), Some((Remedy::Ban, at("13:00:00"))));
    }
}
