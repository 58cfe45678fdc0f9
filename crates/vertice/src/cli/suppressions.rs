//! `vertice suppressions`: what opens no threat for a while, because a person said so.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{List, Order, Paging, entity, facts, id_cell, items, show, state, text, time, time_cell};

const PATH: &str = "/api/v1/defense/suppressions";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List suppressions, those that were refused and removed too
    List {
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one suppression
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Say what a suppression would have covered so far; decides nothing
    Test {
        /// The rule's id
        rule: String,
        /// On whom: an address, host:NAME or user:NAME; on anybody if not given
        #[arg(long)]
        entity: Option<String>,
    },
    /// Propose a suppression; it is refused if it would ever have hidden a threat that a person confirmed
    #[command(
        after_help = "Example:\n  vertice suppressions propose 5d8f4e1c-… --entity 192.0.2.7 --reason \"our scanner\""
    )]
    Propose {
        /// The rule's id
        rule: String,
        /// On whom: an address, host:NAME or user:NAME; on anybody if not given
        #[arg(long)]
        entity: Option<String>,
        /// Why, in your words
        #[arg(long)]
        reason: String,
    },
    /// Put a suppression in force
    Apply {
        /// Its id, or the beginning of it
        id: String,
        /// For how many days, 90 at the most
        #[arg(long, default_value_t = 30)]
        days: u64,
    },
    /// Take a suppression out of force
    Remove {
        /// Its id, or the beginning of it
        id: String,
        /// Why, in your words
        #[arg(long)]
        reason: String,
    },
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    let of = |id: &str| format!("{PATH}/{}", segment(id));
    match verb {
        Verb::List { order, paging } => {
            List::new(PATH, table, "Nothing is suppressed, and nothing was.").ordered(order).print(client, paging, out)
        }
        Verb::Show { id } => show(&client.get(&of(&id), &[])?, out, print),
        Verb::Test { rule, entity } => {
            let mut query = vec![("rule_id", rule.as_str())];
            query.extend(entity.as_deref().map(|e| ("entity", e)));
            show(&client.get(&format!("{PATH}/test"), &query)?, out, tested)
        }
        Verb::Propose { rule, entity, reason } => {
            let body = json!({"rule_id": rule, "entity": entity, "reason": reason});
            told(&client.post(PATH, &body)?, out)
        }
        Verb::Apply { id, days } => {
            let whole = text(&client.get(&of(&id), &[])?, "/suppression_id");
            told(&client.post(&format!("{}/apply", of(&whole)), &json!({"days": days}))?, out)
        }
        Verb::Remove { id, reason } => {
            let whole = text(&client.get(&of(&id), &[])?, "/suppression_id");
            told(&client.delete(&of(&whole), &[("reason", &reason)])?, out)
        }
    }
}

fn table(suppressions: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "CHANGED (UTC)", "STATE", "UNTIL (UTC)", "KEPT BACK", "ON", "RULE…"]);
    for s in suppressions {
        table.row(vec![
            id_cell(s, "/suppression_id"),
            time_cell(s, "/updated_at"),
            (Tint::None, state(s, "/state")),
            time_cell(s, "/state/until"),
            (Tint::None, text(s, "/suppressed")),
            (Tint::None, on(s)),
            (Tint::None, text(s, "/scope/rule_id")),
        ]);
    }
    table
}

fn on(s: &Value) -> String {
    s.pointer("/scope/on").filter(|e| e.is_object()).map_or_else(|| "anybody".to_owned(), entity)
}

fn told(s: &Value, out: &mut Out) -> Result<()> {
    match out.format {
        Format::Json | Format::Ndjson => out.json(s),
        Format::Table => print(s, out),
    }
}

fn print(s: &Value, out: &mut Out) -> Result<()> {
    out.parts(&[
        (Tint::Bold, &format!("rule {} on {}", text(s, "/scope/rule_id"), on(s))),
        (Tint::None, &format!("  {}", state(s, "/state"))),
    ])?;
    let percent = |name: &str| {
        let rate = s.pointer(&format!("/false_positive/{name}")).and_then(Value::as_f64).unwrap_or(0.0);
        format!("{:.0} %", rate * 100.0)
    };
    facts(
        out,
        &[
            ("suppression", text(s, "/suppression_id")),
            ("because", text(s, "/reason")),
            ("proposed by", format!("{}, {}", text(s, "/proposed_by"), time(s, "/proposed_at"))),
            (
                "false positives",
                format!(
                    "{} false, {} confirmed; {} ({} to {})",
                    text(s, "/false_positive/false_positives"),
                    text(s, "/false_positive/confirmed"),
                    percent("mean"),
                    percent("lower"),
                    percent("upper")
                ),
            ),
            ("by", text(s, "/state/by")),
            ("until", time(s, "/state/until")),
            ("why", text(s, "/state/why")),
            ("kept back", format!("{} detections opened no threat", text(s, "/suppressed"))),
        ],
    )
}

fn tested(t: &Value, out: &mut Out) -> Result<()> {
    let confirmed = items(t, "/confirmed").len();
    facts(
        out,
        &[
            ("detections", format!("{} of the latest of {}", text(t, "/detections"), text(t, "/detections_of_rule"))),
            ("threats", text(t, "/threats")),
            ("confirmed", format!("{confirmed} {}", text(t, "/confirmed"))),
            ("false positives", text(t, "/false_positives")),
            ("not judged", text(t, "/unjudged")),
        ],
    )?;
    match confirmed {
        0 => Ok(()),
        _ => out.line("It would have hidden what a person confirmed, and will be refused."),
    }
}
