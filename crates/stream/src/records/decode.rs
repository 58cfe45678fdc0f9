//! UTF-8 from UTF-8 or UTF-16, by the byte-order mark.

use std::io::{self, Read};

use crate::limits::READ_BYTES;

/// Reads any input as UTF-8. Without a byte-order mark the bytes are handed on as they are.
pub(super) struct Utf8<R> {
    input: R,
    kind: Kind,
    /// Bytes to hand out before any further is read; `used` of them are already out.
    ready: Vec<u8>,
    used: usize,
    /// What is left of a UTF-16 unit or of a pair of them.
    half: Vec<u8>,
    /// What went wrong behind what is ready.
    failed: Option<io::Error>,
}

#[derive(Clone, Copy)]
enum Kind {
    Unknown,
    Bytes,
    Utf16 { big_endian: bool },
}

impl<R: Read> Utf8<R> {
    pub(super) fn new(input: R) -> Utf8<R> {
        Utf8 { input, kind: Kind::Unknown, ready: Vec::new(), used: 0, half: Vec::new(), failed: None }
    }

    fn recognise(&mut self) {
        let mut head = Vec::with_capacity(3);
        self.failed = (&mut self.input).take(3).read_to_end(&mut head).err();
        let (kind, rest) = match *head {
            [0xEF, 0xBB, 0xBF] => (Kind::Bytes, &head[3..]),
            [0xFF, 0xFE, ..] => (Kind::Utf16 { big_endian: false }, &head[2..]),
            [0xFE, 0xFF, ..] => (Kind::Utf16 { big_endian: true }, &head[2..]),
            _ => (Kind::Bytes, &head[..]),
        };
        self.kind = kind;
        match kind {
            Kind::Unknown | Kind::Bytes => self.ready.extend_from_slice(rest),
            Kind::Utf16 { .. } => self.half.extend_from_slice(rest),
        }
    }

    /// Reads and decodes UTF-16; nothing becomes ready at the end of the input.
    fn decode(&mut self, big_endian: bool) -> io::Result<()> {
        self.ready.clear();
        self.used = 0;
        while self.ready.is_empty() {
            let mut read = vec![0; READ_BYTES];
            let n = self.input.read(&mut read)?;
            self.half.extend_from_slice(&read[..n]);
            let unit = |b: &[u8]| {
                let pair = [b[0], b[1]];
                if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
            };
            let mut whole = self.half.len() & !1;
            // The first half of a surrogate pair waits for its second, unless none can come.
            if n > 0 && whole >= 2 && (0xD800..0xDC00).contains(&unit(&self.half[whole - 2..])) {
                whole -= 2;
            }
            let units = self.half[..whole].chunks_exact(2).map(unit);
            let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            self.ready.extend_from_slice(text.as_bytes());
            self.half.drain(..whole);
            if n == 0 {
                if !self.half.is_empty() {
                    self.half.clear();
                    self.ready.extend_from_slice("\u{FFFD}".as_bytes());
                }
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Kind::Unknown = self.kind {
            self.recognise();
        }
        if self.used == self.ready.len() {
            if let Some(e) = self.failed.take() {
                return Err(e);
            }
            match self.kind {
                Kind::Unknown | Kind::Bytes => return self.input.read(into),
                Kind::Utf16 { big_endian } => self.decode(big_endian)?,
            }
        }
        let n = (self.ready.len() - self.used).min(into.len());
        into[..n].copy_from_slice(&self.ready[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}
