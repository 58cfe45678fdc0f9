//! What makes a CACAO playbook one that is read here, after "CACAO Security Playbooks Version 2.0" (Committee
//! Specification 01), each fault with its place.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use vertice_model::Timestamp;

use super::flow::{self, Flow, kind};
use crate::decide::words::{meant, nearest, quoted};
use crate::limits;

/// Section 3.1; the first nine must be given.
const PLAYBOOK: [&str; 34] = [
    "type",
    "spec_version",
    "id",
    "name",
    "created_by",
    "created",
    "modified",
    "workflow_start",
    "workflow",
    "workflow_exception",
    "description",
    "playbook_types",
    "playbook_activities",
    "playbook_processing_summary",
    "revoked",
    "valid_from",
    "valid_until",
    "derived_from",
    "related_to",
    "priority",
    "severity",
    "impact",
    "industry_sectors",
    "labels",
    "external_references",
    "markings",
    "playbook_variables",
    "playbook_extensions",
    "authentication_info_definitions",
    "agent_definitions",
    "target_definitions",
    "extension_definitions",
    "data_marking_definitions",
    "signatures",
];
const REQUIRED: usize = 9;

/// Section 4.1.
const STEPS: [&str; 8] =
    ["start", "end", "action", "playbook-action", "parallel", "if-condition", "while-condition", "switch-condition"];

/// Section 7.2: an id that begins with one of these names a thing of that type.
const AGENTS: [&str; 10] = [
    "group",
    "individual",
    "location",
    "organization",
    "sector",
    "http-api",
    "linux",
    "net-address",
    "security-category",
    "ssh",
];

/// A document that was checked: what is no fault, and yet a person should know.
pub(super) type Remarks = Vec<String>;

/// A fault: its JSON path, and what is wrong there.
pub(super) type Fault = (String, String);

/// Checks a document.
pub(super) fn document(document: &Value) -> Result<Remarks, Vec<Fault>> {
    let mut check = Check { faults: Vec::new(), remarks: Vec::new() };
    match document.as_object() {
        Some(top) => check.playbook(top),
        None => check.fault("$", format!("is {}, and should be a playbook: keys and values", is(document))),
    }
    check.remarks.truncate(limits::PLAYBOOK_ERRORS_MAX);
    check.remarks.iter_mut().for_each(|remark| *remark = short(remark));
    if check.faults.is_empty() { Ok(check.remarks) } else { Err(check.faults) }
}

struct Check {
    faults: Vec<Fault>,
    remarks: Remarks,
}

impl Check {
    /// Adds a fault, if there is still room for one.
    fn fault(&mut self, path: &str, reason: String) {
        if !self.is_full() {
            self.faults.push((path.to_owned(), reason));
        }
    }

    /// Whether so much is wrong that nobody reads more. Looking for what was meant takes its time, too.
    fn is_full(&self) -> bool {
        self.faults.len() == limits::PLAYBOOK_ERRORS_MAX
    }

    fn playbook(&mut self, top: &Map<String, Value>) {
        let unknown: Vec<&str> = top.keys().map(String::as_str).filter(|key| !PLAYBOOK.contains(key)).collect();
        for key in &PLAYBOOK[..REQUIRED] {
            if !top.contains_key(*key) {
                let near = unknown.iter().find(|other| nearest(other, [*key]).is_some());
                let near = near.map_or(String::new(), |other| format!("; is {} meant for it?", quoted(other)));
                self.fault(key, format!("is missing{near}"));
            }
        }
        for key in unknown {
            self.remarks.push(format!("`{}` is nothing of CACAO 2.0, and is kept as it is", clean(key)));
        }
        for (key, value) in top {
            self.property(key, value);
        }
        let definitions = ["agent_definitions", "target_definitions"];
        for key in definitions {
            self.each(top, key, |check, path, id, agent| check.agent(path, id, agent));
        }
        self.variables(top, "playbook_variables", "playbook_variables");
        let known: BTreeSet<&str> = definitions
            .into_iter()
            .filter_map(|key| top.get(key)?.as_object())
            .flat_map(|of| of.keys().map(String::as_str))
            .collect();
        if let Some(steps) = top.get("workflow").and_then(Value::as_object) {
            self.workflow(top, steps, &known);
        }
        if top.get("authentication_info_definitions").and_then(Value::as_object).is_some_and(|of| !of.is_empty()) {
            self.remarks.push(
                "`authentication_info_definitions` may hold secrets; they are kept in the file, and once it is loaded in the log"
                    .to_owned(),
            );
        }
    }

