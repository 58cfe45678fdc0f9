//! Stage two: takes the shards whose partitions of hits this instance has, and hands each what is to be judged there, in
//! the one order that follows from what the partitions of events hold.
//!
//! The topic of hits is read without a pause, for marks come the same way as records; what can not be held is put off
//! and read again. What is let out is kept in a shard's log in one transaction with how far that was.
//!
//! # Whose a shard is
//! Kafka's group says who should have it, and the epoch in the database who has. A shard that is taken away ends alone. If
//! the group still says that it is ours, which it is asked by a commit, it is taken again after a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use vertice_engine::route::Message;
use vertice_model::Timestamp;
use vertice_stream::kafka::{Batch, Begin, Consumer, Held, Next, Problem, Settings};

use super::shard::{Shard, World};
use crate::limits;

/// A member of the group of judges, at work.
pub struct Judging {
    world: Arc<World>,
    consumer: Consumer,
    /// How many partitions of events there are.
    sources: i32,
    shards: BTreeMap<i32, Shard>,
    /// Partitions of hits that are ours without their shard, when it is tried to take it again, and why it is not taken.
    without: Vec<(Held, Timestamp, String)>,
    runtime: Handle,
    committed_at: Timestamp,
    stop: CancellationToken,
}

impl Judging {
    /// Joins the group.
    ///
    /// # Errors
    /// When a setting can not be used.
    pub fn open(
        settings: &Settings,
        world: Arc<World>,
        sources: i32,
        stop: CancellationToken,
    ) -> Result<Judging, Problem> {
        let consumer = Consumer::open(settings, &[&world.names.hits])?;
        let committed_at = world.clock.now();
        let (shards, without, runtime) = (BTreeMap::new(), Vec::new(), Handle::current());
        Ok(Judging { world, consumer, sources, shards, without, runtime, committed_at, stop })
    }

    /// Judges until it is told to stop, and gives all shards up. Blocks; on a thread of a runtime that may.
    ///
    /// # Errors
    /// What ends this membership of the group; another may begin.
    pub fn run(mut self) -> Result<()> {
        let ended = self.work();
        let all = std::mem::take(&mut self.shards).into_values().collect();
        self.give_up(all, false);
        self.world.metrics.shards(0, 0);
        self.world.overview.judging_waits(None);
        ended
    }

    fn work(&mut self) -> Result<()> {
        while !self.stop.is_cancelled() {
            let busy = self.shards.values().any(Shard::is_busy);
            match self.consumer.next(if busy { limits::SENDING_POLL } else { limits::KAFKA_POLL })? {
                Next::Records(batch) => self.read(&batch),
                Next::Assigned(held) => self.assigned(held)?,
                Next::Revoked { held, lost } => {
                    self.revoked(&held, lost);
                    // They are ours until the next call, and must not be told of, or taken, again.
                    continue;
                }
                Next::End { .. } | Next::Quiet => {}
            }
            let now = self.world.clock.now();
            self.turn(now)?;
            self.tend(now)?;
        }
        Ok(())
    }

    /// Takes shards, and begins where they stand.
    fn assigned(&mut self, held: Vec<Held>) -> Result<()> {
        if held.is_empty() {
            if let Some(crowd) = self.consumer.crowd() {
                tracing::warn!("{crowd}: this instance judges nothing, and takes over when another ends");
            }
            return Ok(());
        }
        let mut from = Vec::with_capacity(held.len());
        for (held, taken) in self.take(held) {
            match taken {
                Ok(shard) => {
                    from.push((held.partition.clone(), Begin::At(shard.begin())));
                    self.shards.insert(held.partition.number, shard);
                }
                Err(error) => {
                    from.push((held.partition.clone(), Begin::Oldest));
                    self.put_off(held, &error);
                }
            }
        }
        Ok(self.consumer.begin(&from)?)
    }

    fn take(&self, held: Vec<Held>) -> Vec<(Held, Result<Shard>)> {
        let mut taken = Vec::with_capacity(held.len());
        for some in held.chunks(limits::TAKEN_AT_ONCE) {
            let (world, sources, runtime) = (&*self.world, self.sources, &self.runtime);
            taken.extend(std::thread::scope(|scope| {
                let one = |held: &Held| {
                    let held = held.clone();
                    let taking = held.clone();
                    (held, scope.spawn(move || Shard::take(world, taking, sources, runtime)))
                };
                let taking: Vec<_> = some.iter().map(one).collect();
                let join = |(held, thread): (Held, std::thread::ScopedJoinHandle<'_, Result<Shard>>)| {
                    (held, thread.join().unwrap_or_else(|_| Err(anyhow!("taking it failed"))))
                };
                taking.into_iter().map(join).collect::<Vec<_>>()
            }));
        }
        taken
    }

    fn put_off(&mut self, held: Held, error: &anyhow::Error) {
        let shard = held.partition.number;
        tracing::warn!(shard, "a shard that is ours is not judged now, and is taken again in a moment: {error:#}");
        let again = self.world.clock.now().plus_seconds(limits::RETAKE_PAUSE.as_secs());
        self.without.push((held, again, format!("{error:#}")));
    }

    fn revoked(&mut self, held: &[Held], lost: bool) {
        self.without.retain(|(h, ..)| !held.iter().any(|held| held.partition == h.partition));
        let mut gone = Vec::new();
        for Held { partition, .. } in held {
            gone.extend(self.shards.remove(&partition.number));
            self.world.metrics.kafka_revoked(&partition.topic, partition.number);
        }
        self.give_up(gone, lost);
    }

