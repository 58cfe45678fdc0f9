//! Releasing an address while no daemon runs: the same inputs into the same log, carried out here and now.
//!
//! A containment that can only be lifted by the program that may be the one that is broken is no containment but an
//! accident. So this needs neither the server nor a key: whoever may write the data directory and the firewall may.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use vertice_engine::{Engine, Input};
use vertice_model::{ContainmentId, Entity, Principal, Task};
use vertice_responder::Responder;
use vertice_store::audit::Audit;
use vertice_store::{Options, Store};

use crate::clock::Clock;
use crate::config::Config;
use crate::content::Ready;
use crate::hands::{Job, carry_out};
use crate::pipeline::{Pipeline, Recovered, last_time, recover, runtime};
use crate::{hands, up};

/// What was released, and what is left to do.
#[derive(Debug, Default)]
pub struct Released {
    /// Containments that were taken back.
    pub containments: usize,
    /// Of these, those that are not yet seen to be gone; the next start of the daemon goes on with them.
    pub unfinished: usize,
    /// Elements that were still in the firewall's sets of ours, and were taken out.
    pub elements: usize,
}

/// Takes back everything that holds this address, host or account.
///
/// # Errors
/// When the data directory is in use or can not be read, or the log can not take it.
pub fn offline(config: &Config, name: &str, reason: &str) -> Result<Released> {
    let mut released = match config.data.dir.is_dir() {
        true => from_the_log(config, name, reason)?,
        false => Released::default(),
    };
    // Whoever may not look at the firewall has put nothing into it, unless it is configured that they did.
    let may_look = rustix::process::geteuid().is_root() || !config.response.verbs.enabled().is_empty();
    if let Ok(address) = name.parse::<IpAddr>()
        && may_look
    {
        let taken = vertice_responder::release_address(&config.response.verbs, address);
        released.elements = taken.context("taking the address out of the firewall")?;
    }
    Ok(released)
}

fn from_the_log(config: &Config, name: &str, reason: &str) -> Result<Released> {
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let clock = Arc::new(Clock::start());
    let now = Arc::clone(&clock);
    let store = Store::open(&config.data.dir, Arc::new(move || now.now()), Options::default())?;
    clock.not_before(last_time(&store)?);
    let content = Arc::new(up::load(config)?);
    let responder = hands::responder(config)?;
    let Recovered { engine, .. } = recover(&store, &content, true)?;
    let mut offline = Offline { store, clock, ready: Ready::with(content), responder, engine };
    let released = offline.release(name, reason);
    offline.store.close()?;
    released
}

struct Offline {
    store: Store,
    clock: Arc<Clock>,
    ready: Ready,
    responder: Responder,
    engine: Engine,
}

impl Offline {
    fn release(&mut self, name: &str, reason: &str) -> Result<Released> {
        self.judge()?;
        let wanted = [Entity::ip(name), Entity::host(name), Entity::user(name)];
        let held = self.engine.containments().filter(|c| wanted.iter().flatten().any(|e| *e == c.entity));
        let held: Vec<ContainmentId> = held.map(|c| c.containment_id).collect();
        let by = Principal("local".to_owned());
        for containment in &held {
            let input = Input::Release { containment: *containment, reason: reason.to_owned(), by: by.clone() };
            self.store.append_blocking(input).context("writing the release to the log")?;
        }
        self.judge()?;
        // Each undoing may be followed by another: a block, and the rate limit that it healed to.
        loop {
            let ours = |id: Option<ContainmentId>| id.is_some_and(|id| held.contains(&id));
            let jobs: Vec<Job> = self
                .engine
                .unfinished()
                .filter(|order| order.get().task == Task::Undo && ours(order.get().containment_id))
                .map(|order| Job { begun: self.engine.awaited(order.get().order_id).unwrap_or(true), order })
                .collect();
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                carry_out(
                    job,
                    &self.store,
                    (&self.responder, &hands::Fence::default()),
                    &self.clock,
                    self.engine.content(),
                );
            }
            self.judge()?;
        }
        let unfinished = self.engine.containments().filter(|c| held.contains(&c.containment_id)).count();
        Ok(Released { containments: held.len(), unfinished, elements: 0 })
    }

    /// Judges what the log has, and returns.
    fn judge(&mut self) -> Result<()> {
        let stop = CancellationToken::new();
        stop.cancel();
        let pipeline = Pipeline {
            store: &self.store,
            content: &self.ready,
            clock: &self.clock,
            threads: 1,
            screeners: Vec::new(),
            audit: Some(Audit::open(&self.store)?),
            observe: &mut |_| {},
            stop,
        };
        pipeline.run(&mut self.engine)
    }
}