    /// What a property of the playbook itself must be.
    fn property(&mut self, key: &str, value: &Value) {
        let reason = match key {
            "type" => word(value, "playbook"),
            "spec_version" => word(value, "cacao-2.0"),
            "id" => identifier(value, Some("playbook")),
            "created_by" => identifier(value, Some("identity")),
            "workflow_start" | "workflow_exception" => identifier(value, None),
            "name" | "description" => text(value),
            "created" | "modified" | "valid_from" | "valid_until" => time(value),
            "priority" | "severity" | "impact" => match value.as_u64() {
                Some(0..=100) => Ok(()),
                Some(_) | None => Err(format!("is {}, and should be a whole number from 0 to 100", is(value))),
            },
            "revoked" => {
                value.as_bool().map(drop).ok_or_else(|| format!("is {}, and should be true or false", is(value)))
            }
            "playbook_types"
            | "playbook_activities"
            | "derived_from"
            | "related_to"
            | "industry_sectors"
            | "labels"
            | "markings" => texts(value),
            "external_references" | "signatures" => list(value).map(drop),
            "workflow" => keyed(value, "steps by their ids, as in `{\"start--…\": {…}}`"),
            "playbook_variables"
            | "playbook_extensions"
            | "authentication_info_definitions"
            | "agent_definitions"
            | "target_definitions"
            | "extension_definitions"
            | "data_marking_definitions"
            | "playbook_processing_summary" => keyed(value, "keys and values"),
            _ => Ok(()),
        };
        if let Err(reason) = reason {
            self.fault(&clean(key), reason);
        }
    }

    /// Every entry of a dictionary of things by their ids.
    fn each(
        &mut self,
        of: &Map<String, Value>,
        key: &str,
        check: impl Fn(&mut Check, &str, &str, &Map<String, Value>),
    ) {
        for (id, value) in of.get(key).and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{key}.{}", clean(id));
            match value.as_object() {
                Some(value) => check(self, &path, id, value),
                None => self.fault(&path, format!("is {}, and should be keys and values", is(value))),
            }
        }
    }

    fn agent(&mut self, path: &str, id: &str, agent: &Map<String, Value>) {
        // An id only has to name it; others write what they like, and it is kept.
        if let Err(reason) = identifier(&Value::from(id), None) {
            self.remarks.push(format!("`{path}`: the key {reason}"));
        }
        for key in ["type", "name"] {
            if let Err(reason) = agent.get(key).map_or(Err("is missing".to_owned()), text) {
                self.fault(&format!("{path}.{key}"), reason);
            }
        }
        let (of_id, of_type) = (id.split("--").next().unwrap_or_default(), agent.get("type").and_then(Value::as_str));
        if let Some(of_type) = of_type
            && AGENTS.contains(&of_id)
            && of_type != of_id
        {
            self.fault(
                &format!("{path}.type"),
                format!("is {}, and should be `{of_id}`, as its id says", quoted(of_type)),
            );
        }
        let emails = agent.get("contact").and_then(|contact| contact.get("email")).and_then(Value::as_object);
        for (which, email) in emails.into_iter().flatten() {
            if !email.as_str().is_some_and(is_email) {
                let path = format!("{path}.contact.email.{}", clean(which));
                self.fault(
                    &path,
                    format!("is {}, and should be one e-mail address, as in `ana@example.org`", is(email)),
                );
            }
        }
    }

    fn variables(&mut self, of: &Map<String, Value>, key: &str, path: &str) {
        for (name, variable) in of.get(key).and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{path}.{}", clean(name));
            let inner = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")).unwrap_or_default();
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if !inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !inner.chars().all(fits) {
                self.fault(&path, "the name of a variable is letters, digits, `_` and `-` between two `__`".to_owned());
            }
            if let Err(reason) = variable.get("type").map_or(Err("is missing".to_owned()), text) {
                self.fault(&format!("{path}.type"), reason);
            }
        }
    }
}

