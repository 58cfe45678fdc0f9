//! Syslog frames and sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vertice_stream::syslog::{Frame, Frames, tcp, udp};
use vertice_stream::{Counts, limits};

fn check(stream: impl AsRef<[u8]>, expected: &[&str]) {
    let stream = stream.as_ref();
    let steps: &[usize] = if stream.len() > 10_000 { &[997, 1 << 20] } else { &[1, 2, 5, 1 << 20] };
    for &step in steps {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        let mut each = |frame| match frame {
            Frame::Line(line) => found.push(line),
            Frame::Refused(reason) => found.push(format!("! {reason}")),
        };
        stream.chunks(step).for_each(|piece| frames.push(piece, &mut each));
        frames.finish(&mut each);
        assert_eq!(found, expected, "in steps of {step}");
    }
}

#[test]
fn frames_are_counted_or_lines_each_by_its_own_beginning() {
    check("", &[]);
    check("<34>a\n<34>b\r\n\n<34>c", &["<34>a", "<34>b", "<34>c"]);
    check("5 <34>a6 <34>b\n7 <34>c\nd<34>e\n8 <34>fghi", &["<34>a", "<34>b", "<34>c#012d", "<34>e", "<34>fghi"]);
    check("2026 was a line\n12345678 <34>too\n0 <34>x\n12", &["2026 was a line", "12345678 <34>too", "0 <34>x", "12"]);
    check(
        "{\"a\":1}\n{\"a\":\n11 <34>1 {\"a\":",
        &["{\"a\":1}", "! no JSON: EOF while parsing a value at column 5", "<34>1 {\"a\":"],
    );
}

#[test]
fn frames_that_are_too_long_or_break_off_are_refused_and_the_rest_kept() {
    let long = "x".repeat(65_537);
    let fits = "y".repeat(65_532);
    let too_long = "! a frame longer than 65536 bytes";
    check(
        format!("<34>{long}\n<34>a\n65541 <34>{long}<34>b\n65536 <34>{fits}<34>c"),
        &[too_long, "<34>a", too_long, "<34>b", &format!("<34>{fits}"), "<34>c"],
    );
    check("99 <34>cut", &["! a frame that breaks off"]);
    check("9999999 <34>cut", &[too_long]);
    check(b"<34>user \xFF\0\n", &["<34>user \u{FFFD}"]);
}

fn start()
-> (mpsc::Sender<vertice_stream::Batch>, mpsc::Receiver<vertice_stream::Batch>, Arc<Counts>, CancellationToken) {
    let (queue, batches) = mpsc::channel(1);
    (queue, batches, Arc::default(), CancellationToken::new())
}

#[tokio::test]
async fn tcp_waits_for_the_queue_and_hands_over_what_it_has() {
    let (queue, mut batches, counts, stop) = start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn(tcp(listener, queue, Arc::clone(&counts), stop.clone()));
    let sender = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for i in 0..20_000 {
            stream.write_all(format!("<34>message {i}\n").as_bytes()).await.unwrap();
        }
        stream.write_all(b"99 <34>cut").await.unwrap();
    });
    let mut found = Vec::new();
    while found.len() < 20_000 {
        let batch = batches.recv().await.unwrap();
        assert!(batch.events.len() <= limits::BATCH_EVENTS_MAX && batch.cursor.is_none());
        found.extend(batch.events);
    }
    sender.await.unwrap();
    assert!(found.iter().enumerate().all(|(i, e)| e.line == format!("<34>message {i}") && &*e.origin == "syslog"));
    stop.cancel();
    running.await.unwrap();
    assert_eq!((counts.events.load(Relaxed), counts.refused.load(Relaxed)), (20_000, 1));
    assert!(batches.recv().await.is_none());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away_and_counted() {
    let (queue, mut batches, counts, stop) = start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = tokio::spawn(tcp(listener, queue, Arc::clone(&counts), stop.clone()));
    let mut held = Vec::new();
    for _ in 0..limits::CONNECTIONS_MAX {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    // The listener accepts in order, so a message from the last held one proves that all of them are accepted.
    held.last_mut().unwrap().write_all(b"<34>a\n").await.unwrap();
    assert_eq!(batches.recv().await.unwrap().events[0].line, "<34>a");
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut nothing = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut refused, &mut nothing).await;
    assert!(closed.is_err() || nothing.is_empty());
    assert_eq!(counts.turned_away.load(Relaxed), 1);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn udp_drops_and_counts_when_the_queue_stays_full() {
    let (queue, mut batches, counts, stop) = start();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let running = tokio::spawn(udp(socket, queue, Arc::clone(&counts), stop.clone()));
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Nobody takes the batches: one event fills the queue, then so many wait, and at last one is dropped.
    let mut sent = 0;
    while counts.dropped.load(Relaxed) == 0 {
        sender.send_to(format!("<34>message {sent}").as_bytes(), address).await.unwrap();
        sent += 1;
        tokio::task::yield_now().await;
    }
    let mut found = 0;
    while found < limits::DATAGRAMS_WAITING_MAX {
        found += batches.recv().await.unwrap().events.len();
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(sent > limits::DATAGRAMS_WAITING_MAX && counts.events.load(Relaxed) >= found as u64);
}
