//! The circuit breaker: a provider that fails again and again is left alone for a while.
//!
//! Closed, it counts failures in a row. Open, nothing is asked. Half-open, one question is let through, and its answer
//! decides. Each opening lasts twice as long as the one before, up to a limit.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use vertice_model::Timestamp;

use crate::clock::after;
use crate::error::Skip;
use crate::limits;

/// A breaker.
#[derive(Debug)]
pub(crate) struct Breaker(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    openings_in_a_row: u32,
    counts: BreakerCounts,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Timestamp },
    HalfOpen { until: Timestamp },
}

/// What a breaker has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct BreakerCounts {
    /// How often it opened.
    pub opened: u64,
    /// How often it closed again.
    pub closed: u64,
    /// Questions that it kept back.
    pub kept_back: u64,
}

/// In which state a breaker is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// All is asked.
    Closed,
    /// Nothing is asked.
    Open,
    /// One question is let through, to see.
    HalfOpen,
}

/// How an attempt went, as far as it says something of the provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Went {
    Well,
    Badly,
}

impl Breaker {
    pub(crate) fn new() -> Breaker {
        let inner =
            Inner { state: State::Closed { failures: 0 }, openings_in_a_row: 0, counts: BreakerCounts::default() };
        Breaker(Mutex::new(inner))
    }

    /// Whether to ask now. Whoever may ask says afterwards how it went.
    pub(crate) fn admit(&self, now: Timestamp) -> Result<(), Skip> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.state {
            State::Closed { .. } => Ok(()),
            // One that was let through and never heard of again does not keep the others waiting for ever.
            State::Open { until } | State::HalfOpen { until } if now >= until => {
                inner.state = State::HalfOpen { until: after(now, limits::PROBE) };
                Ok(())
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                inner.counts.kept_back += 1;
                Err(Skip::CircuitOpen)
            }
        }
    }

    pub(crate) fn tell(&self, now: Timestamp, went: Went) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = match inner.state {
            State::Closed { failures } => failures + 1,
            State::HalfOpen { .. } => limits::FAILURES,
            // It was asked before the breaker opened, and says nothing new unless it went well.
            State::Open { .. } if went == Went::Badly => return,
            State::Open { .. } => 0,
        };
        match went {
            Went::Well => {
                inner.counts.closed += u64::from(!matches!(inner.state, State::Closed { .. }));
                inner.state = State::Closed { failures: 0 };
                inner.openings_in_a_row = 0;
            }
            Went::Badly if failures >= limits::FAILURES => {
                inner.state = State::Open { until: after(now, open_for(inner.openings_in_a_row)) };
                inner.openings_in_a_row = inner.openings_in_a_row.saturating_add(1);
                inner.counts.opened += 1;
            }
            Went::Badly => inner.state = State::Closed { failures },
        }
    }

    pub(crate) fn look(&self) -> (Circuit, BreakerCounts) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let circuit = match inner.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        };
        (circuit, inner.counts)
    }
}

fn open_for(openings: u32) -> Duration {
    limits::OPEN.saturating_mul(1 << openings.min(16)).min(limits::OPEN_MAX)
}
