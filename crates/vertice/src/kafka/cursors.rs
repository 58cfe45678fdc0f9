//! Where in Kafka the store stands: cursors that are kept in one transaction with what they count.

use vertice_model::EffectId;
use vertice_store::{Cursor, ReadError, Store};
use vertice_stream::kafka::{Begin, Partition};

/// The cursor of what was published.
const OUT: &str = "kafka:out";

fn name(partition: &Partition) -> String {
    format!("kafka:{}/{}", partition.topic, partition.number)
}

/// Of a partition whose records before this offset are in the log.
pub fn of(partition: &Partition, next: i64) -> Cursor {
    Cursor { source: name(partition), value: next.to_string().into_bytes() }
}

/// Where a partition goes on: where the store stands, which goes before what the group has committed, for that may be
/// behind; at the commit where the store does not know it.
pub fn begin(store: &Store, partition: &Partition) -> Result<Begin, ReadError> {
    let kept = store.cursor(&name(partition))?.and_then(|v| String::from_utf8(v).ok()?.parse().ok());
    Ok(kept.map_or(Begin::Committed, Begin::At))
}

/// Of what was published, up to this effect.
pub fn out(effect: EffectId) -> Cursor {
    Cursor { source: OUT.to_owned(), value: effect.to_string().into_bytes() }
}

/// After which effect publishing goes on; `None`: nothing was published yet.
pub fn published(store: &Store) -> Result<Option<EffectId>, ReadError> {
    Ok(store.cursor(OUT)?.and_then(|v| String::from_utf8(v).ok()?.parse().ok()))
}
