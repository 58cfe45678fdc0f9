//! From the filled words of a step to an action whose every parameter is typed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vertice_model::{
    Action, CollectForensics, Direction, FirewallRule, FirewallVerdict, HoneypotDeployment, HttpRequest, KillProcess,
    Notification, Protocol, Quarantine, RemoteCommand, RevokeCredentials, SessionTermination, Timestamp,
    TrafficCapture, TrafficShaping, ZoneIsolation,
};

use super::measure;
use super::verb::Verb;
use super::words::quoted;

/// The action that a verb is with these parameters. `seen_at` is when the threat was last seen.
///
/// # Errors
/// Which parameter can not be read, which is possible only of what was filled in from the threat.
#[expect(clippy::too_many_lines, reason = "one arm for each verb, and nothing beside them")]
pub(super) fn action(verb: Verb, parameters: &BTreeMap<String, String>, seen_at: Timestamp) -> Result<Action, String> {
    let words = Words(parameters);
    Ok(match verb {
        Verb::FirewallRule => Action::FirewallRule(FirewallRule {
            rule: match words.must("rule_type")?.as_str() {
                "block" => FirewallVerdict::Block,
                _ => {
                    let (count, per_s) = words.read("limit", measure::rate)?;
                    FirewallVerdict::RateLimit { count, per_s }
                }
            },
            source_ip: words.address("source_ip")?,
            destination_ip: words.address("destination_ip")?,
            port: words.may("port").map(|_| words.read("port", number)).transpose()?,
            protocol: words.may("protocol").map(|word| match word.as_str() {
                "udp" => Protocol::Udp,
                "icmp" => Protocol::Icmp,
                _ => Protocol::Tcp,
            }),
        }),
        Verb::HoneypotDeployment => Action::HoneypotDeployment(HoneypotDeployment {
            honeypot_type: words.must("honeypot_type")?,
            target_ip: words.read("target_ip", address)?,
        }),
        Verb::ZoneIsolation => Action::ZoneIsolation(ZoneIsolation {
            target_host: words.may("target_host"),
            target_ip: words.address("target_ip")?,
            zone: words.may("zone"),
        }),
        Verb::TrafficShaping => Action::TrafficShaping(TrafficShaping {
            target_ip: words.read("target_ip", address)?,
            limit_bit_s: words.read("limit", measure::bandwidth_bit_s)?,
            direction: match words.may("direction").as_deref() {
                Some("inbound") => Direction::Inbound,
                Some("outbound") => Direction::Outbound,
                Some(_) | None => Direction::Both,
            },
        }),
        Verb::TrafficCapture => Action::TrafficCapture(TrafficCapture {
            target_ip: words.read("target_ip", address)?,
            bytes_max: words.may("max_size").map(|_| words.read("max_size", measure::size_bytes)).transpose()?,
        }),
        Verb::KillProcess => Action::KillProcess(KillProcess {
            target_host: words.must("target_host")?,
            process: words.may("process"),
            pid: words.may("pid").map(|_| words.read("pid", number)).transpose()?,
            seen_at,
        }),
        Verb::Quarantine => Action::Quarantine(Quarantine {
            target_host: words.must("target_host")?,
            file_path: words.must("file_path")?,
        }),
        Verb::RevokeCredentials => Action::RevokeCredentials(RevokeCredentials {
            user: words.must("user")?,
            target_host: words.may("target_host"),
        }),
        Verb::SessionTermination => Action::SessionTermination(SessionTermination {
            user: words.may("user"),
            source_ip: words.address("source_ip")?,
            target_host: words.may("target_host"),
        }),
        Verb::CollectForensics => {
            let list = words.may("artifacts").unwrap_or_default();
            let artifacts = list.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
            Action::CollectForensics(CollectForensics { target_host: words.must("target_host")?, artifacts })
        }
        Verb::Notification => Action::Notification(Notification {
            channel: words.must("channel")?,
            to: words.may("to"),
            message: words.must("message")?,
        }),
        Verb::HttpRequest => Action::HttpRequest(HttpRequest {
            url: words.must("url")?,
            method: words.may("method").unwrap_or_else(|| "POST".to_owned()),
            body: words.may("body"),
            undo_url: words.may("undo_url"),
        }),
        Verb::RemoteCommand => Action::RemoteCommand(RemoteCommand {
            target_host: words.must("target_host")?,
            command: words.must("command")?,
            undo_command: words.may("undo_command"),
        }),
    })
}

