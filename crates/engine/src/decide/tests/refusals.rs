//! Playbook files that are refused: with which line, and why.

use super::story::playbooks;
use crate::content::ContentFile;
use crate::decide::{Playbook, Playbooks};
use crate::limits;

/// A good playbook, of which every refused one differs in one place.
const GOOD: &str = r#"name: Good
version: "1.0"
description: Whatever.
trigger:
  condition: brute_force_detected
  severity_threshold: medium
  confidence_threshold: 0.75
context_requirements: [source_ip, title]
actions:
  - id: slow
    type: firewall_rule
    hotl_required: false
    parameters: { rule_type: rate_limit, source_ip: "${source_ip}", limit: "5/minute", duration: 1h }
    success_criteria: [rule_applied]
    timeout: 10s
    retries: 2
    on_failure: stop
  - id: block
    type: firewall_rule
    hotl_required: true
    hotl_prompt: "Block ${source_ip}?"
    on_timeout: deny
    approval_timeout: 5m
    depends_on: [slow]
    parameters: { rule_type: block, source_ip: "${source_ip}", duration: 24h }
rollback:
  enabled: true
  conditions: [false_positive_confirmed, manual_override]
"#;

fn refusals(path: &str, text: &str) -> Vec<String> {
    let file = ContentFile { path: path.to_owned(), text: text.to_owned() };
    match Playbook::read(&file) {
        Ok(playbook) => panic!("{} is read: {text}", playbook.id()),
        Err(errors) => errors.iter().map(|e| format!("{}: {}", e.line, e.reason)).collect(),
    }
}

/// The good playbook with `from` replaced by `to` is refused for exactly this.
#[track_caller]
fn refused(from: &str, to: &str, wanted: &str) {
    assert_eq!(GOOD.matches(from).count(), 1, "{from:?} is in the good one exactly once");
    let got = refusals("playbooks/good.yml", &GOOD.replace(from, to));
    assert_eq!(got, [wanted], "{to}");
}

#[test]
fn the_good_one_is_good() {
    let playbooks = playbooks(&[GOOD]);
    let summary = playbooks.get("a").unwrap().summary();
    assert_eq!(
        (summary.name.as_str(), summary.version.as_str(), summary.condition.as_str()),
        ("Good", "1.0", "brute_force_detected")
    );
    assert_eq!(summary.context_requirements, ["source_ip", "title"]);
    assert_eq!(summary.actions[1].depends_on, ["slow"]);
    assert_eq!((summary.actions[1].lease_s, summary.actions[1].risk.as_str()), (Some(86_400), "medium"));
}

#[test]
fn unknown_and_missing_keys() {
    refused("description: ", "descripton: ", "3: the file has no key `descripton`; did you mean `description`?");
    refused(
        "name: Good",
        "title: Good\nname: x",
        "1: the file has no key `title`; it is one of name, version, description, trigger, context_requirements, actions, rollback",
    );
    refused("name: Good\n", "", "1: `name` is missing");
    refused("version: \"1.0\"", "version: 1.0", "2: `version` is the number 1, and should be a text: put it in quotes");
    refused("name: Good", "name: ''", "1: `name` is empty");
    refused("name: Good", "name: [a]", "1: `name` is a list, and should be a text");
    refused("name: Good", "name:", "1: `name` is empty, and should be a text");
    refused("name: Good", &format!("name: {}", "x".repeat(2_049)), "1: `name` has 2049 bytes; at most 2048 are kept");
    refused("  condition: brute_force_detected\n", "", "5: `trigger.condition` is missing");
    refused(
        "severity_threshold",
        "severity",
        "6: `trigger` has no key `severity`; it is one of condition, severity_threshold, confidence_threshold",
    );
    refused(
        "    timeout: 10s",
        "    time_out: 10s",
        "15: `actions.slow` has no key `time_out`; did you mean `timeout`?",
    );
    refused("  enabled: true", "  enable: true", "27: `rollback` has no key `enable`; did you mean `enabled`?");
    refused("  enabled: true", "  enabled: 1", "27: `rollback.enabled` is the number 1, and should be true or false");
    refused(
        "  conditions: [false_positive_confirmed, manual_override]",
        "  conditions: [false_positive]",
        "28: `rollback.conditions` can not name `false_positive`; it is one of false_positive_confirmed, manual_override",
    );
    refused(
        "rollback:\n  enabled: true\n  conditions: [false_positive_confirmed, manual_override]\n",
        "rollback: yes\n",
        "26: `rollback` is the text `yes`, and should be keys and values, as in `enabled: …`",
    );
}

