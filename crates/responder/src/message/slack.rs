//! Slack's shape of a message: a text for those who show nothing else (Mattermost, Rocket.Chat, a phone's lock
//! screen), and blocks.
//!
//! An attacker's words must not become markup: `<!channel>` would call everybody, `<https://evil|our wiki>` would
//! lie. Slack asks for `&`, `<` and `>` to be escaped; what is shown is in blocks of plain text. Its imitators also
//! read `@channel` and Markdown in the text, so both are broken up by a zero-width space.

use serde_json::json;

use super::{Message, shown};
use crate::limits;

/// The words that call everybody, in Slack or one of its imitators.
const CALLS: [&str; 4] = ["channel", "here", "everyone", "all"];

pub(super) fn body(message: &Message) -> Vec<u8> {
    let (title, text) = shown(message);
    let (title, text) = (harmless(&title), harmless(&text));
    let section = |text: &str| {
        // Slack refuses an empty one.
        let text = if text.trim().is_empty() { "-" } else { text };
        json!({"type": "section", "text": {"type": "plain_text", "text": text, "emoji": false}})
    };
    let mut blocks = vec![section(&title), section(&text)];
    let mut all = format!("{title}\n{text}");
    if let Some(link) = &message.link {
        let link = harmless(&link.to_string());
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": format!("<{link}|Answer>")}}));
        all = format!("{all}\n{link}");
    }
    // A preview would open the link to answer by.
    json!({"text": all, "blocks": blocks, "unfurl_links": false, "unfurl_media": false}).to_string().into_bytes()
}

/// The text with nothing in it that Slack or an imitator reads as markup, at most [`limits::SLACK_BYTES_MAX`] long.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let mut one = [0; 4];
        let (written, is_broken) = match c {
            '&' => ("&amp;", false),
            '<' => ("&lt;", false),
            '>' => ("&gt;", false),
            '@' => ("@", calls_everybody(rest.as_str())),
            // Of a link or a picture of Markdown.
            ']' => ("]", rest.as_str().starts_with(['(', '['])),
            c => (&*c.encode_utf8(&mut one), false),
        };
        if out.len() + written.len() > limits::SLACK_BYTES_MAX {
            out.push('…');
            break;
        }
        out.push_str(written);
        if is_broken {
            out.push('\u{200b}');
        }
    }
    out
}

fn calls_everybody(after: &str) -> bool {
    CALLS.iter().any(|word| after.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_an_attacker_is_text() {
        for (text, wanted) in [
            ("<!channel> & <@U1>", "&lt;!channel&gt; &amp; &lt;@U1&gt;"),
            ("<https://evil.example|wiki>", "&lt;https://evil.example|wiki&gt;"),
            ("@Channel @here ana@example.org @ü", "@\u{200b}Channel @\u{200b}here ana@example.org @ü"),
            ("![x](http://evil.example/)", "![x]\u{200b}(http://evil.example/)"),
        ] {
            assert_eq!(harmless(text), wanted);
        }
        let long = harmless(&"&".repeat(2_000));
        assert!(long.len() <= limits::SLACK_BYTES_MAX + 3 && long.ends_with("&amp;…"), "{}", long.len());
    }
}
