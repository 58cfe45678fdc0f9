//! Detect: rules become hits, hits become detections.
//!
//! [`Rules::screen`] and [`Rules::matcher`] need no memory of what came before and may run on several threads; [`Findings::judge`] runs in the order of
//! the log and holds the windows of correlations.

mod attributes;
mod mapped;
mod view;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vertice_model::{Detection, DetectionId, Entity, Event, LogSource, Matched, Position, Severity, Timestamp};
use vertice_sigma::{
    Compilation, Correlator, Fired, Matcher, Pipeline, RuleError, RuleIndex, RuleSet, Source, Verdict,
};

use crate::content::{ContentError, ContentFile};
use crate::limits;

pub use attributes::Attributes;
pub use mapped::{TEXT_FIELDS, Tables};
pub use view::View;

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    set: Arc<RuleSet>,
    attributes: Arc<[Attributes]>,
    tables: Tables,
}

/// A rule matched an event.
pub type Hit = RuleIndex;

/// What of a hit is judged at one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// The rule that matched.
    pub hit: Hit,
    /// Whether the rule's own detection is made there, if the rule makes any.
    pub own: bool,
    /// The correlations over the rule that count the match there.
    pub over: Vec<RuleIndex>,
}

/// A detection, before it has joined a threat.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The detection.
    pub detection: Detection,
    /// What the actor now holds, by the rule's own word.
    pub spreads_to: Option<Entity>,
    /// What the rule's status says of how often it is wrong: as if so many had been false, and so many true.
    pub prior: (u32, u32),
}

/// What judging remembers: the windows of correlations.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Findings {
    correlator: Correlator,
}

impl Rules {
    /// Compiles rule files, those that are not built in as the pipelines make them. A bad file is left out and named
    /// in `refused`.
    #[must_use]
    pub fn compile(files: &[&ContentFile], pipelines: &[&ContentFile], refused: &mut Vec<ContentError>) -> Rules {
        let read = pipelines.iter().map(|file| Pipeline::read(&file.path, &file.text));
        let (pipelines, errors): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        let pipelines = pipelines.into_iter().flatten().collect();
        refused.extend(errors.into_iter().filter_map(Result::err).map(error));
        let compilation = Compilation { pipelines, as_written: vec!["rules/".to_owned()], ..Compilation::default() };
        let files = files.iter().map(|f| (f.path.as_str(), f.text.as_str()));
        let (set, errors) = RuleSet::compile_with(files, &compilation);
        refused.extend(errors.into_iter().map(error));
        let attributes = set.iter().map(|(_, rule)| Attributes::of(rule, refused)).collect();
        Rules { set: Arc::new(set), attributes, tables: Tables::default() }
    }

    /// The same rules; where one names no technique, these tables suggest some.
    #[must_use]
    pub fn mapped_by(self, tables: Tables) -> Rules {
        Rules { tables, ..self }
    }

    /// What suggests techniques where a rule names none.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The rules themselves.
    #[must_use]
    pub fn set(&self) -> &RuleSet {
        &self.set
    }

    /// What a rule says to Vertice: class, confidence, severity, techniques.
    #[must_use]
    pub fn attributes(&self, rule: RuleIndex) -> &Attributes {
        &self.attributes[rule.number()]
    }

    /// What the status of the rule of this id says of how often it is wrong; `None` if there is no such rule.
    #[must_use]
    pub fn prior(&self, rule_id: &str) -> Option<(u32, u32)> {
        let found = self.set.iter().find(|(_, rule)| rule.key() == rule_id);
        found.map(|(index, _)| self.attributes(index).prior)
    }

    /// Whether a rule is for the logs that the event comes from.
    #[must_use]
    pub fn concerns(&self, rule: RuleIndex, event: &Event) -> bool {
        let wanted = &self.set.rule(rule).log_source;
        // Of no log source is an event that no mapping gave one; a rule that names nothing is for it too.
        event.log_sources.iter().any(|given| wanted.concerns(source(given))) || wanted.concerns(Source::default())
    }

