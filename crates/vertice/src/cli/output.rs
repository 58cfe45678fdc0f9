//! Everything the command line prints goes through [`Out`], and every text it prints through [`plain`]:
//! what an attacker wrote into a log can not move the cursor, recolour the screen or turn a name around.

use std::io::Write;

use anyhow::Result;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, TableStyle};
use serde_json::Value;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Ndjson,
}

/// How a piece of text stands out on a terminal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tint {
    /// Not at all.
    #[default]
    None,
    /// Less than the rest.
    Faint,
    /// As a heading.
    Bold,
    /// Good news.
    Good,
    /// Worth a look.
    Warn,
    /// Bad news.
    Bad,
    /// The worst news.
    Worst,
}

impl Tint {
    /// The tint of a severity's word.
    pub fn of_severity(word: &str) -> Tint {
        match word {
            "critical" => Tint::Worst,
            "high" => Tint::Bad,
            "medium" => Tint::Warn,
            "info" => Tint::Faint,
            _ => Tint::None,
        }
    }

    /// The parameters of the terminal's own sequence (ECMA-48, SGR).
    const fn sequence(self) -> Option<&'static str> {
        match self {
            Tint::None => None,
            Tint::Faint => Some("2"),
            Tint::Bold => Some("1"),
            Tint::Good => Some("32"),
            Tint::Warn => Some("33"),
            Tint::Bad => Some("31"),
            Tint::Worst => Some("1;31"),
        }
    }

    fn cell(self, text: &str) -> Cell {
        let cell = Cell::new(text);
        match self {
            Tint::None => cell,
            Tint::Faint => cell.add_attribute(Attribute::Dim),
            Tint::Bold => cell.add_attribute(Attribute::Bold),
            Tint::Good => cell.fg(Color::DarkGreen),
            Tint::Warn => cell.fg(Color::DarkYellow),
            Tint::Bad => cell.fg(Color::DarkRed),
            Tint::Worst => cell.fg(Color::DarkRed).add_attribute(Attribute::Bold),
        }
    }
}

/// Where results go.
pub struct Out {
    to: Box<dyn Write>,
    /// How they are written.
    pub format: Format,
    /// How wide the terminal is; `None` for a file or a pipe, where a row stays one line.
    width: Option<u16>,
    colour: bool,
}

impl Out {
    /// Results to `to`, in columns of a terminal's width if there is one.
    pub fn new(to: Box<dyn Write>, format: Format, width: Option<u16>, colour: bool) -> Out {
        Out { to, format, width, colour }
    }

    /// A line of text.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.parts(&[(Tint::None, text)])
    }

    /// A line of several pieces, each with its tint.
    pub fn parts(&mut self, parts: &[(Tint, &str)]) -> Result<()> {
        for (tint, text) in parts {
            match tint.sequence().filter(|_| self.colour) {
                Some(sgr) => write!(self.to, "\x1b[{sgr}m{}\x1b[0m", plain(text))?,
                None => write!(self.to, "{}", plain(text))?,
            }
        }
        writeln!(self.to)?;
        Ok(())
    }

    /// A text of several lines that is ours, such as the configuration: its lines as they are.
    pub fn text(&mut self, text: &str) -> Result<()> {
        text.lines().try_for_each(|line| self.line(line))
    }

    /// One record: a document of several lines, or one line.
    pub fn json(&mut self, value: &Value) -> Result<()> {
        let text = match self.format {
            Format::Table | Format::Json => serde_json::to_string_pretty(value)?,
            Format::Ndjson => value.to_string(),
        };
        writeln!(self.to, "{}", json_plain(&text))?;
        Ok(())
    }

    /// One record of a stream: one line, whatever the format.
    pub fn json_line(&mut self, value: &Value) -> Result<()> {
        writeln!(self.to, "{}", json_plain(&value.to_string()))?;
        Ok(())
    }

    /// Records: an array, or one a line.
    pub fn json_list(&mut self, items: &[Value]) -> Result<()> {
        match self.format {
            Format::Table | Format::Json => self.json(&Value::from(items)),
            Format::Ndjson => items.iter().try_for_each(|item| self.json(item)),
        }
    }

    /// A table.
    pub fn table(&mut self, table: &Table) -> Result<()> {
        writeln!(self.to, "{}", table.render(self.width, self.colour))?;
        Ok(())
    }

    /// Makes sure that it has been read by now, as a person's question needs.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.to.flush()?)
    }
}

/// A table for people: headings, and one row a record.
#[derive(Debug)]
pub struct Table {
    headings: Vec<String>,
    /// The columns that may be broken into several lines; the others are never.
    free: Vec<usize>,
    rows: Vec<Vec<(Tint, String)>>,
}

