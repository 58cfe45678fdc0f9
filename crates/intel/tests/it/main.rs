//! Integration tests of what is known of attackers.

mod intent;
mod labelled;
mod mapping;
mod narrative;
