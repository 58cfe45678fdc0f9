//! `vertice explain`: why a threat is one, from the event over the matched condition and the detection
//! to the threat, each with its place in the log, and what was done about it.

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::client::{Client, segment};
use super::events::summary;
use super::output::{Format, Out, Tint};
use super::records::{confidence, cut, entity, items, short, state, state_reason, text, time};
use super::tree::Node;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice explain 1f3a9c0e
  vertice explain 1f3a9c0e --events 100        every event of each detection
  vertice explain 1f3a9c0e -o json             all of it, for a program

Positions are places in the log: `vertice events show POSITION` shows the event that stands there.")]
pub struct Arguments {
    /// The threat's id, or the beginning of it
    threat: String,
    /// How many events of each detection are shown
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    events: usize,
}

pub fn run(arguments: &Arguments, client: &Client, out: &mut Out) -> Result<()> {
    let path = format!("/api/v1/defense/threats/{}/explain", segment(&arguments.threat));
    let explanation = client.get(&path, &[])?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&explanation),
        Format::Table => print(&explanation, arguments.events, out),
    }
}

fn print(explanation: &Value, events: usize, out: &mut Out) -> Result<()> {
    let threat = &explanation["threat"];
    let mut root = head(threat);
    let (shown, total) = (items(explanation, "/detections"), explanation["detections_total"].as_u64().unwrap_or(0));
    if total > shown.len() as u64 {
        root.push(Node::remark(format!(
            "{} earlier detections: vertice detections list --threat {}",
            total - shown.len() as u64,
            id(threat)
        )));
    }
    root.extend(shown.iter().map(|d| detection(d, events)));
    let (questions, holds) = (items(explanation, "/questions"), items(explanation, "/containments"));
    root.extend(items(explanation, "/runs").iter().map(|r| response(r, questions, holds)));
    root.extend(items(explanation, "/consultations").iter().filter_map(super::consultations::node));
    root.extend(super::intent::node(&explanation["intent"]));
    root.print(out)?;
    let story = match items(explanation, "/narrative") {
        [] => text(threat, "/narrative"),
        sentences => super::intent::paragraph(sentences),
    };
    if !story.is_empty() {
        out.line("")?;
        out.text(&story)?;
    }
    if state(threat, "/state") == "open" {
        out.line("")?;
        let judge = format!("Your turn: vertice threats judge {} confirmed | false_positive | benign", id(threat));
        out.parts(&[(Tint::Faint, &judge)])?;
    }
    Ok(())
}

fn id(threat: &Value) -> String {
    short(&text(threat, "/threat_id")).to_owned()
}

fn plain_text(text: impl Into<String>) -> (Tint, String) {
    (Tint::None, text.into())
}

fn head(t: &Value) -> Node {
    let severity = text(t, "/severity");
    let mut root = Node::new(vec![
        (Tint::Bold, format!("threat {}  ", id(t))),
        (Tint::of_severity(&severity), severity),
        (Tint::Bold, format!("  {}", text(t, "/title"))),
    ]);
    let entities: Vec<String> = items(t, "/entities").iter().map(entity).collect();
    let techniques: Vec<String> = items(t, "/techniques").iter().map(|s| text(s, "/technique")).collect();
    let facts = [
        format!("{} {}", state(t, "/state"), state_reason(t, "/state")),
        format!("{} sure", confidence(t, "/confidence")),
        format!("log positions {} to {}", text(t, "/positions/0"), text(t, "/positions/1")),
        format!("{} to {}", time(t, "/first_seen"), time(t, "/last_seen")),
    ];
    root.push(Node::remark(facts.map(|f| f.trim().to_owned()).join(" · ")));
    root.push(Node::new(vec![(Tint::Faint, "about ".to_owned()), plain_text(entities.join(", "))]));
    if let Some(triage) = t.get("triage").filter(|triage| triage.is_object()) {
        let (priority, reason) = (text(triage, "/priority"), text(triage, "/reason"));
        root.push(Node::new(vec![
            (Tint::Faint, "priority ".to_owned()),
            plain_text(format!("{priority} of 100: {reason}")),
        ]));
    }
    if !items(t, "/suggested/playbooks").is_empty() {
        let playbooks = text(t, "/suggested/playbooks");
        root.push(Node::new(vec![(Tint::Faint, "a model proposes ".to_owned()), plain_text(playbooks)]));
    }
    if !techniques.is_empty() {
        let tactics: Vec<String> = items(t, "/tactics").iter().map(super::records::words).collect();
        let mut line = vec![(Tint::Faint, "techniques ".to_owned()), plain_text(techniques.join(" → "))];
        if !tactics.is_empty() {
            line.push((Tint::Faint, format!("  ({})", tactics.join(", "))));
        }
        root.push(Node::new(line));
    }
    root
}

