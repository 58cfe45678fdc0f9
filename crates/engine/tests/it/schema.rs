//! The JSON Schema of playbooks says what loading checks.
//!
//! The reader of schemas below knows exactly the words that ours uses, and fails on any other.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vertice_engine::decide::schema;
use vertice_engine::decide::verb::Verb;
use vertice_engine::{Content, ContentFile};
use vertice_testkit::{files_below, root};

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    let path = root().join("docs/playbook.schema.json");
    let made = schema::text();
    if std::env::var_os("VERTICE_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a checked-in file, written by hand of a developer")]
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == kept,
        "docs/playbook.schema.json differs from what the verbs declare. If the change is meant, run\n    \
         VERTICE_BLESS=1 cargo test -p vertice-engine --test it schema\nand look at the difference before you commit it."
    );
}

/// A playbook that is right; the tests break it.
const RIGHT: &str = "\
name: Right
version: '1'
trigger: {condition: x, severity_threshold: low, confidence_threshold: 0.5}
context_requirements: [source_ip, target_host, user]
rollback: {enabled: true, conditions: [manual_override]}
actions:
  - {id: a, type: firewall_rule, parameters: {rule_type: rate_limit, source_ip: '${source_ip}', limit: 5/minute, duration: 1h}}
  - {id: b, type: kill_process, parameters: {target_host: '${target_host}', pid: 7}, irreversible: true, hotl_required: true, hotl_prompt: p}
  - {id: c, type: remote_command, parameters: {target_host: w, command: stop, undo_command: start, duration: 1h}, retries: 2}
  - {id: d, type: collect_forensics, depends_on: [a], parameters: {target_host: w, artifacts: [logs]}, success_criteria: [evidence_collected]}
  - {id: e, type: quarantine, parameters: {target_host: w, file_path: '/tmp/x y', duration: 1h}, timeout: 9s, on_failure: rollback}
  - {id: f, type: http_request, parameters: {url: 'https://h/${user}', undo_url: 'http://h'}}
";

fn loads(text: &str) -> bool {
    Content::compile(vec![ContentFile { path: "playbooks/p.yml".to_owned(), text: text.to_owned() }]).refused.is_empty()
}

fn fits(text: &str) -> Result<(), String> {
    let value: Value = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    holds(&schema::schema(), &value, "")
}

