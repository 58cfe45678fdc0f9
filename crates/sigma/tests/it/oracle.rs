//! The language once more, slow and obviously right, and generated rules and events on which both must agree.
//!
//! The oracle works on what a rule means, never on its text: rules are made as [`Rule`], written as YAML for the crate
//! and judged here. Texts are compared character by character, wildcards by trying every way.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use vertice_sigma::{Matcher, RuleSet};

use crate::random::Random;
use crate::support::JsonEvent;

const RULES: usize = 840;
const EVENTS: usize = 120;
const FIELDS: [&str; 4] = ["A", "B", "Two Words", "dotted.name"];

/// A written value.
#[derive(Clone, Debug)]
enum Wanted {
    Text(String),
    Int(i64),
    Bool(bool),
    Null,
}

#[derive(Clone, Debug)]
struct Item {
    /// `None` for a keyword list under `|all`, or with other modifiers.
    field: Option<&'static str>,
    modifiers: Vec<&'static str>,
    values: Vec<Wanted>,
}

#[derive(Clone, Debug)]
enum Selection {
    Maps(Vec<Vec<Item>>),
    Keywords(Vec<String>),
}

#[derive(Clone, Debug)]
enum Condition {
    Name(usize),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    /// `1 of`, `all of` and the like: how it is written, how many it wants, of which.
    Of(String, usize, Vec<usize>),
}

/// Every so many cases the verdict is compared too; it is for people, and slow.
const VERDICT_EVERY: usize = 16;

#[derive(Debug)]
struct Rule {
    names: Vec<String>,
    selections: Vec<Selection>,
    condition: Condition,
}

