//! A local HTTP server that gives the answers it was told to, in order; the last one again and again.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use vertice_llm::Clock as _;

use crate::world::Real;

#[derive(Clone, Debug)]
pub enum Reply {
    /// A status with headers, and a body that is JSON.
    Says(u16, &'static str, String),
    /// Bytes as they are, and then the end.
    Raw(Vec<u8>),
    /// A status line, and then a byte now and again for as long as anybody reads.
    Drips,
    /// So many bytes of body.
    Floods(usize),
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: String,
    pub body: Value,
}

#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Vec<Reply>>>,
}

impl Server {
    pub fn start(script: Vec<Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            script: Arc::new(Mutex::new(script)),
        };
        let (asked, script) = (Arc::clone(&server.asked), Arc::clone(&server.script));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (asked, script) = (Arc::clone(&asked), Arc::clone(&script));
                std::thread::spawn(move || serve(connection, &asked, &script));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn times(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Answers otherwise from now on.
    pub fn now_says(&self, script: Vec<Reply>) {
        *self.script.lock().unwrap() = script;
    }
}

fn serve(connection: TcpStream, asked: &Mutex<Vec<Asked>>, script: &Mutex<Vec<Reply>>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    while let Some(question) = read(&mut reader) {
        asked.lock().unwrap().push(question);
        let reply = {
            let mut script = script.lock().unwrap();
            if script.len() > 1 { script.remove(0) } else { script[0].clone() }
        };
        match answer(&connection, reply) {
            Ok(true) => {}
            Ok(false) | Err(_) => break,
        }
    }
    let _ = connection.shutdown(std::net::Shutdown::Both);
}

/// Whether another question may follow.
fn answer(mut connection: &TcpStream, reply: Reply) -> std::io::Result<bool> {
    match reply {
        Reply::Says(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
            connection.write_all(format!("{head}{headers}\r\n{body}").as_bytes())?;
            Ok(true)
        }
        Reply::Raw(bytes) => connection.write_all(&bytes).map(|()| false),
        Reply::Drips => {
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{")?;
            loop {
                Real.wait(Duration::from_millis(20));
                connection.write_all(b" ")?;
            }
        }
        Reply::Floods(bytes) => {
            connection.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            for _ in 0..bytes / 65_536 {
                connection.write_all(b"10000\r\n")?;
                connection.write_all(&[b' '; 65_536])?;
                connection.write_all(b"\r\n")?;
            }
            connection.write_all(b"0\r\n\r\n").map(|()| false)
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
    let (mut headers, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 2)?;
        headers += &line;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if reader.fill_buf().ok()?.starts_with(b"\r\n") {
            break;
        }
    }
    reader.read_exact(&mut [0; 2]).ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    Some(Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// An answer as chat completions give it.
pub fn chat(text: &str) -> Reply {
    chat_that(text, "stop")
}

pub fn chat_that(text: &str, finish: &str) -> Reply {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_780_000_000, "model": "small-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null}, "logprobs": null,
            "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    });
    Reply::Says(200, "", body.to_string())
}

/// An error as OpenAI gives it.
pub fn error(status: u16, headers: &'static str, message: &str) -> Reply {
    let body = json!({"error": {"message": message, "type": "some_error", "param": null, "code": null}});
    Reply::Says(status, headers, body.to_string())
}
