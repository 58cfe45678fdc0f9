//! Which techniques a command or a free-text event shows, when no rule has tagged it.
//!
//! # Why this signal
//!
//! Attackers live off the land: a few hundred programs with a few hundred switches do most of what ATT&CK describes, and
//! a program with its switch says which technique it is. So the mapper is a table (`content/intel/commands.txt`) of
//! words that must stand together in one command, and an answer names the words that it rests on.
//!
//! # When it fires
//!
//! A rule matches when each of its tokens is in the same command of a line (`a; b | c` are three). Case, quotes inside
//! of words, carets, backticks, doubled backslashes, `/` or `-` before a switch, paths and `.exe` make no difference.
//! A program must stand where one is called (see [`Command`]), for `id`, `host`, `find` or `set` are also words.
//!
//! # What it gets wrong
//!
//! It sees what is written and not what runs: an administrator's command maps as an attacker's does, a program under
//! another name maps to nothing, what is encoded is not decoded, and a program with a short name is missed where nothing
//! around it says that it is called.
//!
//! # Cost
//!
//! One pass to cut the text, then a set look-up or a search for each token of each rule; bounded by [`limits::MAPPED_BYTES_MAX`].

use std::collections::BTreeSet;

use serde::Serialize;
use vertice_model::Technique;

use crate::facts::{FactError, each_line};
use crate::limits;

/// The table of rules.
#[derive(Clone, Debug)]
pub struct Mapper {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    technique: Technique,
    line: u32,
    tokens: Vec<Token>,
    /// What must not be there.
    without: Vec<Token>,
}

/// What must be there: one of these texts at this place.
#[derive(Clone, Debug)]
struct Token {
    place: Place,
    any: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// A program that is called, without its path and ending.
    Program,
    /// A word; with `*` at its end, one that begins so.
    Word,
    /// Anywhere in the same command.
    Text,
    /// Anywhere in the whole.
    Whole,
    /// Nowhere in the same command.
    Without,
}

/// A technique that a text shows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Mapping {
    /// Which.
    pub technique: Technique,
    /// What in the text it rests on, as the rule names it, such as `schtasks` and `/create`.
    pub evidence: Vec<String>,
    /// The line of the rule in `content/intel/commands.txt`.
    pub rule_line: u32,
}

/// What a text shows.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Mapped {
    /// Each technique once, with the rule of most tokens; those of more tokens first, at most
    /// [`limits::MAPPED_MAX`].
    pub techniques: Vec<Mapping>,
    /// Whether the text was longer than [`limits::MAPPED_BYTES_MAX`], and its end was left out.
    pub cut: bool,
}

/// Most commands of one text that are told apart; the rest of the text counts as one more.
const COMMANDS_MAX: usize = 256;

impl Mapper {
    /// Reads the table: lines such as `T1053.005: program schtasks, word /create`, with `|` between alternatives.
    ///
    /// # Errors
    ///
    /// Names the line that can not be read.
    pub fn parse(table: &str) -> Result<Mapper, FactError> {
        let mut rules = Vec::new();
        for (at, line) in table.lines().enumerate() {
            // One at a time, for a rule keeps its line.
            each_line("commands.txt", line, |line| {
                if rules.len() >= limits::MAPPER_RULES_MAX {
                    return Err(format!("more than {} rules", limits::MAPPER_RULES_MAX));
                }
                rules.push(Rule::parse(line, at as u32 + 1)?);
                Ok(())
            })
            .map_err(|error| FactError { line: at + 1, ..error })?;
        }
        Ok(Mapper { rules })
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// What a command line or an event's text shows.
    #[must_use]
    pub fn map(&self, text: &str) -> Mapped {
        let end = floor_boundary(text, limits::MAPPED_BYTES_MAX);
        let plain = plain(&text[..end]);
        let commands = Command::all(&plain);
        let mut found: Vec<Mapping> = Vec::new();
        for rule in &self.rules {
            let Some(evidence) = commands.iter().find_map(|c| rule.evidence(c, &plain)) else { continue };
            let mapping = Mapping { technique: rule.technique.clone(), evidence, rule_line: rule.line };
            match found.iter_mut().find(|m| m.technique == mapping.technique) {
                Some(known) if known.evidence.len() < mapping.evidence.len() => *known = mapping,
                Some(_) => {}
                None => found.push(mapping),
            }
        }
        found.sort_by_key(|m| (std::cmp::Reverse(m.evidence.len()), m.rule_line));
        found.truncate(limits::MAPPED_MAX);
        Mapped { techniques: found, cut: end < text.len() }
    }
}

impl Rule {
    fn parse(line: &str, at: u32) -> Result<Rule, String> {
        let (technique, tokens) = line.split_once(':').ok_or("wanted `TECHNIQUE: program NAME, word WORD`")?;
        let technique = technique.trim().parse().map_err(|e| format!("{e}"))?;
        let tokens = tokens.split(',').map(|t| Token::parse(t.trim())).collect::<Result<Vec<_>, _>>()?;
        if tokens.len() > limits::MAPPER_TOKENS_MAX {
            return Err(format!("more than {} tokens", limits::MAPPER_TOKENS_MAX));
        }
        let (without, tokens): (Vec<_>, Vec<_>) = tokens.into_iter().partition(|t| t.place == Place::Without);
        if tokens.is_empty() {
            return Err("a rule of what is not there would match everything".into());
        }
        Ok(Rule { technique, line: at, tokens, without })
    }

