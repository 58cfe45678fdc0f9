//! What tests of several crates share. Never part of the product.

pub mod bouncer;
pub mod injections;
pub mod kafka;
pub mod net;
pub mod postgres;
pub mod scene;

use std::path::{Path, PathBuf};

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/testkit lies two below the root").to_owned()
}

/// The folder of known-answer data beside the repository, if it is there.
///
/// A test that reads it says how many cases it left out when this is `None`.
#[must_use]
pub fn known_answers(folder: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(folder);
    path.is_dir().then_some(path)
}

/// Whether the long forms of tests were asked for.
#[must_use]
pub fn long() -> bool {
    std::env::var_os("VERTICE_LONG").is_some_and(|v| v == "1")
}

/// Every file below a folder whose name ends so, by path.
#[must_use]
pub fn files_below(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A small deterministic generator of numbers (SplitMix64), so that a failing case can be run again.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// The text with some of its bytes flipped, cut, doubled or put elsewhere.
    pub fn mutated(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.number() as u8,
                2 => bytes.truncate(at),
                3 => bytes.insert(at, *b"\0\"'{}[]:,\\\n%\xff\x80 "[self.below(15)..].first().unwrap_or(&0)),
                4 => {
                    let end = (at + self.below(16)).min(bytes.len());
                    bytes.drain(at..end);
                }
                _ => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, part);
                }
            }
        }
        bytes
    }
}
