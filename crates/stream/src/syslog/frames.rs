//! Frames of a syslog stream (RFC 6587): octet counting and lines, told apart at the beginning of each.

use std::borrow::Cow;

use memchr::memchr;

use crate::limits::FRAME_BYTES_MAX;
use crate::records::read_line;

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// Its payload, on one line.
    Line(String),
    /// Why it is no event.
    Refused(Cow<'static, str>),
}

/// Splits a stream into frames. Holds no more than one of them.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    /// What is passed over before the next frame.
    skip: Skip,
    lines_only: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Skip {
    #[default]
    Nothing,
    Bytes(usize),
    Line,
}

const TOO_LONG: &str = "a frame longer than 65536 bytes";

const _: () = assert!(FRAME_BYTES_MAX == 65_536);

/// Most digits of an octet count: frames are far shorter than ten million bytes.
const COUNT_DIGITS_MAX: usize = 7;

/// How the next frame is framed.
enum Framing {
    Counted {
        digits: usize,
        bytes: usize,
    },
    Line,
    /// That can not be told yet.
    Open,
}

impl Frames {
    /// For streams of lines only.
    pub(crate) fn lines() -> Frames {
        Frames { lines_only: true, ..Frames::default() }
    }

    /// Goes on with the next piece of the stream.
    pub fn push(&mut self, mut piece: &[u8], each: &mut dyn FnMut(Frame)) {
        while !piece.is_empty() {
            // Never hold more than a frame, its count and its end, however large the piece.
            let room = (FRAME_BYTES_MAX + COUNT_DIGITS_MAX + 2 - self.buffer.len()).min(piece.len());
            self.buffer.extend_from_slice(&piece[..room]);
            piece = &piece[room..];
            let mut used = 0;
            while let Some(n) = self.take(used, each) {
                used += n;
            }
            self.buffer.drain(..used);
        }
    }

    /// The stream ended: what is left of it is a line, or a frame that lacks its rest.
    pub fn finish(&mut self, each: &mut dyn FnMut(Frame)) {
        match (self.skip, self.framing(0)) {
            (Skip::Bytes(_), _) => {}
            (Skip::Nothing, Framing::Counted { .. }) => each(Frame::Refused("a frame that breaks off".into())),
            (Skip::Nothing, Framing::Line | Framing::Open) => message(&self.buffer).into_iter().for_each(each),
            (Skip::Line, _) => {}
        }
        self.buffer.clear();
    }

    /// Takes one frame, or a part of what is passed over, from `buffer[at..]`: how many bytes it was.
    fn take(&mut self, at: usize, each: &mut dyn FnMut(Frame)) -> Option<usize> {
        let rest = &self.buffer[at..];
        if rest.is_empty() {
            return None;
        }
        match self.skip {
            Skip::Nothing => {}
            Skip::Bytes(left) => {
                let n = left.min(rest.len());
                self.skip = if n == left { Skip::Nothing } else { Skip::Bytes(left - n) };
                return Some(n);
            }
            Skip::Line => {
                let end = memchr(b'\n', rest);
                if end.is_some() {
                    self.skip = Skip::Nothing;
                }
                return Some(end.map_or(rest.len(), |i| i + 1));
            }
        }
        match self.framing(at) {
            Framing::Open => None,
            Framing::Counted { digits, bytes } if bytes > FRAME_BYTES_MAX => {
                each(Frame::Refused(TOO_LONG.into()));
                self.skip = Skip::Bytes(bytes);
                Some(digits + 1)
            }
            Framing::Counted { digits, bytes } => {
                let frame = rest.get(digits + 1..digits + 1 + bytes)?;
                message(frame).into_iter().for_each(each);
                Some(digits + 1 + bytes)
            }
            Framing::Line => match memchr(b'\n', rest) {
                Some(end) if end <= FRAME_BYTES_MAX => {
                    message(&rest[..end]).into_iter().for_each(each);
                    Some(end + 1)
                }
                None if rest.len() <= FRAME_BYTES_MAX => None,
                Some(_) | None => {
                    each(Frame::Refused(TOO_LONG.into()));
                    self.skip = Skip::Line;
                    Some(0)
                }
            },
        }
    }

    /// A count, a blank and the `<` that every message begins with make an octet-counted frame; a line may begin
    /// with a number too.
    fn framing(&self, at: usize) -> Framing {
        let rest = &self.buffer[at..];
        let digits = rest.iter().take(COUNT_DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
        if self.lines_only || digits > COUNT_DIGITS_MAX || rest.first() == Some(&b'0') {
            return Framing::Line;
        }
        match (digits, rest.get(digits), rest.get(digits + 1)) {
            (0, Some(_), _) => Framing::Line,
            (_, Some(b' '), Some(b'<')) => {
                let count = std::str::from_utf8(&rest[..digits]).ok().and_then(|d| d.parse().ok());
                count.map_or(Framing::Line, |bytes| Framing::Counted { digits, bytes })
            }
            (_, None, _) | (_, Some(b' '), None) => Framing::Open,
            (_, Some(_), _) => Framing::Line,
        }
    }
}

/// The payload of a frame as one line; `None` if it is blank. A line end within it must not make a second line
/// of it, so it is written as `#012`, which is what syslog daemons do.
pub(super) fn message(frame: &[u8]) -> Option<Frame> {
    let end = frame.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | b'\0' | b' ' | b'\t'))? + 1;
    let frame = &frame[..end];
    let json = frame.trim_ascii_start().first() == Some(&b'{');
    let line: Cow<'_, [u8]> = if json || memchr(b'\n', frame).is_none() {
        frame.into()
    } else {
        frame.split(|&b| b == b'\n').collect::<Vec<_>>().join(&b"#012"[..]).into()
    };
    Some(match read_line(&line) {
        Ok(line) if json => Frame::Line(line.replace(['\n', '\r'], " ")),
        Ok(line) => Frame::Line(line),
        Err(reason) => Frame::Refused(reason),
    })
}
