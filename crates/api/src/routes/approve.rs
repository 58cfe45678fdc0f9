//! Answering a question by a link: a page that shows what is asked and planned, and takes one answer.
//!
//! Looking at it never answers: what scans mails opens every link in them. Only the form does, which such programs do
//! not send. No API key is asked for, for the token is one, good for this answer alone.

use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use vertice_model::{OnTimeout, Principal, Question, QuestionState, Run, Step, Threat, Timestamp};
use vertice_store::RecordKind;

use super::decisions::{Answer, give, void};
use crate::extract::Receiving;
use crate::page::Html;
use crate::problem::Problem;
use crate::read::Shared;
use crate::{Link, LinkError, limits};

/// What follows the name of who answered by a link; the engine takes them for the one they are all the same.
const BY_LINK: &str = " (link)";

/// What is asked, and what an answer would do. Opening it answers nothing.
#[utoipa::path(get, path = "/approve/{token}", operation_id = "show_question", tag = "defense",
    params(("token" = String, Path, description = "What the notification carried")),
    responses(
        (status = OK, body = String, content_type = "text/html", description = "The question, or how it ended"),
        (status = NOT_FOUND, body = String, content_type = "text/html", description = "It is no link that was made here"),
        (status = CONFLICT, body = String, content_type = "text/html", description = "The plan is another by now"),
        (status = GONE, body = String, content_type = "text/html", description = "Its time is over"),
    ))]
pub(crate) async fn show(api: Shared, Path(token): Path<String>) -> Response {
    let shown = match Asked::by(&api, &token).await {
        Ok(Asked { closed: Some(why), .. }) => Told::closed(StatusCode::OK, &why).page(),
        Ok(asked) => asked.page(),
        Err(told) => told.page(),
    };
    shown.unwrap_or_else(IntoResponse::into_response)
}

/// Answers it, once.
#[utoipa::path(post, path = "/approve/{token}", operation_id = "answer_question", tag = "defense",
    params(("token" = String, Path, description = "What the notification carried")),
    request_body(content = String, content_type = "application/x-www-form-urlencoded",
        description = "`answer=approve` or `answer=deny`"),
    responses(
        (status = OK, body = String, content_type = "text/html", description = "It took"),
        (status = ACCEPTED, body = String, content_type = "text/html", description = "It is kept, and yet to be judged"),
        (status = NOT_FOUND, body = String, content_type = "text/html", description = "It is no link that was made here"),
        (status = CONFLICT, body = String, content_type = "text/html", description = "Why it did not take"),
        (status = GONE, body = String, content_type = "text/html", description = "Its time is over"),
        (status = UNPROCESSABLE_ENTITY, body = String, content_type = "text/html", description = "Neither yes nor no"),
    ))]
pub(crate) async fn answer(api: Shared, Path(token): Path<String>, body: Body) -> Response {
    let told = match answered(&api, &token, body).await {
        Ok(told) | Err(told) => told,
    };
    told.page().unwrap_or_else(IntoResponse::into_response)
}

async fn answered(api: &Shared, token: &str, body: Body) -> Result<Told, Told> {
    let asked = Asked::by(api, token).await?;
    if let Some(why) = asked.closed {
        return Err(Told::closed(StatusCode::CONFLICT, &why));
    }
    let form = Receiving::new(limits::FORM_BYTES_MAX).receive(body).await?;
    let approve = match &*form.whole() {
        b"answer=approve" => true,
        b"answer=deny" => false,
        _ => {
            let text = "The form says neither yes nor no. Nothing was answered; open the link again.";
            return Err(Told::new(StatusCode::UNPROCESSABLE_ENTITY, "That was no answer", text));
        }
    };
    let by = Principal(format!("{}{BY_LINK}", asked.link.approver));
    let answer = Answer { approve, plan_digest: asked.link.digest };
    let (judged, question) = give(api, &asked.question, &answer, by.clone()).await?;
    if !judged {
        let text = format!("Your answer is kept, and the engine has yet to come to it. Answered by {by}.");
        return Ok(Told::new(StatusCode::ACCEPTED, "Your answer is kept", &text));
    }
    let (heading, what) = if question.state == QuestionState::Pending {
        ("Your yes is counted", format!("{} have said yes; the plan waits for the others.", so_far(&question)))
    } else if !approve {
        ("Denied", "The action, and those that depend on it, do not happen.".to_owned())
    } else if question.simulated {
        ("Approved", "The action is recorded as simulated; nothing is done.".to_owned())
    } else {
        ("Approved", "The plan goes ahead.".to_owned())
    };
    Ok(Told::new(StatusCode::OK, heading, &format!("{what} Answered by {by}. You can close this page.")))
}

