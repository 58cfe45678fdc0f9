//! What a rule hardly means is told, with its place; what it may well mean is not.

use vertice_sigma::lint;

use crate::support::{files, shared};

/// A rule with nothing to warn of, and `more` lines from line 9 on.
fn warned(more: &str) -> Vec<String> {
    let rule = format!(
        "title: t\nid: 5e1f8a4e-6c1f-4a53-9a0c-0d4b9c7d1a11\nstatus: test\nlevel: low\ndescription: d\n\
         logsource: {{product: windows}}\ndetection:\n  condition: s\n{more}\n"
    );
    lint("t.yml", &rule).iter().map(ToString::to_string).collect()
}

const SELECTION: &str = "  s: {F: 1}";

fn one(more: &str, wanted: &str) {
    let warnings = warned(more);
    assert!(warnings.len() == 1 && warnings[0].starts_with(wanted), "{more}: {warnings:?}");
}

#[test]
fn a_rule_that_says_all_is_not_warned_of() {
    assert_eq!(warned(SELECTION), [""; 0]);
    let tags = "tags: [attack.t1059, attack.T1059.001, attack.defense-evasion, attack.credential_access, attack.impact,\
                attack.g0016, attack.s0002, cve.2021-44228, car.2013-05-009, detection.threat-hunting, tlp.amber]";
    assert_eq!(warned(&format!("{SELECTION}\n{tags}\ncustom: x\ndate: 2026-01-31")), [""; 0]);
    assert_eq!(warned("  s: {F|contains: ['*', 'a*b'], G|endswith: '\\*'}"), [""; 0]);
}

#[test]
fn what_is_missing_is_told_once_each() {
    let rule = "title: t\nlogsource: {category: dns}\ndetection: {s: {F: 1}, condition: s}\n";
    let told: Vec<String> = lint("t.yml", rule).iter().map(ToString::to_string).collect();
    let keys =
        told.iter().map(|w| w.strip_prefix("t.yml:1:1: `").and_then(|w| w.split('`').next()).unwrap_or_default());
    assert_eq!(keys.collect::<Vec<_>>(), ["description", "id", "level", "status"]);
    let filter = "title: t\nlogsource: {category: dns}\nfilter: {s: {F: 1}, condition: s}\n";
    assert_eq!(lint("t.yml", filter).len(), 1, "a filter has no level");
    assert_eq!(lint("t.yml", "title: ["), [], "what can not be read is refused elsewhere");
}

#[test]
fn each_warning_stands_where_its_cause_does() {
    one(
        &format!("{SELECTION}\ntags: [attack.t15]"),
        "t.yml:10:8: tag `attack.t15` names nothing of ATT&CK; a technique",
    );
    one(&format!("{SELECTION}\ntags:\n  - attack.exeuction"), "t.yml:11:5: tag `attack.exeuction` names nothing");
    one(&format!("{SELECTION}\ntags: [execution]"), "t.yml:10:8: tag `execution` has no namespace");
    one(&format!("{SELECTION}\ntags: [attac.t1059]"), "t.yml:10:8: tag `attac.t1059`: `attac` is no known");
    one(&format!("{SELECTION}\ndate: 2026/01/31"), "t.yml:10:7: `date`: `2026/01/31`; a date such as");
    one(&format!("{SELECTION}\nfalsepositve: [x]"), "t.yml:10:1: `falsepositve` is not read; `falsepositives`");
    one(&format!("{SELECTION}\nTags: [x]"), "t.yml:10:1: `Tags` is not read; `tags` is meant?");
    one(&format!("{SELECTION}\n  timeframe: 5m"), "t.yml:10:3: `timeframe` is not read");
    one("  s: {F: [a, b, a]}", "t.yml:9:17: `s`, field `F`: `a` stands twice");
    one("  s: {F|contains: '*a*'}", "t.yml:9:19: `s`, field `F|contains`: `contains` says what the `*`");
    one("  s:\n    - F|startswith: 'a*'", "t.yml:10:21: `s`, field `F|startswith`: `startswith` says");
    one("  s: {'F |contains': a}", "t.yml:9:7: `s`: the field `F ` begins or ends");
    let everywhere = "title: t\nid: x\nstatus: test\nlevel: low\ndescription: d\nlogsource: {definition: x}\n\
                      detection: {s: [a], condition: s}\n";
    let told: Vec<String> = lint("t.yml", everywhere).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("t.yml:2:5: `id`: `x` is no UUID"), "{told:?}");
    assert!(told[1].starts_with("t.yml:6:12: `logsource` names no category"), "{told:?}");
}

#[test]
fn public_rules_are_hardly_warned_of() {
    let Some(folder) = shared("sigma/rules") else {
        println!("left out: ../shared/data/sigma is not there");
        return;
    };
    let (mut rules, mut warnings) = (0, Vec::new());
    for path in files(&folder, ".yml") {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        rules += 1;
        warnings.extend(lint(&path.display().to_string(), &text));
    }
    for warning in warnings.iter().take(20) {
        println!("{warning}");
    }
    println!("{} warnings of {rules} rules", warnings.len());
    assert!(rules > 3_000 && warnings.len() < rules / 10);
}
