//! Bodies of requests.

use std::sync::Arc;

use vertice_stream::limits::{BODY_BYTES_MAX, BODY_EVENTS_MAX};
use vertice_stream::{Body, BodyError, split_body};

use crate::support::gzip;

const JSON: Option<&str> = Some("application/json; charset=utf-8");

fn split(bytes: &[u8], content_type: Option<&str>, encoding: Option<&str>) -> Result<Body, BodyError> {
    split_body(bytes, content_type, encoding, &Arc::from("http"))
}

#[test]
fn a_body_is_events_with_their_numbers_and_what_was_refused() {
    let body = split(b"{\"a\":1}\n\nplain\n{\"b\":\n", JSON, None).unwrap();
    assert_eq!(body.events.len(), 1);
    assert_eq!((&*body.events[0].origin, &*body.events[0].line), ("http", "{\"a\":1}"));
    assert_eq!(body.numbers, [1]);
    let refused: Vec<String> = body.refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused, ["3: no JSON object", "4: at line 5: the JSON value is not closed; the input ends here"]);
}

#[test]
fn only_a_json_type_forbids_text() {
    for (content_type, events) in [
        (None, 2),
        (Some("text/plain"), 2),
        (Some("application/x-www-form-urlencoded"), 2),
        (Some("application/json"), 1),
        (Some("Application/X-NDJSON"), 1),
        (Some("application/cloudevents+json"), 1),
        (Some("application/notjson"), 2),
        (Some("json"), 2),
        (Some(""), 2),
    ] {
        assert_eq!(split(b"{}\nplain", content_type, None).unwrap().events.len(), events, "{content_type:?}");
    }
}

#[test]
fn gzip_is_unpacked_and_a_bad_one_named() {
    let packed = gzip(b"[{\"a\":1},{\"b\":2}]");
    assert_eq!(split(&packed, JSON, Some("gzip")).unwrap().numbers, [1, 2]);
    assert_eq!(split(&packed, JSON, Some(" GZIP ")).unwrap().numbers, [1, 2]);
    let two = [packed.clone(), gzip(b"\n{}")].concat();
    assert_eq!(split(&two, JSON, Some("x-gzip")).unwrap().events.len(), 3);
    for bad in [&packed[..packed.len() - 4], &packed[..12], b"{}", b""] {
        let refused = split(bad, JSON, Some("gzip"));
        assert!(matches!(refused, Err(BodyError::BadGzip(_) | BodyError::TornGzip)), "{bad:?}: {refused:?}");
    }
    assert_eq!(split(b"{}", JSON, Some("br")).unwrap_err(), BodyError::UnknownEncoding("br".into()));
    assert_eq!(split(b"{}", JSON, Some("identity")).unwrap().events.len(), 1);
}

#[test]
fn a_body_has_a_size_packed_and_unpacked() {
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    assert_eq!(split(&large, JSON, None).unwrap_err(), BodyError::TooLarge);
    let blank = gzip(&large[..BODY_BYTES_MAX / 32]);
    assert_eq!(split(&blank.repeat(32), JSON, Some("gzip")).unwrap().events.len(), 0);
    assert_eq!(split(&[blank.repeat(32), gzip(b" ")].concat(), JSON, Some("gzip")).unwrap_err(), BodyError::TooLarge);
    // A bomb: 1 GiB in 1 MiB.
    assert_eq!(split(&blank.repeat(1024), JSON, Some("gzip")).unwrap_err(), BodyError::TooLarge);
}

#[test]
fn a_body_has_so_many_events() {
    let lines = "a\n".repeat(BODY_EVENTS_MAX);
    assert_eq!(split(lines.as_bytes(), None, None).unwrap().events.len(), BODY_EVENTS_MAX);
    assert_eq!(split(format!("{lines}b").as_bytes(), None, None).unwrap_err(), BodyError::TooMany);
}
