//! The state of correlations: matches in, firings out.
//!
//! For each correlation and group the matches of its rules are kept in order of event time. A new match may complete
//! any window that it lies in: those that end with it or, if it came late, with a later match. A window is closed on
//! both sides and as long as the timespan. After a firing the group stays quiet within a timespan of it on either
//! side, so that one incident fires once, whatever order its events came in.
//!
//! Times are those of the events. Whoever feeds this keeps times out that lie in the future.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::correlation::{Correlation, Counts};
use crate::event::Event;
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

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
struct Group {
    touched: u64,
    /// By time, then position.
    events: VecDeque<Kept>,
    /// The ends of the windows that fired, by when they did.
    fired: VecDeque<i64>,
}

/// A match of one of the rules that a correlation is over.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Kept {
    at_us: i64,
    position: u64,
    /// What is counted; empty where events are.
    value: String,
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
                let Some(one) = self.note(rules.rule(watcher).key(), watcher, correlation, &next) else { continue };
                let (group, at_us) = (one.group.clone(), one.at_us);
                queue.push(Match { rule: watcher, at_us, position, event, group });
                fired.push(one);
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

    fn note(&mut self, key: &str, index: RuleIndex, correlation: &Correlation, found: &Match<'_>) -> Option<Fired> {
        let group = group_of(correlation, found)?;
        let value = match &correlation.counts {
            Counts::Events => String::new(),
            Counts::Values(fields) => {
                let values = fields.iter().map(|field| value_of(correlation, found, field));
                joined(values.collect::<Option<Vec<_>>>()?.iter().map(String::as_str))
            }
            Counts::Rules => correlation.rules.iter().position(|rule| *rule == found.rule)?.to_string(),
        };
        if !self.rules.contains_key(key) {
            self.rules.insert(key.to_owned(), State::default());
        }
        let state = self.rules.get_mut(key)?;
        if state.shape != correlation.shape {
            *state = State { shape: correlation.shape.clone(), ..State::default() };
        }
        let name = joined(group.iter().map(|(_, value)| value.as_str()));
        let kept = Kept { at_us: found.at_us, position: found.position, value };
        let window = state.add(&name, kept, correlation)?;
        let (evicted_groups, evicted_events) = state.shrink(&name);
        self.evicted_groups += evicted_groups;
        self.evicted_events += evicted_events;
        let (at_us, positions) = window?;
        Some(Fired { correlation: index, group, at_us, positions })
    }
}

/// A window that fired: its end, and the positions within it.
type Window = (i64, Vec<u64>);

impl State {
    /// Adds a match to its group; `None` if it was there already, else the window that it completed.
    fn add(&mut self, name: &str, kept: Kept, correlation: &Correlation) -> Option<Option<Window>> {
        let group = self.groups.entry(name.to_owned()).or_default();
        let held = group.events.len();
        group.forget(kept.at_us.saturating_sub(horizon(correlation.timespan_us)));
        let added = group.insert(kept);
        self.events = self.events - held + group.events.len();
        let at = added?;
        self.touched.remove(&group.touched);
        self.touches += 1;
        group.touched = self.touches;
        self.touched.insert(self.touches, name.to_owned());
        Some(group.completed(at, correlation))
    }

    /// Forgets what is too much: the oldest events of this group, then the groups that were touched longest ago.
    /// Returns how many groups and events.
    fn shrink(&mut self, name: &str) -> (u64, u64) {
        let (mut groups, mut events) = (0, 0);
        if let Some(group) = self.groups.get_mut(name) {
            while group.events.len() > limits::GROUP_EVENTS_MAX {
                group.events.pop_front();
                self.events -= 1;
                events += 1;
            }
        }
        while self.groups.len() > limits::GROUPS_MAX || self.events > limits::CORRELATION_EVENTS_MAX {
            let Some((_, oldest)) = self.touched.pop_first() else { break };
            if let Some(group) = self.groups.remove(&oldest) {
                self.events -= group.events.len();
                events += group.events.len() as u64;
                groups += 1;
            }
        }
        (groups, events)
    }

