//! Rules that are meant to break their reader: refused with file, line and reason, and before they cost anything.

use std::fmt::Write as _;

use vertice_sigma::{Compilation, Pipeline, RuleSet, limits};

/// Compiles one file and expects one refusal, there and with these words.
fn refused(text: &str, line: u32, words: &str) {
    let placeholders = [("many".to_owned(), (0..1_000).map(|i| format!("value {i}")).collect())].into();
    let compilation = Compilation { placeholders, ..Compilation::default() };
    let (rules, refused) = RuleSet::compile_with([("hostile.yml", text)], &compilation);
    let start: String = text.chars().take(200).collect();
    assert!(rules.is_empty() && refused.len() == 1, "{start}: {}", refused.len());
    let error = &refused[0];
    assert_eq!((error.path.as_str(), error.line), ("hostile.yml", line), "{start}: {error}");
    assert!(error.reason.contains(words), "{start}: {error}\nshould say: {words}");
    assert!(error.reason.len() < 500, "a reason of {} bytes", error.reason.len());
}

/// A rule whose selection begins in line 4 and whose condition is in line 5.
fn rule(selection: &str, condition: &str) -> String {
    format!("title: t\nlogsource: {{product: p}}\ndetection:\n  s: {selection}\n  condition: {condition}\n")
}

#[test]
fn conditions_ten_thousand_deep() {
    let deep = 10_000;
    refused(&rule("{F: 1}", &format!("{}s{}", "(".repeat(deep), ")".repeat(deep))), 5, "a condition of 20001 bytes");
    refused(&rule("{F: 1}", &format!("{}s", "not ".repeat(deep))), 5, "a condition of 40001 bytes");
    refused(&rule("{F: 1}", &format!("{}s", "(".repeat(deep))), 5, "nested more than 32 deep");
    refused(&rule("{F: 1}", &format!("{}s", "not ".repeat(4_000))), 5, "nested more than 32 deep");
    refused(&rule(&format!("{}1{}", "[".repeat(deep), "]".repeat(deep)), "s"), 4, "");
    refused(&rule(&format!("{}1{}", "{a: ".repeat(deep), "}".repeat(deep)), "s"), 4, "");
}

#[test]
fn patterns_of_a_megabyte() {
    let megabyte = "a".repeat(1024 * 1024);
    refused(&rule(&format!("{{F: {megabyte}}}"), "s"), 1, "a rule file of");
    let long = &megabyte[..1_000_000];
    refused(&rule(&format!("{{F: {long}}}"), "s"), 4, "a value of 1000000 bytes; at most 16384");
    refused(&rule(&format!("{{F|re: '{long}'}}"), "s"), 4, "a value of 1000000 bytes");
    refused(&rule(&format!("[{long}]"), "s"), 4, "a value of 1000000 bytes");
    refused(&rule("{F|re: '((a{100}){100}){100}'}", "s"), 4, "too large");
    refused(&rule(&format!("{{F|re: '{}a{}'}}", "(".repeat(5_000), ")".repeat(5_000)), "s"), 4, "nest");
}

#[test]
fn values_that_multiply() {
    refused(&rule(&format!("{{F|windash|contains: '{}'}}", "-a ".repeat(2_000)), "s"), 4, "more than 1024 patterns");
    refused(&rule("{F|base64offset|contains|expand: '%many%%many%'}", "s"), 4, "more than 1024 patterns");
    refused(&rule("{F|windash|base64offset|contains|expand: '%many% -a'}", "s"), 4, "more than 1024 patterns");
    refused(&rule(&format!("{{F|expand: '{}'}}", "%many%".repeat(1_000)), "s"), 4, "more than 1024 patterns");
    let values = vec!["' -a -b -c -d'"; 1_000].join(", ");
    refused(&rule(&format!("{{F|windash|contains: [{values}]}}"), "s"), 4, "more than 65536 patterns");
    let items: String = (0..1_000).map(|i| format!("F{i}|windash: ' -a -b -c -d', ")).collect();
    refused(&rule(&format!("{{{items}}}"), "s"), 4, "more than 65536 patterns");
}

#[test]
fn aliases_that_multiply() {
    let mut text = "title: t\nlogsource: {product: p}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..20 {
        let items = vec![format!("*a{}", i - 1); 10].join(", ");
        writeln!(text, "a{i}: &a{i} [{items}]").expect("a string takes all");
    }
    refused(&(text + "detection: {s: {F: *a19}, condition: s}\n"), 7, "more than 100000 YAML nodes");
    let maps = "title: t\nlogsource: {product: p}\nm: &m {a: &n [1, 2, 3], b: *n}\nm2: *m2\n";
    refused(maps, 4, "");
}

#[test]
fn pipelines_that_multiply() {
    let lines: String = (0..20)
        .map(|i| format!("- {{type: field_name_mapping, mapping: {{F{i}: [F{}, F{}]}}}}\n", i + 1, i + 1))
        .collect();
    let pipeline = Pipeline::read("p.yml", &format!("transformations:\n{lines}")).expect("it is read");
    let compilation = Compilation { pipelines: vec![pipeline], ..Compilation::default() };
    let (rules, refused) = RuleSet::compile_with([("t.yml", rule("{F0: 1}", "s").as_str())], &compilation);
    assert!(rules.is_empty() && refused[0].reason.contains("alternatives"), "{refused:?}");
    // The bound holds over all of a rule's maps, however many pipelines made them.
    assert!(refused[0].reason.contains(&limits::EXPANSIONS_MAX.to_string()));
}
