//! Any bytes as a language model's answer: of each provider, of one that refuses, and of Redis.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vertice_llm::{Redactor, fuzz};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(fuzz::redactor);

// Compiled beforehand: instrumented, that takes longer than an input may.
fuzz_target!(init: { LazyLock::force(&REDACTOR); }, |bytes: &[u8]| fuzz::answer(&REDACTOR, bytes));
