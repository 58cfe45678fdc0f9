//! What does not leave the machine: secrets, and what names people.
//!
//! # How
//! Each thing found is replaced by a placeholder such as `[EMAIL_1]`, the same one wherever the same thing stands, so
//! that a model can still tell two people apart. In the answer, placeholders of what names people and machines are
//! turned back. Those of secrets are not: an answer goes into the log, and a password has no business there.
//!
//! # What it gets wrong
//! It knows secrets by their shape or by the word before them. A password alone on a line, one in base64 or one that
//! was typed in place of a user's name looks like any other word. It errs towards taking out too much: what follows
//! `password:` goes, whatever it is. Names of users are found in paths, in `user=` and in the words of sshd, and
//! elsewhere only where the configuration lists them.
//!
//! # Cost
//! Linear in the text, whatever an attacker writes into it: the expressions are of the kind that never goes back.

mod rules;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits;
use crate::secret::Secret;
use rules::Rules;

/// What is taken out of questions.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionSettings {
    /// Keys, tokens, passwords, private keys.
    pub secrets: bool,
    /// Addresses of mail.
    pub emails: bool,
    /// Names of users, where they can be told.
    pub users: bool,
    /// Addresses of hosts.
    pub addresses: Addresses,
    /// Further texts, such as names of people and projects. Each has two bytes or more.
    pub words: Vec<String>,
}

impl Default for RedactionSettings {
    fn default() -> RedactionSettings {
        RedactionSettings { secrets: true, emails: true, users: false, addresses: Addresses::Keep, words: Vec::new() }
    }
}

/// Which addresses of hosts are taken out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// None: an analyst without addresses can say little.
    #[default]
    Keep,
    /// Those of private networks, which tell how ours is built.
    Internal,
    /// All.
    All,
}

/// What something is that is taken out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Kind {
    Secret,
    Email,
    User,
    Address,
    Word,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Secret => "SECRET",
            Kind::Email => "EMAIL",
            Kind::User => "USER",
            Kind::Address => "ADDRESS",
            Kind::Word => "PRIVATE",
        }
    }
}

/// Takes out what is not to leave the machine.
#[derive(Clone)]
pub struct Redactor {
    rules: Arc<Rules>,
    addresses: Addresses,
}

impl fmt::Debug for Redactor {
    /// Its rules hold our own keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// For these settings. The keys that we use ourselves are always taken out.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: &RedactionSettings, own: &[Secret]) -> Result<Redactor, String> {
        if settings.words.len() > limits::WORDS_MAX {
            return Err(format!("there are more than {} words to take out", limits::WORDS_MAX));
        }
        if settings.words.iter().any(|w| w.trim().len() < 2) {
            return Err("a word to take out has two bytes or more".to_owned());
        }
        let rules =
            Rules::new(settings, own).map_err(|_| "the words to take out are too many or too long".to_owned())?;
        Ok(Redactor { rules: Arc::new(rules), addresses: settings.addresses })
    }

    /// Takes it out of several texts, with the same placeholders in each.
    #[must_use]
    pub fn redact(&self, texts: [&str; 2]) -> ([String; 2], Redacted) {
        let mut redacted = Redacted::default();
        let done = texts.map(|text| {
            let mut found = Redactor::found(text, self.rules.for_sending());
            found.extend(self.addresses(text));
            redacted.replace(text, &Redactor::apart(found), texts)
        });
        (done, redacted)
    }

    /// Takes secrets out of what is shown and never sent.
    pub(crate) fn redact_secrets(&self, text: &str) -> String {
        let mut found = Redactor::found(text, self.rules.for_showing());
        found.extend(self.rules.fragments(text).map(|range| (range, Kind::Secret)));
        let found = Redactor::apart(found);
        let mut kept = String::with_capacity(text.len());
        let mut at = 0;
        for (range, _) in found {
            kept.push_str(&text[at..range.start]);
            kept.push_str("[SECRET]");
            at = range.end;
        }
        kept.push_str(&text[at..]);
        kept
    }

    fn found<'r>(text: &str, rules: impl Iterator<Item = (&'r Regex, Kind)>) -> Vec<Found> {
        let mut found = Vec::new();
        for (rule, kind) in rules {
            for hit in rule.captures_iter(text) {
                // The first group that took part is the thing; without one it is the whole.
                let thing = (1..hit.len()).find_map(|i| hit.get(i)).or_else(|| hit.get(0));
                found.extend(thing.filter(|t| !t.is_empty()).map(|t| (t.range(), kind)));
            }
        }
        found
    }

    fn addresses<'a>(&self, text: &'a str) -> impl Iterator<Item = Found> + 'a {
        let (keep, internal) = (self.addresses == Addresses::Keep, self.addresses == Addresses::Internal);
        let is_meant = move |t: &str| !keep && t.parse().is_ok_and(|a: IpAddr| !internal || is_internal(a));
        let found: Vec<_> = self.rules.address.find_iter(text).filter(|m| is_meant(m.as_str())).collect();
        found.into_iter().map(|m| (m.range(), Kind::Address))
    }

    /// In order and without overlaps.
    fn apart(mut found: Vec<Found>) -> Vec<Found> {
        // Of two that overlap the secret wins, and it takes the extent of both: half an address of mail is none.
        found.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        let mut apart: Vec<Found> = Vec::with_capacity(found.len());
        for (range, kind) in found {
            match apart.last_mut() {
                Some((last, as_kind)) if range.start < last.end => {
                    last.end = last.end.max(range.end);
                    if kind == Kind::Secret {
                        *as_kind = kind;
                    }
                }
                _ => apart.push((range, kind)),
            }
        }
        apart
    }
}