/// How many of the people who are needed have said yes.
fn so_far(question: &Question) -> String {
    format!("{} of {} people", question.approvals.len(), question.approvals_needed)
}

/// A question that a link is about.
struct Asked {
    link: Link,
    question: Question,
    step: Step,
    threat: Option<Threat>,
    now: Timestamp,
    /// Why it takes no answer any more, if it does not.
    closed: Option<String>,
}

impl Asked {
    /// What a token is about.
    async fn by(api: &Shared, token: &str) -> Result<Asked, Told> {
        let now = (api.api.clock)();
        let link = api.api.links.verify(token, now)?;
        let question: Question = api.get(RecordKind::Question, &link.question.to_string()).await?;
        let other_plan = || {
            let text = "The plan that this link was made for is not the one that is asked about now. Nothing was \
                answered. `vertice approvals list` shows what waits.";
            Told::new(StatusCode::CONFLICT, "The plan is another by now", text)
        };
        if question.plan_digest != link.digest {
            return Err(other_plan());
        }
        let run: Run = api.get(RecordKind::Run, &question.run_id.to_string()).await?;
        let step = run.steps.into_iter().find(|step| step.action_id == question.action_id);
        let Some(step) = step.filter(|_| run.plan_digest == link.digest) else { return Err(other_plan()) };
        let threat = api.get(RecordKind::Threat, &question.threat_id.to_string()).await.ok();
        let answer = Answer { approve: false, plan_digest: link.digest.clone() };
        let closed = void(&question, &answer, now).or_else(|| already_said(&question, &link.approver));
        Ok(Asked { link, question, step, threat, now, closed })
    }

    fn page(&self) -> Result<Response, Problem> {
        let Asked { link, question, .. } = self;
        let until = link.until.min(question.expires_at);
        let left = lasting(until.micros_since(self.now) / 1_000_000);
        Html::default()
            .raw("<p class=\"kicker\">")
            .text(&format!("Vertice asks {} · {}", link.approver, question.severity))
            .raw(if question.urgent { " · <strong>urgent</strong>" } else { "" })
            .raw("</p>\n<h1>")
            .text(&question.prompt)
            .raw("</h1>\n")
            .raw(if question.simulated {
                "<p class=\"note\">Vertice only observes: a yes records the action, and nothing is done.</p>\n"
            } else {
                ""
            })
            .with(|html| self.plan(html))
            .raw("<p><strong>")
            .text(&format!("{left} left"))
            .raw("</strong>, until ")
            .text(&to_the_second(until))
            .raw(match question.on_timeout {
                OnTimeout::Deny => ". If nobody answers, the answer is no.</p>\n",
                OnTimeout::Escalate => ". If nobody answers, it is asked once more.</p>\n",
                OnTimeout::Execute => {
                    ". If nobody answers, the answer is yes where the threat is critical and the action can be undone, \
                     and no otherwise.</p>\n"
                }
            })
            .raw("<form method=\"post\" accept-charset=\"utf-8\">\n")
            .raw("<button class=\"yes\" name=\"answer\" value=\"approve\">Approve</button>\n")
            .raw("<button class=\"no\" name=\"answer\" value=\"deny\">Deny</button>\n</form>\n")
            .raw("<footer>Question <code>")
            .text(&question.question_id.to_string())
            .raw("</code><br>Plan <code>")
            .text(&question.plan_digest)
            .raw("</code></footer>")
            .page(StatusCode::OK, "Vertice asks")
    }

