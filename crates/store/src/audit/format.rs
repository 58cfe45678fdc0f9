//! Every byte of an audit file. All of it is ASCII: what an attacker wrote into a log can do nothing to a terminal.
//!
//! ```text
//! {"seal":1,"entries":E,"bytes":B,"judged":P,"head":"H","key":"K"      ,"signature":"S"}
//! {"n":1,"at":"T","of":"P.I","kind":"plan","actor":"engine","threat":"…","entities":["…"],"record":{…},"before":"H0","hash":"H1"}
//! ```
//!
//! - The hash of a line is BLAKE3 of its bytes before `,"hash":"`. `before` is the hash of the entry before, 64 zeros in
//!   the first, so that a line can be checked with `b3sum` alone.
//! - The signature of the seal is Ed25519 (RFC 8032) of its bytes before `,"signature":"`. Its numbers and the end of
//!   that part are filled up with spaces, to [`SEAL_BYTES`] with the line break.
//! - The signature of a checkpoint, an entry of that kind, is of [`checkpoint_message`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vertice_model::{Position, Timestamp};

use super::entry::Entry;
use super::key::Key;
use crate::limits;

/// Bytes of the first line: one sector, which disks write whole or not at all.
pub(crate) const SEAL_BYTES: usize = 512;
/// `,"signature":"`, 128 digits, `"}` and the line break.
const SIGNATURE_BYTES: usize = 14 + 128 + 3;
/// `,"hash":"`, 64 digits, `"}` and the line break.
pub(crate) const HASH_BYTES: usize = 9 + 64 + 3;
/// The kind of an entry that signs those before it.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// Bytes, written as hexadecimal digits in lower case.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Hex<const N: usize>(pub [u8; N]);
/// BLAKE3 of a line.
pub type Digest = Hex<32>;
/// An Ed25519 public key.
pub type PublicKey = Hex<32>;
/// An Ed25519 signature.
pub(crate) type Signature = Hex<64>;

/// A text that is not as many hexadecimal digits as it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text:?} is not {digits} hexadecimal digits")]
pub struct HexError {
    text: String,
    digits: usize,
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
        let digits: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        f.write_str(&digits)
    }
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Hex<N>, HexError> {
        let error = || HexError { text: text.chars().take(2 * N).collect(), digits: 2 * N };
        let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
        if text.len() != 2 * N {
            return Err(error());
        }
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(error)?;
        }
        Ok(Hex(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hex<N>, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What the first line says.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Seal {
    /// How many entries there are.
    pub(crate) entries: u64,
    /// How many bytes the file has with them, the seal's own among them.
    pub(crate) bytes: u64,
    /// Up to where the log was judged for it.
    pub(crate) judged: Position,
    /// The hash of the last entry.
    pub(crate) head: Digest,
    /// Whose signature it is.
    pub(crate) key: PublicKey,
}

impl Seal {
    /// The seal of a file without entries.
    pub(crate) fn empty(key: PublicKey) -> Seal {
        Seal { entries: 0, bytes: SEAL_BYTES as u64, judged: Position(0), head: Hex([0; 32]), key }
    }

    /// The line, signed.
    pub(crate) fn signed(&self, key: &Key) -> Vec<u8> {
        let part = self.signed_part();
        let signature = key.sign(part.as_bytes());
        format!("{part},\"signature\":\"{signature}\"}}\n").into_bytes()
    }

    fn signed_part(&self) -> String {
        let Seal { entries, bytes, judged, head, key } = self;
        let part = format!(
            "{{\"seal\":1,\"entries\":{entries:>20},\"bytes\":{bytes:>20},\"judged\":{:>20},\"head\":\"{head}\",\"key\":\"{key}\"",
            judged.0
        );
        format!("{part:<width$}", width = SEAL_BYTES - SIGNATURE_BYTES)
    }

    /// Reads the line, which must be as [`Seal::signed`] writes it, to the byte.
    pub(crate) fn read(line: &[u8]) -> Result<Seal, &'static str> {
        #[derive(Deserialize)]
        struct Signed {
            #[serde(flatten)]
            seal: Seal,
            signature: Signature,
        }
        let Signed { seal, signature } =
            serde_json::from_slice(line).map_err(|_| "this is no seal of an audit file")?;
        let part = seal.signed_part();
        if format!("{part},\"signature\":\"{signature}\"}}\n").as_bytes() != line {
            return Err("the seal is not written as seals are");
        }
        if !super::key::is_signed(&seal.key, part.as_bytes(), &signature) {
            return Err("the signature of the seal is not valid: the seal was changed, or made without the key");
        }
        Ok(seal)
    }
}

/// What a checkpoint records.
#[derive(Deserialize, Serialize)]
pub(crate) struct Checkpoint {
    pub(crate) entries: u64,
    pub(crate) head: Digest,
    pub(crate) key: PublicKey,
    pub(crate) signature: Signature,
}

/// What a checkpoint signs: that so many entries came before it, and the hash of the last of them.
pub(crate) fn checkpoint_message(entries: u64, head: &Digest) -> String {
    format!("vertice audit checkpoint 1: {entries} entries, head {head}")
}

/// An entry as it is read back, with its record in whatever form the reader wants.
#[derive(Debug, Deserialize)]
pub struct Line<'a, R> {
    /// Its number, from 1.
    pub n: u64,
    /// When what it tells of was accepted into the log.
    pub at: Timestamp,
    /// Its place in the log, as [`super::Origin`] writes it.
    #[serde(borrow)]
    pub of: Cow<'a, str>,
    /// What kind of entry it is, as [`super::Kind`] writes it, or `checkpoint`.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// Who.
    #[serde(borrow)]
    pub actor: Cow<'a, str>,
    /// The threat that it is about, where the entry itself says so.
    #[serde(borrow, default)]
    pub threat: Option<Cow<'a, str>>,
    /// Whom it touches, where the entry itself says so.
    #[serde(default)]
    pub entities: Vec<String>,
    /// What happened.
    pub record: R,
    /// The hash of the entry before.
    pub before: Digest,
    /// Its own hash.
    pub hash: Digest,
}

