//! One test per feature of the language; `lib.rs` lists them.

use serde_json::{Value as Json, json};
use vertice_sigma::{Compilation, Placeholders, RuleSet, Source};

use crate::support::{JsonEvent, matches};

/// Whether a detection (YAML, indented by two) matches an event.
fn fires(detection: &str, event: Json) -> bool {
    let text = format!("title: t\nlogsource: {{product: windows}}\ndetection:\n{detection}\n");
    let (rules, refused) = RuleSet::compile([("t.yml", text.as_str())]);
    assert!(refused.is_empty(), "{}", refused[0]);
    !matches(&rules, &JsonEvent::new(event), [windows()]).is_empty()
}

fn windows() -> Source<'static> {
    Source { product: Some("windows"), ..Source::default() }
}

/// Holds one item of one selection against values of the field `F`; absent is `Json::Null` within an empty object.
fn check(item: &str, cases: &[(Json, bool)]) {
    for (value, expected) in cases {
        let detection = format!("  s:\n    {item}\n  condition: s");
        assert_eq!(fires(&detection, json!({ "F": value })), *expected, "{item} on {value}");
    }
}

fn absent(item: &str) -> bool {
    fires(&format!("  s:\n    {item}\n  condition: s"), json!({"G": "x"}))
}

#[test]
fn plain_values_compare_without_case_and_as_decimal_text() {
    check("F: aBc", &[(json!("AbC"), true), (json!("abcd"), false), (json!(["x", "ABC"]), true)]);
    check("F: 4624", &[(json!(4624), true), (json!("4624"), true), (json!("04624"), false), (json!(4624.5), false)]);
    check("F: '46*'", &[(json!(4624), true), (json!(4700), false)]);
    check("F: 1.50", &[(json!("1.5"), true), (json!(1.5), true), (json!("1.50"), false)]);
    check("F: 0x10", &[(json!(16), true)]);
    check("F: 18446744073709551615", &[(json!("18446744073709551615"), true)]);
    check("F: true", &[(json!(true), true), (json!("True"), true), (json!(1), false)]);
    check("F: ÄÖ", &[(json!("äö"), true)]);
}

#[test]
fn null_is_absent_and_empty_is_present() {
    check("F: null", &[(json!(null), true), (json!(""), false), (json!([]), true), (json!("x"), false)]);
    check("F: ''", &[(json!(null), false), (json!(""), true), (json!("x"), false)]);
    check("F: '*'", &[(json!(null), false), (json!(""), true), (json!("x"), true)]);
    check("F: [null, '']", &[(json!(null), true), (json!(""), true), (json!("x"), false)]);
    assert!(absent("F: null") && absent("F: [null, '']"));
    assert!(!absent("F: ''") && !absent("F: '*'") && !absent("F|contains: ''"));
}

#[test]
fn wildcards_and_escapes() {
    check(r"F: 'C:\Win*\cmd?exe'", &[(json!(r"c:\windows\cmd.exe"), true), (json!(r"c:\windows\cmdexe"), false)]);
    check(r"F: 'a\*b'", &[(json!("a*b"), true), (json!("axb"), false)]);
    check(r"F: 'a\\*b'", &[(json!(r"a\b"), true), (json!(r"a\xxb"), true), (json!("axb"), false)]);
    check(r"F: 'a\\\*b'", &[(json!(r"a\*b"), true), (json!(r"a\xb"), false)]);
    check(r"F: '\\\\srv\share'", &[(json!(r"\\srv\share"), true), (json!(r"\srv\share"), false)]);
}

#[test]
fn contains_startswith_endswith() {
    check("F|contains: ell", &[(json!("HELLO"), true), (json!("help"), false)]);
    check("F|startswith: he", &[(json!("HELLO"), true), (json!("the"), false)]);
    check("F|endswith: lo", &[(json!("HELLO"), true), (json!("low"), false)]);
    check("F|contains: 'e*o'", &[(json!("xhello!"), true), (json!("ohe"), false)]);
    check("F|endswith: ['a', 'b']", &[(json!("xb"), true), (json!("bx"), false)]);
}

#[test]
fn all_wants_every_value_and_any_one() {
    check("F|contains|all: [a, b]", &[(json!("xbxa"), true), (json!("xa"), false), (json!(["a", "b"]), true)]);
    check("F|contains|any: [a, b]", &[(json!("xa"), true), (json!("x"), false)]);
    check("F|all: ['*a*', b*]", &[(json!("ba"), true), (json!("ab"), false)]);
}

#[test]
fn cased_minds_case() {
    check("F|cased: aB", &[(json!("aB"), true), (json!("ab"), false)]);
    check("F|contains|cased: 'B?d'", &[(json!("aBcd"), true), (json!("abcd"), false)]);
}

