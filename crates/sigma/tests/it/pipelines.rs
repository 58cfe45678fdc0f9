//! Processing pipelines: what they make of rules, and what they refuse.

use serde_json::{Value as Json, json};
use vertice_sigma::{Compilation, Pipeline, RuleError, RuleSet, Source};

use crate::support::JsonEvent;

/// A rule of process creation on Windows with this detection, in flow style.
fn rule(detection: &str) -> String {
    format!(
        "title: T\nname: t\ntags: [attack.t1059]\nlogsource: {{category: process_creation, product: windows}}\ndetection: {detection}\n"
    )
}

fn compiled(pipelines: &[&str], rules: &str) -> (RuleSet, Vec<RuleError>) {
    let read = |(i, text): (usize, &&str)| Pipeline::read(&format!("p{i}.yml"), text).expect("the pipeline is read");
    let pipelines = pipelines.iter().enumerate().map(read).collect();
    RuleSet::compile_with([("t.yml", rules)], &Compilation { pipelines, ..Compilation::default() })
}

/// Which of these events a rule matches once pipelines were applied, for a log source.
fn matches_of(pipelines: &[&str], detection: &str, source: Source<'_>, events: &[Json]) -> Vec<bool> {
    let (rules, refused) = compiled(pipelines, &rule(detection));
    assert!(refused.is_empty(), "{refused:?}\n{pipelines:?}");
    events.iter().map(|event| !rules.matches(&JsonEvent::new(event.clone()), [source]).is_empty()).collect()
}

const PROCESS: Source<'static> = Source { category: Some("process_creation"), product: Some("windows"), service: None };

fn check(pipeline: &str, detection: &str, hit: &[Json], miss: &[Json]) {
    assert_eq!(matches_of(&[pipeline], detection, PROCESS, hit), vec![true; hit.len()], "{pipeline}\n{detection}");
    assert_eq!(matches_of(&[pipeline], detection, PROCESS, miss), vec![false; miss.len()], "{pipeline}\n{detection}");
}

/// One transformation with these lines, in flow style.
fn one(lines: &str) -> String {
    format!("name: one\npriority: 10\ntransformations:\n- {{{lines}}}\n")
}

#[test]
fn field_names_are_mapped() {
    let pipeline = one("type: field_name_mapping, mapping: {Image: process.path, User: [user.name, user.id]}");
    check(
        &pipeline,
        "{s: {Image|endswith: '\\a.exe', User: [x, y], Other: 1}, condition: s}",
        &[
            json!({"process.path": "C:\\a.exe", "user.name": "x", "Other": 1}),
            json!({"process.path": "C:\\a.exe", "user.id": "y", "Other": 1}),
        ],
        &[
            json!({"Image": "C:\\a.exe", "user.name": "x", "Other": 1}),
            json!({"process.path": "C:\\a.exe", "User": "x", "Other": 1}),
            json!({"process.path": "C:\\a.exe", "user.id": "y"}),
        ],
    );
    // In lists of maps, and where a `fieldref` names a field.
    check(
        &pipeline,
        "{s: [{User: x}, {Z|fieldref: Image}], condition: s}",
        &[json!({"user.id": "x"}), json!({"Z": 1, "process.path": 1})],
        &[json!({"User": "x"}), json!({"Z": 1, "Image": 1})],
    );
    let prefix = one("type: field_name_prefix, prefix: win.");
    check(
        &prefix,
        "{s: {A: 1}, k: [word], condition: s and k}",
        &[json!({"win.A": 1, "B": "a word"})],
        &[json!({"A": 1, "B": "a word"})],
    );
    let suffix = one("type: field_name_suffix, suffix: .keyword");
    check(&suffix, "{s: {A|contains: b}, condition: s}", &[json!({"A.keyword": "abc"})], &[json!({"A": "abc"})]);
    let prefixes = one("type: field_name_prefix_mapping, mapping: {win.: [a., b.], proc: c}");
    check(
        &prefixes,
        "{s: {win.X: 1, processed: 2}, condition: s}",
        &[json!({"a.X": 1, "cessed": 2}), json!({"b.X": 1, "cessed": 2})],
        &[json!({"win.X": 1, "cessed": 2})],
    );
}

