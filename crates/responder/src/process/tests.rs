use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use vertice_model::{Action, Outcome, Task, Timestamp};
use vertice_testkit::Random;

use super::*;
use crate::testing::{World, done, here, order, refused};

/// A process of ours, which is ended with it.
struct Spawned(Child);

impl Spawned {
    fn new(program: &Path) -> Spawned {
        Spawned(Command::new(program).arg("1000").spawn().unwrap())
    }

    fn process(&self) -> Process {
        Process::read(self.0.id()).unwrap()
    }

    fn alive(&self) -> bool {
        !self.process().dead
    }

    /// Waits for its end, and says by which signal.
    fn signal(mut self) -> Option<i32> {
        self.0.wait().unwrap().signal()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program of a name that nothing else on this machine has.
fn program(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    std::fs::copy("/bin/sleep", &path).unwrap();
    path
}

fn kill(process: Option<&str>, pid: Option<u32>, seen_at: Timestamp) -> KillProcess {
    KillProcess { target_host: here(), process: process.map(str::to_owned), pid, seen_at }
}

/// Half a tick after a process began: the two clocks that this is reckoned from are not read at one instant, so a time
/// that is reckoned twice differs by some microseconds.
fn after(process: &Process) -> Timestamp {
    Timestamp::from_micros(process.started_at().as_micros() + 5_000)
}

/// Processes of a program until one began a tick later than another: then no luck decides who is the younger.
fn younger_than(program: &Path, other: &Process) -> Spawned {
    loop {
        let spawned = Spawned::new(program);
        if spawned.process().started > other.started {
            return spawned;
        }
    }
}

#[test]
fn exactly_the_process_that_was_seen_is_ended() {
    let world = World::new();
    let sleep = program(&world, "vertice-victim-one");
    let (victim, other) = (Spawned::new(&sleep), Spawned::new(&sleep));
    let seen = after(&victim.process());
    for name in [None, Some("vertice-victim-one"), Some("vertice-victim-"), sleep.to_str()] {
        let action = kill(name, Some(victim.0.id()), seen);
        assert_eq!(choose(&action).unwrap(), [Victim::of(&victim.process())], "{name:?}");
    }
    let action = Action::KillProcess(kill(None, Some(victim.0.id()), seen));
    let receipt = world.apply(action.clone());
    done(&receipt, "process_gone");
    assert!(receipt.note.contains(&victim.0.id().to_string()), "{}", receipt.note);
    assert!(!victim.alive() && other.alive());
    // Once more, as after a crash: there is nothing to do. And nothing is remembered any longer.
    assert_eq!(world.carry(&order(Task::Apply, action), true).outcome, Outcome::Already);
    assert_eq!(std::fs::read_dir(world.path("keep")).unwrap().count(), 0);
    assert_eq!(victim.signal(), Some(9));
}

#[test]
fn another_process_with_the_same_number_is_left_alone() {
    let world = World::new();
    let sleep = program(&world, "vertice-victim-two");
    let (victim, seen_before) = (Spawned::new(&sleep), Timestamp::from_seconds(1));
    let (pid, seen) = (victim.0.id(), after(&victim.process()));
    let just_before = Timestamp::from_micros(seen.as_micros() - 20_000);
    for early in [seen_before, just_before] {
        let receipt = world.apply(Action::KillProcess(kill(None, Some(pid), early)));
        assert!(refused(&receipt).contains("given to another process"), "{receipt:?}");
    }
    for name in ["vertice-victim-three", "/bin/sleep", "sleep", "victim", ""] {
        let receipt = world.apply(Action::KillProcess(kill(Some(name), Some(pid), seen)));
        assert!(refused(&receipt).contains("is left alone"), "{name}: {receipt:?}");
    }
    let mut elsewhere = kill(None, Some(pid), seen);
    elsewhere.target_host = "db9.invalid".to_owned();
    assert!(refused(&world.apply(Action::KillProcess(elsewhere))).contains("remote_command"));
    assert!(victim.alive());
}

#[test]
fn a_remembered_process_is_told_from_the_next_one_of_its_number() {
    let world = World::new();
    let sleep = program(&world, "vertice-victim-six");
    let victim = Spawned::new(&sleep);
    let was = Victim::of(&victim.process());
    let next = Victim { started: was.started - 1, ..was };
    assert!(was.alive() && !next.alive());
    end(&[next], &Deadline::after(5).unwrap()).unwrap();
    assert!(victim.alive(), "a start time that differs means another process");
    // What was chosen before the machine was started anew means nobody now.
    let action = kill(None, Some(victim.0.id()), Timestamp::from_seconds(1));
    let chosen = Chosen { boot: "another".to_owned(), victims: vec![was] };
    world.keep().put(&name_of("kill", &action), &chosen).unwrap();
    assert!(refused(&world.apply(Action::KillProcess(action))).contains("given to another process"));
    assert!(victim.alive());
}

#[test]
fn by_its_name_every_one_that_began_before_is_ended() {
    let world = World::new();
    let sleep = program(&world, "vertice-victim-many");
    let victims: Vec<Spawned> = (0..3).map(|_| Spawned::new(&sleep)).collect();
    let last = victims[2].process();
    let younger = younger_than(&sleep, &last);
    let receipt = world.apply(Action::KillProcess(kill(Some("vertice-victim-many"), None, after(&last))));
    done(&receipt, "process_gone");
    assert!(receipt.note.starts_with("3 processes"), "{}", receipt.note);
    assert!(younger.alive());
    for victim in victims {
        assert_eq!(victim.signal(), Some(9));
    }
    let again = world.apply(Action::KillProcess(kill(Some("no-such-program"), None, after(&last))));
    done(&again, "process_gone");
    assert_eq!(again.note, "no such process was left");
}

#[test]
fn the_first_process_ourselves_and_the_kernel_are_never_ended() {
    let world = World::new();
    let late = Timestamp::from_micros(i64::MAX);
    let me = Process::read(std::process::id()).unwrap();
    let kernel = Process::all().into_iter().find(|p| p.kernel).map(|p| p.pid);
    for pid in [Some(1), Some(me.pid), Some(me.parent), kernel].into_iter().flatten() {
        let receipt = world.apply(Action::KillProcess(kill(None, Some(pid), late)));
        assert!(refused(&receipt).contains("never ended"), "{pid}: {receipt:?}");
        // Nor does an observer take it for gone.
        let seen = world.hand(&order(Task::Apply, Action::KillProcess(kill(None, Some(pid), late))), |hand| {
            observe(hand, &kill(None, Some(pid), late)).unwrap()
        });
        assert_eq!(seen.held, Held::No);
    }
    let by_name = kill(std::env::current_exe().unwrap().to_str(), None, late);
    assert!(choose(&by_name).unwrap_or_default().iter().all(|v| v.pid != me.pid));
    assert!(refused(&world.apply(Action::KillProcess(kill(None, None, late)))).contains("neither"));
}

#[test]
fn killed_between_any_two_steps_it_ends_exactly_those_that_it_chose() {
    for seed in 0..20 {
        let (world, mut random) = (World::new(), Random(seed));
        let sleep = program(&world, &format!("victim-{seed}"));
        let victims: Vec<Spawned> = (0..4).map(|_| Spawned::new(&sleep)).collect();
        let last = victims[3].process();
        let younger = younger_than(&sleep, &last);
        let order = order(Task::Apply, Action::KillProcess(kill(sleep.to_str(), None, after(&last))));
        let receipt = world.carry_through_kills(&order, &mut random, || assert!(younger.alive()));
        done(&receipt, "process_gone");
        assert!(younger.alive() && victims.iter().all(|v| !v.alive()), "seed {seed}");
    }
}

#[test]
fn without_remembering_a_crash_could_end_another_one() {
    // The mutation that the file of chosen ones guards against: a victim that calls itself otherwise after the crash.
    let world = World::new();
    let sleep = program(&world, "vertice-victim-renames");
    let shell = world.path("vertice-victim-script");
    std::fs::copy("/bin/sh", &shell).unwrap();
    let script = format!("read x; exec {} 1000", sleep.display());
    let mut command = Command::new(&shell);
    let mut child = command.args(["-c", &script]).stdin(Stdio::piped()).spawn().map(Spawned).unwrap();
    let seen = after(&child.process());
    let action = kill(Some("vertice-victim-script"), None, seen);
    let order = order(Task::Apply, Action::KillProcess(action.clone()));
    assert!(world.carry_killed(&order, false, 0), "killed once it has chosen");
    child.0.stdin.take().unwrap().write_all(b"\n").unwrap();
    while child.process().executable() != Some(sleep.clone()) {
        std::thread::yield_now();
    }
    assert_eq!(choose(&action).unwrap(), [], "looking anew would not find it");
    done(&world.carry(&order, true), "process_gone");
    assert!(!child.alive(), "what was chosen is remembered");
    assert_eq!(child.signal(), Some(9));
}
