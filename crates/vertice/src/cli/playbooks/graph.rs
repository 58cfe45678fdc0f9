//! `vertice playbooks graph`: what waits for what.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use vertice_engine::decide::preview::{self, Node};

use super::super::arguments::ContentArguments;
use super::super::output::{Format, Out, Table, Tint};
use super::{compiled, named};
use crate::config::Config;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice playbook graph my-playbooks/block.yml
  vertice playbook graph brute_force_response --as mermaid     for Markdown
  vertice playbook graph brute_force_response --as dot | dot -Tsvg > graph.svg

An arrow leads from an action to what waits for it: drawn through if that is left out where the action does not come
about, broken if it goes on in any case. A question stands before the action that it is about. Needs no server.")]
pub struct Arguments {
    /// The playbook: its file, or the id of one that is built in or configured
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How it is drawn
    #[arg(long = "as", value_enum, default_value_t = Drawn::Table, value_name = "FORM")]
    drawn: Drawn,
    #[command(flatten)]
    content: ContentArguments,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Drawn {
    /// A row for each action.
    Table,
    /// A flowchart of Mermaid.
    Mermaid,
    /// A digraph of Graphviz.
    Dot,
}

pub fn run(arguments: &Arguments, config: &Config, out: &mut Out) -> Result<()> {
    let (content, id) = compiled(named(&arguments.file, config, &arguments.content)?, None)?;
    let nodes = content.playbooks.get(&id).map(preview::graph).context("drawing it")?;
    match (arguments.drawn, out.format) {
        (Drawn::Mermaid, _) => out.text(&mermaid(&nodes)),
        (Drawn::Dot, _) => out.text(&dot(&nodes)),
        (Drawn::Table, Format::Table) => out.table(&table(&nodes)),
        (Drawn::Table, Format::Json) => out.json(&json!({"playbook_id": id, "actions": nodes})),
        (Drawn::Table, Format::Ndjson) => {
            let nodes: Vec<Value> = nodes.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
            out.json_list(&nodes)
        }
    }
}

fn table(nodes: &[Node]) -> Table {
    let mut table = Table::new(&["ACTION", "DOES", "RISK", "ASKS", "AFTER…", "IF IT FAILS"]);
    for node in nodes {
        table.row(vec![
            (Tint::Bold, node.action_id.clone()),
            (Tint::None, node.action_type.to_owned()),
            (Tint::None, node.risk.as_str().to_owned()),
            (Tint::Warn, if node.asks { "a person".to_owned() } else { String::new() }),
            (Tint::None, node.depends_on.join(", ")),
            (Tint::None, if_it_fails(node).to_owned()),
        ]);
    }
    table
}

const fn if_it_fails(node: &Node) -> &'static str {
    match node.on_failure.as_bytes() {
        b"continue" => "what waits for it goes on",
        b"rollback" => "the whole run is taken back",
        _ => "what waits for it is left out",
    }
}

/// What an arrow leads from and to, by the places of the actions. Their ids are words of ours and may be words of
/// the drawing's language.
fn arrows(nodes: &[Node]) -> impl Iterator<Item = (usize, usize, bool)> {
    let place = |id: &String| nodes.iter().position(|node| node.action_id == *id);
    nodes.iter().enumerate().flat_map(move |(to, node)| {
        let before = node.depends_on.iter().filter_map(place);
        before.map(move |from| (from, to, nodes[from].on_failure == "continue")).collect::<Vec<_>>()
    })
}

fn mermaid(nodes: &[Node]) -> String {
    let mut text = "flowchart TD\n".to_owned();
    for (i, node) in nodes.iter().enumerate() {
        let irreversible = if node.reversible { "" } else { "<br/>nothing undoes it" };
        let _ = writeln!(text, "  a{i}[\"{}<br/>{}{irreversible}\"]", node.action_id, node.action_type);
        if node.asks {
            let _ = writeln!(text, "  q{i}{{\"a person is asked\"}}\n  q{i} -- yes --> a{i}");
        }
        if node.on_failure == "rollback" {
            let _ = writeln!(text, "  a{i} -- fails --> back([\"the whole run is taken back\"])");
        }
    }
    for (from, to, goes_on) in arrows(nodes) {
        let arrow = if goes_on { "-. in any case .->" } else { "-->" };
        let _ = writeln!(text, "  a{from} {arrow} {}{to}", if nodes[to].asks { "q" } else { "a" });
    }
    text
}

fn dot(nodes: &[Node]) -> String {
    let mut text = "digraph playbook {\n  node [shape=box];\n".to_owned();
    for (i, node) in nodes.iter().enumerate() {
        let irreversible = if node.reversible { "" } else { "\\nnothing undoes it" };
        let _ = writeln!(text, "  a{i} [label=\"{}\\n{}{irreversible}\"];", node.action_id, node.action_type);
        if node.asks {
            let _ = writeln!(text, "  q{i} [shape=diamond, label=\"a person is asked\"];\n  q{i} -> a{i} [label=yes];");
        }
        if node.on_failure == "rollback" {
            let _ = writeln!(
                text,
                "  back [shape=oval, label=\"the whole run is taken back\"];\n  a{i} -> back [label=fails];"
            );
        }
    }
    for (from, to, goes_on) in arrows(nodes) {
        let how = if goes_on { " [style=dashed, label=\"in any case\"]" } else { "" };
        let _ = writeln!(text, "  a{from} -> {}{to}{how};", if nodes[to].asks { "q" } else { "a" });
    }
    text + "}\n"
}
