//! A CACAO playbook as one of ours: our own come back as they were, those of others as far as we have words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::check::{self, clean, is};
use super::export::{self, EXTENSION};
use super::flow::{Flow, kind};
use super::{digest, json, text};
use crate::content::{ContentError, ContentFile};
use crate::decide::load::is_name;
use crate::decide::playbook::Playbook;
use crate::decide::words::{meant, quoted};
use crate::decide::yaml;
use crate::limits;

/// A playbook file, and what a person should know about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Imported {
    /// What its file should be called: its name is the playbook's id.
    pub file_name: String,
    /// What the file says.
    pub text: String,
    /// The actions for which a person must choose a verb before it is loaded.
    pub unmapped: Vec<String>,
    /// What a person should know, a line each.
    pub remarks: Vec<String>,
}

/// A CACAO document as a playbook file. Exporting it gives an equal document.
///
/// # Errors
/// Everything that is wrong with it, each with its JSON path; at most [`limits::PLAYBOOK_ERRORS_MAX`].
pub fn import(file: &ContentFile) -> Result<Imported, Vec<ContentError>> {
    let path = |line, column, reason| ContentError { path: file.path.clone(), line, column, reason };
    let document = json::read(&file.text).map_err(|e| vec![path(e.line, e.column, e.reason)])?;
    let remarks =
        check::document(&document).map_err(|faults| faults.into_iter().map(told(&path)).collect::<Vec<_>>())?;
    let top = document.as_object().expect("a playbook was checked to be keys and values");
    let of_ours = top.get("playbook_extensions").and_then(|of| of.get(EXTENSION));
    let (values, mut imported) = match of_ours {
        Some(extension) => ours(top, extension).map_err(|fault| vec![told(&path)(fault)])?,
        None => foreign(top),
    };
    imported.remarks.splice(0..0, remarks);
    let whole = |reason: String| vec![path(0, 0, check::short(&reason))];
    let same = yaml::read(&imported.text).is_ok_and(|root| text::values(&root) == Value::Object(values.clone()));
    if !same {
        return Err(whole("it says what a playbook's YAML can not".to_owned()));
    }
    if of_ours.is_some() {
        let base = plain(&imported, &values).map_err(whole)?;
        if base == document {
            return Ok(imported);
        }
        agree(&base, &document).map_err(|fault| vec![told(&path)(fault)])?;
    }
    keep(&mut imported, &values, &document).map_err(whole)?;
    Ok(imported)
}

fn told<'p>(path: &'p impl Fn(u64, u64, String) -> ContentError) -> impl Fn(check::Fault) -> ContentError + 'p {
    |(at, reason)| path(0, 0, check::short(&format!("`{at}` {reason}")))
}

/// Adds the document to the file that it became.
fn keep(imported: &mut Imported, values: &Map<String, Value>, document: &Value) -> Result<(), String> {
    let max = limits::PLAYBOOK_BYTES_MAX;
    let mut long = 0;
    for pretty in [true, false] {
        let whole = imported.text.clone() + &text::kept(&digest(values), document, pretty);
        if whole.len() <= max {
            imported.text = whole;
            return Ok(());
        }
        long = whole.len();
    }
    Err(format!("would be a playbook of {long} bytes with all that must be kept of it; at most {max} are read"))
}

/// The file names and values of a document that was exported here, out of what its extension says.
fn ours(top: &Map<String, Value>, extension: &Value) -> Result<(Map<String, Value>, Imported), check::Fault> {
    let at = format!("playbook_extensions.{EXTENSION}");
    let Value::Object(mut values) = extension.clone() else {
        return Err((at, format!("is {}, and should be keys and values", is(extension))));
    };
    let id = values.remove("playbook_id").unwrap_or_default();
    let id = id.as_str().filter(|id| is_name(id)).ok_or_else(|| {
        (format!("{at}.playbook_id"), format!("is {}, and should be lower-case letters, digits, `-` and `_`", is(&id)))
    })?;
    let actions = actions(top, values.remove("actions").unwrap_or_default(), &format!("{at}.actions"))?;
    values.insert("actions".to_owned(), Value::Array(actions));
    for key in ["name", "description"] {
        if let Some(value) = top.get(key) {
            values.insert(key.to_owned(), value.clone());
        }
    }
    let text = text::playbook(&values, &[]);
    Ok((values, Imported { file_name: format!("{id}.yml"), text, unmapped: Vec::new(), remarks: Vec::new() }))
}

