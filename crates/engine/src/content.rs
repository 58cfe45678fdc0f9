//! Rules, mappings and playbooks: data with versions and tests, compiled into what the stages use.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::decide::{Playbooks, Policy};
use crate::detect::{Rules, Tables};
use crate::normalize::Mappings;
use crate::route::Routes;

/// One file of content. How its path begins decides what it is: `rules/…` of what is built in and
/// `rules:PATH` of what lies elsewhere is a rule; `mappings`, `playbooks`, `pipelines` (Sigma's, which fit
/// the rules that lie elsewhere to our events) and `intel` (tables of commands and their techniques) likewise, and one
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
#[error("{path}:{}: {reason}", Place(*line, *column))]
pub struct ContentError {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 where the whole file is meant, such as one that is missing.
    pub line: u64,
    /// The column within it, in characters from 1; 0 where only the line is known.
    #[serde(default)]
    pub column: u64,
    /// What is wrong, in which field, and what was meant.
    pub reason: String,
}

/// A line, and the column in it if that is known.
struct Place(u64, u64);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place(line, 0) => write!(f, "{line}"),
            Place(line, column) => write!(f, "{line}:{column}"),
        }
    }
}

/// The content in force. Serialized as its files; what was read is compiled only once somebody looks at
/// what it holds, for most who pass over it in the log never do, and thousands of rules take seconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(from = "Vec<ContentFile>", into = "Vec<ContentFile>")]
pub struct Content {
    files: Vec<ContentFile>,
    digest: String,
    compiled: OnceLock<Compiled>,
}

/// What the files of a [`Content`] say.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// How raw events become events.
    pub mappings: Mappings,
    /// What is looked for.
    pub rules: Rules,
    /// Where in a divided engine what matches is judged.
    pub routes: Routes,
    /// What is done about it.
    pub playbooks: Playbooks,
    /// What no action may touch, and how many may be touched.
    pub policy: Policy,
    /// The files that were refused.
    pub refused: Vec<ContentError>,
}

impl std::ops::Deref for Content {
    type Target = Compiled;

    fn deref(&self) -> &Compiled {
        self.compiled.get_or_init(|| compile(&self.files))
    }
}

impl Content {
    /// Compiles content. A bad file is left out and named in [`Compiled::refused`]; the others stand.
    #[must_use]
    pub fn compile(files: Vec<ContentFile>) -> Content {
        let compiled = compile(&files).into();
        Content { compiled, ..Content::from(files) }
    }

    /// The files that it was made of.
    #[must_use]
    pub fn files(&self) -> &[ContentFile] {
        &self.files
    }

    /// BLAKE3 of the files, in hexadecimal: two contents with one digest are the same.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

fn compile(files: &[ContentFile]) -> Compiled {
    let below = |folder: &str| -> Vec<&ContentFile> {
        files.iter().filter(|f| f.path.split(['/', ':']).next() == Some(folder)).collect()
    };
    let mut refused = Vec::new();
    let mappings = Mappings::compile(&below("mappings"), &mut refused);
    let tables = Tables::compile(&below("intel"), &mut refused);
    let rules = Rules::compile(&below("rules"), &below("pipelines"), &mut refused).mapped_by(tables);
    let playbooks = Playbooks::compile(&below("playbooks"), &mut refused);
    let policy = policy(&below("policy"), &mut refused);
    for error in &mut refused {
        // A person knows a file by its path alone.
        if let Some((_, path)) = error.path.split_once(':') {
            error.path = path.to_owned();
        }
    }
    Compiled { mappings, routes: Routes::of(&rules), rules, playbooks, policy, refused }
}

/// The last policy that can be read; the cautious default where there is none.
fn policy(files: &[&ContentFile], refused: &mut Vec<ContentError>) -> Policy {
    let mut policy = Policy::default();
    for file in files {
        match serde_json::from_str(&file.text) {
            Ok(read) => policy = read,
            Err(e) => refused.push(ContentError {
                path: file.path.clone(),
                line: e.line() as u64,
                column: e.column() as u64,
                reason: e.to_string(),
            }),
        }
    }
    policy
}

impl From<Vec<ContentFile>> for Content {
    fn from(files: Vec<ContentFile>) -> Content {
        let mut digest = blake3::Hasher::new();
        for file in &files {
            for part in [&file.path, &file.text] {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part.as_bytes());
            }
        }
        Content { digest: digest.finalize().to_hex().to_string(), files, compiled: OnceLock::new() }
    }
}

impl From<Content> for Vec<ContentFile> {
    fn from(content: Content) -> Vec<ContentFile> {
        content.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_fit_the_rules_that_are_not_built_in() {
        let rule = |name: &str| {
            format!("title: {name}\nlogsource: {{product: p}}\ndetection: {{s: {{A: 1}}, condition: s}}\n")
        };
        let pipeline = "transformations: [{type: change_logsource, product: q}]";
        let file = |path: &str, text: &str| ContentFile { path: path.into(), text: text.into() };
        let content = Content::compile(vec![
            file("rules/own.yml", &rule("own")),
            file("rules:/etc/other.yml", &rule("other")),
            file("pipelines:/etc/fit.yml", pipeline),
            file("pipelines:/etc/bad.yml", "transformations: [{type: fit}]"),
        ]);
        let products: Vec<_> = content.rules.set().iter().map(|(_, rule)| rule.log_source.product.clone()).collect();
        assert_eq!(products, [Some("p".to_owned()), Some("q".to_owned())]);
        let refused: Vec<_> = content.refused.iter().map(ToString::to_string).collect();
        assert!(refused.len() == 1 && refused[0].starts_with("/etc/bad.yml:1:"), "{refused:?}");
    }

    #[test]
    fn what_is_read_is_compiled_once_it_is_looked_at() {
        let file = |path: &str, text: &str| ContentFile { path: path.into(), text: text.into() };
        let made = Content::compile(vec![file("rules:/etc/bad.yml", "title: [")]);
        assert!(made.compiled.get().is_some());
        let read: Content = serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
        assert_eq!(read.digest(), made.digest());
        assert!(read.compiled.get().is_none());
        assert_eq!((read.refused.clone(), read.refused[0].path.as_str()), (made.refused.clone(), "/etc/bad.yml"));
        assert!(read.compiled.get().is_some());
    }
}
