//! Whether each model answers, how fast and at what cost.

use std::time::Duration;

use serde_json::json;

use crate::clock::after;
use crate::error::{Error, Skip, Why};
use crate::models::{Checked, Models};
use crate::request::{Purpose, Request, Response};
use crate::schema::{Schema, SchemaError};

impl Models {
    /// Asks each model whether it is there: in JSON, and where that fails in prose, to tell a model that is not there
    /// from one that can not write JSON. It costs some hundred tokens each, which the budget counts.
    #[must_use]
    pub fn check(&self, time: Duration) -> Vec<Checked> {
        self.names()
            .map(|(name, provider, model)| {
                let mut checked = Checked {
                    name: name.to_owned(),
                    provider,
                    model: model.to_owned(),
                    answers: false,
                    json: false,
                    latency_ms: 0.0,
                    input_tokens: 0,
                    output_tokens: 0,
                    cost_microusd: Some(0),
                    problem: None,
                };
                match self.ask(name, true, time) {
                    Ok(response) => {
                        checked.json = true;
                        checked.heard(&response);
                    }
                    Err(error) => {
                        checked.problem = Some(error.to_string());
                        let may_be_the_form = matches!(
                            error.why,
                            Why::WrongShape | Why::CutShort | Why::Rejected(_) | Why::Declined | Why::Failed(_)
                        );
                        if let Some(Ok(response)) = may_be_the_form.then(|| self.ask(name, false, time)) {
                            checked.heard(&response);
                            checked.problem = Some(format!("{error}; {OTHER_FORMS}"));
                        }
                    }
                }
                checked
            })
            .collect()
    }

    fn ask(&self, name: &str, in_json: bool, time: Duration) -> Result<Response, Error> {
        let world = self.world().ok_or(Skip::NoModel)?;
        let deadline = after(world.clock.now(), time);
        let mut request =
            Request::new(Purpose::Check, "You answer in as few words as you can.", "Are you there? Say yes.", deadline);
        // Room for one that thinks first.
        request.max_tokens = 512;
        if in_json {
            request = request.json(yes().map_err(|_| Error::new(Why::WrongShape))?);
        }
        self.complete_by(name, &request)
    }
}

/// What helps a model that answers, and not in the form that it was asked for.
const OTHER_FORMS: &str = "it answers in words, so another form may do: `json` of its configuration, \"object_schema\", \"object\" or \"prompt\"";

fn yes() -> Result<Schema, SchemaError> {
    Schema::new(json!({
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
        "required": ["answer"],
        "additionalProperties": false,
    }))
}

impl Checked {
    fn heard(&mut self, response: &Response) {
        self.answers = true;
        self.latency_ms = response.latency.as_secs_f64() * 1_000.0;
        self.input_tokens += response.usage.input_tokens;
        self.output_tokens += response.usage.output_tokens;
        self.cost_microusd = self.cost_microusd.zip(response.cost_microusd).map(|(a, b)| a + b);
    }
}
