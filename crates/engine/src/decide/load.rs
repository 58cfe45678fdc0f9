//! Reads a playbook file and checks everything that can be checked before it is ever due.

use std::collections::BTreeSet;

use vertice_model::{Confidence, OnTimeout, Severity};

use super::cacao;
use super::condition::Condition;
use super::context::{Template, Variable};
use super::measure;
use super::parameters;
use super::playbook::{Action, Checkpoint, OnFailure, Playbook, RollbackOn};
use super::verb::Verb;
use super::words::{meant, quoted};
use super::yaml::{self, Entry, Node, Value};
use crate::content::{ContentError, ContentFile};
use crate::limits;

const TOP: [&str; 8] =
    ["name", "version", "description", "trigger", "context_requirements", "actions", "rollback", "cacao"];
const TRIGGER: [&str; 3] = ["condition", "severity_threshold", "confidence_threshold"];
const ROLLBACK: [&str; 2] = ["enabled", "conditions"];
const ACTION: [&str; 13] = [
    "id",
    "type",
    "hotl_required",
    "hotl_prompt",
    "depends_on",
    "parameters",
    "success_criteria",
    "timeout",
    "retries",
    "on_failure",
    "on_timeout",
    "approval_timeout",
    "irreversible",
];

/// Reads a playbook. It is only good if no error was added; then its actions are as they were written.
pub(super) fn playbook(file: &ContentFile, errors: &mut Vec<ContentError>) -> Option<Playbook> {
    let mut load = Load { path: &file.path, errors };
    let id = load.id_of_file();
    let root = match yaml::read(&file.text) {
        Ok(root) => root,
        Err(unreadable) => {
            load.error(unreadable.line, unreadable.reason);
            return None;
        }
    };
    let top = load.map(&root, "the file", &TOP)?;
    let name = load.required_text(&top, "name");
    let version = load.required_text(&top, "version");
    let description = load.optional_text(&top, "description").unwrap_or_default();
    let (condition_text, condition, severity, confidence) = load.trigger(&top)?;
    let needs = load.needs(&top);
    let rollback = load.rollback(&top);
    cacao::kept(&mut load, &top);
    let actions = load.actions(&top, &needs, rollback.is_some());
    Some(Playbook {
        id,
        name: name?,
        version: version?,
        description,
        condition: condition?,
        condition_text,
        severity,
        confidence,
        needs,
        actions,
        rollback: rollback.unwrap_or_default(),
    })
}

/// A map of which the keys were checked: its entries, and where it stands.
pub(super) struct Map<'n> {
    entries: &'n [Entry],
    line: u64,
    /// Its place in the file, such as `trigger.`, before the names of its keys.
    prefix: String,
}

impl<'n> Map<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|e| e.key == key).map(|e| &e.node)
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn named(&self, key: &str) -> String {
        format!("`{}{key}`", self.prefix)
    }
}

/// A file that is being read, and what is wrong with it so far.
pub(super) struct Load<'f> {
    path: &'f str,
    errors: &'f mut Vec<ContentError>,
}

