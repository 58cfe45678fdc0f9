//! Correlation documents: which rules they are over, what they count, and when that is enough.

use std::collections::BTreeMap;

use crate::atom::Compare;
use crate::error::Refused;
use crate::limits;
use crate::rule::{self, RuleIndex};
use crate::yaml::{Kind, Line, Node};

/// A correlation of rules.
#[derive(Clone, Debug)]
pub(crate) struct Correlation {
    pub(crate) counts: Counts,
    /// The rules it is over, as written, with their lines.
    pub(crate) references: Vec<(String, Line)>,
    /// The same rules, once they are found.
    pub(crate) rules: Vec<RuleIndex>,
    pub(crate) group_by: Vec<String>,
    pub(crate) timespan_us: i64,
    /// All of these must hold of the count.
    pub(crate) condition: Vec<(Compare, i64)>,
    /// For each alias, the field that it stands for in the events of each rule.
    pub(crate) aliases: BTreeMap<String, Vec<(RuleIndex, String)>>,
    /// The matches of the rules it is over are wanted too.
    pub(crate) generate: bool,
    /// All that its state depends on, so that a changed rule starts anew.
    pub(crate) shape: String,
}

/// What a correlation counts within its window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Counts {
    /// Events.
    Events,
    /// Different values of these fields, taken together.
    Values(Vec<String>),
    /// Different rules.
    Rules,
}

impl Correlation {
    /// Reads the `correlation` of a document.
    pub(crate) fn read(node: &Node) -> Result<Correlation, Refused> {
        let Kind::Map(entries) = &node.kind else {
            return Err(Refused::new(node.line, format!("`correlation`: {}; a map is meant", node.what())));
        };
        let known = ["type", "rules", "group-by", "timespan", "condition", "aliases", "generate"];
        if let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            let reason = format!("`correlation`: unknown `{}`; one of {} is meant", entry.key, known.join(", "));
            return Err(Refused::new(entry.line, reason));
        }
        let references = references(node)?;
        let condition = node.get("condition");
        let counts = counts(node, condition)?;
        let group_by = rule::texts(node, "group-by")?;
        if group_by.len() > limits::GROUP_FIELDS_MAX {
            let reason = format!("`group-by`: {} fields; at most {}", group_by.len(), limits::GROUP_FIELDS_MAX);
            return Err(Refused::new(node.line, reason));
        }
        let condition = match (condition, &counts) {
            (Some(condition), _) => comparisons(condition, &counts)?,
            (None, Counts::Rules) => vec![(Compare::GreaterOrEqual, references.len() as i64)],
            (None, Counts::Events | Counts::Values(_)) => {
                return Err(Refused::new(node.line, "`correlation`: `condition` is missing"));
            }
        };
        let timespan_us = timespan(node)?;
        let generate = match node.get("generate").map(|node| (&node.kind, node.line)) {
            None => false,
            Some((Kind::Bool(generate), _)) => *generate,
            Some((_, line)) => return Err(Refused::new(line, "`generate`: `true` or `false` is meant")),
        };
        let names: Vec<&String> = references.iter().map(|(name, _)| name).collect();
        let shape = format!("{counts:?} {names:?} {group_by:?} {timespan_us} {:?}", node.get("aliases").map(plain));
        let (rules, aliases) = (Vec::new(), BTreeMap::new());
        Ok(Correlation { counts, references, rules, group_by, timespan_us, condition, aliases, generate, shape })
    }

    /// Reads the aliases, once it is known which rule each reference means.
    pub(crate) fn read_aliases(
        &mut self,
        node: &Node,
        find: impl Fn(&str) -> Option<RuleIndex>,
    ) -> Result<(), Refused> {
        let Some(aliases) = node.get("aliases") else { return Ok(()) };
        if !matches!(aliases.kind, Kind::Map(_)) {
            return Err(Refused::new(aliases.line, format!("`aliases`: {}; a map is meant", aliases.what())));
        }
        for alias in aliases.entries() {
            let refuse =
                |line: Line, reason: String| Refused::new(line, format!("`aliases`, `{}`: {reason}", alias.key));
            if !matches!(alias.value.kind, Kind::Map(_)) {
                return Err(refuse(alias.line, format!("{}; a map from rules to fields is meant", alias.value.what())));
            }
            let mut fields = Vec::new();
            for entry in alias.value.entries() {
                let index = find(&entry.key).filter(|index| self.rules.contains(index));
                let index = index.ok_or_else(|| refuse(entry.line, format!("`{}` is none of its rules", entry.key)))?;
                let field = entry.value.written();
                let field =
                    field.ok_or_else(|| refuse(entry.line, format!("{}; a field is meant", entry.value.what())))?;
                fields.push((index, field.to_owned()));
            }
            self.aliases.insert(alias.key.clone(), fields);
        }
        Ok(())
    }

    /// The field that a name stands for in the events of a rule.
    pub(crate) fn field<'c>(&'c self, name: &'c str, rule: RuleIndex) -> &'c str {
        let alias = self.aliases.get(name).and_then(|fields| fields.iter().find(|(index, _)| *index == rule));
        alias.map_or(name, |(_, field)| field)
    }

    /// Whether any count from a lowest to a highest may be enough. Exact of a single count, and of a condition with
    /// one bound and nothing else.
    pub(crate) fn satisfiable(&self, low: i64, high: i64) -> bool {
        self.condition.iter().all(|(compare, to)| match compare {
            Compare::Equal => low <= *to && *to <= high,
            Compare::NotEqual => low != *to || high != *to,
            Compare::Less => low < *to,
            Compare::LessOrEqual => low <= *to,
            Compare::Greater => high > *to,
            Compare::GreaterOrEqual => high >= *to,
        })
    }
}

