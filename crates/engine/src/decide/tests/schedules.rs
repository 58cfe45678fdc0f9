//! Random orders of threats, answers, time, verdicts and releases: what must hold in every one of them.

use std::collections::{BTreeMap, BTreeSet};

use vertice_model::{
    Action, Containment, ContainmentId, ContainmentState, FirewallRule, FirewallVerdict, Hold, OnTimeout, Order,
    OrderId, Outcome, Principal, Question, QuestionId, QuestionState, Receipt, RunId, RunState, Severity, Stage,
    StepState, Task, Threat, ThreatId, Timestamp, VerdictKind,
};

use super::brief::{start, threat};
use super::story::playbooks;
use crate::decide::course::is_open;
use crate::decide::verb::Verb;
use crate::decide::{Answer, Change, Playbooks, Policy, Responses};

/// One question of each kind, in a chain and beside it, and steps that nobody is asked about.
const ALL_KINDS: &str = r#"
name: All kinds
version: "1"
trigger: {condition: guess, severity_threshold: low, confidence_threshold: 0.1}
context_requirements: [source_ip]
actions:
  - {id: slow, type: firewall_rule, parameters: {rule_type: rate_limit, source_ip: "${source_ip}", limit: 5/minute, duration: 10m}}
  - {id: tell, type: notification, on_failure: continue, parameters: {channel: slack, message: "about ${source_ip}"}}
  - {id: deny, type: firewall_rule, hotl_required: true, hotl_prompt: "Block ${source_ip}?", on_timeout: deny, depends_on: [slow],
     parameters: {rule_type: block, source_ip: "${source_ip}", duration: 1h}}
  - {id: escalate, type: honeypot_deployment, hotl_required: true, hotl_prompt: "Decoy?", on_timeout: escalate, approval_timeout: 60s,
     depends_on: [deny, tell], parameters: {honeypot_type: ssh, target_ip: "${source_ip}", duration: 2h}}
  - {id: execute, type: traffic_shaping, hotl_required: true, hotl_prompt: "Slower?", on_timeout: execute, on_failure: continue,
     parameters: {target_ip: "${source_ip}", limit: 1mbit, duration: 30m}}
  - {id: last, type: session_termination, irreversible: true, hotl_required: true, hotl_prompt: "End sessions?",
     depends_on: [execute], parameters: {source_ip: "${source_ip}"}}
"#;

/// Numbers that are the same for a seed every time (xorshift64*; Marsaglia 2003, Vigna 2016).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n as u64) as usize
    }
}

/// How often a long test goes round: `usual` times, ten times as often with `VERTICE_LONG=1`.
pub(super) fn rounds(usual: u64) -> u64 {
    if std::env::var_os("VERTICE_LONG").is_some() { usual * 10 } else { usual }
}

/// What was told so far, and what must be true of it.
#[derive(Default)]
struct Witness {
    questions: BTreeMap<QuestionId, Question>,
    containments: BTreeMap<ContainmentId, Containment>,
    steps: BTreeMap<(RunId, String), StepState>,
    /// The questions that a person said yes to, and those they said no to.
    yes: BTreeSet<QuestionId>,
    severity: BTreeMap<ThreatId, Severity>,
    threats: BTreeSet<ThreatId>,
    healed: usize,
}

impl Witness {
    fn see(&mut self, now: Timestamp, changes: &[Change], playbooks: &Playbooks) {
        for change in changes {
            match change {
                Change::Question(question) => self.question(question),
                Change::Containment(held) => self.containment(now, held),
                Change::Run(_) | Change::Act(_) => {}
            }
        }
        // Questions first, for a run stands before those that it asked.
        for change in changes {
            let Change::Run(run) = change else { continue };
            assert!(!run.simulated || (!run.success && run.actions_executed == 0));
            for step in &run.steps {
                let key = (run.run_id, step.action_id.clone());
                let before = self.steps.insert(key, step.state.clone()).unwrap_or(StepState::Pending);
                self.step(&run.playbook_id, step, &before, playbooks);
            }
            let open = run.steps.iter().any(|s| is_open(&s.state));
            assert!(open == (run.state == RunState::Waiting) || run.state == RunState::RolledBack, "{run:#?}");
        }
    }