#[test]
fn thresholds_and_context() {
    refused(
        "threshold: medium",
        "threshold: severe",
        "6: `trigger.severity_threshold` can not be `severe`; it is one of info, low, medium, high, critical",
    );
    refused(
        "threshold: medium",
        "threshold: hgih",
        "6: `trigger.severity_threshold` can not be `hgih`; did you mean `high`?",
    );
    let number = "and should be a number from 0 to 1, as in 0.75";
    refused("0.75", "1.5", &format!("7: `trigger.confidence_threshold` is the number 1.5, {number}"));
    refused("0.75", "75", &format!("7: `trigger.confidence_threshold` is the number 75, {number}"));
    refused("0.75", "75%", &format!("7: `trigger.confidence_threshold` is the text `75%`, {number}"));
    refused(
        "[source_ip, title]",
        "[source_ip, title, adress]",
        "8: `context_requirements`: `adress` is nothing that a threat tells; it is one of source_ip, target_asset, target_host, user, threat_id, title, severity, confidence, classes, techniques, tactics, stage, detections, first_seen, last_seen",
    );
    refused("[source_ip, title]", "[source_ip, source_ip]", "8: `context_requirements` names `source_ip` twice");
    refused(
        "[source_ip, title]",
        "source_ip",
        "8: `context_requirements` is the text `source_ip`, and should be a list, as in `[a, b]`",
    );
    refused(
        "Block ${source_ip}?",
        "Block ${user}?",
        "21: `actions.block.hotl_prompt` uses `${user}`, which `context_requirements` does not name",
    );
    refused(
        "Block ${source_ip}?",
        "Block ${sourceip}?",
        "21: `actions.block.hotl_prompt`: `sourceip` is nothing that a threat tells; did you mean `source_ip`?",
    );
    refused(
        "Block ${source_ip}?",
        "Block ${source_ip?",
        "21: `actions.block.hotl_prompt`: `${source_ip?` is not closed by `}`",
    );
}

#[test]
fn actions_and_what_they_depend_on() {
    refused("id: block", "id: slow", "18: two actions have the id `slow`");
    refused(
        "id: block",
        "id: Block It",
        "18: `actions.2.id` is `Block It`; it should be lower-case letters, digits, `-`, `_`",
    );
    refused("  - id: block\n    type", "  - type", "18: `actions.2.id` is missing");
    refused(
        "depends_on: [slow]",
        "depends_on: [slaw]",
        "24: `actions.block.depends_on`: there is no action `slaw`; did you mean `slow`?",
    );
    refused("depends_on: [slow]", "depends_on: [block]", "24: `actions.block.depends_on`: the action waits for itself");
    refused(
        "    retries: 2",
        "    depends_on: [block]",
        "10: `depends_on` goes in a circle: `slow` waits for `block` waits for `slow`",
    );
    refused(
        "    retries: 2",
        "    retries: 9",
        "16: `actions.slow.retries` is the number 9, and should be a number from 0 to 5",
    );
    refused(
        "    timeout: 10s",
        "    timeout: 10",
        "15: `actions.slow.timeout` is the number 10, and should be a text: put it in quotes",
    );
    refused(
        "    timeout: 10s",
        "    timeout: soon",
        "15: `actions.slow.timeout` is `soon`, and should be a duration such as 90s, 5m, 1h or 7d",
    );
    refused(
        "    timeout: 10s",
        "    timeout: 1h",
        "15: `actions.slow.timeout` is 3600 s, and should lie between 1 s and 600 s",
    );
    refused(
        "on_failure: stop",
        "on_failure: ignore",
        "17: `actions.slow.on_failure` can not be `ignore`; it is one of stop, continue, rollback",
    );
    refused(
        "[rule_applied]",
        "[rule_aplied]",
        "14: `actions.slow.success_criteria`: `rule_aplied` can not be observed of firewall_rule; did you mean `rule_applied`?",
    );
    let action = "name: A\nversion: '1'\ntrigger: {condition: a}\nactions";
    for (rest, wanted) in [
        ("", "1: `actions` is missing"),
        (": []", "4: `actions` has 0 entries; it should have 1 to 32"),
        (": {a: b}", "4: `actions` is keys and values, and should be a list of actions"),
        (": [1]", "4: `actions.1` is the number 1, and should be keys and values, as in `id: …`"),
    ] {
        let text = if rest.is_empty() { action.replace("\nactions", "\n") } else { format!("{action}{rest}\n") };
        assert_eq!(refusals("a.yml", &text), [wanted], "{rest}");
    }
    let many = format!("{action}: [{}]\n", "1, ".repeat(33));
    assert_eq!(refusals("a.yml", &many), ["4: `actions` has 33 entries; it should have 1 to 32"]);
    let long = format!("[{}]", "slow, ".repeat(33));
    refused(
        "depends_on: [slow]",
        &format!("depends_on: {long}"),
        "24: `actions.block.depends_on` has 33 entries; at most 32 are read",
    );
    let off = GOOD.replace("enabled: true", "enabled: false").replace("on_failure: stop", "on_failure: rollback");
    assert_eq!(
        refusals("a.yml", &off),
        ["17: `actions.slow.on_failure` is `rollback`, and `rollback.enabled` is false"]
    );
}

