//! `vertice approvals`: what playbooks ask before they act, and a person's answers.
//!
//! An answer is bound to the digest of the plan that was shown: if the plan is another by now, the
//! server refuses the answer.

use std::io::{BufRead, IsTerminal as _};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{List, Order, Paging, facts, id_cell, severity_cell, show, state, text, time, time_cell};
use super::responses;

const PATH: &str = "/api/v1/defense/approvals";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the questions; those that wait unless told otherwise
    List {
        /// Which: pending, approved, denied, expired, superseded, cancelled (no longer matters), or all
        #[arg(long, value_enum, default_value_t = State::Pending)]
        state: State,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one question and the plan it is about
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Say yes, after a look at the plan
    #[command(after_help = "Examples:\n  vertice approvals approve 5b2c11d0\n  \
        vertice approvals approve 5b2c11d0 --yes          without being asked again\n\n\
        The yes holds for the plan that was shown and no other. Exit code 5 without a key that may decide.")]
    Approve(Answer),
    /// Say no, after a look at the plan
    Deny(Answer),
}

#[derive(Args, Debug)]
pub struct Answer {
    /// Its id, or the beginning of it
    id: String,
    /// Do not ask again
    #[arg(short, long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum State {
    Pending,
    Approved,
    Denied,
    Expired,
    Superseded,
    Cancelled,
    All,
}

impl State {
    const fn word(self) -> Option<&'static str> {
        match self {
            State::Pending => Some("pending"),
            State::Approved => Some("approved"),
            State::Denied => Some("denied"),
            State::Expired => Some("expired"),
            State::Superseded => Some("superseded"),
            State::Cancelled => Some("cancelled"),
            State::All => None,
        }
    }
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { state, order, paging } => {
            let empty = match state {
                State::Pending => {
                    "Nothing to answer. A playbook asks before an action that needs a person: `vertice playbooks list`.\n\
                     What was answered or timed out: `vertice approvals list --state all`."
                }
                State::Approved
                | State::Denied
                | State::Expired
                | State::Superseded
                | State::Cancelled
                | State::All => "There is no such question.",
            };
            List::new(PATH, table, empty).only("state", state.word()).ordered(order).print(client, paging, out)
        }
        Verb::Show { id } => {
            let question = client.get(&format!("{PATH}/{}", segment(&id)), &[])?;
            show(&question, out, |question, out| print(question, &run_of(question, client)?, out))
        }
        Verb::Approve(answer) => answer.give(true, client, out),
        Verb::Deny(answer) => answer.give(false, client, out),
    }
}

impl Answer {
    fn give(&self, approve: bool, client: &Client, out: &mut Out) -> Result<()> {
        let question = client.get(&format!("{PATH}/{}", segment(&self.id)), &[])?;
        let run = run_of(&question, client)?;
        let digest = text(&question, "/plan_digest");
        if digest.is_empty() || text(&run, "/plan_digest") != digest {
            let text = "the plan that is asked about and the plan of the response differ; nothing was answered";
            return Err(Failure::Failed(text.to_owned()).into());
        }
        if out.format == Format::Table {
            print(&question, &run, out)?;
        }
        if state(&question, "/state") != "pending" {
            let text = format!("it no longer waits for an answer: {}", state(&question, "/state"));
            return Err(Failure::Failed(text).into());
        }
        if !self.yes {
            if out.format != Format::Table || !std::io::stdin().is_terminal() {
                let text = "give --yes to answer without being asked; `vertice approvals show` shows the plan";
                return Err(Failure::Usage(text.to_owned()).into());
            }
            if !confirmed(approve, out, &mut std::io::stdin().lock())? {
                return out.line("Nothing was answered.");
            }
        }
        let id = text(&question, "/question_id");
        let answer =
            client.post(&format!("{PATH}/{}", segment(&id)), &json!({"approve": approve, "plan_digest": digest}))?;
        match out.format {
            Format::Json | Format::Ndjson => out.json(&answer),
            Format::Table if state(&answer, "/state") == "pending" => match counted(&answer) {
                (0, _) => out.line("The answer is kept, and the engine has yet to come to it."),
                (n, of) => {
                    out.line(&format!("{n} of the {of} people who must approve it have; it waits for the rest."))
                }
            },
            Format::Table => out.line(said(approve, simulated(&question))),
        }
    }
}

