//! What becomes of second thoughts: verdicts, releases, failures, threats that turn out to be one.

use super::story::{GUESS, ask, check, playbooks};

#[test]
fn a_false_positive_takes_everything_back_the_latest_first() {
    for word in ["false_positive", "benign"] {
        let judged = if word == "benign" { "benign" } else { "a false positive" };
        check(
            &playbooks(&[GUESS]),
            &format!(
                "
                0 threat guess medium 0.9 ip=203.0.113.9
                1 approve 1/block by ana
                2 verdict 1 confirmed by bob
                3 verdict 1 {word} by bob
                4 verdict 1 {word} by bob
                5 approve 1/decoy by ana
                6 release 1/block by ana
                7 tick
                "
            ),
            &format!(
                "
                0 run 1/a waits: slow simulated; block asked; decoy pending
                0 hold 1/slow 203.0.113.9 until 600 reflex
                0 ask 1/block until 300: Block 203.0.113.9?
                1 run 1/a waits: slow simulated; block simulated; decoy asked
                1 question 1/block approved by ana
                1 hold 1/block 203.0.113.9 until 3601 durable
                1 ask 1/decoy until 301: Decoy for 203.0.113.9?
                3 run 1/a rolled back (bob judged the threat {judged}): slow released; block released; decoy skipped (bob judged the threat {judged})
                3 question 1/decoy cancelled
                3 let go 1/block 203.0.113.9 by bob: bob judged the threat {judged}
                3 let go 1/slow 203.0.113.9 by bob: bob judged the threat {judged}
                5 no: question 1/decoy is no longer open: it was cancelled
                6 no: containment 1/block holds nobody any more: bob released it
                "
            ),
        );
    }
}

