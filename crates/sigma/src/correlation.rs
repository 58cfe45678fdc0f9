//! Correlation documents: which rules they are over, what they count, and when that is enough.

use std::collections::BTreeMap;

use crate::amount::{Amount, UNIT};
use crate::atom::{Compare, Number};
use crate::condition::{self, Condition};
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
    /// All of these must hold of what is counted; amounts are in billionths.
    comparisons: Vec<(Compare, i128)>,
    /// For each alias, the field that it stands for in the events of each rule.
    pub(crate) aliases: BTreeMap<String, Vec<(RuleIndex, String)>>,
    /// The matches of the rules it is over are wanted too.
    pub(crate) generate: bool,
    /// It must see its matches in order, to find in every order what it finds in order.
    pub(crate) waits: bool,
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
    /// Which rules have matched, in numbers of its own rules.
    Rules(Condition),
    /// How many rules have matched.
    RuleCount,
    /// Whether all rules have matched, one after the other.
    RulesInOrder,
    /// The sum of a field.
    Sum(String),
    /// The average of a field.
    Average(String),
    /// A percentile of a field, in percent.
    Percentile(String, u32),
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
        let (counts, comparisons) = counted(node, &references)?;
        let group_by = rule::texts(node, "group-by")?;
        if group_by.len() > limits::GROUP_FIELDS_MAX {
            let reason = format!("`group-by`: {} fields; at most {}", group_by.len(), limits::GROUP_FIELDS_MAX);
            return Err(Refused::new(node.line, reason));
        }
        let timespan_us = timespan(node)?;
        let generate = match node.get("generate").map(|node| (&node.kind, node.line)) {
            None => false,
            Some((Kind::Bool(generate), _)) => *generate,
            Some((_, line)) => return Err(Refused::new(line, "`generate`: `true` or `false` is meant")),
        };
        let (rules, aliases) = (Vec::new(), BTreeMap::new());
        let shape = String::new();
        let mut correlation = Correlation {
            counts,
            references,
            rules,
            group_by,
            timespan_us,
            comparisons,
            aliases,
            generate,
            waits: false,
            shape,
        };
        correlation.waits = !correlation.grows();
        let names: Vec<&String> = correlation.references.iter().map(|(name, _)| name).collect();
        correlation.shape = format!(
            "{:?} {names:?} {:?} {timespan_us} {:?} {}",
            correlation.counts,
            correlation.group_by,
            node.get("aliases").map(plain),
            correlation.grows()
        );
        Ok(correlation)
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

    /// Whether more matches can only make the condition true. A sum grows with amounts that are not negative.
    pub(crate) fn grows(&self) -> bool {
        match &self.counts {
            Counts::Events | Counts::Values(_) | Counts::Sum(_) => {
                let from_below = |compare: &Compare| matches!(compare, Compare::Greater | Compare::GreaterOrEqual);
                self.comparisons.iter().all(|(compare, _)| from_below(compare))
            }
            Counts::Rules(wanted) => wanted.grows(),
            Counts::RulesInOrder => true,
            Counts::RuleCount | Counts::Average(_) | Counts::Percentile(..) => false,
        }
    }

    /// What is enough, of a count or a sum that only grows.
    pub(crate) fn enough(&self) -> i128 {
        let least = |(compare, to): &(Compare, i128)| if *compare == Compare::Greater { to + 1 } else { *to };
        self.comparisons.iter().map(least).max().unwrap_or(1)
    }

    /// Whether a value holds, given so many times over.
    pub(crate) fn holds(&self, value: i128, times: i128) -> bool {
        self.comparisons.iter().all(|(compare, to)| compare.is(value.cmp(&(to * times))))
    }

    /// The rules that are wanted, if it is said which.
    pub(crate) fn rules_wanted(&self) -> Option<&Condition> {
        match &self.counts {
            Counts::Rules(wanted) => Some(wanted),
            Counts::Events
            | Counts::Values(_)
            | Counts::RuleCount
            | Counts::RulesInOrder
            | Counts::Sum(_)
            | Counts::Average(_)
            | Counts::Percentile(..) => None,
        }
    }

    /// Which percentile is asked for.
    pub(crate) fn percent(&self) -> u32 {
        match &self.counts {
            Counts::Percentile(_, percent) => *percent,
            Counts::Events
            | Counts::Values(_)
            | Counts::Rules(_)
            | Counts::RuleCount
            | Counts::RulesInOrder
            | Counts::Sum(_)
            | Counts::Average(_) => 0,
        }
    }

    /// How far before a match others may still share a window with one that is late within the bound.
    pub(crate) fn horizon_us(&self) -> i64 {
        self.timespan_us + limits::late_us(self.timespan_us)
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

/// The types, by what their condition is about.
const TYPES: [&str; 8] = [
    "event_count",
    "value_count",
    "temporal",
    "temporal_ordered",
    "value_sum",
    "value_avg",
    "value_median",
    "value_percentile",
];

/// What a correlation counts, and what must hold of that.
fn counted(node: &Node, references: &[(String, Line)]) -> Result<(Counts, Vec<(Compare, i128)>), Refused> {
    let Some(kind) = node.get("type") else {
        return Err(Refused::new(node.line, "`correlation`: `type` is missing"));
    };
    let condition = node.get("condition");
    let fields = condition.map(|condition| rule::texts(condition, "field")).transpose()?.unwrap_or_default();
    let line = condition.map_or(node.line, |condition| condition.line);
    let missing = || Refused::new(node.line, "`correlation`: `condition` is missing");
    let name = kind.as_text().unwrap_or_default();
    if let Some(percentile) = condition.and_then(|condition| condition.get("percentile"))
        && name != "value_percentile"
    {
        return Err(Refused::new(percentile.line, "`condition`: `percentile` is for `value_percentile` only"));
    }
    if !fields.is_empty() && !name.starts_with("value_") && TYPES.contains(&name) {
        return Err(Refused::new(line, "`condition`: `field` is for the `value_` types only"));
    }
    let counts = match name {
        "event_count" => Counts::Events,
        "temporal" | "temporal_ordered" => return rules_wanted(name, condition, references),
        "value_count" if !fields.is_empty() => Counts::Values(fields),
        "value_sum" | "value_avg" | "value_median" | "value_percentile" if fields.len() == 1 => {
            let field = fields.into_iter().next().unwrap_or_default();
            match name {
                "value_sum" => Counts::Sum(field),
                "value_avg" => Counts::Average(field),
                "value_median" => Counts::Percentile(field, 50),
                _ => Counts::Percentile(field, percentile(condition.and_then(|c| c.get("percentile")))?),
            }
        }
        "value_sum" | "value_avg" | "value_median" | "value_percentile" | "value_count" => {
            condition.ok_or_else(missing)?;
            let wrong = if fields.is_empty() { "`field` is missing" } else { "`field` is a list" };
            let reason = format!("`condition`: {wrong}; the field whose values `{name}` is about is meant");
            return Err(Refused::new(line, reason));
        }
        _ => {
            let written = kind.written().unwrap_or(kind.what());
            let reason = format!("`type`: `{written}`; one of {} is meant", TYPES.join(", "));
            return Err(Refused::new(kind.line, reason));
        }
    };
    let comparisons = comparisons(condition.ok_or_else(missing)?, &counts)?;
    Ok((counts, comparisons))
}

/// Which percentile is meant; the median if none is named.
fn percentile(node: Option<&Node>) -> Result<u32, Refused> {
    let Some(node) = node else { return Ok(50) };
    match &node.kind {
        Kind::Int(percent @ 0..=100, _) => Ok(u32::try_from(*percent).unwrap_or_default()),
        _ => {
            let written = node.written().unwrap_or(node.what());
            let reason = format!("`condition`, `percentile`: `{written}`; a whole number from 0 to 100 is meant");
            Err(Refused::new(node.line, reason))
        }
    }
}

/// The rules that `temporal` and `temporal_ordered` want: all of them, as many as a comparison says, or those that an
/// expression over their names says, such as `a and (b or c)`.
fn rules_wanted(
    name: &str,
    condition: Option<&Node>,
    references: &[(String, Line)],
) -> Result<(Counts, Vec<(Compare, i128)>), Refused> {
    let all: Vec<usize> = (0..references.len()).collect();
    let every = Condition::AtLeast(all.len(), all.clone());
    let mut comparisons = Vec::new();
    let wanted = match condition {
        None => Some(every.clone()),
        Some(node) => match node.as_text() {
            Some(text) => {
                let names: Vec<&str> = references.iter().map(|(name, _)| name.as_str()).collect();
                let refuse = |reason| Refused::new(node.line, format!("`condition`: {reason}"));
                Some(condition::parse(text, &names).map_err(refuse)?)
            }
            None => {
                comparisons = self::comparisons(node, &Counts::RuleCount)?;
                let least = comparisons.iter().map(|(compare, to)| to + i128::from(*compare == Compare::Greater));
                let least = least.max().and_then(|least| usize::try_from(least).ok()).unwrap_or_default();
                let grows =
                    |(compare, _): &(Compare, i128)| matches!(compare, Compare::Greater | Compare::GreaterOrEqual);
                comparisons.iter().all(grows).then(|| Condition::AtLeast(least.max(1), all))
            }
        },
    };
    if name == "temporal" {
        return Ok((wanted.map_or(Counts::RuleCount, Counts::Rules), comparisons));
    }
    let whole = wanted.as_ref().is_some_and(|wanted| *wanted == every || wanted.is_all_of(references.len()));
    if let Some(Node { line, .. }) = condition.filter(|_| !whole) {
        let reason = "`condition`: `temporal_ordered` wants all of its rules, in their order; a correlation of fewer \
            rules, or `temporal`, is meant";
        return Err(Refused::new(*line, reason));
    }
    Ok((Counts::RulesInOrder, comparisons))
}

fn comparisons(node: &Node, counts: &Counts) -> Result<Vec<(Compare, i128)>, Refused> {
    let Kind::Map(entries) = &node.kind else {
        let reason = format!("`condition`: {}; a map such as `gte: 10` is meant", node.what());
        return Err(Refused::new(node.line, reason));
    };
    let mut comparisons = Vec::new();
    for entry in entries.iter().filter(|entry| !matches!(entry.key.as_str(), "field" | "percentile")) {
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
        let to = match counts {
            Counts::Sum(_) | Counts::Average(_) | Counts::Percentile(..) => amount(&entry.value),
            Counts::Events | Counts::Values(_) | Counts::Rules(_) | Counts::RuleCount | Counts::RulesInOrder => {
                count(&entry.value)
            }
        };
        let refuse = |reason| Refused::new(entry.line, format!("`condition`, `{}`: {reason}", entry.key));
        comparisons.push((compare, to.map_err(refuse)?));
    }
    if comparisons.is_empty() {
        return Err(Refused::new(node.line, "`condition`: one of gt, gte, lt, lte, eq, neq is missing"));
    }
    Ok(comparisons)
}

fn count(node: &Node) -> Result<i128, String> {
    match node.kind {
        Kind::Int(to, _) if (0..=limits::GROUP_EVENTS_MAX as i64).contains(&to) => Ok(i128::from(to)),
        Kind::Int(to, _) => Err(format!("{to}; 0 to {} is meant", limits::GROUP_EVENTS_MAX)),
        Kind::Null | Kind::Bool(_) | Kind::Float(..) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
            Err(format!("{}; a whole number is meant", node.what()))
        }
    }
}

fn amount(node: &Node) -> Result<i128, String> {
    let number = match node.kind {
        Kind::Int(whole, _) => Number::Whole(whole),
        Kind::Float(other, _) => Number::Other(other),
        Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
            return Err(format!("{}; a number is meant", node.what()));
        }
    };
    let amount = Amount::new(number).map(Amount::billionths);
    amount.ok_or_else(|| format!("a number of less than {} is meant", i128::from(i64::MAX) / UNIT * UNIT))
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
