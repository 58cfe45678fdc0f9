//! The store, from outside.

mod conformance;
mod fixture;
