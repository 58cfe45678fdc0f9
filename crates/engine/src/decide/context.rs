//! What a playbook may know about a threat, and how `${…}` is filled with it.
//!
//! A value that came from an attacker stays one value: it is filled in once, never read again for `${…}`,
//! stripped of control characters, and cut to a length. Nothing here ever builds a shell command or a query.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vertice_model::{EntityKind, Threat};

use super::verb::Kind;
use super::words::{meant, quoted};
use crate::limits;

/// Something that a threat may tell: the names of `context_requirements` and of `${…}`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Variable {
    SourceIp,
    TargetAsset,
    TargetHost,
    User,
    ThreatId,
    Title,
    Severity,
    Confidence,
    Classes,
    Techniques,
    Tactics,
    Stage,
    Detections,
    FirstSeen,
    LastSeen,
}

/// Each variable and its name.
const VARIABLES: [(Variable, &str); 15] = [
    (Variable::SourceIp, "source_ip"),
    (Variable::TargetAsset, "target_asset"),
    (Variable::TargetHost, "target_host"),
    (Variable::User, "user"),
    (Variable::ThreatId, "threat_id"),
    (Variable::Title, "title"),
    (Variable::Severity, "severity"),
    (Variable::Confidence, "confidence"),
    (Variable::Classes, "classes"),
    (Variable::Techniques, "techniques"),
    (Variable::Tactics, "tactics"),
    (Variable::Stage, "stage"),
    (Variable::Detections, "detections"),
    (Variable::FirstSeen, "first_seen"),
    (Variable::LastSeen, "last_seen"),
];

impl Variable {
    /// Every variable.
    pub(super) fn all() -> impl Iterator<Item = Variable> {
        VARIABLES.into_iter().map(|(variable, _)| variable)
    }

    /// The variable of a name, or why there is none.
    pub(super) fn read(name: &str) -> Result<Variable, String> {
        let found = VARIABLES.iter().find(|(_, known)| *known == name).map(|(variable, _)| *variable);
        found.ok_or_else(|| format!("{} is nothing that a threat tells{}", quoted(name), meant(name, names())))
    }

    pub(super) const fn name(self) -> &'static str {
        VARIABLES[self as usize].1
    }

    /// What kind of parameter it can be: an entity, or words for people.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Variable::SourceIp => Kind::Address,
            Variable::TargetAsset | Variable::TargetHost => Kind::Host,
            Variable::User => Kind::User,
            Variable::ThreatId
            | Variable::Title
            | Variable::Severity
            | Variable::Confidence
            | Variable::Classes
            | Variable::Techniques
            | Variable::Tactics
            | Variable::Stage
            | Variable::Detections
            | Variable::FirstSeen
            | Variable::LastSeen => Kind::Text,
        }
    }

    /// What this threat tells; `None` where it does not.
    pub(super) fn of(self, threat: &Threat) -> Option<String> {
        let first = |kind: EntityKind| threat.entities.iter().find(|e| e.kind() == kind).map(|e| e.name().to_owned());
        let list = |words: Vec<&str>| (!words.is_empty()).then(|| words.join(", "));
        match self {
            Variable::SourceIp => first(EntityKind::Ip),
            Variable::TargetAsset | Variable::TargetHost => first(EntityKind::Host),
            Variable::User => first(EntityKind::User),
            Variable::ThreatId => Some(threat.threat_id.to_string()),
            Variable::Title => Some(threat.title.clone()),
            Variable::Severity => Some(threat.severity.to_string()),
            Variable::Confidence => Some(format!("{} %", threat.confidence.percent())),
            Variable::Classes => list(threat.classes.iter().map(String::as_str).collect()),
            Variable::Techniques => list(threat.techniques.iter().map(|t| t.technique.as_str()).collect()),
            Variable::Tactics => list(threat.tactics.iter().map(|t| t.as_str()).collect()),
            Variable::Stage => threat.stage.map(|t| t.to_string()),
            Variable::Detections => Some(threat.detections.to_string()),
            Variable::FirstSeen => Some(threat.first_seen.to_string()),
            Variable::LastSeen => Some(threat.last_seen.to_string()),
        }
    }
}

fn names() -> impl Iterator<Item = &'static str> + Clone {
    VARIABLES.iter().map(|(_, name)| *name)
}

/// A text with `${…}` in it, read once when the playbook is loaded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Words(String),
    Value(Variable),
}

