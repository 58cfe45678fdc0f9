//! What pipelines do to values.

use std::collections::BTreeMap;

use crate::error::Refused;
use crate::limits;
use crate::pipeline::work::Item;
use crate::yaml::{Kind, Node};

/// Values of placeholders, by name.
pub(crate) type Vars = BTreeMap<String, Vec<String>>;

/// Replaces each text of a value by none, one or several others; says whether it replaced any.
pub(crate) fn each_text(value: &mut Node, replace: &mut dyn FnMut(&str) -> Option<Vec<String>>) -> bool {
    let mut changed = false;
    let mut items = Vec::new();
    for item in value.items() {
        match item.as_text().and_then(&mut *replace) {
            Some(texts) => {
                changed = true;
                items.extend(texts.into_iter().map(|text| Node { kind: Kind::Text(text), line: item.line }));
            }
            None => items.push(item.clone()),
        }
    }
    if changed {
        value.kind = if items.len() == 1 { items.remove(0).kind } else { Kind::List(items) };
    }
    changed
}

/// A replacement as Python writes it (`\1`, `\g<name>`) in the words of the `regex` crate.
pub(crate) fn replacement(python: &str) -> String {
    let mut text = String::with_capacity(python.len());
    let mut rest = python;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        match c {
            '$' => text.push_str("$$"),
            '\\' if digits > 0 => {
                text.push_str(&format!("${{{}}}", &rest[..digits]));
                rest = &rest[digits..];
            }
            '\\' if rest.starts_with("g<") && rest.contains('>') => {
                let end = rest.find('>').unwrap_or_default();
                text.push_str(&format!("${{{}}}", &rest[2..end]));
                rest = &rest[end + 1..];
            }
            '\\' if rest.starts_with('\\') => {
                text.push('\\');
                rest = &rest[1..];
            }
            c => text.push(c),
        }
    }
    text
}

/// Fills the chosen placeholders of an item that has `expand`, with their values or with `*`. An item without
/// placeholders that are left loses `expand`.
pub(crate) fn fill(
    item: &mut Item,
    vars: &Vars,
    wildcard: bool,
    chosen: &dyn Fn(&str) -> bool,
) -> Result<bool, Refused> {
    if !item.has("expand") {
        return Ok(false);
    }
    let (mut items, mut changed, mut left) = (Vec::new(), false, false);
    for value in item.value.items() {
        let Some(text) = value.as_text() else {
            items.push(value.clone());
            continue;
        };
        let refuse = |reason: String| Refused::new(value.line, format!("field `{}`: {reason}", item.field));
        let mut texts = vec![String::new()];
        let mut rest = text;
        while let Some((before, name, after)) = placeholder(rest) {
            let filled = if !chosen(name) {
                left = true;
                vec![format!("%{name}%")]
            } else if wildcard {
                vec!["*".to_owned()]
            } else {
                let values = vars.get(name).filter(|values| !values.is_empty());
                let values = values.ok_or_else(|| {
                    refuse(format!(
                        "placeholder `%{name}%` has no values; `vars` of the pipeline is where they are meant"
                    ))
                })?;
                values.clone()
            };
            changed |= chosen(name);
            if texts.len().saturating_mul(filled.len()) > limits::EXPANSIONS_MAX {
                return Err(refuse(format!("one value that becomes more than {} values", limits::EXPANSIONS_MAX)));
            }
            let with = |text: &String, value: &String| format!("{text}{before}{value}");
            texts = texts.iter().flat_map(|text| filled.iter().map(move |value| with(text, value))).collect();
            rest = after;
        }
        if texts.len() > 1 && item.has("all") {
            return Err(refuse("`all` with a placeholder of several values; a selection for each is meant".to_owned()));
        }
        let node = |text: String| Node { kind: Kind::Text(text + rest), line: value.line };
        items.extend(texts.into_iter().map(node));
    }
    if items.len() > limits::EXPANSIONS_MAX {
        let reason = format!("field `{}`: more than {} values", item.field, limits::EXPANSIONS_MAX);
        return Err(Refused::new(item.line, reason));
    }
    item.value.kind = if items.len() == 1 { items.remove(0).kind } else { Kind::List(items) };
    if !left {
        let modifiers = item.modifiers.split('|').filter(|name| *name != "expand");
        item.modifiers = modifiers.collect::<Vec<_>>().join("|");
    }
    Ok(changed)
}

/// The first placeholder of a text, with what is before it and after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find('%')?;
        let end = start + 1 + text[start + 1..].find('%')?;
        let name = &text[start + 1..end];
        let escaped = text[..start].ends_with('\\');
        if !escaped && !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
            return Some((&text[..start], name, &text[end + 1..]));
        }
        from = if escaped || name.is_empty() { start + 1 } else { end };
    }
}
