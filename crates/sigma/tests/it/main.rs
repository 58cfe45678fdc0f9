//! What the crate does as a whole: conformance on public rules, an oracle, refusals, mutations, correlations.

mod conformance;
mod support;
