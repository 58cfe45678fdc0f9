//! `vertice consultations`: what language models were asked, and what they said.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::client::{Client, segment};
use super::output::{Out, Table, Tint};
use super::records::{List, Order, Paging, facts, id_cell, items, severity_cell, show, state, text, time, time_cell};
use super::tree::Node;

const PATH: &str = "/api/v1/defense/consultations";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List consultations
    List {
        /// Only those in this state
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only those about this threat, by its id or the beginning of it
        #[arg(long)]
        threat: Option<String>,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show one consultation
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum State {
    Asked,
    Answered,
    Refused,
    Hijacked,
    Skipped,
    Expired,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            State::Asked => "asked",
            State::Answered => "answered",
            State::Refused => "refused",
            State::Hijacked => "hijacked",
            State::Skipped => "skipped",
            State::Expired => "expired",
        }
    }
}

pub fn run(verb: Verb, client: &Client, out: &mut Out) -> Result<()> {
    match verb {
        Verb::List { state, threat, order, paging } => {
            let empty = "No model was asked. `ask` of [sentinel] in the configuration says whether one is.";
            List::new(PATH, table, empty)
                .only("state", state.map(State::word))
                .only("threat", threat)
                .ordered(order)
                .print(client, paging, out)
        }
        Verb::Show { id } => show(&client.get(&format!("{PATH}/{}", segment(&id)), &[])?, out, print),
    }
}

fn table(consultations: &[Value]) -> Table {
    let mut table = Table::new(&["ID", "ASKED (UTC)", "THREAT", "SEVERITY", "WHY", "STATE", "SAYS…"]);
    for c in consultations {
        table.row(vec![
            id_cell(c, "/consultation_id"),
            time_cell(c, "/asked_at"),
            id_cell(c, "/threat_id"),
            severity_cell(c, "/severity"),
            (Tint::None, text(c, "/reason")),
            (Tint::None, state(c, "/state")),
            (Tint::None, says(c)),
        ]);
    }
    table
}

/// What came of a consultation, in a line.
fn says(c: &Value) -> String {
    let assessment = text(c, "/opinion/assessment").replace('_', " ");
    match assessment.is_empty() {
        true => why(c),
        false => format!("{assessment}, attention {}", text(c, "/opinion/attention")),
    }
}

/// Why there is no opinion.
fn why(c: &Value) -> String {
    ["/state/why", "/state/signs"].iter().map(|p| text(c, p)).find(|t| !t.is_empty()).unwrap_or_default()
}

fn print(c: &Value, out: &mut Out) -> Result<()> {
    out.parts(&[
        (Tint::Bold, &format!("consultation  {}", state(c, "/state"))),
        (Tint::None, &format!("  {}", why(c))),
    ])?;
    let usage = |name: &str| text(c, &format!("/usage/{name}"));
    let cost = c.pointer("/usage/cost_micro_usd").and_then(Value::as_u64).unwrap_or(0);
    facts(
        out,
        &[
            ("consultation", text(c, "/consultation_id")),
            ("threat", text(c, "/threat_id")),
            ("why", text(c, "/reason")),
            ("asked", time(c, "/asked_at")),
            ("closed", time(c, "/closed_at")),
            ("model", text(c, "/model")),
            ("tokens", format!("{} in, {} out", usage("input_tokens"), usage("output_tokens"))),
            ("cost", if cost == 0 { String::new() } else { format!("{:.4} USD", cost as f64 / 1e6) }),
            (
                "took",
                format!("{} ms{}", usage("took_ms"), if usage("cached") == "yes" { ", from the cache" } else { "" }),
            ),
        ],
    )?;
    match node(c) {
        Some(node) => out.line("").and_then(|()| node.print(out)),
        None => Ok(()),
    }
}

/// An opinion with the evidence of each sentence, and what was left out of it; nothing where no answer was read.
pub fn node(c: &Value) -> Option<Node> {
    let left_out = left_out(c);
    let Some(opinion) = c.get("opinion").filter(|o| o.is_object()) else {
        // An answer of which nothing stands was refused whole.
        let told = format!("answer of {}  {}: {}", text(c, "/model"), state(c, "/state"), why(c));
        let mut node = Node::new(vec![(Tint::None, told)]);
        let nothing = left_out.is_empty();
        node.extend(left_out);
        return (!nothing).then_some(node);
    };
    let mut node = Node::new(vec![
        (Tint::None, format!("opinion of {}  ", text(c, "/model"))),
        (Tint::Bold, text(opinion, "/assessment").replace('_', " ")),
        (Tint::None, format!("  attention {}", text(opinion, "/attention"))),
        (Tint::Faint, "  a language model said so; it changed nothing but the attention".to_owned()),
    ]);
    for sentence in items(opinion, "/sentences") {
        node.push(Node::new(vec![
            (Tint::None, text(sentence, "/text")),
            (Tint::Faint, format!("  [{}]", cited(c, sentence))),
        ]));
    }
    node.extend(left_out);
    let lists = [("techniques it sees", "/techniques"), ("playbooks it proposes", "/playbooks")];
    for (name, pointer) in lists.into_iter().filter(|(_, pointer)| !items(opinion, pointer).is_empty()) {
        node.push(Node::new(vec![(Tint::Faint, format!("{name} ")), (Tint::None, text(opinion, pointer))]));
    }
    let reason = text(opinion, "/false_positive_reason");
    if !reason.is_empty() {
        node.push(Node::new(vec![(Tint::Faint, "may be false, it says: ".to_owned()), (Tint::None, reason)]));
    }
    Some(node)
}

/// How many sentences are not shown, and what each of them says that is not in its evidence.
fn left_out(c: &Value) -> Vec<Node> {
    let of_sentence = |l: &&Value| l.get("sentence").and_then(Value::as_u64) != Some(0);
    let (sentences, reasons): (Vec<&Value>, Vec<&Value>) = items(c, "/left_out").iter().partition(of_sentence);
    let mut nodes = Vec::new();
    if !sentences.is_empty() {
        let count = match sentences.len() {
            1 => "1 of its sentences is".to_owned(),
            n => format!("{n} of its sentences are"),
        };
        let mut node = Node::remark(format!("{count} left out, for what is said is not in the evidence that is cited"));
        let each = |l: &&Value| Node::remark(format!("sentence {}: {}", text(l, "/sentence"), text(l, "/why")));
        node.extend(sentences.iter().map(each));
        nodes.push(node);
    }
    let reason = |l: &&Value| Node::remark(format!("its reason to be false is left out: {}", text(l, "/why")));
    nodes.extend(reasons.iter().map(reason));
    nodes
}

/// The places in the log that a sentence cites.
fn cited(c: &Value, sentence: &Value) -> String {
    let place = |cite: &Value| {
        let evidence = items(c, "/evidence").iter().find(|e| e.get("cite") == Some(cite));
        evidence.map(|e| format!("log position {}", text(e, "/position")))
    };
    items(sentence, "/cites").iter().filter_map(place).collect::<Vec<_>>().join(", ")
}
