//! How fast events become durable, beside a bare file that is appended to and synced.
//!
//! Both write the same events, in the same batches, from as many threads, on the same disk, one after
//! the other and alternating, so that what is printed as a ratio does not depend on the disk's mood.
//!
//! A shard in PostgreSQL, where Debian's is installed, does the same on the same disk and machine.
//!
//! Run: `cargo bench -p vertice-store --bench append -- [DIRECTORY] [SECONDS]`

#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vertice_model::{RawEvent, Timestamp};
use vertice_store::{Options, PostgresSettings, Store, Submission};
use vertice_testkit::postgres::Postgres;

/// Size of an event, in bytes.
const EVENT_BYTES: usize = 1_024;
/// Size to which the bare file is preallocated; it is overwritten from the front when it is full.
const BARE_BYTES: u64 = 256 * 1024 * 1024;
/// How often each of the two is measured, alternating; the median is printed.
const ROUNDS: usize = 5;

fn main() {
    // Cargo itself passes `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: f64 = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(2.0);
    let dir = tempfile::tempdir_in(dir).expect("a directory to write to");
    let round = Duration::from_secs_f64(seconds);
    println!(
        "durable events/s, {EVENT_BYTES} B each, median of {ROUNDS} rounds of {seconds} s, {}",
        dir.path().display()
    );
    let postgres = Postgres::start(dir.path(), "PostgreSQL's column");
    println!(
        "{:>7} {:>5} {:>7} {:>12} {:>12} {:>6} {:>12}",
        "threads", "batch", "joined", "bare file", "store", "ratio", "postgres"
    );
    let pool = events(8_192);
    for (threads, batch) in [(1, 1), (1, 64), (1, 1_024), (4, 1), (4, 64), (4, 1_024)] {
        let (mut bare, mut store, mut shard, mut joined) = (Vec::new(), Vec::new(), vec![0.0], 0.0);
        for n in 0..ROUNDS {
            bare.push(bare_file(dir.path(), &pool, threads, batch, round));
            let at = dir.path().join(format!("{threads}-{batch}-{n}"));
            let clock = Arc::new(|| Timestamp::from_micros(1));
            let opened = Store::open(&at, clock, Options::default()).expect("the store opens");
            let (rate, per_commit) = through_store(&opened, &pool, threads, batch, round);
            store.push(rate);
            joined = per_commit;
            if let Some(server) = &postgres {
                shard.push(through_store(&taken(server, n as u32, dir.path()), &pool, threads, batch, round).0);
            }
        }
        let (bare, store, shard) = (median(bare), median(store), median(shard));
        let ratio = store / bare;
        println!("{threads:>7} {batch:>5} {joined:>7.0} {bare:>12.0} {store:>12.0} {ratio:>6.2} {shard:>12.0}");
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// A generator of numbers that are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Events as a sensor writes them: fixed keys, few programs and users, and much that never repeats.
fn events(count: usize) -> Vec<RawEvent> {
    let origin: Arc<str> = "http".into();
    let mut numbers = Numbers(1);
    (0..count).map(|n| RawEvent { origin: origin.clone(), line: event(n, &mut numbers) }).collect()
}

fn event(n: usize, numbers: &mut Numbers) -> String {
    let mut hex = |words: usize| (0..words).map(|_| format!("{:016x}", numbers.next())).collect::<String>();
    let (id, hash, guid, session) = (hex(2), hex(4), hex(2), hex(1));
    let r = numbers.next();
    let user = ["ana", "ben", "svc-backup", "SYSTEM", "carla"][(r % 5) as usize];
    let image = ["cmd.exe", "powershell.exe", "svchost.exe", "chrome.exe"][(r >> 8) as usize % 4];
    let mut line = format!(
        "{{\"event_id\":\"{id}\",\"timestamp\":\"2026-03-{:02}T{:02}:{:02}:{:02}.{:06}Z\",\"source\":\"endpoint\",\
         \"event_type\":\"process_start\",\"source_ip\":\"10.{}.{}.{}\",\"port\":{},\"payload\":{{\"user\":\"{user}\",\
         \"image\":\"C:\\\\Windows\\\\System32\\\\{image}\",\"pid\":{},\"sha256\":\"{hash}\",\"guid\":\"{guid}\",\
         \"session\":\"{session}\",\"command_line\":\"{image} /c run --id ",
        n % 28 + 1,
        r % 24,
        (r >> 5) % 60,
        (r >> 11) % 60,
        r % 1_000_000,
        r & 255,
        (r >> 16) & 255,
        (r >> 24) & 255,
        (r >> 32) % 65_536,
        (r >> 40) % 32_768,
    );
    // The rest is half words, half bytes that never repeat, as in a real command line.
    while line.len() < EVENT_BYTES - 4 {
        line.push_str(["--target ", "--verbose ", "C:\\Users\\Public\\ ", "--token "][(numbers.next() % 4) as usize]);
        line.push_str(&format!("{:016x} ", numbers.next()));
    }
    line.truncate(EVENT_BYTES - 3);
    line.push_str("\"}}");
    line
}

/// Lets threads work on batches of the pool until time is up; events per second.
fn rate(pool: &[RawEvent], threads: usize, batch: usize, round: Duration, write: impl Fn(&[RawEvent]) + Sync) -> f64 {
    let written = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (written, write) = (&written, &write);
            scope.spawn(move || {
                let mut at = thread * 997;
                while begun.elapsed() < round {
                    let start = at % (pool.len() - batch);
                    write(&pool[start..start + batch]);
                    written.fetch_add(batch as u64, Ordering::Relaxed);
                    at += batch;
                }
            });
        }
    });
    written.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Appends each batch to a file that has its blocks already, and syncs it.
