//! The state of correlations: matches in, firings out.
//!
//! For each correlation and group the matches of its rules are kept in order of event time; which of its windows fire is
//! told in `group.rs`. Times are those of the events. Whoever feeds this keeps times out that lie in the future.
//!
//! # Events that come late
//!
//! A match may be late by [`limits::late_us`]: then as many detections come of each group as come of the matches in order,
//! whatever their order. This holds at once of conditions that more matches can only make true (`event_count`,
//! `value_count` and `value_sum` with `gt` or `gte`; `temporal` without `not`; `temporal_ordered`). All other conditions
//! must see the matches in order, and so must correlations over correlations, which follow the times at which the inner
//! ones fired. For these ([`RuleSet::waits`]) there is [`crate::Waiting`], which holds a match back for
//! [`limits::WAIT_US`] until those before it have come. Whoever does not need that calls [`Correlator::observe`] for
//! all, and gets each answer at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::correlation::{Correlation, Counts};
use crate::event::Event;
use crate::group::{Counted, Firing, Group, Kept};
use crate::index::digest;
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
    /// How many matches were not counted because they were older than the window of their group.
    pub late_events: u64,
    /// How many matches are held.
    held: usize,
    #[serde(skip)]
    bounds: Bounds,
}

/// How many matches a [`Correlator`] holds at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Of one group; [`limits::GROUP_EVENTS_MAX`].
    pub group_events: usize,
    /// Of all correlations together; [`limits::CORRELATED_EVENTS_MAX`].
    pub events: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { group_events: limits::GROUP_EVENTS_MAX, events: limits::CORRELATED_EVENTS_MAX }
    }
}

/// Which correlations a match is shown to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shown<'r> {
    All,
    /// Of the correlations over the rule itself only these; of those over them all.
    Only(&'r [RuleIndex]),
    /// Those that need not see their matches in order.
    AtOnce,
    /// The others.
    InOrder,
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
    /// One that holds less than the limits allow, for a small machine. The bounds are not serialized.
    #[must_use]
    pub fn bounded(bounds: Bounds) -> Correlator {
        Correlator { bounds, ..Correlator::default() }
    }

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
        self.show(rules, Match { rule, at_us, position, event, group: Vec::new() }, Shown::All)
    }

    /// As [`Correlator::observe`], for these of the correlations over the rule ([`RuleSet::watchers`]) and for those that
    /// are over them in turn.
    pub fn observe_for(
        &mut self,
        rules: &RuleSet,
        (rule, watchers): (RuleIndex, &[RuleIndex]),
        at_us: i64,
        position: u64,
        event: &dyn Event,
    ) -> Vec<Fired> {
        self.show(rules, Match { rule, at_us, position, event, group: Vec::new() }, Shown::Only(watchers))
    }

    /// As [`Correlator::observe`], for the correlations only that need not see their matches in order.
    pub fn observe_at_once(
        &mut self,
        rules: &RuleSet,
        rule: RuleIndex,
        at_us: i64,
        position: u64,
        event: &dyn Event,
    ) -> Vec<Fired> {
        self.show(rules, Match { rule, at_us, position, event, group: Vec::new() }, Shown::AtOnce)
    }

    /// As [`Correlator::observe`], for the correlations only that must see their matches in order: of a rule that
    /// [`RuleSet::waits`], once the matches before it have come.
    pub fn observe_in_order(
        &mut self,
        rules: &RuleSet,
        rule: RuleIndex,
        at_us: i64,
        position: u64,
        event: &dyn Event,
    ) -> Vec<Fired> {
        self.show(rules, Match { rule, at_us, position, event, group: Vec::new() }, Shown::InOrder)
    }

    fn show(&mut self, rules: &RuleSet, found: Match<'_>, shown: Shown<'_>) -> Vec<Fired> {
        let (mut fired, rule) = (Vec::new(), found.rule);
        let mut queue = vec![found];
        // Correlations are over rules that were compiled before them, so this ends.
        while let Some(next) = queue.pop() {
            for &watcher in rules.watchers(next.rule) {
                let Body::Correlation(correlation) = &rules.rule(watcher).body else { continue };
                let passed_over = match shown {
                    Shown::All => false,
                    Shown::Only(only) => next.rule == rule && !only.contains(&watcher),
                    Shown::AtOnce => correlation.waits,
                    Shown::InOrder => !correlation.waits,
                };
                if passed_over {
                    continue;
                }
                for one in self.note(rules.rule(watcher).key(), watcher, correlation, &next) {
                    let (group, at_us) = (one.group.clone(), one.at_us);
                    queue.push(Match { rule: watcher, at_us, group, ..next });
                    fired.push(one);
                }
            }
        }
        fired
    }

    /// Forgets groups whose last event is so old that no window can use it, and correlations that are no more.
    pub fn expire(&mut self, rules: &RuleSet, now_us: i64) {
        let horizons: BTreeMap<&str, i64> = rules
            .iter()
            .filter_map(|(_, rule)| match &rule.body {
                Body::Correlation(correlation) => Some((rule.key(), correlation.horizon_us())),
                Body::Detection(_) => None,
            })
            .collect();
        self.rules.retain(|key, state| match horizons.get(key.as_str()) {
            Some(horizon_us) => {
                state.expire(now_us.saturating_sub(*horizon_us));
                !state.groups.is_empty()
            }
            None => false,
        });
        self.held = self.rules.values().map(|state| state.events).sum();
    }

    /// How many matches are remembered.
    #[must_use]
    pub fn events(&self) -> usize {
        self.held
    }

    /// How many groups are remembered.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.rules.values().map(|state| state.groups.len()).sum()
    }

    fn note(&mut self, key: &str, index: RuleIndex, correlation: &Correlation, found: &Match<'_>) -> Vec<Fired> {
        let Some((group, counted)) = group_of(correlation, found).zip(counted_of(correlation, found)) else {
            return Vec::new();
        };
        let state = self.rules.entry(key.to_owned()).or_default();
        if state.shape != correlation.shape {
            self.held -= state.events;
            *state = State { shape: correlation.shape.clone(), ..State::default() };
        }
        let held = state.events;
        let name = joined(group.iter().map(|(_, value)| value.as_str()));
        let kept = Kept { at_us: found.at_us, position: found.position, counted };
        let (late, windows) = state.add(&name, kept, correlation);
        let evicted = state.shrink(&name, correlation, self.bounds.group_events);
        self.held = self.held - held + state.events;
        self.late_events += u64::from(late);
        self.evict(evicted);
        self.shrink();
        let fired = |(at_us, positions)| Fired { correlation: index, group: group.clone(), at_us, positions };
        windows.into_iter().map(fired).collect()
    }

    /// Takes groups from the correlation that holds most, while all together hold too much.
    fn shrink(&mut self) {
        while self.held > self.bounds.events {
            let Some(largest) = self.rules.values_mut().max_by_key(|state| state.events) else { break };
            let held = largest.events;
            let evicted = largest.forget_group();
            self.held = self.held - held + largest.events;
            self.evict(evicted);
            if evicted == (0, 0) {
                break;
            }
        }
    }

    fn evict(&mut self, (groups, events): (u64, u64)) {
        self.evicted_groups += groups;
        self.evicted_events += events;
    }
}

