//! Every bound of the engine, with how its number was found.

/// Most threats kept to be joined or opened again. A threat of ordinary size takes 4 KiB, so this is
/// 40 MiB at the most; a small network has tens at a time. Beyond it the one that changed longest ago
/// is closed for quiet and no longer opened again.
pub const THREATS_MAX: usize = 10_000;

/// Most entities of one threat: what an attacker holds of a network of the size we are made for.
pub const THREAT_ENTITIES_MAX: usize = 64;

/// Most rules remembered of one threat. A noisy day with 3,000 rules loaded shows some 60.
pub const THREAT_RULES_MAX: usize = 128;

/// Most techniques remembered of one threat; the longest recorded incidents have 60.
pub const THREAT_TECHNIQUES_MAX: usize = 128;

/// Most classes remembered of one threat; there are some twenty.
pub const THREAT_CLASSES_MAX: usize = 64;

/// Most ids of latest detections in a threat's record.
pub const THREAT_LATEST_MAX: usize = 64;

/// Most absorbed threats named in a threat's record: no more than it may have entities.
pub const THREAT_ABSORBED_MAX: usize = THREAT_ENTITIES_MAX;

/// Seconds without a detection after which a threat is closed for quiet: one day, so that work
/// that goes on in the same hours of the next day is still the same case.
pub const THREAT_QUIET_S: u64 = 24 * 3_600;

/// Seconds within which a further detection opens a quiet threat again, rather than a new one: a week.
pub const THREAT_REOPEN_S: u64 = 7 * 24 * 3_600;

/// Longest playbook file, in bytes. The longest of ours has 4 KiB; a CACAO playbook of a hundred steps 60.
pub const PLAYBOOK_BYTES_MAX: usize = 64 * 1024;

/// Most YAML events (keys, values, brackets) of a playbook file: every second byte of the longest one.
pub const PLAYBOOK_YAML_EVENTS_MAX: usize = PLAYBOOK_BYTES_MAX / 2;

/// Deepest nesting of a playbook file: file, actions, action, parameters, list are 5; twice that.
pub const PLAYBOOK_YAML_DEPTH_MAX: usize = 10;

/// Longest CACAO document, in bytes: no more than the file that keeps it whole.
pub const CACAO_BYTES_MAX: usize = PLAYBOOK_BYTES_MAX;

/// Deepest nesting of a CACAO document. Playbook, workflow, step, commands, command, headers, list are 7; an
/// extension has the rest.
pub const CACAO_DEPTH_MAX: usize = 16;

/// Most steps of a CACAO document: for each action a question, a parallel and an end, and a start and an end.
pub const CACAO_STEPS_MAX: usize = 4 * PLAYBOOK_ACTIONS_MAX + 2;

/// Longest reason of a refusal that quotes another's message, in characters: two lines of a terminal.
pub const REASON_CHARS_MAX: usize = 160;

/// Most errors that are told of one playbook file: a screenful.
pub const PLAYBOOK_ERRORS_MAX: usize = 32;

/// Most playbooks: one for every technique of ATT&CK's 14 tactics that anybody wrote one for, some 200.
pub const PLAYBOOKS_MAX: usize = 256;

/// Most actions of a playbook. The longest published CACAO example has 20.
pub const PLAYBOOK_ACTIONS_MAX: usize = 32;

/// Longest id of a playbook or an action, in bytes: what fits a column of a table.
pub const PLAYBOOK_ID_BYTES_MAX: usize = 64;

/// Longest text in a playbook (a description, a prompt, a message, a parameter), in bytes: a page.
pub const PLAYBOOK_TEXT_BYTES_MAX: usize = 2_048;

/// Longest condition, in bytes: all 14 tactics and four classes in one expression take 600.
pub const CONDITION_BYTES_MAX: usize = 1_024;

/// Deepest nesting of a condition. Two alternations of conjunctions with a negation are 3; more can not be read.
pub const CONDITION_DEPTH_MAX: usize = 16;

/// Longest value that is filled in for `${…}`, in characters: the longest host name has 253.
pub const CONTEXT_VALUE_CHARS_MAX: usize = 256;

/// Longest filled text (a prompt, a message), in characters: what a person reads in the 300 s of a question.
pub const FILLED_CHARS_MAX: usize = 4_096;

/// The longest lease, in seconds: a week. Longer is not a response but a policy, which people set elsewhere.
pub const LEASE_S_MAX: u64 = 7 * 24 * 3_600;

/// The shortest lease, in seconds: below it an attacker merely waits.
pub const LEASE_S_MIN: u64 = 10;

/// Seconds within which an action must have shown its effect, if the playbook does not say: a slow host's answer.
pub const ACTION_TIMEOUT_S: u64 = 30;

/// The longest that a playbook may say, in seconds: a bundle of evidence from a slow host takes some minutes.
pub const ACTION_TIMEOUT_S_MAX: u64 = 600;

/// Most retries of an action. What failed six times needs a person.
pub const ACTION_RETRIES_MAX: u64 = 5;

/// Seconds that a question waits, if the playbook does not say. The contract's number.
pub const APPROVAL_TIMEOUT_S: u64 = 300;

