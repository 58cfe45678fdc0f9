//! What a rule says to Vertice, beyond Sigma: its class, its confidence, whom it is about.

use vertice_model::{Confidence, Severity, Tactic, Technique};
use vertice_sigma::yaml::{Line, Node};
use vertice_sigma::{Level, Rule, Status};

use crate::content::ContentError;

/// What a rule says to Vertice.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributes {
    /// The class of its detections, which playbooks wait for.
    pub class: Option<String>,
    /// How sure it is.
    pub confidence: Confidence,
    /// How bad it is, from its `level`; `medium` where it has none.
    pub severity: Severity,
    /// The ATT&CK techniques of its tags.
    pub techniques: Vec<Technique>,
    /// The ATT&CK tactics of its tags.
    pub tactics: Vec<Tactic>,
    /// The field that names whom it is about, instead of the event's own choice.
    pub entity: Option<String>,
    /// The field that names what the actor now holds.
    pub spreads_to: Option<String>,
    /// What its status says of how often it is wrong: as if so many of its detections had been false, and so many true.
    pub prior: (u32, u32),
}

const KEYS: [&str; 4] = ["class", "confidence", "entity", "spreads_to"];

impl Attributes {
    /// Reads a rule's tags and its `vertice` attribute. What is wrong with the attribute is added to `refused`,
    /// and the rule stands without it.
    #[must_use]
    pub fn of(rule: &Rule, refused: &mut Vec<ContentError>) -> Attributes {
        let mut attributes = Attributes {
            class: None,
            confidence: usual_confidence(rule.status),
            severity: rule.level.map_or(Severity::Medium, severity),
            techniques: tagged(rule, |name| name.parse().ok()),
            tactics: tagged(rule, Tactic::from_slug),
            entity: None,
            spreads_to: None,
            prior: usual_prior(rule.status),
        };
        let Some(node) = rule.attributes.get("vertice") else { return attributes };
        if let Err((line, reason)) = attributes.read(node) {
            let (line, column) = (u64::from(line.number), u64::from(line.column));
            refused.push(ContentError { path: rule.path.clone(), line, column, reason });
        }
        attributes
    }