#[test]
fn items_are_dropped_changed_and_added() {
    let drop = one("type: drop_detection_item, field_name_conditions: [{type: include_fields, fields: [Level]}]");
    check(&drop, "{s: {Level: 4, A: 1}, condition: s}", &[json!({"A": 1})], &[json!({"Level": 4})]);
    let add = one("type: add_condition, conditions: {index: [w1, w2], from: $product}, template: true");
    check(
        &add,
        "{s: {A: 1}, t: {A: 2}, condition: 1 of them}",
        &[json!({"A": 1, "index": "w2", "from": "windows"})],
        &[
            json!({"A": 1}),
            json!({"A": 1, "index": "w2", "from": "$product"}),
            json!({"index": "w1", "from": "windows"}),
        ],
    );
    let without = one("type: add_condition, conditions: {host: test}, negated: true, name: not_test");
    check(&without, "{s: {A: 1}, condition: s or s}", &[json!({"A": 1})], &[json!({"A": 1, "host": "test"})]);
    let replace = one(r"type: replace_string, regex: '^C:\\(\w+)\\', replacement: '\\\1$\\'");
    check(&replace, r"{s: {A: 'C:\x\y'}, condition: s}", &[json!({"A": r"\x$\y"})], &[json!({"A": r"C:\x\y"})]);
    let map = one("type: map_string, mapping: {High: [h, '3']}");
    check(
        &map,
        "{s: {A: [High, low]}, condition: s}",
        &[json!({"A": "h"}), json!({"A": 3}), json!({"A": "low"})],
        &[json!({"A": "High"})],
    );
    let set = one("type: set_value, value: 7, detection_item_conditions: [{type: is_null, cond: all}]");
    check(&set, "{s: {A: null, B: b}, condition: s}", &[json!({"A": 7, "B": "b"})], &[json!({"B": "b"})]);
}

#[test]
fn log_sources_and_attributes_change() {
    let change = one("type: change_logsource, product: edr, service: proc");
    let edr = Source { category: None, product: Some("edr"), service: Some("proc") };
    let event = [json!({"A": 1})];
    assert_eq!(matches_of(&[&change], "{s: {A: 1}, condition: s}", edr, &event), [true]);
    assert_eq!(matches_of(&[&change], "{s: {A: 1}, condition: s}", PROCESS, &event), [false]);
    // A file that fits already is left as it is.
    let pipelines = vec![Pipeline::read("p.yml", &change).expect("it is read")];
    let compilation = Compilation { pipelines, as_written: vec!["own/".to_owned()], ..Compilation::default() };
    let text = rule("{s: {A: 1}, condition: s}");
    let (rules, _) = RuleSet::compile_with([("own/t.yml", text.as_str()), ("t.yml", text.as_str())], &compilation);
    let products: Vec<_> = rules.iter().map(|(_, rule)| rule.log_source.product.clone().unwrap_or_default()).collect();
    assert_eq!(products, ["windows", "edr"]);
    let set = one("type: set_custom_attribute, attribute: vertice, value: {class: x}");
    let (rules, refused) = compiled(&[&set], &rule("{s: {A: 1}, condition: s}"));
    assert!(refused.is_empty(), "{refused:?}");
    let (_, rule) = rules.iter().next().expect("there is a rule");
    assert_eq!(rule.attributes["vertice"].get("class").and_then(|node| node.as_text()), Some("x"));
}

