//! Kafka, beside the embedded store: one more sense and one more hand.

pub mod topics;
