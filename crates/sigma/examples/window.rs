//! Measures what a match costs by how many are in its window: `window [HELD...]`, for every type of correlation, in order
//! and each as much as an hour late.

use std::time::Instant;

use vertice_sigma::{Correlator, Event, RuleSet, Value};

/// An event with a number and a rule.
struct Sent {
    number: i64,
}

impl Event for Sent {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Value<'a>)) {
        if name == "V" {
            visit(Value::Int(self.number));
        }
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Value<'a>)) {
        visit("V", Value::Int(self.number));
    }
}

const RULES: &str = "title: a\nlogsource: {category: c}\ndetection: {s: {E: a}, condition: s}\n---\n\
    title: b\nlogsource: {category: c}\ndetection: {s: {E: b}, condition: s}\n---\n";

const KINDS: [(&str, &str); 8] = [
    ("event_count", "{gte: 1000000}"),
    ("value_count", "{gte: 1000000, field: V}"),
    ("temporal", "a and b"),
    ("temporal_ordered", "a and b"),
    ("value_sum", "{gte: 1.0e+17, field: V}"),
    ("value_avg", "{gte: 1.0e+17, field: V}"),
    ("value_median", "{gte: 1.0e+17, field: V}"),
    ("value_percentile", "{gte: 1.0e+17, field: V, percentile: 99}"),
];

const DAY_US: i64 = 86_400_000_000;

/// Events that are measured once the window is full.
const MEASURED: i64 = 20_000;

#[expect(clippy::print_stdout, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<i64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let sizes = if given.is_empty() { vec![100, 10_000, 1_000_000] } else { given };
    println!("| type | order | in the window | µs an event | bytes an event |");
    println!("|---|---|---|---|---|");
    for (name, condition) in KINDS {
        for late_us in [0, DAY_US / 24] {
            for &size in &sizes {
                let (us, bytes) = measure(name, condition, size, late_us);
                let order = if late_us == 0 { "in order" } else { "late" };
                println!("| `{name}` | {order} | {size} | {us:.2} | {bytes} |");
            }
        }
    }
    Ok(())
}

/// Microseconds and bytes an event.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn measure(name: &str, condition: &str, size: i64, late_us: i64) -> (f64, i64) {
    let text = format!(
        "{RULES}title: c\ncorrelation: {{type: {name}, rules: [a, b], timespan: 30d, condition: {condition}}}\n"
    );
    let (rules, refused) = RuleSet::compile([("t.yml", text.as_str())]);
    assert!(refused.is_empty(), "{refused:?}");
    let over: Vec<_> = rules.iter().map(|(index, _)| index).take(2).collect();
    let gap_us = 30 * DAY_US / size;
    let before = resident();
    let (mut state, mut random) = (Correlator::default(), 1_u64);
    let mut observe = |i: i64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let event = Sent { number: (random >> 33) as i64 % (size / 2) };
        let late = if late_us == 0 { 0 } else { (random >> 20) as i64 % late_us };
        state.observe(&rules, over[(random >> 60) as usize % 2], i * gap_us - late, i.unsigned_abs(), &event);
    };
    (0..size).for_each(&mut observe);
    let bytes = (resident() - before) / size;
    let start = Instant::now();
    (size..size + MEASURED).for_each(&mut observe);
    let us = start.elapsed().as_secs_f64() * 1e6 / MEASURED as f64;
    assert!(state.events() as i64 >= size * 9 / 10 && state.evicted_events == 0, "{} held", state.events());
    (us, bytes.max(0))
}

/// What the process holds, in bytes; 0 where that is not to be found out.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok()).map_or(0, |pages| pages * 4_096)
}
