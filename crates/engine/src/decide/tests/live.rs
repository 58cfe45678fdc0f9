//! What is really done: orders, receipts, the stages of a containment, and whom it asks.

use super::story::{GUESS, Teller, check, playbooks};
use crate::decide::Policy;

/// A block by itself, seen to be applied; a message that nobody can look at; a host cut off, which two must allow.
const LIVE: &str = r#"
name: Live
version: "1"
trigger: {condition: guess, severity_threshold: medium, confidence_threshold: 0.5}
context_requirements: [source_ip]
actions:
  - id: block
    type: firewall_rule
    parameters: {rule_type: block, source_ip: "${source_ip}", duration: 20m}
    success_criteria: [rule_applied]
    retries: 1
  - id: tell
    type: notification
    on_failure: continue
    depends_on: [block]
    parameters: {channel: slack, message: "blocked ${source_ip}"}
"#;

const ISOLATE: &str = r#"
name: Isolate
version: "1"
trigger: {condition: guess, severity_threshold: medium, confidence_threshold: 0.5}
context_requirements: [source_ip]
actions:
  - id: cut_off
    type: zone_isolation
    hotl_required: true
    hotl_prompt: "Cut ${source_ip} off?"
    on_timeout: escalate
    parameters: {target_ip: "${source_ip}", duration: 1h}
"#;

#[test]
fn a_block_is_done_heals_by_steps_and_is_seen_to_be_gone() {
    check(
        &playbooks(&[LIVE]),
        "
        0 live firewall_rule notification
        0 threat guess medium 0.9 ip=203.0.113.9
        1 begun 1/block
        1 done 1/block
        2 done 1/tell
        1200 tick
        1201 done 1/block
        1202 undone 1/block
        1500 tick
        1501 undone 1/block
        1800 tick
        1801 undone 1/block
        1802 undone 1/block
        ",
        "
        0 run 1/a waits: block ordered; tell pending
        0 do 1/block: block until 1200 (yes by policy)
        1 run 1/a waits: block done; tell ordered
        1 hold 1/block 203.0.113.9 until 1200 reflex
        1 do 1/tell: notification (yes by policy)
        2 run 1/a ended: block done; tell done
        1200 hold 1/block 203.0.113.9 until 1500 probation reduced
        1200 do 1/block: let through 10 in 60 s until 1500 (yes by policy)
        1201 run 1/a ended: block done; tell done
        1201 hold 1/block 203.0.113.9 until 1500 probation reduced
        1201 undo 1/block: block (yes by policy)
        1202 run 1/a ended: block done; tell done
        1500 hold 1/block 203.0.113.9 until 1800 probation watch
        1500 undo 1/block: let through 10 in 60 s (yes by policy)
        1501 run 1/a ended: block done; tell done
        1800 undo 1/block: let through 10 in 60 s (yes by policy)
        1800 undo 1/block: block (yes by policy)
        1800 letting go 1/block 203.0.113.9 by vertice: its probation passed in quiet
        1801 run 1/a ended: block done; tell done
        1802 run 1/a ended: block done; tell done
        1802 healed 1/block 203.0.113.9: seen to be gone; held 1801 s, renewed 0 times, the attack came back 0 times
        ",
    );
}

#[test]
fn an_attack_that_goes_on_is_held_longer_and_one_that_comes_back_is_held_again_at_once() {
    let mut lines = String::from(
        "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.9
        1 done 1/block
        1100 threat guess medium 0.9 ip=203.0.113.9 detections=2
        1200 tick
        1201 done 1/block
        15600 tick
        15601 done 1/block
        15602 undone 1/block
        15700 threat guess medium 0.9 ip=203.0.113.9 detections=3
        15701 done 1/block
        15702 undone 1/block
        ",
    );
    let all = playbooks(&[LIVE.split("  - id: tell").next().unwrap()]);
    let mut teller = Teller::new(&all, Policy::default());
    let got = teller.tell(&lines);
    let holds: Vec<_> = got.lines().filter(|l| !l.contains(" run ")).collect();
    assert_eq!(
        holds,
        [
            "0 do 1/block: block until 1200 (yes by policy)",
            "1 hold 1/block 203.0.113.9 until 1200 reflex",
            "1200 hold 1/block 203.0.113.9 until 15600 durable",
            "1200 do 1/block: block until 15600 (yes by policy)",
            "1201 hold 1/block 203.0.113.9 until 15600 durable",
            "15600 hold 1/block 203.0.113.9 until 19200 probation reduced",
            "15600 do 1/block: let through 10 in 60 s until 19200 (yes by policy)",
            "15601 hold 1/block 203.0.113.9 until 19200 probation reduced",
            "15601 undo 1/block: block (yes by policy)",
            "15700 hold 1/block 203.0.113.9 until 44500 durable",
            "15700 do 1/block: block until 44500 (yes by policy)",
            "15701 hold 1/block 203.0.113.9 until 44500 durable",
            "15701 undo 1/block: let through 10 in 60 s (yes by policy)",
        ]
    );
    // Worse at once: a reflex is made durable without waiting for its end.
    lines = "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.7
        1 done 1/block
        2 threat guess high 0.9 ip=203.0.113.7 detections=2
        "
    .to_owned();
    let got = Teller::new(&all, Policy::default()).tell(&lines);
    assert!(got.contains("2 hold 1/block 203.0.113.7 until 14402 durable"), "{got}");
}

