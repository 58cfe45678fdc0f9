//! OpenAI's responses.

use serde_json::{Value, json};

use super::{JsonForm, Read, Wire, count, name_of, system, temperature};
use crate::error::Why;
use crate::request::{Output, Request};

pub(super) fn body(wire: &Wire, request: &Request) -> Value {
    let mut body = json!({
        "model": wire.model,
        "instructions": system(wire.json, request),
        "input": request.user,
        "max_output_tokens": request.max_tokens,
        // By default they keep what they were asked for 30 days, for it to be referred to. We refer to nothing.
        "store": false,
    });
    if wire.warm {
        body["temperature"] = temperature(request);
    }
    match (&request.output, wire.json) {
        (Output::Text, _) | (Output::Json(_), JsonForm::Prompt) => {}
        (Output::Json(_), JsonForm::Object | JsonForm::ObjectSchema) => {
            body["text"] = json!({"format": {"type": "json_object"}});
        }
        (Output::Json(schema), JsonForm::Schema) => {
            let format = json!({"type": "json_schema", "name": "answer", "strict": true, "schema": schema.value()});
            body["text"] = json!({"format": format});
        }
    }
    body
}

pub(super) fn read(answer: &Value) -> Result<Read, Why> {
    let output = answer["output"].as_array().ok_or(Why::Malformed)?;
    let reason = answer["incomplete_details"]["reason"].as_str();
    let mut text = String::new();
    let parts = output.iter().filter(|o| o["type"] == "message").filter_map(|o| o["content"].as_array()).flatten();
    for part in parts {
        match part["type"].as_str() {
            Some("output_text") => text.push_str(part["text"].as_str().ok_or(Why::Malformed)?),
            Some("refusal") => return Err(Why::Declined),
            _ => {}
        }
    }
    match (answer["status"].as_str(), reason) {
        (_, Some("content_filter")) => return Err(Why::Declined),
        // It came with 200, but says that it failed.
        (Some("failed"), _) => return Err(Why::Failed(200)),
        (Some("completed" | "incomplete") | None, _) => {}
        (Some(_), _) => return Err(Why::Malformed),
    }
    let cut = reason == Some("max_output_tokens");
    if text.is_empty() && !cut {
        return Err(Why::Malformed);
    }
    let usage = &answer["usage"];
    let usage = count(usage, "input_tokens").zip(count(usage, "output_tokens"));
    Ok(Read { text, cut, usage, model: name_of(answer) })
}
