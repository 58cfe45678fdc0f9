//! The state of correlations: matches in, firings out.
//!
//! For each correlation and group the matches of its rules are kept in order of event time. A new match may complete
//! any window that it lies in: those that end with it or, if it came late, with a later match. A window is closed on
//! both sides and as long as the timespan. After a firing the group stays quiet within a timespan of it on either
//! side, so that one incident fires once, whatever order its events came in.
//!
//! Times are those of the events. Whoever feeds this keeps times out that lie in the future.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::correlation::{Correlation, Counts};
use crate::event::Event;
use crate::group::{Group, Kept, Window};
use crate::limits;
use crate::rule::{Body, RuleIndex};
use crate::set::RuleSet;

/// What correlations remember. It is kept by rule key and serializes canonically, so it outlives a recompilation of
/// the rules; a correlation whose definition changed starts anew.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Correlator {
    rules: BTreeMap<String, State>,
    /// How many groups were forgotten because there were too many.
    pub evicted_groups: u64,
    /// How many matches were forgotten because there were too many.
    pub evicted_events: u64,
}

/// A correlation that came true.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fired {
    /// Which.
    pub correlation: RuleIndex,
    /// The fields that it groups by, and their values.
    pub group: Vec<(String, String)>,
    /// The end of its window, in microseconds.
    pub at_us: i64,
    /// The positions of the events within its window, by event time; at most [`limits::FIRED_POSITIONS_MAX`], the last.
    pub positions: Vec<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct State {
    shape: String,
    /// By the group's values in one string.
    groups: BTreeMap<String, Group>,
    /// The groups by when they were last touched, the longest ago first.
    touched: BTreeMap<u64, String>,
    touches: u64,
    /// How many matches all groups hold.
    events: usize,
}

/// A match on its way through the correlations.
#[derive(Clone)]
struct Match<'e> {
    rule: RuleIndex,
    at_us: i64,
    position: u64,
    event: &'e dyn Event,
    /// What the correlation that matched is grouped by.
    group: Vec<(String, String)>,
}

impl Correlator {
    /// Notes that a rule matched an event of this time and position, and says which correlations that made true,
    /// directly or through other correlations.
    pub fn observe(
        &mut self,
        rules: &RuleSet,
        rule: RuleIndex,
        at_us: i64,
        position: u64,
        event: &dyn Event,
    ) -> Vec<Fired> {
        let mut fired = Vec::new();
        let mut queue = vec![Match { rule, at_us, position, event, group: Vec::new() }];
        // Correlations are over rules that were compiled before them, so this ends.
        while let Some(next) = queue.pop() {
            for &watcher in rules.watchers(next.rule) {
                let Body::Correlation(correlation) = &rules.rule(watcher).body else { continue };
                for one in self.note(rules.rule(watcher).key(), watcher, correlation, &next) {
                    let (group, at_us) = (one.group.clone(), one.at_us);
                    queue.push(Match { rule: watcher, at_us, position, event, group });
                    fired.push(one);
                }
            }
        }
        fired
    }

    /// Forgets groups whose last event is so old that no window can use it, and correlations that are no more.
    pub fn expire(&mut self, rules: &RuleSet, now_us: i64) {
        let spans: BTreeMap<&str, i64> = rules
            .iter()
            .filter_map(|(_, rule)| match &rule.body {
                Body::Correlation(correlation) => Some((rule.key(), correlation.timespan_us)),
                Body::Detection(_) => None,
            })
            .collect();
        self.rules.retain(|key, state| match spans.get(key.as_str()) {
            Some(span) => {
                state.expire(now_us.saturating_sub(horizon(*span)));
                !state.groups.is_empty()
            }
            None => false,
        });
    }

    /// How many matches are remembered.
    #[must_use]
    pub fn events(&self) -> usize {
        self.rules.values().map(|state| state.events).sum()
    }

    /// How many groups are remembered.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.rules.values().map(|state| state.groups.len()).sum()
    }

    fn note(&mut self, key: &str, index: RuleIndex, correlation: &Correlation, found: &Match<'_>) -> Vec<Fired> {
        let Some((group, value)) = group_of(correlation, found).zip(counted_of(correlation, found)) else {
            return Vec::new();
        };
        let state = self.rules.entry(key.to_owned()).or_default();
        if state.shape != correlation.shape {
            *state = State { shape: correlation.shape.clone(), ..State::default() };
        }
        let name = joined(group.iter().map(|(_, value)| value.as_str()));
        let kept = Kept { at_us: found.at_us, position: found.position, value };
        let windows = state.add(&name, kept, correlation);
        let (evicted_groups, evicted_events) = state.shrink(&name, correlation.timespan_us);
        self.evicted_groups += evicted_groups;
        self.evicted_events += evicted_events;
        let fired = |(at_us, positions)| Fired { correlation: index, group: group.clone(), at_us, positions };
        windows.into_iter().map(fired).collect()
    }
}

