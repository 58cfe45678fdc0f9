//! Stories of many shards: what a person decides in one of them holds in all.

use std::collections::BTreeMap;
use std::sync::Arc;

use vertice_engine::{Content, ContentFile, EffectKind, Engine, Input, Record, Role, Stamp, Told};
use vertice_model::{
    Detection, Entity, Principal, RawEvent, Scope, Suppression, SuppressionId, SuppressionState, SuppressionWish,
    ThreatId, Timestamp, VerdictKind,
};

const MAPPING: &str = include_str!("../../../../content/mappings/vertice.yml");
const RULE: &str = "title: Low\nid: rule-low\nstatus: experimental\nlogsource: {product: vertice}\nlevel: low\n\
    detection: {s: {event.action: low}, condition: s}\nvertice: {confidence: 90}\n";

/// The shard that decides about suppressions, and two others.
struct Shards {
    engines: [Engine; 3],
    now: Timestamp,
    /// What was told, and by whom, and how much of it each has heard.
    told: Vec<(usize, Told)>,
    heard: [usize; 3],
    events: u32,
    threats: BTreeMap<String, ThreatId>,
    /// The suppressions as each shard published them.
    suppressions: [BTreeMap<SuppressionId, Suppression>; 3],
    /// The latest detection of each shard.
    latest: [Option<Detection>; 3],
}

impl Shards {
    fn new() -> Shards {
        let files = vec![
            ContentFile { path: "mappings/vertice.yml".into(), text: MAPPING.into() },
            ContentFile { path: "rules/low.yml".into(), text: RULE.into() },
            ContentFile { path: "rules/high.yml".into(), text: RULE.replace("low", "high").replace("Low", "High") },
        ];
        let content = Arc::new(Content::compile(files));
        assert!(content.refused.is_empty(), "{:?}", content.refused);
        let mut shards = Shards {
            engines: [Role::Home, Role::Away, Role::Away].map(Engine::of),
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            told: Vec::new(),
            heard: [0; 3],
            events: 0,
            threats: BTreeMap::new(),
            suppressions: Default::default(),
            latest: Default::default(),
        };
        (0..3).for_each(|shard| shards.apply(shard, &Input::Content(Arc::clone(&content))));
        shards
    }

    fn apply(&mut self, shard: usize, input: &Input) {
        // Whenever it is judged, it is later than what was judged before, in whichever shard.
        self.now = self.now.plus_seconds(1);
        let stamp = Stamp { position: self.engines[shard].next(), now: self.now };
        for effect in self.engines[shard].apply(stamp, input) {
            match effect.kind {
                EffectKind::Tell(told) => self.told.push((shard, told)),
                EffectKind::Publish(Record::Detection(d)) => self.latest[shard] = Some(d),
                EffectKind::Publish(Record::Threat(t)) => {
                    self.threats.insert(t.entities[0].name().to_owned(), t.threat_id);
                }
                EffectKind::Publish(Record::Suppression(s)) => {
                    self.suppressions[shard].insert(s.suppression_id, s);
                }
                EffectKind::Publish(_) | EffectKind::Ask(_) | EffectKind::Act(_) | EffectKind::Consult(_) => {}
            }
        }
        let content = Arc::clone(self.engines[shard].content());
        let bytes = self.engines[shard].snapshot();
        let restored = Engine::restore(&bytes, |_| Ok::<_, ()>(content)).unwrap().unwrap();
        assert_eq!(
            (restored.snapshot(), restored.role()),
            (bytes, self.engines[shard].role()),
            "it is in the snapshot"
        );
        self.engines[shard] = restored;
    }

    /// Has a shard hear all that it has not heard, its own excepted.
    fn hear(&mut self, shard: usize) {
        while let Some((from, told)) = self.told.get(self.heard[shard]).cloned() {
            self.heard[shard] += 1;
            if from != shard {
                self.apply(shard, &Input::Told(told));
            }
        }
    }

    fn hear_all(&mut self) {
        // What is heard may be told of, once.
        (0..2).for_each(|_| (0..3).for_each(|shard| self.hear(shard)));
    }

    fn attack(&mut self, shard: usize, address: &str) -> Detection {
        self.event(shard, address, "low")
    }

    fn event(&mut self, shard: usize, address: &str, level: &str) -> Detection {
        self.events += 1;
        let line = format!(
            r#"{{"event_id":"e{}","timestamp":"{}","source":"ids","event_type":"{level}","source_ip":"{address}"}}"#,
            self.events, self.now
        );
        self.apply(shard, &Input::Events(vec![RawEvent { origin: "t".into(), line }]));
        self.latest[shard].clone().unwrap()
    }

    fn judge(&mut self, shard: usize, address: &str, verdict: VerdictKind) {
        let (threat, by) = (self.threats[address], Principal("ana".into()));
        self.apply(shard, &Input::Verdict { threat, verdict, note: String::new(), by });
    }

