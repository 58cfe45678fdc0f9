//! How well and how fast commands are mapped. `cargo xtask bench mapping [DATA]`.
//!
//! Labelled commands of emulation plans, each with the one technique that its step is filed under; split in halves by a
//! digest of the step's name. The rules were written with sight of the first half only; the figure is of the second.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

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
        println!("{}", labelled::Score::of(&mapper, commands.iter().filter(|c| c.half == half)).row(name));
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
