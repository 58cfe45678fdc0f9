//! What is allowed in a rule and is hardly ever meant: for whoever writes rules.
//!
//! An error is what can not be carried out, and the rule is refused. Everything here is carried out as it is
//! written; it is only told, with its place. A warning that is right nine times of ten is read; so there is none
//! about taste.

use std::collections::BTreeSet;

use crate::document::documents;
use crate::error::RuleError;
use crate::rule::KNOWN;
use crate::yaml::{Entry, Kind, Line, Node};

/// The tactics of ATT&CK, as tags name them; the underscores are of an older form.
const TACTICS: [&str; 15] = [
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "defense-evasion",
    "defense-impairment",
    "stealth",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
];

/// Namespaces of tags that the specification or the field knows.
const NAMESPACES: [&str; 8] = ["attack", "car", "cve", "d3fend", "detection", "stp", "tlp", "atlas"];

/// Looks through a rule file for what is probably not meant. What can not be read is for
/// [`crate::RuleSet::compile`] to refuse, and passed over here.
#[must_use]
pub fn lint(path: &str, text: &str) -> Vec<RuleError> {
    let mut lint = Lint { path, warnings: Vec::new() };
    for document in documents(text).into_iter().flatten() {
        lint.document(&document);
    }
    lint.warnings.sort();
    lint.warnings
}

struct Lint<'p> {
    path: &'p str,
    warnings: Vec<RuleError>,
}