    /// What a person wants of a suppression reaches the shard that decides; how it stands there then.
    fn wish(&mut self, on: Option<&str>, wish: SuppressionWish) -> SuppressionState {
        let (scope, by) = (scope(on), Principal("ana".into()));
        self.apply(0, &Input::Suppress { scope, wish, by });
        self.stands(0, on).expect("there is one").state
    }

    /// The latest suppression of a scope, as a shard published it.
    fn stands(&self, shard: usize, on: Option<&str>) -> Option<Suppression> {
        let of = self.suppressions[shard].values().filter(|s| s.scope == scope(on));
        of.max_by_key(|s| s.updated_at).cloned()
    }

    /// The counts of verdicts that a detection is shown with.
    fn counted(&mut self, shard: usize, address: &str) -> (u64, u64) {
        let said = self.attack(shard, address).triage.unwrap().false_positive;
        (said.false_positives, said.confirmed)
    }
}

fn scope(on: Option<&str>) -> Scope {
    Scope { rule_id: "rule-low".into(), on: on.map(|address| Entity::ip(address).unwrap()) }
}

fn propose() -> SuppressionWish {
    SuppressionWish::Propose { reason: "our scanner".into() }
}

const APPLY: SuppressionWish = SuppressionWish::Apply { for_s: 86_400 };

fn lift() -> SuppressionWish {
    SuppressionWish::Remove { reason: "moved".into() }
}

#[test]
fn a_suppression_holds_in_every_shard_until_it_is_lifted() {
    let mut shards = Shards::new();
    // The rule matched elsewhere only.
    shards.attack(1, "192.0.2.1");
    assert_eq!(shards.wish(None, propose()), SuppressionState::Proposed);
    shards.hear_all();
    assert!(shards.attack(2, "192.0.2.2").suppressed_by.is_none(), "it is only proposed");
    assert!(matches!(shards.wish(None, APPLY), SuppressionState::Applied { .. }));
    assert!(shards.attack(2, "192.0.2.3").suppressed_by.is_none(), "it has not heard of it");
    shards.hear_all();
    let id = shards.stands(0, None).unwrap().suppression_id;
    for (shard, address) in [(0, "192.0.2.10"), (1, "192.0.2.11"), (2, "192.0.2.12"), (2, "192.0.2.13")] {
        let detection = shards.attack(shard, address);
        assert_eq!((detection.suppressed_by, detection.threat_id), (Some(id), None), "in shard {shard}");
    }
    let counted = [0, 1, 2].map(|shard| shards.stands(shard, None).unwrap().suppressed);
    assert_eq!(counted, [1, 1, 2], "each counts what it kept back");
    let whole = |s: Suppression| (s.suppression_id, s.reason, s.proposed_by, s.proposed_at, s.state);
    let home = whole(shards.stands(0, None).unwrap());
    assert!((1..3).all(|shard| whole(shards.stands(shard, None).unwrap()) == home));

    assert!(matches!(shards.wish(None, lift()), SuppressionState::Removed { .. }));
    shards.hear_all();
    for (shard, address) in [(0, "192.0.2.20"), (1, "192.0.2.21"), (2, "192.0.2.22")] {
        assert!(shards.attack(shard, address).threat_id.is_some(), "in shard {shard}");
    }
    // One that is over is over everywhere, whenever a shard hears of its end.
    shards.wish(Some("192.0.2.30"), propose());
    shards.wish(Some("192.0.2.30"), APPLY);
    shards.hear(1);
    assert!(shards.attack(1, "192.0.2.30").suppressed_by.is_some());
    shards.now = shards.now.plus_seconds(86_400);
    (0..3).for_each(|shard| shards.apply(shard, &Input::Tick));
    shards.hear_all();
    assert!((1..3).all(|shard| shards.attack(shard, "192.0.2.30").suppressed_by.is_none()), "shard 2 heard too late");
}

#[test]
fn a_verdict_counts_in_every_shard_and_the_last_one_of_a_threat_stands() {
    let mut shards = Shards::new();
    for (shard, address) in [(1, "192.0.2.1"), (2, "192.0.2.2")] {
        shards.attack(shard, address);
        shards.judge(shard, address, VerdictKind::Confirmed);
    }
    assert_eq!((shards.counted(1, "192.0.2.8"), shards.counted(0, "192.0.2.9")), ((0, 1), (0, 0)));
    shards.hear_all();
    assert_eq!([0, 1, 2].map(|shard| shards.counted(shard, "192.0.2.9")), [(0, 2); 3]);
    // It was wrong after all.
    shards.judge(1, "192.0.2.1", VerdictKind::FalsePositive);
    shards.hear_all();
    assert_eq!([0, 1, 2].map(|shard| shards.counted(shard, "192.0.2.9")), [(1, 1); 3]);
    // Of one entity, where there are enough of them, wherever it is seen.
    for _ in 0..3 {
        shards.attack(1, "192.0.2.1");
        shards.judge(1, "192.0.2.1", VerdictKind::Benign);
    }
    shards.hear_all();
    assert_eq!((shards.counted(2, "192.0.2.1"), shards.counted(2, "192.0.2.9")), ((4, 0), (4, 1)));
}

