//! Records from bytes: lines, JSON arrays, pretty-printed JSON, recognised by themselves.
//!
//! Memory is bounded by the longest record, whatever the input. Every line that begins with `{` and every
//! element of an array is checked to be JSON, here and not in its mapping, so that who sent it is told its
//! number and column. Any other line is text. Text that is not UTF-8 is kept with U+FFFD in place of the
//! bytes that are none, because whoever attacks a host chooses the user names that its logs repeat, and
//! must not be able to make a line vanish. JSON that is not UTF-8 is refused.

mod decode;
mod line;
mod scan;

use std::borrow::Cow;
use std::io::Read;

use memchr::{memchr, memchr_iter};
use vertice_model::limits::RAW_EVENT_BYTES_MAX;

use self::decode::Utf8;
pub(crate) use self::line::{TOO_LONG, read_line};
use self::line::{check_json, checked_line, compact};
use self::scan::{Scan, Scanner};
use crate::limits;

/// One record: a line of text, or one JSON object on one line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Which line it began on, from 1; within a JSON array that the input begins with, which element it was.
    pub number: u64,
    /// The record, without its line end.
    pub text: String,
}

/// A record that can not be an event.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{number}: {reason}")]
pub struct Refused {
    /// As [`Line::number`].
    pub number: u64,
    /// What is wrong, where, and what was meant.
    pub reason: Cow<'static, str>,
}