    /// Gives shards up, all at once.
    fn give_up(&self, shards: Vec<Shard>, lost: bool) {
        self.runtime.block_on(async {
            let all: Vec<_> = shards.into_iter().map(|shard| tokio::spawn(shard.give_up(lost))).collect();
            for one in all {
                if let Err(panicked) = one.await {
                    tracing::error!("giving up a shard failed: {panicked}");
                }
            }
        });
    }

    /// Hands records and marks to the shards they are for.
    fn read(&mut self, batch: &Batch) {
        for record in batch.iter() {
            // What was read before a shard went back, or was taken away, comes again.
            if !self.consumer.is_current(record.held) {
                continue;
            }
            let Some(shard) = self.shards.get_mut(&record.partition().number) else { continue };
            let within = |partition: i32| partition < limits::SOURCE_PARTITIONS_MAX;
            match Message::read(record.value.unwrap_or_default()) {
                Ok(Message::Mark(mark)) if within(mark.partition) => shard.merge.mark(record.offset, mark),
                Ok(Message::Routed(routed)) if within(routed.from.partition) => {
                    shard.merge.push(record.offset, *routed);
                }
                Ok(Message::Mark(_) | Message::Routed(_)) => {
                    tracing::warn!(offset = record.offset, "a record of hits names a partition that there is not");
                }
                Err(refusal) => tracing::warn!(offset = record.offset, %refusal, "a record of hits was passed over"),
            }
        }
    }

    /// Has each shard keep what can be let out.
    fn turn(&mut self, now: Timestamp) -> Result<(), Problem> {
        for shard in self.shards.values_mut() {
            if let Some(back) = shard.turn(now, &self.runtime) {
                tracing::info!(shard = shard.held.partition.number, back, "hits that were put off are read again");
                self.consumer.seek(&shard.held.partition, back)?;
            }
        }
        Ok(())
    }

    /// Looks after shards that ended by themselves, takes them again, and says how it stands.
    fn tend(&mut self, now: Timestamp) -> Result<(), Problem> {
        let ended: Vec<i32> = self.shards.iter().filter(|(_, s)| s.has_ended()).map(|(n, _)| *n).collect();
        for number in ended {
            let Some(shard) = self.shards.remove(&number) else { continue };
            let held = shard.held.clone();
            self.give_up(vec![shard], true);
            self.put_off(held, &anyhow!("it ended"));
        }
        let due = self.without.iter().position(|(_, at, _)| *at <= now);
        if let Some((held, ..)) = due.map(|due| self.without.swap_remove(due)) {
            self.take_again(held, now)?;
        }
        self.tell_of_waits();
        if now.micros_since(self.committed_at) >= limits::COMMIT_EVERY.as_micros() as u64 {
            self.committed_at = now;
            self.tell();
        }
        Ok(())
    }

    /// Says why shards that are ours are not judged now, if some are not.
    fn tell_of_waits(&self) {
        let of_shards = self.shards.iter().flat_map(|(n, s)| s.waits().into_iter().map(move |why| (n, why)));
        let without = self.without.iter().map(|(held, _, why)| (&held.partition.number, why.clone()));
        let all: Vec<String> = of_shards.chain(without).map(|(n, why)| format!("shard {n}: {why}")).collect();
        self.world.overview.judging_waits((!all.is_empty()).then(|| all.join("; ")));
    }

    /// Takes a shard again, if the group still says that it is ours.
    fn take_again(&mut self, held: Held, now: Timestamp) -> Result<(), Problem> {
        let Some(ours) = self.consumer.ours().find(|ours| ours.partition == held.partition) else { return Ok(()) };
        let committed = self.consumer.committed(std::slice::from_ref(&ours.partition));
        let next = committed.ok().and_then(|all| all.into_iter().next().flatten()).map_or(0, |(next, _)| next);
        // Who was given up by the group is refused here, and learns it by the next call.
        if let Err(problem) = self.consumer.commit(&[(ours.clone(), next)], true) {
            tracing::warn!(shard = held.partition.number, "{problem}");
            self.without.push((ours, now.plus_seconds(limits::RETAKE_PAUSE.as_secs()), problem.to_string()));
            return Ok(());
        }
        for (held, taken) in self.take(vec![ours]) {
            match taken {
                Ok(mut shard) => {
                    self.consumer.seek(&held.partition, shard.begin())?;
                    // Going back began another time of ours with the partition.
                    if let Some(ours) = self.consumer.ours().find(|ours| ours.partition == held.partition) {
                        shard.held = ours;
                    }
                    self.shards.insert(held.partition.number, shard);
                }
                Err(error) => self.put_off(held, &error),
            }
        }
        Ok(())
    }

    /// Commits how far the shards have read, which others see as the lag, and says how it stands.
    fn tell(&mut self) {
        let ours: Vec<Held> = self.consumer.ours().collect();
        let reached = ours.into_iter().filter_map(|held| {
            let begin = self.shards.get(&held.partition.number)?.begin();
            (begin > 0).then_some((held, begin))
        });
        let reached: Vec<(Held, i64)> = reached.collect();
        if let Err(problem) = self.consumer.commit(&reached, false) {
            tracing::debug!("{problem}; what the shards keep goes before it");
        }
        let metrics = &self.world.metrics;
        for lag in self.consumer.lags() {
            if let Some(records) = lag.records() {
                metrics.kafka_lag(&lag.partition.topic, lag.partition.number, records.unsigned_abs());
            }
        }
        let late: u64 = self.shards.values_mut().map(Shard::late).sum();
        metrics.hits_late(late);
        metrics.shards(self.shards.len(), self.shards.values().map(|shard| shard.merge.held()).sum());
    }
}
