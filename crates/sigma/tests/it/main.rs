//! What the crate does as a whole: conformance on public rules, an oracle, refusals, mutations, correlations.

mod conformance;
mod correlations;
mod hostile;
mod json;
mod language;
mod lints;
mod mutation;
mod oracle;
mod pipelines;
mod random;
mod refusals;
mod support;
mod verdicts;
mod windows;
