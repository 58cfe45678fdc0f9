//! The parameters of an action: each as its verb declares it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::context::{Template, Variable};
use super::load::{Load, Map, is, is_name};
use super::measure;
use super::playbook::Setting;
use super::policy;
use super::verb::{Inverse, Kind, Need, Parameter, Verb};
use super::words::{meant, quoted};
use super::yaml::{Node, Value};
use crate::limits;

/// Reads an action's parameters; gives them in the order of their declaration, and the lease if there is one.
pub(super) fn read(
    load: &mut Load<'_>,
    action: &Map<'_>,
    verb: Verb,
    needs: &BTreeSet<Variable>,
) -> (Vec<Setting>, Option<u64>) {
    let declared = verb.declares();
    let names: Vec<&'static str> = declared.parameters.iter().map(|p| p.name).collect();
    let Some(node) = action.get("parameters") else {
        load.error(action.line(), format!("{} is missing", action.named("parameters")));
        return (Vec::new(), None);
    };
    let Some(map) = load.map(node, &action.named("parameters"), &names) else { return (Vec::new(), None) };
    let mut settings = Vec::new();
    let mut lease_s = None;
    for parameter in declared.parameters {
        let field = map.named(parameter.name);
        let given = map.get(parameter.name);
        if let Err(why) = needed(&map, parameter) {
            load.error(given.map_or(map.line(), |node| node.line), format!("{field} {why}"));
        }
        let Some(node) = given else { continue };
        let Some(value) = value(load, node, &field, parameter.kind, needs) else { continue };
        if parameter.kind == Kind::Duration {
            lease_s = lease(load, node, &field, value.beginning());
        }
        settings.push(Setting { name: parameter.name, kind: parameter.kind, value });
    }
    if !declared.any_of.is_empty() && !declared.any_of.iter().any(|name| map.get(name).is_some()) {
        let names: Vec<_> = declared.any_of.iter().map(|name| format!("`{name}`")).collect();
        load.error(map.line(), format!("{} must name {}", action.named("parameters"), names.join(" or ")));
    }
    (settings, lease_s)
}

/// What would undo the verb as it is given; `None` if nothing does.
pub(super) fn inverse(verb: Verb, settings: &[Setting]) -> Option<String> {
    match verb.declares().inverse {
        Inverse::Always(words) => Some(words.to_owned()),
        Inverse::With(parameter, words) => settings.iter().any(|s| s.name == parameter).then(|| words.to_owned()),
        Inverse::Never => None,
    }
}

/// Whether a parameter is given where it must be, and only where it may be.
fn needed(map: &Map<'_>, parameter: &Parameter) -> Result<(), String> {
    let given = map.get(parameter.name).is_some();
    match parameter.need {
        Need::May => Ok(()),
        Need::Must if given => Ok(()),
        Need::Must => Err("is missing".to_owned()),
        Need::Where(other, word) => {
            let wanted = matches!(map.get(other).map(|n| &n.value), Some(Value::Text(text)) if text == word);
            match (wanted, given) {
                (true, false) => Err(format!("is missing: `{other}` is `{word}`")),
                (false, true) => Err(format!("means nothing unless `{other}` is `{word}`")),
                (true, true) | (false, false) => Ok(()),
            }
        }
        Need::Beside(other) => match (map.get(other).is_some(), given) {
            (true, false) => Err(format!("is missing: with `{other}` it is a change that lasts, and needs its end")),
            (false, true) => Err(format!("means nothing without `{other}`")),
            (true, true) | (false, false) => Ok(()),
        },
    }
}

fn lease(load: &mut Load<'_>, node: &Node, field: &str, text: &str) -> Option<u64> {
    let lease_s = measure::duration_s(text).ok()?;
    let (min, max) = (limits::LEASE_S_MIN, limits::LEASE_S_MAX);
    if !(min..=max).contains(&lease_s) {
        load.error(node.line, format!("{field} is {lease_s} s, and should lie between {min} s and {max} s"));
        return None;
    }
    Some(lease_s)
}

/// A value as its kind has it; adds the error and gives `None` if it is none.
fn value(load: &mut Load<'_>, node: &Node, field: &str, kind: Kind, needs: &BTreeSet<Variable>) -> Option<Template> {
    match kind {
        Kind::Address | Kind::Host | Kind::User => entity(load, node, field, kind, needs),
        Kind::Text => load.template(node, field, needs),
        Kind::Url => url(load, node, field, needs),
        Kind::Port => number(load, node, field, 1..=65_535),
        Kind::Number => number(load, node, field, 2..=4_194_304),
        Kind::Words(words) => {
            let found = load.texts(node, field);
            for (line, word) in &found {
                if !words.contains(word) {
                    load.error(
                        *line,
                        format!("{field} can not name {}{}", quoted(word), meant(word, words.iter().copied())),
                    );
                }
            }
            Some(Template::literal(found.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(",")))
        }
        Kind::Duration => measured(load, node, field, |text| measure::duration_s(text).map(drop)),
        Kind::Rate => measured(load, node, field, |text| measure::rate(text).map(drop)),
        Kind::Bandwidth => measured(load, node, field, |text| measure::bandwidth_bit_s(text).map(drop)),
        Kind::Size => measured(load, node, field, |text| measure::size_bytes(text).map(drop)),
        Kind::Name => measured(load, node, field, |text| {
            is_name(text).then_some(()).ok_or_else(|| "a name of lower-case letters, digits, `-` and `_`".to_owned())
        }),
        Kind::Path => measured(load, node, field, |text| {
            is_path(text).then_some(()).ok_or_else(|| "the whole path of one file, without `..` and `*`".to_owned())
        }),
        Kind::Word(words) => {
            let text = load.text(node, field)?;
            if !words.contains(&text) {
                let meant = meant(text, words.iter().copied());
                load.error(node.line, format!("{field} can not be {}{meant}", quoted(text)));
                return None;
            }
            Some(Template::literal(text.to_owned()))
        }
    }
}

