//! What becomes of threats, answers and time.

use super::story::{GUESS, Teller, ask, check, playbooks};
use crate::decide::Policy;

#[test]
fn what_is_light_is_simulated_at_once_and_what_is_heavy_waits_for_a_yes() {
    check(
        &playbooks(&[GUESS]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 threat guess medium 0.9 ip=203.0.113.9 detections=2
        5 approve 1/block by ana
        6 approve 1/decoy by bob
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.9 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.9?
        5 run 1/a waits: slow simulated; block simulated; decoy asked
        5 question 1/block approved by ana
        5 hold 1/block 203.0.113.9 until 3605 durable
        5 ask 1/decoy until 305: Decoy for 203.0.113.9?
        6 run 1/a ended: slow simulated; block simulated; decoy simulated
        6 question 1/decoy approved by bob
        6 hold 1/decoy 203.0.113.9 until 7206 durable
        ",
    );
}

#[test]
fn a_no_ends_what_depends_on_it_and_is_not_asked_again() {
    check(
        &playbooks(&[GUESS]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        5 deny 1/block by ana
        700 tick
        800 threat guess medium 0.9 ip=203.0.113.9 detections=9
        900 threat guess high 0.9 ip=203.0.113.9 detections=10
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.9 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.9?
        5 run 1/a ended: slow simulated; block denied (ana said no); decoy skipped (`block` was denied)
        5 question 1/block denied by ana
        700 hold 1/slow 203.0.113.9 until 850 probation watch
        800 run 1/a ended: slow simulated; block denied (ana said no); decoy skipped (`block` was denied)
        800 hold 1/slow 203.0.113.9 until 2000 durable
        900 run 1/a waits: slow simulated; block asked; decoy pending
        900 hold 1/slow 203.0.113.9 until 1500 reflex
        900 ask 1/block until 1200: Block 203.0.113.9?
        ",
    );
}

#[test]
fn refused_late_and_unknown_answers_run_nothing() {
    check(
        &playbooks(&[GUESS]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 approve 1/nothing by ana
        2 approve 1/block by ana to another-plan
        3 deny 1/block by ana
        4 approve 1/block by mallory
        400 threat guess medium 0.9 ip=203.0.113.10 id=2
        700 approve 2/block by ana
        701 tick
        702 approve 2/block by ana
        851 tick
        1000 tick
        1150 tick
        90001 approve 2/block by ana
        90002 release 2/slow by ana
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.9 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.9?
        1 no: no question ? waits for an answer
        2 no: question 1/block is about the plan PLAN, not the one that was answered
        3 run 1/a ended: slow simulated; block denied (ana said no); decoy skipped (`block` was denied)
        3 question 1/block denied by ana
        4 no: question 1/block is no longer open: denied by ana at 2026-01-01T00:00:03Z
        400 run 2/a waits: slow simulated; block asked; decoy pending
        400 hold 2/slow 203.0.113.10 until 1000 reflex
        400 ask 2/block until 700: Block 203.0.113.10?
        700 no: question 2/block could be answered until 2026-01-01T00:11:40Z
        701 hold 1/slow 203.0.113.9 until 851 probation watch
        701 run 2/a ended: slow simulated; block denied (nobody answered within 300 s); decoy skipped (`block` was denied)
        701 question 2/block expired
        702 no: question 2/block is no longer open: nobody answered until 2026-01-01T00:11:40Z
        851 healed 1/slow 203.0.113.9: would have held 851 s, renewed 0 times, the attack came back 0 times
        1000 hold 2/slow 203.0.113.10 until 1150 probation watch
        1150 healed 2/slow 203.0.113.10: would have held 750 s, renewed 0 times, the attack came back 0 times
        90001 no: question 2/block is no longer open: nobody answered until 2026-01-01T00:11:40Z
        90002 no: containment 2/slow holds nobody any more: its lease ended at 2026-01-01T00:19:10Z
        ",
    );
}

#[test]
fn nobody_answers_and_the_answer_is_no() {
    check(
        &playbooks(&[&ask("deny", "")]),
        "
        0 threat guess critical 0.9 ip=203.0.113.9
        59 tick
        60 tick
        ",
        "
        0 run 1/a waits: block asked
        0 ask 1/block until 60: Block 203.0.113.9?
        60 run 1/a ended: block denied (nobody answered within 60 s)
        60 question 1/block expired
        ",
    );
}

#[test]
fn nobody_answers_and_it_is_asked_once_more() {
    check(
        &playbooks(&[&ask("escalate", "")]),
        "
        0 threat guess critical 0.9 ip=203.0.113.9
        70 tick
        100 threat guess critical 0.9 ip=203.0.113.10 id=2
        130 tick
        160 tick
        170 approve 2/block by ana
        ",
        "
        0 run 1/a waits: block asked
        0 ask 1/block until 60: Block 203.0.113.9?
        70 run 1/a waits: block asked
        70 question 1/block expired
        70 ask 1/block urgently until 130: Block 203.0.113.9?
        100 run 2/a waits: block asked
        100 ask 2/block until 160: Block 203.0.113.10?
        130 run 1/a ended: block denied (nobody answered within 60 s, though it was asked twice)
        130 question 1/block expired
        160 run 2/a waits: block asked
        160 question 2/block expired
        160 ask 2/block urgently until 220: Block 203.0.113.10?
        170 run 2/a ended: block simulated
        170 question 2/block approved by ana
        170 hold 2/block 203.0.113.10 until 3770 durable
        ",
    );
}

#[test]
fn nobody_answers_and_only_a_critical_threat_is_acted_upon() {
    check(
        &playbooks(&[&ask("execute", "")]),
        "
        0 threat guess critical 0.9 ip=203.0.113.9
        1 threat guess high 0.9 ip=203.0.113.10 id=2
        2 threat guess high 0.9 ip=203.0.113.11 id=3
        3 threat guess critical 0.9 ip=203.0.113.11 id=3
        4 threat guess critical 0.9 ip=203.0.113.12 id=4
        5 protect 203.0.113.12/32
        80 tick
        ",
        "
        0 run 1/a waits: block asked
        0 ask 1/block until 60: Block 203.0.113.9?
        1 run 2/a waits: block asked
        1 ask 2/block until 61: Block 203.0.113.10?
        2 run 3/a waits: block asked
        2 ask 3/block until 62: Block 203.0.113.11?
        4 run 4/a waits: block asked
        4 ask 4/block until 64: Block 203.0.113.12?
        80 run 1/a ended: block simulated
        80 question 1/block expired
        80 hold 1/block 203.0.113.9 until 3680 durable
        80 run 2/a ended: block denied (nobody answered within 60 s, and the threat is not critical)
        80 question 2/block expired
        80 run 3/a ended: block simulated
        80 question 3/block expired
        80 hold 3/block 203.0.113.11 until 3680 durable
        80 run 4/a ended: block refused (address 203.0.113.12 is protected, for it is ours)
        80 question 4/block expired
        ",
    );
}

#[test]
fn the_protected_are_not_touched_not_even_with_a_yes_that_came_before() {
    check(
        &playbooks(&[GUESS]),
        "
        0 protect 198.51.100.0/24
        1 threat guess medium 0.9 ip=198.51.100.7
        2 threat guess medium 0.9 ip=203.0.113.9 id=2
        3 protect 203.0.113.9/32
        4 approve 2/block by ana
        5 threat guess medium 0.9 ip=0.0.0.0 id=3
        6 threat guess medium 0.9 ip=::ffff:127.0.0.1 id=4
        ",
        "
        1 run 1/a ended: slow refused (address 198.51.100.7 is protected, for it is ours); block skipped (`slow` was refused); decoy skipped (`block` was left out)
        2 run 2/a waits: slow simulated; block asked; decoy pending
        2 hold 2/slow 203.0.113.9 until 602 reflex
        2 ask 2/block until 302: Block 203.0.113.9?
        4 run 2/a ended: slow simulated; block refused (address 203.0.113.9 is protected, for it is ours); decoy skipped (`block` was refused)
        4 question 2/block approved by ana
        5 run 3/a ended: slow refused (address 0.0.0.0 is never touched, for it stands for all addresses); block skipped (`slow` was refused); decoy skipped (`block` was left out)
        6 run 4/a ended: slow refused (address 127.0.0.1 is never touched, for it is this host itself); block skipped (`slow` was refused); decoy skipped (`block` was left out)
        ",
    );
}

#[test]
fn the_blast_radius_is_spent_and_comes_back_after_an_hour() {
    let playbooks = playbooks(&[GUESS]);
    let mut teller = Teller::new(&playbooks, Policy { entities_per_hour_max: 2, ..Policy::default() });
    let got = teller.tell(
        "
        0 threat guess medium 0.9 ip=203.0.113.1
        1 threat guess medium 0.9 ip=203.0.113.2 id=2
        2 threat guess medium 0.9 ip=203.0.113.3 id=3
        3 threat guess medium 0.9 ip=203.0.113.1 id=4
        4 threat guess medium 0.9 ip=203.0.113.3 id=3 detections=2
        400 tick
        3601 threat guess medium 0.9 ip=203.0.113.3 id=3 detections=2
        4001 threat guess medium 0.9 ip=203.0.113.3 id=3 detections=3
        ",
    );
    let runs: Vec<_> = got.lines().filter(|l| l.contains(" run ")).collect();
    assert_eq!(
        runs,
        [
            "0 run 1/a waits: slow simulated; block asked; decoy pending",
            "1 run 2/a waits: slow simulated; block asked; decoy pending",
            "2 run 3/a waits: slow asked; block pending; decoy pending",
            "3 run 4/a waits: slow simulated; block asked; decoy pending",
            "400 run 1/a ended: slow simulated; block denied (nobody answered within 300 s); \
             decoy skipped (`block` was denied)",
            "400 run 2/a ended: slow simulated; block denied (nobody answered within 300 s); \
             decoy skipped (`block` was denied)",
            "400 run 3/a ended: slow denied (nobody answered within 300 s); block skipped (`slow` was denied); \
             decoy skipped (`block` was left out)",
            "400 run 4/a ended: slow simulated; block denied (nobody answered within 300 s); \
             decoy skipped (`block` was denied)",
            "4001 run 3/a waits: slow simulated; block asked; decoy pending",
        ]
    );
    let asked = "2 ask 3/slow until 302: May `slow` (firewall_rule) be done on 203.0.113.3 for 600 s? It is asked because \
                 the blast radius is spent: 2 of 2 entities were touched within the hour.";
    assert!(got.contains(asked), "{got}");
}

#[test]
fn a_person_may_go_beyond_the_blast_radius_and_silence_may_not() {
    let playbooks = playbooks(&[&ask("execute", "")]);
    let mut teller = Teller::new(&playbooks, Policy { entities_per_hour_max: 1, ..Policy::default() });
    let got = teller.tell(
        "
        0 threat guess critical 0.9 ip=203.0.113.1
        1 threat guess critical 0.9 ip=203.0.113.2 id=2
        2 threat guess critical 0.9 ip=203.0.113.3 id=3
        3 approve 1/block by ana
        4 approve 2/block by ana
        90 tick
        ",
    );
    let ended: Vec<_> = got.lines().filter(|l| l.contains(" ended")).collect();
    assert_eq!(
        ended,
        [
            "3 run 1/a ended: block simulated",
            "4 run 2/a ended: block simulated",
            "90 run 3/a ended: block refused (the blast radius is spent: 2 of 1 entities were touched within the hour)",
        ]
    );
}

#[test]
fn a_lease_longer_than_the_policy_allows_is_refused() {
    let playbooks = playbooks(&[GUESS]);
    let mut teller = Teller::new(&playbooks, Policy { lease_s_max: 300, ..Policy::default() });
    let got = teller.tell("0 threat guess medium 0.9 ip=203.0.113.1");
    assert!(got.contains("slow refused (its lease of 600 s is longer than the 300 s that are allowed)"), "{got}");
}

#[test]
fn it_heals_comes_back_for_longer_and_runs_again_only_if_the_threat_goes_on() {
    let text = GUESS.split("  - id: block").next().unwrap();
    check(
        &playbooks(&[text]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        10 threat guess medium 0.9 ip=203.0.113.9 detections=5
        599 tick
        600 tick
        601 threat guess medium 0.9 ip=203.0.113.9 detections=5
        602 threat guess medium 0.9 ip=203.0.113.9 detections=6
        1802 tick
        2102 tick
        2102 threat guess medium 0.9 ip=203.0.113.9 detections=6
        2103 threat guess medium 0.9 ip=203.0.113.9 detections=7
        ",
        "
        0 run 1/a ended: slow simulated
        0 hold 1/slow 203.0.113.9 until 600 reflex
        600 hold 1/slow 203.0.113.9 until 750 probation watch
        602 run 1/a ended: slow simulated
        602 hold 1/slow 203.0.113.9 until 1802 durable
        1802 hold 1/slow 203.0.113.9 until 2102 probation watch
        2102 healed 1/slow 203.0.113.9: would have held 2102 s, renewed 0 times, the attack came back 1 times
        2103 run 1/a ended: slow simulated
        2103 hold 1/slow 203.0.113.9 until 2703 reflex
        ",
    );
}

#[test]
fn two_waiting_questions_do_not_cross() {
    check(
        &playbooks(&[&ask("deny", "")]),
        "
        0 threat guess medium 0.9 ip=203.0.113.1
        0 threat guess medium 0.9 ip=203.0.113.2 id=2
        1 deny 2/block by ana
        2 approve 1/block by ana
        ",
        "
        0 run 1/a waits: block asked
        0 ask 1/block until 60: Block 203.0.113.1?
        0 run 2/a waits: block asked
        0 ask 2/block until 60: Block 203.0.113.2?
        1 run 2/a ended: block denied (ana said no)
        1 question 2/block denied by ana
        2 run 1/a ended: block simulated
        2 question 1/block approved by ana
        2 hold 1/block 203.0.113.1 until 3602 durable
        ",
    );
}

#[test]
fn an_answer_to_one_question_with_the_plan_of_another_is_void() {
    let playbooks = playbooks(&[&ask("deny", "")]);
    let mut teller = Teller::new(&playbooks, Policy::default());
    teller.tell("0 threat guess medium 0.9 ip=203.0.113.1\n0 threat guess medium 0.9 ip=203.0.113.1 id=2");
    // The same address for the same reason: still each plan is its own.
    let got = teller.tell("1 approve 1/block by ana to 2");
    assert!(got.starts_with("1 no: question 1/block is about the plan"), "{got}");
}

#[test]
fn what_the_threat_does_not_tell_is_told_once_and_tried_again() {
    let text = GUESS.replace("[source_ip]", "[source_ip, target_host, user]");
    check(
        &playbooks(&[&text]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 threat guess medium 0.9 ip=203.0.113.9 detections=2
        2 threat guess medium 0.9 ip=203.0.113.9 host=web1
        3 threat guess medium 0.9 ip=203.0.113.9 host=web1 user=ana
        ",
        "
        0 run 1/a refused (the threat does not tell `target_host`, `user`):
        2 run 1/a refused (the threat does not tell `user`):
        3 run 1/a waits: slow simulated; block asked; decoy pending
        3 hold 1/slow 203.0.113.9 until 603 reflex
        3 ask 1/block until 303: Block 203.0.113.9?
        ",
    );
}

#[test]
fn a_threat_below_the_thresholds_or_not_open_starts_nothing() {
    check(
        &playbooks(&[GUESS]),
        "
        0 threat guess low 0.9 ip=203.0.113.9
        1 threat guess high 0.4 ip=203.0.113.9
        2 threat other high 0.9 ip=203.0.113.9
        3 quiet guess high 0.9 ip=203.0.113.9
        4 tick
        5 verdict 1 false_positive by ana
        ",
        "",
    );
}
