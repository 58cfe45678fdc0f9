//! The tables, and the version of them.

use super::session::{Session, open_error};
use super::settings::PostgresSettings;
use crate::error::OpenError;

/// The version of the tables here. Version 2 is brought to it; a program that finds any other stops.
const VERSION: i64 = 3;

/// Told from other locks of the database: whoever makes the tables holds it.
const LOCK: i64 = 0x5672_7463;

const TABLES: &str = "
    CREATE SCHEMA vertice;
    CREATE TABLE vertice.form (id bigint PRIMARY KEY CHECK (id = 1), version bigint NOT NULL);

    -- The number of the record that was projected last, of all shards.
    CREATE TABLE vertice.sequence (id bigint PRIMARY KEY CHECK (id = 1), seq bigint NOT NULL);
    INSERT INTO vertice.sequence VALUES (1, 0);

    -- One row for each shard: whose it is, and how far everything has come.
    CREATE TABLE vertice.shard (
        shard bigint PRIMARY KEY,
        epoch bigint NOT NULL,
        taken_at timestamptz NOT NULL DEFAULT now(),
        commits bigint NOT NULL,
        log_end bigint NOT NULL,
        at_us bigint NOT NULL,
        judged bigint NOT NULL,
        checksum bigint NOT NULL,
        -- The number of what it heard last of what others told.
        heard bigint NOT NULL DEFAULT 0,
        -- Which directory is being moved here, and what was moved of it.
        moving text
    );

    CREATE TABLE vertice.log (
        shard bigint NOT NULL,
        seq_first bigint NOT NULL,
        n bigint NOT NULL,
        kind bigint NOT NULL,
        at_us bigint NOT NULL,
        checksum bigint NOT NULL,
        blob bytea NOT NULL,
        PRIMARY KEY (shard, seq_first)
    );
    -- It is compressed already.
    ALTER TABLE vertice.log ALTER blob SET STORAGE EXTERNAL;

    CREATE TABLE vertice.snapshot (
        shard bigint NOT NULL,
        position bigint NOT NULL,
        version bigint NOT NULL,
        checksum bigint NOT NULL,
        blob bytea NOT NULL,
        PRIMARY KEY (shard, position)
    );
    ALTER TABLE vertice.snapshot ALTER blob SET STORAGE EXTERNAL;

    -- Each shard orders its records by (position, idx); all of them together are ordered by seq.
    CREATE TABLE vertice.record (
        shard bigint NOT NULL,
        kind bigint NOT NULL,
        key text COLLATE \"C\" NOT NULL,
        position bigint NOT NULL,
        idx bigint NOT NULL,
        seq bigint NOT NULL,
        severity bigint NOT NULL,
        state text NOT NULL,
        rule_id text,
        threat_id text,
        at_us bigint NOT NULL,
        checksum bigint NOT NULL,
        json text NOT NULL,
        PRIMARY KEY (shard, kind, key)
    );
    CREATE INDEX record_key ON vertice.record (kind, key);
    CREATE UNIQUE INDEX record_seq ON vertice.record (seq);
    CREATE INDEX record_kind_seq ON vertice.record (kind, seq);
    CREATE INDEX record_order ON vertice.record (shard, position, idx);
    CREATE INDEX record_kind_order ON vertice.record (shard, kind, position, idx);
    CREATE INDEX record_threat ON vertice.record (threat_id, kind, seq) WHERE threat_id IS NOT NULL;

    CREATE TABLE vertice.about (
        entity text COLLATE \"C\" NOT NULL,
        kind bigint NOT NULL,
        shard bigint NOT NULL,
        key text COLLATE \"C\" NOT NULL,
        PRIMARY KEY (entity, kind, shard, key)
    );

    CREATE TABLE vertice.cursor (
        shard bigint NOT NULL,
        source text COLLATE \"C\" NOT NULL,
        value bytea NOT NULL,
        checksum bigint NOT NULL,
        PRIMARY KEY (shard, source)
    );

    CREATE TABLE vertice.idempotency (
        shard bigint NOT NULL,
        key bytea NOT NULL,
        number bigserial NOT NULL,
        first bigint NOT NULL,
        count bigint NOT NULL,
        at_us bigint NOT NULL,
        answer bytea NOT NULL,
        checksum bigint NOT NULL,
        PRIMARY KEY (shard, key)
    );
    CREATE INDEX idempotency_age ON vertice.idempotency (shard, at_us);
    CREATE INDEX idempotency_number ON vertice.idempotency (shard, number);

    -- Who may decide may decide about every shard.
    CREATE TABLE vertice.api_key (
        name text COLLATE \"C\" PRIMARY KEY,
        hash bytea NOT NULL,
        created_us bigint NOT NULL,
        checksum bigint NOT NULL
    );

    CREATE TABLE vertice.meta (
        shard bigint NOT NULL,
        key text COLLATE \"C\" NOT NULL,
        value bytea NOT NULL,
        checksum bigint NOT NULL,
        PRIMARY KEY (shard, key)
    );

    -- What others have left for a shard's log. Once it is there, the row says where, for whoever left it.
    CREATE TABLE vertice.inbox (
        number bigserial PRIMARY KEY,
        id bytea NOT NULL UNIQUE,
        shard bigint NOT NULL,
        kind bigint NOT NULL,
        blob bytea NOT NULL,
        beside bytea NOT NULL,
        checksum bigint NOT NULL,
        first bigint,
        count bigint,
        at_us bigint,
        repeated bytea,
        taken_at timestamptz
    );
    CREATE INDEX inbox_waiting ON vertice.inbox (shard, number) WHERE first IS NULL;
    CREATE INDEX inbox_taken ON vertice.inbox (shard, taken_at) WHERE first IS NOT NULL;

    -- What each shard told all others, in the order in which it was committed. It is kept, for shards that are yet to
    -- come: it is as much as people decide, which the logs keep too.
    CREATE TABLE vertice.told (
        number bigint PRIMARY KEY,
        shard bigint NOT NULL,
        position bigint NOT NULL,
        idx bigint NOT NULL,
        blob bytea NOT NULL,
        checksum bigint NOT NULL,
        UNIQUE (shard, position, idx)
    );

    -- Who may carry an order out: whoever had the shard with that epoch.
    CREATE TABLE vertice.claim (
        order_id text COLLATE \"C\" PRIMARY KEY,
        shard bigint NOT NULL,
        epoch bigint NOT NULL,
        claimed_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX claim_age ON vertice.claim (claimed_at);

    -- The audit of each shard: its seal, and its lines.
    CREATE TABLE vertice.audit_seal (shard bigint PRIMARY KEY, line bytea NOT NULL);
    CREATE TABLE vertice.audit (
        shard bigint NOT NULL,
        n bigint NOT NULL,
        line bytea NOT NULL,
        PRIMARY KEY (shard, n)
    );

    INSERT INTO vertice.form VALUES (1, 2);
";

// No text of an attacker can look like a member of the record: in JSON a quotation mark within a text has a backslash
// before it, and between `\"` and `:` there would be one too many.
const RANK: &str = r#"
    -- Where threats stand when they are sorted by priority; -1 of all else.
    ALTER TABLE vertice.record ADD COLUMN rank bigint NOT NULL DEFAULT -1;
    UPDATE vertice.record SET rank =
        coalesce(substring(json from '"triage":\{"priority":([0-9]+)')::bigint, 0) * 100000000000
        + greatest(0, floor(extract(epoch from (substring(json from '"opened_at":"([^".Z]+)') || 'Z')::timestamptz))::bigint)
        WHERE kind = 1;
    CREATE INDEX record_rank ON vertice.record (rank, key, shard) WHERE rank >= 0;
    UPDATE vertice.form SET version = 3;
"#;

/// Makes the tables if there are none, brings those of version 2 up to date, and refuses those of another.
pub(crate) fn prepare(session: &mut Session, settings: &PostgresSettings) -> Result<(), OpenError> {
    let failed = |e| open_error(settings, &e);
    session.batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})")).map_err(failed)?;
    let there = session.row("SELECT to_regclass('vertice.form') IS NOT NULL", &[]).map_err(failed)?;
    let found: i64 = if there.is_some_and(|row| row.get(0)) {
        let found = session.row("SELECT version FROM vertice.form WHERE id = 1", &[]).map_err(failed)?;
        // Tables that say nothing of their version are nobody's.
        found.map_or(i64::MAX, |row| row.get(0))
    } else {
        0
    };
    let steps: &[&str] = match found {
        0 => &[TABLES, RANK],
        2 => &[RANK],
        _ => &[],
    };
    for step in steps {
        session.batch(step).map_err(failed)?;
    }
    session.batch("COMMIT").map_err(failed)?;
    if matches!(found, 0 | 2 | VERSION) {
        return Ok(());
    }
    Err(OpenError::Schema { file: settings.whereabouts().into(), found, known: VERSION })
}
