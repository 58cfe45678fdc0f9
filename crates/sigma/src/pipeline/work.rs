//! A rule while pipelines work on it: its selections as items, and what has been done to each.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Refused;
use crate::limits;
use crate::rule::{self, LogSource};
use crate::yaml::{Entry, Kind, Line, Node};

/// A rule, a filter or a correlation on its way through pipelines.
pub(crate) struct Work {
    pub(crate) document: Node,
    /// Under which key its selections stand: `detection`, `filter`, or none of a correlation.
    body: Option<&'static str>,
    pub(crate) selections: Vec<(Entry, Part)>,
    /// What it is for; of a correlation, what the rules are for that it is over.
    pub(crate) sources: Vec<LogSource>,
    /// The items of pipelines that were applied to it.
    pub(crate) applied: BTreeSet<String>,
    pub(crate) state: BTreeMap<String, String>,
}

/// A selection, or a part of one.
pub(crate) enum Part {
    /// A map: all of these.
    All(Vec<Item>),
    /// A list: any of these.
    Any(Vec<Part>),
    Keyword(Item),
}

/// A field with its modifiers and what is wanted of it, or a keyword.
#[derive(Clone)]
pub(crate) struct Item {
    /// Empty for a keyword.
    pub(crate) field: String,
    /// With the `|` before each.
    pub(crate) modifiers: String,
    pub(crate) line: Line,
    pub(crate) value: Node,
    pub(crate) applied: BTreeSet<String>,
}

impl Item {
    fn new(entry: &Entry) -> Item {
        let (field, modifiers) = entry.key.split_at(entry.key.find('|').unwrap_or(entry.key.len()));
        let (field, modifiers) = (field.to_owned(), modifiers.to_owned());
        Item { field, modifiers, line: entry.line, value: entry.value.clone(), applied: BTreeSet::new() }
    }

    pub(crate) fn has(&self, modifier: &str) -> bool {
        self.modifiers.split('|').any(|name| name == modifier)
    }

    /// Its values that are text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.value.items().iter().filter_map(Node::as_text)
    }

    fn entry(&self) -> Entry {
        Entry { key: format!("{}{}", self.field, self.modifiers), line: self.line, value: self.value.clone() }
    }
}

/// The keys of a detection or a filter that are no selections.
const BESIDES: [&str; 3] = ["condition", "timeframe", "rules"];

impl Work {
    /// A document as work; `None` if it has nothing that could be worked on, which is refused later.
    pub(crate) fn new(document: Node, over: Vec<LogSource>) -> Option<Work> {
        let body = ["detection", "filter"].into_iter().find(|body| document.get(body).is_some());
        let sources = match document.get("logsource") {
            Some(node) => vec![rule::log_source(node).ok()?],
            None => over,
        };
        let mut selections = Vec::new();
        for entry in body.and_then(|body| document.get(body)).map(Node::entries).unwrap_or_default() {
            if !BESIDES.contains(&entry.key.as_str()) {
                selections.push((entry.clone(), part(&entry.value)));
            }
        }
        let (applied, state) = (BTreeSet::new(), BTreeMap::new());
        Some(Work { document, body, selections, sources, applied, state })
    }

    /// The document with the work done.
    pub(crate) fn finish(mut self) -> Result<Node, Refused> {
        let Some(body) = self.body.and_then(|body| self.document.get_mut(body)) else { return Ok(self.document) };
        let Kind::Map(entries) = &mut body.kind else { return Ok(self.document) };
        entries.retain(|entry| BESIDES.contains(&entry.key.as_str()));
        for (entry, part) in self.selections {
            let kind = written(part);
            if matches!(&kind, Kind::Map(items) if items.is_empty()) && !entry.value.entries().is_empty() {
                let reason =
                    format!("`{}`: the pipelines drop all of it; at least one item is meant to stay", entry.key);
                return Err(Refused::new(entry.line, reason));
            }
            entries.push(Entry { value: Node { kind, line: entry.value.line }, ..entry });
        }
        Ok(self.document)
    }

    /// Selections alone, to be changed while the rest is looked at.
    pub(crate) fn with(&self, selections: Vec<(Entry, Part)>) -> Work {
        Work {
            document: Node { kind: Kind::Null, line: self.document.line },
            body: self.body,
            selections,
            sources: Vec::new(),
            applied: BTreeSet::new(),
            state: BTreeMap::new(),
        }
    }

    /// All items of all selections.
    pub(crate) fn items(&self) -> Vec<&Item> {
        let mut found = Vec::new();
        self.selections.iter().for_each(|(_, part)| part.items(&mut found));
        found
    }

    /// Puts what comes of each item in its place: nothing, itself changed, or alternatives to it.
    pub(crate) fn each(&mut self, change: &mut dyn FnMut(Item) -> Result<Vec<Item>, Refused>) -> Result<(), Refused> {
        for (entry, part) in &mut self.selections {
            let whole = std::mem::replace(part, Part::Any(Vec::new()));
            *part = changed(whole, entry.line, change)?;
        }
        Ok(())
    }

