//! What must hold of whatever a provider or Redis answers, and of any text that is redacted: for the fuzz targets, and
//! for tests with mutated inputs.

use serde_json::{Value, json};
use vertice_model::Timestamp;

use crate::error::Why;
use crate::guard::{restored, shaped};
use crate::provider::{Provider, heard, words};
use crate::redact::{Addresses, Redacted, RedactionSettings, Redactor};
use crate::request::{Purpose, Request, Response};
use crate::schema::Schema;
use crate::secret::Secret;
use crate::shared::kept;
use crate::{limits, text};

/// A key of ours, which goes nowhere.
const KEY: &str = "own.key+of-ours";

/// An address of mail that stands in the question, and is `[EMAIL_1]` in answers.
const MAIL: &str = "\"eve\"@corp.example";

/// Any bytes as an answer: of each provider, of one that refuses, and of Redis.
///
/// # Panics
/// When what must hold does not.
pub fn answer(redactor: &Redactor, bytes: &[u8]) {
    let ([_, user], redacted) = redactor.redact(["", &format!("mail from {MAIL}")]);
    let request = Request::new(Purpose::Triage, "Judge.", &user, Timestamp::default()).json(schema());
    for provider in [Provider::OpenaiChat, Provider::OpenaiResponses, Provider::Anthropic] {
        if let Ok(response) = heard(provider, &request, bytes) {
            assert!(response.model.chars().count() <= limits::WORDS_CHARS_MAX);
            let usage = response.usage;
            assert!(usage.input_tokens.max(usage.output_tokens) <= limits::CLAIMED_TOKENS_MAX);
            taken(response, &request, &redacted);
        }
    }
    if let Some(response) = kept(bytes) {
        taken(response, &request, &redacted);
    }
    let words = words(redactor, bytes);
    assert!(words.chars().count() <= limits::WORDS_CHARS_MAX + 1 && words == text::shown(&words), "{words:?}");
    assert!(!words.contains(KEY), "{words:?}");
}

/// Whatever is taken has exactly the form that was asked for.
fn taken(response: Response, request: &Request, redacted: &Redacted) {
    let cut = response.cut;
    let response = match shaped(response, &request.output) {
        Ok(response) => restored(response, redacted),
        Err(error) => {
            assert!(error.why == Why::WrongShape || (cut && error.why == Why::CutShort), "{error}");
            return;
        }
    };
    let json = response.json.expect("it was asked for");
    assert_eq!(serde_json::from_str::<Value>(&response.text).ok().as_ref(), Some(&json));
    let members = json.as_object().expect("an object");
    assert_eq!(members.len(), 2, "{json}");
    // What is put back may be longer than its placeholder.
    let longest = 80 + 80 / "[EMAIL_1]".len() * MAIL.len();
    assert!(members["who"].as_str().is_some_and(|who| who.chars().count() <= longest), "{json}");
    assert!(members["score"].as_f64().is_some_and(|s| (0.0..=100.0).contains(&s) && s.fract() == 0.0), "{json}");
}

fn schema() -> Schema {
    let properties = json!({
        "who": {"type": "string", "maxLength": 80},
        "score": {"type": "integer", "minimum": 0, "maximum": 100},
    });
    let closed = json!({
        "type": "object", "properties": properties, "required": ["who", "score"], "additionalProperties": false,
    });
    Schema::new(closed).expect("it is within the subset")
}

/// What takes out all that can be taken out.
///
/// # Panics
/// Never.
#[must_use]
pub fn redactor() -> Redactor {
    let words = vec!["Bluebird".to_owned()];
    let settings = RedactionSettings { users: true, addresses: Addresses::All, words, ..RedactionSettings::default() };
    Redactor::new(&settings, &[Secret::new(KEY)]).expect("the settings are valid")
}

/// Any text before it is sent, and before it is shown.
///
/// # Panics
/// When what must hold does not.
pub fn redact(redactor: &Redactor, text: &str) {
    let ([first, second], redacted) = redactor.redact([text, KEY]);
    assert_eq!(second, redactor.redact([text, KEY]).0[1], "the same is redacted the same");
    assert!(!first.contains(KEY) && !second.contains(KEY), "{first:?} {second:?}");
    assert!(!redactor.redact_secrets(text).contains(KEY));
    if !first.contains("[SECRET_") {
        assert_eq!(redacted.restore(&first), text);
    }
}

#[cfg(test)]
mod tests {
    use vertice_testkit::{Random, long};

    use super::*;
    use crate::request::{Origin, Usage};

    /// One answer of each form, all of which are taken.
    fn answers() -> Vec<String> {
        let good = r#"{"who":"[EMAIL_1]","score":7}"#;
        let kept = Response {
            text: format!("```json\n{good}\n```"),
            json: None,
            cut: false,
            usage: Usage::default(),
            cost_microusd: Some(4),
            model: "small-1".to_owned(),
            origin: Origin::Provider,
            attempts: 1,
            latency: std::time::Duration::from_millis(3),
        };
        let usage = json!({"prompt_tokens": 9, "completion_tokens": 2, "input_tokens": 9, "output_tokens": 2});
        let answers = [
            json!({"model": "m", "usage": usage, "choices": [{"finish_reason": "stop", "message": {"content": good}}]}),
            json!({"model": "m", "usage": usage, "status": "completed", "incomplete_details": null, "output": [
                {"type": "message", "content": [{"type": "output_text", "text": good}]}]}),
            json!({"model": "m", "usage": usage, "stop_reason": "max_tokens", "content": [
                {"type": "text", "text": good}]}),
            json!({"error": {"message": format!("the key {KEY} of ana@corp.example is not known"), "param": null}}),
            serde_json::to_value(kept).expect("an answer is JSON"),
        ];
        answers.iter().map(Value::to_string).collect()
    }

    #[test]
    fn whatever_is_answered_is_taken_in_its_form_or_not_at_all() {
        let (redactor, answers) = (redactor(), answers());
        let mut random = Random(31);
        let is_good = |provider, bytes: &str| {
            let request = Request::new(Purpose::Triage, "", "", Timestamp::default()).json(schema());
            heard(provider, &request, bytes.as_bytes()).and_then(|r| shaped(r, &request.output)).is_ok()
        };
        assert!(is_good(Provider::Compatible, &answers[0]) && is_good(Provider::OpenaiResponses, &answers[1]));
        assert!(is_good(Provider::Anthropic, &answers[2]) && kept(answers[4].as_bytes()).is_some());
        assert!(words(&redactor, answers[3].as_bytes()).starts_with("the key [SECRET] of"));
        for round in 0..if long() { 100_000 } else { 2_000 } {
            let bytes = random.mutated(answers[round % answers.len()].as_bytes());
            answer(&redactor, &bytes);
            redact(&redactor, &String::from_utf8_lossy(&bytes));
        }
    }
}
