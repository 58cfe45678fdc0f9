//! Route: which shard judges what, and in which order.
//!
//! Past one machine events are screened wherever they are read, for that needs no memory, and what matches is judged
//! in *shards*: engines of their own, each for some route keys. One engine and many then make the same detections:
//!
//! - **Together.** All that one state of the engine depends on has one key ([`Routes`]). An event whose hits have
//!   several keys is several [`Routed`](vertice_model::Routed) records; under each the shard judges what has that key,
//!   and nothing else, so nothing is counted twice however many of them one shard gets.
//! - **In order.** Every shard takes what it is given in one order ([`Merge`]), which follows from what the source
//!   partitions hold and not from who read them when.
//! - **At one time.** What depends on when an event was accepted is asked of its logical time, which follows from its
//!   partition too, and never of the clock of who judges it.
//!
//! # Keys
//!
//! | of what | the key |
//! |---|---|
//! | a rule's own detection | the entity it is about: `ip:203.0.113.9` |
//! | what a correlation counts, grouped by the field that names its entity, and maybe others | that entity, as the group's value names it |
//! | grouped by other fields, one of which mappings name entities by (`source.ip`, `destination.ip`, `host.name`, `user.name`) or which is the only one | the entity of that value |
//! | grouped by several others | the values: `group:RULE:3:abc:1:x` |
//! | not grouped | one for all of it: `rule:RULE` |
//!
//! A key may be coarser than the group, never finer: what is of one group has one key. Correlations over correlations are
//! one family, for a firing is counted where it happens. A family's key is made of those fields that all of its members
//! group by, without renaming them between each other: every group that a match reaches, directly or through a
//! firing, has the match's values of these. If there is no such field, the whole family has one key.
//!
//! Under a key a hit feeds just those correlations that its key was made for, and through them those over them. It makes
//! its own detection under the key of that detection's entity. A rule may do both, and under different keys.
//!
//! # What is not the same
//!
//! - Bounds hold for each shard, so many shards remember more groups and threats than one engine, and forget later.
//! - A repetition (one sender's id twice) is dropped under each key. Two *different* events with one id are told apart
//!   where their keys differ, while one engine drops the second.
//! - While new rules come into force, records that were routed by others are judged only for those hits that both find.
//! - Logical time is that of the partitioned log. Where producers set it (Kafka's `CreateTime`) a dishonest one can move it
//!   ahead; `LogAppendTime` leaves that to the broker.
//!
//! # Threats across shards
//!
//! The detections of one entity meet in one shard and become one threat there, unless a correlation is grouped by
//! nothing that names its entity: such a detection stays where its group is. What a threat spreads to (`spreads_to`) and
//! what is related is *not* joined across shards: the address that guessed a password and the host that it then held
//! may be two threats, on the two shards that own them, each of which names the other entity. To join them, what is
//! known of an entity would have to move between shards in an order that all of them agree upon, which costs every
//! detection another way through the merge, or else who joins what would depend on who is faster. A detection names its
//! related entities, so whoever reads threats of all shards can lay them side by side. Threats are named after their
//! place in their shard's log; detections are not.

mod key;
mod merge;
mod message;

pub use key::{Routes, entity_key};
pub use merge::{Cursors, HeldBounds, Mark, Merge, MergeCounts};
pub use message::Message;
