//! `vertice keys`: who may decide. How keys are asked for and told of goes for those of bouncers too.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use vertice_api::{KeyError, KeyOf};

use super::Failure;
use super::client::{Client, segment};
use super::output::{Format, Out, Table, Tint};
use super::records::{cell, text, time_cell};
use crate::config::Config;
use crate::keys;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a key of somebody who may decide, and show it, once
    #[command(after_help = "Example:\n  vertice keys add ana\n\n\
        Decisions are recorded by this name, and `response.approvers` in the configuration names those who may answer. \
        An action of the highest risk needs two people, each with a key of their own.\n\n\
        Asks the server. Where none runs, it is done here and now, with the data directory of the configuration: this \
        needs no key, but the right to write there, and is the way back for whoever lost the only one.")]
    Add {
        /// Whose it is: letters, digits, `.`, `_` and `-`
        name: String,
    },
    /// List the keys by name
    List,
    /// Remove a key: it is no longer one. The last one stays
    Remove {
        /// Its name
        name: String,
    },
}

impl Verb {
    fn wanted(self) -> Wanted {
        match self {
            Verb::Add { name } => Wanted::Add(name),
            Verb::List => Wanted::List,
            Verb::Remove { name } => Wanted::Remove(name),
        }
    }
}

/// What is to be done with keys of a kind.
pub enum Wanted {
    Add(String),
    List,
    Remove(String),
}

/// A kind of keys: where the API has them, and what is said of them.
pub struct Kind {
    pub path: &'static str,
    /// What is said when there is none.
    pub none: &'static str,
    /// What is shown of one that was added, given where the server is.
    pub added: fn(&Value, &str) -> Vec<String>,
    pub table: fn(&[Value]) -> Table,
    /// What is said of one that was removed, by its name.
    pub removed: fn(&str) -> String,
}

const PEOPLE: Kind = Kind {
    path: "/api/v1/keys",
    none: "There is no key. `vertice keys add NAME` makes one.",
    added: |added, _| {
        vec![
            format!("The API key of {}, shown only now:", text(added, "/name")),
            String::new(),
            format!("  export VERTICE_API_KEY={}", text(added, "/key")),
        ]
    },
    table,
    removed: |name| match name {
        "environment" => {
            "The key environment is removed, until a start with VERTICE_API_KEY in its environment sets it again."
                .to_owned()
        }
        _ => format!("The key {name} is removed. What was decided with it stands."),
    },
};

impl Kind {
    /// Has the server do it. Returns its answer, or the list.
    pub fn ask(&self, wanted: &Wanted, client: &Client) -> Result<Value, Failure> {
        match wanted {
            Wanted::Add(name) => client.post(self.path, &json!({ "name": name })),
            Wanted::List => Ok(Value::Array(client.page(self.path, &[])?.items)),
            Wanted::Remove(name) => client.delete(&format!("{}/{}", self.path, segment(name)), &[]),
        }
    }

    /// Says what came of it.
    pub fn tell(&self, wanted: &Wanted, answer: &Value, base: &str, out: &mut Out) -> Result<()> {
        let list = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        match (out.format, wanted) {
            (Format::Json | Format::Ndjson, Wanted::List) => out.json_list(list),
            (Format::Json | Format::Ndjson, Wanted::Add(_) | Wanted::Remove(_)) => out.json(answer),
            (Format::Table, Wanted::Add(_)) => (self.added)(answer, base).iter().try_for_each(|line| out.line(line)),
            (Format::Table, Wanted::List) if list.is_empty() => out.line(self.none),
            (Format::Table, Wanted::List) => out.table(&(self.table)(list)),
            (Format::Table, Wanted::Remove(name)) => out.line(&(self.removed)(name)),
        }
    }
}

pub fn run(verb: Verb, client: &Client, configuration: impl FnOnce() -> Result<Config>, out: &mut Out) -> Result<()> {
    let wanted = verb.wanted();
    let answer = match PEOPLE.ask(&wanted, client) {
        Err(Failure::Unreachable(_)) => alone(&wanted, &configuration()?)?,
        other => other?,
    };
    PEOPLE.tell(&wanted, &answer, client.base(), out)
}

/// Does it with the data directory, and answers as the server would.
fn alone(wanted: &Wanted, config: &Config) -> Result<Value> {
    let of = KeyOf::Person;
    keys::offline(config, |keys, store, by| match wanted {
        Wanted::Add(name) => {
            let new = keys.add(store, of, name, by).map_err(told)?;
            Ok(json!({ "name": name, "key": new.secret }))
        }
        Wanted::List => Ok(keys
            .all(of)
            .iter()
            .map(|key| {
                let from_environment = key.from_environment();
                json!({"name": key.name, "created": key.created, "from_environment": from_environment, "yours": false})
            })
            .collect()),
        Wanted::Remove(name) => keys.remove(store, of, name, by).map(|_| Value::Null).map_err(told),
    })
}

/// What went wrong, with the exit code that it has when the server says so.
fn told(error: KeyError) -> anyhow::Error {
    match error {
        KeyError::None { .. } => Failure::NotFound(error.to_string()).into(),
        KeyError::NoName { .. }
        | KeyError::Taken { .. }
        | KeyError::TooMany { .. }
        | KeyError::Exists { .. }
        | KeyError::Last
        | KeyError::Draw(_)
        | KeyError::Store(_)
        | KeyError::Read(_) => error.into(),
    }
}

fn table(keys: &[Value]) -> Table {
    let mut table = Table::new(&["NAME", "ADDED (UTC)", ""]);
    for key in keys {
        let is = |name: &str| key.get(name).and_then(Value::as_bool) == Some(true);
        let notes = [("yours", "yours"), ("from_environment", "set by VERTICE_API_KEY at a start")];
        let notes: Vec<&str> = notes.into_iter().filter(|(name, _)| is(name)).map(|(_, note)| note).collect();
        table.row(vec![cell(key, "/name"), time_cell(key, "/created"), (Tint::None, notes.join(", "))]);
    }
    table
}