#[test]
fn what_failed_is_tried_again_and_what_is_not_seen_is_no_success() {
    check(
        &playbooks(&[LIVE]),
        "
        0 live firewall_rule notification
        0 threat guess medium 0.9 ip=203.0.113.9
        1 fail 1/block for now
        2 tick
        3 done 1/block but rule_applied
        4 undone 1/block
        ",
        "
        0 run 1/a waits: block ordered; tell pending
        0 do 1/block: block until 1200 (yes by policy)
        1 run 1/a waits: block ordered; tell pending
        2 run 1/a waits: block ordered; tell pending
        2 do 1/block: block until 1202 (yes by policy, try 2)
        3 run 1/a ended: block failed (it was done, and rule_applied is not to be seen); tell skipped (`block` failed)
        3 undo 1/block: block (yes by policy)
        4 run 1/a ended: block failed (it was done, and rule_applied is not to be seen); tell skipped (`block` failed)
        ",
    );
}

#[test]
fn what_nobody_can_tell_waits_for_a_person() {
    check(
        &playbooks(&[LIVE]),
        "
        0 live firewall_rule notification
        0 threat guess medium 0.9 ip=203.0.113.9
        1 done 1/block
        2 lost 1/tell
        3 resolve 1/block yes by ana
        4 resolve 1/tell no by ana
        5 resolve 1/tell yes by ana
        ",
        "
        0 run 1/a waits: block ordered; tell pending
        0 do 1/block: block until 1200 (yes by policy)
        1 run 1/a waits: block done; tell ordered
        1 hold 1/block 203.0.113.9 until 1200 reflex
        1 do 1/tell: notification (yes by policy)
        2 run 1/a waits: block done; tell unknown (we were killed)
        4 run 1/a ended: block done; tell failed (ana says that it did not happen)
        ",
    );
}

#[test]
fn a_release_is_told_as_done_only_once_it_is_seen_to_be_gone() {
    check(
        &playbooks(&[LIVE.split("  - id: tell").next().unwrap()]),
        "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.9
        1 done 1/block
        2 release 1/block by ana
        3 release 1/block by bob
        4 undone 1/block
        5 fail 1/block for now
        6 tick
        7 undone 1/block
        8 release 1/block by bob
        ",
        "
        0 run 1/a waits: block ordered
        0 do 1/block: block until 1200 (yes by policy)
        1 run 1/a ended: block done
        1 hold 1/block 203.0.113.9 until 1200 reflex
        2 run 1/a rolled back (by hand): block releasing
        2 undo 1/block: let through 10 in 60 s (yes by policy)
        2 undo 1/block: block (yes by policy)
        2 letting go 1/block 203.0.113.9 by ana: by hand
        3 no: containment 1/block holds nobody any more: ana released it, and it is being undone
        4 run 1/a rolled back (by hand): block releasing
        5 run 1/a rolled back (by hand): block releasing
        5 letting go 1/block 203.0.113.9 by ana: by hand
        6 run 1/a rolled back (by hand): block releasing
        6 undo 1/block: block (yes by policy, try 2)
        7 run 1/a rolled back (by hand): block released
        7 let go 1/block 203.0.113.9 by ana: by hand
        8 no: containment 1/block holds nobody any more: ana released it
        ",
    );
}

