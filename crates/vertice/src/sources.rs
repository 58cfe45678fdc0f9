//! Sources and their supervision: a followed file or journal is started again when it ends by itself, and what a
//! source hands over is put into the log together with where it goes on.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vertice_api::{Metrics, Produce, Source};
use vertice_store::{Cursor, Store, Submission, SubmitError};
use vertice_stream::{Batch, Counts, Local, SourceError, follow, journal, syslog};

use crate::config::Sources;
use crate::limits;

/// The sources as they stand, for whoever asks.
pub type Standing = Arc<Mutex<Vec<Source>>>;

/// What all sources are given.
#[derive(Clone)]
pub struct Rim {
    /// Where events go, and in any case how far each source has been read.
    pub store: Store,
    /// Where events go instead, where many instances share the work.
    pub produce: Option<Produce>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How each stands.
    pub standing: Standing,
    /// When it is cancelled, sources end.
    pub stop: CancellationToken,
}

/// One source, to be started as often as need be.
#[derive(Clone)]
enum Kind {
    File(std::path::PathBuf),
    Journal(std::path::PathBuf),
}

/// Starts every source that is configured or found. Returns them, to be waited for at the end.
///
/// # Errors
/// When an address can not be listened on.
pub async fn start(rim: &Rim, config: &Sources, local: &[Local]) -> Result<JoinSet<()>> {
    let mut running = JoinSet::new();
    let mut kinds: Vec<Kind> = config.files.iter().cloned().map(Kind::File).collect();
    kinds.extend(local.iter().map(|local| match local {
        Local::File { path, .. } => Kind::File(path.clone()),
        Local::Journal { program } => Kind::Journal(program.clone()),
    }));
    for kind in kinds {
        let place = rim.announce(kind.name(), kind.word());
        running.spawn(supervise(rim.clone(), kind, place));
    }
    if !config.syslog_udp.is_empty() {
        let socket = UdpSocket::bind(&config.syslog_udp).await;
        let socket = socket.with_context(|| format!("listening for syslog on UDP {}", config.syslog_udp))?;
        let place = rim.announce(format!("udp://{}", socket.local_addr()?), "syslog_udp");
        let counts = Arc::new(Counts::default());
        let queue = rim.feeder(place, "syslog_udp", &counts, &mut running);
        running.spawn(until_stopped(rim.clone(), place, syslog::udp(socket, queue, counts, rim.stop.clone())));
    }
    if !config.syslog_tcp.is_empty() {
        let listener = TcpListener::bind(&config.syslog_tcp).await;
        let listener = listener.with_context(|| format!("listening for syslog on TCP {}", config.syslog_tcp))?;
        let place = rim.announce(format!("tcp://{}", listener.local_addr()?), "syslog_tcp");
        let counts = Arc::new(Counts::default());
        let queue = rim.feeder(place, "syslog_tcp", &counts, &mut running);
        let accepting = syslog::tcp(listener, queue, counts, rim.stop.clone());
        let accepting = async {
            accepting.await;
            Ok(())
        };
        running.spawn(until_stopped(rim.clone(), place, accepting));
    }
    Ok(running)
}

async fn until_stopped(rim: Rim, place: usize, source: impl Future<Output = Result<(), SourceError>>) {
    match source.await {
        Ok(()) => rim.says(place, "ended"),
        Err(error) => {
            tracing::error!(%error, "a source ended");
            rim.says(place, &error.to_string());
        }
    }
}

/// Runs a source, and again after a pause when it ends by itself.
async fn supervise(rim: Rim, kind: Kind, place: usize) {
    while !rim.stop.is_cancelled() {
        let (queue, batches) = mpsc::channel(limits::SOURCE_BATCHES_WAITING);
        let feeding = tokio::spawn(feed(rim.clone(), place, kind.word(), Arc::default(), batches));
        rim.says(place, "following");
        let ended = kind.run(&rim, queue).await;
        // Everything it handed over is kept before it is started again from where it was.
        if feeding.await.is_err() {
            tracing::error!(source = kind.name(), "handing over events failed");
        }
        let why = ended.err().map_or_else(|| "ended".to_owned(), |e| e.to_string());
        rim.says(place, &why);
        if !rim.stop.is_cancelled() {
            tracing::warn!(source = kind.name(), why, "a source ended; it is started again");
            tokio::select! {
                () = rim.stop.cancelled() => {}
                () = tokio::time::sleep(limits::SOURCE_PAUSE) => {}
            }
        }
    }
}

