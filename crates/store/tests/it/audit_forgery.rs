//! Whatever is done to an audit file without its key is found.
//!
//! The forger here knows the format and makes lines of his own, hashes and chains them; what he does not have is the key.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use vertice_model::Position;
use vertice_store::audit::{Audit, AuditError, PublicKey, Trust, Verified, file_of, verify};
use vertice_testkit::{Random, long};

use crate::audit::{store_of, stretch};

const SEAL: usize = 512;
const HASH: usize = 76;
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An audit of some hundred entries with a checkpoint among them, as bytes.
fn written() -> (Vec<u8>, PublicKey) {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), 180);
    let mut audit = Audit::open(&store).unwrap();
    audit.append(&stretch(1..=100), Position(100)).unwrap();
    audit.append(&stretch(101..=180), Position(180)).unwrap();
    let found = looked_at(&file_of(dir.path()), Trust::default()).expect("it is whole");
    assert!(found.checkpoints >= 1 && found.tail.is_empty(), "{found:?}");
    (std::fs::read(file_of(dir.path())).unwrap(), found.key)
}

fn looked_at(path: &Path, trust: Trust) -> Result<Verified, AuditError> {
    verify(path, &trust, |_| Ok(()))
}

/// A place to put files to be looked at.
struct Bench {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    file: File,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.ndjson");
        Bench { file: File::create(&path).unwrap(), path, _dir: dir }
    }

    /// Whether something is found wrong with these bytes, and what.
    fn found(&self, bytes: &[u8], trust: Trust) -> Option<String> {
        self.file.set_len(0).unwrap();
        self.file.write_all_at(bytes, 0).unwrap();
        match looked_at(&self.path, trust) {
            Err(AuditError::Io { doing, source, .. }) => panic!("{doing}: {source}"),
            Err(error) => Some(error.to_string()),
            Ok(found) if found.tail.is_empty() => None,
            Ok(found) => Some(format!("{:?} behind the seal", found.tail)),
        }
    }
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// The lines with numbers and hashes that fit: all that can be done without the key.
fn chained(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = lines[0].clone();
    let mut before = ZEROS.to_owned();
    for (line, n) in lines[1..].iter().zip(1..) {
        let text = std::str::from_utf8(line).expect("ASCII");
        let (_, rest) = text.split_once(",\"at\"").expect("every entry has a time");
        let rest = &rest[..rest.rfind(",\"before\":\"").expect("every entry has one before it")];
        let body = format!("{{\"n\":{n},\"at\"{rest},\"before\":\"{before}\"");
        before = blake3::hash(body.as_bytes()).to_hex().to_string();
        bytes.extend_from_slice(format!("{body},\"hash\":\"{before}\"}}\n").as_bytes());
    }
    bytes
}

