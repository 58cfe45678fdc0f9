//! Which rules an event's log sources concern.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::event::Source;
use crate::rule::{LogSource, RuleIndex};

/// Rules by the log source that they name.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    categories: Names,
    products: Names,
    services: Names,
    rules: BTreeMap<Key, Vec<RuleIndex>>,
}

/// Numbers of the three parts; zero is a part that is not named.
pub(crate) type Key = [u32; 3];

#[derive(Debug, Default)]
struct Names(HashMap<String, u32, FixedState>);

impl Names {
    fn add(&mut self, name: Option<&str>) -> u32 {
        let Some(name) = name else { return 0 };
        let next = self.0.len() as u32 + 1;
        *self.0.entry(name.to_owned()).or_insert(next)
    }

    /// The number of a name that some rule names, else zero: no rule can tell it from one that is not named.
    fn get(&self, name: Option<&str>) -> u32 {
        name.and_then(|name| self.0.get(name)).copied().unwrap_or(0)
    }
}

impl Routes {
    pub(crate) fn add(&mut self, rule: RuleIndex, source: &LogSource) {
        let key = [
            self.categories.add(source.category.as_deref()),
            self.products.add(source.product.as_deref()),
            self.services.add(source.service.as_deref()),
        ];
        self.rules.entry(key).or_default().push(rule);
    }

    /// The numbers of a log source's parts. Those with the same numbers concern the same rules.
    pub(crate) fn key(&self, source: Source<'_>) -> Key {
        [self.categories.get(source.category), self.products.get(source.product), self.services.get(source.service)]
    }

    /// The rules that any of these sources concerns, each once: those of which it has every part that they name.
    pub(crate) fn rules(&self, sources: &[Key]) -> impl Iterator<Item = RuleIndex> {
        let mut keys = BTreeSet::from([[0, 0, 0]]);
        for full in sources {
            keys.extend(
                (0..8).map(|mask| std::array::from_fn(|part| if mask >> part & 1 == 1 { full[part] } else { 0 })),
            );
        }
        keys.into_iter().filter_map(|key: Key| self.rules.get(&key)).flatten().copied()
    }
}
