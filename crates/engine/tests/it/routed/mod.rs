//! An engine divided into shards detects what one engine does.

mod keys;
mod merge;
mod real;
mod rulesets;

use std::sync::Arc;

use vertice_engine::route::{Cursors, Mark, Merge};
use vertice_engine::{Content, Effect, EffectKind, Engine, Input, Record, Screener, Stamp};
use vertice_model::{Detection, DetectionId, EventId, Place, Position, RawEvent, Routed, Timestamp};
use vertice_testkit::Random;

/// A record of a source partition: its logical time and what it says.
type Source = Vec<(Timestamp, RawEvent)>;

/// What must be the same of a detection, as text.
fn told(id: DetectionId, d: &Detection) -> String {
    let (entity, techniques) = (&d.entity, &d.mitre_techniques);
    format!("{id} {} {} {entity} {:?} {:?} {techniques:?}", d.rule_id, entity.kind(), d.severity, d.class)
}

fn detections(effects: Vec<Effect>) -> impl Iterator<Item = Detection> {
    effects.into_iter().filter_map(|effect| match effect.kind {
        EffectKind::Publish(Record::Detection(detection)) => Some(detection),
        EffectKind::Publish(_)
        | EffectKind::Ask(_)
        | EffectKind::Act(_)
        | EffectKind::Consult(_)
        | EffectKind::Tell(_) => None,
    })
}

fn started(content: &Arc<Content>) -> Engine {
    let mut engine = Engine::default();
    engine.apply(Stamp { position: Position(1), now: Timestamp::default() }, &Input::Content(Arc::clone(content)));
    engine
}

/// What one engine detects that is given every event in the order of the merge, each at its logical time, in order of
/// the telling. It knows nothing of places, so ids that follow from positions are put right here.
fn whole(content: &Arc<Content>, sources: &[Source]) -> Vec<String> {
    let mut all: Vec<(Timestamp, usize, usize, &RawEvent)> = Vec::new();
    for (partition, source) in sources.iter().enumerate() {
        all.extend(source.iter().enumerate().map(|(offset, (at, raw))| (*at, partition, offset, raw)));
    }
    all.sort_by_key(|(at, partition, offset, _)| (*at, *partition, *offset));
    let (mut engine, mut screener) = (started(content), Screener::new(content));
    let mut found = Vec::new();
    for (at, partition, offset, raw) in all {
        let stamp = Stamp { position: engine.next(), now: at };
        let screened = screener.screen(stamp, std::slice::from_ref(raw));
        for detection in detections(engine.judge(stamp, screened)) {
            assert_eq!(detection.accepted_at, at);
            let id = if detection.event_id == EventId::at(stamp.position) {
                let event_id = EventId::of(&place(partition, offset));
                DetectionId::derive(&format!("{event_id}|{}", detection.rule_id))
            } else {
                detection.detection_id
            };
            found.push(told(id, &detection));
        }
    }
    found.sort();
    found
}

fn place(partition: usize, offset: usize) -> Place {
    Place { topic: "security.events".into(), partition: partition as i32, offset: offset as i64 }
}

/// What screening makes of each record of each source partition.
fn routes(content: &Arc<Content>, sources: &[Source]) -> Vec<Vec<Vec<Routed>>> {
    let mut screener = Screener::new(content);
    let mut of = |partition: usize, offset: usize, at: Timestamp, raw: &RawEvent| {
        screener.route(&place(partition, offset), at, raw).unwrap_or_default()
    };
    let of_source = |(partition, source): (usize, &Source)| {
        source.iter().enumerate().map(|(offset, (at, raw))| of(partition, offset, *at, raw)).collect()
    };
    sources.iter().enumerate().map(of_source).collect()
}

enum Carried {
    Routed(Routed),
    Mark(Mark),
}

/// What some instances write to the partitions of hits, in whatever order they come to run. Each screens the source
/// partitions that are its own; now and then one is taken for dead, and who takes over sends some of it again.
fn carried(
    random: &mut Random,
    sources: &[Source],
    routes: &[Vec<Vec<Routed>>],
    instances: usize,
    shards: usize,
) -> Vec<Vec<Carried>> {
    let mut hits: Vec<Vec<Carried>> = (0..shards).map(|_| Vec::new()).collect();
    let mut next = vec![0; sources.len()];
    let mut unfinished: Vec<usize> = (0..sources.len()).collect();
    while !unfinished.is_empty() {
        let instance = random.below(instances);
        let own: Vec<usize> = unfinished.iter().copied().filter(|p| p % instances == instance).collect();
        if own.is_empty() {
            continue;
        }
        let partition = own[random.below(own.len())];
        if random.below(50) == 0 {
            next[partition] -= random.below(20).min(next[partition]);
        }
        for _ in 0..1 + random.below(64) {
            let Some(records) = routes[partition].get(next[partition]) else { break };
            for routed in records {
                hits[shard_of(&routed.key, shards)].push(Carried::Routed(routed.clone()));
            }
            next[partition] += 1;
        }
        let ended = next[partition] == sources[partition].len();
        let last = next[partition].checked_sub(1).map(|last| sources[partition][last].0);
        if ended || random.below(3) == 0 {
            let at = if ended { Timestamp::from_micros(i64::MAX) } else { last.unwrap_or_default() };
            let mark = Mark { partition: partition as i32, offset: next[partition] as i64 - 1, at };
            hits.iter_mut().for_each(|shard| shard.push(Carried::Mark(mark)));
        }
        unfinished.retain(|p| *p != partition || !ended);
    }
    hits
}

fn shard_of(key: &str, shards: usize) -> usize {
    key.bytes().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte))) % shards
}

/// What the shards detect, in order of the telling. Each judges when it comes to it: its clock is its own.
fn divided(random: &mut Random, content: &Arc<Content>, partitions: usize, hits: Vec<Vec<Carried>>) -> Vec<String> {
    let mut found = Vec::new();
    for shard in hits {
        let (mut engine, mut screener) = (started(content), Screener::new(content));
        let mut merge = Merge::restore(partitions as i32, &Cursors::default());
        let mut now = Timestamp::from_seconds(random.below(4_000_000_000) as i64);
        for (offset, carried) in (0..).zip(shard) {
            match carried {
                Carried::Routed(routed) => merge.push(offset, routed),
                Carried::Mark(mark) => merge.mark(offset, mark),
            }
            let records = merge.let_out(1 + random.below(100), usize::MAX);
            if !records.is_empty() {
                found.extend(judged(random, &mut engine, &mut screener, &mut now, records));
            }
        }
        loop {
            let records = merge.let_out(1_000, usize::MAX);
            if records.is_empty() {
                break;
            }
            found.extend(judged(random, &mut engine, &mut screener, &mut now, records));
        }
        assert_eq!((merge.held(), merge.counts().late), (0, 0));
    }
    found.sort();
    found
}

/// Some are screened by themselves and then judged, as the pipeline does, and some are applied as a replay does.
fn judged(
    random: &mut Random,
    engine: &mut Engine,
    screener: &mut Screener,
    now: &mut Timestamp,
    records: Vec<Routed>,
) -> Vec<String> {
    *now = now.plus_seconds(random.below(100) as u64);
    let stamp = Stamp { position: engine.next(), now: *now };
    let effects = if random.below(4) > 0 {
        let screened = screener.screen_routed(stamp, &records);
        engine.judge(stamp, screened)
    } else {
        engine.apply(stamp, &Input::Routed(records))
    };
    detections(effects).map(|d| told(d.detection_id, &d)).collect()
}
