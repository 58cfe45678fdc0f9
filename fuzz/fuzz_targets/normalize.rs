//! Any text as a raw event, read by the mappings that ship.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vertice_engine::{Content, ContentFile, Stamp};
use vertice_model::{Position, RawEvent, Timestamp};

static CONTENT: LazyLock<Content> = LazyLock::new(|| {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../content/mappings"));
    let mut files: Vec<ContentFile> = fs::read_dir(folder)
        .expect("the mappings are there")
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| ContentFile {
            path: format!("mappings/{}", entry.file_name().to_string_lossy()),
            text: fs::read_to_string(entry.path()).expect("a mapping is text"),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let content = Content::compile(files);
    assert!(content.refused.is_empty(), "{:?}", content.refused);
    content
});

// Compiled beforehand: instrumented, that takes longer than an input may.
fuzz_target!(init: { LazyLock::force(&CONTENT); }, |line: &str| {
    let stamp = Stamp { position: Position(1), now: Timestamp::from_seconds(1_767_225_600) };
    let raw = RawEvent { origin: "fuzz".into(), line: line.to_owned() };
    let first = CONTENT.mappings.normalize(stamp, &raw);
    assert_eq!(first, CONTENT.mappings.normalize(stamp, &raw), "the same event reads the same");
});
