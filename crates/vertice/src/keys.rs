//! API keys while no daemon runs: the same keyring over the same data directory.
//!
//! Whoever lost the only key could not add another if adding one needed it. Whoever may write the data directory may
//! decide in the end anyway, so nothing more is asked of them; what they did stands in the log, for the next start to
//! enter in the audit.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use vertice_api::Keyring;
use vertice_model::Principal;
use vertice_store::{Options, Store};

use crate::cli::Failure;
use crate::clock::Clock;
use crate::config::Config;
use crate::pipeline::{last_time, runtime};

/// Does something with the keys of the data directory, as whoever is on this machine.
///
/// # Errors
/// When there is no data directory, it is in use, or can not be read; and what `change` gives.
pub fn offline<T>(config: &Config, change: impl FnOnce(&Keyring, &Store, &Principal) -> Result<T>) -> Result<T> {
    let dir = &config.data.dir;
    if !dir.join("vertice.db").is_file() {
        // A new one would only hide that another is meant.
        let text = format!("no server runs, and there is no data of Vertice in {}", dir.display());
        return Err(Failure::NotFound(text).into());
    }
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let clock = Arc::new(Clock::start());
    let now = Arc::clone(&clock);
    let store = Store::open(dir, Arc::new(move || now.now()), Options::default());
    let store = store.context("the server can not be reached, so the keys are looked for here")?;
    clock.not_before(last_time(&store)?);
    let changed = change(&Keyring::new(&store.api_keys()?), &store, &Principal("local".to_owned()));
    store.close()?;
    changed
}