/// The techniques of a detection; those that only its words suggest say so.
pub fn techniques(detection: &Value) -> String {
    let (techniques, by) = (text(detection, "/mitre_techniques"), text(detection, "/mapped_by"));
    if by.is_empty() || techniques.is_empty() { techniques } else { format!("perhaps {techniques} (by the {by})") }
}

/// A detection, its events below it, and below the one that completed it the conditions that held.
fn detection(explained: &Value, most: usize) -> Node {
    let d = &explained["detection"];
    let severity = text(d, "/severity");
    let mut node = Node::new(vec![
        (Tint::None, format!("detection {}  ", short(&text(d, "/detection_id")))),
        (Tint::of_severity(&severity), severity),
        (Tint::Bold, format!("  {}", text(d, "/rule_title"))),
        (Tint::Faint, format!("  {}", time(d, "/timestamp"))),
    ]);
    let facts = [
        format!("rule {}", text(d, "/rule_id")),
        techniques(d),
        format!("{} sure", confidence(d, "/confidence")),
        entity(d),
    ];
    node.push(Node::remark(facts.into_iter().filter(|f| !f.is_empty()).collect::<Vec<_>>().join(" · ")));
    let events = items(explained, "/events");
    let counted = items(d, "/earlier").len() + 1;
    let shown = events.len().min(most.max(1));
    let before = counted.saturating_sub(shown);
    if before > 0 {
        let from = items(d, "/earlier").first().map(super::records::words).unwrap_or_default();
        node.push(Node::remark(format!(
            "{before} more event{} before, from log position {from} on",
            if before == 1 { "" } else { "s" }
        )));
    }
    let shown = &events[events.len() - shown..];
    node.extend(shown.iter().map(|e| event(e, d)));
    if events.is_empty() {
        // The event is in the log all the same; the conditions must not go with it.
        node.push(Node::remark(format!("event at log position {}, which is not shown", text(d, "/position"))));
        node.extend(conditions(d));
    }
    node
}

fn event(evidence: &Value, detection: &Value) -> Node {
    let read = &evidence["event"];
    let position = text(evidence, "/position");
    let completes = position == text(detection, "/position");
    let at = if read.is_object() { time(read, "/timestamp") } else { time(evidence, "/received") };
    let mut node = Node::new(vec![
        (Tint::None, format!("event at log position {position}  ")),
        (Tint::Faint, format!("{at}  {}  ", text(read, "/mapping"))),
        plain_text(summary(read)),
    ]);
    let raw = cut(&text(evidence, "/raw/line"));
    if !raw.is_empty() {
        node.push(Node::remark(raw));
    }
    if completes {
        node.extend(conditions(detection));
    }
    node
}

/// The conditions of the rule that held, and what they held of.
fn conditions(detection: &Value) -> impl Iterator<Item = Node> {
    items(detection, "/matched").iter().map(|m| {
        let field = text(m, "/field");
        let (field, wanted, value) =
            (if field.is_empty() { "anywhere".to_owned() } else { field }, text(m, "/wanted"), text(m, "/value"));
        let mut parts = vec![
            (Tint::Good, "matched ".to_owned()),
            (Tint::Faint, format!("{}: ", text(m, "/selection"))),
            plain_text(format!("{field} = {}", cut(&value))),
        ];
        if !wanted.is_empty() && wanted != value {
            parts.push((Tint::Faint, format!("   wanted {wanted}")));
        }
        Node::new(parts)
    })
}

