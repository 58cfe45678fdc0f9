//! What cannot be meant is refused, with its line and what was meant; all else stands.

use serde_json::json;
use vertice_sigma::{RuleSet, Source, limits};

use crate::support::JsonEvent;

/// A rule that stands, before and after the refused one.
const SOUND: &str = "title: sound\nlogsource: {product: windows}\ndetection: {s: {F: 1}, condition: s}\n";

/// Compiles a document and expects one refusal, at this line and with these words.
fn refused(document: &str, line: u32, words: &str) {
    let named = format!("{SOUND}name: first\n");
    let files = [("a.yml", named.as_str()), ("bad.yml", document), ("z.yml", SOUND)];
    let (rules, refused) = RuleSet::compile(files);
    assert_eq!((rules.len(), refused.len()), (2, 1), "{document}\n{refused:?}");
    let error = &refused[0];
    assert_eq!((error.path.as_str(), error.line), ("bad.yml", line), "{document}\n{error}");
    assert!(error.reason.contains(words), "{document}\n{error}\nshould say: {words}");
    assert!(error.to_string().starts_with(&format!("bad.yml:{line}:{}: ", error.column)));
}

/// As [`refused`], for the lines of a detection, which begin in line 4.
fn detection(lines: &str, line: u32, words: &str) {
    refused(&format!("title: t\nlogsource: {{product: windows}}\ndetection:\n{lines}\n"), line, words);
}

/// As [`refused`], for one item of a selection, in line 5.
fn item(item: &str, words: &str) {
    detection(&format!("  s:\n    {item}\n  condition: s"), 5, words);
}

#[test]
fn documents_that_are_no_rules() {
    refused("a: [1\nb: 2\n", 2, "not YAML");
    refused("title: t\ntitle: u\n", 2, "`title` stands twice, first in line 1");
    refused("- a\n", 1, "a list; a rule is meant");
    refused("text\n", 1, "text; a rule is meant");
    refused("? [a]\n: b\n", 1, "a list as a key");
    refused("title: t\n", 1, "`logsource` is missing");
    refused("logsource: {product: p}\n", 1, "`title` is missing");
    refused("title: t\nlogsource: {product: p}\n", 1, "`detection` is missing");
    refused("title: [t]\nlogsource: {product: p}\ndetection: {}\n", 1, "`title`: a list; text is meant");
    refused("title: t\nlogsource: windows\ndetection: {s: {F: 1}, condition: s}\n", 2, "`logsource`: text; a map");
    refused("title: t\nlogsource:\n  prodct: p\ndetection: {s: {F: 1}, condition: s}\n", 3, "unknown `prodct`");
    refused(&format!("level: hgih\n{SOUND}"), 1, "`level`: `hgih`; one of informational, low");
    refused(&format!("status: tested\n{SOUND}"), 1, "one of stable, test");
    refused(&format!("tags: [[a]]\n{SOUND}"), 1, "`tags`: a list; text is meant");
    refused(&format!("related: [{{id: a}}]\n{SOUND}"), 1, "`type` is missing");
    refused(&format!("action: globl\n{SOUND}"), 1, "one of global, reset, repeat");
    refused(&format!("action: repeat\n{SOUND}"), 1, "no document stands before it");
}

