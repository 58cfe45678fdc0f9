//! A rule as it was read: what it says about itself, and what it asks.

use std::collections::BTreeMap;

use crate::condition::Condition;
use crate::detection::Tree;
use crate::error::Refused;
use crate::yaml::{Entry, Kind, Node};

/// Where a rule stands in its set. It holds for one compiled set only; across sets, [`Rule::key`] names a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleIndex(pub(crate) u32);

impl RuleIndex {
    /// The index as a number, below [`crate::RuleSet::len`].
    #[must_use]
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// How grave a match is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Not a finding, but worth a note.
    Informational,
    /// Notable, rarely an incident.
    Low,
    /// Relevant; to be looked at in time.
    Medium,
    /// Relevant; to be looked at now.
    High,
    /// An incident.
    Critical,
}

/// How far a rule is trusted by its author.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Status {
    /// Ready for production.
    Stable,
    /// Mostly ready; may need a little tuning.
    Test,
    /// May well cause false positives.
    Experimental,
    /// Replaced by another.
    Deprecated,
    /// Cannot be used as it is.
    Unsupported,
}

/// The log source that a rule is for. A part that is not named may be anything.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct LogSource {
    /// A kind of event that several products write.
    pub category: Option<String>,
    /// Who makes what wrote it.
    pub product: Option<String>,
    /// The log or daemon within the product.
    pub service: Option<String>,
}

/// How a rule is related to another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Related {
    /// The other's id.
    pub id: String,
    /// `correlation`, `derived`, `obsolete`, `merged`, `renamed` or `similar`.
    pub kind: String,
}

/// A rule: a detection, or a correlation of others.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its own id, if it has one; a UUID by custom.
    pub id: Option<String>,
    /// What it finds, in a line.
    pub title: String,
    /// The name by which correlations and filters may refer to it.
    pub name: Option<String>,
    /// How far it is trusted.
    pub status: Option<Status>,
    /// How grave a match is.
    pub level: Option<Level>,
    /// What it finds and why that matters.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// Tags, such as `attack.t1059.001`.
    pub tags: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// What it also finds that is harmless.
    pub falsepositives: Vec<String>,
    /// When it was written.
    pub date: Option<String>,
    /// When it was last changed.
    pub modified: Option<String>,
    /// The fields that a person should be shown.
    pub fields: Vec<String>,
    /// Its relations to other rules.
    pub related: Vec<Related>,
    /// The log source it is for; that of a correlation names nothing.
    pub log_source: LogSource,
    /// All top-level attributes that Sigma does not define.
    pub attributes: BTreeMap<String, Node>,
    /// The file it was read from.
    pub path: String,
    /// The line its document begins on, from 1.
    pub line: u32,
    /// It only serves correlations, and none of them asks for its own matches (`generate`).
    pub silent: bool,
    pub(crate) body: Body,
}

/// What a rule asks.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Detection(Detection),
    Correlation(Box<crate::correlation::Correlation>),
}

/// Selections and how they are put together.
#[derive(Clone, Debug)]
pub(crate) struct Detection {
    pub(crate) selections: Vec<(String, Tree)>,
    pub(crate) condition: Condition,
}

impl Detection {
    /// Whether it holds, given which atoms do.
    pub(crate) fn holds(&self, atom: &mut dyn FnMut(usize) -> bool) -> bool {
        self.condition.holds(&mut |number| self.selections[number].1.holds(atom))
    }

    /// Shows every atom that it asks about.
    pub(crate) fn atoms(&self, show: &mut dyn FnMut(usize)) {
        self.selections.iter().for_each(|(_, tree)| tree.atoms(show));
    }
}

impl Rule {
    /// What names the rule across compilations: its id, else its name, else its title.
    #[must_use]
    pub fn key(&self) -> &str {
        self.id.as_deref().or(self.name.as_deref()).unwrap_or(&self.title)
    }

    /// Whether it is a correlation of other rules.
    #[must_use]
    pub fn is_correlation(&self) -> bool {
        match self.body {
            Body::Detection(_) => false,
            Body::Correlation(_) => true,
        }
    }

    /// Whether `reference` names this rule, by id, name or title.
    pub(crate) fn is_called(&self, reference: &str) -> bool {
        self.id.as_deref() == Some(reference) || self.name.as_deref() == Some(reference) || self.title == reference
    }
}

/// Attributes that Sigma defines; all others are custom.
pub(crate) const KNOWN: [&str; 24] = [
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "author",
    "references",
    "date",
    "modified",
    "logsource",
    "detection",
    "correlation",
    "filter",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
    "action",
    "generate",
    "simulation",
];

