//! The verbs: everything that a playbook can do, and what each declares about itself.
//!
//! A verb that leaves something behind is lasting and must be given a `duration`, its lease. What can not be
//! undone may only be done by a person, and the playbook must say `irreversible: true` where it asks for it.

use serde::{Deserialize, Serialize};

/// What an action does: its `type` in a playbook.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Blocks an address, or lets it through at a limited rate.
    FirewallRule,
    /// Starts a decoy and leads an address to it.
    HoneypotDeployment,
    /// Cuts a host off from everything but the management plane.
    ZoneIsolation,
    /// Slows the traffic of an address down.
    TrafficShaping,
    /// Records the traffic of an address.
    TrafficCapture,
    /// Ends a process.
    KillProcess,
    /// Moves a file to where it can not be run.
    Quarantine,
    /// Locks an account.
    RevokeCredentials,
    /// Ends the sessions of an account or an address.
    SessionTermination,
    /// Collects evidence from a host.
    CollectForensics,
    /// Tells people.
    Notification,
    /// Calls another system.
    HttpRequest,
    /// Runs a command that was allowed by name on a host.
    RemoteCommand,
}

/// How much harm a verb can do when it hits the wrong one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Touches nobody.
    None,
    /// Slows or watches one entity; nobody's work is lost.
    Low,
    /// Stops one address or file; all of it comes back.
    Medium,
    /// Stops a host's or a person's work, or can not be undone.
    High,
}

impl Risk {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Risk::None => "none",
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        }
    }
}

/// What a verb says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Its word in playbooks.
    pub word: &'static str,
    /// How much harm it can do.
    pub risk: Risk,
    /// Whether it leaves something behind until its lease ends.
    pub lasting: Lasting,
    /// What undoes it.
    pub inverse: Inverse,
    /// What it must or may be told.
    pub parameters: &'static [Parameter],
    /// Of these, at least one must be given; empty where that is all the same.
    pub any_of: &'static [&'static str],
    /// What can be observed of it: the words for `success_criteria`.
    pub observable: &'static [&'static str],
}

/// Whether a verb leaves something behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lasting {
    /// Until the end of its `duration`.
    Always,
    /// If this parameter is given.
    With(&'static str),
    /// It is over at once.
    Never,
}

/// What undoes a verb, in words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inverse {
    /// This.
    Always(&'static str),
    /// This, if the parameter that tells how is given.
    With(&'static str, &'static str),
    /// Nothing does.
    Never,
}

/// One thing that a verb is told.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its key.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it must be given.
    pub need: Need,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One IPv4 or IPv6 address, never a range. The action touches it.
    Address,
    /// One host by name. The action touches it.
    Host,
    /// One account by name. The action touches it.
    User,
    /// How long: `5m`, `1h`, `24h`.
    Duration,
    /// How often: `5/minute`.
    Rate,
    /// How fast: `256kbit`.
    Bandwidth,
    /// How large: `100MB`.
    Size,
    /// A port number.
    Port,
    /// A process number.
    Number,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words, as a list.
    Words(&'static [&'static str]),
    /// A name from the configuration: lower-case letters, digits, `-`, `_`.
    Name,
    /// A file by its whole path.
    Path,
    /// An address of the web whose host is written out.
    Url,
    /// Any text; `${…}` within it is filled.
    Text,
}

/// Whether a parameter must be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Always.
    Must,
    /// It may be.
    May,
    /// Exactly where another parameter is this word.
    Where(&'static str, &'static str),
    /// Exactly where another parameter is given.
    Beside(&'static str),
}

const fn must(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, need: Need::Must }
}

const fn may(name: &'static str, kind: Kind) -> Parameter {
    Parameter { name, kind, need: Need::May }
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 13] = [
        Verb::FirewallRule,
        Verb::HoneypotDeployment,
        Verb::ZoneIsolation,
        Verb::TrafficShaping,
        Verb::TrafficCapture,
        Verb::KillProcess,
        Verb::Quarantine,
        Verb::RevokeCredentials,
        Verb::SessionTermination,
        Verb::CollectForensics,
        Verb::Notification,
        Verb::HttpRequest,
        Verb::RemoteCommand,
    ];

    /// Its word in playbooks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.declares().word
    }

    /// The verb of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    /// What it says about itself: the one place where a verb is described.
    #[must_use]
    pub const fn declares(self) -> &'static Declaration {
        match self {
            Verb::FirewallRule => &FIREWALL_RULE,
            Verb::HoneypotDeployment => &HONEYPOT_DEPLOYMENT,
            Verb::ZoneIsolation => &ZONE_ISOLATION,
            Verb::TrafficShaping => &TRAFFIC_SHAPING,
            Verb::TrafficCapture => &TRAFFIC_CAPTURE,
            Verb::KillProcess => &KILL_PROCESS,
            Verb::Quarantine => &QUARANTINE,
            Verb::RevokeCredentials => &REVOKE_CREDENTIALS,
            Verb::SessionTermination => &SESSION_TERMINATION,
            Verb::CollectForensics => &COLLECT_FORENSICS,
            Verb::Notification => &NOTIFICATION,
            Verb::HttpRequest => &HTTP_REQUEST,
            Verb::RemoteCommand => &REMOTE_COMMAND,
        }
    }
}