    /// Every condition of a rule, and whether it holds of the event whatever log that comes from; `None` of a
    /// correlation.
    #[must_use]
    pub fn verdict(&self, rule: RuleIndex, event: &Event) -> Option<Verdict> {
        self.set.verdict(rule, &View(event))
    }

    /// The rules that match the event by itself, of those for its log sources.
    #[must_use]
    pub fn screen(&self, event: &dyn vertice_sigma::Event, sources: &[Source<'_>]) -> Vec<Hit> {
        let mut hits = self.set.matches(event, sources.iter().copied());
        hits.sort_unstable();
        hits
    }

    /// Whom a detection of this rule is about, made by this event.
    #[must_use]
    pub fn about(&self, rule: RuleIndex, event: &Event) -> Entity {
        let named = self.attributes(rule).entity.as_deref().and_then(|field| entity_of(event, field));
        named.or_else(|| event.entity.clone()).unwrap_or_else(|| whence(event))
    }

    /// What matches the same rules faster, on one thread and event by event.
    #[must_use]
    pub fn matcher(&self) -> Matcher<Arc<RuleSet>> {
        Matcher::new(Arc::clone(&self.set))
    }
}

fn error(error: RuleError) -> ContentError {
    ContentError {
        path: error.path,
        line: u64::from(error.line),
        column: u64::from(error.column),
        reason: error.reason,
    }
}

fn source(log_source: &LogSource) -> Source<'_> {
    Source {
        category: log_source.category.as_deref(),
        product: log_source.product.as_deref(),
        service: log_source.service.as_deref(),
    }
}

impl Findings {
    /// How many groups and how many matches of correlations were forgotten, since the log began, because there
    /// were too many.
    #[must_use]
    pub fn forgotten(&self) -> (u64, u64) {
        (self.correlator.evicted_groups, self.correlator.evicted_events)
    }

    /// Forgets the windows of correlations that these rules no longer have.
    pub fn adopt(&mut self, rules: &Rules) {
        // Age is no reason here: the times are those of events, which may be read long after they happened.
        self.correlator.expire(&rules.set, i64::MIN);
    }

    /// The detections of an event with hits, and of the correlations that it completes. `now` is when it was accepted.
    pub fn judge(&mut self, rules: &Rules, now: Timestamp, event: &Event, hits: &[Hit]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for hit in hits {
            if !rules.set.rule(*hit).silent {
                findings.push(finding(rules, now, event, *hit, rules.matched(*hit, event), Vec::new()));
            }
            let at_us = believed_us(now, event);
            let fired = self.correlator.observe(&rules.set, *hit, at_us, event.position.0, &View(event));
            findings.extend(audible(rules, now, event, &fired));
        }
        findings
    }

    /// As [`Findings::judge`], of those parts of its hits that are judged here.
    pub fn judge_shares(&mut self, rules: &Rules, now: Timestamp, event: &Event, shares: &[Share]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for Share { hit, own, over } in shares {
            if *own && !rules.set.rule(*hit).silent {
                findings.push(finding(rules, now, event, *hit, rules.matched(*hit, event), Vec::new()));
            }
            let (at_us, position) = (believed_us(now, event), event.position.0);
            let fired = self.correlator.observe_for(&rules.set, (*hit, over), at_us, position, &View(event));
            findings.extend(audible(rules, now, event, &fired));
        }
        findings
    }
}

/// When an event happened, for a window. A clock that runs ahead must not keep one open for what has not happened yet.
fn believed_us(now: Timestamp, event: &Event) -> i64 {
    event.timestamp.min(now).as_micros()
}