/// What was taken out of a question. It shows nothing of it.
#[derive(Default)]
pub struct Redacted {
    placeholders: HashMap<(Kind, String), String>,
    things: HashMap<String, (Kind, String)>,
    next: HashMap<Kind, usize>,
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redacted({} things)", self.things.len())
    }
}

impl Redacted {
    /// How many different things were taken out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Whether nothing was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    fn replace(&mut self, text: &str, found: &[Found], all: [&str; 2]) -> String {
        let mut done = String::with_capacity(text.len());
        let mut at = 0;
        for (range, kind) in found {
            done.push_str(&text[at..range.start]);
            done.push_str(&self.placeholder(*kind, &text[range.clone()], all));
            at = range.end;
        }
        done.push_str(&text[at..]);
        done
    }

    fn placeholder(&mut self, kind: Kind, thing: &str, all: [&str; 2]) -> String {
        let key = (kind, thing.to_owned());
        if let Some(placeholder) = self.placeholders.get(&key) {
            return placeholder.clone();
        }
        let next = self.next.entry(kind).or_default();
        let placeholder = loop {
            *next += 1;
            let placeholder = format!("[{}_{next}]", kind.word());
            // One that an attacker wrote into the text would be turned into something of ours.
            if !all.iter().any(|text| text.contains(&placeholder)) {
                break placeholder;
            }
        };
        self.things.insert(placeholder.clone(), key.clone());
        self.placeholders.insert(key, placeholder.clone());
        placeholder
    }

    /// Puts back what is no secret.
    #[must_use]
    pub fn restore(&self, text: &str) -> String {
        if self.things.is_empty() || !text.contains('[') {
            return text.to_owned();
        }
        let mut done = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('[') {
            done.push_str(&rest[..at]);
            rest = &rest[at..];
            let end = rest.find(']').map_or(1, |end| end + 1);
            match self.things.get(&rest[..end]) {
                Some((kind, thing)) if *kind != Kind::Secret => {
                    done.push_str(thing);
                    rest = &rest[end..];
                }
                _ => {
                    done.push('[');
                    rest = &rest[1..];
                }
            }
        }
        done.push_str(rest);
        done
    }

    /// The same in all texts within a value. Its depth is bounded by the schema that it fits.
    #[must_use]
    pub fn restore_json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.restore(&text)),
            Value::Array(items) => items.into_iter().map(|v| self.restore_json(v)).collect(),
            Value::Object(map) => map.into_iter().map(|(k, v)| (k, self.restore_json(v))).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

fn is_internal(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared(v4.octets()),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// What providers share among customers (RFC 6598).
fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

/// An expression, and what it finds.
type Rule = (Regex, Kind);

/// Where something stands, and what it is.
type Found = (Range<usize>, Kind);
