//! Tells approvers of questions, each with a link of their own that answers once.
//!
//! The question stands in the read model and in `vertice approvals` whoever was told of it; a message that does not
//! arrive loses nothing but time, and is told in the log of the process.

use std::sync::Arc;

use tokio::sync::mpsc;
use vertice_api::Links;
use vertice_model::{Principal, Question};
use vertice_responder::Settings;

use crate::clock::Clock;
use crate::config::Config;
use crate::limits;

/// Whoever tells approvers.
pub struct Asker {
    settings: Settings,
    links: Links,
    base: String,
    approvers: Vec<String>,
    escalate_to: Vec<String>,
    clock: Arc<Clock>,
}

impl Asker {
    /// As it is configured. Approvers without a receiver of their name look at `vertice approvals`.
    pub fn new(config: &Config, links: Links, clock: Arc<Clock>) -> Asker {
        let response = &config.response;
        let reachable: Vec<String> =
            vertice_responder::receivers(&response.verbs).into_iter().map(|receiver| receiver.name).collect();
        let among = |names: &[String]| names.iter().filter(|name| reachable.contains(name)).cloned().collect();
        Asker {
            settings: response.verbs.clone(),
            links,
            base: response.link_base.trim_end_matches('/').to_owned(),
            approvers: among(&response.approvers),
            escalate_to: among(&response.escalate_to),
            clock,
        }
    }

    /// Starts telling; what is handed in beyond what waits already is dropped by whoever hands it in.
    pub fn start(self) -> mpsc::Sender<Question> {
        let (questions, mut queue) = mpsc::channel::<Question>(limits::QUESTIONS_TO_TELL);
        // Ends when the sender goes.
        tokio::task::spawn_blocking(move || {
            while let Some(question) = queue.blocking_recv() {
                self.ask(&question);
            }
        });
        questions
    }

    fn ask(&self, question: &Question) {
        let second = question.urgent.then_some(&self.escalate_to);
        for name in self.approvers.iter().chain(second.into_iter().flatten()) {
            let approver = Principal(name.clone());
            let token = self.links.issue(question.question_id, &question.plan_digest, &approver, question.expires_at);
            let link = format!("{}{}", self.base, Links::path(&token));
            let urgent = if question.urgent { "Urgent: " } else { "" };
            let title = format!("{urgent}{} of {}", question.action_id, question.playbook_id);
            let text = format!("{}\n\nThere is time until {}.", question.prompt, question.expires_at);
            let told = vertice_responder::ask(&self.settings, name, &title, &text, &link, self.clock.now());
            if let Err(error) = told {
                tracing::warn!(question = %question.question_id, approver = name, %error, "an approver was not told");
            }
        }
    }
}
