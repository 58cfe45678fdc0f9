//! `vertice responses`: playbooks that were planned for a threat, step by step.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::output::{Out, Table, Tint};
use super::record;
use super::records::{
    List, Order, Paging, duration, entity, facts, id_cell, items, show, state, state_reason, text, time, time_cell,
    words,
};

const PATH: &str = "/api/v1/defense/responses";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List responses: each is one playbook planned for one threat
    List {
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one response: its plan and what became of each step
    Show {
        /// The run's id, or the beginning of it
        id: String,
    },
    /// Say whether an action of unknown outcome happened, after a look at the world
    #[command(after_help = "Example:\n  vertice responses resolve 1f3a tell --happened no")]
    Resolve {
        /// The run's id, or the beginning of it
        id: String,
        /// The action, as the playbook calls it
        action: String,
        /// Whether it happened
        #[arg(long, value_enum)]
        happened: YesNo,
    },
    /// What each verb did, or would have done, and how often that was right
    #[command(after_help = record::HELP)]
    Record,
    /// Whether a verb's record suggests to let it act; nothing is changed
    #[command(after_help = record::HELP)]
    Promote {
        /// The verb, such as firewall_rule
        verb: String,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum YesNo {
    Yes,
    No,
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { order, paging } => {
            let empty = "No responses. A playbook runs when a threat of its class is found: `vertice playbooks list`.";
            List::new(PATH, table, empty).ordered(order).print(client, paging, out)
        }
        Verb::Show { id } => show(&client.get(&format!("{PATH}/{}", segment(&id)), &[])?, out, print),
        Verb::Resolve { id, action, happened } => {
            let body = json!({"action_id": action, "happened": happened == YesNo::Yes});
            show(&client.post(&format!("{PATH}/{}/resolve", segment(&id)), &body)?, out, print)
        }
        Verb::Record => record::print(client, out),
        Verb::Promote { verb } => record::promote(&verb, client, out),
    }
}

/// Runs as a table.
pub fn table(runs: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "TIME (UTC)", "PLAYBOOK", "THREAT", "STATE", "DONE", "STEPS…"]);
    for r in runs {
        let steps: Vec<String> =
            items(r, "/steps").iter().map(|s| format!("{} {}", text(s, "/action_id"), state(s, "/state"))).collect();
        table.row(vec![
            id_cell(r, "/run_id"),
            time_cell(r, "/timestamp"),
            (Tint::None, text(r, "/playbook_id")),
            id_cell(r, "/threat_id"),
            (Tint::None, state(r, "/state")),
            (Tint::None, done(r)),
            (Tint::None, steps.join(", ")),
        ]);
    }
    table
}

/// What was really done: a simulated run is never said to have done anything.
fn done(run: &Value) -> String {
    match run.get("simulated").and_then(Value::as_bool) {
        Some(true) => "simulated".to_owned(),
        Some(false) | None => format!("{} actions", text(run, "/actions_executed")),
    }
}

/// A run with its plan.
pub fn print(run: &Value, out: &mut Out) -> Result<()> {
    out.parts(&[(Tint::Bold, &text(run, "/playbook_id")), (Tint::None, &format!("  {}", state(run, "/state")))])?;
    facts(
        out,
        &[
            ("response", text(run, "/run_id")),
            ("threat", text(run, "/threat_id")),
            ("playbook", format!("{} {}", text(run, "/playbook_id"), text(run, "/playbook_version"))),
            ("reason", text(run, "/reason")),
            ("done", done(run)),
            ("planned", time(run, "/planned_at")),
            ("changed", time(run, "/timestamp")),
            ("plan", text(run, "/plan_digest")),
        ],
    )?;
    steps(run, out)
}

/// The steps of a run, each with its parameters, what would undo it and whom it touches.
pub fn steps(run: &Value, out: &mut Out) -> Result<()> {
    for (i, step) in items(run, "/steps").iter().enumerate() {
        let state = state(step, "/state");
        let why = state_reason(step, "/state");
        let tint = match state.as_str() {
            "simulated" | "done" => Tint::Good,
            "asked" | "pending" | "ordered" | "releasing" => Tint::Warn,
            "refused" | "denied" | "failed" | "unknown" => Tint::Bad,
            _ => Tint::Faint,
        };
        out.line("")?;
        out.parts(&[
            (Tint::Bold, &format!("{}. {}", i + 1, text(step, "/action_id"))),
            (Tint::Faint, &format!("  {}  ", text(step, "/action_type"))),
            (tint, &state),
            (Tint::None, &if why.is_empty() { why } else { format!(": {why}") }),
        ])?;
        let touches: Vec<String> = items(step, "/touches").iter().map(entity).collect();
        let lease = step.get("lease_s").and_then(Value::as_u64).map(duration).unwrap_or_default();
        let parameters = step.get("parameters").and_then(Value::as_object);
        let parameters: Vec<String> =
            parameters.into_iter().flatten().map(|(name, value)| format!("{name}={}", words(value))).collect();
        facts(
            out,
            &[
                ("   with", parameters.join(" ")),
                ("   touches", touches.join(", ")),
                ("   lasts", lease),
                ("   undone by", text(step, "/inverse")),
                ("   after", text(step, "/depends_on")),
                ("   yes by", text(step, "/approved_by")),
                ("   seen", text(step, "/note")),
            ],
        )?;
    }
    Ok(())
}
