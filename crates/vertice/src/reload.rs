//! Hot reload: the content is read again while everything runs.
//!
//! All or nothing. Either every file that was used before can still be used and every new one can too, and the set
//! goes into force as an input of the log; or the reason is told and the set in force stays. Files are read and
//! compiled on a thread of their own, so that events are taken in and judged meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use vertice_api::{LastReload, ReloadError, Reloaded};
use vertice_engine::{Content, Input};
use vertice_store::Store;

use crate::cli::plain;
use crate::clock::Clock;
use crate::config::Config;
use crate::content::{self, Ready};
use crate::{limits, up};

/// What a reload needs.
pub struct Reload {
    config: Config,
    /// The log that it goes into; `None` where each shard puts it into its own.
    store: Option<Store>,
    clock: Arc<Clock>,
    /// Where judging finds what is compiled.
    pub ready: Arc<Ready>,
    /// The content in force, for whoever shows it.
    pub in_force: watch::Sender<Arc<Content>>,
    /// What came of the last attempt.
    pub last: watch::Sender<Option<LastReload>>,
    /// How the content files looked when they were last read, which one does at a time.
    seen: Mutex<[u8; 32]>,
}

impl Reload {
    /// Of the content that is in force at the start, and how its files looked before they were read.
    pub fn new(
        config: &Config,
        store: Option<&Store>,
        clock: &Arc<Clock>,
        content: Arc<Content>,
        look: [u8; 32],
    ) -> Reload {
        Reload {
            config: config.clone(),
            store: store.cloned(),
            clock: Arc::clone(clock),
            ready: Arc::new(Ready::with(Arc::clone(&content))),
            in_force: watch::Sender::new(content),
            last: watch::Sender::new(None),
            seen: Mutex::new(look),
        }
    }

    /// Reads the content again and puts it in force, if all of it can be.
    ///
    /// # Errors
    /// When a file is newly refused, a directory can not be read, or the log can not take it. Then nothing changed.
    pub async fn reload(&self, why: &str) -> Result<Reloaded, ReloadError> {
        let mut seen = self.seen.lock().await;
        // Before they are read, or a change in between would go unseen.
        *seen = self.look().await;
        let result = self.attempt().await;
        let problem = match &result {
            Ok(reloaded) if reloaded.changed => {
                let rules = reloaded.content.rules.set().len();
                tracing::info!(rules, left_out = reloaded.content.refused.len(), "content is reloaded ({why})");
                None
            }
            Ok(_) => {
                tracing::info!("content is as it was ({why})");
                None
            }
            Err(error) => {
                let problem = error.to_string();
                tracing::warn!("content is not reloaded ({why}), the set in force stays: {}", plain(&problem));
                Some(problem)
            }
        };
        self.last.send_replace(Some(LastReload { at: self.clock.now(), problem }));
        result
    }

    async fn attempt(&self) -> Result<Reloaded, ReloadError> {
        let in_force = self.in_force.borrow().clone();
        let config = self.config.clone();
        let read = tokio::task::spawn_blocking(move || {
            let content = Content::from(up::files(&config)?);
            // What says the same need not be compiled; looking at what another holds compiles it, here and now.
            let same = content.digest() == in_force.digest();
            anyhow::Ok(if same { in_force } else { checked(content, &in_force)? })
        });
        let content = match read.await {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => return Err(error.downcast().unwrap_or_else(|e| ReloadError::Failed(format!("{e:#}")))),
            Err(panicked) => return Err(ReloadError::Failed(format!("reading it failed: {panicked}"))),
        };
        if content.digest() == self.in_force.borrow().digest() {
            return Ok(Reloaded { changed: false, content });
        }
        self.ready.add(Arc::clone(&content));
        if let Some(store) = &self.store {
            let mut judged = store.judged();
            let accepted = store.append(Input::Content(Arc::clone(&content))).await.map_err(ReloadError::Log)?;
            // It is in force for what is judged after it. When judging is far behind, it is shown before that.
            let wait = judged.wait_for(|position| *position >= accepted.first);
            if tokio::time::timeout(limits::RELOAD_JUDGED_TIME, wait).await.is_err() {
                tracing::warn!(position = %accepted.first, "judging is behind; the content is in force once it gets there");
            }
        }
        self.in_force.send_replace(Arc::clone(&content));
        Ok(Reloaded { changed: true, content })
    }

    /// Reloads when told to by SIGHUP, and when files have changed and are no longer being changed.
    pub async fn watch(self: Arc<Self>, mut told: Signal, stop: CancellationToken) {
        let mut changing = None;
        loop {
            let why = tokio::select! {
                () = stop.cancelled() => return,
                _ = told.recv() => "SIGHUP",
                () = tokio::time::sleep(limits::RELOAD_POLL) => {
                    let now = self.look().await;
                    if now == *self.seen.lock().await {
                        changing = None;
                        continue;
                    }
                    // Whoever writes a file is given time to write all of it.
                    if changing.replace(now) != Some(now) {
                        continue;
                    }
                    "files changed"
                }
            };
            changing = None;
            // What came of it is logged, and kept for whoever asks.
            let _ = self.reload(why).await;
        }
    }

    async fn look(&self) -> [u8; 32] {
        let dirs = self.config.content.clone();
        // A failure looks like nothing else, and like itself.
        tokio::task::spawn_blocking(move || content::look(&dirs)).await.unwrap_or_default()
    }
}

/// What tells a reload to begin. From here on SIGHUP no longer ends the process.
///
/// # Errors
/// When the system refuses it.
pub fn told_to_reload() -> Result<Signal> {
    signal(SignalKind::hangup()).context("listening for SIGHUP")
}

/// Content of which nothing is refused that was not before: a file that was left out at the start holds nothing up.
fn checked(content: Content, in_force: &Content) -> Result<Arc<Content>, ReloadError> {
    let before: BTreeSet<&str> = in_force.refused.iter().map(|error| error.path.as_str()).collect();
    let new: Vec<_> = content.refused.iter().filter(|error| !before.contains(error.path.as_str())).cloned().collect();
    if new.is_empty() { Ok(Arc::new(content)) } else { Err(ReloadError::Refused(new)) }
}

#[cfg(test)]
mod tests {
    use vertice_engine::ContentFile;

    use super::*;

    #[test]
    fn only_what_is_newly_refused_holds_a_reload_up() {
        let file = |path: &str, text: &str| ContentFile { path: format!("rules:{path}"), text: text.into() };
        let good = "title: t\nlogsource: {category: dns}\ndetection: {s: {query: x}, condition: s}\n";
        let before = Content::compile(vec![file("a.yml", "title: ["), file("b.yml", good)]);
        let still = Content::compile(vec![file("a.yml", "title: {"), file("b.yml", good), file("c.yml", good)]);
        assert_eq!(checked(still, &before).unwrap().rules.set().len(), 2);
        let broken = Content::compile(vec![file("a.yml", "title: ["), file("b.yml", "title: [")]);
        let Err(ReloadError::Refused(refused)) = checked(broken, &before) else { panic!("it is refused") };
        assert_eq!(refused.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["b.yml"]);
    }
}
