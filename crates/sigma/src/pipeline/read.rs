//! The maps that pipelines are written in: every key is asked for, and what nobody asked for is refused.

use regex::{Regex, RegexBuilder};

use crate::error::Refused;
use crate::limits;
use crate::rule::LogSource;
use crate::yaml::{Kind, Node};

/// A map that is read key by key.
pub(crate) struct Map<'n> {
    node: &'n Node,
    /// What it is, for whoever wrote it.
    what: String,
    asked: Vec<String>,
}

impl<'n> Map<'n> {
    pub(crate) fn new(node: &'n Node, what: &str) -> Result<Map<'n>, Refused> {
        match node.kind {
            Kind::Map(_) => Ok(Map { node, what: what.to_owned(), asked: Vec::new() }),
            Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) | Kind::List(_) => {
                Err(Refused::new(node.line, format!("`{what}`: {}; a map is meant", node.what())))
            }
        }
    }

    /// Refuses what nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Refused> {
        match self.node.entries().iter().find(|entry| !self.asked.contains(&entry.key)) {
            None => Ok(()),
            Some(entry) => {
                let asked = self.asked.join(", ");
                let reason = format!("`{}`: unknown `{}`; one of {asked} is meant", self.what, entry.key);
                Err(Refused::new(entry.line, reason))
            }
        }
    }

    /// What stands under a key, which is then known.
    pub(crate) fn take(&mut self, key: &str) -> Option<&'n Node> {
        if !self.asked.iter().any(|asked| asked == key) {
            self.asked.push(key.to_owned());
        }
        self.node.get(key)
    }

    pub(crate) fn refuse(&self, key: &str, meant: &str) -> Refused {
        let node = self.node.get(key);
        let line = node.map_or(self.node.line, |node| node.line);
        let what = node.map_or("missing", |node| node.what());
        Refused::new(line, format!("`{}`, `{key}`: {what}; {meant} is meant", self.what))
    }

    /// A single value that must be there.
    pub(crate) fn text(&mut self, key: &str) -> Result<String, Refused> {
        let text = self.take(key).filter(|node| node.kind != Kind::Null).and_then(Node::written);
        text.map(str::to_owned).ok_or_else(|| self.refuse(key, "text"))
    }

    pub(crate) fn truth(&mut self, key: &str) -> Result<bool, Refused> {
        match self.take(key).map(|node| &node.kind) {
            None => Ok(false),
            Some(Kind::Bool(truth)) => Ok(*truth),
            Some(_) => Err(self.refuse(key, "`true` or `false`")),
        }
    }

    /// One of a few words, if it is there.
    pub(crate) fn word(&mut self, key: &str, words: &[&str]) -> Result<Option<String>, Refused> {
        let Some(node) = self.take(key) else { return Ok(None) };
        let written = node.written().unwrap_or(node.what());
        if words.contains(&written) {
            return Ok(Some(written.to_owned()));
        }
        Err(Refused::new(node.line, format!("`{key}`: `{written}`; one of {} is meant", words.join(", "))))
    }

    /// The `type`, which must be there.
    pub(crate) fn kind(&mut self, kinds: &[&str]) -> Result<String, Refused> {
        let kind = self.word("type", kinds)?;
        kind.ok_or_else(|| self.refuse("type", &format!("one of {}", kinds.join(", "))))
    }

    pub(crate) fn regex(&mut self, key: &str) -> Result<Regex, Refused> {
        let pattern = self.text(key)?;
        // As Python's `re.match`, which pySigma uses: from the start, and not to the end.
        self.compiled(key, &format!("^(?:{pattern})"))
    }

    pub(crate) fn compiled(&self, key: &str, pattern: &str) -> Result<Regex, Refused> {
        let built = RegexBuilder::new(pattern)
            .size_limit(limits::REGEX_BYTES_MAX)
            .dfa_size_limit(limits::REGEX_CACHE_BYTES_MAX)
            .nest_limit(limits::REGEX_DEPTH_MAX)
            .build();
        built.map_err(|_| self.refuse(key, "a regular expression, without look-around and not too large,"))
    }

    /// A list of names, as expressions: of exactly these, or as written.
    pub(crate) fn names(&mut self, key: &str, plain: bool) -> Result<Vec<Regex>, Refused> {
        let names = self.list(key)?;
        let pattern = |name: &String| if plain { format!("^{}$", regex::escape(name)) } else { format!("^(?:{name})") };
        names.iter().map(|name| self.compiled(key, &pattern(name))).collect()
    }

    /// A list of texts that must be there, or a single one.
    pub(crate) fn list(&mut self, key: &str) -> Result<Vec<String>, Refused> {
        let Some(node) = self.take(key) else { return Err(self.refuse(key, "a list of names")) };
        let text = |item: &Node| item.written().filter(|_| item.kind != Kind::Null).map(str::to_owned);
        let texts: Option<Vec<String>> = node.items().iter().map(text).collect();
        texts.filter(|texts| !texts.is_empty()).ok_or_else(|| self.refuse(key, "a list of names"))
    }

    /// A list of texts, if it is there.
    pub(crate) fn maybe_list(&mut self, key: &str) -> Result<Option<Vec<String>>, Refused> {
        if self.take(key).is_none() { Ok(None) } else { self.list(key).map(Some) }
    }

    /// A map from names to one or several texts, which must be there.
    pub(crate) fn mapping(&mut self, key: &str) -> Result<Vec<(String, Vec<String>)>, Refused> {
        let meant = "a map from names to a name or a list of names";
        let node = self.take(key).filter(|node| matches!(node.kind, Kind::Map(_)));
        let Some(node) = node else { return Err(self.refuse(key, meant)) };
        let mut mapping = Vec::new();
        for entry in node.entries() {
            let text = |item: &Node| item.written().filter(|_| item.kind != Kind::Null).map(str::to_owned);
            let names: Option<Vec<String>> = entry.value.items().iter().map(text).collect();
            let Some(names) = names.filter(|names| !names.is_empty()) else {
                let reason =
                    format!("`{key}`, `{}`: {}; a name or a list of names is meant", entry.key, entry.value.what());
                return Err(Refused::new(entry.line, reason));
            };
            mapping.push((entry.key.clone(), names));
        }
        Ok(mapping)
    }
}

pub(crate) fn log_source(map: &mut Map<'_>) -> Result<LogSource, Refused> {
    let source =
        LogSource { category: part(map, "category")?, product: part(map, "product")?, service: part(map, "service")? };
    if source == LogSource::default() {
        return Err(map.refuse("category", "at least one of category, product, service"));
    }
    Ok(source)
}

fn part(map: &mut Map<'_>, key: &str) -> Result<Option<String>, Refused> {
    if map.take(key).is_none() { Ok(None) } else { map.text(key).map(Some) }
}
