//! Playbooks in the format in which others exchange theirs: CACAO Security Playbooks 2.0.
//!
//! Both ways lose nothing. What CACAO has no word for goes into an extension ([`export()`]); what a playbook of ours has
//! no word for stays with it, under its key `cacao`, where nothing reads it but [`export()`]: the document as it came,
//! and a digest of what the file said then. As long as the file still says that, its export is that document; once
//! somebody changed it, the export is what the file says, with what else the document said about itself.
//!
//! A step of others does nothing here. It becomes an action whose type no verb has, so that its playbook is
//! refused until a person has chosen a verb for each of them and has said when it is due. What steps of others would
//! run (shells, requests, with their own passwords) is never run.

mod check;
mod export;
mod flow;
mod import;
pub(super) mod json;
#[cfg(test)]
mod tests;
mod text;

use serde_json::{Map, Value};

use super::load::{Load, Map as Entries, is};
use super::playbook::Playbook;
use super::yaml;
use crate::content::{ContentError, ContentFile};

pub use import::{Imported, import};

/// The keys below `cacao` of a playbook.
const KEPT: [&str; 2] = ["unchanged", "document"];

/// What of a document follows from its actions: it is as old as they are.
const OF_ACTIONS: [&str; 10] = [
    "workflow_start",
    "workflow_exception",
    "workflow",
    "playbook_variables",
    "playbook_extensions",
    "extension_definitions",
    "authentication_info_definitions",
    "agent_definitions",
    "target_definitions",
    "signatures",
];

/// What is said about a playbook as a whole, and is ours only where nobody else said it.
const ABOUT: [&str; 5] = ["id", "created_by", "created", "modified", "playbook_types"];

/// A playbook as CACAO has it.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The document.
    pub document: Value,
    /// What a person should know about it, a line each.
    pub remarks: Vec<String>,
}

impl Exported {
    /// The document as text, in which nothing moves a cursor.
    #[must_use]
    pub fn text(&self) -> String {
        json::text(&self.document, true) + "\n"
    }
}

/// A playbook file as a CACAO document. Importing it gives an equal playbook.
///
/// # Errors
/// What is wrong with the file, as when it is loaded. A playbook that was imported and that nobody changed is given
/// back as it came, even if it can not be loaded yet.
pub fn export(file: &ContentFile) -> Result<Exported, Vec<ContentError>> {
    let error = |line, reason| vec![ContentError { path: file.path.clone(), line, column: 0, reason }];
    let root = yaml::read(&file.text).map_err(|e| error(e.line, e.reason))?;
    let Value::Object(mut written) = text::values(&root) else {
        return Err(Playbook::read(file).err().unwrap_or_default());
    };
    let kept = written.remove("cacao");
    let mut document = None;
    if let Some(kept) = &kept {
        let line = entry(&root, "cacao").map_or(0, |entry| entry.line);
        let text = kept.get("document").and_then(Value::as_str).unwrap_or_default();
        let read = json::read(text).map_err(|e| error(line, format!("`cacao.document` {}", e.reason)))?;
        if kept.get("unchanged").and_then(Value::as_str) == Some(digest(&written).as_str()) {
            return Ok(Exported { document: read, remarks: Vec::new() });
        }
        document = Some(read);
    }
    let playbook = Playbook::read(file)?;
    let mut exported = Exported { document: export::document(&playbook, &written), remarks: Vec::new() };
    if let Some(Value::Object(kept)) = document {
        for (key, value) in kept {
            let new = exported.document.get(&key).is_none() && !OF_ACTIONS.contains(&key.as_str());
            if new && key != "description" || ABOUT.contains(&key.as_str()) {
                exported.document[key] = value;
            }
        }
        let reason = "the file was changed since it was imported: its workflow is exported as it now is, without the \
            signatures and whatever else its steps said to others";
        exported.remarks.push(reason.to_owned());
    }
    Ok(exported)
}

/// BLAKE3 of what a file says beside its key `cacao`: of its values as JSON whose keys are sorted.
fn digest(written: &Map<String, Value>) -> String {
    let text = json::text(&Value::Object(written.clone()), false);
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn entry<'n>(root: &'n yaml::Node, key: &str) -> Option<&'n yaml::Entry> {
    let yaml::Value::Map(entries) = &root.value else { return None };
    entries.iter().find(|entry| entry.key == key)
}

/// Checks what a playbook keeps of the document that it came from. What the document says is looked at only when it
/// is exported again.
pub(super) fn kept(load: &mut Load<'_>, top: &Entries<'_>) {
    let Some(node) = top.get("cacao") else { return };
    let Some(map) = load.map(node, "`cacao`", &KEPT) else { return };
    for key in KEPT {
        let field = map.named(key);
        match map.get(key).map(|node| (node.line, &node.value)) {
            Some((_, yaml::Value::Text(_))) => {}
            Some((line, other)) => load.error(line, format!("{field} is {}, and should be a text", is(other))),
            None => load.error(map.line(), format!("{field} is missing")),
        }
    }
}
