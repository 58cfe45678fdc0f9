//! Line coverage by crate, from the compiler's own instrumentation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::debian;
use crate::run::{cargo_with, command, root, run};

/// Debian's package with the tools for the profiles that this toolchain writes.
const TOOLS: &str = "llvm-22";

/// The crates that must be covered to [`BAR`] percent.
const PURE: [&str; 4] = ["model", "sigma", "intel", "engine"];
const BAR: f64 = 95.0;

#[derive(Default)]
struct Lines {
    covered: u64,
    all: u64,
}

impl Lines {
    fn percent(&self) -> f64 {
        if self.all == 0 { 100.0 } else { self.covered as f64 * 100.0 / self.all as f64 }
    }
}

/// Runs the tests with instrumentation and prints a table.
pub fn print() -> Result<()> {
    debian::install_missing();
    install_tools()?;
    let target = root().join("target/coverage");
    let raw = target.join("raw");
    if raw.exists() {
        std::fs::remove_dir_all(&raw).with_context(|| format!("emptying {}", raw.display()))?;
    }
    let profile = raw.join("%p-%m.profraw");
    let (target_text, profile_text) = (target.to_string_lossy(), profile.to_string_lossy());
    cargo_with(
        &["test", "--workspace", "--no-fail-fast"],
        &[
            ("RUSTFLAGS", "-C instrument-coverage"),
            ("CARGO_TARGET_DIR", &target_text),
            ("LLVM_PROFILE_FILE", &profile_text),
        ],
    )?;
    let merged = merge(&raw)?;
    table(&files(&merged, &target)?)
}

fn install_tools() -> Result<()> {
    let there = Command::new(format!("llvm-cov{}", TOOLS.trim_start_matches("llvm"))).arg("--version").output();
    if there.is_ok_and(|o| o.status.success()) {
        return Ok(());
    }
    run(&mut command("apt-get", &["update", "-qq"]))?;
    run(&mut command("apt-get", &["install", "-qq", "-y", "--no-install-recommends", TOOLS]))
}

fn tool(name: &str) -> String {
    format!("{name}{}", TOOLS.trim_start_matches("llvm"))
}

fn merge(raw: &Path) -> Result<PathBuf> {
    let merged = raw.join("merged.profdata");
    // Tests kill programs, and what one was writing then is torn: it is left out, and told.
    let mut arguments: Vec<String> = ["merge", "-sparse", "--failure-mode=all", "-o"].map(str::to_owned).into();
    arguments.push(merged.display().to_string());
    for entry in std::fs::read_dir(raw).with_context(|| format!("reading {}", raw.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "profraw") {
            arguments.push(path.display().to_string());
        }
    }
    run(&mut command(&tool("llvm-profdata"), &arguments))?;
    Ok(merged)
}

/// Covered and countable lines of each source file.
fn files(profile: &Path, target: &Path) -> Result<BTreeMap<String, Lines>> {
    let mut arguments = vec![
        "export".to_owned(),
        "--summary-only".to_owned(),
        format!("--instr-profile={}", profile.display()),
        r"--ignore-filename-regex=(/\.cargo/|/rustc/|/tests/|/tests\.rs$|/benches/)".to_owned(),
    ];
    for (i, binary) in test_binaries(target)?.into_iter().enumerate() {
        arguments.push(if i == 0 { binary } else { format!("--object={binary}") });
    }
    let output = command(&tool("llvm-cov"), &arguments).output().context("starting llvm-cov")?;
    if !output.status.success() {
        bail!("llvm-cov failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).context("reading llvm-cov's report")?;
    let mut lines = BTreeMap::new();
    for file in report["data"][0]["files"].as_array().context("llvm-cov's report names no files")? {
        let name = file["filename"].as_str().unwrap_or_default();
        let number = |key: &str| file["summary"]["lines"][key].as_u64().unwrap_or(0);
        lines.insert(name.to_owned(), Lines { covered: number("covered"), all: number("count") });
    }
    Ok(lines)
}

fn test_binaries(target: &Path) -> Result<Vec<String>> {
    let deps = target.join("debug/deps");
    let mut binaries = Vec::new();
    for entry in std::fs::read_dir(&deps).with_context(|| format!("reading {}", deps.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let ours = name.starts_with("vertice") || name.starts_with("it-");
        if ours && !name.contains('.') {
            binaries.push(path.display().to_string());
        }
    }
    binaries.push(target.join("debug/vertice").display().to_string());
    Ok(binaries)
}

#[expect(clippy::print_stdout, reason = "the table is what this task is for")]
fn table(files: &BTreeMap<String, Lines>) -> Result<()> {
    let crates = root().join("crates");
    let (mut by_crate, mut whole) = (BTreeMap::<String, Lines>::new(), Lines::default());
    for (path, lines) in files {
        let Ok(below) = Path::new(path).strip_prefix(&crates) else { continue };
        let name = below.iter().next().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for sum in [by_crate.entry(name).or_default(), &mut whole] {
            sum.covered += lines.covered;
            sum.all += lines.all;
        }
    }
    println!("{:<10} {:>8} {:>8} {:>7}", "crate", "covered", "lines", "%");
    for (name, lines) in &by_crate {
        println!("{name:<10} {:>8} {:>8} {:>7.2}", lines.covered, lines.all, lines.percent());
    }
    println!("{:<10} {:>8} {:>8} {:>7.2}", "whole", whole.covered, whole.all, whole.percent());
    let below: Vec<_> =
        PURE.iter().filter(|name| by_crate.get(**name).is_none_or(|l| l.percent() < BAR)).copied().collect();
    if !below.is_empty() {
        bail!("below {BAR} %: {}", below.join(", "));
    }
    Ok(())
}
