//! Pages for people: HTML by itself, without scripts, without anything from elsewhere.
//!
//! What attackers wrote is on such a page (a prompt is filled with it), so nothing gets in as it is: [`Html::text`]
//! escapes, and [`Html::raw`] takes only what stands in our own source. Should something slip through all the same,
//! the policy that goes with the page lets it load and run nothing.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::problem::Problem;

const KIND: &str = "text/html; charset=utf-8";

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2330; --dim: #5c6675; --line: #dde2ea; --ground: #f4f6f9; --card: #fff;
  --yes: #12703f; --no: #a32323; --mark: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #98a3b3; --line: #303a48; --ground: #11161d;
  --card: #1a212b; --yes: #1f8a52; --no: #c03a3a; --mark: #e0a93c; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 1.75rem 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
h1 { margin: .25rem 0 1rem; font-size: 1.3rem; line-height: 1.35; overflow-wrap: anywhere; }
p { margin: .75rem 0; overflow-wrap: anywhere; }
.kicker { margin: 0; color: var(--dim); font-size: .9rem; }
.note { padding: .6rem .9rem; border-left: 3px solid var(--mark); background: var(--ground); }
dl { display: grid; grid-template-columns: 8.5rem 1fr; gap: .5rem 1rem; margin: 1.25rem 0; padding: 1.25rem 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: .875em/1.4 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; }
form { display: flex; gap: .75rem; margin-top: 1.5rem; }
button { flex: 1; padding: .8rem 1rem; border: 0; border-radius: 8px; color: #fff; font: inherit; font-weight: 600;
  cursor: pointer; }
button:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
.yes { background: var(--yes); }
.no { background: var(--no); }
footer { margin-top: 1.5rem; color: var(--dim); font-size: .8rem; overflow-wrap: anywhere; }
@media (max-width: 32rem) { main { padding: 1.25rem; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; } }
";

/// A part of a page.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

impl Html {
    /// Adds what is ours, as it is.
    pub(crate) fn raw(mut self, markup: &'static str) -> Html {
        self.0.push_str(markup);
        self
    }

    /// Adds a text, which can mean nothing but itself.
    pub(crate) fn text(mut self, text: &str) -> Html {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(' '),
                c if misleads(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds what a function makes of it.
    pub(crate) fn with(self, add: impl FnOnce(Html) -> Html) -> Html {
        add(self)
    }

    /// The whole page, as an answer.
    pub(crate) fn page(self, status: StatusCode, title: &'static str) -> Result<Response, Problem> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(|e| Problem::internal("drawing a nonce", &e))?;
        let nonce: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n\
             <style nonce=\"{nonce}\">{STYLE}</style>\n</head>\n<body>\n<main>\n{}\n</main>\n</body>\n</html>\n",
            self.0
        );
        let mut response = Response::new(Body::from(page));
        *response.status_mut() = status;
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(policy).map_err(|e| Problem::internal("writing a policy", &e))?;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(KIND));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        // Its address is a secret.
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
        Ok(response)
    }
}

/// Whether an answer is a page.
pub(crate) fn is(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == KIND)
}

/// Controls, and what is invisible or turns the direction of writing.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_nothing_but_text() {
        for (text, html) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("a\nb\u{1b}[31m\0", "a b\u{fffd}[31m\u{fffd}"),
            ("exe.\u{202e}gpj\u{200b}", "exe.\u{fffd}gpj\u{fffd}"),
            ("ümläut 漢字 🔒", "ümläut 漢字 🔒"),
        ] {
            assert_eq!(Html::default().text(text).0, html);
        }
        let all: String = (0..=0x0010_ffff).filter_map(char::from_u32).collect();
        let shown = Html::default().text(&all).0;
        assert!(!shown.contains(['<', '>', '"', '\'', '\n']) && !shown.chars().any(misleads));
    }
}