fn bare_file(dir: &Path, pool: &[RawEvent], threads: usize, batch: usize, round: Duration) -> f64 {
    let path = dir.join("bare");
    let file = File::options().create(true).truncate(false).write(true).open(&path).expect("the bare file opens");
    if file.metadata().expect("it is there").len() < BARE_BYTES {
        let block = vec![0_u8; 1024 * 1024];
        (0..BARE_BYTES)
            .step_by(block.len())
            .for_each(|at| file.write_all_at(&block, at).expect("space for the bare file"));
        file.sync_all().expect("the bare file syncs");
    }
    // One writer at a time, as with any log.
    let end = Mutex::new(0_u64);
    rate(pool, threads, batch, round, |events| {
        let bytes: Vec<u8> = events.iter().flat_map(|e| [e.line.as_bytes(), b"\n"]).flatten().copied().collect();
        let mut end = end.lock().expect("no thread panicked");
        if *end + bytes.len() as u64 > BARE_BYTES {
            *end = 0;
        }
        file.write_all_at(&bytes, *end).expect("the bare file is written");
        file.sync_data().expect("the bare file syncs");
        *end += bytes.len() as u64;
    })
}

/// A shard of a server.
fn taken(server: &Postgres, shard: u32, dir: &Path) -> Store {
    let socket = server.socket().to_str().expect("a path of a benchmark");
    let settings = PostgresSettings::from_parts((socket, server.port()), "postgres", ("vertice", None), dir);
    Store::take_shard(&settings, shard, Arc::new(|| Timestamp::from_micros(1))).expect("it can be taken")
}

/// Submits each batch; also how many events a group commit held.
fn through_store(store: &Store, pool: &[RawEvent], threads: usize, batch: usize, round: Duration) -> (f64, f64) {
    let rate = rate(pool, threads, batch, round, |events| {
        let submission = Submission { events: events.to_vec(), ..Submission::default() };
        store.submit_blocking(submission).expect("the store accepts");
    });
    let stats = store.stats();
    let per_commit = stats.events.load(Ordering::Relaxed) as f64 / stats.commits.load(Ordering::Relaxed) as f64;
    store.close().expect("the store closes");
    (rate, per_commit)
}
