//! Small real servers that tests talk to, on loopback ports of their own, and what such tests share.

pub(crate) mod smtp;
pub(crate) mod web;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use vertice_engine::decide::Policy;
use vertice_model::{Action, Order, OrderId, Outcome, Receipt, RunId, Task, ThreatId, Timestamp};

use crate::testing::taken_up;
use crate::{Responder, Settings};

/// The time of every order.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(1_767_323_045)
}

/// An order of an action. `unique` makes its id.
pub(crate) fn order(unique: &str, task: Task, action: Action) -> Order {
    Order {
        order_id: OrderId::derive(unique),
        run_id: RunId::derive("run"),
        threat_id: ThreatId::derive("threat"),
        action_id: "a".to_owned(),
        containment_id: None,
        task,
        action,
        until: None,
        success_criteria: Vec::new(),
        timeout_s: 20,
        attempt: 1,
        ordered_at: now(),
    }
}

/// Carries an order out, with what is kept in `dir`.
pub(crate) fn carry(settings: &Settings, dir: &Path, order: &Order, begun: bool) -> Receipt {
    Responder::open(settings.clone(), dir).unwrap().carry(order, taken_up(begun), &Policy::default(), now())
}

/// The reason of a receipt that is not done, behind a word for its kind.
pub(crate) fn reason(receipt: &Receipt) -> String {
    match &receipt.outcome {
        Outcome::Failed { reason, retry: true } => format!("retry: {reason}"),
        Outcome::Failed { reason, retry: false } => format!("final: {reason}"),
        Outcome::Unknown { reason } => format!("unknown: {reason}"),
        Outcome::Done | Outcome::Already => format!("{:?}: {}", receipt.outcome, receipt.note),
    }
}

/// The settings of a text of TOML-like JSON.
pub(crate) fn settings(json: serde_json::Value) -> Settings {
    serde_json::from_value(json).unwrap()
}

/// A file of the given text.
pub(crate) fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

/// What a process that is to be killed is told.
const CHILD: &str = "VERTICE_TEST_CHILD";

/// What this process is told, if it is one that is to be killed.
pub(crate) fn told() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// A process that runs this very test, and is told something.
pub(crate) fn to_be_killed(test: &str, told: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, told);
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

/// Ends a process as nothing can be ended more suddenly.
pub(crate) fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A certificate for `localhost` and 127.0.0.1 that nobody signed but itself, and a server's side of TLS with it;
/// `None`, with a word about it, where there is nothing to make one with.
pub(crate) fn certificate(dir: &Path) -> Option<(PathBuf, Arc<ServerConfig>)> {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("left out: encrypted connections, for Debian's openssl is missing");
        return None;
    }
    let config = file(
        dir,
        "openssl.cnf",
        "[req]\nprompt = no\ndistinguished_name = who\nx509_extensions = more\n[who]\nCN = localhost\n[more]\n\
         subjectAltName = DNS:localhost,IP:127.0.0.1\nbasicConstraints = critical,CA:FALSE\n",
    );
    let (key, pem) = (dir.join("key.pem"), dir.join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .arg("-config")
        .arg(&config)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&pem)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let chain = CertificateDer::pem_file_iter(&pem).unwrap().map(Result::unwrap).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).unwrap())
        .unwrap();
    Some((pem, Arc::new(config)))
}
