//! An engine divided into shards detects what one engine does.

mod merge;
