//! A full disk: refused, survived, and gone on from without opening anything again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use vertice_engine::Record;
use vertice_model::{Position, RawEvent, Severity};
use vertice_store::{Filter, Options, RecordKind, Store, Submission, SubmitError};

use crate::fixture::{detection, effect, open_with};

/// How often the disk is filled and freed.
const CYCLES: u64 = 10;

/// A small disk of its own, in memory.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(at: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|o| o.status.success()).then(|| SmallDisk(at.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all the space there is.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.0.join("ballast")).expect("a name is always free");
        let block = [0x5a_u8; 4096];
        while ballast.write_all(&block).is_ok() {}
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _done = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A submission that does not compress.
fn noise(seed: u64) -> Submission {
    let line = (0..2_000_u64)
        .map(|n| {
            format!("{:016x}", (seed * 2_000 + n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ n << 40)
        })
        .collect();
    Submission { events: vec![RawEvent { origin: "noise".into(), line }], ..Submission::default() }
}

#[test]
fn a_full_disk_is_refused_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("small")) else {
        eprintln!("left out: {CYCLES} cycles on a full disk, for mounting one is not permitted here");
        return;
    };
    let options = Options { wal_bytes: 256 * 1024, ..Options::default() };
    let store = open_with(&disk.0.join("data"), options);
    let mut accepted: u64 = 0;
    for cycle in 0..CYCLES {
        disk.fill();
        let refused = std::iter::from_fn(|| match store.submit_blocking(noise(accepted)) {
            Ok(_) => {
                accepted += 1;
                Some(None)
            }
            Err(e) => Some(Some(e)),
        });
        let refused = refused.take(1_000).flatten().next();
        assert!(matches!(refused, Some(SubmitError::DiskFull { .. })), "{refused:?}");
        assert_eq!(store.log_end(), Position(accepted));
        // What is derived is not given up meanwhile: it is kept as soon as there is space.
        let found = effect(cycle + 1, 0, Record::Detection(detection(&cycle.to_string(), Severity::High, "192.0.2.7")));
        let projecting = store.project(Position(cycle + 1), &[found]).unwrap();
        disk.free();
        store.submit_blocking(noise(accepted)).expect("there is space again");
        accepted += 1;
        projecting.wait().unwrap();
        assert_eq!(store.count(RecordKind::Detection, &Filter::default()).unwrap(), cycle + 1);
    }
    assert!(store.stats().disk_full.load(Ordering::Relaxed) >= CYCLES);
    check(&store, accepted);
    store.close().unwrap();
    drop(store);
    check(&open_with(&disk.0.join("data"), options), accepted);
}

fn check(store: &Store, accepted: u64) {
    assert_eq!(store.verify().expect("all of it is whole").positions, accepted);
    for n in 0..accepted {
        let (_, found) = store.event(0, Position(n + 1)).expect("it is whole").expect("it is there");
        assert!(found == noise(n).events[0], "event {n} is another one");
    }
}
