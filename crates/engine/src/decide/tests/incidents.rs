//! What went wrong elsewhere, and does not here. Each test is named after what people complained of.

use vertice_model::{ContainmentState, QuestionState};

use super::brief::{start, threat};
use super::story::{GUESS, Teller, ask, check, playbooks};
use crate::content::ContentFile;
use crate::decide::{Change, Playbooks, Policy, Responses};

/// A block without a question.
fn block() -> String {
    GUESS.split("  - id: block").next().unwrap().replace("rate_limit", "block").replace("limit: 5/minute, ", "")
}

#[test]
fn it_banned_the_loopback_address_and_its_own_command_line_could_not_lift_the_ban() {
    let all = playbooks(&[&block()]);
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.1.2.3"] {
        let got = Teller::new(&all, Policy::default())
            .tell(&format!("0 live firewall_rule\n0 threat guess critical 1 ip={address}"));
        assert!(got.contains("is never touched, for it is this host itself") && !got.contains(" do "), "{got}");
    }
}

#[test]
fn the_automatic_undo_list_kept_only_the_first_offender() {
    let all = playbooks(&[&block()]);
    let mut teller = Teller::new(&all, Policy::default());
    let mut story = "0 live firewall_rule\n".to_owned();
    for n in 1..=40 {
        story += &format!("1 threat guess high 0.9 ip=203.0.113.{n} id={n}\n2 done {n}/slow\n");
    }
    for n in 1..=40 {
        story += &format!("3 verdict {n} benign by ana\n");
    }
    let got = teller.tell(&story);
    for n in 1..=40 {
        assert!(got.contains(&format!("3 undo {n}/slow: block")), "{n} is undone too");
    }
}

#[test]
fn it_proposed_to_block_a_whole_network_every_two_hours() {
    let text = block().replace("\"${source_ip}\"", "203.0.0.0/16");
    let file = ContentFile { path: "playbooks/range.yml".into(), text };
    let mut refused = Vec::new();
    let none = Playbooks::compile(&[&file], &mut refused);
    assert_eq!(none.iter().count(), 0);
    assert!(refused[0].reason.contains("no action touches a whole range"), "{refused:?}");
}

#[test]
fn its_rollback_returned_true_without_calling_anybody() {
    check(
        &playbooks(&[&block()]),
        "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.9
        1 done 1/slow
        2 release 1/slow by ana
        3 fail 1/slow for good
        ",
        "
        0 run 1/a waits: slow ordered
        0 do 1/slow: block until 600 (yes by policy)
        1 run 1/a ended: slow done
        1 hold 1/slow 203.0.113.9 until 600 reflex
        2 run 1/a rolled back (by hand): slow releasing
        2 undo 1/slow: let through 10 in 60 s (yes by policy)
        2 undo 1/slow: block (yes by policy)
        2 letting go 1/slow 203.0.113.9 by ana: by hand
        3 run 1/a rolled back (by hand): slow releasing
        3 letting go 1/slow 203.0.113.9 by ana: by hand
        ",
    );
}

#[test]
fn approvals_crossed_when_two_waited() {
    let all = playbooks(&[&ask("deny", "")]);
    let mut teller = Teller::new(&all, Policy::default());
    let mut story = String::new();
    for n in 1..=10 {
        story += &format!("0 threat guess high 0.9 ip=203.0.113.{n} id={n}\n");
    }
    // In an order of its own, every second one a no.
    for n in [7, 2, 10, 1, 9, 4, 3, 8, 6, 5] {
        let word = if n % 2 == 0 { "approve" } else { "deny" };
        story += &format!("1 {word} {n}/block by ana\n");
    }
    let got = teller.tell(&story);
    for n in 1..=10 {
        let held = got.contains(&format!("hold {n}/block 203.0.113.{n} "));
        assert_eq!(held, n % 2 == 0, "{n}: {got}");
        assert_eq!(got.contains(&format!("run {n}/a ended: block denied (ana said no)")), n % 2 == 1, "{n}: {got}");
    }
}

#[test]
fn it_offered_approve_after_the_question_had_expired() {
    let got = Teller::new(&playbooks(&[&ask("deny", "")]), Policy::default()).tell(
        "
        0 threat guess high 0.9 ip=203.0.113.9
        60 approve 1/block by ana
        61 tick
        62 approve 1/block by ana
        ",
    );
    assert!(got.contains("60 no: question 1/block could be answered until"), "{got}");
    assert!(got.contains("62 no: question 1/block is no longer open: nobody answered until"), "{got}");
    assert!(!got.contains(" hold "), "{got}");
}

#[test]
fn an_approval_failed_after_one_silent_minute() {
    let all = playbooks(&[GUESS]);
    let changes =
        Responses::default().consider(start(), &threat("guess high 0.9 ip=203.0.113.9"), &all, &Policy::default());
    let waits = changes.iter().find_map(|c| match c {
        Change::Question(q) if q.state == QuestionState::Pending => Some(q.expires_at.micros_since(q.asked_at)),
        Change::Question(_) | Change::Run(_) | Change::Containment(_) | Change::Act(_) => None,
    });
    assert_eq!(waits, Some(300_000_000), "it waits as long as the contract says");
    let ended =
        changes.iter().any(|c| matches!(c, Change::Containment(held) if held.state != ContainmentState::Active));
    assert!(!ended);
}
