//! Every bound of the binary, with how its number was found.

/// Most content files. SigmaHQ's three rule folders have 3,800.
pub const CONTENT_FILES_MAX: usize = 20_000;

/// Longest content file, in bytes. The longest of SigmaHQ's rules has 20 KiB.
pub const CONTENT_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Positions of the log judged at a stretch. A stretch is held in memory, 8 MiB of events of 1 KiB, and
/// its effects are projected together; more would only make a caller wait longer.
pub const STRETCH_POSITIONS: u64 = 8_192;

/// Fewest events worth a thread of their own: starting one takes as long as screening some ten.
pub const SCREEN_SHARE_MIN: usize = 64;

/// Positions after which a snapshot is taken. Judging them again takes some ten seconds at a start after a crash.
pub const SNAPSHOT_EVERY: u64 = 200_000;

/// Longest time, in microseconds, after which it is looked whether something is due.
pub const DUE_LOOK_US_MAX: u64 = 1_000_000;

/// Events and bytes that a replay puts into the log at once: one group commit.
pub const REPLAY_BATCH_EVENTS: usize = 1_024;
/// As [`REPLAY_BATCH_EVENTS`], for events that are long.
pub const REPLAY_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Refused lines that a replay tells one by one; a person reads no more, and the store has them all.
pub const REFUSALS_TOLD: u64 = 20;

/// Longest answer of the API that a command reads, in bytes: a page of 1,000 records of 64 KiB, more
/// than the server puts into one.
pub const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most records asked for at once: the server's own bound.
pub const PAGE_ITEMS: usize = 1_000;

/// Most records that a table or a JSON document shows. Ten times what fits a terminal's memory of lines;
/// `-o ndjson` has no such bound.
pub const LIST_ITEMS_MAX: usize = 100_000;

/// Longest line of the live stream, in bytes: the longest record is a threat of some 200 KiB.
pub const STREAM_LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Free space, in bytes, below which the doctor warns: a day of 100 events/s of 1 KiB, compressed tenfold.
pub const DISK_FREE_WARN: u64 = 1024 * 1024 * 1024;

/// Free space, in bytes, below which the doctor says that it is not in order: one write-ahead log.
pub const DISK_FREE_FAIL: u64 = 64 * 1024 * 1024;

/// Seconds that the clock may be behind the log's end without a warning: what synchronising corrects.
pub const CLOCK_BEHIND_S: u64 = 60;

/// Refused files that the doctor names one by one; the checks name them all.
pub const REFUSALS_DOCTOR: usize = 5;

/// Most days that a back-test counts apart: ten years. Events may claim any day, and the rest is counted together.
pub const BACKTEST_DAYS_MAX: usize = 3_660;

/// Contents that are kept compiled: that in force and the one that is about to be.
pub const CONTENTS_READY_MAX: usize = 2;

/// How often content files are looked at. Two looks that agree make a change, so it takes some four seconds; looking
/// at 4,000 files takes 10 ms.
pub const RELOAD_POLL: std::time::Duration = std::time::Duration::from_secs(2);

/// Longest time that a reload waits for judging to get to it: less than a command waits for its answer.
pub const RELOAD_JUDGED_TIME: std::time::Duration = std::time::Duration::from_secs(20);

/// Batches that a source may hand over before the first is kept: one is being written, one is ready.
pub const SOURCE_BATCHES_WAITING: usize = 2;

/// Pause before a source that ended is started again: long enough not to fill a log with its failures.
pub const SOURCE_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// How often an instance reads the API keys again, which another may have changed: one that leaked is refused everywhere
/// half a second after it was removed. A query that gives some ten rows, and a thousand at the most.
pub const KEYS_POLL: std::time::Duration = std::time::Duration::from_millis(500);

/// How often a followed file is looked at. Detection should take seconds at the most; this is a tenth of one.
pub const FILE_POLL: std::time::Duration = std::time::Duration::from_millis(100);

/// Longest time for ending: open requests, what is on its way, the last snapshot.
pub const END_TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// Most characters of a raw line that the demonstration shows: one line of a wide terminal.
pub const DEMO_LINE_CHARS: usize = 120;

/// By how much the threads that judge stand back behind those that accept (`nice`): when both want a processor, the
/// kernel gives judging a tenth, so that it falls behind a flood and never stops.
pub const JUDGING_NICE: i32 = 10;

/// Orders carried out at the same time. Each waits for the kernel, a disk or another host most of its time; one that
/// hangs until its time is over must not keep the others waiting.
pub const ORDERS_AT_ONCE: usize = 16;

/// How often it is looked who is logged in on this machine: an operator who comes is protected within seconds, and by
/// the responder's own look at once.
pub const OPERATORS_POLL: std::time::Duration = std::time::Duration::from_secs(5);

/// Names of the wrongly held that the record shows in a table; JSON has them all.
pub const RECORD_HURT_SHOWN: usize = 5;

/// Most runs, questions, containments and orders that an export of the audit follows for one threat or entity: some
/// 50 MiB of ids. The busiest address of a day of attacks has hundreds.
pub const AUDIT_IDS_MAX: usize = 500_000;

/// Questions that wait to be told to approvers: as many as may wait for an answer. Each takes a second or two to tell.
pub const QUESTIONS_TO_TELL: usize = 1_000;
/// Longest that judging gives way to large bodies before it reads the log and before each row of it: while they come without a pause it is at
/// work a seventh of the time. A stretch of eight full rows is then a second late, of the contract's five.
pub const GIVE_WAY_MAX: std::time::Duration = std::time::Duration::from_millis(100);

