//! The stories beside the rules: what must fire, and the near misses that must not.

use std::path::Path;

use serde::Deserialize;
use vertice_model::Timestamp;

use super::{Outcome, below, files_of_rules, is_case, name_of, play, read};

/// The file `cases/NAME.yml` beside a rule file `NAME.yml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    positive: Vec<Positive>,
    negative: Vec<Negative>,
}

/// Lines of which a rule of the file must make something.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Positive {
    /// What happens, in words.
    story: String,
    /// Whom each detection is about.
    entity: String,
    /// How many there must be.
    #[serde(default = "one")]
    detections: usize,
    /// What the sensors wrote.
    lines: Vec<String>,
}

/// Lines of which no rule of the file may make anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Negative {
    story: String,
    lines: Vec<String>,
}

fn one() -> usize {
    1
}

/// When the stories are read, some hours after they happened.
fn noon() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

#[test]
fn every_rule_has_cases_and_they_hold() {
    let rules = files_of_rules();
    let (mut wrong, mut positive, mut negative) = (Vec::new(), 0, 0);
    for path in below(&Path::new(super::CONTENT).join("rules")).iter().filter(|path| !is_case(path)) {
        let file = name_of(path);
        let beside = path.with_file_name("cases").join(path.file_name().unwrap());
        let cases: Cases =
            serde_saphyr::from_str(&read(&beside)).unwrap_or_else(|e| panic!("{}: {e}", beside.display()));
        if cases.positive.is_empty() || cases.negative.is_empty() {
            wrong.push(format!("{file}: a positive and a negative case are meant"));
        }
        let entities = |outcome: &Outcome| -> Vec<String> {
            let of_file = outcome.detections.iter().filter(|d| rules.get(&d.rule_id) == Some(&file));
            of_file.map(|d| d.entity.name().to_owned()).collect()
        };
        let mut expect = |story: &str, lines: &[String], wanted: Vec<String>| {
            let outcome = play(noon(), lines.iter().map(String::as_str));
            let got = entities(&outcome);
            match outcome.refused.first() {
                Some(line) => wrong.push(format!("{file}: {story}: a line is refused: {}", line.reason)),
                None if got != wanted => {
                    wrong.push(format!("{file}: {story}: detections about {got:?} and not {wanted:?}"));
                }
                None => {}
            }
        };
        for case in &cases.positive {
            expect(&case.story, &case.lines, vec![case.entity.clone(); case.detections]);
        }
        for case in &cases.negative {
            assert!(!case.lines.is_empty(), "{file}: {}: no lines", case.story);
            expect(&case.story, &case.lines, Vec::new());
        }
        positive += cases.positive.len();
        negative += cases.negative.len();
    }
    println!("{positive} positive and {negative} negative stories");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), positive + negative, wrong.join("\n"));
}

#[test]
fn every_case_belongs_to_a_rule() {
    let without_rule: Vec<String> = below(&Path::new(super::CONTENT).join("rules"))
        .iter()
        .filter(|path| is_case(path))
        .filter(|path| !path.parent().unwrap().with_file_name(path.file_name().unwrap()).is_file())
        .map(|path| name_of(path))
        .collect();
    assert!(without_rule.is_empty(), "{without_rule:?}");
}
