//! The attack that the demonstration plays: it must show what it says, and its background must be quiet.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use vertice_model::{Severity, ThreatState, Timestamp};

use super::{CLASSES, CONTENT, Played, play, read};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Demo {
    title: String,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    after_s: u64,
    line: String,
    say: Option<String>,
    #[serde(default)]
    benign: bool,
}

const START: &str = "2026-03-02T09:00:00Z";

fn demo() -> Demo {
    let path = Path::new(CONTENT).join("demo/attack.yml");
    serde_saphyr::from_str(&read(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Plays those lines of the demonstration that `wanted` names, as if it had begun at [`START`].
fn told(demo: &Demo, wanted: impl Fn(&Line) -> bool) -> Played {
    let lines: Vec<String> = demo.lines.iter().filter(|line| wanted(line)).map(filled).collect();
    play("2026-03-02T09:30:00Z".parse().unwrap(), lines.iter().map(String::as_str))
}

/// The line with its time, which lies within the hour of [`START`].
fn filled(line: &Line) -> String {
    let start: Timestamp = START.parse().unwrap();
    let epoch_s = start.as_micros() / 1_000_000 + i64::try_from(line.after_s).unwrap();
    let clock = format!("09:{:02}:{:02}", line.after_s / 60, line.after_s % 60);
    let text = line
        .line
        .replace("{{syslog}}", &format!("Mar  2 {clock}"))
        .replace("{{rfc3339}}", &format!("2026-03-02T{clock}.000Z"))
        .replace("{{epoch}}", &format!("{epoch_s}.000"))
        .replace("{{eve}}", &format!("2026-03-02T{clock}.000000+0000"))
        .replace("{{clf}}", &format!("02/Mar/2026:{clock} +0000"));
    assert!(!text.contains("{{"), "a placeholder that nobody knows: {text}");
    text
}

#[test]
fn the_demonstration_is_in_order_and_tells_its_story() {
    let demo = demo();
    assert!(!demo.title.is_empty() && demo.lines.len() >= 100, "{} lines", demo.lines.len());
    assert!(demo.lines.is_sorted_by_key(|line| line.after_s) && demo.lines.iter().all(|line| line.after_s < 3_600));
    let told = demo.lines.iter().filter(|line| line.say.is_some()).count();
    assert!(told >= 10 && demo.lines.iter().all(|line| !(line.benign && line.say.is_some())), "{told}");
    assert!(demo.lines.iter().filter(|line| line.benign).count() >= 40);
}

#[test]
fn the_demonstration_raises_every_class_in_one_threat() {
    let outcome = told(&demo(), |_| true);
    assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
    let classes: BTreeSet<&str> = outcome.detections.iter().filter_map(|d| d.class.as_deref()).collect();
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), CLASSES);
    let open: Vec<_> =
        outcome.threats.values().filter(|t| t.state == ThreatState::Open && t.severity >= Severity::Medium).collect();
    let titles: Vec<_> = open.iter().map(|t| format!("{}: {:?}", t.title, t.entities)).collect();
    assert!(open.len() == 1, "{} threats: {titles:#?}", open.len());
    let names: Vec<&str> = open[0].entities.iter().map(vertice_model::Entity::name).collect();
    for name in ["203.0.113.66", "web-01", "10.20.0.10", "ws-fin-07.corp.example", "10.20.3.44"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert_eq!(open[0].severity, Severity::Critical);
    assert!(open[0].tactics.len() >= 8, "{:?}", open[0].tactics);
}

#[test]
fn the_background_of_the_demonstration_is_quiet() {
    let outcome = told(&demo(), |line| line.benign);
    assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
    let loud: Vec<_> = outcome.detections.iter().filter(|d| d.is_threat).map(|d| &d.rule_title).collect();
    assert!(loud.is_empty(), "{loud:?}");
}
