//! The store, from outside.

mod audit;
mod audit_forgery;
mod conformance;
mod crash;
mod damage;
mod disk_full;
mod fixture;
mod writing;
