//! What is counted, and how Prometheus reads it. Labels come from closed sets, never from an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use vertice_engine::Forgotten;
use vertice_engine::decide::verb::Verb;
use vertice_model::{Consultation, ConsultationState, Severity, Stage};
use vertice_store::Store;

use crate::limits;

type Label = [(&'static str, String); 1];
type Labels = [(&'static str, String); 2];

/// Counters under one label.
#[derive(Clone, Debug, Default)]
struct Counters {
    family: Family<Label, Counter>,
    values: Arc<AtomicUsize>,
}

impl Counters {
    /// Counts under a value of the label. Some values come from content, so there is a limit to their
    /// number; those beyond it are `other`.
    fn add(&self, name: &'static str, value: &str, count: u64) {
        let label = [(name, value.to_owned())];
        if let Some(counter) = self.family.get(&label) {
            counter.inc_by(count);
            return;
        }
        let room = self.values.fetch_add(1, Relaxed) < limits::LABEL_VALUES_MAX;
        let label = if room { label } else { [(name, "other".to_owned())] };
        self.family.get_or_create(&label).inc_by(count);
    }
}

/// Counters and histograms of the whole process. The pipeline tells, Prometheus asks.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    detections: Counters,
    detection_latency: Histogram,
    executed: Counters,
    simulated: Counters,
    failed: Counters,
    execution: Family<Label, Histogram, fn() -> Histogram>,
    containments: Family<Labels, Gauge>,
    questions: Family<Label, Gauge>,
    approvals: Counters,
    events: Counters,
    refused: Counters,
    dropped: Counters,
    unreadable: Counter,
    forgotten: Family<Label, Counter>,
    consultations: Counters,
    sentences_left_out: Counter,
    hijacks: Counter,
    step_duration: Histogram,
    requests: Counters,
    auth_failures: Counters,
    kafka_lag: Family<Labels, Gauge>,
    /// How many partitions it shows.
    kafka_partitions: AtomicUsize,
    kafka_deadletter: Counters,
    shards: Gauge,
    hits_held: Gauge,
    hits_late: Counter,
    pub(crate) streams: Gauge,
}

impl Metrics {
    /// Metrics of a process with this store, which is asked for its own when they are read.
    #[must_use]
    pub fn new(store: &Store) -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::default(),
            detections: Counters::default(),
            detection_latency: Histogram::new(limits::LATENCY_BUCKETS_S),
            executed: Counters::default(),
            simulated: Counters::default(),
            failed: Counters::default(),
            execution: Family::new_with_constructor(|| Histogram::new(limits::EXECUTION_BUCKETS_S)),
            containments: Family::default(),
            questions: Family::default(),
            approvals: Counters::default(),
            events: Counters::default(),
            refused: Counters::default(),
            dropped: Counters::default(),
            unreadable: Counter::default(),
            forgotten: Family::default(),
            consultations: Counters::default(),
            sentences_left_out: Counter::default(),
            hijacks: Counter::default(),
            step_duration: Histogram::new(limits::LATENCY_BUCKETS_S),
            requests: Counters::default(),
            auth_failures: Counters::default(),
            kafka_lag: Family::default(),
            kafka_partitions: AtomicUsize::new(0),
            kafka_deadletter: Counters::default(),
            shards: Gauge::default(),
            hits_held: Gauge::default(),
            hits_late: Counter::default(),
            streams: Gauge::default(),
        };
        metrics.name_contract();
        metrics.name_responses();
        metrics.name_own();
        metrics.name_kafka();
        metrics.registry.register_collector(Box::new(StoreMetrics { store: store.clone() }));
        metrics.begin_at_zero();
        metrics
    }

    /// The names that dashboards already use.
    fn name_contract(&mut self) {
        let r = &mut self.registry;
        r.register("defense_detections", "Detections, by severity", self.detections.family.clone());
        r.register(
            "defense_detection_latency_seconds",
            "From an event's acceptance to the publication of its detection",
            self.detection_latency.clone(),
        );
        r.register(
            "defense_response_actions",
            "Actions that were really carried out, by type; simulated ones are not among them",
            self.executed.family.clone(),
        );
        r.register("defense_hotl_approvals", "Answers of people to questions", self.approvals.family.clone());
        // Empty: there is no decoy of our own yet, and dashboards know the series.
        let engagement = Histogram::new(limits::ENGAGEMENT_BUCKETS_S);
        r.register("honeypot_engagement_duration_seconds", "How long visitors stayed in a decoy", engagement);
    }

    fn name_responses(&mut self) {
        let r = &mut self.registry;
        r.register(
            "vertice_response_simulated_actions",
            "Actions that were checked and recorded, and not carried out, by type",
            self.simulated.family.clone(),
        );
        r.register(
            "vertice_response_failed_actions",
            "Attempts at an action that came to nothing, by type",
            self.failed.family.clone(),
        );
        r.register(
            "vertice_response_execution_duration_seconds",
            "How long attempts at an action took, by type: doing it and observing that it is so",
            self.execution.clone(),
        );
        r.register(
            "vertice_response_containments",
            "Containments that hold, heal or are being taken out, by stage, and whether they are only recorded",
            self.containments.clone(),
        );
        r.register(
            "vertice_response_questions_waiting",
            "Questions that wait for an answer, by whether the action would only be recorded",
            self.questions.clone(),
        );
    }

    /// Empty, and so not shown, in a process without Kafka.
    fn name_kafka(&mut self) {
        let r = &mut self.registry;
        r.register(
            "vertice_kafka_lag_records",
            "Records of a partition that this process has yet to take, by topic and partition",
            self.kafka_lag.clone(),
        );
        r.register(
            "vertice_kafka_deadletter",
            "Records that were sent to the dead-letter topic, by the topic they came from",
            self.kafka_deadletter.family.clone(),
        );
        r.register("vertice_kafka_shards_owned", "Shards that this process judges", self.shards.clone());
        r.register(
            "vertice_kafka_hits_held",
            "Records of hits that this process holds back until all partitions have passed them",
            self.hits_held.clone(),
        );
        r.register(
            "vertice_kafka_hits_late",
            "Records of hits that were judged after some that should have come after them",
            self.hits_late.clone(),
        );
    }

    fn name_own(&mut self) {
        let r = &mut self.registry;
        r.register("vertice_events_accepted", "Events that were accepted, by source", self.events.family.clone());
        r.register(
            "vertice_events_refused",
            "Events that were refused on arrival, by source",
            self.refused.family.clone(),
        );
        r.register(
            "vertice_events_dropped",
            "Events that were lost on arrival, by source",
            self.dropped.family.clone(),
        );
        r.register(
            "vertice_events_unreadable",
            "Accepted events that no mapping could read: the dead letters",
            self.unreadable.clone(),
        );
        r.register(
            "vertice_engine_forgotten",
            "What the engine gave up because there was too much of it, since the log began",
            self.forgotten.clone(),
        );
        r.register(
            "vertice_engine_step_duration_seconds",
            "How long the engine took for one stretch of the log",
            self.step_duration.clone(),
        );
        r.register(
            "vertice_sentinel_consultations",
            "Questions to language models, and what became of them, by state",
            self.consultations.family.clone(),
        );
        r.register(
            "vertice_sentinel_sentences_refused",
            "Sentences of language models that are not shown, for they say what is not in the evidence they cite",
            self.sentences_left_out.clone(),
        );
        r.register(
            "vertice_sentinel_hijacks",
            "Answers of language models that followed what attackers wrote (ATLAS AML.T0051); nothing of them is taken",
            self.hijacks.clone(),
        );
        r.register("vertice_api_requests", "Answered requests, by class of status", self.requests.family.clone());
        r.register(
            "vertice_api_auth_failures",
            "Requests without the key they need",
            self.auth_failures.family.clone(),
        );
        r.register("vertice_api_streams", "Open live streams", self.streams.clone());
    }

    /// Gives every series of a closed set its zero, so that a rate can be taken from the first increase.
    fn begin_at_zero(&self) {
        for severity in Severity::ALL {
            self.detections.add("severity", severity.as_str(), 0);
        }
        for approved in ["true", "false"] {
            self.approvals.add("approved", approved, 0);
        }
        for verb in Verb::ALL {
            self.executed.add("action_type", verb.as_str(), 0);
            self.simulated.add("action_type", verb.as_str(), 0);
            self.failed.add("action_type", verb.as_str(), 0);
            drop(self.execution.get_or_create(&[("action_type", verb.as_str().to_owned())]));
        }
        for source in limits::SOURCES {
            self.events.add("source", source, 0);
            self.refused.add("source", source, 0);
            self.dropped.add("source", source, 0);
        }
        for class in ["2xx", "3xx", "4xx", "5xx"] {
            self.requests.add("status", class, 0);
        }
        for simulated in [false, true] {
            self.asked(simulated, 0);
            STAGES.into_iter().for_each(|stage| self.held(stage, simulated, 0));
        }
        self.forgotten(Forgotten::default());
        for state in ["asked", "answered", "refused", "hijacked", "skipped", "expired"] {
            self.consultations.add("state", state, 0);
        }
        for reason in ["missing", "wrong"] {
            self.auth_failures.add("reason", reason, 0);
        }
    }

    /// A detection was published, this long after its event was accepted.
    pub fn detection(&self, severity: Severity, latency: Duration) {
        self.detections.add("severity", severity.as_str(), 1);
        self.detection_latency.observe(latency.as_secs_f64());
    }

    /// A language model is asked, or was, and this became of it.
    pub fn consultation(&self, consultation: &Consultation) {
        self.consultations.add("state", consultation.state.as_str(), 1);
        self.sentences_left_out.inc_by(consultation.left_out.len() as u64);
        if matches!(consultation.state, ConsultationState::Hijacked { .. }) {
            self.hijacks.inc();
        }
    }

    /// An action was really carried out.
    pub fn action_executed(&self, action_type: &str) {
        self.executed.add("action_type", action_type, 1);
    }

    /// An action was checked and recorded, and not carried out.
    pub fn action_simulated(&self, action_type: &str) {
        self.simulated.add("action_type", action_type, 1);
    }

    /// An attempt at an action ended, well or not, after this long.
    pub fn action_ended(&self, action_type: &'static str, took: Duration, failed: bool) {
        self.execution.get_or_create(&[("action_type", action_type.to_owned())]).observe(took.as_secs_f64());
        self.failed.add("action_type", action_type, u64::from(failed));
    }

    /// So many containments more hold in this stage, or fewer.
    pub(crate) fn held(&self, stage: Stage, simulated: bool, more: i64) {
        let labels = [("stage", stage_word(stage).to_owned()), ("simulated", simulated.to_string())];
        self.containments.get_or_create(&labels).inc_by(more);
    }

    /// So many questions more wait, or fewer.
    pub(crate) fn asked(&self, simulated: bool, more: i64) {
        self.questions.get_or_create(&[("simulated", simulated.to_string())]).inc_by(more);
    }

    /// So many records of a partition has this process yet to take. `topic` is one of the configured ones. Beyond
    /// [`limits::KAFKA_PARTITIONS_MAX`] partitions further ones are not shown.
    pub fn kafka_lag(&self, topic: &str, partition: i32, records: u64) {
        let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
        let lag = i64::try_from(records).unwrap_or(i64::MAX);
        if let Some(gauge) = self.kafka_lag.get(&labels) {
            gauge.set(lag);
        } else if self.kafka_partitions.load(Relaxed) < limits::KAFKA_PARTITIONS_MAX {
            self.kafka_partitions.fetch_add(1, Relaxed);
            self.kafka_lag.get_or_create(&labels).set(lag);
        }
    }

    /// The partition is another process's now, which shows its lag from here on.
    pub fn kafka_revoked(&self, topic: &str, partition: i32) {
        if self.kafka_lag.remove(&[("topic", topic.to_owned()), ("partition", partition.to_string())]) {
            self.kafka_partitions.fetch_sub(1, Relaxed);
        }
    }

    /// Records of a topic were sent to the dead-letter topic; 0 begins the series. `topic` is one of the configured ones.
    pub fn kafka_deadletter(&self, topic: &str, count: u64) {
        self.kafka_deadletter.add("topic", topic, count);
    }

    /// So many shards does this process judge now, and so many records of hits does it hold back.
    pub fn shards(&self, owned: usize, held: usize) {
        self.shards.set(i64::try_from(owned).unwrap_or(i64::MAX));
        self.hits_held.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// Records of hits came late.
    pub fn hits_late(&self, count: u64) {
        self.hits_late.inc_by(count);
    }

    /// A person answered a question.
    pub(crate) fn approval(&self, approved: bool) {
        self.approvals.add("approved", if approved { "true" } else { "false" }, 1);
    }

    /// Events of a source were accepted. Sources are named by kind (`http`, `file`, `syslog_udp`, …).
    pub fn events_accepted(&self, source: &str, count: u64) {
        self.events.add("source", source, count);
    }

    /// Events of a source were refused on arrival.
    pub fn events_refused(&self, source: &str, count: u64) {
        self.refused.add("source", source, count);
    }

    /// Events of a source were lost on arrival: a full queue, a datagram that was cut.
    pub fn events_dropped(&self, source: &str, count: u64) {
        self.dropped.add("source", source, count);
    }

    /// An accepted event turned out to be unreadable.
    pub fn event_unreadable(&self) {
        self.unreadable.inc();
    }

    /// So much has the engine given up since the log began.
    pub fn forgotten(&self, forgotten: Forgotten) {
        let Forgotten { groups, matches, threats } = forgotten;
        for (what, count) in [("groups", groups), ("matches", matches), ("threats", threats)] {
            self.forgotten.get_or_create(&[("what", what.to_owned())]).inner().store(count, Relaxed);
        }
    }

    /// The engine judged a stretch of the log.
    pub fn step(&self, duration: Duration) {
        self.step_duration.observe(duration.as_secs_f64());
    }

    pub(crate) fn request(&self, status: u16) {
        let class = match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.add("status", class, 1);
    }

    pub(crate) fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.add("reason", reason, 1);
    }

    /// Everything, in the OpenMetrics text form that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a string does not fail");
        out
    }
}

