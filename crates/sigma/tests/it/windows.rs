//! Correlations against an algorithm that counts every window anew.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use vertice_sigma::{Bounds, Correlator, Fired, RuleIndex, RuleSet, Source, Waiting, limits};

use crate::random::Random;
use crate::support::JsonEvent;

const BASE: &str = "title: A\nname: a\nlogsource: {category: c}\ndetection: {s: {E|contains: a}, condition: s}\n---\n\
    title: B\nname: b\nlogsource: {category: c}\ndetection: {s: {E|contains: b}, condition: s}\n---\n\
    title: D\nname: d\nlogsource: {category: c}\ndetection: {s: {E|contains: d}, condition: s}\n---\n";

const SPAN: i64 = 10_000_000;

/// A match: its time, position, rule (0 to 2) and value.
type Seen = (i64, u64, usize, i64);

/// What must hold of the matches of a window.
type Holds = Box<dyn Fn(&[Seen]) -> bool>;

/// A correlation as written, what it means, and whether more matches can only make it true.
struct Kind {
    lines: String,
    holds: Holds,
    grows: bool,
}

fn values(window: &[Seen]) -> Vec<i64> {
    // An event that several rules match counts once.
    let events: BTreeMap<u64, i64> = window.iter().map(|seen| (seen.1, seen.3)).collect();
    let mut values: Vec<i64> = events.into_values().collect();
    values.sort_unstable();
    values
}

fn has(window: &[Seen], rule: usize) -> bool {
    window.iter().any(|seen| seen.2 == rule)
}

/// Whether the rules have matches one after the other, or at the same time.
fn in_order(window: &[Seen]) -> bool {
    let next = |at_us: i64, rule: usize| {
        window.iter().filter(|seen| seen.2 == rule && seen.0 >= at_us).map(|seen| seen.0).min()
    };
    (0..3).try_fold(i64::MIN, next).is_some()
}

/// A condition on a number, in hundredths.
fn condition(random: &mut Random, most: usize) -> (String, Box<dyn Fn(i64) -> bool>, bool) {
    let n = 1 + random.below(most) as i64;
    match random.below(8) {
        0 => (format!("gt: {n}"), Box::new(move |x| x > 100 * n), true),
        1 => (format!("eq: {n}"), Box::new(move |x| x == 100 * n), false),
        2 => (format!("lt: {n}"), Box::new(move |x| x < 100 * n), false),
        3 => (format!("neq: {n}"), Box::new(move |x| x != 100 * n), false),
        4 => (format!("lte: {}, gte: {n}", n + 1), Box::new(move |x| (100 * n..=100 * n + 100).contains(&x)), false),
        5 => (format!("gt: {n}, gte: 2"), Box::new(move |x| x > 100 * n && x >= 200), true),
        _ => (format!("gte: {n}"), Box::new(move |x| x >= 100 * n), true),
    }
}

const KINDS: usize = 11;