#[test]
fn placeholders_are_filled() {
    let pipeline = "vars: {admins: [ana, 'b*'], hosts: h}\ntransformations:\n- {type: value_placeholders, include: [admins, hosts]}\n- {type: wildcard_placeholders}\n";
    check(
        pipeline,
        "{s: {User|expand: '%admins%', Host|contains|expand: 'x%hosts%y', Any|expand: 'a%other%z'}, condition: s}",
        &[json!({"User": "ana", "Host": "-xhy-", "Any": "a1z"}), json!({"User": "bob", "Host": "xhy", "Any": "az"})],
        &[json!({"User": "carl", "Host": "xhy", "Any": "az"}), json!({"User": "ana", "Host": "xy", "Any": "az"})],
    );
    // What no pipeline fills the compilation may.
    let only = one("type: wildcard_placeholders, exclude: [admins]");
    let pipelines = vec![Pipeline::read("p.yml", &only).expect("it is read")];
    let placeholders = [("admins".to_owned(), vec!["ana".to_owned()])].into();
    let text = rule("{s: {A|expand: '%admins%-%x%'}, condition: s}");
    let (rules, refused) = RuleSet::compile_with(
        [("t.yml", text.as_str())],
        &Compilation { placeholders, pipelines, as_written: Vec::new() },
    );
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(rules.matches(&JsonEvent::new(json!({"A": "ana-1"})), [PROCESS]).len(), 1);
}

#[test]
fn conditions_choose_rules_items_and_fields() {
    let renamed = |conditions: &str| {
        let pipeline = one(&format!("id: x, type: field_name_suffix, suffix: '2', {conditions}"));
        matches_of(&[&pipeline], "{s: {A: [b, 'c*'], N: null}, condition: s}", PROCESS, &[json!({"A2": "b"})]) == [true]
    };
    for (conditions, holds) in [
        ("rule_conditions: [{type: logsource, category: process_creation}]", true),
        ("rule_conditions: [{type: logsource, category: process_creation, product: linux}]", false),
        (
            "rule_conditions: [{type: logsource, product: linux}, {type: tag, tag: attack.t1059}], rule_cond_op: or",
            true,
        ),
        ("rule_conditions: [{type: logsource, product: linux}, {type: tag, tag: attack.t1059}]", false),
        ("rule_conditions: [{type: logsource, product: linux}], rule_cond_not: true", true),
        ("rule_conditions: {a: {type: tag, tag: t}, b: {type: is_sigma_rule}}, rule_cond_expr: not a and b", true),
        ("rule_conditions: [{type: is_sigma_correlation_rule}]", false),
        ("rule_conditions: [{type: contains_detection_item, field: A, value: b}]", true),
        ("rule_conditions: [{type: contains_detection_item, field: A, value: d}]", false),
        ("rule_conditions: [{type: contains_field, field: N}]", true),
        ("rule_conditions: [{type: rule_attribute, attribute: name, value: t}]", true),
        ("rule_conditions: [{type: processing_item_applied, processing_item_id: x}]", false),
        ("rule_conditions: [{type: processing_state, key: k, val: v}]", false),
        ("field_name_conditions: [{type: include_fields, fields: [A]}]", true),
        ("field_name_conditions: [{type: include_fields, fields: ['[B-Z]'], mode: re}]", false),
        ("field_name_conditions: [{type: exclude_fields, fields: [B, C]}]", true),
        ("field_name_conditions: [{type: exclude_fields, fields: [B, A]}]", false),
        ("detection_item_conditions: [{type: match_string, cond: any, pattern: 'b$'}]", true),
        ("detection_item_conditions: [{type: match_string, cond: all, pattern: 'b$'}]", false),
        ("detection_item_conditions: [{type: match_string, cond: all, pattern: z, negate: true}]", true),
        ("detection_item_conditions: [{type: match_value, cond: any, value: b}]", true),
        ("detection_item_conditions: [{type: contains_wildcard, cond: any}]", true),
        ("detection_item_conditions: [{type: contains_wildcard, cond: all}]", false),
        ("detection_item_conditions: [{type: is_null, cond: any}], detection_item_cond_not: true", true),
    ] {
        assert_eq!(renamed(conditions), holds, "{conditions}");
    }
}