/// The actions that the steps carry, in the order that the extension says.
fn actions(top: &Map<String, Value>, order: Value, at: &str) -> Result<Vec<Value>, check::Fault> {
    let mut found: BTreeMap<&str, (&str, &Value)> = BTreeMap::new();
    for (step, value) in top.get("workflow").and_then(Value::as_object).into_iter().flatten() {
        let Some(carried) = value.get("step_extensions").and_then(|of| of.get(EXTENSION)) else { continue };
        let path = format!("workflow.{step}.step_extensions.{EXTENSION}.action");
        let action = carried.get("action").unwrap_or(&Value::Null);
        let Some(id) = action.get("id").and_then(Value::as_str) else {
            return Err((path, format!("is {}, and should be an action with its `id`", is(action))));
        };
        if found.insert(id, (step, action)).is_some() {
            return Err((path, format!("is a second action of the id {}", quoted(id))));
        }
    }
    let mut actions = Vec::new();
    for (i, id) in order.as_array().into_iter().flatten().enumerate() {
        let action = id.as_str().and_then(|id| found.remove(id));
        let Some((_, action)) = action else {
            let names = found.keys().copied();
            let meant = id.as_str().filter(|_| !found.is_empty()).map_or(String::new(), |id| meant(id, names));
            return Err((
                format!("{at}[{i}]"),
                format!("is {}, and no further step carries that action{meant}", is(id)),
            ));
        };
        actions.push(action.clone());
    }
    match found.first_key_value() {
        None => Ok(actions),
        Some((id, (step, _))) => {
            Err((at.to_owned(), format!("does not name {}, which `workflow.{}` carries", quoted(id), clean(step))))
        }
    }
}

/// What would be exported of what was imported, if nothing else were known.
fn plain(imported: &Imported, values: &Map<String, Value>) -> Result<Value, String> {
    let file = ContentFile { path: imported.file_name.clone(), text: imported.text.clone() };
    let playbook = Playbook::read(&file).map_err(|errors| {
        let told: Vec<_> = errors.iter().map(|error| error.reason.as_str()).take(TOLD_MAX).collect();
        let more = errors.len() - told.len();
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        format!("our extension in it says what is no playbook: {}{more}", told.join("; "))
    })?;
    Ok(export::document(&playbook, values))
}

/// The workflow follows from the extension. Others may add to it; where they changed it, what they meant by that
/// would be lost.
fn agree(base: &Value, document: &Value) -> Result<(), check::Fault> {
    if base["workflow_start"] != document["workflow_start"] {
        return Err(("workflow_start".to_owned(), "was changed, and our extension knows of no other start".to_owned()));
    }
    for (id, step) in base["workflow"].as_object().into_iter().flatten() {
        let given = document["workflow"].get(id);
        for (key, value) in step.as_object().into_iter().flatten() {
            if given.and_then(|given| given.get(key)) != Some(value) {
                let reason = "was changed, and the action is what our extension says; change `step_extensions` instead, \
                    or take our extension out of the whole document";
                return Err((format!("workflow.{id}.{key}"), reason.to_owned()));
            }
        }
    }
    let more =
        document["workflow"].as_object().into_iter().flatten().find(|(id, _)| base["workflow"].get(id).is_none());
    match more {
        None => Ok(()),
        Some((id, _)) => {
            let reason = "was added, and the actions are what our extension says; take our extension out of the whole \
                document, and choose verbs for its steps anew";
            Err((format!("workflow.{}", clean(id)), reason.to_owned()))
        }
    }
}