    /// No step of the way is left out, and no lease grows without being told.
    fn containment(&mut self, now: Timestamp, held: &Containment) {
        let Some(before) = self.containments.insert(held.containment_id, held.clone()) else {
            assert_eq!((&held.state, held.since, held.hold), (&ContainmentState::Active, now, Hold::Full));
            // What took longer than its lease has lapsed already, as the next tick finds.
            assert!(held.lease_until > held.since || !held.simulated);
            return;
        };
        let stage = |c: &Containment| match (&c.state, c.stage, c.hold) {
            (ContainmentState::Active, Stage::Reflex, Hold::Full) => "reflex",
            (ContainmentState::Active, Stage::Durable, Hold::Full) => "durable",
            (ContainmentState::Active, Stage::Probation, Hold::Reduced) => "reduced",
            (ContainmentState::Active, Stage::Probation, Hold::Watch) => "watch",
            (ContainmentState::Releasing { healed: true, .. }, _, Hold::None) => "healing",
            (ContainmentState::Releasing { healed: false, .. }, _, Hold::None) => "releasing",
            (ContainmentState::Expired, Stage::Healed, Hold::None) => "healed",
            (ContainmentState::Released { .. }, Stage::Healed, Hold::None) => "released",
            (state, stage, hold) => panic!("{state:?} {stage:?} {hold:?}"),
        };
        let block =
            matches!(&held.action, Some(Action::FirewallRule(FirewallRule { rule: FirewallVerdict::Block, .. })));
        let (from, to) = (stage(&before), stage(held));
        let moves = match (from, to) {
            ("reflex" | "durable", "watch") => !block,
            ("reflex" | "durable", "reduced") | ("reduced", "watch") => block || from == "reduced",
            ("reflex" | "durable" | "reduced" | "watch", "durable") => true,
            ("watch", "healing" | "healed") | ("healing", "healed") => true,
            ("reflex" | "durable" | "reduced" | "watch", "releasing" | "released") => true,
            ("releasing", "released") => true,
            // A note was written on it, or its threat became one with another.
            (same, other) => same == other && !matches!(same, "healed" | "released"),
        };
        assert!(moves, "{} went from {from} to {to}", held.action_id);
        if matches!(to, "reduced" | "watch" | "healing" | "healed") && from != to && from != "healing" {
            assert!(now >= before.lease_until, "nothing is given back before its time");
        }
        self.healed += usize::from(to == "healed");
    }

    /// After time has passed, nobody is held for longer than was told.
    fn no_lease_is_outlived(&self, now: Timestamp) {
        for held in self.containments.values().filter(|c| c.state == ContainmentState::Active) {
            assert!(held.lease_until > now, "{held:#?}");
        }
    }

    fn question(&mut self, question: &Question) {
        match self.questions.insert(question.question_id, question.clone()) {
            None => assert_eq!(question.state, QuestionState::Pending),
            Some(before) => {
                assert_eq!(before.state, QuestionState::Pending, "exactly one final state: {question:#?}");
                assert_eq!(before.plan_digest, question.plan_digest);
            }
        }
        let person = matches!(question.state, QuestionState::Approved | QuestionState::Denied);
        assert_eq!(person, question.answered.is_some());
        let people: BTreeSet<_> = question.approvals.iter().map(|(who, _)| who).collect();
        assert_eq!(people.len(), question.approvals.len(), "one person counts once");
        assert_eq!(
            question.state == QuestionState::Approved,
            people.len() >= question.approvals_needed as usize,
            "{question:#?}"
        );
    }

