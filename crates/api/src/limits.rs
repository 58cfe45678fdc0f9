//! Every bound of the API, with how its number was found.

use std::time::Duration;

/// Most connections at once. The product promises 10,000 clients; the rest is room for whoever looks after it.
pub const CONNECTIONS_MAX: usize = 10_240;

/// Longest that a client may take to send the head of a request, and longest that a connection is kept
/// open between two requests. A head fits one packet, so a client that needs longer is not trying.
pub const HEAD_TIME: Duration = Duration::from_secs(30);

/// Most bytes of the head of a request. Browsers send some 2 KiB; proxies stop at 8 to 32 KiB.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Longest pause within a body. The slowest mobile networks deliver something every few seconds.
pub const BODY_PAUSE: Duration = Duration::from_secs(10);

/// Longest that a whole body may take: [`EVENT_BODY_BYTES_MAX`] at 5 Mbit/s.
pub const BODY_TIME: Duration = Duration::from_secs(60);

/// Longest that a client may leave an answer lying without reading any of it.
pub const WRITE_PAUSE: Duration = Duration::from_secs(30);

/// Longest that open requests are waited for when the process is told to stop.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How long to wait before accepting again when the system has no more file descriptors. Connections
/// end at about that rate on a machine that is so busy.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Most bytes of a body of events, packed or not: 32 batches of 1,024 events of 1 KiB.
pub const EVENT_BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How many times as long as allowed a body may be to be read to its end, and dropped, so that its sender gets to
/// read the answer. Nobody sends four times too much by mistake and waits for a reason.
pub const DROPPED_FACTOR: usize = 4;

/// Most bytes of all bodies of events that are being received or worked on. Each costs up to three times
/// as much again while it is split and read, so this is about 1 GiB at worst.
pub const EVENT_BODIES_BYTES_MAX: usize = 8 * EVENT_BODY_BYTES_MAX;

/// Size of an event body from which it is worked on by a thread that may block. Splitting and reading
/// 16 KiB takes about a tenth of a millisecond, which is what a task may keep others waiting.
pub const INLINE_BODY_BYTES: usize = 16 * 1024;

/// Bytes of a body from which its lines are handed on before the rest is there: a thread works on as many for half a
/// millisecond, and is woken in a thirtieth of that.
pub const SHARE_BYTES: usize = vertice_store::limits::SHARE_BYTES;

/// Most events of a body of whole lines: what an ordinary body may have, which is more than a sender has together.
pub const WHOLE_LINES_MAX: u64 = EVENT_BODY_BYTES_MAX as u64 / 256;

/// Most bytes of any other body. A note of 4,096 characters, each escaped, is the longest.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Most refused lines that an answer names; the others are only counted. Nobody reads more.
pub const REFUSED_SHOWN_MAX: usize = 1_000;

/// Most characters of the reason of a refused line.
pub const REASON_CHARS_MAX: usize = 300;

/// Most bytes of an `Idempotency-Key`: a UUID has 36, a digest in hexadecimal 128.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Items of a page, unless the request says otherwise.
pub const PAGE_DEFAULT: usize = 100;

/// Most items of a page.
pub const PAGE_MAX: usize = vertice_store::limits::PAGE_ROWS_MAX;

/// Bytes of a page from which it ends early. A thousand ordinary detections have 2 MiB.
pub const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Most log positions that one request for events looks at.
pub const EVENTS_SCANNED_MAX: u64 = 16 * 1024;

/// Bytes of raw events from which a page of events ends early. Read by their mapping they are about
/// three times that.
pub const EVENT_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Most detections that an explanation shows, the latest; more than a person reads.
pub const EXPLAIN_DETECTIONS_MAX: usize = 100;

/// Most events that an explanation shows. Each costs about a millisecond to read back.
pub const EXPLAIN_EVENTS_MAX: usize = 500;

/// Most records of each other kind that an explanation shows. A threat has a run for each playbook and
/// reopening, and a question and a containment for each action.
pub const EXPLAIN_RECORDS_MAX: usize = 200;

/// Most absorbed threats whose detections an explanation looks for.
pub const EXPLAIN_ABSORBED_MAX: usize = 64;

/// Longest that a decision waits for the engine. It is a few milliseconds behind in ordinary times; the
/// contract allows it 5 s.
pub const DECISION_TIME: Duration = Duration::from_secs(10);

/// Most characters of a note or reason of a person.
pub const NOTE_CHARS_MAX: usize = 4_096;

/// Most reads of the store at once. Each waits for one of few connections to the file.
pub const READS_MAX: usize = 64;

/// Longest that a request waits for its turn to read the store.
pub const READ_WAIT: Duration = Duration::from_secs(10);

/// Most live streams at once: a wall of screens for each person of a large team. Each reads the store
/// whenever something changes.
pub const STREAMS_MAX: usize = 256;

/// Records that a stream reads at once, and that wait for its client.
pub const STREAM_BATCH: usize = 64;

