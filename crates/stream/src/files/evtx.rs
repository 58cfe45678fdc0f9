//! Windows event logs: each record as the JSON that `evtx_dump -o jsonl` writes.

use std::io::{Read, Seek};
use std::ops::ControlFlow;
use std::sync::Arc;

use evtx::err::EvtxError;
use evtx::{EvtxParser, ParserSettings};

use super::Reading;
use crate::records::read_line;

impl Reading<'_> {
    /// Every record, oldest first. What is damaged is refused by its record number, or by the number of its
    /// 64 KiB chunk where no record can be told, and the rest is read.
    pub(super) fn evtx<R: Read + Seek>(&mut self, name: &Arc<str>, input: R) -> ControlFlow<()> {
        let mut parser = match EvtxParser::from_read_seek(input) {
            Ok(parser) => parser.with_configuration(ParserSettings::new().num_threads(1).indent(false)),
            Err(e) => return self.left_out(name, format!("no EVTX file: {}", causes(&e))),
        };
        for record in parser.records_json() {
            match record {
                Ok(record) => match read_line(escaped(record.data).as_bytes()) {
                    Ok(line) => self.event(name, record.event_record_id, line)?,
                    Err(reason) => self.refused(name, record.event_record_id, reason)?,
                },
                Err(e) => self.refused(name, number(&e), causes(&e).into())?,
            }
        }
        ControlFlow::Continue(())
    }
}

/// The JSON with its control characters escaped, which the reader of EVTX leaves as they are: a command line
/// with one in it must not cost its record.
fn escaped(json: String) -> String {
    if !json.bytes().any(|b| b < 0x20) {
        return json;
    }
    let escape = |c: char| if c < ' ' { format!("\\u{:04x}", c as u32) } else { c.to_string() };
    json.trim_end().chars().map(escape).collect()
}

/// The number of the record that an error is about; 0 where it is about more than one, which it then says.
fn number(e: &EvtxError) -> u64 {
    if let EvtxError::FailedToParseRecord { record_id, .. } = e { *record_id } else { 0 }
}

/// The error and all that caused it, in one line.
fn causes(e: &EvtxError) -> String {
    let mut text = e.to_string();
    let mut cause = std::error::Error::source(e);
    while let Some(e) = cause {
        text.push_str(": ");
        text.push_str(&e.to_string());
        cause = e.source();
    }
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("{\"a\":\"x\u{1}y\tz\"}\n".into()), r#"{"a":"x\u0001y\u0009z"}"#);
        assert_eq!(escaped("{}".into()), "{}");
    }
}
