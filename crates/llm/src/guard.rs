//! What stands around every provider.
//!
//! A question passes, in this order: its bounds, redaction, the caches, and then for each attempt a place among those
//! in flight, the budget and the circuit breaker. What comes back is held against the schema, kept, and only then
//! are the things that were taken out put back.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::breaker::{Breaker, BreakerCounts, Circuit, Went};
use crate::budget::{Budget, Cost};
use crate::cache::Cache;
use crate::clock::{World, after};
use crate::error::{Broken, Error, Skip, Why};
use crate::provider::tokens;
use crate::redact::{Redacted, Redactor};
use crate::request::{Digest, Origin, Output, Purpose, Request, Response, Usage};
use crate::shared::Shared;
use crate::{Model, Named, limits};

/// What all models share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) budget: Budget,
    pub(crate) cache: Cache,
    pub(crate) redis: Option<Shared>,
    pub(crate) redactor: Redactor,
    pub(crate) world: World,
}

/// How far one model is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Millionths of a dollar for a million tokens, in and out.
    pub(crate) price: Option<(u64, u64)>,
    pub(crate) attempts: u32,
    pub(crate) concurrency: u32,
    pub(crate) tokens: u32,
    pub(crate) deadline: Duration,
}

/// A model with all that stands around it.
pub(crate) struct Guarded {
    inner: Box<dyn Model>,
    named: Named,
    bounds: Bounds,
    places: Places,
    breaker: Breaker,
    common: Arc<Common>,
    counts: Mutex<Counts>,
}

/// What became of the questions to one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Questions.
    pub asked: u64,
    /// Those that the provider answered.
    pub answered: u64,
    /// Those that our own memory answered.
    pub from_memory: u64,
    /// Those that Redis answered.
    pub from_redis: u64,
    /// Those without an answer, by [`Error::word`].
    pub unanswered: BTreeMap<&'static str, u64>,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Tokens of the questions that the provider answered.
    pub input_tokens: u64,
    /// Tokens of its answers.
    pub output_tokens: u64,
    /// What they cost, in millionths of a dollar; without a price, nothing is added.
    pub microusd: u64,
    /// In which state the circuit breaker is.
    pub circuit: Option<Circuit>,
    /// What it has done.
    pub breaker: BreakerCounts,
}

impl Guarded {
    pub(crate) fn new(inner: Box<dyn Model>, named: Named, bounds: Bounds, common: Arc<Common>) -> Guarded {
        let places = Places { free: Mutex::new(bounds.concurrency), left: Condvar::new() };
        Guarded { inner, named, bounds, places, breaker: Breaker::new(), common, counts: Mutex::default() }
    }

    pub(crate) fn counts(&self) -> Counts {
        let (circuit, breaker) = self.breaker.look();
        Counts { circuit: Some(circuit), breaker, ..self.count().clone() }
    }

