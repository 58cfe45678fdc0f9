//! A playbook of ours as a CACAO playbook.
//!
//! Each action becomes an action step, and the question before it a step of its own, so that no system that
//! knows nothing of ours acts without asking. `depends_on` becomes a nest of parallel steps: what hangs together
//! stays together, and what does not runs side by side. What CACAO has no word for stands in our extension.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vertice_model::Id;

use crate::decide::playbook::{Action, OnFailure, Playbook};
use crate::decide::verb::{Kind, Verb};

/// The id of our extension. It never changes: documents that are already out there name it.
pub(super) const EXTENSION: &str = "extension-definition--2b1c6f52-6f0e-5d5b-9b0f-6a7b1f0c4e11";

/// What a playbook file does not say and CACAO wants: no file has dates, so the beginning of time stands for them.
const DATE: &str = "1970-01-01T00:00:00.000Z";

/// The document of a playbook. `written` are its values as its file has them.
pub(super) fn document(playbook: &Playbook, written: &Map<String, Value>) -> Value {
    let mut steps = Steps::new(playbook, written);
    let end = steps.end("");
    let first = steps.block(&playbook.actions.iter().collect::<Vec<_>>(), &end, &end);
    let start = id_of("start", &playbook.id, "");
    steps.steps.insert(start.clone(), json!({"type": "start", "name": "Start", "on_completion": first}));
    let by = id_of("identity", "vertice", "");
    let mut document = json!({
        "type": "playbook",
        "spec_version": "cacao-2.0",
        "id": id_of("playbook", &playbook.id, ""),
        "name": written.get("name"),
        "playbook_types": ["mitigation"],
        "created_by": by,
        "created": DATE,
        "modified": DATE,
        "workflow_start": start,
        "workflow": steps.steps,
        "agent_definitions": steps.agents,
        "playbook_extensions": {EXTENSION: extension(playbook, written)},
        "extension_definitions": {EXTENSION: {
            "type": "extension-definition",
            "name": "Vertice",
            "description": "What a Vertice playbook says and CACAO has no word for: when it is due, what it must know, \
                and of each action all that its file says. It is what counts; the workflow follows from it.",
            "created_by": by,
            "schema": "The values of a Vertice playbook, as `vertice playbook schema` tells them; `action` is one of its `actions`.",
            "version": "1.0.0",
        }},
    });
    let optional = [
        ("description", written.get("description").cloned()),
        ("target_definitions", (!steps.targets.is_empty()).then_some(Value::Object(steps.targets))),
        ("playbook_variables", variables(playbook)),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            document[key] = value;
        }
    }
    document
}

/// An id of a thing of a playbook: the same each time it is exported.
pub(super) fn id_of(kind: &str, playbook: &str, what: &str) -> String {
    format!("{kind}--{}", Id::<'x'>::derive(&format!("cacao|{kind}|{playbook}|{what}")))
}

/// All that the file says but its name, its description and its actions; of these only the order.
fn extension(playbook: &Playbook, written: &Map<String, Value>) -> Value {
    let elsewhere = ["name", "description", "actions", "cacao"];
    let mut rest: Map<String, Value> = written
        .iter()
        .filter(|(key, _)| !elsewhere.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    rest.insert("playbook_id".to_owned(), Value::from(playbook.id.as_str()));
    let ids = actions(written).filter_map(|action| action.get("id").cloned()).collect();
    rest.insert("actions".to_owned(), Value::Array(ids));
    Value::Object(rest)
}

fn actions(written: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    written.get("actions").and_then(Value::as_array).into_iter().flatten()
}

fn variables(playbook: &Playbook) -> Option<Value> {
    let variable =
        |name: &str| json!({"type": "string", "description": format!("{name} of the threat"), "external": true});
    let all: Map<String, Value> =
        playbook.needs.iter().map(|v| (format!("__{}__", v.name()), variable(v.name()))).collect();
    (!all.is_empty()).then_some(Value::Object(all))
}

/// The steps of a workflow as they come about.
struct Steps<'p> {
    playbook: &'p str,
    written: BTreeMap<&'p str, &'p Value>,
    steps: Map<String, Value>,
    agents: Map<String, Value>,
    targets: Map<String, Value>,
}

