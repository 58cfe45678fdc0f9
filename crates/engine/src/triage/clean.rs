//! What a model wrote, made harmless for whoever shows it, and checked for its evidence.
//!
//! Whatever shows an opinion may be a terminal, a page, or a chat. So control characters, terminal escapes, changes of
//! writing direction and invisible characters are taken out here, once, and what is markup in any of these places loses
//! its meaning.

use vertice_model::{Evidence, Opinion, Sentence};

use crate::limits;

/// The opinion as it may be shown; playbooks that are not loaded are left out.
///
/// # Errors
/// In words, when it cites what is not there, or nothing.
pub(super) fn checked(
    opinion: &Opinion,
    evidence: &[Evidence],
    is_loaded: impl Fn(&str) -> bool,
) -> Result<Opinion, String> {
    let max = limits::OPINION_LIST_MAX;
    if opinion.sentences.is_empty() {
        return Err("it cites no evidence".to_owned());
    }
    for (n, sentence) in opinion.sentences.iter().enumerate() {
        if sentence.cites.is_empty() {
            return Err(format!("its sentence {} cites no evidence", n + 1));
        }
        if let Some(cite) = sentence.cites.iter().find(|cite| !evidence.iter().any(|e| e.cite == **cite)) {
            return Err(format!("its sentence {} cites {:?}, which is not among the evidence", n + 1, text(cite, 16)));
        }
    }
    let mut playbooks: Vec<String> = Vec::new();
    for playbook in opinion.playbooks.iter().filter(|id| is_loaded(id)) {
        if playbooks.len() < max && !playbooks.contains(playbook) {
            playbooks.push(playbook.clone());
        }
    }
    let sentence = |s: &Sentence| Sentence {
        text: text(&s.text, limits::OPINION_TEXT_CHARS_MAX),
        cites: s.cites.iter().take(max).cloned().collect(),
    };
    Ok(Opinion {
        assessment: opinion.assessment,
        attention: opinion.attention,
        techniques: opinion.techniques.iter().take(max).cloned().collect(),
        playbooks,
        sentences: opinion.sentences.iter().take(max).map(sentence).collect(),
        false_positive_reason: opinion
            .false_positive_reason
            .as_deref()
            .map(|reason| text(reason, limits::OPINION_TEXT_CHARS_MAX))
            .filter(|reason| !reason.is_empty()),
    })
}

/// Text in one line and of at most so many characters, in which nothing is more than text.
#[must_use]
pub fn text(written: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut chars = written.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A terminal's escape, with its parameters: ECMA-48, sections 5.3 and 5.4.
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                chars.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            c if c.is_whitespace() => {
                if !shown.ends_with(' ') && !shown.is_empty() {
                    shown.push(' ');
                }
            }
            c if c.is_control() || is_unseen(c) => {}
            '<' => shown.push('‹'),
            '>' => shown.push('›'),
            '[' => shown.push('('),
            ']' => shown.push(')'),
            '`' => shown.push('\''),
            '&' => shown.push('+'),
            '|' => shown.push('/'),
            // Emphasis and headings of Markdown, and mentions of chats.
            '*' | '#' | '@' => shown.push('·'),
            c => shown.push(c),
        }
    }
    // No address in it is one to click on.
    let shown = shown.replace("://", ":// ");
    let mut cut: String = shown.trim().chars().take(chars_max).collect();
    cut.truncate(cut.trim_end().len());
    cut
}

/// Characters that nobody sees: directions (UAX #9), joiners, tags, variation selectors, fillers.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use vertice_model::{DetectionId, Position};

    use super::*;

    #[test]
    fn what_is_shown_is_text_and_nothing_else() {
        for (written, wanted) in [
            ("plain, and 203.0.113.9 too", "plain, and 203.0.113.9 too"),
            ("a\u{1b}[31mred\u{1b}[0m\u{1b}[2J\u{7}b", "aredb"),
            ("\u{1b}]0;title\u{7}x", "]0;titlex"),
            ("\u{9b}31mx", "31mx"),
            ("safe\u{202e}gnp.exe\u{2066}", "safegnp.exe"),
            ("z\u{200b}e\u{feff}r\u{ad}o\u{e0041}", "zero"),
            ("<script>alert(1)</script>", "‹script›alert(1)‹/script›"),
            ("[here](http://evil.example/?q)", "(here)(http:// evil.example/?q)"),
            ("![x](https://e/x.png)", "!(x)(https:// e/x.png)"),
            ("**now** `id` @channel #1\n\n\tnext", "··now·· 'id' ·channel ·1 next"),
            (&"x".repeat(99), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ] {
            let wanted = wanted.replace(']', ")");
            assert_eq!(text(written, 40), wanted, "{written:?}");
        }
    }

    #[test]
    fn an_opinion_that_cites_what_is_not_there_is_refused_whole() {
        let evidence =
            vec![Evidence { cite: "E1".into(), detection_id: DetectionId::derive("d"), position: Position(1) }];
        let sentence = |cites: &[&str]| Sentence {
            text: "It happened.\u{1b}[2J".into(),
            cites: cites.iter().map(|c| (*c).to_owned()).collect(),
        };
        let of = |sentences: Vec<Sentence>| {
            let playbooks = vec!["known".to_owned(), "unknown".to_owned(), "known".to_owned()];
            let opinion = Opinion { sentences, playbooks, ..Opinion::default() };
            checked(&opinion, &evidence, |id| id == "known")
        };
        for (sentences, wanted) in [
            (vec![], "it cites no evidence"),
            (vec![sentence(&["E1"]), sentence(&[])], "its sentence 2 cites no evidence"),
            (vec![sentence(&["E1", "E2"])], "its sentence 1 cites \"E2\", which is not among the evidence"),
            (vec![sentence(&["e1"])], "its sentence 1 cites \"e1\", which is not among the evidence"),
        ] {
            assert_eq!(of(sentences).unwrap_err(), wanted);
        }
        let taken = of(vec![sentence(&["E1"])]).unwrap();
        assert_eq!(
            (taken.sentences[0].text.as_str(), &taken.playbooks[..]),
            ("It happened.", &["known".to_owned()][..])
        );
    }
}