#[test]
fn steps_follow_steps_and_pipelines_their_priority() {
    let steps = "transformations:\n- {id: first, type: field_name_mapping, mapping: {A: B}}\n\
        - {type: set_state, key: k, val: v, rule_conditions: [{type: processing_item_applied, processing_item_id: first}]}\n\
        - {type: field_name_suffix, suffix: '1', rule_conditions: [{type: processing_state, key: k, val: v}],\n   \
        field_name_conditions: [{type: processing_item_applied, processing_item_id: first}]}\n\
        - {type: field_name_prefix, prefix: p, detection_item_conditions: [{type: processing_item_applied, processing_item_id: first}],\n   \
        field_name_conditions: [{type: processing_state, key: k, val: v}]}\n";
    check(steps, "{s: {A: 1, C: 2}, condition: s}", &[json!({"pB1": 1, "C": 2})], &[json!({"B1": 1, "C": 2})]);
    let late = "priority: 20\ntransformations: [{type: field_name_suffix, suffix: z}]\n";
    let early = "priority: 10\ntransformations: [{type: field_name_mapping, mapping: {A: B, Az: C}}]\n";
    assert_eq!(matches_of(&[late, early], "{s: {A: 1}, condition: s}", PROCESS, &[json!({"Bz": 1})]), [true]);
}

#[test]
fn correlations_and_filters_are_fitted_too() {
    let pipeline = one(
        "type: field_name_mapping, mapping: {User: user.name, Bytes: net.bytes}, rule_conditions: [{type: logsource, product: windows}]",
    );
    let correlation = "---\ntitle: C\ncorrelation: {type: value_sum, rules: t, group-by: [User, a], timespan: 1m, aliases: {a: {t: User}}, condition: {gte: 3, field: Bytes}}\n\
        ---\ntitle: F\nlogsource: {product: windows}\nfilter: {rules: [t], f: {User: root}, condition: not f}\n";
    let (rules, refused) = compiled(&[&pipeline], &(rule("{s: {A: 1}, condition: s}") + correlation));
    assert!(refused.is_empty(), "{refused:?}");
    let event = |user: &str| JsonEvent::new(json!({"A": 1, "user.name": user, "net.bytes": 2}));
    assert_eq!(rules.matches(&event("root"), [PROCESS]), []);
    let hit = rules.matches(&event("ana"), [PROCESS])[0];
    let mut state = vertice_sigma::Correlator::default();
    assert_eq!(state.observe(&rules, hit, 0, 1, &event("ana")), []);
    let fired = state.observe(&rules, hit, 1, 2, &event("ana"));
    assert_eq!(fired[0].group[0], ("user.name".to_owned(), "ana".to_owned()));
    let several = one("type: field_name_mapping, mapping: {User: [a, b]}");
    let (_, refused) = compiled(&[&several], &(rule("{s: {A: 1}, condition: s}") + correlation));
    assert!(refused.iter().any(|error| error.reason.contains("several fields of `User`")), "{refused:?}");
}

