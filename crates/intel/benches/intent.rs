//! How good and how fast the prediction is; from the committed facts alone. `cargo xtask bench intent`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use vertice_intel::{Facts, Intent, bounds, evaluate};

const ATTACK: &str = include_str!("../../../content/intel/attack.txt");
const FLOWS: &str = include_str!("../../../content/intel/flows.txt");
const PROGRESSION: &str = include_str!("../../../content/intel/progression.txt");
const MODEL: &str = include_str!("../../../content/models/intent.txt");

fn main() {
    let facts = Facts::parse(ATTACK, FLOWS, PROGRESSION).expect("the committed facts are valid");
    let started = Instant::now();
    let found = evaluate::evaluate(&facts);
    println!(
        "{} steps of {} flows, {} folds left out in turn, {:.1} s\n",
        found.steps,
        found.flows,
        found.folds,
        started.elapsed().as_secs_f64()
    );
    println!("| way | top-1 | top-3 | top-5 |\n|---|---|---|---|");
    let shown = |r: evaluate::Rate| format!("{:.3} ({:.3} to {:.3})", r.value, r.low, r.high);
    for row in &found.rows {
        println!("| {} | {} | {} | {} |", row.name, shown(row.top[0]), shown(row.top[1]), shown(row.top[2]));
    }
    println!();
    for (baseline, gain) in &found.gains {
        println!("top-5 of the model above {baseline}, in pairs: {}", shown(*gain));
    }
    println!("goal reached: {}; beats every baseline: {}", found.reaches_goal(), found.beats_baselines());
    show(&bounds::bounds(&facts));
    let intent = Intent::new(facts, MODEL).expect("the committed model is valid");
    let seen: Vec<_> =
        ["T1566.001", "T1204.002", "T1059.001", "T1105"].iter().map(|t| t.parse().expect("a technique")).collect();
    let mut times: Vec<u128> = (0..2_000)
        .map(|_| {
            let started = Instant::now();
            black_box(intent.predict(black_box(&seen), 5));
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    println!("one prediction: median {} µs, p99 {} µs", times[1_000] / 1_000, times[1_980] / 1_000);
}

/// What keeps it from being better.
fn show(bounds: &bounds::Bounds) {
    println!("\nnext in no step of another fold: {}; in no other fold at all: {}", bounds.never_next, bounds.never_had);
    println!("in the table after any seen: {}; after the last seen: {}", bounds.listed, bounds.listed_last);
    println!(
        "of {} steps with another flow in their fold: {} in that flow, {} after any seen there",
        bounds.with_other, bounds.other_has, bounds.other_follows
    );
    println!("\n| folds learned from | model | without the table | tactic chain |\n|---|---|---|---|");
    for l in &bounds.learned {
        println!("| {} | {:.3} | {:.3} | {:.3} |", l.folds, l.model, l.by_data, l.chain);
    }
    println!();
}
