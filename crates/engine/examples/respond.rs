//! What responses cost the engine: a detection that makes a plan, and ten thousand live containments that fall due.
//!
//! Run: `cargo run --profile quick -p vertice-engine --example respond`

use std::sync::Arc;
use std::time::{Duration, Instant};

use vertice_engine::decide::Policy;
use vertice_engine::decide::verb::Verb;
use vertice_engine::{Content, ContentFile, Effect, EffectKind, Engine, Input, Stamp};
use vertice_model::{Outcome, RawEvent, Receipt, Timestamp};
use vertice_testkit::scene::{PLAYBOOK, RULE, attempt};

/// How many attackers there are.
const ATTACKERS: u32 = 10_000;

struct Run {
    engine: Engine,
    now: Timestamp,
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "a measurement measures time")]
    fn apply(&mut self, input: &Input) -> (Vec<Effect>, Duration) {
        let stamp = Stamp { position: self.engine.next(), now: self.now };
        let begun = Instant::now();
        let effects = self.engine.apply(stamp, input);
        (effects, begun.elapsed())
    }
}

#[expect(clippy::print_stdout, reason = "a measurement prints what it measured")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy =
        Policy { live: Verb::ALL.into_iter().collect(), entities_per_hour_max: ATTACKERS, ..Policy::default() };
    let mapping = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/mappings/sshd.yml");
    let file = |path: &str, text: String| ContentFile { path: path.into(), text };
    let content = Content::compile(vec![
        file("mappings/sshd.yml", std::fs::read_to_string(mapping)?),
        file("rules/mallory.yml", RULE.into()),
        file("playbooks/stop.yml", PLAYBOOK.into()),
        file("policy/own", serde_json::to_string(&policy)?),
    ]);
    let mut run = Run { engine: Engine::default(), now: "2026-03-01T12:00:00Z".parse()? };
    run.apply(&Input::Content(Arc::new(content)));
    let before = resident_kib();

    let (mut planned, mut receipts) = (Vec::new(), Vec::new());
    for n in 0..ATTACKERS {
        let [_, b, c, d] = n.to_be_bytes();
        let line = attempt(&format!("203.{b}.{c}.{d}"));
        let event = Input::Events(vec![RawEvent { origin: "bench".into(), line }]);
        let (effects, took) = run.apply(&event);
        planned.push(took);
        for effect in &effects {
            if let EffectKind::Act(order) = &effect.kind {
                receipts.push(receipt(order.get()));
            }
        }
        run.now = run.now.plus_seconds(u64::from(n % 10 == 0));
    }
    let mut done = Vec::new();
    for receipt in receipts {
        done.push(run.apply(&Input::Receipt(receipt)).1);
    }
    println!("{ATTACKERS} attackers, {} containments", run.engine.containments().count());
    println!("from an event to its order (read, match, threat, plan): {}", shown(planned));
    println!("from a receipt to its containment: {}", shown(done));
    println!("memory for them: {} KiB", resident_kib().saturating_sub(before));
    println!("a snapshot: {} KiB", run.engine.snapshot().len() / 1_024);

    run.now = run.now.plus_seconds(3_600);
    let (effects, took) = run.apply(&Input::Tick);
    let given = effects.iter().filter(|e| matches!(e.kind, EffectKind::Act(_))).count();
    println!("the tick at which all of them fall due: {:.1} ms, {given} orders", took.as_secs_f64() * 1e3);
    let (_, took) = run.apply(&Input::Tick);
    println!("a tick at which none does: {:.3} ms", took.as_secs_f64() * 1e3);
    Ok(())
}

fn receipt(order: &vertice_model::Order) -> Receipt {
    let criteria = order.success_criteria.iter().map(|c| (c.clone(), true)).collect();
    Receipt { order_id: order.order_id, outcome: Outcome::Done, criteria, note: String::new() }
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.3} ms, p99 {:.3} ms, at most {:.3} ms", at(0.5), at(0.99), at(1.0))
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
