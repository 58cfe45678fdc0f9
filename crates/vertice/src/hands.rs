//! The hands: takes the engine's orders, has the responder carry them out, and puts intents and receipts into the log.
//!
//! An order's beginning is durable before anything is touched. After a start, the orders that the log has no receipt
//! for are taken up again; the responder observes those that began before it does anything.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use vertice_api::Metrics;
use vertice_engine::decide::Approved;
use vertice_engine::{Content, Effect, EffectKind, Engine, Input};
use vertice_model::{Action, Order, OrderId, Outcome, RunId, Task};
use vertice_responder::{Begun, Responder};
use vertice_store::{ReadError, Store, SubmitError};

use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::limits;

/// An order to be carried out.
pub struct Job {
    /// What was said yes to.
    pub order: Approved<Order>,
    /// Whether it began before, in a process that may have died half-way.
    pub begun: bool,
}

/// Collects the orders of judged stretches for [`Hands`].
///
/// While the engine catches up with the log, an order may come whose receipt follows: none is handed on before the
/// end of the log as it was at the start is judged.
pub struct Intake {
    held_back: Option<Vec<Approved<Order>>>,
    /// The engine itself bounds how many orders are without a receipt, so the queue has no bound of its own.
    jobs: mpsc::UnboundedSender<Job>,
    caught_up_at: vertice_model::Position,
}

impl Intake {
    /// For an engine as it was recovered, and a log that ends there now.
    pub fn new(engine: &Engine, store: &Store, jobs: mpsc::UnboundedSender<Job>) -> Intake {
        Intake { held_back: Some(engine.unfinished().collect()), jobs, caught_up_at: store.log_end() }
    }

    /// Takes the orders among the effects of a stretch, after which the engine is as given.
    pub fn take(&mut self, effects: Vec<Effect>, engine: &Engine) {
        let orders = effects.into_iter().filter_map(|effect| match effect.kind {
            EffectKind::Act(order) => Some(order),
            EffectKind::Publish(_) | EffectKind::Ask(_) | EffectKind::Consult(_) | EffectKind::Tell(_) => None,
        });
        match &mut self.held_back {
            Some(held_back) => held_back.extend(orders),
            None => orders.for_each(|order| self.hand_on(order, engine)),
        }
        self.settle(engine);
    }

    /// Hands on what was held back, once the engine has caught up.
    pub fn settle(&mut self, engine: &Engine) {
        if engine.next() <= self.caught_up_at {
            return;
        }
        for order in self.held_back.take().into_iter().flatten() {
            self.hand_on(order, engine);
        }
    }

    fn hand_on(&self, order: Approved<Order>, engine: &Engine) {
        if let Some(begun) = engine.awaited(order.get().order_id) {
            // Nobody takes it any more only while everything ends; the next start does.
            let _ = self.jobs.send(Job { order, begun });
        }
    }
}

/// The newest token of each shard that this process has seen. It carries nothing out with an older one, whoever asks.
#[derive(Debug, Default)]
pub struct Fence(Mutex<HashMap<u32, u64>>);

impl Fence {
    /// Whether a token is none that another one of that shard has superseded.
    pub fn lets(&self, shard: u32, token: u64) -> bool {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(shard).or_default();
        *newest = token.max(*newest);
        token == *newest
    }
}

/// Carries orders out.
pub struct Hands {
    /// Where intents and receipts go.
    pub store: Store,
    /// What carries out.
    pub responder: Arc<Responder>,
    /// What tells the time.
    pub clock: Arc<Clock>,
    /// The content in force, whose policy is asked once more.
    pub content: watch::Receiver<Arc<Content>>,
    /// Where it is counted what was done.
    pub metrics: Arc<Metrics>,
    /// What keeps those out who had a shard before.
    pub fence: Arc<Fence>,
}

/// The responder of a configuration.
///
/// # Errors
/// When what is configured can not be used, or its directory can not be made.
pub fn responder(config: &Config) -> Result<Responder> {
    let dir = config.data.dir.join("responder");
    let verbs = &config.response.verbs;
    verbs.check().context("in the configuration")?;
    Responder::open(verbs.clone(), &dir).with_context(|| format!("making {}", dir.display()))
}

/// What is being carried out or waits, in the order in which it was given.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Job>,
    running: HashMap<OrderId, Order>,
}

/// Whoever carries orders out, at work.
pub struct Acting {
    /// Where orders are handed in.
    pub jobs: mpsc::UnboundedSender<Job>,
    acting: JoinHandle<()>,
    looking: JoinHandle<()>,
}

impl Acting {
    /// Waits for what was begun, but not for ever: the next start looks after the rest.
    pub async fn finish(self) {
        let both = async { tokio::join!(self.acting, self.looking) };
        if tokio::time::timeout(limits::END_TIME, both).await.is_err() {
            tracing::warn!("not every order ended in time; the next start looks after them");
        }
    }
}

