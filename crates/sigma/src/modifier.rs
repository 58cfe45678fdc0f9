//! Field modifiers: what stands behind the `|` of a field, and which of them go together.

use crate::atom::Compare;
use crate::pattern::Shape;
use crate::time::TimePart;

/// The modifiers of one item, checked against each other.
#[derive(Clone, Debug)]
pub(crate) struct Modifiers {
    /// What the item asks.
    pub(crate) ask: Ask,
    /// Where a text must lie; `None` if nothing was said.
    pub(crate) shape: Option<Shape>,
    /// Every value is wanted, not just one.
    pub(crate) all: bool,
    pub(crate) cased: bool,
    /// None of the values is wanted.
    pub(crate) neq: bool,
    pub(crate) expand: bool,
    pub(crate) windash: bool,
    /// Encodings, in the order written.
    pub(crate) encodings: Vec<Encoding>,
}

/// What an item asks of its field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ask {
    Text,
    Regex(Flags),
    Network,
    Exists,
    FieldRef,
    /// A comparison of the value, or of a part of the time that it is.
    Number(Option<TimePart>, Compare),
}

/// The flags of a regular expression.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Flags {
    pub(crate) ignore_case: bool,
    pub(crate) multi_line: bool,
    pub(crate) dot_all: bool,
}

/// What is done to a text before it is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    Utf16Le,
    Utf16Be,
    /// Little end first, after a byte-order mark.
    Utf16,
    Base64,
    Base64Offset,
}