/// A value that is written out: never filled from what an attacker said.
fn measured(load: &mut Load<'_>, node: &Node, field: &str, check: fn(&str) -> Result<(), String>) -> Option<Template> {
    let text = load.text(node, field)?;
    match check(text) {
        Ok(()) => Some(Template::literal(text.to_owned())),
        Err(wanted) => {
            load.error(node.line, format!("{field} is {}, and should be {wanted}", quoted(text)));
            None
        }
    }
}

fn number(load: &mut Load<'_>, node: &Node, field: &str, range: std::ops::RangeInclusive<i64>) -> Option<Template> {
    match &node.value {
        Value::Int(n) if range.contains(n) => Some(Template::literal(n.to_string())),
        other => {
            let (min, max) = (range.start(), range.end());
            load.error(node.line, format!("{field} is {}, and should be a number from {min} to {max}", is(other)));
            None
        }
    }
}

/// One entity: a `${…}` of its kind and nothing beside it, or one that is written out.
fn entity(load: &mut Load<'_>, node: &Node, field: &str, kind: Kind, needs: &BTreeSet<Variable>) -> Option<Template> {
    let template = load.template(node, field, needs)?;
    let wanted = match kind {
        Kind::Host => "a host",
        Kind::User => "an account",
        _ => "one address",
    };
    let reason = match (template.only(), template.variables().is_empty()) {
        (Some(variable), _) if variable.kind() == kind => return Some(template),
        (Some(variable), _) => format!("{field} is {wanted}, and `${{{}}}` is none", variable.name()),
        (None, false) => format!("{field} is {wanted}: one `${{…}}`, and nothing beside it"),
        (None, true) => match literal(kind, template.beginning()) {
            Ok(()) => return Some(template),
            Err(why) => format!("{field} is {}, and should be {wanted}{why}", quoted(template.beginning())),
        },
    };
    load.error(node.line, reason);
    None
}

/// Whether a text is an entity of this kind that an action may be told of.
pub(super) fn literal(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Address => match (text.parse::<IpAddr>(), text.parse::<IpNet>()) {
            (Ok(address), _) => match policy::never(address.to_canonical()) {
                None => Ok(()),
                Some(why) => Err(format!(": it is never touched, for {why}")),
            },
            (Err(_), Ok(_)) => Err(": no action touches a whole range".to_owned()),
            (Err(_), Err(_)) => Err(" such as 203.0.113.9".to_owned()),
        },
        Kind::Host => {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let host = !text.starts_with(['-', '.']) && text.len() <= 253 && text.chars().all(fits);
            if host && !text.is_empty() { Ok(()) } else { Err(" name of letters, digits, `.`, `-` and `_`".to_owned()) }
        }
        _ => {
            let fits =
                |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '\\' | '$' | '+' | ' ' | '#');
            let user = !text.starts_with(['-', ' ']) && text.len() <= 256 && text.chars().all(fits);
            if user && !text.is_empty() { Ok(()) } else { Err(" name without control and shell characters".to_owned()) }
        }
    }
}

/// A web address: `http` or `https`, and a host that is written out, so that no attacker's word chooses it.
fn url(load: &mut Load<'_>, node: &Node, field: &str, needs: &BTreeSet<Variable>) -> Option<Template> {
    let template = load.template(node, field, needs)?;
    let rest = template.beginning().strip_prefix("https://").or_else(|| template.beginning().strip_prefix("http://"));
    let Some(rest) = rest else {
        load.error(node.line, format!("{field} should begin with `https://` or `http://` and a host"));
        return None;
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let whole = template.variables().is_empty() || rest.contains('/');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if !whole || host.is_empty() || !host.chars().all(fits) {
        load.error(node.line, format!("{field} must write its host out, without `${{…}}`, user or password"));
        return None;
    }
    if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
        load.error(node.line, format!("{field} has a blank or a control character in it"));
        return None;
    }
    Some(template)
}

/// A whole path, of Linux or of Windows, of one file.
fn is_path(text: &str) -> bool {
    let whole = text.starts_with('/') || text.as_bytes().get(1..3) == Some(b":\\");
    let climbs = text.split(['/', '\\']).any(|part| part == "..");
    whole && !climbs && !text.contains(['*', '?', '$']) && !text.chars().any(char::is_control)
}