#[test]
fn the_crate_agrees_with_the_oracle() {
    let mut random = Random(0x5167_6d61);
    let (mut cases, mut matched) = (0_usize, 0_usize);
    let rules: Vec<Rule> = (0..RULES).map(|_| rule(&mut random)).collect();
    let texts: Vec<(String, String)> =
        rules.iter().enumerate().map(|(i, rule)| (i.to_string(), written(i, rule))).collect();
    let (set, refused) = RuleSet::compile(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    assert!(refused.is_empty(), "{}\n{}", refused[0], texts[refused[0].path.parse::<usize>().unwrap()].1);
    let indices: Vec<_> = set.iter().map(|(index, _)| index).collect();
    let mut matcher = Matcher::new(&set);
    for _ in 0..EVENTS {
        let event = JsonEvent(event(&mut random));
        let facts = Facts::new(&event.0);
        let mut found: Vec<usize> = set.matches(&event, []).iter().map(|index| index.number()).collect();
        found.sort_unstable();
        let fast: Vec<usize> = matcher.matches(&event, []).iter().map(|index| index.number()).collect();
        assert_eq!(fast, found, "{}", Json::Object(event.0.clone()));
        for (i, rule) in rules.iter().enumerate() {
            let expected = holds(rule, &rule.condition, &facts);
            let actual = found.binary_search(&i).is_ok();
            assert_eq!(actual, expected, "{}\n{}", texts[i].1, Json::Object(event.0.clone()));
            if cases % VERDICT_EVERY == 0 {
                let told = set.verdict(indices[i], &event).is_some_and(|verdict| verdict.holds);
                assert_eq!(told, expected, "what is told of {}\n{}", texts[i].1, Json::Object(event.0.clone()));
            }
            cases += 1;
            matched += usize::from(expected);
        }
    }
    println!("{cases} generated cases agree, {matched} of them matches");
    assert!(cases >= 100_000 && matched * 10 > cases && matched * 10 < cases * 9, "{matched} of {cases}");
}

// What a rule means.

fn holds(rule: &Rule, condition: &Condition, event: &Facts) -> bool {
    match condition {
        Condition::Name(i) => selected(&rule.selections[*i], event),
        Condition::Not(condition) => !holds(rule, condition, event),
        Condition::And(all) => all.iter().filter(|c| !holds(rule, c, event)).count() == 0,
        Condition::Or(any) => any.iter().filter(|c| holds(rule, c, event)).count() > 0,
        Condition::Of(_, wanted, of) => of.iter().filter(|i| selected(&rule.selections[**i], event)).count() >= *wanted,
    }
}

fn selected(selection: &Selection, event: &Facts) -> bool {
    match selection {
        Selection::Maps(maps) => maps.iter().any(|items| items.iter().all(|item| fits_item(item, event))),
        Selection::Keywords(words) => {
            let item =
                |word: &String| Item { field: None, modifiers: vec![], values: vec![Wanted::Text(word.clone())] };
            words.iter().any(|word| fits_item(&item(word), event))
        }
    }
}

/// The single values of an event, by field and all together.
struct Facts {
    fields: BTreeMap<String, Vec<Fact>>,
    all: Vec<Fact>,
}

#[derive(Clone)]
struct Fact {
    /// `None` for null.
    text: Option<String>,
    cased: Vec<char>,
    folded: Vec<char>,
}

impl Facts {
    fn new(event: &Map<String, Json>) -> Facts {
        let facts = |json: &Json| singles(json).iter().map(Fact::new).collect::<Vec<_>>();
        let fields: BTreeMap<String, Vec<Fact>> =
            event.iter().map(|(name, json)| (name.clone(), facts(json))).collect();
        Facts { all: fields.values().flatten().cloned().collect(), fields }
    }

    fn field(&self, name: &str) -> &[Fact] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Fact {
    fn new(json: &Json) -> Fact {
        let text = match json {
            Json::Null => None,
            Json::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let shown = text.clone().unwrap_or_default();
        Fact { text, cased: folded(&shown, true), folded: folded(&shown, false) }
    }

    fn chars(&self, cased: bool) -> &[char] {
        if cased { &self.cased } else { &self.folded }
    }
}

fn singles(json: &Json) -> Vec<Json> {
    match json {
        Json::Array(items) => items.iter().flat_map(singles).collect(),
        other => vec![other.clone()],
    }
}

fn fits_item(item: &Item, event: &Facts) -> bool {
    let values = item.field.map_or(event.all.as_slice(), |field| event.field(field));
    let one = |wanted: &Wanted| fits(item, wanted, values, event);
    let neq = item.modifiers.contains(&"neq");
    if item.modifiers.contains(&"all") && !neq {
        item.values.iter().all(one)
    } else {
        item.values.iter().any(one) != neq
    }
}

fn fits(item: &Item, wanted: &Wanted, values: &[Fact], event: &Facts) -> bool {
    let present = || values.iter().filter(|fact| fact.text.is_some());
    let texts = || values.iter().filter_map(|fact| fact.text.as_deref());
    let has = |modifier: &str| item.modifiers.contains(&modifier);
    let written = match wanted {
        Wanted::Null => return present().count() == 0 || present().count() < values.len(),
        Wanted::Text(text) => text.clone(),
        Wanted::Int(n) => n.to_string(),
        Wanted::Bool(b) => b.to_string(),
    };
    if has("exists") {
        return values.is_empty() == (written == "false");
    }
    if has("cidr") {
        return texts().any(|text| in_network(text, &written));
    }
    if has("re") {
        return texts().any(|text| regex(&written, text, has("i")));
    }
    if let Some(compare) = ["gt", "gte", "lt", "lte"].into_iter().find(|name| has(name)) {
        return texts().any(|text| compared(text, compare, &written));
    }
    if has("base64offset") {
        return texts().any(|text| encoded_within(text, &written));
    }
    let cased = has("cased");
    if has("fieldref") {
        let others = event.field(&written).iter().filter(|fact| fact.text.is_some());
        let mut others = others.map(|other| placed(item, other.chars(cased).iter().copied().map(Token::Is).collect()));
        return others.any(|tokens| present().any(|fact| covers(&tokens, fact.chars(cased))));
    }
    let mut tokens = tokens(&written, cased);
    if has("windash") {
        tokens = dashes(tokens);
    }
    let tokens = placed(item, tokens);
    present().any(|fact| covers(&tokens, fact.chars(cased)))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Is(char),
    Dash,
    One,
    Any,
}

fn folded(text: &str, cased: bool) -> Vec<char> {
    if cased { text.chars().collect() } else { text.chars().flat_map(char::to_lowercase).collect() }
}

/// By the table of the specification.
fn tokens(written: &str, cased: bool) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = written;
    while !rest.is_empty() {
        let (token, length) = match rest {
            _ if rest.starts_with("\\\\") => (Some(Token::Is('\\')), 2),
            _ if rest.starts_with("\\*") => (Some(Token::Is('*')), 2),
            _ if rest.starts_with("\\?") => (Some(Token::Is('?')), 2),
            _ if rest.starts_with('*') => (Some(Token::Any), 1),
            _ if rest.starts_with('?') => (Some(Token::One), 1),
            _ => (None, rest.chars().next().map_or(1, char::len_utf8)),
        };
        match token {
            Some(token) => tokens.push(token),
            None => tokens.extend(folded(&rest[..length], cased).into_iter().map(Token::Is)),
        }
        rest = &rest[length..];
    }
    tokens
}

fn dashes(tokens: Vec<Token>) -> Vec<Token> {
    let word = |token: Option<&Token>| matches!(token, Some(Token::Is(c)) if c.is_alphanumeric() || *c == '_');
    let dash = |i: usize| {
        matches!(tokens[i], Token::Is('-' | '/'))
            && !word(i.checked_sub(1).map(|i| &tokens[i]))
            && word(tokens.get(i + 1))
    };
    (0..tokens.len()).map(|i| if dash(i) { Token::Dash } else { tokens[i] }).collect()
}

fn placed(item: &Item, tokens: Vec<Token>) -> Vec<Token> {
    let has = |modifier: &str| item.modifiers.contains(&modifier);
    let keyword = item.field.is_none() && !has("startswith") && !has("endswith");
    let before = has("contains") || has("endswith") || keyword;
    let after = has("contains") || has("startswith") || keyword;
    let star = |wanted: bool| wanted.then_some(Token::Any);
    star(before).into_iter().chain(tokens).chain(star(after)).collect()
}

fn covers(tokens: &[Token], value: &[char]) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return value.is_empty() };
    let one = |is: &dyn Fn(char) -> bool| value.first().is_some_and(|c| is(*c)) && covers(rest, &value[1..]);
    match token {
        Token::Any => (0..=value.len()).any(|from| covers(rest, &value[from..])),
        Token::One => one(&|_| true),
        Token::Is(wanted) => one(&|c| c == *wanted),
        Token::Dash => one(&|c| "-/–—―".contains(c)),
    }
}