/// The stages of a containment, in the order of its life.
const STAGES: [Stage; 4] = [Stage::Reflex, Stage::Durable, Stage::Probation, Stage::Healed];

const fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Reflex => "reflex",
        Stage::Durable => "durable",
        Stage::Probation => "probation",
        Stage::Healed => "healed",
    }
}

/// What the store counts by itself.
#[derive(Debug)]
struct StoreMetrics {
    store: Store,
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = self.store.stats();
        let counters: [(&str, &str, &AtomicU64); 10] = [
            ("vertice_store_commits", "Group commits that succeeded", &stats.commits),
            ("vertice_store_positions", "Log positions that were made durable: events and other inputs", &stats.events),
            ("vertice_store_log_bytes", "Bytes written to the log, compressed", &stats.log_bytes),
            ("vertice_store_records", "Records that were projected", &stats.records),
            ("vertice_store_busy", "Submissions refused because the queue was full", &stats.busy),
            ("vertice_store_disk_full", "Group commits that failed because the disk was full", &stats.disk_full),
            ("vertice_store_snapshots_damaged", "Snapshots that were passed over", &stats.snapshots_damaged),
            ("vertice_store_checkpoints", "Checkpoints of the write-ahead log", &stats.checkpoints),
            ("vertice_audit_entries", "Entries of the audit that were made durable", &stats.audit_entries),
            (
                "vertice_audit_no_space",
                "Attempts to enter what was decided that failed because the disk was full; judging waits",
                &stats.audit_no_space,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value.load(Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let (end, judged) = (self.store.log_end().0, self.store.judged_to().0);
        let gauges = [
            (
                "vertice_store_queue_submissions",
                "Submissions that wait for the writer",
                stats.queue_commands.load(Relaxed),
            ),
            ("vertice_store_queue_bytes", "Bytes that wait for the writer", stats.queue_bytes.load(Relaxed)),
            ("vertice_store_wal_bytes", "Bytes of the write-ahead log", stats.wal_bytes.load(Relaxed)),
            (
                "vertice_store_fatal",
                "Whether the writer has stopped because the disk failed",
                stats.fatal.load(Relaxed),
            ),
            ("vertice_log_end_position", "The last position of the log", end),
            ("vertice_log_judged_position", "The position up to which the log is judged", judged),
            ("vertice_log_lag_positions", "How many positions the engine is behind", end.saturating_sub(judged)),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        self.commits(encoder)
    }
}

impl StoreMetrics {
    fn commits(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let histogram = &self.store.stats().commit_duration;
        let bounds = vertice_store::limits::COMMIT_BUCKETS_US.iter().map(|us| *us as f64 / 1e6);
        let counts = histogram.counts.iter().map(|c| c.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let sum = histogram.sum_us.load(Relaxed) as f64 / 1e6;
        let name = "vertice_store_commit_duration_seconds";
        let help = "How long group commits took, with their sync";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
