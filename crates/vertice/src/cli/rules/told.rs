//! A verdict on a rule, as a tree for people and as JSON for programs.

use serde_json::{Value, json};
use vertice_engine::Content;
use vertice_model::Event;
use vertice_sigma::{Asked, LogSource, RuleIndex, Verdict};

use super::super::output::Tint;
use super::super::tree::Node;

/// Wanted values that one line names; of more it says how many.
const WANTED_SHOWN: usize = 6;

/// How near a rule is to matching: that it does, that it is for the log source, how many of its values are there.
pub type Nearness = (bool, bool, usize);

/// A rule asked of an event.
pub struct Told {
    /// Whether it matches: it is for the event's log source, and its condition holds.
    pub matches: bool,
    /// Whether the rule is for the event's log source.
    pub concerns: bool,
    /// The log source that the rule is for, in words.
    pub wanted_source: String,
    /// Those that the event comes from, in words.
    pub sources: Vec<String>,
    /// Every condition; `None` of a correlation.
    pub verdict: Option<Verdict>,
}

impl Told {
    /// Asks a rule of an event.
    pub fn of(content: &Content, rule: RuleIndex, event: &Event) -> Told {
        let verdict = content.rules.verdict(rule, event);
        let concerns = content.rules.concerns(rule, event);
        let LogSource { category, product, service } = &content.rules.set().rule(rule).log_source;
        let words = |parts: [&Option<String>; 3]| source_words(parts.map(|part| part.as_deref().unwrap_or_default()));
        Told {
            matches: concerns && verdict.as_ref().is_some_and(|verdict| verdict.holds),
            concerns,
            wanted_source: words([product, service, category]),
            sources: event.log_sources.iter().map(|s| words([&s.product, &s.service, &s.category])).collect(),
            verdict,
        }
    }

    /// How near the rule is to matching: more is nearer.
    pub fn nearness(&self) -> Nearness {
        (self.matches, self.concerns, self.verdict.as_ref().map_or(0, held))
    }

    /// The log source and the conditions, below each other.
    pub fn nodes(&self) -> Vec<Node> {
        let event = if self.sources.is_empty() { "none".to_owned() } else { self.sources.join(", ") };
        let source = Node::new(vec![
            yes_or_no(self.concerns),
            (Tint::None, format!("log source: the rule is for {}", self.wanted_source)),
            (Tint::Faint, format!("   the event is {event}")),
        ]);
        std::iter::once(source).chain(self.verdict.as_ref().map(node)).collect()
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        json!({
            "matches": self.matches,
            "log_source": {"holds": self.concerns, "wanted": self.wanted_source, "event": self.sources},
            "condition": self.verdict.as_ref().map(document),
        })
    }
}

/// A log source in words, such as `windows/sysmon registry_set`.
pub fn source_words([product, service, category]: [&str; 3]) -> String {
    let place: Vec<&str> = [product, service].into_iter().filter(|part| !part.is_empty()).collect();
    let words = format!("{} {category}", place.join("/"));
    if words.trim().is_empty() { "any".to_owned() } else { words.trim().to_owned() }
}

fn yes_or_no(holds: bool) -> (Tint, String) {
    if holds { (Tint::Good, "yes  ".to_owned()) } else { (Tint::Bad, "no   ".to_owned()) }
}

/// How many of the values asked for are there.
fn held(verdict: &Verdict) -> usize {
    match verdict.asked {
        // What must not be there brings nothing nearer; but where it is not, nothing stands in the way.
        Asked::Not => usize::from(verdict.holds),
        Asked::Value { .. } => usize::from(verdict.holds),
        Asked::All | Asked::Any | Asked::AtLeast(_) | Asked::Selection(_) => verdict.below.iter().map(held).sum(),
    }
}

