//! When an item of a pipeline is applied: conditions on the rule, on an item of its selections, on a field's name.

use regex::Regex;

use crate::condition::{self, Condition};
use crate::error::Refused;
use crate::pipeline::read::{self, Map};
use crate::pipeline::work::{Item, Work};
use crate::rule::LogSource;
use crate::yaml::{Kind, Node};

/// Conditions of one sort and how they are put together.
pub(crate) struct When<T> {
    conditions: Vec<T>,
    together: Condition,
}

impl<T> When<T> {
    pub(crate) fn holds(&self, mut one: impl FnMut(&T) -> bool) -> bool {
        self.together.holds(&mut |number| one(&self.conditions[number]))
    }

    /// Reads `<sort>_conditions` with `<sort>_cond_op`, `<sort>_cond_not` and `<sort>_cond_expr`.
    pub(crate) fn read(
        map: &mut Map<'_>,
        [conditions, op, not, expression]: [&str; 4],
        one: impl Fn(&mut Map<'_>) -> Result<T, Refused>,
    ) -> Result<When<T>, Refused> {
        let (mut names, mut read) = (Vec::new(), Vec::new());
        if let Some(node) = map.take(conditions) {
            let nodes: Vec<(String, &Node)> = match &node.kind {
                Kind::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), &entry.value)).collect(),
                Kind::List(items) => items.iter().enumerate().map(|(i, item)| (format!("cond_{i}"), item)).collect(),
                Kind::Null | Kind::Bool(_) | Kind::Int(..) | Kind::Float(..) | Kind::Text(_) => {
                    let reason = format!("`{conditions}`: {}; a list of conditions is meant", node.what());
                    return Err(Refused::new(node.line, reason));
                }
            };
            for (name, node) in nodes {
                let mut map = Map::new(node, conditions)?;
                read.push(one(&mut map)?);
                map.finish()?;
                names.push(name);
            }
        }
        let all: Vec<Condition> = (0..read.len()).map(Condition::Selection).collect();
        let mut together = match map.word(op, &["and", "or"])?.as_deref() {
            Some("or") if !all.is_empty() => Condition::Any(all),
            Some(_) | None => Condition::All(all),
        };
        if let Some(node) = map.take(expression) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let refuse = |reason: String| Refused::new(node.line, format!("`{expression}`: {reason}"));
            let text = node.as_text().ok_or_else(|| refuse(format!("{}; text is meant", node.what())))?;
            together = condition::parse(text, &names).map_err(refuse)?;
        }
        if map.truth(not)? && !read.is_empty() {
            together = Condition::Not(Box::new(together));
        }
        Ok(When { conditions: read, together })
    }
}

/// A condition on a rule.
pub(crate) enum OfRule {
    Source(LogSource),
    Item { field: String, value: Option<String> },
    Applied(String),
    State { key: String, value: String },
    Attribute { name: String, value: String },
    Tag(String),
    IsCorrelation(bool),
}

impl OfRule {
    pub(crate) fn read(map: &mut Map<'_>) -> Result<OfRule, Refused> {
        let kind = map.kind(&[
            "logsource",
            "contains_detection_item",
            "contains_field",
            "processing_item_applied",
            "processing_state",
            "rule_attribute",
            "tag",
            "is_sigma_rule",
            "is_sigma_correlation_rule",
        ])?;
        Ok(match kind.as_str() {
            "logsource" => OfRule::Source(read::log_source(map)?),
            "contains_detection_item" => OfRule::Item { field: map.text("field")?, value: Some(map.text("value")?) },
            "contains_field" => OfRule::Item { field: map.text("field")?, value: None },
            "processing_item_applied" => OfRule::Applied(map.text("processing_item_id")?),
            "processing_state" => OfRule::State { key: map.text("key")?, value: map.text("val")? },
            "rule_attribute" => OfRule::Attribute { name: map.text("attribute")?, value: map.text("value")? },
            "tag" => OfRule::Tag(map.text("tag")?),
            _ => OfRule::IsCorrelation(kind == "is_sigma_correlation_rule"),
        })
    }