#[test]
fn detections_that_cannot_be_meant() {
    refused("title: t\nlogsource: {product: p}\ndetection: s\n", 3, "`detection`: text; a map");
    detection("  s: {F: 1}", 4, "`condition` is missing");
    detection("  s: {F: 1}\n  condition: t", 5, "selection `t` is not defined; there are `s`");
    detection("  Sel: {F: 1}\n  condition: sel", 5, "`Sel` is meant?");
    detection("  s: {F: 1}\n  condition: []", 5, "an empty list");
    detection("  s: {F: 1}\n  condition: 1", 5, "a number; text is meant");
    detection("  s: {F: 1}\n  condition: s and", 5, "ends where a selection is meant");
    detection("  s: {F: 1}\n  condition: s s", 5, "`s` is not expected here");
    detection("  s: {F: 1}\n  condition: (s", 5, "`)` is missing");
    detection("  s: {F: 1}\n  condition: and s", 5, "`and` stands where a selection is meant");
    detection("  s: {F: 1}\n  condition: s*", 5, "needs `1 of` or `all of`");
    detection("  s: {F: 1}\n  condition: 1 of x*", 5, "`1 of x*` names no selection");
    detection("  s: {F: 1}\n  condition: 2 of s*", 5, "`2 of s*`, but it names 1 selections");
    detection("  s: {F: 1}\n  condition: some of s*", 5, "`1 of`, `all of` or another number");
    detection("  s: {F: 1}\n  condition: 1 of", 5, "needs a name, a pattern or `them`");
    detection("  _s: {F: 1}\n  condition: 1 of them", 5, "names no selection");
    detection("  s: {F: 1}\n  condition: s | count() > 5", 5, "`correlation` document");
    detection("  s: {}\n  condition: s", 4, "`s` is empty");
    detection("  s: []\n  condition: s", 4, "`s` is empty");
    detection("  s:\n  condition: s", 4, "`s` is empty");
    detection("  s:\n    - [a]\n  condition: s", 5, "a list within a list");
    detection("  s:\n    - ''\n  condition: s", 5, "an empty keyword");
    detection("  s:\n    - null\n  condition: s", 5, "a keyword has no field");
    detection(&format!("  s: {{F: 1}}\n  condition: {}s", "not ".repeat(40)), 5, "nested more than 32 deep");
    detection(&format!("  s: {{F: 1}}\n  condition: {}s{}", "(".repeat(9_000), ")".repeat(9_000)), 5, "a condition of");
}

#[test]
fn items_that_cannot_be_meant() {
    item("F|startwith: a", "field `F|startwith`: unknown modifier `startwith`; `startswith` is meant?");
    item("F|frobnicate: a", "unknown modifier `frobnicate`");
    item("F|: a", "an empty modifier");
    item("F|contains|contains: a", "`contains` stands twice");
    item("F|contains|endswith: a", "cannot be combined with another of contains");
    item("F|re|contains: a", "contains, startswith, endswith cannot be combined with `re`");
    item("F|re|cidr: a", "`cidr` cannot be combined");
    item("F|cased|re: a", "cased cannot be combined with `re`");
    item("F|windash|cidr: 10.0.0.0/8", "windash cannot be combined with `cidr`");
    item("F|base64|gt: 1", "an encoding cannot be combined with `gt`");
    item("F|expand|gt: 1", "expand cannot be combined with `gt`");
    item("F|exists|all: true", "all cannot be combined with `exists`");
    item("F|exists|neq: true", "neq cannot be combined with `exists`");
    item("F|hour|cased: 1", "cased cannot be combined with `a part of a time`");
    item("F|all|any: [a]", "`all` cannot be combined with `any`");
    item("F|i|re: a", "`i` is a flag of `re` and stands after it");
    item("F|base64|wide: a", "nothing can be encoded after base64");
    item("F|wide|utf16: a", "only one of wide");
    item("F|gt|lt: 1", "`lt` cannot be combined");
    item("F|re: 'a('", "not a regular expression: unclosed group");
    item("F|re: '(?=a)'", "look-around");
    item("F|re: '(a{1000}){1000}'", "too large");
    item("F|cidr: 10.0.0.0/33", "`10.0.0.0/33` is no network");
    item("F|cidr: 10.0.0.1/8", "`10.0.0.0/8` is meant");
    item("F|exists: maybe", "wants `true` or `false`");
    item("F|exists: [true, false]", "wants one truth value");
    item("F|gt: ten", "text; a number is meant");
    item("F|gt: null", "nothing; a number is meant");
    item("F|contains: null", "null has no text");
    item("F: {a: b}", "a map; a single value is meant");
    item("F: [[a]]", "a list; a single value is meant");
    item("F: []", "an empty list");
    item("F|base64: 'a*'", "a wildcard has no base64");
    item("F|base64: ''", "an empty text");
    item("F|base64offset|contains: a", "too short");
    item("F|utf16: a", "it is no text");
    item("F|wide: é", "it is no text");
    item("F|expand: '%who%'", "placeholder `%who%` has no values");
    item("'|exists': true", "a keyword has no field");
    item("'|gt': 1", "a keyword has no field");
    item(&format!("F|windash: '{}'", "-a ".repeat(9)), "more than 1024 patterns");
    item(&format!("F: {}", "a".repeat(limits::PATTERN_BYTES_MAX + 1)), "a value of 16385 bytes");
}

