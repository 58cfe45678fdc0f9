//! A mail server that counts what it is sent.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::web::line;

/// How it behaves.
#[derive(Clone, Default)]
pub(crate) struct How {
    /// Its side of TLS: offered by STARTTLS, or used at once.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// From the first byte.
    pub(crate) at_once: bool,
    /// What it says to a login; it wants none if it is empty.
    pub(crate) login: &'static str,
    /// What it says to a recipient; 250 if it is empty.
    pub(crate) recipient: &'static str,
    /// What it says once it has the message; 250 if it is empty, nothing if it is "-".
    pub(crate) taken: &'static str,
    /// How long it thinks about a recipient, and again about the wish to send.
    pub(crate) thinks: Duration,
}

/// A message as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) login: Option<String>,
    pub(crate) is_encrypted: bool,
    pub(crate) lines: Vec<String>,
}

impl Mail {
    /// The value of a header, unfolded.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let end = self.lines.iter().position(String::is_empty)?;
        let start = self.lines[..end].iter().position(|l| l.to_lowercase().starts_with(&format!("{name}:")))?;
        let folded = self.lines[start + 1..end].iter().take_while(|l| l.starts_with(' '));
        let value = folded.fold(self.lines[start].clone(), |value, more| value + more);
        Some(value[name.len() + 1..].trim().to_owned())
    }

    /// The names of all headers.
    pub(crate) fn headers(&self) -> Vec<String> {
        let end = self.lines.iter().position(String::is_empty).unwrap();
        let named = self.lines[..end].iter().filter(|l| !l.starts_with(' '));
        named.filter_map(|l| l.split_once(':').map(|(name, _)| name.to_lowercase())).collect()
    }
}

/// A server that runs as long as the test.
pub(crate) struct Smtp {
    pub(crate) port: u16,
    pub(crate) mails: mpsc::Receiver<Mail>,
    /// Something for each conversation that is over.
    pub(crate) ended: mpsc::Receiver<()>,
}

/// Starts one.
pub(crate) fn start(how: How) -> Smtp {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, mails) = mpsc::channel();
    let (ends, ended) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (how, sent, ends) = (how.clone(), sent.clone(), ends.clone());
            std::thread::spawn(move || {
                serve(stream, &how, &sent);
                let _ = ends.send(());
            });
        }
    });
    Smtp { port, mails, ended }
}

fn encrypted(stream: TcpStream, tls: &Arc<ServerConfig>) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(Arc::clone(tls)).unwrap(), stream)
}

fn serve(stream: TcpStream, how: &How, sent: &mpsc::Sender<Mail>) {
    match &how.tls {
        Some(tls) if how.at_once => {
            talk(encrypted(stream, tls), how, sent, true, true);
        }
        tls => {
            let upgraded = talk(stream, how, sent, true, false);
            if let (Some(stream), Some(tls)) = (upgraded, tls) {
                talk(encrypted(stream, tls), how, sent, false, true);
            }
        }
    }
}

/// Talks until the other side goes away, or wants to go on encrypted: then the stream is given back.
fn talk<S: Read + Write>(
    stream: S,
    how: &How,
    sent: &mpsc::Sender<Mail>,
    greets: bool,
    is_encrypted: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    let mut mail = Mail { is_encrypted, ..Mail::default() };
    if greets {
        say(&mut stream, "220 test")?;
    }
    loop {
        let command = line(&mut stream)?;
        let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "EHLO" => {
                say(&mut stream, "250-test")?;
                if how.tls.is_some() && !is_encrypted {
                    say(&mut stream, "250-STARTTLS")?;
                }
                say(&mut stream, if how.login.is_empty() { "250 HELP" } else { "250 AUTH PLAIN" })?;
            }
            "STARTTLS" => {
                say(&mut stream, "220 go on")?;
                return Some(stream.into_inner());
            }
            "AUTH" => {
                mail.login = Some(command);
                say(&mut stream, how.login)?;
            }
            "MAIL" => {
                mail.from = command;
                say(&mut stream, "250 ok")?;
            }
            "RCPT" => {
                think(how);
                mail.to.push(command);
                say(&mut stream, if how.recipient.is_empty() { "250 ok" } else { how.recipient })?;
            }
            "DATA" => {
                think(how);
                say(&mut stream, "354 go on")?;
                loop {
                    match line(&mut stream)?.as_str() {
                        "." => break,
                        text => mail.lines.push(text.strip_prefix('.').unwrap_or(text).to_owned()),
                    }
                }
                let _ = sent.send(mail.clone());
                match how.taken {
                    "" => say(&mut stream, "250 taken")?,
                    "-" => while line(&mut stream).is_some() {},
                    other => say(&mut stream, other)?,
                }
            }
            "QUIT" => {
                say(&mut stream, "221 bye")?;
                return None;
            }
            _ => say(&mut stream, "500 what?")?,
        }
    }
}

/// Waits for what never comes.
fn think(how: &How) {
    let (_kept, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(how.thinks);
}

fn say<S: Read + Write>(stream: &mut BufReader<S>, text: &str) -> Option<()> {
    let stream = stream.get_mut();
    stream.write_all(format!("{text}\r\n").as_bytes()).ok()?;
    stream.flush().ok()
}