    pub(crate) fn holds(&self, work: &Work) -> bool {
        match self {
            OfRule::Source(wanted) => work.sources.iter().any(|source| covers(wanted, source)),
            OfRule::Item { field, value } => work.items().iter().any(|item| {
                let wanted = |value: &String| item.value.items().iter().any(|one| one.written() == Some(value));
                item.field == *field && value.as_ref().is_none_or(wanted)
            }),
            OfRule::Applied(id) => work.applied.contains(id),
            OfRule::State { key, value } => work.state.get(key) == Some(value),
            OfRule::Attribute { name, value } => {
                work.document.get(name).is_some_and(|node| node.items().iter().any(|one| one.written() == Some(value)))
            }
            OfRule::Tag(tag) => {
                let tags = work.document.get("tags").map(Node::items).unwrap_or_default();
                tags.iter().any(|one| one.written() == Some(tag))
            }
            OfRule::IsCorrelation(wanted) => work.document.get("correlation").is_some() == *wanted,
        }
    }
}

fn covers(wanted: &LogSource, source: &LogSource) -> bool {
    let part = |wanted: &Option<String>, part: &Option<String>| wanted.is_none() || wanted == part;
    part(&wanted.category, &source.category)
        && part(&wanted.product, &source.product)
        && part(&wanted.service, &source.service)
}

/// A condition on an item of a selection.
pub(crate) enum OfItem {
    /// Any or all of its texts match.
    Match {
        all: bool,
        pattern: Regex,
        negate: bool,
    },
    Value {
        all: bool,
        value: String,
    },
    Wildcard {
        all: bool,
    },
    Null {
        all: bool,
    },
    Applied(String),
    State {
        key: String,
        value: String,
    },
}

impl OfItem {
    pub(crate) fn read(map: &mut Map<'_>) -> Result<OfItem, Refused> {
        let kind = map.kind(&[
            "match_string",
            "match_value",
            "contains_wildcard",
            "is_null",
            "processing_item_applied",
            "processing_state",
        ])?;
        let mut all = || Ok(map.word("cond", &["any", "all"])?.as_deref() == Some("all"));
        Ok(match kind.as_str() {
            "match_string" => {
                OfItem::Match { all: all()?, pattern: map.regex("pattern")?, negate: map.truth("negate")? }
            }
            "match_value" => OfItem::Value { all: all()?, value: map.text("value")? },
            "contains_wildcard" => OfItem::Wildcard { all: all()? },
            "is_null" => OfItem::Null { all: all()? },
            "processing_item_applied" => OfItem::Applied(map.text("processing_item_id")?),
            _ => OfItem::State { key: map.text("key")?, value: map.text("val")? },
        })
    }

    pub(crate) fn holds(&self, item: &Item, work: &Work) -> bool {
        let some = |all: bool, one: &dyn Fn(&Node) -> bool| {
            let values = item.value.items();
            if all { values.iter().all(one) } else { values.iter().any(one) }
        };
        match self {
            OfItem::Match { all, pattern, negate } => {
                some(*all, &|one| one.as_text().is_some_and(|text| pattern.is_match(text))) != *negate
            }
            OfItem::Value { all, value } => some(*all, &|one| one.written() == Some(value)),
            OfItem::Wildcard { all } => some(*all, &|one| one.as_text().is_some_and(wildcard)),
            OfItem::Null { all } => some(*all, &|one| one.kind == Kind::Null),
            OfItem::Applied(id) => item.applied.contains(id),
            OfItem::State { key, value } => work.state.get(key) == Some(value),
        }
    }
}

/// Whether a written text has a wildcard that no `\` takes the meaning from.
fn wildcard(text: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|c| {
        let wildcard = matches!(c, '*' | '?') && !escaped;
        escaped = c == '\\' && !escaped;
        wildcard
    })
}

/// A condition on the name of a field.
pub(crate) enum OfField {
    Fields { names: Vec<Regex>, include: bool },
    Applied(String),
    State { key: String, value: String },
}

impl OfField {
    pub(crate) fn read(map: &mut Map<'_>) -> Result<OfField, Refused> {
        let kind = map.kind(&["include_fields", "exclude_fields", "processing_item_applied", "processing_state"])?;
        Ok(match kind.as_str() {
            "processing_item_applied" => OfField::Applied(map.text("processing_item_id")?),
            "processing_state" => OfField::State { key: map.text("key")?, value: map.text("val")? },
            include => {
                let plain = map.word("mode", &["plain", "re"])?.as_deref() != Some("re");
                OfField::Fields { names: map.names("fields", plain)?, include: include == "include_fields" }
            }
        })
    }

    pub(crate) fn holds(&self, field: &str, item: Option<&Item>, work: &Work) -> bool {
        match self {
            OfField::Fields { names, include } => names.iter().any(|name| name.is_match(field)) == *include,
            OfField::Applied(id) => item.is_some_and(|item| item.applied.contains(id)),
            OfField::State { key, value } => work.state.get(key) == Some(value),
        }
    }
}