/// A run of a playbook: its steps, and below each what was asked and whom it holds.
fn response(run: &Value, questions: &[Value], holds: &[Value]) -> Node {
    let simulated = run["simulated"].as_bool().unwrap_or(true);
    let mut node = Node::new(vec![
        (Tint::None, format!("response {}  ", short(&text(run, "/run_id")))),
        (Tint::Bold, text(run, "/playbook_id")),
        plain_text(format!("  {}", state(run, "/state"))),
        (Tint::Good, if simulated { "  simulated: nothing was done".to_owned() } else { String::new() }),
    ]);
    let reason = text(run, "/reason");
    if !reason.is_empty() {
        node.push(Node::remark(reason));
    }
    let run_id = text(run, "/run_id");
    for step in items(run, "/steps") {
        let action = text(step, "/action_id");
        let ours = |record: &&Value| text(record, "/run_id") == run_id && text(record, "/action_id") == action;
        let why = state_reason(step, "/state");
        let mut below = Node::new(vec![
            plain_text(format!("{action}  ")),
            (Tint::None, state(step, "/state")),
            plain_text(if why.is_empty() { String::new() } else { format!(": {why}") }),
            (Tint::Faint, format!("  undone by: {}", text(step, "/inverse"))),
        ]);
        below.extend(questions.iter().filter(ours).map(question));
        below.extend(holds.iter().filter(ours).map(hold));
        node.push(below);
    }
    node
}

fn question(q: &Value) -> Node {
    let answered = format!("{} {}", text(q, "/answered/0"), time(q, "/answered/1"));
    Node::new(vec![
        (Tint::Warn, format!("question {}  ", short(&text(q, "/question_id")))),
        plain_text(text(q, "/prompt")),
        (Tint::Faint, format!("  {} {}", state(q, "/state"), answered.trim())),
    ])
}

