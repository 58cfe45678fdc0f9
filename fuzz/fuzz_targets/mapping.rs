//! Any text as a command to be mapped, and as a table of rules.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vertice_intel::{Mapper, limits};

static SHIPPED: LazyLock<Mapper> = LazyLock::new(|| {
    Mapper::parse(include_str!("../../content/intel/commands.txt")).expect("the shipped table is valid")
});

fuzz_target!(|text: &str| {
    let found = SHIPPED.map(text);
    assert!(found.techniques.len() <= limits::MAPPED_MAX);
    if let Some((table, command)) = text.split_once('\0') {
        if let Ok(mapper) = Mapper::parse(table) {
            assert!(mapper.map(command).techniques.len() <= limits::MAPPED_MAX);
        }
    }
});