#[test]
fn neq_is_none_of_the_values() {
    check("F|neq: [a, b]", &[(json!("a"), false), (json!("c"), true), (json!(["c", "b"]), false)]);
    check("F|neq|all: [a, b]", &[(json!("a"), false), (json!("c"), true)]);
    check("F|neq: null", &[(json!("a"), true), (json!(null), false)]);
    check("F|contains|neq: a", &[(json!("bab"), false), (json!("b"), true)]);
    assert!(absent("F|neq: a") && !absent("F|neq: null"));
}

#[test]
fn regular_expressions_and_their_flags() {
    check(r"F|re: 'a\d+'", &[(json!("xa12"), true), (json!("A12"), false), (json!("a"), false)]);
    check("F|re|i: ^ab$", &[(json!("AB"), true), (json!("x\nab"), false)]);
    check("F|re|i|m: ^ab$", &[(json!("x\nAB"), true)]);
    check("F|re: a.b", &[(json!("a\nb"), false)]);
    check("F|re|s: a.b", &[(json!("a\nb"), true)]);
    check("F|re|multiline|dotall|ignorecase: ^a.b$", &[(json!("x\nA\nB"), true)]);
    check("F|re: '^1'", &[(json!(12), true), (json!(21), false)]);
    check("F|re: [a, b]", &[(json!("xb"), true), (json!("c"), false)]);
}

#[test]
fn cidr_of_both_families() {
    check(
        "F|cidr: 10.1.0.0/16",
        &[(json!("10.1.2.3"), true), (json!("10.2.0.1"), false), (json!("::ffff:10.1.0.1"), true)],
    );
    check(
        "F|cidr: 2001:db8::/32",
        &[(json!("2001:DB8:1::1"), true), (json!("2001:db9::1"), false), (json!("10.0.0.1"), false)],
    );
    check(
        "F|cidr: [192.0.2.1, 10.0.0.0/8]",
        &[(json!("192.0.2.1"), true), (json!("host"), false), (json!(" 10.0.0.1 "), true)],
    );
}

#[test]
fn base64_and_its_offsets() {
    check("F|base64: foobar", &[(json!("Zm9vYmFy"), true), (json!("Zm9v"), false)]);
    check("F|base64|contains: ping", &[(json!("xxcGluZw==yy"), true)]);
    for encoded in ["aHR0cDovL2V4", "eGh0dHA6Ly9leA==", "eHhodHRwOi8vZXg="] {
        check("F|base64offset|contains: http://", &[(json!(encoded), true), (json!("cGluZw=="), false)]);
    }
}

#[test]
fn utf16_in_every_form() {
    check("F|wide|base64offset|contains: cmd", &[(json!("YwBtAGQA"), true), (json!("Y21k"), false)]);
    check("F|utf16le|base64: cmd", &[(json!("YwBtAGQA"), true)]);
    check("F|utf16be|base64: cmd", &[(json!("AGMAbQBk"), true)]);
    check("F|utf16|base64: cmd", &[(json!("//5jAG0AZAA="), true)]);
    check("F|wide|contains: cm*d", &[(json!("xc\0m\0 d\0"), true), (json!("cmd"), false)]);
    check("F|utf16be: cmd", &[(json!("\0c\0m\0d"), true)]);
}

#[test]
fn windash_takes_every_dash_for_an_option() {
    for dash in ["-", "/", "–", "—", "―"] {
        check("F|contains|windash: ' -enc '", &[(json!(format!("ps {dash}enc aa")), true)]);
    }
    check("F|windash|contains: 'a-b -c'", &[(json!("xa-b /c"), true), (json!("xa/b -c"), false)]);
    check("F|windash|contains|all: ['-a', '/b']", &[(json!("/a -b"), true), (json!("/a"), false)]);
}

#[test]
fn exists_asks_for_the_field() {
    // It asks for the field and not for its value, be it empty or null.
    check("F|exists: true", &[(json!("x"), true), (json!(""), true), (json!(null), true)]);
    check("F|exists: no", &[(json!("x"), false), (json!(null), false)]);
    assert!(absent("F|exists: false") && !absent("F|exists: yes"));
}

#[test]
fn fieldref_compares_two_fields() {
    let on = |item: &str, event: Json| fires(&format!("  s:\n    {item}\n  condition: s"), event);
    assert!(on("F|fieldref: G", json!({"F": "a*", "G": "A*"})) && !on("F|fieldref: G", json!({"F": "a*", "G": "ab"})));
    assert!(
        on("F|fieldref|cased: G", json!({"F": 1, "G": "1"})) && !on("F|fieldref|cased: G", json!({"F": "a", "G": "A"}))
    );
    assert!(on("F|fieldref|endswith: G", json!({"F": "abc", "G": ["x", "BC"]})));
    assert!(on("F|startswith|fieldref: G", json!({"F": "abc", "G": "ab"})));
    assert!(on("F|contains|fieldref: G", json!({"F": "abc", "G": "b"})));
    assert!(on("F|fieldref|neq: G", json!({"F": "a", "G": "b"})) && !on("F|fieldref: G", json!({"F": "a"})));
}

