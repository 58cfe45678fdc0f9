//! From the text of a file to the documents that stand for themselves: collections and their `action`.

use crate::error::Refused;
use crate::yaml::{self, Kind, Line, Node};

/// The documents of a file, with `action: global`, `reset` and `repeat` carried out.
pub(crate) fn documents(text: &str) -> Vec<Result<Node, Refused>> {
    let mut collection = Collection { global: None, previous: None };
    yaml::read(text).into_iter().filter_map(|document| collection.next(document).transpose()).collect()
}

struct Collection {
    /// What `action: global` lays under every document that follows.
    global: Option<Node>,
    /// What `action: repeat` begins with.
    previous: Option<Node>,
}

impl Collection {
    fn next(&mut self, document: Result<Node, Refused>) -> Result<Option<Node>, Refused> {
        let mut document = document?;
        let line = document.line;
        let Kind::Map(entries) = &mut document.kind else {
            return Err(Refused::new(line, format!("{}; a rule is meant, which is a map", document.what())));
        };
        let action = entries.iter().position(|entry| entry.key == "action").map(|at| entries.remove(at));
        let Some(action) = action else {
            return Ok(Some(self.complete(document, line)));
        };
        match action.value.as_text() {
            Some("global") => {
                match &mut self.global {
                    Some(global) => global.overlay(document),
                    None => self.global = Some(document),
                }
                Ok(None)
            }
            Some("reset") => {
                self.global = None;
                Ok((!document.entries().is_empty()).then(|| self.complete(document, line)))
            }
            Some("repeat") => match self.previous.clone() {
                Some(mut repeated) => {
                    repeated.overlay(document);
                    Ok(Some(self.complete(repeated, line)))
                }
                None => Err(Refused::new(action.line, "`action: repeat`, but no document stands before it")),
            },
            _ => {
                let written = action.value.written().unwrap_or(action.value.what());
                let reason = format!("`action`: `{written}`; one of global, reset, repeat is meant");
                Err(Refused::new(action.value.line, reason))
            }
        }
    }

    fn complete(&mut self, document: Node, line: Line) -> Node {
        let mut whole = match &self.global {
            Some(global) => {
                let mut whole = global.clone();
                whole.overlay(document);
                whole
            }
            None => document,
        };
        whole.line = line;
        self.previous = Some(whole.clone());
        whole
    }
}
