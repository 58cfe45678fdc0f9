//! Correlations against an algorithm that counts every window anew.

use std::collections::{BTreeSet, VecDeque};

use serde_json::json;
use vertice_sigma::{Correlator, RuleSet, Source, limits};

use crate::random::Random;
use crate::support::JsonEvent;

const BASE: &str = "title: A\nname: a\nlogsource: {category: c}\ndetection: {s: {E|contains: a}, condition: s}\n---\n\
    title: B\nname: b\nlogsource: {category: c}\ndetection: {s: {E|contains: b}, condition: s}\n---\n\
    title: D\nname: d\nlogsource: {category: c}\ndetection: {s: {E|contains: d}, condition: s}\n---\n";

const SPAN: i64 = 10_000_000;

/// One group of a correlation: its matches in order, counted from the first to the last of each window.
#[derive(Default)]
struct Slow {
    /// Time, position, value.
    events: VecDeque<(i64, u64, String)>,
    fired: VecDeque<i64>,
}

impl Slow {
    fn observe(
        &mut self,
        at_us: i64,
        position: u64,
        value: String,
        enough: &dyn Fn(usize) -> bool,
    ) -> Vec<(i64, Vec<u64>)> {
        let before = at_us - SPAN - limits::LATE_US;
        self.events.retain(|event| event.0 >= before);
        self.fired.retain(|fired| *fired >= before);
        let one = (at_us, position, value);
        if self.events.contains(&one) {
            return Vec::new();
        }
        let at = self.events.partition_point(|other| (other.0, other.1) < (at_us, position));
        let counts_values = !one.2.is_empty();
        self.events.insert(at, one);
        let ends: BTreeSet<i64> = self.events.iter().map(|event| event.0).collect();
        let mut windows = Vec::new();
        for end in ends.into_iter().filter(|end| (at_us..=at_us + SPAN).contains(end)) {
            if self.fired.iter().any(|fired| (fired - end).abs() < SPAN) {
                continue;
            }
            let within = self.events.iter().filter(|event| (end - SPAN..=end).contains(&event.0));
            let values: BTreeSet<&str> = within.clone().map(|event| event.2.as_str()).collect();
            if enough(if counts_values { values.len() } else { within.clone().count() }) {
                let mut positions: Vec<u64> = within.map(|event| event.1).collect();
                positions.dedup();
                windows.push((end, positions));
                self.fired.push_back(end);
                if self.fired.len() > limits::FIRINGS_MAX {
                    self.fired.pop_front();
                }
            }
        }
        windows
    }
}

/// A condition as written, and as it is meant.
type Condition = (String, Box<dyn Fn(usize) -> bool>);

fn condition(random: &mut Random, most: usize) -> Condition {
    let n = 1 + random.below(most);
    match random.below(8) {
        0 => (format!("gt: {n}"), Box::new(move |count| count > n)),
        1 => (format!("eq: {n}"), Box::new(move |count| count == n)),
        2 => (format!("lt: {n}"), Box::new(move |count| count < n)),
        3 => (format!("neq: {n}"), Box::new(move |count| count != n)),
        4 => (format!("lte: {}, gte: {n}", n + 1), Box::new(move |count| (n..=n + 1).contains(&count))),
        5 => (format!("lte: {n}, neq: 1"), Box::new(move |count| count <= n && count != 1)),
        _ => (format!("gte: {n}"), Box::new(move |count| count >= n)),
    }
}

/// Times in microseconds: in order, a little out of it, with many at once, without any order, with long pauses.
fn times(random: &mut Random, many: usize) -> Vec<i64> {
    let (order, step) = (random.below(5), 1 + random.below(40));
    let mut now = 0;
    let second = 1_000_000;
    let one = |_| {
        now += random.below(step) as i64 * second / 8;
        let pause = order == 4 && random.below(20) == 0;
        now += if pause { random.below(5_000) as i64 * second } else { 0 };
        match order {
            0 => now,
            1 => now - random.below(3) as i64 * second,
            2 => now / (3 * second) * 3 * second,
            3 => random.below(60) as i64 * second,
            _ => now - random.below(30) as i64 * second,
        }
    };
    (0..many).map(one).collect()
}