    /// What a yes is a yes to.
    fn plan(&self, html: Html) -> Html {
        let Asked { question, step, threat, .. } = self;
        let parameters: Vec<String> = step.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let touches: Vec<String> = step.touches.iter().map(|e| format!("{} {e}", e.kind())).collect();
        let lease = step.lease_s.map_or("over at once".to_owned(), lasting);
        let needed = match question.approvals_needed {
            0 | 1 => "one yes".to_owned(),
            _ => format!("{}, and no no", so_far(question)),
        };
        let facts = [
            ("Action", format!("{} ({})", step.action_id, step.action_type)),
            ("Parameters", parameters.join(", ")),
            ("Touches", if touches.is_empty() { "nobody".to_owned() } else { touches.join(", ") }),
            ("For", lease),
            ("Undone by", step.inverse.clone()),
            ("Risk", question.risk.clone()),
            ("It takes", needed),
            ("Playbook", question.playbook_id.clone()),
            ("Threat", threat.as_ref().map_or(question.threat_id.to_string(), |t| t.title.clone())),
        ];
        let html = facts.iter().fold(html.raw("<dl>\n"), |html, (name, value)| {
            html.raw("<dt>").raw(name).raw("</dt><dd>").text(value).raw("</dd>\n")
        });
        html.raw("</dl>\n")
    }
}

/// That somebody has said yes before, where one yes is not enough.
fn already_said(question: &Question, approver: &Principal) -> Option<String> {
    let same = |who: &Principal| who.0.strip_suffix(BY_LINK).unwrap_or(&who.0) == approver.0;
    let (_, at) = question.approvals.iter().find(|(who, _)| same(who))?;
    Some(format!(
        "you said yes at {}; {} have, and the plan waits for the others",
        to_the_second(*at),
        so_far(question)
    ))
}

/// What became of it, in a few words.
struct Told {
    status: StatusCode,
    heading: &'static str,
    text: String,
}

impl Told {
    fn new(status: StatusCode, heading: &'static str, text: &str) -> Told {
        Told { status, heading, text: text.to_owned() }
    }

    fn closed(status: StatusCode, why: &str) -> Told {
        Told::new(status, "This question is closed", &sentence(why))
    }

    fn page(self) -> Result<Response, Problem> {
        Html::default()
            .raw("<p class=\"kicker\">Vertice</p>\n<h1>")
            .raw(self.heading)
            .raw("</h1>\n<p>")
            .text(&self.text)
            .raw("</p>")
            .page(self.status, self.heading)
    }
}

impl From<LinkError> for Told {
    fn from(error: LinkError) -> Told {
        let text = sentence(&error.to_string());
        match error {
            LinkError::Broken => Told::new(StatusCode::NOT_FOUND, "This link leads nowhere", &text),
            LinkError::Over(_) => Told::new(StatusCode::GONE, "This link is over", &text),
        }
    }
}

impl From<Problem> for Told {
    fn from(problem: Problem) -> Told {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Told::new(status, "It did not take", &sentence(&problem.detail))
    }
}

/// With a capital at its beginning and a full stop at its end.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", rest.as_str().trim_end_matches('.'))
}

/// A time, to the second.
fn to_the_second(at: Timestamp) -> String {
    let written = at.to_string();
    match (written.get(..10), written.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        (_, _) => written,
    }
}

/// Seconds in the two largest units that matter.
fn lasting(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "days"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let parts = UNITS.iter().map(|(unit, word)| {
        let n = rest / unit;
        rest %= unit;
        (n, word)
    });
    let shown = parts.skip_while(|(n, _)| *n == 0).take(2).filter(|(n, _)| *n > 0);
    let parts: Vec<String> = shown
        .map(|(n, word)| if (n, *word) == (1, "days") { "1 day".to_owned() } else { format!("{n} {word}") })
        .collect();
    if parts.is_empty() { "less than a second".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sentences_are_for_people() {
        for (seconds, text) in [
            (0, "less than a second"),
            (59, "59 s"),
            (250, "4 min 10 s"),
            (3_600, "1 h"),
            (3_605, "1 h"),
            (86_400, "1 day"),
            (90_061, "1 day 1 h"),
            (172_860, "2 days"),
        ] {
            assert_eq!(lasting(seconds), text);
        }
        assert_eq!(to_the_second("2026-03-01T12:05:00.000003Z".parse().unwrap()), "2026-03-01 12:05:00 UTC");
        assert_eq!(sentence("the question expired"), "The question expired.");
        assert_eq!(sentence(""), ".");
    }
}