const FIREWALL_RULE: Declaration = Declaration {
    word: "firewall_rule",
    risk: Risk::Medium,
    lasting: Lasting::Always,
    inverse: Inverse::Always("take the address out of our own firewall set"),
    parameters: &[
        must("rule_type", Kind::Word(&["block", "rate_limit"])),
        may("source_ip", Kind::Address),
        may("destination_ip", Kind::Address),
        may("port", Kind::Port),
        may("protocol", Kind::Word(&["tcp", "udp", "icmp"])),
        Parameter { name: "limit", kind: Kind::Rate, need: Need::Where("rule_type", "rate_limit") },
        must("duration", Kind::Duration),
    ],
    any_of: &["source_ip", "destination_ip"],
    observable: &["rule_applied", "traffic_stopped"],
};

const HONEYPOT_DEPLOYMENT: Declaration = Declaration {
    word: "honeypot_deployment",
    risk: Risk::Medium,
    lasting: Lasting::Always,
    inverse: Inverse::Always("lead the address back to the real hosts and stop the decoy"),
    parameters: &[
        must("honeypot_type", Kind::Word(&["ssh", "http"])),
        must("target_ip", Kind::Address),
        must("duration", Kind::Duration),
    ],
    any_of: &[],
    observable: &["honeypot_running", "traffic_redirected"],
};

const ZONE_ISOLATION: Declaration = Declaration {
    word: "zone_isolation",
    risk: Risk::High,
    lasting: Lasting::Always,
    inverse: Inverse::Always("put the host back into the zone that it came from"),
    parameters: &[
        may("target_host", Kind::Host),
        may("target_ip", Kind::Address),
        may("zone", Kind::Name),
        must("duration", Kind::Duration),
    ],
    any_of: &["target_host", "target_ip"],
    observable: &["host_isolated", "management_reachable"],
};

const TRAFFIC_SHAPING: Declaration = Declaration {
    word: "traffic_shaping",
    risk: Risk::Low,
    lasting: Lasting::Always,
    inverse: Inverse::Always("take the limit off the address's traffic"),
    parameters: &[
        must("target_ip", Kind::Address),
        must("limit", Kind::Bandwidth),
        may("direction", Kind::Word(&["inbound", "outbound", "both"])),
        must("duration", Kind::Duration),
    ],
    any_of: &[],
    observable: &["limit_applied"],
};

const TRAFFIC_CAPTURE: Declaration = Declaration {
    word: "traffic_capture",
    risk: Risk::Low,
    lasting: Lasting::Always,
    inverse: Inverse::Always("stop the recording; what it recorded is kept"),
    parameters: &[must("target_ip", Kind::Address), may("max_size", Kind::Size), must("duration", Kind::Duration)],
    any_of: &[],
    observable: &["capture_running"],
};

const KILL_PROCESS: Declaration = Declaration {
    word: "kill_process",
    risk: Risk::High,
    lasting: Lasting::Never,
    inverse: Inverse::Never,
    parameters: &[must("target_host", Kind::Host), may("process", Kind::Text), may("pid", Kind::Number)],
    any_of: &["process", "pid"],
    observable: &["process_gone"],
};

const QUARANTINE: Declaration = Declaration {
    word: "quarantine",
    risk: Risk::Medium,
    lasting: Lasting::Always,
    inverse: Inverse::Always("put the file back with its hash, owner and mode"),
    parameters: &[must("target_host", Kind::Host), must("file_path", Kind::Path), must("duration", Kind::Duration)],
    any_of: &[],
    observable: &["file_quarantined"],
};

const REVOKE_CREDENTIALS: Declaration = Declaration {
    word: "revoke_credentials",
    risk: Risk::High,
    lasting: Lasting::Always,
    inverse: Inverse::Always("unlock the account"),
    parameters: &[must("user", Kind::User), may("target_host", Kind::Host), must("duration", Kind::Duration)],
    any_of: &[],
    observable: &["account_locked"],
};