#[test]
fn every_stream_fires_what_counting_anew_fires() {
    let mut random = Random(29);
    let (mut fires, mut seen) = (0, [0; 3]);
    for case in 0..1_000 {
        let kind = random.below(3);
        let values = 1 + random.below(12);
        let (written, enough) = condition(&mut random, if kind == 2 { 3 } else { 12 });
        let (name, field) = [("event_count", ""), ("value_count", ", field: V"), ("temporal", "")][kind];
        let correlation = format!(
            "title: C\ncorrelation: {{type: {name}, rules: [a, b, d], timespan: 10s, condition: {{{written}{field}}}}}\n"
        );
        let (rules, refused) = RuleSet::compile([("t.yml", (BASE.to_owned() + &correlation).as_str())]);
        assert!(refused.is_empty(), "{refused:?} {correlation}");
        let (mut fast, mut slow) = (Correlator::default(), Slow::default());
        let many = 20 + random.below(120);
        for (i, at_us) in times(&mut random, many).into_iter().enumerate() {
            let value = random.below(values).to_string();
            let event = JsonEvent::new(json!({"E": random.pick(&["a", "b", "d", "ab", "abd"]), "V": value}));
            let matched = rules.matches(&event, [Source { category: Some("c"), ..Source::default() }]);
            for rule in matched {
                let counted = match kind {
                    0 => String::new(),
                    1 => value.clone(),
                    _ => rules.rule(rule).title.clone(),
                };
                let found = fast.observe(&rules, rule, at_us, i as u64, &event);
                let found: Vec<_> = found.into_iter().map(|fired| (fired.at_us, fired.positions)).collect();
                let expected = slow.observe(at_us, i as u64, counted, &enough);
                assert_eq!(found, expected, "{case}, {i}: {correlation}");
                fires += expected.len();
                seen[kind] += expected.len();
            }
            assert_eq!(fast.events(), slow.events.len(), "{case}, {i}: {correlation}");
            if random.below(40) == 0 {
                fast = reread(&fast);
            }
        }
    }
    assert!(fires > 2_000 && seen.iter().all(|n| *n > 500), "{fires} {seen:?}");
}

/// The state as it comes back from where it is kept, where nothing of it is lost.
fn reread(state: &Correlator) -> Correlator {
    let kept = serde_json::to_string(state).expect("the state serializes");
    let back: Correlator = serde_json::from_str(&kept).expect("the state is read again");
    assert_eq!(&back, state);
    assert_eq!(serde_json::to_string(&back).expect("it serializes"), kept);
    back
}

#[test]
fn a_full_group_counts_what_it_still_holds() {
    let max = limits::GROUP_EVENTS_MAX;
    let correlation = format!(
        "title: C\ncorrelation: {{type: value_count, rules: a, timespan: 1h, condition: {{gte: {max}, field: V}}}}\n"
    );
    let (rules, refused) = RuleSet::compile([("t.yml", (BASE.to_owned() + &correlation).as_str())]);
    assert!(refused.is_empty(), "{refused:?}");
    let (rule, mut state, mut position) = (rules.iter().next().expect("there is a rule").0, Correlator::default(), 0);
    let mut observe = |value: usize| {
        position += 1;
        let event = JsonEvent::new(json!({"V": value}));
        let fired = state.observe(&rules, rule, position as i64 * 1_000, position, &event);
        (fired.len(), state.events(), state.evicted_events)
    };
    assert_eq!(observe(0), (0, 1, 0));
    assert_eq!(observe(0), (0, 2, 0));
    for value in 1..max - 1 {
        assert_eq!(observe(value).0, 0, "{value}");
    }
    // Full, and a value too few. Now both of the first pair are pushed out, and their value with them.
    assert_eq!(observe(1), (0, max, 1));
    assert_eq!(observe(2), (0, max, 2));
    assert_eq!(observe(max), (0, max, 3));
    assert_eq!(observe(max + 1), (1, max, 4));
}
