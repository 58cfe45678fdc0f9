//! A set of rules: compiled together, matched together.

use std::collections::BTreeMap;

use crate::atom::{Atoms, Examined};
use crate::condition::{self, Condition};
use crate::correlation::Correlation;
use crate::detection::{Compiler, Placeholders, Tree};
use crate::document::documents;
use crate::error::{Refused, RuleError};
use crate::event::{Event, Source};
use crate::explain::{self, Matched};
use crate::limits;
use crate::pipeline::{self, Pipeline};
use crate::route::{Key, Routes};
use crate::rule::{self, Body, Detection, LogSource, Rule, RuleIndex};
use crate::verdict::{self, Verdict};
use crate::yaml::{Kind, Line, Node};

/// A compiled set of rules.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    atoms: Atoms,
    routes: Routes,
    /// Correlations over each rule, by the rule's number.
    watchers: BTreeMap<RuleIndex, Vec<RuleIndex>>,
}

/// What rules are fitted to when they are compiled.
#[derive(Debug, Default)]
pub struct Compilation {
    /// The values of placeholders, for `expand`.
    pub placeholders: Placeholders,
    /// Processing pipelines, in any order: they are applied by their priority.
    pub pipelines: Vec<Pipeline>,
    /// Files whose path begins with one of these are left as they are: they fit already.
    pub as_written: Vec<String>,
}

impl RuleSet {
    /// Compiles rule files, given as path and text. What is refused is named; all else stands.
    pub fn compile<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> (RuleSet, Vec<RuleError>) {
        RuleSet::compile_with(files, &Compilation::default())
    }

