//! Kafka: records in, records out, by librdkafka.
//!
//! A [`Consumer`] is a member of a consumer group. It hands out batches of records and what happens to its partitions,
//! in the order in which they happen, to the one thread that owns it; it commits nothing by itself. A [`Publisher`]
//! writes batches idempotently and says what became of each. [`check`] looks, before anything is started, whether
//! there is a broker, whether it lets us in, and whether it has the topics.
//!
//! Nothing here interprets a value. What a broker or another client of it sends is bounded and never trusted.

mod batch;
mod check;
mod cloud;
mod consumer;
mod ears;
mod held;
mod noise;
mod problem;
mod publisher;
mod settings;
mod wait;

pub use batch::{Batch, Headers, Record};
pub use check::{Found, Patience, Wanted, check};
pub use cloud::{About, cloud_event};
pub use consumer::{Consumer, Next};
pub use held::{Begin, Epoch, Held, Lag, Partition};
pub use problem::Problem;
pub use publisher::{Delivered, OutRecord, Pending, PublishError, Publisher, Spot};
pub use settings::{Mechanism, Sasl, Secret, Settings, Tls};