    /// The tokens found, if all were and none of those that must not be there.
    fn evidence(&self, command: &Command<'_>, whole: &str) -> Option<Vec<String>> {
        if self.without.iter().any(|token| token.found(command, whole).is_some()) {
            return None;
        }
        self.tokens.iter().map(|token| token.found(command, whole).map(str::to_owned)).collect()
    }
}

impl Token {
    fn parse(text: &str) -> Result<Token, String> {
        let (place, any) = text.split_once(' ').ok_or(format!("{text:?} has no place, such as `word`"))?;
        let place = match place {
            "program" => Place::Program,
            "word" => Place::Word,
            "text" => Place::Text,
            "whole" => Place::Whole,
            "without" => Place::Without,
            _ => return Err(format!("{place:?} is none of program, word, text, whole, without")),
        };
        let any: Vec<String> = any.split('|').map(|t| t.trim().to_lowercase()).collect();
        if any.iter().any(|t| t.is_empty() || t == "*") {
            return Err("an empty token would match everything".into());
        }
        let any = if place == Place::Word { any.iter().map(|t| switch(t)).collect() } else { any };
        Ok(Token { place, any })
    }

    fn found<'a>(&'a self, command: &Command<'_>, whole: &str) -> Option<&'a str> {
        let has = |wanted: &&String| match self.place {
            Place::Program => command.programs.contains(wanted.as_str()),
            Place::Word => match wanted.strip_suffix('*') {
                // The first word not below the prefix has it, if any has.
                Some(start) => command.words.range(start.to_owned()..).next().is_some_and(|w| w.starts_with(start)),
                None => command.words.contains(wanted.as_str()),
            },
            Place::Text | Place::Without => command.text.contains(wanted.as_str()),
            Place::Whole => whole.contains(wanted.as_str()),
        };
        self.any.iter().find(has).map(String::as_str)
    }
}

/// One command of a line.
struct Command<'a> {
    text: &'a str,
    /// Its words, with `-` before a switch.
    words: BTreeSet<String>,
    /// The programs that are called, without path and ending.
    programs: BTreeSet<&'a str>,
}

/// What stands between words.
const BETWEEN: &str = "\"',;|&()<>{}[]=+";

/// Words after which a program is called, wherever they stand.
const CALLERS: [&str; 8] = ["sudo", "doas", "nohup", "xargs", "exec", "do", "then", "else"];

/// Programs that call another one, and the switches of shells that do.
const WRAPPERS: [&str; 8] = ["start", "call", "time", "env", "watch", "setsid", "psexec", "psexec64"];
const SHELL_SWITCHES: [&str; 8] = ["/c", "-c", "/k", "/r", "-command", "-exec", "-execdir", "create"];

/// How a switch or a path begins.
const ARGUMENTS: [&str; 5] = ["-", "/", "./", "../", "~/"];

/// What the names of programs end with.
const ENDINGS: [&str; 9] = [".exe", ".com", ".bat", ".cmd", ".ps1", ".py", ".sh", ".vbs", ".js"];

