//! An event in the making: the sensor's own fields, and what the mapping derives from them.

use std::borrow::Cow;
use std::net::IpAddr;

use vertice_model::limits::EVENT_FIELDS_MAX;
use vertice_model::{Entity, EntityKind, Fields, LogSource, Value};

use super::json::Field;

/// An event in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The sensor's own fields, sorted by name, each name once.
    native: Vec<Field>,
    /// What was derived, each name once. Few, so that a scan finds them.
    derived: Vec<Field>,
    left_out: usize,
    entity: Option<Entity>,
    products: Vec<String>,
    services: Vec<String>,
    categories: Vec<String>,
}

/// A part of a log source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Product,
    Service,
    Category,
}

impl Draft {
    /// A draft of these native fields, sorted by name.
    pub(super) fn new(native: Vec<Field>, left_out: usize) -> Draft {
        Draft { native, left_out, ..Draft::default() }
    }

    /// The value of a field; a native one stands before a derived one.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        if let Ok(i) = self.native.binary_search_by(|(n, _)| (**n).cmp(name)) {
            return Some(&self.native[i].1);
        }
        self.derived.iter().find(|(n, _)| **n == *name).map(|(_, v)| v)
    }

    /// The text of a field: of a list its first value. `None` if it is absent or null.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.get(name)? {
            Value::Null => None,
            Value::List(list) => list.first().map(Value::to_text),
            value @ (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)) => Some(value.to_text()),
        }
    }

    /// The names of the first native fields, for a message to a person.
    pub(super) fn names_shown(&self) -> String {
        let names: Vec<String> = self.native.iter().take(6).map(|(name, _)| format!("{:?}", &**name)).collect();
        let dots = if self.native.len() > 6 { ", …" } else { "" };
        if names.is_empty() { "no members".to_owned() } else { names.join(", ") + dots }
    }

    /// Derives a field, unless it has a value already.
    ///
    /// Names with a dot are common ones, with a type: an address must be one, a number must be one, and the
    /// words that logs write for nothing (`-`, `?`) are nothing.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        let value = if name.contains('.') { common(name, value) } else { Some(value) };
        if let Some(value) = value
            && self.get(name).is_none()
        {
            self.derived.push((name.into(), value));
        }
    }

    /// Adds a part of a log source.
    pub(super) fn belongs(&mut self, part: Part, name: &str) {
        let list = match part {
            Part::Product => &mut self.products,
            Part::Service => &mut self.services,
            Part::Category => &mut self.categories,
        };
        if !list.iter().any(|known| known == name) {
            list.push(name.to_owned());
        }
    }

    /// Strips prefixes off native names, the first that fits. `a.*` also strips the name below `a`. Of two
    /// fields that get one name and differ, both values stand, as a list: the first prefix's first.
    pub(super) fn hoist(&mut self, prefixes: &[String]) {
        let strip = |name: &str| -> Option<(usize, usize)> {
            prefixes.iter().enumerate().find_map(|(rank, prefix)| {
                let (stem, wild) = prefix.strip_suffix(".*").map_or((prefix.as_str(), false), |stem| (stem, true));
                let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
                let rest = if wild { rest.split_once('.')?.1 } else { rest };
                (!rest.is_empty()).then_some((rank, rest.len()))
            })
        };
        // Flat events have nothing to strip; the names are sorted, so that is soon seen.
        let begins = |prefix: &String| {
            let stem = prefix.trim_end_matches(".*");
            let at = self.native.partition_point(|(name, _)| **name < *stem);
            self.native[at..].iter().map_while(|(name, _)| name.strip_prefix(stem)).any(|rest| rest.starts_with('.'))
        };
        if !prefixes.iter().any(begins) {
            return;
        }
        let native = std::mem::take(&mut self.native);
        let mut ranked: Vec<(usize, Field)> = native
            .into_iter()
            .map(|(name, value)| match strip(&name) {
                Some((rank, length)) => (rank, (name[name.len() - length..].into(), value)),
                None => (prefixes.len(), (name, value)),
            })
            .collect();
        ranked.sort_by(|a, b| a.1.0.cmp(&b.1.0).then(a.0.cmp(&b.0)));
        for (_, (name, value)) in ranked {
            match self.native.last_mut() {
                Some((last, standing)) if *last == name => merge(standing, value),
                Some(_) | None => self.native.push((name, value)),
            }
        }
    }

    /// A list of names and a list of values as long become fields.
    pub(super) fn zip(&mut self, names: &str, values: &str) {
        let (Some(Value::List(n)), Some(Value::List(v))) = (self.get(names), self.get(values)) else { return };
        if n.len() == v.len() {
            let pairs: Vec<(String, Value)> =
                n.iter().zip(v).map(|(n, v)| (n.to_text().into_owned(), v.clone())).collect();
            for (name, value) in pairs {
                self.put(&name, value);
            }
        }
    }

    /// Takes the entity from the first of these fields that names one, unless a step before has: an address
    /// if the name ends in `ip`, a user if it begins with `user`, else a host. The host's own address, such
    /// as 127.0.0.1, is taken only if nothing better is named.
    pub(super) fn name_entity(&mut self, preference: &[String]) {
        if self.entity.is_some() {
            return;
        }
        let named = preference.iter().filter_map(|name| {
            let text = self.text(name)?;
            if name.ends_with("ip") {
                Entity::ip(&text)
            } else if name.starts_with("user") {
                Entity::user(&text)
            } else {
                Entity::host(&text)
            }
        });
        let (mut own, mut other) = (None, None);
        for entity in named {
            let place = if is_own_address(&entity) { &mut own } else { &mut other };
            place.get_or_insert(entity);
        }
        self.entity = other.or(own);
    }

    /// The entity, once it is named.
    pub(super) fn take_entity(&mut self) -> Option<Entity> {
        self.entity.take()
    }

    /// The log sources: every combination of the parts. One that lacks a part belongs to none that needs it.
    pub(super) fn log_sources(&self) -> Vec<LogSource> {
        let options = |list: &[String]| -> Vec<Option<String>> {
            if list.is_empty() { vec![None] } else { list.iter().cloned().map(Some).collect() }
        };
        let mut sources = Vec::with_capacity(2);
        for product in options(&self.products) {
            for service in options(&self.services) {
                for category in options(&self.categories) {
                    sources.push(LogSource { category, product: product.clone(), service: service.clone() });
                }
            }
        }
        sources
    }

    /// The fields. Where they are too many the last native ones are left out, and their number is
    /// `vertice.fields_left_out`.
    pub(super) fn into_fields(self) -> Fields {
        let Draft { mut native, derived, mut left_out, .. } = self;
        let room = EVENT_FIELDS_MAX.saturating_sub(derived.len() + 1);
        if native.len() > room {
            left_out += native.len() - room;
            native.truncate(room);
        }
        native.extend(derived);
        if left_out > 0 {
            native.push(("vertice.fields_left_out".into(), Value::Int(i64::try_from(left_out).unwrap_or(i64::MAX))));
        }
        Fields::new(native).0
    }
}