impl Template {
    /// Reads a text, or says what is wrong with one of its `${…}`.
    pub(super) fn read(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((words, tail)) = rest.split_once("${") {
            let Some((name, after)) = tail.split_once('}') else {
                return Err(format!("{} is not closed by `}}`", quoted(&rest[words.len()..])));
            };
            if !words.is_empty() {
                pieces.push(Piece::Words(words.to_owned()));
            }
            pieces.push(Piece::Value(Variable::read(name)?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Words(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// A text without any `${…}`.
    pub(super) fn literal(text: String) -> Template {
        Template(vec![Piece::Words(text)])
    }

    /// What must be known to fill it.
    pub(super) fn variables(&self) -> BTreeSet<Variable> {
        self.0.iter().filter_map(|p| if let Piece::Value(variable) = p { Some(*variable) } else { None }).collect()
    }

    /// The one variable that is all of it.
    pub(super) fn only(&self) -> Option<Variable> {
        match self.0.as_slice() {
            [Piece::Value(variable)] => Some(*variable),
            _ => None,
        }
    }

    /// The words before its first variable.
    pub(super) fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Piece::Words(words)) => words,
            Some(Piece::Value(_)) | None => "",
        }
    }

    /// Fills it. What the threat does not tell is left empty; the caller has asked before.
    pub(super) fn fill(&self, threat: &Threat, write: fn(&str) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Words(words) => words.clone(),
            Piece::Value(variable) => {
                let told = variable.of(threat).unwrap_or_default();
                write(&told.chars().take(limits::CONTEXT_VALUE_CHARS_MAX).collect::<String>())
            }
        });
        pieces.collect()
    }
}

/// As it is told, with every character that would steer a terminal or a reader's eye replaced.
pub(super) fn plain(value: &str) -> String {
    value.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// As it is told, fit for the path or the query of a web address (RFC 3986 section 2.3).
pub(super) fn in_url(value: &str) -> String {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let written = value.bytes().map(|b| if unreserved(b) { char::from(b).to_string() } else { format!("%{b:02X}") });
    written.collect()
}

/// Control characters, and those that change the direction of what follows or can not be seen.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::threat;

    #[test]
    fn every_variable_has_its_name_and_its_place() {
        for (i, (variable, name)) in VARIABLES.into_iter().enumerate() {
            assert_eq!((variable as usize, variable.name(), Variable::read(name)), (i, name, Ok(variable)));
        }
        assert!(Variable::read("sourceip").unwrap_err().ends_with("did you mean `source_ip`?"));
    }

    #[test]
    fn a_threat_tells_what_it_has() {
        let full = threat(
            "brute_force_detected high 0.9 ip=203.0.113.9 host=web1 user=ana technique=T1110 tactic=credential-access detections=7",
        );
        let told: Vec<_> = VARIABLES.iter().map(|(v, _)| v.of(&full).unwrap()).collect();
        assert_eq!(told[..4], ["203.0.113.9", "web1", "web1", "ana"]);
        assert_eq!(
            told[5..],
            [
                "a threat",
                "high",
                "90 %",
                "brute_force_detected",
                "T1110",
                "credential-access",
                "credential-access",
                "7",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00Z",
            ]
        );
        let bare = threat("x info 0");
        let silent: Vec<_> = VARIABLES.iter().filter(|(v, _)| v.of(&bare).is_none()).map(|(_, name)| *name).collect();
        assert_eq!(
            silent,
            ["source_ip", "target_asset", "target_host", "user", "techniques", "tactics", "stage"]
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_value_is_filled_in_once_and_stays_a_value() {
        let mut t = threat("x info 0");
        t.title = "${user}\u{1b}[2J\u{202e}%".to_owned() + &"y".repeat(1_000);
        let filled = Template::read("<${title}> $ {").unwrap().fill(&t, plain);
        assert!(filled.starts_with("<${user}\u{fffd}[2J\u{fffd}%yyy") && filled.ends_with("y> $ {"), "{filled}");
        assert_eq!(filled.chars().count(), limits::CONTEXT_VALUE_CHARS_MAX + 6);
        t.title = "a/../b?ä".to_owned();
        assert_eq!(Template::read("https://h/${title}").unwrap().fill(&t, in_url), "https://h/a%2F..%2Fb%3F%C3%A4");
        assert_eq!(Template::read("${user}").unwrap().fill(&t, plain), "");
    }

    #[test]
    fn what_is_not_closed_or_not_known_is_refused() {
        assert!(Template::read("a ${user").unwrap_err().contains("`${user` is not closed"));
        assert!(Template::read("a ${usr}").unwrap_err().ends_with("did you mean `user`?"));
        assert_eq!(Template::read("").unwrap(), Template::default());
        let two = Template::read("${user}${user}").unwrap();
        assert_eq!((two.only(), two.variables().len(), two.beginning()), (None, 1, ""));
        assert_eq!(Template::read("${user}").unwrap().only(), Some(Variable::User));
        assert_eq!(Template::literal("${user}".into()).beginning(), "${user}");
    }
}
