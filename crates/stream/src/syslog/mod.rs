//! Syslog over UDP (RFC 5426) and TCP (RFC 6587); the payload, RFC 3164 or 5424, is the line.
//!
//! A sender is trusted with nothing: what one connection can hold is bounded, one that says nothing is closed, and
//! when the queue is full TCP waits, so that its sender does too, and UDP drops and counts.

mod frames;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vertice_model::RawEvent;

pub use self::frames::{Frame, Frames};
use crate::limits;
use crate::source::{Batch, Counts, SourceError};

/// Reads one message per datagram until told to stop, or until nobody takes the batches any more.
///
/// # Errors
/// If the socket fails.
pub async fn udp(
    socket: UdpSocket,
    queue: mpsc::Sender<Batch>,
    counts: Arc<Counts>,
    stop: CancellationToken,
) -> Result<(), SourceError> {
    let origin: Arc<str> = "syslog".into();
    let mut datagram = vec![0; limits::FRAME_BYTES_MAX];
    let mut waiting: VecDeque<RawEvent> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            room = queue.reserve(), if !waiting.is_empty() => {
                let Ok(room) = room else { return Ok(()) };
                room.send(next_batch(&mut waiting, &counts));
            }
            received = socket.recv_from(&mut datagram) => {
                let bytes = received.map_err(SourceError::io("receiving syslog over UDP"))?.0;
                match frames::message(&datagram[..bytes]) {
                    Some(Frame::Line(_)) if waiting.len() == limits::DATAGRAMS_WAITING_MAX => {
                        counts.dropped.fetch_add(1, Relaxed);
                    }
                    Some(Frame::Line(line)) => waiting.push_back(RawEvent { origin: Arc::clone(&origin), line }),
                    Some(Frame::Refused(_)) => {
                        counts.refused.fetch_add(1, Relaxed);
                    }
                    None => {}
                }
            }
        }
    }
    while !waiting.is_empty() {
        // What was received is handed over if there is room; nobody waits for a sender that can not wait.
        let Ok(room) = queue.try_reserve() else { break };
        room.send(next_batch(&mut waiting, &counts));
    }
    counts.dropped.fetch_add(waiting.len() as u64, Relaxed);
    Ok(())
}

fn next_batch(waiting: &mut VecDeque<RawEvent>, counts: &Counts) -> Batch {
    let events: Vec<RawEvent> = waiting.drain(..waiting.len().min(limits::BATCH_EVENTS_MAX)).collect();
    counts.events.fetch_add(events.len() as u64, Relaxed);
    Batch { events, ..Batch::default() }
}

/// Accepts connections until told to stop, or until nobody takes the batches any more; returns when the last
/// connection has handed over what it had received. Where no more can be accepted now it goes on when some have ended.
pub async fn tcp(listener: TcpListener, queue: mpsc::Sender<Batch>, counts: Arc<Counts>, stop: CancellationToken) {
    let free = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = queue.closed() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) if is_the_peers(&e) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection that brings syslog could not be accepted");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(limits::ACCEPT_PAUSE) => continue,
                }
            }
        };
        let Ok(held) = Arc::clone(&free).try_acquire_owned() else {
            counts.turned_away.fetch_add(1, Relaxed);
            continue;
        };
        let (queue, counts, stop) = (queue.clone(), Arc::clone(&counts), stop.clone());
        connections.spawn(async move {
            connection(stream, queue, &counts, stop).await;
            drop(held);
        });
    }
    connections.close();
    connections.wait().await;
}

/// Whether an accept failed because of who connected, and the next may do.
fn is_the_peers(e: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(e.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Reads one connection to its end.
async fn connection(
    mut stream: impl AsyncRead + Unpin,
    queue: mpsc::Sender<Batch>,
    counts: &Counts,
    stop: CancellationToken,
) {
    let origin: Arc<str> = "syslog".into();
    let mut frames = Frames::default();
    let mut piece = vec![0; limits::READ_BYTES / 4];
    loop {
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            read = tokio::time::timeout(limits::CONNECTION_IDLE, stream.read(&mut piece)) => read,
        };
        let mut found = Vec::new();
        let ended = match read {
            Ok(Ok(n)) if n > 0 => {
                frames.push(&piece[..n], &mut |frame| found.push(frame));
                false
            }
            Ok(_) | Err(_) => {
                frames.finish(&mut |frame| found.push(frame));
                true
            }
        };
        if !hand_over(found, &origin, &queue, counts).await || ended {
            return;
        }
    }
    let mut found = Vec::new();
    frames.finish(&mut |frame| found.push(frame));
    hand_over(found, &origin, &queue, counts).await;
}

/// Hands frames over in batches, waiting for room; `false` if nobody takes them any more.
async fn hand_over(found: Vec<Frame>, origin: &Arc<str>, queue: &mpsc::Sender<Batch>, counts: &Counts) -> bool {
    let mut waiting = VecDeque::new();
    for frame in found {
        match frame {
            Frame::Line(line) => waiting.push_back(RawEvent { origin: Arc::clone(origin), line }),
            Frame::Refused(_) => {
                counts.refused.fetch_add(1, Relaxed);
            }
        }
    }
    while !waiting.is_empty() {
        let Ok(room) = queue.reserve().await else { return false };
        room.send(next_batch(&mut waiting, counts));
    }
    true
}