/// The longest and the shortest that a playbook may say, in seconds: a day's shifts, and reading it once.
pub const APPROVAL_TIMEOUT_S_RANGE: std::ops::RangeInclusive<u64> = 10..=24 * 3_600;

/// Entities that may be touched within an hour without a person's word, if nobody says otherwise: a guessing
/// botnet of ordinary size shows some 20 addresses an hour, and a person can look 50 over.
pub const ENTITIES_PER_HOUR: u32 = 50;

/// The most that can be remembered of them. A person approves one in 10 s at the most, 360 in an hour; the
/// policy's own number comes on top, and is cut to the rest.
pub const ENTITIES_REMEMBERED_MAX: usize = 16_384;

/// Most questions that wait at once. At the default 300 s, more would have to be answered at 3 a second.
pub const QUESTIONS_WAITING_MAX: usize = 1_000;

/// Most runs that are alive: one for each of the threats that may be open, at some 4 KiB each.
pub const RUNS_ALIVE_MAX: usize = THREATS_MAX;

/// Most runs kept after they are over, so that a late answer gets a precise reason; the records keep all.
pub const RUNS_OVER_MAX: usize = 4_096;

/// Seconds for which they are kept: a person who comes back the next day still reads who answered.
pub const RUNS_OVER_S: u64 = 24 * 3_600;

/// Most threats of which is remembered what was done, twice as many as can be open or reopened: a threat is
/// forgotten here only long after it is forgotten there.
pub const RESPONSE_THREATS_MAX: usize = 2 * THREATS_MAX;

/// The longest lease of a reflex, in seconds: what follows by itself within seconds lasts at most an hour.
pub const REFLEX_S_MAX: u64 = 3_600;

/// The share of the known hosts that may be touched within an hour without a person's word, in percent: one in ten
/// can be missed for a while in most places, and a mistake about more than that is an outage.
pub const ASSETS_PERCENT: u32 = 10;

/// Different people who must say yes to an action of the highest risk: the four eyes of the common rule.
pub const APPROVALS_HIGH: u32 = 2;

/// The least that a reflex becomes when the attack goes on, in seconds: four hours, which reach over a night's gap
/// between two people who look.
pub const DURABLE_S: u64 = 4 * 3_600;

/// Each step of probation, and the quiet that is asked before one, is a quarter of the lease, but no less and no
/// more than this, in seconds: guessing tools come back within minutes, and more than an hour tells nothing new.
pub const QUIET_S_RANGE: std::ops::RangeInclusive<u64> = 5..=3_600;

/// What is let through of a blocked address in the first step of its probation: enough for a person who logs in,
/// and too little for guessing. As many …
pub const PROBATION_RATE: u64 = 10;

/// … in this many seconds.
pub const PROBATION_RATE_S: u64 = 60;

/// Seconds before a failed order is tried again; doubled each time, and at most [`RETRY_S_MAX`].
pub const RETRY_S: u64 = 1;

/// The longest wait before the next try of an order, in seconds. What is taken back is tried for ever, once a minute.
pub const RETRY_S_MAX: u64 = 60;

/// Missteps (a containment that a person called wrong, an order that failed for good) within an hour after which
/// everything is asked for an hour: one may be chance, three are a rule or a sensor gone wrong.
pub const MISSTEPS_MAX: usize = 3;

/// Seconds after which a run that the blast radius or too many questions cut short is tried again, if the threat
/// goes on: the hour that the blast radius counts.
pub const HINDERED_S: u64 = 3_600;

/// Longest name of a field, in bytes: a flattened JSON path. The longest real ones (CloudTrail, Exchange
/// audit) stay under 200; with at most [`FIELDS_READ_MAX`] of them, names take 8 MiB at worst.
pub const FIELD_NAME_BYTES_MAX: usize = 1_024;

/// Most fields taken from one JSON event before lists are gathered: four times what an event may have, for
/// the objects of a list count one by one until they are. Further ones are left out and counted.
pub const FIELDS_READ_MAX: usize = 4 * vertice_model::limits::EVENT_FIELDS_MAX;

/// Most `key=value` pairs taken from one line: a program with 512 arguments in an audit record, twice.
pub const PAIRS_MAX: usize = 1_024;

/// Most bytes of one compiled pattern of a mapping; the largest of ours needs a twentieth. It bounds what a
/// counted repetition such as `(a{1000}){1000}` in an operator's mapping can cost.
pub const MAPPING_REGEX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often a line may be found within a line: syslog within a container's log within JSON is two.
pub const REREADS_MAX: u8 = 3;

/// Most arguments joined into one command line; `execve` itself allows more, a person writes fewer.
pub const ARGUMENTS_MAX: usize = 512;

/// Ids of events remembered for telling a repetition. A sender that gets no answer sends its last
/// batches again, of 1,024 events each; 64 senders may do so at once. 512 KiB.
pub const SEEN_EVENTS_MAX: usize = 65_536;

/// Most characters of an event's value shown as the reason of a match.
pub const MATCHED_VALUE_CHARS_MAX: usize = 512;

