//! Lines that were damaged: each is read or refused, and nothing panics.

use std::path::Path;
use std::sync::Arc;

use vertice_engine::Stamp;
use vertice_engine::detect::View;
use vertice_engine::normalize::Mappings;
use vertice_model::{Event, LogSource, Position, RawEvent, Refusal};
use vertice_sigma::{Event as _, Value, unescape};

/// A generator that needs no luck: xorshift, the same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

const PIECES: [&str; 24] = [
    "\0",
    "\u{1b}[2J",
    "é",
    "\u{feff}",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    "<",
    ">",
    "=",
    "'",
    " ",
    "-",
    "%",
    "9999",
    "\u{10ffff}",
    "<999>",
    "1 - - - - - -",
    "[x a=\"",
    "type=EXECVE msg=audit(1.1:1): a0=\"",
];

fn mutated(line: &str, numbers: &mut Numbers) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(chars.len() + 1);
        match numbers.below(5) {
            0 => chars.truncate(at),
            1 => {
                let end = (at + numbers.below(20)).min(chars.len());
                chars.drain(at..end);
            }
            2 => {
                let piece: Vec<char> = PIECES[numbers.below(PIECES.len())].chars().collect();
                chars.splice(at..at, piece);
            }
            3 => {
                let copy: Vec<char> = chars.iter().skip(at).take(numbers.below(40)).copied().collect();
                chars.splice(at..at, copy);
            }
            _ => {
                if let Some(c) = chars.get_mut(at) {
                    *c = char::from_u32(numbers.below(0x3000) as u32).unwrap_or('x');
                }
            }
        }
    }
    chars.into_iter().collect()
}

/// Reads a line, and holds that rules see the same in what borrows from the line and in the event, and that checking
/// it refuses it for the same reason.
fn seen_alike(mappings: &Mappings, line: &str) -> Result<Event, Refusal> {
    let stamp = Stamp { position: Position(7), now: super::received() };
    let raw = RawEvent { origin: Arc::from("test"), line: line.to_owned() };
    let reading = mappings.read(stamp, &raw);
    let refused = |result: Result<(), &Refusal>| result.err().map(|refusal| refusal.reason.clone());
    let checked = mappings.check(stamp, &raw);
    assert_eq!(refused(checked.as_ref().copied()), refused(reading.as_ref().map(|_| ())), "{line:?}");
    let reading = reading?;
    let event = reading.event();
    assert_eq!(shown(&reading), shown(&View(&event)), "{line:?}");
    for (name, _) in event.fields.iter() {
        let (mut borrowed, mut owned) = (Vec::new(), Vec::new());
        reading.field(name, &mut |value| borrowed.push(text(value)));
        View(&event).field(name, &mut |value| owned.push(text(value)));
        assert_eq!(borrowed, owned, "{name} of {line:?}");
    }
    let parts = |s: &LogSource| (s.category.clone(), s.product.clone(), s.service.clone());
    let own = |part: Option<&str>| part.map(str::to_owned);
    let borrowed: Vec<_> =
        reading.sources().iter().map(|s| (own(s.category), own(s.product), own(s.service))).collect();
    assert_eq!(borrowed, event.log_sources.iter().map(parts).collect::<Vec<_>>(), "{line:?}");
    Ok(event)
}

fn shown(event: &dyn vertice_sigma::Event) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    event.each(&mut |name, value| shown.push((name.to_owned(), text(value))));
    shown.sort();
    shown
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Escaped(text) => format!("{:?}", Value::Text(&unescape(text))),
        other => format!("{other:?}"),
    }
}

#[test]
fn damaged_lines_are_read_or_refused() {
    let folder = Path::new(super::MAPPINGS).join("cases");
    let mut lines = Vec::new();
    for file in super::files(&folder, "cases") {
        let cases: Vec<super::cases::Case> = serde_saphyr::from_str(&file.text).unwrap();
        lines.extend(cases.into_iter().map(|case| case.line));
    }
    let rounds = if std::env::var_os("VERTICE_LONG").is_some() { 100_000 } else { 20_000 };
    let mappings = super::shipped();
    let mut numbers = Numbers(0x7e57_1ce0);
    let (mut read, mut refused) = (0, 0);
    for round in 0..rounds {
        let line = mutated(&lines[round % lines.len()], &mut numbers);
        match seen_alike(&mappings, &line) {
            Ok(event) => {
                assert!(event.timestamp.year().is_some(), "{line:?}");
                read += 1;
            }
            Err(refusal) => {
                assert!(!refusal.reason.is_empty(), "{line:?}");
                refused += 1;
            }
        }
    }
    println!("{rounds} damaged lines: {read} read, {refused} refused");
    assert!(read > rounds / 10 && refused > rounds / 10);
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    let mappings = super::shipped();
    let reason = |line: &str| super::read(&mappings, line).unwrap_err().to_string();
    let max = vertice_model::limits::RAW_EVENT_BYTES_MAX;
    assert_eq!(reason(&"x".repeat(max + 1)), format!("longer than {max} bytes: it has {}", max + 1));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(reason(&deep).starts_with("refused: nested deeper than 64 levels"));
    // As long as a line may be, in the shapes that cost most.
    let member = format!("\"{}\":[{{\"a\":1,\"b\":[1,2]}}],", "k".repeat(900));
    let mut wide = String::from("{");
    while wide.len() + member.len() < max {
        wide.push_str(&member);
    }
    wide.push_str("\"z\":1}");
    assert!(reason(&wide).starts_with("no mapping recognises it: JSON with"));
    for start in ["Feb 27 14:52:59 w sshd[1]: Failed password for ", "<13>", "type=EXECVE msg=audit(1.1:1): "] {
        let line = format!("{start}{}", "a1=from 1 ".repeat((max - start.len()) / 10));
        // It is read or refused; that it ends is what is shown.
        let _ = super::read(&mappings, &line);
    }
}