    /// Rewrites the conditions.
    pub(crate) fn conditions(&mut self, rewrite: &dyn Fn(&str) -> String) {
        let condition =
            self.body.and_then(|body| self.document.get_mut(body)).and_then(|body| body.get_mut("condition"));
        let Some(condition) = condition else { return };
        let items = match &mut condition.kind {
            Kind::List(items) => items.as_mut_slice(),
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) | Kind::Map(_) => {
                std::slice::from_mut(condition)
            }
        };
        for item in items {
            if let Kind::Text(text) = &mut item.kind {
                *text = rewrite(text);
            }
        }
    }
}

pub(crate) fn part(node: &Node) -> Part {
    match &node.kind {
        Kind::Map(entries) => Part::All(entries.iter().map(Item::new).collect()),
        Kind::List(nodes) => Part::Any(nodes.iter().map(part).collect()),
        Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => {
            let (field, modifiers) = (String::new(), String::new());
            Part::Keyword(Item { field, modifiers, line: node.line, value: node.clone(), applied: BTreeSet::new() })
        }
    }
}

fn written(part: Part) -> Kind {
    match part {
        Part::All(items) => Kind::Map(items.iter().map(Item::entry).collect()),
        Part::Any(parts) => {
            let node = |part: Part| {
                let line = part.line();
                Node { kind: written(part), line }
            };
            Kind::List(parts.into_iter().map(node).collect())
        }
        Part::Keyword(item) => item.value.kind,
    }
}

impl Part {
    fn line(&self) -> Line {
        match self {
            Part::All(items) => items.first().map_or(Line::from(0), |item| item.line),
            Part::Any(parts) => parts.first().map_or(Line::from(0), Part::line),
            Part::Keyword(item) => item.value.line,
        }
    }

    fn items<'p>(&'p self, found: &mut Vec<&'p Item>) {
        match self {
            Part::All(items) => found.extend(items),
            Part::Any(parts) => parts.iter().for_each(|part| part.items(found)),
            Part::Keyword(item) => found.push(item),
        }
    }
}

/// A part with its items changed. A map with alternatives becomes a list of maps, one for each choice.
fn changed(
    part: Part,
    line: Line,
    change: &mut dyn FnMut(Item) -> Result<Vec<Item>, Refused>,
) -> Result<Part, Refused> {
    match part {
        Part::Keyword(item) => {
            let mut items = change(item)?;
            Ok(match items.len() {
                1 => Part::Keyword(items.remove(0)),
                _ => Part::Any(items.into_iter().map(Part::Keyword).collect()),
            })
        }
        Part::Any(parts) => {
            let (mut all, before) = (Vec::new(), parts.len());
            for part in parts {
                if all.len() > before.max(limits::EXPANSIONS_MAX) {
                    return Err(too_many(line));
                }
                match (matches!(part, Part::All(_)), changed(part, line, change)?) {
                    (true, Part::Any(several)) => all.extend(several),
                    (_, part) => all.push(part),
                }
            }
            Ok(Part::Any(all))
        }
        Part::All(items) => {
            let mut maps: Vec<Vec<Item>> = vec![Vec::new()];
            for item in items {
                let choices = change(item)?;
                if choices.is_empty() {
                    continue;
                }
                if maps.len().saturating_mul(choices.len()) > limits::EXPANSIONS_MAX {
                    return Err(too_many(line));
                }
                let with = |map: &Vec<Item>, choice: &Item| map.iter().chain([choice]).cloned().collect();
                maps = maps.iter().flat_map(|map| choices.iter().map(move |choice| with(map, choice))).collect();
            }
            Ok(match maps.len() {
                1 => Part::All(maps.remove(0)),
                _ => Part::Any(maps.into_iter().map(Part::All).collect()),
            })
        }
    }
}

fn too_many(line: Line) -> Refused {
    Refused::new(line, format!("pipelines make more than {} alternatives of it", limits::EXPANSIONS_MAX))
}

/// What a field is called from now on, if it is renamed; the line is for whoever is told that it cannot be.
type Rename<'r> = dyn Fn(&str, Line) -> Result<Option<String>, Refused> + 'r;

/// A correlation with the fields renamed that it groups by, counts and gives aliases.
pub(crate) fn renamed(node: &Node, name: &Rename<'_>) -> Result<Node, Refused> {
    let mut node = node.clone();
    let aliases: Vec<String> =
        node.get("aliases").map(Node::entries).unwrap_or_default().iter().map(|alias| alias.key.clone()).collect();
    let rename = |node: &mut Node| -> Result<(), Refused> {
        let line = node.line;
        let items = match &mut node.kind {
            Kind::List(items) => items.as_mut_slice(),
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) | Kind::Map(_) => {
                std::slice::from_mut(node)
            }
        };
        for item in items {
            if let Kind::Text(text) = &mut item.kind
                && !aliases.contains(text)
                && let Some(name) = name(text, line)?
            {
                *text = name;
            }
        }
        Ok(())
    };
    node.get_mut("group-by").map(rename).transpose()?;
    node.get_mut("condition").and_then(|condition| condition.get_mut("field")).map(rename).transpose()?;
    if let Some(Kind::Map(aliases)) = node.get_mut("aliases").map(|aliases| &mut aliases.kind) {
        for alias in aliases {
            if let Kind::Map(rules) = &mut alias.value.kind {
                rules.iter_mut().try_for_each(|rule| rename(&mut rule.value))?;
            }
        }
    }
    Ok(node)
}
