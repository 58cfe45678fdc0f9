//! Any bytes as a file: gzip, zip, tar or whatever else they look like.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let flow = vertice_stream::read_stream("fuzz", &mut &*bytes, &mut |_| ControlFlow::Continue(()));
    assert!(flow.is_continue());
});
