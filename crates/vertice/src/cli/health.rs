//! `vertice health`: whether the server of this configuration lives, by exit code.
//!
//! It is the health check of a container that has no shell and no other program, so it asks the address that the same
//! configuration makes `vertice up` listen on, never takes long, and ends with 0 or 1 and nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::client::Client;
use super::failure::Failure;
use super::output::{Format, Out, Tint};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  vertice health                      does the process live and answer
  vertice health --ready              are events accepted and judged
  vertice health --timeout 1 && echo up

Exit codes:
  0  yes
  1  no, or there was no answer in time

Asks where `vertice up` with the same configuration and environment listens; --url or VERTICE_URL names another server.
Where every call needs an API key, --ready needs it too (VERTICE_API_KEY), unless server.open_probes is set.")]
pub struct Arguments {
    /// Ask whether events are accepted and judged, and not only whether the process lives
    #[arg(long)]
    ready: bool,
    /// How long the answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Asks, and says so.
///
/// # Errors
/// When the answer is no or none: always with exit code 1, which is all that health checks know.
pub fn run(arguments: &Arguments, url: &str, key: Option<String>, out: &mut Out) -> Result<()> {
    let path = if arguments.ready { "/ready" } else { "/health" };
    let answer = Client::within(url, key, Some(Duration::from_secs(arguments.timeout)))
        .and_then(|client| client.get(path, &[]))
        .map_err(|failure| Failure::Failed(failure.to_string()))?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&answer),
        Format::Table => {
            let word = if arguments.ready { "ready  " } else { "ok  " };
            out.parts(&[(Tint::Good, word), (Tint::None, url)])
        }
    }
}

/// Where a server that listens there is asked from the same machine.
pub fn url_of(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listen, url) in [
            ("0.0.0.0:8000", "http://127.0.0.1:8000"),
            ("[::]:81", "http://[::1]:81"),
            ("192.0.2.7:1", "http://192.0.2.7:1"),
            ("[2001:db8::1]:2", "http://[2001:db8::1]:2"),
        ] {
            assert_eq!(url_of(listen.parse().unwrap()), url);
        }
    }
}