    fn expire(&mut self, before_us: i64) {
        let (touched, events) = (&mut self.touched, &mut self.events);
        self.groups.retain(|_, group| {
            let live = group.events.back().is_some_and(|last| last.at_us >= before_us);
            if !live {
                touched.remove(&group.touched);
                *events -= group.events.len();
            }
            live
        });
    }
}

impl Group {
    fn forget(&mut self, before_us: i64) {
        while self.events.front().is_some_and(|kept| kept.at_us < before_us) {
            self.events.pop_front();
        }
        self.fired.retain(|fired| *fired >= before_us);
    }

    /// Puts a match in its place and returns that; `None` if it is there already, because an event matched several of
    /// the rules.
    fn insert(&mut self, kept: Kept) -> Option<usize> {
        let order = |other: &Kept| (other.at_us, other.position).cmp(&(kept.at_us, kept.position));
        let at = self.events.partition_point(|other| order(other).is_lt());
        let same = self.events.range(at..).take_while(|other| order(other).is_eq());
        if same.into_iter().any(|other| other.value == kept.value) {
            return None;
        }
        self.events.insert(at, kept);
        Some(at)
    }

    /// The first window with the match at this place that fires.
    fn completed(&mut self, at: usize, correlation: &Correlation) -> Option<Window> {
        let span = correlation.timespan_us;
        let new_us = self.events.get(at)?.at_us;
        let mut window = Counted::new(&correlation.counts);
        let mut start = self.events.partition_point(|kept| kept.at_us < new_us.saturating_sub(span));
        let first = start;
        for end in first..self.events.len() {
            let end_us = self.events[end].at_us;
            if end_us.saturating_sub(span) > new_us {
                break;
            }
            window.add(&self.events[end].value);
            while self.events[start].at_us < end_us.saturating_sub(span) {
                window.remove(&self.events[start].value);
                start += 1;
            }
            // Events of one time end one window together.
            let more = self.events.get(end + 1).is_some_and(|next| next.at_us == end_us);
            let quiet = || self.fired.iter().any(|fired| fired.abs_diff(end_us) < span.unsigned_abs());
            if end_us >= new_us && !more && correlation.satisfied(window.count()) && !quiet() {
                let from = start.max((end + 1).saturating_sub(limits::FIRED_POSITIONS_MAX));
                let mut positions: Vec<u64> = self.events.range(from..=end).map(|kept| kept.position).collect();
                positions.dedup();
                self.fired.push_back(end_us);
                if self.fired.len() > limits::FIRINGS_MAX {
                    self.fired.pop_front();
                }
                return Some((end_us, positions));
            }
        }
        None
    }
}

/// What is counted of a window that moves.
enum Counted<'k> {
    Events(usize),
    /// How often each value is within it.
    Values(BTreeMap<&'k str, usize>),
}

impl<'k> Counted<'k> {
    fn new(counts: &Counts) -> Counted<'k> {
        match counts {
            Counts::Events => Counted::Events(0),
            Counts::Values(_) | Counts::Rules => Counted::Values(BTreeMap::new()),
        }
    }

    fn add(&mut self, value: &'k str) {
        match self {
            Counted::Events(count) => *count += 1,
            Counted::Values(values) => *values.entry(value).or_default() += 1,
        }
    }

    fn remove(&mut self, value: &str) {
        match self {
            Counted::Events(count) => *count -= 1,
            Counted::Values(values) => {
                if let Some(count) = values.get_mut(value) {
                    *count -= 1;
                    if *count == 0 {
                        values.remove(value);
                    }
                }
            }
        }
    }

    fn count(&self) -> usize {
        match self {
            Counted::Events(count) => *count,
            Counted::Values(values) => values.len(),
        }
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
