//! Random damage to playbook files: nothing of it panics.

use super::brief::{start, threat};
use super::schedules::{Numbers, rounds};
use super::shipped;
use crate::content::ContentFile;
use crate::decide::{Playbooks, Policy, Responses};

/// One of everything that a playbook can say, in few words.
const SMALL: &str = r#"name: Small
version: "1"
trigger: {condition: guess or (not severity < high), severity_threshold: low}
context_requirements: [source_ip]
actions:
  - id: slow
    type: firewall_rule
    hotl_required: true
    hotl_prompt: "Slow ${source_ip}?"
    on_timeout: deny
    parameters: {rule_type: rate_limit, source_ip: "${source_ip}", limit: 5/minute, duration: 10m}
    retries: 2
rollback: {conditions: [manual_override]}
"#;

#[test]
fn damaged_playbooks_are_refused_or_read_and_never_panic() {
    let large: Vec<String> = shipped::texts().into_iter().map(|f| f.text).collect();
    let words = [
        "and",
        "not (",
        "==",
        ">= high",
        "${",
        "}",
        "${source_ip}",
        "- ",
        ": ",
        "{",
        "[",
        "]",
        "|\n",
        "\u{0}",
        "\u{202e}",
        "&a ",
        "*a",
        "<<: ",
        "!!set",
        "99999999999999999999",
        "-1",
        "~",
        "true",
        "0.0.0.0/0",
        "ä",
        "'",
        "\"",
        "\n",
        "\t",
        "#",
    ];
    let (mut read, mut refused) = (0, 0);
    for seed in 0..rounds(10_000) {
        let mut numbers = Numbers::new(seed);
        // Mostly a small one, for the time that it takes to read them.
        let small = numbers.below(8) > 0;
        let whole = if small { SMALL } else { &large[numbers.below(large.len())] };
        let mut text: Vec<char> = whole.chars().collect();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(text.len());
            let to = (at + numbers.below(20)).min(text.len());
            let put: Vec<char> = match numbers.below(3) {
                0 => Vec::new(),
                1 => words[numbers.below(words.len())].chars().collect(),
                _ => {
                    let from = numbers.below(text.len());
                    text[from..(from + 40).min(text.len())].to_vec()
                }
            };
            text.splice(at..to, put);
        }
        let file = ContentFile { path: "playbooks/damaged.yml".into(), text: text.into_iter().collect() };
        let mut errors = Vec::new();
        let playbooks = Playbooks::compile(&[&file], &mut errors);
        if playbooks.get("damaged").is_some() {
            read += 1;
            assert_eq!(errors, []);
            for brief in ["guess critical 1 ip=203.0.113.9", "malware_detected critical 1 host=a;b ip=0.0.0.0"] {
                let _ = Responses::default().consider(start(), &threat(brief), &playbooks, &Policy::default());
            }
        } else {
            refused += 1;
            assert!(!errors.is_empty());
            let lines = file.text.lines().count() as u64 + 1;
            assert!(errors.iter().all(|e| e.line <= lines && !e.reason.is_empty()), "{errors:?}");
        }
    }
    assert!(read > 100 && refused > 1_000, "both happen: {read} read, {refused} refused");
}
