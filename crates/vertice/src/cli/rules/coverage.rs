//! `vertice rules coverage`: rules by ATT&CK technique.
//!
//! As JSON it is a layer for the ATT&CK Navigator, in the layer format 4.5: the score of a technique is the number
//! of rules, the comment names them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use vertice_engine::Content;

use super::super::arguments::ContentArguments;
use super::super::content::counted;
use super::super::output::{Format, Out, Table, Tint};
use super::{loaded, of_kind, rule_files};
use crate::config::Config;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice rules coverage
  vertice rules coverage -o json > layer.json         then: https://mitre-attack.github.io/attack-navigator,
                                                      \"Open Existing Layer\", \"Upload from local\"
  vertice rules coverage sigma/rules -o json > sigma.json
  vertice rules coverage --rules my-rules

Without PATH: the rules that are built in, those of the configuration, and those of --rules. With PATH: only the
rules there. Needs no server. `-o json` is one layer (format 4.5), `-o ndjson` one technique a line.")]
pub struct Arguments {
    /// Only the rules of these files and directories
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    content: ContentArguments,
}

/// The rules of each technique, by title.
type Covered = BTreeMap<String, Vec<String>>;

pub fn run(arguments: &Arguments, config: &Config, out: &mut Out) -> Result<()> {
    let files = if arguments.paths.is_empty() {
        of_kind(loaded(config, &arguments.content)?, "rules").collect()
    } else {
        rule_files(&arguments.paths)?
    };
    print(&Content::compile(files), out)
}

fn print(content: &Content, out: &mut Out) -> Result<()> {
    let (mut covered, mut without, mut all) = (Covered::new(), 0, 0);
    // What only serves a correlation finds nothing by itself.
    for (index, rule) in content.rules.set().iter().filter(|(_, rule)| !rule.silent) {
        all += 1;
        let techniques = &content.rules.attributes(index).techniques;
        without += usize::from(techniques.is_empty());
        for technique in techniques {
            covered.entry(technique.as_str().to_owned()).or_default().push(rule.title.clone());
        }
    }
    match out.format {
        Format::Json => out.json(&layer(&covered, all)),
        Format::Ndjson => covered
            .iter()
            .try_for_each(|(id, titles)| out.json(&json!({"technique": id, "rules": titles.len(), "titles": titles}))),
        Format::Table => {
            let mut table = Table::new(&["TECHNIQUE", "RULES", "TITLES…"]);
            for (id, titles) in &covered {
                let shown = titles.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("; ");
                let more = titles.len().saturating_sub(3);
                let shown = if more == 0 { shown } else { format!("{shown}; and {more} more") };
                table.row(vec![(Tint::None, id.clone()), (Tint::None, titles.len().to_string()), (Tint::None, shown)]);
            }
            out.table(&table)?;
            let told = match without {
                0 => String::new(),
                without => format!(" {} without a technique.", counted(without, "rule")),
            };
            out.line(&format!("{} in {}.{told}", counted(covered.len(), "technique"), counted(all, "rule")))?;
            refused(content, out)
        }
    }
}

fn refused(content: &Content, out: &mut Out) -> Result<()> {
    if content.refused.is_empty() {
        return Ok(());
    }
    let told = format!("{} refused and not counted; `vertice rules check` names them.", content.refused.len());
    out.parts(&[(Tint::Warn, &told)])
}

/// The layer. It leaves the version of ATT&CK open, as rules name techniques and no version.
fn layer(covered: &Covered, rules: usize) -> Value {
    let techniques: Vec<Value> = covered
        .iter()
        .map(|(id, titles)| {
            json!({"techniqueID": id, "score": titles.len(), "comment": titles.join("\n"), "enabled": true,
                "showSubtechniques": covered.keys().any(|other| other.starts_with(&format!("{id}.")))})
        })
        .collect();
    let most = covered.values().map(Vec::len).max().unwrap_or(1);
    json!({
        "name": "Vertice rules",
        "versions": {"layer": "4.5", "navigator": "5.1.0"},
        "domain": "enterprise-attack",
        "description": format!("{rules} rules; the score is the number of rules of a technique"),
        "sorting": 3,
        "techniques": techniques,
        "gradient": {"colors": ["#e8f1fa", "#08519c"], "minValue": 0, "maxValue": most},
        "hideDisabled": false,
        "showTacticRowBackground": false,
        "selectTechniquesAcrossTactics": true,
        "selectSubtechniquesWithParent": false,
    })
}

#[cfg(test)]
mod tests {
    use vertice_engine::ContentFile;

    use super::*;
    use crate::cli::output::tests::printed;

    fn content() -> Content {
        let rule = |id: &str, tags: &str| {
            let text = format!(
                "title: Rule {id}\nid: {id}\ntags: [{tags}]\nlogsource: {{category: dns}}\ndetection: {{s: {{query: {id}}}, condition: s}}\n"
            );
            ContentFile { path: format!("rules/{id}.yml"), text }
        };
        Content::compile(vec![
            rule("a", "attack.t1059, attack.execution"),
            rule("b", "attack.t1059.001, attack.t1059"),
            rule("c", "attack.execution"),
        ])
    }

    #[test]
    fn a_layer_scores_each_technique_by_its_rules() {
        let text = printed(Format::Json, |out| print(&content(), out));
        let layer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&layer["versions"]["layer"], &layer["domain"]), (&json!("4.5"), &json!("enterprise-attack")));
        let scores: Vec<_> = layer["techniques"].as_array().unwrap().iter().collect();
        assert_eq!((&scores[0]["techniqueID"], &scores[0]["score"]), (&json!("T1059"), &json!(2)));
        assert_eq!((&scores[0]["comment"], &scores[0]["showSubtechniques"]), (&json!("Rule a\nRule b"), &json!(true)));
        assert_eq!((&scores[1]["techniqueID"], scores.len()), (&json!("T1059.001"), 2));
        assert_eq!(layer["gradient"]["maxValue"], 2);
    }

    #[test]
    fn a_table_names_the_rules_and_counts_those_without() {
        let text = printed(Format::Table, |out| print(&content(), out));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "T1059      2      Rule a; Rule b");
        assert_eq!(lines[3], "2 techniques in 3 rules. 1 rule without a technique.");
        let text = printed(Format::Ndjson, |out| print(&content(), out));
        assert_eq!(text.lines().next().unwrap(), r#"{"technique":"T1059","rules":2,"titles":["Rule a","Rule b"]}"#);
    }
}
