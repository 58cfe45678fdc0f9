//! Route keys: which hits must meet in one shard, and the name that they meet under.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vertice_model::limits::ROUTE_KEY_BYTES_MAX;
use vertice_model::{Entity, Event};
use vertice_sigma::RuleIndex;

use crate::detect::{Hit, Rules, Share, View};

/// Where what matches is judged: what of it follows from the rules alone.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The family of each correlation.
    families: BTreeMap<RuleIndex, Arc<Family>>,
}

/// Correlations of which one is over another, and so must be judged in one place.
#[derive(Debug)]
struct Family {
    /// The key of its first rule.
    name: String,
    meets: Meets,
}

/// What of a group decides where a family is judged.
#[derive(Debug, Eq, PartialEq)]
enum Meets {
    /// Whoever this field names.
    Entity(String),
    /// The values of these fields.
    Values(Vec<String>),
    /// Nothing: all of it is judged in one place.
    Everywhere,
}

/// The fields that name entities, in the order in which mappings prefer them.
const NAMING: [&str; 4] = ["source.ip", "destination.ip", "host.name", "user.name"];

/// The key of everything that is about an entity, such as `ip:203.0.113.9`.
#[must_use]
pub fn entity_key(entity: &Entity) -> String {
    bounded(format!("{}:{}", entity.kind(), entity.name()))
}

impl Routes {
    /// What follows from these rules.
    #[must_use]
    pub fn of(rules: &Rules) -> Routes {
        let mut families = BTreeMap::new();
        for members in families_of(rules) {
            let family = Arc::new(Family::of(rules, &members));
            families.extend(members.into_iter().map(|member| (member, Arc::clone(&family))));
        }
        Routes { families }
    }

    /// The keys of an event with hits, in order, and what is judged under each.
    ///
    /// Each part of each hit stands under exactly one of them: whoever judges all keys, each once, has judged what the
    /// whole engine judges. A hit that nothing comes of stands under none.
    #[must_use]
    pub fn routes(&self, rules: &Rules, event: &Event, hits: &[Hit]) -> Vec<(String, Vec<Share>)> {
        let mut routes: BTreeMap<String, Vec<Share>> = BTreeMap::new();
        for &hit in hits {
            if !rules.set().rule(hit).silent {
                share(&mut routes, entity_key(&rules.about(hit, event)), hit).own = true;
            }
            for &watcher in rules.set().watchers(hit) {
                if let Some(key) = self.counted_at(rules, watcher, hit, event) {
                    share(&mut routes, key, hit).over.push(watcher);
                }
            }
        }
        routes.into_iter().collect()
    }

    /// Where a correlation counts a hit; `None` if it does not, for the event lacks what it groups by.
    fn counted_at(&self, rules: &Rules, correlation: RuleIndex, hit: Hit, event: &Event) -> Option<String> {
        let family = self.families.get(&correlation)?;
        let group = rules.set().group(correlation, hit, &View(event))?;
        Some(family.key(&group))
    }
}

/// The share of a hit under a key.
fn share(routes: &mut BTreeMap<String, Vec<Share>>, key: String, hit: Hit) -> &mut Share {
    let shares = routes.entry(key).or_default();
    if shares.last().is_none_or(|last| last.hit != hit) {
        shares.push(Share { hit, own: false, over: Vec::new() });
    }
    shares.last_mut().expect("there is one now")
}

impl Family {
    fn of(rules: &Rules, members: &BTreeSet<RuleIndex>) -> Family {
        let set = rules.set();
        let name = members.first().map(|first| set.rule(*first).key().to_owned()).unwrap_or_default();
        let mut common: Vec<&String> = members.first().map(|m| set.grouped_by(*m).iter().collect()).unwrap_or_default();
        // A firing hands its group on by the names of its own fields: what one of them calls otherwise is not common.
        let hands_on = |member: RuleIndex, field: &str| {
            let inner = set.counted(member).iter().filter(|rule| members.contains(rule));
            set.grouped_by(member).iter().any(|f| f == field)
                && inner.into_iter().all(|rule| !set.renames(member, field, *rule))
        };
        common.retain(|field| members.iter().all(|member| hands_on(*member, field)));
        // What is furthest out tells of all of it, and comes last.
        let audible = members.iter().rev().filter(|member| !set.rule(**member).silent);
        let about = audible.filter_map(|member| rules.attributes(*member).entity.as_ref());
        let about = about.into_iter().find(|field| common.contains(field)).map(String::as_str);
        let naming = || NAMING.into_iter().find(|field| common.iter().any(|c| c == field));
        let meets = match (about.or_else(naming), common.as_slice()) {
            (Some(field), _) => Meets::Entity(field.to_owned()),
            (None, []) => Meets::Everywhere,
            (None, [only]) => Meets::Entity((*only).clone()),
            (None, fields) => Meets::Values(fields.iter().map(|field| (*field).clone()).collect()),
        };
        Family { name, meets }
    }

    /// The key of a group. A function of the values of the common fields alone, which every group that a match reaches
    /// in this family has from it.
    fn key(&self, group: &[(String, String)]) -> String {
        let value = |field: &String| group.iter().find(|(name, _)| name == field).map_or("", |(_, value)| value);
        let of_group = |values: &[&str]| {
            let lengths = values.iter().map(|value| format!(":{}:{value}", value.len())).collect::<String>();
            bounded(format!("group:{}{lengths}", self.name))
        };
        match &self.meets {
            Meets::Entity(field) => {
                let text = value(field);
                Entity::named_by(field, text).map_or_else(|| of_group(&[text]), |entity| entity_key(&entity))
            }
            Meets::Values(fields) => of_group(&fields.iter().map(value).collect::<Vec<_>>()),
            Meets::Everywhere => bounded(format!("rule:{}", self.name)),
        }
    }
}

/// The correlations, those that one is over together with it.
fn families_of(rules: &Rules) -> Vec<BTreeSet<RuleIndex>> {
    let set = rules.set();
    let mut families: Vec<BTreeSet<RuleIndex>> = Vec::new();
    for (index, _) in set.iter().filter(|(_, rule)| rule.is_correlation()) {
        let mut family = BTreeSet::from([index]);
        // A correlation comes after what it is over, so its family is complete but for what comes later.
        let (joined, others) =
            families.into_iter().partition(|f: &BTreeSet<_>| set.counted(index).iter().any(|rule| f.contains(rule)));
        let joined: Vec<BTreeSet<RuleIndex>> = joined;
        family.extend(joined.into_iter().flatten());
        families = others;
        families.push(family);
    }
    families
}

/// A key no longer than keys may be; of a longer one the start and a digest of the whole.
fn bounded(key: String) -> String {
    if key.len() <= ROUTE_KEY_BYTES_MAX {
        return key;
    }
    let digest = blake3::hash(key.as_bytes()).to_hex();
    let start = key.floor_char_boundary(ROUTE_KEY_BYTES_MAX - digest.len());
    format!("{}{digest}", &key[..start])
}
