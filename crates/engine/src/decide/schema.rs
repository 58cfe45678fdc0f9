//! A JSON Schema (draft 2020-12) of playbook files, for editors. It is made from the declarations of the verbs, so
//! that it says what loading checks; what a schema can not say (that `depends_on` has no circle, that every
//! `${…}` is required) stays to `vertice playbook check`.

use serde_json::{Map, Value, json};

use super::cacao::json::sorted;
use super::context::Variable;
use super::verb::{Declaration, Inverse, Kind, Lasting, Need, Parameter, Verb};
use crate::limits;

/// A name of a playbook's action, or one of the configuration.
const NAME: &str = "^[a-z][a-z0-9_-]*$";

/// The schema of a playbook file.
#[must_use]
pub fn schema() -> Value {
    let variables: Vec<&str> = Variable::all().map(Variable::name).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Vertice playbook",
        "description": "What to do about a class of threat, written down beforehand.",
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "version", "trigger", "actions"],
        "properties": {
            "name": words("What people call it."),
            "version": words("Its version, in quotes."),
            "description": words("What it is for."),
            "trigger": trigger(),
            "context_requirements": {
                "description": "What the threat must tell; only these may be used as `${…}`.",
                "type": "array", "uniqueItems": true, "items": {"enum": variables},
            },
            "actions": {
                "type": "array", "minItems": 1, "maxItems": limits::PLAYBOOK_ACTIONS_MAX, "items": action(),
            },
            "rollback": rollback(),
            "cacao": {
                "description": "The CACAO document that it was imported from; written by `vertice playbook import`.",
                "type": "object", "additionalProperties": false, "required": ["unchanged", "document"],
                "properties": {"unchanged": {"type": "string"}, "document": {"type": "string"}},
            },
        },
    })
}

/// The schema as text.
#[must_use]
pub fn text() -> String {
    serde_json::to_string_pretty(&sorted(&schema())).expect("a JSON value always serializes") + "\n"
}

fn words(description: &str) -> Value {
    json!({"description": description, "type": "string", "minLength": 1, "maxLength": limits::PLAYBOOK_TEXT_BYTES_MAX})
}

fn trigger() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["condition"],
        "properties": {
            "condition": {
                "description": "A class such as `brute_force_detected`, or an expression over the threat.",
                "type": "string", "minLength": 1, "maxLength": limits::CONDITION_BYTES_MAX,
            },
            "severity_threshold": {
                "description": "How bad the threat must be; medium unless given.",
                "enum": vertice_model::Severity::ALL.map(vertice_model::Severity::as_str),
            },
            "confidence_threshold": {
                "description": "How sure it must be, from 0 to 1; 0.75 unless given.",
                "type": "number", "minimum": 0, "maximum": 1,
            },
        },
    })
}

fn rollback() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "enabled": {"description": "Whether a run is ever taken back; true unless given.", "type": "boolean"},
            "conditions": {
                "description": "What takes a run back; all unless given.",
                "type": "array", "uniqueItems": true, "items": {"enum": ["false_positive_confirmed", "manual_override"]},
            },
        },
    })
}

fn action() -> Value {
    let verbs: Vec<&str> = Verb::ALL.into_iter().map(Verb::as_str).collect();
    let asked = json!({"properties": {"hotl_required": {"const": true}}, "required": ["hotl_required"]});
    let only_asked = json!({"hotl_prompt": false, "on_timeout": false, "approval_timeout": false});
    let mut rules =
        vec![json!({"if": asked, "then": {"required": ["hotl_prompt"]}, "else": {"properties": only_asked}})];
    rules.extend(Verb::ALL.into_iter().map(|verb| of_verb(verb.declares())));
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "type", "parameters"],
        "properties": {
            "id": {"description": "Its name within the playbook.", "type": "string", "pattern": NAME,
                "maxLength": limits::PLAYBOOK_ID_BYTES_MAX},
            "type": {"description": "What it does.", "enum": verbs},
            "hotl_required": {"description": "Whether a person is asked first.", "type": "boolean"},
            "hotl_prompt": words("What the person is asked; `${…}` is filled."),
            "on_timeout": {"description": "What follows if nobody answers; deny unless given.",
                "enum": ["deny", "escalate", "execute"]},
            "approval_timeout": duration("How long the question waits; 5m unless given."),
            "irreversible": {"description": "Must be true of what nothing undoes.", "type": "boolean"},
            "depends_on": {"description": "The actions that it waits for.", "type": "array", "uniqueItems": true,
                "maxItems": limits::PLAYBOOK_ACTIONS_MAX, "items": {"type": "string"}},
            "parameters": {"type": "object"},
            "success_criteria": {"description": "By what it is seen to have come about.", "type": "array", "uniqueItems": true},
            "timeout": duration("Within how long it must be seen to have come about; 30s unless given."),
            "retries": {"description": "How often it is tried again; 0 unless given.",
                "type": "integer", "minimum": 0, "maximum": limits::ACTION_RETRIES_MAX},
            "on_failure": {"description": "What becomes of what waits for it if it does not come about; stop unless given.",
                "enum": ["stop", "continue", "rollback"]},
        },
        "allOf": rules,
    })
}