    fn step(&self, playbook: &str, step: &vertice_model::Step, before: &StepState, playbooks: &Playbooks) {
        if step.state == *before {
            return;
        }
        let moves = match (before, &step.state) {
            (StepState::Pending, StepState::Pending | StepState::Released | StepState::Releasing) => false,
            (StepState::Pending | StepState::Asked, _) => true,
            (StepState::Simulated, StepState::Releasing | StepState::Released) => true,
            (StepState::Ordered { .. }, StepState::Ordered { .. } | StepState::Done | StepState::Releasing) => true,
            (StepState::Ordered { .. }, StepState::Failed { .. } | StepState::Unknown { .. }) => true,
            // Somebody else holds the same: there was nothing to undo.
            (StepState::Ordered { .. } | StepState::Unknown { .. }, StepState::Released) => true,
            (StepState::Unknown { .. }, StepState::Done | StepState::Failed { .. } | StepState::Releasing) => true,
            (StepState::Done, StepState::Releasing | StepState::Released) => true,
            (StepState::Releasing, StepState::Released) => true,
            // What ended stays ended: nothing is done twice, and nothing is done after a no.
            _ => false,
        };
        assert!(moves, "{} went from {before:?} to {:?}", step.action_id, step.state);
        let begins = matches!(step.state, StepState::Simulated | StepState::Ordered { .. });
        if !begins || !matches!(before, StepState::Pending | StepState::Asked) {
            return;
        }
        if playbooks.get(playbook).unwrap().asks(&step.action_id) || step.question_id.is_some() {
            let question = &self.questions[&step.question_id.unwrap()];
            let silent = question.state == QuestionState::Expired
                && question.on_timeout == OnTimeout::Execute
                && self.severity[&question.threat_id] == Severity::Critical;
            assert!(silent || self.yes.contains(&question.question_id), "{} without a yes", step.action_id);
        } else {
            assert_eq!(*before, StepState::Pending);
        }
    }
}

/// A world in which orders are carried out, by somebody who dies now and then.
#[derive(Default)]
struct World {
    /// The orders that were given, in that order, and have no receipt.
    orders: Vec<Order>,
    held: BTreeSet<Action>,
    /// How often each order was carried out.
    times: BTreeMap<OrderId, u32>,
    /// Those that began, as the log has it.
    begun: BTreeSet<OrderId>,
    /// Whether nobody writes to the log that an order begins: the mistake that the intent is there against.
    without_intent: bool,
    /// How many orders were carried out more than once.
    twice: usize,
}

impl World {
    fn take_up(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Act(order) = change {
                assert!(!order.by().0.is_empty() && !order.plan_digest().is_empty());
                self.orders.push(order.get().clone());
            }
        }
    }

    /// Carries out one order that nothing stands before, or dies half-way; then there is no receipt.
    fn act(&mut self, numbers: &mut Numbers, responses: &mut Responses) -> Option<Receipt> {
        let free = |i: &usize| !self.orders[..*i].iter().any(|earlier| self.orders[*i].waits_for(earlier));
        let free: Vec<usize> = (0..self.orders.len()).filter(free).collect();
        if free.is_empty() {
            return None;
        }
        let place = free[numbers.below(free.len())];
        let order = self.orders[place].clone();
        let (id, again) = (order.order_id, self.begun.contains(&order.order_id));
        assert_eq!(responses.awaited(id), Some(again));
        let receipt = |outcome| Receipt {
            order_id: id,
            outcome,
            criteria: order.success_criteria.iter().map(|c| (c.clone(), true)).collect(),
            note: String::new(),
        };
        let observable = order.until.is_some() || order.task == Task::Undo;
        let outcome = if again && !observable {
            Outcome::Unknown { reason: "nobody can tell".to_owned() }
        } else if again && self.held.contains(&order.action) == (order.task == Task::Apply) {
            Outcome::Already
        } else {
            if !self.without_intent {
                self.begun.insert(id);
                responses.begun(id);
            }
            match numbers.below(8) {
                // Dead before it was done, dead after it was done, failed.
                0 => return None,
                1 => {
                    self.carry_out(&order);
                    return None;
                }
                2 => Outcome::Failed { reason: "busy".to_owned(), retry: true },
                3 if order.task == Task::Apply => Outcome::Failed { reason: "no".to_owned(), retry: false },
                _ => {
                    self.carry_out(&order);
                    Outcome::Done
                }
            }
        };
        self.orders.remove(place);
        Some(receipt(outcome))
    }

    fn carry_out(&mut self, order: &Order) {
        let times = self.times.entry(order.order_id).or_default();
        *times += 1;
        self.twice += usize::from(*times == 2);
        match order.task {
            Task::Apply if order.until.is_some() => _ = self.held.insert(order.action.clone()),
            Task::Apply => {}
            Task::Undo => _ = self.held.remove(&order.action),
        }
    }
}

/// The threats of a schedule: three actors, two of whom may be one.
fn actors() -> Vec<Threat> {
    ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(i, id)| threat(&format!("guess medium 0.9 ip=203.0.113.{} id={id}", i + 1)))
        .collect()
}

/// What may happen to the threats of a schedule.
struct Schedule<'p> {
    numbers: Numbers,
    playbooks: &'p Playbooks,
    policy: Policy,
    responses: Responses,
    witness: Witness,
    world: World,
    threats: Vec<Threat>,
}