/// Names of so many characters are no words that stand anywhere by chance.
const UNMISTAKABLE: usize = 8;

impl<'a> Command<'a> {
    /// The commands of a line. What follows an opening bracket is no operator: `(&(a=b)(|(c=d)))` is an LDAP filter.
    fn all(plain: &'a str) -> Vec<Command<'a>> {
        let mut last = ' ';
        let ends = |c: char| {
            let before = std::mem::replace(&mut last, c);
            matches!(c, ';' | '\n') || (matches!(c, '|' | '&') && before != '(')
        };
        let parts = plain.splitn(COMMANDS_MAX, ends).filter(|p| !p.trim().is_empty());
        parts.map(Command::new).collect()
    }

    /// A program is called where it comes first, after an opening quote or bracket, after `=` or `:`, after what calls
    /// another program, or before a switch or a path. A name that is no common word, for it has a program's ending, a
    /// hyphen or many characters, is taken anywhere. The name of a member (`"id": 3`) is no program.
    fn new(text: &'a str) -> Command<'a> {
        let (mut words, mut programs) = (BTreeSet::new(), BTreeSet::new());
        let (mut first, mut rest) = (true, text);
        while let Some(at) = rest.find(|c| !between(c)) {
            first |= rest[..at].contains(['"', '(', '{', '[', '=']);
            let (word, after) = rest[at..].split_at(rest[at..].find(between).unwrap_or(rest.len() - at));
            rest = after;
            let argument = after.trim_start_matches([' ', '"']);
            let (name, is_switch) = (program(word), word.starts_with(['-', '/']) && !word[1..].contains('/'));
            let is_member = word.ends_with(':') || argument.starts_with(':');
            let called = first
                || CALLERS.contains(&name)
                || ARGUMENTS.iter().any(|start| argument.starts_with(start))
                || unmistakable(word, name);
            if called && !is_member && !is_switch {
                programs.insert(name);
            }
            first = is_member
                || CALLERS.contains(&name)
                || SHELL_SWITCHES.contains(&word)
                || (first && (is_switch || WRAPPERS.contains(&name)));
            words.insert(switch(word));
        }
        Command { text, words, programs }
    }
}

fn between(c: char) -> bool {
    c.is_whitespace() || BETWEEN.contains(c)
}

fn unmistakable(word: &str, name: &str) -> bool {
    ENDINGS.iter().any(|ending| word.ends_with(ending))
        || name.len() >= UNMISTAKABLE
        || name.trim_start_matches('-').contains('-')
}

/// A word's last part of a path, without the ending of a program.
fn program(word: &str) -> &str {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word).trim_end_matches(['.', ':']);
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// `/create`, `--create` and `-create` are one switch.
fn switch(word: &str) -> String {
    let bare = word.trim_start_matches('-');
    if bare.len() < word.len() {
        return format!("-{bare}");
    }
    word.strip_prefix('/').map_or_else(|| word.to_owned(), |bare| format!("-{bare}"))
}

/// The text without what hides words: case, carets, backticks, quotes inside of words, doubled backslashes.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().flat_map(char::to_lowercase).filter(|c| !matches!(c, '^' | '`' | '\0')).peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\'' => {
                let mut run = 1;
                while rest.peek().is_some_and(|n| matches!(n, '"' | '\'')) {
                    rest.next();
                    run += 1;
                }
                // A JSON escape before the quote is not part of a word.
                while out.ends_with('\\') && run > 0 {
                    out.pop();
                    run -= 1;
                }
                let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                if !(inside(out.chars().next_back()) && inside(rest.peek().copied())) {
                    out.push('"');
                }
            }
            '\\' if out.ends_with('\\') => {}
            '\t' | '\r' | ' ' if out.ends_with(' ') => {}
            '\t' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The longest beginning of at most so many bytes that ends between characters.
pub(crate) fn floor_boundary(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The words of a text without path and ending, to look for the names of tools in.
pub(crate) fn words(text: &str) -> Vec<String> {
    let plain = plain(&text[..floor_boundary(text, limits::MAPPED_BYTES_MAX)]);
    plain.split(between).filter(|w| !w.is_empty()).map(|w| program(w).to_owned()).collect()
}