impl Hands {
    /// Starts carrying out, and in live mode looking who is logged in, until it is told to stop.
    pub fn start(self, mode: Mode, stop: &CancellationToken) -> Acting {
        let (jobs, queue) = mpsc::unbounded_channel();
        let looking = tokio::spawn(watch_operators(self.store.clone(), mode, stop.clone()));
        let acting = tokio::spawn(self.run(queue, stop.clone()));
        Acting { jobs, acting, looking }
    }

    /// Carries out what comes until it is told to stop, and then finishes what it has begun.
    async fn run(self, mut jobs: mpsc::UnboundedReceiver<Job>, stop: CancellationToken) {
        let mut line = Line::default();
        let mut acting: JoinSet<OrderId> = JoinSet::new();
        loop {
            while let Some(job) = line.next() {
                let (store, responder, clock) =
                    (self.store.clone(), Arc::clone(&self.responder), Arc::clone(&self.clock));
                let (content, metrics) = (Arc::clone(&self.content.borrow()), Arc::clone(&self.metrics));
                let fence = Arc::clone(&self.fence);
                acting.spawn_blocking(move || {
                    let (order_id, task, verb) = {
                        let order = job.order.get();
                        (order.order_id, order.task, order.action.verb())
                    };
                    let carried = carry_out(job, &store, (&responder, &fence), &clock, &content);
                    if let (Task::Apply, Some(Carried { outcome, took })) = (task, carried) {
                        let done = matches!(outcome, Outcome::Done | Outcome::Already);
                        metrics.action_ended(verb, took, !done);
                        if done {
                            metrics.action_executed(verb);
                        }
                    }
                    order_id
                });
            }
            tokio::select! {
                Some(job) = jobs.recv() => line.waiting.push_back(job),
                Some(done) = acting.join_next() => match done {
                    Ok(order) => _ = line.running.remove(&order),
                    Err(error) => tracing::error!(%error, "carrying out an order failed; the next start looks after it"),
                },
                () = stop.cancelled() => break,
            }
        }
        while acting.join_next().await.is_some() {}
    }
}

impl Line {
    /// The first order that nothing stands before, now running; `None` if there is none or enough run.
    fn next(&mut self) -> Option<Job> {
        if self.running.len() >= limits::ORDERS_AT_ONCE {
            return None;
        }
        let mut before = Before::default();
        self.running.values().for_each(|order| before.add(order));
        let free = |job: &Job| {
            let free = !before.stops(job.order.get());
            before.add(job.order.get());
            free
        };
        let place = self.waiting.iter().position(free)?;
        let job = self.waiting.remove(place)?;
        self.running.insert(job.order.get().order_id, job.order.get().clone());
        Some(job)
    }
}

/// The orders before one: the same rule as [`Order::waits_for`], for many at once.
#[derive(Default)]
struct Before {
    actions: HashSet<String>,
    /// Runs with an order before, and whether one of them takes something back.
    runs: HashMap<RunId, bool>,
}

impl Before {
    fn add(&mut self, order: &Order) {
        self.actions.insert(key(&order.action));
        *self.runs.entry(order.run_id).or_default() |= order.task == Task::Undo;
    }

    fn stops(&self, order: &Order) -> bool {
        let of_run = self.runs.get(&order.run_id);
        let taken_back = of_run.is_some_and(|undoing| *undoing || order.task == Task::Undo);
        taken_back || self.actions.contains(&key(&order.action))
    }
}