impl State {
    /// Adds a match to its group, unless it is there already, and returns the windows that it completed.
    fn add(&mut self, name: &str, kept: Kept, correlation: &Correlation) -> Vec<Window> {
        let group = self.groups.entry(name.to_owned()).or_default();
        let (held, at_us, span_us) = (group.len(), kept.at_us, correlation.timespan_us);
        group.forget(at_us.saturating_sub(horizon(span_us)), span_us);
        let added = group.insert(kept, span_us);
        self.events = self.events - held + group.len();
        if !added {
            return Vec::new();
        }
        self.touched.remove(&group.touched);
        self.touches += 1;
        group.touched = self.touches;
        self.touched.insert(self.touches, name.to_owned());
        group.completed(at_us, correlation)
    }

    /// Forgets what is too much: the oldest events of this group, then the groups that were touched longest ago.
    /// Returns how many groups and events.
    fn shrink(&mut self, name: &str, span_us: i64) -> (u64, u64) {
        let (mut groups, mut events) = (0, 0);
        if let Some(group) = self.groups.get_mut(name) {
            while group.len() > limits::GROUP_EVENTS_MAX {
                group.forget_oldest(span_us);
                self.events -= 1;
                events += 1;
            }
        }
        while self.groups.len() > limits::GROUPS_MAX || self.events > limits::CORRELATION_EVENTS_MAX {
            let Some((_, oldest)) = self.touched.pop_first() else { break };
            if let Some(group) = self.groups.remove(&oldest) {
                self.events -= group.len();
                events += group.len() as u64;
                groups += 1;
            }
        }
        (groups, events)
    }

    fn expire(&mut self, before_us: i64) {
        let (touched, events) = (&mut self.touched, &mut self.events);
        self.groups.retain(|_, group| {
            let live = group.newest_us().is_some_and(|newest_us| newest_us >= before_us);
            if !live {
                touched.remove(&group.touched);
                *events -= group.len();
            }
            live
        });
    }
}

/// How far before a match others may still share a window with one that is late.
fn horizon(timespan_us: i64) -> i64 {
    timespan_us + limits::LATE_US
}

/// The fields that a correlation groups by and their values; `None` if one has no value.
fn group_of(correlation: &Correlation, found: &Match<'_>) -> Option<Vec<(String, String)>> {
    let one = |name: &String| Some((name.clone(), value_of(correlation, found, name)?));
    correlation.group_by.iter().map(one).collect()
}

/// What is counted of a match; empty where events are, `None` if it has nothing to count.
fn counted_of(correlation: &Correlation, found: &Match<'_>) -> Option<String> {
    match &correlation.counts {
        Counts::Events => Some(String::new()),
        Counts::Values(fields) => {
            let values = fields.iter().map(|field| value_of(correlation, found, field));
            Some(joined(values.collect::<Option<Vec<_>>>()?.iter().map(String::as_str)))
        }
        Counts::Rules => correlation.rules.iter().position(|rule| *rule == found.rule).map(|i| i.to_string()),
    }
}

/// The value of a field: of the group, if a correlation matched and is grouped by it, else of the event.
fn value_of(correlation: &Correlation, found: &Match<'_>, name: &str) -> Option<String> {
    let field = correlation.field(name, found.rule);
    if let Some((_, value)) = found.group.iter().find(|(grouped, _)| grouped == field) {
        return Some(value.clone());
    }
    let mut texts = Vec::new();
    found.event.field(field, &mut |value| texts.extend(value.text()));
    (!texts.is_empty()).then(|| bounded(texts.join(",")))
}

/// A value as it is kept. Of one that is too long the start and a digest (FNV-1a) of the whole are.
fn bounded(value: String) -> String {
    if value.len() <= limits::STATE_VALUE_BYTES_MAX {
        return value;
    }
    let digest =
        value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let start = value.floor_char_boundary(limits::STATE_VALUE_BYTES_MAX);
    format!("{}…{digest:016x}", &value[..start])
}

/// Values in one string, such that different values make different strings.
fn joined<'v>(values: impl Iterator<Item = &'v str>) -> String {
    values.map(|value| format!("{}:{value}", value.len())).collect()
}