/// Reads records one after the other. Blank lines are no records, but they have a number.
pub struct Records<R> {
    input: Utf8<R>,
    /// What was read and not yet used is `buffer[start..]`.
    buffer: Vec<u8>,
    /// What is read at once.
    piece: Box<[u8]>,
    start: usize,
    ended: bool,
    /// Why the input could not be read to its end.
    broken: Option<String>,
    /// The number of the line that `start` is in.
    line: u64,
    /// Whether there was a record already.
    records: bool,
    frame: Frame,
    /// The JSON value that is being put together, and the newlines passed since it began.
    value: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Frame {
    Lines,
    /// Within an array, after this many elements.
    Array(u64),
    /// Within an array that stands behind other lines: its elements have the numbers of their lines, or they
    /// would have those of other records.
    LaterArray,
}

/// What became of a JSON value that may span lines.
enum Scanned {
    Whole,
    /// It was passed over to its end.
    Refused(Cow<'static, str>),
    /// It breaks off at `start`, and its end is not known.
    Broken(Cow<'static, str>),
}

impl<R: Read> Iterator for Records<R> {
    type Item = Result<Line, Refused>;

    fn next(&mut self) -> Option<Result<Line, Refused>> {
        loop {
            let next = match self.frame {
                Frame::Lines => self.next_in_lines(),
                Frame::Array(before) => self.next_in_array(Some(before + 1)),
                Frame::LaterArray => self.next_in_array(None),
            };
            match next {
                Next::Record(number, text) => {
                    self.records = true;
                    return Some(text.map_or_else(|r| refuse(number, r), |t| line(number, t)));
                }
                Next::Again => {}
                Next::End => {
                    self.broken.as_ref()?;
                    let reason = self.end("the input ends here");
                    return Some(refuse(self.line, reason));
                }
            }
        }
    }
}

enum Next {
    Record(u64, Result<String, Cow<'static, str>>),
    Again,
    End,
}

fn line(number: u64, text: String) -> Result<Line, Refused> {
    Ok(Line { number, text })
}

fn refuse(number: u64, reason: Cow<'static, str>) -> Result<Line, Refused> {
    Err(Refused { number, reason })
}

impl<R: Read> Records<R> {
    /// Reads the records of `input`.
    pub fn new(input: R) -> Records<R> {
        Records {
            input: Utf8::new(input),
            buffer: Vec::new(),
            piece: vec![0; limits::READ_BYTES].into(),
            start: 0,
            ended: false,
            broken: None,
            line: 1,
            records: false,
            frame: Frame::Lines,
            value: Vec::new(),
        }
    }

    fn next_in_lines(&mut self) -> Next {
        match self.line_start() {
            None => Next::End,
            Some(b'[') if self.array_begins() => {
                let bracket = self.start + self.rest().iter().position(|&b| b == b'[').unwrap_or(0);
                self.start = bracket + 1;
                self.frame = if self.records { Frame::LaterArray } else { Frame::Array(0) };
                Next::Again
            }
            Some(b'{') => self.json_line(),
            Some(_) => {
                let number = self.line;
                let text = self.take_line().and_then(|range| read_line(&self.buffer[range]));
                Next::Record(number, text)
            }
        }
    }

    /// A line that begins with `{`: one object, several, or the first line of one that spans lines.
    fn json_line(&mut self) -> Next {
        let number = self.line;
        let end = match self.find_line_end() {
            Ok(end) => end,
            // A single line of pretty-printed JSON is never this long, so nothing is lost by refusing it here.
            Err(reason) => return Next::Record(number, Err(reason)),
        };
        let written = &self.buffer[self.start..end];
        let reason = match check_json(written) {
            Ok(text) => {
                let text = checked_line(text);
                self.consume_line(end);
                return Next::Record(number, text);
            }
            Err(reason) => reason,
        };
        match Scanner::default().feed(written) {
            Scan::More if self.whole_object_follows(end) => {
                // Reading ahead moved the buffer, so the end is looked for anew.
                let cut_off = self.take_line().and(Err(reason));
                Next::Record(number, cut_off)
            }
            Scan::More => self.json_over_lines(number),
            Scan::Done(used) if self.buffer[self.start + used..end].trim_ascii_start().first() == Some(&b'{') => {
                let text = read_line(&self.buffer[self.start..self.start + used]);
                self.start += used;
                Next::Record(number, text)
            }
            Scan::Done(_) | Scan::Broken(..) => {
                self.consume_line(end);
                Next::Record(number, Err(reason))
            }
        }
    }

    /// An object that goes on after its first line. If it turns out to be none, reading goes on at the next
    /// line that looks like the beginning of something: pretty-printing indents all but closing brackets.
    fn json_over_lines(&mut self, number: u64) -> Next {
        let text = match self.scan_value() {
            Scanned::Whole => self.finish_value(),
            Scanned::Refused(reason) => Err(reason),
            Scanned::Broken(reason) => {
                let reason = format!("at line {}: {reason}", self.line);
                self.skip_to_outermost_line(number);
                Err(reason.into())
            }
        };
        Next::Record(number, text)
    }

    /// Whether the line after the one that ends at `end` is a whole object by itself, so that the one that
    /// ends there was cut off and does not go on.
    fn whole_object_follows(&mut self, end: usize) -> bool {
        let next = end - self.start + 1;
        loop {
            let rest = self.rest();
            let after = rest.get(next..).unwrap_or_default();
            if after.first().is_some_and(|&b| b != b'{') || after.len() > RAW_EVENT_BYTES_MAX {
                return false;
            }
            match memchr(b'\n', after) {
                Some(i) => return check_json(&after[..i]).is_ok(),
                None if !self.fill() => {
                    let after = self.rest().get(next..).unwrap_or_default();
                    return !after.is_empty() && check_json(after).is_ok();
                }
                None => {}
            }
        }
    }

    /// The next of an array; `element` is its number, unless it has that of its line.
    fn next_in_array(&mut self, element: Option<u64>) -> Next {
        let Some(first) = self.skip_whitespace() else {
            self.frame = Frame::Lines;
            let number = element.unwrap_or(self.line);
            return Next::Record(number, Err(self.end("the array is not closed; the input ends here")));
        };
        match first {
            b']' => {
                self.start += 1;
                self.frame = Frame::Lines;
                Next::Again
            }
            b',' => {
                self.start += 1;
                Next::Again
            }
            _ => {
                self.frame = element.map_or(Frame::LaterArray, Frame::Array);
                let number = element.unwrap_or(self.line);
                Next::Record(number, self.element(first))
            }
        }
    }

    fn element(&mut self, first: u8) -> Result<String, Cow<'static, str>> {
        match self.scan_value() {
            Scanned::Whole if first == b'{' => self.finish_value(),
            Scanned::Whole => Err("no object: an event is a JSON object".into()),
            Scanned::Refused(reason) | Scanned::Broken(reason) => Err(reason),
        }
    }

    /// Moves a whole JSON value from the input to `value`. A broken value of an array is passed over to the
    /// comma or bracket after it; any other is left where it breaks.
    fn scan_value(&mut self) -> Scanned {
        self.value.clear();
        let within_array = matches!(self.frame, Frame::Array(_) | Frame::LaterArray);
        let mut scanner = Scanner::default();
        let mut fault: Option<Cow<'static, str>> = None;
        loop {
            if self.start == self.buffer.len() && !self.fill() {
                let reason = fault.unwrap_or_else(|| self.end("the JSON value is not closed; the input ends here"));
                return Scanned::Broken(reason);
            }
            let (used, done) = match scanner.feed(&self.buffer[self.start..]) {
                Scan::More => (self.buffer.len() - self.start, false),
                Scan::Done(used) => (used, true),
                Scan::Broken(used, reason) if within_array || scanner.too_deep() => {
                    fault.get_or_insert(reason.into());
                    scanner.pass_over();
                    (used, false)
                }
                Scan::Broken(used, reason) => {
                    self.keep_value(used, &mut fault);
                    return Scanned::Broken(reason.into());
                }
            };
            self.keep_value(used, &mut fault);
            if scanner.too_deep() {
                fault.get_or_insert(line::TOO_DEEP.into());
            }
            if done {
                return fault.map_or(Scanned::Whole, Scanned::Refused);
            }
        }
    }

    /// Uses up `used` bytes and keeps them as part of the value, unless it is already at fault.
    fn keep_value(&mut self, used: usize, fault: &mut Option<Cow<'static, str>>) {
        let part = &self.buffer[self.start..self.start + used];
        self.line += memchr_iter(b'\n', part).count() as u64;
        if fault.is_none() {
            if self.value.len() + used > limits::JSON_WRITTEN_BYTES_MAX {
                *fault = Some(TOO_LONG.into());
            } else {
                self.value.extend_from_slice(part);
            }
        }
        self.start += used;
    }

    fn finish_value(&mut self) -> Result<String, Cow<'static, str>> {
        if memchr(b'\n', &self.value).is_some() || memchr(b'\r', &self.value).is_some() {
            check_json(&self.value)?;
            compact(&mut self.value);
        }
        if self.value.len() > RAW_EVENT_BYTES_MAX {
            return Err(TOO_LONG.into());
        }
        read_line(&self.value)
    }

    /// Leaves a broken value: passes over lines until one that is not a continuation of it.
    fn skip_to_outermost_line(&mut self, began: u64) {
        loop {
            let at_line_start = self.start == 0 || self.buffer[self.start - 1] == b'\n';
            if self.start == self.buffer.len() && !self.fill() {
                return;
            }
            let continues = matches!(self.buffer[self.start], b' ' | b'\t' | b'\r' | b'\n' | b'}' | b']' | b'"' | b',');
            if at_line_start && self.line > began && !continues {
                return;
            }
            match memchr(b'\n', self.rest()) {
                Some(i) => {
                    self.start += i + 1;
                    self.line += 1;
                }
                None => self.start = self.buffer.len(),
            }
        }
    }

    /// The first byte of the next line that is not blank, and `start` at that line's beginning.
    fn line_start(&mut self) -> Option<u8> {
        loop {
            let rest = self.rest();
            match rest.iter().position(|b| !b.is_ascii_whitespace()) {
                Some(i) => {
                    let first = rest[i];
                    let blank = &rest[..i];
                    let newlines = memchr_iter(b'\n', blank).count() as u64;
                    let indented = memchr::memrchr(b'\n', blank).map_or(0, |n| n + 1);
                    self.line += newlines;
                    self.start += indented;
                    return Some(first);
                }
                None => {
                    let newlines = memchr_iter(b'\n', rest).count() as u64;
                    // The indentation of a line that is still to come stays, unless it never ends.
                    let indented = memchr::memrchr(b'\n', rest).map_or(0, |n| n + 1);
                    let used = if rest.len() - indented > limits::READ_BYTES { rest.len() } else { indented };
                    self.line += newlines;
                    self.start += used;
                    if !self.fill() {
                        return None;
                    }
                }
            }
        }
    }

    /// The next byte that is not white space, and `start` at it.
    fn skip_whitespace(&mut self) -> Option<u8> {
        let first = self.line_start()?;
        self.start += self.rest().iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
        Some(first)
    }

    /// Whether the `[` that comes next opens a JSON array of events, rather than the time or the level with
    /// which many a text log begins.
    fn array_begins(&mut self) -> bool {
        loop {
            let rest = self.rest();
            let bracket = rest.iter().position(|&b| b == b'[').unwrap_or(0);
            let mut after = rest.iter().skip(bracket + 1).copied();
            match after.find(|b| !b.is_ascii_whitespace()) {
                Some(next) => return matches!(next, b'{' | b'[' | b']' | b'"'),
                None if self.rest().len() > limits::READ_BYTES => return false,
                None if !self.fill() => return false,
                None => {}
            }
        }
    }

    /// Takes the line at `start`, however long it is.
    fn take_line(&mut self) -> Result<std::ops::Range<usize>, Cow<'static, str>> {
        let end = self.find_line_end()?;
        Ok(self.consume_line(end))
    }

