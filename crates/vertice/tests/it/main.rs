//! The binary, as its users run it.

mod kill;
mod process;
mod sources;