impl Table {
    /// An empty table. A heading that ends with `…` is of a column that may be broken into lines.
    pub fn new(headings: &[impl AsRef<str>]) -> Table {
        let free = (0..headings.len()).filter(|i| headings[*i].as_ref().ends_with('…')).collect();
        let headings = headings.iter().map(|h| h.as_ref().trim_end_matches('…').to_uppercase()).collect();
        Table { headings, free, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<(Tint, String)>) {
        self.rows.push(cells);
    }

    fn render(&self, width: Option<u16>, colour: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new()).force_no_tty();
        table.set_header(self.headings.iter().map(|h| Tint::Bold.cell(&plain(h))).collect::<Vec<_>>());
        for row in &self.rows {
            table.add_row(row.iter().map(|(tint, text)| tint.cell(&plain(text))).collect::<Vec<_>>());
        }
        if colour {
            table.enforce_styling();
        }
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for (i, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if !self.free.contains(&i) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table.trim_fmt()
    }
}

/// The text with everything that a terminal would obey, or that would mislead the eye, made visible:
/// control characters by their pictures (`␛` for escape), C1 controls and invisible or direction-turning
/// characters by `�`.
pub fn plain(text: &str) -> String {
    text.chars().map(shown).collect()
}

fn shown(c: char) -> char {
    match c {
        // Unicode has a picture of each C0 control, in order from U+2400.
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{2028}' | '\u{2029}' => '\u{2424}',
        c if is_hidden(c) => '\u{fffd}',
        c => c,
    }
}

/// C1 controls, and what is invisible or changes the direction of writing: soft hyphen, Arabic letter
/// mark, zero-width and bidirectional characters, invisible operators, byte-order mark, interlinear
/// annotations, tags.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// JSON with the same characters as `\u…` escapes, which mean the same. They can only stand in strings,
/// and those below U+0020 are escaped already or are the line breaks between.
fn json_plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\x7f' || is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
pub mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is printed to something that is no terminal.
    pub fn printed(format: Format, print: impl FnOnce(&mut Out) -> Result<()>) -> String {
        printed_to(format, None, false, print)
    }

    /// What is printed to a terminal of this width.
    pub fn printed_to(
        format: Format,
        width: Option<u16>,
        colour: bool,
        print: impl FnOnce(&mut Out) -> Result<()>,
    ) -> String {
        let written = Written::default();
        print(&mut Out::new(Box::new(written.clone()), format, width, colour)).unwrap();
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (hostile, shown) in [
            ("\x1b[2J\x1b]0;title\x07", "␛[2J␛]0;title␇"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("a\nb\rc\td\0", "a␊b␍c␉d␀"),
            ("\x7f\u{2028}\u{2029}", "␡␤␤"),
            ("exe.\u{202e}gpj\u{202c}", "exe.\u{fffd}gpj\u{fffd}"),
            ("\u{2066}x\u{2069}\u{200b}\u{feff}\u{ad}\u{61c}", "\u{fffd}x\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("\u{e0041}", "\u{fffd}"),
            ("C:\\Windows ümläut 漢字 🔒", "C:\\Windows ümläut 漢字 🔒"),
        ] {
            assert_eq!(plain(hostile), shown, "{hostile:?}");
        }
        let all: String = (0..=0x0010_ffff).filter_map(char::from_u32).collect();
        assert!(!plain(&all).chars().any(|c| c.is_control() || is_hidden(c)));
    }

    #[test]
    fn json_means_the_same_and_shows_nothing_to_obey() {
        let value = json!({"a": "\u{9b}31m\x1b\x7f\u{202e}\u{e0041}ü\n"});
        for format in [Format::Json, Format::Ndjson] {
            let text = printed(format, |out| out.json(&value));
            assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || is_hidden(c)), "{text:?}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn a_document_and_lines_are_told_apart() {
        let items = [json!({"a": 1}), json!({"b": 2})];
        assert_eq!(printed(Format::Ndjson, |out| out.json_list(&items)), "{\"a\":1}\n{\"b\":2}\n");
        let text = printed(Format::Json, |out| out.json_list(&items));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!(items));
        assert_eq!(printed(Format::Ndjson, |out| out.json_list(&[])), "");
        assert_eq!(printed(Format::Json, |out| out.json_list(&[])), "[]\n");
    }

    #[test]
    fn a_piped_table_has_a_line_for_each_row() {
        let mut table = Table::new(&["ID", "WHAT…"]);
        let long = "word ".repeat(60);
        table.row(vec![(Tint::None, "1".into()), (Tint::Worst, long.clone())]);
        table.row(vec![(Tint::None, "22".into()), (Tint::None, "a\nb\x1b[31m".into())]);
        let text = printed(Format::Table, |out| out.table(&table));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["ID  WHAT", &format!("1   {}", long.trim_end()), "22  a␊b␛[31m"]);
    }

    #[test]
    fn a_table_on_a_terminal_fits_it_and_breaks_only_what_may_be_broken() {
        let mut table = Table::new(&["ID", "WHAT…"]);
        table.row(vec![(Tint::None, "0123456789abcdef".into()), (Tint::None, "word ".repeat(30))]);
        let text = printed_to(Format::Table, Some(60), false, |out| out.table(&table));
        assert!(text.lines().count() > 3 && text.lines().all(|l| l.chars().count() <= 60), "{text}");
        assert!(text.contains("0123456789abcdef"));
    }

    #[test]
    fn colour_is_used_only_where_it_is_wanted() {
        let mut table = Table::new(&["SEVERITY"]);
        table.row(vec![(Tint::of_severity("critical"), "critical".into())]);
        let print = |out: &mut Out| out.parts(&[(Tint::Bad, "bad")]).and_then(|()| out.table(&table));
        assert!(!printed(Format::Table, print).contains('\x1b'));
        let coloured = printed_to(Format::Table, Some(80), true, print);
        assert!(coloured.starts_with("\x1b[31mbad\x1b[0m\n") && coloured.matches('\x1b').count() > 4, "{coloured:?}");
    }
}
