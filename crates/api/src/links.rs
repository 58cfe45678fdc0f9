//! Links that answer one question: what a notification carries, so that a person without an API key can say yes or no.
//!
//! A token says which question, for which plan, who is asked, and until when, under a MAC (keyed BLAKE3) that only this
//! data directory's secret makes. Nothing about it can be changed, not the approver's name either. It is good for one
//! answer because its question is: once that is answered, expired or void, so is every link to it.
//!
//! Whoever has the link can answer, as whoever it names. So it goes to that person only, and its time is short.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use vertice_model::{Principal, QuestionId, Timestamp};

use crate::limits;

/// What the secret is used for, so that the same secret used elsewhere would make other MACs.
const CONTEXT: &str = "vertice 2026-11 answer links v1";

/// Bytes of a MAC.
const MAC_BYTES: usize = blake3::OUT_LEN;

/// What makes links and knows them again.
#[derive(Clone)]
pub struct Links {
    key: [u8; blake3::KEY_LEN],
}

/// What a link is good for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Link {
    /// The question that it answers.
    pub question: QuestionId,
    /// The `plan_digest` that it answers for, and no other.
    pub digest: String,
    /// Who is asked.
    pub approver: Principal,
    /// When it is too late.
    pub until: Timestamp,
}

/// Why a token is no link.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// It is not one that was made here, or something about it was changed.
    #[error("this link is not one that was made here, or it is not whole")]
    Broken,
    /// It was one.
    #[error("this link was good until {0}")]
    Over(Timestamp),
}

impl Links {
    /// Those of a secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Links {
        Links { key: blake3::derive_key(CONTEXT, secret) }
    }

    /// The token of a link by which `approver` answers a question for the plan with this digest.
    #[must_use]
    pub fn issue(&self, question: QuestionId, digest: &str, approver: &Principal, until: Timestamp) -> String {
        let link = Link { question, digest: digest.to_owned(), approver: approver.clone(), until };
        let mut bytes = postcard::to_allocvec(&link).expect("a link is plain data in memory");
        bytes.extend_from_slice(blake3::keyed_hash(&self.key, &bytes).as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where a token is answered, below the server's address.
    #[must_use]
    pub fn path(token: &str) -> String {
        format!("/approve/{token}")
    }

    /// What a token is good for.
    ///
    /// # Errors
    /// When it was not made here, was changed, or is over.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Link, LinkError> {
        if token.len() > limits::LINK_CHARS_MAX {
            return Err(LinkError::Broken);
        }
        // Refuses a second way to write the same bytes.
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| LinkError::Broken)?;
        let (said, mac) = bytes.split_last_chunk::<MAC_BYTES>().ok_or(LinkError::Broken)?;
        // `blake3::Hash` compares in constant time.
        if blake3::keyed_hash(&self.key, said) != blake3::Hash::from_bytes(*mac) {
            return Err(LinkError::Broken);
        }
        // Only now is anything of it read.
        let link: Link = postcard::from_bytes(said).map_err(|_| LinkError::Broken)?;
        if link.until <= now { Err(LinkError::Over(link.until)) } else { Ok(link) }
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Links")
    }
}

#[cfg(test)]
mod tests {
    use vertice_testkit::{Random, long};

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    fn link() -> Link {
        Link {
            question: QuestionId::derive("q"),
            digest: "0123456789abcdef".repeat(4),
            approver: Principal("ana@example.org".into()),
            until: at("12:05:00"),
        }
    }

    fn token(links: &Links, link: &Link) -> String {
        links.issue(link.question, &link.digest, &link.approver, link.until)
    }

    #[test]
    fn a_token_says_what_it_was_made_for_until_its_time_is_over() {
        let links = Links::new(&SECRET);
        let token = token(&links, &link());
        assert!(
            token.len() < 300 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "{token}"
        );
        assert_eq!(links.verify(&token, at("12:04:59")), Ok(link()));
        assert_eq!(links.verify(&token, at("12:05:00")), Err(LinkError::Over(at("12:05:00"))));
        assert_eq!(Links::path(&token), format!("/approve/{token}"));
        assert_eq!(format!("{links:?}"), "Links");
    }

    #[test]
    fn another_secret_knows_nothing() {
        let token = token(&Links::new(&SECRET), &link());
        assert_eq!(Links::new(&[8; 32]).verify(&token, at("12:00:00")), Err(LinkError::Broken));
    }

    #[test]
    fn links_that_differ_in_anything_have_other_tokens() {
        let links = Links::new(&SECRET);
        let all = [
            link(),
            Link { question: QuestionId::derive("r"), ..link() },
            Link { digest: "0".repeat(64), ..link() },
            Link { approver: Principal("eve@example.org".into()), ..link() },
            Link { until: at("12:05:01"), ..link() },
        ];
        let macs: std::collections::BTreeSet<Vec<u8>> = all
            .iter()
            .map(|link| {
                let bytes = URL_SAFE_NO_PAD.decode(token(&links, link)).unwrap();
                bytes[bytes.len() - MAC_BYTES..].to_vec()
            })
            .collect();
        assert_eq!(macs.len(), all.len());
    }

    #[test]
    fn changed_tokens_are_all_refused() {
        let links = Links::new(&SECRET);
        let token = token(&links, &link());
        let mut random = Random(4);
        let mut changed = 0;
        while changed < if long() { 100_000 } else { 10_000 } {
            let bytes = random.mutated(token.as_bytes());
            let text = String::from_utf8_lossy(&bytes);
            if text == token {
                continue;
            }
            changed += 1;
            assert_eq!(links.verify(&text, at("12:00:00")), Err(LinkError::Broken), "{text}");
        }
        // And each bit of what is under the MAC, and of the MAC, by itself.
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(links.verify(&URL_SAFE_NO_PAD.encode(other), at("12:00:00")), Err(LinkError::Broken), "{bit}");
        }
        for other in
            ["", "=", "..", &"A".repeat(limits::LINK_CHARS_MAX + 1), &format!("{token}="), &format!("{token}A")]
        {
            assert_eq!(links.verify(other, at("12:00:00")), Err(LinkError::Broken), "{other}");
        }
    }
}