#[test]
fn questions() {
    refused(
        "    hotl_prompt: \"Block ${source_ip}?\"\n",
        "",
        "18: `actions.block.hotl_prompt` is missing: `hotl_required` is true, so a person must be asked something",
    );
    refused(
        "hotl_required: false",
        "hotl_prompt: hm",
        "12: `actions.slow.hotl_prompt` is never used, for `hotl_required` is not true",
    );
    refused(
        "hotl_required: false",
        "on_timeout: deny",
        "12: `actions.slow.on_timeout` is never used, for `hotl_required` is not true",
    );
    refused(
        "hotl_required: false",
        "hotl_required: no",
        "12: `actions.slow.hotl_required` is the text `no`, and should be true or false",
    );
    refused(
        "on_timeout: deny",
        "on_timeout: approve",
        "22: `actions.block.on_timeout` can not be `approve`; it is one of deny, escalate, execute",
    );
    refused(
        "approval_timeout: 5m",
        "approval_timeout: 5s",
        "23: `actions.block.approval_timeout` is 5 s, and should lie between 10 s and 86400 s",
    );
}

#[test]
fn parameters() {
    let slow = "`actions.slow.parameters";
    refused(
        "    parameters: { rule_type: block, source_ip: \"${source_ip}\", duration: 24h }\n",
        "",
        "18: `actions.block.parameters` is missing",
    );
    refused("limit: \"5/minute\", ", "", &format!("13: {slow}.limit` is missing: `rule_type` is `rate_limit`"));
    refused(
        "rule_type: block, ",
        "rule_type: block, limit: 5/minute, ",
        "25: `actions.block.parameters.limit` means nothing unless `rule_type` is `block`"
            .replace("`block`", "`rate_limit`")
            .as_str(),
    );
    refused(
        "5/minute",
        "5 a minute",
        &format!(
            "13: {slow}.limit` is `5 a minute`, and should be a rate such as 5/minute: a number, a slash, and second, minute, hour or day"
        ),
    );
    refused(", duration: 24h", "", "25: `actions.block.parameters.duration` is missing");
    refused(
        "duration: 24h",
        "duration: 8d",
        "25: `actions.block.parameters.duration` is 691200 s, and should lie between 10 s and 604800 s",
    );
    refused(
        "duration: 24h",
        "duration: 24 hours",
        "25: `actions.block.parameters.duration` is `24 hours`, and should be a duration such as 90s, 5m, 1h or 7d",
    );
    refused(
        "duration: 24h",
        "duraton: 24h, duration: 1h",
        "25: `actions.block.parameters` has no key `duraton`; did you mean `duration`?",
    );
    refused(
        "rule_type: block",
        "rule_type: blok",
        "25: `actions.block.parameters.rule_type` can not be `blok`; did you mean `block`?",
    );
    let block = "25: `actions.block.parameters.source_ip`";
    for (value, wanted) in [
        ("10.0.0.0/8", " is `10.0.0.0/8`, and should be one address: no action touches a whole range"),
        ("0.0.0.0/0", " is `0.0.0.0/0`, and should be one address: no action touches a whole range"),
        ("10.0.0.1-10.0.0.9", " is `10.0.0.1-10.0.0.9`, and should be one address such as 203.0.113.9"),
        ("127.0.0.1", " is `127.0.0.1`, and should be one address: it is never touched, for it is this host itself"),
        ("${title}", " is one address, and `${title}` is none"),
        ("${source_ip}/24", " is one address: one `${…}`, and nothing beside it"),
        ("", " is empty"),
    ] {
        refused(
            "block, source_ip: \"${source_ip}\"",
            &format!("block, source_ip: \"{value}\""),
            &format!("{block}{wanted}"),
        );
    }
    refused(
        "block, source_ip: \"${source_ip}\"",
        "block, port: 22",
        "25: `actions.block.parameters` must name `source_ip` or `destination_ip`",
    );
    refused(
        "rule_type: block,",
        "rule_type: block, port: ssh,",
        "25: `actions.block.parameters.port` is the text `ssh`, and should be a number from 1 to 65535",
    );
    refused(
        "rule_type: block,",
        "rule_type: block, port: 0,",
        "25: `actions.block.parameters.port` is the number 0, and should be a number from 1 to 65535",
    );
}