/// What a verb's declaration asks of an action.
fn of_verb(declared: &Declaration) -> Value {
    let mut then = json!({"properties": {
        "parameters": parameters(declared),
        "success_criteria": {"items": {"enum": declared.observable}},
    }});
    let person = json!({
        "required": ["irreversible", "hotl_required"],
        "properties": {"irreversible": {"const": true}, "hotl_required": {"const": true}, "on_timeout": {"not": {"const": "execute"}}},
    });
    let undone = json!({"properties": {"irreversible": {"const": false}}});
    let rule = match declared.inverse {
        Inverse::Always(_) => undone,
        Inverse::Never => person,
        Inverse::With(parameter, _) => json!({
            "if": {"properties": {"parameters": {"required": [parameter]}}}, "then": undone, "else": person,
        }),
    };
    then["allOf"] = json!([rule]);
    json!({"if": {"properties": {"type": {"const": declared.word}}, "required": ["type"]}, "then": then})
}

fn parameters(declared: &Declaration) -> Value {
    let mut properties = Map::new();
    let (mut required, mut rules) = (Vec::new(), Vec::new());
    for parameter in declared.parameters {
        properties.insert(parameter.name.to_owned(), value(parameter, declared));
        match parameter.need {
            Need::May => {}
            Need::Must => required.push(parameter.name),
            Need::Where(other, word) => rules.push(json!({
                "if": {"properties": {other: {"const": word}}, "required": [other]},
                "then": {"required": [parameter.name]},
                "else": {"properties": {parameter.name: false}},
            })),
            Need::Beside(other) => rules.push(json!({
                "if": {"required": [other]},
                "then": {"required": [parameter.name]},
                "else": {"properties": {parameter.name: false}},
            })),
        }
    }
    let mut schema =
        json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties});
    if !declared.any_of.is_empty() {
        schema["anyOf"] = declared.any_of.iter().map(|name| json!({"required": [name]})).collect();
    }
    if !rules.is_empty() {
        schema["allOf"] = Value::Array(rules);
    }
    schema
}

fn value(parameter: &Parameter, declared: &Declaration) -> Value {
    match parameter.kind {
        Kind::Address => {
            // A slash would make it a range, which no action touches.
            let written =
                json!({"description": "One address, never a range.", "type": "string", "pattern": "^[0-9A-Fa-f:.]+$"});
            filled(Kind::Address, written)
        }
        Kind::Host => filled(Kind::Host, json!({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,252}$"})),
        Kind::User => {
            filled(Kind::User, json!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^$ -]"}))
        }
        Kind::Duration if declared.lasting == Lasting::Never => duration("How long."),
        Kind::Duration => duration("How long it lasts: its lease."),
        Kind::Rate => json!({"type": "string", "pattern": "^[1-9][0-9]{0,11}/(second|minute|hour|day)$"}),
        Kind::Bandwidth => json!({"type": "string", "pattern": "^[1-9][0-9]{0,11}(kbit|mbit|gbit)$"}),
        Kind::Size => json!({"type": "string", "pattern": "^[1-9][0-9]{0,11}(kB|MB|GB)$"}),
        Kind::Port => json!({"type": "integer", "minimum": 1, "maximum": 65_535}),
        Kind::Number => json!({"type": "integer", "minimum": 2, "maximum": 4_194_304}),
        Kind::Word(words) => json!({"enum": words}),
        Kind::Words(words) => json!({"type": "array", "uniqueItems": true, "items": {"enum": words}}),
        Kind::Name => json!({"type": "string", "pattern": NAME, "maxLength": limits::PLAYBOOK_ID_BYTES_MAX}),
        Kind::Path => json!({"type": "string", "pattern": "^(/|.:\\\\)[^*?$]*$"}),
        Kind::Url => json!({"type": "string", "pattern": "^https?://[A-Za-z0-9.:\\[\\]-]+(/\\S*)?$"}),
        Kind::Text => words("`${…}` is filled."),
    }
}

/// An entity: written out, or the one variable of its kind.
fn filled(kind: Kind, written: Value) -> Value {
    let variables = Variable::all().filter(|variable| variable.kind() == kind);
    let variables: Vec<String> = variables.map(|variable| format!("${{{}}}", variable.name())).collect();
    json!({"anyOf": [{"enum": variables}, written]})
}

fn duration(description: &str) -> Value {
    json!({"description": description, "type": "string", "pattern": "^[1-9][0-9]{0,11}[smhd]$"})
}
