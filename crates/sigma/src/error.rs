//! What is refused at load, and where.

use std::fmt;

use crate::yaml::Line;

/// A document of a rule file that was refused. The others stand.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RuleError {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column within it, in characters from 1.
    pub column: u32,
    /// What is wrong, naming the field, and what was meant.
    pub reason: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.reason)
    }
}

impl std::error::Error for RuleError {}

/// Why a document is refused, before it is known of which file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    pub(crate) line: Line,
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn new(line: impl Into<Line>, reason: impl Into<String>) -> Refused {
        Refused { line: line.into(), reason: reason.into() }
    }
}