fn hold(c: &Value) -> Node {
    Node::new(vec![
        plain_text(format!(
            "containment {}  {}  {}",
            short(&text(c, "/containment_id")),
            entity(c),
            state(c, "/state")
        )),
        (Tint::Faint, format!("  until {}", time(c, "/lease_until"))),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::tests::printed;
    use crate::cli::records::SHOWN_CHARS;

    fn explanation() -> Value {
        let events = [15, 16].map(|p| {
            json!({
                "position": p, "received": "2026-01-02T03:05:12Z",
                "raw": {"origin": "http", "line": format!("line {p} {}", "x".repeat(200))},
                "event": {"timestamp": "2026-01-02T03:05:11Z", "mapping": "sshd",
                          "fields": {"event.action": "failed_login", "user.name": "root"}}
            })
        });
        json!({
            "threat": {
                "threat_id": "1f3a9c0e-0000-5000-8000-000000000000", "severity": "high", "title": "Guessing by 203.0.113.9",
                "state": {"is": "open"}, "confidence": 0.87, "positions": [12, 16],
                "first_seen": "2026-01-02T03:04:05Z", "last_seen": "2026-01-02T03:05:11.5Z",
                "entities": [{"entity_kind": "ip", "entity": "203.0.113.9"}],
                "techniques": [{"technique": "T1110", "first_seen": "2026-01-02T03:04:05Z"}],
                "tactics": ["credential-access"], "narrative": "It guessed passwords."
            },
            "detections": [{
                "detection": {
                    "detection_id": "5b2c11d0-x", "severity": "high", "rule_title": "Guessing", "rule_id": "r-1",
                    "timestamp": "2026-01-02T03:05:11Z", "mitre_techniques": ["T1110"], "confidence": 0.8,
                    "entity_kind": "ip", "entity": "203.0.113.9", "position": 16, "earlier": [12, 13, 14, 15],
                    "matched": [{"selection": "sel", "field": "event.action", "wanted": "failed_login", "value": "failed_login"},
                                {"selection": "condition", "field": "", "wanted": "", "value": "5 events"},
                                {"selection": "words", "field": "", "wanted": "*root*", "value": "for root\u{1b}[2J"}]
                },
                "events": events
            }],
            "detections_total": 3,
            "runs": [{
                "run_id": "r1", "playbook_id": "brute_force_response", "state": "waiting", "simulated": true,
                "steps": [
                    {"action_id": "rate_limit", "state": {"is": "simulated"}, "inverse": "remove the limit"},
                    {"action_id": "block", "state": {"is": "refused", "reason": "it is a gateway"}, "inverse": "unblock"}
                ]
            }],
            "questions": [{"run_id": "r1", "action_id": "block", "question_id": "q1", "prompt": "Block it?", "state": "denied",
                           "answered": ["ana", "2026-01-02T03:06:00Z"]}],
            "containments": [{"run_id": "r1", "action_id": "rate_limit", "containment_id": "c1", "entity_kind": "ip",
                              "entity": "203.0.113.9", "state": {"is": "active"}, "lease_until": "2026-01-02T04:05:00Z"}]
        })
    }

    #[test]
    fn the_tree_leads_from_the_threat_to_what_matched() {
        let text = printed(Format::Table, |out| print(&explanation(), 1, out));
        let line = format!("line 16 {}…", "x".repeat(SHOWN_CHARS - 8));
        let expected = format!(
            "threat 1f3a9c0e  high  Guessing by 203.0.113.9
├─ open · 87 % sure · log positions 12 to 16 · 2026-01-02 03:04:05 to 2026-01-02 03:05:11
├─ about ip 203.0.113.9
├─ techniques T1110  (credential-access)
├─ 2 earlier detections: vertice detections list --threat 1f3a9c0e
├─ detection 5b2c11d0  high  Guessing  2026-01-02 03:05:11
│  ├─ rule r-1 · T1110 · 80 % sure · ip 203.0.113.9
│  ├─ 4 more events before, from log position 12 on
│  └─ event at log position 16  2026-01-02 03:05:11  sshd  failed_login  root
│     ├─ {line}
│     ├─ matched sel: event.action = failed_login
│     ├─ matched condition: anywhere = 5 events
│     └─ matched words: anywhere = for root␛[2J   wanted *root*
└─ response r1  brute_force_response  waiting  simulated: nothing was done
   ├─ rate_limit  simulated  undone by: remove the limit
   │  └─ containment c1  ip 203.0.113.9  active  until 2026-01-02 04:05:00
   └─ block  refused: it is a gateway  undone by: unblock
      └─ question q1  Block it?  denied ana 2026-01-02 03:06:00

It guessed passwords.

Your turn: vertice threats judge 1f3a9c0e confirmed | false_positive | benign
"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn conditions_are_shown_also_where_the_events_are_not() {
        let mut explanation = explanation();
        explanation["detections"][0]["events"] = json!([]);
        let text = printed(Format::Table, |out| print(&explanation, 3, out));
        assert!(
            text.contains("event at log position 16, which is not shown") && text.contains("matched sel:"),
            "{text}"
        );
    }

    #[test]
    fn more_events_are_shown_when_asked_for() {
        let text = printed(Format::Table, |out| print(&explanation(), 9, out));
        assert!(text.contains("event at log position 15") && text.contains("3 more events before"), "{text}");
        assert_eq!(text.matches("matched sel").count(), 1);
    }

    #[test]
    fn a_long_value_is_shown_as_far_as_it_takes_to_recognise_it() {
        let mut explanation = explanation();
        let command = "p".repeat(SHOWN_CHARS) + "ayload";
        let detection = &mut explanation["detections"][0];
        detection["events"][1]["event"]["fields"]["process.command_line"] = json!(command);
        detection["detection"]["matched"][0] = json!({"selection": "sel", "field": "CommandLine", "value": command});
        let text = printed(Format::Table, |out| print(&explanation, 1, out));
        let shown = "p".repeat(SHOWN_CHARS) + "…";
        assert!(text.contains(&format!("failed_login  root  {shown}\n")), "{text}");
        assert!(text.contains(&format!("CommandLine = {shown}\n")), "{text}");
    }
}
