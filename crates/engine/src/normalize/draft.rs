//! An event in the making: the sensor's own fields, and what the mapping derives from them.

use std::borrow::Cow;
use std::net::IpAddr;

use vertice_model::limits::EVENT_FIELDS_MAX;
use vertice_model::{Entity, EntityKind, Fields, LogSource};
use vertice_sigma::{Source, Value as Seen};

use super::field::{Common, Field, Prefix, hash};
use super::index::Index;
use super::json::Entry;
use super::value::Held;

/// An event in the making. It borrows from the line and from the mapping.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    /// The sensor's own fields, and then what was derived. Each name stands once.
    fields: Vec<Entry<'a>>,
    /// How many of them are the sensor's own.
    native: usize,
    index: Index,
    left_out: usize,
    /// The fields that steps said may name the entity, each with how many fields there were then.
    asked: Vec<(&'a [Field], usize)>,
    entity: Option<Entity>,
    parts: Vec<(Part, Cow<'a, str>)>,
}

/// A part of a log source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Product,
    Service,
    Category,
}

impl<'a> Draft<'a> {
    /// A draft of these native fields. Of those with one name the first stands.
    pub(super) fn new(mut fields: Vec<Entry<'a>>, left_out: usize) -> Draft<'a> {
        let index = Index::of_first(&mut fields);
        Draft { native: fields.len(), fields, index, left_out, ..Draft::default() }
    }

    /// The value of a field; a native one stands before a derived one.
    pub(super) fn get(&self, field: &Field) -> Option<&Held<'a>> {
        self.find(field.hash, &field.name).map(|at| &self.fields[at].value)
    }

