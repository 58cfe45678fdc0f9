//! Any text as a processing pipeline, and what it makes of a rule.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_sigma::{Compilation, Pipeline, RuleSet};

const RULES: &str = "title: t\nname: t\nlogsource: {category: process_creation, product: windows}\n\
    detection: {s: {Image|endswith: '\\a', User|expand: '%admins%', N: null}, t: [{A: 1}, {B|fieldref: A}], k: [word], condition: s or 1 of t* or k}\n---\n\
    title: c\ncorrelation: {type: value_count, rules: t, group-by: [User], timespan: 1m, condition: {gte: 2, field: Image}}\n";

fuzz_target!(|text: &str| {
    if let Ok(pipeline) = Pipeline::read("fuzz.yml", text) {
        let _ = RuleSet::compile_with([("t.yml", RULES)], &Compilation { pipelines: vec![pipeline], ..Compilation::default() });
    }
});
