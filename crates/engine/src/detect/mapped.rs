//! Techniques for a detection whose rule names none: what the words of its event suggest.
//!
//! # Why this signal
//!
//! A score or a free-text match says that something is wrong and not what. The command line that it is about often does.
//!
//! # When it fires
//!
//! On a detection alone, never on an event that nothing matched, and only where its rule has no technique. The tables are
//! content: `intel/commands.txt`, and what directories add to it.
//!
//! # What it gets wrong
//!
//! Six of ten: on commands that the shipped table was not written for, 38 of 100 techniques that it names are right, and
//! it names 56 of 100 that are there. So what it says is marked (`mapped_by`) and is a suggestion to people: it is no
//! part of the threat, and no condition of a playbook sees it ([`vertice_model::Detection::tagged`]).
//!
//! # Cost
//!
//! One pass over a bounded text and a look at each rule of the tables; `cargo run --example triage` measures it.

use std::sync::Arc;

use vertice_intel::Mapper;
use vertice_model::{Event, Technique};

use crate::content::{ContentError, ContentFile};
use crate::limits;

/// What says so.
pub(super) const MAPPER: &str = "mapper";

/// Fields with what was run, or what was said where nothing was; the first that there is counts.
pub const TEXT_FIELDS: [&str; 3] = ["process.command_line", "message", "Message"];

/// The tables in force.
#[derive(Clone, Debug, Default)]
pub struct Tables(Arc<[Mapper]>);

impl Tables {
    /// Reads tables. A bad one is left out as a whole and named in `refused`.
    #[must_use]
    pub fn compile(files: &[&ContentFile], refused: &mut Vec<ContentError>) -> Tables {
        let (mut tables, mut rules) = (Vec::new(), 0);
        for file in files {
            let mut refuse = |line: usize, reason: String| {
                refused.push(ContentError { path: file.path.clone(), line: line as u64, column: 0, reason });
            };
            match Mapper::parse(&file.text) {
                Ok(table) if rules + table.rules() > limits::MAPPER_RULES_MAX => {
                    refuse(0, format!("with it there are more than {} mapper rules", limits::MAPPER_RULES_MAX));
                }
                Ok(table) => {
                    rules += table.rules();
                    tables.push(table);
                }
                Err(error) => refuse(error.line, error.reason),
            }
        }
        Tables(tables.into())
    }

    /// How many rules they have.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.0.iter().map(Mapper::rules).sum()
    }

    /// What an event's words suggest, the surest first: at most [`limits::MAPPED_TECHNIQUES_MAX`].
    #[must_use]
    pub fn suggest(&self, event: &Event) -> Vec<Technique> {
        let Some(text) = TEXT_FIELDS.iter().find_map(|field| event.fields.get(field)).filter(|_| !self.0.is_empty())
        else {
            return Vec::new();
        };
        let text: String = text.to_text().chars().take(limits::MAPPED_CHARS_MAX).collect();
        let mut all: Vec<Technique> = Vec::new();
        for mapping in self.0.iter().flat_map(|table| table.map(&text).techniques) {
            if all.len() < limits::MAPPED_TECHNIQUES_MAX && !all.contains(&mapping.technique) {
                all.push(mapping.technique);
            }
        }
        all
    }
}
