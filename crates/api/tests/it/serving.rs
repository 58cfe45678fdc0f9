//! Connections, on real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vertice_api::{Serving, serve};

use crate::harness::{Rig, Setup, contract_event};

const LONG: Duration = Duration::from_secs(30);

async fn start(rig: &Rig, serving: Serving) -> (std::net::SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener, rig.router.clone(), serving, rig.stop.clone())))
}

fn idle() -> Rig {
    Rig::with(Setup { engine: false, ..Setup::default() })
}

/// Reads until the other side closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _end = timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_a_socket_is_answered() {
    let rig = idle();
    let (address, _) = start(&rig, Serving::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"status\":\"ok\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_cut_off() {
    let rig = idle();
    let serving = Serving { head_time: Duration::from_millis(200), ..Serving::default() };
    let (address, _) = start(&rig, serving).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: lo").await.unwrap();
    assert!(!rest(&mut slow).await.contains("200 OK"));
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_head_is_refused() {
    let rig = idle();
    let (address, _) = start(&rig, Serving::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    // The server may close before all of it is written.
    let _written = client.write_all(head.as_bytes()).await;
    assert!(!rest(&mut client).await.contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_off() {
    let rig = idle();
    let serving = Serving { write_pause: Duration::from_millis(200), ..Serving::default() };
    let (address, _) = start(&rig, serving).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let never_reads = async { while client.write_all(request).await.is_ok() {} };
    timeout(LONG, never_reads).await.expect("the server gives it up");
}

#[tokio::test(flavor = "multi_thread")]
async fn further_connections_wait_for_a_place() {
    let rig = idle();
    let (address, _) = start(&rig, Serving { connections_max: 1, ..Serving::default() }).await;
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(request).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(request).await.unwrap();
    assert!(timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await.is_err());
    drop(first);
    timeout(LONG, second.read_exact(&mut byte)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn open_requests_are_answered_before_the_end() {
    let rig = idle();
    let (address, server) = start(&rig, Serving::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let body = contract_event("e1", "x");
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body, so the request is being worked on.
    let mut asked = [0; 25];
    client.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    rig.stop.cancel();
    client.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 202 Accepted"), "{answer}");
    timeout(LONG, server).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_end_are_not_waited_for() {
    let rig = idle();
    let serving = Serving { drain_time: Duration::from_millis(200), ..Serving::default() };
    let (address, server) = start(&rig, serving).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    client.read_exact(&mut asked).await.unwrap();
    rig.stop.cancel();
    timeout(LONG, server).await.unwrap().unwrap();
}

/// A body that never comes.
struct Never;

impl futures_core::Stream for Never {
    type Item = Result<Vec<u8>, std::io::Error>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

/// Time stands still but for what waits for it.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_cut_off() {
    let rig = idle();
    let begun = tokio::time::Instant::now();
    let answer = rig.events(axum::body::Body::from_stream(Never)).await;
    assert_eq!(answer.status, 408, "{}", answer.text);
    assert!(begun.elapsed() >= vertice_api::limits::BODY_PAUSE);
}