/// One action of a type, with these parameters and these keys beside.
fn one(action_type: &str, parameters: &str, beside: &str) -> String {
    format!(
        "name: One\nversion: '1'\ntrigger: {{condition: a}}\ncontext_requirements: [source_ip, target_host, user, title]\n\
         actions:\n  - id: it\n    type: {action_type}\n    parameters: {{{parameters}}}\n{beside}"
    )
}

#[test]
fn every_type_of_action_checks_its_own() {
    const ASK: &str = "    hotl_required: true\n    hotl_prompt: Sure?\n";
    const GRAVE: &str = "    hotl_required: true\n    hotl_prompt: Sure?\n    irreversible: true\n";
    for (action_type, parameters, beside) in [
        ("honeypot_deployment", "honeypot_type: ssh, target_ip: '${source_ip}', duration: 24h", ""),
        ("zone_isolation", "target_host: '${target_host}', zone: dmz-1, duration: 1h", ASK),
        ("traffic_shaping", "target_ip: 2001:db8::1, limit: 256kbit, direction: both, duration: 1h", ""),
        ("traffic_capture", "target_ip: 203.0.113.9, max_size: 1GB, duration: 1h", ""),
        ("kill_process", "target_host: web1, process: '/tmp/x', pid: 4711", GRAVE),
        ("quarantine", "target_host: web1, file_path: '/tmp/x', duration: 7d", ""),
        ("quarantine", "target_host: web1, file_path: 'C:\\Users\\ana\\x.exe', duration: 7d", ""),
        ("revoke_credentials", "user: '${user}', duration: 1h", ASK),
        ("revoke_credentials", "user: 'CORP\\ana', target_host: web1, duration: 1h", ASK),
        ("session_termination", "user: '${user}'", GRAVE),
        ("collect_forensics", "target_host: '${target_host}', artifacts: [memory, logs]", ""),
        ("notification", "channel: email, to: soc, message: 'about ${title}'", ""),
        (
            "http_request",
            "url: 'https://soar.example.org:8443/case/${title}?x', undo_url: 'https://soar.example.org/undo'",
            "",
        ),
        ("http_request", "url: 'http://[::1]:80', method: POST, body: '${title}'", GRAVE),
        ("remote_command", "target_host: web1, command: stop-web", GRAVE),
        ("remote_command", "target_host: web1, command: stop-web, undo_command: start-web, duration: 1h", ASK),
    ] {
        let text = one(action_type, parameters, beside);
        playbooks(&[&text]);
    }
    let it = "`actions.it";
    for (action_type, parameters, beside, wanted) in [
        ("firewal_rule", "a: b", "", format!("7: {it}.type` can not be `firewal_rule`; did you mean `firewall_rule`?")),
        (
            "nuke",
            "a: b",
            "",
            format!(
                "7: {it}.type` can not be `nuke`; it is one of firewall_rule, honeypot_deployment, zone_isolation, traffic_shaping, traffic_capture, kill_process, quarantine, revoke_credentials, session_termination, collect_forensics, notification, http_request, remote_command"
            ),
        ),
        (
            "honeypot_deployment",
            "honeypot_type: telnet, target_ip: '${source_ip}', duration: 24h",
            "",
            format!("8: {it}.parameters.honeypot_type` can not be `telnet`; it is one of ssh, http"),
        ),
        (
            "honeypot_deployment",
            "honeypot_type: ssh, target_ip: '${target_host}', duration: 24h",
            "",
            format!("8: {it}.parameters.target_ip` is one address, and `${{target_host}}` is none"),
        ),
        ("zone_isolation", "duration: 1h", ASK, format!("8: {it}.parameters` must name `target_host` or `target_ip`")),
        (
            "zone_isolation",
            "target_host: 'a;b', duration: 1h",
            ASK,
            format!(
                "8: {it}.parameters.target_host` is `a;b`, and should be a host name of letters, digits, `.`, `-` and `_`"
            ),
        ),
        (
            "zone_isolation",
            "target_host: '-a', duration: 1h",
            ASK,
            format!(
                "8: {it}.parameters.target_host` is `-a`, and should be a host name of letters, digits, `.`, `-` and `_`"
            ),
        ),
        (
            "zone_isolation",
            "target_host: a, zone: '${title}', duration: 1h",
            ASK,
            format!(
                "8: {it}.parameters.zone` is `${{title}}`, and should be a name of lower-case letters, digits, `-` and `_`"
            ),
        ),
        (
            "traffic_shaping",
            "target_ip: '${source_ip}', limit: fast, duration: 1h",
            "",
            format!("8: {it}.parameters.limit` is `fast`, and should be a speed such as 256kbit, 10mbit or 1gbit"),
        ),
        (
            "traffic_capture",
            "target_ip: '${source_ip}', max_size: big, duration: 1h",
            "",
            format!("8: {it}.parameters.max_size` is `big`, and should be a size such as 500kB, 100MB or 1GB"),
        ),
        (
            "kill_process",
            "target_host: web1, pid: 1",
            GRAVE,
            format!("8: {it}.parameters.pid` is the number 1, and should be a number from 2 to 4194304"),
        ),
        (
            "quarantine",
            "target_host: web1, file_path: '/tmp/../etc/x', duration: 7d",
            "",
            format!(
                "8: {it}.parameters.file_path` is `/tmp/../etc/x`, and should be the whole path of one file, without `..` and `*`"
            ),
        ),
        (
            "revoke_credentials",
            "user: '`id`', duration: 1h",
            ASK,
            format!(
                "8: {it}.parameters.user` is ``id``, and should be an account name without control and shell characters"
            ),
        ),
        (
            "collect_forensics",
            "target_host: web1, artifacts: [memry]",
            "",
            format!("8: {it}.parameters.artifacts` can not name `memry`; did you mean `memory`?"),
        ),
        (
            "http_request",
            "url: 'ftp://x/', undo_url: 'https://x/'",
            "",
            format!("8: {it}.parameters.url` should begin with `https://` or `http://` and a host"),
        ),
        (
            "http_request",
            "url: 'https://${title}/', undo_url: 'https://x/'",
            "",
            format!("8: {it}.parameters.url` must write its host out, without `${{…}}`, user or password"),
        ),
        (
            "http_request",
            "url: 'https://ana:secret@x/', undo_url: 'https://x/'",
            "",
            format!("8: {it}.parameters.url` must write its host out, without `${{…}}`, user or password"),
        ),
        (
            "http_request",
            "url: 'https://x.${title}', undo_url: 'https://x/'",
            "",
            format!("8: {it}.parameters.url` must write its host out, without `${{…}}`, user or password"),
        ),
        (
            "http_request",
            "url: 'https://x/a b', undo_url: 'https://x/'",
            "",
            format!("8: {it}.parameters.url` has a blank or a control character in it"),
        ),
        (
            "remote_command",
            "target_host: web1, command: stop-web, undo_command: start-web",
            ASK,
            format!(
                "8: {it}.parameters.duration` is missing: with `undo_command` it is a change that lasts, and needs its end"
            ),
        ),
        (
            "remote_command",
            "target_host: web1, command: stop-web, duration: 1h",
            GRAVE,
            format!("8: {it}.parameters.duration` means nothing without `undo_command`"),
        ),
        (
            "remote_command",
            "target_host: web1, command: 'rm -rf /'",
            GRAVE,
            format!(
                "8: {it}.parameters.command` is `rm -rf /`, and should be a name of lower-case letters, digits, `-` and `_`"
            ),
        ),
        ("notification", "[channel]", "", "8: did not find expected ',' or '}'".to_owned()),
    ] {
        let got = refusals("one.yml", &one(action_type, parameters, beside));
        if parameters.starts_with('[') {
            assert!(got[0].starts_with("8: "), "{got:?}");
        } else {
            assert_eq!(got, [wanted], "{parameters}");
        }
    }
}