fn kind(random: &mut Random, number: usize) -> Kind {
    let plain = |name: &str, condition: &str, holds: Holds, grows: bool| Kind {
        lines: format!("type: {name}, rules: [a, b, d], timespan: 10s, condition: {condition}"),
        holds,
        grows,
    };
    let (written, enough, grows) = condition(random, if number == 2 { 3 } else { 12 });
    let percent = random.pick(&[0, 10, 50, 90, 95, 100]);
    match number {
        0 => plain(
            "event_count",
            &format!("{{{written}}}"),
            Box::new(move |w| enough(100 * values(w).len() as i64)),
            grows,
        ),
        1 => {
            let distinct = |w: &[Seen]| values(w).into_iter().collect::<BTreeSet<_>>().len() as i64;
            let holds = Box::new(move |w: &[Seen]| enough(100 * distinct(w)));
            plain("value_count", &format!("{{{written}, field: V}}"), holds, grows)
        }
        2 => {
            let rules = |w: &[Seen]| (0..3).filter(|rule| has(w, *rule)).count() as i64;
            plain("temporal", &format!("{{{written}}}"), Box::new(move |w| enough(100 * rules(w))), grows)
        }
        3 => plain("temporal", "a and (b or d)", Box::new(|w| has(w, 0) && (has(w, 1) || has(w, 2))), true),
        4 => plain("temporal", "d and not a", Box::new(|w| has(w, 2) && !has(w, 0)), false),
        5 => plain("temporal_ordered", "{gte: 3}", Box::new(in_order), true),
        6 => {
            let sum = move |w: &[Seen]| enough(10 * values(w).iter().sum::<i64>());
            plain("value_sum", &format!("{{{written}, field: V}}"), Box::new(sum), grows)
        }
        7 => {
            let average = move |w: &[Seen]| {
                // In hundredths times the number of events, which the condition sees divided where that is exact and
                // else a little off any whole number.
                let (sum, many) = (10 * values(w).iter().sum::<i64>(), values(w).len() as i64);
                let exact = sum % many == 0 && (sum / many) % 100 == 0;
                enough(if exact { sum / many } else { (sum / many).div_euclid(100) * 100 + 50 })
            };
            plain("value_avg", &format!("{{{written}, field: V}}"), Box::new(average), false)
        }
        8 => plain("value_median", &format!("{{{written}, field: V}}"), Box::new(move |w| enough(rank(w, 50))), false),
        9 => {
            let condition = format!("{{{written}, field: V, percentile: {percent}}}");
            plain("value_percentile", &condition, Box::new(move |w| enough(rank(w, percent))), false)
        }
        _ => plain("value_sum", "{gte: 3.5, field: V}", Box::new(|w| values(w).iter().sum::<i64>() >= 35), true),
    }
}

/// A percentile of tenths, in hundredths; between two whole numbers it is some number between them.
fn rank(window: &[Seen], percent: i64) -> i64 {
    let sorted = values(window);
    let last = sorted.len() as i64 - 1;
    let (at, part) = ((percent * last / 100) as usize, percent * last % 100);
    let above = sorted[sorted.len().min(at + 2) - 1];
    let thousandths = 1_000 * sorted[at] + 10 * part * (above - sorted[at]);
    thousandths.div_euclid(10_000) * 100 + if thousandths % 10_000 == 0 { 0 } else { 50 }
}

/// The matches of a window that ends at a time.
fn window(seen: &[Seen], end_us: i64) -> Vec<Seen> {
    seen.iter().filter(|seen| (end_us - SPAN..=end_us).contains(&seen.0)).copied().collect()
}

/// How many windows hold whose ends are a timespan apart.
fn packed(seen: &[Seen], kind: &Kind) -> usize {
    let ends: BTreeSet<i64> = seen.iter().map(|seen| seen.0).collect();
    let mut fired: Option<i64> = None;
    let mut many = 0;
    for end_us in ends {
        if fired.is_none_or(|fired| end_us >= fired + SPAN) && (kind.holds)(&window(seen, end_us)) {
            fired = Some(end_us);
            many += 1;
        }
    }
    many
}