#[test]
fn numbers_compare() {
    check(
        "F|gt: 5",
        &[(json!(6), true), (json!(5), false), (json!("5.5"), true), (json!("x"), false), (json!("inf"), false)],
    );
    check("F|gte: 5", &[(json!(5), true), (json!(4.9), false)]);
    check("F|lt: 1.5", &[(json!(1), true), (json!(1.5), false), (json!("-1e3"), true)]);
    check("F|lte: '5'", &[(json!(5), true), (json!(6), false), (json!([9, 1]), true)]);
    check("F|gt: 9007199254740992", &[(json!(9_007_199_254_740_993_i64), true)]);
    check("F|gt|neq: 5", &[(json!(6), false), (json!(5), true)]);
    assert!(!absent("F|lt: 5"));
}

#[test]
fn parts_of_a_time_compare() {
    let time = json!("2025-11-27T07:40:10.165324Z");
    for (item, expected) in [
        ("F|minute: 40", true),
        ("F|hour: [6, 7]", true),
        ("F|day: 27", true),
        ("F|week: 48", true),
        ("F|month: 11", true),
        ("F|year: 2025", true),
        ("F|year: 2024", false),
        ("F|hour|gte: 20", false),
        ("F|hour|lt: 8", true),
        ("F|gt|hour: 6", true),
    ] {
        check(item, &[(time.clone(), expected), (json!("soon"), false)]);
    }
}

#[test]
fn expand_fills_placeholders() {
    let rule = "title: t\nlogsource: {product: windows}\ndetection:\n  s:\n    F|contains|expand: 'u-%who%\\%-%place%%'\n  condition: s";
    let values = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let placeholders = Placeholders::from([("who".into(), values(&["ana", "b*b"])), ("place".into(), values(&["x"]))]);
    let (rules, refused) =
        RuleSet::compile_with([("t.yml", rule)], &Compilation { placeholders, ..Compilation::default() });
    assert!(refused.is_empty(), "{refused:?}");
    let fires = |text: &str| !matches(&rules, &JsonEvent::new(json!({ "F": text })), [windows()]).is_empty();
    assert!(fires("u-ANA%-x%") && fires("u-bob%-x%") && !fires("u-eve%-x%") && !fires("u-ana%-y%"));
}

#[test]
fn keywords_search_every_value() {
    let event = || json!({"A": "a Disk error", "B": ["x", 42], "C": null});
    for (detection, expected) in [
        ("  k: [nothing, error]\n  condition: k", true),
        ("  k: [nothing]\n  condition: k", false),
        ("  k: disk*err\n  condition: k", true),
        ("  k: 42\n  condition: k", true),
        ("  k: {'|all': [disk, 42]}\n  condition: k", true),
        ("  k: {'|all': [disk, 43]}\n  condition: k", false),
        ("  k: {'|re': 'er+or$'}\n  condition: k", true),
        ("  k: {'|startswith': disk}\n  condition: k", false),
        ("  k: {'|cased': disk}\n  condition: k", false),
        ("  k: [nothing, {A|startswith: a, B: 42}]\n  condition: k", true),
        ("  k: error\n  condition: not k", false),
    ] {
        assert_eq!(fires(detection, event()), expected, "{detection}");
    }
}

#[test]
fn lists_of_maps_are_alternatives_and_maps_are_not() {
    let detection = "  s:\n    - {A: 1, B: 2}\n    - C: 3\n  condition: s";
    assert!(fires(detection, json!({"A": 1, "B": 2})) && fires(detection, json!({"C": 3})));
    assert!(!fires(detection, json!({"A": 1, "B": 3})));
    assert!(fires("  s: {Two Words: 1, dotted.name: 2}\n  condition: s", json!({"Two Words": 1, "dotted.name": 2})));
}

#[test]
fn conditions_bind_and_count() {
    let selections = "  a1: {F: 1}\n  a2: {G: 1}\n  _b: {H: 1}\n  condition: ";
    let event = json!({"F": 1, "G": 2, "H": 1});
    for (condition, expected) in [
        ("a1", true),
        ("not a1", false),
        ("NOT a2 AND a1", true),
        ("a1 or a2 and a2", true),
        ("(a1 or a2) and a2", false),
        ("not (a2 or not a1)", true),
        ("not not a1", true),
        ("1 of a*", true),
        ("all of a*", false),
        ("any of them", true),
        ("all of them", false),
        ("2 of them", false),
        ("2 of a*", false),
        ("all of _*", true),
        ("1 of *1", true),
        ("1 of a1", true),
        ("not 1 of *2 and 1 of them", true),
        ("[a2, a1]", true),
        ("[a2, not a1]", false),
    ] {
        assert_eq!(fires(&format!("{selections}{condition}"), event.clone()), expected, "{condition}");
    }
}

