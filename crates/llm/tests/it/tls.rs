//! Over TLS: only who is trusted gets the question, and the key with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use vertice_llm::{Broken, Provider, Why};

use crate::world::{models, one, question, told};

/// A certificate for `localhost` and its key, made by the openssl program.
fn certificate(dir: &Path) -> bool {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out", "cert.pem"]).current_dir(dir);
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) => {
            assert!(status.success(), "openssl made no certificate");
            true
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "openssl: {error}");
            println!("left out: there is no openssl");
            false
        }
    }
}

/// Counts the questions that come, and answers each.
fn serve(listener: TcpListener, config: Arc<ServerConfig>, asked: Arc<AtomicUsize>) {
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut reader = BufReader::new(StreamOwned::new(session, connection));
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                let value = line.to_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse().unwrap());
                length = value.unwrap_or(length);
                line.clear();
            }
            if length == 0 || reader.read_exact(&mut vec![0; length]).is_err() {
                continue;
            }
            asked.fetch_add(1, Ordering::SeqCst);
            let body = r#"{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}"#;
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = reader.get_mut().write_all(head.as_bytes());
        }
    });
}

#[test]
fn only_who_is_trusted_gets_the_question() {
    let dir = tempfile::tempdir().unwrap();
    if !certificate(dir.path()) {
        return;
    }
    let chain = vec![CertificateDer::from_pem_file(dir.path().join("cert.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(dir.path().join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    serve(listener, config, Arc::clone(&asked));
    let (_, world) = told();
    let mut settings = one(Provider::Compatible, &format!("https://localhost:{port}/v1"));
    let error = models(&settings, &world).complete(&question(&world, "?")).unwrap_err();
    assert_eq!((error.why, error.attempts), (Why::Connection(Broken::Untrusted), 1));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    settings.models.get_mut("m").unwrap().ca_file = Some(dir.path().join("cert.pem"));
    let answer = models(&settings, &world).complete(&question(&world, "?")).unwrap();
    // This one does not say what it took, so that is reckoned.
    assert_eq!((answer.text.as_str(), answer.usage.estimated), ("ok", true));
    settings.models.get_mut("m").unwrap().base_url = format!("https://127.0.0.1:{port}/v1");
    let error = models(&settings, &world).complete(&question(&world, "?")).unwrap_err();
    assert_eq!(error.why, Why::Connection(Broken::Untrusted), "the certificate is for another name");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
