//! A full disk: what comes of Kafka waits there, and comes once there is space.

use std::fs::{File, remove_file};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use vertice_testkit::Random;

use super::{Scene, ids_in_log, login, metric, metrics, record, until};

/// A small disk of its own, in memory.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path) -> Option<SmallDisk<'_>> {
        std::fs::create_dir_all(at).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=160m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|o| o.status.success()).then_some(SmallDisk(at))
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut ballast = File::create(self.0.join("ballast")).expect("a name is always free");
        let block = [0x5a_u8; 4096];
        while ballast.write_all(&block).is_ok() {}
    }

    fn free(&self) {
        remove_file(self.0.join("ballast")).expect("it is there");
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _done = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn a_full_disk_pauses_partitions_and_nothing_is_lost() {
    let Some(scene) = Scene::here() else { return };
    let data = scene.data();
    let Some(disk) = SmallDisk::mount(&data) else { return println!("left out: it needs root, to mount a small disk") };
    let server = scene.start();
    let (topic, publisher) = (scene.topic("events"), scene.publisher());
    let (mut sent, mut random) = (0, Random(17));
    let mut send = |count: usize| {
        let mut event = |n: usize| {
            let key = format!("198.51.100.{}", n % 200);
            let mut event = login(&format!("d{n}"), &key, n);
            // So long, and so hard to compress, that they need space.
            let noise: String = (0..120).map(|_| format!("{:016x}", random.number())).collect();
            event["payload"]["noise"] = noise.into();
            record(&topic, &key, event.to_string())
        };
        for from in (sent..sent + count).step_by(1_000) {
            publisher.send_blocking((from..(from + 1_000).min(sent + count)).map(&mut event).collect()).unwrap();
        }
        sent += count;
        sent
    };
    let first = send(500);
    until("the first are in the log", || ids_in_log(&server).len() == first);

    disk.fill();
    let all = send(8_000);
    let full = || metric(&metrics(&server), "vertice_store_disk_full_total").unwrap_or(0.0);
    until("the store refuses for want of space", || full() > 0.0);
    assert!(ids_in_log(&server).len() < all, "the disk is full");
    disk.free();
    until("all are in the log", || server.get("/api/v1/status")["log_end"].as_u64().unwrap() as usize > all);
    let ids = ids_in_log(&server);
    assert_eq!((ids.len(), ids.values().max()), (all, Some(&1)), "each once");
    assert!(server.memory_peak_mib() < 300, "{} MiB", server.memory_peak_mib());
    assert_eq!(server.stop(), Some(0));
    drop(disk);
}
