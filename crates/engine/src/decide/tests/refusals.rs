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

/// What is wrong with a file, a line each.
pub(super) fn refusals(path: &str, text: &str) -> Vec<String> {
    let file = ContentFile { path: path.to_owned(), text: text.to_owned() };
    match Playbook::read(&file) {
        Ok(playbook) => panic!("{} is read: {text}", playbook.id()),
        Err(errors) => errors.iter().map(|e| format!("{}: {}", e.line, e.reason)).collect(),
    }
}

/// Pairs of lines: `FROM ==> TO`, and the one reason for which the good playbook is refused then. `\\n` is a new line.
#[track_caller]
fn refused(table: &str) {
    let lines: Vec<&str> = table.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    for pair in lines.chunks(2) {
        let (from, to) = pair[0].split_once("==>").expect("FROM ==> TO");
        let (from, to) = (from.trim().replace("\\n", "\n"), to.trim().replace("\\n", "\n"));
        assert_eq!(GOOD.matches(&from).count(), 1, "{from:?} is in the good one exactly once");
        assert_eq!(refusals("playbooks/good.yml", &GOOD.replace(&from, &to)), [pair[1]], "{to}");
    }
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
    refused(
        r#"
        description: ==> descripton:
        3: the file has no key `descripton`; did you mean `description`?
        name: Good ==> title: Good\nname: x
        1: the file has no key `title`; it is one of name, version, description, trigger, context_requirements, actions, rollback, cacao
        name: Good\n ==>
        1: `name` is missing
        version: "1.0" ==> version: 1.0
        2: `version` is the number 1, and should be a text: put it in quotes
        name: Good ==> name: ''
        1: `name` is empty
        name: Good ==> name: [a]
        1: `name` is a list, and should be a text
        name: Good ==> name:
        1: `name` is empty, and should be a text
        condition: brute_force_detected\n ==> \n
        6: `trigger.condition` is missing
        severity_threshold ==> severity
        6: `trigger` has no key `severity`; it is one of condition, severity_threshold, confidence_threshold
        timeout: 10s ==> time_out: 10s
        15: `actions.slow` has no key `time_out`; did you mean `timeout`?
        enabled: true ==> enable: true
        27: `rollback` has no key `enable`; did you mean `enabled`?
        enabled: true ==> enabled: 1
        27: `rollback.enabled` is the number 1, and should be true or false
        conditions: [false_positive_confirmed, manual_override] ==> conditions: [false_positive]
        28: `rollback.conditions` can not name `false_positive`; it is one of false_positive_confirmed, manual_override
        rollback:\n  enabled: true\n  conditions: [false_positive_confirmed, manual_override] ==> rollback: yes
        26: `rollback` is the text `yes`, and should be keys and values, as in `enabled: …`
        "#,
    );
    let long = GOOD.replace("name: Good", &format!("name: {}", "x".repeat(2_049)));
    assert_eq!(refusals("a.yml", &long), ["1: `name` has 2049 bytes; at most 2048 are kept"]);
}