impl Schedule<'_> {
    /// What was told is true, and what was ordered is taken up.
    fn told(&mut self, now: Timestamp, changes: &[Change]) {
        self.witness.see(now, changes, self.playbooks);
        self.world.take_up(changes);
    }

    /// The process dies, and starts anew with what the log and the snapshot have.
    fn die(&mut self) {
        let kept = serde_json::to_string(&self.responses).unwrap();
        self.responses = serde_json::from_str(&kept).unwrap();
        let unfinished: BTreeSet<OrderId> = self.responses.unfinished().map(|o| o.get().order_id).collect();
        let known: BTreeSet<OrderId> = self.world.orders.iter().map(|o| o.order_id).collect();
        assert_eq!(unfinished, known);
    }

    fn act(&mut self, now: Timestamp) {
        let Some(receipt) = self.world.act(&mut self.numbers, &mut self.responses) else { return self.die() };
        let lost = matches!(receipt.outcome, Outcome::Unknown { .. });
        let changes = self.responses.receive(now, &receipt, &self.policy);
        self.told(now, &changes);
        if lost {
            let happened = self.world.times.contains_key(&receipt.order_id);
            let by = Principal("ana".to_owned());
            let changes = self.responses.resolve(now, receipt.order_id, happened, &by, &self.policy);
            self.told(now, &changes);
            assert_eq!(self.responses.resolve(now, receipt.order_id, happened, &by, &self.policy), []);
        }
    }

    fn step(&mut self, now: Timestamp) {
        let by = Principal(["ana", "bob"][self.numbers.below(2)].to_owned());
        let i = self.numbers.below(self.threats.len());
        let changes = match self.numbers.below(18) {
            0..3 => {
                let threat = &mut self.threats[i];
                threat.detections += 1;
                if self.numbers.below(4) == 0 {
                    threat.severity = threat.severity.raised();
                }
                self.witness.severity.insert(threat.threat_id, threat.severity);
                self.witness.threats.insert(threat.threat_id);
                self.responses.consider(now, threat, self.playbooks, &self.policy)
            }
            3..8 => self.answer(now, &by),
            8 => {
                let verdict = [VerdictKind::Confirmed, VerdictKind::Benign, VerdictKind::FalsePositive];
                let verdict = verdict[self.numbers.below(3)];
                let changes = self.responses.verdict(now, self.threats[i].threat_id, verdict, &by, &self.policy);
                assert!(verdict != VerdictKind::Confirmed || changes.is_empty());
                self.backwards(&changes);
                changes
            }
            9 => {
                let known: Vec<ContainmentId> = self.witness.containments.keys().copied().collect();
                if known.is_empty() {
                    return;
                }
                let id = known[self.numbers.below(known.len())];
                let active = self.witness.containments[&id].state == ContainmentState::Active;
                let released = self.responses.release(now, id, &by, "by hand", &self.policy);
                assert_eq!(released.is_ok(), active);
                released.unwrap_or_default()
            }
            10 => {
                let changes = self.responses.expire(now, &self.policy);
                self.told(now, &changes);
                self.witness.no_lease_is_outlived(now);
                return;
            }
            11 => return self.die(),
            _ => return self.act(now),
        };
        self.told(now, &changes);
    }

    /// An answer to any question that ever was: in time or late, the first or the second, to this plan or another.
    fn answer(&mut self, now: Timestamp, by: &Principal) -> Vec<Change> {
        let known = self.witness.questions.len();
        if known == 0 {
            return Vec::new();
        }
        let mut any = || self.witness.questions.values().nth(self.numbers.below(known)).expect("one of them").clone();
        let (question, other) = (any(), any());
        let plan = if self.numbers.below(4) == 0 { &other } else { &question };
        let approve = self.numbers.below(3) > 0;
        let answer = Answer { question: question.question_id, approve, plan_digest: &plan.plan_digest, by };
        let fits = question.state == QuestionState::Pending
            && now < question.expires_at
            && plan.plan_digest == question.plan_digest
            && !(approve && question.approvals.iter().any(|(who, _)| who == by));
        // A copy of everything for one answer in eight, or the test would mostly copy.
        let before = (self.numbers.below(8) == 0).then(|| self.responses.clone());
        match self.responses.answer(now, answer, &self.policy) {
            Ok(changes) => {
                assert!(fits);
                if approve && question.approvals.len() + 1 == question.approvals_needed as usize {
                    self.witness.yes.insert(question.question_id);
                }
                changes
            }
            Err(_) => {
                assert!(!fits);
                assert!(before.is_none_or(|b| b == self.responses), "an answer that is not taken changes nothing");
                Vec::new()
            }
        }
    }

    /// Within a run, what was recorded last is released first.
    fn backwards(&self, changes: &[Change]) {
        let mut since: BTreeMap<RunId, Timestamp> = BTreeMap::new();
        for change in changes {
            if let Change::Containment(held) = change {
                let later = since.insert(held.run_id, held.since);
                assert!(later.is_none_or(|later| later >= held.since));
            }
        }
    }
}