/// Writes an entry's line, and returns its hash.
pub(crate) fn write_line(n: u64, entry: &Entry, before: &Digest, into: &mut Vec<u8>) -> Digest {
    let start = into.len();
    let Entry { of, at, kind, actor, threat, entities, record } = entry;
    let mut text = format!("{{\"n\":{n},\"at\":\"{at}\",\"of\":\"{of}\",\"kind\":\"{}\",", kind.as_str());
    // The names of API keys are much shorter; what is longer is in the record or in the log.
    let actor: String = actor.chars().take(limits::AUDIT_ACTOR_CHARS_MAX).collect();
    text += &format!("\"actor\":{}", ascii_json(&actor));
    if let Some(threat) = threat {
        text += &format!(",\"threat\":\"{threat}\"");
    }
    let names = ascii_json(entities);
    if !entities.is_empty() && names.len() <= limits::AUDIT_RECORD_BYTES_MAX {
        text += &format!(",\"entities\":{names}");
    }
    if record.len() <= limits::AUDIT_RECORD_BYTES_MAX {
        text += &format!(",\"record\":{record}");
    } else {
        let (digest, bytes) = (blake3::hash(record.as_bytes()), record.len());
        text += &format!(",\"record\":{{\"left_out\":\"too long\",\"bytes\":{bytes},\"blake3\":\"{digest}\"}}");
    }
    text += &format!(",\"before\":\"{before}\"");
    into.extend_from_slice(text.as_bytes());
    let hash = hash_of(&into[start..]);
    into.extend_from_slice(hash_part(&hash).as_bytes());
    hash
}

/// The hash of a line, from its bytes before that.
pub(crate) fn hash_of(bytes: &[u8]) -> Digest {
    Hex(*blake3::hash(bytes).as_bytes())
}

/// The end of a line.
pub(crate) fn hash_part(hash: &Digest) -> String {
    format!(",\"hash\":\"{hash}\"}}\n")
}

/// JSON in ASCII alone: what is not, and DEL, is escaped.
pub(crate) fn ascii_json<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_string(value).expect("what is recorded has text keys and finite numbers");
    if json.bytes().all(|b| b.is_ascii() && b != 0x7f) {
        return json;
    }
    let mut ascii = String::with_capacity(json.len() * 2);
    for c in json.chars() {
        // Anything that is no ASCII can only stand within a string.
        if c.is_ascii() && c != '\x7f' {
            ascii.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii += &format!("\\u{unit:04x}"));
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_fills_its_sector_and_is_read_to_the_byte() {
        let key = Key::of_seed([7; 32]);
        let full = Seal { entries: u64::MAX, bytes: u64::MAX, judged: Position(u64::MAX), ..Seal::empty(key.public()) };
        for seal in [Seal::empty(key.public()), full] {
            let line = seal.signed(&key);
            assert_eq!(line.len(), SEAL_BYTES);
            assert_eq!(Seal::read(&line).unwrap(), seal);
            for at in 0..line.len() {
                for bit in 0..8 {
                    let mut changed = line.clone();
                    changed[at] ^= 1 << bit;
                    assert!(Seal::read(&changed).is_err(), "bit {bit} of byte {at}");
                }
            }
        }
        let forged = Seal::empty(key.public()).signed(&Key::of_seed([8; 32]));
        assert!(Seal::read(&forged).unwrap_err().contains("without the key"));
    }

    #[test]
    fn json_is_ascii_and_means_the_same() {
        let text = "a\u{7f}\u{9b}\u{202e}ü漢🔒\n\"";
        let json = ascii_json(&text);
        assert!(json.bytes().all(|b| (0x20..0x7f).contains(&b)), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(ascii_json(&"plain"), "\"plain\"");
    }

    #[test]
    fn digits_are_read_and_what_is_none_is_named() {
        let hex: Hex<2> = "0aFf".parse().unwrap();
        assert_eq!((hex, hex.to_string().as_str()), (Hex([0x0a, 0xff]), "0aff"));
        for wrong in ["", "0aff0", "0afg", "+1ff", "0aé"] {
            assert!(wrong.parse::<Hex<2>>().unwrap_err().to_string().ends_with("is not 4 hexadecimal digits"));
        }
    }
}
