//! Bodies of `key=value` pairs: audit records, netfilter's packet lines, logfmt.

use std::borrow::Cow;

use serde::Deserialize;
use vertice_model::Value;

use super::draft::Draft;
use super::words::Glob;
use crate::limits::PAIRS_MAX;

/// How the pairs of a field become fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pairs {
    /// The field with the pairs.
    from: String,
    /// The keys whose bare value is hexadecimal text, as the audit system writes what has a space, a quote
    /// or a control character in it. NUL between arguments becomes a space.
    #[serde(default)]
    hex: Vec<Glob>,
    /// Characters cut from both ends of a bare value.
    #[serde(default)]
    trim: String,
}

impl Pairs {
    /// Adds the pairs to the draft under their own keys.
    pub(super) fn apply(&self, draft: &mut Draft) {
        let Some(text) = draft.text(&self.from).map(Cow::into_owned) else { return };
        let mut budget = PAIRS_MAX;
        self.read(&text, draft, &mut budget, true);
    }

    fn read(&self, text: &str, draft: &mut Draft, budget: &mut usize, nest: bool) {
        let mut rest = text.trim_start_matches(separator);
        while !rest.is_empty() && *budget > 0 {
            let end = rest.find(|c| c == '=' || separator(c)).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            let Some(after) = after.strip_prefix('=') else {
                // A word on its own, such as netfilter's SYN.
                rest = after.trim_start_matches(separator);
                continue;
            };
            *budget -= 1;
            let (value, after) = quoted(after).unwrap_or_else(|| bare(after));
            match value {
                Piece::Quoted('\'', inner) if nest && inner.contains('=') => self.read(&inner, draft, budget, false),
                Piece::Quoted(_, inner) => draft.put(key, Value::Text(inner.into_owned())),
                Piece::Bare(word) => draft.put(key, Value::Text(self.decode(key, word))),
            }
            rest = after.trim_start_matches(separator);
        }
    }

    fn decode(&self, key: &str, word: &str) -> String {
        if self.hex.iter().any(|glob| glob.matches(key))
            && let Some(text) = unhex(word)
        {
            return text;
        }
        word.trim_matches(|c| self.trim.contains(c)).to_owned()
    }
}

/// The audit system puts 0x1d between what the kernel wrote and what was looked up for it.
fn separator(c: char) -> bool {
    c.is_whitespace() || c == '\u{1d}'
}

enum Piece<'a> {
    Quoted(char, Cow<'a, str>),
    Bare(&'a str),
}

fn quoted(text: &str) -> Option<(Piece<'_>, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = &text[1..];
    let mut escaped = false;
    for (i, c) in inner.char_indices() {
        if c == quote && !escaped {
            let value = &inner[..i];
            let value = if value.contains("\\\"") { Cow::Owned(value.replace("\\\"", "\"")) } else { value.into() };
            return Some((Piece::Quoted(quote, value), &inner[i + 1..]));
        }
        escaped = c == '\\' && !escaped && quote == '"';
    }
    None
}

fn bare(text: &str) -> (Piece<'_>, &str) {
    let (word, rest) = text.split_at(text.find(separator).unwrap_or(text.len()));
    (Piece::Bare(word), rest)
}

/// Text from hexadecimal digits; `None` if it is none.
pub(super) fn unhex(word: &str) -> Option<String> {
    let digits = word.as_bytes();
    if digits.is_empty() || digits.len() % 2 == 1 {
        return None;
    }
    let nibble = |d: u8| char::from(d).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect();
    let text = String::from_utf8_lossy(&bytes?).replace('\0', " ");
    Some(text.trim_end_matches(' ').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, text: &str, expected: &str) {
        let pairs: Pairs = super::super::words::yaml(spec).unwrap();
        let mut draft = Draft::default();
        draft.put("body", Value::from(text));
        pairs.apply(&mut draft);
        let fields = draft.into_fields();
        let shown: Vec<String> =
            fields.iter().filter(|(n, _)| *n != "body").map(|(n, v)| format!("{n}=<{}>", v.to_text())).collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn quotes_bare_words_and_flags() {
        check("{from: body}", "IN=eth0 OUT= SRC=192.0.2.1 DF SYN URGP=0", "IN=<eth0> OUT=<> SRC=<192.0.2.1> URGP=<0>");
        check("{from: body}", r#"msg="a \"b\" c" level=error x="open"#, r#"level=<error> msg=<a "b" c> x=<"open>"#);
        check("{from: body, trim: '<>,'}", "user=<ana>, rip=192.0.2.1,", "rip=<192.0.2.1> user=<ana>");
        check("{from: nobody}", "a=1", "");
    }

    #[test]
    fn audit_records() {
        check(
            "{from: body, hex: [proctitle, 'a*']}",
            "a0=\"6162\" a1=6C73202D6C proctitle=6C73002D6C00 exe=6162 a2=zz a3=616\u{1d}UID=\"root\"",
            "UID=<root> a0=<6162> a1=<ls -l> a2=<zz> a3=<616> exe=<6162> proctitle=<ls -l>",
        );
        check(
            "{from: body}",
            "pid=1 msg='op=login acct=\"root\" res=failed'",
            "acct=<root> op=<login> pid=<1> res=<failed>",
        );
        check("{from: body}", "comm='no pair'", "comm=<no pair>");
    }

    #[test]
    fn pairs_are_bounded() {
        let many: String = (0..PAIRS_MAX + 10).map(|i| format!("k{i}=1 ")).collect();
        let pairs: Pairs = super::super::words::yaml("{from: body}").unwrap();
        let mut draft = Draft::default();
        draft.put("body", Value::from(many));
        pairs.apply(&mut draft);
        assert_eq!(draft.into_fields().len(), PAIRS_MAX + 1);
    }
}