/// What came of schedules.
#[derive(Default)]
struct Came {
    /// Steps that came about.
    about: usize,
    /// Containments that healed.
    healed: usize,
    /// Orders that were carried out more than once.
    twice: usize,
}

/// Plays schedules of this policy.
fn play(seeds: u64, policy: &Policy, without_intent: bool) -> Came {
    let playbooks = playbooks(&[ALL_KINDS]);
    let mut came = Came::default();
    for seed in 0..seeds {
        let mut schedule = Schedule {
            numbers: Numbers::new(seed),
            playbooks: &playbooks,
            policy: policy.clone(),
            responses: Responses::default(),
            witness: Witness::default(),
            world: World { without_intent, ..World::default() },
            threats: actors(),
        };
        let mut now = start();
        for _ in 0..16 {
            let gap = [0, 1, 30, 61, 300, 1_800][schedule.numbers.below(6)];
            now = now.plus_seconds(gap);
            schedule.step(now);
        }
        // In the end time alone ends everything: no question waits for ever, no lease is outlived, and nothing of ours
        // is left in the world.
        loop {
            while !schedule.world.orders.is_empty() {
                schedule.act(now);
            }
            let Some(due) = schedule.responses.next_due() else { break };
            now = now.max(due);
            let changes = schedule.responses.expire(now, &schedule.policy);
            assert!(!changes.is_empty());
            schedule.told(now, &changes);
            schedule.witness.no_lease_is_outlived(now);
        }
        assert_eq!(schedule.responses.questions_waiting(), 0);
        assert_eq!(schedule.responses.containments().count(), 0);
        assert_eq!(schedule.responses.turned_away(), 0);
        assert_eq!(schedule.world.held, BTreeSet::new());
        let did = |s: &&StepState| matches!(s, StepState::Simulated | StepState::Done | StepState::Released);
        came.about += schedule.witness.steps.values().filter(did).count();
        came.healed += schedule.witness.healed;
        came.twice += schedule.world.twice;
    }
    came
}

#[test]
fn nothing_is_recorded_twice_or_without_a_yes_in_ten_thousand_schedules() {
    let policy = Policy { entities_per_hour_max: 2, ..Policy::default() };
    let came = play(rounds(10_000), &policy, false);
    assert!(came.about > 10_000 && came.healed > 1_000, "the schedules are not all empty");
    assert_eq!(came.twice, 0);
}

fn live() -> Policy {
    Policy { entities_per_hour_max: 2, live: Verb::ALL.into_iter().collect(), ..Policy::default() }
}

#[test]
fn nothing_is_done_twice_or_for_longer_than_told_in_ten_thousand_schedules() {
    let came = play(rounds(10_000), &live(), false);
    assert!(came.about > 20_000 && came.healed > 2_000, "the schedules are not all empty");
    assert_eq!(came.twice, 0);
}

#[test]
fn without_the_intent_in_the_log_something_is_done_twice() {
    assert!(play(200, &live(), true).twice > 0);
}

#[test]
fn the_same_schedule_gives_the_same_state() {
    let playbooks = playbooks(&[ALL_KINDS]);
    let play = || {
        let mut responses = Responses::default();
        let mut told = Vec::new();
        for (i, threat) in actors().iter().enumerate() {
            told.extend(responses.consider(start().plus_seconds(i as u64), threat, &playbooks, &Policy::default()));
        }
        told.extend(responses.expire(start().plus_seconds(400), &Policy::default()));
        (serde_json::to_string(&responses).unwrap(), serde_json::to_string(&told).unwrap())
    };
    assert_eq!(play(), play());
}