/// Entities that the narrative of a threat names; the list of all stands beside it.
#[cfg(feature = "kafka")]
pub const ENTITIES_TOLD: usize = 5;

/// Most bytes of a refused value that its dead letter repeats. Escaped as JSON at the worst, six characters a byte, it
/// stays below the 1 MiB that a broker takes by default.
#[cfg(feature = "kafka")]
pub const DEAD_LETTER_BYTES_MAX: usize = 128 * 1024;

/// Longest key that a dead letter keeps, in bytes. Keys are names and addresses; a longer one would not fit beside the value.
#[cfg(feature = "kafka")]
pub const DEAD_LETTER_KEY_BYTES_MAX: usize = 16 * 1024;

/// Records that go out to Kafka at once. A threat has some 200 KiB at the most, so it is 50 MiB at the worst.
#[cfg(feature = "kafka")]
pub const KAFKA_OUT_RECORDS: usize = 256;

/// How long one look for records waits: how soon a stop is noticed and a commit made.
#[cfg(feature = "kafka")]
pub const KAFKA_POLL: std::time::Duration = std::time::Duration::from_millis(100);

/// Batches that are in the log and not yet committed to the group before the newest are counted together: a few seconds
/// of a full stream.
#[cfg(feature = "kafka")]
pub const KAFKA_KEPT_UNCOMMITTED: usize = 64;

/// From as many events on a batch of Kafka is one of a backlog: at 5,000 events a second there are some tens in one.
#[cfg(feature = "kafka")]
pub const KAFKA_BULK_EVENTS: u64 = 512;

/// Pause before what a broker did not take is sent again.
#[cfg(feature = "kafka")]
pub const KAFKA_SEND_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// How often brokers and topics are looked for at the start when something is wrong that only a person can mend, and
/// how long between: a minute and the time that the looks take, in which a broker that starts beside us gets its topics.
#[cfg(feature = "kafka")]
pub const KAFKA_LOOKS_MAX: u32 = 12;
/// See [`KAFKA_LOOKS_MAX`].
#[cfg(feature = "kafka")]
pub const KAFKA_LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Consultations that wait to be asked, as many as may wait in the engine. The largest that attackers can cause has some
/// 390 KiB (16 detections of 8 fields, names and values of 256 characters of four bytes), so 380 MiB at the very worst (measured);
/// in plain letters a quarter.
pub const CONSULTATIONS_WAITING_MAX: usize = vertice_engine::limits::CONSULTATIONS_WAITING_MAX;

/// Most bytes that a consultation tells of a threat; the engine's own bounds come to less.
#[cfg(test)]
pub const CONSULT_BYTES_MAX: usize = 384 * 1024;

/// Threads that ask models: providers allow few questions at once, and a model on the machine's own cores takes one.
pub const MODELS_ASKED_AT_ONCE: usize = 4;

/// Most bytes of a question that attackers may have written: some 6,000 tokens.
pub const PROMPT_DATA_BYTES_MAX: usize = 24 * 1024;

/// Longest answer of a model that is read, in bytes: 16 sentences of 500 characters, and as much again around them.
pub const OPINION_BYTES_MAX: usize = 32 * 1024;

/// How often shards are told how far the partitions of events are: a fiftieth of the time that is promised from an event
/// to its detection. 12 partitions and 12 shards make 1,440 marks of 80 bytes a second in all.
pub const MARK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// How much older than now the next record of a partition may be whose end was reached: the linger of producers, a
/// busy broker, clocks that differ. An older one is judged all the same, after what should have followed it.
pub const IDLE_SLACK: std::time::Duration = std::time::Duration::from_millis(1_000);

/// How long is waited for records while others are on their way, so that it is soon seen that these are delivered.
pub const SENDING_POLL: std::time::Duration = std::time::Duration::from_millis(2);

/// How often the group is told what is done: what is screened again after a kill at most, or read again by a shard.
pub const COMMIT_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// How often a shard to which nothing comes keeps how far it has read, so that its next owner need not read a day of marks.
pub const CURSOR_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// Records that are let out into a shard's log at once: a row of the log.
pub const LET_OUT_RECORDS: usize = 1_024;

/// Most bytes of their lines, unless the first is longer: a chunk of the log.
pub const LET_OUT_BYTES: usize = 4 * 1024 * 1024;

/// How long a shard that is given up may take for each of: orders that are being carried out, judging, publishing. Its next
/// owner waits for it, and goes on from wherever it stood.
pub const HANDOVER_TIME: std::time::Duration = std::time::Duration::from_secs(2);

/// Pause before a shard is taken again that another instance took although the group says that it is ours, or that
/// failed: whoever was given up by the group learns it within that time.
pub const RETAKE_PAUSE: std::time::Duration = std::time::Duration::from_secs(3);

/// Shards that are taken at the same time. Each is a few round trips to the database.
pub const TAKEN_AT_ONCE: usize = 8;

/// Most partitions of the topic of events: what a mark may name.
pub const SOURCE_PARTITIONS_MAX: i32 = 4_096;

/// Most bytes of a dataset of labelled alerts, which is held in memory: 100,000 alerts of 2.5 KiB.
pub const DATASET_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Most files and folders of a dataset: one for each technique and log source there is, several times over.
pub const DATASET_FILES_MAX: usize = 10_000;