    /// As [`RuleSet::compile`], with what the rules are to be fitted to.
    pub fn compile_with<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
        compilation: &Compilation,
    ) -> (RuleSet, Vec<RuleError>) {
        let mut building = Building { set: RuleSet::default(), compilation, ids: BTreeMap::new(), errors: Vec::new() };
        let (mut filters, mut correlations) = (Vec::new(), Vec::new());
        for (path, text) in files {
            for document in documents(text) {
                match document {
                    Err(refused) => building.refuse(path, refused),
                    Ok(document) if document.get("correlation").is_some() => correlations.push((path, document)),
                    Ok(document) if document.get("filter").is_some() => filters.push((path, document)),
                    Ok(document) => building.detection_rule(path, document),
                }
            }
        }
        for (path, document) in filters {
            if let Err(refused) =
                building.piped(path, document, Vec::new()).and_then(|document| building.filter(&document))
            {
                building.refuse(path, refused);
            }
        }
        building.correlations(correlations);
        building.finish()
    }

    /// The rules that match an event which comes from these log sources, in no order that means anything. A rule
    /// applies if every part that its log source names is that of one of the sources.
    ///
    /// This remembers nothing between events, and so does for one. For many there is [`crate::Matcher`].
    pub fn matches<'s>(&self, event: &dyn Event, sources: impl IntoIterator<Item = Source<'s>>) -> Vec<RuleIndex> {
        let mut examined = Examined::new(event, &self.atoms);
        let keys: Vec<Key> = sources.into_iter().map(|source| self.routes.key(source)).collect();
        let holds = |index: &RuleIndex| match &self.rule(*index).body {
            Body::Detection(detection) => detection.holds(&mut |atom| examined.holds(atom)),
            Body::Correlation(_) => false,
        };
        self.routes.rules(&keys).filter(holds).collect()
    }

    /// The conditions of a rule that hold of an event, for a person. At most [`limits::EXPLAINED_MAX`].
    #[must_use]
    pub fn explain(&self, index: RuleIndex, event: &dyn Event) -> Vec<Matched> {
        match &self.rule(index).body {
            Body::Detection(detection) => explain::matched(detection, &mut Examined::new(event, &self.atoms)),
            Body::Correlation(_) => Vec::new(),
        }
    }

    /// Every condition of a rule, and whether it holds of an event whatever log that comes from; `None` of a
    /// correlation, which asks nothing of one event.
    #[must_use]
    pub fn verdict(&self, index: RuleIndex, event: &dyn Event) -> Option<Verdict> {
        match &self.rule(index).body {
            Body::Detection(detection) => {
                Some(verdict::verdict(detection, event, &mut Examined::new(event, &self.atoms)))
            }
            Body::Correlation(_) => None,
        }
    }

    /// The rules that a correlation is over; none of any other rule.
    #[must_use]
    pub fn counted(&self, index: RuleIndex) -> &[RuleIndex] {
        match &self.rule(index).body {
            Body::Detection(_) => &[],
            Body::Correlation(correlation) => &correlation.rules,
        }
    }

    /// A rule of this set.
    ///
    /// # Panics
    /// If the index is of another set and beyond this one.
    #[must_use]
    pub fn rule(&self, index: RuleIndex) -> &Rule {
        &self.rules[index.number()]
    }

    /// All rules with their indices, detections first.
    pub fn iter(&self) -> impl Iterator<Item = (RuleIndex, &Rule)> {
        self.rules.iter().enumerate().map(|(i, rule)| (RuleIndex(i as u32), rule))
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn all(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn atoms(&self) -> &Atoms {
        &self.atoms
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Whether a correlation is over this rule, directly or through others, that must see its matches in order, so
    /// that matches which may be late have to pass through [`crate::Waiting`].
    #[must_use]
    pub fn waits(&self, index: RuleIndex) -> bool {
        self.watchers(index).iter().any(|watcher| match &self.rule(*watcher).body {
            Body::Correlation(correlation) => correlation.waits,
            Body::Detection(_) => false,
        })
    }

    /// The fields that a correlation groups by; none of any other rule.
    #[must_use]
    pub fn grouped_by(&self, index: RuleIndex) -> &[String] {
        match &self.rule(index).body {
            Body::Detection(_) => &[],
            Body::Correlation(correlation) => &correlation.group_by,
        }
    }

    /// Whether a correlation takes the value of a field under another name where this rule matched (`aliases`).
    #[must_use]
    pub fn renames(&self, correlation: RuleIndex, field: &str, rule: RuleIndex) -> bool {
        match &self.rule(correlation).body {
            Body::Detection(_) => false,
            Body::Correlation(correlation) => correlation.field(field, rule) != field,
        }
    }

    /// The correlations over a rule.
    #[must_use]
    pub fn watchers(&self, index: RuleIndex) -> &[RuleIndex] {
        self.watchers.get(&index).map_or(&[], Vec::as_slice)
    }
}

/// A set while it is compiled.
struct Building<'p> {
    set: RuleSet,
    compilation: &'p Compilation,
    /// Where each id was first given.
    ids: BTreeMap<String, String>,
    errors: Vec<RuleError>,
}

impl Building<'_> {
    fn refuse(&mut self, path: &str, refused: Refused) {
        self.errors.push(RuleError {
            path: path.to_owned(),
            line: refused.line.number,
            column: refused.line.column,
            reason: refused.reason,
        });
    }

    /// A document as the pipelines make it.
    fn piped(&self, path: &str, document: Node, over: Vec<LogSource>) -> Result<Node, Refused> {
        if self.compilation.as_written.iter().any(|prefix| path.starts_with(prefix.as_str())) {
            return Ok(document);
        }
        pipeline::apply(&self.compilation.pipelines, document, over)
    }

    fn detection_rule(&mut self, path: &str, document: Node) {
        let rule = self.piped(path, document, Vec::new()).and_then(|document| {
            let rule = self.detection(&document, path)?;
            self.admit(&document, rule)
        });
        if let Err(refused) = rule {
            self.refuse(path, refused);
        }
    }

    fn detection(&mut self, document: &Node, path: &str) -> Result<Rule, Refused> {
        rule::required_text(document, "title")?;
        if document.get("logsource").is_none() {
            return Err(Refused::new(document.line, "`logsource` is missing"));
        }
        let Some(node) = document.get("detection") else {
            let reason = "`detection` is missing; a rule, a `correlation` or a `filter` is meant";
            return Err(Refused::new(document.line, reason));
        };
        let detection = self.selections(node, "detection", &["timeframe"])?;
        rule::describe(document, path, Body::Detection(detection))
    }

    /// The selections and the condition of a `detection` or a `filter`.
    fn selections(&mut self, node: &Node, what: &str, besides: &[&str]) -> Result<Detection, Refused> {
        let Kind::Map(entries) = &node.kind else {
            return Err(Refused::new(node.line, format!("`{what}`: {}; a map is meant", node.what())));
        };
        let mut compiler = Compiler {
            atoms: &mut self.set.atoms,
            placeholders: &self.compilation.placeholders,
            left: limits::PATTERNS_MAX,
        };
        let mut selections = Vec::new();
        for entry in entries.iter().filter(|e| e.key != "condition" && !besides.contains(&e.key.as_str())) {
            selections.push((entry.key.clone(), compiler.selection(&entry.key, &entry.value)?));
        }
        let Some(written) = node.get("condition") else {
            return Err(Refused::new(node.line, format!("`{what}`: `condition` is missing")));
        };
        let names: Vec<&str> = selections.iter().map(|(name, _)| name.as_str()).collect();
        let parse = |item: &Node| {
            let refuse = |reason: String| Refused::new(item.line, format!("`condition`: {reason}"));
            let text = item.as_text().ok_or_else(|| refuse(format!("{}; text is meant", item.what())))?;
            condition::parse(text, &names).map_err(refuse)
        };
        let mut conditions = written.items().iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let condition = match conditions.len() {
            0 => return Err(Refused::new(written.line, "`condition`: an empty list")),
            1 => conditions.remove(0),
            _ => Condition::Any(conditions),
        };
        Ok(Detection { selections, condition })
    }

    /// Gives a rule its place in the set.
    fn admit(&mut self, document: &Node, rule: Rule) -> Result<(), Refused> {
        if self.set.rules.len() >= limits::RULES_MAX {
            return Err(Refused::new(rule.line, format!("more than {} rules", limits::RULES_MAX)));
        }
        if let Some(id) = &rule.id {
            let here = format!("{}:{}", rule.path, rule.line);
            if let Some(first) = self.ids.get(id) {
                let line = document.get("id").map_or(rule.line.into(), |node| node.line);
                return Err(Refused::new(line, format!("`id`: {id} is also that of {first}")));
            }
            self.ids.insert(id.clone(), here);
        }
        self.set.rules.push(rule);
        Ok(())
    }

    /// Lays a filter over the rules that it names.
    fn filter(&mut self, document: &Node) -> Result<(), Refused> {
        let title = rule::required_text(document, "title")?;
        let node = document.get("filter").ok_or_else(|| Refused::new(document.line, "`filter` is missing"))?;
        let source = document.get("logsource").map(rule::log_source).transpose()?;
        let source = source.ok_or_else(|| Refused::new(document.line, "`logsource` is missing"))?;
        let named = filtered(node)?;
        let filter = self.selections(node, "filter", &["rules"])?;
        for (reference, line) in named.iter().flatten() {
            if !self.set.rules.iter().any(|rule| rule.is_called(reference)) {
                return Err(Refused::new(*line, format!("`rules`: no rule is called `{reference}`")));
            }
        }
        for rule in &mut self.set.rules {
            let meant = named.as_ref().is_none_or(|named| named.iter().any(|(name, _)| rule.is_called(name)));
            if meant && covers(&source, &rule.log_source) {
                lay_over(rule, &title, &filter);
            }
        }
        Ok(())
    }

    /// Gives each correlation its place after the rules that it is over, until none is left that has one.
    fn correlations(&mut self, documents: Vec<(&str, Node)>) {
        let mut waiting = Vec::new();
        for (path, document) in documents {
            let line = document.line;
            let over = self.over(&document);
            match self.piped(path, document, over).and_then(|document| correlation_rule(document, path)) {
                Ok((document, rule, correlation)) if waiting.len() < limits::CORRELATIONS_MAX => {
                    waiting.push(Waiting { path, document, rule, correlation });
                }
                Ok(_) => {
                    let reason = format!("more than {} correlations", limits::CORRELATIONS_MAX);
                    self.refuse(path, Refused::new(line, reason));
                }
                Err(refused) => self.refuse(path, refused),
            }
        }
        let mut depths = BTreeMap::new();
        loop {
            let before = waiting.len();
            let mut still = Vec::new();
            for one in waiting {
                if one.correlation.references.iter().all(|(name, _)| !self.called(name).is_empty()) {
                    let path = one.path;
                    if let Err(refused) = self.correlation(one, &mut depths) {
                        self.refuse(path, refused);
                    }
                } else {
                    still.push(one);
                }
            }
            waiting = still;
            if waiting.len() == before {
                break;
            }
        }
        self.refuse_waiting(&waiting);
    }

    /// What the rules are for that a correlation is over.
    fn over(&self, document: &Node) -> Vec<LogSource> {
        let rules = document.get("correlation").and_then(|node| node.get("rules")).map(Node::items).unwrap_or_default();
        let called = rules.iter().filter_map(Node::as_text).flat_map(|name| self.called(name));
        called.map(|index| self.set.rules[index.number()].log_source.clone()).collect()
    }

    /// Refuses the correlations that no order puts after their rules.
    fn refuse_waiting(&mut self, waiting: &[Waiting<'_>]) {
        for one in waiting {
            let missing = one.correlation.references.iter().find(|(name, _)| self.called(name).is_empty());
            let Some((name, line)) = missing else { continue };
            let circle = waiting.iter().any(|other| other.rule.is_called(name));
            let reason = if circle {
                format!("`rules`: `{name}` is over this correlation itself, or over rules that are missing")
            } else {
                format!("`rules`: no rule is called `{name}`")
            };
            self.refuse(one.path, Refused::new(*line, reason));
        }
    }

    fn correlation(&mut self, waiting: Waiting<'_>, depths: &mut BTreeMap<RuleIndex, usize>) -> Result<(), Refused> {
        let Waiting { document, mut rule, mut correlation, .. } = waiting;
        for (name, line) in &correlation.references {
            let called = self.called(name);
            let [index] = called.as_slice() else {
                return Err(Refused::new(*line, format!("`rules`: {} rules are called `{name}`", called.len())));
            };
            if !correlation.rules.contains(index) {
                correlation.rules.push(*index);
            }
        }
        let depth = 1 + correlation.rules.iter().filter_map(|index| depths.get(index)).max().copied().unwrap_or(0);
        if depth > limits::CORRELATION_DEPTH_MAX {
            let reason = format!("correlations nested more than {} deep", limits::CORRELATION_DEPTH_MAX);
            return Err(Refused::new(rule.line, reason));
        }
        if let Some(node) = document.get("correlation") {
            correlation.read_aliases(node, |name| self.called(name).first().copied())?;
        }
        let (over, index) = (correlation.rules.clone(), RuleIndex(self.set.rules.len() as u32));
        rule.body = Body::Correlation(Box::new(correlation));
        self.admit(&document, rule)?;
        depths.insert(index, depth);
        for rule in over {
            self.set.watchers.entry(rule).or_default().push(index);
        }
        Ok(())
    }

    /// The rules that a reference means: by id, else by name, else by title.
    fn called(&self, reference: &str) -> Vec<RuleIndex> {
        let by = |is: &dyn Fn(&Rule) -> bool| -> Vec<RuleIndex> {
            self.set.iter().filter(|(_, rule)| is(rule)).map(|(index, _)| index).collect()
        };
        let mut found = by(&|rule| rule.id.as_deref() == Some(reference));
        if found.is_empty() {
            found = by(&|rule| rule.name.as_deref() == Some(reference));
        }
        if found.is_empty() {
            found = by(&|rule| rule.title == reference);
        }
        found
    }

    /// Marks the rules that only serve correlations.
    fn silence(&mut self) {
        let generates = |rules: &[Rule], index: &RuleIndex| match &rules[index.number()].body {
            Body::Correlation(correlation) => correlation.generate,
            Body::Detection(_) => false,
        };
        for (rule, watchers) in &self.set.watchers {
            let silent = !watchers.iter().any(|watcher| generates(&self.set.rules, watcher));
            self.set.rules[rule.number()].silent = silent;
        }
    }

    /// Marks the correlations that follow others or are followed: they see their matches in order.
    fn order(&mut self) {
        let chained = |(rule, _): &(&RuleIndex, _)| self.set.rules[rule.number()].is_correlation();
        let chained: Vec<RuleIndex> = self
            .set
            .watchers
            .iter()
            .filter(chained)
            .flat_map(|(rule, over)| over.iter().chain([rule]))
            .copied()
            .collect();
        for index in chained {
            if let Body::Correlation(correlation) = &mut self.set.rules[index.number()].body {
                correlation.waits = true;
            }
        }
    }

    fn finish(mut self) -> (RuleSet, Vec<RuleError>) {
        self.set.atoms.seal();
        self.silence();
        self.order();
        for (i, rule) in self.set.rules.iter().enumerate() {
            if !rule.is_correlation() {
                self.set.routes.add(RuleIndex(i as u32), &rule.log_source);
            }
        }
        self.errors.sort();
        (self.set, self.errors)
    }
}

/// A correlation that waits for the rules that it is over.
struct Waiting<'f> {
    path: &'f str,
    document: Node,
    rule: Rule,
    correlation: Correlation,
}

