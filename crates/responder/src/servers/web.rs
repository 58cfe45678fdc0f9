//! An HTTP server that counts what it is sent.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is done about a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// These lines are the answer.
    Answer(&'static str),
    /// The connection is closed without one.
    Close,
    /// Nothing is said until the other side goes away.
    Nothing,
    /// The answer comes so slowly that it takes ten seconds, and is a good one in the end.
    Drip,
    /// A good status, and then a header that does not end before the other side goes away.
    Endless,
}

pub(crate) const OK: Reply = Reply::Answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");

/// A server that runs as long as the test.
pub(crate) struct Web {
    pub(crate) port: u16,
    pub(crate) received: mpsc::Receiver<Received>,
    count: Arc<AtomicUsize>,
}

impl Web {
    /// How many requests came whole.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// Starts one that replies with the given ones in turn, and with the last of them from then on.
pub(crate) fn start(replies: &'static [Reply], tls: Option<Arc<ServerConfig>>) -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (requests, received) = mpsc::channel();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (requests, counted, tls) = (requests.clone(), Arc::clone(&counted), tls.clone());
            std::thread::spawn(move || {
                stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                match tls {
                    Some(tls) => {
                        let tls = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(tls, stream), replies, &requests, &counted)
                    }
                    None => serve(stream, replies, &requests, &counted),
                }
            });
        }
    });
    Web { port, received, count }
}

/// A read that is over once there is something, or the other side has gone.
fn patient<S: Read>(stream: &mut S, into: &mut [u8]) -> Option<usize> {
    loop {
        match stream.read(into) {
            Ok(0) => return None,
            Ok(n) => return Some(n),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return None,
        }
    }
}

fn serve<S: Read + Write>(
    mut stream: S,
    replies: &[Reply],
    requests: &mpsc::Sender<Received>,
    count: &AtomicUsize,
) -> Option<()> {
    let request = read(&mut stream)?;
    let reply = replies[count.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1)];
    let _ = requests.send(request);
    let mut one = [0; 64];
    match reply {
        Reply::Answer(lines) => stream.write_all(lines.as_bytes()).ok()?,
        Reply::Close => {}
        Reply::Nothing => while patient(&mut stream, &mut one).is_some() {},
        Reply::Drip => {
            for byte in "HTTP/1.1 200 OK\r\nx: ".bytes().chain([b'x'; 80]).chain("\r\n\r\n".bytes()) {
                stream.write_all(&[byte]).ok()?;
                // Nothing comes, so this waits for its time to be over.
                let _ = stream.read(&mut one);
            }
        }
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").ok()?;
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
    }
    Some(())
}

fn read<S: Read>(stream: &mut S) -> Option<Received> {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
            let mut lines = head.split("\r\n").map(str::to_owned);
            let line = lines.next()?;
            let headers: BTreeMap<_, _> =
                lines.filter_map(|l| l.split_once(": ").map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))).collect();
            let length: usize = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
            if bytes.len() >= at + 4 + length {
                return Some(Received { line, headers, body: bytes[at + 4..at + 4 + length].to_vec() });
            }
        }
        let n = patient(stream, &mut part)?;
        bytes.extend(&part[..n]);
    }
}

/// A port of loopback where nobody listens.
pub(crate) fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One that takes connections and says nothing, for a protocol in which the server speaks first.
pub(crate) fn silent() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let streams: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(streams);
    });
    port
}

/// One line of it, without its end.
pub(crate) fn line<S: Read>(stream: &mut BufReader<S>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}
