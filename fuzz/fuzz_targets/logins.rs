//! Any bytes as the table of logins.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| vertice_responder::fuzz::logins(bytes));
