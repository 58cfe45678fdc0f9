//! Any bytes behind the header of a Windows event log and of its first chunk.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;

const CHUNK: usize = 64 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let mut log = b"ElfFile\0".to_vec();
    log.resize(4096, 0);
    // The header says that it is 4096 bytes long, version 3.1, and has one chunk.
    log[32..36].copy_from_slice(&128_u32.to_le_bytes());
    log[36..40].copy_from_slice(&[1, 0, 3, 0]);
    log[40..44].copy_from_slice(&[0, 16, 1, 0]);
    log.extend_from_slice(b"ElfChnk\0");
    log.extend_from_slice(&bytes[..bytes.len().min(CHUNK - 8)]);
    log.resize(4096 + CHUNK, 0);
    let flow = vertice_stream::read_stream("fuzz", &mut &*log, &mut |_| ControlFlow::Continue(()));
    assert!(flow.is_continue());
});
