//! The store, from outside.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod audit_forgery;
#[cfg(test)]
mod conformance;
mod crash;
mod damage;
mod disk_full;
mod fixture;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod told;
mod writing;
