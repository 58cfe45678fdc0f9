//! What the tests of the network's verbs share: a small network, and a responder that acts on one host of it.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use vertice_engine::decide::Policy;
use vertice_model::{
    Action, FirewallRule, FirewallVerdict, Order, OrderId, Outcome, Receipt, RunId, Task, ThreatId, Timestamp,
};
use vertice_testkit::net::{Namespace, Star, missing};

use crate::testing::taken_up;
use crate::{Begun, Responder, Settings, capture};

/// Long enough for whatever is to come; nothing waits this long where all is well.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// How long it is waited for what is not to come.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
/// The time of the tests.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Host 1 is the attacker's, 2 another client's, 3 a server with an echo service on port 7; the responder acts on the
/// router between them.
pub(crate) struct Rig {
    pub(crate) star: Star,
    pub(crate) dir: tempfile::TempDir,
    responder: Responder,
    policy: Policy,
}

impl Rig {
    /// `None`, and says so, where the machine can not have one.
    pub(crate) fn new(settings: Settings, programs: &[&str]) -> Option<Rig> {
        if let Some(why) = missing(programs) {
            println!("{why}");
            return None;
        }
        let star = Star::new(&["attacker", "client", "server"]);
        star.host(3).serve(7, "");
        let dir = tempfile::tempdir().unwrap();
        let responder = Responder::open(settings, dir.path()).unwrap();
        Some(Rig { star, dir, responder, policy: Policy::default() })
    }

    /// Another process with the same memory, as after a restart with other settings.
    pub(crate) fn restart(&mut self, settings: Settings) {
        self.responder = Responder::open(settings, self.dir.path()).unwrap();
    }

    pub(crate) fn attacker(&self) -> &Namespace {
        self.star.host(1)
    }

    pub(crate) fn client(&self) -> &Namespace {
        self.star.host(2)
    }

    pub(crate) fn server(&self) -> &Namespace {
        self.star.host(3)
    }

    pub(crate) fn protect(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Carries an order out on the router.
    pub(crate) fn carry(&self, order: &Order, begun: bool) -> Receipt {
        self.carry_at(order, begun, NOW)
    }

    pub(crate) fn carry_at(&self, order: &Order, begun: bool, now: Timestamp) -> Receipt {
        self.star.router.run(|| self.responder.carry(order, taken_up(begun), &self.policy, now))
    }

    /// On a host of its own choice.
    pub(crate) fn carry_on(&self, host: &Namespace, order: &Order) -> Receipt {
        host.run(|| self.responder.carry(order, Begun::No, &self.policy, NOW))
    }

    /// Carries an order out that must come about, with all criteria met.
    pub(crate) fn done(&self, order: &Order) -> Receipt {
        let receipt = self.carry(order, false);
        assert_eq!(receipt.outcome, Outcome::Done, "{}", receipt.note);
        receipt
    }

    pub(crate) fn observe(&self, order: &Order) -> crate::Seen {
        self.star.router.run(|| self.responder.observe(order, NOW)).unwrap()
    }

    /// What nft lists on the router.
    pub(crate) fn ruleset(&self, what: &[&str]) -> String {
        self.star.router.run(|| nft(what))
    }
}

impl Drop for Rig {
    /// Recordings outlive whoever began them, and a test that failed too.
    fn drop(&mut self) {
        let folders = std::fs::read_dir(self.dir.path().join("captures")).into_iter().flatten().flatten();
        for folder in folders {
            let _ = capture::end(&folder.path().join("traffic.pcap"));
        }
    }
}

/// Runs nft where the thread is.
pub(crate) fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().unwrap();
    assert!(output.status.success(), "nft {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An order to make it so for a number of seconds.
pub(crate) fn apply(action: Action, lasts_s: u64) -> Order {
    Order {
        order_id: OrderId::derive("order"),
        run_id: RunId::derive("run"),
        threat_id: ThreatId::derive("threat"),
        action_id: "step".to_owned(),
        containment_id: None,
        task: Task::Apply,
        action,
        until: Some(NOW.plus_seconds(lasts_s)),
        success_criteria: Vec::new(),
        timeout_s: 30,
        attempt: 1,
        ordered_at: NOW,
    }
}

/// The order that takes it back.
pub(crate) fn undo(order: &Order) -> Order {
    Order { task: Task::Undo, until: None, ..order.clone() }
}

/// A rule about what comes from an address.
pub(crate) fn rule(rule: FirewallVerdict, source: IpAddr) -> FirewallRule {
    FirewallRule { rule, source_ip: Some(source), destination_ip: None, port: None, protocol: None }
}

pub(crate) fn block(source: IpAddr) -> Order {
    apply(Action::FirewallRule(rule(FirewallVerdict::Block, source)), 600)
}

/// Why an order was not carried out, and whether trying again may help.
pub(crate) fn refusal(receipt: &Receipt) -> (&str, bool) {
    match &receipt.outcome {
        Outcome::Failed { reason, retry } => (reason, *retry),
        Outcome::Done | Outcome::Already | Outcome::Unknown { .. } => panic!("it was not refused: {receipt:?}"),
    }
}