/// Reads what a document says about itself.
pub(crate) fn describe(document: &Node, path: &str, body: Body) -> Result<Rule, Refused> {
    let title = required_text(document, "title")?;
    let source = document.get("logsource");
    Ok(Rule {
        id: text(document, "id")?,
        name: text(document, "name")?,
        status: word(document, "status", &STATUSES)?,
        level: word(document, "level", &LEVELS)?,
        description: text(document, "description")?.unwrap_or_default(),
        author: texts(document, "author")?.join(", "),
        tags: texts(document, "tags")?,
        references: texts(document, "references")?,
        falsepositives: texts(document, "falsepositives")?,
        date: text(document, "date")?,
        modified: text(document, "modified")?,
        fields: texts(document, "fields")?,
        related: related(document)?,
        log_source: source.map(log_source).transpose()?.unwrap_or_default(),
        attributes: custom(document),
        title,
        path: path.to_owned(),
        line: document.line.number,
        silent: false,
        body,
    })
}

const STATUSES: [(&str, Status); 5] = [
    ("stable", Status::Stable),
    ("test", Status::Test),
    ("experimental", Status::Experimental),
    ("deprecated", Status::Deprecated),
    ("unsupported", Status::Unsupported),
];

const LEVELS: [(&str, Level); 5] = [
    ("informational", Level::Informational),
    ("low", Level::Low),
    ("medium", Level::Medium),
    ("high", Level::High),
    ("critical", Level::Critical),
];

impl Level {
    /// The word of the specification.
    #[must_use]
    pub fn word(self) -> &'static str {
        LEVELS[self as usize].0
    }
}

impl Status {
    /// The word of the specification.
    #[must_use]
    pub fn word(self) -> &'static str {
        STATUSES[self as usize].0
    }
}

pub(crate) fn required_text(document: &Node, key: &str) -> Result<String, Refused> {
    let text = text(document, key)?.filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| Refused::new(document.line, format!("`{key}` is missing")))
}

/// A single value as text.
pub(crate) fn text(document: &Node, key: &str) -> Result<Option<String>, Refused> {
    let Some(node) = document.get(key) else { return Ok(None) };
    match node.written() {
        Some(_) if node.kind == Kind::Null => Ok(None),
        Some(text) => Ok(Some(text.trim_end().to_owned())),
        None => Err(Refused::new(node.line, format!("`{key}`: {}; text is meant", node.what()))),
    }
}

/// A list of texts, or a single one.
pub(crate) fn texts(document: &Node, key: &str) -> Result<Vec<String>, Refused> {
    let Some(node) = document.get(key).filter(|node| node.kind != Kind::Null) else { return Ok(Vec::new()) };
    let text = |item: &Node| match item.written() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Refused::new(item.line, format!("`{key}`: {}; text is meant", item.what()))),
    };
    node.items().iter().filter(|item| item.kind != Kind::Null).map(text).collect()
}

/// One of a few words.
pub(crate) fn word<T: Copy>(document: &Node, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Refused> {
    let Some(written) = text(document, key)? else { return Ok(None) };
    match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&written)) {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let line = document.get(key).map_or(document.line, |node| node.line);
            Err(Refused::new(line, format!("`{key}`: `{written}`; one of {} is meant", known.join(", "))))
        }
    }
}

fn related(document: &Node) -> Result<Vec<Related>, Refused> {
    let Some(node) = document.get("related").filter(|node| node.kind != Kind::Null) else { return Ok(Vec::new()) };
    let one = |item: &Node| Ok(Related { id: required_text(item, "id")?, kind: required_text(item, "type")? });
    node.items().iter().map(one).collect()
}

pub(crate) fn log_source(node: &Node) -> Result<LogSource, Refused> {
    let Kind::Map(entries) = &node.kind else {
        return Err(Refused::new(node.line, format!("`logsource`: {}; a map is meant", node.what())));
    };
    let mut source = LogSource::default();
    for Entry { key, line, .. } in entries {
        let part = match key.as_str() {
            "category" => &mut source.category,
            "product" => &mut source.product,
            "service" => &mut source.service,
            // What else is said of it is for people, unless it looks like one of these written wrong.
            _ if !["category", "product", "service"].iter().any(|part| near(key, part)) => continue,
            _ => {
                let reason = format!("`logsource`: unknown `{key}`; category, product or service is meant");
                return Err(Refused::new(*line, reason));
            }
        };
        *part = text(node, key)?;
    }
    Ok(source)
}

/// Whether a word is another with a letter or two wrong, missing or too many.
fn near(word: &str, other: &str) -> bool {
    if word.len() > 2 * other.len() {
        return false;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (i, letter) in other.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, c) in word.iter().enumerate() {
            let changed = diagonal + usize::from(*c != letter);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().is_some_and(|wrong| *wrong <= 2)
}

fn custom(document: &Node) -> BTreeMap<String, Node> {
    let custom = document.entries().iter().filter(|entry| !KNOWN.contains(&entry.key.as_str()));
    custom.map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}
