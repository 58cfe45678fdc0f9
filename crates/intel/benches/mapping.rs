//! How well and how fast commands are mapped. `cargo xtask bench mapping [DATA]`.
//!
//! Labelled commands of emulation plans, each with the one technique that its step is filed under; split in halves by a
//! digest of the step's name. The rules were written with sight of the first half only; the figure is of the second. The
//! same of the command lines in the events that come with Sigma's rules, every other one seen.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/it/labelled.rs"]
mod labelled;

use std::time::Instant;

fn main() {
    let data = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let folder = data.map(std::path::PathBuf::from).or_else(|| vertice_testkit::known_answers("emulation-plans"));
    let Some(folder) = folder else {
        println!("the emulation plans are absent: nothing was measured");
        return;
    };
    let mapper = labelled::mapper();
    let commands = labelled::commands(&folder);
    println!("{} rules, {} labelled commands\n", mapper.rules(), commands.len());
    println!(
        "| half | commands | mapped at all | label among them (parent) | (exact) | of those mapped, label first (parent) | techniques given | of them the label (parent) |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (half, name) in [(0, "development"), (1, "figure")] {
        println!("{}", row(&labelled::Score::of(&mapper, commands.iter().filter(|c| c.half == half)), name));
    }
    let sigma = folder.with_file_name("sigma");
    let events = labelled::events(&folder.with_file_name("sigma-regression"), &sigma);
    for (half, name) in [(0, "Sigma's events, development"), (1, "Sigma's events, figure")] {
        println!("{}", row(&labelled::Score::of(&mapper, events.iter().filter(|c| c.half == half)), name));
    }
    let started = Instant::now();
    let rounds = 20;
    for _ in 0..rounds {
        commands.iter().for_each(|c| {
            std::hint::black_box(mapper.map(std::hint::black_box(&c.command)));
        });
    }
    let each = started.elapsed().as_micros() / (rounds * commands.len().max(1) as u128);
    println!("\none command: {each} µs on average");
}

/// One line of the table.
fn row(score: &labelled::Score, name: &str) -> String {
    let share = |n: u32, of: u32| {
        let (low, high) = wilson(n, of);
        format!("{n} of {of}: {:.2} ({low:.2} to {high:.2})", f64::from(n) / f64::from(of.max(1)))
    };
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} |",
        score.commands,
        share(score.mapped, score.commands),
        share(score.label_parent, score.commands),
        share(score.label_exact, score.commands),
        share(score.first_parent, score.mapped),
        score.given,
        share(score.given_right, score.given),
    )
}

/// The 95 % interval of a share (Wilson 1927).
fn wilson(n: u32, of: u32) -> (f64, f64) {
    let (z, of) = (1.96_f64, f64::from(of.max(1)));
    let p = f64::from(n) / of;
    let middle = p + z * z / (2.0 * of);
    let half = z * (p * (1.0 - p) / of + z * z / (4.0 * of * of)).sqrt();
    ((middle - half) / (1.0 + z * z / of), (middle + half) / (1.0 + z * z / of))
}
