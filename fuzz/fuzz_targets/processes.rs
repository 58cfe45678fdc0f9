//! Any text as what `/proc` says of a process or of sockets, and as what a process calls itself.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| vertice_responder::fuzz::processes(text));
