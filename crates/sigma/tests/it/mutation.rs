//! Whatever a rule file holds, reading it ends in rules and refusals, and what was read can be matched.

use serde_json::json;
use vertice_sigma::{Compilation, Correlator, Placeholders, RuleSet, Source, limits};

use crate::random::Random;
use crate::support::JsonEvent;

const SEEDS: [&str; 4] = [
    "title: one\nid: 0f7d\nname: one\nlogsource: {category: c, product: windows}\nlevel: high\ntags: [attack.t1059]\n\
     detection:\n  sel_a:\n    F|contains|all: ['a*b', \"c\\n?\"]\n    G|endswith|windash: ' -x'\n  _b:\n    - H|re|i: '^a.*(b|c)$'\n\
     \x20   - I|cidr: 10.0.0.0/8\n    - word\n  filter:\n    J|base64offset|contains: text\n    K|exists: false\n    L: [null, '']\n\
     \x20 condition: 1 of sel_* and not (filter or all of them) or _b\n",
    "action: global\ntitle: &t two\nlogsource: {product: windows}\n---\ndetection:\n  s: {F|gt|hour: 5, G|fieldref|startswith: H}\n  condition:\n\
     \x20   - s\n    - not s\n---\naction: repeat\ntitle: three\nauthor: *t\n",
    "title: one\nname: one\nlogsource: {product: windows}\ndetection: {k: ['a', 5, true], condition: k}\n---\ntitle: many\ncorrelation:\n\
     \x20 type: value_count\n  rules: [one]\n  group-by: [F]\n  timespan: 10m\n  condition: {gte: 2, field: G}\n  aliases: {F: {one: H}}\n",
    "title: one\nid: x\nlogsource: {product: windows}\ndetection: {s: {F|wide|base64: 'ab', G|expand: '%p%'}, condition: s}\n---\n\
     title: f\nlogsource: {product: windows}\nfilter: {rules: [x], s: {U|neq: root}, condition: not s}\n",
];

const PIECES: [&str; 40] = [
    "*",
    "?",
    "\\",
    "|",
    "\n",
    "  ",
    ": ",
    "- ",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!!str ",
    "---\n",
    "#",
    "(",
    ")",
    " of ",
    "not ",
    "and ",
    "\t",
    "\u{0}",
    "é",
    "\u{202e}",
    "%",
    "|re",
    "|all",
    "|contains",
    "|cidr",
    "0x7fffffffffffffff",
    "-1",
    "null",
    "~",
    "1e400",
    "them",
    "action: reset\n",
];

#[test]
fn mutated_rule_files_never_panic() {
    let cases = if std::env::var_os("VERTICE_LONG").is_some() { 100_000 } else { 10_000 };
    let mut random = Random(7);
    let event = JsonEvent::new(
        json!({"F": "a xb c", "G": "cmd -x", "H": ["abc", 5], "I": "10.0.0.1", "J": "dGV4dA==", "L": null}),
    );
    let placeholders = Placeholders::from([("p".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
    let compilation = Compilation { placeholders, ..Compilation::default() };
    let source = Source { category: Some("c"), product: Some("windows"), service: None };
    let (mut compiled, mut refusals, mut matched) = (0_usize, 0_usize, 0_usize);
    for _ in 0..cases {
        let text = mutated(&mut random);
        let (rules, refused) = RuleSet::compile_with([("m.yml", text.as_str())], &compilation);
        let lines = text.lines().count() as u32 + 1;
        for error in &refused {
            assert!((1..=lines).contains(&error.line) && !error.reason.is_empty(), "{error}\n{text}");
        }
        let mut state = Correlator::default();
        for index in rules.matches(&event, [source]) {
            matched += 1;
            assert!(rules.explain(index, &event).len() <= limits::EXPLAINED_MAX);
            state.observe(&rules, index, 0, 0, &event);
        }
        compiled += rules.len();
        refusals += refused.len();
    }
    println!("{cases} mutated files: {compiled} rules, {refusals} refusals, {matched} matches");
    assert!(compiled > cases / 10 && refusals > cases / 10 && matched > cases / 100);
}

fn mutated(random: &mut Random) -> String {
    let mut text: Vec<char> = random.pick(&SEEDS).chars().collect();
    for _ in 0..1 + random.below(4) {
        let at = random.below(text.len());
        let end = (at + 1 + random.below(12)).min(text.len());
        match random.below(5) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..at, random.pick(&PIECES).chars())),
            2 => drop(text.splice(at..end, random.pick(&PIECES).chars())),
            3 => {
                let copied = text[at..end].to_vec();
                let to = random.below(text.len());
                drop(text.splice(to..to, copied));
            }
            _ => text.truncate(at.max(1)),
        }
        if text.is_empty() {
            text.push('a');
        }
    }
    text.into_iter().collect()
}
