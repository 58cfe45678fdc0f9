//! Whom no automated action may ever touch: ourselves, our gateways and resolvers, and whom the user names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Result, bail};
use vertice_engine::ContentFile;
use vertice_engine::decide::verb::Verb;
use vertice_engine::decide::{Policy, Protected, Whom};
use vertice_responder::guard;
use vertice_responder::machine::Machine;

use crate::config::{Mode, Response};

/// The policy as content, so that a change of it stands in the log like any other.
///
/// # Errors
/// When an entry of `response.protected` is neither an address, a range, nor a name.
pub fn policy(config: &Response, consult: bool, root: &Path) -> Result<ContentFile> {
    let named = |names: &[String]| names.iter().cloned().collect();
    let mut policy = Policy {
        entities_per_hour_max: config.blast_radius_per_hour,
        live: live(config),
        assets: config.known_hosts,
        approvals_high: config.approvals_for_high_risk,
        approvers: named(&config.approvers),
        escalate_to: named(&config.escalate_to),
        consult,
        ..Policy::default()
    };
    for entry in &config.protected {
        policy.protected.push(Protected { whom: whom(entry)?, why: "the configuration says so".into() });
    }
    policy.protected.extend(guard::protected(&Machine::read(root)));
    let text = serde_json::to_string(&policy).expect("a policy has text keys");
    Ok(ContentFile { path: "policy/configuration".into(), text })
}

/// The verbs that really act: both switches are on.
fn live(config: &Response) -> BTreeSet<Verb> {
    match config.mode {
        Mode::Observe => BTreeSet::new(),
        Mode::Live => config.verbs.enabled().into_iter().filter_map(Verb::from_word).collect(),
    }
}

/// How far responses go, in a few words.
pub fn told(config: &Response) -> String {
    let live: Vec<&str> = live(config).into_iter().map(Verb::as_str).collect();
    match (config.mode, live.is_empty()) {
        (Mode::Observe, _) => "observing: plans are recorded, nothing is changed".to_owned(),
        (Mode::Live, true) => "live, but no verb is enabled: plans are recorded, nothing is changed".to_owned(),
        (Mode::Live, false) => format!("live for {}; all else is only recorded", live.join(", ")),
    }
}

/// Of many instances: which verbs act on the machine itself, in words; `None` where none of them is live. What has a shard
/// changes, and what was done by whoever had it before is out of reach.
pub fn told_of_machines(config: &Response) -> Option<String> {
    let elsewhere = [Verb::Notification, Verb::HttpRequest, Verb::RemoteCommand];
    let here: Vec<&str> = live(config).into_iter().filter(|v| !elsewhere.contains(v)).map(Verb::as_str).collect();
    let told = || {
        let verbs = here.join(", ");
        format!("{verbs}: done on the machine of the instance that has the shard, and a release reaches that one only")
    };
    (!here.is_empty()).then(told)
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

#[cfg(test)]
mod tests {
    use vertice_model::Entity;

    use super::*;

    #[test]
    fn of_verbs_that_are_live_those_that_act_on_a_machine_are_told() {
        let mut config = crate::config::load(None, |_| None).unwrap().response;
        config.verbs.firewall_rule.enabled = true;
        config.verbs.http_request.enabled = true;
        assert_eq!(told_of_machines(&config), None, "nothing is live while it observes");
        config.mode = Mode::Live;
        assert!(told_of_machines(&config).unwrap().starts_with("firewall_rule: done on the machine"));
        config.verbs.firewall_rule.enabled = false;
        assert_eq!(told_of_machines(&config), None);
    }

    #[test]
    fn what_the_user_names_is_protected_and_a_mistake_is_named() {
        let mut config = crate::config::load(None, |_| None).unwrap().response;
        config.protected = vec!["198.51.100.0/24".into(), "192.0.2.9".into(), "user:Ana".into(), "DC-01".into()];
        let empty = tempfile::tempdir().unwrap();
        let policy: Policy = serde_json::from_str(&policy(&config, true, empty.path()).unwrap().text).unwrap();
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
