//! Others' words, made fit for a terminal and a log.

use crate::limits;

/// A text without control characters, and no longer than an error may be.
pub(crate) fn shown(text: &str) -> String {
    let invisible = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String =
        text.chars().take(limits::WORDS_CHARS_MAX).map(|c| if invisible(c) { ' ' } else { c }).collect();
    if text.chars().nth(limits::WORDS_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
