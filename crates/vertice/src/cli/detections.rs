//! `vertice detections`: judged hits.

use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;
use vertice_model::{Severity, Timestamp};

use super::client::{Client, segment};
use super::output::{Out, Table, Tint};
use super::records::{
    List, Order, Paging, confidence, confidence_cell, entity, facts, id_cell, items, severity_cell, show, text, time,
    time_cell,
};

const PATH: &str = "/api/v1/defense/detections";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List detections, the latest first
    #[command(after_help = "Examples:\n  vertice detections list --severity high\n  \
        vertice detections list --entity 203.0.113.9 --all -o ndjson")]
    List {
        /// Only those at least this bad: info, low, medium, high, critical
        #[arg(long)]
        severity: Option<Severity>,
        /// Only those about this address, host or account
        #[arg(long)]
        entity: Option<String>,
        /// Only those of the rule with this id
        #[arg(long, value_name = "ID")]
        rule: Option<String>,
        /// Only those of this threat
        #[arg(long, value_name = "ID")]
        threat: Option<String>,
        /// Not before this time, such as 2026-01-02T03:04:05Z
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one detection and why its rule matched
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { severity, entity, rule, threat, since, order, paging } => List::new(
            PATH,
            table,
            "No detections. `vertice demo` plays an attack; `vertice doctor` says where events come from.",
        )
        .only("severity", severity)
        .only("entity", entity)
        .only("rule", rule)
        .only("threat", threat)
        .only("since", since)
        .ordered(order)
        .print(client, paging, out),
        Verb::Show { id } => show(&client.get(&format!("{PATH}/{}", segment(&id)), &[])?, out, print),
    }
}

/// Detections as a table.
pub fn table(detections: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "TIME (UTC)", "SEVERITY", "SURE", "ENTITY", "TECHNIQUES…", "RULE…"]);
    for d in detections {
        table.row(vec![
            id_cell(d, "/detection_id"),
            time_cell(d, "/timestamp"),
            severity_cell(d, "/severity"),
            confidence_cell(d, "/confidence"),
            (Tint::None, text(d, "/entity")),
            (Tint::None, super::explain::techniques(d)),
            (Tint::None, text(d, "/rule_title")),
        ]);
    }
    table
}

fn print(d: &Value, out: &mut Out) -> Result<()> {
    let severity = text(d, "/severity");
    out.parts(&[(Tint::of_severity(&severity), &severity), (Tint::None, "  "), (Tint::Bold, &text(d, "/rule_title"))])?;
    let related: Vec<String> = items(d, "/related").iter().map(entity).collect();
    let earlier = items(d, "/earlier");
    facts(
        out,
        &[
            ("detection", text(d, "/detection_id")),
            ("rule", text(d, "/rule_id")),
            ("class", text(d, "/class")),
            ("about", entity(d)),
            ("also about", related.join(", ")),
            ("sure", confidence(d, "/confidence")),
            ("techniques", super::explain::techniques(d)),
            ("tactics", text(d, "/mitre_tactics")),
            ("happened", time(d, "/timestamp")),
            ("accepted", time(d, "/accepted_at")),
            ("event", format!("position {}  {}", text(d, "/position"), text(d, "/event_id"))),
            ("counted", if earlier.is_empty() { String::new() } else { format!("{} events before it", earlier.len()) }),
            ("threat", text(d, "/threat_id")),
        ],
    )?;
    out.line("matched")?;
    items(d, "/matched").iter().try_for_each(|m| matched(m, "  ", out))
}

/// A condition of a rule and what it held of.
pub fn matched(m: &Value, indent: &str, out: &mut Out) -> Result<()> {
    let field = text(m, "/field");
    let field = if field.is_empty() { "anywhere" } else { &field };
    out.parts(&[
        (Tint::Faint, &format!("{indent}{}: ", text(m, "/selection"))),
        (Tint::None, field),
        (Tint::None, &format!(" = {}", text(m, "/value"))),
        (Tint::Faint, &format!("   (wanted: {})", text(m, "/wanted"))),
    ])
}