/// Decimal numbers with at most three digits after the point, in thousandths.
fn thousandths(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !(whole.to_owned() + fraction).bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(sign * format!("{whole}{fraction:0<3}").parse::<i128>().ok()?)
}

fn compared(text: &str, compare: &str, to: &str) -> bool {
    let (Some(a), Some(b)) = (thousandths(text), thousandths(to)) else { return false };
    match compare {
        "gt" => a > b,
        "gte" => a >= b,
        "lt" => a < b,
        _ => a <= b,
    }
}

fn in_network(text: &str, network: &str) -> bool {
    let bits = |text: &str| text.parse::<std::net::Ipv4Addr>().ok().map(|a| format!("{:032b}", u32::from(a)));
    let (base, length) = network.split_once('/').expect("it has a length");
    let length: usize = length.parse().expect("the length is a number");
    bits(text).is_some_and(|bits_of| bits_of[..length] == bits(base).expect("the base is an address")[..length])
}

/// Characters, `.`, `c*`, `^` and `$`, as Kernighan and Pike match them.
fn regex(pattern: &str, text: &str, ignore_case: bool) -> bool {
    let (pattern, text) = (folded(pattern, !ignore_case), folded(text, !ignore_case));
    match pattern.split_first() {
        Some(('^', rest)) => regex_here(rest, &text),
        _ => (0..=text.len()).any(|from| regex_here(&pattern, &text[from..])),
    }
}

fn regex_here(pattern: &[char], text: &[char]) -> bool {
    let fits = |wanted: char, c: char| wanted == c || wanted == '.' && c != '\n';
    match pattern {
        [] => true,
        ['$'] => text.is_empty(),
        [c, '*', rest @ ..] => {
            let run = text.iter().take_while(|t| fits(*c, **t)).count();
            (0..=run).any(|taken| regex_here(rest, &text[taken..]))
        }
        [c, rest @ ..] => text.first().is_some_and(|t| fits(*c, *t)) && regex_here(rest, &text[1..]),
    }
}

/// Whether base64 text may hold the needle: at some offset, the digits that it alone decides are there.
fn encoded_within(text: &str, needle: &str) -> bool {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".as_bytes();
    (0..3).any(|offset| {
        let known = needle.bytes().flat_map(|b| (0..8).rev().map(move |i| Some(b >> i & 1)));
        let bits: Vec<Option<u8>> = std::iter::repeat_n(None, offset * 8).chain(known).collect();
        let sextets = bits.chunks_exact(6).filter_map(|six| six.iter().copied().collect::<Option<Vec<u8>>>());
        let value = |six: Vec<u8>| six.iter().fold(0, |n, bit| n << 1 | bit);
        let wanted: String = sextets.map(|six| char::from(digits[usize::from(value(six))])).collect();
        text.to_lowercase().contains(&wanted.to_lowercase())
    })
}

// Rules, written.

