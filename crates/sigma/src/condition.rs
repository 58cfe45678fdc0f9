//! Conditions: how the selections of a rule are put together.
//!
//! `not` binds tighter than `and`, `and` tighter than `or`. `1 of`, `3 of`, `all of` and `any of` count selections:
//! those that a pattern with `*` names, or `them`, which is all of them. A selection whose name begins with `_` is
//! counted only by a pattern that begins so.

use crate::limits;

/// A condition over selections, given by their numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Condition {
    Selection(usize),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// At least so many of these selections hold.
    AtLeast(usize, Vec<usize>),
}

impl Condition {
    /// Whether the condition holds, given which selections do.
    pub(crate) fn holds(&self, selection: &mut dyn FnMut(usize) -> bool) -> bool {
        match self {
            Condition::Selection(number) => selection(*number),
            Condition::Not(condition) => !condition.holds(selection),
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(selection)),
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(selection)),
            Condition::AtLeast(wanted, numbers) => {
                numbers.iter().filter(|number| selection(**number)).take(*wanted).count() == *wanted
            }
        }
    }

    /// Whether more selections that hold can only make it true: there is no `not`.
    pub(crate) fn grows(&self) -> bool {
        match self {
            Condition::Selection(_) | Condition::AtLeast(..) => true,
            Condition::Not(_) => false,
            Condition::All(conditions) | Condition::Any(conditions) => conditions.iter().all(Condition::grows),
        }
    }

    /// Whether it says that each of the first so many selections must hold, and nothing else.
    pub(crate) fn is_all_of(&self, many: usize) -> bool {
        self.grows()
            && self.holds(&mut |number| number < many)
            && (0..many).all(|missing| !self.holds(&mut |number| number != missing))
    }

    /// The same condition where every selection has moved up by so many places.
    pub(crate) fn moved(self, by: usize) -> Condition {
        let all = |conditions: Vec<Condition>| conditions.into_iter().map(|c| c.moved(by)).collect();
        match self {
            Condition::Selection(number) => Condition::Selection(number + by),
            Condition::Not(condition) => Condition::Not(Box::new(condition.moved(by))),
            Condition::All(conditions) => Condition::All(all(conditions)),
            Condition::Any(conditions) => Condition::Any(all(conditions)),
            Condition::AtLeast(wanted, numbers) => {
                Condition::AtLeast(wanted, numbers.into_iter().map(|number| number + by).collect())
            }
        }
    }
}

/// Reads a condition over selections with these names.
pub(crate) fn parse(text: &str, names: &[&str]) -> Result<Condition, String> {
    if text.len() > limits::CONDITION_BYTES_MAX {
        return Err(format!("a condition of {} bytes; at most {} are read", text.len(), limits::CONDITION_BYTES_MAX));
    }
    let words = words(text)?;
    let mut parser = Parser { words: &words, at: 0, names };
    let condition = parser.any(0)?;
    match parser.next() {
        None => Ok(condition),
        Some(word) => Err(format!("`{word}` is not expected here; `and`, `or` or the end is meant")),
    }
}

/// Splits a condition into words and parentheses.
fn words(text: &str) -> Result<Vec<&str>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        if c == '|' {
            return Err("`|` begins an aggregation, which Sigma 2 writes as a `correlation` document".to_owned());
        }
        let parenthesis = matches!(c, '(' | ')');
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '|')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(if parenthesis { 1 } else { end });
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

struct Parser<'p> {
    words: &'p [&'p str],
    at: usize,
    names: &'p [&'p str],
}

impl<'p> Parser<'p> {
    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut conditions = vec![self.all(depth)?];
        while self.take("or") {
            conditions.push(self.all(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.remove(0) } else { Condition::Any(conditions) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut conditions = vec![self.not(depth)?];
        while self.take("and") {
            conditions.push(self.not(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.remove(0) } else { Condition::All(conditions) })
    }

    fn not(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > limits::CONDITION_DEPTH_MAX {
            return Err(format!("a condition nested more than {} deep", limits::CONDITION_DEPTH_MAX));
        }
        if self.take("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        if self.take("(") {
            let condition = self.any(depth + 1)?;
            return if self.take(")") { Ok(condition) } else { Err("`)` is missing".to_owned()) };
        }
        self.operand()
    }

    /// A selection, or a number of them.
    fn operand(&mut self) -> Result<Condition, String> {
        let Some(word) = self.next() else {
            return Err("the condition ends where a selection is meant".to_owned());
        };
        if self.peek().is_some_and(|next| next.eq_ignore_ascii_case("of")) {
            self.at += 1;
            return self.counted(word);
        }
        if ["and", "or", "not", "of", ")"].iter().any(|reserved| word.eq_ignore_ascii_case(reserved)) {
            return Err(format!("`{word}` stands where a selection is meant"));
        }
        match self.names.iter().position(|name| *name == word) {
            Some(number) => Ok(Condition::Selection(number)),
            None if word.contains('*') => Err(format!("`{word}` needs `1 of` or `all of` before it")),
            None => Err(format!("selection `{word}` is not defined{}", self.near(word))),
        }
    }

    /// What follows `1 of`, `all of` and the like.
    fn counted(&mut self, quantity: &str) -> Result<Condition, String> {
        let Some(pattern) = self.next().filter(|word| !matches!(*word, "(" | ")")) else {
            return Err(format!("`{quantity} of` needs a name, a pattern or `them`"));
        };
        let them = pattern.eq_ignore_ascii_case("them");
        let named = |name: &str| {
            let hidden = name.starts_with('_') && !pattern.starts_with('_');
            if them { !name.starts_with('_') } else { !hidden && wild(pattern, name) }
        };
        let numbers: Vec<usize> = (0..self.names.len()).filter(|&number| named(self.names[number])).collect();
        if numbers.is_empty() {
            return Err(format!("`{quantity} of {pattern}` names no selection{}", self.near(pattern)));
        }
        let wanted = match quantity.to_ascii_lowercase().as_str() {
            "all" => numbers.len(),
            "any" => 1,
            number => match number.parse::<usize>() {
                Ok(wanted) if (1..=numbers.len()).contains(&wanted) => wanted,
                Ok(wanted) => {
                    return Err(format!("`{wanted} of {pattern}`, but it names {} selections", numbers.len()));
                }
                Err(_) => return Err(format!("`{quantity} of`; `1 of`, `all of` or another number is meant")),
            },
        };
        Ok(Condition::AtLeast(wanted, numbers))
    }

    /// The selections there are, for a reader of an error.
    fn near(&self, word: &str) -> String {
        let same = self.names.iter().find(|name| name.eq_ignore_ascii_case(word));
        match same {
            Some(name) => format!("; `{name}` is meant?"),
            None => format!(
                "; there are {}",
                self.names.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<&'p str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'p str> {
        let word = self.peek();
        self.at += usize::from(word.is_some());
        word
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn wild(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return left.is_empty() };
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}
