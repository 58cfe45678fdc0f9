//! Measures reading: `json EVENTS.ndjson [SECONDS]`, each line by itself, over and over.

use std::hint::black_box;
use std::time::Instant;

use vertice_sigma::json::{JsonEvent, each};
use vertice_sigma::limits::JSON_DEPTH_MAX;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = std::fs::read_to_string(arguments.next().ok_or("json EVENTS.ndjson [SECONDS]")?)?;
    let seconds: f64 = arguments.next().map_or(Ok(3.0), |text| text.parse())?;
    let lines: Vec<&str> = text.lines().filter(|line| JsonEvent::new(line).is_ok()).collect();
    let mut event = JsonEvent::default();
    measure("each", seconds, &lines, |line| _ = each(line, JSON_DEPTH_MAX, |_, _, value| _ = black_box(value)));
    measure("JsonEvent", seconds, &lines, |line| _ = black_box(event.read(line)));
    measure("serde_json", seconds, &lines, |line| _ = black_box(serde_json::from_str::<serde_json::Value>(line)));
    Ok(())
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement prints what it measured")]
fn measure<'l>(what: &str, seconds: f64, lines: &[&'l str], mut read: impl FnMut(&'l str)) {
    let (start, mut count, mut bytes) = (Instant::now(), 0, 0);
    while start.elapsed().as_secs_f64() < seconds && !lines.is_empty() {
        for line in lines {
            read(line);
            bytes += line.len();
        }
        count += lines.len();
    }
    let (us, each) = (start.elapsed().as_secs_f64() * 1e6, bytes / count.max(1));
    println!("{what}: {:.2} us an object of {each} bytes, {:.2} GB/s", us / count as f64, bytes as f64 / us / 1e3);
}
