//! `vertice threats`: the cases, and a person's judgement of them.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use vertice_model::{Severity, Timestamp};

use super::Failure;
use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{
    List, Order, Paging, confidence, confidence_cell, entity, facts, id_cell, items, severity_cell, short, show, state,
    state_reason, text, time, time_cell,
};

const PATH: &str = "/api/v1/defense/threats";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List threats; the open ones unless told otherwise
    #[command(after_help = "Examples:\n  vertice threats list\n  vertice threats list --sort priority --limit 10\n  \
                            vertice threats list --state all --severity high")]
    List {
        /// Which: open, quiet (nothing more came), judged, merged (into another), or all
        #[arg(long, value_enum, default_value_t = State::Open)]
        state: State,
        /// Only those at least this bad: info, low, medium, high, critical
        #[arg(long)]
        severity: Option<Severity>,
        /// Only those about this address, host or account
        #[arg(long)]
        entity: Option<String>,
        /// Not before this time, such as 2026-01-02T03:04:05Z
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// By when they last changed, the latest first, or by how urgent they are, the most urgent first
        #[arg(long, value_enum, default_value_t = Sort::Changed)]
        sort: Sort,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one threat
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Say what a threat is. All but `confirmed` closes it; `false_positive` takes back what was done
    #[command(after_help = "Example:\n  vertice threats judge 1f3a9c0e benign --note \"our own scanner\"")]
    Judge {
        /// Its id, or the beginning of it
        id: String,
        /// What it is
        verdict: Verdict,
        /// Why, in your words
        #[arg(long, default_value = "")]
        note: String,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum State {
    Open,
    Quiet,
    Judged,
    Merged,
    All,
}

impl State {
    const fn word(self) -> Option<&'static str> {
        match self {
            State::Open => Some("open"),
            State::Quiet => Some("quiet"),
            State::Judged => Some("judged"),
            State::Merged => Some("merged"),
            State::All => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Sort {
    Changed,
    Priority,
}

/// The verdicts of the model, as arguments.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Verdict {
    /// It is what it seems
    Confirmed,
    /// It is nothing of the kind
    FalsePositive,
    /// It is what it seems, and allowed: a test, an administrator at work
    Benign,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Verdict::Confirmed => "confirmed",
            Verdict::FalsePositive => "false_positive",
            Verdict::Benign => "benign",
        }
    }
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { state, severity, entity, since, sort, order, paging } => {
            if sort == Sort::Priority && order.oldest_first {
                let text = "--oldest-first is about when threats changed, and --sort priority is not";
                return Err(Failure::Usage(text.to_owned()).into());
            }
            let empty = match state {
                State::Open => "No open threats. `--state all` shows the closed ones; `vertice demo` plays an attack.",
                State::Quiet | State::Judged | State::Merged | State::All => {
                    "No such threats. `vertice demo` plays an attack."
                }
            };
            List::new(PATH, table, empty)
                .only("state", state.word())
                .only("severity", severity)
                .only("entity", entity)
                .only("since", since)
                .only("sort", (sort == Sort::Priority).then_some("priority"))
                .ordered(order)
                .print(client, paging, out)
        }
        Verb::Show { id } => {
            let threat = client.get(&format!("{PATH}/{}", segment(&id)), &[])?;
            show(&threat, out, print)?;
            let intent = || client.get(&format!("{PATH}/{}/intent", segment(&text(&threat, "/threat_id"))), &[]);
            match out.format {
                Format::Json | Format::Ndjson => Ok(()),
                Format::Table => match super::intent::node(&intent()?) {
                    Some(node) => out.line("").and_then(|()| node.print(out)),
                    None => Ok(()),
                },
            }
        }
        Verb::Judge { id, verdict, note } => judge(&id, verdict, &note, client, out),
    }
}

fn judge(id: &str, verdict: Verdict, note: &str, client: &Client, out: &mut Out) -> Result<()> {
    // The whole id, so that what is judged is what the beginning meant when it was looked up.
    let threat = client.get(&format!("{PATH}/{}", segment(id)), &[])?;
    let id = text(&threat, "/threat_id");
    let body = json!({"verdict": verdict.word(), "note": note});
    let answer = client.post(&format!("{PATH}/{}/verdict", segment(&id)), &body)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&answer),
        Format::Table => {
            out.line(&format!("{} is judged: {}.", text(&threat, "/title"), verdict.word().replace('_', " ")))
        }
    }
}

