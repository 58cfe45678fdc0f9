use std::path::Path;

use vertice_model::{Action, Outcome, Task};
use vertice_testkit::Random;

use super::*;
use crate::testing::{World, done, here, is_root, order, refused};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nana:x:1500:1500::/:/bin/sh\n\
    bob:x:1501:1501::/:/bin/sh\ncid:x:1502:1502::/:/bin/sh\ndan:x:1503:1503::/:/bin/sh\neve:x:1504:1504::/:/bin/sh\n";

/// With a password; locked and with a date; without one that could be typed; with none at all; with a past date.
const SHADOW: &str = "root:*:19000:0:99999:7:::\ntoor:*:19000:0:99999:7:::\nana:$6$salt$hash:19000:0:99999:7:::\n\
    bob:!$6$salt$hash:19001:0:99999:7::30000:\ncid:*:19002:0:99999:7:::\ndan::19003:0:99999:7:::\n\
    eve:$6$salt$hash:19004:0:99999:7::100:\n";

/// A system of its own, with nothing but accounts.
fn system(world: &mut World) -> Option<()> {
    if !is_root("locking accounts in a root of their own") {
        return None;
    }
    if !Path::new("/usr/sbin/usermod").exists() {
        println!("left out, for usermod (Debian: passwd) is not there: locking accounts");
        return None;
    }
    let etc = world.path("root/etc");
    fs::create_dir_all(&etc).unwrap();
    for (name, text) in [("passwd", PASSWD), ("shadow", SHADOW), ("group", "root:x:0:\n"), ("gshadow", "")] {
        put(&etc.join(name), text);
    }
    world.settings.revoke_credentials.root = world.path("root");
    Some(())
}

fn put(path: &Path, text: &str) {
    use std::io::Write as _;
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn shadow(world: &World) -> String {
    fs::read_to_string(world.path("root/etc/shadow")).unwrap()
}

fn revoke(user: &str, host: Option<String>) -> Action {
    Action::RevokeCredentials(RevokeCredentials { user: user.to_owned(), target_host: host })
}

#[test]
fn an_account_is_locked_and_is_afterwards_just_as_it_was() {
    let mut world = World::new();
    let Some(()) = system(&mut world) else { return };
    for (user, locked) in [
        ("ana", "ana:!$6$salt$hash:19000:0:99999:7::1:"),
        ("bob", "bob:!$6$salt$hash:19001:0:99999:7::1:"),
        ("cid", "cid:!*:19002:0:99999:7::1:"),
        ("dan", "dan::19003:0:99999:7::1:"),
        ("eve", "eve:!$6$salt$hash:19004:0:99999:7::1:"),
    ] {
        for _ in 0..2 {
            let receipt = world.apply(revoke(user, None));
            done(&receipt, "account_locked");
            assert!(shadow(&world).lines().any(|line| line == locked), "{user}: {}", shadow(&world));
        }
        assert_eq!(world.carry(&order(Task::Apply, revoke(user, None)), true).outcome, Outcome::Already);
        for _ in 0..2 {
            assert_eq!(world.undo(revoke(user, None)).outcome, Outcome::Done);
            assert_eq!(shadow(&world), SHADOW, "{user}");
        }
    }
}

#[test]
fn an_account_of_two_containments_is_locked_until_the_last_one_ends() {
    let mut world = World::new();
    let Some(()) = system(&mut world) else { return };
    let (one, two) = (revoke("ana", None), revoke("ana", Some(here())));
    done(&world.apply(one.clone()), "account_locked");
    done(&world.apply(two.clone()), "account_locked");
    assert_eq!(world.undo(one).outcome, Outcome::Done);
    assert_ne!(shadow(&world), SHADOW);
    assert_eq!(world.undo(two).outcome, Outcome::Done);
    assert_eq!(shadow(&world), SHADOW);
}

#[test]
fn what_a_person_has_set_since_is_theirs() {
    let mut world = World::new();
    let Some(()) = system(&mut world) else { return };
    done(&world.apply(revoke("ana", None)), "account_locked");
    put(
        &world.path("root/etc/shadow"),
        &SHADOW.replace("ana:$6$salt$hash:19000:0:99999:7:::", "ana:new:1:0:9:7::20000:"),
    );
    assert_eq!(world.undo(revoke("ana", None)).outcome, Outcome::Done);
    assert!(shadow(&world).contains("ana:new:1:0:9:7::20000:"), "{}", shadow(&world));
}

#[test]
fn who_is_never_locked_and_what_is_missing_is_said() {
    let mut world = World::new();
    let Some(()) = system(&mut world) else { return };
    for (user, part) in
        [("root", "never touched"), ("toor", "never locked"), ("zed", "remote_command"), ("-R", "no local")]
    {
        let receipt = world.apply(revoke(user, None));
        assert!(refused(&receipt).contains(part), "{user}: {receipt:?}");
    }
    assert!(refused(&world.apply(revoke("ana", Some("db9.invalid".into())))).contains("not this machine"));
    world.settings.revoke_credentials.usermod = "/no/such/usermod".into();
    let receipt = world.apply(revoke("ana", None));
    let missing = refused(&receipt);
    assert!(missing.contains("/no/such/usermod") && missing.contains("is it installed?"), "{missing}");
    // A program that fails half-way: nothing has changed, and it is said what it said.
    let broken = world.path("broken");
    put(&broken, "#!/bin/sh\necho cannot lock /etc/passwd >&2\nexit 1\n");
    fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.settings.revoke_credentials.usermod = broken;
    let receipt = world.apply(revoke("ana", None));
    assert!(matches!(&receipt.outcome, Outcome::Failed { reason, retry: true } if reason.contains("cannot lock")));
    assert_eq!(shadow(&world), SHADOW);
}

#[test]
fn killed_between_any_two_steps_it_is_locked_once_and_back_once() {
    for seed in 0..20 {
        let (mut world, mut random) = (World::new(), Random(seed));
        let Some(()) = system(&mut world) else { return };
        let user = ["ana", "bob", "cid", "dan", "eve"][random.below(5)];
        let (apply, undo) = (order(Task::Apply, revoke(user, None)), order(Task::Undo, revoke(user, None)));
        // Its line is the one before or the one after, and never another one.
        let before = line(&world, user);
        done(&world.carry(&apply, false), "account_locked");
        let after = line(&world, user);
        assert_eq!(world.carry(&undo, false).outcome, Outcome::Done);
        let whole = || assert!([&before, &after].contains(&&line(&world, user)), "seed {seed}: {}", line(&world, user));
        done(&world.carry_through_kills(&apply, &mut random, whole), "account_locked");
        assert_eq!(line(&world, user), after);
        assert_eq!(world.carry_through_kills(&undo, &mut random, whole).outcome, Outcome::Done);
        assert_eq!(shadow(&world), SHADOW, "seed {seed}");
    }
}

fn line(world: &World, user: &str) -> String {
    let text = shadow(world);
    text.lines().find(|l| l.starts_with(&format!("{user}:"))).unwrap().to_owned()
}

#[test]
fn the_files_of_accounts_are_read() {
    assert_eq!(
        (number_of(PASSWD, "ana"), number_of(PASSWD, "an"), number_of("ana:x", "ana")),
        (Some(1500), None, None)
    );
    assert_eq!(state_in(SHADOW, "bob").unwrap(), State { password: Password::Locked, expires: "30000".to_owned() });
    assert_eq!(state_in("bob:!", "bob"), None);
}