#[test]
fn what_is_taken_back_while_it_is_being_done_is_undone_as_soon_as_it_is_done() {
    check(
        &playbooks(&[LIVE.split("  - id: tell").next().unwrap()]),
        "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.9
        1 verdict 1 false_positive by ana
        2 done 1/block
        3 undone 1/block
        4 undone 1/block
        ",
        "
        0 run 1/a waits: block ordered
        0 do 1/block: block until 1200 (yes by policy)
        1 run 1/a rolled back (ana judged the threat a false positive): block ordered
        2 run 1/a rolled back (ana judged the threat a false positive): block releasing
        2 hold 1/block 203.0.113.9 until 1200 reflex
        2 undo 1/block: let through 10 in 60 s (yes by policy)
        2 undo 1/block: block (yes by policy)
        2 letting go 1/block 203.0.113.9 by vertice: ana judged the threat a false positive
        3 run 1/a rolled back (ana judged the threat a false positive): block releasing
        4 run 1/a rolled back (ana judged the threat a false positive): block released
        4 let go 1/block 203.0.113.9 by vertice: ana judged the threat a false positive
        ",
    );
}

#[test]
fn two_who_hold_the_same_let_go_of_it_together() {
    let all = playbooks(&[LIVE.split("  - id: tell").next().unwrap()]);
    let mut teller = Teller::new(&all, Policy::default());
    let got = teller.tell(
        "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.9
        1 done 1/block
        2 threat guess medium 0.9 ip=203.0.113.9 id=2
        3 done 2/block
        4 release 1/block by ana
        5 undone 1/block
        6 release 2/block by ana
        ",
    );
    let undone: Vec<_> = got.lines().filter(|l| l.contains(" undo ")).collect();
    assert_eq!(
        undone,
        [
            "4 undo 1/block: let through 10 in 60 s (yes by policy)",
            "6 undo 2/block: let through 10 in 60 s (yes by policy)",
            "6 undo 2/block: block (yes by policy)",
        ]
    );
}

