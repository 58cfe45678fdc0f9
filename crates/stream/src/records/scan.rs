//! Where a JSON value ends, byte by byte, without holding it.

use vertice_model::limits::JSON_DEPTH_MAX;

/// Finds the end of one JSON value that is handed over in pieces.
///
/// It knows brackets, strings and what may follow what, which is enough to notice at its first byte that a
/// new object begins where the last was cut off. Escapes, numbers and names are left to the full parser.
#[derive(Clone, Copy)]
pub(super) struct Scanner {
    depth: u64,
    /// Whether each of the outermost 64 levels is an object; the outermost is the lowest bit.
    objects: u64,
    expects: Expects,
    too_deep: bool,
    passes_over: bool,
}

/// What the next byte may be.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Expects {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    String { key: bool },
    Escaped { key: bool },
    Scalar,
}

/// What a piece showed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scan {
    /// The value goes on.
    More,
    /// The value ended after this many bytes of the piece.
    Done(usize),
    /// The byte at this place of the piece can not stand there.
    Broken(usize, &'static str),
}

const _: () = assert!(JSON_DEPTH_MAX <= 64, "the scanner keeps the kind of each level in one word");

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner { depth: 0, objects: 0, expects: Expects::Value, too_deep: false, passes_over: false }
    }
}

impl Scanner {
    /// Whether the value is nested too deep to be an event.
    pub(super) fn too_deep(&self) -> bool {
        self.too_deep
    }

    /// From here on only brackets and strings count, up to the comma or bracket after the value.
    pub(super) fn pass_over(&mut self) {
        self.passes_over = true;
        self.expects = Expects::CommaOrEnd;
    }

    /// Goes on with the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Scan {
        let mut at = 0;
        while at < piece.len() {
            if let Expects::String { key } = self.expects {
                let Some(i) = memchr::memchr3(b'"', b'\\', b'\n', &piece[at..]) else { return Scan::More };
                at += i;
                match piece[at] {
                    b'"' => self.expects = if key { Expects::Colon } else { Expects::CommaOrEnd },
                    b'\\' => self.expects = Expects::Escaped { key },
                    _ => return Scan::Broken(at, "the line ends within a string"),
                }
                at += 1;
                if self.depth == 0 && self.expects == Expects::CommaOrEnd && !self.passes_over {
                    return Scan::Done(at);
                }
                continue;
            }
            let step = if self.passes_over { self.pass(piece[at]) } else { self.step(piece[at]) };
            match step {
                Step::On => at += 1,
                Step::DoneAfter => return Scan::Done(at + 1),
                Step::DoneBefore => return Scan::Done(at),
                Step::Wrong(reason) => return Scan::Broken(at, reason),
            }
        }
        Scan::More
    }

    fn step(&mut self, byte: u8) -> Step {
        if let Expects::Escaped { key } = self.expects {
            self.expects = Expects::String { key };
            return Step::On;
        }
        if self.expects == Expects::Scalar {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
                return Step::On;
            }
            if self.depth == 0 {
                return Step::DoneBefore;
            }
            self.expects = Expects::CommaOrEnd;
        }
        match (byte, self.expects) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => Step::On,
            (b'{' | b'[', Expects::Value | Expects::ValueOrEnd) => self.open(byte == b'{'),
            (b'}', Expects::KeyOrEnd | Expects::CommaOrEnd) if self.within_object() => self.close(),
            (b']', Expects::ValueOrEnd | Expects::CommaOrEnd) if !self.within_object() => self.close(),
            (b'"', Expects::Key | Expects::KeyOrEnd) => self.expect(Expects::String { key: true }),
            (b'"', Expects::Value | Expects::ValueOrEnd) => self.expect(Expects::String { key: false }),
            (b':', Expects::Colon) => self.expect(Expects::Value),
            (b',', Expects::CommaOrEnd) if self.within_object() => self.expect(Expects::Key),
            (b',', Expects::CommaOrEnd) => self.expect(Expects::Value),
            (b'a'..=b'z' | b'0'..=b'9' | b'-', Expects::Value | Expects::ValueOrEnd) => self.expect(Expects::Scalar),
            (_, Expects::Value | Expects::ValueOrEnd) => Step::Wrong("no JSON: expected a value"),
            (_, Expects::Key | Expects::KeyOrEnd) => Step::Wrong("no JSON: expected a name in quotes"),
            (_, Expects::Colon) => Step::Wrong("no JSON: expected a colon"),
            (_, Expects::CommaOrEnd | Expects::Scalar | Expects::String { .. } | Expects::Escaped { .. }) => {
                Step::Wrong("no JSON: expected a comma or a closing bracket")
            }
        }
    }

    /// One byte of a value that is only passed over.
    fn pass(&mut self, byte: u8) -> Step {
        if let Expects::Escaped { key } = self.expects {
            self.expects = Expects::String { key };
            return Step::On;
        }
        match byte {
            b'"' => self.expect(Expects::String { key: false }),
            b'{' | b'[' => {
                self.depth += 1;
                Step::On
            }
            b',' | b']' if self.depth == 0 => Step::DoneBefore,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 { Step::DoneAfter } else { Step::On }
            }
            _ => Step::On,
        }
    }

    fn expect(&mut self, expects: Expects) -> Step {
        self.expects = expects;
        Step::On
    }

    fn within_object(&self) -> bool {
        self.depth > 0 && self.objects >> (self.depth - 1) & 1 == 1
    }

    fn open(&mut self, object: bool) -> Step {
        if self.depth as usize >= JSON_DEPTH_MAX {
            self.too_deep = true;
            self.passes_over = true;
            self.depth += 1;
            self.expects = Expects::CommaOrEnd;
            return Step::On;
        }
        let level = 1 << self.depth;
        self.objects = if object { self.objects | level } else { self.objects & !level };
        self.depth += 1;
        self.expect(if object { Expects::KeyOrEnd } else { Expects::ValueOrEnd })
    }

    fn close(&mut self) -> Step {
        self.depth -= 1;
        self.expects = Expects::CommaOrEnd;
        if self.depth == 0 { Step::DoneAfter } else { Step::On }
    }
}

enum Step {
    /// Used, and the value goes on.
    On,
    /// Used, and the value ends with it.
    DoneAfter,
    /// Not used; the value ended before it.
    DoneBefore,
    Wrong(&'static str),
}