fn written(number: usize, rule: &Rule) -> String {
    let mut yaml = format!("title: generated {number}\nlogsource:\n  definition: all\ndetection:\n");
    for (name, selection) in rule.names.iter().zip(&rule.selections) {
        match selection {
            Selection::Keywords(words) => {
                yaml += &format!("  {name}:\n");
                words.iter().for_each(|word| yaml += &format!("    - {}\n", quoted(word)));
            }
            Selection::Maps(maps) if maps.len() == 1 => {
                yaml += &format!("  {name}:\n");
                maps[0].iter().for_each(|item| yaml += &format!("    {}\n", written_item(item)));
            }
            Selection::Maps(maps) => {
                yaml += &format!("  {name}:\n");
                for items in maps {
                    let items: Vec<String> = items.iter().map(written_item).collect();
                    yaml += &format!("    - {}\n", items.join("\n      "));
                }
            }
        }
    }
    yaml + &format!("  condition: {}\n", written_condition(rule, &rule.condition, 0))
}

fn written_item(item: &Item) -> String {
    let key = std::iter::once(item.field.unwrap_or_default()).chain(item.modifiers.iter().copied());
    let key = quoted(&key.collect::<Vec<_>>().join("|"));
    let value = |wanted: &Wanted| match wanted {
        Wanted::Text(text) => quoted(text),
        Wanted::Int(n) => n.to_string(),
        Wanted::Bool(b) => b.to_string(),
        Wanted::Null => "null".to_owned(),
    };
    match item.values.as_slice() {
        [one] => format!("{key}: {}", value(one)),
        many => format!("{key}: [{}]", many.iter().map(value).collect::<Vec<_>>().join(", ")),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// With the parentheses that it needs and no others: `not` binds tightest, then `and`, then `or`.
fn written_condition(rule: &Rule, condition: &Condition, within: u8) -> String {
    let join = |all: &[Condition], by: &str, level: u8| {
        let text = all.iter().map(|c| written_condition(rule, c, level)).collect::<Vec<_>>().join(by);
        if within > level { format!("({text})") } else { text }
    };
    match condition {
        Condition::Name(i) => rule.names[*i].clone(),
        Condition::Not(condition) => format!("not {}", written_condition(rule, condition, 3)),
        Condition::And(all) => join(all, " and ", 2),
        Condition::Or(any) => join(any, " or ", 1),
        Condition::Of(written, ..) => written.clone(),
    }
}

// Generation.

fn rule(random: &mut Random) -> Rule {
    let pool = ["sel_a", "sel_b", "_sel_c", "other", "filter_x"];
    let names: Vec<String> = pool[..1 + random.below(pool.len())].iter().map(|name| (*name).to_owned()).collect();
    let selections = names.iter().map(|_| selection(random)).collect();
    let condition = condition(random, &names, 3);
    Rule { names, selections, condition }
}

fn selection(random: &mut Random) -> Selection {
    if random.below(8) == 0 {
        return Selection::Keywords((0..1 + random.below(2)).map(|_| some_text(random)).collect());
    }
    let items = |random: &mut Random| {
        let mut items: Vec<Item> = (0..1 + random.below(2)).map(|_| item(random)).collect();
        items.dedup_by(|a, b| a.field == b.field && a.modifiers == b.modifiers);
        items
    };
    Selection::Maps((0..1 + random.below(2)).map(|_| items(random)).collect())
}

fn item(random: &mut Random) -> Item {
    let field = (random.below(12) > 0).then(|| random.pick(&FIELDS));
    let shape: &[&'static str] = random.pick(&[&[][..], &["contains"], &["startswith"], &["endswith"], &["contains"]]);
    let with = |more: &[&'static str]| shape.iter().chain(more).copied().collect::<Vec<_>>();
    let (modifiers, values): (Vec<&'static str>, Vec<Wanted>) = match (field.is_some(), random.below(20)) {
        (true, 0) => (vec!["exists"], vec![Wanted::Bool(random.below(2) == 0)]),
        (_, 1) => (
            vec!["cidr"],
            vec![Wanted::Text(random.pick(&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0"]).into())],
        ),
        (_, 2) => (random.pick(&[&["re"][..], &["re", "i"]]).to_vec(), several(random, some_regex)),
        (true, 3) => (vec![random.pick(&["gt", "gte", "lt", "lte"])], vec![Wanted::Int(random.below(12) as i64 - 4)]),
        (true, 4) => (
            with(random.pick(&[&["fieldref"][..], &["fieldref", "cased"]])),
            vec![Wanted::Text(random.pick(&FIELDS).into())],
        ),
        (_, 5) => (vec!["base64offset", "contains"], vec![Wanted::Text(random.pick(&["ab", "a1b", "aaBB"]).into())]),
        (_, 6) => {
            (with(&["windash"]), several(random, |random| random.pick(&["-a", " /a*", "a-b -1", "-/a"]).to_owned()))
        }
        (_, 7) => (with(&["cased"]), several(random, some_text)),
        (_, 8) => (with(&["all"]), several(random, some_text)),
        (true, 9) => (with(&["neq"]), several(random, some_text)),
        (true, 10) => (vec![], vec![Wanted::Null, Wanted::Text(String::new())]),
        (true, 11) => (vec![], vec![random.pick(&[Wanted::Int(1), Wanted::Int(-3), Wanted::Bool(true), Wanted::Null])]),
        _ => (with(&[]), several(random, some_text)),
    };
    Item { field, modifiers, values }
}

fn several(random: &mut Random, mut one: impl FnMut(&mut Random) -> String) -> Vec<Wanted> {
    (0..1 + random.below(3)).map(|_| Wanted::Text(one(random))).collect()
}

/// Written text, never empty, of few characters, so that it is found now and then.
fn some_text(random: &mut Random) -> String {
    let pieces = ["a", "B", "b", "1", "é", "É", "*", "?", "\\", "\\*", "\\\\", "\\?", "-", "/", " ", "'", "a", "b"];
    (0..1 + random.below(3)).map(|_| random.pick(&pieces)).collect()
}

fn some_regex(random: &mut Random) -> String {
    let start = random.pick(&["", "", "^"]);
    let middle: String = (0..1 + random.below(3)).map(|_| random.pick(&["a", "B", "1", ".", "b*", ".*"])).collect();
    format!("{start}{middle}{}", random.pick(&["", "", "$"]))
}

fn condition(random: &mut Random, names: &[String], depth: usize) -> Condition {
    let several = |random: &mut Random| (0..2 + random.below(2)).map(|_| condition(random, names, depth - 1)).collect();
    match random.below(if depth == 0 { 2 } else { 6 }) {
        0 => Condition::Name(random.below(names.len())),
        1 => counted(random, names),
        2 => Condition::Not(Box::new(condition(random, names, depth - 1))),
        3 | 4 => Condition::And(several(random)),
        _ => Condition::Or(several(random)),
    }
}

fn counted(random: &mut Random, names: &[String]) -> Condition {
    let all: Vec<usize> = (0..names.len()).collect();
    let those = |keep: &dyn Fn(&str) -> bool| all.iter().copied().filter(|i| keep(&names[*i])).collect::<Vec<_>>();
    let (pattern, of) = match random.below(4) {
        0 => ("them", those(&|name| !name.starts_with('_'))),
        1 => ("sel_*", those(&|name| name.starts_with("sel_"))),
        2 if names.len() > 2 => ("_*", those(&|name| name.starts_with('_'))),
        _ => ("*e*", those(&|name| name.contains('e') && !name.starts_with('_'))),
    };
    let wanted = 1 + random.below(of.len());
    let quantity = match (wanted, random.below(3)) {
        (1, 0) => "any".to_owned(),
        (n, 1) if n == of.len() => "all".to_owned(),
        (n, _) => n.to_string(),
    };
    Condition::Of(format!("{quantity} of {pattern}"), wanted, of)
}

fn event(random: &mut Random) -> Map<String, Json> {
    let mut event = Map::new();
    for field in FIELDS {
        match random.below(12) {
            0 | 1 => {}
            2 => drop(event.insert(field.into(), Json::Null)),
            3 => drop(event.insert(field.into(), json!(""))),
            4 => drop(event.insert(field.into(), json!([some_value(random), some_value(random)]))),
            5 => drop(event.insert(field.into(), json!([]))),
            _ => drop(event.insert(field.into(), some_value(random))),
        }
    }
    event
}

fn some_value(random: &mut Random) -> Json {
    match random.below(12) {
        0 => json!(random.below(9) as i64 - 3),
        1 => json!(random.below(9) as f64 + 0.5),
        2 => json!(random.below(2) == 0),
        3 => json!(random.pick(&["10.1.2.3", "10.1.9.9", "10.200.0.1", "192.0.2.1"])),
        4 => json!(random.pick(&["YWI=", "eGFi", "eHhhYg==", "YTFi", "YWFCQg==", "eHhhMWJ4"])),
        5 => json!(random.pick(&["1", "-3", "2.5", "true"])),
        6 => Json::Null,
        _ => {
            let characters = ["a", "A", "b", "B", "1", "é", "É", "*", "?", "\\", "-", "/", " ", "'", "–", "_"];
            json!((0..random.below(7)).map(|_| random.pick(&characters)).collect::<String>())
        }
    }
}
