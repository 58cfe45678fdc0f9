//! A small scene for tests and measurements of responses: whoever tries to log in as `mallory` is found by one rule, and
//! blocked by one playbook or told of by another.

/// The rule: one event is enough.
pub const RULE: &str = "\
title: Mallory logs in
id: 00000000-0000-4000-8000-0000000000aa
status: test
level: high
logsource: {category: authentication}
detection: {s: {event.action: failed_login, user.name: mallory}, condition: s}
vertice: {class: mallory_seen, confidence: 95, entity: source.ip}
";

/// The playbook: a block without a question.
pub const PLAYBOOK: &str = r#"
name: Stop Mallory
version: "1"
trigger: {condition: mallory_seen, severity_threshold: medium, confidence_threshold: 0.5}
context_requirements: [source_ip]
actions:
  - id: block
    type: firewall_rule
    parameters: {rule_type: block, source_ip: "${source_ip}", duration: 30m}
    success_criteria: [rule_applied, traffic_stopped]
    retries: 2
"#;

/// Another playbook: people are told of whoever it was. [`TELL_AGAIN`] may follow.
pub const TELL: &str = r#"
name: Tell of Mallory
version: "1"
trigger: {condition: mallory_seen, severity_threshold: medium, confidence_threshold: 0.5}
context_requirements: [source_ip]
actions:
  - id: tell
    type: notification
    parameters: {channel: webhook, message: "${source_ip} tries mallory"}
"#;

/// A further step of [`TELL`]: somebody is asked before they are told again.
pub const TELL_AGAIN: &str = r#"  - id: tell_again
    type: notification
    hotl_required: true
    hotl_prompt: Tell once more?
    depends_on: [tell]
    parameters: {channel: webhook, message: "${source_ip} is still there"}
"#;

/// A line of sshd that says that somebody at an address tried it.
#[must_use]
pub fn attempt(from: &str) -> String {
    format!("2026-03-01T12:00:00Z web1 sshd[1]: Failed password for mallory from {from} port 1 ssh2")
}