#[test]
fn what_was_approved_as_an_observation_never_becomes_an_act() {
    check(
        &playbooks(&[ISOLATE]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 live zone_isolation
        2 approve 1/cut_off by ana
        ",
        "
        0 run 1/a waits: cut_off asked
        0 ask 1/cut_off until 300: Cut 203.0.113.9 off?
        2 run 1/a ended: cut_off simulated
        2 question 1/cut_off approved by ana
        2 hold 1/cut_off 203.0.113.9 until 3602 durable
        ",
    );
}

#[test]
fn what_is_switched_off_gives_back_and_holds_nothing_anew() {
    let got = Teller::new(&playbooks(&[LIVE.split("  - id: tell").next().unwrap()]), Policy::default()).tell(
        "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.9
        1 done 1/block
        2 live
        1199 threat guess medium 0.9 ip=203.0.113.9 detections=2
        1200 tick
        1201 done 1/block
        1202 undone 1/block
        1203 threat guess medium 0.9 ip=203.0.113.9 detections=3
        1500 tick
        ",
    );
    let holds: Vec<_> = got.lines().filter(|l| l.contains(" hold ")).collect();
    assert!(holds.iter().all(|l| !l.contains("durable")), "{got}");
    assert!(got.contains("1500 hold 1/block 203.0.113.9 until 1800 probation watch"), "{got}");
}

#[test]
fn the_highest_risk_needs_four_eyes_and_none_of_whoever_asked_for_it() {
    check(
        &playbooks(&[ISOLATE]),
        "
        0 live zone_isolation
        0 start a 1 by cleo
        1 approve 1/cut_off by cleo
        2 approve 1/cut_off by ana
        3 approve 1/cut_off by ana
        4 approve 1/cut_off by bob
        5 start a 1 by cleo
        6 start b 1 by cleo
        ",
        "
        0 run 1/a waits: cut_off asked
        0 ask 1/cut_off until 300: Cut 203.0.113.9 off?
        1 no: cleo may not answer question 1/cut_off: whoever starts a run does not approve it
        2 question 1/cut_off has ana of 2
        3 no: ana may not answer question 1/cut_off: they said yes already, and 2 different people must
        4 run 1/a waits: cut_off ordered
        4 question 1/cut_off approved by bob
        4 do 1/cut_off: zone_isolation until 3604 (yes by ana and bob)
        5 no: `a` runs for this threat already, as run RUN
        6 no: there is no playbook `b`
        ",
    );
}

#[test]
fn one_of_two_is_not_enough_and_the_second_list_is_asked() {
    let all = playbooks(&[ISOLATE]);
    let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect();
    let policy = Policy { approvers: names(&["ana"]), escalate_to: names(&["bob"]), ..Policy::default() };
    let got = Teller::new(&all, policy).tell(
        "
        0 live zone_isolation
        0 threat guess medium 0.9 ip=203.0.113.9
        1 approve 1/cut_off by bob
        2 approve 1/cut_off by ana
        300 tick
        301 approve 1/cut_off by bob
        302 approve 1/cut_off by ana (link)
        ",
    );
    let said: Vec<_> = got.lines().filter(|l| !l.contains(" run ")).collect();
    assert_eq!(
        said,
        [
            "0 ask 1/cut_off until 300: Cut 203.0.113.9 off?",
            "1 no: bob may not answer question 1/cut_off: the configuration does not name them as an approver",
            "2 question 1/cut_off has ana of 2",
            "300 question 1/cut_off expired",
            "300 ask 1/cut_off urgently until 600: Cut 203.0.113.9 off?",
            "301 question 1/cut_off has bob of 2",
            "302 question 1/cut_off approved by ana (link)",
            "302 do 1/cut_off: zone_isolation until 3902 (yes by bob and ana (link))",
        ]
    );
}

#[test]
fn operators_are_protected_as_long_as_they_are_logged_in() {
    let all = playbooks(&[GUESS]);
    let mut teller = Teller::new(&all, Policy::default());
    let got = teller.tell(
        "
        0 live firewall_rule
        0 operators 203.0.113.9 ::ffff:203.0.113.8
        1 threat guess medium 0.9 ip=203.0.113.9
        2 threat guess medium 0.9 ip=203.0.113.8 id=2
        3 operators 198.51.100.1
        4 threat guess high 0.9 ip=203.0.113.9 id=3
        ",
    );
    assert!(got.contains("1 run 1/a ended: slow refused (address 203.0.113.9 is protected, for an operator"), "{got}");
    assert!(got.contains("2 run 2/a ended: slow refused (address 203.0.113.8 is protected"), "{got}");
    assert!(got.contains("4 do 3/slow: let through 5 in 60 s"), "{got}");
}

#[test]
fn three_missteps_within_an_hour_and_everything_is_asked() {
    let all = playbooks(&[LIVE.split("  - id: tell").next().unwrap()]);
    let mut teller = Teller::new(&all, Policy::default());
    let got = teller.tell(
        "
        0 live firewall_rule
        0 threat guess medium 0.9 ip=203.0.113.1
        1 done 1/block
        2 verdict 1 false_positive by ana
        3 threat guess medium 0.9 ip=203.0.113.2 id=2
        4 done 2/block
        5 verdict 2 false_positive by ana
        6 threat guess medium 0.9 ip=203.0.113.3 id=3
        7 done 3/block
        8 verdict 3 false_positive by ana
        9 threat guess medium 0.9 ip=203.0.113.4 id=4
        4000 threat guess medium 0.9 ip=203.0.113.5 id=5
        ",
    );
    let asked = "9 ask 4/block until 309: May `block` (firewall_rule) be done on 203.0.113.4 for 1200 s? It is asked because 3 \
                 missteps within the hour: everything is asked for now.";
    assert!(got.contains(asked), "{got}");
    assert!(got.contains("4000 do 5/block: block"), "{got}");
}

#[test]
fn no_more_than_a_tenth_of_the_known_hosts_is_touched_without_a_word() {
    let text = ISOLATE.replace("source_ip", "target_host").replace("target_ip:", "target_host:");
    let text = text.replace("    hotl_required: true\n", "").replace("    on_timeout: escalate\n", "");
    let text: String = text.lines().filter(|l| !l.contains("hotl_prompt")).map(|l| format!("{l}\n")).collect();
    let all = playbooks(&[&text]);
    let got = Teller::new(&all, Policy { assets: 25, ..Policy::default() }).tell(
        "
        0 threat guess medium 0.9 host=web1
        1 threat guess medium 0.9 host=web2 id=2
        2 threat guess medium 0.9 host=web3 id=3
        ",
    );
    assert!(got.contains("1 run 2/a ended: cut_off simulated"), "{got}");
    assert!(
        got.contains("asked because 2 hosts were touched within the hour, and 10 % of the 25 known ones are 2"),
        "{got}"
    );
}