/// A seal that fits these bytes, signed by a key of the forger's or not at all.
fn resealed(bytes: &[u8], signer: Option<&Ed25519KeyPair>) -> Vec<u8> {
    let all = lines(bytes);
    let last = all.last().map(|l| String::from_utf8(l.clone()).expect("ASCII")).unwrap_or_default();
    let head = if all.len() > 1 { &last[last.len() - HASH + 9..last.len() - 3] } else { ZEROS };
    let old = std::str::from_utf8(&all[0]).expect("ASCII");
    let value: serde_json::Value = serde_json::from_str(old).expect("JSON");
    let key = signer.map_or(value["key"].as_str().unwrap().to_owned(), |s| hex(s.public_key().as_ref()));
    let (entries, size) = (all.len() - 1, bytes.len());
    let part = format!(
        "{{\"seal\":1,\"entries\":{entries:>20},\"bytes\":{size:>20},\"judged\":{:>20},\"head\":\"{head}\",\"key\":\"{key}\"",
        value["judged"].as_u64().unwrap()
    );
    let part = format!("{part:<367}");
    let signature = match signer {
        Some(signer) => hex(signer.sign(part.as_bytes()).as_ref()),
        // The best that he has: a signature of the right key, of something else.
        None => value["signature"].as_str().unwrap().to_owned(),
    };
    let mut forged = format!("{part},\"signature\":\"{signature}\"}}\n").into_bytes();
    assert_eq!(forged.len(), SEAL);
    forged.extend_from_slice(&bytes[SEAL..]);
    forged
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What is done to a file; `None` if it came to nothing.
fn mutated(whole: &[u8], random: &mut Random) -> (&'static str, Vec<u8>) {
    let mut all = lines(whole);
    let (one, two) = (random.below(all.len()), random.below(all.len()));
    let entry = 1 + random.below(all.len() - 1);
    match random.below(14) {
        0..=3 => {
            let mut bytes = whole.to_vec();
            // Each fourth in the seal, which is a small part of the file.
            let at = if random.below(4) == 0 { random.below(SEAL) } else { random.below(bytes.len()) };
            bytes[at] = bytes[at].wrapping_add(1 + random.below(255) as u8);
            ("a changed byte", bytes)
        }
        4 => {
            let mut bytes = whole.to_vec();
            bytes.remove(random.below(bytes.len()));
            ("a dropped byte", bytes)
        }
        5 => {
            let mut bytes = whole.to_vec();
            bytes.insert(random.below(bytes.len() + 1), random.number() as u8);
            ("an inserted byte", bytes)
        }
        6 => {
            all.remove(one);
            ("a dropped line", all.concat())
        }
        7 => {
            all.swap(one, two);
            ("two lines in each other's place", all.concat())
        }
        8 => {
            let line = all[one].clone();
            all.insert(two, line);
            ("a doubled line", all.concat())
        }
        9 => ("a cut", whole[..random.below(whole.len())].to_vec()),
        10 => ("a cut at the end of a line", all[..one].concat()),
        11 => {
            let cut = all[..1 + random.below(all.len() - 1)].concat();
            ("a cut, and a seal that says so", resealed(&cut, None))
        }
        12 => {
            match random.below(3) {
                0 => _ = all.remove(entry),
                1 => {
                    let others = all.len() - 1;
                    all.swap(entry, 1 + (entry + random.below(others - 1)) % others);
                }
                _ => {
                    let text = String::from_utf8(all[entry].clone()).unwrap();
                    all[entry] = text.replacen("203.0.113.9", "203.0.113.8", 1).replacen("ana", "eve", 1).into_bytes();
                }
            }
            let bytes = chained(&all);
            ("a change with hashes that fit", if random.below(2) == 0 { bytes } else { resealed(&bytes, None) })
        }
        _ => {
            all.push(all[entry].clone());
            let bytes = chained(&all);
            ("a line of one's own", if random.below(2) == 0 { bytes } else { resealed(&bytes, None) })
        }
    }
}

#[test]
fn ten_thousand_changes_are_found() {
    let (whole, key) = written();
    let cases = if long() { 50_000 } else { 5_000 };
    let tried = std::sync::Mutex::new(std::collections::BTreeMap::<&str, usize>::new());
    // Two threads with a seed and half of the cases each.
    std::thread::scope(|scope| {
        for seed in [1, 2] {
            let (whole, tried) = (&whole, &tried);
            scope.spawn(move || {
                let (bench, mut random, mut done) = (Bench::new(), Random(seed), 0);
                assert_eq!(bench.found(whole, Trust::default()), None, "nothing is wrong with it as it is");
                while done < cases {
                    let (name, bytes) = mutated(whole, &mut random);
                    if bytes == *whole {
                        continue;
                    }
                    // Each second by whoever knows the key; the file's own key is enough for all of these.
                    let trust = Trust { key: (done % 2 == 0).then_some(key), anchor: None };
                    let found = bench.found(&bytes, trust);
                    assert!(found.is_some(), "seed {seed}, case {done}: {name} was not found");
                    *tried.lock().unwrap().entry(name).or_default() += 1;
                    done += 1;
                }
            });
        }
    });
    println!("{:#?}", tried.lock().unwrap());
}

#[test]
fn every_byte_counts() {
    let (whole, _) = written();
    let bench = Bench::new();
    let entries = lines(&whole);
    // The seal, an ordinary entry, and all of it up to the first of a line more than that; the rest is by chance above.
    let end = SEAL + entries[1].len() + entries[2].len();
    for at in 0..end {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        let found = bench.found(&bytes, Trust::default()).unwrap_or_else(|| panic!("byte {at}"));
        let line = 1 + whole[..at].iter().filter(|b| **b == b'\n').count();
        assert!(found.contains(&format!("audit.ndjson:{line}: ")), "byte {at} of line {line}: {found}");
    }
}

#[test]
fn a_cut_at_the_end_of_every_line_is_found() {
    let (whole, key) = written();
    let (bench, all) = (Bench::new(), lines(&whole));
    for n in 0..all.len() {
        let cut = all[..n].concat();
        let found = bench.found(&cut, Trust::default()).unwrap_or_else(|| panic!("cut after {n} lines"));
        if n > 0 {
            assert!(found.contains("it was cut"), "{found}");
            let found = bench.found(&resealed(&cut, None), Trust { key: Some(key), anchor: None });
            assert!(found.is_some_and(|f| f.contains("the signature of the seal is not valid")), "after {n} lines");
        }
    }
}

/// A checkpoint's signature is of the right key, and says less than a seal: it must not pass for one.
#[test]
fn a_checkpoint_does_not_seal_a_file_that_was_cut_at_it() {
    let (whole, _) = written();
    let (bench, all) = (Bench::new(), lines(&whole));
    let at = all.iter().position(|l| l.windows(12).any(|w| w == b"\"checkpoint\"")).expect("there is one");
    let checkpoint: serde_json::Value = serde_json::from_slice(&all[at]).unwrap();
    let signature = checkpoint["record"]["signature"].as_str().unwrap();
    for end in [at, at + 1] {
        let mut forged = resealed(&all[..end].concat(), None);
        forged[SEAL - 131..SEAL - 3].copy_from_slice(signature.as_bytes());
        let found = bench.found(&forged, Trust::default()).expect("it is no seal");
        assert!(found.contains("the signature of the seal is not valid"), "{found}");
    }
}

#[test]
fn a_forger_with_a_key_of_his_own_is_found_by_whoever_knows_ours() {
    let (whole, key) = written();
    let bench = Bench::new();
    let his = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    // Up to before the first checkpoint, which he would have to sign as well.
    let mut short = lines(&whole)[..100].to_vec();
    short.remove(50);
    let forged = resealed(&chained(&short), Some(&his));
    assert_eq!(bench.found(&forged, Trust::default()), None, "the file alone can not tell, and docs/audit.md says so");
    let found = bench.found(&forged, Trust { key: Some(key), anchor: None }).expect("it is another key");
    assert!(found.contains("it is signed by the key") && found.contains(&key.to_string()), "{found}");
}
