//! Names of fields, with what is asked of them each time worked out beforehand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::value::Held;
use super::words::Words;

/// The name of a field that a mapping asks for or derives.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) hash: u32,
    common: Common,
}

/// What a derived field of a name is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Common {
    /// Whatever the mapping says.
    Other,
    /// Something.
    Any,
    /// An address.
    Ip,
    /// A whole number.
    Number,
}

impl From<String> for Field {
    fn from(name: String) -> Field {
        Field { hash: hash(&name), common: Common::of(&name), name: name.into() }
    }
}

impl Field {
    /// The value that a derived field of this name gets, if any.
    pub(super) fn typed<'a>(&self, value: Held<'a>) -> Option<Held<'a>> {
        self.common.typed(value)
    }
}

impl Common {
    /// Names with a dot are common ones, with a type by their end.
    pub(super) fn of(name: &str) -> Common {
        match name.rsplit_once('.') {
            None => Common::Other,
            Some((_, "ip")) => Common::Ip,
            Some((_, "port" | "bytes" | "status_code" | "pid")) => Common::Number,
            Some(_) => Common::Any,
        }
    }

    /// The value in its type; `None` if it is not of that type, or a word for nothing.
    pub(super) fn typed(self, value: Held<'_>) -> Option<Held<'_>> {
        if self == Common::Other {
            return Some(value);
        }
        if value.is_nothing() {
            return None;
        }
        match self {
            Common::Other | Common::Any => Some(value),
            Common::Ip => address(&value),
            Common::Number => match value {
                Held::Int(_) => Some(value),
                other => other.first_text()?.trim().parse().ok().map(Held::Int),
            },
        }
    }
}

fn address<'a>(value: &Held<'a>) -> Option<Held<'a>> {
    let text = value.first_text()?;
    let address: std::net::IpAddr = text.trim().trim_matches(['[', ']']).parse().ok()?;
    // There is one way to write an address of version 4.
    let as_it_stands = address.is_ipv4() && text.as_bytes().last().is_some_and(u8::is_ascii_digit);
    if as_it_stands && text.as_bytes()[0].is_ascii_digit() {
        return Some(Held::Text(text));
    }
    Some(Held::Text(Cow::Owned(address.to_canonical().to_string())))
}

/// A prefix that is stripped off names, with the dot behind it. `a.*` also strips the name below `a`.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub(super) struct Prefix {
    stem: Box<str>,
    wild: bool,
}

impl From<String> for Prefix {
    fn from(text: String) -> Prefix {
        let stem = text.strip_suffix(".*");
        Prefix { wild: stem.is_some(), stem: stem.unwrap_or(&text).into() }
    }
}

impl Prefix {
    /// What is left of a name; `None` if it has no such prefix.
    pub(super) fn strip<'n>(&self, name: &'n str) -> Option<&'n str> {
        let rest = name.strip_prefix(&*self.stem)?.strip_prefix('.')?;
        let rest = if self.wild { rest.split_once('.')?.1 } else { rest };
        (!rest.is_empty()).then_some(rest)
    }
}

/// Several fields, the first that fits.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldList(pub(super) Vec<Field>);

impl<'de> Deserialize<'de> for FieldList {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<FieldList, D::Error> {
        let Words(words) = Words::deserialize(d)?;
        Ok(FieldList(words.into_iter().map(|word| Field::from(word.0)).collect()))
    }
}

/// Something for each of several fields, by name.
#[derive(Clone, Debug)]
pub(super) struct ByField<T>(pub(super) Vec<(Field, T)>);

impl<T> Default for ByField<T> {
    fn default() -> ByField<T> {
        ByField(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByField<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ByField<T>, D::Error> {
        let written = BTreeMap::<String, T>::deserialize(d)?;
        Ok(ByField(written.into_iter().map(|(name, of)| (Field::from(name), of)).collect()))
    }
}

/// Something for each of several texts, compared without regard to case.
#[derive(Clone, Debug)]
pub(super) struct Folded<T>(Vec<(Box<str>, T)>);

impl<T> Folded<T> {
    /// Of texts that differ in case only, the first stands.
    pub(super) fn new(entries: impl IntoIterator<Item = (String, T)>) -> Folded<T> {
        let lower = |(text, of): (String, T)| (text.to_ascii_lowercase().into(), of);
        let mut entries: Vec<(Box<str>, T)> = entries.into_iter().map(lower).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|later, first| later.0 == first.0);
        Folded(entries)
    }

    /// What is for a text.
    pub(super) fn get(&self, text: &str) -> Option<&T> {
        let lower = || text.bytes().map(|b| b.to_ascii_lowercase());
        self.0.binary_search_by(|(own, _)| own.bytes().cmp(lower())).ok().map(|i| &self.0[i].1)
    }

    /// Everything in it.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, of)| of)
    }
}

/// A hash of a name, quick for short ones. Who chooses names can make them collide, which whoever uses it must bound.
pub(super) fn hash(name: &str) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = name.as_bytes();
    let mut state = (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut mix = |word: u64| state = (state.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    match (bytes.last_chunk::<8>(), bytes.last_chunk::<4>()) {
        (Some(last), _) => {
            bytes.as_chunks::<8>().0.iter().for_each(|eight| mix(u64::from_le_bytes(*eight)));
            mix(u64::from_le_bytes(*last));
        }
        (None, Some(last)) => {
            let first = bytes.first_chunk::<4>().unwrap_or(last);
            mix(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
        }
        (None, None) => bytes.iter().for_each(|byte| mix(u64::from(*byte))),
    }
    (state >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_asked_without_regard_to_case() {
        let table = Folded::new([("b".to_owned(), 1), ("A b".to_owned(), 2), ("B".to_owned(), 3)]);
        assert_eq!((table.get("B"), table.get("a B"), table.get("c"), table.get("")), (Some(&1), Some(&2), None, None));
        assert_eq!(table.values().count(), 2);
    }

    #[test]
    fn names_that_differ_hash_differently() {
        let names: Vec<String> = (0..2_000).map(|n| format!("{}{n}", "x".repeat(n % 20))).collect();
        let hashes: std::collections::BTreeSet<u32> = names.iter().map(|name| hash(name)).collect();
        assert!(hashes.len() > 1_995, "{}", hashes.len());
    }
}