fn correlation_rule(document: Node, path: &str) -> Result<(Node, Rule, Correlation), Refused> {
    let node = document.get("correlation").ok_or_else(|| Refused::new(document.line, "`correlation` is missing"))?;
    let correlation = Correlation::read(node)?;
    let nothing = Detection { selections: Vec::new(), condition: Condition::Any(Vec::new()) };
    let rule = rule::describe(&document, path, Body::Detection(nothing))?;
    Ok((document, rule, correlation))
}

/// The rules that a filter names, with their lines; `None` if it is for all.
fn filtered(node: &Node) -> Result<Option<Vec<(String, Line)>>, Refused> {
    let Some(rules) = node.get("rules") else { return Ok(None) };
    if rules.as_text().is_some_and(|text| text.eq_ignore_ascii_case("any")) {
        return Ok(None);
    }
    let name = |item: &Node| match item.as_text() {
        Some(text) => Ok((text.to_owned(), item.line)),
        None => Err(Refused::new(item.line, format!("`rules`: {}; ids or names of rules are meant", item.what()))),
    };
    rules.items().iter().map(name).collect::<Result<_, _>>().map(Some)
}

/// Whether every part that a filter's log source names is the rule's.
fn covers(filter: &LogSource, rule: &LogSource) -> bool {
    let part = |filter: &Option<String>, rule: &Option<String>| filter.is_none() || filter == rule;
    part(&filter.category, &rule.category)
        && part(&filter.product, &rule.product)
        && part(&filter.service, &rule.service)
}

fn lay_over(rule: &mut Rule, title: &str, filter: &Detection) {
    let Body::Detection(detection) = &mut rule.body else { return };
    let by = detection.selections.len();
    let named =
        filter.selections.iter().map(|(name, tree): &(String, Tree)| (format!("{title}: {name}"), tree.clone()));
    detection.selections.extend(named);
    // Filters lie side by side, or many of them would nest too deep.
    let mut conditions = match std::mem::replace(&mut detection.condition, Condition::All(Vec::new())) {
        Condition::All(conditions) => conditions,
        own => vec![own],
    };
    conditions.push(filter.condition.clone().moved(by));
    detection.condition = Condition::All(conditions);
}