#[test]
fn what_can_not_be_undone_needs_a_person_and_says_so() {
    let kill = "target_host: web1, pid: 4711";
    let ask = "    hotl_required: true\n    hotl_prompt: Sure?\n";
    let never = "nothing undoes kill_process as it is given here";
    for (beside, wanted) in [
        (
            "",
            vec![
                format!("7: `actions.it.irreversible` must be true: {never}"),
                format!("6: `actions.it.hotl_required` must be true: {never}"),
            ],
        ),
        ("    irreversible: true\n", vec![format!("6: `actions.it.hotl_required` must be true: {never}")]),
        (ask, vec![format!("7: `actions.it.irreversible` must be true: {never}")]),
    ] {
        let mut got = refusals("one.yml", &one("kill_process", kill, beside));
        got.sort_by_key(|line| std::cmp::Reverse(line.as_bytes()[0]));
        assert_eq!(got, wanted);
    }
    let silent = format!("{ask}    irreversible: true\n    on_timeout: execute\n");
    assert_eq!(
        refusals("one.yml", &one("kill_process", kill, &silent)),
        ["12: `actions.it.on_timeout` can not be `execute`: what can not be undone is never done without a person"]
    );
    refused(
        "    on_timeout: deny",
        "    irreversible: true",
        "22: `actions.block.irreversible` is true, but firewall_rule can be undone",
    );
}

