//! Words that a person wrote, and the ones they may have meant.

/// The candidate that was most likely meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let (far, best) = candidates.into_iter().map(|c| (distance(&word, c), c)).min()?;
    (far <= best.len().div_ceil(3).min(4)).then_some(best)
}

/// ", did you mean `x`?" or, where nothing is near, "; it is one of x, y".
pub(super) fn meant<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, candidates.clone()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; it is one of {}", candidates.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// What a file says, short enough and clean enough to be quoted in a message.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(48).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > 48 {
        short.push('…');
    }
    format!("`{short}`")
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour. Words longer
/// than any of ours are infinitely far.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(65).collect(), b.chars().collect());
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let words = ["severity", "confidence", "class"];
        for (word, found) in [
            ("severty", Some("severity")),
            ("Severity", Some("severity")),
            ("calss", Some("class")),
            ("", None),
            ("banana", None),
            ("ätsch", None),
        ] {
            assert_eq!(nearest(word, words), found, "{word}");
        }
        assert_eq!(nearest(&"s".repeat(1_000_000), words), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(meant("klass", words), "; did you mean `class`?");
        assert_eq!(meant("banana", words), "; it is one of severity, confidence, class");
    }

    #[test]
    fn quotes_are_short_and_clean() {
        assert_eq!(quoted("a\u{1b}[2J"), "`a\u{fffd}[2J`");
        assert_eq!(quoted(&"x".repeat(60)), format!("`{}…`", "x".repeat(48)));
    }
}