impl Kind {
    fn name(&self) -> String {
        match self {
            Kind::File(path) => path.display().to_string(),
            Kind::Journal(_) => journal::SOURCE.to_owned(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Kind::File(_) => "file",
            Kind::Journal(_) => "journal",
        }
    }

    async fn run(&self, rim: &Rim, queue: mpsc::Sender<Batch>) -> Result<()> {
        match self {
            Kind::File(path) => {
                let mut follow = follow::Follow {
                    path: path.clone(),
                    // What is there already shows at once what has been going on; events bring their own time.
                    begin: follow::Begin::Start,
                    cursor: None,
                    poll: limits::FILE_POLL,
                };
                follow.cursor = rim.cursor(&follow.source()).await?;
                Ok(follow::run(follow, queue, rim.stop.clone()).await?)
            }
            Kind::Journal(program) => {
                let cursor = rim.cursor(journal::SOURCE).await?;
                let journal = journal::Journal { program: program.clone(), cursor };
                Ok(journal::run(journal, queue, rim.stop.clone()).await?)
            }
        }
    }
}

impl Rim {
    async fn cursor(&self, source: &str) -> Result<Option<String>> {
        let (store, name) = (self.store.clone(), source.to_owned());
        let bytes = tokio::task::spawn_blocking(move || store.cursor(&name)).await??;
        Ok(bytes.and_then(|b| String::from_utf8(b).ok()))
    }

    /// Adds a source to those that stand; what is returned is its place among them.
    pub fn announce(&self, name: String, kind: &str) -> usize {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.push(Source { name, kind: kind.to_owned(), state: "starting".to_owned(), events: 0, refused: 0 });
        standing.len() - 1
    }

    /// How a source is now.
    pub fn says(&self, place: usize, state: &str) {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)[place].state = state.to_owned();
    }

    /// Counts what a source handed over.
    pub fn counts(&self, place: usize, events: u64, refused: u64) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing[place].events += events;
        standing[place].refused += refused;
    }

    fn feeder(
        &self,
        place: usize,
        word: &'static str,
        counts: &Arc<Counts>,
        running: &mut JoinSet<()>,
    ) -> mpsc::Sender<Batch> {
        let (queue, batches) = mpsc::channel(limits::SOURCE_BATCHES_WAITING);
        self.says(place, "listening");
        running.spawn(feed(self.clone(), place, word, Arc::clone(counts), batches));
        queue
    }
}

/// Puts what a source hands over into the log, until it has ended.
async fn feed(rim: Rim, place: usize, word: &'static str, counts: Arc<Counts>, mut batches: mpsc::Receiver<Batch>) {
    while let Some(batch) = batches.recv().await {
        let lost = lost(word, &counts);
        let (events, refused) = (batch.events.len() as u64, batch.refused.len() as u64 + lost.refused);
        for refused in batch.refused.iter().take(limits::REFUSALS_TOLD as usize) {
            tracing::warn!(source = word, number = refused.number, reason = %refused.reason, "refused");
        }
        let cursors = batch.cursor.map(|c| Cursor { source: c.source.to_string(), value: c.value.into_bytes() });
        let cursors = cursors.into_iter().collect();
        let submission = Submission { events: batch.events, cursors, ..Submission::default() };
        if !keep(&rim, submission).await {
            return;
        }
        rim.metrics.events_accepted(word, events);
        rim.metrics.events_refused(word, refused);
        rim.metrics.events_dropped(word, lost.dropped);
        rim.counts(place, events, refused + lost.dropped);
    }
}

/// Events that a listener did not take.
#[derive(Debug, Eq, PartialEq)]
struct Lost {
    refused: u64,
    dropped: u64,
}

/// What a listener refused or dropped since it was last asked; said as well.
fn lost(word: &'static str, counts: &Counts) -> Lost {
    let since = [&counts.refused, &counts.dropped, &counts.turned_away].map(|count| count.swap(0, Relaxed));
    let [refused, dropped, turned_away] = since;
    if since != [0; 3] {
        tracing::warn!(source = word, refused, dropped, turned_away, "not everything that was sent was taken");
    }
    Lost { refused, dropped }
}

/// Submits until it is kept. False when it never will be: then the source is read again from its cursor after a restart.
async fn keep(rim: &Rim, mut submission: Submission) -> bool {
    loop {
        if let Some(produce) = rim.produce.as_ref().filter(|_| !submission.events.is_empty()) {
            match produce(submission.events.clone()).await {
                Ok(()) => submission.events.clear(),
                Err(error) => {
                    tracing::warn!(%error, "events of a source wait");
                    tokio::select! {
                        () = rim.stop.cancelled() => return false,
                        () = tokio::time::sleep(limits::SOURCE_PAUSE) => continue,
                    }
                }
            }
        }
        let pause: Duration = match rim.store.submit(submission.clone()).await {
            Ok(_) => return true,
            Err(SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after }) => retry_after,
            Err(error @ (SubmitError::TooLarge { .. } | SubmitError::Stopped(_))) => {
                tracing::error!(%error, "events could not be kept");
                return false;
            }
        };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_listener_lost_is_told_once() {
        let counts = Counts::default();
        counts.refused.store(2, Relaxed);
        counts.dropped.store(3, Relaxed);
        counts.turned_away.store(1, Relaxed);
        assert_eq!(lost("syslog_udp", &counts), Lost { refused: 2, dropped: 3 }, "a connection is no event");
        assert_eq!(lost("syslog_udp", &counts), Lost { refused: 0, dropped: 0 });
    }
}
