//! The binary, as its users run it.

#[cfg(test)]
mod kill;
#[cfg(test)]
mod process;
#[cfg(test)]
mod sources;