impl Load<'_> {
    pub(super) fn error(&mut self, line: u64, reason: String) {
        self.errors.push(ContentError { path: self.path.to_owned(), line, column: 0, reason });
    }

    fn id_of_file(&mut self) -> String {
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        let stem = name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml"));
        match stem {
            Some(stem) if is_name(stem) => stem.to_owned(),
            Some(_) | None => {
                let reason = format!(
                    "the file is named {}; a playbook is named by lower-case letters, digits, `-` and `_`, and ends in `.yml`",
                    quoted(name)
                );
                self.error(0, reason);
                String::new()
            }
        }
    }

    /// A map with none but the known keys. `what` names it, and is what its keys are below.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&'static str]) -> Option<Map<'n>> {
        let prefix = what.strip_prefix('`').map_or(String::new(), |w| w.trim_end_matches('`').to_owned() + ".");
        let Value::Map(entries) = &node.value else {
            let example = known.first().map_or(String::new(), |key| format!(", as in `{key}: …`"));
            self.error(node.line, format!("{what} is {}, and should be keys and values{example}", is(&node.value)));
            return None;
        };
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                let meant = meant(&entry.key, known.iter().copied());
                self.error(entry.line, format!("{what} has no key {}{meant}", quoted(&entry.key)));
            }
        }
        Some(Map { entries, line: node.line, prefix })
    }

    fn required<'n>(&mut self, map: &Map<'n>, key: &str) -> Option<&'n Node> {
        let found = map.get(key);
        if found.is_none() {
            self.error(map.line, format!("{} is missing", map.named(key)));
        }
        found
    }

    fn required_text(&mut self, map: &Map<'_>, key: &str) -> Option<String> {
        let node = self.required(map, key)?;
        self.text(node, &map.named(key)).map(str::to_owned)
    }

    fn optional_text(&mut self, map: &Map<'_>, key: &str) -> Option<String> {
        let node = map.get(key)?;
        self.text(node, &map.named(key)).map(str::to_owned)
    }

    /// A text that is not empty.
    pub(super) fn text<'n>(&mut self, node: &'n Node, field: &str) -> Option<&'n str> {
        let max = limits::PLAYBOOK_TEXT_BYTES_MAX;
        let reason = match &node.value {
            Value::Text(text) if text.len() > max => {
                format!("{field} has {} bytes; at most {max} are kept", text.len())
            }
            Value::Text(text) if text.trim().is_empty() => format!("{field} is empty"),
            Value::Text(text) => return Some(text.trim_end_matches('\n')),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                format!("{field} is {}, and should be a text: put it in quotes", is(&node.value))
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                format!("{field} is {}, and should be a text", is(&node.value))
            }
        };
        self.error(node.line, reason);
        None
    }

    fn boolean(&mut self, map: &Map<'_>, key: &str, otherwise: bool) -> bool {
        match map.get(key).map(|node| (node.line, &node.value)) {
            None => otherwise,
            Some((_, Value::Bool(value))) => *value,
            Some((line, other)) => {
                self.error(line, format!("{} is {}, and should be true or false", map.named(key), is(other)));
                otherwise
            }
        }
    }

    /// The texts of a list, each with its line.
    pub(super) fn texts<'n>(&mut self, node: &'n Node, field: &str) -> Vec<(u64, &'n str)> {
        let Value::List(items) = &node.value else {
            self.error(node.line, format!("{field} is {}, and should be a list, as in `[a, b]`", is(&node.value)));
            return Vec::new();
        };
        if items.len() > limits::PLAYBOOK_ACTIONS_MAX {
            let max = limits::PLAYBOOK_ACTIONS_MAX;
            self.error(node.line, format!("{field} has {} entries; at most {max} are read", items.len()));
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        for item in items {
            let Some(text) = self.text(item, &format!("an entry of {field}")) else { continue };
            if seen.insert(text) {
                texts.push((item.line, text));
            } else {
                self.error(item.line, format!("{field} names {} twice", quoted(text)));
            }
        }
        texts
    }

    /// One word of a closed set.
    fn word<T: Copy>(&mut self, map: &Map<'_>, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        let node = map.get(key)?;
        let text = self.text(node, &map.named(key))?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let meant = meant(text, words.iter().map(|(word, _)| *word));
            self.error(node.line, format!("{} can not be {}{meant}", map.named(key), quoted(text)));
        }
        found
    }

    fn duration_s(&mut self, map: &Map<'_>, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let node = map.get(key)?;
        let field = map.named(key);
        let text = self.text(node, &field)?;
        match measure::duration_s(text) {
            Ok(s) if range.contains(&s) => Some(s),
            Ok(s) => {
                let reason =
                    format!("{field} is {s} s, and should lie between {} s and {} s", range.start(), range.end());
                self.error(node.line, reason);
                None
            }
            Err(wanted) => {
                self.error(node.line, format!("{field} is {}, and should be {wanted}", quoted(text)));
                None
            }
        }
    }
}

/// A trigger: the condition as written and as read, and the two thresholds.
type Trigger = (String, Option<Condition>, Severity, Confidence);

