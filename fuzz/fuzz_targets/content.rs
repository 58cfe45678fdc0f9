//! Any text as a playbook or a mapping (its first letter says which), and what the mapping makes of a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_engine::{Content, ContentFile, Stamp};
use vertice_model::{Position, RawEvent, Timestamp};

const LINES: [&str; 3] = [
    "Feb 27 14:52:59 w sshd[1]: Failed password for root from 192.0.2.1 port 4 ssh2",
    r#"{"event_id":"1","timestamp":"2026-01-01T00:00:00Z","source":"ids","event_type":"alert","source_ip":"192.0.2.1"}"#,
    r#"192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#,
];

fuzz_target!(|text: &str| {
    let (path, text) = match text.strip_prefix('p') {
        Some(rest) => ("playbooks/fuzz.yml", rest),
        None => ("mappings/fuzz.yml", text.strip_prefix('m').unwrap_or(text)),
    };
    let content = Content::compile(vec![ContentFile { path: path.to_owned(), text: text.to_owned() }]);
    assert!(content.refused.iter().all(|error| !error.reason.is_empty()));
    let stamp = Stamp { position: Position(1), now: Timestamp::from_seconds(1_767_225_600) };
    for line in LINES {
        let _ = content.mappings.normalize(stamp, &RawEvent { origin: "fuzz".into(), line: line.to_owned() });
    }
});