/// Tells the engine from where operators are logged in, whenever that changes.
async fn watch_operators(store: Store, mode: Mode, stop: CancellationToken) {
    let mut told: Vec<IpAddr> = Vec::new();
    while mode == Mode::Live && !stop.is_cancelled() {
        let found = tokio::task::spawn_blocking(vertice_responder::guard::operators).await.unwrap_or_default();
        // What the log can not take now is told at the next look.
        if found != told && store.append(Input::Operators(found.clone())).await.is_ok() {
            told = found;
        }
        tokio::select! {
            () = tokio::time::sleep(limits::OPERATORS_POLL) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn key(action: &Action) -> String {
    serde_json::to_string(action).unwrap_or_default()
}

/// What became of an order that was carried out.
pub struct Carried {
    /// What its receipt says.
    pub outcome: Outcome,
    /// How long it took to do and to observe, without what was kept of it before and after.
    pub took: Duration,
}

/// Carries one order out: the intent, the claim, the act, the receipt. Gives what became of it; `None` if the store has
/// stopped, or the order is another instance's now.
pub fn carry_out(
    job: Job,
    store: &Store,
    (responder, fence): (&Responder, &Fence),
    clock: &Clock,
    content: &Content,
) -> Option<Carried> {
    let Job { order, begun } = job;
    let order_id = order.get().order_id;
    let what = order.get().action.verb();
    if !begun && !append(store, Input::Begun { order: order_id }) {
        return None;
    }
    let begun = if begun { taken_up(store, order_id) } else { Begun::No };
    // Right before anything is touched: whoever was superseded since learns it here.
    let token = claim(store, order_id)?;
    if !fence.lets(store.shard(), token) {
        tracing::warn!(order = %order_id, token, "an order is not carried out: its shard was taken anew since");
        return None;
    }
    let began_at = clock.now();
    let receipt = responder.carry_out(order, begun, &content.policy, began_at);
    let took = Duration::from_micros(clock.now().micros_since(began_at));
    tracing::info!(order = %order_id, action = what, outcome = ?receipt.outcome, note = receipt.note, "an order ended");
    let outcome = receipt.outcome.clone();
    append(store, Input::Receipt(receipt)).then_some(Carried { outcome, took })
}

/// Who took an order up before. One that nobody claimed was not touched by anybody; of one that was claimed, only its
/// claimant's own files say more.
///
/// Waits for a database that is away, for who can not be asked about may well be nobody.
fn taken_up(store: &Store, order: OrderId) -> Begun {
    loop {
        match store.is_claimed(order) {
            Ok(false) => return Begun::Here,
            Ok(true) => return Begun::Elsewhere,
            Err(ReadError::Database { .. }) if store.failed().borrow().is_none() => {
                rest(vertice_store::limits::BUSY_RETRY)
            }
            Err(error) => {
                tracing::warn!(%error, %order, "whether an order was claimed before is not known, and so taken for so");
                return Begun::Elsewhere;
            }
        }
    }
}

/// Claims an order, waiting for a store that is busy; `None` if it is not ours.
fn claim(store: &Store, order: OrderId) -> Option<u64> {
    if store.epoch() == 0 {
        // A data directory is locked by whoever has it.
        return Some(0);
    }
    loop {
        match store.claim(order) {
            Ok(Some(token)) => return Some(token),
            Ok(None) => {
                tracing::warn!(%order, "an order is not carried out: another instance has claimed it since");
                return None;
            }
            Err(SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after }) => rest(retry_after),
            Err(error @ (SubmitError::TooLarge { .. } | SubmitError::Stopped(_))) => {
                tracing::warn!(%error, %order, "an order is not carried out, for it can not be claimed");
                return None;
            }
        }
    }
}

/// Writes an input to the log, waiting for a full disk or queue; false if the store has stopped.
fn append(store: &Store, input: Input) -> bool {
    loop {
        match store.append_blocking(input.clone()) {
            Ok(_) => return true,
            Err(SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after }) => rest(retry_after),
            Err(error @ (SubmitError::TooLarge { .. } | SubmitError::Stopped(_))) => {
                tracing::error!(%error, "the log does not take what became of an order; the next start looks after it");
                return false;
            }
        }
    }
}

fn rest(pause: Duration) {
    tokio::runtime::Handle::current().block_on(tokio::time::sleep(pause));
}

#[cfg(test)]
mod tests {
    use vertice_model::{Notification, ThreatId, Timestamp};

    use super::*;

    fn order(n: u64, run: &str, task: Task, message: &str) -> Order {
        let message = message.to_owned();
        Order {
            order_id: OrderId::derive(&n.to_string()),
            run_id: RunId::derive(run),
            threat_id: ThreatId::derive("t"),
            action_id: "a".to_owned(),
            containment_id: None,
            task,
            action: Action::Notification(Notification { channel: "slack".to_owned(), to: None, message }),
            until: None,
            success_criteria: Vec::new(),
            timeout_s: 1,
            attempt: 1,
            ordered_at: Timestamp::default(),
        }
    }

    #[test]
    fn who_had_a_shard_before_carries_nothing_out() {
        let fence = Fence::default();
        assert!(fence.lets(1, 4) && fence.lets(1, 4) && fence.lets(1, 6) && fence.lets(2, 1));
        assert!(!fence.lets(1, 4), "another owner was seen since");
        assert!(fence.lets(1, 6) && fence.lets(0, 0), "and a data directory has one owner");
    }

    #[test]
    fn many_are_told_apart_as_two_are() {
        let mut orders = Vec::new();
        for (n, run) in ["r1", "r2", "r1", "r3"].iter().enumerate() {
            for (m, task) in [Task::Apply, Task::Undo].into_iter().enumerate() {
                orders.push(order((n * 8 + m) as u64, run, task, ["x", "y"][(n + m) % 2]));
                orders.push(order((n * 8 + m + 4) as u64, run, task, &format!("{n}{m}")));
            }
        }
        for later in &orders {
            for earlier in &orders {
                let mut before = Before::default();
                before.add(earlier);
                assert_eq!(before.stops(later), later.waits_for(earlier), "{later:#?} after {earlier:#?}");
            }
        }
    }
}
