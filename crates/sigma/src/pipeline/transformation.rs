//! What an item of a pipeline does to a rule. Names and meanings are pySigma's.

use regex::Regex;

use crate::error::Refused;
use crate::pipeline::read::{self, Map};
use crate::pipeline::values::{self, Vars};
use crate::pipeline::work::{Item, Part, Work};
use crate::rule::LogSource;
use crate::yaml::{Entry, Kind, Node};

/// What is done.
pub(crate) enum Transformation {
    /// Names of fields, each to one or several others.
    MapFields(Vec<(String, Vec<String>)>),
    MapPrefixes(Vec<(String, Vec<String>)>),
    Prefix(String),
    Suffix(String),
    DropItem,
    AddCondition {
        entries: Vec<Entry>,
        template: bool,
        name: Option<String>,
        negated: bool,
    },
    ChangeSource(LogSource),
    ReplaceText {
        pattern: Regex,
        by: String,
    },
    MapValues(Vec<(String, Vec<String>)>),
    SetValue(Node),
    /// Values for placeholders, or `*` for all; which of them.
    Placeholders {
        wildcard: bool,
        include: Option<Vec<String>>,
        exclude: Vec<String>,
    },
    FailRule(String),
    FailItem(String),
    SetState {
        key: String,
        value: String,
    },
    SetAttribute {
        name: String,
        value: Node,
    },
}

const KINDS: [&str; 16] = [
    "field_name_mapping",
    "field_name_prefix_mapping",
    "field_name_prefix",
    "field_name_suffix",
    "drop_detection_item",
    "add_condition",
    "change_logsource",
    "replace_string",
    "map_string",
    "set_value",
    "value_placeholders",
    "wildcard_placeholders",
    "rule_failure",
    "detection_item_failure",
    "set_state",
    "set_custom_attribute",
];

impl Transformation {
    pub(crate) fn read(map: &mut Map<'_>) -> Result<Transformation, Refused> {
        let kind = map.kind(&KINDS)?;
        Ok(match kind.as_str() {
            "field_name_mapping" => Transformation::MapFields(map.mapping("mapping")?),
            "field_name_prefix_mapping" => Transformation::MapPrefixes(map.mapping("mapping")?),
            "field_name_prefix" => Transformation::Prefix(map.text("prefix")?),
            "field_name_suffix" => Transformation::Suffix(map.text("suffix")?),
            "drop_detection_item" => Transformation::DropItem,
            "add_condition" => add_condition(map)?,
            "change_logsource" => Transformation::ChangeSource(read::log_source(map)?),
            "replace_string" => {
                let pattern = map.text("regex")?;
                let pattern = map.compiled("regex", &pattern)?;
                Transformation::ReplaceText { pattern, by: values::replacement(&map.text("replacement")?) }
            }
            "map_string" => Transformation::MapValues(map.mapping("mapping")?),
            "set_value" => {
                let value = map.take("value").filter(|node| node.written().is_some());
                Transformation::SetValue(value.cloned().ok_or_else(|| map.refuse("value", "a single value"))?)
            }
            "value_placeholders" | "wildcard_placeholders" => Transformation::Placeholders {
                wildcard: kind == "wildcard_placeholders",
                include: map.maybe_list("include")?,
                exclude: map.maybe_list("exclude")?.unwrap_or_default(),
            },
            "rule_failure" => Transformation::FailRule(map.text("message")?),
            "detection_item_failure" => Transformation::FailItem(map.text("message")?),
            "set_state" => Transformation::SetState { key: map.text("key")?, value: map.text("val")? },
            _ => {
                let name = map.text("attribute")?;
                let value = map.take("value").cloned().ok_or_else(|| map.refuse("value", "a value"))?;
                Transformation::SetAttribute { name, value }
            }
        })
    }

    /// Does what concerns the rule as a whole; nothing if it concerns its items.
    pub(crate) fn of_rule(&self, work: &mut Work, number: usize) -> Result<(), Refused> {
        match self {
            Transformation::AddCondition { entries, template, name, negated } => {
                let name = name.clone().unwrap_or_else(|| format!("_pipeline_{number}"));
                add(work, &name, entries, *template, *negated);
            }
            Transformation::ChangeSource(source) => {
                let line = work.document.get("logsource").map_or(work.document.line, |node| node.line);
                let text = |text: &String| Node { kind: Kind::Text(text.clone()), line };
                let parts =
                    [("category", &source.category), ("product", &source.product), ("service", &source.service)];
                let entry = |(key, part): (&str, &Option<String>)| {
                    part.as_ref().map(|part| Entry { key: key.to_owned(), line, value: text(part) })
                };
                let kind = Kind::Map(parts.into_iter().filter_map(entry).collect());
                // A correlation has no log source to change.
                if let Some(node) = work.document.get_mut("logsource") {
                    node.kind = kind;
                    work.sources = vec![source.clone()];
                }
            }
            Transformation::FailRule(message) => {
                return Err(Refused::new(work.document.line, format!("refused by a pipeline: {message}")));
            }
            Transformation::SetState { key, value } => {
                work.state.insert(key.clone(), value.clone());
            }
            Transformation::SetAttribute { name, value } => work.document.set(name, value.clone()),
            Transformation::MapFields(_)
            | Transformation::MapPrefixes(_)
            | Transformation::Prefix(_)
            | Transformation::Suffix(_)
            | Transformation::DropItem
            | Transformation::ReplaceText { .. }
            | Transformation::MapValues(_)
            | Transformation::SetValue(_)
            | Transformation::Placeholders { .. }
            | Transformation::FailItem(_) => {}
        }
        Ok(())
    }