impl Load<'_> {
    fn trigger(&mut self, top: &Map<'_>) -> Option<Trigger> {
        let node = self.required(top, "trigger")?;
        let map = self.map(node, "`trigger`", &TRIGGER)?;
        let mut text = String::new();
        let mut condition = None;
        if let Some(node) = self.required(&map, "condition")
            && let Some(written) = self.text(node, "`trigger.condition`")
        {
            text = written.to_owned();
            match Condition::read(written) {
                Ok(read) => condition = Some(read),
                Err(why) => self.error(node.line, format!("`trigger.condition`: {why}")),
            }
        }
        let words = Severity::ALL.map(|s| (s.as_str(), s));
        let severity = self.word(&map, "severity_threshold", &words).unwrap_or(Severity::Medium);
        Some((text, condition, severity, self.confidence(&map)))
    }

    fn confidence(&mut self, map: &Map<'_>) -> Confidence {
        // What the contract's example says; enough that one uncertain rule starts nothing.
        let otherwise = const { Confidence::new(75).expect("75 is at most 100") };
        let Some(node) = map.get("confidence_threshold") else { return otherwise };
        let ratio = match &node.value {
            Value::Float(ratio) => Some(*ratio),
            Value::Int(whole) => i32::try_from(*whole).ok().map(f64::from),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        };
        ratio.and_then(Confidence::from_ratio).unwrap_or_else(|| {
            let is = is(&node.value);
            let reason =
                format!("`trigger.confidence_threshold` is {is}, and should be a number from 0 to 1, as in 0.75");
            self.error(node.line, reason);
            otherwise
        })
    }

    fn needs(&mut self, top: &Map<'_>) -> BTreeSet<Variable> {
        let Some(node) = top.get("context_requirements") else { return BTreeSet::new() };
        if !matches!(node.value, Value::List(_)) {
            self.texts(node, "`context_requirements`");
            // One error, and not a further one for each `${…}`.
            return Variable::all().collect();
        }
        let mut needs = BTreeSet::new();
        for (line, name) in self.texts(node, "`context_requirements`") {
            match Variable::read(name) {
                Ok(variable) => _ = needs.insert(variable),
                Err(why) => self.error(line, format!("`context_requirements`: {why}")),
            }
        }
        needs
    }

    /// What takes a run back; `None` where the playbook says that nothing does.
    fn rollback(&mut self, top: &Map<'_>) -> Option<BTreeSet<RollbackOn>> {
        let all = [
            ("false_positive_confirmed", RollbackOn::FalsePositiveConfirmed),
            ("manual_override", RollbackOn::ManualOverride),
        ];
        let every = all.iter().map(|(_, on)| *on).collect();
        // A playbook that does not say is one whose mistakes are taken back.
        let Some(node) = top.get("rollback") else { return Some(every) };
        let Some(map) = self.map(node, "`rollback`", &ROLLBACK) else { return Some(every) };
        let enabled = self.boolean(&map, "enabled", true);
        let Some(node) = map.get("conditions") else { return enabled.then_some(every) };
        let mut conditions = BTreeSet::new();
        for (line, word) in self.texts(node, "`rollback.conditions`") {
            match all.iter().find(|(known, _)| *known == word) {
                Some((_, on)) => _ = conditions.insert(*on),
                None => {
                    let meant = meant(word, all.iter().map(|(word, _)| *word));
                    self.error(line, format!("`rollback.conditions` can not name {}{meant}", quoted(word)));
                }
            }
        }
        enabled.then_some(conditions)
    }

    fn actions(&mut self, top: &Map<'_>, needs: &BTreeSet<Variable>, rollback: bool) -> Vec<Action> {
        let Some(node) = self.required(top, "actions") else { return Vec::new() };
        let items = match &node.value {
            Value::List(items) if (1..=limits::PLAYBOOK_ACTIONS_MAX).contains(&items.len()) => items,
            Value::List(items) => {
                let max = limits::PLAYBOOK_ACTIONS_MAX;
                self.error(node.line, format!("`actions` has {} entries; it should have 1 to {max}", items.len()));
                return Vec::new();
            }
            other => {
                self.error(node.line, format!("`actions` is {}, and should be a list of actions", is(other)));
                return Vec::new();
            }
        };
        let ids = self.ids(items);
        let read: Vec<_> =
            items.iter().zip(&ids).map(|(item, id)| self.action(item, id, &ids, needs, rollback)).collect();
        read.into_iter().flatten().collect()
    }

    /// The ids of all actions, which every one of them may name; where one has none, its number.
    fn ids(&mut self, items: &[Node]) -> Vec<String> {
        let mut ids: Vec<String> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let found =
                if let Value::Map(entries) = &item.value { entries.iter().find(|e| e.key == "id") } else { None };
            let mut id = format!("{}", i + 1);
            if let Some(entry) = found
                && let Some(text) = self.text(&entry.node, &format!("`actions.{id}.id`"))
            {
                if !is_name(text) {
                    let reason = format!(
                        "`actions.{id}.id` is {}; it should be lower-case letters, digits, `-`, `_`",
                        quoted(text)
                    );
                    self.error(entry.node.line, reason);
                } else if ids.iter().any(|other| other == text) {
                    self.error(entry.node.line, format!("two actions have the id `{text}`"));
                } else {
                    id = text.to_owned();
                }
            }
            ids.push(id);
        }
        ids
    }

    fn action(
        &mut self,
        node: &Node,
        id: &str,
        ids: &[String],
        needs: &BTreeSet<Variable>,
        rollback: bool,
    ) -> Option<Action> {
        let map = self.map(node, &format!("`actions.{id}`"), &ACTION)?;
        self.required(&map, "id");
        let verbs = Verb::ALL.map(|verb| (verb.as_str(), verb));
        self.required(&map, "type");
        let depends_on = self.depends_on(&map, id, ids);
        let checkpoint = self.checkpoint(&map, needs);
        let timeout_s = self.duration_s(&map, "timeout", 1..=limits::ACTION_TIMEOUT_S_MAX);
        let retries = self.retries(&map);
        let on_failure = self.on_failure(&map, rollback);
        let verb = self.word(&map, "type", &verbs)?;
        let (settings, lease_s) = parameters::read(self, &map, verb, needs);
        let inverse = parameters::inverse(verb, &settings);
        self.reversible(&map, verb, inverse.is_some(), checkpoint.as_ref());
        Some(Action {
            id: id.to_owned(),
            line: node.line,
            verb,
            settings,
            inverse,
            lease_s,
            checkpoint,
            depends_on,
            success_criteria: self.success_criteria(&map, verb),
            timeout_s: timeout_s.unwrap_or(limits::ACTION_TIMEOUT_S),
            retries,
            on_failure,
        })
    }

    fn depends_on(&mut self, map: &Map<'_>, id: &str, ids: &[String]) -> Vec<String> {
        let Some(node) = map.get("depends_on") else { return Vec::new() };
        let field = map.named("depends_on");
        let mut found = Vec::new();
        for (line, other) in self.texts(node, &field) {
            if other == id {
                self.error(line, format!("{field}: the action waits for itself"));
            } else if ids.iter().any(|known| known == other) {
                found.push(other.to_owned());
            } else {
                let meant = meant(other, ids.iter().map(String::as_str).filter(|known| *known != id));
                self.error(line, format!("{field}: there is no action {}{meant}", quoted(other)));
            }
        }
        found
    }

    fn retries(&mut self, map: &Map<'_>) -> u64 {
        let Some(node) = map.get("retries") else { return 0 };
        match &node.value {
            Value::Int(n) if (0..=limits::ACTION_RETRIES_MAX as i64).contains(n) => n.unsigned_abs(),
            other => {
                let max = limits::ACTION_RETRIES_MAX;
                let reason =
                    format!("{} is {}, and should be a number from 0 to {max}", map.named("retries"), is(other));
                self.error(node.line, reason);
                0
            }
        }
    }

    fn on_failure(&mut self, map: &Map<'_>, rollback: bool) -> OnFailure {
        let words = [("stop", OnFailure::Stop), ("continue", OnFailure::Continue), ("rollback", OnFailure::Rollback)];
        let word = self.word(map, "on_failure", &words).unwrap_or_default();
        if word == OnFailure::Rollback && !rollback {
            let line = map.get("on_failure").map_or(map.line, |node| node.line);
            self.error(line, format!("{} is `rollback`, and `rollback.enabled` is false", map.named("on_failure")));
        }
        word
    }

    fn success_criteria(&mut self, map: &Map<'_>, verb: Verb) -> Vec<String> {
        let Some(node) = map.get("success_criteria") else { return Vec::new() };
        let observable = verb.declares().observable;
        let field = map.named("success_criteria");
        let mut found = Vec::new();
        for (line, word) in self.texts(node, &field) {
            if observable.contains(&word) {
                found.push(word.to_owned());
            } else {
                let meant = meant(word, observable.iter().copied());
                self.error(line, format!("{field}: {} can not be observed of {}{meant}", quoted(word), verb.as_str()));
            }
        }
        found
    }

    /// The question before the action. What only has a meaning for one is refused without it.
    fn checkpoint(&mut self, map: &Map<'_>, needs: &BTreeSet<Variable>) -> Option<Checkpoint> {
        let required = self.boolean(map, "hotl_required", false);
        if !required {
            for key in ["hotl_prompt", "on_timeout", "approval_timeout"] {
                if let Some(node) = map.get(key) {
                    self.error(node.line, format!("{} is never used, for `hotl_required` is not true", map.named(key)));
                }
            }
            return None;
        }
        let words = [("deny", OnTimeout::Deny), ("escalate", OnTimeout::Escalate), ("execute", OnTimeout::Execute)];
        let on_timeout = self.word(map, "on_timeout", &words).unwrap_or_default();
        let range = limits::APPROVAL_TIMEOUT_S_RANGE;
        let timeout_s = self.duration_s(map, "approval_timeout", range).unwrap_or(limits::APPROVAL_TIMEOUT_S);
        let prompt = match map.get("hotl_prompt") {
            Some(node) => self.template(node, &map.named("hotl_prompt"), needs).unwrap_or_default(),
            None => {
                let field = map.named("hotl_prompt");
                self.error(
                    map.line,
                    format!("{field} is missing: `hotl_required` is true, so a person must be asked something"),
                );
                Template::default()
            }
        };
        Some(Checkpoint { prompt, timeout_s, on_timeout })
    }

    /// A text whose `${…}` are all known and required of the threat.
    pub(super) fn template(&mut self, node: &Node, field: &str, needs: &BTreeSet<Variable>) -> Option<Template> {
        let text = self.text(node, field)?;
        let template = match Template::read(text) {
            Ok(template) => template,
            Err(why) => {
                self.error(node.line, format!("{field}: {why}"));
                return None;
            }
        };
        for variable in template.variables() {
            if !needs.contains(&variable) {
                let name = variable.name();
                self.error(
                    node.line,
                    format!("{field} uses `${{{name}}}`, which `context_requirements` does not name"),
                );
            }
        }
        Some(template)
    }

    /// What can not be undone must say so and be asked; what can must not say that it can not.
    fn reversible(&mut self, map: &Map<'_>, verb: Verb, has_inverse: bool, checkpoint: Option<&Checkpoint>) {
        let irreversible = self.boolean(map, "irreversible", false);
        let line = |key: &str| map.get(key).map_or(map.line, |node| node.line);
        let verb = verb.as_str();
        if has_inverse && irreversible {
            self.error(
                line("irreversible"),
                format!("{} is true, but {verb} can be undone", map.named("irreversible")),
            );
        }
        if !has_inverse && !irreversible {
            let field = map.named("irreversible");
            self.error(line("type"), format!("{field} must be true: nothing undoes {verb} as it is given here"));
        }
        if !has_inverse && checkpoint.is_none() {
            let field = map.named("hotl_required");
            self.error(
                line("hotl_required"),
                format!("{field} must be true: nothing undoes {verb} as it is given here"),
            );
        }
        if checkpoint.is_some_and(|c| c.on_timeout == OnTimeout::Execute) && !has_inverse {
            let field = map.named("on_timeout");
            let reason = format!("{field} can not be `execute`: what can not be undone is never done without a person");
            self.error(line("on_timeout"), reason);
        }
    }
}

/// Lower-case letters, digits, `-` and `_`, beginning with a letter.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= limits::PLAYBOOK_ID_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// What a value is, in words.
pub(super) fn is(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => format!("{value}"),
        Value::Int(value) => format!("the number {value}"),
        Value::Float(value) => format!("the number {value}"),
        Value::Text(text) => format!("the text {}", quoted(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "keys and values".to_owned(),
    }
}