fn table(threats: &[Value]) -> Table {
    let mut table = Table::new(&[
        "ID",
        "SEVERITY",
        "ATTENTION",
        "PRIORITY",
        "SURE",
        "STATE",
        "LAST SEEN (UTC)",
        "STAGE",
        "DETECTIONS",
        "WHAT…",
    ]);
    for t in threats {
        table.row(vec![
            id_cell(t, "/threat_id"),
            severity_cell(t, "/severity"),
            severity_cell(t, "/attention"),
            (Tint::None, text(t, "/triage/priority")),
            confidence_cell(t, "/confidence"),
            (Tint::None, state(t, "/state")),
            time_cell(t, "/last_seen"),
            (Tint::None, text(t, "/stage")),
            (Tint::None, text(t, "/detections")),
            (Tint::None, text(t, "/title")),
        ]);
    }
    table
}

/// The head of a threat: what it is, and what is known of it.
pub fn print(t: &Value, out: &mut Out) -> Result<()> {
    let severity = text(t, "/severity");
    out.parts(&[(Tint::of_severity(&severity), &severity), (Tint::None, "  "), (Tint::Bold, &text(t, "/title"))])?;
    let techniques: Vec<String> = items(t, "/techniques").iter().map(|s| text(s, "/technique")).collect();
    let entities: Vec<String> = items(t, "/entities").iter().map(entity).collect();
    let positions = items(t, "/positions");
    let reason = state_reason(t, "/state");
    let between = match positions {
        [first, last] => format!("log positions {first} to {last}"),
        _ => String::new(),
    };
    facts(
        out,
        &[
            ("threat", text(t, "/threat_id")),
            ("state", format!("{} {reason}", state(t, "/state")).trim().to_owned()),
            ("about", entities.join(", ")),
            ("sure", confidence(t, "/confidence")),
            ("attention", if text(t, "/attention") == severity { String::new() } else { text(t, "/attention") }),
            ("priority", priority(t)),
            ("proposed", text(t, "/suggested/playbooks")),
            ("classes", text(t, "/classes")),
            ("techniques", techniques.join(" → ")),
            ("tactics", text(t, "/tactics")),
            ("seen", format!("{} to {}", time(t, "/first_seen"), time(t, "/last_seen"))),
            ("events", between),
            ("detections", text(t, "/detections")),
            ("absorbed", text(t, "/absorbed")),
            ("verdict", verdict(t)),
        ],
    )?;
    rules(t, out)?;
    let story = text(t, "/narrative");
    if story.is_empty() { Ok(()) } else { out.line("").and_then(|()| out.text(&story)) }
}

fn priority(t: &Value) -> String {
    match t.get("triage").filter(|triage| triage.is_object()) {
        Some(triage) => format!("{} of 100: {}", text(triage, "/priority"), text(triage, "/reason")),
        None => String::new(),
    }
}

fn verdict(t: &Value) -> String {
    match t.get("verdict") {
        Some(v) if v.is_object() => {
            let note = text(v, "/note");
            let said = format!("{} by {}, {}", state(v, "/verdict"), text(v, "/by"), time(v, "/at"));
            if note.is_empty() { said } else { format!("{said}: {note}") }
        }
        Some(_) | None => String::new(),
    }
}

fn rules(t: &Value, out: &mut Out) -> Result<()> {
    let mut table = Table::new(&["FIRST SEEN (UTC)", "SEVERITY", "SURE", "TIMES", "ABOUT", "RULE…"]);
    let rules = items(t, "/rules");
    for r in rules {
        table.row(vec![
            time_cell(r, "/first_seen"),
            severity_cell(r, "/severity"),
            confidence_cell(r, "/confidence"),
            (Tint::None, text(r, "/detections")),
            (Tint::None, text(r, "/entity")),
            (Tint::None, text(r, "/rule_title")),
        ]);
    }
    if rules.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.table(&table)?;
    out.line("")?;
    out.parts(&[(
        Tint::Faint,
        &format!("`vertice explain {}` shows the events behind it.", short(&text(t, "/threat_id"))),
    )])
}
