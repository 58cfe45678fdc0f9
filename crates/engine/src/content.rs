//! Rules, mappings and playbooks: data with versions and tests, compiled into what the stages use.

use serde::{Deserialize, Serialize};

use crate::decide::{Playbooks, Policy};
use crate::detect::Rules;
use crate::normalize::Mappings;

/// One file of content. How its path begins decides what it is: `rules/…` of what is built in and
/// `rules:PATH` of what lies elsewhere is a rule; `mappings` and `playbooks` likewise, and one
/// `policy` in JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ContentFile {
    /// Where it was read from, as a person would name it, such as `rules/auth/ssh_guessing.yml`.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// A content file that was refused: where, and why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{path}:{line}: {reason}")]
pub struct ContentError {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 where the whole file is meant, such as one that is missing.
    pub line: u64,
    /// What is wrong, in which field, and what was meant.
    pub reason: String,
}

/// The content in force. Serialized as its files; compiled anew when it is read.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(from = "Vec<ContentFile>", into = "Vec<ContentFile>")]
pub struct Content {
    files: Vec<ContentFile>,
    digest: String,
    /// How raw events become events.
    pub mappings: Mappings,
    /// What is looked for.
    pub rules: Rules,
    /// What is done about it.
    pub playbooks: Playbooks,
    /// What no action may touch, and how many may be touched.
    pub policy: Policy,
    /// The files that were refused.
    pub refused: Vec<ContentError>,
}

impl Content {
    /// Compiles content. A bad file is left out and named in [`Content::refused`]; the others stand.
    #[must_use]
    pub fn compile(files: Vec<ContentFile>) -> Content {
        let below = |folder: &str| -> Vec<&ContentFile> {
            files.iter().filter(|f| f.path.split(['/', ':']).next() == Some(folder)).collect()
        };
        let mut refused = Vec::new();
        let mappings = Mappings::compile(&below("mappings"), &mut refused);
        let rules = Rules::compile(&below("rules"), &mut refused);
        let playbooks = Playbooks::compile(&below("playbooks"), &mut refused);
        let policy = policy(&below("policy"), &mut refused);
        for error in &mut refused {
            // A person knows a file by its path alone.
            if let Some((_, path)) = error.path.split_once(':') {
                error.path = path.to_owned();
            }
        }
        let mut digest = blake3::Hasher::new();
        for file in &files {
            for part in [&file.path, &file.text] {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part.as_bytes());
            }
        }
        Content { digest: digest.finalize().to_hex().to_string(), files, mappings, rules, playbooks, policy, refused }
    }

    /// BLAKE3 of the files, in hexadecimal: two contents with one digest are the same.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// The last policy that can be read; the cautious default where there is none.
fn policy(files: &[&ContentFile], refused: &mut Vec<ContentError>) -> Policy {
    let mut policy = Policy::default();
    for file in files {
        match serde_json::from_str(&file.text) {
            Ok(read) => policy = read,
            Err(e) => {
                refused.push(ContentError { path: file.path.clone(), line: e.line() as u64, reason: e.to_string() })
            }
        }
    }
    policy
}

impl From<Vec<ContentFile>> for Content {
    fn from(files: Vec<ContentFile>) -> Content {
        Content::compile(files)
    }
}

impl From<Content> for Vec<ContentFile> {
    fn from(content: Content) -> Vec<ContentFile> {
        content.files
    }
}
