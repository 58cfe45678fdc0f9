//! A store in a fresh directory, an engine that judges its log, and a router to call.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use vertice_api::{
    Access, Api, KeyPolicy, Links, Metrics, NewKey, RefusedLine, Reloaded, Source, SplitBody, SplitError,
};
use vertice_engine::{Content, ContentFile, Effect, EffectKind, Engine, Input, Record, Stamp};
use vertice_intel::{Facts, Intent};
use vertice_model::{EffectId, Position, Timestamp};
use vertice_store::{Clock, Options, Store};

/// The time at which every test begins.
pub const START: &str = "2026-03-01T12:00:00Z";

/// Everything that a test needs. The store's directory goes with it.
pub struct Rig {
    pub store: Store,
    pub router: Router,
    pub stop: CancellationToken,
    /// A key that may decide.
    pub key: String,
    now: Arc<AtomicI64>,
    engine: Option<JoinHandle<()>>,
    /// `None` once another rig goes on with it.
    dir: Option<tempfile::TempDir>,
}

/// How a rig differs from the usual one.
pub struct Setup {
    pub listener: &'static str,
    pub policy: KeyPolicy,
    /// Whether `/ready` and `/metrics` need no key.
    pub open_probes: bool,
    /// Whether an engine runs.
    pub engine: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { listener: "127.0.0.1:8000", policy: KeyPolicy::Decisions, open_probes: false, engine: true }
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Rig {
        let now = Arc::new(AtomicI64::new(START.parse::<Timestamp>().unwrap().as_micros()));
        let key = NewKey::draw().unwrap();
        let mut rig = Rig::open(tempfile::tempdir().unwrap(), now, &setup, &key.secret);
        let content = content();
        append(&rig.store, Input::Content(content.clone()));
        if setup.engine {
            rig.engine = Some(judge(rig.store.clone(), rig.stop.clone(), content));
            rig.settle();
        }
        rig
    }

    /// Ends, and begins again with the same directory and keys. Without an engine.
    pub fn restart(mut self) -> Rig {
        let dir = self.dir.take().unwrap();
        let (now, key) = (self.now.clone(), self.key.clone());
        drop(self);
        Rig::open(dir, now, &Setup::default(), &key)
    }

    fn open(dir: tempfile::TempDir, now: Arc<AtomicI64>, setup: &Setup, key: &str) -> Rig {
        let clock: Clock = {
            let now = now.clone();
            // Each look is a microsecond later, so that no two decisions are made at one time.
            Arc::new(move || Timestamp::from_micros(now.fetch_add(1, Ordering::SeqCst)))
        };
        let store = Store::open(dir.path(), clock.clone(), Options::default()).unwrap();
        let content = content();
        let ana = vertice_api::digest(key);
        std::thread::scope(|scope| scope.spawn(|| store.add_api_key("ana", ana)).join()).unwrap().unwrap();
        let keys = store.api_keys().unwrap();
        let stop = CancellationToken::new();
        let access = Access::new(setup.listener.parse().unwrap(), setup.policy, &keys);
        let api = Api {
            produce: None,
            store: store.clone(),
            content: watch::channel(content.clone()).1,
            intent: intent(),
            metrics: Arc::new(Metrics::new(&store)),
            access: if setup.open_probes { access.with_open_probes() } else { access },
            links: links(),
            clock,
            split,
            sources: Arc::new(|| {
                vec![Source {
                    name: "/var/log/auth.log".into(),
                    kind: "file".into(),
                    state: "following".into(),
                    events: 3,
                    refused: 0,
                }]
            }),
            reload: {
                let content = content.clone();
                Arc::new(move |_| {
                    let content = content.clone();
                    Box::pin(async move { Ok(Reloaded { changed: false, content }) })
                })
            },
            last_reload: watch::channel(None).1,
            version: "0.0.0-test",
            stop: stop.clone(),
        };
        Rig { store, router: vertice_api::router(api), stop, key: key.to_owned(), now, engine: None, dir: Some(dir) }
    }