    fn consume_line(&mut self, end: usize) -> std::ops::Range<usize> {
        let range = self.start..end;
        if end < self.buffer.len() {
            self.start = end + 1;
            self.line += 1;
        } else {
            self.start = end;
        }
        range
    }

    /// Where the line at `start` ends. One that is too long is passed over and refused.
    fn find_line_end(&mut self) -> Result<usize, Cow<'static, str>> {
        let mut searched = 0;
        loop {
            if let Some(i) = memchr(b'\n', &self.rest()[searched..]) {
                let end = self.start + searched + i;
                if searched + i > RAW_EVENT_BYTES_MAX + 1 {
                    self.consume_line(end);
                    return Err(TOO_LONG.into());
                }
                return Ok(end);
            }
            searched = self.rest().len();
            if searched > RAW_EVENT_BYTES_MAX + 1 {
                self.skip_line();
                return Err(TOO_LONG.into());
            }
            if !self.fill() {
                if self.broken.is_some() {
                    // Half a line is not a line, and the reason is reported by itself.
                    self.start = self.buffer.len();
                    return Err(self.end("the input ends here"));
                }
                return Ok(self.buffer.len());
            }
        }
    }

    fn skip_line(&mut self) {
        loop {
            match memchr(b'\n', self.rest()) {
                Some(i) => {
                    self.start += i + 1;
                    self.line += 1;
                    return;
                }
                None => self.start = self.buffer.len(),
            }
            if !self.fill() {
                return;
            }
        }
    }

    /// Why there is no more: what kept the input from being read on, or else `reason`.
    fn end(&mut self, reason: &'static str) -> Cow<'static, str> {
        self.broken.take().map_or(reason.into(), |e| format!("the input breaks off here: {e}").into())
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads more; `false` at the end of the input.
    fn fill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let read = loop {
            match self.input.read(&mut self.piece) {
                Ok(read) => break read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.broken = Some(e.to_string());
                    break 0;
                }
            }
        };
        self.buffer.extend_from_slice(&self.piece[..read]);
        self.ended = read == 0;
        read > 0
    }
}