impl Modifiers {
    /// Reads the modifiers of a field, in the order written.
    pub(crate) fn parse(names: &[&str]) -> Result<Modifiers, String> {
        let mut modifiers = Modifiers {
            ask: Ask::Text,
            shape: None,
            all: false,
            cased: false,
            neq: false,
            expand: false,
            windash: false,
            encodings: Vec::new(),
        };
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(format!("modifier `{name}` stands twice"));
            }
            modifiers.add(name)?;
        }
        modifiers.check(names)?;
        Ok(modifiers)
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        match name {
            "contains" => self.place(Shape::Contains, name),
            "startswith" => self.place(Shape::Starts, name),
            "endswith" => self.place(Shape::Ends, name),
            "all" => set(&mut self.all),
            "any" => Ok(()),
            "cased" => set(&mut self.cased),
            "neq" => set(&mut self.neq),
            "expand" => set(&mut self.expand),
            "windash" => set(&mut self.windash),
            "wide" | "utf16le" => self.encode(Encoding::Utf16Le),
            "utf16be" => self.encode(Encoding::Utf16Be),
            "utf16" => self.encode(Encoding::Utf16),
            "base64" => self.encode(Encoding::Base64),
            "base64offset" => self.encode(Encoding::Base64Offset),
            "re" => self.ask(Ask::Regex(Flags::default()), name),
            "i" | "ignorecase" => self.flag(name, |flags| &mut flags.ignore_case),
            "m" | "multiline" => self.flag(name, |flags| &mut flags.multi_line),
            "s" | "dotall" => self.flag(name, |flags| &mut flags.dot_all),
            "cidr" => self.ask(Ask::Network, name),
            "exists" => self.ask(Ask::Exists, name),
            "fieldref" => self.ask(Ask::FieldRef, name),
            "gt" => self.compare(Compare::Greater, name),
            "gte" => self.compare(Compare::GreaterOrEqual, name),
            "lt" => self.compare(Compare::Less, name),
            "lte" => self.compare(Compare::LessOrEqual, name),
            "minute" => self.time(TimePart::Minute, name),
            "hour" => self.time(TimePart::Hour, name),
            "day" => self.time(TimePart::Day, name),
            "week" => self.time(TimePart::Week, name),
            "month" => self.time(TimePart::Month, name),
            "year" => self.time(TimePart::Year, name),
            "" => Err("an empty modifier; a name is meant after each `|`".to_owned()),
            _ => Err(format!("unknown modifier `{name}`{}", meant(name))),
        }
    }

    fn place(&mut self, shape: Shape, name: &str) -> Result<(), String> {
        match self.shape.replace(shape) {
            None => Ok(()),
            Some(_) => Err(format!("`{name}` cannot be combined with another of contains, startswith, endswith")),
        }
    }

    fn encode(&mut self, encoding: Encoding) -> Result<(), String> {
        if self.encodings.iter().any(|e| matches!(e, Encoding::Base64 | Encoding::Base64Offset)) {
            return Err("nothing can be encoded after base64".to_owned());
        }
        if self.encodings.last().is_some() && !matches!(encoding, Encoding::Base64 | Encoding::Base64Offset) {
            return Err("only one of wide, utf16le, utf16be, utf16 can be used".to_owned());
        }
        self.encodings.push(encoding);
        Ok(())
    }

    fn ask(&mut self, ask: Ask, name: &str) -> Result<(), String> {
        if self.ask != Ask::Text {
            return Err(format!("`{name}` cannot be combined with what stands before it"));
        }
        self.ask = ask;
        Ok(())
    }

    fn compare(&mut self, compare: Compare, name: &str) -> Result<(), String> {
        match self.ask {
            Ask::Number(Some(part), Compare::Equal) => {
                self.ask = Ask::Number(Some(part), compare);
                Ok(())
            }
            Ask::Text | Ask::Regex(_) | Ask::Network | Ask::Exists | Ask::FieldRef | Ask::Number(..) => {
                self.ask(Ask::Number(None, compare), name)
            }
        }
    }

    fn time(&mut self, part: TimePart, name: &str) -> Result<(), String> {
        match self.ask {
            Ask::Number(None, compare) => {
                self.ask = Ask::Number(Some(part), compare);
                Ok(())
            }
            Ask::Text | Ask::Regex(_) | Ask::Network | Ask::Exists | Ask::FieldRef | Ask::Number(..) => {
                self.ask(Ask::Number(Some(part), Compare::Equal), name)
            }
        }
    }

    fn flag(&mut self, name: &str, flag: impl Fn(&mut Flags) -> &mut bool) -> Result<(), String> {
        match &mut self.ask {
            Ask::Regex(flags) => {
                *flag(flags) = true;
                Ok(())
            }
            Ask::Text | Ask::Network | Ask::Exists | Ask::FieldRef | Ask::Number(..) => {
                Err(format!("`{name}` is a flag of `re` and stands after it"))
            }
        }
    }

    /// Refuses what can not be combined.
    fn check(&self, names: &[&str]) -> Result<(), String> {
        let text = self.ask == Ask::Text;
        let reference = self.ask == Ask::FieldRef;
        let regex = matches!(self.ask, Ask::Regex(_));
        let refused = [
            (self.shape.is_some() && !text && !reference, "contains, startswith, endswith"),
            (self.cased && !text && !reference, "cased"),
            (self.windash && !text, "windash"),
            (!self.encodings.is_empty() && !text, "an encoding"),
            (self.expand && !text && !regex && self.ask != Ask::Network, "expand"),
            (self.all && self.ask == Ask::Exists, "all"),
            (self.neq && self.ask == Ask::Exists, "neq"),
        ];
        let asks = ["re", "cidr", "exists", "fieldref", "gt", "gte", "lt", "lte"];
        let asks = names.iter().find(|name| asks.contains(name)).copied().unwrap_or("a part of a time");
        match refused.iter().find(|(refused, _)| *refused) {
            Some((_, what)) => Err(format!("{what} cannot be combined with `{asks}`")),
            None if self.all && names.contains(&"any") => Err("`all` cannot be combined with `any`".to_owned()),
            None => Ok(()),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it stands in a match whose other arms may refuse")]
fn set(flag: &mut bool) -> Result<(), String> {
    *flag = true;
    Ok(())
}

/// What an unknown modifier probably meant.
fn meant(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "contain" | "contains" | "includes" => "; `contains` is meant?",
        "startwith" | "startswith" | "starts_with" | "beginswith" => "; `startswith` is meant?",
        "endwith" | "endswith" | "ends_with" => "; `endswith` is meant?",
        "regex" | "regexp" | "re" => "; `re` is meant?",
        "base64_offset" | "base64offset" => "; `base64offset` is meant?",
        "not" | "ne" => "; `neq` is meant?",
        "exist" | "exists" => "; `exists` is meant?",
        "ge" => "; `gte` is meant?",
        "le" => "; `lte` is meant?",
        _ => "",
    }
}