    /// Whether it concerns items or the names of fields.
    pub(crate) fn is_of_items(&self) -> bool {
        match self {
            Transformation::MapFields(_)
            | Transformation::MapPrefixes(_)
            | Transformation::Prefix(_)
            | Transformation::Suffix(_)
            | Transformation::DropItem
            | Transformation::ReplaceText { .. }
            | Transformation::MapValues(_)
            | Transformation::SetValue(_)
            | Transformation::Placeholders { .. }
            | Transformation::FailItem(_) => true,
            Transformation::AddCondition { .. }
            | Transformation::ChangeSource(_)
            | Transformation::FailRule(_)
            | Transformation::SetState { .. }
            | Transformation::SetAttribute { .. } => false,
        }
    }

    /// What a field is called; `None` if it keeps its name or names are not what it is about.
    pub(crate) fn names(&self, field: &str) -> Option<Vec<String>> {
        match self {
            _ if field.is_empty() => None,
            Transformation::MapFields(mapping) => {
                mapping.iter().find(|(from, _)| from == field).map(|(_, to)| to.clone())
            }
            Transformation::MapPrefixes(mapping) => mapping.iter().find_map(|(from, to)| {
                let rest = field.strip_prefix(from.as_str())?;
                Some(to.iter().map(|to| format!("{to}{rest}")).collect())
            }),
            Transformation::Prefix(prefix) => Some(vec![format!("{prefix}{field}")]),
            Transformation::Suffix(suffix) => Some(vec![format!("{field}{suffix}")]),
            Transformation::DropItem
            | Transformation::AddCondition { .. }
            | Transformation::ChangeSource(_)
            | Transformation::ReplaceText { .. }
            | Transformation::MapValues(_)
            | Transformation::SetValue(_)
            | Transformation::Placeholders { .. }
            | Transformation::FailRule(_)
            | Transformation::FailItem(_)
            | Transformation::SetState { .. }
            | Transformation::SetAttribute { .. } => None,
        }
    }

    /// Changes an item, and says whether it did: to nothing, itself changed, or alternatives.
    pub(crate) fn of_item(&self, mut item: Item, vars: &Vars) -> Result<(Vec<Item>, bool), Refused> {
        if let Some(names) = self.names(&item.field) {
            let named = |field: String| Item { field, ..item.clone() };
            return Ok((names.into_iter().map(named).collect(), true));
        }
        let changed = match self {
            Transformation::DropItem => return Ok((Vec::new(), true)),
            Transformation::FailItem(message) => {
                return Err(Refused::new(item.line, format!("refused by a pipeline: {message}")));
            }
            Transformation::ReplaceText { pattern, by } => values::each_text(&mut item.value, &mut |text| {
                let replaced = pattern.replace_all(text, by.as_str());
                (replaced != text).then(|| vec![replaced.into_owned()])
            }),
            Transformation::MapValues(mapping) => values::each_text(&mut item.value, &mut |text| {
                mapping.iter().find(|(from, _)| from == text).map(|(_, to)| to.clone())
            }),
            Transformation::SetValue(value) => {
                item.value.kind = value.kind.clone();
                true
            }
            Transformation::Placeholders { wildcard, include, exclude } => {
                let chosen = |name: &str| {
                    include.as_ref().is_none_or(|include| include.iter().any(|one| one == name))
                        && !exclude.iter().any(|one| one == name)
                };
                values::fill(&mut item, vars, *wildcard, &chosen)?
            }
            Transformation::MapFields(_)
            | Transformation::MapPrefixes(_)
            | Transformation::Prefix(_)
            | Transformation::Suffix(_)
            | Transformation::AddCondition { .. }
            | Transformation::ChangeSource(_)
            | Transformation::FailRule(_)
            | Transformation::SetState { .. }
            | Transformation::SetAttribute { .. } => false,
        };
        Ok((vec![item], changed))
    }
}

fn add_condition(map: &mut Map<'_>) -> Result<Transformation, Refused> {
    let conditions = map.take("conditions").filter(|node| !node.entries().is_empty());
    let Some(conditions) = conditions else { return Err(map.refuse("conditions", "a map from fields to values")) };
    let name = map.take("name").is_some().then(|| map.text("name")).transpose()?;
    Ok(Transformation::AddCondition {
        entries: conditions.entries().to_vec(),
        template: map.truth("template")?,
        name,
        negated: map.truth("negated")?,
    })
}

/// Adds a selection that must hold too, or must not.
fn add(work: &mut Work, name: &str, entries: &[Entry], template: bool, negated: bool) {
    if work.document.get("correlation").is_some() {
        return;
    }
    let source = work.sources.first().cloned().unwrap_or_default();
    let fill = |text: &str| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let filled = text.replace("$category", &part(&source.category)).replace("$product", &part(&source.product));
        Some(vec![filled.replace("$service", &part(&source.service))])
    };
    let mut entries = entries.to_vec();
    let line = work.document.line;
    for entry in &mut entries {
        if template {
            values::each_text(&mut entry.value, &mut |text| fill(text));
        }
        entry.value.line = line;
        entry.line = line;
    }
    let value = Node { kind: Kind::Map(entries), line };
    let part: Part = super::work::part(&value);
    work.selections.push((Entry { key: name.to_owned(), line, value }, part));
    let not = if negated { "not " } else { "" };
    work.conditions(&|condition| format!("{not}{name} and ({condition})"));
}
