//! Selections: the named maps and lists of a rule's `detection`, compiled to trees of atoms.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use regex::RegexBuilder;

use crate::atom::{Atoms, Number, Test};
use crate::encode;
use crate::error::Refused;
use crate::limits;
use crate::modifier::{Ask, Flags, Modifiers};
use crate::pattern::{self, Matcher, Shape};
use crate::yaml::{Entry, Kind, Line, Node};

/// The values of placeholders, by name, for `expand`.
pub type Placeholders = BTreeMap<String, Vec<String>>;

/// A selection, or a part of one.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
    Leaf(Leaf),
}

/// One wanted value of a field.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) atom: usize,
    /// The field with its modifiers, as written; empty for a keyword.
    pub(crate) field: Arc<str>,
    /// What is wanted, as written.
    pub(crate) wanted: Box<str>,
}

impl Tree {
    /// Whether it holds, given which atoms do.
    pub(crate) fn holds(&self, atom: &mut dyn FnMut(usize) -> bool) -> bool {
        match self {
            Tree::All(trees) => trees.iter().all(|tree| tree.holds(atom)),
            Tree::Any(trees) => trees.iter().any(|tree| tree.holds(atom)),
            Tree::Not(tree) => !tree.holds(atom),
            Tree::Leaf(leaf) => atom(leaf.atom),
        }
    }

    /// Shows every atom that it asks about.
    pub(crate) fn atoms(&self, show: &mut dyn FnMut(usize)) {
        match self {
            Tree::All(trees) | Tree::Any(trees) => trees.iter().for_each(|tree| tree.atoms(show)),
            Tree::Not(tree) => tree.atoms(show),
            Tree::Leaf(leaf) => show(leaf.atom),
        }
    }
}

/// Compiles selections into atoms.
pub(crate) struct Compiler<'c> {
    pub(crate) atoms: &'c mut Atoms,
    pub(crate) placeholders: &'c Placeholders,
    /// How many patterns the document may still become.
    pub(crate) left: usize,
}

/// The field of an item and its modifiers.
struct Item {
    /// The field's number; `None` for keywords.
    field: Option<usize>,
    modifiers: Modifiers,
    written: Arc<str>,
}

