//! tar, as far as logs are packed with it: plain files of ustar, GNU and pax archives (POSIX.1-2001, "pax").

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::Reading;
use crate::limits;

const BLOCK: usize = 512;

impl Reading<'_> {
    /// Every plain file of a tar archive, in its order.
    pub(super) fn tar(&mut self, name: &Arc<str>, input: &mut dyn Read, within: u32) -> ControlFlow<()> {
        for _ in 0..limits::ARCHIVE_MEMBERS_MAX {
            let header = match next_header(input) {
                Ok(Some(header)) => header,
                Ok(None) => return ControlFlow::Continue(()),
                Err(e) => return self.left_out(name, format!("the tar archive breaks off here: {e}")),
            };
            let mut content = input.take(header.bytes);
            if header.plain_file {
                self.member(name, &header.name, &mut content, within + 1)?;
            }
            // What was not read of the member, and what fills its last block.
            let fill = header.bytes.next_multiple_of(BLOCK as u64) - header.bytes;
            let skipped =
                io::copy(&mut content, &mut io::sink()).and_then(|_| io::copy(&mut input.take(fill), &mut io::sink()));
            if let Err(e) = skipped {
                return self.left_out(name, format!("the tar archive breaks off here: {e}"));
            }
        }
        self.left_out(name, format!("more than {} members; the rest was not read", limits::ARCHIVE_MEMBERS_MAX))
    }
}

struct Header {
    name: Vec<u8>,
    bytes: u64,
    plain_file: bool,
}

/// The header of the next member; `None` at the end. Long names are left as the short ones that stand beside
/// them, because a name is only for reading.
fn next_header(input: &mut dyn Read) -> io::Result<Option<Header>> {
    let mut block = Vec::with_capacity(BLOCK);
    input.take(BLOCK as u64).read_to_end(&mut block)?;
    if block.iter().all(|&b| b == 0) {
        return Ok(None);
    }
    if block.len() < BLOCK || &block[257..262] != b"ustar" {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a header was expected"));
    }
    let text = |range: std::ops::Range<usize>| block[range].split(|&b| b == 0).next().unwrap_or_default();
    let bytes = number(&block[124..136])
        // An end far beyond any disk would overflow when it is rounded up to a block.
        .filter(|&n| n < 1 << 62)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a member has no size"))?;
    let mut name = Vec::new();
    // GNU archives keep something else in the place of the prefix.
    if &block[257..263] == b"ustar\0" && !text(345..500).is_empty() {
        name.extend_from_slice(text(345..500));
        name.push(b'/');
    }
    name.extend_from_slice(text(0..100));
    Ok(Some(Header { name, bytes, plain_file: matches!(block[156], b'0' | 0 | b'7') }))
}

/// A number: octal digits, or with the highest bit set big-endian bytes.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let bytes = field[field.len() - 8..].try_into().ok()?;
        return Some(u64::from_be_bytes(bytes));
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}
