//! What happens at the bounds, and to targets that are none.

use vertice_model::{Entity, RunState, StepState, ThreatId};

use super::brief::{start, threat};
use super::story::{ask, check, playbooks};
use crate::decide::spent::Spent;
use crate::decide::{Change, Policy, Responses};
use crate::limits;

/// One action that nobody is asked about.
fn one(action_type: &str, parameters: &str) -> String {
    format!(
        "name: One\nversion: '1'\ntrigger: {{condition: guess, severity_threshold: low, confidence_threshold: 0.5}}\n\
         context_requirements: [source_ip, user, title]\nactions:\n  - id: it\n    type: {action_type}\n    \
         parameters: {{{parameters}}}\n"
    )
}

#[test]
fn runs_that_are_alive_and_questions_that_wait_are_bounded() {
    let playbooks = playbooks(&[&ask("deny", ""), &one("traffic_capture", "target_ip: '${source_ip}', duration: 1h")]);
    let mut responses = Responses::default();
    let mut threat = threat("guess high 0.9 ip=203.0.113.9 user=ana");
    let mut refused = 0;
    for n in 0..limits::RUNS_ALIVE_MAX {
        threat.threat_id = ThreatId::derive(&n.to_string());
        for change in responses.consider(start(), &threat, &playbooks, &Policy::default()) {
            if let Change::Run(run) = change
                && let StepState::Refused { reason } = &run.steps[0].state
            {
                assert_eq!((reason.as_str(), run.state), ("1000 questions wait already", RunState::Ended));
                refused += 1;
            }
        }
    }
    // Every threat has a capture that is alive; the first thousand have a question beside.
    assert_eq!(responses.questions_waiting(), limits::QUESTIONS_WAITING_MAX);
    let alive = responses.containments().count() + responses.questions_waiting();
    assert_eq!(alive, limits::RUNS_ALIVE_MAX);
    assert_eq!(responses.turned_away(), 2 * 1_000);
    assert_eq!(refused + limits::QUESTIONS_WAITING_MAX, limits::RUNS_ALIVE_MAX - 1_000);
    assert_eq!(responses.next_due(), Some(start().plus_seconds(60)));
}

#[test]
fn runs_that_are_over_and_threats_that_are_past_are_forgotten() {
    let playbooks = playbooks(&[&one("notification", "channel: slack, message: m")]);
    let mut responses = Responses::default();
    let mut threat = threat("guess high 0.9 ip=203.0.113.9 user=ana");
    for n in 0..limits::RESPONSE_THREATS_MAX + 2 {
        threat.threat_id = ThreatId::derive(&n.to_string());
        let now = start().plus_seconds(n as u64 / 1_000);
        assert_eq!(responses.consider(now, &threat, &playbooks, &Policy::default()).len(), 1);
    }
    assert!(responses.runs_kept() <= limits::RUNS_OVER_MAX + 1);
    assert!(responses.threats_kept() <= limits::RESPONSE_THREATS_MAX);
    // The latest is still known, so nothing is told of it twice; the first is not.
    assert_eq!(responses.consider(start(), &threat, &playbooks, &Policy::default()), []);
    responses.expire(start().plus_seconds(limits::RUNS_OVER_S + 100), &Policy::default());
    assert_eq!(responses.runs_kept(), 0);
}

#[test]
fn what_can_not_be_remembered_can_not_be_touched() {
    let mut spent = Spent::default();
    let policy = Policy { entities_per_hour_max: u32::MAX, ..Policy::default() };
    let entity = |n: usize| Entity::host(&format!("h{n}")).unwrap();
    let all: Vec<_> = (0..limits::ENTITIES_REMEMBERED_MAX).map(entity).collect();
    spent.count(start(), &all);
    assert!(spent.allows(start(), &policy, &all[..1]).is_ok());
    spent.count(start(), &[entity(usize::MAX)]);
    let why = spent.allows(start(), &policy, &[entity(usize::MAX)]).unwrap_err();
    assert_eq!(why, "the blast radius is spent: 16384 of 16384 entities were touched within the hour");
    assert!(spent.allows(start().plus_seconds(3_600), &policy, &[entity(usize::MAX)]).is_ok());
}

#[test]
fn a_name_that_is_none_is_no_target() {
    check(
        &playbooks(&[&one("revoke_credentials", "user: '${user}', duration: 1h")
            .replace("    parameters", "    hotl_required: true\n    hotl_prompt: 'Lock ${user}?'\n    parameters")]),
        "
        0 threat guess high 0.9 ip=203.0.113.9 user=ana;reboot
        1 threat guess high 0.9 ip=203.0.113.9 user=-rf id=2
        2 threat guess high 0.9 ip=203.0.113.9 user=root id=3
        3 threat guess high 0.9 ip=203.0.113.9 user=corp\\ana id=4
        4 approve 4/it by bob
        5 approve 4/it by bob
        ",
        "
        0 run 1/a ended: it refused (`user` is `ana;reboot`, which is no target name without control and shell characters)
        1 run 2/a ended: it refused (`user` is `-rf`, which is no target name without control and shell characters)
        2 run 3/a ended: it refused (user root is never touched, for the system itself runs as it)
        3 run 4/a waits: it asked
        3 ask 4/it until 303: Lock corp\\ana?
        4 run 4/a ended: it simulated
        4 question 4/it approved by bob
        4 hold 4/it corp\\ana until 3604 durable
        5 no: question 4/it is no longer open: approved by bob at 2026-01-01T00:00:04Z
        ",
    );
}

#[test]
fn an_attackers_words_stay_within_their_place() {
    let text = one("http_request", "url: 'https://soar.example.org/${title}', undo_url: 'https://soar.example.org/'");
    let playbooks = playbooks(&[&text]);
    let mut threat = threat("guess high 0.9 ip=203.0.113.9 user=ana");
    threat.title = "../admin?x=${user}\u{1b}[2J".to_owned();
    let changes = Responses::default().consider(start(), &threat, &playbooks, &Policy::default());
    let [Change::Run(run)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(run.steps[0].parameters["url"], "https://soar.example.org/..%2Fadmin%3Fx%3D%24%7Buser%7D%1B%5B2J");
    assert_eq!(run.steps[0].inverse, "call the address that the playbook gives for undoing it");
}