struct Words<'a>(&'a BTreeMap<String, String>);

impl Words<'_> {
    fn may(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn must(&self, name: &str) -> Result<String, String> {
        self.may(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    fn read<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
        let text = self.must(name)?;
        read(&text).map_err(|wanted| format!("`{name}` is {}, and should be {wanted}", quoted(&text)))
    }

    fn address(&self, name: &str) -> Result<Option<IpAddr>, String> {
        self.may(name).map(|_| self.read(name, address)).transpose()
    }
}

/// In canonical form, so that one address is one target however it is written.
fn address(text: &str) -> Result<IpAddr, String> {
    text.parse::<IpAddr>().map(|a| a.to_canonical()).map_err(|_| "one address such as 203.0.113.9".to_owned())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "a number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(verb: Verb, words: &[(&str, &str)]) -> Result<serde_json::Value, String> {
        let parameters = words.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        action(verb, &parameters, Timestamp::from_seconds(7)).map(|a| {
            assert_eq!(a.verb(), verb.as_str());
            serde_json::to_value(a).unwrap()
        })
    }

    #[test]
    fn every_verb_is_read_from_its_words() {
        let limit = typed(
            Verb::FirewallRule,
            &[
                ("rule_type", "rate_limit"),
                ("limit", "5/minute"),
                ("source_ip", "::ffff:203.0.113.9"),
                ("port", "22"),
                ("protocol", "udp"),
            ],
        )
        .unwrap();
        assert_eq!(limit["rule"]["rate_limit"], serde_json::json!({"count": 5, "per_s": 60}));
        assert_eq!((&limit["source_ip"], &limit["port"]), (&"203.0.113.9".into(), &22.into()));
        let hosted = [("target_host", "web1"), ("target_ip", "203.0.113.9"), ("user", "ana")];
        let more = [
            ("honeypot_type", "ssh"),
            ("limit", "1mbit"),
            ("direction", "outbound"),
            ("max_size", "1MB"),
            ("pid", "7"),
            ("file_path", "/x"),
            ("artifacts", "logs,files"),
            ("channel", "slack"),
            ("message", "m"),
            ("url", "https://h/"),
            ("command", "c"),
            ("rule_type", "block"),
        ];
        let all = [&hosted[..], &more[..]].concat();
        for verb in Verb::ALL {
            typed(verb, &all).unwrap();
        }
        assert_eq!(typed(Verb::TrafficShaping, &all).unwrap()["limit_bit_s"], 1_000_000);
        assert_eq!(typed(Verb::TrafficShaping, &all).unwrap()["direction"], "outbound");
        assert_eq!(typed(Verb::CollectForensics, &all).unwrap()["artifacts"], serde_json::json!(["logs", "files"]));
        assert_eq!(typed(Verb::HttpRequest, &all).unwrap()["method"], "POST");
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        assert_eq!(typed(Verb::Quarantine, &[("target_host", "a")]).unwrap_err(), "`file_path` is missing");
        let range = typed(Verb::TrafficCapture, &[("target_ip", "10.0.0.0/8")]).unwrap_err();
        assert_eq!(range, "`target_ip` is `10.0.0.0/8`, and should be one address such as 203.0.113.9");
        assert!(typed(Verb::KillProcess, &[("target_host", "a"), ("pid", "x")]).unwrap_err().contains("a number"));
    }
}