#[test]
fn a_verdict_that_is_given_again_counts_for_what_the_threat_has_since() {
    let mut shards = Shards::new();
    // Another threat of the other rule, confirmed in another shard.
    shards.event(2, "192.0.2.2", "high");
    shards.judge(2, "192.0.2.2", VerdictKind::Confirmed);
    shards.attack(1, "192.0.2.1");
    shards.judge(1, "192.0.2.1", VerdictKind::Confirmed);
    shards.event(1, "192.0.2.1", "high");
    shards.hear_all();
    let of_high = |shards: &mut Shards, shard: usize| {
        let said = shards.event(shard, "192.0.2.9", "high").triage.unwrap().false_positive;
        (said.false_positives, said.confirmed)
    };
    assert_eq!([0, 1, 2].map(|shard| of_high(&mut shards, shard)), [(0, 1); 3]);
    shards.judge(1, "192.0.2.1", VerdictKind::Confirmed);
    shards.hear_all();
    assert_eq!([0, 1, 2].map(|shard| of_high(&mut shards, shard)), [(0, 2); 3], "the rule that joined counts now");
    assert_eq!([0, 1, 2].map(|shard| shards.counted(shard, "192.0.2.9")), [(0, 1); 3], "the other not again");
    shards.judge(1, "192.0.2.1", VerdictKind::Benign);
    shards.hear_all();
    assert_eq!([0, 1, 2].map(|shard| of_high(&mut shards, shard)), [(1, 1); 3], "what was counted is taken back");
    assert_eq!([0, 1, 2].map(|shard| shards.counted(shard, "192.0.2.9")), [(1, 0); 3]);
}

#[test]
fn what_was_confirmed_in_any_shard_is_suppressed_in_none() {
    let mut shards = Shards::new();
    shards.attack(2, "192.0.2.2");
    shards.wish(Some("192.0.2.2"), propose());
    shards.wish(Some("192.0.2.2"), APPLY);
    // Confirmed there before it is heard of: it is never in force there, and ends elsewhere once that is heard.
    shards.judge(2, "192.0.2.2", VerdictKind::Confirmed);
    shards.hear(2);
    assert_eq!(shards.stands(2, Some("192.0.2.2")), None);
    shards.hear(1);
    assert!(matches!(shards.stands(1, Some("192.0.2.2")).unwrap().state, SuppressionState::Removed { .. }));
    shards.hear_all();
    let ended = shards.stands(0, Some("192.0.2.2")).unwrap().state;
    assert!(matches!(&ended, SuppressionState::Removed { by, .. } if by.0 == "engine"), "{ended:?}");
    for on in [None, Some("192.0.2.2")] {
        let refused = shards.wish(on, propose());
        assert!(matches!(&refused, SuppressionState::Refused { why } if why.contains("a person confirmed")));
    }
    // One that was put up before is refused when it is to be applied.
    shards.wish(Some("192.0.2.3"), propose());
    shards.attack(1, "192.0.2.3");
    shards.judge(1, "192.0.2.3", VerdictKind::Confirmed);
    shards.hear_all();
    assert!(matches!(shards.stands(0, Some("192.0.2.3")).unwrap().state, SuppressionState::Removed { .. }));
}

#[test]
fn verdicts_of_all_shards_propose_one_suppression_once() {
    let mut shards = Shards::new();
    let mut needed = 0;
    while shards.stands(0, Some("192.0.2.1")).is_none() {
        needed += 1;
        let shard = 1 + needed % 2;
        shards.attack(shard, "192.0.2.1");
        shards.judge(shard, "192.0.2.1", VerdictKind::FalsePositive);
        shards.hear_all();
        assert!(needed <= 28);
    }
    assert_eq!(needed, 28, "as many as of one shard");
    assert!(shards.suppressions[1..].iter().all(BTreeMap::is_empty), "nobody else proposes it");
    assert!(!shards.told.iter().any(|(_, told)| matches!(told, Told::Suppression(_))), "nothing is in force");
}

#[test]
fn an_engine_that_is_alone_tells_nothing() {
    let mut shards = Shards::new();
    shards.engines[0] = Engine::of(Role::Alone);
    let content = Arc::clone(shards.engines[1].content());
    shards.apply(0, &Input::Content(content));
    shards.attack(0, "192.0.2.1");
    shards.wish(None, propose());
    shards.wish(None, APPLY);
    shards.judge(0, "192.0.2.1", VerdictKind::Benign);
    assert!(shards.told.is_empty());
}