impl<'p> Steps<'p> {
    fn new(playbook: &'p Playbook, written: &'p Map<String, Value>) -> Steps<'p> {
        let written = actions(written).filter_map(|action| Some((action.get("id")?.as_str()?, action))).collect();
        Steps { playbook: &playbook.id, written, steps: Map::new(), agents: Map::new(), targets: Map::new() }
    }

    /// Adds the end of a branch, and gives its id.
    fn end(&mut self, branch: &str) -> String {
        let id = id_of("end", self.playbook, branch);
        self.steps.insert(id.clone(), json!({"type": "end", "name": "End"}));
        id
    }

    /// Adds actions so that each comes after those it waits for; gives the first step. `next` comes after all of
    /// them, `exit` ends the branch that they are in. Nested as deep as there are actions, whose number is bounded.
    fn block(&mut self, set: &[&Action], next: &str, exit: &str) -> String {
        let parts = parts(set);
        if parts.len() > 1 {
            return self.parallel(&parts, next);
        }
        let ids: BTreeSet<&str> = set.iter().map(|action| action.id.as_str()).collect();
        let waits = |action: &&&Action| action.depends_on.iter().any(|id| ids.contains(id.as_str()));
        let (rest, first): (Vec<&Action>, Vec<&Action>) = set.iter().partition(waits);
        let next = if rest.is_empty() { next.to_owned() } else { self.block(&rest, next, exit) };
        match first.as_slice() {
            [one] => self.action(one, &next, exit),
            several => self.parallel(&several.iter().map(|action| vec![*action]).collect::<Vec<_>>(), &next),
        }
    }

    fn parallel(&mut self, parts: &[Vec<&Action>], next: &str) -> String {
        let names = |part: &[&Action]| part.iter().map(|action| action.id.as_str()).collect::<Vec<_>>().join(", ");
        let all = parts.iter().map(|part| names(part)).collect::<Vec<_>>().join(", ");
        let mut branches = Vec::new();
        for part in parts {
            let end = self.end(&format!("{} of {all}", names(part)));
            branches.push(self.block(part, &end, &end));
        }
        let id = id_of("parallel", self.playbook, &all);
        let step = json!({"type": "parallel", "name": "Side by side", "next_steps": branches, "on_completion": next});
        self.steps.insert(id.clone(), step);
        id
    }

    fn action(&mut self, action: &Action, next: &str, exit: &str) -> String {
        let written = self.written.get(action.id.as_str()).copied().unwrap_or(&Value::Null);
        let otherwise = match action.on_failure {
            OnFailure::Continue => next,
            OnFailure::Stop | OnFailure::Rollback => exit,
        };
        let targets = self.targets(action, written);
        let agent = self.agent("security-category", "Vertice", json!({"category": ["orchestrator"]}));
        let mut step = json!({
            "type": "action",
            "name": action.id,
            "timeout": action.timeout_s * 1_000,
            "commands": [command(action, written)],
            "agent": agent,
            "step_extensions": {EXTENSION: {"action": written}},
        });
        if !targets.is_empty() {
            step["targets"] = Value::from(targets);
        }
        route(&mut step, next, otherwise);
        let id = id_of("action", self.playbook, &action.id);
        self.steps.insert(id.clone(), step);
        match written.get("hotl_prompt").and_then(Value::as_str).filter(|_| action.checkpoint.is_some()) {
            Some(prompt) => self.question(action, prompt, &id, otherwise),
            None => id,
        }
    }

    /// Adds the question before an action.
    fn question(&mut self, action: &Action, prompt: &str, yes: &str, no: &str) -> String {
        let agent = self.agent("group", "Whoever may approve", json!({}));
        let mut step = json!({
            "type": "action",
            "name": format!("Ask before {}", action.id),
            "timeout": action.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.timeout_s) * 1_000,
            "commands": [{"type": "manual", "command": named(prompt)}],
            "agent": agent,
        });
        route(&mut step, yes, no);
        let id = id_of("action", self.playbook, &format!("{} asks", action.id));
        self.steps.insert(id.clone(), step);
        id
    }

    fn agent(&mut self, kind: &str, name: &str, more: Value) -> String {
        let id = id_of(kind, self.playbook, name);
        self.agents.insert(id.clone(), thing(kind, name, more));
        id
    }

    /// Whom an action touches, and the server that it calls.
    fn targets(&mut self, action: &Action, written: &Value) -> Vec<String> {
        let mut found = Vec::new();
        for setting in &action.settings {
            let Some(text) = written["parameters"][setting.name].as_str() else { continue };
            let name = named(text);
            let (kind, more) = match setting.kind {
                Kind::Address => ("net-address", json!({"address": address(text, &name)})),
                Kind::Host => ("net-address", json!({"address": {"dname": [name]}})),
                Kind::User => ("individual", json!({})),
                Kind::Url if setting.name == "url" => ("http-api", json!({"address": {"url": [server(text).0]}})),
                Kind::Url
                | Kind::Duration
                | Kind::Rate
                | Kind::Bandwidth
                | Kind::Size
                | Kind::Port
                | Kind::Number
                | Kind::Word(_)
                | Kind::Words(_)
                | Kind::Name
                | Kind::Path
                | Kind::Text => continue,
            };
            let id = id_of(kind, self.playbook, &name);
            self.targets.insert(id.clone(), thing(kind, &name, more));
            if !found.contains(&id) {
                found.push(id);
            }
        }
        found
    }
}

