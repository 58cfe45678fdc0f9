//! Reads lines with the shipped mappings: `read FILE [SECONDS]` measures, `read FILE print` shows every event.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use vertice_engine::normalize::Mappings;
use vertice_engine::{ContentFile, Stamp};
use vertice_model::{Position, RawEvent, Timestamp};

#[expect(clippy::print_stdout, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("read FILE [SECONDS|print]")?;
    let how = arguments.next().unwrap_or_else(|| "3".to_owned());
    let mappings = shipped()?;
    let bytes = std::fs::read(&file)?;
    let origin: Arc<str> = file.as_str().into();
    let line = |line: &str| RawEvent { origin: Arc::clone(&origin), line: line.to_owned() };
    let lines: Vec<RawEvent> = String::from_utf8_lossy(&bytes).lines().map(line).collect();
    let stamp = Stamp { position: Position(7), now: "2026-03-01T12:00:00Z".parse::<Timestamp>()? };
    if how == "print" {
        for raw in &lines {
            match mappings.normalize(stamp, raw) {
                Ok(event) => println!("{}", serde_json::to_string(&event)?),
                Err(refusal) => println!("{refusal}"),
            }
        }
        return Ok(());
    }
    let read: Vec<&RawEvent> = lines.iter().filter(|raw| mappings.normalize(stamp, raw).is_ok()).collect();
    println!("{} lines, {} of them read", lines.len(), read.len());
    let seconds: f64 = how.parse()?;
    measure("check", seconds, &read, |raw| _ = black_box(mappings.check(stamp, raw)));
    measure("reading", seconds, &read, |raw| _ = black_box(mappings.read(stamp, raw)));
    measure("event", seconds, &read, |raw| _ = black_box(mappings.normalize(stamp, raw)));
    Ok(())
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints what it measured")]
fn measure<'r>(what: &str, seconds: f64, lines: &[&'r RawEvent], mut read: impl FnMut(&'r RawEvent)) {
    let (start, cpu, mut count, mut bytes) = (Instant::now(), cpu_us(), 0, 0);
    while start.elapsed().as_secs_f64() < seconds && !lines.is_empty() {
        for raw in lines {
            read(raw);
            bytes += raw.line.len();
        }
        count += lines.len();
    }
    let us = cpu_us().zip(cpu).map_or_else(|| start.elapsed().as_secs_f64() * 1e6, |(now, then)| now - then);
    println!("{what}: {:.2} us a line of {} bytes", us / count as f64, bytes / count.max(1));
}

/// How long this thread has run, whatever else the machine does.
fn cpu_us() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e3)
}

fn shipped() -> Result<Mappings, Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/mappings");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yml") {
            files.push(ContentFile { text: std::fs::read_to_string(&path)?, path: path.display().to_string() });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Mappings::compile(&files.iter().collect::<Vec<_>>(), &mut Vec::new()))
}