const SESSION_TERMINATION: Declaration = Declaration {
    word: "session_termination",
    risk: Risk::High,
    lasting: Lasting::Never,
    inverse: Inverse::Never,
    parameters: &[may("user", Kind::User), may("source_ip", Kind::Address), may("target_host", Kind::Host)],
    any_of: &["user", "source_ip"],
    observable: &["sessions_ended"],
};

const COLLECT_FORENSICS: Declaration = Declaration {
    word: "collect_forensics",
    risk: Risk::Low,
    lasting: Lasting::Never,
    inverse: Inverse::Always("delete the bundle of evidence, if it is not wanted"),
    parameters: &[
        must("target_host", Kind::Host),
        may("artifacts", Kind::Words(&["processes", "network", "logins", "files", "logs", "memory"])),
    ],
    any_of: &[],
    observable: &["evidence_collected"],
};

const NOTIFICATION: Declaration = Declaration {
    word: "notification",
    risk: Risk::None,
    lasting: Lasting::Never,
    inverse: Inverse::Always("tell the same people that it was taken back"),
    parameters: &[
        must("channel", Kind::Word(&["slack", "webhook", "email"])),
        may("to", Kind::Name),
        must("message", Kind::Text),
    ],
    any_of: &[],
    observable: &["message_delivered"],
};

const HTTP_REQUEST: Declaration = Declaration {
    word: "http_request",
    risk: Risk::Medium,
    lasting: Lasting::Never,
    inverse: Inverse::With("undo_url", "call the address that the playbook gives for undoing it"),
    parameters: &[
        must("url", Kind::Url),
        may("method", Kind::Word(&["GET", "POST", "PUT", "DELETE"])),
        may("body", Kind::Text),
        may("undo_url", Kind::Url),
    ],
    any_of: &[],
    observable: &["request_accepted"],
};

const REMOTE_COMMAND: Declaration = Declaration {
    word: "remote_command",
    risk: Risk::High,
    lasting: Lasting::With("undo_command"),
    inverse: Inverse::With("undo_command", "run the command that the playbook gives for undoing it"),
    parameters: &[
        must("target_host", Kind::Host),
        must("command", Kind::Name),
        may("undo_command", Kind::Name),
        Parameter { name: "duration", kind: Kind::Duration, need: Need::Beside("undo_command") },
    ],
    any_of: &[],
    observable: &["command_succeeded"],
};

impl Kind {
    /// Whether the action touches what this parameter names.
    #[must_use]
    pub const fn touches(self) -> bool {
        matches!(self, Kind::Address | Kind::Host | Kind::User)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_whole() {
        for verb in Verb::ALL {
            let d = verb.declares();
            assert_eq!(Verb::from_word(d.word), Some(verb));
            assert_eq!(serde_json::to_string(&verb).unwrap(), format!("\"{}\"", d.word));
            let find = |name: &str| d.parameters.iter().find(|p| p.name == name);
            let duration = find("duration");
            match d.lasting {
                Lasting::Always => {
                    assert_eq!(duration.unwrap().need, Need::Must, "{verb:?} lasts, so it needs a lease")
                }
                Lasting::With(other) => assert_eq!(duration.unwrap().need, Need::Beside(other)),
                Lasting::Never => assert!(duration.is_none(), "{verb:?} is over at once"),
            }
            match d.inverse {
                Inverse::With(parameter, _) => assert!(find(parameter).is_some()),
                Inverse::Always(_) => {}
                Inverse::Never => assert_eq!(d.risk, Risk::High, "{verb:?} can not be undone"),
            }
            for name in d.any_of {
                assert_eq!(find(name).unwrap().need, Need::May);
            }
            for p in d.parameters {
                if let Need::Where(other, word) = p.need {
                    assert!(matches!(find(other).unwrap().kind, Kind::Word(words) if words.contains(&word)));
                }
            }
            assert_eq!(
                d.risk == Risk::None,
                !d.parameters.iter().any(|p| p.kind.touches()) && verb != Verb::HttpRequest
            );
            assert!(!d.observable.is_empty(), "{verb:?} can not be observed");
        }
        assert_eq!(Verb::from_word("nuke"), None);
        assert_eq!(
            [Risk::None, Risk::Low, Risk::Medium, Risk::High].map(Risk::as_str),
            ["none", "low", "medium", "high"]
        );
    }
}
