//! Chat completions: OpenAI's, and those of all that speak like it.

use serde_json::{Value, json};

use super::{JsonForm, Provider, Read, Wire, count, name_of, system, temperature};
use crate::error::Why;
use crate::request::{Output, Request};

pub(super) fn body(provider: Provider, wire: &Wire, request: &Request) -> Value {
    // OpenAI's models that think first take only the new name; others know only the old one.
    let max_tokens = if provider == Provider::Compatible { "max_tokens" } else { "max_completion_tokens" };
    let mut body = json!({
        "model": wire.model,
        "messages": [
            {"role": "system", "content": system(wire.json, request)},
            {"role": "user", "content": request.user},
        ],
        max_tokens: request.max_tokens,
        "stream": false,
    });
    if wire.warm {
        body["temperature"] = temperature(request);
    }
    match (&request.output, wire.json) {
        (Output::Text, _) | (Output::Json(_), JsonForm::Prompt) => {}
        (Output::Json(_), JsonForm::Object) => body["response_format"] = json!({"type": "json_object"}),
        (Output::Json(schema), JsonForm::ObjectSchema) => {
            body["response_format"] = json!({"type": "json_object", "schema": schema.value()});
        }
        (Output::Json(schema), JsonForm::Schema) => {
            let schema = json!({"name": "answer", "strict": true, "schema": schema.value()});
            body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
        }
    }
    body
}

pub(super) fn read(answer: &Value) -> Result<Read, Why> {
    let choice = answer["choices"].get(0).ok_or(Why::Malformed)?;
    let message = choice.get("message").ok_or(Why::Malformed)?;
    if choice["finish_reason"] == "content_filter" || message["refusal"].as_str().is_some_and(|r| !r.is_empty()) {
        return Err(Why::Declined);
    }
    let usage = &answer["usage"];
    Ok(Read {
        text: message["content"].as_str().ok_or(Why::Malformed)?.to_owned(),
        cut: choice["finish_reason"] == "length",
        usage: count(usage, "prompt_tokens").zip(count(usage, "completion_tokens")),
        model: name_of(answer),
    })
}