fn is_own_address(entity: &Entity) -> bool {
    let address = entity.name().parse::<IpAddr>();
    entity.kind() == EntityKind::Ip && address.is_ok_and(|a| a.is_loopback() || a.is_unspecified())
}

fn merge(standing: &mut Value, value: Value) {
    match standing {
        Value::List(list) => {
            if !list.contains(&value) {
                list.push(value);
            }
        }
        one => {
            if *one != value {
                *one = Value::List(vec![std::mem::replace(one, Value::Null), value]);
            }
        }
    }
}

/// The value of a common field in its type; `None` if it is not of that type, or a word for nothing.
fn common(name: &str, value: Value) -> Option<Value> {
    let value = match value {
        Value::Null => return None,
        Value::Text(text) if is_nothing(&text) => return None,
        other => other,
    };
    let kind = name.rsplit('.').next().unwrap_or(name);
    match kind {
        "ip" => {
            let text = first_text(&value)?;
            let address: IpAddr = text.trim().trim_matches(['[', ']']).parse().ok()?;
            Some(Value::Text(address.to_canonical().to_string()))
        }
        "port" | "bytes" | "status_code" | "pid" => match value {
            Value::Int(_) => Some(value),
            other => first_text(&other)?.trim().parse().ok().map(Value::Int),
        },
        _ => Some(value),
    }
}

fn first_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::List(list) => list.first().map(Value::to_text),
        one => Some(one.to_text()),
    }
}

