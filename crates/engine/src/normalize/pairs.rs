//! Bodies of `key=value` pairs: audit records, netfilter's packet lines, logfmt.

use std::borrow::Cow;

use super::draft::Draft;
use super::field::Field;
use super::value::Held;
use super::words::Glob;
use crate::limits::PAIRS_MAX;
use serde::Deserialize;

/// How the pairs of a field become fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pairs {
    /// The field with the pairs.
    from: Field,
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
    pub(super) fn apply<'a>(&'a self, draft: &mut Draft<'a>) {
        let mut budget = PAIRS_MAX;
        match draft.text(&self.from) {
            Some(Cow::Borrowed(text)) => self.read(text, &mut budget, true, &mut |key, value| {
                draft.put_named(key, Held::Text(value));
            }),
            Some(Cow::Owned(text)) => self.read(&text, &mut budget, true, &mut |key, value| {
                draft.put_named(key.into_owned(), Held::from(value.into_owned()));
            }),
            None => {}
        }
    }

    fn read<'t>(&self, text: &'t str, budget: &mut usize, nest: bool, put: Put<'_, 't>) {
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
                Piece::Quoted('\'', inner) if nest && inner.contains('=') => match inner {
                    Cow::Borrowed(inner) => self.read(inner, budget, false, put),
                    Cow::Owned(inner) => self.read(&inner, budget, false, &mut |key, value| {
                        put(key.into_owned().into(), value.into_owned().into());
                    }),
                },
                Piece::Quoted(_, inner) => put(key.into(), inner),
                Piece::Bare(word) => put(key.into(), self.decode(key, word)),
            }
            rest = after.trim_start_matches(separator);
        }
    }

    fn decode<'t>(&self, key: &str, word: &'t str) -> Cow<'t, str> {
        if self.hex.iter().any(|glob| glob.matches(key))
            && let Some(text) = unhex(word)
        {
            return Cow::Owned(text);
        }
        Cow::Borrowed(word.trim_matches(|c| self.trim.contains(c)))
    }
}

/// Takes a key and its value.
type Put<'p, 't> = &'p mut dyn FnMut(Cow<'t, str>, Cow<'t, str>);

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
        draft.put_named("body", Held::from(text));
        pairs.apply(&mut draft);
        let fields = draft.fields();
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
        draft.put_named("body", Held::from(many));
        pairs.apply(&mut draft);
        assert_eq!(draft.fields().len(), PAIRS_MAX + 1);
    }
}
