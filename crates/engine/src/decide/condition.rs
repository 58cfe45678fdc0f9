//! When a playbook is due: a detection class, or an expression over the threat.
//!
//! ```text
//! either  = both { "or" both }            both = one { "and" one }
//! one     = "not" one | "(" either ")" | class | field sign word
//! field   = class | technique | tactic | stage | severity | confidence | detections | entity_kind
//! sign    = "==" | "!=" | "<" | "<=" | ">" | ">="
//! ```
//! A threat has several classes, techniques, tactics and kinds of entity: `==` holds if one of them is the word,
//! `!=` if none is. A technique stands for its sub-techniques too.

use vertice_model::{Confidence, EntityKind, Severity, Tactic, Technique, Threat};

use super::words::{meant, nearest, quoted};
use crate::limits;

/// The classes that the shipped rules raise and the shipped playbooks wait for. Rules of others may raise more.
pub(super) const CLASSES: [&str; 4] =
    ["brute_force_detected", "malware_detected", "data_exfiltration_detected", "lateral_movement_detected"];

const FIELDS: [&str; 8] =
    ["class", "technique", "tactic", "stage", "severity", "confidence", "detections", "entity_kind"];

/// A condition, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// One of the threat's classes is this.
    Class(String),
    /// One of its techniques is this or a sub-technique of it.
    Technique(Technique),
    Tactic(Tactic),
    Kind(EntityKind),
    Stage(Sign, Tactic),
    Severity(Sign, Severity),
    Confidence(Sign, Confidence),
    Detections(Sign, u64),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sign {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Sign {
    fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Sign::Equal => left == right,
            Sign::Unequal => left != right,
            Sign::Less => left < right,
            Sign::AtMost => left <= right,
            Sign::More => left > right,
            Sign::AtLeast => left >= right,
        }
    }

    fn read(text: &str) -> Option<Sign> {
        Some(match text {
            "==" => Sign::Equal,
            "!=" => Sign::Unequal,
            "<" => Sign::Less,
            "<=" => Sign::AtMost,
            ">" => Sign::More,
            ">=" => Sign::AtLeast,
            _ => return None,
        })
    }
}

impl Condition {
    /// Whether it holds for the threat as it stands.
    pub(super) fn holds(&self, threat: &Threat) -> bool {
        match self {
            Condition::All(parts) => parts.iter().all(|p| p.holds(threat)),
            Condition::Any(parts) => parts.iter().any(|p| p.holds(threat)),
            Condition::Not(part) => !part.holds(threat),
            Condition::Class(class) => threat.classes.contains(class),
            Condition::Technique(wanted) => threat.techniques.iter().any(|seen| covers(wanted, &seen.technique)),
            Condition::Tactic(tactic) => threat.tactics.contains(tactic),
            Condition::Kind(kind) => threat.entities.iter().any(|e| e.kind() == *kind),
            // A threat without a stage has not begun, so only `!=` and `<` hold of it.
            Condition::Stage(sign, tactic) => sign.holds(&threat.stage, &Some(*tactic)),
            Condition::Severity(sign, severity) => sign.holds(&threat.severity, severity),
            Condition::Confidence(sign, confidence) => sign.holds(&threat.confidence, confidence),
            Condition::Detections(sign, n) => sign.holds(&threat.detections, n),
        }
    }

    /// Reads a condition. The error names the column, from 1, and for a text of several lines the line.
    pub(super) fn read(text: &str) -> Result<Condition, String> {
        let max = limits::CONDITION_BYTES_MAX;
        if text.len() > max {
            return Err(format!("has {} bytes; at most {max} are read", text.len()));
        }
        let tokens = tokens(text).map_err(|error| error.within(text))?;
        let mut reader = Reader { text, tokens: &tokens, next: 0, depth: 0 };
        reader.whole().map_err(|error| error.within(text))
    }
}

fn covers(wanted: &Technique, seen: &Technique) -> bool {
    seen == wanted || seen.as_str().strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('.'))
}

/// What is wrong, and at which byte.
struct Misread {
    at: usize,
    why: String,
}

impl Misread {
    fn within(self, text: &str) -> String {
        let before = &text[..self.at];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        match before.matches('\n').count() {
            0 if !text.trim_end().contains('\n') => format!("column {column}: {}", self.why),
            lines => format!("line {}, column {column} of it: {}", lines + 1, self.why),
        }
    }
}

/// A word, sign or parenthesis, and where it begins.
struct Token<'t> {
    at: usize,
    text: &'t str,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Misread> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let length = match first {
            '(' | ')' => 1,
            '=' | '!' | '<' | '>' => 1 + usize::from(rest[1..].starts_with('=')),
            c if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            c => {
                let why = format!("{} means nothing here{}", quoted(&c.to_string()), instead_of(rest));
                return Err(Misread { at, why });
            }
        };
        tokens.push(Token { at, text: &rest[..length] });
        rest = &rest[length..];
    }
}