#[test]
fn a_playbook_that_does_not_roll_back_keeps_what_it_holds_and_asks_no_more() {
    let text = GUESS.to_owned() + "rollback: {enabled: false}\n";
    check(
        &playbooks(&[&text]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 verdict 1 false_positive by bob
        2 verdict 1 false_positive by bob
        3 release 1/slow by bob
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.9 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.9?
        1 run 1/a ended: slow simulated; block skipped (bob judged the threat a false positive); decoy skipped (bob judged the threat a false positive)
        1 question 1/block cancelled
        3 run 1/a ended: slow released; block skipped (bob judged the threat a false positive); decoy skipped (bob judged the threat a false positive)
        3 let go 1/slow 203.0.113.9 by bob: by hand
        ",
    );
}

#[test]
fn a_release_by_hand_takes_the_run_back_and_it_does_not_come_again() {
    check(
        &playbooks(&[GUESS]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 release 1/nothing by bob
        2 release 1/slow by bob
        3 release 1/slow by bob
        4 threat guess critical 0.9 ip=203.0.113.9 detections=99
        5 quiet guess critical 0.9 ip=203.0.113.9 detections=99 reopened=1
        6 threat guess critical 0.9 ip=203.0.113.9 detections=100 reopened=1
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.9 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.9?
        1 no: there is no containment ?
        2 run 1/a rolled back (by hand): slow released; block skipped (by hand); decoy skipped (by hand)
        2 question 1/block cancelled
        2 let go 1/slow 203.0.113.9 by bob: by hand
        3 no: containment 1/slow holds nobody any more: bob released it
        6 run 1/a waits: slow simulated; block asked; decoy pending
        6 hold 1/slow 203.0.113.9 until 606 reflex
        6 ask 1/block until 306: Block 203.0.113.9?
        ",
    );
}

#[test]
fn a_failure_takes_the_run_back_where_the_playbook_says_so() {
    let text = GUESS.replace("    hotl_prompt: \"Block", "    on_failure: rollback\n    hotl_prompt: \"Block");
    check(
        &playbooks(&[&text]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 deny 1/block by ana
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.9 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.9?
        1 run 1/a rolled back (`block` was denied): slow released; block denied (ana said no); decoy skipped (`block` was denied)
        1 question 1/block denied by ana
        1 let go 1/slow 203.0.113.9 by vertice: `block` was denied
        ",
    );
}

#[test]
fn a_failure_does_not_stop_what_goes_on_without_it() {
    let text = GUESS.replace("    hotl_prompt: \"Block", "    on_failure: continue\n    hotl_prompt: \"Block");
    check(
        &playbooks(&[&text]),
        "
        0 threat guess medium 0.9 ip=203.0.113.9
        1 deny 1/block by ana
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.9 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.9?
        1 run 1/a waits: slow simulated; block denied (ana said no); decoy asked
        1 question 1/block denied by ana
        1 ask 1/decoy until 301: Decoy for 203.0.113.9?
        ",
    );
}

#[test]
fn two_threats_that_are_one_have_one_run() {
    check(
        &playbooks(&[GUESS]),
        "
        0 threat guess medium 0.9 ip=203.0.113.1
        1 threat guess medium 0.9 ip=203.0.113.2 id=2
        2 merge 2 into 1
        3 merge 1 into 1
        4 merge 7 into 1
        5 threat guess medium 0.9 ip=203.0.113.1 detections=5
        6 verdict 1 false_positive by ana
        ",
        "
        0 run 1/a waits: slow simulated; block asked; decoy pending
        0 hold 1/slow 203.0.113.1 until 600 reflex
        0 ask 1/block until 300: Block 203.0.113.1?
        1 run 2/a waits: slow simulated; block asked; decoy pending
        1 hold 2/slow 203.0.113.2 until 601 reflex
        1 ask 2/block until 301: Block 203.0.113.2?
        2 run 1/a ended: slow simulated; block skipped (its threat became one with 1, for which `a` runs already); decoy skipped (its threat became one with 1, for which `a` runs already)
        2 hold 1/slow 203.0.113.2 until 601 reflex
        2 question 1/block superseded
        6 run 1/a rolled back (ana judged the threat a false positive): slow released; block skipped (its threat became one with 1, for which `a` runs already); decoy skipped (its threat became one with 1, for which `a` runs already)
        6 let go 1/slow 203.0.113.2 by ana: ana judged the threat a false positive
        6 run 1/a rolled back (ana judged the threat a false positive): slow released; block skipped (ana judged the threat a false positive); decoy skipped (ana judged the threat a false positive)
        6 question 1/block cancelled
        6 let go 1/slow 203.0.113.1 by ana: ana judged the threat a false positive
        ",
    );
}

#[test]
fn a_merged_threat_keeps_its_run_where_the_other_has_none() {
    check(
        &playbooks(&[&ask("deny", "")]),
        "
        1 threat guess medium 0.9 ip=203.0.113.2 id=2
        2 merge 2 into 1
        3 approve 1/block by ana
        4 threat guess medium 0.9 ip=203.0.113.2 detections=3
        ",
        "
        1 run 2/a waits: block asked
        1 ask 2/block until 61: Block 203.0.113.2?
        2 run 1/a waits: block asked
        2 ask 1/block until 61: Block 203.0.113.2?
        3 run 1/a ended: block simulated
        3 question 1/block approved by ana
        3 hold 1/block 203.0.113.2 until 3603 durable
        ",
    );
}

#[test]
fn what_can_not_be_undone_stays_and_what_is_only_said_is_taken_back() {
    let more = r#"  - id: tell
    type: notification
    parameters: {channel: slack, message: "about ${source_ip}"}
  - id: end_sessions
    type: session_termination
    irreversible: true
    hotl_required: true
    hotl_prompt: "End the sessions of ${source_ip}?"
    parameters: {source_ip: "${source_ip}"}
"#;
    check(
        &playbooks(&[&ask("deny", more)]),
        "
        0 threat guess medium 0.9 ip=203.0.113.2
        1 approve 1/end_sessions by ana
        2 verdict 1 benign by ana
        ",
        "
        0 run 1/a waits: block asked; tell simulated; end_sessions asked
        0 ask 1/block until 60: Block 203.0.113.2?
        0 ask 1/end_sessions until 300: End the sessions of 203.0.113.2?
        1 run 1/a waits: block asked; tell simulated; end_sessions simulated
        1 question 1/end_sessions approved by ana
        2 run 1/a rolled back (ana judged the threat benign): block skipped (ana judged the threat benign); tell released; end_sessions simulated
        2 question 1/block cancelled
        ",
    );
}

#[test]
fn several_playbooks_answer_one_threat_each_for_itself() {
    check(
        &playbooks(&[&ask("deny", ""), &ask("deny", "")]),
        "
        0 threat guess medium 0.9 ip=203.0.113.2
        1 approve 1/b.block by ana
        ",
        "
        0 run 1/a waits: block asked
        0 ask 1/a.block until 60: Block 203.0.113.2?
        0 run 1/b waits: block asked
        0 ask 1/b.block until 60: Block 203.0.113.2?
        1 run 1/b ended: block simulated
        1 question 1/b.block approved by ana
        1 hold 1/b.block 203.0.113.2 until 3601 durable
        ",
    );
}
