//! YAML as a small tree in which every node knows its line.
//!
//! A rule writer is told where the mistake is, so lines must survive into the tree; and a rule file may come
//! from anywhere, so depth, node count and documents are bounded, and aliases cannot multiply past the node count.

use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::error::Refused;
use crate::limits;

/// A node of a YAML document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it starts.
    pub line: Line,
}

/// A line of a file, and where in it something starts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Line {
    /// The line, from 1.
    pub number: u32,
    /// The column, in characters from 1.
    pub column: u32,
}

/// The beginning of a line.
impl From<u32> for Line {
    fn from(number: u32) -> Line {
        Line { number, column: 1 }
    }
}

/// What a node is. Scalars follow the core schema of YAML 1.2.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, and as it was written.
    Int(i64, String),
    /// Any other number, and as it was written.
    Float(f64, String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written; no key stands twice.
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key starts.
    pub line: Line,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The text of a text node.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The value under a key of a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The value under a key of a map, to be changed.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.kind {
            Kind::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value),
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) | Kind::List(_) => None,
        }
    }

    /// Puts a value under a key of a map.
    pub(crate) fn set(&mut self, key: &str, value: Node) {
        if let Some(old) = self.get_mut(key) {
            *old = value;
        } else if let Kind::Map(entries) = &mut self.kind {
            entries.push(Entry { key: key.to_owned(), line: value.line, value });
        }
    }

    /// The entries of a map; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// The items of a list; the node itself if it is none.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) | Kind::Map(_) => {
                std::slice::from_ref(self)
            }
        }
    }

    /// A scalar as it was written, without its quotes; `None` for a list or a map.
    #[must_use]
    pub fn written(&self) -> Option<&str> {
        match &self.kind {
            Kind::Null => Some("null"),
            Kind::Bool(true) => Some("true"),
            Kind::Bool(false) => Some("false"),
            Kind::Int(_, raw) | Kind::Float(_, raw) => Some(raw),
            Kind::Text(text) => Some(text),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// What a person would call it, for an error.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a truth value",
            Kind::Int(..) | Kind::Float(..) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// Lays `over` upon this node: maps are joined key by key, anything else is replaced.
    pub(crate) fn overlay(&mut self, over: Node) {
        match (&mut self.kind, over.kind) {
            (Kind::Map(under), Kind::Map(entries)) => {
                for entry in entries {
                    match under.iter_mut().find(|old| old.key == entry.key) {
                        Some(old) => old.value.overlay(entry.value),
                        None => under.push(entry),
                    }
                }
            }
            (kind, over) => *kind = over,
        }
        self.line = over.line;
    }
}

/// Reads the documents of a file. Each stands or falls alone; empty documents are left out.
pub(crate) fn read(text: &str) -> Vec<Result<Node, Refused>> {
    if text.len() > limits::FILE_BYTES_MAX {
        let reason = format!("a rule file of {} bytes; at most {} are read", text.len(), limits::FILE_BYTES_MAX);
        return vec![Err(Refused::new(1, reason))];
    }
    let options = granit_parser::options! { emit_comments: false };
    let mut reader =
        Reader { parser: Parser::new_from_str_with_options(text, options), nodes: 0, anchors: BTreeMap::new() };
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(Some(Node { kind: Kind::Null, .. })) => {}
            Ok(Some(node)) => documents.push(Ok(node)),
            Ok(None) => break,
            Err(error) => {
                documents.push(Err(error));
                // What follows the next document marker may be sound again.
                if !matches!(reader.parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
        if documents.len() > limits::DOCUMENTS_MAX {
            let reason = format!("more than {} documents in one file", limits::DOCUMENTS_MAX);
            documents.push(Err(Refused::new(1, reason)));
            break;
        }
    }
    documents
}

struct Reader<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    nodes: usize,
    anchors: BTreeMap<usize, Node>,
}

impl<'t> Reader<'t> {
    /// The next document, or `None` at the end of the file.
    fn document(&mut self) -> Result<Option<Node>, Refused> {
        self.anchors.clear();
        loop {
            let Some((event, span)) = self.event()? else { return Ok(None) };
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(None),
                event => return self.node(event, span, 0).map(Some),
            }
        }
    }

    fn event(&mut self) -> Result<Option<(Event<'t>, Span)>, Refused> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => Err(Refused::new(line_of(error.marker()), format!("not YAML: {}", error.info()))),
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Refused> {
        let line = line_of(&span.start);
        let refuse = |reason: String| Refused { line, reason };
        if depth > limits::YAML_DEPTH_MAX {
            return Err(refuse(format!("nested more than {} deep", limits::YAML_DEPTH_MAX)));
        }
        self.count(1, line)?;
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (if plain { scalar(&text) } else { Kind::Text(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list(depth, line)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(depth, line)?, anchor),
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| refuse("an alias of a node that it is within".to_owned()))?;
                self.count(size(&node), line)?;
                if depth + depth_of(&node) > limits::YAML_DEPTH_MAX {
                    return Err(refuse(format!("nested more than {} deep", limits::YAML_DEPTH_MAX)));
                }
                return Ok(node);
            }
            _ => return Err(refuse("not YAML: a value is missing here".to_owned())),
        };
        let node = Node { kind, line };
        if anchor != 0 {
            // An anchored node is kept once more.
            self.count(size(&node), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize, line: Line) -> Result<Kind, Refused> {
        let mut items = Vec::new();
        loop {
            match self.next_within(line)? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize, line: Line) -> Result<Kind, Refused> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = BTreeMap::new();
        loop {
            let (event, span) = self.next_within(line)?;
            if event == Event::MappingEnd {
                return Ok(Kind::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let line = key.line;
            let what = key.what();
            let key = key.written().map(str::to_owned);
            let key = key.ok_or_else(|| Refused { line, reason: format!("{what} as a key; a name is meant") })?;
            if let Some(first) = seen.insert(key.clone(), line) {
                return Err(Refused { line, reason: format!("`{key}` stands twice, first in line {}", first.number) });
            }
            let (event, span) = self.next_within(line)?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, line, value });
        }
    }

    fn next_within(&mut self, line: Line) -> Result<(Event<'t>, Span), Refused> {
        self.event()?.ok_or_else(|| Refused { line, reason: "not YAML: it ends within this node".to_owned() })
    }

    fn count(&mut self, nodes: usize, line: Line) -> Result<(), Refused> {
        self.nodes += nodes;
        if self.nodes > limits::YAML_NODES_MAX {
            let reason = format!("more than {} YAML nodes in one file, aliases followed", limits::YAML_NODES_MAX);
            return Err(Refused { line, reason });
        }
        Ok(())
    }
}

fn line_of(marker: &Marker) -> Line {
    let number = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
    Line { number: number(marker.line()), column: number(marker.col() + 1) }
}

/// How many nodes a tree has.
fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|entry| 1 + size(&entry.value)).sum::<usize>(),
        Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => 1,
    }
}

fn depth_of(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Kind::Map(entries) => 1 + entries.iter().map(|entry| depth_of(&entry.value)).max().unwrap_or(0),
        Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => 0,
    }
}

/// A plain scalar by the core schema (YAML 1.2.2, section 10.3.2). A whole number that no `i64` holds stays text,
/// which compares alike.
fn scalar(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Kind::Text(text.to_owned());
    }
    let whole = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(hex), _) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => i64::from_str_radix(hex, 16).ok(),
        (_, Some(octal)) if octal.bytes().all(|b| b.is_ascii_digit()) => i64::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    };
    if let Some(n) = whole {
        return Kind::Int(n, text.to_owned());
    }
    let decimal = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let fraction = digits.contains(['.', 'e', 'E']);
    match text.parse::<f64>() {
        Ok(x) if decimal && fraction && x.is_finite() => Kind::Float(x, text.to_owned()),
        _ => Kind::Text(text.to_owned()),
    }
}
