//! The part of JSON Schema that every provider takes, and that is checked here once more.
//!
//! "Strict" forms differ between providers. The subset here is what they have in common: every object is closed and
//! names all of its properties as required. Numbers and lengths may be bounded; such bounds are left out of what is sent to a
//! provider that refuses them, and hold all the same, for no answer leaves this crate without having been checked.

use serde_json::{Map, Value, json};

use crate::limits;

/// A schema that every provider takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    value: Value,
    text: String,
}

/// Words that bound a value. Not every provider takes them.
const BOUNDS: [&str; 6] = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"];

impl Schema {
    /// Takes a schema.
    ///
    /// # Errors
    /// Where it goes beyond the subset, and how: an unknown word is refused, for it would be believed to hold.
    pub fn new(value: Value) -> Result<Schema, SchemaError> {
        let text = value.to_string();
        if text.len() > limits::SCHEMA_BYTES_MAX {
            return Err(SchemaError { at: String::new(), reason: "it is too long" });
        }
        well_formed(&value, "", 0)?;
        Ok(Schema { value, text })
    }

    /// The schema.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The schema without the words that bound a value.
    pub(crate) fn unbounded(&self) -> Value {
        strip(&self.value)
    }

    /// Whether a value fits.
    #[must_use]
    pub fn fits(&self, value: &Value) -> bool {
        fits(&self.value, value)
    }
}

/// What is wrong with a schema.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the schema at \"{at}\": {reason}")]
pub struct SchemaError {
    at: String,
    reason: &'static str,
}

fn well_formed(schema: &Value, at: &str, depth: usize) -> Result<(), SchemaError> {
    let wrong = |reason| Err(SchemaError { at: at.to_owned(), reason });
    if depth > limits::SCHEMA_DEPTH_MAX {
        return wrong("it goes too deep");
    }
    let Some(words) = schema.as_object() else { return wrong("it is no object") };
    for (word, value) in words {
        let fine = match word.as_str() {
            "type" => matches!(
                value.as_str(),
                Some("object" | "array" | "string" | "integer" | "number" | "boolean" | "null")
            ),
            "description" | "title" => value.is_string(),
            "enum" => value.as_array().is_some_and(|a| !a.is_empty()),
            "const" => true,
            "properties" => value.is_object(),
            "required" => value.as_array().is_some_and(|a| a.iter().all(Value::is_string)),
            "additionalProperties" => *value == Value::Bool(false),
            "items" | "anyOf" => true,
            word if BOUNDS.contains(&word) => value.is_number(),
            _ => {
                return Err(SchemaError {
                    at: format!("{at}/{word}"),
                    reason: "this word is not among those that hold",
                });
            }
        };
        if !fine {
            return Err(SchemaError { at: format!("{at}/{word}"), reason: "it has not the form that it must have" });
        }
    }
    if words.get("type").is_some_and(|t| t == "object") {
        closed(words, at)?;
    }
    for (name, inner) in words.get("properties").and_then(Value::as_object).into_iter().flatten() {
        well_formed(inner, &format!("{at}/{name}"), depth + 1)?;
    }
    if let Some(items) = words.get("items") {
        well_formed(items, &format!("{at}/items"), depth + 1)?;
    }
    if let Some(any) = words.get("anyOf") {
        let Some(any) = any.as_array().filter(|a| !a.is_empty()) else { return wrong("anyOf is a list") };
        for inner in any {
            well_formed(inner, &format!("{at}/anyOf"), depth + 1)?;
        }
    }
    if !["type", "enum", "const", "anyOf"].iter().any(|w| words.contains_key(*w)) {
        return wrong("it says nothing");
    }
    Ok(())
}

/// An object must say all of its properties, and allow no other.
fn closed(words: &Map<String, Value>, at: &str) -> Result<(), SchemaError> {
    let wrong = |reason| Err(SchemaError { at: at.to_owned(), reason });
    let Some(properties) = words.get("properties").and_then(Value::as_object) else {
        return wrong("an object has properties");
    };
    if !words.contains_key("additionalProperties") {
        return wrong("an object says additionalProperties: false");
    }
    let required: Vec<_> = words.get("required").and_then(Value::as_array).into_iter().flatten().collect();
    let all = required.len() == properties.len()
        && properties.keys().all(|name| required.iter().any(|r| r.as_str() == Some(name)));
    if all { Ok(()) } else { wrong("an object requires each of its properties; let one be null by anyOf") }
}

fn strip(schema: &Value) -> Value {
    let Some(words) = schema.as_object() else { return schema.clone() };
    let mut kept = Map::new();
    for (word, value) in words {
        let value = match word.as_str() {
            word if BOUNDS.contains(&word) => continue,
            "properties" => match value.as_object() {
                Some(inner) => inner.iter().map(|(k, v)| (k.clone(), strip(v))).collect::<Map<_, _>>().into(),
                None => json!({}),
            },
            "items" => strip(value),
            "anyOf" => value.as_array().into_iter().flatten().map(strip).collect::<Vec<_>>().into(),
            _ => value.clone(),
        };
        kept.insert(word.clone(), value);
    }
    Value::Object(kept)
}

fn fits(schema: &Value, value: &Value) -> bool {
    let Some(words) = schema.as_object() else { return false };
    words.iter().all(|(word, says)| match word.as_str() {
        "type" => of_type(says.as_str().unwrap_or_default(), value),
        "enum" => says.as_array().is_some_and(|a| a.contains(value)),
        "const" => says == value,
        "anyOf" => says.as_array().is_some_and(|a| a.iter().any(|s| fits(s, value))),
        "properties" => value.as_object().is_none_or(|object| {
            let known = says.as_object().map(|p| (p, object.keys().all(|k| p.contains_key(k))));
            known.is_some_and(|(p, all)| all && p.iter().all(|(k, s)| object.get(k).is_some_and(|v| fits(s, v))))
        }),
        "items" => value.as_array().is_none_or(|a| a.iter().all(|v| fits(says, v))),
        "minimum" => value.as_f64().is_none_or(|n| says.as_f64().is_some_and(|b| n >= b)),
        "maximum" => value.as_f64().is_none_or(|n| says.as_f64().is_some_and(|b| n <= b)),
        "minLength" => value.as_str().is_none_or(|s| says.as_u64().is_some_and(|b| s.chars().count() as u64 >= b)),
        "maxLength" => value.as_str().is_none_or(|s| says.as_u64().is_some_and(|b| s.chars().count() as u64 <= b)),
        "minItems" => value.as_array().is_none_or(|a| says.as_u64().is_some_and(|b| a.len() as u64 >= b)),
        "maxItems" => value.as_array().is_none_or(|a| says.as_u64().is_some_and(|b| a.len() as u64 <= b)),
        // What is required and closed is held by "properties"; the others are notes.
        _ => true,
    })
}

fn of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        // Some write 3.0 for 3, and JSON Schema takes it.
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        _ => false,
    }
}
