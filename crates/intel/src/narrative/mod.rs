//! Narratives that keep to their evidence: what a model or a template wrote of a threat, checked claim by claim.
//!
//! Every sentence cites exhibits by their ids. Whatever it says that can be checked, an address, a hash, a technique, a
//! count, a time, or any other word with a digit in it, must be in an exhibit that this very sentence cites. What can
//! not be read is refused: a false refusal costs a template's sentence instead of a model's, a false acceptance a lie
//! in a report.
//!
//! Names that come from events (hosts, accounts, rules) stand in double quotes and must be an exhibit's, letter for
//! letter, so that a host called `12` makes no count and a forged name no claim.

mod claims;
mod write;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vertice_model::{Technique, Timestamp};

pub use write::{exhibits, narrate};

use crate::limits;

/// One piece of evidence, and everything that may be said of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exhibit {
    /// What sentences cite: a detection's or a threat's id.
    pub id: String,
    /// Addresses, in canonical form.
    pub addresses: BTreeSet<IpAddr>,
    /// Hashes, in lower-case hexadecimal.
    pub hashes: BTreeSet<String>,
    /// Techniques, exactly as they may be named.
    pub techniques: BTreeSet<Technique>,
    /// Counts.
    pub counts: BTreeSet<u64>,
    /// Instants.
    pub times: BTreeSet<Timestamp>,
    /// Names that may stand in double quotes, as [`quotable`] gives them.
    pub names: BTreeSet<String>,
}

/// A sentence and what it rests on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sentence {
    /// One sentence.
    pub text: String,
    /// The ids of its exhibits.
    pub cites: Vec<String>,
}

/// What a claim is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// An IPv4 or IPv6 address, or a domain name.
    Address,
    /// A hash.
    Hash,
    /// A technique id.
    Technique,
    /// A number.
    Count,
    /// A date, a time or both.
    Time,
    /// Something with digits that is none of these.
    Other,
}

/// Why a narrative is refused.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum Fault {
    /// It has no sentences, too many, or too many bytes.
    #[error("a narrative has 1 to 256 sentences in at most 64 KiB")]
    Size,
    /// A sentence cites nothing, or too much.
    #[error("sentence {sentence} must cite 1 to 64 exhibits")]
    Uncited {
        /// Which, from 1.
        sentence: usize,
    },
    /// A sentence cites what is not there.
    #[error("sentence {sentence} cites {id:?}, which is no evidence")]
    UnknownCitation {
        /// Which, from 1.
        sentence: usize,
        /// What it cites, cut after 64 characters.
        id: String,
    },
    /// A text has more than one sentence, so that one of them cites nothing of its own.
    #[error("sentence {sentence} is more than one, or empty")]
    NotOneSentence {
        /// Which, from 1.
        sentence: usize,
    },
    /// A text has characters that hide what it says: controls, invisible ones, digits of other scripts.
    #[error("sentence {sentence} has characters that hide what it says")]
    Obscured {
        /// Which, from 1.
        sentence: usize,
    },
    /// A claim is not in the evidence that its sentence cites.
    #[error("sentence {sentence}: {text:?} is not in the evidence it cites")]
    NotInEvidence {
        /// Which, from 1.
        sentence: usize,
        /// What it is about.
        kind: ClaimKind,
        /// As written, cut after 64 characters.
        text: String,
    },
}

/// Whether every claim of every sentence is in what the sentence cites.
///
/// # Errors
///
/// Gives every fault found, at most [`limits::FAULTS_MAX`].
pub fn check(sentences: &[Sentence], evidence: &[Exhibit]) -> Result<(), Vec<Fault>> {
    let bytes: usize = sentences.iter().map(|s| s.text.len()).sum();
    if sentences.is_empty() || sentences.len() > limits::SENTENCES_MAX || bytes > limits::NARRATIVE_BYTES_MAX {
        return Err(vec![Fault::Size]);
    }
    let mut faults = Vec::new();
    for (at, sentence) in sentences.iter().enumerate() {
        if faults.len() < limits::FAULTS_MAX {
            check_one(at + 1, sentence, evidence, &mut faults);
        }
    }
    faults.truncate(limits::FAULTS_MAX);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn check_one(at: usize, sentence: &Sentence, evidence: &[Exhibit], faults: &mut Vec<Fault>) {
    if sentence.cites.is_empty() || sentence.cites.len() > limits::CITATIONS_MAX {
        faults.push(Fault::Uncited { sentence: at });
        return;
    }
    let mut cited = Vec::new();
    for id in &sentence.cites {
        match evidence.iter().find(|e| e.id == *id) {
            Some(exhibit) => cited.push(exhibit),
            None => faults.push(Fault::UnknownCitation { sentence: at, id: cut(id) }),
        }
    }
    let text = claims::without_names(&sentence.text, &cited);
    if text.chars().any(claims::hides) {
        faults.push(Fault::Obscured { sentence: at });
        return;
    }
    if claims::is_not_one_sentence(&text) {
        faults.push(Fault::NotOneSentence { sentence: at });
    }
    let refused = claims::refused(&text, &cited).into_iter();
    faults.extend(refused.map(|(kind, text)| Fault::NotInEvidence { sentence: at, kind, text: cut(&text) }));
}

/// Cuts a text into sentences: each ends with its citations in square brackets, `It began at … [id, id].`
///
/// What stands after the last citation is a sentence that cites nothing, and so is refused by [`check`].
#[must_use]
pub fn sentences(text: &str) -> Vec<Sentence> {
    let (mut all, mut rest) = (Vec::new(), text);
    while all.len() <= limits::SENTENCES_MAX {
        // A defanged dot is no citation.
        let opens = rest.match_indices('[').map(|(at, _)| at);
        let open = opens.into_iter().find(|at| !["[.]", "[:]", "[dot]"].iter().any(|d| rest[*at..].starts_with(d)));
        let Some((open, length)) = open.and_then(|at| Some((at, rest[at..].find(']')?))) else { break };
        let cites = rest[open + 1..open + length].split(',').map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        all.push(Sentence { text: rest[..open].trim().to_owned(), cites: cites.collect() });
        rest = rest[open + length + 1..].trim_start_matches(['.', ' ', '\n']);
    }
    if !rest.trim().is_empty() {
        all.push(Sentence { text: rest.trim().to_owned(), cites: Vec::new() });
    }
    all
}

/// The form in which a name from an event may stand in double quotes: one line, no quotes, nothing that hides, at most
/// 120 characters.
#[must_use]
pub fn quotable(name: &str) -> String {
    let plain = |c: char| match c {
        '"' => '\'',
        c if c.is_whitespace() => ' ',
        c if claims::is_invisible(c) => '?',
        c => c,
    };
    name.chars().take(120).map(plain).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