/// Whether a text is a log's word for nothing.
pub(super) fn is_nothing(text: &str) -> bool {
    matches!(text.trim(), "" | "-" | "?" | "(null)" | "N/A")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(fields: &[(&str, Value)]) -> Draft {
        let mut native: Vec<Field> = fields.iter().map(|(n, v)| ((*n).into(), v.clone())).collect();
        native.sort_by(|a, b| a.0.cmp(&b.0));
        Draft::new(native, 0)
    }

    fn show(draft: Draft) -> String {
        serde_json::to_string(&draft.into_fields()).unwrap()
    }

    #[test]
    fn native_fields_stand_and_common_ones_are_typed() {
        let mut d = draft(&[("a.ip", Value::from("x"))]);
        for (name, value) in [
            ("a.ip", Value::from("192.0.2.1")),
            ("source.ip", Value::from("[::ffff:192.0.2.7]")),
            ("destination.ip", Value::from("nowhere")),
            ("source.port", Value::from("80")),
            ("destination.port", Value::from("http")),
            ("source.bytes", Value::Int(3)),
            ("http.response.status_code", Value::List(vec![Value::Int(200)])),
            ("client.ip", Value::List(vec![Value::from("2001:DB8::1")])),
            ("empty.ip", Value::List(vec![])),
            ("user.name", Value::from("-")),
            ("host.name", Value::Null),
            ("Note", Value::from("-")),
            ("Note", Value::from("later")),
        ] {
            d.put(name, value);
        }
        assert_eq!(
            show(d),
            r#"{"Note":"-","a.ip":"x","client.ip":"2001:db8::1","http.response.status_code":200,"source.bytes":3,"source.ip":"192.0.2.7","source.port":80}"#
        );
    }

    #[test]
    fn hoisting_and_zipping() {
        let mut d = draft(&[
            ("E.S.Channel", Value::from("System")),
            ("E.U.X.Channel", Value::from("Security")),
            ("E.U.X.Same", Value::Int(1)),
            ("E.S.Same", Value::Int(1)),
            ("E.U.Y.Channel", Value::from("Setup")),
            ("E.S.", Value::Int(9)),
            ("N", Value::List(vec![Value::from("p"), Value::from("q")])),
            ("V", Value::List(vec![Value::Int(1), Value::Int(2)])),
            ("W", Value::List(vec![])),
        ]);
        d.hoist(&["E.S".to_owned(), "E.U.*".to_owned()]);
        d.zip("N", "V");
        d.zip("N", "W");
        d.zip("N", "Same");
        assert_eq!(d.text("Channel").as_deref(), Some("System"));
        assert_eq!(
            show(d),
            r#"{"Channel":["System","Security","Setup"],"E.S.":9,"N":["p","q"],"Same":1,"V":[1,2],"W":[],"p":1,"q":2}"#
        );
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let native = (0..EVENT_FIELDS_MAX + 5).map(|i| (format!("{i:05}").into(), Value::Null)).collect();
        let mut d = Draft::new(native, 7);
        d.put("event.action", "x".into());
        let fields = d.into_fields();
        assert_eq!(fields.len(), EVENT_FIELDS_MAX);
        assert_eq!(fields.get("vertice.fields_left_out"), Some(&Value::Int(14)));
        assert_eq!(fields.text("event.action"), Some("x"));
    }

    #[test]
    fn entities_and_log_sources() {
        let mut d = draft(&[("source.ip", Value::Null), ("user.name", Value::from("Ana")), ("host", Value::from("W"))]);
        let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        d.put("own.ip", "127.0.0.1".into());
        let mut named = |list: &[&str]| {
            d.name_entity(&names(list));
            d.take_entity().map(|entity| entity.name().to_owned()).unwrap_or_default()
        };
        assert_eq!(named(&["source.ip", "user.name"]), "ana");
        assert_eq!(named(&["own.ip", "host"]), "w");
        assert_eq!(named(&["own.ip"]), "127.0.0.1");
        assert_eq!(named(&[]), "");
        d.name_entity(&names(&["host"]));
        d.name_entity(&names(&["user.name"]));
        assert_eq!(d.take_entity().unwrap().name(), "w");
        assert_eq!(d.log_sources(), [LogSource::default()]);
        d.belongs(Part::Product, "linux");
        for service in ["sshd", "auth", "sshd"] {
            d.belongs(Part::Service, service);
        }
        d.belongs(Part::Category, "authentication");
        assert_eq!(d.log_sources().len(), 2);
    }
}