    fn read(&mut self, node: &Node) -> Result<(), (Line, String)> {
        if node.entries().is_empty() {
            return Err((node.line, format!("vertice: a map of {} is meant, not {}", KEYS.join(", "), node.what())));
        }
        for entry in node.entries() {
            let wrong = |meant: &str| {
                (entry.line, format!("vertice.{}: {meant} is meant, not {}", entry.key, entry.value.what()))
            };
            let text = || entry.value.as_text().map(str::to_owned).ok_or_else(|| wrong("text"));
            match entry.key.as_str() {
                "class" => self.class = Some(text()?),
                "entity" => self.entity = Some(text()?),
                "spreads_to" => self.spreads_to = Some(text()?),
                "confidence" => {
                    let percent = entry.value.written().and_then(|t| t.parse().ok()).and_then(Confidence::new);
                    self.confidence = percent.ok_or_else(|| wrong("a whole number from 0 to 100"))?;
                }
                _ => {
                    return Err((
                        entry.line,
                        format!("vertice.{}: there is no such key; there are {}", entry.key, KEYS.join(", ")),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What a rule's `attack.…` tags say, each thing once.
fn tagged<T: PartialEq>(rule: &Rule, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    for thing in rule.tags.iter().filter_map(|tag| read(tag.strip_prefix("attack.")?)) {
        if !found.contains(&thing) {
            found.push(thing);
        }
    }
    found
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Informational => Severity::Info,
        Level::Low => Severity::Low,
        Level::Medium => Severity::Medium,
        Level::High => Severity::High,
        Level::Critical => Severity::Critical,
    }
}

/// How sure a rule is that says nothing of it: by its status, as the field reads these words.
fn usual_confidence(status: Option<Status>) -> Confidence {
    let percent = match status {
        Some(Status::Stable) => 90,
        Some(Status::Test) => 75,
        Some(Status::Experimental) | None => 60,
        Some(Status::Deprecated | Status::Unsupported) => 40,
    };
    Confidence::new(percent).expect("at most 100")
}

/// How often a rule is wrong before anybody judged it: seldom where it is long in use, as often as not where it is new.
/// Weak, so that a handful of verdicts say more.
const fn usual_prior(status: Option<Status>) -> (u32, u32) {
    match status {
        Some(Status::Stable) => (1, 3),
        Some(Status::Test) => (1, 2),
        Some(Status::Experimental) | None => (1, 1),
        Some(Status::Deprecated | Status::Unsupported) => (2, 1),
    }
}

#[cfg(test)]
mod tests {
    use vertice_sigma::RuleSet;

    use super::*;

    fn attributes(more: &str) -> (Attributes, Vec<String>) {
        let text = format!("title: t\nlogsource: {{product: p}}\ndetection: {{s: {{a: 1}}, condition: s}}\n{more}");
        let (set, errors) = RuleSet::compile([("r.yml", text.as_str())]);
        assert_eq!(errors.len(), 0, "{errors:?}");
        let mut refused = Vec::new();
        let (_, rule) = set.iter().next().expect("one rule");
        let attributes = Attributes::of(rule, &mut refused);
        (attributes, refused.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_rule_without_the_attribute_is_judged_by_its_level_and_status() {
        let (a, refused) = attributes("level: high\nstatus: stable\n");
        assert_eq!((a.severity, a.confidence.percent(), a.class), (Severity::High, 90, None));
        assert!(refused.is_empty());
        let of = |more: &str| attributes(more).0;
        assert_eq!((of("").severity, of("").confidence.percent()), (Severity::Medium, 60));
        let by_status = ["test", "experimental", "deprecated", "unsupported"].map(|s| of(&format!("status: {s}\n")));
        assert_eq!(by_status.map(|a| a.confidence.percent()), [75, 60, 40, 40]);
        let by_level = ["informational", "low", "medium", "critical"].map(|l| of(&format!("level: {l}\n")));
        let wanted = [Severity::Info, Severity::Low, Severity::Medium, Severity::Critical];
        assert_eq!(by_level.map(|a| a.severity), wanted);
    }

    #[test]
    fn tags_become_techniques_and_tactics() {
        let (a, _) = attributes(
            "tags: [attack.t1110.001, attack.credential-access, attack.credential_access, attack.g0007, cve.2021-1]\n",
        );
        assert_eq!(a.techniques.iter().map(Technique::as_str).collect::<Vec<_>>(), ["T1110.001"]);
        assert_eq!(a.tactics, [Tactic::CredentialAccess]);
    }

    #[test]
    fn the_attribute_is_read_and_what_is_wrong_is_named() {
        let (a, refused) =
            attributes("vertice: {class: c, confidence: 85, entity: source.ip, spreads_to: host.name}\n");
        assert_eq!((a.class.as_deref(), a.confidence.percent()), (Some("c"), 85));
        assert_eq!((a.entity.as_deref(), a.spreads_to.as_deref()), (Some("source.ip"), Some("host.name")));
        assert!(refused.is_empty());
        for (more, wanted) in [
            (
                "vertice: 1",
                "r.yml:4:10: vertice: a map of class, confidence, entity, spreads_to is meant, not a number",
            ),
            ("vertice: {klass: c}", "r.yml:4:11: vertice.klass: there is no such key"),
            ("vertice:\n  confidence: 101", "r.yml:5:3: vertice.confidence: a whole number from 0 to 100 is meant"),
            ("vertice:\n  class: [a]", "r.yml:5:3: vertice.class: text is meant, not a list"),
        ] {
            let (_, refused) = attributes(&format!("{more}\n"));
            assert!(refused.len() == 1 && refused[0].starts_with(wanted), "{more}: {refused:?}");
        }
    }
}