/// The detections of correlations that came true, without those that only serve others.
fn audible<'a>(
    rules: &'a Rules,
    now: Timestamp,
    event: &'a Event,
    fired: &'a [Fired],
) -> impl Iterator<Item = Finding> + 'a {
    let audible = fired.iter().filter(|fired| !rules.set.rule(fired.correlation).silent);
    audible.map(move |fired| correlated(rules, now, event, fired))
}

fn correlated(rules: &Rules, now: Timestamp, event: &Event, fired: &Fired) -> Finding {
    let of_group = |(field, value): &(String, String)| Matched {
        selection: "group-by".into(),
        field: field.clone(),
        wanted: String::new(),
        value: value.chars().take(limits::MATCHED_VALUE_CHARS_MAX).collect(),
    };
    let counted = Matched {
        selection: "condition".into(),
        field: String::new(),
        wanted: String::new(),
        value: format!("{} events", fired.positions.len()),
    };
    let matched = fired.group.iter().map(of_group).chain([counted]).collect();
    let mut earlier: Vec<Position> =
        fired.positions.iter().filter(|p| **p != event.position.0).map(|p| Position(*p)).collect();
    earlier.drain(..earlier.len().saturating_sub(limits::EARLIER_EVENTS_MAX));
    finding(rules, now, event, fired.correlation, matched, earlier)
}

impl Rules {
    fn matched(&self, rule: RuleIndex, event: &Event) -> Vec<Matched> {
        let explained = self.set.explain(rule, &View(event)).into_iter().take(limits::MATCHED_CONDITIONS_MAX);
        let matched = |m: vertice_sigma::Matched| Matched {
            selection: m.selection,
            field: m.field,
            wanted: m.wanted,
            value: m.value.chars().take(limits::MATCHED_VALUE_CHARS_MAX).collect(),
        };
        explained.map(matched).collect()
    }
}

fn finding(
    rules: &Rules,
    now: Timestamp,
    event: &Event,
    index: RuleIndex,
    matched: Vec<Matched>,
    earlier: Vec<Position>,
) -> Finding {
    let (rule, attributes) = (rules.set.rule(index), rules.attributes(index));
    let rule_id = rule.key().to_owned();
    let entity = rules.about(index, event);
    let spreads_to = attributes.spreads_to.as_deref().and_then(|field| entity_of(event, field));
    let others = ["source.ip", "destination.ip", "host.name", "user.name"].into_iter();
    let mut related: Vec<Entity> =
        others.filter_map(|field| entity_of(event, field)).filter(|e| *e != entity).collect();
    related.dedup();
    let tagged = &attributes.techniques;
    let suggested = if tagged.is_empty() { rules.tables.suggest(event) } else { Vec::new() };
    let mapped_by = (!suggested.is_empty()).then(|| mapped::MAPPER.to_owned());
    let detection = Detection {
        detection_id: DetectionId::derive(&format!("{}|{rule_id}", event.event_id)),
        event_id: event.event_id.clone(),
        position: event.position,
        earlier,
        rule_id,
        rule_title: rule.title.clone(),
        class: attributes.class.clone(),
        is_threat: attributes.severity >= Severity::Medium,
        confidence: attributes.confidence,
        severity: attributes.severity,
        mitre_techniques: if suggested.is_empty() { tagged.clone() } else { suggested },
        mitre_tactics: attributes.tactics.clone(),
        entity,
        related,
        matched,
        threat_id: None,
        timestamp: event.timestamp,
        accepted_at: now,
        triage: None,
        suppressed_by: None,
        mapped_by,
    };
    Finding { detection, spreads_to, prior: attributes.prior }
}

/// The entity that a field names; what kind it is shows in the field's name and value.
fn entity_of(event: &Event, field: &str) -> Option<Entity> {
    Entity::named_by(field, &event.fields.get(field)?.to_text())
}

/// An event that names nobody is about where it came from.
fn whence(event: &Event) -> Entity {
    Entity::host(&event.origin).unwrap_or_else(|| Entity::host("unknown").expect("a name"))
}