#[test]
fn a_rule_is_for_its_log_source() {
    let rule = |source: &str| {
        format!("title: '{source}'\nlogsource: {{{source}}}\ndetection: {{s: {{F: 1}}, condition: s}}\n")
    };
    let texts = [
        "category: c",
        "category: c, product: p",
        "product: p, service: s",
        "definition: all",
        "category: d, definition: x",
    ]
    .map(rule);
    let (rules, refused) = RuleSet::compile(texts.iter().map(|text| ("t.yml", text.as_str())));
    assert!(refused.is_empty(), "{refused:?}");
    let source = |c, p, s| Source { category: c, product: p, service: s };
    let found = |sources: &[Source<'static>]| {
        let event = JsonEvent::new(json!({"F": 1}));
        let mut found: Vec<usize> =
            matches(&rules, &event, sources.iter().copied()).iter().map(|i| i.number()).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(found(&[]), [3]);
    assert_eq!(found(&[source(Some("c"), None, None)]), [0, 3]);
    assert_eq!(found(&[source(Some("c"), Some("p"), Some("s"))]), [0, 1, 2, 3]);
    // One source alone must have every part.
    assert_eq!(found(&[source(Some("c"), Some("q"), None), source(None, Some("p"), None)]), [0, 3]);
    assert_eq!(found(&[source(Some("d"), Some("x"), Some("y")), source(Some("d"), None, None)]), [3, 4]);
}

#[test]
fn log_sources_may_say_more() {
    let rule = "title: t\nlogsource: {product: windows, definition: d, collector: wef}\ndetection: {s: {F: 1}, condition: s}\n";
    let (rules, refused) = RuleSet::compile([("t.yml", rule)]);
    assert!(refused.is_empty() && rules.len() == 1, "{refused:?}");
}

#[test]
fn collections_share_what_is_global() {
    let text = "action: global\ntitle: both\nlogsource: {product: windows}\ndetection: {s: {F: 1}, condition: s}\n---\n\
        detection: {s: {G: 2}}\n---\naction: repeat\ntitle: third\ndetection: {s: {G: 3}}\n---\naction: reset\n---\n\
        title: own\nlogsource: {product: linux}\ndetection: {s: {F: 1}, condition: s}\n";
    let (rules, refused) = RuleSet::compile([("t.yml", text)]);
    assert!(refused.is_empty(), "{refused:?}");
    let titles: Vec<(&str, u32)> = rules.iter().map(|(_, rule)| (rule.title.as_str(), rule.line)).collect();
    assert_eq!(titles, [("both", 6), ("third", 8), ("own", 14)]);
    let count = |event: Json| matches(&rules, &JsonEvent::new(event), [windows()]).len();
    assert_eq!([count(json!({"F": 1, "G": 2})), count(json!({"F": 1, "G": 3})), count(json!({"F": 1}))], [1, 1, 0]);
}

#[test]
fn filters_lie_over_the_rules_they_name() {
    let rule = |title: &str, id: &str, product: &str| {
        format!(
            "title: {title}\nid: {id}\nname: n_{id}\nlogsource: {{category: c, product: {product}}}\ndetection: {{s: {{F: 1}}, condition: s}}\n"
        )
    };
    let filter = |rules: &str, user: &str| {
        format!(
            "title: not {user}\nlogsource: {{category: c, product: windows}}\nfilter:\n{rules}\n  s: {{U: {user}}}\n  condition: not s\n"
        )
    };
    let files = [rule("one", "1", "windows"), rule("two", "2", "windows"), rule("lin", "3", "linux")];
    let filters =
        [filter("  rules: [1, n_2]", "admin"), filter("  rules: any", "root"), filter("  rules:\n    - one", "ci")];
    let filters = filters.map(|text| text.replace("[1,", "['1',"));
    let (rules, refused) = RuleSet::compile(filters.iter().chain(&files).map(|text| ("t.yml", text.as_str())));
    assert!(refused.is_empty(), "{refused:?}");
    let found = |user: &str| {
        let sources = ["windows", "linux"].map(|p| Source { category: Some("c"), product: Some(p), service: None });
        let event = JsonEvent::new(json!({"F": 1, "U": user}));
        let mut found: Vec<&str> =
            matches(&rules, &event, sources).iter().map(|i| rules.rule(*i).title.as_str()).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(found("eve"), ["lin", "one", "two"]);
    assert_eq!(found("admin"), ["lin"]);
    assert_eq!(found("root"), ["lin"]);
    assert_eq!(found("ci"), ["lin", "two"]);
}
