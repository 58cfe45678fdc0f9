//! The body of a request, as events.

use std::io::{self, Read};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use vertice_model::RawEvent;

use crate::limits::{BODY_BYTES_MAX, BODY_EVENTS_MAX};
use crate::records::{Records, Refused};

/// The events of a body, and what was refused of it.
#[derive(Debug, Default)]
pub struct Body {
    /// The events, in order.
    pub events: Vec<RawEvent>,
    /// For each event the number of its line, or of its element within a JSON array, from 1.
    pub numbers: Vec<u64>,
    /// What was refused, in order.
    pub refused: Vec<Refused>,
}

/// Why a whole body was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than [`BODY_BYTES_MAX`], packed or unpacked. Sending it in parts helps.
    #[error("the body is larger than {BODY_BYTES_MAX} bytes unpacked; send it in parts")]
    TooLarge,
    /// It has more than [`BODY_EVENTS_MAX`] events and refused lines. Sending it in parts helps.
    #[error("the body has more than {BODY_EVENTS_MAX} events; send it in parts")]
    TooMany,
    /// Its `Content-Encoding` is neither `gzip` nor `identity`.
    #[error("content encoding {0:?} is not understood; use gzip or identity")]
    UnknownEncoding(String),
    /// It is no gzip, or a damaged one.
    #[error("the body can not be unpacked: {0}")]
    BadGzip(String),
    /// It ends within a gzip. What came is not kept, for its checksum did not: a sender that sends it again would
    /// send those events twice. Sending it again helps.
    #[error("the gzip ends before it is whole; nothing of it was kept: send all of it again")]
    TornGzip,
}

/// How every gzip begins (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Splits the body of a request into events, all of them from `origin`.
///
/// `content_encoding` may be `gzip`. `content_type` decides one thing: under a JSON type a line that is no JSON
/// object is refused, under any other it is an event of one line of text. Everything else is recognised.
///
/// # Errors
/// If nothing of it can be accepted; see [`BodyError`].
pub fn split_body(
    bytes: &[u8],
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    origin: &Arc<str>,
) -> Result<Body, BodyError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(BodyError::TooLarge);
    }
    let json_only = content_type.is_some_and(is_json);
    match content_encoding.map(str::trim).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "identity" => split(bytes, json_only, origin),
        "gzip" | "x-gzip" if !bytes.starts_with(&GZIP) => Err(BodyError::BadGzip("it does not begin as a gzip".into())),
        "gzip" | "x-gzip" => {
            let mut unpacked = Unpacked { input: MultiGzDecoder::new(bytes), left: BODY_BYTES_MAX, fault: None };
            let body = split(&mut unpacked, json_only, origin);
            unpacked.fault.map_or(body, Err)
        }
        other => Err(BodyError::UnknownEncoding(other.chars().take(64).collect())),
    }
}

/// `application/json`, `application/x-ndjson`, `application/jsonl`, `application/cloudevents+json`, …
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["json", "ndjson", "jsonl", "jsonlines"].iter().any(|name| {
        let name_begins = essence.len() - name.len().min(essence.len());
        essence.ends_with(name) && matches!(essence.as_bytes()[..name_begins].last(), Some(b'/' | b'+' | b'-'))
    })
}

fn split(input: impl Read, json_only: bool, origin: &Arc<str>) -> Result<Body, BodyError> {
    let mut body = Body::default();
    for record in Records::new(input) {
        if body.events.len() + body.refused.len() == BODY_EVENTS_MAX {
            return Err(BodyError::TooMany);
        }
        match record {
            Ok(line) if json_only && !line.text.starts_with('{') => {
                body.refused.push(Refused { number: line.number, reason: "no JSON object".into() });
            }
            Ok(line) => {
                body.events.push(RawEvent { origin: Arc::clone(origin), line: line.text });
                body.numbers.push(line.number);
            }
            Err(refused) => body.refused.push(refused),
        }
    }
    Ok(body)
}

/// Unpacked bytes, of which there may be so many, and why there are no more.
struct Unpacked<R> {
    input: R,
    left: usize,
    fault: Option<BodyError>,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.fault.is_some() {
            return Ok(0);
        }
        // One byte more than is left tells a body that just fits from one that does not.
        let room = into.len().min(self.left + 1);
        match self.input.read(&mut into[..room]) {
            Ok(n) if n > self.left => self.fault = Some(BodyError::TooLarge),
            Ok(n) => {
                self.left -= n;
                return Ok(n);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => self.fault = Some(BodyError::TornGzip),
            Err(e) => self.fault = Some(BodyError::BadGzip(e.to_string())),
        }
        Ok(0)
    }
}