    /// Lets time pass, and what is due fall due.
    pub fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        append(&self.store, Input::Tick);
        self.settle();
    }

    /// Lets time pass unnoticed.
    pub fn drift(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// The time, in microseconds, without another look at the clock.
    pub fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    /// Publishes records as if the engine had, at the next position.
    pub fn publish(&self, records: Vec<Record>) {
        let position = self.store.judged_to().plus(1);
        let effect = |(index, record)| Effect { id: EffectId { position, index }, kind: EffectKind::Publish(record) };
        let effects: Vec<Effect> = (0..).zip(records).map(effect).collect();
        let project = || self.store.project(position, &effects).unwrap().wait();
        std::thread::scope(|scope| scope.spawn(project).join()).unwrap().unwrap();
    }

    /// Waits until the whole log is judged.
    pub fn settle(&self) {
        let end = self.store.log_end();
        let mut judged = self.store.judged();
        let wait = async move { judged.wait_for(|p| *p >= end).await.map(|_| ()) };
        std::thread::spawn(move || runtime().block_on(wait)).join().unwrap().unwrap();
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body, text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends JSON with the key.
    pub async fn decide(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("x-api-key", &self.key);
        let request = request.header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Sends a body of events.
    pub async fn events(&self, body: impl Into<Body>) -> Answer {
        self.send(Request::post("/api/v1/events").body(body.into()).unwrap()).await
    }

    /// Sends failed logins that make a brute force of the address, and waits until they are judged.
    pub async fn guess(&self, address: &str) {
        let lines: Vec<String> = (0..20).map(|i| failed_login(address, i)).collect();
        let answer = self.events(lines.join("\n")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        self.settle();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(engine) = self.engine.take() {
            engine.join().unwrap();
        }
        // What is opened after it says whether it was let go of.
        let _closed = self.store.close();
    }
}

/// What makes the links of every rig.
pub fn links() -> Links {
    Links::new(&[7; 32])
}

/// Appends from a thread that may block, which a test's own may not.
fn append(store: &Store, input: Input) {
    std::thread::scope(|scope| scope.spawn(|| store.append_blocking(input)).join()).unwrap().unwrap();
}

/// A line of sshd about a wrong password.
pub fn failed_login(address: &str, i: u32) -> String {
    format!(
        "2026-03-01T11:59:{:02}.000000+00:00 web1 sshd[{}]: Failed password for root from {address} port {} ssh2",
        i % 60,
        1000 + i,
        40_000 + i
    )
}

/// An event in the contract's own form.
pub fn contract_event(id: &str, kind: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","timestamp":"2026-03-01T11:59:00Z","source":"endpoint","event_type":"{kind}","source_ip":"203.0.113.9"}}"#
    )
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn judge(store: Store, stop: CancellationToken, content: Arc<Content>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut engine = Engine::default();
        // What the log has first, without compiling it once more.
        let stamp = Stamp { position: Position(1), now: START.parse().unwrap() };
        engine.apply(stamp, &Input::Content(content));
        store.project(Position(1), &[]).unwrap().wait().unwrap();
        let mut appended = store.appended();
        let runtime = runtime();
        loop {
            appended.mark_unchanged();
            let inputs = store.read(engine.next(), 1_024).unwrap();
            if inputs.is_empty() {
                let more = runtime.block_on(async {
                    tokio::select! {
                        more = appended.changed() => more.is_ok(),
                        () = stop.cancelled() => false,
                    }
                });
                if more {
                    continue;
                }
                return;
            }
            let effects: Vec<_> = inputs.iter().flat_map(|(stamp, input)| engine.apply(*stamp, input)).collect();
            let Ok(projecting) = store.project(Position(engine.next().0 - 1), &effects) else { return };
            if projecting.wait().is_err() {
                return;
            }
        }
    })
}

/// The shipped content, compiled once.
fn content() -> Arc<Content> {
    static CONTENT: OnceLock<Arc<Content>> = OnceLock::new();
    CONTENT.get_or_init(|| Arc::new(Content::compile(files()))).clone()
}

fn files() -> Vec<ContentFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content");
    let text = std::fs::read_to_string(root.join("intel/commands.txt")).unwrap();
    let mut files = vec![ContentFile { path: "intel/commands.txt".into(), text }];
    for kind in ["mappings", "rules", "playbooks"] {
        walk(&root, Path::new(kind), &mut files);
    }
    files
}

/// The shipped facts of attackers, read once.
fn intent() -> Arc<Intent> {
    static INTENT: OnceLock<Arc<Intent>> = OnceLock::new();
    let read = |path: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content").join(path)).unwrap()
    };
    let of = || {
        let [attack, flows, progression] = ["attack", "flows", "progression"].map(|f| read(&format!("intel/{f}.txt")));
        let facts = Facts::parse(&attack, &flows, &progression).unwrap();
        Arc::new(Intent::new(facts, &read("models/intent.txt")).unwrap())
    };
    INTENT.get_or_init(of).clone()
}

fn walk(root: &Path, below: &Path, files: &mut Vec<ContentFile>) {
    let mut entries: Vec<_> = std::fs::read_dir(root.join(below)).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "cases" {
                walk(root, &path, files);
            }
        } else if path.extension().is_some_and(|e| e == "yml") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            files.push(ContentFile { path: path.to_str().unwrap().to_owned(), text });
        }
    }
}

/// As the binary joins the two crates.
fn split(
    bytes: &[u8],
    content_type: Option<&str>,
    content_encoding: Option<&str>,
    origin: &Arc<str>,
) -> Result<SplitBody, SplitError> {
    use vertice_stream::BodyError;
    let body = vertice_stream::split_body(bytes, content_type, content_encoding, origin).map_err(|e| {
        let detail = e.to_string();
        match e {
            BodyError::TooLarge | BodyError::TooMany => SplitError::TooLarge(detail),
            BodyError::UnknownEncoding(_) => SplitError::UnknownEncoding(detail),
            BodyError::BadGzip(_) | BodyError::TornGzip => SplitError::BadEncoding(detail),
        }
    })?;
    let refused = body.refused.into_iter().map(|r| RefusedLine { number: r.number, reason: r.reason });
    Ok(SplitBody { events: body.events, numbers: body.numbers, refused: refused.collect() })
}