#[test]
fn pipelines_refuse_rules() {
    let refused = |pipeline: &str, detection: &str| {
        let (rules, refused) = compiled(&[pipeline], &rule(detection));
        assert!(rules.is_empty(), "{pipeline}");
        refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let plain = "{s: {A: 1}, condition: s}";
    assert!(
        refused(&one("type: rule_failure, message: no such data"), plain)
            .starts_with("t.yml:1:1: refused by a pipeline: no such data")
    );
    let item =
        one("type: detection_item_failure, message: no A, field_name_conditions: [{type: include_fields, fields: A}]");
    assert!(refused(&item, plain).starts_with("t.yml:5:"), "{}", refused(&item, plain));
    assert!(refused(&one("type: drop_detection_item"), plain).contains("the pipelines drop all of it"));
    let expand = "{s: {A|expand: '%x%'}, condition: s}";
    assert!(refused(&one("type: value_placeholders"), expand).contains("`%x%` has no values; `vars` of the pipeline"));
    let many = "vars: {x: [a, b]}\ntransformations: [{type: value_placeholders}]\n";
    assert!(refused(many, "{s: {A|all|expand: ['%x%', c]}, condition: s}").contains("`all` with a placeholder"));
    let blown =
        format!("vars: {{x: [{}]}}\ntransformations: [{{type: value_placeholders}}]\n", vec!["a"; 100].join(","));
    assert!(refused(&blown, "{s: {A|expand: '%x%%x%'}, condition: s}").contains("more than 1024 values"));
    let wide = one(&format!("type: field_name_mapping, mapping: {{A: [{}]}}", vec!["a"; 40].join(",")));
    let (_, errors) = compiled(&[&wide], &rule("{s: {A: 1, A|contains: 1, A|endswith: 1}, condition: s}"));
    assert!(errors[0].reason.contains("more than 1024 alternatives"), "{errors:?}");
}

#[test]
fn pipelines_that_cannot_be_meant() {
    let refused = |text: &str, line: u32, words: &str| {
        let error = Pipeline::read("bad.yml", text).expect_err(text);
        assert_eq!((error.path.as_str(), error.line), ("bad.yml", line), "{text}\n{error}");
        assert!(error.reason.contains(words), "{text}\n{error}\nshould say: {words}");
    };
    refused("", 1, "nothing; a pipeline is meant");
    refused("a: [", 1, "not YAML");
    refused("- a\n", 1, "a list; a map is meant");
    refused("name: x\n", 1, "`transformations`: missing; a list");
    refused("transformations: 1\n", 1, "a number; a list");
    refused("transformations: []\npriority: high\n", 2, "a whole number");
    refused("transformations: []\npostprocessing: []\n", 2, "unknown `postprocessing`; one of name, priority");
    refused("transformations: []\n---\nname: x\n", 3, "a second document");
    refused("vars: {a: {b: c}}\ntransformations: []\n", 1, "`vars`, `a`: a map; a name or a list");
    refused("transformations:\n- x\n", 2, "`transformations`: text; a map");
    let item = |lines: &str, words: &str| refused(&one(lines), 4, words);
    item("id: x", "`type`: missing; one of field_name_mapping");
    item("type: query_expression_placeholders", "one of field_name_mapping");
    item("type: field_name_mapping", "`mapping`: missing; a map");
    item("type: field_name_mapping, mapping: {a: []}", "`mapping`, `a`: a list; a name");
    item("type: field_name_prefix, prefx: a", "`prefix`: missing");
    item("type: drop_detection_item, fields: [a]", "unknown `fields`; one of id, type");
    item("type: change_logsource", "at least one of category");
    item("type: add_condition", "a map from fields to values");
    item("type: set_value, value: [1]", "a single value");
    item("type: replace_string, regex: '(', replacement: a", "a regular expression");
    item("type: drop_detection_item, rule_conditions: 1", "a list of conditions");
    item("type: drop_detection_item, rule_conditions: [{type: log_source}]", "`log_source`; one of logsource");
    item("type: drop_detection_item, rule_conditions: [{type: tag, tags: x}]", "`tag`: missing");
    item("type: drop_detection_item, rule_cond_op: xor", "`xor`; one of and, or");
    item("type: drop_detection_item, rule_cond_not: 1", "`true` or `false`");
    item("type: drop_detection_item, rule_cond_expr: a", "`a` is not defined");
    item("type: drop_detection_item, field_name_conditions: [{type: include_fields}]", "a list of names");
    let many = format!("transformations: [{}]\n", vec!["{type: drop_detection_item}"; 1_001].join(","));
    refused(&many, 1, "more than 1000 transformations");
}