fn node(verdict: &Verdict) -> Node {
    // One alternative of one, or a list of one, says no more than what it has.
    if let (Asked::All | Asked::Any, [only], 0) = (&verdict.asked, verdict.below.as_slice(), verdict.left_out) {
        return node(only);
    }
    if let Some(parts) = values(verdict) {
        return Node::new(parts);
    }
    let what = match &verdict.asked {
        Asked::All => "all of this".to_owned(),
        Asked::Any => "one of this".to_owned(),
        Asked::AtLeast(n) if *n == verdict.below.len() && *n > 1 => "all of these selections".to_owned(),
        Asked::AtLeast(n) => format!("{n} of these selections"),
        Asked::Not => "must not hold".to_owned(),
        Asked::Selection(name) => name.clone(),
        Asked::Value { .. } => String::new(),
    };
    let tint = if matches!(verdict.asked, Asked::Selection(_)) { Tint::Bold } else { Tint::None };
    let mut drawn = Node::new(vec![yes_or_no(verdict.holds), (tint, what)]);
    drawn.extend(verdict.below.iter().map(node));
    if verdict.left_out > 0 {
        drawn.push(Node::remark(format!("and {} more", verdict.left_out)));
    }
    drawn
}

/// One value, or alternatives of one field, in a line; `None` of anything else.
fn values(verdict: &Verdict) -> Option<Vec<(Tint, String)>> {
    let all = match verdict.asked {
        Asked::Value { .. } => std::slice::from_ref(verdict),
        Asked::All | Asked::Any => verdict.below.as_slice(),
        Asked::AtLeast(_) | Asked::Not | Asked::Selection(_) => return None,
    };
    let read = |one: &Verdict| match &one.asked {
        Asked::Value { field, wanted, found } => Some((field.clone(), wanted.clone(), found.clone(), one.holds)),
        Asked::All | Asked::Any | Asked::AtLeast(_) | Asked::Not | Asked::Selection(_) => None,
    };
    let all: Vec<_> = all.iter().map(read).collect::<Option<_>>()?;
    let field = all.first()?.0.clone();
    if all.iter().any(|(other, ..)| *other != field) {
        return None;
    }
    // What decided: of alternatives that hold those that do, of a list that fails what it lacks.
    let decided: Vec<_> = all.iter().filter(|(.., holds)| *holds == verdict.holds).collect();
    let wanted: Vec<String> = decided.iter().take(WANTED_SHOWN).map(|(_, wanted, ..)| quoted(wanted)).collect();
    let more = decided.len() - wanted.len() + verdict.left_out;
    let more = if more == 0 { String::new() } else { format!(" | and {more} more") };
    let how = match (&verdict.asked, verdict.holds) {
        (Asked::Any, false) => "none of ",
        (Asked::All, false) => "lacks ",
        (_, _) => "",
    };
    let name = if field.is_empty() { "anywhere" } else { &field };
    let mut found: Vec<&str> = decided.iter().flat_map(|(_, _, found, _)| found).map(String::as_str).collect();
    found.sort_unstable();
    found.dedup();
    let base = field.split('|').next().unwrap_or_default();
    let said = match (found.as_slice(), verdict.holds) {
        ([], true) => String::new(),
        ([], false) if field.is_empty() => "   no value of the event has it".to_owned(),
        ([], false) => format!("   the event has no {base}"),
        (found, true) => format!("   in: {}", found.join(" | ")),
        (found, false) => format!("   the event has: {}", found.join(" | ")),
    };
    Some(vec![
        yes_or_no(verdict.holds),
        (Tint::None, format!("{name}: {how}{}{more}", wanted.join(" | "))),
        (Tint::Faint, said),
    ])
}

/// A value in quotes where its beginning or end would not be seen.
fn quoted(value: &str) -> String {
    if value.is_empty() || value.trim() != value { format!("'{value}'") } else { value.to_owned() }
}

fn document(verdict: &Verdict) -> Value {
    let mut json = match &verdict.asked {
        Asked::All => json!({"asked": "all"}),
        Asked::Any => json!({"asked": "any"}),
        Asked::AtLeast(n) => json!({"asked": "at_least", "count": n}),
        Asked::Not => json!({"asked": "not"}),
        Asked::Selection(name) => json!({"asked": "selection", "name": name}),
        Asked::Value { field, wanted, found } => {
            json!({"asked": "value", "field": field, "wanted": wanted, "found": found})
        }
    };
    json["holds"] = Value::from(verdict.holds);
    if !verdict.below.is_empty() {
        json["below"] = verdict.below.iter().map(document).collect();
    }
    if verdict.left_out > 0 {
        json["left_out"] = Value::from(verdict.left_out);
    }
    json
}