#[test]
fn thresholds_and_context() {
    refused(
        r"
        threshold: medium ==> threshold: severe
        6: `trigger.severity_threshold` can not be `severe`; it is one of info, low, medium, high, critical
        threshold: medium ==> threshold: hgih
        6: `trigger.severity_threshold` can not be `hgih`; did you mean `high`?
        0.75 ==> 1.5
        7: `trigger.confidence_threshold` is the number 1.5, and should be a number from 0 to 1, as in 0.75
        0.75 ==> 75
        7: `trigger.confidence_threshold` is the number 75, and should be a number from 0 to 1, as in 0.75
        0.75 ==> 75%
        7: `trigger.confidence_threshold` is the text `75%`, and should be a number from 0 to 1, as in 0.75
        [source_ip, title] ==> [source_ip, title, adress]
        8: `context_requirements`: `adress` is nothing that a threat tells; it is one of source_ip, target_asset, target_host, user, threat_id, title, severity, confidence, classes, techniques, tactics, stage, detections, first_seen, last_seen
        [source_ip, title] ==> [source_ip, source_ip]
        8: `context_requirements` names `source_ip` twice
        [source_ip, title] ==> source_ip
        8: `context_requirements` is the text `source_ip`, and should be a list, as in `[a, b]`
        Block ${source_ip}? ==> Block ${user}?
        21: `actions.block.hotl_prompt` uses `${user}`, which `context_requirements` does not name
        Block ${source_ip}? ==> Block ${sourceip}?
        21: `actions.block.hotl_prompt`: `sourceip` is nothing that a threat tells; did you mean `source_ip`?
        Block ${source_ip}? ==> Block ${source_ip?
        21: `actions.block.hotl_prompt`: `${source_ip?` is not closed by `}`
        ",
    );
}

#[test]
fn actions_and_what_they_depend_on() {
    refused(
        r"
        id: block ==> id: slow
        18: two actions have the id `slow`
        id: block ==> id: Block It
        18: `actions.2.id` is `Block It`; it should be lower-case letters, digits, `-`, `_`
        - id: block\n    type ==> - type
        18: `actions.2.id` is missing
        depends_on: [slow] ==> depends_on: [slaw]
        24: `actions.block.depends_on`: there is no action `slaw`; did you mean `slow`?
        depends_on: [slow] ==> depends_on: [block]
        24: `actions.block.depends_on`: the action waits for itself
        retries: 2 ==> depends_on: [block]
        10: `depends_on` goes in a circle: `slow` waits for `block` waits for `slow`
        retries: 2 ==> retries: 9
        16: `actions.slow.retries` is the number 9, and should be a number from 0 to 5
        timeout: 10s ==> timeout: 10
        15: `actions.slow.timeout` is the number 10, and should be a text: put it in quotes
        timeout: 10s ==> timeout: soon
        15: `actions.slow.timeout` is `soon`, and should be a duration such as 90s, 5m, 1h or 7d
        timeout: 10s ==> timeout: 1h
        15: `actions.slow.timeout` is 3600 s, and should lie between 1 s and 600 s
        on_failure: stop ==> on_failure: ignore
        17: `actions.slow.on_failure` can not be `ignore`; it is one of stop, continue, rollback
        [rule_applied] ==> [rule_aplied]
        14: `actions.slow.success_criteria`: `rule_aplied` can not be observed of firewall_rule; did you mean `rule_applied`?
        ",
    );
    let off = GOOD.replace("enabled: true", "enabled: false").replace("on_failure: stop", "on_failure: rollback");
    assert_eq!(
        refusals("a.yml", &off),
        ["17: `actions.slow.on_failure` is `rollback`, and `rollback.enabled` is false"]
    );
}

#[test]
fn actions_are_a_list_of_bounded_length() {
    let beginning = "name: A\nversion: '1'\ntrigger: {condition: a}\n";
    let many = format!("actions: [{}]", "1, ".repeat(33));
    for (rest, wanted) in [
        ("", "1: `actions` is missing"),
        ("actions: []", "4: `actions` has 0 entries; it should have 1 to 32"),
        (&many, "4: `actions` has 33 entries; it should have 1 to 32"),
        ("actions: {a: b}", "4: `actions` is keys and values, and should be a list of actions"),
        ("actions: [1]", "4: `actions.1` is the number 1, and should be keys and values, as in `id: …`"),
    ] {
        assert_eq!(refusals("a.yml", &format!("{beginning}{rest}\n")), [wanted], "{rest}");
    }
    let names = GOOD.replace("[slow]", &format!("[{}]", "slow, ".repeat(33)));
    assert_eq!(refusals("a.yml", &names), ["24: `actions.block.depends_on` has 33 entries; at most 32 are read"]);
}

#[test]
fn questions() {
    refused(
        r#"
        hotl_prompt: "Block ${source_ip}?"\n ==> \n
        18: `actions.block.hotl_prompt` is missing: `hotl_required` is true, so a person must be asked something
        hotl_required: false ==> hotl_prompt: hm
        12: `actions.slow.hotl_prompt` is never used, for `hotl_required` is not true
        hotl_required: false ==> on_timeout: deny
        12: `actions.slow.on_timeout` is never used, for `hotl_required` is not true
        hotl_required: false ==> hotl_required: no
        12: `actions.slow.hotl_required` is the text `no`, and should be true or false
        on_timeout: deny ==> on_timeout: approve
        22: `actions.block.on_timeout` can not be `approve`; it is one of deny, escalate, execute
        approval_timeout: 5m ==> approval_timeout: 5s
        23: `actions.block.approval_timeout` is 5 s, and should lie between 10 s and 86400 s
        on_timeout: deny ==> irreversible: true
        22: `actions.block.irreversible` is true, but firewall_rule can be undone
        "#,
    );
}

#[test]
fn parameters() {
    refused(
        r#"
        parameters: { rule_type: block, source_ip: "${source_ip}", duration: 24h }\n ==> \n
        18: `actions.block.parameters` is missing
        limit: "5/minute", duration ==> duration
        13: `actions.slow.parameters.limit` is missing: `rule_type` is `rate_limit`
        rule_type: block, ==> rule_type: block, limit: 5/minute,
        25: `actions.block.parameters.limit` means nothing unless `rule_type` is `rate_limit`
        5/minute ==> 5 a minute
        13: `actions.slow.parameters.limit` is `5 a minute`, and should be a rate such as 5/minute: a number, a slash, and second, minute, hour or day
        , duration: 24h ==>
        25: `actions.block.parameters.duration` is missing
        duration: 24h ==> duration: 8d
        25: `actions.block.parameters.duration` is 691200 s, and should lie between 10 s and 604800 s
        duration: 24h ==> duration: 24 hours
        25: `actions.block.parameters.duration` is `24 hours`, and should be a duration such as 90s, 5m, 1h or 7d
        duration: 24h ==> duraton: 24h, duration: 1h
        25: `actions.block.parameters` has no key `duraton`; did you mean `duration`?
        rule_type: block ==> rule_type: blok
        25: `actions.block.parameters.rule_type` can not be `blok`; did you mean `block`?
        block, source_ip: "${source_ip}" ==> block, port: 22
        25: `actions.block.parameters` must name `source_ip` or `destination_ip`
        rule_type: block, ==> rule_type: block, port: ssh,
        25: `actions.block.parameters.port` is the text `ssh`, and should be a number from 1 to 65535
        rule_type: block, ==> rule_type: block, port: 0,
        25: `actions.block.parameters.port` is the number 0, and should be a number from 1 to 65535
        "#,
    );
}

#[test]
fn no_action_is_told_of_a_range_or_of_anything_but_one_address() {
    refused(
        r#"
        block, source_ip: "${source_ip}" ==> block, source_ip: 10.0.0.0/8
        25: `actions.block.parameters.source_ip` is `10.0.0.0/8`, and should be one address: no action touches a whole range
        block, source_ip: "${source_ip}" ==> block, source_ip: 0.0.0.0/0
        25: `actions.block.parameters.source_ip` is `0.0.0.0/0`, and should be one address: no action touches a whole range
        block, source_ip: "${source_ip}" ==> block, source_ip: 10.0.0.1-10.0.0.9
        25: `actions.block.parameters.source_ip` is `10.0.0.1-10.0.0.9`, and should be one address such as 203.0.113.9
        block, source_ip: "${source_ip}" ==> block, source_ip: 127.0.0.1
        25: `actions.block.parameters.source_ip` is `127.0.0.1`, and should be one address: it is never touched, for it is this host itself
        block, source_ip: "${source_ip}" ==> block, source_ip: "${title}"
        25: `actions.block.parameters.source_ip` is one address, and `${title}` is none
        block, source_ip: "${source_ip}" ==> block, source_ip: "${source_ip}/24"
        25: `actions.block.parameters.source_ip` is one address: one `${…}`, and nothing beside it
        block, source_ip: "${source_ip}" ==> block, source_ip: ""
        25: `actions.block.parameters.source_ip` is empty
        "#,
    );
}

#[test]
fn conditions() {
    let table = "
        brute_force_detcted
        column 1: there is no class `brute_force_detcted`; did you mean `brute_force_detected`?
        a and
        column 6: a class, a comparison, `not` or `(` is expected, not the end
        a adn b
        column 3: `and`, `or` or the end is expected, not `adn`; did you mean `and`?
        a b
        column 3: `and`, `or` or the end is expected, not `b`
        (a or b
        column 1: this parenthesis is not closed
        a)
        column 2: `and`, `or` or the end is expected, not `)`
        or a
        column 1: a class, a comparison, `not` or `(` is expected, not `or`
        A_Class
        column 1: a class, a comparison, `not` or `(` is expected, not `A_Class`
        severity
        column 1: `severity` is to be compared, as in `severity >= high`
        severity = high
        column 1: `severity` is compared with `==`, not `=`
        severity >=
        column 12: `severity >=` is compared with nothing
        severty >= high
        column 1: a threat has no field `severty`; did you mean `severity`?
        severity >= hihg
        column 13: `hihg` is no severity; did you mean `high`?
        confidence > 80
        column 14: `80` is no confidence; it is a number from 0 to 1
        confidence > 80%
        column 16: `%` means nothing here; a confidence is a number from 0 to 1
        detections >= many
        column 15: `many` is no number of detections
        technique == T11
        column 14: `T11` is no technique such as T1110 or T1110.001
        technique > T1110
        column 11: `technique` is compared with == or != only
        tactic == lateral
        column 11: `lateral` is no ATT&CK tactic; it is one of reconnaissance, resource-development, initial-access, execution, persistence, privilege-escalation, defense-evasion, credential-access, discovery, lateral-movement, collection, command-and-control, exfiltration, impact
        stage >= lateral-movment
        column 10: `lateral-movment` is no ATT&CK tactic; did you mean `lateral-movement`?
        entity_kind == hots
        column 16: `hots` is no kind of entity; did you mean `host`?
        class == Bad
        column 10: a class, a comparison, `not` or `(` is expected, not `Bad`
        a && b
        column 3: `&` means nothing here; write `and`
        a || b
        column 3: `|` means nothing here; write `or`
        class == 'a'
        column 10: `'` means nothing here; words stand without quotes
        a ; b
        column 3: `;` means nothing here
        ";
    let lines: Vec<&str> = table.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    for pair in lines.chunks(2) {
        let text = GOOD.replace("condition: brute_force_detected", &format!("condition: \"{}\"", pair[0]));
        assert_eq!(refusals("a.yml", &text), [format!("5: `trigger.condition`: {}", pair[1])], "{}", pair[0]);
    }
}

#[test]
fn conditions_are_bounded() {
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