    /// The value of the field of a name that is put together only now.
    pub(super) fn named(&self, name: &str) -> Option<&Held<'a>> {
        self.find(hash(name), name).map(|at| &self.fields[at].value)
    }

    fn find(&self, hash: u32, name: &str) -> Option<usize> {
        self.index.find(&self.fields, self.native, hash, name)
    }

    /// The text of a field: of a list its first value. `None` if it is absent or null.
    pub(super) fn text(&self, field: &Field) -> Option<Cow<'a, str>> {
        self.get(field).and_then(text)
    }

    /// The names of the first native fields, for a message to a person.
    pub(super) fn names_shown(&self) -> String {
        let mut names: Vec<&str> = self.fields[..self.native].iter().map(|field| &*field.name).collect();
        names.sort_unstable();
        let shown: Vec<String> = names.iter().take(6).map(|name| format!("{name:?}")).collect();
        let dots = if names.len() > 6 { ", …" } else { "" };
        if names.is_empty() { "no members".to_owned() } else { shown.join(", ") + dots }
    }

    /// Derives a field, unless it has a value already.
    ///
    /// Names with a dot are common ones, with a type: an address must be one, a number must be one, and the
    /// words that logs write for nothing (`-`, `?`) are nothing.
    pub(super) fn put(&mut self, field: &'a Field, value: Held<'a>) {
        if self.find(field.hash, &field.name).is_none()
            && let Some(value) = field.typed(value)
        {
            self.push(Cow::Borrowed(&field.name), field.hash, value);
        }
    }

    /// As [`Draft::put`], for a name that is put together only now.
    pub(super) fn put_named(&mut self, name: impl Into<Cow<'a, str>>, value: Held<'a>) {
        let name = name.into();
        let hash = hash(&name);
        if self.find(hash, &name).is_none()
            && let Some(value) = Common::of(&name).typed(value)
        {
            self.push(name, hash, value);
        }
    }

    fn push(&mut self, name: Cow<'a, str>, hash: u32, value: Held<'a>) {
        self.fields.push(Entry { name, last: "", hash, value });
        self.index.added(&mut self.fields, self.native);
    }

    /// Adds a part of a log source.
    pub(super) fn belongs(&mut self, part: Part, name: Cow<'a, str>) {
        if !self.parts.iter().any(|(known, own)| *known == part && *own == name) {
            self.parts.push((part, name));
        }
    }

    /// Strips prefixes off native names, the first that fits. Of two fields that get one name and differ, both values
    /// stand, as a list: the first prefix's first. Nothing may be derived before.
    pub(super) fn hoist(&mut self, prefixes: &[Prefix]) {
        let mut stripped = Vec::new();
        for (at, field) in self.fields.iter_mut().enumerate() {
            // Flat events have nothing to strip.
            if !field.name.bytes().any(|byte| byte == b'.') {
                continue;
            }
            let strip = |(rank, prefix): (usize, &Prefix)| Some((rank, prefix.strip(&field.name)?.len()));
            if let Some((rank, length)) = prefixes.iter().enumerate().find_map(strip) {
                let from = field.name.len() - length;
                let fresh = match &field.name {
                    Cow::Borrowed(name) => Cow::Borrowed(&name[from..]),
                    Cow::Owned(name) if name[from..] == *field.last => Cow::Borrowed(field.last),
                    Cow::Owned(name) => Cow::Owned(name[from..].to_owned()),
                };
                field.hash = hash(&fresh);
                stripped.push((at, rank, std::mem::replace(&mut field.name, fresh)));
            }
        }
        if stripped.is_empty() {
            return;
        }
        match Index::of_unique(&self.fields) {
            Some(index) => self.index = index,
            None => self.merge(prefixes.len(), stripped),
        }
    }

    /// Makes one of native fields that have got one name. Those of one prefix are in order of their old names.
    fn merge(&mut self, unranked: usize, stripped: Vec<(usize, usize, Cow<'a, str>)>) {
        let mut ranks = vec![(unranked, Cow::Borrowed("")); self.fields.len()];
        for (at, rank, name) in stripped {
            ranks[at] = (rank, name);
        }
        let mut ranked: Vec<_> = std::mem::take(&mut self.fields).into_iter().zip(ranks).collect();
        ranked.sort_by(|(a, rank), (b, other)| a.name.cmp(&b.name).then_with(|| rank.cmp(other)));
        for (field, _) in ranked {
            match self.fields.last_mut() {
                Some(last) if last.name == field.name => merge(&mut last.value, field.value),
                Some(_) | None => self.fields.push(field),
            }
        }
        self.native = self.fields.len();
        self.index = Index::of_first(&mut self.fields);
    }

    /// A list of names and a list of values as long become fields.
    pub(super) fn zip(&mut self, names: &Field, values: &Field) {
        let (Some(Held::List(n)), Some(Held::List(v))) = (self.get(names), self.get(values)) else { return };
        if n.len() == v.len() {
            let pairs: Vec<(Cow<'a, str>, Held<'a>)> = n.iter().zip(v).map(|(n, v)| (n.to_text(), v.clone())).collect();
            for (name, value) in pairs {
                self.put_named(name, value);
            }
        }
    }

    /// The entity may be named by the first of these fields that names one, unless those of a step before do: an
    /// address if the name ends in `ip`, a user if it begins with `user`, else a host. The host's own address, such
    /// as 127.0.0.1, is taken only if nothing better is named.
    pub(super) fn ask_entity(&mut self, preference: &'a [Field]) {
        if !preference.is_empty() {
            self.asked.push((preference, self.fields.len()));
        }
    }

    /// The entity, once all was asked that may name it.
    pub(super) fn entity(&self) -> Option<Entity> {
        let known = self.entity.clone();
        known.or_else(|| self.asked.iter().find_map(|(preference, end)| self.entity_of(preference, *end)))
    }

    /// The entity that these fields name, of the fields before `end`.
    fn entity_of(&self, preference: &[Field], end: usize) -> Option<Entity> {
        let named = preference.iter().filter_map(|field| {
            let at = self.find(field.hash, &field.name).filter(|at| *at < end)?;
            let text = text(&self.fields[at].value)?;
            if field.name.ends_with("ip") {
                Entity::ip(&text)
            } else if field.name.starts_with("user") {
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
        other.or(own)
    }

    /// The log sources: every combination of the parts. One that lacks a part belongs to none that needs it.
    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        let all = |part: Part| {
            let own = self.parts.iter().filter(move |(own, _)| *own == part).map(|(_, name)| Some(&**name));
            let none = (!self.parts.iter().any(|(own, _)| *own == part)).then_some(None);
            own.chain(none)
        };
        let mut sources = Vec::with_capacity(4);
        for product in all(Part::Product) {
            for service in all(Part::Service) {
                sources.extend(all(Part::Category).map(|category| Source { category, product, service }));
            }
        }
        sources
    }

    /// As [`Draft::sources`], borrowed from nothing.
    pub(super) fn log_sources(&self) -> Vec<LogSource> {
        let owned = |part: Option<&str>| part.map(str::to_owned);
        let log_source = |source: &Source<'_>| LogSource {
            category: owned(source.category),
            product: owned(source.product),
            service: owned(source.service),
        };
        self.sources().iter().map(log_source).collect()
    }

    /// Leaves out the last native fields where they are too many; their number is `vertice.fields_left_out`.
    pub(super) fn settle(&mut self) {
        let derived = self.fields.len() - self.native;
        let room = EVENT_FIELDS_MAX.saturating_sub(derived + 1);
        if self.native > room {
            self.entity = self.entity();
            self.left_out += self.native - room;
            self.fields[..self.native].sort_by(|a, b| a.name.cmp(&b.name));
            self.fields.drain(room..self.native);
            self.native = room;
            self.index = Index::of_first(&mut self.fields);
        }
        if self.left_out > 0 {
            let count = i64::try_from(self.left_out).unwrap_or(i64::MAX);
            self.put_named("vertice.fields_left_out", Held::Int(count));
        }
    }

    /// The fields by themselves.
    pub(super) fn fields(&self) -> Fields {
        Fields::new(self.fields.iter().map(|field| ((*field.name).into(), field.value.to_value())).collect()).0
    }

    /// Shows every value beside the name of its field.
    pub(super) fn each<'s>(&'s self, visit: &mut dyn FnMut(&str, Seen<'s>)) {
        for field in &self.fields {
            field.value.show(&mut |value| visit(&field.name, value));
        }
    }

    /// The same, borrowed from nothing.
    pub(super) fn into_owned<'b>(self) -> Draft<'b> {
        let entity = self.entity();
        let own = |name: Cow<'a, str>| Cow::Owned(name.into_owned());
        let entry = |e: Entry<'a>| Entry { name: own(e.name), last: "", hash: e.hash, value: e.value.into_owned() };
        Draft {
            fields: self.fields.into_iter().map(entry).collect(),
            native: self.native,
            index: self.index,
            left_out: self.left_out,
            asked: Vec::new(),
            entity,
            parts: self.parts.into_iter().map(|(part, name)| (part, own(name))).collect(),
        }
    }
}

/// The text of a value: of a list its first. `None` if there is none, or it is null.
fn text<'a>(value: &Held<'a>) -> Option<Cow<'a, str>> {
    match value {
        Held::Null => None,
        other => other.first_text(),
    }
}

