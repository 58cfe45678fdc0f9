//! Anthropic's messages.

use serde_json::{Value, json};

use super::{JsonForm, Read, Wire, count, name_of, system, temperature};
use crate::error::Why;
use crate::request::{Output, Request};

pub(super) fn body(wire: &Wire, request: &Request) -> Value {
    let mut body = json!({
        "model": wire.model,
        "system": system(wire.json, request),
        "messages": [{"role": "user", "content": request.user}],
        "max_tokens": request.max_tokens,
    });
    if wire.warm {
        // Here it goes to 1 at most.
        let asked = temperature(request);
        body["temperature"] = if asked.as_f64().is_some_and(|t| t > 1.0) { json!(1.0) } else { asked };
    }
    match (&request.output, wire.json) {
        // There is no JSON as such.
        (Output::Text, _) | (Output::Json(_), JsonForm::Prompt | JsonForm::Object | JsonForm::ObjectSchema) => {}
        (Output::Json(schema), JsonForm::Schema) => {
            // Bounds of numbers and lengths are refused here; the answer is held against them all the same.
            let format = json!({"type": "json_schema", "schema": schema.unbounded()});
            body["output_config"] = json!({"format": format});
        }
    }
    body
}

pub(super) fn read(answer: &Value) -> Result<Read, Why> {
    if answer["stop_reason"] == "refusal" {
        return Err(Why::Declined);
    }
    let content = answer["content"].as_array().ok_or(Why::Malformed)?;
    let mut text = String::new();
    for part in content.iter().filter(|p| p["type"] == "text") {
        text.push_str(part["text"].as_str().ok_or(Why::Malformed)?);
    }
    let cut = matches!(answer["stop_reason"].as_str(), Some("max_tokens" | "model_context_window_exceeded"));
    if text.is_empty() && !cut {
        return Err(Why::Malformed);
    }
    let usage = &answer["usage"];
    // What was read from their cache or written to it is counted beside the input.
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"].map(|n| count(usage, n).unwrap_or(0));
    let input = count(usage, "input_tokens").map(|n| n.saturating_add(cached[0]).saturating_add(cached[1]));
    Ok(Read { text, cut, usage: input.zip(count(usage, "output_tokens")), model: name_of(answer) })
}