impl Check {
    fn workflow(&mut self, top: &Map<String, Value>, steps: &Map<String, Value>, agents: &BTreeSet<&str>) {
        let max = limits::CACAO_STEPS_MAX;
        if steps.is_empty() || steps.len() > max {
            return self.fault("workflow", format!("has {} steps; it should have 1 to {max}", steps.len()));
        }
        self.each(top, "workflow", |check, path, id, step| check.step(path, id, step, steps, agents));
        let start = top.get("workflow_start").and_then(Value::as_str).unwrap_or_default();
        match steps.get(start) {
            None if start.is_empty() => {}
            None => self.fault("workflow_start", no_step(start, steps)),
            Some(step) if kind(step) != "start" => {
                self.remarks.push(format!(
                    "`workflow_start` names a step of type {}, and should name a start",
                    quoted(kind(step))
                ));
            }
            Some(_) => {}
        }
        if let Some(exception) = top.get("workflow_exception").and_then(Value::as_str)
            && !steps.contains_key(exception)
        {
            self.remarks.push(format!("`workflow_exception`: {}", no_step(exception, steps)));
        }
        if let Some(circle) = flow::circle(steps) {
            let names: Vec<_> = circle.iter().map(|id| quoted(id)).collect();
            let reason =
                format!("the steps go in a circle, which only a while-condition may: {}", names.join(" leads to "));
            self.fault(&format!("workflow.{}", clean(&circle[0])), reason);
        } else if self.faults.is_empty() {
            self.reached(start, steps);
        }
    }

    fn reached(&mut self, start: &str, steps: &Map<String, Value>) {
        let Some((start, _)) = steps.get_key_value(start) else { return };
        let flow = Flow::new(steps);
        let reached = flow.reached(start);
        let doing = flow.doing(start);
        let max = limits::PLAYBOOK_ACTIONS_MAX;
        if doing.is_empty() || doing.len() > max {
            self.fault("workflow", format!("has {} steps that do something; a playbook has 1 to {max}", doing.len()));
        }
        for id in doing.into_iter().filter(|id| !reached.contains(id)) {
            self.remarks.push(format!("`workflow.{id}`: no step leads to it"));
        }
    }

    fn step(
        &mut self,
        path: &str,
        id: &str,
        step: &Map<String, Value>,
        steps: &Map<String, Value>,
        agents: &BTreeSet<&str>,
    ) {
        let of_type = match step.get("type").map(|value| (value, value.as_str())) {
            None => return self.fault(&format!("{path}.type"), "is missing".to_owned()),
            Some((value, None)) => {
                return self.fault(&format!("{path}.type"), format!("is {}, and should be a text", is(value)));
            }
            Some((_, Some(word))) => word,
        };
        if !STEPS.contains(&of_type) {
            return self
                .fault(&format!("{path}.type"), format!("can not be {}{}", quoted(of_type), meant(of_type, STEPS)));
        }
        if let Err(reason) = identifier(&Value::from(id), Some(of_type)) {
            self.fault(path, format!("the key {reason}, as the step's type says"));
        }
        for key in needed(of_type) {
            if !step.contains_key(*key) {
                self.fault(&format!("{path}.{key}"), format!("is missing: a step of type {of_type} has it"));
            }
        }
        for (key, value) in step {
            if let Err(reason) = step_property(key, value) {
                self.fault(&format!("{path}.{}", clean(key)), reason);
            }
        }
        if step.contains_key("on_completion") && (step.contains_key("on_success") || step.contains_key("on_failure")) {
            self.fault(&format!("{path}.on_completion"), "excludes `on_success` and `on_failure`".to_owned());
        }
        let whole = Value::Object(step.clone());
        for (property, next) in flow::next(&whole) {
            if !self.is_full() && !steps.contains_key(next) {
                self.fault(&format!("{path}.{}", clean(&property)), no_step(next, steps));
            }
        }
        let agent = step.get("agent").map(|agent| ("agent".to_owned(), agent));
        let targets = step.get("targets").and_then(Value::as_array).into_iter().flatten().enumerate();
        for (property, value) in agent.into_iter().chain(targets.map(|(i, target)| (format!("targets[{i}]"), target))) {
            if let Some(named) = value.as_str().filter(|named| !self.is_full() && !agents.contains(named)) {
                let meant = match agents.is_empty() {
                    true => String::new(),
                    false => meant(named, agents.iter().copied()),
                };
                self.fault(
                    &format!("{path}.{property}"),
                    format!("there is no definition of {}{meant}", quoted(named)),
                );
            }
        }
        self.commands(path, step);
        self.variables(step, "step_variables", &format!("{path}.step_variables"));
    }

    fn commands(&mut self, path: &str, step: &Map<String, Value>) {
        let Some(commands) = step.get("commands").and_then(Value::as_array) else { return };
        if commands.is_empty() {
            self.fault(&format!("{path}.commands"), "is empty, and should name what is done".to_owned());
        }
        for (i, command) in commands.iter().enumerate() {
            let path = format!("{path}.commands[{i}]");
            let Some(command) = command.as_object() else {
                self.fault(&path, format!("is {}, and should be keys and values", is(command)));
                continue;
            };
            if let Err(reason) = command.get("type").map_or(Err("is missing".to_owned()), text) {
                self.fault(&format!("{path}.type"), reason);
            }
            match command.get("command").or_else(|| command.get("command_b64")) {
                None => self.remarks.push(format!("`{path}` has neither `command` nor `command_b64`")),
                Some(given) => {
                    if let Err(reason) = text(given) {
                        self.fault(&format!("{path}.command"), reason);
                    }
                }
            }
        }
    }
}