/// Most conditions shown as the reason of a match; the most detailed rules have some 40 that can hold at once.
pub const MATCHED_CONDITIONS_MAX: usize = 64;

/// Most earlier events named by a detection of a correlation.
pub const EARLIER_EVENTS_MAX: usize = 64;

/// Most rules of which is remembered how often they matched and what people said of them: twice the largest public set.
pub const RULES_JUDGED_MAX: usize = 20_000;

/// Most pairs of a rule and an entity of which people's verdicts are remembered: one for each threat of six years at
/// thirty a day. Some 100 bytes each.
pub const ENTITIES_JUDGED_MAX: usize = 65_536;

/// Most verdicts remembered to be shown as those of similar threats: a year of three a day.
pub const VERDICTS_REMEMBERED_MAX: usize = 1_024;

/// Verdicts, at least, before what they say is taken for more than the rule's own standing.
pub const VERDICTS_OF_ENTITY_MIN: u64 = 3;

/// Up to how many verdicts the posterior is computed exactly, in some 10 µs; beyond, by the normal distribution, which
/// is off by less than a thousandth there.
pub const POSTERIOR_EXACT_MAX: u64 = 256;

/// Verdicts, at least, before a suppression is proposed by itself.
pub const SUPPRESS_VERDICTS_MIN: u64 = 5;

/// What the 5th percentile of the rate of false positives must exceed before a suppression is proposed by itself.
pub const SUPPRESS_LOWER_MIN: f64 = 0.9;

/// Seconds that a suppression lasts unless a person says otherwise: a month, after which somebody looks again.
pub const SUPPRESSION_S: u64 = 30 * 24 * 3_600;

/// The shortest and the longest that a person may say, in seconds: an hour of maintenance, a quarter of a year.
pub const SUPPRESSION_S_RANGE: std::ops::RangeInclusive<u64> = 3_600..=90 * 24 * 3_600;

/// Most suppressions that are proposed or in force: more can not be looked over by a person once a month.
pub const SUPPRESSIONS_MAX: usize = 1_000;

/// Most rules of all tables that suggest techniques; the shipped one has some 350. At some 0.5 µs each for a short
/// command, 2 ms for a detection that none of its rule's tags describe.
pub const MAPPER_RULES_MAX: usize = 4_096;

/// Most characters of an event's text that techniques are suggested from. What a command does stands at its beginning;
/// an encoded script behind it would only cost.
pub const MAPPED_CHARS_MAX: usize = 4_096;

/// Most techniques that are suggested for a detection; a person reads no longer list of guesses.
pub const MAPPED_TECHNIQUES_MAX: usize = 8;

/// Most consultations that wait for an answer. How much they take in the rim is measured by `benches/triage.rs`.
pub const CONSULTATIONS_WAITING_MAX: usize = 1_000;

/// Seconds after which an answer comes too late: a slow model on the machine's own cores takes two minutes for one, and
/// some wait in line before it.
pub const CONSULTATION_S: u64 = 600;

/// Most consultations about one threat: at first, and when it became worse; it can do so three times.
pub const CONSULTATIONS_OF_THREAT_MAX: u32 = 4;

/// Most threats whose detections are remembered for a consultation: as many as can be waiting. At 16 detections of
/// 2.5 KiB at the most, 40 MiB.
pub const TOLD_THREATS_MAX: usize = CONSULTATIONS_WAITING_MAX;

/// The first detections of a threat that are told a model: how it began …
pub const TOLD_FIRST: usize = 4;

/// … and the most in all, the others being the latest. More than 16 do not fit the 4,096 tokens of a small model.
pub const TOLD_MOMENTS_MAX: usize = 16;

/// Most fields of a detection that are told a model, …
pub const TOLD_FIELDS_MAX: usize = 8;

/// … and most characters of each value: a command line's telling part; it also bounds what injected text can say.
pub const TOLD_VALUE_CHARS_MAX: usize = 256;

/// Most entities, techniques, similar threats and playbooks that are told a model.
pub const TOLD_LIST_MAX: usize = 16;

/// Most sentences of an opinion, techniques and playbooks of it, and cites of a sentence: a paragraph.
pub const OPINION_LIST_MAX: usize = 16;

/// Most characters of a sentence of an opinion.
pub const OPINION_TEXT_CHARS_MAX: usize = 500;

/// Most routed records that a shard holds back. At 5,000 events with hits a second for all shards and marks that come
/// within some 200 ms, a thousand are held; one partition that stalls for ten seconds makes fifty times that.
pub const HELD_RECORDS_MAX: usize = 65_536;

/// Most bytes of their lines: all of them at twice the ordinary length of 1 KiB, cut to what a shard of several on one
/// machine may take.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest record of hits, in bytes: the longest event, each byte of it escaped as JSON does at worst, and the rest.
pub const MESSAGE_BYTES_MAX: usize = 6 * vertice_model::limits::RAW_EVENT_BYTES_MAX + 64 * 1024;

/// Longest origin of an event that a record of hits brings, in bytes: Linux's longest path, and a member of an
/// archive behind it.
pub const ORIGIN_BYTES_MAX: usize = 2 * 4_096;