fn compiled(correlations: &[&str]) -> RuleSet {
    let documents = correlations.iter().enumerate();
    let text = documents.fold(BASE.to_owned(), |text, (i, lines)| {
        text + &format!("title: C{i}\nname: c{i}\ncorrelation: {{{lines}}}\n---\n")
    });
    let (rules, refused) = RuleSet::compile([("t.yml", text.as_str())]);
    assert!(refused.is_empty(), "{refused:?}\n{text}");
    rules
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

/// An event of some of the rules, with an amount in tenths.
fn event(random: &mut Random, values: usize) -> (JsonEvent, i64) {
    let value = random.below(values) as i64;
    let kinds = random.pick(&["a", "b", "d", "a", "b", "d", "ab", "abd"]);
    (JsonEvent::new(json!({"E": kinds, "V": value as f64 / 10.0})), value)
}

fn matched(rules: &RuleSet, event: &JsonEvent) -> Vec<RuleIndex> {
    let mut matched = rules.matches(event, [Source { category: Some("c"), ..Source::default() }]);
    matched.sort_unstable();
    matched
}

#[test]
fn every_stream_fires_what_counting_anew_fires() {
    let mut random = Random(29);
    let mut fires = [0; KINDS];
    for case in 0..770 {
        let number = case % KINDS;
        let kind = kind(&mut random, number);
        let rules = compiled(&[&kind.lines]);
        let (mut state, mut seen, mut fired) = (Correlator::default(), Vec::new(), 0);
        let (mut last, mut late) = (None::<i64>, 0);
        let (many, values) = (20 + random.below(90), 1 + random.below(120));
        for (i, at_us) in times(&mut random, many).into_iter().enumerate() {
            let (event, value) = event(&mut random, values);
            for rule in matched(&rules, &event) {
                let found = state.observe(&rules, rule, at_us, i as u64, &event);
                let newest = seen.iter().map(|seen: &Seen| seen.0).max().unwrap_or(at_us).max(at_us);
                let context = format!("{case}, {i}: {}", kind.lines);
                if !kind.grows && at_us < newest - SPAN {
                    late += 1;
                    assert!(found.is_empty(), "{context}");
                    continue;
                }
                let one: Seen = (at_us, i as u64, rule.number(), value);
                let by_rule = matches!(number, 2..=5);
                let known = !by_rule && seen.iter().any(|seen| (seen.0, seen.1) == (at_us, i as u64));
                seen.push(one);
                if kind.grows {
                    fired += found.len();
                    assert_eq!(fired, packed(&seen, &kind), "{context}");
                } else {
                    let quiet = last.is_some_and(|last| newest < last + SPAN);
                    let fires = !known && !quiet && (kind.holds)(&window(&seen, newest));
                    assert_eq!(found.len(), usize::from(fires), "{context}");
                    last = if fires { Some(newest) } else { last };
                }
                for one in &found {
                    check(one, &seen, &kind, i as u64, &context);
                }
                fires[number] += found.len();
            }
            if random.below(40) == 0 {
                state = reread(&state);
            }
        }
        assert_eq!(state.late_events, late);
    }
    assert!(fires.iter().all(|fires| *fires > 60), "{fires:?}");
}

/// A firing is of a window that holds and has the newest match in it, and names all its matches.
fn check(fired: &Fired, seen: &[Seen], kind: &Kind, newest: u64, context: &str) {
    let window = window(seen, fired.at_us);
    assert!((kind.holds)(&window), "{context}: {fired:?}");
    let positions: BTreeSet<u64> = window.iter().map(|seen| seen.1).collect();
    assert_eq!(fired.positions.iter().copied().collect::<BTreeSet<_>>(), positions, "{context}");
    assert!(positions.contains(&newest), "{context}: {fired:?}");
}

/// What a stream fires, by correlation and group, with the ends of the windows of what is seen in order. Each event has
/// its own name and comes when its predecessor does or up to a tenth of a second later.
fn stream(rules: &RuleSet, events: &[(i64, usize, JsonEvent)], order: &[usize]) -> BTreeMap<String, Vec<i64>> {
    let (mut state, mut waiting) = (Correlator::default(), Waiting::default());
    let mut fired: Vec<(bool, Fired)> = Vec::new();
    for (position, &i) in order.iter().enumerate() {
        let (at_us, name, event) = &events[i];
        let now_us = position as i64 * limits::WAIT_US / events.len() as i64;
        for rule in matched(rules, event) {
            let found = state.observe_at_once(rules, rule, *at_us, position as u64, event);
            fired.extend(found.into_iter().map(|one| (false, one)));
            if rules.waits(rule) {
                waiting.push(*at_us, format!("{name:05}"), now_us, (rule, position as u64, i));
            }
        }
        while let Some((rule, position, i)) = waiting.pop(now_us) {
            let found = state.observe_in_order(rules, rule, events[i].0, position, &events[i].2);
            fired.extend(found.into_iter().map(|one| (true, one)));
        }
    }
    while let Some((rule, position, i)) = waiting.take() {
        let found = state.observe_in_order(rules, rule, events[i].0, position, &events[i].2);
        fired.extend(found.into_iter().map(|one| (true, one)));
    }
    assert_eq!((state.late_events, state.evicted_events, waiting.early()), (0, 0, 0));
    let mut by_group: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (waited, one) in fired {
        // Of what fires at once the number is the same, and not which of an incident's windows was the first to hold.
        let end_us = if waited { one.at_us } else { 0 };
        by_group.entry(format!("{} {:?}", rules.rule(one.correlation).title, one.group)).or_default().push(end_us);
    }
    by_group
}

#[test]
fn any_order_of_any_kind_fires_what_order_fires() {
    let mut random = Random(31);
    let mut fires = BTreeMap::<usize, usize>::new();
    for case in 0..360 {
        let number = case % (KINDS + 1);
        let group = ", group-by: [G]";
        let rules = if number == KINDS {
            let inner = "type: event_count, rules: [a, b], timespan: 10s, condition: {gte: 3}, group-by: [G]";
            let chain = "type: temporal_ordered, rules: [c0, d], timespan: 30s, group-by: [G]";
            compiled(&[inner, chain, "type: event_count, rules: c0, timespan: 60s, condition: {gte: 2}"])
        } else {
            compiled(&[&(kind(&mut random, number).lines + group)])
        };
        let (many, values) = (20 + random.below(100), 1 + random.below(120));
        let mut times = times(&mut random, many);
        // No later than the bound.
        let newest = times.iter().max().copied().unwrap_or_default();
        times.iter_mut().for_each(|at_us| *at_us = (*at_us).max(newest - limits::late_us(SPAN)));
        times.sort_unstable();
        let events: Vec<_> = times
            .into_iter()
            .enumerate()
            .map(|(name, at_us)| {
                let (mut event, _) = event(&mut random, values);
                event.0.insert("G".to_owned(), json!(random.pick(&["x", "y"])));
                (at_us, name, event)
            })
            .collect();
        let mut order: Vec<usize> = (0..many).collect();
        let expected = stream(&rules, &events, &order);
        *fires.entry(number).or_default() += expected.values().map(Vec::len).sum::<usize>();
        for _ in 0..4 {
            for i in (1..many).rev() {
                order.swap(i, random.below(i + 1));
            }
            assert_eq!(stream(&rules, &events, &order), expected, "{case}, {number}");
        }
    }
    assert!(fires.len() == KINDS + 1 && fires.values().all(|fires| *fires > 60), "{fires:?}");
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
    let rules = compiled(&["type: value_count, rules: a, timespan: 1h, condition: {gte: 50, field: V}"]);
    let bounds = Bounds { group_events: 50, events: 70 };
    let (rule, mut state, mut position) =
        (rules.iter().next().expect("there is a rule").0, Correlator::bounded(bounds), 0);
    let mut observe = |value: usize| {
        position += 1;
        let event = JsonEvent::new(json!({"V": value}));
        let fired = state.observe(&rules, rule, position as i64 * 1_000, position, &event);
        (fired.len(), state.events(), state.evicted_events)
    };
    assert_eq!(observe(0), (0, 1, 0));
    assert_eq!(observe(0), (0, 2, 0));
    for value in 1..49 {
        assert_eq!(observe(value).0, 0, "{value}");
    }
    // Full, and a value too few. Now both of the first pair are pushed out, and their value with them.
    assert_eq!(observe(1), (0, 50, 1));
    assert_eq!(observe(2), (0, 50, 2));
    assert_eq!(observe(50), (0, 50, 3));
    assert_eq!(observe(51), (1, 50, 4));
}

#[test]
fn too_many_events_are_taken_from_the_correlation_that_holds_most() {
    let count =
        |rule: &str| format!("type: event_count, rules: {rule}, timespan: 1h, condition: {{gte: 3}}, group-by: [V]");
    let rules = compiled(&[&count("a"), &count("b")]);
    let mut state = Correlator::bounded(Bounds { group_events: 50, events: 40 });
    let mut observe = |rule: &str, value: i64, position: u64| {
        let event = JsonEvent::new(json!({"E": rule, "V": value}));
        let found = matched(&rules, &event);
        found.into_iter().map(|rule| state.observe(&rules, rule, 0, position, &event).len()).sum::<usize>()
    };
    observe("b", 0, 1);
    observe("b", 0, 2);
    for i in 0..100 {
        observe("a", i, 3 + i as u64);
    }
    // The few of the other are still there.
    assert_eq!(observe("b", 0, 200), 1);
    assert_eq!((state.events(), state.evicted_groups, state.evicted_events), (40, 63, 63));
}
