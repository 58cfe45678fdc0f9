//! The binary, as its users run it.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bouncers;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod dashboard;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod evaluation;
#[cfg(test)]
mod image;
#[cfg(feature = "kafka")]
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod kubernetes;
mod live;
#[cfg(test)]
#[cfg(feature = "kafka")]
mod many;
#[cfg(test)]
mod metrics;
mod migrate;
#[cfg(test)]
mod newcomer;
#[cfg(test)]
mod playbooks;
#[cfg(test)]
mod priority;
mod process;
mod prometheus;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod sentinel;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod unit;
#[cfg(test)]
mod world;
#[cfg(test)]
mod writers;
