//! What a file is, by its first bytes.

use crate::limits::MEMBER_NAME_CHARS_MAX;

/// What a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Lines or JSON.
    Records,
    /// A Windows event log.
    Evtx,
    Gzip,
    Zip,
    Tar,
    /// Nothing that holds events, and what it is.
    Not(&'static str),
}

/// Beginnings of files that hold no events, or none that are read here.
const NOT: [(&[u8], &str); 16] = [
    (b"\xD4\xC3\xB2\xA1", "a packet capture (pcap)"),
    (b"\xA1\xB2\xC3\xD4", "a packet capture (pcap)"),
    (b"\x4D\x3C\xB2\xA1", "a packet capture (pcap)"),
    (b"\xA1\xB2\x3C\x4D", "a packet capture (pcap)"),
    (b"\x0A\x0D\x0D\x0A", "a packet capture (pcapng)"),
    (b"\x00\x05\x16\x07", "macOS metadata of another file"),
    (b"\x00\x05\x16\x00", "macOS metadata of another file"),
    (b"\x7FELF", "a program (ELF)"),
    (b"\x89PNG", "an image (PNG)"),
    (b"%PDF-", "a document (PDF)"),
    (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive; unpack it first"),
    (b"\xFD7zXZ\x00", "an xz archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\x28\xB5\x2F\xFD", "a zstd archive; unpack it first"),
    (b"SQLite format 3\x00", "a database (SQLite)"),
    (b"LPKSHHRH", "a systemd journal; use journalctl -o json"),
];

/// What begins with these bytes.
pub(super) fn of(head: &[u8]) -> Kind {
    let begins = |mark: &[u8]| head.starts_with(mark);
    if begins(b"ElfFile\0") {
        return Kind::Evtx;
    }
    if begins(b"\x1F\x8B\x08") {
        return Kind::Gzip;
    }
    if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        return Kind::Zip;
    }
    if head.get(257..262) == Some(b"ustar") {
        return Kind::Tar;
    }
    if let Some((_, what)) = NOT.iter().find(|(mark, _)| begins(mark)) {
        return Kind::Not(what);
    }
    let utf16 = begins(b"\xFF\xFE") || begins(b"\xFE\xFF");
    if !utf16 && is_binary(head) { Kind::Not("binary data") } else { Kind::Records }
}

/// More than one byte in ten that no text has. NULs at the beginning do not count: a writer leaves them that
/// goes on at its old place in a file cut to nothing.
fn is_binary(head: &[u8]) -> bool {
    let hole = head.iter().take_while(|&&b| b == 0).count();
    let text = &head[hole..];
    let strange = |b: &u8| matches!(b, 0..=8 | 11 | 14..=26 | 28..=31 | 127);
    (text.is_empty() && hole > 0) || text.iter().filter(|b| strange(b)).count() * 10 > text.len()
}

/// A name that may come from an archive and goes to a terminal: without control characters, and not endless.
pub(super) fn printable(name: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{FFFD}' } else { c };
    let skip = name.chars().count().saturating_sub(16 * MEMBER_NAME_CHARS_MAX);
    name.chars().skip(skip).map(clean).collect()
}

/// The name of an archive's member behind that of the archive.
pub(super) fn member(archive: &str, name: &[u8]) -> String {
    let name: String = String::from_utf8_lossy(name).chars().take(MEMBER_NAME_CHARS_MAX).collect();
    printable(&format!("{archive}!{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, kind) in [
            (&b"Jan  1 00:00:00 h sshd[1]: x\n"[..], Kind::Records),
            (b"", Kind::Records),
            (b"\xFF\xFE{\0}\0", Kind::Records),
            (b"caf\xE9 \xE9\xE8\n", Kind::Records),
            (b"\0\0\0\0\0\0Jan  1 00:00:00 after a cut\n", Kind::Records),
            (b"\x1B[31mred\x1B[0m\n", Kind::Records),
            (b"ElfFile\0\0", Kind::Evtx),
            (b"\x1F\x8B\x08\0", Kind::Gzip),
            (b"PK\x03\x04", Kind::Zip),
            (&tar, Kind::Tar),
            (b"\xD4\xC3\xB2\xA1\x02\0", Kind::Not("a packet capture (pcap)")),
            (b"\0\0\0\0", Kind::Not("binary data")),
            (b"\x01\x02\x03\x04abcdefgh", Kind::Not("binary data")),
        ] {
            assert_eq!(of(head), kind, "{head:?}");
        }
    }

    #[test]
    fn names_carry_no_escapes_and_end() {
        assert_eq!(member("a.zip", b"x\x1b[2J\xFF/y"), "a.zip!x\u{FFFD}[2J\u{FFFD}/y");
        assert_eq!(member("a.zip", &[b'n'; 9_999]).len(), "a.zip!".len() + 255);
    }
}
