//! What a detection costs on which nobody is asked: read, match, suggest techniques, rate, join a threat.
//!
//! Run: `cargo run --profile quick -p vertice-engine --example triage`

use std::sync::Arc;
use std::time::{Duration, Instant};

use vertice_engine::{Content, ContentFile, EffectKind, Engine, Input, Record, Stamp};
use vertice_model::{Principal, RawEvent, ThreatId, Timestamp, VerdictKind};

/// How many events, each of which is a detection, for each kind of command.
const EVENTS: u32 = 20_000;

/// On how many addresses; some of them were judged before.
const ADDRESSES: u32 = 500;

const RULE: &str = "title: Odd\nid: odd\nlevel: high\nlogsource: {product: vertice}\n\
    detection: {s: {event.action: odd}, condition: s}\n";

struct Run {
    engine: Engine,
    now: Timestamp,
}

impl Run {
    /// Judges one event and gives how long that took.
    #[expect(clippy::disallowed_methods, reason = "a measurement measures time")]
    fn attack(&mut self, n: u32, command: &str) -> (Duration, usize, Option<ThreatId>) {
        let [.., c, d] = (n % ADDRESSES).to_be_bytes();
        let line = serde_json::json!({"event_id": format!("e{n}"), "timestamp": self.now, "source": "ids",
            "event_type": "odd", "source_ip": format!("203.0.{c}.{d}"), "payload": {"command_line": command}});
        let input = Input::Events(vec![RawEvent { origin: "bench".into(), line: line.to_string() }]);
        let stamp = Stamp { position: self.engine.next(), now: self.now };
        let begun = Instant::now();
        let effects = self.engine.apply(stamp, &input);
        let took = begun.elapsed();
        self.now = self.now.plus_seconds(1);
        let detection = effects.into_iter().find_map(|e| match e.kind {
            EffectKind::Publish(Record::Detection(d)) => Some(d),
            _ => None,
        });
        let techniques = detection.as_ref().map_or(0, |d| d.mitre_techniques.len());
        (took, techniques, detection.and_then(|d| d.threat_id))
    }
}

#[expect(clippy::print_stdout, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shipped = |path: &str| -> std::io::Result<ContentFile> {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content");
        Ok(ContentFile { path: path.into(), text: std::fs::read_to_string(root.join(path))? })
    };
    let tables = [vec![], vec![shipped("intel/commands.txt")?]];
    let script = "Invoke-Command -ScriptBlock { Get-Process | Where-Object { $_.CPU -gt 10 } }; ".repeat(400);
    let commands = [
        ("a short command", "cmd.exe /c procdump64.exe -ma lsass.exe C:\\Windows\\Temp\\out.dmp".to_owned()),
        ("a script of 32,000 characters", script),
    ];
    for (what, command) in &commands {
        for (table, with) in tables.iter().zip(["without the mapper", "with the mapper"]) {
            let mut files = vec![shipped("mappings/vertice.yml")?];
            files.push(ContentFile { path: "rules/odd.yml".into(), text: RULE.into() });
            files.extend(table.iter().cloned());
            let mut run = Run { engine: Engine::default(), now: "2026-03-01T12:00:00Z".parse()? };
            let stamp = Stamp { position: run.engine.next(), now: run.now };
            run.engine.apply(stamp, &Input::Content(Arc::new(Content::compile(files))));
            let (mut times, mut techniques) = (Vec::new(), 0);
            for n in 0..EVENTS {
                let (took, named, threat) = run.attack(n, command);
                times.push(took);
                techniques += named;
                if let (0, Some(threat)) = (n % 50, threat) {
                    let (by, verdict) = (Principal("ana".into()), VerdictKind::FalsePositive);
                    let stamp = Stamp { position: run.engine.next(), now: run.now };
                    run.engine.apply(stamp, &Input::Verdict { threat, verdict, note: String::new(), by });
                }
            }
            println!("{what}, {with}: {}, {techniques} techniques", shown(times));
        }
    }
    Ok(())
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.3} ms, p99 {:.3} ms, at most {:.3} ms", at(0.5), at(0.99), at(1.0))
}