impl Lint<'_> {
    fn warn(&mut self, line: Line, reason: impl Into<String>) {
        let Line { number, column } = line;
        self.warnings.push(RuleError { path: self.path.to_owned(), line: number, column, reason: reason.into() });
    }

    fn document(&mut self, document: &Node) {
        self.missing(document);
        document.entries().iter().for_each(|entry| self.key(entry));
        if let Some(id) = document.get("id")
            && !id.as_text().is_some_and(is_uuid)
        {
            let written = id.written().unwrap_or(id.what());
            self.warn(id.line, format!("`id`: `{written}` is no UUID, and may be another rule's too"));
        }
        for key in ["date", "modified"] {
            let date = document.get(key).filter(|date| !date.written().is_some_and(is_date));
            if let Some(date) = date {
                let written = date.written().unwrap_or(date.what());
                self.warn(date.line, format!("`{key}`: `{written}`; a date such as 2026-01-31 is meant"));
            }
        }
        if let Some(tags) = document.get("tags") {
            tags.items().iter().for_each(|tag| self.tag(tag));
        }
        if let Some(source) = document.get("logsource")
            && !["category", "product", "service"].iter().any(|part| source.get(part).is_some())
        {
            self.warn(
                source.line,
                "`logsource` names no category, product or service: the rule is asked of every event",
            );
        }
        if let Some(detection) = document.get("detection") {
            self.detection(detection);
        }
    }

    fn missing(&mut self, document: &Node) {
        let why = [
            ("id", "detections are told apart by it, and a title changes"),
            ("level", "`medium` is taken"),
            ("status", "it is trusted as `experimental`"),
            ("description", "whoever is told of a match reads it first"),
        ];
        let filter = document.get("filter").is_some();
        let missing = why.iter().filter(|(key, _)| document.get(key).is_none_or(|node| node.kind == Kind::Null));
        // A filter finds nothing, so it has no level.
        for (key, why) in missing.filter(|(key, _)| !filter || *key == "id") {
            self.warn(document.line, format!("`{key}` is missing: {why}"));
        }
    }

    /// A key of the rule that is none, and looks like one.
    fn key(&mut self, entry: &Entry) {
        if KNOWN.contains(&entry.key.as_str()) {
            return;
        }
        let plain = |key: &str| key.to_ascii_lowercase().replace(['_', '-', ' '], "");
        let written = plain(&entry.key);
        // In a long word two letters may be wrong and leave no doubt.
        let far = if written.len() > 8 { 2 } else { 1 };
        if let Some(known) = KNOWN.iter().find(|known| distance(&plain(known), &written) <= far) {
            self.warn(entry.line, format!("`{}` is not read; `{known}` is meant?", entry.key));
        }
    }

    fn tag(&mut self, tag: &Node) {
        let Some(written) = tag.as_text() else { return };
        let Some((namespace, name)) = written.split_once('.') else {
            self.warn(tag.line, format!("tag `{written}` has no namespace; one such as `attack.t1059` is meant"));
            return;
        };
        if !NAMESPACES.contains(&namespace) {
            let known = NAMESPACES.join(", ");
            self.warn(tag.line, format!("tag `{written}`: `{namespace}` is no known namespace; there are {known}"));
        } else if namespace == "attack" && !is_attack(name) {
            let meant = if name.starts_with(['t', 'T']) && name.len() > 1 && name.as_bytes()[1].is_ascii_digit() {
                "a technique is written as t1059 or t1059.001"
            } else {
                "a tactic such as `execution`, or a technique such as `t1059.001` is meant"
            };
            self.warn(tag.line, format!("tag `{written}` names nothing of ATT&CK; {meant}"));
        }
    }

    fn detection(&mut self, detection: &Node) {
        for selection in detection.entries().iter().filter(|e| !["condition", "timeframe"].contains(&e.key.as_str())) {
            let maps = selection.value.items().iter();
            for item in maps.flat_map(|map| map.entries()) {
                self.item(&selection.key, item);
            }
        }
        if let Some(timeframe) = detection.entries().iter().find(|entry| entry.key == "timeframe") {
            self.warn(timeframe.line, "`timeframe` is not read; a `correlation` document counts within a `timespan`");
        }
    }

    fn item(&mut self, selection: &str, item: &Entry) {
        let names: Vec<&str> = item.key.split('|').collect();
        if names[0].trim() != names[0] {
            self.warn(item.line, format!("`{selection}`: the field `{}` begins or ends with a space", names[0]));
        }
        let mut seen = BTreeSet::new();
        for value in item.value.items() {
            let Some(written) = value.written() else { continue };
            if !seen.insert(written) {
                self.warn(value.line, format!("`{selection}`, field `{}`: `{written}` stands twice", item.key));
            }
            let shape = names[1..].iter().find(|name| ["contains", "startswith", "endswith"].contains(name));
            let (starts, ends) = (written.starts_with('*'), written.ends_with('*') && !written.ends_with("\\*"));
            let idle = match shape {
                Some(&"contains") => starts || ends,
                Some(&"startswith") => ends,
                Some(&"endswith") => starts,
                Some(_) | None => false,
            };
            if let Some(shape) = shape.filter(|_| idle && written.len() > 1) {
                let reason =
                    format!("`{selection}`, field `{}`: `{shape}` says what the `*` of `{written}` says", item.key);
                self.warn(value.line, reason);
            }
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn is_date(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([4, 2, 2]) && parts.iter().all(|part| digits(part))
}

/// A tactic, a technique (`t1059.001`), a group (`g0016`), a piece of software (`s0002`) or the like.
fn is_attack(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let slug = lower.replace('_', "-");
    if TACTICS.contains(&slug.as_str()) || slug == "impact" {
        return true;
    }
    let digits = |text: &str, many: usize| text.len() == many && text.bytes().all(|b| b.is_ascii_digit());
    match lower.strip_prefix('t') {
        Some(technique) => {
            let (whole, part) = technique.split_once('.').map_or((technique, None), |(a, b)| (a, Some(b)));
            digits(whole, 4) && part.is_none_or(|part| digits(part, 3))
        }
        None => ["g", "s", "m", "c", "ds", "dc"].iter().any(|p| lower.strip_prefix(p).is_some_and(|n| digits(n, 4))),
    }
}

/// In how many places two short words differ: letters changed, left out, added or exchanged with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
