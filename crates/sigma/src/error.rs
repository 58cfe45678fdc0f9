//! What is refused at load, and where.

use std::fmt;

/// A document of a rule file that was refused. The others stand.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RuleError {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// What is wrong, naming the field, and what was meant.
    pub reason: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.reason)
    }
}

impl std::error::Error for RuleError {}

/// Why a document is refused, before it is known of which file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refused {
    pub(crate) line: u32,
    pub(crate) reason: String,
}

impl Refused {
    pub(crate) fn new(line: u32, reason: impl Into<String>) -> Refused {
        Refused { line, reason: reason.into() }
    }
}
