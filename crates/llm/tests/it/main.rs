//! Models against a local server that answers as providers do, well and badly.

mod caches;
mod guards;
mod providers;
mod queues;
mod real;
mod recordings;
mod redaction;
mod schemas;
mod secrets;
mod server;
mod settings;
mod world;