/// What a document of others becomes: its steps in their order, each an action for which nobody has chosen a verb.
fn foreign(top: &Map<String, Value>) -> (Map<String, Value>, Imported) {
    let none = Map::new();
    let steps = top.get("workflow").and_then(Value::as_object).unwrap_or(&none);
    let start = top.get("workflow_start").and_then(Value::as_str).unwrap_or_default();
    let mut flow = Flow::new(steps);
    let doing = flow.doing(start);
    let waits = flow.waits();
    let names = names(steps, &doing);
    let (mut actions, mut told) = (Vec::new(), Vec::new());
    for id in &doing {
        let step = &steps[*id];
        let before: Vec<&str> =
            waits.get(id).into_iter().flatten().filter_map(|id| names.get(id).map(String::as_str)).collect();
        let mut action = json!({"id": names[id], "type": format!("cacao_{}", what(step)), "parameters": {}});
        if !before.is_empty() {
            action["depends_on"] = Value::from(before);
        }
        actions.push(action);
        told.push(format!("{}\nNo verb was chosen for it.", words(top, id, step)));
    }
    let name = top.get("name").and_then(Value::as_str).unwrap_or_default();
    let mut values = Map::new();
    values.insert("name".to_owned(), Value::from(short(name)));
    values.insert("version".to_owned(), top.get("modified").cloned().unwrap_or_default());
    if let Some(description) = top.get("description").and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
        values.insert("description".to_owned(), Value::from(short(description)));
    }
    values.insert("trigger".to_owned(), json!({"condition": ""}));
    values.insert("actions".to_owned(), Value::Array(actions));
    let unmapped: Vec<String> = doing.iter().map(|id| names[id].clone()).collect();
    let text = format!("{}{}", HEAD, text::playbook(&values, &told));
    let file_name = format!("{}.yml", slug(name, "playbook"));
    (values, Imported { file_name, text, unmapped, remarks: Vec::new() })
}

/// What stands at the beginning of a file that a person must finish.
const HEAD: &str = "\
# Imported from CACAO. It is refused when it is loaded until a person has said when it is due (`trigger.condition`)
# and has chosen a verb of ours for each action, with its parameters. Nothing of what its steps would run is ever run.
# What CACAO said is kept at the end, and exported again; see docs/playbooks.md.
";

/// A text that a playbook can have; what is cut is in the document that is kept.
fn short(text: &str) -> String {
    let mut end = text.len().min(limits::PLAYBOOK_TEXT_BYTES_MAX - '…'.len_utf8());
    if end == text.len() {
        return text.to_owned();
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// A name for each step that does something, after what it is called.
fn names<'s>(steps: &Map<String, Value>, doing: &[&'s str]) -> BTreeMap<&'s str, String> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for id in doing {
        let step = &steps[*id];
        let called = step.get("name").and_then(Value::as_str).unwrap_or_default();
        let base = slug(called, what(step));
        let mut name = base.clone();
        let mut n = 2;
        while !taken.insert(name.clone()) {
            name = format!("{base}_{n}");
            n += 1;
        }
        names.insert(*id, name);
    }
    names
}

/// A name of ours for what others call so. Room is left for a number.
fn slug(called: &str, otherwise: &str) -> String {
    let of = |text: &str| {
        let words: Vec<String> = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let joined = words.join("_");
        let named = joined.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        named[..named.len().min(limits::PLAYBOOK_ID_BYTES_MAX - 4)].to_owned()
    };
    [called, otherwise].into_iter().map(of).find(|name| !name.is_empty()).unwrap_or_else(|| "step".to_owned())
}

/// The kind of a step's first command, or of the step where it has none, in letters that a type may have.
fn what(step: &Value) -> &str {
    let command = step.get("commands").and_then(|commands| commands.get(0)).map(kind).filter(|kind| !kind.is_empty());
    let what = command.unwrap_or_else(|| kind(step));
    if what.len() <= limits::PLAYBOOK_ID_BYTES_MAX { what } else { "step" }
}

/// What a step would do, for the person who chooses a verb for it.
fn words(top: &Map<String, Value>, id: &str, step: &Value) -> String {
    let called = |definitions: &str, id: &str| {
        let thing = top.get(definitions).and_then(|of| of.get(id));
        quoted(thing.and_then(|thing| thing.get("name")).and_then(Value::as_str).unwrap_or(id))
    };
    let mut lines = vec![format!(
        "CACAO's {}, {}",
        clean(id),
        quoted(step.get("name").and_then(Value::as_str).unwrap_or("no name"))
    )];
    for command in step.get("commands").and_then(Value::as_array).into_iter().flatten().take(TOLD_MAX) {
        let says = command.get("command").and_then(Value::as_str).map_or("in Base64".to_owned(), quoted);
        lines.push(format!("{}: {says}", quoted(kind(command))));
    }
    if let Some(agent) = step.get("agent").and_then(Value::as_str) {
        lines.push(format!("by {}", called("agent_definitions", agent)));
    }
    for target in
        step.get("targets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).take(TOLD_MAX)
    {
        lines.push(format!("on {}", called("target_definitions", target)));
    }
    lines.join("; ")
}

/// Commands and targets of a step that its remark names, and faults of one extension; more are not read.
const TOLD_MAX: usize = 4;