/// What is written instead of another language's sign.
fn instead_of(rest: &str) -> &'static str {
    match rest.as_bytes() {
        [b'&', ..] => "; write `and`",
        [b'|', ..] => "; write `or`",
        [b'"' | b'\'', ..] => "; words stand without quotes",
        [b'%', ..] => "; a confidence is a number from 0 to 1",
        _ => "",
    }
}

struct Reader<'t> {
    text: &'t str,
    tokens: &'t [Token<'t>],
    next: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn whole(&mut self) -> Result<Condition, Misread> {
        let condition = self.either()?;
        match self.tokens.get(self.next) {
            None => Ok(condition),
            Some(token) => {
                let near = nearest(token.text, ["and", "or"]);
                let near = near.map_or(String::new(), |word| format!("; did you mean `{word}`?"));
                Err(misread(token, format!("`and`, `or` or the end is expected, not {}{near}", quoted(token.text))))
            }
        }
    }

    fn either(&mut self) -> Result<Condition, Misread> {
        let mut parts = vec![self.both()?];
        while self.take("or") {
            parts.push(self.both()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) })
    }

    fn both(&mut self) -> Result<Condition, Misread> {
        let mut parts = vec![self.one()?];
        while self.take("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
    }

    fn one(&mut self) -> Result<Condition, Misread> {
        let Some(token) = self.tokens.get(self.next) else {
            return Err(Misread { at: self.text.trim_end().len(), why: self.wanted("the end") });
        };
        self.next += 1;
        let nested = matches!(token.text, "not" | "(");
        self.depth += usize::from(nested);
        if self.depth > limits::CONDITION_DEPTH_MAX {
            return Err(misread(token, format!("is nested more than {} deep", limits::CONDITION_DEPTH_MAX)));
        }
        let condition = match token.text {
            "not" => Condition::Not(Box::new(self.one()?)),
            "(" => {
                let inner = self.either()?;
                if !self.take(")") {
                    return Err(misread(token, "this parenthesis is not closed".to_owned()));
                }
                inner
            }
            _ => self.comparison(token)?,
        };
        self.depth -= usize::from(nested);
        Ok(condition)
    }

    /// A class on its own, or a field, a sign and a word.
    fn comparison(&mut self, field: &Token<'_>) -> Result<Condition, Misread> {
        let sign = self.tokens.get(self.next).and_then(|t| Some((t, Sign::read(t.text)?)));
        let known = FIELDS.contains(&field.text);
        match (known, sign) {
            (true, Some((at, sign))) => {
                self.next += 1;
                let Some(word) = self.tokens.get(self.next) else {
                    let why = format!("`{} {}` is compared with nothing", field.text, at.text);
                    return Err(Misread { at: self.text.trim_end().len(), why });
                };
                self.next += 1;
                compared(field, at, sign, word)
            }
            (true, None) => {
                let lone = self.tokens.get(self.next).is_some_and(|t| t.text == "=");
                let why = if lone { "is compared with `==`, not `=`" } else { "is to be compared, as in" };
                let example = if lone { String::new() } else { format!(" `{}`", example(field.text)) };
                Err(misread(field, format!("`{}` {why}{example}", field.text)))
            }
            (false, Some(_)) => {
                let meant = meant(field.text, FIELDS);
                Err(misread(field, format!("a threat has no field {}{meant}", quoted(field.text))))
            }
            (false, None) => class(field).map(Condition::Class),
        }
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|t| t.text == text);
        self.next += usize::from(found);
        found
    }

    fn wanted(&self, instead: &str) -> String {
        if self.tokens.is_empty() {
            return "is empty; it is a detection class such as `brute_force_detected`, or an expression".to_owned();
        }
        format!("a class, a comparison, `not` or `(` is expected, not {instead}")
    }
}

fn misread(token: &Token<'_>, why: String) -> Misread {
    Misread { at: token.at, why }
}

fn example(field: &str) -> &'static str {
    match field {
        "class" => "class == malware_detected",
        "technique" => "technique == T1110",
        "tactic" => "tactic == lateral-movement",
        "stage" => "stage >= lateral-movement",
        "severity" => "severity >= high",
        "confidence" => "confidence > 0.8",
        "detections" => "detections >= 5",
        _ => "entity_kind == ip",
    }
}

/// A class is lower-case words joined by underscores. One that nearly is a shipped one is a slip of the pen.
fn class(token: &Token<'_>) -> Result<String, Misread> {
    let text = token.text;
    let named = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !matches!(text, "and" | "or" | "not");
    let near = nearest(text, CLASSES).filter(|near| *near != text);
    match (named, near) {
        (true, None) => Ok(text.to_owned()),
        (_, Some(near)) => Err(misread(token, format!("there is no class {}; did you mean `{near}`?", quoted(text)))),
        (false, None) => {
            let why = format!("a class, a comparison, `not` or `(` is expected, not {}", quoted(text));
            Err(misread(token, why))
        }
    }
}

