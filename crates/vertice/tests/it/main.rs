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
mod disk;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill;
mod live;
#[cfg(test)]
mod newcomer;
#[cfg(test)]
mod playbooks;
#[cfg(test)]
mod priority;
mod process;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod sentinel;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod world;
#[cfg(test)]
mod writers;