#[test]
fn shipped_playbooks_are_as_the_schema_says() {
    let mut seen = 0;
    for path in files_below(&root().join("content/playbooks"), ".yml") {
        if path.components().all(|c| c.as_os_str() != "cases") {
            fits(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
    assert!(loads(RIGHT) && fits(RIGHT) == Ok(()), "{:?}", fits(RIGHT));
}

#[test]
fn what_loading_refuses_the_schema_refuses() {
    for (from, to, place) in [
        ("name: Right", "nam: Right", "/nam"),
        ("version: '1'", "version: 1", "/version"),
        ("condition: x,", "", "/trigger"),
        ("severity_threshold: low", "severity_threshold: lowest", "/trigger/severity_threshold"),
        ("confidence_threshold: 0.5", "confidence_threshold: 50", "/trigger/confidence_threshold"),
        ("[source_ip, target_host, user]", "[source_ip, target_host, users]", "/context_requirements/2"),
        ("[manual_override]", "[manual]", "/rollback/conditions/0"),
        ("type: firewall_rule", "type: firewal_rule", "/actions/0/type"),
        ("limit: 5/minute, ", "", "/actions/0/parameters"),
        ("rule_type: rate_limit", "rule_type: block", "/actions/0/parameters/limit"),
        ("source_ip: '${source_ip}'", "source_ip: 203.0.113.0/24", "/actions/0/parameters/source_ip"),
        ("source_ip: '${source_ip}'", "source_ip: '${user}'", "/actions/0/parameters/source_ip"),
        ("source_ip: '${source_ip}', ", "", "/actions/0/parameters"),
        ("limit: 5/minute", "limit: 5 a minute", "/actions/0/parameters/limit"),
        (", duration: 1h}}\n  - {id: b", "}}\n  - {id: b", "/actions/0/parameters"),
        ("irreversible: true, ", "", "/actions/1"),
        ("hotl_required: true, hotl_prompt: p", "hotl_required: false", "/actions/1/hotl_required"),
        ("hotl_prompt: p", "timeout: 9s", "/actions/1"),
        ("hotl_prompt: p", "hotl_prompt: p, on_timeout: execute", "/actions/1/on_timeout"),
        ("pid: 7", "pid: seven", "/actions/1/parameters/pid"),
        ("undo_command: start, duration: 1h", "undo_command: start", "/actions/2/parameters"),
        ("undo_command: start, duration: 1h", "duration: 1h", "/actions/2"),
        ("undo_command: start, duration: 1h", "", "/actions/2"),
        ("retries: 2", "retries: 77", "/actions/2/retries"),
        ("retries: 2", "irreversible: true", "/actions/2/irreversible"),
        ("retries: 2", "on_timeout: deny", "/actions/2/on_timeout"),
        ("[evidence_collected]", "[rule_applied]", "/actions/3/success_criteria/0"),
        ("artifacts: [logs]", "artifacts: [log]", "/actions/3/parameters/artifacts/0"),
        ("'/tmp/x y'", "x", "/actions/4/parameters/file_path"),
        ("timeout: 9s", "timeout: 9", "/actions/4/timeout"),
        ("on_failure: rollback", "on_failure: undo", "/actions/4/on_failure"),
        ("undo_url: 'http://h'", "undo_url: 'ftp://h'", "/actions/5/parameters/undo_url"),
    ] {
        let broken = RIGHT.replacen(from, to, 1);
        assert_ne!(broken, RIGHT, "{from}");
        assert!(!loads(&broken), "loading does not refuse {to:?}");
        let told = fits(&broken).expect_err(to);
        // At the place, or within it: which of several things that are wrong comes first is not said.
        let there = ["{place}: ", "{place}/"].map(|form| form.replace("{place}", place));
        assert!(there.iter().any(|there| told.starts_with(there)), "{to:?}: {told}");
    }
}

#[test]
fn the_schema_knows_the_keys_that_loading_knows() {
    // Loading names the keys that it knows where one is none of them.
    let known = |text: &str, place: &str| -> BTreeSet<String> {
        let file = ContentFile { path: "playbooks/p.yml".to_owned(), text: text.to_owned() };
        let refused = Content::compile(vec![file]).refused.clone();
        let told = refused
            .iter()
            .map(|error| error.reason.as_str())
            .find(|told| told.starts_with(&format!("{place} has no key")));
        let (_, list) = told.unwrap_or_else(|| panic!("{place}: {refused:#?}")).split_once("; it is one of ").unwrap();
        list.split(", ").map(str::to_owned).collect()
    };
    let keys =
        |value: &Value| -> BTreeSet<String> { value["properties"].as_object().unwrap().keys().cloned().collect() };
    let schema = schema::schema();
    assert_eq!(keys(&schema), known("zzzzzzzzzzzzzzzzzzzzzzzz: 1\n", "the file"));
    let inner = "trigger: {zzzzzzzzzzzzzzzzzzzzzzzz: 1}\nrollback: {zzzzzzzzzzzzzzzzzzzzzzzz: 1}\nactions: [{id: a, zzzzzzzzzzzzzzzzzzzzzzzz: 1}]\n";
    let whole = format!("name: n\nversion: '1'\n{inner}");
    for place in ["trigger", "rollback"] {
        assert_eq!(keys(&schema["properties"][place]), known(&whole, &format!("`{place}`")), "{place}");
    }
    let action = &schema["properties"]["actions"]["items"];
    assert_eq!(keys(action), known(&whole, "`actions.a`"));
    let verbs = action["allOf"].as_array().unwrap();
    for verb in Verb::ALL {
        let text = format!(
            "name: n\nversion: '1'\ntrigger: {{condition: x}}\nactions: [{{id: a, type: {}, parameters: {{zzzzzzzzzzzzzzzzzzzzzzzz: 1}}}}]\n",
            verb.as_str()
        );
        let rule = verbs.iter().find(|rule| rule["if"]["properties"]["type"]["const"] == verb.as_str()).unwrap();
        let parameters = &rule["then"]["properties"]["parameters"];
        assert_eq!(keys(parameters), known(&text, "`actions.a.parameters`"), "{verb:?}");
    }
}

/// Whether a value is as a schema says; otherwise where it is not, and by which word of the schema.
fn holds(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(words) = schema.as_object() else {
        return if schema == true { Ok(()) } else { Err(format!("{at}: may not be there")) };
    };
    for (word, says) in words {
        let fine = match word.as_str() {
            "properties" => {
                for (key, below) in says.as_object().unwrap() {
                    value.get(key).map_or(Ok(()), |value| holds(below, value, &format!("{at}/{key}")))?;
                }
                true
            }
            "items" => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                items.try_for_each(|(i, item)| holds(says, item, &format!("{at}/{i}")))?;
                true
            }
            "allOf" => {
                says.as_array().unwrap().iter().try_for_each(|schema| holds(schema, value, at))?;
                true
            }
            "if" => {
                let branch = if holds(says, value, at).is_ok() { "then" } else { "else" };
                words.get(branch).map_or(Ok(()), |schema| holds(schema, value, at))?;
                true
            }
            "additionalProperties" => {
                let known = words["properties"].as_object().unwrap();
                let odd = value.as_object().and_then(|of| of.keys().find(|key| !known.contains_key(*key)));
                odd.map_or(Ok(()), |key| Err(format!("{at}/{key}: is none of its keys")))?;
                true
            }
            "anyOf" => says.as_array().unwrap().iter().any(|schema| holds(schema, value, at).is_ok()),
            "not" => holds(says, value, at).is_err(),
            "enum" => says.as_array().unwrap().contains(value),
            "const" => says == value,
            "type" => is(says.as_str().unwrap(), value),
            "required" => says.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "pattern" => {
                value.as_str().is_none_or(|text| regex::Regex::new(says.as_str().unwrap()).unwrap().is_match(text))
            }
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= says.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= says.as_u64().unwrap()),
            "minimum" => value.as_f64().is_none_or(|n| n >= says.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= says.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= says.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= says.as_u64().unwrap()),
            "uniqueItems" => {
                value.as_array().is_none_or(|items| (1..items.len()).all(|i| !items[..i].contains(&items[i])))
            }
            "then" | "else" | "description" | "title" | "$schema" => true,
            other => panic!("{at}: the reader of schemas does not know {other}"),
        };
        if !fine {
            return Err(format!("{at}: {word} {says}"));
        }
    }
    Ok(())
}

fn is(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("no type {other}"),
    }
}

#[test]
fn the_reader_of_schemas_tells_what_does_not_fit() {
    let schema =
        json!({"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": false});
    for (value, fits) in [
        (json!({"a": 1}), true),
        (json!({"a": 2}), false),
        (json!({}), false),
        (json!({"a": 1, "b": 1}), false),
        (json!(7), false),
    ] {
        assert_eq!(holds(&schema, &value, "").is_ok(), fits, "{value}");
    }
}
