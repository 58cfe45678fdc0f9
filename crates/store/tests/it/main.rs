//! The store, from outside.

mod conformance;
mod crash;
mod damage;
mod disk_full;
mod fixture;
mod writing;