fn thing(kind: &str, name: &str, more: Value) -> Value {
    let mut thing = json!({"type": kind, "name": name});
    for (key, value) in more.as_object().into_iter().flatten() {
        thing[key] = value.clone();
    }
    thing
}

/// An address by the family that it is of; one that a variable gives may be of either.
fn address(text: &str, name: &str) -> Value {
    let family = match text.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => "ipv4",
        Ok(std::net::IpAddr::V6(_)) => "ipv6",
        Err(_) => "ip",
    };
    json!({family: [name]})
}

fn route(step: &mut Value, next: &str, otherwise: &str) {
    if next == otherwise {
        step["on_completion"] = Value::from(next);
    } else {
        step["on_success"] = Value::from(next);
        step["on_failure"] = Value::from(otherwise);
    }
}

/// What is done: a request where it is one; otherwise in words, which a person can follow where there is no Vertice.
fn command(action: &Action, written: &Value) -> Value {
    let given = &written["parameters"];
    if action.verb == Verb::HttpRequest
        && let Some(url) = given["url"].as_str()
    {
        let method = given["method"].as_str().unwrap_or("POST");
        let mut command = json!({"type": "http-api", "command": format!("{method} {} HTTP/1.1", named(server(url).1))});
        if let Some(body) = given["body"].as_str() {
            command["content"] = Value::from(named(body));
        }
        return command;
    }
    let words = |value: &Value| match value {
        Value::String(text) => named(text),
        other => other.to_string(),
    };
    let given: Vec<_> = action.settings.iter().map(|s| format!("{} {}", s.name, words(&given[s.name]))).collect();
    let undone =
        action.inverse.as_ref().map_or("Nothing undoes it".to_owned(), |inverse| format!("To undo it: {inverse}"));
    json!({"type": "manual", "command": format!("{}: {}. {undone}.", action.verb.as_str(), given.join(", "))})
}

/// The server of a web address, and what is asked of it.
fn server(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |at| host + at);
    (&url[..end], if end == url.len() { "/" } else { &url[end..] })
}

/// A text with CACAO's variables for ours.
fn named(text: &str) -> String {
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        named.push_str(&format!("{before}__{name}__:value"));
        rest = behind;
    }
    named + rest
}

/// Actions in parts that do not wait for each other, each in the order of the whole.
fn parts<'a>(set: &[&'a Action]) -> Vec<Vec<&'a Action>> {
    let mut part: Vec<usize> = (0..set.len()).collect();
    for (i, action) in set.iter().enumerate() {
        for (j, _) in set.iter().enumerate().filter(|(_, other)| action.depends_on.contains(&other.id)) {
            let (old, new) = (part[i], part[j]);
            part.iter_mut().filter(|p| **p == old).for_each(|p| *p = new);
        }
    }
    let mut parts: Vec<(usize, Vec<&Action>)> = Vec::new();
    for (action, part) in set.iter().zip(part) {
        match parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, of)) => of.push(action),
            None => parts.push((part, vec![action])),
        }
    }
    parts.into_iter().map(|(_, of)| of).collect()
}