fn compared(field: &Token<'_>, at: &Token<'_>, sign: Sign, word: &Token<'_>) -> Result<Condition, Misread> {
    let text = word.text;
    let wrong = |why: String| Err(misread(word, why));
    let condition = match field.text {
        "stage" => match Tactic::from_slug(text) {
            Some(tactic) => return Ok(Condition::Stage(sign, tactic)),
            None => return wrong(no_tactic(text)),
        },
        "severity" => match text.parse() {
            Ok(severity) => return Ok(Condition::Severity(sign, severity)),
            Err(_) => {
                let meant = meant(text, Severity::ALL.map(Severity::as_str));
                return wrong(format!("{} is no severity{meant}", quoted(text)));
            }
        },
        "confidence" => match text.parse().ok().and_then(Confidence::from_ratio) {
            Some(confidence) => return Ok(Condition::Confidence(sign, confidence)),
            None => return wrong(format!("{} is no confidence; it is a number from 0 to 1", quoted(text))),
        },
        "detections" => match text.parse() {
            Ok(n) => return Ok(Condition::Detections(sign, n)),
            Err(_) => return wrong(format!("{} is no number of detections", quoted(text))),
        },
        "class" => Condition::Class(class(word)?),
        "technique" => match text.parse() {
            Ok(technique) => Condition::Technique(technique),
            Err(_) => return wrong(format!("{} is no technique such as T1110 or T1110.001", quoted(text))),
        },
        "tactic" => match Tactic::from_slug(text) {
            Some(tactic) => Condition::Tactic(tactic),
            None => return wrong(no_tactic(text)),
        },
        _ => match [EntityKind::Ip, EntityKind::Host, EntityKind::User].into_iter().find(|k| k.to_string() == text) {
            Some(kind) => Condition::Kind(kind),
            None => {
                let meant = meant(text, ["ip", "host", "user"]);
                return wrong(format!("{} is no kind of entity{meant}", quoted(text)));
            }
        },
    };
    match sign {
        Sign::Equal => Ok(condition),
        Sign::Unequal => Ok(Condition::Not(Box::new(condition))),
        Sign::Less | Sign::AtMost | Sign::More | Sign::AtLeast => {
            Err(misread(at, format!("`{}` is compared with == or != only", field.text)))
        }
    }
}

fn no_tactic(text: &str) -> String {
    let tactics = Tactic::all().map(Tactic::as_str).collect::<Vec<_>>();
    format!("{} is no ATT&CK tactic{}", quoted(text), meant(text, tactics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::threat;

    #[test]
    fn holds_for_the_threats_that_it_describes_and_no_others() {
        let told =
            threat("guess,scan high 0.8 ip=203.0.113.9 technique=T1110.001 tactic=credential-access detections=7");
        let empty = threat("- info 0");
        for (text, of_told, of_empty) in [
            ("guess", true, false),
            ("class == scan", true, false),
            ("class != guess", false, true),
            ("guess and scan", true, false),
            ("guess and other or scan", true, false),
            ("guess and (other or not scan)", false, false),
            ("not other and not not guess", true, false),
            ("severity >= high", true, false),
            ("severity > high", false, false),
            ("severity == informational", false, true),
            ("severity != high", false, true),
            ("severity < high", false, true),
            ("severity <= high", true, true),
            ("confidence > 0.79", true, false),
            ("confidence > 0.8", false, false),
            ("confidence <= 0.8", true, true),
            ("detections >= 7", true, false),
            ("detections < 7", false, true),
            ("technique == T1110", true, false),
            ("technique == T1110.001", true, false),
            ("technique == T1110.002", false, false),
            ("technique != T1110", false, true),
            ("tactic == credential-access", true, false),
            ("tactic == credential_access", true, false),
            ("tactic != impact", true, true),
            ("stage >= execution", true, false),
            ("stage < lateral-movement", true, true),
            ("stage == credential-access", true, false),
            ("entity_kind == ip", true, false),
            ("entity_kind == host", false, false),
            ("entity_kind != user", true, true),
            ("  (guess)\n  and\n  scan ", true, false),
        ] {
            let condition = Condition::read(text).unwrap();
            assert_eq!((condition.holds(&told), condition.holds(&empty)), (of_told, of_empty), "{text}");
        }
    }

    #[test]
    fn every_field_has_an_example_that_is_read() {
        for field in FIELDS {
            let why = Condition::read(field).unwrap_err();
            let (_, example) = why.split_once("as in `").unwrap();
            assert!(example.starts_with(field), "{why}");
            assert!(Condition::read(example.trim_end_matches('`')).is_ok(), "{why}");
        }
    }

    #[test]
    fn nothing_is_expected_where_nothing_stands() {
        assert!(Condition::read(" ").unwrap_err().contains("is empty; it is a detection class"));
        assert!(Condition::read("a or\n  (b").unwrap_err().starts_with("line 2, column 3 of it"));
        assert!(Condition::read("not ".repeat(17).as_str()).unwrap_err().contains("more than 16 deep"));
    }
}