/// Longest that a stream waits for a client that does not read.
pub const STREAM_STALL: Duration = Duration::from_secs(30);

/// Shortest time between two reads for one stream: a program that listens hears of a detection within it.
/// All streams together then cost at most 12,800 reads a second, and those share [`READS_MAX`] places.
pub const STREAM_PAUSE: Duration = Duration::from_millis(20);

/// How often a silent stream says that it is alive. Proxies cut after 30 or 60 s of silence.
pub const STREAM_BEAT: Duration = Duration::from_secs(15);

/// Failed authentications that are answered one by one; after that they are refused until some time has
/// passed. A person with a wrong key in a script sees 401 often enough to understand.
pub const AUTH_FAILURES_BURST: u32 = 50;

/// Failed authentications that are answered in a second, once the burst is used up.
pub const AUTH_FAILURES_PER_S: u32 = 5;

/// Most API keys of people: everybody of a large organisation who may decide, with programs of theirs. Each presented
/// key is compared with all of them, and with those of bouncers, which takes some microseconds.
pub const KEYS_MAX: usize = 1_000;

/// Most bouncers: one for each firewall, proxy and web server of a large network.
pub const BOUNCERS_MAX: usize = 256;

/// Most characters of the name of a key: that of an account, or a host's and what runs there.
pub const KEY_NAME_CHARS_MAX: usize = 64;

/// Most characters that are kept and told of a `User-Agent`: bouncers send some 60.
pub const AGENT_CHARS_MAX: usize = 80;

/// Most containments that are read for one answer to a bouncer: ten times what is promised to be held at once. What
/// there is beyond is told in the next answer.
pub const DECISION_RECORDS_MAX: usize = 100_000;

/// Addresses from which all that is held is read, and not what holds each of them: looking one up costs about as much
/// as reading a hundred containments in a row.
pub const DECISION_LOOKUPS_MAX: usize = 64;

/// Shortest time, in microseconds, that a decision must yet last to be told. nftables counts a timeout in
/// milliseconds and takes 0 for one without an end; a second is what is sure to be more after the way to a bouncer.
pub const DECISION_LEFT_US_MIN: u64 = 1_000_000;

/// Bytes of an answer to a bouncer that are handed to its connection at once. How far a bouncer has read counts from
/// when the last piece was taken, so a connection that breaks within a long answer loses nothing.
pub const DECISION_PIECE_BYTES: usize = 64 * 1024;

/// Most characters of the token of a link: the longest that is made has some 500, for an approver with a name of 250.
pub const LINK_CHARS_MAX: usize = 1_024;

/// Most bytes of the form that an approval page sends: `answer=approve`.
pub const FORM_BYTES_MAX: usize = 1_024;

/// How far the engine may be behind the log and still be ready, in positions: what it judges in about
/// five seconds, the contract's ceiling.
pub const READY_LAG_MAX: u64 = 100_000;

/// How long after a submission failed for lack of space the process counts as not ready, in seconds. Twice
/// the time after which a client is told to try again, so that one that does keeps it up to date.
pub const DISK_FULL_S: u64 = 10;

/// Most values of a label that comes from content, such as an action's type; the rest are `other`.
pub const LABEL_VALUES_MAX: usize = 64;

/// Upper bounds of the buckets of latencies, in seconds, from a single group commit to twice the
/// contract's ceiling.
pub const LATENCY_BUCKETS_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

/// Upper bounds of the buckets of attempts at an action, in seconds: from one call of the kernel to the longest time
/// that an action is given; the contract promises 10.
pub const EXECUTION_BUCKETS_S: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// The kinds of sources, as the metrics name them. Each begins at zero, so that a first loss shows as an increase.
pub const SOURCES: [&str; 5] = ["http", "file", "journal", "syslog_udp", "syslog_tcp"];

/// Most partitions whose lag is shown: ten topics of a hundred partitions. Each is one series of Prometheus.
pub const KAFKA_PARTITIONS_MAX: usize = 1_000;

/// Upper bounds of the buckets of visits to a decoy, in seconds; the contract promises more than 60.
pub const ENGAGEMENT_BUCKETS_S: [f64; 8] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0];

/// Most threats that a back-test of a suppression looks at: 200 look-ups take some 10 ms.
pub const BACK_TEST_THREATS_MAX: usize = 200;

/// Days that a suppression lasts unless a person says otherwise, as the engine has it …
pub const SUPPRESSION_DAYS: u64 = vertice_engine::limits::SUPPRESSION_S / 86_400;

/// … and the fewest and the most that may be said.
pub const SUPPRESSION_DAYS_RANGE: std::ops::RangeInclusive<u64> =
    1..=*vertice_engine::limits::SUPPRESSION_S_RANGE.end() / 86_400;

/// Most techniques that are predicted of a threat. The figures of the evaluation are of the first five; what comes
/// behind them was hardly ever right.
pub const PREDICTIONS_MAX: usize = 5;