/// What a step of a type must have.
fn needed(of_type: &str) -> &'static [&'static str] {
    match of_type {
        "start" => &["on_completion"],
        "action" => &["commands", "agent"],
        "playbook-action" => &["playbook_id"],
        "parallel" => &["next_steps"],
        "if-condition" | "while-condition" => &["condition", "on_true"],
        "switch-condition" => &["switch", "cases"],
        _ => &[],
    }
}

fn step_property(key: &str, value: &Value) -> Result<(), String> {
    match key {
        "name" | "description" | "condition" | "switch" => text(value),
        "timeout" | "delay" => value
            .as_u64()
            .map(drop)
            .ok_or_else(|| format!("is {}, and should be milliseconds: a whole number", is(value))),
        "next_steps" => match list(value)?.len() {
            0 | 1 => Err("names fewer than two steps, and so nothing is parallel".to_owned()),
            _ => texts(value),
        },
        "targets" | "in_args" | "out_args" => texts(value),
        "commands" => list(value).map(drop),
        "cases" | "step_variables" | "step_extensions" => keyed(value, "keys and values"),
        "agent" => text(value),
        "owner" => identifier(value, None),
        _ if flow::ROUTES.contains(&key) => identifier(value, None),
        _ => Ok(()),
    }
}

fn no_step(id: &str, steps: &Map<String, Value>) -> String {
    let near = nearest(id, steps.keys().map(String::as_str));
    let near = near.map_or(String::new(), |near| format!("; did you mean `{}`?", clean(near)));
    format!("there is no step {}{near}", quoted(id))
}

fn word(value: &Value, wanted: &str) -> Result<(), String> {
    if value == wanted { Ok(()) } else { Err(format!("is {}, and should be `{wanted}`", is(value))) }
}

fn text(value: &Value) -> Result<(), String> {
    value.as_str().map(drop).ok_or_else(|| format!("is {}, and should be a text", is(value)))
}

fn time(value: &Value) -> Result<(), String> {
    let read = value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok());
    if read { Ok(()) } else { Err(format!("is {}, and should be a time, as in `2026-01-31T00:00:00.000Z`", is(value))) }
}

fn list(value: &Value) -> Result<&Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("is {}, and should be a list", is(value)))
}

fn texts(value: &Value) -> Result<(), String> {
    match list(value)?.iter().find(|item| !item.is_string()) {
        None => Ok(()),
        Some(odd) => Err(format!("names {}, and should name texts", is(odd))),
    }
}

fn keyed(value: &Value, wanted: &str) -> Result<(), String> {
    if value.is_object() { Ok(()) } else { Err(format!("is {}, and should be {wanted}", is(value))) }
}

/// Section 10.10: a type, two hyphens and a UUID.
fn identifier(value: &Value, of_type: Option<&str>) -> Result<(), String> {
    let wanted = format!("{}--UUID", of_type.unwrap_or("TYPE"));
    let whole = |text: &str| {
        let (kind, uuid) = text.split_once("--")?;
        let groups: Vec<&str> = uuid.split('-').collect();
        let hex = groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
        let lengths = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
        let named = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (hex && lengths && named && of_type.is_none_or(|of_type| of_type == kind)).then_some(())
    };
    value.as_str().and_then(whole).ok_or_else(|| format!("is {}, and should be an id, `{wanted}`", is(value)))
}

/// One address of the ordinary form, or one that a variable gives. Whoever mails to it may hand it to a program.
fn is_email(text: &str) -> bool {
    if text.starts_with("__") && text.ends_with("__:value") {
        return text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':'));
    }
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_fits = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_{|}~-".contains(c);
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.len() <= 254 && !local.is_empty() && local.chars().all(local_fits) && domain.split('.').all(label)
}

/// What a value is, in words.
pub(super) fn is(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "keys and values".to_owned(),
    }
}

/// What is told, without what moves a cursor, and no longer than a person reads: it may list ids of the document.
pub(super) fn short(told: &str) -> String {
    let max = 4 * limits::REASON_CHARS_MAX;
    let mut short: String = told.chars().take(max).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if told.chars().count() > max {
        short.push('…');
    }
    short
}

/// A key as it may stand in a path: whole as far as it is short, and without what moves a cursor.
pub(super) fn clean(key: &str) -> String {
    key.chars().take(limits::REASON_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