impl Compiler<'_> {
    /// A named selection: a map whose items must all hold, a list of maps or keywords of which one must, or a keyword.
    pub(crate) fn selection(&mut self, name: &str, node: &Node) -> Result<Tree, Refused> {
        match &node.kind {
            Kind::Map(entries) => self.map(name, node.line, entries),
            Kind::List(nodes) if nodes.is_empty() => Err(empty(name, node.line)),
            Kind::List(nodes) => {
                let trees = nodes.iter().map(|node| match &node.kind {
                    Kind::Map(entries) => self.map(name, node.line, entries),
                    Kind::List(_) => Err(Refused::new(
                        node.line,
                        format!("`{name}`: a list within a list; a map or a keyword is meant"),
                    )),
                    Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => {
                        self.keyword(name, node)
                    }
                });
                Ok(Tree::Any(trees.collect::<Result<_, _>>()?))
            }
            Kind::Null => Err(empty(name, node.line)),
            Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => self.keyword(name, node),
        }
    }

    fn map(&mut self, name: &str, line: Line, entries: &[Entry]) -> Result<Tree, Refused> {
        if entries.is_empty() {
            return Err(empty(name, line));
        }
        let trees = entries.iter().map(|entry| self.item(name, entry));
        Ok(Tree::All(trees.collect::<Result<_, _>>()?))
    }

    fn keyword(&mut self, name: &str, node: &Node) -> Result<Tree, Refused> {
        let modifiers = Modifiers::parse(&[]).map_err(|reason| Refused::new(node.line, reason))?;
        let item = Item { field: None, modifiers, written: Arc::from("") };
        self.value(&item, node).map_err(|reason| Refused::new(node.line, format!("`{name}`: {reason}")))
    }

    /// One field with its modifiers and what is wanted of it.
    fn item(&mut self, name: &str, entry: &Entry) -> Result<Tree, Refused> {
        let refuse =
            |line: Line, reason: String| Refused::new(line, format!("`{name}`, field `{}`: {reason}", entry.key));
        let mut names = entry.key.split('|');
        let field = names.next().unwrap_or_default();
        let names: Vec<&str> = names.collect();
        let modifiers = Modifiers::parse(&names).map_err(|reason| refuse(entry.line, reason))?;
        let item = Item {
            field: (!field.is_empty()).then(|| self.atoms.field(field)),
            modifiers,
            written: Arc::from(entry.key.as_str()),
        };
        let wanted = entry.value.items();
        if wanted.is_empty() {
            return Err(refuse(entry.line, "an empty list; at least one value is meant".to_owned()));
        }
        if item.modifiers.ask == Ask::Exists && wanted.len() > 1 {
            return Err(refuse(entry.line, "a list; `exists` wants one truth value".to_owned()));
        }
        let trees = wanted.iter().map(|node| self.value(&item, node).map_err(|reason| refuse(node.line, reason)));
        let mut trees = trees.collect::<Result<Vec<_>, _>>()?;
        let tree = match trees.len() {
            1 => trees.remove(0),
            // To differ from all values is to be none of them, whether `all` was said or not.
            _ if item.modifiers.all && !item.modifiers.neq => Tree::All(trees),
            _ => Tree::Any(trees),
        };
        Ok(if item.modifiers.neq { Tree::Not(Box::new(tree)) } else { tree })
    }

    /// One wanted value, which may become several patterns.
    fn value(&mut self, item: &Item, node: &Node) -> Result<Tree, String> {
        let written = node.written().ok_or_else(|| format!("{}; a single value is meant", node.what()))?;
        if written.len() > limits::PATTERN_BYTES_MAX {
            return Err(format!("a value of {} bytes; at most {} are read", written.len(), limits::PATTERN_BYTES_MAX));
        }
        let tests = match &item.modifiers.ask {
            Ask::Text => self.text_tests(item, node)?,
            Ask::Regex(flags) => {
                let patterns = self.expanded(item, written)?;
                patterns.iter().map(|p| regex(p, *flags)).collect::<Result<_, _>>()?
            }
            Ask::Network => {
                let networks = self.expanded(item, written)?;
                networks.iter().map(|n| network(n).map(Test::Network)).collect::<Result<_, _>>()?
            }
            Ask::Exists => vec![Test::Exists(truth(node).ok_or("`exists` wants `true` or `false`")?)],
            Ask::FieldRef => vec![Test::Field {
                other: self.atoms.field(written),
                shape: item.modifiers.shape.unwrap_or(Shape::Whole),
                cased: item.modifiers.cased,
            }],
            Ask::Number(part, compare) => {
                let to = number(node).ok_or_else(|| format!("{}; a number is meant", node.what()))?;
                let compare = *compare;
                vec![match *part {
                    None => Test::Number { compare, to },
                    Some(part) => Test::Time { part, compare, to },
                }]
            }
        };
        self.left = self.left.checked_sub(tests.len()).ok_or_else(|| {
            format!("a document that becomes more than {} patterns by its modifiers", limits::PATTERNS_MAX)
        })?;
        let keyword = matches!(item.modifiers.ask, Ask::Text | Ask::Regex(_) | Ask::Network);
        if item.field.is_none() && (!keyword || node.kind == Kind::Null) {
            return Err("a keyword has no field to ask this of".to_owned());
        }
        let mut leaves: Vec<Tree> = tests.into_iter().map(|test| self.leaf(item, written, test)).collect();
        Ok(if leaves.len() == 1 { leaves.remove(0) } else { Tree::Any(leaves) })
    }

    fn leaf(&mut self, item: &Item, written: &str, test: Test) -> Tree {
        let atom = self.atoms.atom(item.field, test);
        Tree::Leaf(Leaf { atom, field: item.written.clone(), wanted: written.into() })
    }

    fn text_tests(&mut self, item: &Item, node: &Node) -> Result<Vec<Test>, String> {
        let modifiers = &item.modifiers;
        let canonical = match &node.kind {
            Kind::Null
                if modifiers.shape.is_some()
                    || modifiers.windash
                    || !modifiers.encodings.is_empty()
                    || modifiers.expand =>
            {
                return Err("null has no text; a value is meant".to_owned());
            }
            Kind::Null => return Ok(vec![Test::Null]),
            Kind::Int(n, _) => n.to_string(),
            Kind::Float(x, _) => x.to_string(),
            Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                node.written().unwrap_or_default().to_owned()
            }
        };
        if item.field.is_none() && canonical.is_empty() {
            return Err("an empty keyword, which every event has; some text is meant".to_owned());
        }
        let shape = modifiers.shape.unwrap_or(if item.field.is_none() { Shape::Contains } else { Shape::Whole });
        let mut patterns: Vec<_> = self.expanded(item, &canonical)?.iter().map(|text| pattern::parse(text)).collect();
        if modifiers.windash {
            patterns = encode::windash(&patterns)?;
        }
        patterns = encode::encoded(patterns, &modifiers.encodings)?;
        let cased = modifiers.cased;
        Ok(patterns.into_iter().map(|parts| Test::Text { matcher: Matcher::new(parts, shape, cased), cased }).collect())
    }

    /// The written text with its placeholders replaced, in every way that their values allow.
    fn expanded(&self, item: &Item, written: &str) -> Result<Vec<String>, String> {
        if item.modifiers.expand { encode::expand(written, self.placeholders) } else { Ok(vec![written.to_owned()]) }
    }
}

fn empty(name: &str, line: Line) -> Refused {
    Refused::new(line, format!("`{name}` is empty; fields or keywords are meant"))
}

fn regex(pattern: &str, flags: Flags) -> Result<Test, String> {
    // The flags stand in the pattern, so that whoever prints the expression prints all of it.
    let flags = [(flags.ignore_case, 'i'), (flags.multi_line, 'm'), (flags.dot_all, 's')];
    let flags: String = flags.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| *flag).collect();
    let flagged = if flags.is_empty() { pattern.to_owned() } else { format!("(?{flags}){pattern}") };
    let built = RegexBuilder::new(&flagged)
        .size_limit(limits::REGEX_BYTES_MAX)
        .dfa_size_limit(limits::REGEX_CACHE_BYTES_MAX)
        .nest_limit(limits::REGEX_DEPTH_MAX)
        .build();
    built.map(Test::Regex).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "a regular expression that is too large".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("not a regular expression: {last}")
        }
    })
}

fn network(written: &str) -> Result<IpNet, String> {
    let network = written.parse::<IpNet>().or_else(|_| written.parse::<std::net::IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| format!("`{written}` is no network; one like `10.0.0.0/8` is meant"))?;
    if network.trunc() != network {
        return Err(format!("`{written}` has bits beyond its prefix; `{}` is meant", network.trunc()));
    }
    Ok(network)
}

fn number(node: &Node) -> Option<Number> {
    match &node.kind {
        Kind::Int(n, _) => Some(Number::Whole(*n)),
        Kind::Float(x, _) => Some(Number::Other(*x)),
        Kind::Text(text) => Number::parse(text),
        Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// A truth value, also in the words of YAML 1.1.
fn truth(node: &Node) -> Option<bool> {
    match node.written()?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}
