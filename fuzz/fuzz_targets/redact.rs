//! Any text before it is sent to a language model, or shown.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vertice_llm::{Redactor, fuzz};

static REDACTOR: LazyLock<Redactor> = LazyLock::new(fuzz::redactor);

// Compiled beforehand: instrumented, that takes longer than an input may.
fuzz_target!(init: { LazyLock::force(&REDACTOR); }, |text: &str| fuzz::redact(&REDACTOR, text));