fn references(node: &Node) -> Result<Vec<(String, Line)>, Refused> {
    let Some(rules) = node.get("rules") else {
        return Err(Refused::new(node.line, "`correlation`: `rules` is missing"));
    };
    let mut references: Vec<(String, Line)> = Vec::new();
    for item in rules.items() {
        let name = item.as_text().ok_or_else(|| {
            Refused::new(item.line, format!("`rules`: {}; an id, name or title of a rule is meant", item.what()))
        })?;
        if references.iter().any(|(other, _)| other == name) {
            return Err(Refused::new(item.line, format!("`rules`: `{name}` stands twice")));
        }
        references.push((name.to_owned(), item.line));
    }
    if references.is_empty() {
        return Err(Refused::new(rules.line, "`rules`: an empty list; at least one rule is meant"));
    }
    Ok(references)
}

fn counts(node: &Node, condition: Option<&Node>) -> Result<Counts, Refused> {
    let Some(kind) = node.get("type") else {
        return Err(Refused::new(node.line, "`correlation`: `type` is missing"));
    };
    let fields = condition.map(|condition| rule::texts(condition, "field")).transpose()?.unwrap_or_default();
    let line = condition.map_or(node.line, |condition| condition.line);
    match kind.as_text().unwrap_or_default() {
        "value_count" if fields.is_empty() => Err(Refused::new(
            line,
            "`condition`: `field` is missing; the field whose values `value_count` counts is meant",
        )),
        "value_count" => Ok(Counts::Values(fields)),
        "event_count" | "temporal" if !fields.is_empty() => {
            Err(Refused::new(line, "`condition`: `field` is for `value_count` only"))
        }
        "event_count" => Ok(Counts::Events),
        "temporal" => Ok(Counts::Rules),
        later @ ("temporal_ordered" | "value_sum" | "value_avg" | "value_percentile" | "value_median") => {
            Err(Refused::new(kind.line, format!("`type`: `{later}` is not supported yet")))
        }
        _ => {
            let written = kind.written().unwrap_or(kind.what());
            let reason = format!("`type`: `{written}`; one of event_count, value_count, temporal is meant");
            Err(Refused::new(kind.line, reason))
        }
    }
}

fn comparisons(node: &Node, counts: &Counts) -> Result<Vec<(Compare, i64)>, Refused> {
    let Kind::Map(entries) = &node.kind else {
        let reason = format!("`condition`: {}; a map such as `gte: 10` is meant", node.what());
        return Err(Refused::new(node.line, reason));
    };
    let mut comparisons = Vec::new();
    for entry in entries.iter().filter(|entry| entry.key != "field") {
        let compare = match entry.key.as_str() {
            "eq" => Compare::Equal,
            "neq" => Compare::NotEqual,
            "lt" => Compare::Less,
            "lte" => Compare::LessOrEqual,
            "gt" => Compare::Greater,
            "gte" => Compare::GreaterOrEqual,
            other => {
                let reason =
                    format!("`condition`: unknown `{other}`; one of gt, gte, lt, lte, eq, neq, field is meant");
                return Err(Refused::new(entry.line, reason));
            }
        };
        let Kind::Int(to, _) = entry.value.kind else {
            let reason = format!("`condition`, `{}`: {}; a whole number is meant", entry.key, entry.value.what());
            return Err(Refused::new(entry.line, reason));
        };
        if !(0..=limits::GROUP_EVENTS_MAX as i64).contains(&to) {
            let reason = format!("`condition`, `{}`: {to}; 0 to {} is meant", entry.key, limits::GROUP_EVENTS_MAX);
            return Err(Refused::new(entry.line, reason));
        }
        comparisons.push((compare, to));
    }
    match (comparisons.is_empty(), counts) {
        (true, _) => Err(Refused::new(node.line, "`condition`: one of gt, gte, lt, lte, eq, neq is missing")),
        (false, Counts::Events | Counts::Values(_) | Counts::Rules) => Ok(comparisons),
    }
}

/// A number and a unit: seconds, minutes, hours, days or weeks.
fn timespan(node: &Node) -> Result<i64, Refused> {
    let Some(span) = node.get("timespan") else {
        return Err(Refused::new(node.line, "`correlation`: `timespan` is missing"));
    };
    let written = span.written().unwrap_or_default();
    let seconds = written.char_indices().last().and_then(|(at, unit)| {
        let unit = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        let digits = written[..at].bytes().all(|b| b.is_ascii_digit());
        written[..at].parse::<i64>().ok().filter(|_| digits).map(|n| n.saturating_mul(unit))
    });
    match seconds {
        Some(seconds @ 1..=limits::TIMESPAN_S_MAX) => Ok(seconds * 1_000_000),
        Some(_) => {
            let days = limits::TIMESPAN_S_MAX / 86_400;
            Err(Refused::new(
                span.line,
                format!("`timespan`: `{written}`; more than nothing and at most {days}d is meant"),
            ))
        }
        None => Err(Refused::new(span.line, format!("`timespan`: `{written}`; a number of s, m, h, d or w is meant"))),
    }
}

/// A node without its lines, which may change while nothing else does.
fn plain(node: &Node) -> String {
    match &node.kind {
        Kind::List(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(",")),
        Kind::Map(entries) => {
            let entries = entries.iter().map(|entry| format!("{:?}:{}", entry.key, plain(&entry.value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => format!("{:?}", node.written()),
    }
}
