//! Places in a database, for saying where something went wrong.

use std::path::Path;

use crate::error::{Damage, ReadError};

/// A table of a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The file, or where the server is.
    pub(crate) file: &'a Path,
    pub(crate) table: &'static str,
}

impl Place<'_> {
    pub(crate) fn damage(self, place: impl Into<String>, what: impl Into<String>) -> Damage {
        Damage { file: self.file.to_owned(), table: self.table, place: place.into(), what: what.into() }
    }

    /// The value, unless its checksum is another one.
    pub(crate) fn unless_damaged<T>(self, value: T, ok: bool, name: impl Into<String>) -> Result<T, ReadError> {
        if ok { Ok(value) } else { Err(self.damage(name, "its checksum is wrong").into()) }
    }
}
