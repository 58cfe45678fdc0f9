//! What tests of several verbs share: a world of their own, and a process that is killed between two steps.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use vertice_engine::decide::Policy;
use vertice_model::{Action, Id, Order, Outcome, Quarantine, Receipt, Task, Timestamp};
use vertice_testkit::Random;

use crate::machine::Machine;
use crate::steps::die_after;
use crate::{Begun, Hand, Keep, Responder, Settings};

/// A responder with a data directory of its own.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) settings: Settings,
}

/// What a process is told that is to be killed on its way.
#[derive(Deserialize, Serialize)]
struct Part {
    dir: PathBuf,
    settings: Settings,
    order: Order,
    begun: bool,
    steps: u64,
}

const PART: &str = "VERTICE_TEST_PART";

/// Taken up before by a process of this machine, or not.
pub(crate) const fn taken_up(begun: bool) -> Begun {
    if begun { Begun::Here } else { Begun::No }
}

impl World {
    pub(crate) fn new() -> World {
        // In the folder itself and not through a link to it, for nothing is moved through links.
        let dir = TempDir::new().unwrap();
        assert_eq!(dir.path().canonicalize().unwrap(), dir.path());
        World { dir, settings: Settings::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn keep(&self) -> Keep {
        Keep::open(&self.path("keep")).unwrap()
    }

    pub(crate) fn carry(&self, order: &Order, begun: bool) -> Receipt {
        let responder = Responder::open(self.settings.clone(), &self.path("keep")).unwrap();
        responder.carry(order, taken_up(begun), &Policy::default(), now())
    }

    pub(crate) fn apply(&self, action: Action) -> Receipt {
        self.carry(&order(Task::Apply, action), false)
    }

    pub(crate) fn undo(&self, action: Action) -> Receipt {
        self.carry(&order(Task::Undo, action), false)
    }

    /// One verb's function, without the guard, which keeps loopback addresses out.
    pub(crate) fn hand<T>(&self, order: &Order, run: impl FnOnce(&Hand<'_>) -> T) -> T {
        run(&Hand { order, settings: &self.settings, keep: &self.keep(), now: now(), elsewhere: false })
    }

    /// Carries an order out in a process that is killed at a place between two steps. False if it came to its end.
    pub(crate) fn carry_killed(&self, order: &Order, begun: bool, steps: u64) -> bool {
        let (settings, order) = (self.settings.clone(), order.clone());
        let part = Part { dir: self.path("keep"), settings, order, begun, steps };
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "testing::a_part_is_killed_where_it_is_told", "--nocapture", "--test-threads=1"])
            .env(PART, serde_json::to_string(&part).unwrap())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        match status.signal() {
            Some(9) => true,
            None if status.success() => false,
            other => panic!("{other:?} {status:?}"),
        }
    }

    /// Carries an order out while it is killed again and again. `look` is called after every kill.
    pub(crate) fn carry_through_kills(&self, order: &Order, random: &mut Random, mut look: impl FnMut()) -> Receipt {
        let mut begun = false;
        for _ in 0..random.below(4) {
            let killed = self.carry_killed(order, begun, random.below(7) as u64);
            look();
            begun = true;
            if !killed {
                break;
            }
        }
        self.carry(order, begun)
    }
}

pub(crate) fn order(task: Task, action: Action) -> Order {
    let digest = blake3::hash(&serde_json::to_vec(&(task, &action)).unwrap()).to_hex().to_string();
    Order {
        order_id: Id::derive(&digest),
        run_id: Id::derive("run"),
        threat_id: Id::derive("threat"),
        action_id: "a".to_owned(),
        containment_id: None,
        task,
        action,
        until: None,
        success_criteria: Vec::new(),
        timeout_s: 60,
        attempt: 1,
        ordered_at: now(),
    }
}

/// What this machine is called, for actions that name a host.
pub(crate) fn here() -> String {
    Machine::read(std::path::Path::new("/")).name
}

/// The clock on the wall, for tests are about real processes and files.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec)
}

/// Whether we are root. Says what is left out where not.
pub(crate) fn is_root(left_out: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("left out, for it needs root: {left_out}");
    }
    root
}

pub(crate) fn done(receipt: &Receipt, criterion: &str) {
    assert!(matches!(receipt.outcome, Outcome::Done | Outcome::Already), "{receipt:?}");
    assert_eq!(receipt.criteria.get(criterion), Some(&true), "{receipt:?}");
}

/// Why an order failed for good.
pub(crate) fn refused(receipt: &Receipt) -> &str {
    match &receipt.outcome {
        Outcome::Failed { reason, retry: false } => reason,
        other => panic!("{other:?}"),
    }
}

/// Is a test by itself, and what the others start to have it killed.
#[test]
fn a_part_is_killed_where_it_is_told() {
    if let Ok(text) = std::env::var(PART) {
        let part: Part = serde_json::from_str(&text).unwrap();
        die_after(part.steps);
        let responder = Responder::open(part.settings, &part.dir).unwrap();
        let receipt = responder.carry(&part.order, taken_up(part.begun), &Policy::default(), now());
        println!("{receipt:?}");
        return;
    }
    let world = World::new();
    let file = world.path("x");
    std::fs::File::create(&file).unwrap();
    let action = Quarantine { target_host: here(), file_path: file.to_string_lossy().into_owned() };
    let order = order(Task::Apply, Action::Quarantine(action));
    assert!(world.carry_killed(&order, false, 0));
    assert!(file.exists(), "it was killed before the file moved");
    assert!(!world.carry_killed(&order, true, 100));
    assert!(!file.exists());
}
