//! The part of JSON Schema that holds.

use serde_json::{Value, json};
use vertice_llm::Schema;

#[test]
fn schemas_beyond_the_subset_are_refused() {
    for (schema, wanted) in [
        (json!("string"), "it is no object"),
        (json!({}), "it says nothing"),
        (json!({"type": "text"}), "/type"),
        (json!({"type": "string", "pattern": "^a"}), "/pattern"),
        (json!({"type": "string", "format": "date"}), "/format"),
        (json!({"$ref": "#/x"}), "/$ref"),
        (json!({"type": "object"}), "an object has properties"),
        (json!({"type": "object", "properties": {}}), "additionalProperties"),
        (json!({"type": "object", "properties": {}, "additionalProperties": true}), "/additionalProperties"),
        (
            json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": [], "additionalProperties": false}),
            "requires each",
        ),
        (json!({"type": "array", "items": {"type": "strin"}}), "/items/type"),
        (json!({"anyOf": []}), "anyOf is a list"),
        (json!({"enum": []}), "/enum"),
        ((0..20).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner})), "too deep"),
        (json!({"type": "string", "description": "x".repeat(40_000)}), "too long"),
    ] {
        let error = Schema::new(schema.clone()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{schema}: {error}");
    }
}

#[test]
fn values_fit_or_do_not() {
    let object = json!({
        "type": "object", "additionalProperties": false, "required": ["a", "b"],
        "properties": {"a": {"type": "integer", "minimum": 1, "maximum": 3}, "b": {"anyOf": [{"type": "null"}, {"enum": ["x", 2]}]}},
    });
    let list = json!({"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "minLength": 1, "maxLength": 3}});
    let cases: [(&Value, &[Value], &[Value]); 4] = [
        (
            &object,
            &[json!({"a": 1, "b": null}), json!({"a": 3.0, "b": "x"}), json!({"a": 2, "b": 2})],
            &[
                json!({"a": 0, "b": null}),
                json!({"a": 4, "b": null}),
                json!({"a": 1.5, "b": null}),
                json!({"a": "1", "b": null}),
                json!({"a": 1}),
                json!({"a": 1, "b": "y"}),
                json!({"a": 1, "b": null, "c": 1}),
                json!([1]),
                json!(null),
            ],
        ),
        (
            &list,
            &[json!(["a"]), json!(["äöü", "b"])],
            &[json!([]), json!(["a", "b", "c"]), json!([""]), json!(["abcd"]), json!("a")],
        ),
        (&json!({"const": {"k": 1}}), &[json!({"k": 1})], &[json!({"k": 2}), json!(1)]),
        (&json!({"type": "number"}), &[json!(1), json!(1.5)], &[json!("1"), json!(true)]),
    ];
    for (schema, fitting, others) in cases {
        let schema = Schema::new(schema.clone()).unwrap();
        for value in fitting {
            assert!(schema.fits(value), "{value}");
        }
        for value in others {
            assert!(!schema.fits(value), "{value}");
        }
    }
}