impl State {
    /// Adds a match to its group, unless it is there already or too late, and returns whether it is too late and the
    /// windows that it completed.
    fn add(&mut self, name: &str, kept: Kept, correlation: &Correlation) -> (bool, Vec<Firing>) {
        let group = self.groups.entry(name.to_owned()).or_default();
        let held = group.len();
        let noted = group.note(kept, correlation);
        self.events = self.events - held + group.len();
        if noted.kept {
            self.touched.remove(&group.touched);
            self.touches += 1;
            group.touched = self.touches;
            self.touched.insert(self.touches, name.to_owned());
        }
        (noted.late, noted.fired)
    }

    /// Forgets what is too much: the oldest events of this group, then the groups that were touched longest ago.
    /// Returns how many groups and events.
    fn shrink(&mut self, name: &str, correlation: &Correlation, events_max: usize) -> (u64, u64) {
        let (mut groups, mut events) = (0, 0);
        if let Some(group) = self.groups.get_mut(name) {
            while group.len() > events_max {
                group.forget_oldest(correlation);
                self.events -= 1;
                events += 1;
            }
        }
        while self.groups.len() > limits::GROUPS_MAX {
            let forgotten = self.forget_group();
            groups += forgotten.0;
            events += forgotten.1;
            if forgotten == (0, 0) {
                break;
            }
        }
        (groups, events)
    }

    /// Forgets the group that was touched longest ago. Returns how many groups and events that are.
    fn forget_group(&mut self) -> (u64, u64) {
        let oldest = self.touched.pop_first().and_then(|(_, oldest)| self.groups.remove(&oldest));
        let Some(oldest) = oldest else { return (0, 0) };
        self.events -= oldest.len();
        (1, oldest.len() as u64)
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

impl RuleSet {
    /// The fields that a correlation groups by and their values in an event that one of its rules matched, as
    /// [`Correlator`] takes them; `None` if one has no value, for then the correlation does not count the event, and of
    /// what is no correlation.
    #[must_use]
    pub fn group(&self, correlation: RuleIndex, rule: RuleIndex, event: &dyn Event) -> Option<Vec<(String, String)>> {
        match &self.rule(correlation).body {
            Body::Correlation(correlation) => {
                let found = Match { rule, at_us: 0, position: 0, event, group: Vec::new() };
                group_of(correlation, &found)
            }
            Body::Detection(_) => None,
        }
    }
}

/// The fields that a correlation groups by and their values; `None` if one has no value.
fn group_of(correlation: &Correlation, found: &Match<'_>) -> Option<Vec<(String, String)>> {
    let one = |name: &String| Some((name.clone(), value_of(correlation, found, name)?));
    correlation.group_by.iter().map(one).collect()
}

/// What is counted of a match; `None` if it has nothing to count.
fn counted_of(correlation: &Correlation, found: &Match<'_>) -> Option<Counted> {
    match &correlation.counts {
        Counts::Events => Some(Counted::Event),
        Counts::Values(fields) => {
            let values = fields.iter().map(|field| value_of(correlation, found, field));
            let values = values.collect::<Option<Vec<_>>>()?;
            Some(Counted::Text(joined(values.iter().map(String::as_str)).into()))
        }
        Counts::Rules(_) | Counts::RuleCount | Counts::RulesInOrder => {
            let rule = correlation.rules.iter().position(|rule| *rule == found.rule)?;
            u16::try_from(rule).ok().map(Counted::Rule)
        }
        Counts::Sum(field) | Counts::Average(field) | Counts::Percentile(field, _) => {
            Amount::parse(&value_of(correlation, found, field)?).map(Counted::Amount)
        }
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
    let digest = digest(&value);
    let start = value.floor_char_boundary(limits::STATE_VALUE_BYTES_MAX);
    format!("{}…{digest:016x}", &value[..start])
}

/// Values in one string, such that different values make different strings.
fn joined<'v>(values: impl Iterator<Item = &'v str>) -> String {
    values.map(|value| format!("{}:{value}", value.len())).collect()
}
