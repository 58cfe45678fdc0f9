//! Texts that hold what an attacker wrote, made safe to show.

/// The text without what moves a cursor or turns the direction of writing: control characters except line breaks,
/// and the marks of Unicode's bidirectional algorithm. Each becomes U+FFFD, so that something is seen to have been
/// there. At most `chars_max` characters; what is cut off is shown by "…".
pub(crate) fn plain(text: &str, chars_max: usize) -> String {
    let harmless = |c: char| match c {
        '\n' => '\n',
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let text = text.replace("\r\n", "\n");
    match text.char_indices().nth(chars_max) {
        None => text.chars().map(harmless).collect(),
        Some(_) => text.chars().map(harmless).take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// As [`plain`], on one line.
pub(crate) fn line(text: &str, chars_max: usize) -> String {
    plain(&text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" "), chars_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_is_replaced_and_what_is_long_is_cut() {
        assert_eq!(plain("a\x1b[2Jb\r\nc\u{202e}d\te", 99), "a\u{fffd}[2Jb\nc\u{fffd}d\u{fffd}e");
        assert_eq!(plain("ääää", 4), "ääää");
        assert_eq!(plain("äääää", 4), "äää…");
        assert_eq!(line("a\r\n\r\n b\rBcc: x\n", 99), "a b\u{fffd}Bcc: x");
    }
}
