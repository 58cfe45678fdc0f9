//! A webhook that takes signed JSON, by the convention of standardwebhooks.com, so that a receiver can check it with
//! a library that it has: `webhook-id` is the same for a repeat, `webhook-timestamp` are the seconds since 1970, and
//! `webhook-signature` is `v1,` and the base64 of an HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

use super::{Message, shown};
use crate::{Failure, limits};

pub(super) fn body(message: &Message) -> Vec<u8> {
    let (title, text) = shown(message);
    let body = json!({
        "id": message.id,
        "type": message.kind.as_str(),
        "title": title,
        "text": text,
        "link": message.link.as_ref().map(ToString::to_string),
        "timestamp": message.at,
    });
    body.to_string().into_bytes()
}

pub(super) fn headers(
    message: &Message,
    body: &[u8],
    secret: &str,
    section: &str,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let seconds = message.at.as_micros().div_euclid(1_000_000).to_string();
    let mut signed = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key(secret, section)?));
    for part in [message.id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        signed.update(part);
    }
    Ok(vec![
        ("content-type", "application/json".to_owned()),
        ("idempotency-key", message.id.clone()),
        ("webhook-id", message.id.clone()),
        ("webhook-timestamp", seconds),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(signed.sign()))),
    ])
}

fn key(secret: &str, section: &str) -> Result<Vec<u8>, Failure> {
    let wrong = |what: &str| Failure::Final(format!("{section}.secret {what}"));
    let key = match secret.strip_prefix("whsec_") {
        Some(base64) => STANDARD.decode(base64).map_err(|_| wrong("is not base64 after whsec_"))?,
        None => secret.as_bytes().to_vec(),
    };
    if key.len() < limits::KEY_BYTES_MIN {
        return Err(wrong(&format!("is shorter than {} bytes", limits::KEY_BYTES_MIN)));
    }
    Ok(key)
}