#[test]
fn correlations_that_cannot_be_meant() {
    let correlation = |lines: &str, line: u32, words: &str| {
        refused(&format!("title: c\ncorrelation:\n{lines}\n"), line, words);
    };
    let with = |lines: &str| format!("  rules: first\n  group-by: [A]\n  timespan: 5m\n{lines}");
    refused("title: c\ncorrelation: x\n", 2, "`correlation`: text; a map");
    correlation(&with("  type: event_cnt\n  condition: {gte: 2}"), 6, "`event_cnt`; one of event_count");
    correlation(&with("  condition: {gte: 2}"), 3, "`type` is missing");
    correlation(&with("  type: event_count"), 3, "`condition` is missing");
    correlation(&with("  type: event_count\n  condition: 5"), 7, "`gte: 10` is meant");
    correlation(&with("  type: event_count\n  condition: {}"), 7, "one of gt, gte, lt, lte, eq, neq is missing");
    correlation(&with("  type: event_count\n  condition: {more: 1}"), 7, "unknown `more`");
    correlation(&with("  type: event_count\n  condition: {gte: many}"), 7, "a whole number is meant");
    correlation(&with("  type: event_count\n  condition: {gte: 9999999}"), 7, "0 to 1048576 is meant");
    correlation(&with("  type: event_count\n  condition: {gte: 1, field: B}"), 7, "`field` is for");
    correlation(&with("  type: value_count\n  condition: {gte: 1}"), 7, "`field` is missing");
    correlation(&with("  type: value_median\n  condition: {gte: 2}"), 7, "`field` is missing; the field");
    correlation(&with("  type: value_sum\n  condition: {gte: 2, field: [A, B]}"), 7, "`field` is a list; the field");
    correlation(&with("  type: value_avg\n  condition: {gte: many, field: A}"), 7, "`gte`: text; a number is meant");
    correlation(&with("  type: value_avg\n  condition: {gte: 1.0e+99, field: A}"), 7, "a number of less than");
    correlation(&with("  type: value_avg"), 3, "`condition` is missing");
    correlation(
        &with("  type: value_percentile\n  condition: {gte: 2, field: A, percentile: 101}"),
        7,
        "`101`; a whole",
    );
    correlation(&with("  type: value_sum\n  condition: {gte: 2, field: A, percentile: 9}"), 7, "`percentile` is for");
    correlation(&with("  type: temporal\n  condition: second"), 7, "`second` is not defined; there are `first`");
    correlation(&with("  type: temporal_ordered\n  condition: not first"), 7, "all of its rules, in their order");
    correlation(&with("  type: event_count\n  condition: {gte: 1}\n  generate: 1"), 8, "`true` or `false`");
    correlation(&with("  type: event_count\n  condition: {gte: 1}\n  groupby: A"), 8, "unknown `groupby`");
    correlation(
        &with("  type: event_count\n  condition: {gte: 1}\n  aliases: {a: {other: F}}"),
        8,
        "`other` is none of its rules",
    );
    correlation(
        &with("  type: event_count\n  condition: {gte: 1}\n  aliases: {a: b}"),
        8,
        "a map from rules to fields",
    );
    correlation(&with("  type: event_count\n  condition: {gte: 1}\n  aliases: b"), 8, "`aliases`: text; a map");
    let of = |rules: &str, timespan: &str| {
        format!("  rules: {rules}\n  timespan: {timespan}\n  type: event_count\n  condition: {{gte: 1}}")
    };
    correlation(&of("nobody", "5m"), 3, "no rule is called `nobody`");
    correlation(&of("sound", "5m"), 3, "2 rules are called `sound`");
    correlation(&of("c", "5m"), 3, "`c` is over this correlation itself");
    correlation(&of("[]", "5m"), 3, "an empty list");
    correlation(&of("[a, a]", "5m"), 3, "`a` stands twice");
    correlation(&of("[[a]]", "5m"), 3, "an id, name or title");
    correlation(&of("first", "5 minutes"), 4, "a number of s, m, h, d or w");
    correlation(&of("first", "1y"), 4, "a number of s, m, h, d or w");
    correlation(&of("first", "0s"), 4, "more than nothing and at most 92d");
    correlation(&of("first", "99999999999999w"), 4, "at most 92d");
    refused(
        "title: c\ncorrelation: {rules: sound, type: event_count, condition: {gte: 1}}\n",
        2,
        "`timespan` is missing",
    );
    refused("title: c\ncorrelation: {timespan: 1m, type: event_count, condition: {gte: 1}}\n", 2, "`rules` is missing");
}

