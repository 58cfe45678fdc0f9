//! The shipped mappings: their own cases, real logs with known answers, and mutated lines.

use std::path::Path;
use std::sync::Arc;

use vertice_engine::normalize::Mappings;
use vertice_engine::{ContentError, ContentFile, Stamp};
use vertice_model::{Position, RawEvent, Refusal, Timestamp};

const MAPPINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../content/mappings");

fn files(folder: &Path, prefix: &str) -> Vec<ContentFile> {
    let mut files: Vec<ContentFile> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yml"))
        .map(|path| ContentFile {
            path: format!("{prefix}/{}", path.file_name().unwrap().to_string_lossy()),
            text: std::fs::read_to_string(&path).unwrap(),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn shipped() -> Mappings {
    let files = files(Path::new(MAPPINGS), "mappings");
    let mut refused: Vec<ContentError> = Vec::new();
    let mappings = Mappings::compile(&files.iter().collect::<Vec<_>>(), &mut refused);
    assert!(refused.is_empty(), "{}", refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    mappings
}

fn received() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn read(mappings: &Mappings, line: &str) -> Result<vertice_model::Event, Refusal> {
    let stamp = Stamp { position: Position(7), now: received() };
    mappings.normalize(stamp, &RawEvent { origin: Arc::from("test"), line: line.to_owned() })
}

mod cases;
mod known_answers;
mod mutated;