    fn count(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Result<Response, Error> {
        let now = self.common.world.clock.now();
        request.check()?;
        if request.deadline <= now {
            return Err(Skip::Expired.into());
        }
        let ([system, user], redacted) = self.common.redactor.redact([&request.system, &request.user]);
        let deadline = request.deadline.min(after(now, self.bounds.deadline));
        // A model that is to give fewer is asked for fewer; what does not fit then is cut, and told as that.
        let max_tokens = request.max_tokens.min(self.bounds.tokens);
        let asked = Request { system, user, max_tokens, deadline, output: request.output.clone(), ..*request };
        let digest = self.named.digest(&asked);
        // Whoever checks a model wants to hear it and not what it once said.
        let may_keep = asked.purpose != Purpose::Check;
        if let Some(kept) = may_keep.then(|| self.kept(digest, &asked.output)).flatten() {
            return Ok(restored(kept, &redacted));
        }
        let response = shaped(self.attempts(&asked)?, &asked.output)?;
        if may_keep && !response.cut && response.origin == Origin::Provider {
            self.keep(digest, &response);
        }
        Ok(restored(response, &redacted))
    }

    fn kept(&self, digest: Digest, output: &Output) -> Option<Response> {
        let ttl = self.common.cache.ttl()?;
        let now = self.common.world.clock.now();
        let (kept, origin) = match self.common.cache.get(now, digest) {
            Some(kept) => ((*kept).clone(), Origin::Memory),
            None => (self.common.redis.as_ref()?.get(digest)?, Origin::Redis),
        };
        let kept = Response { usage: Usage::default(), cost_microusd: Some(0), origin, attempts: 0, ..kept };
        let kept = shaped(kept, output).ok()?;
        if origin == Origin::Redis && !ttl.is_zero() {
            self.common.cache.put(now, digest, Arc::new(kept.clone()));
        }
        Some(kept)
    }

    fn keep(&self, digest: Digest, response: &Response) {
        let Some(ttl) = self.common.cache.ttl() else { return };
        self.common.cache.put(self.common.world.clock.now(), digest, Arc::new(response.clone()));
        if let Some(redis) = &self.common.redis {
            redis.put(digest, response, ttl);
        }
    }

    /// Asks until there is an answer, or none is to be hoped for.
    fn attempts(&self, asked: &Request) -> Result<Response, Error> {
        let mut attempt = 0;
        let mut last: Option<Error> = None;
        loop {
            attempt += 1;
            let error = match self.attempt(asked) {
                Ok(response) => return Ok(Response { attempts: attempt, ..response }),
                // The first failure says more than that nothing more was tried.
                Err(Error { why: Why::Skipped(skip), .. }) => return Err(last.unwrap_or(skip.into())),
                Err(error) => Error { attempts: attempt, ..error },
            };
            let wait = self.pause(&error, attempt);
            let Some(wait) = wait.filter(|w| *w < self.common.world.until(asked.deadline)) else { return Err(error) };
            last = Some(error);
            self.common.world.clock.wait(wait);
            self.count().retries += 1;
        }
    }

    /// How long to wait before the next attempt; `None` where there is to be none.
    fn pause(&self, error: &Error, attempt: u32) -> Option<Duration> {
        let asked_for = match error.why {
            Why::Connection(Broken::Untrusted) => return None,
            Why::TooMany(after) => after.unwrap_or_default(),
            Why::Connection(_) | Why::Failed(_) => Duration::ZERO,
            Why::Skipped(_) | Why::Unfit(_) | Why::Late | Why::Denied(_) | Why::Rejected(_) => return None,
            Why::Redirected(_) | Why::TooLarge | Why::Malformed | Why::WrongShape => return None,
            Why::CutShort | Why::Declined | Why::NotRecorded => return None,
        };
        if attempt >= self.bounds.attempts {
            return None;
        }
        // Full jitter: anything up to a bound that doubles, so that those who failed together do not come back
        // together. It goes on top of what the provider asked for, and never below.
        let most = limits::BACKOFF.saturating_mul(1 << (attempt - 1).min(16)).min(limits::BACKOFF_MAX);
        let share = (self.common.world.random)() % (most.as_millis() as u64 + 1);
        Some(asked_for.saturating_add(Duration::from_millis(share)))
    }

    fn attempt(&self, asked: &Request) -> Result<Response, Error> {
        let world = &self.common.world;
        let _place = self.places.take(world.until(asked.deadline)).ok_or(Skip::Expired)?;
        let most = self.most(asked);
        let taken = self.common.budget.take(world.clock.now(), most)?;
        if let Err(skip) = self.breaker.admit(world.clock.now()) {
            self.common.budget.settle(taken, Cost::default());
            return Err(skip.into());
        }
        let outcome = self.inner.complete(asked);
        let (went, real) = match &outcome {
            Ok(response) if response.origin == Origin::Recording => (Some(Went::Well), Cost::default()),
            Ok(response) => (Some(Went::Well), self.cost(response.usage)),
            Err(error) => (went(error), if error.may_cost() { most } else { Cost::default() }),
        };
        if let Some(went) = went {
            self.breaker.tell(world.clock.now(), went);
        }
        self.common.budget.settle(taken, real);
        let response = outcome?;
        let cost_microusd = match response.origin {
            Origin::Recording => response.cost_microusd,
            Origin::Provider | Origin::Memory | Origin::Redis => self.bounds.price.map(|_| real.microusd),
        };
        Ok(Response { cost_microusd, ..response })
    }

    /// What an attempt may cost at most.
    fn most(&self, asked: &Request) -> Cost {
        let output_tokens = u64::from(asked.max_tokens);
        self.cost(Usage { input_tokens: tokens(asked.bytes()), output_tokens, estimated: true })
    }

    fn cost(&self, usage: Usage) -> Cost {
        let (input, output) = self.bounds.price.unwrap_or(limits::PRICE_UNKNOWN);
        let of = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let microusd = (of(usage.input_tokens, input) + of(usage.output_tokens, output)).div_ceil(1_000_000);
        Cost {
            tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            microusd: u64::try_from(microusd).unwrap_or(u64::MAX),
        }
    }
}

impl Model for Guarded {
    fn complete(&self, request: &Request) -> Result<Response, Error> {
        let clock = &self.common.world.clock;
        let begun = clock.now();
        let outcome = self.answer(request);
        let mut counts = self.count();
        counts.asked += 1;
        match &outcome {
            Ok(response) => {
                match response.origin {
                    Origin::Provider | Origin::Recording => counts.answered += 1,
                    Origin::Memory => counts.from_memory += 1,
                    Origin::Redis => counts.from_redis += 1,
                }
                counts.input_tokens = counts.input_tokens.saturating_add(response.usage.input_tokens);
                counts.output_tokens = counts.output_tokens.saturating_add(response.usage.output_tokens);
                counts.microusd = counts.microusd.saturating_add(response.cost_microusd.unwrap_or(0));
            }
            Err(error) => *counts.unanswered.entry(error.word()).or_default() += 1,
        }
        drop(counts);
        outcome.map(|r| Response { latency: Duration::from_micros(clock.now().micros_since(begun)), ..r })
    }
}

/// What an error says of the provider; nothing when it says something of the question.
fn went(error: &Error) -> Option<Went> {
    match error.why {
        Why::Connection(_) | Why::Late | Why::TooMany(_) | Why::Failed(_) | Why::Denied(_) => Some(Went::Badly),
        Why::Redirected(_) | Why::TooLarge | Why::Malformed => Some(Went::Badly),
        Why::Rejected(_) | Why::WrongShape | Why::CutShort | Why::Declined => Some(Went::Well),
        Why::Skipped(_) | Why::Unfit(_) | Why::NotRecorded => None,
    }
}

/// The answer with its JSON, if that was asked for and is what it should be.
pub(crate) fn shaped(response: Response, output: &Output) -> Result<Response, Error> {
    let Output::Json(schema) = output else { return Ok(Response { json: None, ..response }) };
    let wrong = Error { attempts: response.attempts, ..Error::new(Why::WrongShape) };
    match serde_json::from_str::<Value>(bare(&response.text)) {
        Ok(value) if schema.fits(&value) => Ok(Response { json: Some(value), ..response }),
        Ok(_) => Err(wrong),
        Err(_) if response.cut => Err(Error { why: Why::CutShort, ..wrong }),
        Err(_) => Err(wrong),
    }
}

/// JSON without the fence that models like to put around it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|t| t.strip_suffix("```"));
    inner.map_or(text, |t| t.strip_prefix("json").unwrap_or(t).trim())
}

pub(crate) fn restored(response: Response, redacted: &Redacted) -> Response {
    let text = redacted.restore(&response.text);
    let json = response.json.map(|value| redacted.restore_json(value));
    // The text of JSON would no longer be JSON where a thing has a quote in it.
    let text = json.as_ref().map_or(text, Value::to_string);
    Response { text, json, ..response }
}

/// Places for questions in flight.
#[derive(Debug)]
struct Places {
    free: Mutex<u32>,
    left: Condvar,
}

#[derive(Debug)]
struct Place<'a>(&'a Places);

impl Places {
    /// A place, if there is one within the time.
    fn take(&self, time: Duration) -> Option<Place<'_>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.left.wait_timeout_while(free, time, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.left.notify_one();
    }
}
