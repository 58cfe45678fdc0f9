//! The store, from outside.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod audit_forgery;
mod conformance;
mod crash;
mod damage;
mod disk_full;
mod fixture;
mod moving;
mod postgres;
mod writing;