fn is_own_address(entity: &Entity) -> bool {
    let address = entity.name().parse::<IpAddr>();
    entity.kind() == EntityKind::Ip && address.is_ok_and(|a| a.is_loopback() || a.is_unspecified())
}

fn merge<'a>(standing: &mut Held<'a>, value: Held<'a>) {
    match standing {
        Held::List(list) => {
            if !list.contains(&value) {
                list.push(value);
            }
        }
        one => {
            if *one != value {
                *one = Held::List(vec![std::mem::replace(one, Held::Null), value]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(name: impl Into<Cow<'a, str>>, value: Held<'a>) -> Entry<'a> {
        let name = name.into();
        Entry { hash: hash(&name), name, last: "", value }
    }

    fn draft<'a>(fields: &[(&'a str, Held<'a>)]) -> Draft<'a> {
        Draft::new(fields.iter().map(|(name, value)| entry(*name, value.clone())).collect(), 0)
    }

    fn field(name: &str) -> Field {
        Field::from(name.to_owned())
    }

    fn show(draft: &Draft<'_>) -> String {
        serde_json::to_string(&draft.fields()).unwrap()
    }

    #[test]
    fn native_fields_stand_and_common_ones_are_typed() {
        let mut d = draft(&[("a.ip", Held::from("x"))]);
        for (name, value) in [
            ("a.ip", Held::from("192.0.2.1")),
            ("source.ip", Held::from("[::ffff:192.0.2.7]")),
            ("destination.ip", Held::from("nowhere")),
            ("source.port", Held::from("80")),
            ("destination.port", Held::from("http")),
            ("source.bytes", Held::Int(3)),
            ("http.response.status_code", Held::List(vec![Held::Int(200)])),
            ("client.ip", Held::List(vec![Held::from("2001:DB8::1")])),
            ("empty.ip", Held::List(vec![])),
            ("user.name", Held::from("-")),
            ("host.name", Held::Null),
            ("Note", Held::from("-")),
            ("Note", Held::from("later")),
        ] {
            d.put_named(name, value);
        }
        assert_eq!(
            show(&d),
            r#"{"Note":"-","a.ip":"x","client.ip":"2001:db8::1","http.response.status_code":200,"source.bytes":3,"source.ip":"192.0.2.7","source.port":80}"#
        );
    }

    #[test]
    fn hoisting_and_zipping() {
        let mut d = draft(&[
            ("E.S.Channel", Held::from("System")),
            ("E.U.X.Channel", Held::from("Security")),
            ("E.U.X.Same", Held::Int(1)),
            ("E.S.Same", Held::Int(1)),
            ("E.U.Y.Channel", Held::from("Setup")),
            ("E.S.", Held::Int(9)),
            ("N", Held::List(vec![Held::from("p"), Held::from("q")])),
            ("V", Held::List(vec![Held::Int(1), Held::Int(2)])),
            ("W", Held::List(vec![])),
        ]);
        d.hoist(&["E.S".to_owned().into(), "E.U.*".to_owned().into()]);
        for values in ["V", "W", "Same"] {
            d.zip(&field("N"), &field(values));
        }
        assert_eq!(d.text(&field("Channel")).as_deref(), Some("System"));
        assert_eq!(
            show(&d),
            r#"{"Channel":["System","Security","Setup"],"E.S.":9,"N":["p","q"],"Same":1,"V":[1,2],"W":[],"p":1,"q":2}"#
        );
    }

    #[test]
    fn what_is_too_much_is_left_out_and_counted() {
        let native = (0..EVENT_FIELDS_MAX + 5).map(|i| entry(format!("{i:05}"), Held::Null)).collect();
        let mut d = Draft::new(native, 7);
        d.put_named("event.action", "x".into());
        d.settle();
        let fields = d.fields();
        assert_eq!(fields.len(), EVENT_FIELDS_MAX);
        assert_eq!(fields.get("vertice.fields_left_out"), Some(&vertice_model::Value::Int(14)));
        assert_eq!(fields.text("event.action"), Some("x"));
    }

    #[test]
    fn names_that_collide_are_found_all_the_same() {
        let mut names = Vec::new();
        for i in 0.. {
            let name = format!("n{i}");
            if hash(&name) & 0x3ff == 7 {
                names.push(name);
            }
            if names.len() == 200 {
                break;
            }
        }
        let twice = names.iter().chain(&names).enumerate();
        let native = twice.map(|(i, name)| entry(name.as_str(), Held::Int(i as i64))).collect();
        let mut d = Draft::new(native, 0);
        for (i, name) in names.iter().enumerate() {
            assert_eq!(d.named(name), Some(&Held::Int(i as i64)), "{name}");
        }
        assert_eq!((d.native, d.named("n"), d.named("other")), (200, None, None));
        d.put_named("other", "x".into());
        d.put_named(names[0].as_str(), "y".into());
        assert_eq!((d.named("other"), d.fields.len()), (Some(&Held::from("x")), 201));
        // Derived ones may be chosen too.
        let mut d = draft(&[("b", Held::Int(1)), ("a", Held::Int(2))]);
        names.iter().for_each(|name| d.put_named(name.as_str(), Held::from(name.as_str())));
        assert!(names.iter().all(|name| d.named(name) == Some(&Held::from(name.as_str()))));
        assert_eq!((d.named("a"), d.named("b"), d.fields.len()), (Some(&Held::Int(2)), Some(&Held::Int(1)), 202));
    }

    #[test]
    fn entities_and_log_sources() {
        let host = [("source.ip", Held::Null), ("user.name", Held::from("Ana")), ("host", Held::from("W"))];
        let lists = [["source.ip", "user.name"], ["own.ip", "host"], ["own.ip", "none"], ["host", "late"]];
        let lists = lists.map(|list| list.map(field));
        for (list, name) in lists.iter().zip(["ana", "w", "127.0.0.1", "w"]) {
            let mut d = draft(&host);
            d.put_named("own.ip", "127.0.0.1".into());
            assert_eq!(d.entity(), None);
            d.ask_entity(list);
            d.put_named("late", "later".into());
            d.ask_entity(&lists[0]);
            assert_eq!(d.entity().unwrap().name(), name);
            assert_eq!(d.into_owned().entity().unwrap().name(), name);
        }
        let mut d = draft(&host);
        assert_eq!(d.log_sources(), [LogSource::default()]);
        d.belongs(Part::Product, "linux".into());
        for service in ["sshd", "auth", "sshd"] {
            d.belongs(Part::Service, service.into());
        }
        d.belongs(Part::Category, "authentication".into());
        assert_eq!(d.log_sources().len(), 2);
    }
}
