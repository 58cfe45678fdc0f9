//! Any bytes as records and as the body of a request.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vertice_stream::{Records, split_body};

fuzz_target!(|bytes: &[u8]| {
    for line in Records::new(bytes).flatten() {
        assert!(!line.text.contains(['\n', '\0']));
    }
    for encoding in [None, Some("gzip")] {
        if let Ok(body) = split_body(bytes, Some("application/json"), encoding, &Arc::from("http")) {
            assert_eq!(body.events.len(), body.numbers.len());
        }
    }
});