#[test]
fn conditions() {
    for (condition, wanted) in [
        (
            "brute_force_detcted",
            "column 1: there is no class `brute_force_detcted`; did you mean `brute_force_detected`?",
        ),
        ("a and", "column 6: a class, a comparison, `not` or `(` is expected, not the end"),
        ("a adn b", "column 3: `and`, `or` or the end is expected, not `adn`; did you mean `and`?"),
        ("a b", "column 3: `and`, `or` or the end is expected, not `b`"),
        ("(a or b", "column 1: this parenthesis is not closed"),
        ("a)", "column 2: `and`, `or` or the end is expected, not `)`"),
        ("or a", "column 1: a class, a comparison, `not` or `(` is expected, not `or`"),
        ("A_Class", "column 1: a class, a comparison, `not` or `(` is expected, not `A_Class`"),
        ("severity", "column 1: `severity` is to be compared, as in `severity >= high`"),
        ("severity = high", "column 1: `severity` is compared with `==`, not `=`"),
        ("severity >=", "column 12: `severity >=` is compared with nothing"),
        ("severty >= high", "column 1: a threat has no field `severty`; did you mean `severity`?"),
        ("severity >= hihg", "column 13: `hihg` is no severity; did you mean `high`?"),
        ("confidence > 80", "column 14: `80` is no confidence; it is a number from 0 to 1"),
        ("confidence > 80%", "column 16: `%` means nothing here; a confidence is a number from 0 to 1"),
        ("detections >= many", "column 15: `many` is no number of detections"),
        ("technique == T11", "column 14: `T11` is no technique such as T1110 or T1110.001"),
        ("technique > T1110", "column 11: `technique` is compared with == or != only"),
        (
            "tactic == lateral",
            "column 11: `lateral` is no ATT&CK tactic; it is one of reconnaissance, resource-development, initial-access, execution, persistence, privilege-escalation, defense-evasion, credential-access, discovery, lateral-movement, collection, command-and-control, exfiltration, impact",
        ),
        (
            "stage >= lateral-movment",
            "column 10: `lateral-movment` is no ATT&CK tactic; did you mean `lateral-movement`?",
        ),
        ("entity_kind == hots", "column 16: `hots` is no kind of entity; did you mean `host`?"),
        ("class == Bad", "column 10: a class, a comparison, `not` or `(` is expected, not `Bad`"),
        ("a && b", "column 3: `&` means nothing here; write `and`"),
        ("a || b", "column 3: `|` means nothing here; write `or`"),
        ("class == 'a'", "column 10: `'` means nothing here; words stand without quotes"),
        ("a ; b", "column 3: `;` means nothing here"),
    ] {
        let text = GOOD.replace("condition: brute_force_detected", &format!("condition: \"{condition}\""));
        assert_eq!(refusals("a.yml", &text), [format!("5: `trigger.condition`: {wanted}")], "{condition}");
    }
    let deep = format!("{}a{}", "(".repeat(17), ")".repeat(17));
    let text = GOOD.replace("condition: brute_force_detected", &format!("condition: \"{deep}\""));
    assert_eq!(refusals("a.yml", &text), ["5: `trigger.condition`: column 17: is nested more than 16 deep"]);
    let long = GOOD.replace("condition: brute_force_detected", &format!("condition: {}", "a or ".repeat(250) + "b"));
    assert_eq!(refusals("a.yml", &long), ["5: `trigger.condition`: has 1251 bytes; at most 1024 are read"]);
    let lines = GOOD.replace("condition: brute_force_detected", "condition: |\n    a and\n      severity > bad");
    assert_eq!(
        refusals("a.yml", &lines),
        [
            "6: `trigger.condition`: line 2, column 14 of it: `bad` is no severity; it is one of info, low, medium, high, critical"
        ]
    );
}