#[test]
fn filters_that_cannot_be_meant() {
    let filter = |lines: &str, line: u32, words: &str| {
        refused(&format!("title: f\nlogsource: {{product: windows}}\nfilter:\n{lines}\n"), line, words);
    };
    filter("  rules: nobody\n  s: {F: 1}\n  condition: not s", 4, "no rule is called `nobody`");
    filter("  rules: [1]\n  s: {F: 1}\n  condition: not s", 4, "a number; ids or names");
    filter("  s: {F: 1}\n  condition: not t", 5, "selection `t` is not defined");
    refused("title: f\nfilter: {s: {F: 1}, condition: not s}\n", 1, "`logsource` is missing");
    refused("title: f\nlogsource: {product: windows}\nfilter: x\n", 3, "`filter`: text; a map");
}

#[test]
fn an_id_is_given_once() {
    let rule = format!("{SOUND}id: one\n");
    let (rules, refused) = RuleSet::compile([("a.yml", rule.as_str()), ("b.yml", rule.as_str())]);
    assert_eq!((rules.len(), refused.len()), (1, 1));
    assert_eq!(refused[0].to_string(), "b.yml:4:5: `id`: one is also that of a.yml:1");
}

#[test]
fn the_documents_around_a_broken_one_stand() {
    let text = format!("{SOUND}---\ntitle: [x\n---\n{SOUND}---\ntitle: y\n---\n{SOUND}");
    let (rules, refused) = RuleSet::compile([("t.yml", text.as_str())]);
    assert_eq!((rules.len(), refused.len()), (3, 2), "{refused:?}");
    assert_eq!(refused.iter().map(|error| error.line).collect::<Vec<_>>(), [5, 11]);
    let event = JsonEvent::new(json!({"F": 1}));
    assert_eq!(rules.matches(&event, [Source { product: Some("windows"), ..Source::default() }]).len(), 3);
}

#[test]
fn hostile_files_end_early() {
    let bomb = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, i| {
        let items = vec![format!("*a{}", i - 1); 10].join(", ");
        text + &format!("a{i}: &a{i} [{items}]\n")
    });
    let deep = format!("title: {}", "[".repeat(200));
    let flow = format!("title: {}{}", "[".repeat(50), "]".repeat(50));
    let large = "# ".repeat(limits::FILE_BYTES_MAX);
    let many = "---\na: 1\n".repeat(limits::DOCUMENTS_MAX + 1);
    for (text, words) in [
        (bomb, "more than 100000 YAML nodes"),
        (deep, ""),
        (flow, "nested more than 32 deep"),
        ("a: &a [*a]\n".to_owned(), ""),
        (large, "a rule file of"),
        (many, "more than 1000 documents"),
        ("a: \u{0}\n".to_owned(), ""),
    ] {
        let (rules, refused) = RuleSet::compile([("t.yml", text.as_str())]);
        assert!(rules.is_empty(), "{words}");
        assert!(refused.iter().any(|error| error.reason.contains(words)), "{words}: {:?}", refused.first());
    }
}

#[test]
fn the_column_is_where_the_mistake_stands() {
    let column = |document: &str| {
        let (_, refused) = RuleSet::compile([("a.yml", document)]);
        let place = refused.first().map(|error| (error.line, error.column));
        place.unwrap_or_else(|| panic!("{document} was not refused"))
    };
    assert_eq!(column(&format!("level: hgih\n{SOUND}")), (1, 8), "the value");
    assert_eq!(
        column("title: t\nlogsource: {product: p}\ndetection: {s: {F|lks: 1}, condition: s}\n"),
        (3, 17),
        "the key"
    );
    assert_eq!(column("title: t\nlogsource:\n  product: p\n  prodct: p\ndetection: {}\n"), (5, 12));
    assert_eq!(
        column("title: t\nlogsource: {product: p}\ndetection:\n    s: {F: 1}\n    condition: ü and s\n"),
        (5, 16)
    );
    assert_eq!(column("title: 'ü': [\n").0, 1, "what is no YAML at all");
    let error = RuleSet::compile([("a.yml", "- x\n")]).1.remove(0);
    assert_eq!(error.to_string(), "a.yml:1:1: a list; a rule is meant, which is a map");
}