/// The run that asks, whose plan the answer is about.
fn run_of(question: &Value, client: &Client) -> Result<Value> {
    if let Some(run) = question.get("run").filter(|run| run.is_object()) {
        return Ok(run.clone());
    }
    Ok(client.get(&format!("/api/v1/defense/responses/{}", segment(&text(question, "/run_id"))), &[])?)
}

/// How many said yes so far, and how many must.
fn counted(question: &Value) -> (usize, u64) {
    let yes = question.get("approvals").and_then(Value::as_array).map_or(0, Vec::len);
    (yes, question.get("approvals_needed").and_then(Value::as_u64).unwrap_or(1))
}

fn simulated(question: &Value) -> bool {
    question.get("simulated").and_then(Value::as_bool).unwrap_or(false)
}

const fn said(approve: bool, simulated: bool) -> &'static str {
    match (approve, simulated) {
        (true, true) => "Approved: the action is recorded as simulated; nothing is done.",
        (true, false) => "Approved.",
        (false, true | false) => "Denied: the action and those that depend on it do not happen.",
    }
}

fn confirmed(approve: bool, out: &mut Out, input: &mut dyn BufRead) -> Result<bool> {
    out.line("")?;
    out.line(if approve { "Approve this plan? Type yes:" } else { "Deny it? Type yes:" })?;
    out.flush()?;
    let mut answer = String::new();
    std::io::Read::take(input, 64).read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn table(questions: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "ASKED (UTC)", "UNTIL (UTC)", "SEVERITY", "STATE", "ACTION", "QUESTION…"]);
    for q in questions {
        table.row(vec![
            id_cell(q, "/question_id"),
            time_cell(q, "/asked_at"),
            (Tint::None, time(q, "/expires_at").chars().skip(11).collect()),
            severity_cell(q, "/severity"),
            (Tint::None, state(q, "/state")),
            (Tint::None, text(q, "/action_id")),
            (Tint::None, text(q, "/prompt")),
        ]);
    }
    table
}

fn print(question: &Value, run: &Value, out: &mut Out) -> Result<()> {
    let severity = text(question, "/severity");
    let urgent = question.get("urgent").and_then(Value::as_bool).unwrap_or(false);
    out.parts(&[
        (Tint::of_severity(&severity), &severity),
        (Tint::Worst, if urgent { "  urgent" } else { "" }),
        (Tint::Bold, &format!("  {}", text(question, "/prompt"))),
    ])?;
    facts(
        out,
        &[
            ("question", text(question, "/question_id")),
            ("threat", text(question, "/threat_id")),
            ("playbook", text(question, "/playbook_id")),
            ("action", format!("{} ({})", text(question, "/action_id"), text(question, "/action_type"))),
            ("state", state(question, "/state")),
            (
                "answered",
                format!("{} {}", text(question, "/answered/0"), time(question, "/answered/1")).trim().to_owned(),
            ),
            ("risk", text(question, "/risk")),
            ("approvals", format!("{} of {}", counted(question).0, counted(question).1)),
            ("asked", time(question, "/asked_at")),
            ("until", time(question, "/expires_at")),
            ("if nobody answers", text(question, "/on_timeout")),
            (
                "a yes",
                if simulated(question) { "only records the action; nothing is done".to_owned() } else { String::new() },
            ),
            ("plan", text(question, "/plan_digest")),
        ],
    )?;
    responses::steps(run, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::printed;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (typed, meant) in
            [("yes\n", true), ("Y\n", true), ("", false), ("\n", false), ("no\n", false), ("yess\n", false)]
        {
            let mut said = None;
            printed(Format::Table, |out| {
                said = Some(confirmed(true, out, &mut typed.as_bytes())?);
                Ok(())
            });
            assert_eq!(said, Some(meant), "{typed:?}");
        }
    }
}
