//! `vertice watch`: what changes, as it changes, a line each.
//!
//! The server sends an event stream (WHATWG HTML, section 9.2): lines of `field: value`, an empty line
//! after each message.

use std::io::{BufRead, Read as _};

use anyhow::Result;
use serde_json::Value;

use super::Failure;
use super::client::Client;
use super::output::{Format, Out, Tint};
use super::records::{confidence, entity, short, state, text, time};
use crate::limits;

/// One message of the stream.
#[derive(Debug, Default, Eq, PartialEq)]
struct Message {
    event: String,
    data: String,
}

/// Prints changes until the server or the person ends it.
pub fn run(client: &Client, out: &mut Out) -> Result<()> {
    let mut lines = client.lines("/api/v1/stream")?;
    if out.format == Format::Table {
        out.parts(&[(Tint::Faint, &format!("Watching {}; Ctrl-C ends it.", client.base()))])?;
        out.flush()?;
    }
    while let Some(message) = next(&mut lines)? {
        tell(&message, out)?;
        out.flush()?;
    }
    Err(Failure::Unreachable(format!("{} ended the stream", client.base())).into())
}

/// The next message that has data; `None` at the end.
fn next(lines: &mut impl BufRead) -> Result<Option<Message>> {
    let mut message = Message::default();
    loop {
        let mut line = Vec::new();
        let broken = |e: std::io::Error| Failure::Unreachable(format!("the stream broke off: {e}"));
        lines.by_ref().take(limits::STREAM_LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(broken)?;
        if line.is_empty() {
            return Ok(None);
        }
        if !line.ends_with(b"\n") && line.len() as u64 == limits::STREAM_LINE_BYTES_MAX {
            return Err(Failure::Failed("the stream has a line that is too long".to_owned()).into());
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\r', '\n']);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut message.event),
            "data" => message.data.push_str(value),
            "" if line.is_empty() && !message.data.is_empty() => return Ok(Some(message)),
            "" if line.is_empty() => message = Message::default(),
            // `id`, `retry`, and comments, which keep the connection alive.
            _ => {}
        }
    }
}

fn tell(message: &Message, out: &mut Out) -> Result<()> {
    let Ok(mut data) = serde_json::from_str::<Value>(&message.data) else {
        return out.line(&message.data);
    };
    let kind = [text(&data, "/record"), text(&data, "/kind"), message.event.clone()];
    let kind = kind.into_iter().find(|k| !k.is_empty()).unwrap_or_default();
    if out.format != Format::Table {
        if let Some(object) = data.as_object_mut() {
            object.entry("record").or_insert_with(|| Value::from(kind));
        }
        return out.json_line(&data);
    }
    let record = ["data", "value"].iter().find_map(|name| data.get(*name).filter(|v| v.is_object())).unwrap_or(&data);
    let severity = text(record, "/severity");
    let (id, at, what) = said(&kind, record);
    out.parts(&[
        (Tint::Faint, &format!("{at:<19}  ")),
        (Tint::None, &format!("{kind:<12} {:<9}", short(&id))),
        (Tint::of_severity(&severity), &format!("{severity:<9}")),
        (Tint::None, &what),
    ])
}

/// The id, the time, and what there is to say of a record.
fn said(kind: &str, record: &Value) -> (String, String, String) {
    let r = record;
    let (id, at, what) = match kind {
        "detection" => ("/detection_id", "/timestamp", format!("{}  {}", text(r, "/entity"), text(r, "/rule_title"))),
        "threat" => (
            "/threat_id",
            "/updated_at",
            format!(
                "{}  ({}, {}, {} detections)",
                text(r, "/title"),
                state(r, "/state"),
                confidence(r, "/confidence"),
                text(r, "/detections")
            ),
        ),
        "run" => ("/run_id", "/timestamp", format!("{}  {}", text(r, "/playbook_id"), state(r, "/state"))),
        "question" => ("/question_id", "/asked_at", format!("{}  {}", state(r, "/state"), text(r, "/prompt"))),
        "containment" => (
            "/containment_id",
            "/since",
            format!(
                "{}  {}  {}  until {}",
                entity(r),
                text(r, "/action_type"),
                state(r, "/state"),
                time(r, "/lease_until")
            ),
        ),
        "consultation" => (
            "/consultation_id",
            "/asked_at",
            format!("{}  {}", state(r, "/state"), text(r, "/opinion/assessment").replace('_', " ")),
        ),
        "suppression" => {
            ("/suppression_id", "/updated_at", format!("{}  rule {}", state(r, "/state"), text(r, "/scope/rule_id")))
        }
        "refused" => ("/position", "/at", format!("{}: {}", text(r, "/origin"), text(r, "/reason"))),
        _ => ("/id", "/timestamp", r.to_string()),
    };
    (text(r, id), time(r, at), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::printed;

    #[test]
    fn messages_are_told_apart() {
        let stream = ": alive\n\nid: 1.0\nevent: detection\ndata: {\"a\":1}\n\nevent: lost\n\nretry: 5\ndata: x\r\ndata: y\r\n\r\ndata: cut";
        let mut lines = stream.as_bytes();
        let message = |event: &str, data: &str| Message { event: event.to_owned(), data: data.to_owned() };
        assert_eq!(next(&mut lines).unwrap(), Some(message("detection", "{\"a\":1}")));
        assert_eq!(next(&mut lines).unwrap(), Some(message("", "xy")));
        assert_eq!(next(&mut lines).unwrap(), None);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let endless = vec![b'x'; limits::STREAM_LINE_BYTES_MAX as usize + 1];
        assert!(next(&mut endless.as_slice()).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn each_kind_of_record_has_its_line() {
        let told = |event: &str, data: &str| {
            let message = Message { event: event.to_owned(), data: data.to_owned() };
            printed(Format::Table, |out| tell(&message, out))
        };
        let detection = r#"{"detection_id":"0123456789ab","timestamp":"2026-01-02T03:04:05.5Z","severity":"high",
            "entity":"203.0.113.9","rule_title":"Guessing \u001b[31m"}"#;
        assert_eq!(
            told("detection", detection),
            "2026-01-02 03:04:05  detection    01234567 high     203.0.113.9  Guessing ␛[31m\n"
        );
        assert!(
            told("containment", r#"{"entity_kind":"ip","entity":"192.0.2.1","state":{"is":"active"}}"#)
                .contains("ip 192.0.2.1")
        );
        assert!(told("question", r#"{"state":"expired","prompt":"Block it?"}"#).contains("expired  Block it?"));
        assert!(told("refused", r#"{"origin":"http","reason":"no mapping"}"#).contains("http: no mapping"));
        assert!(
            told("run", r#"{"playbook_id":"brute_force_response","state":"ended"}"#)
                .contains("brute_force_response  ended")
        );
        assert!(told("", r#"{"record":"threat","title":"Guessing by x","detections":3}"#).contains("Guessing by x"));
        assert!(told("new", r#"{"x":1}"#).contains(r#"{"x":1}"#));
        assert_eq!(told("", "no json \u{1b}"), "no json ␛\n");
    }

    #[test]
    fn as_json_every_record_is_one_line_and_says_its_kind() {
        let message = Message { event: "threat".into(), data: r#"{"a":1}"#.into() };
        for format in [Format::Json, Format::Ndjson] {
            assert_eq!(printed(format, |out| tell(&message, out)), "{\"a\":1,\"record\":\"threat\"}\n");
        }
    }
}
