//! The stories beside the rules: what must fire, and the near misses that must not.

use std::collections::BTreeSet;
use std::path::Path;

use vertice_engine::ContentFile;
use vertice_engine::cases::Cases;

use super::{below, files_of_rules, is_case, name_of, read, shipped};

#[test]
fn every_rule_has_cases_and_they_hold() {
    let rules = files_of_rules();
    let (mut wrong, mut positive, mut negative) = (Vec::new(), 0, 0);
    for path in below(&Path::new(super::CONTENT).join("rules")).iter().filter(|path| !is_case(path)) {
        let file = name_of(path);
        let beside = path.with_file_name("cases").join(path.file_name().unwrap());
        let cases = Cases::read(&ContentFile { path: name_of(&beside), text: read(&beside) });
        let cases = cases.unwrap_or_else(|e| panic!("{e}"));
        let (must, must_not) = cases.count();
        if must == 0 || must_not == 0 {
            wrong.push(format!("{file}: a positive and a negative case are meant"));
        }
        let ids: BTreeSet<&str> = rules.iter().filter(|(_, of)| **of == file).map(|(id, _)| id.as_str()).collect();
        for case in cases.iter() {
            if let Err(reason) = case.check(&case.play(shipped()), &ids) {
                wrong.push(format!("{file}: {}: {reason}", case.story));
            }
        }
        positive += must;
        negative += must_not;
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