#[test]
fn files() {
    let named = |name: &str| refusals(name, GOOD).join("\n");
    assert!(named("playbooks/Good.yml").starts_with("0: the file is named `Good.yml`; a playbook is named by"));
    assert!(named("playbooks/good.json").starts_with("0: the file is named `good.json`"));
    let not_yaml = "is no YAML that is read here: ";
    for (text, wanted) in [
        ("", "1: the file is empty, and should be keys and values, as in `name: …`".to_owned()),
        ("name: [", format!("1: {not_yaml}unclosed bracket '['")),
        ("name: a\nname: b", format!("2: {not_yaml}the key `name` stands twice")),
        ("name: &a b\nversion: *a", format!("2: {not_yaml}write the value out, in place of an alias")),
        ("name: a\n---\nname: b", format!("3: {not_yaml}one file is one playbook")),
        ("a: 99999999999999999999999", "1: the file has no key `a`; ".to_owned()),
    ] {
        let got = refusals("a.yml", text);
        assert!(got[0].starts_with(&wanted), "{text}: {got:?}");
    }
    for deep in ["[".repeat(40_000), "- ".repeat(30_000), "{a: ".repeat(10_000)] {
        assert!(refusals("a.yml", &deep)[0].contains(not_yaml));
    }
    let large = format!("{GOOD}# {}\n", "x".repeat(limits::PLAYBOOK_BYTES_MAX));
    assert_eq!(refusals("a.yml", &large), [format!("0: has {} bytes; at most 65536 are read", large.len())]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_the_others_stand() {
    let file = |path: &str, text: &str| ContentFile { path: path.to_owned(), text: text.to_owned() };
    let bad = GOOD.replace("medium", "middle").replace("deny", "no").replace("5/minute", "5");
    let files = [
        file("playbooks/good.yml", GOOD),
        file("playbooks/bad.yml", &bad),
        file("playbooks/cases/good.yml", "- anything"),
        file("playbooks/more/good.yaml", GOOD),
    ];
    let mut refused = Vec::new();
    let playbooks = Playbooks::compile(&files.iter().collect::<Vec<_>>(), &mut refused);
    assert_eq!(playbooks.iter().map(Playbook::id).collect::<Vec<_>>(), ["good"]);
    let told: Vec<_> = refused.iter().map(|e| format!("{}:{}", e.path, e.line)).collect();
    assert_eq!(
        told,
        ["playbooks/bad.yml:6", "playbooks/bad.yml:13", "playbooks/bad.yml:22", "playbooks/more/good.yaml:0"]
    );
    assert!(refused[3].reason.contains("another file already is the playbook `good`"));

    let many: Vec<_> = (0..=limits::PLAYBOOKS_MAX).map(|i| file(&format!("playbooks/p{i}.yml"), GOOD)).collect();
    refused.clear();
    let playbooks = Playbooks::compile(&many.iter().collect::<Vec<_>>(), &mut refused);
    assert_eq!((playbooks.iter().count(), refused.len()), (limits::PLAYBOOKS_MAX, 1));
    let keys: String = (0..100).map(|i| format!("key{i}: 1\n")).collect();
    assert_eq!(refusals("a.yml", &keys).len(), limits::PLAYBOOK_ERRORS_MAX);
}
